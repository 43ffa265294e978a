//! Defaults, checks and foreign keys of attached tables, as their system tables have them: `super::super::constraint` says which rows.

use std::collections::BTreeMap;

use logferry_model::{Cell, SqlType};
use logferry_mssql_format::bytes::Result as FormatResult;
use logferry_mssql_format::catalog::ObjectRow;
use logferry_mssql_format::render;
use logferry_mssql_format::row::FixedVar;

use super::super::constraint::{
    ConstraintDef, ConstraintKind, ConstraintSwitch, DISABLED, NOT_FOR_REPLICATION, NOT_TRUSTED, REFERENCE,
    SYSTEM_NAMED, TEXT,
};
use super::super::table::DEFAULT_COLLATION;

/// Object id, class, part.
type Dependent = (u32, u8, u32);

/// What there is of them, from all of their tables.
#[derive(Default)]
pub(super) struct Constraints {
    pub objects: Vec<ConstraintRow>,
    /// By object id.
    pub texts: BTreeMap<u32, String>,
    pub references: BTreeMap<Dependent, (u32, u32)>,
}

/// A row of `sysschobjs`: a default, a check, a foreign key.
pub(super) struct ConstraintRow {
    object: ObjectRow,
    table: u32,
    /// `intprop`
    column: u32,
}

impl ConstraintRow {
    pub(super) fn read(row: &FixedVar<'_>) -> FormatResult<Option<Self>> {
        let object = ObjectRow::read(row)?;
        if !matches!(&object.kind, b"D " | b"C " | b"F ") {
            return Ok(None);
        }
        let table = u32::from_le_bytes(row.fixed_array(19)?);
        let column = u32::from_le_bytes(row.fixed_array(24)?);
        Ok(Some(ConstraintRow { object, table, column }))
    }
}

/// A row of `sysobjvalues`: the text of an object. Those that are outside of their row are left out.
pub(super) fn read_text(row: &FixedVar<'_>) -> FormatResult<Option<(u32, String)>> {
    let [class] = row.fixed_array(4)?;
    let object = u32::from_le_bytes(row.fixed_array(5)?);
    let Some(value) = row.variable(1)?.filter(|v| class == TEXT && !v.complex) else { return Ok(None) };
    let mut quoted = String::new();
    let sql_type = SqlType::VarChar { length: None, collation: DEFAULT_COLLATION };
    render::cell(Cell::Bytes(value.bytes), &sql_type, &mut quoted);
    Ok(serde_json::from_str(&quoted).ok().map(|text| (object, text)))
}

/// A row of `syssingleobjrefs`: what depends (id, class, part), and on what.
pub(super) fn read_reference(row: &FixedVar<'_>) -> FormatResult<(Dependent, (u32, u32))> {
    let [class] = row.fixed_array(4)?;
    let int = |offset| row.fixed_array(offset).map(u32::from_le_bytes);
    Ok(((int(5)?, class, int(9)?), (int(13)?, int(17)?)))
}

impl Constraints {
    /// Those of a table, in the order of their ids.
    pub(super) fn of(&self, table: u32) -> Vec<ConstraintDef> {
        let mut own: Vec<&ConstraintRow> = self.objects.iter().filter(|c| c.table == table).collect();
        own.sort_by_key(|c| c.object.id);
        own.into_iter().filter_map(|row| self.definition(row)).collect()
    }

    fn definition(&self, row: &ConstraintRow) -> Option<ConstraintDef> {
        let (object, status) = (row.object.id, row.object.status);
        let text = || self.texts.get(&object).cloned();
        let kind = match &row.object.kind {
            b"D " => ConstraintKind::Default(row.column, text()?),
            b"C " => {
                let column = Some(row.column).filter(|column| *column > 0);
                ConstraintKind::Check { column, text: text()?, named: column.into_iter().collect() }
            }
            _ => {
                let [key, own, other] = REFERENCE;
                let (table, index) = *self.references.get(&(object, key, 0))?;
                let column =
                    |class: u8, part: u32| self.references.get(&(object, class, part)).map(|(_, column)| *column);
                let columns = (1..).map_while(|part| Some((column(own, part)?, column(other, part)?))).collect();
                ConstraintKind::Foreign { columns, table, index }
            }
        };
        let switch = ConstraintSwitch {
            disabled: status & DISABLED != 0,
            not_trusted: status & NOT_TRUSTED != 0,
            not_for_replication: status & NOT_FOR_REPLICATION != 0,
        };
        Some(ConstraintDef {
            object,
            name: row.object.name.clone(),
            system_named: status & SYSTEM_NAMED != 0,
            kind,
            switch,
        })
    }
}

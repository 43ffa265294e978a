//! Views, procedures, functions and triggers of attached files: [`super::super::module`] says in which rows.

use std::collections::BTreeMap;

use logferry_model::{Cell, SqlType};
use logferry_mssql_format::bytes::Result as FormatResult;
use logferry_mssql_format::catalog::{ColumnRow, ObjectRow, column};
use logferry_mssql_format::render;
use logferry_mssql_format::row::{FixedVar, OffRow};

use super::super::ColumnDef;
use super::super::constraint::TEXT;
use super::super::module::{ModuleDef, ModuleSettings, OUTPUT};
use super::super::table::DEFAULT_COLLATION;
use super::pages::Pages;

/// Made by Microsoft.
const SHIPPED: u32 = 1;

/// A row of `sysschobjs`.
pub(super) struct ModuleRow {
    pub object: u32,
    row: ObjectRow,
    parent: u32,
    dates: [[u8; 8]; 2],
}

impl ModuleRow {
    pub(super) fn read(row: &FixedVar<'_>) -> FormatResult<Option<Self>> {
        let object = ObjectRow::read(row)?;
        let known = matches!(&object.kind, b"V " | b"P " | b"TR" | b"FN" | b"IF" | b"TF");
        if !known || object.status & SHIPPED != 0 {
            return Ok(None);
        }
        let parent = u32::from_le_bytes(row.fixed_array(19)?);
        let dates = [row.fixed_array(28)?, row.fixed_array(36)?];
        Ok(Some(ModuleRow { object: object.id, row: object, parent, dates }))
    }

    pub(super) fn definition(self, schemas: &BTreeMap<u32, String>) -> ModuleDef {
        ModuleDef {
            object: self.object,
            schema: schemas.get(&self.row.schema).cloned(),
            name: self.row.name,
            kind: self.row.kind,
            parent: (self.parent != 0).then_some(self.parent),
            settings: ModuleSettings::of(self.row.status),
            text: String::new(),
            columns: Vec::new(),
            parameters: Vec::new(),
            references: Vec::new(),
            dates: self.dates,
        }
    }
}

/// Takes the columns of a view and the parameters of a procedure from their rows.
pub(super) fn know_columns(module: &mut ModuleDef, rows: Vec<ColumnRow>) {
    for row in rows {
        let def = ColumnDef {
            nullable: row.status & column::NOT_NULL == 0,
            ..ColumnDef::new(row.name.clone(), row.sql_type())
        };
        match row.number {
            0 => module.columns.push(def),
            _ => module.parameters.push((def, row.status & OUTPUT != 0)),
        }
    }
}

/// Takes a text from a row of `sysobjvalues`, wherever the row keeps it.
pub(super) fn read_text(pages: &Pages, row: &[u8], modules: &mut BTreeMap<u32, ModuleDef>) -> FormatResult<()> {
    let row = FixedVar::read(row)?;
    let [class] = row.fixed_array(4)?;
    let object = u32::from_le_bytes(row.fixed_array(5)?);
    let (Some(module), Some(value)) = (modules.get_mut(&object).filter(|_| class == TEXT), row.variable(1)?) else {
        return Ok(());
    };
    let whole = match value.complex {
        true => pages.value(&OffRow::read(value.bytes)?)?.unwrap_or_default(),
        false => value.bytes.to_vec(),
    };
    let mut quoted = String::new();
    let sql_type = SqlType::VarChar { length: None, collation: DEFAULT_COLLATION };
    render::cell(Cell::Bytes(&whole), &sql_type, &mut quoted);
    module.text = serde_json::from_str(&quoted).unwrap_or_default();
    Ok(())
}

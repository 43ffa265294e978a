//! From base tables to tables with rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use logferry_mssql_format::boot::Boot;
use logferry_mssql_format::bytes::{Malformed, Result as FormatResult};
use logferry_mssql_format::catalog::{
    AllocUnitRow, ClassObjectRow, ColumnRow, DefaultRow, IndexColumnRow, IndexRow, ObjectRow, RowsetColumnRow,
    RowsetRow, base_rowset, column, index, object,
};
use logferry_mssql_format::row::{FixedVar, PhysicalColumn, RawCell, RowLayout};

use super::super::constraint::SYSTEM_NAMED;
use super::super::ddl::{KeyKind, KeyName};
use super::super::depend::{self, Dependency};
use super::super::index::IndexDef;
use super::super::module::ModuleDef;
use super::super::space::AllocUnit;
use super::super::system::definitions::{SYSMULTIOBJREFS, SYSOBJVALUES, SYSSINGLEOBJREFS, SYSSOFTOBJREFS};
use super::super::{ColumnDef, Error, Identity, Row, RowKey, Rowset, SpaceUnit, Table, TableDef};
use super::constraints::{ConstraintRow, Constraints, read_reference, read_text};
use super::layout::{place_of, table_layout};
use super::modules::{self, ModuleRow};
use super::pages::Pages;

/// Kind of the allocation unit of rows.
const IN_ROW: u8 = 1;
const MEMORY_OPTIMISED: u32 = 0x100;
/// `sysidxstats.type`
const CLUSTERED: u8 = 1;
const NONCLUSTERED: u8 = 2;

/// What user tables are described by.
pub(super) struct BaseTables {
    pub schemas: BTreeMap<u32, String>,
    pub tables: Vec<ObjectRow>,
    units: BTreeMap<u64, Vec<AllocUnitRow>>,
    /// Page and slot of their rows.
    unit_places: BTreeMap<u64, (u32, u16)>,
    rowsets: Vec<RowsetRow>,
    /// Of nonclustered indexes.
    index_rowsets: Vec<RowsetRow>,
    rowset_columns: BTreeMap<u64, Vec<RowsetColumnRow>>,
    columns: BTreeMap<u32, Vec<ColumnRow>>,
    pub(super) indexes: Vec<IndexRow>,
    pub(super) index_columns: Vec<IndexColumnRow>,
    keys: Vec<KeyRow>,
    pub constraints: Constraints,
    /// Views, procedures, functions and triggers that users made.
    pub modules: Vec<ModuleDef>,
    /// Allocation units of all tables.
    pub space: Vec<SpaceUnit>,
    /// What they and the constraints name.
    pub dependencies: Vec<Dependency>,
    defaults: BTreeMap<(u64, u64), Option<Vec<u8>>>,
}

/// A row of `sysschobjs`: a primary key, or a unique constraint.
struct KeyRow {
    object: u32,
    table: u32,
    name: String,
    system_named: bool,
}

impl KeyRow {
    fn read(row: &FixedVar<'_>) -> FormatResult<Option<Self>> {
        let object = ObjectRow::read(row)?;
        if !matches!(&object.kind, b"PK" | b"UQ") {
            return Ok(None);
        }
        let table = u32::from_le_bytes(row.fixed_array(19)?);
        let system_named = object.status & SYSTEM_NAMED != 0;
        Ok(Some(KeyRow { object: object.id, table, name: object.name, system_named }))
    }
}

/// A table as it is served.
pub(super) struct Source {
    pub table: Table,
    pub rowset: Rowset,
}

impl BaseTables {
    pub fn read(pages: &Pages, boot: &Boot) -> Result<Self, Error> {
        let mut units: BTreeMap<u64, Vec<AllocUnitRow>> = BTreeMap::new();
        let mut unit_places = BTreeMap::new();
        // Found by the leaf pages' links, because its IAM chain is in itself.
        let (mut at, mut seen) = (boot.first_sysallocunits, BTreeSet::new());
        while !at.is_none() && seen.insert(at) {
            let next = pages.page_records(at, &mut |place, row| {
                let unit = AllocUnitRow::read(&FixedVar::read(row)?)?;
                unit_places.insert(unit.id, (place.page.page, place.slot));
                units.entry(unit.owner).or_default().push(unit);
                Ok(())
            });
            at = next.map_err(|e| pages.damaged(e))?;
        }
        let all_rowsets = rows_of(pages, &units, base_rowset(object::SYSROWSETS, 0), RowsetRow::read)?;
        let held = |r: &RowsetRow| {
            let own = units.get(&r.id).into_iter().flatten();
            let unit = |u: &AllocUnitRow| SpaceUnit {
                object: r.object,
                index: r.index,
                kind: u.kind,
                pages: u.pages,
                roots: [u.first, u.root, u.first_iam].map(|page| page.to_bytes()),
            };
            own.map(unit).collect::<Vec<_>>()
        };
        let space = all_rowsets.iter().flat_map(held).collect();
        let rowset_of = |id: u32| all_rowsets.iter().find(|r| r.index <= 1 && r.object == id).map(|r| r.id);
        let tables: Vec<ObjectRow> = rows_of_object(pages, &units, rowset_of(object::SYSSCHOBJS), ObjectRow::read)?
            .into_iter()
            .filter(ObjectRow::is_user_table)
            .collect();
        let keys = rows_of_object(pages, &units, rowset_of(object::SYSSCHOBJS), KeyRow::read)?;
        let references = rows_of_object(pages, &units, rowset_of(SYSSINGLEOBJREFS), read_reference)?;
        let texts = rows_of_object(pages, &units, rowset_of(SYSOBJVALUES), read_text)?;
        let objects = rows_of_object(pages, &units, rowset_of(object::SYSSCHOBJS), ConstraintRow::read)?;
        let constraints = Constraints {
            objects: objects.into_iter().flatten().collect(),
            texts: texts.into_iter().flatten().collect(),
            references: references.into_iter().collect(),
        };
        let names = rows_of_object(pages, &units, rowset_of(SYSSOFTOBJREFS), depend::read_name)?;
        let columns_named = rows_of_object(pages, &units, rowset_of(SYSMULTIOBJREFS), depend::read_column)?;
        let ids: BTreeSet<u32> = tables.iter().map(|t| t.id).collect();
        let schemas = rows_of_object(pages, &units, rowset_of(object::SYSCLSOBJS), ClassObjectRow::read)?;
        let schemas: BTreeMap<u32, String> =
            schemas.into_iter().filter(|s| s.class == ClassObjectRow::SCHEMA).map(|s| (s.id, s.name)).collect();
        let modules = rows_of_object(pages, &units, rowset_of(object::SYSSCHOBJS), ModuleRow::read)?;
        let mut modules: BTreeMap<u32, ModuleDef> =
            modules.into_iter().flatten().map(|row| (row.object, row.definition(&schemas))).collect();
        let mut columns: BTreeMap<u32, Vec<ColumnRow>> = BTreeMap::new();
        for row in rows_of_object(pages, &units, rowset_of(object::SYSCOLPARS), ColumnRow::read)? {
            if row.number == 0 && ids.contains(&row.object) || modules.contains_key(&row.object) {
                columns.entry(row.object).or_default().push(row);
            }
        }
        columns.values_mut().for_each(|c| c.sort_by_key(|c| c.id));
        for module in modules.values_mut() {
            modules::know_columns(module, columns.remove(&module.object).unwrap_or_default());
        }
        if let Some(unit) =
            rowset_of(SYSOBJVALUES).and_then(|rowset| units.get(&rowset)?.iter().find(|u| u.kind == IN_ROW))
        {
            pages.each_record(unit.first_iam, &mut |_, row| modules::read_text(pages, row, &mut modules))?;
        }
        let mut rowset_columns: BTreeMap<u64, Vec<RowsetColumnRow>> = BTreeMap::new();
        for row in rows_of(pages, &units, base_rowset(object::SYSRSCOLS, 0), RowsetColumnRow::read)? {
            rowset_columns.entry(row.rowset).or_default().push(row);
        }
        let defaults = rows_of_object(pages, &units, rowset_of(object::SYSSEOBJVALUES), DefaultRow::read)?;
        Ok(BaseTables {
            schemas,
            modules: modules.into_values().collect(),
            indexes: rows_of_object(pages, &units, rowset_of(object::SYSIDXSTATS), IndexRow::read)?,
            index_columns: rows_of_object(pages, &units, rowset_of(object::SYSISCOLS), IndexColumnRow::read)?,
            keys: keys.into_iter().flatten().collect(),
            constraints,
            space,
            dependencies: names.into_iter().chain(columns_named).flatten().collect(),
            defaults: defaults.into_iter().flatten().map(|r| ((r.rowset, r.hobt_column), r.value)).collect(),
            index_rowsets: all_rowsets.iter().filter(|r| ids.contains(&r.object) && r.index > 1).cloned().collect(),
            rowsets: all_rowsets.into_iter().filter(|r| ids.contains(&r.object) && r.index <= 1).collect(),
            rowset_columns,
            columns,
            tables,
            units,
            unit_places,
        })
    }

    /// A table with all of its rows.
    pub fn build(&self, pages: &Pages, object: &ObjectRow) -> Result<Source, Error> {
        let refused = |why: &str| Error::Unsupported(format!("table {}: {why}", object.name));
        let mut own = self.rowsets.iter().filter(|r| r.object == object.id && r.owner_type == 1);
        let (Some(rowset), None) = (own.next(), own.next()) else {
            return Err(refused("its rows are in no rowset, or in more than one partition"));
        };
        if rowset.compression != 0 || rowset.status & MEMORY_OPTIMISED != 0 {
            return Err(refused("its rows are compressed, or not on pages"));
        }
        let physical = self.rowset_columns.get(&rowset.id).map_or(&[][..], Vec::as_slice);
        let rows: Vec<&ColumnRow> = self
            .columns
            .get(&object.id)
            .into_iter()
            .flatten()
            .filter(|c| c.status & (column::COLUMN_SET | column::FILESTREAM) == 0)
            .collect();
        let live = |id: u32| physical.iter().find(|p| p.column == id && p.is_live());
        let columns: Vec<ColumnDef> = rows
            .iter()
            .map(|c| ColumnDef {
                name: c.name.clone(),
                sql_type: c.sql_type(),
                nullable: c.status & column::NOT_NULL == 0,
                identity: c.identity.as_deref().filter(|_| c.status & column::IDENTITY != 0).and_then(identity),
                computed: live(c.id).is_none(),
            })
            .collect();
        let kind = self.clustered(object.id).map(kind_of);
        let primary_key = self.clustered_columns(object.id, &rows);
        let def = TableDef {
            schema: self.schemas.get(&object.schema).cloned().unwrap_or_else(|| "dbo".into()),
            name: object.name.clone(),
            columns,
            primary_key,
        };
        let layout =
            table_layout(&def, kind, &rows, physical).ok_or_else(|| refused("a column is stored in an unknown way"))?;
        let read = self
            .row_layout(rowset.id, &rows, physical)
            .ok_or_else(|| refused("a column is stored in an unknown way"))?;
        let units = self.units.get(&rowset.id).map_or(&[][..], Vec::as_slice);
        let mut committed = BTreeMap::new();
        if let Some(unit) = units.iter().find(|u| u.kind == IN_ROW) {
            let mut doubled = false;
            pages.each_record(unit.first_iam, &mut |at, record| {
                let row = read_row(pages, &read, record, &def)?;
                let key = match layout.key.is_empty() {
                    true => RowKey::Rid(at),
                    false if layout.has_uniquifier() => RowKey::Key(layout.key_of_image(record)),
                    false => RowKey::Key(layout.key_of(&row)),
                };
                doubled |= committed.insert(key, Arc::new(row)).is_some();
                Ok(())
            })?;
            if doubled {
                return Err(pages.damaged(format_args!("table {} has a key twice", def.name)));
            }
        }
        let mut slots = [None, None, None];
        for unit in units {
            if let Some(slot) = slots.get_mut(usize::from(unit.kind).wrapping_sub(1)) {
                let mut held = AllocUnit::new(unit.id);
                (held.first, held.root, held.iam) = (unit.first.page, unit.root.page, unit.first_iam.page);
                [held.data, held.used, held.reserved] = unit.pages;
                *slot = Some(held);
            }
        }
        let rowset = Rowset {
            id: rowset.id,
            object_id: object.id,
            index_id: rowset.index,
            layout: Arc::new(layout),
            units: slots,
            levels: Vec::new(),
            rows: committed.len() as i64,
            counted: true,
        };
        let table = Table {
            column_ids: rows.iter().map(|c| c.id).collect(),
            next_column: rows.iter().map(|c| c.id).max().unwrap_or(0) + 1,
            def,
            rowset: rowset.id,
            committed,
            loaded: false,
        };
        Ok(Source { table, rowset })
    }

    /// The nonclustered indexes of a table.
    pub fn nonclustered(&self, object: u32) -> Vec<IndexDef> {
        let own = self.indexes.iter().filter(|i| {
            i.object == object && i.kind == NONCLUSTERED && i.status & (index::DISABLED | index::HYPOTHETICAL) == 0
        });
        own.map(|i| {
            let columns = || self.index_columns.iter().filter(|c| c.object == object && c.index == i.index);
            let mut key: Vec<&IndexColumnRow> = columns().filter(|c| c.key_ordinal > 0).collect();
            key.sort_by_key(|c| c.key_ordinal);
            IndexDef {
                id: i.index,
                name: i.name.clone(),
                unique: i.status & index::UNIQUE != 0,
                primary: i.status & index::PRIMARY_KEY != 0,
                constraint: i.status & (index::PRIMARY_KEY | index::UNIQUE_CONSTRAINT) != 0,
                columns: key.iter().map(|c| (c.column, c.descending)).collect(),
                included: columns().filter(|c| c.key_ordinal == 0).map(|c| c.column).collect(),
            }
        })
        .collect()
    }

    /// The rowset of a nonclustered index.
    pub fn index_rowset(&self, object: u32, index: u32) -> Option<u64> {
        self.index_rowsets.iter().find(|r| r.object == object && r.index == index).map(|r| r.id)
    }

    /// Page and slot of an allocation unit's row.
    pub fn place_of_unit(&self, unit: u64) -> Option<(u32, u16)> {
        self.unit_places.get(&unit).copied()
    }

    /// The allocation units of a rowset.
    pub fn units_of(&self, rowset: u64) -> &[AllocUnitRow] {
        self.units.get(&rowset).map_or(&[], Vec::as_slice)
    }

    /// A table's clustered index, with the constraint that it is for.
    pub fn clustered_key(&self, object: u32) -> Option<KeyName> {
        let index = self.clustered(object)?;
        let kind = kind_of(index);
        let is_own = |c: &&KeyRow| c.table == object && c.name == index.name;
        let constraint = self.keys.iter().find(is_own).filter(|_| !matches!(kind, KeyKind::Index { .. }));
        let object = constraint.map(|c| c.object);
        Some(KeyName {
            name: index.name.clone(),
            system_named: constraint.is_some_and(|c| c.system_named),
            kind,
            object,
        })
    }

    /// The object id of the constraint that a nonclustered index is for.
    pub fn key_object(&self, object: u32, index: &str) -> Option<(u32, bool)> {
        self.keys.iter().find(|c| c.table == object && c.name == index).map(|c| (c.object, c.system_named))
    }

    fn clustered(&self, object: u32) -> Option<&IndexRow> {
        self.indexes.iter().find(|i| i.object == object && i.index == 1 && i.kind == CLUSTERED)
    }

    /// The columns of the clustered index, as places; none of a heap.
    fn clustered_columns(&self, object: u32, rows: &[&ColumnRow]) -> Vec<usize> {
        if self.clustered(object).is_none() {
            return Vec::new();
        }
        let mut own: Vec<&IndexColumnRow> =
            self.index_columns.iter().filter(|c| c.object == object && c.index == 1 && c.key_ordinal > 0).collect();
        own.sort_by_key(|c| c.key_ordinal);
        own.iter().filter_map(|key| rows.iter().position(|c| c.id == key.column)).collect()
    }

    fn row_layout(&self, rowset: u64, rows: &[&ColumnRow], physical: &[RowsetColumnRow]) -> Option<RowLayout> {
        let mut columns = Vec::new();
        for row in rows {
            let Some(found) = physical.iter().find(|p| p.column == row.id && p.is_live()) else { continue };
            let missing = match self.defaults.get(&(rowset, u64::from(found.hobt_column))) {
                Some(value) => Some(value.clone()?.into_boxed_slice()),
                None => None,
            };
            columns.push(PhysicalColumn {
                place: place_of(found)?,
                null_bit: found.leaf_null_bit.saturating_sub(1),
                missing,
            });
        }
        Some(RowLayout::new(columns))
    }
}

/// What a clustered index is for.
fn kind_of(row: &IndexRow) -> KeyKind {
    match row.status {
        s if s & index::PRIMARY_KEY != 0 => KeyKind::PrimaryKey,
        s if s & index::UNIQUE_CONSTRAINT != 0 => KeyKind::Unique,
        s => KeyKind::Index { unique: s & index::UNIQUE != 0 },
    }
}

type Units = BTreeMap<u64, Vec<AllocUnitRow>>;

fn rows_of<T>(
    pages: &Pages,
    units: &Units,
    rowset: u64,
    read: fn(&FixedVar<'_>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Error> {
    let mut out = Vec::new();
    if let Some(unit) = units.get(&rowset).into_iter().flatten().find(|u| u.kind == IN_ROW) {
        pages.each_record(unit.first_iam, &mut |_, row| {
            out.push(read(&FixedVar::read(row)?)?);
            Ok(())
        })?;
    }
    Ok(out)
}

fn rows_of_object<T>(
    pages: &Pages,
    units: &Units,
    rowset: Option<u64>,
    read: fn(&FixedVar<'_>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Error> {
    rowset.map_or(Ok(Vec::new()), |rowset| rows_of(pages, units, rowset, read))
}

/// A row as callers would have given it.
fn read_row(pages: &Pages, layout: &RowLayout, record: &[u8], def: &TableDef) -> FormatResult<Row> {
    let mut cells = Vec::new();
    layout.decode(record, &mut cells)?;
    let mut cells = cells.into_iter();
    def.columns
        .iter()
        .map(|column| {
            if column.computed {
                return Ok(None);
            }
            match cells.next() {
                Some(RawCell::Bytes(bytes)) => Ok(Some(bytes.to_vec())),
                Some(RawCell::OffRow(pointer)) => pages.value(&pointer),
                Some(RawCell::Null) | None => Ok(None),
            }
        })
        .collect()
}

/// Seed and increment of `idtval`, which has the last value before them and a byte of flags behind.
fn identity(bytes: &[u8]) -> Option<Identity> {
    let (_, values) = bytes.split_last()?;
    let len = values.len() / 3;
    let number = |at: usize| -> Option<i64> {
        let b = values.get(at * len..(at + 1) * len)?;
        Some(match *b {
            [a] => i64::from(a),
            [a, b] => i64::from(i16::from_le_bytes([a, b])),
            [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
            _ => return None,
        })
    };
    Some(Identity { seed: number(1)?, increment: number(2).filter(|n| *n != 0)? })
}

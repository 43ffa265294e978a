//! Tables that are made, changed and dropped: rows of system tables, in transactions of their own or in one of a caller's.

use std::collections::BTreeMap;
use std::sync::Arc;

use logferry_mssql_format::catalog::{base_rowset, is_base_rowset};
use serde::{Deserialize, Serialize};

use super::change::plain_row;
use super::entry::Indexed;
use super::index::STATISTICS;
use super::space::{AllocUnit, UnitKind};
use super::system::definitions::{
    SYSCLSOBJS, SYSCOLPARS, SYSIDXSTATS, SYSISCOLS, SYSOBJVALUES, SYSSCHOBJS, SYSSINGLEOBJREFS,
};
use super::system::{CLASS_CONSTRAINT, CLASS_INDEX, CLASS_SCHEMA, after, int, object_lock, short, system_rowset, tiny};
use super::table::{Form, TableLayout, TypeCodes, sort_key};
use super::xact::{Undo, XactOptions};
use super::{By, Database, Error, ROW_MAX, Row, RowKey, Table, TableDef};

/// Kinds of metadata that are locked when an object goes; what they are called is not known.
pub(super) const METADATA_LOCKS: [u16; 2] = [0x12C, 0x13B];
/// Index id that the LOBs of a table have on pages made on SQL Server 2000.
pub(super) const TEXT_INDEX: u16 = 255;

/// What a clustered index is for.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub enum KeyKind {
    /// PRIMARY KEY
    #[default]
    PrimaryKey,
    /// UNIQUE
    Unique,
    /// No constraint: CREATE CLUSTERED INDEX.
    Index {
        /// CREATE UNIQUE CLUSTERED INDEX
        unique: bool,
    },
}

impl KeyKind {
    /// Whether columns of its key may be NULL.
    pub fn is_loose(self) -> bool {
        self != KeyKind::PrimaryKey
    }
}

/// Name of a clustered index, and of the constraint that it is for.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct KeyName {
    /// The name.
    pub name: String,
    /// Whether the server made it up.
    pub system_named: bool,
    /// What it is for.
    pub kind: KeyKind,
    /// Object id of the constraint; none: the one behind the table's own.
    pub object: Option<u32>,
}

impl KeyName {
    /// `PK_` and the table's name.
    pub fn of_table(table: &str) -> Self {
        KeyName { name: format!("PK_{table}"), ..KeyName::default() }
    }
}

impl Database {
    /// Makes a schema.
    pub fn create_schema(&mut self, name: &str) -> Result<u32, Error> {
        self.writable()?;
        if self.schemas.contains_key(name) {
            return Err(Error::NameTaken(name.into()));
        }
        let id = self.schemas.values().max().map_or(5, |last| (last + 1).max(5));
        let xact = self.begin_definition(XactOptions { name: "CREATE SCHEMA", ..XactOptions::default() }, None);
        let by = By::Xact(xact.0);
        self.undoable(by, self.last_lsn(by), Undo::Schema { name: name.to_owned(), id: None });
        let created = Some(self.clock.datetime().to_vec());
        self.insert_schema_row(by, id, name, created);
        self.end_definition(xact)?;
        Ok(id)
    }

    /// Drops a schema that has no tables.
    pub fn drop_schema(&mut self, name: &str) -> Result<(), Error> {
        self.writable()?;
        if let Some(table) = self.tables.values().find(|t| t.def.schema == name) {
            return Err(Error::Unsupported(format!("dropping schema {name}, which has table {}", table.def.name)));
        }
        let id = self.schemas.remove(name).ok_or_else(|| Error::NotFound(format!("schema {name}")))?;
        let xact = self.begin_definition(XactOptions { name: "DROP SCHEMA", ..XactOptions::default() }, None);
        let by = By::Xact(xact.0);
        self.undoable(by, self.last_lsn(by), Undo::Schema { name: name.to_owned(), id: Some(id) });
        self.delete_system_row(by, SYSCLSOBJS, &[Some(vec![CLASS_SCHEMA]), int(id)]);
        self.end_definition(xact)?;
        Ok(())
    }

    /// The object id that the next table will have.
    pub fn next_table(&self) -> u32 {
        self.next_object
    }

    /// Name of a table's clustered index.
    pub fn key_name(&self, table: u32) -> Option<String> {
        self.clustered_key(table).map(|key| key.name.clone())
    }

    /// A table's clustered index.
    pub fn clustered_key(&self, table: u32) -> Option<&KeyName> {
        self.key_names.get(&table)
    }

    /// Whether no two rows have the same clustered key.
    pub fn is_key_unique(&self, table: u32) -> bool {
        !matches!(self.clustered_key(table).map(|key| key.kind), Some(KeyKind::Index { unique: false }))
    }

    /// Makes a clustered index of a heap: its rows move to a new rowset, its nonclustered indexes are built anew. (Observed on 2008, of heaps without rows or indexes; what a
    /// server logs of those is not known, no log with one is at hand: here it is what a rebuild logs.)
    ///
    /// # Errors
    /// When another transaction has changed the table and not ended.
    pub fn cluster(&mut self, table: u32, columns: Vec<usize>, key: KeyName) -> Result<(), Error> {
        self.writable()?;
        let held = self.unlocked(table)?;
        if !self.rowset(held.rowset).is_heap() || self.options.ids_of_2000 {
            return Err(Error::Unsupported("a clustered index of anything but a heap".into()));
        }
        let (def, schema) = (TableDef { primary_key: columns, ..held.def.clone() }, held.def.schema.clone());
        let schema = self.schemas.get(&schema).copied().unwrap_or(1);
        self.flush_counts();
        let name =
            if key.kind == KeyKind::PrimaryKey || key.kind == KeyKind::Unique { "ALTER TABLE" } else { "CREATE INDEX" };
        let xact = self.begin_ddl(name, table);
        let by = By::Xact(xact.0);
        self.key_names.insert(table, key);
        if let Some(held) = self.tables.get_mut(&table) {
            held.def = def.clone();
        }
        self.rebuild_base(xact.0, table)?;
        self.note_modified(by, table);
        let heap = [int(table), int(0)];
        self.change_system_row(by, SYSIDXSTATS, &heap, 31, &[0; 8]);
        self.delete_system_row(by, SYSIDXSTATS, &heap);
        self.delete_reference(by, CLASS_INDEX, table, 0);
        let rowset = self.table_at(table)?.rowset;
        self.insert_index_rows(by, table, &def, schema, rowset);
        let ids: Vec<u32> = self.indexes(table).map(|i| i.id).collect();
        for id in ids {
            self.rebuild_nonclustered(xact.0, table, id)?;
        }
        self.end_definition(xact)?;
        Ok(())
    }

    /// Makes a table and gives its object id. Its primary key is named after it.
    pub fn create_table(&mut self, def: TableDef) -> Result<u32, Error> {
        let key = KeyName::of_table(&def.name);
        self.create_table_with_key(def, key)
    }

    /// Makes a table whose primary key has a name, and gives its object id.
    pub fn create_table_with_key(&mut self, def: TableDef, key: KeyName) -> Result<u32, Error> {
        self.writable()?;
        let schema = *self.schemas.get(&def.schema).ok_or_else(|| Error::NotFound(format!("schema {}", def.schema)))?;
        if self.table(&def.schema, &def.name).is_some() {
            return Err(Error::NameTaken(format!("{}.{}", def.schema, def.name)));
        }
        for column in &def.columns {
            TypeCodes::of(&column.sql_type)?;
        }
        let layout = TableLayout::clustered(&def, Some(key.kind));
        fits(&layout)?;
        let (xact, object) = self.begin_new("CREATE TABLE");
        self.definitions.note_made(object);
        if !def.primary_key.is_empty() {
            self.key_names.insert(object, key);
        }
        let by = By::Xact(xact.0);
        let index = u32::from(!layout.key.is_empty());
        let rowset = if self.options.ids_of_2000 {
            base_rowset(object, index as u16)
        } else {
            self.next_rowset += 1 << 16;
            self.next_rowset - (1 << 16)
        };
        self.add_rowset(rowset, object, index, layout);
        self.insert_object_rows(by, object, &def, schema, *b"U ", rowset)?;
        self.end_definition(xact)?;
        let next_column = def.columns.len() as u32 + 1;
        let column_ids = (1..next_column).collect();
        let table = Table { def, rowset, column_ids, next_column, committed: BTreeMap::new(), loaded: false };
        self.tables.insert(object, table);
        Ok(object)
    }

    /// DROP TABLE: its pages are given back, with their rows on them.
    ///
    /// # Errors
    /// When a transaction has changed the table and not ended.
    pub fn drop_table(&mut self, table: u32) -> Result<(), Error> {
        self.writable()?;
        let held = self.unlocked(table)?;
        let (rowset, column_ids) = (held.rowset, held.column_ids.clone());
        let layout = Arc::clone(&self.rowset(rowset).layout);
        let xact = self.begin_ddl("DROPOBJ", table);
        let by = By::Xact(xact.0);
        self.flush_counts();
        self.drop_rowset(by, rowset);
        self.forget_indexes(by, table);
        self.note_modified(by, table);
        let keyed = !layout.key.is_empty();
        let index = u32::from(keyed);
        self.change_system_row(by, SYSIDXSTATS, &[int(table), int(index)], 31, &[0; 8]);
        self.forget_constraints(by, table);
        let constraint = self.key_names.get(&table).filter(|key| !matches!(key.kind, KeyKind::Index { .. }));
        if let Some(constraint) = constraint {
            let key = constraint.object.unwrap_or_else(|| key_object(table));
            for object in [key, table] {
                self.write(by, |r, h| {
                    r.lock_xact(h, &object_lock(5, object));
                });
            }
            self.note_modified(by, key);
            self.lock_metadata(by, key);
            self.delete_reference(by, CLASS_CONSTRAINT, key, 0);
            self.delete_system_row(by, SYSSCHOBJS, &[int(key)]);
        }
        self.lock_metadata(by, table);
        self.delete_system_row(by, SYSIDXSTATS, &[int(table), int(index)]);
        self.delete_reference(by, CLASS_INDEX, table, index);
        for ordinal in 1..=layout.key.len() {
            self.delete_system_row(by, SYSISCOLS, &[int(table), int(1), int(ordinal as u32)]);
        }
        if keyed {
            self.delete_system_row(by, SYSOBJVALUES, &[tiny(STATISTICS), int(table), int(1), int(0)]);
        }
        for id in column_ids {
            self.delete_system_row(by, SYSCOLPARS, &[int(table), short(0), int(id)]);
        }
        self.delete_system_row(by, SYSSCHOBJS, &[int(table)]);
        self.invalidate_object(by, table);
        self.end_definition(xact)?;
        self.tables.remove(&table);
        self.key_names.remove(&table);
        Ok(())
    }

    /// The allocation units that the columns of a rowset may need and that it does not have yet.
    pub(super) fn add_units(&mut self, by: By, rowset: u64) {
        let held = self.rowset(rowset);
        let columns = || held.layout.columns.iter().filter(|c| c.logical.is_some());
        let lob = columns().any(|c| c.sql_type.is_lob());
        // Rows that may be longer than a page have a place for what is too much.
        let overflow = held.layout.form == Form::Row && held.layout.max_leaf() > ROW_MAX as u32;
        let kinds = [(UnitKind::InRow, true), (UnitKind::Overflow, overflow), (UnitKind::Lob, lob)];
        for (kind, needed) in kinds {
            if needed && self.rowset(rowset).units[kind.index()].is_none() {
                // Ids that count up are those of rowsets made later, by a rebuild.
                let of_2000 = rowset >> 56 == 0 && !is_base_rowset(rowset);
                let unit = match kind {
                    UnitKind::InRow if of_2000 => rowset,
                    UnitKind::Lob if of_2000 => base_rowset((rowset >> 16) as u32, TEXT_INDEX),
                    _ => self.next_unit_id(),
                };
                self.rowset_mut(rowset).units[kind.index()] = Some(AllocUnit::new(unit));
                self.insert_unit_row(by, rowset, kind);
            }
        }
    }

    /// What the other changes of a table have in common: the date in `sysschobjs`, the shape of its rows in `sysrowsets`.
    pub(super) fn note_altered(&mut self, by: By, table: u32, rowset: u64) {
        self.write_hobt_change(by, rowset);
        self.note_modified(by, table);
        self.note_shape(by, rowset);
    }

    /// What is known of an object is locked before it goes. (Observed on 2016; 2019 takes the first of these locks only.)
    pub(super) fn lock_metadata(&mut self, by: By, object: u32) {
        for kind in METADATA_LOCKS {
            self.write(by, |r, h| {
                r.lock_xact(h, &metadata_lock(kind, object));
            });
        }
    }

    pub(super) fn write_hobt_change(&mut self, by: By, rowset: u64) {
        let before = self.last_lsn(by);
        self.write(by, |r, h| {
            r.hobt_ddl(h, rowset, 2);
        });
        self.undoable(by, before, Undo::HobtChange(rowset));
    }

    /// What is known of an object is not so any more.
    pub(super) fn invalidate_object(&mut self, by: By, object: u32) {
        let before = self.last_lsn(by);
        self.write(by, |r, h| {
            r.invalidate_object(h, 1, object);
        });
        self.undoable(by, before, Undo::Invalidated(object));
    }

    pub(super) fn has_system_row(&self, object: u32, values: &[Option<Vec<u8>>]) -> bool {
        self.live_row(system_rowset(object), &self.system_key(object, values)).is_some()
    }

    pub(super) fn find_by_key(&self, object: u32, values: &[Option<Vec<u8>>]) -> (u32, u16) {
        let key = self.system_key(object, values);
        self.find_row(system_rowset(object), &key).expect("system tables know all objects")
    }

    pub(super) fn delete_reference(&mut self, by: By, class: u8, id: u32, part: u32) {
        self.delete_system_row(by, SYSSINGLEOBJREFS, &[int(id), Some(vec![class]), int(part)]);
    }

    pub(super) fn delete_system_row(&mut self, by: By, object: u32, values: &[Option<Vec<u8>>]) {
        let rowset = system_rowset(object);
        let key = self.system_key(object, values);
        let Some(image) = self.live_row(rowset, &key) else { return };
        let row = plain_row(&self.rowset(rowset).layout, image);
        self.index_delete(by, object, Indexed { row: &row, key: &RowKey::Key(key.clone()) })
            .expect("nobody else changes system tables");
        self.tree_ghost(by, rowset, &key);
    }

    /// Deletes the rows of a system table whose keys begin so.
    pub(super) fn delete_system_rows(&mut self, by: By, object: u32, values: &[Option<Vec<u8>>]) {
        let rowset = system_rowset(object);
        let prefix = self.system_key(object, values);
        for key in self.keys_from(rowset, &prefix) {
            let image = self.live_row(rowset, &key).map(<[u8]>::to_vec).unwrap_or_default();
            let row = plain_row(&self.rowset(rowset).layout, &image);
            self.index_delete(by, object, Indexed { row: &row, key: &RowKey::Key(key.clone()) })
                .expect("nobody else changes system tables");
            self.tree_ghost(by, rowset, &key);
        }
    }

    /// The key of a row of a system table, from the values of its key columns.
    pub(super) fn system_key(&self, object: u32, values: &[Option<Vec<u8>>]) -> Vec<u8> {
        let layout = &self.rowset(system_rowset(object)).layout;
        let mut key = Vec::new();
        for (at, value) in layout.key.iter().zip(values) {
            sort_key(&layout.columns[*at].sql_type, value.as_deref().unwrap_or_default(), &mut key);
        }
        key
    }
}

impl Table {
    /// Changes the shape of all rows.
    pub(super) fn each_row(&mut self, change: impl Fn(&mut Row)) {
        let rows: Vec<RowKey> = self.committed.keys().cloned().collect();
        for key in rows {
            if let Some(row) = self.committed.get_mut(&key) {
                change(Arc::make_mut(row));
            }
        }
    }
}

/// The lock element of what is known of an object.
pub(super) fn metadata_lock(kind: u16, object: u32) -> Vec<u8> {
    let mut lock = vec![5, 0x0A, 0, 0x10];
    lock.extend(kind.to_le_bytes());
    lock.extend([0, 0, 0]);
    lock.extend(object.to_le_bytes());
    lock.extend([0, 0, 0]);
    lock
}

/// Object id of a table's primary key: the one that was given out after the table's own.
pub fn key_object(table: u32) -> u32 {
    after(table)
}

/// Whether a row has room for what it must hold.
pub(super) fn fits(layout: &TableLayout) -> Result<(), Error> {
    match usize::from(layout.row.fixed_end) {
        len if len > ROW_MAX - 300 => Err(Error::RowTooLong(len)),
        _ => Ok(()),
    }
}

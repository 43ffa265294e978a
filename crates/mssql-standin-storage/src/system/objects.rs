//! The rows of objects: tables with their columns, rowsets and keys, schemas, and what depends on what.

use std::sync::Arc;

use super::super::ddl::{KeyKind, KeyName, key_object};
use super::super::index::rowset_lock;
use super::super::space::UnitKind;
use super::super::table::{ColumnDef, Form};
use super::super::xact::Transaction;
use super::super::{By, Database, Error, FILE, Row, TableDef};
use super::definitions::{
    SYSALLOCUNITS, SYSCLSOBJS, SYSCOLPARS, SYSROWSETS, SYSRSCOLS, SYSSCHOBJS, SYSSINGLEOBJREFS, system_rowset,
};
use super::rows::{column_row, int, long, object_lock, short, stored_column_row, text, tiny};
use super::{CLASS_CONSTRAINT, CLASS_INDEX, CLASS_SCHEMA, IDTVAL, SYS_SCHEMA};
use crate::constraint::SYSTEM_NAMED;
use logferry_mssql_format::page::PageId;

impl Database {
    /// The rows that describe a table, in the order in which CREATE TABLE writes them.
    pub(crate) fn insert_object_rows(
        &mut self,
        by: By,
        object: u32,
        def: &TableDef,
        schema: u32,
        kind: [u8; 2],
        rowset: u64,
    ) -> Result<(), Error> {
        let user = kind == *b"U ";
        let status = if user { 0x000A_0000 } else { 0x2000 };
        let columns = def.columns.len() as u32;
        let row = self.object_row(object, &def.name, schema, (status, kind), (0, if user { 0 } else { columns }));
        self.insert_system_row(by, SYSSCHOBJS, &row);
        if user {
            // It is there, but is not whole yet: its columns come next, and then how many there are.
            self.change_system_row(by, SYSSCHOBJS, &[int(object)], 15, &[0x0E]);
        }
        let identity = |c: &ColumnDef| user && c.identity.is_some();
        for (at, column) in def.columns.iter().enumerate() {
            let mut row = column_row(object, at as u32 + 1, column)?;
            if identity(column) {
                row[IDTVAL] = None;
            }
            self.insert_system_row(by, SYSCOLPARS, &row);
        }
        if user {
            self.change_system_row(by, SYSSCHOBJS, &[int(object)], 24, &columns.to_le_bytes());
        }
        for (at, column) in def.columns.iter().enumerate().filter(|(_, c)| identity(c)) {
            let id = at as u32 + 1;
            let image = self.encode_plain(system_rowset(SYSCOLPARS), &column_row(object, id, column)?);
            let (page, slot) = self.find_by_key(SYSCOLPARS, &[int(object), short(0), int(id)]);
            self.modify_system_row(by, page, slot, &image);
        }
        self.insert_rowset_row(by, rowset)?;
        if user {
            self.write(by, |r, h| {
                r.lock_xact(h, &rowset_lock(5, rowset));
            });
            self.add_units(by, rowset);
        }
        self.insert_rowset_columns(by, rowset)?;
        if user {
            self.write(by, |r, h| {
                r.hobt_ddl(h, rowset, 1);
            });
        }
        self.insert_index_rows(by, object, def, schema, rowset);
        Ok(())
    }

    /// The row of `sysrowsets`.
    pub(crate) fn insert_rowset_row(&mut self, by: By, rowset: u64) -> Result<(), Error> {
        let held = self.rowset(rowset);
        let (object, index, layout) = (held.object_id, held.index_id, Arc::clone(&held.layout));
        let entries = layout.form == Form::Entry;
        let heap = layout.key.is_empty();
        let system = object < 1000;
        let unique = !heap
            && self.indexes.get(&object).into_iter().flatten().all(|i| i.def.id != index || i.def.unique)
            && !layout.has_uniquifier()
            && layout.key.len() == layout.columns.iter().filter(|c| c.key_ordinal > 0).count();
        let bit = |on: bool, bit: u32| if on { bit } else { 0 };
        let status = 0x0004_0042 | bit(unique, 4) | bit(!entries, 0x200) | bit(!system, 0x2000);
        let fixed = layout.row.fixed_end;
        let (min_int, max_int) = layout.internal_sizes();
        let mut row = vec![
            long(rowset),
            tiny(1),
            int(object),
            int(index),
            int(1),
            int(status),
            short(0),
            long(0),
            tiny(0),
            tiny(0),
            short(layout.columns.len() as u16),
            int(layout.max_leaf()),
            short(max_int),
            short(fixed),
            short(min_int),
        ];
        row.extend([None, None, int(1)]);
        self.insert_system_row(by, SYSROWSETS, &row);
        Ok(())
    }

    /// The rows of `sysrscols`.
    pub(crate) fn insert_rowset_columns(&mut self, by: By, rowset: u64) -> Result<(), Error> {
        let layout = Arc::clone(&self.rowset(rowset).layout);
        for (at, column) in layout.columns.iter().enumerate() {
            self.insert_system_row(by, SYSRSCOLS, &stored_column_row(rowset, at, column)?);
        }
        Ok(())
    }

    pub(crate) fn insert_index_rows(&mut self, by: By, object: u32, def: &TableDef, schema: u32, rowset: u64) {
        let heap = def.primary_key.is_empty();
        let user = schema != SYS_SCHEMA;
        let key = self.key_names.get(&object).cloned().unwrap_or_else(|| KeyName::of_table(&def.name));
        let name = if user { key.name.clone() } else { "clst".to_owned() };
        let system_named = key.system_named;
        let status = match (heap, user) {
            (true, _) => 1,
            (false, true) => match key.kind {
                KeyKind::PrimaryKey => 0x2B,
                KeyKind::Unique => 0x4B,
                KeyKind::Index { unique: true } => 0xB,
                KeyKind::Index { unique: false } => 0x3,
            },
            (false, false) => 0x8000B,
        };
        let index = u32::from(!heap);
        self.insert_index_row(by, object, index, (!heap).then_some(&name), (status, u8::from(!heap)), rowset);
        // Where its LOBs are. (Observed on 2016: a table that has none has no such row.)
        if user && def.columns.iter().any(|c| c.sql_type.is_lob() && !c.computed) {
            self.insert_reference(by, (CLASS_INDEX, object, index), 1);
        }
        for (ordinal, place) in def.primary_key.iter().enumerate() {
            let ordinal = ordinal as u8 + 1;
            let known = self.tables.get(&object).and_then(|t| t.column_ids.get(*place).copied());
            let column = known.unwrap_or(*place as u32 + 1);
            self.insert_index_column(by, (object, 1), ordinal, (3, column), ordinal);
        }
        if !user {
            return;
        }
        if !heap {
            self.insert_statistics(by, object, 1);
        }
        if self.tables.contains_key(&object) {
            self.note_modified(by, object);
        }
        self.end_rowset(by, rowset);
        let code = match key.kind {
            KeyKind::PrimaryKey => *b"PK",
            KeyKind::Unique => *b"UQ",
            KeyKind::Index { .. } => return,
        };
        if heap {
            return;
        }
        let key = match (key.object, by) {
            (known, By::Xact(xact)) => {
                let key = known.unwrap_or_else(|| self.promise_object_id());
                self.take_object_id(Transaction(xact), key);
                key
            }
            (known, _) => known.unwrap_or_else(|| key_object(object)),
        };
        self.write(by, |r, h| {
            r.lock_xact(h, &object_lock(5, key));
        });
        let named = if system_named { SYSTEM_NAMED } else { 0 };
        let row = self.object_row(key, &name, schema, (named, code), (object, 0));
        self.insert_system_row(by, SYSSCHOBJS, &row);
        self.insert_reference(by, (CLASS_CONSTRAINT, key, 0), 1);
    }

    /// A row of `sysschobjs`.
    pub(crate) fn object_row(
        &self,
        id: u32,
        name: &str,
        schema: u32,
        (status, kind): (u32, [u8; 2]),
        (parent, property): (u32, u32),
    ) -> Row {
        let now = Some(self.clock.datetime().to_vec());
        vec![
            int(id),
            text(name),
            int(schema),
            tiny(0),
            int(status),
            Some(kind.to_vec()),
            int(parent),
            tiny(1),
            int(property),
            now.clone(),
            now,
            int(0),
        ]
    }

    /// A row of `syssingleobjrefs`: what depends (class, id, part), and on what.
    pub(crate) fn insert_reference(&mut self, by: By, dependent: (u8, u32, u32), on: u32) {
        self.insert_reference_to(by, dependent, (on, 0));
    }

    /// The same, on a part of something.
    pub(crate) fn insert_reference_to(&mut self, by: By, (class, id, part): (u8, u32, u32), (on, on_part): (u32, u32)) {
        let row = vec![tiny(class), int(id), int(part), int(on), int(on_part), int(0)];
        self.insert_system_row(by, SYSSINGLEOBJREFS, &row);
    }

    pub(crate) fn insert_unit_row(&mut self, by: By, rowset: u64, kind: UnitKind) {
        let unit = self.unit(rowset, kind);
        let page = |page: u32| {
            let id = if page == 0 { PageId::default() } else { PageId::new(FILE, page) };
            Some(id.to_bytes().to_vec())
        };
        let long = |n: i64| Some(n.to_le_bytes().to_vec());
        let row = vec![
            long(unit.id as i64),
            tiny(kind.code()),
            long(rowset as i64),
            int(0),
            short(1),
            page(unit.first),
            page(unit.root),
            page(unit.iam),
            long(unit.used),
            long(unit.data),
            long(unit.reserved),
        ];
        self.insert_system_row(by, SYSALLOCUNITS, &row);
    }

    pub(crate) fn insert_schema_row(&mut self, by: By, id: u32, name: &str, created: Option<Vec<u8>>) {
        self.insert_system_row(
            by,
            SYSCLSOBJS,
            &vec![tiny(CLASS_SCHEMA), int(id), text(name), int(0), Some(vec![0, 0]), int(1), created.clone(), created],
        );
        self.schemas.insert(name.to_owned(), id);
    }
}

//! System tables: what a reader has to know to find user tables and their rows.
//!
//! They are tables like any other, with ids that are the same in every database, and their rows are written like
//! any other rows. Only their first pages are laid without a record: on a server they come from the model database.

pub(super) mod definitions;
mod rows;

use std::sync::Arc;

use logferry_model::{Lsn, SqlType};
use logferry_mssql_format::catalog::base_rowset;
use logferry_mssql_format::encode::{BootPage, CountDelta, FormatPage, PageImage, boot_page, iam_page};
use logferry_mssql_format::log::op::Context;
use logferry_mssql_format::page::{EXTENT_PAGES, PageId, PageType};

pub(super) use self::definitions::system_rowset;
use self::definitions::{
    INDEXES, SCALAR_TYPES, SYSALLOCUNITS, SYSCLSOBJS, SYSCOLPARS, SYSOBJVALUES, SYSROWSETS, SYSRSCOLS, SYSSCALARTYPES,
    SYSSCHOBJS, SYSSINGLEOBJREFS, definitions, system_index,
};
pub(super) use self::rows::{column_row, int, long, object_lock, short, stored_column_row, text, tiny};
use super::constraint::SYSTEM_NAMED;
use super::ddl::{KeyKind, KeyName, TEXT_INDEX};
use super::entry::{Index, Indexed, Kept, entry_layout};
use super::index::rowset_lock;
use super::space::{AllocUnit, UnitKind};
use super::table::{ColumnDef, DEFAULT_COLLATION, Form, TableLayout, sort_key};
use super::xact::XactOptions;
use super::{BOOT_PAGE, By, Database, Error, FILE, Node, Row, RowKey, TableDef, VERSION};

/// `sys`
const SYS_SCHEMA: u32 = 4;
/// Place of `idtval` in `syscolpars`.
const IDTVAL: usize = 15;
/// Classes in `syssingleobjrefs`: an index on its data space, a constraint on its index.
pub(super) const CLASS_INDEX: u8 = 8;
pub(super) const CLASS_CONSTRAINT: u8 = 0x5D;
/// Class of schemas in `sysclsobjs`.
pub(super) const CLASS_SCHEMA: u8 = 50;
/// Status of a dropped column in `sysrscols`.
const DROPPED: u32 = 2;
/// The same, of what makes rows of a clustered index unique.
const UNIQUIFIER: u32 = 0x10;
/// Object ids of user tables are so far apart.
pub(super) const OBJECT_STEP: u32 = 16_000_057;

impl Database {
    /// Makes the system tables and the boot page.
    pub(super) fn create_system_tables(&mut self) -> Result<(), Error> {
        let definitions = definitions();
        for (object, def) in &definitions {
            let layout = TableLayout::with_order(def, (0..def.columns.len()).collect());
            self.lay_system_rowset(*object, 1, layout);
        }
        for (object, index, null_bits) in INDEXES.iter().map(|i| (i.0, system_index(i), i.4)) {
            let base = Arc::clone(&self.rowset(system_rowset(object)).layout);
            let (layout, sources) = entry_layout(&base, &index).expect("system tables have plain keys");
            let rowset = self.lay_system_rowset(object, index.id, layout);
            let kept = Some(Kept { rowset, sources, null_bits });
            self.indexes.entry(object).or_default().push(Index { def: index, kept });
        }
        let first = PageId::new(FILE, self.unit(system_rowset(SYSALLOCUNITS), UnitKind::InRow).first);
        self.pages[BOOT_PAGE as usize] = Some(boot_page(&BootPage {
            version: VERSION,
            create_version: VERSION,
            compat_level: 130,
            created: self.clock.datetime(),
            name: self.options.name.clone(),
            database_id: 5,
            collation: DEFAULT_COLLATION.0,
            family_guid: self.guids.family,
            fork_guid: self.guids.fork,
            broker_guid: self.guids.broker,
            first_sysallocunits: first,
            checkpoint: Lsn::ZERO,
            next_transaction: self.next_xact,
            next_alloc_unit: self.next_unit,
        }));

        let xact = self.begin(XactOptions { name: "CREATE DATABASE", spid: 52 });
        let by = By::Xact(xact.0);
        let rowsets: Vec<u64> = self.rowsets.keys().copied().collect();
        for rowset in rowsets {
            self.insert_unit_row(by, rowset, UnitKind::InRow);
        }
        // Long texts of modules.
        let values = system_rowset(SYSOBJVALUES);
        self.rowset_mut(values).units[UnitKind::Lob.index()] =
            Some(AllocUnit::new(base_rowset(SYSOBJVALUES, TEXT_INDEX)));
        self.insert_unit_row(by, values, UnitKind::Lob);
        for (object, def) in &definitions {
            self.insert_object_rows(by, *object, def, SYS_SCHEMA, *b"S ", system_rowset(*object))?;
            for index in INDEXES.iter().filter(|i| i.0 == *object).map(system_index) {
                let rowset = system_rowset(*object) & 0xFFFF_FFFF_0000 | u64::from(index.id) << 48;
                self.insert_rowset_row(by, rowset)?;
                self.insert_rowset_columns(by, rowset)?;
                self.write_index(by, *object, &index, rowset);
            }
        }
        let created = Some(self.clock.datetime().to_vec());
        for (id, name) in [(1u32, "dbo"), (2, "guest"), (3, "INFORMATION_SCHEMA"), (4, "sys")] {
            self.insert_schema_row(by, id, name, created.clone());
        }
        for (id, name, xtype, length, precision, scale, collated) in SCALAR_TYPES {
            let collation = if *collated { DEFAULT_COLLATION.0 } else { 0 };
            let row = vec![
                int(*id),
                int(SYS_SCHEMA),
                text(name),
                tiny(*xtype),
                short(*length),
                tiny(*precision),
                tiny(*scale),
                int(collation),
                int(u32::from(*id == 189 || *id == 256)),
                created.clone(),
                created.clone(),
                int(0),
                int(0),
            ];
            self.insert_system_row(by, SYSSCALARTYPES, &row);
        }
        self.commit(xact)?;
        Ok(())
    }

    /// The page and slot of an allocation unit's row.
    pub(super) fn find_alloc_unit(&self, id: u64) -> (u32, u16) {
        self.find_system_row(SYSALLOCUNITS, &(id as i64).to_le_bytes())
    }

    /// Writes what has changed of the counts of rows and pages into the system tables.
    pub(super) fn flush_counts(&mut self) {
        let pending: Vec<u64> = self.rowsets.values().filter(|r| !r.counted).map(|r| r.id).collect();
        for id in pending {
            let rowset = self.rowset_mut(id);
            rowset.counted = true;
            let rows = rowset.rows;
            let units: Vec<(u64, [(i64, u32); 3])> =
                rowset.units.iter().flatten().map(|u| (u.id, [(u.data, 53), (u.used, 45), (u.reserved, 61)])).collect();
            for (unit, counts) in units {
                let (page, slot) = self.find_alloc_unit(unit);
                self.write_counts(page, slot, 0, id, &counts);
            }
            let (page, slot) = self.find_system_row(SYSROWSETS, &(id as i64).to_le_bytes());
            self.write_counts(page, slot, 1, id, &[(rows, 31)]);
        }
    }

    fn write_counts(&mut self, page: u32, slot: u16, table: u32, rowset: u64, counts: &[(i64, u32)]) {
        let delta = CountDelta { table, rowset, column: 0, counts };
        self.write_page(By::None, page, slot, |r, _, t| {
            r.count_delta(t, &delta);
        });
        let row = self.page_mut(page).row_mut(slot).expect("the row is there");
        for (value, offset) in counts {
            row[*offset as usize..][..8].copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Sets the row count of a rowset, as a change of its row in `sysrowsets`.
    pub(super) fn write_row_count(&mut self, by: By, rowset: u64, count: u64) {
        let (page, slot) = self.find_system_row(SYSROWSETS, &(rowset as i64).to_le_bytes());
        let mut row = self.page(page).row(slot).expect("the row is there").to_vec();
        row[31..39].copy_from_slice(&count.to_le_bytes());
        self.modify_system_row(by, page, slot, &row);
    }

    /// Changes a row of a system table in its place.
    pub(super) fn modify_system_row(&mut self, by: By, page: u32, slot: u16, row: &[u8]) {
        let rowset = self.page(page).header().alloc_unit();
        let key = self.rowset(rowset).layout.key_of_image(self.page(page).row(slot).expect("the row is there"));
        self.tree_modify(by, rowset, &key, row);
    }

    /// Finds the row of a system table by the bytes of a key of one `bigint` column.
    pub(super) fn find_system_row(&self, object: u32, key: &[u8]) -> (u32, u16) {
        let mut sortable = Vec::new();
        sort_key(&SqlType::BigInt, key, &mut sortable);
        self.find_row(system_rowset(object), &sortable).expect("system tables know all rowsets")
    }

    /// The first pages of a system table, or of an index of one, without a record.
    fn lay_system_rowset(&mut self, object: u32, index: u32, layout: TableLayout) -> u64 {
        let rowset = match index {
            1 => system_rowset(object),
            index => u64::from(index) << 48 | u64::from(object) << 16,
        };
        let mut unit = AllocUnit::new(rowset);
        let extent = self.free_extent();
        let iam = self.mixed_free.pop().unwrap_or_else(|| {
            let extent = self.next_extent + 1;
            self.set_map_bit(2, extent, false);
            self.mixed_free = (extent * EXTENT_PAGES..(extent + 1) * EXTENT_PAGES).rev().collect();
            self.mixed_free.pop().expect("an extent has pages")
        });
        let page = extent * EXTENT_PAGES;
        let (obj_id, index_id) = (unit.obj_id(), unit.index_id());
        self.pages[iam as usize] = Some(iam_page(PageId::new(FILE, iam), obj_id, index_id, 0, PageId::new(FILE, 0)));
        self.pages[page as usize] = Some(PageImage::format(&FormatPage {
            id: PageId::new(FILE, page),
            page_type: if layout.form == Form::Entry { PageType::INDEX } else { PageType::DATA },
            type_flags: 0,
            level: 0,
            obj_id,
            index_id,
            prev: PageId::default(),
            next: PageId::default(),
            min_len: layout.row.fixed_end,
        }));
        self.set_map_bit(2, extent, false);
        self.set_map_bit(iam, extent, true);
        self.set_pfs(page, 0x40);
        self.set_pfs(iam, 0x70);
        unit.first = page;
        unit.root = page;
        unit.iam = iam;
        unit.extents = vec![extent];
        unit.free = (page + 1..page + EXTENT_PAGES).rev().collect();
        (unit.used, unit.data, unit.reserved) = (2, 1, 9);
        self.add_rowset(rowset, object, index, layout);
        let held = self.rowset_mut(rowset);
        held.units = [Some(unit), None, None];
        held.levels = vec![vec![Node { low: Vec::new(), page }]];
        held.counted = false;
        rowset
    }

    /// The rows that describe a table, in the order in which CREATE TABLE writes them.
    pub(super) fn insert_object_rows(
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
                r.lock_xact(h, &rowset_lock(rowset));
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
    pub(super) fn insert_rowset_row(&mut self, by: By, rowset: u64) -> Result<(), Error> {
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
    pub(super) fn insert_rowset_columns(&mut self, by: By, rowset: u64) -> Result<(), Error> {
        let layout = Arc::clone(&self.rowset(rowset).layout);
        for (at, column) in layout.columns.iter().enumerate() {
            self.insert_system_row(by, SYSRSCOLS, &stored_column_row(rowset, at, column)?);
        }
        Ok(())
    }

    pub(super) fn insert_index_rows(&mut self, by: By, object: u32, def: &TableDef, schema: u32, rowset: u64) {
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
        if user {
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
        self.end_rowset(by, rowset);
        let code = match key.kind {
            KeyKind::PrimaryKey => *b"PK",
            KeyKind::Unique => *b"UQ",
            KeyKind::Index { .. } => return,
        };
        if heap {
            return;
        }
        let key = key.object.unwrap_or_else(|| self.next_object_id());
        self.write(by, |r, h| {
            r.lock_xact(h, &object_lock(5, key));
        });
        let named = if system_named { SYSTEM_NAMED } else { 0 };
        let row = self.object_row(key, &name, schema, (named, code), (object, 0));
        self.insert_system_row(by, SYSSCHOBJS, &row);
        self.insert_reference(by, (CLASS_CONSTRAINT, key, 0), 1);
    }

    /// A row of `sysschobjs`.
    pub(super) fn object_row(
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
    pub(super) fn insert_reference(&mut self, by: By, dependent: (u8, u32, u32), on: u32) {
        self.insert_reference_to(by, dependent, (on, 0));
    }

    /// The same, on a part of something.
    pub(super) fn insert_reference_to(&mut self, by: By, (class, id, part): (u8, u32, u32), (on, on_part): (u32, u32)) {
        let row = vec![tiny(class), int(id), int(part), int(on), int(on_part), int(0)];
        self.insert_system_row(by, SYSSINGLEOBJREFS, &row);
    }

    /// Changes bytes of a row of a system table.
    pub(super) fn change_system_row(
        &mut self,
        by: By,
        object: u32,
        key: &[Option<Vec<u8>>],
        offset: usize,
        bytes: &[u8],
    ) {
        let (page, slot) = self.find_by_key(object, key);
        let mut row = self.page(page).row(slot).expect("the row is there").to_vec();
        row[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.modify_system_row(by, page, slot, &row);
    }

    /// A word of a row of a system table.
    pub(super) fn system_word(&self, object: u32, key: &[Option<Vec<u8>>], offset: usize) -> u32 {
        let (page, slot) = self.find_by_key(object, key);
        let row = self.page(page).row(slot).expect("the row is there");
        row[offset..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word))
    }

    pub(super) fn insert_unit_row(&mut self, by: By, rowset: u64, kind: UnitKind) {
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

    pub(super) fn insert_schema_row(&mut self, by: By, id: u32, name: &str, created: Option<Vec<u8>>) {
        self.insert_system_row(
            by,
            SYSCLSOBJS,
            &vec![tiny(CLASS_SCHEMA), int(id), text(name), int(0), Some(vec![0, 0]), int(1), created.clone(), created],
        );
        self.schemas.insert(name.to_owned(), id);
    }

    pub(super) fn insert_system_row(&mut self, by: By, object: u32, row: &Row) {
        let rowset = system_rowset(object);
        let layout = Arc::clone(&self.rowset(rowset).layout);
        let key = layout.key_of(row);
        let image = self.encode_plain(rowset, row);
        self.tree_put(by, rowset, &key, &image);
        self.index_insert(by, object, Indexed { row, key: &RowKey::Key(key) })
            .expect("nobody else changes system tables");
    }

    pub(super) fn next_object_id(&mut self) -> u32 {
        let id = self.next_object;
        self.next_object += OBJECT_STEP;
        if self.next_object > i32::MAX as u32 {
            self.next_object -= i32::MAX as u32;
        }
        id
    }

    /// An id for an allocation unit; the boot page remembers the next one.
    pub(super) fn next_unit_id(&mut self) -> u64 {
        let id = self.next_unit;
        self.next_unit += 1 << 16;
        // The number is kept shifted: as the upper parts of the id.
        let stored = |id: u64| {
            let mut b = ((id >> 16) as u32).to_le_bytes().to_vec();
            b.extend(((id >> 48) as u32).to_le_bytes());
            b
        };
        self.change_boot(By::None, Context::OBJECT_ID, 736, &stored(self.next_unit), 2);
        id
    }

    /// Changes bytes of the boot page's record.
    pub(super) fn change_boot(&mut self, by: By, context: Context, offset: u16, after: &[u8], elements: usize) {
        let at = 96 + usize::from(offset);
        let before = self.page(BOOT_PAGE).bytes()[at..at + after.len()].to_vec();
        self.write_page(by, BOOT_PAGE, 0, |r, h, t| {
            r.modify_special(h, context, t, offset, (&before, after), &[], elements);
        });
        self.page_mut(BOOT_PAGE).bytes_mut()[at..at + after.len()].copy_from_slice(after);
    }
}

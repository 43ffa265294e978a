//! System tables: what a reader has to know to find user tables and their rows.
//!
//! They are tables like any other, with ids that are the same in every database, and their rows are written like
//! any other rows. Only their first pages are laid without a record: on a server they come from the model database.

pub(super) mod definitions;
mod ids;
mod objects;
mod rows;

use std::sync::Arc;

use logferry_model::{Lsn, SqlType};
use logferry_mssql_format::catalog::base_rowset;
use logferry_mssql_format::encode::{BootPage, CountDelta, FormatPage, PageImage, boot_page, iam_page};
use logferry_mssql_format::page::{EXTENT_PAGES, PageId, PageType};

pub(super) use self::definitions::system_rowset;
use self::definitions::{
    INDEXES, SCALAR_TYPES, SYSALLOCUNITS, SYSOBJVALUES, SYSROWSETS, SYSSCALARTYPES, definitions, system_index,
};
pub(super) use self::ids::{FIRST_OBJECT, after};
pub(super) use self::rows::{column_row, int, long, object_lock, short, stored_column_row, text, tiny};
use super::ddl::TEXT_INDEX;
use super::entry::{Index, Indexed, Kept, entry_layout};
use super::space::{AllocUnit, UnitKind};
use super::table::{DEFAULT_COLLATION, Form, TableLayout, sort_key};
use super::xact::XactOptions;
use super::{BOOT_PAGE, By, Database, Error, FILE, Node, Row, RowKey, VERSION};

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
        self.insert_taken_ids(by);
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

    pub(super) fn insert_system_row(&mut self, by: By, object: u32, row: &Row) {
        let rowset = system_rowset(object);
        let layout = Arc::clone(&self.rowset(rowset).layout);
        let key = layout.key_of(row);
        let image = self.encode_plain(rowset, row);
        self.tree_put(by, rowset, &key, &image);
        self.index_insert(by, object, Indexed { row, key: &RowKey::Key(key) })
            .expect("nobody else changes system tables");
    }
}

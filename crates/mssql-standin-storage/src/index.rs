//! Nonclustered indexes: made, dropped, and what system tables say of them. Their entries are in [`entry`](super::entry).

use std::sync::Arc;

use logferry_mssql_format::encode::{ColumnImage, PageImage, encode_index_record};
use logferry_mssql_format::log::op::Context;
use logferry_mssql_format::page::{PAGE_SIZE, PageId, PageType, RowId};

use super::clock;
use super::constraint::{ConstraintDef, ConstraintKind};
use super::entry::{Index, Indexed, Kept, entries_fit, entry_layout};
use super::space::{AllocUnit, First, UnitKind};
use super::system::definitions::{
    SYSALLOCUNITS, SYSIDXSTATS, SYSISCOLS, SYSOBJVALUES, SYSROWSETS, SYSRSCOLS, SYSSCHOBJS,
};
use super::system::{int, long, object_lock, text, tiny};
use super::table::{Form, TableLayout};
use super::xact::{SystemXact, Undo};
use super::{By, Database, Error, FILE, Node, Rowset, rid};

/// Bits of `sysidxstats.status`: an index, unique, a primary key, a unique constraint.
const INDEX: u32 = 0x3;
const UNIQUE: u32 = 0x8;
const PRIMARY_KEY: u32 = 0x20;
const UNIQUE_CONSTRAINT: u32 = 0x40;
/// Bits of `sysiscols.status`: a column of the key, in descending order, included.
const KEY_COLUMN: u32 = 0x3;
const DESCENDING: u32 = 0x4;
const INCLUDED: u32 = 0x10;
const NONCLUSTERED: u8 = 2;
/// `sysobjvalues.valclass` of statistics.
pub(super) const STATISTICS: u8 = 60;

/// A nonclustered index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexDef {
    /// `index_id`, from 2.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Whether no key is there twice.
    pub unique: bool,
    /// Whether it is the primary key's.
    pub primary: bool,
    /// Whether it is a constraint's.
    pub constraint: bool,
    /// `column_id`s of the key, with whether they are in descending order.
    pub columns: Vec<(u32, bool)>,
    /// `column_id`s of included columns.
    pub included: Vec<u32>,
}

impl Database {
    /// The nonclustered indexes of a table.
    pub fn indexes(&self, table: u32) -> impl Iterator<Item = &IndexDef> {
        self.indexes.get(&table).into_iter().flatten().map(|i| &i.def)
    }

    /// The constraint that a nonclustered index is for.
    pub fn key_constraint(&self, table: u32, index: u32) -> Option<&ConstraintDef> {
        let is_own = |c: &&ConstraintDef| matches!(c.kind, ConstraintKind::Key { index: of, .. } if of == index);
        self.constraints.get(&table)?.iter().find(is_own)
    }

    /// Makes the nonclustered indexes of a table what a list says.
    pub fn set_indexes(&mut self, table: u32, wanted: &[IndexDef]) -> Result<(), Error> {
        self.table_at(table)?;
        let known: Vec<IndexDef> = self.indexes(table).cloned().collect();
        if known == wanted {
            return Ok(());
        }
        self.writable()?;
        if wanted.iter().any(|i| !known.contains(i)) {
            self.unlocked(table)?;
        }
        for index in known.iter().filter(|i| !wanted.contains(i)) {
            let xact = self.begin_ddl("DROP INDEX", table);
            self.forget_index(By::Xact(xact.0), table, index.id);
            self.end_definition(xact)?;
        }
        for index in wanted.iter().filter(|i| !known.contains(i)) {
            let xact = match index.constraint {
                true => self.begin_ddl("ALTER TABLE", table),
                false => {
                    let options = super::XactOptions { name: "CREATE INDEX", ..Default::default() };
                    self.begin_definition(options, Some(table))
                }
            };
            self.create_index(xact.0, table, index)?;
            self.end_definition(xact)?;
        }
        if let Some(held) = self.indexes.get_mut(&table) {
            held.sort_by_key(|i| i.def.id);
        }
        Ok(())
    }

    /// Takes the rows of all indexes of a table out of the system tables.
    pub(super) fn forget_indexes(&mut self, by: By, table: u32) {
        let ids: Vec<u32> = self.indexes.get(&table).into_iter().flatten().map(|i| i.def.id).collect();
        for id in ids {
            self.forget_index(by, table, id);
        }
    }

    fn create_index(&mut self, xact: u64, table: u32, index: &IndexDef) -> Result<(), Error> {
        let by = By::Xact(xact);
        let base = Arc::clone(self.base_layout(table));
        let layout = entry_layout(&base, index).filter(|(layout, _)| entries_fit(layout));
        let kept = match layout {
            None => None,
            Some((layout, sources)) => {
                let rowset = self.next_rowset;
                self.next_rowset += 1 << 16;
                self.add_rowset(rowset, table, index.id, layout);
                Some(Kept { rowset, sources, null_bits: true })
            }
        };
        if let Some(kept) = &kept {
            self.insert_rowset_row(by, kept.rowset)?;
            self.write(by, |r, h| {
                r.lock_xact(h, &rowset_lock(5, kept.rowset));
            });
            self.add_units(by, kept.rowset);
            self.insert_rowset_columns(by, kept.rowset)?;
            self.write(by, |r, h| {
                r.hobt_ddl(h, kept.rowset, 1);
            });
            self.build_index(xact, table, kept)?;
        }
        self.write(by, |r, h| {
            r.lock_xact(h, &index_lock(table, index.id));
        });
        self.write_index(by, table, index, kept.as_ref().map_or(0, |k| k.rowset));
        self.note_modified(by, table);
        if let Some(kept) = &kept {
            self.end_rowset(by, kept.rowset);
        }
        self.indexes.entry(table).or_default().push(Index { def: index.clone(), kept });
        Ok(())
    }

    /// The rows of `sysidxstats`, `sysiscols` and `sysobjvalues`.
    pub(super) fn write_index(&mut self, by: By, table: u32, index: &IndexDef, rowset: u64) {
        let bit = |on: bool, bit: u32| if on { bit } else { 0 };
        let status = INDEX
            | bit(index.unique, UNIQUE)
            | bit(index.primary, PRIMARY_KEY)
            | bit(index.constraint && !index.primary, UNIQUE_CONSTRAINT);
        self.insert_index_row(by, table, index.id, Some(&index.name), (status, NONCLUSTERED), rowset);
        let key = index.columns.iter().map(|(id, descending)| (*id, KEY_COLUMN | bit(*descending, DESCENDING), true));
        let included = index.included.iter().map(|id| (*id, INCLUDED, false));
        for (at, (column, status, is_key)) in key.chain(included).enumerate() {
            let place = at as u8 + 1;
            self.insert_index_column(by, (table, index.id), place, (status, column), if is_key { place } else { 0 });
        }
        self.insert_statistics(by, table, index.id);
    }

    pub(super) fn insert_index_row(
        &mut self,
        by: By,
        table: u32,
        index: u32,
        name: Option<&str>,
        (status, kind): (u32, u8),
        rowset: u64,
    ) {
        let row = vec![
            int(table),
            int(index),
            name.and_then(text),
            int(status),
            int(0),
            tiny(0),
            tiny(kind),
            tiny(0),
            int(0),
            int(0),
            long(rowset),
        ];
        self.insert_system_row(by, SYSIDXSTATS, &row);
    }

    pub(super) fn insert_index_column(
        &mut self,
        by: By,
        (table, index): (u32, u32),
        place: u8,
        (status, column): (u32, u32),
        ordinal: u8,
    ) {
        let row = vec![
            int(table),
            int(index),
            int(u32::from(place)),
            int(status),
            int(column),
            tiny(ordinal),
            tiny(0),
            tiny(0),
            tiny(0),
        ];
        self.insert_system_row(by, SYSISCOLS, &row);
    }

    /// The row that statistics of an index begin with.
    pub(super) fn insert_statistics(&mut self, by: By, table: u32, index: u32) {
        // sql_variant: bigint, version 1, 0
        let value = [&[0x7F, 1][..], &[0; 8]].concat();
        let row = vec![tiny(STATISTICS), int(table), int(index), int(0), Some(value), None];
        self.insert_system_row(by, SYSOBJVALUES, &row);
    }

    pub(super) fn forget_index(&mut self, by: By, table: u32, id: u32) {
        let Some(held) = self.indexes.get_mut(&table) else { return };
        let Some(at) = held.iter().position(|i| i.def.id == id) else { return };
        let index = held.remove(at);
        if let Some(kept) = &index.kept {
            self.drop_rowset(by, kept.rowset);
        }
        self.write(by, |r, h| {
            r.lock_xact(h, &index_lock(table, id));
        });
        self.delete_system_row(by, SYSIDXSTATS, &[int(table), int(id)]);
        for at in 1..=index.def.columns.len() + index.def.included.len() {
            self.delete_system_row(by, SYSISCOLS, &[int(table), int(id), int(at as u32)]);
        }
        self.delete_system_row(by, SYSOBJVALUES, &[tiny(STATISTICS), int(table), int(id), int(0)]);
    }

    /// A rowset without pages.
    pub(super) fn add_rowset(&mut self, rowset: u64, object: u32, index: u32, layout: TableLayout) {
        let held = Rowset {
            id: rowset,
            object_id: object,
            index_id: index,
            layout: Arc::new(layout),
            units: [None, None, None],
            levels: Vec::new(),
            rows: 0,
            counted: true,
        };
        self.rowsets.insert(rowset, held);
    }

    /// Gives a rowset's pages back and takes its rows out of the system tables.
    pub(super) fn drop_rowset(&mut self, by: By, rowset: u64) {
        let saved = Undo::Rowset(Box::new(self.rowset(rowset).clone()));
        self.undoable(by, self.last_lsn(by), saved);
        for kind in [UnitKind::InRow, UnitKind::Lob, UnitKind::Overflow] {
            let Some(unit) = self.rowset(rowset).units[kind.index()].clone() else { continue };
            if unit.iam != 0 {
                self.release_unit(by, rowset, kind);
                self.write(by, |r, h| {
                    r.invalidate_cache(h, unit.obj_id(), unit.index_id());
                });
            }
        }
        self.write(by, |r, h| {
            r.hobt_ddl(h, rowset, 3);
        });
        self.delete_system_row(by, SYSROWSETS, &[long(rowset)]);
        self.delete_system_rows(by, SYSRSCOLS, &[long(rowset)]);
        let units: Vec<u64> = self.rowset(rowset).units.iter().flatten().map(|u| u.id).collect();
        for unit in units {
            self.delete_system_row(by, SYSALLOCUNITS, &[long(unit)]);
        }
        self.rowsets.remove(&rowset);
    }

    /// Fills a new index with the entries of the rows that are there, whole pages at a time.
    pub(super) fn build_index(&mut self, xact: u64, table: u32, kept: &Kept) -> Result<(), Error> {
        let by = By::Xact(xact);
        let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        self.each_stored_row(table, &mut |db, key, row| {
            entries.push(db.index_entry(by, table, kept, Indexed { row, key }))
        });
        entries.sort_unstable();
        self.build_pages(xact, kept.rowset, entries);
        Ok(())
    }

    /// Fills a new rowset with rows or entries that are in the order of their keys; of heaps, gives where they are.
    pub(super) fn build_pages(&mut self, xact: u64, rowset: u64, mut entries: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<RowId> {
        let by = By::Xact(xact);
        let mut places = Vec::new();
        if entries.is_empty() {
            return places;
        }
        let build = self.begin_system(xact, "offline index build", SystemXact::Nested);
        let first = First { by, heap: false, locks: false };
        let (page, deltas) = self.take_first_of(xact, rowset, UnitKind::InRow, first);
        let mut page = Some(page);
        let layout = Arc::clone(&self.rowset(rowset).layout);
        let heap = self.rowset(rowset).is_heap();
        let leaf_type = if layout.form == Form::Row { PageType::DATA } else { PageType::INDEX };
        let count = entries.len();
        let mut level = 0u8;
        let mut below: Vec<Node> = Vec::new();
        let mut levels: Vec<Vec<Node>> = Vec::new();
        loop {
            let (page_type, context, min_len) = match level {
                0 => (leaf_type, self.leaf_context(rowset), layout.row.fixed_end),
                _ => (PageType::INDEX, Context::INDEX_INTERIOR, layout.key_entry.fixed_end + 6),
            };
            let mut nodes: Vec<Node> = Vec::new();
            for (low, entry) in entries {
                let last = nodes.last().map(|n: &Node| n.page);
                let full = last.is_none_or(|at| self.page(at).free() < entry.len() + 2);
                if full {
                    let at = match page.take() {
                        Some(at) => at,
                        None => self.take_page(By::Xact(build), rowset, UnitKind::InRow, level == 0),
                    };
                    // Pages of heaps are not linked.
                    let last = last.filter(|_| !heap);
                    let left = last.map_or(PageId::default(), |p| PageId::new(FILE, p));
                    self.place_page(rowset, UnitKind::InRow, at, page_type, level, (left, PageId::default()), min_len);
                    if let Some(last) = last {
                        self.page_mut(last).set_next(PageId::new(FILE, at));
                    }
                    nodes.push(Node { low: if nodes.is_empty() { Vec::new() } else { low }, page: at });
                }
                let at = nodes[nodes.len() - 1].page;
                let image = self.page_mut(at);
                let slot = image.slot_count();
                image.insert(slot, &entry);
                if heap {
                    places.push(rid(at, slot));
                }
            }
            for node in &nodes {
                self.log_page(By::Xact(build), context, node.page);
                if heap {
                    self.note_fullness(node.page);
                }
            }
            levels.push(nodes.clone());
            if nodes.len() == 1 || heap {
                break;
            }
            entries = Vec::new();
            for node in &nodes {
                let (mut entry, child) = (Vec::new(), Some(PageId::new(FILE, node.page).to_bytes()));
                let values = match node.low.is_empty() {
                    true => Vec::new(),
                    false => match level {
                        0 => layout.key_values(self.page(node.page).row(0).expect("built pages have rows")),
                        _ => {
                            let leaf =
                                below.iter().find(|n| n.low == node.low).expect("levels share their lowest keys");
                            layout.key_values(self.page(leaf.page).row(0).expect("built pages have rows"))
                        }
                    },
                };
                let images: Vec<ColumnImage<'_>> = super::tree::images_of(&values);
                let nulls = layout.null_keys() && !values.is_empty();
                encode_index_record(&layout.key_entry, &images, nulls, child, &mut entry);
                entries.push((node.low.clone(), entry));
            }
            if level == 0 {
                below = nodes;
            }
            level += 1;
        }
        self.end_system(build);
        let root = if heap { 0 } else { levels[levels.len() - 1][0].page };
        let first = levels[0][0].page;
        let held = self.rowset_mut(rowset);
        held.levels = levels;
        held.rows = count as i64;
        held.counted = true;
        let unit = self.unit_mut(rowset, UnitKind::InRow);
        (unit.first, unit.root) = (first, root);
        let unit = unit.clone();
        self.write(by, |r, h| {
            r.hobt_ddl(h, rowset, 2);
        });
        self.write_unit(by, &unit, deltas);
        self.write(by, |r, h| {
            r.hobt_ddl(h, rowset, 2);
        });
        self.write_row_count(by, rowset, count as u64);
        places
    }

    /// FORMAT_PAGE with all that is on a page.
    pub(super) fn log_page(&mut self, by: By, context: Context, page: u32) {
        let image: PageImage = self.page(page).clone();
        let header = image.header();
        let rows = &image.bytes()[..usize::from(header.free_data)];
        let slots = &image.bytes()[PAGE_SIZE - 2 * usize::from(header.slot_count)..];
        self.write_page(by, page, 0xFFFF, |r, h, t| {
            r.format_image(h, context, t, header.page_type, (rows, slots));
        });
    }

    /// Counts and pages of an allocation unit, as two changes of its row: what HOBT_DELTA told of it, then all. `deltas` are the counts that it did not tell.
    fn write_unit(&mut self, by: By, unit: &AllocUnit, [_, data, used, reserved]: [i64; 4]) {
        let (page, slot) = self.find_alloc_unit(unit.id);
        let mut row = self.page(page).row(slot).expect("the row is there").to_vec();
        let counts = |row: &mut [u8], used: i64, data: i64, reserved: i64| {
            for (offset, count) in [(45, used), (53, data), (61, reserved)] {
                row[offset..offset + 8].copy_from_slice(&count.to_le_bytes());
            }
        };
        counts(&mut row, unit.used - used, unit.data - data, unit.reserved - reserved);
        self.modify_system_row(by, page, slot, &row);
        counts(&mut row, unit.used, unit.data, unit.reserved);
        for (offset, page) in [(27, unit.first), (33, unit.root), (39, unit.iam)] {
            row[offset..offset + 6].copy_from_slice(&PageId::new(FILE, page).to_bytes());
        }
        let (page, slot) = self.find_alloc_unit(unit.id);
        self.modify_system_row(by, page, slot, &row);
    }

    /// The date of the last change in `sysschobjs`: always later than the one before, be it by a tick that the clock does not show yet.
    pub(super) fn note_modified(&mut self, by: By, object: u32) {
        let (page, slot) = self.find_by_key(SYSSCHOBJS, &[int(object)]);
        let mut row = self.page(page).row(slot).expect("the row is there").to_vec();
        let known = row[36..44].try_into().map_or(0, clock::ticks_of);
        row[36..44].copy_from_slice(&clock::datetime(self.clock.ticks().max(known + 1)));
        self.modify_system_row(by, page, slot, &row);
    }

    /// What ends the making of a rowset: it is no longer new.
    pub(super) fn end_rowset(&mut self, by: By, rowset: u64) {
        self.write(by, |r, h| {
            r.hobt_ddl(h, rowset, 2);
        });
        let (page, slot) = self.find_by_key(SYSROWSETS, &[long(rowset)]);
        let mut row = self.page(page).row(slot).expect("the row is there").to_vec();
        row[26] &= !0x20;
        self.modify_system_row(by, page, slot, &row);
    }
}

/// The lock element of a rowset that is new.
pub(super) fn rowset_lock(mode: u8, rowset: u64) -> Vec<u8> {
    let mut lock = object_lock(mode, 0);
    lock[4] = 1;
    lock[6..12].copy_from_slice(&(rowset >> 16).to_le_bytes()[..6]);
    lock
}

/// The lock element of an index.
fn index_lock(table: u32, index: u32) -> Vec<u8> {
    let mut lock = vec![5, 0x0A, 0, 0x10, 1];
    lock.extend(table.to_le_bytes());
    lock.extend(index.to_le_bytes());
    lock.extend([0, 0, 0]);
    lock
}

//! Maintenance of indexes: rebuilt, or reorganized in their places.
//!
//! A rebuild makes a new rowset and fills it with whole pages, which the log has as images, as it has those of a new index; then the
//! index's row in `sysidxstats` names the new rowset, and the old one goes with its pages. Rows lose their dropped columns; values outside of
//! rows stay where they are, their allocation units change owners. Reorganizing moves the rows of a leaf to its left neighbour where they fit, each
//! time in a system transaction, by the records of a page split; pages that get empty are given back.
//!
//! How a server orders the rows of system tables in a rebuild, and what exactly it writes when it reorganizes, is not known: no log with either is at hand.

use std::collections::HashMap;
use std::sync::Arc;

use logferry_mssql_format::log::op::Context;
use logferry_mssql_format::page::{PageId, RowId};
use logferry_mssql_format::row::RecordKind;

use super::entry::{Kept, entry_layout};
use super::index::rowset_lock;
use super::space::UnitKind;
use super::system::definitions::SYSIDXSTATS;
use super::system::int;
use super::table::{TableLayout, UNIQUIFIER_LEN, uniquifier_of};
use super::xact::{SystemXact, Undo, XactOptions};
use super::{By, Database, Error, FILE, RowKey, rid};

/// The key of a row, and the row.
type KeyedRow = (Vec<u8>, Vec<u8>);

impl Database {
    /// Builds the heap or clustered index of a table anew (`index` 0 or 1), a nonclustered one, or all (`None`). Those of a heap that
    /// moves are built anew with it.
    ///
    /// # Errors
    /// When another transaction has changed the table and not ended.
    pub fn rebuild(&mut self, table: u32, index: Option<u32>) -> Result<(), Error> {
        self.writable()?;
        let base = self.unlocked(table)?.rowset;
        if self.options.ids_of_2000 {
            return Err(Error::Unsupported("rebuilding an index whose rowset is named after its table".into()));
        }
        self.flush_counts();
        let xact = self.begin_ddl("ALTER INDEX", table);
        let heap = self.rowset(base).is_heap();
        let moves = index.is_none_or(|id| id == self.rowset(base).index_id);
        if moves {
            self.rebuild_base(xact.0, table)?;
        }
        let ids: Vec<u32> = self.indexes.get(&table).into_iter().flatten().map(|i| i.def.id).collect();
        for id in ids.into_iter().filter(|id| moves && heap || index.is_none_or(|wanted| wanted == *id)) {
            self.rebuild_nonclustered(xact.0, table, id)?;
        }
        self.note_modified(By::Xact(xact.0), table);
        self.end_definition(xact)?;
        Ok(())
    }

    pub(super) fn rebuild_base(&mut self, xact: u64, table: u32) -> Result<(), Error> {
        let by = By::Xact(xact);
        let held = self.table_at(table)?;
        let kind = self.clustered_key(table).map(|key| key.kind);
        let (old, ids, mut layout) = (held.rowset, held.column_ids.clone(), TableLayout::clustered(&held.def, kind));
        for column in &mut layout.columns {
            column.id = column.logical.and_then(|at| ids.get(at).copied()).unwrap_or(column.id);
        }
        let before = Arc::clone(&self.rowset(old).layout);
        let rows = self.rows_to_move(old);
        let was = self.rowset(old).index_id;
        let index = u32::from(!layout.key.is_empty());
        let saved = Undo::Rowset(Box::new(self.rowset(old).clone()));
        self.undoable(by, self.last_lsn(by), saved);
        let new = self.new_rowset(table, index, layout);
        for kind in [UnitKind::Lob, UnitKind::Overflow] {
            let Some(unit) = self.rowset_mut(old).units[kind.index()].take() else { continue };
            let (page, slot) = self.find_alloc_unit(unit.id);
            let mut row = self.page(page).row(slot).expect("the row is there").to_vec();
            // `ownerid`
            row[13..21].copy_from_slice(&new.to_le_bytes());
            self.modify_system_row(by, page, slot, &row);
            self.rowset_mut(new).units[kind.index()] = Some(unit);
        }
        self.begin_rowset(by, new)?;
        let layout = Arc::clone(&self.rowset(new).layout);
        let mut keys = Vec::new();
        let mut entries: Vec<KeyedRow> = Vec::new();
        if was == index {
            entries.extend(rows.iter().map(|(_, image)| {
                let image = self.moved_row(&before, &layout, image);
                let low = if layout.key.is_empty() { Vec::new() } else { layout.key_of_image(&image) };
                (low, image)
            }));
        } else {
            (keys, entries) = self.clustered_rows((&before, &layout), &rows);
        }
        let places = self.build_pages(xact, new, entries);
        match was == index {
            true => self.replace_rowset(by, table, index, (old, new)),
            false => self.drop_rowset(by, old),
        }
        let held = self.tables.get_mut(&table).expect("it is there");
        held.rowset = new;
        if was != index {
            let mut at: HashMap<RowKey, Vec<u8>> = rows.into_iter().map(|(from, _)| from).zip(keys).collect();
            let moved = std::mem::take(&mut held.committed).into_iter();
            held.committed = moved.map(|(key, row)| (at.remove(&key).map_or(key, RowKey::Key), row)).collect();
        } else if index == 0 {
            let at: HashMap<RowKey, RowId> = rows.into_iter().map(|(from, _)| from).zip(places).collect();
            let moved = std::mem::take(&mut held.committed).into_iter();
            held.committed = moved.map(|(key, row)| (at.get(&key).map_or(key, |at| RowKey::Rid(*at)), row)).collect();
        }
        Ok(())
    }

    /// Rows of a heap for a clustered index: the key of each, in their order; keys and rows in the order of the keys.
    fn clustered_rows(
        &self,
        (before, layout): (&TableLayout, &TableLayout),
        rows: &[(RowKey, Vec<u8>)],
    ) -> (Vec<Vec<u8>>, Vec<KeyedRow>) {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let mut entries = Vec::new();
        let mut seen: HashMap<Vec<u8>, u32> = HashMap::new();
        for (_, image) in rows {
            let plain = self.moved_row(before, layout, image);
            let mut key = layout.key_of_image(&plain);
            if layout.has_uniquifier() {
                let next = seen.entry(key.clone()).or_default();
                key.truncate(key.len() - UNIQUIFIER_LEN);
                key.extend(next.to_be_bytes());
                *next += 1;
            }
            entries.push((key.clone(), self.uniquified_row(before, layout, image, &uniquifier_of(&key))));
            keys.push(key);
        }
        entries.sort_unstable();
        (keys, entries)
    }

    pub(super) fn rebuild_nonclustered(&mut self, xact: u64, table: u32, id: u32) -> Result<(), Error> {
        let by = By::Xact(xact);
        let find = |db: &Self| db.indexes.get(&table).and_then(|all| all.iter().position(|i| i.def.id == id));
        let Some((at, index)) = find(self).map(|at| (at, self.indexes[&table][at].clone())) else { return Ok(()) };
        let Some(kept) = index.kept else { return Ok(()) };
        let base = Arc::clone(self.base_layout(table));
        let Some((layout, sources)) = entry_layout(&base, &index.def) else { return Ok(()) };
        let new = self.new_rowset(table, id, layout);
        self.begin_rowset(by, new)?;
        let built = Kept { rowset: new, sources, null_bits: kept.null_bits };
        self.build_index(xact, table, &built)?;
        self.replace_rowset(by, table, id, (kept.rowset, new));
        if let Some(index) = self.indexes.get_mut(&table).and_then(|all| all.get_mut(at)) {
            index.kept = Some(built);
        }
        Ok(())
    }

    fn new_rowset(&mut self, table: u32, index: u32, layout: TableLayout) -> u64 {
        let new = self.next_rowset;
        self.next_rowset += 1 << 16;
        self.add_rowset(new, table, index, layout);
        new
    }

    /// The rows of system tables that a new rowset begins with.
    fn begin_rowset(&mut self, by: By, rowset: u64) -> Result<(), Error> {
        self.insert_rowset_row(by, rowset)?;
        self.write(by, |r, h| {
            r.lock_xact(h, &rowset_lock(5, rowset));
        });
        self.add_units(by, rowset);
        self.insert_rowset_columns(by, rowset)?;
        self.write(by, |r, h| {
            r.hobt_ddl(h, rowset, 1);
        });
        Ok(())
    }

    /// Lets an index be another rowset from now on; the old one goes.
    fn replace_rowset(&mut self, by: By, table: u32, index: u32, (old, new): (u64, u64)) {
        self.change_system_row(by, SYSIDXSTATS, &[int(table), int(index)], 31, &new.to_le_bytes());
        match by {
            By::Xact(id) if self.options.late_drops => {
                let open = self.xacts.get_mut(&id).expect("it is open");
                open.late_drops.push((open.undo.len(), old));
            }
            _ => self.drop_rowset(by, old),
        }
        self.end_rowset(by, new);
    }

    /// All rows of a rowset in the order of its pages, with what they are found by; rows that a heap had moved are at home again.
    fn rows_to_move(&self, rowset: u64) -> Vec<(RowKey, Vec<u8>)> {
        let held = self.rowset(rowset);
        let mut rows = Vec::new();
        for node in held.levels.first().into_iter().flatten() {
            let page = self.page(node.page);
            for slot in 0..page.slot_count() {
                let Some(image) = page.row(slot) else { continue };
                let key = match held.is_heap() {
                    true => RowKey::Rid(rid(node.page, slot)),
                    false => RowKey::Key(held.layout.key_of_image(image)),
                };
                match RecordKind::of(image[0]) {
                    RecordKind::Primary => rows.push((key, image.to_vec())),
                    RecordKind::Stub => {
                        let image = self.image_of(rowset, &key).0;
                        rows.push((key, image));
                    }
                    _ => {}
                }
            }
        }
        rows
    }

    /// Moves rows to the left until leaves are as full as they get, in the clustered index (1), in a nonclustered one, or in all; gives how many
    /// pages were given back. A heap stays as it is.
    ///
    /// # Errors
    /// When there is no such table.
    pub fn reorganize(&mut self, table: u32, index: Option<u32>) -> Result<usize, Error> {
        self.writable()?;
        let base = self.table_at(table)?.rowset;
        let of_base = index.is_none_or(|id| id == 1) && !self.rowset(base).is_heap();
        let mut rowsets: Vec<u64> = of_base.then_some(base).into_iter().collect();
        let indexes = self.indexes.get(&table).into_iter().flatten();
        let wanted = indexes.filter(|i| index.is_none_or(|id| id == i.def.id));
        rowsets.extend(wanted.filter_map(|i| Some(i.kept.as_ref()?.rowset)));
        self.ghost_cleanup();
        let xact = self.begin_definition(XactOptions { name: "ALTER INDEX", ..XactOptions::default() }, None);
        let mut gone = 0;
        for rowset in rowsets {
            let mut at = 0;
            while at + 1 < self.rowset(rowset).levels.first().map_or(0, Vec::len) {
                match self.merge_leaves(xact.0, rowset, at) {
                    true => gone += 1,
                    false => at += 1,
                }
            }
        }
        self.end_definition(xact)?;
        Ok(gone)
    }

    /// Moves all rows of a leaf's right neighbour into it, if they fit and both are below the same page.
    fn merge_leaves(&mut self, parent: u64, rowset: u64, at: usize) -> bool {
        let levels = &self.rowset(rowset).levels;
        let (left, right, low) = (levels[0][at].page, levels[0][at + 1].page, levels[0][at + 1].low.clone());
        let Some(above) = levels.get(1) else { return false };
        let upper = above.partition_point(|n| n.low <= low) - 1;
        let first = self.first_child(rowset, 0, upper);
        if first > at {
            return false;
        }
        let (upper, slot) = (above[upper].page, (at + 1 - first) as u16);
        let rows: Vec<Vec<u8>> =
            (0..self.page(right).slot_count()).filter_map(|s| self.page(right).row(s)).map(<[u8]>::to_vec).collect();
        let bytes: usize = rows.iter().map(Vec::len).sum();
        let ghosts = self.page(left).ghosts() + self.page(right).ghosts();
        if ghosts > 0 || rows.is_empty() || self.page(left).free() < bytes + 2 * rows.len() {
            return false;
        }
        let beyond = self.page(right).header().next;
        let context = self.leaf_context(rowset);
        let xact = self.begin_system(parent, "BTree Split/Shrink", SystemXact::Nested);
        let by = By::Xact(xact);
        let mut inside = vec![(upper, Context::INDEX_INTERIOR), (left, context), (right, context)];
        if !beyond.is_none() {
            inside.push((beyond.page, context));
        }
        for (page, context) in &inside {
            self.in_sys_xact(by, *page, *context, true);
        }
        let images: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        let from = self.page(left).slot_count();
        self.write_page(by, left, from, |r, h, t| {
            r.insert_rows(h, context, t, 0, 0, &images, &[]);
        });
        for (n, row) in images.iter().enumerate() {
            self.page_mut(left).insert(from + n as u16, row);
        }
        self.write_page(by, right, 0, |r, h, t| {
            r.delete_split(h, context, t, PageId::new(FILE, left), images.len() as u16, bytes as u16);
        });
        for slot in (0..self.page(right).slot_count()).rev() {
            self.page_mut(right).remove(slot);
        }
        self.link(by, left, 16, PageId::new(FILE, right), beyond);
        if !beyond.is_none() {
            self.link(by, beyond.page, 8, PageId::new(FILE, right), PageId::new(FILE, left));
        }
        let entry = self.page(upper).row(slot).expect("the page has its entry").to_vec();
        self.write_page(by, upper, slot, |r, h, t| {
            r.delete_rows(h, Context::INDEX_INTERIOR, t, rowset, 0, &entry, &[]);
        });
        self.page_mut(upper).remove(slot);
        for (page, context) in inside.iter().rev() {
            self.in_sys_xact(by, *page, *context, false);
        }
        self.give_page_back(by, rowset, UnitKind::InRow, right);
        self.end_system(xact);
        self.rowset_mut(rowset).levels[0].remove(at + 1);
        true
    }
}

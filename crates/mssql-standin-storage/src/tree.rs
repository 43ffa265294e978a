//! Trees: leaves in key order, upper levels above them, page splits. Clustered indexes have rows in their leaves, nonclustered
//! ones entries.

mod split;

use logferry_mssql_format::encode::{ColumnImage, encode_index_record};
use logferry_mssql_format::log::op::Context;
use logferry_mssql_format::page::PageId;
use logferry_mssql_format::row::{RecordKind, status};

use super::chunks::changed_chunks;
use super::index::rowset_lock;
use super::space::UnitKind;
use super::system::object_lock;
use super::table::{Form, UNIQUIFIER_LEN};
use super::xact::Undo;
use super::{By, Database};

/// Status bits of a deleted row that is still there, and of a deleted entry.
const GHOST_ROW: u8 = 6 << 1;
const GHOST_ENTRY: u8 = 5 << 1;
const KIND_BITS: u8 = 7 << 1;
/// Bit of the word at 58 of DELETE_ROWS: the row has a version tag (observed on 2016).
const VERSIONED: u16 = 0x100;
/// Objects of users have ids from here on.
const USER_OBJECTS: u32 = 1000;

/// Where a key is on its leaf, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    At(u16),
    Before(u16),
}

impl Database {
    /// Puts a row in: a new one, or in the place of a ghost with the same key.
    pub(super) fn tree_put(&mut self, by: By, rowset: u64, key: &[u8], row: &[u8]) {
        self.tree_put_as(by, rowset, key, row, 0);
    }

    /// The same, with bits for the word at 58 of its record.
    pub(super) fn tree_put_as(&mut self, by: By, rowset: u64, key: &[u8], row: &[u8], bits: u16) {
        let before = self.last_lsn(by);
        if self.rowset(rowset).levels.is_empty() {
            self.take_first_page(xact_of(by), rowset, UnitKind::InRow);
        }
        let lock = self.row_lock(rowset, key);
        let context = self.leaf_context(rowset);
        loop {
            let leaf = self.leaf_of(rowset, key);
            let page = self.rowset(rowset).levels[0][leaf].page;
            let found = self.find_slot(rowset, page, key);
            let free = self.page(page).free();
            match found {
                Found::At(slot) => {
                    let ghost = self.page(page).row(slot).expect("found");
                    debug_assert!(RecordKind::of(ghost[0]).is_ghost(), "a key is there once");
                    if free + ghost.len() < row.len() {
                        self.split(xact_of(by), rowset, 0, leaf, slot, None);
                        continue;
                    }
                    let lock: &[u8] = if matches!(by, By::Undo(..)) { &[] } else { &lock };
                    self.write_page(by, page, slot, |r, h, t| {
                        r.insert_rows(h, context, t, rowset, bits | 2, &[row], lock);
                    });
                    let image = self.page_mut(page);
                    image.replace(slot, row);
                    let ghosts = image.ghosts().saturating_sub(1);
                    image.set_ghosts(ghosts);
                    if ghosts == 0 {
                        self.note_ghosts(page, rowset);
                    }
                }
                Found::Before(slot) => {
                    if free < row.len() + 2 {
                        let pending = self.pending(rowset, row);
                        self.split(xact_of(by), rowset, 0, leaf, slot, Some(&pending));
                        continue;
                    }
                    self.write_page(by, page, slot, |r, h, t| {
                        r.insert_rows(h, context, t, rowset, bits, &[row], &lock);
                    });
                    self.page_mut(page).insert(slot, row);
                }
            }
            break;
        }
        self.count_rows(rowset, 1);
        self.undoable(by, before, Undo::TreeInsert { rowset, key: key.to_vec() });
    }

    /// Deletes a row: it stays as a ghost.
    pub(super) fn tree_ghost(&mut self, by: By, rowset: u64, key: &[u8]) {
        self.tree_ghost_as(by, rowset, key, 0);
    }

    /// The same, with bits for the word at 58 of its record.
    pub(super) fn tree_ghost_as(&mut self, by: By, rowset: u64, key: &[u8], bits: u16) {
        let before = self.last_lsn(by);
        let (page, slot) = self.find_row(rowset, key).expect("the row is there");
        let row = self.page(page).row(slot).expect("found").to_vec();
        let lock = self.row_lock(rowset, key);
        let versioned = if row[0] & status::VERSION_TAG != 0 { VERSIONED } else { 0 };
        let (image, lock, bits): (&[u8], &[u8], u16) = match by {
            By::Undo(..) => (&[], &[], bits),
            _ => (&row, &lock, bits | versioned),
        };
        self.write_page(by, page, slot, |r, h, t| {
            r.delete_rows(h, Context::MARK_AS_GHOST, t, rowset, bits, image, lock);
        });
        let ghost = match self.rowset(rowset).layout.form {
            Form::Row => GHOST_ROW,
            Form::Entry => GHOST_ENTRY,
        };
        let page_image = self.page_mut(page);
        let bytes = page_image.row_mut(slot).expect("found");
        bytes[0] = bytes[0] & !KIND_BITS | ghost;
        let ghosts = page_image.ghosts() + 1;
        page_image.set_ghosts(ghosts);
        self.note_ghosts(page, rowset);
        self.count_rows(rowset, -1);
        self.undoable(by, before, Undo::TreeDelete { rowset, key: key.to_vec(), row });
    }

    /// Changes a row without changing its key.
    pub(super) fn tree_modify(&mut self, by: By, rowset: u64, key: &[u8], row: &[u8]) {
        let before = self.last_lsn(by);
        let (page, slot) = loop {
            let (page, slot) = self.find_row(rowset, key).expect("the row is there");
            let old = self.page(page).row(slot).expect("found").len();
            if self.page(page).free() + old >= row.len() {
                break (page, slot);
            }
            let leaf = self.leaf_of(rowset, key);
            self.split(xact_of(by), rowset, 0, leaf, slot, None);
        };
        let old = self.page(page).row(slot).expect("found").to_vec();
        if old == row {
            return;
        }
        let entry = self.key_entry(rowset, &old);
        let lock = self.row_lock(rowset, key);
        let context = self.leaf_context(rowset);
        self.write_modify(by, rowset, page, slot, context, &old, row, (&entry, &lock));
        self.page_mut(page).replace(slot, row);
        self.undoable(by, before, Undo::TreeModify { rowset, key: key.to_vec(), before: old });
    }

    /// The record of a changed row: MODIFY_ROW where one stretch changed, else MODIFY_COLUMNS.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn write_modify(
        &mut self,
        by: By,
        rowset: u64,
        page: u32,
        slot: u16,
        context: Context,
        old: &[u8],
        new: &[u8],
        (entry, lock): (&[u8], &[u8]),
    ) {
        let undo = matches!(by, By::Undo(..));
        let (entry, lock): (&[u8], &[u8]) = if undo { (&[], &[]) } else { (entry, lock) };
        let mut chunks = changed_chunks(old, new);
        if undo {
            chunks.iter_mut().for_each(|c| c.before = &[]);
        }
        self.write_page(by, page, slot, |r, h, t| match &chunks[..] {
            [c] => {
                r.modify_row(h, context, t, rowset, c.old_offset, c.old_len, (c.before, c.after), (entry, lock));
            }
            chunks => {
                r.modify_columns(h, context, t, rowset, chunks, (entry, lock));
            }
        });
    }

    /// Takes the ghosts of committed deletes away from a page; gives how many.
    pub(super) fn expunge(&mut self, page: u32, rowset: u64) -> usize {
        let mut gone = 0;
        let mut slot = 0;
        while slot < self.page(page).slot_count() {
            let row = self.page(page).row(slot).expect("trees have no free slots");
            if !RecordKind::of(row[0]).is_ghost() {
                slot += 1;
                continue;
            }
            let key = super::RowKey::Key(self.rowset(rowset).layout.key_of_image(row));
            if self.locks.get(&rowset).is_some_and(|rows| rows.contains_key(&key)) {
                slot += 1;
                continue;
            }
            let context = self.leaf_context(rowset);
            self.write_page(By::None, page, slot, |r, h, t| {
                r.expunge_rows(h, context, t);
            });
            let image = self.page_mut(page);
            image.remove(slot);
            let ghosts = image.ghosts() - 1;
            image.set_ghosts(ghosts);
            gone += 1;
        }
        self.note_ghosts(page, rowset);
        gone
    }

    /// Page and slot of a key, be it a ghost's.
    pub(super) fn find_row(&self, rowset: u64, key: &[u8]) -> Option<(u32, u16)> {
        if self.rowset(rowset).levels.is_empty() {
            return None;
        }
        let page = self.rowset(rowset).levels[0][self.leaf_of(rowset, key)].page;
        match self.find_slot(rowset, page, key) {
            Found::At(slot) => Some((page, slot)),
            Found::Before(_) => None,
        }
    }

    /// A row as it stands on its page, if it is there and no ghost.
    pub(super) fn live_row(&self, rowset: u64, key: &[u8]) -> Option<&[u8]> {
        let (page, slot) = self.find_row(rowset, key)?;
        self.page(page).row(slot).filter(|row| !RecordKind::of(row[0]).is_ghost())
    }

    /// The keys of the rows that are there whose keys begin so.
    pub(super) fn keys_from(&self, rowset: u64, prefix: &[u8]) -> Vec<Vec<u8>> {
        let held = self.rowset(rowset);
        let Some(leaves) = held.levels.first() else { return Vec::new() };
        let mut out = Vec::new();
        for node in leaves.iter().skip(self.leaf_of(rowset, prefix)) {
            let page = self.page(node.page);
            for row in (0..page.slot_count()).filter_map(|slot| page.row(slot)) {
                let key = held.layout.key_of_image(row);
                if key.starts_with(prefix) {
                    if !RecordKind::of(row[0]).is_ghost() {
                        out.push(key);
                    }
                } else if key.as_slice() > prefix {
                    return out;
                }
            }
        }
        out
    }

    pub(super) fn count_rows(&mut self, rowset: u64, delta: i64) {
        let rowset = self.rowset_mut(rowset);
        rowset.rows += delta;
        rowset.counted = false;
    }

    /// The context of records that change the leaves of a rowset.
    pub(super) fn leaf_context(&self, rowset: u64) -> Context {
        let rowset = self.rowset(rowset);
        match rowset.layout.form {
            Form::Entry => Context::INDEX_LEAF,
            Form::Row if rowset.is_heap() => Context::HEAP,
            Form::Row => Context::CLUSTERED,
        }
    }

    /// The lock element of a row: object, page, key. Rows of system tables are locked without their pages, those that a new column is filled in by their table,
    /// those of a table that is as new as they are by its rowset.
    pub(super) fn row_lock(&self, rowset: u64, key: &[u8]) -> Vec<u8> {
        let number = rowset;
        let rowset = self.rowset(rowset);
        if self.definitions.is_made(rowset.object_id) {
            return rowset_lock(2, number);
        }
        if self.definitions.fills(rowset.object_id) {
            return object_lock(2, rowset.object_id);
        }
        let mut lock = vec![1, 1, 0, 0x0C, 0, 0];
        lock.extend(rowset.object_id.to_le_bytes());
        lock.extend([0, 0]);
        if rowset.object_id >= USER_OBJECTS {
            lock.extend([1, 2, 0, 4]);
        }
        if rowset.is_heap() {
            lock.extend([2, 3, 0, 4]);
        } else {
            lock.extend([2, 4, 0, 0x0A]);
            lock.extend(&key_hash(key).to_be_bytes()[2..]);
        }
        lock
    }

    fn leaf_of(&self, rowset: u64, key: &[u8]) -> usize {
        let leaves = &self.rowset(rowset).levels[0];
        leaves.partition_point(|n| n.low.as_slice() <= key).saturating_sub(1)
    }

    /// The largest uniquifier of the rows, ghosts among them, whose keys begin so.
    pub(super) fn last_uniquifier(&self, rowset: u64, prefix: &[u8]) -> Option<u32> {
        if self.rowset(rowset).levels.is_empty() {
            return None;
        }
        let behind = [prefix, &[0xFF; UNIQUIFIER_LEN]].concat();
        let mut leaf = self.leaf_of(rowset, &behind);
        loop {
            let page = self.rowset(rowset).levels[0][leaf].page;
            let (Found::At(slot) | Found::Before(slot)) = self.find_slot(rowset, page, &behind);
            if let Some(last) = slot.checked_sub(1) {
                let row = self.page(page).row(last).expect("trees have no free slots");
                let key = self.rowset(rowset).layout.key_of_image(row);
                return key.strip_prefix(prefix)?.try_into().ok().map(u32::from_be_bytes);
            }
            // A page may have become empty.
            leaf = leaf.checked_sub(1)?;
        }
    }

    fn find_slot(&self, rowset: u64, page: u32, key: &[u8]) -> Found {
        let layout = &self.rowset(rowset).layout;
        let page = self.page(page);
        let (mut low, mut high) = (0, page.slot_count());
        let mut found = Vec::with_capacity(key.len());
        while low < high {
            let middle = (low + high) / 2;
            let row = page.row(middle).expect("trees have no free slots");
            layout.put_key_of_image(row, &mut found);
            match found.as_slice().cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Found::At(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Found::Before(low)
    }

    /// The key of a row as log records name it.
    fn key_entry(&self, rowset: u64, row: &[u8]) -> Vec<u8> {
        let layout = &self.rowset(rowset).layout;
        let values = layout.key_values(row);
        let mut entry = Vec::new();
        encode_index_record(&layout.key_entry, &images_of(&values), true, None, &mut entry);
        entry
    }

    /// The first page of a level that is below a page of the level above.
    pub(super) fn first_child(&self, rowset: u64, level: usize, upper: usize) -> usize {
        let levels = &self.rowset(rowset).levels;
        levels[level].partition_point(|n| n.low < levels[level + 1][upper].low)
    }

    pub(super) fn in_sys_xact(&mut self, by: By, page: u32, context: Context, enters: bool) {
        self.write_page(by, page, 0xFFFF, |r, h, t| {
            r.in_sys_xact(h, context, t, enters);
        });
    }

    /// Changes a page's link: offset 8 to the left, 16 to the right.
    pub(super) fn link(&mut self, by: By, page: u32, offset: u16, old: PageId, new: PageId) {
        self.write_page(by, page, 0, |r, h, t| {
            r.modify_header(h, Context::HEAP, t, offset, &old.to_bytes(), &new.to_bytes());
        });
        match offset {
            8 => self.page_mut(page).set_prev(new),
            _ => self.page_mut(page).set_next(new),
        }
    }
}

/// The transaction that system transactions are nested in.
pub(super) fn xact_of(by: By) -> u64 {
    match by {
        By::Xact(id) | By::Undo(id, _) => id,
        By::None => unreachable!("rows change in transactions"),
    }
}

pub(super) fn images_of(values: &[Option<Vec<u8>>]) -> Vec<ColumnImage<'_>> {
    values.iter().map(|v| v.as_deref().map_or(ColumnImage::Null, ColumnImage::Bytes)).collect()
}

pub(super) fn key_hash(key: &[u8]) -> u64 {
    key.iter().fold(0xCBF2_9CE4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01B3))
}

//! Heaps and LOB pages: rows that keep their place, forwarding, and values outside of their rows.

use logferry_mssql_format::encode::{
    LOB_CHUNK_MAX, LobLink, ROOT_LINKS_MAX, SMALL_ROOT_MAX, encode_in_row_root, encode_large_root, encode_lob_data,
    encode_lob_internal, encode_overflow_pointer, encode_small_root, encode_text_pointer,
};
use logferry_mssql_format::log::op::Context;
use logferry_mssql_format::page::{PageId, PageType, RowId};
use logferry_mssql_format::row::RecordKind;

use super::space::UnitKind;
use super::tree::xact_of;
use super::xact::{SystemXact, Undo};
use super::{By, Database, Node, RowKey, rid};

/// Pages that are looked at for room before a new one is taken.
const TRIES: usize = 6;
/// Links in a LOB record that points to others.
const INTERNAL_LINKS: usize = 500;

impl Database {
    /// Puts a row into a heap, on a page with room.
    pub(super) fn heap_insert(&mut self, by: By, rowset: u64, row: &[u8]) -> RowId {
        let xact = xact_of(by);
        if self.rowset(rowset).levels.is_empty() {
            self.take_first_page(xact, rowset, UnitKind::InRow);
        }
        let pages = &self.rowset(rowset).levels[0];
        let count = pages.len();
        // The last page first, then some that go round with the rows.
        let start = self.rowset(rowset).rows.unsigned_abs() as usize;
        let candidates = (0..TRIES.min(count)).map(|n| if n == 0 { count - 1 } else { (start + n * 7) % count });
        let found = candidates
            .map(|n| pages[n].page)
            .find_map(|page| self.free_place(xact, rowset, page, row.len()).map(|slot| rid(page, slot)));
        let at = found.unwrap_or_else(|| rid(self.add_heap_page(xact, rowset), 0));
        self.heap_put(by, rowset, at, row);
        at
    }

    /// Puts a row at its place in a heap.
    pub(super) fn heap_put(&mut self, by: By, rowset: u64, at: RowId, row: &[u8]) {
        let before = self.last_lsn(by);
        let page = at.page.page;
        let lock = if matches!(by, By::Undo(..)) { Vec::new() } else { self.row_lock(rowset, &[]) };
        self.write_page(by, page, at.slot, |r, h, t| {
            r.insert_rows(h, Context::HEAP, t, rowset, 0, &[row], &lock);
        });
        self.page_mut(page).fill_slot(at.slot, row);
        self.note_fullness(page);
        self.count_rows(rowset, counts(row));
        self.undoable(by, before, Undo::HeapInsert { rowset, at });
    }

    /// Takes a row out of a heap.
    pub(super) fn heap_remove(&mut self, by: By, rowset: u64, at: RowId) {
        let before = self.last_lsn(by);
        let page = at.page.page;
        let row = self.page(page).row(at.slot).expect("the row is there").to_vec();
        let undo = matches!(by, By::Undo(..));
        let lock = self.row_lock(rowset, &[]);
        let (image, lock): (&[u8], &[u8]) = if undo { (&[], &[]) } else { (&row, &lock) };
        self.write_page(by, page, at.slot, |r, h, t| {
            r.delete_rows(h, Context::HEAP, t, rowset, 0, image, lock);
        });
        self.page_mut(page).free_slot(at.slot);
        self.reserve_row(by, at, row.len());
        self.note_fullness(page);
        self.count_rows(rowset, -counts(&row));
        self.undoable(by, before, Undo::HeapDelete { rowset, at, row });
    }

    /// Changes a row of a heap in its place; it must fit.
    pub(super) fn heap_modify(&mut self, by: By, rowset: u64, at: RowId, row: &[u8]) {
        let before = self.last_lsn(by);
        let page = at.page.page;
        let old = self.page(page).row(at.slot).expect("the row is there").to_vec();
        if old == row {
            return;
        }
        let lock = self.row_lock(rowset, &[]);
        self.write_modify(by, rowset, page, at.slot, Context::HEAP, &old, row, (&[], &lock));
        self.page_mut(page).replace(at.slot, row);
        self.reserve(by, page, old.len().saturating_sub(row.len()));
        self.note_fullness(page);
        self.undoable(by, before, Undo::HeapModify { rowset, at, before: old });
    }

    /// A slot of a page that a transaction may put a row of this length into.
    fn free_place(&self, xact: u64, rowset: u64, page: u32, len: usize) -> Option<u16> {
        if self.free_for(xact, page) < len + 2 {
            return None;
        }
        let image = self.page(page);
        let slots = image.slot_count();
        let slot = (0..slots)
            .find(|s| image.row(*s).is_none() && !self.locked_by_other(xact, rowset, &RowKey::Rid(rid(page, *s))))
            .unwrap_or(slots);
        (!self.locked_by_other(xact, rowset, &RowKey::Rid(rid(page, slot)))).then_some(slot)
    }

    fn add_heap_page(&mut self, xact: u64, rowset: u64) -> u32 {
        let outer = self.begin_system(xact, "AllocHeapPageSysXactDML", SystemXact::Nested);
        let by = By::Xact(outer);
        let page = self.take_page(by, rowset, UnitKind::InRow, true);
        let min_len = self.rowset(rowset).layout.row.fixed_end;
        let none = (PageId::default(), PageId::default());
        self.format_page(by, rowset, UnitKind::InRow, page, Context::HEAP, PageType::DATA, 0, none, min_len);
        self.end_system(outer);
        self.rowset_mut(rowset).levels[0].push(Node { low: Vec::new(), page });
        page
    }

    /// Writes a value of `text`, `ntext` or `image` and gives what stands in the row for it.
    pub(super) fn text_write(&mut self, by: By, rowset: u64, value: &[u8]) -> Vec<u8> {
        self.next_blob += 1;
        let timestamp = self.next_blob;
        let blob_id = u64::from(timestamp) << 16;
        let root = if value.len() <= SMALL_ROOT_MAX {
            encode_small_root(blob_id, value)
        } else {
            let (level, links) = self.write_pieces(by, rowset, UnitKind::Lob, blob_id, value);
            encode_large_root(blob_id, level, &links)
        };
        let at = self.lob_insert(by, rowset, UnitKind::Lob, &root);
        encode_text_pointer(timestamp, at)
    }

    /// Takes a value of `text`, `ntext` or `image` away.
    pub(super) fn text_delete(&mut self, by: By, rowset: u64, pointer: &[u8]) {
        let root = RowId::read(pointer, 8, "text pointer").expect("our own pointers");
        let record = self.page(root.page.page).row(root.slot).expect("the record is there").to_vec();
        let number = |at: usize| u16::from_le_bytes([record[at], record[at + 1]]);
        if number(12) != 0 {
            for link in record[24..].chunks_exact(12).take(usize::from(number(16))) {
                let at = RowId::read(link, 4, "LOB link").expect("our own links");
                self.lob_delete_tree(by, rowset, UnitKind::Lob, at, number(18));
            }
        }
        self.lob_remove(by, rowset, UnitKind::Lob, root);
    }

    /// Writes a value outside of its row and gives what stands in the row for it.
    pub(super) fn lob_write(&mut self, by: By, rowset: u64, kind: UnitKind, value: &[u8]) -> Vec<u8> {
        self.next_blob += 1;
        let timestamp = self.next_blob;
        let blob_id = u64::from(timestamp) << 16;
        let (level, links) = self.write_pieces(by, rowset, kind, blob_id, value);
        match kind {
            UnitKind::Overflow => encode_overflow_pointer(1, timestamp, value.len() as u32, links[0].at),
            _ => encode_in_row_root(level, 1, timestamp, &links),
        }
    }

    /// Writes the pieces of a value and the records that point to them, until so few are left that a root takes them.
    fn write_pieces(&mut self, by: By, rowset: u64, kind: UnitKind, blob_id: u64, value: &[u8]) -> (u16, Vec<LobLink>) {
        let mut links = Vec::new();
        let mut end = 0u32;
        for chunk in value.chunks(LOB_CHUNK_MAX) {
            end += chunk.len() as u32;
            let at = self.lob_insert(by, rowset, kind, &encode_lob_data(blob_id, chunk));
            links.push(LobLink { end, at });
        }
        let mut level = 0;
        while links.len() > ROOT_LINKS_MAX {
            level += 1;
            let mut upper = Vec::new();
            let mut start = 0;
            for group in links.chunks(INTERNAL_LINKS) {
                let relative: Vec<LobLink> = group.iter().map(|l| LobLink { end: l.end - start, at: l.at }).collect();
                let at = self.lob_insert(by, rowset, kind, &encode_lob_internal(blob_id, level, &relative));
                start = group[group.len() - 1].end;
                upper.push(LobLink { end: start, at });
            }
            links = upper;
        }
        (level, links)
    }

    fn lob_insert(&mut self, by: By, rowset: u64, kind: UnitKind, record: &[u8]) -> RowId {
        let xact = xact_of(by);
        if self.unit(rowset, kind).iam == 0 {
            self.take_first_page(xact, rowset, kind);
        }
        let last = *self.unit(rowset, kind).lob_pages.last().expect("it has a first page");
        let slot = self.free_place(xact, lob_lock_space(rowset, kind), last, record.len());
        let at = match slot {
            Some(slot) => rid(last, slot),
            None => rid(self.add_lob_page(xact, rowset, kind), 0),
        };
        self.lob_put(by, rowset, kind, at, record);
        at
    }

    /// Puts a LOB record at its place.
    pub(super) fn lob_put(&mut self, by: By, rowset: u64, kind: UnitKind, at: RowId, record: &[u8]) {
        let before = self.last_lsn(by);
        let page = at.page.page;
        self.write_page(by, page, at.slot, |r, h, t| {
            r.insert_rows(h, Context::TEXT_MIX, t, rowset, 0, &[record], &[]);
        });
        self.page_mut(page).fill_slot(at.slot, record);
        self.note_fullness(page);
        self.undoable(by, before, Undo::LobInsert { rowset, kind, at });
    }

    /// Takes a LOB record away.
    pub(super) fn lob_remove(&mut self, by: By, rowset: u64, kind: UnitKind, at: RowId) {
        let before = self.last_lsn(by);
        let page = at.page.page;
        let row = self.page(page).row(at.slot).expect("the record is there").to_vec();
        let image: &[u8] = if matches!(by, By::Undo(..)) { &[] } else { &row };
        self.write_page(by, page, at.slot, |r, h, t| {
            r.delete_rows(h, Context::TEXT_MIX, t, rowset, 0, image, &[]);
        });
        self.page_mut(page).free_slot(at.slot);
        if let By::Xact(id) = by {
            // Nobody else may take the slot while the value may come back.
            let key = RowKey::Rid(at);
            self.lock(id, lob_lock_space(rowset, kind), &key).expect("whoever has the row has its values");
            self.reserve_row(by, at, row.len());
        }
        self.note_fullness(page);
        self.undoable(by, before, Undo::LobDelete { rowset, kind, at, row });
    }

    /// Changes a LOB record in its place, if it fits there; says whether it did. The length that it holds is not logged (observed on 2008).
    pub(super) fn lob_modify(&mut self, by: By, rowset: u64, kind: UnitKind, at: RowId, record: &[u8]) -> bool {
        const HEAD: usize = 4;
        let before = self.last_lsn(by);
        let page = at.page.page;
        let old = self.page(page).row(at.slot).expect("the record is there").to_vec();
        let undo = matches!(by, By::Undo(..));
        if !undo && self.free_for(xact_of(by), page) + old.len() < record.len() {
            return false;
        }
        let (from, to) = (&old[HEAD..], &record[HEAD..]);
        let same = from.iter().zip(to).take_while(|(a, b)| a == b).count();
        let most = from.len().min(to.len()) - same;
        let tail = from.iter().rev().zip(to.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
        let (gone, new) = (&from[same..from.len() - tail], &to[same..to.len() - tail]);
        if gone.is_empty() && new.is_empty() {
            return true;
        }
        let told: &[u8] = if undo { &[] } else { gone };
        self.write_page(by, page, at.slot, |r, h, t| {
            let (offset, len) = ((HEAD + same) as u16, gone.len() as u16);
            r.modify_row(h, Context::TEXT_MIX, t, rowset, offset, len, (told, new), (&[], &[]));
        });
        self.page_mut(page).replace(at.slot, record);
        self.reserve(by, page, old.len().saturating_sub(record.len()));
        self.note_fullness(page);
        self.undoable(by, before, Undo::LobModify { rowset, kind, at, before: old });
        true
    }

    /// Gives a value outside of its row another one without changing what stands in the row, as UPDATETEXT does, where that can be; says
    /// whether it could: pieces of the same length are changed in their places, and the root of a `text` stays where it is.
    pub(super) fn lob_rewrite(&mut self, by: By, rowset: u64, pointer: &[u8], value: &[u8]) -> bool {
        let record = |db: &Self, at: RowId| db.page(at.page.page).row(at.slot).expect("the record is there").to_vec();
        let number = |bytes: &[u8], at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let links = |bytes: &[u8]| -> Vec<RowId> {
            bytes.chunks_exact(12).map(|l| RowId::read(l, 4, "LOB link").expect("our own links")).collect()
        };
        if pointer.len() != 16 {
            let kind = if pointer[0] == 2 { UnitKind::Overflow } else { UnitKind::Lob };
            return number(pointer, 1) == 0 && self.pieces_rewrite(by, rowset, kind, &links(&pointer[12..]), value);
        }
        let root = RowId::read(pointer, 8, "text pointer").expect("our own pointers");
        let old = record(self, root);
        let blob_id = u64::from_le_bytes(old[4..12].try_into().expect("eight bytes"));
        let is_small = number(&old, 12) == 0;
        let pieces = if is_small { Vec::new() } else { links(&old[24..24 + 12 * usize::from(number(&old, 16))]) };
        let level = if is_small { 0 } else { number(&old, 18) };
        if !is_small && level == 0 && self.pieces_rewrite(by, rowset, UnitKind::Lob, &pieces, value) {
            return true;
        }
        let largest = encode_large_root(blob_id, 0, &[LobLink { end: 0, at: root }; ROOT_LINKS_MAX]).len();
        let new_len = if value.len() <= SMALL_ROOT_MAX { 20 + value.len() } else { largest };
        if self.free_for(xact_of(by), root.page.page) + old.len() < new_len.max(largest) {
            return false;
        }
        let new = if value.len() <= SMALL_ROOT_MAX {
            encode_small_root(blob_id, value)
        } else {
            // The room for the root must still be there behind its pieces.
            self.reserve(by, root.page.page, largest);
            let (level, links) = self.write_pieces(by, rowset, UnitKind::Lob, blob_id, value);
            encode_large_root(blob_id, level, &links)
        };
        if !self.lob_modify(by, rowset, UnitKind::Lob, root, &new) {
            return false;
        }
        for at in pieces {
            self.lob_delete_tree(by, rowset, UnitKind::Lob, at, level);
        }
        true
    }

    /// Changes pieces in their places; not where the value has another length.
    fn pieces_rewrite(&mut self, by: By, rowset: u64, kind: UnitKind, pieces: &[RowId], value: &[u8]) -> bool {
        let old: Vec<Vec<u8>> = pieces
            .iter()
            .map(|at| self.page(at.page.page).row(at.slot).expect("the record is there").to_vec())
            .collect();
        if old.iter().map(|piece| piece.len() - 14).sum::<usize>() != value.len() {
            return false;
        }
        let mut from = 0;
        for (at, mut piece) in pieces.iter().zip(old) {
            let len = piece.len() - 14;
            piece[14..].copy_from_slice(&value[from..from + len]);
            from += len;
            assert!(self.lob_modify(by, rowset, kind, *at, &piece), "it has the same length");
        }
        true
    }

    /// Takes the records of a value away, by what stands in the row for it.
    pub(super) fn lob_delete(&mut self, by: By, rowset: u64, pointer: &[u8]) {
        let kind = if pointer[0] == 2 { UnitKind::Overflow } else { UnitKind::Lob };
        let level = u16::from_le_bytes([pointer[1], pointer[2]]);
        let links: Vec<RowId> =
            pointer[12..].chunks_exact(12).map(|l| RowId::read(l, 4, "LOB link").expect("our own links")).collect();
        for at in links {
            self.lob_delete_tree(by, rowset, kind, at, level);
        }
    }

    fn lob_delete_tree(&mut self, by: By, rowset: u64, kind: UnitKind, at: RowId, level: u16) {
        if level > 0 {
            let record = self.page(at.page.page).row(at.slot).expect("the record is there").to_vec();
            for link in record[20..].chunks_exact(16) {
                let child = RowId::read(link, 8, "LOB link").expect("our own links");
                self.lob_delete_tree(by, rowset, kind, child, level - 1);
            }
        }
        self.lob_remove(by, rowset, kind, at);
    }

    fn add_lob_page(&mut self, xact: u64, rowset: u64, kind: UnitKind) -> u32 {
        let outer = self.begin_system(xact, "AllocLobPageSysXactDML", SystemXact::Nested);
        let by = By::Xact(outer);
        let page = self.take_page(by, rowset, kind, false);
        let none = (PageId::default(), PageId::default());
        self.format_page(by, rowset, kind, page, Context::TEXT_MIX, PageType::TEXT_MIX, 0, none, 0);
        self.end_system(outer);
        self.unit_mut(rowset, kind).lob_pages.push(page);
        page
    }
}

/// How many rows of the table a record of a heap stands for: the stub of a moved row does, the row where it is now does not.
fn counts(record: &[u8]) -> i64 {
    i64::from(RecordKind::of(record[0]) != RecordKind::Forwarded)
}

/// LOB records are locked by their places, beside the rows of the rowset.
fn lob_lock_space(rowset: u64, kind: UnitKind) -> u64 {
    rowset | kind.index() as u64
}

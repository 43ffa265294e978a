//! A page that can be changed: what redo and the storage engine do to pages, in one place.

use logferry_model::Lsn;

use crate::page::{HEADER_SIZE, PAGE_SIZE, Page, PageBytes, PageHeader, PageId, PageType, checksum};
use crate::row::row_len;

/// What FORMAT_PAGE says of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatPage {
    /// Where it is.
    pub id: PageId,
    /// What it holds.
    pub page_type: PageType,
    /// @2
    pub type_flags: u8,
    /// Leaf 0.
    pub level: u8,
    /// Object id part of the allocation unit.
    pub obj_id: u32,
    /// Index id part of the allocation unit.
    pub index_id: u16,
    /// Page to the left.
    pub prev: PageId,
    /// Page to the right.
    pub next: PageId,
    /// Length of the fixed part of its rows.
    pub min_len: u16,
}

/// Bit of the page flags: the page has a checksum.
const FLAG_CHECKSUM: u16 = 0x200;

/// A page in memory. Rows keep their order by the slot array; holes between them are closed when room is needed.
#[derive(Clone)]
pub struct PageImage {
    bytes: Box<PageBytes>,
}

impl std::fmt::Debug for PageImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.header().fmt(f)
    }
}

impl PageImage {
    /// An empty page.
    pub fn format(f: &FormatPage) -> Self {
        let mut page = PageImage { bytes: Box::new([0; PAGE_SIZE]) };
        let b = &mut page.bytes;
        b[0] = 1;
        b[1] = f.page_type.0;
        b[2] = f.type_flags;
        b[3] = f.level;
        b[4..6].copy_from_slice(&FLAG_CHECKSUM.to_le_bytes());
        b[6..8].copy_from_slice(&f.index_id.to_le_bytes());
        b[8..14].copy_from_slice(&f.prev.to_bytes());
        b[14..16].copy_from_slice(&f.min_len.to_le_bytes());
        b[16..22].copy_from_slice(&f.next.to_bytes());
        b[24..28].copy_from_slice(&f.obj_id.to_le_bytes());
        b[32..38].copy_from_slice(&f.id.to_bytes());
        page.set_free((PAGE_SIZE - HEADER_SIZE) as u16, HEADER_SIZE as u16);
        page
    }

    /// A page as it was read; it must be valid.
    pub fn from_bytes(bytes: Box<PageBytes>) -> Self {
        PageImage { bytes }
    }

    /// The bytes as they are in memory: the checksum is that of an earlier state.
    pub fn bytes(&self) -> &PageBytes {
        &self.bytes
    }

    /// The bytes, to be changed where no method here does it (allocation maps, boot page).
    pub fn bytes_mut(&mut self) -> &mut PageBytes {
        &mut self.bytes
    }

    /// The bytes as they go to a file: with their checksum.
    pub fn sealed(&self) -> PageBytes {
        let mut bytes = *self.bytes;
        let sum = checksum(&bytes);
        bytes[60..64].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The header.
    pub fn header(&self) -> PageHeader {
        PageHeader::read(&self.bytes[..]).expect("a page has a header")
    }

    /// Where the page is.
    pub fn id(&self) -> PageId {
        self.header().id
    }

    /// The last record that changed the page.
    pub fn lsn(&self) -> Lsn {
        Lsn::from_le_bytes(self.bytes[40..50].try_into().expect("10 bytes"))
    }

    /// Says which record changed the page last.
    pub fn set_lsn(&mut self, lsn: Lsn) {
        self.bytes[40..50].copy_from_slice(&lsn.to_le_bytes());
    }

    /// Links the page to its left neighbour.
    pub fn set_prev(&mut self, prev: PageId) {
        self.bytes[8..14].copy_from_slice(&prev.to_bytes());
    }

    /// Links the page to its right neighbour.
    pub fn set_next(&mut self, next: PageId) {
        self.bytes[16..22].copy_from_slice(&next.to_bytes());
    }

    /// Number of slots, free ones included.
    pub fn slot_count(&self) -> u16 {
        self.u16_at(22)
    }

    /// Free bytes, wherever on the page they are. A new row takes two more for its slot.
    pub fn free(&self) -> usize {
        usize::from(self.u16_at(28))
    }

    /// Deleted rows that are still there.
    pub fn ghosts(&self) -> u16 {
        self.u16_at(58)
    }

    /// Sets the number of deleted rows that are still there.
    pub fn set_ghosts(&mut self, ghosts: u16) {
        self.bytes[58..60].copy_from_slice(&ghosts.to_le_bytes());
    }

    /// The row of a slot; `None` where the slot is free or there is none.
    pub fn row(&self, slot: u16) -> Option<&[u8]> {
        let at = self.row_at(slot)?;
        Some(&self.bytes[at.0..at.0 + at.1])
    }

    /// The row of a slot, to be changed without changing its length.
    pub fn row_mut(&mut self, slot: u16) -> Option<&mut [u8]> {
        let at = self.row_at(slot)?;
        Some(&mut self.bytes[at.0..at.0 + at.1])
    }

    /// Adds a row at a slot; the slots from there on move up, as on pages of indexes.
    ///
    /// # Panics
    /// When the row does not fit, or the slot is past the end of the slot array.
    pub fn insert(&mut self, slot: u16, row: &[u8]) {
        let slots = self.slot_count();
        assert!(slot <= slots, "slot {slot} of a page with {slots} slots");
        self.make_room(row.len() + 2);
        let at = self.append_row(row);
        let top = PAGE_SIZE - 2 * usize::from(slots);
        let end = PAGE_SIZE - 2 * usize::from(slot);
        self.bytes.copy_within(top..end, top - 2);
        self.set_slot_count(slots + 1);
        self.set_slot(slot, at);
        self.take(2);
    }

    /// Puts a row into a free slot, or past the last one, as on pages of heaps and LOBs: slots between are free then.
    ///
    /// # Panics
    /// When the row does not fit, or the slot is taken.
    pub fn fill_slot(&mut self, slot: u16, row: &[u8]) {
        let slots = self.slot_count();
        if slot >= slots {
            let more = 2 * usize::from(slot - slots + 1);
            self.make_room(row.len() + more);
            let at = self.append_row(row);
            for free in slots..slot {
                self.set_slot(free, 0);
            }
            self.set_slot_count(slot + 1);
            self.set_slot(slot, at);
            self.take(more);
            return;
        }
        assert!(self.row_at(slot).is_none(), "slot {slot} is taken");
        self.make_room(row.len());
        let at = self.append_row(row);
        self.set_slot(slot, at);
    }

    /// Replaces a row by one of any length.
    ///
    /// # Panics
    /// When there is no such row, or the new one does not fit.
    pub fn replace(&mut self, slot: u16, row: &[u8]) {
        let (at, len) = self.row_at(slot).expect("the slot has a row");
        if row.len() <= len {
            self.bytes[at..at + row.len()].copy_from_slice(row);
            self.give(len - row.len());
            return;
        }
        assert!(self.free() + len >= row.len(), "the longer row does not fit");
        self.set_slot(slot, 0);
        self.give(len);
        self.make_room(row.len());
        let at = self.append_row(row);
        self.set_slot(slot, at);
    }

    /// Takes a row away; the slots behind it move down.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn remove(&mut self, slot: u16) {
        let (_, len) = self.row_at(slot).expect("the slot has a row");
        let slots = self.slot_count();
        let top = PAGE_SIZE - 2 * usize::from(slots);
        let end = PAGE_SIZE - 2 * (usize::from(slot) + 1);
        self.bytes.copy_within(top..end, top + 2);
        self.bytes[top..top + 2].fill(0);
        self.set_slot_count(slots - 1);
        self.give(len + 2);
        if slots == 1 {
            self.bytes[30..32].copy_from_slice(&(HEADER_SIZE as u16).to_le_bytes());
        }
    }

    /// Takes a row away and leaves its slot free; free slots at the end of the array go.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn free_slot(&mut self, slot: u16) {
        let (_, len) = self.row_at(slot).expect("the slot has a row");
        self.set_slot(slot, 0);
        self.give(len);
        let mut slots = self.slot_count();
        while slots > 0 && self.slot(slots - 1) == 0 {
            slots -= 1;
            self.give(2);
        }
        self.set_slot_count(slots);
        if slots == 0 {
            self.bytes[30..32].copy_from_slice(&(HEADER_SIZE as u16).to_le_bytes());
        }
    }

    fn row_at(&self, slot: u16) -> Option<(usize, usize)> {
        let page = Page::read(&self.bytes).expect("the page is valid");
        let at = usize::from(page.slot(slot)?);
        let row = page.row_bytes(slot).expect("the slot points into the page")?;
        let len = row_len(row, page.header.min_len).expect("the row is whole");
        Some((at, len))
    }

    /// Appends a row behind the last; there is room.
    fn append_row(&mut self, row: &[u8]) -> u16 {
        let at = self.u16_at(30);
        let from = usize::from(at);
        self.bytes[from..from + row.len()].copy_from_slice(row);
        self.bytes[30..32].copy_from_slice(&(at + row.len() as u16).to_le_bytes());
        self.take(row.len());
        at
    }

    /// Makes `len` free bytes between the last row and the slot array.
    fn make_room(&mut self, len: usize) {
        assert!(self.free() >= len, "{len} bytes do not fit on page {}: {} free", self.id(), self.free());
        let slots_begin = PAGE_SIZE - 2 * usize::from(self.slot_count());
        if usize::from(self.u16_at(30)) + len > slots_begin {
            self.close_holes();
        }
    }

    fn close_holes(&mut self) {
        let mut rows: Vec<(u16, usize, usize)> =
            (0..self.slot_count()).filter_map(|slot| self.row_at(slot).map(|(at, len)| (slot, at, len))).collect();
        rows.sort_by_key(|r| r.1);
        let mut end = HEADER_SIZE;
        for (slot, at, len) in rows {
            self.bytes.copy_within(at..at + len, end);
            self.set_slot(slot, end as u16);
            end += len;
        }
        self.bytes[30..32].copy_from_slice(&(end as u16).to_le_bytes());
    }

    fn u16_at(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    fn slot(&self, slot: u16) -> u16 {
        self.u16_at(PAGE_SIZE - 2 * (usize::from(slot) + 1))
    }

    fn set_slot(&mut self, slot: u16, at: u16) {
        let place = PAGE_SIZE - 2 * (usize::from(slot) + 1);
        self.bytes[place..place + 2].copy_from_slice(&at.to_le_bytes());
    }

    fn set_slot_count(&mut self, slots: u16) {
        self.bytes[22..24].copy_from_slice(&slots.to_le_bytes());
    }

    fn set_free(&mut self, free: u16, free_data: u16) {
        self.bytes[28..30].copy_from_slice(&free.to_le_bytes());
        self.bytes[30..32].copy_from_slice(&free_data.to_le_bytes());
    }

    fn take(&mut self, len: usize) {
        let free = self.free() - len;
        self.bytes[28..30].copy_from_slice(&(free as u16).to_le_bytes());
    }

    fn give(&mut self, len: usize) {
        let free = self.free() + len;
        self.bytes[28..30].copy_from_slice(&(free as u16).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::page::verify;

    fn row(len: usize, fill: u8) -> Vec<u8> {
        // A fixed-only row: status, end of fixed part, columns, NULL bitmap.
        let mut row = vec![0x10, 0];
        row.extend((len as u16 - 3).to_le_bytes());
        row.resize(len - 3, fill);
        row.extend([1, 0, 0]);
        row
    }

    fn page() -> PageImage {
        PageImage::format(&FormatPage {
            id: PageId::new(1, 77),
            page_type: PageType::DATA,
            type_flags: 0,
            level: 0,
            obj_id: 188,
            index_id: 256,
            prev: PageId::default(),
            next: PageId::default(),
            min_len: 8,
        })
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u16, usize, u8),
        Replace(u16, usize, u8),
        Remove(u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (any::<u16>(), 8usize..900, any::<u8>()).prop_map(|(s, l, f)| Step::Insert(s, l, f)),
            (any::<u16>(), 8usize..900, any::<u8>()).prop_map(|(s, l, f)| Step::Replace(s, l, f)),
            any::<u16>().prop_map(Step::Remove),
        ]
    }

    proptest! {
        #[test]
        fn a_page_is_a_list_of_rows(steps in proptest::collection::vec(step(), 1..80)) {
            let (mut page, mut rows) = (page(), Vec::<Vec<u8>>::new());
            for step in steps {
                let pick = |n: u16| usize::from(n) % rows.len().max(1);
                match step {
                    Step::Insert(s, l, f) if page.free() >= l + 2 => {
                        let at = usize::from(s) % (rows.len() + 1);
                        page.insert(at as u16, &row(l, f));
                        rows.insert(at, row(l, f));
                    }
                    Step::Replace(s, l, f) if !rows.is_empty() && page.free() + rows[pick(s)].len() >= l => {
                        let at = pick(s);
                        page.replace(at as u16, &row(l, f));
                        rows[at] = row(l, f);
                    }
                    Step::Remove(s) if !rows.is_empty() => {
                        let at = pick(s);
                        page.remove(at as u16);
                        rows.remove(at);
                    }
                    _ => {}
                }
                let used: usize = rows.iter().map(|r| r.len() + 2).sum();
                prop_assert_eq!(page.free(), PAGE_SIZE - HEADER_SIZE - used);
            }
            let mut bytes = page.sealed();
            verify(&mut bytes).unwrap();
            let read = Page::read(&bytes).unwrap();
            let found: Vec<Vec<u8>> = read
                .rows()
                .map(|r| r.unwrap().1)
                .map(|r| r[..row_len(r, read.header.min_len).unwrap()].to_vec())
                .collect();
            prop_assert_eq!(found, rows);
        }
    }

    #[test]
    fn heap_slots_stay_where_they_are() {
        let mut page = page();
        for n in 0..4 {
            page.fill_slot(n, &row(20, n as u8));
        }
        page.free_slot(1);
        assert_eq!((page.slot_count(), page.row(1)), (4, None));
        page.fill_slot(1, &row(30, 9));
        page.free_slot(3);
        page.free_slot(2);
        assert_eq!(page.slot_count(), 2);
        assert_eq!(page.row(1), Some(&row(30, 9)[..]));
        page.fill_slot(4, &row(40, 5));
        assert_eq!((page.slot_count(), page.row(2), page.row(3)), (5, None, None));
        assert_eq!(page.free(), PAGE_SIZE - HEADER_SIZE - 5 * 2 - 20 - 30 - 40);
    }
}

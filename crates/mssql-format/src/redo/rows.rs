//! The rows of a page that is being changed.

use crate::bytes::{Malformed, u16_at};
use crate::log::op::Op;
use crate::log::record::Record;
use crate::page::{HEADER_SIZE, PAGE_SIZE, Page, PageBytes, PageType, RowsHeader};
use crate::row::compressed::{CdRecord, PageCompression};
use crate::row::{RecordKind, VERSION_TAG_SIZE, has_version_tag, row_len, status};

/// In place of a row's offset: the row is there, its bytes are not known. No row begins inside the header.
pub const UNKNOWN_ROW: u16 = 1;

const FREE: u16 = 0;

/// The bytes of the row in a slot, with its version tag; `None` where the slot is free, not there, or unknown.
pub fn row_at(page: &PageBytes, slot: u16) -> Result<Option<&[u8]>, Malformed> {
    let header = RowsHeader::read(page);
    if slot >= header.slot_count {
        return Ok(None);
    }
    match slot_offset(page, slot)? {
        FREE | UNKNOWN_ROW => Ok(None),
        offset => row_from(page, &header, offset).map(Some),
    }
}

/// Why a record's change of compressed rows cannot be redone; `None` where it can, or changes no such rows. `slot` is the record's.
pub(super) fn compressed_unknown(page: &PageBytes, record: &Record<'_>, slot: u16) -> Option<&'static str> {
    if matches!(record.op, Op::FORMAT_PAGE | Op::MODIFY_HEADER | Op::INSYSXACT) {
        return None;
    }
    if record.op == Op::COMPRESSION_INFO {
        return Some("how COMPRESSION_INFO compresses a page is not known");
    }
    let comes = record.op == Op::INSERT_ROWS
        && holds_rows(page)
        && record.element(0).first().is_some_and(|status| status & status::COMPRESSED != 0);
    // All rows of a page are compressed or none: the one that changes is at hand.
    let is_compressed = |page| match status_at(page, slot) {
        Some(status) => holds_rows(page) && status & status::COMPRESSED != 0,
        None => has_compressed_rows(page),
    };
    match comes || is_compressed(page) {
        true if record.op != Op::REMOVE_VERSION_INFO => compressed_as_a_whole(page),
        _ => None,
    }
}

/// Why the changes of a page with compressed rows are not known; `None` where its rows are compressed each by itself.
pub(super) fn compressed_as_a_whole(page: &PageBytes) -> Option<&'static str> {
    if page[1] == PageType::INDEX.0 {
        return Some("its entries are compressed, and how the log changes such entries is not known");
    }
    match Page::read(page).and_then(|page| PageCompression::of_page(&page)) {
        Ok(None) => None,
        _ => Some("it is compressed as a whole (PAGE), and how the log changes such pages is not known"),
    }
}

/// Whether the rows of a page are compressed, as its first one is.
pub(super) fn has_compressed_rows(page: &PageBytes) -> bool {
    if !holds_rows(page) {
        return false;
    }
    let slots = RowsHeader::read(page).slot_count;
    (0..slots).find_map(|slot| status_at(page, slot)).is_some_and(|status| status & status::COMPRESSED != 0)
}

/// The first byte of the row in a slot; `None` where there is none that is known.
fn status_at(page: &PageBytes, slot: u16) -> Option<u8> {
    if slot >= RowsHeader::read(page).slot_count {
        return None;
    }
    let offset = usize::from(slot_offset(page, slot).ok()?);
    if offset < HEADER_SIZE { None } else { page.get(offset).copied() }
}

/// A row that is to stand on a page: of a compressed one nothing may be left over, and it must not be one that moves within a heap.
pub(super) fn check_compressed(page: &PageBytes, row: &[u8]) -> Result<(), Malformed> {
    match row.first() {
        Some(status) if status & status::COMPRESSED != 0 && holds_rows(page) => CdRecord::read_whole(row).map(drop),
        _ => Ok(()),
    }
}

/// Only rows and entries of indexes can be compressed; records of other pages have other first bytes.
fn holds_rows(page: &PageBytes) -> bool {
    matches!(PageType(page[1]), PageType::DATA | PageType::INDEX)
}

fn slot_offset(page: &PageBytes, slot: u16) -> Result<u16, Malformed> {
    let at = PAGE_SIZE.saturating_sub(2 * (usize::from(slot) + 1));
    u16_at(page, at, "slot")
}

fn row_from<'a>(page: &'a PageBytes, header: &RowsHeader, offset: u16) -> Result<&'a [u8], Malformed> {
    let start = usize::from(offset);
    let end = PAGE_SIZE.saturating_sub(2 * usize::from(header.slot_count));
    match page.get(start..end) {
        Some(bytes) if start >= HEADER_SIZE => {
            let len = match row_len(bytes, header.min_len) {
                Ok(len) => len,
                // Not all compressed rows say how long they are: up to the next row is never too short.
                Err(_) => next_offset(page, header, offset).saturating_sub(start),
            };
            bytes.get(..len).ok_or_else(|| Malformed::new("a row goes on behind the rows of its page", start))
        }
        _ => Err(Malformed::new(format!("a slot points to {start}, outside the rows"), start)),
    }
}

/// Where the row behind an offset begins, or the free space.
fn next_offset(page: &PageBytes, header: &RowsHeader, offset: u16) -> usize {
    let rows = (0..header.slot_count).filter_map(|slot| slot_offset(page, slot).ok());
    let next = rows.filter(|&o| o > offset).min().unwrap_or(u16::MAX);
    usize::from(next.min(header.free_data.max(offset)))
}

/// A page whose slots and rows are changed.
pub(super) struct PageRows<'a> {
    page: &'a mut PageBytes,
    header: RowsHeader,
}

impl<'a> PageRows<'a> {
    pub(super) fn new(page: &'a mut PageBytes) -> Result<Self, Malformed> {
        let header = RowsHeader::read(page);
        let slots = 2 * usize::from(header.slot_count);
        let free = usize::from(header.free_data);
        if HEADER_SIZE + slots > PAGE_SIZE {
            return Err(Malformed::new(format!("{} slots do not fit on a page", header.slot_count), 22));
        }
        if !(HEADER_SIZE..=PAGE_SIZE).contains(&free) {
            return Err(Malformed::new(format!("the free space begins at {free}"), 30));
        }
        Ok(PageRows { page, header })
    }

    pub(super) fn count(&self) -> u16 {
        self.header.slot_count
    }

    /// See [`check_compressed`].
    pub(super) fn check_compressed(&self, row: &[u8]) -> Result<(), Malformed> {
        check_compressed(self.page, row)
    }

    fn offset(&self, slot: u16) -> u16 {
        if slot >= self.header.slot_count {
            return FREE;
        }
        slot_offset(self.page, slot).unwrap_or(FREE)
    }

    pub(super) fn is_unknown(&self, slot: u16) -> bool {
        self.offset(slot) == UNKNOWN_ROW
    }

    /// The row in a slot; `None` where it is free or unknown.
    ///
    /// # Errors
    /// Where there is no such slot.
    pub(super) fn row(&self, slot: u16) -> Result<Option<&[u8]>, Malformed> {
        self.check(slot)?;
        match self.offset(slot) {
            FREE | UNKNOWN_ROW => Ok(None),
            offset => row_from(self.page, &self.header, offset).map(Some),
        }
    }

    /// From the begin of the row in a slot to the slot array.
    pub(super) fn to_end(&self, slot: u16) -> Result<Option<&[u8]>, Malformed> {
        self.check(slot)?;
        let end = self.slots_start();
        match self.offset(slot) {
            FREE | UNKNOWN_ROW => Ok(None),
            offset if usize::from(offset) < HEADER_SIZE => {
                Err(Malformed::new(format!("slot {slot} points to {offset}, outside the rows"), 0))
            }
            offset => Ok(self.page.get(usize::from(offset)..end)),
        }
    }

    fn check(&self, slot: u16) -> Result<(), Malformed> {
        if slot < self.header.slot_count {
            return Ok(());
        }
        Err(Malformed::new(format!("slot {slot} is not there: the page has {}", self.header.slot_count), 22))
    }

    fn slots_start(&self) -> usize {
        PAGE_SIZE.saturating_sub(2 * usize::from(self.header.slot_count))
    }

    fn set_offset(&mut self, slot: u16, offset: u16) {
        let at = PAGE_SIZE.saturating_sub(2 * (usize::from(slot) + 1));
        if let Some(field) = self.page.get_mut(at..at + 2) {
            field.copy_from_slice(&offset.to_le_bytes());
        }
    }

    fn set_count(&mut self, count: u16) {
        self.header.slot_count = count;
        self.header.write(self.page);
    }

    fn set_free_data(&mut self, offset: usize) {
        // At most the size of a page.
        self.header.free_data = offset as u16;
        self.header.write(self.page);
    }

    /// Counts ghosts as the header does; it is a hint for the cleanup, and never below zero.
    pub(super) fn ghosts(&mut self, by: i16) {
        self.header.ghost_count = self.header.ghost_count.saturating_add_signed(by);
        self.header.write(self.page);
    }

    /// Writes a row where there is room and says where. `more` slots are to be added.
    fn place(&mut self, row: &[u8], more: u16) -> Result<u16, Malformed> {
        let slots = 2 * usize::from(more);
        let fits = |page: &Self| {
            usize::from(page.header.free_data).saturating_add(row.len()).saturating_add(slots) <= page.slots_start()
        };
        if !fits(self) {
            self.compact()?;
            if !fits(self) {
                return Err(Malformed::new(format!("a row of {} bytes does not fit", row.len()), 0));
            }
        }
        let start = self.header.free_data;
        let end = usize::from(start).saturating_add(row.len());
        if let Some(room) = self.page.get_mut(usize::from(start)..end) {
            room.copy_from_slice(row);
        }
        self.set_free_data(end);
        Ok(start)
    }

    /// Moves the rows together, in the order of their slots.
    fn compact(&mut self) -> Result<(), Malformed> {
        let old: PageBytes = *self.page;
        let header = self.header;
        let mut at = HEADER_SIZE;
        for slot in 0..header.slot_count {
            let offset = slot_offset(&old, slot)?;
            if offset == FREE || offset == UNKNOWN_ROW {
                continue;
            }
            let row = row_from(&old, &header, offset)?;
            let end = at.saturating_add(row.len());
            let slots = self.slots_start();
            match self.page.get_mut(at..end) {
                Some(room) if end <= slots => room.copy_from_slice(row),
                _ => return Err(Malformed::new("the rows of the page overlap", at)),
            }
            self.set_offset(slot, at as u16);
            at = end;
        }
        self.set_free_data(at);
        Ok(())
    }

    fn grow(&self, slots: u16) -> Result<u16, Malformed> {
        match self.header.slot_count.checked_add(slots) {
            Some(count) if HEADER_SIZE + 2 * usize::from(count) <= PAGE_SIZE => Ok(count),
            _ => Err(Malformed::new("too many slots", 22)),
        }
    }

    /// Puts a row at a slot; the rows from there on move up.
    pub(super) fn insert(&mut self, slot: u16, row: &[u8]) -> Result<(), Malformed> {
        let count = self.header.slot_count;
        if slot > count {
            return Err(Malformed::new(format!("a row is to come to slot {slot}, the page has {count}"), 22));
        }
        let more = self.grow(1)?;
        let offset = self.place(row, 1)?;
        self.set_count(more);
        // Slot k lies in front of slot k - 1: moving up is moving towards the begin of the page.
        let from = PAGE_SIZE.saturating_sub(2 * usize::from(count));
        let to = PAGE_SIZE.saturating_sub(2 * usize::from(slot));
        self.page.copy_within(from..to, from - 2);
        self.set_offset(slot, offset);
        Ok(())
    }

    /// Takes a slot away; the rows behind it move down.
    pub(super) fn remove(&mut self, slot: u16) -> Result<(), Malformed> {
        self.check(slot)?;
        let count = self.header.slot_count;
        let from = PAGE_SIZE.saturating_sub(2 * usize::from(count));
        let to = PAGE_SIZE.saturating_sub(2 * (usize::from(slot) + 1));
        self.page.copy_within(from..to, from + 2);
        self.set_count(count.saturating_sub(1));
        Ok(())
    }

    /// Puts a row into a free slot, of a page whose slots stay.
    pub(super) fn put(&mut self, slot: u16, row: &[u8]) -> Result<(), Malformed> {
        let count = self.header.slot_count;
        if slot < count {
            if self.offset(slot) != FREE {
                return Err(Malformed::new(format!("slot {slot} is not free"), 0));
            }
            let offset = self.place(row, 0)?;
            self.set_offset(slot, offset);
            return Ok(());
        }
        let slots = slot.checked_sub(count).and_then(|n| n.checked_add(1)).unwrap_or(u16::MAX);
        let more = self.grow(slots)?;
        let offset = self.place(row, slots)?;
        self.set_count(more);
        for free in count..slot {
            self.set_offset(free, FREE);
        }
        self.set_offset(slot, offset);
        Ok(())
    }

    /// Frees a slot, of a page whose slots stay; free slots at the end go.
    pub(super) fn free(&mut self, slot: u16) -> Result<(), Malformed> {
        self.check(slot)?;
        if self.offset(slot) == FREE {
            return Err(Malformed::new(format!("slot {slot} is free already"), 0));
        }
        self.set_offset(slot, FREE);
        while let Some(last) = self.header.slot_count.checked_sub(1)
            && self.offset(last) == FREE
        {
            self.set_count(last);
        }
        Ok(())
    }

    /// Adds a slot behind the others whose row is not known.
    pub(super) fn push_unknown(&mut self) -> Result<(), Malformed> {
        self.push_slot(UNKNOWN_ROW)
    }

    /// Adds a free slot behind the others.
    pub(super) fn push_free(&mut self) -> Result<(), Malformed> {
        self.push_slot(FREE)
    }

    fn push_slot(&mut self, offset: u16) -> Result<(), Malformed> {
        let slot = self.header.slot_count;
        let more = self.grow(1)?;
        if usize::from(self.header.free_data) > self.slots_start().saturating_sub(2) {
            self.compact()?;
        }
        self.set_count(more);
        self.set_offset(slot, offset);
        Ok(())
    }

    /// Takes the slots from `slot` on away.
    pub(super) fn truncate(&mut self, slot: u16) {
        self.set_count(self.header.slot_count.min(slot));
    }

    /// Gives a slot other bytes.
    pub(super) fn replace(&mut self, slot: u16, row: &[u8]) -> Result<(), Malformed> {
        self.check(slot)?;
        if let Some(old) = self.row(slot)?
            && row.len() <= old.len()
        {
            let start = usize::from(self.offset(slot));
            self.page[start..start + row.len()].copy_from_slice(row);
            return Ok(());
        }
        // The old row's room is given up first: the new one may need it.
        self.set_offset(slot, FREE);
        let offset = self.place(row, 0)?;
        self.set_offset(slot, offset);
        Ok(())
    }

    /// Overwrites bytes of a row.
    pub(super) fn patch(&mut self, slot: u16, offset: usize, bytes: &[u8]) -> Result<(), Malformed> {
        self.check(slot)?;
        let start = usize::from(self.offset(slot)).saturating_add(offset);
        let end = start.saturating_add(bytes.len());
        if start < HEADER_SIZE || end > self.slots_start() {
            return Err(Malformed::new(format!("{} bytes at {offset} lie outside the rows", bytes.len()), start));
        }
        self.page[start..end].copy_from_slice(bytes);
        Ok(())
    }

    /// Zeroes the version tags of all rows.
    pub(super) fn clear_version_tags(&mut self) -> Result<(), Malformed> {
        for slot in 0..self.header.slot_count {
            let tag = match self.row(slot)? {
                // Where the end of a compressed row is not known, neither is its tag.
                Some(row)
                    if row.first().is_some_and(|&s| has_version_tag(s))
                        && row_len(row, self.header.min_len).is_ok() =>
                {
                    row.len().checked_sub(VERSION_TAG_SIZE)
                }
                _ => None,
            };
            if let Some(tag) = tag {
                self.patch(slot, tag, &[0; VERSION_TAG_SIZE])?;
            }
        }
        Ok(())
    }

    pub(super) fn is_ghost(&self, slot: u16) -> Result<bool, Malformed> {
        Ok(self.to_end(slot)?.and_then(<[u8]>::first).is_some_and(|&status| RecordKind::of(status).is_ghost()))
    }

    /// Makes a row a ghost.
    pub(super) fn mark_ghost(&mut self, slot: u16) -> Result<(), Malformed> {
        self.check(slot)?;
        if self.is_unknown(slot) {
            return Ok(());
        }
        let Some(&first) = self.to_end(slot)?.and_then(<[u8]>::first) else {
            return Err(Malformed::new(format!("slot {slot} is free"), 0));
        };
        let ghost = match RecordKind::of(first) {
            RecordKind::Primary | RecordKind::Forwarded => RecordKind::GhostData,
            RecordKind::Index => RecordKind::GhostIndex,
            kind => return Err(Malformed::new(format!("a {kind:?} record cannot become a ghost"), 0)),
        };
        self.patch(slot, 0, &[ghost.written_to(first)])?;
        self.ghosts(1);
        Ok(())
    }
}

//! Frames: the places of pages in memory, side by side in chunks, and who of them goes when all are taken.

use logferry_mssql_format::page::{PAGE_SIZE, PageBytes, PageId};

use super::prefetch::prefetch;

/// Pages of a chunk: memory is taken, and given back, in half a MiB.
const CHUNK: usize = 64;
/// Bytes that the processor fetches at once.
const LINE: usize = 64;
/// Lines of a row that are brought near: those of rows of ordinary length.
const ROW_LINES: usize = 3;

/// See the module.
#[derive(Debug)]
pub(super) struct Frames {
    /// The bytes of their pages, one page behind the other.
    chunks: Vec<Vec<u8>>,
    owners: Vec<Owner>,
    /// Frames that were used since the hand passed: asked for with every record, so by themselves.
    used: Vec<bool>,
    /// Frames without a page.
    free: Vec<u32>,
    max: usize,
    /// The frame that is looked at next when one must go.
    hand: usize,
}

/// A row of a page that is in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Near {
    pub(super) page: PageId,
    pub(super) frame: u32,
    pub(super) slot: u16,
}

/// Whose a frame is.
#[derive(Clone, Copy, Debug, Default)]
struct Owner {
    id: PageId,
    /// The page's room in the spill file, if it was there once.
    slot: Option<u32>,
    taken: bool,
}

impl Frames {
    pub(super) fn new(max: usize) -> Self {
        Frames { chunks: Vec::new(), owners: Vec::new(), used: Vec::new(), free: Vec::new(), max, hand: 0 }
    }

    /// Frames that have a page.
    pub(super) fn used(&self) -> usize {
        self.owners.len() - self.free.len()
    }

    /// A frame that no page has, where there is one.
    pub(super) fn free(&mut self) -> Option<u32> {
        if let Some(frame) = self.free.pop() {
            return Some(frame);
        }
        if self.owners.len() >= self.max {
            return None;
        }
        let frame = self.owners.len();
        if frame / CHUNK >= self.chunks.len() {
            // In huge pages the first touch of fresh memory of a virtual machine cost more than they saved.
            let pages = CHUNK.min(self.max - frame);
            self.chunks.push(Vec::with_capacity(pages * PAGE_SIZE));
        }
        // Memory becomes a page's right before that is read into it: what is written twice is in the processor's cache.
        let (chunk, end) = (&mut self.chunks[frame / CHUNK], (frame % CHUNK + 1) * PAGE_SIZE);
        chunk.resize(end.max(chunk.len()), 0);
        self.owners.push(Owner::default());
        self.used.push(false);
        // Fewer than 2^32 pages of 8 KiB are in memory.
        Some(frame as u32)
    }

    /// Gives a frame to a page.
    pub(super) fn give(&mut self, frame: u32, id: PageId, slot: Option<u32>) {
        self.owners[frame as usize] = Owner { id, slot, taken: true };
        self.used[frame as usize] = true;
    }

    /// Takes a frame from its page.
    pub(super) fn release(&mut self, frame: u32) {
        self.owners[frame as usize] = Owner::default();
        self.free.push(frame);
    }

    /// The page of a frame, and its room in the spill file.
    pub(super) fn owner(&self, frame: u32) -> (PageId, Option<u32>) {
        let owner = &self.owners[frame as usize];
        (owner.id, owner.slot)
    }

    #[inline]
    pub(super) fn page(&self, frame: u32) -> &PageBytes {
        let frame = frame as usize;
        &self.chunks[frame / CHUNK].as_chunks().0[frame % CHUNK]
    }

    #[inline]
    pub(super) fn page_mut(&mut self, frame: u32) -> &mut PageBytes {
        let frame = frame as usize;
        &mut self.chunks[frame / CHUNK].as_chunks_mut().0[frame % CHUNK]
    }

    /// The page of a frame, which is used by that.
    #[inline]
    pub(super) fn use_page(&mut self, frame: u32) -> &mut PageBytes {
        self.used[frame as usize] = true;
        self.page_mut(frame)
    }

    /// The frame whose page was not used for longest, about. There must be one that has a page.
    pub(super) fn next_to_go(&mut self) -> u32 {
        loop {
            let frame = if self.hand < self.owners.len() { self.hand } else { 0 };
            self.hand = frame + 1;
            if self.owners[frame].taken && !std::mem::take(&mut self.used[frame]) {
                return frame as u32;
            }
        }
    }

    /// Keeps the first `max` frames, never more than there might be before: the last chunk has no others. Gives the pages that moved
    /// there from others. No more than `max` may be taken.
    pub(super) fn shrink(&mut self, max: usize) -> Vec<(PageId, u32)> {
        let max = max.min(self.max);
        self.max = max;
        let mut moved = Vec::new();
        let mut free: Vec<u32> = self.free.iter().copied().filter(|&frame| (frame as usize) < max).collect();
        for from in max..self.owners.len() {
            let owner = self.owners[from];
            if let Some(to) = if owner.taken { free.pop() } else { None } {
                *self.page_mut(to) = *self.page(from as u32);
                self.owners[to as usize] = owner;
                self.used[to as usize] = self.used[from];
                moved.push((owner.id, to));
            }
        }
        self.owners.truncate(max);
        self.used.truncate(max);
        self.free = free;
        self.chunks.truncate(self.owners.len().div_ceil(CHUNK));
        self.owners.shrink_to_fit();
        moved
    }

    /// Asks the processor for what says where a row is.
    #[inline]
    pub(super) fn ask_for_slot(&self, near: &Near) {
        let page = self.page(near.frame);
        prefetch(page, 0);
        prefetch(page, slot_at(near.slot));
    }

    /// Asks the processor for a row; what says where it is, it should have.
    #[inline]
    pub(super) fn ask_for_row(&self, near: &Near) {
        let page = self.page(near.frame);
        let at = slot_at(near.slot);
        let row = usize::from(u16::from_le_bytes([page[at], page[at + 1]]));
        for line in 0..ROW_LINES {
            prefetch(page, row + line * LINE);
        }
    }
}

/// Where the offset of a slot's row stands: on the page, whatever the slot.
fn slot_at(slot: u16) -> usize {
    (PAGE_SIZE - 2).saturating_sub(2 * usize::from(slot))
}

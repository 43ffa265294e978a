//! The page store: the pages of a backup or a data file, and on top of them those that the log has changed.
//!
//! Changed pages are kept in memory up to a bound: each in a frame, and frames stand side by side in chunks. Behind the bound those that
//! were not used for longest go to a temporary file, and come back when they are wanted. A store is a [`PageSource`] itself, so one can
//! stand on another: a full copy reads a store that stands still while the changes after it go into a store on top.
//!
//! ```text
//!  held    page id -> frame, or place in the temporary file     frames  | 1:77 | 1:80 |  -   | 3:8  | ...
//!                                                                          ^ hand: who was not used since it passed goes
//! ```
//!
//! A page that could not be brought up to date is *lost*: reading it is an error that says why. So nobody reads a stale
//! page, and a page that nobody needs stops nobody. When the log formats it anew it is found again.

mod frames;
mod held;
mod prefetch;

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use logferry_mssql_format::page::{PAGE_SIZE, PageBytes, PageId, RowId};
use rustc_hash::FxHashMap;

use crate::error::Error;
use crate::pages::{FileExtent, PageSource};
use crate::spool::spool_error;
use frames::{Frames, Near};
use held::{Held, HeldPages, PLACES_MAX};

/// How many changes before that of a row the processor is asked for it, and how many before for what says where it is: long enough for both
/// to come from memory, and few enough to be there still.
const ROWS_AHEAD: usize = 12;
const SLOTS_AHEAD: usize = 24;

/// See the module.
pub struct PageStore<B: PageSource + ?Sized = dyn PageSource> {
    base: Arc<B>,
    held: HeldPages,
    /// Why pages are lost.
    lost: FxHashMap<PageId, Arc<str>>,
    frames: Frames,
    spill: Option<File>,
    /// Pages that the spill file has room for.
    spill_len: u32,
    /// Rows that are [about to change](PageStore::bring_near), of pages that are in memory.
    near: Vec<Near>,
    /// Which of them is to change next.
    next_near: usize,
}

impl<B: PageSource + ?Sized> fmt::Debug for PageStore<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageStore").field("pages", &self.held.len()).field("in_memory", &self.frames.used()).finish()
    }
}

impl<B: PageSource + ?Sized> PageStore<B> {
    /// A store without changes that keeps `memory_max` bytes of changed pages in memory.
    pub fn new(base: Arc<B>, memory_max: usize) -> Self {
        PageStore {
            base,
            held: HeldPages::default(),
            lost: FxHashMap::default(),
            frames: Frames::new(frames_max(memory_max)),
            spill: None,
            spill_len: 0,
            near: Vec::new(),
            next_near: 0,
        }
    }

    /// Number of pages that differ from the base.
    pub fn changed_pages(&self) -> usize {
        self.held.len()
    }

    /// Bytes of changed pages that are in memory.
    pub fn in_memory(&self) -> usize {
        self.frames.used() * PAGE_SIZE
    }

    /// Keeps no more than so many bytes in memory from now on.
    ///
    /// # Errors
    /// Where the temporary file cannot be written.
    pub fn shrink(&mut self, memory_max: usize) -> Result<(), Error> {
        let max = frames_max(memory_max);
        self.near.clear();
        while self.frames.used() > max {
            let frame = self.spill_one()?;
            self.frames.release(frame);
        }
        for (id, frame) in self.frames.shrink(max) {
            self.held.insert(id, Held::Memory { frame });
        }
        Ok(())
    }

    /// What the store stands on.
    pub fn base(&self) -> &Arc<B> {
        &self.base
    }

    /// Whether a page is not the base's.
    pub fn holds(&self, id: PageId) -> bool {
        self.held.get(id).is_some()
    }

    /// Why a page is lost, if it is.
    pub fn lost(&self, id: PageId) -> Option<&Arc<str>> {
        self.lost.get(&id)
    }

    /// Gives a page up: reading it is an error from now on.
    pub fn lose(&mut self, id: PageId, why: impl Into<Arc<str>>) {
        self.near.clear();
        if let Some(Held::Memory { frame }) = self.held.insert(id, Held::Lost) {
            self.frames.release(frame);
        }
        self.lost.insert(id, why.into());
    }

    /// A page to change.
    ///
    /// # Errors
    /// Where it cannot be read, or is lost.
    #[inline]
    pub fn page_mut(&mut self, id: PageId) -> Result<&mut PageBytes, Error> {
        let frame = match self.near.get(self.next_near) {
            Some(near) if near.page == id => {
                let frame = near.frame;
                self.next_near += 1;
                if let Some(row) = self.near.get(self.next_near + ROWS_AHEAD) {
                    self.frames.ask_for_row(row);
                    if let Some(row) = self.near.get(self.next_near + SLOTS_AHEAD) {
                        self.frames.ask_for_slot(row);
                    }
                }
                frame
            }
            _ => match self.held.get(id) {
                Some(Held::Memory { frame }) => frame,
                _ => self.load(id)?,
            },
        };
        Ok(self.frames.use_page(frame))
    }

    /// Brings a page into memory that is not there.
    #[cold]
    fn load(&mut self, id: PageId) -> Result<u32, Error> {
        let held = self.held.get(id);
        if let Some(Held::Lost) = held {
            return Err(lost(id, self.lost.get(&id)));
        }
        let frame = self.free_frame()?;
        let page = self.frames.page_mut(frame);
        let read = match held {
            Some(Held::Spilled { slot }) => read_spilled(self.spill.as_ref(), id, slot, page),
            _ => self.base.read_page(id, page),
        };
        if let Err(e) = read {
            self.frames.release(frame);
            return Err(e);
        }
        self.hold(id, frame, held);
        Ok(frame)
    }

    fn hold(&mut self, id: PageId, frame: u32, before: Option<Held>) {
        let slot = match before {
            Some(Held::Spilled { slot }) => Some(slot),
            _ => None,
        };
        self.frames.give(frame, id, slot);
        self.held.insert(id, Held::Memory { frame });
    }

    /// Puts a page in place of what was there.
    pub fn put(&mut self, id: PageId, page: &PageBytes) -> Result<(), Error> {
        let held = self.held.get(id);
        if let Some(Held::Memory { frame }) = held {
            *self.frames.use_page(frame) = *page;
            return Ok(());
        }
        let frame = self.free_frame()?;
        *self.frames.page_mut(frame) = *page;
        self.hold(id, frame, held);
        self.lost.remove(&id);
        Ok(())
    }

    /// A frame for one more page: one that is free, or that of a page that goes.
    fn free_frame(&mut self) -> Result<u32, Error> {
        match self.frames.free() {
            Some(frame) => Ok(frame),
            None => self.spill_one(),
        }
    }

    /// Sends a page to the spill file; gives its frame.
    fn spill_one(&mut self) -> Result<u32, Error> {
        self.near.clear();
        let frame = self.frames.next_to_go();
        let (id, slot) = self.frames.owner(frame);
        let slot = match slot {
            Some(slot) => slot,
            None if self.spill_len > PLACES_MAX => {
                return Err(spool_error(std::io::Error::other("more than 16 TiB of changed pages")));
            }
            None => {
                self.spill_len += 1;
                self.spill_len - 1
            }
        };
        let file = match &mut self.spill {
            Some(file) => file,
            none => none.insert(tempfile::tempfile().map_err(spool_error)?),
        };
        file.write_all_at(self.frames.page(frame), u64::from(slot) * PAGE_SIZE as u64).map_err(spool_error)?;
        self.held.insert(id, Held::Spilled { slot });
        Ok(frame)
    }

    /// Rows that are about to change, in the order in which they do: the processor is asked for each some changes before its own, as one
    /// that is asked for when it changes is waited for. Pages that are not in memory stay where they are.
    pub(crate) fn bring_near(&mut self, rows: impl Iterator<Item = RowId>) {
        self.near.clear();
        self.next_near = 0;
        for RowId { page, slot } in rows {
            if let Some(Held::Memory { frame }) = self.held.get(page) {
                self.near.push(Near { page, frame, slot });
            }
        }
        self.near.iter().take(SLOTS_AHEAD + 1).for_each(|row| self.frames.ask_for_slot(row));
        self.near.iter().take(ROWS_AHEAD + 1).for_each(|row| self.frames.ask_for_row(row));
    }
}

/// Pages that fit into so many bytes; some always do.
fn frames_max(memory_max: usize) -> usize {
    (memory_max / PAGE_SIZE).clamp(8, PLACES_MAX as usize)
}

fn lost(id: PageId, why: Option<&Arc<str>>) -> Error {
    Error::LostPage { page: id, why: why.map_or_else(String::new, |why| why.to_string()) }
}

fn read_spilled(file: Option<&File>, id: PageId, slot: u32, into: &mut PageBytes) -> Result<(), Error> {
    match file {
        Some(file) => file.read_exact_at(into, u64::from(slot) * PAGE_SIZE as u64).map_err(spool_error),
        None => Err(Error::LostPage { page: id, why: "its temporary file is gone".to_owned() }),
    }
}

impl<B: PageSource + ?Sized> PageSource for PageStore<B> {
    fn read_page(&self, id: PageId, into: &mut PageBytes) -> Result<(), Error> {
        match self.held.get(id) {
            None => self.base.read_page(id, into),
            Some(Held::Memory { frame }) => {
                *into = *self.frames.page(frame);
                Ok(())
            }
            Some(Held::Spilled { slot }) => read_spilled(self.spill.as_ref(), id, slot, into),
            Some(Held::Lost) => Err(lost(id, self.lost.get(&id))),
        }
    }

    fn files(&self) -> Vec<FileExtent> {
        let mut files = self.base.files();
        for id in self.held.ids() {
            match files.iter_mut().find(|f| f.file == id.file) {
                Some(file) => file.pages = file.pages.max(id.page.saturating_add(1)),
                None => files.push(FileExtent { file: id.file, pages: id.page.saturating_add(1) }),
            }
        }
        files.sort_by_key(|f| f.file);
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Blank;

    impl PageSource for Blank {
        fn read_page(&self, id: PageId, into: &mut PageBytes) -> Result<(), Error> {
            into.fill(0);
            into[0] = id.page as u8;
            Ok(())
        }

        fn files(&self) -> Vec<FileExtent> {
            vec![FileExtent { file: 1, pages: 10 }]
        }
    }

    fn byte(store: &impl PageSource, page: u32) -> [u8; 2] {
        let mut bytes = [0; PAGE_SIZE];
        store.read_page(PageId::new(1, page), &mut bytes).unwrap();
        [bytes[0], bytes[1]]
    }

    #[test]
    fn changes_are_kept_whether_in_memory_or_spilled() {
        let mut store = PageStore::new(Arc::new(Blank), 0);
        for round in 1..4u8 {
            for page in 0..100u32 {
                store.page_mut(PageId::new(1, page)).unwrap()[1] += round;
            }
        }
        assert!(store.in_memory() <= 8 * PAGE_SIZE && store.spill.is_some());
        for page in 0..100 {
            assert_eq!(byte(&store, page), [page as u8, 6]);
        }
        assert_eq!(byte(&store, 200), [200, 0]);
        assert_eq!(store.files(), [FileExtent { file: 1, pages: 100 }]);
    }

    #[test]
    fn a_store_that_shrinks_has_the_same_pages() {
        let mut store = PageStore::new(Arc::new(Blank), 1 << 20);
        for page in 0..100u32 {
            store.page_mut(PageId::new(1, page)).unwrap()[1] = 9;
        }
        assert_eq!(store.in_memory(), 100 * PAGE_SIZE);
        store.shrink(20 * PAGE_SIZE).unwrap();
        assert!(store.in_memory() < 20 * PAGE_SIZE + 1, "{} bytes", store.in_memory());
        assert!((0..100).all(|page| byte(&store, page) == [page as u8, 9]));
    }

    /// Its first chunk has as many frames as there might be, no more.
    #[test]
    fn a_store_does_not_grow_by_shrinking() {
        let mut store = PageStore::new(Arc::new(Blank), 20 * PAGE_SIZE);
        let write = |store: &mut PageStore<Blank>, pages: std::ops::Range<u32>| {
            pages.for_each(|page| store.page_mut(PageId::new(1, page)).unwrap()[1] = 9);
        };
        write(&mut store, 0..10);
        store.shrink(100 * PAGE_SIZE).unwrap();
        write(&mut store, 10..60);
        assert!(store.in_memory() <= 20 * PAGE_SIZE, "{} bytes", store.in_memory());
        assert!((0..60).all(|page| byte(&store, page) == [page as u8, 9]));
    }

    #[test]
    fn a_store_on_a_store_leaves_the_lower_one_as_it_is() {
        let mut lower = PageStore::new(Arc::new(Blank), 1 << 20);
        lower.page_mut(PageId::new(1, 1)).unwrap()[1] = 1;
        let lower = Arc::new(lower);
        let mut upper = PageStore::new(lower.clone(), 1 << 20);
        upper.page_mut(PageId::new(1, 1)).unwrap()[1] += 1;
        assert_eq!((byte(&lower, 1), byte(&upper, 1)), ([1, 1], [1, 2]));
    }

    #[test]
    fn a_lost_page_is_an_error_until_it_is_put_anew() {
        let mut store = PageStore::new(Arc::new(Blank), 0);
        let id = PageId::new(1, 3);
        store.page_mut(id).unwrap();
        store.lose(id, "a hole");
        let error = store.page_mut(id).unwrap_err().to_string();
        assert!(error.contains("1:3") && error.contains("a hole"), "{error}");
        for page in 20..60 {
            store.page_mut(PageId::new(1, page)).unwrap();
        }
        store.put(id, &[7; PAGE_SIZE]).unwrap();
        assert_eq!(byte(&store, 3), [7, 7]);
    }
}

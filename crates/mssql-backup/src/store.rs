//! The page store: the pages of a backup or a data file, and on top of them those that the log has changed.
//!
//! Changed pages are kept in memory up to a bound. Behind it those that were not used for longest go to a temporary
//! file, and come back when they are wanted. A store is a [`PageSource`] itself, so one can stand on another: a full copy
//! reads a store that stands still while the changes after it go into a store on top.
//!
//! A page that could not be brought up to date is *lost*: reading it is an error that says why. So nobody reads a stale
//! page, and a page that nobody needs stops nobody. When the log formats it anew it is found again.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use logferry_mssql_format::page::{PAGE_SIZE, PageBytes, PageId};
use rustc_hash::FxHashMap;

use crate::error::Error;
use crate::pages::{FileExtent, PageSource};
use crate::spool::spool_error;

/// See the module.
pub struct PageStore<B: PageSource + ?Sized = dyn PageSource> {
    base: Arc<B>,
    held: FxHashMap<PageId, Held>,
    /// Pages in memory, in the order in which they are looked at when one must go.
    clock: VecDeque<PageId>,
    in_memory_max: usize,
    spill: Option<File>,
    /// Pages that the spill file has room for.
    spill_len: u32,
    /// A page that was sent there, for the next one that comes: freed and allocated by whatever thread runs the reader, pages would
    /// take their memory once for each.
    spare: Option<Box<PageBytes>>,
}

enum Held {
    /// In memory; `slot` is its room in the spill file, if it was there once.
    Memory { page: Box<PageBytes>, slot: Option<u32>, used: bool },
    /// In the spill file.
    Spilled { slot: u32 },
    /// It could not be brought up to date.
    Lost(Arc<str>),
}

impl<B: PageSource + ?Sized> fmt::Debug for PageStore<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageStore").field("pages", &self.held.len()).field("in_memory", &self.clock.len()).finish()
    }
}

impl<B: PageSource + ?Sized> PageStore<B> {
    /// A store without changes that keeps `memory_max` bytes of changed pages in memory.
    pub fn new(base: Arc<B>, memory_max: usize) -> Self {
        PageStore {
            base,
            held: FxHashMap::default(),
            clock: VecDeque::new(),
            in_memory_max: (memory_max / PAGE_SIZE).max(8),
            spill: None,
            spill_len: 0,
            spare: None,
        }
    }

    /// Number of pages that differ from the base.
    pub fn changed_pages(&self) -> usize {
        self.held.len()
    }

    /// Bytes of changed pages that are in memory.
    pub fn in_memory(&self) -> usize {
        self.clock.len() * PAGE_SIZE
    }

    /// Keeps no more than so many bytes in memory from now on.
    ///
    /// # Errors
    /// Where the temporary file cannot be written.
    pub fn shrink(&mut self, memory_max: usize) -> Result<(), Error> {
        self.in_memory_max = (memory_max / PAGE_SIZE).max(8);
        self.make_room()?;
        self.spare = None;
        self.clock.shrink_to_fit();
        Ok(())
    }

    /// What the store stands on.
    pub fn base(&self) -> &Arc<B> {
        &self.base
    }

    /// Whether a page is not the base's.
    pub fn holds(&self, id: PageId) -> bool {
        self.held.contains_key(&id)
    }

    /// Why a page is lost, if it is.
    pub fn lost(&self, id: PageId) -> Option<&Arc<str>> {
        match self.held.get(&id) {
            Some(Held::Lost(why)) => Some(why),
            _ => None,
        }
    }

    /// Gives a page up: reading it is an error from now on.
    pub fn lose(&mut self, id: PageId, why: impl Into<Arc<str>>) {
        // Its place in the clock is dropped when it comes up.
        self.held.insert(id, Held::Lost(why.into()));
    }

    /// A page to change.
    ///
    /// # Errors
    /// Where it cannot be read, or is lost.
    pub fn page_mut(&mut self, id: PageId) -> Result<&mut PageBytes, Error> {
        if !matches!(self.held.get(&id), Some(Held::Memory { .. })) {
            self.make_room()?;
            let mut page = self.spare.take().unwrap_or_else(|| Box::new([0; PAGE_SIZE]));
            self.read_page(id, &mut page)?;
            self.put(id, page)?;
        }
        match self.held.get_mut(&id) {
            Some(Held::Memory { page, used, .. }) => {
                *used = true;
                Ok(page)
            }
            _ => Err(lost(id, "it is not in memory")),
        }
    }

    /// Puts a page in place of what was there.
    pub fn put(&mut self, id: PageId, page: Box<PageBytes>) -> Result<(), Error> {
        self.make_room()?;
        let slot = match self.held.get(&id) {
            Some(Held::Memory { slot, .. }) => *slot,
            Some(Held::Spilled { slot }) => Some(*slot),
            Some(Held::Lost(_)) | None => None,
        };
        let before = self.held.insert(id, Held::Memory { page, slot, used: true });
        if !matches!(before, Some(Held::Memory { .. })) {
            self.clock.push_back(id);
        }
        Ok(())
    }

    /// Sends pages to the spill file until one more fits into memory.
    fn make_room(&mut self) -> Result<(), Error> {
        while self.clock.len() >= self.in_memory_max {
            let Some(id) = self.clock.pop_front() else { return Ok(()) };
            let Some(Held::Memory { page, slot, used }) = self.held.get_mut(&id) else { continue };
            if *used {
                *used = false;
                self.clock.push_back(id);
                continue;
            }
            let at = match *slot {
                Some(slot) => slot,
                None => {
                    self.spill_len += 1;
                    self.spill_len - 1
                }
            };
            let file = match &mut self.spill {
                Some(file) => file,
                none => none.insert(tempfile::tempfile().map_err(spool_error)?),
            };
            file.write_all_at(&page[..], u64::from(at) * PAGE_SIZE as u64).map_err(spool_error)?;
            if let Some(Held::Memory { page, .. }) = self.held.insert(id, Held::Spilled { slot: at }) {
                self.spare = Some(page);
            }
        }
        Ok(())
    }
}

fn lost(id: PageId, why: &str) -> Error {
    Error::LostPage { page: id, why: why.to_owned() }
}

impl<B: PageSource + ?Sized> PageSource for PageStore<B> {
    fn read_page(&self, id: PageId, into: &mut PageBytes) -> Result<(), Error> {
        match self.held.get(&id) {
            None => self.base.read_page(id, into),
            Some(Held::Memory { page, .. }) => {
                *into = **page;
                Ok(())
            }
            Some(Held::Spilled { slot }) => match &self.spill {
                Some(file) => file.read_exact_at(into, u64::from(*slot) * PAGE_SIZE as u64).map_err(spool_error),
                None => Err(lost(id, "its temporary file is gone")),
            },
            Some(Held::Lost(why)) => Err(lost(id, why)),
        }
    }

    fn files(&self) -> Vec<FileExtent> {
        let mut files = self.base.files();
        for id in self.held.keys() {
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
        assert!(store.clock.len() <= store.in_memory_max && store.spill.is_some());
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
        store.put(id, Box::new([7; PAGE_SIZE])).unwrap();
        assert_eq!(byte(&store, 3), [7, 7]);
    }
}

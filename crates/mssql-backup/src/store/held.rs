//! Where the pages of a store are, by their ids.
//!
//! This is asked for every record, for pages all over the database. Places are kept by extents, eight in the room of one line of the
//! processor's cache: pages beside each other change together more often than not, and what is asked so often stays near.

use logferry_mssql_format::page::{EXTENT_PAGES, PageId};
use rustc_hash::FxHashMap;

/// Where a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// In memory.
    Memory { frame: u32 },
    /// In the spill file.
    Spilled { slot: u32 },
    /// It could not be brought up to date.
    Lost,
}

/// Frames, and pages in the spill file, at the most: 16 TiB of each.
pub(super) const PLACES_MAX: u32 = i32::MAX as u32 - 1;

/// A place in four bytes: nothing, lost, or a number and whether it is of a frame.
#[derive(Clone, Copy, Default)]
struct Code(u32);

impl Code {
    const LOST: Code = Code(1);

    fn of(held: Held) -> Self {
        match held {
            Held::Memory { frame } => Code((frame + 1) << 1),
            Held::Spilled { slot } => Code((slot + 1) << 1 | 1),
            Held::Lost => Code::LOST,
        }
    }

    #[inline]
    fn held(self) -> Option<Held> {
        match (self.0 >> 1, self.0 & 1) {
            (0, 0) => None,
            (0, _) => Some(Held::Lost),
            (number, 0) => Some(Held::Memory { frame: number - 1 }),
            (number, _) => Some(Held::Spilled { slot: number - 1 }),
        }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct HeldPages {
    /// By the first page of their extents.
    extents: FxHashMap<PageId, [Code; EXTENT_PAGES as usize]>,
    len: usize,
}

impl HeldPages {
    /// How many pages have a place.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where a page is; `None` where it has no place here.
    #[inline]
    pub(super) fn get(&self, id: PageId) -> Option<Held> {
        let (extent, index) = split(id);
        self.extents.get(&extent)?[index].held()
    }

    /// Gives a page another place, and tells the one that it had. Numbers are at most [`PLACES_MAX`].
    pub(super) fn insert(&mut self, id: PageId, held: Held) -> Option<Held> {
        let (extent, index) = split(id);
        let place = &mut self.extents.entry(extent).or_default()[index];
        let before = std::mem::replace(place, Code::of(held)).held();
        self.len += usize::from(before.is_none());
        before
    }

    /// The pages that have a place, in no order.
    pub(super) fn ids(&self) -> impl Iterator<Item = PageId> {
        self.extents.iter().flat_map(|(extent, places)| {
            let has_place = places.iter().zip(0..).filter(|(place, _)| place.0 != 0);
            has_place.map(|(_, index): (_, u32)| PageId { page: extent.page + index, ..*extent })
        })
    }
}

/// The first page of a page's extent, and which of its pages the page is.
#[inline]
fn split(id: PageId) -> (PageId, usize) {
    let index = id.page % EXTENT_PAGES;
    (PageId { page: id.page - index, ..id }, index as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_the_places_that_they_were_given_last() {
        let mut pages = HeldPages::default();
        let at = |file: u16, page: u32| PageId::new(file, page);
        let given = [
            (at(1, 0), Held::Memory { frame: 0 }),
            (at(1, 7), Held::Spilled { slot: 0 }),
            (at(1, 8), Held::Lost),
            (at(2, 8), Held::Memory { frame: PLACES_MAX }),
            (at(u16::MAX, u32::MAX), Held::Spilled { slot: PLACES_MAX }),
        ];
        for (id, held) in given {
            assert_eq!((pages.get(id), pages.insert(id, Held::Lost)), (None, None));
            assert_eq!(pages.insert(id, held), Some(Held::Lost));
        }
        for (id, held) in given {
            assert_eq!(pages.get(id), Some(held), "{id}");
        }
        assert_eq!((pages.get(at(1, 1)), pages.get(at(3, 0)), pages.len()), (None, None, given.len()));
        let mut ids: Vec<PageId> = pages.ids().collect();
        ids.sort();
        assert_eq!(ids, given.map(|(id, _)| id));
    }
}

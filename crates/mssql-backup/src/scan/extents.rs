//! Which pages an allocation unit has.

use logferry_mssql_format::alloc::{GAM_INTERVAL, Iam, PfsByte, pfs_page_of};
use logferry_mssql_format::bytes::Malformed;
use logferry_mssql_format::page::{EXTENT_PAGES, PAGE_SIZE, PageBytes, PageId};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::error::Result;
use crate::pages::PageSource;

/// Pages in use of one extent, or a single page of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extent {
    /// First page of the extent.
    pub first: PageId,
    /// Bit k: page `first + k` belongs to the unit and is in use.
    pub used: u8,
}

impl Extent {
    /// The pages, in order.
    pub fn pages(&self) -> impl Iterator<Item = PageId> + use<> {
        let Extent { first, used } = *self;
        (0..EXTENT_PAGES)
            .filter(move |k| used >> k & 1 != 0)
            .filter_map(move |k| Some(PageId::new(first.file, first.page.checked_add(k)?)))
    }

    /// Number of pages.
    pub fn len(&self) -> u32 {
        self.used.count_ones()
    }

    /// Whether no page is in use.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }
}

/// The pages in use of an allocation unit, in the order of its IAM chain: single pages first. None where the unit has no pages.
///
/// # Errors
/// Where the chain is damaged: a page that is no IAM page, a loop, a range that comes twice.
pub fn extents<S: PageSource>(pages: &S, first_iam: PageId) -> Result<Vec<Extent>> {
    let sizes: FxHashMap<u16, u32> = pages.files().into_iter().map(|f| (f.file, f.pages)).collect();
    let mut usage = PageUsage { pages, pfs: None, bytes: Box::new([0; PAGE_SIZE]) };
    let mut bytes = Box::new([0; PAGE_SIZE]);
    let mut seen = FxHashSet::default();
    let mut ranges = FxHashSet::default();
    let mut found = Vec::new();
    let mut iam_id = first_iam;
    while !iam_id.is_none() {
        if !seen.insert(iam_id) {
            return Err(Malformed::new(format!("the IAM chain that begins at page {first_iam} loops"), 0).into());
        }
        pages.read_page(iam_id, &mut bytes)?;
        let iam = Iam::read(&bytes).map_err(|e| e.within(format_args!("IAM page {iam_id}")))?;
        for page in iam.single_pages() {
            let page = page?;
            let inside = sizes.get(&page.file).is_some_and(|&size| page.page < size);
            if inside && usage.is_allocated(page)? {
                let first = PageId::new(page.file, page.page / EXTENT_PAGES * EXTENT_PAGES);
                found.push(Extent { first, used: 1 << (page.page % EXTENT_PAGES) });
            }
        }
        let size = sizes.get(&iam.start.file).copied().unwrap_or(0);
        if iam.start.page % GAM_INTERVAL != 0 {
            let why = format!("IAM page {iam_id} covers the pages from {}, which begin no range", iam.start);
            return Err(Malformed::new(why, 136).into());
        }
        if !ranges.insert(iam.start) {
            let why =
                format!("the IAM chain that begins at page {first_iam} covers the pages from {} twice", iam.start);
            return Err(Malformed::new(why, 136).into());
        }
        for first in iam.extents()? {
            let mut extent = Extent { first, used: 0 };
            for k in 0..EXTENT_PAGES {
                let page = PageId::new(first.file, first.page + k);
                if page.page < size && usage.is_allocated(page)? {
                    extent.used |= 1 << k;
                }
            }
            if !extent.is_empty() {
                found.push(extent);
            }
        }
        iam_id = iam.next;
    }
    Ok(found)
}

/// Answers whether pages are in use; keeps the PFS page that it asked last.
struct PageUsage<'s, S> {
    pages: &'s S,
    pfs: Option<PageId>,
    bytes: Box<PageBytes>,
}

impl<S: PageSource> PageUsage<'_, S> {
    fn is_allocated(&mut self, page: PageId) -> Result<bool> {
        let pfs = pfs_page_of(page);
        if self.pfs != Some(pfs) {
            self.pfs = None;
            self.pages.read_page(pfs, &mut self.bytes)?;
            self.pfs = Some(pfs);
        }
        Ok(PfsByte::find(&self.bytes, page)?.is_allocated())
    }
}

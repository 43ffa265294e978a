//! Allocation pages: which pages belong to what.
//!
//! * **IAM** pages list what belongs to one allocation unit: up to eight single pages, then whole extents as bits. A page covers
//!   511,232 pages (4 GiB, as a GAM does); the pages of a unit are chained by their headers.
//! * **PFS** pages have a byte per page: bit 0x40 says whether it is in use. A page that was freed keeps its bytes and its
//!   place in an extent; only this bit tells.
//! * **GAM** (page 2) and **SGAM** (page 3), differential map (6) and minimally logged map (7) have a bit per extent.
//!
//! Offsets were observed on 2005 to 2025.

use crate::bytes::{Malformed, Result, slice};
use crate::page::{EXTENT_PAGES, Page, PageBytes, PageId, PageType};

/// Pages that one PFS page covers; PFS pages are 1, then every multiple of this.
pub const PFS_INTERVAL: u32 = 8088;
/// Pages that one IAM or GAM page covers.
pub const GAM_INTERVAL: u32 = 511_232;

const IAM_START: usize = 136;
const IAM_SINGLES: usize = 142;
const IAM_BITMAP: usize = 194;
const PFS_BYTES: usize = 100;

/// An IAM page.
#[derive(Clone, Copy)]
pub struct Iam<'a> {
    bytes: &'a PageBytes,
    /// First page of the range that the bits speak of.
    pub start: PageId,
    /// The next IAM page of the chain, or none.
    pub next: PageId,
}

impl<'a> Iam<'a> {
    /// Reads a verified page.
    pub fn read(bytes: &'a PageBytes) -> Result<Self> {
        let page = Page::read(bytes)?;
        if page.header.page_type != PageType::IAM {
            return Err(Malformed::new(format!("an IAM page was expected, not type {}", page.header.page_type.0), 1)
                .within(format_args!("page {}", page.header.id)));
        }
        Ok(Iam { bytes, start: PageId::read(bytes, IAM_START, "start of an IAM page")?, next: page.header.next })
    }

    /// Pages of mixed extents that belong to the unit.
    pub fn single_pages(&self) -> impl Iterator<Item = Result<PageId>> + use<'a> {
        let bytes = self.bytes;
        (0..8)
            .map(move |k| PageId::read(bytes, IAM_SINGLES + 6 * k, "single page of an IAM"))
            .filter(|page| !matches!(page, Ok(id) if id.is_none()))
    }

    /// First pages of the extents that belong to the unit.
    pub fn extents(&self) -> Result<impl Iterator<Item = PageId> + use<'a>> {
        let len = (GAM_INTERVAL / EXTENT_PAGES / 8) as usize;
        let bitmap = slice(self.bytes, IAM_BITMAP, len, "IAM bitmap")?;
        let start = self.start;
        Ok(bitmap.iter().enumerate().filter(|(_, byte)| **byte != 0).flat_map(move |(at, byte)| {
            (0..8u32).filter(move |bit| byte >> bit & 1 != 0).filter_map(move |bit| {
                let extent = u32::try_from(at).ok()?.checked_mul(8)?.checked_add(bit)?;
                let page = start.page.checked_add(extent.checked_mul(EXTENT_PAGES)?)?;
                Some(PageId::new(start.file, page))
            })
        }))
    }
}

/// The PFS page that speaks of a page.
pub fn pfs_page_of(id: PageId) -> PageId {
    PageId::new(id.file, (id.page / PFS_INTERVAL * PFS_INTERVAL).max(1))
}

/// What a PFS page says of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PfsByte(pub u8);

impl PfsByte {
    /// Finds the byte of `id` on the PFS page that [`pfs_page_of`] names.
    pub fn find(pfs: &PageBytes, id: PageId) -> Result<Self> {
        let page = Page::read(pfs)?;
        if page.header.page_type != PageType::PFS {
            return Err(Malformed::new(format!("a PFS page was expected, not type {}", page.header.page_type.0), 1)
                .within(format_args!("page {}", pfs_page_of(id))));
        }
        let at = PFS_BYTES + (id.page % PFS_INTERVAL) as usize;
        crate::bytes::u8_at(pfs, at, "PFS byte").map(PfsByte)
    }

    /// Whether the page is in use.
    pub fn is_allocated(self) -> bool {
        self.0 & 0x40 != 0
    }

    /// Whether it is an IAM page.
    pub fn is_iam(self) -> bool {
        self.0 & 0x10 != 0
    }
}

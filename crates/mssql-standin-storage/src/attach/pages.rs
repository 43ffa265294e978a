//! The pages of a data file, and values that are stored on pages of their own.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use logferry_model::Lsn;
use logferry_mssql_format::alloc::{Iam, PfsByte, pfs_page_of};
use logferry_mssql_format::boot::{BOOT_PAGE, Boot};
use logferry_mssql_format::bytes::{Malformed, Result as FormatResult};
use logferry_mssql_format::file_header::FileHeader;
use logferry_mssql_format::page::{
    EXTENT_PAGES, PAGE_SIZE, Page, PageBytes, PageHeader, PageId, PageType, RowId, verify,
};
use logferry_mssql_format::row::{OffRow, RecordKind};

use super::super::off_row::read_value;
use super::super::{Error, FILE};
use super::{damaged, read_file};

/// IAM pages of one allocation unit, at most.
const IAM_MAX: usize = 1 << 16;

/// The bytes of a data file.
pub(super) struct Pages {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Pages that recovery changed.
    changed: HashMap<PageId, Box<PageBytes>>,
}

impl Pages {
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Pages { path: path.to_owned(), bytes: read_file(path)?, changed: HashMap::new() })
    }

    pub fn boot(&self) -> Result<Boot, Error> {
        self.page(BOOT_PAGE).and_then(|page| Boot::read(&page)).map_err(|e| self.damaged(e))
    }

    /// The GUID that all files of the database have.
    pub fn binding(&self) -> Result<[u8; 16], Error> {
        let header = self.page(PageId::new(FILE, 0)).and_then(|page| FileHeader::read(&page));
        header.map(|h| h.binding_guid).map_err(|e| self.damaged(e))
    }

    pub fn damaged(&self, what: impl std::fmt::Display) -> Error {
        damaged(&self.path, what)
    }

    /// The bytes of all pages, as they are in the file.
    pub fn raw(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(PAGE_SIZE)
    }

    /// The LSNs of all pages that were ever formatted.
    pub fn lsns(&self) -> impl Iterator<Item = (PageId, Lsn)> {
        let headers = self.raw().enumerate();
        headers.filter_map(|(at, page)| {
            let header = PageHeader::read(page).ok().filter(PageHeader::is_formatted)?;
            Some((PageId::new(FILE, u32::try_from(at).ok()?), header.lsn))
        })
    }

    /// A page, checked.
    pub fn page(&self, id: PageId) -> FormatResult<Box<PageBytes>> {
        if let Some(page) = self.changed.get(&id) {
            return Ok(page.clone());
        }
        let start = (id.page as usize).saturating_mul(PAGE_SIZE);
        let found = (id.file == FILE).then(|| self.bytes.get(start..start.saturating_add(PAGE_SIZE))).flatten();
        let mut page: Box<PageBytes> = found
            .and_then(|b| b.try_into().ok())
            .map(|b: &PageBytes| Box::new(*b))
            .ok_or_else(|| Malformed::new(format!("there is no page {id}"), 0))?;
        verify(&mut page)?;
        Ok(page)
    }

    /// Shows the live records of an allocation unit's pages, with where they are.
    pub fn each_record(
        &self,
        first_iam: PageId,
        visit: &mut dyn FnMut(RowId, &[u8]) -> FormatResult<()>,
    ) -> Result<(), Error> {
        let pages = self.unit_pages(first_iam).map_err(|e| self.damaged(e))?;
        for id in pages {
            self.page_records(id, visit).map_err(|e| self.damaged(e))?;
        }
        Ok(())
    }

    /// The live records of one page; none where it is no leaf of a table.
    pub fn page_records(
        &self,
        id: PageId,
        visit: &mut dyn FnMut(RowId, &[u8]) -> FormatResult<()>,
    ) -> FormatResult<PageId> {
        let bytes = self.page(id)?;
        let page = Page::read(&bytes)?;
        if page.header.page_type == PageType::DATA && page.header.level == 0 {
            for row in page.rows() {
                let (slot, row) = row?;
                let kind = RecordKind::of(row.first().copied().unwrap_or_default());
                if matches!(kind, RecordKind::Primary | RecordKind::Forwarded) {
                    visit(RowId { page: id, slot }, row).map_err(|e| e.within(format_args!("row {id}:{slot}")))?;
                }
            }
        }
        Ok(page.header.next)
    }

    /// The pages of an allocation unit that are in use.
    fn unit_pages(&self, first_iam: PageId) -> FormatResult<Vec<PageId>> {
        let (mut out, mut at) = (Vec::new(), first_iam);
        for _ in 0..IAM_MAX {
            if at.is_none() {
                return Ok(out);
            }
            let bytes = self.page(at)?;
            let iam = Iam::read(&bytes)?;
            let mut candidates: Vec<PageId> = iam.single_pages().collect::<FormatResult<_>>()?;
            for first in iam.extents()? {
                candidates.extend((0..EXTENT_PAGES).map(|n| PageId::new(first.file, first.page + n)));
            }
            for id in candidates {
                if self.is_allocated(id)? {
                    out.push(id);
                }
            }
            at = iam.next;
        }
        Err(Malformed::new(format!("the IAM pages from {first_iam} on have no end"), 0))
    }

    /// Puts another page in the place of one.
    pub fn replace(&mut self, id: PageId, page: Box<PageBytes>) {
        self.changed.insert(id, page);
    }

    pub fn is_allocated(&self, id: PageId) -> FormatResult<bool> {
        let pfs = self.page(pfs_page_of(id))?;
        Ok(PfsByte::find(&pfs, id)?.is_allocated())
    }

    /// The value that a pointer in a row leads to.
    pub fn value(&self, pointer: &OffRow<'_>) -> FormatResult<Option<Vec<u8>>> {
        read_value(pointer, &|id| self.page(id).map(|page| Cow::Owned(*page)))
    }
}

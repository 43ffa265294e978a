//! The pages of a backup set.

use std::sync::Arc;

use logferry_mssql_format::bytes::Malformed;
use logferry_mssql_format::page::{EXTENT_PAGES, PAGE_SIZE, PageBytes, PageHeader, PageId, verify};

use crate::error::Error;
use crate::input::InputFile;
use crate::media::Extent;
use crate::page_index::{PageIndex, Run};
use crate::pages::{FileExtent, PageSource};
use crate::set::BackupSet;

/// The pages of a full or differential backup.
///
/// A page that the set does not hold reads as zeroes: of a full backup these are the pages that were not allocated, of a
/// differential those that did not change (see [`SetPages::holds`]).
#[derive(Clone, Debug)]
pub struct SetPages {
    files: Vec<FileExtent>,
    stripes: Vec<Arc<InputFile>>,
    /// Pass by pass; what a later one holds counts.
    passes: Vec<PageIndex>,
}

impl SetPages {
    pub(crate) fn build(set: &BackupSet) -> Result<Self, Error> {
        let parts = set.parts();
        // What the server counted is in the first passes; filling up to a MiB may follow.
        let first = parts.first().map(|(_, part)| part);
        let mut budget = first.map_or(0, |part| part.first_pass_pages) * PAGE_SIZE as u64;
        let last_pass = first.map_or(0, |part| part.config.data_pages()) * PAGE_SIZE as u64;
        let count = parts.iter().map(|(_, part)| part.passes.len()).max().unwrap_or(0);
        let mut passes = Vec::new();
        for number in 0..count {
            let mut extents: Vec<Vec<Extent>> = Vec::new();
            for (_, part) in parts {
                extents.push(part.passes.get(number).cloned().unwrap_or_default());
            }
            let bytes: u64 = extents.iter().flatten().map(|e| e.len).sum();
            // Which stripe has the filling is not known; there it is told by its order.
            let limit = match budget {
                0 if number + 1 == count => last_pass,
                0 => bytes,
                _ => budget,
            };
            if parts.len() == 1 {
                let mut left = limit;
                for extent in extents.iter_mut().flatten() {
                    extent.len = extent.len.min(left);
                    left -= extent.len;
                }
            }
            budget = budget.saturating_sub(bytes);
            let parts: Vec<(&InputFile, &[Extent])> =
                parts.iter().zip(&extents).map(|((file, _), e)| (&**file, e.as_slice())).collect();
            passes.push(PageIndex::build(&parts)?);
        }
        if budget > 0 {
            let what = format!("the set holds {} pages fewer than the server counted", budget / PAGE_SIZE as u64);
            return Err(Error::Unsupported { path: set.path().to_owned(), what });
        }
        let stripes = parts.iter().map(|(file, _)| Arc::clone(file)).collect();
        Ok(SetPages { files: set.data_files(), stripes, passes })
    }

    /// Whether the set holds a page.
    pub fn holds(&self, id: PageId) -> bool {
        self.find(id).is_some()
    }

    /// The runs of extents that the set holds: file, first extent (page / 8), number of extents. A later pass may repeat some.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.passes.iter().flat_map(|pass| pass.runs())
    }

    /// The number of pages that the set holds, those of repeated passes included.
    pub fn page_count(&self) -> u64 {
        self.runs().map(|r| u64::from(r.extents) * u64::from(EXTENT_PAGES)).sum()
    }

    /// Reads all pages of the set once and checks them; gives their number. Pages that are not allocated may say that they are
    /// anything: those are passed over.
    pub(crate) fn verify(&self) -> Result<u64, Error> {
        let mut pages = 0;
        let mut extent = vec![0u8; EXTENT_PAGES as usize * PAGE_SIZE];
        for run in self.runs() {
            let Some(file) = self.stripes.get(usize::from(run.stripe)) else { continue };
            for ahead in 0..run.extents {
                let offset = run.offset.saturating_add(u64::from(ahead) * extent.len() as u64);
                file.read_exact(offset, &mut extent, "an extent of pages")?;
                let first = (run.extent + ahead).saturating_mul(EXTENT_PAGES);
                for (page, number) in extent.as_chunks_mut::<PAGE_SIZE>().0.iter_mut().zip(first..) {
                    let id = PageId::new(run.file, number);
                    pages += 1;
                    if PageHeader::read(page).is_ok_and(|h| h.is_formatted() && h.id == id) {
                        let at = offset.saturating_add(u64::from(number % EXTENT_PAGES) * PAGE_SIZE as u64);
                        verify(page).map_err(|e| self.damaged(file, at, id, e))?;
                    }
                }
            }
        }
        Ok(pages)
    }

    fn damaged(&self, file: &InputFile, offset: u64, page: PageId, error: Malformed) -> Error {
        Error::Page {
            path: file.path().to_owned(),
            page,
            source: error.within(format_args!("offset {}", file.file_offset(offset))),
        }
    }

    fn find(&self, id: PageId) -> Option<(&InputFile, u64)> {
        let (stripe, offset) = self.passes.iter().rev().find_map(|pass| pass.find(id))?;
        Some((self.stripes.get(usize::from(stripe))?, offset))
    }
}

impl PageSource for SetPages {
    fn read_page(&self, id: PageId, into: &mut PageBytes) -> Result<(), Error> {
        let Some((file, offset)) = self.find(id) else {
            into.fill(0);
            return Ok(());
        };
        file.read_exact(offset, into, "a page")?;
        let damaged = |e: Malformed| self.damaged(file, offset, id, e);
        verify(into).map_err(damaged)?;
        let header = PageHeader::read(into).map_err(damaged)?;
        if header.is_formatted() && header.id != id {
            return Err(damaged(Malformed::new(format!("its header says that it is page {}", header.id), 32)));
        }
        Ok(())
    }

    fn files(&self) -> Vec<FileExtent> {
        self.files.clone()
    }
}

/// A full backup and, on top of it, a differential one.
#[derive(Clone, Debug)]
pub struct BasePages {
    full: SetPages,
    differential: Option<SetPages>,
}

impl BasePages {
    /// The pages of a full backup with those of a differential in their place.
    pub fn new(full: SetPages, differential: Option<SetPages>) -> Self {
        BasePages { full, differential }
    }
}

impl PageSource for BasePages {
    fn read_page(&self, id: PageId, into: &mut PageBytes) -> Result<(), Error> {
        match &self.differential {
            Some(differential) if differential.holds(id) => differential.read_page(id, into),
            _ => self.full.read_page(id, into),
        }
    }

    fn files(&self) -> Vec<FileExtent> {
        self.differential.as_ref().unwrap_or(&self.full).files()
    }
}

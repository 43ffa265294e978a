//! Values outside of rows as they were before transactions changed them: pages that have the pieces of LOBs put back.
//!
//! A transaction keeps what each piece was before it changed it. The slots of pieces do not move, and stay a transaction's own until it
//! ends, so all of them are freed first and then filled with what each held before its first change: what was there together fits again.

use std::sync::Arc;

use logferry_mssql_format::bytes::Malformed;
use logferry_mssql_format::page::{PAGE_SIZE, PageBytes, PageId};
use logferry_mssql_format::redo::restore_slot;
use rustc_hash::FxHashSet;

use crate::error::Error;
use crate::pages::{FileExtent, PageSource};
use crate::pending::{Pending, RawChange, RawOp};
use crate::store::PageStore;

/// Bytes of such pages that are kept in memory; the others are in a temporary file.
const MEMORY_MAX: usize = 4 << 20;

/// The pages that LOBs were put back on.
#[derive(Debug)]
pub(crate) struct Earlier(PageStore<Unwritten>);

/// A source of pages, with LOBs as they were earlier.
pub(crate) struct WithEarlier<'a, S> {
    pub(crate) earlier: &'a Earlier,
    pub(crate) pages: &'a S,
}

impl Earlier {
    /// Takes back what transactions did to LOBs, by what each kept of it.
    ///
    /// # Errors
    /// Where a page cannot be read, or does not take what it had.
    pub(crate) fn before<'c, S: PageSource>(
        changes: impl Iterator<Item = &'c Pending> + Clone,
        pages: &S,
    ) -> Result<Self, Error> {
        let mut earlier = Earlier(PageStore::new(Arc::new(Unwritten), MEMORY_MAX));
        for put_back in [false, true] {
            let mut met = FxHashSet::default();
            for changes in changes.clone() {
                let mut reader = changes.reader();
                while let Some(raw) = reader.next()? {
                    // What it was before its first change counts; where that was not known, whoever needs it will not find it.
                    let known = raw.op == RawOp::Insert || !raw.before.is_empty();
                    if met.insert(raw.row) && known && (!put_back || raw.op != RawOp::Insert) {
                        earlier.restore(&raw, put_back.then_some(raw.before), pages)?;
                    }
                }
            }
        }
        Ok(earlier)
    }

    fn restore<S: PageSource>(&mut self, raw: &RawChange<'_>, piece: Option<&[u8]>, pages: &S) -> Result<(), Error> {
        let id = raw.row.page;
        if !self.0.holds(id) {
            let mut page = Box::new([0; PAGE_SIZE]);
            pages.read_page(id, &mut page)?;
            self.0.put(id, &page)?;
        }
        let named = |e: Malformed| e.within(format_args!("LOB record {} before log record {}", raw.row, raw.lsn));
        restore_slot(self.0.page_mut(id)?, raw.row.slot, piece).map_err(named)?;
        Ok(())
    }
}

impl<S: PageSource> PageSource for WithEarlier<'_, S> {
    fn read_page(&self, id: PageId, into: &mut PageBytes) -> Result<(), Error> {
        if self.earlier.0.holds(id) { self.earlier.0.read_page(id, into) } else { self.pages.read_page(id, into) }
    }

    fn files(&self) -> Vec<FileExtent> {
        self.pages.files()
    }
}

/// What pages stand on that come from elsewhere.
#[derive(Debug)]
struct Unwritten;

impl PageSource for Unwritten {
    fn read_page(&self, _: PageId, into: &mut PageBytes) -> Result<(), Error> {
        into.fill(0);
        Ok(())
    }

    fn files(&self) -> Vec<FileExtent> {
        Vec::new()
    }
}

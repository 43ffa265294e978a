//! Finds the rows of values that a transaction changed where they are, outside of their rows.
//!
//! `UPDATETEXT` and the like change the pieces of a value and leave its row alone, so the log has no record of the row. At the commit every
//! value that was touched must have been named by a change of a row; of those that were not, the row is looked for by what it keeps
//! in the value's place:
//!
//! ```text
//!  touched, not named ── page where the row stood last time ──┬── row: an UPDATE with the value
//!                     └─ else all pages of its table ─────────┘
//! ```
//!
//! Its transaction holds the row until it ends, so at the commit the row on the page is the transaction's own. Reading a table also
//! remembers the pages of the values in it, so that a second such change need not. They are hints: rows move.

use std::collections::BTreeMap;
use std::sync::Arc;

use logferry_model::Lsn;
use logferry_mssql_format::bytes::Malformed;
use logferry_mssql_format::lob::LobRecord;
use logferry_mssql_format::page::{PAGE_SIZE, Page, PageBytes, PageId, PageType, RowId};
use logferry_mssql_format::row::{Expanded, RawCell, RecordKind, RowLayout, row_len};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::assemble::Touched;
use crate::catalog::Catalog;
use crate::emit::lost;
use crate::error::Error;
use crate::pages::PageSource;
use crate::pending::Pending;
use crate::scan::rowset_extents;
use crate::shapes::{Shape, Shapes};

/// Hints take so many entries of about 30 bytes each.
const HINTS_MAX: usize = 1 << 20;

/// Pages on which the rows of values stood, by rowset and value.
#[derive(Debug, Default)]
pub(crate) struct BlobPages(FxHashMap<(u64, u64), PageId>);

/// The search for the rows of one transaction.
#[derive(Debug, Default)]
pub(crate) struct BlobRows {
    /// Values whose rows are to be found, by the number of their shape.
    left: BTreeMap<u32, FxHashSet<u64>>,
    /// Pages to be looked at, the next one last, and the slot to begin at.
    pages: Vec<PageId>,
    slot: u16,
    /// All pages of the table were taken up.
    whole: bool,
    page: Option<(PageId, Box<PageBytes>)>,
}

/// A row whose value changed, as it is on its page.
#[derive(Debug)]
pub(crate) struct FoundRow {
    pub(crate) shape: u32,
    pub(crate) at: RowId,
    pub(crate) row: Vec<u8>,
    /// The values that were looked for and are its own.
    pub(crate) blobs: Vec<u64>,
}

impl BlobRows {
    /// Looks for the rows of values that were touched and not named. `wanted` says whether rows of a shape are told at all.
    pub(crate) fn of(blobs: &FxHashMap<u64, Touched>, mut wanted: impl FnMut(u32, Lsn) -> bool) -> Self {
        let mut left: BTreeMap<u32, FxHashSet<u64>> = BTreeMap::new();
        let mut last = FxHashMap::default();
        for (&blob, touched) in blobs.iter().filter(|(_, touched)| !touched.is_named()) {
            if let Some(shape) = touched.shape {
                left.entry(shape).or_default().insert(blob);
                last.insert(shape, touched.last_lsn);
            }
        }
        left.retain(|shape, _| wanted(*shape, last.get(shape).copied().unwrap_or_default()));
        BlobRows { left, ..BlobRows::default() }
    }

    /// The next row that has some of the values.
    ///
    /// # Errors
    /// Where a page cannot be read, and where no row has a value that is there: names its table and log record.
    pub(crate) fn next<S: PageSource>(
        &mut self,
        pages: &S,
        shapes: &Shapes,
        hints: &mut BlobPages,
        touched: (&FxHashMap<u64, Touched>, &Pending),
    ) -> Result<Option<FoundRow>, Error> {
        while let Some((&number, left)) = self.left.first_key_value() {
            let Some(shape) = shapes.now(number).cloned() else {
                self.left.pop_first();
                continue;
            };
            if left.is_empty() {
                self.left.pop_first();
                (self.pages, self.page, self.slot, self.whole) = (Vec::new(), None, 0, false);
                continue;
            }
            if self.pages.is_empty() && self.page.is_none() {
                if self.whole {
                    self.not_found(number, &shape, pages, touched)?;
                    continue;
                }
                // Of a rowset that went in the transaction the rows are elsewhere.
                self.whole = !shapes.has_rowset(shape.rowset);
                if !self.whole {
                    self.take_up(number, &shape, pages, hints)?;
                }
                continue;
            }
            if let Some(found) = self.look(number, &shape, pages, hints)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Puts pages up to be looked at: those of the hints first, then all.
    fn take_up<S: PageSource>(
        &mut self,
        number: u32,
        shape: &Arc<Shape>,
        pages: &S,
        hints: &mut BlobPages,
    ) -> Result<(), Error> {
        let left = self.left.get(&number).into_iter().flatten();
        self.pages = left.filter_map(|blob| hints.0.remove(&(shape.rowset, *blob))).collect();
        if self.pages.is_empty() {
            self.whole = true;
            // Where its pages are may have changed since the shapes were read.
            let catalog = Catalog::read(pages)?;
            if let Some(rowset) = catalog.rowset(shape.rowset) {
                let extents = rowset_extents(pages, rowset)?;
                self.pages = extents.iter().flat_map(|extent| extent.pages()).collect();
            }
        }
        self.pages.sort_unstable_by(|a, b| b.cmp(a));
        self.pages.dedup();
        Ok(())
    }

    /// Looks at the rows of a page from the slot on that comes next.
    fn look<S: PageSource>(
        &mut self,
        number: u32,
        shape: &Shape,
        pages: &S,
        hints: &mut BlobPages,
    ) -> Result<Option<FoundRow>, Error> {
        let (id, bytes) = match self.page.take() {
            Some(held) => held,
            None => {
                let Some(id) = self.pages.pop() else { return Ok(None) };
                let mut bytes = Box::new([0; PAGE_SIZE]);
                pages.read_page(id, &mut bytes)?;
                self.slot = 0;
                (id, bytes)
            }
        };
        let page = Page::read(&bytes)?;
        if page.header.page_type != PageType::DATA || page.header.level != 0 {
            return Ok(None);
        }
        let Some(left) = self.left.get_mut(&number) else { return Ok(None) };
        while self.slot < page.slot_count() {
            let slot = self.slot;
            self.slot += 1;
            let Some(row) = page.row_bytes(slot)? else { continue };
            let kind = RecordKind::of(row.first().copied().unwrap_or_default());
            if !matches!(kind, RecordKind::Primary | RecordKind::Forwarded) {
                continue;
            }
            let at = RowId { page: id, slot };
            let named = |e: Malformed| Error::from(e.within(format_args!("table \"{}\", row {at}", shape.table.name)));
            let (mut unpacked, mut cells, mut found) = (Expanded::default(), Vec::new(), Vec::new());
            decode(&shape.layout, row, &mut unpacked, &mut cells).map_err(named)?;
            for cell in &cells {
                let RawCell::OffRow(pointer) = cell else { continue };
                let Ok(blob) = pointer.blob_id() else { continue };
                if hints.0.len() < HINTS_MAX {
                    hints.0.insert((shape.rowset, blob), id);
                }
                if left.remove(&blob) {
                    found.push(blob);
                }
            }
            if found.is_empty() {
                continue;
            }
            let len = row_len(row, page.header.min_len)?;
            let row = row.get(..len).unwrap_or(row).to_vec();
            self.page = Some((id, bytes));
            return Ok(Some(FoundRow { shape: number, at, row, blobs: found }));
        }
        Ok(None)
    }

    /// No row has what is left. That is nobody's loss where all pieces that were touched are gone: whoever deletes a value later than its
    /// row does that.
    fn not_found<S: PageSource>(
        &mut self,
        number: u32,
        shape: &Shape,
        pages: &S,
        (blobs, changes): (&FxHashMap<u64, Touched>, &Pending),
    ) -> Result<(), Error> {
        let left = self.left.remove(&number).unwrap_or_default();
        (self.pages, self.page, self.slot, self.whole) = (Vec::new(), None, 0, false);
        if left.iter().all(|blob| blobs.get(blob).is_none_or(|touched| touched.only_deleted)) {
            return Ok(());
        }
        let mut bytes = Box::new([0; PAGE_SIZE]);
        let mut reader = changes.reader();
        while let Some(raw) = reader.next()? {
            pages.read_page(raw.row.page, &mut bytes)?;
            let page = Page::read(&bytes)?;
            let piece = if raw.row.slot < page.slot_count() { page.row_bytes(raw.row.slot)? } else { None };
            let blob = piece.and_then(|piece| LobRecord::blob_id(piece).ok());
            if let Some(blob) = blob.filter(|blob| left.contains(blob)) {
                let why =
                    format!("a value outside of its row (blob {blob:#x}) changed, and no row of the table has it");
                return Err(lost(shape, &raw, why));
            }
        }
        Ok(())
    }
}

/// The cells of a row.
fn decode<'r>(
    layout: &'r RowLayout,
    row: &'r [u8],
    unpacked: &'r mut Expanded,
    cells: &mut Vec<RawCell<'r>>,
) -> Result<(), Malformed> {
    if !layout.is_packed() {
        return layout.decode(row, cells);
    }
    layout.expand(row, None, unpacked)?;
    unpacked.cells(layout, cells)
}

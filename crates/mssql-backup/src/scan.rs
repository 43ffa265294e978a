//! Rows of a table, from its pages.
//!
//! Which pages a table has is asked of its IAM chain, and of the PFS pages which of them are in use. Types and ids in page headers are never searched
//! for: freed pages keep theirs. The list of pages is in a fixed order, so it can be cut into chunks that are the same in every run.
//!
//! A row of a heap that moved to another page is read where it is now, as a *forwarded record*, and the stub that it left behind is
//! skipped. So each page is read once, in order, without looking at any other page, and a chunk of pages gives the same rows
//! whoever reads the rest.
//!
//! Nothing is allocated per row or cell: cells point into the page; values outside the row are gathered in one scratch buffer, those of
//! compressed rows in another.

mod extents;
mod lobs;

use std::sync::Arc;

use logferry_model::Cell;
use logferry_mssql_format::page::{PAGE_SIZE, Page, PageBytes, PageId, PageType};
use logferry_mssql_format::row::compressed::PageCompression;
use logferry_mssql_format::row::{Expanded, FixedVar, RawCell, RecordKind, RowLayout};

pub use extents::{Extent, extents};
pub use lobs::LobReader;

use crate::catalog::{AllocUnitKind, Catalog, Compression, Rowset};
use crate::error::{Error, Result};
use crate::pages::PageSource;

/// Memory for values outside of their rows that is kept from row to row.
const SCRATCH_KEPT: usize = 1 << 20;

/// Reads the rows of a rowset, page by page.
pub struct RowReader<S> {
    pages: S,
    layout: Arc<RowLayout>,
    page: Box<PageBytes>,
    lobs: LobReader,
    scratch: Vec<u8>,
    expanded: Expanded,
    moved: Vec<(usize, std::ops::Range<usize>)>,
    raw: Vec<RawCell<'static>>,
    cells: Vec<Cell<'static>>,
    what: String,
}

impl<S: PageSource> RowReader<S> {
    /// A reader of a rowset. It may read any page of it, in any order.
    ///
    /// # Errors
    /// Where the rows of the table cannot be read, and there are any: says why.
    pub fn new(pages: S, catalog: &Catalog, rowset: &Rowset) -> Result<Self> {
        let table = catalog.tables.get(rowset.table);
        if let Some((table, why)) = table.and_then(|t| Some((t, t.unreadable.as_ref()?)))
            && !is_empty(&pages, rowset)?
        {
            return Err(Error::UnreadableTable { table: table.version.name.clone(), why: why.clone() });
        }
        let what = table.map_or_else(|| format!("rowset {}", rowset.id), |t| format!("table \"{}\"", t.version.name));
        Ok(Self::of_layout(pages, rowset.layout.clone(), what))
    }

    /// A reader of rows of a layout; `what` names them in errors.
    pub fn of_layout(pages: S, layout: Arc<RowLayout>, what: String) -> Self {
        RowReader {
            pages,
            layout,
            page: Box::new([0; PAGE_SIZE]),
            lobs: LobReader::default(),
            scratch: Vec::new(),
            expanded: Expanded::default(),
            moved: Vec::new(),
            raw: Vec::new(),
            cells: Vec::new(),
            what,
        }
    }

    /// Shows the rows of a page to `visit`, in the order of their slots; gives their number. Pages of the upper levels of an index
    /// have none. The cells live during the call only.
    pub fn read_page<E: From<Error>>(
        &mut self,
        id: PageId,
        mut visit: impl FnMut(&[Cell<'_>]) -> Result<(), E>,
    ) -> Result<u64, E> {
        self.pages.read_page(id, &mut self.page)?;
        let page = Page::read(&self.page).map_err(Error::from)?;
        if page.header.page_type != PageType::DATA || page.header.level != 0 {
            return Ok(0);
        }
        let what = &self.what;
        let compression = match self.layout.is_compressed() {
            true => {
                PageCompression::of_page(&page).map_err(|e| Error::from(e.within(format_args!("{what}, page {id}"))))?
            }
            false => None,
        };
        let mut rows = 0;
        let mut raw_kept = std::mem::take(&mut self.raw);
        let mut cells_kept = std::mem::take(&mut self.cells);
        for row in page.rows() {
            let (slot, row) = row.map_err(Error::from)?;
            let named = |e: logferry_mssql_format::bytes::Malformed| {
                Error::from(e.within(format_args!("{}, row {id}:{slot}", self.what)))
            };
            match RecordKind::of(row.first().copied().unwrap_or_default()) {
                RecordKind::Primary | RecordKind::Forwarded => {}
                RecordKind::Stub | RecordKind::GhostData | RecordKind::GhostVersion => continue,
                kind => {
                    let why = format!("a record of kind {kind:?} among rows");
                    return Err(named(logferry_mssql_format::bytes::Malformed::new(why, 0)).into());
                }
            }
            let mut raw = reuse_raw(raw_kept);
            if self.layout.is_packed() {
                let done = self.layout.expand(row, compression.as_ref(), &mut self.expanded);
                done.and_then(|()| self.expanded.cells(&self.layout, &mut raw)).map_err(named)?;
            } else {
                self.layout.decode(row, &mut raw).map_err(named)?;
            }
            self.scratch.clear();
            // A value of another size than most is no reason to keep as much memory.
            self.scratch.shrink_to(SCRATCH_KEPT);
            self.moved.clear();
            for (column, cell) in raw.iter().enumerate() {
                if let RawCell::OffRow(pointer) = cell {
                    let start = self.scratch.len();
                    let found = self.lobs.append(&self.pages, pointer, &mut self.scratch).map_err(|e| match e {
                        Error::Malformed(e) => named(e.within(format_args!("column {column}"))),
                        other => other,
                    })?;
                    let range = if found { start..self.scratch.len() } else { usize::MAX..usize::MAX };
                    self.moved.push((column, range));
                }
            }
            let mut cells = reuse_cells(cells_kept);
            let mut moved = self.moved.iter();
            cells.extend(raw.iter().map(|cell| match cell {
                RawCell::Null => Cell::Null,
                RawCell::Bytes(bytes) => Cell::Bytes(bytes),
                RawCell::OffRow(_) => match moved.next().and_then(|(_, range)| self.scratch.get(range.clone())) {
                    Some(value) => Cell::Bytes(value),
                    None => Cell::Null,
                },
            }));
            let outcome = visit(&cells);
            cells_kept = reuse_cells(cells);
            raw_kept = reuse_raw(raw);
            outcome?;
            rows += 1;
        }
        self.raw = raw_kept;
        self.cells = cells_kept;
        Ok(rows)
    }
}

/// What [`read_table`] counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCount {
    /// Rows on the pages.
    pub read: u64,
    /// Rows by `sysrowsets`; the same in files of a database that was closed, and in restored backups.
    pub recorded: u64,
}

/// Shows all rows of a table, partition after partition.
pub fn read_table<S: PageSource, E: From<Error>>(
    pages: &S,
    catalog: &Catalog,
    table: usize,
    mut visit: impl FnMut(&[Cell<'_>]) -> Result<(), E>,
) -> Result<RowCount, E> {
    let mut count = RowCount::default();
    for rowset in catalog.rowsets_of(table) {
        let mut reader = RowReader::new(pages, catalog, rowset)?;
        for extent in rowset_extents(pages, rowset)? {
            for page in extent.pages() {
                count.read += reader.read_page(page, &mut visit)?;
            }
        }
        count.recorded += rowset.rows;
    }
    Ok(count)
}

/// Whether a rowset cannot have rows. Rows of columnstores and of tables in memory are elsewhere: that there are no pages
/// says nothing of them.
fn is_empty<S: PageSource>(pages: &S, rowset: &Rowset) -> Result<bool> {
    match rowset.compression {
        Compression::Row | Compression::Page => Ok(rowset_extents(pages, rowset)?.is_empty()),
        Compression::None | Compression::Columnstore | Compression::Unknown(_) => Ok(false),
    }
}

/// The pages that hold the rows of a rowset, in a fixed order. A rowset has one allocation unit of rows.
pub fn rowset_extents<S: PageSource>(pages: &S, rowset: &Rowset) -> Result<Vec<Extent>> {
    match rowset.alloc_units.iter().find(|unit| unit.kind == AllocUnitKind::InRow) {
        Some(unit) => extents(pages, unit.first_iam),
        None => Ok(Vec::new()),
    }
}

/// Shows the live rows of a page to `visit` as records, for tables whose layout is known beforehand.
pub(crate) fn read_records<S: PageSource>(
    pages: &S,
    first_iam: PageId,
    mut visit: impl FnMut(&FixedVar<'_>) -> Result<()>,
) -> Result<()> {
    let mut bytes = Box::new([0; PAGE_SIZE]);
    for id in extents(pages, first_iam)?.iter().flat_map(Extent::pages) {
        pages.read_page(id, &mut bytes)?;
        visit_records(&bytes, id, &mut visit)?;
    }
    Ok(())
}

/// The live rows of one page; none where it is no leaf of a table.
pub(crate) fn visit_records(
    bytes: &PageBytes,
    id: PageId,
    visit: &mut impl FnMut(&FixedVar<'_>) -> Result<()>,
) -> Result<()> {
    let page = Page::read(bytes)?;
    if page.header.page_type != PageType::DATA || page.header.level != 0 {
        return Ok(());
    }
    for row in page.rows() {
        let (slot, row) = row?;
        let kind = RecordKind::of(row.first().copied().unwrap_or_default());
        if matches!(kind, RecordKind::Primary | RecordKind::Forwarded) {
            let record = FixedVar::read(row).map_err(|e| e.within(format_args!("row {id}:{slot}")))?;
            visit(&record).map_err(|e| match e {
                Error::Malformed(e) => e.within(format_args!("row {id}:{slot}")).into(),
                other => other,
            })?;
        }
    }
    Ok(())
}

/// An empty list with the memory of another, for cells of another lifetime. Collecting an emptied list in place keeps its memory.
fn reuse_raw<'a>(mut cells: Vec<RawCell<'_>>) -> Vec<RawCell<'a>> {
    cells.clear();
    cells.into_iter().map(|_| RawCell::Null).collect()
}

fn reuse_cells<'a>(mut cells: Vec<Cell<'_>>) -> Vec<Cell<'a>> {
    cells.clear();
    cells.into_iter().map(|_| Cell::Null).collect()
}

#[cfg(test)]
mod tests;

//! Replays the log over the page store and tells what it does to the rows of user tables.
//!
//! ```text
//!  record ── redo on its page ──┬── row before, row after ── assembler ── (commit) ── Committed ── events
//!     │                         └── base tables changed: the catalog is stale
//!     └── BEGIN, COMMIT, compensation, ... ── assembler
//! ```
//!
//! A record changes a row of a user table when its context is a heap or the leaf level of a clustered index, its rowset is the table's
//! own, and its transaction is not a system transaction. All else is redone and gives nothing: index entries, splits, ghost
//! cleanup, allocation. Pieces of LOBs are told by the changes of rows that have them; those that no change of a row has are looked
//! for at the commit ([`blob_rows`](crate::blob_rows)).
//!
//! What a record says was there before is compared with what is on the page, always: one that does not fit stops the replay.
//!
//! Compressed rows are read by what is published of them: where anything of a record or its page is not as that says, the change is lost,
//! also of rows that the record itself seems to have.
//!
//! Where a page is ahead of the log and could not be taken back, a record still tells of an inserted or deleted row all there is to
//! know, but not of a changed one. Such a change is kept as *lost*, and is an error if its transaction commits.

mod base_tables;

use logferry_model::{CommitLsn, Lsn, RestartLsn};
use logferry_mssql_format::catalog::is_base_rowset;
use logferry_mssql_format::lob::LobRecord;
use logferry_mssql_format::log::block::Block;
use logferry_mssql_format::log::op::{Context, Op};
use logferry_mssql_format::log::record::{PageOp, Record};
use logferry_mssql_format::log::xact::{HobtAction, Xact};
use logferry_mssql_format::page::{PAGE_SIZE, PageBytes, PageId, PageType, RowId};
use logferry_mssql_format::redo::rewind::Revealed;
use logferry_mssql_format::redo::{self, Outcome, RedoError, RowImages, row_at};
use logferry_mssql_format::row::RecordKind;
use logferry_mssql_format::row::compressed::{CdRecord, PageCompression};
use rustc_hash::FxHashMap;

use crate::assemble::{Assembler, HeapChange, Open, Touched};
use crate::emit::{Committed, Copied, Tables};
use crate::error::Error;
use crate::pages::PageSource;
use crate::pending::{RawChange, RawOp};
use crate::shapes::Shapes;
use crate::store::PageStore;

/// See the module.
pub(crate) struct Replay {
    pub(crate) store: PageStore,
    pub(crate) shapes: Shapes,
    assembler: Assembler,
    /// Pages that are ahead of the log, and why.
    ahead: FxHashMap<PageId, String>,
    /// Rows of pages that are known from some record on, in the order of the log.
    revealed: FxHashMap<PageId, Vec<Revealed>>,
    /// The last record.
    pub(crate) position: Lsn,
    /// The last commit, and when it was.
    pub(crate) last_commit: (CommitLsn, Option<i64>),
    images: RowImages,
}

/// What a record means to the rows of a table.
#[derive(Clone, Copy)]
struct RowTarget {
    shape: u32,
    /// The rows are compressed.
    compressed: bool,
}

impl Replay {
    /// Replays over a store, from a point where its pages are not ahead of the log but those of `ahead`.
    pub(crate) fn new(
        store: PageStore,
        ahead: FxHashMap<PageId, String>,
        revealed: FxHashMap<PageId, Vec<Revealed>>,
        memory_max: usize,
    ) -> Result<Self, Error> {
        let shapes = Shapes::read(&store)?;
        Ok(Replay {
            store,
            shapes,
            assembler: Assembler::new(memory_max),
            ahead,
            revealed,
            position: Lsn::ZERO,
            last_commit: (CommitLsn::default(), None),
            images: RowImages::default(),
        })
    }

    /// The oldest record that is needed to go on from here.
    pub(crate) fn restart(&self) -> RestartLsn {
        let next = Lsn { slot: self.position.slot.saturating_add(1), ..self.position };
        RestartLsn(self.assembler.oldest_begin().unwrap_or(next).min(next))
    }

    /// Takes memory back ([`Committed::into_memory`]).
    pub(crate) fn reuse(&mut self, memory: Vec<u8>) {
        self.assembler.reuse(memory);
    }

    /// The open transactions.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Open> + Clone {
        self.assembler.open()
    }

    /// Brings the rows that a block's records change near, before these are redone.
    pub(crate) fn bring_near(&mut self, block: &Block<'_>) {
        self.store.bring_near(block.rows());
    }

    /// Redoes a record. Gives a transaction when the record commits it and it changed anything: boxed, as most records give none, and
    /// that should be small.
    pub(crate) fn record(&mut self, record: &Record<'_>) -> Result<Option<Box<Committed>>, Error> {
        self.position = record.lsn;
        let id = record.transaction;
        let mut committed = None;
        match Xact::read(record)? {
            Some(Xact::Begin(begin)) => {
                self.assembler.begin(id, record.lsn, begin.name.to_string(), begin.is_system());
            }
            Some(Xact::Commit(end)) => {
                self.last_commit = (CommitLsn(record.lsn), end.time_us.or(self.last_commit.1));
                if let Some(open) = self.assembler.end(id).filter(|open| !open.is_empty() || self.shapes.behind) {
                    committed = Some(Box::new(self.commit(open, record.lsn, end.time_us)?));
                }
            }
            Some(Xact::Abort(_)) => {
                self.assembler.end(id);
            }
            Some(Xact::HobtDdl { rowset, action: HobtAction::CREATE }) => {
                self.assembler.transaction(id, record.lsn).created.entry(rowset).or_insert(record.lsn);
            }
            Some(Xact::HobtDdl { rowset, action: HobtAction::DROP }) => {
                if let Some(table) = self.shapes.known_table(rowset) {
                    self.assembler.transaction(id, record.lsn).gone.push((rowset, table, record.lsn));
                }
            }
            Some(_) => {}
            None => {
                if let Some(op) = redo::target(record)? {
                    self.page_record(record, &op)?;
                }
            }
        }
        if record.is_compensation() && !id.is_none() {
            self.assembler.compensate(id, record.lsn, record.prev_lsn)?;
        }
        Ok(committed)
    }

    fn page_record(&mut self, record: &Record<'_>, op: &PageOp) -> Result<(), Error> {
        let id = record.transaction;
        if matches!(record.op, Op::DELETE_SPLIT | Op::INSYSXACT) && !id.is_none() {
            // Of one that began before the log this is how it is known.
            self.assembler.transaction(id, record.lsn).system = true;
        }
        let page = op.row.page;
        let target = self.row_target(record)?;
        let watched = target.is_some()
            || is_base_rowset(op.alloc_unit()) && base_tables::HAVE_IDS.contains(&op.obj_id)
            || matches!(record.context, Context::TEXT_MIX | Context::TEXT_TREE);
        let is_change = matches!(record.op, Op::MODIFY_ROW | Op::MODIFY_COLUMNS | Op::DELETE_ROWS);

        self.images.clear();
        let lost = match reach(&mut self.store, record, page) {
            Ok(bytes) => {
                let images = if watched && is_change { Some(&mut self.images) } else { None };
                let outcome = redo::apply_op(bytes, record, op, images);
                if outcome == Ok(Outcome::Applied)
                    && let Some(revealed) = self.revealed.get_mut(&page)
                {
                    for row in revealed.extract_if(.., |row| row.lsn == record.lsn) {
                        redo::reveal(bytes, row.slot, &row.row)?;
                    }
                    if watched
                        && is_change
                        && record.op != Op::DELETE_ROWS
                        && let Some(row) = row_at(bytes, op.row.slot)?
                    {
                        self.images.after.clear();
                        self.images.after.extend_from_slice(row);
                    }
                }
                match outcome {
                    Ok(Outcome::Applied) => None,
                    Ok(Outcome::AlreadyThere) => {
                        let why = self.ahead.get(&page).map_or("the page has the change already", String::as_str);
                        Some(why.to_owned())
                    }
                    // The table is refused by name where somebody wants it.
                    Err(e @ RedoError::Compressed { .. }) => {
                        self.store.lose(page, e.to_string());
                        Some(e.to_string())
                    }
                    Err(source) => {
                        let e = &source;
                        // A compressed table is refused by name, too.
                        let known = |target: &&RowTarget| !target.compressed && !self.ahead.contains_key(&page);
                        if let Some(target) = target.as_ref().filter(known) {
                            let table = self.shapes.shape(target.shape).map(|shape| shape.table.name.to_string());
                            return Err(Error::RedoOfRow { table: table.unwrap_or_default(), source });
                        }
                        self.store.lose(page, e.to_string());
                        Some(e.to_string())
                    }
                }
            }
            Err(Error::LostPage { why, .. }) => Some(why),
            Err(e) => return Err(e),
        };
        // Rows of a page that is not where the record is are not the record's.
        if lost.is_some() {
            self.images.clear();
        }

        if is_base_rowset(op.alloc_unit()) {
            self.base_table_changed(record, op)?;
        }
        let is_lob = matches!(record.context, Context::TEXT_MIX | Context::TEXT_TREE);
        if record.is_compensation() && is_lob && !id.is_none() {
            if let Ok(blob) = LobRecord::blob_id(self.lob_piece(record)) {
                self.assembler.blob_untouched(id, blob, record.prev_lsn);
            }
        } else if !record.is_compensation() && !id.is_none() {
            let of_rows = record.op == Op::FORMAT_PAGE && !record.element(0).is_empty();
            if let Some(target) = target {
                self.row_changed(record, op, &target, lost)?;
            } else if (is_lob || of_rows) && !self.assembler.is_system(id) {
                match is_lob {
                    true => self.lob_changed(record, op, lost)?,
                    false => self.page_of_rows(record, op)?,
                }
            }
        }
        Ok(())
    }

    /// Whether a record changes a row of a user table, and what the row looks like.
    fn row_target(&mut self, record: &Record<'_>) -> Result<Option<RowTarget>, Error> {
        let is_row = matches!(record.context, Context::HEAP | Context::CLUSTERED | Context::MARK_AS_GHOST)
            && matches!(record.op, Op::INSERT_ROWS | Op::DELETE_ROWS | Op::MODIFY_ROW | Op::MODIFY_COLUMNS);
        if !is_row {
            return Ok(None);
        }
        let Some(op) = record.row_op()? else { return Ok(None) };
        if is_base_rowset(op.rowset) {
            return Ok(None);
        }
        let shape = self.shapes.of_rowset(op.rowset, &self.store)?;
        Ok(shape.map(|shape| self.target(shape)))
    }

    fn target(&self, shape: u32) -> RowTarget {
        RowTarget { shape, compressed: self.shapes.shape(shape).is_some_and(|shape| shape.layout.is_compressed()) }
    }

    fn row_changed(
        &mut self,
        record: &Record<'_>,
        op: &PageOp,
        target: &RowTarget,
        lost: Option<String>,
    ) -> Result<(), Error> {
        let (id, lsn, shape, row) = (record.transaction, record.lsn, target.shape, op.row);
        if target.compressed
            && let Some(why) = lost.clone().or_else(|| self.not_whole(record))
        {
            return self.lost(record, target, row, Some(why));
        }
        let heap = record.context == Context::HEAP;
        let mut change = |row: RowId, raw_op, before: &[u8], after: &[u8]| {
            if heap {
                self.assembler.heap_change(id, &HeapChange { lsn, shape, row, before, after })
            } else {
                self.assembler.change(id, &RawChange { lsn, op: raw_op, shape, row, before, after })
            }
        };
        match record.op {
            Op::INSERT_ROWS => {
                for (i, bytes) in redo::inserted_rows(record).enumerate() {
                    let slot = row.slot.saturating_add(u16::try_from(i).unwrap_or(u16::MAX));
                    change(RowId { slot, ..row }, RawOp::Insert, &[], bytes)?;
                }
                Ok(())
            }
            Op::DELETE_ROWS => {
                // What the page has may lack the version tag; what the record has is complete.
                let image = record.element(0);
                let before = if image.is_empty() { &self.images.before } else { image };
                if before.is_empty() {
                    return self.lost(record, target, row, lost);
                }
                change(row, RawOp::Delete, before, &[])
            }
            _ if self.images.before.is_empty() || self.images.after.is_empty() => self.lost(record, target, row, lost),
            _ => change(row, RawOp::Update, &self.images.before, &self.images.after),
        }
    }

    /// Why an image of a compressed row is none that is known, where one is: rows that moved within their heap are among them.
    fn not_whole(&self, record: &Record<'_>) -> Option<String> {
        let in_record = matches!(record.op, Op::INSERT_ROWS | Op::DELETE_ROWS);
        let count = match record.op {
            Op::INSERT_ROWS => redo::inserted_rows(record).count(),
            Op::DELETE_ROWS => 1,
            _ => 0,
        };
        let images = record.elements().take(count).filter(|image| !image.is_empty());
        let on_page =
            [&self.images.before[..], &self.images.after[..]].into_iter().filter(|row| !in_record && !row.is_empty());
        images.chain(on_page).find_map(|row| CdRecord::read_whole(row).err()).map(|e| e.to_string())
    }

    /// Keeps a change that cannot be told.
    fn lost(&mut self, record: &Record<'_>, target: &RowTarget, row: RowId, why: Option<String>) -> Result<(), Error> {
        let why = why.unwrap_or_else(|| "the row as it was before is neither on the page nor in the log".to_owned());
        let change = RawChange {
            lsn: record.lsn,
            op: RawOp::Lost,
            shape: target.shape,
            row,
            before: &[],
            after: why.as_bytes(),
        };
        self.assembler.change(record.transaction, &change)
    }

    /// The bytes of the piece of a LOB that a record is about.
    fn lob_piece<'r>(&'r self, record: &Record<'r>) -> &'r [u8] {
        match record.op {
            Op::INSERT_ROWS | Op::DELETE_ROWS if !record.element(0).is_empty() => record.element(0),
            _ => &self.images.before,
        }
    }

    /// A piece of a LOB came, changed or went.
    fn lob_changed(&mut self, record: &Record<'_>, op: &PageOp, lost: Option<String>) -> Result<(), Error> {
        let (id, lsn) = (record.transaction, record.lsn);
        let raw_op = match record.op {
            Op::INSERT_ROWS => RawOp::Insert,
            Op::DELETE_ROWS => RawOp::Delete,
            Op::MODIFY_ROW | Op::MODIFY_COLUMNS => RawOp::Update,
            _ => return Ok(()),
        };
        let rowset = record.row_op()?.map_or(0, |row| row.rowset);
        let shape = match is_base_rowset(rowset) {
            true => None,
            false => self.shapes.of_rowset(rowset, &self.store)?,
        };
        match (LobRecord::blob_id(self.lob_piece(record)), shape) {
            (Ok(blob), shape) => {
                self.assembler.blob_touched(id, blob, Touched::by(lsn, raw_op, shape));
            }
            (Err(_), Some(shape)) => self.lost(record, &self.target(shape), op.row, lost)?,
            (Err(_), None) => {}
        }
        let piece = match record.op {
            Op::INSERT_ROWS | Op::DELETE_ROWS if !record.element(0).is_empty() => record.element(0),
            _ => &self.images.before,
        };
        let count = if raw_op == RawOp::Insert { redo::inserted_rows(record).count() } else { 1 };
        for i in 0..count {
            let slot = op.row.slot.saturating_add(u16::try_from(i).unwrap_or(u16::MAX));
            let row = RowId { slot, ..op.row };
            let before = if raw_op == RawOp::Insert { &[][..] } else { piece };
            self.assembler.lob_change(id, &RawChange { lsn, op: raw_op, shape: 0, row, before, after: &[] })?;
        }
        Ok(())
    }

    /// A page came with its rows: a bulk load, or a rebuild, which the commit tells apart.
    fn page_of_rows(&mut self, record: &Record<'_>, op: &PageOp) -> Result<(), Error> {
        if is_base_rowset(op.alloc_unit()) {
            return Ok(());
        }
        let Some(shape) = self.shapes.of_unit(op.alloc_unit(), &self.store)? else { return Ok(()) };
        let mut bytes = Box::new([0; PAGE_SIZE]);
        self.store.read_page(op.row.page, &mut bytes)?;
        let page = logferry_mssql_format::page::Page::read(&bytes)?;
        if page.header.page_type != PageType::DATA || page.header.level != 0 {
            return Ok(());
        }
        let target = self.target(shape);
        if target.compressed && !matches!(PageCompression::of_page(&page), Ok(None)) {
            let why = "the page came with its rows, compressed as a whole (PAGE)".to_owned();
            return self.lost(record, &target, op.row, Some(why));
        }
        for slot in 0..page.slot_count() {
            let Some(after) = row_at(&bytes, slot)? else { continue };
            if after.first().is_some_and(|&status| RecordKind::of(status) == RecordKind::Primary) {
                let row = RowId { slot, ..op.row };
                if let Some(e) = target.compressed.then(|| CdRecord::read_whole(after).err()).flatten() {
                    self.lost(record, &target, row, Some(e.to_string()))?;
                    continue;
                }
                let change = RawChange { lsn: record.lsn, op: RawOp::PageInsert, shape, row, before: &[], after };
                self.assembler.change(record.transaction, &change)?;
            }
        }
        Ok(())
    }

    /// Rowsets that a transaction made for tables that are not new, and up to where rows that come there are rows that the table had: it is
    /// copied before the rowset that it replaces goes.
    fn moved(&mut self, open: &Open) -> Result<FxHashMap<u64, Copied>, Error> {
        let mut moved = FxHashMap::default();
        for (&rowset, &from) in &open.created {
            let gone = open.gone.iter().find(|(gone, ..)| *gone == rowset);
            let shape = self.shapes.of_rowset(rowset, &self.store)?.and_then(|number| self.shapes.shape(number));
            let Some(table) = gone.map(|(_, table, _)| *table).or(shape.map(|shape| shape.table.id)) else { continue };
            let until = gone.map_or(Lsn::MAX, |(.., lsn)| *lsn);
            let replaced = open.gone.iter().filter(|(other, of, lsn)| *other != rowset && *of == table && *lsn < until);
            if self.shapes.is_published(table) {
                let until = replaced.map(|(.., lsn)| *lsn).max().unwrap_or(Lsn::MAX);
                let pointed = open.pointed.get(&rowset).copied().filter(|lsn| *lsn < until);
                moved.insert(rowset, Copied { table, from, pointed, until });
            }
        }
        Ok(moved)
    }

    fn commit(&mut self, open: Open, lsn: Lsn, time_us: Option<i64>) -> Result<Committed, Error> {
        let mut changed = Vec::new();
        let mut dropped = Vec::new();
        let mut moved = FxHashMap::default();
        let mut switched = None;
        let describes =
            !open.objects.is_empty() || !open.created.is_empty() || !open.truncated.is_empty() || open.switches;
        if describes || self.shapes.behind {
            self.shapes.refresh(&self.store)?;
            moved = self.moved(&open)?;
            let not_yet = self.assembler.open().flat_map(|o| o.objects.iter().copied()).collect();
            (changed, dropped) = self.shapes.publish(&not_yet);
            switched = self.shapes.switched(&not_yet);
        }
        let tables = Tables { changed, dropped, moved, switched };
        Ok(Committed::new(open, CommitLsn(lsn), time_us, self.restart(), tables))
    }
}

/// The page of a record. One that is lost is found again when it is formatted anew.
fn reach<'s>(store: &'s mut PageStore, record: &Record<'_>, page: PageId) -> Result<&'s mut PageBytes, Error> {
    if record.op == Op::FORMAT_PAGE && store.lost(page).is_some() {
        store.put(page, &[0; PAGE_SIZE])?;
    }
    store.page_mut(page)
}

#[cfg(test)]
mod compressed_tests;

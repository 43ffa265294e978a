//! Change data capture reads the log: the changes of tracked tables, by transaction, in the order of the commits.
//!
//! ```text
//!  records of tracked tables, from the first that was not read ─┐
//!                                                               ├── redo ── row before, row after ── open transactions ── queue
//!  their pages as they were before that record ─────────────────┘
//! ```
//!
//! The records of such changes, and the commits of their transactions, have the bit for the log reader (0x8), and the log is held
//! from the begin of the oldest transaction that was not read. A record that changes part of a row does not tell the whole row, which
//! change tables need, and what more a server logs for that is not known. So the reader follows the pages: the first change of a page since the last
//! reading puts the page aside, and reading redoes the records on it. Where a compensation record says what is to be undone next, all
//! behind that is forgotten.
//!
//! Rows are read by the layout of their table, so the log is read before each definition; what a definition itself does to rows is no
//! change. A value outside of its row that changes in its place (UPDATETEXT) has no record of the row: that change alone is noted
//! when it is made.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use logferry_model::{Lsn, TransactionId};
use logferry_mssql_format::bytes::Malformed;
use logferry_mssql_format::encode::PageImage;
use logferry_mssql_format::log::block::Block;
use logferry_mssql_format::log::op::{Context, Op};
use logferry_mssql_format::log::record::{Record, flags};
use logferry_mssql_format::page::{PageId, RowId};
use logferry_mssql_format::redo;
use logferry_mssql_format::row::{OffRow, RecordKind, stub_target};

use super::change::{Stored, stored_values};
use super::table::TableLayout;
use super::xact::Transaction;
use super::{By, Database, Row, transaction_id};

const OWN: &str = "our own log is whole";

/// A change of a row.
#[derive(Clone, Debug)]
pub struct CapturedChange {
    /// The table's object id.
    pub table: u32,
    /// The record that changed the row.
    pub lsn: Lsn,
    /// `column_id`s of the values of the rows.
    pub columns: Arc<[u32]>,
    /// The row before; none of an insert.
    pub before: Option<Arc<Row>>,
    /// The row after; none of a delete.
    pub after: Option<Arc<Row>>,
}

/// A committed transaction that changed tracked tables.
#[derive(Clone, Debug)]
pub struct CapturedTransaction {
    /// Its COMMIT_XACT.
    pub commit_lsn: Lsn,
    /// Its BEGIN_XACT.
    pub begin_lsn: Lsn,
    /// When it began, as `datetime` is stored.
    pub begin_time: [u8; 8],
    /// When it committed.
    pub end_time: [u8; 8],
    /// Its id.
    pub id: TransactionId,
    /// What it did, in order.
    pub changes: Vec<CapturedChange>,
}

/// How far the log was read.
#[derive(Debug, Default)]
pub(super) struct LogReader {
    /// The first record that is to be read.
    from: Option<Lsn>,
    /// Pages of tracked tables as they were before that record, those that changed since.
    pages: HashMap<u32, PageImage>,
    /// Begin of the oldest transaction with anything that was not handed over.
    begin: Option<Lsn>,
    /// What was read of transactions that have not ended.
    open: HashMap<TransactionId, Reading>,
    /// What was read and not handed over.
    queue: VecDeque<CapturedTransaction>,
}

/// What was read of a transaction.
#[derive(Debug, Default)]
struct Reading {
    changes: Vec<CapturedChange>,
    /// The row that a heap had moved and that is on its way to another page, or away.
    moved: Option<Arc<Row>>,
}

impl Database {
    /// Begins or ends to read the changes of a table.
    pub fn track(&mut self, table: u32, on: bool) {
        if on {
            self.tracked.insert(table);
        } else {
            self.tracked.remove(&table);
        }
    }

    /// Reads the log, and shows the next transactions that will be handed over, at most so many: the log is held for them.
    pub fn next_captured(&mut self, most: usize) -> Vec<CapturedTransaction> {
        self.read_log();
        self.reader.queue.iter().take(most).cloned().collect()
    }

    /// Reads the log, and hands over transactions, at most so many.
    pub fn take_captured(&mut self, most: usize) -> Vec<CapturedTransaction> {
        self.read_log();
        let count = most.min(self.reader.queue.len());
        let taken = self.reader.queue.drain(..count).collect();
        let open = self.xacts.values().filter(|x| x.captured).map(|x| x.begin_lsn);
        self.reader.begin = self.reader.queue.iter().map(|t| t.begin_lsn).chain(open).min();
        self.release_log();
        taken
    }

    /// Where the log begins that CDC has not read.
    pub(super) fn unread_from(&self) -> Option<Lsn> {
        self.reader.begin
    }

    /// A record was written, what it changes was not changed yet.
    pub(super) fn note_for_reader(&mut self, by: By, lsn: Lsn, record: &[u8], for_reader: bool) {
        if self.reader.from.is_none() && !for_reader && self.tracked.is_empty() {
            return;
        }
        let record = Record::read(lsn, record).expect(OWN);
        let xact = match by {
            By::Xact(id) | By::Undo(id, _) => self.xacts.get(&id).filter(|x| x.captured),
            By::None => None,
        };
        let undoes = record.is_compensation() || record.op == Op::ABORT_XACT;
        if for_reader || undoes && xact.is_some() {
            self.reader.from.get_or_insert(lsn);
            let begin = xact.map_or(lsn, |x| x.begin_lsn);
            self.reader.begin = Some(self.reader.begin.map_or(begin, |b| b.min(begin)));
        }
        if self.reader.from.is_none() {
            return;
        }
        if let Some(op) = redo::target(&record).expect(OWN)
            && is_of_rows(record.context)
            && self.tracked_table(op.alloc_unit()).is_some()
            && let Some(Some(page)) = self.pages.get(op.row.page.page as usize)
        {
            self.reader.pages.entry(op.row.page.page).or_insert_with(|| page.clone());
        }
    }

    /// Notes a change of a value in its place, which no record tells the row of.
    pub(super) fn capture_in_place(
        &mut self,
        xact: Transaction,
        table: u32,
        lsn: Lsn,
        before: Arc<Row>,
        after: Arc<Row>,
    ) {
        if !self.tracked.contains(&table) {
            return;
        }
        self.read_log();
        let change = self.captured_change(table, lsn, Some(before), Some(after));
        if let Some(open) = self.xacts.get_mut(&xact.0) {
            open.captured = true;
            let begin = open.begin_lsn;
            self.reader.begin = Some(self.reader.begin.map_or(begin, |b| b.min(begin)));
            self.reader.open.entry(transaction_id(xact.0)).or_default().changes.push(change);
        }
    }

    /// What was written since the log was read is not read.
    pub(super) fn pass_over_log(&mut self) {
        self.reader.from = None;
        self.reader.pages.clear();
    }

    /// Reads the log to its end.
    pub(super) fn read_log(&mut self) {
        let Some(from) = self.reader.from else { return };
        let mut reader = std::mem::take(&mut self.reader);
        for bytes in self.log.blocks(from) {
            let block = Block::read_restored(&bytes).expect(OWN);
            for record in block.records() {
                let record = record.expect(OWN);
                if record.lsn >= from {
                    self.read_record(&mut reader, &record);
                }
            }
        }
        self.reader = reader;
        self.pass_over_log();
    }

    fn read_record(&self, reader: &mut LogReader, record: &Record<'_>) {
        let id = record.transaction;
        match record.op {
            Op::COMMIT_XACT => {
                let changes = reader.open.remove(&id).map(|reading| reading.changes).unwrap_or_default();
                if !changes.is_empty() {
                    reader.queue.push_back(self.captured_transaction(record, changes));
                }
                return;
            }
            Op::ABORT_XACT => drop(reader.open.remove(&id)),
            _ => {}
        }
        if let Some(reading) = reader.open.get_mut(&id).filter(|_| record.is_compensation()) {
            reading.changes.retain(|change| change.lsn <= record.prev_lsn);
            reading.moved = None;
        }
        let Some(op) = redo::target(record).expect(OWN).filter(|_| is_of_rows(record.context)) else { return };
        let Some(table) = self.tracked_table(op.alloc_unit()) else { return };
        let row = |reader: &LogReader, at: RowId| -> Option<Vec<u8>> {
            let page = reader.pages.get(&at.page.page).or_else(|| self.pages.get(at.page.page as usize)?.as_ref());
            page?.row(at.slot).map(<[u8]>::to_vec)
        };
        let is_change = record.flags & flags::REPLICATED != 0 && !record.is_compensation();
        let before = if is_change { row(reader, op.row) } else { None };
        let page = reader.pages.get_mut(&op.row.page.page).expect("each page was put aside before it changed");
        redo::apply_op(page.bytes_mut(), record, &op, None).expect(OWN);
        if !is_change {
            return;
        }
        let after = row(reader, op.row);
        let kind = |row: &Option<Vec<u8>>| row.as_ref().map(|row| RecordKind::of(row[0]));
        let values = |reader: &LogReader, row: Option<Vec<u8>>| row.map(|row| self.logged_row(reader, table, &row));
        let target = |reader: &LogReader, stub: Option<Vec<u8>>| row(reader, stub_target(&stub?).expect(OWN));
        let mut moved = reader.open.entry(id).or_default().moved.take();
        let (before, after) = match (record.op, kind(&before), kind(&after)) {
            // Where a moved row is now: its stub tells what becomes of it.
            (Op::INSERT_ROWS, _, Some(RecordKind::Forwarded)) => {
                reader.open.entry(id).or_default().moved = moved;
                return;
            }
            (Op::DELETE_ROWS, Some(RecordKind::Forwarded), _) => {
                moved = values(reader, before);
                reader.open.entry(id).or_default().moved = moved;
                return;
            }
            (Op::INSERT_ROWS, _, _) => (None, values(reader, after)),
            (Op::DELETE_ROWS, Some(RecordKind::Stub), _) => (moved, None),
            (Op::DELETE_ROWS, _, _) => (values(reader, before), None),
            (_, Some(RecordKind::Stub), Some(RecordKind::Stub)) => {
                let target = target(reader, after);
                (moved, values(reader, target))
            }
            (_, _, Some(RecordKind::Stub)) => {
                let target = target(reader, after);
                (values(reader, before), values(reader, target))
            }
            _ => (values(reader, before), values(reader, after)),
        };
        let change = self.captured_change(table, record.lsn, before, after);
        reader.open.entry(id).or_default().changes.push(change);
    }

    fn captured_change(
        &self,
        table: u32,
        lsn: Lsn,
        before: Option<Arc<Row>>,
        after: Option<Arc<Row>>,
    ) -> CapturedChange {
        let count = self.tables.get(&table).map_or(0, |t| t.def.columns.len());
        let columns = (0..count).map(|place| self.column_id(table, place)).collect();
        CapturedChange { table, lsn, columns, before, after }
    }

    fn captured_transaction(&self, commit: &Record<'_>, changes: Vec<CapturedChange>) -> CapturedTransaction {
        // A record's time: ticks, then days, as `datetime` is stored.
        let time = |record: &Record<'_>, at: usize| -> [u8; 8] {
            record.bytes().get(at..at + 8).and_then(|b| b.try_into().ok()).expect(OWN)
        };
        let begin_lsn = commit.lsn_at(32, "transaction begin").expect(OWN);
        let block = self.log.block_at(begin_lsn).expect("the log of what was not read is held");
        let begin = Block::read_restored(&block).expect(OWN).record(begin_lsn.slot).expect(OWN).expect(OWN);
        CapturedTransaction {
            commit_lsn: commit.lsn,
            begin_lsn,
            begin_time: time(&begin, 40),
            end_time: time(commit, 24),
            id: commit.transaction,
            changes,
        }
    }

    /// The table that an allocation unit is of, if CDC reads it.
    fn tracked_table(&self, unit: u64) -> Option<u32> {
        self.tracked.iter().copied().find(|table| {
            let rowset = self.tables.get(table).and_then(|t| self.rowsets.get(&t.rowset));
            rowset.is_some_and(|r| r.units.iter().flatten().any(|u| u.id == unit))
        })
    }

    /// A row, from its bytes; values outside of it as they are at this place of the log.
    fn logged_row<'a>(&'a self, reader: &'a LogReader, table: u32, image: &[u8]) -> Arc<Row> {
        let layout = &self.rowset(self.tables[&table].rowset).layout;
        Arc::new(self.whole_row(layout, image, &|id| reader.pages.get(&id)))
    }

    /// A row as callers would have given it, from its bytes; values outside of it on pages that stand for those of the database.
    pub(super) fn whole_row<'a>(
        &'a self,
        layout: &TableLayout,
        image: &[u8],
        other: &dyn Fn(u32) -> Option<&'a PageImage>,
    ) -> Row {
        let page = |id: PageId| {
            let page = other(id.page).or_else(|| self.pages.get(id.page as usize)?.as_ref());
            page.map(|p| Cow::Borrowed(p.bytes())).ok_or_else(|| Malformed::new(format!("there is no page {id}"), 0))
        };
        let mut row: Row = vec![None; layout.of_logical.len()];
        for (column, value) in layout.columns.iter().zip(stored_values(layout, image)) {
            let Some(at) = column.logical else { continue };
            row[at] = match value {
                Stored::Bytes(bytes) => Some(bytes),
                Stored::Pointer(pointer) => {
                    let pointer = OffRow::read(&pointer).expect(OWN);
                    super::off_row::read_value(&pointer, &page).expect(OWN)
                }
                _ => None,
            };
        }
        row
    }
}

/// Whether a record changes a page of rows, and not a map, which it names by the allocation unit that the change is made for.
fn is_of_rows(context: Context) -> bool {
    matches!(
        context,
        Context::HEAP
            | Context::CLUSTERED
            | Context::MARK_AS_GHOST
            | Context::INDEX_INTERIOR
            | Context::TEXT_MIX
            | Context::TEXT_TREE
    )
}

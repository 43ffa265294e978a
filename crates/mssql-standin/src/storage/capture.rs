//! Changes of tracked tables, kept until CDC has read them.
//!
//! The records of such changes, and the commits of their transactions, have the bit for the log reader (0x8), and the log is held
//! from the begin of the oldest transaction that was not read. What more a server logs for the capture process, which needs whole rows, is
//! not known: here the engine notes the rows beside the log, with the LSNs of the records. What is rolled back is forgotten, the rest comes in the order of the commits.

use std::collections::VecDeque;
use std::sync::Arc;

use logferry_model::{Lsn, TransactionId};

use super::xact::Transaction;
use super::{Database, Row};

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

/// What CDC has not read yet.
#[derive(Debug, Default)]
pub(super) struct Unread {
    queue: VecDeque<CapturedTransaction>,
    /// The oldest begin in the queue.
    begin: Option<Lsn>,
}

impl Unread {
    pub fn push(&mut self, transaction: CapturedTransaction) {
        let begin = transaction.begin_lsn;
        self.begin = Some(self.begin.map_or(begin, |b| b.min(begin)));
        self.queue.push_back(transaction);
    }
}

impl Database {
    /// Begins or ends to note the changes of a table.
    pub fn track(&mut self, table: u32, on: bool) {
        if on {
            self.tracked.insert(table);
        } else {
            self.tracked.remove(&table);
        }
    }

    /// Hands over transactions that were not read, at most so many.
    pub fn take_captured(&mut self, most: usize) -> Vec<CapturedTransaction> {
        let count = most.min(self.unread.queue.len());
        let taken = self.unread.queue.drain(..count).collect();
        self.unread.begin = self.unread.queue.iter().map(|t| t.begin_lsn).min();
        self.release_log();
        taken
    }

    /// Where the log begins that CDC has not read.
    pub(super) fn unread_from(&self) -> Option<Lsn> {
        self.unread.begin
    }

    /// The record that an open transaction changed a row with last.
    pub(super) fn last_row_lsn(&self, xact: Transaction) -> Lsn {
        self.xacts.get(&xact.0).map_or(Lsn::ZERO, |x| x.row_lsn)
    }

    /// Notes a change, if the table is tracked.
    pub(super) fn capture(
        &mut self,
        xact: Transaction,
        table: u32,
        lsn: Lsn,
        before: Option<&Arc<Row>>,
        after: Option<&Arc<Row>>,
    ) {
        if !self.tracked.contains(&table) {
            return;
        }
        let count = self.tables.get(&table).map_or(0, |t| t.def.columns.len());
        let columns = (0..count).map(|place| self.column_id(table, place)).collect();
        let change = CapturedChange { table, lsn, columns, before: before.cloned(), after: after.cloned() };
        if let Some(open) = self.xacts.get_mut(&xact.0) {
            open.captured.push((open.undo.len(), change));
        }
    }
}

//! Rows whose keys other rows leave only in a later part of their transaction.
//!
//! A large transaction of the source is several batches. Where a row that got another key meets one that has it, it waits here: as it is to be,
//! until a change tells that the other one has gone. In [`ApplyMode::Replace`](super::ApplyMode) it is on the target meanwhile, and what waits is
//! the knowledge of it.
//!
//! It costs one search by key per batch in which rows get other keys, and memory for the rows that meet others: one per batch where
//! keys move up in order, half of all rows where they change places at random.

use std::sync::Arc;

use logferry_model::{RowRef, RowStore, RowView, TargetTable};

use super::keyed::{Pair, there_already};
use super::net::{At, Rows, TableNet};
use super::one_table::{Found, OneTable};
use super::{ApplyMode, PgSink};
use crate::error::Error;
use crate::names::shown;

/// Bytes of rows that may wait.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Rows of a table that wait.
pub(super) struct Waiting {
    pub table: Arc<TargetTable>,
    store: RowStore,
    rows: Vec<RowRef>,
}

impl Waiting {
    fn new(table: Arc<TargetTable>, rows: &Rows<'_>, waiting: &[At]) -> Self {
        let mut store = RowStore::new();
        let rows = waiting.iter().map(|&at| store.push_row(rows.row(at).cells())).collect();
        Waiting { table, store, rows }
    }

    pub fn is_of(&self, table: &TargetTable) -> bool {
        self.table.schema == table.schema && self.table.name == table.name
    }

    pub fn rows(&self) -> impl Iterator<Item = RowView<'_>> {
        self.rows.iter().map(|&row| self.store.row(row))
    }
}

impl PgSink {
    /// Asks which of the keys that rows get are still another row's, before a part of a transaction is applied.
    pub(super) async fn meet(&mut self, at: usize, rows: &mut Rows<'_>, net: &mut TableNet) -> Result<(), Error> {
        let arrivals = net.arrivals();
        let pairs: Vec<Pair> = arrivals.iter().map(|&(_, row)| Pair { key: row, row }).collect();
        let found = OneTable { client: &self.client, defined: &mut self.tables[at], rows }.find(&pairs).await?;
        for ((arrival, _), found) in arrivals.into_iter().zip(found) {
            net.found(rows, arrival, found != Found::Nothing);
        }
        Ok(())
    }

    /// Keeps the rows that wait on for the next part of their transaction; of a whole one none may.
    pub(super) fn keep_waiting(&mut self, rows: &Rows<'_>, net: &TableNet) -> Result<(), Error> {
        let waiting = net.waiting()?;
        match (waiting.is_empty(), self.mode) {
            (true, _) => return Ok(()),
            (false, ApplyMode::Exact) if !self.parted => return Err(there_already(&net.table)),
            (false, ApplyMode::Replace) if !self.parted => return Ok(()),
            (false, _) => {}
        }
        let waiting = Waiting::new(Arc::clone(&net.table), rows, &waiting);
        if waiting.store.byte_len() > WAITING_BYTES_MAX {
            return Err(Error::Taken { table: shown(&net.table), rows: waiting.rows.len(), when: "so far" });
        }
        self.waiting.push(waiting);
        Ok(())
    }
}

/// A transaction has ended: none of its rows waits.
pub(super) fn none_waits(waiting: &mut Vec<Waiting>, mode: ApplyMode) -> Result<(), Error> {
    match waiting.drain(..).next().filter(|_| mode == ApplyMode::Exact) {
        None => Ok(()),
        Some(of) => Err(Error::Taken { table: shown(&of.table), rows: of.rows.len(), when: "at the end" }),
    }
}

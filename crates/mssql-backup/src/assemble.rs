//! Puts row changes together by transaction, until it is known what becomes of it.
//!
//! ```text
//!  log      BEGIN 7  ins 7  BEGIN 8  ins 8  upd 7  COMMIT 8   undo 7  COMMIT 7
//!  open 7            ins                    upd               (upd goes)
//!  open 8                            ins
//!  out                                             8: ins               7: ins
//! ```
//!
//! * A *compensation* names the record up to which its transaction is undone: later changes go. This is all there is to a
//!   rollback to a savepoint; of a rolled back transaction nothing is left at its end.
//! * *System transactions* (splits, allocations, ghost cleanup) are transactions of their own, which stay whatever becomes of the
//!   one that they serve. They move rows and change none: nothing of them is kept.
//! * A row of a heap that grows moves to another page and leaves a *stub*. That is logged as a new forwarded record and a change of
//!   the row to a stub, in any order; moving again, and back, takes up to three records. They are put together by the
//!   row id that the heap knows the row by, and come out as the one change that they are.

use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};

use logferry_model::{Lsn, TableId, TransactionId};
use logferry_mssql_format::page::RowId;
use logferry_mssql_format::row::{FixedVar, RecordKind};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::error::Error;
use crate::pending::{Pending, RawChange, RawOp};

/// Memory that is kept for the changes of the next transaction, in bytes.
const SPARE_MAX: usize = 1 << 20;

/// All open transactions.
#[derive(Debug)]
pub(crate) struct Assembler {
    open: FxHashMap<TransactionId, Open>,
    /// Bytes of changes in memory, over all transactions.
    in_memory: usize,
    memory_max: usize,
    /// Memory of changes that were handed on, for those of the next transaction.
    spare: Vec<u8>,
}

/// An open transaction.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) id: TransactionId,
    /// Its begin record; its first record where that lies before what was read.
    pub(crate) begin_lsn: Lsn,
    pub(crate) name: String,
    /// It moves rows and changes none.
    pub(crate) system: bool,
    pub(crate) pending: Pending,
    moves: FxHashMap<RowId, Move>,
    /// Rowsets that it made.
    pub(crate) created: FxHashMap<u64, Lsn>,
    /// Rowsets that an index of a table became, and when.
    pub(crate) pointed: FxHashMap<u64, Lsn>,
    /// Rowsets of tables that it dropped, and when.
    pub(crate) gone: Vec<(u64, TableId, Lsn)>,
    /// Rowsets that it emptied.
    pub(crate) truncated: FxHashSet<u64>,
    /// It gave allocation units to other rowsets.
    pub(crate) switches: bool,
    /// Objects whose description it changed.
    pub(crate) objects: FxHashSet<u32>,
    /// Pieces of LOBs as they were before it changed them: what it takes to take it back.
    pub(crate) lob_undo: Pending,
    /// LOBs that it touched.
    pub(crate) blobs: FxHashMap<u64, Touched>,
}

/// What a transaction did to a LOB.
#[derive(Debug)]
pub(crate) struct Touched {
    /// The first and the last record that touched it.
    pub(crate) first_lsn: Lsn,
    pub(crate) last_lsn: Lsn,
    /// What the rows of its table look like; nothing where it is no user table's.
    pub(crate) shape: Option<u32>,
    /// A change of a row has it: set while the changes are handed on.
    named: AtomicBool,
    /// A row that became has it with its value: set while the changes are handed on.
    told: AtomicBool,
    /// The first thing that it did was to add a piece: it made the LOB, or made it longer.
    pub(crate) began_with_insert: bool,
    /// It deleted pieces.
    pub(crate) deleted: bool,
    /// It did nothing else.
    pub(crate) only_deleted: bool,
}

/// The pieces of a heap row's move that were seen, each with its record.
#[derive(Debug, Default)]
struct Move {
    shape: u32,
    /// What stood and stands in its own slot: a row, a stub, or nothing (no bytes).
    home: Option<(Lsn, Vec<u8>, Vec<u8>)>,
    /// The forwarded record that came.
    inserted: Option<(Lsn, Vec<u8>)>,
    /// The forwarded record that went.
    deleted: Option<(Lsn, Vec<u8>)>,
}

/// A change of a record of a heap: no bytes where there was, or is, none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeapChange<'a> {
    pub(crate) lsn: Lsn,
    pub(crate) shape: u32,
    pub(crate) row: RowId,
    pub(crate) before: &'a [u8],
    pub(crate) after: &'a [u8],
}

impl Touched {
    /// By one record.
    pub(crate) fn by(lsn: Lsn, op: RawOp, shape: Option<u32>) -> Self {
        let deleted = op == RawOp::Delete;
        Touched {
            first_lsn: lsn,
            last_lsn: lsn,
            shape,
            named: AtomicBool::new(false),
            told: AtomicBool::new(false),
            began_with_insert: op == RawOp::Insert,
            deleted,
            only_deleted: deleted,
        }
    }

    /// Whether a change of a row has it.
    pub(crate) fn is_named(&self) -> bool {
        self.named.load(Ordering::Relaxed)
    }

    /// Notes that one has.
    pub(crate) fn set_named(&self) {
        self.named.store(true, Ordering::Relaxed);
    }

    /// Whether a row that became has it with its value.
    pub(crate) fn is_told(&self) -> bool {
        self.told.load(Ordering::Relaxed)
    }

    /// Notes that one has.
    pub(crate) fn set_told(&self) {
        self.told.store(true, Ordering::Relaxed);
    }

    /// Forgets what was handed on of it.
    pub(crate) fn begin(&self) {
        self.named.store(false, Ordering::Relaxed);
        self.told.store(false, Ordering::Relaxed);
    }
}

impl Assembler {
    /// Keeps `memory_max` bytes of changes in memory.
    pub(crate) fn new(memory_max: usize) -> Self {
        Assembler { open: FxHashMap::default(), in_memory: 0, memory_max, spare: Vec::new() }
    }

    /// A transaction begins.
    pub(crate) fn begin(&mut self, id: TransactionId, lsn: Lsn, name: String, system: bool) {
        // An id that is still open here was given again: the end of the one before it was never logged.
        if let Some(old) = self.open.insert(id, Open::new(id, lsn, name, system)) {
            self.in_memory = self.in_memory.saturating_sub(old.in_memory());
        }
    }

    /// A transaction; one that began before what was read begins here.
    pub(crate) fn transaction(&mut self, id: TransactionId, lsn: Lsn) -> &mut Open {
        match self.open.entry(id) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(none) => none.insert(Open::new(id, lsn, String::new(), false)),
        }
    }

    /// Whether a transaction is a system transaction, as far as is known.
    pub(crate) fn is_system(&self, id: TransactionId) -> bool {
        self.open.get(&id).is_some_and(|open| open.system)
    }

    /// Keeps a change, but of a system transaction.
    pub(crate) fn change(&mut self, id: TransactionId, change: &RawChange<'_>) -> Result<(), Error> {
        self.with_pending(id, change.lsn, |open| {
            open.pending.push(change);
            Ok(())
        })
    }

    /// Keeps a change of a record of a heap, but of a system transaction.
    pub(crate) fn heap_change(&mut self, id: TransactionId, change: &HeapChange<'_>) -> Result<(), Error> {
        self.with_pending(id, change.lsn, |open| open.heap_change(change))
    }

    /// Gives back the memory of changes that were handed on; that of many is not kept.
    pub(crate) fn reuse(&mut self, mut memory: Vec<u8>) {
        memory.clear();
        if memory.capacity() <= SPARE_MAX && memory.capacity() > self.spare.capacity() {
            self.spare = memory;
        }
    }

    /// Keeps what a piece of a LOB was before a change.
    pub(crate) fn lob_change(&mut self, id: TransactionId, change: &RawChange<'_>) -> Result<(), Error> {
        self.with(id, change.lsn, |open| {
            open.lob_undo.push(change);
            Ok(())
        })
    }

    /// A transaction touched a LOB.
    pub(crate) fn blob_touched(&mut self, id: TransactionId, blob: u64, touched: Touched) {
        match self.transaction(id, touched.last_lsn).blobs.entry(blob) {
            Entry::Occupied(mut before) => {
                let before = before.get_mut();
                before.last_lsn = touched.last_lsn;
                before.deleted |= touched.deleted;
                before.only_deleted &= touched.deleted;
            }
            Entry::Vacant(none) => drop(none.insert(touched)),
        }
    }

    /// A compensation took back what a transaction did to a LOB after `undo_next`.
    pub(crate) fn blob_untouched(&mut self, id: TransactionId, blob: u64, undo_next: Lsn) {
        if let Some(open) = self.open.get_mut(&id)
            && let Entry::Occupied(touched) = open.blobs.entry(blob)
            && touched.get().first_lsn > undo_next
        {
            touched.remove();
        }
    }

    /// A transaction undoes what came after `undo_next`.
    pub(crate) fn compensate(&mut self, id: TransactionId, lsn: Lsn, undo_next: Lsn) -> Result<(), Error> {
        self.with(id, lsn, |open| {
            open.pending.truncate_after(undo_next)?;
            open.lob_undo.truncate_after(undo_next)?;
            open.gone.retain(|(.., lsn)| *lsn <= undo_next);
            open.pointed.retain(|_, lsn| *lsn <= undo_next);
            open.moves.retain(|_, row| row.undo(undo_next));
            Ok(())
        })
    }

    /// A transaction ends: gives all that was kept of it.
    pub(crate) fn end(&mut self, id: TransactionId) -> Option<Open> {
        let open = self.open.remove(&id)?;
        self.in_memory = self.in_memory.saturating_sub(open.in_memory());
        Some(open)
    }

    /// The begin of the oldest open transaction.
    pub(crate) fn oldest_begin(&self) -> Option<Lsn> {
        self.open.values().map(|open| open.begin_lsn).min()
    }

    /// The open transactions.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Open> + Clone {
        self.open.values()
    }

    /// As [`Self::with`], of one that is about to have changes; a system transaction has none.
    fn with_pending(
        &mut self,
        id: TransactionId,
        lsn: Lsn,
        act: impl FnOnce(&mut Open) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut spare = std::mem::take(&mut self.spare);
        let done = self.with(id, lsn, |open| {
            if open.system {
                return Ok(());
            }
            open.pending.take_memory(&mut spare);
            act(open)
        });
        self.spare = spare;
        done
    }

    fn with(
        &mut self,
        id: TransactionId,
        lsn: Lsn,
        act: impl FnOnce(&mut Open) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let open = self.transaction(id, lsn);
        let before = open.in_memory();
        act(open)?;
        let after = open.in_memory();
        self.in_memory = self.in_memory.saturating_sub(before).saturating_add(after);
        while self.in_memory > self.memory_max {
            let Some(largest) = self.open.values_mut().max_by_key(|open| open.in_memory()) else { break };
            let freed = largest.in_memory();
            if freed == 0 {
                break;
            }
            largest.pending.spill()?;
            largest.lob_undo.spill()?;
            self.in_memory = self.in_memory.saturating_sub(freed);
        }
        Ok(())
    }
}

impl Open {
    fn new(id: TransactionId, begin_lsn: Lsn, name: String, system: bool) -> Self {
        Open {
            id,
            begin_lsn,
            name,
            system,
            pending: Pending::default(),
            moves: FxHashMap::default(),
            created: FxHashMap::default(),
            pointed: FxHashMap::default(),
            gone: Vec::new(),
            truncated: FxHashSet::default(),
            switches: false,
            objects: FxHashSet::default(),
            lob_undo: Pending::default(),
            blobs: FxHashMap::default(),
        }
    }

    fn in_memory(&self) -> usize {
        self.pending.in_memory().saturating_add(self.lob_undo.in_memory())
    }

    /// Whether it changed nothing that is told.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
            && self.moves.is_empty()
            && self.created.is_empty()
            && self.truncated.is_empty()
            && !self.switches
            && self.objects.is_empty()
            && self.blobs.values().all(|touched| touched.shape.is_none())
    }

    /// The row id of a heap row whose move is not complete: its change cannot be told.
    pub(crate) fn incomplete_move(&self) -> Option<RowId> {
        self.moves.keys().min().copied()
    }

    fn heap_change(&mut self, change: &HeapChange<'_>) -> Result<(), Error> {
        let HeapChange { lsn, shape, row, before, after } = *change;
        let kind = |record: &[u8]| record.first().map(|&status| RecordKind::of(status));
        let stub = |record: &[u8]| kind(record) == Some(RecordKind::Stub);
        let forwarded = |record: &[u8]| kind(record) == Some(RecordKind::Forwarded);
        let home = match (forwarded(before), forwarded(after)) {
            _ if stub(before) || stub(after) => row,
            (false, true) if before.is_empty() => came_from(after)?,
            (true, false) if after.is_empty() => came_from(before)?,
            _ => {
                let op = match (before.is_empty(), after.is_empty()) {
                    (true, _) => RawOp::Insert,
                    (_, true) => RawOp::Delete,
                    _ => RawOp::Update,
                };
                self.pending.push(&RawChange { lsn, op, shape, row, before, after });
                return Ok(());
            }
        };
        let moved = self.moves.entry(home).or_default();
        moved.shape = shape;
        if home == row {
            let mut before = before.to_vec();
            if before.is_empty()
                && let Some(last) = self.pending.last()?
                && last.op == RawOp::Delete
                && last.row == home
            {
                // The slot was freed for the stub.
                before = last.before.to_vec();
                self.pending.pop()?;
            }
            // Of two changes of the slot the first has what was before, the second what is after.
            let first = moved.home.take().map_or(before, |(_, first, _)| first);
            moved.home = Some((lsn, first, after.to_vec()));
        } else if after.is_empty() {
            moved.deleted = Some((lsn, before.to_vec()));
        } else {
            moved.inserted = Some((lsn, after.to_vec()));
        }
        if !moved.is_complete() {
            return Ok(());
        }
        let Some(moved) = self.moves.remove(&home) else { return Ok(()) };
        let Some((_, first, last)) = moved.home else { return Ok(()) };
        let before = if stub(&first) { moved.deleted.map(|(_, r)| r).unwrap_or_default() } else { first };
        let after = if stub(&last) { moved.inserted.map(|(_, r)| r).unwrap_or_default() } else { last };
        let op = match (before.is_empty(), after.is_empty()) {
            (true, true) => return Ok(()),
            (true, false) => RawOp::Insert,
            (false, true) => RawOp::Delete,
            (false, false) => RawOp::Update,
        };
        self.pending.push(&RawChange { lsn, op, shape: moved.shape, row: home, before: &before, after: &after });
        Ok(())
    }
}

impl Move {
    fn is_complete(&self) -> bool {
        let stub = |record: &[u8]| record.first().is_some_and(|&s| RecordKind::of(s) == RecordKind::Stub);
        let Some((_, before, after)) = &self.home else { return false };
        (!stub(after) || self.inserted.is_some()) && (!stub(before) || self.deleted.is_some())
    }

    /// Takes pieces after a record away; whether any are left.
    fn undo(&mut self, undo_next: Lsn) -> bool {
        self.home.take_if(|(lsn, ..)| *lsn > undo_next);
        self.inserted.take_if(|(lsn, _)| *lsn > undo_next);
        self.deleted.take_if(|(lsn, _)| *lsn > undo_next);
        self.home.is_some() || self.inserted.is_some() || self.deleted.is_some()
    }
}

fn came_from(record: &[u8]) -> Result<RowId, Error> {
    Ok(FixedVar::read(record)?.forwarded_from()?.unwrap_or_default())
}

#[cfg(test)]
mod tests;

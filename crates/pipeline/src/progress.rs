//! Where a task is, for whoever wants to show it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use logferry_model::Checkpoint;

/// What a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// The source is opened and checked; nothing was written yet.
    Checking,
    /// Tables are made.
    Schema,
    /// Rows are copied, chunk by chunk.
    Copying,
    /// Keys and indexes are made.
    Keys,
    /// Changes are applied.
    Streaming,
    /// All is done, or the task was stopped.
    Ended,
}

impl Phase {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Checking => "checking",
            Phase::Schema => "schema",
            Phase::Copying => "copying",
            Phase::Keys => "keys",
            Phase::Streaming => "streaming",
            Phase::Ended => "ended",
        }
    }
}

/// The numbers of a running task. Written by the task alone, read by anybody at any time.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    /// Tables of the task.
    pub(crate) tables: AtomicU64,
    pub(crate) chunks: AtomicU64,
    pub(crate) chunks_done: AtomicU64,
    pub(crate) bytes_estimate: AtomicU64,
    pub(crate) bytes_estimate_done: AtomicU64,
    pub(crate) rows_copied: AtomicU64,
    pub(crate) bytes_copied: AtomicU64,
    pub(crate) changes: AtomicU64,
    pub(crate) change_bytes: AtomicU64,
    pub(crate) transactions: AtomicU64,
    pub(crate) retries: AtomicU64,
    checkpoint: Mutex<Option<Checkpoint>>,
}

/// The numbers of a task at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgressView {
    /// What it is doing.
    pub phase: Phase,
    /// Tables of the task.
    pub tables: u64,
    /// Chunks of the full copy.
    pub chunks: u64,
    /// Those that are on the target, by this run or an earlier one.
    pub chunks_done: u64,
    /// About how many bytes of pages the full copy has.
    pub bytes_estimate: u64,
    /// Those of the chunks that are on the target.
    pub bytes_estimate_done: u64,
    /// Rows copied by this run.
    pub rows_copied: u64,
    /// Bytes of `COPY` sent by this run.
    pub bytes_copied: u64,
    /// Row changes committed on the target by this run.
    pub changes: u64,
    /// Bytes of the rows of these changes.
    pub change_bytes: u64,
    /// Source transactions that they belong to.
    pub transactions: u64,
    /// How often a connection was tried again.
    pub retries: u64,
    /// How far the target is.
    pub checkpoint: Option<Checkpoint>,
}

impl Progress {
    /// The numbers of a task that has not begun.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The numbers now. Each is right; together they may be some microseconds apart.
    pub fn view(&self) -> ProgressView {
        let phase = match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Checking,
            1 => Phase::Schema,
            2 => Phase::Copying,
            3 => Phase::Keys,
            4 => Phase::Streaming,
            _ => Phase::Ended,
        };
        let n = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ProgressView {
            phase,
            tables: n(&self.tables),
            chunks: n(&self.chunks),
            chunks_done: n(&self.chunks_done),
            bytes_estimate: n(&self.bytes_estimate),
            bytes_estimate_done: n(&self.bytes_estimate_done),
            rows_copied: n(&self.rows_copied),
            bytes_copied: n(&self.bytes_copied),
            changes: n(&self.changes),
            change_bytes: n(&self.change_bytes),
            transactions: n(&self.transactions),
            retries: n(&self.retries),
            checkpoint: *self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// The list of chunks is made anew.
    pub(crate) fn forget_chunks(&self) {
        for counter in [&self.tables, &self.chunks, &self.chunks_done, &self.bytes_estimate, &self.bytes_estimate_done]
        {
            counter.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn reached(&self, checkpoint: Checkpoint) {
        *self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner) = Some(checkpoint);
    }
}

/// Adds to a number of [`Progress`].
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

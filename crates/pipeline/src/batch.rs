//! Puts changes into batches: the pure part of the stream.
//!
//! A batch ends at the end of a transaction, when it is large enough ([`Limits`]) or old enough. A transaction that is
//! larger than a batch is handed on in several, of which the last alone carries the checkpoint:
//!
//! ```text
//!  begin a commit   begin b commit   begin c c c c c c c c c c commit   begin d ...
//!  └──────────── batch + checkpoint ┘└── batch ──┘└ batch + checkpoint ┘
//! ```

use std::mem;
use std::time::{Duration, Instant};

use logferry_model::{Checkpoint, Fence, RowStore, TargetBatch, TargetChange};

/// When a batch is full.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of rows.
    pub bytes: usize,
    /// Row changes.
    pub rows: usize,
    /// Time since its first commit, while the target is busy with others: a target that is idle does not wait.
    pub linger: Duration,
}

/// The batch in the making.
#[derive(Debug)]
pub(crate) struct Batcher {
    limits: Limits,
    batch: TargetBatch,
    /// A transaction has begun and not ended.
    in_transaction: bool,
    /// The last position that the batch can be committed with, and since when it waits for that.
    ready: Option<(Checkpoint, Instant)>,
}

impl Batcher {
    pub(crate) fn new(limits: Limits) -> Self {
        Batcher { limits, batch: TargetBatch::default(), in_transaction: false, ready: None }
    }

    /// Where the rows of the next change go.
    pub(crate) fn rows(&mut self) -> &mut RowStore {
        &mut self.batch.rows
    }

    pub(crate) fn begin(&mut self) {
        self.in_transaction = true;
    }

    /// To be called before each change: gives a part of a large transaction when there is enough of it.
    pub(crate) fn make_room(&mut self) -> Option<TargetBatch> {
        debug_assert!(self.in_transaction, "changes come between begin and commit");
        self.is_full().then(|| {
            self.ready = None;
            mem::take(&mut self.batch)
        })
    }

    /// Adds a change, whose rows are in [`Self::rows`] already.
    pub(crate) fn change(&mut self, change: TargetChange) {
        self.batch.changes.push(change);
    }

    /// Adds what is to be kept with the checkpoint.
    pub(crate) fn fence(&mut self, fence: Fence) {
        self.batch.fences.push(fence);
    }

    /// Ends the transaction; gives the batch when it is full.
    pub(crate) fn commit(&mut self, checkpoint: Checkpoint, now: Instant) -> Option<TargetBatch> {
        self.in_transaction = false;
        self.batch.ends.push(self.batch.changes.len());
        self.position(checkpoint, now);
        if self.is_full() { self.flush() } else { None }
    }

    /// The source is further, and has nothing for the target.
    pub(crate) fn progress(&mut self, checkpoint: Checkpoint, now: Instant) {
        debug_assert!(!self.in_transaction, "progress comes between transactions");
        self.position(checkpoint, now);
    }

    /// When the batch must go even though it is not full; `None` while there is nothing that could be committed.
    pub(crate) fn due(&self) -> Option<Instant> {
        let (_, since) = self.ready.filter(|_| !self.in_transaction)?;
        Some(since + self.limits.linger)
    }

    /// Whether a target that has nothing else to do should have the batch now. A position alone can wait.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.batch.ends.is_empty() && self.ready.is_some() && !self.in_transaction
    }

    /// Whether all was handed on, up to the end of a transaction.
    pub(crate) fn is_at_rest(&self) -> bool {
        !self.in_transaction && self.ready.is_none() && self.batch.changes.is_empty() && self.batch.fences.is_empty()
    }

    /// The batch, if it ends at the end of a transaction and says anything.
    pub(crate) fn flush(&mut self) -> Option<TargetBatch> {
        if self.in_transaction {
            return None;
        }
        let (checkpoint, _) = self.ready.take()?;
        let mut batch = mem::take(&mut self.batch);
        batch.checkpoint = Some(checkpoint);
        Some(batch)
    }

    /// What there is: the target's tables change behind it.
    pub(crate) fn cut(&mut self) -> Option<TargetBatch> {
        if !self.in_transaction {
            return self.flush();
        }
        self.ready = None;
        (!self.batch.changes.is_empty()).then(|| mem::take(&mut self.batch))
    }

    fn position(&mut self, checkpoint: Checkpoint, now: Instant) {
        let since = self.ready.map_or(now, |(_, since)| since);
        self.ready = Some((checkpoint, since));
    }

    fn is_full(&self) -> bool {
        self.batch.rows.byte_len() >= self.limits.bytes || self.batch.changes.len() >= self.limits.rows
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use logferry_model::{ChangeOp, CommitLsn, Lineage, Lsn, RestartLsn, TableId, TableName, TargetTable};

    use super::*;

    /// Plays a script of letters: `(` begin, `.` change, `)` commit, `-` progress, `!` flush. Expects the batches as
    /// `changes@commit`, `changes` for a part.
    #[track_caller]
    fn check(script: &str, expect: &[&str]) {
        assert_eq!(play(script).0, expect, "{script}");
    }

    /// The batches, and whether it is at rest behind them.
    fn play(script: &str) -> (Vec<String>, bool) {
        let limits = Limits { bytes: 1 << 20, rows: 3, linger: Duration::from_secs(1) };
        let table = Arc::new(TargetTable {
            source_id: TableId(1),
            schema: "s".into(),
            name: "t".into(),
            columns: Vec::new(),
            key: Vec::new(),
            key_name: None,
            unique: Vec::new(),
            source: TableName::new("s", "t"),
            condition: None,
        });
        let mut batcher = Batcher::new(limits);
        let mut given = Vec::new();
        let now = Instant::now();
        for (i, step) in script.chars().enumerate() {
            let lsn = Lsn::new(1, i as u32, 1);
            let checkpoint = Checkpoint {
                applied: CommitLsn(lsn),
                restart: RestartLsn(lsn),
                lineage: Lineage::default(),
                commit_time_us: None,
            };
            let batch = match step {
                '(' => {
                    batcher.begin();
                    None
                }
                '.' => {
                    let part = batcher.make_room();
                    batcher.change(TargetChange { table: Arc::clone(&table), op: ChangeOp::Truncate });
                    part
                }
                ')' => batcher.commit(checkpoint, now),
                '-' => {
                    batcher.progress(checkpoint, now);
                    None
                }
                '!' => batcher.flush(),
                _ => unreachable!("not in the language"),
            };
            given.extend(batch.map(|b| match b.checkpoint {
                Some(c) => format!("{}@{}", b.changes.len(), c.applied.0.block),
                None => b.changes.len().to_string(),
            }));
        }
        (given, batcher.is_at_rest())
    }

    /// Within a transaction, or with something to hand on, no position may be confirmed.
    #[test]
    fn it_is_at_rest_when_all_was_handed_on() {
        for script in ["", "(.)!", "-!", "(...)", "(.......)!"] {
            assert!(play(script).1, "{script}");
        }
        for script in ["(", "(.", "(.)", "-", "(.)!(", "(.......", "(.)!-"] {
            assert!(!play(script).1, "{script}");
        }
    }

    #[test]
    fn batches_end_with_transactions() {
        check("(.)(.)!", &["2@5"]);
        check("(.)(..)!", &["3@6"]);
        check("(..)(...", &["3"]);
        check("()!", &["0@1"]);
        check("!", &[]);
    }

    #[test]
    fn large_transactions_stretch_over_batches() {
        check("(.......)!", &["3", "3", "1@8"]);
        check("(...)!", &["3@4"]);
        check("(.!.)!", &["2@4"]);
    }

    #[test]
    fn progress_moves_the_position() {
        check("-!", &["0@0"]);
        check("(.)--!", &["1@4"]);
        check("(.)-(.!)!", &["2@7"]);
    }

    #[test]
    fn an_idle_target_wants_changes_and_not_positions() {
        let limits = Limits { bytes: 1, rows: 100, linger: Duration::from_secs(1) };
        let mut batcher = Batcher::new(limits);
        let at = Checkpoint {
            applied: CommitLsn(Lsn::MAX),
            restart: RestartLsn(Lsn::MAX),
            lineage: Lineage::default(),
            commit_time_us: None,
        };
        let now = Instant::now();
        batcher.progress(at, now);
        assert!(!batcher.is_wanted(), "a position alone");
        batcher.begin();
        assert!(!batcher.is_wanted(), "a transaction that is not whole");
        batcher.commit(at, now);
        assert!(batcher.is_wanted());
        batcher.begin();
        assert!(!batcher.is_wanted(), "another one that is not whole");
        batcher.commit(at, now);
        assert!(batcher.flush().is_some());
        assert!(!batcher.is_wanted(), "it was given");
    }

    #[test]
    fn linger_counts_from_the_first_commit() {
        let limits = Limits { bytes: 1, rows: 100, linger: Duration::from_secs(1) };
        let mut batcher = Batcher::new(limits);
        let checkpoint = Checkpoint {
            applied: CommitLsn(Lsn::MAX),
            restart: RestartLsn(Lsn::MAX),
            lineage: Lineage::default(),
            commit_time_us: None,
        };
        let now = Instant::now();
        assert_eq!(batcher.due(), None);
        batcher.progress(checkpoint, now);
        batcher.progress(checkpoint, now + Duration::from_millis(500));
        assert_eq!(batcher.due(), Some(now + Duration::from_secs(1)));
        batcher.begin();
        assert_eq!(batcher.due(), None);
    }
}

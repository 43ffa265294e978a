//! The log for the tables that it serves, change tables for the others, in one order.
//!
//! Which reader a table has is decided at the start, and told; where a table comes that the log does not serve, the readers begin anew
//! from where the target is, and it is decided once more. The log reads what it can, for it changes nothing and is fast; change data
//! capture for tables without a clustered key that rows could be looked up by, and the like.
//!
//! ```text
//!  log       ── read to here: transactions up to L ── rows as of one moment ─┐
//!  heartbeat ── until the capture job is past L                              ├─ one transaction up to L
//!  capture   ── changes up to L ─────────────────────────────────────────────┘
//! ```
//!
//! So the target is at one position, whoever told of a change. Before a round of the log is handed on, capturing must be past it: that
//! is what the heartbeat shows, which is captured itself. What is changed only in tables of the log waits for the capture job, too; where
//! no table needs it, nobody waits. A round is begun shortly before the job scans ([`rhythm`]): begun behind a scan, it would wait for
//! the next one, and what is changed meanwhile for the one after that.

mod objects;
mod rhythm;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use logferry_model::{Checkpoint, CommitLsn, EventBatch, Fence, Lineage, Lsn, RestartLsn, SourceEvent, TableId};
use tracing::info;

use crate::catalog::Table;
use crate::cdc::{self, CdcReader, CdcSettings};
use crate::error::Error;
use crate::log::LogReader;
use crate::pool::Pool;
use crate::settings::LogSettings;
use crate::source::{OnTarget, Wanted};

pub(crate) use objects::enable_database;
pub use objects::teardown;
pub(crate) use rhythm::Rhythm;

/// The names of what we make: nobody copies them.
const OURS: &[&str] = &["logferry_heartbeat", "logferry_ddl_history"];

/// While a round waits, the heartbeat is written so often.
const BEAT_WAITING: Duration = Duration::from_millis(500);
/// How long the copy waits for the capture job.
const CAPTURE_WAIT: Duration = Duration::from_secs(120);
const CAPTURE_EVERY: Duration = Duration::from_millis(100);

/// Reads both.
pub(crate) struct HybridReader {
    pool: Pool,
    log: LogReader,
    /// Nobody needs it where the log serves all tables.
    cdc: Option<CdcReader>,
    tables: Vec<Arc<Table>>,
    wanted: Wanted,
    by_cdc: HashSet<TableId>,
    heartbeat: Duration,
    beat_at: Option<Instant>,
    applied: Checkpoint,
    phase: Phase,
}

/// What is under way.
#[derive(Default)]
enum Phase {
    /// Nothing: all transactions that were begun are ended.
    #[default]
    Between,
    /// A transaction of change tables, up to a position.
    Captured(Lsn),
    /// A round of the log that was read, and waits for the capture job.
    Waiting(Held),
    /// What was captured up to the end of a round that is begun.
    Merging(Held),
    /// The rows of a round of the log.
    Round,
}

/// A round of the log.
struct Held {
    /// Its commit.
    end: Lsn,
    /// Its begin, and what comes before it.
    first: Vec<SourceEvent>,
    /// The first of its rows, perhaps all.
    rest: EventBatch,
}

/// Why a table is read by change data capture, if it is not by the log.
pub(crate) fn why_captured<'r>(log: &'r LogReader, table: &Table) -> Option<&'r str> {
    let no_key = "it has no unique clustered key: the log does not tell which row an update changed";
    log.refused(table.version.id).or_else(|| table.clustered.is_none().then_some(no_key))
}

impl HybridReader {
    /// Makes what is needed, decides who reads what, and notes where the log stands: changes from there on are given.
    pub(crate) async fn begin(
        pool: Pool,
        lineage: Lineage,
        wanted: Wanted,
        chunk_bytes: u64,
        heartbeat: Duration,
        target: OnTarget<'_>,
        log_settings: LogSettings,
    ) -> Result<Self, Error> {
        let at = target.at;
        let mut session = pool.session().await?;
        objects::create(&mut session).await?;
        drop(session);
        let wanted: Wanted = Arc::new(move |name| !OURS.contains(&name.name.as_str()) && wanted(name));
        let probe =
            LogReader::begin(pool.clone(), lineage, wanted.clone(), chunk_bytes, at, LogSettings::default()).await?;
        let mut by_cdc = HashSet::new();
        let mut names = HashSet::new();
        for table in probe.tables().iter().filter(|t| wanted(&t.version.name)) {
            let name = &table.version.name;
            let Some(why) = why_captured(&probe, table) else {
                info!(table = %name, "is read by the log");
                continue;
            };
            info!(table = %name, "is read by change data capture: {why}");
            by_cdc.insert(table.version.id);
            names.insert(name.clone());
        }
        drop(probe);
        let mut cdc = None;
        if !by_cdc.is_empty() {
            if let Some(at) = at {
                wait_for_capture(&pool, at.applied.0).await?;
            }
            let (own, settings) = (names.clone(), CdcSettings { enable: true });
            let wanted: Wanted = Arc::new(move |name| own.contains(name));
            cdc = Some(CdcReader::begin(pool.clone(), lineage, wanted, settings, chunk_bytes, target).await?);
        }
        let by_log = wanted.clone();
        let log_wanted: Wanted = Arc::new(move |name| by_log(name) && !names.contains(name));
        let log = LogReader::begin(pool.clone(), lineage, log_wanted, chunk_bytes, at, log_settings).await?;
        let of_cdc = |id: TableId| cdc.as_ref().and_then(|cdc| cdc.tables().iter().find(|t| t.version.id == id));
        let tables = log.tables().iter().map(|table| {
            let id = table.version.id;
            of_cdc(id).filter(|_| by_cdc.contains(&id)).unwrap_or(table).clone()
        });
        let tables = tables.collect();
        let applied = log.checkpoint();
        let mut reader = HybridReader {
            pool,
            log,
            cdc,
            tables,
            wanted,
            by_cdc,
            heartbeat,
            beat_at: None,
            applied,
            phase: Phase::Between,
        };
        if at.is_none() {
            // What was captured until here is in the rows that are copied from here on.
            reader.skip_to(applied.applied.0).await?;
            let captured = reader.cdc.as_ref().map_or(applied.applied, |cdc| cdc.checkpoint().applied);
            reader.applied.applied = applied.applied.max(captured);
        }
        Ok(reader)
    }

    pub(crate) fn tables(&self) -> &[Arc<Table>] {
        &self.tables
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        self.applied
    }

    /// Why neither of the two can follow a table, and what mends it.
    pub(crate) fn refused(&self, table: TableId) -> Option<(String, String)> {
        if self.by_cdc.contains(&table) {
            return self.cdc.as_ref().and_then(|cdc| cdc.refused(table)).cloned();
        }
        self.log.refused(table).map(|why| (why.to_owned(), "tables.exclude".to_owned()))
    }

    /// Tables that the target does not have are told and read by the reader that they have.
    pub(crate) fn add(&mut self, tables: &[TableId], left_out: &[TableId]) -> Result<(), Error> {
        let (by_cdc, by_log): (Vec<TableId>, Vec<TableId>) = tables.iter().partition(|id| self.by_cdc.contains(id));
        self.log.add(&by_log);
        self.cdc.as_mut().map_or(Ok(()), |cdc| cdc.add(&by_cdc, left_out))
    }

    /// Whether the rows of a table are to be copied as of one position.
    pub(crate) fn is_fenced(&self, table: TableId) -> bool {
        self.by_cdc.contains(&table) && self.cdc.as_ref().is_some_and(|cdc| cdc.is_fenced(table))
    }

    /// What the target has.
    pub(crate) fn remember(&mut self, fences: &[Fence]) {
        if let Some(cdc) = &mut self.cdc {
            cdc.remember(fences);
        }
    }

    /// Tables are read whole before the next changes.
    pub(crate) fn reload(&mut self, tables: &[TableId]) {
        let (captured, logged): (Vec<TableId>, Vec<TableId>) = tables.iter().partition(|id| self.by_cdc.contains(id));
        self.log.reload(&logged);
        if let Some(cdc) = &mut self.cdc {
            cdc.reload(&captured);
        }
    }

    /// Behind everything that is committed now.
    pub(crate) async fn position_now(&mut self) -> Result<Lsn, Error> {
        self.log.position_now().await
    }

    /// Waits until capturing is at a position, and goes on from there.
    async fn skip_to(&mut self, to: Lsn) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            let Some(cdc) = &mut self.cdc else { return Ok(()) };
            if cdc.checkpoint().applied.0 >= to {
                return Ok(());
            }
            if cdc.captured_to().await? >= to {
                cdc.skip_to(to);
                continue;
            }
            if began.elapsed() > CAPTURE_WAIT {
                return Err(cdc.silent().await?);
            }
            self.beat(BEAT_WAITING).await?;
            tokio::time::sleep(CAPTURE_EVERY).await;
        }
    }

    /// Writes the heartbeat, if it was not written for so long.
    async fn beat(&mut self, every: Duration) -> Result<(), Error> {
        if self.beat_at.is_some_and(|at| at.elapsed() < every) {
            return Ok(());
        }
        let mut session = self.pool.session().await?;
        objects::beat(&mut session).await?;
        self.beat_at = Some(Instant::now());
        Ok(())
    }

    /// The next events; none where nothing happened.
    pub(crate) async fn next(&mut self, bytes_max: usize) -> Result<EventBatch, Error> {
        self.beat(self.heartbeat).await?;
        match std::mem::take(&mut self.phase) {
            Phase::Between => self.between(bytes_max).await,
            Phase::Captured(limit) => self.captured(limit, bytes_max).await,
            Phase::Waiting(held) => self.wait(held, bytes_max).await,
            Phase::Merging(held) => self.merge(held, bytes_max).await,
            Phase::Round => {
                let batch = self.log.next(bytes_max, true).await?;
                // Until its end is among what the log tells.
                self.phase = Phase::Round;
                Ok(self.of_log(batch))
            }
        }
    }

    /// Asks the log first: it is ahead.
    async fn between(&mut self, bytes_max: usize) -> Result<EventBatch, Error> {
        let is_early = self.cdc.as_ref().is_some_and(|cdc| cdc.rhythm().is_early(Instant::now()));
        let mut batch = self.log.next(bytes_max, !is_early).await?;
        self.readers_are_right(&batch)?;
        let begin = batch.events.iter().position(|event| matches!(event, SourceEvent::Begin(_)));
        let Some(begin) = begin.filter(|_| self.cdc.is_some()) else {
            let mut out = self.of_log(batch);
            if self.cdc.is_some() && matches!(self.phase, Phase::Between) {
                // The log has no rows of its own up to where it was read.
                let captured = self.captured(self.log.read_to(), bytes_max).await?;
                out.events.extend(captured.events);
                out.rows = captured.rows;
            }
            return Ok(out);
        };
        let rest = batch.events.split_off(begin + 1);
        let Some(SourceEvent::Begin(head)) = batch.events.last() else { return Ok(batch) };
        let end = head.commit_lsn.0;
        let first = std::mem::replace(&mut batch.events, rest);
        self.wait(Held { end, first, rest: batch }, bytes_max).await
    }

    /// No table came, or became such, that the log does not serve: who reads what is decided at the begin.
    fn readers_are_right(&self, batch: &EventBatch) -> Result<(), Error> {
        for event in &batch.events {
            let (SourceEvent::Table(table) | SourceEvent::Unreadable { table, .. }) = event else { continue };
            if self.by_cdc.contains(&table.id) || !(self.wanted)(&table.name) {
                continue;
            }
            let now = self.log.tables().iter().find(|now| now.version.id == table.id);
            if let Some(why) = now.and_then(|now| why_captured(&self.log, now)) {
                return Err(Error::OtherReader { table: table.name.clone(), why: why.to_owned() });
            }
        }
        Ok(())
    }

    /// Transactions of change tables alone.
    async fn captured(&mut self, limit: Lsn, bytes_max: usize) -> Result<EventBatch, Error> {
        let Some(cdc) = &mut self.cdc else { return Ok(EventBatch::default()) };
        let mut batch = cdc.next_up_to(bytes_max, limit).await?;
        if cdc.is_within() {
            self.phase = Phase::Captured(limit);
        }
        let restart = self.log.checkpoint().restart.0;
        for event in &mut batch.events {
            let (SourceEvent::Commit(at) | SourceEvent::Progress(at)) = event else { continue };
            at.applied = at.applied.max(self.applied.applied);
            at.restart = RestartLsn(restart.min(at.applied.0));
            at.commit_time_us = at.commit_time_us.max(self.applied.commit_time_us);
            self.applied = *at;
        }
        Ok(batch)
    }

    /// Waits until capturing is past the end of a round.
    async fn wait(&mut self, held: Held, bytes_max: usize) -> Result<EventBatch, Error> {
        let Some(cdc) = &mut self.cdc else { return Ok(EventBatch::default()) };
        if cdc.checkpoint().applied.0 < held.end && (cdc.captured_to().await? < held.end || cdc.must_wait().await?) {
            cdc.watch().await?;
            self.phase = Phase::Waiting(held);
            self.beat(BEAT_WAITING).await?;
            return Ok(EventBatch::default());
        }
        let mut held = held;
        let first = std::mem::take(&mut held.first);
        let mut out = self.of_log(EventBatch { events: first, ..EventBatch::default() });
        let merged = self.merge(held, bytes_max).await?;
        // What becomes of tables is told before the transaction begins.
        let (tables, changes): (Vec<_>, Vec<_>) = merged
            .events
            .into_iter()
            .partition(|e| matches!(e, SourceEvent::Table(_) | SourceEvent::Dropped(_) | SourceEvent::Unseen { .. }));
        out.events.splice(0..0, tables);
        out.events.extend(changes);
        out.rows = merged.rows;
        Ok(out)
    }

    /// Hands on what was captured up to the end of a round, within the transaction that the round is, and then the round.
    async fn merge(&mut self, held: Held, bytes_max: usize) -> Result<EventBatch, Error> {
        let Some(cdc) = &mut self.cdc else { return Ok(EventBatch::default()) };
        if cdc.checkpoint().applied.0 < held.end {
            let mut batch = cdc.next_up_to(bytes_max, held.end).await?;
            batch.events.retain(|event| {
                !matches!(event, SourceEvent::Begin(_) | SourceEvent::Commit(_) | SourceEvent::Progress(_))
            });
            self.phase = Phase::Merging(held);
            return Ok(batch);
        }
        self.phase = Phase::Round;
        Ok(self.of_log(held.rest))
    }

    /// What the log tells, with the positions that hold for both.
    fn of_log(&mut self, mut batch: EventBatch) -> EventBatch {
        let by_cdc = &self.by_cdc;
        batch.events.retain(|event| match event {
            SourceEvent::Table(table) | SourceEvent::Dropped(table) => !by_cdc.contains(&table.id),
            SourceEvent::Unreadable { table, .. } | SourceEvent::Unseen { table, .. } => !by_cdc.contains(&table.id),
            _ => true,
        });
        let captured = self.cdc.as_ref().map(|cdc| cdc.checkpoint().applied.0);
        let mut ended = false;
        for event in &mut batch.events {
            match event {
                SourceEvent::Begin(_) => {
                    ended = false;
                    self.phase = Phase::Round;
                }
                SourceEvent::Commit(at) | SourceEvent::Progress(at) => {
                    // Nothing is applied that one of the two has not told yet.
                    let least = captured.map_or(at.applied.0, |captured| captured.min(at.applied.0));
                    at.applied = CommitLsn(least.max(self.applied.applied.0));
                    at.restart = RestartLsn(at.restart.0.min(at.applied.0));
                    at.commit_time_us = at.commit_time_us.max(self.applied.commit_time_us);
                    self.applied = *at;
                    ended = true;
                }
                _ => {}
            }
        }
        if ended {
            self.phase = Phase::Between;
        }
        batch
    }
}

/// Waits until capturing is at a position that the log alone has led to: no table needed capturing until now.
async fn wait_for_capture(pool: &Pool, to: Lsn) -> Result<(), Error> {
    let began = Instant::now();
    let mut session = pool.session().await?;
    while cdc::captured_to(&mut session).await?.is_some_and(|captured| captured < to) && began.elapsed() < CAPTURE_WAIT
    {
        objects::beat(&mut session).await?;
        tokio::time::sleep(CAPTURE_EVERY).await;
    }
    Ok(())
}

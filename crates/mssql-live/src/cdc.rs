//! Following a server by its change tables.
//!
//! The capture job of the server reads the log and writes what it finds into one change table per *capture instance*. Those are
//! polled:
//!
//! ```text
//!  1. look      how far the log is captured: up to there all transactions are whole
//!  2. pages     of each change table that has something behind the position, by the whole of its order
//!  3. look      whether anything was cleaned up meanwhile: then a page may lack rows
//!  4. merge     the transactions, by their commits; within one, table by table
//! ```
//!
//! Each statement is a transaction of its own, none is held open. Memory holds a page per table, whatever the size of a transaction.
//!
//! The surprising parts. A position is a commit, never a place within a transaction: after a restart a transaction comes whole.
//! What capture does not tell, or spoils, is read from the table by its key, as it is then: newer than the change perhaps, and made
//! right by the changes that follow, because each row that is told replaces the one there ([`feed`]).

mod begin;
mod choose;
mod feed;
mod health;
mod instances;
mod reload;
mod rotate;
mod served;
mod verdict;
mod window;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use logferry_model::{Checkpoint, CommitLsn, EventBatch, Fence, Lineage, Lsn, RestartLsn, SourceEvent, TableId};
use tiberius::ToSql;
use tracing::debug;

use crate::catalog::{Reader, Table};
use crate::error::Error;
use crate::hybrid::Rhythm;
use crate::pool::Pool;
use crate::session::Session;
use crate::source::Wanted;
use crate::sql;
pub(crate) use begin::enable_database;
pub(crate) use health::jobs;
use health::{Health, Trouble};
pub(crate) use instances::Facts;
pub(crate) use instances::lsn;
use instances::{Instance, Look, Seen};
use reload::Reload;
pub(crate) use rotate::{disable_ours, enable_heartbeat, has_no_instances};
use served::Served;
pub(crate) use verdict::{Verdict, trouble, verdicts};
use window::Window;

/// Tables that are asked by one statement whether they have changes.
const ASKED_TOGETHER: usize = 50;

/// How often it is asked whether there are new tables, which capture does not tell.
const TABLES_ASKED_EVERY: Duration = Duration::from_secs(5);

/// What may be done to the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CdcSettings {
    /// Enables change data capture for the database and for tables that have no capture instance.
    pub enable: bool,
}

/// Reads change tables.
pub(crate) struct CdcReader {
    pool: Pool,
    lineage: Lineage,
    wanted: Wanted,
    settings: CdcSettings,
    chunk_bytes: u64,
    facts: Facts,
    tables: Vec<Arc<Table>>,
    served: HashMap<TableId, Arc<Served>>,
    /// Tables that cannot be followed: why, and what mends it.
    refused: HashMap<TableId, (String, String)>,
    /// Tables whose changes are not all there: an error, where the target has the table.
    gaps: HashMap<TableId, Gap>,
    /// New tables that nobody captures, and that were told.
    untold: HashSet<TableId>,
    seen: Seen,
    /// When it was asked whether there are new tables.
    tables_asked: Instant,
    /// Something about instances is different, and is looked at when the window is closed.
    stale: bool,
    /// From here on another instance may serve.
    pending: Option<Lsn>,
    /// A table cannot be followed before another instance is there, and nothing is read until then.
    waits: bool,
    health: Health,
    rhythm: Rhythm,
    applied: Checkpoint,
    /// Tables that are new, gone or of another shape, to be told before the next rows.
    events: Vec<SourceEvent>,
    /// Tables to be read whole.
    reloads: VecDeque<Arc<Table>>,
    reload: Option<Reload>,
    /// Those of them whose instance does not have all changes up to now: they are read as of one position.
    anew: HashSet<TableId>,
    /// Up to where the changes of a table are in its rows.
    fences: HashMap<TableId, Lsn>,
    window: Option<Window>,
}

/// A table whose changes are not all there.
#[derive(Debug)]
struct Gap {
    error: Error,
    /// What would serve it, once it was read whole.
    instead: Option<Arc<Served>>,
}

impl CdcReader {
    pub(crate) fn tables(&self) -> &[Arc<Table>] {
        &self.tables
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        self.applied
    }

    /// Why a table cannot be followed, and what mends it, if so.
    pub(crate) fn refused(&self, table: TableId) -> Option<&(String, String)> {
        self.refused.get(&table)
    }

    /// Whether the rows of a table are to be copied as of one position.
    pub(crate) fn is_fenced(&self, table: TableId) -> bool {
        self.served.get(&table).is_some_and(|served| !served.is_keyed())
    }

    /// What the target has.
    pub(crate) fn remember(&mut self, fences: &[Fence]) {
        self.fences.extend(fences.iter().map(|fence| (fence.table, fence.lsn)));
    }

    /// The next events; none where nothing happened.
    pub(crate) async fn next(&mut self, bytes_max: usize) -> Result<EventBatch, Error> {
        self.next_up_to(bytes_max, Lsn::MAX).await
    }

    /// Tables that the target does not have are told and read when an instance of theirs is reached. Of the others all changes must be
    /// there.
    pub(crate) fn add(&mut self, tables: &[TableId], left_out: &[TableId]) -> Result<(), Error> {
        for id in left_out {
            self.gaps.remove(id);
        }
        for id in tables {
            self.gaps.remove(id);
            self.refused.remove(id);
            self.served.remove(id);
            self.tables.retain(|table| table.version.id != *id);
            self.reloads.retain(|table| table.version.id != *id);
            self.anew.remove(id);
            self.fences.remove(id);
        }
        self.stale |= !tables.is_empty();
        let mut gaps: Vec<_> = self.gaps.drain().collect();
        gaps.sort_by_key(|(id, _)| *id);
        gaps.into_iter().next().map_or(Ok(()), |(_, gap)| Err(gap.error))
    }

    /// How far the log is captured.
    pub(crate) async fn captured_to(&mut self) -> Result<Lsn, Error> {
        let mut session = self.pool.session().await?;
        let end = Look::ask(&mut session).await?.end.unwrap_or(Lsn::ZERO);
        self.rhythm.saw(end, Instant::now());
        Ok(end)
    }

    /// When the capture job scans.
    pub(crate) fn rhythm(&self) -> &Rhythm {
        &self.rhythm
    }

    /// Goes on behind a position that the copy shows.
    pub(crate) fn skip_to(&mut self, to: Lsn) {
        self.applied.applied = CommitLsn(to);
        self.applied.restart = RestartLsn(to);
    }

    /// Tells from time to time what is wrong with the capture job, if anything.
    pub(crate) async fn watch(&mut self) -> Result<(), Error> {
        let mut session = self.pool.session().await?;
        self.health.watch(&mut session).await?;
        self.rhythm.every(self.health.interval());
        Ok(())
    }

    /// What it means that nothing was captured for long.
    pub(crate) async fn silent(&mut self) -> Result<Error, Error> {
        let mut session = self.pool.session().await?;
        let trouble = self.health.look(&mut session).await?.unwrap_or(Trouble::Stopped);
        Ok(Error::NotCaptured { what: trouble.what(), mend: trouble.mend().to_owned() })
    }

    /// Whether a transaction was begun, and not all of it told.
    pub(crate) fn is_within(&self) -> bool {
        self.reload.is_some() || self.window.as_ref().is_some_and(|window| window.open.is_some())
    }

    /// The next events up to a position, and none of what was committed behind it. As long as there is more of what was begun, the
    /// position stays the same.
    pub(crate) async fn next_up_to(&mut self, bytes_max: usize, limit: Lsn) -> Result<EventBatch, Error> {
        self.add(&[], &[])?;
        let mut batch = EventBatch::default();
        let mut session = self.pool.session().await?;
        if self.window.is_none() && (!self.reloads.is_empty() || self.reload.is_some()) {
            self.read_whole(&mut session, &mut batch, bytes_max).await?;
            return Ok(batch);
        }
        // After an error the whole source is opened anew, so that it does not matter what is lost of the window then.
        let mut window = match self.window.take() {
            Some(window) => window,
            None => match self.open_window(&mut session, limit).await? {
                Some(window) => window,
                None => {
                    batch.events.append(&mut self.events);
                    return Ok(batch);
                }
            },
        };
        batch.events.append(&mut self.events);
        loop {
            if window.fill(&self.pool, &mut session).await? {
                self.nothing_is_lost(&mut session).await?;
            }
            window.heads.fill(&mut session, window.next_commit()).await?;
            let Some(commit) = window.next_commit() else { break };
            self.give(&mut window, commit, &mut batch, bytes_max)?;
            if batch.rows.byte_len() >= bytes_max {
                self.window = Some(window);
                return Ok(batch);
            }
        }
        if let Some(checkpoint) = window.open.take() {
            batch.events.push(SourceEvent::Commit(checkpoint));
            self.applied = checkpoint;
        }
        let end = window.end;
        if end > self.applied.applied.0 {
            self.applied.applied = CommitLsn(end);
            self.applied.restart = RestartLsn(end);
            self.applied.commit_time_us = window.end_time_us.max(self.applied.commit_time_us);
            batch.events.push(SourceEvent::Progress(self.applied));
        }
        Ok(batch)
    }

    /// Gives what is at hand of the transaction that is next.
    fn give(
        &mut self,
        window: &mut Window,
        commit: Lsn,
        batch: &mut EventBatch,
        bytes_max: usize,
    ) -> Result<(), Error> {
        if let Some(open) = window.open.filter(|open| open.applied.0 != commit) {
            batch.events.push(SourceEvent::Commit(open));
            self.applied = open;
            window.open = None;
        }
        if window.open.is_none() {
            let head = window.heads.of(commit);
            window.open = Some(Checkpoint {
                applied: CommitLsn(commit),
                restart: RestartLsn(commit),
                lineage: self.lineage,
                commit_time_us: head.commit_time_us.or(self.applied.commit_time_us),
            });
            batch.events.push(SourceEvent::Begin(head));
        }
        for feed in window.feeds.iter_mut().filter(|feed| feed.head() == Some(commit)) {
            feed.give(commit, batch, bytes_max)?;
        }
        Ok(())
    }

    /// Whether nothing can be read before another instance is there.
    pub(crate) async fn must_wait(&mut self) -> Result<bool, Error> {
        if self.window.is_none() {
            let mut session = self.pool.session().await?;
            let look = Look::ask(&mut session).await?;
            self.look_at_instances(&mut session, &look).await?;
        }
        Ok(self.waits)
    }

    /// Where instances may be made, a new table is noticed, though nobody captures it.
    async fn look_for_tables(&mut self, session: &mut Session) -> Result<(), Error> {
        const DOING: &str = "ask whether tables came or went";
        if !self.settings.enable || self.tables_asked.elapsed() < TABLES_ASKED_EVERY {
            return Ok(());
        }
        self.tables_asked = Instant::now();
        let rows = session.rows(DOING, sql::CDC_TABLES, &[]).await?;
        let ids = rows.first().map(|row| Reader { row, doing: DOING }.optional::<i64>("ids")).transpose()?.flatten();
        // Ids are signed on the server.
        let known: i64 = self.tables.iter().map(|table| i64::from(table.version.id.0 as i32)).sum();
        self.stale |= ids.unwrap_or(0) != known;
        Ok(())
    }

    /// Looks at tables and instances anew where something about them is, or may be, different.
    async fn look_at_instances(&mut self, session: &mut Session, look: &Look) -> Result<(), Error> {
        let from = self.applied.applied.0;
        if look.seen == self.seen && !self.stale && self.pending.is_none_or(|pending| pending > from) {
            return Ok(());
        }
        self.stale = false;
        self.look_again(session, look.seen).await
    }

    /// Finds out whether there is anything new, and in which tables.
    async fn open_window(&mut self, session: &mut Session, limit: Lsn) -> Result<Option<Window>, Error> {
        let look = Look::ask(session).await?;
        let from = self.applied.applied.0;
        let end = look.end.unwrap_or(Lsn::ZERO);
        self.rhythm.saw(end, Instant::now());
        self.look_for_tables(session).await?;
        self.look_at_instances(session, &look).await?;
        if !self.reloads.is_empty() {
            return Ok(None);
        }
        if self.waits {
            self.health.watch(session).await?;
            return Ok(None);
        }
        if end < from {
            return Err(Error::OtherDatabase(format!(
                "the log is captured up to {end}, but the target has everything up to {from}: the database was set back"
            )));
        }
        self.health.watch(session).await?;
        self.rhythm.every(self.health.interval());
        let end = end.min(limit);
        if end <= from {
            return Ok(None);
        }
        let active = self.active(session, from, end).await?;
        debug!(%from, %end, tables = active.len(), "reading captured changes");
        let end_time_us = look.end_time_us.filter(|_| look.end == Some(end));
        let fence = |served: Arc<Served>| {
            let lsn = self.fences.get(&served.table.version.id).copied().unwrap_or(Lsn::ZERO);
            (served, lsn)
        };
        Ok(Some(Window::new(from, (end, end_time_us), active.into_iter().map(fence).collect())))
    }

    /// Tables that have changes between two positions, in the order of their names.
    async fn active(&self, session: &mut Session, from: Lsn, end: Lsn) -> Result<Vec<Arc<Served>>, Error> {
        const DOING: &str = "ask which tables have captured changes";
        let mut all: Vec<&Arc<Served>> = self.served.values().collect();
        all.sort_by(|a, b| a.table.version.name.cmp(&b.table.version.name));
        let (from, end) = (from.to_be_bytes(), end.to_be_bytes());
        let parameters: [&dyn ToSql; 2] = [&&from[..], &&end[..]];
        let mut active = Vec::new();
        for some in all.chunks(ASKED_TOGETHER) {
            let one = |(number, served): (usize, &&Arc<Served>)| {
                format!(
                    "SELECT {number} AS number WHERE EXISTS (SELECT 1 FROM {} WHERE [__$start_lsn] > CONVERT(binary(10), @P1) \
                     AND [__$start_lsn] <= CONVERT(binary(10), @P2))",
                    served.instance.change_table()
                )
            };
            let text = some.iter().enumerate().map(one).collect::<Vec<_>>().join(" UNION ALL ");
            for row in session.rows(DOING, &text, &parameters).await.map_err(|e| gone(e, some))? {
                let number: Option<i32> = row.try_get("number").ok().flatten();
                let found = number.and_then(|n| usize::try_from(n).ok()).and_then(|n| some.get(n));
                active.extend(found.map(|served| Arc::clone(served)));
            }
        }
        Ok(active)
    }

    /// Whether all that was read was there to be read.
    async fn nothing_is_lost(&mut self, session: &mut Session) -> Result<(), Error> {
        if Look::ask(session).await?.seen == self.seen {
            return Ok(());
        }
        self.stale = true;
        let instances = instances::instances(session).await?;
        for served in self.served.values() {
            let from = self.position(served.table.version.id);
            let now = instances.iter().find(|i| i.id == served.instance.id);
            if let Some(now) = now.filter(|now| now.start.is_none_or(|start| start > from)) {
                return Err(gap(&served.table, now, from));
            }
        }
        Ok(())
    }
}

/// How far the log is captured; `None` where nothing is captured yet.
pub(crate) async fn captured_to(session: &mut Session) -> Result<Option<Lsn>, Error> {
    match Look::ask(session).await {
        Ok(look) => Ok(look.end),
        Err(Error::CdcGone) => Ok(None),
        Err(other) => Err(other),
    }
}

/// A change table is not there.
fn gone(error: Error, some: &[&Arc<Served>]) -> Error {
    match error {
        Error::Statement { number: 208, said, .. } => Error::NotCaptured {
            what: format!("a capture instance was dropped: {said}"),
            mend: format!("start the task again, which tells which of {} tables it was", some.len()),
        },
        other => other,
    }
}

fn gap(table: &Table, instance: &Instance, from: Lsn) -> Error {
    Error::CdcGap {
        table: table.version.name.to_string(),
        instance: instance.name.clone(),
        from,
        low: instance.start.unwrap_or(Lsn::ZERO),
    }
}

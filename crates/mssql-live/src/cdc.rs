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

mod feed;
mod health;
mod instances;
mod rotate;
mod verdict;
mod window;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use logferry_model::{
    Change, ChangeOp, Checkpoint, CommitLsn, EventBatch, Fence, Lineage, Lsn, RestartLsn, SourceEvent, TableId,
    TransactionHead, TransactionId,
};
use tiberius::ToSql;
use tracing::{debug, info};

use crate::catalog::{self, Table};
use crate::chunks::{self, Boundary};
use crate::error::Error;
use crate::pool::Pool;
use crate::reading::{Reading, Work};
use crate::session::Session;
use crate::source::Wanted;
use crate::sql;
use crate::value::Form;
use feed::Served;
use health::{Health, Trouble};
pub(crate) use instances::Facts;
pub(crate) use instances::lsn;
use instances::{Instance, Look, Seen};
pub(crate) use rotate::{disable_ours, enable_heartbeat, has_no_instances};
pub(crate) use verdict::{Verdict, trouble, verdicts};
use window::Window;

/// Tables that are asked by one statement whether they have changes.
const ASKED_TOGETHER: usize = 50;
/// How long the first scan of new instances is waited for: some intervals of the job.
const FIRST_SCAN: Duration = Duration::from_secs(120);
/// When it is asked whether there is anybody who scans.
const FIRST_SCAN_ASKED: Duration = Duration::from_secs(2);
const FIRST_SCAN_EVERY: Duration = Duration::from_millis(200);

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
    collation: Option<String>,
    has_snapshots: bool,
    tables: Vec<Arc<Table>>,
    served: HashMap<TableId, Arc<Served>>,
    /// Tables that cannot be followed: why, and what mends it.
    refused: HashMap<TableId, (String, String)>,
    /// Tables whose changes are not all there: an error, where the target has the table.
    gaps: HashMap<TableId, Error>,
    /// New tables that nobody captures, and that were told.
    untold: HashSet<TableId>,
    seen: Seen,
    /// Something about instances is different, and is looked at when the window is closed.
    stale: bool,
    /// From here on another instance may serve.
    pending: Option<Lsn>,
    health: Health,
    applied: Checkpoint,
    /// Tables that are new, gone or of another shape, to be told before the next rows.
    events: Vec<SourceEvent>,
    /// Tables to be read whole.
    reloads: VecDeque<Arc<Table>>,
    reload: Option<Reload>,
    /// Up to where the changes of a table are in its rows.
    fences: HashMap<TableId, Lsn>,
    window: Option<Window>,
}

/// A table that is being read whole.
struct Reload {
    table: Arc<Table>,
    boundaries: Vec<Boundary>,
    next: usize,
    reading: Option<Reading>,
}

impl CdcReader {
    /// Looks at the tables and their instances, and notes how far the log is captured: changes from there on are given.
    pub(crate) async fn begin(
        pool: Pool,
        lineage: Lineage,
        wanted: Wanted,
        settings: CdcSettings,
        chunk_bytes: u64,
        at: Option<Checkpoint>,
    ) -> Result<Self, Error> {
        let mut session = pool.session().await?;
        let facts = enabled(&mut session, settings).await?;
        let tables = catalog::tables(&mut session).await?;
        let tables: Vec<Arc<Table>> = tables.into_iter().map(|t| Arc::new(t.cut_by_its_key())).collect();
        let wanted_tables: Vec<&Arc<Table>> = tables.iter().filter(|t| wanted(&t.version.name)).collect();
        if settings.enable {
            enable_tables(&mut session, &wanted_tables).await?;
        }
        let mut health = Health::new(facts.has_jobs);
        let (look, instances) = first_scan(&mut session, &mut health, &wanted_tables).await?;
        let end = look.end.unwrap_or(Lsn::ZERO);
        let applied = at.unwrap_or(Checkpoint {
            applied: CommitLsn(end),
            restart: RestartLsn(end),
            lineage,
            commit_time_us: None,
        });
        if applied.applied.0 > end {
            return Err(Error::OtherDatabase(format!(
                "the log is captured up to {end}, but the target has everything up to {}: the database was set back",
                applied.applied.0
            )));
        }
        let mut served = HashMap::new();
        let mut refused = HashMap::new();
        let mut gaps = HashMap::new();
        let mut reloads = VecDeque::new();
        let mut pending = None;
        for table in wanted_tables {
            let id = table.version.id;
            let own: Vec<&Instance> = instances.iter().filter(|i| i.table == id).collect();
            let Some(instance) = own.iter().rev().find(|i| i.start.is_some_and(|s| s <= applied.applied.0)) else {
                if let Some(first) = own.first().filter(|_| at.is_some()) {
                    gaps.insert(id, gap(table, first, applied.applied.0));
                    continue;
                }
                let (why, mend) = ("it has no capture instance", instances::statement_for(&table.version, None));
                if at.is_some() {
                    gaps.insert(id, rotate::not_captured_any_more(table, &mend));
                }
                refused.insert(id, (why.to_owned(), mend));
                continue;
            };
            let one = Served::new(table.clone(), (*instance).clone(), facts.collation.as_deref());
            if let Some(why) = one.refused(at.is_some(), facts.has_snapshots) {
                refused.insert(id, why);
                continue;
            }
            if own.last().is_some_and(|last| last.id != instance.id) {
                pending = Some(Lsn::ZERO);
            }
            if !instance.missing(&table.version).is_empty() {
                // The column came while nobody looked.
                reloads.push_back(table.clone());
                pending = Some(Lsn::ZERO);
            }
            served.insert(id, Arc::new(one));
        }
        info!(tables = served.len(), captured_to = %end, "reading change tables");
        drop(session);
        Ok(CdcReader {
            pool,
            lineage,
            wanted,
            settings,
            chunk_bytes,
            collation: facts.collation,
            has_snapshots: facts.has_snapshots,
            tables,
            served,
            refused,
            gaps,
            untold: HashSet::new(),
            seen: look.seen,
            stale: false,
            pending,
            health,
            applied,
            events: Vec::new(),
            reloads,
            reload: None,
            fences: HashMap::new(),
            window: None,
        })
    }

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

    /// Tables are read whole before the next changes.
    pub(crate) fn reload(&mut self, tables: &[TableId]) {
        for id in tables {
            let waits = self.reloads.iter().any(|table| table.version.id == *id);
            self.reloads.extend(self.served.get(id).filter(|_| !waits).map(|served| served.table.clone()));
        }
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
        }
        self.stale |= !tables.is_empty();
        let mut gaps: Vec<_> = self.gaps.drain().collect();
        gaps.sort_by_key(|(id, _)| *id);
        gaps.into_iter().next().map_or(Ok(()), |(_, gap)| Err(gap))
    }

    /// How far the log is captured.
    pub(crate) async fn captured_to(&self) -> Result<Lsn, Error> {
        let mut session = self.pool.session().await?;
        Ok(Look::ask(&mut session).await?.end.unwrap_or(Lsn::ZERO))
    }

    /// Goes on behind a position that the copy shows.
    pub(crate) fn skip_to(&mut self, to: Lsn) {
        self.applied.applied = CommitLsn(to);
        self.applied.restart = RestartLsn(to);
    }

    /// Tells from time to time what is wrong with the capture job, if anything.
    pub(crate) async fn watch(&mut self) -> Result<(), Error> {
        let mut session = self.pool.session().await?;
        self.health.watch(&mut session).await
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

    /// Finds out whether there is anything new, and in which tables.
    async fn open_window(&mut self, session: &mut Session, limit: Lsn) -> Result<Option<Window>, Error> {
        let look = Look::ask(session).await?;
        let from = self.applied.applied.0;
        let end = look.end.unwrap_or(Lsn::ZERO);
        if look.seen != self.seen || self.stale || self.pending.is_some_and(|pending| pending <= from) {
            self.stale = false;
            self.look_again(session, look.seen).await?;
            if !self.reloads.is_empty() {
                return Ok(None);
            }
        }
        if end < from {
            return Err(Error::OtherDatabase(format!(
                "the log is captured up to {end}, but the target has everything up to {from}: the database was set back"
            )));
        }
        self.health.watch(session).await?;
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
        let from = self.applied.applied.0;
        for served in self.served.values() {
            let now = instances.iter().find(|i| i.id == served.instance.id);
            if let Some(now) = now.filter(|now| now.start.is_none_or(|start| start > from)) {
                return Err(gap(&served.table, now, from));
            }
        }
        Ok(())
    }

    /// Reads rows of tables that are to be read whole. They are newer than the position: made right by what follows, or, where that must
    /// not be told again, with a fence.
    async fn read_whole(
        &mut self,
        session: &mut Session,
        batch: &mut EventBatch,
        bytes_max: usize,
    ) -> Result<(), Error> {
        let at = self.applied.applied;
        batch.events.append(&mut self.events);
        while batch.rows.byte_len() < bytes_max {
            let mut reload = match self.reload.take() {
                Some(reload) => reload,
                None => {
                    let Some(table) = self.reloads.pop_front() else { return Ok(()) };
                    batch.events.push(SourceEvent::Begin(TransactionHead {
                        id: TransactionId::default(),
                        begin_lsn: at.0,
                        commit_lsn: at,
                        commit_time_us: self.applied.commit_time_us,
                        name: "reload".to_owned(),
                    }));
                    let change = Change { lsn: at.0, table: table.version.clone(), op: ChangeOp::Truncate };
                    batch.events.push(SourceEvent::Change(change));
                    let boundaries = match self.is_exact(&table) {
                        true => Vec::new(),
                        false => chunks::boundaries(session, &table, self.chunk_bytes).await?,
                    };
                    Reload { table, boundaries, next: 0, reading: None }
                }
            };
            let mut reading = match reload.reading.take() {
                Some(reading) => reading,
                None if reload.next <= reload.boundaries.len() => {
                    reload.next += 1;
                    Reading::begin(self.part(&reload.table, &reload.boundaries, reload.next - 1))
                }
                None => {
                    batch.events.push(SourceEvent::Commit(self.applied));
                    continue;
                }
            };
            match reading.next().await? {
                Some((store, refs)) => {
                    for row in refs {
                        let after = batch.rows.push_row(store.row(row).cells());
                        let (table, op) = (reload.table.version.clone(), ChangeOp::Insert { after });
                        batch.events.push(SourceEvent::Change(Change { lsn: at.0, table, op }));
                    }
                    reload.reading = Some(reading);
                }
                None => {
                    if let Some(lsn) = reading.fence() {
                        let table = reload.table.version.id;
                        self.fences.insert(table, lsn);
                        batch.events.push(SourceEvent::Fenced(Fence { table, lsn }));
                    }
                }
            }
            self.reload = Some(reload);
        }
        Ok(())
    }

    /// Whether no change of a table may be told again that is in its rows.
    fn is_exact(&self, table: &Table) -> bool {
        self.has_snapshots && self.served.get(&table.version.id).is_some_and(|served| served.is_exact())
    }

    /// What reads a part of a table.
    fn part(&self, table: &Arc<Table>, boundaries: &[Boundary], number: usize) -> Work {
        let (filter, values) = chunks::filter(table.order.as_ref(), boundaries, number).unwrap_or_default();
        let form = Form::of(&table.version.columns);
        let is_exact = self.is_exact(table);
        let level = if self.has_snapshots && !is_exact { "SET TRANSACTION ISOLATION LEVEL SNAPSHOT; " } else { "" };
        Work {
            pool: self.pool.clone(),
            doing: format!("read table \"{}\" anew", table.version.name),
            text: format!("{level}SELECT {} FROM {}", form.select_list(), chunks::rows(table, &filter)),
            values,
            form,
            fenced: is_exact.then(|| table.clone()),
        }
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
            mend: format!("copy anew under another task name; {} tables were read together", some.len()),
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

/// Sees that the database has CDC.
async fn enabled(session: &mut Session, settings: CdcSettings) -> Result<Facts, Error> {
    let facts = Facts::ask(session).await?;
    if facts.is_enabled {
        return Ok(facts);
    }
    if !settings.enable {
        return Err(Error::NotCaptured {
            what: "the database does not have change data capture".to_owned(),
            mend: "EXEC sys.sp_cdc_enable_db, then sys.sp_cdc_enable_table for each table; or source.cdc.enable: true"
                .to_owned(),
        });
    }
    enable_database(session).await?;
    Facts::ask(session).await
}

pub(crate) async fn enable_database(session: &mut Session) -> Result<(), Error> {
    info!("enabling change data capture for the database");
    session.rows("enable change data capture for the database", sql::CDC_ENABLE_DATABASE, &[]).await.map(drop)
}

/// Makes an instance for each table that has none.
async fn enable_tables(session: &mut Session, tables: &[&Arc<Table>]) -> Result<(), Error> {
    let existing = instances::instances(session).await?;
    for table in tables {
        if !existing.iter().any(|i| i.table == table.version.id) {
            rotate::enable(session, table, &instances::name_of_ours(&table.version, &existing)).await?;
        }
    }
    Ok(())
}

/// Waits until all instances of some tables have been scanned once: before that they have no low endpoint.
async fn first_scan(
    session: &mut Session,
    health: &mut Health,
    tables: &[&Arc<Table>],
) -> Result<(Look, Vec<Instance>), Error> {
    let began = Instant::now();
    loop {
        // In this order: an instance that is listed was there when the log was captured up to the end.
        let instances = instances::instances(session).await?;
        let look = Look::ask(session).await?;
        let mut own = instances.iter().filter(|i| tables.iter().any(|t| t.version.id == i.table));
        let scanned = own.all(|i| i.start.is_some_and(|start| look.end.is_some_and(|end| start <= end)));
        if scanned {
            return Ok((look, instances));
        }
        if began.elapsed() > FIRST_SCAN_ASKED {
            let trouble = health.look(session).await?;
            if trouble == Some(Trouble::Missing) || began.elapsed() > FIRST_SCAN {
                let trouble = trouble.unwrap_or(Trouble::Stopped);
                return Err(Error::NotCaptured { what: trouble.what(), mend: trouble.mend().to_owned() });
            }
        }
        tokio::time::sleep(FIRST_SCAN_EVERY).await;
    }
}

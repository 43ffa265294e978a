//! Following the log of a running server, with nothing created or changed there.
//!
//! `sys.fn_dblog` gives the log as records. Of an update it holds the bytes that changed, not the row; so the log is asked *which*
//! rows changed, and the tables *what* they are. What makes that exact is when they are asked:
//!
//! ```text
//!  log    ─── T1 ── T2 ──┬── T3 ──┬──►
//!                        │        │
//!            1. read to here      3. read to here: T3
//!                     2. a SNAPSHOT transaction begins: it sees T1, T2, perhaps T3
//!                                 4. the rows of all keys of T1, T2, T3, as that transaction sees them
//! ```
//!
//! Every transaction that the snapshot may see is among those whose rows are read, so the target goes from one moment that the
//! source was in to another such moment: no transaction is ever seen in part, whatever is written meanwhile. T3 is not counted as
//! applied: its rows come once more in the next round, which changes nothing if they were seen.
//!
//! A commit is in the log a moment before others see its rows. So before the snapshot begins, the transactions that the
//! server calls active are asked for, and waited for.
//!
//! The surprising part: nothing here undoes or redoes anything. Rows that move, savepoints, rebuilt indexes, rows written before a
//! column was added: a key too many is a row read for nothing.

mod backups;
mod end;
mod hold;
mod made;
mod places;
mod round;
mod spill;
mod transactions;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use logferry_model::{Checkpoint, CommitLsn, EventBatch, Lineage, Lsn, RestartLsn, SourceEvent, TableId, TableVersion};
use tracing::warn;

use crate::catalog::{self, Table};
use crate::error::Error;
use crate::pool::{Pool, Pooled};
use crate::session::Session;
use crate::settings::{LogSettings, OnGap};
use crate::source::Wanted;
use crate::sql;
use crate::unseen;
use backups::Reached;
use end::{End, Pace};
use hold::Hold;
use places::Places;
use round::Round;
use transactions::{NotTaken, Transactions};

/// Records that are asked for at a time: a few seconds of a busy log, some MB.
const RECORDS_MAX: i64 = 50_000;
/// Keys of open and committed transactions that are kept in memory: some 30 MB.
const KEYS_HERE_MAX: usize = 250_000;
/// Pieces of values outside of rows that open transactions made, and that are kept in memory: some 2 MB, or a gigabyte of values.
const PIECES_HERE_MAX: usize = 130_000;

/// Reads the log.
pub(crate) struct LogReader {
    pool: Pool,
    /// Connections that are kept: one reads the log, one rows.
    log_session: Option<Pooled>,
    row_session: Option<Pooled>,
    end: End,
    pace: Pace,
    settings: LogSettings,
    hold: Option<Hold>,
    /// Tables to be read whole in the next round, whatever the log says.
    reload: HashSet<TableId>,
    lineage: Lineage,
    wanted: Wanted,
    chunk_bytes: u64,
    tables: Vec<Arc<Table>>,
    places: Places,
    transactions: Transactions,
    /// Where reading goes on: this record was read, unless it is the first.
    at: Lsn,
    first: bool,
    /// The last record that is there, whether it was asked for or not, before the log is read once more.
    seen: Option<Lsn>,
    applied: Checkpoint,
    told: Lsn,
    /// Tables that are new, gone or of another shape, to be told before the next rows.
    events: Vec<SourceEvent>,
    round: Option<Round>,
}

impl LogReader {
    /// Looks at the tables, and notes where the log stands: changes from there on are given.
    pub(crate) async fn begin(
        pool: Pool,
        lineage: Lineage,
        wanted: Wanted,
        chunk_bytes: u64,
        at: Option<Checkpoint>,
        settings: LogSettings,
    ) -> Result<Self, Error> {
        let hold = match settings.hold {
            Some(bounds) => Some(Hold::begin(pool.clone(), bounds).await),
            None => None,
        };
        let mut session = pool.session().await?;
        // Whoever ends between the two questions is in what is copied from here on; whoever does not is in the second answer.
        let mut looked = End::default();
        let end = looked.last_record(&mut session).await?;
        let open = active(&mut session).await?.into_iter().min();
        let applied = at.unwrap_or_else(|| Checkpoint {
            // A commit that is in the log, but whose rows others do not see yet, counts as not applied.
            applied: CommitLsn(open.map_or(end, |open| open.min(end))),
            restart: RestartLsn(open.map_or(end, |open| open.min(end))),
            lineage,
            commit_time_us: None,
        });
        if applied.applied.0 > end {
            return Err(Error::OtherDatabase(format!(
                "the log ends at {end}, but the target has everything up to {}: the database was set back",
                applied.applied.0
            )));
        }
        let tables = catalog::tables(&mut session).await?;
        let tables: Vec<Arc<Table>> = tables.into_iter().map(|t| Arc::new(t.known_by_clustered_key())).collect();
        let mut reader = LogReader {
            pool: pool.clone(),
            log_session: None,
            row_session: None,
            end: looked,
            pace: Pace::default(),
            settings,
            hold,
            reload: HashSet::new(),
            lineage,
            wanted,
            chunk_bytes,
            tables,
            places: Places::default(),
            transactions: Transactions::after(applied.applied.0),
            at: applied.restart.0,
            first: true,
            seen: None,
            applied,
            told: applied.applied.0,
            events: Vec::new(),
            round: None,
        };
        reader.read_places(&mut session).await?;
        reader.log_session = Some(session);
        Ok(reader)
    }

    pub(crate) fn tables(&self) -> &[Arc<Table>] {
        &self.tables
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        self.applied
    }

    /// How far the log was read and has nothing for us that was not told.
    pub(crate) fn read_to(&self) -> Lsn {
        let waiting = self.transactions.committed.iter().map(|t| t.commit).min();
        waiting.map_or(self.at, |commit| commit.previous().min(self.at))
    }

    /// Why a table cannot be followed, if so.
    pub(crate) fn refused(&self, table: TableId) -> Option<&str> {
        self.places.refused(table)
    }

    async fn read_places(&mut self, session: &mut Session) -> Result<(), Error> {
        let wanted = self.wanted.clone();
        self.places.read(session, &self.tables, &|table| wanted(&table.version.name)).await
    }

    fn tell_hold(&self) {
        if let Some(hold) = &self.hold {
            hold.read(self.applied.restart.0);
        }
    }

    /// The next events; none where nothing happened. Until the next round may begin, transactions wait, and no position is told.
    pub(crate) async fn next(&mut self, bytes_max: usize, may_begin: bool) -> Result<EventBatch, Error> {
        loop {
            if self.round.is_some() {
                return self.go_on(bytes_max).await;
            }
            self.pace.breathe().await;
            let is_due = !self.reload.is_empty() || may_begin && !self.transactions.committed.is_empty();
            if !is_due && !self.has_more().await? {
                break;
            }
            let read = self.read_log().await;
            let read =
                read.and_then(|()| self.transactions.unlogged().map_or(Ok(()), |at| Err(Error::Unlogged { at })));
            match read {
                Err(gap @ (Error::Gap { .. } | Error::Unlogged { .. })) if self.settings.on_gap == OnGap::Resync => {
                    warn!("{gap}; all tables are read anew");
                    self.begin_anew().await?;
                }
                other => other?,
            }
            // What is to be read anew never waits: no position may be told before.
            if self.reload.is_empty() && (!may_begin || self.transactions.committed.is_empty()) {
                break;
            }
            self.pace.begin_round();
            self.begin_round().await?;
        }
        let mut batch = EventBatch::default();
        // What begins where a log backup ended was not read, and may be a commit.
        let is_all_told = self.transactions.committed.is_empty();
        if is_all_told && self.at > self.told && !self.first && self.pace.may_tell() {
            // Nothing for the target up to here.
            self.told = self.at;
            self.applied.applied = CommitLsn(self.at.max(self.applied.applied.0));
            self.applied.restart = self.restart();
            self.transactions.applied = self.applied.applied.0;
            self.tell_hold();
            batch.events.push(SourceEvent::Progress(self.applied));
        }
        Ok(batch)
    }

    /// Behind everything that is committed now.
    pub(crate) async fn position_now(&mut self) -> Result<Lsn, Error> {
        let mut session = session(&self.pool, &mut self.log_session).await?;
        let end = End::default().last_record(&mut session).await?;
        self.log_session = Some(session);
        Ok(end)
    }

    /// Tables are read whole in the next round.
    pub(crate) fn reload(&mut self, tables: &[TableId]) {
        self.reload.extend(tables);
    }

    /// Tables are told, and read whole in the next round.
    pub(crate) fn add(&mut self, tables: &[TableId]) {
        for table in self.tables.iter().filter(|t| tables.contains(&t.version.id)) {
            let table = table.version.clone();
            let why = self.refused(table.id).map(str::to_owned);
            self.events.push(SourceEvent::Table(table.clone()));
            let lsn = self.applied.applied.0;
            self.events.extend(why.map(|why| SourceEvent::Unreadable { table, lsn, why }));
        }
        self.reload.extend(tables);
    }

    /// Forgets what was read of the log: all tables are read whole in the next round, and the log from where it is now.
    async fn begin_anew(&mut self) -> Result<(), Error> {
        let mut session = self.pool.session().await?;
        let end = self.end.last_record(&mut session).await?;
        let open = active(&mut session).await?.into_iter().min();
        self.at = open.map_or(end, |open| open.min(end));
        self.first = true;
        self.transactions = Transactions::after(self.at);
        self.applied.applied = CommitLsn(self.at.max(self.applied.applied.0));
        self.applied.restart = RestartLsn(self.at);
        self.refresh(&mut session).await?;
        let wanted = self.tables.iter().filter(|t| (self.wanted)(&t.version.name));
        self.reload = wanted.map(|t| t.version.id).collect();
        self.log_session = Some(session);
        Ok(())
    }

    fn restart(&self) -> RestartLsn {
        let waiting = self.transactions.committed.iter().map(|t| t.begin).min();
        let oldest = self.transactions.oldest_begin().into_iter().chain(waiting).min();
        RestartLsn(oldest.map_or(self.applied.applied.0, |begin| begin.min(self.applied.applied.0)))
    }

    /// Whether the log may have more than what was read.
    async fn has_more(&mut self) -> Result<bool, Error> {
        let mut session = session(&self.pool, &mut self.log_session).await?;
        let more = self.end.has_moved(&mut session).await?;
        if more && !self.first {
            self.seen = self.end.last_record_behind(&mut session, self.at).await?;
        }
        self.log_session = Some(session);
        Ok(more)
    }

    /// Reads all of the log that there is, and log backups where it was truncated.
    async fn read_log(&mut self) -> Result<(), Error> {
        loop {
            let said = match self.read_active_log().await {
                Err(Error::Gap { said, .. }) => said,
                // That error is of a kind with which servers break the connection, at times before it has arrived.
                Err(e @ Error::Broken { .. }) if self.is_truncated().await => e.to_string(),
                other => {
                    other?;
                    break;
                }
            };
            match self.read_backups(said).await? {
                Reached::Further => {}
                Reached::NothingYet => break,
            }
        }
        // What the log has up to here was read, and what was not asked for is passed over.
        if let Some(seen) = self.seen.take().filter(|seen| *seen > self.at && !self.first) {
            self.at = seen;
        }
        Ok(())
    }

    async fn read_active_log(&mut self) -> Result<(), Error> {
        const DOING: &str = "read the log";
        let mut session = session(&self.pool, &mut self.log_session).await?;
        loop {
            let from = format!("0x{}", self.at);
            let mut answer =
                session.ask(DOING, sql::LOG, &[&from.as_str(), &RECORDS_MAX]).await.map_err(|e| self.gap(e))?;
            let mut records = 0;
            while let Some(row) = answer.next().await.map_err(|e| self.gap(e))? {
                records += 1;
                let taken = self.take(&row, DOING)?;
                if !taken && records > 1 {
                    let what = format!("a record comes after {} that is not behind it", self.at);
                    return Err(Error::Unexpected { doing: DOING.to_owned(), what });
                }
            }
            drop(answer);
            if records < RECORDS_MAX {
                self.log_session = Some(session);
                return Ok(());
            }
        }
    }

    /// Takes a record, unless it was read before.
    fn take(&mut self, row: &tiberius::Row, doing: &str) -> Result<bool, Error> {
        let wrong = |what: String| Error::Unexpected { doing: doing.to_owned(), what };
        let text: Option<&str> = row.try_get("lsn").map_err(|e| wrong(e.to_string()))?;
        let lsn: Lsn = text.unwrap_or_default().parse().map_err(|e| wrong(format!("{e}")))?;
        if lsn < self.at || lsn == self.at && !self.first {
            return Ok(false);
        }
        let bytes: &[u8] = row.try_get("record").map_err(|e| wrong(e.to_string()))?.unwrap_or_default();
        let length: i32 = row.try_get("length").map_err(|e| wrong(e.to_string()))?.unwrap_or(0);
        let length = usize::try_from(length).unwrap_or(0);
        self.transactions.record(&self.places, lsn, bytes, length).map_err(|e| match e {
            NotTaken::Malformed(e) => wrong(e.to_string()),
            NotTaken::Temporary(e) => Error::Temporary(e.to_string()),
        })?;
        self.transactions.make_room(KEYS_HERE_MAX, PIECES_HERE_MAX).map_err(|e| Error::Temporary(e.to_string()))?;
        self.at = lsn;
        self.first = false;
        Ok(true)
    }

    /// The server says that the log does not begin early enough.
    fn gap(&self, error: Error) -> Error {
        match error {
            Error::Statement { number: 9003 | 9005 | 9013 | 9020, said, .. } => {
                Error::Gap { from: self.at, begins: None, said }
            }
            other => other,
        }
    }

    /// Looks at the tables anew: events for those that are new, gone or of another shape.
    async fn refresh(&mut self, session: &mut Session) -> Result<(), Error> {
        let mut before: HashMap<TableId, Arc<Table>> = self.tables.drain(..).map(|t| (t.version.id, t)).collect();
        for table in catalog::tables(session).await? {
            let mut table = table.known_by_clustered_key();
            match before.remove(&table.version.id) {
                Some(old) if same_shape(&old.version, &table.version) => table.version = old.version.clone(),
                old => {
                    let version = old.map_or(1, |old| old.version.version + 1);
                    table.version = Arc::new(TableVersion { version, ..(*table.version).clone() });
                    self.events.push(SourceEvent::Table(table.version.clone()));
                }
            }
            self.tables.push(Arc::new(table));
        }
        let mut gone: Vec<Arc<Table>> = before.into_values().collect();
        gone.sort_by(|a, b| a.version.name.cmp(&b.version.name));
        let dropped: HashSet<u32> =
            self.transactions.committed.iter().flat_map(|t| t.dropped.iter().copied()).collect();
        let wanted = self.wanted.clone();
        let is_asked = |table: &TableVersion| wanted(&table.name) && !dropped.contains(&table.id.0);
        let gone = gone.into_iter().map(|table| table.version.clone()).collect();
        unseen::tell(session, gone, is_asked, &mut self.events).await?;
        self.read_places(session).await
    }
}

/// The connection that was kept, or one of the pool.
async fn session(pool: &Pool, kept: &mut Option<Pooled>) -> Result<Pooled, Error> {
    match kept.take() {
        Some(session) => Ok(session),
        None => pool.session().await,
    }
}

/// Where transactions began that are not over.
async fn active(session: &mut Session) -> Result<Vec<Lsn>, Error> {
    const DOING: &str = "ask which transactions are not over";
    let rows = session.rows(DOING, sql::ACTIVE, &[]).await?;
    rows.iter()
        .map(|row| {
            let begin = row.try_get::<tiberius::numeric::Numeric, _>("begin_lsn").ok().flatten();
            let lsn = begin.and_then(|n| u128::try_from(n.value()).ok()).and_then(Lsn::from_decimal);
            lsn.ok_or_else(|| Error::Unexpected { doing: DOING.to_owned(), what: "a begin is no LSN".to_owned() })
        })
        .collect()
}

/// Whether two versions mean the same: the last identity value and the notes do not count.
pub(crate) fn same_shape(a: &TableVersion, b: &TableVersion) -> bool {
    let plain = |t: &TableVersion| {
        let mut t = TableVersion { version: 0, notes: Vec::new(), ..t.clone() };
        for column in &mut t.columns {
            if let Some(identity) = &mut column.identity {
                identity.last = None;
            }
        }
        t
    };
    plain(a) == plain(b)
}

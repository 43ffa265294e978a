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
mod places;
mod spill;
mod transactions;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use logferry_model::{
    Change, ChangeOp, Checkpoint, CommitLsn, EventBatch, Lineage, Lsn, RestartLsn, RowRef, RowStore, SourceEvent,
    TableId, TableVersion, TransactionHead,
};
use tiberius::ToSql;
use tracing::{debug, info, warn};

use crate::catalog::{self, Table};
use crate::chunks::{self, Boundary, Value};
use crate::error::Error;
use crate::pool::{Pool, Pooled};
use crate::session::Session;
use crate::settings::{LogSettings, OnGap};
use crate::source::Wanted;
use crate::sql;
use crate::value::Form;
use backups::Reached;
use end::{End, Pace};
use hold::Hold;
use places::{Key, Places, cells};
use spill::SpilledKeys;
use transactions::{Touched, Transactions};

/// Records that are asked for at a time: a few seconds of a busy log, some MB.
const RECORDS_MAX: i64 = 50_000;
/// Keys of open and committed transactions that are kept in memory: some 30 MB.
const KEYS_HERE_MAX: usize = 250_000;
/// Rows that are looked up by one statement. Two sizes, so that the server keeps two plans per table.
const KEYS_MAX: usize = 128;
const KEYS_FEW: usize = 8;
/// How often, and after what, it is asked whether a committed transaction is over: two seconds in all.
const ENDS_ASKED_MAX: u32 = 200;
const ENDS_ASKED_AFTER: Duration = Duration::from_millis(10);

/// Transactions whose locks change no rows: an index is made, rebuilt or dropped.
const ROWS_STAY: &[&str] = &["ALTER INDEX", "CREATE INDEX", "DROP INDEX", "CREATE STATISTICS", "UPDATE STATISTICS"];

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

/// Rows that are being read.
struct Round {
    session: Pooled,
    /// What comes before the transaction.
    events: Vec<SourceEvent>,
    head: Option<TransactionHead>,
    items: VecDeque<Item>,
    checkpoint: Checkpoint,
}

enum Item {
    /// Rows of these keys.
    Keys(Arc<Table>, Vec<Key>),
    /// Rows of keys in a file.
    Spilled(Arc<Table>, SpilledKeys),
    /// All rows are to go,
    Truncate(Arc<Table>),
    /// and a range of them to come.
    Range(Arc<Table>, Arc<Vec<Boundary>>, usize),
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

    /// The next events; none where nothing happened.
    pub(crate) async fn next(&mut self, bytes_max: usize) -> Result<EventBatch, Error> {
        loop {
            if self.round.is_some() {
                return self.go_on(bytes_max).await;
            }
            self.pace.breathe().await;
            let is_due = !self.transactions.committed.is_empty() || !self.reload.is_empty();
            if !is_due && !self.has_more().await? {
                break;
            }
            match self.read_log().await {
                Err(gap @ Error::Gap { .. }) if self.settings.on_gap == OnGap::Resync => {
                    warn!("{gap}; all tables are read anew");
                    self.begin_anew().await?;
                }
                other => other?,
            }
            if self.transactions.committed.is_empty() && self.reload.is_empty() {
                break;
            }
            self.pace.begin_round();
            self.begin_round().await?;
        }
        let mut batch = EventBatch::default();
        if self.at > self.told && self.pace.may_tell() {
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
        self.transactions.record(&self.places, lsn, bytes, length).map_err(|e| wrong(e.to_string()))?;
        self.transactions.make_room(KEYS_HERE_MAX).map_err(|e| Error::Temporary(e.to_string()))?;
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

    /// Begins to read the rows of the transactions that were committed.
    async fn begin_round(&mut self) -> Result<(), Error> {
        let mut session = session(&self.pool, &mut self.row_session).await?;
        let describes = |t: &Touched| t.describes || !t.locked.is_empty() || !t.unknown.is_empty();
        if self.transactions.committed.iter().any(describes) {
            self.refresh(&mut session).await?;
        }
        let count = self.transactions.committed.len();
        let mut unreadable = Vec::new();
        let mut whole = self.tables_to_read_whole(&mut unreadable)?;
        whole.extend(&self.reload);
        wait_for_ends(&mut session, &self.transactions.committed).await?;

        session.begin().await?;
        let touched: HashSet<TableId> =
            self.transactions.committed.iter().flat_map(|t| t.keys.keys().copied()).collect();
        let mut tables: Vec<Arc<Table>> = self
            .tables
            .iter()
            .filter(|t| touched.contains(&t.version.id) || whole.contains(&t.version.id))
            .cloned()
            .collect();
        if let Some(table) = tables.first() {
            // The first row that is read decides of which moment all are.
            let text = format!("SELECT TOP (1) 1 AS one FROM {}", chunks::from(table));
            session.rows("begin to read rows", &text, &[]).await?;
        }
        self.read_log().await?;
        let late = self.transactions.committed.get(count..).unwrap_or_default();
        if late.iter().any(describes) {
            // The tables may have another shape by now. The session is given up, and all is looked at again.
            debug!("a table changed while rows were read: once more");
            session.end().await?;
            self.row_session = Some(session);
            return Ok(());
        }
        let late: HashSet<TableId> = late.iter().flat_map(|t| t.keys.keys().copied()).collect();
        tables.extend(
            self.tables.iter().filter(|t| late.contains(&t.version.id) && !touched.contains(&t.version.id)).cloned(),
        );

        let mut items = VecDeque::new();
        for table in tables {
            let id = table.version.id;
            if self.places.refused(id).is_some() {
                continue;
            }
            if whole.contains(&id) {
                let boundaries = Arc::new(chunks::boundaries(&mut session, &table, self.chunk_bytes).await?);
                items.push_back(Item::Truncate(table.clone()));
                items.extend((0..=boundaries.len()).map(|n| Item::Range(table.clone(), boundaries.clone(), n)));
                continue;
            }
            let sets = || self.transactions.committed.iter().filter_map(|t| t.keys.get(&id));
            items.extend(sets().filter_map(|set| Some(Item::Spilled(table.clone(), set.spilled()?))));
            let keys: HashSet<&Key> = sets().flat_map(|set| set.here()).collect();
            let mut keys: Vec<Key> = keys.into_iter().cloned().collect();
            keys.sort_unstable();
            items.extend(keys.chunks(KEYS_MAX).map(|keys| Item::Keys(table.clone(), keys.to_vec())));
        }
        let handled: Vec<Touched> = self.transactions.committed.drain(..count).collect();
        self.reload.clear();
        // Of tables that are only reloaded there is no transaction: they are told as of the last one.
        let at = self.applied.applied.0;
        let reloaded = Touched { begin: at, commit: at, name: "reload".to_owned(), ..Touched::default() };
        let last = handled.last().unwrap_or(&reloaded);
        let head = TransactionHead {
            id: last.id,
            begin_lsn: last.begin,
            commit_lsn: CommitLsn(last.commit),
            commit_time_us: last.commit_time_us,
            name: last.name.clone(),
        };
        let applied = CommitLsn(last.commit.max(self.applied.applied.0));
        let mut checkpoint = Checkpoint {
            applied,
            restart: RestartLsn(applied.0),
            lineage: self.lineage,
            commit_time_us: last.commit_time_us.or(self.applied.commit_time_us),
        };
        let before = std::mem::replace(&mut self.applied.applied, applied);
        checkpoint.restart = self.restart();
        self.applied.applied = before;
        debug!(transactions = handled.len(), items = items.len(), to = %applied.0, "reading rows");
        let mut events = std::mem::take(&mut self.events);
        events.append(&mut unreadable);
        self.round = Some(Round { session, events, head: Some(head), items, checkpoint });
        Ok(())
    }

    /// Tables of which keys do not say enough.
    fn tables_to_read_whole(&self, events: &mut Vec<SourceEvent>) -> Result<HashSet<TableId>, Error> {
        let mut whole = HashSet::new();
        let known = |id: TableId| self.tables.iter().find(|t| t.version.id == id && (self.wanted)(&t.version.name));
        let mut unreadable = |table: &Arc<Table>, lsn: Lsn, why: String| {
            events.push(SourceEvent::Unreadable { table: table.version.clone(), lsn, why });
        };
        for transaction in &self.transactions.committed {
            let rows_stay = ROWS_STAY.contains(&transaction.name.as_str());
            for (&rowset, &lsn) in &transaction.unknown {
                let gone = self.transactions.gone.get(&rowset).map(|&object| TableId(object));
                match (self.places.rowset(rowset), gone) {
                    _ if rows_stay => {}
                    (Some(places::Rowset::Table(id, _)), _) => {
                        whole.insert(*id);
                    }
                    (Some(places::Rowset::Unneeded), _) => {}
                    (None, Some(id)) => {
                        if known(id).is_some() {
                            whole.insert(id);
                        }
                    }
                    (None, None) => return Err(Error::UnknownRowset { rowset, lsn }),
                }
            }
            for (&id, &lsn) in &transaction.in_place {
                if let Some(table) = known(id) {
                    let why = "a value that is kept outside of its row was changed in place: the log does not tell in which row";
                    unreadable(table, lsn, why.to_owned());
                }
            }
            for (&id, &lsn) in &transaction.unnamed {
                let Some(table) = known(id) else { continue };
                if table.size.is_some_and(|size| size.bytes <= self.chunk_bytes) {
                    whole.insert(id);
                } else {
                    let why = "a row was updated, and its record has not the primary key; the table is too large to be read whole for \
                               that (copy.chunk_mb). Mode hybrid or cdc could follow it";
                    unreadable(table, lsn, why.to_owned());
                }
            }
            // TRUNCATE and SWITCH lock the table, and give its rows other pages, or none.
            let locked = transaction.locked.iter().map(|&object| TableId(object));
            let units = transaction.units.iter().filter_map(|&unit| self.places.table_of_unit(unit));
            let altered: HashSet<TableId> = locked.chain(units).collect();
            for table in altered.into_iter().filter_map(known) {
                let id = table.version.id;
                match self.places.refused(id) {
                    Some(why) => unreadable(table, transaction.commit, why.to_owned()),
                    None if rows_stay => {}
                    None => {
                        warn!(table = %table.version.name, at = %transaction.commit, "the table was truncated or altered: it is read anew");
                        whole.insert(id);
                    }
                }
            }
        }
        Ok(whole)
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
        self.events.extend(gone.into_iter().map(|table| SourceEvent::Dropped(table.version.clone())));
        self.read_places(session).await
    }

    /// Reads rows of the round, about `bytes_max` of them.
    async fn go_on(&mut self, bytes_max: usize) -> Result<EventBatch, Error> {
        let mut batch = EventBatch::default();
        // Given back only when all has gone well: after an error the whole source is opened anew.
        let Some(mut round) = self.round.take() else { return Ok(batch) };
        batch.events.append(&mut round.events);
        if let Some(head) = round.head.take() {
            batch.events.push(SourceEvent::Begin(head));
        }
        while batch.rows.byte_len() < bytes_max {
            let Some(item) = round.items.pop_front() else {
                round.session.end().await?;
                self.row_session = Some(round.session);
                self.pace.end_round();
                batch.events.push(SourceEvent::Commit(round.checkpoint));
                self.applied = round.checkpoint;
                self.transactions.applied = round.checkpoint.applied.0;
                self.told = self.told.max(round.checkpoint.applied.0);
                self.tell_hold();
                return Ok(batch);
            };
            let item = match item {
                Item::Spilled(table, mut spilled) => {
                    let keys = spilled.next(KEYS_MAX).map_err(|e| Error::Temporary(e.to_string()))?;
                    if keys.is_empty() {
                        continue;
                    }
                    round.items.push_front(Item::Spilled(table.clone(), spilled));
                    Item::Keys(table, keys)
                }
                item => item,
            };
            perform(&mut round.session, item, round.checkpoint.applied.0, &mut batch).await?;
        }
        self.round = Some(round);
        Ok(batch)
    }
}

/// Reads rows into a batch.
async fn perform(session: &mut Session, item: Item, lsn: Lsn, batch: &mut EventBatch) -> Result<(), Error> {
    let (table, filter, values) = match item {
        Item::Spilled(..) => return Ok(()),
        Item::Truncate(table) => {
            push(batch, &table, lsn, ChangeOp::Truncate);
            return Ok(());
        }
        Item::Range(table, boundaries, number) => {
            let found = chunks::filter(table.order.as_ref(), &boundaries, number);
            let (filter, values) = found.unwrap_or_default();
            (table, filter, values)
        }
        Item::Keys(table, keys) => {
            for key in &keys {
                let before = key_row(&table, key, &mut batch.rows);
                push(batch, &table, lsn, ChangeOp::Delete { before });
            }
            let (filter, values) = by_key(&table, &keys)?;
            (table, filter, values)
        }
    };
    let form = Form::of(&table.version.columns);
    let text = format!("SELECT {} FROM {}{filter}", form.select_list(), chunks::from(&table));
    let doing = format!("read changed rows of table \"{}\"", table.version.name);
    let values: Vec<&dyn ToSql> = values.iter().map(|value| value as &dyn ToSql).collect();
    let mut answer = session.ask(&doing, &text, &values).await?;
    while let Some(row) = answer.next().await? {
        let after = form.read(row, &mut batch.rows);
        let after = after.map_err(|e| Error::Unexpected { doing: doing.clone(), what: e.to_string() })?;
        push(batch, &table, lsn, ChangeOp::Insert { after });
    }
    Ok(())
}

fn push(batch: &mut EventBatch, table: &Table, lsn: Lsn, op: ChangeOp) {
    batch.events.push(SourceEvent::Change(Change { lsn, table: table.version.clone(), op }));
}

/// A row of which only the key is known.
fn key_row(table: &Table, key: &[u8], rows: &mut RowStore) -> RowRef {
    let cells = cells(key);
    let order = table.key().map_or(&[][..], |o| o.columns.as_slice());
    let mut row = rows.start_row();
    for column in &table.version.columns {
        match order.iter().position(|c| c.name == column.name).and_then(|at| cells.get(at)) {
            Some(cell) => row.value(|out| out.extend_from_slice(cell)),
            None => row.unchanged(),
        }
    }
    row.finish()
}

/// The rows of some keys. The last key fills the places that are left, so that there are two texts per table.
fn by_key(table: &Table, keys: &[Key]) -> Result<(String, Vec<Value>), Error> {
    let order = table.key().map_or(&[][..], |o| o.columns.as_slice());
    let mut values = Vec::new();
    for key in keys {
        for (column, cell) in order.iter().zip(cells(key)) {
            let value = Value::of(&column.sql_type, cell)
                .ok_or_else(|| Error::Key { table: table.version.name.to_string(), column: column.name.clone() })?;
            values.push(value);
        }
    }
    let places = if keys.len() <= KEYS_FEW { KEYS_FEW } else { KEYS_MAX };
    let last: Vec<Value> = values.get(values.len().saturating_sub(order.len())..).unwrap_or_default().to_vec();
    for _ in keys.len()..places {
        values.extend_from_slice(&last);
    }
    Ok((format!(" WHERE {}", chunks::any_of(order, places)), values))
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

/// Waits until what the log says is committed is what others see.
async fn wait_for_ends(session: &mut Session, committed: &[Touched]) -> Result<(), Error> {
    let begins: HashSet<Lsn> = committed.iter().map(|t| t.begin).collect();
    for _ in 0..ENDS_ASKED_MAX {
        if !active(session).await?.iter().any(|begin| begins.contains(begin)) {
            return Ok(());
        }
        tokio::time::sleep(ENDS_ASKED_AFTER).await;
    }
    info!("a transaction that the log calls committed is still active: its secondaries may be slow");
    Err(Error::Broken {
        doing: "read the rows of a committed transaction".to_owned(),
        said: "the server still calls it active".to_owned(),
    })
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

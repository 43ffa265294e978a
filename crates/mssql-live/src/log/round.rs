//! A round: the rows of the keys that transactions touched, as of one moment.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use logferry_model::{
    Change, ChangeOp, Checkpoint, CommitLsn, EventBatch, Lsn, RestartLsn, RowRef, RowStore, SourceEvent, TableId,
    TransactionHead,
};
use tracing::{debug, info, warn};

use super::places::{Key, Rowset, cells};
use super::spill::SpilledKeys;
use super::transactions::Touched;
use super::{LogReader, active, session};
use crate::catalog::Table;
use crate::chunks::{self, Boundary, Value};
use crate::error::Error;
use crate::pool::Pooled;
use crate::reading::{By, Reading, Work};
use crate::session::Session;
use crate::value::Form;

/// Rows that are looked up by one statement. Two sizes, so that the server keeps two plans per table.
const KEYS_MAX: usize = 128;
const KEYS_FEW: usize = 8;
/// How often, and after what, it is asked whether a committed transaction is over: two seconds in all.
const ENDS_ASKED_MAX: u32 = 200;
const ENDS_ASKED_AFTER: Duration = Duration::from_millis(10);

/// Rows that are being read.
pub(super) struct Round {
    /// The connection whose transaction sees the moment, where it does not read.
    session: Option<Box<Pooled>>,
    /// A statement whose rows were not read to their end: there may be more of them than memory has room for.
    reading: Option<(Arc<Table>, Reading)>,
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
    /// Begins to read the rows of the transactions that were committed.
    pub(super) async fn begin_round(&mut self) -> Result<(), Error> {
        let mut session = session(&self.pool, &mut self.row_session).await?;
        let describes =
            |t: &Touched| t.describes || !t.locked.is_empty() || !t.unknown.is_empty() || !t.loaded.is_empty();
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
        if items.is_empty() && events.is_empty() {
            // Definitions and the like: nobody waits for them, only the position moves.
            session.end().await?;
            self.row_session = Some(session);
            return Ok(());
        }
        self.round = Some(Round {
            session: Some(Box::new(session)),
            reading: None,
            events,
            head: Some(head),
            items,
            checkpoint,
        });
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
            let rows_stay = transaction.keeps_rows();
            for (&rowset, &lsn) in &transaction.unknown {
                let gone = self.transactions.gone.get(&rowset).map(|object| object.map(TableId));
                match (self.places.rowset(rowset), gone) {
                    _ if rows_stay => {}
                    (Some(Rowset::Table(id, _)), _) => {
                        whole.insert(*id);
                    }
                    (Some(Rowset::Unneeded), _) => {}
                    (None, Some(None)) => {}
                    (None, Some(Some(id))) => {
                        if known(id).is_some() {
                            whole.insert(id);
                        }
                    }
                    (None, None) => return Err(Error::UnknownRowset { rowset, lsn }),
                }
            }
            for (&unit, &lsn) in transaction.loaded.iter().filter(|_| !rows_stay) {
                let found = self.places.unit(unit).or_else(|| Some(self.transactions.gone_unit(unit)?.map(TableId)));
                let id = found.ok_or(Error::UnknownUnit { unit, lsn })?;
                if let Some(table) = id.and_then(known) {
                    warn!(table = %table.version.name, at = %lsn, "rows were loaded in bulk, and the log does not name each: the table is read anew");
                    whole.insert(table.version.id);
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
                    let large = match table.size {
                        Some(_) => "the table is too large to be read whole for that (copy.chunk_mb)",
                        None => {
                            "how large the table is, and whether it can be read whole for that, is not shown (VIEW DATABASE STATE)"
                        }
                    };
                    let why = format!(
                        "a row was updated, and its record has not the primary key; {large}. Mode hybrid or cdc could follow it"
                    );
                    unreadable(table, lsn, why);
                }
            }
            // TRUNCATE and SWITCH lock the table, and give its rows other pages, or none.
            let locked = transaction.locked.iter().map(|&object| TableId(object));
            let units = transaction.units.iter().filter_map(|&unit| self.places.unit(unit).flatten());
            let rowsets = transaction.rowsets.iter().filter_map(|&rowset| match self.places.rowset(rowset) {
                Some(Rowset::Table(id, _)) => Some(*id),
                _ => None,
            });
            let altered: HashSet<TableId> = locked.chain(units).chain(rowsets).collect();
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

    /// Reads rows of the round, about `bytes_max` of them.
    pub(super) async fn go_on(&mut self, bytes_max: usize) -> Result<EventBatch, Error> {
        let mut batch = EventBatch::default();
        // Given back only when all has gone well: after an error the whole source is opened anew.
        let Some(mut round) = self.round.take() else { return Ok(batch) };
        batch.events.append(&mut round.events);
        if let Some(head) = round.head.take() {
            batch.events.push(SourceEvent::Begin(head));
        }
        let lsn = round.checkpoint.applied.0;
        while batch.rows.byte_len() < bytes_max {
            if let Some((table, mut reading)) = round.reading.take() {
                match reading.next().await? {
                    Some((store, refs)) => {
                        for row in refs {
                            let after = batch.rows.push_row(store.row(row).cells());
                            push(&mut batch, &table, lsn, ChangeOp::Insert { after });
                        }
                        round.reading = Some((table, reading));
                    }
                    None => round.session = reading.session(),
                }
                continue;
            }
            let mut session = round.session.take().ok_or_else(no_session)?;
            let Some(item) = round.items.pop_front() else {
                session.end().await?;
                self.row_session = Some(*session);
                self.pace.end_round();
                batch.events.push(SourceEvent::Commit(round.checkpoint));
                self.applied = round.checkpoint;
                self.transactions.applied = round.checkpoint.applied.0;
                self.told = self.told.max(round.checkpoint.applied.0);
                self.tell_hold();
                return Ok(batch);
            };
            let (table, filter, values) = match item {
                Item::Spilled(table, mut spilled) => {
                    let keys = spilled.next(KEYS_MAX).map_err(|e| Error::Temporary(e.to_string()))?;
                    if !keys.is_empty() {
                        round.items.push_front(Item::Spilled(table.clone(), spilled));
                        round.items.push_front(Item::Keys(table, keys));
                    }
                    round.session = Some(session);
                    continue;
                }
                Item::Truncate(table) => {
                    push(&mut batch, &table, lsn, ChangeOp::Truncate);
                    round.session = Some(session);
                    continue;
                }
                Item::Range(table, boundaries, number) => {
                    let found = chunks::filter(table.order.as_ref(), &boundaries, number);
                    let (filter, values) = found.unwrap_or_default();
                    (table, filter, values)
                }
                Item::Keys(table, keys) => {
                    for key in &keys {
                        let before = key_row(&table, key, &mut batch.rows);
                        push(&mut batch, &table, lsn, ChangeOp::Delete { before });
                    }
                    let (filter, values) = by_key(&table, &keys)?;
                    (table, filter, values)
                }
            };
            let form = Form::of(&table.version.columns);
            let text = format!("SELECT {} FROM {}", form.select_list(), chunks::rows(&table, &filter));
            let doing = format!("read changed rows of table \"{}\"", table.version.name);
            let reading = Reading::begin(Work { by: By::Session(session), doing, text, values, form });
            round.reading = Some((table, reading));
        }
        self.round = Some(round);
        Ok(batch)
    }
}

fn no_session() -> Error {
    Error::Broken { doing: "read changed rows".to_owned(), said: "the connection was given up".to_owned() }
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

//! The sink: one connection, one transaction at a time.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::future::BoxFuture;
use logferry_model::{
    Cell, ChangeOp, ChangeSink, Checkpoint, Fault, Lsn, PgType, SchemaChange, TargetBatch, TargetTable,
};
use rustc_hash::FxHashMap;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{CopyInSink, Statement};

use super::ApplyMode;
use super::ensured::Ensured;
use super::keyed::{Keyed, Known, Pair};
use super::keyless::Keyless;
use super::net::{At, Changes, Net, Rows, TableNet};
use super::params::{Array, Tuples, real_array_text};
use super::schema::Later;
use super::table::{Defined, Kind};
use crate::client::Client;
use crate::ddl::ExistingTables;
use crate::door::door;
use crate::error::Error;
use crate::fence;
use crate::names::{qualified, shown};
use crate::reload::{self, ReloadRequest};
use crate::shape;
use crate::state::{self, Lease, Phase};

/// Applies batches of changes; see [`ChangeSink`].
///
/// Without a checkpoint in the batch the transaction stays open for the next one, so a large transaction
/// of the source goes through in bounded memory. After an error it can only be dropped; ask the
/// [`crate::TaskTarget`] for a new one.
pub struct PgSink {
    pub(super) client: Client,
    pub(super) lease: Lease,
    mode: ApplyMode,
    /// What becomes of a table that is there and has rows, where one of its name is new.
    pub(super) existing: ExistingTables,
    tables: Vec<Defined>,
    by_name: FxHashMap<(String, String), usize>,
    /// Tables and shapes so far.
    defined: usize,
    in_transaction: bool,
    /// From here on rows are of one moment: keys wait until then.
    pub(crate) whole_at: Option<Lsn>,
    /// What is to be done to the tables before the commit.
    pub(super) later: Vec<Later>,
    pub(super) broken: bool,
    /// Tables that are to be read once more: forgotten with the change that empties them.
    reloads: Vec<ReloadRequest>,
    notes: Vec<String>,
}

/// Arrays are joined with tables by nested loops over the key's index, whatever the planner believes: it takes a table that was
/// empty a moment ago for small. Each statement is planned anew, with the arrays that it has: a plan that was made while the table had a
/// row or two goes through the arrays for each row of the table, and would still do so when the table has a million.
const SESSION: &str = "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off; \
     SET plan_cache_mode = force_custom_plan";

/// Rows without a key have no index: the planner's own choice, knowing the arrays.
const WHOLE_TABLE: &str = "SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on; \
     SET LOCAL enable_seqscan = on";
const BY_KEY: &str = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; \
     SET LOCAL enable_seqscan = off";

/// Rows of a statement at the most, so that the arrays stay small.
const STATEMENT_ROWS_MAX: usize = 16 * 1024;
/// Bytes of a statement's arrays, about, for the same reason.
const STATEMENT_BYTES_MAX: usize = 16 * 1024 * 1024;

impl PgSink {
    pub(crate) async fn new(
        client: Client,
        lease: Lease,
        mode: ApplyMode,
        existing: ExistingTables,
    ) -> Result<Self, Error> {
        client.batch_execute(SESSION).await.map_err(Error::sql("set up the session"))?;
        let mut notes = Vec::new();
        match client.batch_execute("SET session_replication_role = replica").await {
            Ok(()) => {}
            Err(e) if e.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => notes.push(
                "triggers and foreign keys of the target fire while changes are applied: the user may not set \
                 session_replication_role (a superuser may, or since PostgreSQL 15: GRANT SET ON PARAMETER \
                 session_replication_role TO user)"
                    .to_owned(),
            ),
            Err(e) => return Err(Error::sql("set up the session")(e)),
        }
        let whole_at = state::whole_at(&client, &lease.task).await?;
        for note in &notes {
            tracing::warn!(task = lease.task, "{note}");
        }
        Ok(PgSink {
            client,
            lease,
            mode,
            existing,
            tables: Vec::new(),
            by_name: FxHashMap::default(),
            defined: 0,
            in_transaction: false,
            whole_at,
            later: Vec::new(),
            broken: false,
            reloads: Vec::new(),
            notes,
        })
    }

    /// The source will tell these tables anew. That they were asked for is forgotten in the transaction that has their rows.
    pub fn reloads(&mut self, requests: Vec<ReloadRequest>) {
        self.reloads = requests;
    }

    /// What of the target's set-up the operator should know, a sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The changes that make the copy exact, and the first checkpoint, in one transaction with the phase.
    pub(crate) async fn apply_fixups(&mut self, tables: &[Arc<TargetTable>], batch: &TargetBatch) -> Result<(), Error> {
        let what = "fixups without a checkpoint";
        let Some(checkpoint) = batch.checkpoint else {
            return Err(Error::Phase { task: self.lease.task.clone(), phase: Phase::Keys.as_str().to_owned(), what });
        };
        self.begin().await?;
        self.change(batch).await?;
        for table in tables {
            shape::write(&self.client, &self.lease.task, table).await?;
        }
        self.client
            .execute(
                "UPDATE logferry.task SET phase = $2, whole_at = $3, changed_at = now() WHERE task = $1",
                &[&self.lease.task, &Phase::Streaming.as_str(), &self.whole_at.map(|lsn| lsn.to_string())],
            )
            .await
            .map_err(self.lease.doing("record the phase"))?;
        self.commit(&checkpoint).await
    }

    async fn last_checkpoint(&self) -> Result<Option<Checkpoint>, Fault> {
        if self.broken {
            return Err(Error::Broken.into());
        }
        Ok(state::read(&self.client, &self.lease.task).await?.checkpoint)
    }

    fn alter_door<'a>(&'a mut self, changes: &'a [SchemaChange]) -> BoxFuture<'a, Result<(), Fault>> {
        door(async move {
            self.begin().await?;
            self.alter_tables(changes).await?;
            self.broken = false;
            Ok(())
        })
    }

    fn apply_door<'a>(&'a mut self, batch: &'a TargetBatch) -> BoxFuture<'a, Result<(), Fault>> {
        door(async move { Ok(self.apply_batch(batch).await?) })
    }

    async fn apply_batch(&mut self, batch: &TargetBatch) -> Result<(), Error> {
        self.begin().await?;
        self.change(batch).await?;
        match &batch.checkpoint {
            Some(checkpoint) => self.commit(checkpoint).await,
            None => {
                // Only the commit decides; this spares the rest of a long transaction that cannot commit.
                self.lease.check(&self.client).await?;
                self.broken = false;
                Ok(())
            }
        }
    }

    /// Opens the transaction, if it is not. From here on the sink is broken until all has gone well.
    pub(super) async fn begin(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.broken, true) {
            return Err(Error::Broken);
        }
        if !self.in_transaction {
            self.client.batch_execute("BEGIN").await.map_err(Error::sql("begin a transaction"))?;
            self.in_transaction = true;
        }
        Ok(())
    }

    async fn commit(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.finish_tables().await?;
        if self.whole_at.is_some_and(|lsn| lsn <= checkpoint.applied.0) {
            self.make_keys_that_waited().await?;
        }
        self.lease.write(&self.client, checkpoint).await?;
        self.client.batch_execute("COMMIT").await.map_err(|e| {
            let what = format!("changes up to {}", checkpoint.applied.0);
            match e.as_db_error() {
                // A deferred constraint: the server says that it did not commit.
                Some(_) => Error::Sql { doing: format!("commit {what}"), said: e.into() },
                None => Error::CommitUnknown { what, said: e.into() },
            }
        })?;
        self.in_transaction = false;
        self.broken = false;
        Ok(())
    }

    /// A table that is emptied, by whatever, is told anew from there on.
    async fn forget_reloads(&mut self, batch: &TargetBatch) -> Result<(), Error> {
        for change in batch.changes.iter().filter(|change| matches!(change.op, ChangeOp::Truncate)) {
            while let Some(at) = self.reloads.iter().position(|request| request.table == change.table.source_id) {
                reload::forget(&self.client, &self.lease.task, self.reloads.swap_remove(at)).await?;
            }
        }
        Ok(())
    }

    async fn change(&mut self, batch: &TargetBatch) -> Result<(), Error> {
        for &fence in &batch.fences {
            fence::write(&self.client, &self.lease.task, fence).await?;
        }
        if batch.changes.is_empty() {
            return Ok(());
        }
        if !self.reloads.is_empty() {
            self.forget_reloads(batch).await?;
        }
        let net = Net::of(batch, self.mode)?;
        for table in &net.tables {
            let name = (table.table.schema.clone(), table.table.name.clone());
            let at = self.by_name.get(&name).copied().filter(|&at| *self.tables[at].table == *table.table);
            let at = at.ok_or_else(|| Error::Undefined { table: shown(&table.table) })?;
            let mut one = OneTable { client: &self.client, defined: &mut self.tables[at], rows: &net.rows };
            one.apply(table).await?;
        }
        Ok(())
    }
}

impl ChangeSink for PgSink {
    fn resume_point(&mut self) -> impl Future<Output = Result<Option<Checkpoint>, Fault>> + Send {
        door(self.last_checkpoint())
    }

    async fn alter(&mut self, changes: &[SchemaChange]) -> Result<(), Fault> {
        self.alter_door(changes).await
    }

    async fn define(&mut self, table: Arc<TargetTable>) -> Result<(), Fault> {
        let name = (table.schema.clone(), table.name.clone());
        match self.by_name.get(&name) {
            Some(&at) if *self.tables[at].table == *table => return Ok(()),
            // Its statements go; its temporary table stays, so the new shape gets a number of its own.
            Some(&at) => self.tables[at] = Defined::new(table, self.defined),
            None => {
                self.by_name.insert(name, self.tables.len());
                self.tables.push(Defined::new(table, self.defined));
            }
        }
        self.defined += 1;
        Ok(())
    }

    async fn apply(&mut self, batch: &TargetBatch) -> Result<(), Fault> {
        self.apply_door(batch).await
    }
}

/// The changes of one table in one batch.
struct OneTable<'a, 'b> {
    client: &'a Client,
    defined: &'a mut Defined,
    rows: &'a Rows<'b>,
}

impl OneTable<'_, '_> {
    async fn apply(&mut self, net: &TableNet) -> Result<(), Error> {
        if net.truncated {
            let sql = format!("TRUNCATE {}", qualified(&net.table));
            self.run(&sql, "truncate table").await?;
        }
        match &net.changes {
            Changes::Keyed(keyed) => self.keyed(keyed).await,
            Changes::Keyless(keyless) => self.keyless(keyless).await,
            Changes::Ensured(ensured) => self.ensured(ensured).await,
        }
    }

    async fn keyed(&mut self, keyed: &Keyed) -> Result<(), Error> {
        let rows = self.rows;
        let table = self.defined.table.clone();
        let (key, values) = (table.key.clone(), self.defined.values.clone());
        let work = keyed.work(&table, rows);
        if !work.fetches.is_empty() {
            // Made by the statement's first preparation.
            let statement = self.defined.statement(self.client, Kind::PutAside).await?;
            let sql = format!("DELETE FROM {}", self.defined.aside_name());
            self.run(&sql, "empty the temporary table of").await?;
            self.in_parts(&statement, "an update", &work.fetches, key.len(), |&at, arrays| {
                push(&table, arrays, rows, at, &key);
            })
            .await?;
        }
        if !work.deletes.is_empty() {
            let statement = self.defined.statement(self.client, Kind::Delete).await?;
            self.in_parts(&statement, "a delete", &work.deletes, key.len(), |&at, arrays| {
                push(&table, arrays, rows, at, &key)
            })
            .await?;
        }
        if !work.updates.is_empty() {
            let statement = self.defined.statement(self.client, Kind::Update).await?;
            self.in_parts(&statement, "an update", &work.updates, table.columns.len(), |pair, arrays| {
                let (keys, others) = arrays.split_at_mut(key.len());
                push(&table, keys, rows, pair.key, &key);
                push(&table, others, rows, pair.row, &values);
            })
            .await?;
        }
        for (known, pairs) in by_known(rows, &work.partial_updates) {
            let columns = self.defined.known_values(&known);
            if columns.is_empty() {
                continue;
            }
            let statement = self.defined.statement(self.client, Kind::PartialUpdate(known)).await?;
            self.in_parts(&statement, "an update", &pairs, key.len() + columns.len(), |pair, arrays| {
                let (keys, others) = arrays.split_at_mut(key.len());
                push(&table, keys, rows, pair.key, &key);
                push(&table, others, rows, pair.row, &columns);
            })
            .await?;
        }
        if !work.moves.is_empty() {
            // The rows put aside have no index.
            self.run(WHOLE_TABLE, "set up the changes of").await?;
            for (known, pairs) in by_known(rows, &work.moves) {
                let columns = self.defined.known_columns(&known);
                let statement = self.defined.statement(self.client, Kind::BringBack(known)).await?;
                self.in_parts(&statement, "an update", &pairs, key.len() + columns.len(), |pair, arrays| {
                    let (keys, others) = arrays.split_at_mut(key.len());
                    push(&table, keys, rows, pair.key, &key);
                    push(&table, others, rows, pair.row, &columns);
                })
                .await?;
            }
            self.run(BY_KEY, "set up the changes of").await?;
        }
        self.insert(&work.inserts).await
    }

    async fn ensured(&mut self, ensured: &Ensured) -> Result<(), Error> {
        let rows = self.rows;
        let table = self.defined.table.clone();
        let statement = self.defined.statement(self.client, Kind::Delete).await?;
        for keys in ensured.deletes(&table, rows).chunks(STATEMENT_ROWS_MAX) {
            let mut arrays: Vec<Array> = (0..table.key.len()).map(|_| Array::new()).collect();
            for &at in keys {
                push(&table, &mut arrays, rows, at, &table.key);
            }
            let params: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|a| a as _).collect();
            // However many there were.
            let done = self.client.execute(&statement, &params).await;
            done.map_err(|e| self.refused("a delete", keys.len() as u64, e))?;
        }
        for (known, pairs) in by_known(rows, &ensured.patches()) {
            let columns = self.defined.known_values(&known);
            if columns.is_empty() {
                continue;
            }
            let statement = self.defined.statement(self.client, Kind::PartialUpdate(known)).await?;
            for pairs in pairs.chunks(STATEMENT_ROWS_MAX) {
                let mut arrays: Vec<Array> = (0..table.key.len() + columns.len()).map(|_| Array::new()).collect();
                for pair in pairs {
                    let (keys, others) = arrays.split_at_mut(table.key.len());
                    push(&table, keys, rows, pair.key, &table.key);
                    push(&table, others, rows, pair.row, &columns);
                }
                let params: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|a| a as _).collect();
                let done = self.client.execute(&statement, &params).await;
                done.map_err(|e| self.refused("an update", pairs.len() as u64, e))?;
            }
        }
        self.insert(&ensured.inserts()).await
    }

    async fn keyless(&mut self, keyless: &Keyless) -> Result<(), Error> {
        let rows = self.rows;
        let removals = keyless.removals();
        if !removals.is_empty() {
            self.run(WHOLE_TABLE, "set up the changes of").await?;
            let nullable = self.defined.table.columns.iter().map(|column| column.nullable);
            let is_hollow = |(at, _): &(At, i64)| {
                rows.row(*at).cells().zip(nullable.clone()).any(|(cell, nullable)| cell == Cell::Null && !nullable)
            };
            let kind = if removals.iter().any(is_hollow) { Kind::RemoveHollow } else { Kind::Remove };
            let statement = self.defined.statement(self.client, kind).await?;
            let columns: Vec<usize> = (0..self.defined.table.columns.len()).collect();
            let width = columns.len() + 1;
            let weight = |(_, n): &(At, i64)| *n as u64;
            let table = self.defined.table.clone();
            self.in_weighted_parts(&statement, "a delete", &removals, width, weight, |(at, n), arrays| {
                let (cells, count) = arrays.split_at_mut(columns.len());
                push(&table, cells, rows, *at, &columns);
                for array in count {
                    array.push(Cell::Bytes(&n.to_be_bytes()));
                }
            })
            .await?;
            self.run(BY_KEY, "set up the changes of").await?;
        }
        self.insert(&keyless.additions()).await
    }

    async fn insert(&mut self, inserts: &[At]) -> Result<(), Error> {
        if inserts.is_empty() {
            return Ok(());
        }
        let (op, expected) = ("an insert", inserts.len() as u64);
        let statement = self.defined.statement(self.client, Kind::Copy).await?;
        // All rows are at hand: whatever takes long, the server does.
        let _waiting = self.client.waiting();
        let starting = self.client.copy_in(&statement).await;
        let mut copy: Pin<Box<CopyInSink<Bytes>>> = Box::pin(starting.map_err(|e| self.refused(op, expected, e))?);
        let mut tuples = Tuples::new();
        for &at in inserts {
            let row = self.rows.row(at);
            tuples.begin(row.len());
            for cell in row.cells() {
                for part in tuples.cell(cell) {
                    if let Some(piece) = tuples.part(part) {
                        copy.feed(piece).await.map_err(|e| self.refused(op, expected, e))?;
                    }
                }
            }
        }
        copy.feed(tuples.finish()).await.map_err(|e| self.refused(op, expected, e))?;
        let found = copy.as_mut().finish().await.map_err(|e| self.refused(op, expected, e))?;
        self.exactly(op, expected, found)
    }

    /// Runs a statement over items, a bounded number at a time; each must hit one row.
    async fn in_parts<T>(
        &self,
        statement: &Statement,
        op: &'static str,
        items: &[T],
        width: usize,
        fill: impl Fn(&T, &mut [Array]),
    ) -> Result<(), Error> {
        self.in_weighted_parts(statement, op, items, width, |_| 1, fill).await
    }

    /// The same where an item must hit `weight` rows.
    async fn in_weighted_parts<T>(
        &self,
        statement: &Statement,
        op: &'static str,
        items: &[T],
        width: usize,
        weight: impl Fn(&T) -> u64,
        fill: impl Fn(&T, &mut [Array]),
    ) -> Result<(), Error> {
        let mut rest = items;
        while !rest.is_empty() {
            let mut arrays: Vec<Array> = (0..width).map(|_| Array::new()).collect();
            let (mut taken, mut expected) = (0, 0);
            while let Some(item) = rest.get(taken) {
                fill(item, &mut arrays);
                expected += weight(item);
                taken += 1;
                let bytes: usize = arrays.iter().map(Array::byte_len).sum();
                if taken == STATEMENT_ROWS_MAX || bytes > STATEMENT_BYTES_MAX {
                    break;
                }
            }
            rest = &rest[taken..];
            let params: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|a| a as _).collect();
            let done = self.client.execute(statement, &params).await;
            self.exactly(op, expected, done.map_err(|e| self.refused(op, expected, e))?)?;
        }
        Ok(())
    }

    async fn run(&self, sql: &str, doing: &str) -> Result<(), Error> {
        let doing = Error::sql(format!("{doing} {}", shown(&self.defined.table)));
        self.client.batch_execute(sql).await.map_err(doing)
    }

    fn exactly(&self, op: &'static str, expected: u64, found: u64) -> Result<(), Error> {
        if found == expected {
            return Ok(());
        }
        Err(Error::Diverged { table: shown(&self.defined.table), op, expected, found })
    }

    fn refused(&self, op: &'static str, rows: u64, e: tokio_postgres::Error) -> Error {
        let table = shown(&self.defined.table);
        match e.code() {
            None => Error::Sql { doing: format!("apply {op} to table {table}"), said: e.into() },
            Some(code) if *code == SqlState::UNIQUE_VIOLATION => Error::Duplicate { table, op, rows, said: e.into() },
            Some(_) => Error::Refused { table, op, rows, said: e.into() },
        }
    }
}

fn push(table: &TargetTable, arrays: &mut [Array], rows: &Rows<'_>, at: At, columns: &[usize]) {
    let row = rows.row(at);
    for (array, &column) in arrays.iter_mut().zip(columns) {
        match (&table.columns[column].pg_type, row.cell(column)) {
            (PgType::Float4Array, Cell::Bytes(bytes)) => array.push(Cell::Bytes(real_array_text(bytes).as_bytes())),
            (_, cell) => array.push(cell),
        }
    }
}

/// Partial rows by which columns they know.
fn by_known(rows: &Rows<'_>, pairs: &[Pair]) -> Vec<(Known, Vec<Pair>)> {
    let mut groups: FxHashMap<Known, Vec<Pair>> = FxHashMap::default();
    for &pair in pairs {
        groups.entry(Known::of(rows.row(pair.row))).or_default().push(pair);
    }
    groups.into_iter().collect()
}

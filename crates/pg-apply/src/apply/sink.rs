//! The sink: one connection, one transaction at a time.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use logferry_model::{ChangeOp, ChangeSink, Checkpoint, Fault, Lsn, SchemaChange, TargetBatch, TargetTable};
use rustc_hash::FxHashMap;
use tokio_postgres::error::SqlState;

use super::ApplyMode;
use super::net::Net;
use super::one_table::OneTable;
use super::schema::Later;
use super::table::Defined;
use super::unique::Gone;
use super::waiting::{Waiting, none_waits};
use crate::client::Client;
use crate::ddl::ExistingTables;
use crate::door::door;
use crate::error::Error;
use crate::fence;
use crate::names::shown;
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
    pub(super) mode: ApplyMode,
    /// What becomes of a table that is there and has rows, where one of its name is new.
    pub(super) existing: ExistingTables,
    pub(super) tables: Vec<Defined>,
    by_name: FxHashMap<(String, String), usize>,
    /// Tables and shapes so far.
    pub(super) defined: usize,
    in_transaction: bool,
    /// The transaction has had a batch that did not end it.
    pub(super) parted: bool,
    /// Rows of the transaction whose keys other rows have.
    pub(super) waiting: Vec<Waiting>,
    /// Unique indexes that are made again before the commit.
    pub(super) gone: Vec<Gone>,
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
            parted: false,
            waiting: Vec::new(),
            gone: Vec::new(),
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
            none_waits(&mut self.waiting, self.mode)?;
            // Under the names that they have.
            self.make_unique_again().await?;
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
        self.parted |= batch.checkpoint.is_none();
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
        none_waits(&mut self.waiting, self.mode)?;
        self.finish_tables().await?;
        self.make_unique_again().await?;
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
        self.parted = false;
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
        let mut net = Net::of(batch, self.mode, &mut self.waiting)?;
        for table in &mut net.tables {
            let name = (table.table.schema.clone(), table.table.name.clone());
            let at = self.by_name.get(&name).copied().filter(|&at| *self.tables[at].table == *table.table);
            let at = at.ok_or_else(|| Error::Undefined { table: shown(&table.table) })?;
            if self.parted {
                self.meet(at, &mut net.rows, table).await?;
                self.apply_part(at, &net.rows, table).await?;
            } else {
                let mut one = OneTable { client: &self.client, defined: &mut self.tables[at], rows: &net.rows };
                one.apply(table).await?;
            }
            self.keep_waiting(&net.rows, table)?;
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

//! A task on the target, from nothing to streaming.
//!
//! ```text
//!  Created ── create_tables ──> Copying ── copy_chunk ... ──┐
//!                                  │   <────────────────────┘
//!                             finish_copy: all chunks are counted
//!                                  v
//!                                Keys ── keys, identities, statistics ── fixups + first checkpoint ──> Streaming
//! ```
//!
//! Each arrow is a transaction that also records the new phase, or work that can be done again. So a
//! process that is killed anywhere calls the same functions again and goes on where it was.

use std::sync::Arc;

use logferry_model::{ChangeSink, Fault, Fence, Lsn, SnapshotPoint, TableId, TargetBatch, TargetTable};
use tokio::sync::Mutex;

use crate::apply::{ApplyMode, PgSink};
use crate::client::Client;
use crate::connect::{Pool, Pooled, Target, pooled};
use crate::copy::{self, ChunkCopy, ChunkDone};
use crate::ddl::{self, ExistingTables};
use crate::error::Error;
use crate::fence;
use crate::names::{qualified, shown};
use crate::reload::{self, ReloadRequest};
use crate::shape::{self, KnownTable};
use crate::state::{self, Lease, Phase, TaskState};

/// What a task needs to know to write to its target.
#[derive(Clone, Debug)]
pub struct TaskSettings {
    /// Its name: the same name goes on where it stopped.
    pub task: String,
    /// Any bytes that change when settings change which a copy depends on. Stored, and given back at the next
    /// opening; what a difference means is for the caller to say.
    pub settings_hash: Vec<u8>,
    /// What happens to tables that are there before the first run.
    pub existing_tables: ExistingTables,
    /// Whether tables are made; else all of them must be there.
    pub make_tables: bool,
    /// Connections for the copy at the most.
    pub connections_max: u32,
    /// Whether statistics are collected after the copy. Without them the first changes may run slowly.
    pub analyze: bool,
    /// What the source's changes mean.
    pub mode: ApplyMode,
}

impl TaskSettings {
    /// Settings of a task with nothing special.
    pub fn new(task: impl Into<String>) -> Self {
        TaskSettings {
            task: task.into(),
            settings_hash: Vec::new(),
            existing_tables: ExistingTables::Error,
            make_tables: true,
            connections_max: 4,
            analyze: true,
            mode: ApplyMode::Exact,
        }
    }
}

/// A table and the number of chunks that it is copied in.
pub type TableChunks = (Arc<TargetTable>, u64);

/// A task that this process has the lease of.
pub struct TaskTarget {
    target: Target,
    pool: Pool,
    settings: TaskSettings,
    lease: Mutex<Lease>,
}

impl TaskTarget {
    /// Connects, makes the state tables, and takes the task: whoever had it can commit nothing from here on.
    ///
    /// After a transient fault do not open it again, which would take it back from a successor: ask for
    /// a new [`Self::sink`], or copy the chunk again.
    ///
    /// # Errors
    /// Where the server cannot be reached or lacks a right; where the state is of a newer logferry.
    pub async fn open(target: &Target, settings: TaskSettings) -> Result<(Self, TaskState), Fault> {
        let pool = target.pool(settings.connections_max);
        let mut connection = pooled(&pool).await?;
        connection.poisoned = true;
        state::migrate(connection.client()).await?;
        let (lease, state) = state::open(connection.client(), &settings.task, &settings.settings_hash).await?;
        connection.poisoned = false;
        drop(connection);
        tracing::info!(
            task = settings.task,
            epoch = lease.epoch,
            phase = state.phase.as_str(),
            "task opened on the target"
        );
        Ok((TaskTarget { target: target.clone(), pool, settings, lease: Mutex::new(lease) }, state))
    }

    /// Reads the state as it is now.
    ///
    /// # Errors
    /// Where the server cannot be reached.
    pub async fn state(&self) -> Result<TaskState, Fault> {
        let connection = pooled(&self.pool).await?;
        Ok(state::read(connection.client(), &self.settings.task).await?)
    }

    /// Makes the tables for the copy of a snapshot, or finds those that it made before.
    ///
    /// Where an earlier copy was of another snapshot, its rows are thrown away. Afterwards the phase is
    /// [`Phase::Copying`], or [`Phase::Keys`] where the copy of this snapshot was complete already.
    ///
    /// # Errors
    /// Where tables are there that should not be: all of them are named, and nothing is changed.
    pub async fn create_tables(&self, tables: &[Arc<TargetTable>], snapshot: &SnapshotPoint) -> Result<Phase, Fault> {
        self.create_tables_of(tables, snapshot, &[]).await
    }

    /// The same, and keeps what the source needs to have the snapshot again.
    ///
    /// # Errors
    /// As [`Self::create_tables`].
    pub async fn create_tables_of(
        &self,
        tables: &[Arc<TargetTable>],
        snapshot: &SnapshotPoint,
        memo: &[u8],
    ) -> Result<Phase, Fault> {
        ddl::keys(tables)?;
        for note in tables.iter().flat_map(|t| ddl::notes(t).into_iter().map(move |n| (t, n))) {
            tracing::warn!(table = shown(note.0), "{}", note.1);
        }
        let lease = self.lease().await;
        let mut connection = self.begin(&lease, "create the tables").await?;
        let client = connection.client();
        let state = state::read(client, &lease.task).await?;
        let same_snapshot = state.snapshot == Some(snapshot.id);
        let phase = match state.phase {
            Phase::Created => {
                self.first_tables(client, tables).await?;
                Phase::Copying
            }
            Phase::Copying | Phase::Keys if same_snapshot => {
                self.missing_tables(client, &lease, tables).await?;
                state.phase
            }
            Phase::Copying | Phase::Keys => {
                self.missing_tables(client, &lease, tables).await?;
                empty(client, tables).await?;
                client
                    .execute("DELETE FROM logferry.chunk WHERE task = $1", &[&lease.task])
                    .await
                    .map_err(lease.doing("forget the chunks"))?;
                client
                    .execute("DELETE FROM logferry.fence WHERE task = $1", &[&lease.task])
                    .await
                    .map_err(lease.doing("forget the fences"))?;
                Phase::Copying
            }
            Phase::Streaming => return Err(self.out_of_phase(state.phase, "creating tables").into()),
        };
        client
            .execute(
                "UPDATE logferry.task SET phase = $2, snapshot = $3, memo = $4, changed_at = now() WHERE task = $1",
                &[&lease.task, &phase.as_str(), &&snapshot.id[..], &memo],
            )
            .await
            .map_err(lease.doing("record the phase"))?;
        commit(&mut connection, "the tables").await?;
        Ok(phase)
    }

    /// Makes the tables, with their keys, in one transaction, and nothing else: the task is as it was.
    ///
    /// # Errors
    /// As [`Self::create_tables`]; where the task has rows already.
    pub async fn make_tables(&self, tables: &[Arc<TargetTable>]) -> Result<(), Fault> {
        let lease = self.lease().await;
        let mut connection = self.begin(&lease, "make the tables").await?;
        self.prepare_tables(connection.client(), &lease, tables).await?;
        commit(&mut connection, "the tables").await?;
        Ok(())
    }

    /// Takes tables as they are, in one transaction: changes are applied to them from a position on. Those that are missing are made, if
    /// that is allowed. Gives the sink that streams on.
    ///
    /// # Errors
    /// As [`Self::create_tables`]; where the task has rows already.
    pub async fn adopt_tables(&self, tables: &[Arc<TargetTable>], at: &SnapshotPoint) -> Result<PgSink, Fault> {
        let lease = self.lease().await;
        let mut connection = self.begin(&lease, "take the tables").await?;
        let client = connection.client();
        self.prepare_tables(client, &lease, tables).await?;
        for table in tables {
            shape::write(client, &lease.task, table).await?;
        }
        client
            .execute(
                "UPDATE logferry.task SET phase = $2, snapshot = $3, changed_at = now() WHERE task = $1",
                &[&lease.task, &Phase::Streaming.as_str(), &&at.id[..]],
            )
            .await
            .map_err(lease.doing("record the phase"))?;
        lease.write(client, &at.checkpoint).await?;
        commit(&mut connection, "the tables").await?;
        self.sink().await
    }

    async fn prepare_tables(&self, client: &Client, lease: &Lease, tables: &[Arc<TargetTable>]) -> Result<(), Error> {
        let keys = ddl::keys(tables)?;
        let phase = state::read(client, &lease.task).await?.phase;
        if phase != Phase::Created {
            return Err(self.out_of_phase(phase, "making tables without a copy"));
        }
        self.first_tables(client, tables).await?;
        for (at, table) in tables.iter().enumerate() {
            let keys: Vec<_> = keys.iter().filter(|k| k.table == at).cloned().collect();
            complete_table(client, table, &keys, false).await?;
        }
        Ok(())
    }

    /// The chunks that are on the target.
    ///
    /// # Errors
    /// Where the server cannot be reached.
    pub async fn finished_chunks(&self) -> Result<Vec<ChunkDone>, Fault> {
        let connection = pooled(&self.pool).await?;
        Ok(copy::finished(connection.client(), &self.settings.task).await?)
    }

    /// Starts to copy a chunk, on a connection of its own: waits while all are in use.
    ///
    /// # Errors
    /// Where the table cannot be written to, or the lease is lost.
    pub async fn copy_chunk(&self, table: &TargetTable, number: u32) -> Result<ChunkCopy, Fault> {
        Ok(ChunkCopy::start(&self.pool, self.lease().await, table, number).await?)
    }

    /// Ends the copy: counts the chunks, makes the keys, restarts the identities, and applies the fixups with the first
    /// checkpoint. Can be called again after a fault. Gives the sink that streams on.
    ///
    /// # Errors
    /// Where chunks are missing, or the rows contradict a key.
    pub async fn finish_copy(&self, tables: &[TableChunks], fixups: &TargetBatch) -> Result<PgSink, Fault> {
        self.finish_copy_whole_at(tables, fixups, None).await
    }

    /// The same where rows are of one moment only from a position on: keys by which no row is found are made then.
    ///
    /// # Errors
    /// As [`Self::finish_copy`].
    pub async fn finish_copy_whole_at(
        &self,
        tables: &[TableChunks],
        fixups: &TargetBatch,
        whole_at: Option<Lsn>,
    ) -> Result<PgSink, Fault> {
        self.enter_keys(tables).await?;
        self.make_keys(tables, whole_at.is_some()).await?;
        let mut sink = self.sink().await?;
        sink.whole_at = whole_at;
        for (table, _) in tables {
            sink.define(table.clone()).await?;
        }
        let tables: Vec<_> = tables.iter().map(|(table, _)| table.clone()).collect();
        sink.apply_fixups(&tables, fixups).await?;
        Ok(sink)
    }

    /// The tables that the target has, in the shapes that the last checkpoint came with. Empty: the task was begun by a logferry that
    /// did not remember them.
    ///
    /// # Errors
    /// Where the server cannot be reached, or what is stored cannot be read.
    pub async fn known_tables(&self) -> Result<Vec<KnownTable>, Fault> {
        let connection = pooled(&self.pool).await?;
        Ok(shape::read(connection.client(), &self.settings.task).await?)
    }

    /// Asks for tables to be read once more, which this process or the next one of the task takes up.
    ///
    /// # Errors
    /// Where the server cannot be reached.
    pub async fn request_reloads(&self, tables: &[TableId]) -> Result<(), Fault> {
        let connection = pooled(&self.pool).await?;
        for table in tables {
            reload::insert(connection.client(), &self.settings.task, *table).await?;
        }
        Ok(())
    }

    /// Tables that are to be read once more, in the order in which they were asked for.
    ///
    /// # Errors
    /// Where the server cannot be reached.
    pub async fn reload_requests(&self) -> Result<Vec<ReloadRequest>, Fault> {
        let connection = pooled(&self.pool).await?;
        Ok(reload::read(connection.client(), &self.settings.task).await?)
    }

    /// Whether more are asked for than up to a number.
    ///
    /// # Errors
    /// Where the server cannot be reached.
    pub async fn has_reload_requests(&self, behind: i64) -> Result<bool, Fault> {
        let connection = pooled(&self.pool).await?;
        Ok(reload::is_asked(connection.client(), &self.settings.task, behind).await?)
    }

    /// Forgets a request that cannot be met.
    ///
    /// # Errors
    /// Where the server cannot be reached.
    pub async fn forget_reload(&self, request: ReloadRequest) -> Result<(), Fault> {
        let connection = pooled(&self.pool).await?;
        Ok(reload::forget(connection.client(), &self.settings.task, request).await?)
    }

    /// Up to where changes are in the rows of tables that are of a later moment than the copy.
    ///
    /// # Errors
    /// Where the server cannot be reached, or what is stored cannot be read.
    pub async fn fences(&self) -> Result<Vec<Fence>, Fault> {
        let connection = pooled(&self.pool).await?;
        Ok(fence::read(connection.client(), &self.settings.task).await?)
    }

    /// A sink for changes, on a connection of its own. An earlier sink of this task can commit nothing from here on.
    ///
    /// # Errors
    /// Where the server cannot be reached, or another logferry has the task.
    pub async fn sink(&self) -> Result<PgSink, Fault> {
        let client = self.target.connect().await?;
        let mut lease = self.lease.lock().await;
        lease.renew(&client).await?;
        Ok(PgSink::new(client, lease.clone(), self.settings.mode, self.settings.existing_tables).await?)
    }

    async fn lease(&self) -> Lease {
        self.lease.lock().await.clone()
    }

    /// A transaction that holds the lease.
    async fn begin(&self, lease: &Lease, what: &str) -> Result<Pooled, Error> {
        let mut connection = pooled(&self.pool).await?;
        connection.poisoned = true;
        connection.client().batch_execute("BEGIN").await.map_err(Error::sql(what))?;
        lease.hold(connection.client()).await?;
        Ok(connection)
    }

    fn out_of_phase(&self, phase: Phase, what: &'static str) -> Error {
        Error::Phase { task: self.settings.task.clone(), phase: phase.as_str().to_owned(), what }
    }

    /// Tables of a task that has none yet.
    async fn first_tables(&self, client: &Client, tables: &[Arc<TargetTable>]) -> Result<(), Error> {
        ddl::make_schemas(client, tables).await?;
        let there = ddl::existing(client, tables).await?;
        let (old, new): (Vec<_>, Vec<_>) = tables.iter().zip(there).partition(|(_, there)| *there);
        let old: Vec<_> = old.into_iter().map(|(t, _)| t).collect();
        let mut new: Vec<_> = new.into_iter().map(|(t, _)| t).collect();
        self.must_be_there(&new)?;
        match self.settings.existing_tables {
            ExistingTables::Error if old.is_empty() => {}
            ExistingTables::Error if !self.settings.make_tables => {
                ddl::check_columns(client, &old).await?;
                must_be_empty(client, &old).await?;
            }
            ExistingTables::Error => return Err(Error::TablesExist(old.iter().map(|t| shown(t)).collect())),
            ExistingTables::Ignore => ddl::check_columns(client, &old).await?,
            ExistingTables::Truncate => {
                ddl::check_columns(client, &old).await?;
                empty(client, old.iter().copied()).await?;
            }
            ExistingTables::Recreate => {
                for table in old {
                    let doing = Error::sql(format!("drop table {}", shown(table)));
                    client.batch_execute(&format!("DROP TABLE {}", qualified(table))).await.map_err(doing)?;
                    new.push(table);
                }
            }
        }
        create(client, new).await
    }

    fn must_be_there(&self, missing: &[&Arc<TargetTable>]) -> Result<(), Error> {
        match self.settings.make_tables || missing.is_empty() {
            true => Ok(()),
            false => Err(Error::TablesMissing(missing.iter().map(|t| shown(t)).collect())),
        }
    }

    /// Tables that somebody dropped in the middle of the copy, or that were added to the task.
    async fn missing_tables(&self, client: &Client, lease: &Lease, tables: &[Arc<TargetTable>]) -> Result<(), Error> {
        ddl::make_schemas(client, tables).await?;
        let there = ddl::existing(client, tables).await?;
        let (old, new): (Vec<_>, Vec<_>) = tables.iter().zip(there).partition(|(_, there)| *there);
        self.must_be_there(&new.iter().map(|(t, _)| *t).collect::<Vec<_>>())?;
        for (table, _) in &new {
            client
                .execute(
                    "DELETE FROM logferry.chunk WHERE task = $1 AND schema_name = $2 AND table_name = $3",
                    &[&lease.task, &table.schema, &table.name],
                )
                .await
                .map_err(lease.doing("forget chunks"))?;
        }
        ddl::check_columns(client, &old.iter().map(|(t, _)| *t).collect::<Vec<_>>()).await?;
        create(client, new.into_iter().map(|(t, _)| t)).await
    }

    /// Counts the chunks and records that all are there, in a transaction that waits for the disk.
    async fn enter_keys(&self, tables: &[TableChunks]) -> Result<(), Error> {
        let lease = self.lease().await;
        let mut connection = self.begin(&lease, "count the chunks").await?;
        let client = connection.client();
        let phase = state::read(client, &lease.task).await?.phase;
        if !matches!(phase, Phase::Copying | Phase::Keys) {
            return Err(self.out_of_phase(phase, "ending the copy"));
        }
        let done = copy::finished(client, &lease.task).await?;
        for (table, expected) in tables {
            let mine =
                |c: &&ChunkDone| c.schema == table.schema && c.table == table.name && u64::from(c.number) < *expected;
            let found = done.iter().filter(mine).count() as u64;
            if found != *expected {
                return Err(Error::ChunksMissing { table: shown(table), expected: *expected, found });
            }
        }
        client
            .execute(
                "UPDATE logferry.task SET phase = $2, changed_at = now() WHERE task = $1",
                &[&lease.task, &Phase::Keys.as_str()],
            )
            .await
            .map_err(lease.doing("record the phase"))?;
        commit(&mut connection, "the end of the copy").await
    }

    /// Makes the keys that are not there, several tables at a time.
    async fn make_keys(&self, tables: &[TableChunks], some_wait: bool) -> Result<(), Error> {
        let tables: Arc<Vec<Arc<TargetTable>>> = Arc::new(tables.iter().map(|(t, _)| t.clone()).collect());
        let keys = ddl::keys(&tables)?;
        let mut work = tokio::task::JoinSet::new();
        for at in 0..tables.len() {
            let is_due = |key: &ddl::Key| !some_wait || !waits(&tables[at], key);
            let keys: Vec<_> = keys.iter().filter(|k| k.table == at && is_due(k)).cloned().collect();
            let (pool, table, analyze) = (self.pool.clone(), tables[at].clone(), self.settings.analyze);
            // The pool lets `connections_max` of them through at a time.
            work.spawn(async move { finish_table(&pool, &table, &keys, analyze).await });
        }
        while let Some(ended) = work.join_next().await {
            // The rest is stopped by dropping the set; their connections are poisoned or idle.
            ended.map_err(|e| Error::Sql {
                doing: "make keys".to_owned(),
                said: crate::error::Said::text(e.to_string()),
            })??;
        }
        Ok(())
    }
}

/// Whether rows are found without a key.
pub(crate) fn waits(table: &TargetTable, key: &ddl::Key) -> bool {
    !key.primary && key.columns != table.key
}

async fn create(client: &Client, tables: impl IntoIterator<Item = &Arc<TargetTable>>) -> Result<(), Error> {
    for table in tables {
        let doing = Error::sql(format!("create table {}", shown(table)));
        client.batch_execute(&ddl::create_table(table)).await.map_err(doing)?;
    }
    Ok(())
}

/// Tables that were made for the copy have no rows.
async fn must_be_empty(client: &Client, tables: &[&Arc<TargetTable>]) -> Result<(), Error> {
    let mut with_rows = Vec::new();
    for table in tables {
        let sql = format!("SELECT EXISTS (SELECT FROM {})", qualified(table));
        let doing = Error::sql(format!("look into table {}", shown(table)));
        if client.query_one(&sql, &[]).await.map_err(doing)?.get(0) {
            with_rows.push(shown(table));
        }
    }
    if with_rows.is_empty() { Ok(()) } else { Err(Error::TablesExist(with_rows)) }
}

async fn empty(client: &Client, tables: impl IntoIterator<Item = &Arc<TargetTable>>) -> Result<(), Error> {
    let names: Vec<_> = tables.into_iter().map(|t| qualified(t)).collect();
    if names.is_empty() {
        return Ok(());
    }
    // One statement: tables with foreign keys to each other can only be emptied together.
    client.batch_execute(&format!("TRUNCATE {}", names.join(", "))).await.map_err(Error::sql("truncate the tables"))
}

/// Keys, identities and statistics of one table; each can be done again.
async fn finish_table(pool: &Pool, table: &TargetTable, keys: &[ddl::Key], analyze: bool) -> Result<(), Error> {
    let mut connection = pooled(pool).await?;
    connection.poisoned = true;
    complete_table(connection.client(), table, keys, analyze).await?;
    connection.poisoned = false;
    Ok(())
}

async fn complete_table(client: &Client, table: &TargetTable, keys: &[ddl::Key], analyze: bool) -> Result<(), Error> {
    let reading = || Error::sql(format!("read the keys of table {}", shown(table)));
    let rows = client
        .query(
            "SELECT conname::text, contype = 'p' FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype IN ('p', 'u')",
            &[&qualified(table)],
        )
        .await
        .map_err(reading())?;
    for key in keys {
        let there = rows.iter().any(|r| if key.primary { r.get(1) } else { r.get::<_, &str>(0) == key.name });
        if there {
            continue;
        }
        client.batch_execute(&key.sql).await.map_err(|e| {
            let doing = format!("make key \"{}\" of table {}", key.name, shown(table));
            Error::Sql { doing, said: e.into() }
        })?;
    }
    for sql in ddl::restart_identities(table) {
        let doing = Error::sql(format!("restart the identity of table {}", shown(table)));
        client.batch_execute(&sql).await.map_err(doing)?;
    }
    if analyze {
        let doing = Error::sql(format!("analyze table {}", shown(table)));
        client.batch_execute(&format!("ANALYZE {}", qualified(table))).await.map_err(doing)?;
    }
    Ok(())
}

async fn commit(connection: &mut Pooled, what: &str) -> Result<(), Error> {
    connection
        .client()
        .batch_execute("COMMIT")
        .await
        .map_err(|e| Error::CommitUnknown { what: what.to_owned(), said: e.into() })?;
    connection.poisoned = false;
    Ok(())
}

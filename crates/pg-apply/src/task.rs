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

mod doors;
mod keys;
mod tables;

use std::sync::Arc;

use logferry_model::{Fault, TargetTable};
use tokio::sync::Mutex;

use crate::apply::{ApplyMode, PgSink};
use crate::connect::{Pool, Pooled, Target, pooled};
use crate::ddl::ExistingTables;
use crate::error::Error;
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
    async fn take(target: &Target, settings: TaskSettings) -> Result<(Self, TaskState), Fault> {
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

    async fn new_sink(&self) -> Result<PgSink, Fault> {
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

//! A task as others know it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use logferry_model::{Fault, Fence, Lsn, SnapshotPoint, TableId, TargetBatch, TargetTable};

use super::{TableChunks, TaskSettings, TaskTarget};
use crate::apply::PgSink;
use crate::connect::{Target, pooled};
use crate::copy::{self, ChunkCopy, ChunkDone};
use crate::door::door;
use crate::fence;
use crate::reload::{self, ReloadRequest};
use crate::shape::{self, KnownTable};
use crate::state::{self, Phase, TaskState};

impl TaskTarget {
    /// Connects, makes the state tables, and takes the task: whoever had it can commit nothing from here on.
    ///
    /// After a transient fault do not open it again, which would take it back from a successor: ask for
    /// a new [`Self::sink`], or copy the chunk again.
    ///
    /// # Errors
    /// Where the server cannot be reached or lacks a right; where the state is of a newer logferry.
    pub fn open<'a>(target: &'a Target, settings: TaskSettings) -> BoxFuture<'a, Result<(Self, TaskState), Fault>> {
        door(Self::take(target, settings))
    }

    /// Reads the state as it is now.
    ///
    /// # Errors
    /// Where the server cannot be reached.
    pub fn state<'a>(&'a self) -> BoxFuture<'a, Result<TaskState, Fault>> {
        door(async move {
            let connection = pooled(&self.pool).await?;
            Ok(state::read(connection.client(), &self.settings.task).await?)
        })
    }

    /// Makes the tables for the copy of a snapshot, or finds those that it made before.
    ///
    /// Where an earlier copy was of another snapshot, its rows are thrown away. Afterwards the phase is
    /// [`Phase::Copying`], or [`Phase::Keys`] where the copy of this snapshot was complete already.
    ///
    /// # Errors
    /// Where tables are there that should not be: all of them are named, and nothing is changed.
    pub fn create_tables<'a>(
        &'a self,
        tables: &'a [Arc<TargetTable>],
        snapshot: &'a SnapshotPoint,
    ) -> BoxFuture<'a, Result<Phase, Fault>> {
        self.create_tables_of(tables, snapshot, &[])
    }

    /// The same, and keeps what the source needs to have the snapshot again.
    ///
    /// # Errors
    /// As [`Self::create_tables`].
    pub fn create_tables_of<'a>(
        &'a self,
        tables: &'a [Arc<TargetTable>],
        snapshot: &'a SnapshotPoint,
        memo: &'a [u8],
    ) -> BoxFuture<'a, Result<Phase, Fault>> {
        door(self.tables_of_copy(tables, snapshot, memo))
    }

    /// Makes the tables, with their keys, in one transaction, and nothing else: the task is as it was.
    ///
    /// # Errors
    /// As [`Self::create_tables`]; where the task has rows already.
    pub fn make_tables<'a>(&'a self, tables: &'a [Arc<TargetTable>]) -> BoxFuture<'a, Result<(), Fault>> {
        door(self.tables_alone(tables))
    }

    /// Takes tables as they are, in one transaction: changes are applied to them from a position on. Those that are missing are made, if
    /// that is allowed. Gives the sink that streams on.
    ///
    /// # Errors
    /// As [`Self::create_tables`]; where the task has rows already.
    pub fn adopt_tables<'a>(
        &'a self,
        tables: &'a [Arc<TargetTable>],
        at: &'a SnapshotPoint,
    ) -> BoxFuture<'a, Result<PgSink, Fault>> {
        door(self.tables_as_they_are(tables, at))
    }

    /// The chunks that are on the target.
    ///
    /// # Errors
    /// Where the server cannot be reached.
    pub fn finished_chunks<'a>(&'a self) -> BoxFuture<'a, Result<Vec<ChunkDone>, Fault>> {
        door(async move {
            let connection = pooled(&self.pool).await?;
            Ok(copy::finished(connection.client(), &self.settings.task).await?)
        })
    }

    /// Starts to copy a chunk, on a connection of its own: waits while all are in use.
    ///
    /// # Errors
    /// Where the table cannot be written to, or the lease is lost.
    pub fn copy_chunk<'a>(&'a self, table: &'a TargetTable, number: u32) -> BoxFuture<'a, Result<ChunkCopy, Fault>> {
        door(async move { Ok(ChunkCopy::start(&self.pool, self.lease().await, table, number).await?) })
    }

    /// Ends the copy: counts the chunks, makes the keys, restarts the identities, and applies the fixups with the first
    /// checkpoint. Can be called again after a fault. Gives the sink that streams on.
    ///
    /// # Errors
    /// Where chunks are missing, or the rows contradict a key.
    pub fn finish_copy<'a>(
        &'a self,
        tables: &'a [TableChunks],
        fixups: &'a TargetBatch,
    ) -> BoxFuture<'a, Result<PgSink, Fault>> {
        self.finish_copy_whole_at(tables, fixups, None)
    }

    /// The same where rows are of one moment only from a position on: keys by which no row is found are made then.
    ///
    /// # Errors
    /// As [`Self::finish_copy`].
    pub fn finish_copy_whole_at<'a>(
        &'a self,
        tables: &'a [TableChunks],
        fixups: &'a TargetBatch,
        whole_at: Option<Lsn>,
    ) -> BoxFuture<'a, Result<PgSink, Fault>> {
        door(self.end_copy(tables, fixups, whole_at))
    }

    /// The tables that the target has, in the shapes that the last checkpoint came with. Empty: the task was begun by a logferry that
    /// did not remember them.
    ///
    /// # Errors
    /// Where the server cannot be reached, or what is stored cannot be read.
    pub fn known_tables<'a>(&'a self) -> BoxFuture<'a, Result<Vec<KnownTable>, Fault>> {
        door(async move {
            let connection = pooled(&self.pool).await?;
            Ok(shape::read(connection.client(), &self.settings.task).await?)
        })
    }

    /// Asks for tables to be read once more, which this process or the next one of the task takes up.
    ///
    /// # Errors
    /// Where the server cannot be reached.
    pub fn request_reloads<'a>(&'a self, tables: &'a [TableId]) -> BoxFuture<'a, Result<(), Fault>> {
        door(async move {
            let connection = pooled(&self.pool).await?;
            for table in tables {
                reload::insert(connection.client(), &self.settings.task, *table).await?;
            }
            Ok(())
        })
    }

    /// Tables that are to be read once more, in the order in which they were asked for.
    ///
    /// # Errors
    /// Where the server cannot be reached.
    pub fn reload_requests<'a>(&'a self) -> BoxFuture<'a, Result<Vec<ReloadRequest>, Fault>> {
        door(async move {
            let connection = pooled(&self.pool).await?;
            Ok(reload::read(connection.client(), &self.settings.task).await?)
        })
    }

    /// Whether more are asked for than up to a number.
    ///
    /// # Errors
    /// Where the server cannot be reached.
    pub fn has_reload_requests<'a>(&'a self, behind: i64) -> BoxFuture<'a, Result<bool, Fault>> {
        door(async move {
            let connection = pooled(&self.pool).await?;
            Ok(reload::is_asked(connection.client(), &self.settings.task, behind).await?)
        })
    }

    /// Forgets a request that cannot be met.
    ///
    /// # Errors
    /// Where the server cannot be reached.
    pub fn forget_reload<'a>(&'a self, request: ReloadRequest) -> BoxFuture<'a, Result<(), Fault>> {
        door(async move {
            let connection = pooled(&self.pool).await?;
            Ok(reload::forget(connection.client(), &self.settings.task, request).await?)
        })
    }

    /// Up to where changes are in the rows of tables that are of a later moment than the copy.
    ///
    /// # Errors
    /// Where the server cannot be reached, or what is stored cannot be read.
    pub fn fences<'a>(&'a self) -> BoxFuture<'a, Result<Vec<Fence>, Fault>> {
        door(async move {
            let connection = pooled(&self.pool).await?;
            Ok(fence::read(connection.client(), &self.settings.task).await?)
        })
    }

    /// A sink for changes, on a connection of its own. An earlier sink of this task can commit nothing from here on.
    ///
    /// # Errors
    /// Where the server cannot be reached, or another logferry has the task.
    pub fn sink<'a>(&'a self) -> BoxFuture<'a, Result<PgSink, Fault>> {
        door(self.new_sink())
    }
}

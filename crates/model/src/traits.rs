//! The two seams of the system. Each has a real and a test implementation; everything else is a plain type.

use std::future::Future;
use std::sync::Arc;

use crate::event::{Checkpoint, EventBatch, Fence, Lineage};
use crate::fault::Fault;
use crate::lsn::Lsn;
use crate::row::Cell;
use crate::table::{TableId, TableName, TableVersion};
use crate::target::{SchemaChange, TargetBatch, TargetTable};

/// The point that a full copy shows, and from which changes are to be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPoint {
    /// Where changes go on once the copy and the source's [`ChangeSource::fixups`] are applied.
    pub checkpoint: Checkpoint,
    /// The history that it belongs to.
    pub lineage: Lineage,
    /// What tells one snapshot from another: a copy is resumed only where this is equal.
    pub id: [u8; 16],
    /// End of the log that the snapshot includes (exclusive).
    pub end_lsn: Lsn,
}

/// Where changes begin, where nothing is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what is committed from now on.
    Now,
    /// With what was committed at this LSN or behind it.
    Lsn(Lsn),
    /// With what was committed at this time or later, by the source's clock: `2026-01-31T10:00:00.000`.
    Time(String),
}

/// A part of a table that is copied in one transaction of the target. Stable for one [`SnapshotPoint::id`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkId {
    /// Index into [`ChangeSource::tables`].
    pub table: usize,
    /// From 0 within the table.
    pub number: u32,
    /// About how many bytes it holds, for progress.
    pub bytes_estimate: u64,
}

/// Whether there is more to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Call again.
    More,
    /// That was all.
    End,
}

/// Reads the rows of one chunk, a bounded piece at a time.
pub trait ChunkReader: Send {
    /// Shows the next rows to `visit`, about 256 KiB of them at the most per call (one row may be more).
    /// The cells are those of the table's columns, in order, and live only during the call.
    fn fill(
        &mut self,
        visit: &mut (dyn for<'a> FnMut(&[Cell<'a>]) -> Result<(), Fault> + Send),
    ) -> impl Future<Output = Result<Fill, Fault>> + Send;

    /// After [`Fill::End`]: the last commit that is in the rows, where they must not be told again. Kept with the chunk's mark.
    fn fence(&self) -> Option<Lsn> {
        None
    }
}

/// Where rows and changes come from.
///
/// Order of calls: [`snapshot`](Self::snapshot) or [`seek`](Self::seek) once; after `snapshot`, chunks in any order and
/// from several tasks, then [`fixups`](Self::fixups); then [`next`](Self::next) until it gives `None`.
pub trait ChangeSource: Send + Sync {
    /// Reads a chunk.
    type Reader: ChunkReader + 'static;

    /// The tables at the point given by `snapshot` or `seek`, in the order of their names.
    fn tables(&self) -> Vec<Arc<TableVersion>>;

    /// What it takes to fix the same point again in another run, with the same chunks; asked for after `snapshot`. Kept on the
    /// target with the copy's marks. Nothing: the source needs no help.
    fn memo(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Called before `snapshot` with what [`memo`](Self::memo) gave in the run that began the copy.
    fn recall(&mut self, _memo: &[u8]) {}

    /// The fences that the target has: told before [`snapshot`](Self::snapshot) or [`seek`](Self::seek), and again after the copy.
    fn remember(&mut self, _fences: Vec<Fence>) {}

    /// Fixes the point that a full copy is to show. The copy may show rows of transactions that were open at
    /// that point: `fixups` takes them out again.
    fn snapshot(&mut self) -> impl Future<Output = Result<SnapshotPoint, Fault>> + Send;

    /// The chunks of a table of `tables()`; at least one, so that an empty table is marked as copied, too.
    fn chunks(&self, table: usize) -> Result<Vec<ChunkId>, Fault>;

    /// Opens a chunk for reading.
    fn open_chunk(&self, chunk: &ChunkId) -> Result<Self::Reader, Fault>;

    /// Asked after the last chunk: the position from which on the target is as the source was at one moment. Until then rows of one
    /// moment may stand beside rows of another, so that two may have the same value of a unique key. `None`: there is no such time.
    fn whole_at(&mut self) -> impl Future<Output = Result<Option<Lsn>, Fault>> + Send {
        async { Ok(None) }
    }

    /// Changes that turn the copied rows into the committed rows of the snapshot point (rows of open transactions
    /// are taken back), to be applied in one transaction with the snapshot's checkpoint. Often empty.
    fn fixups(&mut self) -> impl Future<Output = Result<EventBatch, Fault>> + Send;

    /// Goes on after a checkpoint that the target has: transactions up to and with it are not given again.
    ///
    /// # Errors
    /// Where the history from there on is not to be had, or belongs to another lineage: names both positions.
    fn seek(&mut self, checkpoint: Checkpoint) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Which of some tables that the target has and `tables()` does not list do not count as gone, and why.
    fn not_gone(&mut self, _tables: &[(TableId, TableName)]) -> impl Future<Output = Result<Vec<Fault>, Fault>> + Send {
        async { Ok(Vec::new()) }
    }

    /// Tables are to be read whole once more: called after `seek`, and before `add`. The rows that they have come before all other changes, in
    /// one transaction, behind a [`ChangeOp::Truncate`](crate::ChangeOp::Truncate) of each. Where not all changes of one are to be had, that is
    /// mended by it, if the source can read it as of a position.
    ///
    /// # Errors
    /// Where the source cannot do that.
    fn reload(&mut self, _tables: &[TableId]) -> Result<(), Fault> {
        Err(Fault::operator("tables of such a source cannot be read once more while their changes are followed"))
    }

    /// Fixes the point that changes are to be had from, where nothing is copied: called in the place of `snapshot` and `seek`.
    ///
    /// # Errors
    /// Where changes from there on are not to be had: names both positions.
    fn start(&mut self, _start: &Start) -> impl Future<Output = Result<SnapshotPoint, Fault>> + Send {
        async { Err(Fault::operator("the changes of such a source are to be had behind a full copy only")) }
    }

    /// Whether it can [`add`](Self::add) tables.
    fn can_add(&self) -> bool {
        false
    }

    /// Tables that the target does not have: called after `seek` by whoever [can](Self::can_add). Each is told by a
    /// [`SourceEvent::Table`](crate::SourceEvent::Table) when its changes are to be had, and its rows come right behind that, in one
    /// transaction, behind a [`ChangeOp::Truncate`](crate::ChangeOp::Truncate). Of all other tables but those that are left out for good, and those
    /// that are read once more, the changes are to be had from the checkpoint on.
    ///
    /// # Errors
    /// Where they are not: names the table and both positions.
    fn add(&mut self, _tables: &[TableId], _left_out: &[TableId]) -> Result<(), Fault> {
        Err(Fault::bug("tables cannot be added to such a source"))
    }

    /// The next events, about `bytes_max` bytes of rows at the most; `None` when the source has ended for good
    /// (a chain of files), an empty batch when there is nothing just now.
    fn next(&mut self, bytes_max: usize) -> impl Future<Output = Result<Option<EventBatch>, Fault>> + Send;
}

/// Where changes go.
///
/// What is given to [`apply`](Self::apply) becomes visible with the batch that carries a checkpoint, and with it the
/// checkpoint: both or neither. After any error the sink must be opened anew and asked for its
/// [`resume_point`](Self::resume_point): it is the only truth about what was applied.
pub trait ChangeSink: Send {
    /// The last checkpoint that was committed; `None` before the full copy is complete.
    fn resume_point(&mut self) -> impl Future<Output = Result<Option<Checkpoint>, Fault>> + Send;

    /// Changes the tables themselves, all at once: a name that one of them gives up another one may take. Becomes visible with the
    /// next batch that carries a checkpoint, with the rows that come until then. What only holds when those rows are there
    /// (keys, NOT NULL) is made after them.
    fn alter(&mut self, changes: &[SchemaChange]) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Makes the tables known whose rows will come. Called before the first change of each, and when one changes shape.
    fn define(&mut self, table: Arc<TargetTable>) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Writes the changes; commits, with the checkpoint, if the batch carries one.
    fn apply(&mut self, batch: &TargetBatch) -> impl Future<Output = Result<(), Fault>> + Send;
}

//! The vocabulary of logferry: what every crate may say to every other.
//!
//! A row travels one way. A source hands out [`EventBatch`]es (or, for the full copy, the cells of a
//! chunk), `transform` turns them into [`TargetBatch`]es in PostgreSQL's own binary form, a sink writes
//! those and the [`Checkpoint`] in one transaction:
//!
//! ```text
//!  ChangeSource ── EventBatch ── TablePlan ── TargetBatch ── ChangeSink: rows + Checkpoint
//!  ChunkReader ─── &[Cell] ───── TablePlan ── COPY bytes ─── ChangeSink: rows + chunk mark
//! ```
//!
//! Two ideas carry the rest:
//!
//! * A **cell** is the bytes of a value *as SQL Server stores it* (`i32` little-endian for `int`, sign and
//!   magnitude for `decimal`, code-page bytes for `varchar`, ...; see [`SqlType`]). Nothing is converted
//!   before the one conversion into PostgreSQL's form, so nothing is lost on the way.
//! * Every row goes with the [`TableVersion`] that it was written under.
//!
//! **Invariant:** this crate knows no I/O, no SQL and no async runtime.

mod event;
mod fault;
mod finding;
mod lsn;
mod row;
mod table;
mod target;
mod traits;
mod types;

pub use event::{Change, ChangeOp, Checkpoint, EventBatch, Fence, Lineage, SourceEvent, TransactionHead};
pub use fault::{Class, Fault};
pub use finding::{Finding, Severity};
pub use lsn::{CommitLsn, Lsn, ParseLsnError, ParseTransactionError, RestartLsn, TransactionId};
pub use row::{Cell, NoRoom, Parts, RowRef, RowStore, RowView};
pub use table::{AliasType, Identity, SourceColumn, StoredColumn, TableId, TableName, TableVersion, UniqueKey};
pub use target::{
    Comparison, Domain, PgType, Reshaped, SchemaChange, TargetBatch, TargetChange, TargetColumn, TargetTable,
};
pub use traits::{ChangeSink, ChangeSource, ChunkId, ChunkReader, Fill, SnapshotPoint, Start};
pub use types::{Collation, SqlType};

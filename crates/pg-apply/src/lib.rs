//! Everything that is done to the PostgreSQL target: connections, tables, the full copy, changes, and the
//! memory of how far it all is.
//!
//! ```text
//!  Target ── open ──> TaskTarget ── create_tables ── copy_chunk ... ── finish_copy ──> PgSink ── apply ...
//! ```
//!
//! * [`Target`]: the connection string, with TLS that is strict away from home.
//! * [`TaskTarget`]: a task that this process has the lease of; its phases are in `task.rs`.
//! * [`ChunkCopy`]: a chunk of the full copy and its mark, one transaction.
//! * [`PgSink`]: batches of changes, netted and applied set-wise, with the checkpoint in the same transaction.
//!
//! **Invariants.** Progress is written in the transaction that writes the rows, and guarded by the lease
//! epoch (`state.rs`). Rows are never applied approximately: a change that does not find its row is a fault.
//! Identifiers are always quoted; messages hold neither passwords nor row values. Nothing here knows of
//! SQL Server.

mod apply;
mod check;
mod client;
mod connect;
mod copy;
mod databases;
mod ddl;
mod door;
mod error;
mod fence;
mod names;
mod reload;
mod shape;
mod state;
mod task;

pub use apply::{ApplyMode, PgSink};
pub use check::check;
pub use client::Client;
pub use connect::{Connection, Manager, Pool, Pooled, Target};
pub use copy::{ChunkCopy, ChunkDone};
pub use ddl::{ExistingTables, Key, create_table, keys, notes, plan};
pub use error::{Error, Said};
pub use names::{NAME_BYTES_MAX, qualified, quoted, type_name};
pub use reload::{ReloadRequest, request_reload};
pub use shape::KnownTable;
pub use state::{Phase, TaskState};
pub use task::{TableChunks, TaskSettings, TaskTarget};

//! What a source says happened.

use std::sync::Arc;

use crate::lsn::{CommitLsn, Lsn, RestartLsn, TransactionId};
use crate::row::{RowRef, RowStore};
use crate::table::{TableId, TableVersion};

/// Which history positions belong to. LSNs of two lineages must never be compared: a restore to an
/// earlier point starts a new recovery fork, which uses the same numbers again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Lineage {
    /// GUID of the database (the binding id of its files, the family of its backups).
    pub database: [u8; 16],
    /// GUID of the recovery fork; zero where the source does not tell.
    pub fork: [u8; 16],
}

/// How far a target is: all of this is written in the transaction that writes the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last commit that the target shows.
    pub applied: CommitLsn,
    /// The oldest record that is needed to go on from here.
    pub restart: RestartLsn,
    /// The history that the two belong to.
    pub lineage: Lineage,
    /// When that commit happened on the source: microseconds since 2000-01-01 by the server's own clock
    /// and zone, where known.
    pub commit_time_us: Option<i64>,
}

/// Up to where the changes of a table are in its rows, where these were read at another moment than that of the copy: changes
/// that were committed up to and with it must not be told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The table.
    pub table: TableId,
    /// The last commit.
    pub lsn: Lsn,
}

/// What is said at the begin of a transaction. Transactions are handed on at their commit, so all is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionHead {
    /// The transaction.
    pub id: TransactionId,
    /// LSN of its begin record, or of its commit record where the source does not tell the former.
    pub begin_lsn: Lsn,
    /// LSN of its commit record: its place in the order.
    pub commit_lsn: CommitLsn,
    /// Time of the commit: microseconds since 2000-01-01 by the server's own clock and zone.
    pub commit_time_us: Option<i64>,
    /// Name of the transaction (`INSERT`, `user_transaction`, ...).
    pub name: String,
}

/// What happened to one row (or to all rows of a table).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeOp {
    /// A new row.
    Insert {
        /// the row
        after: RowRef,
    },
    /// A row with new values, perhaps of its key.
    Update {
        /// the row as it was
        before: RowRef,
        /// the row as it is
        after: RowRef,
    },
    /// A row that is gone.
    Delete {
        /// the row as it was
        before: RowRef,
    },
    /// All rows of the table are gone.
    Truncate,
}

/// A change of one table.
#[derive(Clone, Debug)]
pub struct Change {
    /// LSN of the record that made it.
    pub lsn: Lsn,
    /// The table, in the shape of the change's rows.
    pub table: Arc<TableVersion>,
    /// What happened.
    pub op: ChangeOp,
}

/// One step in the stream of a source.
///
/// The stream is `(Begin (Change | Unreadable | Fenced)* Commit | Table | Unreadable | Dropped | Unseen | Progress)*`: whole transactions in the order of their
/// commit LSNs. A large transaction may stretch over several batches.
///
/// What a transaction makes of the tables is told before its rows, in one piece: `Dropped` and `Table` events that follow each other
/// are of one moment, so that names may change hands among them. A `Commit` or `Progress` follows soon.
#[derive(Clone, Debug)]
pub enum SourceEvent {
    /// A committed transaction begins.
    Begin(TransactionHead),
    /// A change of the transaction that began last.
    Change(Change),
    /// The transaction ends; after it the target may be brought to this position.
    Commit(Checkpoint),
    /// A table appeared or changed its shape; changes of it that follow are in this shape.
    Table(Arc<TableVersion>),
    /// A table is gone.
    Dropped(Arc<TableVersion>),
    /// A table is not seen any more, and does not count as dropped: a target that should have it would be wrong, or would lose it.
    Unseen {
        /// the table
        table: Arc<TableVersion>,
        /// what was found
        why: String,
        /// what is to be done
        mend: String,
    },
    /// A table changed whose rows cannot be read (they are compressed, say): told once, at the first such change. A
    /// target that should have the table would be wrong from here on.
    Unreadable {
        /// the table
        table: Arc<TableVersion>,
        /// the change
        lsn: Lsn,
        /// why its rows cannot be read
        why: String,
    },
    /// The rows that this transaction has of a table are of another moment: to be kept with the position.
    Fenced(Fence),
    /// Nothing for the target up to here: the position may move on.
    Progress(Checkpoint),
}

/// A run of events and the rows that they speak of.
#[derive(Clone, Debug, Default)]
pub struct EventBatch {
    /// The rows, in SQL Server's storage form.
    pub rows: RowStore,
    /// The events, in order.
    pub events: Vec<SourceEvent>,
}

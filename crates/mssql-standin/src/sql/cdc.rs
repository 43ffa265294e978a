//! Change data capture: change tables, the job that fills them, and the functions that read them.
//!
//! ```text
//!  log ── storage: changes of tracked tables, by transaction ── scan ── cdc.<instance>_CT, cdc.lsn_time_mapping
//!                                                                │
//!  capture job, every polling interval; sys.sp_cdc_scan ─────────┘
//! ```
//!
//! The tables of the schema `cdc` are tables like any other: in pages, logged, readable. What the functions and the scan
//! need of them again is kept beside them, in [`Cdc`].
//!
//! The surprising parts: a new instance has no low endpoint before the first scan; the error of a range outside of
//! the timeline is 313, which says that arguments are missing; the old values of `(max)` columns that an update did not
//! change are NULL in the row of operation 3, but there in that of operation 4.
//!
//! Not known from documentation, and so assumed: an update of the clustered key is a delete and an insert, each with the LSN
//! of its own record. Not done: roles, filegroups, partition switches.

mod call;
mod cleanup;
mod define;
mod job;
mod lsn;
mod read;
mod reopen;
mod scan;

use logferry_model::{Lsn, SqlType};

use super::error::SqlError;
use super::state::{Db, State};
use super::value::{Value, same_name};

pub(crate) use cleanup::{clean_by_retention, clean_up};
pub(crate) use define::{check_alter, disable_database, disable_table, enable_table, note_alter, source_dropped};
pub(crate) use job::{CaptureJob, CleanupJob, watch};
pub(crate) use lsn::{column_ordinal, is_bit_set, map_lsn_to_time, map_time_to_lsn, max_lsn, min_lsn, stepped};
pub(crate) use read::CdcRead;
pub(crate) use reopen::{KeptJobs, drain, jobs_of, reopen};
pub(crate) use scan::scan;

/// Names of the tables that an enabled database has.
pub(crate) const SCHEMA: &str = "cdc";

/// What a database that is enabled for CDC has.
#[derive(Debug, Default)]
pub(crate) struct Cdc {
    pub instances: Vec<Instance>,
    pub capture: Option<CaptureJob>,
    pub cleanup: Option<CleanupJob>,
    /// When `cdc.lsn_time_mapping` got its last row: days since 0001-01-01, ticks of 100 ns.
    pub mapped: (i32, u64),
    /// The last scans, the latest at the end.
    pub scans: std::collections::VecDeque<Scan>,
    /// What made scans fail, the latest at the end.
    pub errors: std::collections::VecDeque<ScanError>,
}

/// A scan of the log; those that find nothing are one with that before.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    pub id: i64,
    pub start: (i32, u64),
    pub end: (i32, u64),
    pub transactions: u64,
    pub last_commit: Option<Lsn>,
    pub empty: i64,
    /// How often it failed: it leaves nothing then.
    pub errors: i64,
}

/// What made a scan fail.
#[derive(Clone, Debug)]
pub(crate) struct ScanError {
    /// The scan.
    pub session: i64,
    pub time: (i32, u64),
    pub error: SqlError,
}

/// A capture instance.
#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub name: String,
    /// The source table's object id.
    pub source: u32,
    /// The change table's.
    pub changes: u32,
    pub columns: Vec<CapturedColumn>,
    /// Places in `columns` of what identifies a row, where net changes are supported.
    pub key: Vec<usize>,
    pub net: bool,
    pub role: Option<String>,
    pub index_name: Option<String>,
    pub created: Value,
    /// Where the log was when it was made: what is before is not captured.
    pub enabled_at: Lsn,
    /// When, as `datetime` is stored.
    pub enabled_time: [u8; 8],
    /// The low endpoint; none before the first scan.
    pub start: Option<Lsn>,
}

/// A column of a capture instance.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CapturedColumn {
    /// `column_id` in the source table.
    pub id: u32,
    pub name: String,
    /// Its type in the change table.
    pub sql_type: SqlType,
}

impl Cdc {
    pub fn instance(&self, name: &str) -> Option<&Instance> {
        self.instances.iter().find(|i| same_name(&i.name, name))
    }
}

/// LSNs as CDC has them.
fn bytes(lsn: Lsn) -> Value {
    Value::Bytes(lsn.to_be_bytes().to_vec())
}

/// 22901
pub(crate) fn not_enabled(db: &Db) -> SqlError {
    SqlError::batch(
        22901,
        format!(
            "The database '{}' is not enabled for Change Data Capture. Ensure that the correct database context is set and retry the operation. To report on the databases enabled for Change Data Capture, query the is_cdc_enabled column in the sys.databases catalog view.",
            db.name
        ),
    )
}

/// A table of the schema `cdc`.
fn own_table(db: &Db, name: &str) -> Option<u32> {
    db.storage.table(SCHEMA, name)
}

/// Whether a table is one that CDC made.
pub(crate) fn is_own(schema: &str, name: &str) -> bool {
    schema == SCHEMA || name == "systranschemas"
}

/// Whether CDC reads a table.
pub(crate) fn is_tracked(state: &State, database: usize, table: u32) -> bool {
    let cdc = state.db(database).cdc.as_ref();
    cdc.is_some_and(|c| c.instances.iter().any(|i| i.source == table))
}

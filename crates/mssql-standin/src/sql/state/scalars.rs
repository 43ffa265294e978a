//! The plain values of one session.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::super::bind::TableAt;
use super::super::error::{Result, SqlError};
use logferry_mssql_standin_storage::Transaction;

/// How a session isolates its transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Snapshot,
    Serializable,
}

/// Plain values of a session.
#[derive(Clone, Debug)]
pub(crate) struct Scalars {
    pub spid: i16,
    pub login: String,
    pub program: String,
    pub host: String,
    pub database: usize,
    /// `@@TRANCOUNT`
    pub depth: u32,
    /// Transactions by database: begun with the first change in it.
    pub xacts: BTreeMap<usize, Transaction>,
    /// Snapshots by database, of SNAPSHOT transactions.
    pub snapshots: BTreeMap<usize, u64>,
    pub isolation: Isolation,
    pub rowcount: i64,
    pub error: i32,
    pub identity: Option<i128>,
    /// What CATCH sees.
    pub caught: Option<SqlError>,
    pub options: BTreeMap<String, bool>,
    pub identity_insert: Option<TableAt>,
    /// `None`: for ever.
    pub lock_timeout_ms: Option<u64>,
    /// The time of the statement, UTC: days since 0001-01-01, ticks of 100 ns.
    pub now: (i32, u64),
    /// Counts up for NEWID and RAND.
    pub seed: u64,
    pub implicit: bool,
    /// What `inserted` and `deleted` are, in a trigger.
    pub images: Option<std::sync::Arc<super::super::change::Images>>,
    /// The batch, procedure or trigger that runs, and how many there were: table variables are those of one.
    pub scope: u64,
    pub scopes: u64,
    /// Table variables, those of the innermost scope last.
    pub table_variables: Vec<u32>,
    /// Those of them that are parameters: they cannot be changed.
    pub table_parameters: Vec<u32>,
    /// What `EVENTDATA()` gives, in a trigger.
    pub event: Option<std::sync::Arc<str>>,
    /// The triggers that run, the innermost last.
    pub firing: Vec<u32>,
    /// What the open transaction defined.
    pub defined: Vec<super::super::session::Definition>,
    /// Whether the request is still wanted, and rows since that was asked last.
    pub stop: super::super::session::Stop,
    pub steps: Cell<u32>,
}

impl Scalars {
    /// A row was looked at: now and then, asks whether more are wanted.
    pub fn step(&self) -> Result<()> {
        let steps = self.steps.get().wrapping_add(1);
        self.steps.set(steps);
        if steps.is_multiple_of(STEPS) { self.stop.check() } else { Ok(()) }
    }

    /// Whether nobody may change, until its transaction ends, what the session has read. A server locks rows and ranges of keys; here it is whole tables.
    pub fn keeps_what_it_reads(&self) -> bool {
        matches!(self.isolation, Isolation::RepeatableRead | Isolation::Serializable)
    }

    pub fn option(&self, name: &str) -> bool {
        self.options.get(name).copied().unwrap_or(false)
    }
}

/// So many rows are looked at before it is asked whether the client still waits.
const STEPS: u32 = 4096;

//! Statements that change rows.

use logferry_model::SqlType;

use super::super::value::Value;
use super::{BinOp, Expr, Item, Locks, Name, Query, TableRef};

#[derive(Clone, Debug)]
pub(crate) struct Insert {
    pub table: Name,
    pub locks: Locks,
    pub columns: Vec<String>,
    pub output: Output,
    pub source: InsertSource,
}

#[derive(Clone, Debug)]
pub(crate) enum InsertSource {
    Values(Vec<Vec<Option<Expr>>>),
    Query(Box<Query>),
    Defaults,
    /// Rows that are worked out already, and the types of their values.
    Rows(Vec<SqlType>, Vec<Vec<Value>>),
    /// The same, of a bulk load.
    Bulk(Vec<SqlType>, Vec<Vec<Value>>, BulkOptions),
}

/// What `INSERT BULK ... WITH` asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BulkOptions {
    /// `CHECK_CONSTRAINTS`: else checks and foreign keys are not looked at.
    pub checks: bool,
    /// `FIRE_TRIGGERS`
    pub triggers: bool,
    /// `TABLOCK`: nobody else is to read or change the table.
    pub whole: bool,
    /// `KEEP_NULLS`: NULL does not mean the default.
    pub keep_nulls: bool,
}

/// `INSERT BULK t (columns) WITH (...)`: the rows come in the next message.
#[derive(Clone, Debug)]
pub(crate) struct InsertBulk {
    pub table: Name,
    pub columns: Vec<String>,
    pub options: BulkOptions,
}

/// `OUTPUT ... INTO t (columns)`
#[derive(Clone, Debug, Default)]
pub(crate) struct Output {
    pub items: Vec<Item>,
    pub into: Option<(Name, Vec<String>)>,
    /// Whether both images are there at every row, NULL where a row has none: in MERGE.
    pub merges: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Merge {
    pub with: Vec<(String, Vec<String>, Query)>,
    pub target: Name,
    pub locks: Locks,
    pub alias: Option<String>,
    pub source: TableRef,
    pub on: Expr,
    pub clauses: Vec<MergeClause>,
    pub output: Output,
}

/// `WHEN ... THEN ...`
#[derive(Clone, Debug)]
pub(crate) struct MergeClause {
    pub when: MergeWhen,
    pub test: Option<Expr>,
    pub action: MergeAction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MergeWhen {
    Matched,
    NotInTarget,
    NotInSource,
}

#[derive(Clone, Debug)]
pub(crate) enum MergeAction {
    Update(Vec<(Name, Option<BinOp>, Option<Expr>)>),
    Delete,
    /// Columns and values; `None` is DEFAULT.
    Insert(Vec<String>, Vec<Option<Expr>>),
}

#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub with: Vec<(String, Vec<String>, Query)>,
    pub top: Option<Expr>,
    pub target: Name,
    pub locks: Locks,
    /// Column or variable, operator of `+=`, value (`None` for DEFAULT).
    pub sets: Vec<(Name, Option<BinOp>, Option<Expr>)>,
    pub output: Output,
    pub from: Vec<TableRef>,
    pub filter: Option<Expr>,
}

#[derive(Clone, Debug)]
pub(crate) struct Delete {
    pub with: Vec<(String, Vec<String>, Query)>,
    pub top: Option<Expr>,
    pub target: Name,
    pub locks: Locks,
    pub output: Output,
    pub from: Vec<TableRef>,
    pub filter: Option<Expr>,
}

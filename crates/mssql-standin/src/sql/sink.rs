//! What goes in and out of a session: parameters, and results as they come.

use logferry_model::{Cell, SqlType};

use super::error::SqlError;

/// A parameter of a batch.
#[derive(Clone, Debug)]
pub struct Param {
    /// `@name`
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
    /// The value in the form of a row's cell; `None` is NULL.
    pub bytes: Option<Vec<u8>>,
    /// Whether its last value goes back.
    pub output: bool,
    /// Of a table-valued parameter: its rows.
    pub table: Option<Rows>,
}

/// Rows that are given as they are, in the form of a row's cells.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// The types of their values.
    pub types: Vec<SqlType>,
    /// The rows.
    pub rows: Vec<Vec<Option<Vec<u8>>>>,
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultColumn {
    /// Its name; empty where it has none.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
    /// Whether NULL may come.
    pub nullable: bool,
    /// Whether it is an identity column.
    pub identity: bool,
}

/// What became of the session's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionChange {
    /// The outermost level began.
    Begin,
    /// It was committed.
    Commit,
    /// It was rolled back.
    Rollback,
}

/// Takes results as they come. Rows are given while the server is locked, so it must not wait for other sessions.
pub trait ResultSink {
    /// A result begins.
    fn columns(&mut self, _columns: &[ResultColumn]) {}
    /// The rows of the result that has begun are given while the server is not locked: it may wait.
    fn unlocked(&mut self) {}
    /// A row, one value per column in the form of a row's cell; gives whether more are wanted.
    fn row(&mut self, cells: &[Cell<'_>]) -> bool;
    /// A statement ended; the rows that it gave or changed, where it counts them.
    fn done(&mut self, _rows: Option<u64>) {}
    /// A message: PRINT, RAISERROR up to severity 10.
    fn info(&mut self, _message: &SqlError) {}
    /// An error.
    fn error(&mut self, error: &SqlError);
    /// The session is in another database.
    fn changed_database(&mut self, _name: &str) {}
    /// The transaction began or ended.
    fn transaction(&mut self, _change: TransactionChange) {}
    /// The last value of an output parameter.
    fn output(&mut self, _name: &str, _sql_type: &SqlType, _bytes: Option<&[u8]>) {}
}

/// Keeps the first error of the statements that it is given to.
#[derive(Default)]
pub(crate) struct FirstError(pub Option<SqlError>);

impl ResultSink for FirstError {
    fn row(&mut self, _: &[Cell<'_>]) -> bool {
        true
    }
    fn error(&mut self, error: &SqlError) {
        self.0.get_or_insert_with(|| error.clone());
    }
}

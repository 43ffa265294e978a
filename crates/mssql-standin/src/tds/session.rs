//! What the server asks of whatever answers: the seam between TDS and T-SQL.
//!
//! ```text
//! client ── TDS ──► server ── Engine::login ──► Session (one per connection)
//!                          ── Session::execute(Request) ──► Results: columns, rows, done, messages, ...
//! ```
//!
//! A session is called from one thread at a time, on a thread where it may block (for a lock, say). What it gives to [`Results`]
//! goes out while it still works; when the client reads slowly, [`Results::row`] waits. Cells are in the form in
//! which SQL Server *stores* them ([`SqlType`] has the table), both ways, with these exceptions, which TDS carries as text:
//!
//! * `Xml` is UTF-16LE text: the binary form of storage is the session's to convert.
//! * `Json` and `Vector` are UTF-16LE text and come to clients as `nvarchar(max)`.
//!
//! What the layer below does by itself: `sp_executesql`, `sp_prepare`, `sp_execute`, `sp_prepexec` and `sp_unprepare` become
//! [`Request::Sql`]; passwords and databases are for [`Engine::login`].

use std::fmt;

use logferry_model::{Cell, Collation, SqlType};

use super::answer::Watch;
use super::login::Login;

/// Who can log in, and what they get.
pub trait Engine: Send + Sync + 'static {
    /// Checks user, password and database. The errors are sent in order; [`SqlError::login_failed`] and
    /// [`SqlError::cannot_open_database`] have them as SQL Server words them.
    fn login(&self, login: &Login) -> Result<LoggedIn, Vec<SqlError>>;
}

/// A login that was let in.
pub struct LoggedIn {
    /// Answers from now on.
    pub session: Box<dyn Session>,
    /// `@@SPID`
    pub spid: u16,
    /// The database it is in.
    pub database: String,
    /// The server's collation.
    pub collation: Collation,
}

/// One connection's state: variables, temporary tables, the open transaction. Dropped when the connection ends: roll back then.
pub trait Session: Send {
    /// Does what was asked. Errors of statements go to [`Results::error`]; an `Err` is only handed through from
    /// `results`, and means that nobody reads on: roll back the statement and return.
    fn execute(&mut self, request: &Request, results: &mut dyn Results) -> Result<(), Stopped>;

    /// The columns of the first result of a statement that is being prepared, empty if it has none; an error if it cannot be.
    fn describe(&mut self, _sql: &str, _declarations: &str) -> Result<Vec<Column>, SqlError> {
        Ok(Vec::new())
    }

    /// Rolls the transaction back, if one is open, as for a deadlock's victim.
    fn roll_back(&mut self, results: &mut dyn Results) -> Result<(), Stopped>;

    /// Before the next request of a pooled connection: back to how it was after the login (settings, temporary
    /// tables, database), and rolled back unless `keep_transaction`.
    fn reset(&mut self, keep_transaction: bool, results: &mut dyn Results) -> Result<(), Stopped>;
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// A batch of T-SQL.
    Batch(String),
    /// One statement or several, with parameters.
    Sql {
        /// The T-SQL.
        text: String,
        /// `@P1 int, @P2 nvarchar(4000) OUTPUT`, as sent.
        declarations: String,
        /// The values, in order or by name.
        parameters: Vec<Parameter>,
    },
    /// A call of a procedure.
    Procedure {
        /// As sent: `sys.sp_tables`, `[dbo].[p]`.
        name: String,
        /// The values, in order or by name.
        parameters: Vec<Parameter>,
    },
    /// A transaction as drivers begin and end it, without T-SQL.
    Transaction(Transaction),
    /// Rows, behind a batch of `INSERT BULK`.
    Bulk(SentTable),
}

/// A parameter of a statement or procedure.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// With its `@`; empty: by position.
    pub name: String,
    /// The type that the client sent it as, which need not be the declared one.
    pub sql_type: SqlType,
    /// NULL, or the bytes of a cell.
    pub value: Option<Vec<u8>>,
    /// The client wants its value back: [`Results::output`].
    pub output: bool,
    /// No value: the procedure's own default.
    pub default: bool,
    /// Of a table-valued parameter: its rows, in place of a value.
    pub table: Option<TableParameter>,
}

/// Rows that a client sends.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SentTable {
    /// Its columns, as the client knows them.
    pub columns: Vec<SentColumn>,
    /// Cells in the form of storage; `None` for NULL.
    pub rows: Vec<Vec<Option<Vec<u8>>>>,
}

/// A column of such rows.
#[derive(Debug, Clone, PartialEq)]
pub struct SentColumn {
    /// Its name; empty in table-valued parameters.
    pub name: String,
    /// The type that the client sends it as.
    pub sql_type: SqlType,
}

/// A table-valued parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct TableParameter {
    /// Schema and name of its type, as far as the client says them.
    pub type_name: Vec<String>,
    /// Its rows.
    pub table: SentTable,
}

impl Parameter {
    /// The value as a cell.
    pub fn cell(&self) -> Cell<'_> {
        self.value.as_deref().map_or(Cell::Null, Cell::Bytes)
    }
}

/// Of drivers that begin and end transactions by a request of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transaction {
    /// Begin; answered by [`Environment::Began`].
    Begin {
        /// Level from now on, if it is to change.
        isolation: Option<Isolation>,
        /// Empty: none.
        name: String,
    },
    /// Commit; answered by [`Environment::Committed`].
    Commit {
        /// Empty: the innermost.
        name: String,
        /// Begin the next one at once.
        then_begin: Option<(Option<Isolation>, String)>,
    },
    /// Roll back, to a savepoint where it names one; answered by [`Environment::RolledBack`] unless so.
    Rollback {
        /// Empty: all.
        name: String,
        /// Begin the next one at once.
        then_begin: Option<(Option<Isolation>, String)>,
    },
    /// Set a savepoint.
    Save {
        /// Its name.
        name: String,
    },
}

/// Isolation levels of [`Transaction::Begin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
    Snapshot,
}

/// Where a session's answers go.
pub trait Results {
    /// Begins a result; ends with [`Results::done`].
    fn columns(&mut self, columns: &[Column]) -> Result<(), Stopped>;

    /// A row of the result that was begun. Waits for a client that reads slowly.
    ///
    /// # Panics
    /// When there is not one cell per column, or a cell does not have its type's form: the session's bug.
    fn row(&mut self, cells: &[Cell<'_>]) -> Result<(), Stopped>;

    /// A statement is over. `rows`: how many it gave or changed; `None` where that is not said (`SET NOCOUNT ON`, DDL).
    fn done(&mut self, rows: Option<u64>) -> Result<(), Stopped>;

    /// An error of a statement, or a message (`PRINT`, `RAISERROR` up to class 10).
    fn error(&mut self, error: &SqlError) -> Result<(), Stopped>;

    /// Something that drivers keep track of has changed.
    fn environment(&mut self, change: Environment<'_>) -> Result<(), Stopped>;

    /// The status a procedure returns; 0 unless called.
    fn return_status(&mut self, status: i32) -> Result<(), Stopped>;

    /// The last value of the output parameter at `ordinal`, an index of the request's parameters.
    fn output(&mut self, ordinal: usize, name: &str, sql_type: &SqlType, cell: Cell<'_>) -> Result<(), Stopped>;

    /// While on, nothing here waits for the client: what it has not taken yet is kept in memory. For a session that gives rows
    /// while others wait for it. Switched off, what was kept goes out first.
    fn keep(&mut self, on: bool) -> Result<(), Stopped>;

    /// Whether the client is still there and has not asked to stop. To be asked in work that gives no rows.
    fn wanted(&self) -> Result<(), Stopped>;

    /// Asks the same where these results are out of reach.
    fn watch(&self) -> Watch;
}

/// The client has asked to stop, or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name, or its alias; may be empty.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
    /// Whether a cell may be NULL.
    pub nullable: bool,
    /// `IDENTITY`
    pub identity: bool,
    /// Computed.
    pub computed: bool,
    /// Schema and table it comes from: sent for `text`, `ntext` and `image` alone.
    pub table: Option<(String, String)>,
}

impl Column {
    /// A nullable column that is nothing special.
    pub fn new(name: impl Into<String>, sql_type: SqlType) -> Self {
        Column { name: name.into(), sql_type, nullable: true, identity: false, computed: false, table: None }
    }
}

/// What drivers keep track of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment<'a> {
    /// `USE`
    Database {
        /// before
        old: &'a str,
        /// now
        new: &'a str,
    },
    /// `SET LANGUAGE`
    Language {
        /// before
        old: &'a str,
        /// now
        new: &'a str,
    },
    /// The outermost transaction has begun; the number is the session's own, not 0.
    Began(u64),
    /// That transaction is committed.
    Committed(u64),
    /// That transaction is rolled back, by whatever cause.
    RolledBack(u64),
}

/// An error or a message, as SQL Server numbers and words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// `ERROR_NUMBER()`
    pub number: i32,
    /// `ERROR_STATE()`
    pub state: u8,
    /// Severity: up to 10 a message, above an error, from 20 on the connection ends.
    pub class: u8,
    /// The text.
    pub message: String,
    /// The procedure it happened in; empty: none.
    pub procedure: String,
    /// The line of the batch, from 1.
    pub line: i32,
}

impl SqlError {
    /// An error of state 1 in line 1.
    pub fn new(number: i32, class: u8, message: impl Into<String>) -> Self {
        SqlError { number, state: 1, class, message: message.into(), procedure: String::new(), line: 1 }
    }

    /// 18456: wrong name or wrong password.
    pub fn login_failed(user: &str) -> Self {
        SqlError::new(18456, 14, format!("Login failed for user '{user}'."))
    }

    /// 1205: the victim of a deadlock.
    pub fn deadlock_victim(spid: u16) -> Self {
        let text = format!(
            "Transaction (Process ID {spid}) was deadlocked on lock resources with another process and has been chosen as the deadlock victim. Rerun the transaction."
        );
        SqlError { state: 51, ..SqlError::new(1205, 13, text) }
    }

    /// 978: the database is one of a secondary replica for readers. Followed by 18456.
    pub fn read_intent_only(database: &str) -> Self {
        let text = format!(
            "The target database ('{database}') is in an availability group and is currently accessible for connections when the application \
             intent is set to read only. For more information about application intent, see SQL Server Books Online."
        );
        SqlError::new(978, 14, text)
    }

    /// 4060: there is no such database, or the login may not use it. Followed by 18456.
    pub fn cannot_open_database(database: &str) -> Self {
        SqlError::new(
            4060,
            11,
            format!("Cannot open database \"{database}\" requested by the login. The login failed."),
        )
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SqlError { number, state, class, message, line, .. } = self;
        write!(f, "error {number}, class {class}, state {state}, line {line}: {message}")
    }
}

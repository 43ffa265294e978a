//! What can go wrong on the target.
//!
//! Two things are kept out of every message: passwords, and row values. PostgreSQL puts row values into
//! the `DETAIL` of its errors ("Key (id)=(5) already exists."), so only the primary message, the
//! constraint and the column are taken over.

use std::fmt;

use logferry_model::{Class, Fault, Lsn};
use tokio_postgres::error::SqlState;

/// What went wrong on the target.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection string is not one.
    #[error("the connection string of the target {0}")]
    ConnectionString(String),
    /// Certificates could not be set up.
    #[error("could not set up TLS for the target: {0}")]
    Tls(String),
    /// No connection.
    #[error("could not connect to {target}: {said}")]
    Connect {
        /// host, port, database, user
        target: String,
        /// what the server or the system said
        said: Said,
    },
    /// A statement failed.
    #[error("could not {doing}: {said}")]
    Sql {
        /// what was done, with the table's name
        doing: String,
        /// what the server said
        said: Said,
    },
    /// The answer to a COMMIT did not come: it may have happened or not.
    #[error("lost the answer to the commit of {what}: {said}")]
    CommitUnknown {
        /// what was to be committed
        what: String,
        /// what the system said
        said: Said,
    },
    /// The sink was used after an error.
    #[error("the target connection was used after an error")]
    Broken,
    /// The state tables were made by a newer logferry.
    #[error("the target's \"logferry\" schema has version {found}; this logferry knows up to {known}")]
    NewerState {
        /// the version there
        found: i32,
        /// the newest that is known
        known: i32,
    },
    /// Another process took the task.
    #[error("another logferry took over task \"{task}\" (lease epoch {theirs} > {ours})")]
    Fenced {
        /// the task
        task: String,
        /// our epoch
        ours: i64,
        /// the epoch that is there
        theirs: i64,
    },
    /// A task that should be there is not.
    #[error("task \"{task}\" is no longer recorded on the target")]
    TaskGone {
        /// the task
        task: String,
    },
    /// A checkpoint before the one that is there.
    #[error("the checkpoint of task \"{task}\" would go back from {there} to {wanted}")]
    Backwards {
        /// the task
        task: String,
        /// what the target has
        there: String,
        /// what was to be written
        wanted: Lsn,
    },
    /// A step that does not fit the phase.
    #[error("task \"{task}\" is in phase \"{phase}\": {what} does not fit")]
    Phase {
        /// the task
        task: String,
        /// its phase
        phase: String,
        /// the step
        what: &'static str,
    },
    /// What is stored cannot be read.
    #[error("the state of task \"{task}\" on the target cannot be read: {what}")]
    BadState {
        /// the task
        task: String,
        /// what is wrong
        what: String,
    },
    /// Tables that are to be made are there.
    #[error("these tables are on the target already: {}", .0.join(", "))]
    TablesExist(Vec<String>),
    /// Tables that are to be there are not.
    #[error("these tables are not on the target: {}", .0.join(", "))]
    TablesMissing(Vec<String>),
    /// Existing tables have other columns.
    #[error("tables on the target do not fit: {}", .0.join("; "))]
    TablesDiffer(Vec<String>),
    /// Columns are of types that the target does not have.
    #[error("the target lacks types: {}", .0.join("; "))]
    TypesMissing(Vec<String>),
    /// What has the name of an alias type is no domain over its type.
    #[error("domain {name} would be of {wanted}; on the target that name has {found}")]
    DomainDiffers {
        /// the domain, in quotes
        name: String,
        /// what it is of there
        found: String,
        /// what it would be of
        wanted: String,
    },
    /// A statement that gives a table its new shape failed.
    #[error("could not change table {table} as the source did, by {step}: {said}")]
    Schema {
        /// the table
        table: String,
        /// what was done
        step: String,
        /// what the server said
        said: Said,
    },
    /// A new shape that PostgreSQL has no statement for.
    #[error("could not change a table as the source did: {0}")]
    Reshape(String),
    /// A name that PostgreSQL cuts.
    #[error("the name {0} has more than 63 bytes, which PostgreSQL would cut")]
    NameTooLong(String),
    /// Chunks that should be copied are not.
    #[error("the copy of table {table} is not complete: {found} of {expected} chunks are recorded")]
    ChunksMissing {
        /// the table
        table: String,
        /// chunks expected
        expected: u64,
        /// chunks recorded
        found: u64,
    },
    /// COPY took another number of rows than the caller counted.
    #[error("chunk {number} of table {table}: {sent} rows were sent, PostgreSQL counted {copied}")]
    CopyCount {
        /// the table
        table: String,
        /// the chunk
        number: u32,
        /// rows that the caller counted
        sent: u64,
        /// rows that PostgreSQL counted
        copied: u64,
    },
    /// The rows on the target are not those that the change speaks of.
    #[error("table {table} has diverged: {op} found {found} of {expected} rows")]
    Diverged {
        /// the table
        table: String,
        /// the operation
        op: &'static str,
        /// rows that had to be there
        expected: u64,
        /// rows that were there
        found: u64,
    },
    /// A row that is to be inserted is there, or something that belongs to it.
    #[error("table {table} has diverged: {op} of {rows} rows hit a row that is there already: {said}")]
    Duplicate {
        /// the table
        table: String,
        /// the operation
        op: &'static str,
        /// rows in the statement
        rows: u64,
        /// the server's words
        said: Said,
    },
    /// Keys that rows are to have are still those of other rows.
    #[error("{rows} rows of table {table} are to have keys that other rows of it have {when} of their transaction")]
    Taken {
        /// the table
        table: String,
        /// rows that wait for their keys
        rows: usize,
        /// so far or in the end
        when: &'static str,
    },
    /// PostgreSQL refuses the values.
    #[error("table {table} refused {op} of {rows} rows: {said}")]
    Refused {
        /// the table
        table: String,
        /// the operation
        op: &'static str,
        /// rows in the statement
        rows: u64,
        /// the server's words
        said: Said,
    },
    /// Changes that contradict each other.
    #[error("changes of table {table} contradict each other: {what}")]
    Contradiction {
        /// the table
        table: String,
        /// how
        what: &'static str,
    },
    /// Changes that do not say enough.
    #[error("changes of table {table} are incomplete: {what}")]
    Incomplete {
        /// the table
        table: String,
        /// what is missing
        what: &'static str,
    },
    /// A table of which nothing was said.
    #[error("changes of table {table} came before its definition")]
    Undefined {
        /// the table
        table: String,
    },
}

/// What the server said, or the system where it said nothing, without row values.
#[derive(Debug, Clone)]
pub struct Said {
    code: Option<SqlState>,
    text: String,
    constraint: Option<String>,
}

impl Said {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Said { code: None, text: text.into(), constraint: None }
    }

    /// The same, without what it says of single values: they are in its messages where a value cannot be converted.
    pub(crate) fn without_values(e: tokio_postgres::Error) -> Self {
        let said = Said::from(e);
        match &said.code {
            Some(code) if code.code().starts_with("22") => {
                let text = "a value that is there does not fit".to_owned();
                Said { text, ..said }
            }
            _ => said,
        }
    }

    /// The SQLSTATE, where it was the server who said it.
    pub fn code(&self) -> Option<&SqlState> {
        self.code.as_ref()
    }

    /// The constraint, or the unique index, that stands against it.
    pub(crate) fn constraint(&self) -> Option<&str> {
        self.constraint.as_deref()
    }

    fn class(&self) -> Class {
        let Some(code) = &self.code else { return Class::Transient };
        match code.code().get(..2).unwrap_or_default() {
            // Connection, transaction rollback (deadlock, serialization), resources, operator intervention, system.
            "08" | "40" | "53" | "57" | "58" => Class::Transient,
            // Lock not available and the like.
            "55" => Class::Transient,
            // Data exception, integrity constraint violation.
            "22" | "23" => Class::Table,
            "XX" => Class::Transient,
            _ => Class::Operator,
        }
    }
}

impl From<tokio_postgres::Error> for Said {
    fn from(e: tokio_postgres::Error) -> Self {
        let Some(db) = e.as_db_error() else {
            // The source says more ("connection refused"); none of it holds a password.
            let mut text = e.to_string();
            let mut cause = std::error::Error::source(&e);
            while let Some(c) = cause {
                let more = c.to_string();
                if !text.contains(&more) {
                    text = format!("{text}: {more}");
                }
                cause = c.source();
            }
            return Said { code: None, text, constraint: None };
        };
        let mut text = db.message().to_owned();
        // "COPY t, line 3, column c": binary data, so no value in it.
        if let Some(place) = db.where_().and_then(|w| w.lines().next()).filter(|w| w.starts_with("COPY ")) {
            text = format!("{text} ({place})");
        } else if let Some(column) = db.column() {
            text = format!("{text} (column \"{column}\")");
        }
        Said { code: Some(db.code().clone()), text, constraint: db.constraint().map(str::to_owned) }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{} [{}]", self.text, code.code()),
            None => f.write_str(&self.text),
        }
    }
}

impl Error {
    /// Makes an error of what the server said when `doing` was done.
    pub(crate) fn sql(doing: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Error {
        move |e| Error::Sql { doing: doing.into(), said: e.into() }
    }

    /// What can be done about it.
    pub fn class(&self) -> Class {
        match self {
            Error::Connect { said, .. }
            | Error::Sql { said, .. }
            | Error::Refused { said, .. }
            | Error::Schema { said, .. } => said.class(),
            Error::CommitUnknown { .. } => Class::Transient,
            Error::Diverged { .. } | Error::Duplicate { .. } | Error::Taken { .. } => Class::Table,
            Error::Broken
            | Error::Contradiction { .. }
            | Error::Undefined { .. }
            | Error::CopyCount { .. }
            | Error::Phase { .. }
            | Error::ChunksMissing { .. } => Class::Bug,
            Error::ConnectionString(_)
            | Error::Tls(_)
            | Error::NewerState { .. }
            | Error::Fenced { .. }
            | Error::TaskGone { .. }
            | Error::Backwards { .. }
            | Error::BadState { .. }
            | Error::TablesExist(_)
            | Error::TablesMissing(_)
            | Error::TablesDiffer(_)
            | Error::TypesMissing(_)
            | Error::DomainDiffers { .. }
            | Error::NameTooLong(_)
            | Error::Reshape(_)
            | Error::Incomplete { .. } => Class::Operator,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Error::ConnectionString(_) => {
                "use postgres://user:password@host:port/database?sslmode=verify-full, or host=... user=... dbname=..."
            }
            Error::Tls(_) => "give the authority's certificate with sslrootcert=FILE, or choose another sslmode",
            Error::Connect { said, .. } => match said.code() {
                Some(code) if code.code().starts_with("28") => "check user and password, and the server's pg_hba.conf",
                Some(code) if *code == SqlState::INVALID_CATALOG_NAME => "create the database first",
                Some(_) => return None,
                None => "check that the server runs, that host and port are right, and sslmode and sslrootcert",
            },
            Error::NewerState { .. } => "use the newer logferry",
            Error::Fenced { .. } => "stop one of the two, or give them different task names",
            Error::TaskGone { .. } => "somebody removed it; start the task anew",
            Error::Backwards { .. } => {
                "the source was wound back, or two sources feed one task: give each its own task name"
            }
            Error::TablesExist(_) => {
                "drop or rename them, or say what becomes of them (target.on_existing: ignore, truncate or recreate), or leave them out (tables.exclude)"
            }
            Error::TypesMissing(_) => {
                "CREATE EXTENSION ... SCHEMA public in the target database; or another form under types"
            }
            Error::DomainDiffers { .. } => {
                "drop or rename it on the target; or leave columns their base types: alias_types: base"
            }
            Error::TablesMissing(_) => "make them, or have them made: phases with \"schema\"",
            Error::TablesDiffer(_) => "mend the columns on the target, or let logferry recreate the tables",
            Error::Schema { said, .. } if said.code() == Some(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST) => {
                "changes before it are applied; drop what depends on it (a view, a foreign key), start the task, make it again"
            }
            Error::Schema { .. } | Error::Reshape(_) => {
                "changes before it are applied; ddl: ignore leaves the tables as they are, or copy anew under another task name"
            }
            Error::NameTooLong(_) => "map it to a shorter name",
            Error::Diverged { .. } => {
                "something else writes to this table, or it was changed after the copy: reload the table"
            }
            Error::Duplicate { .. } => {
                "something else writes to this table, or it was changed after the copy: reload the table. Where rows of one large transaction \
                 take each other's keys: set apply.batch_rows and apply.batch_mb so high that it is one batch"
            }
            Error::Taken { .. } => {
                "set apply.batch_rows and apply.batch_mb so high that the transaction is one batch; or, where something else writes to this \
                 table: reload it"
            }
            Error::Incomplete { .. } => "reload the table, or give it a primary key",
            Error::Sql { said, .. } if said.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
                "grant the right to the user of the target connection"
            }
            Error::Refused { .. } => "widen the column on the target, or map its type otherwise",
            _ => return None,
        })
    }
}

impl From<Error> for Fault {
    fn from(e: Error) -> Self {
        let fault = Fault::new(e.class(), e.to_string());
        match e.hint() {
            Some(hint) => fault.with_hint(hint),
            None => fault,
        }
    }
}

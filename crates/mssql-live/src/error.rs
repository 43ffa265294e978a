//! What can go wrong with a running server.
//!
//! The server's own words are kept: they name the object and the right that is missing. They have no row values in them,
//! because nothing is asked of the server that converts a value and may fail at it.

use logferry_model::{Class, Fault, Lsn};

/// What went wrong.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No connection.
    #[error("could not connect to {server}: {said}")]
    Connect {
        /// user, host, port, database
        server: String,
        /// what the system said
        said: String,
    },
    /// The server is there, and does not let us in.
    #[error("{server} refused the login: {said} (error {number})")]
    Login {
        /// user, host, port, database
        server: String,
        /// the server's number
        number: u32,
        /// the server's words
        said: String,
    },
    /// No encryption, or with somebody who is not believed.
    #[error("no trusted connection to {server}: {said}")]
    Tls {
        /// user, host, port, database
        server: String,
        /// what is wrong
        said: String,
        /// what to do
        hint: &'static str,
    },
    /// Something is asked for that this binary does not have.
    #[error("{what} is set, and this logferry was built without it")]
    NotBuilt {
        /// a key of the task
        what: &'static str,
        /// a feature of the build
        feature: &'static str,
    },
    /// No ticket.
    #[error("could not log in to {server} by Kerberos: {said}")]
    Kerberos {
        /// host, port, database
        server: String,
        /// the words of the system's library
        said: String,
    },
    /// The server said no.
    #[error("could not {doing}: {said} (error {number})")]
    Statement {
        /// what was done
        doing: String,
        /// the server's number
        number: u32,
        /// the server's words
        said: String,
    },
    /// The connection broke.
    #[error("could not {doing}: {said}")]
    Broken {
        /// what was done
        doing: String,
        /// what the system or the client said
        said: String,
    },
    /// Nothing came for too long.
    #[error("could not {doing}: no answer for {seconds} s")]
    Silent {
        /// what was done
        doing: String,
        /// how long
        seconds: u64,
    },
    /// The answer is not what was asked for.
    #[error("could not {doing}: {what}")]
    Unexpected {
        /// what was done
        doing: String,
        /// what came
        what: String,
    },
    /// The log was truncated before it was read.
    #[error(
        "gap: the log from {from} on is no longer there{}, and no log backup leads on: {said}",
        begins.map_or_else(String::new, |begins| format!(", it begins at {begins}"))
    )]
    Gap {
        /// where reading was to go on
        from: Lsn,
        /// where the log begins, if it has anything
        begins: Option<Lsn>,
        /// the server's words
        said: String,
    },
    /// A record of rows of which nobody says whose they are.
    #[error("log record {lsn} changes rows of rowset {rowset}, and no table has or had it")]
    UnknownRowset {
        /// `sys.partitions.partition_id`
        rowset: u64,
        /// the record
        lsn: Lsn,
    },
    /// A page of rows of which nobody says whose they are.
    #[error("log record {lsn} fills a page of allocation unit {unit}, and no table has or had it")]
    UnknownUnit {
        /// `sys.allocation_units.allocation_unit_id`
        unit: u64,
        /// the record
        lsn: Lsn,
    },
    /// Rows were loaded that the log does not have.
    #[error("gap: at {at} rows were loaded in bulk that are not in the log: the recovery model was not FULL then")]
    Unlogged {
        /// a record of it
        at: Lsn,
    },
    /// The temporary file for keys of large transactions.
    #[error("a temporary file cannot be written or read: {0}")]
    Temporary(String),
    /// A key that cannot be handed back to the server.
    #[error(
        "a changed row of table \"{table}\" cannot be looked up: its key column \"{column}\" has bytes that are no text in the code \
         page of its collation"
    )]
    Key {
        /// the table
        table: String,
        /// the column
        column: String,
    },
    /// The database is not set up for what is asked.
    #[error("database \"{database}\" cannot be followed by its log: {why}")]
    NotSetUp {
        /// the database
        database: String,
        /// what is missing
        why: &'static str,
        /// what mends it
        mend: String,
    },
    /// Something that change data capture needs is not there.
    #[error("{what}")]
    NotCaptured {
        /// what is missing
        what: String,
        /// what mends it
        mend: String,
    },
    /// Captured changes were cleaned up before they were read.
    #[error(
        "the changes of table \"{table}\" after {from} are no longer there: capture instance \"{instance}\" begins at {low}"
    )]
    CdcGap {
        /// the table
        table: String,
        /// its capture instance
        instance: String,
        /// where reading was to go on
        from: Lsn,
        /// what the server still has
        low: Lsn,
    },
    /// Change data capture was disabled while it was read.
    #[error("change data capture was disabled for the database: what was committed since is not captured")]
    CdcGone,
    /// A start whose changes are not all there.
    #[error("changes from {asked} on are not to be had: {what} begins at {first}")]
    StartTooEarly {
        /// LSN or time
        asked: String,
        /// what does not go back so far
        what: &'static str,
        /// the first that is there
        first: Lsn,
    },
    /// A start that nothing has reached.
    #[error("the start {asked} is of another history, or of another database: the last record is {end}")]
    StartTooLate {
        /// what was asked for
        asked: Lsn,
        /// the last that is there
        end: Lsn,
    },
    /// Conditions that tables cannot have, a line each.
    #[error("{0}")]
    Condition(String),
    /// A table is not listed any more, and did not go.
    #[error("table \"{table}\" is not listed on the source any more, and does not count as dropped: {why}")]
    Unseen {
        /// the table
        table: logferry_model::TableName,
        /// the database user of the login
        user: String,
        /// what was found instead
        why: String,
    },
    /// A table of `mode: hybrid` that the log does not serve, or no more.
    #[error("table \"{table}\" is to be read by change data capture, for which the readers begin anew: {why}")]
    OtherReader {
        /// the table
        table: logferry_model::TableName,
        /// why it is not read by the log
        why: String,
    },
    /// The history of the database is not shown any more.
    #[error(
        "the server does not show any more which history database \"{database}\" has: whether it is the one that the target has cannot be told"
    )]
    HistoryHidden {
        /// the database
        database: String,
    },
    /// Another database than the one that the task began with.
    #[error("{0}")]
    OtherDatabase(String),
}

impl Error {
    /// What a client's error means while something was done.
    pub(crate) fn of(doing: &str, error: &tiberius::error::Error) -> Self {
        let doing = doing.to_owned();
        match error {
            tiberius::error::Error::Server(e) => {
                Error::Statement { doing, number: e.code(), said: e.message().trim().to_owned() }
            }
            other => Error::Broken { doing, said: other.to_string() },
        }
    }

    /// Whether it may go away by itself.
    pub(crate) fn is_transient(&self) -> bool {
        self.class() == Class::Transient
    }

    fn class(&self) -> Class {
        match self {
            Error::Connect { .. } | Error::Broken { .. } | Error::Silent { .. } | Error::OtherReader { .. } => {
                Class::Transient
            }
            Error::Statement { number, .. } | Error::Login { number, .. } if is_transient(*number) => Class::Transient,
            Error::Unexpected { .. } => Class::Bug,
            _ => Class::Operator,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Login { number: 18456, .. } => {
                "check source.user and source.password, and that the server allows SQL Server authentication (mixed mode)"
                    .to_owned()
            }
            Error::Login { number: 4060, .. } => {
                "check source.database, and that the login has a user in it: CREATE USER ... FOR LOGIN ...".to_owned()
            }
            Error::Tls { hint, .. } => (*hint).to_owned(),
            Error::NotBuilt { feature, .. } => format!("cargo build --release --features {feature}"),
            Error::Kerberos { .. } => {
                "see that there is a ticket (kinit, klist; KRB5CCNAME, or KRB5_CLIENT_KTNAME for a keytab), and that the server is known as \
                 MSSQLSvc/host:port (setspn -L), with source.host as its full name"
                    .to_owned()
            }
            Error::Statement { number: 229 | 230 | 262 | 297 | 300, .. } => {
                "grant the right that is named to the task's user".to_owned()
            }
            Error::Statement { number: 15517 | 22830 | 22832, .. } => {
                "where the owner of the database is a login that this server does not know: ALTER AUTHORIZATION ON DATABASE::[...] TO [sa]"
                    .to_owned()
            }
            Error::Gap { .. } => {
                "put the log backups back to where msdb says that they are, and let the task's user read them (sys.fn_dump_dblog, msdb); or \
                 set source.on_gap: resync, to have all tables read anew; source.hold_log keeps the log while the task runs"
                    .to_owned()
            }
            Error::NotCaptured { mend, .. } => mend.clone(),
            Error::CdcGap { .. } | Error::CdcGone => {
                "what was committed in between is not captured: start the task once with --reload TABLE, to have it read anew, as of one \
                 position (that asks for ALLOW_SNAPSHOT_ISOLATION); and let the cleanup job keep changes longer than logferry is ever \
                 stopped (sys.sp_cdc_change_job N'cleanup', @retention = MINUTES)"
                    .to_owned()
            }
            Error::Unlogged { .. } => {
                "set source.on_gap: resync, to have all tables read anew; and keep the recovery model at FULL, or use mode cdc"
                    .to_owned()
            }
            Error::UnknownRowset { .. } | Error::UnknownUnit { .. } => "copy anew under another task name".to_owned(),
            Error::Temporary(_) => "TMPDIR must lead to a folder with room: keys of large transactions are kept there".to_owned(),
            Error::Key { .. } => "leave the table out with tables.exclude".to_owned(),
            Error::NotSetUp { mend, .. } => mend.clone(),
            Error::StartTooEarly { .. } | Error::StartTooLate { .. } => {
                "give a later start, of this database, or have the tables copied: phases: [schema, full, incremental]".to_owned()
            }
            Error::Condition(_) => "mend tables.where: columns of the row, constants, operators, and functions that look at nothing but \
                 their arguments"
                .to_owned(),
            Error::Unseen { table, user, .. } => {
                let (user, table) = (crate::sql::quoted(user), format!("{}.{}", crate::sql::quoted(&table.schema), crate::sql::quoted(&table.name)));
                format!(
                    "GRANT SELECT ON {table} TO {user}, where it is still there; GRANT VIEW DEFINITION TO {user}, by which what was dropped is told \
                     from what is not shown; or ddl: ignore, which leaves the target's table as it is"
                )
            }
            Error::HistoryHidden { .. } => {
                "let the task's login see sys.database_recovery_status: GRANT VIEW ANY DATABASE TO it, in master (public has it by default)"
                    .to_owned()
            }
            Error::OtherDatabase(_) => {
                "point the task at the database that it was copied from, or copy anew under another task name".to_owned()
            }
            _ => return None,
        })
    }
}

/// Errors that go away by themselves: deadlocks, lock timeouts, shutdown and failover, and what the cloud says to be tried again.
/// <https://learn.microsoft.com/azure/azure-sql/database/troubleshoot-common-errors-issues>
fn is_transient(number: u32) -> bool {
    matches!(
        number,
        1205 | 1222
            | 3960
            | 3961
            | 701
            | 802
            | 8645
            | 8651
            | 6005
            | 617
            | 669
            | 671
            | 976
            | 978
            | 979
            | 983
            | 4221
            | 904
            | 921
            | 922
            | 927
            | 615
            | 926
            | 10928
            | 10929
            | 17142
            | 18401
            | 18451
            | 40197
            | 40501
            | 40540
            | 40613
            | 42108
            | 42109
            | 49918
            | 49919
            | 49920
    )
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        let mut fault = Fault::new(error.class(), error.to_string());
        fault.hint = error.hint();
        fault
    }
}

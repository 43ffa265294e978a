//! What can be wrong with files of SQL Server, in words that say which file, where in it, and what to do.

use std::io;
use std::path::PathBuf;

use logferry_model::{Class, Fault, Lsn, TableName};
use logferry_mssql_format::bytes::Malformed;
use logferry_mssql_format::page::PageId;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system could not read or write a file.
    #[error("could not read {path}: {source}", path = path.display())]
    Io {
        /// the file
        path: PathBuf,
        /// what the system said
        source: io::Error,
    },
    /// What does not fit into memory cannot be put aside.
    #[error("could not use a temporary file in {folder}: {source}", folder = folder.display())]
    TemporaryFile {
        /// where temporary files are made
        folder: PathBuf,
        /// what the system said
        source: io::Error,
    },
    /// A store of objects could not be read, or an object of it.
    #[error("{0}")]
    Object(#[from] logferry_object_storage::Error),
    /// Bytes of a file are not what they should be.
    #[error("{path} is damaged at offset {offset}: {source}", path = path.display())]
    Damaged {
        /// the file
        path: PathBuf,
        /// where the damaged structure begins, in bytes from the start of the file
        offset: u64,
        /// what is wrong with it; its own offset counts from the structure's begin
        source: Malformed,
    },
    /// A file ends before its contents do.
    #[error("{path} is cut short: {what} needs {needed} bytes, the file has {len}", path = path.display())]
    CutShort {
        /// the file
        path: PathBuf,
        /// what would go on behind its end
        what: String,
        /// how long the file would have to be
        needed: u64,
        /// how long it is
        len: u64,
    },
    /// A file is none of those that can be read.
    #[error("{path} is not a {expected}: {found}", path = path.display())]
    WrongKind {
        /// the file
        path: PathBuf,
        /// `backup file`, `data file`, `log file`
        expected: &'static str,
        /// what it is instead, or why it is not
        found: String,
    },
    /// A file is one that could be read in principle, but is not yet.
    #[error("{path} cannot be read: {what}", path = path.display())]
    Unsupported {
        /// the file
        path: PathBuf,
        /// what it is
        what: String,
    },
    /// A part of a striped backup is not there.
    #[error("{path} is stripe {stripe} of {stripes}: {missing} missing", path = path.display(), missing = missing_stripes(missing))]
    MissingStripe {
        /// a stripe that is there
        path: PathBuf,
        /// its number, from 1
        stripe: u16,
        /// how many there must be
        stripes: u16,
        /// the numbers that are missing
        missing: Vec<u16>,
    },
    /// A file does not have the backup set that was asked for.
    #[error("{path} has no backup set {number}: it holds {sets}", path = path.display())]
    NoSuchSet {
        /// the file
        path: PathBuf,
        /// the set that was asked for, from 1
        number: u32,
        /// how many there are
        sets: u32,
    },
    /// A file holds several backup sets and none was named.
    #[error("{path} holds {sets} backup sets: say which", path = path.display())]
    WhichSet {
        /// the file
        path: PathBuf,
        /// how many there are
        sets: u32,
    },
    /// Files that belong to different databases, recovery forks, media sets or bases were put together.
    #[error("{path} does not belong to {other}: {why}", path = path.display(), other = other.display())]
    Foreign {
        /// the file that does not fit
        path: PathBuf,
        /// the file that it should fit
        other: PathBuf,
        /// the two identities that differ
        why: String,
    },
    /// The log has a hole.
    #[error("log of database \"{database}\" has a hole: {before} ends at {end}, {after} begins at {begin}")]
    Gap {
        /// the database
        database: String,
        /// what comes before the hole: a file, or a position
        before: String,
        /// up to where the log is there (exclusive)
        end: Lsn,
        /// what comes behind it
        after: String,
        /// from where on the log is there again
        begin: Lsn,
    },
    /// A chain cannot be built from the files that are there.
    #[error("no usable backup chain{}: {why}", of_database(database))]
    NoChain {
        /// the database; empty where there is none
        database: String,
        /// what is missing or does not fit, with the file's name
        why: String,
    },
    /// A page cannot be read.
    #[error("page {page} of {path} cannot be read: {source}", path = path.display())]
    Page {
        /// the file
        path: PathBuf,
        /// the page
        page: PageId,
        /// what is wrong with it
        source: Malformed,
    },
    /// The rows of a table cannot be read; those of others can.
    #[error("rows of table \"{table}\" cannot be read: {why}")]
    UnreadableTable {
        /// the table
        table: TableName,
        /// its storage, and what is not supported about it
        why: String,
    },
    /// There is no such table.
    #[error("there is no table \"{name}\": {near}")]
    NoSuchTable {
        /// what was asked for
        name: String,
        /// what there is
        near: String,
    },
    /// A page could not be brought up to the point of the log that it is read at.
    #[error("page {page} is not known at this point of the log: {why}")]
    LostPage {
        /// the page
        page: PageId,
        /// what happened to it, or what is missing
        why: String,
    },
    /// A change of a row whose bytes are not to be had.
    #[error("the change of a row of {table} by log record {lsn} on page {page} cannot be told: {why}")]
    LostRow {
        /// the table
        table: String,
        /// the record
        lsn: Lsn,
        /// the page
        page: PageId,
        /// what is missing
        why: String,
    },
    /// A log backup holds pages of minimally logged operations.
    #[error("{path} holds pages of minimally logged operations, whose rows are not in the log: {tables}; what was committed before {from} is applied", path = path.display())]
    BulkLogged {
        /// the file
        path: PathBuf,
        /// where the log begins that lacks rows
        from: Lsn,
        /// whose pages they are
        tables: String,
    },
    /// A log record cannot be redone.
    #[error("{0}")]
    Redo(#[from] logferry_mssql_format::redo::RedoError),
    /// A log record cannot be redone that changes rows of a user table.
    #[error("table \"{table}\": {source}")]
    RedoOfRow {
        /// the table
        table: String,
        /// page, slot, log record, and what does not fit
        source: logferry_mssql_format::redo::RedoError,
    },
    /// A log record or a row says what cannot be.
    #[error("{0}")]
    Malformed(#[from] Malformed),
}

impl Error {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Error::Io { .. } => "check that the file exists and that it may be read",
            Error::TemporaryFile { .. } => {
                "make room there, or name another folder in the environment variable TMPDIR; a larger memory.pages_mb needs less of it"
            }
            Error::Object(error) => error.hint(),
            Error::Damaged { .. } | Error::Page { .. } => {
                "copy the file again from the server and compare its size; RESTORE VERIFYONLY tells whether the original is sound"
            }
            Error::CutShort { .. } => "copy the whole file again from the server",
            Error::MissingStripe { .. } => "give all files that the BACKUP statement named",
            Error::Foreign { .. } => "take that file away, or give the files that it belongs to",
            Error::Gap { .. } => "give the log backups that cover the hole, or begin anew from a later full backup",
            Error::NoChain { .. } => "give a full backup, and what was backed up after it",
            Error::BulkLogged { .. } => {
                "make a data backup (BACKUP DATABASE, with or without DIFFERENTIAL), put it beside the other files, and run under another task name (task: in its file, or --name): it begins with the newest data backup; under recovery model FULL such operations do not come again"
            }
            _ => return None,
        })
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let class = match &error {
            Error::Io { source, .. } if source.kind() == io::ErrorKind::Interrupted => Class::Transient,
            Error::Object(error) if error.kind == logferry_object_storage::Kind::Unavailable => Class::Transient,
            Error::UnreadableTable { .. } => Class::Table,
            _ => Class::Operator,
        };
        let fault = Fault::new(class, error.to_string());
        let fault = match error.hint() {
            Some(hint) => fault.with_hint(hint),
            None => fault,
        };
        fault.with_source(error)
    }
}

/// What this crate's functions give.
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn missing_stripes(missing: &[u16]) -> String {
    match missing {
        [one] => format!("stripe {one} is"),
        many => {
            let list: Vec<_> = many.iter().map(u16::to_string).collect();
            format!("stripes {} are", list.join(", "))
        }
    }
}

fn of_database(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" of database \"{name}\"") }
}

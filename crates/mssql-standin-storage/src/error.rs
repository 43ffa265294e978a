//! What can go wrong.

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another open transaction changed the row.
    #[error("the row is locked by an open transaction")]
    Locked,
    /// The key is there already.
    #[error("violation of PRIMARY KEY: the key is in table {0} already")]
    DuplicateKey(String),
    /// No such row.
    #[error("no such row in table {0}")]
    NoSuchRow(String),
    /// No such table, schema, transaction or savepoint.
    #[error("there is no {0}")]
    NotFound(String),
    /// The name is taken.
    #[error("there is already an object named {0}")]
    NameTaken(String),
    /// Something that this engine does not do.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// A row that is too long even with everything outside of it that may be.
    #[error("a row of {0} bytes does not fit on a page")]
    RowTooLong(usize),
    /// A backup that needs another one first.
    #[error("a full backup must be made first")]
    NoFullBackup,
    /// Changes are refused.
    #[error("database {0} is read-only")]
    ReadOnly(String),
    /// A file that is not as it should be.
    #[error("{path}: {what}")]
    Damaged {
        /// the file
        path: String,
        /// what is wrong
        what: String,
    },
    /// A file could not be read.
    #[error("could not read {path}: {source}")]
    Read {
        /// the file
        path: String,
        /// what the system said
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("could not write {path}: {source}")]
    Write {
        /// the file
        path: String,
        /// what the system said
        source: std::io::Error,
    },
}

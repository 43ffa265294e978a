//! What can go wrong when a table is planned and when a row is converted.

use std::fmt;

use logferry_model::{Class, Fault, NoRoom, TableName};

/// A reason why a table cannot be copied as it is; all of them are reported at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}", place = Place(table, column.as_deref()))]
pub struct PlanProblem {
    /// The table, as the source calls it.
    pub table: TableName,
    /// The column, where it is about one.
    pub column: Option<String>,
    /// What is wrong.
    pub problem: String,
    /// The setting that mends it.
    pub hint: String,
}

impl From<PlanProblem> for Fault {
    fn from(problem: PlanProblem) -> Fault {
        Fault::operator(problem.to_string()).with_hint(problem.hint.clone()).with_source(problem)
    }
}

/// What a user should know about how a table is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanNote {
    /// The column, where it is about one.
    pub column: Option<String>,
    /// One sentence.
    pub note: String,
}

impl fmt::Display for PlanNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "column \"{column}\": {}", self.note),
            None => f.write_str(&self.note),
        }
    }
}

/// Why a row was not converted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A value cannot be held by the target, or its bytes are not of its type.
    #[error("could not convert {place}: {reason}", place = Place(table, Some(column)))]
    Cell {
        /// the table, as the source calls it
        table: TableName,
        /// the column, as the source calls it
        column: String,
        /// what is wrong
        reason: CellError,
    },
    /// The row is not of this version of the table.
    #[error("table \"{table}\": a row of {found} values for {expected} columns")]
    Shape {
        /// the table, as the source calls it
        table: TableName,
        /// columns of the plan
        expected: usize,
        /// values of the row
        found: usize,
    },
}

impl From<ConvertError> for Fault {
    fn from(error: ConvertError) -> Fault {
        let (class, hint) = match &error {
            ConvertError::Cell { reason, .. } => (Class::Table, reason.hint()),
            ConvertError::Shape { .. } => (Class::Bug, None),
        };
        let fault = Fault::new(class, error.to_string()).with_source(error);
        match hint {
            Some(hint) => fault.with_hint(hint),
            None => fault,
        }
    }
}

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CellError {
    /// The bytes are not a value of the type: too few or too many.
    #[error("{found} bytes are not a value of its type")]
    Length {
        /// how many there are
        found: usize,
    },
    /// The bytes are a value that the type does not have.
    #[error("{0} is out of range")]
    Range(&'static str),
    /// A NUL character, and the setting is to refuse it.
    #[error("the text has a NUL character")]
    Nul,
    /// Bytes that are no text, and the setting is to refuse them.
    #[error("the text is not valid in its encoding")]
    InvalidText,
    /// The structure of the value (`sql_variant`, `xml`, ...) cannot be read.
    #[error("{0} cannot be read")]
    Structure(&'static str),
    /// PostgreSQL holds at most 1 GiB in a value.
    #[error("the value takes {bytes} bytes, and PostgreSQL holds at most 1 GiB less one byte")]
    TooLarge {
        /// bytes in PostgreSQL's form
        bytes: usize,
    },
    /// Rows stand in memory, less than 4 GiB of them at a time.
    #[error("{0}")]
    NoRoom(#[from] NoRoom),
    /// A row to be copied in full says "unchanged".
    #[error("the value is not part of the row")]
    Missing,
}

impl CellError {
    fn hint(self) -> Option<&'static str> {
        match self {
            CellError::Nul => Some("set types.nul_character to remove or replace"),
            CellError::InvalidText => Some("set types.invalid_text to replace"),
            CellError::Structure("the xml") => {
                Some("set types.xml: bytea for the column to copy its bytes as they are")
            }
            CellError::Structure("the hierarchyid") => Some("set types.hierarchyid: bytea for the column"),
            CellError::Structure("the geometry" | "the geography") => Some("set types.spatial: native for the column"),
            CellError::TooLarge { .. } | CellError::NoRoom(_) => {
                Some("leave the column out, or shorten the value on the source")
            }
            _ => None,
        }
    }
}

struct Place<'a>(&'a TableName, Option<&'a str>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(column) => write!(f, "column \"{}.{column}\"", self.0),
            None => write!(f, "table \"{}\"", self.0),
        }
    }
}

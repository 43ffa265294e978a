//! Errors with the numbers, severities and words of SQL Server, as `sys.messages` has them.

use std::fmt;

use super::sink::ResultSink;

/// A failed statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    /// `sys.messages.message_id`
    pub number: i32,
    /// Severity: 11-16 for what a statement did wrong.
    pub class: u8,
    /// Tells apart places that raise the same error.
    pub state: u8,
    /// Line in the batch, from 1.
    pub line: u32,
    /// The words.
    pub message: String,
    /// What it does beyond ending the statement.
    pub effect: Effect,
    /// The error that servers send behind it; `@@ERROR` and CATCH know that one.
    pub then: Option<Box<SqlError>>,
}

/// What an error does beyond ending its statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The batch goes on with the next statement.
    Statement,
    /// The batch ends.
    Batch,
    /// The batch ends and the transaction is rolled back: deadlock victims, snapshot conflicts.
    Transaction,
}

impl SqlError {
    /// An error of severity 16 that ends its statement.
    pub fn new(number: i32, message: impl Into<String>) -> Self {
        SqlError {
            number,
            class: 16,
            state: 1,
            line: 0,
            message: message.into(),
            effect: Effect::Statement,
            then: None,
        }
    }

    /// An error of severity 16 that ends its batch.
    pub fn batch(number: i32, message: impl Into<String>) -> Self {
        SqlError { effect: Effect::Batch, ..SqlError::new(number, message) }
    }

    /// The same error with another severity.
    pub fn class(self, class: u8) -> Self {
        SqlError { class, ..self }
    }

    /// The same error with another state.
    pub fn state(self, state: u8) -> Self {
        SqlError { state, ..self }
    }

    /// The same error with a line, where it has none yet.
    pub fn at_line(mut self, line: u32) -> Self {
        if self.line == 0 {
            self.line = line;
        }
        self.then = self.then.map(|then| Box::new(then.at_line(line)));
        self
    }

    /// The same error with another behind it.
    pub fn then(self, then: SqlError) -> Self {
        SqlError { then: Some(Box::new(then)), ..self }
    }

    /// The last of those that are sent.
    pub fn last(&self) -> &SqlError {
        self.then.as_ref().map_or(self, |then| then.last())
    }

    /// Gives it to a sink, with what comes behind it.
    pub(super) fn send(&self, out: &mut dyn ResultSink) {
        out.error(self);
        if let Some(then) = &self.then {
            then.send(out);
        }
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SqlError { number, class, state, line, message, .. } = self;
        write!(f, "Msg {number}, Level {class}, State {state}, Line {line}: {message}")
    }
}

impl std::error::Error for SqlError {}

/// What most functions here give.
pub(crate) type Result<T> = std::result::Result<T, SqlError>;

pub(crate) fn syntax(near: &str, line: u32) -> SqlError {
    SqlError::batch(102, format!("Incorrect syntax near '{near}'.")).class(15).at_line(line)
}

/// Syntax that is right, of something that the stand-in leaves out. SQL Server has 40517 for the same case on Azure.
pub(crate) fn unsupported(what: impl fmt::Display) -> SqlError {
    SqlError::batch(40517, format!("The SQL Server stand-in does not support {what}."))
}

pub(crate) fn invalid_object(name: &str) -> SqlError {
    SqlError::batch(208, format!("Invalid object name '{name}'."))
}

pub(crate) fn invalid_column(name: &str) -> SqlError {
    SqlError::batch(207, format!("Invalid column name '{name}'."))
}

pub(crate) fn conversion_failed(what: &str, value: &str, to: &str) -> SqlError {
    SqlError::batch(245, format!("Conversion failed when converting the {what} value '{value}' to data type {to}."))
}

pub(crate) fn overflow(to: &str) -> SqlError {
    SqlError::new(8115, format!("Arithmetic overflow error converting expression to data type {to}.")).state(2)
}

pub(crate) fn overflow_of(from: &str, to: &str) -> SqlError {
    SqlError::new(8115, format!("Arithmetic overflow error converting {from} to data type {to}.")).state(8)
}

pub(crate) fn out_of_range_date(from: &str, to: &str) -> SqlError {
    SqlError::new(
        242,
        format!("The conversion of a {from} data type to a {to} data type resulted in an out-of-range value."),
    )
    .state(3)
}

pub(crate) fn date_from_text() -> SqlError {
    SqlError::new(241, "Conversion failed when converting date and/or time from character string.")
}

//! What went wrong, in the words that an operator needs.

use std::error::Error;
use std::fmt;

/// What can be done about a fault. Only the outermost layer decides what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// It may go away by itself: a connection that broke, a server that restarts.
    Transient,
    /// One table cannot go on; the others can.
    Table,
    /// Somebody must act: a file is missing, a setting is wrong, a right is not granted.
    Operator,
    /// A defect of logferry.
    Bug,
}

/// An error as it crosses crates: class, what happened, what to do.
#[derive(Debug)]
pub struct Fault {
    /// What can be done about it.
    pub class: Class,
    /// What happened: lowercase, no final stop, names the file, table, column or LSN.
    pub message: String,
    /// What the operator should do.
    pub hint: Option<String>,
    /// Where it came from.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    /// A fault of a class.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Fault { class, message: message.into(), hint: None, source: None }
    }

    /// A fault that somebody must act upon.
    pub fn operator(message: impl Into<String>) -> Self {
        Self::new(Class::Operator, message)
    }

    /// A fault that may go away by itself.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(Class::Transient, message)
    }

    /// A defect of logferry.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(Class::Bug, message)
    }

    /// Adds what to do.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds where it came from.
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn Error + 'static))
    }
}

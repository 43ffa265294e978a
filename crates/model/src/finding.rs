//! What a check before the start found.

use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The task would not start, or not keep up what it promises.
    Error,
    /// It would start; somebody should know.
    Warning,
    /// How it would be done: nothing is to be mended.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        })
    }
}

/// Something that is not as a task needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: the server, a database, a table.
    pub subject: String,
    /// What was found, and why it matters.
    pub found: String,
    /// What to type, or to do.
    pub mend: Option<String>,
}

impl Finding {
    /// The task would not start.
    pub fn error(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Finding { severity: Severity::Error, subject: subject.into(), found: found.into(), mend: None }
    }

    /// Somebody should know.
    pub fn warning(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Finding { severity: Severity::Warning, ..Finding::error(subject, found) }
    }

    /// How it would be done.
    pub fn note(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Finding { severity: Severity::Note, ..Finding::error(subject, found) }
    }

    /// Adds what to type.
    #[must_use]
    pub fn mended_by(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }
}

//! How a command can fail, and what is said and returned then.

use std::io;
use std::process::ExitCode;

use logferry_config::ConfigError;
use logferry_model::Fault;
use logferry_mssql_backup::Error as BackupError;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// A mistake in settings or arguments: 2.
    Config(Told),
    /// A check failed, and nothing was written: 3.
    Check(Told),
    /// The rest: 1.
    Other(Told),
    /// Whoever read our output has gone.
    BrokenPipe,
}

/// What is told about it.
#[derive(Debug)]
pub(crate) struct Told {
    message: String,
    hint: Option<String>,
}

impl Failed {
    /// A mistake in the arguments.
    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Failed::Config(Told { message: message.into(), hint: None })
    }

    /// A mistake in the settings.
    pub(crate) fn config(fault: Fault) -> Self {
        Failed::Config(Told::of(fault))
    }

    /// A check that failed.
    pub(crate) fn check(fault: Fault) -> Self {
        Failed::Check(Told::of(fault))
    }

    /// Anything else.
    pub(crate) fn other(message: impl Into<String>) -> Self {
        Failed::Other(Told { message: message.into(), hint: None })
    }

    pub(crate) fn shown(&self) -> String {
        match self {
            Failed::Config(told) | Failed::Check(told) | Failed::Other(told) => told.shown(),
            Failed::BrokenPipe => String::new(),
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Failed::Config(_) => ExitCode::from(2),
            Failed::Check(_) => ExitCode::from(3),
            Failed::Other(_) => ExitCode::from(1),
            Failed::BrokenPipe => ExitCode::SUCCESS,
        }
    }
}

impl Told {
    fn of(fault: Fault) -> Self {
        Told { message: fault.message, hint: fault.hint }
    }

    fn shown(&self) -> String {
        let mut shown = format!("error: {}", self.message);
        for line in self.hint.iter().flat_map(|h| h.lines()) {
            shown.push_str("\n  hint: ");
            shown.push_str(line);
        }
        shown
    }
}

impl From<ConfigError> for Failed {
    fn from(error: ConfigError) -> Self {
        Failed::argument(error.to_string())
    }
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Failed::Other(Told::of(fault))
    }
}

impl From<BackupError> for Failed {
    fn from(error: BackupError) -> Self {
        Fault::from(error).into()
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failed::BrokenPipe,
            _ => Failed::other(format!("could not write the output: {error}")),
        }
    }
}

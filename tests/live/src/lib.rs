//! What must hold of any SQL Server that logferry reads.
//!
//! The suite speaks to the source as any client does (T-SQL over TDS), runs the binary as anybody does (`logferry run TASK.yaml`), and asks
//! the target for its rows. It knows nothing of the stand-in, so that the same tests run against a real SQL Server.
//!
//! ```text
//!  crates/cli/tests (the stand-in) ──┐
//!                                   ├─ Rig ── suite: types, history, maintenance
//!  tests/docker (SQL Server 2022) ──┘
//! ```

mod history;
mod process;
mod source;
mod target;
mod types;

pub use source::Server;
pub use target::Target;

use std::path::PathBuf;

/// What a test runs on.
#[derive(Clone, Debug)]
pub struct Rig {
    /// Where the source is.
    pub server: Server,
    /// Where the target is.
    pub target: Target,
    /// The binary.
    pub logferry: PathBuf,
}

/// A part of the suite: it needs a target of its own.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// What it is called.
    pub name: &'static str,
    what: What,
    mode: Mode,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Types,
    History,
    Maintenance,
}

/// All of it.
pub const PARTS: &[Part] = &[
    Part { name: "types snapshot", what: What::Types, mode: Mode::Snapshot },
    Part { name: "types log", what: What::Types, mode: Mode::Log },
    Part { name: "types cdc", what: What::Types, mode: Mode::Cdc },
    Part { name: "types hybrid", what: What::Types, mode: Mode::Hybrid },
    Part { name: "history log", what: What::History, mode: Mode::Log },
    Part { name: "history cdc", what: What::History, mode: Mode::Cdc },
    Part { name: "history hybrid", what: What::History, mode: Mode::Hybrid },
    Part { name: "maintenance log", what: What::Maintenance, mode: Mode::Log },
    Part { name: "maintenance cdc", what: What::Maintenance, mode: Mode::Cdc },
    Part { name: "maintenance hybrid", what: What::Maintenance, mode: Mode::Hybrid },
];

/// How often a history is killed.
const KILLS: u32 = 4;

impl Part {
    /// The part of this name.
    pub fn named(name: &str) -> &'static Part {
        PARTS.iter().find(|part| part.name == name).unwrap_or_else(|| panic!("the suite has no part {name}"))
    }

    /// Runs it.
    pub async fn run(&self, rig: &Rig) {
        match self.what {
            What::Types => types::types(rig, self.mode).await,
            What::History => history::history(rig, self.mode, KILLS).await,
            What::Maintenance => history::maintenance(rig, self.mode).await,
        }
    }
}

/// How the source is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Once.
    Snapshot,
    /// By its log.
    Log,
    /// By change data capture, which logferry enables.
    Cdc,
    /// By the log, and by change data capture what the log does not serve.
    Hybrid,
}

impl Mode {
    /// As in `source.mode`.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Snapshot => "snapshot",
            Mode::Log => "log",
            Mode::Cdc => "cdc",
            Mode::Hybrid => "hybrid",
        }
    }

    /// Whether changes are followed.
    pub fn follows(self) -> bool {
        self != Mode::Snapshot
    }
}

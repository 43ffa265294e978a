//! One YAML file per task, read into settings that cannot be wrong any more.
//!
//! ```text
//!  text ── raw (what YAML says, with positions) ── check (ranges, names, ${VAR}) ── Task
//! ```
//!
//! Every mistake is one [`ConfigError`] that shows the file, the line with a mark under the place, what was expected,
//! and, for a key that does not exist, the nearest one that does. `${VAR}` in a text is taken from the
//! environment; what came from there, and the password of a URL, is never shown: neither in an error nor by `Debug`.
//!
//! **Invariant:** this is the only place of defaults. Each is a constant in [`defaults`], with its reason.

mod checker;
pub mod defaults;
mod error;
mod filter;
mod object_storage;
mod raw;
mod secret;
mod task;

pub use error::ConfigError;
pub use filter::{Pattern, RowCondition, TableFilter};
pub use object_storage::{ObjectCredentials, ObjectRole, ObjectStorage};
pub use secret::{Secret, redact};
pub use task::{
    ALL_DATABASES, ApplySettings, BackupSource, CopySettings, DdlPolicy, HoldLog, Login, MemorySettings, OnExisting,
    OnGap, PerDatabase, Phases, RetrySettings, ServerMode, ServerSource, Source, TargetSettings, Task, Trust,
};

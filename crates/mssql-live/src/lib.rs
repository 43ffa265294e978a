//! Reads a running SQL Server.
//!
//! ```text
//!  TCP ── tls ── session ── pool ─┬─ catalog ── TableVersions
//!                                 └─ copy ──── rows of a chunk, as SQL Server stores them
//! ```
//!
//! Everything asked of the server is in `sql/*.sql`, with parameters instead of values, so that the server keeps one plan per
//! text; only what a table is called, which columns it has and which rows of it are wanted is put into a text: names always quoted,
//! conditions as `condition` lets them through. Nothing is created or changed unless the settings say so.
//!
//! **Invariants:** a connection whose answer was not read to its end is never used again; every wait has a bound; a value
//! that the client library would round or refuse is asked for in another form ([`value`]).

mod catalog;
mod cdc;
mod check;
mod chunks;
mod condition;
mod door;
mod error;
mod fence;
mod hybrid;
mod log;
mod pool;
mod reading;
mod session;
mod settings;
mod source;
mod sql;
mod start;
mod tls;
mod unseen;
pub mod value;

pub use cdc::CdcSettings;
pub use check::check;
pub use condition::Conditions;
pub use error::Error;
pub use hybrid::teardown;
pub use settings::{Address, HoldLog, LogSettings, OnGap, Settings, Token, Trust};
pub use source::{LiveSource, Mode, Wanted};

//! T-SQL: batches in, results and errors out, over databases of [`logferry_mssql_standin_storage`].
//!
//! ```text
//!  text ── token ── parse ── ast ── bind ── plan ── run, eval ── rows
//!                                   │                  │
//!                                catalog            change, define ── storage (pages, log)
//! ```
//!
//! `server` is what sessions share, `session` runs batches: statement by statement, transactions, waiting. `bind` finds names
//! and types, `run` gives rows, `change` writes them, `define` makes and drops. `function` and `convert` are the values' part.
//!
//! `dblog` shows the log as rows, `cdc` is change data capture: both over the log that storage writes. `keep` is databases in a folder, from one server to the next.
//!
//! A test double's T-SQL: what it knows it does as SQL Server does, with its numbers and words for errors; what it does not
//! know ends with error 102 (syntax) or 40517 (named, and left out on purpose).
//!
//! Left out: functions of users, INSTEAD OF triggers, changes through views, cursors, PIVOT, FOR XML and JSON, what can be asked of values of
//! CLR types, collations other than the default one, foreign keys that cascade, clustered indexes that
//! are in descending order, of tables that have one, or dropped again, filtered indexes, GRANT, DENY and REVOKE, alias types, schemas of
//! others than dbo, filegroups. Of attached files the catalog has tables, columns, keys, indexes, defaults, checks, foreign keys, and modules, which run as far as their text is understood.
//! Options that are accepted and have no effect are listed in `parse::option`, each with why; all others are refused.
//!
//! Unlike a server: table variables are rolled back as tables are; readers that wait for locks wait for their tables;
//! constraints are kept beside the storage, which has them in its system tables only, without ROWGUIDCOL and without NOT FOR REPLICATION of
//! identities; text sorts by folded code points; all statistics are those of indexes: none are made or brought up to date for columns that a query or a foreign
//! key looks at, so the log has no transactions that do so (`AutoCreateQPStats`, `UpdateQPStats`), nor their rows inside of a statement that checks a foreign key over rows.

mod ast;
mod bind;
mod catalog;
mod cdc;
mod change;
mod clr;
mod collation;
mod convert;
mod dblog;
mod define;
mod deparse;
mod error;
mod eval;
mod function;
mod hidden;
mod keep;
mod lookup;
mod method;
mod parse;
mod plan;
mod run;
mod server;
mod session;
mod sink;
mod state;
mod table_function;
mod time;
mod token;
mod trigger;
mod types;
mod value;
mod xml;

use bind::{bind_comparison, bind_wrong_count};
pub use error::{Effect, SqlError};
pub use hidden::Rights;
pub use server::{Login, Server};
pub use session::Session;
pub(crate) use sink::FirstError;
pub use sink::{Param, ResultColumn, ResultSink, Rows, TransactionChange};
pub use value::{Dec, Value, from_bytes, to_bytes};

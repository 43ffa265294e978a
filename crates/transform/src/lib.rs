//! From SQL Server's tables and values to PostgreSQL's.
//!
//! A [`TablePlan`] is compiled once per version of a table. It says what the target table looks like, and holds one
//! converter per column, so that a row is converted without a look-up, a string or an allocation per cell:
//!
//! ```text
//!  TableVersion ─┐
//!                ├─ TablePlan::compile ── target(): TargetTable, notes()
//!  Settings ─────┘         │
//!                          ├─ copy_row:       &[Cell] ── one tuple of COPY BINARY
//!                          └─ convert_change: Change  ── TargetChange + row in PostgreSQL's binary form
//! ```
//!
//! The surprising part: a cell arrives exactly as the storage engine keeps it (see `logferry_model::SqlType`), so code
//! pages, the 1/300 s of `datetime` and the sign byte of `decimal` are this crate's business and nobody else's.
//!
//! **Invariant:** pure. No I/O, no clock, no client of either database. Cells are bytes from outside: they make
//! errors, never panics. Error messages name table and column, never a value.

mod convert;
mod encode;
mod error;
mod names;
mod plan;
mod settings;

pub use error::{CellError, ConvertError, PlanNote, PlanProblem};
pub use logferry_mssql_format::collation::{CodePage, code_page};
pub use names::{NAME_BYTES_MAX, check_tables};
pub use plan::{COPY_HEADER, COPY_TRAILER, ColumnCounts, TablePlan};
pub use settings::{
    AliasTypes, CharPadding, CollationForm, ColumnTypes, HierarchyId, HundredNs, InvalidText, NameCase, Names,
    NulCharacter, Offset, Settings, SpatialForm, TableRename, Types, VariantForm, VectorForm, Xml,
};

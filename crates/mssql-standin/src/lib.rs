//! A stand-in for SQL Server: what it writes is in the server's real formats. A test double with a narrow, honest contract, not
//! a database.
//!
//! * [`serve`]: the server that clients connect to: [`sql`] behind [`tds`].
//! * [`sql`]: T-SQL over the tables, many sessions at a time. Pages, log and backups are `mssql-standin-storage`'s.
//! * [`tds`]: the protocol that clients speak.
//!
//! **Invariant:** knows of the product's crates only `model` and `mssql-format`.

pub mod serve;
pub mod sql;
pub mod tds;

//! A stand-in for SQL Server: what it writes is in the server's real formats. A test double with a narrow, honest contract, not
//! a database.
//!
//! * [`serve`]: the server that clients connect to: [`sql`] behind [`tds`].
//! * [`sql`]: T-SQL over the tables, many sessions at a time.
//! * [`storage`]: tables in pages, transactions in a log, backups in files.
//! * [`workload`]: made-up histories as backup chains, with the rows that must come out.
//! * [`tds`]: the protocol that clients speak.
//!
//! **Invariant:** knows of the product's crates only `model` and `mssql-format`.

pub mod serve;
pub mod sql;
pub mod storage;
pub mod tds;
pub mod workload;

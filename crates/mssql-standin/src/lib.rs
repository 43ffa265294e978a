//! A stand-in for SQL Server: what it writes is in the server's real formats. A test double with a narrow, honest contract, not
//! a database.
//!
//! * [`sql`]: T-SQL over the tables, many sessions at a time.
//! * [`storage`]: tables in pages, transactions in a log, backups in files.
//! * [`workload`]: made-up histories as backup chains, with the rows that must come out.
//! * [`tds`]: the server that clients speak to.
//!
//! **Invariant:** knows of the product's crates only `model` and `mssql-format`.

pub mod sql;
pub mod storage;
pub mod tds;
pub mod workload;

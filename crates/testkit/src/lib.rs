//! What tests share.
//!
//! [`postgres`] runs a PostgreSQL of one's own, for tests and for `logferry demo`.

pub mod postgres;

//! The target side against a real PostgreSQL. All tests share one cluster; each has a database of its own.

mod apply;
mod copy;
mod faults;
mod keys;
mod random;
mod schema;
mod silence;
mod support;
mod tls;
mod unique;

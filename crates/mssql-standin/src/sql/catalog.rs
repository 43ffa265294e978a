//! Catalog views, `INFORMATION_SCHEMA`, and functions about objects.
//!
//! Views have the columns of SQL Server's documentation, in its order, for 2016; columns that a database without the
//! feature always has the same in are filled so. Sessions are all sysadmin, and see everything.

mod describe;
mod help;
mod objects;
mod permission;
mod property;
mod shape;
mod views;

pub(crate) use describe::described;
pub(crate) use help::{Said, help};
pub(crate) use permission::{my_permissions, my_permissions_columns};
pub(crate) use property::{VERSION_TEXT, property};
pub(crate) use views::{is_of_server, log, server::PRINCIPALS, table_function, view};

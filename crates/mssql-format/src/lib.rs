//! SQL Server's formats on disk: bytes to values, and values to bytes.
//!
//! **Invariants:** no I/O, no clock, no unsafe code. Nothing that comes from outside can make it panic, loop or take
//! unbounded memory: all reading goes through [`bytes`], every length is checked against what is there
//! before it is used, and codes that are not known are kept as they are.

#![forbid(unsafe_code)]

pub mod alloc;
pub mod binxml;
pub mod boot;
pub mod bytes;
pub mod catalog;
pub mod collation;
pub mod container;
pub mod encode;
pub mod file_header;
pub mod hierarchy;
pub mod lob;
pub mod log;
pub mod mtf;
pub mod page;
pub mod redo;
pub mod render;
pub mod row;
pub mod scsu;
pub mod spatial;
pub mod vardecimal;
pub mod xpress;

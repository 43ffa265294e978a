//! What tests share.
//!
//! [`postgres`] runs a PostgreSQL of one's own, for tests and for `logferry demo`. [`scripted`] is a source that plays
//! a few lines of text, [`recording`] a sink that writes down what it is given, and [`faulty`] makes a sink
//! fail at a chosen call: before its work, after it, or late; [`proxy`] cuts connections to PostgreSQL. [`compare`] tells whether a target table holds exactly the rows that it
//! should.

pub mod compare;
pub mod faulty;
pub mod postgres;
pub mod proxy;
pub mod recording;
pub mod scripted;

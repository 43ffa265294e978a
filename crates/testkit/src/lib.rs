//! What tests share.
//!
//! [`postgres`] runs a PostgreSQL of one's own, for tests and for `logferry demo`. [`scripted`] is a source that plays
//! a few lines of text, [`recording`] a sink that writes down what it is given, and [`faulty`] makes a sink
//! fail at a chosen call: before its work, after it, or late; [`proxy`] cuts connections to PostgreSQL,
//! [`http_proxy`] spoils answers of an HTTP server, and [`objects`] runs one of S3. [`compare`] tells whether a target table holds exactly the rows that it
//! should.

pub mod compare;
pub mod faulty;
pub mod http_proxy;
pub mod objects;
pub mod postgres;
pub mod proxy;
pub mod recording;
pub mod scripted;

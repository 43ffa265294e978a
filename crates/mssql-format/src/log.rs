//! The transaction log: blocks, records, and what the operations mean.

pub mod block;
pub mod op;
pub mod record;
pub mod vlf;
pub mod xact;

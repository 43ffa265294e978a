//! What is left when `logferry run` is killed at any moment: on the target, the rows that should be there, each once.
//!
//! The real binary copies and follows generated chains of backups into a real PostgreSQL. It is ended with SIGKILL
//! after a random time, and started again, until it ends by itself; then PostgreSQL compares every row of every table
//! with what the generator asked of its engine. `LOGFERRY_CRASH_KILLS` is the number of kills, 200 without it;
//! `LOGFERRY_CRASH_SEED` repeats a run's chains and delays (the moments that these hit are the machine's).
//!
//! A kill is counted under the durable phase that the target shows after it:
//!
//! ```text
//!  none ── created ── copying (chunk by chunk) ── keys ── streaming (batch by batch) ── the end
//! ```

mod kills;
mod outages;
mod process;
mod rivals;
mod round;
mod state;

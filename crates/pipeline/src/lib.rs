//! One task, from its settings to its end.
//!
//! ```text
//!  check ──> schema ──> copy (chunks, in parallel) ──> keys ──> first checkpoint ──┐
//!    │                                                                             ▼
//!    └── the target has a checkpoint: seek ──────────────────────────────> stream (changes)
//! ```
//!
//! Where a task goes on is decided by what the target has, and by nothing else: its checkpoint, or the chunks of
//! an unfinished copy. So a task may end at any moment, and whoever starts it again repeats nothing that was committed.
//! Faults that may go away by themselves lead back to the start, with growing waits.
//!
//! **Invariants:** knows neither HTTP nor other tasks. Everything that waits between source and target is bounded.

mod batch;
mod check;
mod convert;
mod copy;
mod plans;
mod progress;
mod retry;
mod run;
mod stop;
mod stream;
mod throttle;

pub use batch::Limits;
pub use check::check;
pub use progress::{Phase, Progress, ProgressView};
pub use run::{Failure, Summary, run};
pub use stop::{Stop, Stopper};
pub use stream::StreamEnd;

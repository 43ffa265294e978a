//! Stopping a request that its client no longer wants.
//!
//! It ends at the next statement, row or wait, as by an error that nobody is told. The transaction stays open, as on a server,
//! unless XACT_ABORT is on.

use std::fmt;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::super::error::{Result, SqlError};
use super::Session;

/// Number of the error that ends a request that is no longer wanted. Never shown.
pub(super) const STOPPED: i32 = -2;
/// How long a wait may last without looking whether it is still wanted.
pub(super) const SLICE: Duration = Duration::from_millis(20);

/// Whether to stop.
#[derive(Clone)]
pub(crate) struct Stop(Arc<dyn Fn() -> bool + Send + Sync>);

impl Default for Stop {
    fn default() -> Self {
        Stop(Arc::new(|| false))
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stop")
    }
}

impl Stop {
    pub(crate) fn check(&self) -> Result<()> {
        match (self.0)() {
            true => Err(SqlError::batch(STOPPED, "The request was stopped.")),
            false => Ok(()),
        }
    }

    /// Waits so long, unless it is stopped.
    pub(super) fn sleep(&self, time: Duration) -> Result<()> {
        let begin = Instant::now();
        loop {
            self.check()?;
            let left = time.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            sleep(left.min(SLICE));
        }
    }
}

impl Session {
    /// From now on requests end early where this says so. It is asked between statements, while
    /// they wait, and every few thousand rows.
    pub fn stop_when(&mut self, stop: impl Fn() -> bool + Send + Sync + 'static) {
        self.scalars.stop = Stop(Arc::new(stop));
    }
}

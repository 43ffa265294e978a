//! So much in a second and no more, for all workers of the copy together.
//!
//! A piece is paid for after it was taken: who took it waits until its share of time is over. What was not used is not saved up, so a pause
//! is not followed by a burst.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The bounds; `None`: there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Bytes a second, as they go to the target.
    pub(crate) bytes: Option<u64>,
    /// Rows a second.
    pub(crate) rows: Option<u64>,
}

/// Holds workers back.
#[derive(Debug)]
pub(crate) struct Throttle {
    bounds: Bounds,
    /// When everything that was taken is paid for.
    paid: Mutex<Option<Instant>>,
}

impl Throttle {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Throttle { bounds, paid: Mutex::new(None) }
    }

    /// Waits for what was taken.
    pub(crate) async fn pay(&self, bytes: u64, rows: u64) {
        let wait = self.bill(bytes, rows, Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// How long to wait for what was taken, at `now`.
    fn bill(&self, bytes: u64, rows: u64, now: Instant) -> Duration {
        let cost = |amount: u64, rate: Option<u64>| {
            rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(amount as f64 / rate.max(1) as f64))
        };
        let cost = cost(bytes, self.bounds.bytes).max(cost(rows, self.bounds.rows));
        if cost.is_zero() {
            return Duration::ZERO;
        }
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let until = paid.map_or(now, |paid| paid.max(now)) + cost;
        *paid = Some(until);
        until - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is taken (bytes, rows, at which millisecond), and how many milliseconds each waits for it.
    #[track_caller]
    fn check(bounds: Bounds, taken: &[(u64, u64, u64)], expect: &[u64]) {
        let (throttle, begin) = (Throttle::new(bounds), Instant::now());
        let waits: Vec<u64> = taken
            .iter()
            .map(|&(bytes, rows, at)| throttle.bill(bytes, rows, begin + Duration::from_millis(at)).as_millis() as u64)
            .collect();
        assert_eq!(waits, expect);
    }

    #[test]
    fn workers_share_the_bound() {
        let bytes = Bounds { bytes: Some(1000), rows: None };
        check(bytes, &[(500, 9, 0), (500, 9, 0), (250, 9, 0)], &[500, 1000, 1250]);
        // One that took its time waits for the rest of it only.
        check(bytes, &[(500, 1, 0), (500, 1, 800)], &[500, 500]);
        check(Bounds { bytes: None, rows: Some(10) }, &[(1 << 30, 1, 0)], &[100]);
        // The tighter bound counts.
        check(Bounds { bytes: Some(1000), rows: Some(10) }, &[(1000, 1, 0), (100, 20, 0)], &[1000, 3000]);
        check(Bounds::default(), &[(u64::MAX, u64::MAX, 0)], &[0]);
    }
}

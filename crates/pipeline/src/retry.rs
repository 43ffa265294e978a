//! How long to wait before a connection is tried again, and when to give up.

use std::time::Duration;

/// Waits that double from a tenth of a second to half a minute, each shortened at random by up to a half so that tasks do
/// not come back all at once; until the time of all of them together is spent.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    left: Duration,
    total: Duration,
    next: Duration,
    seed: u64,
}

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

impl Backoff {
    pub(crate) fn new(total: Duration, seed: u64) -> Self {
        Backoff { left: total, total, next: FIRST, seed }
    }

    /// Something worked: the time begins anew.
    pub(crate) fn reset(&mut self) {
        self.left = self.total;
        self.next = FIRST;
    }

    /// How long to wait now; `None`: give up.
    pub(crate) fn wait(&mut self) -> Option<Duration> {
        if self.left.is_zero() {
            return None;
        }
        // xorshift64: any spread will do.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let shorter = self.next / 2 * u32::from((self.seed >> 56) as u8) / 255;
        let wait = (self.next - shorter).min(self.left);
        self.left -= wait;
        self.next = (self.next * 2).min(LONGEST);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end_when_the_time_is_spent() {
        let total = Duration::from_secs(600);
        let mut backoff = Backoff::new(total, 42);
        let waits: Vec<Duration> = std::iter::from_fn(|| backoff.wait()).collect();
        assert_eq!(waits.iter().sum::<Duration>(), total);
        assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST, "{waits:?}");
        assert!(waits.iter().all(|w| *w <= LONGEST), "{waits:?}");
        assert!(waits.len() < 60, "{waits:?}");
        backoff.reset();
        assert!(backoff.wait().is_some_and(|w| w <= FIRST));
    }

    #[test]
    fn no_time_is_no_retry() {
        assert_eq!(Backoff::new(Duration::ZERO, 1).wait(), None);
    }
}

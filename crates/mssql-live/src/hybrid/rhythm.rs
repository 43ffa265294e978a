//! When the capture job scans: every so often, and each scan shows by what is captured then.
//!
//! ```text
//!  scan ─────────── early ─────────── │ a round begins here │ scan ── the round is handed on
//! ```

use std::time::{Duration, Instant};

use logferry_model::Lsn;

/// So long before a scan a round is begun. A scan is seen up to a tenth of a second late, as often as it is looked; so is the moment to begin.
const BEFORE: Duration = Duration::from_millis(250);
/// A job that scans more often is not waited for.
const EVERY_MIN: Duration = Duration::from_millis(500);

/// When the capture job scans.
#[derive(Debug, Default)]
pub(crate) struct Rhythm {
    every: Option<Duration>,
    end: Lsn,
    moved: Option<Instant>,
}

impl Rhythm {
    /// How long the job rests between two scans, if that is known.
    pub(crate) fn every(&mut self, every: Option<Duration>) {
        self.every = every;
    }

    /// Up to here the log is captured.
    pub(crate) fn saw(&mut self, end: Lsn, now: Instant) {
        // What was captured when it was first looked says nothing of when.
        if end > self.end && !self.end.is_zero() {
            self.moved = Some(now);
        }
        self.end = self.end.max(end);
    }

    /// Whether the next scan is not near: never for longer than a rest of the job, whatever it does meanwhile.
    pub(crate) fn is_early(&self, now: Instant) -> bool {
        let (Some(every), Some(moved)) = (self.every.filter(|every| *every >= EVERY_MIN), self.moved) else {
            return false;
        };
        let rest = now.saturating_duration_since(moved).as_millis() % every.as_millis();
        rest + BEFORE.as_millis() < every.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of scans at 0 and `moved`, is it early at `now`, in milliseconds?
    #[track_caller]
    fn check(every: Option<u64>, moved: u64, now: u64, expect: bool) {
        let mut rhythm = Rhythm::default();
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        rhythm.every(every.map(Duration::from_millis));
        rhythm.saw(Lsn::new(1, 1, 1), at(0));
        rhythm.saw(Lsn::new(1, 1, 2), at(moved));
        // Nothing more was captured then.
        rhythm.saw(Lsn::new(1, 1, 2), at(moved + 100));
        assert_eq!(rhythm.is_early(at(now)), expect, "{every:?}: {moved} {now}");
    }

    #[test]
    fn a_round_is_begun_shortly_before_a_scan() {
        check(Some(5_000), 7_000, 7_050, true);
        check(Some(5_000), 7_000, 11_700, true);
        check(Some(5_000), 7_000, 11_750, false);
        check(Some(5_000), 7_000, 11_990, false);
        // It has scanned, and nothing was there to be captured.
        check(Some(5_000), 7_000, 12_100, true);
        check(Some(5_000), 7_000, 16_900, false);
        // One that scans all the time, or does not say.
        check(Some(0), 7_000, 7_001, false);
        check(None, 7_000, 7_001, false);
        let mut unseen = Rhythm::default();
        unseen.every(Some(Duration::from_secs(5)));
        unseen.saw(Lsn::new(1, 1, 1), Instant::now());
        assert!(!unseen.is_early(Instant::now()));
    }
}

//! The jobs: a capture job that scans every polling interval, and what a cleanup job is told.
//!
//! One thread of a server looks after the capture jobs of all its databases. It begins with the first job, and ends with the
//! server.

use std::sync::Weak;
use std::time::{Duration, Instant};

use super::super::server::{Shared, utc_now};

/// How often the thread looks whether a scan is due.
const TICK: Duration = Duration::from_millis(20);
/// Three days.
pub(super) const RETENTION_MIN: i64 = 4320;

/// How a capture job works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JobSettings {
    /// Transactions of a scan.
    pub maxtrans: i64,
    /// Scans in a row.
    pub maxscans: i64,
    pub continuous: bool,
    pub polling_s: i64,
}

impl Default for JobSettings {
    fn default() -> Self {
        JobSettings { maxtrans: 500, maxscans: 10, continuous: true, polling_s: 5 }
    }
}

/// The capture job of a database.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CaptureJob {
    /// What the next start will use.
    pub settings: JobSettings,
    /// What it was started with; none: it is stopped.
    pub running: Option<JobSettings>,
    /// When it scans next.
    pub due: Option<Instant>,
}

impl CaptureJob {
    pub fn start(&mut self) {
        self.running = Some(self.settings);
        self.due = None;
    }
}

/// The cleanup job of a database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CleanupJob {
    pub retention_min: i64,
    pub threshold: i64,
}

impl Default for CleanupJob {
    fn default() -> Self {
        CleanupJob { retention_min: RETENTION_MIN, threshold: 5000 }
    }
}

/// Begins the thread, where it does not run.
pub(crate) fn watch(shared: &std::sync::Arc<Shared>) {
    if shared.watched.swap(true, std::sync::atomic::Ordering::Relaxed) {
        return;
    }
    let weak = std::sync::Arc::downgrade(shared);
    let begun = std::thread::Builder::new().name("cdc capture".into()).spawn(move || run(&weak));
    if begun.is_err() {
        shared.watched.store(false, std::sync::atomic::Ordering::Relaxed);
    }
}

fn run(shared: &Weak<Shared>) {
    loop {
        std::thread::sleep(TICK);
        let Some(shared) = shared.upgrade() else { return };
        let count = shared.lock().databases.len();
        for at in 0..count {
            look_after(&shared, at);
        }
    }
}

/// Scans a database, if it is due; each scan is a turn of its own.
fn look_after(shared: &Shared, at: usize) {
    let due = |shared: &Shared| -> Option<JobSettings> {
        let state = shared.lock();
        let job = state.databases.get(at)?.as_ref()?.cdc.as_ref()?.capture?;
        let now = Instant::now();
        job.running.filter(|_| job.due.is_none_or(|due| due <= now))
    };
    let Some(settings) = due(shared) else { return };
    for _ in 0..settings.maxscans {
        let mut state = shared.lock();
        if state.databases.get(at).is_none_or(Option::is_none) {
            return;
        }
        let most = usize::try_from(settings.maxtrans).unwrap_or(0);
        // A scan that fails is tried again at the next interval, as the job is.
        match super::scan(&mut state, at, utc_now(), most) {
            Ok(n) if n > 0 => {}
            _ => break,
        }
    }
    let mut state = shared.lock();
    let job = state.databases.get_mut(at).and_then(Option::as_mut).and_then(|d| d.cdc.as_mut());
    if let Some(job) = job.and_then(|c| c.capture.as_mut()) {
        job.due = Some(Instant::now() + Duration::from_secs(u64::try_from(settings.polling_s).unwrap_or(0)));
        if !settings.continuous {
            job.running = None;
        }
    }
}

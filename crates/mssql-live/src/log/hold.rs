//! Holds the log with an open transaction, within bounds: what is not read yet is not truncated by somebody's log backup.
//!
//! ```text
//!  log   ──┬──────────────┬────────────► end
//!       hold A          hold B
//!  read     ───────────────────►          B begins behind what is read: A is let go, and a new one begins
//! ```
//!
//! A transaction holds the log from its begin on. So two of them take turns: the older is let go when all up to the younger's begin
//! was read. Both are let go when the log is larger, or a hold older, than the task allows; they end with
//! their connections, so that a process that is killed holds nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use logferry_model::Lsn;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::end::End;
use crate::error::Error;
use crate::pool::{Pool, Pooled};
use crate::session::Session;
use crate::settings::HoldLog;
use crate::sql;

/// How often the bounds are looked at.
const LOOKED_AFTER: Duration = Duration::from_secs(1);

/// Holds the log for as long as it lives.
#[derive(Debug)]
pub(super) struct Hold {
    task: JoinHandle<()>,
    read: Arc<AtomicU64>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Its connections are given up with it, and the server ends their transactions.
        self.task.abort();
    }
}

impl Hold {
    /// Begins to hold; what is written from when this returns on is held.
    pub(super) async fn begin(pool: Pool, bounds: HoldLog) -> Self {
        let read = Arc::new(AtomicU64::new(0));
        let mut holds = Holds { pool, bounds, read: read.clone(), held: Vec::new(), end: End::default() };
        holds.step().await;
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOKED_AFTER).await;
                holds.step().await;
            }
        });
        Hold { task, read }
    }

    /// All before a position was read.
    pub(super) fn read(&self, to: Lsn) {
        self.read.store(order(to), Ordering::Relaxed);
    }
}

/// LSNs by their virtual log file and block: what is truncated is never less than that.
fn order(lsn: Lsn) -> u64 {
    u64::from(lsn.vlf) << 32 | u64::from(lsn.block)
}

struct Held {
    /// Dropped inside of its transaction, the connection does not go back to the pool.
    _session: Pooled,
    from: u64,
    since: Instant,
}

struct Holds {
    pool: Pool,
    bounds: HoldLog,
    read: Arc<AtomicU64>,
    /// The older one first.
    held: Vec<Held>,
    end: End,
}

impl Holds {
    async fn step(&mut self) {
        if let Err(e) = self.try_step().await {
            warn!("the log is not held: {e}");
            self.held.clear();
        }
    }

    async fn try_step(&mut self) -> Result<(), Error> {
        let read = self.read.load(Ordering::Relaxed);
        let mut session = self.pool.session().await?;
        let active_mb = active_mb(&mut session).await?;
        let is_large = active_mb > f64::from(self.bounds.max_mb);
        let is_old = self.held.first().is_some_and(|h| h.since.elapsed() >= self.bounds.max_age);
        if self.held.get(1).is_some_and(|h| h.from <= read) {
            self.held.remove(0);
        } else if !self.held.is_empty() && (is_old || is_large) {
            warn!(
                active_mb,
                "the log is no longer held: source.hold_log allows {} MB and {} min",
                self.bounds.max_mb,
                self.bounds.max_age.as_secs() / 60
            );
            self.held.clear();
            return Ok(());
        }
        if self.held.len() < 2 && !is_large {
            session.hold().await?;
            let mut asking = self.pool.session().await?;
            let from = order(self.end.last_record(&mut asking).await?);
            debug!(active_mb, holds = self.held.len() + 1, "the log is held");
            self.held.push(Held { _session: session, from, since: Instant::now() });
        }
        Ok(())
    }
}

async fn active_mb(session: &mut Session) -> Result<f64, Error> {
    let rows = session.rows("ask how large the log is", sql::LOG_SIZE, &[]).await?;
    Ok(rows.first().and_then(|row| row.try_get::<f64, _>("active_mb").ok().flatten()).unwrap_or(0.0))
}

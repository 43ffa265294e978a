//! Faults on request: what may go wrong between a client and a server, at a place that a test chooses.
//!
//! ```
//! # use logferry_mssql_standin::tds::{Fault, Faults};
//! let faults = Faults::default();
//! // The third request of all is done, and its answer lost.
//! faults.set(|seen| (seen.overall == 3).then_some(Fault::DropBeforeDone));
//! // A statement that is cut after 10,000 bytes of its answer, each time.
//! faults.set(|seen| seen.text.contains("FROM dbo.t").then_some(Fault::Cut { after_bytes: 10_000 }));
//! faults.clear();
//! ```

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;

use super::session::SqlError;

/// Something that goes wrong with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks before the request is looked at.
    DropBefore,
    /// The request is answered by this error and not done.
    Error(SqlError),
    /// The transaction is rolled back and the request answered by error 1205, as that of a deadlock's victim is.
    DeadlockVictim,
    /// The answer begins so late.
    Delay(Duration),
    /// It is not looked at before a gate opens.
    Hold(Gate),
    /// Each part of the answer, of some 64 KiB, comes so late.
    Slow {
        /// before each part
        pause: Duration,
    },
    /// The connection breaks after so many bytes of the answer; the request is done, as far as the session gets.
    Cut {
        /// counted with the headers of packets, and of what TLS encrypts before it does
        after_bytes: u64,
    },
    /// The request is done, all of its answer is sent but the last token, and the connection breaks: the lost answer.
    DropBeforeDone,
    /// The request is done and answered, then the connection breaks.
    DropAfterDone,
}

/// What holds requests, until it is opened for good. Clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Default for Gate {
    fn default() -> Self {
        Gate(Arc::new(watch::Sender::new(false)))
    }
}

impl Gate {
    /// Lets all pass that are held, and all that come.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub(super) async fn passed(&self) {
        let mut opened = self.0.subscribe();
        // The sender is here: it cannot be gone.
        opened.wait_for(|open| *open).await.map(drop).ok();
    }
}

impl PartialEq for Gate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Gate {}

/// A request as a rule for faults sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'a> {
    /// Counts connections from 1.
    pub connection: u64,
    /// Counts requests of this connection after its login, from 1.
    pub request: u64,
    /// Counts requests of all connections since the rule was set, from 1.
    pub overall: u64,
    /// The client's `APP_NAME()`.
    pub application: &'a str,
    /// The T-SQL, or a procedure's name; empty for transactions of drivers.
    pub text: &'a str,
}

/// The rule for faults of a server. Clones are the same rule.
#[derive(Clone, Default)]
pub struct Faults(Arc<Inner>);

type Rule = dyn Fn(&Seen<'_>) -> Option<Fault> + Send + Sync;

#[derive(Default)]
struct Inner {
    rule: RwLock<Option<Box<Rule>>>,
    overall: AtomicU64,
}

impl Faults {
    /// Asks `rule` for each request from now on, instead of the rule before.
    pub fn set(&self, rule: impl Fn(&Seen<'_>) -> Option<Fault> + Send + Sync + 'static) {
        let mut place = self.0.rule.write().unwrap_or_else(PoisonError::into_inner);
        self.0.overall.store(0, Ordering::Relaxed);
        *place = Some(Box::new(rule));
    }

    /// No faults from now on.
    pub fn clear(&self) {
        *self.0.rule.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn of(
        &self,
        connection: u64,
        request: u64,
        application: &str,
        text: impl FnOnce() -> String,
    ) -> Option<Fault> {
        let rule = self.0.rule.read().unwrap_or_else(PoisonError::into_inner);
        let rule = rule.as_ref()?;
        let overall = self.0.overall.fetch_add(1, Ordering::Relaxed) + 1;
        rule(&Seen { connection, request, overall, application, text: &text() })
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faults(..)")
    }
}

//! When to look at the log: an idle database is asked next to nothing, a busy one is read in large ranges.
//!
//! The server says where its log ends ([`sql::LOG_STATE`]); while that is what it was, there is nothing to read. How exactly the server
//! counts there is not known, so the log itself is looked at once a second all the same. Servers without that view (before 2016
//! SP2), or that do not show it to the task's user, are asked for the log each time, from the last position on.

use std::time::Duration;

use logferry_model::Lsn;
use tokio::time::Instant;
use tracing::{debug, info};

use crate::error::Error;
use crate::session::Session;
use crate::sql;

/// How long the end that the server tells is believed when it does not move.
const BELIEVED: Duration = Duration::from_secs(1);

/// How often the position is moved behind records that nobody asks for, so that it does not get old.
const PASSED_AFTER: Duration = Duration::from_secs(10);

/// Where the log ends.
#[derive(Debug, Default)]
pub(super) struct End {
    /// As the server told; empty where it does not tell.
    said: String,
    /// When the log itself was looked at.
    looked: Option<Instant>,
    /// When records that are not asked for were passed over.
    passed: Option<Instant>,
    /// The server has no such view, or does not show it.
    is_untold: bool,
}

impl End {
    /// The last record: asked for once, at the begin.
    pub(super) async fn last_record(&mut self, session: &mut Session) -> Result<Lsn, Error> {
        const DOING: &str = "ask where the log ends";
        // The whole active log may be large; what is behind the last checkpoint is not.
        let checkpoint = self.ask(session).await?.map(|(_, checkpoint)| format!("0x{checkpoint}"));
        let mut found = match &checkpoint {
            Some(from) => match session.rows(DOING, sql::LOG_END, &[&from.as_str()]).await {
                // It may be truncated by now, or not what was thought.
                Err(Error::Statement { number, said, .. }) => {
                    debug!("the log cannot be read from its checkpoint {from} on: {said} (error {number})");
                    Vec::new()
                }
                other => other?,
            },
            None => Vec::new(),
        };
        let lsn = |rows: &[tiberius::Row]| {
            let text = rows.first().and_then(|row| row.try_get::<&str, _>("lsn").ok().flatten());
            text.map(str::parse::<Lsn>)
        };
        if lsn(&found).is_none() {
            found = session.rows(DOING, sql::LOG_END, &[&None::<&str>]).await?;
        }
        let unexpected = |what: String| Error::Unexpected { doing: DOING.to_owned(), what };
        lsn(&found)
            .ok_or_else(|| unexpected("the log has no records".to_owned()))?
            .map_err(|e| unexpected(e.to_string()))
    }

    /// The last record behind one that is there; asked for seldom, as it costs as much as reading.
    pub(super) async fn last_record_behind(&mut self, session: &mut Session, at: Lsn) -> Result<Option<Lsn>, Error> {
        let now = Instant::now();
        if self.passed.is_some_and(|passed| now - passed < PASSED_AFTER) {
            return Ok(None);
        }
        self.passed = Some(now);
        let from = format!("0x{at}");
        match session.rows("ask where the log ends", sql::LOG_END, &[&from.as_str()]).await {
            Ok(rows) => {
                let text = rows.first().and_then(|row| row.try_get::<&str, _>("lsn").ok().flatten());
                Ok(text.and_then(|text| text.parse().ok()))
            }
            // It is no longer there: the reading will find that, too.
            Err(Error::Statement { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Whether the log may have more than when this was asked last.
    pub(super) async fn has_moved(&mut self, session: &mut Session) -> Result<bool, Error> {
        let now = Instant::now();
        let is_time = self.looked.is_none_or(|looked| now - looked >= BELIEVED);
        // What is written between this question and the reading is read, and asked about once more.
        let end = self.ask(session).await?.map(|(end, _)| end);
        if !is_time && end.as_ref() == Some(&self.said) {
            return Ok(false);
        }
        self.said = end.unwrap_or_default();
        self.looked = Some(now);
        Ok(true)
    }

    /// The end and the last checkpoint, where the server tells.
    async fn ask(&mut self, session: &mut Session) -> Result<Option<(String, String)>, Error> {
        if self.is_untold {
            return Ok(None);
        }
        let rows = match session.rows("ask where the log ends", sql::LOG_STATE, &[]).await {
            Ok(rows) => rows,
            Err(e @ Error::Statement { .. }) if !e.is_transient() => {
                info!("the end of the log is found by reading the log: {e}");
                self.is_untold = true;
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        let text = |name: &str| rows.first().and_then(|row| row.try_get::<&str, _>(name).ok().flatten());
        Ok(text("log_end_lsn").zip(text("log_checkpoint_lsn")).map(|(end, at)| (end.to_owned(), at.to_owned())))
    }
}

/// Half of the time at the most is spent on rounds, as long as that keeps nobody waiting for long.
const BREATH_MAX: Duration = Duration::from_millis(50);
/// How often the target is told of a position without changes.
const TOLD_AFTER: Duration = Duration::from_secs(1);

/// How fast rounds follow each other.
#[derive(Debug, Default)]
pub(super) struct Pace {
    began: Option<Instant>,
    next: Option<Instant>,
    told: Option<Instant>,
}

impl Pace {
    /// Waits before the log is looked at again.
    pub(super) async fn breathe(&mut self) {
        if let Some(next) = self.next.take() {
            tokio::time::sleep_until(next).await;
        }
    }

    pub(super) fn begin_round(&mut self) {
        self.began = Some(Instant::now());
    }

    pub(super) fn end_round(&mut self) {
        let now = Instant::now();
        self.next = self.began.take().map(|began| now + (now - began).min(BREATH_MAX));
    }

    /// Whether a position is to be told that comes without changes.
    pub(super) fn may_tell(&mut self) -> bool {
        let now = Instant::now();
        let may = self.told.is_none_or(|told| now - told >= TOLD_AFTER);
        if may {
            self.told = Some(now);
        }
        may
    }
}

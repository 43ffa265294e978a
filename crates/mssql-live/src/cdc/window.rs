//! Changes between two positions: pages of several change tables, merged by commit.

use std::collections::VecDeque;
use std::sync::Arc;

use logferry_model::{Checkpoint, CommitLsn, Lsn, TransactionHead, TransactionId};
use tiberius::time::DateTime;
use tiberius::{ColumnData, ToSql};

use super::feed::{Cursor, Feed};
use super::served::Served;
use crate::error::Error;
use crate::pool::{Pool, Pooled};
use crate::session::Session;
use crate::sql;

/// All pages together have about so many bytes.
const PAGES_BYTES: usize = 16 << 20;
const PAGE_BYTES_MIN: usize = 64 << 10;
const PAGE_BYTES_MAX: usize = 2 << 20;
/// Transactions whose times are read at a time.
const TRANSACTIONS_MAX: i64 = 1_000;

/// Changes between two positions that are being read.
pub(super) struct Window {
    pub(super) end: Lsn,
    /// When that was committed, where it is known.
    pub(super) end_time_us: Option<i64>,
    page_bytes: usize,
    pub(super) feeds: Vec<Feed>,
    /// What is known of transactions, in the order of their commits.
    pub(super) heads: Heads,
    /// The transaction that was begun.
    pub(super) open: Option<Checkpoint>,
}

/// A transaction that was captured.
struct Head {
    commit: Lsn,
    head: TransactionHead,
}

pub(super) struct Heads {
    known: VecDeque<Head>,
    from: Lsn,
    end: Lsn,
    done: bool,
}

impl Window {
    /// What is behind `from` and a table's own position, up to and with `end`, in some tables.
    pub(super) fn new(from: Lsn, (end, end_time_us): (Lsn, Option<i64>), tables: Vec<(Arc<Served>, Lsn)>) -> Self {
        let page_bytes = (PAGES_BYTES / tables.len().max(1)).clamp(PAGE_BYTES_MIN, PAGE_BYTES_MAX);
        // What is in the rows of a table is not told again.
        let feed = |(served, fence): (Arc<Served>, Lsn)| Feed::new(served, Cursor::behind(from.max(fence)), end);
        let feeds = tables.into_iter().map(feed).collect();
        let heads = Heads { known: VecDeque::new(), from, end, done: false };
        Window { end, end_time_us, page_bytes, feeds, heads, open: None }
    }

    /// Reads a page for each table that has none left; whether there was any.
    pub(super) async fn fill(&mut self, pool: &Pool, session: &mut Pooled) -> Result<bool, Error> {
        let mut any = false;
        for feed in self.feeds.iter_mut().filter(|feed| feed.needs_page()) {
            feed.fill(session, self.page_bytes).await?;
            if !session.is_clean() {
                // The rest of the page was not read: the connection goes with it.
                *session = pool.session().await?;
            }
            feed.fetch(session).await?;
            any = true;
        }
        Ok(any)
    }

    /// The commit that is next; none at the end.
    pub(super) fn next_commit(&self) -> Option<Lsn> {
        self.feeds.iter().filter_map(Feed::head).min()
    }
}

impl Heads {
    /// Reads on, until what is known reaches a commit.
    pub(super) async fn fill(&mut self, session: &mut Session, commit: Option<Lsn>) -> Result<(), Error> {
        const DOING: &str = "read which transactions were captured";
        let Some(commit) = commit else { return Ok(()) };
        while !self.done && self.known.back().is_none_or(|head| head.commit < commit) {
            self.known.clear();
            let (from, end) = (self.from.to_be_bytes(), self.end.to_be_bytes());
            let parameters: [&dyn ToSql; 3] = [&&from[..], &&end[..], &TRANSACTIONS_MAX];
            let rows = session.rows(DOING, sql::CDC_TRANSACTIONS, &parameters).await?;
            self.done = (rows.len() as i64) < TRANSACTIONS_MAX;
            for row in rows {
                let head = head(row.into_iter().collect::<Vec<_>>().as_slice()).ok_or_else(|| Error::Unexpected {
                    doing: DOING.to_owned(),
                    what: "a transaction has no LSN".to_owned(),
                })?;
                self.from = head.commit;
                self.known.push_back(head);
            }
        }
        Ok(())
    }

    /// What is known of a transaction.
    pub(super) fn of(&mut self, commit: Lsn) -> TransactionHead {
        while self.known.pop_front_if(|head| head.commit < commit).is_some() {}
        match self.known.pop_front_if(|head| head.commit == commit) {
            Some(head) => head.head,
            None => TransactionHead {
                id: TransactionId::default(),
                begin_lsn: commit,
                commit_lsn: CommitLsn(commit),
                commit_time_us: None,
                name: String::new(),
            },
        }
    }
}

/// From the cells of a row of `cdc.lsn_time_mapping`.
fn head(cells: &[ColumnData<'_>]) -> Option<Head> {
    let [start, end_time, id] = cells else { return None };
    let lsn = |cell: &ColumnData<'_>| match cell {
        ColumnData::Binary(Some(bytes)) => <[u8; 10]>::try_from(&**bytes).ok().map(Lsn::from_be_bytes),
        _ => None,
    };
    let commit = lsn(start)?;
    let commit_time_us = match end_time {
        ColumnData::DateTime(Some(time)) => Some(microseconds(time)),
        _ => None,
    };
    let id = match id {
        ColumnData::Binary(Some(bytes)) => transaction_id(bytes),
        _ => TransactionId::default(),
    };
    let head = TransactionHead {
        id,
        // Where it began is in a column that is not documented.
        begin_lsn: commit,
        commit_lsn: CommitLsn(commit),
        commit_time_us,
        name: String::new(),
    };
    Some(Head { commit, head })
}

/// Its last six bytes are the number that the log has.
fn transaction_id(bytes: &[u8]) -> TransactionId {
    match bytes.last_chunk::<6>() {
        Some(&[a, b, c, d, e, f]) => {
            TransactionId { high: u16::from_be_bytes([a, b]), low: u32::from_be_bytes([c, d, e, f]) }
        }
        None => TransactionId::default(),
    }
}

/// Since 2000-01-01, of days since 1900-01-01 and 300ths of a second.
pub(super) fn microseconds(time: &DateTime) -> i64 {
    const DAYS_TO_2000: i64 = 36_524;
    (i64::from(time.days()) - DAYS_TO_2000) * 86_400_000_000 + i64::from(time.seconds_fragments()) * 10_000 / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_keep_their_numbers_and_times() {
        let id = TransactionId { high: 1, low: 0x345 };
        assert_eq!(transaction_id(&[0, 0, 0, 0, 0, 1, 0, 0, 3, 0x45]), id);
        assert_eq!(transaction_id(&[0]), TransactionId::default());
        assert_eq!(microseconds(&DateTime::new(36_524, 0)), 0);
        assert_eq!(microseconds(&DateTime::new(36_525, 299)), 86_400_996_666);
        assert_eq!(microseconds(&DateTime::new(36_523, 0)), -86_400_000_000);
    }
}

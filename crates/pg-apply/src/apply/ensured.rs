//! Netting of states: what each key's row is now, whatever it was.
//!
//! A source that reads rows after it has learnt that they changed ([`ApplyMode::Replace`](super::ApplyMode)) gives a row as it is, perhaps
//! for the second time. So nothing is known of what the target has under a key: it is asked which of the rows are there, these get their
//! values, the others come, and what is not goes.
//!
//! A row of which some values are not told is another row with the same key: where there is one, it gets those that are. Where there
//! is none, it went in what is told later.
//!
//! As in [`keyed`](super::keyed), a row may get a key in a transaction before the row that had it leaves it. It is there at once, then, and
//! takes the other's place; that the other one leaves, which its values tell, is no more of interest.
//!
//! If all that is known of both is equal, one of them is there, or the row that came has moved on: where the target has a row, it is as the
//! one that came.

use std::cmp::Ordering;

use logferry_model::{Cell, TargetTable};

use super::keyed::Pair;
use super::net::{At, Chains, Rows, differ, hash_cells, is_complete};
use crate::error::Error;
use crate::names::shown;

#[derive(Default)]
pub(super) struct Ensured {
    chains: Chains,
    entries: Vec<Entry>,
    /// Which transaction it is.
    transaction: u32,
}

struct Entry {
    /// A row that has the key.
    key: At,
    now: Now,
    early: Early,
    /// The transaction that `now` and `early` are of.
    since: u32,
}

/// Whether the row that is there came before another one left its key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Early {
    No,
    /// It came from another key, and what the target has is not known.
    Perhaps,
    Yes,
}

#[derive(Clone, Copy)]
enum Now {
    Nothing,
    Row(At),
    /// What was there, with these values.
    Patched(At),
    /// The target has it.
    There(At),
}

impl Ensured {
    /// From here on no key has two rows but those of the next transaction.
    pub fn end_transaction(&mut self) {
        self.transaction += 1;
    }

    pub fn clear(&mut self) {
        self.chains.clear();
        self.entries.clear();
    }

    /// The row is there; perhaps it `moved` there from another key.
    pub fn put(&mut self, table: &TargetTable, rows: &Rows<'_>, row: At, moved: bool) -> Result<(), Error> {
        if !is_complete(rows.row(row)) {
            let what = "a row that is to replace another does not have all its values";
            return Err(Error::Incomplete { table: shown(table), what });
        }
        let known = self.entries.len();
        let at = self.entry(table, rows, row)?;
        let entry = &mut self.entries[at];
        entry.early = match entry.now {
            _ if !moved => Early::No,
            Now::Nothing if at < known => Early::No,
            Now::Nothing | Now::Patched(_) => Early::Perhaps,
            Now::Row(_) | Now::There(_) => Early::Yes,
        };
        entry.now = Now::Row(row);
        entry.since = self.transaction;
        Ok(())
    }

    /// The row that has this key gets these values.
    pub fn patch(&mut self, table: &TargetTable, rows: &mut Rows<'_>, row: At) -> Result<(), Error> {
        if is_complete(rows.row(row)) {
            return self.put(table, rows, row, false);
        }
        let known = self.entries.len();
        let at = self.entry(table, rows, row)?;
        let now = match self.entries[at].now {
            Now::Nothing if at < known => Now::Nothing,
            Now::Nothing => Now::Patched(row),
            Now::Row(old) | Now::There(old) => Now::Row(rows.merge(row, &[old])),
            Now::Patched(old) => Now::Patched(rows.merge(row, &[old])),
        };
        self.entries[at].now = now;
        Ok(())
    }

    /// No row of this key is there; perhaps it `moves` to another.
    pub fn remove(&mut self, table: &TargetTable, rows: &Rows<'_>, row: At, moves: bool) -> Result<(), Error> {
        let at = self.entry(table, rows, row)?;
        let since = self.transaction;
        let entry = &mut self.entries[at];
        let differ = |there| differ(rows.row(row), rows.row(there));
        let now = match (entry.now, entry.early) {
            _ if entry.since != since => Now::Nothing,
            // The other row leaves the key.
            (Now::Row(there) | Now::There(there), Early::No) if moves && differ(there) => entry.now,
            (Now::Row(there) | Now::There(there), Early::Perhaps) if differ(there) => entry.now,
            (Now::Row(_) | Now::There(_), Early::Yes) => entry.now,
            // Where there is another row, this one is there now.
            (Now::Row(there), Early::Perhaps) => Now::Patched(there),
            _ => Now::Nothing,
        };
        *entry = Entry { key: entry.key, now, early: Early::No, since };
        Ok(())
    }

    /// A row that the target has, early as it is.
    pub fn wait(&mut self, table: &TargetTable, rows: &Rows<'_>, row: At) -> Result<(), Error> {
        let at = self.entry(table, rows, row)?;
        self.entries[at] = Entry { key: row, now: Now::There(row), early: Early::Yes, since: self.transaction };
        Ok(())
    }

    /// Rows that came from other keys: the target may have other rows of theirs; with their entries.
    pub fn arrivals(&self) -> Vec<(usize, At)> {
        let arrived = |entry: &Entry| {
            entry.since == self.transaction && entry.early == Early::Perhaps && matches!(entry.now, Now::Row(_))
        };
        self.entries.iter().enumerate().filter(|(_, entry)| arrived(entry)).map(|(at, entry)| (at, entry.key)).collect()
    }

    /// Whether the target had a row of the key of an entry.
    pub fn found(&mut self, at: usize, is_there: bool) {
        self.entries[at].early = if is_there { Early::Yes } else { Early::No };
    }

    /// Rows that came before others left their keys.
    pub fn waiting(&self) -> Vec<At> {
        let early = self.entries.iter().filter(|entry| entry.since == self.transaction && entry.early == Early::Yes);
        let rows = early.filter_map(|entry| match entry.now {
            Now::Row(row) | Now::There(row) => Some(row),
            Now::Nothing | Now::Patched(_) => None,
        });
        rows.collect()
    }

    /// Keys of which there is to be no row, in the order of their bytes.
    pub fn deletes(&self, table: &TargetTable, rows: &Rows<'_>) -> Vec<At> {
        let goes = self.entries.iter().filter(|entry| matches!(entry.now, Now::Nothing));
        let mut keys: Vec<At> = goes.map(|entry| entry.key).collect();
        keys.sort_unstable_by(|&a, &b| by_key(table, rows, a, b));
        keys
    }

    /// Rows that are to be there, in the order of their keys' bytes.
    pub fn rows(&self, table: &TargetTable, rows: &Rows<'_>) -> Vec<Pair> {
        let pairs = self.entries.iter().filter_map(|entry| match entry.now {
            Now::Row(row) => Some(Pair { key: entry.key, row }),
            Now::Nothing | Now::Patched(_) | Now::There(_) => None,
        });
        let mut pairs: Vec<Pair> = pairs.collect();
        pairs.sort_unstable_by(|a, b| by_key(table, rows, a.key, b.key));
        pairs
    }

    /// Rows that get some values, if they are there.
    pub fn patches(&self) -> Vec<Pair> {
        let pairs = self.entries.iter().filter_map(|entry| match entry.now {
            Now::Patched(row) => Some(Pair { key: entry.key, row }),
            Now::Nothing | Now::Row(_) | Now::There(_) => None,
        });
        pairs.collect()
    }

    fn entry(&mut self, table: &TargetTable, rows: &Rows<'_>, row: At) -> Result<usize, Error> {
        let view = rows.row(row);
        if table.key.iter().any(|&c| !matches!(view.cell(c), Cell::Bytes(_))) {
            return Err(Error::Incomplete { table: shown(table), what: "a row does not have its key" });
        }
        let hash = hash_cells(view, table.key.iter().copied());
        let found = self.chains.find(hash, |at| {
            let other = rows.row(self.entries[at].key);
            table.key.iter().all(|&c| other.cell(c) == view.cell(c))
        });
        Ok(found.unwrap_or_else(|| {
            self.entries.push(Entry { key: row, now: Now::Nothing, early: Early::No, since: self.transaction });
            self.chains.push(hash)
        }))
    }
}

fn by_key(table: &TargetTable, rows: &Rows<'_>, a: At, b: At) -> Ordering {
    let cells = |at: At| table.key.iter().map(move |&c| rows.row(at).cell(c).bytes());
    cells(a).cmp(cells(b))
}

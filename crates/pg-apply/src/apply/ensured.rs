//! Netting of states: what each key's row is now, whatever it was.
//!
//! A source that reads rows after it has learnt that they changed ([`ApplyMode::Replace`](super::ApplyMode)) gives a row as it is, perhaps
//! for the second time. So nothing is known of what the target has under a key: it is asked which of the rows are there, these get their
//! values, the others come, and what is not goes.
//!
//! A row of which some values are not told is another row with the same key: where there is one, it gets those that are. Where there
//! is none, it went in what is told later.

use std::cmp::Ordering;

use logferry_model::{Cell, TargetTable};

use super::keyed::Pair;
use super::net::{At, Chains, Rows, hash_cells, is_complete};
use crate::error::Error;
use crate::names::shown;

#[derive(Default)]
pub(super) struct Ensured {
    chains: Chains,
    /// A row that has the key, and what is there now.
    entries: Vec<(At, Now)>,
}

#[derive(Clone, Copy)]
enum Now {
    Nothing,
    Row(At),
    /// What was there, with these values.
    Patched(At),
}

impl Ensured {
    pub fn clear(&mut self) {
        self.chains.clear();
        self.entries.clear();
    }

    /// The row is there.
    pub fn put(&mut self, table: &TargetTable, rows: &Rows<'_>, row: At) -> Result<(), Error> {
        if !is_complete(rows.row(row)) {
            let what = "a row that is to replace another does not have all its values";
            return Err(Error::Incomplete { table: shown(table), what });
        }
        let at = self.entry(table, rows, row)?;
        self.entries[at].1 = Now::Row(row);
        Ok(())
    }

    /// The row that has this key gets these values.
    pub fn patch(&mut self, table: &TargetTable, rows: &mut Rows<'_>, row: At) -> Result<(), Error> {
        if is_complete(rows.row(row)) {
            return self.put(table, rows, row);
        }
        let known = self.entries.len();
        let at = self.entry(table, rows, row)?;
        let now = match self.entries[at].1 {
            Now::Nothing if at < known => Now::Nothing,
            Now::Nothing => Now::Patched(row),
            Now::Row(old) => Now::Row(rows.merge(row, &[old])),
            Now::Patched(old) => Now::Patched(rows.merge(row, &[old])),
        };
        self.entries[at].1 = now;
        Ok(())
    }

    /// No row of this key is there.
    pub fn remove(&mut self, table: &TargetTable, rows: &Rows<'_>, row: At) -> Result<(), Error> {
        let at = self.entry(table, rows, row)?;
        self.entries[at].1 = Now::Nothing;
        Ok(())
    }

    /// Keys of which there is to be no row, in the order of their bytes.
    pub fn deletes(&self, table: &TargetTable, rows: &Rows<'_>) -> Vec<At> {
        let goes = self.entries.iter().filter(|(_, now)| matches!(now, Now::Nothing));
        let mut keys: Vec<At> = goes.map(|(key, _)| *key).collect();
        keys.sort_unstable_by(|&a, &b| by_key(table, rows, a, b));
        keys
    }

    /// Rows that are to be there, in the order of their keys' bytes.
    pub fn rows(&self, table: &TargetTable, rows: &Rows<'_>) -> Vec<Pair> {
        let pairs = self.entries.iter().filter_map(|(key, now)| match now {
            Now::Row(row) => Some(Pair { key: *key, row: *row }),
            Now::Nothing | Now::Patched(_) => None,
        });
        let mut pairs: Vec<Pair> = pairs.collect();
        pairs.sort_unstable_by(|a, b| by_key(table, rows, a.key, b.key));
        pairs
    }

    /// Rows that get some values, if they are there.
    pub fn patches(&self) -> Vec<Pair> {
        let pairs = self.entries.iter().filter_map(|(key, now)| match now {
            Now::Patched(row) => Some(Pair { key: *key, row: *row }),
            Now::Nothing | Now::Row(_) => None,
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
            let other = rows.row(self.entries[at].0);
            table.key.iter().all(|&c| other.cell(c) == view.cell(c))
        });
        Ok(found.unwrap_or_else(|| {
            self.entries.push((row, Now::Nothing));
            self.chains.push(hash)
        }))
    }
}

fn by_key(table: &TargetTable, rows: &Rows<'_>, a: At, b: At) -> Ordering {
    let cells = |at: At| table.key.iter().map(move |&c| rows.row(at).cell(c).bytes());
    cells(a).cmp(cells(b))
}

//! Netting of states: what each key's row is now, whatever it was.
//!
//! A source that reads rows after it has learnt that they changed ([`ApplyMode::Replace`](super::ApplyMode)) gives a row as it is, perhaps
//! for the second time. So nothing is known of what the target has under a key, and nothing is asked: all rows of the keys go, and
//! those that are come.
//!
//! A row of which some values are not told is another row with the same key: where there is one, it gets those that are. Where there
//! is none, it went in what is told later.

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

    /// Keys whose rows go, in the order of their bytes.
    pub fn deletes(&self, table: &TargetTable, rows: &Rows<'_>) -> Vec<At> {
        let goes = self.entries.iter().filter(|(_, now)| !matches!(now, Now::Patched(_)));
        let mut keys: Vec<At> = goes.map(|(key, _)| *key).collect();
        let cells = |at: At| table.key.iter().map(move |&c| rows.row(at).cell(c).bytes());
        keys.sort_unstable_by(|&a, &b| cells(a).cmp(cells(b)));
        keys
    }

    /// Rows that come.
    pub fn inserts(&self) -> Vec<At> {
        let rows = self.entries.iter().filter_map(|(_, now)| if let Now::Row(row) = now { Some(*row) } else { None });
        rows.collect()
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

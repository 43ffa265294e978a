//! Netting of states: what each key's row is now, whatever it was.
//!
//! A source that reads rows after it has learnt that they changed ([`ApplyMode::Replace`](super::ApplyMode)) gives a row as it is, perhaps
//! for the second time. So nothing is known of what the target has under a key, and nothing is asked: all rows of the keys go, and
//! those that are come.

use logferry_model::{Cell, TargetTable};

use super::net::{At, Chains, Rows, hash_cells, is_complete};
use crate::error::Error;
use crate::names::shown;

#[derive(Default)]
pub(super) struct Ensured {
    chains: Chains,
    /// A row that has the key, and the row that is there now.
    entries: Vec<(At, Option<At>)>,
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
        self.entries[at].1 = Some(row);
        Ok(())
    }

    /// No row of this key is there.
    pub fn remove(&mut self, table: &TargetTable, rows: &Rows<'_>, row: At) -> Result<(), Error> {
        let at = self.entry(table, rows, row)?;
        self.entries[at].1 = None;
        Ok(())
    }

    /// Keys whose rows go, in the order of their bytes.
    pub fn deletes(&self, table: &TargetTable, rows: &Rows<'_>) -> Vec<At> {
        let mut keys: Vec<At> = self.entries.iter().map(|(key, _)| *key).collect();
        let cells = |at: At| table.key.iter().map(move |&c| rows.row(at).cell(c).bytes());
        keys.sort_unstable_by(|&a, &b| cells(a).cmp(cells(b)));
        keys
    }

    /// Rows that come.
    pub fn inserts(&self) -> Vec<At> {
        self.entries.iter().filter_map(|(_, row)| *row).collect()
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
            self.entries.push((row, None));
            self.chains.push(hash)
        }))
    }
}

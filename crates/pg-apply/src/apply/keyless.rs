//! Netting of tables without a key: a multiset of rows.
//!
//! Nothing tells two equal rows apart, so a table is a count per row value, and a batch is a difference of
//! counts. Rows are compared by their binary form, as PostgreSQL compares them later (`record_image_eq`).

use logferry_model::TargetTable;

use super::net::{At, Chains, Rows, hash_cells, is_complete};
use crate::error::Error;
use crate::names::shown;

#[derive(Default)]
pub(super) struct Keyless {
    chains: Chains,
    /// Row values, and how many more of each there are after the batch.
    counts: Vec<(At, i64)>,
}

impl Keyless {
    pub fn clear(&mut self) {
        self.chains.clear();
        self.counts.clear();
    }

    pub fn insert(&mut self, table: &TargetTable, rows: &Rows<'_>, after: At) -> Result<(), Error> {
        self.count(table, rows, after, 1)
    }

    pub fn delete(&mut self, table: &TargetTable, rows: &Rows<'_>, before: At) -> Result<(), Error> {
        self.count(table, rows, before, -1)
    }

    pub fn update(&mut self, table: &TargetTable, rows: &mut Rows<'_>, before: At, after: At) -> Result<(), Error> {
        let after = rows.merge(after, &[before]);
        self.count(table, rows, before, -1)?;
        self.count(table, rows, after, 1)
    }

    /// Rows that go, with how many of each.
    pub fn removals(&self) -> Vec<(At, i64)> {
        self.counts.iter().filter(|(_, n)| *n < 0).map(|&(row, n)| (row, -n)).collect()
    }

    /// Rows that come, each as often as it does.
    pub fn additions(&self) -> Vec<At> {
        let coming = self.counts.iter().filter(|(_, n)| *n > 0);
        coming.flat_map(|&(row, n)| std::iter::repeat_n(row, n as usize)).collect()
    }

    fn count(&mut self, table: &TargetTable, rows: &Rows<'_>, row: At, by: i64) -> Result<(), Error> {
        let view = rows.row(row);
        if !is_complete(view) {
            let what = "the table has no key, and a row does not have all its values";
            return Err(Error::Incomplete { table: shown(table), what });
        }
        let hash = hash_cells(view, 0..view.len());
        let found = self.chains.find(hash, |at| rows.row(self.counts[at].0).cells().eq(view.cells()));
        match found {
            Some(at) => self.counts[at].1 += by,
            None => {
                self.chains.push(hash);
                self.counts.push((row, by));
            }
        }
        Ok(())
    }
}

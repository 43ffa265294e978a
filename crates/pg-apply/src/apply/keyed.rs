//! Netting of tables with a key: what each key comes to.
//!
//! An entry per key knows two things: whether the target had a row of this key before the batch, which the
//! first change of the key tells (an insert: no; an update or delete: yes), and the row that it must have
//! after it. A key update ends one entry's row and begins another's.
//!
//! A row may be partial: cells that the source calls unchanged have their value on the target only. Such a
//! row remembers `from` which key's old row they are to be taken, because the key may have moved since.

use logferry_model::{Cell, RowView, TargetTable};

use super::net::{At, Chains, Rows, hash_cells, is_complete};
use crate::error::Error;
use crate::names::shown;

#[derive(Default)]
pub(super) struct Keyed {
    chains: Chains,
    entries: Vec<Entry>,
}

struct Entry {
    /// A row that has the key.
    key: At,
    /// Whether the target had a row of this key before the batch.
    was_there: bool,
    now: Option<Now>,
    /// Whether a value of another unique key may differ from the old row's.
    unique_moved: bool,
}

#[derive(Clone, Copy)]
struct Now {
    row: At,
    complete: bool,
    /// The entry whose old row has the cells that are missing here.
    from: usize,
}

/// Of a complete row: nothing is taken from anywhere.
const NOWHERE: usize = usize::MAX;

/// The columns that a partial row knows, as bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Known(Vec<u64>);

impl Known {
    pub fn of(row: RowView<'_>) -> Self {
        let mut bits = vec![0; row.len().div_ceil(64)];
        for (column, cell) in row.cells().enumerate() {
            if cell != Cell::Unchanged {
                bits[column / 64] |= 1 << (column % 64);
            }
        }
        Known(bits)
    }

    pub fn has(&self, column: usize) -> bool {
        self.0[column / 64] & 1 << (column % 64) != 0
    }
}

/// A row to be changed: which, and to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    /// A row that has the key to look for.
    pub key: At,
    /// The new values.
    pub row: At,
}

/// What is to be done to a table, in this order.
#[derive(Default)]
pub(super) struct Work {
    /// Rows whose missing cells are needed after their deletion.
    pub fetches: Vec<At>,
    /// Rows that go.
    pub deletes: Vec<At>,
    /// Rows that stay, with all their values.
    pub updates: Vec<Pair>,
    /// Rows that stay, with some of their values.
    pub partial_updates: Vec<Pair>,
    /// Rows that come back with some new values, the others from `fetches`.
    pub moves: Vec<Pair>,
    /// Rows that come.
    pub inserts: Vec<At>,
}

impl Keyed {
    pub fn clear(&mut self) {
        self.chains.clear();
        self.entries.clear();
    }

    pub fn insert(&mut self, table: &TargetTable, rows: &Rows<'_>, after: At) -> Result<(), Error> {
        if !is_complete(rows.row(after)) {
            let what = "an inserted row does not have all its values";
            return Err(Error::Incomplete { table: shown(table), what });
        }
        self.arrive(table, rows, Now { row: after, complete: true, from: NOWHERE })
    }

    pub fn delete(&mut self, table: &TargetTable, rows: &Rows<'_>, before: At, emptied: bool) -> Result<(), Error> {
        let (at, _) = self.present(table, rows, before, emptied)?;
        self.entries[at].now = None;
        Ok(())
    }

    pub fn update(
        &mut self,
        table: &TargetTable,
        rows: &mut Rows<'_>,
        before: At,
        after: At,
        emptied: bool,
    ) -> Result<(), Error> {
        let (at, old) = self.present(table, rows, before, emptied)?;
        let row = rows.merge(after, &[before, old.row]);
        let now = Now { row, complete: is_complete(rows.row(row)), from: old.from };
        let (old_row, new_row) = (rows.row(before), rows.row(row));
        let same = |column: &usize| old_row.cell(*column) == new_row.cell(*column);
        if !table.key.iter().all(same) {
            self.entries[at].now = None;
            return self.arrive(table, rows, now);
        }
        let unique_moved = !table.unique.iter().flat_map(|(_, columns)| columns).all(same);
        let entry = &mut self.entries[at];
        entry.now = Some(now);
        entry.unique_moved |= unique_moved;
        Ok(())
    }

    /// What the changes come to, in the order of the keys' bytes: neighbours in the index are then changed one after the
    /// other (about a fifth faster than at random on 400,000 rows).
    pub fn work(&self, table: &TargetTable, rows: &Rows<'_>) -> Work {
        let mut work = self.unsorted_work(table);
        let cells = |at: At| table.key.iter().map(move |&c| rows.row(at).cell(c).bytes());
        let order = |a: At, b: At| cells(a).cmp(cells(b));
        work.deletes.sort_unstable_by(|&a, &b| order(a, b));
        work.updates.sort_unstable_by(|a, b| order(a.key, b.key));
        work.inserts.sort_unstable_by(|&a, &b| order(a, b));
        work
    }

    fn unsorted_work(&self, table: &TargetTable) -> Work {
        let mut work = Work::default();
        let only_key = table.columns.len() == table.key.len();
        let mut fetched = vec![false; self.entries.len()];
        for (at, entry) in self.entries.iter().enumerate() {
            let Some(now) = entry.now else {
                if entry.was_there {
                    work.deletes.push(entry.key);
                }
                continue;
            };
            let stays = entry.was_there && !entry.unique_moved && (now.complete || now.from == at);
            if stays {
                match (only_key, now.complete) {
                    (true, _) => {}
                    (false, true) => work.updates.push(Pair { key: entry.key, row: now.row }),
                    (false, false) => work.partial_updates.push(Pair { key: entry.key, row: now.row }),
                }
                continue;
            }
            if entry.was_there {
                work.deletes.push(entry.key);
            }
            if now.complete {
                work.inserts.push(now.row);
                continue;
            }
            let from = self.entries[now.from].key;
            if !std::mem::replace(&mut fetched[now.from], true) {
                work.fetches.push(from);
            }
            work.moves.push(Pair { key: from, row: now.row });
        }
        work
    }

    /// The entry of a row that must be there, and the row: since an earlier change, or on the target.
    fn present(&mut self, table: &TargetTable, rows: &Rows<'_>, row: At, emptied: bool) -> Result<(usize, Now), Error> {
        let contradiction = |what| Err(Error::Contradiction { table: shown(table), what });
        let (hash, found) = self.find(table, rows, row)?;
        if let Some(at) = found {
            return match self.entries[at].now {
                Some(now) => Ok((at, now)),
                None => contradiction("a row changes that is gone"),
            };
        }
        if emptied {
            return contradiction("a row changes that went with the truncation of the table");
        }
        let at = self.chains.push(hash);
        let now = Now { row, complete: is_complete(rows.row(row)), from: at };
        self.entries.push(Entry { key: row, was_there: true, now: Some(now), unique_moved: false });
        Ok((at, now))
    }

    /// A row begins to be under a key that had none.
    fn arrive(&mut self, table: &TargetTable, rows: &Rows<'_>, now: Now) -> Result<(), Error> {
        let (hash, found) = self.find(table, rows, now.row)?;
        let Some(at) = found else {
            self.chains.push(hash);
            self.entries.push(Entry { key: now.row, was_there: false, now: Some(now), unique_moved: false });
            return Ok(());
        };
        let entry = &mut self.entries[at];
        if entry.now.is_some() {
            let what = "a row comes to be that is there already";
            return Err(Error::Contradiction { table: shown(table), what });
        }
        entry.now = Some(now);
        // Its other values are not the old row's.
        entry.unique_moved = !table.unique.is_empty();
        Ok(())
    }

    fn find(&self, table: &TargetTable, rows: &Rows<'_>, row: At) -> Result<(u64, Option<usize>), Error> {
        let view = rows.row(row);
        if table.key.iter().any(|&c| !matches!(view.cell(c), Cell::Bytes(_))) {
            return Err(Error::Incomplete { table: shown(table), what: "a row does not have its key" });
        }
        let hash = hash_cells(view, table.key.iter().copied());
        let found = self.chains.find(hash, |at| {
            let other = rows.row(self.entries[at].key);
            table.key.iter().all(|&c| other.cell(c) == view.cell(c))
        });
        Ok((hash, found))
    }
}

//! Netting of tables with a key: what each key comes to.
//!
//! An entry per key knows two things: whether the target had a row of this key before the batch, which the
//! first change of the key tells (an insert: no; an update or delete: yes), and the row that it must have
//! after it. A key update ends one entry's row and begins another's.
//!
//! A row may be partial: cells that the source calls unchanged have their value on the target only. Such a
//! row remembers `from` which key's old row they are to be taken, because the key may have moved since.
//!
//! A source looks at its keys when a statement ends. Within one, rows that are changed where they are, as those of a heap are, may get keys
//! that other rows give up only later:
//!
//! ```text
//!  UPDATE t SET id = id + 1        1 a > 2 a        2 b > 3 b        3 c > 4 c
//! ```
//!
//! So, within a transaction, a key has a row `now`, and perhaps one that is `coming`. Of which of the two a change tells, its values say: if
//! they are not those of the row that came, it is the row that the target has. (If all that is known of both is equal, either will do.) A
//! row that still waits for its key when a part of its transaction ends waits on, see [`waiting`](super::waiting).

use logferry_model::{Cell, RowView, TargetTable};

use super::net::{At, Chains, Rows, differ, hash_cells, is_complete, moves};
use crate::error::Error;
use crate::names::shown;

#[derive(Default)]
pub(super) struct Keyed {
    chains: Chains,
    entries: Vec<Entry>,
    /// Which transaction it is.
    transaction: u32,
}

struct Entry {
    /// A row that has the key.
    key: At,
    /// Whether the target had a row of this key before the batch.
    was_there: bool,
    now: Option<Now>,
    /// What is to be under the key once the row of `now` has left it.
    coming: Option<Now>,
    /// The transaction in which a row got the key that had another one before, if nothing was told of what the target has.
    perhaps_there: Option<u32>,
    /// Whether a value of another unique key may differ from the old row's.
    unique_moved: bool,
}

impl Entry {
    fn new(key: At, was_there: bool, now: Now) -> Self {
        Entry {
            key,
            was_there,
            now: Some(now),
            coming: None,
            perhaps_there: (!was_there && now.moved).then_some(now.since),
            unique_moved: false,
        }
    }

    /// The row leaves its key to the one that waits for it.
    fn leave(&mut self, table: &TargetTable) {
        self.now = self.coming.take();
        // Its other values are not the old row's.
        self.unique_moved |= self.now.is_some() && !table.unique.is_empty();
    }
}

#[derive(Clone, Copy)]
struct Now {
    row: At,
    complete: bool,
    /// The entry whose old row has the cells that are missing here.
    from: usize,
    /// It had another key before.
    moved: bool,
    /// The transaction that it is of.
    since: u32,
}

/// What becomes of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goes {
    Nowhere,
    Away,
    ToAnotherKey,
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
    /// From here on no key has two rows but those of the next transaction.
    pub fn end_transaction(&mut self) {
        self.transaction += 1;
    }

    pub fn clear(&mut self) {
        self.chains.clear();
        self.entries.clear();
    }

    pub fn insert(&mut self, table: &TargetTable, rows: &Rows<'_>, after: At) -> Result<(), Error> {
        if !is_complete(rows.row(after)) {
            let what = "an inserted row does not have all its values";
            return Err(Error::Incomplete { table: shown(table), what });
        }
        self.arrive(
            table,
            rows,
            Now { row: after, complete: true, from: NOWHERE, moved: false, since: self.transaction },
        )
    }

    pub fn delete(&mut self, table: &TargetTable, rows: &Rows<'_>, before: At, emptied: bool) -> Result<(), Error> {
        let (at, _) = self.present(table, rows, before, emptied, Goes::Away)?;
        self.entries[at].leave(table);
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
        let moved = moves(table, rows.row(before), rows.row(after));
        let goes = if moved { Goes::ToAnotherKey } else { Goes::Nowhere };
        let (at, old) = self.present(table, rows, before, emptied, goes)?;
        let row = rows.merge(after, &[before, old.row]);
        let now = Now { row, complete: is_complete(rows.row(row)), from: old.from, moved, since: self.transaction };
        if moved {
            self.entries[at].leave(table);
            return self.arrive(table, rows, now);
        }
        let (old_row, new_row) = (rows.row(before), rows.row(row));
        let same = |column: &usize| old_row.cell(*column) == new_row.cell(*column);
        let unique_moved = !table.unique.iter().flat_map(|(_, columns)| columns).all(same);
        let entry = &mut self.entries[at];
        entry.now = Some(now);
        entry.unique_moved |= unique_moved;
        Ok(())
    }

    /// A row that waits for its key, which another row has on the target.
    pub fn wait(&mut self, table: &TargetTable, rows: &mut Rows<'_>, row: At) -> Result<(), Error> {
        let (hash, _) = self.find(table, rows, row)?;
        let at = self.chains.push(hash);
        self.entries.push(Entry::new(
            row,
            false,
            Now { row, complete: true, from: NOWHERE, moved: true, since: self.transaction },
        ));
        self.is_taken(table, rows, at);
        Ok(())
    }

    /// Rows that got keys of which nothing is told: the target may have rows of them; with their entries.
    pub fn arrivals(&self) -> Vec<(usize, At)> {
        let came = |now: Now| now.moved && now.since == self.transaction;
        let arrived = |entry: &Entry| !entry.was_there && entry.now.is_some_and(came);
        self.entries.iter().enumerate().filter(|(_, entry)| arrived(entry)).map(|(at, entry)| (at, entry.key)).collect()
    }

    /// The target has a row of the key of an entry: the one that arrived waits.
    pub fn is_taken(&mut self, table: &TargetTable, rows: &mut Rows<'_>, at: usize) {
        let row = rows.key_of(table, self.entries[at].key);
        let there = Now { row, complete: is_complete(rows.row(row)), from: at, moved: false, since: self.transaction };
        let entry = &mut self.entries[at];
        entry.was_there = true;
        entry.perhaps_there = None;
        entry.coming = entry.now.replace(there);
    }

    /// Rows that wait for their keys.
    ///
    /// # Errors
    /// Some of their values are to be found under a key that they do not have any more.
    pub fn waiting(&self, table: &TargetTable) -> Result<Vec<At>, Error> {
        let what = "a row that waits for its key does not have all its values";
        let coming = self.entries.iter().filter_map(|entry| entry.coming);
        coming
            .map(|row| match row.complete {
                _ if row.since != self.transaction && row.moved => {
                    Err(Error::Taken { table: shown(table), rows: 1, when: "at the end" })
                }
                _ if row.since != self.transaction => Err(there_already(table)),
                true => Ok(row.row),
                false => Err(Error::Incomplete { table: shown(table), what }),
            })
            .collect()
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
    fn present(
        &mut self,
        table: &TargetTable,
        rows: &Rows<'_>,
        row: At,
        emptied: bool,
        goes: Goes,
    ) -> Result<(usize, Now), Error> {
        let contradiction = |what| Err(Error::Contradiction { table: shown(table), what });
        let (hash, found) = self.find(table, rows, row)?;
        let since = self.transaction;
        let on_target = |at| Now { row, complete: is_complete(rows.row(row)), from: at, moved: false, since };
        if let Some(at) = found {
            let entry = &mut self.entries[at];
            let is_another = match entry.now {
                None if entry.perhaps_there == Some(since) && !emptied => true,
                None => return contradiction("a row changes that is gone"),
                Some(now) => {
                    let may_be = !entry.was_there && !emptied && goes != Goes::Nowhere && now.since == since;
                    may_be && (now.moved || goes == Goes::ToAnotherKey) && differ(rows.row(row), rows.row(now.row))
                }
            };
            if is_another {
                entry.was_there = true;
                entry.perhaps_there = None;
                entry.coming = entry.now.replace(on_target(at));
            }
            let now = entry.now.unwrap_or_else(|| on_target(at));
            return Ok((at, now));
        }
        if emptied {
            return contradiction("a row changes that went with the truncation of the table");
        }
        let at = self.chains.push(hash);
        self.entries.push(Entry::new(row, true, on_target(at)));
        Ok((at, on_target(at)))
    }

    /// A row begins to be under a key that had none.
    fn arrive(&mut self, table: &TargetTable, rows: &Rows<'_>, now: Now) -> Result<(), Error> {
        let (hash, found) = self.find(table, rows, now.row)?;
        let Some(at) = found else {
            self.chains.push(hash);
            self.entries.push(Entry::new(now.row, false, now));
            return Ok(());
        };
        let entry = &mut self.entries[at];
        if entry.coming.replace(now).is_some() {
            return Err(there_already(table));
        }
        if !entry.was_there && now.moved {
            entry.perhaps_there = Some(now.since);
        }
        if entry.now.is_none() {
            entry.leave(table);
        }
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

/// Of a row whose key another row has.
pub(super) fn there_already(table: &TargetTable) -> Error {
    Error::Contradiction { table: shown(table), what: "a row comes to be that is there already" }
}

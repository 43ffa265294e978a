//! What a batch comes to, per table.

use std::sync::Arc;

use logferry_model::{Cell, ChangeOp, RowRef, RowStore, RowView, TargetBatch, TargetTable};
use rustc_hash::FxHashMap;

use super::ApplyMode;
use super::ensured::Ensured;
use super::keyed::Keyed;
use super::keyless::Keyless;
use super::waiting::{Waiting, none_waits};
use crate::error::Error;
use crate::names::shown;

/// A row of the batch, or one that netting put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Batch(RowRef),
    Merged(RowRef),
}

/// The rows of a batch and those that netting put together of them.
pub(super) struct Rows<'b> {
    batch: &'b RowStore,
    merged: RowStore,
}

impl Rows<'_> {
    pub fn row(&self, at: At) -> RowView<'_> {
        match at {
            At::Batch(row) => self.batch.row(row),
            At::Merged(row) => self.merged.row(row),
        }
    }

    /// A row of its own, as it is.
    pub fn add(&mut self, row: RowView<'_>) -> At {
        At::Merged(self.merged.push_row(row.cells()))
    }

    /// The key of a row, and nothing else of it.
    pub fn key_of(&mut self, table: &TargetTable, row: At) -> At {
        // The row may be in the very store that the new one goes to.
        let cells: Vec<Option<Vec<u8>>> = (0..table.columns.len())
            .map(|c| self.row(row).cell(c).bytes().filter(|_| table.key.contains(&c)).map(<[u8]>::to_vec))
            .collect();
        At::Merged(self.merged.push_row(cells.iter().map(|cell| cell.as_deref().map_or(Cell::Unchanged, Cell::Bytes))))
    }

    /// The row with each unchanged cell taken from the first of the others that knows it.
    pub fn merge(&mut self, row: At, others: &[At]) -> At {
        if is_complete(self.row(row)) {
            return row;
        }
        // The cells may be in the very store that the new row goes to.
        let cells: Vec<Option<Option<Vec<u8>>>> = (0..self.row(row).len())
            .map(|column| {
                let known = std::iter::once(&row).chain(others).map(|&at| self.row(at).cell(column));
                known.into_iter().find(|c| *c != Cell::Unchanged).map(|c| c.bytes().map(<[u8]>::to_vec))
            })
            .collect();
        At::Merged(self.merged.push_row(cells.iter().map(|cell| match cell {
            None => Cell::Unchanged,
            Some(None) => Cell::Null,
            Some(Some(bytes)) => Cell::Bytes(bytes),
        })))
    }
}

/// Whether a value that is known of two rows is another one.
pub(super) fn differ(a: RowView<'_>, b: RowView<'_>) -> bool {
    a.cells().zip(b.cells()).any(|(a, b)| a != b && a != Cell::Unchanged && b != Cell::Unchanged)
}

/// Whether a row gets another key.
pub(super) fn moves(table: &TargetTable, before: RowView<'_>, after: RowView<'_>) -> bool {
    table.key.iter().any(|&c| after.cell(c) != Cell::Unchanged && before.cell(c) != after.cell(c))
}

/// Whether every cell is known.
pub(super) fn is_complete(row: RowView<'_>) -> bool {
    row.cells().all(|c| c != Cell::Unchanged)
}

/// What a batch comes to.
pub(super) struct Net<'b> {
    pub rows: Rows<'b>,
    pub tables: Vec<TableNet>,
}

/// What a batch comes to for one table.
pub(super) struct TableNet {
    pub table: Arc<TargetTable>,
    /// All rows that were there before are gone.
    pub truncated: bool,
    pub changes: Changes,
}

pub(super) enum Changes {
    Keyed(Keyed),
    Keyless(Keyless),
    Ensured(Ensured),
}

impl<'b> Net<'b> {
    /// Nets a batch. Tables come in the order of their first change. Rows that wait for their keys are taken over where the batch changes
    /// their tables.
    pub fn of(batch: &'b TargetBatch, mode: ApplyMode, waiting: &mut Vec<Waiting>) -> Result<Self, Error> {
        let mut net = Net { rows: Rows { batch: &batch.rows, merged: RowStore::new() }, tables: Vec::new() };
        // By address first: the batch keeps the tables alive, and almost always there is one `Arc` per table.
        let mut by_address: FxHashMap<usize, usize> = FxHashMap::default();
        let mut ends = batch.ends.iter().copied().peekable();
        for (number, change) in batch.changes.iter().enumerate() {
            while ends.next_if(|end| *end <= number).is_some() {
                net.end_transaction(mode, waiting)?;
            }
            let address = Arc::as_ptr(&change.table) as usize;
            let at = match by_address.get(&address) {
                Some(&at) => at,
                None => {
                    let at = net.slot(&change.table, mode, waiting)?;
                    by_address.insert(address, at);
                    at
                }
            };
            net.tables[at].add(&mut net.rows, change.op)?;
        }
        for _ in ends {
            net.end_transaction(mode, waiting)?;
        }
        Ok(net)
    }

    fn end_transaction(&mut self, mode: ApplyMode, waiting: &mut Vec<Waiting>) -> Result<(), Error> {
        self.tables.iter_mut().for_each(TableNet::end_transaction);
        none_waits(waiting, mode)
    }

    fn slot(&mut self, table: &Arc<TargetTable>, mode: ApplyMode, waiting: &mut Vec<Waiting>) -> Result<usize, Error> {
        let same_name = |t: &TableNet| t.table.schema == table.schema && t.table.name == table.name;
        if let Some(at) = self.tables.iter().position(same_name) {
            let same = *self.tables[at].table == **table;
            let what = "two shapes of the table are in one batch";
            return if same { Ok(at) } else { Err(Error::Contradiction { table: shown(table), what }) };
        }
        let changes = match (mode, table.key.is_empty()) {
            // Nothing tells one of its rows from another: what is told of it must be exact in either mode.
            (ApplyMode::Exact | ApplyMode::Replace, true) => Changes::Keyless(Keyless::default()),
            (ApplyMode::Exact, false) => Changes::Keyed(Keyed::default()),
            (ApplyMode::Replace, false) => Changes::Ensured(Ensured::default()),
        };
        let mut net = TableNet { table: table.clone(), truncated: false, changes };
        if let Some(at) = waiting.iter().position(|waiting| waiting.is_of(table)) {
            net.wait(&mut self.rows, &waiting.swap_remove(at))?;
        }
        self.tables.push(net);
        Ok(self.tables.len() - 1)
    }
}

impl TableNet {
    /// Takes over rows that wait for their keys.
    fn wait(&mut self, rows: &mut Rows<'_>, waiting: &Waiting) -> Result<(), Error> {
        let table = &*self.table;
        if *waiting.table != *table {
            let what = "the shape of the table changes while its rows wait for their keys";
            return Err(Error::Contradiction { table: shown(table), what });
        }
        for row in waiting.rows() {
            let row = rows.add(row);
            match &mut self.changes {
                Changes::Keyed(keyed) => keyed.wait(table, rows, row)?,
                Changes::Ensured(ensured) => ensured.wait(table, rows, row)?,
                Changes::Keyless(_) => {}
            }
        }
        Ok(())
    }

    fn end_transaction(&mut self) {
        match &mut self.changes {
            Changes::Keyed(keyed) => keyed.end_transaction(),
            Changes::Ensured(ensured) => ensured.end_transaction(),
            Changes::Keyless(_) => {}
        }
    }

    /// Rows that got keys of which it is not known whether the target has rows of them; with the numbers that [`Self::found`] takes.
    pub fn arrivals(&self) -> Vec<(usize, At)> {
        match &self.changes {
            _ if self.truncated => Vec::new(),
            Changes::Keyed(keyed) => keyed.arrivals(),
            Changes::Ensured(ensured) => ensured.arrivals(),
            Changes::Keyless(_) => Vec::new(),
        }
    }

    /// Whether the target has a row of the key of an arrival.
    pub fn found(&mut self, rows: &mut Rows<'_>, arrival: usize, is_there: bool) {
        match &mut self.changes {
            Changes::Keyed(keyed) if is_there => keyed.is_taken(&self.table, rows, arrival),
            Changes::Ensured(ensured) => ensured.found(arrival, is_there),
            Changes::Keyed(_) | Changes::Keyless(_) => {}
        }
    }

    /// Rows that wait for others to leave their keys.
    pub fn waiting(&self) -> Result<Vec<At>, Error> {
        match &self.changes {
            Changes::Keyed(keyed) => keyed.waiting(&self.table),
            Changes::Ensured(ensured) => Ok(ensured.waiting()),
            Changes::Keyless(_) => Ok(Vec::new()),
        }
    }

    fn add(&mut self, rows: &mut Rows<'_>, op: ChangeOp) -> Result<(), Error> {
        let table = &*self.table;
        let width = |row: RowRef| {
            let what = "a row has another number of cells than the table has columns";
            let fits = rows.batch.row(row).len() == table.columns.len();
            if fits { Ok(At::Batch(row)) } else { Err(Error::Contradiction { table: shown(table), what }) }
        };
        match op {
            ChangeOp::Truncate => {
                self.truncated = true;
                match &mut self.changes {
                    Changes::Keyed(keyed) => keyed.clear(),
                    Changes::Keyless(keyless) => keyless.clear(),
                    Changes::Ensured(ensured) => ensured.clear(),
                }
                Ok(())
            }
            ChangeOp::Insert { after } => {
                let after = width(after)?;
                match &mut self.changes {
                    Changes::Keyed(keyed) => keyed.insert(table, rows, after),
                    Changes::Keyless(keyless) => keyless.insert(table, rows, after),
                    Changes::Ensured(ensured) => ensured.put(table, rows, after, false),
                }
            }
            ChangeOp::Delete { before } => {
                let before = width(before)?;
                match &mut self.changes {
                    Changes::Keyed(keyed) => keyed.delete(table, rows, before, self.truncated),
                    Changes::Keyless(keyless) => keyless.delete(table, rows, before),
                    Changes::Ensured(ensured) => ensured.remove(table, rows, before, false),
                }
            }
            ChangeOp::Update { before, after } => {
                let (before, after) = (width(before)?, width(after)?);
                match &mut self.changes {
                    Changes::Keyed(keyed) => keyed.update(table, rows, before, after, self.truncated),
                    Changes::Keyless(keyless) => keyless.update(table, rows, before, after),
                    Changes::Ensured(ensured) => {
                        if !moves(table, rows.row(before), rows.row(after)) {
                            return ensured.patch(table, rows, after);
                        }
                        ensured.remove(table, rows, before, true)?;
                        ensured.put(table, rows, after, true)
                    }
                }
            }
        }
    }
}

/// Hash of some cells of a row.
pub(super) fn hash_cells(row: RowView<'_>, columns: impl Iterator<Item = usize>) -> u64 {
    use std::hash::Hasher;
    let mut hasher = rustc_hash::FxHasher::default();
    for column in columns {
        match row.cell(column) {
            Cell::Null => hasher.write_u32(u32::MAX),
            Cell::Unchanged => hasher.write_u32(u32::MAX - 1),
            Cell::Bytes(bytes) => {
                hasher.write_usize(bytes.len());
                hasher.write(bytes);
            }
        }
    }
    hasher.finish()
}

/// Finds entries by the hash of their cells; entries of one hash are chained.
#[derive(Default)]
pub(super) struct Chains {
    heads: FxHashMap<u64, u32>,
    next: Vec<u32>,
}

const END: u32 = u32::MAX;

impl Chains {
    /// The entry of this hash that `is_it` accepts.
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(usize) -> bool) -> Option<usize> {
        let mut at = *self.heads.get(&hash)?;
        while at != END {
            if is_it(at as usize) {
                return Some(at as usize);
            }
            at = self.next[at as usize];
        }
        None
    }

    /// Adds the next entry: entries are numbered as they are added.
    pub fn push(&mut self, hash: u64) -> usize {
        let at = u32::try_from(self.next.len()).expect("a row store holds fewer than 2^32 cells");
        let before = self.heads.insert(hash, at);
        self.next.push(before.unwrap_or(END));
        at as usize
    }

    pub fn clear(&mut self) {
        self.heads.clear();
        self.next.clear();
    }
}

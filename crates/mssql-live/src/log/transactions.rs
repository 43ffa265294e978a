//! From records to the keys that a committed transaction touched.
//!
//! Of each transaction only keys are kept: what a row is now is read later. So a key too many does no harm, and undone changes,
//! savepoints and moved rows need no care: a compensation adds nothing, system transactions (page splits, ghost cleanup) move rows
//! and change none.
//!
//! What keys cannot say marks the table: it is to be read whole (it was truncated, made, or loaded in bulk), or cannot be followed (a
//! value outside of rows was changed in place).
//!
//! A bulk load (`bcp`, `BULK INSERT`, `INSERT ... WITH (TABLOCK)`) that is fully logged writes whole pages: FORMAT_PAGE with an image, of
//! which `fn_dblog` cuts off the end. One that is minimally logged, under recovery model BULK_LOGGED, only marks extents in the
//! ML map for the next log backup: which table that was is not said.

use std::collections::{HashMap, HashSet};

use logferry_model::{Lsn, TableId, TransactionId};
use logferry_mssql_format::bytes::{Malformed, u64_at};
use logferry_mssql_format::catalog::{AllocUnitRow, ObjectRow, RowsetRow, base_rowset, is_base_rowset, object};
use logferry_mssql_format::log::op::{Context, Op};
use logferry_mssql_format::log::record::{Record, RowOp};
use logferry_mssql_format::log::xact::Xact;
use logferry_mssql_format::redo::inserted_rows;
use logferry_mssql_format::row::FixedVar;

use super::made::Made;
use super::places::{Key, KeyLayout, Places, Rowset};
use super::spill::KeySet;

/// Keys of a transaction that go to a file, and pieces of values.
const SPILLED_MIN: usize = 1_000;
/// Transactions whose locks change no rows: an index is made, rebuilt or dropped.
const ROWS_STAY: &[&str] = &["ALTER INDEX", "CREATE INDEX", "DROP INDEX", "CREATE STATISTICS", "UPDATE STATISTICS"];
/// Transactions that are nested in each other, at the most: the server nests two or three.
const NESTED_MAX: usize = 16;

/// Where the row of a rowset in `sysrowsets` has the object that it belongs to (`idmajor`).
const OWNER_OF_ROWSET: (u16, u16) = (13, 17);

/// A transaction that is not over.
#[derive(Debug, Default)]
struct Open {
    touched: Touched,
    system: bool,
    /// The transaction that this one is nested in; of 2012 and later.
    parent: TransactionId,
    /// Pieces of values outside of rows that it made.
    made: Made,
}

/// Why a record could not be taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTaken {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A temporary file.
    #[error(transparent)]
    Temporary(#[from] std::io::Error),
}

/// What a transaction did.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    pub(super) id: TransactionId,
    pub(super) name: String,
    /// Its first record that was seen.
    pub(super) begin: Lsn,
    pub(super) commit: Lsn,
    pub(super) commit_time_us: Option<i64>,
    pub(super) keys: HashMap<TableId, KeySet>,
    /// Tables of which it changed a row that the log does not name, with a record of each.
    pub(super) unnamed: HashMap<TableId, Lsn>,
    /// Objects on which it took the lock that changes of their description need.
    pub(super) locked: HashSet<u32>,
    /// Objects that it dropped.
    pub(super) dropped: HashSet<u32>,
    /// It changed system tables.
    pub(super) describes: bool,
    /// Allocation units whose rows lost or changed their pages by it.
    pub(super) units: HashSet<u64>,
    /// Rowsets that it gave to another table.
    pub(super) rowsets: HashSet<u64>,
    /// Rowsets that are not known, with a record of each.
    pub(super) unknown: HashMap<u64, Lsn>,
    /// Tables of which it changed a value in place, outside of its row.
    pub(super) in_place: HashMap<TableId, Lsn>,
    /// Allocation units that it gave rows without naming each, with a record of each.
    pub(super) loaded: HashMap<u64, Lsn>,
    /// A record of extents that it filled without logging what with.
    pub(super) unlogged: Option<Lsn>,
}

impl Touched {
    fn is_empty(&self) -> bool {
        self.keys.is_empty()
            && self.locked.is_empty()
            && !self.describes
            && self.unknown.is_empty()
            && self.in_place.is_empty()
            && self.unnamed.is_empty()
            && self.loaded.is_empty()
            && self.unlogged.is_none()
    }

    /// Whether it leaves all rows as they are, whatever it does to pages: an index is made, rebuilt or dropped.
    pub(super) fn keeps_rows(&self) -> bool {
        ROWS_STAY.contains(&self.name.as_str())
    }
}

/// All transactions.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    open: HashMap<TransactionId, Open>,
    /// Committed, in the order of their commits.
    pub(super) committed: Vec<Touched>,
    /// Rowsets that went, and the tables that they had the rows of, if any.
    pub(super) gone: HashMap<u64, Option<u32>>,
    /// Allocation units that went, and their rowsets.
    gone_units: HashMap<u64, u64>,
    /// Keys in memory, at the most.
    keys_here: usize,
    /// Pieces of values outside of rows in memory, at the most.
    pieces_here: usize,
    /// Commits up to this one are known already.
    pub(super) applied: Lsn,
}

impl Transactions {
    /// None yet; commits up to a position do not count.
    pub(super) fn after(applied: Lsn) -> Self {
        Transactions { applied, ..Transactions::default() }
    }

    /// Keeps memory bounded: where there are too many keys, or pieces of values, they go to temporary files.
    pub(super) fn make_room(&mut self, keys_max: usize, pieces_max: usize) -> std::io::Result<()> {
        if self.pieces_here > pieces_max {
            let mut made: Vec<&mut Made> = self.open.values_mut().map(|open| &mut open.made).collect();
            made.sort_by_key(|made| made.here());
            self.pieces_here = made.iter().map(|made| made.here()).sum();
            while self.pieces_here > pieces_max / 2
                && let Some(made) = made.pop()
                && made.here() >= SPILLED_MIN
            {
                self.pieces_here -= made.here();
                made.spill()?;
            }
        }
        if self.keys_here <= keys_max {
            return Ok(());
        }
        let open = self.open.values_mut().map(|open| &mut open.touched);
        let sets = open.chain(&mut self.committed).flat_map(|touched| touched.keys.values_mut());
        let mut sets: Vec<&mut KeySet> = sets.filter(|set| !set.here().is_empty()).collect();
        // The largest: small transactions need no file of their own.
        sets.sort_by_key(|set| set.here().len());
        let mut left: usize = sets.iter().map(|set| set.here().len()).sum();
        while left > keys_max / 2
            && let Some(set) = sets.pop()
            // Below that a file is larger than what it saves, and there may be more transactions than files can be open.
            && set.here().len() >= SPILLED_MIN
        {
            left -= set.here().len();
            set.spill()?;
        }
        self.keys_here = left;
        Ok(())
    }

    /// The begin of the oldest transaction that is not over.
    pub(super) fn oldest_begin(&self) -> Option<Lsn> {
        self.open.values().map(|open| open.touched.begin).min()
    }

    /// Of an allocation unit that is not there any more: the table that it had the rows of, if any; `None` where nothing is known of it.
    pub(super) fn gone_unit(&self, unit: u64) -> Option<Option<u32>> {
        self.gone.get(self.gone_units.get(&unit)?).copied()
    }

    /// The first record of committed transactions that filled extents without logging what with.
    pub(super) fn unlogged(&self) -> Option<Lsn> {
        self.committed.iter().filter(|touched| !touched.keeps_rows()).find_map(|touched| touched.unlogged)
    }

    /// Takes a record. Its bytes may be cut off at 8,000: `length` is what they were.
    pub(super) fn record(&mut self, places: &Places, lsn: Lsn, bytes: &[u8], length: usize) -> Result<(), NotTaken> {
        let whole = Bytes::new(bytes, length);
        let record = Record::read(lsn, whole.padded(0))?;
        let id = record.transaction;
        if id.is_none() {
            return Ok(());
        }
        match record.op {
            Op::BEGIN_XACT => {
                let Some(Xact::Begin(begin)) = Xact::read(&record)? else { return Ok(()) };
                let touched = Touched { id, begin: lsn, name: begin.name.to_string(), ..Touched::default() };
                let (system, parent) = (begin.is_system(), begin.parent);
                self.open.insert(id, Open { touched, system, parent, ..Open::default() });
            }
            Op::ABORT_XACT => {
                self.open.remove(&id);
            }
            Op::COMMIT_XACT => {
                let Some(Open { mut touched, .. }) = self.open.remove(&id) else { return Ok(()) };
                if touched.is_empty() || lsn <= self.applied {
                    return Ok(());
                }
                touched.commit = lsn;
                if let Some(Xact::Commit(end)) = Xact::read(&record)? {
                    touched.commit_time_us = end.time_us;
                }
                self.committed.push(touched);
            }
            Op::LOCK_XACT => {
                if let Some(Xact::Lock { object: Some(object) }) = Xact::read(&record)? {
                    self.open(id, lsn).touched.locked.insert(object);
                }
            }
            Op::FORMAT_PAGE => self.page(&record)?,
            Op::SET_BITS if record.context == Context::ML_MAP => self.extents(&record)?,
            _ => self.row(places, &record, &whole)?,
        }
        Ok(())
    }

    /// A page that was written with its rows. System transactions move rows to new pages.
    fn page(&mut self, record: &Record<'_>) -> Result<(), Malformed> {
        let Some(page) = record.page_op()? else { return Ok(()) };
        if record.element(0).is_empty() || record.is_compensation() {
            return Ok(());
        }
        let open = self.open(record.transaction, record.lsn);
        if !open.system {
            open.touched.loaded.entry(page.alloc_unit()).or_insert(record.lsn);
        }
        Ok(())
    }

    /// Extents that were written and not logged; the transaction that has them may be nested in that which it is about.
    fn extents(&mut self, record: &Record<'_>) -> Result<(), Malformed> {
        // A log backup clears the bits.
        if record.is_compensation() || record.u16_at(52, "bit value")? & 1 == 0 {
            return Ok(());
        }
        let mut id = record.transaction;
        for _ in 0..NESTED_MAX {
            let parent = self.open.get(&id).map_or(TransactionId::default(), |open| open.parent);
            if !self.open.contains_key(&parent) {
                break;
            }
            id = parent;
        }
        self.open(id, record.lsn).touched.unlogged.get_or_insert(record.lsn);
        Ok(())
    }

    fn open(&mut self, id: TransactionId, lsn: Lsn) -> &mut Open {
        self.open
            .entry(id)
            .or_insert_with(|| Open { touched: Touched { id, begin: lsn, ..Touched::default() }, ..Open::default() })
    }

    fn row(&mut self, places: &Places, record: &Record<'_>, whole: &Bytes<'_>) -> Result<(), NotTaken> {
        let (Some(page), Some(row)) = (record.page_op()?, record.row_op()?) else { return Ok(()) };
        let rowset = row.rowset;
        if is_base_rowset(rowset) {
            return Ok(self.system_row(record, row)?);
        }
        let open = self.open(record.transaction, record.lsn);
        if open.system || record.is_compensation() {
            return Ok(());
        }
        if is_entry(record) {
            return Ok(());
        }
        let (table, keys) = match places.rowset(rowset) {
            Some(Rowset::Table(table, keys)) => (*table, keys),
            Some(Rowset::Unneeded) => return Ok(()),
            None => {
                open.touched.unknown.entry(rowset).or_insert(record.lsn);
                return Ok(());
            }
        };
        match (record.context, record.op) {
            (Context::TEXT_MIX | Context::TEXT_TREE, Op::INSERT_ROWS) => {
                let new = open.made.insert(page.row);
                self.pieces_here += usize::from(new);
            }
            (Context::TEXT_MIX | Context::TEXT_TREE, Op::MODIFY_ROW | Op::MODIFY_COLUMNS) => {
                if !open.made.contains(page.row)? {
                    open.touched.in_place.entry(table).or_insert(record.lsn);
                }
            }
            (Context::TEXT_MIX | Context::TEXT_TREE, _) => {}
            (_, op) if !keys.names_updates() && !is_whole_row(record, op) => {
                open.touched.unnamed.entry(table).or_insert(record.lsn);
            }
            (_, op) => {
                let found = open.touched.keys.entry(table).or_default();
                let mut new = 0;
                if op == Op::INSERT_ROWS && inserted_rows(record).nth(1).is_some() {
                    if whole.padded.is_some() {
                        // Of the last of its rows nothing is there.
                        open.touched.loaded.entry(page.alloc_unit()).or_insert(record.lsn);
                        return Ok(());
                    }
                    for row in inserted_rows(record) {
                        let key = keys.of_row(row).map_err(|e| record.located(e))?;
                        new += usize::from(found.insert(key));
                    }
                } else {
                    new += usize::from(found.insert(whole.key(record, keys, op)?));
                }
                self.keys_here += new;
            }
        }
        Ok(())
    }

    /// A row of a system table: somebody changes the description of something.
    fn system_row(&mut self, record: &Record<'_>, row: RowOp) -> Result<(), Malformed> {
        let rowset = row.rowset;
        if rowset == base_rowset(object::SYSROWSETS, 0) && record.op == Op::DELETE_ROWS && !record.is_compensation() {
            let row = RowsetRow::read(&FixedVar::read(record.element(0))?)?;
            // Nonclustered indexes have entries, not rows.
            self.gone.insert(row.id, (row.index <= 1).then_some(row.object));
        }
        if rowset == base_rowset(object::SYSALLOCUNITS, 0) && record.op == Op::DELETE_ROWS && !record.is_compensation()
        {
            let row = AllocUnitRow::read(&FixedVar::read(record.element(0))?)?;
            self.gone_units.insert(row.id, row.owner);
        }
        let open = self.open(record.transaction, record.lsn);
        if rowset == base_rowset(object::SYSSCHOBJS, 1) && matches!(record.op, Op::DELETE_ROWS | Op::INSERT_ROWS) {
            // One that cannot be read is no evidence of anything.
            if let Ok(row) = FixedVar::read(record.element(0)).and_then(|row| ObjectRow::read(&row)) {
                match record.op {
                    Op::DELETE_ROWS => open.touched.dropped.insert(row.id),
                    // It comes back: the drop was taken back.
                    _ => open.touched.dropped.remove(&row.id),
                };
            }
        }
        let is_change = matches!(record.op, Op::MODIFY_ROW | Op::MODIFY_COLUMNS) && !record.is_compensation();
        if rowset == base_rowset(object::SYSALLOCUNITS, 0) && is_change && !open.system {
            // The key is the unit's id, after the status of the entry.
            open.touched.units.insert(u64_at(record.element(2), 1, "id of an allocation unit")?);
        }
        // Its other fields are written by every ALTER TABLE, in files of 2005 to 2019.
        let of_owner = record.op == Op::MODIFY_COLUMNS
            || row.offset < OWNER_OF_ROWSET.1 && row.offset.saturating_add(row.size) > OWNER_OF_ROWSET.0;
        if rowset == base_rowset(object::SYSROWSETS, 0) && is_change && of_owner && !open.system {
            open.touched.rowsets.insert(u64_at(record.element(2), 1, "id of a rowset")?);
        }
        // Counters of rows and pages are written by system transactions.
        open.touched.describes |= !open.system;
        Ok(())
    }
}

/// Whether a row comes or goes with all of its bytes; rows that moved within a heap leave a stub, and are marked.
fn is_whole_row(record: &Record<'_>, op: Op) -> bool {
    const KIND: u8 = 0x0E;
    matches!(op, Op::INSERT_ROWS | Op::DELETE_ROWS)
        && record.element(0).first().is_some_and(|status| status & KIND == 0)
}

/// Whether it is an entry of a nonclustered index that comes or goes, and no row: those that become ghosts are among the records.
fn is_entry(record: &Record<'_>) -> bool {
    const KIND: u8 = 0x0E;
    const ENTRY: u8 = 0x06;
    matches!(record.op, Op::INSERT_ROWS | Op::DELETE_ROWS)
        && record.element(0).first().is_some_and(|status| status & KIND == ENTRY)
}

/// The bytes of a record, of which the end may be missing.
struct Bytes<'a> {
    there: &'a [u8],
    /// The same with something in the place of what is missing: zeroes, ones.
    padded: Option<[Vec<u8>; 2]>,
}

impl<'a> Bytes<'a> {
    fn new(there: &'a [u8], length: usize) -> Self {
        let missing = length.saturating_sub(there.len()).min(64 << 10);
        let pad = |with: u8| [there, &vec![with; missing][..]].concat();
        Bytes { there, padded: (missing > 0).then(|| [pad(0), pad(0xFF)]) }
    }

    fn padded(&self, which: usize) -> &[u8] {
        self.padded.as_ref().and_then(|p| p.get(which)).map_or(self.there, Vec::as_slice)
    }

    /// The key of the row that a record is about.
    fn key(&self, record: &Record<'_>, keys: &KeyLayout, op: Op) -> Result<Key, Malformed> {
        let of = |record: &Record<'_>| match op {
            Op::INSERT_ROWS | Op::DELETE_ROWS => keys.of_row(record.element(0)),
            _ => keys.of_entry(record.element(2)),
        };
        let located = |e: Malformed| record.located(e);
        let key = of(record).map_err(located)?;
        // A key that depends on what is missing is not known.
        if self.padded.is_some() {
            let other = Record::read(record.lsn, self.padded(1))?;
            if of(&other).map_err(located)? != key {
                return Err(located(Malformed::new(
                    "the key is in the part of the record that fn_dblog cuts off",
                    8000,
                )));
            }
        }
        Ok(key)
    }
}

#[cfg(test)]
mod tests;

//! From records to the keys that a committed transaction touched.
//!
//! Of each transaction only keys are kept: what a row is now is read later. So a key too many does no harm, and undone changes,
//! savepoints and moved rows need no care: a compensation adds nothing, system transactions (page splits, ghost cleanup) move rows
//! and change none.
//!
//! What keys cannot say marks the table: it is to be read whole (it was truncated, or made), or cannot be followed (a value outside
//! of rows was changed in place).

use std::collections::{HashMap, HashSet};

use logferry_model::{Lsn, TableId, TransactionId};
use logferry_mssql_format::bytes::{Malformed, u64_at};
use logferry_mssql_format::catalog::{RowsetRow, base_rowset, object};
use logferry_mssql_format::log::op::{Context, Op};
use logferry_mssql_format::log::record::Record;
use logferry_mssql_format::log::xact::Xact;
use logferry_mssql_format::page::RowId;
use logferry_mssql_format::row::FixedVar;

use super::places::{FIRST_USER_ROWSET, Key, KeyLayout, Places, Rowset};
use super::spill::KeySet;

/// Keys of a transaction that go to a file.
const SPILLED_MIN: usize = 1_000;

/// A transaction that is not over.
#[derive(Debug, Default)]
struct Open {
    touched: Touched,
    system: bool,
    /// Pieces of values outside of rows that it made.
    made: HashSet<RowId>,
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
    /// It changed system tables.
    pub(super) describes: bool,
    /// Allocation units whose rows lost or changed their pages by it.
    pub(super) units: HashSet<u64>,
    /// Rowsets that are not known, with a record of each.
    pub(super) unknown: HashMap<u64, Lsn>,
    /// Tables of which it changed a value in place, outside of its row.
    pub(super) in_place: HashMap<TableId, Lsn>,
}

impl Touched {
    fn is_empty(&self) -> bool {
        self.keys.is_empty()
            && self.locked.is_empty()
            && !self.describes
            && self.unknown.is_empty()
            && self.in_place.is_empty()
            && self.unnamed.is_empty()
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
    /// Keys in memory, at the most.
    keys_here: usize,
    /// Commits up to this one are known already.
    pub(super) applied: Lsn,
}

impl Transactions {
    /// None yet; commits up to a position do not count.
    pub(super) fn after(applied: Lsn) -> Self {
        Transactions { applied, ..Transactions::default() }
    }

    /// Keeps memory bounded: where there are too many keys, they go to temporary files.
    pub(super) fn make_room(&mut self, keys_max: usize) -> std::io::Result<()> {
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

    /// Takes a record. Its bytes may be cut off at 8,000: `length` is what they were.
    pub(super) fn record(&mut self, places: &Places, lsn: Lsn, bytes: &[u8], length: usize) -> Result<(), Malformed> {
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
                self.open.insert(id, Open { touched, system: begin.is_system(), ..Open::default() });
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
            _ => self.row(places, &record, &whole)?,
        }
        Ok(())
    }

    fn open(&mut self, id: TransactionId, lsn: Lsn) -> &mut Open {
        self.open
            .entry(id)
            .or_insert_with(|| Open { touched: Touched { id, begin: lsn, ..Touched::default() }, ..Open::default() })
    }

    fn row(&mut self, places: &Places, record: &Record<'_>, whole: &Bytes<'_>) -> Result<(), Malformed> {
        let (Some(page), Some(row)) = (record.page_op()?, record.row_op()?) else { return Ok(()) };
        let rowset = row.rowset;
        if rowset < FIRST_USER_ROWSET {
            return self.system_row(record, rowset);
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
                open.made.insert(page.row);
            }
            (Context::TEXT_MIX | Context::TEXT_TREE, Op::MODIFY_ROW | Op::MODIFY_COLUMNS) => {
                if !open.made.contains(&page.row) {
                    open.touched.in_place.entry(table).or_insert(record.lsn);
                }
            }
            (Context::TEXT_MIX | Context::TEXT_TREE, _) => {}
            (_, op) if !keys.names_updates() && !is_whole_row(record, op) => {
                open.touched.unnamed.entry(table).or_insert(record.lsn);
            }
            (_, op) => {
                let key = whole.key(record, keys, op)?;
                let is_new = open.touched.keys.entry(table).or_default().insert(key);
                self.keys_here += usize::from(is_new);
            }
        }
        Ok(())
    }

    /// A row of a system table: somebody changes the description of something.
    fn system_row(&mut self, record: &Record<'_>, rowset: u64) -> Result<(), Malformed> {
        if rowset == base_rowset(object::SYSROWSETS, 0) && record.op == Op::DELETE_ROWS && !record.is_compensation() {
            let row = RowsetRow::read(&FixedVar::read(record.element(0))?)?;
            // Nonclustered indexes have entries, not rows.
            self.gone.insert(row.id, (row.index <= 1).then_some(row.object));
        }
        let open = self.open(record.transaction, record.lsn);
        let is_change = matches!(record.op, Op::MODIFY_ROW | Op::MODIFY_COLUMNS) && !record.is_compensation();
        if rowset == base_rowset(object::SYSALLOCUNITS, 0) && is_change && !open.system {
            // The key is the unit's id, after the status of the entry.
            open.touched.units.insert(u64_at(record.element(2), 1, "id of an allocation unit")?);
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

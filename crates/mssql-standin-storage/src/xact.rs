//! Transactions: begin and end, what they did, and how it is undone.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use logferry_model::{Lsn, TransactionId};
use logferry_mssql_format::encode::{BeginXact, EndXact};
use logferry_mssql_format::log::op::{Context, Op};
use logferry_mssql_format::page::RowId;

use super::definition::Shape;
use super::space::UnitKind;
use super::{By, Database, Error, Row, RowKey, Rowset, transaction_id};

/// The login that transactions belong to.
const SID: [u8; 28] = [
    1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 0x20, 0x1a, 0x4f, 0x6b, 0x60, 0x40, 0xe1, 0xa4, 0x07, 0xea, 0x23, 0x4a, 0xf4,
    1, 0, 0,
];

/// An open transaction of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transaction(pub(super) u64);

/// How a transaction begins.
#[derive(Clone, Copy, Debug)]
pub struct XactOptions<'a> {
    /// Its name in the log: `INSERT`, `user_transaction`, ...
    pub name: &'a str,
    /// The session.
    pub spid: u32,
}

impl Default for XactOptions<'_> {
    fn default() -> Self {
        XactOptions { name: "user_transaction", spid: 52 }
    }
}

/// Kinds of transactions that the engine begins by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SystemXact {
    /// Xact Type 3.
    Nested,
    /// Type 1 with a parent.
    Inside,
    /// The same, with a status of its own: allocations.
    Allocation,
    /// The same without a parent: the first page of a tree.
    Alone,
}

/// A transaction that has not ended.
#[derive(Debug)]
pub(super) struct Xact {
    pub begin_lsn: Lsn,
    pub last_lsn: Lsn,
    pub dm_id: u64,
    pub spid: u32,
    /// Whether a caller began it.
    pub user: bool,
    pub undo: Vec<UndoStep>,
    pub savepoints: Vec<Savepoint>,
    /// What becomes of the committed rows when it commits.
    pub changes: Vec<(u32, RowKey, Option<Arc<Row>>)>,
    /// By table and row: which of `changes` is the last of it. Ordered, so that a reader of some rows of one table need not look at all.
    latest: BTreeMap<u32, BTreeMap<RowKey, usize>>,
    /// Whether it changed a table that CDC reads.
    pub captured: bool,
    /// Rowsets that go when it commits, with how many steps of `undo` there were by then.
    pub late_drops: Vec<(usize, u64)>,
    /// Rows that it has locked, each once.
    pub locked: Vec<(u64, RowKey)>,
    /// Pages where it holds room back.
    pub reserved_pages: HashSet<u32>,
}

impl Xact {
    /// Notes what became of a row.
    pub fn note(&mut self, table: u32, key: RowKey, row: Option<Arc<Row>>) {
        self.latest.entry(table).or_default().insert(key.clone(), self.changes.len());
        self.changes.push((table, key, row));
    }

    /// What became of a row in this transaction, if anything: `Some(None)` is deleted.
    pub fn latest(&self, table: u32, key: &RowKey) -> Option<&Option<Arc<Row>>> {
        self.latest.get(&table)?.get(key).map(|at| &self.changes[*at].2)
    }

    /// What became in this transaction of the rows of a table whose keys are in a range, in the order of their keys.
    pub fn latest_in(
        &self,
        table: u32,
        range: (Bound<&RowKey>, Bound<&RowKey>),
    ) -> impl Iterator<Item = (&RowKey, &Option<Arc<Row>>)> {
        let rows = self.latest.get(&table).into_iter().flat_map(move |rows| rows.range::<RowKey, _>(range));
        rows.map(|(key, at)| (key, &self.changes[*at].2))
    }

    /// Forgets changes that were undone.
    pub(super) fn forget_changes(&mut self, len: usize) {
        let mut changes = std::mem::take(&mut self.changes);
        changes.truncate(len);
        self.set_changes(changes);
        let steps = self.undo.len();
        self.late_drops.retain(|(at, _)| *at <= steps);
    }

    pub(super) fn set_changes(&mut self, changes: Vec<(u32, RowKey, Option<Arc<Row>>)>) {
        self.latest.clear();
        for (n, (table, key, _)) in changes.iter().enumerate() {
            self.latest.entry(*table).or_default().insert(key.clone(), n);
        }
        self.changes = changes;
    }
}

/// A place to go back to.
#[derive(Debug)]
pub(super) struct Savepoint {
    name: String,
    lsn: Lsn,
    undo: usize,
    changes: usize,
}

/// A record that can be undone.
#[derive(Debug)]
pub(super) struct UndoStep {
    /// What is to be undone after it.
    pub next: Lsn,
    pub what: Undo,
}

/// What was done.
#[derive(Debug)]
pub(super) enum Undo {
    TreeInsert {
        rowset: u64,
        key: Vec<u8>,
    },
    TreeDelete {
        rowset: u64,
        key: Vec<u8>,
        row: Vec<u8>,
    },
    TreeModify {
        rowset: u64,
        key: Vec<u8>,
        before: Vec<u8>,
    },
    HeapInsert {
        rowset: u64,
        at: RowId,
    },
    HeapDelete {
        rowset: u64,
        at: RowId,
        row: Vec<u8>,
    },
    HeapModify {
        rowset: u64,
        at: RowId,
        before: Vec<u8>,
    },
    LobInsert {
        rowset: u64,
        kind: UnitKind,
        at: RowId,
    },
    LobDelete {
        rowset: u64,
        kind: UnitKind,
        at: RowId,
        row: Vec<u8>,
    },
    LobModify {
        rowset: u64,
        kind: UnitKind,
        at: RowId,
        before: Vec<u8>,
    },
    /// A definition begins: nothing to undo, but a place of its own.
    Begin,
    /// That the shape of a rowset changes is said once more when it changes back. (Observed on 2016.)
    HobtChange(u64),
    /// The same, that an object is not what was known of it.
    Invalidated(u32),
    /// A bit of a GAM or IAM page, as it was.
    Bit {
        map: (u32, Context),
        extent: u32,
        on: bool,
        unit: (u32, u16),
    },
    /// Bytes of a PFS page, as they were, from a page on.
    Space {
        rowset: u64,
        first: u32,
        before: Vec<u8>,
        unit: (u32, u16),
    },
    /// A rowset before its pages were given back.
    Rowset(Box<Rowset>),
    /// A table before it was defined otherwise.
    Shape(Box<Shape>),
    /// A schema's id, as it was.
    Schema {
        name: String,
        id: Option<u32>,
    },
}

/// What a transaction freed on a page and may need again.
#[derive(Debug, Default)]
pub(super) struct Reserved {
    bytes: usize,
    /// Slots that the page must have then.
    slots: u16,
}

impl Database {
    /// Begins a transaction.
    pub fn begin(&mut self, options: XactOptions<'_>) -> Transaction {
        self.clock.advance(3);
        Transaction(self.begin_xact(options.name, options.spid, 1, 1, None))
    }

    /// Marks a place in a transaction that it can be rolled back to.
    pub fn savepoint(&mut self, xact: Transaction, name: &str) -> Result<(), Error> {
        self.open(xact)?;
        let previous = self.xacts[&xact.0].savepoints.last().map_or(Lsn::ZERO, |s| s.lsn);
        let lsn = self.write(By::Xact(xact.0), |r, h| {
            r.mark_savepoint(h, previous, name);
        });
        let open = self.xacts.get_mut(&xact.0).expect("it is open");
        let savepoint = Savepoint { name: name.to_owned(), lsn, undo: open.undo.len(), changes: open.changes.len() };
        open.savepoints.push(savepoint);
        Ok(())
    }

    /// Undoes what a transaction did after a savepoint; the transaction goes on.
    pub fn rollback_to(&mut self, xact: Transaction, name: &str) -> Result<(), Error> {
        let open = self.open(xact)?;
        let at = open.savepoints.iter().rposition(|s| s.name == name);
        let at = at.ok_or_else(|| Error::NotFound(format!("savepoint {name}")))?;
        let (undo, changes) = (open.savepoints[at].undo, open.savepoints[at].changes);
        self.undo_down_to(xact.0, undo);
        let open = self.xacts.get_mut(&xact.0).expect("it is open");
        open.savepoints.truncate(at + 1);
        open.forget_changes(changes);
        Ok(())
    }

    /// Commits a transaction: the log is written up to its commit record, whose LSN this gives.
    pub fn commit(&mut self, xact: Transaction) -> Result<Lsn, Error> {
        self.open(xact)?;
        self.clock.advance(1);
        let late = self.xacts.get_mut(&xact.0).map(|open| std::mem::take(&mut open.late_drops));
        for (_, rowset) in late.into_iter().flatten() {
            self.drop_rowset(By::Xact(xact.0), rowset);
        }
        let lsn = self.end_xact(xact.0, Op::COMMIT_XACT);
        self.log.flush();
        let ended = self.close(xact.0);
        for (table, key, row) in ended.changes {
            let table = self.tables.get_mut(&table).expect("what a transaction drops it has not changed");
            table.apply(std::iter::once((key, row)));
        }
        self.release_log();
        Ok(lsn)
    }

    /// Rolls a transaction back.
    pub fn rollback(&mut self, xact: Transaction) -> Result<(), Error> {
        self.open(xact)?;
        self.clock.advance(1);
        self.undo_down_to(xact.0, 0);
        self.end_xact(xact.0, Op::ABORT_XACT);
        self.close(xact.0);
        self.release_log();
        Ok(())
    }

    /// Transactions of callers that have not ended.
    pub fn open_transactions(&self) -> usize {
        self.xacts.values().filter(|x| x.user).count()
    }

    /// Those transactions.
    pub(super) fn open_callers(&self) -> Vec<Transaction> {
        self.xacts.iter().filter(|(_, x)| x.user).map(|(id, _)| Transaction(*id)).collect()
    }

    pub(super) fn open(&self, xact: Transaction) -> Result<&Xact, Error> {
        self.xacts.get(&xact.0).ok_or_else(|| Error::NotFound(format!("open transaction {}", transaction_id(xact.0))))
    }

    /// Begins a transaction inside another one.
    pub(super) fn begin_system(&mut self, parent: u64, name: &str, kind: SystemXact) -> u64 {
        let (status, xact_type) = match kind {
            SystemXact::Nested => (1, 3),
            SystemXact::Inside => (1, 1),
            SystemXact::Allocation | SystemXact::Alone => (0x10_0001, 1),
        };
        let spid = self.xacts[&parent].spid;
        let told = (kind != SystemXact::Alone).then_some(parent);
        let id = self.begin_xact(name, spid, status, xact_type, told);
        self.xacts.get_mut(&id).expect("it was just begun").user = false;
        id
    }

    /// Commits a transaction that the engine began: nothing waits for it.
    pub(super) fn end_system(&mut self, xact: u64) {
        self.end_xact(xact, Op::COMMIT_XACT);
        self.close(xact);
    }

    /// Where the log may be forgotten up to, by what is open.
    pub(super) fn oldest_active(&self) -> Option<Lsn> {
        self.xacts.values().map(|x| x.begin_lsn).min()
    }

    /// Remembers how to undo what was just written.
    pub(super) fn undoable(&mut self, by: By, before: Lsn, what: Undo) {
        if let By::Xact(id) = by {
            self.xacts.get_mut(&id).expect("it is open").undo.push(UndoStep { next: before, what });
        }
    }

    /// Takes the lock on a row for a transaction.
    pub(super) fn lock(&mut self, xact: u64, rowset: u64, key: &RowKey) -> Result<(), Error> {
        let rows = self.locks.entry(rowset).or_default();
        match rows.get(key) {
            Some(owner) if *owner != xact => return Err(Error::Locked),
            Some(_) => return Ok(()),
            None => {}
        }
        rows.insert(key.clone(), xact);
        self.xacts.get_mut(&xact).expect("it is open").locked.push((rowset, key.clone()));
        Ok(())
    }

    /// Whether another transaction holds the row.
    pub(super) fn locked_by_other(&self, xact: u64, rowset: u64, key: &RowKey) -> bool {
        self.locks.get(&rowset).and_then(|rows| rows.get(key)).is_some_and(|owner| *owner != xact)
    }

    /// Holds room back on a page until the transaction ends, in case that it has to be put back.
    pub(super) fn reserve(&mut self, by: By, page: u32, bytes: usize) {
        if let By::Xact(id) = by {
            self.reserved.entry(page).or_default().entry(id).or_default().bytes += bytes;
            self.xacts.get_mut(&id).expect("it is open").reserved_pages.insert(page);
        }
    }

    /// The same of a row that must come back to its slot: free slots behind the last row are not there any more.
    pub(super) fn reserve_row(&mut self, by: By, at: RowId, len: usize) {
        self.reserve(by, at.page.page, len + 2);
        if let By::Xact(id) = by {
            let reserved = self.reserved.entry(at.page.page).or_default().entry(id).or_default();
            reserved.slots = reserved.slots.max(at.slot + 1);
        }
    }

    /// Free bytes on a page that a transaction may use.
    pub(super) fn free_for(&self, xact: u64, page: u32) -> usize {
        let others = self.reserved.get(&page).into_iter().flatten().filter(|(id, _)| **id != xact);
        let (bytes, slots) =
            others.fold((0, 0), |(bytes, slots), (_, other)| (bytes + other.bytes, slots.max(other.slots)));
        let page = self.page(page);
        page.free().saturating_sub(bytes + 2 * usize::from(slots.saturating_sub(page.slot_count())))
    }

    fn begin_xact(&mut self, name: &str, spid: u32, status: u32, xact_type: u32, parent: Option<u64>) -> u64 {
        let id = self.next_xact;
        self.next_xact += 1;
        self.next_dm_xact += 1;
        let oldest = self.xacts.keys().next().copied().unwrap_or(id);
        let begin = BeginXact {
            spid,
            status,
            xact_type,
            time: self.clock.datetime(),
            xact_id: self.next_dm_xact,
            oldest_active: transaction_id(oldest),
            parent: parent.map_or(TransactionId::default(), transaction_id),
            name,
            sid: &SID,
        };
        self.xacts.insert(
            id,
            Xact {
                begin_lsn: Lsn::ZERO,
                last_lsn: Lsn::ZERO,
                dm_id: self.next_dm_xact,
                spid,
                user: parent.is_none(),
                undo: Vec::new(),
                savepoints: Vec::new(),
                changes: Vec::new(),
                latest: BTreeMap::new(),
                captured: false,
                late_drops: Vec::new(),
                locked: Vec::new(),
                reserved_pages: HashSet::new(),
            },
        );
        let lsn = self.write(By::Xact(id), |r, h| {
            r.begin_xact(h, &begin);
        });
        self.xacts.get_mut(&id).expect("it was just begun").begin_lsn = lsn;
        id
    }

    fn end_xact(&mut self, id: u64, op: Op) -> Lsn {
        let xact = &self.xacts[&id];
        let end = EndXact { time: self.clock.datetime(), begin_lsn: xact.begin_lsn, xact_id: xact.dm_id };
        // The record before it in its chain is the begin.
        let begin = xact.begin_lsn;
        self.xacts.get_mut(&id).expect("it is open").last_lsn = begin;
        self.write(By::Xact(id), |r, h| {
            r.end_xact(h, op, &end);
        })
    }

    fn close(&mut self, id: u64) -> Xact {
        let xact = self.xacts.remove(&id).expect("it is open");
        for (rowset, key) in &xact.locked {
            if let Entry::Occupied(mut rows) = self.locks.entry(*rowset) {
                rows.get_mut().remove(key);
                if rows.get().is_empty() {
                    rows.remove();
                }
            }
        }
        for page in &xact.reserved_pages {
            if let Some(reserved) = self.reserved.get_mut(page) {
                reserved.remove(&id);
            }
        }
        self.release_definitions(id);
        xact
    }

    pub(super) fn undo_down_to(&mut self, id: u64, len: usize) {
        while self.xacts[&id].undo.len() > len {
            let step = self.xacts.get_mut(&id).expect("it is open").undo.pop().expect("it is longer");
            let by = By::Undo(id, step.next);
            match step.what {
                Undo::TreeInsert { rowset, key } => self.tree_ghost(by, rowset, &key),
                Undo::TreeDelete { rowset, key, row } => self.tree_put(by, rowset, &key, &row),
                Undo::TreeModify { rowset, key, before } => self.tree_modify(by, rowset, &key, &before),
                Undo::HeapInsert { rowset, at } => self.heap_remove(by, rowset, at),
                Undo::HeapDelete { rowset, at, row } => self.heap_put(by, rowset, at, &row),
                Undo::HeapModify { rowset, at, before } => self.heap_modify(by, rowset, at, &before),
                Undo::LobInsert { rowset, kind, at } => self.lob_remove(by, rowset, kind, at),
                Undo::LobDelete { rowset, kind, at, row } => self.lob_put(by, rowset, kind, at, &row),
                Undo::LobModify { rowset, kind, at, before } => {
                    self.lob_modify(by, rowset, kind, at, &before);
                }
                Undo::Begin => {}
                Undo::HobtChange(rowset) => self.write_hobt_change(by, rowset),
                Undo::Invalidated(object) => self.invalidate_object(by, object),
                Undo::Bit { map, extent, on, unit } => self.restore_bit(by, map, extent, on, unit),
                Undo::Space { rowset, first, before, unit } => self.restore_space(by, rowset, first, &before, unit),
                Undo::Rowset(saved) => self.restore_rowset(id, *saved),
                Undo::Shape(shape) => self.restore_shape(id, *shape),
                Undo::Schema { name, id: Some(known) } => drop(self.schemas.insert(name, known)),
                Undo::Schema { name, id: None } => drop(self.schemas.remove(&name)),
            }
        }
    }
}

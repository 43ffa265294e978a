//! Definitions inside of a caller's transaction, and how they are undone.
//!
//! A statement that defines something is a transaction of its own, unless [`Database::define_in`] named one that is open. Then its
//! records are that transaction's: rows of system tables are undone by compensation records, as any rows are, and so are the bits of
//! pages that were given back (GAM, IAM, PFS). Nobody takes these pages before the transaction has ended. Pages that were
//! taken by what is undone are given back in a transaction of their own, as those of large tables are on a server after its end. (How a
//! server undoes the allocations themselves is not known: the one log with a definition that was rolled back has columns and keys only.)
//!
//! What the engine knows beside the pages goes back by [`Shape`]: the table as it was, with its committed rows. Its own changes of a table
//! count as committed from a definition on: nobody else can see the table before the transaction ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use logferry_model::Lsn;
use logferry_mssql_format::log::op::Context;
use logferry_mssql_format::page::EXTENT_PAGES;

use super::constraint::ConstraintDef;
use super::ddl::KeyName;
use super::entry::Index;
use super::space::{AllocUnit, PFS_GHOSTS, UnitKind};
use super::system::object_lock;
use super::table::TableLayout;
use super::xact::{SystemXact, Transaction, Undo, XactOptions};
use super::{By, Database, Error, Row, RowKey, Rowset, Table};

/// The transaction that gives pages back which nobody needs any more.
const DEFERRED_DROP: &str = "DeferredAllocUnitDrop::Process";

/// Locks of definitions, and what their transactions have freed.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    /// The transaction that definitions are made in.
    open: Option<Transaction>,
    /// Who is defining a table.
    locks: BTreeMap<u32, u64>,
    /// Tables that an open transaction has made.
    made: BTreeMap<u32, u64>,
    /// Names, schema first, that tables had before, and those of modules.
    names: BTreeMap<(String, String), u64>,
    /// The table that the statement has added a column to: its lock and its date are written.
    altered: Option<u32>,
    /// The table that the statement has dropped a column of: its date is written.
    dropped: Option<u32>,
    /// The table whose rows the statement gives values of a new column: it is locked as a whole.
    filled: Option<u32>,
    /// Extents that an open transaction gave back.
    extents: BTreeMap<u32, u64>,
    /// The same, of pages of mixed extents.
    mixed: BTreeMap<u32, u64>,
}

/// What the engine knew of a table before a definition.
#[derive(Debug)]
pub(super) struct Shape {
    pub table: u32,
    held: Option<Table>,
    key_name: Option<KeyName>,
    constraints: Option<Vec<ConstraintDef>>,
    indexes: Option<Vec<Index>>,
    /// Its rowsets, with their layouts and the allocation units that they had.
    rowsets: Vec<(u64, Arc<TableLayout>, [bool; 3])>,
    /// What the transaction had changed by then, where that was changed in memory too.
    changes: Option<Vec<Change>>,
}

type Change = (u32, RowKey, Option<Arc<Row>>);

impl Definitions {
    /// Remembers that a statement has added a column, where it may add what is of the column too.
    pub(super) fn note_altered(&mut self, table: u32) {
        self.altered = self.open.map(|_| table);
    }

    /// Whether the statement has added a column to a table.
    pub(super) fn is_altered(&self, table: u32) -> bool {
        self.altered == Some(table)
    }

    /// Remembers that a statement has dropped a column; says whether that is its first.
    pub(super) fn note_dropped(&mut self, table: u32) -> bool {
        let own = self.open.map(|_| table);
        own.is_none() || std::mem::replace(&mut self.dropped, own) != own
    }

    /// Remembers that a transaction of several statements has made a table.
    pub(super) fn note_made(&mut self, table: u32) {
        if let Some(open) = self.open {
            self.made.insert(table, open.0);
        }
    }

    /// Whether a table was made by a transaction that is still open: nobody else sees it, so neither its rows nor its first page are locked each.
    pub(super) fn is_made(&self, table: u32) -> bool {
        self.made.contains_key(&table)
    }

    /// Begins to give the rows of a table values of a new column, or ends it.
    pub(super) fn fill(&mut self, table: Option<u32>) {
        self.filled = table;
    }

    /// Whether the rows of a table get values of a new column.
    pub(super) fn fills(&self, table: u32) -> bool {
        self.filled == Some(table)
    }

    /// Keeps a name for a transaction until it ends.
    pub(super) fn hold_name(&mut self, xact: Transaction, schema: String, name: String) {
        self.names.insert((schema, name), xact.0);
    }
}

impl Database {
    /// From now on definitions are made in a transaction that is open (`None`: each in one of its own), which takes tables for itself.
    ///
    /// # Errors
    /// When another transaction holds one of the tables, or a row of it.
    pub fn define_in(&mut self, xact: Option<Transaction>, tables: &[u32]) -> Result<(), Error> {
        (self.definitions.open, self.definitions.altered, self.definitions.dropped) = (xact, None, None);
        if let Some(Transaction(id)) = xact {
            let lsn = self.last_lsn(By::Xact(id));
            self.undoable(By::Xact(id), lsn, Undo::Begin);
        }
        let taken = tables.iter().try_for_each(|table| {
            self.unlocked(*table)?;
            if let Some(xact) = xact {
                self.save_shape(xact, *table);
            }
            Ok(())
        });
        if taken.is_err() {
            self.definitions.open = None;
        }
        taken
    }

    /// Another transaction that is defining a table, or has defined it and not ended.
    pub fn definer(&self, own: Option<Transaction>, table: u32) -> Option<Transaction> {
        let owner = Transaction(*self.definitions.locks.get(&table)?);
        (Some(owner) != own).then_some(owner)
    }

    /// Another transaction that has defined anything and not ended.
    pub fn any_definer(&self, own: Option<Transaction>) -> Option<Transaction> {
        let mut owners = self.definitions.locks.values().map(|id| Transaction(*id));
        owners.find(|owner| Some(*owner) != own)
    }

    /// Another open transaction that took a name away from a table, or defined a module of that name.
    pub fn name_holder(&self, own: Option<Transaction>, same: impl Fn(&str, &str) -> bool) -> Option<Transaction> {
        let held = self.definitions.names.iter().find(|((schema, name), _)| same(schema, name));
        held.map(|(_, id)| Transaction(*id)).filter(|owner| Some(*owner) != own)
    }

    /// Begins a definition: in the transaction that was named for it, or in one of its own.
    pub fn begin_definition(&mut self, options: XactOptions<'_>, table: Option<u32>) -> Transaction {
        self.read_log();
        let Some(open) = self.definitions.open else { return self.begin(options) };
        if let Some(table) = table {
            self.save_shape(open, table);
        }
        open
    }

    /// Ends a definition; gives the LSN of its commit, or of its last record where the transaction goes on.
    ///
    /// # Errors
    /// Where a transaction of its own cannot commit.
    pub fn end_definition(&mut self, xact: Transaction) -> Result<Lsn, Error> {
        let ended = match self.definitions.open {
            Some(open) if open == xact => Ok(self.last_lsn(By::Xact(xact.0))),
            _ => self.commit(xact),
        };
        self.pass_over_log();
        ended
    }

    /// Gives up a definition that failed. In a transaction that was named for it, its caller undoes it.
    ///
    /// # Errors
    /// Where a transaction of its own cannot be rolled back.
    pub fn fail_definition(&mut self, xact: Transaction) -> Result<(), Error> {
        match self.definitions.open {
            Some(open) if open == xact => Ok(()),
            _ => self.rollback(xact),
        }
    }

    /// Begins to make an object: gives it its id, and takes the lock on it.
    pub(super) fn begin_new(&mut self, name: &str) -> (Transaction, u32) {
        let xact = self.begin_definition(XactOptions { name, ..XactOptions::default() }, None);
        let object = self.next_object_id(xact);
        if self.definitions.open.is_some() {
            self.save_shape(xact, object);
        }
        self.write(By::Xact(xact.0), |r, h| {
            r.lock_xact(h, &object_lock(5, object));
        });
        (xact, object)
    }

    /// Begins with the lock on the object.
    pub(super) fn begin_ddl(&mut self, name: &str, object: u32) -> Transaction {
        let xact = self.begin_definition(XactOptions { name, ..XactOptions::default() }, Some(object));
        self.write(By::Xact(xact.0), |r, h| {
            r.lock_xact(h, &object_lock(5, object));
        });
        xact
    }

    /// A table that no other open transaction has changed.
    pub(super) fn unlocked(&self, table: u32) -> Result<&Table, Error> {
        let held = self.table_at(table)?;
        let own = self.definitions.open;
        match self.holder_of_any(own, table) {
            Some(_) => Err(Error::Locked),
            None => Ok(held),
        }
    }

    /// Whether somebody else is defining a table.
    pub(super) fn defined_by_other(&self, xact: u64, table: u32) -> bool {
        self.definitions.locks.get(&table).is_some_and(|owner| *owner != xact)
    }

    /// Whether an extent that is free was given back by a transaction that has not ended.
    pub(super) fn is_held(&self, extent: u32) -> bool {
        self.definitions.extents.contains_key(&extent)
    }

    /// Notes that a transaction has given an extent back.
    pub(super) fn hold_extent(&mut self, by: By, extent: u32) {
        match by {
            By::Xact(id) => drop(self.definitions.extents.insert(extent, id)),
            _ => self.next_extent = self.next_extent.min(extent),
        }
    }

    /// The same, of a page of a mixed extent.
    pub(super) fn hold_mixed(&mut self, by: By, page: u32) {
        match by {
            By::Xact(id) => drop(self.definitions.mixed.insert(page, id)),
            _ => self.mixed_free.push(page),
        }
    }

    /// A transaction has ended: what it gave back may be taken, what it defined is seen.
    pub(super) fn release_definitions(&mut self, id: u64) {
        let held = &self.definitions;
        if held.extents.is_empty() && held.mixed.is_empty() && held.locks.is_empty() && held.names.is_empty() {
            return;
        }
        let extents: Vec<u32> =
            self.definitions.extents.iter().filter(|(_, owner)| **owner == id).map(|(extent, _)| *extent).collect();
        for extent in extents {
            self.definitions.extents.remove(&extent);
            self.next_extent = self.next_extent.min(extent);
        }
        let mixed: Vec<u32> =
            self.definitions.mixed.iter().filter(|(_, owner)| **owner == id).map(|(page, _)| *page).collect();
        for page in mixed {
            self.definitions.mixed.remove(&page);
            self.mixed_free.push(page);
        }
        self.definitions.locks.retain(|_, owner| *owner != id);
        self.definitions.made.retain(|_, owner| *owner != id);
        self.definitions.names.retain(|_, owner| *owner != id);
    }

    /// Remembers a table as it is, takes it for a transaction, and counts what the transaction changed in it as committed.
    fn save_shape(&mut self, xact: Transaction, table: u32) {
        let held = self.tables.get(&table).cloned();
        if let Some(held) = &held {
            let name = (held.def.schema.clone(), held.def.name.clone());
            self.definitions.names.insert(name, xact.0);
        }
        self.definitions.locks.insert(table, xact.0);
        let rowsets = self.rowsets.values().filter(|r| r.object_id == table);
        let rowsets =
            rowsets.map(|r| (r.id, Arc::clone(&r.layout), [0, 1, 2].map(|kind| r.units[kind].is_some()))).collect();
        let mut shape = Shape {
            table,
            held,
            key_name: self.key_names.get(&table).cloned(),
            constraints: self.constraints.get(&table).cloned(),
            indexes: self.indexes.get(&table).cloned(),
            rowsets,
            changes: None,
        };
        shape.changes = self.count_changes(xact, table);
        let lsn = self.last_lsn(By::Xact(xact.0));
        self.undoable(By::Xact(xact.0), lsn, Undo::Shape(Box::new(shape)));
    }

    /// Counts what a transaction changed in a table as committed; gives what it had changed at all, if any of it was there.
    pub(super) fn count_changes(&mut self, xact: Transaction, table: u32) -> Option<Vec<Change>> {
        let open = self.xacts.get_mut(&xact.0).expect("definitions are made in open transactions");
        if !open.changes.iter().any(|(of, ..)| *of == table) {
            return None;
        }
        let all = std::mem::take(&mut open.changes);
        let (own, others): (Vec<Change>, Vec<Change>) = all.iter().cloned().partition(|(of, ..)| *of == table);
        open.set_changes(others);
        if let Some(held) = self.tables.get_mut(&table) {
            held.apply(own.into_iter().map(|(_, key, row)| (key, row)));
        }
        Some(all)
    }

    /// Makes a table what it was.
    pub(super) fn restore_shape(&mut self, id: u64, shape: Shape) {
        self.read_log();
        let table = shape.table;
        let own = self.rowsets.values().filter(|r| r.object_id == table).map(|r| r.id);
        let new: Vec<u64> = own.filter(|id| shape.rowsets.iter().all(|(known, ..)| known != id)).collect();
        let mut gone: Vec<(u64, AllocUnit)> = Vec::new();
        for rowset in new {
            let Some(held) = self.rowsets.remove(&rowset) else { continue };
            gone.extend(held.units.into_iter().flatten().map(|unit| (rowset, unit)));
        }
        for (rowset, layout, had) in shape.rowsets {
            let Some(held) = self.rowsets.get_mut(&rowset) else { continue };
            held.layout = layout;
            for kind in UnitKind::ALL.into_iter().filter(|kind| !had[kind.index()]) {
                gone.extend(held.units[kind.index()].take().map(|unit| (rowset, unit)));
            }
        }
        restore(&mut self.tables, table, shape.held);
        restore(&mut self.key_names, table, shape.key_name);
        restore(&mut self.constraints, table, shape.constraints);
        restore(&mut self.indexes, table, shape.indexes);
        if let Some(changes) = shape.changes {
            self.xacts.get_mut(&id).expect("it is open").set_changes(changes);
        }
        self.drop_units(id, &gone);
    }

    /// Makes a rowset what it was before its pages were given back. Those that it has got since then go.
    pub(super) fn restore_rowset(&mut self, id: u64, saved: Rowset) {
        self.read_log();
        let mut gone = Vec::new();
        if let Some(now) = self.rowsets.remove(&saved.id) {
            for (kind, unit) in UnitKind::ALL.into_iter().zip(now.units) {
                let known = saved.units[kind.index()].as_ref().map_or(0, |u| u.iam);
                gone.extend(unit.filter(|u| u.iam != known).map(|u| (saved.id, u)));
            }
        }
        self.rowsets.insert(saved.id, saved);
        self.drop_units(id, &gone);
    }

    /// Takes a bit of a map back.
    pub(super) fn restore_bit(
        &mut self,
        by: By,
        (page, context): (u32, Context),
        extent: u32,
        on: bool,
        unit: (u32, u16),
    ) {
        self.write_page_of(by, page, 1, Some(unit), |r, h, t| {
            r.set_bits(h, context, t, super::space::map_record_bit(extent), on, Some(&[]));
        });
        self.set_map_bit(page, extent, on);
        if context == Context::GAM {
            self.definitions.extents.remove(&extent);
        }
    }

    /// Takes bytes of a PFS page back, from one page on.
    pub(super) fn restore_space(&mut self, by: By, rowset: u64, first: u32, before: &[u8], unit: (u32, u16)) {
        let pages = first..first + before.len() as u32;
        let now: Vec<u8> = pages.clone().map(|p| self.pfs(p)).collect();
        let (map, offset) = Self::pfs_of(first);
        self.write_page_of(by, map, 0, Some(unit), |r, h, t| {
            r.modify_special(h, Context::PFS, t, offset, (&now, before), &[], 3);
        });
        for (page, byte) in pages.zip(before) {
            self.set_pfs(page, *byte);
            self.definitions.mixed.remove(&page);
            if byte & PFS_GHOSTS != 0 {
                self.ghost_pages.insert(page, rowset);
            }
        }
        debug_assert!(before.len() == 1 || before.len() == EXTENT_PAGES as usize);
    }

    /// Gives the pages of allocation units back that nobody knows any more.
    fn drop_units(&mut self, parent: u64, gone: &[(u64, AllocUnit)]) {
        for (rowset, unit) in gone {
            // A rebuild hands units on: those are their first rowset's again.
            let mut kept = self.rowsets.values().flat_map(|r| r.units.iter().flatten());
            if unit.iam == 0 || kept.any(|k| k.iam == unit.iam) {
                continue;
            }
            let xact = self.begin_system(parent, DEFERRED_DROP, SystemXact::Nested);
            self.release_pages(By::Xact(xact), *rowset, unit);
            self.end_system(xact);
        }
    }
}

impl Table {
    /// Lets the committed rows be what changes made of them.
    pub(super) fn apply(&mut self, changes: impl Iterator<Item = (RowKey, Option<Arc<Row>>)>) {
        for (key, row) in changes {
            match row {
                Some(row) => self.committed.insert(key, row),
                None => self.committed.remove(&key),
            };
        }
    }
}

fn restore<T>(map: &mut BTreeMap<u32, T>, key: u32, value: Option<T>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

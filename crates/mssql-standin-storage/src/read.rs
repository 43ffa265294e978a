//! What statements of a query language need of the tables: rows as a transaction sees them, who is in the way, and
//! undoing a statement that failed in its middle.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::xact::Transaction;
use super::{Database, Error, Row, RowKey};

/// Rows as they were before others changed them, by table; `None` where there was none.
pub type Before = BTreeMap<u32, BTreeMap<RowKey, Option<Arc<Row>>>>;

/// A place in what a transaction did, without a record in the log.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    undo: usize,
    changes: usize,
}

impl Mark {
    /// Whether nothing that was undone to another place is left before this one.
    pub fn is_at_or_after(self, other: Mark) -> bool {
        self.undo >= other.undo
    }
}

/// An allocation unit: its id, its type, its pages (data, used, reserved).
pub type UnitPages = (u64, u8, [i64; 3]);

impl Database {
    /// Schemas and their ids.
    pub fn schemas(&self) -> impl Iterator<Item = (&str, u32)> {
        self.schemas.iter().map(|(name, id)| (name.as_str(), *id))
    }

    /// The rows that a transaction sees, in the order of their keys: its own changes, else what is committed, else (where
    /// `before` has it) what was committed earlier. Ends when `each` says so by `false`.
    pub fn scan(
        &self,
        xact: Option<Transaction>,
        table: u32,
        before: Option<&Before>,
        each: &mut dyn FnMut(&RowKey, &Arc<Row>) -> bool,
    ) {
        self.scan_range(xact, table, before, (Bound::Unbounded, Bound::Unbounded), each);
    }

    /// Like [`scan`](Self::scan), of the rows whose keys are in a range.
    pub fn scan_range(
        &self,
        xact: Option<Transaction>,
        table: u32,
        before: Option<&Before>,
        range: (Bound<&RowKey>, Bound<&RowKey>),
        each: &mut dyn FnMut(&RowKey, &Arc<Row>) -> bool,
    ) {
        let Some(held) = self.tables.get(&table) else { return };
        let empty = match range {
            (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a >= b,
            _ => false,
        };
        if empty {
            return;
        }
        let mut over: BTreeMap<&RowKey, Option<&Arc<Row>>> = BTreeMap::new();
        if let Some(rows) = before.and_then(|before| before.get(&table)) {
            over.extend(rows.range::<RowKey, _>(range).map(|(key, row)| (key, row.as_ref())));
        }
        if let Some(own) = xact.and_then(|x| self.xacts.get(&x.0)) {
            over.extend(own.latest_in(table, range).map(|(key, row)| (key, row.as_ref())));
        }
        let mut over = over.into_iter().peekable();
        for (key, row) in held.committed.range::<RowKey, _>(range) {
            while let Some((k, r)) = over.next_if(|(k, _)| *k < key) {
                if let Some(r) = r
                    && !each(k, r)
                {
                    return;
                }
            }
            let row = match over.next_if(|(k, _)| *k == key) {
                Some((_, r)) => r,
                None => Some(row),
            };
            if let Some(row) = row
                && !each(key, row)
            {
                return;
            }
        }
        for (k, r) in over {
            if let Some(r) = r
                && !each(k, r)
            {
                return;
            }
        }
    }

    /// All versions of a table's rows that anybody may come to see: what is committed, and what open transactions made.
    pub fn each_version(&self, table: u32, each: &mut dyn FnMut(&RowKey, &Row)) {
        self.rows(table).for_each(|(key, row)| each(key, row));
        for (at, key, row) in self.xacts.values().flat_map(|x| &x.changes) {
            if let (true, Some(row)) = (*at == table, row) {
                each(key, row);
            }
        }
    }

    /// What keys begin with whose first columns have these values; as a bound, all of them or (`behind`) none of them are
    /// above it. `None` in heaps.
    pub fn key_bound(&self, table: u32, values: &[Vec<u8>], behind: bool) -> Option<RowKey> {
        let layout = &self.rowset(self.tables.get(&table)?.rowset).layout;
        if layout.key.is_empty() {
            return None;
        }
        let mut key = Vec::new();
        for (at, value) in layout.key.iter().zip(values) {
            layout.push_key(&layout.columns[*at], Some(value), &mut key);
        }
        if behind {
            // The next key that does not begin so; where all bytes are the last ones, there is nothing above.
            let last = key.iter().rposition(|b| *b != 0xFF)?;
            key.truncate(last + 1);
            key[last] += 1;
        }
        Some(RowKey::Key(key))
    }

    /// One row as [`scan`](Self::scan) gives it.
    pub fn seen_row(
        &self,
        xact: Option<Transaction>,
        table: u32,
        before: Option<&Before>,
        key: &RowKey,
    ) -> Option<Arc<Row>> {
        let own = xact.and_then(|x| self.xacts.get(&x.0)).and_then(|x| x.latest(table, key));
        if let Some(own) = own {
            return own.clone();
        }
        if let Some(old) = before.and_then(|b| b.get(&table)?.get(key)) {
            return old.clone();
        }
        self.tables.get(&table)?.committed.get(key).cloned()
    }

    /// What a row would be found by; `None` in heaps.
    pub fn key_of(&self, table: u32, row: &Row) -> Option<RowKey> {
        let layout = &self.rowset(self.tables.get(&table)?.rowset).layout;
        (!layout.key.is_empty()).then(|| RowKey::Key(layout.key_of(row)))
    }

    /// Another transaction that holds a row.
    pub fn holder(&self, xact: Option<Transaction>, table: u32, key: &RowKey) -> Option<Transaction> {
        let rowset = self.tables.get(&table)?.rowset;
        let owner = *self.locks.get(&rowset)?.get(key)?;
        (Some(owner) != xact.map(|x| x.0)).then_some(Transaction(owner))
    }

    /// Another transaction that holds a table or any row of it.
    pub fn holder_of_any(&self, own: Option<Transaction>, table: u32) -> Option<Transaction> {
        let rowset = self.tables.get(&table)?.rowset;
        // The two lowest bits tell rows from LOB records.
        let mut holders = self
            .locks
            .iter()
            .filter(|(space, _)| *space & !3 == rowset)
            .flat_map(|(_, rows)| rows.values())
            .map(|id| Transaction(*id));
        self.definer(own, table).or_else(|| holders.find(|holder| Some(*holder) != own))
    }

    /// The rows that an open transaction changed.
    pub fn changed_rows(&self, xact: Transaction) -> impl Iterator<Item = (u32, &RowKey)> {
        self.xacts.get(&xact.0).into_iter().flat_map(|x| x.changes.iter().map(|(t, k, _)| (*t, k)))
    }

    /// A committed row.
    pub fn committed_row(&self, table: u32, key: &RowKey) -> Option<Arc<Row>> {
        self.tables.get(&table)?.committed.get(key).cloned()
    }

    /// Where a transaction is now.
    pub fn mark(&self, xact: Transaction) -> Result<Mark, Error> {
        let open = self.open(xact)?;
        Ok(Mark { undo: open.undo.len(), changes: open.changes.len() })
    }

    /// Undoes what a transaction did after a mark, by compensation records; it goes on.
    pub fn undo_to(&mut self, xact: Transaction, mark: Mark) -> Result<(), Error> {
        self.open(xact)?;
        self.undo_down_to(xact.0, mark.undo);
        self.xacts.get_mut(&xact.0).expect("it is open").forget_changes(mark.changes);
        Ok(())
    }

    /// Number of rows of a table, as counted; pages that it uses.
    pub fn size_of(&self, table: u32) -> (i64, [i64; 3]) {
        let Some(held) = self.tables.get(&table) else { return (0, [0; 3]) };
        let rowset = self.rowset(held.rowset);
        let sum = rowset
            .units
            .iter()
            .flatten()
            .fold([0; 3], |[d, u, r], unit| [d + unit.data, u + unit.used, r + unit.reserved]);
        (rowset.rows, sum)
    }

    /// `hobt_id`, and the allocation units with their types (1 rows, 2 LOBs, 3 row overflow) and pages (data, used, reserved).
    pub fn storage_ids(&self, table: u32) -> Option<(u64, Vec<UnitPages>)> {
        let rowset = self.rowset(self.tables.get(&table)?.rowset);
        let units = rowset.units.iter().enumerate().filter_map(|(at, unit)| {
            let unit = unit.as_ref()?;
            Some((unit.id, at as u8 + 1, [unit.data, unit.used, unit.reserved]))
        });
        Some((rowset.id, units.collect()))
    }
}

#[cfg(test)]
mod tests {
    use logferry_model::SqlType;

    use super::*;
    use crate::{ColumnDef, Options, TableDef, XactOptions};

    fn numbers(name: &str) -> TableDef {
        let columns = vec![ColumnDef::new("n", SqlType::Int).not_null()];
        TableDef { schema: "dbo".into(), name: name.into(), columns, primary_key: vec![0] }
    }

    #[track_caller]
    fn check(
        db: &Database,
        xact: Option<Transaction>,
        table: u32,
        before: Option<&Before>,
        expect: std::ops::Range<u32>,
    ) {
        let mut found = Vec::new();
        db.scan(xact, table, before, &mut |_, row| {
            found.extend(row.iter().flatten().cloned());
            true
        });
        let expect: Vec<_> = expect.map(|n| n.to_le_bytes().to_vec()).collect();
        assert_eq!(found, expect);
    }

    /// What a transaction, or others since a snapshot, did to another table with the same keys is nothing to a table.
    #[test]
    fn changes_of_other_tables_are_nothing_to_a_table() {
        let mut db = Database::create(Options::default()).expect("a database");
        let (few, many) =
            (db.create_table(numbers("few")).expect("a table"), db.create_table(numbers("many")).expect("a table"));
        let row = |n: u32| vec![Some(n.to_le_bytes().to_vec())];
        let xact = db.begin(XactOptions::default());
        for n in 0..10 {
            db.insert(xact, few, row(n)).expect("it fits");
        }
        db.commit(xact).expect("it is open");
        let xact = db.begin(XactOptions::default());
        for n in 0..50 {
            db.insert(xact, many, row(n)).expect("it fits");
        }
        db.insert(xact, few, row(10)).expect("it fits");
        check(&db, Some(xact), few, None, 0..11);
        check(&db, Some(xact), many, None, 0..50);
        check(&db, None, few, None, 0..10);
        check(&db, None, many, None, 0..0);

        let mut before = Before::new();
        for (table, key) in db.changed_rows(xact) {
            before.entry(table).or_default().insert(key.clone(), None);
        }
        db.commit(xact).expect("it is open");
        check(&db, None, few, Some(&before), 0..10);
        check(&db, None, many, Some(&before), 0..0);
        check(&db, None, few, None, 0..11);
        check(&db, None, many, None, 0..50);
    }
}

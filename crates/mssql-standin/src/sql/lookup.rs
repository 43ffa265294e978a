//! Rows by the values of some columns: what unique keys, foreign keys and nonclustered indexes are looked up by.
//!
//! The storage has one order of rows, by clustered key. Here are maps from values to the rows that *may* have them: a row that is
//! written is noted under its new values and stays under its old ones, whoever looks checks what the row is now. So nothing
//! has to be undone when a transaction is, and readers of old versions find their rows too. A map is made when it is
//! first asked for.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use logferry_model::SqlType;

use super::state::Db;
use super::value::{Value, from_bytes, group_key};
use logferry_mssql_standin_storage::{Row, RowKey};

/// Rows that may have the values.
type Rows = HashMap<Vec<u8>, HashSet<RowKey>>;

/// The maps of a table, by columns.
type Maps = Vec<(Vec<usize>, Rows)>;

/// The maps of a database, by table.
#[derive(Debug, Default)]
pub(crate) struct Lookups(RefCell<HashMap<u32, Maps>>);

/// Values of columns in a form that is equal where they are; whether one is NULL.
pub(crate) fn values_of(row: &Row, types: &[SqlType], columns: &[usize]) -> (Vec<u8>, bool) {
    let (mut key, mut null) = (Vec::new(), false);
    for column in columns {
        let value = row.get(*column).and_then(|b| b.as_deref());
        let value = value.map_or(Value::Null, |b| from_bytes(&types[*column], b));
        null |= value.is_null();
        group_key(&value, &mut key);
    }
    (key, null)
}

impl Lookups {
    /// The rows of a table that may have these values in these columns.
    pub fn candidates(&self, db: &Db, table: u32, columns: &[usize], values: &[u8]) -> Vec<RowKey> {
        let mut all = self.0.borrow_mut();
        let maps = all.entry(table).or_default();
        let at = maps.iter().position(|(c, _)| c == columns).unwrap_or_else(|| {
            let (types, mut rows) = (db.types(table), Rows::new());
            let mut note = |key: &RowKey, row: &Row| {
                rows.entry(values_of(row, &types, columns).0).or_default().insert(key.clone());
            };
            db.storage.each_version(table, &mut note);
            for (key, row) in db.snapshots.values().filter_map(|before| before.get(&table)).flatten() {
                if let Some(row) = row {
                    note(key, row);
                }
            }
            maps.push((columns.to_vec(), rows));
            maps.len() - 1
        });
        let Some(found) = maps[at].1.get_mut(values) else { return Vec::new() };
        if found.len() > 8 && db.snapshots.is_empty() {
            // Rows that have other values by now, and that no transaction can bring back.
            let types = db.types(table);
            found.retain(|key| {
                db.storage.holder(None, table, key).is_some()
                    || db.storage.committed_row(table, key).is_some_and(|r| values_of(&r, &types, columns).0 == values)
            });
        }
        found.iter().cloned().collect()
    }

    /// Notes a row that is written.
    pub fn note(&self, table: u32, types: &[SqlType], key: &RowKey, row: &Row) {
        let mut all = self.0.borrow_mut();
        for (columns, rows) in all.get_mut(&table).into_iter().flatten() {
            rows.entry(values_of(row, types, columns).0).or_default().insert(key.clone());
        }
    }

    /// Forgets a table, whose rows were changed otherwise or whose columns are others now.
    pub fn forget(&self, table: u32) {
        self.0.borrow_mut().remove(&table);
    }

    /// Forgets all.
    pub fn clear(&self) {
        self.0.borrow_mut().clear();
    }
}

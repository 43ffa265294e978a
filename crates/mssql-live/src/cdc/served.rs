//! A table of which changes are captured, and what the rows of its change table mean.

use std::collections::HashMap;
use std::sync::Arc;

use logferry_model::{Cell, ChangeOp, RowRef, RowStore, RowView};

use super::feed::Texts;
use super::instances::{self, Instance};
use crate::catalog::Table;
use crate::value::Form;

/// A table and the instance that it is read by.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) table: Arc<Table>,
    pub(crate) instance: Instance,
    pub(super) form: Form,
    pub(super) texts: Texts,
    /// Columns that the row before an update does not have unless they changed, and perhaps the one after it neither; with
    /// their bits.
    pub(super) large: Vec<(usize, Option<usize>)>,
    /// Columns that are read from the table.
    pub(super) fetched: Vec<usize>,
    pub(super) key: Vec<usize>,
    /// Its rows stay where they are when their keys change, so that one may get a key before the row that had it leaves it.
    changes_in_place: bool,
    /// Why its condition cannot be asked of captured rows, if so.
    condition_wrong: Option<String>,
}

/// Values of some columns, as the table has them now; by key.
pub(super) type Found = HashMap<Vec<u8>, Vec<Option<Vec<u8>>>>;

impl Served {
    pub(crate) fn new(table: Arc<Table>, instance: Instance, database_collation: Option<&str>) -> Self {
        // What is not captured is read from the table.
        let missing: Vec<u32> = instance.missing(&table.version).iter().map(|c| c.id).collect();
        let form = Form::of_captured(&table.version.columns, |c| missing.contains(&c.id));
        let wanted = table.condition.as_ref().map(|c| format!("{}, ", c.as_number())).unwrap_or_default();
        let list = format!("{wanted}{}", form.select_list());
        let texts = Texts::of(&instance.change_table(), instance.has_commands, &list);
        let large = table.version.columns.iter().enumerate().filter(|(_, c)| c.sql_type.is_lob());
        let large: Vec<_> = large.map(|(at, c)| (at, instance.bit(c.id))).collect();
        let condition_wrong = condition_wrong(&table, &missing, database_collation);
        let mut fetched = instances::fetched(&table, database_collation);
        fetched.extend((0..).zip(&table.version.columns).filter(|(_, c)| missing.contains(&c.id)).map(|(at, _)| at));
        if table.condition.is_some() {
            // A row that comes in by an update of other columns must be told in full.
            fetched.extend(large.iter().map(|(at, _)| *at));
        }
        fetched.sort_unstable();
        fetched.dedup();
        let key = table.row_key().unwrap_or_default().to_vec();
        let clustered = table.clustered.iter().flat_map(|order| &order.columns).map(|column| &column.name);
        let by_key = key.iter().filter_map(|&c| table.version.columns.get(c)).map(|column| &column.name);
        let changes_in_place = !clustered.eq(by_key);
        Served { table, instance, form, texts, large, fetched, key, changes_in_place, condition_wrong }
    }

    /// Why the table cannot be followed, and what mends that; `None` where it can. Once it is `followed`, columns may have come that
    /// are not captured yet.
    pub(crate) fn refused(&self, followed: bool, has_snapshots: bool) -> Option<(String, String)> {
        let missing = self.instance.missing(&self.table.version);
        if !missing.is_empty() && !followed {
            let names: Vec<&str> = missing.iter().map(|c| c.name.as_str()).collect();
            let why = format!(
                "capture instance \"{}\" does not have column \"{}\"",
                self.instance.name,
                names.join("\", \"")
            );
            let mend = instances::statement_for(&self.table.version, Some(&format!("{}_2", self.instance.name)));
            return Some((why, mend));
        }
        let name = |at: usize| self.table.version.columns.get(at).map_or("", |c| c.name.as_str());
        let leave_out = || format!("tables.exclude: [\"{}\"]", self.table.version.name);
        if let Some(why) = &self.condition_wrong {
            return Some((why.clone(), "mend tables.where".to_owned()));
        }
        if let Some(&first) = self.fetched.first()
            && (self.table.lookup().is_none() || self.fetched.iter().any(|at| self.key.contains(at)))
        {
            let why = format!(
                "the captured values of column \"{}\" are not to be believed (it is computed or new, or its collation is not that of the \
                 database, or it is large and not all rows are wanted), and its rows cannot be looked up by a key that is",
                name(first)
            );
            return Some((why, leave_out()));
        }
        if self.is_keyed() {
            return None;
        }
        // Its rows are told apart by all their values.
        if let Some((at, _)) = self.large.first() {
            let why = format!(
                "it has no key, and capture does not tell what the large value of column \"{}\" was before a change",
                name(*at)
            );
            return Some((why, leave_out()));
        }
        if !has_snapshots {
            let why = "it has no key, and the database does not allow SNAPSHOT isolation, by which its rows are read as of one position";
            return Some((why.to_owned(), "ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON".to_owned()));
        }
        None
    }

    /// Whether changes that are in rows that were read must not be told again: rows without a key would be there twice, and those of another
    /// unique key might meet a value that another row has by now.
    pub(crate) fn is_exact(&self) -> bool {
        !self.is_keyed()
            || self.table.version.unique_keys.len() + usize::from(self.table.version.primary_key.is_some()) > 1
    }

    pub(crate) fn is_keyed(&self) -> bool {
        !self.key.is_empty()
    }

    pub(super) fn doing(&self) -> String {
        format!("read the captured changes of table \"{}\"", self.table.version.name)
    }

    /// A row that is gone. Of a keyed table only its key counts, unless rows may have it before it is given up: then they are told
    /// apart by what capture has of both.
    pub(super) fn gone(&self, row: RowView<'_>, rows: &mut RowStore) -> RowRef {
        let is_large = |at: usize| self.large.iter().any(|(column, _)| *column == at);
        let counts = |at: usize| match (self.is_keyed(), self.changes_in_place) {
            (false, _) => true,
            (true, false) => self.key.contains(&at),
            (true, true) => self.key.contains(&at) || !is_large(at) && !self.fetched.contains(&at),
        };
        rows.push_row(row.cells().enumerate().map(|(at, cell)| if counts(at) { cell } else { Cell::Unchanged }))
    }

    /// A row that came, or is another now.
    pub(super) fn came(
        &self,
        row: RowView<'_>,
        mask: &[u8],
        before: Option<RowView<'_>>,
        found: &Found,
        rows: &mut RowStore,
    ) -> ChangeOp {
        let is_update = before.is_some();
        let unchanged = |at: usize| {
            let large = self.large.iter().find(|(column, _)| *column == at);
            is_update && large.is_some_and(|(_, bit)| bit.is_some_and(|bit| !instances::is_set(mask, bit)))
        };
        if !self.is_keyed() {
            // What did not change is what it was; of large values capture tells that in the row after the update only.
            let after = rows.push_row(row.cells());
            let Some(before) = before else { return ChangeOp::Insert { after } };
            let whole = before.cells().enumerate().map(|(at, cell)| if unchanged(at) { row.cell(at) } else { cell });
            return ChangeOp::Update { before: rows.push_row(whole), after };
        }
        let now = match self.fetched.is_empty() {
            true => None,
            false => match found.get(&key_of(row, &self.key)) {
                Some(now) => Some(now),
                // It is gone by now: so it will be captured that it went.
                None => return ChangeOp::Delete { before: self.gone(before.unwrap_or(row), rows) },
            },
        };
        let moved = before.is_some_and(|before| self.key.iter().any(|&c| before.cell(c) != row.cell(c)));
        let after = rows.push_row(row.cells().enumerate().map(|(at, cell)| {
            if let (Some(now), Some(place)) = (now, self.fetched.iter().position(|c| *c == at)) {
                return now.get(place).and_then(Option::as_deref).map_or(Cell::Null, Cell::Bytes);
            }
            // Not changed and not there is the same as not changed. A row whose key changed is told in full.
            if cell == Cell::Null && !moved && unchanged(at) { Cell::Unchanged } else { cell }
        }));
        match before {
            Some(before) => ChangeOp::Update { before: self.gone(before, rows), after },
            None => ChangeOp::Insert { after },
        }
    }
}

/// Columns that a condition names must be captured as they are: what is looked at is the captured row. Text must compare there as it
/// does in the table.
fn condition_wrong(table: &Table, missing: &[u32], database_collation: Option<&str>) -> Option<String> {
    let spoiled = instances::fetched(table, database_collation);
    let wrong = |at: usize| {
        let (column, plain) = (table.version.columns.get(at)?, table.columns.get(at)?);
        let of_another = plain.collation.is_some() && plain.collation.as_deref() != database_collation;
        let why = match () {
            () if missing.contains(&column.id) => "is not captured",
            () if column.sql_type.is_lob() => "is not captured where it did not change: it is large",
            () if column.computed => "is computed, and not captured",
            () if of_another || spoiled.contains(&at) => "has another collation than the database",
            () => return None,
        };
        Some(format!("tables.where names column \"{}\", which {why}", column.name))
    };
    table.condition.as_ref()?.columns.iter().find_map(|&at| wrong(at))
}

/// The cells of a key, one after the other with their lengths.
pub(super) fn key_of(row: RowView<'_>, key: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    for &column in key {
        let cell = row.cell(column).bytes().unwrap_or_default();
        out.extend_from_slice(&(cell.len() as u32).to_le_bytes());
        out.extend_from_slice(cell);
    }
    out
}

//! Which table a record of the log is about, and which row of it.
//!
//! A record names the rowset (partition) that it changes. Of an insert or delete it has the whole row, of an update the clustered
//! key, as an index entry has it. So a row is known by its clustered key, and that is all that is read here.
//!
//! Rowsets come and go with rebuilds; ids are not used again. Those that were known stay known: their records are still in the log.

use std::collections::HashMap;
use std::sync::Arc;

use logferry_model::{SqlType, TableId};
use logferry_mssql_format::bytes::Malformed;
use logferry_mssql_format::row::{PhysicalColumn, Place, RawCell, RowLayout};

use crate::catalog::{OrderColumn, Table};
use crate::error::Error;
use crate::session::Session;
use crate::sql;

/// What is known of a rowset.
#[derive(Clone, Debug)]
pub(super) enum Rowset {
    /// Nobody wants it.
    Unneeded,
    /// Of a table.
    Table(TableId, Arc<KeyLayout>),
}

/// Where the key columns are.
#[derive(Debug)]
pub(super) struct KeyLayout {
    row: RowLayout,
    entry: RowLayout,
    /// Whether records of updates have the key.
    names_updates: bool,
}

/// A row's clustered key: its cells, each behind its length.
pub(super) type Key = Box<[u8]>;

impl KeyLayout {
    /// `columns` in the order of the key, each with its offset in rows and its bit in the NULL bitmap.
    fn new(columns: &[(&OrderColumn, i32, i32)], names_updates: bool) -> Option<Self> {
        let (mut row, mut entry) = (Vec::new(), Vec::new());
        let (mut fixed_end, mut variables) = (1u16, 0u16);
        for (index, (column, offset, null_bit)) in columns.iter().enumerate() {
            let len = fixed_len(&column.sql_type);
            let (in_row, in_entry) = match (u16::try_from(*offset), len) {
                (Ok(offset), Some(len)) => {
                    let at = fixed_end;
                    fixed_end += len;
                    (Place::Fixed { offset, len }, Place::Fixed { offset: at, len })
                }
                (Err(_), None) => {
                    let index = variables;
                    variables += 1;
                    (Place::Variable { index: u16::try_from(-1 - *offset).ok()? }, Place::Variable { index })
                }
                _ => return None,
            };
            let null_bit = u16::try_from(null_bit - 1).ok()?;
            row.push(PhysicalColumn { place: in_row, null_bit, missing: None });
            entry.push(PhysicalColumn { place: in_entry, null_bit: index as u16, missing: None });
        }
        let entry = RowLayout::index(entry, usize::from(fixed_end));
        Some(KeyLayout { row: RowLayout::new(row), entry, names_updates })
    }

    /// Whether records of updates have the key: in heaps, and where the clustered key is not the primary one, they say where the
    /// row is and not which one.
    pub(super) fn names_updates(&self) -> bool {
        self.names_updates
    }

    /// The key in a row.
    pub(super) fn of_row(&self, row: &[u8]) -> Result<Key, Malformed> {
        key(&self.row, row)
    }

    /// The key in an index entry.
    pub(super) fn of_entry(&self, entry: &[u8]) -> Result<Key, Malformed> {
        key(&self.entry, entry)
    }
}

fn key(layout: &RowLayout, bytes: &[u8]) -> Result<Key, Malformed> {
    let mut cells = Vec::new();
    layout.decode(bytes, &mut cells)?;
    let mut key = Vec::new();
    for cell in cells {
        let RawCell::Bytes(bytes) = cell else { return Err(Malformed::new("a key column is not in its row", 0)) };
        let len = u16::try_from(bytes.len()).map_err(|_| Malformed::new("a key column is too long", 0))?;
        key.extend_from_slice(&len.to_le_bytes());
        key.extend_from_slice(bytes);
    }
    Ok(key.into())
}

/// The cells of a key.
pub(super) fn cells(mut key: &[u8]) -> Vec<&[u8]> {
    let mut cells = Vec::new();
    while let Some(([low, high], rest)) = key.split_first_chunk() {
        let len = usize::from(u16::from_le_bytes([*low, *high]));
        let (cell, rest) = rest.split_at(len.min(rest.len()));
        cells.push(cell);
        key = rest;
    }
    cells
}

/// Bytes of a value in the fixed part of a row; `None` for those in the variable part.
fn fixed_len(sql_type: &SqlType) -> Option<u16> {
    let time = |scale: u8| match scale {
        0..=2 => 3,
        3..=4 => 4,
        _ => 5,
    };
    Some(match *sql_type {
        SqlType::TinyInt => 1,
        SqlType::SmallInt => 2,
        SqlType::Int | SqlType::Real | SqlType::SmallDateTime => 4,
        SqlType::BigInt | SqlType::Float | SqlType::DateTime => 8,
        SqlType::Decimal { precision: 0..=9, .. } => 5,
        SqlType::Decimal { precision: 10..=19, .. } => 9,
        SqlType::Decimal { precision: 20..=28, .. } => 13,
        SqlType::Decimal { .. } => 17,
        SqlType::Date => 3,
        SqlType::Time { scale } => time(scale),
        SqlType::DateTime2 { scale } => time(scale) + 3,
        SqlType::DateTimeOffset { scale } => time(scale) + 5,
        SqlType::UniqueIdentifier => 16,
        SqlType::Char { length, .. } | SqlType::Binary { length } => length,
        SqlType::NChar { length, .. } => 2 * length,
        _ => return None,
    })
}

/// The rowsets of a database.
#[derive(Debug, Default)]
pub(super) struct Places {
    by_rowset: HashMap<u64, Rowset>,
    /// Tables by the allocation units of their rows; nothing for those of something else (an indexed view, say).
    by_unit: HashMap<u64, Option<TableId>>,
    /// Why the changes of a table cannot be read.
    refused: HashMap<TableId, String>,
}

impl Places {
    /// Reads what is there now; what was known stays.
    pub(super) async fn read(
        &mut self,
        session: &mut Session,
        tables: &[Arc<Table>],
        wanted: &(dyn Fn(&Table) -> bool + Send + Sync),
    ) -> Result<(), Error> {
        const DOING: &str = "ask where the rows of tables are";
        let wrong = |e: tiberius::error::Error| Error::Unexpected { doing: DOING.to_owned(), what: e.to_string() };
        let missing = || Error::Unexpected { doing: DOING.to_owned(), what: "a column is NULL".to_owned() };
        let mut columns: HashMap<i64, Vec<(u32, i32, i32)>> = HashMap::new();
        for row in session.rows(DOING, sql::PLACES, &[]).await? {
            let number = |name: &'static str| row.try_get::<i32, _>(name).map_err(wrong)?.ok_or_else(missing);
            let partition = row.try_get::<i64, _>("partition_id").map_err(wrong)?.ok_or_else(missing)?;
            let column = (number("column_id")? as u32, number("leaf_offset")?, number("leaf_null_bit")?);
            columns.entry(partition).or_default().push(column);
        }
        let by_id: HashMap<u32, &Arc<Table>> = tables.iter().map(|t| (t.version.id.0, t)).collect();
        self.refused.clear();
        let mut has_rowset: Vec<TableId> = Vec::new();
        for row in session.rows(DOING, sql::ROWSETS, &[]).await? {
            let number = |name: &'static str| row.try_get::<i32, _>(name).map_err(wrong)?.ok_or_else(missing);
            let partition = row.try_get::<i64, _>("partition_id").map_err(wrong)?.ok_or_else(missing)?;
            let rowset = partition as u64;
            let table = by_id.get(&(number("object_id")? as u32)).filter(|t| wanted(t));
            // The log has entries of nonclustered indexes, too, as far as they are marked as ghosts.
            let Some(table) = table.filter(|_| number("index_id").is_ok_and(|index| index <= 1)) else {
                self.by_rowset.insert(rowset, Rowset::Unneeded);
                continue;
            };
            let id = table.version.id;
            has_rowset.push(id);
            let layout = match number("compression")? {
                0 => layout(table, columns.get(&partition).map_or(&[], Vec::as_slice)),
                _ => Err("its rows are compressed".to_owned()),
            };
            match layout {
                Ok(layout) => {
                    self.by_rowset.insert(rowset, Rowset::Table(id, Arc::new(layout)));
                }
                Err(why) => {
                    self.refused.insert(id, why);
                    self.by_rowset.insert(rowset, Rowset::Unneeded);
                }
            }
        }
        for row in session.rows(DOING, sql::UNITS, &[]).await? {
            let unit = row.try_get::<i64, _>("allocation_unit_id").map_err(wrong)?.ok_or_else(missing)?;
            let object = row.try_get::<i32, _>("object_id").map_err(wrong)?.ok_or_else(missing)?;
            self.by_unit.insert(unit as u64, by_id.get(&(object as u32)).map(|table| table.version.id));
        }
        for table in tables.iter().filter(|t| wanted(t) && !has_rowset.contains(&t.version.id)) {
            self.refused
                .insert(table.version.id, "its rows are not on pages (it is memory-optimised or external)".to_owned());
        }
        Ok(())
    }

    /// One table with an `int` key at the begin of its rows.
    #[cfg(test)]
    pub(super) fn of_test(table: TableId, rowset: u64, unit: u64) -> Self {
        let id = OrderColumn { name: "id".to_owned(), sql_type: SqlType::Int, collation: None };
        let layout = KeyLayout::new(&[(&id, 4, 1)], true).expect("a layout");
        let mut places = Places::default();
        places.by_rowset.insert(rowset, Rowset::Table(table, Arc::new(layout)));
        places.by_unit.insert(unit, Some(table));
        places
    }

    pub(super) fn rowset(&self, rowset: u64) -> Option<&Rowset> {
        self.by_rowset.get(&rowset)
    }

    /// The table that has rows in an allocation unit, if any; `None` where the unit is not known.
    pub(super) fn unit(&self, unit: u64) -> Option<Option<TableId>> {
        self.by_unit.get(&unit).copied()
    }

    /// Why the changes of a table cannot be read, if so.
    pub(super) fn refused(&self, table: TableId) -> Option<&str> {
        self.refused.get(&table).map(String::as_str)
    }
}

fn layout(table: &Table, columns: &[(u32, i32, i32)]) -> Result<KeyLayout, String> {
    let Some(key) = &table.version.primary_key else {
        return Err("it has no primary key and no unique clustered one, so the log does not tell which row is changed (mode hybrid \
                    or cdc could)"
            .to_owned());
    };
    let order = table.key().ok_or("its primary key has a column of a type that rows cannot be looked up by")?;
    let id = |column: &OrderColumn| table.version.columns.iter().find(|c| c.name == column.name).map(|c| c.id);
    let found: Option<Vec<(&OrderColumn, i32, i32)>> = order
        .columns
        .iter()
        .map(|column| {
            let place = columns.iter().find(|(id_there, ..)| Some(*id_there) == id(column))?;
            Some((column, place.1, place.2))
        })
        .collect();
    let layout = found.and_then(|columns| KeyLayout::new(&columns, key.clustered));
    layout.ok_or_else(|| "where its key is in its rows is not understood".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(sql_type: SqlType) -> OrderColumn {
        OrderColumn { name: "k".to_owned(), sql_type, collation: None }
    }

    #[test]
    fn keys_are_the_same_in_rows_and_in_entries() {
        let (id, name) =
            (column(SqlType::Int), column(SqlType::VarChar { length: Some(9), collation: Default::default() }));
        // The row: a smallint before the id, the name behind it, another variable column.
        let layout = KeyLayout::new(&[(&name, -1, 3), (&id, 6, 2)], true).expect("a layout");
        let mut row = vec![0x30, 0, 10, 0, 9, 9, 7, 0, 0, 0, 4, 0, 0, 2, 0, 21, 0, 22, 0];
        row.extend_from_slice(b"abz");
        let entry = [&[0x36, 7, 0, 0, 0, 2, 0, 0, 1, 0, 14, 0][..], b"ab"].concat();
        let expect: &[u8] = &[2, 0, b'a', b'b', 4, 0, 7, 0, 0, 0];
        assert_eq!(layout.of_row(&row).as_deref(), Ok(expect));
        assert_eq!(layout.of_entry(&entry).as_deref(), Ok(expect));
        assert_eq!(cells(expect), [&b"ab"[..], &[7, 0, 0, 0]]);
    }

    #[test]
    fn hostile_bytes_are_errors() {
        let id = column(SqlType::Int);
        let layout = KeyLayout::new(&[(&id, 4, 1)], true).expect("a layout");
        for len in 0..8 {
            assert!(layout.of_row(&[0x10, 0, 8, 0, 1, 2, 3, 4][..len]).is_err());
        }
        assert!(layout.of_entry(&[0x16, 1]).is_err());
        assert_eq!(cells(&[9, 0, 1]), [&[1][..]]);
    }
}

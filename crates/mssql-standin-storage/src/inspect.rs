//! What the engine tells of itself: places of columns in rows, first pages, open transactions. The catalog views and DMVs of
//! a query language are made of it.

use logferry_model::Lsn;
use logferry_mssql_format::page::PageId;
use logferry_mssql_format::row::Place;

use super::read::UnitPages;
use super::{Database, FILE};

/// A column as rows hold it.
#[derive(Clone, Debug)]
pub struct PhysicalColumn {
    /// `partition_column_id`: the column's id; of dropped columns a number of its own.
    pub id: u32,
    /// Whether the column was dropped.
    pub dropped: bool,
    /// Whether it tells rows with the same key apart.
    pub uniquifier: bool,
    /// Its type.
    pub sql_type: logferry_model::SqlType,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// Place in the key, from 1; 0 where it is not in the key.
    pub key_ordinal: u16,
    /// Offset in leaf rows; of variable columns, their place counted down from -1.
    pub leaf_offset: i16,
    /// Bit of the byte at the offset.
    pub leaf_bit: u8,
    /// The same in index entries; 0 where it is not in them.
    pub internal_offset: i16,
    /// Number of the NULL bit, from 1.
    pub null_bit: u16,
}

/// A heap or an index of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRowset {
    /// `index_id`: 0 heap, 1 clustered.
    pub index: u32,
    /// `hobt_id`
    pub id: u64,
    /// The index's name; heaps have none.
    pub name: Option<String>,
    /// Whether no key is there twice.
    pub unique: bool,
}

/// Pages that an allocation unit begins with, as six bytes each.
#[derive(Clone, Copy, Debug)]
pub struct UnitRoots {
    /// `allocation_unit_id`
    pub id: u64,
    /// First page, root page, first IAM page.
    pub pages: [[u8; 6]; 3],
}

/// An allocation unit, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceUnit {
    /// The table.
    pub object: u32,
    /// `index_id`
    pub index: u32,
    /// 1 rows, 2 LOBs, 3 row overflow.
    pub kind: u8,
    /// Pages with data, pages that are used, pages that are taken.
    pub pages: [i64; 3],
    /// First page, root page, first IAM page.
    pub roots: [[u8; 6]; 3],
}

/// A transaction that has not ended.
#[derive(Clone, Copy, Debug)]
pub struct OpenTransaction {
    /// `transaction_id` of the DMVs
    pub dm_id: u64,
    /// The session.
    pub spid: u32,
    /// Whether a caller began it.
    pub user: bool,
    /// Its first record.
    pub begin_lsn: Lsn,
    /// Its last record.
    pub last_lsn: Lsn,
    /// Changes of rows so far.
    pub changes: usize,
}

impl Database {
    /// `column_id` of a column, by its place in the table.
    pub fn column_id(&self, table: u32, place: usize) -> u32 {
        self.tables.get(&table).and_then(|t| t.column_ids.get(place).copied()).unwrap_or(0)
    }

    /// Place of a column in its table, by `column_id`.
    pub fn column_place(&self, table: u32, id: u32) -> Option<usize> {
        self.tables.get(&table)?.column_ids.iter().position(|c| *c == id)
    }

    /// The largest `column_id` that was ever given out.
    pub fn last_column_id(&self, table: u32) -> u32 {
        self.tables.get(&table).map_or(0, |t| t.next_column.saturating_sub(1))
    }

    /// The heap or clustered index of a table, then its nonclustered indexes that are on pages.
    pub fn table_rowsets(&self, table: u32) -> Vec<TableRowset> {
        let Some(held) = self.tables.get(&table) else { return Vec::new() };
        let base = self.rowset(held.rowset);
        let base = TableRowset {
            index: base.index_id,
            id: base.id,
            name: if base.index_id == 0 { None } else { self.key_name(table) },
            unique: base.index_id == 1,
        };
        let indexes = self.indexes.get(&table).into_iter().flatten().filter_map(|i| {
            let id = i.kept.as_ref()?.rowset;
            Some(TableRowset { index: i.def.id, id, name: Some(i.def.name.clone()), unique: i.def.unique })
        });
        std::iter::once(base).chain(indexes).collect()
    }

    /// Number of rows, or of entries, of a rowset, as counted.
    pub fn rowset_rows(&self, rowset: u64) -> i64 {
        self.rowsets.get(&rowset).map_or(0, |r| r.rows)
    }

    /// The allocation units of a rowset with their types (1 rows, 2 LOBs, 3 row overflow) and pages (data, used, reserved).
    pub fn rowset_units(&self, rowset: u64) -> Vec<UnitPages> {
        let units = self.rowsets.get(&rowset).into_iter().flat_map(|r| r.units.iter().enumerate());
        units
            .filter_map(|(at, unit)| {
                let unit = unit.as_ref()?;
                Some((unit.id, at as u8 + 1, [unit.data, unit.used, unit.reserved]))
            })
            .collect()
    }

    /// Pages of the data file.
    pub fn file_pages(&self) -> u32 {
        self.attached_space.as_ref().map_or(self.pages.len() as u32, |space| space.pages)
    }

    /// The allocation units of all tables, those of the system too.
    pub fn space(&self) -> Vec<SpaceUnit> {
        if let Some(space) = &self.attached_space {
            return space.units.clone();
        }
        let units = self.rowsets.values().flat_map(|r| {
            let roots = self.unit_roots(r.id).into_iter();
            let own = self.rowset_units(r.id).into_iter().zip(roots);
            own.map(|((_, kind, pages), roots)| SpaceUnit {
                object: r.object_id,
                index: r.index_id,
                kind,
                pages,
                roots: roots.pages,
            })
        });
        units.collect()
    }

    /// The columns of a rowset's rows or entries, dropped ones too, in the order of their NULL bits.
    pub fn rowset_columns(&self, rowset: u64) -> Vec<PhysicalColumn> {
        let offset = |place: Place| match place {
            Place::Fixed { offset, .. } => (offset as i16, 0),
            Place::Bit { offset, bit } => (offset as i16, bit),
            Place::Variable { index } | Place::Compressed { index, .. } | Place::VarDecimal { index, .. } => {
                (-1 - index as i16, 0)
            }
            Place::Sparse { .. } => (0, 0),
        };
        let Some(held) = self.rowsets.get(&rowset) else { return Vec::new() };
        let columns = held.layout.columns.iter().enumerate();
        columns
            .map(|(at, c)| {
                let (leaf_offset, leaf_bit) = offset(c.place);
                PhysicalColumn {
                    id: c.id,
                    dropped: c.logical.is_none() && !c.uniquifier,
                    uniquifier: c.uniquifier,
                    sql_type: c.sql_type.clone(),
                    nullable: c.nullable,
                    key_ordinal: c.key_ordinal,
                    leaf_offset,
                    leaf_bit,
                    internal_offset: c.internal.map_or(0, |p| offset(p).0),
                    null_bit: at as u16 + 1,
                }
            })
            .collect()
    }

    /// Where the allocation units of a rowset begin.
    pub fn unit_roots(&self, rowset: u64) -> Vec<UnitRoots> {
        let page = |page: u32| match page {
            0 => [0; 6],
            page => {
                let mut out = [0; 6];
                out.copy_from_slice(&PageId::new(FILE, page).to_bytes());
                out
            }
        };
        let units = self.rowsets.get(&rowset).into_iter().flat_map(|r| r.units.iter().flatten());
        units.map(|u| UnitRoots { id: u.id, pages: [page(u.first), page(u.root), page(u.iam)] }).collect()
    }

    /// Transactions that have not ended, the oldest first.
    pub fn transactions(&self) -> impl Iterator<Item = OpenTransaction> {
        self.xacts.values().map(|x| OpenTransaction {
            dm_id: x.dm_id,
            spid: x.spid,
            user: x.user,
            begin_lsn: x.begin_lsn,
            last_lsn: x.last_lsn,
            changes: x.changes.len(),
        })
    }

    /// The database's GUID, its family's and its recovery fork's.
    pub fn lineage(&self) -> [[u8; 16]; 3] {
        [self.guids.binding, self.guids.family, self.guids.fork]
    }

    /// Where the last log backup ended; `None` before the first full backup.
    pub fn log_archived(&self) -> Option<Lsn> {
        self.backups.log_archived()
    }
}

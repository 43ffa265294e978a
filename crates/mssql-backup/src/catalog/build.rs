//! From rows of base tables to tables.

use std::sync::Arc;

use logferry_model::{
    AliasType, Identity, SourceColumn, SqlType, StoredColumn, TableId, TableName, TableVersion, UniqueKey,
};
use logferry_mssql_format::catalog::{
    AllocUnitRow, ColumnRow, IndexRow, ObjectRow, RowsetColumnRow, RowsetRow, column, index, rowset_column, xtype,
};
use logferry_mssql_format::row::{Packing, PhysicalColumn, Place, RowLayout};
use rustc_hash::FxHashMap;

use super::base::BaseTables;
use super::{AllocUnit, AllocUnitKind, Catalog, CatalogTable, Compression, Rowset};

const MEMORY_OPTIMISED: u32 = 0x100;
const BIT: u8 = 104;
const VARBINARY: u8 = 165;
const CLUSTERED_COLUMNSTORE: u8 = 5;

pub(super) fn catalog(base: &BaseTables) -> Catalog {
    let mut tables = base.tables.iter().map(|object| Table::gather(base, object)).collect::<Vec<_>>();
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    let mut catalog = Catalog { boot: base.boot.clone(), tables: Vec::new(), rowsets: FxHashMap::default() };
    for (at, table) in tables.into_iter().enumerate() {
        let (table, rowsets) = table.build(base, at);
        catalog.rowsets.extend(rowsets.into_iter().map(|rowset| (rowset.id, rowset)));
        catalog.tables.push(table);
    }
    catalog
}

/// A table's rows of all base tables.
struct Table<'b> {
    object: &'b ObjectRow,
    name: TableName,
    columns: &'b [ColumnRow],
    indexes: &'b [IndexRow],
    /// Of its heap or clustered index, by partition.
    rowsets: Vec<&'b RowsetRow>,
}

impl<'b> Table<'b> {
    fn gather(base: &'b BaseTables, object: &'b ObjectRow) -> Self {
        let schema = schema_name(base, object.schema);
        let mut rowsets: Vec<&RowsetRow> = base
            .rowsets
            .iter()
            .filter(|row| row.object == object.id && row.index <= 1 && row.owner_type == 1)
            .collect();
        rowsets.sort_by_key(|row| (row.partition, row.id));
        Table {
            object,
            name: TableName::new(schema, object.name.clone()),
            columns: base.columns.get(&object.id).map_or(&[], Vec::as_slice),
            indexes: base.indexes.get(&object.id).map_or(&[], Vec::as_slice),
            rowsets,
        }
    }

    fn build(self, base: &BaseTables, at: usize) -> (CatalogTable, Vec<Rowset>) {
        let mut notes = Vec::new();
        let mut unreadable = self.unreadable();
        let assumed = self.assumed_of_changes();
        let stored = self.stored_columns(base, &mut notes);
        let columns: Vec<SourceColumn> = stored.iter().map(|row| self.source_column(base, row, &mut notes)).collect();
        let (primary_key, unique_keys) = self.keys(base, &stored, &mut notes);

        let mut rowsets = Vec::new();
        for row in &self.rowsets {
            let physical = base.rowset_columns.get(&row.id).map_or(&[][..], Vec::as_slice);
            let layout = match layout(base, row, physical, &stored) {
                Ok(layout) => layout,
                Err(why) => {
                    unreadable.get_or_insert(why);
                    RowLayout::default()
                }
            };
            let units = base.alloc_units.get(&row.id).map_or(&[][..], Vec::as_slice);
            rowsets.push(Rowset {
                id: row.id,
                table: at,
                index_id: row.index,
                partition: row.partition,
                compression: compression(row.compression),
                rows: row.rows,
                layout: Arc::new(layout),
                alloc_units: units.iter().map(alloc_unit).collect(),
            });
        }
        notes.extend(assumed.clone());
        let version = TableVersion {
            id: TableId(self.object.id),
            version: 1,
            name: self.name,
            columns,
            primary_key,
            unique_keys,
            notes,
        };
        let ids = rowsets.iter().map(|rowset| rowset.id).collect();
        (CatalogTable { version: Arc::new(version), rowsets: ids, unreadable, assumed }, rowsets)
    }

    fn unreadable(&self) -> Option<String> {
        if self.indexes.iter().any(|index| index.index <= 1 && index.kind == CLUSTERED_COLUMNSTORE) {
            return Some("it is stored as a clustered columnstore index".to_owned());
        }
        if self.rowsets.is_empty() || self.rowsets.iter().any(|row| row.status & MEMORY_OPTIMISED != 0) {
            return Some("it is memory-optimised: its rows are not on pages".to_owned());
        }
        if let Some(column) = self.columns.iter().find(|c| c.status & column::FILESTREAM != 0) {
            return Some(format!("column \"{}\" is kept in FILESTREAM files", column.name));
        }
        self.rowsets.iter().find_map(|row| match compression(row.compression) {
            Compression::None | Compression::Row | Compression::Page => None,
            Compression::Columnstore => Some("it is stored as a clustered columnstore index".to_owned()),
            Compression::Unknown(code) => Some(format!("its rows are compressed in an unknown way ({code})")),
        })
    }

    /// What is assumed of the log's records of its rows.
    fn assumed_of_changes(&self) -> Option<String> {
        const BY_WHAT: &str =
            "by what is published, as no real log with such rows was at hand: what does not fit stops the task";
        self.rowsets.iter().find_map(|row| match compression(row.compression) {
            Compression::Row => Some(format!("its rows are compressed (ROW), and changes of them are read {BY_WHAT}")),
            Compression::Page => Some(format!(
                "its rows are compressed (PAGE): a change on a page that is compressed as a whole stops the task, others are read {BY_WHAT}"
            )),
            Compression::None | Compression::Columnstore | Compression::Unknown(_) => None,
        })
    }

    /// A column in the first of the table's rowsets.
    fn physical<'s>(&self, base: &'s BaseTables, column: u32) -> Option<&'s RowsetColumnRow> {
        let rows = base.rowset_columns.get(&self.rowsets.first()?.id)?;
        rows.iter().find(|row| row.column == column && row.is_live())
    }

    fn source_column(&self, base: &BaseTables, row: &ColumnRow, notes: &mut Vec<String>) -> SourceColumn {
        let physical = self.physical(base, row.id);
        let mut column = source_column(row, physical, notes);
        column.alias = base
            .alias_types
            .get(&row.utype)
            .map(|alias| AliasType { schema: schema_name(base, alias.schema), name: alias.name.clone() });
        if let (Some(rowset), Some(physical)) = (self.rowsets.first(), physical) {
            let default = base.defaults.get(&(rowset.id, u64::from(physical.hobt_column)));
            column.missing = default.and_then(Option::as_deref).map(|value| stored_form(value, physical).into());
            column.stored = Some(StoredColumn { rowset: rowset.id, column: physical.hobt_column });
        }
        column
    }

    /// The columns that rows have values of.
    fn stored_columns(&self, base: &BaseTables, notes: &mut Vec<String>) -> Vec<&'b ColumnRow> {
        let is_stored = |id: u32| self.physical(base, id).is_some();
        let mut stored = Vec::new();
        for row in self.columns {
            if row.status & column::COLUMN_SET != 0 {
                notes.push(format!("column set \"{}\" is left out: its columns are there one by one", row.name));
            } else if row.status & column::COMPUTED != 0 && !is_stored(row.id) {
                notes.push(format!("computed column \"{}\" is left out: its values are not stored", row.name));
            } else {
                stored.push(row);
            }
        }
        stored
    }

    fn keys(
        &self,
        base: &BaseTables,
        stored: &[&ColumnRow],
        notes: &mut Vec<String>,
    ) -> (Option<UniqueKey>, Vec<UniqueKey>) {
        let mut primary_key = None;
        let mut unique_keys = Vec::new();
        for row in self.indexes {
            let has = |bit| row.status & bit != 0;
            if !has(index::INDEX) || !has(index::UNIQUE) || has(index::HYPOTHETICAL) || row.index == 0 {
                continue;
            }
            if has(index::FILTERED) || has(index::DISABLED) {
                let why = if has(index::FILTERED) { "it has a filter" } else { "it is disabled" };
                notes.push(format!("unique index \"{}\" is left out: {why}", row.name));
                continue;
            }
            let keys = base.index_columns.get(&(row.object, row.index)).map_or(&[][..], Vec::as_slice);
            let columns: Option<Vec<usize>> =
                keys.iter().map(|key| stored.iter().position(|column| column.id == key.column)).collect();
            let Some(columns) = columns.filter(|columns| !columns.is_empty()) else {
                notes.push(format!("unique index \"{}\" is left out: a column of it is not stored", row.name));
                continue;
            };
            let key = UniqueKey { name: row.name.clone(), columns, clustered: row.index == 1 };
            if has(index::PRIMARY_KEY) {
                primary_key = Some(key);
            } else {
                unique_keys.push(key);
            }
        }
        (primary_key, unique_keys)
    }
}

fn schema_name(base: &BaseTables, id: u32) -> String {
    base.schemas.get(&id).cloned().unwrap_or_else(|| format!("schema{id}"))
}

fn source_column(row: &ColumnRow, physical: Option<&RowsetColumnRow>, notes: &mut Vec<String>) -> SourceColumn {
    let mut sql_type = row.sql_type();
    if physical.is_some_and(|p| p.xtype == VARBINARY) && is_plain(&sql_type) {
        notes.push(format!("column \"{}\" is encrypted (Always Encrypted): its values are ciphertext", row.name));
        sql_type = SqlType::VarBinary { length: None };
    }
    if let SqlType::Unknown { code } = sql_type {
        notes.push(format!("column \"{}\" is of the unknown type {code}: its bytes are taken as they are", row.name));
    }
    let identity = match &row.identity {
        Some(bytes) if row.status & column::IDENTITY != 0 => {
            let identity = identity(bytes);
            if identity.is_none() {
                notes.push(format!("identity of column \"{}\" cannot be read", row.name));
            }
            identity
        }
        _ => None,
    };
    SourceColumn {
        id: row.id,
        name: row.name.clone(),
        sql_type,
        alias: None,
        nullable: row.status & column::NOT_NULL == 0,
        identity,
        computed: row.status & column::COMPUTED != 0,
        missing: None,
        stored: None,
    }
}

/// Types that are never stored as `varbinary` unless encrypted.
fn is_plain(sql_type: &SqlType) -> bool {
    !matches!(
        sql_type,
        SqlType::VarBinary { .. }
            | SqlType::Image
            | SqlType::Variant
            | SqlType::Xml
            | SqlType::HierarchyId
            | SqlType::Geometry
            | SqlType::Geography
            | SqlType::Clr
            | SqlType::Json
            | SqlType::Vector
            | SqlType::Unknown { .. }
    )
}

/// `idtval`: last value, seed, increment, each as a cell of the column, and a byte whose lowest bit says that no value was handed out yet.
/// Observed for `smallint` and `int`; in all files at hand seed and increment are both 1, so which is which is assumed.
fn identity(bytes: &[u8]) -> Option<Identity> {
    let (flags, values) = bytes.split_last()?;
    if values.is_empty() || !values.len().is_multiple_of(3) {
        return None;
    }
    let mut numbers = values.chunks_exact(values.len() / 3).map(identity_number);
    let (last, seed, increment) = (numbers.next()??, numbers.next()??, numbers.next()??);
    Some(Identity { seed, increment, last: (flags & 1 == 0).then_some(last) })
}

fn identity_number(bytes: &[u8]) -> Option<i128> {
    Some(match *bytes {
        // tinyint has no sign
        [a] => i128::from(a),
        [a, b] => i128::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => i128::from(i32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => i128::from(i64::from_le_bytes([a, b, c, d, e, f, g, h])),
        // decimal: sign, magnitude
        [sign @ (0 | 1), ref magnitude @ ..] if magnitude.len() <= 16 => {
            let mut le = [0; 16];
            le.get_mut(..magnitude.len())?.copy_from_slice(magnitude);
            let number = i128::try_from(u128::from_le_bytes(le)).ok()?;
            if sign == 1 { number } else { -number }
        }
        _ => return None,
    })
}

/// The layout of a rowset, or why it cannot be read.
fn layout(
    base: &BaseTables,
    rowset: &RowsetRow,
    physical: &[RowsetColumnRow],
    stored: &[&ColumnRow],
) -> Result<RowLayout, String> {
    let mut columns = Vec::with_capacity(stored.len());
    for row in stored {
        let name = &row.name;
        let Some(found) = physical.iter().find(|c| c.column == row.id && c.is_live()) else {
            return Err(format!("column \"{name}\" is not in its rowset {}", rowset.id));
        };
        let place = match compression(rowset.compression) {
            Compression::Row | Compression::Page => compressed_place(found, row),
            _ => place(found),
        };
        let place = place.ok_or_else(|| format!("column \"{name}\" is stored in a way that is not known"))?;
        let default = base.defaults.get(&(rowset.id, u64::from(found.hobt_column)));
        let missing = default.and_then(Option::as_deref).map(|value| stored_form(value, found));
        if default.is_some_and(Option::is_none) {
            return Err(format!("the stored default of column \"{name}\" cannot be read"));
        }
        let null_bit = found.leaf_null_bit.saturating_sub(1);
        columns.push(PhysicalColumn { place, null_bit, missing });
    }
    let layout = RowLayout::new(columns);
    if !layout.is_compressed() {
        return Ok(layout);
    }
    let columns_max = physical.iter().map(|c| usize::from(c.leaf_offset.unsigned_abs())).max().unwrap_or_default();
    Ok(layout.with_columns_max(columns_max))
}

fn place(column: &RowsetColumnRow) -> Option<Place> {
    if column.status & rowset_column::SPARSE != 0 {
        return Some(Place::Sparse { column_id: u16::try_from(column.column).ok()? });
    }
    if column.leaf_offset < 0 {
        let index = column.leaf_offset.unsigned_abs() - 1;
        return match (column.xtype, column.fixed_len()) {
            (xtype::DECIMAL | xtype::NUMERIC, Some(len)) => {
                Some(Place::VarDecimal { index, len, precision: column.precision, scale: column.scale })
            }
            (173 | 175 | 239, _) | (_, None) => Some(Place::Variable { index }),
            (_, Some(_)) => None,
        };
    }
    let offset = column.leaf_offset.unsigned_abs();
    if column.xtype == BIT {
        return Some(Place::Bit { offset, bit: column.leaf_bit });
    }
    Some(Place::Fixed { offset, len: column.fixed_len()? })
}

/// The place of a column in compressed rows. Their columns are all counted from -1 on, in the order of their NULL bits.
///
/// Not known is what becomes of `rowversion`: Microsoft's documentation says that it is stored as an integer is, others that it
/// is stored as it is.
fn compressed_place(column: &RowsetColumnRow, row: &ColumnRow) -> Option<Place> {
    if column.leaf_offset >= 0 || column.status & rowset_column::SPARSE != 0 {
        return None;
    }
    let index = column.leaf_offset.unsigned_abs() - 1;
    let len = column.fixed_len();
    let packing = match (column.xtype, len) {
        (BIT, _) => Packing::Bit,
        // tinyint, date, time, datetime2, datetimeoffset, uniqueidentifier, binary
        (48 | 40 | 41 | 42 | 43 | 36 | 173, Some(len)) => Packing::Padded { len, fill: 0 },
        // smallint, int, bigint, smallmoney, money, datetime
        (52 | 56 | 127 | 122 | 60 | 61, Some(len)) => Packing::Integer { len },
        // smalldatetime, real, float
        (58 | 59 | 62, Some(len)) => Packing::LowTrimmed { len },
        (xtype::DECIMAL | xtype::NUMERIC, Some(len)) => {
            Packing::Decimal { len, precision: column.precision, scale: column.scale }
        }
        // char, nchar
        (175, Some(len)) => Packing::Padded { len, fill: b' ' },
        (239, Some(len)) => Packing::PaddedUnicode { len },
        // nvarchar, but (max), which is not compressed
        (231, _) if row.length >= 0 => Packing::Unicode,
        (_, None) => Packing::Plain,
        (_, Some(_)) => return None,
    };
    Some(Place::Compressed { index, packing })
}

/// A default as cells of the column have it: decimals of its length.
fn stored_form(value: &[u8], column: &RowsetColumnRow) -> Box<[u8]> {
    let mut value = value.to_vec();
    if let (xtype::DECIMAL | xtype::NUMERIC, Some(len)) = (column.xtype, column.fixed_len()) {
        value.resize(usize::from(len), 0);
    }
    value.into_boxed_slice()
}

fn alloc_unit(row: &AllocUnitRow) -> AllocUnit {
    AllocUnit {
        id: row.id,
        kind: match row.kind {
            1 => AllocUnitKind::InRow,
            2 => AllocUnitKind::Lob,
            3 => AllocUnitKind::RowOverflow,
            code => AllocUnitKind::Unknown(code),
        },
        first: row.first,
        root: row.root,
        first_iam: row.first_iam,
    }
}

fn compression(code: u8) -> Compression {
    match code {
        0 => Compression::None,
        1 => Compression::Row,
        2 => Compression::Page,
        3 | 4 => Compression::Columnstore,
        code => Compression::Unknown(code),
    }
}

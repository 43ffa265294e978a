//! How rows are stored: `sysallocunits`, `sysrowsets`, and the columns of rowsets.

use super::{i16_of, u8_of, u16_of, u32_of, u64_of, xtype};
use crate::bytes::Result;
use crate::page::PageId;
use crate::row::FixedVar;

/// A row of `sysallocunits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocUnitRow {
    /// `auid`
    pub id: u64,
    /// 1: rows, 2: LOBs, 3: values that did not fit into their rows.
    pub kind: u8,
    /// The rowset.
    pub owner: u64,
    /// First page.
    pub first: PageId,
    /// Root page; of a heap the last page.
    pub root: PageId,
    /// First IAM page.
    pub first_iam: PageId,
    /// Pages with data, pages that are used, pages that are taken: `pcdata`, `pcused`, `pcreserved`.
    pub pages: [i64; 3],
}

impl AllocUnitRow {
    /// Reads a row.
    pub fn read(row: &FixedVar<'_>) -> Result<Self> {
        let page = |offset| PageId::read(row.fixed(offset, 6)?, 0, "page of an allocation unit");
        let count = |offset| u64_of(row, offset).map(|n| n as i64);
        Ok(AllocUnitRow {
            id: u64_of(row, 4)?,
            kind: u8_of(row, 12)?,
            owner: u64_of(row, 13)?,
            first: page(27)?,
            root: page(33)?,
            first_iam: page(39)?,
            pages: [count(53)?, count(45)?, count(61)?],
        })
    }
}

/// A row of `sysrowsets`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowsetRow {
    /// `rowsetid`
    pub id: u64,
    /// 1: rows of a table or entries of an index.
    pub owner_type: u8,
    /// The object.
    pub object: u32,
    /// The index; 0 for a heap.
    pub index: u32,
    /// The partition, from 1.
    pub partition: u32,
    /// Bit 0x100: memory-optimised.
    pub status: u32,
    /// `rcrows`
    pub rows: u64,
    /// 0 none, 1 row, 2 page, 3 and 4 columnstore.
    pub compression: u8,
}

impl RowsetRow {
    /// Reads a row.
    pub fn read(row: &FixedVar<'_>) -> Result<Self> {
        Ok(RowsetRow {
            id: u64_of(row, 4)?,
            owner_type: u8_of(row, 12)?,
            object: u32_of(row, 13)?,
            index: u32_of(row, 17)?,
            partition: u32_of(row, 21)?,
            status: u32_of(row, 25)?,
            rows: u64_of(row, 31)?,
            // The row of 2005 ends at 39.
            compression: if row.fixed_end() > 39 { u8_of(row, 39)? } else { 0 },
        })
    }
}

/// A column of a rowset: `sysrscols`, or a pair of rows of 2005.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowsetColumnRow {
    /// The rowset.
    pub rowset: u64,
    /// `rscolid`: the column id, for columns that are not dropped.
    pub column: u32,
    /// `hbcolid`: counts the columns as they were added to the rowset.
    pub hobt_column: u32,
    /// See [`rowset_column`].
    pub status: u32,
    /// `system_type_id`
    pub xtype: u8,
    /// Bytes of a value at most; 0 for `(max)` types.
    pub length: u16,
    /// Digits of a decimal.
    pub precision: u8,
    /// Digits after the point, or of a second.
    pub scale: u8,
    /// Not negative: offset in the row; negative: number of the variable column, from -1; 0 in sparse columns.
    pub leaf_offset: i16,
    /// Bit in the NULL bitmap, from 1; 0 where there is none.
    pub leaf_null_bit: u16,
    /// Bit in its byte, of a `bit` column.
    pub leaf_bit: u8,
    /// Place in the key of the rowset, from 1; 0: not in it.
    pub key_ordinal: u16,
}

/// Bits of [`RowsetColumnRow::status`].
pub mod rowset_column {
    /// The column was dropped: its bytes are still in the rows.
    pub const DROPPED: u32 = 0x2;
    /// What makes rows of a clustered index that is not unique unique.
    pub const UNIQUIFIER: u32 = 0x10;
    /// NOT NULL
    pub const NOT_NULL: u32 = 0x80;
    /// In the vector of sparse columns.
    pub const SPARSE: u32 = 0x100;
    /// Ids from here on are of dropped columns.
    pub const FIRST_DROPPED: u32 = 0x0400_0000;
}

impl RowsetColumnRow {
    /// Reads a row of `sysrscols`.
    pub fn read(row: &FixedVar<'_>) -> Result<Self> {
        let [xtype, a, b, _] = row.fixed_array(28)?;
        let (mut length, mut precision, mut scale) = (u16::from_le_bytes([a, b]), 0, 0);
        match xtype {
            xtype::DECIMAL | xtype::NUMERIC => (length, precision, scale) = (xtype::decimal_len(a), a, b),
            xtype::TIME | xtype::DATETIME2 | xtype::DATETIMEOFFSET => (length, scale) = (0, a),
            _ => {}
        }
        Ok(RowsetColumnRow {
            rowset: u64_of(row, 4)?,
            column: u32_of(row, 12)?,
            hobt_column: u32_of(row, 16)?,
            key_ordinal: u16_of(row, 36)?,
            status: u32_of(row, 40)?,
            xtype,
            length,
            precision,
            scale,
            leaf_offset: i16_of(row, 44)?,
            leaf_null_bit: u16_of(row, 48)?,
            leaf_bit: u8_of(row, 52)?,
        })
    }

    /// Whether a table of today has this column.
    pub fn is_live(&self) -> bool {
        self.status & rowset_column::DROPPED == 0
            && self.column < rowset_column::FIRST_DROPPED
            && self.status & rowset_column::UNIQUIFIER == 0
    }

    /// Bytes of a value in the fixed part of a row.
    pub fn fixed_len(&self) -> Option<u16> {
        xtype::fixed_len(self.xtype, self.length, self.precision, self.scale)
    }
}

/// A row of `sysrowsetcolumns` of 2005.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowsetColumn2005 {
    /// The rowset.
    pub rowset: u64,
    /// The column id.
    pub column: u32,
    /// What to look up among the rows of `syshobtcolumns`.
    pub hobt_column: u32,
    /// See [`rowset_column`].
    pub status: u32,
}

impl RowsetColumn2005 {
    /// Reads a row.
    pub fn read(row: &FixedVar<'_>) -> Result<Self> {
        Ok(RowsetColumn2005 {
            rowset: u64_of(row, 4)?,
            column: u32_of(row, 12)?,
            hobt_column: u32_of(row, 16)?,
            status: u32_of(row, 20)?,
        })
    }

    /// The column, with its row of `syshobtcolumns`. In 2005 a rowset and its HoBt have the same id.
    pub fn with(self, hobt: &FixedVar<'_>) -> Result<RowsetColumnRow> {
        Ok(RowsetColumnRow {
            rowset: self.rowset,
            column: self.column,
            hobt_column: self.hobt_column,
            status: self.status & rowset_column::DROPPED,
            key_ordinal: u16_of(hobt, 20)?,
            xtype: u8_of(hobt, 22)?,
            length: u16_of(hobt, 23)?,
            precision: u8_of(hobt, 25)?,
            scale: u8_of(hobt, 26)?,
            leaf_offset: i16_of(hobt, 31)?,
            leaf_bit: u8_of(hobt, 35)?,
            leaf_null_bit: u16_of(hobt, 37)?,
        })
    }

    /// The rowset and column that a row of `syshobtcolumns` speaks of.
    pub fn hobt_key(hobt: &FixedVar<'_>) -> Result<(u64, u32)> {
        Ok((u64_of(hobt, 4)?, u32_of(hobt, 12)?))
    }
}

//! Rows of the system base tables: what a database says of itself.
//!
//! The layouts of these tables are fixed per version. Up to 2005 the columns of rowsets are in two tables, `sysrowsetcolumns` (4) and
//! `syshobtcolumns` (13), from 2008 in one, `sysrscols` (3). All others are the same from 2005 to 2025 in the parts that are read here;
//! each database describes them in its own `syscolpars`, which is where these offsets were checked.

mod storage;
pub mod xtype;

use logferry_model::{Collation, SqlType};

use crate::boot::utf16;
use crate::bytes::{Malformed, Result};
use crate::row::FixedVar;

pub use storage::{AllocUnitRow, RowsetColumn2005, RowsetColumnRow, RowsetRow, rowset_column};

/// Object ids of the base tables that are read.
pub mod object {
    /// `sysrscols`, from 2008
    pub const SYSRSCOLS: u32 = 3;
    /// `sysrowsetcolumns`, 2005
    pub const SYSROWSETCOLUMNS: u32 = 4;
    /// `sysrowsets`
    pub const SYSROWSETS: u32 = 5;
    /// `sysallocunits`
    pub const SYSALLOCUNITS: u32 = 7;
    /// `sysseobjvalues`, from 2012
    pub const SYSSEOBJVALUES: u32 = 9;
    /// `syshobtcolumns`, 2005
    pub const SYSHOBTCOLUMNS: u32 = 13;
    /// `sysschobjs`
    pub const SYSSCHOBJS: u32 = 34;
    /// `syscolpars`
    pub const SYSCOLPARS: u32 = 41;
    /// `sysscalartypes`
    pub const SYSSCALARTYPES: u32 = 50;
    /// `sysidxstats`
    pub const SYSIDXSTATS: u32 = 54;
    /// `sysiscols`
    pub const SYSISCOLS: u32 = 55;
    /// `sysclsobjs`
    pub const SYSCLSOBJS: u32 = 64;
}

/// The rowset id of a base table's rows: the only ids that follow a rule.
pub const fn base_rowset(object: u32, index: u16) -> u64 {
    (index as u64) << 48 | (object as u64) << 16
}

/// Whether a rowset or an allocation unit is a base table's, by its id. Those of user tables count up from 2^56; in databases made on SQL
/// Server 2000 they are made of the table's id as those of base tables are, and ids of base tables are small (observed on 2005).
pub const fn is_base_rowset(id: u64) -> bool {
    const USER_OBJECTS: u32 = 1 << 12;
    id >> 48 < 1 << 8 && ((id >> 16) as u32) < USER_OBJECTS
}

fn u8_of(row: &FixedVar<'_>, offset: usize) -> Result<u8> {
    row.fixed_array(offset).map(|[b]| b)
}

fn u16_of(row: &FixedVar<'_>, offset: usize) -> Result<u16> {
    row.fixed_array(offset).map(u16::from_le_bytes)
}

fn i16_of(row: &FixedVar<'_>, offset: usize) -> Result<i16> {
    row.fixed_array(offset).map(i16::from_le_bytes)
}

fn u32_of(row: &FixedVar<'_>, offset: usize) -> Result<u32> {
    row.fixed_array(offset).map(u32::from_le_bytes)
}

fn u64_of(row: &FixedVar<'_>, offset: usize) -> Result<u64> {
    row.fixed_array(offset).map(u64::from_le_bytes)
}

fn name_of(row: &FixedVar<'_>) -> Result<String> {
    Ok(row.variable(0)?.map(|name| utf16(name.bytes)).unwrap_or_default())
}

/// A row of `sysschobjs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRow {
    /// The object.
    pub id: u32,
    /// Its schema.
    pub schema: u32,
    /// Bit 1: made by Microsoft.
    pub status: u32,
    /// `U ` for user tables.
    pub kind: [u8; 2],
    /// Its name.
    pub name: String,
}

impl ObjectRow {
    /// Reads a row.
    pub fn read(row: &FixedVar<'_>) -> Result<Self> {
        Ok(ObjectRow {
            id: u32_of(row, 4)?,
            schema: u32_of(row, 8)?,
            status: u32_of(row, 13)?,
            kind: row.fixed_array(17)?,
            name: name_of(row)?,
        })
    }

    /// Whether it is a table that users made, history tables and `sysdiagrams` among them.
    pub fn is_user_table(&self) -> bool {
        self.kind == *b"U " && self.status & 1 == 0
    }
}

/// A row of `syscolpars`: a column, or a parameter of a procedure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnRow {
    /// The object.
    pub object: u32,
    /// 0 for columns.
    pub number: u16,
    /// `column_id`
    pub id: u32,
    /// Its name.
    pub name: String,
    /// `system_type_id`
    pub xtype: u8,
    /// `user_type_id`
    pub utype: u32,
    /// Bytes at most, -1 for `(max)`.
    pub length: i16,
    /// Digits of a number.
    pub precision: u8,
    /// Digits after the point, or of a second.
    pub scale: u8,
    /// Collation, 0 where there is none.
    pub collation: u32,
    /// See [`column`].
    pub status: u32,
    /// `idtval`: what an identity column keeps.
    pub identity: Option<Vec<u8>>,
}

/// Bits of [`ColumnRow::status`].
pub mod column {
    /// NOT NULL
    pub const NOT_NULL: u32 = 0x1;
    /// IDENTITY
    pub const IDENTITY: u32 = 0x4;
    /// Computed; its values are stored where its rowset has the column.
    pub const COMPUTED: u32 = 0x10;
    /// FILESTREAM
    pub const FILESTREAM: u32 = 0x20;
    /// The XML view of the sparse columns.
    pub const COLUMN_SET: u32 = 0x200_0000;
}

impl ColumnRow {
    /// Reads a row.
    pub fn read(row: &FixedVar<'_>) -> Result<Self> {
        let identity = match row.variable(1)? {
            Some(value) if !value.bytes.is_empty() && !row.is_null(15) => Some(value.bytes.to_vec()),
            _ => None,
        };
        Ok(ColumnRow {
            object: u32_of(row, 4)?,
            number: u16_of(row, 8)?,
            id: u32_of(row, 10)?,
            name: name_of(row)?,
            xtype: u8_of(row, 14)?,
            utype: u32_of(row, 15)?,
            length: i16_of(row, 19)?,
            precision: u8_of(row, 21)?,
            scale: u8_of(row, 22)?,
            collation: u32_of(row, 23)?,
            status: u32_of(row, 27)?,
            identity,
        })
    }

    /// The type, alias types resolved to their base.
    pub fn sql_type(&self) -> SqlType {
        let collation = Collation(self.collation);
        let bytes = u16::try_from(self.length).ok();
        let chars = bytes.map(|n| n / 2);
        match self.xtype {
            48 => SqlType::TinyInt,
            52 => SqlType::SmallInt,
            56 => SqlType::Int,
            127 => SqlType::BigInt,
            104 => SqlType::Bit,
            xtype::DECIMAL | xtype::NUMERIC => SqlType::Decimal { precision: self.precision, scale: self.scale },
            122 => SqlType::SmallMoney,
            60 => SqlType::Money,
            59 => SqlType::Real,
            62 => SqlType::Float,
            40 => SqlType::Date,
            xtype::TIME => SqlType::Time { scale: self.scale },
            61 => SqlType::DateTime,
            58 => SqlType::SmallDateTime,
            xtype::DATETIME2 => SqlType::DateTime2 { scale: self.scale },
            xtype::DATETIMEOFFSET => SqlType::DateTimeOffset { scale: self.scale },
            36 => SqlType::UniqueIdentifier,
            175 => SqlType::Char { length: bytes.unwrap_or(0), collation },
            167 => SqlType::VarChar { length: bytes, collation },
            35 => SqlType::Text { collation },
            239 => SqlType::NChar { length: chars.unwrap_or(0), collation },
            231 => SqlType::NVarChar { length: chars, collation },
            99 => SqlType::NText { collation },
            173 => SqlType::Binary { length: bytes.unwrap_or(0) },
            165 if self.utype == 255 => SqlType::Vector,
            165 => SqlType::VarBinary { length: bytes },
            34 => SqlType::Image,
            189 => SqlType::RowVersion,
            98 => SqlType::Variant,
            241 => SqlType::Xml,
            240 => match self.utype {
                128 => SqlType::HierarchyId,
                129 => SqlType::Geometry,
                130 => SqlType::Geography,
                _ => SqlType::Clr,
            },
            244 => SqlType::Json,
            code => SqlType::Unknown { code },
        }
    }
}

/// A row of `sysscalartypes`: a type, of the system or a user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalarTypeRow {
    /// `user_type_id`
    pub id: u32,
    /// Its schema.
    pub schema: u32,
    /// The type that it is of.
    pub xtype: u8,
    /// Its name.
    pub name: String,
}

impl ScalarTypeRow {
    /// Reads a row.
    pub fn read(row: &FixedVar<'_>) -> Result<Self> {
        Ok(ScalarTypeRow { id: u32_of(row, 4)?, schema: u32_of(row, 8)?, xtype: u8_of(row, 12)?, name: name_of(row)? })
    }

    /// Whether it is an alias type that a user made: those of the system have ids to 256 (`sysname`), CLR types are of 240.
    pub fn is_alias(&self) -> bool {
        self.id > 256 && self.xtype != 240
    }
}

/// A row of `sysidxstats`: an index, or statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexRow {
    /// The table.
    pub object: u32,
    /// 0 heap, 1 clustered.
    pub index: u32,
    /// See [`index`].
    pub status: u32,
    /// 0 heap, 1 clustered, 2 nonclustered, 3 XML, 4 spatial, 5 and 6 columnstore, 7 hash.
    pub kind: u8,
    /// Its name.
    pub name: String,
}

/// Bits of [`IndexRow::status`].
pub mod index {
    /// An index, not only statistics.
    pub const INDEX: u32 = 0x1;
    /// Statistics that the server made by itself.
    pub const AUTOMATIC: u32 = 0x2000;
    /// UNIQUE
    pub const UNIQUE: u32 = 0x8;
    /// PRIMARY KEY
    pub const PRIMARY_KEY: u32 = 0x20;
    /// UNIQUE constraint
    pub const UNIQUE_CONSTRAINT: u32 = 0x40;
    /// Disabled.
    pub const DISABLED: u32 = 0x80;
    /// Hypothetical.
    pub const HYPOTHETICAL: u32 = 0x100;
    /// `WHERE ...`
    pub const FILTERED: u32 = 0x2_0000;
}

impl IndexRow {
    /// Reads a row.
    pub fn read(row: &FixedVar<'_>) -> Result<Self> {
        Ok(IndexRow {
            object: u32_of(row, 4)?,
            index: u32_of(row, 8)?,
            status: u32_of(row, 12)?,
            kind: u8_of(row, 21)?,
            name: name_of(row)?,
        })
    }
}

/// A row of `sysiscols`: a column of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexColumnRow {
    /// The table.
    pub object: u32,
    /// The index, or the statistics.
    pub index: u32,
    /// `subid`: place among the columns, from 1.
    pub place: u32,
    /// The column.
    pub column: u32,
    /// Place in the key, from 1; 0: not in the key.
    pub key_ordinal: u8,
    /// Whether the key is in descending order of it.
    pub descending: bool,
}

impl IndexColumnRow {
    /// Bit of the status: in descending order.
    const DESCENDING: u32 = 0x4;

    /// Reads a row.
    pub fn read(row: &FixedVar<'_>) -> Result<Self> {
        Ok(IndexColumnRow {
            object: u32_of(row, 4)?,
            index: u32_of(row, 8)?,
            place: u32_of(row, 12)?,
            column: u32_of(row, 20)?,
            key_ordinal: u8_of(row, 24)?,
            descending: u32_of(row, 16)? & Self::DESCENDING != 0,
        })
    }
}

/// A row of `sysclsobjs`: schemas, among others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassObjectRow {
    /// [`ClassObjectRow::SCHEMA`] for schemas.
    pub class: u8,
    /// Its id in its class.
    pub id: u32,
    /// Its name.
    pub name: String,
}

impl ClassObjectRow {
    /// The class of schemas.
    pub const SCHEMA: u8 = 50;

    /// Reads a row.
    pub fn read(row: &FixedVar<'_>) -> Result<Self> {
        Ok(ClassObjectRow { class: u8_of(row, 4)?, id: u32_of(row, 5)?, name: name_of(row)? })
    }
}

/// A row of `sysseobjvalues`: the value that rows have in a column that was added with a default after they were written.
///
/// `sys.system_internals_partition_columns` shows it as `default_value`. The layout follows the table's description in `syscolpars` of 2012 to
/// 2022; no such default was in the files at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultRow {
    /// The rowset.
    pub rowset: u64,
    /// [`RowsetColumnRow::hobt_column`]
    pub hobt_column: u64,
    /// The value as a cell of its type has it.
    pub value: Option<Vec<u8>>,
}

impl DefaultRow {
    const OUT_OF_ROW_DEFAULT: u8 = 1;

    /// Reads a row; `None` where it is about something else.
    pub fn read(row: &FixedVar<'_>) -> Result<Option<Self>> {
        if u8_of(row, 4)? != Self::OUT_OF_ROW_DEFAULT || u32_of(row, 21)? != 0 {
            return Ok(None);
        }
        let value = match (row.variable(0)?, row.variable(1)?) {
            (Some(variant), _) if !variant.bytes.is_empty() && !variant.complex => {
                Some(variant_value(variant.bytes)?.to_vec())
            }
            (_, Some(image)) if !image.complex && !row.is_null(5) => Some(image.bytes.to_vec()),
            _ => None,
        };
        Ok(Some(DefaultRow { rowset: u64_of(row, 5)?, hobt_column: u64_of(row, 13)?, value }))
    }
}

/// The value in a `sql_variant`, without the type and its properties.
pub fn variant_value(variant: &[u8]) -> Result<&[u8]> {
    let short = || Malformed::new("a sql_variant is too short for its type", 0);
    let xtype = *variant.first().ok_or_else(short)?;
    let properties = match xtype {
        xtype::DECIMAL | xtype::NUMERIC | 165 | 173 => 2,
        xtype::TIME | xtype::DATETIME2 | xtype::DATETIMEOFFSET => 1,
        167 | 175 | 231 | 239 => 6,
        _ => 0,
    };
    variant.get(2 + properties..).ok_or_else(short)
}

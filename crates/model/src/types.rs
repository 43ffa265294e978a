//! SQL Server's types, and the bytes that a cell of each holds.

/// A collation as the storage engine knows it: the 32-bit id of `syscolpars.collationid`.
///
/// Not the five bytes of TDS. Bits 0-6 are an index of locales, bit 7 is UTF-8, the top byte the SQL sort id; what
/// code page follows from it is `transform`'s business, and its `collation` module has all bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Collation(pub u32);

/// The type of a column, with what is needed to read a cell of it.
///
/// The cell's bytes are those of an uncompressed row on a page, little-endian:
///
/// | type | bytes of a cell |
/// |---|---|
/// | `Bit` | one byte, 0 or 1 |
/// | `TinyInt`, `SmallInt`, `Int`, `BigInt` | `u8`, `i16`, `i32`, `i64` |
/// | `SmallMoney`, `Money` | `i32`, `i64`, in 1/10,000 |
/// | `Real`, `Float` | IEEE 754, 4 and 8 bytes |
/// | `Decimal` | `u8` sign (1 = not negative), then the magnitude in 4, 8, 12 or 16 bytes |
/// | `DateTime` | `u32` ticks of 1/300 s, `i32` days since 1900-01-01 |
/// | `SmallDateTime` | `u16` minutes, `u16` days since 1900-01-01 |
/// | `Date` | 3 bytes, days since 0001-01-01 |
/// | `Time` | 3, 4 or 5 bytes (scale 0-2, 3-4, 5-7), units of 10^-scale s |
/// | `DateTime2` | time, then date |
/// | `DateTimeOffset` | datetime2 in UTC, then `i16` minutes |
/// | `UniqueIdentifier` | 16 bytes, the first three groups little-endian |
/// | `Char`, `VarChar`, `Text` | code-page bytes; `Char` with its padding |
/// | `NChar`, `NVarChar`, `NText` | UTF-16LE, perhaps with lone surrogates; `NChar` with its padding |
/// | `Binary`, `VarBinary`, `Image`, `RowVersion` | the bytes, `RowVersion` most significant first |
/// | `Variant` | `u8` base type, `u8` version, properties, value |
/// | `Xml` | binary XML; `HierarchyId`, `Geometry`, `Geography`, `Clr`: their own serialisation |
/// | `Json`, `Vector` | 2025's own binary forms |
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SqlType {
    /// `bit`
    Bit,
    /// `tinyint`, 0 to 255
    TinyInt,
    /// `smallint`
    SmallInt,
    /// `int`
    Int,
    /// `bigint`
    BigInt,
    /// `decimal(p,s)` or `numeric(p,s)`
    Decimal {
        /// digits in all, 1 to 38
        precision: u8,
        /// digits after the point
        scale: u8,
    },
    /// `smallmoney`
    SmallMoney,
    /// `money`
    Money,
    /// `real`, `float(24)`
    Real,
    /// `float`, `float(53)`
    Float,
    /// `date`
    Date,
    /// `time(n)`
    Time {
        /// digits of a second, 0 to 7
        scale: u8,
    },
    /// `datetime`
    DateTime,
    /// `smalldatetime`
    SmallDateTime,
    /// `datetime2(n)`
    DateTime2 {
        /// digits of a second, 0 to 7
        scale: u8,
    },
    /// `datetimeoffset(n)`
    DateTimeOffset {
        /// digits of a second, 0 to 7
        scale: u8,
    },
    /// `uniqueidentifier`
    UniqueIdentifier,
    /// `char(n)`
    Char {
        /// bytes
        length: u16,
        /// decides the code page
        collation: Collation,
    },
    /// `varchar(n)`; `varchar(max)` where the length is `None`
    VarChar {
        /// bytes
        length: Option<u16>,
        /// decides the code page
        collation: Collation,
    },
    /// `text`
    Text {
        /// decides the code page
        collation: Collation,
    },
    /// `nchar(n)`
    NChar {
        /// UTF-16 units
        length: u16,
        /// not needed to read it
        collation: Collation,
    },
    /// `nvarchar(n)`; `nvarchar(max)` where the length is `None`
    NVarChar {
        /// UTF-16 units
        length: Option<u16>,
        /// not needed to read it
        collation: Collation,
    },
    /// `ntext`
    NText {
        /// not needed to read it
        collation: Collation,
    },
    /// `binary(n)`
    Binary {
        /// bytes
        length: u16,
    },
    /// `varbinary(n)`; `varbinary(max)` where the length is `None`
    VarBinary {
        /// bytes
        length: Option<u16>,
    },
    /// `image`
    Image,
    /// `rowversion`, `timestamp`
    RowVersion,
    /// `sql_variant`
    Variant,
    /// `xml`
    Xml,
    /// `hierarchyid`
    HierarchyId,
    /// `geometry`
    Geometry,
    /// `geography`
    Geography,
    /// a CLR user type
    Clr,
    /// `json`, of 2025
    Json,
    /// `vector(n)`, of 2025
    Vector,
    /// A type code that this version does not know: its bytes are handed on as they are.
    Unknown {
        /// `sys.types.system_type_id`
        code: u8,
    },
}

impl SqlType {
    /// Whether values can be so large that they are kept outside the row.
    pub fn is_lob(&self) -> bool {
        matches!(
            self,
            SqlType::VarChar { length: None, .. }
                | SqlType::NVarChar { length: None, .. }
                | SqlType::VarBinary { length: None }
                | SqlType::Text { .. }
                | SqlType::NText { .. }
                | SqlType::Image
                | SqlType::Xml
                | SqlType::Clr
                | SqlType::Geometry
                | SqlType::Geography
                | SqlType::Json
        )
    }
}

//! Types as the system tables say them, and the bytes that their values take.

use logferry_model::{Collation, SqlType};

use super::super::Error;

/// Bytes of a value of a type of fixed length.
pub(crate) fn fixed_len(sql_type: &SqlType) -> Option<u16> {
    let time = |scale: u8| match scale {
        0..=2 => 3,
        3..=4 => 4,
        _ => 5,
    };
    Some(match sql_type {
        SqlType::Bit | SqlType::TinyInt => 1,
        SqlType::SmallInt => 2,
        SqlType::Int | SqlType::SmallMoney | SqlType::Real | SqlType::SmallDateTime => 4,
        SqlType::BigInt | SqlType::Money | SqlType::Float | SqlType::DateTime | SqlType::RowVersion => 8,
        SqlType::Decimal { precision, .. } => match precision {
            0..=9 => 5,
            10..=19 => 9,
            20..=28 => 13,
            _ => 17,
        },
        SqlType::Date => 3,
        SqlType::Time { scale } => time(*scale),
        SqlType::DateTime2 { scale } => time(*scale) + 3,
        SqlType::DateTimeOffset { scale } => time(*scale) + 5,
        SqlType::UniqueIdentifier => 16,
        SqlType::Char { length, .. } | SqlType::Binary { length } => *length,
        SqlType::NChar { length, .. } => 2 * length,
        _ => return None,
    })
}

/// What `sysrscols` and `syscolpars` say of a type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TypeCodes {
    pub xtype: u8,
    pub utype: u32,
    pub length: u16,
    pub precision: u8,
    pub scale: u8,
    pub collation: u32,
    /// `sysrscols.ti`
    pub ti: u32,
    /// `sysrscols.maxinrowlen`
    pub max_in_row: u16,
}

impl TypeCodes {
    pub fn of(sql_type: &SqlType) -> Result<Self, Error> {
        let number = |xtype: u8, precision: u8, scale: u8| TypeCodes {
            xtype,
            utype: u32::from(xtype),
            length: fixed_len(sql_type).unwrap_or(0),
            precision,
            scale,
            ti: u32::from(xtype),
            ..TypeCodes::default()
        };
        let sized = |xtype: u8, bytes: u16, collation: Collation| TypeCodes {
            xtype,
            utype: u32::from(xtype),
            length: bytes,
            collation: collation.0,
            ti: u32::from(xtype) | u32::from(bytes) << 8,
            ..TypeCodes::default()
        };
        let max = |xtype: u8, collation: Collation| TypeCodes {
            xtype,
            utype: u32::from(xtype),
            length: 0xFFFF,
            collation: collation.0,
            ti: u32::from(xtype),
            max_in_row: 8000,
            ..TypeCodes::default()
        };
        let old_lob = |xtype: u8, collation: Collation| TypeCodes {
            xtype,
            utype: u32::from(xtype),
            length: 16,
            collation: collation.0,
            ti: u32::from(xtype) | 16 << 8,
            ..TypeCodes::default()
        };
        let scaled = |xtype: u8, precision: u8, scale: u8| TypeCodes {
            ti: u32::from(xtype) | u32::from(scale) << 8,
            ..number(xtype, precision, scale)
        };
        let none = Collation(0);
        Ok(match sql_type {
            SqlType::Bit => number(104, 1, 0),
            SqlType::TinyInt => number(48, 3, 0),
            SqlType::SmallInt => number(52, 5, 0),
            SqlType::Int => number(56, 10, 0),
            SqlType::BigInt => number(127, 19, 0),
            SqlType::SmallMoney => number(122, 10, 4),
            SqlType::Money => number(60, 19, 4),
            SqlType::Real => number(59, 24, 0),
            SqlType::Float => number(62, 53, 0),
            SqlType::Decimal { precision, scale } => TypeCodes {
                ti: 106 | u32::from(*precision) << 8 | u32::from(*scale) << 16,
                ..number(106, *precision, *scale)
            },
            SqlType::DateTime => number(61, 23, 3),
            SqlType::SmallDateTime => number(58, 16, 0),
            SqlType::Date => number(40, 10, 0),
            SqlType::Time { scale } => scaled(41, if *scale == 0 { 8 } else { 9 + scale }, *scale),
            SqlType::DateTime2 { scale } => scaled(42, if *scale == 0 { 19 } else { 20 + scale }, *scale),
            SqlType::DateTimeOffset { scale } => scaled(43, if *scale == 0 { 26 } else { 27 + scale }, *scale),
            SqlType::UniqueIdentifier => number(36, 0, 0),
            SqlType::RowVersion => number(189, 0, 0),
            SqlType::Char { length, collation } => sized(175, *length, *collation),
            SqlType::VarChar { length: Some(length), collation } => sized(167, *length, *collation),
            SqlType::VarChar { length: None, collation } => max(167, *collation),
            SqlType::NChar { length, collation } => sized(239, 2 * length, *collation),
            SqlType::NVarChar { length: Some(length), collation } => sized(231, 2 * length, *collation),
            SqlType::NVarChar { length: None, collation } => max(231, *collation),
            SqlType::Binary { length } => sized(173, *length, none),
            SqlType::VarBinary { length: Some(length) } => sized(165, *length, none),
            SqlType::VarBinary { length: None } => max(165, none),
            SqlType::Text { collation } => old_lob(35, *collation),
            SqlType::NText { collation } => old_lob(99, *collation),
            SqlType::Image => old_lob(34, none),
            SqlType::Xml => max(241, none),
            SqlType::HierarchyId => TypeCodes { xtype: 240, utype: 128, length: 892, ti: 240, ..TypeCodes::default() },
            SqlType::Geometry => TypeCodes { utype: 129, ..max(240, none) },
            SqlType::Geography => TypeCodes { utype: 130, ..max(240, none) },
            SqlType::Variant => TypeCodes { xtype: 98, utype: 98, length: 8016, ti: 98, ..TypeCodes::default() },
            other => return Err(Error::Unsupported(format!("columns of type {other:?}"))),
        })
    }
}

//! Types: their names and codes, which one two of them become, what lengths come out.

use logferry_model::SqlType;

use super::error::{Result, SqlError};
use logferry_mssql_standin_storage::DEFAULT_COLLATION;

/// `nvarchar(n)` of the default collation.
pub(crate) fn nvarchar(length: u16) -> SqlType {
    SqlType::NVarChar { length: Some(length), collation: DEFAULT_COLLATION }
}

pub(crate) fn varchar(length: u16) -> SqlType {
    SqlType::VarChar { length: Some(length), collation: DEFAULT_COLLATION }
}

pub(crate) fn nvarchar_max() -> SqlType {
    SqlType::NVarChar { length: None, collation: DEFAULT_COLLATION }
}

/// `sysname`
pub(crate) fn sysname() -> SqlType {
    nvarchar(128)
}

/// The name, as `sys.types` has it.
pub(crate) fn name(sql_type: &SqlType) -> &'static str {
    match sql_type {
        SqlType::Bit => "bit",
        SqlType::TinyInt => "tinyint",
        SqlType::SmallInt => "smallint",
        SqlType::Int => "int",
        SqlType::BigInt => "bigint",
        SqlType::Decimal { .. } => "decimal",
        SqlType::SmallMoney => "smallmoney",
        SqlType::Money => "money",
        SqlType::Real => "real",
        SqlType::Float => "float",
        SqlType::Date => "date",
        SqlType::Time { .. } => "time",
        SqlType::DateTime => "datetime",
        SqlType::SmallDateTime => "smalldatetime",
        SqlType::DateTime2 { .. } => "datetime2",
        SqlType::DateTimeOffset { .. } => "datetimeoffset",
        SqlType::UniqueIdentifier => "uniqueidentifier",
        SqlType::Char { .. } => "char",
        SqlType::VarChar { .. } => "varchar",
        SqlType::Text { .. } => "text",
        SqlType::NChar { .. } => "nchar",
        SqlType::NVarChar { .. } => "nvarchar",
        SqlType::NText { .. } => "ntext",
        SqlType::Binary { .. } => "binary",
        SqlType::VarBinary { .. } => "varbinary",
        SqlType::Image => "image",
        SqlType::RowVersion => "timestamp",
        SqlType::Variant => "sql_variant",
        SqlType::Xml => "xml",
        SqlType::HierarchyId => "hierarchyid",
        SqlType::Geometry => "geometry",
        SqlType::Geography => "geography",
        SqlType::Clr => "clr",
        SqlType::Json => "json",
        SqlType::Vector => "vector",
        SqlType::Unknown { .. } => "unknown",
    }
}

/// The name in messages: decimals are called numeric there.
pub(crate) fn said(sql_type: &SqlType) -> &'static str {
    match sql_type {
        SqlType::Decimal { .. } => "numeric",
        other => name(other),
    }
}

/// `sys.types.system_type_id`
pub(crate) fn code(sql_type: &SqlType) -> u8 {
    match sql_type {
        SqlType::Image => 34,
        SqlType::Text { .. } => 35,
        SqlType::UniqueIdentifier => 36,
        SqlType::Date => 40,
        SqlType::Time { .. } => 41,
        SqlType::DateTime2 { .. } => 42,
        SqlType::DateTimeOffset { .. } => 43,
        SqlType::TinyInt => 48,
        SqlType::SmallInt => 52,
        SqlType::Int => 56,
        SqlType::SmallDateTime => 58,
        SqlType::Real => 59,
        SqlType::Money => 60,
        SqlType::DateTime => 61,
        SqlType::Float => 62,
        SqlType::Variant => 98,
        SqlType::NText { .. } => 99,
        SqlType::Bit => 104,
        SqlType::Decimal { .. } => 106,
        SqlType::SmallMoney => 122,
        SqlType::BigInt => 127,
        SqlType::VarBinary { .. } => 165,
        SqlType::VarChar { .. } => 167,
        SqlType::Binary { .. } => 173,
        SqlType::Char { .. } => 175,
        SqlType::RowVersion => 189,
        SqlType::NVarChar { .. } => 231,
        SqlType::NChar { .. } => 239,
        SqlType::HierarchyId | SqlType::Geometry | SqlType::Geography | SqlType::Clr => 240,
        SqlType::Xml => 241,
        SqlType::Json => 244,
        SqlType::Vector => 255,
        SqlType::Unknown { code } => *code,
    }
}

/// `sys.types.user_type_id`
pub(crate) fn user_code(sql_type: &SqlType) -> u32 {
    match sql_type {
        SqlType::HierarchyId => 128,
        SqlType::Geometry => 129,
        SqlType::Geography => 130,
        other => code(other).into(),
    }
}

/// `max_length`, `precision` and `scale` of `sys.columns`.
pub(crate) fn sizes(sql_type: &SqlType) -> (i16, u8, u8) {
    let bytes = |n: u16| (n as i16, 0, 0);
    match sql_type {
        SqlType::HierarchyId => (892, 0, 0),
        SqlType::Bit => (1, 1, 0),
        SqlType::TinyInt => (1, 3, 0),
        SqlType::SmallInt => (2, 5, 0),
        SqlType::Int => (4, 10, 0),
        SqlType::BigInt => (8, 19, 0),
        SqlType::SmallMoney => (4, 10, 4),
        SqlType::Money => (8, 19, 4),
        SqlType::Real => (4, 24, 0),
        SqlType::Float => (8, 53, 0),
        SqlType::DateTime => (8, 23, 3),
        SqlType::SmallDateTime => (4, 16, 0),
        SqlType::Date => (3, 10, 0),
        SqlType::Time { scale } => (time_len(*scale), if *scale == 0 { 8 } else { 9 + scale }, *scale),
        SqlType::DateTime2 { scale } => (time_len(*scale) + 3, if *scale == 0 { 19 } else { 20 + scale }, *scale),
        SqlType::DateTimeOffset { scale } => (time_len(*scale) + 5, if *scale == 0 { 26 } else { 27 + scale }, *scale),
        SqlType::UniqueIdentifier => (16, 0, 0),
        SqlType::Decimal { precision, scale } => {
            let len = match precision {
                0..=9 => 5,
                10..=19 => 9,
                20..=28 => 13,
                _ => 17,
            };
            (len, *precision, *scale)
        }
        SqlType::Char { length, .. } | SqlType::Binary { length } => bytes(*length),
        SqlType::NChar { length, .. } => bytes(2 * length),
        SqlType::VarChar { length: Some(n), .. } | SqlType::VarBinary { length: Some(n) } => bytes(*n),
        SqlType::NVarChar { length: Some(n), .. } => bytes(2 * n),
        SqlType::Text { .. } | SqlType::NText { .. } | SqlType::Image => (16, 0, 0),
        SqlType::RowVersion => (8, 0, 0),
        SqlType::Variant => (8016, 0, 0),
        _ => (-1, 0, 0),
    }
}

fn time_len(scale: u8) -> i16 {
    match scale {
        0..=2 => 3,
        3..=4 => 4,
        _ => 5,
    }
}

pub(crate) fn is_text(sql_type: &SqlType) -> bool {
    matches!(
        sql_type,
        SqlType::Char { .. }
            | SqlType::VarChar { .. }
            | SqlType::Text { .. }
            | SqlType::NChar { .. }
            | SqlType::NVarChar { .. }
            | SqlType::NText { .. }
    )
}

pub(crate) fn is_national(sql_type: &SqlType) -> bool {
    matches!(sql_type, SqlType::NChar { .. } | SqlType::NVarChar { .. } | SqlType::NText { .. })
}

pub(crate) fn is_bytes(sql_type: &SqlType) -> bool {
    matches!(sql_type, SqlType::Binary { .. } | SqlType::VarBinary { .. } | SqlType::Image | SqlType::RowVersion)
}

pub(crate) fn is_integer(sql_type: &SqlType) -> bool {
    matches!(sql_type, SqlType::Bit | SqlType::TinyInt | SqlType::SmallInt | SqlType::Int | SqlType::BigInt)
}

pub(crate) fn is_time(sql_type: &SqlType) -> bool {
    family(sql_type) == 5
}

/// Kinds of types that `sql_variant` compares by value.
pub(crate) fn family(sql_type: &SqlType) -> u8 {
    match rank(sql_type) {
        4..=9 => 5,
        10..=11 => 4,
        12..=19 => 3,
        26..=29 => 2,
        30..=31 => 1,
        _ => 0,
    }
}

/// Precedence: where two types meet, the one with the lower number wins.
pub(crate) fn rank(sql_type: &SqlType) -> u8 {
    match sql_type {
        SqlType::Clr
        | SqlType::HierarchyId
        | SqlType::Geometry
        | SqlType::Geography
        | SqlType::Json
        | SqlType::Vector => 1,
        SqlType::Variant => 2,
        SqlType::Xml => 3,
        SqlType::DateTimeOffset { .. } => 4,
        SqlType::DateTime2 { .. } => 5,
        SqlType::DateTime => 6,
        SqlType::SmallDateTime => 7,
        SqlType::Date => 8,
        SqlType::Time { .. } => 9,
        SqlType::Float => 10,
        SqlType::Real => 11,
        SqlType::Decimal { .. } => 12,
        SqlType::Money => 13,
        SqlType::SmallMoney => 14,
        SqlType::BigInt => 15,
        SqlType::Int => 16,
        SqlType::SmallInt => 17,
        SqlType::TinyInt => 18,
        SqlType::Bit => 19,
        SqlType::NText { .. } => 20,
        SqlType::Text { .. } => 21,
        SqlType::Image => 22,
        SqlType::RowVersion => 23,
        SqlType::UniqueIdentifier => 24,
        SqlType::NVarChar { .. } => 26,
        SqlType::NChar { .. } => 27,
        SqlType::VarChar { .. } => 28,
        SqlType::Char { .. } => 29,
        SqlType::VarBinary { .. } => 30,
        SqlType::Binary { .. } => 31,
        SqlType::Unknown { .. } => 32,
    }
}

/// Digits before and after the point that a number of an exact type may have.
pub(crate) fn decimal_of(sql_type: &SqlType) -> Option<(u8, u8)> {
    Some(match sql_type {
        SqlType::Decimal { precision, scale } => (*precision, *scale),
        SqlType::Bit => (1, 0),
        SqlType::TinyInt => (3, 0),
        SqlType::SmallInt => (5, 0),
        SqlType::Int => (10, 0),
        SqlType::BigInt => (19, 0),
        SqlType::Money => (19, 4),
        SqlType::SmallMoney => (10, 4),
        _ => return None,
    })
}

/// Characters or bytes at most; `None` is max.
pub(crate) fn char_len(sql_type: &SqlType) -> Option<u16> {
    match sql_type {
        SqlType::Char { length, .. } | SqlType::NChar { length, .. } | SqlType::Binary { length } => Some(*length),
        SqlType::VarChar { length, .. } | SqlType::NVarChar { length, .. } | SqlType::VarBinary { length } => *length,
        SqlType::Text { .. } | SqlType::NText { .. } | SqlType::Image => None,
        SqlType::RowVersion => Some(8),
        SqlType::Bit => Some(1),
        SqlType::TinyInt => Some(3),
        SqlType::SmallInt => Some(6),
        SqlType::Int | SqlType::Real | SqlType::SmallMoney => Some(12),
        SqlType::BigInt | SqlType::Money | SqlType::Float => Some(24),
        SqlType::UniqueIdentifier => Some(36),
        SqlType::Decimal { .. } => Some(41),
        _ => Some(60),
    }
}

/// The type that values of two types become where they meet: in CASE, UNION, comparisons.
pub(crate) fn common(a: &SqlType, b: &SqlType) -> Result<SqlType> {
    if a == b {
        return Ok(a.clone());
    }
    let (high, low) = if rank(a) <= rank(b) { (a, b) } else { (b, a) };
    let longer = || match (char_len(high), char_len(low)) {
        (Some(a), Some(b)) => Some(a.max(b)),
        _ => None,
    };
    let clash = || {
        Err(SqlError::batch(206, format!("Operand type clash: {} is incompatible with {}", said(low), said(high)))
            .state(2))
    };
    Ok(match high {
        SqlType::Decimal { precision, scale } => match decimal_of(low) {
            Some((p, s)) => widest(*precision, *scale, p, s),
            None if is_text(low) || is_bytes(low) => high.clone(),
            None => return clash(),
        },
        SqlType::DateTime2 { scale } | SqlType::DateTimeOffset { scale } | SqlType::Time { scale } => {
            let other = match low {
                SqlType::DateTime2 { scale } | SqlType::Time { scale } => *scale,
                SqlType::DateTime => 3,
                _ => 0,
            };
            if is_integer(low) || matches!(low, SqlType::Decimal { .. } | SqlType::Float | SqlType::Real) {
                return clash();
            }
            let scale = if is_text(low) { *scale } else { (*scale).max(other) };
            match high {
                SqlType::DateTime2 { .. } => SqlType::DateTime2 { scale },
                SqlType::DateTimeOffset { .. } => SqlType::DateTimeOffset { scale },
                _ => SqlType::Time { scale },
            }
        }
        SqlType::Date if !is_text(low) && !is_time(low) => return clash(),
        SqlType::UniqueIdentifier if !is_text(low) && !is_bytes(low) => return clash(),
        SqlType::NVarChar { .. } | SqlType::NChar { .. } => {
            let length = longer();
            match (high, low) {
                (SqlType::NChar { .. }, SqlType::Char { .. }) => {
                    SqlType::NChar { length: length.unwrap_or(4000).min(4000), collation: DEFAULT_COLLATION }
                }
                _ => SqlType::NVarChar { length: length.map(|n| n.min(4000)), collation: DEFAULT_COLLATION },
            }
        }
        SqlType::VarChar { .. } | SqlType::Char { .. } => {
            SqlType::VarChar { length: longer(), collation: DEFAULT_COLLATION }
        }
        SqlType::VarBinary { .. } | SqlType::Binary { .. } => SqlType::VarBinary { length: longer() },
        other => other.clone(),
    })
}

/// Room for the digits of both, cut to 38.
pub(crate) fn widest(p1: u8, s1: u8, p2: u8, s2: u8) -> SqlType {
    let scale = s1.max(s2);
    let whole = (p1 - s1).max(p2 - s2);
    let precision = (whole + scale).min(38);
    SqlType::Decimal { precision, scale: scale.min(38u8.saturating_sub(whole)) }
}

//! Values as rows have them.

use logferry_model::{Collation, SqlType};

use super::super::collation;
use super::super::error::{Result, overflow_of, unsupported};
use super::super::{types, xml};
use super::{Dec, Value, pow10};
use logferry_mssql_standin_storage::DEFAULT_COLLATION;

/// Bytes of `time` and how many ticks of 100 ns its units are.
fn time_unit(scale: u8) -> (usize, u64) {
    let len = match scale {
        0..=2 => 3,
        3..=4 => 4,
        _ => 5,
    };
    (len, 10u64.pow(u32::from(7 - scale.min(7))))
}

fn little(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
}

/// A value of its bytes in a row.
pub fn from_bytes(sql_type: &SqlType, bytes: &[u8]) -> Value {
    let signed = |len: usize| {
        let shift = 64 - 8 * len as u32;
        (little(bytes.get(..len).unwrap_or(bytes)) << shift) as i64 >> shift
    };
    match sql_type {
        SqlType::Bit | SqlType::TinyInt => Value::Int(little(bytes) as i64),
        SqlType::SmallInt => Value::Int(signed(2)),
        SqlType::Int => Value::Int(signed(4)),
        SqlType::BigInt => Value::Int(signed(8)),
        SqlType::SmallMoney => Value::Money(signed(4)),
        SqlType::Money => Value::Money(signed(8)),
        SqlType::Real => Value::Float(f64::from(f32::from_bits(little(bytes) as u32))),
        SqlType::Float => Value::Float(f64::from_bits(little(bytes))),
        SqlType::Decimal { scale, .. } => {
            let (sign, magnitude) = bytes.split_first().unwrap_or((&1, &[]));
            let magnitude = magnitude.iter().rev().fold(0i128, |n, b| n << 8 | i128::from(*b));
            Value::Dec(Dec { mantissa: if *sign == 0 { -magnitude } else { magnitude }, scale: *scale })
        }
        SqlType::DateTime => {
            let (ticks, days) = bytes.split_at(bytes.len().min(4));
            Value::DateTime(little(days) as u32 as i32, little(ticks) as u32)
        }
        SqlType::SmallDateTime => {
            let (minutes, days) = bytes.split_at(bytes.len().min(2));
            Value::DateTime(little(days) as i32, little(minutes) as u32 * 60 * 300)
        }
        SqlType::Date => Value::Date(little(bytes) as i32),
        SqlType::Time { scale } => Value::Time(little(bytes) * time_unit(*scale).1),
        SqlType::DateTime2 { scale } => {
            let (len, unit) = time_unit(*scale);
            let (time, date) = bytes.split_at(len.min(bytes.len()));
            Value::DateTime2(little(date) as i32, little(time) * unit)
        }
        SqlType::DateTimeOffset { scale } => {
            let (len, unit) = time_unit(*scale);
            let (time, rest) = bytes.split_at(len.min(bytes.len()));
            let (date, offset) = rest.split_at(rest.len().min(3));
            Value::Offset(little(date) as i32, little(time) * unit, little(offset) as u16 as i16)
        }
        SqlType::UniqueIdentifier => Value::Guid(std::array::from_fn(|at| bytes.get(at).copied().unwrap_or(0))),
        SqlType::Char { collation, .. } | SqlType::VarChar { collation, .. } | SqlType::Text { collation } => {
            Value::Text(collation::decode(bytes, *collation))
        }
        SqlType::NChar { .. } | SqlType::NVarChar { .. } | SqlType::NText { .. } => {
            Value::Text(bytes.chunks_exact(2).map(|c| little(c) as u16).collect())
        }
        SqlType::Xml => Value::Text(xml::from_binary(bytes)),
        SqlType::Variant => variant_from(bytes).unwrap_or(Value::Null),
        _ => Value::Bytes(bytes.to_vec()),
    }
}

/// The bytes in a row of a value that is of this type; `None` is NULL.
///
/// # Errors
/// Where the number has more digits than the type.
pub fn to_bytes(sql_type: &SqlType, value: &Value) -> Result<Option<Vec<u8>>> {
    let cut = |n: u64, len: usize| n.to_le_bytes().get(..len).map(<[u8]>::to_vec).unwrap_or_default();
    Ok(Some(match (value, sql_type) {
        (Value::Null, _) => return Ok(None),
        (Value::Int(n), SqlType::Bit | SqlType::TinyInt) => vec![*n as u8],
        (Value::Int(n), SqlType::SmallInt) => (*n as i16).to_le_bytes().to_vec(),
        (Value::Int(n), SqlType::Int) => (*n as i32).to_le_bytes().to_vec(),
        (Value::Int(n), SqlType::BigInt) => n.to_le_bytes().to_vec(),
        (Value::Money(n), SqlType::SmallMoney) => (*n as i32).to_le_bytes().to_vec(),
        (Value::Money(n), _) => n.to_le_bytes().to_vec(),
        (Value::Float(f), SqlType::Real) => (*f as f32).to_le_bytes().to_vec(),
        (Value::Float(f), _) => f.to_le_bytes().to_vec(),
        (Value::Dec(d), SqlType::Decimal { precision, scale }) => {
            let d = d
                .rescale(*scale)
                .filter(|d| pow10(*precision).is_none_or(|limit| d.mantissa.abs() < limit))
                .ok_or_else(|| overflow_of("numeric", "numeric"))?;
            let len = match precision {
                0..=9 => 4,
                10..=19 => 8,
                20..=28 => 12,
                _ => 16,
            };
            let mut out = vec![u8::from(d.mantissa >= 0)];
            out.extend(d.mantissa.unsigned_abs().to_le_bytes().iter().take(len));
            out
        }
        (Value::DateTime(days, ticks), SqlType::SmallDateTime) => {
            let mut out = ((ticks / 18_000) as u16).to_le_bytes().to_vec();
            out.extend((*days as u16).to_le_bytes());
            out
        }
        (Value::DateTime(days, ticks), _) => {
            let mut out = ticks.to_le_bytes().to_vec();
            out.extend(days.to_le_bytes());
            out
        }
        (Value::Date(days), _) => cut(*days as u64, 3),
        (Value::Time(t), SqlType::Time { scale }) => {
            let (len, unit) = time_unit(*scale);
            cut(t / unit, len)
        }
        (Value::DateTime2(days, t), SqlType::DateTime2 { scale }) => {
            let (len, unit) = time_unit(*scale);
            let mut out = cut(t / unit, len);
            out.extend(cut(*days as u64, 3));
            out
        }
        (Value::Offset(days, t, minutes), SqlType::DateTimeOffset { scale }) => {
            let (len, unit) = time_unit(*scale);
            let mut out = cut(t / unit, len);
            out.extend(cut(*days as u64, 3));
            out.extend(minutes.to_le_bytes());
            out
        }
        (Value::Guid(g), _) => g.to_vec(),
        (
            Value::Text(t),
            SqlType::Char { collation, .. } | SqlType::VarChar { collation, .. } | SqlType::Text { collation },
        ) => collation::encode(t, *collation),
        (Value::Text(t), SqlType::Xml) => xml::to_binary(&String::from_utf16_lossy(t)),
        (Value::Text(t), _) => t.iter().flat_map(|u| u.to_le_bytes()).collect(),
        (Value::Bytes(b), _) => b.clone(),
        (Value::Variant(v), _) => variant_bytes(&v.0, &v.1)?,
        (value, sql_type) => return Err(unsupported(format!("{value:?} as {sql_type:?}"))),
    }))
}

/// A `sql_variant`: base type, version 1, properties, value.
fn variant_bytes(base: &SqlType, value: &Value) -> Result<Vec<u8>> {
    let Some(bytes) = to_bytes(base, value)? else { return Ok(Vec::new()) };
    let mut out = vec![types::code(base), 1];
    let sized = |out: &mut Vec<u8>, bytes: u16, collation: Collation| {
        out.extend(bytes.to_le_bytes());
        out.extend(collation.0.to_le_bytes());
    };
    match base {
        SqlType::Decimal { precision, scale } => out.extend([*precision, *scale]),
        SqlType::Time { scale } | SqlType::DateTime2 { scale } | SqlType::DateTimeOffset { scale } => out.push(*scale),
        SqlType::Char { length, collation } => sized(&mut out, *length, *collation),
        SqlType::NChar { length, collation } => sized(&mut out, 2 * length, *collation),
        SqlType::VarChar { length, collation } => sized(&mut out, length.unwrap_or(8000), *collation),
        SqlType::NVarChar { length, collation } => sized(&mut out, 2 * length.unwrap_or(4000), *collation),
        SqlType::Binary { length } => out.extend(length.to_le_bytes()),
        SqlType::VarBinary { length } => out.extend(length.unwrap_or(8000).to_le_bytes()),
        _ => {}
    }
    out.extend(bytes);
    Ok(out)
}

fn variant_from(bytes: &[u8]) -> Option<Value> {
    let (head, rest) = (bytes.get(..2)?, bytes.get(2..)?);
    let number = || Some(u16::from_le_bytes(rest.get(..2)?.try_into().ok()?));
    let collation = DEFAULT_COLLATION;
    let (base, properties) = match head.first()? {
        104 => (SqlType::Bit, 0),
        48 => (SqlType::TinyInt, 0),
        52 => (SqlType::SmallInt, 0),
        56 => (SqlType::Int, 0),
        127 => (SqlType::BigInt, 0),
        122 => (SqlType::SmallMoney, 0),
        60 => (SqlType::Money, 0),
        59 => (SqlType::Real, 0),
        62 => (SqlType::Float, 0),
        106 | 108 => (SqlType::Decimal { precision: *rest.first()?, scale: *rest.get(1)? }, 2),
        61 => (SqlType::DateTime, 0),
        58 => (SqlType::SmallDateTime, 0),
        40 => (SqlType::Date, 0),
        41 => (SqlType::Time { scale: *rest.first()? }, 1),
        42 => (SqlType::DateTime2 { scale: *rest.first()? }, 1),
        43 => (SqlType::DateTimeOffset { scale: *rest.first()? }, 1),
        36 => (SqlType::UniqueIdentifier, 0),
        175 => (SqlType::Char { length: number()?, collation }, 6),
        167 => (SqlType::VarChar { length: Some(number()?), collation }, 6),
        239 => (SqlType::NChar { length: number()? / 2, collation }, 6),
        231 => (SqlType::NVarChar { length: Some(number()? / 2), collation }, 6),
        173 => (SqlType::Binary { length: number()? }, 2),
        165 => (SqlType::VarBinary { length: Some(number()?) }, 2),
        _ => return None,
    };
    let value = from_bytes(&base, rest.get(properties..)?);
    Some(Value::Variant(Box::new((base, value))))
}

/// 0x80 to 0x9F of code page 1252; where it has none, the C1 control code as Windows maps it.
const HIGH_1252: [u16; 32] = [
    0x20AC, 0x81, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8D, 0x017D,
    0x8F, 0x90, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,
    0x017E, 0x0178,
];

pub(crate) fn from_1252(byte: u8) -> u16 {
    match byte {
        0x80..=0x9F => HIGH_1252.get(usize::from(byte) - 0x80).copied().unwrap_or(0xFFFD),
        b => u16::from(b),
    }
}

/// What the code page has not becomes a question mark, a pair of surrogates two of them.
pub(crate) fn to_1252(text: &[u16]) -> Vec<u8> {
    text.iter()
        .map(|unit| match *unit {
            u @ (0..=0x7F | 0xA0..=0xFF) => u as u8,
            u => HIGH_1252.iter().position(|h| *h == u).map_or(b'?', |at| 0x80 + at as u8),
        })
        .collect()
}

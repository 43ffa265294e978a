//! Values while statements work with them, and their bytes in rows.
//!
//! Text is UTF-16 throughout, so that lone surrogates survive. Text is compared as SQL_Latin1_General_CP1_CI_AS does
//! for most of it: without case (simple folding) and trailing spaces. The *order* is that of folded code points, which
//! is not the collation's: punctuation and accented letters sort elsewhere on a server.

use std::cmp::Ordering;

use logferry_model::{Collation, SqlType};

use super::collation;
use super::error::{Result, SqlError, overflow_of, unsupported};
use logferry_mssql_standin_storage::DEFAULT_COLLATION;

/// Ticks of 100 ns in a day.
pub(crate) const DAY_TICKS: u64 = 864_000_000_000;
/// Days from 0001-01-01 to 1900-01-01.
pub(crate) const DAYS_TO_1900: i32 = 693_595;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// NULL, of any type.
    Null,
    /// `bit` to `bigint`
    Int(i64),
    /// `decimal`
    Dec(Dec),
    /// `money`, `smallmoney`, in 1/10,000
    Money(i64),
    /// `real`, `float`
    Float(f64),
    /// Text of any type, in UTF-16.
    Text(Vec<u16>),
    /// Bytes of any type.
    Bytes(Vec<u8>),
    /// Days since 0001-01-01.
    Date(i32),
    /// Ticks of 100 ns.
    Time(u64),
    /// `datetime`, `smalldatetime`: days since 1900-01-01, ticks of 1/300 s.
    DateTime(i32, u32),
    /// Days since 0001-01-01, ticks of 100 ns.
    DateTime2(i32, u64),
    /// The same in UTC, then minutes of the offset.
    Offset(i32, u64, i16),
    /// In the order of bytes in a row.
    Guid([u8; 16]),
    /// `sql_variant`
    Variant(Box<(SqlType, Value)>),
}

/// A number with digits after the point: `mantissa / 10^scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dec {
    /// All digits, with the sign.
    pub mantissa: i128,
    /// How many are after the point.
    pub scale: u8,
}

impl Dec {
    /// The same number with another scale; rounds half away from zero.
    pub(crate) fn rescale(self, scale: u8) -> Option<Dec> {
        let mantissa = match scale.cmp(&self.scale) {
            Ordering::Equal => self.mantissa,
            Ordering::Greater => self.mantissa.checked_mul(pow10(scale - self.scale)?)?,
            Ordering::Less => match pow10(self.scale - scale) {
                Some(by) => div_round(self.mantissa, by),
                None => 0,
            },
        };
        Some(Dec { mantissa, scale })
    }

    pub(crate) fn to_f64(self) -> f64 {
        self.mantissa as f64 / 10f64.powi(i32::from(self.scale))
    }

    pub(crate) fn text(self) -> String {
        let digits = format!("{:0>1$}", self.mantissa.unsigned_abs(), usize::from(self.scale) + 1);
        let (whole, part) = digits.split_at(digits.len() - usize::from(self.scale));
        let sign = if self.mantissa < 0 { "-" } else { "" };
        if part.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
    }

    pub(crate) fn cmp(self, other: Dec) -> Ordering {
        let scale = self.scale.max(other.scale);
        match (self.rescale(scale), other.rescale(scale)) {
            (Some(a), Some(b)) => a.mantissa.cmp(&b.mantissa),
            _ => self.to_f64().total_cmp(&other.to_f64()),
        }
    }
}

pub(crate) fn pow10(n: u8) -> Option<i128> {
    10i128.checked_pow(u32::from(n))
}

/// Division that rounds half away from zero.
pub(crate) fn div_round(a: i128, b: i128) -> i128 {
    let (q, r) = (a / b, a % b);
    if r.unsigned_abs() >= b.unsigned_abs() - r.unsigned_abs() && r != 0 {
        q + if (a < 0) == (b < 0) { 1 } else { -1 }
    } else {
        q
    }
}

impl Value {
    /// Text of a Rust string.
    pub fn text(text: &str) -> Value {
        Value::Text(text.encode_utf16().collect())
    }

    /// Whether it is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    pub(crate) fn bit(on: bool) -> Value {
        Value::Int(i64::from(on))
    }

    pub(crate) fn opt_text(text: Option<&str>) -> Value {
        text.map_or(Value::Null, Value::text)
    }

    /// Its text, if it is text.
    pub(crate) fn as_text(&self) -> Option<String> {
        match self {
            Value::Text(t) => Some(String::from_utf16_lossy(t)),
            Value::Variant(v) => v.1.as_text(),
            _ => None,
        }
    }

    pub(crate) fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(n) => Some(*n),
            _ => None,
        }
    }
}

/// How two values of the same type compare; `None` where one of them is NULL.
pub(crate) fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    Some(match (a, b) {
        (Value::Null, _) | (_, Value::Null) => return None,
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Dec(a), Value::Dec(b)) => a.cmp(*b),
        (Value::Money(a), Value::Money(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
        (Value::Text(a), Value::Text(b)) => compare_text(a, b),
        (Value::Bytes(a), Value::Bytes(b)) => compare_bytes(a, b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        (Value::Time(a), Value::Time(b)) => a.cmp(b),
        (Value::DateTime(a, s), Value::DateTime(b, t)) => (a, s).cmp(&(b, t)),
        (Value::DateTime2(a, s), Value::DateTime2(b, t)) => (a, s).cmp(&(b, t)),
        (Value::Offset(a, s, _), Value::Offset(b, t, _)) => (a, s).cmp(&(b, t)),
        (Value::Guid(a), Value::Guid(b)) => guid_order(a).cmp(&guid_order(b)),
        (Value::Variant(a), Value::Variant(b)) => return compare_variants(a, b),
        _ => return None,
    })
}

/// Values of one family of types compare by value; else the family decides.
fn compare_variants(a: &(SqlType, Value), b: &(SqlType, Value)) -> Option<Ordering> {
    let common = super::types::common(&a.0, &b.0);
    match common {
        Ok(to) if super::types::family(&a.0) == super::types::family(&b.0) => {
            let a = super::convert::convert(a.1.clone(), &a.0, &to, None).ok()?;
            let b = super::convert::convert(b.1.clone(), &b.0, &to, None).ok()?;
            compare(&a, &b)
        }
        _ => Some(super::types::rank(&b.0).cmp(&super::types::rank(&a.0))),
    }
}

/// Bytes compare as if the shorter ones ended with zeroes.
fn compare_bytes(a: &[u8], b: &[u8]) -> Ordering {
    let trim = |v: &[u8]| v.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    a.get(..trim(a)).cmp(&b.get(..trim(b)))
}

fn guid_order(g: &[u8; 16]) -> [u8; 16] {
    let order = [10, 11, 12, 13, 14, 15, 8, 9, 7, 6, 5, 4, 3, 2, 1, 0];
    order.map(|at| g[at])
}

pub(crate) fn trimmed(text: &[u16]) -> &[u16] {
    let len = text.iter().rposition(|u| *u != 0x20).map_or(0, |last| last + 1);
    text.get(..len).unwrap_or_default()
}

pub(crate) fn fold(unit: u16) -> u16 {
    match u8::try_from(unit) {
        Ok(b) if b.is_ascii() => u16::from(b.to_ascii_lowercase()),
        _ => {
            let mut lower = char::from_u32(u32::from(unit)).into_iter().flat_map(char::to_lowercase);
            match (lower.next(), lower.next()) {
                (Some(c), None) => u16::try_from(u32::from(c)).unwrap_or(unit),
                _ => unit,
            }
        }
    }
}

pub(crate) fn compare_text(a: &[u16], b: &[u16]) -> Ordering {
    trimmed(a).iter().map(|u| fold(*u)).cmp(trimmed(b).iter().map(|u| fold(*u)))
}

/// Equal names of things: the catalog compares as the default collation does.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.eq_ignore_ascii_case(b) || {
        let units = |s: &str| s.encode_utf16().collect::<Vec<u16>>();
        compare_text(&units(a), &units(b)).is_eq()
    }
}

/// A key that is equal for values that compare as equal: for grouping and DISTINCT, where NULLs are alike.
pub(crate) fn group_key(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0),
        Value::Int(n) => {
            out.push(1);
            out.extend(n.to_be_bytes());
        }
        Value::Dec(d) => {
            let mut d = *d;
            while d.scale > 0 && d.mantissa % 10 == 0 {
                d = Dec { mantissa: d.mantissa / 10, scale: d.scale - 1 };
            }
            out.push(2);
            out.extend(d.mantissa.to_be_bytes());
            out.push(d.scale);
        }
        Value::Money(n) => {
            out.push(3);
            out.extend(n.to_be_bytes());
        }
        Value::Float(f) => {
            out.push(4);
            out.extend((if *f == 0.0 { 0.0 } else { *f }).to_bits().to_be_bytes());
        }
        Value::Text(t) => {
            out.push(5);
            let t = trimmed(t);
            out.extend((t.len() as u32).to_be_bytes());
            t.iter().for_each(|u| out.extend(fold(*u).to_be_bytes()));
        }
        Value::Bytes(b) => {
            out.push(6);
            let len = b.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
            out.extend((len as u32).to_be_bytes());
            out.extend(b.iter().take(len));
        }
        Value::Date(d) => {
            out.push(7);
            out.extend(d.to_be_bytes());
        }
        Value::Time(t) => {
            out.push(8);
            out.extend(t.to_be_bytes());
        }
        Value::DateTime(d, t) => {
            out.push(9);
            out.extend(d.to_be_bytes());
            out.extend(t.to_be_bytes());
        }
        Value::DateTime2(d, t) | Value::Offset(d, t, _) => {
            out.push(10);
            out.extend(d.to_be_bytes());
            out.extend(t.to_be_bytes());
        }
        Value::Guid(g) => {
            out.push(11);
            out.extend(g);
        }
        Value::Variant(v) => {
            out.push(12);
            group_key(&v.1, out);
        }
    }
}

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
        SqlType::Xml => Value::Text(super::xml::from_binary(bytes)),
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
        (Value::Text(t), SqlType::Xml) => super::xml::to_binary(&String::from_utf16_lossy(t)),
        (Value::Text(t), _) => t.iter().flat_map(|u| u.to_le_bytes()).collect(),
        (Value::Bytes(b), _) => b.clone(),
        (Value::Variant(v), _) => variant_bytes(&v.0, &v.1)?,
        (value, sql_type) => return Err(unsupported(format!("{value:?} as {sql_type:?}"))),
    }))
}

/// A `sql_variant`: base type, version 1, properties, value.
fn variant_bytes(base: &SqlType, value: &Value) -> Result<Vec<u8>> {
    let Some(bytes) = to_bytes(base, value)? else { return Ok(Vec::new()) };
    let mut out = vec![super::types::code(base), 1];
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

pub(super) fn from_1252(byte: u8) -> u16 {
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

/// A value that the type does not hold.
pub(crate) fn truncated(table: &str, column: &str, value: &Value) -> SqlError {
    let shown: String = match value {
        Value::Text(t) => String::from_utf16_lossy(t),
        _ => String::new(),
    };
    SqlError::new(
        2628,
        format!(
            "String or binary data would be truncated in table '{table}', column '{column}'. Truncated value: '{shown}'."
        ),
    )
}

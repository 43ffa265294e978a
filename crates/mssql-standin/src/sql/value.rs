//! Values while statements work with them, and their bytes in rows.
//!
//! Text is UTF-16 throughout, so that lone surrogates survive. Text is compared as SQL_Latin1_General_CP1_CI_AS does
//! for most of it: without case (simple folding) and trailing spaces. The *order* is that of folded code points, which
//! is not the collation's: punctuation and accented letters sort elsewhere on a server.

mod order;
mod stored;

use std::cmp::Ordering;

use logferry_model::SqlType;

use super::error::SqlError;
pub(crate) use order::{compare, fold, group_key, same_name, trimmed};
pub(crate) use stored::{from_1252, to_1252};
pub use stored::{from_bytes, to_bytes};

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

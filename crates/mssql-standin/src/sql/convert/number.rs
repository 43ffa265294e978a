//! To numbers.

use logferry_model::SqlType;

use super::super::error::{Result, SqlError, conversion_failed, overflow, overflow_of};
use super::super::types::{self, said};
use super::super::value::{Dec, Value, div_round, pow10};
use super::{clash, text_of};

pub(super) fn to_integer(value: Value, from: &SqlType, to: &SqlType) -> Result<Value> {
    let n: i128 = match &value {
        Value::Int(n) => i128::from(*n),
        Value::Dec(d) => d.mantissa / pow10(d.scale).unwrap_or(i128::MAX),
        Value::Money(m) => div_round(i128::from(*m), 10_000),
        Value::Float(f) if f.is_finite() && f.abs() < 1e30 => *f as i128,
        Value::Float(_) => return Err(overflow(types::name(to))),
        Value::Text(_) => {
            let text = text_of(&value);
            let t = text.trim();
            match to {
                SqlType::Bit if t.eq_ignore_ascii_case("true") => 1,
                SqlType::Bit if t.eq_ignore_ascii_case("false") => 0,
                _ if t.is_empty() => 0,
                _ => match t.parse::<i128>() {
                    Ok(n) => n,
                    Err(_) if t.len() > 38 && t.bytes().all(|b| b.is_ascii_digit()) => i128::MAX,
                    Err(_) => return Err(conversion_failed(types::name(from), &text, types::name(to))),
                },
            }
        }
        Value::Bytes(b) => {
            let width = match to {
                SqlType::Bit | SqlType::TinyInt => 1,
                SqlType::SmallInt => 2,
                SqlType::Int => 4,
                _ => 8,
            };
            let tail = b.get(b.len().saturating_sub(width)..).unwrap_or_default();
            let n = tail.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
            match to {
                SqlType::SmallInt => i128::from(n as u16 as i16),
                SqlType::Int => i128::from(n as u32 as i32),
                SqlType::BigInt => i128::from(n as i64),
                _ => i128::from(n),
            }
        }
        Value::DateTime(days, ticks) => i128::from(*days) + i128::from(*ticks >= 12_960_000),
        _ => return Err(clash(from, to)),
    };
    if matches!(to, SqlType::Bit) {
        return Ok(Value::bit(n != 0));
    }
    let range = match to {
        SqlType::TinyInt => 0..=255,
        SqlType::SmallInt => i128::from(i16::MIN)..=i128::from(i16::MAX),
        SqlType::Int => i128::from(i32::MIN)..=i128::from(i32::MAX),
        _ => i128::from(i64::MIN)..=i128::from(i64::MAX),
    };
    if range.contains(&n) {
        return Ok(Value::Int(n as i64));
    }
    let name = types::name(to);
    Err(match (&value, to) {
        (Value::Text(_), SqlType::Int) => SqlError::new(
            248,
            format!(
                "The conversion of the {} value '{}' overflowed an int column.",
                types::name(from),
                text_of(&value)
            ),
        ),
        (Value::Text(_), SqlType::TinyInt | SqlType::SmallInt) => SqlError::new(
            244,
            format!(
                "The conversion of the {} value '{}' overflowed an INT{} column. Use a larger integer column.",
                types::name(from),
                text_of(&value),
                if matches!(to, SqlType::TinyInt) { 1 } else { 2 },
            ),
        ),
        (Value::Int(n), SqlType::TinyInt | SqlType::SmallInt) => {
            SqlError::new(220, format!("Arithmetic overflow error for data type {name}, value = {n}.")).state(2)
        }
        (Value::Dec(_) | Value::Money(_), _) => overflow_of(said(from), name),
        (Value::Text(_), _) => overflow_of(types::name(from), name),
        _ => overflow(name),
    })
}

/// Digits, a point, an exponent if it may have one.
fn parse_decimal(text: &str) -> Option<Dec> {
    let t = text.trim();
    let (negative, body) = match t.strip_prefix('-') {
        Some(body) => (true, body),
        None => (false, t.strip_prefix('+').unwrap_or(t)),
    };
    let (whole, part) = body.split_once('.').unwrap_or((body, ""));
    if whole.len() + part.len() == 0 || !whole.bytes().chain(part.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = part.get(..part.len().min(38)).unwrap_or_default();
    let digits = format!("{whole}{part}");
    let mantissa: i128 = digits
        .trim_start_matches('0')
        .parse()
        .or_else(|e| if digits.bytes().all(|b| b == b'0') { Ok(0) } else { Err(e) })
        .ok()?;
    Some(Dec { mantissa: if negative { -mantissa } else { mantissa }, scale: part.len() as u8 })
}

/// A literal: its type is as narrow as its digits.
pub(crate) fn decimal_literal(text: &str) -> Option<(Dec, SqlType)> {
    let d = parse_decimal(text)?;
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let leading = text.trim_start_matches('-').bytes().take_while(|b| *b == b'0').count();
    let precision = (digits - leading.min(digits)).max(usize::from(d.scale)).clamp(1, 38) as u8;
    Some((d, SqlType::Decimal { precision, scale: d.scale }))
}

pub(super) fn to_decimal(value: Value, from: &SqlType, to: &SqlType, precision: u8, scale: u8) -> Result<Value> {
    let d = match &value {
        Value::Int(n) => Dec { mantissa: i128::from(*n), scale: 0 },
        Value::Dec(d) => *d,
        Value::Money(m) => Dec { mantissa: i128::from(*m), scale: 4 },
        Value::Float(f) => {
            let scaled = f * 10f64.powi(i32::from(scale));
            if !scaled.is_finite() || scaled.abs() >= 1e38 {
                return Err(overflow_of("float", "numeric"));
            }
            // The shortest digits that name the same float are what the server works with, up to 17.
            match parse_decimal(&format!("{f:.*}", usize::from(scale.min(30)))) {
                Some(d) => d,
                None => return Err(overflow_of("float", "numeric")),
            }
        }
        Value::Text(_) => {
            let text = text_of(&value);
            match parse_decimal(&text) {
                Some(d) => d,
                None if text.trim().bytes().all(|b| b.is_ascii_digit()) && !text.trim().is_empty() => {
                    return Err(overflow_of(types::name(from), "numeric"));
                }
                None => {
                    return Err(SqlError::new(
                        8114,
                        format!("Error converting data type {} to numeric.", types::name(from)),
                    )
                    .state(5));
                }
            }
        }
        Value::DateTime(days, ticks) => {
            let f = f64::from(*days) + f64::from(*ticks) / 25_920_000.0;
            return to_decimal(Value::Float(f), &SqlType::Float, to, precision, scale);
        }
        _ => return Err(clash(from, to)),
    };
    d.rescale(scale)
        .filter(|d| pow10(precision).is_none_or(|limit| d.mantissa.abs() < limit))
        .map(Value::Dec)
        .ok_or_else(|| overflow_of(said(from), "numeric"))
}

pub(super) fn to_money(value: Value, from: &SqlType, to: &SqlType) -> Result<Value> {
    let units: Option<i128> = match &value {
        Value::Int(n) => i128::from(*n).checked_mul(10_000),
        Value::Dec(d) => d.rescale(4).map(|d| d.mantissa),
        Value::Money(m) => Some(i128::from(*m)),
        Value::Float(f) => (f.abs() < 1e15).then(|| (f * 10_000.0).round() as i128),
        Value::Text(_) => {
            let text = text_of(&value).replace(['$', ','], "");
            if text.trim().is_empty() {
                Some(0)
            } else {
                match parse_decimal(&text) {
                    Some(d) => d.rescale(4).map(|d| d.mantissa),
                    None => {
                        return Err(SqlError::new(
                            235,
                            "Cannot convert a char value to money. The char value has incorrect syntax.",
                        ));
                    }
                }
            }
        }
        _ => return Err(clash(from, to)),
    };
    let fits = |n: i128| match to {
        SqlType::SmallMoney => i32::try_from(n).is_ok(),
        _ => i64::try_from(n).is_ok(),
    };
    match units {
        Some(n) if fits(n) => Ok(Value::Money(n as i64)),
        _ => Err(overflow_of(said(from), types::name(to))),
    }
}

pub(super) fn to_float(value: Value, from: &SqlType, to: &SqlType) -> Result<Value> {
    let f = match &value {
        Value::Int(n) => *n as f64,
        Value::Dec(d) => d.text().parse().unwrap_or_else(|_| d.to_f64()),
        Value::Money(m) => *m as f64 / 10_000.0,
        Value::Float(f) => *f,
        Value::Text(_) => {
            let text = text_of(&value);
            let t = text.trim();
            let plain = t.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
            match t.parse::<f64>() {
                Ok(f) if plain => f,
                _ if t.is_empty() => 0.0,
                _ => {
                    return Err(SqlError::new(
                        8114,
                        format!("Error converting data type {} to {}.", types::name(from), types::name(to)),
                    )
                    .state(5));
                }
            }
        }
        Value::DateTime(days, ticks) => f64::from(*days) + f64::from(*ticks) / 25_920_000.0,
        _ => return Err(clash(from, to)),
    };
    let f = if matches!(to, SqlType::Real) { f64::from(f as f32) } else { f };
    if f.is_finite() { Ok(Value::Float(f)) } else { Err(overflow(types::name(to))) }
}

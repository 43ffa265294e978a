//! To text and bytes.

use logferry_model::SqlType;

use super::super::collation;
use super::super::error::{Result, SqlError, overflow_of};
use super::super::time::{self, Moment, Shown};
use super::super::types::{self, is_integer, said};
use super::super::value::{Dec, Value, to_bytes};
use super::clash;

pub(super) fn to_guid(value: Value, from: &SqlType) -> Result<Value> {
    match &value {
        Value::Guid(_) => Ok(value),
        Value::Text(t) => {
            let text = String::from_utf16_lossy(t);
            parse_guid(text.trim()).map(Value::Guid).ok_or_else(|| {
                SqlError::new(8169, "Conversion failed when converting from a character string to uniqueidentifier.")
                    .state(2)
            })
        }
        Value::Bytes(b) => Ok(Value::Guid(std::array::from_fn(|at| b.get(at).copied().unwrap_or(0)))),
        _ => Err(clash(from, &SqlType::UniqueIdentifier)),
    }
}

fn parse_guid(text: &str) -> Option<[u8; 16]> {
    let body = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    let body = body.get(..36)?;
    let dashes = [8, 13, 18, 23];
    if !body.bytes().enumerate().all(|(at, b)| if dashes.contains(&at) { b == b'-' } else { b.is_ascii_hexdigit() }) {
        return None;
    }
    let digits: String = body.chars().filter(|c| *c != '-').collect();
    let mut bytes = [0; 16];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    Some(order.map(|at| bytes[at]))
}

/// The form with dashes, in capitals.
pub(crate) fn guid_text(g: &[u8; 16]) -> String {
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut out = String::new();
    for (at, from) in order.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push_str(&format!("{:02X}", g[*from]));
    }
    out
}

/// A float as text: six digits, as CAST writes it; style 1 has 8, 2 has 16, 3 has 17.
fn float_text(f: f64, real: bool, style: i64) -> String {
    let exponent_form = |digits: usize| {
        let text = format!("{f:.*e}", digits - 1);
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        format!("{mantissa}e{}{:03}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    };
    match style {
        1 => return exponent_form(8),
        2 => return exponent_form(16),
        3 => return exponent_form(if real { 9 } else { 17 }),
        _ => {}
    }
    if f == 0.0 {
        return "0".into();
    }
    let text = format!("{f:.5e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let strip =
        |t: &str| if t.contains('.') { t.trim_end_matches('0').trim_end_matches('.').to_owned() } else { t.to_owned() };
    if (-5..15).contains(&exponent) && exponent < 6 {
        strip(&format!("{f:.*}", (5 - exponent).max(0) as usize))
    } else {
        format!("{}e{}{:03}", strip(mantissa), if exponent < 0 { '-' } else { '+' }, exponent.abs())
    }
}

fn money_text(m: i64, style: i64) -> String {
    let scale = if style == 2 { 4 } else { 2 };
    let d = Dec { mantissa: i128::from(m), scale: 4 }.rescale(scale).map_or(String::new(), Dec::text);
    if style != 1 {
        return d;
    }
    let (whole, part) = d.split_once('.').unwrap_or((&d, ""));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |w| ("-", w));
    let mut out = String::new();
    for (at, c) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(c);
    }
    format!("{sign}{out}.{part}")
}

pub(super) fn to_text(value: Value, from: &SqlType, to: &SqlType, style: Option<i64>) -> Result<Value> {
    let limit = types::char_len(to).map(usize::from);
    let plain = style.unwrap_or(0);
    let text: String = match &value {
        Value::Text(t) => {
            let mut t = t.clone();
            if !types::is_national(to) && types::is_national(from) {
                let of = collation::of(to).unwrap_or(logferry_mssql_standin_storage::DEFAULT_COLLATION);
                t = collation::decode(&collation::encode(&t, of), of);
            }
            return Ok(Value::Text(fit(t, to)));
        }
        Value::Int(n) => n.to_string(),
        Value::Dec(d) => d.text(),
        Value::Money(m) => money_text(*m, plain),
        Value::Float(f) => float_text(*f, matches!(from, SqlType::Real), plain),
        Value::Guid(g) => guid_text(g),
        Value::Bytes(b) => {
            let hex = || b.iter().map(|b| format!("{b:02X}")).collect::<String>();
            match plain {
                1 => format!("0x{}", hex()),
                2 => hex(),
                _ => {
                    let raw = super::super::value::from_bytes(to, b);
                    return Ok(match raw {
                        Value::Text(t) => Value::Text(fit(t, to)),
                        other => other,
                    });
                }
            }
        }
        other => {
            let m = Moment::of(other).ok_or_else(|| clash(from, to))?;
            let shown = match from {
                SqlType::Date => Shown::Date,
                SqlType::Time { scale } => Shown::Time(*scale),
                SqlType::DateTime2 { scale } => Shown::DateTime2(*scale),
                SqlType::DateTimeOffset { scale } => Shown::Offset(*scale),
                SqlType::SmallDateTime => Shown::DateTime { seconds: false },
                _ => Shown::DateTime { seconds: true },
            };
            time::format(&m, shown, style).ok_or_else(|| {
                SqlError::new(
                    281,
                    format!(
                        "{plain} is not a valid style number when converting from {} to a character string.",
                        types::name(from)
                    ),
                )
            })?
        }
    };
    let units: Vec<u16> = text.encode_utf16().collect();
    let too_long = limit.is_some_and(|n| units.len() > n);
    if too_long
        && (is_integer(from)
            || matches!(
                from,
                SqlType::Decimal { .. } | SqlType::Money | SqlType::SmallMoney | SqlType::Float | SqlType::Real
            ))
    {
        // Integers that do not fit become a star, other numbers an error.
        return match (is_integer(from), types::is_national(to)) {
            (true, false) => Ok(Value::Text(fit(vec![u16::from(b'*')], to))),
            _ => Err(overflow_of(if is_integer(from) { "expression" } else { said(from) }, types::name(to))),
        };
    }
    if too_long && matches!(from, SqlType::UniqueIdentifier) {
        return Err(
            SqlError::new(8170, "Insufficient result space to convert uniqueidentifier value to char.").state(2)
        );
    }
    Ok(Value::Text(fit(units, to)))
}

/// Cut to the length, and padded where the type is of fixed length.
pub(super) fn fit(mut text: Vec<u16>, to: &SqlType) -> Vec<u16> {
    if let Some(limit) = types::char_len(to) {
        collation::cut(&mut text, to, limit);
    }
    if let SqlType::Char { length, .. } | SqlType::NChar { length, .. } = to {
        let missing = usize::from(*length).saturating_sub(collation::stored_length(&text, to));
        text.extend(std::iter::repeat_n(0x20, missing));
    }
    text
}

pub(super) fn to_binary(value: Value, from: &SqlType, to: &SqlType, style: Option<i64>) -> Result<Value> {
    let mut number = false;
    let mut bytes: Vec<u8> = match &value {
        Value::Bytes(b) => b.clone(),
        Value::Text(t) if matches!(style, Some(1 | 2)) => {
            let text = String::from_utf16_lossy(t);
            let digits = match style {
                Some(1) => text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")),
                _ => Some(text.as_str()),
            };
            let parsed = digits.filter(|d| d.len() % 2 == 0 && d.is_ascii()).and_then(|d| {
                (0..d.len() / 2)
                    .map(|at| u8::from_str_radix(d.get(2 * at..2 * at + 2)?, 16).ok())
                    .collect::<Option<Vec<u8>>>()
            });
            parsed.ok_or_else(|| {
                SqlError::new(8114, format!("Error converting data type {} to varbinary.", types::name(from))).state(5)
            })?
        }
        Value::Int(_) | Value::Money(_) => {
            number = true;
            let mut b = to_bytes(from, &value)?.unwrap_or_default();
            b.reverse();
            b
        }
        Value::Dec(d) => {
            let (p, s) = types::decimal_of(from).unwrap_or((38, d.scale));
            let mut out = vec![p, s, 0];
            out.extend(to_bytes(from, &value)?.unwrap_or_default());
            if let Some(sign) = out.get_mut(3) {
                *sign = u8::from(*sign != 0);
            }
            out
        }
        Value::Float(f) => {
            number = true;
            if matches!(from, SqlType::Real) { (*f as f32).to_be_bytes().to_vec() } else { f.to_be_bytes().to_vec() }
        }
        Value::DateTime(days, ticks) => {
            number = true;
            let mut out = days.to_be_bytes().to_vec();
            out.extend(ticks.to_be_bytes());
            out
        }
        _ => to_bytes(from, &value)?.unwrap_or_default(),
    };
    if let Some(limit) = types::char_len(to).map(usize::from) {
        // Numbers keep their last bytes, everything else its first.
        if number && bytes.len() > limit {
            bytes.drain(..bytes.len() - limit);
        }
        bytes.truncate(limit);
        if let SqlType::Binary { length } = to {
            let length = usize::from(*length);
            if number && bytes.len() < length {
                let mut padded = vec![0; length - bytes.len()];
                padded.extend(bytes);
                bytes = padded;
            }
            bytes.resize(length, 0);
        }
    }
    Ok(Value::Bytes(bytes))
}

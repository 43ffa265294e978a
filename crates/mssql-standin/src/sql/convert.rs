//! Values from one type to another: CAST, CONVERT with its styles, and what statements convert by themselves.

use logferry_model::SqlType;

use super::error::{
    Result, SqlError, conversion_failed, date_from_text, out_of_range_date, overflow, overflow_of, unsupported,
};
use super::time::{self, LAST_DAY, Moment, Shown};
use super::types::{self, is_bytes, is_integer, is_text, is_time, said};
use super::value::{DAY_TICKS, DAYS_TO_1900, Dec, Value, div_round, pow10, to_bytes, trimmed};

/// Days of 1753-01-01 and 9999-12-31, since 1900.
const DATETIME_FIRST: i32 = -53_690;
const DATETIME_LAST: i32 = 2_958_463;

/// A value of a type as a value of another one. Text that is too long is cut, as CAST does.
pub(crate) fn convert(value: Value, from: &SqlType, to: &SqlType, style: Option<i64>) -> Result<Value> {
    if value.is_null() || from == to {
        return Ok(value);
    }
    if let Value::Variant(v) = value {
        if matches!(to, SqlType::Variant) {
            return Ok(Value::Variant(v));
        }
        let (base, inner) = *v;
        return convert(inner, &base, to, style);
    }
    match to {
        SqlType::Variant => Ok(Value::Variant(Box::new((variant_base(from)?, value)))),
        SqlType::Bit | SqlType::TinyInt | SqlType::SmallInt | SqlType::Int | SqlType::BigInt => {
            to_integer(value, from, to)
        }
        SqlType::Decimal { precision, scale } => to_decimal(value, from, to, *precision, *scale),
        SqlType::Money | SqlType::SmallMoney => to_money(value, from, to),
        SqlType::Real | SqlType::Float => to_float(value, from, to),
        to if is_time(to) => to_moment(value, from, to, style.unwrap_or(0)),
        SqlType::UniqueIdentifier => to_guid(value, from),
        to if is_text(to) => to_text(value, from, to, style),
        to if is_bytes(to) => to_binary(value, from, to, style),
        SqlType::Xml => Err(unsupported("values of the type xml")),
        other => Err(unsupported(format!("conversions to {}", types::name(other)))),
    }
}

/// What a variant of a type says that it holds: max and old types are not allowed in it.
fn variant_base(from: &SqlType) -> Result<SqlType> {
    match from {
        from if from.is_lob() || matches!(from, SqlType::RowVersion) => Err(clash(from, &SqlType::Variant)),
        from => Ok(from.clone()),
    }
}

fn clash(from: &SqlType, to: &SqlType) -> SqlError {
    SqlError::batch(
        529,
        format!("Explicit conversion from data type {} to {} is not allowed.", types::name(from), types::name(to)),
    )
    .state(2)
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Text(t) => String::from_utf16_lossy(t),
        _ => String::new(),
    }
}

fn to_integer(value: Value, from: &SqlType, to: &SqlType) -> Result<Value> {
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

fn to_decimal(value: Value, from: &SqlType, to: &SqlType, precision: u8, scale: u8) -> Result<Value> {
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

fn to_money(value: Value, from: &SqlType, to: &SqlType) -> Result<Value> {
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

fn to_float(value: Value, from: &SqlType, to: &SqlType) -> Result<Value> {
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

fn to_moment(value: Value, from: &SqlType, to: &SqlType, style: i64) -> Result<Value> {
    let old = matches!(to, SqlType::DateTime | SqlType::SmallDateTime);
    let moment = match &value {
        Value::Text(t) => {
            let text = String::from_utf16_lossy(t);
            let moment = time::parse(&text, style);
            let digits = text.split_once('.').map_or(0, |(_, f)| f.bytes().take_while(u8::is_ascii_digit).count());
            match moment {
                Some(m) if old && m.offset.is_none() && digits <= 3 => m,
                Some(m) if old && m.offset == Some(0) && text.trim().ends_with(['Z', 'z']) => {
                    Moment { offset: None, ..m }
                }
                Some(m) if !old => m,
                None if old && looks_like_date(&text) => {
                    return Err(out_of_range_date(types::name(from), types::name(to)));
                }
                _ => return Err(date_from_text()),
            }
        }
        Value::Int(_) | Value::Dec(_) | Value::Money(_) | Value::Float(_) if old => {
            let Value::Float(days) = to_float(value.clone(), from, &SqlType::Float)? else {
                return Err(clash(from, to));
            };
            if !(f64::from(DATETIME_FIRST)..f64::from(DATETIME_LAST) + 1.0).contains(&days) {
                return Err(overflow(types::name(to)));
            }
            let ticks = ((days - days.floor()) * 25_920_000.0).round() as u32;
            return finish_datetime(days.floor() as i32, ticks, from, to);
        }
        Value::DateTime(days, ticks) if old => return finish_datetime(*days, *ticks, from, to),
        Value::Bytes(b) => {
            if matches!(to, SqlType::DateTime) {
                // Days and ticks, each most significant first.
                let mut bytes = vec![0; 8usize.saturating_sub(b.len())];
                bytes.extend(b.iter().skip(b.len().saturating_sub(8)));
                bytes.reverse();
                let (ticks, days) = bytes.split_at(4);
                let number = |b: &[u8]| b.iter().rev().fold(0u32, |n, b| n << 8 | u32::from(*b));
                return finish_datetime(number(days) as i32, number(ticks), from, to);
            }
            return Err(clash(from, to));
        }
        other => match Moment::of(other) {
            Some(m) => m,
            None => return Err(clash(from, to)),
        },
    };
    let in_range = |m: Moment| {
        if (0..=LAST_DAY).contains(&m.days) {
            Ok(m)
        } else {
            Err(out_of_range_date(types::name(from), types::name(to)))
        }
    };
    Ok(match to {
        SqlType::Date => Value::Date(moment.days),
        SqlType::Time { scale } => Value::Time(moment.rounded(*scale).ticks),
        SqlType::DateTime2 { scale } => {
            let m = in_range(moment.rounded(*scale))?;
            Value::DateTime2(m.days, m.ticks)
        }
        SqlType::DateTimeOffset { scale } => {
            let m = moment.rounded(*scale);
            let minutes = m.offset.unwrap_or(0);
            let (days, ticks) = time::shifted(m.days, m.ticks, -i64::from(minutes));
            in_range(Moment { days, ticks, offset: None })?;
            Value::Offset(days, ticks, minutes)
        }
        _ => {
            if matches!(to, SqlType::SmallDateTime) {
                let minutes = (moment.ticks + 300_000_000) / 600_000_000;
                let days = moment.days - DAYS_TO_1900;
                return finish_datetime(days, minutes as u32 * 18_000, from, to);
            }
            finish_datetime(moment.days - DAYS_TO_1900, time::to_300ths(moment.ticks), from, to)?
        }
    })
}

fn looks_like_date(text: &str) -> bool {
    text.bytes().filter(u8::is_ascii_digit).count() >= 6 && !text.bytes().any(|b| b.is_ascii_alphabetic() && b != b'T')
}

fn finish_datetime(days: i32, ticks: u32, from: &SqlType, to: &SqlType) -> Result<Value> {
    const DAY: u32 = (DAY_TICKS / 100_000 * 3) as u32;
    let ticks = if matches!(to, SqlType::SmallDateTime) { (ticks + 9_000) / 18_000 * 18_000 } else { ticks };
    let (days, ticks) = (days + (ticks / DAY) as i32, ticks % DAY);
    let range = match to {
        SqlType::SmallDateTime => 0..=65_535,
        _ => DATETIME_FIRST..=DATETIME_LAST,
    };
    if range.contains(&days) {
        Ok(Value::DateTime(days, ticks))
    } else {
        Err(out_of_range_date(types::name(from), types::name(to)))
    }
}

fn to_guid(value: Value, from: &SqlType) -> Result<Value> {
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

fn to_text(value: Value, from: &SqlType, to: &SqlType, style: Option<i64>) -> Result<Value> {
    let limit = types::char_len(to).map(usize::from);
    let plain = style.unwrap_or(0);
    let text: String = match &value {
        Value::Text(t) => {
            let mut t = t.clone();
            if !types::is_national(to) && types::is_national(from) {
                t = super::value::to_1252(&t).into_iter().map(u16::from).collect();
                if let Value::Text(back) =
                    super::value::from_bytes(to, &t.iter().map(|u| *u as u8).collect::<Vec<u8>>())
                {
                    t = back;
                }
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
                    let raw = super::value::from_bytes(to, b);
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
fn fit(mut text: Vec<u16>, to: &SqlType) -> Vec<u16> {
    if let Some(limit) = types::char_len(to) {
        text.truncate(usize::from(limit));
    }
    if let SqlType::Char { length, .. } | SqlType::NChar { length, .. } = to {
        text.resize(usize::from(*length), 0x20);
    }
    text
}

fn to_binary(value: Value, from: &SqlType, to: &SqlType, style: Option<i64>) -> Result<Value> {
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

/// A value on its way into a column: like [`convert`], but what does not fit is an error.
pub(crate) fn assign(value: Value, from: &SqlType, to: &SqlType, place: (&str, &str)) -> Result<Value> {
    let length = match &value {
        Value::Text(t) if is_text(to) => trimmed(t).len(),
        Value::Bytes(b) if is_bytes(to) => b.len(),
        _ => return convert(value, from, to, None),
    };
    match types::char_len(to) {
        Some(limit) if length > usize::from(limit) => {
            Err(super::value::truncated(place.0, place.1, &cut_value(&value, limit)))
        }
        _ => convert(value, from, to, None),
    }
}

fn cut_value(value: &Value, limit: u16) -> Value {
    match value {
        Value::Text(t) => Value::Text(t.iter().take(usize::from(limit)).copied().collect()),
        other => other.clone(),
    }
}

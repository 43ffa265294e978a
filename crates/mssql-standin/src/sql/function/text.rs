//! What functions of text give.

use logferry_model::SqlType;

use super::super::error::{Result, SqlError};
use super::super::eval::like;
use super::super::plan::Typed;
use super::super::types;
use super::super::value::{Value, fold, from_bytes, to_1252, to_bytes, trimmed};
use super::Func;
use super::call::{int_at, text_at};

/// What a function of text gives.
pub(super) fn of_text(func: Func, v: &[Value], args: &[Typed], ty: &SqlType) -> Result<Value> {
    use super::Func as F;
    Ok(match func {
        F::Len => Value::Int(trimmed(units(&v[0])).len() as i64),
        F::DataLength => {
            let bytes = to_bytes(&args[0].ty, &v[0])?.unwrap_or_default();
            Value::Int(bytes.len() as i64)
        }
        F::Substring => {
            let (start, count) = (int_at(v, 1), int_at(v, 2));
            if count < 0 {
                return Err(SqlError::new(537, "Invalid length parameter passed to the LEFT or SUBSTRING function."));
            }
            match &v[0] {
                Value::Bytes(b) => Value::Bytes(slice_of(b, start, count)),
                other => Value::Text(slice_of(units(other), start, count)),
            }
        }
        F::Left | F::Right => {
            let (text, n) = (units(&v[0]), int_at(v, 1));
            if n < 0 {
                return Err(SqlError::new(536, "Invalid length parameter passed to the LEFT or RIGHT function."));
            }
            let n = (n as usize).min(text.len());
            let part = if func == F::Left { text.get(..n) } else { text.get(text.len() - n..) };
            Value::Text(part.unwrap_or_default().to_vec())
        }
        F::Upper | F::Lower => Value::Text(map_case(units(&v[0]), func == F::Upper)),
        F::LTrim | F::RTrim | F::Trim => {
            let text = units(&v[0]);
            let start = if func == F::RTrim { 0 } else { text.iter().position(|u| *u != 0x20).unwrap_or(text.len()) };
            let text = text.get(start..).unwrap_or_default();
            Value::Text(if func == F::LTrim { text.to_vec() } else { trimmed(text).to_vec() })
        }
        F::Reverse => Value::Text(units(&v[0]).iter().rev().copied().collect()),
        F::Replace => {
            let (text, from, to) = (units(&v[0]), units(&v[1]), units(&v[2]));
            let (mut out, mut at) = (Vec::new(), 0);
            while let Some(found) = position(from, text, at) {
                out.extend_from_slice(text.get(at..found).unwrap_or_default());
                out.extend_from_slice(to);
                at = found + from.len();
            }
            out.extend_from_slice(text.get(at..).unwrap_or_default());
            Value::Text(out)
        }
        F::Stuff => {
            if v[0].is_null() || v[1].is_null() || v[2].is_null() {
                return Ok(Value::Null);
            }
            let (text, start, count) = (units(&v[0]), int_at(v, 1), int_at(v, 2));
            if start < 1 || count < 0 || start as usize > text.len() {
                return Ok(Value::Null);
            }
            let start = start as usize - 1;
            let end = (start + count as usize).min(text.len());
            let mut out = text.get(..start).unwrap_or_default().to_vec();
            out.extend_from_slice(units(&v[3]));
            out.extend_from_slice(text.get(end..).unwrap_or_default());
            Value::Text(out)
        }
        F::CharIndex => {
            let from = int_at(v, 2).max(1) as usize - 1;
            Value::Int(position(units(&v[0]), units(&v[1]), from).map_or(0, |at| at as i64 + 1))
        }
        F::PatIndex => {
            let (pattern, text) = (units(&v[0]), units(&v[1]));
            let percent = u16::from(b'%');
            let body = pattern.strip_prefix(&[percent]);
            match body {
                None => Value::Int(i64::from(like(text, pattern, None))),
                Some(body) => Value::Int(
                    (0..text.len())
                        .find(|at| like(text.get(*at..).unwrap_or_default(), body, None))
                        .map_or(0, |at| at as i64 + 1),
                ),
            }
        }
        F::Concat => Value::Text(v.iter().flat_map(|v| units(v).iter().copied()).collect()),
        F::ConcatWs => {
            let mut out = Vec::new();
            for (n, part) in v.iter().skip(1).filter(|v| !v.is_null()).enumerate() {
                if n > 0 {
                    out.extend_from_slice(units(&v[0]));
                }
                out.extend_from_slice(units(part));
            }
            Value::Text(out)
        }
        F::Replicate => match int_at(v, 1) {
            n if n < 0 => Value::Null,
            n => {
                let limit = types::char_len(ty).map_or(64 << 20, usize::from);
                Value::Text(
                    units(&v[0]).iter().copied().cycle().take((units(&v[0]).len() * n as usize).min(limit)).collect(),
                )
            }
        },
        F::Space => match int_at(v, 0) {
            n if n < 0 => Value::Null,
            n => Value::Text(vec![0x20; (n as usize).min(8000)]),
        },
        F::Ascii => match to_1252(units(&v[0])).first() {
            Some(b) => Value::Int(i64::from(*b)),
            None => Value::Null,
        },
        F::Unicode => units(&v[0]).first().map_or(Value::Null, |u| Value::Int(i64::from(*u))),
        F::Char => match u8::try_from(int_at(v, 0)) {
            Ok(b) => from_bytes(ty, &[b]),
            Err(_) => Value::Null,
        },
        F::NChar => u16::try_from(int_at(v, 0)).map_or(Value::Null, |u| Value::Text(vec![u])),
        F::QuoteName => {
            let text = text_at(v, 0);
            let quote = v.get(1).and_then(Value::as_text).unwrap_or_else(|| "[".into());
            match quote.as_str() {
                "[" | "]" | "[]" => Value::text(&format!("[{}]", text.replace(']', "]]"))),
                "'" => Value::text(&format!("'{}'", text.replace('\'', "''"))),
                "\"" => Value::text(&format!("\"{}\"", text.replace('"', "\"\""))),
                _ => Value::Null,
            }
        }
        F::Str => {
            let Value::Float(f) = v[0] else { return Ok(Value::Null) };
            let (length, digits) =
                (v.get(1).and_then(Value::as_int).unwrap_or(10).max(0) as usize, int_at(v, 2).clamp(0, 16) as usize);
            let text = format!("{f:>length$.digits$}");
            Value::text(&if text.len() > length { "*".repeat(length) } else { text })
        }
        F::BinaryCollation => Value::Bytes(trimmed(units(&v[0])).iter().flat_map(|u| u.to_be_bytes()).collect()),
        _ => Value::Null,
    })
}

pub(super) fn units(v: &Value) -> &[u16] {
    match v {
        Value::Text(t) => t,
        _ => &[],
    }
}

fn slice_of<T: Clone>(list: &[T], start: i64, count: i64) -> Vec<T> {
    // Places before the first count too.
    let end = (start + count).clamp(1, list.len() as i64 + 1);
    let start = start.clamp(1, list.len() as i64 + 1);
    list.get(start as usize - 1..(end.max(start)) as usize - 1).unwrap_or_default().to_vec()
}

fn map_case(text: &[u16], upper: bool) -> Vec<u16> {
    text.iter()
        .map(|u| {
            let Some(c) = char::from_u32(u32::from(*u)) else { return *u };
            let mut mapped: Vec<char> = if upper { c.to_uppercase().collect() } else { c.to_lowercase().collect() };
            match (mapped.pop(), mapped.is_empty()) {
                (Some(c), true) => u16::try_from(u32::from(c)).unwrap_or(*u),
                _ => *u,
            }
        })
        .collect()
}

pub(super) fn position(needle: &[u16], hay: &[u16], from: usize) -> Option<usize> {
    if needle.is_empty() {
        return None;
    }
    let folded: Vec<u16> = needle.iter().map(|u| fold(*u)).collect();
    hay.get(from..)?
        .windows(folded.len())
        .position(|w| w.iter().zip(&folded).all(|(a, b)| fold(*a) == *b))
        .map(|at| at + from)
}

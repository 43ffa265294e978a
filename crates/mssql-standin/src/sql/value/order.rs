//! How values compare: text without case and trailing spaces, others by what they stand for.

use std::cmp::Ordering;

use logferry_model::SqlType;

use super::super::{convert, types};
use super::{Dec, Value};

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
    let common = types::common(&a.0, &b.0);
    match common {
        Ok(to) if types::family(&a.0) == types::family(&b.0) => {
            let a = convert::convert(a.1.clone(), &a.0, &to, None).ok()?;
            let b = convert::convert(b.1.clone(), &b.0, &to, None).ok()?;
            compare(&a, &b)
        }
        _ => Some(types::rank(&b.0).cmp(&types::rank(&a.0))),
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

fn compare_text(a: &[u16], b: &[u16]) -> Ordering {
    trimmed(a).iter().map(|u| fold(*u)).cmp(trimmed(b).iter().map(|u| fold(*u)))
}

/// Equal names of things: the catalog compares as the default collation does.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    let (a, b) = (a.trim_end_matches(' '), b.trim_end_matches(' '));
    match a.is_ascii() && b.is_ascii() {
        true => a.eq_ignore_ascii_case(b),
        false => a.encode_utf16().map(fold).eq(b.encode_utf16().map(fold)),
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

//! Values from one type to another: CAST, CONVERT with its styles, and what statements convert by themselves.

mod moment;
mod number;
mod text;

use logferry_model::SqlType;

use super::clr::is_clr;
use super::error::{Result, SqlError, unsupported};
use super::types::{self, is_bytes, is_text, is_time};
use super::value::{Value, trimmed};
use moment::to_moment;
pub(crate) use number::decimal_literal;
use number::{to_decimal, to_float, to_integer, to_money};
use text::{to_binary, to_guid, to_text};

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
    if is_clr(from) && is_text(to) {
        let text = Value::text(&super::clr::text(&value, from)?);
        return convert(text, &types::nvarchar_max(), to, style);
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
        SqlType::Xml => to_xml(value, from, style),
        to if is_clr(to) => super::clr::of_value(value, to),
        other => Err(unsupported(format!("conversions to {}", types::name(other)))),
    }
}

/// Text as it is read; style 1 and 3 keep the white space between elements.
fn to_xml(value: Value, from: &SqlType, style: Option<i64>) -> Result<Value> {
    let text = match &value {
        Value::Text(t) => String::from_utf16_lossy(t),
        Value::Bytes(b) => String::from_utf16_lossy(&xml_units(b)),
        _ => return Err(clash(from, &SqlType::Xml)),
    };
    let keep_space = style.is_some_and(|style| style & 1 == 1);
    super::xml::parse(&text, keep_space).map(|nodes| Value::text(&super::xml::text_of(&nodes)))
}

/// Bytes of a document: UTF-16 where it begins so, else UTF-8.
fn xml_units(bytes: &[u8]) -> Vec<u16> {
    match bytes {
        [0xFF, 0xFE, rest @ ..] => super::xml::from_binary(rest),
        [0xDF, 0xFF, ..] | [b'<', 0, ..] => super::xml::from_binary(bytes),
        _ => String::from_utf8_lossy(bytes).encode_utf16().collect(),
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

/// A value on its way into a column: like [`convert`], but what does not fit is an error.
pub(crate) fn assign(value: Value, from: &SqlType, to: &SqlType, place: (&str, &str)) -> Result<Value> {
    let length = match &value {
        Value::Text(t) if is_text(to) => super::collation::stored_length(trimmed(t), to),
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

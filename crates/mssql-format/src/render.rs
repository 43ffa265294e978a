//! Cells as JSON, for people and tests to look at: `dump rows`, `dump changes`, digests.
//!
//! | type | JSON |
//! |---|---|
//! | `bit` | `true`, `false` |
//! | integers, `decimal`, `money`, `real`, `float` | numbers, exact: `12.3400` keeps its scale |
//! | text | strings, padding kept; what cannot be decoded is U+FFFD |
//! | dates and times | ISO 8601 with all digits of their scale; `datetime` to the millisecond, as SQL Server shows it; `datetimeoffset` as local time with its offset |
//! | `uniqueidentifier` | `"6f9619ff-8b86-d011-b42d-00c04fc964ff"` |
//! | `xml`, `hierarchyid` | their text, their path |
//! | all others | their bytes, `"0x..."` |
//! | NULL, unchanged | `null`, `{"unchanged":true}` |
//!
//! Nothing fails: a cell that does not have the length of its type is shown as its bytes.

mod text;
pub(crate) mod time;

pub use text::{encoding, exact_of_collation as exact_text_of, of_collation as text_of};

use std::fmt::Write;

use logferry_model::{Cell, SqlType, TableVersion};
use serde_json::Value;

use crate::boot::utf16;
use crate::{binxml, hierarchy};

/// Appends a row as a JSON object, columns in the order of the table.
pub fn row(table: &TableVersion, cells: &[Cell<'_>], out: &mut String) {
    out.push('{');
    for (at, (column, value)) in table.columns.iter().zip(cells).enumerate() {
        if at != 0 {
            out.push(',');
        }
        string(&column.name, out);
        out.push(':');
        cell(*value, &column.sql_type, out);
    }
    out.push('}');
}

/// A cell as a JSON value.
pub fn value(cell_value: Cell<'_>, sql_type: &SqlType) -> Value {
    let mut json = String::new();
    cell(cell_value, sql_type, &mut json);
    serde_json::from_str(&json).unwrap_or(Value::String(json))
}

/// Appends a cell as JSON text.
pub fn cell(cell: Cell<'_>, sql_type: &SqlType, out: &mut String) {
    match cell {
        Cell::Null => out.push_str("null"),
        Cell::Unchanged => out.push_str("{\"unchanged\":true}"),
        Cell::Bytes(bytes) => {
            let start = out.len();
            if known(bytes, sql_type, out).is_none() {
                out.truncate(start);
                hex(bytes, out);
            }
        }
    }
}

/// Appends the value; `None` where the bytes cannot be of that type.
fn known(bytes: &[u8], sql_type: &SqlType, out: &mut String) -> Option<()> {
    match *sql_type {
        SqlType::Bit => out.push_str(match bytes {
            [0] => "false",
            [1] => "true",
            _ => return None,
        }),
        SqlType::TinyInt => number(u8::from_le_bytes(bytes.try_into().ok()?), out),
        SqlType::SmallInt => number(i16::from_le_bytes(bytes.try_into().ok()?), out),
        SqlType::Int => number(i32::from_le_bytes(bytes.try_into().ok()?), out),
        SqlType::BigInt => number(i64::from_le_bytes(bytes.try_into().ok()?), out),
        SqlType::SmallMoney => scaled_signed(i32::from_le_bytes(bytes.try_into().ok()?).into(), out),
        SqlType::Money => scaled_signed(i64::from_le_bytes(bytes.try_into().ok()?), out),
        SqlType::Decimal { scale, .. } => {
            let (sign, magnitude) = bytes.split_first()?;
            let mut le = [0; 16];
            le.get_mut(..magnitude.len())?.copy_from_slice(magnitude);
            scaled(*sign == 0, u128::from_le_bytes(le), scale, out);
        }
        SqlType::Real => {
            let number = f32::from_le_bytes(bytes.try_into().ok()?);
            write!(out, "{}", serde_json::Number::from_f64(number.into()).map(|_| number)?).ok()?;
        }
        SqlType::Float => {
            let number = f64::from_le_bytes(bytes.try_into().ok()?);
            write!(out, "{}", serde_json::Number::from_f64(number)?).ok()?;
        }
        SqlType::Date => quoted(out, |out| time::date(bytes, out))?,
        SqlType::Time { scale } => quoted(out, |out| time::time(bytes, scale, out))?,
        SqlType::DateTime => quoted(out, |out| time::datetime(bytes, out))?,
        SqlType::SmallDateTime => quoted(out, |out| time::smalldatetime(bytes, out))?,
        SqlType::DateTime2 { scale } => quoted(out, |out| time::datetime2(bytes, scale, out))?,
        SqlType::DateTimeOffset { scale } => quoted(out, |out| time::datetimeoffset(bytes, scale, out))?,
        SqlType::UniqueIdentifier => {
            let uuid = uuid::Uuid::from_bytes_le(bytes.try_into().ok()?);
            write!(out, "\"{uuid}\"").ok()?;
        }
        SqlType::Char { collation, .. } | SqlType::VarChar { collation, .. } | SqlType::Text { collation } => {
            string(&text::of_collation(collation, bytes), out);
        }
        SqlType::NChar { .. } | SqlType::NVarChar { .. } | SqlType::NText { .. } => {
            if !bytes.len().is_multiple_of(2) {
                return None;
            }
            string(&utf16(bytes), out);
        }
        SqlType::Xml => {
            let mut text = Vec::new();
            binxml::text(bytes, &mut text).ok()?;
            string(&String::from_utf8(text).ok()?, out);
        }
        SqlType::HierarchyId => {
            let mut path = Vec::new();
            hierarchy::path(bytes, &mut path).ok()?;
            string(&String::from_utf8(path).ok()?, out);
        }
        SqlType::Binary { .. }
        | SqlType::VarBinary { .. }
        | SqlType::Image
        | SqlType::RowVersion
        | SqlType::Variant
        | SqlType::Geometry
        | SqlType::Geography
        | SqlType::Clr
        | SqlType::Json
        | SqlType::Vector
        | SqlType::Unknown { .. } => return None,
    }
    Some(())
}

fn number(n: impl std::fmt::Display, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{n}");
}

fn scaled_signed(n: i64, out: &mut String) {
    scaled(n < 0, n.unsigned_abs().into(), 4, out);
}

fn scaled(negative: bool, magnitude: u128, scale: u8, out: &mut String) {
    if negative && magnitude != 0 {
        out.push('-');
    }
    let digits = magnitude.to_string();
    let scale = usize::from(scale);
    if scale == 0 {
        out.push_str(&digits);
        return;
    }
    let whole = digits.len().saturating_sub(scale);
    let (before, after) = digits.split_at_checked(whole).unwrap_or(("", &digits));
    out.push_str(if before.is_empty() { "0" } else { before });
    let _ = write!(out, ".{after:0>scale$}");
}

fn quoted(out: &mut String, write: impl FnOnce(&mut String) -> Option<()>) -> Option<()> {
    out.push('"');
    write(out)?;
    out.push('"');
    Some(())
}

fn string(text: &str, out: &mut String) {
    out.push_str(&Value::from(text).to_string());
}

fn hex(bytes: &[u8], out: &mut String) {
    out.push_str("\"0x");
    for byte in bytes {
        let _ = write!(out, "{byte:02X}");
    }
    out.push('"');
}

#[cfg(test)]
mod tests;

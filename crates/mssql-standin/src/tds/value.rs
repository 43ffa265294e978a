//! Types and cells, between the storage engine's form and TDS's.
//!
//! Most cells are the same bytes in both; these are not:
//!
//! | type | stored | in TDS |
//! |---|---|---|
//! | `money` | `i64` | high half, low half |
//! | `datetime` | ticks, days | days, ticks |
//! | `smalldatetime` | minutes, days | days, minutes |
//! | `decimal` | magnitude as long as the precision asks | may be shorter from clients |
//! | max types, UDT, xml | the bytes | in chunks: `u64` length, (`u32` length, bytes)…, `u32` 0 |
//! | `text`, `ntext`, `image` | the bytes | after a text pointer and a timestamp |
//! | `sql_variant` | [`super::variant`] | |
//!
//! A [`Form`] is chosen once per column; then each cell is a copy, mostly. Source: MS-TDS 2.2.5.4 to 2.2.5.6.

mod read;

use logferry_model::{Collation, SqlType};

use super::collation::to_wire;
use super::variant;
use super::wire::{put_long_text, put_short_text, put_utf16};
pub(super) use read::{SentForm, SentType, decimal, read_cell, read_type};

/// How cells of a column are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    length: Length,
    order: Order,
}

/// What stands before the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    /// Nothing: never NULL, always as long.
    Fixed,
    /// A byte; 0 is NULL.
    Byte,
    /// Two bytes; 0xFFFF is NULL.
    Short,
    /// A variant's four bytes; 0 is NULL.
    Variant,
    /// Text pointer, timestamp, four bytes; a pointer of length 0 is NULL.
    TextPointer,
    /// Chunks; a length of all ones is NULL.
    Chunks,
}

/// How the bytes differ from those stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Same,
    /// Two halves of four bytes change places.
    Swapped8,
    /// Two halves of two bytes change places.
    Swapped4,
    /// UTF-8 for a client that takes none.
    Utf16,
}

/// A cell that cannot be of its column's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrongCell;

pub(super) const VARIANT_MAX: u32 = 8009;
const MAX: u16 = 0xFFFF;
/// Values in chunks are cut into pieces of this many bytes.
const CHUNK: usize = 32 * 1024;
const UTF8: u32 = 0x80;

fn plain(length: Length) -> Form {
    Form { length, order: Order::Same }
}

/// Appends the TYPE_INFO of a column or return value, and says how its cells are written.
///
/// `utf8`: the client takes UTF-8.
pub(super) fn put_type(sql_type: &SqlType, nullable: bool, utf8: bool, out: &mut Vec<u8>) -> Form {
    let mut number = |fixed: u8, nullable_code: u8, bytes: u8, order| {
        if nullable {
            out.extend_from_slice(&[nullable_code, bytes]);
            Form { length: Length::Byte, order }
        } else {
            out.push(fixed);
            Form { length: Length::Fixed, order }
        }
    };
    match *sql_type {
        SqlType::Bit => number(0x32, 0x68, 1, Order::Same),
        SqlType::TinyInt => number(0x30, 0x26, 1, Order::Same),
        SqlType::SmallInt => number(0x34, 0x26, 2, Order::Same),
        SqlType::Int => number(0x38, 0x26, 4, Order::Same),
        SqlType::BigInt => number(0x7F, 0x26, 8, Order::Same),
        SqlType::Real => number(0x3B, 0x6D, 4, Order::Same),
        SqlType::Float => number(0x3E, 0x6D, 8, Order::Same),
        SqlType::SmallMoney => number(0x7A, 0x6E, 4, Order::Same),
        SqlType::Money => number(0x3C, 0x6E, 8, Order::Swapped8),
        SqlType::SmallDateTime => number(0x3A, 0x6F, 4, Order::Swapped4),
        SqlType::DateTime => number(0x3D, 0x6F, 8, Order::Swapped8),
        SqlType::UniqueIdentifier => {
            out.extend_from_slice(&[0x24, 16]);
            plain(Length::Byte)
        }
        SqlType::Decimal { precision, scale } => {
            out.extend_from_slice(&[0x6C, 1 + magnitude_len(precision) as u8, precision, scale]);
            plain(Length::Byte)
        }
        SqlType::Date => {
            out.push(0x28);
            plain(Length::Byte)
        }
        SqlType::Time { scale } => scaled(0x29, scale, out),
        SqlType::DateTime2 { scale } => scaled(0x2A, scale, out),
        SqlType::DateTimeOffset { scale } => scaled(0x2B, scale, out),
        SqlType::Char { length, collation } => text(0xAF, 0xEF, Some(length), collation, utf8, out),
        SqlType::VarChar { length, collation } => text(0xA7, 0xE7, length, collation, utf8, out),
        SqlType::NChar { length, collation } => sized(0xEF, Some(length.saturating_mul(2)), Some(collation), out),
        SqlType::NVarChar { length, collation } => {
            sized(0xE7, length.map(|units| units.saturating_mul(2)), Some(collation), out)
        }
        SqlType::Binary { length } => sized(0xAD, Some(length), None, out),
        SqlType::VarBinary { length } => sized(0xA5, length, None, out),
        SqlType::RowVersion => sized(0xAD, Some(8), None, out),
        SqlType::Text { collation } => old_lob(0x23, 0x7FFF_FFFF, Some(collation), out),
        SqlType::NText { collation } => old_lob(0x63, 0x7FFF_FFFE, Some(collation), out),
        SqlType::Image => old_lob(0x22, 0x7FFF_FFFF, None, out),
        SqlType::Variant => {
            out.push(0x62);
            out.extend_from_slice(&VARIANT_MAX.to_le_bytes());
            plain(Length::Variant)
        }
        SqlType::Xml => {
            out.extend_from_slice(&[0xF1, 0]);
            plain(Length::Chunks)
        }
        SqlType::HierarchyId => user_type(892, "hierarchyid", "SqlHierarchyId", out),
        SqlType::Geometry => user_type(MAX, "geometry", "SqlGeometry", out),
        SqlType::Geography => user_type(MAX, "geography", "SqlGeography", out),
        SqlType::Json | SqlType::Vector => sized(0xE7, None, Some(super::collation::LATIN1_GENERAL), out),
        // What nobody knows is bytes.
        SqlType::Clr | SqlType::Unknown { .. } => sized(0xA5, None, None, out),
    }
}

fn scaled(code: u8, scale: u8, out: &mut Vec<u8>) -> Form {
    out.extend_from_slice(&[code, scale]);
    plain(Length::Byte)
}

fn text(code: u8, wide: u8, length: Option<u16>, collation: Collation, utf8: bool, out: &mut Vec<u8>) -> Form {
    if collation.0 & UTF8 != 0 && !utf8 {
        // As many units as bytes are never too few, but may be more than a row holds.
        let form = sized(wide, length.filter(|&n| n <= 4000).map(|n| n * 2), Some(collation), out);
        return Form { order: Order::Utf16, ..form };
    }
    sized(code, length, Some(collation), out)
}

fn sized(code: u8, length: Option<u16>, collation: Option<Collation>, out: &mut Vec<u8>) -> Form {
    out.push(code);
    out.extend_from_slice(&length.unwrap_or(MAX).to_le_bytes());
    if let Some(collation) = collation {
        out.extend_from_slice(&to_wire(collation));
    }
    plain(if length.is_some() { Length::Short } else { Length::Chunks })
}

fn old_lob(code: u8, max: u32, collation: Option<Collation>, out: &mut Vec<u8>) -> Form {
    out.push(code);
    out.extend_from_slice(&max.to_le_bytes());
    if let Some(collation) = collation {
        out.extend_from_slice(&to_wire(collation));
    }
    plain(Length::TextPointer)
}

fn user_type(max: u16, name: &str, class: &str, out: &mut Vec<u8>) -> Form {
    out.push(0xF0);
    out.extend_from_slice(&max.to_le_bytes());
    put_short_text("", out);
    put_short_text("sys", out);
    put_short_text(name, out);
    let assembly = format!(
        "Microsoft.SqlServer.Types.{class}, Microsoft.SqlServer.Types, Version=11.0.0.0, Culture=neutral, PublicKeyToken=89845dcd8080cc91"
    );
    put_long_text(&assembly, out);
    plain(Length::Chunks)
}

/// Bytes of a decimal's magnitude.
pub(super) fn magnitude_len(precision: u8) -> usize {
    match precision {
        0..=9 => 4,
        10..=19 => 8,
        20..=28 => 12,
        _ => 16,
    }
}

/// Whether NULL can be said in this form.
pub(super) fn can_be_null(form: Form) -> bool {
    form.length != Length::Fixed
}

/// Appends NULL, outside a row that has a bitmap of them.
pub(super) fn put_null(form: Form, out: &mut Vec<u8>) -> Result<(), WrongCell> {
    match form.length {
        Length::Fixed => return Err(WrongCell),
        Length::Byte | Length::TextPointer => out.push(0),
        Length::Short => out.extend_from_slice(&[0xFF; 2]),
        Length::Variant => out.extend_from_slice(&[0; 4]),
        Length::Chunks => out.extend_from_slice(&[0xFF; 8]),
    }
    Ok(())
}

/// Appends a cell.
pub(super) fn put_cell(form: Form, cell: &[u8], out: &mut Vec<u8>) -> Result<(), WrongCell> {
    let transcoded;
    let cell = match form.order {
        Order::Same => cell,
        Order::Swapped8 => {
            let whole: [u8; 8] = cell.try_into().map_err(|_| WrongCell)?;
            if form.length == Length::Byte {
                out.push(8);
            }
            out.extend_from_slice(&u64::from_le_bytes(whole).rotate_left(32).to_le_bytes());
            return Ok(());
        }
        Order::Swapped4 => {
            let whole: [u8; 4] = cell.try_into().map_err(|_| WrongCell)?;
            if form.length == Length::Byte {
                out.push(4);
            }
            out.extend_from_slice(&u32::from_le_bytes(whole).rotate_left(16).to_le_bytes());
            return Ok(());
        }
        Order::Utf16 => {
            let mut wide = Vec::new();
            put_utf16(&String::from_utf8_lossy(cell), &mut wide);
            transcoded = wide;
            &transcoded
        }
    };
    match form.length {
        Length::Fixed => {}
        Length::Byte => out.push(u8::try_from(cell.len()).ok().filter(|&n| n != 0).ok_or(WrongCell)?),
        Length::Short => {
            let length = u16::try_from(cell.len()).ok().filter(|&n| n <= 8000).ok_or(WrongCell)?;
            out.extend_from_slice(&length.to_le_bytes());
        }
        Length::Variant => return variant::put(cell, out),
        Length::TextPointer => {
            let length = u32::try_from(cell.len()).map_err(|_| WrongCell)?;
            // Nobody follows the pointer: UPDATETEXT and its like are not among what we do.
            out.push(16);
            out.extend_from_slice(b"dummy textptr\0\0\0dummyTS\0");
            out.extend_from_slice(&length.to_le_bytes());
        }
        Length::Chunks => {
            out.extend_from_slice(&(cell.len() as u64).to_le_bytes());
            for chunk in cell.chunks(CHUNK) {
                out.extend_from_slice(&(chunk.len() as u32).to_le_bytes());
                out.extend_from_slice(chunk);
            }
            out.extend_from_slice(&[0; 4]);
            return Ok(());
        }
    }
    out.extend_from_slice(cell);
    Ok(())
}

#[cfg(test)]
mod tests;

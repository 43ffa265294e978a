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

use logferry_model::{Collation, SqlType};
use logferry_mssql_format::bytes::Result;

use super::collation::{from_wire, to_wire};
use super::variant;
use super::wire::{Reader, put_long_text, put_short_text, put_utf16};

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

/// A type as a client sends it with a parameter.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SentType {
    /// One that a value follows.
    Of(SqlType, SentForm),
    /// One that we cannot take; the text says which.
    Refused(&'static str),
}

/// How the value of a parameter is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SentForm {
    /// No length: so many bytes.
    Fixed(u8),
    /// As [`Length::Byte`] where 0 is NULL; for the oldest string types 0xFF would be, but is not told from 255 bytes.
    Byte,
    Short,
    Long,
    Variant,
    Chunks,
}

/// The TYPE_INFO of a parameter.
pub(super) fn read_type(from: &mut Reader<'_>) -> Result<SentType> {
    use SentForm as F;
    let code = from.u8("a parameter's type")?;
    let of = |sql_type, form| Ok(SentType::Of(sql_type, form));
    match code {
        0x1F => of(SqlType::Int, F::Fixed(0)),
        0x30 => of(SqlType::TinyInt, F::Fixed(1)),
        0x32 => of(SqlType::Bit, F::Fixed(1)),
        0x34 => of(SqlType::SmallInt, F::Fixed(2)),
        0x38 => of(SqlType::Int, F::Fixed(4)),
        0x3A => of(SqlType::SmallDateTime, F::Fixed(4)),
        0x3B => of(SqlType::Real, F::Fixed(4)),
        0x3C => of(SqlType::Money, F::Fixed(8)),
        0x3D => of(SqlType::DateTime, F::Fixed(8)),
        0x3E => of(SqlType::Float, F::Fixed(8)),
        0x7A => of(SqlType::SmallMoney, F::Fixed(4)),
        0x7F => of(SqlType::BigInt, F::Fixed(8)),
        0x24 => {
            from.u8("the size of a uniqueidentifier")?;
            of(SqlType::UniqueIdentifier, F::Byte)
        }
        0x26 | 0x68 | 0x6D | 0x6E | 0x6F => {
            let sql_type = match (code, from.u8("the size of a number")?) {
                (0x26, 1) => SqlType::TinyInt,
                (0x26, 2) => SqlType::SmallInt,
                (0x26, 4) => SqlType::Int,
                (0x26, 8) => SqlType::BigInt,
                (0x68, 1) => SqlType::Bit,
                (0x6D, 4) => SqlType::Real,
                (0x6D, 8) => SqlType::Float,
                (0x6E, 4) => SqlType::SmallMoney,
                (0x6E, 8) => SqlType::Money,
                (0x6F, 4) => SqlType::SmallDateTime,
                (0x6F, 8) => SqlType::DateTime,
                (_, size) => return from.fail(format!("type {code:#04x} of {size} bytes")),
            };
            of(sql_type, F::Byte)
        }
        0x37 | 0x3F | 0x6A | 0x6C => {
            let [_, precision, scale] = from.array("a decimal's precision")?;
            if !(1..=38).contains(&precision) || scale > precision {
                return from.fail(format!("decimal({precision},{scale})"));
            }
            of(SqlType::Decimal { precision, scale }, F::Byte)
        }
        0x28 => of(SqlType::Date, F::Byte),
        0x29..=0x2B => {
            let scale = from.u8("a time's scale")?;
            if scale > 7 {
                return from.fail(format!("a time of scale {scale}"));
            }
            let sql_type = match code {
                0x29 => SqlType::Time { scale },
                0x2A => SqlType::DateTime2 { scale },
                _ => SqlType::DateTimeOffset { scale },
            };
            of(sql_type, F::Byte)
        }
        0x25 | 0x2D => {
            let length = u16::from(from.u8("a binary's size")?);
            of(
                if code == 0x2D { SqlType::Binary { length } } else { SqlType::VarBinary { length: Some(length) } },
                F::Byte,
            )
        }
        0x27 | 0x2F => {
            let length = u16::from(from.u8("a string's size")?);
            let collation = read_collation(from)?;
            let varies = code == 0x27;
            of(
                if varies {
                    SqlType::VarChar { length: Some(length), collation }
                } else {
                    SqlType::Char { length, collation }
                },
                F::Byte,
            )
        }
        0xA5 | 0xAD => {
            let length = from.u16("a binary's size")?;
            match (code, length) {
                (0xA5, MAX) => of(SqlType::VarBinary { length: None }, F::Chunks),
                (0xA5, _) => of(SqlType::VarBinary { length: Some(length) }, F::Short),
                _ => of(SqlType::Binary { length }, F::Short),
            }
        }
        0xA7 | 0xAF => {
            let length = from.u16("a string's size")?;
            let collation = read_collation(from)?;
            match (code, length) {
                (0xA7, MAX) => of(SqlType::VarChar { length: None, collation }, F::Chunks),
                (0xA7, _) => of(SqlType::VarChar { length: Some(length), collation }, F::Short),
                _ => of(SqlType::Char { length, collation }, F::Short),
            }
        }
        0xE7 | 0xEF => {
            let length = from.u16("a string's size")?;
            let collation = read_collation(from)?;
            match (code, length) {
                (0xE7, MAX) => of(SqlType::NVarChar { length: None, collation }, F::Chunks),
                (0xE7, _) => of(SqlType::NVarChar { length: Some(length / 2), collation }, F::Short),
                _ => of(SqlType::NChar { length: length / 2, collation }, F::Short),
            }
        }
        0x22 => {
            from.u32("an image's size")?;
            of(SqlType::Image, F::Long)
        }
        0x23 | 0x63 => {
            from.u32("a text's size")?;
            let collation = read_collation(from)?;
            of(if code == 0x23 { SqlType::Text { collation } } else { SqlType::NText { collation } }, F::Long)
        }
        0x62 => {
            from.u32("a variant's size")?;
            of(SqlType::Variant, F::Variant)
        }
        0xF0 => {
            from.short_text("a type's database")?;
            from.short_text("a type's schema")?;
            let name = from.short_text("a type's name")?;
            let sql_type = match name.to_ascii_lowercase().as_str() {
                "hierarchyid" => SqlType::HierarchyId,
                "geometry" => SqlType::Geometry,
                "geography" => SqlType::Geography,
                _ => SqlType::Clr,
            };
            of(sql_type, F::Chunks)
        }
        0xF1 => {
            if from.u8("whether an xml has a schema")? != 0 {
                from.short_text("a schema's database")?;
                from.short_text("a schema's owner")?;
                from.long_text("a schema's name")?;
            }
            of(SqlType::Xml, F::Chunks)
        }
        0xF3 => Ok(SentType::Refused("a table-valued parameter")),
        0xF4 => of(SqlType::Json, F::Chunks),
        0xF5 => Ok(SentType::Refused("a parameter of type vector")),
        _ => from.fail(format!("a parameter of unknown type {code:#04x}")),
    }
}

fn read_collation(from: &mut Reader<'_>) -> Result<Collation> {
    from.array("a collation").map(from_wire)
}

/// The value of a parameter as a cell; `None` for NULL.
pub(super) fn read_cell(sql_type: &SqlType, form: SentForm, from: &mut Reader<'_>) -> Result<Option<Vec<u8>>> {
    let what = "a parameter's value";
    let bytes = match form {
        SentForm::Fixed(0) => return Ok(None),
        SentForm::Fixed(length) => from.bytes(length.into(), what)?,
        SentForm::Byte => match from.u8(what)? {
            0 => return Ok(None),
            length => from.bytes(length.into(), what)?,
        },
        SentForm::Short => match from.u16(what)? {
            0xFFFF => return Ok(None),
            length => from.bytes(length.into(), what)?,
        },
        SentForm::Long => match from.u32(what)? {
            u32::MAX => return Ok(None),
            length => from.bytes(length as usize, what)?,
        },
        SentForm::Variant => match from.u32(what)? {
            0 => return Ok(None),
            length => {
                let sent = from.bytes(length as usize, what)?;
                return variant::stored(sent).map(Some);
            }
        },
        SentForm::Chunks => {
            if from.u64(what)? == u64::MAX {
                return Ok(None);
            }
            let mut whole = Vec::new();
            loop {
                match from.u32("the length of a chunk")? {
                    0 => break,
                    length => whole.extend_from_slice(from.bytes(length as usize, what)?),
                }
            }
            if *sql_type == SqlType::Xml && whole.starts_with(&[0xFF, 0xFE]) {
                whole.drain(..2);
            }
            return Ok(Some(whole));
        }
    };
    stored(sql_type, bytes, from).map(Some)
}

fn stored(sql_type: &SqlType, bytes: &[u8], from: &Reader<'_>) -> Result<Vec<u8>> {
    let whole = || {
        let expect = match *sql_type {
            SqlType::Bit | SqlType::TinyInt => 1,
            SqlType::SmallInt => 2,
            SqlType::Date => 3,
            SqlType::Int | SqlType::Real | SqlType::SmallMoney | SqlType::SmallDateTime => 4,
            SqlType::BigInt | SqlType::Float | SqlType::Money | SqlType::DateTime => 8,
            SqlType::UniqueIdentifier => 16,
            SqlType::Time { scale } => time_len(scale),
            SqlType::DateTime2 { scale } => time_len(scale) + 3,
            SqlType::DateTimeOffset { scale } => time_len(scale) + 5,
            SqlType::NChar { .. } | SqlType::NVarChar { .. } | SqlType::NText { .. } if bytes.len() % 2 == 1 => {
                return from.fail("half a character");
            }
            _ => return Ok(bytes),
        };
        if bytes.len() == expect { Ok(bytes) } else { from.fail(format!("{} bytes for {sql_type:?}", bytes.len())) }
    };
    let bytes = whole()?;
    Ok(match *sql_type {
        SqlType::Bit => vec![u8::from(bytes.iter().any(|&byte| byte != 0))],
        SqlType::Money | SqlType::DateTime | SqlType::SmallDateTime => {
            let (first, second) = bytes.split_at(bytes.len() / 2);
            [second, first].concat()
        }
        SqlType::Decimal { precision, .. } => {
            let Some(cell) = decimal(precision, bytes) else { return from.fail("a decimal that is too long") };
            cell
        }
        _ => bytes.to_vec(),
    })
}

/// Sign and magnitude as stored: as long as the precision asks, and zero is not negative.
pub(super) fn decimal(precision: u8, sent: &[u8]) -> Option<Vec<u8>> {
    let (sign, magnitude) = sent.split_first()?;
    let mut cell = vec![0; 1 + magnitude_len(precision)];
    let kept = magnitude.len().min(cell.len() - 1);
    let (magnitude, beyond) = magnitude.split_at(kept);
    if beyond.iter().any(|&byte| byte != 0) {
        return None;
    }
    let zero = magnitude.iter().all(|&byte| byte == 0);
    cell[0] = u8::from(*sign != 0 || zero);
    cell[1..=kept].copy_from_slice(magnitude);
    Some(cell)
}

fn time_len(scale: u8) -> usize {
    match scale {
        0..=2 => 3,
        3 | 4 => 4,
        _ => 5,
    }
}

#[cfg(test)]
mod tests;

//! Parameters of clients: their types, and their values in the storage engine's form.

use logferry_model::{Collation, SqlType};
use logferry_mssql_format::bytes::Result;

use super::super::collation::from_wire;
use super::super::rows::table_parameter;
use super::super::session::TableParameter;
use super::super::variant;
use super::super::wire::Reader;
use super::{MAX, magnitude_len};

/// A type as a client sends it with a parameter.
#[derive(Debug, PartialEq)]
pub(in crate::tds) enum SentType {
    /// One that a value follows.
    Of(SqlType, SentForm),
    /// A table-valued parameter, with its rows.
    Table(TableParameter),
    /// One that we cannot take; the text says which.
    Refused(&'static str),
}

/// How the value of a parameter is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tds) enum SentForm {
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
pub(in crate::tds) fn read_type(from: &mut Reader<'_>) -> Result<SentType> {
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
        0xF3 => Ok(match table_parameter(from)? {
            Ok(table) => SentType::Table(table),
            Err(what) => SentType::Refused(what),
        }),
        0xF4 => of(SqlType::Json, F::Chunks),
        0xF5 => Ok(SentType::Refused("a parameter of type vector")),
        _ => from.fail(format!("a parameter of unknown type {code:#04x}")),
    }
}

fn read_collation(from: &mut Reader<'_>) -> Result<Collation> {
    from.array("a collation").map(from_wire)
}

/// The value of a parameter as a cell; `None` for NULL.
pub(in crate::tds) fn read_cell(sql_type: &SqlType, form: SentForm, from: &mut Reader<'_>) -> Result<Option<Vec<u8>>> {
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
pub(in crate::tds) fn decimal(precision: u8, sent: &[u8]) -> Option<Vec<u8>> {
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

pub(super) fn time_len(scale: u8) -> usize {
    match scale {
        0..=2 => 3,
        3 | 4 => 4,
        _ => 5,
    }
}

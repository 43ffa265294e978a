//! `sql_variant` to text, or to JSON with its base type.
//!
//! ```text
//! ├ u8 base type ┤ u8 version, 1 ┤ properties ┤ value, in the storage form of its type ┤
//!
//! base type                              properties
//! decimal 106, numeric 108               u8 precision, u8 scale
//! time 41, datetime2 42, datetimeoffset 43   u8 scale
//! binary 173, varbinary 165              u16 greatest length
//! char 175, varchar 167                  u16 greatest length, u32 collation
//! nchar 239, nvarchar 231                u16 greatest length, u32 collation
//! others                                 none
//! ```
//!
//! Numbers get all their digits (a float the fewest that give it back), times those of their type, binaries and base
//! types that are not known `0x` and hexadecimal digits, as SQL Server shows them.

use std::io::Write;

use logferry_model::Collation;

use crate::encode::code_page::Decoder;
use crate::encode::text::{Changed, TextRules, utf16};
use crate::encode::{clock, number, written};
use crate::error::CellError;
use logferry_mssql_format::collation::{CodePage, code_page};

/// `sql_variant` to `text`.
pub(crate) fn text(cell: &[u8], rules: TextRules, out: &mut Vec<u8>) -> Result<Changed, CellError> {
    const BROKEN: CellError = CellError::Structure("the sql_variant");
    let [base, version, rest @ ..] = cell else { return Err(BROKEN) };
    if *version != 1 {
        hexadecimal(cell, out);
        return Ok(Changed::default());
    }
    let integer = |value: i64, out: &mut Vec<u8>| written(write!(out, "{value}"));
    match (*base, rest) {
        (48, &[value]) => integer(value.into(), out),
        (52, _) => integer(i16::from_le_bytes(number::fixed(rest)?).into(), out),
        (56, _) => integer(i32::from_le_bytes(number::fixed(rest)?).into(), out),
        (127, _) => integer(i64::from_le_bytes(number::fixed(rest)?), out),
        (104, &[value @ 0..=1]) => integer(value.into(), out),
        (59, _) => {
            let value = f32::from_le_bytes(number::fixed(rest)?);
            let plain = value == 0.0 || (1e-5..1e15).contains(&value.abs());
            written(if plain { write!(out, "{value}") } else { write!(out, "{value:e}") });
        }
        (62, _) => {
            let value = f64::from_le_bytes(number::fixed(rest)?);
            let plain = value == 0.0 || (1e-5..1e15).contains(&value.abs());
            written(if plain { write!(out, "{value}") } else { write!(out, "{value:e}") });
        }
        (60, _) => {
            let value = i64::from_le_bytes(number::fixed(rest)?);
            fixed_point(value < 0, value.unsigned_abs().into(), 4, out);
        }
        (122, _) => {
            let value = i32::from_le_bytes(number::fixed(rest)?);
            fixed_point(value < 0, value.unsigned_abs().into(), 4, out);
        }
        (106 | 108, [_, scale @ 0..=38, value @ ..]) => {
            let (sign, magnitude) = number::sign_and_magnitude(value)?;
            fixed_point(sign == 0 && magnitude != 0, magnitude, usize::from(*scale), out);
        }
        (40, _) => clock::date_text(rest, out)?,
        (41, [scale @ 0..=7, value @ ..]) => clock::time_text(value, *scale, out)?,
        (42, [scale @ 0..=7, value @ ..]) => clock::datetime2_text(value, *scale, out)?,
        (43, [scale @ 0..=7, value @ ..]) => clock::datetimeoffset_text(value, *scale, out)?,
        (58, _) => clock::smalldatetime_text(rest, out)?,
        (61, _) => clock::datetime_text(rest, out)?,
        (36, _) => uuid(rest, out)?,
        (165 | 173, [_, _, value @ ..]) => hexadecimal(value, out),
        (167 | 175, [_, _, a, b, c, d, value @ ..]) => {
            let decoder = match code_page(Collation(u32::from_le_bytes([*a, *b, *c, *d]))) {
                Some(CodePage::Utf8) => Decoder::Utf8,
                Some(CodePage::Windows(number)) => Decoder::of(number).unwrap_or(Decoder::AsciiOnly),
                Some(CodePage::UnicodeOnly) | None => Decoder::AsciiOnly,
            };
            return decoder.decode(value, rules, out);
        }
        (231 | 239, [_, _, _, _, _, _, value @ ..]) => return utf16(value, rules, out),
        (48 | 104 | 106 | 108 | 41..=43 | 165 | 173 | 167 | 175 | 231 | 239, _) => return Err(BROKEN),
        _ => hexadecimal(cell, out),
    }
    Ok(Changed::default())
}

/// `sql_variant` to `jsonb`, in the form that PostgreSQL receives: a version, 1, and text.
pub(crate) fn json(cell: &[u8], rules: TextRules, out: &mut Vec<u8>) -> Result<Changed, CellError> {
    let mut value = Vec::new();
    let changed = text(cell, rules, &mut value)?;
    let base = cell.first().copied().unwrap_or_default();
    // Of an unknown version the bytes are shown, whatever their type.
    let (name, is_number) = if cell.get(1) == Some(&1) { base_type(base) } else { (None, false) };
    out.push(1);
    match name {
        Some(name) => written(write!(out, "{{\"type\":\"{name}\",\"value\":")),
        None => written(write!(out, "{{\"type\":{base},\"value\":")),
    }
    if is_number {
        out.extend_from_slice(&value);
    } else {
        out.push(b'"');
        for byte in value {
            match byte {
                b'"' | b'\\' => out.extend([b'\\', byte]),
                // What is above is UTF-8.
                0..0x20 => written(write!(out, "\\u{byte:04x}")),
                _ => out.push(byte),
            }
        }
        out.push(b'"');
    }
    out.push(b'}');
    Ok(changed)
}

/// A base type's name, and whether its values are numbers in JSON.
fn base_type(code: u8) -> (Option<&'static str>, bool) {
    let (name, is_number) = match code {
        48 => ("tinyint", true),
        52 => ("smallint", true),
        56 => ("int", true),
        127 => ("bigint", true),
        104 => ("bit", true),
        59 => ("real", true),
        62 => ("float", true),
        60 => ("money", true),
        122 => ("smallmoney", true),
        106 => ("decimal", true),
        108 => ("numeric", true),
        40 => ("date", false),
        41 => ("time", false),
        42 => ("datetime2", false),
        43 => ("datetimeoffset", false),
        58 => ("smalldatetime", false),
        61 => ("datetime", false),
        36 => ("uniqueidentifier", false),
        165 => ("varbinary", false),
        173 => ("binary", false),
        167 => ("varchar", false),
        175 => ("char", false),
        231 => ("nvarchar", false),
        239 => ("nchar", false),
        _ => return (None, false),
    };
    (Some(name), is_number)
}

fn fixed_point(negative: bool, magnitude: u128, scale: usize, out: &mut Vec<u8>) {
    if negative {
        out.push(b'-');
    }
    let digits = format!("{magnitude:0width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    out.extend_from_slice(whole.as_bytes());
    if !fraction.is_empty() {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    }
}

fn uuid(cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    let mut bytes = Vec::with_capacity(16);
    number::uuid(cell, &mut bytes)?;
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        written(write!(out, "{byte:02X}"));
    }
    Ok(())
}

fn hexadecimal(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"0x");
    for byte in bytes {
        written(write!(out, "{byte:02X}"));
    }
}

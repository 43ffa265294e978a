//! Values in binary XML.

use std::io::Write;

use super::{Reader, characters};
use crate::bytes::{Malformed, Result, array, u8_at, u32_at};
use crate::render::time;

pub(super) const QNAME: u8 = 0x8C;

/// Whether a value is text: `char`, `nchar`, `varchar`, `nvarchar`, `text`, `ntext`.
pub(super) fn is_text(token: u8) -> bool {
    matches!(token, 0x0D | 0x0E | 0x10 | 0x11 | 0x16 | 0x18)
}

/// The bytes of a value.
pub(super) fn of<'a>(reader: &mut Reader<'a>, token: u8) -> Result<&'a [u8]> {
    let len = match token {
        // bit, tinyint, xs:boolean, xs:byte
        0x06 | 0x07 | 0x86 | 0x88 => 1,
        // smallint, xs:unsignedShort
        0x01 | 0x89 => 2,
        // int, real, smalldatetime, smallmoney, xs:unsignedInt
        0x02 | 0x03 | 0x13 | 0x14 | 0x8A => 4,
        // float, money, bigint, datetime, xs:time, xs:dateTime, xs:date, xs:unsignedLong
        0x04 | 0x05 | 0x08 | 0x12 | 0x81 | 0x82 | 0x83 | 0x8B => 8,
        // uniqueidentifier
        0x09 => 16,
        // date
        0x7F => 3,
        // time, datetime2, and with an offset
        0x7A..=0x7E => {
            let time = match u8_at(reader.bytes, reader.at, "scale")? {
                0..=2 => 3,
                3 | 4 => 4,
                5..=7 => 5,
                scale => return Err(Malformed::new(format!("a time of scale {scale}"), reader.at)),
            };
            1 + time + 3 + if token < 0x7D { 2 } else { 0 }
        }
        // decimal, numeric, xs:decimal; binary, varbinary, image, CLR types, xs:hexBinary, xs:base64Binary; char, varchar, text
        0x0A | 0x0B | 0x87 | 0x0C | 0x0F | 0x17 | 0x1B | 0x84 | 0x85 | 0x0D | 0x10 | 0x16 => reader.number()?,
        // nchar, nvarchar, ntext
        0x0E | 0x11 | 0x18 => return reader.units(),
        other => {
            return Err(Malformed::new(format!("binary XML has a value of the unknown type {other:#04x}"), reader.at));
        }
    };
    reader.take(len, "value")
}

/// Appends a value as text.
pub(super) fn write(token: u8, bytes: &[u8], in_attribute: bool, out: &mut Vec<u8>) -> Result<()> {
    let unreadable = || Malformed::new(format!("a value of type {token:#04x} cannot be read"), 0);
    let number = |out: &mut Vec<u8>, args: std::fmt::Arguments<'_>| {
        out.write_fmt(args).map_err(|e| Malformed::new(e.to_string(), 0))
    };
    match token {
        0x0E | 0x11 | 0x18 => characters(bytes, |character| escaped(character, in_attribute, out))?,
        // A code page in front. Only what is ASCII, and UTF-16, is known to be stored.
        0x0D | 0x10 | 0x16 => {
            let text = bytes.get(4..).filter(|text| text.is_ascii()).ok_or_else(unreadable)?;
            text.iter().for_each(|&b| escaped(char::from(b), in_attribute, out));
        }
        0x86 => out.extend_from_slice(if u8_at(bytes, 0, "boolean")? == 0 { b"false" } else { b"true" }),
        0x06 | 0x07 => number(out, format_args!("{}", u8_at(bytes, 0, "number")?))?,
        0x88 => number(out, format_args!("{}", i8::from_le_bytes(array(bytes, 0, "number")?)))?,
        0x01 => number(out, format_args!("{}", i16::from_le_bytes(array(bytes, 0, "number")?)))?,
        0x89 => number(out, format_args!("{}", u16::from_le_bytes(array(bytes, 0, "number")?)))?,
        0x02 => number(out, format_args!("{}", i32::from_le_bytes(array(bytes, 0, "number")?)))?,
        0x8A => number(out, format_args!("{}", u32_at(bytes, 0, "number")?))?,
        0x08 => number(out, format_args!("{}", i64::from_le_bytes(array(bytes, 0, "number")?)))?,
        0x8B => number(out, format_args!("{}", u64::from_le_bytes(array(bytes, 0, "number")?)))?,
        0x03 => float(f32::from_le_bytes(array(bytes, 0, "number")?), out),
        0x04 => float(f64::from_le_bytes(array(bytes, 0, "number")?), out),
        0x14 => decimal(
            i32::from_le_bytes(array(bytes, 0, "money")?) < 0,
            u128::from(i32::from_le_bytes(array(bytes, 0, "money")?).unsigned_abs()),
            4,
            2,
            out,
        ),
        0x05 => decimal(
            i64::from_le_bytes(array(bytes, 0, "money")?) < 0,
            u128::from(i64::from_le_bytes(array(bytes, 0, "money")?).unsigned_abs()),
            4,
            2,
            out,
        ),
        0x0A | 0x0B | 0x87 => {
            let [_precision, scale, sign, magnitude @ ..] = bytes else { return Err(unreadable()) };
            let mut le = [0; 16];
            le.get_mut(..magnitude.len()).ok_or_else(unreadable)?.copy_from_slice(magnitude);
            if *scale > 38 {
                return Err(unreadable());
            }
            let keep = if token == 0x87 { 0 } else { *scale };
            decimal(*sign == 0, u128::from_le_bytes(le), *scale, keep, out);
        }
        0x09 => {
            let [a, b, c, d, e, f, g, h, rest @ ..] = array::<16>(bytes, 0, "uniqueidentifier")?;
            for (at, byte) in [d, c, b, a, f, e, h, g].into_iter().chain(rest).enumerate() {
                if matches!(at, 4 | 6 | 8 | 10) {
                    out.push(b'-');
                }
                number(out, format_args!("{byte:02x}"))?;
            }
        }
        0x0C | 0x0F | 0x17 | 0x1B | 0x85 => base64(bytes, out),
        0x84 => bytes.iter().try_for_each(|byte| number(out, format_args!("{byte:02X}")))?,
        _ => {
            let mut text = String::new();
            date_or_time(token, bytes, &mut text).ok_or_else(unreadable)?;
            out.extend_from_slice(text.as_bytes());
        }
    }
    Ok(())
}

fn escaped(character: char, in_attribute: bool, out: &mut Vec<u8>) {
    match character {
        '&' => out.extend_from_slice(b"&amp;"),
        '<' => out.extend_from_slice(b"&lt;"),
        '>' => out.extend_from_slice(b"&gt;"),
        '\r' => out.extend_from_slice(b"&#xD;"),
        '"' if in_attribute => out.extend_from_slice(b"&quot;"),
        '\t' if in_attribute => out.extend_from_slice(b"&#x9;"),
        '\n' if in_attribute => out.extend_from_slice(b"&#xA;"),
        other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

fn float<F: Into<f64> + std::fmt::Display + std::fmt::UpperExp + Copy>(value: F, out: &mut Vec<u8>) {
    let wide: f64 = value.into();
    let text = if wide.is_nan() {
        "NaN".to_owned()
    } else if wide.is_infinite() {
        if wide < 0.0 { "-INF" } else { "INF" }.to_owned()
    } else if wide == 0.0 || (1e-5..1e15).contains(&wide.abs()) {
        value.to_string()
    } else {
        format!("{value:E}")
    };
    out.extend_from_slice(text.as_bytes());
}

/// A decimal, its zeroes at the end taken off down to `keep` digits behind the point.
fn decimal(negative: bool, magnitude: u128, scale: u8, keep: u8, out: &mut Vec<u8>) {
    let digits = format!("{magnitude:0width$}", width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    let significant = fraction.trim_end_matches('0').len().max(usize::from(keep));
    if negative && magnitude != 0 {
        out.push(b'-');
    }
    out.extend_from_slice(whole.as_bytes());
    if significant != 0 {
        out.push(b'.');
        out.extend_from_slice(fraction.get(..significant).unwrap_or(fraction).as_bytes());
    }
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for three in bytes.chunks(3) {
        let group = three.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            let value = (group >> (18 - 6 * digit) & 0x3F) as usize;
            out.push(if digit > three.len() { b'=' } else { DIGITS[value] });
        }
    }
}

fn date_or_time(token: u8, bytes: &[u8], out: &mut String) -> Option<()> {
    match token {
        // Days first, not ticks.
        0x12 => {
            let (days, ticks) = bytes.split_at_checked(4)?;
            time::datetime(&[ticks, days].concat(), out)?;
            short_fraction(out);
        }
        0x13 => {
            let (days, minutes) = bytes.split_at_checked(2)?;
            time::smalldatetime(&[minutes, days].concat(), out)?;
        }
        0x7F => time::date(bytes, out)?,
        0x7D | 0x7E => {
            let (scale, rest) = bytes.split_first()?;
            let mut text = String::new();
            time::datetime2(rest, *scale, &mut text)?;
            short_fraction(&mut text);
            out.push_str(if token == 0x7D { text.split_once('T')?.1 } else { &text });
        }
        0x7A..=0x7C => {
            let (scale, rest) = bytes.split_first()?;
            let mut text = String::new();
            time::datetimeoffset(rest, *scale, &mut text)?;
            let zone = text.split_off(text.len().checked_sub(6)?);
            short_fraction(&mut text);
            let zone = if zone == "+00:00" { "Z" } else { &zone };
            let (date, time) = text.split_once('T')?;
            match token {
                0x7A => *out += &format!("{time}{zone}"),
                0x7B => *out += &format!("{text}{zone}"),
                _ => *out += &format!("{date}{zone}"),
            }
        }
        0x81..=0x83 => xsd_2005(token, i64::from_le_bytes(bytes.try_into().ok()?), out)?,
        _ => return None,
    }
    Some(())
}

/// Zeroes at the end of a fraction go.
fn short_fraction(text: &mut String) {
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
}

/// `xs:time`, `xs:dateTime` and `xs:date` as 2005 stores them: mixed radix, two bits of flags lowest.
fn xsd_2005(token: u8, stored: i64, out: &mut String) -> Option<()> {
    use std::fmt::Write;
    let mut left = (stored >= 0).then_some(stored / 4)?;
    let mut digit = |radix: i64| {
        let digit = left % radix;
        left /= radix;
        digit
    };
    if token == 0x83 {
        let zone = digit(29 * 60) - 14 * 60;
        let (day, month) = (digit(31) + 1, digit(12) + 1);
        write_year(left - 9999, out)?;
        write!(out, "-{month:02}-{day:02}").ok()?;
        return match zone {
            0 => write!(out, "Z").ok(),
            // What is stored is what leads to UTC.
            _ => {
                let sign = if zone < 0 { '+' } else { '-' };
                write!(out, "{sign}{:02}:{:02}", zone.abs() / 60, zone.abs() % 60).ok()
            }
        };
    }
    let (ms, second, minute) = (digit(1000), digit(60), digit(60));
    if token == 0x82 {
        let (hour, day, month) = (digit(24), digit(31) + 1, digit(12) + 1);
        write_year(left - 9999, out)?;
        write!(out, "-{month:02}-{day:02}T{hour:02}").ok()?;
    } else if left < 24 {
        write!(out, "{left:02}").ok()?;
    } else {
        return None;
    }
    write!(out, ":{minute:02}:{second:02}").ok()?;
    if ms != 0 {
        write!(out, ".{ms:03}").ok()?;
    }
    out.push('Z');
    Some(())
}

fn write_year(year: i64, out: &mut String) -> Option<()> {
    use std::fmt::Write;
    if !(-9999..=9999).contains(&year) {
        return None;
    }
    write!(out, "{}{:04}", if year < 0 { "-" } else { "" }, year.abs()).ok()
}

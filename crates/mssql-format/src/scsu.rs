//! Unicode compression of `nchar` and `nvarchar` in compressed rows: the Standard Compression Scheme for Unicode,
//! [UTS #6](https://www.unicode.org/reports/tr6/).
//!
//! A stream is in one of two modes. In *single-byte mode* a byte below 0x80 is ASCII and one from 0x80 on is a place in the
//! active of eight windows of 128 characters, which commands select and move; in *Unicode mode* there are UTF-16 units, most
//! significant byte first.
//!
//! A value is stored in UTF-16 where that is not longer. What tells the two apart is the length: UTF-16 has an even one, so
//! SQL Server makes that of a stream odd with a byte at the end that means nothing (mostly 0x10, which selects window 0; in
//! Unicode mode any byte, for there it is half a unit).
//!
//! That there is such a rule, and what the last byte is, comes from published observations of 2008 R2 to 2025; no file at hand has such
//! values. 2008 compressed rows without compressing Unicode: there all lengths are even.

use crate::bytes::{Malformed, Result, array};

const STATIC: [u32; 8] = [0x0000, 0x0080, 0x0100, 0x0300, 0x2000, 0x2080, 0x2100, 0x3000];
pub(crate) const DYNAMIC: [u32; 8] = [0x0080, 0x00C0, 0x0400, 0x0600, 0x0900, 0x3040, 0x30A0, 0xFF00];

/// Appends the text of a stream as UTF-16LE.
///
/// # Errors
/// For commands that are reserved, and where a command lacks more than the byte that evens the length out.
pub fn expand(stream: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let mut windows = DYNAMIC;
    let (mut active, mut unicode) = (0usize, false);
    let mut at = 0;
    while let Some(&byte) = stream.get(at) {
        let operands = if unicode { unicode_operands(byte) } else { single_operands(byte) };
        if stream.len() - at <= operands {
            // A command at the very end is the byte that makes the length odd.
            if stream.len() - at == 1 {
                return Ok(());
            }
            return Err(Malformed::new(format!("compressed text ends in a command {byte:#04x}"), at));
        }
        let [one, two]: [u8; 2] = match operands {
            0 => [0, 0],
            1 => [array::<1>(stream, at + 1, "compressed text")?[0], 0],
            _ => array(stream, at + 1, "compressed text")?,
        };
        let n = usize::from(byte & 7);
        match (unicode, byte) {
            (false, 0x80..) => push(out, windows[active] + u32::from(byte - 0x80)),
            (false, 0x00 | 0x09 | 0x0A | 0x0D | 0x20..=0x7F) => push(out, u32::from(byte)),
            (false, 0x01..=0x08) => {
                let n = usize::from(byte - 1) & 7;
                let base = if one < 0x80 { STATIC[n] } else { windows[n] };
                push(out, base + u32::from(one & 0x7F));
            }
            (false, 0x0B) | (true, 0xF1) => {
                active = usize::from(one >> 5);
                windows[active] = 0x10000 + (u32::from(one & 0x1F) << 8 | u32::from(two)) * 0x80;
                unicode = false;
            }
            (false, 0x0E) | (true, 0xF0) => out.extend([two, one]),
            (false, 0x0F) => unicode = true,
            (false, 0x10..=0x17) => active = n,
            (true, 0xE0..=0xE7) => (active, unicode) = (n, false),
            (false, 0x18..=0x1F) | (true, 0xE8..=0xEF) => {
                windows[n] = window(one).ok_or_else(|| {
                    Malformed::new(format!("compressed text defines a window by the reserved {one:#04x}"), at)
                })?;
                (active, unicode) = (n, false);
            }
            (true, 0xF2) | (false, 0x0C) => {
                return Err(Malformed::new(format!("compressed text has the reserved command {byte:#04x}"), at));
            }
            (true, _) => out.extend([one, byte]),
        }
        at += 1 + operands;
    }
    Ok(())
}

fn single_operands(byte: u8) -> usize {
    match byte {
        0x01..=0x08 | 0x18..=0x1F => 1,
        0x0B | 0x0E => 2,
        _ => 0,
    }
}

fn unicode_operands(byte: u8) -> usize {
    match byte {
        0xE0..=0xE7 | 0xF2 => 0,
        0xF0 | 0xF1 => 2,
        // The second half of a unit, too.
        _ => 1,
    }
}

/// Where a window begins by the byte that defines it; `None` for reserved bytes.
fn window(byte: u8) -> Option<u32> {
    Some(match byte {
        0x01..=0x67 => u32::from(byte) * 0x80,
        0x68..=0xA7 => u32::from(byte) * 0x80 + 0xAC00,
        0xF9 => 0x00C0,
        0xFA => 0x0250,
        0xFB => 0x0370,
        0xFC => 0x0530,
        0xFD => 0x3040,
        0xFE => 0x30A0,
        0xFF => 0xFF60,
        _ => return None,
    })
}

fn push(out: &mut Vec<u8>, code: u32) {
    match code {
        // Windows may lie over surrogates: such units are kept as they are.
        0..0x10000 => out.extend((code as u16).to_le_bytes()),
        _ => {
            let code = code - 0x10000;
            out.extend((0xD800 | (code >> 10) as u16 & 0x3FF).to_le_bytes());
            out.extend((0xDC00 | (code & 0x3FF) as u16).to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::expand;

    fn check(stream: &[u8], text: &str) {
        let mut out = Vec::new();
        expand(stream, &mut out).unwrap();
        let units: Vec<u16> = out.chunks_exact(2).map(|u| u16::from_le_bytes([u[0], u[1]])).collect();
        assert_eq!(String::from_utf16(&units).unwrap(), text, "{stream:02x?}");
    }

    fn check_refused(stream: &[u8], why: &str) {
        let error = expand(stream, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn the_examples_of_the_standard() {
        // German, Russian, Japanese: UTS #6, section 9.
        check(b"\xD6l flie\xDFt", "Öl fließt");
        check(&[0x12, 0x9C, 0xBE, 0xC1, 0xBA, 0xB2, 0xB0], "Москва");
        check(
            &[
                0x08, 0x00, 0x1B, 0x4C, 0xEA, 0x16, 0xCA, 0xD3, 0x94, 0x0F, 0x53, 0xEF, 0x61, 0x1B, 0xE5, 0x84, 0xC4,
                0x0F, 0x53, 0xEF, 0x61, 0x1B, 0xE5, 0x84, 0xC4, 0x16, 0xCA, 0xD3, 0x94, 0x08, 0x02, 0x0F, 0x53, 0x4A,
                0x4E, 0x16, 0x7D, 0x00, 0x30, 0x82, 0x52, 0x4D, 0x30, 0x6B, 0x6D, 0x41, 0x88, 0x4C, 0xE5, 0x97, 0x9F,
                0x08, 0x0C, 0x16, 0xCA, 0xD3, 0x94, 0x15, 0xAE, 0x0E, 0x6B, 0x4C, 0x08, 0x0D, 0x8C, 0xB4, 0xA3, 0x9F,
                0xCA, 0x99, 0xCB, 0x8B, 0xC2, 0x97, 0xCC, 0xAA, 0x84, 0x08, 0x02, 0x0E, 0x7C, 0x73, 0xE2, 0x16, 0xA3,
                0xB7, 0xCB, 0x93, 0xD3, 0xB4, 0xC5, 0xDC, 0x9F, 0x0E, 0x79, 0x3E, 0x06, 0xAE, 0xB1, 0x9D, 0x93, 0xD3,
                0x08, 0x0C, 0xBE, 0xA3, 0x8F, 0x08, 0x88, 0xBE, 0xA3, 0x8D, 0xD3, 0xA8, 0xA3, 0x97, 0xC5, 0x17, 0x89,
                0x08, 0x0D, 0x15, 0xD2, 0x08, 0x01, 0x93, 0xC8, 0xAA, 0x8F, 0x0E, 0x61, 0x1B, 0x99, 0xCB, 0x0E, 0x4E,
                0xBA, 0x9F, 0xA1, 0xAE, 0x93, 0xA8, 0xA0, 0x08, 0x02, 0x08, 0x0C, 0xE2, 0x16, 0xA3, 0xB7, 0xCB, 0x0F,
                0x4F, 0xE1, 0x80, 0x05, 0xEC, 0x60, 0x8D, 0xEA, 0x06, 0xD3, 0xE6, 0x0F, 0x8A, 0x00, 0x30, 0x44, 0x65,
                0xB9, 0xE4, 0xFE, 0xE7, 0xC2, 0x06, 0xCB, 0x82,
            ],
            "\u{3000}♪リンゴ可愛いや可愛いやリンゴ。半世紀も前に流行した「リンゴの歌」がぴったりするかもしれない。\
             米アップルコンピュータ社のパソコン「マック（マッキントッシュ）」を、こよなく愛する人たちのことだ。\
             「アップル信者」なんて言い方まである。",
        );
        // All features: section 9.4 (its last character is written in Unicode mode).
        check(
            &[
                0x41, 0xDF, 0x12, 0x81, 0x03, 0x5F, 0x10, 0xDF, 0x1B, 0x03, 0xDF, 0x1C, 0x88, 0x80, 0x0B, 0xBF, 0xFF,
                0xFF, 0x0D, 0x0A, 0x41, 0x10, 0xDF, 0x12, 0x81, 0x03, 0x5F, 0x10, 0xDF, 0x13, 0xDF, 0x14, 0x80, 0x15,
                0xFF,
            ],
            "A\u{DF}\u{401}\u{15F}\u{DF}\u{1DF}\u{F000}\u{10FFFF}\r\nA\u{DF}\u{401}\u{15F}\u{DF}\u{1DF}\u{F000}\u{10FFFF}",
        );
    }

    #[test]
    fn the_last_byte_may_mean_nothing() {
        check(b"ab\x10", "ab");
        check(b"ab\x02", "ab");
        check(&[0x43, 0x00, 0x0F, 0x1D, 0x80, 0x02, 0x8F, 0x02], "C\0\u{1D80}\u{28F}");
        check(&[0x0F, 0x4E, 0x2D, 0xF0], "中");
    }

    #[test]
    fn what_is_reserved_is_refused() {
        check_refused(&[0x41, 0x0C], "reserved command 0x0c");
        check_refused(&[0x0F, 0xF2, 0x41], "reserved command 0xf2");
        check_refused(&[0x18, 0x00, 0x41], "reserved 0x00");
        check_refused(&[0x18, 0xA8, 0x41], "reserved 0xa8");
        check_refused(&[0x41, 0x0E, 0x41], "ends in a command 0x0e");
    }
}

//! Text of a code page, for people to look at.

use std::borrow::Cow;

use encoding_rs::Encoding;
use logferry_model::Collation;

const UTF8: u32 = 0x80;
const LOCALE: u32 = 0x7F;

/// The text of `char`, `varchar` and `text` bytes. What cannot be decoded becomes U+FFFD.
pub(super) fn of_collation(collation: Collation, bytes: &[u8]) -> Cow<'_, str> {
    if bytes.is_ascii() || collation.0 & UTF8 != 0 {
        return String::from_utf8_lossy(bytes);
    }
    let encoding = match encoding(collation) {
        Some(Code::Windows(encoding)) => encoding,
        Some(Code::Oem(table)) => return bytes.iter().map(|&byte| oem(table, byte)).collect::<String>().into(),
        None => {
            return bytes
                .iter()
                .map(|&b| if b < 0x80 { char::from(b) } else { char::REPLACEMENT_CHARACTER })
                .collect::<String>()
                .into();
        }
    };
    encoding.decode_without_bom_handling(bytes).0
}

enum Code {
    Windows(&'static Encoding),
    Oem(&'static str),
}

fn oem(table: &str, byte: u8) -> char {
    match byte.checked_sub(0x80) {
        None => char::from(byte),
        Some(at) => table.chars().nth(usize::from(at)).unwrap_or(char::REPLACEMENT_CHARACTER),
    }
}

/// The top byte is the sort id of a SQL collation, which decides alone; else the low seven bits are an index of locales.
fn encoding(collation: Collation) -> Option<Code> {
    use encoding_rs as e;
    let windows = match collation.0 >> 24 {
        0 => match collation.0 & LOCALE {
            0x01 | 0x02 | 0x25 | 0x50 | 0x51 => e::WINDOWS_1256,
            0x03 | 0x2F | 0x33 | 0x34 | 0x3E | 0x41 | 0x42 | 0x45 | 0x46 => e::BIG5,
            0x04 | 0x0D | 0x13 | 0x14 | 0x16..=0x18 | 0x1C | 0x2A | 0x4C | 0x4E | 0x58 => e::WINDOWS_1250,
            0x06 | 0x15 | 0x1B | 0x37 | 0x39 | 0x3A | 0x4D | 0x4F | 0x54 | 0x64 => e::WINDOWS_1251,
            0x07 => e::WINDOWS_1253,
            0x0C => e::WINDOWS_1255,
            0x10 | 0x2B | 0x30 | 0x48 | 0x49 => e::SHIFT_JIS,
            0x11 | 0x40 => e::EUC_KR,
            0x19 => e::WINDOWS_874,
            0x1A | 0x38 | 0x63 => e::WINDOWS_1254,
            0x1D..=0x1F => e::WINDOWS_1257,
            0x20 => e::WINDOWS_1258,
            0x24 | 0x2E | 0x31 | 0x32 | 0x43 | 0x44 => e::GBK,
            0x05 | 0x08..=0x0B | 0x0E | 0x0F | 0x26 | 0x28 | 0x29 | 0x2D | 0x3F | 0x47 | 0x4A | 0x4B => e::WINDOWS_1252,
            0x52 | 0x53 | 0x56 | 0x57 | 0x5D | 0x60 | 0x61 => e::WINDOWS_1252,
            _ => return None,
        },
        30..=34 => return Some(Code::Oem(CP437)),
        40..=44 | 49 | 55..=61 => return Some(Code::Oem(CP850)),
        51..=54 | 183..=186 | 210..=219 => e::WINDOWS_1252,
        80..=96 => e::WINDOWS_1250,
        105..=108 => e::WINDOWS_1251,
        113 | 114 | 120 | 122 | 124 => e::WINDOWS_1253,
        129 | 130 => e::WINDOWS_1254,
        137 | 138 => e::WINDOWS_1255,
        145 | 146 => e::WINDOWS_1256,
        153..=160 => e::WINDOWS_1257,
        _ => return None,
    };
    Some(Code::Windows(windows))
}

const CP437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";
const CP850: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(collation: u32, bytes: &[u8], expect: &str) {
        assert_eq!(of_collation(Collation(collation), bytes), expect);
    }

    #[test]
    fn text_is_decoded_by_its_collation() {
        check(0x3400_D008, b"caf\xe9", "caf\u{e9}"); // SQL_Latin1_General_CP1_CI_AS
        check(0xD008, b"\x80", "\u{20ac}"); // Latin1_General_CI_AS
        check(0x4_D188, "\u{20ac}".as_bytes(), "\u{20ac}"); // Latin1_General_100_CI_AS_SC_UTF8
        check(0xD015, b"\xcf\xf0", "\u{41f}\u{440}"); // Cyrillic_General_CI_AS
        check(30 << 24, b"\x80\xff", "\u{c7}\u{a0}");
        check(40 << 24, b"\x9e\xff", "\u{d7}\u{a0}");
        check(0, b"ascii\x80", "ascii\u{fffd}");
    }
}

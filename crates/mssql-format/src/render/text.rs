//! Text of a code page, for people to look at.

use std::borrow::Cow;

use encoding_rs::Encoding;
use logferry_model::Collation;

use crate::collation::{CP437, CP850, CodePage, code_page, own_of_950};

/// The text of `char`, `varchar` and `text` bytes. What cannot be decoded becomes U+FFFD.
pub fn of_collation(collation: Collation, bytes: &[u8]) -> Cow<'_, str> {
    match code_page(collation) {
        _ if bytes.is_ascii() => String::from_utf8_lossy(bytes),
        Some(CodePage::Utf8) => String::from_utf8_lossy(bytes),
        Some(CodePage::Windows(437)) => oem(CP437, bytes).into(),
        Some(CodePage::Windows(850)) => oem(CP850, bytes).into(),
        Some(CodePage::Windows(number)) => match encoding(number) {
            Some(encoding) => encoding.decode_without_bom_handling(bytes).0,
            None => oem("", bytes).into(),
        },
        Some(CodePage::UnicodeOnly) | None => oem("", bytes).into(),
    }
}

/// The text of `char`, `varchar` and `text` bytes, from which a server that encodes it in the code page of the same collation
/// makes the same bytes; `None` where that is not certain.
pub fn exact_of_collation(collation: Collation, bytes: &[u8]) -> Option<Cow<'_, str>> {
    if bytes.is_ascii() {
        return std::str::from_utf8(bytes).ok().map(Cow::Borrowed);
    }
    let upper = match code_page(collation)? {
        CodePage::UnicodeOnly => return None,
        CodePage::Utf8 => return std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        CodePage::Windows(437) => CP437,
        CodePage::Windows(850) => CP850,
        // The web's Big5 has other characters where Windows has the users' own.
        CodePage::Windows(950) if has_own_of_950(bytes) => return None,
        CodePage::Windows(number) => {
            let encoding = encoding(number)?;
            let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
            let (again, _, is_lossy) = encoding.encode(&text);
            return (!is_lossy && *again == *bytes).then_some(text);
        }
    };
    Some(oem(upper, bytes).into())
}

fn has_own_of_950(mut bytes: &[u8]) -> bool {
    loop {
        match *bytes {
            [] => return false,
            [0x80 | 0xFF, ..] => return true,
            [lead @ 0x81..=0xFE, trail, ref rest @ ..] => {
                if own_of_950(u16::from_be_bytes([lead, trail])).is_some() {
                    return true;
                }
                bytes = rest;
            }
            [_, ref rest @ ..] => bytes = rest,
        }
    }
}

/// Text of a code page whose lower half is ASCII and whose upper half is given.
fn oem(upper: &str, bytes: &[u8]) -> String {
    let decode = |&byte: &u8| match byte.checked_sub(0x80) {
        None => char::from(byte),
        Some(at) => upper.chars().nth(usize::from(at)).unwrap_or(char::REPLACEMENT_CHARACTER),
    };
    bytes.iter().map(decode).collect()
}

/// The encoding of a Windows code page; `None` of those of DOS, whose tables are in [`crate::collation`], and of those that no collation has.
pub fn encoding(code_page: u16) -> Option<&'static Encoding> {
    use encoding_rs as e;
    Some(match code_page {
        874 => e::WINDOWS_874,
        932 => e::SHIFT_JIS,
        936 => e::GBK,
        949 => e::EUC_KR,
        950 => e::BIG5,
        1250 => e::WINDOWS_1250,
        1251 => e::WINDOWS_1251,
        1252 => e::WINDOWS_1252,
        1253 => e::WINDOWS_1253,
        1254 => e::WINDOWS_1254,
        1255 => e::WINDOWS_1255,
        1256 => e::WINDOWS_1256,
        1257 => e::WINDOWS_1257,
        1258 => e::WINDOWS_1258,
        _ => return None,
    })
}

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

    #[test]
    fn text_is_exact_or_not_there() {
        #[track_caller]
        fn check(collation: u32, bytes: &[u8], expect: Option<&str>) {
            assert_eq!(exact_of_collation(Collation(collation), bytes).as_deref(), expect, "{collation:#x}");
        }
        check(0, b"ascii", Some("ascii"));
        check(0, b"\xe9", None);
        check(0x3400_D008, b"M\xfcller\x80\x81", Some("M\u{fc}ller\u{20ac}\u{81}"));
        check(0x4_D188, "\u{20ac}".as_bytes(), Some("\u{20ac}"));
        check(0x4_D188, b"\xe9", None);
        check(30 << 24, b"\x80\xff", Some("\u{c7}\u{a0}"));
        check(0xD007, b"\xe1\xd2", None); // Greek has nothing at 0xD2.
        check(0xD010, b"\x93\xfa\x96\x7b", Some("\u{65e5}\u{672c}"));
        check(0xD010, b"\x93", None);
        check(0xD010, b"\xfa\x54", None); // one of two codes of U+FFE2, and not the one that is chosen
        check(0xD003, b"\xa4\xa4", Some("\u{4e2d}"));
        check(0xD003, b"\xa4\xa4\xfa\x40", None);
        check(0xD003, b"\xff", None);
        check(0x2_D035, b"\xe9", None);
    }
}

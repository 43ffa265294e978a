//! Which code page the bytes of a `char`, `varchar` or `text` are in.
//!
//! The storage engine keeps a collation as one 32-bit id, `COLLATIONPROPERTY(name, 'CollationID')`. It is *not* the
//! form that TDS sends (20 bits of LCID, flags, sort id): the locale is an index of its own.
//!
//! ```text
//!  31      24 23    19 18 17 16 15 14 13 12 11 10 9  8  7  6             0
//! ├──────────┼────────┼─────┼──┼──┴──┴──┴──┼──┼────┼──┼──┼───────────────┤
//! │ sort id  │   0    │ ver │B │ W  K  A  C │B2│ v3 │SC│U8│ locale index  │
//! └──────────┴────────┴─────┴──┴───────────┴──┴────┴──┴──┴───────────────┘
//!  sort id  of a SQL collation (SQL_...), which alone gives its code page; 0 for Windows collations
//!  ver      0: none, 1: _90, 2: _100, 3: _140
//!  B, B2    _BIN, _BIN2
//!  W K A C  insensitive to width, kana type, accent, case
//!  SC       supplementary characters, or variation selectors (_VSS) where ver is 3
//!  U8       UTF-8
//! ```
//!
//! The bits follow from the ids of all 3,955 collations that `sys.fn_helpcollations` lists on 2017, which are public;
//! `U8` from ids observed on 2019 and 2022 (`0x4d188`, Latin1_General_100_CI_AS_SC_UTF8). `0x3400d008`, `0xd008`,
//! `0xf008` and `0xd028` were seen in data files of 2005 to 2022. Code pages of locales:
//! <https://learn.microsoft.com/sql/relational-databases/collations/collation-and-unicode-support>.

use std::fmt;

use logferry_model::Collation;

/// How the bytes of a text column are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodePage {
    /// A Windows or OEM code page.
    Windows(u16),
    /// UTF-8, from 2019 on.
    Utf8,
    /// A locale that has no code page: its collations are for `nchar` and `nvarchar` alone.
    UnicodeOnly,
}

impl fmt::Display for CodePage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodePage::Windows(number) => write!(f, "code page {number}"),
            CodePage::Utf8 => f.write_str("UTF-8"),
            CodePage::UnicodeOnly => f.write_str("no code page"),
        }
    }
}

/// The code page of a collation; `None` where the collation is not known.
pub fn code_page(collation: Collation) -> Option<CodePage> {
    let id = collation.0;
    if id & UTF8 != 0 {
        return Some(CodePage::Utf8);
    }
    match id >> 24 {
        0 => of_locale(id & LOCALE),
        sort_id => of_sort_id(sort_id).map(CodePage::Windows),
    }
}

/// What a collation does not tell apart: case, accents. A binary one tells all apart.
pub fn insensitive_to(collation: Collation) -> (bool, bool) {
    let id = collation.0;
    let binary = id & (BIN | BIN2) != 0;
    (!binary && id & IGNORES_CASE != 0, !binary && id & IGNORES_ACCENTS != 0)
}

const BIN2: u32 = 1 << 11;
const IGNORES_CASE: u32 = 1 << 12;
const IGNORES_ACCENTS: u32 = 1 << 13;
const BIN: u32 = 1 << 16;
const LOCALE: u32 = 0x7f;
const UTF8: u32 = 0x80;

/// Of SQL collations, whose names say it: `SQL_Latin1_General_CP850_CI_AS`. `CP1` is 1252.
fn of_sort_id(sort_id: u32) -> Option<u16> {
    Some(match sort_id {
        30..=34 => 437,
        40..=44 | 49 | 55..=61 => 850,
        51..=54 | 183..=186 | 210..=219 => 1252,
        80..=96 => 1250,
        105..=108 => 1251,
        113 | 114 | 120 | 122 | 124 => 1253,
        129 | 130 => 1254,
        137 | 138 => 1255,
        145 | 146 => 1256,
        153..=160 => 1257,
        _ => return None,
    })
}

/// Of Windows collations. The comments name the locales in the order of their indexes.
fn of_locale(index: u32) -> Option<CodePage> {
    Some(CodePage::Windows(match index {
        // Arabic, Dari, Uighur, Urdu, Persian
        0x01 | 0x02 | 0x25 | 0x50 | 0x51 => 1256,
        // Chinese_Taiwan_Stroke, _Bopomofo and their _90 forms, Chinese_Hong_Kong_Stroke,
        // Chinese_Traditional_Stroke_Count, _Bopomofo, _Pinyin, _Stroke_Order
        0x03 | 0x2f | 0x33 | 0x34 | 0x3e | 0x41 | 0x42 | 0x45 | 0x46 => 950,
        // Czech, Hungarian, Polish, Romanian, Croatian, Slovak, Albanian, Slovenian, Hungarian_Technical,
        // Serbian_Latin, Bosnian_Latin, Turkmen
        0x04 | 0x0d | 0x13 | 0x14 | 0x16 | 0x17 | 0x18 | 0x1c | 0x2a | 0x4c | 0x4e | 0x58 => 1250,
        // Danish_Norwegian, Latin1_General, Traditional_Spanish, Finnish_Swedish, French, Icelandic, Corsican, Breton,
        // Modern_Spanish, German_PhoneBook, Georgian_Modern_Sort, Mohawk, Danish_Greenlandic, Norwegian, Romansh,
        // Mapudungan, Upper_Sorbian, Sami_Norway, Sami_Sweden_Finland, Welsh, Frisian, Tamazight
        0x05 | 0x08..=0x0b | 0x0e | 0x0f | 0x26 | 0x28 | 0x29 | 0x2d | 0x3f | 0x47 => 1252,
        0x4a | 0x4b | 0x52 | 0x53 | 0x56 | 0x57 | 0x5d | 0x60 | 0x61 => 1252,
        // Yakut, Cyrillic_General, Ukrainian, Kazakh, Tatar, Macedonian_FYROM, Serbian_Cyrillic, Bosnian_Cyrillic,
        // Bashkir, Azeri_Cyrillic
        0x06 | 0x15 | 0x1b | 0x37 | 0x39 | 0x3a | 0x4d | 0x4f | 0x54 | 0x64 => 1251,
        // Greek
        0x07 => 1253,
        // Hebrew
        0x0c => 1255,
        // Japanese, Japanese_Unicode, Japanese_90, Japanese_XJIS, Japanese_Bushu_Kakusu
        0x10 | 0x2b | 0x30 | 0x48 | 0x49 => 932,
        // Korean_Wansung, Korean_90
        0x11 | 0x40 => 949,
        // Thai
        0x19 => 874,
        // Turkish, Uzbek_Latin, Azeri_Latin
        0x1a | 0x38 | 0x63 => 1254,
        // Estonian, Latvian, Lithuanian
        0x1d..=0x1f => 1257,
        // Vietnamese
        0x20 => 1258,
        // Chinese_PRC, _PRC_Stroke and their _90 forms, Chinese_Simplified_Pinyin, _Stroke_Order
        0x24 | 0x2e | 0x31 | 0x32 | 0x43 | 0x44 => 936,
        // Maori, Indic_General, Syriac, Divehi, Maltese, Bengali, Assamese, Pashto, Tibetan, Khmer, Lao, Nepali
        0x12 | 0x35 | 0x3b | 0x3c | 0x55 | 0x59..=0x5c | 0x5e | 0x5f | 0x62 => return Some(CodePage::UnicodeOnly),
        _ => return None,
    }))
}

/// The upper half of the code page of the first PCs.
pub const CP437: &str = "\
    ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒ\
    áíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
    └┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀\
    αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// The upper half of the code page of Western Europe before Windows.
pub const CP850: &str = "\
    ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒ\
    áíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐\
    └┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀\
    ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}";

/// The character of a two-byte code that Windows decodes otherwise in code page 950 than the Big5 of the web does, which has Hong Kong's
/// ideographs, and ETEN's kana, in the four ranges that are the user's own (private use) on Windows:
/// <https://learn.microsoft.com/windows/win32/intl/end-user-defined-characters>.
pub fn own_of_950(code: u16) -> Option<char> {
    // First code, last code, first character. A lead byte has 157 trail bytes: 0x40 to 0x7E, 0xA1 to 0xFE.
    const RANGES: [(u16, u16, u32); 4] =
        [(0xFA40, 0xFEFE, 0xE000), (0x8E40, 0xA0FE, 0xE311), (0x8140, 0x8DFE, 0xEEB8), (0xC6A1, 0xC8FE, 0xF6B1)];
    let place = |code: u16| {
        let (lead, trail) = (u32::from(code >> 8), u32::from(code & 0xFF));
        let trail = match trail {
            0x40..=0x7E => trail - 0x40,
            0xA1..=0xFE => trail - 0xA1 + 63,
            _ => return None,
        };
        Some(lead * 157 + trail)
    };
    if code == 0xF9FE {
        return Some('\u{2593}');
    }
    let (first, _, character) = RANGES.into_iter().find(|(first, last, _)| (*first..=*last).contains(&code))?;
    char::from_u32(character + place(code)? - place(first)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(id: u32, expect: impl Into<Option<CodePage>>) {
        assert_eq!(code_page(Collation(id)), expect.into(), "collation {id:#x}");
    }

    #[test]
    fn ids_of_real_files() {
        check(0x3400_d008, CodePage::Windows(1252)); // SQL_Latin1_General_CP1_CI_AS
        check(0xd008, CodePage::Windows(1252)); // Latin1_General_CI_AS
        check(0xf008, CodePage::Windows(1252)); // Latin1_General_CI_AI
        check(0xd028, CodePage::Windows(1252)); // Modern_Spanish_CI_AS
    }

    #[test]
    fn sort_order_of_a_windows_collation_does_not_matter() {
        for flags in [0x800, 0x1_0000, 0x2_0800, 0x1000, 0x2_f000, 0x4_f100, 0x6_f300] {
            check(flags | 0x15, CodePage::Windows(1251));
        }
        check(0xd007, CodePage::Windows(1253));
        check(0xd010, CodePage::Windows(932));
        check(0xd024, CodePage::Windows(936));
        check(0xd011, CodePage::Windows(949));
        check(0xd003, CodePage::Windows(950));
        check(0xd019, CodePage::Windows(874));
        check(0xd020, CodePage::Windows(1258));
        check(0x4_d064, CodePage::Windows(1251));
    }

    #[test]
    fn sort_id_of_a_sql_collation_decides() {
        check(0x6a00_d008, CodePage::Windows(1251)); // SQL_Latin1_General_CP1251_CI_AS, of locale Latin1
        check(0x1e01_0008, CodePage::Windows(437)); // SQL_Latin1_General_CP437_BIN
        check(0x3100_d008, CodePage::Windows(850)); // SQL_1xCompat_CP850_CI_AS
        check(0xd300_c029, CodePage::Windows(1252)); // SQL_EBCDIC273_CP1_CS_AS
        check(0xff00_d008, None);
    }

    #[test]
    fn supplementary_characters_are_not_utf8() {
        check(0x4_d108, CodePage::Windows(1252)); // Latin1_General_100_CI_AS_SC
        check(0x4_d188, CodePage::Utf8); // Latin1_General_100_CI_AS_SC_UTF8
        check(0x4_0888, CodePage::Utf8); // Latin1_General_100_BIN2_UTF8
    }

    #[test]
    fn private_characters_of_950() {
        let check = |code, expect: Option<u32>| assert_eq!(own_of_950(code).map(u32::from), expect, "{code:#x}");
        // The ends of each range meet.
        check(0xFA40, Some(0xE000));
        check(0xFEFE, Some(0xE310));
        check(0x8E40, Some(0xE311));
        check(0xA0FE, Some(0xEEB7));
        check(0x8140, Some(0xEEB8));
        check(0x8DFE, Some(0xF6B0));
        check(0xC6A1, Some(0xF6B1));
        check(0xC8FE, Some(0xF848));
        check(0xFA7E, Some(0xE03E));
        check(0xFAA1, Some(0xE03F));
        check(0xF9FE, Some(0x2593));
        check(0xFA7F, None);
        check(0xC6A0, None);
        check(0xA440, None);
    }

    #[test]
    fn unknown_is_not_guessed() {
        check(0, None);
        check(0xd021, None);
        check(0xd07f, None);
        check(0x2_d035, CodePage::UnicodeOnly); // Indic_General_90_CI_AS
    }
}

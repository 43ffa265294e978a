//! Collations by name, and text in their code pages.
//!
//! Text is compared as `SQL_Latin1_General_CP1_CI_AS` compares it, whatever the collation of its column: only collations that are
//! insensitive to case and sensitive to accents are taken for columns, so that this holds at least within ASCII.
//!
//! The bits of an id are those of `logferry_mssql_format::collation`; sort ids of SQL collations:
//! <https://learn.microsoft.com/sql/relational-databases/collations/sql-server-collation-name-transact-sql>.

use logferry_model::{Collation, SqlType};
use logferry_mssql_format::collation::{CP437, CP850, CodePage, code_page};
use logferry_mssql_format::render;

use super::value::{from_1252, to_1252};
use logferry_mssql_standin_storage::DEFAULT_COLLATION;

/// The name of the default.
pub(crate) const DEFAULT_NAME: &str = "SQL_Latin1_General_CP1_CI_AS";

/// SQL collations: name, id.
const SQL: &[(&str, u32)] = &[
    (DEFAULT_NAME, 0x3400_d008),
    ("SQL_Latin1_General_CP437_CI_AS", 0x2000_d008),
    ("SQL_Latin1_General_CP850_CI_AS", 0x2a00_d008),
    ("SQL_Latin1_General_CP1250_CI_AS", 0x5200_d008),
    ("SQL_Latin1_General_CP1251_CI_AS", 0x6a00_d015),
    ("SQL_Latin1_General_CP1253_CI_AS", 0x7200_d007),
    ("SQL_Latin1_General_CP1254_CI_AS", 0x8200_d01a),
];

/// Locales of Windows collations, and their indexes.
const LOCALES: &[(&str, u32)] = &[
    ("Arabic", 0x01),
    ("Chinese_Taiwan_Stroke", 0x03),
    ("Czech", 0x04),
    ("Danish_Norwegian", 0x05),
    ("Greek", 0x07),
    ("Latin1_General", 0x08),
    ("Traditional_Spanish", 0x09),
    ("Finnish_Swedish", 0x0a),
    ("French", 0x0b),
    ("Hebrew", 0x0c),
    ("Hungarian", 0x0d),
    ("Icelandic", 0x0e),
    ("Japanese", 0x10),
    ("Korean_Wansung", 0x11),
    ("Polish", 0x13),
    ("Romanian", 0x14),
    ("Cyrillic_General", 0x15),
    ("Croatian", 0x16),
    ("Slovak", 0x17),
    ("Albanian", 0x18),
    ("Thai", 0x19),
    ("Turkish", 0x1a),
    ("Ukrainian", 0x1b),
    ("Slovenian", 0x1c),
    ("Estonian", 0x1d),
    ("Latvian", 0x1e),
    ("Lithuanian", 0x1f),
    ("Vietnamese", 0x20),
    ("Chinese_PRC", 0x24),
];

/// Insensitive to case, width and kana, sensitive to accents.
const CI_AS: u32 = 0xd000;
const UTF8: u32 = 0x80;
const SUPPLEMENTARY: u32 = 0x100;
const VERSION_90: u32 = 1 << 17;
const VERSION_100: u32 = 2 << 17;

/// The id of a collation that columns may have here.
pub(crate) fn named(name: &str) -> Option<Collation> {
    if name.eq_ignore_ascii_case("DATABASE_DEFAULT") {
        return Some(DEFAULT_COLLATION);
    }
    if let Some((_, id)) = SQL.iter().find(|(of, _)| of.eq_ignore_ascii_case(name)) {
        return Some(Collation(*id));
    }
    let lower = name.to_ascii_lowercase();
    let (rest, utf8) = lower.strip_suffix("_utf8").map_or((&*lower, 0), |rest| (rest, UTF8));
    let (rest, pairs) = rest.strip_suffix("_sc").map_or((rest, 0), |rest| (rest, SUPPLEMENTARY));
    let rest = rest.strip_suffix("_ci_as")?;
    let (rest, version) = match (rest.strip_suffix("_90"), rest.strip_suffix("_100")) {
        (Some(rest), _) => (rest, VERSION_90),
        (_, Some(rest)) => (rest, VERSION_100),
        _ => (rest, 0),
    };
    // UTF-8 came with the supplementary characters, these with version 90.
    if utf8 > pairs || (pairs != 0 && version == 0) {
        return None;
    }
    let (_, index) = LOCALES.iter().find(|(of, _)| of.eq_ignore_ascii_case(rest))?;
    Some(Collation(index | CI_AS | version | pairs | utf8))
}

/// Whether it can be said in an expression.
pub(crate) fn is_known(name: &str) -> bool {
    name.eq_ignore_ascii_case("CATALOG_DEFAULT") || is_binary(name) || named(name).is_some()
}

/// Whether bytes decide.
pub(crate) fn is_binary(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name.starts_with("LATIN1_GENERAL") && (name.ends_with("_BIN") || name.ends_with("_BIN2"))
}

/// What it is called; of one that no column could be given here (that of an attached file, say) the id.
pub(crate) fn name(collation: Collation) -> String {
    let id = collation.0;
    if let Some((name, _)) = SQL.iter().find(|(_, of)| *of == id) {
        return (*name).to_owned();
    }
    let locale = LOCALES.iter().find(|(_, index)| *index == id & 0x7f);
    let version = match id & (3 << 17) {
        0 => "",
        VERSION_90 => "_90",
        _ => "_100",
    };
    let more = match id & (SUPPLEMENTARY | UTF8) {
        0 => "",
        SUPPLEMENTARY => "_SC",
        _ => "_SC_UTF8",
    };
    let name = locale.map(|(locale, _)| format!("{locale}{version}_CI_AS{more}"));
    name.filter(|name| named(name) == Some(collation)).unwrap_or_else(|| format!("{id:#x}"))
}

/// The collation of text.
pub(crate) fn of(sql_type: &SqlType) -> Option<Collation> {
    match sql_type {
        SqlType::Char { collation, .. }
        | SqlType::VarChar { collation, .. }
        | SqlType::Text { collation }
        | SqlType::NChar { collation, .. }
        | SqlType::NVarChar { collation, .. }
        | SqlType::NText { collation } => Some(*collation),
        _ => None,
    }
}

/// Text of the same kind, with another collation.
pub(crate) fn with(sql_type: &SqlType, collation: Collation) -> SqlType {
    match sql_type.clone() {
        SqlType::Char { length, .. } => SqlType::Char { length, collation },
        SqlType::VarChar { length, .. } => SqlType::VarChar { length, collation },
        SqlType::Text { .. } => SqlType::Text { collation },
        SqlType::NChar { length, .. } => SqlType::NChar { length, collation },
        SqlType::NVarChar { length, .. } => SqlType::NVarChar { length, collation },
        SqlType::NText { .. } => SqlType::NText { collation },
        other => other,
    }
}

/// `LCID` of the collation's locale, as `COLLATIONPROPERTY` says it.
pub(crate) fn lcid(collation: Collation) -> u32 {
    let [a, b, c, ..] = crate::tds::collation_on_the_wire(collation);
    u32::from_le_bytes([a, b, c, 0]) & 0xf_ffff
}

/// The number of the code page, as `COLLATIONPROPERTY` says it.
pub(crate) fn code_page_number(collation: Collation) -> u32 {
    match code_page(collation) {
        Some(CodePage::Windows(number)) => number.into(),
        Some(CodePage::Utf8) => 65001,
        Some(CodePage::UnicodeOnly) | None => 0,
    }
}

/// Text of `char`, `varchar` and `text`.
pub(crate) fn decode(bytes: &[u8], collation: Collation) -> Vec<u16> {
    if code_page(collation) == Some(CodePage::Windows(1252)) {
        return bytes.iter().map(|b| from_1252(*b)).collect();
    }
    render::text_of(collation, bytes).encode_utf16().collect()
}

/// Bytes of it. What the code page does not have becomes a question mark.
pub(crate) fn encode(text: &[u16], collation: Collation) -> Vec<u8> {
    let page = code_page(collation);
    if page == Some(CodePage::Windows(1252)) {
        return to_1252(text);
    }
    let characters = || char::decode_utf16(text.iter().copied()).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
    let table = |upper: &str| {
        let of = |c: char| match c {
            '\0'..='\x7f' => c as u8,
            c => upper.chars().position(|of| of == c).map_or(b'?', |at| 0x80 | at as u8),
        };
        characters().map(of).collect()
    };
    let encoding = match page {
        Some(CodePage::Utf8) => return characters().collect::<String>().into_bytes(),
        Some(CodePage::Windows(437)) => return table(CP437),
        Some(CodePage::Windows(850)) => return table(CP850),
        Some(CodePage::Windows(number)) => render::encoding(number),
        Some(CodePage::UnicodeOnly) | None => None,
    };
    let Some(encoding) = encoding else { return table("") };
    let mut out = Vec::with_capacity(text.len());
    for c in characters() {
        let mut one = [0; 4];
        match encoding.encode(c.encode_utf8(&mut one)) {
            (_, _, true) => out.push(b'?'),
            (bytes, _, false) => out.extend_from_slice(&bytes),
        }
    }
    out
}

/// How long text is in a column of the type: in bytes, or in UTF-16 units.
pub(crate) fn stored_length(text: &[u16], sql_type: &SqlType) -> usize {
    match sql_type {
        SqlType::Char { collation, .. } | SqlType::VarChar { collation, .. } if is_multi_byte(*collation) => {
            encode(text, *collation).len()
        }
        _ => text.len(),
    }
}

fn is_multi_byte(collation: Collation) -> bool {
    matches!(code_page(collation), Some(CodePage::Utf8 | CodePage::Windows(932 | 936 | 949 | 950)))
}

/// Text cut to the type's length, at a character.
pub(crate) fn cut(text: &mut Vec<u16>, sql_type: &SqlType, limit: u16) {
    text.truncate(usize::from(limit));
    while stored_length(text, sql_type) > usize::from(limit) {
        text.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(collation: &str, id: u32, text: &str, bytes: &[u8]) {
        let found = named(collation).unwrap_or_else(|| panic!("{collation} is not known"));
        assert_eq!(found, Collation(id), "{collation}: {:#x}", found.0);
        assert_eq!(name(found), collation);
        let units: Vec<u16> = text.encode_utf16().collect();
        assert_eq!(encode(&units, found), bytes, "{collation}");
        if !text.contains('\u{2603}') || bytes.len() > 1 {
            assert_eq!(decode(bytes, found), units, "{collation}");
        }
    }

    #[test]
    fn text_has_the_bytes_of_its_collation() {
        check("SQL_Latin1_General_CP1_CI_AS", 0x3400_d008, "caf\u{e9} \u{20ac}", b"caf\xe9 \x80");
        check("Latin1_General_CI_AS", 0xd008, "\u{e9}", b"\xe9");
        check("Latin1_General_100_CI_AS_SC_UTF8", 0x4d188, "\u{1f600}", "\u{1f600}".as_bytes());
        check("Cyrillic_General_CI_AS", 0xd015, "\u{416}\u{44f}", b"\xc6\xff");
        check("Japanese_CI_AS", 0xd010, "\u{65e5}a", b"\x93\xfaa");
        check("Chinese_PRC_CI_AS", 0xd024, "\u{4e2d}", b"\xd6\xd0");
        check("SQL_Latin1_General_CP850_CI_AS", 0x2a00_d008, "\u{e9}", b"\x82");
        // Not in the code page.
        check("Thai_CI_AS", 0xd019, "\u{2603}", b"?");
    }

    #[test]
    fn collations_that_compare_otherwise_are_not_taken() {
        for name in ["Latin1_General_CS_AS", "Latin1_General_BIN2", "Nowhere_CI_AS", "Latin1_General_CI_AS_UTF8"] {
            assert_eq!(named(name), None, "{name}");
        }
    }
}

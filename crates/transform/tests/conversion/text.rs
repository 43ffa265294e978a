//! Text in UTF-16 and in every code page.

use logferry_model::{Cell, Collation, Comparison, PgType, SqlType};
use logferry_mssql_format::collation::own_of_950;
use logferry_transform::{CellError, CharPadding, CollationForm, InvalidText, NulCharacter, Types};
use proptest::prelude::*;

use crate::{LATIN1, check, check_with, copied, one_column};

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn nvarchar() -> SqlType {
    SqlType::NVarChar { length: Some(50), collation: LATIN1 }
}

fn varchar(collation: u32) -> SqlType {
    SqlType::VarChar { length: Some(50), collation: Collation(collation) }
}

const UTF8: u32 = 0x4_d188;

#[test]
fn nvarchar_is_decoded() {
    let check = |text: &str| {
        check(&nvarchar(), PgType::VarChar { length: 50 }, &utf16(text), Ok(text.as_bytes()));
    };
    check("");
    check("plain");
    check("trailing spaces stay   ");
    check("\u{1}\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}");
    check("naïve Ünïcödé 漢字 한국어 ไทย עברית");
    check("😀 beyond the first plane 𝕏");
    check(&"long ".repeat(2_000));
    check(&"länger ".repeat(2_000));
}

#[test]
fn types_of_text() {
    let check = |sql_type: SqlType, pg_type| {
        let cell: &[u8] = match sql_type {
            SqlType::NVarChar { .. } | SqlType::NText { .. } | SqlType::NChar { .. } => b"a\0 \0",
            _ => b"a ",
        };
        let padded = matches!(sql_type, SqlType::Char { .. } | SqlType::NChar { .. });
        check(&sql_type, pg_type, cell, Ok(if padded { b"a" } else { b"a " }));
    };
    let collation = LATIN1;
    check(SqlType::Char { length: 8_000, collation }, PgType::VarChar { length: 8_000 });
    check(SqlType::NChar { length: 4_000, collation }, PgType::VarChar { length: 4_000 });
    check(SqlType::VarChar { length: Some(8_000), collation }, PgType::VarChar { length: 8_000 });
    check(SqlType::VarChar { length: None, collation }, PgType::Text);
    check(SqlType::NVarChar { length: None, collation }, PgType::Text);
    check(SqlType::Text { collation }, PgType::Text);
    check(SqlType::NText { collation }, PgType::Text);
}

#[test]
fn text_is_compared_as_the_settings_say() {
    // Latin1_General_: CI_AS, CS_AS, CI_AI, CS_AI, BIN, BIN2; SQL_Latin1_General_CP1_CI_AS.
    let ids = [0xd008, 0xc008, 0xf008, 0xe008, 0x1_0008, 0x0808, LATIN1.0];
    let check = |collation, expect: [&str; 7]| {
        let types = Types { collation, ..Types::default() };
        let found = ids.map(|id| {
            let plan = one_column(&varchar(id), types);
            let column = &plan.target().columns[0];
            match (&column.pg_type, column.comparison) {
                (PgType::CiText, None) => "citext",
                (PgType::VarChar { length: 50 }, comparison) => comparison.map_or("", Comparison::name),
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(found, expect, "{collation:?}");
    };
    check(CollationForm::Default, [""; 7]);
    check(CollationForm::Citext, ["citext", "", "citext", "", "", "", "citext"]);
    let (case, accents, both) = ("case_insensitive", "accent_insensitive", "case_accent_insensitive");
    check(CollationForm::Icu, [case, "", both, accents, "", "", case]);
    let types = Types { collation: CollationForm::Citext, ..Types::default() };
    check_with(types, &nvarchar(), PgType::CiText, &utf16("Äa "), Ok("Äa ".as_bytes()));
    let char = SqlType::Char { length: 5, collation: LATIN1 };
    check_with(types, &char, PgType::CiText, b"a    ", Ok(b"a"));
    let types = Types { char_padding: CharPadding::Keep, ..types };
    check_with(types, &char, PgType::Char { length: 5 }, b"a    ", Ok(b"a    "));
}

#[test]
fn padding_is_trimmed_or_kept() {
    let collation = LATIN1;
    let (char, nchar) = (SqlType::Char { length: 5, collation }, SqlType::NChar { length: 5, collation });
    let varchar = || PgType::VarChar { length: 5 };
    check(&char, varchar(), b"a b  ", Ok(b"a b"));
    check(&char, varchar(), b"     ", Ok(b""));
    check(&char, varchar(), b"abcde", Ok(b"abcde"));
    check(&nchar, varchar(), &utf16("ä b  "), Ok("ä b".as_bytes()));
    check(&nchar, varchar(), &utf16("     "), Ok(b""));
    // U+2020 has the bytes of two spaces, and is none.
    check(&nchar, varchar(), &utf16("\u{2020}    "), Ok("\u{2020}".as_bytes()));
    let keep = Types { char_padding: CharPadding::Keep, ..Types::default() };
    check_with(keep, &char, PgType::Char { length: 5 }, b"a b  ", Ok(b"a b  "));
    check_with(keep, &nchar, PgType::Char { length: 5 }, &utf16("a b  "), Ok(b"a b  "));
}

/// That `cell` becomes `expect` and is counted as (replaced, nul); and is refused where the setting is `error`.
#[track_caller]
fn check_changed(types: Types, sql_type: &SqlType, cell: &[u8], expect: &str, counts: (u64, u64)) {
    let plan = one_column(sql_type, types);
    assert_eq!(copied(&plan, Cell::Bytes(cell)), Ok(Some(expect.as_bytes().to_vec())), "{cell:02x?}");
    let counted: Vec<_> = plan.counts().iter().map(|c| (c.replaced_texts, c.nul_texts)).collect();
    assert_eq!(counted, [counts]);
    if counts.0 > 0 {
        let plan = one_column(sql_type, Types { invalid_text: InvalidText::Error, ..types });
        assert_eq!(copied(&plan, Cell::Bytes(cell)), Err(CellError::InvalidText));
    }
    if counts.1 > 0 {
        let plan = one_column(sql_type, Types { nul_character: NulCharacter::Error, ..types });
        assert_eq!(copied(&plan, Cell::Bytes(cell)), Err(CellError::Nul));
    }
}

#[test]
fn lone_surrogates_are_replaced_or_refused() {
    let check = |units: &[u16], expect| {
        let cell: Vec<_> = units.iter().flat_map(|u| u.to_le_bytes()).collect();
        check_changed(Types::default(), &nvarchar(), &cell, expect, (1, 0));
    };
    check(&[0xd800], "\u{fffd}");
    check(&[0xdc00], "\u{fffd}");
    check(&[0x61, 0xd83d, 0x62], "a\u{fffd}b");
    check(&[0xd83d, 0xd83d, 0xde00], "\u{fffd}😀");
    check(&[0xde00, 0xd83d], "\u{fffd}\u{fffd}");
    // Half a unit at the end.
    check_changed(Types::default(), &nvarchar(), b"a\0b", "a\u{fffd}", (1, 0));
    check_changed(Types::default(), &nvarchar(), b"a", "\u{fffd}", (1, 0));
}

#[test]
fn nul_characters_are_removed_replaced_or_refused() {
    let replace = Types { nul_character: NulCharacter::Replace, ..Types::default() };
    let japanese = 0xd010;
    for (sql_type, cell, removed, replaced) in [
        (nvarchar(), utf16("a\0b\0"), "ab", "a\u{fffd}b\u{fffd}"),
        (nvarchar(), utf16("\0"), "", "\u{fffd}"),
        (nvarchar(), utf16("ä\0😀"), "ä😀", "ä\u{fffd}😀"),
        (varchar(LATIN1.0), b"a\0b\0".to_vec(), "ab", "a\u{fffd}b\u{fffd}"),
        (varchar(LATIN1.0), b"\xe4\0\xf6".to_vec(), "äö", "ä\u{fffd}ö"),
        (varchar(UTF8), "ä\0😀\0".into(), "ä😀", "ä\u{fffd}😀\u{fffd}"),
        (varchar(japanese), b"\x8a\xbf\0\0\x8e\x9a".to_vec(), "漢字", "漢\u{fffd}\u{fffd}字"),
        (varchar(0), b"a\0".to_vec(), "a", "a\u{fffd}"),
    ] {
        check_changed(Types::default(), &sql_type, &cell, removed, (0, 1));
        check_changed(replace, &sql_type, &cell, replaced, (0, 1));
    }
}

#[test]
fn bytes_that_are_no_text_are_replaced_or_refused() {
    let check = |collation, cell: &[u8], expect| {
        check_changed(Types::default(), &varchar(collation), cell, expect, (1, 0));
    };
    check(UTF8, b"a\xffb", "a\u{fffd}b");
    check(UTF8, b"a\xe4\xb8", "a\u{fffd}");
    check(UTF8, b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}");
    check(0xd010, b"a\x81", "a\u{fffd}"); // half a character of 932
    check(0xd024, b"a\x81\x20b", "a\u{fffd} b"); // 936
    check(0xd00c, b"\xd9", "\u{fffd}"); // a hole of 1255
    check(0xd07f, b"a\xe4b", "a\u{fffd}b"); // a collation that is not known
    check(0x2_d035, b"a\xe4b", "a\u{fffd}b"); // one without a code page
}

/// Collation, code page, and what Windows calls it.
const SINGLE_BYTE: [(u32, &encoding_rs::Encoding); 10] = [
    (0xd019, encoding_rs::WINDOWS_874),
    (0xd013, encoding_rs::WINDOWS_1250),
    (0xd015, encoding_rs::WINDOWS_1251),
    (0xd008, encoding_rs::WINDOWS_1252),
    (0xd007, encoding_rs::WINDOWS_1253),
    (0xd01a, encoding_rs::WINDOWS_1254),
    (0xd00c, encoding_rs::WINDOWS_1255),
    (0xd001, encoding_rs::WINDOWS_1256),
    (0xd01f, encoding_rs::WINDOWS_1257),
    (0xd020, encoding_rs::WINDOWS_1258),
];

const MULTI_BYTE: [(u32, &encoding_rs::Encoding); 4] = [
    (0xd010, encoding_rs::SHIFT_JIS),
    (0xd024, encoding_rs::GBK),
    (0xd011, encoding_rs::EUC_KR),
    (0xd003, encoding_rs::BIG5),
];

#[test]
fn every_byte_of_every_code_page() {
    for (collation, encoding) in SINGLE_BYTE {
        let plan = one_column(&varchar(collation), Types::default());
        for byte in 1..=255_u8 {
            let expect = encoding.decode_without_bom_handling(&[byte]).0.into_owned().into_bytes();
            assert_eq!(copied(&plan, Cell::Bytes(&[byte])), Ok(Some(expect)), "{} {byte:#x}", encoding.name());
        }
    }
}

#[test]
fn every_pair_of_every_code_page_of_two_bytes() {
    for (collation, encoding) in MULTI_BYTE {
        let plan = one_column(&varchar(collation), Types::default());
        for (first, second) in (0x81..=0xfc_u8).flat_map(|a| (0x30..=0xfe_u8).map(move |b| (a, b))) {
            let cell = [b'<', first, second, b'>'];
            // Where single bytes of 932 are concerned, the next test says what is right.
            if encoding == encoding_rs::SHIFT_JIS && cell.iter().any(|b| matches!(b, 0xa0 | 0xfd..)) {
                continue;
            }
            // So it is with the characters that 950 has for its users.
            let own = own_of_950(u16::from_be_bytes([first, second])).filter(|_| encoding == encoding_rs::BIG5);
            let expect = match own {
                Some(character) => format!("<{character}>").into_bytes(),
                None => encoding.decode_without_bom_handling(&cell).0.into_owned().into_bytes(),
            };
            assert_eq!(copied(&plan, Cell::Bytes(&cell)), Ok(Some(expect)), "{} {cell:02x?}", encoding.name());
        }
    }
}

#[test]
fn what_windows_decodes_and_the_web_does_not() {
    let check = |cell: &[u8], expect: &str| {
        check(&varchar(0xd010), PgType::VarChar { length: 50 }, cell, Ok(expect.as_bytes()));
    };
    check(b"a\xa0b", "a\u{a0}b");
    check(b"\xfd\xfe\xff", "\u{f8f1}\u{f8f2}\u{f8f3}");
    check(b"\x80", "\u{80}");
    check(b"\xb1\x8a\xbf", "ｱ漢");
    let check = |cell: &[u8], expect: &str| {
        crate::check(&varchar(0xd003), PgType::VarChar { length: 50 }, cell, Ok(expect.as_bytes()));
    };
    check(b"\xba\x7e\xf9\xfe\xc6\xa1a\x80\xff\xfa\x40", "漢▓\u{f6b1}a\u{80}\u{f8f8}\u{e000}");
}

#[test]
fn oem_code_pages() {
    let check = |collation, cell: &[u8], expect: &str| {
        check(&varchar(collation), PgType::VarChar { length: 50 }, cell, Ok(expect.as_bytes()));
    };
    let (cp437, cp850) = (0x2000_d008, 0x2a00_d008);
    check(cp437, b"\x80\x81\x9b\x9e\xa9\xe0\xe1\xe3\xf9\xfe\xff", "Çü¢₧⌐αßπ∙■\u{a0}");
    check(cp850, b"\x80\x81\x9b\x9e\xa9\xb5\xd5\xe1\xf0\xf2\xf9\xfe\xff", "Çüø×®Áıß\u{ad}‗¨■\u{a0}");
    // Every byte has a character, and no two the same.
    for collation in [cp437, cp850] {
        let plan = one_column(&varchar(collation), Types::default());
        let all: Vec<u8> = (1..=255).collect();
        let text = copied(&plan, Cell::Bytes(&all)).expect("no error").expect("no NULL");
        let text = String::from_utf8(text).expect("UTF-8");
        let distinct: std::collections::BTreeSet<_> = text.chars().collect();
        assert_eq!((text.chars().count(), distinct.len()), (255, 255));
        assert!(plan.counts().is_empty());
    }
}

#[test]
fn utf8_is_taken_over() {
    let check =
        |text: &str| check(&varchar(UTF8), PgType::VarChar { length: 50 }, text.as_bytes(), Ok(text.as_bytes()));
    check("");
    check("ascii  ");
    check("ä漢😀");
}

proptest! {
    #[test]
    fn any_units_become_what_the_standard_library_makes_of_them(units in prop::collection::vec(
        prop_oneof![0..=0x7f_u16, any::<u16>(), 0xd800..=0xdfff_u16], 0..40,
    )) {
        let cell: Vec<_> = units.iter().flat_map(|u| u.to_le_bytes()).collect();
        let expect = String::from_utf16_lossy(&units).replace('\0', "");
        let plan = one_column(&nvarchar(), Types::default());
        prop_assert_eq!(copied(&plan, Cell::Bytes(&cell)), Ok(Some(expect.into_bytes())));
    }

    #[test]
    fn any_bytes_become_valid_text(cell in prop::collection::vec(any::<u8>(), 0..40), trim in any::<bool>()) {
        let pages = SINGLE_BYTE.iter().chain(&MULTI_BYTE).map(|(collation, _)| *collation);
        for collation in pages.chain([0, UTF8, 0x2000_d008, 0x2a00_d008]).map(Collation) {
            let sql_type = if trim {
                SqlType::Char { length: 40, collation }
            } else {
                SqlType::VarChar { length: Some(40), collation }
            };
            let text = copied(&one_column(&sql_type, Types::default()), Cell::Bytes(&cell)).expect("no error");
            let text = String::from_utf8(text.expect("no NULL")).expect("UTF-8");
            prop_assert!(!text.contains('\0'));
            // So that it fits into varchar(n).
            prop_assert!(text.chars().count() <= cell.len());
        }
    }
}

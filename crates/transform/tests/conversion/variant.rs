//! `sql_variant`.

use logferry_model::{PgType, SqlType};
use logferry_transform::{CellError, Types, VariantForm};

use crate::LATIN1;

#[track_caller]
fn check(base: u8, rest: &[&[u8]], expect: &str) {
    let cell = [&[base, 1], rest.concat().as_slice()].concat();
    crate::check(&SqlType::Variant, PgType::Text, &cell, Ok(expect.as_bytes()));
}

#[test]
fn numbers() {
    check(48, &[&[255]], "255");
    check(52, &[&i16::MIN.to_le_bytes()], "-32768");
    check(56, &[&i32::MAX.to_le_bytes()], "2147483647");
    check(127, &[&i64::MIN.to_le_bytes()], "-9223372036854775808");
    check(104, &[&[1]], "1");
    check(62, &[&1.5_f64.to_le_bytes()], "1.5");
    check(62, &[&0.1_f64.to_le_bytes()], "0.1");
    check(62, &[&f64::MAX.to_le_bytes()], "1.7976931348623157e308");
    check(62, &[&(-1e-7_f64).to_le_bytes()], "-1e-7");
    check(59, &[&0.1_f32.to_le_bytes()], "0.1");
    check(59, &[&f32::MAX.to_le_bytes()], "3.4028235e38");
    check(60, &[&i64::MIN.to_le_bytes()], "-922337203685477.5808");
    check(60, &[&5_i64.to_le_bytes()], "0.0005");
    check(122, &[&(-10_000_i32).to_le_bytes()], "-1.0000");
    check(108, &[&[5, 2], &[0, 57, 48, 0, 0]], "-123.45");
    check(106, &[&[5, 0], &[1, 57, 48, 0, 0]], "12345");
    check(106, &[&[38, 38], &[1], &1_u128.to_le_bytes()], "0.00000000000000000000000000000000000001");
    check(106, &[&[5, 2], &[0, 0, 0, 0, 0]], "0.00");
}

#[test]
fn times() {
    check(40, &[&[0x07, 0x24, 0x0b]], "2000-01-01");
    check(40, &[&[0, 0, 0]], "0001-01-01");
    check(40, &[&[0xda, 0xb9, 0x37]], "9999-12-31");
    check(40, &[&[0x42, 0x24, 0x0b]], "2000-02-29");
    check(41, &[&[7], &863_999_999_999_u64.to_le_bytes()[..5]], "23:59:59.9999999");
    check(41, &[&[0], &[1, 0, 0]], "00:00:01");
    check(42, &[&[3], &[1, 0, 0, 0], &[0x07, 0x24, 0x0b]], "2000-01-01 00:00:00.001");
    check(43, &[&[0], &[0, 0, 0], &[0x07, 0x24, 0x0b], &330_i16.to_le_bytes()], "2000-01-01 05:30:00 +05:30");
    check(58, &[&[0x9f, 5, 0xff, 0xff]], "2079-06-06 23:59:00");
    check(61, &[&2_u32.to_le_bytes(), &(-53_690_i32).to_le_bytes()], "1753-01-01 00:00:00.007");
}

#[test]
fn text_and_bytes() {
    let properties = [&8_000_u16.to_le_bytes()[..], &LATIN1.0.to_le_bytes()].concat();
    check(167, &[&properties, b"na\xefve "], "naïve ");
    check(175, &[&properties, b""], "");
    check(231, &[&properties, b"a\0\x22\x6f"], "a漢");
    check(239, &[&properties], "");
    check(165, &[&[10, 0], &[0, 0xab]], "0x00AB");
    check(173, &[&[10, 0]], "0x");
    let uuid = *b"\xff\x19\x96\x6f\x86\x8b\x11\xd0\xb4\x2d\x00\xc0\x4f\xc9\x64\xff";
    check(36, &[&uuid], "6F9619FF-8B86-D011-B42D-00C04FC964FF");
    check(250, &[&[7]], "0xFA0107");
}

#[test]
fn broken_ones_are_errors() {
    #[track_caller]
    fn check(cell: &[u8], error: CellError) {
        crate::check(&SqlType::Variant, PgType::Text, cell, Err(error));
    }
    let broken = CellError::Structure("the sql_variant");
    check(&[], broken);
    check(&[56], broken);
    check(&[56, 1, 0, 0], CellError::Length { found: 2 });
    check(&[167, 1, 0, 0, 0, 0, 0], broken);
    check(&[106, 1, 5], broken);
    check(&[106, 1, 5, 39, 1, 0, 0, 0, 0], broken);
    check(&[41, 1, 8, 0, 0, 0, 0, 0], broken);
    check(&[104, 1, 2], broken);
}

#[test]
fn with_its_type_as_json() {
    let types = Types { variant: VariantForm::Jsonb, ..Types::default() };
    let check = |base: u8, rest: &[&[u8]], expect: &str| {
        let cell = [&[base, 1], rest.concat().as_slice()].concat();
        let expect = [&[1], expect.as_bytes()].concat();
        crate::check_with(types, &SqlType::Variant, PgType::Jsonb, &cell, Ok(&expect));
        let value: serde_json::Value = serde_json::from_slice(&expect[1..]).expect("JSON");
        assert!(value["type"].is_string() || value["type"] == 250, "{value}");
    };
    check(56, &[&(-5_i32).to_le_bytes()], r#"{"type":"int","value":-5}"#);
    check(108, &[&[5, 2], &[0, 57, 48, 0, 0]], r#"{"type":"numeric","value":-123.45}"#);
    check(62, &[&f64::MAX.to_le_bytes()], r#"{"type":"float","value":1.7976931348623157e308}"#);
    check(40, &[&[0x07, 0x24, 0x0b]], r#"{"type":"date","value":"2000-01-01"}"#);
    check(165, &[&[10, 0], &[0, 0xab]], r#"{"type":"varbinary","value":"0x00AB"}"#);
    let properties = [&8_000_u16.to_le_bytes()[..], &LATIN1.0.to_le_bytes()].concat();
    check(231, &[&properties, b"a\0\"\0\\\0\n\0\x22\x6f"], r#"{"type":"nvarchar","value":"a\"\\\u000a漢"}"#);
    check(250, &[&[7]], r#"{"type":250,"value":"0xFA0107"}"#);
    let other = [&[1], &br#"{"type":56,"value":"0x380207"}"#[..]].concat();
    crate::check_with(types, &SqlType::Variant, PgType::Jsonb, &[56, 2, 7], Ok(&other));
}

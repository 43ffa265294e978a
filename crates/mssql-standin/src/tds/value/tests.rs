use logferry_model::Collation;
use proptest::prelude::*;

use super::super::collation::LATIN1_GENERAL;
use super::super::wire::Reader;
use super::read::time_len;
use super::*;

/// What a column's description says is what a parameter's type says, apart from UDTs, and cells of it come back.
#[track_caller]
fn check(sql_type: SqlType, cell: &[u8], wire: &[u8]) {
    let mut sent = Vec::new();
    let form = put_type(&sql_type, true, true, &mut sent);
    let mut value = Vec::new();
    put_cell(form, cell, &mut value).unwrap();
    if !wire.is_empty() {
        assert_eq!(value, wire, "{sql_type:?} as sent");
    }
    sent.extend_from_slice(&value);
    let mut null = Vec::new();
    put_null(form, &mut null).unwrap();
    sent.extend_from_slice(&null);
    if matches!(sql_type, SqlType::Text { .. } | SqlType::NText { .. } | SqlType::Image | SqlType::HierarchyId) {
        return;
    }
    let mut reader = Reader::new(&sent);
    let SentType::Of(back, form) = read_type(&mut reader).unwrap() else { panic!("{sql_type:?} was refused") };
    assert_eq!(back, sql_type);
    assert_eq!(read_cell(&back, form, &mut reader).unwrap().as_deref(), Some(cell), "{sql_type:?}");
    assert_eq!(read_cell(&back, form, &mut reader).unwrap(), None, "NULL of {sql_type:?}");
    assert!(reader.is_empty());
}

const LATIN: Collation = LATIN1_GENERAL;

#[test]
fn cells_that_differ_on_the_wire() {
    check(
        SqlType::Money,
        &0x1122_3344_5566_7788_i64.to_le_bytes(),
        &[8, 0x44, 0x33, 0x22, 0x11, 0x88, 0x77, 0x66, 0x55],
    );
    check(SqlType::DateTime, &[1, 2, 3, 4, 5, 6, 7, 8], &[8, 5, 6, 7, 8, 1, 2, 3, 4]);
    check(SqlType::SmallDateTime, &[1, 2, 3, 4], &[4, 3, 4, 1, 2]);
    check(SqlType::VarChar { length: None, collation: LATIN }, b"ab", b"\x02\0\0\0\0\0\0\0\x02\0\0\0ab\0\0\0\0");
    check(SqlType::VarChar { length: None, collation: LATIN }, b"", b"\0\0\0\0\0\0\0\0\0\0\0\0");
    check(SqlType::VarChar { length: Some(10), collation: LATIN }, b"", b"\0\0");
    check(SqlType::Text { collation: LATIN }, b"t", b"\x10dummy textptr\0\0\0dummyTS\0\x01\0\0\0t");
}

#[test]
fn cells_of_every_type_come_back() {
    check(SqlType::Bit, &[1], &[1, 1]);
    check(SqlType::TinyInt, &[255], &[]);
    check(SqlType::SmallInt, &i16::MIN.to_le_bytes(), &[]);
    check(SqlType::Int, &i32::MIN.to_le_bytes(), &[]);
    check(SqlType::BigInt, &i64::MIN.to_le_bytes(), &[]);
    check(SqlType::Real, &f32::MAX.to_le_bytes(), &[]);
    check(SqlType::Float, &f64::MIN_POSITIVE.to_le_bytes(), &[]);
    check(SqlType::SmallMoney, &i32::MIN.to_le_bytes(), &[]);
    for precision in [1, 9, 10, 19, 20, 28, 29, 38] {
        let mut cell = vec![0xFF; 1 + magnitude_len(precision)];
        cell[0] = 0;
        check(SqlType::Decimal { precision, scale: precision }, &cell, &[]);
    }
    check(SqlType::Date, &[1, 2, 3], &[3, 1, 2, 3]);
    for scale in 0..=7 {
        let cell = vec![7; time_len(scale) + 5];
        check(SqlType::Time { scale }, &cell[5..], &[]);
        check(SqlType::DateTime2 { scale }, &cell[2..], &[]);
        check(SqlType::DateTimeOffset { scale }, &cell, &[]);
    }
    check(SqlType::UniqueIdentifier, &[9; 16], &[]);
    check(SqlType::Char { length: 3, collation: LATIN }, b"a  ", &[]);
    check(SqlType::NChar { length: 2, collation: LATIN }, &[0, 0xD8, 32, 0], &[]);
    check(SqlType::NVarChar { length: Some(4000), collation: LATIN }, &[1; 8000], &[]);
    check(SqlType::NVarChar { length: None, collation: LATIN }, &[1; 100_000], &[]);
    check(SqlType::NText { collation: LATIN }, &[1; 10], &[]);
    check(SqlType::Binary { length: 2 }, &[0, 0xFF], &[]);
    check(SqlType::VarBinary { length: Some(8000) }, &[0xFF; 8000], &[]);
    check(SqlType::VarBinary { length: None }, &[0xFF; 70_000], &[]);
    check(SqlType::Image, &[], &[]);
    check(SqlType::Xml, &[b'<', 0], &[]);
    check(SqlType::HierarchyId, &[0x58], &[]);
}

#[test]
fn variants_of_every_base_type_come_back() {
    let collation = LATIN.0.to_le_bytes();
    let text = [&[167, 1, 10, 0], &collation[..], b"abc"].concat();
    check(SqlType::Variant, &text, b"\x0c\0\0\0\xa7\x07\x09\x04\xd0\x00\x34\x0a\0abc");
    check(SqlType::Variant, &[104, 1, 1], &[3, 0, 0, 0, 50, 0, 1]);
    check(SqlType::Variant, &[56, 1, 1, 0, 0, 0], &[]);
    check(SqlType::Variant, &[60, 1, 1, 2, 3, 4, 5, 6, 7, 8], &[10, 0, 0, 0, 60, 0, 5, 6, 7, 8, 1, 2, 3, 4]);
    check(SqlType::Variant, &[58, 1, 1, 2, 3, 4], &[]);
    check(SqlType::Variant, &[106, 1, 5, 2, 1, 57, 48, 0, 0], &[]);
    check(SqlType::Variant, &[42, 1, 7, 1, 2, 3, 4, 5, 6, 7, 8], &[]);
    check(SqlType::Variant, &[165, 1, 3, 0, 1, 2, 3], &[]);
}

#[test]
fn numbers_that_are_never_null_go_without_a_length() {
    for (sql_type, cell, wire) in [
        (SqlType::Int, vec![1, 0, 0, 0], vec![0x38, 1, 0, 0, 0]),
        (SqlType::Money, vec![1, 2, 3, 4, 5, 6, 7, 8], vec![0x3C, 5, 6, 7, 8, 1, 2, 3, 4]),
        (SqlType::SmallDateTime, vec![1, 2, 3, 4], vec![0x3A, 3, 4, 1, 2]),
    ] {
        let mut out = Vec::new();
        let form = put_type(&sql_type, false, true, &mut out);
        put_cell(form, &cell, &mut out).unwrap();
        assert_eq!(out, wire);
        assert!(!can_be_null(form));
        let mut reader = Reader::new(&out);
        let SentType::Of(back, form) = read_type(&mut reader).unwrap() else { panic!("{sql_type:?} was refused") };
        assert_eq!(read_cell(&back, form, &mut reader).unwrap(), Some(cell));
    }
}

#[test]
fn utf8_is_sent_as_utf16_to_those_who_do_not_take_it() {
    let collation = Collation(0x4_d188);
    let mut out = Vec::new();
    let form = put_type(&SqlType::VarChar { length: Some(10), collation }, true, false, &mut out);
    assert_eq!(out[..3], [0xE7, 20, 0]);
    out.clear();
    put_cell(form, "ä€".as_bytes(), &mut out).unwrap();
    assert_eq!(out, [4, 0, 0xE4, 0, 0xAC, 0x20]);
}

#[test]
fn decimals_of_clients_are_made_as_long_as_stored() {
    let check = |precision, sent: &[u8], expect: Option<&[u8]>| {
        assert_eq!(decimal(precision, sent).as_deref(), expect, "decimal({precision}) {sent:?}");
    };
    check(19, &[0, 5], Some(&[0, 5, 0, 0, 0, 0, 0, 0, 0]));
    check(5, &[0, 5, 0, 0, 0, 0, 0, 0, 0], Some(&[0, 5, 0, 0, 0]));
    check(5, &[1, 5, 0, 0, 0, 1, 0, 0, 0], None);
    check(5, &[0, 0], Some(&[1, 0, 0, 0, 0]));
    check(5, &[], None);
}

proptest! {
    #[test]
    fn hostile_parameters_are_an_error_never_a_panic(data in proptest::collection::vec(any::<u8>(), 0..100)) {
        let mut reader = Reader::new(&data);
        while let Ok(SentType::Of(sql_type, form)) = read_type(&mut reader) {
            if read_cell(&sql_type, form, &mut reader).is_err() {
                break;
            }
        }
    }

    #[test]
    fn hostile_variants_are_an_error_never_a_panic(data in proptest::collection::vec(any::<u8>(), 0..30)) {
        if let Ok(cell) = variant::stored(&data) {
            let _ = variant::put(&cell, &mut Vec::new());
        }
    }
}

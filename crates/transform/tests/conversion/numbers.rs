//! Integers, floats, money, decimals, `uniqueidentifier`, binaries.

use logferry_model::{Cell, PgType, SqlType};
use logferry_transform::{CellError, Types};
use proptest::prelude::*;

use crate::{check, copied, one_column};

#[test]
fn bit() {
    check(&SqlType::Bit, PgType::Bool, &[0], Ok(&[0]));
    check(&SqlType::Bit, PgType::Bool, &[1], Ok(&[1]));
    check(&SqlType::Bit, PgType::Bool, &[2], Err(CellError::Range("a bit")));
    check(&SqlType::Bit, PgType::Bool, &[], Err(CellError::Length { found: 0 }));
}

#[test]
fn integers() {
    check(&SqlType::TinyInt, PgType::Int2, &[0], Ok(&0_i16.to_be_bytes()));
    check(&SqlType::TinyInt, PgType::Int2, &[255], Ok(&255_i16.to_be_bytes()));
    check(&SqlType::TinyInt, PgType::Int2, &[1, 0], Err(CellError::Length { found: 2 }));
    for n in [i16::MIN, -1, 0, 1, i16::MAX] {
        check(&SqlType::SmallInt, PgType::Int2, &n.to_le_bytes(), Ok(&n.to_be_bytes()));
    }
    for n in [i32::MIN, -1, 0, 1, i32::MAX] {
        check(&SqlType::Int, PgType::Int4, &n.to_le_bytes(), Ok(&n.to_be_bytes()));
    }
    for n in [i64::MIN, -1, 0, 1, i64::MAX] {
        check(&SqlType::BigInt, PgType::Int8, &n.to_le_bytes(), Ok(&n.to_be_bytes()));
    }
    check(&SqlType::SmallInt, PgType::Int2, &[1; 4], Err(CellError::Length { found: 4 }));
    check(&SqlType::Int, PgType::Int4, &[1; 3], Err(CellError::Length { found: 3 }));
    check(&SqlType::BigInt, PgType::Int8, &[1; 9], Err(CellError::Length { found: 9 }));
}

#[test]
fn floats() {
    for x in [0.0, -0.0, 1.5, f64::MIN, f64::MAX, f64::MIN_POSITIVE, 5e-324, f64::NAN, f64::INFINITY] {
        check(&SqlType::Float, PgType::Float8, &x.to_le_bytes(), Ok(&x.to_be_bytes()));
    }
    for x in [0.0, -0.0, 1.5, f32::MIN, f32::MAX, f32::MIN_POSITIVE, 1e-45, f32::NAN, f32::NEG_INFINITY] {
        check(&SqlType::Real, PgType::Float4, &x.to_le_bytes(), Ok(&x.to_be_bytes()));
    }
    check(&SqlType::Float, PgType::Float8, &[0; 4], Err(CellError::Length { found: 4 }));
    check(&SqlType::Real, PgType::Float4, &[0; 8], Err(CellError::Length { found: 8 }));
}

#[test]
fn uniqueidentifier() {
    // 6F9619FF-8B86-D011-B42D-00C04FC964FF, the example of the documentation.
    let cell = *b"\xff\x19\x96\x6f\x86\x8b\x11\xd0\xb4\x2d\x00\xc0\x4f\xc9\x64\xff";
    let expect = *b"\x6f\x96\x19\xff\x8b\x86\xd0\x11\xb4\x2d\x00\xc0\x4f\xc9\x64\xff";
    check(&SqlType::UniqueIdentifier, PgType::Uuid, &cell, Ok(&expect));
    check(&SqlType::UniqueIdentifier, PgType::Uuid, &[0; 16], Ok(&[0; 16]));
    check(&SqlType::UniqueIdentifier, PgType::Uuid, &[0xff; 16], Ok(&[0xff; 16]));
    check(&SqlType::UniqueIdentifier, PgType::Uuid, &[0; 15], Err(CellError::Length { found: 15 }));
}

#[test]
fn binaries_are_taken_over() {
    let all: Vec<u8> = (0..=255).collect();
    for sql_type in [
        SqlType::Binary { length: 256 },
        SqlType::VarBinary { length: Some(256) },
        SqlType::VarBinary { length: None },
        SqlType::Image,
        SqlType::RowVersion,
        SqlType::Clr,
        SqlType::Json,
        SqlType::Unknown { code: 250 },
    ] {
        check(&sql_type, PgType::Bytea, &all, Ok(&all));
        check(&sql_type, PgType::Bytea, &[], Ok(&[]));
        check(&sql_type, PgType::Bytea, &[0, 0, 0, 0, 0, 0, 7, 0xd1], Ok(&[0, 0, 0, 0, 0, 0, 7, 0xd1]));
    }
}

#[track_caller]
fn check_numeric(sql_type: &SqlType, precision: u16, scale: u16, cell: &[u8], expect: &str) {
    let plan = one_column(sql_type, Types::default());
    assert_eq!(plan.target().columns[0].pg_type, PgType::Numeric { precision, scale });
    let value = copied(&plan, Cell::Bytes(cell)).expect("a value").expect("no NULL");
    assert_eq!(text_of_numeric(&value), expect);
}

#[test]
fn money() {
    let check = |n: i64, expect| check_numeric(&SqlType::Money, 19, 4, &n.to_le_bytes(), expect);
    check(i64::MIN, "-922337203685477.5808");
    check(i64::MAX, "922337203685477.5807");
    check(0, "0.0000");
    check(-1, "-0.0001");
    check(10_000, "1.0000");
    check(123_450_000, "12345.0000");
    let check = |n: i32, expect| check_numeric(&SqlType::SmallMoney, 10, 4, &n.to_le_bytes(), expect);
    check(i32::MIN, "-214748.3648");
    check(i32::MAX, "214748.3647");
    check(0, "0.0000");
    check(-10, "-0.0010");
}

/// A `decimal` cell: sign byte and magnitude, as wide as the precision asks for.
fn decimal_cell(precision: u8, negative: bool, magnitude: u128) -> Vec<u8> {
    let width = match precision {
        ..=9 => 4,
        10..=19 => 8,
        20..=28 => 12,
        _ => 16,
    };
    let mut cell = vec![u8::from(!negative)];
    cell.extend_from_slice(&magnitude.to_le_bytes()[..width]);
    cell
}

#[track_caller]
fn check_decimal(precision: u8, scale: u8, negative: bool, magnitude: u128, expect: &str) {
    let cell = decimal_cell(precision, negative, magnitude);
    check_numeric(&SqlType::Decimal { precision, scale }, precision.into(), scale.into(), &cell, expect);
}

#[test]
fn decimals() {
    let max = 10_u128.pow(38) - 1;
    check_decimal(38, 0, false, max, "99999999999999999999999999999999999999");
    check_decimal(38, 0, true, max, "-99999999999999999999999999999999999999");
    check_decimal(38, 38, true, max, "-0.99999999999999999999999999999999999999");
    check_decimal(38, 37, false, max, "9.9999999999999999999999999999999999999");
    check_decimal(38, 1, false, max, "9999999999999999999999999999999999999.9");
    check_decimal(38, 38, false, 1, "0.00000000000000000000000000000000000001");
    check_decimal(38, 3, false, 10_u128.pow(37), "10000000000000000000000000000000000.000");
    check_decimal(18, 4, false, 12_345_678, "1234.5678");
    check_decimal(18, 4, false, 0, "0.0000");
    check_decimal(18, 2, true, 0, "0.00");
    check_decimal(9, 2, true, 5, "-0.05");
    check_decimal(9, 0, false, 999_999_999, "999999999");
    check_decimal(1, 1, false, 9, "0.9");
    check_decimal(19, 0, false, 10_000_000_000_000, "10000000000000");
    check_decimal(28, 10, true, u128::from(u64::MAX) + 1, "-1844674407.3709551616");
}

#[test]
fn decimals_that_are_none() {
    let sql_type = SqlType::Decimal { precision: 5, scale: 2 };
    let pg_type = || PgType::Numeric { precision: 5, scale: 2 };
    check(&sql_type, pg_type(), &decimal_cell(5, false, 100_000), Err(CellError::Range("a decimal")));
    check(&sql_type, pg_type(), &[2, 1, 0, 0, 0], Err(CellError::Range("the sign of a decimal")));
    check(&sql_type, pg_type(), &[1, 1, 0], Err(CellError::Length { found: 3 }));
    check(&sql_type, pg_type(), &[], Err(CellError::Length { found: 0 }));
    let widest = SqlType::Decimal { precision: 38, scale: 0 };
    let pg_type = PgType::Numeric { precision: 38, scale: 0 };
    check(&widest, pg_type, &decimal_cell(38, false, 10_u128.pow(38)), Err(CellError::Range("a decimal")));
}

#[test]
fn bytes_are_those_of_numeric_send() {
    let bytes = |precision, scale, magnitude| {
        let plan = one_column(&SqlType::Decimal { precision, scale }, Types::default());
        copied(&plan, Cell::Bytes(&decimal_cell(precision, true, magnitude)))
    };
    // From `select numeric_send(...)` of PostgreSQL 15.
    let expect = |hex: &[u16]| Ok(Some(hex.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<_>>()));
    assert_eq!(bytes(18, 4, 0), expect(&[0, 0, 0, 4])); // 0.0000
    assert_eq!(bytes(9, 2, 12_345), expect(&[2, 0, 0x4000, 2, 123, 4500])); // -123.45
    assert_eq!(bytes(9, 0, 20_000), expect(&[1, 1, 0x4000, 0, 2])); // -20000
    assert_eq!(bytes(9, 8, 10), expect(&[1, 0xfffe, 0x4000, 8, 10])); // -0.00000010
    assert_eq!(bytes(9, 5, 10), expect(&[1, 0xffff, 0x4000, 5, 1])); // -0.00010
}

proptest! {
    #[test]
    fn any_decimal_is_exact(
        (precision, scale, negative, magnitude) in (1..=38_u8).prop_flat_map(|precision| {
            let max = 10_u128.pow(precision.into());
            // Few digits, many digits, and round numbers, which have zero digits inside.
            let magnitude = prop_oneof![
                0..max,
                (0..precision).prop_map(move |digits| 10_u128.pow(digits.into())),
                (0..max, 0..precision).prop_map(|(n, digits)| n / 10_u128.pow(digits.into()) * 10_u128.pow(digits.into())),
                (0..max, 0..precision).prop_map(|(n, digits)| n / 10_u128.pow(digits.into())),
            ];
            (Just(precision), 0..=precision, any::<bool>(), magnitude)
        })
    ) {
        let digits = format!("{magnitude:0width$}", width = usize::from(scale) + 1);
        let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
        let sign = if negative && magnitude != 0 { "-" } else { "" };
        let point = if scale > 0 { "." } else { "" };
        check_decimal(precision, scale, negative, magnitude, &format!("{sign}{whole}{point}{fraction}"));
    }
}

/// Reads `numeric_send`'s bytes, and that they are in the one form that PostgreSQL writes.
fn text_of_numeric(bytes: &[u8]) -> String {
    let words: Vec<_> = bytes.chunks(2).map(|b| i16::from_be_bytes([b[0], b[1]])).collect();
    let [count, weight, sign, scale, digits @ ..] = words.as_slice() else { panic!("a header of four words") };
    assert_eq!(*count as usize, digits.len());
    assert!(digits.iter().all(|d| (0..10_000).contains(d)));
    assert_ne!(digits.first(), Some(&0), "no zero digit in front");
    assert_ne!(digits.last(), Some(&0), "no zero digit at the end");
    if digits.is_empty() {
        assert_eq!((*weight, *sign), (0, 0), "the one form of zero");
    }
    // The digit of weight w, as four decimal digits; weights beyond both ends are zero.
    let digit = |w: i16| format!("{:04}", digits.get(usize::try_from(weight - w).unwrap_or(usize::MAX)).unwrap_or(&0));
    let whole: String = (0..=(*weight).max(0)).rev().map(digit).collect();
    let whole = whole.trim_start_matches('0');
    let fraction: String = (1..=16).map(|w| digit(-w)).collect();
    let (shown, hidden) = fraction.split_at(*scale as usize);
    assert!(hidden.chars().all(|c| c == '0'), "no digits beyond the scale");
    let sign = match sign {
        0 => "",
        0x4000 => "-",
        other => panic!("sign {other:#x}"),
    };
    let point = if *scale > 0 { "." } else { "" };
    format!("{sign}{}{point}{shown}", if whole.is_empty() { "0" } else { whole })
}

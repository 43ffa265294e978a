use logferry_model::Collation;

use super::*;

#[track_caller]
fn check(sql_type: SqlType, bytes: &[u8], expect: &str) {
    let mut out = String::new();
    cell(Cell::Bytes(bytes), &sql_type, &mut out);
    assert_eq!(out, expect);
    assert!(serde_json::from_str::<Value>(&out).is_ok(), "{out} is no JSON");
}

const ANY: Collation = Collation(0x3400_D008);

#[test]
fn integers() {
    check(SqlType::Bit, &[1], "true");
    check(SqlType::Bit, &[0], "false");
    check(SqlType::TinyInt, &[255], "255");
    check(SqlType::SmallInt, &i16::MIN.to_le_bytes(), "-32768");
    check(SqlType::Int, &i32::MIN.to_le_bytes(), "-2147483648");
    check(SqlType::BigInt, &i64::MAX.to_le_bytes(), "9223372036854775807");
    check(SqlType::BigInt, &i64::MIN.to_le_bytes(), "-9223372036854775808");
    check(SqlType::Int, &[1, 2], "\"0x0102\"");
}

#[test]
fn exact_numbers() {
    let decimal = |precision, scale| SqlType::Decimal { precision, scale };
    check(decimal(5, 2), &[1, 57, 48, 0, 0], "123.45");
    check(decimal(5, 2), &[0, 5, 0, 0, 0], "-0.05");
    check(decimal(5, 5), &[1, 1, 0, 0, 0], "0.00001");
    check(decimal(9, 0), &[0, 0, 0, 0, 0], "0");
    let mut max = vec![1];
    max.extend((10u128.pow(38) - 1).to_le_bytes());
    check(decimal(38, 0), &max, &"9".repeat(38));
    check(decimal(38, 38), &max, &format!("0.{}", "9".repeat(38)));
    check(SqlType::Money, &i64::MIN.to_le_bytes(), "-922337203685477.5808");
    check(SqlType::Money, &i64::MAX.to_le_bytes(), "922337203685477.5807");
    check(SqlType::SmallMoney, &i32::MIN.to_le_bytes(), "-214748.3648");
    check(SqlType::SmallMoney, &(-1i32).to_le_bytes(), "-0.0001");
    check(decimal(9, 2), &[], "\"0x\"");
}

#[test]
fn floats() {
    check(SqlType::Float, &0.1f64.to_le_bytes(), "0.1");
    check(SqlType::Real, &0.1f32.to_le_bytes(), "0.1");
    check(SqlType::Float, &f64::MAX.to_le_bytes(), "1.7976931348623157e+308");
    check(SqlType::Real, &f32::MIN_POSITIVE.to_le_bytes(), "0.000000000000000000000000000000000000011754944");
    check(SqlType::Float, &f64::NAN.to_le_bytes(), "\"0x000000000000F87F\"");
}

#[test]
fn dates_and_times() {
    check(SqlType::Date, &[0, 0, 0], "\"0001-01-01\"");
    check(SqlType::Date, &[0xDA, 0xB9, 0x37], "\"9999-12-31\"");
    check(SqlType::Date, &[0xDB, 0xB9, 0x37], "\"0xDBB937\"");
    check(SqlType::DateTime, &[0, 0, 0, 0, 0, 0, 0, 0], "\"1900-01-01T00:00:00.000\"");
    // 1753-01-01 and 9999-12-31 23:59:59.997
    check(SqlType::DateTime, &[0, 0, 0, 0, 0x46, 0x2E, 0xFF, 0xFF], "\"1753-01-01T00:00:00.000\"");
    check(SqlType::DateTime, &[0xFF, 0x81, 0x8B, 1, 0x7F, 0x24, 0x2D, 0], "\"9999-12-31T23:59:59.997\"");
    check(SqlType::DateTime, &[1, 0, 0, 0, 0, 0, 0, 0], "\"1900-01-01T00:00:00.003\"");
    check(SqlType::DateTime, &[2, 0, 0, 0, 0, 0, 0, 0], "\"1900-01-01T00:00:00.007\"");
    check(SqlType::SmallDateTime, &[0x9F, 5, 0xFF, 0xFF], "\"2079-06-06T23:59:00\"");
    check(SqlType::Time { scale: 0 }, &[0x7F, 0x51, 1], "\"23:59:59\"");
    check(SqlType::Time { scale: 7 }, &[0xFF, 0xBF, 0x69, 0x2A, 0xC9], "\"23:59:59.9999999\"");
    check(SqlType::Time { scale: 7 }, &[0, 0xC0, 0x69, 0x2A, 0xC9], "\"0x00C0692AC9\"");
    check(SqlType::DateTime2 { scale: 0 }, &[0, 0, 0, 0, 0, 0], "\"0001-01-01T00:00:00\"");
    check(
        SqlType::DateTime2 { scale: 7 },
        &[0xFF, 0xBF, 0x69, 0x2A, 0xC9, 0xDA, 0xB9, 0x37],
        "\"9999-12-31T23:59:59.9999999\"",
    );
    // 2000-02-29 23:30 UTC at +01:00 and at -14:00
    let utc = |offset: i16| {
        let mut bytes = (84_600u32.to_le_bytes())[..3].to_vec();
        bytes.extend(&(730_178u32.to_le_bytes())[..3]);
        bytes.extend(offset.to_le_bytes());
        bytes
    };
    check(SqlType::DateTimeOffset { scale: 0 }, &utc(60), "\"2000-03-01T00:30:00+01:00\"");
    check(SqlType::DateTimeOffset { scale: 0 }, &utc(-840), "\"2000-02-29T09:30:00-14:00\"");
}

#[test]
fn text_and_bytes() {
    check(SqlType::VarChar { length: Some(9), collation: ANY }, b"a\"\\\n\xe9", "\"a\\\"\\\\\\n\u{e9}\"");
    check(SqlType::VarChar { length: None, collation: ANY }, b"", "\"\"");
    check(SqlType::Char { length: 3, collation: ANY }, b"a  ", "\"a  \"");
    check(
        SqlType::NVarChar { length: Some(9), collation: ANY },
        &[0x3D, 0xD8, 0, 0xDE, 0, 0xD8],
        "\"\u{1f600}\u{fffd}\"",
    );
    check(SqlType::NText { collation: ANY }, &[0x41], "\"0x41\"");
    check(SqlType::Image, &[0, 255], "\"0x00FF\"");
    check(SqlType::VarBinary { length: Some(4) }, &[], "\"0x\"");
    check(
        SqlType::UniqueIdentifier,
        &[0xFF, 0x19, 0x96, 0x6F, 0x86, 0x8B, 0x11, 0xD0, 0xB4, 0x2D, 0, 0xC0, 0x4F, 0xC9, 0x64, 0xFF],
        "\"6f9619ff-8b86-d011-b42d-00c04fc964ff\"",
    );
    check(SqlType::Variant, &[56, 1, 1, 0, 0, 0], "\"0x380101000000\"");
}

#[test]
fn null_and_unchanged_differ() {
    assert_eq!(value(Cell::Null, &SqlType::Int), Value::Null);
    assert_eq!(value(Cell::Unchanged, &SqlType::Int), serde_json::json!({"unchanged": true}));
}

//! Dates and times.

use logferry_model::{Cell, PgType, SqlType};
use logferry_transform::{CellError, HundredNs, Offset, Types};

use crate::{check, check_with, copied, one_column};

const US_PER_DAY: i64 = 86_400_000_000;
/// 2000-01-01 and 9999-12-31 in days since 0001-01-01.
const Y2000: u32 = 730_119;
const LAST: u32 = 3_652_058;

fn date(days: u32) -> [u8; 3] {
    let [a, b, c, _] = days.to_le_bytes();
    [a, b, c]
}

/// Time of day in the bytes of a scale.
fn time(scale: u8, units: u64) -> Vec<u8> {
    let width = [3, 3, 3, 4, 4, 5, 5, 5][usize::from(scale)];
    units.to_le_bytes()[..width].to_vec()
}

fn datetime2(scale: u8, units: u64, days: u32) -> Vec<u8> {
    [time(scale, units), date(days).to_vec()].concat()
}

fn datetimeoffset(scale: u8, units: u64, days: u32, minutes: i16) -> Vec<u8> {
    [datetime2(scale, units, days), minutes.to_le_bytes().to_vec()].concat()
}

#[test]
fn dates() {
    let check = |days, expect: i32| check(&SqlType::Date, PgType::Date, &date(days), Ok(&expect.to_be_bytes()));
    check(0, -730_119); // 0001-01-01
    check(Y2000, 0);
    check(Y2000 + 59, 59); // 2000-02-29
    check(LAST, 2_921_939); // 9999-12-31
    let refused = |cell: &[u8], error| crate::check(&SqlType::Date, PgType::Date, cell, Err(error));
    refused(&date(LAST + 1), CellError::Range("a date"));
    refused(&[0xff; 3], CellError::Range("a date"));
    refused(&[0; 4], CellError::Length { found: 4 });
}

#[test]
fn times_of_every_scale() {
    for scale in 0..=7_u8 {
        let per_second = 10_u64.pow(scale.into());
        let sql_type = SqlType::Time { scale };
        let pg_type = || PgType::Time { precision: scale.min(6) };
        check(&sql_type, pg_type(), &time(scale, 0), Ok(&0_i64.to_be_bytes()));
        let noon = 12 * 3_600;
        check(&sql_type, pg_type(), &time(scale, noon * per_second), Ok(&(US_PER_DAY / 2).to_be_bytes()));
        let last = 86_400 * per_second - 1;
        let expect = match scale {
            7 => US_PER_DAY - 1,
            _ => US_PER_DAY - 10_i64.pow(6 - u32::from(scale)),
        };
        check(&sql_type, pg_type(), &time(scale, last), Ok(&expect.to_be_bytes()));
        check(&sql_type, pg_type(), &time(scale, last + 1), Err(CellError::Range("a time")));
        check(&sql_type, pg_type(), &[0; 2], Err(CellError::Length { found: 2 }));
        check(&sql_type, pg_type(), &[0; 6], Err(CellError::Length { found: 6 }));
    }
}

/// Units of 100 ns to microseconds, and whether a digit was lost.
#[track_caller]
fn check_seventh(hundred_ns: HundredNs, units: u64, expect: i64, lost: u64) {
    let types = Types { hundred_ns, ..Types::default() };
    let time_type = SqlType::Time { scale: 7 };
    check_with(types, &time_type, PgType::Time { precision: 6 }, &time(7, units), Ok(&expect.to_be_bytes()));
    let datetime2_type = SqlType::DateTime2 { scale: 7 };
    let pg_type = PgType::Timestamp { precision: 6 };
    check_with(types, &datetime2_type, pg_type, &datetime2(7, units, Y2000), Ok(&expect.to_be_bytes()));
    let plan = one_column(&datetime2_type, types);
    copied(&plan, Cell::Bytes(&datetime2(7, units, Y2000))).expect("a value");
    assert_eq!(plan.counts().iter().map(|c| c.rounded_times).sum::<u64>(), lost);
}

#[test]
fn seventh_digit_is_rounded_within_the_day() {
    check_seventh(HundredNs::Round, 14, 1, 1);
    check_seventh(HundredNs::Round, 15, 2, 1);
    check_seventh(HundredNs::Round, 20, 2, 0);
    check_seventh(HundredNs::Round, 863_999_999_999, US_PER_DAY - 1, 1);
    check_seventh(HundredNs::Round, 863_999_999_995, US_PER_DAY - 1, 1);
    check_seventh(HundredNs::Round, 863_999_999_990, US_PER_DAY - 1, 0);
    check_seventh(HundredNs::Truncate, 19, 1, 1);
    check_seventh(HundredNs::Truncate, 863_999_999_999, US_PER_DAY - 1, 1);
}

#[test]
fn seven_digits_as_text() {
    let types = Types { hundred_ns: HundredNs::Text, ..Types::default() };
    let check = |sql_type, cell: &[u8], expect: &str| {
        check_with(types, &sql_type, PgType::Text, cell, Ok(expect.as_bytes()));
    };
    check(SqlType::Time { scale: 7 }, &time(7, 863_999_999_999), "23:59:59.9999999");
    check(SqlType::Time { scale: 7 }, &time(7, 0), "00:00:00.0000000");
    check(SqlType::DateTime2 { scale: 7 }, &datetime2(7, 863_999_999_999, LAST), "9999-12-31 23:59:59.9999999");
    check(SqlType::DateTime2 { scale: 7 }, &datetime2(7, 1, 0), "0001-01-01 00:00:00.0000001");
    let cell = datetimeoffset(7, 1, Y2000 + 60, -90);
    check(SqlType::DateTimeOffset { scale: 7 }, &cell, "2000-02-29 22:30:00.0000001 -01:30");
    // Columns of fewer digits keep their types.
    let sql_type = SqlType::Time { scale: 6 };
    check_with(types, &sql_type, PgType::Time { precision: 6 }, &time(6, 1), Ok(&1_i64.to_be_bytes()));
}

#[test]
fn datetime2_of_every_scale() {
    for scale in 0..=7_u8 {
        let per_second = 10_u64.pow(scale.into());
        let sql_type = SqlType::DateTime2 { scale };
        let pg_type = || PgType::Timestamp { precision: scale.min(6) };
        let first = -730_119 * US_PER_DAY;
        check(&sql_type, pg_type(), &datetime2(scale, 0, 0), Ok(&first.to_be_bytes()));
        let cell = datetime2(scale, 86_399 * per_second, LAST);
        let last = 2_921_940 * US_PER_DAY - 1_000_000;
        check(&sql_type, pg_type(), &cell, Ok(&last.to_be_bytes()));
        check(&sql_type, pg_type(), &datetime2(scale, 0, LAST + 1), Err(CellError::Range("a date")));
        check(&sql_type, pg_type(), &datetime2(scale, 86_400 * per_second, 0), Err(CellError::Range("a time")));
        check(&sql_type, pg_type(), &[0; 5], Err(CellError::Length { found: 2 }));
        check(&sql_type, pg_type(), &[0; 2], Err(CellError::Length { found: 2 }));
    }
    // The end of time of temporal tables stays in the year 9999.
    let end = 2_921_940 * US_PER_DAY - 1;
    let sql_type = SqlType::DateTime2 { scale: 7 };
    let pg_type = PgType::Timestamp { precision: 6 };
    check(&sql_type, pg_type, &datetime2(7, 863_999_999_999, LAST), Ok(&end.to_be_bytes()));
}

#[test]
fn datetimeoffset_is_the_same_instant() {
    let sql_type = SqlType::DateTimeOffset { scale: 3 };
    let pg_type = || PgType::TimestampTz { precision: 3 };
    for minutes in [-840, -90, 0, 330, 840] {
        let cell = datetimeoffset(3, 1, Y2000, minutes);
        check(&sql_type, pg_type(), &cell, Ok(&1_000_i64.to_be_bytes()));
    }
    check(&sql_type, pg_type(), &datetimeoffset(3, 0, Y2000, 841), Err(CellError::Range("an offset")));
    check(&sql_type, pg_type(), &datetimeoffset(3, 0, Y2000, -841), Err(CellError::Range("an offset")));
    check(&sql_type, pg_type(), &datetimeoffset(3, 0, LAST + 1, 0), Err(CellError::Range("a date")));
    check(&sql_type, pg_type(), &[0; 1], Err(CellError::Length { found: 1 }));
}

#[test]
fn datetimeoffset_as_text_is_local() {
    let types = Types { offset: Offset::Text, ..Types::default() };
    #[track_caller]
    fn check(types: Types, cell: &[u8], expect: Result<&str, CellError>) {
        let sql_type = SqlType::DateTimeOffset { scale: 0 };
        check_with(types, &sql_type, PgType::Text, cell, expect.map(str::as_bytes));
    }
    check(types, &datetimeoffset(0, 0, Y2000, 0), Ok("2000-01-01 00:00:00 +00:00"));
    check(types, &datetimeoffset(0, 0, Y2000, -1), Ok("1999-12-31 23:59:00 -00:01"));
    check(types, &datetimeoffset(0, 86_399, Y2000, 840), Ok("2000-01-02 13:59:59 +14:00"));
    check(types, &datetimeoffset(0, 0, 0, -1), Err(CellError::Range("a date")));
    check(types, &datetimeoffset(0, 86_399, LAST, 1), Err(CellError::Range("a date")));
}

fn datetime(ticks: u32, days: i32) -> Vec<u8> {
    [ticks.to_le_bytes(), days.to_le_bytes()].concat()
}

#[test]
fn datetime_is_what_sql_server_shows() {
    let pg_type = || PgType::Timestamp { precision: 3 };
    let check_ms = |ticks, ms: i64| {
        check(&SqlType::DateTime, pg_type(), &datetime(ticks, 36_524), Ok(&(ms * 1_000).to_be_bytes()));
    };
    // .000 .003 .007 .010 ... .997
    for (ticks, ms) in [(0, 0), (1, 3), (2, 7), (3, 10), (4, 13), (5, 17), (299, 997), (300, 1_000)] {
        check_ms(ticks, ms);
    }
    check_ms(25_919_999, 86_399_997);
    let first = (-53_690 - 36_524) * US_PER_DAY;
    check(&SqlType::DateTime, pg_type(), &datetime(0, -53_690), Ok(&first.to_be_bytes()));
    let last = (2_958_463 - 36_524) * US_PER_DAY;
    check(&SqlType::DateTime, pg_type(), &datetime(0, 2_958_463), Ok(&last.to_be_bytes()));
    let refused = || Err(CellError::Range("a datetime"));
    check(&SqlType::DateTime, pg_type(), &datetime(25_920_000, 0), refused());
    check(&SqlType::DateTime, pg_type(), &datetime(0, -53_691), refused());
    check(&SqlType::DateTime, pg_type(), &datetime(0, 2_958_464), refused());
    check(&SqlType::DateTime, pg_type(), &[0; 4], Err(CellError::Length { found: 4 }));
}

#[test]
fn smalldatetime() {
    let cell = |minutes: u16, days: u16| [minutes.to_le_bytes(), days.to_le_bytes()].concat();
    let pg_type = || PgType::Timestamp { precision: 0 };
    let check = |cell: &[u8], expect: i64| {
        check(&SqlType::SmallDateTime, pg_type(), cell, Ok(&expect.to_be_bytes()));
    };
    check(&cell(0, 0), -36_524 * US_PER_DAY); // 1900-01-01
    check(&cell(0, 36_524), 0);
    check(&cell(1_439, u16::MAX), (65_535 - 36_524) * US_PER_DAY + 86_340_000_000); // 2079-06-06 23:59
    let refused = |cell: &[u8], error| crate::check(&SqlType::SmallDateTime, pg_type(), cell, Err(error));
    refused(&cell(1_440, 0), CellError::Range("a smalldatetime"));
    refused(&[0; 3], CellError::Length { found: 3 });
}

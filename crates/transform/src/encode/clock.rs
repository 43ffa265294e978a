//! Dates and times.
//!
//! SQL Server counts days since 0001-01-01 (`date`, `datetime2`, `datetimeoffset`) or 1900-01-01 (`datetime`,
//! `smalldatetime`), PostgreSQL days and microseconds since 2000-01-01; both calendars are proleptic Gregorian, so
//! days only have to be shifted. A `datetimeoffset` is stored in UTC with its offset beside it.
//!
//! Two surprises. `datetime` counts 1/300 s and shows them rounded to milliseconds, ending in 0, 3 or 7: the shown
//! value is what is taken over. And seven digits of a second do not fit: rounding stays within the day, so that
//! `9999-12-31 23:59:59.9999999`, the customary end of time, does not become the year 10000.

use std::io::Write;

use crate::encode::number::fixed;
use crate::encode::written;
use crate::error::CellError;
use crate::settings::HundredNs;

/// 2000-01-01, in days since 0001-01-01.
const DAYS_TO_2000: i32 = 730_119;
/// 2000-01-01, in days since 1900-01-01.
const DAYS_1900_TO_2000: i32 = 36_524;
/// 9999-12-31, in days since 0001-01-01.
const DAYS_MAX: i32 = 3_652_058;
/// 1753-01-01 and 9999-12-31, in days since 1900-01-01: the limits of `datetime`.
const DATETIME_DAYS: std::ops::RangeInclusive<i32> = -53_690..=2_958_463;
const US_PER_DAY: i64 = 86_400_000_000;
const UNITS_PER_DAY: u64 = 864_000_000_000;

/// What becomes of the seventh digit of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seventh {
    Round,
    Truncate,
    /// Cut off here, kept in a column beside.
    Beside,
}

impl Seventh {
    pub(crate) fn of(setting: HundredNs) -> Seventh {
        match setting {
            HundredNs::Truncate => Seventh::Truncate,
            HundredNs::Remainder => Seventh::Beside,
            // With `text` no column with seven digits gets here.
            HundredNs::Round | HundredNs::Text => Seventh::Round,
        }
    }
}

/// `date` to `date`.
pub(crate) fn date(cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    let days = days(cell)?;
    out.extend_from_slice(&(days - DAYS_TO_2000).to_be_bytes());
    Ok(())
}

/// `time(n)` to `time`. True where a digit was lost.
pub(crate) fn time(cell: &[u8], scale: u8, seventh: Seventh, out: &mut Vec<u8>) -> Result<bool, CellError> {
    let (us, lost) = microseconds(time_of_day(cell, scale)?, seventh);
    out.extend_from_slice(&us.to_be_bytes());
    Ok(lost)
}

/// `datetime2(n)` to `timestamp`. True where a digit was lost.
pub(crate) fn datetime2(cell: &[u8], scale: u8, seventh: Seventh, out: &mut Vec<u8>) -> Result<bool, CellError> {
    let (time, date) = split(cell, 3)?;
    timestamp(time_of_day(time, scale)?, days(date)?, seventh, out)
}

/// `datetimeoffset(n)` to `timestamptz`. True where a digit was lost.
pub(crate) fn datetimeoffset(cell: &[u8], scale: u8, seventh: Seventh, out: &mut Vec<u8>) -> Result<bool, CellError> {
    let (rest, zone) = split(cell, 2)?;
    offset_minutes(zone)?;
    datetime2(rest, scale, seventh, out)
}

/// The seventh digit of a `time(7)`, `datetime2(7)` or `datetimeoffset(7)`, which all begin with the time of day, as `smallint`.
pub(crate) fn remainder(cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    let time = cell.get(..5).ok_or(CellError::Length { found: cell.len() })?;
    let digit = (time_of_day(time, 7)? % 10) as i16;
    out.extend_from_slice(&digit.to_be_bytes());
    Ok(())
}

/// The zone of a `datetimeoffset`, in minutes, as `smallint`.
pub(crate) fn offset(cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    let (_, zone) = split(cell, 2)?;
    out.extend_from_slice(&offset_minutes(zone)?.to_be_bytes());
    Ok(())
}

/// `datetime` to `timestamp(3)`.
pub(crate) fn datetime(cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    let (ticks, days) = datetime_parts(cell)?;
    let us = i64::from((ticks * 10 + 1) / 3) * 1_000;
    out.extend_from_slice(&(i64::from(days - DAYS_1900_TO_2000) * US_PER_DAY + us).to_be_bytes());
    Ok(())
}

/// `smalldatetime` to `timestamp(0)`.
pub(crate) fn smalldatetime(cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    let (minutes, days) = smalldatetime_parts(cell)?;
    let us = i64::from(minutes) * 60_000_000;
    out.extend_from_slice(&(i64::from(days - DAYS_1900_TO_2000) * US_PER_DAY + us).to_be_bytes());
    Ok(())
}

/// `hh:mm:ss` and as many digits as the type has.
pub(crate) fn time_text(cell: &[u8], scale: u8, out: &mut Vec<u8>) -> Result<(), CellError> {
    write_time(time_of_day(cell, scale)?, scale, out);
    Ok(())
}

/// `yyyy-mm-dd`
pub(crate) fn date_text(cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    write_date(days(cell)?, out);
    Ok(())
}

/// `yyyy-mm-dd hh:mm:ss` and as many digits as the type has.
pub(crate) fn datetime2_text(cell: &[u8], scale: u8, out: &mut Vec<u8>) -> Result<(), CellError> {
    let (time, date) = split(cell, 3)?;
    let (units, days) = (time_of_day(time, scale)?, days(date)?);
    write_date(days, out);
    out.push(b' ');
    write_time(units, scale, out);
    Ok(())
}

/// Local time as [`datetime2_text`], then ` +hh:mm`.
pub(crate) fn datetimeoffset_text(cell: &[u8], scale: u8, out: &mut Vec<u8>) -> Result<(), CellError> {
    let (rest, zone) = split(cell, 2)?;
    let minutes = offset_minutes(zone)?;
    let (time, date) = split(rest, 3)?;
    let units = time_of_day(time, scale)? as i64 + i64::from(minutes) * 600_000_000;
    let per_day = UNITS_PER_DAY as i64;
    let days = i64::from(days(date)?) + units.div_euclid(per_day);
    let days = i32::try_from(days).ok().filter(|d| (0..=DAYS_MAX).contains(d)).ok_or(CellError::Range("a date"))?;
    write_date(days, out);
    out.push(b' ');
    write_time(units.rem_euclid(per_day) as u64, scale, out);
    let sign = if minutes < 0 { '-' } else { '+' };
    let minutes = minutes.unsigned_abs();
    written(write!(out, " {sign}{:02}:{:02}", minutes / 60, minutes % 60));
    Ok(())
}

/// `yyyy-mm-dd hh:mm:ss.fff` of a `datetime`.
pub(crate) fn datetime_text(cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    let (ticks, days) = datetime_parts(cell)?;
    write_date(days + (DAYS_TO_2000 - DAYS_1900_TO_2000), out);
    out.push(b' ');
    write_time(u64::from((ticks * 10 + 1) / 3) * 10_000, 3, out);
    Ok(())
}

/// `yyyy-mm-dd hh:mm:00` of a `smalldatetime`.
pub(crate) fn smalldatetime_text(cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    let (minutes, days) = smalldatetime_parts(cell)?;
    write_date(days + (DAYS_TO_2000 - DAYS_1900_TO_2000), out);
    out.push(b' ');
    write_time(u64::from(minutes) * 600_000_000, 0, out);
    Ok(())
}

fn timestamp(units: u64, days: i32, seventh: Seventh, out: &mut Vec<u8>) -> Result<bool, CellError> {
    let (us, lost) = microseconds(units, seventh);
    out.extend_from_slice(&(i64::from(days - DAYS_TO_2000) * US_PER_DAY + us).to_be_bytes());
    Ok(lost)
}

/// Microseconds of units of 100 ns, and whether that lost a digit.
fn microseconds(units: u64, seventh: Seventh) -> (i64, bool) {
    let us = match seventh {
        Seventh::Round => ((units + 5) / 10) as i64,
        Seventh::Truncate | Seventh::Beside => (units / 10) as i64,
    };
    (us.min(US_PER_DAY - 1), seventh != Seventh::Beside && !units.is_multiple_of(10))
}

/// Time of day in units of 100 ns.
fn time_of_day(cell: &[u8], scale: u8) -> Result<u64, CellError> {
    let expected = match scale {
        0..=2 => 3,
        3..=4 => 4,
        _ => 5,
    };
    if cell.len() != expected {
        return Err(CellError::Length { found: cell.len() });
    }
    let mut bytes = [0; 8];
    bytes[..expected].copy_from_slice(cell);
    // At most 2^40 * 10^2 for five bytes, 2^24 * 10^7 for three.
    let units = u64::from_le_bytes(bytes) * units_of(scale);
    if units >= UNITS_PER_DAY {
        return Err(CellError::Range("a time"));
    }
    Ok(units)
}

/// Units of 100 ns in one of the scale.
fn units_of(scale: u8) -> u64 {
    const UNITS: [u64; 8] = [10_000_000, 1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];
    UNITS.get(usize::from(scale)).copied().unwrap_or(1)
}

/// Days since 0001-01-01.
fn days(cell: &[u8]) -> Result<i32, CellError> {
    let [a, b, c] = fixed(cell)?;
    let days = i32::from_le_bytes([a, b, c, 0]);
    if days > DAYS_MAX {
        return Err(CellError::Range("a date"));
    }
    Ok(days)
}

fn datetime_parts(cell: &[u8]) -> Result<(u32, i32), CellError> {
    let [a, b, c, d, e, f, g, h] = fixed(cell)?;
    let ticks = u32::from_le_bytes([a, b, c, d]);
    let days = i32::from_le_bytes([e, f, g, h]);
    if ticks >= 300 * 86_400 || !DATETIME_DAYS.contains(&days) {
        return Err(CellError::Range("a datetime"));
    }
    Ok((ticks, days))
}

fn smalldatetime_parts(cell: &[u8]) -> Result<(u16, i32), CellError> {
    let [a, b, c, d] = fixed(cell)?;
    let minutes = u16::from_le_bytes([a, b]);
    if minutes >= 24 * 60 {
        return Err(CellError::Range("a smalldatetime"));
    }
    Ok((minutes, i32::from(u16::from_le_bytes([c, d]))))
}

fn offset_minutes(zone: &[u8]) -> Result<i16, CellError> {
    let minutes = i16::from_le_bytes(fixed(zone)?);
    if !(-14 * 60..=14 * 60).contains(&minutes) {
        return Err(CellError::Range("an offset"));
    }
    Ok(minutes)
}

/// The cell without its last `tail` bytes, and these.
fn split(cell: &[u8], tail: usize) -> Result<(&[u8], &[u8]), CellError> {
    let head = cell.len().checked_sub(tail).ok_or(CellError::Length { found: cell.len() })?;
    Ok(cell.split_at(head))
}

fn write_time(units: u64, scale: u8, out: &mut Vec<u8>) {
    let seconds = units / 10_000_000;
    written(write!(out, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60));
    if scale > 0 {
        let fraction = units % 10_000_000 / units_of(scale);
        written(write!(out, ".{fraction:0width$}", width = usize::from(scale.min(7))));
    }
}

/// Civil date of a day number, by the 400-year cycle counted from 1 March.
fn write_date(days: i32, out: &mut Vec<u8>) {
    // 0001-01-01 is day 306 of a year that begins on 0000-03-01.
    let day = days + 306;
    let cycle = day / 146_097;
    let day = day % 146_097;
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    written(write!(out, "{:04}-{month:02}-{day:02}", cycle * 400 + year + next));
}

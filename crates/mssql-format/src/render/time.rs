//! Dates and times in ISO 8601.

use std::fmt::Write;

/// Days from 0001-01-01 to 1900-01-01.
const DAYS_TO_1900: i64 = 693_595;
const DAY_S: u64 = 86_400;

pub(crate) fn date(bytes: &[u8], out: &mut String) -> Option<()> {
    let [a, b, c] = *bytes else { return None };
    write_date(u32::from_le_bytes([a, b, c, 0]).into(), out)
}

pub(crate) fn time(bytes: &[u8], scale: u8, out: &mut String) -> Option<()> {
    write_time(units(bytes, scale)?, scale, out)
}

pub(crate) fn datetime2(bytes: &[u8], scale: u8, out: &mut String) -> Option<()> {
    let (time_part, date_part) = bytes.split_at_checked(bytes.len().checked_sub(3)?)?;
    date(date_part, out)?;
    out.push('T');
    time(time_part, scale, out)
}

pub(crate) fn datetimeoffset(bytes: &[u8], scale: u8, out: &mut String) -> Option<()> {
    let (utc, offset) = bytes.split_at_checked(bytes.len().checked_sub(2)?)?;
    let offset = i64::from(i16::from_le_bytes(offset.try_into().ok()?));
    let (time_part, date_part) = utc.split_at_checked(utc.len().checked_sub(3)?)?;
    let [a, b, c] = *date_part else { return None };
    let unit = i64::try_from(10u64.checked_pow(scale.into())?).ok()?;
    let day = i64::try_from(DAY_S).ok()?.checked_mul(unit)?;
    let local =
        i64::try_from(units(time_part, scale)?).ok()?.checked_add(offset.checked_mul(60)?.checked_mul(unit)?)?;
    let days = i64::from(u32::from_le_bytes([a, b, c, 0])).checked_add(local.div_euclid(day))?;
    write_date(days, out)?;
    out.push('T');
    write_time(u64::try_from(local.rem_euclid(day)).ok()?, scale, out)?;
    let sign = if offset < 0 { '-' } else { '+' };
    write!(out, "{sign}{:02}:{:02}", offset.abs() / 60, offset.abs() % 60).ok()
}

pub(crate) fn datetime(bytes: &[u8], out: &mut String) -> Option<()> {
    let (ticks, days) = bytes.split_at_checked(4)?;
    let ticks = u64::from(u32::from_le_bytes(ticks.try_into().ok()?));
    write_date(i64::from(i32::from_le_bytes(days.try_into().ok()?)).checked_add(DAYS_TO_1900)?, out)?;
    out.push('T');
    // 1/300 s is shown as .000, .003, .007
    write_time((ticks * 10 + 1) / 3, 3, out)
}

pub(crate) fn smalldatetime(bytes: &[u8], out: &mut String) -> Option<()> {
    let [a, b, c, d] = *bytes else { return None };
    write_date(i64::from(u16::from_le_bytes([c, d])) + DAYS_TO_1900, out)?;
    out.push('T');
    write_time(u64::from(u16::from_le_bytes([a, b])) * 60, 0, out)
}

/// Units of 10^-scale s since midnight.
fn units(bytes: &[u8], scale: u8) -> Option<u64> {
    let expect = match scale {
        0..=2 => 3,
        3 | 4 => 4,
        5..=7 => 5,
        _ => return None,
    };
    let mut le = [0; 8];
    le.get_mut(..bytes.len())?.copy_from_slice(bytes);
    (bytes.len() == expect).then(|| u64::from_le_bytes(le))
}

fn write_time(units: u64, scale: u8, out: &mut String) -> Option<()> {
    let unit = 10u64.checked_pow(scale.into())?;
    let seconds = units / unit;
    if seconds >= DAY_S {
        return None;
    }
    write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60).ok()?;
    if scale != 0 {
        write!(out, ".{:0width$}", units % unit, width = usize::from(scale)).ok()?;
    }
    Some(())
}

/// A day from 0001-01-01 on, as the Gregorian calendar names it; no later than 9999-12-31.
fn write_date(days: i64, out: &mut String) -> Option<()> {
    if !(0..=3_652_058).contains(&days) {
        return None;
    }
    // Years are counted from March here, so that the leap day is the last of its year.
    let shifted = days + 306;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    write!(out, "{year:04}-{month:02}-{day:02}").ok()
}

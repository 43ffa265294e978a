//! Functions of date and time.

use logferry_model::SqlType;

use super::super::convert::convert;
use super::super::error::{Result, SqlError};
use super::super::time::{self, Moment, date_of, days_in, days_of};
use super::super::types::{self};
use super::super::value::{DAY_TICKS, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DatePart {
    Year,
    Quarter,
    Month,
    DayOfYear,
    Day,
    Week,
    WeekDay,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
    IsoWeek,
    TzOffset,
}

pub(super) const PARTS: &[(DatePart, &[&str])] = &[
    (DatePart::Year, &["year", "yy", "yyyy"]),
    (DatePart::Quarter, &["quarter", "qq", "q"]),
    (DatePart::Month, &["month", "mm", "m"]),
    (DatePart::DayOfYear, &["dayofyear", "dy", "y"]),
    (DatePart::Day, &["day", "dd", "d"]),
    (DatePart::Week, &["week", "wk", "ww"]),
    (DatePart::WeekDay, &["weekday", "dw", "w"]),
    (DatePart::Hour, &["hour", "hh"]),
    (DatePart::Minute, &["minute", "mi", "n"]),
    (DatePart::Second, &["second", "ss", "s"]),
    (DatePart::Millisecond, &["millisecond", "ms"]),
    (DatePart::Microsecond, &["microsecond", "mcs"]),
    (DatePart::Nanosecond, &["nanosecond", "ns"]),
    (DatePart::IsoWeek, &["iso_week", "isowk", "isoww"]),
    (DatePart::TzOffset, &["tzoffset", "tz"]),
];

pub(super) fn part_of(name: &str) -> Option<usize> {
    PARTS.iter().position(|(_, names)| names.iter().any(|n| n.eq_ignore_ascii_case(name)))
}

fn month_added(days: i32, months: i64) -> Option<i32> {
    let (y, m, d) = date_of(days);
    let total = i64::from(y) * 12 + i64::from(m) - 1 + months;
    let (y, m) = (i32::try_from(total.div_euclid(12)).ok()?, total.rem_euclid(12) as u32 + 1);
    days_of(y, m, d.min(days_in(y, m)))
}

pub(super) fn date_add(part: i64, n: i64, value: &Value, ty: &SqlType) -> Result<Value> {
    let overflow =
        || SqlError::new(517, format!("Adding a value to a '{}' column caused an overflow.", types::name(ty)));
    let kind = PARTS.get(part as usize).map_or(DatePart::Day, |p| p.0);
    let m = Moment::of(value).ok_or_else(overflow)?;
    let months = |k: i64| -> Result<Moment> {
        let days = month_added(m.days, n.checked_mul(k).ok_or_else(overflow)?).ok_or_else(overflow)?;
        Ok(Moment { days, ..m })
    };
    let moved = match kind {
        DatePart::Year => months(12)?,
        DatePart::Quarter => months(3)?,
        DatePart::Month => months(1)?,
        kind => {
            let unit: i128 = match kind {
                DatePart::Week => 7 * i128::from(DAY_TICKS),
                DatePart::Hour => 36_000_000_000,
                DatePart::Minute => 600_000_000,
                DatePart::Second => 10_000_000,
                DatePart::Millisecond => 10_000,
                DatePart::Microsecond => 10,
                DatePart::Nanosecond => 0,
                DatePart::IsoWeek | DatePart::TzOffset => {
                    return Err(SqlError::batch(9810, "The datepart is not supported by date function dateadd."));
                }
                _ => i128::from(DAY_TICKS),
            };
            let delta = if kind == DatePart::Nanosecond { i128::from(n / 100) } else { unit * i128::from(n) };
            let total = i128::from(m.days) * i128::from(DAY_TICKS) + i128::from(m.ticks) + delta;
            let days = i32::try_from(total.div_euclid(i128::from(DAY_TICKS))).map_err(|_| overflow())?;
            Moment { days, ticks: total.rem_euclid(i128::from(DAY_TICKS)) as u64, ..m }
        }
    };
    if !matches!(ty, SqlType::Time { .. }) && !(0..=time::LAST_DAY).contains(&moved.days) {
        return Err(overflow());
    }
    let back = match moved.offset {
        Some(o) => {
            let (days, ticks) = time::shifted(moved.days, moved.ticks, -i64::from(o));
            Value::Offset(days, ticks, o)
        }
        None => Value::DateTime2(moved.days, moved.ticks),
    };
    match ty {
        SqlType::DateTimeOffset { .. } => Ok(back),
        SqlType::Time { .. } => Ok(Value::Time(moved.ticks)),
        ty => convert(back, &SqlType::DateTime2 { scale: 7 }, ty, None).map_err(|_| overflow()),
    }
}

pub(super) fn date_diff(part: i64, a: &Value, b: &Value) -> i64 {
    let utc = |v: &Value| match v {
        Value::Offset(days, ticks, _) => Some(Moment { days: *days, ticks: *ticks, offset: None }),
        other => Moment::of(other),
    };
    let (Some(a), Some(b)) = (utc(a), utc(b)) else { return 0 };
    let ((ya, ma, _), (yb, mb, _)) = (date_of(a.days), date_of(b.days));
    let kind = PARTS.get(part as usize).map_or(DatePart::Day, |p| p.0);
    let per = |ticks: u64| {
        let at = |m: &Moment| i128::from(m.days) * i128::from(DAY_TICKS / ticks) + i128::from(m.ticks / ticks);
        (at(&b) - at(&a)) as i64
    };
    match kind {
        DatePart::Year => i64::from(yb - ya),
        DatePart::Quarter => i64::from((yb - ya) * 4) + i64::from((mb - 1) / 3) - i64::from((ma - 1) / 3),
        DatePart::Month => i64::from((yb - ya) * 12) + i64::from(mb) - i64::from(ma),
        // Weeks begin on Sunday; 0001-01-01 was a Monday.
        DatePart::Week | DatePart::IsoWeek => i64::from((b.days + 1).div_euclid(7) - (a.days + 1).div_euclid(7)),
        DatePart::Hour => per(36_000_000_000),
        DatePart::Minute => per(600_000_000),
        DatePart::Second => per(10_000_000),
        DatePart::Millisecond => per(10_000),
        DatePart::Microsecond => per(10),
        DatePart::Nanosecond => per(1).saturating_mul(100),
        _ => i64::from(b.days - a.days),
    }
}

pub(super) fn date_part(part: i64, value: &Value) -> i64 {
    let Some(m) = Moment::of(value) else { return 0 };
    let (y, mo, d) = date_of(m.days);
    let first = days_of(y, 1, 1).unwrap_or(0);
    let seconds = m.ticks / 10_000_000;
    let part_ticks = (m.ticks % 10_000_000) as i64;
    match PARTS.get(part as usize).map_or(DatePart::Day, |p| p.0) {
        DatePart::Year => i64::from(y),
        DatePart::Quarter => i64::from((mo - 1) / 3 + 1),
        DatePart::Month => i64::from(mo),
        DatePart::DayOfYear => i64::from(m.days - first + 1),
        DatePart::Day => i64::from(d),
        DatePart::Week => i64::from((m.days + 1).div_euclid(7) - (first + 1).div_euclid(7) + 1),
        DatePart::WeekDay => i64::from((m.days + 1).rem_euclid(7) + 1),
        DatePart::Hour => (seconds / 3600) as i64,
        DatePart::Minute => (seconds / 60 % 60) as i64,
        DatePart::Second => (seconds % 60) as i64,
        DatePart::Millisecond => part_ticks / 10_000,
        DatePart::Microsecond => part_ticks / 10,
        DatePart::Nanosecond => part_ticks * 100,
        DatePart::IsoWeek => {
            // The week of its Thursday.
            let thursday = m.days - m.days.rem_euclid(7) + 3;
            let (year, ..) = date_of(thursday);
            i64::from((thursday - days_of(year, 1, 1).unwrap_or(0)) / 7 + 1)
        }
        DatePart::TzOffset => i64::from(m.offset.unwrap_or(0)),
    }
}

//! To dates and times.

use logferry_model::SqlType;

use super::super::error::{Result, date_from_text, out_of_range_date, overflow};
use super::super::time::{self, LAST_DAY, Moment};
use super::super::types::{self};
use super::super::value::{DAY_TICKS, DAYS_TO_1900, Value};
use super::clash;
use super::number::to_float;

/// Days of 1753-01-01 and 9999-12-31, since 1900.
const DATETIME_FIRST: i32 = -53_690;

const DATETIME_LAST: i32 = 2_958_463;

pub(super) fn to_moment(value: Value, from: &SqlType, to: &SqlType, style: i64) -> Result<Value> {
    let old = matches!(to, SqlType::DateTime | SqlType::SmallDateTime);
    let moment = match &value {
        Value::Text(t) => {
            let text = String::from_utf16_lossy(t);
            let moment = time::parse(&text, style);
            let digits = text.split_once('.').map_or(0, |(_, f)| f.bytes().take_while(u8::is_ascii_digit).count());
            match moment {
                Some(m) if old && m.offset.is_none() && digits <= 3 => m,
                Some(m) if old && m.offset == Some(0) && text.trim().ends_with(['Z', 'z']) => {
                    Moment { offset: None, ..m }
                }
                Some(m) if !old => m,
                None if old && looks_like_date(&text) => {
                    return Err(out_of_range_date(types::name(from), types::name(to)));
                }
                _ => return Err(date_from_text()),
            }
        }
        Value::Int(_) | Value::Dec(_) | Value::Money(_) | Value::Float(_) if old => {
            let Value::Float(days) = to_float(value.clone(), from, &SqlType::Float)? else {
                return Err(clash(from, to));
            };
            if !(f64::from(DATETIME_FIRST)..f64::from(DATETIME_LAST) + 1.0).contains(&days) {
                return Err(overflow(types::name(to)));
            }
            let ticks = ((days - days.floor()) * 25_920_000.0).round() as u32;
            return finish_datetime(days.floor() as i32, ticks, from, to);
        }
        Value::DateTime(days, ticks) if old => return finish_datetime(*days, *ticks, from, to),
        Value::Bytes(b) => {
            if matches!(to, SqlType::DateTime) {
                // Days and ticks, each most significant first.
                let mut bytes = vec![0; 8usize.saturating_sub(b.len())];
                bytes.extend(b.iter().skip(b.len().saturating_sub(8)));
                bytes.reverse();
                let (ticks, days) = bytes.split_at(4);
                let number = |b: &[u8]| b.iter().rev().fold(0u32, |n, b| n << 8 | u32::from(*b));
                return finish_datetime(number(days) as i32, number(ticks), from, to);
            }
            return Err(clash(from, to));
        }
        other => match Moment::of(other) {
            Some(m) => m,
            None => return Err(clash(from, to)),
        },
    };
    let in_range = |m: Moment| {
        if (0..=LAST_DAY).contains(&m.days) {
            Ok(m)
        } else {
            Err(out_of_range_date(types::name(from), types::name(to)))
        }
    };
    Ok(match to {
        SqlType::Date => Value::Date(moment.days),
        SqlType::Time { scale } => Value::Time(moment.rounded(*scale).ticks),
        SqlType::DateTime2 { scale } => {
            let m = in_range(moment.rounded(*scale))?;
            Value::DateTime2(m.days, m.ticks)
        }
        SqlType::DateTimeOffset { scale } => {
            let m = moment.rounded(*scale);
            let minutes = m.offset.unwrap_or(0);
            let (days, ticks) = time::shifted(m.days, m.ticks, -i64::from(minutes));
            in_range(Moment { days, ticks, offset: None })?;
            Value::Offset(days, ticks, minutes)
        }
        _ => {
            if matches!(to, SqlType::SmallDateTime) {
                let minutes = (moment.ticks + 300_000_000) / 600_000_000;
                let days = moment.days - DAYS_TO_1900;
                return finish_datetime(days, minutes as u32 * 18_000, from, to);
            }
            finish_datetime(moment.days - DAYS_TO_1900, time::to_300ths(moment.ticks), from, to)?
        }
    })
}

fn looks_like_date(text: &str) -> bool {
    text.bytes().filter(u8::is_ascii_digit).count() >= 6 && !text.bytes().any(|b| b.is_ascii_alphabetic() && b != b'T')
}

fn finish_datetime(days: i32, ticks: u32, from: &SqlType, to: &SqlType) -> Result<Value> {
    const DAY: u32 = (DAY_TICKS / 100_000 * 3) as u32;
    let ticks = if matches!(to, SqlType::SmallDateTime) { (ticks + 9_000) / 18_000 * 18_000 } else { ticks };
    let (days, ticks) = (days + (ticks / DAY) as i32, ticks % DAY);
    let range = match to {
        SqlType::SmallDateTime => 0..=65_535,
        _ => DATETIME_FIRST..=DATETIME_LAST,
    };
    if range.contains(&days) {
        Ok(Value::DateTime(days, ticks))
    } else {
        Err(out_of_range_date(types::name(from), types::name(to)))
    }
}

//! Days and times: the calendar, how they are read, how the styles of CONVERT write them.

use super::value::{DAY_TICKS, DAYS_TO_1900, Value};

/// Last day: 9999-12-31.
pub(crate) const LAST_DAY: i32 = 3_652_058;
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A point in time: days since 0001-01-01, ticks of 100 ns, minutes of the offset if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub days: i32,
    pub ticks: u64,
    pub offset: Option<i16>,
}

/// Days since 0001-01-01 of a date; `None` where there is no such date.
pub(crate) fn days_of(year: i32, month: u32, day: u32) -> Option<i32> {
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || day == 0 || day > days_in(year, month) {
        return None;
    }
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let mp = (month as i32 + 9) % 12;
    let doy = (153 * mp + 2) / 5 + day as i32 - 1;
    Some(era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 306)
}

/// Year, month and day of days since 0001-01-01.
pub(crate) fn date_of(days: i32) -> (i32, u32, u32) {
    let z = days + 306;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = (doy - (153 * mp + 2) / 5 + 1) as u32;
    let month = if mp < 10 { mp + 3 } else { mp - 9 } as u32;
    (yoe + era * 400 + i32::from(month <= 2), month, day)
}

pub(crate) fn days_in(year: i32, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A moment (days since 0001-01-01, ticks of 100 ns) as `datetime`.
pub(crate) fn datetime((days, ticks): (i32, u64)) -> Value {
    Value::DateTime(days - super::value::DAYS_TO_1900, to_300ths(ticks))
}

/// Ticks of 1/300 s, rounded; may be a day's worth.
pub(crate) fn to_300ths(ticks: u64) -> u32 {
    // Milliseconds first, as the server does: 0, 3 and 7 are the last digits.
    ((ticks * 3 + 50_000) / 100_000) as u32
}

/// Milliseconds that 1/300 s are shown as.
pub(crate) fn millis(ticks300: u32) -> u64 {
    (u64::from(ticks300) * 10 + 1) / 3
}

impl Moment {
    /// Of a value of a date or time type.
    pub fn of(value: &Value) -> Option<Moment> {
        let at = |days, ticks| Moment { days, ticks, offset: None };
        Some(match value {
            Value::Date(days) => at(*days, 0),
            Value::Time(ticks) => at(DAYS_TO_1900, *ticks),
            Value::DateTime(days, t) => at(days + DAYS_TO_1900, millis(*t) * 10_000),
            Value::DateTime2(days, ticks) => at(*days, *ticks),
            Value::Offset(days, ticks, minutes) => {
                let (days, ticks) = shifted(*days, *ticks, i64::from(*minutes));
                Moment { days, ticks, offset: Some(*minutes) }
            }
            _ => return None,
        })
    }

    /// With fewer digits of a second, rounded; may go to the next day.
    pub fn rounded(self, scale: u8) -> Moment {
        let unit = 10u64.pow(u32::from(7 - scale.min(7)));
        let ticks = (self.ticks + unit / 2) / unit * unit;
        Moment { days: self.days + (ticks / DAY_TICKS) as i32, ticks: ticks % DAY_TICKS, ..self }
    }
}

/// Moved by minutes.
pub(crate) fn shifted(days: i32, ticks: u64, minutes: i64) -> (i32, u64) {
    let total = ticks as i64 + minutes * 600_000_000;
    (days + total.div_euclid(DAY_TICKS as i64) as i32, total.rem_euclid(DAY_TICKS as i64) as u64)
}

/// Reads a date, a time, or both, in the forms that the server takes with us_english and date format mdy. The style
/// decides the order of day and month.
pub(crate) fn parse(text: &str, style: i64) -> Option<Moment> {
    let text = text.trim();
    if text.is_empty() {
        return Some(Moment { days: DAYS_TO_1900, ticks: 0, offset: None });
    }
    let (body, offset) = split_offset(text)?;
    let (date, time) = split_time(body);
    let days = match date.trim() {
        "" => DAYS_TO_1900,
        date => parse_date(date, style)?,
    };
    let ticks = match time.trim() {
        "" => 0,
        time => parse_time(time)?,
    };
    Some(Moment { days, ticks, offset })
}

/// `+01:00`, `-5:30` or `Z` at the end, where a time comes before it.
fn split_offset(text: &str) -> Option<(&str, Option<i16>)> {
    if let Some(body) = text.strip_suffix(['Z', 'z'])
        && body.contains(':')
    {
        return Some((body, Some(0)));
    }
    let Some(colon) = text.find(':') else { return Some((text, None)) };
    let Some(sign) = text.get(colon..)?.find(['+', '-']).map(|at| at + colon) else { return Some((text, None)) };
    let (hours, minutes) = text.get(sign + 1..)?.split_once(':')?;
    let (hours, minutes): (i16, i16) = (hours.parse().ok()?, minutes.parse().ok()?);
    if !(0..=14).contains(&hours) || !(0..=59).contains(&minutes) || hours * 60 + minutes > 840 {
        return None;
    }
    let total = hours * 60 + minutes;
    let negative = text.get(sign..)?.starts_with('-');
    Some((text.get(..sign)?.trim_end(), Some(if negative { -total } else { total })))
}

fn split_time(text: &str) -> (&str, &str) {
    let Some(colon) = text.find(':') else {
        // `5PM` alone is a time.
        let lower = text.to_ascii_lowercase();
        let clock = (lower.ends_with("am") || lower.ends_with("pm")) && text.len() <= 5;
        return if clock { ("", text) } else { (text, "") };
    };
    let head = text.get(..colon).unwrap_or_default();
    match head.rfind([' ', 'T', 't']) {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default()),
        None => ("", text),
    }
}

fn parse_time(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (body, pm) = match lower.strip_suffix("am") {
        Some(body) => (body.trim_end(), Some(false)),
        None => match lower.strip_suffix("pm") {
            Some(body) => (body.trim_end(), Some(true)),
            None => (lower.as_str(), None),
        },
    };
    let mut parts = body.splitn(3, ':');
    let mut hour: u64 = parts.next()?.trim().parse().ok()?;
    let minute: u64 = parts.next().map_or(Some(0), |m| m.trim().parse().ok())?;
    let (mut second, mut ticks) = (0u64, 0u64);
    if let Some(rest) = parts.next() {
        let (whole, part, colon) = match (rest.split_once('.'), rest.split_once(':')) {
            (Some((whole, part)), _) => (whole, part, false),
            (None, Some((whole, part))) => (whole, part, true),
            (None, None) => (rest, "", false),
        };
        second = whole.trim().parse().ok()?;
        if !part.is_empty() {
            if part.len() > 9 || !part.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let digits: u64 = part.parse().ok()?;
            ticks = match colon {
                true => digits * 10_000,
                false if part.len() <= 7 => digits * 10u64.pow(7 - part.len() as u32),
                false => {
                    let by = 10u64.pow(part.len() as u32 - 7);
                    (digits + by / 2) / by
                }
            };
        }
    }
    match pm {
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some(true) if hour < 12 => hour += 12,
        Some(false) if hour == 12 => hour = 0,
        _ => {}
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(((hour * 60 + minute) * 60 + second) * 10_000_000 + ticks)
}

fn parse_date(text: &str, style: i64) -> Option<i32> {
    let number = |t: &str| t.parse::<u32>().ok();
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return match text.len() {
            8 => days_of(number(text.get(..4)?)? as i32, number(text.get(4..6)?)?, number(text.get(6..)?)?),
            6 => days_of(two_digits(number(text.get(..2)?)?), number(text.get(2..4)?)?, number(text.get(4..)?)?),
            4 => days_of(number(text)? as i32, 1, 1),
            _ => None,
        };
    }
    if let Some(month) = text.bytes().any(|b| b.is_ascii_alphabetic()).then_some(()) {
        let () = month;
        let words: Vec<&str> = text.split([' ', ',', '-', '/', '.']).filter(|w| !w.is_empty()).collect();
        let named = words.iter().position(|w| month_of(w).is_some())?;
        let month = month_of(words.get(named)?)?;
        let rest: Vec<u32> =
            words.iter().enumerate().filter(|(at, _)| *at != named).map(|(_, w)| number(w)).collect::<Option<_>>()?;
        return match rest[..] {
            [year] if year > 99 => days_of(year as i32, month, 1),
            [a, b] if a > 31 => days_of(a as i32, month, b),
            [a, b] => days_of(if b < 100 { two_digits(b) } else { b as i32 }, month, a),
            _ => None,
        };
    }
    let parts: Vec<&str> = text.split(['-', '/', '.']).map(str::trim).collect();
    let [a, b, c] = parts[..] else { return None };
    let (na, nb, nc) = (number(a)?, number(b)?, number(c)?);
    if a.len() == 4 {
        return days_of(na as i32, nb, nc);
    }
    let year = |text: &str, n: u32| if text.len() <= 2 { two_digits(n) } else { n as i32 };
    match style % 100 {
        3 | 4 | 5 | 13 => days_of(year(c, nc), nb, na),
        2 | 11 if a.len() <= 2 && c.len() <= 2 => days_of(two_digits(na), nb, nc),
        _ => days_of(year(c, nc), na, nb),
    }
}

fn two_digits(n: u32) -> i32 {
    if n < 50 { 2000 + n as i32 } else { 1900 + n as i32 }
}

fn month_of(word: &str) -> Option<u32> {
    let full = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let word = word.to_ascii_lowercase();
    let at =
        full.iter().position(|m| *m == word || m.get(..3) == Some(&word) || (word == "sept" && *m == "september"))?;
    Some(at as u32 + 1)
}

/// What is to be shown of a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Date,
    Time(u8),
    /// `datetime` shows milliseconds, `smalldatetime` none.
    DateTime {
        seconds: bool,
    },
    DateTime2(u8),
    Offset(u8),
}

/// Writes a moment as CONVERT does with a style; `None` where there is no such style.
pub(crate) fn format(m: &Moment, shown: Shown, style: Option<i64>) -> Option<String> {
    let (year, month, day) = date_of(m.days);
    let seconds = m.ticks / 10_000_000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = |scale: u8| match scale {
        0 => String::new(),
        n => format!(".{:0>1$}", m.ticks % 10_000_000 / 10u64.pow(7 - u32::from(n)), usize::from(n)),
    };
    let old = matches!(shown, Shown::DateTime { .. });
    let style = style.unwrap_or(if old { 0 } else { 121 });
    let offset = || match m.offset {
        Some(o) => format!(" {}{:02}:{:02}", if o < 0 { '-' } else { '+' }, o.abs() / 60, o.abs() % 60),
        None => String::new(),
    };
    let clock12 = |with_ms: bool| {
        let half = if hour < 12 { "AM" } else { "PM" };
        let h = if hour % 12 == 0 { 12 } else { hour % 12 };
        if with_ms {
            let part = match shown {
                Shown::DateTime { .. } => format!(":{:03}", m.ticks % 10_000_000 / 10_000),
                Shown::Time(n) | Shown::DateTime2(n) | Shown::Offset(n) => fraction(n),
                Shown::Date => String::new(),
            };
            format!("{h:>2}:{minute:02}:{second:02}{part}{half}")
        } else {
            format!("{h:>2}:{minute:02}{half}")
        }
    };
    let digits = |default: u8| match shown {
        Shown::Time(n) | Shown::DateTime2(n) | Shown::Offset(n) => n,
        Shown::Date | Shown::DateTime { .. } => default,
    };
    let hms = format!("{hour:02}:{minute:02}:{second:02}");
    let (short, name) = (year % 100, MONTHS.get(month as usize - 1).copied().unwrap_or_default());
    let (date, time) = match style {
        0 | 100 => (format!("{name} {day:>2} {year:04}"), clock12(false)),
        9 | 109 => (format!("{name} {day:>2} {year:04}"), clock12(true)),
        1 => (format!("{month:02}/{day:02}/{short:02}"), String::new()),
        101 => (format!("{month:02}/{day:02}/{year:04}"), String::new()),
        2 => (format!("{short:02}.{month:02}.{day:02}"), String::new()),
        102 => (format!("{year:04}.{month:02}.{day:02}"), String::new()),
        3 => (format!("{day:02}/{month:02}/{short:02}"), String::new()),
        103 => (format!("{day:02}/{month:02}/{year:04}"), String::new()),
        4 => (format!("{day:02}.{month:02}.{short:02}"), String::new()),
        104 => (format!("{day:02}.{month:02}.{year:04}"), String::new()),
        5 => (format!("{day:02}-{month:02}-{short:02}"), String::new()),
        105 => (format!("{day:02}-{month:02}-{year:04}"), String::new()),
        6 => (format!("{day:02} {name} {short:02}"), String::new()),
        106 => (format!("{day:02} {name} {year:04}"), String::new()),
        7 => (format!("{name} {day:02}, {short:02}"), String::new()),
        107 => (format!("{name} {day:02}, {year:04}"), String::new()),
        8 | 24 | 108 => (String::new(), hms),
        10 => (format!("{month:02}-{day:02}-{short:02}"), String::new()),
        110 => (format!("{month:02}-{day:02}-{year:04}"), String::new()),
        11 => (format!("{short:02}/{month:02}/{day:02}"), String::new()),
        111 => (format!("{year:04}/{month:02}/{day:02}"), String::new()),
        12 => (format!("{short:02}{month:02}{day:02}"), String::new()),
        112 => (format!("{year:04}{month:02}{day:02}"), String::new()),
        13 | 113 => {
            let part = if old { format!(":{:03}", m.ticks % 10_000_000 / 10_000) } else { fraction(digits(3)) };
            (format!("{day:02} {name} {year:04}"), format!("{hms}{part}"))
        }
        14 | 114 => {
            let part = if old { format!(":{:03}", m.ticks % 10_000_000 / 10_000) } else { fraction(digits(3)) };
            (String::new(), format!("{hms}{part}"))
        }
        20 | 120 => (format!("{year:04}-{month:02}-{day:02}"), hms),
        21 | 25 | 121 => (format!("{year:04}-{month:02}-{day:02}"), format!("{hms}{}", fraction(digits(3)))),
        23 => (format!("{year:04}-{month:02}-{day:02}"), String::new()),
        126 | 127 => {
            let part = if old && m.ticks.is_multiple_of(10_000_000) { String::new() } else { fraction(digits(3)) };
            let date = format!("{year:04}-{month:02}-{day:02}");
            return Some(match shown {
                Shown::Date => date,
                Shown::Time(_) => format!("{hms}{part}"),
                Shown::Offset(_) => format!("{date}T{hms}{part}{}", offset().trim_start()),
                _ => format!("{date}T{hms}{part}"),
            });
        }
        _ => return None,
    };
    Some(match shown {
        Shown::Date => date,
        Shown::Time(_) => time.trim_start().to_owned(),
        Shown::Offset(_) if !time.is_empty() && !date.is_empty() => format!("{date} {time}{}", offset()),
        _ if date.is_empty() || time.is_empty() => format!("{date}{time}"),
        _ => format!("{date} {time}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_go_round() {
        assert_eq!(days_of(1, 1, 1), Some(0));
        assert_eq!(days_of(1900, 1, 1), Some(DAYS_TO_1900));
        assert_eq!(days_of(9999, 12, 31), Some(LAST_DAY));
        assert_eq!(days_of(1900, 2, 29), None);
        for days in (0..=LAST_DAY).step_by(97) {
            let (y, m, d) = date_of(days);
            assert_eq!(days_of(y, m, d), Some(days));
        }
    }
}

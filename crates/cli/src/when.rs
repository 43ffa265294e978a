//! Times of a server, as it shows them: microseconds since 2000-01-01, by its own clock and zone.

/// `2017-06-01 12:59:12`
pub(crate) fn text(us: i64) -> String {
    let seconds = us.div_euclid(1_000_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// Year, month and day of a number of days since 2000-01-01. Years are counted from March, so that the leap day is their
/// last one, in eras of 400 years, which all have the same number of days.
fn date(days: i64) -> (i64, i64, i64) {
    const ERA: i64 = 146_097;
    // Days since 2000-03-01, where an era begins.
    let days = days - 60;
    let (era, day_of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (2000 + 400 * era + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    #[track_caller]
    fn check(seconds: i64, expect: &str) {
        assert_eq!(super::text(seconds * 1_000_000), expect);
    }

    #[test]
    fn dates() {
        check(0, "2000-01-01 00:00:00");
        check(-1, "1999-12-31 23:59:59");
        check(59 * 86_400, "2000-02-29 00:00:00");
        check(60 * 86_400, "2000-03-01 00:00:00");
        check(366 * 86_400 - 1, "2000-12-31 23:59:59");
        check(549_637_152, "2017-06-01 12:59:12");
        check(146_097 * 86_400, "2400-01-01 00:00:00");
    }
}

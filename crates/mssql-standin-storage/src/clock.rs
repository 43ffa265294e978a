//! The server's clock: it moves only as the engine works, so that equal seeds make equal files; or it follows a caller's.

use logferry_mssql_format::encode::MtfDate;

/// Ticks of a day: 1/300 s.
const DAY: u64 = 86_400 * 300;

/// A clock that counts ticks of 1/300 s since 1900-01-01.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    ticks: u64,
    /// A caller tells the time.
    follows: bool,
}

impl Clock {
    /// A clock that shows midnight of a day, counted from 1900-01-01.
    pub fn at_day(days: u32) -> Self {
        Clock { ticks: u64::from(days) * DAY, follows: false }
    }

    /// A clock that shows so many ticks, and goes on by its own.
    pub fn at(ticks: u64) -> Self {
        Clock { ticks, follows: false }
    }

    /// What it shows.
    pub fn ticks(self) -> u64 {
        self.ticks
    }

    /// Lets time pass, unless a caller tells it.
    pub fn advance(&mut self, ticks: u64) {
        if !self.follows {
            self.ticks += ticks;
        }
    }

    /// Goes to a time, if it is not there yet; from now on it moves by this alone.
    pub fn reaches(&mut self, days: u32, ticks: u32) {
        self.follows = true;
        self.ticks = self.ticks.max(u64::from(days) * DAY + u64::from(ticks));
    }

    /// As `datetime` is stored: ticks of the day, days.
    pub fn datetime(self) -> [u8; 8] {
        datetime(self.ticks)
    }

    /// As backups have it.
    pub fn mtf(self) -> MtfDate {
        let (year, month, day) = civil((self.ticks / DAY) as i64);
        let seconds = (self.ticks % DAY / 300) as u32;
        MtfDate {
            year,
            month,
            day,
            hour: (seconds / 3600) as u8,
            minute: (seconds / 60 % 60) as u8,
            second: (seconds % 60) as u8,
        }
    }
}

/// Ticks as `datetime` is stored: ticks of the day, days.
pub(crate) fn datetime(ticks: u64) -> [u8; 8] {
    let mut b = [0; 8];
    b[..4].copy_from_slice(&((ticks % DAY) as u32).to_le_bytes());
    b[4..].copy_from_slice(&((ticks / DAY) as u32).to_le_bytes());
    b
}

/// The ticks of a stored `datetime`.
pub(crate) fn ticks_of([a, b, c, d, e, f, g, h]: [u8; 8]) -> u64 {
    u64::from(u32::from_le_bytes([e, f, g, h])) * DAY + u64::from(u32::from_le_bytes([a, b, c, d]))
}

/// Year, month and day of a day counted from 1900-01-01.
fn civil(days: i64) -> (u16, u8, u8) {
    // Days since 0000-03-01, in eras of 400 years.
    let z = days + 693_901;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    (year as u16, month as u8, day as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(civil(0), (1900, 1, 1));
        assert_eq!(civil(59), (1900, 3, 1));
        assert_eq!(civil(45_292), (2024, 1, 3));
        let mut clock = Clock::at_day(36_584);
        clock.advance(300 * 3661);
        let d = clock.mtf();
        assert_eq!((d.year, d.month, d.day, d.hour, d.minute, d.second), (2000, 3, 1, 1, 1, 1));
    }
}

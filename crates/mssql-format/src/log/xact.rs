//! What the records say that begin, end and accompany transactions.
//!
//! Versions tell themselves apart by the length of the fixed part:
//!
//! | record | 2005 | 2008 | 2012 and later |
//! |---|---|---|---|
//! | BEGIN_XACT | 48 | 64 | 76 |
//! | COMMIT_XACT, ABORT_XACT | 48 | 48 | 80 |
//!
//! Times are the server's own clock and zone, to 1/300 s; they are given as microseconds since 2000-01-01.

use logferry_model::{Lsn, TransactionId};

use super::op::Op;
use super::record::Record;
use crate::bytes::{Result, u32_at};

/// Length of the fixed part of a BEGIN_XACT of 2012 and later.
const BEGIN_2012: usize = 76;
/// The same of 2008.
const BEGIN_2008: usize = 64;
/// Days from 1900-01-01 to 2000-01-01.
const DAYS_TO_2000: i64 = 36_524;
const DAY_US: i64 = 86_400_000_000;
/// Ticks of 1/300 s in a day.
const DAY_TICKS: u32 = 300 * 86_400;

/// The body of a record of the transaction kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Xact<'a> {
    /// BEGIN_XACT
    Begin(Begin<'a>),
    /// COMMIT_XACT
    Commit(End),
    /// ABORT_XACT
    Abort(End),
    /// PREP_XACT: prepared for a distributed commit.
    Prepare {
        /// when
        time_us: Option<i64>,
    },
    /// MARK_SAVEPOINT
    Savepoint {
        /// The savepoint before it; zero: none.
        previous: Lsn,
        /// Name, UTF-16.
        name: Utf16<'a>,
    },
    /// LOCK_XACT: a schema lock; what DDL takes on the objects that it changes.
    Lock {
        /// The object, where the lock is on one.
        object: Option<u32>,
    },
    /// HOBT_DDL: a rowset is made, changed or dropped.
    HobtDdl {
        /// `sysrowsets.rowsetid`
        rowset: u64,
        /// what happened to it
        action: HobtAction,
    },
    /// IDENT_NEWVAL, IDENT_SENTVAL: a new value of an identity column.
    Identity {
        /// The table.
        object: u32,
        /// The value, little-endian, in as few bytes as it needs.
        value: &'a [u8],
    },
    /// BEGIN_CKPT
    BeginCheckpoint {
        /// when
        time_us: Option<i64>,
        /// Version of the database.
        version: u16,
    },
    /// END_CKPT
    EndCheckpoint {
        /// when
        time_us: Option<i64>,
        /// Where recovery begins.
        minimum: Lsn,
        /// Version of the database.
        version: u16,
    },
}

/// What happens to a rowset. Other codes are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HobtAction(pub u32);

impl HobtAction {
    /// It is made.
    pub const CREATE: HobtAction = HobtAction(1);
    /// It is changed.
    pub const MODIFY: HobtAction = HobtAction(2);
    /// It is dropped.
    pub const DROP: HobtAction = HobtAction(3);
}

/// A transaction begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin<'a> {
    /// The session; 0xFFFFFFFF-like values: none.
    pub spid: u32,
    /// 1 normal, 3 nested system transaction.
    pub kind: u32,
    /// When.
    pub time_us: Option<i64>,
    /// The transaction that it is nested in; none before 2012.
    pub parent: TransactionId,
    /// `INSERT`, `user_transaction`, `SplitPage`, ...
    pub name: Utf16<'a>,
}

impl Begin<'_> {
    /// Whether it is a system transaction: commits whatever becomes of the transaction that it is nested in.
    pub fn is_system(&self) -> bool {
        self.kind == 3
    }
}

/// A transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// When.
    pub time_us: Option<i64>,
    /// Its BEGIN_XACT.
    pub begin_lsn: Lsn,
}

/// UTF-16LE text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Utf16<'a>(pub &'a [u8]);

impl Utf16<'_> {
    /// Whether it is a text in ASCII.
    pub fn is(&self, ascii: &str) -> bool {
        self.0.len() == 2 * ascii.len()
            && self.0.as_chunks::<2>().0.iter().zip(ascii.bytes()).all(|(unit, b)| *unit == [b, 0])
    }
}

impl std::fmt::Display for Utf16<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write;
        // Names of transactions are short, and hardly ever other than ASCII.
        let (mut ascii, units) = ([0; 64], self.0.as_chunks::<2>().0);
        if let Some(text) = ascii.get_mut(..units.len())
            && units.iter().zip(text.iter_mut()).all(|(unit, byte)| {
                *byte = unit[0];
                unit[1] == 0 && byte.is_ascii()
            })
            && let Ok(text) = std::str::from_utf8(text)
        {
            return f.write_str(text);
        }
        let units = self.0.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b));
        char::decode_utf16(units).try_for_each(|c| f.write_char(c.unwrap_or(char::REPLACEMENT_CHARACTER)))
    }
}

impl std::fmt::Debug for Utf16<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl<'a> Xact<'a> {
    /// Reads the body of a record; `None` for other operations.
    pub fn read(record: &Record<'a>) -> Result<Option<Self>> {
        let r = record;
        Ok(Some(match r.op {
            Op::BEGIN_XACT => Xact::Begin(begin(r)?),
            Op::COMMIT_XACT => Xact::Commit(end(r)?),
            Op::ABORT_XACT => Xact::Abort(end(r)?),
            Op::PREP_XACT => Xact::Prepare { time_us: time(r, 56)? },
            Op::MARK_SAVEPOINT => {
                Xact::Savepoint { previous: r.lsn_at(24, "previous savepoint")?, name: Utf16(r.element(0)) }
            }
            // A list of locks: u8 mode, u8 kind, u8 0, u8 length, then what is locked; an object has its id at 6.
            Op::LOCK_XACT => Xact::Lock { object: u32_at(r.element(0), 6, "locked object").ok() },
            Op::HOBT_DDL => Xact::HobtDdl {
                // The record has the id without its lower 16 bits, which are 0.
                rowset: r.u64_at(24, "rowset")?.wrapping_shl(16),
                action: HobtAction(r.u32_at(32, "rowset action")?),
            },
            Op::IDENT_NEWVAL | Op::IDENT_SENTVAL => {
                Xact::Identity { object: r.u32_at(24, "table")?, value: r.element(0) }
            }
            Op::BEGIN_CKPT => Xact::BeginCheckpoint { time_us: time(r, 24)?, version: r.u16_at(42, "version")? },
            Op::END_CKPT => Xact::EndCheckpoint {
                time_us: time(r, 24)?,
                minimum: r.lsn_at(32, "minimum LSN")?,
                version: r.u16_at(42, "version")?,
            },
            _ => return Ok(None),
        }))
    }
}

fn begin<'a>(r: &Record<'a>) -> Result<Begin<'a>> {
    let fixed = r.fixed_len();
    let (spid, kind) = if fixed >= BEGIN_2008 {
        (r.u32_at(24, "session")?, r.u32_at(32, "transaction type")?)
    } else {
        (r.u32_at(28, "session")?, u32::from(r.u16_at(36, "transaction type")?))
    };
    let parent = if fixed >= BEGIN_2012 {
        TransactionId { low: r.u32_at(70, "parent transaction")?, high: r.u16_at(74, "parent transaction")? }
    } else {
        TransactionId::default()
    };
    Ok(Begin { spid, kind, time_us: time(r, 40)?, parent, name: Utf16(r.element(0)) })
}

fn end(r: &Record<'_>) -> Result<End> {
    Ok(End { time_us: time(r, 24)?, begin_lsn: r.lsn_at(32, "transaction begin")? })
}

/// A datetime of a body: `u32` ticks, `i32` days since 1900-01-01; `None` where it is zero or no time.
fn time(r: &Record<'_>, offset: usize) -> Result<Option<i64>> {
    let (ticks, days) = (r.u32_at(offset, "time")?, r.u32_at(offset + 4, "date")? as i32);
    if ticks >= DAY_TICKS || (ticks, days) == (0, 0) {
        return Ok(None);
    }
    // Rounded to what datetime shows: three digits, .000, .003, .007.
    let ms = (i64::from(ticks) * 10 + 1) / 3;
    let midnight = (i64::from(days) - DAYS_TO_2000).checked_mul(DAY_US);
    Ok(midnight.and_then(|us| us.checked_add(ms * 1000)))
}

/// Microseconds since 2000-01-01 as `2017-06-01 12:59:12.970`.
pub fn time_text(us: i64) -> String {
    let epoch = chrono::NaiveDate::from_ymd_opt(2000, 1, 1).and_then(|date| date.and_hms_opt(0, 0, 0));
    match epoch.and_then(|epoch| epoch.checked_add_signed(chrono::TimeDelta::microseconds(us))) {
        Some(time) => time.format("%Y-%m-%d %H:%M:%S%.3f").to_string(),
        None => format!("{us} us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(us: i64, expect: &str) {
        assert_eq!(time_text(us), expect);
    }

    #[test]
    fn times_count_from_2000() {
        check(0, "2000-01-01 00:00:00.000");
        check(-1_000, "1999-12-31 23:59:59.999");
        check(-36_524 * DAY_US, "1900-01-01 00:00:00.000");
        check(549_637_152_970_000, "2017-06-01 12:59:12.970");
        check(i64::MAX, "9223372036854775807 us");
    }

    #[test]
    fn names_are_texts_of_any_kind() {
        for text in ["", "INSERT", &"a".repeat(64), &"a".repeat(65), "Übertrag", "\u{80}", "a\u{1F980}b", "\u{100}"] {
            let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            assert_eq!(Utf16(&bytes).to_string(), text);
        }
        assert_eq!(Utf16(&[0x41, 0, 0, 0xD8, 0x42, 0]).to_string(), "A\u{FFFD}B");
        assert_eq!(Utf16(&[0x41, 0, 0x42]).to_string(), "A");
    }

    /// A record with a fixed part and one element.
    fn record(op: Op, fixed: &[u8], element: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0u8; 24];
        bytes[2..4].copy_from_slice(&((24 + fixed.len()) as u16).to_le_bytes());
        bytes[22] = op.0;
        bytes.extend_from_slice(fixed);
        bytes.extend_from_slice(&1u16.to_le_bytes());
        bytes.extend_from_slice(&(element.len() as u16).to_le_bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend_from_slice(element);
        bytes
    }

    #[track_caller]
    fn check_body(op: Op, fixed: &[u8], element: &[u8], expect: Option<Xact<'_>>) {
        let bytes = record(op, fixed, element);
        let record = Record::read(Lsn::new(1, 2, 3), &bytes).expect("a record");
        assert_eq!(Xact::read(&record).ok().flatten(), expect);
    }

    #[test]
    fn bodies_by_their_fixed_length() {
        // 2000-01-01 00:00:00.003, one tick.
        let time = [1, 0, 0, 0, 0xac, 0x8e, 0, 0];
        let name: Vec<u8> = "INSERT".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let begin = |kind, parent| {
            let time_us = Some(3_000);
            Some(Xact::Begin(Begin { spid: 51, kind, time_us, parent, name: Utf16(&name) }))
        };
        let none = TransactionId::default();
        let mut of_2005 = [0u8; 24];
        of_2005[4] = 51;
        of_2005[12] = 1;
        of_2005[16..].copy_from_slice(&time);
        check_body(Op::BEGIN_XACT, &of_2005, &name, begin(1, none));
        let mut later = [0u8; 52];
        later[0] = 51;
        later[8] = 3;
        later[16..24].copy_from_slice(&time);
        check_body(Op::BEGIN_XACT, &later[..40], &name, begin(3, none));
        later[46..52].copy_from_slice(&[7, 0, 0, 0, 1, 0]);
        check_body(Op::BEGIN_XACT, &later, &name, begin(3, TransactionId { high: 1, low: 7 }));
        let mut end = [0u8; 24];
        end[..8].copy_from_slice(&time);
        end[8..18].copy_from_slice(&Lsn::new(4, 5, 6).to_le_bytes());
        let expect = End { time_us: Some(3_000), begin_lsn: Lsn::new(4, 5, 6) };
        check_body(Op::COMMIT_XACT, &end, &[], Some(Xact::Commit(expect)));
        check_body(Op::ABORT_XACT, &end, &[], Some(Xact::Abort(expect)));
        // Too short for what it is.
        check_body(Op::COMMIT_XACT, &end[..12], &[], None);
        check_body(Op::INSERT_ROWS, &end, &[], None);
    }
}

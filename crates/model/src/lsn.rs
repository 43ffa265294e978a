//! Log sequence numbers: where a record stands in a SQL Server transaction log.
//!
//! An LSN is three numbers: the sequence number of the virtual log file (VLF), the block in it in units
//! of 512 bytes, and the record's slot in that block, from 1. Comparing the three in this order orders all
//! records of one database lineage. It has five spellings, all handled here:
//!
//! | spelling | example | found in |
//! |---|---|---|
//! | hex text | `00000014:00000061:0001` | `fn_dblog`, messages; ours everywhere |
//! | hex text with prefix | `0x00000014:00000061:0001` | arguments of `fn_dblog` |
//! | decimal | `20000000009700001` | `msdb`, `RESTORE HEADERONLY`: vlf·10¹⁵ + block·10⁵ + slot |
//! | 10 bytes, little-endian | 4 + 4 + 2 | pages, log records, backups |
//! | 10 bytes, big-endian | 4 + 4 + 2; as text `0x00000014000000610001` | CDC (`binary(10)`): sorts as bytes |

use std::fmt;
use std::str::FromStr;

/// A log sequence number. The order of the fields is the order of the log: do not change it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn {
    /// Sequence number of the virtual log file.
    pub vlf: u32,
    /// Block in the virtual log file, in units of 512 bytes.
    pub block: u32,
    /// Record in the block, from 1.
    pub slot: u16,
}

impl Lsn {
    /// No position: below every record.
    pub const ZERO: Lsn = Lsn { vlf: 0, block: 0, slot: 0 };
    /// Above every record.
    pub const MAX: Lsn = Lsn { vlf: u32::MAX, block: u32::MAX, slot: u16::MAX };

    /// An LSN of its three parts.
    pub const fn new(vlf: u32, block: u32, slot: u16) -> Self {
        Lsn { vlf, block, slot }
    }

    /// Whether this is [`Lsn::ZERO`], which SQL Server writes for "none".
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// The position in front of this one: nothing is between the two.
    #[must_use]
    pub fn previous(self) -> Self {
        let Lsn { vlf, block, slot } = self;
        match (slot.checked_sub(1), block.checked_sub(1), vlf.checked_sub(1)) {
            (Some(slot), ..) => Lsn { vlf, block, slot },
            (None, Some(block), _) => Lsn { vlf, block, slot: u16::MAX },
            (None, None, Some(vlf)) => Lsn { vlf, block: u32::MAX, slot: u16::MAX },
            (None, None, None) => Lsn::ZERO,
        }
    }

    /// Reads the form of pages, log records and backups: `u32`, `u32`, `u16`, each little-endian.
    #[inline]
    pub fn from_le_bytes(b: [u8; 10]) -> Self {
        let [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1] = b;
        Lsn {
            vlf: u32::from_le_bytes([a0, a1, a2, a3]),
            block: u32::from_le_bytes([b0, b1, b2, b3]),
            slot: u16::from_le_bytes([c0, c1]),
        }
    }

    /// Writes the form of pages, log records and backups.
    pub fn to_le_bytes(self) -> [u8; 10] {
        let [a0, a1, a2, a3] = self.vlf.to_le_bytes();
        let [b0, b1, b2, b3] = self.block.to_le_bytes();
        let [c0, c1] = self.slot.to_le_bytes();
        [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1]
    }

    /// Reads CDC's `binary(10)`.
    pub fn from_be_bytes(b: [u8; 10]) -> Self {
        let [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1] = b;
        Lsn {
            vlf: u32::from_be_bytes([a0, a1, a2, a3]),
            block: u32::from_be_bytes([b0, b1, b2, b3]),
            slot: u16::from_be_bytes([c0, c1]),
        }
    }

    /// Writes CDC's `binary(10)`: sorts as bytes.
    pub fn to_be_bytes(self) -> [u8; 10] {
        let [a0, a1, a2, a3] = self.vlf.to_be_bytes();
        let [b0, b1, b2, b3] = self.block.to_be_bytes();
        let [c0, c1] = self.slot.to_be_bytes();
        [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1]
    }

    /// The decimal spelling of `msdb.dbo.backupset`, a `numeric(25,0)`.
    pub fn to_decimal(self) -> u128 {
        u128::from(self.vlf) * 10u128.pow(15) + u128::from(self.block) * 10u128.pow(5) + u128::from(self.slot)
    }

    /// Reads the decimal spelling; `None` where a part is out of its range.
    pub fn from_decimal(n: u128) -> Option<Self> {
        Some(Lsn {
            vlf: u32::try_from(n / 10u128.pow(15)).ok()?,
            block: u32::try_from(n / 10u128.pow(5) % 10u128.pow(10)).ok()?,
            slot: u16::try_from(n % 10u128.pow(5)).ok()?,
        })
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}:{:08x}:{:04x}", self.vlf, self.block, self.slot)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no LSN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not an LSN: expected hex parts like 00000014:00000061:0001, CDC's 0x00000014000000610001, or the decimal form of msdb"
)]
pub struct ParseLsnError(String);

impl FromStr for Lsn {
    type Err = ParseLsnError;

    /// Reads hex text, with or without `0x`, CDC's ten bytes in hex, or the decimal spelling.
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let err = || ParseLsnError(s.to_owned());
        let text = s.trim();
        if let Some(hex) =
            text.strip_prefix("0x").filter(|hex| hex.len() == 20 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            let part = |range| hex.get(range).and_then(|p| u32::from_str_radix(p, 16).ok()).ok_or_else(err);
            let slot = u16::try_from(part(16..20)?).map_err(|_| err())?;
            return Ok(Lsn { vlf: part(0..8)?, block: part(8..16)?, slot });
        }
        if !text.contains(':') {
            return text.parse().ok().and_then(Self::from_decimal).ok_or_else(err);
        }
        let mut parts = text.strip_prefix("0x").unwrap_or(text).split(':');
        let mut part = || parts.next().and_then(|p| u32::from_str_radix(p, 16).ok()).ok_or_else(err);
        let (vlf, block, slot) = (part()?, part()?, part()?);
        if parts.next().is_some() {
            return Err(err());
        }
        Ok(Lsn { vlf, block, slot: u16::try_from(slot).map_err(|_| err())? })
    }
}

/// The LSN of a transaction's commit record: what orders transactions, and what a target has applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CommitLsn(pub Lsn);

/// The oldest record that is needed to go on: the begin of the oldest transaction that was open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RestartLsn(pub Lsn);

/// A transaction's id in the log; shown as `fn_dblog` does (`0000:00000345`). Zero: none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TransactionId {
    /// Upper 16 bits.
    pub high: u16,
    /// Lower 32 bits.
    pub low: u32,
}

impl TransactionId {
    /// Whether the record belongs to no transaction.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:08x}", self.high, self.low)
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no transaction's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no transaction: expected two hex parts like 0000:00000345")]
pub struct ParseTransactionError(String);

impl FromStr for TransactionId {
    type Err = ParseTransactionError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let parts = s.trim().split_once(':').and_then(|(high, low)| {
            Some(TransactionId { high: u16::from_str_radix(high, 16).ok()?, low: u32::from_str_radix(low, 16).ok()? })
        });
        parts.ok_or_else(|| ParseTransactionError(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expect: Option<Lsn>) {
        assert_eq!(text.parse().ok(), expect, "{text}");
    }

    #[test]
    fn transactions_are_shown_as_they_are_read() {
        let id = TransactionId { high: 0x1a, low: 0x345 };
        assert_eq!("001a:00000345".parse(), Ok(id));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("345".parse::<TransactionId>().is_err());
        assert!("0:g".parse::<TransactionId>().is_err());
    }

    #[test]
    fn nothing_is_between_an_lsn_and_the_one_before() {
        assert_eq!(Lsn::new(1, 2, 3).previous(), Lsn::new(1, 2, 2));
        assert_eq!(Lsn::new(1, 2, 0).previous(), Lsn::new(1, 1, u16::MAX));
        assert_eq!(Lsn::new(1, 0, 0).previous(), Lsn::new(0, u32::MAX, u16::MAX));
        assert_eq!(Lsn::ZERO.previous(), Lsn::ZERO);
    }

    #[test]
    fn text_forms() {
        check("00000014:00000061:0001", Some(Lsn::new(0x14, 0x61, 1)));
        check("0x00000014:00000061:0001", Some(Lsn::new(0x14, 0x61, 1)));
        check("40000000005800001", Some(Lsn::new(0x28, 0x3a, 1)));
        check("2094000000027200481", Some(Lsn::new(2094, 272, 481)));
        check("0x00000014000000610001", Some(Lsn::new(0x14, 0x61, 1)));
        check("0x0000001400000061000g", None);
        check("", None);
        check("1:2", None);
        check("1:2:3:4", None);
        check("1:2:10000", None);
        check("99999999999999999999999999", None);
    }

    proptest! {
        #[test]
        fn every_spelling_round_trips(vlf: u32, block: u32, slot: u16) {
            let lsn = Lsn::new(vlf, block, slot);
            prop_assert_eq!(Lsn::from_le_bytes(lsn.to_le_bytes()), lsn);
            prop_assert_eq!(Lsn::from_be_bytes(lsn.to_be_bytes()), lsn);
            prop_assert_eq!(Lsn::from_decimal(lsn.to_decimal()), Some(lsn));
            prop_assert_eq!(lsn.to_string().parse::<Lsn>().unwrap(), lsn);
        }

        #[test]
        fn bytes_and_decimals_sort_as_the_log(a: (u32, u32, u16), b: (u32, u32, u16)) {
            let (a, b) = (Lsn::new(a.0, a.1, a.2), Lsn::new(b.0, b.1, b.2));
            prop_assert_eq!(a.cmp(&b), a.to_be_bytes().cmp(&b.to_be_bytes()));
            prop_assert_eq!(a.cmp(&b), a.to_decimal().cmp(&b.to_decimal()));
        }
    }
}

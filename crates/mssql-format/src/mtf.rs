//! Microsoft Tape Format, as SQL Server writes backups in it.
//!
//! ```text
//! TAPE SFMB | SSET VOLB MSCI  MSDA..  MSTL..  MSLS SFMB ESET ESET SFMB | SSET ...
//!           | set 1           pages   log                            | set 2
//! ```
//!
//! A file is a row of descriptor blocks ([`Descriptor`]). Each is followed by streams ([`StreamHeader`]): a header, data,
//! padding to 4 bytes. The last stream of a block, `SPAD`, fills up to the next block; a file mark (`SFMB`) has no
//! streams, the next block stands where its header says. So a file is walked from block to block without
//! knowing its alignment (512 and 4096 were seen), and without reading the data.
//!
//! | block | what | read by |
//! |---|---|---|
//! | `TAPE` | begin of the file: media set, number of stripes | [`Tape`] |
//! | `SSET` | begin of a backup set: its GUID, number, copy-only | [`SetStart`] |
//! | `MSCI`, `MSLS` | what the server says about the set, at its begin and its end | [`Config`] |
//! | `MSDA` | pages: stream `MQDA` | |
//! | `MSTL` | a piece of the log: stream `MQTL` | [`LogPiece`] |
//! | `SFMB`, `ESET` | file mark, end of the set | |
//!
//! The surprising parts: the data of `MQDA` and `MQTL` begins with 2 bytes that belong to neither pages nor log; every
//! checksum is the XOR of the 16-bit words before it. With `WITH CHECKSUM` a stream `CSUM` follows the data.
//!
//! Observed on backups of 2005 to 2025.

mod config;
mod descriptor;

pub use config::{Config, DataFile, FileKind};
pub use descriptor::{Descriptor, LogPiece, STREAM_HEADER, SetStart, StreamHeader, Tape};

/// Bytes of the header that all descriptor blocks share.
pub const DESCRIPTOR_HEADER: usize = 52;
/// How much of a descriptor block is enough to read what it says (SSET with long names is longer; what is read of it is not).
pub const DESCRIPTOR_ENOUGH: usize = 512;
/// Bytes at the begin of the data of `MQDA` and `MQTL` that are no pages and no log.
pub const PAYLOAD_OFFSET: u64 = 2;
/// How a compressed backup begins; it is no MTF before it is decompressed (see [`container`](crate::container)).
pub const COMPRESSED_MAGIC: &[u8; 8] = b"MSSQLBAK";

/// Reads a date of MTF (40 bits, most significant first: year 14, month 4, day 5, hour 5, minute 6, second 6) as microseconds
/// since 2000-01-01; `None` where it is no date.
pub fn date_us(bytes: [u8; 5]) -> Option<i64> {
    let [a, b, c, d, e] = bytes;
    let bits = u64::from_be_bytes([0, 0, 0, a, b, c, d, e]);
    let field = |shift: u32, width: u32| (bits >> shift & ((1 << width) - 1)) as u32;
    let epoch = chrono::NaiveDate::from_ymd_opt(2000, 1, 1)?.and_hms_opt(0, 0, 0)?;
    let date = chrono::NaiveDate::from_ymd_opt(field(26, 14) as i32, field(22, 4), field(17, 5))?.and_hms_opt(
        field(12, 5),
        field(6, 6),
        field(0, 6),
    )?;
    (date - epoch).num_microseconds()
}

/// The XOR of the 16-bit words of some bytes: the checksum of MTF.
pub fn checksum(bytes: &[u8]) -> u16 {
    bytes.as_chunks::<2>().0.iter().fold(0, |sum, word| sum ^ u16::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: [u8; 5], expect: Option<&str>) {
        let text = date_us(bytes).and_then(|us| {
            let epoch = chrono::NaiveDate::from_ymd_opt(2000, 1, 1)?.and_hms_opt(0, 0, 0)?;
            Some((epoch + chrono::TimeDelta::microseconds(us)).to_string())
        });
        assert_eq!(text.as_deref(), expect);
    }

    #[test]
    fn dates_are_forty_bits() {
        check([0x1f, 0x85, 0x82, 0xce, 0xcc], Some("2017-06-01 12:59:12"));
        check([0x1f, 0x8d, 0x45, 0x53, 0xf8], Some("2019-05-02 21:15:56"));
        check([0; 5], None);
        check([0xff; 5], None);
    }

    proptest::proptest! {
        #[test]
        fn noise_is_refused_or_read(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..700)) {
            let _ = Descriptor::read(&bytes);
            let _ = SetStart::read(&bytes);
            let _ = LogPiece::read(&bytes).map(|p| (p.len(), p.position(logferry_model::Lsn::new(p.vlf, 99, 1))));
            let _ = Tape::read_raid(&bytes);
            let _ = StreamHeader::read(&bytes).map(|s| s.next_at(u64::MAX - 3));
            let mut config = b"SCIN\xff\0".to_vec();
            config.extend(bytes);
            let _ = Config::read(&config);
        }
    }
}

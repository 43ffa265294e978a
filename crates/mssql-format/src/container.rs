//! The container of compressed backups (`MSSQLBAK`): the same MTF stream (see [`mtf`](crate::mtf)), cut into pieces of up to
//! 64 KiB, each compressed on its own.
//!
//! ```text
//! file   : header up to 0x1e0 | records .. filler | SFMB | records .. locator | SFMB | records .. filler | SFMB
//! header : @0 "MSSQLBAK"  @8 u32 version, 2  @12 u32 3
//! piece  : @0 0x21  @1 bytes that it makes / 512  @2 u16 bytes of data  @4 20 bytes, not used  @24 u32 checksum  @28 data
//! filler : @0 0x24  @2 u16 bytes that follow @24, up to a block boundary
//! locator: @0 0x2c  @24 u16 1, u16 1, u32 entries, u32 bytes, u32 checksum, entries, zeroes, the same 16 bytes again
//! entry  : u64 place in the stream from the begin of the set, u64 offset of the record in the file
//! ```
//!
//! Only file marks (`SFMB`) stand in clear; what is before one is filled up to its boundary, be it by a filler, be it by the
//! table of where the records of a set are that hold its later descriptor blocks. The stream has the file mark's bytes, too,
//! and neither fillers nor tables.
//!
//! The checksum ([`checksum`]) of a piece is that of its data as it stands in the file, that of a locator the one of its entries.
//! Surprises: records stand where the one before ends, without alignment. The 20 bytes in the middle of a record's header
//! are what was in the server's memory before (halves of pointers, mostly), as is much of the file's header.
//!
//! Observed on one file of version 852, whose 120 pieces and one locator have these checksums. Not observed, and what is
//! assumed: 0x20 is a piece that is stored as it is, as it would not get smaller (the length of its data is what it makes, or 0
//! for 64 KiB); 0x10 and 0x40 stand for encryption; records of version 1 (SQL Server 2008) have no 20 bytes in the middle.

use crate::bytes::{Malformed, Result, array, slice, u8_at, u16_at, u32_at};
use crate::mtf::COMPRESSED_MAGIC;
use crate::xpress::{self, TABLE};

/// Where the first record stands.
pub const FIRST_RECORD: u64 = 0x1e0;
/// How much of a record is enough to read what it says.
pub const RECORD_ENOUGH: usize = 40;
/// Bytes that are counted in a record's header as one.
pub const UNIT: u32 = 512;
/// How many bytes a piece makes, at most.
pub const PIECE_MAX: u32 = 255 * UNIT;

const COMPRESSED: u8 = 0x01;
const FILLER: u8 = 0x04;
const LOCATOR: u8 = 0x08;
const RECORD: u8 = 0x20;
const ENCRYPTED: u8 = 0x50;

/// How a compressed backup begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerHeader {
    /// @8: 2 since 2008 R2, at the latest.
    pub version: u32,
    /// @12: 3 was seen.
    pub minor: u32,
}

/// A record of a container: only its header was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContainerRecord {
    /// @0
    pub flags: u8,
    /// What it is.
    pub content: Content,
    /// Where its data begins, from its own begin.
    pub data_at: u32,
    /// Bytes of data; the next record, or a file mark, follows.
    pub data_len: u32,
    /// Of a piece: that of its data.
    pub checksum: u32,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A piece of the stream, compressed: so many bytes of the stream.
    Compressed(u32),
    /// A piece of the stream, as it is.
    Stored(u32),
    /// Nothing, up to the next boundary.
    Filler,
    /// The table of a set's later descriptor blocks, up to the next boundary.
    Locator,
    /// Encrypted; how, is not known.
    Encrypted,
    /// A kind that is not known.
    Unknown,
}

impl ContainerHeader {
    /// Reads it from the begin of a file.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        if array(bytes, 0, "compressed backup")? != *COMPRESSED_MAGIC {
            return Err(Malformed::new("not a compressed backup", 0));
        }
        Ok(ContainerHeader { version: u32_at(bytes, 8, "version")?, minor: u32_at(bytes, 12, "version")? })
    }

    /// Bytes of a record's header, without the checksum.
    fn record_header(self) -> usize {
        if self.version >= 2 { 24 } else { 4 }
    }
}

impl ContainerRecord {
    /// Reads a record's header.
    pub fn read(bytes: &[u8], header: ContainerHeader) -> Result<Self> {
        let flags = u8_at(bytes, 0, "record of a compressed backup")?;
        let units = u8_at(bytes, 1, "record of a compressed backup")?;
        let len = u32::from(u16_at(bytes, 2, "record of a compressed backup")?);
        let makes = u32::from(units) * UNIT;
        let short = header.record_header();
        // Pieces have a checksum behind their header.
        let (content, data_at, data_len) = match flags {
            f if f & RECORD == 0 => {
                return Err(Malformed::new(format!("{f:#04x} begins no record of a compressed backup"), 0));
            }
            f if f & ENCRYPTED != 0 => (Content::Encrypted, short, len),
            f if f == RECORD | COMPRESSED => (Content::Compressed(makes), short + 4, len),
            RECORD if len == 0 || len == makes => (Content::Stored(makes), short + 4, makes),
            f if f == RECORD | FILLER => (Content::Filler, short, len),
            f if f == RECORD | FILLER | LOCATOR => {
                let table = u32_at(bytes, short.saturating_add(8), "length of a table of records")?;
                (Content::Locator, short, table)
            }
            _ => (Content::Unknown, short, len),
        };
        let checksum = match content {
            Content::Compressed(_) | Content::Stored(_) => u32_at(bytes, short, "checksum of a piece")?,
            _ => 0,
        };
        match content {
            Content::Compressed(0) | Content::Stored(0) => Err(Malformed::new("a piece that makes no bytes", 1)),
            Content::Compressed(_) if (len as usize) < TABLE => {
                Err(Malformed::new(format!("a piece of {len} bytes, less than its table of codes"), 2))
            }
            _ => Ok(ContainerRecord { flags, content, data_at: data_at as u32, data_len, checksum }),
        }
    }

    /// Where the next record begins, from this one's begin.
    pub fn end(&self) -> u64 {
        u64::from(self.data_at) + u64::from(self.data_len)
    }

    /// Bytes of the stream that it makes.
    pub fn makes(&self) -> u32 {
        match self.content {
            Content::Compressed(makes) | Content::Stored(makes) => makes,
            _ => 0,
        }
    }

    /// Makes the bytes of the stream out of a whole record of a piece, its checksum checked.
    ///
    /// # Errors
    /// Where the record is damaged. Data of another algorithm is not: [`foreign_algorithm`] knows some.
    pub fn unpack(&self, record: &[u8]) -> Result<Vec<u8>> {
        let data = slice(record, self.data_at as usize, self.data_len as usize, "data of a piece")?;
        let found = checksum(data);
        if found != self.checksum {
            let what = format!("checksum of a compressed piece is {found:#010x}, not {:#010x}", self.checksum);
            return Err(Malformed::new(what, (self.data_at as usize).saturating_sub(4)));
        }
        match self.content {
            Content::Compressed(makes) => {
                let mut output = vec![0; makes as usize];
                xpress::decompress(data, &mut output)
                    .map_err(|e| e.within(format_args!("compressed data at {}", self.data_at)))?;
                Ok(output)
            }
            Content::Stored(_) => Ok(data.to_vec()),
            _ => Err(Malformed::new(format!("record {:#04x} holds no piece", self.flags), 0)),
        }
    }
}

/// The checksum of pieces and locators: each little-endian word of 32 bits is combined by XOR with what was there before,
/// rotated left by one; the last word is filled up with zeroes.
pub fn checksum(data: &[u8]) -> u32 {
    let (words, rest) = data.as_chunks::<4>();
    let sum = words.iter().fold(0u32, |sum, word| sum.rotate_left(1) ^ u32::from_le_bytes(*word));
    if rest.is_empty() {
        return sum;
    }
    let mut last = [0; 4];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    sum.rotate_left(1) ^ u32::from_le_bytes(last)
}

/// The name of an algorithm that is not that of this module, by how its data begins.
pub fn foreign_algorithm(data: &[u8]) -> Option<&'static str> {
    match data {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("ZSTD (Zstandard)"),
        [0x1f, 0x8b, 0x08, ..] => Some("QAT_DEFLATE (gzip)"),
        _ => None,
    }
}

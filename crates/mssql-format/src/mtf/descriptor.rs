//! Descriptor blocks and the headers of their streams.

use logferry_model::Lsn;

use super::{DESCRIPTOR_HEADER, checksum, date_us};
use crate::bytes::{Malformed, Result, array, slice, u8_at, u16_at, u32_at, u64_at};

/// Bytes of a stream's header.
pub const STREAM_HEADER: usize = 22;

/// The header of a descriptor block, its checksum checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// `TAPE`, `SSET`, `MSDA`, ...
    pub kind: [u8; 4],
    /// @4
    pub attributes: u32,
    /// @8: where the first stream begins; of a file mark: where the next block begins
    pub streams_at: u16,
    /// @20: position in its set, in units of the file's logical block
    pub logical_address: u64,
}

impl Descriptor {
    /// Reads the header of a block.
    pub fn read(block: &[u8]) -> Result<Self> {
        let header = slice(block, 0, DESCRIPTOR_HEADER, "MTF descriptor block")?;
        let (sum, expect) = (checksum(slice(header, 0, 50, "MTF descriptor block")?), u16_at(header, 50, "checksum")?);
        let kind = array(header, 0, "MTF block type")?;
        if sum != expect {
            let what = format!("MTF block \"{}\": checksum is {sum:#06x}, not {expect:#06x}", kind.escape_ascii());
            return Err(Malformed::new(what, 50));
        }
        let descriptor = Descriptor {
            kind,
            attributes: u32_at(header, 4, "attributes")?,
            streams_at: u16_at(header, 8, "offset of streams")?,
            logical_address: u64_at(header, 20, "logical address")?,
        };
        if usize::from(descriptor.streams_at) < DESCRIPTOR_HEADER || !kind.iter().all(u8::is_ascii_uppercase) {
            return Err(Malformed::new(format!("\"{}\" is no MTF block", kind.escape_ascii()), 0));
        }
        Ok(descriptor)
    }

    /// Whether it is of a kind.
    pub fn is(&self, kind: &[u8; 4]) -> bool {
        self.kind == *kind
    }
}

/// The header of a stream, its checksum checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamHeader {
    /// `MQDA`, `MQTL`, `SPAD`, ...
    pub kind: [u8; 4],
    /// @6: 0x02 more of it follows, 0x04 its last part, 0x80 padding, 0x100 a checksum follows
    pub media_attributes: u16,
    /// @8: bytes of data
    pub len: u64,
    /// @16: algorithm, 0 none
    pub encryption: u16,
    /// @18: algorithm, 0 none
    pub compression: u16,
}

impl StreamHeader {
    /// Reads a stream's header.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let header = slice(bytes, 0, STREAM_HEADER, "MTF stream header")?;
        let (sum, expect) = (checksum(slice(header, 0, 20, "MTF stream header")?), u16_at(header, 20, "checksum")?);
        let kind: [u8; 4] = array(header, 0, "MTF stream type")?;
        if sum != expect || !kind.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) {
            let what = format!("MTF stream \"{}\": checksum is {sum:#06x}, not {expect:#06x}", kind.escape_ascii());
            return Err(Malformed::new(what, 20));
        }
        Ok(StreamHeader {
            kind,
            media_attributes: u16_at(header, 6, "media attributes")?,
            len: u64_at(header, 8, "stream length")?,
            encryption: u16_at(header, 16, "encryption")?,
            compression: u16_at(header, 18, "compression")?,
        })
    }

    /// Whether it is of a kind.
    pub fn is(&self, kind: &[u8; 4]) -> bool {
        self.kind == *kind
    }

    /// Where what follows begins, given where this header begins; `None` past the end of all files.
    pub fn next_at(&self, at: u64) -> Option<u64> {
        let end = at.checked_add(STREAM_HEADER as u64)?.checked_add(self.len)?;
        // `SPAD` fills up to the next block; others are followed by a stream on a multiple of 4.
        let align = if self.is(b"SPAD") { 512 } else { 4 };
        end.checked_next_multiple_of(align)
    }
}

/// What a `TAPE` block and its `RAID` stream say about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tape {
    /// The media set: equal in all stripes of one `BACKUP` statement.
    pub media_set: [u8; 16],
    /// Files of the media set.
    pub stripes: u16,
    /// This file's number among them, from 1.
    pub stripe: u16,
}

impl Tape {
    /// Reads the data of a `RAID` stream: GUID, .., @20 stripes, @24 number of this one.
    pub fn read_raid(data: &[u8]) -> Result<Self> {
        let tape = Tape {
            media_set: array(data, 0, "media set")?,
            stripes: u16_at(data, 20, "number of stripes")?,
            stripe: u16_at(data, 24, "number of this stripe")?,
        };
        if tape.stripe == 0 || tape.stripe > tape.stripes {
            return Err(Malformed::new(format!("stripe {} of {}", tape.stripe, tape.stripes), 20));
        }
        Ok(tape)
    }
}

/// What an `SSET` block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetStart {
    /// @52: 2 copy-only, 4 normal (full and log), 8 differential
    pub attributes: u32,
    /// @62: number in the file, from 1
    pub number: u16,
    /// @80: where the set begins in its file
    pub position: u64,
    /// @88, microseconds since 2000-01-01
    pub written_us: Option<i64>,
    /// @100: the backup set; what differentials based on it name
    pub set_guid: [u8; 16],
}

impl SetStart {
    /// Reads an `SSET` block.
    pub fn read(block: &[u8]) -> Result<Self> {
        Ok(SetStart {
            attributes: u32_at(block, 52, "backup set attributes")?,
            number: u16_at(block, 62, "backup set number")?,
            position: u64_at(block, 80, "backup set position")?,
            written_us: date_us(array(block, 88, "backup set date")?),
            set_guid: array(block, 100, "backup set GUID")?,
        })
    }

    /// `WITH COPY_ONLY`
    pub fn copy_only(&self) -> bool {
        self.attributes & 2 != 0
    }
}

/// What an `MSTL` block says: a piece of the log, which is a part of one virtual log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPiece {
    /// @56: unit in which the log is dealt out to stripes
    pub piece_bytes: u32,
    /// @60: offset in the log file of the first byte
    pub start: u64,
    /// @68: offset in the log file of the end
    pub end: u64,
    /// @76: the log file
    pub file: u32,
    /// @92: sequence number of the virtual log file; 0: it holds nothing
    pub vlf: u32,
    /// @96: its size
    pub vlf_size: u64,
    /// @104: its offset in the log file
    pub vlf_start: u64,
    /// @114: the parity of its blocks
    pub parity: u8,
}

impl LogPiece {
    /// Reads an `MSTL` block.
    pub fn read(block: &[u8]) -> Result<Self> {
        let piece = LogPiece {
            piece_bytes: u32_at(block, 56, "log piece size")?,
            start: u64_at(block, 60, "log piece start")?,
            end: u64_at(block, 68, "log piece end")?,
            file: u32_at(block, 76, "log file")?,
            vlf: u32_at(block, 92, "virtual log file")?,
            vlf_size: u64_at(block, 96, "virtual log file size")?,
            vlf_start: u64_at(block, 104, "virtual log file start")?,
            parity: u8_at(block, 114, "virtual log file parity")?,
        };
        let vlf_end = piece.vlf_start.checked_add(piece.vlf_size);
        let inside = piece.start >= piece.vlf_start && piece.start <= piece.end && Some(piece.end) <= vlf_end;
        if piece.vlf != 0 && !(inside && vlf_end.is_some()) {
            let what =
                format!("log {:#x} to {:#x} is outside virtual log file {:#x}", piece.start, piece.end, piece.vlf);
            return Err(Malformed::new(what, 60));
        }
        Ok(piece)
    }

    /// Bytes of log.
    pub fn len(&self) -> u64 {
        if self.vlf == 0 { 0 } else { self.end.saturating_sub(self.start) }
    }

    /// Whether it holds no log.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Position in the piece of the block with an LSN; `None` where it is outside.
    pub fn position(&self, lsn: Lsn) -> Option<u64> {
        if lsn.vlf != self.vlf {
            return None;
        }
        let at = self.vlf_start.checked_add(512 * u64::from(lsn.block))?;
        at.checked_sub(self.start).filter(|&position| position <= self.len())
    }

    /// The block number that a position in the piece has in LSNs.
    pub fn block_at(&self, position: u64) -> Option<u32> {
        let at = self.start.checked_add(position)?.checked_sub(self.vlf_start)?;
        u32::try_from(at / 512).ok().filter(|_| at % 512 == 0)
    }
}

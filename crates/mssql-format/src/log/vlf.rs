//! Virtual log files: the parts of a log file that are used and used again.
//!
//! ```text
//! 0             8192 (0x2000)                    first VLF's start + size
//! +-------------+--------------------------------+-----------------------------+---
//! | file header | VLF: 8 KiB header, then blocks | VLF                         |
//! +-------------+--------------------------------+-----------------------------+---
//! ```
//!
//! With each use a VLF gets the next sequence number, and the parity of its blocks flips. Blocks of the use before stay
//! where they are until they are written over, so a block belongs to the current use only where its parity is that of the
//! header and its LSN names the header's sequence number and the place where it stands.
//!
//! Observed on log files of 2000 to 2025.

use logferry_model::Lsn;

use super::block::{BlockHeader, SECTOR};
use crate::bytes::{Malformed, Result, lsn_at, u8_at, u16_at, u32_at, u64_at};

/// Where the first VLF of a log file begins.
pub const FIRST_VLF: u64 = 0x2000;
/// Bytes of a VLF before its first block.
pub const VLF_HEADER: u64 = 0x2000;
/// Number of the first block of every VLF.
pub const FIRST_BLOCK: u32 = 16;
/// How much of a VLF's header is read.
pub const HEADER_SIZE: usize = 42;

const SIGNATURE: u8 = 0xAB;

/// The header of a virtual log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlfHeader {
    /// @1: 0x40 or 0x80; 0: never used
    pub parity: u8,
    /// @2: 2 in 2000 and 2005, 4 in 2008, 5 from 2012
    pub format: u16,
    /// @4: sequence number of the current use, 0: never used
    pub seq: u32,
    /// @16: bytes, header included
    pub size: u64,
    /// @24: offset in the file
    pub start: u64,
    /// @32: when it was made; zero for those made with the file
    pub created: Lsn,
}

impl VlfHeader {
    /// Reads the header at the begin of a VLF that stands at `start` in its file.
    pub fn read(bytes: &[u8], start: u64) -> Result<Self> {
        let signature = u8_at(bytes, 0, "VLF signature")?;
        if signature != SIGNATURE {
            return Err(Malformed::new(format!("{signature:#04x} does not begin a virtual log file"), 0));
        }
        let header = VlfHeader {
            parity: u8_at(bytes, 1, "VLF parity")?,
            format: u16_at(bytes, 2, "VLF format")?,
            seq: u32_at(bytes, 4, "VLF sequence number")?,
            size: u64_at(bytes, 16, "VLF size")?,
            start: u64_at(bytes, 24, "VLF start")?,
            created: lsn_at(bytes, 32, "VLF create LSN")?,
        };
        if header.start != start {
            return Err(Malformed::new(format!("virtual log file of {:#x} stands at {start:#x}", header.start), 24));
        }
        if header.size <= VLF_HEADER
            || !header.size.is_multiple_of(SECTOR as u64)
            || start.checked_add(header.size).is_none()
        {
            return Err(Malformed::new(format!("virtual log file of {} bytes", header.size), 16));
        }
        Ok(header)
    }

    /// Whether it was ever used.
    pub fn is_used(&self) -> bool {
        self.seq != 0 && matches!(self.parity, 0x40 | 0x80)
    }

    /// Offset in the file of what follows.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.size)
    }
}

/// Whether a block's header is that of the block at a place in the current use of a VLF.
pub fn is_current(header: &BlockHeader, seq: u32, parity: u8, block: u32) -> bool {
    header.parity == parity && header.first_lsn.vlf == seq && header.first_lsn.block == block
}

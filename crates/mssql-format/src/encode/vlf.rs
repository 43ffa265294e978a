//! The first bytes of a virtual log file.

use logferry_model::Lsn;

/// Bytes that are reserved for a virtual log file's header: its first block follows them.
pub const VLF_HEADER_SIZE: usize = 8192;

/// Header of a virtual log file, as 2012 and later write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlfHeaderImage {
    /// 0: never used.
    pub sequence: u32,
    /// How often it was used: decides the parity.
    pub uses: u32,
    /// Bytes, with the header.
    pub size: u64,
    /// Where it begins in the file.
    pub start: u64,
    /// Where the log was when it was added; zero for those made with the file.
    pub create_lsn: Lsn,
}

impl VlfHeaderImage {
    /// Parity of its blocks: 0x40 in odd uses, 0x80 in even ones, 0 before the first.
    pub fn parity(&self) -> u8 {
        match self.uses {
            0 => 0,
            n if n % 2 == 1 => 0x40,
            _ => 0x80,
        }
    }

    /// The header's bytes; the rest of the reserved 8 KiB has no meaning.
    pub fn to_bytes(&self) -> [u8; 42] {
        let mut b = [0; 42];
        b[0] = 0xAB;
        b[1] = self.parity();
        b[2..4].copy_from_slice(&5u16.to_le_bytes());
        b[4..8].copy_from_slice(&self.sequence.to_le_bytes());
        b[12..16].copy_from_slice(&self.uses.to_le_bytes());
        b[16..24].copy_from_slice(&self.size.to_le_bytes());
        b[24..32].copy_from_slice(&self.start.to_le_bytes());
        b[32..42].copy_from_slice(&self.create_lsn.to_le_bytes());
        b
    }
}

//! Log blocks: the units in which the log is written, and their way back to what was written.
//!
//! ```text
//! 0        28..72                                    used - 2n        used       length - sectors   length
//! +--------+----------------------------------------+----------------+----------+------------------+
//! | header | records, the first where slot 0 points | slot n-1 .. 0  | unused   | saved bytes      |
//! +--------+----------------------------------------+----------------+----------+------------------+
//! ^ 512        ^ 512         ^ 512     each sector's first byte is replaced by a parity byte
//! ```
//!
//! So that a torn write is seen, the first byte of each 512-byte sector gives way to a parity byte, and the true
//! bytes are kept at the end of the block in reverse order: that of sector `i` at `length - 1 - i`. Reading puts
//! them back, which is why it needs the block's bytes to itself. The checksum is over the bytes as they
//! are on disk, parity and all.
//!
//! The surprising parts: the header's length differs between versions (28 bytes in 2005, 40 in 2008, 48 from 2012, 72
//! from 2019) and is stored nowhere but as the offset of the first record; a record's length is stored nowhere but
//! as the distance to the next one. The parity (0x40 or 0x80) changes with each use of the virtual log file: it is no
//! version mark. Observed on 52,039 blocks of 2005 to 2025.

use logferry_model::Lsn;

use super::record::Record;
use crate::bytes::{Malformed, Result, array, lsn_at, u8_at, u16_at, u32_at};
use crate::page::RowId;

/// Bytes of a sector: what LSNs count blocks in.
pub const SECTOR: usize = 512;
/// The longest block.
pub const BLOCK_MAX: usize = 60 * 1024;
/// Bytes of the header that all versions share.
pub const HEADER_MIN: usize = 28;
/// Header length of blocks of SQL Server 2000, whose records have another layout.
pub const HEADER_2000: usize = 24;

const FLAG_CHECKSUM: u16 = 2;
const FIRST_SECTOR: u8 = 0x10;
const LAST_SECTOR: u8 = 0x08;
const PARITY_MASK: u8 = 0xC0;

/// The part of a block's header that is the same in all versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// @0: 0x40 or 0x80, that of the virtual log file's current use; 0 once the sectors were restored
    pub parity: u8,
    /// @2: number of records
    pub slots: u16,
    /// @4: end of the slot array
    pub used: u16,
    /// @6: length in the file, a multiple of 512
    pub len: u16,
    /// @8: bit 2: has a checksum
    pub flags: u16,
    /// @10: length of the block before this one, across virtual log files
    pub prev_len: u16,
    /// @12: LSN of the first record
    pub first_lsn: Lsn,
    /// @24: checksum, where [`BlockHeader::has_checksum`]
    pub check: u32,
}

impl BlockHeader {
    /// Reads and checks the header at the begin of a block; the first [`HEADER_MIN`] bytes are enough.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let first = u8_at(bytes, 0, "log block parity")?;
        let header = BlockHeader {
            parity: first & PARITY_MASK,
            slots: u16_at(bytes, 2, "log block slot count")?,
            used: u16_at(bytes, 4, "log block length used")?,
            len: u16_at(bytes, 6, "log block length")?,
            flags: u16_at(bytes, 8, "log block flags")?,
            prev_len: u16_at(bytes, 10, "previous log block's length")?,
            first_lsn: lsn_at(bytes, 12, "log block LSN")?,
            check: u32_at(bytes, 24, "log block checksum")?,
        };
        let bad = |what: String, at| Err(Malformed::new(what, at));
        if !matches!(header.parity, 0x40 | 0x80) || first & FIRST_SECTOR == 0 {
            return bad(format!("{first:#04x} does not begin a log block"), 0);
        }
        let len = usize::from(header.len);
        if len == 0 || len % SECTOR != 0 || len > BLOCK_MAX {
            return bad(format!("log block of {len} bytes"), 6);
        }
        // The records, the slots and the saved bytes share the block.
        let end = len - len / SECTOR;
        let slots = 2 * usize::from(header.slots);
        if usize::from(header.used) > end || slots + HEADER_2000 > usize::from(header.used) {
            return bad(format!("{} records in {} of {len} bytes", header.slots, header.used), 4);
        }
        Ok(header)
    }

    /// Whether the block has a checksum (`PAGE_VERIFY CHECKSUM`).
    pub fn has_checksum(&self) -> bool {
        self.flags & FLAG_CHECKSUM != 0
    }

    /// The LSN of the block that follows in the same virtual log file, with slot 1.
    pub fn next_lsn(&self) -> Lsn {
        let sectors = u32::from(self.len) / SECTOR as u32;
        Lsn { block: self.first_lsn.block.saturating_add(sectors), slot: 1, ..self.first_lsn }
    }

    /// The LSN just past the block's last record.
    pub fn end_lsn(&self) -> Lsn {
        Lsn { slot: self.first_lsn.slot.saturating_add(self.slots), ..self.first_lsn }
    }
}

/// A block whose checksum and parity were checked and whose bytes are as they were written.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// The header.
    pub header: BlockHeader,
    bytes: &'a [u8],
    header_len: usize,
}

impl<'a> Block<'a> {
    /// Checks a block as it stands in a file, and puts the first bytes of its sectors back. `bytes` begins with the
    /// block and may be longer.
    ///
    /// # Errors
    /// Where it is no block, was torn, or its checksum does not hold. `bytes` may be changed then.
    pub fn read(bytes: &'a mut [u8]) -> Result<Self> {
        let header = BlockHeader::read(bytes)?;
        let located = |e: Malformed| e.within(format_args!("log block {}", header.first_lsn));
        let there = bytes.len();
        let block = bytes
            .get_mut(..usize::from(header.len))
            .ok_or_else(|| located(Malformed::new(format!("{} bytes wanted, {there} there", header.len), there)))?;
        check_sectors(block, header.parity).map_err(located)?;
        if header.has_checksum() {
            let sum = checksum(block);
            if sum != header.check {
                let what = format!("checksum is {sum:#010x}, the header says {:#010x}", header.check);
                return Err(located(Malformed::new(what, 24)));
            }
        }
        restore_sectors(block);
        Ok(Block { header, ..Self::read_restored(block)? })
    }

    /// A block that went through [`Block::read`] before.
    pub fn read_restored(bytes: &'a [u8]) -> Result<Self> {
        let header = restored_header(bytes)?;
        let located = |e: Malformed| e.within(format_args!("log block {}", header.first_lsn));
        let used = usize::from(header.used);
        let bytes = bytes.get(..used).ok_or_else(|| located(Malformed::new("log block is cut short", bytes.len())))?;
        let header_len = match header.slots {
            0 => used,
            _ => usize::from(u16_at(bytes, used.saturating_sub(2), "first slot").map_err(located)?),
        };
        let slots = 2 * usize::from(header.slots);
        if header_len < HEADER_2000 || header_len + slots > used {
            return Err(located(Malformed::new(format!("first record at {header_len}"), used.saturating_sub(2))));
        }
        Ok(Block { header, bytes, header_len })
    }

    /// The block's bytes up to the end of the slot array, as they were written: what [`Block::read_restored`] takes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes before the first record; tells 2005 (28), 2008 (40), 2012 (48) and 2019 (72) apart.
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// Whether it was written by SQL Server 2000, whose records cannot be read.
    pub fn is_2000(&self) -> bool {
        self.header.slots > 0 && self.header_len == HEADER_2000
    }

    /// The records, in order.
    pub fn records(&self) -> Records<'a> {
        Records { block: *self, next: 0 }
    }

    /// Rows that the records name, at a glance: some may be missing, and some be none. For those who want to look at their pages before
    /// the records are read.
    pub fn rows(&self) -> impl Iterator<Item = RowId> + use<'a> {
        let block = *self;
        (0..block.header.slots).filter_map(move |index| {
            let record = block.bytes.get(block.slot(index).ok()?..)?;
            Record::row_at_a_glance(record)
        })
    }

    /// The record in a slot: `slot` is that of its LSN.
    pub fn record(&self, slot: u16) -> Result<Option<Record<'a>>> {
        match slot.checked_sub(self.header.first_lsn.slot) {
            Some(index) if index < self.header.slots => self.at(index).map(Some),
            _ => Ok(None),
        }
    }

    fn at(&self, index: u16) -> Result<Record<'a>> {
        let located = |e: Malformed| e.within(format_args!("log block {}", self.header.first_lsn));
        let first = self.header.first_lsn;
        if self.is_2000() {
            return Err(located(Malformed::new("its records are those of SQL Server 2000", 0)));
        }
        let start = self.slot(index).map_err(located)?;
        let end = match index + 1 {
            next if next < self.header.slots => self.slot(next).map_err(located)?,
            slots => usize::from(self.header.used) - 2 * usize::from(slots),
        };
        let slot = first.slot.checked_add(index).ok_or_else(|| located(Malformed::new("slot number overflows", 20)))?;
        match self.bytes.get(start..end) {
            Some(bytes) if start >= self.header_len => Record::read(Lsn { slot, ..first }, bytes),
            _ => Err(located(Malformed::new(format!("slot {slot} at {start} ends at {end}"), start))),
        }
    }

    /// Offset of a record; `index` is below the number of slots, whose array was checked to fit.
    fn slot(&self, index: u16) -> Result<usize> {
        let at = usize::from(self.header.used).saturating_sub(2 * (usize::from(index) + 1));
        u16_at(self.bytes, at, "slot").map(usize::from)
    }
}

/// Iterates over the records of a block.
#[derive(Clone)]
pub struct Records<'a> {
    block: Block<'a>,
    next: u16,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.block.header.slots {
            return None;
        }
        let record = self.block.at(self.next);
        // Nothing behind a slot that cannot be read is believed.
        self.next = if record.is_ok() { self.next + 1 } else { u16::MAX };
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(usize::from(self.block.header.slots.saturating_sub(self.next))))
    }
}

/// The checksum of a block as it stands in a file: the sum, rotated left by 1 before each sector, XORed with the XOR of
/// the sector's 32-bit words; the checksum's own place counts as zero.
pub fn checksum(block: &[u8]) -> u32 {
    let mut sum = 0u32;
    for sector in block.as_chunks::<SECTOR>().0 {
        let mut x = 0u64;
        for word in sector.as_chunks::<8>().0 {
            x ^= u64::from_le_bytes(*word);
        }
        sum = sum.rotate_left(1) ^ (x as u32) ^ (x >> 32) as u32;
    }
    // The field takes part in the first sector, which was rotated once for every sector after it.
    let after = (block.len() / SECTOR).saturating_sub(1) as u32;
    let field = u32_at(block, 24, "log block checksum").unwrap_or(0);
    sum ^ field.rotate_left(after % 32)
}

/// Checks the parity byte of every sector. A sector with another parity was not written with the others.
pub fn check_sectors(block: &[u8], parity: u8) -> Result<()> {
    let last = (block.len() / SECTOR).saturating_sub(1);
    for (i, sector) in block.as_chunks::<SECTOR>().0.iter().enumerate() {
        let expect = parity | if i == 0 { FIRST_SECTOR } else { 0 } | if i == last { LAST_SECTOR } else { 0 };
        let found = sector[0];
        if found != expect {
            let what = format!("torn: sector {i} begins with {found:#04x}, not {expect:#04x}");
            return Err(Malformed::new(what, i * SECTOR));
        }
    }
    Ok(())
}

/// Puts the saved bytes back. The header still has its parity byte, which is 0 in all that was written.
fn restore_sectors(block: &mut [u8]) {
    let sectors = block.len() / SECTOR;
    let (body, saved) = block.split_at_mut(block.len() - sectors);
    for (i, byte) in saved.iter().rev().enumerate() {
        if let Some(first) = body.get_mut(i * SECTOR) {
            *first = *byte;
        }
    }
}

/// The header of a block that has lost its parity.
fn restored_header(bytes: &[u8]) -> Result<BlockHeader> {
    let mut head: [u8; HEADER_MIN] = array(bytes, 0, "log block header")?;
    head[0] = 0x40 | FIRST_SECTOR;
    Ok(BlockHeader { parity: 0, ..BlockHeader::read(&head)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encode::BlockBuilder;

    /// A record of the shortest kind, whose bytes after the header are `fill`.
    fn record(len: usize, fill: u8) -> Vec<u8> {
        let mut bytes = vec![fill; (len + 26).next_multiple_of(8)];
        bytes[..24].fill(0);
        bytes[2..4].copy_from_slice(&24u16.to_le_bytes());
        bytes[24..26].fill(0);
        bytes
    }

    fn block(records: &[Vec<u8>], parity: u8, checked: bool) -> (Vec<u8>, Vec<Lsn>) {
        let mut builder = BlockBuilder::new(Lsn::new(7, 16, 1), BLOCK_MAX);
        let lsns = records.iter().map_while(|r| builder.push(r)).collect();
        (builder.finish(parity, 512, checked), lsns)
    }

    fn records() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec((0usize..3000, any::<u8>()).prop_map(|(len, fill)| record(len, fill)), 1..40)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(records in records(), second: bool, checked: bool) {
            let parity = if second { 0x80 } else { 0x40 };
            let (mut bytes, lsns) = block(&records, parity, checked);
            let on_disk = bytes.len();
            let block = Block::read(&mut bytes).expect("reads");
            prop_assert_eq!(usize::from(block.header.len), on_disk);
            prop_assert_eq!((block.header.parity, block.header.prev_len), (parity, 512));
            let found: Vec<_> = block.records().map(|r| r.expect("a record")).collect();
            prop_assert_eq!(found.iter().map(|r| r.lsn).collect::<Vec<_>>(), lsns);
            for (found, written) in found.iter().zip(&records) {
                prop_assert_eq!(found.bytes(), written.as_slice());
                let again = block.record(found.lsn.slot).expect("reads").expect("is there");
                prop_assert_eq!(again.bytes(), found.bytes());
            }
            let again = Block::read_restored(block.bytes()).expect("reads again");
            prop_assert_eq!(again.records().count(), found.len());
        }

        #[test]
        fn a_flipped_bit_is_noticed(records in records(), at: prop::sample::Index, bit in 0u8..8) {
            let (mut bytes, _) = block(&records, 0x40, true);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Block::read(&mut bytes).is_err());
        }

        #[test]
        fn anything_is_refused_or_read(
            records in records(),
            noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
            cut: prop::sample::Index,
        ) {
            // Without a checksum, so that what lies behind it is met, too.
            let (mut bytes, _) = block(&records, 0x40, false);
            for (at, value) in noise {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let len = cut.index(bytes.len() + 1);
            let mut cut = bytes.clone();
            cut.truncate(len);
            for bytes in [&mut bytes, &mut cut] {
                if let Ok(block) = Block::read(bytes) {
                    prop_assert!(block.records().count() <= usize::from(block.header.slots));
                }
            }
        }

        #[test]
        fn noise_is_no_block(mut bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
            if let Ok(block) = Block::read(&mut bytes) {
                for record in block.records().flatten() {
                    let _ = record.elements().count();
                }
            }
        }
    }
}

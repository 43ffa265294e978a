//! Log blocks: records and slots, padding, saved sector bytes, parity, checksum.

use logferry_model::Lsn;

use crate::log::block::{BLOCK_MAX, SECTOR, checksum};

/// Bytes of a block's header, 2012 to 2016.
pub const BLOCK_HEADER_SIZE: usize = 48;

/// A log block in the making.
#[derive(Clone, Debug)]
pub struct BlockBuilder {
    first_lsn: Lsn,
    bytes: Vec<u8>,
    slots: Vec<u16>,
    limit: usize,
    at_least: usize,
}

impl BlockBuilder {
    /// A block whose first record has this LSN, and which may not become longer than `limit` bytes in the file
    /// (nor than 60 KiB).
    pub fn new(first_lsn: Lsn, limit: usize) -> Self {
        let limit = limit.min(BLOCK_MAX) / SECTOR * SECTOR;
        BlockBuilder { first_lsn, bytes: vec![0; BLOCK_HEADER_SIZE], slots: Vec::new(), limit, at_least: 0 }
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no record yet.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes that the block will have in the file.
    pub fn file_len(&self) -> usize {
        file_len(self.bytes.len(), self.slots.len()).max(self.at_least)
    }

    /// Makes the block longer than its records need: the last one of a virtual log file fills it.
    ///
    /// # Panics
    /// When `len` is no multiple of 512, or longer than a block may be.
    pub fn fill(&mut self, len: usize) {
        assert!(len.is_multiple_of(SECTOR) && len <= self.limit, "a block of {len} bytes");
        self.at_least = len;
    }

    /// Adds a record, whose length is a multiple of 8, and gives its LSN; `None` where it does not fit any more.
    pub fn push(&mut self, record: &[u8]) -> Option<Lsn> {
        if file_len(self.bytes.len() + record.len(), self.slots.len() + 1) > self.limit {
            return None;
        }
        let slot = self.first_lsn.slot.checked_add(u16::try_from(self.slots.len()).ok()?)?;
        self.slots.push(self.bytes.len() as u16);
        self.bytes.extend_from_slice(record);
        Some(Lsn { slot, ..self.first_lsn })
    }

    /// The block as it goes to the file.
    pub fn finish(mut self, parity: u8, prev_len: u16, with_checksum: bool) -> Vec<u8> {
        let len = self.file_len();
        for slot in self.slots.iter().rev() {
            self.bytes.extend(slot.to_le_bytes());
        }
        let used = self.bytes.len() as u16;
        let mut b = self.bytes;
        b.resize(len, 0);
        b[2..4].copy_from_slice(&(self.slots.len() as u16).to_le_bytes());
        b[4..6].copy_from_slice(&used.to_le_bytes());
        b[6..8].copy_from_slice(&(len as u16).to_le_bytes());
        b[8..10].copy_from_slice(&(1 | u16::from(with_checksum) << 1).to_le_bytes());
        b[10..12].copy_from_slice(&prev_len.to_le_bytes());
        b[12..22].copy_from_slice(&self.first_lsn.to_le_bytes());
        let sectors = len / SECTOR;
        for sector in 0..sectors {
            b[len - 1 - sector] = b[sector * SECTOR];
            let first = if sector == 0 { 0x10 } else { 0 };
            let last = if sector == sectors - 1 { 0x08 } else { 0 };
            b[sector * SECTOR] = parity | first | last;
        }
        if with_checksum {
            let sum = checksum(&b);
            b[24..28].copy_from_slice(&sum.to_le_bytes());
        }
        b
    }
}

/// Length in the file of a block: header and records, two bytes per slot, one byte per sector.
fn file_len(records_end: usize, slots: usize) -> usize {
    (records_end + 2 * slots).div_ceil(SECTOR - 1) * SECTOR
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encode::{RecordBuilder, RecordHead};
    use crate::log::block::Block;

    proptest! {
        #[test]
        fn blocks_are_read_back(
            locks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..60),
            block: u16,
            odd: bool,
            with_checksum: bool,
        ) {
            let first = Lsn::new(39, u32::from(block) + 16, 1);
            let mut builder = BlockBuilder::new(first, usize::MAX);
            let mut record = RecordBuilder::new();
            let mut expect = Vec::new();
            for lock in locks {
                let bytes = record.lock_xact(&RecordHead::NONE, &lock);
                let lsn = builder.push(bytes).unwrap();
                expect.push((lsn, bytes.to_vec()));
            }
            let len = builder.file_len();
            let mut bytes = builder.finish(if odd { 0x40 } else { 0x80 }, 1024, with_checksum);
            prop_assert_eq!(bytes.len(), len);
            let read = Block::read(&mut bytes).unwrap();
            prop_assert_eq!(read.header.prev_len, 1024);
            let found: Vec<_> = read.records().map(|r| r.unwrap()).map(|r| (r.lsn, r.bytes().to_vec())).collect();
            prop_assert_eq!(found, expect);
        }
    }

    #[test]
    fn a_block_ends_at_its_limit() {
        let mut builder = BlockBuilder::new(Lsn::new(1, 16, 1), 1024);
        while builder.push(&[0; 64]).is_some() {}
        assert_eq!((builder.file_len(), builder.len()), (1024, 14));
    }
}

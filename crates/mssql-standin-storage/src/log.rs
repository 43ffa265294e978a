//! The log file: virtual log files that fill, wrap and grow, and the block that is being filled.
//!
//! ```text
//! 0          8 KiB                 + vlf_bytes
//! +----------+---------------------+---------------------+ ...
//! | file     | VLF header | blocks | VLF header | blocks |
//! | header   | 8 KiB      |        |            |        |
//! +----------+---------------------+---------------------+
//! ```
//!
//! A record gets its LSN when it is appended; its block goes to the file when it is full or flushed. A virtual log
//! file is used again when everything in it is older than [`LogFile::hold`]; if none is, the file grows.

use std::mem;

use logferry_model::Lsn;
use logferry_mssql_format::encode::{BlockBuilder, RecordBuilder, VLF_HEADER_SIZE, VlfHeaderImage};
use logferry_mssql_format::log::block::{BLOCK_MAX, Block, SECTOR};

const FILE_HEADER: usize = 8192;
const FIRST_BLOCK: u32 = (VLF_HEADER_SIZE / SECTOR) as u32;
/// Room that a virtual log file must still have for a block to begin in it: the longest record and its header.
const LONGEST_RECORD: usize = 24 * 1024;

/// A virtual log file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vlf {
    pub header: VlfHeaderImage,
    /// Where its blocks end, in sectors from its begin.
    pub end: u32,
}

/// The log of a database.
#[derive(Debug)]
pub(crate) struct LogFile {
    bytes: Vec<u8>,
    vlfs: Vec<Vlf>,
    current: usize,
    block: Option<BlockBuilder>,
    prev_len: u16,
    vlf_bytes: u64,
    checksum: bool,
    /// Nothing before this is needed any more.
    pub hold: Lsn,
    /// The last record.
    last: Lsn,
    /// A real server's: nothing is written to it.
    frozen: bool,
}

impl LogFile {
    /// A log file with `count` virtual log files of `vlf_bytes` each, the first of which has the sequence number
    /// `first`.
    pub fn new(vlf_bytes: u64, count: usize, first: u32, checksum: bool) -> Self {
        assert!(
            vlf_bytes as usize >= VLF_HEADER_SIZE + BLOCK_MAX + LONGEST_RECORD,
            "virtual log files hold a block at least"
        );
        let mut log = LogFile {
            bytes: vec![0; FILE_HEADER],
            vlfs: Vec::new(),
            current: 0,
            block: None,
            prev_len: 0,
            vlf_bytes: vlf_bytes.next_multiple_of(8192),
            checksum,
            hold: Lsn::ZERO,
            last: Lsn::ZERO,
            frozen: false,
        };
        for _ in 0..count.max(2) {
            log.add_vlf(Lsn::ZERO);
        }
        log.begin_vlf(0, first);
        log.hold = log.next_block_lsn();
        log
    }

    /// A real server's log, to be read only: the sequence numbers of the first and the last virtual log file that count.
    pub fn frozen(bytes: Vec<u8>, vlfs: Vec<Vlf>, first: u32, last: u32) -> Self {
        let current = vlfs.iter().position(|v| v.header.sequence == last).unwrap_or(0);
        let mut log = LogFile {
            bytes,
            vlfs,
            current,
            block: None,
            prev_len: 0,
            vlf_bytes: 0,
            checksum: false,
            hold: Lsn::new(first, FIRST_BLOCK, 1),
            last: Lsn::ZERO,
            frozen: true,
        };
        let end = log.blocks(log.hold).last().and_then(|bytes| Some(Block::read_restored(&bytes).ok()?.header));
        log.last = end.map_or(Lsn::ZERO, |h| Lsn { slot: h.end_lsn().slot.saturating_sub(1), ..h.first_lsn });
        log
    }

    /// Lets it be written to again, behind its last block.
    pub fn thaw(&mut self, vlf_bytes: u64, checksum: bool, hold: Lsn) {
        let vlf = self.vlfs[self.current];
        let mut at = FIRST_BLOCK;
        while at < vlf.end {
            self.prev_len = self.block_len(&vlf, at) as u16;
            at += u32::from(self.prev_len) / SECTOR as u32;
        }
        self.frozen = false;
        self.vlf_bytes = vlf_bytes.next_multiple_of(8192);
        self.checksum = checksum;
        self.hold = hold;
    }

    /// Whether nothing is written to it.
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Appends a record and gives its LSN.
    pub fn append(&mut self, record: &[u8]) -> Lsn {
        if self.frozen {
            return self.last;
        }
        loop {
            if let Some(block) = &mut self.block {
                if let Some(lsn) = block.push(record) {
                    self.last = lsn;
                    return lsn;
                }
                self.flush();
            }
            self.begin_block();
        }
    }

    /// The last record.
    pub fn last(&self) -> Lsn {
        self.last
    }

    /// Writes the block that is being filled to the file.
    pub fn flush(&mut self) {
        let Some(mut block) = self.block.take() else { return };
        if block.is_empty() {
            return;
        }
        let vlf = &mut self.vlfs[self.current];
        let room = vlf.header.size as usize - vlf.end as usize * SECTOR;
        if room - block.file_len() < LONGEST_RECORD {
            // The last block of a virtual log file fills it to its end.
            block.fill(room);
        }
        let bytes = block.finish(vlf.header.parity(), self.prev_len, self.checksum);
        let at = vlf.header.start as usize + vlf.end as usize * SECTOR;
        self.bytes[at..at + bytes.len()].copy_from_slice(&bytes);
        vlf.end += (bytes.len() / SECTOR) as u32;
        self.prev_len = bytes.len() as u16;
    }

    /// Where the next block will begin, everything before it written: the end of the log. Where the current virtual log
    /// file is full, a remark begins the next one, so that the end is behind a block and not before the first.
    pub fn end(&mut self) -> Lsn {
        self.flush();
        if self.is_full() {
            self.append(RecordBuilder::new().remark(1, "Backup LSN changed"));
            self.flush();
        }
        self.next_block_lsn()
    }

    fn is_full(&self) -> bool {
        let vlf = &self.vlfs[self.current];
        vlf.end as usize * SECTOR == vlf.header.size as usize
    }

    /// The virtual log files, in the order of the file.
    pub fn vlfs(&self) -> &[Vlf] {
        &self.vlfs
    }

    /// The bytes of the log from `from` up to `to`, by virtual log file in the order of the log: where they begin in the
    /// file, and the bytes. Both are begins of blocks (slots do not matter).
    ///
    /// # Panics
    /// Where some of it was let go: who reads the log must have held it.
    pub fn range(&self, from: Lsn, to: Lsn) -> Vec<(Vlf, u64, &[u8])> {
        let mut used: Vec<&Vlf> = self.vlfs.iter().filter(|v| v.header.uses > 0).collect();
        used.sort_by_key(|v| v.header.sequence);
        let mut ranges = Vec::new();
        let mut expected = from.vlf;
        for vlf in used {
            let sequence = vlf.header.sequence;
            if sequence < from.vlf || sequence > to.vlf {
                continue;
            }
            assert_eq!(sequence, expected, "the log from {from} to {to} is not there whole");
            expected += 1;
            let begin = if sequence == from.vlf { from.block } else { FIRST_BLOCK };
            let end = if sequence == to.vlf { to.block } else { vlf.end };
            if begin < end {
                let start = vlf.header.start + u64::from(begin) * SECTOR as u64;
                let stop = vlf.header.start + u64::from(end) * SECTOR as u64;
                ranges.push((*vlf, start, &self.bytes[start as usize..stop as usize]));
            }
        }
        ranges
    }

    /// The block that an LSN names, as it was written; `None` where no block of the current use begins there.
    pub fn block_at(&self, lsn: Lsn) -> Option<Vec<u8>> {
        let vlf = self.vlfs.iter().find(|v| v.header.uses > 0 && v.header.sequence == lsn.vlf)?;
        let mut at = FIRST_BLOCK;
        while at < vlf.end && at < lsn.block {
            at += self.block_len(vlf, at) / SECTOR as u32;
        }
        if at != lsn.block {
            return None;
        }
        if at < vlf.end {
            return Some(self.restored(vlf, at));
        }
        self.pending().filter(|_| lsn.vlf == self.vlfs[self.current].header.sequence)
    }

    /// The blocks from the one that `from` names on, as they were written, with the one that is being filled.
    pub fn blocks(&self, from: Lsn) -> impl Iterator<Item = Vec<u8>> {
        let mut used: Vec<Vlf> =
            self.vlfs.iter().filter(|v| v.header.uses > 0 && v.header.sequence >= from.vlf).copied().collect();
        used.sort_by_key(|v| v.header.sequence);
        let written = used.into_iter().flat_map(move |vlf| {
            let mut at = if vlf.header.sequence == from.vlf { from.block.max(FIRST_BLOCK) } else { FIRST_BLOCK };
            std::iter::from_fn(move || {
                if at >= vlf.end {
                    return None;
                }
                let bytes = self.restored(&vlf, at);
                at += self.block_len(&vlf, at) / SECTOR as u32;
                Some(bytes)
            })
        });
        written.chain(self.pending())
    }

    /// The block that is being filled, as it would be written now.
    fn pending(&self) -> Option<Vec<u8>> {
        let block = self.block.clone().filter(|b| !b.is_empty())?;
        let parity = self.vlfs[self.current].header.parity();
        let mut bytes = block.finish(parity, self.prev_len, self.checksum);
        Block::read(&mut bytes).expect("our own blocks are whole");
        Some(bytes)
    }

    fn block_len(&self, vlf: &Vlf, at: u32) -> u32 {
        let at = vlf.header.start as usize + at as usize * SECTOR;
        u32::from(u16::from_le_bytes([self.bytes[at + 6], self.bytes[at + 7]]))
    }

    fn restored(&self, vlf: &Vlf, at: u32) -> Vec<u8> {
        let start = vlf.header.start as usize + at as usize * SECTOR;
        let mut bytes = self.bytes[start..start + self.block_len(vlf, at) as usize].to_vec();
        Block::read(&mut bytes).expect("our own blocks are whole");
        bytes
    }

    /// The whole file, its virtual log files' headers in place; the first 8 KiB are left to the caller.
    pub fn file_bytes(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for vlf in &self.vlfs {
            let start = vlf.header.start as usize;
            let header = vlf.header.to_bytes();
            bytes[start..start + header.len()].copy_from_slice(&header);
        }
        bytes
    }

    /// Bytes of the file.
    pub fn file_len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Where the next block will begin once the current one is written.
    pub fn written_end(&self) -> Lsn {
        let pending = self.block.as_ref().filter(|b| !b.is_empty()).map_or(0, |b| b.file_len() / SECTOR);
        let next = self.next_block_lsn();
        Lsn { block: next.block + pending as u32, ..next }
    }

    fn next_block_lsn(&self) -> Lsn {
        let vlf = &self.vlfs[self.current];
        Lsn::new(vlf.header.sequence, vlf.end, 1)
    }

    fn begin_block(&mut self) {
        let room = |vlf: &Vlf| vlf.header.size as usize - vlf.end as usize * SECTOR;
        if self.is_full() {
            self.next_vlf();
        }
        // What is left behind the block is nothing, or enough for another one.
        let limit = match room(&self.vlfs[self.current]) {
            room if room <= BLOCK_MAX => room,
            room => room - LONGEST_RECORD,
        };
        self.block = Some(BlockBuilder::new(self.next_block_lsn(), limit));
    }

    fn next_vlf(&mut self) {
        let sequence = self.vlfs[self.current].header.sequence + 1;
        let count = self.vlfs.len();
        let free = (1..count)
            .map(|n| (self.current + n) % count)
            .find(|n| self.vlfs[*n].header.sequence < self.hold.vlf || self.vlfs[*n].header.uses == 0);
        let next = match free {
            Some(next) => next,
            None => {
                let here = self.next_block_lsn();
                self.add_vlf(here);
                count
            }
        };
        self.begin_vlf(next, sequence);
    }

    fn begin_vlf(&mut self, index: usize, sequence: u32) {
        let vlf = &mut self.vlfs[index];
        vlf.header.sequence = sequence;
        vlf.header.uses += 1;
        vlf.end = FIRST_BLOCK;
        self.current = index;
    }

    fn add_vlf(&mut self, create_lsn: Lsn) {
        let start = self.bytes.len() as u64;
        let header = VlfHeaderImage { sequence: 0, uses: 0, size: self.vlf_bytes, start, create_lsn };
        self.vlfs.push(Vlf { header, end: FIRST_BLOCK });
        let len = mem::size_of_val(&self.bytes[..]) + self.vlf_bytes as usize;
        self.bytes.resize(len, 0);
    }
}

#[cfg(test)]
mod tests {
    use logferry_mssql_format::encode::RecordHead;
    use logferry_mssql_format::log::block::Block;

    use super::*;

    #[test]
    fn the_log_wraps_when_it_may_and_grows_when_it_must() {
        let mut log = LogFile::new(128 * 1024, 2, 40, true);
        let mut record = RecordBuilder::new();
        let mut lsns = Vec::new();
        for n in 0..5000u32 {
            lsns.push(log.append(record.lock_xact(&RecordHead::NONE, &n.to_le_bytes())));
            if n % 100 == 99 {
                log.hold = log.end();
            }
        }
        assert!(lsns.is_sorted(), "LSNs only grow");
        assert_eq!(log.vlfs().len(), 2, "two files serve for ever when nothing is held");
        let held = log.end();
        log.hold = held;
        lsns.clear();
        for n in 0..5000u32 {
            lsns.push(log.append(record.lock_xact(&RecordHead::NONE, &n.to_le_bytes())));
        }
        assert!(log.vlfs().len() > 2, "what is held makes the log grow");

        let end = log.end();
        let mut found = Vec::new();
        for (_, _, bytes) in log.range(held, end) {
            let mut rest = bytes.to_vec();
            let mut at = 0;
            while at < rest.len() {
                let block = Block::read(&mut rest[at..]).unwrap();
                found.extend(block.records().map(|r| r.unwrap().lsn));
                at += usize::from(block.header.len);
            }
        }
        // The remarks that begin virtual log files are no records of ours.
        found.retain(|lsn| lsns.contains(lsn));
        assert_eq!(found, lsns);
    }
}

//! Parts of virtual log files, and the blocks in them one after the other: what log files and backups have in common.
//!
//! A block says how long it is, so the next one's place is known; it must say of itself that it stands there. Where it does
//! not, either the virtual log file ends there (the rest of it was left unused), or the log ends, or the file is damaged.
//! To tell these apart, what follows is searched: a block behind the hole that belongs to the current use means damage.
//! From one virtual log file to the next the chain is closed by the length of the block before, which every block has.

use std::ops::Range;
use std::sync::Arc;

use logferry_model::Lsn;
use logferry_mssql_format::bytes::Malformed;
use logferry_mssql_format::log::block::{BLOCK_MAX, Block, BlockHeader, HEADER_MIN, SECTOR, check_sectors};
use logferry_mssql_format::log::vlf::{FIRST_BLOCK, is_current};

use crate::error::Error;
use crate::input::InputFile;
use crate::log_blocks::LogBlocks;

/// Bytes read at once: four of the largest blocks.
const WINDOW: usize = 4 * BLOCK_MAX;

/// A part of a virtual log file, in one file or dealt out over several.
#[derive(Clone, Debug)]
pub struct LogSegment {
    /// Sequence number.
    pub vlf: u32,
    /// Parity of its blocks.
    pub parity: u8,
    /// Number of the block at its begin.
    pub first_block: u32,
    /// Bytes.
    pub len: u64,
    /// Whether the virtual log file's part of the log ends with it, at the latest.
    pub ends_vlf: bool,
    /// Its bytes, in order.
    pub parts: Vec<SegmentPart>,
}

/// Bytes of a segment that stand in a row in a file.
#[derive(Clone, Debug)]
pub struct SegmentPart {
    /// The file.
    pub file: Arc<InputFile>,
    /// Where they begin in it.
    pub offset: u64,
    /// Where they begin in the segment.
    pub start: u64,
    /// How many.
    pub len: u64,
}

impl LogSegment {
    /// Position of a block in the segment.
    fn position(&self, block: u32) -> Option<u64> {
        let at = u64::from(block.checked_sub(self.first_block)?) * SECTOR as u64;
        (at < self.len).then_some(at)
    }

    /// Number of the block at a position.
    fn block_at(&self, position: u64) -> u32 {
        self.first_block.saturating_add(u32::try_from(position / SECTOR as u64).unwrap_or(u32::MAX))
    }

    /// LSN of the end.
    pub fn end(&self) -> Lsn {
        Lsn::new(self.vlf, self.block_at(self.len), 1)
    }

    /// The parts from the one that holds a position on.
    fn parts_from(&self, position: u64) -> &[SegmentPart] {
        let after = self.parts.partition_point(|part| part.start <= position);
        self.parts.get(after.saturating_sub(1)..).unwrap_or_default()
    }

    /// File and offset of a position.
    fn place(&self, position: u64) -> Option<(&SegmentPart, u64)> {
        let part = self.parts_from(position).first()?;
        let skip = position.checked_sub(part.start).filter(|&skip| skip < part.len)?;
        Some((part, part.offset.saturating_add(skip)))
    }

    /// Fills `into` with the bytes from a position, as far as the segment goes.
    fn read<'a>(&self, position: u64, into: &'a mut [u8]) -> Result<&'a mut [u8], Error> {
        let there = self.len.saturating_sub(position).min(into.len() as u64) as usize;
        let into = into.split_at_mut(there).0;
        let mut done = 0usize;
        for part in self.parts_from(position) {
            let skip = position.saturating_add(done as u64).saturating_sub(part.start);
            let len = part.len.saturating_sub(skip).min((into.len() - done) as u64) as usize;
            let Some(piece) = into.get_mut(done..done + len) else { break };
            part.file.read_exact(part.offset.saturating_add(skip), piece, "the log")?;
            done += len;
            if done == into.len() {
                break;
            }
        }
        Ok(into.split_at_mut(done).0)
    }

    /// An error about the bytes at a position.
    fn damaged(&self, position: u64, error: Malformed) -> Error {
        match self.place(position) {
            Some((part, offset)) => part.file.damaged(offset, error),
            None => Error::Malformed(error),
        }
    }

    /// Name of the file at a position.
    fn name(&self, position: u64) -> String {
        let part = self.place(position).map(|(part, _)| part).or(self.parts.last());
        part.map(|part| part.file.path().display().to_string()).unwrap_or_default()
    }
}

/// How the blocks of some segments end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEnd {
    /// At a position that is known, exclusive: less is an error.
    At(Lsn),
    /// Where the last segment has no more blocks: a log file.
    Found,
}

/// Reads the blocks of segments, each once, in the order of their LSNs, whatever the segments overlap.
pub struct SegmentBlocks {
    database: String,
    /// By sequence number and first block.
    segments: Vec<LogSegment>,
    /// The block that must come next.
    next: Lsn,
    end: LogEnd,
    /// Length of the block before, where there was one.
    prev_len: Option<u16>,
    /// What was read of `segments[window.0]`, from position `window.1` on: this many bytes of the buffer.
    window: (usize, u64, usize),
    buffer: Vec<u8>,
    /// Where the bytes of the block that was given last are in the buffer.
    last: Range<usize>,
    finished: bool,
}

impl SegmentBlocks {
    /// Reads from the block that holds `start` on.
    pub fn new(database: String, mut segments: Vec<LogSegment>, start: Lsn, end: LogEnd) -> Self {
        segments.retain(|s| s.len > 0);
        segments.sort_by_key(|s| (s.vlf, s.first_block, u64::MAX - s.len));
        SegmentBlocks {
            database,
            segments,
            next: Lsn { slot: 1, ..start },
            end,
            prev_len: None,
            window: (usize::MAX, 0, 0),
            buffer: Vec::new(),
            last: 0..0,
            finished: false,
        }
    }

    /// The position up to which blocks were given (exclusive).
    pub fn position(&self) -> Lsn {
        self.next
    }

    /// Index and position of the next block, or `None` at the end.
    fn locate(&mut self) -> Result<Option<(usize, u64)>, Error> {
        loop {
            if matches!(self.end, LogEnd::At(end) if self.next >= end) {
                return Ok(None);
            }
            let Some((index, position)) = self.segment_of(self.next) else {
                // The segments of this virtual log file are used up: the next one follows, if it is there.
                match self.next_vlf(None)? {
                    true => continue,
                    false => return Ok(None),
                }
            };
            let Some(segment) = self.segments.get(index) else { return Ok(None) };
            let (vlf, parity, block) = (segment.vlf, segment.parity, segment.block_at(position));
            let bytes = self.fill(index, position, HEADER_MIN)?;
            let wrong = match BlockHeader::read(bytes) {
                Ok(header) if is_current(&header, vlf, parity, block) => return Ok(Some((index, position))),
                Ok(header) => {
                    let what =
                        format!("block {} with parity {:#x} stands in its place", header.first_lsn, header.parity);
                    Malformed::new(what, 12)
                }
                Err(e) => e,
            };
            if self.next_vlf(Some((index, position, wrong)))? {
                continue;
            }
            return Ok(None);
        }
    }

    /// Goes on to the next virtual log file; `false` where the log ends here. `hole`: segment and position that have no
    /// block, and why; without it, no segment goes on from here.
    fn next_vlf(&mut self, hole: Option<(usize, u64, Malformed)>) -> Result<bool, Error> {
        let next = self.next;
        let following = self.segments.iter().position(|s| (s.vlf, s.first_block) > (next.vlf, next.block));
        let mut ends_vlf = self.segments.iter().any(|s| s.vlf == next.vlf && s.ends_vlf && s.end() <= next);
        if let Some((index, position, wrong)) = hole {
            ends_vlf = self.segments.get(index).is_some_and(|s| s.ends_vlf);
            let last = following.is_none() && (self.end == LogEnd::Found || self.ends_before_next_vlf());
            if !(ends_vlf && following.is_some() || last) || self.resumes(index, position)? {
                let error = wrong.within(format_args!("log block {next}"));
                return Err(self.damaged_at(index, position, error));
            }
        }
        let Some(following) = following.and_then(|i| self.segments.get(i)) else {
            return match self.end {
                LogEnd::Found => Ok(false),
                LogEnd::At(end) if ends_vlf && self.ends_before_next_vlf() => {
                    self.next = end;
                    Ok(false)
                }
                LogEnd::At(end) => Err(self.gap(end, "the end that the last backup names")),
            };
        };
        let begin = Lsn::new(following.vlf, following.first_block, 1);
        if !ends_vlf || begin != Lsn::new(next.vlf.saturating_add(1), FIRST_BLOCK, 1) {
            return Err(self.gap(begin, &following.name(0)));
        }
        self.next = begin;
        Ok(true)
    }

    /// Whether the log ends with this virtual log file, and the end is named as the begin of the next one, of which there is
    /// nothing yet.
    fn ends_before_next_vlf(&self) -> bool {
        self.end == LogEnd::At(Lsn::new(self.next.vlf.saturating_add(1), FIRST_BLOCK, 1))
    }

    /// Whether there are blocks of the current use behind a hole.
    fn resumes(&mut self, index: usize, position: u64) -> Result<bool, Error> {
        let Some(segment) = self.segments.get(index) else { return Ok(false) };
        let (vlf, parity, len) = (segment.vlf, segment.parity, segment.len);
        let mut at = position + SECTOR as u64;
        while at < len {
            let block = self.segments.get(index).map_or(0, |s| s.block_at(at));
            let bytes = self.fill(index, at, HEADER_MIN)?;
            if BlockHeader::read(bytes).is_ok_and(|h| is_current(&h, vlf, parity, block)) {
                let len = BlockHeader::read(bytes).map_or(0, |h| usize::from(h.len));
                let whole = self.fill(index, at, len)?;
                if whole.get(..len).is_some_and(|b| check_sectors(b, parity).is_ok()) {
                    return Ok(true);
                }
            }
            at += SECTOR as u64;
        }
        Ok(false)
    }

    /// The segment that holds a block, the one that is being read if it does.
    fn segment_of(&self, lsn: Lsn) -> Option<(usize, u64)> {
        let holds = |index: usize| {
            let segment = self.segments.get(index).filter(|s| s.vlf == lsn.vlf)?;
            segment.position(lsn.block).map(|position| (index, position))
        };
        let first = self.segments.partition_point(|s| s.vlf < lsn.vlf);
        let after = self.segments.partition_point(|s| s.vlf <= lsn.vlf);
        holds(self.window.0).or_else(|| (first..after).find_map(holds))
    }

    /// The bytes from a position of a segment: at least `want` of them where the segment has them.
    fn fill(&mut self, index: usize, position: u64, want: usize) -> Result<&mut [u8], Error> {
        let Some(segment) = self.segments.get(index) else { return Ok(&mut []) };
        let (held, from, len) = self.window;
        let there = usize::try_from(segment.len.saturating_sub(position)).unwrap_or(usize::MAX);
        let skip = position.checked_sub(from).and_then(|skip| usize::try_from(skip).ok());
        let skip = match skip {
            Some(skip) if held == index && skip.saturating_add(want.min(there)) <= len => skip,
            _ => {
                self.buffer.resize(WINDOW, 0);
                let read = segment.read(position, &mut self.buffer)?.len();
                self.window = (index, position, read);
                0
            }
        };
        Ok(self.buffer.get_mut(skip..self.window.2).unwrap_or_default())
    }

    fn gap(&self, begin: Lsn, after: &str) -> Error {
        let before = self.segments.iter().rfind(|s| s.vlf <= self.next.vlf);
        Error::Gap {
            database: self.database.clone(),
            before: before.map_or_else(|| "the log".to_owned(), |s| s.name(s.len)),
            end: self.next,
            after: after.to_owned(),
            begin,
        }
    }
}

impl LogBlocks for SegmentBlocks {
    fn next_block(&mut self) -> Result<Option<Block<'_>>, Error> {
        if self.finished {
            return Ok(None);
        }
        // An error ends it, too: nothing behind it would be in order.
        self.finished = true;
        let Some((index, position)) = self.locate()? else { return Ok(None) };
        let header = BlockHeader::read(self.fill(index, position, BLOCK_MAX)?)
            .map_err(|e| self.damaged_at(index, position, e))?;
        if let Some(prev_len) = self.prev_len.filter(|&len| len != header.prev_len) {
            let what = format!("it follows a block of {} bytes, but the one before has {prev_len}", header.prev_len);
            let error = Malformed::new(what, 10).within(format_args!("log block {}", self.next));
            return Err(self.damaged_at(index, position, error));
        }
        let torn = |s: &Self, e: Malformed| s.damaged_at(index, position, e);
        let len = usize::from(header.len);
        let last = self.end == LogEnd::Found && !self.segments.iter().any(|s| s.vlf > self.next.vlf);
        let bytes = self.fill(index, position, len)?;
        let intact = match bytes.get(..len) {
            Some(block) => check_sectors(block, header.parity),
            None => Err(Malformed::new(format!("block of {len} bytes, {} there", bytes.len()), 6)),
        };
        if let Err(error) = intact {
            // The last block of a log file may have been under way; it was never acknowledged.
            if last && !self.resumes(index, position)? {
                return Ok(None);
            }
            return Err(torn(self, error.within(format_args!("log block {}", header.first_lsn))));
        }
        self.prev_len = Some(header.len);
        self.next = header.next_lsn();
        self.finished = false;
        let Self { segments, buffer, window, last, .. } = self;
        let skip = position.saturating_sub(window.1) as usize;
        let bytes = buffer.get_mut(skip..window.2).unwrap_or_default();
        let segment = segments.get(index);
        let block = Block::read(bytes).map_err(|e| match segment {
            Some(segment) => segment.damaged(position, e),
            None => Error::Malformed(e),
        })?;
        *last = skip..skip + block.bytes().len();
        Ok(Some(block))
    }

    fn last_bytes(&self) -> &[u8] {
        self.buffer.get(self.last.clone()).unwrap_or_default()
    }
}

impl SegmentBlocks {
    fn damaged_at(&self, index: usize, position: u64, error: Malformed) -> Error {
        match self.segments.get(index) {
            Some(segment) => segment.damaged(position, error),
            None => Error::Malformed(error),
        }
    }
}

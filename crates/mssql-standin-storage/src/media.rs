//! Log backups read back: the blocks of one backup set of a file.

use std::path::Path;

use logferry_mssql_format::log::block::{Block, BlockHeader, SECTOR};
use logferry_mssql_format::mtf::{
    COMPRESSED_MAGIC, Descriptor, LogPiece, PAYLOAD_OFFSET, STREAM_HEADER, SetStart, StreamHeader,
};

use super::{Error, LogBlock};

/// The log in a backup set of a file, by the set's number from 1; `None` where the file has fewer sets.
///
/// # Errors
/// Where the file cannot be read, or is no backup that this engine could have written.
pub fn backed_up_log(path: &Path, set: u16) -> Result<Option<Vec<LogBlock>>, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Write { path: path.display().to_string(), source })?;
    if bytes.starts_with(COMPRESSED_MAGIC) {
        return Err(Error::Unsupported("compressed backups".into()));
    }
    let bad = |e: &dyn std::fmt::Display| Error::Unsupported(format!("{}: {e}", path.display()));
    let (mut at, mut number, mut found) = (0, 0, None);
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= SECTOR) {
        let descriptor = Descriptor::read(rest).map_err(|e| bad(&e))?;
        if descriptor.is(b"SSET") {
            number = SetStart::read(rest).map_err(|e| bad(&e))?.number;
            if number == set {
                found = Some(Vec::new());
            }
        }
        let mut next = at + usize::from(descriptor.streams_at);
        while !descriptor.is(b"SFMB") {
            let Some(header) = bytes.get(next..) else { break };
            let stream = StreamHeader::read(header).map_err(|e| bad(&e))?;
            if let (true, Some(blocks)) = (stream.is(b"MQTL") && number == set, &mut found) {
                let piece = LogPiece::read(rest).map_err(|e| bad(&e))?;
                let from = next + STREAM_HEADER + PAYLOAD_OFFSET as usize;
                let log = bytes.get(from..).and_then(|b| b.get(..piece.len() as usize)).unwrap_or_default();
                add_blocks(log, blocks).map_err(|e| bad(&e))?;
            }
            next = stream.next_at(next as u64).map_or(bytes.len(), |n| n as usize);
            if stream.is(b"SPAD") {
                break;
            }
        }
        at = next;
    }
    Ok(found)
}

/// What a file has that another backup set is to be appended to.
#[derive(Debug, Default)]
pub(super) struct Medium {
    /// Sets.
    pub sets: u16,
    /// Where its filemarks are.
    pub filemarks: Vec<u64>,
    /// Bytes.
    pub len: u64,
}

/// Looks through a file that a backup set is to be appended to; one that is not there, or empty, has nothing.
///
/// # Errors
/// Where the file cannot be read, is no backup, or one that is compressed or damaged.
pub(super) fn medium(path: &Path) -> Result<Medium, Error> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Medium::default()),
        Err(source) => return Err(Error::Write { path: path.display().to_string(), source }),
    };
    let bad = |what: String| Error::Damaged { path: path.display().to_string(), what };
    if bytes.starts_with(COMPRESSED_MAGIC) {
        return Err(Error::Unsupported("another set on a medium of compressed backups".into()));
    }
    let mut medium = Medium { len: bytes.len() as u64, ..Medium::default() };
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let descriptor = Descriptor::read(rest).map_err(|e| bad(e.to_string()))?;
        if descriptor.is(b"SSET") {
            medium.sets = SetStart::read(rest).map_err(|e| bad(e.to_string()))?.number;
        }
        if descriptor.is(b"SFMB") {
            medium.filemarks.push(at as u64);
        }
        let mut next = at + usize::from(descriptor.streams_at);
        while !descriptor.is(b"SFMB") {
            let Some(header) = bytes.get(next..) else { break };
            let stream = StreamHeader::read(header).map_err(|e| bad(e.to_string()))?;
            next = stream.next_at(next as u64).map_or(bytes.len(), |n| n as usize);
            if stream.is(b"SPAD") {
                break;
            }
        }
        at = next;
    }
    Ok(medium)
}

fn add_blocks(log: &[u8], out: &mut Vec<LogBlock>) -> Result<(), logferry_mssql_format::bytes::Malformed> {
    let mut rest = log;
    while rest.len() >= SECTOR {
        let len = usize::from(BlockHeader::read(rest)?.len);
        let (block, after) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        let mut block = block.to_vec();
        Block::read(&mut block)?;
        out.push(LogBlock(block));
        rest = after;
    }
    Ok(())
}

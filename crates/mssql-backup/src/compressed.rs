//! Compressed backups, read as if they were not: any bytes of the stream that was compressed, wherever its pieces are.
//!
//! One walk over the headers of the records finds where each piece is, 16 bytes for 64 KiB of the stream. Pieces are decompressed
//! when bytes of them are asked for; those that were used last are kept. The cache is cut into shards by the number of the piece,
//! no lock is held while a piece is read or decompressed: readers in different places do not wait for each other. Two that
//! ask for the same piece at once both decompress it.
//!
//! An extent of a database is 64 KiB, too, and pieces begin where extents do: who reads pages in the order of extents has each
//! piece decompressed once.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use logferry_mssql_format::bytes::Malformed;
use logferry_mssql_format::container::{
    ContainerHeader, ContainerRecord, Content, FIRST_RECORD, RECORD_ENOUGH, UNIT, foreign_algorithm,
};
use logferry_mssql_format::mtf::{DESCRIPTOR_HEADER, Descriptor};

use crate::error::Error;
use crate::input::cut_short;
use crate::places::Bytes;

/// Shards of the cache: more than there are readers at once.
const SHARDS: usize = 16;
/// Pieces that a shard keeps: 4 MiB of the stream are kept in all.
const SHARD_PIECES: usize = 4;

/// The pieces of a compressed backup file.
#[derive(Debug)]
pub(crate) struct Pieces {
    header: ContainerHeader,
    /// In the order of the stream.
    pieces: Vec<Piece>,
    /// Length of the stream.
    len: u64,
    cache: [Mutex<Shard>; SHARDS],
}

/// Where a piece is. It ends where the next one begins.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// In the stream.
    stream: u64,
    /// In the file: a record, or a file mark, which is in clear.
    file: u64,
}

/// Pieces that were used last, the very last at the end.
type Shard = VecDeque<(usize, Arc<Vec<u8>>)>;

/// A file and its length.
#[derive(Clone, Copy)]
pub(crate) struct Raw<'a> {
    pub path: &'a Path,
    pub file: &'a Bytes,
    pub len: u64,
}

impl Pieces {
    /// Finds the pieces of a file. What is wrong with the file, if anything, comes along: what is before it can be read.
    pub fn find(raw: Raw<'_>) -> Result<(Self, Option<Error>), Error> {
        let mut head = [0u8; FIRST_RECORD as usize];
        raw.read_exact(0, &mut head, "the header of a compressed backup")?;
        let header = ContainerHeader::read(&head).map_err(|e| raw.damaged(0, e))?;
        let mut pieces = Pieces { header, pieces: Vec::new(), len: 0, cache: Default::default() };
        let error = pieces.walk(raw).err();
        pieces.pieces.shrink_to_fit();
        Ok((pieces, error))
    }

    /// Length of the stream.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Where in the file the piece of a place in the stream is.
    pub fn file_offset(&self, offset: u64) -> u64 {
        self.number(offset).and_then(|number| self.pieces.get(number)).map_or(0, |piece| piece.file)
    }

    /// Fills a buffer with the bytes of the stream from an offset; there are so many.
    pub fn read_exact(&self, raw: Raw<'_>, offset: u64, mut into: &mut [u8]) -> Result<(), Error> {
        let Some(mut number) = self.number(offset) else { return Ok(()) };
        let mut skip = self.pieces.get(number).map_or(0, |piece| offset.saturating_sub(piece.stream)) as usize;
        while !into.is_empty() {
            let piece = self.piece(raw, number)?;
            let there = piece.get(skip..).unwrap_or_default();
            if there.is_empty() {
                return Err(self.cut_short(raw, "the stream"));
            }
            let (now, later) = into.split_at_mut(there.len().min(into.len()));
            now.copy_from_slice(there.split_at(now.len()).0);
            (into, number, skip) = (later, number.saturating_add(1), 0);
        }
        Ok(())
    }

    /// The error of a stream that goes on behind its last piece.
    pub fn cut_short(&self, raw: Raw<'_>, what: &str) -> Error {
        raw.cut_short(what, raw.len.saturating_add(1))
    }

    fn walk(&mut self, raw: Raw<'_>) -> Result<(), Error> {
        let mut at = FIRST_RECORD;
        let mut marked = false;
        loop {
            let mut bytes = [0u8; DESCRIPTOR_HEADER];
            let bytes = raw.read_up_to(at, &mut bytes)?;
            if bytes.is_empty() && marked {
                return Ok(());
            }
            // A file ends with a file mark, which is longer.
            if bytes.len() < RECORD_ENOUGH {
                return Err(raw.cut_short("the compressed stream", raw.len.max(at).saturating_add(1)));
            }
            marked = bytes.starts_with(b"SFMB");
            let (makes, end) = if marked {
                let mark = Descriptor::read(bytes).map_err(|e| raw.damaged(at, e))?;
                (u64::from(mark.streams_at), u64::from(mark.streams_at))
            } else {
                let record = match ContainerRecord::read(bytes, self.header) {
                    Ok(record) => record,
                    Err(e) => {
                        at = raw.file_mark_behind(at)?.ok_or_else(|| raw.damaged(at, e))?;
                        continue;
                    }
                };
                self.supported(raw, &record)?;
                (u64::from(record.makes()), record.end())
            };
            let next = at.saturating_add(end);
            if next > raw.len {
                return Err(raw.cut_short(&format!("the compressed piece at offset {at}"), next));
            }
            if makes > 0 {
                self.pieces.push(Piece { stream: self.len, file: at });
                self.len = self.len.saturating_add(makes);
            }
            at = next;
        }
    }

    /// Refuses records that cannot be read.
    fn supported(&self, raw: Raw<'_>, record: &ContainerRecord) -> Result<(), Error> {
        let ContainerHeader { version, minor } = self.header;
        let what = match record.content {
            Content::Encrypted => {
                format!("it is encrypted (MSSQLBAK {version}.{minor}, records {:#04x})", record.flags)
            }
            Content::Unknown => format!(
                "it is compressed with an algorithm that is not known (MSSQLBAK {version}.{minor}, records {:#04x}); \
                 MS_XPRESS is",
                record.flags
            ),
            _ => return Ok(()),
        };
        Err(Error::Unsupported { path: raw.path.to_owned(), what })
    }

    /// The piece that holds a place in the stream.
    fn number(&self, offset: u64) -> Option<usize> {
        self.pieces.partition_point(|piece| piece.stream <= offset).checked_sub(1)
    }

    /// A piece of the stream, from the cache or the file.
    fn piece(&self, raw: Raw<'_>, number: usize) -> Result<Arc<Vec<u8>>, Error> {
        let Some(shard) = self.cache.get(number % SHARDS) else { return Ok(Arc::default()) };
        {
            let mut kept = shard.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(found) = kept.iter().rposition(|(other, _)| *other == number)
                && let Some(entry) = kept.remove(found)
            {
                let piece = Arc::clone(&entry.1);
                kept.push_back(entry);
                return Ok(piece);
            }
        }
        let piece = Arc::new(self.unpack(raw, number)?);
        let mut kept = shard.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(other, _)| *other != number);
        if kept.len() >= SHARD_PIECES {
            kept.pop_front();
        }
        kept.push_back((number, Arc::clone(&piece)));
        Ok(piece)
    }

    /// Reads and decompresses a piece.
    fn unpack(&self, raw: Raw<'_>, number: usize) -> Result<Vec<u8>, Error> {
        let Some(piece) = self.pieces.get(number) else { return Ok(Vec::new()) };
        let end = self.pieces.get(number.saturating_add(1)).map_or(self.len, |next| next.stream);
        let makes = end.saturating_sub(piece.stream);
        let mut head = [0u8; RECORD_ENOUGH];
        let head = raw.read_up_to(piece.file, &mut head)?;
        let damaged = |e: Malformed| raw.damaged(piece.file, e);
        if head.starts_with(b"SFMB") {
            let mut mark = vec![0u8; usize::from(u16::MAX).min(makes as usize)];
            raw.read_exact(piece.file, &mut mark, "a file mark")?;
            return Ok(mark);
        }
        let record = ContainerRecord::read(head, self.header).map_err(damaged)?;
        let mut bytes = vec![0u8; record.end() as usize];
        raw.read_exact(piece.file, &mut bytes, "a compressed piece")?;
        let output = record.unpack(&bytes).map_err(|e| {
            match bytes.get(record.data_at as usize..).and_then(foreign_algorithm) {
                Some(name) => Error::Unsupported {
                    path: raw.path.to_owned(),
                    what: format!("it is compressed with {name}, which is not supported; MS_XPRESS is"),
                },
                None => damaged(e),
            }
        })?;
        if output.len() as u64 != makes {
            let what = format!("a piece makes {} bytes; it was {makes} when the file was opened", output.len());
            return Err(damaged(Malformed::new(what, 1)));
        }
        Ok(output)
    }
}

impl<'a> Raw<'a> {
    fn read_exact(self, offset: u64, into: &mut [u8], what: &str) -> Result<(), Error> {
        let needed = offset.saturating_add(into.len() as u64);
        if needed > self.len {
            return Err(self.cut_short(what, needed));
        }
        self.file.read_exact(self.path, offset, into)
    }

    fn read_up_to(self, offset: u64, into: &mut [u8]) -> Result<&mut [u8], Error> {
        let there = self.len.saturating_sub(offset).min(into.len() as u64) as usize;
        let into = into.split_at_mut(there).0;
        self.read_exact(offset, into, "")?;
        Ok(into)
    }

    fn damaged(self, offset: u64, source: Malformed) -> Error {
        Error::Damaged { path: self.path.to_owned(), offset, source }
    }

    fn cut_short(self, what: &str, needed: u64) -> Error {
        cut_short(self.path, self.len, what, needed)
    }

    /// The file mark on the next boundary, where not even the header of a filler would fit before it.
    fn file_mark_behind(self, at: u64) -> Result<Option<u64>, Error> {
        let boundary = at.next_multiple_of(u64::from(UNIT));
        let mut bytes = [0u8; DESCRIPTOR_HEADER];
        let bytes = self.read_up_to(boundary, &mut bytes)?;
        let mark = Descriptor::read(bytes).is_ok_and(|d| d.is(b"SFMB"));
        Ok((mark && boundary > at && boundary - at < RECORD_ENOUGH as u64).then_some(boundary))
    }
}

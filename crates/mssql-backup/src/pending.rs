//! The changes of an open transaction, as bytes: the last ones in memory, the earlier ones in a temporary file once they are many.
//!
//! ```text
//! entry:  length  lsn  op  shape  row id  length of before  before  after  length
//!         u32     10   u8  u32    8       u32                              u32
//! ```
//!
//! The file is read in pieces of about a MiB, which begin and end with changes: a transaction that is larger than memory is handed on in
//! as little.
//!
//! The length stands at both ends, because changes are taken back from the end (a rollback) and handed on from the begin.

use std::borrow::Borrow;
use std::fs::File;
use std::os::unix::fs::FileExt;

use logferry_model::Lsn;
use logferry_mssql_format::bytes::{Malformed, slice, u8_at, u32_at};
use logferry_mssql_format::page::RowId;

use crate::error::Error;
use crate::spool::spool_error;

const HEAD: usize = 4 + 10 + 1 + 4 + 8 + 4;
const TAIL: usize = 4;

/// Bytes that are taken at first: those of some changes, as most transactions have.
const FIRST: usize = 4 << 10;

/// A piece of the file has the changes that begin in so many bytes.
const PIECE: usize = 1 << 20;

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RawOp {
    /// There is a row `after`.
    Insert = 1,
    /// The row `before` became `after`.
    Update = 2,
    /// The row `before` went.
    Delete = 3,
    /// All rows of the rowset went.
    Truncate = 4,
    /// Something happened that cannot be told: `after` is a sentence that says why.
    Lost = 5,
    /// There is a row `after`, and the record has the whole page that it is on.
    PageInsert = 6,
}

/// A change as bytes of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawChange<'a> {
    /// The record.
    pub(crate) lsn: Lsn,
    /// What happened.
    pub(crate) op: RawOp,
    /// What the rows look like; a number of the assembler's user.
    pub(crate) shape: u32,
    /// Where the row is, or was.
    pub(crate) row: RowId,
    /// The row before.
    pub(crate) before: &'a [u8],
    /// The row after.
    pub(crate) after: &'a [u8],
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    tail: Vec<u8>,
    /// Where pieces begin in it, without the first.
    cuts: Vec<usize>,
    file: Option<File>,
    /// Where the pieces in the file begin and how long they are.
    pieces: Vec<(u64, usize)>,
}

impl Pending {
    /// Bytes in memory.
    pub(crate) fn in_memory(&self) -> usize {
        self.tail.len()
    }

    /// Whether there are no changes.
    pub(crate) fn is_empty(&self) -> bool {
        self.tail.is_empty() && self.pieces.is_empty()
    }

    /// Adds a change.
    pub(crate) fn push(&mut self, change: &RawChange<'_>) {
        let len = HEAD + change.before.len() + change.after.len() + TAIL;
        // Rows are shorter than pages, reasons than lines.
        let len_bytes = (len as u32).to_le_bytes();
        if self.tail.len() >= self.cuts.last().map_or(PIECE, |cut| cut + PIECE) {
            self.cuts.push(self.tail.len());
        }
        let out = &mut self.tail;
        out.reserve(if out.capacity() == 0 { len.max(FIRST) } else { len });
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&len_bytes);
        head[4..14].copy_from_slice(&change.lsn.to_le_bytes());
        head[14] = change.op as u8;
        head[15..19].copy_from_slice(&change.shape.to_le_bytes());
        head[19..27].copy_from_slice(&change.row.to_bytes());
        head[27..].copy_from_slice(&(change.before.len() as u32).to_le_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(change.before);
        out.extend_from_slice(change.after);
        out.extend_from_slice(&len_bytes);
    }

    /// The last change.
    pub(crate) fn last(&mut self) -> Result<Option<RawChange<'_>>, Error> {
        self.reload()?;
        match self.last_start()? {
            Some(start) => Ok(self.tail.get(start..).map(read).transpose()?.map(|(change, _)| change)),
            None => Ok(None),
        }
    }

    /// Takes the last change away.
    pub(crate) fn pop(&mut self) -> Result<(), Error> {
        self.reload()?;
        if let Some(start) = self.last_start()? {
            self.tail.truncate(start);
            self.cuts.retain(|&cut| cut < start);
        }
        Ok(())
    }

    /// Takes away all changes after a record.
    pub(crate) fn truncate_after(&mut self, lsn: Lsn) -> Result<(), Error> {
        while self.last()?.is_some_and(|change| change.lsn > lsn) {
            self.pop()?;
        }
        Ok(())
    }

    /// Moves what is in memory to the file.
    pub(crate) fn spill(&mut self) -> Result<(), Error> {
        if self.tail.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile().map_err(spool_error)?),
        };
        let start = self.pieces.last().map_or(0, |(start, len)| start + *len as u64);
        file.write_all_at(&self.tail, start).map_err(spool_error)?;
        let (begins, ends) = (self.cuts.iter().copied(), self.cuts.iter().copied().chain([self.tail.len()]));
        self.pieces.extend([0].into_iter().chain(begins).zip(ends).map(|(from, to)| (start + from as u64, to - from)));
        self.cuts.clear();
        self.tail = Vec::new();
        Ok(())
    }

    /// Brings the last piece of the file back when memory is empty.
    fn reload(&mut self) -> Result<(), Error> {
        if self.tail.is_empty()
            && let Some((start, len)) = self.pieces.pop()
        {
            self.tail = self.piece(start, len)?;
        }
        Ok(())
    }

    fn piece(&self, start: u64, len: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; len];
        if let Some(file) = &self.file {
            file.read_exact_at(&mut bytes, start).map_err(spool_error)?;
        }
        Ok(bytes)
    }

    fn last_start(&self) -> Result<Option<usize>, Error> {
        let Some(at) = self.tail.len().checked_sub(TAIL) else { return Ok(None) };
        let len = u32_at(&self.tail, at, "length of a change")? as usize;
        Ok(Some(self.tail.len().saturating_sub(len)))
    }

    /// Takes memory over that others used, if it has none.
    pub(crate) fn take_memory(&mut self, memory: &mut Vec<u8>) {
        if self.tail.capacity() == 0 {
            std::mem::swap(&mut self.tail, memory);
        }
    }

    /// Reads the changes from the first on.
    pub(crate) fn into_reader(self) -> PendingReader<Pending> {
        PendingReader::new(self)
    }

    /// Reads the changes from the first on, and leaves them where they are.
    pub(crate) fn reader(&self) -> PendingReader<&Pending> {
        PendingReader::new(self)
    }
}

/// Gives the changes of a transaction in their order, without having all of them in memory.
#[derive(Debug)]
pub(crate) struct PendingReader<P> {
    pending: P,
    /// Index of the piece that is read; behind the last one comes what is in memory.
    piece: usize,
    bytes: Vec<u8>,
    at: usize,
}

impl PendingReader<Pending> {
    /// The memory of changes that were read.
    pub(crate) fn into_memory(self) -> Vec<u8> {
        self.pending.tail
    }
}

impl<P: Borrow<Pending>> PendingReader<P> {
    fn new(pending: P) -> Self {
        PendingReader { pending, piece: 0, bytes: Vec::new(), at: 0 }
    }

    /// The next change.
    pub(crate) fn next(&mut self) -> Result<Option<RawChange<'_>>, Error> {
        let pending: &Pending = self.pending.borrow();
        while let Some(&(start, len)) = pending.pieces.get(self.piece) {
            if self.at == 0 {
                self.bytes = pending.piece(start, len)?;
            }
            if self.at < self.bytes.len() {
                let (change, len) = read(self.bytes.get(self.at..).unwrap_or_default())?;
                self.at += len;
                return Ok(Some(change));
            }
            self.piece += 1;
            self.at = 0;
        }
        if self.at >= pending.tail.len() {
            return Ok(None);
        }
        let (change, len) = read(pending.tail.get(self.at..).unwrap_or_default())?;
        self.at += len;
        Ok(Some(change))
    }
}

/// The change at the begin of some bytes, and its length.
fn read(bytes: &[u8]) -> Result<(RawChange<'_>, usize), Malformed> {
    let len = u32_at(bytes, 0, "length of a change")? as usize;
    let mut lsn = [0; 10];
    lsn.copy_from_slice(slice(bytes, 4, 10, "LSN of a change")?);
    let op = match u8_at(bytes, 14, "operation")? {
        1 => RawOp::Insert,
        2 => RawOp::Update,
        3 => RawOp::Delete,
        4 => RawOp::Truncate,
        6 => RawOp::PageInsert,
        _ => RawOp::Lost,
    };
    let before_len = u32_at(bytes, 27, "length of a row")? as usize;
    let rows = slice(bytes, HEAD, len.saturating_sub(HEAD + TAIL), "rows of a change")?;
    let Some((before, after)) = rows.split_at_checked(before_len) else {
        return Err(Malformed::new("a row of a change is cut off", HEAD));
    };
    let row = RowId::read(bytes, 19, "row id of a change")?;
    let change = RawChange { lsn: Lsn::from_le_bytes(lsn), op, shape: u32_at(bytes, 15, "shape")?, row, before, after };
    Ok((change, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(n: u16, row: &[u8]) -> RawChange<'_> {
        RawChange {
            lsn: Lsn::new(1, 1, n),
            op: RawOp::Update,
            shape: u32::from(n) * 3,
            row: RowId::default(),
            before: row.get(..row.len() / 2).unwrap_or_default(),
            after: row,
        }
    }

    #[test]
    fn changes_come_back_in_order_through_memory_and_file() {
        let row = [7u8; 33];
        let mut pending = Pending::default();
        for n in 0..10 {
            pending.push(&change(n, &row[..usize::from(n)]));
            if n % 3 == 2 {
                pending.spill().unwrap();
            }
        }
        pending.truncate_after(Lsn::new(1, 1, 4)).unwrap();
        pending.push(&change(20, &row));
        let mut reader = pending.into_reader();
        for n in [0, 1, 2, 3, 4, 20] {
            assert_eq!(
                reader.next().unwrap(),
                Some(change(n, &row[..usize::from(n).min(33)])).map(|mut c| {
                    if n == 20 {
                        c = change(20, &row)
                    }
                    c
                })
            );
        }
        assert_eq!(reader.next().unwrap(), None);
    }

    #[test]
    fn what_is_in_the_file_comes_back_in_small_pieces() {
        let row = [5u8; 1000];
        let mut pending = Pending::default();
        for n in 0..10_000 {
            pending.push(&change(n, &row));
        }
        pending.pop().unwrap();
        pending.spill().unwrap();
        assert!(pending.pieces.len() > 10 && pending.pieces.iter().all(|(_, len)| *len < PIECE + 4096));
        pending.truncate_after(Lsn::new(1, 1, 9_000)).unwrap();
        assert!(pending.in_memory() < PIECE + 4096);
        pending.push(&change(9_001, &row));
        let mut reader = pending.into_reader();
        for n in 0..=9_001 {
            assert_eq!(reader.next().unwrap(), Some(change(n, &row)));
            assert!(reader.bytes.len() < PIECE + 4096);
        }
        assert_eq!(reader.next().unwrap(), None);
    }

    #[test]
    fn taking_everything_back_leaves_nothing() {
        let mut pending = Pending::default();
        for n in 1..6 {
            pending.push(&change(n, b"row"));
            pending.spill().unwrap();
        }
        pending.truncate_after(Lsn::ZERO).unwrap();
        assert!(pending.is_empty());
        assert_eq!(pending.into_reader().next().unwrap(), None);
    }
}

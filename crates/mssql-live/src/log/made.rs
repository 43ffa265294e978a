//! Pieces of values outside of rows that a transaction made: in memory, and in a temporary file where they are many.
//!
//! A value of a gigabyte has some 130,000 of them, and a transaction may write many such values. It is asked for one only where a piece is
//! changed in place, which is most often the one that was made last.
//!
//! ```text
//!  here: the last ones    file: run │ run │ run ...    each sorted, 8 bytes a piece: file u16, page u32, slot u16
//! ```

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use logferry_mssql_format::page::RowId;

const PIECE_BYTES: u64 = 8;

/// Pieces, each of them once or more.
#[derive(Debug, Default)]
pub(super) struct Made {
    here: HashSet<u64>,
    /// Removed from its folder, so that it goes with the transaction.
    file: Option<File>,
    /// Each sorted, by numbers of pieces in the file.
    runs: Vec<Range<u64>>,
}

/// In the order of places; every place has a number of its own.
fn number(piece: RowId) -> u64 {
    u64::from(piece.page.file) << 48 | u64::from(piece.page.page) << 16 | u64::from(piece.slot)
}

impl Made {
    /// Takes a piece; whether it needs memory.
    pub(super) fn insert(&mut self, piece: RowId) -> bool {
        self.here.insert(number(piece))
    }

    /// How many are in memory.
    pub(super) fn here(&self) -> usize {
        self.here.len()
    }

    /// Writes those in memory to the file.
    pub(super) fn spill(&mut self) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile()?),
        };
        let mut pieces: Vec<u64> = std::mem::take(&mut self.here).into_iter().collect();
        pieces.sort_unstable();
        let mut out = io::BufWriter::new(file);
        for piece in &pieces {
            out.write_all(&piece.to_be_bytes())?;
        }
        out.flush()?;
        let start = self.runs.last().map_or(0, |run| run.end);
        self.runs.push(start..start + pieces.len() as u64);
        Ok(())
    }

    /// Whether a piece is among them.
    ///
    /// # Errors
    /// Of the temporary file.
    pub(super) fn contains(&self, piece: RowId) -> io::Result<bool> {
        let wanted = number(piece);
        if self.here.contains(&wanted) {
            return Ok(true);
        }
        let Some(file) = &self.file else { return Ok(false) };
        for run in self.runs.iter().rev() {
            let Range { mut start, mut end } = run.clone();
            while start < end {
                let middle = start + (end - start) / 2;
                let mut bytes = [0; PIECE_BYTES as usize];
                file.read_exact_at(&mut bytes, middle * PIECE_BYTES)?;
                match u64::from_be_bytes(bytes).cmp(&wanted) {
                    std::cmp::Ordering::Equal => return Ok(true),
                    std::cmp::Ordering::Less => start = middle + 1,
                    std::cmp::Ordering::Greater => end = middle,
                }
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use logferry_mssql_format::page::PageId;

    use super::*;

    fn piece(n: u32) -> RowId {
        RowId { page: PageId::new(1 + (n % 3) as u16, n / 2), slot: (n % 7) as u16 }
    }

    #[test]
    fn pieces_are_found_wherever_they_are() {
        let mut made = Made::default();
        assert!(!made.contains(piece(0)).expect("no file is needed"));
        for n in (0..10_000).step_by(2) {
            made.insert(piece(n));
            // In no order, and some of them again.
            made.insert(piece(9_998 - n));
            if n % 1_000 == 0 {
                made.spill().expect("a temporary file");
                assert_eq!(made.here(), 0);
            }
        }
        let found: HashSet<u64> = (0..10_000).step_by(2).map(|n| number(piece(n))).collect();
        for n in 0..10_010 {
            let expect = found.contains(&number(piece(n)));
            assert_eq!(made.contains(piece(n)).expect("the file is read"), expect, "{n}");
        }
    }
}

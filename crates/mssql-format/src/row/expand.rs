//! Packed rows to cells: values of compressed rows, and vardecimals, in the form that an uncompressed row has them.

use super::compressed::{CdRecord, PackedCell, PageCompression, against_anchor};
use super::{FixedVar, OffRow, Place, RawCell, RowLayout};
use crate::bytes::{Malformed, Result};
use crate::{scsu, vardecimal};

/// How a column's values are packed in compressed rows: decided by its type, as Microsoft documents it in
/// ["Row compression implementation"](https://learn.microsoft.com/sql/relational-databases/data-compression/row-compression-implementation).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Packing {
    /// As it is: types of variable length, and what the format leaves alone.
    Plain,
    /// A descriptor, and no bytes.
    Bit,
    /// Without its padding at the end: `char` (0x20), `binary` and fixed types without an order of bytes (0).
    Padded {
        /// bytes of the value
        len: u16,
        /// what it is filled up with
        fill: u8,
    },
    /// A number of as few bytes as it needs, most significant first, its sign bit flipped: so 0x80 0x00 is 0. `datetime` is the
    /// number days * 2^32 + ticks.
    Integer {
        /// bytes of the value
        len: u16,
    },
    /// Without the zeroes in its low bytes: `float`, `real`, `smalldatetime`.
    LowTrimmed {
        /// bytes of the value
        len: u16,
    },
    /// A decimal of variable length.
    Decimal {
        /// bytes of the value
        len: u16,
        /// digits
        precision: u8,
        /// digits after the point
        scale: u8,
    },
    /// `nvarchar(n)`: UTF-16, or a stream of [`scsu`].
    Unicode,
    /// `nchar(n)`: the same, without spaces at the end.
    PaddedUnicode {
        /// bytes of the value
        len: u16,
    },
}

/// The cells of a packed row. Its memory is used again for the next.
#[derive(Debug, Default)]
pub struct Expanded {
    bytes: Vec<u8>,
    cells: Vec<Cell>,
}

#[derive(Clone, Copy, Debug)]
enum Cell {
    Null,
    Missing,
    Bytes { start: u32, end: u32 },
    OffRow { start: u32, end: u32 },
}

impl RowLayout {
    /// Reads a packed row (see [`RowLayout::is_packed`]) into `out`; `page` is what the rows of its page share.
    ///
    /// # Errors
    /// Where the record is malformed or a value is none of its type's.
    pub fn expand(&self, row: &[u8], page: Option<&PageCompression<'_>>, out: &mut Expanded) -> Result<()> {
        out.bytes.clear();
        out.cells.clear();
        out.cells.resize(self.columns().len(), Cell::Missing);
        if self.is_compressed() {
            let record = CdRecord::read(row)?;
            if let Some(max) = self.columns_max().filter(|&max| record.column_count() > max) {
                let what = format!("a compressed row has {} columns, its table {max}", record.column_count());
                return Err(Malformed::new(what, 1));
            }
            for (index, cell) in record.cells().enumerate() {
                // Dropped columns and uniquifiers are nobody's.
                if let Some((column, packing)) = self.packed_at(index) {
                    let cell = out
                        .unpack(packing, cell?, page, index)
                        .map_err(|e| e.within(format_args!("column {column}")))?;
                    if let Some(place) = out.cells.get_mut(column) {
                        *place = cell;
                    }
                }
            }
            return Ok(());
        }
        let columns_then = FixedVar::read(row)?.column_count();
        let mut cells = Vec::new();
        self.stored(row, &mut cells)?;
        for (at, (cell, column)) in cells.iter().zip(self.columns()).enumerate() {
            if column.null_bit >= columns_then && columns_then != 0 {
                continue;
            }
            let cell = match (cell, column.place) {
                (RawCell::Null, _) => Cell::Null,
                (RawCell::Bytes(stored), Place::VarDecimal { len, precision, scale, .. }) => {
                    let packing = Packing::Decimal { len, precision, scale };
                    out.value(packing, stored, &[]).map_err(|e| e.within(format_args!("column {at}")))?
                }
                (RawCell::Bytes(stored), _) => out.push(stored),
                (RawCell::OffRow(pointer), _) => out.pointer(pointer.bytes()),
            };
            if let Some(place) = out.cells.get_mut(at) {
                *place = cell;
            }
        }
        Ok(())
    }
}

impl Expanded {
    /// Replaces `cells` by the cells of the row, in the order of the layout that it was expanded by.
    pub fn cells<'a>(&'a self, layout: &'a RowLayout, cells: &mut Vec<RawCell<'a>>) -> Result<()> {
        cells.clear();
        let part = |start: u32, end: u32| self.bytes.get(start as usize..end as usize).unwrap_or_default();
        for (cell, column) in self.cells.iter().zip(layout.columns()) {
            cells.push(match *cell {
                Cell::Null => RawCell::Null,
                Cell::Missing => column.missing.as_deref().map_or(RawCell::Null, RawCell::Bytes),
                Cell::Bytes { start, end } => RawCell::Bytes(part(start, end)),
                Cell::OffRow { start, end } => RawCell::OffRow(OffRow::read(part(start, end))?),
            });
        }
        Ok(())
    }

    fn unpack(
        &mut self,
        packing: Packing,
        cell: PackedCell<'_>,
        page: Option<&PageCompression<'_>>,
        index: usize,
    ) -> Result<Cell> {
        let anchor = page.map_or(PackedCell::Null, |page| page.anchor(index));
        if packing == Packing::Bit {
            return match (cell, anchor) {
                (PackedCell::Null, _) => Ok(Cell::Null),
                (PackedCell::True, _) => Ok(self.push(&[1])),
                (PackedCell::Bytes(&[]), PackedCell::Null | PackedCell::Bytes(&[])) => Ok(self.push(&[0])),
                (other, anchor) => Err(Malformed::new(format!("a bit is {other:?}, its anchor {anchor:?}"), 0)),
            };
        }
        let stored = match cell {
            PackedCell::Null => return Ok(Cell::Null),
            PackedCell::Pointer(bytes) => return Ok(self.pointer(bytes)),
            PackedCell::Bytes(stored) => stored,
            PackedCell::Symbol(symbol) => {
                let page =
                    page.ok_or_else(|| Malformed::new("a value is a word of a dictionary, the page has none", 0))?;
                page.word(symbol)?
            }
            PackedCell::True => return Err(Malformed::new("a value that is no bit is a bit", 0)),
        };
        match anchor {
            PackedCell::Null => self.value(packing, stored, &[]),
            PackedCell::Bytes(anchor) => {
                let (prefix, rest) = against_anchor(stored, anchor)?;
                self.value(packing, prefix, rest)
            }
            other => Err(Malformed::new(format!("an anchor is {other:?}"), 0)),
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Cell {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.from(start)
    }

    fn pointer(&mut self, bytes: &[u8]) -> Cell {
        match self.push(bytes) {
            Cell::Bytes { start, end } => Cell::OffRow { start, end },
            other => other,
        }
    }

    fn from(&self, start: usize) -> Cell {
        // A row has less than 64 KiB, and no type expands to more than 8,000 bytes.
        Cell::Bytes { start: start as u32, end: self.bytes.len() as u32 }
    }

    /// Unpacks a value of two parts.
    fn value(&mut self, packing: Packing, prefix: &[u8], rest: &[u8]) -> Result<Cell> {
        let start = self.bytes.len();
        let stored = prefix.len() + rest.len();
        let room = |len: u16| {
            let len = usize::from(len);
            let too_long = || Malformed::new(format!("{stored} bytes are stored of a value of {len}"), 0);
            len.checked_sub(stored).ok_or_else(too_long)
        };
        match packing {
            Packing::Plain | Packing::Bit => {
                self.bytes.extend_from_slice(prefix);
                self.bytes.extend_from_slice(rest);
            }
            Packing::Padded { len, fill } => {
                room(len)?;
                self.bytes.extend_from_slice(prefix);
                self.bytes.extend_from_slice(rest);
                self.bytes.resize(start + usize::from(len), fill);
            }
            Packing::LowTrimmed { len } => {
                self.bytes.resize(start + room(len)?, 0);
                self.bytes.extend_from_slice(prefix);
                self.bytes.extend_from_slice(rest);
            }
            Packing::Integer { len } => {
                let more = room(len)?;
                self.bytes.extend(rest.iter().rev());
                self.bytes.extend(prefix.iter().rev());
                let sign = match self.bytes.get_mut(start..).and_then(<[u8]>::last_mut) {
                    Some(top) => {
                        *top ^= 0x80;
                        if *top & 0x80 != 0 { 0xFF } else { 0 }
                    }
                    None => 0,
                };
                self.bytes.resize(start + stored + more, sign);
            }
            Packing::Decimal { len, precision, scale } => {
                let whole;
                let stored = match rest {
                    [] => prefix,
                    _ => {
                        whole = [prefix, rest].concat();
                        &whole
                    }
                };
                vardecimal::expand(stored, precision, scale, usize::from(len), &mut self.bytes)?;
            }
            Packing::Unicode => self.unicode(prefix, rest)?,
            Packing::PaddedUnicode { len } => {
                self.unicode(prefix, rest)?;
                let len = usize::from(len);
                if self.bytes.len() - start > len {
                    return Err(Malformed::new(
                        format!("text of {} bytes in nchar of {len}", self.bytes.len() - start),
                        0,
                    ));
                }
                while self.bytes.len() - start < len {
                    self.bytes.extend([b' ', 0]);
                }
                self.bytes.truncate(start + len);
            }
        }
        Ok(self.from(start))
    }

    fn unicode(&mut self, prefix: &[u8], rest: &[u8]) -> Result<()> {
        if (prefix.len() + rest.len()).is_multiple_of(2) {
            self.bytes.extend_from_slice(prefix);
            self.bytes.extend_from_slice(rest);
            return Ok(());
        }
        if rest.is_empty() {
            return scsu::expand(prefix, &mut self.bytes);
        }
        let whole = [prefix, rest].concat();
        scsu::expand(&whole, &mut self.bytes)
    }
}

//! Rows: the records on data, index and LOB pages; those of compressed tables have another form, which is in [`compressed`].
//!
//! ```text
//! 0      1      2            4                fixed      +2        +2+(n+7)/8
//! +------+------+------------+----------------+----------+---------+----------+-------------+-----------+--------+
//! | stat | stat | end of     | fixed columns  | columns n| NULLs   | variable | ends, u16   | variable  | version|
//! | A    | B    | fixed part |                |          | bitmap  | count v  | each        | data      | tag 14 |
//! +------+------+------------+----------------+----------+---------+----------+-------------+-----------+--------+
//! ```
//!
//! A record does not say where its columns are: [`RowLayout`] does, compiled once from `sysrscols`. What surprises:
//!
//! * The record counts the columns that the table had *when the row was last written*. A column that was added since is not
//!   there: it is NULL, or the default that was given with it ([`PhysicalColumn::missing`]).
//! * Empty values at the end of the variable part are not stored, and dropped columns keep their bytes.
//! * The top bit of an end offset says that the value is not plain: a pointer to a value outside the row
//!   ([`OffRow`]), the vector of sparse columns, or the place that a forwarded record came from (always its last
//!   variable column).
//! * Up to eight `bit` columns share a byte.
//!
//! Observed the same on 2005 to 2025.

pub mod compressed;
mod expand;
mod layout;
mod off_row;

pub use expand::{Expanded, Packing};
pub use layout::{PhysicalColumn, Place, PlainRow, RowLayout};
pub use off_row::{Link, OffRow, OffRowKind};

use crate::bytes::{Malformed, Result, array, u8_at, u16_at};
use crate::page::RowId;

/// Bits of a record's first byte.
pub mod status {
    /// Set in records of compressed tables only, which have another form.
    pub const COMPRESSED: u8 = 0x01;
    /// A NULL bitmap follows the fixed part.
    pub const NULLS: u8 = 0x10;
    /// There are variable columns.
    pub const VARIABLE: u8 = 0x20;
    /// A version tag of 14 bytes ends the record; compressed ones say so elsewhere ([`has_version_tag`](super::has_version_tag)).
    pub const VERSION_TAG: u8 = 0x40;
}

/// Whether a version tag ends the record, by its first byte.
#[inline]
pub fn has_version_tag(first: u8) -> bool {
    let flag = if first & status::COMPRESSED != 0 { compressed::VERSION_TAG } else { status::VERSION_TAG };
    first & flag != 0
}

/// Bytes of the tag that row versioning adds: pointer to the older version (8), transaction sequence number (6).
pub const VERSION_TAG_SIZE: usize = 14;
/// Bytes of a forwarding stub: status, page, file, slot.
pub const STUB_SIZE: usize = 9;

/// What kind of record it is: bits 1 to 3 of the first byte, in compressed rows bits 2 to 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// A row.
    Primary,
    /// A row of a heap that moved here from another page.
    Forwarded,
    /// What a moved row leaves behind: where it is now.
    Stub,
    /// An entry of an index.
    Index,
    /// A piece of a LOB.
    Blob,
    /// A deleted entry of an index.
    GhostIndex,
    /// A deleted row of a clustered index that was not cleaned up yet.
    GhostData,
    /// A deleted row that is kept for its version tag alone.
    GhostVersion,
}

impl RecordKind {
    /// The kind that a record's first byte tells.
    #[inline]
    pub fn of(status: u8) -> Self {
        if status & status::COMPRESSED != 0 {
            return Self::of_compressed(status);
        }
        match status >> 1 & 7 {
            0 => RecordKind::Primary,
            1 => RecordKind::Forwarded,
            2 => RecordKind::Stub,
            3 => RecordKind::Index,
            4 => RecordKind::Blob,
            5 => RecordKind::GhostIndex,
            6 => RecordKind::GhostData,
            _ => RecordKind::GhostVersion,
        }
    }

    fn of_compressed(header: u8) -> Self {
        match header >> 2 & 7 {
            0 => RecordKind::Primary,
            1 => RecordKind::GhostVersion,
            2 => RecordKind::Stub,
            4 => RecordKind::Forwarded,
            6 => RecordKind::Index,
            7 => RecordKind::GhostIndex,
            // Ghost rows, and ghosts of rows that moved.
            _ => RecordKind::GhostData,
        }
    }

    /// A record's first byte with this kind in place of its own; the kinds that have no number of their own in compressed rows are those of
    /// plain ones.
    pub(crate) fn written_to(self, status: u8) -> u8 {
        if status & status::COMPRESSED != 0 {
            let kind = match self {
                RecordKind::Primary | RecordKind::Blob => 0,
                RecordKind::GhostVersion => 1,
                RecordKind::Stub => 2,
                RecordKind::GhostData => 3,
                RecordKind::Forwarded => 4,
                RecordKind::Index => 6,
                RecordKind::GhostIndex => 7,
            };
            return status & !0x1C | kind << 2;
        }
        let kind = match self {
            RecordKind::Primary => 0,
            RecordKind::Forwarded => 1,
            RecordKind::Stub => 2,
            RecordKind::Index => 3,
            RecordKind::Blob => 4,
            RecordKind::GhostIndex => 5,
            RecordKind::GhostData => 6,
            RecordKind::GhostVersion => 7,
        };
        status & !0x0E | kind << 1
    }

    /// Whether it was deleted.
    pub fn is_ghost(self) -> bool {
        matches!(self, RecordKind::GhostIndex | RecordKind::GhostData | RecordKind::GhostVersion)
    }
}

/// A cell as its row holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawCell<'a> {
    /// SQL NULL.
    Null,
    /// The value.
    Bytes(&'a [u8]),
    /// The value is outside the row.
    OffRow(OffRow<'a>),
}

/// A record with a fixed and a variable part, its bounds checked.
#[derive(Clone, Copy, Debug)]
pub struct FixedVar<'a> {
    bytes: &'a [u8],
    status: u8,
    fixed_end: usize,
    columns: u16,
    nulls: &'a [u8],
    ends: &'a [[u8; 2]],
    data: usize,
}

/// A column of the variable part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable<'a> {
    /// What is stored.
    pub bytes: &'a [u8],
    /// Not a plain value: a pointer or a sparse vector.
    pub complex: bool,
}

impl<'a> FixedVar<'a> {
    /// Reads a row of a data page, from its first byte; what follows it does not matter.
    #[inline]
    pub fn read(row: &'a [u8]) -> Result<Self> {
        match Self::glance(row) {
            Some(record) => Ok(record),
            None => Self::read_or_say_why(row),
        }
    }

    /// What [`read`](Self::read) reads, without what is wrong: every row of a log comes by here, some several times.
    #[inline]
    fn glance(row: &'a [u8]) -> Option<Self> {
        let &[status, _, low, high] = row.first_chunk()?;
        // By their numbers, see `RecordKind::of`: rows, rows that moved, and the ghosts of both.
        let is_row = 0b1100_0011 >> (status >> 1 & 7) & 1 == 1 && status & status::COMPRESSED == 0;
        let fixed_end = usize::from(u16::from_le_bytes([low, high]));
        if !is_row || fixed_end < 4 || fixed_end > row.len() {
            return None;
        }
        let mut record = FixedVar { bytes: row, status, fixed_end, columns: 0, nulls: &[], ends: &[], data: fixed_end };
        let number_at = |at: usize| row.get(at..)?.first_chunk().map(|number| u16::from_le_bytes(*number));
        if status & status::NULLS != 0 {
            record.columns = number_at(record.data)?;
            let start = record.data + 2;
            record.data = start + usize::from(record.columns).div_ceil(8);
            record.nulls = row.get(start..record.data)?;
        }
        if status & status::VARIABLE != 0 {
            let count = usize::from(number_at(record.data)?);
            let start = record.data + 2;
            record.data = start + 2 * count;
            record.ends = row.get(start..record.data)?.as_chunks().0;
        }
        Some(record)
    }

    #[cold]
    fn read_or_say_why(row: &'a [u8]) -> Result<Self> {
        let status = u8_at(row, 0, "row status")?;
        if matches!(
            RecordKind::of(status),
            RecordKind::Stub | RecordKind::Blob | RecordKind::Index | RecordKind::GhostIndex
        ) {
            return Err(Malformed::new(format!("a row was expected, not a {:?} record", RecordKind::of(status)), 0));
        }
        if status & status::COMPRESSED != 0 {
            return Err(Malformed::new("the row is compressed", 0));
        }
        let fixed_end = usize::from(u16_at(row, 2, "end of the fixed part")?);
        if fixed_end < 4 {
            return Err(Malformed::new(format!("the fixed part ends at {fixed_end}, before it begins"), 2));
        }
        Self::after_fixed(row, status, fixed_end)
    }

    /// Reads an entry of an index, or a key in the log: the fixed part begins at byte 1 and ends where the page (its
    /// `min_len`) or the key's columns say.
    pub fn read_index(row: &'a [u8], fixed_end: usize) -> Result<Self> {
        let status = u8_at(row, 0, "index entry status")?;
        if status & status::COMPRESSED != 0 {
            return Err(Malformed::new("the index entry is compressed", 0));
        }
        Self::after_fixed(row, status, fixed_end)
    }

    fn after_fixed(row: &'a [u8], status: u8, fixed_end: usize) -> Result<Self> {
        if fixed_end > row.len() {
            return Err(Malformed::new(
                format!("the fixed part ends at {fixed_end}, {} bytes are there", row.len()),
                2,
            ));
        }
        let mut record = FixedVar { bytes: row, status, fixed_end, columns: 0, nulls: &[], ends: &[], data: fixed_end };
        if status & status::NULLS != 0 {
            record.columns = u16_at(row, record.data, "number of columns")?;
            let start = record.data + 2;
            let len = usize::from(record.columns).div_ceil(8);
            record.nulls = part(row, start, len, "NULL bitmap")?;
            record.data = start + len;
        }
        if status & status::VARIABLE != 0 {
            let count = usize::from(u16_at(row, record.data, "number of variable columns")?);
            let start = record.data + 2;
            record.ends = part(row, start, 2 * count, "ends of the variable columns")?.as_chunks().0;
            record.data = start + 2 * count;
        }
        Ok(record)
    }

    /// What kind of record it is.
    pub fn kind(&self) -> RecordKind {
        RecordKind::of(self.status)
    }

    /// Bytes from the begin of the row.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where the fixed part ends.
    pub fn fixed_end(&self) -> usize {
        self.fixed_end
    }

    /// Columns that the table had when the row was written last; 0 where the row has no NULL bitmap.
    pub fn column_count(&self) -> u16 {
        self.columns
    }

    /// Whether any bit is set in the NULL bitmap, be it a column's or not: most rows have none.
    fn has_nulls(&self) -> bool {
        self.nulls.iter().any(|&byte| byte != 0)
    }

    /// Whether the column's bit (from 0) is set in the NULL bitmap.
    #[inline]
    pub fn is_null(&self, bit: u16) -> bool {
        self.nulls.get(usize::from(bit / 8)).is_some_and(|byte| byte >> (bit % 8) & 1 != 0)
    }

    /// `len` bytes of the fixed part.
    pub fn fixed(&self, offset: usize, len: usize) -> Result<&'a [u8]> {
        match self.bytes.get(offset..offset.saturating_add(len)) {
            Some(bytes) if offset + len <= self.fixed_end => Ok(bytes),
            _ => Err(Malformed::new(
                format!("{len} bytes wanted of a fixed part that ends at {}", self.fixed_end),
                offset,
            )),
        }
    }

    /// `N` bytes of the fixed part.
    pub fn fixed_array<const N: usize>(&self, offset: usize) -> Result<[u8; N]> {
        array(self.fixed(offset, N)?, 0, "fixed column")
    }

    /// Number of variable columns that are stored, without the back pointer of a forwarded record.
    pub fn variable_count(&self) -> usize {
        match self.kind() {
            RecordKind::Forwarded => self.ends.len().saturating_sub(1),
            _ => self.ends.len(),
        }
    }

    /// A variable column, from 0; `None` where it is past the last that is stored: empty.
    pub fn variable(&self, index: usize) -> Result<Option<Variable<'a>>> {
        if index >= self.variable_count() {
            return Ok(None);
        }
        self.variable_at(index).map(Some)
    }

    /// Whether all variable columns lie in the row, one behind the other, and are values.
    #[inline]
    fn is_plain(&self) -> bool {
        let mut start = self.data;
        let in_order = self.ends.iter().all(|end| {
            // The top bit makes the end lie behind every row.
            let end = usize::from(u16::from_le_bytes(*end));
            let is_behind = end >= start && end <= self.bytes.len();
            start = end;
            is_behind
        });
        in_order && self.kind() != RecordKind::Forwarded
    }

    /// Where a variable column of a row that [is plain](Self::is_plain) lies.
    #[inline]
    fn plain_variable(&self, index: usize) -> std::ops::Range<u16> {
        let end_of = |index: usize| self.ends.get(index).map(|end| u16::from_le_bytes(*end));
        let Some(end) = end_of(index) else { return 0..0 };
        // It does not lie behind the first end.
        index.checked_sub(1).and_then(end_of).unwrap_or(self.data as u16)..end
    }

    fn variable_at(&self, index: usize) -> Result<Variable<'a>> {
        let end = self.ends.get(index).map_or(0, |end| u16::from_le_bytes(*end));
        let start = match index.checked_sub(1).and_then(|before| self.ends.get(before)) {
            Some(end) => usize::from(u16::from_le_bytes(*end) & 0x7FFF),
            None => self.data,
        };
        match self.bytes.get(start..usize::from(end & 0x7FFF)) {
            Some(bytes) => Ok(Variable { bytes, complex: end & 0x8000 != 0 }),
            None => Err(Malformed::new(
                format!(
                    "variable column {index} runs from {start} to {}, the row has {} bytes",
                    end & 0x7FFF,
                    self.bytes.len()
                ),
                start,
            )),
        }
    }

    /// Where a forwarded record came from: the row id under which its heap knows it.
    pub fn forwarded_from(&self) -> Result<Option<RowId>> {
        if self.kind() != RecordKind::Forwarded {
            return Ok(None);
        }
        let Some(last) = self.ends.len().checked_sub(1) else {
            return Err(Malformed::new("a forwarded record has no back pointer", 0));
        };
        let pointer = self.variable_at(last)?;
        RowId::read(pointer.bytes, 2, "back pointer of a forwarded record").map(Some)
    }

    /// The version tag, where there is one: pointer to the older version, transaction sequence number.
    pub fn version_tag(&self) -> Result<Option<&'a [u8]>> {
        if self.status & status::VERSION_TAG == 0 {
            return Ok(None);
        }
        let end = self.len_without_tag();
        part(self.bytes, end, VERSION_TAG_SIZE, "version tag").map(Some)
    }

    fn len_without_tag(&self) -> usize {
        match self.ends.last() {
            Some(end) => usize::from(u16::from_le_bytes(*end) & 0x7FFF).max(self.data),
            None => self.data,
        }
    }

    /// Length of the record, with its version tag.
    #[inline]
    pub fn record_len(&self) -> Result<usize> {
        let tag = if self.status & status::VERSION_TAG != 0 { VERSION_TAG_SIZE } else { 0 };
        let len = self.len_without_tag() + tag;
        if len > self.bytes.len() {
            return Err(Malformed::new(format!("the record has {len} bytes, {} are there", self.bytes.len()), 0));
        }
        Ok(len)
    }
}

/// Where a forwarding stub points.
pub fn stub_target(row: &[u8]) -> Result<RowId> {
    let status = u8_at(row, 0, "row status")?;
    if status & status::COMPRESSED != 0 {
        return Err(Malformed::new("the forwarding stub is compressed", 0));
    }
    match RecordKind::of(status) {
        RecordKind::Stub => RowId::read(row, 1, "forwarding stub"),
        kind => Err(Malformed::new(format!("a forwarding stub was expected, not a {kind:?} record"), 0)),
    }
}

/// Length of a record on a page: rows, stubs, index entries (leaf and upper levels), LOB records, and the records of
/// allocation pages. `row` begins with the record and may go on after it; `min_len` is what the page's header says.
///
/// # Errors
/// For records that do not fit into `row`, and for compressed ones whose end is not known ([`CdRecord::record_len`](compressed::CdRecord::record_len)).
pub fn row_len(row: &[u8], min_len: u16) -> Result<usize> {
    if let Some(record) = FixedVar::glance(row)
        && let Ok(len) = record.record_len()
    {
        return Ok(len);
    }
    other_record_len(row, min_len)
}

/// The same, of records that are no rows, and those that are wrong.
fn other_record_len(row: &[u8], min_len: u16) -> Result<usize> {
    let status = u8_at(row, 0, "row status")?;
    let tag = if status & status::VERSION_TAG != 0 { VERSION_TAG_SIZE } else { 0 };
    let len = match RecordKind::of(status) {
        _ if status & status::COMPRESSED != 0 => compressed::CdRecord::read(row)?.record_len()?,
        RecordKind::Stub => STUB_SIZE + tag,
        RecordKind::Blob => usize::from(u16_at(row, 2, "length of a LOB record")?).max(4),
        RecordKind::Index | RecordKind::GhostIndex => FixedVar::read_index(row, usize::from(min_len))?.record_len()?,
        _ => FixedVar::read(row)?.record_len()?,
    };
    if len > row.len() {
        return Err(Malformed::new(format!("the record has {len} bytes, {} are there", row.len()), 0));
    }
    Ok(len)
}

fn part<'a>(row: &'a [u8], start: usize, len: usize, what: &'static str) -> Result<&'a [u8]> {
    crate::bytes::slice(row, start, len, what)
}

#[cfg(test)]
mod tests;

//! Rows of tables with `DATA_COMPRESSION = ROW` or `PAGE`: records in the *column descriptor* format.
//!
//! ```text
//! 0        1                 descriptors           short data                     long data, where bit 5 of the header is set
//! +--------+-----------------+---------------------+------------------------------+--------------------------------------------+-----------+
//! | header | columns n: 1 or | 4 bits per column,  | lengths of the clusters but  | flags u8 | count v u16 | v ends u16 | long  | version   |
//! |        | 2 bytes         | low half first      | the last, u8 each; values    | columns per cluster but the last | values | tag 14    |
//! +--------+-----------------+---------------------+------------------------------+--------------------------------------------+-----------+
//! ```
//!
//! A descriptor is 0: NULL; 1: no bytes; 2 to 9: 1 to 8 bytes among the short data; 10: long data; 11: a bit that is true; 12: one byte
//! among the short data, the number of a word in the page's dictionary. A cluster has 30 columns, so up to 30 there are no lengths of clusters. The
//! top bit of an end of long data says that the value is a pointer out of the row, as in uncompressed rows.
//!
//! With `PAGE` many pages have a *compression information record* in front of their rows:
//!
//! ```text
//! 0 flags   1 changes u16   3 u16 offset of the dictionary, where there is one   then u16 size of all   anchor record   dictionary
//!   2 anchor, 4 dictionary                                                                              count u16, ends u16 from its begin, words
//! ```
//!
//! The anchor record has a value per column that is not NULL where that column has a common prefix. A value of such a column
//! is a prefix's length (7 bits; with the top bit set, 15 bits in two bytes) and what comes behind it; *no bytes* stands for all of the anchor.
//! Words of the dictionary are of that form, too, where they stand in such a column, so columns with and without an anchor may share them.
//!
//! The format is known from SQL Server 2008 Internals, chapter 7, as OrcaMDF and Internals Viewer read it, and from records and a compression
//! information record that these published, which are among the tests. In files at hand there is one such table, without rows: its
//! `sysrscols` says that columns of compressed rows have negative offsets, from -1, in the order of their NULL bits. What one
//! source says alone, or two say differently, is refused here: one-byte ends of long data, a `bit` column with an anchor.
//!
//! # In the log
//!
//! No log with such rows is at hand. Published is that they are logged in the form that `ROW` gives them, also where their page is compressed
//! as a whole ([Paul Randal](https://www.sqlskills.com/blogs/paul/conference-questions-pot-pourri-9-qa-around-compression-features/);
//! Pro SQL Server Internals says the same). Assumed is the rest:
//!
//! * On a page *without* compression information the record of the log is the record of the page, and offsets in it count from its begin, as
//!   with all other rows. A ghost is kind 3, the other bits of its header stay.
//! * On a page *with* it the two differ, and how is not known: changes of such pages are not redone. Nor are those of heap rows that move, of
//!   entries of indexes, and COMPRESSION_INFO.
//!
//! So redo checks what can be checked: every row that comes, and every row that a change leaves, is a record to its last byte
//! ([`CdRecord::read_whole`]); what was there before is compared with the page, as ever. A wrong guess is an error, not another row.

use super::{RecordKind, VERSION_TAG_SIZE};
use crate::bytes::{Malformed, Result, slice, u8_at, u16_at};
use crate::page::{HEADER_SIZE, Page, PageType};
use crate::row::status;

const CLUSTER: usize = 30;
/// In the header: a version tag ends the record.
pub(crate) const VERSION_TAG: u8 = 0x02;
const LONG_DATA: u8 = 0x20;
const TWO_BYTE_ENDS: u8 = 0x01;
const HAS_ANCHOR: u8 = 0x02;
const HAS_DICTIONARY: u8 = 0x04;
/// [`crate::page::PageHeader::type_flags`]
const HAS_COMPRESSION_INFORMATION: u8 = 0x80;
/// More columns than a table can have.
const COLUMNS_MAX: usize = 1024 + 16;

/// A value as a compressed row holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackedCell<'a> {
    /// SQL NULL.
    Null,
    /// A value, perhaps of no bytes; in the row, or a word of the dictionary.
    Bytes(&'a [u8]),
    /// A pointer to a value outside the row.
    Pointer(&'a [u8]),
    /// A `bit` that is 1.
    True,
    /// The number of a word in the page's dictionary.
    Symbol(u8),
}

/// A record in the column descriptor format.
#[derive(Clone, Copy, Debug)]
pub struct CdRecord<'a> {
    bytes: &'a [u8],
    header: u8,
    columns: usize,
    descriptors: &'a [u8],
    short: usize,
    long: Option<LongData<'a>>,
    /// Where the last value ends.
    end: usize,
}

#[derive(Clone, Copy, Debug)]
struct LongData<'a> {
    ends: &'a [[u8; 2]],
    start: usize,
}

impl<'a> CdRecord<'a> {
    /// Reads a record from its first byte; what follows it does not matter.
    pub fn read(row: &'a [u8]) -> Result<Self> {
        let header = u8_at(row, 0, "row header")?;
        if header & status::COMPRESSED == 0 {
            return Err(Malformed::new("the row is not compressed", 0));
        }
        if RecordKind::of(header) == RecordKind::Stub {
            return Err(Malformed::new("a row was expected, not a forwarding stub", 0));
        }
        let (columns, descriptors_at) = internal_number(row, 1, "number of columns")?;
        if columns == 0 || columns > COLUMNS_MAX {
            return Err(Malformed::new(format!("a compressed row has {columns} columns"), 1));
        }
        let descriptors = slice(row, descriptors_at, columns.div_ceil(2), "column descriptors")?;
        let clusters = (columns - 1) / CLUSTER;
        let lengths_at = descriptors_at + descriptors.len();
        let lengths = slice(row, lengths_at, clusters, "lengths of the clusters")?;
        let short = lengths_at + clusters;
        let mut record = CdRecord { bytes: row, header, columns, descriptors, short, long: None, end: short };

        let (mut longs, mut cluster_start) = (0, short);
        for column in 0..columns {
            if column != 0 && column % CLUSTER == 0 {
                let len = record.end - cluster_start;
                if lengths.get(column / CLUSTER - 1).is_none_or(|&said| usize::from(said) != len) {
                    return Err(Malformed::new(
                        format!("a cluster of columns has {len} bytes, not as it says"),
                        lengths_at,
                    ));
                }
                cluster_start = record.end;
            }
            match record.descriptor(column) {
                descriptor @ 0..=9 => record.end += short_len(descriptor),
                10 => longs += 1,
                11 => {}
                12 => record.end += 1,
                other => return Err(Malformed::new(format!("column {column} has the unknown descriptor {other}"), 1)),
            }
        }
        slice(row, short, record.end - short, "short data")?;
        if header & LONG_DATA != 0 {
            let flags = u8_at(row, record.end, "long data")?;
            if flags & TWO_BYTE_ENDS == 0 {
                return Err(Malformed::new(format!("long data of the unknown form {flags:#04x}"), record.end));
            }
            let count = usize::from(u16_at(row, record.end + 1, "number of long values")?);
            let ends = slice(row, record.end + 3, 2 * count, "ends of the long values")?.as_chunks().0;
            let start = record.end + 3 + 2 * count + clusters;
            let len = ends.last().map_or(0, |&end| usize::from(u16::from_le_bytes(end) & 0x7FFF));
            slice(row, start, len, "long data")?;
            record.long = Some(LongData { ends, start });
            record.end = start + len;
        }
        let stored = record.long.map_or(0, |long| long.ends.len());
        if stored != longs {
            return Err(Malformed::new(format!("{longs} columns have long values, {stored} are there"), 1));
        }
        Ok(record)
    }

    /// What kind of record it is.
    pub fn kind(&self) -> RecordKind {
        RecordKind::of(self.header)
    }

    /// Columns that the table had when the row was written last.
    pub fn column_count(&self) -> usize {
        self.columns
    }

    /// Bytes of the record up to the end of its last value: what follows are a back pointer and a version tag, if any.
    pub fn values_end(&self) -> usize {
        self.end
    }

    /// Length of the record, with its version tag.
    ///
    /// # Errors
    /// Where it goes on behind the bytes that are there, and for a row that moved within a heap: how it keeps where it came from is not
    /// published.
    pub fn record_len(&self) -> Result<usize> {
        if self.kind() == RecordKind::Forwarded {
            return Err(Malformed::new("a compressed row that moved within its heap has an unknown end", self.end));
        }
        let tag = if self.header & VERSION_TAG != 0 { VERSION_TAG_SIZE } else { 0 };
        slice(self.bytes, self.end, tag, "version tag")?;
        Ok(self.end + tag)
    }

    /// Reads a record that `row` is, to its last byte.
    ///
    /// # Errors
    /// Where it is none, and where anything is left over.
    pub fn read_whole(row: &'a [u8]) -> Result<Self> {
        let record = Self::read(row)?;
        let len = record.record_len()?;
        if len != row.len() {
            return Err(Malformed::new(format!("a compressed row of {len} bytes stands in {}", row.len()), len));
        }
        Ok(record)
    }

    fn descriptor(&self, column: usize) -> u8 {
        let byte = self.descriptors.get(column / 2).copied().unwrap_or_default();
        if column.is_multiple_of(2) { byte & 0x0F } else { byte >> 4 }
    }

    /// The values of the columns, in order.
    pub fn cells(&self) -> impl Iterator<Item = Result<PackedCell<'a>>> + use<'a> {
        let record = *self;
        let (mut short, mut long) = (record.short, 0);
        (0..record.columns).map(move |column| {
            let mut take = |len| {
                let bytes = slice(record.bytes, short, len, "short value")?;
                short += len;
                Ok(bytes)
            };
            match record.descriptor(column) {
                0 => Ok(PackedCell::Null),
                11 => Ok(PackedCell::True),
                12 => u8_at(take(1)?, 0, "symbol").map(PackedCell::Symbol),
                10 => {
                    long += 1;
                    record.long_value(long - 1)
                }
                descriptor => take(short_len(descriptor)).map(PackedCell::Bytes),
            }
        })
    }

    fn long_value(&self, index: usize) -> Result<PackedCell<'a>> {
        let end_of = |long: &LongData<'a>, index: usize| long.ends.get(index).map(|end| u16::from_le_bytes(*end));
        let missing = || Malformed::new(format!("long value {index} is not there"), 0);
        let long = self.long.ok_or_else(missing)?;
        let end = end_of(&long, index).ok_or_else(missing)?;
        let start = match index.checked_sub(1) {
            Some(before) => usize::from(end_of(&long, before).ok_or_else(missing)? & 0x7FFF),
            None => 0,
        };
        let len = usize::from(end & 0x7FFF).checked_sub(start);
        let len = len.ok_or_else(|| Malformed::new(format!("long value {index} ends before it begins"), long.start))?;
        let bytes = slice(self.bytes, long.start + start, len, "long value")?;
        Ok(if end & 0x8000 != 0 { PackedCell::Pointer(bytes) } else { PackedCell::Bytes(bytes) })
    }
}

fn short_len(descriptor: u8) -> usize {
    usize::from(descriptor.saturating_sub(1))
}

/// A number of 7 bits, or with the top bit set of 15 bits, most significant byte first; and where it ends.
fn internal_number(bytes: &[u8], at: usize, what: &'static str) -> Result<(usize, usize)> {
    let first = u8_at(bytes, at, what)?;
    if first & 0x80 == 0 {
        return Ok((usize::from(first), at + 1));
    }
    let second = u8_at(bytes, at + 1, what)?;
    Ok((usize::from(first & 0x7F) << 8 | usize::from(second), at + 2))
}

/// What the rows of a page share: its compression information record.
#[derive(Clone, Debug, Default)]
pub struct PageCompression<'a> {
    /// Anchor of each column; NULL where it has none.
    anchors: Vec<PackedCell<'a>>,
    dictionary: &'a [u8],
    ends: &'a [[u8; 2]],
}

impl<'a> PageCompression<'a> {
    /// Reads that of a page; `None` where its rows are compressed each by itself.
    ///
    /// # Errors
    /// Where it is malformed, and where a page has none but looks as if it had.
    pub fn of_page(page: &Page<'a>) -> Result<Option<Self>> {
        let record = page.bytes().get(HEADER_SIZE..).unwrap_or_default();
        let first_row = (0..page.slot_count()).filter_map(|slot| page.slot(slot)).min().map_or(usize::MAX, usize::from);
        if page.header.type_flags & HAS_COMPRESSION_INFORMATION != 0 {
            let (compression, len) = Self::read(record).map_err(|e| e.within("compression information"))?;
            if first_row < HEADER_SIZE + len {
                return Err(Malformed::new("rows begin inside of the compression information", HEADER_SIZE));
            }
            return Ok(Some(compression));
        }
        let looks_so = page.header.page_type == PageType::DATA
            && Self::read(record).is_ok_and(|(_, len)| first_row != usize::MAX && HEADER_SIZE + len <= first_row);
        if looks_so {
            return Err(Malformed::new("the page has compression information, and its header does not say so", 2));
        }
        Ok(None)
    }

    /// Reads a record; gives its length, too.
    pub fn read(record: &'a [u8]) -> Result<(Self, usize)> {
        let flags = u8_at(record, 0, "flags")?;
        if flags & status::COMPRESSED != 0 || flags & HAS_ANCHOR == 0 {
            return Err(Malformed::new(format!("flags {flags:#04x} are not those of compression information"), 0));
        }
        let has_dictionary = flags & HAS_DICTIONARY != 0;
        let (dictionary_at, size, anchor_at) = if has_dictionary {
            (u16_at(record, 3, "offset of the dictionary")?, u16_at(record, 5, "size")?, 7)
        } else {
            let size = u16_at(record, 3, "size")?;
            (size, size, 5)
        };
        let size = usize::from(size);
        let record = slice(record, 0, size, "compression information")?;
        let anchor_len = usize::from(dictionary_at)
            .checked_sub(anchor_at)
            .ok_or_else(|| Malformed::new("the dictionary begins before the anchor record", 3))?;
        let anchor = CdRecord::read(slice(record, anchor_at, anchor_len, "anchor record")?)?;
        if anchor.values_end() != anchor_len {
            let what = format!("the anchor record has {} bytes, {anchor_len} are there", anchor.values_end());
            return Err(Malformed::new(what, anchor_at));
        }
        let anchors = anchor.cells().collect::<Result<_>>()?;
        let mut compression = PageCompression { anchors, ..Default::default() };
        if has_dictionary {
            let dictionary = slice(
                record,
                usize::from(dictionary_at),
                size.saturating_sub(usize::from(dictionary_at)),
                "dictionary",
            )?;
            let count = usize::from(u16_at(dictionary, 0, "number of words")?);
            compression.ends = slice(dictionary, 2, 2 * count, "ends of the words")?.as_chunks().0;
            compression.dictionary = dictionary;
            let end = compression.ends.last().map_or(2, |end| usize::from(u16::from_le_bytes(*end)));
            if end != dictionary.len() {
                return Err(Malformed::new(
                    format!("the words end at {end}, the dictionary at {}", dictionary.len()),
                    5,
                ));
            }
        }
        Ok((compression, size))
    }

    /// The words of the dictionary.
    pub fn words(&self) -> usize {
        self.ends.len()
    }

    /// A word of the dictionary.
    pub fn word(&self, symbol: u8) -> Result<&'a [u8]> {
        let index = usize::from(symbol);
        let end_of = |index: usize| self.ends.get(index).map(|end| usize::from(u16::from_le_bytes(*end)));
        let start = match index.checked_sub(1) {
            Some(before) => end_of(before),
            None => Some(2 + 2 * self.ends.len()),
        };
        start
            .zip(end_of(index))
            .and_then(|(start, end)| self.dictionary.get(start..end))
            .ok_or_else(|| Malformed::new(format!("word {symbol} is not in a dictionary of {}", self.ends.len()), 0))
    }

    /// The anchor of a column, from 0; NULL where it has none.
    pub fn anchor(&self, column: usize) -> PackedCell<'a> {
        self.anchors.get(column).copied().unwrap_or(PackedCell::Null)
    }
}

/// The bytes of a value that a row has against an anchor: its prefix of the anchor, and what comes behind it.
pub(super) fn against_anchor<'b>(stored: &'b [u8], anchor: &'b [u8]) -> Result<(&'b [u8], &'b [u8])> {
    if stored.is_empty() {
        return Ok((anchor, &[]));
    }
    let (len, rest) = internal_number(stored, 0, "length of a prefix")?;
    Ok((slice(anchor, 0, len, "prefix of an anchor")?, stored.get(rest..).unwrap_or_default()))
}

//! Pages: the 8 KiB units of a data file.
//!
//! ```text
//! 0              96                            free data            slot array      8192
//! +--------------+-----------------------------+--------------------+------------------+
//! | header       | rows, in any order          |                    | ... slot1 slot0  |
//! +--------------+-----------------------------+--------------------+------------------+
//! ```
//!
//! A slot is the offset of a row; slot `k` stands at `8192 - 2 * (k + 1)`. An offset of 0 is a free slot
//! (heaps and LOB pages keep them, so that a row's slot never changes).
//!
//! A page that was freed keeps its header and its rows: whether a page belongs to a table is said by the
//! allocation maps alone, never by the page.

use std::fmt;

use logferry_model::Lsn;

use crate::bytes::{Malformed, Result, array, lsn_at, u8_at, u16_at, u32_at};

/// Bytes of a page.
pub const PAGE_SIZE: usize = 8192;
/// Bytes of a page's header; rows begin here.
pub const HEADER_SIZE: usize = 96;
/// Pages of an extent, the unit of allocation.
pub const EXTENT_PAGES: u32 = 8;
const SECTOR: usize = 512;

/// Where in a page's header stands what is asked for more often than the whole.
mod at {
    pub(super) const MIN_LEN: usize = 14;
    pub(super) const SLOT_COUNT: usize = 22;
    pub(super) const FREE_DATA: usize = 30;
    pub(super) const GHOST_COUNT: usize = 58;
}

/// The bytes of one page.
pub type PageBytes = [u8; PAGE_SIZE];

/// Where a page is: file and page in it. Shown as `file:page`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PageId {
    /// File of the database, from 1.
    pub file: u16,
    /// Page of the file, from 0.
    pub page: u32,
}

impl PageId {
    /// A page id of its two parts.
    pub const fn new(file: u16, page: u32) -> Self {
        PageId { file, page }
    }

    /// Whether this is 0:0, which stands for "none".
    pub fn is_none(self) -> bool {
        self == PageId::default()
    }

    /// Reads the usual 6 bytes: `u32` page, `u16` file.
    #[inline]
    pub fn read(data: &[u8], offset: usize, what: &'static str) -> Result<Self> {
        let [p0, p1, p2, p3, f0, f1] = array(data, offset, what)?;
        Ok(PageId { file: u16::from_le_bytes([f0, f1]), page: u32::from_le_bytes([p0, p1, p2, p3]) })
    }

    /// Writes the usual 6 bytes.
    pub fn to_bytes(self) -> [u8; 6] {
        let [p0, p1, p2, p3] = self.page.to_le_bytes();
        let [f0, f1] = self.file.to_le_bytes();
        [p0, p1, p2, p3, f0, f1]
    }
}

impl fmt::Display for PageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.page)
    }
}

impl fmt::Debug for PageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a row is: page and slot. Shown as `file:page:slot`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RowId {
    /// The page.
    pub page: PageId,
    /// The slot on it.
    pub slot: u16,
}

impl RowId {
    /// Reads the usual 8 bytes: page id, `u16` slot.
    #[inline]
    pub fn read(data: &[u8], offset: usize, what: &'static str) -> Result<Self> {
        let page = PageId::read(data, offset, what)?;
        Ok(RowId { page, slot: u16_at(data, offset.saturating_add(6), what)? })
    }

    /// Writes the usual 8 bytes.
    pub fn to_bytes(self) -> [u8; 8] {
        let [a, b, c, d, e, f] = self.page.to_bytes();
        let [g, h] = self.slot.to_le_bytes();
        [a, b, c, d, e, f, g, h]
    }
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.page, self.slot)
    }
}

impl fmt::Debug for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a page holds. Codes that are not named here stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageType(pub u8);

impl PageType {
    /// Rows of a heap, or of the leaf level of a clustered index.
    pub const DATA: PageType = PageType(1);
    /// Rows of an index: nonclustered, or the upper levels of a clustered one.
    pub const INDEX: PageType = PageType(2);
    /// LOB records of several values.
    pub const TEXT_MIX: PageType = PageType(3);
    /// LOB records of one value.
    pub const TEXT_TREE: PageType = PageType(4);
    /// Sort work.
    pub const SORT: PageType = PageType(7);
    /// Global allocation map.
    pub const GAM: PageType = PageType(8);
    /// Shared global allocation map.
    pub const SGAM: PageType = PageType(9);
    /// Index allocation map.
    pub const IAM: PageType = PageType(10);
    /// Page free space.
    pub const PFS: PageType = PageType(11);
    /// The boot page, 1:9.
    pub const BOOT: PageType = PageType(13);
    /// File header, page 0 of each file.
    pub const FILE_HEADER: PageType = PageType(15);
    /// Differential changed map.
    pub const DIFF_MAP: PageType = PageType(16);
    /// Minimally logged map.
    pub const ML_MAP: PageType = PageType(17);
}

/// How a page's bytes are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protection {
    /// `PAGE_VERIFY NONE`
    None,
    /// `TORN_PAGE_DETECTION`: two bits of each sector are kept in the header.
    TornBits,
    /// `CHECKSUM`
    Checksum,
}

/// The header of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageHeader {
    /// @1
    pub page_type: PageType,
    /// @2: bit 0x80: has a compression information record
    pub type_flags: u8,
    /// @3: level in the index, leaf 0
    pub level: u8,
    /// @4: bits 0x100 torn bits, 0x200 checksum
    pub flags: u16,
    /// @6: index id part of the allocation unit
    pub index_id: u16,
    /// @8
    pub prev: PageId,
    /// @14: length of the fixed part of rows
    pub min_len: u16,
    /// @16
    pub next: PageId,
    /// @22
    pub slot_count: u16,
    /// @24: object id part of the allocation unit
    pub obj_id: u32,
    /// @28
    pub free_count: u16,
    /// @30: end of the last row
    pub free_data: u16,
    /// @32
    pub id: PageId,
    /// @40: the last record that changed the page
    pub lsn: Lsn,
    /// @58
    pub ghost_count: u16,
    /// @60: torn bits or checksum
    pub check: u32,
}

impl PageHeader {
    /// Reads the header at the begin of a page.
    pub fn read(page: &[u8]) -> Result<Self> {
        let h: &[u8] = &array::<HEADER_SIZE>(page, 0, "page header")?;
        Ok(PageHeader {
            page_type: PageType(u8_at(h, 1, "page type")?),
            type_flags: u8_at(h, 2, "page type flags")?,
            level: u8_at(h, 3, "page level")?,
            flags: u16_at(h, 4, "page flags")?,
            index_id: u16_at(h, 6, "page index id")?,
            prev: PageId::read(h, 8, "previous page")?,
            min_len: u16_at(h, at::MIN_LEN, "page minimum row length")?,
            next: PageId::read(h, 16, "next page")?,
            slot_count: u16_at(h, at::SLOT_COUNT, "page slot count")?,
            obj_id: u32_at(h, 24, "page object id")?,
            free_count: u16_at(h, 28, "page free count")?,
            free_data: u16_at(h, at::FREE_DATA, "page free data")?,
            id: PageId::read(h, 32, "page id")?,
            lsn: lsn_at(h, 40, "page LSN")?,
            ghost_count: u16_at(h, at::GHOST_COUNT, "page ghost count")?,
            check: u32_at(h, 60, "page checksum")?,
        })
    }

    /// The allocation unit that the page was last written for.
    pub fn alloc_unit(&self) -> u64 {
        u64::from(self.index_id) << 48 | u64::from(self.obj_id) << 16
    }

    /// How the bytes are protected.
    pub fn protection(&self) -> Protection {
        match self.flags & 0x300 {
            0x200 => Protection::Checksum,
            0x100 => Protection::TornBits,
            _ => Protection::None,
        }
    }

    /// Whether the page was ever written. Pages that were not are zeroes.
    pub fn is_formatted(&self) -> bool {
        self.page_type.0 != 0
    }
}

/// What a page's header says of its rows. Redo asks for it with every record, so the header is not read as a whole.
#[derive(Clone, Copy)]
pub(crate) struct RowsHeader {
    pub(crate) min_len: u16,
    pub(crate) slot_count: u16,
    pub(crate) free_data: u16,
    pub(crate) ghost_count: u16,
}

impl RowsHeader {
    #[inline]
    pub(crate) fn read(page: &PageBytes) -> Self {
        let number = |at: usize| u16::from_le_bytes([page[at], page[at + 1]]);
        RowsHeader {
            min_len: number(at::MIN_LEN),
            slot_count: number(at::SLOT_COUNT),
            free_data: number(at::FREE_DATA),
            ghost_count: number(at::GHOST_COUNT),
        }
    }

    /// Writes what changes with the rows: all but the length of their fixed part.
    #[inline]
    pub(crate) fn write(&self, page: &mut PageBytes) {
        let mut number = |at: usize, number: u16| page[at..at + 2].copy_from_slice(&number.to_le_bytes());
        number(at::SLOT_COUNT, self.slot_count);
        number(at::FREE_DATA, self.free_data);
        number(at::GHOST_COUNT, self.ghost_count);
    }
}

/// A page whose header was read and whose slot array lies inside it.
#[derive(Clone, Copy)]
pub struct Page<'a> {
    /// The header.
    pub header: PageHeader,
    bytes: &'a PageBytes,
}

impl<'a> Page<'a> {
    /// Reads a page. Its bytes must have gone through [`verify`], which also mends torn bits.
    pub fn read(bytes: &'a PageBytes) -> Result<Self> {
        let header = PageHeader::read(bytes)?;
        if HEADER_SIZE + 2 * usize::from(header.slot_count) > PAGE_SIZE {
            return Err(Malformed::new(format!("{} slots do not fit on a page", header.slot_count), 22)
                .within(format_args!("page {}", header.id)));
        }
        Ok(Page { header, bytes })
    }

    /// The whole page.
    pub fn bytes(&self) -> &'a PageBytes {
        self.bytes
    }

    /// Number of slots, free ones included.
    pub fn slot_count(&self) -> u16 {
        self.header.slot_count
    }

    /// Offset of a slot's row: `None` where the slot is free or there is none.
    pub fn slot(&self, slot: u16) -> Option<u16> {
        if slot >= self.header.slot_count {
            return None;
        }
        let at = PAGE_SIZE - 2 * (usize::from(slot) + 1);
        u16_at(self.bytes, at, "slot").ok().filter(|&offset| offset != 0)
    }

    /// The bytes from the begin of a slot's row to the slot array: a row knows its own length.
    pub fn row_bytes(&self, slot: u16) -> Result<Option<&'a [u8]>> {
        let Some(offset) = self.slot(slot) else { return Ok(None) };
        let end = PAGE_SIZE - 2 * usize::from(self.header.slot_count);
        match self.bytes.get(usize::from(offset)..end) {
            Some(row) if usize::from(offset) >= HEADER_SIZE && !row.is_empty() => Ok(Some(row)),
            _ => Err(Malformed::new(format!("slot {slot} points to {offset}, outside the rows"), usize::from(offset))
                .within(format_args!("page {}", self.header.id))),
        }
    }

    /// Slots with a row, and the bytes from its begin.
    pub fn rows(self) -> impl Iterator<Item = Result<(u16, &'a [u8])>> {
        (0..self.header.slot_count)
            .filter_map(move |slot| self.row_bytes(slot).transpose().map(|r| r.map(|row| (slot, row))))
    }
}

/// The checksum of a page: each sector's 32-bit words are XORed, rotated by 15 less the sector's number, and XORed.
pub fn checksum(page: &PageBytes) -> u32 {
    let mut sum = 0u32;
    for (sector, bytes) in page.chunks_exact(SECTOR).enumerate() {
        let mut x = 0u32;
        for (word, b) in bytes.as_chunks::<4>().0.iter().enumerate() {
            if sector != 0 || word != 15 {
                x ^= u32::from_le_bytes(*b);
            }
        }
        sum ^= x.rotate_left(15 - sector as u32);
    }
    sum
}

/// Checks a page as it was read from a file and puts back the bits that torn page detection replaced.
/// Pages that were never written pass.
pub fn verify(page: &mut PageBytes) -> Result<()> {
    let header = PageHeader::read(page)?;
    if !header.is_formatted() && header.protection() != Protection::Checksum {
        return Ok(());
    }
    match header.protection() {
        Protection::None => Ok(()),
        Protection::Checksum => match checksum(page) {
            sum if sum == header.check => Ok(()),
            sum => Err(Malformed::new(format!("checksum is {sum:#010x}, the header says {:#010x}", header.check), 60)
                .within(format_args!("page {}", header.id))),
        },
        Protection::TornBits => {
            // A checksum that holds but for the byte with the flags: what is damaged is that byte, and there are no torn bits.
            let differs = (checksum(page) ^ header.check).rotate_right(15);
            let flags = page[5] ^ (differs >> 8) as u8;
            if differs & !0xFF00 == 0 && flags & 0x3F == 2 {
                return Err(Malformed::new("the page's flags say torn bits, but it has a checksum", 5)
                    .within(format_args!("page {}", header.id)));
            }
            // The stamp goes back and forth between 1 and 2; sector 0 has it beside the other sectors' bits (385 pages of 2000 and 2005).
            let stamp = header.check as u8 & 3;
            for sector in 1..PAGE_SIZE / SECTOR {
                let byte = &mut page[sector * SECTOR + SECTOR - 1];
                if *byte & 3 != stamp || !matches!(stamp, 1 | 2) {
                    return Err(Malformed::new("torn page: its sectors were not written together", sector * SECTOR)
                        .within(format_args!("page {}", header.id)));
                }
                *byte = *byte & !3 | (header.check >> (2 * sector)) as u8 & 3;
            }
            Ok(())
        }
    }
}

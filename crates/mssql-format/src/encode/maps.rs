//! The pages that every data file begins with: file header, PFS, GAM and its kin, boot page; and IAM pages.

use logferry_model::Lsn;

use super::page::{FormatPage, PageImage};
use crate::page::{HEADER_SIZE, PAGE_SIZE, PageId, PageType};

/// Extents that one GAM, SGAM, differential or IAM page maps.
pub const GAM_EXTENTS: u32 = 63_904;
/// Pages that one PFS page maps.
pub const PFS_PAGES: u32 = 8088;
/// Where a map's bits begin on its page.
pub const MAP_BITS_OFFSET: usize = 194;

const MAP_HEAD: usize = 94;
const MAP_RECORD: usize = 7992;
const OBJ_MAPS: u32 = 99;

/// What the first page of a file says of it.
#[derive(Clone, Debug)]
pub struct FileHeader {
    /// Same in all files of a database.
    pub binding_id: [u8; 16],
    /// This file's.
    pub file_guid: [u8; 16],
    /// From 1; the first log file is 2.
    pub file_id: u16,
    /// 1; of log files 0.
    pub filegroup_id: u16,
    /// Bytes.
    pub size: u64,
    /// Pages; `u32::MAX` for no limit.
    pub max_pages: u32,
    /// Pages that it grows by.
    pub growth_pages: u32,
    /// Where the log was when the file was made.
    pub create_lsn: Lsn,
    /// Recovery fork.
    pub fork_guid: [u8; 16],
    /// Logical name.
    pub name: String,
}

/// The page that a file begins with.
pub fn file_header_page(f: &FileHeader) -> PageImage {
    let pages = u32::try_from(f.size / PAGE_SIZE as u64).expect("a file has fewer than 2^32 pages");
    // Variable columns of the record, as 2012 and later write them; those that are not filled in here are zero.
    let lengths: [usize; 46] = [
        16, 0, 2, 2, 4, 4, 4, 4, 10, 10, 10, 0, 4, 4, 4, 4, 10, 28, 10, 10, 10, 16, 10, 16, 4, 10, 0, 0, 16, 0, 0, 0,
        0, 0, 0, 16, 0, 0, 10, 10, 28, 10, 16, 28, 8, 600,
    ];
    let mut columns: Vec<Vec<u8>> = lengths.iter().map(|len| vec![0; *len]).collect();
    let mut set = |column: usize, bytes: &[u8]| columns[column] = bytes.to_vec();
    set(0, &f.binding_id);
    set(2, &f.file_id.to_le_bytes());
    set(3, &f.filegroup_id.to_le_bytes());
    set(4, &pages.to_le_bytes());
    set(5, &f.max_pages.to_le_bytes());
    set(6, &f.growth_pages.to_le_bytes());
    set(12, &pages.to_le_bytes());
    set(14, &u32::MAX.to_le_bytes());
    set(15, &512u32.to_le_bytes());
    set(18, &f.create_lsn.to_le_bytes());
    set(23, &f.file_guid);
    set(27, &f.name.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
    set(35, &f.fork_guid);

    let mut record = vec![0x30, 0, 8, 0, 0, 0, 0, 0, 49, 0];
    record.extend([0; 7]);
    record.extend((columns.len() as u16).to_le_bytes());
    let mut end = record.len() + 2 * columns.len();
    for column in &columns {
        end += column.len();
        record.extend((end as u16).to_le_bytes());
    }
    record.extend(columns.concat());
    let mut page = map_page(PageId::new(f.file_id, 0), PageType::FILE_HEADER, OBJ_MAPS, 0, 0);
    raw_rows(&mut page, &[&record]);
    page
}

/// A PFS page without any page allocated.
pub fn pfs_page(id: PageId) -> PageImage {
    let mut page = map_page(id, PageType::PFS, OBJ_MAPS, 0, 0);
    let mut record = vec![0, 0, 0x9C, 0x1F];
    record.resize(4 + PFS_PAGES as usize, 0);
    raw_rows(&mut page, &[&record]);
    page
}

/// A GAM, SGAM, differential or minimally logged map whose first `extents` bits are `on`.
pub fn bitmap_page(id: PageId, page_type: PageType, extents: u32, on: bool) -> PageImage {
    let mut page = map_page(id, page_type, OBJ_MAPS, 0, 90);
    let mut bits = bits_record();
    if on {
        for extent in 0..extents.min(GAM_EXTENTS) {
            bits[4 + extent as usize / 8] |= 1 << (extent % 8);
        }
    }
    raw_rows(&mut page, &[&head_record(), &bits]);
    page
}

/// An IAM page without any extent, for the range that begins at `start`; `sequence` is its place in the chain.
pub fn iam_page(id: PageId, obj_id: u32, index_id: u16, sequence: u32, start: PageId) -> PageImage {
    let mut page = map_page(id, PageType::IAM, obj_id, index_id, 90);
    let mut head = head_record();
    head[4..8].copy_from_slice(&sequence.to_le_bytes());
    head[40..46].copy_from_slice(&start.to_bytes());
    raw_rows(&mut page, &[&head, &bits_record()]);
    page
}

/// What the boot page says of the database.
#[derive(Clone, Debug)]
pub struct BootPage {
    /// 852: SQL Server 2016
    pub version: u16,
    /// The version that made the database.
    pub create_version: u16,
    /// Compatibility level.
    pub compat_level: u16,
    /// When it was made.
    pub created: [u8; 8],
    /// Database name.
    pub name: String,
    /// `sys.databases.database_id`
    pub database_id: u32,
    /// Default collation.
    pub collation: u32,
    /// Family GUID.
    pub family_guid: [u8; 16],
    /// Recovery fork.
    pub fork_guid: [u8; 16],
    /// `sys.databases.service_broker_guid`
    pub broker_guid: [u8; 16],
    /// First page of `sysallocunits`.
    pub first_sysallocunits: PageId,
    /// Last checkpoint.
    pub checkpoint: Lsn,
    /// Id of the next transaction.
    pub next_transaction: u64,
    /// Next allocation unit id.
    pub next_alloc_unit: u64,
}

/// The boot page, 1:9.
pub fn boot_page(b: &BootPage) -> PageImage {
    let mut r = vec![0u8; 1620];
    let mut set = |at: usize, bytes: &[u8]| r[at..at + bytes.len()].copy_from_slice(bytes);
    set(2, &1620u16.to_le_bytes());
    set(4, &b.version.to_le_bytes());
    set(6, &b.create_version.to_le_bytes());
    set(36, &0x4041_0009u32.to_le_bytes());
    set(44, &b.created);
    let mut name: Vec<u16> = b.name.encode_utf16().take(128).collect();
    name.resize(128, u16::from(b' '));
    set(52, &name.iter().flat_map(|c| c.to_le_bytes()).collect::<Vec<u8>>());
    set(312, &(b.database_id as u16).to_le_bytes());
    set(314, &b.compat_level.to_le_bytes());
    set(316, &2000u64.to_le_bytes());
    set(348, &b.checkpoint.to_le_bytes());
    set(372, &b.checkpoint.to_le_bytes());
    set(384, &b.next_transaction.to_le_bytes()[..6]);
    set(392, &b.collation.to_le_bytes());
    set(408, &b.family_guid);
    set(456, &b.fork_guid);
    set(516, &b.first_sysallocunits.to_bytes());
    set(676, &b.created);
    set(684, &[0xA1, 0x0F, 0x00, 0x0D]);
    set(692, &b.broker_guid);
    // Kept as the two upper parts of the id.
    set(736, &((b.next_alloc_unit >> 16) as u32).to_le_bytes());
    set(740, &((b.next_alloc_unit >> 48) as u32).to_le_bytes());
    let mut page = map_page(PageId::new(1, 9), PageType::BOOT, OBJ_MAPS, 0, 0);
    raw_rows(&mut page, &[&r]);
    page
}

fn map_page(id: PageId, page_type: PageType, obj_id: u32, index_id: u16, min_len: u16) -> PageImage {
    let none = PageId::default();
    PageImage::format(&FormatPage {
        id,
        page_type,
        type_flags: 0,
        level: 0,
        obj_id,
        index_id,
        prev: none,
        next: none,
        min_len,
    })
}

fn head_record() -> Vec<u8> {
    let mut head = vec![0; MAP_HEAD];
    head[2] = MAP_HEAD as u8;
    head
}

fn bits_record() -> Vec<u8> {
    let mut bits = vec![0; MAP_RECORD];
    bits[2..4].copy_from_slice(&(MAP_RECORD as u16).to_le_bytes());
    bits
}

/// Lays rows that are no rows of a table on an empty page.
fn raw_rows(page: &mut PageImage, rows: &[&[u8]]) {
    let mut at = HEADER_SIZE;
    let bytes = page.bytes_mut();
    for (slot, row) in rows.iter().enumerate() {
        bytes[at..at + row.len()].copy_from_slice(row);
        let place = PAGE_SIZE - 2 * (slot + 1);
        bytes[place..place + 2].copy_from_slice(&(at as u16).to_le_bytes());
        at += row.len();
    }
    bytes[22..24].copy_from_slice(&(rows.len() as u16).to_le_bytes());
    bytes[28..30].copy_from_slice(&((PAGE_SIZE - at - 2 * rows.len()) as u16).to_le_bytes());
    bytes[30..32].copy_from_slice(&(at as u16).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{Page, verify};

    #[test]
    fn maps_are_laid_out_as_on_real_files() {
        let gam = bitmap_page(PageId::new(1, 2), PageType::GAM, 20, true);
        let mut bytes = gam.sealed();
        verify(&mut bytes).unwrap();
        let page = Page::read(&bytes).unwrap();
        assert_eq!((page.slot(0), page.slot(1)), (Some(96), Some(190)));
        assert_eq!((page.header.free_count, page.header.free_data), (6, 8182));
        assert_eq!(bytes[MAP_BITS_OFFSET..][..4], [0xFF, 0xFF, 0x0F, 0]);

        let pfs = pfs_page(PageId::new(1, 1)).sealed();
        let page = Page::read(&pfs).unwrap();
        assert_eq!((page.header.free_count, page.header.free_data), (2, 8188));
    }
}

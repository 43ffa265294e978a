use logferry_mssql_format::bytes::Malformed;
use logferry_mssql_format::encode::{
    FormatPage, LobLink, PageImage, compress_page, encode_cd_record, encode_in_row_root, encode_lob_data,
    encode_lob_internal, iam_page, pack, pfs_page,
};
use logferry_mssql_format::page::RowId;
use logferry_mssql_format::row::compressed::PackedCell;
use logferry_mssql_format::row::{OffRow, Packing, PhysicalColumn, Place};
use rustc_hash::FxHashMap;

use super::*;
use crate::pages::FileExtent;

/// A database of one file, in memory.
#[derive(Default)]
struct Memory(FxHashMap<u32, PageBytes>);

impl PageSource for Memory {
    fn read_page(&self, id: PageId, into: &mut PageBytes) -> Result<(), Error> {
        match self.0.get(&id.page) {
            Some(page) if id.file == 1 => into.copy_from_slice(page),
            _ => into.fill(0),
        }
        Ok(())
    }

    fn files(&self) -> Vec<FileExtent> {
        vec![FileExtent { file: 1, pages: 64 }]
    }
}

fn page(number: u32, page_type: PageType, rows: &[&[u8]]) -> PageImage {
    let mut image = PageImage::format(&FormatPage {
        id: PageId::new(1, number),
        page_type,
        type_flags: 0,
        level: 0,
        obj_id: 188,
        index_id: 256,
        prev: PageId::default(),
        next: PageId::default(),
        min_len: 8,
    });
    for row in rows {
        image.insert(image.slot_count(), row);
    }
    image
}

fn at(page: u32, slot: u16) -> RowId {
    RowId { page: PageId::new(1, page), slot }
}

fn link(end: u32, page: u32, slot: u16) -> LobLink {
    LobLink { end, at: at(page, slot) }
}

/// The value under a root of these links; the LOB page 20 has these records.
fn lob(links: &[LobLink], records: &[&[u8]]) -> Result<Vec<u8>> {
    let mut memory = Memory::default();
    memory.0.insert(20, page(20, PageType::TEXT_MIX, records).sealed());
    let root = encode_in_row_root(0, 1, 7, links);
    let mut value = Vec::new();
    LobReader::default().append(&memory, &OffRow::read(&root).unwrap(), &mut value)?;
    Ok(value)
}

#[track_caller]
fn check_lob(links: &[LobLink], records: &[&[u8]], expect: &[u8]) {
    assert_eq!(lob(links, records).unwrap(), expect);
}

#[track_caller]
fn check_bad_lob(links: &[LobLink], records: &[&[u8]], expect: &str) {
    let error = lob(links, records).unwrap_err().to_string();
    assert!(error.contains(expect), "{error}");
}

#[test]
fn values_are_gathered_from_their_trees() {
    let (ab, cde) = (encode_lob_data(7, b"ab"), encode_lob_data(7, b"cde"));
    check_lob(&[link(2, 20, 0)], &[&ab], b"ab");
    check_lob(&[link(3, 20, 1), link(5, 20, 0)], &[&ab, &cde], b"cdeab");
    let node = encode_lob_internal(7, 0, &[link(2, 20, 0), link(5, 20, 1)]);
    check_lob(&[link(5, 20, 2), link(7, 20, 0)], &[&ab, &cde, &node], b"abcdeab");
    let above = encode_lob_internal(7, 1, &[link(5, 20, 2), link(10, 20, 2)]);
    check_lob(&[link(10, 20, 3)], &[&ab, &cde, &node, &above], b"abcdeabcde");
}

#[test]
fn damaged_trees_are_refused() {
    let ab = encode_lob_data(7, b"ab");
    check_bad_lob(&[link(3, 20, 0)], &[&ab], "LOB record 1:20:0 gives 2 bytes, 3 were announced");
    check_bad_lob(&[link(2, 20, 5)], &[&ab], "there is no LOB record at 1:20:5");
    check_bad_lob(&[link(2, 9, 0)], &[&ab], "there is no LOB record at 1:9:0");
    check_bad_lob(&[link(2, 20, 0), link(1, 20, 0)], &[&ab], "a piece ends at 1, the one before at 2");
    let own = encode_lob_internal(7, 0, &[link(2, 20, 0)]);
    check_bad_lob(&[link(2, 20, 0)], &[&own], "too deep");
    let long = encode_lob_internal(7, 0, &[link(2, 20, 0), link(9, 20, 1)]);
    check_bad_lob(&[link(2, 20, 1)], &[&ab, &long], "too deep");
    check_bad_lob(&[link(2, 20, 0)], &[&[0x10, 0, 4, 0, 0, 0, 0]], "not a Primary record");
}

/// Pages 8 to 15 and the single page 3 belong to the unit; page 10 is free.
fn allocated(next: PageId) -> Memory {
    let mut memory = Memory::default();
    let mut pfs = pfs_page(PageId::new(1, 1));
    for page in [3, 8, 9, 11, 12, 13, 14, 15] {
        pfs.bytes_mut()[100 + page] = 0x40;
    }
    let mut iam = iam_page(PageId::new(1, 30), 188, 256, 0, PageId::new(1, 0));
    iam.bytes_mut()[142..148].copy_from_slice(&PageId::new(1, 3).to_bytes());
    // Extents 1 and 62; the latter is outside the file.
    iam.bytes_mut()[194] = 0x02;
    iam.bytes_mut()[194 + 7] = 0x40;
    iam.set_next(next);
    memory.0.insert(1, pfs.sealed());
    memory.0.insert(30, iam.sealed());
    memory
}

#[test]
fn pages_in_use_are_those_of_the_iam_chain_that_pfs_says_are() {
    let found = extents(&allocated(PageId::default()), PageId::new(1, 30)).unwrap();
    assert_eq!(
        found,
        [Extent { first: PageId::new(1, 0), used: 0b1000 }, Extent { first: PageId::new(1, 8), used: 0b1111_1011 },]
    );
    assert_eq!(found[1].pages().map(|p| p.page).collect::<Vec<_>>(), [8, 9, 11, 12, 13, 14, 15]);
    assert_eq!(extents(&allocated(PageId::default()), PageId::default()).unwrap(), []);
}

#[test]
fn damaged_iam_chains_are_refused() {
    let check = |memory: &Memory, expect: &str| {
        let error = extents(memory, PageId::new(1, 30)).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    check(&allocated(PageId::new(1, 30)), "the IAM chain that begins at page 1:30 loops");
    check(&allocated(PageId::new(1, 8)), "an IAM page was expected, not type 0");
    let mut twice = allocated(PageId::new(1, 31));
    twice.0.insert(31, iam_page(PageId::new(1, 31), 188, 256, 1, PageId::new(1, 0)).sealed());
    check(&twice, "covers the pages from 1:0 twice");
    let mut unaligned = allocated(PageId::new(1, 31));
    unaligned.0.insert(31, iam_page(PageId::new(1, 31), 188, 256, 1, PageId::new(1, 8)).sealed());
    check(&unaligned, "begin no range");
}

/// A page of `int` rows and what must be seen of it.
#[track_caller]
fn check_rows(rows: &[&[u8]], expect: Result<&[u8], &str>) {
    let mut memory = Memory::default();
    memory.0.insert(8, page(8, PageType::DATA, rows).sealed());
    let column = PhysicalColumn { place: Place::Fixed { offset: 4, len: 4 }, null_bit: 0, missing: None };
    let layout = Arc::new(RowLayout::new(vec![column]));
    let mut reader = RowReader::of_layout(&memory, layout, "table \"dbo.t\"".to_owned());
    let mut seen = Vec::new();
    let outcome = reader.read_page(PageId::new(1, 8), |cells| {
        seen.extend(cells.iter().map(|cell| cell.bytes().unwrap()[0]));
        Ok::<_, Error>(())
    });
    match (outcome, expect) {
        (Ok(rows), Ok(expect)) => {
            assert_eq!(seen, expect);
            assert_eq!(rows, expect.len() as u64);
        }
        (Err(error), Err(expect)) => assert!(error.to_string().contains(expect), "{error}"),
        (outcome, _) => panic!("{outcome:?}"),
    }
}

const ONE: &[u8] = &[0x10, 0, 8, 0, 1, 0, 0, 0, 1, 0, 0];
const FORWARDED: &[u8] = &[0x32, 0, 8, 0, 2, 0, 0, 0, 1, 0, 0, 1, 0, 25, 0x80, 0, 4, 42, 0, 0, 0, 1, 0, 3, 0];
const STUB: &[u8] = &[4, 42, 0, 0, 0, 1, 0, 3, 0];
const GHOST: &[u8] = &[0x1C, 0, 8, 0, 9, 0, 0, 0, 1, 0, 0];

#[test]
fn each_row_is_read_once() {
    check_rows(&[ONE, STUB, FORWARDED, GHOST, ONE], Ok(&[1, 2, 1]));
    check_rows(&[], Ok(&[]));
    check_rows(
        &[ONE, &[6, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
        Err("table \"dbo.t\", row 1:8:1: a record of kind Index among rows"),
    );
}

#[test]
fn pages_that_are_no_leaves_have_no_rows() {
    let mut memory = Memory::default();
    memory.0.insert(8, page(8, PageType::INDEX, &[&[6, 0, 0, 0, 0, 0, 0, 0]]).sealed());
    let mut reader = RowReader::of_layout(&memory, Arc::default(), String::new());
    for number in [8, 9] {
        let rows = reader.read_page(PageId::new(1, number), |_| Err::<(), _>(Malformed::new("a row", 0).into()));
        assert_eq!(rows.map_err(|e: Error| e.to_string()), Ok(0));
    }
}

/// A page of compressed rows: an int and an nvarchar. With `information` they are compressed with each other.
fn compressed_page(information: bool) -> PageImage {
    let rows: Vec<(i32, String)> = (0..40).map(|i| (i * 7 - 100, format!("name of row {}", i % 5))).collect();
    let stored: Vec<[Vec<u8>; 2]> = rows
        .iter()
        .map(|(number, name)| {
            let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
            [pack(INT, &number.to_le_bytes()), pack(Packing::Unicode, &name)]
        })
        .collect();
    let cells: Vec<Vec<PackedCell<'_>>> =
        stored.iter().map(|row| row.iter().map(|value| PackedCell::Bytes(value)).collect()).collect();
    let (shared, mut records) = compress_page(&cells);
    if !information {
        records = cells
            .iter()
            .map(|cells| {
                let mut record = Vec::new();
                encode_cd_record(cells, None, &mut record);
                record
            })
            .collect();
    }
    let mut page = page(8, PageType::DATA, &[]);
    if information {
        // In front of the rows, where no slot points to.
        page.insert(0, &shared);
    }
    // A deleted row and one that moved away.
    records.push(vec![0x0D, 2, 0x11]);
    records.push(vec![0x09, 0, 0, 0, 0, 0, 0, 0, 0]);
    records.iter().for_each(|record| page.insert(page.slot_count(), record));
    if information {
        page.remove(0);
    }
    page.bytes_mut()[2] = if information { 0x80 } else { 0 };
    page
}

const INT: Packing = Packing::Integer { len: 4 };

#[test]
fn compressed_rows_are_read_as_what_they_were() {
    let columns = [INT, Packing::Unicode].into_iter().enumerate().map(|(index, packing)| PhysicalColumn {
        place: Place::Compressed { index: index as u16, packing },
        null_bit: index as u16,
        missing: None,
    });
    let layout = Arc::new(RowLayout::new(columns.collect()));
    let read = |page: PageImage| {
        let mut memory = Memory::default();
        memory.0.insert(8, page.sealed());
        let mut reader = RowReader::of_layout(&memory, layout.clone(), "table \"dbo.t\"".to_owned());
        let mut seen = Vec::new();
        let outcome = reader.read_page(PageId::new(1, 8), |cells| {
            let number = i32::from_le_bytes(cells[0].bytes().unwrap().try_into().unwrap());
            let units: Vec<u16> =
                cells[1].bytes().unwrap().chunks_exact(2).map(|u| u16::from_le_bytes([u[0], u[1]])).collect();
            seen.push((number, String::from_utf16(&units).unwrap()));
            Ok::<_, Error>(())
        });
        outcome.map(|_| seen).map_err(|e| e.to_string())
    };
    let expect: Vec<(i32, String)> = (0..40).map(|i| (i * 7 - 100, format!("name of row {}", i % 5))).collect();
    assert_eq!(read(compressed_page(false)), Ok(expect.clone()));
    assert_eq!(read(compressed_page(true)), Ok(expect));

    let mut unsaid = compressed_page(true);
    unsaid.bytes_mut()[2] = 0;
    let error = read(unsaid).unwrap_err();
    assert!(error.contains("page 1:8") && error.contains("its header does not say so"), "{error}");
    let mut without = compressed_page(false);
    without.bytes_mut()[2] = 0x80;
    let error = read(without).unwrap_err();
    assert!(error.contains("flags 0x"), "{error}");
}

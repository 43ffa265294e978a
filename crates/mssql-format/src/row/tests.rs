use logferry_model::RowStore;
use proptest::prelude::*;

use super::*;
use crate::page::{PageHeader, PageId};

const fn fixed(offset: u16, len: u16) -> Place {
    Place::Fixed { offset, len }
}

fn layout(places: &[Place]) -> RowLayout {
    let columns = places.iter().zip(0..);
    RowLayout::new(columns.map(|(&place, null_bit)| PhysicalColumn { place, null_bit, missing: None }).collect())
}

/// Reads hex in which `.` and spaces mean nothing.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

#[track_caller]
fn check(row: &str, places: &[Place], expect: &[Option<&[u8]>]) {
    let (row, layout) = (hex(row), layout(places));
    let mut cells = Vec::new();
    layout.decode(&row, &mut cells).unwrap();
    check_plain(&layout, &row);
    let expect: Vec<RawCell<'_>> = expect.iter().map(|cell| cell.map_or(RawCell::Null, RawCell::Bytes)).collect();
    assert_eq!(cells, expect);
}

/// A row that is plain has the cells that it is decoded to; gives whether it is.
#[track_caller]
fn check_plain(layout: &RowLayout, row: &[u8]) -> bool {
    let Some(plain) = layout.plain(row) else { return false };
    let mut cells = Vec::new();
    layout.decode(row, &mut cells).expect("what is plain can be decoded");
    let mut rows = RowStore::new();
    let pushed = plain.push_to(&mut rows);
    let found: Vec<_> =
        rows.row(pushed).cells().map(|cell| cell.bytes().map_or(RawCell::Null, RawCell::Bytes)).collect();
    assert_eq!(found, cells);
    true
}

#[track_caller]
fn check_refused(row: &str, places: &[Place], message: &str) {
    let error = layout(places).decode(&hex(row), &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains(message), "{error}");
}

#[track_caller]
fn check_len(row: &str, min_len: u16, expect: usize) {
    let mut bytes = hex(row);
    // What follows a record on its page does not matter.
    bytes.extend([0xAA; 40]);
    let mut page = [0; 96];
    page[14..16].copy_from_slice(&min_len.to_le_bytes());
    assert_eq!(row_len(&bytes, PageHeader::read(&page).unwrap().min_len), Ok(expect));
}

/// int 7, then a variable column 'ab' and an empty one that is not stored.
const PLAIN: &str = "3000 0800 07000000 0300 00 0100 1100 6162";
const THREE: [Place; 3] = [fixed(4, 4), Place::Variable { index: 0 }, Place::Variable { index: 1 }];

#[test]
fn fixed_and_variable_columns() {
    check(PLAIN, &THREE, &[Some(&[7, 0, 0, 0]), Some(b"ab"), Some(b"")]);
    check("1000 0800 07000000 0300 00", &THREE, &[Some(&[7, 0, 0, 0]), Some(b""), Some(b"")]);
    check("3000 0800 07000000 0300 02 0100 0F00", &THREE, &[Some(&[7, 0, 0, 0]), None, Some(b"")]);
    check("1000 0800 07000000 0300 07", &THREE, &[None, None, None]);
}

#[test]
fn most_rows_are_plain() {
    let is_plain = |row: &str| check_plain(&layout(&THREE), &hex(row));
    assert!(is_plain(PLAIN));
    assert!(is_plain("1000 0800 07000000 0300 00"));
    assert!(is_plain("7000 0800 07000000 0300 02 0100 0F00 0000000000000000 000000000000"));
    // A column too few, a fixed part too short, no bitmap, ends out of order and behind the row, a pointer, a forwarded record.
    assert!(!is_plain("3000 0800 07000000 0200 00 0100 1100 6162"));
    assert!(!is_plain("3000 0600 0700 0300 00 0100 0F00 6162"));
    assert!(!is_plain("2000 0800 07000000 0100 0E00 6162"));
    assert!(!is_plain("3000 0800 07000000 0300 00 0200 1300 1200 6162"));
    assert!(!is_plain("3000 0800 07000000 0300 00 0100 FF00 6162"));
    assert!(!is_plain("3000 0800 07000000 0300 00 0100 1180 6162"));
    assert!(!is_plain("3200 0800 07000000 0300 00 0200 1300 1D80 6162 0004 0100000001000000"));
}

#[test]
fn bits_share_a_byte() {
    let places = [0, 1, 7].map(|bit| Place::Bit { offset: 4, bit });
    check("1000 0500 82 0300 00", &places, &[Some(&[0]), Some(&[1]), Some(&[1])]);
    check("1000 0500 82 0300 02", &places, &[Some(&[0]), None, Some(&[1])]);
}

#[test]
fn columns_added_later_are_null_or_their_default() {
    let row = hex("1000 0800 07000000 0100 00");
    let columns = [None, None, Some(Box::from(*b"new"))].into_iter().zip(THREE).zip(0..);
    let columns = columns.map(|((missing, place), null_bit)| PhysicalColumn { place, null_bit, missing }).collect();
    let (layout, mut cells) = (RowLayout::new(columns), Vec::new());
    layout.decode(&row, &mut cells).unwrap();
    assert_eq!(cells, [RawCell::Bytes(&[7, 0, 0, 0]), RawCell::Null, RawCell::Bytes(b"new")]);
    assert!(!check_plain(&layout, &row), "values are missing");
}

/// The physical columns 2 and 3 were dropped: their bytes are there still.
#[test]
fn dropped_columns_keep_their_bytes() {
    let columns = [(fixed(4, 4), 0), (Place::Variable { index: 1 }, 3)];
    let columns = columns.map(|(place, null_bit)| PhysicalColumn { place, null_bit, missing: None });
    let row = hex("3000 0C00 07000000 63636363 0400 04 0200 1800 1A00 646464 6162");
    let (layout, mut cells) = (RowLayout::new(columns.to_vec()), Vec::new());
    layout.decode(&row, &mut cells).unwrap();
    assert_eq!(cells, [RawCell::Bytes(&[7, 0, 0, 0]), RawCell::Bytes(b"ab")]);
}

#[test]
fn the_back_pointer_of_a_forwarded_record_is_no_column() {
    let forwarded = "3200 0800 07000000 0300 00 0200 1300 1D80 6162 0004 2A000000 0100 0300";
    check(forwarded, &THREE, &[Some(&[7, 0, 0, 0]), Some(b"ab"), Some(b"")]);
    let bytes = hex(forwarded);
    let from = FixedVar::read(&bytes).unwrap().forwarded_from().unwrap().unwrap();
    assert_eq!(from, RowId { page: PageId::new(1, 42), slot: 3 });
}

#[test]
fn version_tags_end_a_row() {
    let tag = "0102030405060708 810300000000";
    let row = format!("70{} {tag}", &PLAIN[2..]);
    check(&row, &THREE, &[Some(&[7, 0, 0, 0]), Some(b"ab"), Some(b"")]);
    check_len(&row, 8, 31);
    assert_eq!(FixedVar::read(&hex(&row)).unwrap().version_tag().unwrap().unwrap(), hex(tag));
}

#[test]
fn sparse_columns_are_found_by_their_ids() {
    let places =
        [fixed(4, 4), Place::Sparse { column_id: 2 }, Place::Sparse { column_id: 3 }, Place::Sparse { column_id: 9 }];
    let vector = "0500 0200 0300 0900 0E00 1000 6162 6364";
    let row = format!("3000 0800 07000000 0400 0E 0100 1F80 {vector}");
    check(&row, &places, &[Some(&[7, 0, 0, 0]), None, Some(b"ab"), Some(b"cd")]);
    check("1000 0800 07000000 0400 0E", &places, &[Some(&[7, 0, 0, 0]), None, None, None]);
}

#[test]
fn values_outside_the_row() {
    let cases = [
        // A root of two links, from a file of 2019; an overflow pointer; a text pointer.
        ("040000ff 01000000 b51b0000 681f0000 9f000000 0100 0000 10250000 a0000000 0100 0000", OffRowKind::Root),
        ("020000ff 01000000 b51b0000 401f0000 9f000000 0100 0200", OffRowKind::Overflow),
        ("0000d10700000000 77000000 0100 0100", OffRowKind::TextPointer),
    ];
    for (pointer, kind) in cases {
        let end = 0x0F + hex(pointer).len();
        let row = hex(&format!("3000 0800 07000000 0200 00 0100 {:02x}80 {pointer}", end));
        let (layout, mut cells) = (layout(&THREE[..2]), Vec::new());
        layout.decode(&row, &mut cells).unwrap();
        let RawCell::OffRow(off_row) = cells[1] else { panic!("{:?}", cells[1]) };
        assert_eq!(off_row.kind, kind);
        let links: Vec<Link> = off_row.links().collect::<Result<_>>().unwrap();
        let at = |page, slot| RowId { page: PageId::new(1, page), slot };
        let expect = match kind {
            OffRowKind::Root => vec![Link { end: 8040, at: at(159, 0) }, Link { end: 9488, at: at(160, 0) }],
            OffRowKind::Overflow => vec![Link { end: 8000, at: at(159, 2) }],
            OffRowKind::TextPointer => vec![],
        };
        assert_eq!(links, expect);
        let root = (kind == OffRowKind::TextPointer).then(|| at(119, 1));
        assert_eq!(off_row.root_record().unwrap(), root);
    }
}

#[test]
fn keys_in_the_log() {
    // syscolpars: id 0x6754599e, number 0, colid 1; from a log of 2014
    let row = hex("16 9e595467 0000 01000000 0300 00");
    let columns = [(1, 4), (5, 2), (7, 4)].into_iter().zip(0..);
    let columns =
        columns.map(|((offset, len), null_bit)| PhysicalColumn { place: fixed(offset, len), null_bit, missing: None });
    let (layout, mut cells) = (RowLayout::index(columns.collect(), 11), Vec::new());
    layout.decode(&row, &mut cells).unwrap();
    assert_eq!(cells, [RawCell::Bytes(&hex("9e595467")), RawCell::Bytes(&[0, 0]), RawCell::Bytes(&[1, 0, 0, 0])]);
    check_len("16 9e595467 0000 01000000 0300 00", 11, 14);
}

#[test]
fn lengths_of_records() {
    check_len(PLAIN, 8, 17);
    check_len("1000 0800 07000000 0300 00", 8, 11);
    check_len("1C00 0800 07000000 0300 00", 8, 11);
    check_len("04 2A000000 0100 0300", 8, STUB_SIZE);
    check_len("44 2A000000 0100 0300 0000000000000000 000000000000", 8, STUB_SIZE + VERSION_TAG_SIZE);
    check_len("0800 1000 0000d10700000000 0300 6162", 0, 16);
    // An entry of an upper level: key, child page; without and with a NULL bitmap.
    check_len("06 07000000 2A000000 0100", 11, 11);
    check_len("26 2A000000 0100 0100 0D00 6162", 7, 13);
    // The two records of an IAM page.
    check_len(&format!("0000 5E00 {}", "00".repeat(90)), 90, 94);
}

#[test]
fn what_is_no_row_is_refused() {
    check_refused("", &THREE, "row status: 1 bytes wanted, 0 there");
    check_refused("04 2A000000 0100 0300", &THREE, "not a Stub record");
    check_refused("0800 1000 0000", &THREE, "not a Blob record");
    check_refused("2101 0800 07000000", &THREE, "compressed");
    check_refused("1000 0200 0100 00", &THREE, "the fixed part ends at 2");
    check_refused("1000 FF00 0100 00", &THREE, "the fixed part ends at 255");
    check_refused("1000 0600 0700 0300 00", &THREE, "4 bytes wanted of a fixed part that ends at 6");
    check_refused("3000 0800 07000000 0300 00 FF00 1100", &THREE, "ends of the variable columns");
    check_refused("3000 0800 07000000 0300 00 0100 FF00 6162", &THREE, "variable column 0 runs from 15 to 255");
    check_refused("3000 0800 07000000 0300 00 0100 1180 6162", &THREE, "unknown kind 97");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(mut row in proptest::collection::vec(any::<u8>(), 0..300), status: u8, min_len: u16) {
        if let Some(first) = row.first_mut() {
            *first = status & 0x7E;
        }
        let mut places = THREE.to_vec();
        places.extend([Place::Sparse { column_id: 1 }, Place::Bit { offset: 9, bit: 255 }, fixed(u16::MAX, u16::MAX)]);
        let mut page = [0; 96];
        page[14..16].copy_from_slice(&min_len.to_le_bytes());
        if let Ok(len) = row_len(&row, PageHeader::read(&page).unwrap().min_len) {
            prop_assert!(len <= row.len());
        }
        check_plain(&layout(&[THREE[0], THREE[1], THREE[2], Place::Bit { offset: 4, bit: 255 }]), &row);
        let layout = layout(&places);
        let _ = layout.decode(&row, &mut Vec::new());
        if let Ok(record) = FixedVar::read(&row) {
            let _ = (record.forwarded_from(), record.version_tag(), record.record_len());
        }
        let _ = stub_target(&row);
        let _ = crate::lob::LobRecord::read(&row);
    }
}

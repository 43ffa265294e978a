//! Compressed rows: records that others published of real pages, and that what is encoded is decoded, each type, each form.

use logferry_mssql_format::encode::{compress_page, encode_cd_record, pack};
use logferry_mssql_format::row::compressed::{CdRecord, PackedCell, PageCompression};
use logferry_mssql_format::row::{Expanded, Packing, PhysicalColumn, Place, RawCell, RecordKind, RowLayout};
use proptest::collection::vec;
use proptest::prelude::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

fn layout(packings: &[Packing]) -> RowLayout {
    let column = |(index, &packing): (usize, &Packing)| PhysicalColumn {
        place: Place::Compressed { index: index as u16, packing },
        null_bit: index as u16,
        missing: None,
    };
    RowLayout::new(packings.iter().enumerate().map(column).collect())
}

/// The cells of a row as text: hexadecimal, `-` for NULL, `@` before pointers.
fn cells(packings: &[Packing], row: &[u8], page: Option<&PageCompression<'_>>) -> Result<String, String> {
    let (layout, mut expanded, mut cells) = (layout(packings), Expanded::default(), Vec::new());
    layout.expand(row, page, &mut expanded).map_err(|e| e.to_string())?;
    expanded.cells(&layout, &mut cells).map_err(|e| e.to_string())?;
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let show = |cell: &RawCell<'_>| match cell {
        RawCell::Null => "-".to_owned(),
        RawCell::Bytes(bytes) => hex(bytes),
        RawCell::OffRow(pointer) => format!("@{}", hex(pointer.bytes())),
    };
    Ok(cells.iter().map(show).collect::<Vec<_>>().join(" "))
}

#[track_caller]
fn check(packings: &[Packing], row: &str, expect: &str) {
    assert_eq!(cells(packings, &hex(row), None).as_deref(), Ok(expect), "{row}");
}

#[track_caller]
fn check_refused(packings: &[Packing], row: &str, why: &str) {
    let error = cells(packings, &hex(row), None).expect_err("refused");
    assert!(error.contains(why), "{error}");
}

const INT: Packing = Packing::Integer { len: 4 };
const DATETIME: Packing = Packing::Integer { len: 8 };

/// Records of `datetime` columns that OrcaMDF's tests have, taken from pages of SQL Server 2008; cells are ticks, then days.
#[test]
fn datetimes_as_a_server_wrote_them() {
    for (row, ticks, days) in [
        ("01011880 9FE7018A E173", 86_262_997, 40_935), // 2012-01-29 23:57:42.997
        ("01011880 9FE7018A E0CE", 86_262_447, 40_935), // 2012-01-29 23:57:42.447
        ("01011881 1D58018B 81FF", 86_399_997, 73_048), // 2099-12-31 23:59:59.997
        ("0101187F 2E460000 0000", 0, -53_690),         // 1753-01-01
        ("01011100 01010100 01", 0, 0),                 // 1900-01-01
        ("01011681 00000000 01", 0, 1),                 // 1900-01-02
        ("01011581 6F50F200 00", 80_241_447, 0),        // 1900-01-01 22:17:21.447
    ] {
        let ticks = (i64::from(ticks) * 3 + 5) / 10;
        let expect = (i64::from(days) << 32 | ticks).to_le_bytes().map(|b| format!("{b:02x}")).concat();
        check(&[DATETIME], row, &expect);
    }
    check(&[DATETIME], "01011084 00000000 A8", "-");
}

/// A row with short and long values that Internals Viewer's tests have: 101, 'This is row 1', 'Row 1' in a char(7) here.
#[test]
fn a_row_as_a_server_wrote_it() {
    let columns = [INT, Packing::Plain, Packing::Padded { len: 7, fill: 0x20 }];
    let row = "2103a216 e5526f77 20310101 000d0054 68697320 69732072 6f772031";
    check(&columns, row, "65000000 5468697320697320726f772031 526f7720312020");
    assert_eq!(CdRecord::read(&hex(row)).unwrap().values_end(), hex(row).len());
    check_refused(&columns, "2103a216 e5526f77 20310001 000d0054 68697320 69732072 6f772031", "unknown form 0x00");
    check_refused(&columns, "2103a216 e5526f77 20310101 000e0054 68697320 69732072 6f772031", "long data");
    check_refused(&columns, "2103ad06 e5526f77 2031", "unknown descriptor 13");
    check_refused(&columns, "3000 0400 0100 00", "not compressed");
}

/// A compression information record that Internals Viewer's tests have, of a page of nine columns.
#[test]
fn compression_information_as_a_server_wrote_it() {
    let record = hex(CI);
    let (page, len) = PageCompression::read(&record).unwrap();
    assert_eq!((len, page.words()), (539, 113));
    let anchors = (0..9).map(|column| page.anchor(column)).collect::<Vec<_>>();
    let date = hex("80a31e00 000000");
    let expect = [
        PackedCell::Bytes(&[0x83, 0x03, 0x00]),
        PackedCell::Null,
        PackedCell::Bytes(&[0x81, 0x18, 0x8b]),
        PackedCell::Null,
        PackedCell::Bytes(&date),
        PackedCell::Bytes(&[0x53]),
        PackedCell::Null,
        PackedCell::Null,
        PackedCell::Bytes(&date),
    ];
    assert_eq!(anchors, expect);
    assert_eq!(page.word(0).unwrap(), [0x02, 0x7e]);
    assert_eq!(page.word(112).unwrap(), hex("810c6f38"));
    page.word(113).unwrap_err();

    // A row against it: the first column is a word behind two bytes of the anchor, the second a word as it is, the fifth all of its anchor.
    let mut row = Vec::new();
    let row_cells = [
        PackedCell::Symbol(0),
        PackedCell::Symbol(112),
        PackedCell::Bytes(&[3]),
        PackedCell::Null,
        PackedCell::Bytes(&[]),
        PackedCell::Bytes(&[0, 0x99]),
        PackedCell::Bytes(&[]),
    ];
    encode_cd_record(&row_cells, None, &mut row);
    let columns = [INT, INT, INT, INT, DATETIME, Packing::Padded { len: 1, fill: 0 }, INT];
    let found = cells(&columns, &row, Some(&page)).unwrap();
    assert_eq!(found, "7e030300 386f0c01 8b180100 - 000000001ea30000 99 00000000");
    assert!(cells(&columns, &row, None).is_err(), "without the page's words");

    for at in 0..record.len() {
        for byte in [0, 1, 0x7F, 0x80, 0xFF] {
            let mut other = record.clone();
            other[at] = byte;
            let _ = PageCompression::read(&other);
            let _ = PageCompression::read(&other[..at]);
        }
    }
}

const CI: &str = "060f0023 001b0201 09040428 00188303 0081188b 80a31e00 00000053 80a31e00 00000071 00e600e8 00ea00ec 00ee00f0 00f200f4
    00f600f8 00fa00fc 00fe0000 01020104 01060108 010a010c 010e0110 01120114 01160118 011a011c 011e0120 01220124 01260128 012a012c
    012e0130 01320134 01360138 013a013c 013e0140 01420144 01460148 014a014c 014e0150 01520154 01560158 015a015c 015e0160 01620164
    01660168 016a016c 016e0170 01720174 0177017a 017d0180 01830186 0189018c 018f0192 01950198 019b019e 01a101a4 01a701aa 01ad01b0
    01b301b6 01b901bc 01bf01c2 01c501c8 01cb01ce 01d101d4 01d801dc 01e001e4 01e801ec 01f001f4 01f80102 7e028002 81028302 84028502
    86028802 8a028c02 8d028e02 8f029002 91029202 93029402 95029682 c382c482 c782c882 ca82cb82 e282e782 ec830b83 29834383 5a835b83
    60836183 63836483 65836683 6c836d83 70837183 73837483 75837f83 89838c83 8e839583 96839d83 9e83a783 a883a983 b483b983 bd83bf83
    c183c283 c383c683 cc83d383 dd83df83 e1f4f480 ba5480e4 43826dd1 830ff083 34148492 6a84f547 8508d485 5ad785f1 a0864c4e 86f11786
    fde08702 ca89251e 8a54a28a fc808c06 848d948e 8db7d29c 347e9dd0 b2a5a5ec a613c4a9 1c7abb53 38be1258 c32a4ed1 8e98d489 e8f15b46
    fb19c880 8577a880 9863e080 9a129480 a1a34c80 bae05880 fc229880 fee1b881 05ebf881 0c6f38";

#[test]
fn rows_of_other_lengths_and_kinds() {
    // Columns that were added after the row was written are NULL or their default; of those that went nothing is told.
    let mut columns = vec![
        PhysicalColumn { place: Place::Compressed { index: 1, packing: INT }, null_bit: 1, missing: None },
        PhysicalColumn {
            place: Place::Compressed { index: 2, packing: INT },
            null_bit: 2,
            missing: Some(Box::new([7, 0, 0, 0])),
        },
    ];
    columns.push(PhysicalColumn { null_bit: 3, place: Place::Compressed { index: 3, packing: INT }, missing: None });
    let layout = RowLayout::new(columns);
    let (mut expanded, mut cells) = (Expanded::default(), Vec::new());
    layout.expand(&hex("01022255 86"), None, &mut expanded).unwrap();
    expanded.cells(&layout, &mut cells).unwrap();
    assert_eq!(cells, [RawCell::Bytes(&[6, 0, 0, 0]), RawCell::Bytes(&[7, 0, 0, 0]), RawCell::Null]);

    let kinds = [0x01, 0x05, 0x09, 0x0D, 0x11, 0x15, 0x19, 0x1D].map(RecordKind::of);
    use RecordKind::*;
    assert_eq!(kinds, [Primary, GhostVersion, Stub, GhostData, Forwarded, GhostData, Index, GhostIndex]);
}

fn packing() -> impl Strategy<Value = (Packing, Option<Vec<u8>>)> {
    let bytes = |len: usize| vec(prop_oneof![3 => Just(0u8), 1 => Just(0xFF), 4 => any::<u8>()], len);
    let fixed = move |packing: fn(u16) -> Packing, lens: &'static [u16]| {
        proptest::sample::select(lens).prop_flat_map(move |len| (Just(packing(len)), bytes(usize::from(len))))
    };
    let text = prop_oneof!["[ -~]{0,40}", "[а-яё ]{0,20}", "[中-丿]{0,12}", "\\PC{0,20}", "[aé€я𐐀]{0,9}"]
        .prop_map(|s| s.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
    let nchar = text.clone().prop_map(|mut text| {
        text.truncate(40);
        while text.len() < 40 {
            text.extend([b' ', 0]);
        }
        text
    });
    let decimal =
        (1u8..=38).prop_flat_map(|precision| (Just(precision), 0..=precision, any::<u128>(), any::<bool>(), 0..30u32));
    let decimal = decimal.prop_map(|(precision, scale, number, sign, zeroes)| {
        let len: u16 = match precision {
            0..=9 => 5,
            10..=19 => 9,
            20..=28 => 13,
            _ => 17,
        };
        let step = 10u128.pow(zeroes);
        let number = (number % 10u128.pow(u32::from(precision))) / step * step;
        let mut cell = vec![u8::from(sign || number == 0)];
        cell.extend(&number.to_le_bytes()[..usize::from(len) - 1]);
        (Packing::Decimal { len, precision, scale }, cell)
    });
    let value = prop_oneof![
        fixed(|len| Packing::Integer { len }, &[2, 4, 8]),
        fixed(|len| Packing::LowTrimmed { len }, &[4, 8]),
        fixed(|len| Packing::Padded { len, fill: 0 }, &[1, 3, 5, 8, 10, 16, 30]),
        fixed(|len| Packing::Padded { len, fill: 0x20 }, &[1, 10, 30]),
        vec(any::<u8>(), 0..300).prop_map(|bytes| (Packing::Plain, bytes)),
        text.prop_map(|text| (Packing::Unicode, text)),
        nchar.prop_map(|text| (Packing::PaddedUnicode { len: 40 }, text)),
        decimal,
        any::<bool>().prop_map(|bit| (Packing::Bit, vec![u8::from(bit)])),
    ];
    (value, prop::bool::weighted(0.8)).prop_map(|((packing, value), there)| (packing, there.then_some(value)))
}

fn packed<'a>(packing: Packing, value: Option<&[u8]>, stored: &'a [u8]) -> PackedCell<'a> {
    match (value, packing) {
        (None, _) => PackedCell::Null,
        (Some([1]), Packing::Bit) => PackedCell::True,
        _ => PackedCell::Bytes(stored),
    }
}

fn show(values: &[Option<Vec<u8>>]) -> String {
    let hex = |bytes: &Vec<u8>| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    values.iter().map(|value| value.as_ref().map_or("-".to_owned(), hex)).collect::<Vec<_>>().join(" ")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_encoded_is_decoded(columns in vec(packing(), 1..200), tagged: bool) {
        let (packings, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let stored: Vec<Vec<u8>> =
            packings.iter().zip(&values).map(|(&p, v)| v.as_deref().map_or(Vec::new(), |v| pack(p, v))).collect();
        let row_cells: Vec<_> =
            packings.iter().zip(&values).zip(&stored).map(|((&p, v), s)| packed(p, v.as_deref(), s)).collect();
        let mut row = Vec::new();
        encode_cd_record(&row_cells, tagged.then_some(&[9; 14]), &mut row);
        prop_assert_eq!(cells(&packings, &row, None).unwrap(), show(&values));
        let end = row.len() - if tagged { 14 } else { 0 };
        prop_assert_eq!(CdRecord::read(&row).unwrap().values_end(), end);
    }

    #[test]
    fn what_is_compressed_with_its_page_is_decoded(
        columns in vec((packing(), vec((any::<prop::sample::Index>(), 0..5usize), 12)), 1..40),
        variants in vec(vec(any::<u8>(), 0..9), 6),
    ) {
        // Few values per column, some with a common begin: what page compression is for.
        let packings: Vec<Packing> = columns.iter().map(|((p, _), _)| *p).collect();
        let mut rows: Vec<Vec<Option<Vec<u8>>>> = vec![Vec::new(); 12];
        for ((packing, value), choices) in &columns {
            for (row, (which, keep)) in rows.iter_mut().zip(choices) {
                let mut value = value.clone();
                if let (Packing::Plain, Some(value)) = (packing, &mut value) {
                    value.truncate(value.len().saturating_sub(*keep));
                    value.extend_from_slice(&variants[which.index(variants.len())]);
                } else if *keep == 0 {
                    value = None;
                }
                row.push(value);
            }
        }
        let stored: Vec<Vec<Vec<u8>>> = rows
            .iter()
            .map(|row| packings.iter().zip(row).map(|(&p, v)| v.as_deref().map_or(Vec::new(), |v| pack(p, v))).collect())
            .collect();
        let row_cells: Vec<Vec<PackedCell<'_>>> = rows
            .iter()
            .zip(&stored)
            .map(|(row, stored)| {
                packings.iter().zip(row).zip(stored).map(|((&p, v), s)| packed(p, v.as_deref(), s)).collect()
            })
            .collect();
        let (information, records) = compress_page(&row_cells);
        let (page, len) = PageCompression::read(&information).unwrap();
        prop_assert_eq!(len, information.len());
        for (row, record) in rows.iter().zip(&records) {
            prop_assert_eq!(cells(&packings, record, Some(&page)).unwrap(), show(row));
        }
    }

    #[test]
    fn damaged_rows_are_errors_at_worst(columns in vec(packing(), 1..70), at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let (packings, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let stored: Vec<Vec<u8>> =
            packings.iter().zip(&values).map(|(&p, v)| v.as_deref().map_or(Vec::new(), |v| pack(p, v))).collect();
        let row_cells: Vec<_> =
            packings.iter().zip(&values).zip(&stored).map(|((&p, v), s)| packed(p, v.as_deref(), s)).collect();
        let mut row = Vec::new();
        encode_cd_record(&row_cells, None, &mut row);
        let i = at.index(row.len());
        row[i] = byte;
        let _ = cells(&packings, &row, None);
        let _ = cells(&packings, &row[..cut.index(row.len())], None);
    }
}

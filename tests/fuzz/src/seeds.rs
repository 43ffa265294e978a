//! Sound inputs, written by the project's own encoders.

use std::sync::LazyLock;

use logferry_model::{Lsn, SqlType, TransactionId};
use logferry_mssql_format::encode::{
    BackupConfig, BackupFile, BackupKind, BeginXact, BlockBuilder, BootPage, ColumnChunk, ColumnImage, EndXact,
    FileHeader, FormatPage, FormatRecord, LobLink, MediaWriter, MtfDate, PageImage, PageTarget, RecordBuilder,
    RecordHead, RowShape, VlfDescription, bitmap_page, boot_page, compress_backup, compress_page, encode_cd_record,
    encode_in_row_root, encode_index_record, encode_lob_data, encode_lob_internal, encode_overflow_pointer, encode_row,
    file_header_page, iam_page, pack, pfs_page, xpress_compress,
};
use logferry_mssql_format::log::op::{Context, Op};
use logferry_mssql_format::mtf::DESCRIPTOR_ENOUGH;
use logferry_mssql_format::page::{PAGE_SIZE, PageId, PageType, RowId};
use logferry_mssql_format::row::compressed::PackedCell;
use logferry_mssql_format::row::{Packing, PhysicalColumn, Place, RowLayout};

use crate::targets::types;

const PAGE: PageId = PageId::new(1, 300);
const ROWSET: u64 = 72_057_594_040_000_000;
const XACT: TransactionId = TransactionId { high: 0, low: 0x345 };
const LSN: Lsn = Lsn::new(40, 16, 1);

fn places() -> Vec<Place> {
    vec![
        Place::Fixed { offset: 4, len: 4 },
        Place::Bit { offset: 8, bit: 0 },
        Place::Bit { offset: 8, bit: 1 },
        Place::Fixed { offset: 9, len: 8 },
        Place::Variable { index: 0 },
        Place::Variable { index: 1 },
        Place::Variable { index: 2 },
    ]
}

fn columns(places: Vec<Place>) -> Vec<PhysicalColumn> {
    places
        .into_iter()
        .enumerate()
        .map(|(bit, place)| PhysicalColumn { place, null_bit: bit as u16, missing: None })
        .collect()
}

/// Layouts that rows are read by: of a table, and of one with sparse columns.
pub(crate) static LAYOUTS: LazyLock<(RowLayout, RowLayout)> = LazyLock::new(|| {
    let mut sparse = places();
    sparse.push(Place::Sparse { column_id: 3 });
    (RowLayout::new(columns(places())), RowLayout::new(columns(sparse)))
});

const PACKINGS: [Packing; 9] = [
    Packing::Integer { len: 8 },
    Packing::Bit,
    Packing::Unicode,
    Packing::PaddedUnicode { len: 20 },
    Packing::Decimal { len: 17, precision: 38, scale: 10 },
    Packing::LowTrimmed { len: 8 },
    Packing::Padded { len: 10, fill: 0x20 },
    Packing::Plain,
    Packing::Padded { len: 8, fill: 0 },
];

/// The layout of compressed rows: forty columns, one packing after the other.
pub(crate) static PACKED: LazyLock<RowLayout> = LazyLock::new(|| {
    let packings = PACKINGS.into_iter().cycle().take(40);
    RowLayout::new(columns((0..).zip(packings).map(|(index, packing)| Place::Compressed { index, packing }).collect()))
});

pub(crate) fn compressed_rows() -> Vec<Vec<u8>> {
    let text: Vec<u8> = "Größe 大".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let decimal = [&[1][..], &12_345_600_000_000u128.to_le_bytes()].concat();
    let values: [&[u8]; 9] = [
        &(-70_000i64).to_le_bytes(),
        &[1],
        &text,
        &text,
        &decimal,
        &1.5f64.to_le_bytes(),
        b"ten       ",
        &[7; 20],
        &[0; 8],
    ];
    let stored: Vec<Vec<u8>> = PACKINGS.iter().zip(values).map(|(&packing, value)| pack(packing, value)).collect();
    let row = |from: usize| -> Vec<PackedCell<'_>> {
        let cell = |at: usize| match (PACKINGS[at % 9], at % 7) {
            (_, 5) => PackedCell::Null,
            (Packing::Bit, _) => PackedCell::True,
            _ => PackedCell::Bytes(&stored[at % 9]),
        };
        (0..40).map(|at| cell(at + 9 * from)).collect()
    };
    let rows: Vec<_> = (0..4).map(row).collect();
    let (information, against) = compress_page(&rows);
    let mut alone = Vec::new();
    encode_cd_record(&rows[0], Some(&[3; 14]), &mut alone);
    let input =
        |information: &[u8], row: &[u8]| [&(information.len() as u16).to_le_bytes()[..], information, row].concat();
    let mut seeds = vec![input(&[], &alone)];
    seeds.extend(against.iter().map(|row| input(&information, row)));
    seeds
}

pub(crate) fn rows() -> Vec<Vec<u8>> {
    let shape = RowShape { places: places(), fixed_end: 17 };
    let links = [
        LobLink { end: 8040, at: RowId { page: PAGE, slot: 3 } },
        LobLink { end: 9000, at: RowId { page: PAGE, slot: 4 } },
    ];
    let root = encode_in_row_root(1, 7, 99, &links);
    let overflow = encode_overflow_pointer(1, 99, 8000, RowId { page: PAGE, slot: 2 });
    let int = 5i32.to_le_bytes();
    let values = [
        ColumnImage::Bytes(&int),
        ColumnImage::Bytes(&[1]),
        ColumnImage::Null,
        ColumnImage::Bytes(&[7; 8]),
        ColumnImage::Bytes(b"some text"),
        ColumnImage::Pointer(&root),
        ColumnImage::Pointer(&overflow),
    ];
    let mut plain = Vec::new();
    encode_row(&shape, &values, None, &mut plain);
    let mut tagged = Vec::new();
    encode_row(&shape, &[ColumnImage::Null; 7], Some(&[3; 14]), &mut tagged);
    let mut key = Vec::new();
    let key_shape = RowShape { places: vec![Place::Fixed { offset: 1, len: 4 }], fixed_end: 5 };
    encode_index_record(&key_shape, &values[..1], true, Some(PAGE.to_bytes()), &mut key);
    let mut sparse = plain.clone();
    sparse.extend([5, 0, 1, 0, 3, 0, 10, 0, 1, 2, 3, 4]);
    let stub = [&[4][..], &RowId { page: PAGE, slot: 1 }.to_bytes()].concat();
    vec![
        plain,
        tagged,
        key,
        sparse,
        stub,
        root,
        overflow,
        encode_lob_data(77, &[5; 100]),
        encode_lob_internal(77, 1, &links),
    ]
}

fn format(id: PageId, page_type: PageType) -> FormatPage {
    FormatPage {
        id,
        page_type,
        type_flags: 0,
        level: 0,
        obj_id: 120,
        index_id: 256,
        prev: PageId::default(),
        next: PageId::default(),
        min_len: 17,
    }
}

fn data_page() -> PageImage {
    let mut page = PageImage::format(&format(PAGE, PageType::DATA));
    for slot in 0..20 {
        page.insert(slot, &rows()[0]);
    }
    page.set_lsn(Lsn::new(39, 16, 1));
    page
}

pub(crate) fn pages() -> Vec<Vec<u8>> {
    let mut lobs = PageImage::format(&format(PAGE, PageType::TEXT_MIX));
    lobs.insert(0, &encode_lob_data(77, &[5; 3000]));
    lobs.insert(1, &rows()[8]);
    let file = FileHeader {
        binding_id: [1; 16],
        file_guid: [2; 16],
        file_id: 1,
        filegroup_id: 1,
        size: 1 << 23,
        max_pages: u32::MAX,
        growth_pages: 8192,
        create_lsn: Lsn::ZERO,
        fork_guid: [3; 16],
        name: "db".into(),
    };
    let boot = BootPage {
        version: 852,
        create_version: 852,
        compat_level: 130,
        created: [0; 8],
        name: "db".into(),
        database_id: 5,
        collation: 0x3400_d008,
        broker_guid: [7; 16],
        family_guid: [4; 16],
        fork_guid: [3; 16],
        first_sysallocunits: PageId::new(1, 20),
        checkpoint: LSN,
        next_transaction: 1000,
        next_alloc_unit: 1 << 40,
    };
    [
        data_page(),
        lobs,
        iam_page(PageId::new(1, 77), 120, 256, 0, PageId::new(1, 0)),
        pfs_page(PageId::new(1, 1)),
        bitmap_page(PageId::new(1, 2), PageType::GAM, 128, true),
        file_header_page(&file),
        boot_page(&boot),
    ]
    .iter()
    .map(|page| page.sealed().to_vec())
    .collect()
}

fn head() -> RecordHead {
    RecordHead { prev_lsn: LSN, flags: 2, transaction: XACT }
}

fn target(slot: u16) -> PageTarget {
    PageTarget { page: PAGE, slot, obj_id: 120, index_id: 256, prev_page_lsn: Lsn::new(39, 16, 1) }
}

pub(crate) fn records() -> Vec<Vec<u8>> {
    let row = rows().swap_remove(0);
    let mut b = RecordBuilder::new();
    let mut all = Vec::new();
    let begin = BeginXact {
        spid: 51,
        status: 1,
        xact_type: 1,
        time: [0; 8],
        xact_id: 9,
        oldest_active: XACT,
        parent: TransactionId::default(),
        name: "user_transaction",
        sid: &[1],
    };
    all.push(b.begin_xact(&head(), &begin).to_vec());
    let end = EndXact { time: [0; 8], begin_lsn: LSN, xact_id: 9 };
    all.push(b.end_xact(&head(), Op::COMMIT_XACT, &end).to_vec());
    all.push(b.mark_savepoint(&head(), Lsn::ZERO, "s").to_vec());
    all.push(b.lock_xact(&head(), &[5, 1, 0, 12, 0, 0, 1, 2, 3, 4, 0, 0]).to_vec());
    all.push(b.hobt_ddl(&head(), ROWSET, 1).to_vec());
    let none: &[u8] = &[];
    all.push(b.insert_rows(&head(), Context::CLUSTERED, &target(3), ROWSET, 0, &[&row], none).to_vec());
    all.push(b.insert_rows(&head(), Context::CLUSTERED, &target(3), ROWSET, 0, &[&row[..]; 30], none).to_vec());
    all.push(b.insert_rows(&head(), Context::HEAP, &target(3), ROWSET, 2, &[&row], none).to_vec());
    all.push(b.delete_rows(&head(), Context::MARK_AS_GHOST, &target(3), ROWSET, 0, &row, none).to_vec());
    all.push(b.delete_rows(&head(), Context::HEAP, &target(4), ROWSET, 0, &row, none).to_vec());
    all.push(b.delete_rows(&head(), Context::CLUSTERED, &target(4), ROWSET, 0, &row, none).to_vec());
    let (before, after) = (&row[4..8], &[9u8, 9, 9, 9][..]);
    all.push(
        b.modify_row(&head(), Context::CLUSTERED, &target(5), ROWSET, 4, 4, (before, after), (none, none)).to_vec(),
    );
    let chunks = [
        ColumnChunk { old_offset: 4, new_offset: 4, old_len: 2, before: &row[4..6], after: &[1, 2] },
        ColumnChunk { old_offset: 20, new_offset: 20, old_len: 1, before: &row[20..21], after: &[1, 2, 3] },
    ];
    all.push(b.modify_columns(&head(), Context::CLUSTERED, &target(6), ROWSET, &chunks, (none, none)).to_vec());
    all.push(b.expunge_rows(&RecordHead::NONE, Context::CLUSTERED, &target(7)).to_vec());
    all.push(b.delete_split(&head(), Context::CLUSTERED, &target(10), PageId::new(1, 301), 10, 600).to_vec());
    let format = FormatRecord {
        page_type: PageType::DATA,
        level: 0,
        prev: PageId::default(),
        next: PageId::default(),
        min_len: 17,
        iam_start: PageId::default(),
    };
    all.push(b.format_page(&head(), Context::CLUSTERED, &target(0xFFFF), &format).to_vec());
    all.push(b.in_sys_xact(&head(), Context::CLUSTERED, &target(0xFFFF), true).to_vec());
    all.push(b.begin_checkpoint(Lsn::ZERO, [0; 8], 852, XACT).to_vec());
    all.push(b.end_checkpoint(LSN, [0; 8], LSN, 852).to_vec());
    all
}

pub(crate) fn blocks() -> Vec<Vec<u8>> {
    let mut builder = BlockBuilder::new(LSN, 0xF000);
    for record in records() {
        builder.push(&record);
    }
    let whole = builder.finish(0x40, 512, true);
    let mut small = BlockBuilder::new(LSN, 0xF000);
    small.push(&records()[0]);
    vec![whole, small.finish(0x80, 512, false)]
}

pub(crate) fn redos() -> Vec<Vec<u8>> {
    let page = data_page().sealed().to_vec();
    let all = records();
    let with = |records: &[Vec<u8>]| {
        let mut input = page.clone();
        for record in records {
            input.extend((record.len() as u16).to_le_bytes());
            input.extend(record);
        }
        input
    };
    all.chunks(1).chain(all.chunks(5)).map(with).collect()
}

fn config(kind: BackupKind) -> BackupConfig {
    let date = MtfDate { year: 2019, month: 5, day: 2, hour: 20, minute: 59, second: 58 };
    BackupConfig {
        kind,
        first_lsn: LSN,
        last_lsn: Lsn::new(40, 32, 1),
        checkpoint_lsn: LSN,
        database_backup_lsn: Lsn::ZERO,
        log_archive_lsn: Lsn::ZERO,
        base: None,
        last_full_guid: [0; 16],
        created: MtfDate::default(),
        started: date,
        finished: date,
        database: "db".into(),
        server: "server".into(),
        user: "user".into(),
        version: 852,
        compat_level: 130,
        set_guid: [1; 16],
        media_guid: [2; 16],
        family_id: 7,
        binding_id: [3; 16],
        family_guid: [4; 16],
        fork_guid: [5; 16],
        forked_from: (LSN, [6; 16]),
        create_lsn: LSN,
        files: vec![BackupFile {
            file_id: 1,
            log: false,
            size: 8 * PAGE_SIZE as u64,
            name: "db".into(),
            path: "D:\\db.mdf".into(),
            guid: [6; 16],
            backed_up: 8 * PAGE_SIZE as u64,
        }],
        stripe: (1, 1),
        bulk_logged: false,
    }
}

pub(crate) fn media() -> Vec<Vec<u8>> {
    let log: Vec<u8> = blocks().swap_remove(0);
    let vlf = VlfDescription { file_id: 2, sequence: 40, size: 1 << 20, start: 0x2000, parity: 0x40, create_lsn: LSN };
    let mut full = MediaWriter::new(config(BackupKind::Full));
    let mut extent = Vec::new();
    for page in 0..8 {
        let mut image = PageImage::format(&format(PageId::new(1, page), PageType::DATA));
        image.insert(0, &rows()[0]);
        extent.extend(image.sealed());
    }
    full.begin_data(extent.len() as u64);
    full.raw(&extent);
    full.end_data();
    full.vlf(&vlf, Some((0x4000, &log)));
    full.finish(config(BackupKind::Full));
    let mut log_backup = MediaWriter::new(config(BackupKind::Log));
    log_backup.vlf(&vlf, Some((0x4000, &log)));
    log_backup.finish(config(BackupKind::Log));
    vec![full.take(), log_backup.take()]
}

/// Compressed pages and log blocks, behind half their length.
pub(crate) fn compressed() -> Vec<Vec<u8>> {
    let all = [pages(), blocks(), vec![vec![0; 0x1_0000], pages().concat(), pages().concat().repeat(2)]];
    all.concat()
        .into_iter()
        .map(|bytes| {
            let bytes = &bytes[..bytes.len().min(0x1_fffe) / 2 * 2];
            let mut seed = ((bytes.len() / 2) as u16).to_le_bytes().to_vec();
            xpress_compress(bytes, &mut seed);
            seed
        })
        .collect()
}

/// The media, compressed.
pub(crate) fn containers() -> Vec<Vec<u8>> {
    media().iter().map(|file| compress_backup(file)).collect()
}

/// The media cut into blocks: one input for each that a descriptor or a stream begins in.
pub(crate) fn descriptors() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for file in media() {
        for kind in
            ["TAPE", "SSET", "VOLB", "MSCI", "MSDA", "MSTL", "MSLS", "ESET", "SCIN", "SFMB", "MQDA", "MQTL", "SPAD"]
        {
            let found = file.windows(4).position(|w| w == kind.as_bytes());
            all.extend(found.map(|at| file[at..file.len().min(at + 4 * DESCRIPTOR_ENOUGH)].to_vec()));
        }
    }
    all
}

pub(crate) fn cells() -> Vec<Vec<u8>> {
    (0..types().len() as u8)
        .flat_map(|kind| {
            [1usize, 3, 4, 5, 8, 16, 17, 60].map(|len| {
                let mut input = vec![kind];
                input.extend((0..len as u8).map(|i| i.wrapping_mul(37) ^ 0x41));
                input
            })
        })
        .chain(structured())
        .collect()
}

/// Binary XML, a path, shapes.
fn structured() -> Vec<Vec<u8>> {
    let xml = [0xDF, 0xFF, 2, 0xB0, 4, 0xF0, 1, b'a', 0, 0xEF, 0, 0, 1, 0xF8, 1, 0xF6, 1, 0x11, 1, b'x', 0, 0xF5];
    let xml = [&xml[..], &[0x0A, 7, 5, 2, 0, 0x39, 0x30, 0, 0, 0xF7]].concat();
    let path = vec![0b0101_1001, 0b1111_1011, 0b0000_0101, 0b0100_0000];
    let mut shapes = vec![0xE6, 0x10, 0, 0, 2, 4, 3, 0, 0, 0];
    shapes.extend([0x40; 48]);
    shapes.extend([2, 0, 0, 0, 3, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    shapes.extend([
        3, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 1, 0, 0, 0, 3,
    ]);
    shapes.extend([1, 0, 0, 0, 3]);
    let mut seeds = Vec::new();
    for (kind, sql_type) in (0u8..).zip(types()) {
        let value = match sql_type {
            SqlType::Xml => &xml,
            SqlType::HierarchyId => &path,
            SqlType::Geometry | SqlType::Geography => &shapes,
            _ => continue,
        };
        seeds.push([&[kind][..], value].concat());
    }
    seeds
}

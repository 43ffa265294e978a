//! One function per decoder: read everything that it gives, swallow its errors.

use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;

use logferry_model::{Cell, Collation, Lsn, SourceColumn, SqlType, TableId, TableName, TableVersion};
use logferry_mssql_backup::set::BackupSet;
use logferry_mssql_format::alloc::{Iam, PfsByte};
use logferry_mssql_format::boot::Boot;
use logferry_mssql_format::container::{ContainerHeader, ContainerRecord, FIRST_RECORD, checksum};
use logferry_mssql_format::encode::xpress_compress;
use logferry_mssql_format::file_header::FileHeader;
use logferry_mssql_format::lob::{LobNode, LobRecord};
use logferry_mssql_format::log::block::Block;
use logferry_mssql_format::log::record::Record;
use logferry_mssql_format::log::vlf::VlfHeader;
use logferry_mssql_format::log::xact::Xact;
use logferry_mssql_format::mtf::{Config, Descriptor, LogPiece, SetStart, StreamHeader, Tape};
use logferry_mssql_format::page::{PAGE_SIZE, Page, PageBytes, verify};
use logferry_mssql_format::redo::{self, rewind};
use logferry_mssql_format::render;
use logferry_mssql_format::row::compressed::PageCompression;
use logferry_mssql_format::row::{Expanded, FixedVar, OffRow, RawCell, RowLayout, row_len, stub_target};
use logferry_mssql_format::xpress::decompress;
use logferry_transform::{Settings, TablePlan};

use crate::Target;
use crate::seeds;

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "page", run: page, seeds: seeds::pages },
    Target { name: "row", run: row, seeds: seeds::rows },
    Target { name: "compressed_row", run: compressed_row, seeds: seeds::compressed_rows },
    Target { name: "block", run: block, seeds: seeds::blocks },
    Target { name: "record", run: record, seeds: seeds::records },
    Target { name: "redo", run: redo_on_page, seeds: seeds::redos },
    Target { name: "mtf", run: mtf, seeds: seeds::descriptors },
    Target { name: "media", run: media, seeds: seeds::media },
    Target { name: "xpress", run: xpress, seeds: seeds::compressed },
    Target { name: "container", run: container, seeds: seeds::containers },
    Target { name: "cell", run: cell, seeds: seeds::cells },
];

/// Bytes of a page, from wherever: too short ones are filled with zeroes.
fn page_bytes(data: &[u8]) -> Box<PageBytes> {
    let mut page = Box::new([0; PAGE_SIZE]);
    let len = data.len().min(PAGE_SIZE);
    page[..len].copy_from_slice(&data[..len]);
    page
}

/// A page of any kind: header, slots, records, allocation maps, boot page, file header.
fn page(data: &[u8]) {
    let mut bytes = page_bytes(data);
    let _ = verify(&mut bytes);
    let bytes = page_bytes(data);
    if let Ok(page) = Page::read(&bytes) {
        for (slot, row) in page.rows().flatten() {
            black_box((slot, row_len(row, page.header.min_len).ok()));
            any_record(row);
        }
    }
    if let Ok(iam) = Iam::read(&bytes) {
        black_box(iam.single_pages().count());
        if let Ok(extents) = iam.extents() {
            black_box(extents.count());
        }
    }
    for page in [0, 1, 8087, 8088, u32::MAX] {
        let _ = black_box(PfsByte::find(&bytes, logferry_mssql_format::page::PageId::new(1, page)));
    }
    let _ = black_box(Boot::read(&bytes));
    let _ = black_box(FileHeader::read(&bytes));
}

/// A record of a data, index or LOB page.
fn row(data: &[u8]) {
    any_record(data);
    let layouts: [&RowLayout; 2] = [&seeds::LAYOUTS.0, &seeds::LAYOUTS.1];
    let mut cells = Vec::new();
    for layout in layouts {
        cells.clear();
        if layout.decode(data, &mut cells).is_ok() {
            for cell in &cells {
                if let RawCell::OffRow(pointer) = cell {
                    off_row(pointer);
                }
            }
        }
    }
    if let Ok(pointer) = OffRow::read(data) {
        off_row(&pointer);
    }
}

/// A compressed row, by itself and with the compression information of its page. Input: a `u16` length, the information, the row.
fn compressed_row(data: &[u8]) {
    let Some((len, rest)) = data.split_first_chunk::<2>() else { return };
    let len = usize::from(u16::from_le_bytes(*len)).min(rest.len());
    let (information, row) = rest.split_at(len);
    let page = PageCompression::read(information).ok().map(|(page, _)| page);
    for page in [None, page.as_ref()] {
        let mut expanded = Expanded::default();
        if seeds::PACKED.expand(row, page, &mut expanded).is_ok() {
            let _ = black_box(expanded.cells(&seeds::PACKED, &mut Vec::new()));
        }
    }
}

fn off_row(pointer: &OffRow<'_>) {
    black_box((pointer.root_record().ok(), pointer.level().ok()));
    black_box(pointer.links().take(10_000).count());
}

fn any_record(data: &[u8]) {
    if let Ok(row) = FixedVar::read(data) {
        for column in 0..row.variable_count() {
            let _ = black_box(row.variable(column));
        }
        black_box((row.is_null(0), row.is_null(u16::MAX)));
        let _ = black_box((row.forwarded_from(), row.version_tag(), row.record_len()));
    }
    let _ = black_box(stub_target(data));
    if let Ok(LobRecord::Node(node)) = LobRecord::read(data) {
        black_box(LobNode::links(&node).take(10_000).count());
    }
}

/// A log block: sectors, slots, and all its records.
fn block(data: &[u8]) {
    let mut raw = data.to_vec();
    if let Ok(block) = Block::read(&mut raw) {
        block.records().take(100_000).flatten().for_each(|r| read_record(&r));
    }
    if let Ok(block) = Block::read_restored(data) {
        block.records().take(100_000).flatten().for_each(|r| read_record(&r));
    }
    let _ = black_box(VlfHeader::read(data, 0x2000));
}

/// A log record.
fn record(data: &[u8]) {
    if let Ok(record) = Record::read(Lsn::new(1, 2, 3), data) {
        read_record(&record);
    }
}

fn read_record(record: &Record<'_>) {
    black_box(record.elements().map(<[u8]>::len).sum::<usize>());
    let _ = black_box((record.page_op(), record.row_op()));
    if let Ok(Some(xact)) = Xact::read(record) {
        black_box(format!("{xact:?}"));
    }
    for row in redo::inserted_rows(record).take(10_000) {
        any_record(row);
    }
}

/// A record applied to a page, and the page rewound by it. Input: 8 KiB of page, then records, each behind a `u16` length.
fn redo_on_page(data: &[u8]) {
    let base = page_bytes(data);
    let mut rest = data.get(PAGE_SIZE..).unwrap_or_default();
    let mut records = Vec::new();
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_le_bytes(*len)).min(after.len());
        let (bytes, next) = after.split_at(len);
        let lsn = Lsn::new(100, 16, records.len() as u16 + 1);
        records.extend(Record::read(lsn, bytes));
        rest = next;
    }
    let mut page = base.clone();
    for record in &records {
        // Whatever page the record was written for, it gets this one at the right LSN: what is tried is the change.
        if let Ok(Some(op)) = redo::target(record) {
            redo::set_lsn(&mut page, op.prev_page_lsn);
        }
        let _ = black_box(redo::apply(&mut page, record));
    }
    let steps: Vec<_> = records
        .iter()
        .map(|record| rewind::Step { record: *record, undone: records.first().copied(), moved: records.clone() })
        .collect();
    let _ = black_box(rewind::rewind(&page, &steps));
}

/// The blocks and streams of backup files, one by one.
fn mtf(data: &[u8]) {
    let _ = black_box((Descriptor::read(data), Tape::read_raid(data), SetStart::read(data), LogPiece::read(data)));
    let _ = black_box(StreamHeader::read(data).map(|s| s.next_at(u64::MAX)));
    let _ = black_box(Config::read(data));
}

/// A whole backup file: walked, its pages and its log read.
fn media(data: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(data).expect("a temporary file");
    let Ok(set) = BackupSet::open(&[file.path().to_owned()], None) else { return };
    if let Ok(pages) = set.pages() {
        let mut page = [0; PAGE_SIZE];
        for run in pages.runs().take(100) {
            black_box(run);
        }
        for number in 0..20 {
            let id = logferry_mssql_format::page::PageId::new(1, number);
            let _ = logferry_mssql_backup::pages::PageSource::read_page(&pages, id, &mut page);
        }
    }
    if let Ok(mut log) = set.log(set.header.first_lsn) {
        while let Ok(Some(block)) = logferry_mssql_backup::LogBlocks::next_block(&mut log) {
            block.records().flatten().for_each(|r| read_record(&r));
        }
    }
}

/// Compressed data. Input: `u16` bytes to make / 2, then the data.
fn xpress(data: &[u8]) {
    let Some((len, data)) = data.split_first_chunk::<2>() else { return };
    let mut output = vec![0; usize::from(u16::from_le_bytes(*len)) * 2];
    if decompress(data, &mut output).is_ok() {
        let mut again = Vec::new();
        xpress_compress(&output, &mut again);
        let mut twice = vec![0; output.len()];
        decompress(&again, &mut twice).expect("what we compressed");
        assert!(output == twice, "compressed data comes back otherwise");
    }
}

/// A compressed backup file: its checksums are made to fit, so that what is behind them is reached; then read as any backup.
fn container(data: &[u8]) {
    let mut data = data.to_vec();
    mend(&mut data);
    media(&data);
}

/// Writes the checksums anew that the records of a compressed backup should have.
fn mend(data: &mut [u8]) {
    let Ok(header) = ContainerHeader::read(data) else { return };
    let mut at = FIRST_RECORD as usize;
    while let Some(rest) = data.get_mut(at..) {
        if rest.starts_with(b"SFMB") {
            let Ok(mark) = Descriptor::read(rest) else { return };
            at += usize::from(mark.streams_at);
            continue;
        }
        let Ok(record) = ContainerRecord::read(rest, header) else { return };
        let (data_at, end) = (record.data_at as usize, record.end() as usize);
        if let Some(bytes) = rest.get(data_at..end) {
            let sum = checksum(bytes);
            if record.makes() > 0 {
                rest[data_at - 4..data_at].copy_from_slice(&sum.to_le_bytes());
            }
        }
        at += end;
    }
}

/// A cell of any type and any bytes: shown as JSON, converted for PostgreSQL. Input: a byte for the type, then the cell.
fn cell(data: &[u8]) {
    let Some((&kind, bytes)) = data.split_first() else { return };
    let types = types();
    let sql_type = types[usize::from(kind) % types.len()].clone();
    black_box(render::value(Cell::Bytes(bytes), &sql_type));
    let table = Arc::new(TableVersion {
        id: TableId(1),
        version: 1,
        name: TableName::new("dbo", "t"),
        columns: vec![SourceColumn {
            id: 1,
            name: "c".into(),
            sql_type,
            alias: None,
            nullable: true,
            identity: None,
            computed: false,
            missing: None,
            stored: None,
        }],
        primary_key: None,
        unique_keys: Vec::new(),
        notes: Vec::new(),
    });
    if let Ok(plan) = TablePlan::compile(&table, &Settings::default()) {
        let _ = black_box(plan.copy_row(&[Cell::Bytes(bytes)], &mut Vec::new()));
    }
}

/// One of each type.
pub(crate) fn types() -> Vec<SqlType> {
    let collation = Collation(0x3400_d008);
    vec![
        SqlType::Bit,
        SqlType::TinyInt,
        SqlType::SmallInt,
        SqlType::Int,
        SqlType::BigInt,
        SqlType::Decimal { precision: 38, scale: 20 },
        SqlType::Decimal { precision: 9, scale: 9 },
        SqlType::SmallMoney,
        SqlType::Money,
        SqlType::Real,
        SqlType::Float,
        SqlType::Date,
        SqlType::Time { scale: 7 },
        SqlType::DateTime,
        SqlType::SmallDateTime,
        SqlType::DateTime2 { scale: 3 },
        SqlType::DateTimeOffset { scale: 7 },
        SqlType::UniqueIdentifier,
        SqlType::Char { length: 10, collation },
        SqlType::VarChar { length: None, collation },
        SqlType::NVarChar { length: Some(40), collation },
        SqlType::NChar { length: 10, collation },
        SqlType::Binary { length: 8 },
        SqlType::VarBinary { length: None },
        SqlType::RowVersion,
        SqlType::Variant,
        SqlType::Xml,
        SqlType::HierarchyId,
        SqlType::Geometry,
        SqlType::Geography,
        SqlType::Vector,
        SqlType::Clr,
        SqlType::Json,
        SqlType::Unknown { code: 77 },
    ]
}

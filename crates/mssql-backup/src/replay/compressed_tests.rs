//! Changes of compressed rows through the whole replay. No log with such rows is at hand: table and catalog are a real server's, the
//! records are encoded as [`row::compressed`](logferry_mssql_format::row::compressed) says what is assumed.

#[path = "../../tests/fixtures/mod.rs"]
mod fixtures;

use std::sync::Arc;

use logferry_model::{ChangeOp, EventBatch, Lineage, Lsn, RowRef, SourceEvent, TransactionId};
use logferry_mssql_format::encode::{
    BeginXact, ColumnChunk, EndXact, FormatRecord, PageTarget, RecordBuilder, RecordHead, compress_page,
    encode_cd_record, pack,
};
use logferry_mssql_format::log::record::flags;
use logferry_mssql_format::page::HEADER_SIZE;
use logferry_mssql_format::render;
use logferry_mssql_format::row::Packing;
use logferry_mssql_format::row::compressed::PackedCell;

use super::*;
use crate::BackupSet;
use crate::blob_rows::BlobPages;
use crate::emit::Emitter;
use crate::scan::LobReader;

const PAGE: PageId = PageId::new(1, 99_999);
const XACT: TransactionId = TransactionId { high: 0, low: 7 };

/// In the order of the rows: uniquifier, sysend, sysstart, empid, empname, department, salary, hiredate.
fn values(id: i32, name: &str) -> Vec<Option<Vec<u8>>> {
    let time = pack(Packing::Padded { len: 6, fill: 0 }, &[0, 0, 0, 0x5F, 0x37, 0x0B]);
    vec![
        Some(Vec::new()),
        Some(time.clone()),
        Some(time),
        Some(pack(Packing::Integer { len: 4 }, &id.to_le_bytes())),
        Some(name.as_bytes().to_vec()),
        Some(b"IT".to_vec()),
        Some(pack(Packing::Decimal { len: 9, precision: 10, scale: 2 }, &[1, 57, 48, 0, 0, 0, 0, 0, 0])),
        None,
    ]
}

fn encoded(values: &[Option<Vec<u8>>]) -> Vec<u8> {
    let cells: Vec<_> = values.iter().map(|v| v.as_deref().map_or(PackedCell::Null, PackedCell::Bytes)).collect();
    let mut row = Vec::new();
    encode_cd_record(&cells, None, &mut row);
    row
}

fn row(id: i32, name: &str) -> Vec<u8> {
    encoded(&values(id, name))
}

/// A replay over the pages of a backup, and what the log is made of.
struct Log {
    replay: Replay,
    builder: RecordBuilder,
    rowset: u64,
    unit: (u32, u16),
    next: u16,
    prev: Lsn,
    prev_page: Lsn,
    committed: Option<Box<Committed>>,
    /// In place of what the next record does.
    op: Option<Op>,
}

impl Log {
    fn new() -> Option<Self> {
        let root = fixtures::fixtures()?;
        let set = BackupSet::open(&[root.join("backups/tsql2012-2016-compressed.bak")], None).unwrap();
        let store = PageStore::new(Arc::new(set.pages().unwrap()) as Arc<dyn PageSource>, 1 << 20);
        let replay = Replay::new(store, FxHashMap::default(), FxHashMap::default(), 1 << 20).unwrap();
        let catalog = replay.shapes.catalog().unwrap();
        let rowset = catalog.rowsets_of(catalog.find_table("dbo.EmployeesHistory").unwrap()).next().unwrap();
        let unit = rowset.alloc_units.first().unwrap().id;
        let mut log = Log {
            rowset: rowset.id,
            unit: ((unit >> 16) as u32, (unit >> 48) as u16),
            builder: RecordBuilder::new(),
            next: 0,
            prev: Lsn::ZERO,
            prev_page: Lsn::ZERO,
            committed: None,
            op: None,
            replay,
        };
        let begin = BeginXact {
            spid: 51,
            status: 1,
            xact_type: 1,
            time: [0; 8],
            xact_id: 1,
            oldest_active: XACT,
            parent: TransactionId { high: 0, low: 0 },
            name: "user_transaction",
            sid: &[1],
        };
        log.record(|b, head, _| {
            b.begin_xact(head, &begin);
        });
        Some(log)
    }

    fn lsn(&self) -> Lsn {
        Lsn::new(9_999, 16, self.next)
    }

    fn record(&mut self, build: impl FnOnce(&mut RecordBuilder, &RecordHead, &PageTarget)) {
        let head = RecordHead { prev_lsn: self.prev, flags: flags::IN_TRANSACTION, transaction: XACT };
        self.push(head, 0, build);
    }

    fn push(&mut self, head: RecordHead, slot: u16, build: impl FnOnce(&mut RecordBuilder, &RecordHead, &PageTarget)) {
        self.next += 1;
        let lsn = self.lsn();
        let (obj_id, index_id) = self.unit;
        let target = PageTarget { page: PAGE, slot, obj_id, index_id, prev_page_lsn: self.prev_page };
        let mut builder = std::mem::take(&mut self.builder);
        build(&mut builder, &head, &target);
        let mut bytes = builder.bytes().to_vec();
        if let Some(op) = self.op.take() {
            bytes[22] = op.0;
        }
        let record = Record::read(lsn, &bytes).unwrap();
        if record.page_op().unwrap().is_some() {
            self.prev_page = lsn;
        }
        self.committed = self.replay.record(&record).unwrap();
        self.builder = builder;
        self.prev = lsn;
    }

    fn format(&mut self) {
        let none = PageId::default();
        let f =
            FormatRecord { page_type: PageType::DATA, level: 0, prev: none, next: none, min_len: 5, iam_start: none };
        self.record(|b, head, target| {
            b.format_page(head, Context::CLUSTERED, target, &f);
        });
    }

    fn on_row(&mut self, slot: u16, build: impl FnOnce(&mut RecordBuilder, &RecordHead, &PageTarget)) {
        let head = RecordHead { prev_lsn: self.prev, flags: flags::IN_TRANSACTION, transaction: XACT };
        self.push(head, slot, build);
    }

    fn insert(&mut self, slot: u16, rows: &[&[u8]]) {
        let rowset = self.rowset;
        self.on_row(slot, |b, head, target| {
            b.insert_rows(head, Context::CLUSTERED, target, rowset, 0, rows, &[]);
        });
    }

    fn modify(&mut self, slot: u16, from: usize, old: &[u8], new: &[u8]) {
        let (rowset, images) = (self.rowset, (&old[from..], &new[from..]));
        self.on_row(slot, |b, head, target| {
            let size = images.0.len() as u16;
            b.modify_row(head, Context::CLUSTERED, target, rowset, from as u16, size, images, (&[], &[]));
        });
    }

    fn delete(&mut self, slot: u16, row: &[u8]) {
        let rowset = self.rowset;
        self.on_row(slot, |b, head, target| {
            b.delete_rows(head, Context::MARK_AS_GHOST, target, rowset, 0, row, &[]);
        });
    }

    /// Commits; gives what is told, a line each: of rows `empid` and `empname`.
    fn told(&mut self) -> Vec<String> {
        let end = EndXact { time: [0; 8], begin_lsn: Lsn::new(9_999, 16, 1), xact_id: 1 };
        let head = RecordHead { prev_lsn: end.begin_lsn, flags: flags::IN_TRANSACTION, transaction: XACT };
        self.push(head, 0, |b, head, _| {
            b.end_xact(head, Op::COMMIT_XACT, &end);
        });
        let Some(mut committed) = self.committed.take() else { return Vec::new() };
        let mut batch = EventBatch::default();
        let mut emitter = Emitter {
            shapes: &self.replay.shapes,
            pages: &self.replay.store,
            lobs: &mut LobReader::default(),
            told: &mut FxHashMap::default(),
            told_last: None,
            told_unreadable: &mut Default::default(),
            blob_pages: &mut BlobPages::default(),
            spare: Default::default(),
        };
        assert!(committed.fill(&mut emitter, Lineage::default(), usize::MAX, &mut batch).unwrap());
        let mut lines = Vec::new();
        for event in &batch.events {
            match event {
                SourceEvent::Change(change) => {
                    let show = |row: RowRef| {
                        let cells: Vec<_> = batch.rows.row(row).cells().collect();
                        let mut line = String::new();
                        render::row(&change.table, &cells, &mut line);
                        let row: serde_json::Value = serde_json::from_str(&line).unwrap();
                        assert_eq!(
                            (row["salary"].to_string(), &row["department"]),
                            ("123.45".to_owned(), &"IT".into())
                        );
                        format!("{} {}", row["empid"], row["empname"].as_str().unwrap())
                    };
                    lines.push(match change.op {
                        ChangeOp::Insert { after } => format!("+{}", show(after)),
                        ChangeOp::Update { before, after } => format!("{} > {}", show(before), show(after)),
                        ChangeOp::Delete { before } => format!("-{}", show(before)),
                        ChangeOp::Truncate => "truncate".to_owned(),
                    });
                }
                SourceEvent::Unreadable { table, why, .. } => lines.push(format!("{}: {why}", table.name)),
                _ => {}
            }
        }
        lines
    }
}

#[test]
fn rows_that_are_compressed_each_by_itself_are_followed() {
    let Some(mut log) = Log::new() else { return };
    let long = "a name of more than eight letters";
    log.format();
    log.insert(0, &[&row(1, "Ann"), &row(2, "Bob"), &row(300, long)]);
    // The same length, and another; in place, and by columns.
    log.modify(0, 5, &row(1, "Ann"), &row(1, "Eve"));
    log.modify(1, 0, &row(2, "Bob"), &row(2, long));
    let (old, new) = (row(300, long), row(300, "Cy"));
    let chunk = |at: usize, old_end: usize, new_end: usize| ColumnChunk {
        old_offset: at as u16,
        new_offset: at as u16,
        old_len: (old_end - at) as u16,
        before: &old[at..old_end],
        after: &new[at..new_end],
    };
    let (rowset, chunks) = (log.rowset, [chunk(0, 6, 6), chunk(6, old.len(), new.len())]);
    log.on_row(2, |b, head, target| {
        b.modify_columns(head, Context::CLUSTERED, target, rowset, &chunks, (&[], &[]));
    });
    log.delete(0, &row(1, "Eve"));
    // Undone: a row that comes and goes again.
    let before = log.prev;
    log.insert(3, &[&row(4, "never")]);
    let head = RecordHead { prev_lsn: before, flags: flags::IN_TRANSACTION | flags::COMPENSATION, transaction: XACT };
    log.push(head, 3, |b, head, target| {
        b.delete_rows(head, Context::MARK_AS_GHOST, target, rowset, 0, &[], &[]);
    });
    assert_eq!(
        log.told(),
        [
            "+1 Ann",
            "+2 Bob",
            &format!("+300 {long}"),
            "1 Ann > 1 Eve",
            &format!("2 Bob > 2 {long}"),
            &format!("300 {long} > 300 Cy"),
            "-1 Eve",
        ]
    );
}

/// A page of one row; then `change`, which must be told as one that cannot be read.
#[track_caller]
fn check_refused(change: impl FnOnce(&mut Log), why: &str) {
    let Some(mut log) = Log::new() else { return };
    log.format();
    log.insert(0, &[&row(1, "Ann")]);
    change(&mut log);
    let told = log.told();
    let [first, last] = &told[..] else { panic!("{told:?}") };
    assert_eq!(first, "+1 Ann");
    assert!(last.starts_with("dbo.EmployeesHistory: ") && last.contains(why), "{last}");
}

#[test]
fn what_does_not_fit_is_told_as_unreadable() {
    let ann = row(1, "Ann");
    // Of what came on the page, and of what the record says was there.
    check_refused(|log| log.insert(1, &[&[&row(2, "Bob")[..], &[0]].concat()]), "a compressed row of");
    check_refused(|log| log.modify(0, 5, &row(1, "Ana"), &row(1, "Eve")), "not those to change");
    check_refused(|log| log.delete(0, &row(2, "Ann")), "not the one to delete");
    check_refused(|log| log.modify(0, 0, &ann, &[&ann[..], &[1]].concat()), "stands in");
    // Of the table.
    let mut more = values(2, "Bob");
    more.push(Some(vec![1]));
    check_refused(|log| log.insert(1, &[&encoded(&more)]), "has 9 columns, its table 8");
    let mut wide = values(2, "Bob");
    wide[3] = Some(vec![0x81, 2, 3, 4, 5]);
    check_refused(|log| log.insert(1, &[&encoded(&wide)]), "5 bytes are stored of a value of 4");
    // The row of an uncompressed table.
    check_refused(|log| log.insert(1, &[&[0x10, 0, 4, 0, 1, 0, 0]]), "not compressed");
    // A record that is missing in between: what the page holds is not known.
    check_refused(
        |log| {
            log.prev_page = Lsn::new(9_998, 16, 1);
            log.insert(1, &[&row(2, "Bob")]);
        },
        "cannot be applied",
    );
}

#[test]
fn pages_that_are_compressed_as_a_whole_are_told_as_unreadable() {
    let cells = values(1, "a name of more than eight letters");
    let cells: Vec<_> = cells.iter().map(|v| v.as_deref().map_or(PackedCell::Null, PackedCell::Bytes)).collect();
    let (information, records) = compress_page(&[cells.clone(), cells]);
    // The page that comes with its rows.
    check_refused(
        |log| {
            let mut image = vec![0; HEADER_SIZE];
            (image[0], image[1], image[2], image[22]) = (1, PageType::DATA.0, 0x80, 1);
            image[32..38].copy_from_slice(&PAGE.to_bytes());
            image.extend(&information);
            let at = image.len() as u16;
            image.extend(&records[0]);
            let end = image.len() as u16;
            image[30..32].copy_from_slice(&end.to_le_bytes());
            log.record(|b, head, target| {
                b.format_image(head, Context::CLUSTERED, target, PageType::DATA, (&image, &at.to_le_bytes()));
            });
        },
        "compressed as a whole (PAGE)",
    );
    // One that becomes so behind our back: the record of that is not known, nor is any change after it, whatever it seems to be.
    check_refused(
        |log| {
            let rowset = log.rowset;
            log.op = Some(Op::COMPRESSION_INFO);
            log.on_row(0, |b, head, target| {
                b.modify_row(head, Context::CLUSTERED, target, rowset, 0, 0, (&[], &[]), (&[], &[]));
            });
            log.insert(1, &[&row(2, "Bob")]);
        },
        "COMPRESSION_INFO",
    );
}

//! What the encoders write, the decoders read: records of every operation, media, maps, LOB records.

use logferry_model::{Lsn, TransactionId};
use logferry_mssql_format::alloc::{Iam, PfsByte};
use logferry_mssql_format::boot::Boot;
use logferry_mssql_format::encode::{
    BackupConfig, BackupFile, BackupKind, BeginXact, BootPage, ColumnChunk, CountDelta, EndXact, FileHeader,
    FormatRecord, LobLink, MediaWriter, MtfDate, PageTarget, RecordBuilder, RecordHead, RootChange, VlfDescription,
    VlfHeaderImage, boot_page, encode_in_row_root, encode_large_root, encode_lob_data, encode_lob_internal,
    encode_overflow_pointer, encode_small_root, file_header_page, iam_page, pfs_page,
};
use logferry_mssql_format::lob::LobRecord;
use logferry_mssql_format::log::op::{Context, Op};
use logferry_mssql_format::log::record::{Record, flags};
use logferry_mssql_format::log::vlf::VlfHeader;
use logferry_mssql_format::log::xact::{HobtAction, Xact};
use logferry_mssql_format::mtf;
use logferry_mssql_format::mtf::{Config, Descriptor, FileKind, LogPiece, SetStart, StreamHeader};
use logferry_mssql_format::page::{PageId, PageType, RowId};
use logferry_mssql_format::row::{OffRow, OffRowKind};
use proptest::collection::vec;
use proptest::prelude::*;

fn lsn() -> impl Strategy<Value = Lsn> {
    (any::<u32>(), any::<u32>(), any::<u16>()).prop_map(|(a, b, c)| Lsn::new(a, b, c))
}

fn page_id() -> impl Strategy<Value = PageId> {
    (any::<u16>(), any::<u32>()).prop_map(|(file, page)| PageId::new(file, page))
}

fn row_id() -> impl Strategy<Value = RowId> {
    (page_id(), any::<u16>()).prop_map(|(page, slot)| RowId { page, slot })
}

fn head() -> impl Strategy<Value = RecordHead> {
    (lsn(), any::<u16>(), any::<u32>(), any::<bool>()).prop_map(|(prev_lsn, high, low, undo)| RecordHead {
        prev_lsn,
        flags: flags::IN_TRANSACTION | u16::from(undo),
        transaction: TransactionId { high, low },
    })
}

fn target() -> impl Strategy<Value = PageTarget> {
    (row_id(), any::<u32>(), any::<u16>(), lsn()).prop_map(|(row, obj_id, index_id, prev_page_lsn)| PageTarget {
        page: row.page,
        slot: row.slot,
        obj_id,
        index_id,
        prev_page_lsn,
    })
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..max)
}

/// Reads a record back and checks what all records say.
fn read<'a>(bytes: &'a [u8], head: &RecordHead, op: Op, context: Context) -> Record<'a> {
    assert_eq!(bytes.len() % 8, 0, "records are padded");
    let record = Record::read(Lsn::new(1, 16, 1), bytes).unwrap();
    let transaction = (record.prev_lsn, record.flags, record.transaction);
    assert_eq!(transaction, (head.prev_lsn, head.flags, head.transaction));
    assert_eq!((record.op, record.context), (op, context));
    record
}

/// The same, of an operation on a page.
fn read_page<'a>(bytes: &'a [u8], head: &RecordHead, t: &PageTarget, op: Op, context: Context) -> Record<'a> {
    let record = read(bytes, head, op, context);
    let page = record.page_op().unwrap().expect("an operation on a page");
    assert_eq!(page.row, RowId { page: t.page, slot: t.slot });
    assert_eq!((page.obj_id, page.index_id, page.prev_page_lsn), (t.obj_id, t.index_id, t.prev_page_lsn));
    record
}

fn elements<'a>(record: &Record<'a>) -> Vec<&'a [u8]> {
    record.elements().collect()
}

proptest! {
    #[test]
    fn rows_put_in_and_taken_away(
        h in head(), t in target(), rowset: u64, rows in vec(bytes(200), 1..20), lock in bytes(30), replaces: bool,
    ) {
        let mut b = RecordBuilder::new();
        let images: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        let flag = if replaces { 2 } else { 0 };
        let record = b.insert_rows(&h, Context::CLUSTERED, &t, rowset, flag, &images, &lock);
        let record = read_page(record, &h, &t, Op::INSERT_ROWS, Context::CLUSTERED);
        let row = record.row_op().unwrap().unwrap();
        prop_assert_eq!((row.rowset, row.replaces_ghost()), (rowset, replaces));
        let mut expect = images.clone();
        expect.extend([&[][..], &lock]);
        prop_assert_eq!(elements(&record), expect);

        let record = b.delete_rows(&h, Context::HEAP, &t, rowset, 0, images[0], &lock);
        let record = read_page(record, &h, &t, Op::DELETE_ROWS, Context::HEAP);
        prop_assert_eq!(elements(&record), vec![images[0], &lock]);
        let record = b.expunge_rows(&h, Context::CLUSTERED, &t);
        read_page(record, &h, &t, Op::EXPUNGE_ROWS, Context::CLUSTERED);
    }

    #[test]
    fn rows_changed(
        h in head(), t in target(), rowset: u64, offset: u16, chunks in vec((any::<u16>(), any::<u16>(), bytes(60), bytes(60)), 1..6),
        key in bytes(30), lock in bytes(30),
    ) {
        let mut b = RecordBuilder::new();
        let (_, _, before, after) = &chunks[0];
        let len = before.len() as u16;
        let record = b.modify_row(&h, Context::CLUSTERED, &t, rowset, offset, len, (before, after), (&key, &lock));
        let record = read_page(record, &h, &t, Op::MODIFY_ROW, Context::CLUSTERED);
        let row = record.row_op().unwrap().unwrap();
        prop_assert_eq!((row.rowset, row.offset, row.size), (rowset, offset, len));
        prop_assert_eq!(elements(&record), vec![before, after, &key, &lock, &[][..], &[]]);

        let list: Vec<ColumnChunk<'_>> = chunks
            .iter()
            .map(|(old_offset, new_offset, before, after)| ColumnChunk {
                old_offset: *old_offset,
                new_offset: *new_offset,
                old_len: before.len() as u16,
                before,
                after,
            })
            .collect();
        let record = b.modify_columns(&h, Context::HEAP, &t, rowset, &list, (&key, &lock));
        let record = read_page(record, &h, &t, Op::MODIFY_COLUMNS, Context::HEAP);
        let found = elements(&record);
        prop_assert_eq!(found.len(), 4 + 2 * list.len());
        let numbers = |e: &[u8]| e.chunks_exact(2).map(|n| u16::from_le_bytes([n[0], n[1]])).collect::<Vec<_>>();
        prop_assert_eq!(numbers(found[0]), list.iter().flat_map(|c| [c.old_offset, c.new_offset]).collect::<Vec<_>>());
        prop_assert_eq!(numbers(found[1]), list.iter().map(|c| c.old_len).collect::<Vec<_>>());
        for (k, chunk) in list.iter().enumerate() {
            prop_assert_eq!((found[4 + 2 * k], found[5 + 2 * k]), (chunk.before, chunk.after));
        }
    }

    #[test]
    fn pages_and_maps_changed(
        h in head(), t in target(), f in (any::<u8>(), page_id(), page_id(), any::<u16>()), rowset: u64, offset: u16, a in bytes(20),
        other in page_id(), rows: u16, on: bool,
    ) {
        let mut b = RecordBuilder::new();
        let (level, prev, next, min_len) = f;
        let format = FormatRecord { page_type: PageType::DATA, level, prev, next, min_len, iam_start: PageId::default() };
        let record = b.format_page(&h, Context::CLUSTERED, &t, &format);
        let record = read_page(record, &h, &t, Op::FORMAT_PAGE, Context::CLUSTERED);
        prop_assert_eq!(&record.bytes()[48..52], &[1, 0, level, 0]);
        prop_assert_eq!(PageId::read(record.bytes(), 52, "").unwrap(), prev);
        prop_assert_eq!(PageId::read(record.bytes(), 60, "").unwrap(), next);
        prop_assert_eq!(record.u16_at(58, "").unwrap(), min_len);

        let record = b.delete_split(&h, Context::CLUSTERED, &t, other, rows, 9);
        let record = read_page(record, &h, &t, Op::DELETE_SPLIT, Context::CLUSTERED);
        prop_assert_eq!((PageId::read(record.bytes(), 48, "").unwrap(), record.u16_at(54, "").unwrap()), (other, rows));

        let record = b.modify_header(&h, Context::HEAP, &t, offset, &a, &a);
        let record = read_page(record, &h, &t, Op::MODIFY_HEADER, Context::HEAP);
        prop_assert_eq!(record.u16_at(56, "").unwrap(), offset);
        let record = b.modify_special(&h, Context::PFS, &t, offset, (&a, &a), &[], 3);
        let record = read_page(record, &h, &t, Op::MODIFY_ROW, Context::PFS);
        prop_assert_eq!(record.element_count(), 3);
        read_page(b.in_sys_xact(&h, Context::INDEX_LEAF, &t, on), &h, &t, Op::INSYSXACT, Context::INDEX_LEAF);
        let record = b.set_bits(&h, Context::GAM, &t, offset, on, None);
        let record = read_page(record, &h, &t, Op::SET_BITS, Context::GAM);
        let bits = [48, 50, 52].map(|at| record.u16_at(at, "").unwrap());
        prop_assert_eq!(bits, [offset, 1, u16::from(on)]);
        let record = b.set_free_space(&t, offset, 0x41, 0x40);
        read_page(record, &RecordHead::NONE, &t, Op::SET_FREE_SPACE, Context::PFS);
        let change = RootChange { rowset, obj_id: t.obj_id, index_id: t.index_id, offset: 27, new: other, old: prev };
        let record = read_page(b.root_change(&h, &t, &change), &h, &t, Op::ROOT_CHANGE, Context::CLUSTERED);
        prop_assert_eq!(PageId::read(record.bytes(), 72, "").unwrap(), other);
        let delta = CountDelta { table: 0, rowset, column: 0, counts: &[(7, 53), (8, 45), (9, 61)] };
        let record = read_page(b.count_delta(&t, &delta), &RecordHead::NONE, &t, Op::COUNT_DELTA, Context::CLUSTERED);
        prop_assert_eq!((record.fixed_len(), record.u64_at(80, "").unwrap()), (208, 7));
    }

    #[test]
    fn transactions(
        h in head(), spid: u32, kind in 1u32..4, ticks in 0u32..25_920_000, days in 1u32..60_000, parent: u32, begin in lsn(), rowset: u64,
        name in "[a-zA-Z :]{0,32}", object: u32, sid in bytes(40),
    ) {
        let mut time = [0; 8];
        time[..4].copy_from_slice(&ticks.to_le_bytes());
        time[4..].copy_from_slice(&days.to_le_bytes());
        let mut b = RecordBuilder::new();
        let parent = TransactionId { high: 0, low: parent };
        let start = BeginXact {
            spid, status: 1, xact_type: kind, time, xact_id: 5, oldest_active: h.transaction, parent, name: &name, sid: &sid,
        };
        let record = read(b.begin_xact(&h, &start), &h, Op::BEGIN_XACT, Context::NULL);
        let Some(Xact::Begin(found)) = Xact::read(&record).unwrap() else { panic!("a begin") };
        prop_assert_eq!((found.spid, found.kind, found.parent), (spid, kind, parent));
        prop_assert!(found.name.is(&name) && found.time_us.is_some());
        prop_assert_eq!(record.element(1), &sid[..]);

        let time_us = found.time_us;
        let end = EndXact { time, begin_lsn: begin, xact_id: 5 };
        let record = read(b.end_xact(&h, Op::COMMIT_XACT, &end), &h, Op::COMMIT_XACT, Context::NULL);
        let Some(Xact::Commit(found)) = Xact::read(&record).unwrap() else { panic!("a commit") };
        prop_assert_eq!((found.time_us, found.begin_lsn), (time_us, begin));
        let record = read(b.end_xact(&h, Op::ABORT_XACT, &end), &h, Op::ABORT_XACT, Context::NULL);
        prop_assert!(matches!(Xact::read(&record).unwrap(), Some(Xact::Abort(_))));
        let record = read(b.mark_savepoint(&h, begin, &name), &h, Op::MARK_SAVEPOINT, Context::NULL);
        let Some(Xact::Savepoint { previous, name: found }) = Xact::read(&record).unwrap() else { panic!("a savepoint") };
        prop_assert!(previous == begin && found.is(&name));

        let mut lock = vec![5, 1, 0, 0x0C, 0, 0];
        lock.extend(object.to_le_bytes());
        lock.extend([0, 0]);
        let record = read(b.lock_xact(&h, &lock), &h, Op::LOCK_XACT, Context::NULL);
        prop_assert_eq!(Xact::read(&record).unwrap(), Some(Xact::Lock { object: Some(object) }));
        let rowset = rowset << 16;
        let record = read(b.hobt_ddl(&h, rowset, 2), &h, Op::HOBT_DDL, Context::NULL);
        prop_assert_eq!(Xact::read(&record).unwrap(), Some(Xact::HobtDdl { rowset, action: HobtAction::MODIFY }));
        let record = b.end_checkpoint(begin, time, begin, 852);
        let record = Record::read(begin, record).unwrap();
        prop_assert_eq!(Xact::read(&record).unwrap(), Some(Xact::EndCheckpoint { time_us, minimum: begin, version: 852 }));
    }

    #[test]
    fn values_outside_of_rows(links in vec((1u32..100_000, row_id()), 1..6), blob in 0u32..u32::MAX, data in bytes(900), level: u16) {
        let mut end = 0;
        let links: Vec<LobLink> = links
            .into_iter()
            .map(|(len, at)| {
                end += len;
                LobLink { end, at }
            })
            .collect();
        let same = |found: Vec<(u32, RowId)>| found == links.iter().map(|l| (l.end, l.at)).collect::<Vec<_>>();
        let root = encode_in_row_root(level, 1, blob, &links);
        let read = OffRow::read(&root).unwrap();
        prop_assert_eq!((read.kind, read.level().unwrap()), (OffRowKind::Root, level));
        prop_assert!(same(read.links().map(|l| l.unwrap()).map(|l| (l.end, l.at)).collect()));
        let pointer = encode_overflow_pointer(1, blob, end, links[0].at);
        prop_assert_eq!(OffRow::read(&pointer).unwrap().kind, OffRowKind::Overflow);

        let id = u64::from(blob) << 16;
        let record = encode_lob_data(id, &data);
        prop_assert_eq!(LobRecord::blob_id(&record).unwrap(), id);
        prop_assert!(matches!(LobRecord::read(&record).unwrap(), LobRecord::Data(found) if found == &data[..]));
        let small = &data[..data.len().min(64)];
        let record = encode_small_root(id, small);
        prop_assert!(matches!(LobRecord::read(&record).unwrap(), LobRecord::Data(found) if found == small));
        for record in [encode_lob_internal(id, level, &links), encode_large_root(id, level, &links)] {
            let LobRecord::Node(node) = LobRecord::read(&record).unwrap() else { panic!("a node") };
            prop_assert_eq!(node.level, level);
            prop_assert!(same(node.links().map(|l| l.unwrap()).map(|l| (l.end, l.at)).collect()));
        }
    }
}

#[test]
fn the_pages_that_a_file_begins_with() {
    let boot = boot_page(&BootPage {
        version: 852,
        create_version: 782,
        compat_level: 130,
        created: [1; 8],
        name: "sales ä".into(),
        database_id: 5,
        collation: 0x3400_D008,
        family_guid: [4; 16],
        fork_guid: [5; 16],
        broker_guid: [6; 16],
        first_sysallocunits: PageId::new(1, 20),
        checkpoint: Lsn::new(33, 400, 2),
        next_transaction: 0x400,
        next_alloc_unit: 1 << 56 | 0x90 << 16,
    });
    let read = Boot::read(&boot.sealed()).unwrap();
    assert_eq!((read.version, read.create_version, read.name.as_str()), (852, 782, "sales ä"));
    assert_eq!((read.first_sysallocunits, read.checkpoint_lsn), (PageId::new(1, 20), Lsn::new(33, 400, 2)));

    let header = file_header_page(&FileHeader {
        binding_id: [1; 16],
        file_guid: [2; 16],
        file_id: 3,
        filegroup_id: 1,
        size: 8 << 20,
        max_pages: u32::MAX,
        growth_pages: 8192,
        create_lsn: Lsn::ZERO,
        fork_guid: [3; 16],
        name: "sales_data".into(),
    });
    let read = logferry_mssql_format::file_header::FileHeader::read(&header.sealed()).unwrap();
    assert_eq!((read.binding_guid, read.file, read.pages, read.name.as_str()), ([1; 16], 3, 1024, "sales_data"));
    assert_eq!((read.file_guid, read.sector_size), (Some([2; 16]), Some(512)));

    let iam = iam_page(PageId::new(1, 40), 188, 256, 0, PageId::new(1, 0)).sealed();
    let read = Iam::read(&iam).unwrap();
    assert_eq!((read.start, read.extents().unwrap().count()), (PageId::new(1, 0), 0));
    let pfs = pfs_page(PageId::new(1, 1)).sealed();
    assert!(!PfsByte::find(&pfs, PageId::new(1, 77)).unwrap().is_allocated());

    let vlf = VlfHeaderImage { sequence: 40, uses: 2, size: 1 << 18, start: 8192, create_lsn: Lsn::new(1, 2, 3) };
    let mut bytes = vlf.to_bytes().to_vec();
    bytes.resize(8192, 0);
    let read = VlfHeader::read(&bytes, 8192).unwrap();
    assert_eq!((read.seq, read.parity, read.size, read.created), (40, 0x80, 1 << 18, Lsn::new(1, 2, 3)));
}

/// A block's name, its streams with their data, and its header.
type Block = (String, Vec<(String, Vec<u8>)>, Vec<u8>);

/// Walks a medium.
fn walk(media: &[u8]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut at = 0usize;
    while at < media.len() {
        let block = Descriptor::read(&media[at..]).unwrap_or_else(|e| panic!("block at {at:#x}: {e}"));
        assert_eq!(mtf::checksum(&media[at..at + 50]).to_le_bytes(), media[at + 50..at + 52], "block at {at:#x}");
        let kind = String::from_utf8(block.kind.to_vec()).unwrap();
        if kind == "SFMB" {
            blocks.push((kind, Vec::new(), Vec::new()));
            at += 512;
            continue;
        }
        let mut streams = Vec::new();
        let mut next = at + usize::from(block.streams_at);
        let header = media[at..next].to_vec();
        loop {
            let stream = StreamHeader::read(&media[next..]).unwrap_or_else(|e| panic!("stream at {next:#x}: {e}"));
            let data = next + 22;
            let end = data + stream.len as usize;
            streams.push((String::from_utf8(stream.kind.to_vec()).unwrap(), media[data..end].to_vec()));
            next = end.next_multiple_of(4);
            if stream.is(b"SPAD") {
                break;
            }
        }
        blocks.push((kind, streams, header));
        at = next;
    }
    blocks
}

#[test]
fn backups_have_the_blocks_of_real_ones() {
    let date = MtfDate { year: 2024, month: 2, day: 29, hour: 23, minute: 59, second: 58 };
    let file = |file_id, log| BackupFile {
        file_id,
        log,
        size: 8 << 20,
        name: format!("f{file_id}"),
        path: format!("C:\\f{file_id}"),
        guid: [7; 16],
        backed_up: 131_072,
    };
    let config = BackupConfig {
        kind: BackupKind::Differential,
        first_lsn: Lsn::new(40, 20, 3),
        last_lsn: Lsn::new(40, 30, 1),
        checkpoint_lsn: Lsn::new(40, 21, 5),
        database_backup_lsn: Lsn::new(39, 1, 1),
        log_archive_lsn: Lsn::new(39, 2, 1),
        base: Some((Lsn::new(39, 1, 1), [9; 16])),
        last_full_guid: [9; 16],
        created: MtfDate { year: 2023, ..date },
        started: date,
        finished: date,
        database: "sales".into(),
        server: "HOST\\INSTANCE".into(),
        user: "HOST\\me".into(),
        version: 852,
        compat_level: 130,
        set_guid: [1; 16],
        media_guid: [2; 16],
        family_id: 77,
        binding_id: [3; 16],
        family_guid: [4; 16],
        fork_guid: [5; 16],
        forked_from: (Lsn::new(38, 1, 1), [4; 16]),
        create_lsn: Lsn::ZERO,
        files: vec![file(1, false), file(2, true)],
        stripe: (1, 1),
        bulk_logged: false,
    };
    let pages = vec![0xAB; 131_072];
    let log = vec![0xCD; 1536];
    let vlf =
        VlfDescription { file_id: 2, sequence: 40, size: 1 << 18, start: 8192, parity: 0x40, create_lsn: Lsn::ZERO };
    let mut writer = MediaWriter::new(config.clone());
    writer.begin_data(pages.len() as u64);
    writer.raw(&pages);
    writer.end_data();
    let mut media = writer.take();
    writer.vlf(&vlf, Some((8192 + 20 * 512, &log)));
    writer.vlf(&VlfDescription { sequence: 41, ..vlf }, None);
    writer.finish(config);
    media.extend(writer.take());

    let blocks = walk(&media);
    let names: Vec<&str> = blocks.iter().map(|b| b.0.as_str()).collect();
    assert_eq!(
        names,
        ["TAPE", "SFMB", "SSET", "VOLB", "MSCI", "MSDA", "MSTL", "MSTL", "MSLS", "SFMB", "ESET", "ESET", "SFMB"]
    );
    let set = SetStart::read(&blocks[2].2).unwrap();
    assert_eq!((set.attributes, set.set_guid, set.position), (8, [1; 16], 0x600));
    assert_eq!(set.written_us, mtf::date_us(date.to_bytes()));
    let stream = |block: usize, kind: &str| &blocks[block].1.iter().find(|s| s.0 == kind).expect("a stream").1;
    let read = Config::read(stream(4, "MQCI")).unwrap();
    assert_eq!((read.first_lsn, read.last_lsn), (Lsn::new(40, 20, 3), Lsn::new(40, 30, 1)));
    assert_eq!((read.checkpoint_lsn, read.database_backup_lsn), (Lsn::new(40, 21, 5), Lsn::new(39, 1, 1)));
    assert_eq!((read.kind, read.version, read.compatibility), (b'I', 852, 130));
    assert_eq!((read.database.as_str(), read.server.as_str()), ("sales", "HOST\\INSTANCE"));
    assert_eq!(
        (read.binding, read.fork, read.parent_fork, read.base, read.family),
        ([3; 16], [5; 16], [4; 16], [9; 16], [4; 16])
    );
    assert_eq!(read.written_us, set.written_us);
    let kinds: Vec<_> = read.files.iter().map(|f| (f.id, f.kind, f.bytes, f.logical_name.as_str())).collect();
    assert_eq!(kinds, [(1, FileKind::Data, 8 << 20, "f1"), (2, FileKind::Log, 8 << 20, "f2")]);
    assert_eq!(stream(5, "MQDA")[2..], pages);
    let piece = LogPiece::read(&blocks[6].2).unwrap();
    assert_eq!((piece.vlf, piece.start, piece.len(), piece.parity), (40, 8192 + 20 * 512, 1536, 0x40));
    assert_eq!(stream(6, "MQTL")[2..1538], log);
    assert_eq!(stream(6, "MQTL").len(), 0x1_0002);
    assert!(LogPiece::read(&blocks[7].2).unwrap().is_empty());
}

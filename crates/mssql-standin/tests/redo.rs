//! The log that the engine writes brings its backup to its own pages, record by record: same rows in the same slots,
//! same page LSNs.

use std::collections::BTreeMap;

use logferry_mssql_backup::backups::Backups;
use logferry_mssql_backup::chain::PlanOptions;
use logferry_mssql_backup::{DataFiles, LogBlocks, PageSource};
use logferry_mssql_format::page::{PAGE_SIZE, Page, PageBytes, PageId, PageType};
use logferry_mssql_format::redo;
use logferry_mssql_format::row::row_len;
use logferry_mssql_standin::storage::{IndexDef, Options};
use logferry_mssql_standin::workload::{History, TableKind, WorkloadOptions};

/// Rows of a page by slot.
fn rows(bytes: &PageBytes) -> Vec<(u16, Vec<u8>)> {
    let page = Page::read(bytes).expect("the page is valid");
    let is_map =
        !matches!(page.header.page_type, PageType::DATA | PageType::INDEX | PageType::TEXT_MIX | PageType::TEXT_TREE);
    page.rows()
        .map(|row| row.expect("the slot is valid"))
        .map(|(slot, row)| {
            let len = if is_map { row.len() } else { row_len(row, &page.header).expect("the row is whole") };
            (slot, row[..len].to_vec())
        })
        .collect()
}

#[track_caller]
fn check(seed: u64, options: &WorkloadOptions, steps: u32) {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::begin(seed, options).unwrap();
    // Nonclustered indexes, one of them on rows that are there.
    let tables: Vec<(u32, usize)> = history.db.tables().map(|(id, def)| (id, def.columns.len())).collect();
    for (table, columns) in tables {
        let last = columns as u32;
        let index = |id: u32, column: u32, descending: bool, included: &[u32]| IndexDef {
            id,
            name: format!("ix{id}"),
            unique: false,
            primary: false,
            constraint: false,
            columns: vec![(column, descending)],
            included: included.to_vec(),
        };
        history.db.set_indexes(table, &[index(2, 2, true, &[1]), index(3, last, false, &[])]).unwrap();
    }
    let full = folder.path().join("full.bak");
    if options.fuzzy_full {
        let mut backup = history.db.begin_backup();
        while backup.left() > 0 {
            history.db.copy_pages(&mut backup, 2);
            history.run(10);
        }
        history.db.finish_backup(backup, &full).unwrap();
    } else {
        history.db.backup_full(&full).unwrap();
    }
    history.run(steps);
    let log = folder.path().join("log.trn");
    history.db.backup_log(&log).unwrap();
    let mdf = folder.path().join("standin.mdf");
    history.db.write_data_file(&mdf).unwrap();

    let backups = Backups::find(&[full, log]).unwrap();
    let options = PlanOptions::default();
    let chain = backups.plan(None, options).unwrap();
    chain.verify().unwrap();
    let base = chain.base_pages().unwrap();
    let mut pages: BTreeMap<PageId, Box<PageBytes>> = BTreeMap::new();
    let mut blocks = chain.blocks(chain.redo_lsn()).unwrap();
    while let Some(block) = blocks.next_block().unwrap() {
        for record in block.records() {
            let record = record.unwrap();
            let Some(target) = redo::target(&record).unwrap() else { continue };
            let id = target.row.page;
            let page = pages.entry(id).or_insert_with(|| {
                let mut page = Box::new([0; PAGE_SIZE]);
                base.read_page(id, &mut page).unwrap();
                page
            });
            if let Err(e) = redo::apply(page, &record) {
                panic!("seed {seed}: {e}");
            }
        }
    }
    let files = DataFiles::open(&[mdf]).unwrap();
    let mut found = 0;
    for (id, page) in &pages {
        let mut mine = [0; PAGE_SIZE];
        files.read_page(*id, &mut mine).unwrap();
        // What is not logged, or written after the log ends: boot page, counts of rows.
        let header = Page::read(&mine).unwrap().header;
        if header.page_type == PageType::BOOT || matches!(header.obj_id, 5 | 7) {
            continue;
        }
        let (a, b) = (rows(page), rows(&mine));
        assert_eq!(a.len(), b.len(), "seed {seed}: page {id}, rows after redo and in the engine");
        for (x, y) in a.iter().zip(&b) {
            assert!(x == y, "seed {seed}: page {id}, slot {} after redo and in the engine", x.0);
        }
        if !matches!(header.page_type, PageType::DIFF_MAP) {
            assert_eq!(Page::read(page).unwrap().header.lsn, header.lsn, "seed {seed}: page {id}");
        }
        found += 1;
    }
    assert!(found > 10, "seed {seed}: only {found} pages were changed by the log");
}

fn options(tables: &[TableKind]) -> WorkloadOptions {
    WorkloadOptions { tables: tables.to_vec(), initial_rows: 60, ..WorkloadOptions::default() }
}

#[test]
fn trees() {
    for seed in 0..4 {
        check(seed, &options(&[TableKind::Keyed, TableKind::Guid, TableKind::Composite]), 3000);
    }
}

#[test]
fn heaps() {
    for seed in 10..14 {
        check(seed, &options(&[TableKind::Heap]), 3000);
    }
}

#[test]
fn lobs_and_all_types() {
    for seed in 20..23 {
        check(seed, &options(&[TableKind::Lobs, TableKind::AllTypes]), 1500);
    }
}

#[test]
fn backups_of_a_changing_database() {
    for seed in 30..33 {
        let options = WorkloadOptions { fuzzy_full: true, ..options(TableKind::ALL) };
        check(seed, &options, 1000);
    }
}

#[test]
fn row_versions() {
    let database = Options { row_versions: true, ..Options::default() };
    check(40, &WorkloadOptions { database, ..options(TableKind::ALL) }, 1000);
}

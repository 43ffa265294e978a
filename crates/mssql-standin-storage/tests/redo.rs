//! The log that the engine writes brings its backup to its own pages, record by record: same rows in the same slots,
//! same page LSNs.

mod readers;

use logferry_mssql_standin_storage::workload::{History, TableKind, WorkloadOptions};
use logferry_mssql_standin_storage::{Database, IndexDef, Options};
use readers::{committed, redo};

#[track_caller]
fn check(seed: u64, options: &WorkloadOptions, steps: u32) {
    check_stopped(seed, options, steps, 0);
}

/// The same, of a database that is stopped and opened again some times on the way.
#[track_caller]
fn check_stopped(seed: u64, options: &WorkloadOptions, steps: u32, stops: u32) {
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
    for _ in 0..stops {
        history.run(steps / (stops + 1));
        history.end_all();
        let (mdf, ldf) = (folder.path().join("standin.mdf"), folder.path().join("standin_log.ldf"));
        let kept = history.db.close_files(&mdf, &ldf).unwrap();
        let before = std::mem::replace(&mut history.db, Database::reopen(&mdf, &ldf, kept).unwrap());
        assert!(committed(&history.db) == committed(&before), "seed {seed}: the rows are those of before");
        for (table, def) in before.tables() {
            assert_eq!(history.db.table_def(table), Some(def));
            assert_eq!(history.db.indexes(table).collect::<Vec<_>>(), before.indexes(table).collect::<Vec<_>>());
        }
    }
    history.run(steps / (stops + 1));
    let log = folder.path().join("log.trn");
    history.db.backup_log(&log).unwrap();
    let found = redo::same_pages(&mut history.db, &[full, log], &format!("seed {seed}"));
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

#[test]
fn files_that_are_opened_again() {
    for seed in 80..84 {
        let database = Options { row_versions: seed % 2 == 0, vlf_bytes: 128 * 1024, ..Options::default() };
        let options = WorkloadOptions {
            database,
            alter_percent: 0,
            truncate_percent: 20,
            cleanup_percent: 2,
            ..options(TableKind::ALL)
        };
        check_stopped(seed, &options, 4000, 3);
    }
}

#[test]
fn clustered_indexes_that_are_not_unique() {
    for seed in 90..94 {
        let options = WorkloadOptions { cluster_heaps: true, cleanup_percent: 2, ..options(&[TableKind::Heap]) };
        check_stopped(seed, &options, 4000, (seed % 2) as u32);
    }
}

//! Generated chains: planned by the product's own reader, replayed page by page, and the rows after each file are those that the
//! generator promised.

mod readers;

use logferry_mssql_backup::backups::Backups;
use logferry_mssql_backup::chain::{Differentials, PlanOptions};
use logferry_mssql_format::encode::BackupKind;
use logferry_mssql_standin_storage::Options;
use logferry_mssql_standin_storage::workload::{Chain, History, WorkloadOptions, generate_chain};
use readers::{Redone, read, sorted};

/// Checks a chain in which nothing is open at the end of any backup: then the pages hold what is committed.
#[track_caller]
fn check(seed: u64, options: &WorkloadOptions) -> Chain {
    let folder = tempfile::tempdir().unwrap();
    let made = generate_chain(seed, options, folder.path()).unwrap();
    let files: Vec<_> = made.files.iter().map(|f| f.path.clone()).collect();
    let backups = Backups::find(&files).unwrap();
    let logs_only = PlanOptions { differentials: Differentials::Ignore, ..PlanOptions::default() };
    let chain = backups.plan(None, logs_only).unwrap();
    chain.verify().unwrap();
    for file in &made.files {
        let pages = Redone::new(chain.base_pages().unwrap(), &chain, file.last_lsn);
        let name = file.path.display();
        assert!(read(&pages, false) == sorted(&file.expected), "seed {seed}: rows after {name}");
    }
    // From each differential on.
    for (at, file) in made.files.iter().enumerate().filter(|(_, f)| f.kind == BackupKind::Differential) {
        let files = [&files[..1], &files[at..]].concat();
        let chain = Backups::find(&files).unwrap().plan(None, PlanOptions::default()).unwrap();
        assert!(chain.differential.is_some());
        chain.verify().unwrap();
        let pages = Redone::new(chain.base_pages().unwrap(), &chain, chain.end());
        let last = made.files.iter().rfind(|f| f.kind != BackupKind::Differential || f.path == file.path).unwrap();
        let expected = &made.files.iter().rfind(|f| f.last_lsn == chain.end()).unwrap_or(last).expected;
        assert!(read(&pages, false) == sorted(expected), "seed {seed}: rows by {}", file.path.display());
    }
    made
}

#[test]
fn plain_chains() {
    for seed in 1..4 {
        let options = WorkloadOptions { open_across_backups: false, ..WorkloadOptions::default() };
        let chain = check(seed, &options);
        assert_eq!(chain.files.len(), 5);
    }
}

#[test]
fn differentials_truncates_and_late_tables() {
    for seed in 5..8 {
        let options = WorkloadOptions {
            open_across_backups: false,
            differential_every: 2,
            truncate_percent: 60,
            late_table: true,
            fuzzy_full: true,
            logs: 5,
            ..WorkloadOptions::default()
        };
        let chain = check(seed, &options);
        assert_eq!(chain.files.len(), 8);
    }
}

#[test]
fn a_small_log_that_wraps() {
    let database = Options { vlf_bytes: 128 * 1024, vlfs: 2, ..Options::default() };
    let options = WorkloadOptions { database, open_across_backups: false, logs: 8, ..WorkloadOptions::default() };
    check(9, &options);
}

#[test]
fn sets_that_are_appended_to_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.bak");
    let mut history = History::begin(11, &WorkloadOptions::default()).unwrap();
    history.db.append_backups(true);
    history.db.backup_full(&file).unwrap();
    for _ in 0..3 {
        history.run(50);
        history.db.backup_log(&file).unwrap();
    }
    let chain = Backups::find(&[file]).unwrap().plan(None, PlanOptions::default()).unwrap();
    chain.verify().unwrap();
    assert_eq!(chain.end(), history.db.last_backup_lsn(), "the full backup and three of the log are one chain");
}

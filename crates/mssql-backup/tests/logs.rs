//! The log of real files: every record of every file, against what an independent decoder counted.

mod fixtures;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fixtures::{expected, fixtures};
use logferry_model::Lsn;
use logferry_mssql_backup::LogBlocks;
use logferry_mssql_backup::log_file::LogFiles;
use logferry_mssql_backup::set::BackupSet;
use logferry_mssql_format::log::op::Op;
use logferry_mssql_format::log::record::flags;
use logferry_mssql_format::log::xact::Xact;

/// What a log holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    blocks: u64,
    records: u64,
    committed: u64,
    aborted: u64,
    first: Option<Lsn>,
    last: Option<Lsn>,
    unknown: BTreeSet<String>,
}

fn tally(blocks: &mut dyn LogBlocks) -> Tally {
    let mut tally = Tally::default();
    while let Some(block) = blocks.next_block().expect("the log is sound") {
        tally.blocks += 1;
        for record in block.records() {
            let record = record.expect("the record is sound");
            assert!(Some(record.lsn) > tally.last, "{} after {:?}", record.lsn, tally.last);
            tally.first.get_or_insert(record.lsn);
            tally.last = Some(record.lsn);
            tally.records += 1;
            match record.op {
                Op::COMMIT_XACT => tally.committed += 1,
                Op::ABORT_XACT => tally.aborted += 1,
                _ => {}
            }
            if record.op.name().is_none() || record.context.name().is_none() {
                tally.unknown.insert(format!("{} {}", record.op, record.context));
            }
            if let Some(Xact::Commit(end) | Xact::Abort(end)) = Xact::read(&record).expect("the body is sound") {
                assert!(end.begin_lsn < record.lsn);
                assert_eq!(end.begin_lsn, record.prev_lsn, "{}", record.lsn);
                assert_ne!(record.flags & flags::IN_TRANSACTION, 0);
            }
        }
    }
    tally
}

#[test]
fn every_log_backup_of_the_chains() {
    let Some(root) = fixtures() else { return };
    for chain in ["chains/steps-2008r2", "chains/steps-2016"] {
        for log in expected(&root)[chain]["logs"].as_array().expect("logs") {
            let name = log["file"][0].as_str().expect("file");
            let set = BackupSet::open(&[root.join(chain).join(name)], None).expect(name);
            assert_eq!(set.header.first_lsn.to_string(), log["first"], "{name}");
            assert_eq!(set.header.last_lsn.to_string(), log["last"], "{name}");
            let found = tally(&mut set.log(set.header.first_lsn).expect(name));
            let expect = (log["records"].as_u64(), log["committed"].as_u64(), log["aborted"].as_u64());
            assert_eq!((Some(found.records), Some(found.committed), Some(found.aborted)), expect, "{name}: {found:?}");
            assert_eq!(found.unknown, BTreeSet::new(), "{name}");
        }
    }
}

#[test]
fn the_log_of_every_backup_reads_to_its_end() {
    let Some(root) = fixtures() else { return };
    let mut files = Vec::new();
    backups(&root, &mut files);
    assert!(files.len() > 60, "{}", files.len());
    for file in files {
        let Ok(set) = BackupSet::open(std::slice::from_ref(&file), None) else { continue };
        let mut log = set.log(set.header.first_lsn).expect("log");
        let found = tally(&mut log);
        assert_eq!(log.position(), set.header.last_lsn, "{}", file.display());
        assert_eq!(found.unknown, BTreeSet::new(), "{}", file.display());
        assert_eq!(found.records == 0, set.header.first_lsn == set.header.last_lsn, "{}", file.display());
    }
}

#[test]
fn every_log_file() {
    let Some(root) = fixtures() else { return };
    let expected = expected(&root);
    let mut logs = 0;
    for (data, expect) in expected.as_object().expect("object").iter().filter(|(name, _)| name.starts_with("pairs/")) {
        for (log, expect) in expect["logs"].as_object().expect("logs") {
            let path = root.join(data).with_file_name(log);
            let log = LogFiles::open(std::slice::from_ref(&path)).expect("opens");
            let found = tally(&mut log.blocks(None).expect("begins"));
            let expect = (expect["records"].as_u64(), expect["committed"].as_u64(), expect["aborted"].as_u64());
            let found_counts = (Some(found.records), Some(found.committed), Some(found.aborted));
            assert_eq!(found_counts, expect, "{}: {found:?}", path.display());
            assert_eq!(found.unknown, BTreeSet::new(), "{}", path.display());
            logs += 1;
        }
    }
    assert_eq!(logs, 10);
}

fn backups(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        match path.extension().and_then(|e| e.to_str()) {
            _ if path.is_dir() => backups(&path, into),
            Some("bak" | "trn") => into.push(path),
            _ => {}
        }
    }
}

//! The log is truncated under the reader: what is gone is read from log backups, or the gap is told, or all is read anew.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use logferry_model::{ChangeSource, Class, Fault, RowStore};
use logferry_mssql_live::{HoldLog, LiveSource, LogSettings, Mode, OnGap};
use logferry_mssql_standin::serve::Standin;
use logferry_mssql_standin::sql::Login;
use logferry_mssql_standin_storage::BulkLog;

use crate::cdc::Quiet;
use crate::log::{TABLES, Target};
use crate::{settings, standin};

async fn follow(standin: &Standin, log: LogSettings) -> Result<LiveSource, Fault> {
    let source = LiveSource::open(settings(standin), Mode::Log, 50_000, Arc::new(|_| true)).await?;
    Ok(source.with_log(log))
}

fn shop(folder: &Path) -> Standin {
    let standin = standin(TABLES);
    standin.sql().set_backup_folder(folder.to_owned());
    batch(&standin, "BACKUP DATABASE shop TO DISK = 'shop.bak'");
    standin
}

fn batch(standin: &Standin, text: &str) {
    standin.batch(&format!("USE shop; {text}")).unwrap_or_else(|e| panic!("{text}: {e}"));
}

/// Writes, and truncates what was written: what is before the last checkpoint, and in a backup.
fn write_and_truncate(standin: &Standin, n: u32, file: &str) {
    batch(standin, &format!("UPDATE a SET n = n + {n} WHERE id % 3 = {}; DELETE b WHERE y = {}", n % 3, n % 7));
    batch(standin, &format!("INSERT c VALUES (NEWID(), {n}); CHECKPOINT; BACKUP LOG shop TO DISK = '{file}'"));
}

/// A source and a target that has what the source had.
async fn copied(standin: &Standin, log: LogSettings) -> (LiveSource, Target) {
    let mut source = follow(standin, log).await.expect("a source");
    let mut target = Target::default();
    source.snapshot().await.expect("a snapshot");
    target.copy(&source).await;
    (source, target)
}

/// Complaint 16: the active log is truncated by backups every five minutes.
#[tokio::test]
async fn log_backups_are_read_in_the_place_of_a_truncated_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let standin = shop(folder.path());
    let (mut source, mut target) = copied(&standin, LogSettings::default()).await;
    for round in 0..3 {
        // A transaction stays open from one backup to another.
        for n in 0..3 {
            write_and_truncate(&standin, round * 3 + n, &format!("log{round}{n}.trn"));
        }
        batch(&standin, "UPDATE a SET s = s + 'after' WHERE id < 10");
        target.drain(&mut source, 10_000).await.unwrap_or_else(|e| panic!("round {round}: {e}"));
        target.check(&standin);
        if round == 1 {
            // Another run begins within what is truncated.
            let at = target.at.expect("a position");
            write_and_truncate(&standin, 77, "between.trn");
            source = follow(&standin, LogSettings::default()).await.expect("a source");
            source.seek(at).await.expect("the position is there");
        }
    }
}

/// A transaction that is open where a log backup ends, and whose commit is the next record: the position is in front of it.
#[tokio::test]
async fn a_commit_right_behind_a_log_backup_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let standin = shop(folder.path());
    let (mut source, mut target) = copied(&standin, LogSettings::default()).await;
    write_and_truncate(&standin, 1, "first.trn");
    let login = Login { name: "sa".into(), host: String::new(), program: String::new(), database: "shop".into() };
    let mut open = standin.sql().connect(&login).expect("a session");
    open.execute("BEGIN TRAN; UPDATE a SET n = -1 WHERE id = 7", &[], &mut Quiet).expect("done");
    batch(&standin, "BACKUP LOG shop TO DISK = 'second.trn'");
    target.drain(&mut source, 10_000).await.unwrap_or_else(|e| panic!("{e}"));
    open.execute("COMMIT", &[], &mut Quiet).expect("done");
    target.drain(&mut source, 10_000).await.unwrap_or_else(|e| panic!("{e}"));
    target.check(&standin);
}

/// Another database had this name before, and its log backups are at the same positions: they are on another recovery fork.
#[tokio::test]
async fn log_backups_of_another_database_of_this_name_are_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let standin = shop(folder.path());
    for n in 0..3 {
        write_and_truncate(&standin, n, &format!("old{n}.trn"));
    }
    let ended = standin.sql().with_storage("shop", |s| s.start_of_log()).expect("a database");
    standin.batch("USE master; DROP DATABASE shop; CREATE DATABASE shop").expect("another one");
    batch(&standin, TABLES);
    batch(&standin, "BACKUP DATABASE shop TO DISK = 'new.bak'");
    let (mut source, mut target) = copied(&standin, LogSettings::default()).await;
    assert!(source.snapshot().await.expect("a position").checkpoint.restart.0 < ended, "the old backups are further");
    write_and_truncate(&standin, 1, "NUL");
    batch(&standin, "UPDATE a SET n = 1 WHERE id = 7");
    let fault = target.drain(&mut source, 1 << 20).await.expect_err("the log is gone");
    assert!(fault.to_string().starts_with("gap: "), "{fault}");
}

/// A backup that was written twice is read once.
#[tokio::test]
async fn a_mirrored_log_backup_is_read_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let standin = shop(folder.path());
    let (mut source, mut target) = copied(&standin, LogSettings::default()).await;
    batch(
        &standin,
        "UPDATE a SET n = 5; CHECKPOINT; BACKUP LOG shop TO DISK = 'a.trn' MIRROR TO DISK = 'b.trn' WITH FORMAT",
    );
    batch(&standin, "UPDATE a SET s = 'after' WHERE id < 10");
    target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
    target.check(&standin);
}

/// All was read when the log was truncated: nothing is missing, and nothing is told to be.
#[tokio::test]
async fn a_log_that_was_truncated_behind_the_reader_is_no_gap() {
    let folder = tempfile::tempdir().expect("a folder");
    let standin = shop(folder.path());
    let (mut source, mut target) = copied(&standin, LogSettings::default()).await;
    for n in 0..3 {
        batch(&standin, &format!("UPDATE a SET n = {n}"));
        target.drain(&mut source, 1 << 20).await.expect("changes");
        batch(&standin, &format!("CHECKPOINT; BACKUP LOG shop TO DISK = 'log{n}.trn'"));
        for _ in 0..3 {
            target.drain(&mut source, 1 << 20).await.expect("nothing");
        }
        target.check(&standin);
    }
}

/// Complaint 13: a cleaned-up position is a state of its own, with both LSNs, and what to do.
#[tokio::test]
async fn a_gap_is_told_with_both_ends_or_mended_by_reading_all_anew() {
    for lost in ["deleted", "to nowhere"] {
        let folder = tempfile::tempdir().expect("a folder");
        let standin = shop(folder.path());
        let (mut source, mut target) = copied(&standin, LogSettings::default()).await;
        let (mut other, mut mended) =
            copied(&standin, LogSettings { on_gap: OnGap::Resync, ..LogSettings::default() }).await;
        write_and_truncate(&standin, 1, if lost == "deleted" { "log.trn" } else { "NUL" });
        if lost == "deleted" {
            std::fs::remove_file(folder.path().join("log.trn")).expect("the backup is deleted");
        }
        batch(&standin, "UPDATE a SET n = 1 WHERE id = 7");
        let fault = target.drain(&mut source, 1 << 20).await.expect_err("the log is gone");
        assert_eq!(fault.class, Class::Operator, "{fault}");
        let said = fault.to_string();
        let begins = standin.sql().with_storage("shop", |s| s.start_of_log()).expect("a database");
        assert!(said.starts_with("gap: the log from 000000"), "{lost}: {said}");
        assert!(said.contains(&format!("it begins at {begins}")), "{lost}: {said}");
        assert!(fault.hint.is_some_and(|hint| hint.contains("on_gap: resync")), "{lost}");

        mended.drain(&mut other, 1 << 20).await.expect("all is read anew");
        mended.check(&standin);
        batch(&standin, "UPDATE a SET n = 2 WHERE id = 8");
        mended.drain(&mut other, 1 << 20).await.expect("and the log from there on");
        mended.check(&standin);
    }
}

/// Complaint 17: what holds the log is let go past its bound, and with the reader.
#[tokio::test]
async fn the_log_is_held_within_bounds() {
    let folder = tempfile::tempdir().expect("a folder");
    let standin = shop(folder.path());
    let open = || standin.sql().with_storage("shop", |s| s.transactions().count()).expect("a database");
    let wait_for = async |wanted: bool| {
        for _ in 0..3000 {
            if (open() > 0) == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the log is {} held", if wanted { "not" } else { "still" });
    };
    let hold = |max_mb, max_age| LogSettings { hold: Some(HoldLog { max_mb, max_age }), ..LogSettings::default() };
    let hour = Duration::from_secs(3600);
    let (mut source, mut target) = copied(&standin, hold(1 << 20, hour)).await;
    wait_for(true).await;
    write_and_truncate(&standin, 1, "NUL");
    // The backup goes to nowhere, and the log is there all the same.
    target.drain(&mut source, 1 << 20).await.expect("the log was held");
    target.check(&standin);
    drop(source);
    wait_for(false).await;
    let (source, _) = copied(&standin, hold(1 << 20, Duration::ZERO)).await;
    wait_for(true).await;
    wait_for(false).await;
    drop(source);
}

/// A table that is followed is loaded in bulk.
fn load(standin: &Standin, log: BulkLog, rows: i32) {
    let (mut at, mut random) = (0, 1u32);
    let loaded = standin.sql().with_storage("shop", |storage| {
        let (table, _) = storage.tables().find(|(_, table)| table.name == "loaded").expect("the table is there");
        storage.bulk_load_with(table, log, |store: &mut RowStore| {
            store.clear();
            (at < rows).then(|| {
                at += 1;
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let mut row = store.start_row();
                row.value(|out| out.extend(at.to_le_bytes()));
                row.value(|out| out.extend(random.to_le_bytes()));
                row.finish()
            })
        })
    });
    assert_eq!(loaded.expect("a database").expect("the rows fit"), rows as u64);
}

const LOADED: &str = "CREATE TABLE loaded (id int NOT NULL PRIMARY KEY, v int NOT NULL)";

/// The log has whole pages of it, of which `fn_dblog` does not show the end. Here the table's allocation unit tells as much, since it was
/// empty; that the pages alone tell is tested on records (`log::transactions`).
#[tokio::test]
async fn rows_that_are_loaded_in_bulk_are_not_missed() {
    let folder = tempfile::tempdir().expect("a folder");
    let standin = shop(folder.path());
    batch(&standin, LOADED);
    let (mut source, mut target) = copied(&standin, LogSettings::default()).await;
    batch(&standin, "UPDATE a SET n = n + 1 WHERE id = 1");
    load(&standin, BulkLog::Pages, 2000);
    batch(&standin, "UPDATE loaded SET v = 5 WHERE id = 7; DELETE loaded WHERE id = 1999");
    target.drain(&mut source, 10_000).await.expect("the log is read");
    target.check(&standin);
}

/// Under another recovery model the log says that rows were loaded, and not which.
#[tokio::test]
async fn rows_that_are_not_in_the_log_are_a_gap() {
    for on_gap in [OnGap::Stop, OnGap::Resync] {
        let folder = tempfile::tempdir().expect("a folder");
        let standin = shop(folder.path());
        batch(&standin, LOADED);
        let (mut source, mut target) = copied(&standin, LogSettings { on_gap, ..LogSettings::default() }).await;
        batch(&standin, "UPDATE a SET n = n + 1 WHERE id = 1");
        load(&standin, BulkLog::Extents, 2000);
        batch(&standin, "DELETE loaded WHERE id = 1999");
        let drained = target.drain(&mut source, 10_000).await;
        if on_gap == OnGap::Resync {
            drained.expect("all is read anew");
            target.check(&standin);
            batch(&standin, "UPDATE loaded SET v = 6 WHERE id < 100");
            target.drain(&mut source, 10_000).await.expect("it goes on");
            target.check(&standin);
            continue;
        }
        let fault = drained.expect_err("rows are missing");
        assert_eq!(fault.class, Class::Operator);
        assert!(fault.to_string().contains("rows were loaded in bulk that are not in the log"), "{fault}");
        assert!(fault.hint.as_deref().is_some_and(|hint| hint.contains("on_gap: resync")), "{fault:?}");
    }
}

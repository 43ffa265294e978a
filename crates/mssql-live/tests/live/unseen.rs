//! A login that loses its rights on a table sees what one sees whose table was dropped: nothing. Only the latter counts as dropped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use logferry_model::{ChangeSource, Checkpoint, Fault, SourceEvent, TableId, TableName};
use logferry_mssql_live::{CdcSettings, LiveSource, Mode};
use logferry_mssql_standin::serve::Standin;
use logferry_mssql_standin::sql::Rights;

use crate::cdc::{SCAN, run};
use crate::{settings, standin};

const LOG: Mode = Mode::Log;
const CDC: Mode = Mode::Cdc(CdcSettings { enable: true });
const HYBRID: Mode = Mode::Hybrid { heartbeat: Duration::from_millis(100) };

async fn follow(standin: &Standin, mode: Mode) -> LiveSource {
    LiveSource::open(settings(standin), mode, 50_000, Arc::new(|_| true)).await.unwrap_or_else(|e| panic!("{e}"))
}

/// What is told of tables by the next changes.
async fn told(standin: &Standin, mode: Mode, source: &mut LiveSource) -> Vec<String> {
    let mut said = Vec::new();
    // The position goes past what was done in any case.
    run(standin, "UPDATE c SET v = v + 1");
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        if matches!(mode, Mode::Cdc(_)) {
            run(standin, SCAN);
        }
        let batch = source.next(1 << 20).await.unwrap_or_else(|e| panic!("{e}")).expect("it does not end");
        let mut changed = false;
        for event in batch.events {
            match event {
                SourceEvent::Dropped(table) => said.push(format!("dropped {}", table.name.name)),
                SourceEvent::Unseen { table, why, mend } => {
                    assert!(why.contains(&format!("table \"{}\" is not listed", table.name)), "{why}");
                    assert!(mend.contains(&format!("GRANT SELECT ON [dbo].[{}]", table.name.name)), "{mend}");
                    said.push(format!("unseen {}", table.name.name));
                }
                SourceEvent::Change(change) => changed |= change.table.name.name == "c",
                _ => {}
            }
        }
        if changed {
            return said;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("no change of the third table is told: {said:?}");
}

/// A task follows three tables. A login loses rights on one, and something is done; then what is told.
#[track_caller]
fn check(modes: &[Mode], rights: Rights, hidden: &[&str], done: &str, expect: &[&str]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for &mode in modes {
        runtime.block_on(async {
            let standin = standin(
                "CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, v int);
                 CREATE TABLE c (id int PRIMARY KEY, v int); INSERT a VALUES (1, 1); INSERT b VALUES (1, 1); INSERT c VALUES (1, 1);
                 EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_add_job @job_type = N'capture', @pollinginterval = 0",
            );
            let mut source = follow(&standin, mode).await;
            source.snapshot().await.unwrap_or_else(|e| panic!("{e}"));
            standin.hide("shop", hidden, rights).expect("tables");
            run(&standin, done);
            // Somebody changes what is there, so that it is looked at.
            run(&standin, "ALTER TABLE c ADD w int");
            assert_eq!(told(&standin, mode, &mut source).await, expect, "{mode:?} {rights:?} {done}");
        });
    }
}

#[test]
fn a_table_that_lost_its_rights_is_not_dropped() {
    for rights in [Rights::Lost, Rights::SelectDenied, Rights::ViewDenied] {
        check(&[LOG, CDC, HYBRID], rights, &["dbo.a"], "UPDATE b SET v = 2", &["unseen a"]);
    }
}

#[test]
fn a_table_that_is_gone_is_dropped() {
    check(&[LOG, CDC, HYBRID], Rights::Lost, &[], "DROP TABLE b", &["dropped b"]);
}

/// Whoever sees only what it has rights on needs another witness: the log is one, or the trigger.
#[test]
fn without_the_right_to_see_all_a_drop_needs_a_witness() {
    check(&[LOG, HYBRID], Rights::Lost, &["dbo.a"], "DROP TABLE b", &["unseen a", "dropped b"]);
    check(&[CDC], Rights::Lost, &["dbo.a"], "DROP TABLE b", &["unseen a", "unseen b"]);
}

/// Nothing has its name any more.
#[test]
fn a_table_that_was_renamed_out_of_sight_is_not_dropped() {
    check(&[LOG, CDC, HYBRID], Rights::Lost, &["dbo.a"], "EXEC sp_rename N'dbo.a', N'renamed'", &["unseen a"]);
}

/// A table that is there at the last run and not to be seen at the next.
#[tokio::test]
async fn what_is_not_seen_at_the_start_is_not_gone() {
    for mode in [LOG, CDC, HYBRID] {
        let standin = standin(
            "CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, v int);
             EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_add_job @job_type = N'capture', @pollinginterval = 0",
        );
        let mut source = follow(&standin, mode).await;
        let at: Checkpoint = source.snapshot().await.unwrap_or_else(|e| panic!("{e}")).checkpoint;
        let known: Vec<(TableId, TableName)> = source.tables().iter().map(|t| (t.id, t.name.clone())).collect();
        drop(source);
        standin.hide("shop", &["dbo.a"], Rights::SelectDenied).expect("a table");
        run(&standin, "DROP TABLE b");
        let mut source = follow(&standin, mode).await;
        source.seek(at).await.unwrap_or_else(|e| panic!("{e}"));
        let faults: Vec<Fault> = source.not_gone(&known).await.expect("an answer");
        let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
        let [said] = said.as_slice() else { panic!("{said:?}") };
        assert!(said.starts_with("table \"dbo.a\" is not listed") && said.contains("SELECT permission"), "{said}");
    }
}

/// A copy that was begun, and a table that is not seen when it goes on.
#[tokio::test]
async fn a_copy_does_not_go_on_without_a_table_that_it_began_with() {
    for mode in [Mode::Snapshot, LOG, CDC, HYBRID] {
        let standin = standin(
            "CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, v int);
             EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_add_job @job_type = N'capture', @pollinginterval = 0",
        );
        let mut source = follow(&standin, mode).await;
        source.snapshot().await.unwrap_or_else(|e| panic!("{e}"));
        let memo = source.memo();
        let again = async || {
            let mut source = follow(&standin, mode).await;
            source.recall(&memo);
            source.snapshot().await.map(|_| source.tables().len())
        };
        standin.hide("shop", &["dbo.a"], Rights::Lost).expect("a table");
        let fault = again().await.expect_err("a table is missing");
        assert!(fault.to_string().starts_with("table \"dbo.a\" is not listed"), "{fault}");
        standin.hide("shop", &[], Rights::Lost).expect("nothing");
        run(&standin, "DROP TABLE a");
        assert_eq!(again().await.expect("it goes on"), 1, "{mode:?}");
    }
}

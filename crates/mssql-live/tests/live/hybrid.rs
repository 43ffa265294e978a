//! The log and change tables as one source of changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use logferry_model::{ChangeSource, Class, Fault, SourceEvent};
use logferry_mssql_live::{CdcSettings, LiveSource, Mode, teardown};
use logferry_mssql_standin::serve::Standin;

use crate::cdc::{Target, run};
use crate::{settings, standin};

async fn follow(standin: &Standin) -> Result<LiveSource, Fault> {
    let mode = Mode::Hybrid { heartbeat: Duration::from_millis(100) };
    LiveSource::open(settings(standin), mode, 50_000, Arc::new(|_| true)).await.map_err(Fault::from)
}

pub async fn begin(standin: &Standin) -> (LiveSource, Target) {
    let mut source = follow(standin).await.unwrap_or_else(|e| panic!("{e}"));
    let point = source.snapshot().await.unwrap_or_else(|e| panic!("{e}"));
    let mut target = Target::at(point.checkpoint);
    target.copy(&source).await;
    (source, target)
}

/// An account moves between a table that the log serves and one that it does not.
pub const TABLES: &str = "
    CREATE TABLE ledger (id int NOT NULL PRIMARY KEY, amount bigint NOT NULL, pad varchar(300));
    CREATE TABLE heap (id int NOT NULL PRIMARY KEY NONCLUSTERED, amount bigint NOT NULL, big varchar(max));
    DECLARE @n int = 0;
    WHILE @n < 50 BEGIN INSERT ledger VALUES (@n, 100, 'x'); INSERT heap VALUES (@n, 100, 'y'); SET @n += 1 END;
    EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_add_job @job_type = N'capture', @pollinginterval = 0";

/// Applies until the target has what the source has; nothing else ends.
pub async fn catch_up(standin: &Standin, source: &mut LiveSource, target: &mut Target) {
    catch_up_by(standin, source, target, 1 << 20).await;
}

async fn catch_up_by(standin: &Standin, source: &mut LiveSource, target: &mut Target, bytes: usize) {
    let began = std::time::Instant::now();
    loop {
        let batch = source.next(bytes).await.unwrap_or_else(|e| panic!("{e}")).expect("it does not end");
        target.apply(&batch);
        let is_whole = matches!(batch.events.last(), Some(SourceEvent::Commit(_) | SourceEvent::Progress(_)));
        if is_whole && target.is_equal(standin) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "the target never has what the source has");
        if batch.events.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn both_readers_make_one_stream() {
    let standin = standin(TABLES);
    let (mut source, mut target) = begin(&standin).await;
    for change in [
        "UPDATE ledger SET amount = 1 WHERE id < 5",
        "UPDATE heap SET amount = 2, big = REPLICATE(CAST('z' AS varchar(max)), 20000) WHERE id < 5",
        "BEGIN TRAN; DELETE heap WHERE id = 7; INSERT ledger VALUES (70, 7, NULL); COMMIT",
        "BEGIN TRAN; UPDATE heap SET id = id + 1000 WHERE id > 40; UPDATE ledger SET id = id + 1000 WHERE id > 40; COMMIT",
        "DELETE ledger; INSERT heap VALUES (-1, 1, NULL)",
    ] {
        run(&standin, change);
        catch_up(&standin, &mut source, &mut target).await;
        source = follow(&standin).await.expect("a source");
        source.seek(target.at.expect("a position")).await.unwrap_or_else(|e| panic!("{e}"));
    }
}

/// A statement that defines something, and has no rows for us, is in the log, behind what is captured: nothing waits for it.
#[tokio::test]
async fn what_is_captured_does_not_wait_for_definitions() {
    let standin = standin(TABLES);
    let (mut source, mut target) = begin(&standin).await;
    catch_up(&standin, &mut source, &mut target).await;
    run(&standin, "EXEC sys.sp_cdc_stop_job N'capture'; UPDATE heap SET amount = 3 WHERE id < 5");
    run(&standin, crate::cdc::SCAN);
    run(&standin, "EXEC (N'CREATE PROCEDURE nothing AS SELECT 1 AS one')");
    // Nobody captures any more.
    catch_up(&standin, &mut source, &mut target).await;
}

/// A round of the log that is handed on in many parts, with changes of the other reader waiting behind it.
#[tokio::test]
async fn a_round_of_many_parts_is_one() {
    let standin = standin(TABLES);
    let (mut source, mut target) = begin(&standin).await;
    run(
        &standin,
        "BEGIN TRAN; INSERT ledger SELECT 2000 + a.id * 50 + b.id, 1, 'p' FROM ledger a CROSS JOIN ledger b WHERE a.id < 12;
         UPDATE heap SET amount = 5; COMMIT",
    );
    catch_up_by(&standin, &mut source, &mut target, 1).await;
}

/// What a transaction does to tables of both readers is seen at once, whatever is written meanwhile, and whenever the reader is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_seen_in_part_while_others_write() {
    check_while_others_write(TABLES, 30).await;
}

/// The same where rounds are begun shortly before the capture job scans, and the log is read on until then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_seen_in_part_between_the_scans_of_the_capture_job() {
    check_while_others_write(&TABLES.replace("@pollinginterval = 0", "@pollinginterval = 1"), 10).await;
}

async fn check_while_others_write(tables: &str, rounds_max: u32) {
    let standin = Arc::new(standin(tables));
    let (mut source, mut target) = begin(&standin).await;
    let enough = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for writer in 0..2 {
        let (standin, enough) = (standin.clone(), enough.clone());
        writers.push(std::thread::spawn(move || {
            for n in (0..200).cycle().take_while(|_| !enough.load(Ordering::Relaxed)) {
                let (from, to) = ((n * 7 + writer * 13) % 50, (n * 11 + writer) % 50);
                let batch = format!(
                    "USE shop; BEGIN TRAN; UPDATE ledger SET amount = amount - {n}, pad = REPLICATE('p', {n}) WHERE id = {from};
                     UPDATE heap SET amount = amount + {n} WHERE id = {to}; {}",
                    if n % 9 == 4 { "ROLLBACK" } else { "COMMIT" }
                );
                // A deadlock's victim changes nothing.
                standin.batch(&batch).ok();
                // What is written must not be more than what this machine can read besides.
                std::thread::sleep(Duration::from_millis(3));
            }
        }));
    }
    let mut rounds = 0;
    while rounds < rounds_max {
        let batch = source.next(20_000).await.unwrap_or_else(|e| panic!("{e}")).expect("it does not end");
        target.apply(&batch);
        if !matches!(batch.events.last(), Some(SourceEvent::Commit(_))) {
            continue;
        }
        rounds += 1;
        if rounds % 5 == 0 {
            source = follow(&standin).await.expect("a source");
            source.seek(target.at.expect("a checkpoint")).await.unwrap_or_else(|e| panic!("{e}"));
        }
    }
    enough.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().expect("a writer");
    }
    catch_up(&standin, &mut source, &mut target).await;
}

/// A table comes that the log does not serve: the readers begin anew, which whoever runs them does after what goes away by itself.
#[tokio::test]
async fn a_new_table_that_only_capture_serves_is_taken_while_the_task_runs() {
    let standin = standin(TABLES);
    let (mut source, mut target) = begin(&standin).await;
    run(
        &standin,
        "UPDATE ledger SET amount = 3 WHERE id = 3; CREATE TABLE late (n int); INSERT late VALUES (1), (1), (2);
         BEGIN TRAN; INSERT ledger VALUES (900, 1, NULL); INSERT late VALUES (2); UPDATE heap SET amount = 9 WHERE id = 1; COMMIT",
    );
    let began = std::time::Instant::now();
    let fault = loop {
        match source.next(1 << 20).await {
            Ok(batch) => target.apply(&batch.expect("it does not end")),
            Err(fault) => break fault,
        }
        assert!(began.elapsed() < Duration::from_secs(60), "the table is not noticed");
    };
    assert_eq!(fault.class, Class::Transient, "{fault}");
    assert!(fault.to_string().starts_with("table \"dbo.late\" is to be read by change data capture"), "{fault}");
    let mut source = follow(&standin).await.expect("a source");
    source.seek(target.at.expect("a position")).await.unwrap_or_else(|e| panic!("{e}"));
    let late = source.tables().iter().find(|table| table.name.name == "late").expect("the table").id;
    source.add(&[late], &[]).unwrap_or_else(|e| panic!("{e}"));
    while !target.tables.contains_key(&late) {
        let batch = source.next(1 << 20).await.unwrap_or_else(|e| panic!("{e}")).expect("it does not end");
        target.apply(&batch);
        assert!(began.elapsed() < Duration::from_secs(60), "the table is not told");
    }
    catch_up(&standin, &mut source, &mut target).await;
    run(&standin, "DELETE TOP (1) late WHERE n = 2; UPDATE ledger SET amount = 4");
    catch_up(&standin, &mut source, &mut target).await;
}

/// A source at rest: the position moves with the heartbeat, so that there is no lag.
#[tokio::test]
async fn a_source_at_rest_has_no_lag() {
    let standin = standin(TABLES);
    let (mut source, mut target) = begin(&standin).await;
    let (began, first) = (std::time::Instant::now(), target.at.expect("a position"));
    loop {
        let batch = source.next(1 << 20).await.unwrap_or_else(|e| panic!("{e}")).expect("it does not end");
        target.apply(&batch);
        if target.at.is_some_and(|at| at.applied > first.applied && at.commit_time_us > first.commit_time_us) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "the position does not move");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Everything that the catalog of a database says of objects, columns, triggers and captured tables.
fn inventory(standin: &Standin) -> Vec<Vec<String>> {
    let questions = [
        "SELECT SCHEMA_NAME(schema_id), name, type FROM sys.objects",
        "SELECT object_id, name, column_id FROM sys.columns",
        "SELECT name, is_disabled FROM sys.triggers",
        "SELECT name, is_tracked_by_cdc FROM sys.tables",
        "SELECT name FROM sys.schemas",
        "SELECT is_cdc_enabled FROM sys.databases WHERE name = N'shop'",
    ];
    questions.iter().map(|question| crate::copy::texts(standin, question)).collect()
}

#[tokio::test]
async fn teardown_leaves_the_source_as_it_was_found() {
    for had_cdc in [false, true] {
        let standin = standin(
            "CREATE TABLE ledger (id int NOT NULL PRIMARY KEY, v int); CREATE TABLE heap (id int NOT NULL PRIMARY KEY NONCLUSTERED, v int)",
        );
        if had_cdc {
            run(&standin, "EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_enable_table N'dbo', N'ledger', NULL");
        }
        let before = inventory(&standin);
        let (mut source, mut target) = begin(&standin).await;
        run(&standin, "INSERT ledger VALUES (1, 1); INSERT heap VALUES (1, 1); CREATE INDEX ix ON ledger (v)");
        run(&standin, "DROP INDEX ix ON ledger");
        catch_up(&standin, &mut source, &mut target).await;
        drop(source);
        assert_ne!(inventory(&standin), before);
        let history = crate::copy::texts(&standin, "SELECT event_type, object_name FROM dbo.logferry_ddl_history");
        assert!(history.iter().any(|line| line.contains("CREATE_INDEX")), "{history:?}");
        let removed = teardown(settings(&standin)).await.unwrap_or_else(|e| panic!("{e}"));
        assert!(removed.iter().any(|line| line == "trigger logferry_ddl"), "{removed:?}");
        assert_eq!(inventory(&standin), before, "removed: {removed:?}");
        assert!(teardown(settings(&standin)).await.expect("it works").is_empty(), "there is nothing left");
    }
}

/// What `mode: cdc` makes goes again, too, the database's change data capture included where there was none.
#[tokio::test]
async fn teardown_removes_what_was_enabled_for_change_data_capture() {
    for had_cdc in [false, true] {
        let standin = standin(
            "CREATE TABLE a (id int NOT NULL PRIMARY KEY, v int); CREATE TABLE b (id int NOT NULL PRIMARY KEY)",
        );
        if had_cdc {
            run(&standin, "EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_enable_table N'dbo', N'b', NULL");
        }
        let before = inventory(&standin);
        let mode = Mode::Cdc(CdcSettings { enable: true });
        let opened = LiveSource::open(settings(&standin), mode, 50_000, Arc::new(|_| true)).await;
        let mut source = opened.unwrap_or_else(|e| panic!("{e}"));
        source.snapshot().await.unwrap_or_else(|e| panic!("{e}"));
        drop(source);
        assert_ne!(inventory(&standin), before);
        let removed = teardown(settings(&standin)).await.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(inventory(&standin), before, "removed: {removed:?}");
    }
}

/// Each statement of a teardown is cut: it is done again, and ends with the source as it was found.
#[tokio::test]
async fn a_teardown_that_is_cut_is_done_again() {
    use logferry_mssql_standin::tds::Fault as Cut;
    for fault in [Cut::DropBefore, Cut::DropBeforeDone] {
        let standin = standin("CREATE TABLE ledger (id int NOT NULL PRIMARY KEY, v int)");
        let before = inventory(&standin);
        for at in 1.. {
            drop(begin(&standin).await);
            let (fired, fault) = (Arc::new(AtomicBool::new(false)), fault.clone());
            let mark = fired.clone();
            standin.faults().set(move |seen| {
                let fires = seen.overall == at && !mark.swap(true, Ordering::Relaxed);
                fires.then(|| fault.clone())
            });
            let first = teardown(settings(&standin)).await;
            standin.faults().clear();
            if first.is_err() {
                teardown(settings(&standin)).await.unwrap_or_else(|e| panic!("statement {at}, again: {e}"));
            }
            assert_eq!(inventory(&standin), before, "statement {at}: {first:?}");
            if !fired.load(Ordering::Relaxed) {
                assert!(at > 8, "{at}");
                break;
            }
        }
    }
}

/// The row of the heartbeat is what a round of the log waits for: it comes back, whoever removed it.
#[tokio::test]
async fn a_heartbeat_that_somebody_removed_comes_back() {
    let standin = standin(TABLES);
    let (mut source, mut target) = begin(&standin).await;
    run(&standin, "DELETE dbo.logferry_heartbeat; UPDATE ledger SET amount = 5 WHERE id = 5");
    catch_up(&standin, &mut source, &mut target).await;
}

/// Our trigger never keeps anybody from changing the database: an error in it would take the change back.
#[tokio::test]
async fn nobody_is_kept_from_ddl_by_what_we_made() {
    let standin = standin(TABLES);
    let (source, _target) = begin(&standin).await;
    drop(source);
    for statement in [
        "SET ANSI_WARNINGS OFF; SET CONCAT_NULL_YIELDS_NULL OFF; CREATE TABLE one (id int NOT NULL PRIMARY KEY)",
        "DROP TABLE logferry_ddl_history",
        "CREATE TABLE two (id int NOT NULL PRIMARY KEY)",
        "DROP TABLE one",
    ] {
        run(&standin, statement);
    }
}

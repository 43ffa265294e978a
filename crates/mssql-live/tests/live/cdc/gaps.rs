//! Changes that are not there any more, or never were: told, never passed over; and how a task goes on behind them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use logferry_model::{ChangeSource, Checkpoint, Class, Fault, TableId};
use logferry_mssql_live::LiveSource;
use logferry_mssql_standin::serve::Standin;

use super::{SCAN, Target, begin, captured, fails, follow, resume, run};
use crate::standin;

const CLEANED: &str =
    "DECLARE @max binary(10) = sys.fn_cdc_get_max_lsn(); EXEC sys.sp_cdc_cleanup_change_table N'dbo_a', @max";

/// A task goes on that reads the table anew, and ends with all rows, also when it is begun once more from where it was.
async fn mended(standin: &Standin, mut target: Target, point: Checkpoint) {
    let mut again = reloaded(standin, &target, point).await.unwrap_or_else(|e| panic!("{e}"));
    run(standin, "INSERT a VALUES (100)");
    target.drain(&mut again, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
    target.check(standin);
    assert_eq!(target.fences.len(), 1, "its rows are of one position");
    assert!(target.fences[0].lsn > point.applied.0);
    // What was captured until then is in the rows, and is not told again.
    run(standin, &format!("UPDATE a SET id = 101 WHERE id = 100; INSERT a VALUES (102); {SCAN}"));
    let mut again = follow(standin).await.expect("a source");
    again.remember(target.fences.clone());
    resume(&mut again, point).await.unwrap_or_else(|e| panic!("{e}"));
    target.drain(&mut again, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
    target.check(standin);
}

async fn reloaded(standin: &Standin, target: &Target, point: Checkpoint) -> Result<LiveSource, Fault> {
    let mut again = follow(standin).await?;
    again.remember(target.fences.clone());
    again.seek(point).await?;
    let ids: Vec<TableId> = target.tables.keys().copied().collect();
    again.reload(&ids)?;
    again.add(&[], &[])?;
    Ok(again)
}

/// Streamsets PR#133, `airbytehq/airbyte#33456`: what was cleaned up before it was read is a gap, with both positions, and never passed over.
#[tokio::test]
async fn changes_that_were_cleaned_up_are_a_gap() {
    let standin = captured("CREATE TABLE a (id int PRIMARY KEY)", &["a"]);
    let (mut source, target) = begin(&standin).await;
    let point = target.at.expect("a position");
    run(&standin, "INSERT a VALUES (1); INSERT a VALUES (2)");
    run(&standin, SCAN);
    run(&standin, CLEANED);
    let fault = source.next(1 << 20).await.map(drop).expect_err("a change is missing");
    assert_eq!(fault.class, Class::Operator);
    let at = point.applied.0;
    let expect = format!("the changes of table \"dbo.a\" after {at} are no longer there: capture instance \"dbo_a\"");
    assert!(fault.to_string().starts_with(&expect), "{fault}");
    let mut again = follow(&standin).await.expect("a source");
    let fault = resume(&mut again, point).await.expect_err("a change is missing");
    assert!(fault.to_string().starts_with(&expect), "{fault}");
    mended(&standin, target, point).await;
    // One that has read everything is not disturbed.
    let (mut source, mut target) = begin(&standin).await;
    run(&standin, "INSERT a VALUES (3)");
    run(&standin, SCAN);
    target.drain(&mut source, 1 << 20).await.expect("changes");
    run(&standin, CLEANED);
    run(&standin, "INSERT a VALUES (4)");
    run(&standin, SCAN);
    target.drain(&mut source, 1 << 20).await.expect("changes");
    target.check(&standin);
}

/// The cleanup comes between the question how far the log is captured and the reading of the rows.
#[tokio::test]
async fn a_cleanup_under_the_reader_is_a_gap_too() {
    let standin = Arc::new(captured("CREATE TABLE a (id int PRIMARY KEY)", &["a"]));
    let (mut source, _) = begin(&standin).await;
    run(&standin, "INSERT a VALUES (1); INSERT a VALUES (2)");
    run(&standin, SCAN);
    let (done, other) = (AtomicBool::new(false), standin.clone());
    standin.faults().set(move |seen| {
        if seen.text.contains("[__$seqval], [__$operation]") && !done.swap(true, Ordering::Relaxed) {
            run(&other, CLEANED);
        }
        None
    });
    let fault = source.next(1 << 20).await.map(drop).expect_err("a change is missing");
    standin.faults().clear();
    assert!(fault.to_string().contains("are no longer there"), "{fault}");
}

/// Dropped between the question which tables have changes and the reading of these.
#[tokio::test]
async fn an_instance_that_is_dropped_under_the_reader_is_told() {
    let standin = Arc::new(captured("CREATE TABLE a (id int PRIMARY KEY)", &["a"]));
    let (mut source, _) = begin(&standin).await;
    run(&standin, &format!("INSERT a VALUES (1); {SCAN}"));
    let (done, other) = (AtomicBool::new(false), standin.clone());
    standin.faults().set(move |seen| {
        if seen.text.contains("[__$seqval], [__$operation]") && !done.swap(true, Ordering::Relaxed) {
            run(&other, "EXEC sys.sp_cdc_disable_table N'dbo', N'a', N'all'");
        }
        None
    });
    let fault = source.next(1 << 20).await.map(drop).expect_err("its changes are gone");
    standin.faults().clear();
    assert_eq!(fault.class, Class::Operator);
    assert!(fault.to_string().starts_with("capture instance \"dbo_a\" of table \"dbo.a\" was dropped"), "{fault}");
    assert!(fault.hint.is_some_and(|hint| hint.contains("--reload")));
}

/// `powersync-service#730`, `SchemaSmith#398`: an instance of the same name that was made anew does not have what was committed in between.
#[tokio::test]
async fn an_instance_that_was_made_anew_is_noticed() {
    let anew = "EXEC sys.sp_cdc_disable_table N'dbo', N'a', N'all'; INSERT a VALUES (7);
                EXEC sys.sp_cdc_enable_table N'dbo', N'a', NULL; EXEC sys.sp_cdc_stop_job N'capture'";
    let standin = captured("CREATE TABLE a (id int PRIMARY KEY)", &["a"]);
    let (mut source, target) = begin(&standin).await;
    let point = target.at.expect("a position");
    run(&standin, &format!("{anew}; {SCAN}"));
    let fault = source.next(1 << 20).await.map(drop).expect_err("another instance");
    assert!(fault.to_string().starts_with("capture instance \"dbo_a\" of table \"dbo.a\" was dropped"), "{fault}");
    let mut again = follow(&standin).await.expect("a source");
    let fault = resume(&mut again, point).await.expect_err("another instance");
    assert!(fault.to_string().contains("are no longer there"), "{fault}");
    assert!(fault.hint.is_some_and(|hint| hint.contains("--reload")));
    mended(&standin, target, point).await;
    run(&standin, "EXEC sys.sp_cdc_disable_db");
    let fault = source.next(1 << 20).await.map(drop).expect_err("there is no capture");
    assert!(fault.to_string().contains("was disabled for the database"), "{fault}");
}

/// The same while nobody looked, and none was made anew; a table that the target leaves out for good needs none.
#[tokio::test]
async fn an_instance_that_went_while_nobody_looked_is_noticed() {
    let standin = captured("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)", &["a", "b"]);
    let (source, target) = begin(&standin).await;
    let (point, id) = (target.at.expect("a position"), source.tables()[0].id);
    drop(source);
    run(&standin, &format!("EXEC sys.sp_cdc_disable_table N'dbo', N'a', N'all'; INSERT a VALUES (7); {SCAN}"));
    let mut again = follow(&standin).await.expect("a source");
    let fault = resume(&mut again, point).await.expect_err("a change is missing");
    assert!(fault.to_string().starts_with("table \"dbo.a\" has no capture instance any more"), "{fault}");
    let mut again = follow(&standin).await.expect("a source");
    again.seek(point).await.expect("the position is there");
    again.add(&[], &[id]).unwrap_or_else(|e| panic!("{e}"));
}

/// redis/docs PR#3850: after a failover there is no capture job, and silence.
#[tokio::test]
async fn a_capture_job_that_is_missing_is_told() {
    let standin = standin("CREATE TABLE a (id int PRIMARY KEY)");
    // The job comes with the first table: what was dropped before a table was enabled comes again.
    run(&standin, "EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_add_job N'capture', @start_job = 0");
    run(&standin, "EXEC sys.sp_cdc_enable_table N'dbo', N'a', NULL; EXEC sys.sp_cdc_drop_job N'capture'");
    let fault = fails(follow(&standin).await).await;
    assert_eq!(fault.to_string(), "the database has no capture job: nothing is captured");
    assert!(fault.hint.is_some_and(|hint| hint.contains("sys.sp_cdc_add_job")));
}

#[tokio::test]
async fn a_database_that_was_set_back_is_noticed() {
    let standin = captured("CREATE TABLE a (id int PRIMARY KEY)", &["a"]);
    let (mut source, target) = begin(&standin).await;
    let mut point = target.at.expect("a position");
    point.applied.0.vlf += 1000;
    let fault = source.seek(point).await.expect_err("the log ends before that");
    assert!(fault.to_string().contains("the database was set back"), "{fault}");
    let mut point = target.at.expect("a position");
    point.lineage.fork = [7; 16];
    let fault = source.seek(point).await.expect_err("another fork");
    assert!(fault.to_string().contains("was restored"), "{fault}");
}

//! What following a database asks of its server, and what it never does there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use logferry_model::{ChangeSource, SourceEvent};
use logferry_mssql_live::{CdcSettings, LiveSource, Mode};
use logferry_mssql_standin::serve::Standin;

use crate::cdc::{SCAN, Target, run};
use crate::{settings, standin};

const LOG: Mode = Mode::Log;
const CDC: Mode = Mode::Cdc(CdcSettings { enable: true });
const HYBRID: Mode = Mode::Hybrid { heartbeat: Duration::from_millis(50) };

const TABLES: &str = "
    CREATE TABLE a (id int NOT NULL PRIMARY KEY, v int, s varchar(900), big varchar(max), old ntext, raw varbinary(max), twice AS v * 2 PERSISTED);
    CREATE TABLE b (id int NOT NULL PRIMARY KEY NONCLUSTERED, v int);
    DECLARE @n int = 0;
    WHILE @n < 300 BEGIN INSERT a (id, v) VALUES (@n, @n); INSERT b VALUES (@n, @n); SET @n += 1 END;
    EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_add_job @job_type = N'capture', @pollinginterval = 0";

/// All that the server is sent from now on.
fn heard(standin: &Standin) -> Arc<Mutex<Vec<String>>> {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let texts = heard.clone();
    standin.faults().set(move |seen| {
        texts.lock().expect("nobody has panicked").push(seen.text.to_owned());
        None
    });
    heard
}

async fn begin(standin: &Standin, mode: Mode) -> (LiveSource, Target) {
    let opened = LiveSource::open(settings(standin), mode, 1 << 26, Arc::new(|_| true)).await;
    let mut source = opened.unwrap_or_else(|e| panic!("{e}"));
    let point = source.snapshot().await.unwrap_or_else(|e| panic!("{e}"));
    let mut target = Target::at(point.checkpoint);
    target.copy(&source).await;
    (source, target)
}

/// Applies until the target has what the source has, and nothing is under way.
async fn catch_up(standin: &Standin, source: &mut LiveSource, target: &mut Target) {
    let began = Instant::now();
    loop {
        let batch = source.next(1 << 20).await.unwrap_or_else(|e| panic!("{e}")).expect("it does not end");
        target.apply(&batch);
        let is_whole = matches!(batch.events.last(), Some(SourceEvent::Commit(_) | SourceEvent::Progress(_)));
        if is_whole && target.is_equal(standin) {
            return;
        }
        if began.elapsed() > Duration::from_secs(60) {
            target.check(standin);
            panic!("the target has what the source has, and never at the end of a transaction");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Estuary's changelog of 2026-07-31: polling by texts that are new each time fills the plan cache of the source.
#[tokio::test]
async fn polling_texts_stay_the_same() {
    for mode in [LOG, CDC, HYBRID] {
        let standin = standin(TABLES);
        let (mut source, mut target) = begin(&standin, mode).await;
        let heard = heard(&standin);
        // This one is asked every few seconds.
        let mut known = vec![include_str!("../../sql/cdc_tables.sql").to_owned()];
        for (round, rows) in [1, 200, 7, 130, 20, 3, 290, 9].into_iter().enumerate() {
            for table in ["a", "b"] {
                run(&standin, &format!("UPDATE {table} SET v = v + {round} + 1 WHERE id < {rows}"));
                catch_up(&standin, &mut source, &mut target).await;
            }
            let texts = std::mem::take(&mut *heard.lock().expect("nobody has panicked"));
            let new: Vec<String> = texts.into_iter().filter(|text| !known.contains(text)).collect();
            // Two rounds have both sizes of everything.
            assert!(round < 2 || new.is_empty(), "{mode:?}, round {round}: {new:?}");
            known.extend(new);
        }
        standin.faults().clear();
    }
}

/// Debezium DBZ-3515: a transaction that stays open over polls keeps versions of rows in tempdb; and on a secondary it sees what was there
/// when it began.
#[tokio::test]
async fn no_transaction_stays_open_between_polls() {
    for mode in [LOG, CDC, HYBRID] {
        let standin = standin(TABLES);
        let (mut source, mut target) = begin(&standin, mode).await;
        let heard = heard(&standin);
        for n in 0..5 {
            run(&standin, &format!("UPDATE a SET v = {n} WHERE id < 9; DELETE b WHERE id = {n}"));
            catch_up(&standin, &mut source, &mut target).await;
            let texts = heard.lock().expect("nobody has panicked");
            let count = |word: &str| texts.iter().filter(|text| text.contains(word)).count();
            let (begun, ended) = (count("BEGIN TRANSACTION"), count("COMMIT TRANSACTION"));
            assert_eq!(begun, ended, "{mode:?}");
            assert_eq!(begun > 0, mode != CDC, "{mode:?}: {texts:?}");
        }
        standin.faults().clear();
    }
}

/// `airbytehq/airbyte#73706`: the log of a geo-replica is another one than that whose positions the change tables have.
#[tokio::test]
async fn positions_of_capture_are_asked_of_change_tables_alone() {
    let standin = standin(TABLES);
    let heard = heard(&standin);
    let (mut source, mut target) = begin(&standin, CDC).await;
    run(&standin, "UPDATE a SET v = 1; DELETE b WHERE id < 9");
    catch_up(&standin, &mut source, &mut target).await;
    standin.faults().clear();
    let texts = heard.lock().expect("nobody has panicked");
    assert!(texts.iter().any(|text| text.contains("cdc.change_tables")));
    let of_log = ["fn_dblog", "dm_db_log_stats", "dm_tran_database_transactions", "fn_cdc_get_min_lsn"];
    let asked: Vec<_> = texts.iter().filter(|text| of_log.iter().any(|word| text.contains(word))).collect();
    assert!(asked.is_empty(), "{asked:?}");
}

/// Debezium DBZ-8858: a page in another order than that of the change table's index is sorted by the server, all of it.
#[tokio::test]
async fn pages_come_in_the_order_of_the_change_tables_index() {
    let standin = standin(TABLES);
    let (mut source, mut target) = begin(&standin, CDC).await;
    let heard = heard(&standin);
    run(&standin, "UPDATE a SET v = 1");
    catch_up(&standin, &mut source, &mut target).await;
    standin.faults().clear();
    let index = crate::copy::texts(
        &standin,
        "SELECT i.key_ordinal, c.name FROM sys.index_columns i
         JOIN sys.columns c ON c.object_id = i.object_id AND c.column_id = i.column_id
         JOIN cdc.change_tables t ON t.object_id = i.object_id JOIN sys.tables s ON s.object_id = t.source_object_id
         WHERE s.name = N'a' AND i.index_id = 1",
    );
    let texts = heard.lock().expect("nobody has panicked");
    let page = texts.iter().find(|text| text.contains("_CT]") && text.contains("TOP (@left)")).expect("a page");
    let orders: Vec<&str> = page.split(" ORDER BY ").skip(1).filter_map(|rest| rest.split(';').next()).collect();
    assert_eq!(orders.len(), index.len(), "one for each part of the order");
    for order in orders {
        let asked: Vec<&str> = order.split(", ").map(|name| name.trim_matches(['[', ']'])).collect();
        assert_eq!(asked.len(), index.len());
        for (name, column) in asked.iter().zip(&index) {
            assert!(column.contains(&format!("\"{name}\"")), "{asked:?} {index:?}");
        }
    }
}

/// `airbytehq/airbyte#78293`: a database in which nothing is captured for long is at rest, and not broken.
#[tokio::test]
async fn a_captured_database_at_rest_is_no_error() {
    let standin = standin(TABLES);
    let (mut source, mut target) = begin(&standin, CDC).await;
    run(&standin, "EXEC sys.sp_cdc_stop_job N'capture'");
    for _ in 0..50 {
        let batch = source.next(1 << 20).await.unwrap_or_else(|e| panic!("{e}")).expect("it does not end");
        target.apply(&batch);
    }
    assert_eq!(target.changes, 0);
    assert_eq!(target.commits.len(), 0);
    run(&standin, &format!("DELETE b; {SCAN}"));
    catch_up(&standin, &mut source, &mut target).await;
}

/// AWS DMS and others: an update of large values alone is dropped, or takes the others with it.
#[tokio::test]
async fn an_update_of_large_values_alone_is_not_dropped() {
    for mode in [LOG, CDC, HYBRID] {
        let standin = standin(TABLES);
        let (mut source, mut target) = begin(&standin, mode).await;
        for change in [
            "UPDATE a SET big = REPLICATE(CAST('x' AS varchar(max)), 100000), v = 1 WHERE id < 3",
            "UPDATE a SET big = REPLICATE(CAST('y' AS varchar(max)), 100000) WHERE id = 1",
            "UPDATE a SET old = REPLICATE(CAST(N'z' AS nvarchar(max)), 9000) WHERE id < 4",
            "UPDATE a SET old = N'short' WHERE id = 2",
            "UPDATE a SET raw = CAST(REPLICATE(CAST('r' AS varchar(max)), 20000) AS varbinary(max)) WHERE id IN (1, 9)",
            "UPDATE a SET raw = NULL WHERE id = 9; UPDATE a SET big = '' WHERE id = 2; UPDATE a SET v = 5 WHERE id = 1",
            "UPDATE a SET id = id + 1000 WHERE id < 5",
        ] {
            run(&standin, change);
            catch_up(&standin, &mut source, &mut target).await;
        }
    }
}

/// Debezium DBZ-1280: a copy that locks the tables waits for writers, and they for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_waits_for_no_writer_and_no_writer_for_it() {
    use logferry_model::ChunkReader;
    use logferry_mssql_standin::sql::Login;

    for mode in [Mode::Snapshot, LOG, CDC, HYBRID] {
        let standin = standin(TABLES);
        // What is made at the source is made by then.
        drop(begin(&standin, mode).await);
        let login = Login { name: "sa".into(), host: String::new(), program: String::new(), database: "shop".into() };
        let mut writer = standin.sql().connect(&login).expect("a session");
        let quiet = &mut crate::cdc::Quiet;
        writer
            .execute("BEGIN TRAN; UPDATE a SET v = -1 WHERE id = 5; DELETE b WHERE id = 5", &[], quiet)
            .expect("done");
        let opened = LiveSource::open(settings(&standin), mode, 1 << 26, Arc::new(|_| true)).await;
        let mut source = opened.unwrap_or_else(|e| panic!("{e}"));
        let point = source.snapshot().await.unwrap_or_else(|e| panic!("{e}"));
        let mut target = Target::at(point.checkpoint);
        target.copy(&source).await;
        let rows: Vec<usize> = target.tables.values().map(Vec::len).collect();
        assert_eq!(rows, [300, 300], "{mode:?}: what is not committed is not seen");
        let chunk = source.chunks(0).expect("chunks").remove(0);
        let mut reader = source.open_chunk(&chunk).expect("it is opened");
        reader.fill(&mut |_| Ok(())).await.expect("rows");
        run(&standin, "SET LOCK_TIMEOUT 0; UPDATE a SET v = 7 WHERE id <> 5; DELETE b WHERE id = 6");
        drop(reader);
        writer.execute("COMMIT", &[], quiet).expect("done");
        if mode != Mode::Snapshot {
            catch_up(&standin, &mut source, &mut target).await;
        }
    }
}

/// A table without a key has to be locked, for a moment: whoever writes has to wait no longer than that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fence_that_waits_keeps_nobody_from_writing() {
    use logferry_mssql_standin::sql::Login;

    let standin = Arc::new(standin(
        "CREATE TABLE bag (n int); INSERT bag VALUES (1), (1);
         EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_add_job @job_type = N'capture', @pollinginterval = 0",
    ));
    let opened = LiveSource::open(settings(&standin), CDC, 1 << 26, Arc::new(|_| true)).await;
    let mut source = opened.unwrap_or_else(|e| panic!("{e}"));
    let point = source.snapshot().await.unwrap_or_else(|e| panic!("{e}"));
    let server = standin.clone();
    let tried = Arc::new(AtomicU64::new(0));
    let counted = tried.clone();
    standin.faults().set(move |seen| {
        counted.fetch_add(u64::from(seen.text.contains("WITH (TABLOCK, HOLDLOCK)")), Ordering::Relaxed);
        None
    });
    let begun = Arc::new(std::sync::Barrier::new(2));
    let ready = begun.clone();
    let writer = std::thread::spawn(move || {
        let login = Login { name: "sa".into(), host: String::new(), program: String::new(), database: "shop".into() };
        let mut first = server.sql().connect(&login).expect("a session");
        let quiet = &mut crate::cdc::Quiet;
        first.execute("BEGIN TRAN; INSERT bag VALUES (2)", &[], quiet).expect("done");
        ready.wait();
        // Between two tries of the fence others write.
        for n in 1..=3 {
            let began = Instant::now();
            while tried.load(Ordering::Relaxed) < n {
                assert!(began.elapsed() < Duration::from_secs(60), "the fence is not tried");
                std::thread::sleep(Duration::from_millis(1));
            }
            run(&server, "SET LOCK_TIMEOUT 10000; INSERT bag VALUES (3)");
        }
        first.execute("COMMIT", &[], quiet).expect("done");
    });
    begun.wait();
    let mut target = Target::at(point.checkpoint);
    target.copy(&source).await;
    standin.faults().clear();
    source.remember(target.fences.clone());
    writer.join().expect("the writer");
    assert!(target.tables.values().all(|rows| rows.len() == 6), "all were committed before the fence was there");
    run(&standin, "INSERT bag VALUES (4)");
    catch_up(&standin, &mut source, &mut target).await;
}

//! Tables without a key by change data capture: rows that are equal keep their number, whatever is told, and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use logferry_model::{ChangeSource, Fence, SourceEvent};
use logferry_mssql_live::{CdcSettings, LiveSource, Mode};
use logferry_mssql_standin::serve::Standin;

use crate::cdc::{SCAN, Target, run};
use crate::{settings, standin};

const CDC: Mode = Mode::Cdc(CdcSettings { enable: true });
const HYBRID: Mode = Mode::Hybrid { heartbeat: Duration::from_millis(50) };

async fn follow(standin: &Standin, mode: Mode) -> LiveSource {
    LiveSource::open(settings(standin), mode, 50_000, Arc::new(|_| true)).await.unwrap_or_else(|e| panic!("{e}"))
}

/// Heaps, a unique key that may be NULL, and a table with a key beside them.
const TABLES: &str = "
    CREATE TABLE bag (n int, s varchar(300), d decimal(9,2), f float, t datetime2(7));
    CREATE TABLE sorted (n int NOT NULL, v nvarchar(20));
    CREATE TABLE dbo.partly (n int NULL UNIQUE, v int);
    CREATE TABLE keyed (id int NOT NULL PRIMARY KEY, seat int NOT NULL UNIQUE, v int);
    DECLARE @n int = 0;
    WHILE @n < 60 BEGIN
        INSERT bag VALUES (@n % 5, 'x', 1.5, -0.0, NULL), (NULL, NULL, NULL, NULL, '2020-01-01');
        INSERT sorted VALUES (@n % 3, N'\u{e9}'); INSERT partly VALUES (@n, @n); INSERT keyed VALUES (@n, @n, 0);
        SET @n += 1
    END;
    EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_add_job @job_type = N'capture', @pollinginterval = 0";

const CHANGES: &[&str] = &[
    "INSERT bag VALUES (1, 'x', 1.5, 0.0, NULL), (1, 'x', 1.5, 0.0, NULL)",
    "DELETE TOP (3) bag WHERE n = 1",
    "UPDATE bag SET s = s + 'y' WHERE n = 2",
    "UPDATE TOP (5) bag SET n = 7 WHERE n IS NULL",
    "BEGIN TRAN; UPDATE sorted SET n = n + 1; DELETE TOP (2) sorted WHERE n = 2; INSERT sorted VALUES (2, N'z'), (2, N'z'); COMMIT",
    "BEGIN TRAN; DELETE bag; ROLLBACK; UPDATE partly SET n = n + 1; UPDATE partly SET n = NULL WHERE n = 3",
    "UPDATE keyed SET seat = CASE seat WHEN 1 THEN 2 WHEN 2 THEN 1 ELSE seat END; DELETE bag WHERE n = 4",
];

/// Applies until the target has what the source has.
async fn catch_up(standin: &Standin, source: &mut LiveSource, target: &mut Target, bytes: usize) {
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        let batch = source.next(bytes).await.unwrap_or_else(|e| panic!("{e}")).expect("it does not end");
        target.apply(&batch);
        let is_whole = matches!(batch.events.last(), Some(SourceEvent::Commit(_) | SourceEvent::Progress(_)));
        if is_whole && target.is_equal(standin) {
            return;
        }
        if batch.events.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    target.check(standin);
    panic!("the target has what the source has only in the middle of something");
}

async fn begin(standin: &Standin, mode: Mode) -> (LiveSource, Target) {
    let mut source = follow(standin, mode).await;
    let point = source.snapshot().await.unwrap_or_else(|e| panic!("{e}"));
    let mut target = Target::at(point.checkpoint);
    target.copy(&source).await;
    source.remember(target.fences.clone());
    (source, target)
}

#[tokio::test]
async fn equal_rows_keep_their_number() {
    for mode in [CDC, HYBRID] {
        for bytes in [1, 1 << 20] {
            let standin = standin(TABLES);
            let (mut source, mut target) = begin(&standin, mode).await;
            for change in CHANGES {
                run(&standin, change);
                catch_up(&standin, &mut source, &mut target, bytes).await;
                source = follow(&standin, mode).await;
                source.remember(target.fences.clone());
                source.seek(target.at.expect("a position")).await.unwrap_or_else(|e| panic!("{e}"));
            }
        }
    }
}

/// The table is read anew when the column comes; the others go on.
#[tokio::test]
async fn columns_come_to_tables_without_a_key() {
    for mode in [CDC, HYBRID] {
        for bytes in [1, 1 << 20] {
            let standin = standin(TABLES);
            let (mut source, mut target) = begin(&standin, mode).await;
            for change in [
                "BEGIN TRAN; UPDATE TOP (3) bag SET n = 8; UPDATE keyed SET v = 8; COMMIT; ALTER TABLE bag ADD c int NOT NULL DEFAULT 5 WITH VALUES;
                 BEGIN TRAN; INSERT bag (n, c) VALUES (1, 5), (1, 6); UPDATE keyed SET v = 9; UPDATE TOP (2) sorted SET n = 9; COMMIT",
                "UPDATE TOP (1) bag SET c = 6 WHERE c = 5; DELETE TOP (1) bag WHERE n = 1; UPDATE keyed SET v = 10",
            ] {
                run(&standin, change);
                catch_up(&standin, &mut source, &mut target, bytes).await;
                source = follow(&standin, mode).await;
                source.remember(target.fences.clone());
                source.seek(target.at.expect("a position")).await.unwrap_or_else(|e| panic!("{e}"));
            }
        }
    }
}

/// What is committed between the position of the copy and the reading of a table is in its rows, and not told again; a reader that
/// begins anew in between is told so by the target.
#[tokio::test]
async fn what_is_in_the_rows_that_were_copied_is_not_told_again() {
    for mode in [CDC, HYBRID] {
        let standin = standin(TABLES);
        let mut source = follow(&standin, mode).await;
        let point = source.snapshot().await.unwrap_or_else(|e| panic!("{e}"));
        run(
            &standin,
            "INSERT bag VALUES (1, 'early', 1, 1, NULL); DELETE TOP (1) sorted; UPDATE partly SET v = 9 WHERE n < 9",
        );
        let mut target = Target::at(point.checkpoint);
        target.copy(&source).await;
        assert_eq!(target.fences.len(), 3, "tables without a key");
        let later = |fence: &Fence| fence.lsn > point.checkpoint.applied.0;
        assert!(target.fences.iter().all(later), "{:?}", target.fences);
        run(
            &standin,
            "INSERT bag VALUES (1, 'late', 1, 1, NULL); DELETE TOP (1) sorted; UPDATE partly SET v = 8 WHERE n < 9",
        );
        // As after a crash, with what the target has kept.
        let mut source = follow(&standin, mode).await;
        source.remember(target.fences.clone());
        source.seek(point.checkpoint).await.unwrap_or_else(|e| panic!("{e}"));
        catch_up(&standin, &mut source, &mut target, 1 << 20).await;
    }
}

/// What the tests above rest on: without what the target has kept of fences, rows are told again that are in the copy.
#[tokio::test]
async fn a_fence_decides_what_is_told() {
    for mode in [CDC, HYBRID] {
        for has_fences in [true, false] {
            let standin = standin(TABLES);
            let mut source = follow(&standin, mode).await;
            let point = source.snapshot().await.unwrap_or_else(|e| panic!("{e}"));
            run(&standin, "INSERT sorted VALUES (9, N'early')");
            let mut target = Target::at(point.checkpoint);
            target.copy(&source).await;
            run(&standin, "INSERT sorted VALUES (9, N'late')");
            let mut source = follow(&standin, mode).await;
            if has_fences {
                source.remember(target.fences.clone());
            }
            source.seek(point.checkpoint).await.unwrap_or_else(|e| panic!("{e}"));
            let late: Vec<u8> = "late".encode_utf16().flat_map(u16::to_le_bytes).collect();
            let early: Vec<u8> = "early".encode_utf16().flat_map(u16::to_le_bytes).collect();
            let count = |target: &Target, text: &Vec<u8>| {
                target.tables.values().flatten().filter(|row| row.get(1) == Some(&Some(text.clone()))).count()
            };
            let began = std::time::Instant::now();
            while count(&target, &late) == 0 {
                let batch = source.next(1 << 20).await.unwrap_or_else(|e| panic!("{e}")).expect("it does not end");
                target.apply(&batch);
                assert!(began.elapsed() < Duration::from_secs(60), "what is late does not come");
            }
            assert_eq!(count(&target, &early), if has_fences { 1 } else { 2 }, "{mode:?}");
        }
    }
}

/// Others write all the while, the tables are copied and read once more, and the reader is thrown away again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_while_others_write() {
    for mode in [CDC, HYBRID] {
        let standin = Arc::new(standin(TABLES));
        let enough = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for writer in 0..3 {
            let (standin, enough) = (standin.clone(), enough.clone());
            writers.push(std::thread::spawn(move || {
                for n in (0..100).cycle().take_while(|_| !enough.load(Ordering::Relaxed)) {
                    let batch = format!(
                        "USE shop; BEGIN TRAN; INSERT bag VALUES ({}, 'w', 1, 1, NULL), ({}, 'w', 1, 1, NULL);
                         UPDATE TOP (2) bag SET d = d + 1 WHERE n = {}; DELETE TOP (2) bag WHERE n = {};
                         INSERT sorted VALUES ({}, N'{writer}'); DELETE TOP (1) sorted WHERE n = {};
                         UPDATE keyed SET seat = -seat - 1 WHERE id = {}; {}",
                        n % 5,
                        n % 5,
                        (n + 1) % 5,
                        (n + 2) % 5,
                        n % 3,
                        (n + writer) % 3,
                        n % 60,
                        if n % 9 == 4 { "ROLLBACK" } else { "COMMIT" }
                    );
                    // A deadlock's victim changes nothing.
                    standin.batch(&batch).ok();
                    std::thread::sleep(Duration::from_millis(2));
                }
            }));
        }
        std::thread::sleep(Duration::from_millis(50));
        let (mut source, mut target) = begin(&standin, mode).await;
        let mut rounds = 0;
        while rounds < 40 {
            let batch = source.next(3_000).await.unwrap_or_else(|e| panic!("{e}")).expect("it does not end");
            target.apply(&batch);
            if !matches!(batch.events.last(), Some(SourceEvent::Commit(_))) {
                continue;
            }
            rounds += 1;
            if rounds % 8 == 0 {
                source = follow(&standin, mode).await;
                source.remember(target.fences.clone());
                source.seek(target.at.expect("a checkpoint")).await.unwrap_or_else(|e| panic!("{e}"));
            }
            if rounds % 16 == 0 {
                let tables: Vec<_> = source.tables().iter().map(|table| table.id).collect();
                source.reload(&tables).unwrap_or_else(|e| panic!("{e}"));
            }
        }
        enough.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().expect("a writer");
        }
        catch_up(&standin, &mut source, &mut target, 1 << 20).await;
    }
}

/// Why a table is refused.
async fn refusal(made: &str) -> String {
    let standin = standin(made);
    run(&standin, SCAN);
    let mut source = follow(&standin, CDC).await;
    source.snapshot().await.unwrap_or_else(|e| panic!("{e}"));
    let chunk = source.chunks(0).expect("chunks").remove(0);
    let Err(fault) = source.open_chunk(&chunk) else { panic!("the table is opened") };
    fault.to_string()
}

#[tokio::test]
async fn what_cannot_be_told_apart_is_refused_by_name() {
    let said = refusal("CREATE TABLE a (n int, big varchar(max)); EXEC sys.sp_cdc_enable_db").await;
    assert!(said.contains("table \"dbo.a\"") && said.contains("large value of column \"big\""), "{said}");
    let said = refusal(
        "CREATE TABLE a (n int); EXEC sys.sp_cdc_enable_db;
         ALTER DATABASE shop SET ALLOW_SNAPSHOT_ISOLATION OFF; ALTER DATABASE shop SET READ_COMMITTED_SNAPSHOT ON",
    )
    .await;
    assert!(said.contains("does not allow SNAPSHOT isolation"), "{said}");
}

/// A table that came while nobody looked, and that the target does not have: it is read whole, and no gap.
#[tokio::test]
async fn a_table_that_came_while_nobody_looked_is_read() {
    for mode in [CDC, HYBRID] {
        let standin = standin(TABLES);
        let (source, mut target) = begin(&standin, mode).await;
        drop(source);
        run(&standin, "CREATE TABLE late (n int); INSERT late VALUES (1), (1), (2)");
        let mut source = follow(&standin, mode).await;
        source.remember(target.fences.clone());
        source.seek(target.at.expect("a position")).await.unwrap_or_else(|e| panic!("{e}"));
        let late = source.tables().iter().find(|table| table.name.name == "late").expect("the table").id;
        source.add(&[late], &[]).unwrap_or_else(|e| panic!("{e}"));
        run(&standin, "INSERT late VALUES (2); DELETE TOP (1) late WHERE n = 1");
        catch_up(&standin, &mut source, &mut target, 1 << 20).await;
    }
}

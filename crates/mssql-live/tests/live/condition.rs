//! `tables.where`: some rows of a table, the same ones in the copy and among the changes.

use std::sync::Arc;
use std::time::Duration;

use logferry_model::{ChangeSource, Fault, Severity};
use logferry_mssql_live::{CdcSettings, Conditions, LiveSource, Mode, Settings, check as check_task};
use logferry_mssql_standin::serve::Standin;

use crate::cdc::{Row, Target, run};
use crate::copy::stored;
use crate::{settings, standin};

const TABLES: &str = "
    CREATE TABLE orders (id int NOT NULL PRIMARY KEY, region varchar(9) NULL, [Year] smallint, note varchar(max), total AS id * 2 PERSISTED);
    CREATE TABLE pairs (a int NOT NULL, b int NOT NULL, v int, PRIMARY KEY (a, b));
    CREATE TABLE others (id int NOT NULL PRIMARY KEY);
    DECLARE @n int = 0;
    WHILE @n < 200 BEGIN
        INSERT orders VALUES (@n, CASE @n % 3 WHEN 0 THEN 'EU' WHEN 1 THEN 'US' END, 2020 + @n % 7,
            REPLICATE(CAST('n' AS varchar(max)), @n * 100));
        INSERT pairs VALUES (@n / 10, @n % 10, @n);
        SET @n += 1
    END;
    EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_add_job @job_type = N'capture', @pollinginterval = 0";

const ORDERS: &str = "Region = 'EU' AND Year >= 2022 OR id IN (7, 8)";
const PAIRS: &str = "v % 2 = 0";

fn modes() -> [Mode; 3] {
    [Mode::Log, Mode::Cdc(CdcSettings { enable: true }), Mode::Hybrid { heartbeat: Duration::from_millis(100) }]
}

fn with(standin: &Standin, conditions: &[(&str, &str)]) -> Settings {
    let owned = conditions.iter().map(|(table, sql)| ((*table).to_owned(), (*sql).to_owned())).collect();
    Settings { conditions: Conditions::new(owned), ..settings(standin) }
}

async fn open(standin: &Standin, mode: Mode, conditions: &[(&str, &str)]) -> Result<LiveSource, Fault> {
    // Chunks of a few rows.
    Ok(LiveSource::open(with(standin, conditions), mode, 5_000, Arc::new(|_| true)).await?)
}

/// The rows of a table that the target has.
fn found(source: &LiveSource, target: &Target, name: &str) -> Vec<Row> {
    let tables = source.tables();
    let table = tables.iter().find(|t| t.name.name == name).expect("the table");
    let mut rows = target.tables[&table.id].clone();
    rows.sort();
    rows
}

fn expected(standin: &Standin, question: &str) -> Vec<Row> {
    let mut rows = stored(standin, question);
    rows.sort();
    rows
}

fn is_equal(standin: &Standin, source: &LiveSource, target: &Target) -> bool {
    [
        ("orders", format!("orders WHERE {ORDERS}")),
        ("pairs", format!("pairs WHERE {PAIRS}")),
        ("others", "others".into()),
    ]
    .iter()
    .all(|(name, question)| found(source, target, name) == expected(standin, question))
}

/// Rows come into the filter and leave it: by themselves, with large values that do not change, with their keys, in one transaction.
#[tokio::test]
async fn rows_that_move_in_and_out_come_and_go() {
    for mode in modes() {
        let standin = standin(TABLES);
        let conditions = [("DBO.Orders", ORDERS), ("dbo.pairs", PAIRS)];
        let mut source = open(&standin, mode, &conditions).await.unwrap_or_else(|e| panic!("{mode:?}: {e}"));
        let point = source.snapshot().await.unwrap_or_else(|e| panic!("{mode:?}: {e}"));
        let mut target = Target::at(point.checkpoint);
        target.copy(&source).await;
        assert!(is_equal(&standin, &source, &target), "{mode:?}: the copy");
        assert!(found(&source, &target, "orders").len() < 80, "{mode:?}: not all rows");
        for change in [
            "UPDATE orders SET region = 'EU' WHERE id BETWEEN 50 AND 60",
            "UPDATE orders SET region = NULL WHERE id BETWEEN 90 AND 120",
            "UPDATE orders SET note = 'new' WHERE id < 30",
            "UPDATE orders SET [Year] = 2000",
            "UPDATE orders SET [Year] = 2024 WHERE id % 2 = 0",
            "UPDATE orders SET id = id + 1000 WHERE id IN (7, 12); UPDATE orders SET id = id - 1000 WHERE id = 1012",
            "BEGIN TRAN; UPDATE orders SET region = 'US' WHERE id = 24; UPDATE orders SET region = 'EU' WHERE id = 24;
             DELETE orders WHERE id IN (1, 2, 3, 30); INSERT orders VALUES (2000, 'EU', 2030, NULL), (2001, 'US', 2030, NULL); COMMIT",
            "UPDATE pairs SET v = v + 1; DELETE pairs WHERE b = 3; INSERT pairs VALUES (-1, -1, -2), (-1, -2, -3)",
            "INSERT others VALUES (1); DELETE orders",
        ] {
            run(&standin, change);
            let began = std::time::Instant::now();
            loop {
                let batch = source.next(1 << 20).await.unwrap_or_else(|e| panic!("{mode:?}, {change}: {e}"));
                let batch = batch.expect("it does not end");
                target.apply(&batch);
                if is_equal(&standin, &source, &target) && batch.events.is_empty() {
                    break;
                }
                assert!(began.elapsed() < Duration::from_secs(60), "{mode:?}, {change}");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }
}

/// The same of a table without a key, in which equal rows keep their number.
#[tokio::test]
async fn rows_without_a_key_move_in_and_out() {
    const BAG: &str = "n % 2 = 0 AND s <> 'out'";
    for mode in &modes()[1..] {
        let standin = standin(
            "CREATE TABLE bag (n int, s varchar(9)); DECLARE @n int = 0;
             WHILE @n < 60 BEGIN INSERT bag VALUES (@n % 6, 'in'), (@n % 4, 'out'), (NULL, NULL); SET @n += 1 END;
             EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_add_job @job_type = N'capture', @pollinginterval = 0",
        );
        let conditions = [("dbo.bag", BAG)];
        let mut source = open(&standin, *mode, &conditions).await.unwrap_or_else(|e| panic!("{mode:?}: {e}"));
        let point = source.snapshot().await.unwrap_or_else(|e| panic!("{mode:?}: {e}"));
        let mut target = Target::at(point.checkpoint);
        target.copy(&source).await;
        source.remember(target.fences.clone());
        let wanted = || expected(&standin, &format!("bag WHERE {BAG}"));
        assert_eq!(found(&source, &target, "bag"), wanted(), "{mode:?}: the copy");
        assert!(wanted().len() > 20 && wanted().len() < 40, "some, and not all");
        for change in [
            "UPDATE TOP (3) bag SET s = 'in' WHERE s = 'out' AND n = 2",
            "UPDATE TOP (3) bag SET n = n + 1 WHERE s = 'in'",
            "BEGIN TRAN; UPDATE TOP (2) bag SET n = 3 WHERE n = 2; UPDATE TOP (2) bag SET n = 2 WHERE n = 3; DELETE TOP (2) bag WHERE n = 4; COMMIT",
            "INSERT bag VALUES (2, 'in'), (2, 'in'), (2, 'out'), (1, 'in'); DELETE TOP (1) bag WHERE n = 2 AND s = 'in'",
            "UPDATE bag SET n = 8, s = 'new' WHERE n IS NULL; DELETE bag WHERE s = 'out'",
        ] {
            run(&standin, change);
            let began = std::time::Instant::now();
            loop {
                let batch = source.next(1 << 20).await.unwrap_or_else(|e| panic!("{mode:?}, {change}: {e}"));
                let batch = batch.expect("it does not end");
                target.apply(&batch);
                if batch.events.is_empty() && found(&source, &target, "bag") == wanted() {
                    break;
                }
                assert!(began.elapsed() < Duration::from_secs(60), "{mode:?}, {change}");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }
}

/// A condition that would not come to the same result each time, or that the server does not take, is refused by name.
#[tokio::test]
async fn what_cannot_be_told_is_refused_before_anything_is_read() {
    let standin = standin(TABLES);
    for (sql, why) in [
        ("Year > YEAR(GETDATE())", "GETDATE()"),
        ("id IN (SELECT id FROM others)", "SELECT"),
        ("1 = 1) OR (1 = 1", "\")\" too many"),
        ("nothing = 1", "\"nothing\""),
        ("region = 'EU' AND", "the server does not take it"),
    ] {
        for mode in modes() {
            let conditions = [("dbo.orders", sql)];
            let mut source = open(&standin, mode, &conditions).await.expect("a source");
            let fault = source.snapshot().await.expect_err(sql);
            let said = fault.to_string();
            assert!(said.contains("\"dbo.orders\" cannot be told by tables.where") && said.contains(why), "{said}");
            let (findings, _) = check_task(with(&standin, &conditions), mode, Arc::new(|_| true)).await;
            let finding = findings.iter().find(|f| f.subject == "table \"dbo.orders\"").expect("a finding");
            assert!(finding.severity == Severity::Error && finding.found.contains(why), "{finding:?}");
        }
    }
}

/// Change tables do not have everything: what they lack cannot be looked at.
#[tokio::test]
async fn columns_that_are_not_captured_as_they_are_cannot_choose() {
    let standin = standin(TABLES);
    for (sql, why) in [
        ("note LIKE 'n%'", "tables.where names column \"note\", which is not captured where it did not change"),
        ("total > 3", "tables.where names column \"total\", which is computed"),
    ] {
        let conditions = [("dbo.orders", sql)];
        let mut source = open(&standin, modes()[1], &conditions).await.expect("a source");
        source.snapshot().await.expect("a snapshot");
        let tables = source.tables();
        let at = tables.iter().position(|t| t.name.name == "orders").expect("the table");
        let chunk = source.chunks(at).expect("chunks").remove(0);
        let Err(fault) = source.open_chunk(&chunk) else { panic!("{sql}: it is read") };
        assert!(fault.to_string().contains(why), "{fault}");
        // The log says which row is another, and the table what it is now.
        let mut source = open(&standin, Mode::Log, &conditions).await.expect("a source");
        source.snapshot().await.expect("a snapshot");
        let mut target = Target::default();
        target.copy(&source).await;
        assert_eq!(found(&source, &target, "orders"), expected(&standin, &format!("orders WHERE {sql}")));
    }
}

//! Phases of a task, one at a time, and changes that begin at a position.

mod follow;
mod server;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use follow::{Running, change, ended, wait_for_checkpoint, wait_until_equal};
use logferry_model::{Cell, SqlType};
use logferry_mssql_standin::serve::Standin;
use logferry_mssql_standin::sql::{Login, ResultColumn, ResultSink, SqlError, TransactionChange};
use logferry_testkit::postgres::{Database, PrivatePostgres};
use server::{check_equal, command, serve, text, write_task};

const MODES: &[&str] = &["log", "cdc", "hybrid"];
const TABLES: &[&str] = &["Customers", "Orders"];

fn shop(mode: &str) -> Arc<Standin> {
    let kind = if mode == "hybrid" { "NONCLUSTERED" } else { "" };
    serve(&format!(
        "CREATE TABLE dbo.Customers (id int NOT NULL PRIMARY KEY, name nvarchar(40) NOT NULL, credit money);
         CREATE TABLE dbo.Orders (id int NOT NULL PRIMARY KEY {kind}, note varchar(max));
         DECLARE @n int = 0;
         WHILE @n < 100 BEGIN
             INSERT dbo.Customers VALUES (@n, N'Jos\u{e9}', @n); INSERT dbo.Orders VALUES (@n, REPLICATE('n', @n)); SET @n += 1
         END;
         EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_add_job @job_type = N'capture', @pollinginterval = 0;
         EXEC sys.sp_cdc_enable_table N'dbo', N'Customers', NULL; EXEC sys.sp_cdc_enable_table N'dbo', N'Orders', NULL"
    ))
}

/// The first cell of an answer, a `varchar`.
#[derive(Default)]
struct First(Option<String>);

impl ResultSink for First {
    fn columns(&mut self, _: &[ResultColumn]) {}
    fn row(&mut self, cells: &[Cell<'_>]) -> bool {
        self.0 = cells.first().and_then(|c| c.bytes()).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        true
    }
    fn done(&mut self, _: Option<u64>) {}
    fn info(&mut self, _: &SqlError) {}
    fn error(&mut self, error: &SqlError) {
        panic!("{error}");
    }
    fn changed_database(&mut self, _: &str) {}
    fn transaction(&mut self, _: TransactionChange) {}
    fn output(&mut self, _: &str, _: &SqlType, _: Option<&[u8]>) {}
}

fn ask(standin: &Standin, question: &str) -> String {
    let login = Login { name: "sa".into(), host: String::new(), program: String::new(), database: "shop".into() };
    let mut first = First::default();
    let mut session = standin.sql().connect(&login).expect("a session");
    session.execute(question, &[], &mut first).unwrap_or_else(|e| panic!("{question}: {e}"));
    first.0.unwrap_or_else(|| panic!("{question}: no answer"))
}

/// The last record of the log; with change data capture, once it is captured.
async fn end_of_log(standin: &Standin, mode: &str) -> String {
    let end = ask(standin, "SELECT CONVERT(varchar(23), MAX([Current LSN])) FROM sys.fn_dblog(NULL, NULL)");
    if mode == "log" {
        return end;
    }
    let began = Instant::now();
    // What the capture job writes is behind what it has read.
    let count = "SELECT CONVERT(varchar(9), COUNT(*)) FROM cdc.dbo_Orders_CT";
    while ask(standin, count) == "0" {
        assert!(began.elapsed() < Duration::from_secs(30), "nothing is captured");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ask(standin, "SELECT CONVERT(varchar(22), sys.fn_cdc_get_max_lsn(), 1)")
}

fn run(task: &Path, standin: &Standin) {
    let output = ended(&mut command(task, standin));
    assert!(output.status.success(), "{}", text(&output));
}

/// Runs until the target has every row.
async fn follow(task: &Path, standin: &Standin, database: &Database<'_>) {
    let running = Running::start(task, standin, &[]);
    wait_until_equal(standin, database, TABLES).await;
    drop(running);
    check_equal(standin, database, TABLES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn phases_are_done_one_at_a_time() {
    let postgres = PrivatePostgres::shared();
    for mode in MODES {
        let standin = shop(mode);
        let database = postgres.create_database().expect("a database");
        let folder = tempfile::tempdir().expect("a folder");
        let task = folder.path().join("shop.yaml");
        let with = |phases: &str| write_task(&task, mode, &standin, &database, &format!("phases: [{phases}]\n"));
        with("full");
        let early = ended(&mut command(&task, &standin));
        assert!(text(&early).contains("not on the target: \"dbo.customers\""), "{mode}: {}", text(&early));

        with("schema");
        run(&task, &standin);
        let client = database.client().await.expect("a connection");
        let keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'p' AND connamespace = 'dbo'::regnamespace";
        assert_eq!(client.query_one(keys, &[]).await.expect("a count").get::<_, i64>(0), 2, "{mode}");
        let count = "SELECT count(*) FROM dbo.customers";
        assert_eq!(client.query_one(count, &[]).await.expect("a count").get::<_, i64>(0), 0, "{mode}");

        with("full");
        run(&task, &standin);
        check_equal(&standin, &database, TABLES).await;
        // What comes later waits for the phase of changes, and nothing of it is lost.
        change(&standin, "UPDATE dbo.Customers SET credit = 7 WHERE id < 50; DELETE dbo.Orders WHERE id > 90");
        run(&task, &standin);
        assert_eq!(client.query_one(count, &[]).await.expect("a count").get::<_, i64>(0), 100, "{mode}");
        with("full, incremental");
        follow(&task, &standin, &database).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_begin_at_a_position() {
    let postgres = PrivatePostgres::shared();
    for mode in MODES {
        for kind in ["lsn", "time", "now"] {
            let standin = shop(mode);
            let database = postgres.create_database().expect("a database");
            let folder = tempfile::tempdir().expect("a folder");
            // The rows come from elsewhere.
            let seed = folder.path().join("seed.yaml");
            write_task(&seed, "snapshot", &standin, &database, "");
            let other = std::fs::read_to_string(&seed).expect("the task").replace("task: shop", "task: seed");
            std::fs::write(&seed, other).expect("the task");
            run(&seed, &standin);
            change(
                &standin,
                "UPDATE dbo.Orders SET note = 'x' WHERE id = 1; UPDATE dbo.Orders SET note = 'n' WHERE id = 1",
            );
            let lsn = end_of_log(&standin, mode).await;
            tokio::time::sleep(Duration::from_millis(30)).await;
            let time = ask(&standin, "SELECT CONVERT(varchar(23), GETDATE(), 126)");
            tokio::time::sleep(Duration::from_millis(30)).await;
            let later = "UPDATE dbo.Customers SET credit = 7 WHERE id < 50; DELETE dbo.Orders WHERE id > 90;
                         INSERT dbo.Orders VALUES (1000, 'new')";
            if kind != "now" {
                change(&standin, later);
            }
            let task = folder.path().join("shop.yaml");
            let with = |start: &str| {
                write_task(&task, mode, &standin, &database, &format!("phases: [incremental]\nstart: {start}\n"));
            };
            if kind == "lsn" {
                with("{from: backup, lsn: '1000000000100001'}");
                let early = ended(&mut command(&task, &standin));
                let said = text(&early);
                assert!(!early.status.success(), "{mode}: {said}");
                let first = if *mode == "cdc" { "00000001:00000001:0000" } else { "00000001:00000001:0001" };
                assert!(said.contains(first) && said.contains("begins at 0000"), "{mode}: {said}");
            }
            match kind {
                "lsn" => with(&format!("{{from: lsn, lsn: '{lsn}'}}")),
                "time" => with(&format!("{{from: time, time: '{time}'}}")),
                _ => with("{from: now}"),
            }
            if kind == "now" {
                let mut running = Running::start(&task, &standin, &[]);
                wait_for_checkpoint(&database, None, &mut running).await;
                change(&standin, later);
                drop(running);
            }
            follow(&task, &standin, &database).await;
            change(&standin, "UPDATE dbo.Customers SET credit = 9 WHERE id < 50");
            follow(&task, &standin, &database).await;
        }
    }
}

//! `mode: cdc` through the binary: a server that is written to, a PostgreSQL, and a process that is killed.

mod follow;
#[path = "cdc_mode/latency.rs"]
mod latency;
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use follow::{Running, change, ended, wait_for_checkpoint, wait_until_equal};
use logferry_mssql_standin::serve::Standin;
use logferry_testkit::postgres::{Database, PrivatePostgres};
use server::{check_equal, command, serve, text, write_task};

const TABLES: &[&str] = &["Customers", "Orders", "Types", "Bag"];

const SHOP: &str = "
    CREATE TABLE dbo.Customers (id int NOT NULL PRIMARY KEY, name nvarchar(40) NOT NULL, credit money, since datetime);
    CREATE TABLE dbo.Orders (customer int NOT NULL, number int NOT NULL, total decimal(12,2), note varchar(max), plan_of ntext,
        PRIMARY KEY NONCLUSTERED (customer, number));
    CREATE TABLE dbo.Types (id int NOT NULL PRIMARY KEY, b bit, ti tinyint, f float, d date, t time(7), d2 datetime2(7),
        o datetimeoffset(3), g uniqueidentifier, vb varbinary(max), c char(5), nc nchar(5), x xml, v sql_variant, r rowversion);
    CREATE TABLE dbo.Bag (n int, s varchar(20));
    DECLARE @n int = 0;
    WHILE @n < 300 BEGIN
        INSERT dbo.Bag VALUES (@n % 7, 'x');
        INSERT dbo.Customers VALUES (@n, N'Jos\u{e9} ' + CAST(@n AS nvarchar(9)), @n, GETDATE());
        INSERT dbo.Orders VALUES (@n % 10, @n, @n / 7.0, REPLICATE('caf\u{e9} ', @n), REPLICATE(N'\u{e9}', @n));
        SET @n += 1
    END;
    INSERT dbo.Types (id, b, ti, f, d, t, d2, o, g, vb, c, nc, x, v) VALUES (1, 1, 255, -1.5, '0001-01-01', '23:59:59.1234567',
        '9999-12-31 23:59:59.9', '2020-02-29 12:00:00 +05:30', NEWID(), 0x00ff, 'ab', N'cd', N'<a>1</a>', CAST(5 AS int));
    INSERT dbo.Types (id) VALUES (2)";

const CAPTURE: &str = "EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_enable_table N'dbo', N'Customers', NULL;
    EXEC sys.sp_cdc_enable_table N'dbo', N'Orders', NULL; EXEC sys.sp_cdc_enable_table N'dbo', N'Types', NULL;
    EXEC sys.sp_cdc_enable_table N'dbo', N'Bag', NULL;
    EXEC sys.sp_cdc_change_job @job_type = N'capture', @pollinginterval = 0; EXEC sys.sp_cdc_stop_job N'capture';
    EXEC sys.sp_cdc_start_job N'capture'";

fn shop(more: &str) -> Arc<Standin> {
    serve(&format!("{SHOP}; {more}"))
}

/// Writes until it is enough.
fn write(standin: &Arc<Standin>, enough: &Arc<AtomicBool>, writer: u32) -> std::thread::JoinHandle<()> {
    let (standin, enough) = (standin.clone(), enough.clone());
    std::thread::spawn(move || {
        for n in (0..500).cycle().take_while(|_| !enough.load(Ordering::Relaxed)) {
            let id = (n * 7 + writer * 31) % 300;
            let batch = format!(
                "USE shop; BEGIN TRAN;
                 UPDATE dbo.Customers SET credit = credit + 1.5, name = N'new' WHERE id = {id};
                 DELETE dbo.Orders WHERE number = {};
                 INSERT dbo.Orders VALUES ({writer}, {}, {n}, REPLICATE('n', {n}), NULL);
                 UPDATE dbo.Orders SET total = {n} WHERE number = {id};
                 UPDATE dbo.Orders SET number = number + 1000 WHERE number = {};
                 INSERT dbo.Bag VALUES ({n} % 7, 'x'); DELETE TOP (1) dbo.Bag WHERE n = {id} % 7;
                 UPDATE dbo.Types SET f = {n}, vb = CAST(REPLICATE(CAST('x' AS varchar(max)), {n}) AS varbinary(max)) WHERE id = 1;
                 {}",
                id + 1,
                id + 1,
                id + 2,
                if n % 11 == 3 { "ROLLBACK" } else { "COMMIT" }
            );
            // A deadlock's victim, or a key that is taken, changes nothing.
            standin.batch(&batch).ok();
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_followed_by_its_change_tables_through_kills_while_others_write() {
    let (standin, postgres) = (shop(CAPTURE), PrivatePostgres::shared());
    let database = postgres.create_database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let task = folder.path().join("shop.yaml");
    write_task(&task, "cdc", &standin, &database, "");
    let enough = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2).map(|writer| write(&standin, &enough, writer)).collect();
    let start = || Running::start(&task, &standin, &[]);
    let mut at = None;
    for _ in 0..4 {
        let mut running = start();
        at = Some(wait_for_checkpoint(&database, at, &mut running).await);
        at = Some(wait_for_checkpoint(&database, at, &mut running).await);
    }
    // Killed at any moment, too.
    for after_ms in [30, 90, 170, 400] {
        let running = start();
        tokio::time::sleep(Duration::from_millis(after_ms)).await;
        drop(running);
    }
    let mut running = start();
    wait_for_checkpoint(&database, at, &mut running).await;
    enough.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().expect("a writer");
    }
    wait_until_equal(&standin, &database, TABLES).await;
    drop(running);
    check_equal(&standin, &database, TABLES).await;
}

/// Tables that somebody spoiled on the target are read once more, with a key and without one, while others write.
#[tokio::test(flavor = "multi_thread")]
async fn tables_are_reloaded() {
    for mode in ["cdc", "hybrid"] {
        let (standin, postgres) = (shop(CAPTURE), PrivatePostgres::shared());
        let database = postgres.create_database().expect("a database");
        let folder = tempfile::tempdir().expect("a folder");
        let task = folder.path().join("shop.yaml");
        write_task(&task, mode, &standin, &database, "");
        let mut running = Running::start(&task, &standin, &[]);
        wait_for_checkpoint(&database, None, &mut running).await;
        wait_until_equal(&standin, &database, TABLES).await;
        drop(running);
        let client = database.client().await.expect("a connection");
        let spoil = "DELETE FROM dbo.orders WHERE number % 3 = 0; UPDATE dbo.customers SET credit = -1; INSERT INTO dbo.bag VALUES (1, 'x')";
        client.batch_execute(spoil).await.expect("spoiled");
        let enough = Arc::new(AtomicBool::new(false));
        let writer = write(&standin, &enough, 0);
        let names = ["--reload", "dbo.Orders", "--reload", "dbo.Customers", "--reload", "dbo.Bag"];
        let mut running = Running::start(&task, &standin, &names);
        let at = wait_for_checkpoint(&database, None, &mut running).await;
        wait_for_checkpoint(&database, Some(at), &mut running).await;
        enough.store(true, Ordering::Relaxed);
        writer.join().expect("a writer");
        wait_until_equal(&standin, &database, TABLES).await;
        assert!(running.is_alive(), "{mode}");
    }
}

/// `redis/docs` PR#3850: after a failover there is no capture job, and silence. The task says what is wrong, and goes on when it is mended.
#[tokio::test(flavor = "multi_thread")]
async fn a_capture_job_that_went_is_told_and_waited_for() {
    let (standin, postgres) = (shop(CAPTURE), PrivatePostgres::shared());
    let database = postgres.create_database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let (task, said) = (folder.path().join("shop.yaml"), folder.path().join("said"));
    write_task(&task, "cdc", &standin, &database, "");
    let mut command = command(&task, &standin);
    command.stderr(std::fs::File::create(&said).expect("a file"));
    let mut running = Running(command.spawn().expect("it runs"));
    wait_for_checkpoint(&database, None, &mut running).await;
    wait_until_equal(&standin, &database, TABLES).await;
    change(&standin, "EXEC sys.sp_cdc_drop_job N'capture'; UPDATE dbo.Customers SET credit = 7");
    let told = || std::fs::read_to_string(&said).unwrap_or_default().contains("the database has no capture job");
    let began = Instant::now();
    while !told() {
        assert!(running.is_alive() && began.elapsed() < Duration::from_secs(60), "the task does not say so");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    change(&standin, "EXEC sys.sp_cdc_add_job @job_type = N'capture', @pollinginterval = 0");
    wait_until_equal(&standin, &database, TABLES).await;
    assert!(running.is_alive());
}

/// Tables come that only change data capture serves, and columns to a table without a key: by the process that runs.
#[tokio::test(flavor = "multi_thread")]
async fn tables_without_a_key_come_and_change_while_the_process_runs() {
    for mode in ["cdc\n  cdc: {enable: true}", "hybrid"] {
        let (standin, postgres) = (shop(CAPTURE), PrivatePostgres::shared());
        let database = postgres.create_database().expect("a database");
        let folder = tempfile::tempdir().expect("a folder");
        let task = folder.path().join("shop.yaml");
        write_task(&task, mode, &standin, &database, "");
        let mut running = Running::start(&task, &standin, &[]);
        wait_for_checkpoint(&database, None, &mut running).await;
        let enough = Arc::new(AtomicBool::new(false));
        let writer = write(&standin, &enough, 0);
        let change = |text: &str| change(&standin, text);
        change("CREATE TABLE dbo.Late (n int, s varchar(9)); INSERT dbo.Late VALUES (1, 'a'), (1, 'a'), (2, 'b')");
        change("UPDATE TOP (1) dbo.Late SET s = 'c' WHERE n = 1");
        let tables = ["Customers", "Orders", "Types", "Late"];
        wait_for_table(&database, "dbo.late").await;
        change("ALTER TABLE dbo.Late ADD c int NOT NULL DEFAULT 5 WITH VALUES");
        change("INSERT dbo.Late VALUES (1, 'a', 5), (1, 'a', 6); DELETE TOP (1) dbo.Late WHERE n = 2");
        enough.store(true, Ordering::Relaxed);
        writer.join().expect("a writer");
        wait_until_equal(&standin, &database, &tables).await;
        wait_until_equal(&standin, &database, TABLES).await;
        assert!(running.is_alive(), "{mode}");
        drop(running);
        change("INSERT dbo.Late VALUES (3, 'd', 7); UPDATE TOP (1) dbo.Late SET c = 8 WHERE c = 5");
        let _running = Running::start(&task, &standin, &[]);
        wait_until_equal(&standin, &database, &tables).await;
    }
}

async fn wait_for_table(database: &Database<'_>, name: &str) {
    let client = database.client().await.expect("a connection");
    let began = Instant::now();
    while !client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&name]).await.expect("an answer").get::<_, bool>(0)
    {
        assert!(began.elapsed() < Duration::from_secs(120), "the table does not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn what_is_not_captured_is_told_before_anything_is_written() {
    let (standin, postgres) = (shop(CAPTURE), PrivatePostgres::shared());
    standin.batch("USE shop; CREATE TABLE dbo.Other (id int NOT NULL PRIMARY KEY)").expect("a table");
    let database = postgres.create_database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let task = folder.path().join("shop.yaml");
    write_task(&task, "cdc", &standin, &database, "");
    let output = ended(&mut command(&task, &standin));
    let said = text(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("table \"dbo.Other\" cannot be followed by change data capture: it has no capture instance"),
        "{said}"
    );
    assert!(said.contains("EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'Other'"), "{said}");
    assert!(said.contains("tables.exclude: [dbo.Other]"), "{said}");
}

#[test]
fn the_demo_by_change_tables_ends_with_every_row_equal() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_logferry"))
        .args(["--json", "demo", "--mode", "cdc", "--seconds", "1", "--rows", "200"])
        .env_remove("LOGFERRY_LOG")
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", text(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&report["equal"], &report["kills"]), (&true.into(), &1.into()), "{report}");
}

/// Both readers in one stream, with the demo; and what a task makes on its source goes again.
#[test]
fn the_demo_by_both_readers_ends_with_every_row_equal() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_logferry"))
        .args(["--json", "demo", "--mode", "hybrid", "--seconds", "1", "--rows", "200"])
        .env_remove("LOGFERRY_LOG")
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", text(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&report["equal"], &report["mode"]), (&true.into(), &"hybrid".into()), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_task_makes_on_its_source_goes_again() {
    let (standin, postgres) = (shop(""), PrivatePostgres::shared());
    let database = postgres.create_database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let task = folder.path().join("shop.yaml");
    write_task(&task, "hybrid", &standin, &database, "");
    let running = Running::start(&task, &standin, &[]);
    wait_until_equal(&standin, &database, TABLES).await;
    drop(running);
    let teardown = |json: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_logferry"));
        command
            .args(json)
            .arg("teardown")
            .arg(&task)
            .env("SHOP_PASSWORD", standin.password())
            .env_remove("LOGFERRY_LOG");
        command.output().expect("it runs")
    };
    let output = teardown(&["--json"]);
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
    let removed: Vec<&str> =
        report["removed"].as_array().expect("a list").iter().filter_map(|line| line.as_str()).collect();
    for expect in ["trigger logferry_ddl", "table dbo.logferry_heartbeat", "change data capture of the database"] {
        assert!(removed.contains(&expect), "{removed:?}");
    }
    assert!(text(&teardown(&[])).contains("there was nothing of logferry in database \"shop\""));
}

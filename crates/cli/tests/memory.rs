//! A transaction takes a bounded part of memory, however many rows it changes.
//!
//! `LOGFERRY_MEMORY_ROWS` sets how many: ten million is what is promised to fit into 256 MB.

#[allow(dead_code)]
mod follow;
#[allow(dead_code)]
mod server;
#[path = "memory/values.rs"]
mod values;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use follow::{Running, wait_for_checkpoint};
use logferry_model::SqlType;
use logferry_mssql_standin_storage::{ColumnDef, DEFAULT_COLLATION, Database, Options, TableDef, XactOptions};
use logferry_testkit::postgres::{self, PrivatePostgres};
use server::{command, serve, write_task};

/// Enough that what grows with them would show.
const ROWS: u32 = 100_000;
/// What is promised.
const MEMORY_MAX: u64 = 256_000_000;
/// Of rows that a statement writes.
const ROWS_EACH: u32 = 1000;

fn rows() -> u32 {
    std::env::var("LOGFERRY_MEMORY_ROWS").map_or(ROWS, |rows| rows.parse().expect("a number"))
}

fn table() -> TableDef {
    let text = SqlType::VarChar { length: Some(60), collation: DEFAULT_COLLATION };
    TableDef {
        schema: "dbo".into(),
        name: "Big".into(),
        columns: vec![
            ColumnDef::new("id", SqlType::Int).not_null(),
            ColumnDef::new("amount", SqlType::BigInt).not_null(),
            ColumnDef::new("name", text).not_null(),
        ],
        primary_key: vec![0],
    }
}

/// A full backup of an empty table, and a log backup with one transaction.
fn backups(rows: u32, folder: &Path) {
    let options = Options { name: "big".into(), vlf_bytes: 64 << 20, pages: 8192, ..Options::default() };
    let mut db = Database::create(options).expect("a database");
    let table = db.create_table(table()).expect("a table");
    db.backup_full(&folder.join("full.bak")).expect("a full backup");
    let xact = db.begin(XactOptions::default());
    for id in 1..=rows {
        let name = format!("row number {id}, with as much text as rows have");
        let row = [id.to_le_bytes().to_vec(), u64::from(id).pow(2).to_le_bytes().to_vec(), name.into_bytes()];
        db.insert(xact, table, row.into_iter().map(Some).collect()).expect("it fits");
    }
    db.commit(xact).expect("it is open");
    db.backup_log(&folder.join("log.trn")).expect("a log backup");
}

/// The most memory that a process had, in bytes; 0 where it has ended.
fn most(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    line.and_then(|kb| kb.parse::<u64>().ok()).unwrap_or_default() * 1024
}

/// Runs to the end; gives the most memory that the process had, in bytes.
fn peak(mut command: Command) -> u64 {
    command.env("LOGFERRY_LOG", "warn").stdin(Stdio::null()).stdout(Stdio::null());
    let mut running = Running(command.spawn().expect("it starts"));
    let mut peak = 0;
    loop {
        if let Some(status) = running.0.try_wait().expect("it was started") {
            assert!(status.success(), "{status}");
            return peak;
        }
        peak = peak.max(most(running.0.id()));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[track_caller]
fn check_most(what: &str, rows: u32, most: u64) {
    eprintln!("{what}, {rows} rows: {:.1} MB at the most", most as f64 / 1e6);
    assert!(most < MEMORY_MAX, "{what}: {:.1} MB", most as f64 / 1e6);
}

/// The target has each row; each tenth was changed as well, if `changed`.
async fn check_rows(database: &postgres::Database<'_>, rows: u32, changed: bool) {
    let client = database.client().await.expect("a connection");
    let sql = "SELECT count(*), sum(id)::bigint,
                   count(*) FILTER (WHERE name = format('row number %s, with as much text as rows have', id)),
                   count(*) FILTER (WHERE amount = id::bigint * id * CASE WHEN $1 AND id % 10 = 0 THEN -1 ELSE 1 END)
               FROM dbo.big WHERE id > 0";
    let found = client.query_one(sql, &[&changed]).await.expect("the rows");
    let n = i64::from(rows);
    let found: [i64; 4] = [0, 1, 2, 3].map(|at| found.get(at));
    assert_eq!(found, [n, n * (n + 1) / 2, n, n], "rows, their numbers, right names, right amounts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_takes_a_bounded_part_of_memory() {
    let rows = rows();
    let folder = tempfile::tempdir().expect("a folder");
    backups(rows, folder.path());
    let database = PrivatePostgres::shared().create_database().expect("a database");
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
    command.args(["run", "--name", "big", "--to", &database.url(), "--from"]).arg(folder.path());
    let most = peak(command);
    check_rows(&database, rows, false).await;
    check_most("backups", rows, most);
}

/// So that the table has pages before the large transaction.
const ONE_ROW: &str = "INSERT dbo.Big VALUES (0, 0, '')";

/// Follows a server on which one transaction writes all rows, and another one changes each tenth; then they are copied.
async fn check_server(mode: &str, key: &str, prepared: &str) {
    let rows = rows();
    assert_eq!(rows % ROWS_EACH, 0, "whole statements");
    let standin = serve(&format!(
        "CREATE TABLE dbo.Big (id int NOT NULL PRIMARY KEY {key}, amount bigint NOT NULL, name varchar(60) NOT NULL); {prepared}"
    ));
    let postgres = PrivatePostgres::shared();
    let database = postgres.create_database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let task = folder.path().join("shop.yaml");
    write_task(&task, mode, &standin, &database, "");
    let mut running = Running::start(&task, &standin, &[]);
    wait_for_checkpoint(&database, None, &mut running).await;
    let digits = "(VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9))";
    let write = format!(
        "DECLARE @n int = 0;
         WHILE @n < {rows} BEGIN
             INSERT dbo.Big
             SELECT id, CAST(id AS bigint) * id, 'row number ' + CAST(id AS varchar(10)) + ', with as much text as rows have'
             FROM (SELECT @n + 1 + a.n * 100 + b.n * 10 + c.n AS id
                   FROM {digits} a (n) CROSS JOIN {digits} b (n) CROSS JOIN {digits} c (n)) AS ids;
             SET @n += {ROWS_EACH}
         END"
    );
    let client = database.client().await.expect("a connection");
    let changes = [
        (write.as_str(), "SELECT EXISTS (SELECT FROM dbo.big WHERE id > 0)", false),
        ("UPDATE dbo.Big SET amount = -amount WHERE id % 10 = 0", "SELECT amount < 0 FROM dbo.big WHERE id = 10", true),
    ];
    for (change, there, changed) in changes {
        let began = Instant::now();
        standin.batch(&format!("USE shop; BEGIN TRAN; {change}; COMMIT")).unwrap_or_else(|e| panic!("{change}: {e}"));
        let written = began.elapsed().as_secs_f64();
        // The transaction comes whole.
        while !client.query_one(there, &[]).await.expect("an answer").get::<_, bool>(0) {
            assert!(running.is_alive(), "logferry has ended");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        check_rows(&database, rows, changed).await;
        eprintln!("written after {written:.1} s, there after {:.1} s", began.elapsed().as_secs_f64());
        check_most(mode, rows, most(running.0.id()));
    }
    drop(running);
    let database = postgres.create_database().expect("a database");
    write_task(&task, "snapshot", &standin, &database, "");
    let most = peak(command(&task, &standin));
    check_rows(&database, rows, true).await;
    check_most("snapshot", rows, most);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_of_a_server_takes_a_bounded_part_of_memory() {
    check_server("log", "", ONE_ROW).await;
}

/// The first rows of a table are not looked up one by one: it is read whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_table_that_is_read_whole_takes_a_bounded_part_of_memory() {
    check_server("log", "", "").await;
}

/// Changes are captured all the time.
const CAPTURE: &str = "EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_add_job @job_type = N'capture', @pollinginterval = 0";

#[tokio::test(flavor = "multi_thread")]
async fn a_large_captured_transaction_takes_a_bounded_part_of_memory() {
    check_server("cdc", "", &format!("{ONE_ROW}; {CAPTURE}; EXEC sys.sp_cdc_enable_table N'dbo', N'Big', NULL")).await;
}

/// What the log tells waits for the capture job, for another table needs it.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_of_the_log_beside_a_captured_table_takes_a_bounded_part_of_memory() {
    let other = "CREATE TABLE dbo.Heap (id int NOT NULL PRIMARY KEY NONCLUSTERED); INSERT dbo.Heap VALUES (1)";
    check_server("hybrid", "", &format!("{ONE_ROW}; {other}; {CAPTURE}")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: the same reader as in mode cdc, which is tested"]
async fn a_large_transaction_that_capture_serves_beside_the_log_takes_a_bounded_part_of_memory() {
    let other = "CREATE TABLE dbo.Small (id int NOT NULL PRIMARY KEY); INSERT dbo.Small VALUES (1)";
    check_server("hybrid", "NONCLUSTERED", &format!("{ONE_ROW}; {other}; {CAPTURE}")).await;
}

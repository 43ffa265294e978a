//! A transaction takes a bounded part of memory, however many rows it changes.
//!
//! `LOGFERRY_MEMORY_ROWS` sets how many: ten million is what is promised to fit into 256 MB.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use logferry_model::SqlType;
use logferry_mssql_standin_storage::{ColumnDef, DEFAULT_COLLATION, Database, Options, TableDef, XactOptions};
use logferry_testkit::postgres::PrivatePostgres;

/// Enough that what grows with them would show.
const ROWS: u32 = 100_000;
/// What is promised.
const MEMORY_MAX: u64 = 256_000_000;

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

/// Runs to the end; gives the most memory that the process had, in bytes.
fn peak(folder: &Path, url: &str) -> u64 {
    let mut child = Command::new(env!("CARGO_BIN_EXE_logferry"))
        .args(["run", "--name", "big", "--to", url, "--from"])
        .arg(folder)
        .env("LOGFERRY_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut peak = 0;
    loop {
        if let Some(status) = child.try_wait().expect("it was started") {
            assert!(status.success(), "{status}");
            return peak;
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak = peak.max(line.and_then(|kb| kb.parse::<u64>().ok()).unwrap_or_default() * 1024);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_takes_a_bounded_part_of_memory() {
    let rows: u32 = std::env::var("LOGFERRY_MEMORY_ROWS").map_or(ROWS, |rows| rows.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    backups(rows, folder.path());
    let database = PrivatePostgres::shared().create_database().expect("a database");
    let peak = peak(folder.path(), &database.url());
    let client = database.client().await.expect("a connection");
    let sql = "SELECT count(*), sum(id)::bigint, count(DISTINCT name) FROM dbo.big";
    let found = client.query_one(sql, &[]).await.expect("the rows");
    let n = i64::from(rows);
    assert_eq!((found.get::<_, i64>(0), found.get::<_, i64>(1), found.get::<_, i64>(2)), (n, n * (n + 1) / 2, n));
    eprintln!("{rows} rows in one transaction: {:.1} MB at the most", peak as f64 / 1e6);
    assert!(peak < MEMORY_MAX, "{:.1} MB", peak as f64 / 1e6);
}

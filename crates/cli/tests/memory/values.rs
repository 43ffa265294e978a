//! A large value is in memory a few times, and no more often however large it is.
//!
//! `LOGFERRY_MEMORY_VALUE_MB` sets its size: PostgreSQL holds less than 1 GiB.

use std::path::Path;
use std::process::Command;

use logferry_model::SqlType;
use logferry_mssql_standin_storage::{ColumnDef, Database, Options, TableDef, XactOptions};
use logferry_testkit::postgres::{self, PrivatePostgres};

use super::follow::{Running, wait_for_checkpoint};
use super::server::{command, serve, write_task};
use super::{most, peak};

/// Enough that one time more or less shows.
const VALUE_MB: usize = 48;
/// What all else takes.
const REST: u64 = 40_000_000;

fn value_len() -> usize {
    std::env::var("LOGFERRY_MEMORY_VALUE_MB").map_or(VALUE_MB, |mb| mb.parse().expect("a number")) * 1_000_000
}

/// Of a process that wrote a value: how often it may have been in memory, by tenths.
#[track_caller]
fn check_most(what: &str, most: u64, tenths: u64) {
    let len = value_len() as u64;
    eprintln!("{what}: {:.1} MB at the most, for a value of {:.1} MB", most as f64 / 1e6, len as f64 / 1e6);
    assert!(most < len * tenths / 10 + REST, "{what}: {:.1} MB", most as f64 / 1e6);
}

/// The target has rows 1 to `rows`, each with its number and a value of that many bytes, all of them the digit of the number.
async fn check_values(database: &postgres::Database<'_>, rows: i64) {
    let client = database.client().await.expect("a connection");
    let sql =
        "SELECT count(*), count(*) FILTER (WHERE length(v) = $1 AND length(btrim(v, convert_to(id::text, 'UTF8'))) = 0)
               FROM dbo.big";
    let len = i32::try_from(value_len()).expect("less than 2 GB");
    let found = client.query_one(sql, &[&len]).await.expect("the rows");
    assert_eq!((found.get::<_, i64>(0), found.get::<_, i64>(1)), (rows, rows));
}

fn backup_of_a_value(folder: &Path) -> Database {
    let options = Options { name: "big".into(), vlf_bytes: 64 << 20, pages: 8192, ..Options::default() };
    let mut db = Database::create(options).expect("a database");
    let columns =
        vec![ColumnDef::new("id", SqlType::Int).not_null(), ColumnDef::new("v", SqlType::VarBinary { length: None })];
    let table = TableDef { schema: "dbo".into(), name: "Big".into(), columns, primary_key: vec![0] };
    db.create_table(table).expect("a table");
    insert(&mut db, 1);
    db.backup_full(&folder.join("full.bak")).expect("a full backup");
    db
}

fn insert(db: &mut Database, id: u8) {
    let table = db.table("dbo", "Big").expect("it is there");
    let xact = db.begin(XactOptions::default());
    let row = vec![Some(u32::from(id).to_le_bytes().to_vec()), Some(vec![b'0' + id; value_len()])];
    db.insert(xact, table, row).expect("it fits");
    db.commit(xact).expect("it is open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_of_backups_is_in_memory_a_few_times() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut db = backup_of_a_value(folder.path());
    let database = PrivatePostgres::shared().create_database().expect("a database");
    let run = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
        command.args(["run", "--name", "big", "--to", &database.url(), "--from"]).arg(folder.path());
        peak(command)
    };
    let copied = run();
    check_values(&database, 1).await;
    check_most("copy of a backup", copied, 21);
    insert(&mut db, 2);
    db.backup_log(&folder.path().join("log.trn")).expect("a log backup");
    let applied = run();
    check_values(&database, 2).await;
    // Its pages are there a third time, as far as these are kept in memory.
    check_most("log of a backup", applied, 31);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_of_a_server_is_in_memory_a_few_times() {
    let insert = |id: u8| {
        // The stand-in repeats nothing to more than 64 MB at once.
        let (len, most) = (value_len(), VALUE_MB * 1_000_000);
        let part = |len: usize| format!("REPLICATE(CONVERT(varchar(max), '{id}'), {len})");
        let parts: Vec<String> = (0..len.div_ceil(most)).map(|at| part(most.min(len - at * most))).collect();
        format!("INSERT dbo.Big VALUES ({id}, CONVERT(varbinary(max), {}))", parts.join(" + "))
    };
    let standin =
        serve(&format!("CREATE TABLE dbo.Big (id int NOT NULL PRIMARY KEY, v varbinary(max)); {}", insert(1)));
    let database = PrivatePostgres::shared().create_database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let task = folder.path().join("shop.yaml");
    write_task(&task, "snapshot", &standin, &database, "");
    let copied = peak(command(&task, &standin));
    check_values(&database, 1).await;
    check_most("copy of a server", copied, 21);

    standin.batch("USE shop; DELETE dbo.Big").expect("it is gone");
    let database = PrivatePostgres::shared().create_database().expect("a database");
    write_task(&task, "log", &standin, &database, "");
    let mut running = Running::start(&task, &standin, &[]);
    wait_for_checkpoint(&database, None, &mut running).await;
    standin.batch(&format!("USE shop; {}", insert(1))).expect("it fits");
    let client = database.client().await.expect("a connection");
    while !client.query_one("SELECT EXISTS (SELECT FROM dbo.big)", &[]).await.expect("an answer").get::<_, bool>(0) {
        assert!(running.is_alive(), "logferry has ended");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    check_values(&database, 1).await;
    check_most("log of a server", most(running.0.id()), 21);
}

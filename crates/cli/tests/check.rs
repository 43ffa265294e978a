//! `logferry check`: what is not as a task needs it, all at once, and nothing changed by it.

// What it has beyond a task's file is for those who run one.
#[allow(dead_code)]
mod server;

use std::process::Command;

use logferry_mssql_standin::serve::Standin;
use logferry_testkit::postgres::PrivatePostgres;
use server::{text, write_task};

/// Checks a task of a server with a database that `made` has made; what is said must have these lines, errors in front.
#[track_caller]
fn check(made: &str, mode: &str, on_target: &str, expect: &[&str]) {
    let (standin, postgres) = (Standin::start().expect("a stand-in"), PrivatePostgres::shared());
    standin.batch("CREATE DATABASE shop").expect("a database");
    for batch in made.split("GO").filter(|batch| !batch.trim().is_empty()) {
        standin.batch(&format!("USE shop; {batch}")).unwrap_or_else(|e| panic!("{batch}: {e}"));
    }
    let database = postgres.create_database().expect("a database");
    let client = |sql: &str| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("one");
        runtime.block_on(async {
            let client = database.client().await.expect("a connection");
            client.simple_query(sql).await.expect("it is done").len()
        })
    };
    client(on_target);
    let folder = tempfile::tempdir().expect("a folder");
    let task = folder.path().join("shop.yaml");
    write_task(&task, mode, &standin, &database, "");
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
    let output = command.arg("check").arg(&task).env("SHOP_PASSWORD", standin.password()).output().expect("it runs");
    let said = text(&output);
    let lines: Vec<&str> = said.lines().collect();
    let found: Vec<bool> = expect.iter().map(|part| lines.iter().any(|line| line.contains(part))).collect();
    assert!(found.iter().all(|found| *found), "{expect:?}: {found:?} in\n{said}");
    let errors = lines.iter().filter(|line| line.starts_with("error: ")).count();
    assert_eq!(errors, expect.iter().filter(|part| part.starts_with("error: ")).count(), "{said}");
    assert_eq!(output.status.code(), Some(if errors == 0 { 0 } else { 3 }), "{said}");
    assert!(client("SELECT 1 FROM pg_namespace WHERE nspname = 'logferry'") <= 2, "nothing was made on the target");
}

const SHOP: &str = "CREATE TABLE dbo.Orders (id int NOT NULL PRIMARY KEY, v nvarchar(9)) GO
    ALTER DATABASE shop SET RECOVERY FULL GO ALTER DATABASE shop SET ALLOW_SNAPSHOT_ISOLATION ON GO
    BACKUP DATABASE shop TO DISK = N'NUL' GO ";

#[test]
fn a_database_that_is_ready_can_be_run() {
    check(SHOP, "log", "", &["task \"shop\" can be run"]);
    check(SHOP, "snapshot", "", &["task \"shop\" can be run"]);
}

#[test]
fn all_that_is_missing_is_told_at_once() {
    let made = format!("{SHOP} ALTER DATABASE shop SET ALLOW_SNAPSHOT_ISOLATION OFF");
    let expect = [
        "error: database \"shop\": it does not allow SNAPSHOT isolation",
        "    ALTER DATABASE [shop] SET ALLOW_SNAPSHOT_ISOLATION ON",
        "error: target table \"dbo\".\"orders\": it is there already",
        "task \"shop\" cannot be run: 2 to mend",
    ];
    check(&made, "log", "CREATE SCHEMA dbo; CREATE TABLE dbo.orders (id int)", &expect);
}

#[test]
fn tables_that_a_mode_does_not_serve_are_named() {
    let made = format!("{SHOP} CREATE TABLE dbo.Heap (id int) GO CREATE TABLE dbo.Other (id int)");
    let expect = [
        "error: table \"dbo.Heap\": it has no primary key",
        "    tables.exclude: [\"dbo.Heap\"]",
        "error: table \"dbo.Other\": it has no primary key",
    ];
    check(&made, "log", "", &expect);
    check(
        &format!("{SHOP} EXEC sys.sp_cdc_enable_db"),
        "cdc",
        "",
        &["error: table \"dbo.Orders\": it has no capture instance", "    EXEC sys.sp_cdc_enable_table"],
    );
}

#[test]
fn a_full_backup_begins_the_log() {
    let made = SHOP.replace("BACKUP DATABASE shop TO DISK = N'NUL' GO", "");
    check(
        &made,
        "log",
        "",
        &["error: database \"shop\": no full backup was made", "    BACKUP DATABASE [shop] TO DISK"],
    );
    // What else there is to mend is told with it.
    check(
        &format!("{made} CREATE TABLE dbo.Heap (id int)"),
        "log",
        "",
        &[
            "error: database \"shop\": no full backup was made",
            "error: table \"dbo.Heap\": it has no primary key",
            "task \"shop\" cannot be run: 2 to mend",
        ],
    );
}

/// Which reader serves a table, and what its captured changes lack.
#[test]
fn hybrid_tells_who_reads_a_table() {
    let made = format!(
        "{SHOP} CREATE TABLE dbo.Bag (n int) GO CREATE TABLE dbo.Large (n int, t varchar(max)) GO
         CREATE TABLE dbo.Twice (id int NOT NULL PRIMARY KEY NONCLUSTERED, v int, w AS v * 2 PERSISTED)"
    );
    let expect = [
        "note: table \"dbo.Orders\": is read by the log",
        "note: table \"dbo.Bag\": is read by change data capture: it has no primary key",
        "error: table \"dbo.Large\": it has no key, and capture does not tell what the large value of column \"t\" was",
        "    tables.exclude: [\"dbo.Large\"]",
        "warning: table \"dbo.Twice\": the captured values of column \"w\" are not to be believed",
    ];
    check(&made, "hybrid", "", &expect);
}

/// Who captures, how often, and for how long it is kept.
#[test]
fn jobs_of_change_data_capture_are_looked_at() {
    let captured =
        format!("{SHOP} EXEC sys.sp_cdc_enable_db GO EXEC sys.sp_cdc_enable_table N'dbo', N'Orders', NULL GO ");
    let made = format!("{captured} EXEC sys.sp_cdc_drop_job N'capture'");
    for mode in ["cdc", "hybrid"] {
        let expect =
            ["error: capture job of database \"shop\": the database has no capture job", "    EXEC sys.sp_cdc_add_job"];
        check(&made, mode, "", &expect);
    }
    let made = format!(
        "{captured} EXEC sys.sp_cdc_scan GO EXEC sys.sp_cdc_change_job @job_type = N'capture', @pollinginterval = 3600 GO
         EXEC sys.sp_cdc_change_job @job_type = N'cleanup', @retention = 60 GO
         EXEC sys.sp_cdc_enable_table N'dbo', N'Orders', NULL, N'second' GO EXEC sys.sp_cdc_scan"
    );
    let expect = [
        "warning: capture job of database \"shop\": it looks at the log every 3600 s",
        "warning: cleanup job of database \"shop\": changes are kept for 60 minutes",
        "take both places, and none of them is ours",
        "task \"shop\" can be run; 3 to know of",
    ];
    check(&made, "cdc", "", &expect);
}

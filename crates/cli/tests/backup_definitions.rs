//! `mode: backup` through the binary: tables that get other columns, and rows that get each other's keys, between two log backups, and a
//! PostgreSQL that follows them.

// What it has beyond a comparison is for tasks of running servers.
#[allow(dead_code)]
mod server;

use std::path::Path;
use std::process::{Command, Stdio};

use logferry_mssql_standin::serve::Standin;
use logferry_testkit::postgres::{Database, PrivatePostgres};
use server::{check_equal, text};

/// A heap without any key, of rows that only one column tells apart, and of equal ones.
const PILE: &str = "
    CREATE TABLE dbo.Pile (a int NULL, b varchar(20) NULL, c decimal(9,2) NOT NULL);
    DECLARE @n int = 0;
    WHILE @n < 60 BEGIN
        INSERT dbo.Pile VALUES (NULLIF(@n % 30, 7), CASE WHEN @n % 4 > 0 THEN 'row' END, @n % 2);
        SET @n += 1
    END";

fn backup(standin: &Standin, folder: &Path, what: &str, name: &str) {
    let path = folder.join(name);
    standin.batch(&format!("BACKUP {what} shop TO DISK = N'{}'", path.display())).expect("a backup");
}

#[track_caller]
fn run(folder: &Path, database: &Database<'_>) {
    let output = Command::new(env!("CARGO_BIN_EXE_logferry"))
        .args(["run", "--to", &database.url(), "--from"])
        .arg(folder)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{}", text(&output));
}

/// A heap whose rows stay where they are when their keys change: more of them than a batch takes.
const QUEUE: &str = "
    CREATE TABLE dbo.Queue (place int NOT NULL PRIMARY KEY NONCLUSTERED, name varchar(20) NOT NULL);
    INSERT dbo.Queue VALUES (0, 'a'), (1, 'b'), (2, 'c');
    WHILE (SELECT COUNT(*) FROM dbo.Queue) < 12000 INSERT dbo.Queue SELECT place + (SELECT COUNT(*) FROM dbo.Queue), name FROM dbo.Queue";

/// Follows a change of the pile by a log backup, and again what comes after it.
#[track_caller]
fn check(change: &str) {
    let after = "UPDATE dbo.Pile SET c = c + 1 WHERE b IS NULL; DELETE dbo.Pile WHERE c = 2";
    check_table("Pile", PILE, &[&format!("{change}; {after}"), after]);
}

/// Follows batches by a log backup each.
#[track_caller]
fn check_table(table: &str, made: &str, batches: &[&str]) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let standin = Standin::start().expect("a stand-in");
    standin.batch("CREATE DATABASE shop").expect("a database");
    standin.batch(&format!("USE shop; {made}")).expect("the tables");
    let postgres = PrivatePostgres::shared();
    let database = postgres.create_database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    backup(&standin, folder.path(), "DATABASE", "full.bak");
    run(folder.path(), &database);
    runtime.block_on(check_equal(&standin, &database, &[table]));
    for (at, batch) in batches.iter().enumerate() {
        standin.batch(&format!("USE shop; {batch}")).unwrap_or_else(|e| panic!("{batch}: {e}"));
        backup(&standin, folder.path(), "LOG", &format!("{at}.trn"));
        run(folder.path(), &database);
        runtime.block_on(check_equal(&standin, &database, &[table]));
    }
}

#[test]
fn rows_of_a_heap_get_each_others_keys() {
    check_table(
        "Queue",
        QUEUE,
        &[
            "UPDATE dbo.Queue SET place = place + 1",
            "UPDATE dbo.Queue SET place = 12289 - place, name = CONCAT(name, '!')",
            "DELETE dbo.Queue WHERE place BETWEEN 10 AND 20; UPDATE dbo.Queue SET place = place - 11 WHERE place > 20",
        ],
    );
}

#[test]
fn a_heap_without_a_key_whose_column_gets_another_type_is_followed() {
    check("ALTER TABLE dbo.Pile ALTER COLUMN a bigint NULL");
    check(
        "UPDATE dbo.Pile SET a = a + 1; ALTER TABLE dbo.Pile ALTER COLUMN a bigint NULL; UPDATE dbo.Pile SET a = 5000000000 WHERE a = 3",
    );
    check("ALTER TABLE dbo.Pile ALTER COLUMN c decimal(12,4) NOT NULL; INSERT dbo.Pile VALUES (1, 'new', 1.2345)");
    check(
        "ALTER TABLE dbo.Pile ALTER COLUMN a varchar(12) NULL; ALTER TABLE dbo.Pile ALTER COLUMN b varchar(40) NULL; UPDATE dbo.Pile SET b = REPLICATE('x', 40) WHERE a = '4'",
    );
    // Twice in one log; and in a transaction, between other changes.
    check(
        "ALTER TABLE dbo.Pile ALTER COLUMN a bigint NULL; UPDATE dbo.Pile SET a = 5000000000 WHERE a = 3; ALTER TABLE dbo.Pile ALTER COLUMN a varchar(20) NULL",
    );
    check(
        "BEGIN TRAN; INSERT dbo.Pile VALUES (100, 'before', 0); UPDATE dbo.Pile SET b = 'changed' WHERE a = 5; DELETE dbo.Pile WHERE a = 6;
         ALTER TABLE dbo.Pile ALTER COLUMN a bigint NULL; ALTER TABLE dbo.Pile ADD d int NOT NULL DEFAULT 3;
         INSERT dbo.Pile VALUES (5000000000, 'after', 0, 4); UPDATE dbo.Pile SET d = 5 WHERE a = 8; DELETE dbo.Pile WHERE a = 9; COMMIT",
    );
}

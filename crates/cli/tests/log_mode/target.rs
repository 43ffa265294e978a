//! The target restarts, and its disk is full for a while: the task waits, and every row arrives. In each mode.

use std::path::Path;
use std::time::{Duration, Instant};

use logferry_testkit::postgres::PrivatePostgres;

use crate::follow::{Running, change, wait_for_checkpoint, wait_until_equal};
use crate::server::{command, text, write_task};
use crate::shop;

/// Of the three the log serves two in mode hybrid.
const TABLES: &[&str] = &["Customers", "Orders", "Loose"];

const LOOSE: &str = "
    CREATE TABLE dbo.Loose (id int NOT NULL PRIMARY KEY NONCLUSTERED, v varchar(50)); INSERT dbo.Loose SELECT id, 'x' FROM dbo.Customers;
    EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_add_job @job_type = N'capture', @pollinginterval = 0";

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_goes_away_or_is_full_is_waited_for() {
    check("log").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_by_change_tables() {
    check("cdc\n  cdc: {enable: true}").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_by_both() {
    check("hybrid").await;
}

/// The disk of the target is full while the tables are copied.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_full_during_the_copy_is_waited_for() {
    let (standin, postgres) = (shop(LOOSE), PrivatePostgres::shared());
    let database = postgres.create_database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let (task, said) = (folder.path().join("shop.yaml"), folder.path().join("said"));
    write_task(&task, "log", &standin, &database, "phases: [schema]\n");
    let made = command(&task, &standin).output().expect("it runs");
    assert!(made.status.success(), "{}", text(&made));
    let client = database.client().await.expect("a connection");
    fill_disk(&client, "dbo.customers").await;
    write_task(&task, "log", &standin, &database, "");
    let settings = std::fs::read_to_string(&task).expect("the task");
    std::fs::write(&task, settings.replace("target:\n", "target:\n  on_existing: truncate\n")).expect("it is written");
    let mut command = command(&task, &standin);
    command.stderr(std::fs::File::create(&said).expect("a file"));
    let mut running = Running(command.spawn().expect("it runs"));
    wait_until_told(&said, &mut running);
    let phase: String = client.query_one("SELECT phase FROM logferry.task", &[]).await.expect("a phase").get(0);
    assert_eq!(phase, "copying", "the copy is not complete");
    client.batch_execute("DROP TRIGGER full_disk ON dbo.customers").await.expect("there is room again");
    wait_for_checkpoint(&database, None, &mut running).await;
    wait_until_equal(&standin, &database, TABLES).await;
    assert!(running.is_alive());
}

/// 53100 is what PostgreSQL says when its disk is full: each row of a table is answered so.
async fn fill_disk(client: &tokio_postgres::Client, table: &str) {
    let sql = format!(
        "CREATE FUNCTION public.full_disk() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
         CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION public.full_disk();
         ALTER TABLE {table} ENABLE ALWAYS TRIGGER full_disk"
    );
    client.batch_execute(&sql).await.expect("a trigger");
}

/// Waits until a task has said that it waits for room.
fn wait_until_told(said: &Path, running: &mut Running) {
    let told = || {
        let said = std::fs::read_to_string(said).unwrap_or_default();
        said.lines().any(|line| line.contains("No space left on device") && line.contains("trying again"))
    };
    let began = Instant::now();
    while !told() {
        assert!(
            running.is_alive() && began.elapsed() < Duration::from_secs(120),
            "it does not say that it waits for room"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whoever watches the target can tell a source at rest from a reader that is dead, and nothing is written on the source for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_at_rest_is_confirmed() {
    for mode in ["log", "cdc\n  cdc: {enable: true}"] {
        let (standin, postgres) = (shop(LOOSE), PrivatePostgres::shared());
        let database = postgres.create_database().expect("a database");
        let folder = tempfile::tempdir().expect("a folder");
        let task = folder.path().join("shop.yaml");
        write_task(&task, mode, &standin, &database, "apply: {confirm_seconds: 1}\n");
        let mut running = Running::start(&task, &standin, &[]);
        wait_for_checkpoint(&database, None, &mut running).await;
        wait_until_equal(&standin, &database, TABLES).await;
        let client = database.client().await.expect("a connection");
        let sql = "SELECT applied, updated_at::text FROM logferry.checkpoint WHERE task = 'shop' AND updated_at > $1::text::timestamptz";
        let began = Instant::now();
        let (mut seen, mut at) = (String::from("-infinity"), Vec::new());
        // Where the position itself still moves it is not at rest yet.
        while at.len() < 4 {
            assert!(running.is_alive() && began.elapsed() < Duration::from_secs(120), "{mode}: the row stands still");
            tokio::time::sleep(Duration::from_millis(20)).await;
            let Some(row) = client.query_opt(sql, &[&seen]).await.expect("an answer") else { continue };
            let end = standin.sql().with_storage("shop", |storage| storage.last_record()).expect("the database");
            let now = (row.get::<_, String>(0), end);
            seen = row.get(1);
            at.retain(|before| *before == now);
            at.push(now);
        }
    }
}

async fn check(mode: &str) {
    let standin = shop(LOOSE);
    let cluster = PrivatePostgres::start().unwrap_or_else(|e| panic!("{e}"));
    let database = cluster.create_database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let (task, said) = (folder.path().join("shop.yaml"), folder.path().join("said"));
    write_task(&task, mode, &standin, &database, "");
    let mut command = command(&task, &standin);
    command.stderr(std::fs::File::create(&said).expect("a file"));
    let mut running = Running(command.spawn().expect("it runs"));
    wait_for_checkpoint(&database, None, &mut running).await;
    wait_until_equal(&standin, &database, TABLES).await;
    let change = |n: u32| {
        change(
            &standin,
            &format!(
                "UPDATE dbo.Customers SET credit = {n}; DELETE dbo.Orders WHERE number % 5 = {n}; UPDATE dbo.Loose SET v = 'v{n}' WHERE id < 50"
            ),
        );
    };
    change(1);
    cluster.crash();
    change(2);
    cluster.restart().expect("the target starts again");
    wait_until_equal(&standin, &database, TABLES).await;

    let client = database.client().await.expect("a connection");
    fill_disk(&client, "dbo.customers").await;
    let before = wait_for_checkpoint(&database, None, &mut running).await;
    change(3);
    wait_until_told(&said, &mut running);
    let after = wait_for_checkpoint(&database, None, &mut running).await;
    assert!(after >= before, "the position does not go back");
    client.batch_execute("DROP TRIGGER full_disk ON dbo.customers").await.expect("there is room again");
    wait_until_equal(&standin, &database, TABLES).await;
    assert!(running.is_alive());
}

//! The target restarts, and its disk is full for a while: the task waits, and every row arrives. In each mode.

use std::time::{Duration, Instant};

use logferry_testkit::postgres::PrivatePostgres;

use crate::follow::{Running, change, wait_for_checkpoint, wait_until_equal};
use crate::server::{command, write_task};
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

    // 53100 is what PostgreSQL says when its disk is full.
    let client = database.client().await.expect("a connection");
    client
        .batch_execute(
            "CREATE FUNCTION public.full_disk() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
             CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE OR DELETE ON dbo.customers EXECUTE FUNCTION public.full_disk();
             ALTER TABLE dbo.customers ENABLE ALWAYS TRIGGER full_disk",
        )
        .await
        .expect("a trigger");
    let before = wait_for_checkpoint(&database, None, &mut running).await;
    change(3);
    let told = || {
        let said = std::fs::read_to_string(&said).unwrap_or_default();
        said.lines().any(|line| line.contains("No space left on device") && line.contains("trying again"))
    };
    let began = Instant::now();
    while !told() {
        assert!(
            running.is_alive() && began.elapsed() < Duration::from_secs(120),
            "it does not say that it waits for room"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let after = wait_for_checkpoint(&database, None, &mut running).await;
    assert!(after >= before, "the position does not go back");
    client.batch_execute("DROP TRIGGER full_disk ON dbo.customers").await.expect("there is room again");
    wait_until_equal(&standin, &database, TABLES).await;
    assert!(running.is_alive());
}

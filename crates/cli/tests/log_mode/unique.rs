//! Keys and unique values that change hands in one statement, whose rows are several batches on the target.

use logferry_testkit::postgres::PrivatePostgres;

use crate::follow::{Running, change, wait_for_checkpoint, wait_until_equal};
use crate::server::{serve, write_task};

async fn check(mode: &str, made: &str) {
    let standin = serve(&format!(
        "CREATE TABLE dbo.Seats (id int NOT NULL PRIMARY KEY, seat int NOT NULL, CONSTRAINT one_each UNIQUE (seat));
         DECLARE @n int = 0; WHILE @n < 400 BEGIN INSERT dbo.Seats VALUES (@n, @n); SET @n += 1 END;
         CREATE TABLE dbo.Queue (place int NOT NULL PRIMARY KEY NONCLUSTERED, name varchar(20) NOT NULL);
         INSERT dbo.Queue SELECT seat, CONCAT('n', id % 7) FROM dbo.Seats;
         {made}; BACKUP DATABASE shop TO DISK = 'NUL'"
    ));
    let database = PrivatePostgres::shared().create_database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let task = folder.path().join("shop.yaml");
    write_task(&task, mode, &standin, &database, "apply: {batch_rows: 100}\n");
    let mut running = Running::start(&task, &standin, &[]);
    wait_for_checkpoint(&database, None, &mut running).await;
    let tables = ["Seats", "Queue"];
    wait_until_equal(&standin, &database, &tables).await;
    for statement in [
        "UPDATE dbo.Seats SET seat = 399 - seat",
        "UPDATE dbo.Seats SET seat = seat + 1",
        // Of a heap each row gets its key where it is.
        "UPDATE dbo.Queue SET place = place + 1",
        "UPDATE dbo.Queue SET place = 401 - place, name = CONCAT(name, '!')",
        "DELETE dbo.Queue WHERE place BETWEEN 10 AND 20; UPDATE dbo.Queue SET place = place - 11 WHERE place > 20",
    ] {
        change(&standin, statement);
        wait_until_equal(&standin, &database, &tables).await;
    }
    assert!(running.is_alive(), "{mode}: it ended by itself");
    let client = database.client().await.expect("a connection");
    let sql = "SELECT conname::text FROM pg_constraint WHERE conrelid = 'dbo.seats'::regclass AND contype = 'u'";
    assert_eq!(client.query_one(sql, &[]).await.expect("the unique key is there").get::<_, &str>(0), "one_each");
}

const CAPTURED: &str =
    "EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_add_job @job_type = N'capture', @pollinginterval = 0";

#[tokio::test(flavor = "multi_thread")]
async fn by_the_log() {
    check("log", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_change_tables() {
    check("cdc\n  cdc: {enable: true}", CAPTURED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_both() {
    check("hybrid", CAPTURED).await;
}

//! `mode: log` through the binary: a server that is written to, a PostgreSQL, and a process that is killed.

mod follow;
#[path = "log_mode/forms.rs"]
mod forms;
#[path = "log_mode/half_open.rs"]
mod half_open;
#[path = "log_mode/hand_over.rs"]
mod hand_over;
mod server;
#[path = "log_mode/target.rs"]
mod target;
#[path = "log_mode/unique.rs"]
mod unique;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use follow::{Running, change, ended, wait_for_checkpoint, wait_until_equal};
use logferry_mssql_standin::serve::{Standin, StandinConfig};
use logferry_mssql_standin::sql::{Rights, Server};
use logferry_testkit::postgres::PrivatePostgres;
use server::{check_equal, command, serve, text, write_task};

const TABLES: &[&str] = &["Customers", "Orders"];

const SHOP: &str = "
    CREATE TABLE dbo.Customers (id int NOT NULL PRIMARY KEY, name nvarchar(40) NOT NULL, credit money, since datetime);
    CREATE TABLE dbo.Orders (customer int NOT NULL, number int NOT NULL, total decimal(12,2), note varchar(max),
        PRIMARY KEY (customer, number));
    DECLARE @n int = 0;
    WHILE @n < 500 BEGIN
        INSERT dbo.Customers VALUES (@n, N'Jos\u{e9} ' + CAST(@n AS nvarchar(9)), @n, GETDATE());
        INSERT dbo.Orders VALUES (@n % 10, @n, @n / 7.0, REPLICATE('caf\u{e9} ', @n));
        SET @n += 1
    END";

fn shop(more: &str) -> Arc<Standin> {
    serve(&format!("{SHOP}; {more}"))
}

/// Writes until it is enough.
fn write(standin: &Arc<Standin>, enough: &Arc<AtomicBool>, writer: u32) -> std::thread::JoinHandle<()> {
    let (standin, enough) = (standin.clone(), enough.clone());
    std::thread::spawn(move || {
        for n in (0..500).cycle().take_while(|_| !enough.load(Ordering::Relaxed)) {
            let id = (n * 7 + writer * 31) % 500;
            let batch = format!(
                "USE shop; BEGIN TRAN;
                 UPDATE dbo.Customers SET credit = credit + 1.5, name = N'new' WHERE id = {id};
                 DELETE dbo.Orders WHERE number = {id};
                 INSERT dbo.Orders VALUES ({writer}, {id}, {n}, REPLICATE('n', {n}));
                 {}",
                if n % 11 == 3 { "ROLLBACK" } else { "COMMIT" }
            );
            // A deadlock's victim changes nothing.
            standin.batch(&batch).ok();
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_followed_through_kills_while_others_write() {
    let (standin, postgres) = (shop(""), PrivatePostgres::shared());
    let database = postgres.create_database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let task = folder.path().join("shop.yaml");
    write_task(&task, "log", &standin, &database, "");
    let enough = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3).map(|writer| write(&standin, &enough, writer)).collect();
    let mut at = None;
    for _ in 0..4 {
        let mut running = Running::start(&task, &standin, &[]);
        at = Some(wait_for_checkpoint(&database, at, &mut running).await);
        at = Some(wait_for_checkpoint(&database, at, &mut running).await);
        drop(running);
    }
    let mut running = Running::start(&task, &standin, &[]);
    wait_for_checkpoint(&database, at, &mut running).await;
    enough.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().expect("a writer");
    }
    wait_until_equal(&standin, &database, TABLES).await;
    // New tables, truncated ones and large values come, too.
    standin
        .batch(
            "USE shop; CREATE TABLE dbo.Later (id int NOT NULL PRIMARY KEY, v varchar(max)); INSERT dbo.Later VALUES (1, 'x');
             TRUNCATE TABLE dbo.Orders; INSERT dbo.Orders VALUES (1, 1, 1, REPLICATE(CAST('y' AS varchar(max)), 100000));
             UPDATE dbo.Later SET v = REPLICATE(CAST('z' AS varchar(max)), 50000)",
        )
        .expect("it is done");
    wait_until_equal(&standin, &database, &["Customers", "Orders", "Later"]).await;
    // Tables change while they are followed,
    let change = |batch: &str| change(&standin, batch);
    change(
        "ALTER TABLE dbo.Customers ADD tier int NOT NULL DEFAULT 3; UPDATE dbo.Customers SET tier = 4 WHERE id < 100;
         ALTER TABLE dbo.Customers DROP COLUMN since; ALTER TABLE dbo.Orders ALTER COLUMN total decimal(18,2);
         DROP TABLE dbo.Later; INSERT dbo.Customers (id, name, tier) VALUES (1000, N'new', 5)",
    );
    wait_until_equal(&standin, &database, TABLES).await;
    drop(running);
    // and while nobody looks.
    change(
        "ALTER TABLE dbo.Customers ALTER COLUMN name nvarchar(80) NULL; ALTER TABLE dbo.Customers ADD born date;
         UPDATE dbo.Customers SET born = '2001-02-03', name = NULL WHERE id > 400; DELETE dbo.Customers WHERE id = 7;
         CREATE TABLE dbo.Later (id int NOT NULL PRIMARY KEY, w int); INSERT dbo.Later VALUES (1, 2)",
    );
    let running = Running::start(&task, &standin, &[]);
    wait_until_equal(&standin, &database, &["Customers", "Orders", "Later"]).await;
    drop(running);
    check_equal(&standin, &database, &["Customers", "Orders", "Later"]).await;
    let client = database.client().await.expect("a connection");
    let sql = "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute \
               WHERE attrelid = 'dbo.customers'::regclass AND attnum > 0 AND NOT attisdropped";
    let columns: String = client.query_one(sql, &[]).await.expect("an answer").get(0);
    assert_eq!(columns, "id name credit tier born");
}

/// A server that ends and begins again on the same files: its log goes on, and so does the task.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_begins_again_is_followed() {
    // Its log is held for a log backup. The rows of one table are in the order of an index that is not unique.
    let more = "CREATE TABLE dbo.Loose (id int NOT NULL PRIMARY KEY NONCLUSTERED, a int, v varchar(50));
        INSERT dbo.Loose VALUES (1, 7, 'a'), (2, 7, 'b'), (3, NULL, 'c'); CREATE CLUSTERED INDEX cx ON dbo.Loose (a);
        BACKUP DATABASE shop TO DISK = 'NUL'";
    let (mut standin, postgres) = (shop(more), PrivatePostgres::shared());
    let tables = &["Customers", "Orders", "Loose"];
    let database = postgres.create_database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let task = folder.path().join("shop.yaml");
    write_task(&task, "log", &standin, &database, "");
    let mut running = Running::start(&task, &standin, &[]);
    wait_until_equal(&standin, &database, tables).await;
    for round in 0..2 {
        let changes = format!(
            "USE shop; UPDATE dbo.Customers SET credit = {round} WHERE id % 3 = 1; DELETE dbo.Orders WHERE number = {round};
             INSERT dbo.Orders VALUES (77, {round}, 1, REPLICATE(CAST('r' AS varchar(max)), 30000));
             INSERT dbo.Loose VALUES (10 + {round}, 7, 'new'); UPDATE dbo.Loose SET v = 'changed' WHERE id = 2;
             UPDATE dbo.Loose SET a = 7 WHERE id = 3; DELETE dbo.Loose WHERE id = 1"
        );
        standin.batch(&changes).expect("it is done");
        let (address, password) = (standin.address(), standin.password().to_owned());
        let ends = Arc::into_inner(standin).expect("nobody else has it");
        assert_eq!(ends.close_into(folder.path()).expect("its files"), ["shop"]);
        let sql = Server::new("STANDIN").expect("a server");
        sql.reopen(folder.path()).expect("its databases");
        let config = StandinConfig { address, password, ..StandinConfig::default() };
        standin = Arc::new(Standin::of(sql, config).expect("it listens where it did"));
        standin.batch("USE shop; UPDATE dbo.Customers SET name = N'again' WHERE id = 5").expect("it is done");
        if !running.is_alive() {
            running = Running::start(&task, &standin, &[]);
        }
        wait_until_equal(&standin, &database, tables).await;
    }
}

/// A table that somebody spoiled on the target is read once more, and the others go on.
#[tokio::test(flavor = "multi_thread")]
async fn one_table_is_reloaded() {
    let (standin, postgres) = (shop(""), PrivatePostgres::shared());
    let database = postgres.create_database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let task = folder.path().join("shop.yaml");
    write_task(&task, "log", &standin, &database, "");
    let early = ended(command(&task, &standin).args(["--reload", "dbo.Orders"]));
    assert!(text(&early).contains("before the copy is complete"), "{}", text(&early));
    assert!(!early.status.success());
    let mut running = Running::start(&task, &standin, &[]);
    // All rows are there a moment before the copy is complete.
    wait_for_checkpoint(&database, None, &mut running).await;
    wait_until_equal(&standin, &database, TABLES).await;
    drop(running);
    let client = database.client().await.expect("a connection");
    client
        .batch_execute("DELETE FROM dbo.orders WHERE number % 3 = 0; UPDATE dbo.orders SET total = 0")
        .await
        .expect("spoiled");
    standin.batch("USE shop; UPDATE dbo.Customers SET credit = 7 WHERE id < 100").expect("it is done");
    let running = Running::start(&task, &standin, &["--reload", "dbo.Orders"]);
    wait_until_equal(&standin, &database, TABLES).await;
    drop(running);
    let output = ended(command(&task, &standin).args(["--reload", "dbo.Nothing"]));
    assert!(text(&output).contains("the task has no table \"dbo.Nothing\""), "{}", text(&output));
    assert!(!output.status.success());
}

/// A login that may not see a table any more: the target keeps it, and the task goes on when the right is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_seen_any_more_stays_on_the_target() {
    let (standin, postgres) = (shop(""), PrivatePostgres::shared());
    let database = postgres.create_database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let task = folder.path().join("shop.yaml");
    write_task(&task, "log", &standin, &database, "");
    let mut running = Running::start(&task, &standin, &[]);
    wait_for_checkpoint(&database, None, &mut running).await;
    let change = |text: &str| change(&standin, text);
    standin.hide("shop", &["dbo.Orders"], Rights::SelectDenied).expect("a table");
    // What makes the task look at the tables.
    change("CREATE TABLE dbo.Later (id int NOT NULL PRIMARY KEY); UPDATE dbo.Orders SET total = 5");
    let began = Instant::now();
    while running.is_alive() {
        assert!(began.elapsed() < Duration::from_secs(120), "logferry does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Nor is it lost by a start.
    let said = ended(&mut command(&task, &standin));
    for expect in
        ["table \"dbo.Orders\" is not listed on the source any more", "GRANT SELECT ON [dbo].[Orders] TO [dbo]"]
    {
        assert!(text(&said).contains(expect), "{}", text(&said));
    }
    assert!(!said.status.success());
    standin.hide("shop", &[], Rights::Lost).expect("nothing");
    let running = Running::start(&task, &standin, &[]);
    wait_until_equal(&standin, &database, &["Customers", "Orders", "Later"]).await;
    drop(running);
}

#[test]
fn what_cannot_be_followed_is_told_before_anything_is_written() {
    let (standin, postgres) = (shop("CREATE TABLE dbo.Heap (id int)"), PrivatePostgres::shared());
    let database = postgres.create_database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let task = folder.path().join("shop.yaml");
    write_task(&task, "log", &standin, &database, "");
    let output = ended(&mut command(&task, &standin));
    let said = text(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("table \"dbo.Heap\" cannot be followed by the log: it has no primary key"), "{said}");
    assert!(said.contains("tables.exclude: [dbo.Heap]"), "{said}");
}

#[test]
fn the_demo_of_a_running_server_ends_with_every_row_equal() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_logferry"))
        .args(["--json", "demo", "--mode", "log", "--seconds", "1", "--rows", "200"])
        .env_remove("LOGFERRY_LOG")
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", text(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&report["equal"], &report["kills"]), (&true.into(), &1.into()), "{report}");
    assert!(report["transactions"].as_u64() > Some(0), "{report}");
}

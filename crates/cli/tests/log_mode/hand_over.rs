//! From the copy to the changes while others write at full speed, and the process is killed at random: at a barrier, both sides are equal.
//!
//! A few runs as a rule; `LOGFERRY_HAND_OVER_RUNS` for more, `LOGFERRY_HAND_OVER_SEED` for the same again. Of each mode:
//! `LOGFERRY_HAND_OVER_RUNS=100 cargo test -p logferry --test log_mode -- --nocapture hand_over::by_the_log` (`by_change_tables`, `by_both`)

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use logferry_mssql_standin::serve::Standin;
use logferry_mssql_standin_storage::workload::Random;
use logferry_testkit::postgres::{Database, PrivatePostgres};

use crate::follow::{Running, change, wait_until_equal};
use crate::server::{serve, write_task};

const ROWS: u64 = 2_000;

/// How a source is read, and what it has for that.
struct Kind {
    /// As in a task's file.
    mode: &'static str,
    tables: &'static [&'static str],
    made: &'static str,
    /// What a transaction does besides.
    done: &'static str,
}

const LOG: Kind = Kind { mode: "log", tables: &["Customers", "Orders", "Events"], made: "", done: "" };

/// A table without a key, besides.
const CDC: Kind = Kind {
    mode: "cdc\n  cdc: {enable: true}",
    tables: &["Customers", "Orders", "Events", "Bag"],
    made: "CREATE TABLE dbo.Bag (n int, s varchar(20), d decimal(9,2));
        INSERT dbo.Bag SELECT id % 50, 'x', 1 FROM dbo.Customers; INSERT dbo.Bag SELECT id % 50, NULL, 1 FROM dbo.Customers;
        EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_add_job @job_type = N'capture', @pollinginterval = 0",
    done: "INSERT dbo.Bag VALUES ({n} % 50, 'x', 1), ({n} % 50, 'x', 1);
        UPDATE TOP (1) dbo.Bag SET s = 'y' WHERE n = {id} % 50; DELETE TOP (2) dbo.Bag WHERE n = ({n} + 1) % 50;",
};

const HYBRID: Kind = Kind { mode: "hybrid", ..CDC };

/// The log is kept, for a log backup that nobody makes.
fn shop(kind: &Kind) -> Arc<Standin> {
    serve(&format!(
        "CREATE TABLE dbo.Customers (id int NOT NULL PRIMARY KEY, name nvarchar(400) NOT NULL, credit money, seat int NOT NULL UNIQUE);
         CREATE TABLE dbo.Orders (customer int NOT NULL, number int NOT NULL, total decimal(12,2), note varchar(max),
             PRIMARY KEY (customer, number));
         CREATE TABLE dbo.Events (id bigint NOT NULL PRIMARY KEY NONCLUSTERED, what varchar(200));
         DECLARE @n int = 0;
         BEGIN TRAN;
         WHILE @n < {ROWS} BEGIN
             INSERT dbo.Customers VALUES (@n, N'Jos\u{e9} ' + REPLICATE(N'x', 300), @n, @n);
             INSERT dbo.Orders VALUES (@n % 10, @n, @n / 7.0, REPLICATE('caf\u{e9} ', @n % 300));
             SET @n += 1
         END;
         COMMIT; {};
         BACKUP DATABASE shop TO DISK = 'NUL'",
        kind.made
    ))
}

/// Writes to all tables until it is enough.
fn write(
    standin: &Arc<Standin>,
    enough: &Arc<AtomicBool>,
    writer: u64,
    seed: u64,
    more: &'static str,
) -> std::thread::JoinHandle<u64> {
    let (standin, enough) = (standin.clone(), enough.clone());
    std::thread::spawn(move || {
        let mut random = Random::new(seed ^ writer);
        let mut done = 0;
        while !enough.load(Ordering::Relaxed) {
            let (id, other, n) = (random.below(ROWS), random.below(ROWS), random.below(1000));
            let event = seed * 1_000_000_000 + writer * 100_000_000 + done;
            let end = if n % 11 == 3 { "ROLLBACK" } else { "COMMIT" };
            let more = more.replace("{id}", &id.to_string()).replace("{n}", &n.to_string());
            // Two customers change seats: each keeps its key, and the values of the other one change hands.
            let batch = format!(
                "USE shop; BEGIN TRAN;
                 UPDATE dbo.Customers SET credit = credit + 1.5, name = N'new {n}' WHERE id = {id};
                 DECLARE @a int = (SELECT seat FROM dbo.Customers WHERE id = {id}),
                     @b int = (SELECT seat FROM dbo.Customers WHERE id = {other});
                 UPDATE dbo.Customers SET seat = CASE id WHEN {id} THEN @b ELSE @a END WHERE id IN ({id}, {other});
                 DELETE dbo.Orders WHERE customer = {writer} AND number = {id};
                 INSERT dbo.Orders VALUES ({writer}, {id}, {n}, REPLICATE('n', {n}));
                 INSERT dbo.Events VALUES ({event}, 'written'); DELETE dbo.Events WHERE id = {};
                 {more} {end}",
                event.saturating_sub(40)
            );
            // A deadlock's victim, or one whose seat was taken meanwhile, changes nothing.
            done += u64::from(standin.batch(&batch).is_ok());
            // As a server does by itself: whoever begins to read looks for the end of the log from there.
            if writer == 0 && done % 200 == 0 {
                change(&standin, "CHECKPOINT");
            }
        }
        done
    })
}

async fn phase(database: &Database<'_>) -> Option<String> {
    let client = database.client().await.expect("the target answers");
    // Until the first statement there is no such table.
    let rows = client.query("SELECT phase FROM logferry.task", &[]).await.ok()?;
    rows.first().map(|row| row.get(0))
}

/// The unique key of seats waits for the end of the copy, and comes.
async fn wait_for_unique_key(database: &Database<'_>) {
    let client = database.client().await.expect("a connection");
    let sql = "SELECT count(*) FROM pg_constraint WHERE conrelid = 'dbo.customers'::regclass AND contype = 'u'";
    for _ in 0..6_000 {
        if client.query_one(sql, &[]).await.expect("an answer").get::<_, i64>(0) == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the unique key does not come");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_the_log() {
    copied_while_others_write_and_killed_at_random(&LOG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_change_tables() {
    copied_while_others_write_and_killed_at_random(&CDC).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_both() {
    copied_while_others_write_and_killed_at_random(&HYBRID).await;
}

async fn copied_while_others_write_and_killed_at_random(kind: &Kind) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let runs = number("LOGFERRY_HAND_OVER_RUNS").unwrap_or(2);
    let first = number("LOGFERRY_HAND_OVER_SEED").unwrap_or_else(|| std::process::id().into());
    let postgres = PrivatePostgres::shared();
    let standin = shop(kind);
    let (mut kills, mut of_copies, mut written) = (0, 0, 0);
    for seed in first..first + runs {
        let mut random = Random::new(seed);
        let database = postgres.create_database().expect("a database");
        let folder = tempfile::tempdir().expect("a folder");
        let task = folder.path().join("shop.yaml");
        write_task(&task, kind.mode, &standin, &database, "");
        let enough = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..3).map(|writer| write(&standin, &enough, writer, seed, kind.done)).collect();
        // Killed a few times before the copy is complete, and a few times after.
        let (mut left, mut killed) = (2 + random.below(3), 0);
        while left > 0 {
            let mut running = Running::start(&task, &standin, &[]);
            tokio::time::sleep(Duration::from_millis(60 + random.below(500 + 400 * killed))).await;
            assert!(running.is_alive(), "seed {seed}: it ended by itself");
            drop(running);
            kills += 1;
            // A run that is always killed at once never gets anywhere.
            killed += 1;
            if phase(&database).await.as_deref() == Some("streaming") {
                left -= 1;
            } else {
                of_copies += 1;
            }
        }
        let mut running = Running::start(&task, &standin, &[]);
        tokio::time::sleep(Duration::from_millis(random.below(300))).await;
        enough.store(true, Ordering::Relaxed);
        for writer in writers {
            written += writer.join().expect("a writer");
        }
        eprintln!("seed {seed}: the barrier");
        wait_until_equal(&standin, &database, kind.tables).await;
        wait_for_unique_key(&database).await;
        assert!(running.is_alive(), "seed {seed}: it ended by itself");
    }
    eprintln!(
        "{}: {runs} runs from seed {first}: {kills} kills, {of_copies} of them before the copy was complete, {written} transactions",
        kind.mode.lines().next().unwrap_or_default()
    );
}

//! From the copy to the changes while others write at full speed, and the process is killed at random: at a barrier, both sides are equal.
//!
//! A few runs as a rule; `LOGFERRY_HAND_OVER_RUNS` for more, `LOGFERRY_HAND_OVER_SEED` for the same again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use logferry_mssql_standin::serve::Standin;
use logferry_mssql_standin::workload::Random;
use logferry_testkit::postgres::{Database, PrivatePostgres};

use crate::follow::{Running, wait_until_equal};
use crate::server::write_task;

const TABLES: &[&str] = &["Customers", "Orders", "Events"];
const ROWS: u64 = 2_000;

fn shop() -> Arc<Standin> {
    let standin = Standin::start().expect("a stand-in");
    standin.batch("CREATE DATABASE shop").expect("a database");
    let text = format!(
        "USE shop;
         CREATE TABLE dbo.Customers (id int NOT NULL PRIMARY KEY, name nvarchar(400) NOT NULL, credit money);
         CREATE TABLE dbo.Orders (customer int NOT NULL, number int NOT NULL, total decimal(12,2), note varchar(max),
             PRIMARY KEY (customer, number));
         CREATE TABLE dbo.Events (id bigint NOT NULL PRIMARY KEY NONCLUSTERED, what varchar(200));
         DECLARE @n int = 0;
         BEGIN TRAN;
         WHILE @n < {ROWS} BEGIN
             INSERT dbo.Customers VALUES (@n, N'Jos\u{e9} ' + REPLICATE(N'x', 300), @n);
             INSERT dbo.Orders VALUES (@n % 10, @n, @n / 7.0, REPLICATE('caf\u{e9} ', @n % 300));
             SET @n += 1
         END;
         COMMIT"
    );
    standin.batch(&text).expect("the tables");
    Arc::new(standin)
}

/// Writes to all tables until it is enough.
fn write(standin: &Arc<Standin>, enough: &Arc<AtomicBool>, writer: u64, seed: u64) -> std::thread::JoinHandle<u64> {
    let (standin, enough) = (standin.clone(), enough.clone());
    std::thread::spawn(move || {
        let mut random = Random::new(seed ^ writer);
        let mut done = 0;
        while !enough.load(Ordering::Relaxed) {
            let (id, n) = (random.below(ROWS), random.below(1000));
            let event = seed * 1_000_000_000 + writer * 100_000_000 + done;
            let end = if n % 11 == 3 { "ROLLBACK" } else { "COMMIT" };
            let batch = format!(
                "USE shop; BEGIN TRAN;
                 UPDATE dbo.Customers SET credit = credit + 1.5, name = N'new {n}' WHERE id = {id};
                 DELETE dbo.Orders WHERE number = {id};
                 INSERT dbo.Orders VALUES ({writer}, {id}, {n}, REPLICATE('n', {n}));
                 INSERT dbo.Events VALUES ({event}, 'written'); DELETE dbo.Events WHERE id = {};
                 {end}",
                event.saturating_sub(40)
            );
            // A deadlock's victim changes nothing.
            done += u64::from(standin.batch(&batch).is_ok());
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copied_while_others_write_and_killed_at_random() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let runs = number("LOGFERRY_HAND_OVER_RUNS").unwrap_or(2);
    let first = number("LOGFERRY_HAND_OVER_SEED").unwrap_or_else(|| std::process::id().into());
    let postgres = PrivatePostgres::shared();
    let standin = shop();
    let (mut kills, mut of_copies, mut written) = (0, 0, 0);
    for seed in first..first + runs {
        let mut random = Random::new(seed);
        let database = postgres.create_database().expect("a database");
        let folder = tempfile::tempdir().expect("a folder");
        let task = folder.path().join("shop.yaml");
        write_task(&task, "log", &standin, &database, "");
        let enough = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..3).map(|writer| write(&standin, &enough, writer, seed)).collect();
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
        wait_until_equal(&standin, &database, TABLES).await;
        assert!(running.is_alive(), "seed {seed}: it ended by itself");
    }
    eprintln!(
        "{runs} runs from seed {first}: {kills} kills, {of_copies} of them before the copy was complete, {written} transactions"
    );
}

//! How long after its commit a row is on the target, by the interval of the capture job: a measurement, to be read by somebody.
//!
//! `cargo test --workspace --locked --test cdc_mode -- --ignored --nocapture behind_the_capture_job`

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use logferry_mssql_standin_storage::workload::Random;
use logferry_testkit::postgres::PrivatePostgres;

use crate::follow::{Running, change, wait_until_equal};
use crate::server::{serve, write_task};

/// Rows that are written, each at a moment of its own.
const BEATS: usize = 600;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures, and takes minutes"]
async fn seen_behind_the_capture_job() {
    for mode in ["cdc", "hybrid"] {
        for interval_s in [0, 1, 5] {
            measure(mode, interval_s, "").await;
        }
    }
    // A table that the log serves is written to as well: what it tells is handed on when capturing is past it.
    for interval_s in [0, 1, 5] {
        measure("hybrid", interval_s, "UPDATE dbo.Ledger SET n += 1").await;
    }
}

async fn measure(mode: &str, interval_s: u64, beside: &str) {
    let standin = serve(&format!(
        "CREATE TABLE dbo.Beats (id int NOT NULL PRIMARY KEY NONCLUSTERED, v varchar(20)); INSERT dbo.Beats VALUES (0, 'first');
         CREATE TABLE dbo.Ledger (id int NOT NULL PRIMARY KEY, n int); INSERT dbo.Ledger VALUES (0, 0);
         EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_enable_table N'dbo', N'Beats', NULL; EXEC sys.sp_cdc_enable_table N'dbo', N'Ledger', NULL;
         EXEC sys.sp_cdc_change_job @job_type = N'capture', @pollinginterval = {interval_s}; EXEC sys.sp_cdc_stop_job N'capture';
         EXEC sys.sp_cdc_start_job N'capture'"
    ));
    let database = PrivatePostgres::shared().create_database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let task = folder.path().join("shop.yaml");
    write_task(&task, mode, &standin, &database, "");
    let _running = Running::start(&task, &standin, &[]);
    wait_until_equal(&standin, &database, &["Beats"]).await;
    // Some scans, for it to know the job; in mode hybrid its own heartbeat is captured.
    tokio::time::sleep(Duration::from_secs(3 * interval_s)).await;

    let written: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let writer = std::thread::spawn({
        let (standin, written, beside) = (Arc::clone(&standin), Arc::clone(&written), beside.to_owned());
        move || {
            let mut random = Random::new(interval_s + 1);
            for id in 1..=BEATS {
                std::thread::sleep(Duration::from_millis(20 + random.below(60)));
                change(&standin, &format!("INSERT dbo.Beats VALUES ({id}, 'beat'); {beside}"));
                written.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
            }
        }
    });
    let client = database.client().await.expect("a connection");
    let mut after = Vec::new();
    while after.len() < BEATS {
        let last: i32 = client.query_one("SELECT max(id) FROM dbo.beats", &[]).await.expect("a number").get(0);
        let now = Instant::now();
        {
            let written = written.lock().unwrap_or_else(PoisonError::into_inner);
            // A row may be seen before its writer has noted it.
            let seen = written.iter().take(usize::try_from(last).unwrap_or(0)).skip(after.len());
            after.extend(seen.map(|at| now.saturating_duration_since(*at).as_millis()));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    writer.join().expect("the writer");
    after.sort_unstable();
    let part = |n: usize| after[(after.len() - 1) * n / 100];
    eprintln!(
        "{mode}, interval {interval_s} s{}: seen {} ms after its commit (half of {BEATS} rows), {} ms (99 of 100), {} ms (all)",
        if beside.is_empty() { "" } else { ", a table of the log beside" },
        part(50),
        part(99),
        part(100)
    );
}

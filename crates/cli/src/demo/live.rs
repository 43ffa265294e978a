//! `logferry demo --mode log` and the like: a server that is written to all the while.
//!
//! ```text
//!  writers ── stand-in (TDS) ── logferry run, killed and started again ── private PostgreSQL
//!     └─ a row with a number ──────────────────────────────────────────── how long until it is seen
//! ```
//!
//! At the end the writers stop, and every row of both sides is compared.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use logferry_model::Cell;
use logferry_mssql_standin::serve::Standin;
use logferry_mssql_standin::sql::{Login, ResultColumn, ResultSink, SqlError};
use logferry_testkit::compare::Expected;
use logferry_testkit::postgres::Database;
use serde::Serialize;

use super::{Tables, compare, say};
use crate::args::Demo;
use crate::failure::Failed;
use crate::output::Out;
use crate::run;

const TABLES: &[&str] = &["customers", "orders", "beat", "visits"];

const WRITERS: u32 = 3;

/// How long the target may take to catch up when the writers have stopped.
const CATCH_UP: Duration = Duration::from_secs(60);

/// How the server is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Log,
    Cdc,
    Hybrid,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Log => "log",
            Mode::Cdc => "cdc",
            Mode::Hybrid => "hybrid",
        }
    }

    /// What makes the database ready.
    fn prepare(self) -> &'static str {
        match self {
            Mode::Log => "",
            // The job comes with the first table that is captured; what it is told before that holds then.
            Mode::Hybrid => {
                "EXEC sys.sp_cdc_enable_db;
                 EXEC sys.sp_cdc_add_job @job_type = N'capture', @pollinginterval = 0, @maxtrans = 5000"
            }
            // The job is asked to look for changes all the time, which a real one should not be.
            Mode::Cdc => {
                "EXEC sys.sp_cdc_enable_db;
                 EXEC sys.sp_cdc_enable_table N'dbo', N'customers', NULL;
                 EXEC sys.sp_cdc_enable_table N'dbo', N'orders', NULL;
                 EXEC sys.sp_cdc_enable_table N'dbo', N'beat', NULL;
                 EXEC sys.sp_cdc_enable_table N'dbo', N'visits', NULL;
                 EXEC sys.sp_cdc_change_job @job_type = N'capture', @pollinginterval = 0, @maxtrans = 5000;
                 EXEC sys.sp_cdc_stop_job N'capture';
                 EXEC sys.sp_cdc_start_job N'capture'"
            }
        }
    }
}

/// What was seen.
#[derive(Debug, Serialize)]
struct Report {
    mode: &'static str,
    seconds: f64,
    transactions: u64,
    transactions_per_second: f64,
    kills: u32,
    seen_after_ms_p50: f64,
    seen_after_ms_p99: f64,
    equal: bool,
}

pub(super) fn perform(
    args: &Demo,
    mode: Mode,
    database: &Database<'_>,
    json: bool,
    out: &mut Out,
) -> Result<bool, Failed> {
    let failed = |e: String| Failed::other(format!("the stand-in for SQL Server: {e}"));
    let standin = Arc::new(Standin::start().map_err(|e| failed(e.to_string()))?);
    standin.batch("CREATE DATABASE shop").map_err(|e| failed(e.to_string()))?;
    standin.batch(&format!("{};\n{}", schema(mode, args.rows), mode.prepare())).map_err(|e| failed(e.to_string()))?;
    let folder = tempfile::tempdir().map_err(|e| Failed::other(format!("no temporary folder: {e}")))?;
    let task = write_task(folder.path(), mode, &standin, database)?;
    if !json {
        say(out, &format!("a stand-in for SQL Server runs on {}; {WRITERS} sessions write to it", standin.address()))?;
    }

    let (enough, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<JoinHandle<()>> = (0..WRITERS).map(|n| writer(&standin, &enough, &done, n, args)).collect();
    let began = Instant::now();
    let seconds = Duration::from_secs(u64::from(args.seconds));
    let runtime = run::runtime()?;
    let watched = runtime.block_on(async {
        let mut running = Running::start(&task, &standin)?;
        let mut beat = 0;
        wait_for_beat(&standin, database, &mut beat, &mut running).await?;
        // In the middle of it: what was under way is done again, and nothing twice.
        running.kill();
        let mut running = Running::start(&task, &standin)?;
        wait_for_beat(&standin, database, &mut beat, &mut running).await?;
        let mut seen = Vec::new();
        while began.elapsed() < seconds || seen.len() < 10 {
            seen.push(wait_for_beat(&standin, database, &mut beat, &mut running).await?);
        }
        Ok::<_, Failed>((running, seen))
    });
    let written = began.elapsed();
    enough.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().map_err(|_| Failed::other("a writer of the demo failed"))?;
    }
    let (mut running, mut seen) = watched?;
    let transactions = done.load(Ordering::Relaxed);
    catch_up(&runtime, &standin, database, &mut running)?;
    running.kill();

    seen.sort();
    let part =
        |n: usize| seen.get(seen.len().saturating_sub(1) * n / 100).copied().unwrap_or_default().as_secs_f64() * 1e3;
    let mut report = Report {
        mode: mode.name(),
        seconds: written.as_secs_f64(),
        transactions,
        transactions_per_second: transactions as f64 / written.as_secs_f64(),
        kills: 1,
        seen_after_ms_p50: part(50),
        seen_after_ms_p99: part(99),
        equal: false,
    };
    if json {
        report.equal = unequal(&runtime, &standin, database)?.is_none();
        out.json(&report)?;
        return Ok(report.equal);
    }
    say(
        out,
        &format!(
            "{} transactions in {:.1} s ({:.0}/s), one kill; a change was seen after {:.0} ms (half of them), {:.0} ms (99 of 100)",
            transactions,
            report.seconds,
            report.transactions_per_second,
            report.seen_after_ms_p50,
            report.seen_after_ms_p99
        ),
    )?;
    compare(tables(&standin)?, database, out)
}

/// A heap is what the log serves badly: it is there where there are change tables, too.
fn schema(mode: Mode, rows: u32) -> String {
    let key = if mode == Mode::Log { "PRIMARY KEY" } else { "PRIMARY KEY NONCLUSTERED" };
    format!(
        "USE shop;
         CREATE TABLE dbo.customers (id int NOT NULL PRIMARY KEY, name nvarchar(40) NOT NULL, credit money, since datetime2(3));
         CREATE TABLE dbo.orders (customer int NOT NULL, number int NOT NULL, total decimal(12,2), note varchar(max),
             PRIMARY KEY (customer, number));
         CREATE TABLE dbo.beat (id int NOT NULL PRIMARY KEY, n bigint NOT NULL);
         INSERT dbo.beat VALUES (1, 0);
         CREATE TABLE dbo.visits (id int NOT NULL {key}, customer int NOT NULL, note nvarchar(100));
         DECLARE @n int = 0;
         BEGIN TRAN;
         WHILE @n < {rows} BEGIN
             INSERT dbo.customers VALUES (@n, N'Jos\u{e9} ' + CAST(@n AS nvarchar(9)), @n, SYSDATETIME());
             INSERT dbo.visits VALUES (@n, @n % 10, N'first');
             INSERT dbo.orders VALUES (@n % 10, @n, @n / 7.0, REPLICATE('caf\u{e9} ', @n % 100));
             SET @n += 1
         END;
         COMMIT"
    )
}

fn write_task(folder: &Path, mode: Mode, standin: &Standin, database: &Database<'_>) -> Result<PathBuf, Failed> {
    let path = folder.join("demo.yaml");
    let (port, user, url) = (standin.address().port(), standin.user(), database.url());
    let text = format!(
        "task: demo\nsource:\n  mode: {}\n  host: 127.0.0.1\n  port: {port}\n  database: shop\n  user: {user}\n  \
         password: ${{DEMO_PASSWORD}}\n  tls: {{trust: true}}\ntarget:\n  url: {url}\n",
        mode.name()
    );
    std::fs::write(&path, text).map_err(|e| Failed::other(format!("could not write {}: {e}", path.display())))?;
    Ok(path)
}

/// Inserts, updates, deletes and takes back until it is enough, each row by its key.
fn writer(
    standin: &Arc<Standin>,
    enough: &Arc<AtomicBool>,
    done: &Arc<AtomicU64>,
    number: u32,
    args: &Demo,
) -> JoinHandle<()> {
    let (standin, enough, done) = (standin.clone(), enough.clone(), done.clone());
    let (rows, rate) = (args.rows.max(1), args.rate);
    std::thread::spawn(move || {
        let began = Instant::now();
        for n in (0..u32::MAX / 64).take_while(|_| !enough.load(Ordering::Relaxed)) {
            if rate > 0 {
                let due = Duration::from_secs_f64(f64::from(n) * f64::from(WRITERS) / f64::from(rate));
                std::thread::sleep(due.saturating_sub(began.elapsed()));
            }
            let id = (n * 7 + number * 31) % rows;
            let batch = format!(
                "USE shop; BEGIN TRAN;
                 UPDATE dbo.customers SET credit = credit + 1.5, since = SYSDATETIME() WHERE id = {id};
                 DELETE dbo.orders WHERE customer = {0} AND number = {id};
                 UPDATE dbo.visits SET note = N'visit {n}' WHERE id = {id};
                 INSERT dbo.orders VALUES ({0}, {id}, {1}, REPLICATE('n', {2}));
                 {3}",
                number % 10,
                n % 1000,
                n % 300,
                if n % 11 == 3 { "ROLLBACK" } else { "COMMIT" }
            );
            // A deadlock's victim changes nothing.
            if standin.batch(&batch).is_ok() {
                done.fetch_add(1, Ordering::Relaxed);
            }
        }
    })
}

struct Running(Child);

impl Running {
    fn start(task: &Path, standin: &Standin) -> Result<Self, Failed> {
        let failed = |e: std::io::Error| Failed::other(format!("could not start a second logferry: {e}"));
        let child = Command::new(std::env::current_exe().map_err(failed)?)
            .arg("run")
            .arg(task)
            .env("DEMO_PASSWORD", standin.password())
            // Nobody reads what it says before it ends: that must not fill the pipe.
            .env("LOGFERRY_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        Ok(Running(child))
    }

    fn kill(&mut self) {
        // It may have ended by itself.
        let _killed = self.0.kill();
        let _ended = self.0.wait();
    }

    /// Says so if it has ended: it should not.
    fn alive(&mut self) -> Result<(), Failed> {
        use std::io::Read;
        match self.0.try_wait() {
            Ok(None) => Ok(()),
            _ => {
                let mut said = String::new();
                if let Some(errors) = &mut self.0.stderr {
                    // What can be read is told.
                    let _read = errors.read_to_string(&mut said);
                }
                Err(Failed::other(format!("logferry run has ended: {}", said.trim())))
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Writes a number, and waits until it is seen: how long that took.
async fn wait_for_beat(
    standin: &Standin,
    database: &Database<'_>,
    beat: &mut i64,
    running: &mut Running,
) -> Result<Duration, Failed> {
    let client = database.client().await.map_err(|e| Failed::other(e.to_string()))?;
    *beat += 1;
    let written = Instant::now();
    let batch = format!("USE shop; UPDATE dbo.beat SET n = {beat}");
    standin.batch(&batch).map_err(|e| Failed::other(format!("the stand-in for SQL Server: {e}")))?;
    loop {
        // Until the copy has begun there is no such table.
        let found =
            client.query("SELECT n FROM dbo.beat", &[]).await.ok().and_then(|rows| rows.first().map(|r| r.get(0)));
        if found.is_some_and(|n: i64| n >= *beat) {
            return Ok(written.elapsed());
        }
        running.alive()?;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until both sides are equal, as long as that is to be expected.
fn catch_up(
    runtime: &tokio::runtime::Runtime,
    standin: &Standin,
    database: &Database<'_>,
    running: &mut Running,
) -> Result<(), Failed> {
    let began = Instant::now();
    while unequal(runtime, standin, database)?.is_some() && began.elapsed() < CATCH_UP {
        running.alive()?;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A table whose rows differ.
fn unequal(
    runtime: &tokio::runtime::Runtime,
    standin: &Standin,
    database: &Database<'_>,
) -> Result<Option<String>, Failed> {
    runtime.block_on(async {
        let client = database.client().await.map_err(|e| Failed::other(e.to_string()))?;
        for ((schema, table), expected) in tables(standin)? {
            let found = expected.compare(&client, &schema, &table).await;
            if !found.is_ok_and(|found| found.is_equal()) {
                return Ok(Some(table));
            }
        }
        Ok(None)
    })
}

/// The rows that the source has.
fn tables(standin: &Standin) -> Result<Tables, Failed> {
    let failed = |e: SqlError| Failed::other(format!("the stand-in for SQL Server: {e}"));
    let login = Login { name: "demo".into(), host: String::new(), program: String::new(), database: "shop".into() };
    let mut session = standin.sql().connect(&login).map_err(failed)?;
    let mut tables = Tables::new();
    for table in TABLES {
        let mut rows = Rows(Expected::of_types([]));
        session.execute(&format!("SELECT * FROM dbo.{table}"), &[], &mut rows).map_err(failed)?;
        tables.insert(("dbo".to_owned(), (*table).to_owned()), rows.0);
    }
    Ok(tables)
}

/// Rows as the stand-in has them: nothing of the product was on their way.
struct Rows(Expected);

impl ResultSink for Rows {
    fn columns(&mut self, columns: &[ResultColumn]) {
        self.0 = Expected::of_types(columns.iter().map(|c| c.sql_type.clone()));
    }
    fn row(&mut self, cells: &[Cell<'_>]) -> bool {
        self.0.row(cells);
        true
    }
    // It also comes back from the call.
    fn error(&mut self, _: &SqlError) {}
}

//! A process that follows a server, and how far it is. Dropped, it is killed.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use logferry_mssql_standin::serve::Standin;
use logferry_testkit::postgres::Database;

use crate::server::{command, rows};

/// Only a position that is never reached takes so long.
const NEVER: Duration = Duration::from_secs(120);

/// A process that runs.
pub struct Running(pub Child);

impl Running {
    /// Starts it, with more arguments.
    pub fn start(task: &Path, standin: &Standin, more: &[&str]) -> Self {
        Running(command(task, standin).args(more).spawn().expect("it runs"))
    }

    /// Whether it has not ended by itself.
    pub fn is_alive(&mut self) -> bool {
        self.0.try_wait().expect("a process").is_none()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Changes something in the database `shop`.
pub fn change(standin: &Standin, batch: &str) {
    standin.batch(&format!("USE shop; {batch}")).unwrap_or_else(|e| panic!("{batch}: {e}"));
}

/// What a process says that ends by itself.
pub fn ended(command: &mut Command) -> Output {
    let mut running = Running(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs"));
    // What it says is little, and fits into the pipes.
    let began = Instant::now();
    while running.is_alive() {
        assert!(began.elapsed() < NEVER, "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut output = Output { status: running.0.wait().expect("it has ended"), stdout: Vec::new(), stderr: Vec::new() };
    running.0.stdout.take().expect("a pipe").read_to_end(&mut output.stdout).expect("what it said");
    running.0.stderr.take().expect("a pipe").read_to_end(&mut output.stderr).expect("what it said");
    output
}

/// Waits until the target has every row as the source has it.
pub async fn wait_until_equal(standin: &Standin, database: &Database<'_>, tables: &[&str]) {
    let client = database.client().await.expect("a connection");
    let began = Instant::now();
    for table in tables {
        loop {
            let found = rows(standin, table).compare(&client, "dbo", &table.to_lowercase()).await;
            if found.as_ref().is_ok_and(|found| found.is_equal()) {
                break;
            }
            assert!(began.elapsed() < NEVER, "the target never has \"{table}\" as the source has it: {found:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Waits until the task has said that it is further than `after`.
pub async fn wait_for_checkpoint(database: &Database<'_>, after: Option<String>, running: &mut Running) -> String {
    let client = database.client().await.expect("a connection");
    let began = Instant::now();
    loop {
        // Until the first statement there is no such table.
        if let Ok(rows) = client.query("SELECT applied FROM logferry.checkpoint WHERE task = 'shop'", &[]).await {
            let applied: Option<String> = rows.first().and_then(|row| row.get(0));
            if let Some(applied) = applied.filter(|applied| Some(applied) > after.as_ref()) {
                return applied;
            }
        }
        assert!(running.is_alive(), "logferry has ended");
        assert!(began.elapsed() < NEVER, "the task does not come on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

//! Tasks of running servers: their files, the process, and what the target must hold.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use logferry_model::Cell;
use logferry_mssql_standin::serve::Standin;
use logferry_mssql_standin::sql::{Login, ResultColumn, ResultSink, SqlError};
use logferry_testkit::compare::Expected;
use logferry_testkit::postgres::Database;

/// The rows that a SELECT gives inside the stand-in: nothing of the product was on their way.
#[derive(Default)]
struct Rows(Option<Expected>);

impl ResultSink for Rows {
    fn columns(&mut self, columns: &[ResultColumn]) {
        self.0 = Some(Expected::of_types(columns.iter().map(|c| c.sql_type.clone())));
    }
    fn row(&mut self, cells: &[Cell<'_>]) -> bool {
        self.0.as_mut().expect("columns come first").row(cells);
        true
    }
    fn error(&mut self, error: &SqlError) {
        panic!("{error}");
    }
}

/// A stand-in with a database `shop`, and what a batch made in it.
pub fn serve(made: &str) -> Arc<Standin> {
    let standin = Standin::start().expect("a stand-in");
    standin.batch("CREATE DATABASE shop").expect("a database");
    standin.batch(&format!("USE shop; {made}")).unwrap_or_else(|e| panic!("{made}: {e}"));
    Arc::new(standin)
}

/// All rows of a table.
pub fn rows(standin: &Standin, table: &str) -> Expected {
    let login = Login { name: "sa".into(), host: String::new(), program: String::new(), database: "shop".into() };
    let mut rows = Rows::default();
    let mut session = standin.sql().connect(&login).expect("a session");
    session.execute(&format!("SELECT * FROM {table}"), &[], &mut rows).expect("the rows");
    rows.0.expect("a result")
}

/// Writes a task's file.
pub fn write_task(path: &Path, mode: &str, standin: &Standin, database: &Database<'_>, more: &str) {
    let (port, user, url) = (standin.address().port(), standin.user(), database.url());
    let task = format!(
        "task: shop\nsource:\n  mode: {mode}\n  host: 127.0.0.1\n  port: {port}\n  database: shop\n  user: {user}\n  \
         password: ${{SHOP_PASSWORD}}\n  tls: {{trust: true}}\ntarget:\n  url: {url}\ncopy: {{chunk_mb: 1}}\n{more}"
    );
    std::fs::write(path, task).expect("the task is written");
}

/// The process.
pub fn command(task: &Path, standin: &Standin) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
    command.arg("run").arg(task).env("SHOP_PASSWORD", standin.password()).env_remove("LOGFERRY_LOG");
    command.stdin(Stdio::null());
    command
}

/// What a process said.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Compares every row.
pub async fn check_equal(standin: &Standin, database: &Database<'_>, tables: &[&str]) {
    let client = database.client().await.expect("a connection");
    for table in tables {
        let found = rows(standin, table).compare(&client, "dbo", &table.to_lowercase()).await.expect("a comparison");
        assert!(found.is_equal() && found.expected > 0, "{table}: {found:?}");
    }
}

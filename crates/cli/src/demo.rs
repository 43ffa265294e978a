//! `logferry demo`: the whole, on a machine with nothing but PostgreSQL's programs.
//!
//! ```text
//!  a chain of backups ──(1) full + first logs, killed in the middle, run again──> private PostgreSQL, rows compared
//!                     ──(2) the logs that "arrive later" ───────────────────────> rows compared
//! ```
//!
//! The backups are made by a storage engine that writes SQL Server's own formats, with a made-up history: several transactions
//! open at a time, rollbacks, savepoints, rows that move. It also says which rows are committed after each backup, and that is
//! what the target is compared with, row by row. For files of the user's own the rows on the pages are what counts: the whole log is
//! replayed over them, and they are read as text.

mod live;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use logferry_config::{BackupSource, Secret, Task};
use logferry_model::{Cell, SqlType};
use logferry_mssql_standin_storage::workload::{Chain, ChainFile, WorkloadOptions, generate_chain};
use logferry_pipeline::StreamEnd;
use logferry_testkit::compare::{Comparison, Expected};
use logferry_testkit::postgres::{Database, PrivatePostgres};

use crate::args::{Demo, DemoMode};
use crate::failure::Failed;
use crate::open;
use crate::output::{Out, Table};
use crate::run;
use crate::summary;

/// The rows that a table of the target must hold, by its name there.
type Tables = BTreeMap<(String, String), Expected>;

pub(crate) fn perform(args: &Demo, json: bool, out: &mut Out) -> Result<ExitCode, Failed> {
    let cluster = PrivatePostgres::start().map_err(|e| Failed::other(e.to_string()))?;
    let database = cluster.create_database().map_err(|e| Failed::other(e.to_string()))?;
    let alone = args.from.is_empty() && args.folder.is_none();
    let live = match args.mode {
        DemoMode::Backup => None,
        DemoMode::Log => Some(live::Mode::Log),
        DemoMode::Cdc => Some(live::Mode::Cdc),
        DemoMode::Hybrid => Some(live::Mode::Hybrid),
    };
    if live.is_some() && !alone {
        return Err(Failed::argument("a running server makes its own data: --from and --folder are for --mode backup"));
    }
    if !json || live.is_none() {
        say(out, &format!("PostgreSQL runs on port {} until the end of the demo", cluster.port()))?;
    }
    let equal = if let Some(mode) = live {
        live::perform(args, mode, &database, json, out)?
    } else if args.from.is_empty() {
        let temporary = tempfile::tempdir().map_err(|e| Failed::other(format!("no temporary folder: {e}")))?;
        let folder = args.folder.as_deref().unwrap_or(temporary.path());
        made_up(args, folder, &database, out)?
    } else {
        own_files(args, &database, out)?
    };
    let code = verdict(equal)?;
    if !json || live.is_none() {
        say(out, "every row on the target is the row that it should be")?;
    }
    Ok(code)
}

/// How the process ends.
fn verdict(equal: bool) -> Result<ExitCode, Failed> {
    match equal {
        true => Ok(ExitCode::SUCCESS),
        false => Err(Failed::other(
            "the target differs from what it should be: this is a defect of logferry, please report it",
        )),
    }
}

fn made_up(args: &Demo, folder: &Path, database: &Database<'_>, out: &mut Out) -> Result<bool, Failed> {
    let chain = generate(args, folder)?;
    let bytes: u64 = chain.files.iter().filter_map(|f| f.path.metadata().ok()).map(|m| m.len()).sum();
    let (files, size) = (chain.files.len(), summary::size(bytes));
    say(out, &format!("made {files} backups of database \"{}\" in {}, {size}", chain.database, folder.display()))?;
    let half = chain.files.len() / 2 + 1;
    let (now, _later) = chain.files.split_at(half);
    let paths: Vec<PathBuf> = chain.files.iter().map(|f| f.path.clone()).collect();

    say(
        out,
        &format!("\nfirst the full backup and {} log backups, in a process that is killed in the middle:", half - 1),
    )?;
    let killed = run_and_kill(&paths[..half], None, database)?;
    say(out, if killed { "  killed with SIGKILL" } else { "  it had ended before it could be killed" })?;
    run_here(&paths[..half], None, database, out)?;
    let mut equal = compare(expected(&chain, now.last()), database, out)?;

    say(out, &format!("\nthen {} more have arrived:", chain.files.len() - half))?;
    run_here(&paths, None, database, out)?;
    equal &= compare(expected(&chain, chain.files.last()), database, out)?;
    Ok(equal)
}

fn generate(args: &Demo, folder: &Path) -> Result<Chain, Failed> {
    let failed = |e: String| Failed::other(format!("could not make the backups in {}: {e}", folder.display()));
    std::fs::create_dir_all(folder).map_err(|e| failed(e.to_string()))?;
    if std::fs::read_dir(folder).map_err(|e| failed(e.to_string()))?.next().is_some() {
        return Err(Failed::argument(format!(
            "{} is not empty: give an empty folder, or one that is not there",
            folder.display()
        )));
    }
    let mut options = WorkloadOptions { logs: 6, steps: args.rows, late_table: true, ..WorkloadOptions::default() };
    options.initial_rows = args.rows;
    options.database.name = "demo".to_owned();
    generate_chain(args.seed, &options, folder).map_err(|e| failed(e.to_string()))
}

/// The rows that are committed after a backup.
fn expected(chain: &Chain, file: Option<&ChainFile>) -> Tables {
    let mut tables = Tables::new();
    for def in &chain.tables {
        let name = format!("{}.{}", def.schema, def.name);
        let Some(rows) = file.and_then(|f| f.expected.get(&name)) else { continue };
        let mut expected = Expected::of_types(def.columns.iter().map(|c: &_| -> SqlType { c.sql_type.clone() }));
        for row in rows {
            let cells: Vec<Cell<'_>> = row.iter().map(|v| v.as_deref().map_or(Cell::Null, Cell::Bytes)).collect();
            expected.row(&cells);
        }
        tables.insert((def.schema.to_ascii_lowercase(), def.name.to_ascii_lowercase()), expected);
    }
    tables
}

fn own_files(args: &Demo, database: &Database<'_>, out: &mut Out) -> Result<bool, Failed> {
    say(out, "\nfirst in a process that is killed in the middle:")?;
    let name = args.database.as_deref();
    let killed = run_and_kill(&args.from, name, database)?;
    say(out, if killed { "  killed with SIGKILL" } else { "  it had ended before it could be killed" })?;
    run_here(&args.from, name, database, out)?;
    let source = run::sort_files(args.from.clone(), args.database.clone(), None)?;
    let (tables, open) = open::rows_at_end(&source)?;
    if open > 0 {
        say(
            out,
            &format!("{open} transactions are open at the end: what they did is on the pages and not on the target"),
        )?;
    }
    let tables = tables
        .into_iter()
        .map(|(name, rows)| ((name.schema.to_ascii_lowercase(), name.name.to_ascii_lowercase()), rows));
    compare(tables.collect(), database, out)
}

fn task(files: &[PathBuf], name: Option<&str>, database: &Database<'_>) -> Result<Task, Failed> {
    let source: BackupSource = run::sort_files(files.to_vec(), name.map(str::to_owned), None)?;
    Ok(Task::of_parts("demo", source, Secret::new(database.url())))
}

fn run_here(files: &[PathBuf], name: Option<&str>, database: &Database<'_>, out: &mut Out) -> Result<(), Failed> {
    let summary = run::in_foreground(&task(files, name, database)?)?;
    summary::write(&summary, out)?;
    out.flush()?;
    if summary.end == StreamEnd::Stopped {
        return Err(Failed::other("the demo was stopped before its end: nothing was compared"));
    }
    Ok(())
}

/// Runs in another process, and kills it once some of its work is on the target.
fn run_and_kill(files: &[PathBuf], name: Option<&str>, database: &Database<'_>) -> Result<bool, Failed> {
    let failed = |e: std::io::Error| Failed::other(format!("could not start a second logferry: {e}"));
    let mut child = Command::new(std::env::current_exe().map_err(failed)?)
        .args(["run", "--name", "demo", "--to", &database.url()])
        .args(name.iter().flat_map(|name| ["--database", name]))
        .arg("--from")
        .args(files)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let began = Instant::now();
    while !has_begun(database)? && began.elapsed() < Duration::from_secs(60) {
        if child.try_wait().map_err(failed)?.is_some() {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().map_err(failed)?;
    let status = child.wait().map_err(failed)?;
    Ok(!status.success())
}

/// Whether rows of a first chunk are committed.
fn has_begun(database: &Database<'_>) -> Result<bool, Failed> {
    run::runtime()?.block_on(async {
        let client = database.client().await.map_err(|e| Failed::other(e.to_string()))?;
        // Until the first statement there is no such table.
        Ok(client.query("SELECT FROM logferry.chunk LIMIT 1", &[]).await.is_ok_and(|rows| !rows.is_empty()))
    })
}

fn compare(tables: Tables, database: &Database<'_>, out: &mut Out) -> Result<bool, Failed> {
    let mut shown = Table::new(&["  table", "rows", "missing", "unexpected", ""]);
    let mut equal = true;
    run::runtime()?.block_on(async {
        let client = database.client().await.map_err(|e| Failed::other(e.to_string()))?;
        for ((schema, table), expected) in tables {
            let found: Comparison = expected
                .compare(&client, &schema, &table)
                .await
                .map_err(|e| Failed::other(format!("could not compare {schema}.{table}: {e}")))?;
            equal &= found.is_equal();
            let verdict = if found.is_equal() { "equal".to_owned() } else { found.example.unwrap_or_default() };
            let numbers = [found.found, found.missing, found.unexpected].map(|n| n.to_string());
            shown.row([format!("  {schema}.{table}")].into_iter().chain(numbers).chain([verdict]));
        }
        Ok::<_, Failed>(())
    })?;
    shown.write(out, "")?;
    Ok(equal)
}

fn say(out: &mut Out, line: &str) -> Result<(), Failed> {
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares a table that should have two rows with what a statement has made of it; whether the process says that all is well.
    fn check(made: &str, expect: bool) {
        let database = PrivatePostgres::shared().create_database().expect("a database");
        let runtime = run::runtime().expect("threads");
        runtime.block_on(async {
            let client = database.client().await.expect("a connection");
            let table =
                "CREATE SCHEMA s; CREATE TABLE s.t (id integer, name text); INSERT INTO s.t VALUES (1, 'a'), (2, NULL)";
            client.batch_execute(table).await.expect("a table");
            client.batch_execute(made).await.expect("it is done");
        });
        let text = SqlType::NVarChar { length: Some(9), collation: Default::default() };
        let mut rows = Expected::of_types([SqlType::Int, text]);
        rows.row(&[Cell::Bytes(&1i32.to_le_bytes()), Cell::Bytes(b"a\0")]);
        rows.row(&[Cell::Bytes(&2i32.to_le_bytes()), Cell::Null]);
        let tables = Tables::from([(("s".to_owned(), "t".to_owned()), rows)]);
        let compared = compare(tables, &database, &mut Out::stdout()).and_then(verdict);
        match compared {
            Ok(code) => assert!(expect && code == ExitCode::SUCCESS, "{made}"),
            Err(failed) => assert!(!expect && failed.exit_code() == ExitCode::from(1), "{made}: {}", failed.shown()),
        }
    }

    /// Each way in which a row may differ ends the demo with an exit code of its own.
    #[test]
    fn rows_that_differ_are_no_success() {
        check("", true);
        check("UPDATE s.t SET name = 'b' WHERE id = 1", false);
        check("UPDATE s.t SET name = '' WHERE id = 2", false);
        check("DELETE FROM s.t WHERE id = 2", false);
        check("INSERT INTO s.t VALUES (3, 'c')", false);
        check("INSERT INTO s.t VALUES (1, 'a')", false);
        check("TRUNCATE s.t", false);
        check("DROP TABLE s.t", false);
    }
}

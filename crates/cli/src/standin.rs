//! `logferry standin`: a stand-in for SQL Server to try logferry with, where there is no server.
//!
//! Its databases are in memory, and written as data and log files when it is asked to end; those that it finds in its folder go on. Files of a server it
//! reads. What it writes to disk besides are backups, in SQL Server's own format, which `logferry run --from` and `logferry inspect` read. So a whole
//! round of the backup mode needs nothing else:
//!
//! ```text
//! logferry standin --port 1433 --data /tmp/standin --password 'P@ss' &
//! tsql -S 127.0.0.1 -p 1433 -U sa -P 'P@ss'       CREATE DATABASE shop; ... BACKUP DATABASE shop TO DISK = 'shop.bak'
//! logferry run --from /tmp/standin --to postgres://...
//! ```

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use logferry_mssql_standin::serve::{Standin, StandinConfig};
use logferry_mssql_standin::sql::Server;

use crate::args::StandinArgs;
use crate::failure::Failed;
use crate::output::Out;
use crate::run;

pub(crate) fn perform(args: &StandinArgs, json: bool, out: &mut Out) -> Result<ExitCode, Failed> {
    let folder = &args.data;
    std::fs::create_dir_all(folder).map_err(|e| Failed::other(format!("could not make {}: {e}", folder.display())))?;
    // Only this machine: what it guards by a password on the command line, it does not guard well.
    let address = SocketAddr::from(([127, 0, 0, 1], args.port));
    let config = StandinConfig { address, password: args.password.clone(), ..StandinConfig::default() };
    let sql = Server::new(&config.tds.name).map_err(|e| Failed::other(e.message))?;
    sql.set_backup_folder(folder.clone());
    let reopened = sql.reopen(folder).map_err(|e| Failed::other(e.message))?;
    let standin = Standin::of(sql, config).map_err(|e| Failed::other(format!("could not listen on {address}: {e}")))?;
    let mut attached = Vec::new();
    for data in &args.attach {
        let (name, log) = beside(data)?;
        standin.sql().attach_database(&name, data, &log).map_err(|e| Failed::other(e.message))?;
        attached.push(name);
    }
    // Who reads that it listens may ask it to end at once.
    let runtime = run::runtime()?;
    let asked_to_end = runtime.block_on(async { asked_to_end() })?;
    let (address, user) = (standin.address(), standin.user());
    if json {
        out.json(&serde_json::json!({
            "address": address.to_string(),
            "user": user,
            "attached": attached,
            "databases": reopened,
        }))?;
    } else {
        writeln!(out, "a stand-in for SQL Server, not SQL Server, listens on {address}; log in as {user}")?;
        for name in &reopened {
            writeln!(out, "database \"{name}\" goes on")?;
        }
        for name in &attached {
            writeln!(out, "database \"{name}\" is there, read-only")?;
        }
        writeln!(
            out,
            "databases are in memory until it is asked to end; then they, as backups at any time, go to {}",
            folder.display()
        )?;
    }
    out.flush()?;
    runtime.block_on(asked_to_end);
    let written = standin.close_into(folder).map_err(|e| Failed::other(e.message))?;
    if !json {
        for name in &written {
            writeln!(
                out,
                "database \"{name}\" is written to {}: it goes on when that is served again",
                folder.display()
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The name of the database in a data file, and its log file.
fn beside(data: &Path) -> Result<(String, PathBuf), Failed> {
    let none = || Failed::argument(format!("--attach wants a data file, as in northwind.mdf, not {}", data.display()));
    let stem = data.file_stem().and_then(|stem| stem.to_str()).ok_or_else(none)?;
    let without = |end: &str| {
        let head = stem.len().checked_sub(end.len())?;
        stem.get(head..)?.eq_ignore_ascii_case(end).then(|| stem.get(..head))?
    };
    let name = without("_data").unwrap_or(stem);
    let logs = [format!("{stem}.ldf"), format!("{name}.ldf"), format!("{name}_log.ldf"), format!("{name}_Log.ldf")];
    let found = logs.iter().map(|log| data.with_file_name(log)).find(|log| log.is_file());
    let log = found.ok_or_else(|| {
        Failed::argument(format!("there is no log file beside {}: none of {}", data.display(), logs.join(", ")))
    })?;
    Ok((name.to_owned(), log))
}

/// Hears signals from here on, and waits for one when it is awaited.
fn asked_to_end() -> Result<impl Future<Output = ()>, Failed> {
    use tokio::signal::unix::{SignalKind, signal};
    let heard = |e: std::io::Error| Failed::other(format!("signals cannot be heard: {e}"));
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt()).map_err(heard)?, signal(SignalKind::terminate()).map_err(heard)?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

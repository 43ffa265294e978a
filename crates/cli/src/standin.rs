//! `logferry standin`: a stand-in for SQL Server to try logferry with, where there is no server.
//!
//! Its databases are in memory and end with it; what it writes to disk are backups, in SQL Server's own format, which
//! `logferry run --from` and `logferry inspect` read. So a whole round of the backup mode needs nothing else:
//!
//! ```text
//! logferry standin --port 1433 --data /tmp/standin --password 'P@ss' &
//! tsql -S 127.0.0.1 -p 1433 -U sa -P 'P@ss'       CREATE DATABASE shop; ... BACKUP DATABASE shop TO DISK = 'shop.bak'
//! logferry run --from /tmp/standin --to postgres://...
//! ```

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use logferry_mssql_standin::serve::{Standin, StandinConfig};

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
    let standin = Standin::with(config).map_err(|e| Failed::other(format!("could not listen on {address}: {e}")))?;
    standin.sql().set_backup_folder(folder.clone());
    let (address, user) = (standin.address(), standin.user());
    if json {
        out.json(&serde_json::json!({ "address": address.to_string(), "user": user }))?;
    } else {
        writeln!(out, "a stand-in for SQL Server, not SQL Server, listens on {address}; log in as {user}")?;
        writeln!(out, "databases are in memory and end with it; backups go to {}", folder.display())?;
    }
    out.flush()?;
    run::runtime()?.block_on(asked_to_end())?;
    Ok(ExitCode::SUCCESS)
}

async fn asked_to_end() -> Result<(), Failed> {
    use tokio::signal::unix::{SignalKind, signal};
    let heard = |e: std::io::Error| Failed::other(format!("signals cannot be heard: {e}"));
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt()).map_err(heard)?, signal(SignalKind::terminate()).map_err(heard)?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

//! From the settings of a task to a running server.

use std::sync::Arc;
use std::time::Duration;

use logferry_config::{Login, OnGap as AskedOnGap, ServerMode, ServerSource, Task, Trust as Asked};
use logferry_model::{Fault, Finding, TableVersion};
use logferry_mssql_live::{
    Address, CdcSettings, Conditions, HoldLog, LiveSource, LogSettings, Mode, OnGap, Settings, Token, Trust, Wanted,
};

/// From the first packet to the end of the login: what SQL Server's own clients wait.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Everything that is not as the task needs it of its source; and the source's tables.
pub(crate) async fn check(task: &Task, server: &ServerSource) -> (Vec<Finding>, Vec<Arc<TableVersion>>) {
    logferry_mssql_live::check(settings(task, server), mode(server), wanted(task)).await
}

fn wanted(task: &Task) -> Wanted {
    let filter = task.tables.clone();
    Arc::new(move |name| filter.takes(name))
}

fn mode(server: &ServerSource) -> Mode {
    match server.mode {
        ServerMode::Snapshot => Mode::Snapshot,
        ServerMode::Log => Mode::Log,
        ServerMode::Cdc => Mode::Cdc(CdcSettings { enable: server.cdc_enable }),
        ServerMode::Hybrid => Mode::Hybrid { heartbeat: Duration::from_secs(u64::from(server.heartbeat_seconds)) },
    }
}

/// How the server of a task is connected to.
pub(crate) fn settings(task: &Task, server: &ServerSource) -> Settings {
    let (user, password, token) = match &server.login {
        Login::Sql { user, password } => (user.clone(), password.expose().to_owned(), None),
        Login::Token(token) => (String::new(), String::new(), Some(Token::Text(token.expose().to_owned()))),
        Login::TokenFile(path) => (String::new(), String::new(), Some(Token::File(path.clone()))),
        Login::Kerberos => (String::new(), String::new(), Some(Token::Kerberos)),
    };
    Settings {
        host: server.host.clone(),
        address: match &server.instance {
            Some(name) => Address::Instance(name.clone()),
            None => Address::Port(server.port),
        },
        database: server.database.clone(),
        user,
        password,
        token,
        application: format!("logferry {}", task.name),
        trust: match &server.trust {
            Asked::System => Trust::System,
            Asked::Authority(path) => Trust::Authority(path.clone()),
            Asked::Pinned(path) => Trust::Pinned(path.clone()),
            Asked::Any => Trust::Any,
        },
        certificate_name: server.certificate_name.clone(),
        strict: server.strict,
        read_only: server.read_only,
        connect_timeout: CONNECT_TIMEOUT,
        answer_timeout: Duration::from_secs(u64::from(server.answer_seconds)),
        // A worker of the copy each, two that read rows and log, one for log backups, three that hold the log, two for change tables, and
        // one for the heartbeat.
        connections_max: u32::from(task.copy.workers) + 9,
        conditions: Conditions::new(task.tables.conditions.iter().map(|c| (c.table.clone(), c.sql.clone())).collect()),
    }
}

/// Connects to the source of a task.
pub(crate) async fn source(task: &Task, server: &ServerSource) -> Result<LiveSource, Fault> {
    let chunk_bytes = u64::from(task.copy.chunk_mb) << 20;
    let log = LogSettings {
        on_gap: match server.on_gap {
            AskedOnGap::Stop => OnGap::Stop,
            AskedOnGap::Resync => OnGap::Resync,
        },
        hold: server.hold_log.map(|hold| HoldLog {
            max_mb: hold.max_mb,
            max_age: Duration::from_secs(60 * u64::from(hold.max_minutes)),
        }),
    };
    // Where tables are made alone, their changes do not matter, and nothing is made on the source.
    let mode = if task.phases.full || task.phases.incremental { mode(server) } else { Mode::Snapshot };
    Ok(LiveSource::open(settings(task, server), mode, chunk_bytes, wanted(task)).await?.with_log(log))
}

//! The suite of a running server (`tests/live`) on a real SQL Server and a real PostgreSQL, in containers.
//!
//! Started by `tests/docker/run`. `LOGFERRY_BIN` is the binary; `LOGFERRY_SQLSERVER` another image than that of 2022.
//! Starting a SQL Server's image says that its licence is accepted: <https://go.microsoft.com/fwlink/?LinkId=746388>.

use std::path::{Path, PathBuf};

use logferry_live_suite::{PARTS, Rig, Server, Target};
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

/// Long, and of all four kinds of characters, as SQL Server asks for.
const PASSWORD: &str = "Log_ferry-2022";

async fn sql_server() -> ContainerAsync<GenericImage> {
    let image = std::env::var("LOGFERRY_SQLSERVER").unwrap_or_else(|_| "2022-latest".to_owned());
    GenericImage::new("mcr.microsoft.com/mssql/server", &image)
        .with_exposed_port(1433.tcp())
        .with_wait_for(WaitFor::message_on_stdout("Recovery is complete"))
        .with_env_var("ACCEPT_EULA", "Y")
        .with_env_var("MSSQL_PID", "Developer")
        .with_env_var("MSSQL_SA_PASSWORD", PASSWORD)
        .with_env_var("MSSQL_AGENT_ENABLED", "true")
        .with_startup_timeout(std::time::Duration::from_secs(180))
        .start()
        .await
        .expect("SQL Server starts")
}

async fn postgres() -> ContainerAsync<GenericImage> {
    GenericImage::new("postgres", "17")
        .with_exposed_port(5432.tcp())
        // Once while it sets itself up, once in earnest: the second time on this stream.
        .with_wait_for(WaitFor::message_on_stderr("listening on IPv4 address"))
        .with_wait_for(WaitFor::message_on_stderr("database system is ready to accept connections"))
        .with_env_var("POSTGRES_PASSWORD", PASSWORD)
        .start()
        .await
        .expect("PostgreSQL starts")
}

fn binary() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debug/logferry");
    let path = std::env::var_os("LOGFERRY_BIN").map_or(built, PathBuf::from);
    assert!(path.is_file(), "no binary at {}: cargo build -p logferry, or set LOGFERRY_BIN", path.display());
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_holds_on_a_real_server() {
    if std::env::var("LOGFERRY_E2E").as_deref() != Ok("docker") {
        eprintln!("SKIPPED: no containers were asked for: LOGFERRY_E2E=docker, or tests/docker/run");
        return;
    }
    let logferry = binary();
    let (sql_server, postgres) = tokio::join!(sql_server(), postgres());
    let server = Server {
        host: sql_server.get_host().await.expect("a host").to_string(),
        port: sql_server.get_host_port_ipv4(1433).await.expect("a port"),
        user: "sa".to_owned(),
        password: PASSWORD.to_owned(),
    };
    server.ready().await;
    let (host, port) =
        (postgres.get_host().await.expect("a host"), postgres.get_host_port_ipv4(5432).await.expect("a port"));
    let admin = Target { url: format!("postgres://postgres:{PASSWORD}@{host}:{port}/postgres") };
    let mut failed = Vec::new();
    for part in PARTS {
        let name = part.name.replace(' ', "_");
        let target = admin.create_database(&name).await;
        let rig = Rig { server: server.clone(), target, logferry: logferry.clone() };
        // A part that fails says why, and does not keep the others from being run.
        let runtime = tokio::runtime::Handle::current();
        let ended = tokio::task::spawn_blocking(move || runtime.block_on(part.run(&rig))).await;
        eprintln!("{}: {}", part.name, if ended.is_ok() { "ok" } else { "FAILED" });
        if ended.is_err() {
            failed.push(part.name);
        }
    }
    assert!(failed.is_empty(), "failed on a real server: {failed:?}");
}

//! Clients that we did not write talk to the server: each connects with and without TLS, reads every type back
//! exactly, sends parameters, gets errors, runs transactions and cancels.
//!
//! `tiberius` is built with the tests. The others are programs: `tests/clients/setup` installs them (seconds each), and where one is
//! missing its test says so on stderr and is not run. With `LOGFERRY_CLIENTS=required`, as in CI, missing is failing.

mod all_types;
mod bare;
mod double;
mod encryption;
mod programs;
mod served;
mod speed;
mod tiberius_client;

use std::sync::Arc;

use logferry_mssql_standin::tds::{Encryption, Server, ServerConfig};

/// A server with the double behind it.
async fn server(encryption: Encryption) -> Server {
    server_with(ServerConfig { encryption, ..ServerConfig::default() }).await
}

async fn server_with(config: ServerConfig) -> Server {
    let address = ([127, 0, 0, 1], 0).into();
    Server::start(address, Arc::new(double::Double::default()), config).await.expect("a free port")
}

/// For people who write such a client's script: `LOGFERRY_PORT=1433 cargo test --test clients -- --ignored serve`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "serves until it is stopped"]
async fn serve() {
    let port = std::env::var("LOGFERRY_PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(0);
    let engine = Arc::new(double::Double::default());
    let server =
        Server::start(([127, 0, 0, 1], port).into(), engine, ServerConfig::default()).await.expect("a free port");
    eprintln!("{} with password {}", server.address(), double::PASSWORD);
    std::future::pending::<()>().await;
}

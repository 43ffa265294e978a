//! Clients that are programs: each runs its script against a server, and fails with what it prints.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use logferry_mssql_standin::tds::Encryption;

use crate::double::PASSWORD;
use crate::server;

/// Where `setup` puts them.
fn installed() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent");
    target.join("clients")
}

/// Runs a program unless it is missing; it gets the port, the password and whether TLS is to be used.
async fn run(client: &str, present: bool, command: impl Fn(&mut Command, u16, bool) -> PathBuf) {
    if !present {
        let text = format!("{client} is not installed: run crates/mssql-standin/tests/clients/setup");
        assert!(std::env::var_os("LOGFERRY_CLIENTS").is_none_or(|value| value != "required"), "{text}");
        eprintln!("SKIPPED: {text}");
        return;
    }
    for encryption in [Encryption::NotSupported, Encryption::Supported, Encryption::Required] {
        let server = server(encryption).await;
        let port = server.address().port();
        let mut started = Command::new("timeout");
        started.arg("60");
        let tls = encryption == Encryption::Required;
        let program = command(&mut started, port, tls);
        let output = tokio::task::spawn_blocking(move || started.output()).await.expect("no panic").expect("timeout");
        let Output { status, stdout, stderr } = output;
        assert!(
            status.success(),
            "{client} with encryption {encryption:?}: {status} of {}\n{}\n{}",
            program.display(),
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        );
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

async fn python(client: &str, module: &str, file: &str) {
    let python = installed().join("python/bin/python");
    let present = std::fs::read_dir(installed().join("python/lib")).is_ok_and(|mut versions| {
        versions.any(|version| version.is_ok_and(|version| version.path().join("site-packages").join(module).exists()))
    });
    run(client, present, |command, port, tls| {
        command
            .arg(&python)
            .arg(script(file))
            .arg(port.to_string())
            .args([PASSWORD, if tls { "tls" } else { "plain" }]);
        script(file)
    })
    .await;
}

#[tokio::test]
async fn pymssql() {
    python("pymssql", "pymssql", "pymssql_client.py").await;
}

#[tokio::test]
async fn python_tds() {
    python("python-tds", "pytds", "python_tds_client.py").await;
}

#[tokio::test]
async fn mssql_python() {
    python("mssql-python", "mssql_python", "mssql_python_client.py").await;
}

#[tokio::test]
async fn tedious() {
    let modules = installed().join("node_modules");
    run("tedious", modules.join("tedious").is_dir(), |command, port, tls| {
        command.arg("node").arg(script("tedious_client.cjs"));
        command.arg(port.to_string()).args([PASSWORD, if tls { "tls" } else { "plain" }]);
        command.env("NODE_PATH", &modules);
        script("tedious_client.cjs")
    })
    .await;
}

#[tokio::test]
async fn freetds() {
    let present = Command::new("tsql").arg("-C").output().is_ok();
    run("FreeTDS", present, |command, port, tls| {
        command.arg("bash").arg(script("freetds.sh"));
        command.arg(port.to_string()).args([PASSWORD, if tls { "tls" } else { "plain" }]);
        script("freetds.sh")
    })
    .await;
}

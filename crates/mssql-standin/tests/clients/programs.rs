//! Clients that are programs: each runs its script against a server, and fails with what it prints.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use logferry_mssql_standin::tds::Encryption;

use crate::double::PASSWORD;
use crate::{served, server};

/// What is behind the server that a client talks to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// What TDS can say, T-SQL or not.
    Double,
    /// T-SQL over tables.
    Tables,
}

/// Where `setup` puts them.
fn installed() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent");
    target.join("clients")
}

/// Runs a program unless it is missing; it gets the port, the password and whether TLS is to be used.
async fn run(client: &str, present: bool, behind: Behind, command: impl Fn(&mut Command, u16, bool) -> PathBuf) {
    if !present {
        let text = format!("{client} is not installed: run crates/mssql-standin/tests/clients/setup");
        assert!(std::env::var_os("LOGFERRY_CLIENTS").is_none_or(|value| value != "required"), "{text}");
        eprintln!("SKIPPED: {text}");
        return;
    }
    let all = [Encryption::NotSupported, Encryption::Supported, Encryption::Required];
    for &encryption in if behind == Behind::Double { &all[..] } else { &all[1..] } {
        let (_double, _tables);
        let port = match behind {
            Behind::Double => {
                _double = server(encryption).await;
                _double.address().port()
            }
            Behind::Tables => {
                _tables = served::with_all_types(encryption);
                _tables.address().port()
            }
        };
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

async fn python(client: &str, module: &str, behind: Behind, file: &str) {
    let python = installed().join("python/bin/python");
    let present = std::fs::read_dir(installed().join("python/lib")).is_ok_and(|mut versions| {
        versions.any(|version| version.is_ok_and(|version| version.path().join("site-packages").join(module).exists()))
    });
    run(client, present, behind, |command, port, tls| {
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
    python("pymssql", "pymssql", Behind::Double, "pymssql_client.py").await;
}

#[tokio::test]
async fn pymssql_and_tables() {
    python("pymssql", "pymssql", Behind::Tables, "pymssql_tables.py").await;
}

#[tokio::test]
async fn python_tds() {
    python("python-tds", "pytds", Behind::Double, "python_tds_client.py").await;
}

#[tokio::test]
async fn python_tds_and_tables() {
    python("python-tds", "pytds", Behind::Tables, "python_tds_tables.py").await;
}

#[tokio::test]
async fn mssql_python() {
    python("mssql-python", "mssql_python", Behind::Double, "mssql_python_client.py").await;
}

#[tokio::test]
async fn mssql_python_and_tables() {
    python("mssql-python", "mssql_python", Behind::Tables, "mssql_python_tables.py").await;
}

async fn node(behind: Behind, file: &str) {
    let modules = installed().join("node_modules");
    run("tedious", modules.join("tedious").is_dir(), behind, |command, port, tls| {
        command.arg("node").arg(script(file));
        command.arg(port.to_string()).args([PASSWORD, if tls { "tls" } else { "plain" }]);
        command.env("NODE_PATH", &modules);
        script(file)
    })
    .await;
}

#[tokio::test]
async fn tedious() {
    node(Behind::Double, "tedious_client.cjs").await;
}

#[tokio::test]
async fn tedious_and_tables() {
    node(Behind::Tables, "tedious_tables.cjs").await;
}

async fn shell(behind: Behind, file: &str) {
    let present = Command::new("tsql").arg("-C").output().is_ok();
    run("FreeTDS", present, behind, |command, port, tls| {
        command.arg("bash").arg(script(file));
        command.arg(port.to_string()).args([PASSWORD, if tls { "tls" } else { "plain" }]);
        script(file)
    })
    .await;
}

#[tokio::test]
async fn freetds() {
    shell(Behind::Double, "freetds.sh").await;
}

#[tokio::test]
async fn freetds_and_tables() {
    shell(Behind::Tables, "freetds_tables.sh").await;
}

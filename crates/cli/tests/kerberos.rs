//! Kerberos, with a domain of its own on this machine: MIT's KDC, the stand-in with a keytab, and two clients, of which FreeTDS is not ours.
//!
//! `cargo test -p logferry --features kerberos --test kerberos`. Asks for Debian's `krb5-kdc`, `krb5-admin-server` and `freetds-bin`.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use logferry_testkit::postgres::PrivatePostgres;

const REALM: &str = "LOGFERRY.TEST";

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may be over already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A domain.
struct Domain {
    folder: tempfile::TempDir,
    _kdc: Running,
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

impl Domain {
    fn begin() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (at, port) = (folder.path().display(), free_port());
        let client = format!(
            "[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n rdns = false\n \
             dns_canonicalize_hostname = false\n[realms]\n {REALM} = {{\n  kdc = 127.0.0.1:{port}\n }}\n[domain_realm]\n localhost = {REALM}\n"
        );
        let server = format!(
            "[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n[realms]\n {REALM} = {{\n  \
             database_name = {at}/principal\n  key_stash_file = {at}/stash\n }}\n"
        );
        std::fs::write(folder.path().join("krb5.conf"), client).expect("written");
        std::fs::write(folder.path().join("kdc.conf"), server).expect("written");
        let made = command_in(folder.path(), "/usr/sbin/kdb5_util")
            .args(["-r", REALM, "create", "-s", "-P", "a private domain"])
            .output()
            .expect("krb5-kdc is installed");
        assert!(made.status.success(), "{}", text(&made));
        let kdc = command_in(folder.path(), "/usr/sbin/krb5kdc").args(["-n", "-r", REALM]).spawn().expect("a KDC");
        let domain = Domain { folder, _kdc: Running(kdc) };
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return domain;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the KDC does not listen");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, program: &str) -> Command {
        command_in(self.folder.path(), program)
    }

    /// A principal with a random key, and the keytab that has it.
    fn principal(&self, name: &str, keytab: &str) {
        for query in [format!("addprinc -randkey {name}"), format!("ktadd -k {} {name}", self.path(keytab).display())] {
            let done = self.command("/usr/sbin/kadmin.local").args(["-r", REALM, "-q", &query]).output();
            let done = done.expect("krb5-admin-server is installed");
            assert!(done.status.success(), "{query}: {}", text(&done));
        }
        assert!(self.path(keytab).exists(), "{keytab} of {name}");
    }

    /// What the library of the process finds its domain and its credentials by.
    fn as_user(&self, command: &mut Command, keytab: &str) {
        command.env("KRB5_CLIENT_KTNAME", self.path(keytab));
        command.env("KRB5CCNAME", format!("FILE:{}", self.path(&format!("{keytab}.cache")).display()));
    }
}

fn command_in(folder: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("KRB5_CONFIG", folder.join("krb5.conf")).env("KRB5_KDC_PROFILE", folder.join("kdc.conf"));
    command
}

const PASSWORD: &str = "A.pass;w0rd";

/// A stand-in that accepts tickets, and its port.
fn standin(domain: &Domain) -> (Running, u16) {
    let data = domain.path("data");
    let mut command = domain.command(env!("CARGO_BIN_EXE_logferry"));
    command.args(["standin", "--port", "0", "--password", PASSWORD, "--data"]).arg(&data);
    command.env("KRB5_KTNAME", domain.path("server.keytab")).env("KRB5RCACHEDIR", domain.folder.path());
    let mut child = command.stdout(Stdio::piped()).spawn().expect("a stand-in");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(';').next()?.parse().ok());
    (Running(child), port.unwrap_or_else(|| panic!("no port in {line}")))
}

/// FreeTDS, without a name and a password.
fn tsql(domain: &Domain, port: u16, keytab: &str, batch: &str) -> String {
    let conf = domain.path("freetds.conf");
    let settings = format!(
        "[standin]\n host = localhost\n port = {port}\n tds version = 7.4\n encryption = require\n spn = MSSQLSvc/localhost:{port}\n"
    );
    std::fs::write(&conf, settings).expect("written");
    let mut command = domain.command("tsql");
    domain.as_user(&mut command, keytab);
    command.args(["-S", "standin", "-o", "fhq"]).env("FREETDSCONF", conf);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("freetds-bin is installed");
    writeln!(child.stdin.take().expect("its input"), "{batch}\nGO").expect("written");
    text(&child.wait_with_output().expect("it ends"))
}

/// `logferry run`, by Kerberos.
fn run(domain: &Domain, port: u16, keytab: &str, url: &str) -> Output {
    let task = domain.path("shop.yaml");
    let source =
        format!("mode: snapshot, host: localhost, port: {port}, database: shop, kerberos: true, tls: {{trust: true}}");
    std::fs::write(&task, format!("task: shop\nsource: {{{source}}}\ntarget: {{url: \"{url}\"}}\n")).expect("written");
    let mut command = domain.command(env!("CARGO_BIN_EXE_logferry"));
    domain.as_user(&mut command, keytab);
    command.arg("run").arg(task).stdin(Stdio::null()).output().expect("it runs")
}

#[test]
fn a_ticket_stands_in_the_place_of_user_and_password() {
    let domain = Domain::begin();
    domain.principal("logferry", "client.keytab");
    // There must be some keytab before the port is known.
    domain.principal("host/localhost", "server.keytab");
    let (_standin, port) = standin(&domain);
    domain.principal(&format!("MSSQLSvc/localhost:{port}"), "server.keytab");

    let said = tsql(&domain, port, "client.keytab", "CREATE DATABASE shop");
    assert!(!said.contains("Msg") && !said.contains("rror"), "{said}");
    let made = "USE shop; CREATE TABLE t (id int PRIMARY KEY, v nvarchar(9)); INSERT t VALUES (1, N'one'), (2, N'two'); SELECT COUNT(*) FROM t";
    let said = tsql(&domain, port, "client.keytab", made);
    assert!(said.lines().any(|line| line.trim() == "2"), "{said}");

    let postgres = PrivatePostgres::shared();
    let database = postgres.create_database().expect("a database");
    let output = run(&domain, port, "client.keytab", &database.url());
    assert!(output.status.success(), "{}", text(&output));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("one");
    let rows: i64 = runtime.block_on(async {
        let client = database.client().await.expect("a connection");
        client.query_one("SELECT count(*) FROM dbo.t", &[]).await.expect("the rows").get(0)
    });
    assert_eq!(rows, 2);

    // Nobody has a ticket: the system's library says why.
    let output = run(&domain, port, "nosuch.keytab", &database.url());
    let said = text(&output);
    assert!(!output.status.success() && said.contains("by Kerberos"), "{said}");
    assert!(said.contains("kinit"), "{said}");
    // The client has one, and the server does not know it: its key is another by now.
    domain.principal(&format!("MSSQLSvc/localhost:{port}"), "other.keytab");
    std::fs::remove_file(domain.path("client.keytab.cache")).expect("the tickets of before");
    let said = tsql(&domain, port, "client.keytab", "SELECT 1");
    assert!(said.contains("untrusted domain"), "{said}");
    let output = run(&domain, port, "client.keytab", &database.url());
    assert!(!output.status.success() && text(&output).contains("untrusted domain"), "{}", text(&output));
}

//! Backups in object storage through the binary: the same rows as from a folder, whatever breaks on the way.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use logferry_mssql_standin_storage::workload::{WorkloadOptions, generate_chain};
use logferry_testkit::http_proxy::{HttpFault, HttpProxy};
use logferry_testkit::objects::ObjectServer;
use logferry_testkit::postgres::{Database, PrivatePostgres};

const BUCKET: &str = "backups";

fn chain(name: &str, seed: u64, folder: &Path) -> Vec<PathBuf> {
    std::fs::create_dir_all(folder).expect("a folder");
    let mut options = WorkloadOptions { initial_rows: 300, steps: 300, logs: 3, ..WorkloadOptions::default() };
    options.database.name = name.to_owned();
    generate_chain(seed, &options, folder).expect("a chain").files.into_iter().map(|f| f.path).collect()
}

fn upload(server: &ObjectServer, prefix: &str, file: &Path) {
    let name = file.file_name().and_then(|n| n.to_str()).expect("a name");
    let bytes = std::fs::read(file).expect("a backup");
    server.put(BUCKET, &format!("{prefix}/{name}"), &bytes).expect("put");
}

/// The binary with nothing of AWS's tools around it but what is given.
fn command(args: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_") || name == "LOGFERRY_LOG") {
        command.env_remove(name);
    }
    command.args(args).env("HOME", "/nonexistent").envs(environment.iter().copied()).stdin(Stdio::null());
    command
}

async fn run(args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = command(args, environment);
    tokio::task::spawn_blocking(move || command.output().expect("the binary runs")).await.expect("no panic")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// All rows of all tables of some schemas, as one text for each table.
async fn rows(database: &Database<'_>, schemas: &str) -> Vec<(String, i64, String)> {
    let client = database.client().await.expect("a connection");
    let sql = format!("SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE {schemas} ORDER BY 1");
    let mut all = Vec::new();
    for row in client.query(&sql, &[]).await.expect("the tables") {
        let table: String = row.get(0);
        let sql = format!(
            "SELECT count(*), coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\")), '') FROM {table} t"
        );
        let found = client.query_one(&sql, &[]).await.expect("its rows");
        all.push((table, found.get(0), found.get(1)));
    }
    all
}

const OURS: &str = "schemaname NOT IN ('pg_catalog', 'information_schema', 'logferry')";

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_objects_gives_the_rows_of_its_files() {
    let Some(server) = ObjectServer::start() else { return };
    server.bucket(BUCKET).expect("a bucket");
    let proxy = HttpProxy::before(server.port()).await.expect("a free port");
    let folder = tempfile::tempdir().expect("a folder");
    let files = chain("Shop", 11, folder.path());
    for file in &files {
        upload(&server, "shop", file);
    }
    let postgres = PrivatePostgres::shared();
    let (here, there) = (postgres.create_database().expect("one"), postgres.create_database().expect("two"));
    let output = run(&["run", "--to", &here.url(), "--from", folder.path().to_str().expect("UTF-8")], &[]).await;
    assert!(output.status.success(), "{}", said(&output));

    let url = proxy.url();
    let environment =
        [("AWS_ACCESS_KEY_ID", "anybody"), ("AWS_SECRET_ACCESS_KEY", "hunter2"), ("AWS_ENDPOINT_URL", &url)];
    proxy.fail("GET /backups/shop", 3, HttpFault::Status(500, "InternalError"));
    proxy.fail("GET /backups/shop", 3, HttpFault::Cut(50_000));
    let from = "s3://backups/shop";
    let output = run(&["run", "--to", &there.url(), "--from", from], &environment).await;
    assert!(output.status.success() && proxy.is_spent(), "{}", said(&output));
    let expect = rows(&here, OURS).await;
    assert!(expect.iter().any(|(_, count, _)| *count > 300), "{expect:?}");
    assert_eq!(rows(&there, OURS).await, expect);

    let output = run(&["inspect", from], &environment).await;
    assert!(output.status.success(), "{}", said(&output));
    for file in &files {
        let name = format!("{from}/{}", file.file_name().and_then(|n| n.to_str()).expect("a name"));
        assert!(said(&output).contains(&name), "{}", said(&output));
    }
    // What cannot be read is told with its name and place, and nothing is written.
    let nothing = postgres.create_database().expect("three");
    proxy.fail("GET /backups/shop", 1000, HttpFault::Status(403, "AccessDenied"));
    let output = run(&["run", "--to", &nothing.url(), "--from", from], &environment).await;
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let text = said(&output);
    assert!(text.contains("s3://backups/shop/") && text.contains("at offset 0") && text.contains("hint: "), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    assert_eq!(rows(&nothing, OURS).await, []);
}

/// A task's file: all databases of a bucket by an assumed role, and what arrives later.
#[tokio::test(flavor = "multi_thread")]
async fn a_watched_bucket_with_all_databases_by_a_role() {
    let Some(server) = ObjectServer::start() else { return };
    server.bucket(BUCKET).expect("a bucket");
    let folder = tempfile::tempdir().expect("a folder");
    let (shop, stock) = (folder.path().join("Shop"), folder.path().join("stock"));
    let (shop, stock) = (chain("Shop", 12, &shop), chain("stock", 13, &stock));
    for file in shop[..2].iter().chain(&stock) {
        let into = if stock.contains(file) { "all/stock" } else { "all/Shop" };
        upload(&server, into, file);
    }
    let (id, secret, arn) = server.user_and_role().expect("a user and a role");
    let postgres = PrivatePostgres::shared();
    let (here, there) = (postgres.create_database().expect("one"), postgres.create_database().expect("two"));
    let everything = folder.path().to_str().expect("UTF-8");
    let output = run(&["run", "--to", &here.url(), "--database", "*", "--from", everything], &[]).await;
    assert!(output.status.success(), "{}", said(&output));

    let task = folder.path().join("t.yaml");
    let yaml = format!(
        "task: all
source:
  mode: backup
  files: ['s3://backups/all/']
  database: '*'
  watch: true
  watch_seconds: 1
  object_storage:
    endpoint: {url}
    access_key: {id}
    secret_key: ${{SECRET}}
    role: {{arn: '{arn}', external_id: shop}}
    sts_endpoint: {url}
    memory_mb: 8
target: {{url: '{target}'}}
",
        url = server.url(),
        target = there.url()
    );
    std::fs::write(&task, yaml).expect("a file");
    // Written while nobody checks; from then on only the role may read.
    let last = (shop[2].clone(), shop[3].clone());
    let mut child = command(&["run", task.to_str().expect("UTF-8")], &[("SECRET", &secret)])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    upload(&server, "all/Shop", &last.0);
    upload(&server, "all/Shop", &last.1);
    server.check_credentials().expect("it does");
    let expect = rows(&here, OURS).await;
    let began = Instant::now();
    while rows(&there, OURS).await != expect {
        assert!(began.elapsed() < Duration::from_secs(120), "the rows do not come");
        assert_eq!(child.try_wait().expect("it was started"), None, "it has ended");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let asked = Command::new("kill").arg(child.id().to_string()).status().expect("kill runs");
    assert!(asked.success() && child.wait().expect("it ends").success());
}

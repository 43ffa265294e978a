//! The private PostgreSQL starts, stops, and leaves nothing behind.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use logferry_testkit::postgres::{Error, Options, PrivatePostgres};

#[tokio::test]
async fn databases_are_apart_and_data_outlives_a_crash() {
    let cluster = PrivatePostgres::start().unwrap();
    let (a, b) = (cluster.create_database().unwrap(), cluster.create_database().unwrap());
    assert_ne!(a.name(), b.name());
    a.client().await.unwrap().batch_execute("CREATE TABLE t(i int); INSERT INTO t VALUES (7)").await.unwrap();
    assert!(b.client().await.unwrap().batch_execute("SELECT * FROM t").await.is_err());
    for end in [PrivatePostgres::stop, PrivatePostgres::crash] {
        end(&cluster);
        assert!(a.client().await.is_err());
        cluster.restart().unwrap();
        let row = a.client().await.unwrap().query_one("SELECT i FROM t", &[]).await.unwrap();
        assert_eq!(row.get::<_, i32>(0), 7);
    }
    // By TCP, with the password of the URL, and not without it.
    let (client, connection) = tokio_postgres::connect(&a.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("SELECT * FROM t").await.unwrap();
    let bare = format!("postgres://postgres@127.0.0.1:{}/postgres", cluster.port());
    assert!(tokio_postgres::connect(&bare, tokio_postgres::NoTls).await.is_err());
    let data = cluster.data_dir().to_owned();
    drop(cluster);
    assert!(!data.exists());
}

#[test]
fn a_named_directory_is_kept_and_used_again() {
    let parent = tempfile::tempdir().unwrap();
    // Root hands the cluster to another user, who has to get there.
    std::fs::set_permissions(parent.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let options = || Options { data_dir: Some(parent.path().join("demo")), ..Options::default() };
    let first = PrivatePostgres::start_with(options()).unwrap();
    first.execute("CREATE TABLE kept()").unwrap();
    drop(first);
    let second = PrivatePostgres::start_with(options()).unwrap();
    second.execute("SELECT * FROM kept").unwrap();
    let refused = second.execute("SELECT * FROM gone").unwrap_err().to_string();
    assert!(refused.contains("relation \"gone\" does not exist"), "{refused}");
}

#[test]
fn what_is_missing_is_named() {
    let options = Options { bin_dir: Some("/nonexistent".into()), ..Options::default() };
    let error = PrivatePostgres::start_with(options).unwrap_err();
    assert!(matches!(error, Error::Program { .. }) && error.to_string().contains("/nonexistent/initdb"), "{error}");
    let options = Options { settings: vec![("no_such_setting".into(), "1".into())], ..Options::default() };
    let error = PrivatePostgres::start_with(options).unwrap_err().to_string();
    assert!(error.contains("no_such_setting"), "{error}");
}

/// This test runs itself as another process, which starts a cluster and is killed.
#[test]
fn nothing_is_left_when_the_owner_is_killed() {
    if std::env::var_os("LOGFERRY_TEST_OWNER").is_some() {
        let cluster = PrivatePostgres::start().unwrap();
        println!("data={}", cluster.data_dir().display());
        std::thread::sleep(Duration::from_secs(60));
        panic!("nobody killed the owner");
    }
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "nothing_is_left_when_the_owner_is_killed", "--nocapture"])
        .env("LOGFERRY_TEST_OWNER", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines().map_while(Result::ok);
    let data = lines.into_iter().find_map(|l| l.split_once("data=").map(|(_, d)| d.to_owned())).unwrap();
    let pid = std::fs::read_to_string(Path::new(&data).join("postmaster.pid")).unwrap();
    let proc_dir = Path::new("/proc").join(pid.lines().next().unwrap());
    assert!(proc_dir.exists());
    owner.kill().unwrap();
    owner.wait().unwrap();
    let began = Instant::now();
    while proc_dir.exists() || Path::new(&data).parent().unwrap().exists() {
        assert!(began.elapsed() < Duration::from_secs(20), "{data} or its server is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

//! The full copy of a running server's table, beside what the parts of that work cost alone, and beside others who do it.
//!
//! The server is the stand-in, in this process: on two cores its own work is part of every number but the second. The bare client reads
//! the same rows and throws them away, without TLS. `freebcp` writes the rows as text, which goes straight into `COPY`; `pgloader` copies the table.
//! Who is not installed is left out, and that is said.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use logferry_mssql_standin::serve::{Standin, StandinConfig};
use logferry_mssql_standin::tds::Encryption;
use logferry_testkit::postgres::{Database, Options, PrivatePostgres};
use tiberius::{AuthMethod, Client, Config, EncryptionLevel};
use tokio_util::compat::TokioAsyncWriteCompatExt;

use crate::process::{Took, took};
use crate::{Sizes, data, median, shown};

/// Without signs that URLs would have to escape.
const PASSWORD: &str = "bench";

pub async fn run(sizes: Sizes) {
    println!("\n== a running server ==");
    let mut config = StandinConfig { password: PASSWORD.to_owned(), ..StandinConfig::default() };
    config.tds.encryption = Encryption::Supported;
    let standin = Standin::with(config).expect("a stand-in");
    standin.sql().adopt_database("shop", data::database(sizes.rows));
    let settings = vec![("shared_buffers".into(), "256MB".into()), ("max_wal_size".into(), "4GB".into())];
    let cluster = PrivatePostgres::start_with(Options { settings, ..Options::default() }).expect("a PostgreSQL");
    let folder = tempfile::tempdir().expect("a temporary folder");

    let first = cluster.create_database().expect("a database");
    logferry(&standin, &first, folder.path());
    let client = first.client().await.expect("a connection");
    let file = cluster.data_dir().join("bench.copy");
    let file = file.display();
    client.batch_execute(&format!("COPY dbo.bench TO '{file}' (FORMAT binary)")).await.expect("the file is written");

    let (mut bare, mut in_place, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    let (mut piped, mut loaded) = (Vec::new(), Vec::new());
    let (mut cpu, mut peak) = (Duration::ZERO, 0);
    for _ in 0..sizes.rounds {
        bare.push(read(&standin, sizes.rows).await);
        client
            .batch_execute("DROP TABLE IF EXISTS t; CREATE TABLE t (LIKE dbo.bench INCLUDING INDEXES); CHECKPOINT")
            .await
            .expect("a table");
        let began = Instant::now();
        client.batch_execute(&format!("COPY t FROM '{file}' (FORMAT binary)")).await.expect("it is copied");
        in_place.push(began.elapsed());
        client.batch_execute("DROP TABLE t; CHECKPOINT").await.expect("room");

        let fresh = cluster.create_database().expect("a database");
        let took = logferry(&standin, &fresh, folder.path());
        ours.push(took.wall);
        (cpu, peak) = (cpu.max(took.cpu), peak.max(took.peak));
        drop_checked(&cluster, fresh, "dbo.bench", sizes.rows).await;
        if installed("freebcp") {
            let fresh = cluster.create_database().expect("a database");
            piped.push(freebcp(&standin, &fresh, folder.path()).await);
            drop_checked(&cluster, fresh, "bench", sizes.rows).await;
        }
        if installed("pgloader") {
            let fresh = cluster.create_database().expect("a database");
            loaded.push(pgloader(&standin, &fresh, folder.path()));
            drop_checked(&cluster, fresh, "dbo.bench", sizes.rows).await;
        }
    }
    println!("bare tiberius, rows thrown away      {}", shown(&mut bare));
    println!("COPY from a file, key in place       {}", shown(&mut in_place));
    println!("logferry run, mode snapshot, whole   {}", shown(&mut ours));
    let ratio = |other: &mut [Duration]| median(&mut ours.clone()).as_secs_f64() / median(other).as_secs_f64();
    println!("logferry : bare read {:.2}, : COPY {:.2}", ratio(&mut bare), ratio(&mut in_place));
    for (name, times) in [("freebcp piped to COPY", &mut piped), ("pgloader", &mut loaded)] {
        match times.is_empty() {
            true => println!("{name:<37}is not installed"),
            false => println!("{name:<37}{}; {:.2} x logferry", shown(times), 1.0 / ratio(times)),
        }
    }
    println!(
        "logferry's own: {:.2} s of processor time, {:.1} MB of memory at the most",
        cpu.as_secs_f64(),
        peak as f64 / 1e6
    );
}

/// Reads all rows as tiberius hands them out.
async fn read(standin: &Standin, rows: u32) -> Duration {
    let mut config = Config::new();
    config.host("127.0.0.1");
    config.port(standin.address().port());
    config.database("shop");
    config.authentication(AuthMethod::sql_server(standin.user(), standin.password()));
    config.encryption(EncryptionLevel::NotSupported);
    config.packet_size(16_000);
    let began = Instant::now();
    let tcp = tokio::net::TcpStream::connect(config.get_addr()).await.expect("it listens");
    let mut client = Client::connect(config, tcp.compat_write()).await.expect("it lets us in");
    let mut stream = client.simple_query("SELECT * FROM dbo.Bench").await.expect("rows").into_row_stream();
    let mut count = 0;
    while stream.try_next().await.expect("a row").is_some() {
        count += 1;
    }
    assert_eq!(count, rows);
    began.elapsed()
}

fn logferry(standin: &Standin, database: &Database<'_>, folder: &Path) -> Took {
    let task = folder.join("task.yaml");
    let (port, user, url) = (standin.address().port(), standin.user(), database.url());
    let text = format!(
        "task: bench\nsource: {{mode: snapshot, host: 127.0.0.1, port: {port}, database: shop, user: {user}, \
         password: {PASSWORD}, tls: {{trust: true}}}}\ntarget: {{url: \"{url}\"}}\n"
    );
    std::fs::write(&task, text).expect("the task is written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
    command.arg("run").arg(task);
    took(command)
}

async fn drop_checked(cluster: &PrivatePostgres, database: Database<'_>, table: &str, rows: u32) {
    let client = database.client().await.expect("a connection");
    let count = client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.expect("a count");
    assert_eq!(count.get::<_, i64>(0), i64::from(rows), "{table}");
    cluster.execute(&format!("DROP DATABASE \"{}\" WITH (FORCE)", database.name())).expect("it can be dropped");
}

fn installed(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn free_tds(folder: &Path, port: u16) -> std::path::PathBuf {
    let settings = folder.join("freetds.conf");
    let text = format!(
        "[global]\ntds version = 7.4\nclient charset = UTF-8\nencryption = off\n[standin]\nhost = 127.0.0.1\nport = {port}\n"
    );
    std::fs::write(&settings, text).expect("it is written");
    settings
}

/// The rows as text, through a pipe with a name, into a COPY. Times in FreeTDS's own form would not be read: they are taken as text.
async fn freebcp(standin: &Standin, database: &Database<'_>, folder: &Path) -> Duration {
    let settings = free_tds(folder, standin.address().port());
    let pipe = folder.join("pipe");
    std::fs::remove_file(&pipe).ok();
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let client = database.client().await.expect("a connection");
    let columns: Vec<String> = (0..10).map(|n| format!("c{n} text")).collect();
    client.batch_execute(&format!("CREATE TABLE bench ({})", columns.join(", "))).await.expect("a table");
    // Whoever may read the pipe is the server, or its user.
    let readable = Command::new("chmod").args(["a+rx"]).arg(folder).arg(&pipe).status();
    assert!(readable.expect("chmod runs").success());
    let began = Instant::now();
    let mut child = Command::new("freebcp")
        .args(["shop.dbo.Bench", "out"])
        .arg(&pipe)
        .args(["-S", "standin", "-U", standin.user(), "-P", PASSWORD, "-c", "-t", "|"])
        .env("FREETDSCONF", settings)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("freebcp runs");
    let copy = format!("COPY bench FROM '{}' (FORMAT text, DELIMITER '|')", pipe.display());
    client.batch_execute(&copy).await.expect("it is copied");
    assert!(child.wait().expect("it ends").success());
    began.elapsed()
}

fn pgloader(standin: &Standin, database: &Database<'_>, folder: &Path) -> Duration {
    let settings = free_tds(folder, standin.address().port());
    let began = Instant::now();
    let output = Command::new("pgloader")
        .env("FREETDSCONF", settings)
        .env("TDSPORT", standin.address().port().to_string())
        .arg(format!("mssql://{}:{PASSWORD}@127.0.0.1/shop", standin.user()))
        .arg(database.url().replace("postgres://", "postgresql://"))
        .output()
        .expect("pgloader runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    began.elapsed()
}

//! The full copy from a backup, beside `COPY ... BINARY` of the same rows from a file by the server itself.
//!
//! All in one server that waits for the disk, in turns. The run of logferry is a whole one: it opens and checks the file, makes the
//! schema, copies, adds the key, collects statistics and writes the first checkpoint.

use std::time::{Duration, Instant};

use logferry_testkit::postgres::{Options, PrivatePostgres};

use crate::process::logferry;
use crate::{Sizes, data, median, shown};

pub async fn run(sizes: Sizes) {
    println!("\n== copy ==");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let backups = data::backups(sizes, 0, folder.path());
    let settings = vec![("shared_buffers".into(), "256MB".into()), ("max_wal_size".into(), "4GB".into())];
    let cluster = PrivatePostgres::start_with(Options { settings, ..Options::default() }).expect("a PostgreSQL");
    let database = cluster.create_database().expect("a database");
    logferry(&[&backups.full], &database.url());
    let client = database.client().await.expect("a connection");
    let file = cluster.data_dir().join("bench.copy");
    let file = file.display();
    let sql = format!("COPY dbo.bench TO '{file}' (FORMAT binary)");
    client.batch_execute(&sql).await.expect("the file is written");
    let size = client.query_one(&format!("SELECT (pg_stat_file('{file}')).size"), &[]).await.expect("its size");
    println!("{:.1} MB as COPY BINARY", size.get::<_, i64>(0) as f64 / 1e6);

    let (mut in_place, mut after, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    let (mut cpu, mut peak) = (Duration::ZERO, 0);
    for _ in 0..sizes.rounds {
        let copy = format!("COPY t FROM '{file}' (FORMAT binary)");
        let timed = async |prepare: &str, steps: &[&str]| {
            client.batch_execute(&format!("DROP TABLE IF EXISTS t; {prepare}; CHECKPOINT")).await.expect("a table");
            let began = Instant::now();
            for step in steps {
                client.batch_execute(step).await.expect("the server does it");
            }
            began.elapsed()
        };
        in_place.push(timed("CREATE TABLE t (LIKE dbo.bench INCLUDING INDEXES)", &[&copy]).await);
        let key = "ALTER TABLE t ADD PRIMARY KEY (id)";
        after.push(timed("CREATE TABLE t (LIKE dbo.bench)", &[&copy, key]).await);
        client.batch_execute("DROP TABLE t; CHECKPOINT").await.expect("room");
        let fresh = cluster.create_database().expect("a database");
        let took = logferry(&[&backups.full], &fresh.url());
        ours.push(took.wall);
        cpu = cpu.max(took.cpu);
        peak = peak.max(took.peak);
        let count = fresh.client().await.expect("a connection").query_one("SELECT count(*) FROM dbo.bench", &[]).await;
        assert_eq!(count.expect("a count").get::<_, i64>(0), i64::from(sizes.rows));
        cluster.execute(&format!("DROP DATABASE \"{}\" WITH (FORCE)", fresh.name())).expect("it can be dropped");
    }
    println!("COPY from a file, key in place       {}", shown(&mut in_place));
    println!("COPY from a file, key added after    {}", shown(&mut after));
    println!("logferry run, whole                  {}", shown(&mut ours));
    let ratio = |other: &mut [Duration]| median(&mut ours.clone()).as_secs_f64() / median(other).as_secs_f64();
    println!("logferry : key in place {:.2}, : key added after {:.2}", ratio(&mut in_place), ratio(&mut after));
    println!(
        "logferry's own: {:.2} s of processor time, {:.1} MB of memory at the most",
        cpu.as_secs_f64(),
        peak as f64 / 1e6
    );
}

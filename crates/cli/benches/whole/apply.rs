//! Changes from a log backup into rows of PostgreSQL, by the whole program.

use std::time::Duration;

use logferry_testkit::postgres::{Options, PrivatePostgres};

use crate::process::logferry;
use crate::{Sizes, data, median, shown};

pub async fn run(sizes: Sizes) {
    println!("\n== apply ==");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let backups = data::backups(sizes, sizes.changes, folder.path());
    let settings = vec![("shared_buffers".into(), "256MB".into()), ("max_wal_size".into(), "4GB".into())];
    let cluster = PrivatePostgres::start_with(Options { settings, ..Options::default() }).expect("a PostgreSQL");
    let (mut walls, mut cpu, mut peak) = (Vec::new(), Duration::ZERO, 0);
    for _ in 0..sizes.rounds {
        let database = cluster.create_database().expect("a database");
        logferry(&[&backups.full], &database.url());
        database.client().await.expect("a connection").batch_execute("CHECKPOINT").await.expect("a checkpoint");
        let took = logferry(&[&backups.full, &backups.log], &database.url());
        walls.push(took.wall);
        cpu = cpu.max(took.cpu);
        peak = peak.max(took.peak);
        cluster.execute(&format!("DROP DATABASE \"{}\" WITH (FORCE)", database.name())).expect("it can be dropped");
    }
    let wall = median(&mut walls);
    println!(
        "{} changes, half of them updates, in transactions of ten: {}  {:.0} rows/s",
        backups.changes,
        shown(&mut walls),
        f64::from(backups.changes) / wall.as_secs_f64()
    );
    println!(
        "logferry's own: {:.2} s of processor time, {:.1} MB of memory at the most",
        cpu.as_secs_f64(),
        peak as f64 / 1e6
    );
}

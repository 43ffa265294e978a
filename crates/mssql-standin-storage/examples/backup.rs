//! Makes a full backup with one large table, and says how long that took:
//! `cargo run --release -p logferry-mssql-standin-storage --example backup -- 1000000 bench.bak`

use std::path::PathBuf;
use std::time::Instant;

use logferry_mssql_standin_storage::workload::bench_database;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let usage = "give a number of rows and a file";
    let rows: u32 = args.next().ok_or(usage)?.parse()?;
    let path = PathBuf::from(args.next().ok_or(usage)?);
    let start = Instant::now();
    let (mut db, _) = bench_database(rows, 1)?;
    let loaded = start.elapsed();
    db.backup_full(&path)?;
    let bytes = std::fs::metadata(&path)?.len();
    println!("{rows} rows loaded in {loaded:.2?}, {bytes} bytes written in {:.2?}", start.elapsed() - loaded);
    Ok(())
}

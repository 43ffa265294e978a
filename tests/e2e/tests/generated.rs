//! Chains with made-up histories: what the stand-in says is committed after each backup is what the target holds.

use std::path::PathBuf;

use logferry_e2e::{Files, Target};
use logferry_model::{Cell, SqlType};
use logferry_mssql_format::encode::BackupKind;
use logferry_mssql_standin_storage::workload::{Chain, ChainFile, WorkloadOptions, generate_chain};
use logferry_testkit::compare::Expected;

/// Runs a chain file by file, and from nothing to its end, and compares every row each time.
async fn check(seed: u64, options: WorkloadOptions) {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = generate_chain(seed, &options, folder.path()).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    let paths: Vec<PathBuf> = chain.files.iter().map(|f| f.path.clone()).collect();
    let growing = Target::new();
    let mut last = &chain.files[0];
    for (n, file) in chain.files.iter().enumerate() {
        growing.run(&Files::Backups(paths[..=n].to_vec())).await;
        // A target that is there goes on with logs only: what a differential shows, the next log tells.
        if file.kind != BackupKind::Differential {
            last = file;
        }
        compare(&growing, &chain, last, seed).await;
    }
    let fresh = Target::new();
    fresh.run(&Files::Backups(paths)).await;
    compare(&fresh, &chain, &chain.files[chain.files.len() - 1], seed).await;
}

async fn compare(target: &Target, chain: &Chain, file: &ChainFile, seed: u64) {
    let client = target.database.client().await.expect("a connection");
    for def in &chain.tables {
        let name = format!("{}.{}", def.schema, def.name);
        let Some(rows) = file.expected.get(&name) else { continue };
        let mut expected = Expected::of_types(def.columns.iter().map(|c| -> SqlType { c.sql_type.clone() }));
        for row in rows {
            let cells: Vec<Cell<'_>> = row.iter().map(|v| v.as_deref().map_or(Cell::Null, Cell::Bytes)).collect();
            expected.row(&cells);
        }
        let (schema, table) = (def.schema.to_ascii_lowercase(), def.name.to_ascii_lowercase());
        let found = expected.compare(&client, &schema, &table).await.unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert!(found.is_equal(), "seed {seed}, after {}, table {name}: {found:?}", file.path.display());
    }
}

fn small() -> WorkloadOptions {
    WorkloadOptions { initial_rows: 60, steps: 200, logs: 3, ..WorkloadOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_transactions() {
    for seed in 1..=3 {
        check(seed, WorkloadOptions { open_across_backups: false, late_table: true, ..small() }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_stay_open_over_backups() {
    for seed in 11..=13 {
        check(seed, WorkloadOptions { differential_every: 2, ..small() }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_changes_while_it_is_backed_up() {
    for seed in 21..=23 {
        check(seed, WorkloadOptions { fuzzy_full: true, truncate_percent: 30, ..small() }).await;
    }
}

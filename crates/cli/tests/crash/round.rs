//! A generated chain, a fresh database, and the comparison at the end.

use std::path::Path;

use logferry_model::Cell;
use logferry_mssql_standin_storage::workload::{ChainFile, TableKind, WorkloadOptions, generate_chain};
use logferry_testkit::compare::Expected;
use tempfile::TempDir;
use tokio_postgres::Client;

/// A chain of backups in a folder of its own.
#[derive(Debug)]
pub struct History {
    pub seed: u64,
    pub folder: TempDir,
    pub files: Vec<ChainFile>,
}

impl History {
    /// Makes the chain of a seed: its tables, heaps among them, how it was backed up and how long it is all follow from it.
    pub fn generate(seed: u64) -> History {
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        // Many small rows, or few with everything that a row can have.
        let wide = seed.is_multiple_of(5);
        let narrow = vec![TableKind::Keyed, TableKind::Composite, TableKind::Guid, TableKind::Heap];
        let options = WorkloadOptions {
            tables: if wide { TableKind::ALL.to_vec() } else { narrow },
            initial_rows: if wide { 150 } else { 6000 },
            logs: 3,
            steps: if wide { 300 } else { 2500 },
            differential_every: if seed.is_multiple_of(4) { 2 } else { 0 },
            fuzzy_full: seed.is_multiple_of(2),
            late_table: seed.is_multiple_of(3),
            truncate_percent: 20,
            // Tables change their shape, get other names, come and go.
            alter_percent: if seed % 4 < 2 { 80 } else { 0 },
            reshape_percent: 50,
            ..WorkloadOptions::default()
        };
        let chain = generate_chain(seed, &options, folder.path()).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        History { seed, folder, files: chain.files }
    }

    /// The backups.
    pub fn paths(&self) -> Vec<&Path> {
        self.files.iter().map(|f| f.path.as_path()).collect()
    }

    /// Panics unless the target holds exactly the rows that were committed when a file of the chain was made.
    pub async fn assert_target_equals(&self, client: &Client, file: usize, what: &str) {
        let sql = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace \
                   WHERE relkind = 'r' AND relpersistence = 'p' \
                   AND nspname NOT IN ('logferry', 'pg_catalog', 'information_schema')";
        let tables: i64 = client.query_one(sql, &[]).await.expect("the target answers").get(0);
        let expected = &self.files[file].expected;
        assert_eq!(tables as usize, expected.len(), "{what}: tables on the target");
        let mut differences = Vec::new();
        for (name, rows) in expected {
            let def = self.files[file].tables.iter().find(|t| format!("{}.{}", t.schema, t.name) == *name);
            let def = def.expect("every table that has rows is known");
            let mut should = Expected::of_types(def.columns.iter().map(|c| c.sql_type.clone()));
            for row in rows {
                let cells: Vec<Cell<'_>> = row.iter().map(|v| v.as_deref().map_or(Cell::Null, Cell::Bytes)).collect();
                should.row(&cells);
            }
            let (schema, table) = (def.schema.to_lowercase(), def.name.to_lowercase());
            let found = should.compare(client, &schema, &table).await.unwrap_or_else(|e| panic!("{what}: {name}: {e}"));
            if !found.is_equal() {
                differences.push(format!("{name}: {found:?}"));
            }
        }
        assert!(differences.is_empty(), "{what}, seed {}: the target differs:\n{}", self.seed, differences.join("\n"));
    }
}

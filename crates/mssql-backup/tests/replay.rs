//! Replay of real logs: rows read from pages and rows made of changes must be the same, at every point.

mod fixtures;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use logferry_model::{Cell, ChangeOp, ChangeSource, ChunkReader, EventBatch, Fill, RowRef, SourceEvent};
use logferry_mssql_backup::backups::Backups;
use logferry_mssql_backup::chain::{Base, Differentials, PlanOptions};
use logferry_mssql_backup::data_file::DataFiles;
use logferry_mssql_backup::log_file::LogFiles;
use logferry_mssql_backup::scan::read_table;
use logferry_mssql_backup::{BackupSource, Catalog, Changes, Error, PageSource, ReplayOptions};

/// `None`: NULL.
type Row = Vec<Option<Vec<u8>>>;
/// Rows with their number, by object id of the table.
type Tables = BTreeMap<u32, Table>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table {
    name: String,
    rows: BTreeMap<Row, u64>,
}

impl Table {
    fn count(&self) -> u64 {
        self.rows.values().sum()
    }
}

fn plain(cells: &[Cell<'_>]) -> Row {
    cells.iter().map(|cell| cell.bytes().map(<[u8]>::to_vec)).collect()
}

fn on_pages(pages: &dyn PageSource, catalog: &Catalog) -> Tables {
    let mut tables = Tables::new();
    for (index, table) in catalog.tables.iter().enumerate() {
        let out = tables.entry(table.version.id.0).or_default();
        out.name = table.version.name.to_string();
        read_table(&pages, catalog, index, |cells| {
            *out.rows.entry(plain(cells)).or_default() += 1;
            Ok::<_, Error>(())
        })
        .expect("rows");
    }
    tables
}

fn of_files(root: &Path, data: &str, log: &str) -> (DataFiles, LogFiles) {
    (DataFiles::open(&[root.join(data)]).expect("data file"), LogFiles::open(&[root.join(log)]).expect("log file"))
}

/// Makes the changes of a batch in tables.
fn apply(tables: &mut Tables, batch: &EventBatch) {
    for event in &batch.events {
        match event {
            SourceEvent::Table(table) => {
                tables.entry(table.id.0).or_default().name = table.name.to_string();
            }
            SourceEvent::Dropped(table) => {
                tables.remove(&table.id.0);
            }
            SourceEvent::Change(change) => {
                let table = tables.get_mut(&change.table.id.0).expect("changes are of tables that were told");
                let name = table.name.clone();
                match change.op {
                    ChangeOp::Insert { after } => put(table, row(batch, after)),
                    ChangeOp::Update { before, after } => {
                        let old = take(table, batch, before, &name);
                        // What did not change is as it was.
                        let new = batch.rows.row(after).cells().zip(old).map(|(cell, old)| match cell {
                            Cell::Unchanged => old,
                            cell => cell.bytes().map(<[u8]>::to_vec),
                        });
                        put(table, new.collect());
                    }
                    ChangeOp::Delete { before } => {
                        take(table, batch, before, &name);
                    }
                    ChangeOp::Truncate => table.rows.clear(),
                }
            }
            SourceEvent::Begin(_) | SourceEvent::Commit(_) | SourceEvent::Progress(_) => {}
        }
    }
}

fn row(batch: &EventBatch, row: RowRef) -> Row {
    let cells: Vec<Cell<'_>> = batch.rows.row(row).cells().collect();
    assert!(!cells.contains(&Cell::Unchanged), "a new row is complete");
    plain(&cells)
}

fn put(table: &mut Table, row: Row) {
    *table.rows.entry(row).or_default() += 1;
}

/// Takes the row away that an image speaks of.
fn take(table: &mut Table, batch: &EventBatch, image: RowRef, name: &str) -> Row {
    let image = batch.rows.row(image);
    let matches = |row: &Row| {
        image.cells().zip(row).all(|(cell, value)| match cell {
            Cell::Unchanged => true,
            cell => cell.bytes() == value.as_deref(),
        })
    };
    let found = table.rows.keys().find(|row| matches(row)).cloned();
    let found = found.unwrap_or_else(|| panic!("{name} has no such row: {:?}", image.cells().collect::<Vec<_>>()));
    match table.rows.get_mut(&found) {
        Some(1) => drop(table.rows.remove(&found)),
        Some(n) => *n -= 1,
        None => {}
    }
    found
}

fn drain(changes: &mut Changes, tables: &mut Tables) {
    while let Some(batch) = changes.next(4096, 100).expect("next") {
        apply(tables, &batch);
    }
}

#[track_caller]
fn assert_same(found: &Tables, expected: &Tables, what: &str) {
    for (id, table) in expected {
        let empty = Table::default();
        let other = found.get(id).unwrap_or(&empty);
        assert_eq!(other.count(), table.count(), "{what}: rows of {}", table.name);
        for (row, n) in &table.rows {
            assert_eq!(other.rows.get(row), Some(n), "{what}: {} {row:?}", table.name);
        }
    }
    assert_eq!(found.len(), expected.len(), "{what}: tables");
}

/// Every pair of the manifest: data file, log file.
fn pairs(expected: &serde_json::Value) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (data, pair) in expected.as_object().expect("an object").iter().filter(|(k, _)| k.starts_with("pairs/")) {
        let folder = Path::new(data).parent().expect("a folder");
        for log in pair["logs"].as_object().expect("logs").keys() {
            pairs.push((data.clone(), folder.join(log).to_str().expect("a name").to_owned()));
        }
    }
    assert!(pairs.len() >= 10);
    pairs
}

#[test]
fn replaying_the_log_over_its_data_file_changes_no_row() {
    let Some(root) = fixtures::fixtures() else { return };
    for (data, log) in pairs(&fixtures::expected(&root)) {
        let (files, log_files) = of_files(&root, &data, &log);
        let before = on_pages(&files, &Catalog::read(&files).expect("catalog"));
        let mut changes = Changes::of_files(files, log_files, ReplayOptions::default()).expect("replay");
        let mut made = { let catalog = changes.catalog().expect("catalog").clone(); on_pages(changes.pages(), &catalog) };
        let at_begin: Vec<u64> = made.values().map(Table::count).collect();
        drain(&mut changes, &mut made);
        let catalog = changes.catalog().expect("catalog").clone();
        assert_same(&on_pages(changes.pages(), &catalog), &before, &format!("{data} and {log}, pages"));
        assert_same(&made, &before, &format!("{data} and {log}, rows before the log and its changes"));
        eprintln!("{data} {log}: {} tables, {at_begin:?} rows before", before.len());
    }
}

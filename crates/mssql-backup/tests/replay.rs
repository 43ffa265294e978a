//! Replay of real logs: rows read from pages and rows made of changes must be the same, at every point.

mod fixtures;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use logferry_model::{Cell, ChangeOp, ChangeSource, ChunkReader, EventBatch, Fill, RowRef, SourceEvent};
use logferry_mssql_backup::backups::Backups;
use logferry_mssql_backup::chain::{Differentials, PlanOptions};
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
    columns: Vec<u32>,
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

/// `counted`: the counts in sysrowsets must be right.
fn on_pages(pages: &dyn PageSource, catalog: &Catalog, counted: bool) -> Tables {
    let mut tables = Tables::new();
    for (index, table) in catalog.tables.iter().enumerate() {
        if !counted && table.unreadable.is_some() {
            // In the middle of a change of its shape.
            continue;
        }
        let out = tables.entry(table.version.id.0).or_default();
        out.name = table.version.name.to_string();
        out.columns = table.version.columns.iter().map(|c| c.id).collect();
        let count = read_table(&pages, catalog, index, |cells| {
            *out.rows.entry(plain(cells)).or_default() += 1;
            Ok::<_, Error>(())
        })
        .expect("rows");
        if counted {
            assert_eq!(count.read, count.recorded, "rows that sysrowsets has of {}", out.name);
        }
    }
    tables
}

fn of_files(root: &Path, data: &str, log: &str) -> (DataFiles, LogFiles) {
    (DataFiles::open(&[root.join(data)]).expect("data file"), LogFiles::open(&[root.join(log)]).expect("log file"))
}

/// Makes the changes of a batch in tables.
fn apply(tables: &mut Tables, batch: &EventBatch) {
    for event in &batch.events {
        apply_event(tables, batch, event);
    }
}

fn apply_event(tables: &mut Tables, batch: &EventBatch, event: &SourceEvent) {
    match event {
        SourceEvent::Table(table) => {
            let old = tables.remove(&table.id.0).unwrap_or_default();
            let columns: Vec<u32> = table.columns.iter().map(|c| c.id).collect();
            let mut new = Table { name: table.name.to_string(), columns, ..Table::default() };
            for (row, n) in old.rows {
                // A column that is new is NULL; these logs have no defaults.
                let value = |id: &u32| old.columns.iter().position(|c| c == id).and_then(|i| row[i].clone());
                *new.rows.entry(new.columns.iter().map(value).collect()).or_default() += n;
            }
            tables.insert(table.id.0, new);
        }
        SourceEvent::Unreadable { table, lsn, why } => panic!("{} at {lsn}: {why}", table.name),
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
        SourceEvent::Begin(_)
        | SourceEvent::Commit(_)
        | SourceEvent::Progress(_)
        | SourceEvent::Unseen { .. }
        | SourceEvent::Fenced(_) => {}
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
            assert_eq!(other.rows.get(row), Some(n), "{what}: {} {row:?}\nthere are {:?}", table.name, other.rows);
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
    // In memory, and with all that can be in temporary files.
    for options in
        [ReplayOptions::default(), ReplayOptions { pages_max: 0, changes_max: 0, ..ReplayOptions::default() }]
    {
        replay_pairs(options);
    }
}

fn replay_pairs(options: ReplayOptions) {
    let Some(root) = fixtures::fixtures() else { return };
    for (data, log) in pairs(&fixtures::expected(&root)) {
        let (files, log_files) = of_files(&root, &data, &log);
        let before = on_pages(&files, &Catalog::read(&files).expect("catalog"), true);
        let mut changes = Changes::of_files(files, log_files, options).expect("replay");
        let mut made = {
            let catalog = changes.catalog().expect("catalog").clone();
            on_pages(changes.pages(), &catalog, false)
        };
        let at_begin: Vec<u64> = made.values().map(Table::count).collect();
        drain(&mut changes, &mut made);
        let catalog = changes.catalog().expect("catalog").clone();
        assert_same(&on_pages(changes.pages(), &catalog, true), &before, &format!("{data} and {log}, pages"));
        assert_same(&made, &before, &format!("{data} and {log}, rows before the log and its changes"));
        eprintln!("{data} {log}: {} tables, {at_begin:?} rows before", before.len());
    }
}

#[test]
fn at_every_point_the_rows_on_pages_without_open_transactions_are_the_committed_ones() {
    let Some(root) = fixtures::fixtures() else { return };
    let (mut points, mut with_open, mut undone, mut in_ddl) = (0, 0, 0, 0);
    for (data, log) in pairs(&fixtures::expected(&root)) {
        let (files, log_files) = of_files(&root, &data, &log);
        let mut changes = Changes::of_files(files, log_files, ReplayOptions::default()).expect("replay");
        let mut made = {
            let catalog = changes.catalog().expect("catalog").clone();
            on_pages(changes.pages(), &catalog, false)
        };
        // One record at a time, and a look at every row each time that a transaction is open and has changed some.
        while let Some(batch) = changes.next(1, 1).expect("next") {
            let is_whole = !batch.events.iter().any(|e| matches!(e, SourceEvent::Change(_)));
            apply(&mut made, &batch);
            if !is_whole || changes.is_handing_on() {
                continue;
            }
            points += 1;
            let mut fixups = match changes.fixups() {
                Ok(fixups) => fixups,
                Err(e) => {
                    assert!(e.to_string().contains("was changing the shape"), "{e}");
                    in_ddl += 1;
                    continue;
                }
            };
            if fixups.events.is_empty() {
                continue;
            }
            with_open += 1;
            if with_open % 3 != 0 {
                continue;
            }
            undone += fixups.events.len();
            // Tables whose shape is being changed by an open transaction are left out.
            let told = changes.tables();
            let mut catalog = changes.catalog().expect("catalog").clone();
            catalog
                .tables
                .iter_mut()
                .filter(|t| !told.contains(&t.version))
                .for_each(|t| t.unreadable = Some(String::new()));
            let mut found = on_pages(changes.pages(), &catalog, false);
            fixups.events.retain(|e| matches!(e, SourceEvent::Change(c) if found.contains_key(&c.table.id.0)));
            apply(&mut found, &fixups);
            for (id, table) in &found {
                let expected = &made[id].rows;
                assert_eq!(&table.rows, expected, "{} of {data} at {}", table.name, changes.position());
            }
        }
    }
    eprintln!(
        "{points} points, {with_open} with open changes, {undone} changes undone, {in_ddl} in a change of a table"
    );
    assert!(with_open > 100);
}

#[test]
fn an_older_data_file_and_the_log_of_a_newer_one_give_the_newer_one() {
    let Some(root) = fixtures::fixtures() else { return };
    let (older, log) =
        of_files(&root, "pairs/trivia-2008/before/Database1.mdf", "pairs/trivia-2008/after/Database1_log.ldf");
    let newer = DataFiles::open(&[root.join("pairs/trivia-2008/after/Database1.mdf")]).expect("data file");
    let newer = on_pages(&newer, &Catalog::read(&newer).expect("catalog"), true);
    let mut made = on_pages(&older, &Catalog::read(&older).expect("catalog"), true);
    let mut changes = Changes::of_files(older, log, ReplayOptions::default()).expect("replay");
    let catalog = changes.catalog().expect("catalog").clone();
    // The older file is somewhere inside the log, so its rows are not those before the log.
    made.clone_from(&on_pages(changes.pages(), &catalog, false));
    drain(&mut changes, &mut made);
    let catalog = changes.catalog().expect("catalog").clone();
    assert_same(&on_pages(changes.pages(), &catalog, true), &newer, "pages");
    assert_same(&made, &newer, "rows and changes");
}

/// A source over some of a chain's files.
fn source(paths: &[PathBuf], differentials: Differentials) -> BackupSource {
    let backups = Backups::find(paths).expect("backups");
    let plan = PlanOptions { differentials, ..PlanOptions::default() };
    BackupSource::of_backups(backups, None, plan, ReplayOptions::default()).expect("a chain")
}

/// What a target of a source holds: the full copy, the fixups, and everything that follows.
async fn copy(source: &mut BackupSource) -> Tables {
    source.snapshot().await.expect("snapshot");
    let mut tables = Tables::new();
    for (index, version) in source.tables().iter().enumerate() {
        let mut table = Table {
            name: version.name.to_string(),
            columns: version.columns.iter().map(|c| c.id).collect(),
            rows: BTreeMap::new(),
        };
        for chunk in source.chunks(index).expect("chunks") {
            let mut reader = source.open_chunk(&chunk).expect("chunk");
            let mut visit = |cells: &[Cell<'_>]| {
                *table.rows.entry(plain(cells)).or_default() += 1;
                Ok(())
            };
            while reader.fill(&mut visit).await.expect("rows") == Fill::More {}
        }
        tables.insert(version.id.0, table);
    }
    apply(&mut tables, &source.fixups().await.expect("fixups"));
    follow(source, &mut tables).await;
    tables
}

async fn follow(source: &mut BackupSource, tables: &mut Tables) -> Option<logferry_model::Checkpoint> {
    let mut last = None;
    while let Some(batch) = source.next(512).await.expect("next") {
        for event in &batch.events {
            if let SourceEvent::Commit(checkpoint) | SourceEvent::Progress(checkpoint) = event {
                last = Some(*checkpoint);
            }
        }
        apply(tables, &batch);
    }
    last
}

fn counts(tables: &Tables) -> serde_json::Value {
    serde_json::Value::Object(tables.values().map(|t| (t.name.clone(), t.count().into())).collect())
}

/// The files of a chain of the manifest: data backup, then each log backup with what must be there after it.
fn chain_files(
    root: &Path,
    name: &str,
    expected: &serde_json::Value,
) -> (PathBuf, PathBuf, Vec<(PathBuf, serde_json::Value)>) {
    let folder = root.join("chains").join(name);
    let chain = &expected[format!("chains/{name}")];
    let file = |v: &serde_json::Value| folder.join(v["file"][0].as_str().expect("a file"));
    let logs = chain["logs"].as_array().expect("logs").iter().map(|l| (file(l), l["tables_after"].clone())).collect();
    (folder.join(chain["full"][0].as_str().expect("a full")), file(&chain["at_diff"][0]), logs)
}

#[tokio::test]
async fn after_every_prefix_of_a_chain_the_rows_are_those_committed_by_then() {
    let Some(root) = fixtures::fixtures() else { return };
    let expected = fixtures::expected(&root);
    for name in ["steps-2008r2", "steps-2016"] {
        let (full, differential, logs) = chain_files(&root, name, &expected);
        let mut files = vec![full.clone()];
        let at_full = copy(&mut source(&files, Differentials::Use)).await;
        assert_eq!(counts(&at_full), expected[format!("chains/{name}")]["tables_at_full"], "{name} at the full backup");
        for (log, after) in &logs {
            files.push(log.clone());
            let found = copy(&mut source(&files, Differentials::Use)).await;
            assert_eq!(counts(&found), *after, "{name} after {}", log.display());
        }
        let all = copy(&mut source(&files, Differentials::Use)).await;
        files.push(differential.clone());
        assert_same(
            &copy(&mut source(&files, Differentials::Use)).await,
            &all,
            &format!("{name} with the differential"),
        );
        assert_same(&copy(&mut source(&files, Differentials::Ignore)).await, &all, &format!("{name} without it"));
        let at_differential = copy(&mut source(&[full, differential], Differentials::Use)).await;
        assert_eq!(counts(&at_differential), expected[format!("chains/{name}")]["at_diff"][0]["tables"]);
    }
}

#[tokio::test]
async fn going_on_from_every_checkpoint_of_a_chain_gives_what_is_missing() {
    let Some(root) = fixtures::fixtures() else { return };
    let expected = fixtures::expected(&root);
    for name in ["steps-2008r2", "steps-2016"] {
        let (full, differential, logs) = chain_files(&root, name, &expected);
        let mut files = vec![full, differential];
        files.extend(logs.into_iter().map(|(log, _)| log));
        let all = copy(&mut source(&files, Differentials::Ignore)).await;
        let mut first = source(&files, Differentials::Ignore);
        let mut tables = Tables::new();
        let mut checkpoints = vec![first.snapshot().await.expect("snapshot").checkpoint];
        let mut states = vec![None];
        for table in first.tables() {
            let columns = table.columns.iter().map(|c| c.id).collect();
            tables.insert(table.id.0, Table { name: table.name.to_string(), columns, rows: BTreeMap::new() });
        }
        states[0] = Some(tables.clone());
        while let Some(batch) = first.next(1).await.expect("next") {
            for event in &batch.events {
                apply_event(&mut tables, &batch, event);
                if let SourceEvent::Commit(checkpoint) | SourceEvent::Progress(checkpoint) = event {
                    checkpoints.push(*checkpoint);
                    states.push(Some(tables.clone()));
                }
            }
        }
        assert!(checkpoints.len() > 30, "{name}: {} checkpoints", checkpoints.len());
        for (checkpoint, state) in checkpoints.iter().zip(states) {
            let mut tables = state.expect("a state");
            let mut again = source(&files, Differentials::Use);
            again.seek(*checkpoint).await.expect("seek");
            follow(&mut again, &mut tables).await;
            assert_same(&tables, &all, &format!("{name} from {}", checkpoint.applied.0));
        }
        let mut other = checkpoints[0];
        other.lineage.fork = [9; 16];
        let fault = source(&files, Differentials::Use).seek(other).await.expect_err("another fork");
        assert!(fault.message.contains("fork 09090909"), "{fault}");
    }
}

#[tokio::test]
async fn the_striped_chain_gives_the_rows_of_the_backup_after_it() {
    let Some(root) = fixtures::fixtures() else { return };
    let folder = root.join("chains/steps-striped-2008r2");
    let after = copy(&mut source(&[folder.join("after.bak")], Differentials::Use)).await;
    for differentials in [Differentials::Use, Differentials::Ignore] {
        let found = copy(&mut source(&[folder.join("Stripe1"), folder.join("Stripe2")], differentials)).await;
        let by_name = |tables: &Tables| -> BTreeMap<String, BTreeMap<Row, u64>> {
            tables.values().map(|t| (t.name.clone(), t.rows.clone())).collect()
        };
        let steps = by_name(&found).remove("dbo.steps").expect("dbo.steps");
        assert_eq!(Some(&steps), by_name(&after).get("dbo.steps"));
        assert_eq!(steps.values().sum::<u64>(), 60);
    }
}

#[tokio::test]
async fn a_data_file_with_its_log_is_a_source_that_ends_where_the_log_ends() {
    let Some(root) = fixtures::fixtures() else { return };
    for (data, log) in pairs(&fixtures::expected(&root)) {
        let (files, log_files) = of_files(&root, &data, &log);
        let before = on_pages(&files, &Catalog::read(&files).expect("catalog"), true);
        let mut source = BackupSource::of_files(files, log_files, ReplayOptions::default()).expect("source");
        let found = copy(&mut source).await;
        assert_same(&found, &before, &data);
    }
}

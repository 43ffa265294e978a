//! Generated chains through the product's change source: the copy, what is taken back of open transactions, and the changes of
//! each log give exactly the rows that the generator promised, in every order of opening and ending.

mod readers;

use std::path::PathBuf;
use std::time::Duration;

use logferry_model::{ChangeSource, SourceEvent, SqlType};
use logferry_mssql_backup::Place;
use logferry_mssql_backup::arrivals::Watch;
use logferry_mssql_backup::backups::Backups;
use logferry_mssql_backup::chain::{Differentials, PlanOptions, Tail};
use logferry_mssql_backup::changes::{Changes, ReplayOptions};
use logferry_mssql_backup::scan::rowset_extents;
use logferry_mssql_backup::source::{BackupSource, SoundSets};
use logferry_mssql_backup::{BackupSet, Catalog, Error};
use logferry_mssql_format::encode::BackupKind;
use logferry_mssql_format::page::{PAGE_SIZE, PageBytes, PageHeader, checksum};
use logferry_mssql_standin_storage::workload::{Chain, TableKind, WorkloadOptions, generate_chain};
use logferry_mssql_standin_storage::{
    ColumnDef, DEFAULT_COLLATION, Database, Options, RowKey, SwitchBy, TableDef, Transaction, XactOptions,
};
use readers::sorted;
use readers::target::{Targets, copied};

#[track_caller]
fn same(seed: u64, targets: &Targets, file: &logferry_mssql_standin_storage::workload::ChainFile) {
    let (found, expect) = (targets.rows(), sorted(&file.expected));
    // A table that is made later is told of before its first transaction.
    let extra = found.iter().find(|(name, rows)| !expect.contains_key(*name) && !rows.is_empty());
    assert!(extra.is_none(), "seed {seed}: {} after {}", extra.map_or("", |e| e.0), file.path.display());
    for (name, rows) in &expect {
        let found = found.get(name).map_or(&[][..], Vec::as_slice);
        let missing = rows.iter().filter(|r| found.binary_search(r).is_err()).count();
        let extra = found.iter().filter(|r| rows.binary_search(r).is_err()).count();
        assert!(
            found == rows.as_slice(),
            "seed {seed}: {name} after {}: {} rows, {} expected; {missing} missing, {extra} too many",
            file.path.display(),
            found.len(),
            rows.len(),
        );
    }
}

/// Copies and follows a chain; the rows are compared behind every file, or at the end only.
async fn follow(seed: u64, made: &Chain, files: &[PathBuf], plan: PlanOptions, at_end: bool) {
    let backups = Backups::find(files).unwrap();
    let chain = backups.plan(None, plan).unwrap();
    let base_end = chain.base_end();
    let mut source = BackupSource::of_backups(backups, None, plan, ReplayOptions::default()).unwrap();
    let mut targets = copied(&mut source).await;
    let mut left = made.files.iter().filter(|f| f.last_lsn >= base_end && files.contains(&f.path)).peekable();
    while let Some(batch) = source.next(64 << 10).await.unwrap() {
        for event in &batch.events {
            if let SourceEvent::Begin(head) = event {
                // All that was committed before the end of a file is there when the first transaction behind it comes.
                while let Some(file) = left.next_if(|f| !at_end && f.last_lsn <= head.commit_lsn.0) {
                    same(seed, &targets, file);
                }
            }
            targets.event(&batch, event);
        }
    }
    let left: Vec<_> = left.collect();
    for file in &left[if at_end { left.len() - 1 } else { 0 }..] {
        same(seed, &targets, file);
    }
}

#[track_caller]
fn check(seed: u64, options: &WorkloadOptions) {
    let folder = tempfile::tempdir().unwrap();
    let made = generate_chain(seed, options, folder.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let all: Vec<PathBuf> = made.files.iter().map(|f| f.path.clone()).collect();
    let logs_only = PlanOptions { differentials: Differentials::Ignore, ..PlanOptions::default() };
    eprintln!("seed {seed}");
    runtime.block_on(follow(seed, &made, &all, logs_only, false));
    for (at, _) in made.files.iter().enumerate().filter(|(_, f)| f.kind == BackupKind::Differential) {
        let files = [&all[..1], &all[at..]].concat();
        eprintln!("seed {seed}: from differential {at}");
        runtime.block_on(follow(seed, &made, &files, PlanOptions::default(), false));
    }
}

fn options(tables: &[TableKind]) -> WorkloadOptions {
    WorkloadOptions { tables: tables.to_vec(), initial_rows: 80, logs: 3, steps: 500, ..WorkloadOptions::default() }
}

#[test]
fn keyed_tables() {
    for seed in 100..104 {
        check(seed, &options(&[TableKind::Keyed, TableKind::Composite, TableKind::Guid]));
    }
}

#[test]
fn clustered_indexes_that_are_not_unique() {
    for seed in 110..114 {
        check(seed, &WorkloadOptions { cluster_heaps: true, ..options(&[TableKind::Heap, TableKind::Keyed]) });
    }
}

/// A source that is opened again, as after a lost connection, does not read all files again to check them; one of another process does.
#[tokio::test]
async fn files_that_were_found_sound_are_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let made = generate_chain(141, &options(&[TableKind::Keyed]), folder.path()).unwrap();
    let sound = SoundSets::default();
    let snapshot = async |sound: SoundSets| {
        let backups = Backups::find(&[folder.path().to_owned()]).unwrap();
        let plan = PlanOptions::default();
        let source = BackupSource::of_backups(backups, None, plan, ReplayOptions::default()).unwrap();
        source.knowing(sound).snapshot().await.map(drop)
    };
    snapshot(sound.clone()).await.unwrap();
    // A byte of the last log, which a snapshot has no use for.
    let path = &made.files.last().unwrap().path;
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(path, bytes).unwrap();
    snapshot(sound).await.unwrap();
    let fault = snapshot(SoundSets::default()).await.unwrap_err();
    assert!(fault.message.contains(path.to_str().unwrap()), "{fault}");
}

/// Log backups arrive while the chain is followed: one before its turn, one in halves.
#[tokio::test]
async fn files_that_arrive_are_taken_up_in_their_order() {
    let (made_in, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = WorkloadOptions { logs: 4, steps: 200, ..options(&[TableKind::Keyed, TableKind::Heap]) };
    let made = generate_chain(140, &options, made_in.path()).unwrap();
    let arrive = |file: usize, part: usize| {
        let path = &made.files[file].path;
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(folder.path().join(path.file_name().unwrap()), &bytes[..bytes.len() / part]).unwrap();
    };
    let reached = |targets: &Targets, file: usize| {
        let (found, expect) = (targets.rows(), sorted(&made.files[file].expected));
        expect.iter().all(|(name, rows)| found.get(name).map_or(&[][..], Vec::as_slice) == rows.as_slice())
    };
    arrive(0, 1);
    // Not whole yet: no reason not to begin.
    arrive(1, 2);
    let paths = vec![folder.path().to_owned()];
    let plan = PlanOptions { tail: Tail::Open, ..PlanOptions::default() };
    let watch = Watch { places: paths.iter().map(Place::local).collect(), every: Duration::from_millis(1) };
    let mut source = BackupSource::of_backups(Backups::find(&paths).unwrap(), None, plan, ReplayOptions::default())
        .unwrap()
        .watching(watch);
    let mut targets = copied(&mut source).await;
    let mut file_reached = async |file: usize, reads: u32| {
        for _ in 0..reads {
            if reached(&targets, file) {
                return true;
            }
            let batch = source.next(64 << 10).await.unwrap().expect("a source that watches does not end");
            for event in &batch.events {
                targets.event(&batch, event);
            }
        }
        false
    };
    assert!(file_reached(0, 10).await);
    assert!(!file_reached(1, 30).await, "half of a file");
    arrive(1, 1);
    assert!(file_reached(1, 10_000).await);
    arrive(3, 1);
    assert!(!file_reached(2, 30).await, "a hole");
    arrive(2, 2);
    assert!(!file_reached(2, 30).await, "half of a file");
    arrive(2, 1);
    assert!(file_reached(3, 10_000).await);
    arrive(4, 1);
    assert!(file_reached(4, 10_000).await);
    assert!(!file_reached(3, 5).await, "the last state was another one");
}

#[test]
fn heaps() {
    for seed in 110..114 {
        check(seed, &options(&[TableKind::Heap]));
    }
}

#[test]
fn all_types_and_lobs() {
    for seed in 120..123 {
        check(seed, &options(&[TableKind::AllTypes, TableKind::Lobs]));
    }
}

/// Seeds of the test that has everything; `LOGFERRY_SEEDS=1000..2000` runs others.
fn seeds() -> std::ops::Range<u64> {
    let given = std::env::var("LOGFERRY_SEEDS").ok();
    let given = given.as_deref().and_then(|range| range.split_once(".."));
    given.and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?)).unwrap_or(130..134)
}

/// In 1023 and 1038 a transaction goes back to a savepoint in the log of a differential, over changes that are older than that log.
#[test]
fn everything_at_once() {
    for seed in seeds().chain([1023, 1038]) {
        let database = Options { vlf_bytes: 128 * 1024, vlfs: 2, ..Options::default() };
        let options = WorkloadOptions {
            database,
            fuzzy_full: true,
            differential_every: 2,
            truncate_percent: 40,
            savepoint_percent: 10,
            rollback_percent: 35,
            late_table: true,
            ..options(TableKind::ALL)
        };
        check(seed, &options);
    }
}

/// Shapes change between files, not at a position that the stream tells of: so every prefix of the chain is read to its end.
#[test]
fn tables_that_change_their_shape() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for seed in 160..168 {
        let options = WorkloadOptions {
            late_table: true,
            alter_percent: 90,
            logs: 6,
            steps: 250,
            differential_every: 3,
            ..options(&[TableKind::Keyed, TableKind::Heap, TableKind::Composite, TableKind::Guid])
        };
        let folder = tempfile::tempdir().unwrap();
        let made = generate_chain(seed, &options, folder.path()).unwrap();
        let files: Vec<PathBuf> = made.files.iter().map(|f| f.path.clone()).collect();
        let logs_only = PlanOptions { differentials: Differentials::Ignore, ..PlanOptions::default() };
        for (end, file) in made.files.iter().enumerate() {
            let plan = if file.kind == BackupKind::Differential { PlanOptions::default() } else { logs_only };
            runtime.block_on(follow(seed, &made, &files[..=end], plan, true));
        }
    }
}

#[test]
fn row_versions() {
    let database = Options { row_versions: true, ..Options::default() };
    check(140, &WorkloadOptions { database, ..options(TableKind::ALL) });
}

#[test]
fn lobs_of_transactions_that_are_open_when_the_base_ends() {
    for seed in 150..158 {
        let options = WorkloadOptions {
            differential_every: 2,
            open_lobs_in_base: true,
            open_transactions: 6,
            ..options(&[TableKind::AllTypes, TableKind::Lobs])
        };
        check(seed, &options);
    }
}

/// Their rows are found by all that they were, values outside of them too.
#[test]
fn values_outside_of_rows_without_a_key() {
    for seed in 180..188 {
        let options = WorkloadOptions {
            differential_every: 2,
            open_lobs_in_base: true,
            fuzzy_full: seed % 2 == 1,
            open_transactions: 6,
            savepoint_percent: 10,
            rollback_percent: 30,
            in_place_percent: if seed % 3 == 0 { 40 } else { 0 },
            ..options(&[TableKind::LobHeap, TableKind::Heap])
        };
        check(seed, &options);
    }
}

#[test]
fn databases_made_on_2000() {
    let database = Options { ids_of_2000: true, ..Options::default() };
    for seed in 170..173 {
        let options = WorkloadOptions {
            database: database.clone(),
            truncate_percent: 50,
            alter_percent: 50,
            late_table: true,
            in_place_percent: 10,
            ..options(TableKind::ALL)
        };
        check(seed, &options);
    }
}

#[test]
fn values_that_change_without_a_record_of_their_row() {
    for seed in 160..168 {
        let options = WorkloadOptions {
            differential_every: 2,
            open_lobs_in_base: seed % 2 == 1,
            savepoint_percent: 12,
            in_place_percent: 60,
            steps: 300,
            ..options(&[TableKind::AllTypes, TableKind::Lobs, TableKind::Keyed])
        };
        check(seed, &options);
    }
}

/// Changes bytes behind a marker in a row on a page of a file, and seals the page again.
fn patch(file: &std::path::Path, marker: &[u8], behind: usize, bytes: &[u8]) {
    let mut all = std::fs::read(file).unwrap();
    let found: Vec<usize> = (0..all.len() - marker.len()).filter(|&at| all[at..].starts_with(marker)).collect();
    let is_page = |at: usize| {
        let page: Option<&PageBytes> = all.get(at..).and_then(|rest| rest.first_chunk());
        page.is_some_and(|page| page[1] == 1 && PageHeader::read(page).is_ok_and(|h| h.check == checksum(page)))
    };
    let places = found.iter().flat_map(|&at| (at.saturating_sub(PAGE_SIZE - 96)..at).map(move |page| (at, page)));
    let pages: Vec<(usize, usize)> = places.filter(|&(_, page)| is_page(page)).collect();
    assert!(!pages.is_empty(), "no page has the row");
    for (at, page) in pages {
        let at = (at + marker.len()).wrapping_add(behind);
        all[at..at + bytes.len()].copy_from_slice(bytes);
        let sealed: &mut PageBytes = all[page..page + PAGE_SIZE].first_chunk_mut().unwrap();
        let check = checksum(sealed);
        sealed[60..64].copy_from_slice(&check.to_le_bytes());
    }
    std::fs::write(file, all).unwrap();
}

/// A table of two rows is backed up, `change` is done to the second one and logged; meanwhile bytes of it become others in the backup.
/// Gives what the replay of the log says.
fn contradicted(
    (behind, bytes): (usize, &[u8]),
    change: impl FnOnce(&mut Database, Transaction, u32, &RowKey),
) -> String {
    let folder = tempfile::tempdir().unwrap();
    let [full, log] = ["full.bak", "log.trn"].map(|name| folder.path().join(name));
    let text = |length| SqlType::VarChar { length, collation: DEFAULT_COLLATION };
    let columns = vec![
        ColumnDef::new("id", SqlType::Int).not_null(),
        ColumnDef::new("marker", text(Some(20))),
        ColumnDef::new("memo", SqlType::Text { collation: DEFAULT_COLLATION }),
    ];
    let def = TableDef { schema: "dbo".into(), name: "Notes".into(), columns, primary_key: vec![0] };
    let mut db = Database::create(Options::default()).unwrap();
    let table = db.create_table(def).unwrap();
    let xact = db.begin(XactOptions::default());
    let mut key = None;
    for (id, marker) in [(1i32, "first-row"), (2, "second-row")] {
        let row = vec![Some(id.to_le_bytes().to_vec()), Some(marker.into()), Some(vec![b'm'; 5000])];
        key = Some(db.insert(xact, table, row).unwrap());
    }
    db.commit(xact).unwrap();
    db.backup_full(&full).unwrap();
    let xact = db.begin(XactOptions::default());
    change(&mut db, xact, table, &key.unwrap());
    db.commit(xact).unwrap();
    db.backup_log(&log).unwrap();
    patch(&full, b"second-row", behind, bytes);
    let chain = Backups::find(&[full, log]).unwrap().plan(None, PlanOptions::default()).unwrap();
    let mut changes = Changes::of_chain(chain, ReplayOptions::default()).unwrap();
    loop {
        match changes.next(1 << 20, usize::MAX) {
            Ok(Some(_)) => {}
            Ok(None) => return "all is well".to_owned(),
            Err(e) => return e.to_string(),
        }
    }
}

#[test]
fn a_row_that_is_not_what_the_log_says_it_was_stops_the_replay() {
    let update = |db: &mut Database, xact, table, key: &RowKey| {
        db.update(xact, table, key, &[(1, Some(b"second-ROW".to_vec()))]).unwrap();
    };
    let delete = |db: &mut Database, xact, table, key: &RowKey| db.delete(xact, table, key).unwrap();
    let key_and_row = |db: &mut Database, xact, table, key: &RowKey| {
        db.update(xact, table, key, &[(0, Some(3i32.to_le_bytes().to_vec()))]).unwrap();
    };
    // The bytes in front of the end of the marker, which is `row`.
    let before = |n: usize| 0usize.wrapping_sub(n);
    assert_eq!(contradicted((before(10), b"s"), update), "all is well");
    for change in [&update as &dyn Fn(&mut Database, Transaction, u32, &RowKey), &delete, &key_and_row] {
        let error = contradicted((before(1), b"x"), change);
        for part in ["table \"dbo.Notes\"", "does not fit page 1:", "slot 1", "log record 000000"] {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    }
}

#[test]
fn a_value_that_changes_and_is_no_rows_stops_the_replay() {
    let write = |db: &mut Database, xact, table, key: &RowKey| {
        assert!(db.write_in_place(xact, table, key, 2, &[b'n'; 5000]).unwrap());
    };
    assert_eq!(contradicted((0, &[]), write), "all is well");
    let error = contradicted((0, &[0x77; 8]), write);
    for part in ["dbo.Notes", "outside of its row", "no row of the table has it", "000000"] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}

/// What a chain tells: tables of changes, and of changes that cannot be read with the reason; and how it ends.
fn told(files: &[PathBuf]) -> (Vec<String>, Vec<(String, String)>, Option<Error>) {
    let chain = Backups::find(files).unwrap().plan(None, PlanOptions::default()).unwrap();
    let mut changes = Changes::of_chain(chain, ReplayOptions::default()).unwrap();
    let (mut changed, mut unreadable) = (Vec::new(), Vec::new());
    loop {
        let batch = match changes.next(1 << 20, usize::MAX) {
            Ok(Some(batch)) => batch,
            Ok(None) => return (changed, unreadable, None),
            Err(e) => return (changed, unreadable, Some(e)),
        };
        for event in &batch.events {
            match event {
                SourceEvent::Change(change) => changed.push(change.table.name.to_string()),
                SourceEvent::Unreadable { table, why, .. } => unreadable.push((table.name.to_string(), why.clone())),
                _ => {}
            }
        }
    }
}

/// Tables of an `int` key and a `bigint`.
fn tables<const N: usize>(db: &mut Database, names: [&str; N]) -> [u32; N] {
    let columns = vec![ColumnDef::new("id", SqlType::Int).not_null(), ColumnDef::new("n", SqlType::BigInt)];
    names.map(|name| {
        let def = TableDef { schema: "dbo".into(), name: name.into(), columns: columns.clone(), primary_key: vec![0] };
        db.create_table(def).unwrap()
    })
}

fn put(db: &mut Database, table: u32, ids: std::ops::Range<i32>) {
    let xact = db.begin(XactOptions::default());
    for id in ids {
        db.insert(xact, table, vec![Some(id.to_le_bytes().to_vec()), None]).unwrap();
    }
    db.commit(xact).unwrap();
}

/// Those who want neither of them go on.
#[test]
fn tables_whose_rows_are_switched_cannot_be_read_any_more() {
    for how in [SwitchBy::Rowsets, SwitchBy::Units] {
        let folder = tempfile::tempdir().unwrap();
        let [full, log] = ["full.bak", "log.trn"].map(|name| folder.path().join(name));
        let mut db = Database::create(Options::default()).unwrap();
        let [sales, archive, other] = tables(&mut db, ["Sales", "Archive", "Other"]);
        put(&mut db, sales, 0..50);
        db.backup_full(&full).unwrap();
        put(&mut db, other, 0..5);
        db.switch_table(sales, archive, how).unwrap();
        put(&mut db, sales, 0..5);
        put(&mut db, other, 5..10);
        db.backup_log(&log).unwrap();
        let (changed, unreadable, error) = told(&[full, log]);
        assert!(error.is_none(), "{how:?}: {error:?}");
        assert_eq!(changed, ["dbo.Other"; 10], "{how:?}");
        let [(from, why), (to, why_to)] = &unreadable[..] else { panic!("{how:?}: {unreadable:?}") };
        assert_eq!((&**from, &**to), ("dbo.Sales", "dbo.Archive"));
        assert!(why.contains("\"dbo.Archive\" by a SWITCH") && why_to.contains("\"dbo.Sales\" by a SWITCH"));
    }
}

#[test]
fn a_table_of_which_one_partition_is_truncated_cannot_be_read_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let [full, log] = ["full.bak", "log.trn"].map(|name| folder.path().join(name));
    let mut db = Database::create(Options::default()).unwrap();
    let [sales, second, other] = tables(&mut db, ["Sales", "Second", "Other"]);
    put(&mut db, sales, 0..50);
    put(&mut db, second, 50..60);
    db.lend_partition(second, sales).unwrap();
    db.backup_full(&full).unwrap();
    put(&mut db, second, 60..62);
    db.truncate(sales).unwrap();
    put(&mut db, sales, 0..5);
    put(&mut db, other, 0..3);
    db.backup_log(&log).unwrap();
    let (changed, unreadable, error) = told(&[full, log]);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(changed, ["dbo.Sales", "dbo.Sales", "dbo.Other", "dbo.Other", "dbo.Other"]);
    let [(table, why)] = &unreadable[..] else { panic!("{unreadable:?}") };
    assert!(table == "dbo.Sales" && why.contains("a partition of it was truncated"), "{table}: {why}");
}

/// The pages that come with the log backup are those of one table: all that was committed before is told, then that table is named, with its pages, and
/// what to type. A data backup made later is the way on.
#[test]
fn a_log_backup_of_minimally_logged_operations_stops_the_task_in_front_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let [full, log, bulk, last] = ["full.bak", "log.trn", "bulk.trn", "last.trn"].map(|name| folder.path().join(name));
    let mut db = Database::create(Options::default()).unwrap();
    let [loaded, other] = tables(&mut db, ["Loaded", "Other"]);
    // More than the single pages of mixed extents.
    put(&mut db, loaded, 0..4000);
    put(&mut db, other, 0..4000);
    db.backup_full(&full).unwrap();
    put(&mut db, other, 4000..4010);
    db.backup_log(&log).unwrap();
    put(&mut db, loaded, 4000..4010);
    let pages = BackupSet::open(std::slice::from_ref(&full), None).unwrap().pages().unwrap();
    let catalog = Catalog::read(&pages).unwrap();
    let rowset = catalog.rowsets_of(catalog.find_table("dbo.Loaded").unwrap()).next().unwrap();
    let uniform: Vec<u32> = (rowset_extents(&pages, rowset).unwrap().iter())
        .filter(|extent| extent.len() > 1)
        .map(|extent| extent.pages().next().unwrap().page / 8)
        .collect();
    assert!(!uniform.is_empty());
    db.backup_log_with(&bulk, &uniform).unwrap();
    put(&mut db, other, 4010..4020);
    db.backup_log(&last).unwrap();

    let (changed, unreadable, error) = told(&[full.clone(), log.clone(), bulk.clone(), last.clone()]);
    assert_eq!(changed, ["dbo.Other"; 10]);
    assert!(unreadable.is_empty(), "{unreadable:?}");
    let error = error.expect("rows are missing");
    let (said, hint) = (error.to_string(), error.hint().unwrap_or_default());
    let first = format!("\"dbo.Loaded\" (pages 1:{}", uniform[0] * 8);
    for part in [bulk.to_str().unwrap(), "minimally logged", &first] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    assert!(!said.contains("dbo.Other"), "{said}");
    assert!(hint.contains("BACKUP DATABASE") && hint.contains("another task name"), "{hint}");
    // A log backup that arrives while the task runs is met in the same way.
    let backups = Backups::find(&[full.clone(), log.clone()]).unwrap();
    let watch = Watch { places: vec![Place::local(folder.path())], every: Duration::from_millis(1) };
    let mut source = BackupSource::of_backups(backups, None, PlanOptions::default(), ReplayOptions::default())
        .unwrap()
        .watching(watch);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let fault = runtime.block_on(async {
        source.snapshot().await.unwrap();
        loop {
            if let Err(fault) = source.next(1 << 20).await {
                return fault;
            }
        }
    });
    assert!(fault.message.contains(&first), "{fault}");

    let later = folder.path().join("later.bak");
    db.backup_diff(&later).unwrap();
    let (changed, _, error) = told(&[full, log, bulk, last, later]);
    assert!(changed.is_empty() && error.is_none(), "{error:?}");
}

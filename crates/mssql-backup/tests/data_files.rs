//! Every data file and every full backup of the real-file folder is read to the last cell.
//!
//! Row counts must be those of the folder's `expected.json` and of the database's own `sysrowsets`. The contents of
//! each table are compared with a digest in `tests/digests`: one line per table, with its number of rows and the xxh3
//! of its rows as sorted JSON lines. `LOGFERRY_BLESS=1` writes the digests anew; look at the rows that changed before
//! you commit them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use logferry_mssql_backup::set::BackupSet;
use logferry_mssql_backup::{Catalog, DataFiles, Error, PageSource, dump};
use xxhash_rust::xxh3::xxh3_64;

#[track_caller]
fn check(file: &str) {
    let Some(folder) = fixtures() else { return };
    let files = DataFiles::open(&[folder.join(file)]).unwrap();
    let catalog = Catalog::read(&files).unwrap();
    let expected = &expectations(&folder)[file];
    assert_eq!(expected["version"], catalog.boot.version);
    assert_eq!(expected["created_on"], catalog.boot.create_version);
    check_tables(file, &expected["tables"], &catalog, &files);
}

/// `tables` is where the expected row counts are in the entry of that name.
#[track_caller]
fn check_backup(entry: &str, files: &[&str], tables: &str) {
    let Some(folder) = fixtures() else { return };
    let paths: Vec<PathBuf> = files.iter().map(|file| folder.join(file)).collect();
    let pages = BackupSet::open(&paths, None).unwrap().pages().unwrap();
    let catalog = Catalog::read(&pages).unwrap();
    let expected = expectations(&folder)[entry][tables].take();
    check_tables(files[0], &expected, &catalog, &pages);
}

/// A backup that the folder expects nothing of but that it is whole.
#[track_caller]
fn check_whole(files: &[&str], expected: serde_json::Value) {
    let Some(folder) = fixtures() else { return };
    let paths: Vec<PathBuf> = files.iter().map(|file| folder.join(file)).collect();
    let pages = BackupSet::open(&paths, None).unwrap().pages().unwrap();
    check_tables(files[0], &expected, &Catalog::read(&pages).unwrap(), &pages);
}

fn expectations(folder: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap()
}

#[track_caller]
fn check_tables(entry: &str, expected: &serde_json::Value, catalog: &Catalog, pages: &dyn PageSource) {
    let mut counts = BTreeMap::new();
    let mut digests = String::new();
    let mut refused = Vec::new();
    for (at, table) in catalog.tables.iter().enumerate() {
        let name = table.version.name.to_string();
        let mut lines = Vec::new();
        let read = dump::rows(&pages, catalog, at, |line| {
            lines.push(line.to_owned());
            Ok::<_, Error>(())
        });
        let count = match read {
            Ok(count) => count,
            // What is refused stands among the digests.
            Err(Error::UnreadableTable { why, .. }) => {
                writeln!(digests, "refused: {why:>32} {name}").unwrap();
                refused.push(name);
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!(count.read, count.recorded, "rows on pages and in sysrowsets of {name}");
        lines.sort();
        let digest = xxh3_64(lines.join("\n").as_bytes());
        writeln!(digests, "{digest:016x} {:>7} {name}", lines.len()).unwrap();
        counts.insert(name, count.read);
    }
    let mut expected: BTreeMap<String, u64> =
        expected.as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.as_u64().unwrap())).collect();
    refused.iter().for_each(|name| assert!(expected.remove(name).is_some(), "{name} is no table of {entry}"));
    assert_eq!(counts, expected, "tables and row counts of {entry}");
    check_digests(entry, &digests);
}

#[track_caller]
fn check_digests(entry: &str, found: &str) {
    let name = entry.replace(['/', '.'], "-");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/digests").join(format!("{name}.txt"));
    if std::env::var_os("LOGFERRY_BLESS").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, kept, "contents of {entry} differ from {}", path.display());
}

fn fixtures() -> Option<PathBuf> {
    let folder = match std::env::var_os("LOGFERRY_FIXTURES") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures"),
    };
    if !folder.is_dir() {
        eprintln!("SKIPPED: no real files at {}; set LOGFERRY_FIXTURES", folder.display());
        return None;
    }
    Some(folder)
}

#[test]
fn northwind_2008() {
    check("pairs/northwind-2008/northwnd.mdf");
}

#[test]
fn trivia_2008_before() {
    check("pairs/trivia-2008/before/Database1.mdf");
}

#[test]
fn trivia_2008_after() {
    check("pairs/trivia-2008/after/Database1.mdf");
}

#[test]
fn webtool_2008r2_first() {
    check("pairs/webtool-2008r2/first/WebTool.mdf");
}

#[test]
fn webtool_2008r2_second() {
    check("pairs/webtool-2008r2/second/WebTool.mdf");
}

#[test]
fn shelter_2016() {
    check("pairs/shelter-2016/shelter.mdf");
}

#[test]
fn flights_2016() {
    check("pairs/flights-2016/flightdb.mdf");
}

#[test]
fn tax_2019() {
    check("pairs/tax-2019/tax.mdf");
}

#[test]
fn health_2019() {
    check("pairs/health-2019/health.mdf");
}

#[test]
fn northwind_2005_made_on_2000() {
    check_backup("backups/northwind-2005.bak", &["backups/northwind-2005.bak"], "tables");
}

#[test]
fn quiz_2014() {
    check_backup("backups/quiz-2014.bak", &["backups/quiz-2014.bak"], "tables");
}

#[test]
fn students_2022() {
    check_backup("backups/students-2022.bak", &["backups/students-2022.bak"], "tables");
}

#[test]
fn tsql2012_compressed_on_2016() {
    check_backup("backups/tsql2012-2016-compressed.bak", &["backups/tsql2012-2016-compressed.bak"], "tables");
}

/// The folder speaks of six sets; the file holds one, which is what it expects counts of.
#[test]
fn pubs_2012() {
    check_backup("backups/pubs-2012-six-sets.bak", &["backups/pubs-2012-six-sets.bak"], "tables");
}

#[test]
fn full_backups_of_chains() {
    check_backup("chains/steps-2008r2", &["chains/steps-2008r2/RestoreTimeClean.bak"], "tables_at_full");
    check_backup("chains/steps-2016", &["chains/steps-2016/RestoreTimeClean.bak"], "tables_at_full");
    check_backup("chains/doublediff-2008r2", &["chains/doublediff-2008r2/difftest-full.bak"], "tables_at_full");
}

#[test]
fn later_full_of_the_striped_chain() {
    check_whole(&["chains/steps-striped-2008r2/after.bak"], serde_json::json!({"dbo.steps": 60}));
}

#[test]
fn striped_full() {
    let stripes = [
        "chains/steps-striped-2008r2/Stripe1/RestoreTimeStripe.bak",
        "chains/steps-striped-2008r2/Stripe2/RestoreTimeStripe1.bak",
    ];
    check_whole(&stripes, serde_json::json!({"dbo.steps": 0}));
}

#[test]
fn full_of_a_database_with_two_schemas() {
    let file = "chains/instance-2008r2/dbareports/FULL/SQL2008_dbareports_FULL_20170518_041739.bak";
    let expected = serde_json::json!({
        "dbo.ClientDatabaseLookup": 0, "dbo.Clients": 0, "dbo.InstanceList": 2, "dbo.NotEntered": 0,
        "info.AgentJobDetail": 0, "info.AgentJobServer": 0, "info.Alerts": 0, "info.Databases": 15, "info.DiskSpace": 0,
        "info.HistoricalDBSize": 0, "info.LogFileErrorMessages": 0, "info.SQLInfo": 1, "info.ServerInfo": 2,
        "info.SuspectPages": 0,
    });
    check_whole(&[file], expected);
}

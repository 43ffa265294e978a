//! Every data file of the real-file folder is read to the last cell.
//!
//! Row counts must be those of the folder's `expected.json` and of the database's own `sysrowsets`. The contents of
//! each table are compared with a digest in `tests/digests`: one line per table, with its number of rows and the xxh3
//! of its rows as sorted JSON lines. `LOGFERRY_BLESS=1` writes the digests anew; look at the rows that changed before
//! you commit them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use logferry_mssql_backup::{Catalog, DataFiles, Error, PageSource, dump};
use xxhash_rust::xxh3::xxh3_64;

#[track_caller]
fn check(file: &str) {
    let Some(folder) = fixtures() else { return };
    let files = DataFiles::open(&[folder.join(file)]).unwrap();
    check_tables(&folder, file, &files);
}

#[track_caller]
fn check_tables(folder: &Path, entry: &str, pages: &dyn PageSource) {
    let catalog = Catalog::read(pages).unwrap();
    let mut counts = BTreeMap::new();
    let mut digests = String::new();
    for (at, table) in catalog.tables.iter().enumerate() {
        let name = table.version.name.to_string();
        let mut lines = Vec::new();
        let count = dump::rows(&pages, &catalog, at, |line| {
            lines.push(line.to_owned());
            Ok::<_, Error>(())
        })
        .unwrap();
        assert_eq!(count.read, count.recorded, "rows on pages and in sysrowsets of {name}");
        lines.sort();
        let digest = xxh3_64(lines.join("\n").as_bytes());
        writeln!(digests, "{digest:016x} {:>7} {name}", lines.len()).unwrap();
        counts.insert(name, count.read);
    }
    let expected: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let expected = &expected[entry];
    assert_eq!(expected["version"], catalog.boot.version);
    assert_eq!(expected["created_on"], catalog.boot.create_version);
    let expected: BTreeMap<String, u64> =
        expected["tables"].as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.as_u64().unwrap())).collect();
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

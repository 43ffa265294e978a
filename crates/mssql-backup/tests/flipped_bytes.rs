//! One byte of a real file is changed, anywhere: what is read stays the same, or there is an error. Other rows may come only where no
//! checksum covers the byte, and a panic nowhere.
//!
//! The end of a log file is what does not check any more, as after a crash: there the log may seem to end earlier, and gives fewer changes.
//!
//! That is a sample: eight bytes of some files. `LOGFERRY_FLIPS` sets how many, `LOGFERRY_FLIPS_SEED` which; `LOGFERRY_FLIPS=every:N` tries
//! every Nth byte of each file (from the seed on) that is not all zeroes around it, which takes days for `every:1`.
//!
//! Bytes that a checksum covers need not be tried through the whole reader: the check itself must notice them. That is tried for every Nth byte
//! of all pages and log blocks of all files; `LOGFERRY_FLIPS_STRIDE=1` tries all, in some ten minutes.

mod fixtures;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fixtures::fixtures;
use logferry_model::{Cell, ChangeOp, EventBatch, RowRef, SourceEvent};
use logferry_mssql_backup::backups::Backups;
use logferry_mssql_backup::chain::PlanOptions;
use logferry_mssql_backup::scan::read_table;
use logferry_mssql_backup::{Catalog, Changes, DataFiles, Error, LogFiles, PageSource, ReplayOptions};
use logferry_mssql_format::log::block::{Block, BlockHeader};
use logferry_mssql_format::page::{PAGE_SIZE, PageBytes, PageHeader, Protection, checksum, verify};
use logferry_mssql_format::render;
use xxhash_rust::xxh3::xxh3_64;

/// All that comes out of files.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// Digest of the rows on the pages, by table.
    rows: BTreeMap<String, u64>,
    /// Digest of each change, in order.
    changes: Vec<u64>,
}

fn outcome(paths: &[PathBuf]) -> Result<Outcome, Error> {
    let is = |path: &Path, kind: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(kind));
    if paths.iter().any(|path| is(path, "mdf")) {
        let (log, data): (Vec<PathBuf>, Vec<PathBuf>) = paths.iter().cloned().partition(|path| is(path, "ldf"));
        let data = DataFiles::open(&data)?;
        let rows = rows(&data, &Catalog::read(&data)?)?;
        let changes = drain(Changes::of_files(data, LogFiles::open(&log)?, ReplayOptions::default())?)?;
        return Ok(Outcome { rows, changes });
    }
    let chain = Backups::find(paths)?.plan(None, PlanOptions::default())?;
    let mut changes = Changes::of_chain(chain, ReplayOptions::default())?;
    let catalog = changes.catalog()?.clone();
    let rows = rows(changes.pages(), &catalog)?;
    Ok(Outcome { rows, changes: drain(changes)? })
}

fn rows(pages: &dyn PageSource, catalog: &Catalog) -> Result<BTreeMap<String, u64>, Error> {
    let mut tables = BTreeMap::new();
    for (index, table) in catalog.tables.iter().enumerate() {
        let mut lines: Vec<u64> = Vec::new();
        read_table(&pages, catalog, index, |cells| {
            let mut line = String::new();
            render::row(&table.version, cells, &mut line);
            lines.push(xxh3_64(line.as_bytes()));
            Ok::<_, Error>(())
        })?;
        lines.sort_unstable();
        let lines: Vec<u8> = lines.iter().flat_map(|line| line.to_le_bytes()).collect();
        tables.insert(table.version.name.to_string(), xxh3_64(&lines));
    }
    Ok(tables)
}

fn drain(mut changes: Changes) -> Result<Vec<u64>, Error> {
    let mut all = Vec::new();
    while let Some(batch) = changes.next(1 << 20, usize::MAX)? {
        all.extend(batch.events.iter().filter_map(|event| digest(&batch, event)));
    }
    Ok(all)
}

fn digest(batch: &EventBatch, event: &SourceEvent) -> Option<u64> {
    let text = match event {
        SourceEvent::Change(change) => {
            let row = |row: RowRef| {
                let cells: Vec<Cell<'_>> = batch.rows.row(row).cells().collect();
                let mut text = String::new();
                render::row(&change.table, &cells, &mut text);
                text
            };
            let op = match change.op {
                ChangeOp::Insert { after } => format!("+{}", row(after)),
                ChangeOp::Update { before, after } => format!("-{}+{}", row(before), row(after)),
                ChangeOp::Delete { before } => format!("-{}", row(before)),
                ChangeOp::Truncate => "truncate".to_owned(),
            };
            format!("{} {}{op}", change.lsn, change.table.name)
        }
        SourceEvent::Table(table) => format!("{table:?}"),
        SourceEvent::Dropped(table) => format!("dropped {}", table.name),
        SourceEvent::Unreadable { table, lsn, .. } => format!("unreadable {} {lsn}", table.name),
        SourceEvent::Begin(_)
        | SourceEvent::Commit(_)
        | SourceEvent::Progress(_)
        | SourceEvent::Unseen { .. }
        | SourceEvent::Fenced(_) => return None,
    };
    Some(xxh3_64(text.as_bytes()))
}

/// The ranges of a file that a checksum covers: pages and log blocks that have one, wherever they begin.
fn covered(file: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < file.len() {
        let rest = &file[at..];
        let page = rest.first_chunk::<PAGE_SIZE>().filter(|page| is_covered_page(page));
        let len = match page {
            Some(_) => PAGE_SIZE,
            None => covered_block(rest).unwrap_or(0),
        };
        if len > 0 {
            ranges.push(at..at + len);
        }
        at += len.max(512);
    }
    ranges
}

fn is_covered_page(page: &PageBytes) -> bool {
    let header = PageHeader::read(page).expect("a page has a header");
    header.is_formatted() && header.protection() == Protection::Checksum && checksum(page) == header.check
}

fn covered_block(bytes: &[u8]) -> Option<usize> {
    let header = BlockHeader::read(bytes).ok().filter(BlockHeader::has_checksum)?;
    let block = bytes.get(..usize::from(header.len))?;
    Block::read(&mut block.to_vec()).ok().map(|_| block.len())
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"))
}

/// Changes bytes of the first of some files, one at a time.
#[track_caller]
fn check(files: &[&str], whole_file_is_covered: bool) {
    let Some(root) = fixtures() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut paths: Vec<PathBuf> = files.iter().map(|file| root.join(file)).collect();
    let original = std::fs::read(&paths[0]).unwrap();
    paths[0] = folder.path().join(paths[0].file_name().unwrap());
    std::fs::write(&paths[0], &original).unwrap();
    let file = File::options().write(true).open(&paths[0]).unwrap();
    let is_log = paths[0].extension().is_some_and(|e| e.eq_ignore_ascii_case("ldf"));
    let expect = outcome(&paths).unwrap();
    let covered = covered(&original);

    let seed = setting("LOGFERRY_FLIPS_SEED", 1);
    let stride = std::env::var("LOGFERRY_FLIPS").ok();
    let stride: Option<u64> =
        stride.and_then(|flips| flips.strip_prefix("every:").map(|n| n.parse().expect("a number")));
    let flips = match stride {
        Some(stride) => original.len() as u64 / stride,
        None => setting("LOGFERRY_FLIPS", 8),
    };
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let (mut same, mut refused, mut earlier, mut other) = (0, 0, 0, 0);
    for flip in 0..flips {
        // Sectors of zeroes have nothing to say.
        let says =
            |at: usize| original[at / 512 * 512..original.len().min(at / 512 * 512 + 512)].iter().any(|&b| b != 0);
        let at = loop {
            if let Some(stride) = stride {
                break (flip * stride + seed % stride) as usize;
            }
            let at = random.below(original.len());
            if says(at) {
                // Headers more often than the rest.
                break if random.below(3) == 0 { at / 512 * 512 + at % 32 } else { at };
            }
        };
        let Some(&byte) = original.get(at).filter(|_| says(at)) else { continue };
        let changed = byte ^ [1 << random.below(8), 1 + random.below(255) as u8][random.below(2)];
        file.write_all_at(&[changed], at as u64).unwrap();
        let found = catch_unwind(AssertUnwindSafe(|| outcome(&paths)));
        file.write_all_at(&[byte], at as u64).unwrap();
        let what = format!("{}: byte {at} from {byte:#04x} to {changed:#04x}, seed {seed}", files[0]);
        match found.unwrap_or_else(|_| panic!("{what} panics")) {
            Err(_) => refused += 1,
            Ok(found) if found == expect => same += 1,
            Ok(found) if is_log && found.rows == expect.rows && expect.changes.starts_with(&found.changes) => {
                earlier += 1
            }
            Ok(_) if whole_file_is_covered || covered.iter().any(|range| range.contains(&at)) => {
                panic!("{what}: other rows, though a checksum covers it")
            }
            Ok(_) => other += 1,
        }
    }
    assert_eq!(outcome(&paths).unwrap(), expect, "the bytes are as they were");
    eprintln!(
        "{}: {flips} bytes: {same} the same, {refused} refused, {earlier} end earlier, {other} other rows without a checksum",
        files[0]
    );
}

#[test]
fn data_files() {
    check(&["pairs/northwind-2008/northwnd.mdf", "pairs/northwind-2008/northwnd.ldf"], false);
    check(&["pairs/flights-2016/flightdb.mdf", "pairs/flights-2016/flightdb_log.ldf"], false);
    check(&["pairs/health-2019/health.mdf", "pairs/health-2019/health_log.ldf"], false);
}

#[test]
fn log_files() {
    check(&["pairs/northwind-2008/northwnd.ldf", "pairs/northwind-2008/northwnd.mdf"], false);
    check(&["pairs/flights-2016/flightdb_log.ldf", "pairs/flights-2016/flightdb.mdf"], false);
    check(&["pairs/shelter-2016/shelter_log.ldf", "pairs/shelter-2016/shelter.mdf"], false);
}

#[test]
fn backups() {
    check(&["backups/northwind-2005.bak"], false);
    check(&["backups/quiz-2014.bak"], false);
    check(&["backups/students-2022.bak"], false);
    check(&["backups/tsql2012-2016-compressed.bak"], true);
    let steps = |file: &str| format!("chains/steps-2016/{file}");
    let Some(root) = fixtures() else { return };
    let mut names: Vec<String> = std::fs::read_dir(root.join("chains/steps-2016"))
        .unwrap()
        .map(|entry| steps(&entry.unwrap().file_name().to_string_lossy()))
        .collect();
    names.sort();
    for first in [0, 1, names.len() - 1] {
        let mut files: Vec<&str> = names.iter().map(String::as_str).collect();
        files.swap(0, first);
        check(&files, false);
    }
}

/// What the checks say of changed bytes of pages and log blocks that have a checksum.
#[derive(Debug, Default)]
struct Checked {
    covered: usize,
    tried: usize,
}

/// A page as it is read: checked, torn bits mended.
fn page_as_read(mut page: Box<PageBytes>) -> Option<Box<PageBytes>> {
    verify(&mut page).is_ok().then_some(page)
}

/// The records of a block.
fn block_as_read(mut bytes: Vec<u8>) -> Option<Vec<Vec<u8>>> {
    let block = Block::read(&mut bytes).ok()?;
    block.records().map(|record| record.ok().map(|record| record.bytes().to_vec())).collect()
}

fn check_checksums(file: &[u8], what: &str) -> Checked {
    let stride = setting("LOGFERRY_FLIPS_STRIDE", 1009) as usize;
    let mut random = Random(setting("LOGFERRY_FLIPS_SEED", 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut checked = Checked::default();
    for range in covered(file) {
        let original = &file[range.clone()];
        let page: Option<&PageBytes> = original.first_chunk().filter(|page| is_covered_page(page));
        let records = if page.is_none() { block_as_read(original.to_vec()) } else { None };
        checked.covered += original.len();
        if let Some(page) = page {
            // As if it had never been written.
            let mut changed = Box::new(*page);
            changed[1] = 0;
            assert!(page_as_read(changed).is_none(), "{what}: byte {} is not noticed", range.start + 1);
            // As if it had torn bits in place of a checksum.
            let mut changed = Box::new(*page);
            changed[5] ^= 3;
            assert!(page_as_read(changed).is_none(), "{what}: byte {} is not noticed", range.start + 5);
        }
        let first = (stride - checked.covered % stride) % stride;
        for at in (first..original.len()).step_by(stride) {
            checked.tried += 1;
            let other = original[at] ^ [1 << random.below(8), 1 + random.below(255) as u8][random.below(2)];
            let same = match page {
                Some(page) => {
                    let mut changed = Box::new(*page);
                    changed[at] = other;
                    // Without the flag that there is a checksum there is none: that alone says nothing of rows.
                    page_as_read(changed).is_none_or(|read| read[..4] == page[..4] && read[6..] == page[6..])
                }
                None => {
                    let mut changed = original.to_vec();
                    changed[at] = other;
                    block_as_read(changed).is_none_or(|read| Some(read) == records)
                }
            };
            let offset = range.start + at;
            assert!(same, "{what}: byte {offset} from {:#04x} to {other:#04x} is not noticed", original[at]);
        }
    }
    checked
}

/// Files of databases that kept `PAGE_VERIFY TORN_PAGE_DETECTION` of SQL Server 2000: on their pages a changed byte may be another value.
/// Log backups are not among them: some have no log, or no whole block of it in this stripe.
const WITHOUT_CHECKSUMS: &[&str] = &["backups/northwind-2005.bak"];

#[test]
fn every_byte_that_a_checksum_covers_is_noticed() {
    let Some(root) = fixtures() else { return };
    let mut folders = vec![root.clone()];
    let (mut bare, mut tried) = (Vec::new(), 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let extension = entry.extension().map(|e| e.to_ascii_lowercase().to_string_lossy().into_owned());
            if !extension.is_some_and(|e| ["mdf", "ldf", "bak", "trn"].contains(&&*e)) {
                continue;
            }
            let what = entry.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
            let file = std::fs::read(&entry).unwrap();
            let checked = check_checksums(&file, &what);
            tried += checked.tried;
            eprintln!("{what}: {} of {} bytes are covered, {} tried", checked.covered, file.len(), checked.tried);
            if checked.covered == 0 && !file.starts_with(b"MSSQLBAK") && !what.ends_with(".trn") {
                bare.push(what);
            }
        }
    }
    bare.sort();
    assert_eq!(bare, WITHOUT_CHECKSUMS);
    assert!(tried > 1000, "only {tried} bytes were tried");
}

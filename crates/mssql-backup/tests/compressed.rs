//! Compressed backup files: read like others, damage noticed, other kinds refused by name.

mod fixtures;

use std::fs;
use std::path::{Path, PathBuf};

use fixtures::fixtures;
use logferry_mssql_backup::set::BackupSet;
use logferry_mssql_backup::{Error, LogBlocks, PageSource};
use logferry_mssql_format::container::{ContainerHeader, ContainerRecord, Content, FIRST_RECORD, checksum};
use logferry_mssql_format::encode::compress_backup;
use logferry_mssql_format::mtf::Descriptor;
use logferry_mssql_format::page::{PAGE_SIZE, PageId};
use xxhash_rust::xxh3::Xxh3;

const REAL: &str = "backups/tsql2012-2016-compressed.bak";

/// Everything that a set gives, its pages and its log, as a digest.
fn contents(paths: &[PathBuf], number: Option<u16>) -> Result<String, Error> {
    let set = BackupSet::open(paths, number)?;
    let mut digest = Xxh3::new();
    let mut log = set.log(set.header.first_lsn)?;
    let mut blocks = 0;
    while let Some(block) = log.next_block()? {
        for record in block.records() {
            let record = record?;
            digest.update(&record.lsn.to_le_bytes());
            record.elements().for_each(|element| digest.update(element));
        }
        blocks += 1;
    }
    let pages = set.pages()?;
    let mut page = [0u8; PAGE_SIZE];
    for run in pages.runs() {
        for number in run.extent * 8..(run.extent + run.extents) * 8 {
            match pages.read_page(PageId::new(run.file, number), &mut page) {
                Ok(()) => digest.update(&page),
                // What is not allocated may be anything; it is the same anything.
                Err(Error::Page { page, source, .. }) => {
                    digest.update(format!("{page} {}", source.to_string().rsplit(": ").next().unwrap()).as_bytes());
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(format!("{:?}: {} pages, {blocks} blocks, {:016x}", set.header, pages.page_count(), digest.digest()))
}

/// What stands in a container: offset, and the record, or the length of a file mark.
fn records(file: &[u8]) -> Vec<(usize, Result<ContainerRecord, usize>)> {
    let header = ContainerHeader::read(file).unwrap();
    let (mut at, mut records) = (FIRST_RECORD as usize, Vec::new());
    while at < file.len() {
        if file[at..].starts_with(b"SFMB") {
            let len = usize::from(Descriptor::read(&file[at..]).unwrap().streams_at);
            records.push((at, Err(len)));
            at += len;
        } else {
            let record = ContainerRecord::read(&file[at..], header).unwrap();
            records.push((at, Ok(record)));
            at += record.end() as usize;
        }
    }
    records
}

/// Writes a container anew; `write` gives the record of a piece, `short` is the length of a header without checksum.
fn rewritten(file: &[u8], version: u32, short: usize, write: impl Fn(&ContainerRecord, &[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut output = file[..FIRST_RECORD as usize].to_vec();
    output[8..12].copy_from_slice(&version.to_le_bytes());
    for (at, record) in records(file) {
        match record {
            Ok(record) if record.makes() > 0 => output.extend(write(&record, &file[at..at + record.end() as usize])),
            Ok(_) => {}
            Err(len) => {
                let end = (output.len() + short).next_multiple_of(len);
                let filling = (end - output.len() - short) as u16;
                output.extend([0x24, 0]);
                output.extend(filling.to_le_bytes());
                output.resize(end, 0);
                output.extend(&file[at..at + len]);
            }
        }
    }
    output
}

fn open(bytes: &[u8]) -> Result<String, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backup.bak");
    fs::write(&path, bytes).unwrap();
    contents(&[path], None)
}

#[track_caller]
fn check_refused(bytes: &[u8], expect: &str) {
    let error = open(bytes).expect_err("refused").to_string();
    let (before, after) = error.split_once("backup.bak").expect("the file is named");
    assert!(!before.contains(' '), "{error}");
    assert_eq!(after, expect);
}

#[track_caller]
fn check_same(root: &Path, files: &[&str], number: Option<u16>) {
    let folder = tempfile::tempdir().unwrap();
    let plain: Vec<PathBuf> = files.iter().map(|file| root.join(file)).collect();
    let compressed: Vec<PathBuf> = (plain.iter().zip(1..))
        .map(|(path, number)| {
            let to = folder.path().join(format!("{number}.bak"));
            fs::write(&to, compress_backup(&fs::read(path).unwrap())).unwrap();
            to
        })
        .collect();
    assert_eq!(contents(&compressed, number).unwrap(), contents(&plain, number).unwrap(), "{files:?}");
}

#[test]
fn what_was_compressed_reads_as_before() {
    let Some(root) = fixtures() else { return };
    for file in [
        "backups/northwind-2005.bak",
        "backups/quiz-2014.bak",
        "backups/students-2022.bak",
        "backups/pubs-2012-six-sets.bak",
        "chains/steps-2008r2/RestoreTimeClean2.bak",
        "chains/steps-2008r2/RestoreTimeClean_1.trn",
        "chains/steps-2016/RestoreTimeClean_2.trn",
        "chains/instance-2008r2/db1/DIFF/SQL2008_db1_DIFF_20170518_041819.bak",
        "chains/instance-2008r2/db1/LOG/SQL2008_db1_LOG_20170518_041831.trn",
    ] {
        check_same(&root, &[file], None);
    }
}

#[test]
fn stripes_may_be_compressed() {
    let Some(root) = fixtures() else { return };
    let folder = "chains/steps-striped-2008r2";
    let one = format!("{folder}/Stripe1/RestoreTimeStripe.bak");
    let other = format!("{folder}/Stripe2/RestoreTimeStripe1.bak");
    check_same(&root, &[&one, &other], None);
    check_same(&root, &[&other, &one], None);
}

/// As many threads as one likes, each in its own order.
#[test]
fn readers_in_parallel_read_the_same() {
    let Some(root) = fixtures() else { return };
    let set = BackupSet::open(&[root.join(REAL)], None).unwrap();
    let pages = set.pages().unwrap();
    let numbers: Vec<u32> = pages.runs().flat_map(|run| run.extent * 8..(run.extent + run.extents) * 8).collect();
    let read = |step: usize| -> Vec<(u32, u64)> {
        let mut page = [0u8; PAGE_SIZE];
        let mut found: Vec<_> = (0..numbers.len())
            .map(|k| {
                let number = numbers[k * step % numbers.len()];
                let read = pages.read_page(PageId::new(1, number), &mut page).is_ok();
                (number, if read { xxhash_rust::xxh3::xxh3_64(&page) } else { 0 })
            })
            .collect();
        found.sort();
        found
    };
    let alone = read(1);
    std::thread::scope(|scope| {
        // Steps that have no divisor in common with the number of pages visit each once.
        let readers: Vec<_> = [1, 7, 11, 13].map(|step| scope.spawn(move || read(step))).into();
        for reader in readers {
            let found = reader.join().unwrap();
            assert!(found == alone);
        }
    });
}

#[test]
fn a_changed_byte_is_noticed_where_it_matters() {
    let Some(root) = fixtures() else { return };
    let sound = fs::read(root.join(REAL)).unwrap();
    let expect = open(&sound).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backup.bak");
    let (mut noticed, mut without_effect) = (0, 0);
    for (number, (at, record)) in records(&sound).into_iter().enumerate() {
        let len = record.map_or_else(|len| len, |record| record.end() as usize);
        let data_at = record.map_or(52, |record| record.data_at as usize);
        // A byte of the header, and one of the data: others in each record.
        for offset in [number % data_at, data_at + number * 7919 % (len - data_at)] {
            let mut bytes = sound.clone();
            bytes[at + offset] ^= 1 << (number % 8);
            fs::write(&path, &bytes).unwrap();
            match contents(std::slice::from_ref(&path), None) {
                Ok(found) => {
                    // What nobody knows, fillers, and what is behind the header of a file mark.
                    let unused = match record {
                        Ok(record) if record.makes() > 0 => (4..24).contains(&offset),
                        _ => true,
                    };
                    assert!(unused, "a change at {offset} of the record at {at} was missed");
                    assert!(found == expect, "a change at {offset} of the record at {at} changed what is read");
                    without_effect += 1;
                }
                Err(error) => {
                    assert!(error.to_string().contains("backup.bak"), "{error}");
                    match (record, &error) {
                        (Ok(record), Error::Damaged { offset: place, .. }) if record.makes() > 0 && offset >= 24 => {
                            assert_eq!(*place, at as u64, "{error}");
                        }
                        (Ok(record), _) if record.makes() > 0 && offset >= 24 => panic!("{error}"),
                        _ => {}
                    }
                    noticed += 1;
                }
            }
        }
    }
    assert!(noticed > 120 && without_effect > 60, "{noticed} noticed, {without_effect} without effect");
}

#[test]
fn a_file_that_was_cut_is_said_to_be() {
    let Some(root) = fixtures() else { return };
    let sound = fs::read(root.join(REAL)).unwrap();
    let records = records(&sound);
    let first_mark = records.iter().find(|(_, record)| record.is_err()).map(|(at, _)| at + 4096);
    let last = records.len() - 1;
    let places = records.iter().enumerate().flat_map(|(number, (at, record))| {
        let inside = at + number * 31 % record.map_or(52, |record| record.end() as usize);
        [*at, inside, at + 1, at + 30].into_iter().filter(move |_| number % 5 == 0 || number + 4 > last)
    });
    let mut tried = 0;
    for len in places.chain([8, 100, 0x1df, 0x1e0, sound.len() - 1]) {
        let error = open(&sound[..len]).expect_err("refused");
        // Behind the media header a file could end: no set was begun.
        if Some(len) == first_mark {
            assert!(matches!(error, Error::WrongKind { .. }), "{len}: {error}");
        } else {
            assert!(matches!(error, Error::CutShort { .. }), "{len}: {error}");
        }
        tried += 1;
    }
    assert!(tried > 100, "{tried}");
    check_refused(
        &sound[..500_000],
        " is cut short: the compressed piece at offset 485685 needs 506408 bytes, the file has 500000",
    );
}

#[test]
fn other_kinds_are_refused_by_name() {
    let Some(root) = fixtures() else { return };
    let plain = fs::read(root.join("backups/quiz-2014.bak")).unwrap();
    let sound = compress_backup(&plain);
    let first = FIRST_RECORD as usize;
    let with = |changes: &[(usize, &[u8])]| {
        let mut bytes = sound.clone();
        for (at, new) in changes {
            bytes[*at..at + new.len()].copy_from_slice(new);
        }
        bytes
    };
    check_refused(&with(&[(first, &[0x71])]), " cannot be read: it is encrypted (MSSQLBAK 2.3, records 0x71)");
    check_refused(
        &with(&[(first, &[0x23]), (12, &[4])]),
        " cannot be read: it is compressed with an algorithm that is not known (MSSQLBAK 2.4, records 0x23); MS_XPRESS is",
    );
    let zstd = rewritten(&sound, 2, 24, |record, bytes| {
        let mut bytes = bytes.to_vec();
        bytes[28..32].copy_from_slice(&[0x28, 0xb5, 0x2f, 0xfd]);
        let sum = checksum(&bytes[28..record.end() as usize]);
        bytes[24..28].copy_from_slice(&sum.to_le_bytes());
        bytes
    });
    check_refused(
        &zstd,
        " cannot be read: it is compressed with ZSTD (Zstandard), which is not supported; MS_XPRESS is",
    );
}

/// The forms that no real file was seen of, as they are assumed to be.
#[test]
fn stored_pieces_and_the_first_version_are_read() {
    let Some(root) = fixtures() else { return };
    let plain = fs::read(root.join("backups/quiz-2014.bak")).unwrap();
    let compressed = compress_backup(&plain);
    let expect = open(&plain).unwrap();
    let stored = rewritten(&compressed, 2, 24, |record, bytes| {
        let Content::Compressed(makes) = record.content else { panic!("{record:?}") };
        let data = record.unpack(bytes).unwrap();
        let mut bytes = vec![0x20, (makes / 512) as u8];
        bytes.extend((data.len() as u16).to_le_bytes());
        bytes.extend([0xff; 20]);
        bytes.extend(checksum(&data).to_le_bytes());
        bytes.extend(data);
        bytes
    });
    assert_eq!(open(&stored).unwrap(), expect);
    let first = rewritten(&compressed, 1, 4, |_, bytes| [&bytes[..4], &bytes[24..]].concat());
    assert_eq!(open(&first).unwrap(), expect);
}

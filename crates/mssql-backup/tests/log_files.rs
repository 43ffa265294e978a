//! Log files that are torn, damaged or of another database; what `inspect` and `dump log` say of files.

mod fixtures;

use std::fs;
use std::path::{Path, PathBuf};

use fixtures::fixtures;
use logferry_model::{Lsn, SourceEvent};
use logferry_mssql_backup::inspect::{Contents, inspect};
use logferry_mssql_backup::log_file::{LogFile, LogFiles};
use logferry_mssql_backup::{Changes, DataFiles, Error, LogBlocks, ReplayOptions, log_dump};
use logferry_mssql_format::log::op::Op;
use logferry_mssql_format::page::PAGE_SIZE;

/// Reads a log file; gives the number of blocks and the end, or the error.
fn read(path: &Path) -> Result<(u64, Lsn), Error> {
    let mut blocks = LogFiles::open(&[path.to_owned()])?.blocks(None)?;
    let mut count = 0;
    while blocks.next_block()?.is_some() {
        count += 1;
    }
    Ok((count, blocks.position()))
}

/// Reads a changed copy of a log file.
fn changed(root: &Path, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.ldf");
    let mut bytes = fs::read(root.join(name)).expect("reads");
    change(&mut bytes);
    fs::write(&path, bytes).expect("writes");
    match read(&path) {
        Ok((count, end)) => format!("{count} blocks to {end}"),
        Err(error) => error.to_string().replace(&format!("{}/", folder.path().display()), ""),
    }
}

const LOG: &str = "pairs/northwind-2008/northwnd.ldf";

/// Offset in the file of a block of the virtual log file 0x31, which begins at 0x40000 and is the last.
fn last_vlf(block: usize) -> usize {
    0x40000 + 512 * block
}

#[test]
fn damage_is_told_from_the_end() {
    let Some(root) = fixtures() else { return };
    let check = |change: &dyn Fn(&mut Vec<u8>), expect: &str| assert_eq!(changed(&root, LOG, change), expect);
    check(&|_| {}, "471 blocks to 00000031:000000c8:0001");
    // What stands behind the end does not matter.
    check(&|b| b[last_vlf(0xc8)] ^= 0xC0, "471 blocks to 00000031:000000c8:0001");
    // The last block was under way when the server stopped: the log ends before it.
    check(&|b| b[last_vlf(0xc7)] ^= 0xC0, "470 blocks to 00000031:000000c7:0001");
    // A block before it that is gone is damage.
    check(
        &|b| b[last_vlf(0x10)] ^= 0xC0,
        "x.ldf is damaged at offset 270336: log block 00000031:00000010:0001: \
         block 00000031:00000010:0001 with parity 0x40 stands in its place (at byte 12)",
    );
    check(
        &|b| b[last_vlf(0xa0)..last_vlf(0xa2)].fill(0),
        "x.ldf is damaged at offset 340480: log block 00000031:00000099:0001: \
         torn: sector 7 begins with 0x00, not 0x80 (at byte 3584)",
    );
    check(
        &|b| b[last_vlf(0x30) + 77] ^= 1,
        "x.ldf is damaged at offset 286720: log block 00000031:00000030:0001: \
         checksum is 0x0a143c7b, the header says 0x0a143d7b (at byte 24)",
    );
    // In a virtual log file before the last.
    check(
        &|b| b[0x7e000 + 512 * 0x20] ^= 0xC0,
        "x.ldf is damaged at offset 531456: log block 0000002e:0000001e:0001: \
         torn: sector 2 begins with 0x88, not 0x48 (at byte 1024)",
    );
    check(
        &|b| b[0x7e000 + 4] ^= 1,
        "x.ldf is damaged at offset 770048: sequence number 0x2f is there twice (at byte 4)",
    );
    check(&|b| b[0xbc000] = 0, "x.ldf is damaged at offset 770048: 0x00 does not begin a virtual log file (at byte 0)");
    check(
        &|b| b.truncate(0xc0000),
        "x.ldf is cut short: virtual log file 0x2f needs 1048576 bytes, the file has 786432",
    );
    check(&|b| b.truncate(0x1000), "x.ldf is cut short: the file header needs 8192 bytes, the file has 4096");
}

#[test]
fn a_log_file_of_another_database_is_refused() {
    let Some(root) = fixtures() else { return };
    let check = |data: &str, log: &str, expect: &str| {
        let log = LogFiles::open(&[root.join(log)]).expect("opens");
        let data = DataFiles::open(&[root.join(data)]).expect("opens");
        let found = match log.check_belongs(&data) {
            Ok(how) => format!("{how:?}"),
            Err(error) => error.to_string().replace(&format!("{}/", root.display()), ""),
        };
        assert_eq!(found, expect);
    };
    check("pairs/northwind-2008/northwnd.mdf", "pairs/northwind-2008/northwnd_log.ldf", "Binding");
    check("pairs/tax-2019/tax.mdf", "pairs/tax-2019/tax_log.ldf", "Binding");
    // The database was attached with a new log, which gave it a new GUID; the old log wrote its pages all the same.
    check("pairs/northwind-2008/northwnd.mdf", LOG, "Pages { matched: 142 }");
    check(
        "pairs/tax-2019/tax.mdf",
        "pairs/health-2019/health_log.ldf",
        "pairs/health-2019/health_log.ldf does not belong to pairs/tax-2019/tax.mdf: their binding GUIDs are \
         15ED3104-2092-491C-9789-FEBDC4E3EBF7 and F460B27C-9CF8-4172-8D8B-6AD90B29864A",
    );
    check(
        "pairs/webtool-2008r2/first/WebTool.mdf",
        "pairs/trivia-2008/before/Database1_log.ldf",
        "pairs/trivia-2008/before/Database1_log.ldf does not belong to pairs/webtool-2008r2/first/WebTool.mdf: \
         their binding GUIDs are 1220428C-31E7-48A0-892E-CE7F97E5CF36 and 8B2CC5BE-92CA-453F-9705-A7A689C808B4",
    );
}

#[test]
fn every_file_is_recognised() {
    let Some(root) = fixtures() else { return };
    let check = |name: &str, expect: &str| {
        let found = inspect(&root.join(name)).expect("reads");
        let what = match &found.contents {
            Contents::Backup { stripe, stripes, sets, .. } => {
                let sets: Vec<String> = (sets.iter())
                    .map(|s| format!("{} {} {}", s.header.kind, s.header.database, s.header.version))
                    .collect();
                format!("{stripe}/{stripes} {}", sets.join(", "))
            }
            Contents::CompressedBackup => "compressed".to_owned(),
            Contents::Data(header) => format!("data {} {} pages", header.name, header.pages),
            Contents::Log { header, vlfs, vlfs_used, range } => {
                format!("log {} {vlfs_used}/{vlfs} {range:?}", header.name)
            }
            Contents::Unknown => "unknown".to_owned(),
        };
        let error = found.error.map_or(String::new(), |e| format!("; {e}"));
        assert_eq!(format!("{what}{error}").replace(&format!("{}/", root.display()), ""), expect);
    };
    check(
        "backups/chinook-2025-stripe-1-of-2.bak",
        "1/2 full Chinook 998; backups/chinook-2025-stripe-1-of-2.bak is stripe 1 of 2: stripe 2 is missing",
    );
    check("chains/steps-2008r2/RestoreTimeClean2.bak", "1/1 differential RestoreTimeClean 661");
    check("backups/tsql2012-2016-compressed.bak", "1/1 full TSQL2012 852");
    check("pairs/tax-2019/tax.mdf", "data dms_Employee 1024 pages");
    check(
        "pairs/tax-2019/tax_log.ldf",
        "log dms_Employee_log 1/4 Some((00000025:00000010:0001, 00000025:000006a9:0001))",
    );
    check(
        "expected.json",
        "unknown; expected.json is not a file of SQL Server: file header: page 12845:1718562097: 13618 slots do not \
         fit on a page (at byte 22)",
    );
}

#[test]
fn a_dump_has_a_line_for_each_record() {
    let Some(root) = fixtures() else { return };
    let check = |paths: &[&str], lines: usize, holds: &[&str]| {
        let paths: Vec<PathBuf> = paths.iter().map(|p| root.join(p)).collect();
        let mut found = Vec::new();
        let mut blocks = log_dump::open(&paths, None).expect("opens");
        log_dump::records::<Error>(&mut blocks, &Default::default(), &Default::default(), |line| {
            found.push(line.to_string());
            Ok(())
        })
        .expect("reads");
        assert_eq!(found.len(), lines);
        for line in holds {
            assert!(found.iter().any(|f| f == line), "{line}\n{}", found[..40.min(found.len())].join("\n"));
        }
    };
    check(
        &["chains/steps-2008r2/RestoreTimeClean_2.trn"],
        30,
        &[
            "00000019:00000099:0001 LOP_BEGIN_XACT       LCX_NULL           0000:00000294 prev 00000000:00000000:0000 \
             flags 0x0002 length 112 \"INSERT\" 2017-06-01 13:04:13.023 type 1 spid 69",
            "00000019:00000099:0002 LOP_INSERT_ROWS      LCX_HEAP           0000:00000294 prev 00000019:00000099:0001 \
             flags 0x0002 length 112 page 1:153:10 unit 0x1000000001c0000 page_prev 00000019:00000098:0002 \
             rowset 0x1000000000e0000 offset 0 size 0",
        ],
    );
    check(&["chains/steps-2008r2/RestoreTimeClean_2.trn", "chains/steps-2008r2/RestoreTimeClean_3.trn"], 60, &[]);
    check(&[LOG], 4877, &[]);
}

#[test]
fn the_bytes_of_a_row_that_change_are_shown() {
    let Some(root) = fixtures() else { return };
    let paths = [root.join("pairs/shelter-2016/shelter_log.ldf")];
    let mut blocks = log_dump::open(&paths, None).expect("opens");
    let (mut one, mut several) = (0, 0);
    log_dump::records::<Error>(&mut blocks, &Default::default(), &Default::default(), |line| {
        let stretches = line.note.matches(" -> ").count();
        match line.op {
            Op::MODIFY_ROW => assert_eq!(stretches, 1, "{line}"),
            Op::MODIFY_COLUMNS => assert!(stretches >= 2, "{line}"),
            _ => return Ok(()),
        }
        let expect = line.row.map(|row| format!("[{}: ", row.offset)).filter(|_| line.op == Op::MODIFY_ROW);
        assert!(expect.is_none_or(|begin| line.note.starts_with(&begin)), "{line}");
        one += usize::from(stretches == 1);
        several += usize::from(stretches > 1);
        Ok(())
    })
    .expect("reads");
    assert!(one > 100 && several >= 20, "{one} of one stretch, {several} of several");
}

/// The virtual log files of a log file dealt out to two, as a server does that has two: their sequence numbers go from one to the other.
fn dealt_out(path: &Path) -> (tempfile::TempDir, [PathBuf; 2]) {
    const START_AT: usize = 24;
    let (bytes, folder) = (std::fs::read(path).unwrap(), tempfile::tempdir().unwrap());
    let mut parts = [bytes[..PAGE_SIZE].to_vec(), bytes[..PAGE_SIZE].to_vec()];
    for (at, vlf) in LogFile::open(path).unwrap().vlfs.iter().enumerate() {
        let part = &mut parts[at % 2];
        let start = part.len();
        part.extend(&bytes[vlf.start as usize..vlf.end() as usize]);
        part[start + START_AT..start + START_AT + 8].copy_from_slice(&(start as u64).to_le_bytes());
    }
    let paths = ["one.ldf", "two.ldf"].map(|name| folder.path().join(name));
    for (path, part) in paths.iter().zip(&parts) {
        std::fs::write(path, part).unwrap();
    }
    (folder, paths)
}

/// The records of a log, and the number of its row changes by table.
fn log_and_changes(logs: &[&Path], data: &Path) -> Result<(Vec<Lsn>, Vec<String>), Error> {
    let log = LogFiles::open(logs)?;
    let mut blocks = log.blocks(None)?;
    let mut lsns = Vec::new();
    while let Some(block) = blocks.next_block()? {
        for record in block.records() {
            lsns.push(record?.lsn);
        }
    }
    let mut changes = Changes::of_files(DataFiles::open(&[data])?, log, ReplayOptions::default())?;
    let mut told = Vec::new();
    while let Some(batch) = changes.next(1 << 20, usize::MAX)? {
        for event in &batch.events {
            if let SourceEvent::Change(change) = event {
                told.push(format!("{} {}", change.lsn, change.table.name));
            }
        }
    }
    Ok((lsns, told))
}

#[test]
fn several_log_files_are_one_log() {
    let Some(root) = fixtures() else { return };
    let mut used = 0;
    for pair in ["northwind-2008/northwnd", "flights-2016/flightdb", "shelter-2016/shelter", "health-2019/health"] {
        let data = root.join(format!("pairs/{pair}.mdf"));
        let log = [format!("pairs/{pair}.ldf"), format!("pairs/{pair}_log.ldf")].map(|name| root.join(name));
        let log = log.iter().find(|path| path.exists()).unwrap();
        let whole = log_and_changes(&[log], &data).unwrap();
        let (_folder, [one, two]) = dealt_out(log);
        assert_eq!(log_and_changes(&[&one, &two], &data).unwrap(), whole, "{pair}");
        assert_eq!(log_and_changes(&[&two, &one], &data).unwrap(), whole, "{pair}");
        // Without the one that has the end, the log would end too early.
        let (last, other) =
            match LogFile::open(&one).unwrap().vlfs.iter().any(|vlf| vlf.seq == whole.0.last().unwrap().vlf) {
                true => (&one, &two),
                false => (&two, &one),
            };
        let error = log_and_changes(&[other], &data).expect_err("the end of the log is missing").to_string();
        let said = ["a log file of the database is missing", "it holds no log", "their binding GUIDs are"];
        let named = said.iter().any(|part| error.contains(part));
        assert!(named, "{pair}: {error}");
        // The other one has older log only: what is there is given.
        let (lsns, _) = log_and_changes(&[last], &data).unwrap();
        assert!(whole.0.ends_with(&lsns), "{pair}");
        used += usize::from(lsns.len() < whole.0.len());
    }
    assert!(used > 0, "no log goes over several virtual log files");
}

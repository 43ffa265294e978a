//! Backup chains of real files: every chain of the manifest, and every way to break one.

mod fixtures;

use std::fs;
use std::path::{Path, PathBuf};

use fixtures::fixtures;
use logferry_model::Lsn;
use logferry_mssql_backup::backups::Backups;
use logferry_mssql_backup::chain::{Base, Chain, Differentials, PlanOptions, Tail};
use logferry_mssql_backup::set::{BackupSet, SetHeader};
use logferry_mssql_backup::{Error, LogBlocks};

const NO_DIFFERENTIALS: PlanOptions =
    PlanOptions { base: Base::Oldest, differentials: Differentials::Ignore, tail: Tail::Closed };

/// What is planned from some files: the names of its files, or the error; then what is not needed.
fn planned(root: &Path, files: &[&str], options: PlanOptions) -> String {
    let paths: Vec<PathBuf> = files.iter().map(|f| root.join(f)).collect();
    match Backups::find(&paths).and_then(|b| b.plan(None, options)) {
        Ok(chain) => describe(&chain),
        Err(error) => without(root, &error),
    }
}

fn describe(chain: &Chain) -> String {
    let name = |set: &BackupSet| set.path().file_stem().expect("name").to_string_lossy().into_owned();
    let mut text = chain.sets().map(name).collect::<Vec<_>>().join(" ");
    for set in &chain.unneeded {
        text += &format!("; {}: {}", set.path.file_stem().expect("name").to_string_lossy(), set.why);
    }
    text
}

fn without(root: &Path, error: &Error) -> String {
    error.to_string().replace(&format!("{}/", root.display()), "")
}

#[track_caller]
fn check(root: &Path, files: &[&str], options: PlanOptions, expect: &str) {
    let found = planned(root, files, options);
    assert_eq!(found, expect);
    // Neither the order nor the place of the files matters.
    let mut reversed = files.to_vec();
    reversed.reverse();
    assert_eq!(planned(root, &reversed, options), expect);
}

const S: &str = "chains/steps-2008r2";

fn steps(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| format!("{S}/RestoreTimeClean{n}")).collect()
}

#[track_caller]
fn check_steps(root: &Path, names: &[&str], options: PlanOptions, expect: &str) {
    let files = steps(names);
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    check(root, &files, options, &expect.replace("R:", "RestoreTimeClean").replace("S/", &format!("{S}/")));
}

#[test]
fn a_differential_takes_the_place_of_the_logs_before_it() {
    let Some(root) = fixtures() else { return };
    let older = "it is older than what the chain begins with";
    for chain in [S, "chains/steps-2016"] {
        check(
            &root,
            &[chain],
            PlanOptions::default(),
            &format!(
                "RestoreTimeClean RestoreTimeClean2 RestoreTimeClean2_1 RestoreTimeClean2_2 RestoreTimeClean2_3; \
                 RestoreTimeClean_1: {older}; RestoreTimeClean_2: {older}; RestoreTimeClean_3: {older}"
            ),
        );
        check(
            &root,
            &[chain],
            NO_DIFFERENTIALS,
            "RestoreTimeClean RestoreTimeClean_1 RestoreTimeClean_2 RestoreTimeClean_3 RestoreTimeClean2_1 \
             RestoreTimeClean2_2 RestoreTimeClean2_3; RestoreTimeClean2: differentials are not used",
        );
    }
}

#[test]
fn prefixes_of_a_chain() {
    let Some(root) = fixtures() else { return };
    let c = |names: &[&str], expect| check_steps(&root, names, NO_DIFFERENTIALS, expect);
    c(&[".bak"], "R:");
    c(&[".bak", "_1.trn"], "R: R:_1");
    c(&[".bak", "_1.trn", "_2.trn", "_3.trn", "2_1.trn"], "R: R:_1 R:_2 R:_3 R:2_1");
}

#[test]
fn a_second_differential_needs_no_first() {
    let Some(root) = fixtures() else { return };
    let c = |files: &[&str], expect| {
        let files: Vec<String> = files.iter().map(|f| format!("chains/doublediff-2008r2/difftest-{f}.bak")).collect();
        check(&root, &files.iter().map(String::as_str).collect::<Vec<_>>(), PlanOptions::default(), expect);
    };
    c(&["full", "diff2"], "difftest-full difftest-diff2");
    c(
        &["full", "diff1", "diff2"],
        "difftest-full difftest-diff2; difftest-diff1: it is older than what the chain begins with",
    );
}

#[test]
fn striped_backups_by_any_names() {
    let Some(root) = fixtures() else { return };
    let s = "chains/steps-striped-2008r2";
    let stripes = [format!("{s}/Stripe1"), format!("{s}/Stripe2")];
    let stripes: Vec<&str> = stripes.iter().map(String::as_str).collect();
    let older = "it is older than what the chain begins with";
    check(
        &root,
        &stripes,
        PlanOptions::default(),
        &format!(
            "RestoreTimeStripe2 restoretime_21 RestoreTimeStripe_22 RestoreTimeStripe_23; RestoreTimeStripe: {older}; \
             RestoreTimeStripe_1: {older}; RestoreTimeStripe_2: {older}; RestoreTimeStripe_3: {older}"
        ),
    );
    check(
        &root,
        &stripes,
        NO_DIFFERENTIALS,
        "RestoreTimeStripe RestoreTimeStripe_1 RestoreTimeStripe_2 RestoreTimeStripe_3 restoretime_21 \
         RestoreTimeStripe_22 RestoreTimeStripe_23; RestoreTimeStripe2: the logs hold what it holds",
    );
    check(
        &root,
        &stripes[..1],
        PlanOptions::default(),
        "chains/steps-striped-2008r2/Stripe1/RestoreTimeStripe.bak is stripe 1 of 2: stripe 2 is missing",
    );
}

#[test]
fn what_is_missing_is_named_with_both_positions() {
    let Some(root) = fixtures() else { return };
    let c = |names: &[&str], options, expect| check_steps(&root, names, options, expect);
    let newest = PlanOptions::default();
    c(
        &[".bak", "_1.trn", "_3.trn"],
        newest,
        "log of database \"R:\" has a hole: S/R:_1.trn ends at 00000019:00000099:0001, S/R:_3.trn begins at 00000019:000000a3:0001",
    );
    c(
        &[".bak", "_2.trn", "_3.trn"],
        newest,
        "log of database \"R:\" has a hole: S/R:.bak ends at 00000019:00000084:0001, S/R:_2.trn begins at 00000019:00000099:0001",
    );
    c(
        &[".bak", "2.bak", "2_2.trn"],
        newest,
        "log of database \"R:\" has a hole: S/R:2.bak ends at 00000019:000000be:0001, S/R:2_2.trn begins at 00000019:000000c8:0001",
    );
    c(
        &["_1.trn", "_2.trn"],
        newest,
        "no usable backup chain of database \"R:\": there is no full backup: S/R:_1.trn is a log backup",
    );
    c(
        &["2.bak", "2_1.trn"],
        newest,
        "no usable backup chain of database \"R:\": there is no full backup: S/R:2.bak is a differential backup",
    );
    // The differential closes the hole.
    c(
        &[".bak", "_1.trn", "_3.trn", "2.bak", "2_1.trn"],
        newest,
        "R: R:2 R:2_1; R:_1: it is older than what the chain begins with; R:_3: it is older than what the chain begins with",
    );
}

#[test]
fn a_position_to_go_on_from() {
    let Some(root) = fixtures() else { return };
    let from =
        |text: &str| PlanOptions { base: Base::EndingBy(text.parse().expect("an LSN")), ..PlanOptions::default() };
    let all = [".bak", "_1.trn", "_2.trn", "_3.trn", "2.bak", "2_1.trn"];
    let older = "it is older than what the chain begins with";
    check_steps(
        &root,
        &all,
        from("00000019:00000099:0001"),
        "R: R:_1 R:_2 R:_3 R:2_1; R:2: the logs hold what it holds",
    );
    check_steps(
        &root,
        &all,
        from("00000019:000000be:0001"),
        &format!("R: R:2 R:2_1; R:_1: {older}; R:_2: {older}; R:_3: {older}"),
    );
    check_steps(
        &root,
        &all,
        from("00000019:00000083:0001"),
        "log of database \"R:\" has a hole: the position to go on from ends at 00000019:00000083:0001, S/R:.bak begins at 00000019:00000084:0001",
    );
}

#[test]
fn files_of_other_histories_are_refused() {
    let Some(root) = fixtures() else { return };
    let newest = PlanOptions::default();
    let guids =
        "their database GUIDs are EDAD2FA4-C5A4-4ACD-8AD6-7386C2260D5D and F784761B-0032-4636-9A07-202706D9F791";
    // The same name, restored on another server.
    check(
        &root,
        &["chains/steps-2008r2/RestoreTimeClean.bak", "chains/steps-2016/RestoreTimeClean_1.trn"],
        newest,
        &format!(
            "chains/steps-2016/RestoreTimeClean_1.trn does not belong to chains/steps-2008r2/RestoreTimeClean.bak: {guids}"
        ),
    );
    check(
        &root,
        &["chains/steps-2008r2/RestoreTimeClean.bak", "chains/steps-2016/RestoreTimeClean2.bak"],
        newest,
        &format!(
            "chains/steps-2016/RestoreTimeClean2.bak does not belong to chains/steps-2008r2/RestoreTimeClean.bak: {guids}"
        ),
    );
    check(
        &root,
        &["chains/steps-2008r2", "chains/doublediff-2008r2"],
        newest,
        "no usable backup chain: the files are of 2 databases, name one: RestoreTimeClean, doublediff",
    );
}

/// Places in `SCIN`, of which a set has two copies.
const FORK: usize = 156;
const BASE: usize = 200;

#[test]
fn what_the_positions_do_not_tell_the_guids_do() {
    let Some(root) = fixtures() else { return };
    let check = |file: &str, place: usize, expect: &str| {
        let broken = Broken::new(&root, &[".bak", "2.bak", "_1.trn"]);
        let path = broken.folder.path().join(file);
        let mut bytes = fs::read(&path).expect("reads");
        let copies: Vec<usize> = (0..bytes.len() - 4).filter(|&i| bytes[i..].starts_with(b"SCIN")).collect();
        assert_eq!(copies.len(), 2);
        for at in copies {
            bytes[at + place] ^= 0xFF;
        }
        fs::write(&path, bytes).expect("writes");
        let plan = Backups::find(&[broken.folder.path().to_owned()]).and_then(|b| b.plan(None, PlanOptions::default()));
        assert_eq!(without(broken.folder.path(), &plan.expect_err("is refused")), expect);
    };
    check(
        "2.bak",
        BASE,
        "2.bak does not belong to .bak: it is a differential of backup set 5AF3E5F2-A4E0-4E9B-8AEF-FE52898C6359 \
         (at 00000019:0000003e:00aa), not of 5AF3E50D-A4E0-4E9B-8AEF-FE52898C6359 (at 00000019:0000003e:00aa)",
    );
    check(
        "_1.trn",
        FORK,
        "_1.trn does not belong to .bak: their recovery forks are E4B9B148-255C-4866-AF1F-EB4A29E8C2C9 and \
         E4B9B1B7-255C-4866-AF1F-EB4A29E8C2C9",
    );
}

#[test]
fn an_instance_database_by_database() {
    let Some(root) = fixtures() else { return };
    let backups = Backups::find(&[root.join("chains/instance-2008r2")]).expect("reads");
    let plans: Vec<String> = backups
        .plan_all(PlanOptions::default())
        .into_iter()
        .map(|(name, plan)| match plan {
            Ok(chain) => {
                format!("{name} {}", describe(&chain).replace("SQL2008_", "").replace(&format!("{name}_"), ""))
            }
            Err(error) => without(&root, &error),
        })
        .collect();
    let chain = |name: &str, full: &str| {
        format!(
            "{name} FULL_20170518_{full} DIFF_20170518_041826; \
             DIFF_20170518_041819: it is older than what the chain begins with; \
             LOG_20170518_041831: it is older than what the chain begins with; LOG_20170518_041837: it holds no log"
        )
    };
    let db1 = "no usable backup chain of database \"db1\": there is no full backup: \
               chains/instance-2008r2/db1/DIFF/SQL2008_db1_DIFF_20170518_041819.bak is a differential backup";
    assert_eq!(
        plans,
        [
            chain("Cube_Query_History", "041737"),
            chain("DBWithoutOwner", "041741"),
            db1.to_owned(),
            "db2 FULL_20170518_041738 DIFF_20170518_041819".to_owned(),
            "db3 FULL_20170518_041739".to_owned(),
            chain("dbOrphanUsers", "041740"),
            chain("dbareports", "041739"),
            chain("ft1", "041742"),
        ]
    );
}

/// A copy of a file, changed.
struct Broken {
    folder: tempfile::TempDir,
}

impl Broken {
    fn new(root: &Path, names: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in names {
            fs::copy(root.join(S).join(format!("RestoreTimeClean{name}")), folder.path().join(name)).expect("copies");
        }
        Broken { folder }
    }

    fn flip(&self, name: &str, offset: usize) {
        let path = self.folder.path().join(name);
        let mut bytes = fs::read(&path).expect("reads");
        bytes[offset] ^= 0x20;
        fs::write(&path, bytes).expect("writes");
    }

    fn cut(&self, name: &str, len: usize) {
        let path = self.folder.path().join(name);
        let bytes = fs::read(&path).expect("reads");
        fs::write(&path, &bytes[..len]).expect("writes");
    }

    /// Plans and verifies; gives the error.
    fn outcome(&self) -> String {
        let chain = Backups::find(&[self.folder.path().to_owned()]).and_then(|b| b.plan(None, NO_DIFFERENTIALS));
        match chain.and_then(|chain| chain.verify()) {
            Ok(verified) => format!("{verified:?}"),
            Err(error) => without(self.folder.path(), &error),
        }
    }
}

#[test]
fn damaged_files_are_refused_before_anything_is_applied() {
    let Some(root) = fixtures() else { return };
    let names = [".bak", "_1.trn", "_2.trn"];
    let check = |change: &dyn Fn(&Broken), expect: &str| {
        let broken = Broken::new(&root, &names);
        change(&broken);
        assert_eq!(broken.outcome(), expect);
    };
    check(&|_| {}, "Verified { pages: 168, blocks: 25, records: 257, log_bytes: 51712 }");
    check(
        &|b| b.cut("_2.trn", 70_000),
        "_2.trn is cut short: stream MQTL at offset 7656 needs 73216 bytes, the file has 70000",
    );
    check(
        &|b| b.cut("_2.trn", 0x13c00),
        "_2.trn is cut short: backup set 1, whose end is missing, needs 80897 bytes, the file has 80896",
    );
    check(
        &|b| b.cut("_2.trn", 0x300),
        "_2.trn is cut short: stream SPAD at offset 196 needs 1024 bytes, the file has 768",
    );
    check(&|b| b.cut("_2.trn", 4), "_2.trn is cut short: a descriptor block needs 52 bytes, the file has 4");
    check(
        &|b| b.cut(".bak", 1_000_000),
        ".bak is cut short: stream MQDA at offset 7656 needs 1383936 bytes, the file has 1000000",
    );
    check(
        &|b| b.flip("_2.trn", 0x1a04),
        "_2.trn is damaged at offset 6656: MTF block \"MSTL\": checksum is 0x1c61, not 0x1c41 (at byte 50)",
    );
    check(
        &|b| b.flip("_2.trn", 0x1dea),
        "_2.trn is damaged at offset 7656: MTF stream \"MQtL\": checksum is 0x1d3a, not 0x1d1a (at byte 20)",
    );
    // Log blocks: contents, parity, header.
    check(
        &|b| b.flip("_2.trn", 0x1e40),
        "_2.trn is damaged at offset 7680: log block 00000019:00000099:0001: checksum is 0x3904b0fc, the header says 0x3904b0dc (at byte 24)",
    );
    check(
        &|b| b.flip("_2.trn", 0x2000),
        "_2.trn is damaged at offset 8192: log block 00000019:0000009a:0001: torn: sector 0 begins with 0x78, not 0x58 (at byte 0)",
    );
    check(
        &|b| b.flip("_2.trn", 0x3003),
        "_2.trn is damaged at offset 12288: log block 00000019:000000a2:0001: 8195 records in 326 of 512 bytes (at byte 4)",
    );
    check(
        &|b| b.flip(".bak", 0x1e00 + 9 * 8192 + 100),
        "page 1:9 of .bak cannot be read: offset 81408: page 1:9: checksum is 0xbaa6dcf5, the header says 0xbab6dcf5 (at byte 60)",
    );
    check(
        &|b| b.flip(".bak", 0x15_2600 + 100),
        ".bak is damaged at offset 1385984: log block 00000019:0000003e:0001: checksum is 0x56d8ada2, the header says 0x56d8afa2 (at byte 24)",
    );
}

#[test]
fn every_chain_verifies_and_gives_each_block_once() {
    let Some(root) = fixtures() else { return };
    for folder in [S, "chains/steps-2016", "chains/doublediff-2008r2", "chains/steps-striped-2008r2"] {
        for options in [PlanOptions::default(), NO_DIFFERENTIALS] {
            let backups = Backups::find(&[root.join(folder)]).expect(folder);
            // The striped folder has a backup of a restored copy, too: another database.
            let chain = backups.plan(backups.databases().first().map(String::as_str), options).expect(folder);
            let verified = chain.verify().expect(folder);
            assert!(verified.blocks > 0 && verified.pages > 0);
            let mut blocks = chain.blocks(chain.redo_lsn()).expect(folder);
            let (mut next, mut count) = (Lsn { slot: 1, ..chain.redo_lsn() }, 0);
            while let Some(block) = blocks.next_block().expect(folder) {
                assert_eq!(block.header.first_lsn, next, "{folder}");
                next = block.header.next_lsn();
                count += 1;
            }
            assert_eq!((count, next), (verified.blocks, chain.end()), "{folder}");
        }
    }
}

/// Flips bytes all over a file, one at a time: what is still accepted is what it was.
#[test]
fn any_flipped_byte_is_refused_or_does_no_harm() {
    let Some(root) = fixtures() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.trn");
    let bytes = fs::read(root.join(S).join("RestoreTimeClean_2.trn")).expect("reads");
    let read = || -> Result<(SetHeader, Vec<u8>), Error> {
        let set = BackupSet::open(std::slice::from_ref(&path), None)?;
        let mut log = set.log(set.header.first_lsn)?;
        let mut all = Vec::new();
        while let Some(block) = log.next_block()? {
            for record in block.records() {
                all.extend_from_slice(record?.bytes());
            }
        }
        Ok((set.header, all))
    };
    fs::write(&path, &bytes).expect("writes");
    let (header, records) = read().expect("reads");
    let (mut refused, mut harmless) = (0, 0);
    // Headers and log are at the begin; a prime as the step meets every place in a sector.
    for at in (0..0x3200).step_by(13).chain((0x3200..bytes.len()).step_by(509)) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&path, &flipped).expect("writes");
        match read() {
            Ok((found, log)) if found == header => {
                assert!(log == records, "byte {at} changes the log");
                harmless += 1;
            }
            // The server's description has no checksum of its own.
            Ok(_) => {}
            Err(error) => {
                assert!(error.to_string().contains("x.trn"), "{error}");
                refused += 1;
            }
        }
    }
    println!("{refused} refused, {harmless} harmless");
    assert!(refused > 400);
}

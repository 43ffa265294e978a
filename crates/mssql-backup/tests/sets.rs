//! Backup sets of real files: headers, stripes, pages.

mod fixtures;

use std::fs;
use std::path::{Path, PathBuf};

use fixtures::fixtures;
use logferry_mssql_backup::PageSource;
use logferry_mssql_backup::set::{BackupSet, Guid};
use logferry_mssql_format::file_header::FileHeader;
use logferry_mssql_format::page::{PAGE_SIZE, PageHeader, PageId, PageType};

#[track_caller]
fn check(root: &Path, files: &[&str], expect: &str) {
    let paths: Vec<PathBuf> = files.iter().map(|f| root.join(f)).collect();
    let found = match BackupSet::open(&paths, None) {
        Ok(set) => {
            let h = &set.header;
            let copy = if h.copy_only { " copy-only" } else { "" };
            format!("{}{copy} {} {} {} {} {}", h.kind, h.database, h.server, h.version, h.first_lsn, h.last_lsn)
        }
        Err(error) => error.to_string().replace(&format!("{}/", root.display()), ""),
    };
    assert_eq!(found, expect);
}

#[test]
fn headers_of_every_version() {
    let Some(root) = fixtures() else { return };
    let c = |files: &[&str], expect| check(&root, files, expect);
    c(
        &["backups/northwind-2005.bak"],
        "full Northwind I208789\\SQLEXPRESS 611 0000001f:0000014b:0046 0000001f:0000016b:0001",
    );
    c(
        &["chains/steps-2008r2/RestoreTimeClean.bak"],
        "full RestoreTimeClean SQL2008 661 00000019:0000003e:00aa 00000019:00000084:0001",
    );
    c(
        &["chains/steps-2008r2/RestoreTimeClean2.bak"],
        "differential RestoreTimeClean SQL2008 661 00000019:000000ad:0026 00000019:000000be:0001",
    );
    c(
        &["chains/steps-2016/RestoreTimeClean_2.trn"],
        "log RestoreTimeClean WIN-JNMR8KM0U3B\\SQL2016 852 00000027:0000021d:0001 00000027:0000023b:0001",
    );
    c(
        &["backups/quiz-2014.bak"],
        "full ИС1811_СистемаТестирования PK306NEW-1 782 00000032:00000020:0052 00000032:00000058:0001",
    );
    c(
        &["backups/pubs-2012-six-sets.bak"],
        "full pubs DESKTOP-7789AN9\\SQLEXPRESS 706 00000086:000001a8:006f 00000086:000001e8:0001",
    );
    c(
        &["backups/tsql2012-2016-compressed.bak"],
        "full TSQL2012 EC3\\QC 852 000000a3:00000130:0025 000000a3:00000150:0001",
    );
    c(
        &["backups/students-2022.bak"],
        "full StudentDB DESKTOP-D20BSO4\\SQLEXPRESS 957 00000027:00000430:0001 00000027:00000448:0001",
    );
}

#[test]
fn a_stripe_alone_is_refused_by_name() {
    let Some(root) = fixtures() else { return };
    let c = |files: &[&str], expect| check(&root, files, expect);
    c(
        &["backups/chinook-2025-stripe-1-of-2.bak"],
        "backups/chinook-2025-stripe-1-of-2.bak is stripe 1 of 2: stripe 2 is missing",
    );
    c(
        &["backups/northwind-2014-stripe-1-of-2.bak"],
        "backups/northwind-2014-stripe-1-of-2.bak is stripe 1 of 2: stripe 2 is missing",
    );
    c(
        &["chains/steps-striped-2008r2/Stripe2/RestoreTimeStripe1.bak"],
        "chains/steps-striped-2008r2/Stripe2/RestoreTimeStripe1.bak is stripe 2 of 2: stripe 1 is missing",
    );
    c(
        &[
            "chains/steps-striped-2008r2/Stripe2/RestoreTimeStripe1.bak",
            "chains/steps-striped-2008r2/Stripe1/RestoreTimeStripe.bak",
        ],
        "full RestoreTimeStripe CGE100LAP-42\\SQL2008R2SP2 661 00000014:0000004a:00aa 00000014:00000090:0001",
    );
    c(
        &[
            "chains/steps-striped-2008r2/Stripe1/RestoreTimeStripe.bak",
            "chains/steps-striped-2008r2/Stripe2/RestoreTimeStripe2a.bak",
        ],
        "chains/steps-striped-2008r2/Stripe2/RestoreTimeStripe2a.bak does not belong to \
         chains/steps-striped-2008r2/Stripe1/RestoreTimeStripe.bak: their media sets are \
         632BB20E-A769-42A6-9D90-50FA3FCDC52E and DBA99816-9A6C-4AB6-B68C-76B2A726823D",
    );
}

#[test]
fn files_that_are_no_backups() {
    let Some(root) = fixtures() else { return };
    let c = |files: &[&str], expect| check(&root, files, expect);
    c(
        &["pairs/tax-2019/tax.mdf"],
        "pairs/tax-2019/tax.mdf is not a backup file: it begins with \"\\x01\\x0f\\x00\\x00\\x08\\x02\\x00\\x00\"",
    );
    c(&["nothing.bak"], "could not read nothing.bak: No such file or directory (os error 2)");
}

/// Reads all pages of a set; gives how many it holds and how many of its files' pages were ever written.
#[track_caller]
fn check_pages(root: &Path, files: &[&str], expect: (u64, u32)) {
    let paths: Vec<PathBuf> = files.iter().map(|f| root.join(f)).collect();
    let set = BackupSet::open(&paths, None).expect("opens");
    let pages = set.pages().expect("pages");
    let mut page = [0u8; PAGE_SIZE];
    let mut formatted = 0;
    for file in pages.files() {
        for number in 0..file.pages {
            let id = PageId::new(file.file, number);
            pages.read_page(id, &mut page).expect("reads");
            let header = PageHeader::read(&page).expect("header");
            assert!(!header.is_formatted() || header.id == id);
            assert!(!header.is_formatted() || pages.holds(id));
            formatted += u32::from(header.is_formatted());
        }
        pages.read_page(PageId::new(file.file, 0), &mut page).expect("file header");
        assert_eq!(Guid(FileHeader::read(&page).expect("file header").binding_guid), set.header.binding_guid);
    }
    pages.read_page(PageId::new(1, 9), &mut page).expect("boot page");
    assert_eq!(PageHeader::read(&page).expect("boot page").page_type, PageType::BOOT);
    assert_eq!((pages.page_count(), formatted), expect, "{files:?}");
}

#[test]
fn pages_are_found_by_their_headers() {
    let Some(root) = fixtures() else { return };
    let c = |files: &[&str], expect| check_pages(&root, files, expect);
    c(&["backups/northwind-2005.bak"], (416, 390));
    c(&["backups/quiz-2014.bak"], (368, 331));
    c(&["backups/tsql2012-2016-compressed.bak"], (912, 716));
    // Two passes: 424 pages and, again, 16.
    c(&["backups/students-2022.bak"], (440, 378));
    c(&["backups/pubs-2012-six-sets.bak"], (392, 358));
    c(&["chains/instance-2008r2/db2/FULL/SQL2008_db2_FULL_20170518_041738.bak"], (168, 166));
    // Two data files; the server filled the set up to a MiB.
    c(&["chains/instance-2008r2/db1/DIFF/SQL2008_db1_DIFF_20170518_041819.bak"], (40, 38));
    let s = "chains/steps-striped-2008r2";
    c(&[&format!("{s}/Stripe1/RestoreTimeStripe.bak"), &format!("{s}/Stripe2/RestoreTimeStripe1.bak")], (184, 174));
}

/// Two sets in one file, as a second `BACKUP ... WITH NOINIT` leaves them.
fn appended(root: &Path) -> Vec<u8> {
    const SET: usize = 0x600;
    let mut bytes = fs::read(root.join("chains/steps-2008r2/RestoreTimeClean_1.trn")).expect("reads");
    let second = fs::read(root.join("chains/steps-2008r2/RestoreTimeClean_2.trn")).expect("reads");
    let at = bytes.len();
    bytes.extend_from_slice(&second[SET..]);
    bytes[at + 62] = 2;
    bytes[at + 80..at + 88].copy_from_slice(&(at as u64).to_le_bytes());
    bytes
}

#[test]
fn sets_are_chosen_by_number() {
    let Some(root) = fixtures() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("two.trn");
    fs::write(&path, appended(&root)).expect("writes");
    let open = |number| {
        BackupSet::open(std::slice::from_ref(&path), number)
            .map(|set| (set.number, set.header.first_lsn.to_string()))
            .map_err(|e| e.to_string().replace(&format!("{}/", folder.path().display()), ""))
    };
    assert_eq!(open(Some(1)), Ok((1, "00000019:0000003e:00aa".to_owned())));
    assert_eq!(open(Some(2)), Ok((2, "00000019:00000099:0001".to_owned())));
    assert_eq!(open(Some(3)), Err("two.trn has no backup set 3: it holds 2".to_owned()));
    assert_eq!(open(None), Err("two.trn holds 2 backup sets: say which".to_owned()));
}

//! Backup sets of real files: headers, stripes, pages.

mod fixtures;

use std::path::{Path, PathBuf};

use fixtures::fixtures;
use logferry_mssql_backup::PageSource;
use logferry_mssql_backup::set::{BackupKind, BackupSet};
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
    c(&["backups/quiz-2014.bak"], "full ИС1811_СистемаТестирования");
    c(&["backups/pubs-2012-six-sets.bak"], "full pubs");
    c(&["backups/students-2022.bak"], "full StudentDB");
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
        "full RestoreTimeStripe",
    );
    c(
        &[
            "chains/steps-striped-2008r2/Stripe1/RestoreTimeStripe.bak",
            "chains/steps-striped-2008r2/Stripe2/RestoreTimeStripe2a.bak",
        ],
        "x",
    );
    c(
        &["backups/tsql2012-2016-compressed.bak"],
        "backups/tsql2012-2016-compressed.bak cannot be read: it is a compressed backup (MSSQLBAK), which this version does not read",
    );
}

#[test]
fn pages_of_full_backups() {
    let Some(root) = fixtures() else { return };
    let s = "chains/steps-striped-2008r2/";
    for files in [
        vec!["backups/northwind-2005.bak".to_owned()],
        vec!["backups/quiz-2014.bak".to_owned()],
        vec!["backups/students-2022.bak".to_owned()],
        vec!["backups/pubs-2012-six-sets.bak".to_owned()],
        vec!["chains/instance-2008r2/db2/FULL/SQL2008_db2_FULL_20170518_041738.bak".to_owned()],
        vec!["chains/instance-2008r2/db1/DIFF/SQL2008_db1_DIFF_20170518_041819.bak".to_owned()],
        vec![format!("{s}Stripe1/RestoreTimeStripe.bak"), format!("{s}Stripe2/RestoreTimeStripe1.bak")],
    ] {
        let paths: Vec<PathBuf> = files.iter().map(|f| root.join(f)).collect();
        let set = BackupSet::open(&paths, None).expect("opens");
        let pages = set.pages().expect("pages");
        println!(
            "{files:?} {:?}",
            set.files.iter().map(|f| (f.id, f.pages_in_set, f.bytes / 8192)).collect::<Vec<_>>()
        );
        println!(
            "{:?} {}",
            pages.runs().map(|r| (r.file, r.extent, r.extents)).collect::<Vec<_>>(),
            pages.page_count()
        );
        let mut page = [0u8; PAGE_SIZE];
        let (mut formatted, mut bad) = (0, Vec::new());
        for file in pages.files() {
            for page_no in 0..file.pages {
                let id = PageId::new(file.file, page_no);
                match pages.read_page(id, &mut page) {
                    Ok(()) => formatted += u32::from(PageHeader::read(&page).unwrap().is_formatted()),
                    Err(e) => bad.push(e.to_string()),
                }
            }
        }
        println!("{formatted} {bad:?}");
        pages.read_page(PageId::new(1, 9), &mut page).expect("boot page");
        assert_eq!(PageHeader::read(&page).unwrap().page_type, PageType::BOOT);
        assert_eq!(
            set.header.kind == BackupKind::Full,
            set.header.base_guid.is_none() || set.header.kind == BackupKind::Full
        );
    }
}

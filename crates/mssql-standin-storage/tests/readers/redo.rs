//! The log of a chain, applied to the pages of its base, beside the pages that the engine has.

use std::collections::BTreeMap;
use std::path::PathBuf;

use logferry_mssql_backup::backups::Backups;
use logferry_mssql_backup::chain::PlanOptions;
use logferry_mssql_backup::{DataFiles, LogBlocks, PageSource};
use logferry_mssql_format::page::{PAGE_SIZE, Page, PageBytes, PageId, PageType};
use logferry_mssql_format::redo;
use logferry_mssql_format::row::row_len;
use logferry_mssql_standin_storage::Database;

/// Rows of a page by slot.
fn rows(bytes: &PageBytes) -> Vec<(u16, Vec<u8>)> {
    let page = Page::read(bytes).expect("the page is valid");
    let is_map =
        !matches!(page.header.page_type, PageType::DATA | PageType::INDEX | PageType::TEXT_MIX | PageType::TEXT_TREE);
    page.rows()
        .map(|row| row.expect("the slot is valid"))
        .map(|(slot, row)| {
            let len = if is_map { row.len() } else { row_len(row, page.header.min_len).expect("the row is whole") };
            (slot, row[..len].to_vec())
        })
        .collect()
}

/// Compares all pages that the log of a chain changed; gives how many.
#[track_caller]
pub fn same_pages(db: &mut Database, files: &[PathBuf], what: &str) -> usize {
    let backups = Backups::find(files).unwrap();
    let chain = backups.plan(None, PlanOptions::default()).unwrap();
    chain.verify().unwrap();
    let base = chain.base_pages().unwrap();
    let mut pages: BTreeMap<PageId, Box<PageBytes>> = BTreeMap::new();
    let mut blocks = chain.blocks(chain.redo_lsn()).unwrap();
    while let Some(block) = blocks.next_block().unwrap() {
        for record in block.records() {
            let record = record.unwrap();
            let Some(target) = redo::target(&record).unwrap() else { continue };
            let id = target.row.page;
            let page = pages.entry(id).or_insert_with(|| {
                let mut page = Box::new([0; PAGE_SIZE]);
                base.read_page(id, &mut page).unwrap();
                page
            });
            if let Err(e) = redo::apply(page, &record) {
                panic!("{what}: {e}");
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let mdf = folder.path().join("standin.mdf");
    db.write_data_file(&mdf).unwrap();
    let files = DataFiles::open(&[mdf]).unwrap();
    let mut found = 0;
    for (id, page) in &pages {
        let mut mine = [0; PAGE_SIZE];
        files.read_page(*id, &mut mine).unwrap();
        // What is not logged, or written after the log ends: boot page, counts of rows.
        let header = Page::read(&mine).unwrap().header;
        if header.page_type == PageType::BOOT || matches!(header.obj_id, 5 | 7) {
            continue;
        }
        let (a, b) = (rows(page), rows(&mine));
        assert_eq!(a.len(), b.len(), "{what}: page {id}, rows after redo and in the engine");
        for (x, y) in a.iter().zip(&b) {
            assert!(x == y, "{what}: page {id}, slot {} after redo and in the engine", x.0);
        }
        if !matches!(header.page_type, PageType::DIFF_MAP) {
            assert_eq!(Page::read(page).unwrap().header.lsn, header.lsn, "{what}: page {id}");
        }
        found += 1;
    }
    found
}

//! Values outside of rows in real files: all pieces of a value have the id that its row knows it by. That is what ties a change of a piece
//! in the log to its row.

mod fixtures;

use logferry_mssql_backup::backups::Backups;
use logferry_mssql_backup::chain::PlanOptions;
use logferry_mssql_backup::scan::rowset_extents;
use logferry_mssql_backup::{Catalog, DataFiles, PageSource};
use logferry_mssql_format::lob::LobRecord;
use logferry_mssql_format::page::{PAGE_SIZE, Page, PageId, PageType, RowId};
use logferry_mssql_format::row::{RawCell, RecordKind};

/// Rows of user tables that have their values' ids checked: how many values, and how many pieces.
fn check(pages: &dyn PageSource, what: &str) -> (usize, usize) {
    let catalog = Catalog::read(pages).unwrap();
    let (mut values, mut pieces) = (0, 0);
    for rowset in (0..catalog.tables.len()).flat_map(|table| catalog.rowsets_of(table)) {
        if rowset.layout.is_packed() {
            continue;
        }
        for id in rowset_extents(&pages, rowset).unwrap().iter().flat_map(|extent| extent.pages()) {
            let bytes = read(pages, id);
            let page = Page::read(&bytes).unwrap();
            if page.header.page_type != PageType::DATA || page.header.level != 0 {
                continue;
            }
            for (slot, row) in page.rows().map(Result::unwrap) {
                if !matches!(RecordKind::of(row[0]), RecordKind::Primary | RecordKind::Forwarded) {
                    continue;
                }
                let mut cells = Vec::new();
                rowset.layout.decode(row, &mut cells).unwrap();
                for cell in &cells {
                    let RawCell::OffRow(pointer) = cell else { continue };
                    let blob = pointer.blob_id().unwrap();
                    let roots = pointer.root_record().unwrap().into_iter();
                    let mut left: Vec<RowId> = roots.chain(pointer.links().map(|link| link.unwrap().at)).collect();
                    values += 1;
                    while let Some(at) = left.pop() {
                        let bytes = read(pages, at.page);
                        let record = Page::read(&bytes).unwrap().row_bytes(at.slot).unwrap().expect("a piece");
                        assert_eq!(LobRecord::blob_id(record).unwrap(), blob, "{what}: {at} of row {id}:{slot}");
                        pieces += 1;
                        if let LobRecord::Node(node) = LobRecord::read(record).unwrap() {
                            left.extend(node.links().map(|link| link.unwrap().at));
                        }
                    }
                }
            }
        }
    }
    eprintln!("{what}: {values} values, {pieces} pieces");
    (values, pieces)
}

fn read(pages: &dyn PageSource, id: PageId) -> Box<[u8; PAGE_SIZE]> {
    let mut bytes = Box::new([0; PAGE_SIZE]);
    pages.read_page(id, &mut bytes).unwrap();
    bytes
}

#[test]
fn all_pieces_of_a_value_have_the_id_that_its_row_knows() {
    let Some(root) = fixtures::fixtures() else { return };
    let mut all = 0;
    for file in ["northwind-2005", "pubs-2012-six-sets", "quiz-2014", "students-2022", "tsql2012-2016-compressed"] {
        let chain = Backups::find(&[root.join(format!("backups/{file}.bak"))]).unwrap();
        let pages = chain.plan(None, PlanOptions::default()).unwrap().base_pages().unwrap();
        all += check(&pages, file).0;
    }
    for file in ["northwind-2008/northwnd", "flights-2016/flightdb", "health-2019/health", "shelter-2016/shelter"] {
        let pages = DataFiles::open(&[root.join(format!("pairs/{file}.mdf"))]).unwrap();
        all += check(&pages, file).0;
    }
    assert!(all > 90, "only {all} values outside of rows");
}

//! Sparse columns as the catalog says them. No real file with such columns is at hand: here a column of a real table is made one, by its
//! bit in `sysrscols`, and the rows are written as the format's notes have them.

mod fixtures;

use fixtures::fixtures;
use logferry_mssql_backup::scan::RowReader;
use logferry_mssql_backup::set::BackupSet;
use logferry_mssql_backup::{Catalog, Error, FileExtent, PageSource};
use logferry_mssql_format::catalog::rowset_column;
use logferry_mssql_format::encode::{FormatPage, PageImage};
use logferry_mssql_format::page::{Page, PageBytes, PageId, PageType};
use logferry_mssql_format::render;

const PAGE: PageId = PageId::new(1, 99_999);
/// The object id of `sysrscols`, and where its rows have rowset, column and status.
const SYSRSCOLS: u32 = 3;
const ROWSET_AT: usize = 4;
const COLUMN_AT: usize = 12;
const STATUS_AT: usize = 40;

/// The pages of a backup, and one more; a column of a rowset is sparse.
struct Sparse<S> {
    pages: S,
    rowset: u64,
    column: u32,
    page: PageBytes,
}

impl<S: PageSource> PageSource for Sparse<S> {
    fn read_page(&self, id: PageId, into: &mut PageBytes) -> Result<(), Error> {
        if id == PAGE {
            into.copy_from_slice(&self.page);
            return Ok(());
        }
        self.pages.read_page(id, into)?;
        let page = Page::read(into)?;
        if page.header.obj_id != SYSRSCOLS || page.header.page_type != PageType::DATA {
            return Ok(());
        }
        let offsets: Vec<usize> = (0..page.slot_count()).filter_map(|slot| page.slot(slot)).map(usize::from).collect();
        for at in offsets {
            let is = |from: usize, bytes: &[u8]| into[at + from..].starts_with(bytes);
            if is(ROWSET_AT, &self.rowset.to_le_bytes()) && is(COLUMN_AT, &self.column.to_le_bytes()) {
                into[at + STATUS_AT + 1] |= (rowset_column::SPARSE >> 8) as u8;
            }
        }
        Ok(())
    }

    fn files(&self) -> Vec<FileExtent> {
        self.pages.files()
    }
}

/// A row of an `int` in its fixed part, and a vector of the sparse columns that are not NULL.
fn row(step: i32, sparse: &[(u16, &[u8])]) -> Vec<u8> {
    let mut row = vec![if sparse.is_empty() { 0x10 } else { 0x30 }, 0, 8, 0];
    row.extend(step.to_le_bytes());
    row.extend([2, 0, 0]);
    if sparse.is_empty() {
        return row;
    }
    let mut vector = vec![5, 0];
    vector.extend((sparse.len() as u16).to_le_bytes());
    sparse.iter().for_each(|(id, _)| vector.extend(id.to_le_bytes()));
    let mut end = 4 + 4 * sparse.len();
    for (_, value) in sparse {
        end += value.len();
        vector.extend((end as u16).to_le_bytes());
    }
    sparse.iter().for_each(|(_, value)| vector.extend_from_slice(value));
    row.extend([1, 0]);
    row.extend(((row.len() + 2 + vector.len()) as u16 | 0x8000).to_le_bytes());
    row.extend(vector);
    row
}

#[test]
fn values_of_sparse_columns_are_read_by_the_catalog() {
    let Some(root) = fixtures() else { return };
    let set = BackupSet::open(&[root.join("chains/steps-2016/RestoreTimeClean.bak")], None).unwrap();
    let plain = Catalog::read(&set.pages().unwrap()).unwrap();
    let rowset = plain.rowsets_of(plain.find_table("dbo.steps").unwrap()).next().unwrap().id;
    let mut page = PageImage::format(&FormatPage {
        id: PAGE,
        page_type: PageType::DATA,
        type_flags: 0,
        level: 0,
        obj_id: 99,
        index_id: 256,
        prev: PageId::default(),
        next: PageId::default(),
        min_len: 8,
    });
    // The column's value, without one, and with that of a column that is not the table's.
    let time = [0, 0, 0, 0, 0, 0x5F, 0x37, 0x0B];
    page.insert(0, &row(1, &[(2, &time)]));
    page.insert(1, &row(2, &[]));
    page.insert(2, &row(3, &[(7, &[1, 2, 3])]));
    page.insert(3, &row(4, &[(1, &[9]), (2, &time), (7, &[])]));
    let pages = Sparse { pages: set.pages().unwrap(), rowset, column: 2, page: page.sealed() };
    let catalog = Catalog::read(&pages).unwrap();
    let table = catalog.find_table("dbo.steps").unwrap();
    assert_eq!(catalog.tables[table].unreadable, None);
    let rowset = catalog.rowsets_of(table).next().unwrap().clone();
    let version = catalog.tables[table].version.clone();
    let mut reader = RowReader::new(pages, &catalog, &rowset).unwrap();
    let mut lines = Vec::new();
    reader
        .read_page(PAGE, |cells| {
            let mut line = String::new();
            render::row(&version, cells, &mut line);
            lines.push(line);
            Ok::<_, Error>(())
        })
        .unwrap();
    let with = r#""dt":"2013-07-23T00:00:00.0000000"}"#;
    let expect = [r#"{"step":1,"#, r#"{"step":2,"dt":null}"#, r#"{"step":3,"dt":null}"#, r#"{"step":4,"#];
    assert_eq!(
        lines,
        [format!("{}{with}", expect[0]), expect[1].into(), expect[2].into(), format!("{}{with}", expect[3])]
    );
}

//! Reading with the product's own readers: what tests of the engine share.

#![allow(dead_code, reason = "not every test uses all of it")]

pub mod redo;
pub mod target;

use std::collections::BTreeMap;
use std::sync::Arc;

use logferry_model::{Cell, Lsn};
use logferry_mssql_backup::chain::Chain;
use logferry_mssql_backup::scan::read_table;
use logferry_mssql_backup::{Catalog, Error, FileExtent, LogBlocks, PageSource};
use logferry_mssql_format::page::{PAGE_SIZE, PageBytes, PageId};
use logferry_mssql_format::redo as format_redo;
use logferry_mssql_standin_storage::workload::Expected;
use logferry_mssql_standin_storage::{Database, Row};

/// All rows of all tables, sorted.
pub type Tables = BTreeMap<String, Vec<Row>>;

/// What a database says is committed.
pub fn committed(db: &Database) -> Tables {
    db.tables()
        .map(|(id, def)| {
            let mut rows: Vec<Row> = db.rows(id).map(|(_, row)| Row::clone(row)).collect();
            rows.sort();
            (format!("{}.{}", def.schema, def.name), rows)
        })
        .collect()
}

/// What a chain says must come out.
pub fn sorted(expected: &Expected) -> Tables {
    let sort = |rows: &Vec<Arc<Row>>| {
        let mut rows: Vec<Row> = rows.iter().map(|row| Row::clone(row)).collect();
        rows.sort();
        rows
    };
    expected.iter().map(|(name, rows)| (name.clone(), sort(rows))).collect()
}

/// All rows on the pages. `counts`: the counts of rows in `sysrowsets` must be right.
pub fn read(pages: &dyn PageSource, counts: bool) -> Tables {
    let catalog = Catalog::read(pages).expect("the catalog can be read");
    let mut tables = Tables::new();
    for (at, table) in catalog.tables.iter().enumerate() {
        let mut rows = Vec::new();
        let count = read_table(&pages, &catalog, at, |cells| {
            let row = cells.iter().map(|cell| match cell {
                Cell::Null => None,
                Cell::Bytes(b) => Some(b.to_vec()),
                Cell::Unchanged => panic!("pages have all values"),
            });
            rows.push(row.collect());
            Ok::<_, Error>(())
        })
        .expect("the rows can be read");
        if counts {
            assert_eq!(count.read, count.recorded, "{}: rows on pages, rows by sysrowsets", table.version.name);
        }
        rows.sort();
        tables.insert(table.version.name.to_string(), rows);
    }
    tables
}

/// Pages of a backup with the changes of the log on top.
pub struct Redone<P> {
    base: P,
    pub pages: BTreeMap<PageId, Box<PageBytes>>,
}

impl<P: PageSource> Redone<P> {
    /// Applies the log of a chain up to an LSN (exclusive) to its base.
    pub fn new(base: P, chain: &Chain, end: Lsn) -> Self {
        let mut redone = Redone { base, pages: BTreeMap::new() };
        let mut blocks = chain.blocks(chain.redo_lsn()).unwrap();
        while let Some(block) = blocks.next_block().unwrap() {
            for record in block.records() {
                let record = record.unwrap();
                if record.lsn >= end {
                    return redone;
                }
                let Some(target) = format_redo::target(&record).unwrap() else { continue };
                let id = target.row.page;
                let page = redone.pages.entry(id).or_insert_with(|| {
                    let mut page = Box::new([0; PAGE_SIZE]);
                    redone.base.read_page(id, &mut page).unwrap();
                    page
                });
                format_redo::apply(page, &record).unwrap_or_else(|e| panic!("{e}"));
            }
        }
        redone
    }
}

impl<P: PageSource> PageSource for Redone<P> {
    fn read_page(&self, id: PageId, into: &mut PageBytes) -> Result<(), Error> {
        match self.pages.get(&id) {
            Some(page) => {
                *into = **page;
                Ok(())
            }
            None => self.base.read_page(id, into),
        }
    }

    fn files(&self) -> Vec<FileExtent> {
        self.base.files()
    }
}

//! What a database says of itself: its tables, their columns and keys, and where their rows are.
//!
//! ```text
//! boot page 1:9 ── sysallocunits ─┬─ sysrowsets ── sysrscols          where rows are, and where columns are in them
//!                                 └─ sysschobjs, sysclsobjs, syscolpars, sysidxstats, sysiscols       what they are
//! ```
//!
//! A catalog is as of one moment of the pages that it was read from. To have it as of another, read it from the pages of that moment.

mod base;
mod build;

use std::sync::Arc;

use logferry_model::TableVersion;
use logferry_mssql_format::boot::Boot;
use logferry_mssql_format::page::PageId;
use logferry_mssql_format::row::RowLayout;
use rustc_hash::FxHashMap;

use crate::error::{Error, Result};
use crate::pages::PageSource;

/// The user tables of a database at one moment.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// Version, name and collation of the database.
    pub boot: Boot,
    /// User tables, in the order of their names.
    pub tables: Vec<CatalogTable>,
    rowsets: FxHashMap<u64, Rowset>,
}

/// A user table.
#[derive(Clone, Debug)]
pub struct CatalogTable {
    /// Name, columns, keys.
    pub version: Arc<TableVersion>,
    /// The rowsets that hold its rows (heap or clustered index), in the order of their partitions.
    pub rowsets: Vec<u64>,
    /// Why its rows cannot be read, where they cannot.
    pub unreadable: Option<String>,
    /// What is assumed of the log's records of its rows, as no real file shows it.
    pub assumed: Option<String>,
}

/// Rows of a table that are stored together: a heap, a clustered index, or a partition of one.
#[derive(Clone, Debug)]
pub struct Rowset {
    /// `sysrowsets.rowsetid`, `sys.partitions.hobt_id`, the rowset id of log records.
    pub id: u64,
    /// Index into [`Catalog::tables`].
    pub table: usize,
    /// 0: heap, 1: clustered index.
    pub index_id: u32,
    /// From 1.
    pub partition: u32,
    /// How its rows are compressed.
    pub compression: Compression,
    /// Rows, by `sysrowsets.rcrows`.
    pub rows: u64,
    /// Where the columns of the table are in its rows.
    pub layout: Arc<RowLayout>,
    /// Where its pages are.
    pub alloc_units: Vec<AllocUnit>,
}

/// `sys.partitions.data_compression`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// `ROW`
    Row,
    /// `PAGE`
    Page,
    /// `COLUMNSTORE` and `COLUMNSTORE_ARCHIVE`
    Columnstore,
    /// A code that is not known.
    Unknown(u8),
}

/// A set of pages of a rowset: `sysallocunits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocUnit {
    /// `sysallocunits.auid`
    pub id: u64,
    /// What its pages hold.
    pub kind: AllocUnitKind,
    /// First page, or none.
    pub first: PageId,
    /// Root of the tree; of a heap the last page; or none.
    pub root: PageId,
    /// First page of its IAM chain, or none where it has no pages.
    pub first_iam: PageId,
}

/// `sys.allocation_units.type`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AllocUnitKind {
    /// Rows.
    InRow,
    /// LOBs.
    Lob,
    /// Values that did not fit into their rows.
    RowOverflow,
    /// A code that is not known.
    Unknown(u8),
}

impl Catalog {
    /// Reads the catalog of the database that has these pages.
    ///
    /// # Errors
    /// Where a page cannot be read, or base tables say what cannot be. A user table that cannot be read is no error here: see
    /// [`CatalogTable::unreadable`].
    pub fn read(pages: &dyn PageSource) -> Result<Catalog> {
        Ok(build::catalog(&base::BaseTables::read(pages)?))
    }

    /// The rowset of an id, if it holds rows of a user table (not entries of a nonclustered index).
    pub fn rowset(&self, rowset_id: u64) -> Option<&Rowset> {
        self.rowsets.get(&rowset_id)
    }

    /// The rowsets that hold the rows of a table (an index into `tables`), in the order of their partitions.
    pub fn rowsets_of(&self, table: usize) -> impl Iterator<Item = &Rowset> {
        let ids = self.tables.get(table).map_or(&[][..], |table| &table.rowsets);
        ids.iter().filter_map(|id| self.rowsets.get(id))
    }

    /// Rows of a table (an index into `tables`), by `sysrowsets`.
    pub fn recorded_rows(&self, table: usize) -> u64 {
        self.rowsets_of(table).map(|rowset| rowset.rows).fold(0, u64::saturating_add)
    }

    /// Finds a table by `schema.table`, or by the table's name alone where only one has it: an index into `tables`. Exact case first,
    /// else any.
    ///
    /// # Errors
    /// Where there is none, or more than one: says which there are.
    pub fn find_table(&self, name: &str) -> Result<usize> {
        let same = |table: &CatalogTable, exact: bool| {
            let (full, short) = (table.version.name.to_string(), &table.version.name.name);
            if exact {
                full == name || short == name
            } else {
                caseless(&full) == caseless(name) || caseless(short) == caseless(name)
            }
        };
        for exact in [true, false] {
            let found: Vec<usize> = (0..self.tables.len()).filter(|&i| same(&self.tables[i], exact)).collect();
            match *found.as_slice() {
                [] => {}
                [one] => return Ok(one),
                _ => {
                    let names: Vec<String> = found.iter().map(|&i| self.tables[i].version.name.to_string()).collect();
                    return Err(Error::NoSuchTable {
                        name: name.to_owned(),
                        near: format!("it could be {}", names.join(", ")),
                    });
                }
            }
        }
        let names: Vec<String> = self.tables.iter().take(50).map(|t| t.version.name.to_string()).collect();
        let near = if names.is_empty() {
            "the database has no user tables".to_owned()
        } else {
            format!("the tables are {}", names.join(", "))
        };
        Err(Error::NoSuchTable { name: name.to_owned(), near })
    }
}

fn caseless(name: &str) -> String {
    name.to_lowercase()
}

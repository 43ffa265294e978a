//! What a database says of itself: its tables, their columns and keys, and where their rows are.

use std::sync::Arc;

use logferry_model::TableVersion;
use logferry_mssql_format::page::PageId;
use logferry_mssql_format::row::RowLayout;
use rustc_hash::FxHashMap;

/// The user tables of a database at one moment.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
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
    /// The rowset of an id, if it holds rows of a user table (not entries of a nonclustered index).
    pub fn rowset(&self, rowset_id: u64) -> Option<&Rowset> {
        self.rowsets.get(&rowset_id)
    }

    /// The table of a name; case matters.
    pub fn table(&self, schema: &str, name: &str) -> Option<&CatalogTable> {
        self.tables.iter().find(|t| t.version.name.schema == schema && t.version.name.name == name)
    }
}

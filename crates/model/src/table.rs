//! Tables of the source, as of one point in its history.

use std::fmt;

use crate::types::SqlType;

/// `sys.objects.object_id` of a table: keeps its meaning when the table is renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u32);

/// Schema and table, as the source spells them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// e.g. `dbo`
    pub schema: String,
    /// e.g. `Order Details`
    pub name: String,
}

impl TableName {
    /// A name of its two parts.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        TableName { schema: schema.into(), name: name.into() }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// The columns and keys that a table had when a row of it was written.
///
/// `columns` are the columns that have values, in the order of their ids: a computed column that is not
/// persisted is not among them. Every row of this version has one cell per entry, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableVersion {
    /// The table.
    pub id: TableId,
    /// Counts up with every change of shape, from 1.
    pub version: u32,
    /// Its name.
    pub name: TableName,
    /// Columns in the order of their ids.
    pub columns: Vec<SourceColumn>,
    /// The primary key, if there is one: what a row is found by.
    pub primary_key: Option<UniqueKey>,
    /// Unique constraints and unique indexes without a filter, apart from the primary key.
    pub unique_keys: Vec<UniqueKey>,
    /// What could not be said of this table in the fields above (computed columns that are left out,
    /// filtered indexes, ...): one sentence each, for the plan and the precheck.
    pub notes: Vec<String>,
}

impl TableVersion {
    /// The columns that a row is found by: those of the primary key, else of the first unique key whose columns are never NULL.
    pub fn row_key(&self) -> Option<&[usize]> {
        let never_null = |key: &&[usize]| key.iter().all(|&c| self.columns.get(c).is_some_and(|c| !c.nullable));
        let unique = || self.unique_keys.iter().map(|key| key.columns.as_slice()).find(never_null);
        self.primary_key.as_ref().map(|key| key.columns.as_slice()).or_else(unique)
    }
}

/// A column and what the target must know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceColumn {
    /// `sys.columns.column_id`
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its type, alias types resolved to their base.
    pub sql_type: SqlType,
    /// The alias type (`CREATE TYPE ... FROM`) that it was declared of.
    pub alias: Option<AliasType>,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// `IDENTITY(seed, increment)`
    pub identity: Option<Identity>,
    /// A persisted computed column: it has stored values like any other.
    pub computed: bool,
    /// What the column is in rows that were written before it was added: the default that it was added with. NULL where there
    /// is none, and where the source gives such rows anew.
    pub missing: Option<Vec<u8>>,
    /// Which column of the stored rows this is, where the source tells. When another one of the same rowset takes its place, rows
    /// have no value in it until each is written again, as a change of its own.
    pub stored: Option<StoredColumn>,
}

/// A type that is another name for a type of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasType {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
}

/// A column of stored rows: `sys.system_internals_partition_columns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredColumn {
    /// The rowset; of a partitioned table the first.
    pub rowset: u64,
    /// Its number there, which is not used again.
    pub column: u32,
}

impl StoredColumn {
    /// Whether this one took the place of `other`, without the values.
    pub fn replaces(self, other: StoredColumn) -> bool {
        self.rowset == other.rowset && self.column != other.column
    }
}

/// `IDENTITY(seed, increment)` and the last value handed out, where it is known.
///
/// Identity columns may be `decimal(38,0)`, so 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// First value.
    pub seed: i128,
    /// Step; may be negative.
    pub increment: i128,
    /// Last value handed out.
    pub last: Option<i128>,
}

/// A primary key, unique constraint or unique index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniqueKey {
    /// Name of the constraint or index.
    pub name: String,
    /// Indexes into [`TableVersion::columns`], in key order.
    pub columns: Vec<usize>,
    /// Whether the table is stored in the order of this key.
    pub clustered: bool,
}

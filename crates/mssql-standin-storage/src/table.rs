//! Tables: their columns, where these go in a row, and what orders their keys.

mod codes;
mod layout;
mod order;

use logferry_model::{Collation, SqlType};
use logferry_mssql_format::page::RowId;

pub(crate) use self::codes::{TypeCodes, fixed_len};
pub(crate) use self::layout::{Form, NOT_STORED, Placer, StoredColumn, TableLayout, UNIQUIFIER_LEN, uniquifier_of};
pub(crate) use self::order::sort_key;

/// One value per column, in the order of the column ids, in the form of [`SqlType`]'s table; `None` is NULL.
pub type Row = Vec<Option<Vec<u8>>>;

/// What a table is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDef {
    /// `dbo`, or a schema that was made before.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Columns; their ids count from 1.
    pub columns: Vec<ColumnDef>,
    /// Columns of the clustered index, which is the primary key unless it was made otherwise, by place in `columns`; empty for a heap.
    pub primary_key: Vec<usize>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDef {
    /// Its name.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// `IDENTITY(seed, increment)`
    pub identity: Option<Identity>,
    /// Computed and not persisted: no place in rows, always `None` in a [`Row`].
    pub computed: bool,
}

/// Where the values of an identity column begin, and how they go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The first value.
    pub seed: i64,
    /// From one to the next; not 0.
    pub increment: i64,
}

impl Identity {
    /// `IDENTITY(1,1)`
    pub const ONE: Identity = Identity { seed: 1, increment: 1 };
}

impl ColumnDef {
    /// A column that allows NULL.
    pub fn new(name: impl Into<String>, sql_type: SqlType) -> Self {
        ColumnDef { name: name.into(), sql_type, nullable: true, identity: None, computed: false }
    }

    /// The column, NOT NULL.
    pub fn not_null(self) -> Self {
        ColumnDef { nullable: false, ..self }
    }

    /// The column as `IDENTITY(1,1)`.
    pub fn identity(self) -> Self {
        ColumnDef { identity: Some(Identity::ONE), nullable: false, ..self }
    }
}

/// How a row is found again: by its key, or by its place in the heap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKey {
    /// Of tables with a primary key: the key's columns, in a form that sorts as bytes.
    Key(Vec<u8>),
    /// Of heaps: where the row is, or where its forwarding stub is.
    Rid(RowId),
}

/// SQL_Latin1_General_CP1_CI_AS
pub const DEFAULT_COLLATION: Collation = Collation(0x3400_D008);

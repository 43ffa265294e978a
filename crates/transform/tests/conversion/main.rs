//! Cells in SQL Server's storage form through plans, as PostgreSQL gets them.

mod beside;
mod clock;
mod numbers;
mod plans;
mod reshaped;
mod structured;
mod text;
mod variant;

use std::sync::Arc;

use logferry_model::{Cell, Collation, PgType, SourceColumn, SqlType, TableId, TableName, TableVersion, UniqueKey};
use logferry_transform::{CellError, ConvertError, Settings, TablePlan, Types};

/// SQL_Latin1_General_CP1_CI_AS: code page 1252.
const LATIN1: Collation = Collation(0x3400_d008);

/// `dbo.T` with these columns, the first one its primary key.
fn table(columns: &[(&str, SqlType)]) -> TableVersion {
    let columns: Vec<_> = (1..)
        .zip(columns)
        .map(|(id, (name, sql_type))| SourceColumn {
            id,
            name: (*name).to_owned(),
            sql_type: sql_type.clone(),
            alias: None,
            nullable: id != 1,
            identity: None,
            computed: false,
            missing: None,
            stored: None,
        })
        .collect();
    TableVersion {
        id: TableId(1),
        version: 1,
        name: TableName::new("dbo", "T"),
        columns,
        primary_key: Some(UniqueKey { name: "PK_T".to_owned(), columns: vec![0], clustered: true }),
        unique_keys: Vec::new(),
        notes: Vec::new(),
    }
}

#[track_caller]
fn compile(table: TableVersion, settings: &Settings) -> TablePlan {
    TablePlan::compile(&Arc::new(table), settings).expect("the table has a plan")
}

/// A plan of one column.
#[track_caller]
fn one_column(sql_type: &SqlType, types: Types) -> TablePlan {
    compile(table(&[("C", sql_type.clone())]), &Settings { types, ..Settings::default() })
}

/// The one value of a row, as COPY BINARY carries it.
fn copied(plan: &TablePlan, cell: Cell<'_>) -> Result<Option<Vec<u8>>, CellError> {
    let mut out = b"before".to_vec();
    match plan.copy_row(&[cell], &mut out) {
        Ok(()) => {}
        Err(ConvertError::Cell { reason, .. }) => {
            assert_eq!(out, b"before", "an error leaves nothing behind");
            return Err(reason);
        }
        Err(error) => panic!("{error}"),
    }
    let field = out.strip_prefix(b"before\0\x01").expect("one field");
    let (length, value) = field.split_first_chunk::<4>().expect("a length");
    match i32::from_be_bytes(*length) {
        -1 => {
            assert!(value.is_empty());
            Ok(None)
        }
        length => {
            assert_eq!(length as usize, value.len());
            Ok(Some(value.to_vec()))
        }
    }
}

/// That a type maps to a type, and a cell of it to these bytes.
#[track_caller]
fn check(sql_type: &SqlType, pg_type: PgType, cell: &[u8], expect: Result<&[u8], CellError>) {
    check_with(Types::default(), sql_type, pg_type, cell, expect);
}

#[track_caller]
fn check_with(types: Types, sql_type: &SqlType, pg_type: PgType, cell: &[u8], expect: Result<&[u8], CellError>) {
    let plan = one_column(sql_type, types);
    assert_eq!(plan.target().columns[0].pg_type, pg_type);
    assert_eq!(copied(&plan, Cell::Bytes(cell)), expect.map(|bytes| Some(bytes.to_vec())), "{sql_type:?} {cell:02x?}");
    assert_eq!(copied(&plan, Cell::Null), Ok(None));
    assert_eq!(copied(&plan, Cell::Unchanged), Err(CellError::Missing));
}

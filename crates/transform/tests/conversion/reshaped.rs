//! Tables of which the target has another shape, and values of rows that are older than a column.

use std::sync::Arc;

use logferry_model::{
    Cell, Change, ChangeOp, Lsn, PgType, RowStore, SourceColumn, SqlType, TableVersion, TargetTable, UniqueKey,
};
use logferry_transform::{Settings, TablePlan};

use crate::{LATIN1, compile, table};

fn text(length: u16) -> SqlType {
    SqlType::VarChar { length: Some(length), collation: LATIN1 }
}

/// A table of columns, given by id, name and type; the first one is its key.
fn shape(columns: &[(u32, &str, SqlType)]) -> TableVersion {
    let named: Vec<(&str, SqlType)> = columns.iter().map(|(_, name, t)| (*name, t.clone())).collect();
    let mut table = table(&named);
    for (column, (id, ..)) in table.columns.iter_mut().zip(columns) {
        column.id = *id;
    }
    table
}

fn old() -> Arc<TargetTable> {
    compile(shape(&[(1, "id", SqlType::Int), (2, "a", text(5)), (3, "b", text(5))]), &Settings::default())
        .target()
        .clone()
}

#[track_caller]
fn onto(columns: &[(u32, &str, SqlType)], known: &Arc<TargetTable>) -> Result<TablePlan, String> {
    compile(shape(columns), &Settings::default()).onto(known).map_err(|problem| problem.to_string())
}

fn cell_text(cell: Cell<'_>) -> String {
    match cell {
        Cell::Null => "null".to_owned(),
        Cell::Unchanged => "?".to_owned(),
        Cell::Bytes(bytes) if bytes.len() == 4 => i32::from_be_bytes(bytes.try_into().unwrap()).to_string(),
        Cell::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

#[test]
fn rows_go_on_to_a_table_that_stays_as_it_is() {
    // a has another name and is wider, b is gone, c is new; they stand in another order.
    let new = [(1, "id", SqlType::Int), (7, "c", text(5)), (2, "x", text(50))];
    let known = old();
    let plan = onto(&new, &known).unwrap();
    assert!(Arc::ptr_eq(plan.target(), &known));
    let mut rows = RowStore::new();
    let one = 1_i32.to_le_bytes();
    let row = rows.push_row([Cell::Bytes(&one), Cell::Bytes(b"new"), Cell::Bytes(b"a")]);
    let convert = |op| {
        let mut store = RowStore::new();
        let change = Change { lsn: Lsn::ZERO, table: plan.source().clone(), op };
        let change = plan.convert_change(&change, &rows, &mut store).unwrap();
        let text = |row| store.row(row).cells().map(cell_text).collect::<Vec<_>>().join(" ");
        match change.op {
            ChangeOp::Insert { after } => text(after),
            ChangeOp::Update { before, after } => format!("{} > {}", text(before), text(after)),
            ChangeOp::Delete { before } => text(before),
            ChangeOp::Truncate => String::new(),
        }
    };
    // What the source does not have any more is NULL in new rows, and stays in others.
    assert_eq!(convert(ChangeOp::Insert { after: row }), "1 a null");
    assert_eq!(convert(ChangeOp::Update { before: row, after: row }), "1 a ? > 1 a ?");
    assert_eq!(convert(ChangeOp::Delete { before: row }), "1 a ?");
}

#[test]
fn what_the_target_cannot_take_as_it_is_is_told() {
    let known = old();
    let (id, a, b) = ((1, "id", SqlType::Int), (2, "a", text(5)), (3, "b", text(5)));
    let check = |columns: &[(u32, &str, SqlType)], known: &Arc<TargetTable>, expect: &str| {
        assert_eq!(onto(columns, known).err().as_deref(), Some(expect));
    };
    check(
        &[id.clone(), (2, "a", SqlType::Int), b.clone()],
        &known,
        "column \"dbo.T.a\": has another type on the source now",
    );
    check(&[a.clone(), id.clone(), b.clone()], &known, "table \"dbo.T\": it has another key on the source now");
    let mut strict = TargetTable::clone(&known);
    strict.columns[2].nullable = false;
    check(
        &[id.clone(), a.clone()],
        &Arc::new(strict),
        "column \"dbo.T.b\": is gone on the source, and must not be NULL on the target",
    );
    let mut keyless = TargetTable::clone(&known);
    keyless.key.clear();
    check(
        &[id, a],
        &Arc::new(keyless),
        "column \"dbo.T.b\": is gone on the source, and the table is found by whole rows",
    );
}

#[test]
fn older_rows_have_the_default_of_a_column() {
    let mut source = table(&[("Id", SqlType::Int), ("N", SqlType::SmallInt), ("T", text(9)), ("U", text(9))]);
    source.columns[1].missing = Some(7_i16.to_le_bytes().to_vec());
    source.columns[2].missing = Some(b"caf\xe9".to_vec());
    let plan = compile(source, &Settings::default());
    let missing: Vec<_> = (0..5).map(|column| plan.missing(column).unwrap()).collect();
    assert_eq!(missing, [None, Some(vec![0, 7]), Some("café".as_bytes().to_vec()), None, None]);
    let mut wrong = table(&[("Id", SqlType::Int)]);
    wrong.columns[0] = SourceColumn { missing: Some(vec![1]), ..wrong.columns[0].clone() };
    assert!(compile(wrong, &Settings::default()).missing(0).is_err());
}

#[test]
fn columns_and_tables_are_known_by_their_ids() {
    let mut source = shape(&[(4, "id", SqlType::Int), (9, "a", SqlType::Bit)]);
    source.unique_keys = vec![UniqueKey { name: "u".into(), columns: vec![1], clustered: false }];
    let target = compile(source.clone(), &Settings::default()).target().clone();
    assert_eq!(target.source_id, source.id);
    let ids: Vec<_> = target.columns.iter().map(|c| (c.source_id, &c.pg_type)).collect();
    assert_eq!(ids, [(4, &PgType::Int4), (9, &PgType::Bool)]);
}

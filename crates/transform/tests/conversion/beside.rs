//! Columns beside those of the source, for what their types do not hold.

use std::sync::Arc;

use logferry_model::{Cell, Change, ChangeOp, Lsn, PgType, RowStore, SqlType, TargetColumn, UniqueKey};
use logferry_transform::{HundredNs, Offset, Settings, TablePlan, Types};

use crate::{compile, table};

fn both() -> Types {
    Types { hundred_ns: HundredNs::Remainder, offset: Offset::Column, ..Types::default() }
}

fn plan(types: Types, columns: &[(&str, SqlType)], key: &[usize]) -> TablePlan {
    let mut source = table(columns);
    source.primary_key = Some(UniqueKey { name: "pk".into(), columns: key.to_vec(), clustered: true });
    compile(source, &Settings { types, ..Settings::default() })
}

#[track_caller]
fn check_columns(types: Types, column: SqlType, key: &[usize], expect: &str) {
    let plan = plan(types, &[("Id", SqlType::Int), ("At", column), ("Z", SqlType::Bit)], key);
    let target = plan.target();
    let names = |columns: &[usize]| columns.iter().map(|&c| target.columns[c].name.as_str()).collect::<Vec<_>>();
    let columns = target.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(" ");
    assert_eq!(format!("{columns} / {}", names(&target.key).join(" ")), expect);
    let beside = target.columns.iter().skip(3);
    assert!(beside.clone().all(|c| c.pg_type == PgType::Int2 && c.nullable == target.columns[1].nullable));
}

#[test]
fn columns_that_come_beside() {
    let offset = |scale| SqlType::DateTimeOffset { scale };
    check_columns(Types::default(), offset(7), &[0], "id at z / id");
    check_columns(both(), offset(7), &[0], "id at z at_100ns at_offset / id");
    // Instants are told apart by their seventh digit; those of different zones are the same.
    check_columns(both(), offset(7), &[1, 0], "id at z at_100ns at_offset / at at_100ns id");
    check_columns(both(), offset(6), &[1], "id at z at_offset / at");
    check_columns(both(), SqlType::Time { scale: 7 }, &[0], "id at z at_100ns / id");
    check_columns(both(), SqlType::DateTime2 { scale: 7 }, &[0], "id at z at_100ns / id");
    check_columns(both(), SqlType::DateTime2 { scale: 6 }, &[0], "id at z / id");
    check_columns(both(), SqlType::DateTime, &[0], "id at z / id");
    let text = Types { offset: Offset::Text, ..both() };
    check_columns(text, offset(7), &[0], "id at z / id");
    let text = Types { hundred_ns: HundredNs::Text, ..both() };
    check_columns(text, offset(7), &[0], "id at z / id");
}

#[test]
fn columns_beside_have_names_and_ids_of_their_own() {
    let mut settings = Settings { types: both(), ..Settings::default() };
    settings.names.columns.insert("dbo.T.At_offset".into(), "Zone".into());
    let source = table(&[("Id", SqlType::Int), ("At", SqlType::DateTimeOffset { scale: 7 })]);
    let target = compile(source.clone(), &settings).target().clone();
    let columns: Vec<_> = target.columns.iter().map(|c| (c.name.as_str(), c.source_id)).collect();
    let expect = [("id", 1), ("at", 2), ("at_100ns", 2 | TargetColumn::REMAINDER), ("Zone", 2 | TargetColumn::OFFSET)];
    assert_eq!(columns, expect);
    settings.names.columns.insert("dbo.T.At_100ns".into(), "id".into());
    let problems = TablePlan::compile(&Arc::new(source), &settings).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].to_string().contains("is that of column \"Id\" as well"), "{}", problems[0]);
}

/// 2000-01-01 00:00:01.2345678 +02:00, as SQL Server stores it.
fn moment() -> Vec<u8> {
    let units = 12_345_678_u64.to_le_bytes();
    [&units[..5], &730_119_u32.to_le_bytes()[..3], &120_i16.to_le_bytes()].concat()
}

#[test]
fn values_are_in_all_of_them() {
    let plan =
        plan(both(), &[("Id", SqlType::Bit), ("At", SqlType::DateTimeOffset { scale: 7 }), ("B", SqlType::Bit)], &[0]);
    let (moment, microseconds) = (moment(), 1_234_567_i64.to_be_bytes());
    let mut copied = Vec::new();
    plan.copy_row(&[Cell::Bytes(&[1]), Cell::Bytes(&moment), Cell::Null], &mut copied).unwrap();
    let fields: [&[u8]; 5] = [
        &[0, 5, 0, 0, 0, 1, 1, 0, 0, 0, 8],
        &microseconds,
        &[0xff, 0xff, 0xff, 0xff],
        &[0, 0, 0, 2, 0, 8],
        &[0, 0, 0, 2, 0, 120],
    ];
    assert_eq!(copied, fields.concat());
    // Nothing was lost.
    assert!(plan.counts().is_empty());

    let mut rows = RowStore::new();
    let before = rows.push_row([Cell::Bytes(&[1]), Cell::Unchanged, Cell::Null]);
    let after = rows.push_row([Cell::Bytes(&[1]), Cell::Bytes(&moment), Cell::Null]);
    let none = rows.push_row([Cell::Bytes(&[1]), Cell::Null, Cell::Null]);
    let mut store = RowStore::new();
    let mut converted = |row| {
        let change = Change { lsn: Lsn::ZERO, table: plan.source().clone(), op: ChangeOp::Insert { after: row } };
        let ChangeOp::Insert { after } = plan.convert_change(&change, &rows, &mut store).unwrap().op else { panic!() };
        store.row(after).cells().map(|cell| format!("{cell:?}")).collect::<Vec<_>>()
    };
    let shown = |cells: [Cell<'_>; 5]| cells.map(|cell| format!("{cell:?}"));
    let (yes, null, same) = (Cell::Bytes(&[1]), Cell::Null, Cell::Unchanged);
    assert_eq!(converted(before), shown([yes, same, null, same, same]));
    assert_eq!(
        converted(after),
        shown([yes, Cell::Bytes(&microseconds), null, Cell::Bytes(&[0, 8]), Cell::Bytes(&[0, 120])])
    );
    assert_eq!(converted(none), shown([yes, null, null, null, null]));
}

#[test]
fn rows_go_on_to_a_table_that_has_no_columns_beside() {
    let columns = [("Id", SqlType::Bit), ("At", SqlType::DateTimeOffset { scale: 7 })];
    let known = plan(Types::default(), &columns, &[0]).target().clone();
    let plan = plan(both(), &columns, &[0]).onto(&known).unwrap();
    let (mut store, moment) = (RowStore::new(), moment());
    let row = plan.convert_row([Cell::Bytes(&[1]), Cell::Bytes(&moment)].into_iter(), &mut store).unwrap();
    assert_eq!(store.row(row).cells().len(), 2);
}

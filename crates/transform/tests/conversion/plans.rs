//! Tables: names, keys, notes, whole rows and changes.

use std::sync::Arc;

use logferry_model::{
    AliasType, Cell, Change, ChangeOp, Class, Fault, Identity, Lsn, PgType, RowStore, SqlType, TableName, TableVersion,
    UniqueKey,
};
use logferry_transform::{
    AliasTypes, COPY_HEADER, COPY_TRAILER, CharPadding, ColumnTypes, ConvertError, NulCharacter, Settings, TablePlan,
    TableRename, Types,
};

use crate::{LATIN1, compile, table};

fn key(name: &str, columns: &[usize]) -> UniqueKey {
    UniqueKey { name: name.to_owned(), columns: columns.to_vec(), clustered: false }
}

#[test]
fn target_of_a_table() {
    let mut source = table(&[
        ("Id", SqlType::BigInt),
        ("Name", SqlType::NVarChar { length: Some(50), collation: LATIN1 }),
        ("Total", SqlType::Decimal { precision: 18, scale: 4 }),
    ]);
    let identity = Identity { seed: 1, increment: 1, last: Some(7) };
    source.columns[0].identity = Some(identity);
    source.unique_keys = vec![key("UQ_Name", &[1, 2])];
    let plan = compile(source, &Settings::default());
    let target = plan.target();
    assert_eq!((target.schema.as_str(), target.name.as_str()), ("dbo", "t"));
    assert_eq!(target.source, TableName::new("dbo", "T"));
    assert_eq!((target.key.as_slice(), target.key_name.as_deref()), (&[0][..], Some("pk_t")));
    assert_eq!(target.unique, [("uq_name".to_owned(), vec![1, 2])]);
    let columns: Vec<_> = target.columns.iter().map(|c| (c.name.as_str(), &c.pg_type, c.nullable)).collect();
    let expect = [
        ("id", &PgType::Int8, false),
        ("name", &PgType::VarChar { length: 50 }, true),
        ("total", &PgType::Numeric { precision: 18, scale: 4 }, true),
    ];
    assert_eq!(columns, expect);
    assert_eq!(target.columns[0].identity, Some(identity));
    assert!(plan.notes().is_empty());
}

#[test]
fn rows_without_a_primary_key_are_found_by_a_key_that_is_never_null() {
    let mut source = table(&[("A", SqlType::Int), ("B", SqlType::Int)]);
    source.primary_key = None;
    source.unique_keys = vec![key("U1", &[1]), key("U2", &[0])];
    let plan = compile(source.clone(), &Settings::default());
    assert_eq!((plan.target().key.as_slice(), &plan.target().key_name), (&[0][..], &None));
    assert_eq!(plan.target().unique.len(), 2);
    source.unique_keys.pop();
    let plan = compile(source, &Settings::default());
    assert!(plan.target().key.is_empty());
    assert_eq!(plan.notes().len(), 1);
}

/// What is declared of an alias type is of a domain of its name where that is asked for, and can be.
#[test]
fn columns_of_alias_types() {
    let mut source = table(&[("Id", SqlType::Int), ("Code", SqlType::Char { length: 4, collation: LATIN1 })]);
    for (column, name) in source.columns.iter_mut().zip(["Number", "Short Code"]) {
        column.alias = Some(AliasType { schema: "Sales".to_owned(), name: name.to_owned() });
    }
    let domains = |source: &TableVersion, settings: &Settings| -> Vec<Option<String>> {
        let plan = compile(source.clone(), settings);
        plan.target().columns.iter().map(|c| c.domain.as_ref().map(|d| format!("{}.{}", d.schema, d.name))).collect()
    };
    let (number, code) = (Some("sales.number".to_owned()), Some("sales.short code".to_owned()));
    assert_eq!(domains(&source, &Settings::default()), [None, None]);
    let types = Types { alias_types: AliasTypes::Domain, ..Types::default() };
    let mut settings = Settings { types, ..Settings::default() };
    assert_eq!(domains(&source, &settings), [number.clone(), code]);
    // A column of its own form is not of the domain's type.
    let own = ColumnTypes { char_padding: Some(CharPadding::Keep), ..ColumnTypes::default() };
    settings.columns.insert("dbo.T.Code".to_owned(), own);
    assert_eq!(domains(&source, &settings), [number, None]);
    source.columns[0].identity = Some(Identity { seed: 1, increment: 1, last: None });
    assert_eq!(domains(&source, &settings), [None, None]);
}

#[track_caller]
fn check_notes(column: SqlType, in_key: bool, expect: &[&str]) {
    let mut source = table(&[("Id", SqlType::Int), ("C", column)]);
    if in_key {
        source.unique_keys = vec![key("U", &[1])];
    }
    let plan = compile(source, &Settings::default());
    let notes: Vec<_> = plan.notes().iter().map(ToString::to_string).collect();
    assert_eq!(notes.len(), expect.len(), "{notes:?}");
    for (note, expect) in notes.iter().zip(expect) {
        assert!(note.contains(expect), "{note:?} does not say {expect:?}");
    }
}

#[test]
fn notes_say_what_is_not_as_on_the_source() {
    check_notes(SqlType::Int, true, &[]);
    check_notes(SqlType::Json, false, &["column \"C\": json is copied as the bytes that SQL Server stores"]);
    check_notes(SqlType::Geography, false, &["EWKB"]);
    check_notes(SqlType::RowVersion, false, &["rowversion"]);
    check_notes(SqlType::DateTime2 { scale: 7 }, false, &[]);
    check_notes(SqlType::DateTime2 { scale: 7 }, true, &["hundred_ns: text"]);
    check_notes(SqlType::DateTime2 { scale: 6 }, true, &[]);
    let varchar = |id| SqlType::VarChar { length: Some(1), collation: logferry_model::Collation(id) };
    check_notes(varchar(LATIN1.0), false, &[]);
    check_notes(varchar(0xd07f), false, &["collation 0xd07f is not known"]);
    check_notes(varchar(0xd003), false, &[]);
    check_notes(varchar(0x2_d035), false, &["has no code page"]);
}

#[test]
fn identity_of_a_decimal_stays_a_plain_column() {
    let mut source = table(&[("Id", SqlType::Decimal { precision: 38, scale: 0 })]);
    source.columns[0].identity = Some(Identity { seed: 1, increment: 1, last: None });
    let plan = compile(source, &Settings::default());
    assert_eq!(plan.target().columns[0].identity, None);
    assert_eq!(plan.notes().len(), 1);
}

#[test]
fn problems_come_all_at_once() {
    let long = "x".repeat(64);
    let mut source = table(&[
        ("Id", SqlType::Int),
        ("ID", SqlType::Int),
        ("xmin", SqlType::Int),
        (&long, SqlType::Int),
        ("D", SqlType::Decimal { precision: 39, scale: 0 }),
    ]);
    source.name = TableName::new("dbo", long.clone());
    let problems = TablePlan::compile(&Arc::new(source), &Settings::default()).expect_err("problems");
    let columns: Vec<_> = problems.iter().map(|p| p.column.as_deref()).collect();
    assert_eq!(columns, [None, Some("D"), Some("ID"), Some("xmin"), Some(long.as_str())]);
    let fault = Fault::from(problems[2].clone());
    assert_eq!(fault.class, Class::Operator);
    assert!(fault.message.contains(".ID\": its name on the target, \"id\", is that of column \"Id\" as well"));
}

#[test]
fn tables_of_a_task_are_kept_apart() {
    let named = |name: &str, primary: &str, unique: &str| {
        let mut source = table(&[("Id", SqlType::Int), ("C", SqlType::Int)]);
        source.name.name = name.to_owned();
        source.primary_key = Some(key(primary, &[0]));
        source.unique_keys = vec![key(unique, &[1])];
        Arc::new(source)
    };
    let tables = [named("A", "PK_A", "IX"), named("B", "PK_B", "IX"), named("C", "a", "ix")];
    let plans = TablePlan::compile_all(&tables, &Settings::default()).expect("plans");
    let keys: Vec<_> = plans
        .iter()
        .map(|p| (p.target().key_name.clone().unwrap_or_default(), p.target().unique[0].0.clone()))
        .collect();
    let expect = [("pk_a", "ix"), ("pk_b", "b_ix"), ("c_a", "c_ix")];
    assert_eq!(keys, expect.map(|(a, b)| (a.to_owned(), b.to_owned())));

    let tables = [named("A", "1", "2"), named("a", "3", "4"), named("B", "5", "6")];
    let problems = TablePlan::compile_all(&tables, &Settings::default()).expect_err("two tables of one name");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].table.name, "a");
    let mut settings = Settings::default();
    settings.names.tables.insert("dbo.a".into(), TableRename { schema: None, name: Some("a2".into()) });
    assert!(TablePlan::compile_all(&tables, &settings).is_ok());
}

#[test]
fn settings_of_a_column_win() {
    let text = SqlType::NVarChar { length: Some(5), collation: LATIN1 };
    let mut settings = Settings::default();
    let refuse = ColumnTypes { nul_character: Some(NulCharacter::Error), ..ColumnTypes::default() };
    settings.columns.insert("dbo.T.B".into(), refuse);
    let plan = compile(table(&[("A", text.clone()), ("B", text)]), &settings);
    let mut out = Vec::new();
    let nul = Cell::Bytes(b"\0\0");
    plan.copy_row(&[nul, Cell::Null], &mut out).expect("NULs of A are removed");
    let error = plan.copy_row(&[Cell::Null, nul], &mut out).expect_err("those of B are refused");
    let fault = Fault::from(error);
    assert_eq!(fault.message, "could not convert column \"dbo.T.B\": the text has a NUL character");
    assert_eq!((fault.class, fault.hint.is_some()), (Class::Table, true));
}

#[test]
fn copy_stream() {
    let plan = compile(table(&[("A", SqlType::Int), ("B", SqlType::Bit)]), &Settings::default());
    let mut out = COPY_HEADER.to_vec();
    plan.copy_row(&[Cell::Bytes(&[1, 0, 0, 0]), Cell::Null], &mut out).expect("a row");
    plan.copy_row(&[Cell::Bytes(&[2, 0, 0, 0]), Cell::Bytes(&[1])], &mut out).expect("a row");
    let whole = out.clone();
    let error = plan.copy_row(&[Cell::Bytes(&[2, 0, 0, 0]), Cell::Bytes(&[9])], &mut out);
    assert!(matches!(error, Err(ConvertError::Cell { .. })));
    let error = plan.copy_row(&[Cell::Null], &mut out).expect_err("a value is missing");
    assert!(matches!(error, ConvertError::Shape { expected: 2, found: 1, .. }));
    assert_eq!(out, whole);
    out.extend_from_slice(COPY_TRAILER);
    let expect = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\
        \0\x02\0\0\0\x04\0\0\0\x01\xff\xff\xff\xff\
        \0\x02\0\0\0\x04\0\0\0\x02\0\0\0\x01\x01\
        \xff\xff";
    assert_eq!(out, expect);
}

#[test]
fn changes_keep_what_is_unchanged() {
    let ntext = SqlType::NText { collation: LATIN1 };
    let plan = compile(table(&[("Id", SqlType::Int), ("Note", ntext)]), &Settings::default());
    let (mut rows, mut store) = (RowStore::new(), RowStore::new());
    let one = [1, 0, 0, 0];
    let before = rows.push_row([Cell::Bytes(&one), Cell::Null]);
    let after = rows.push_row([Cell::Bytes(&one), Cell::Unchanged]);
    let other = rows.push_row([Cell::Bytes(&[2, 0, 0, 0]), Cell::Bytes(b"x\0")]);
    let mut convert = |op| {
        let change = Change { lsn: Lsn::default(), table: Arc::clone(plan.source()), op };
        let target = plan.convert_change(&change, &rows, &mut store).expect("a change");
        assert!(Arc::ptr_eq(&target.table, plan.target()));
        target.op
    };
    let insert = convert(ChangeOp::Insert { after: other });
    let update = convert(ChangeOp::Update { before, after });
    let delete = convert(ChangeOp::Delete { before: other });
    assert_eq!(convert(ChangeOp::Truncate), ChangeOp::Truncate);
    let (ChangeOp::Insert { after: inserted }, ChangeOp::Delete { before: deleted }) = (insert, delete) else {
        panic!("an insert and a delete");
    };
    let ChangeOp::Update { before, after } = update else { panic!("an update") };
    for row in [inserted, deleted] {
        assert_eq!(store.row(row).cells().collect::<Vec<_>>(), [Cell::Bytes(&[0, 0, 0, 2]), Cell::Bytes(b"x")]);
    }
    assert_eq!(store.row(before).cells().collect::<Vec<_>>(), [Cell::Bytes(&[0, 0, 0, 1]), Cell::Null]);
    assert_eq!(store.row(after).cells().collect::<Vec<_>>(), [Cell::Bytes(&[0, 0, 0, 1]), Cell::Unchanged]);
}

#[test]
fn settings_read_as_types_md_writes_them() {
    let json = r#"{
        "names": {"case": "preserve", "schemas": {"dbo": "public"}, "tables": {"dbo.T": {"name": "things"}}},
        "types": {"char_padding": "keep", "hundred_ns": "text", "offset": "text", "invalid_text": "error"},
        "columns": {"dbo.T.C": {"nul_character": "replace"}}
    }"#;
    let settings: Settings = serde_json::from_str(json).expect("settings");
    let plan = compile(table(&[("C", SqlType::Time { scale: 7 })]), &settings);
    let target = plan.target();
    assert_eq!((target.schema.as_str(), target.name.as_str()), ("public", "things"));
    assert_eq!((target.columns[0].name.as_str(), &target.columns[0].pg_type), ("C", &PgType::Text));
    assert!(serde_json::from_str::<Settings>(r#"{"types": {"char_pading": "keep"}}"#).is_err());
}

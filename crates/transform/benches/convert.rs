//! Rows per second through a plan, on one core, of a table of ten common types. `cargo bench -p logferry-transform`

use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use logferry_model::{Cell, Collation, RowStore, SourceColumn, SqlType, TableId, TableName, TableVersion};
use logferry_transform::{Settings, TablePlan};

fn main() {
    divan::main();
}

const ROWS: usize = 10_000;

/// SQL_Latin1_General_CP1_CI_AS
const LATIN1: Collation = Collation(0x3400_d008);

/// Columns of the table and a cell of each.
fn columns() -> Vec<(SqlType, Vec<u8>)> {
    let decimal = [&[1], &1_234_567_890_123_u64.to_le_bytes()[..]].concat();
    // 2024-05-17 08:30:15.1234567
    let time = (8 * 3_600 + 30 * 60 + 15) * 10_000_000 + 1_234_567_u64;
    let datetime2 = [&time.to_le_bytes()[..5], &739_022_u32.to_le_bytes()[..3]].concat();
    vec![
        (SqlType::Int, 123_456_i32.to_le_bytes().to_vec()),
        (SqlType::BigInt, 12_345_678_901_234_i64.to_le_bytes().to_vec()),
        (SqlType::Decimal { precision: 18, scale: 4 }, decimal),
        (SqlType::DateTime2 { scale: 7 }, datetime2),
        (SqlType::NVarChar { length: Some(50), collation: LATIN1 }, utf16("A customer of some name, Ltd.")),
        (
            SqlType::VarChar { length: Some(200), collation: LATIN1 },
            b"Some remark about an order, in a sentence.".into(),
        ),
        (SqlType::UniqueIdentifier, (0..16).collect()),
        (SqlType::Bit, vec![1]),
        (SqlType::Float, 1234.5_f64.to_le_bytes().to_vec()),
        (SqlType::VarBinary { length: Some(16) }, (0..16).collect()),
    ]
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn plan(columns: &[(SqlType, Vec<u8>)]) -> TablePlan {
    let column = |(id, (sql_type, _)): (u32, &(SqlType, Vec<u8>))| SourceColumn {
        id,
        name: format!("C{id}"),
        sql_type: sql_type.clone(),
        alias: None,
        nullable: true,
        identity: None,
        computed: false,
        missing: None,
        stored: None,
    };
    let table = TableVersion {
        id: TableId(1),
        version: 1,
        name: TableName::new("dbo", "Orders"),
        columns: (1..).zip(columns).map(column).collect(),
        primary_key: None,
        unique_keys: Vec::new(),
        notes: Vec::new(),
    };
    TablePlan::compile(&Arc::new(table), &Settings::default()).expect("the table has a plan")
}

fn copy_rows(bencher: Bencher<'_, '_>, columns: &[(SqlType, Vec<u8>)]) {
    let plan = plan(columns);
    let cells: Vec<_> = columns.iter().map(|(_, cell)| Cell::Bytes(cell)).collect();
    let mut out = Vec::with_capacity(1 << 20);
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        for _ in 0..ROWS {
            if out.len() > 1 << 19 {
                out.clear();
            }
            plan.copy_row(divan::black_box(&cells), &mut out).expect("a row");
        }
        divan::black_box(&out);
    });
}

/// All ten columns, as the full copy does it.
#[divan::bench]
fn copy_ten_columns(bencher: Bencher<'_, '_>) {
    copy_rows(bencher, &columns());
}

/// All ten columns, as changes are converted.
#[divan::bench]
fn change_ten_columns(bencher: Bencher<'_, '_>) {
    let columns = columns();
    let plan = plan(&columns);
    let mut rows = RowStore::new();
    let row = rows.push_row(columns.iter().map(|(_, cell)| Cell::Bytes(cell)));
    let mut store = RowStore::new();
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        store.clear();
        for _ in 0..ROWS {
            plan.convert_row(divan::black_box(rows.row(row)).cells(), &mut store).expect("a row");
        }
    });
}

/// One column of each type, to see what a row is made of.
#[divan::bench(args = ["int", "bigint", "decimal", "datetime2", "nvarchar", "varchar", "uuid", "bit", "float", "varbinary"])]
fn copy_one_column(bencher: Bencher<'_, '_>, name: &str) {
    let at = ["int", "bigint", "decimal", "datetime2", "nvarchar", "varchar", "uuid", "bit", "float", "varbinary"]
        .iter()
        .position(|&n| n == name)
        .expect("a column of that name");
    copy_rows(bencher, &columns()[at..=at]);
}

/// Values that the fast paths are not for.
#[divan::bench(args = ["decimal38", "nvarchar_cyrillic", "nvarchar_umlaut", "varchar_1251", "varchar_umlaut", "varchar_932"])]
fn copy_one_slow_column(bencher: Bencher<'_, '_>, name: &str) {
    let nvarchar = SqlType::NVarChar { length: Some(50), collation: LATIN1 };
    let varchar = |id| SqlType::VarChar { length: Some(200), collation: Collation(id) };
    let column = match name {
        "decimal38" => {
            let cell = [&[1], &(u128::MAX / 4).to_le_bytes()[..]].concat();
            (SqlType::Decimal { precision: 38, scale: 10 }, cell)
        }
        "nvarchar_cyrillic" => (nvarchar, utf16("Общество с ограниченной отв.")),
        "nvarchar_umlaut" => (nvarchar, utf16("Ein Kunde mit Namen Müller AG")),
        "varchar_1251" => (varchar(0xd015), (0xc0..0xe0).collect()),
        "varchar_umlaut" => (varchar(LATIN1.0), b"Eine Bemerkung zur Bestellung, k\xfcrzer noch.".to_vec()),
        "varchar_932" => (varchar(0xd010), b"\x8a\xbf\x8e\x9a".repeat(8)),
        other => panic!("no column {other}"),
    };
    copy_rows(bencher, &[column]);
}

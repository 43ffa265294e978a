//! One large table for benches: ten columns of the common types, a clustered `int` key.

use std::path::Path;

use logferry_model::{RowStore, SqlType};

use super::Random;
use crate::{ColumnDef, DEFAULT_COLLATION, Database, Error, Options, TableDef};

/// The table of benches: `dbo.Bench`.
pub fn bench_table() -> TableDef {
    use SqlType as T;
    let c = ColumnDef::new;
    TableDef {
        schema: "dbo".into(),
        name: "Bench".into(),
        columns: vec![
            c("id", T::Int).not_null(),
            c("customer", T::BigInt).not_null(),
            c("amount", T::Decimal { precision: 18, scale: 2 }).not_null(),
            c("price", T::Money),
            c("placed", T::DateTime2 { scale: 7 }).not_null(),
            c("day", T::Date),
            c("done", T::Bit).not_null(),
            c("name", T::NVarChar { length: Some(60), collation: DEFAULT_COLLATION }),
            c("code", T::VarChar { length: Some(20), collation: DEFAULT_COLLATION }),
            c("ratio", T::Float),
        ],
        primary_key: vec![0],
    }
}

/// A database with `dbo.Bench` filled with `rows` rows; gives the table's object id, too.
pub fn bench_database(rows: u32, seed: u64) -> Result<(Database, u32), Error> {
    let mut db = Database::create(Options { name: "bench".into(), seed, pages: 8192, ..Options::default() })?;
    let table = db.create_table(bench_table())?;
    let mut random = Random::new(seed);
    let mut id = 0u32;
    db.bulk_load(table, |store| {
        if id == rows {
            return None;
        }
        id += 1;
        Some(bench_row(store, id, &mut random))
    })?;
    Ok((db, table))
}

/// Writes a full backup of a database with `dbo.Bench` filled with `rows` rows.
pub fn bench_backup(rows: u32, seed: u64, path: &Path) -> Result<(), Error> {
    bench_database(rows, seed)?.0.backup_full(path)
}

fn bench_row(store: &mut RowStore, id: u32, random: &mut Random) -> logferry_model::RowRef {
    store.clear();
    let bits = random.next();
    let mut row = store.start_row();
    row.value(|out| out.extend(id.to_le_bytes()));
    row.value(|out| out.extend((bits >> 20).to_le_bytes()));
    row.value(|out| {
        out.push((bits & 1) as u8);
        out.extend((bits >> 30).to_le_bytes());
    });
    if bits & 0xF0 == 0 {
        row.null();
    } else {
        row.value(|out| out.extend(((bits >> 10) as i32 as i64).to_le_bytes()));
    }
    row.value(|out| {
        out.extend(&(u64::from(id) * 7_919_013 % 864_000_000_000).to_le_bytes()[..5]);
        out.extend(&(730_000 + id % 9000).to_le_bytes()[..3]);
    });
    row.value(|out| out.extend(&(735_000 + (bits >> 40) as u32 % 5000).to_le_bytes()[..3]));
    row.value(|out| out.push((bits >> 5) as u8 & 1));
    row.value(|out| {
        for n in 0..8 + bits as usize % 12 {
            out.extend([b'a' + (bits >> (n % 50)) as u8 % 26, 0]);
        }
    });
    if bits & 0xF00 == 0 {
        row.null();
    } else {
        row.value(|out| out.extend((0..10).map(|n| b'A' + (bits >> (n * 5)) as u8 % 26)));
    }
    row.value(|out| out.extend(((bits >> 16) as f64 / 1000.0).to_le_bytes()));
    row.finish()
}

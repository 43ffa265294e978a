//! A table of ten columns, about 160 bytes a row as COPY writes it; and changes of it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use logferry_model::{RowRef, RowStore, SqlType};
use logferry_mssql_standin_storage::workload::Random;
use logferry_mssql_standin_storage::{
    ColumnDef, DEFAULT_COLLATION, Database, Options, Row, RowKey, TableDef, XactOptions,
};

use crate::Sizes;

fn table() -> TableDef {
    use SqlType as T;
    let c = |name: &str, sql_type| ColumnDef::new(name, sql_type).not_null();
    TableDef {
        schema: "dbo".into(),
        name: "Bench".into(),
        columns: vec![
            c("id", T::Int),
            c("customer", T::BigInt),
            c("amount", T::Decimal { precision: 18, scale: 4 }),
            c("placed", T::DateTime2 { scale: 7 }),
            c("name", T::NVarChar { length: Some(50), collation: DEFAULT_COLLATION }),
            c("note", T::VarChar { length: Some(200), collation: DEFAULT_COLLATION }),
            c("device", T::UniqueIdentifier),
            c("active", T::Bit),
            c("ratio", T::Float),
            c("digest", T::VarBinary { length: Some(16) }),
        ],
        primary_key: vec![0],
    }
}

fn row(id: u32, random: &mut Random) -> [Vec<u8>; 10] {
    let bits = random.next();
    let letters = |count: usize| (0..count).map(move |n| b'a' + (bits >> (n % 50)) as u8 % 26);
    let mut amount = vec![1];
    amount.extend((bits % 1_000_000_000_000).to_le_bytes());
    let mut placed = (bits % 864_000_000_000).to_le_bytes()[..5].to_vec();
    placed.extend(&(730_000 + id % 9000).to_le_bytes()[..3]);
    [
        id.to_le_bytes().to_vec(),
        (bits >> 20).to_le_bytes().to_vec(),
        amount,
        placed,
        letters(8 + bits as usize % 12).flat_map(|letter| [letter, 0]).collect(),
        letters(20 + (bits >> 8) as usize % 20).collect(),
        random.bytes(16),
        vec![bits as u8 & 1],
        ((bits >> 16) as f64 / 1000.0).to_le_bytes().to_vec(),
        random.bytes(16),
    ]
}

/// A database with the table and its rows, one transaction.
pub fn database(rows: u32) -> Database {
    let options = Options { name: "shop".into(), ..Options::default() };
    let mut db = Database::create(options).expect("a database");
    let table = db.create_table(table()).expect("a table");
    let mut random = Random::new(1);
    let xact = db.begin(XactOptions { name: "load", spid: 51 });
    for id in 1..=rows {
        let row: Row = row(id, &mut random).into_iter().map(Some).collect();
        db.insert(xact, table, row).expect("the row fits");
    }
    db.commit(xact).expect("it is open");
    db
}

/// Backups of a database with one table.
pub struct Backups {
    /// The full backup.
    pub full: PathBuf,
    /// A log backup with changes: half of them updates of two columns, three tenths inserts, two tenths deletes; transactions of ten.
    pub log: PathBuf,
    /// Changes in the log backup.
    pub changes: u32,
}

/// Makes the backups; takes a while.
pub fn backups(sizes: Sizes, changes: u32, folder: &Path) -> Backups {
    let began = Instant::now();
    let options = Options { name: "bench".into(), vlf_bytes: 64 << 20, pages: 8192, ..Options::default() };
    let mut db = Database::create(options).expect("a database");
    let table = db.create_table(table()).expect("a table");
    let mut random = Random::new(1);
    let mut id = 0;
    let next = |store: &mut RowStore| -> Option<RowRef> {
        store.clear();
        id += 1;
        (id <= sizes.rows).then(|| {
            let mut cells = store.start_row();
            for value in row(id, &mut random) {
                cells.value(|out| out.extend(value));
            }
            cells.finish()
        })
    };
    db.bulk_load(table, next).expect("the rows fit");
    let (full, log) = (folder.join("full.bak"), folder.join("log.trn"));
    db.backup_full(&full).expect("a full backup");
    let mut done = 0;
    let mut last = sizes.rows;
    while done < changes {
        let xact = db.begin(XactOptions::default());
        for _ in 0..10 {
            let key = |id: u32| RowKey::Key((id ^ 0x8000_0000).to_be_bytes().to_vec());
            let some = key(1 + random.below(u64::from(last)) as u32);
            let did = match random.below(10) {
                0..=4 => {
                    let [_, customer, amount, ..] = row(1, &mut random);
                    db.update(xact, table, &some, &[(1, Some(customer)), (2, Some(amount))]).map(drop)
                }
                5..=7 => {
                    last += 1;
                    let row: Row = row(last, &mut random).into_iter().map(Some).collect();
                    db.insert(xact, table, row).map(drop)
                }
                _ => db.delete(xact, table, &some),
            };
            // Some rows are gone already.
            done += u32::from(did.is_ok());
        }
        db.commit(xact).expect("it is open");
    }
    db.backup_log(&log).expect("a log backup");
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |m| m.len()) as f64 / 1e6;
    println!(
        "data: {} rows in a full backup of {:.1} MB, {done} changes in a log backup of {:.1} MB, made in {:.1} s",
        sizes.rows,
        size(&full),
        size(&log),
        began.elapsed().as_secs_f64()
    );
    Backups { full, log, changes: done }
}

//! What the engine writes, the product's own readers read: backups, data files, catalog, rows.

mod readers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use logferry_model::SqlType;
use logferry_mssql_backup::backups::Backups;
use logferry_mssql_backup::chain::PlanOptions;
use logferry_mssql_backup::{Catalog, DataFiles, PageSource};
use logferry_mssql_format::page::{PAGE_SIZE, Page, PageId};
use logferry_mssql_standin_storage::workload::bench_database;
use logferry_mssql_standin_storage::{
    ColumnDef, DEFAULT_COLLATION, Database, Options, Row, RowKey, TableDef, XactOptions,
};
use readers::{Tables, committed, read};

#[track_caller]
fn check_backup(path: &Path, expect: &Tables) {
    let backups = Backups::find(&[path.to_owned()]).expect("the backup can be opened");
    let chain = backups.plan(None, PlanOptions::default()).expect("the backup is a chain");
    chain.verify().expect("the backup is sound");
    assert_eq!(&read(&chain.base_pages().expect("pages"), true), expect);
}

fn int(n: i32) -> Option<Vec<u8>> {
    Some(n.to_le_bytes().to_vec())
}

fn text(t: &str) -> Option<Vec<u8>> {
    Some(t.encode_utf16().flat_map(u16::to_le_bytes).collect())
}

fn keyed(name: &str) -> TableDef {
    TableDef {
        schema: "dbo".into(),
        name: name.into(),
        columns: vec![
            ColumnDef::new("note", SqlType::NVarChar { length: Some(200), collation: DEFAULT_COLLATION }),
            ColumnDef::new("id", SqlType::Int).not_null(),
            ColumnDef::new("flag", SqlType::Bit),
            ColumnDef::new("n", SqlType::BigInt),
        ],
        primary_key: vec![1],
    }
}

fn heap(name: &str) -> TableDef {
    TableDef { primary_key: Vec::new(), ..keyed(name) }
}

fn row(id: i32, note: &str) -> Row {
    let n = (id % 3 != 0).then(|| (i64::from(id) << 33).to_le_bytes().to_vec());
    vec![text(note), int(id), Some(vec![(id % 2) as u8]), n]
}

#[test]
fn an_empty_database() {
    let folder = tempfile::tempdir().unwrap();
    let mut db = Database::create(Options::default()).unwrap();
    db.create_table(keyed("empty")).unwrap();
    let bak = folder.path().join("full.bak");
    db.backup_full(&bak).unwrap();
    check_backup(&bak, &committed(&db));
}

#[test]
fn rows_of_trees_and_heaps() {
    let folder = tempfile::tempdir().unwrap();
    let mut db = Database::create(Options::default()).unwrap();
    let tables = [db.create_table(keyed("k")).unwrap(), db.create_table(heap("h")).unwrap()];
    let mut keys = Vec::new();
    for table in tables {
        let xact = db.begin(XactOptions { name: "INSERT", spid: 52 });
        for n in 0..3000 {
            // Not in order, so that pages are split in their middle.
            let id = n * 1237 % 3001;
            keys.push((table, db.insert(xact, table, row(id, &"x".repeat((id % 60) as usize))).unwrap()));
        }
        db.commit(xact).unwrap();
    }
    for (n, (table, key)) in keys.iter().enumerate() {
        let xact = db.begin(XactOptions::default());
        match n % 7 {
            0 => db.delete(xact, *table, key).unwrap(),
            1 | 2 => drop(db.update(xact, *table, key, &[(0, text(&"longer than before ".repeat(n % 9)))]).unwrap()),
            3 => drop(db.update(xact, *table, key, &[(3, None), (2, Some(vec![1]))]).unwrap()),
            _ => {}
        }
        match n % 5 {
            0 => db.rollback(xact).unwrap(),
            _ => assert!(!db.commit(xact).unwrap().is_zero()),
        }
    }
    let bak = folder.path().join("full.bak");
    db.backup_full(&bak).unwrap();
    check_backup(&bak, &committed(&db));

    assert!(db.ghost_cleanup() > 0);
    let (mdf, ldf) = (folder.path().join("standin.mdf"), folder.path().join("standin_log.ldf"));
    db.write_data_file(&mdf).unwrap();
    db.write_log_file(&ldf).unwrap();
    let files = DataFiles::open(&[mdf]).expect("the data file can be opened");
    assert_eq!(read(&files, true), committed(&db));
}

/// Free slots behind the last row give their room up; whoever deleted a row behind them needs it again.
#[test]
fn a_deleted_row_comes_back_to_its_slot_whatever_others_put_on_its_page() {
    let page_of = |key: &RowKey| match key {
        RowKey::Rid(row) => row.page,
        RowKey::Key(_) => panic!("a heap"),
    };
    let mut fitted = BTreeSet::new();
    for len in 0..150 {
        let mut db = Database::create(Options::default()).unwrap();
        let table = db.create_table(heap("h")).unwrap();
        let xact = db.begin(XactOptions::default());
        let keys: Vec<_> = (0..362).map(|n| db.insert(xact, table, row(n, "")).unwrap()).collect();
        db.commit(xact).unwrap();
        let (last, before) = keys[keys.len() - 6..].split_last().unwrap();
        let xact = db.begin(XactOptions::default());
        before.iter().for_each(|key| db.delete(xact, table, key).unwrap());
        db.commit(xact).unwrap();
        let expect = committed(&db);

        let (deletes, inserts) = (db.begin(XactOptions::default()), db.begin(XactOptions::default()));
        db.delete(deletes, table, last).unwrap();
        let added = db.insert(inserts, table, row(1000, &"x".repeat(len))).unwrap();
        fitted.insert(page_of(&added) == page_of(last));
        db.rollback(deletes).unwrap();
        db.rollback(inserts).unwrap();
        assert_eq!(committed(&db), expect, "a row of {len} letters");
    }
    assert_eq!(fitted, BTreeSet::from([false, true]), "some fit on the page, some do not");
}

#[test]
fn trees_of_many_levels() {
    let folder = tempfile::tempdir().unwrap();
    for step in [1, 1237] {
        let mut db = Database::create(Options::default()).unwrap();
        let key = SqlType::VarChar { length: Some(800), collation: DEFAULT_COLLATION };
        let columns = vec![ColumnDef::new("k", key).not_null(), ColumnDef::new("n", SqlType::Int)];
        let def = TableDef { schema: "dbo".into(), name: "deep".into(), columns, primary_key: vec![0] };
        let table = db.create_table(def).unwrap();
        let xact = db.begin(XactOptions::default());
        for n in 0..4000 {
            let key = format!("{:06}{}", n * step % 4001, "k".repeat(700));
            db.insert(xact, table, vec![Some(key.into_bytes()), int(n)]).unwrap();
        }
        db.commit(xact).unwrap();
        let bak = folder.path().join(format!("{step}.bak"));
        db.backup_full(&bak).unwrap();
        check_backup(&bak, &committed(&db));
        check_tree(&bak);
    }
}

/// Every level of the tree is linked from left to right, and its entries lead to the level below in the same order.
#[track_caller]
fn check_tree(bak: &Path) {
    let chain = Backups::find(&[bak.to_owned()]).unwrap().plan(None, PlanOptions::default()).unwrap();
    let pages = chain.base_pages().unwrap();
    let catalog = Catalog::read(&pages).unwrap();
    let unit = catalog.rowsets_of(catalog.find_table("dbo.deep").unwrap()).next().unwrap().alloc_units[0];
    let mut level = vec![unit.root];
    let mut depth = 0;
    loop {
        let mut below = Vec::new();
        for (at, id) in level.iter().enumerate() {
            let mut bytes = [0; PAGE_SIZE];
            pages.read_page(*id, &mut bytes).unwrap();
            let page = Page::read(&bytes).unwrap();
            let neighbour = |at: Option<usize>| at.and_then(|at| level.get(at)).copied().unwrap_or_default();
            assert_eq!(page.header.prev, neighbour(at.checked_sub(1)), "page {id}");
            assert_eq!(page.header.next, neighbour(Some(at + 1)), "page {id}");
            if page.header.level > 0 {
                let child = usize::from(page.header.min_len) - 6;
                below.extend(page.rows().map(|row| PageId::read(row.unwrap().1, child, "child").unwrap()));
            }
        }
        if below.is_empty() {
            break;
        }
        depth += 1;
        level = below;
    }
    assert!(depth >= 2, "the tree has {depth} upper levels");
    assert_eq!(level.first(), Some(&unit.first));
}

#[test]
fn rows_loaded_in_bulk() {
    let folder = tempfile::tempdir().unwrap();
    let (mut db, table) = bench_database(60_000, 3).unwrap();
    let bak = folder.path().join("full.bak");
    db.backup_full(&bak).unwrap();
    let backups = Backups::find(&[bak]).unwrap();
    let chain = backups.plan(None, PlanOptions::default()).unwrap();
    chain.verify().unwrap();
    let before = read(&chain.base_pages().unwrap(), true);
    let rows = &before["dbo.Bench"];
    assert_eq!(rows.len(), 60_000);
    assert_eq!(rows.iter().map(|r| r[0].clone()).collect::<BTreeSet<_>>().len(), 60_000);

    // They can be changed: pages split under the upper levels that were built at once.
    let mut expect: BTreeMap<Option<Vec<u8>>, Row> = rows.iter().map(|r| (r[0].clone(), r.clone())).collect();
    for n in 0..4000usize {
        let id = (n * 7919 % 60_000) as i32 + 1;
        let key = RowKey::Key((id as u32 ^ 0x8000_0000).to_be_bytes().to_vec());
        let xact = db.begin(XactOptions::default());
        let name = text(&"n".repeat(60));
        db.update(xact, table, &key, &[(7, name.clone())]).unwrap();
        db.commit(xact).unwrap();
        expect.get_mut(&int(id)).unwrap()[7] = name;
    }
    let mut expect: Vec<Row> = expect.into_values().collect();
    expect.sort();
    let mdf = folder.path().join("bench.mdf");
    db.write_data_file(&mdf).unwrap();
    assert!(read(&DataFiles::open(&[mdf]).unwrap(), true)["dbo.Bench"] == expect);
}

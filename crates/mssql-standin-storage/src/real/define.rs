//! Statements that make, change and drop tables: which rows of system tables they change, in which order.

use logferry_model::Lsn;
use logferry_mssql_format::log::op::Op;
use logferry_mssql_format::log::record::Record;

use super::super::{
    ColumnUse, ConstraintDef, ConstraintKind, ConstraintSwitch, DEFAULT_COLLATION, Database, KeyName, LogBlock,
    ModuleDef, ModuleReference, Options,
};
use super::shape::GONE_WITH_2019;
use super::{ColumnDef, SqlType, TableDef, left_out, pairs, shape};

/// The records of one transaction, without its begin and its end, and without the transactions that it began.
fn of_one(records: &[Record<'_>], old: bool, of_2019: bool) -> Vec<String> {
    let mut xacts = Vec::new();
    let own = records.iter().map(|r| r.transaction).find(|t| *t != Default::default()).unwrap_or_default();
    let mut out = Vec::new();
    for record in records {
        let ours = record.transaction == own || record.transaction == Default::default();
        let ends = matches!(record.op, Op::BEGIN_XACT | Op::COMMIT_XACT | Op::ABORT_XACT);
        let gone = of_2019 && record.element(0).starts_with(GONE_WITH_2019);
        if ours && !ends && !gone && left_out(record).is_none() {
            out.push(shape(record, &mut xacts, (old, false)));
        }
    }
    out
}

/// Compares the records of a real log from one LSN to another with those that a change of an own database makes. `before` is what was there;
/// gives what `change` needs to know.
#[track_caller]
fn check<T>(
    pair: (&str, &str),
    (from, to): ([u32; 3], [u32; 3]),
    before: impl Fn(&Database, &mut Database) -> T,
    change: impl Fn(&mut Database, T),
) {
    let Some(folder) = pairs() else { return };
    let real = Database::attach(&folder.join(pair.0), &folder.join(pair.1), Options::default()).expect("the pair");
    let lsn = |[vlf, block, slot]: [u32; 3]| Lsn::new(vlf, block, slot as u16);
    let held: Vec<LogBlock> = real.log_blocks(real.start_of_log()).collect();
    let records: Vec<Record<'_>> = held
        .iter()
        .flat_map(|b| b.block().records().map(|r| r.expect("a record")).collect::<Vec<_>>())
        .filter(|r| (lsn(from)..=lsn(to)).contains(&r.lsn))
        .collect();
    let old = pair != SHELTER && pair != TAX;
    let theirs = of_one(&records, old, pair == TAX);
    assert!(!theirs.is_empty(), "the log has the statement");
    let mut db = Database::create(Options::default()).expect("a database");
    let known = before(&real, &mut db);
    let begin = db.end_of_log();
    change(&mut db, known);
    let held: Vec<LogBlock> = db.log_blocks(begin).collect();
    let ours: Vec<Record<'_>> =
        held.iter().flat_map(|b| b.block().records().map(|r| r.expect("a record")).collect::<Vec<_>>()).collect();
    let ours = of_one(&ours, old, pair == TAX);
    let mut text = String::new();
    for n in 0..ours.len().max(theirs.len()) {
        let line = |of: &[String]| of.get(n).cloned().unwrap_or_default();
        let mark = if ours.get(n) == theirs.get(n) { " " } else { "!" };
        text += &format!("{mark} {:<90} | {}\n", line(&theirs), line(&ours));
    }
    assert!(ours == theirs, "a server's | this engine's:\n{text}");
}

const SHELTER: (&str, &str) = ("shelter-2016/shelter.mdf", "shelter-2016/shelter_log.ldf");
/// Of 2008.
const NORTHWIND: (&str, &str) = ("northwind-2008/northwnd.mdf", "northwind-2008/northwnd.ldf");
/// Of 2008 R2.
const WEBTOOL: (&str, &str) = ("webtool-2008r2/second/WebTool.mdf", "webtool-2008r2/second/WebTool_log.ldf");
const TAX: (&str, &str) = ("tax-2019/tax.mdf", "tax-2019/tax_log.ldf");

fn def_of(real: &Database, name: &str) -> (u32, TableDef, String) {
    let (id, table) = real.tables.iter().find(|(_, t)| t.def.name == name).expect("the table is there still");
    (*id, table.def.clone(), real.key_name(*id).unwrap_or_default())
}

#[test]
fn create_table() {
    check(
        SHELTER,
        ([0x22, 0xF0, 1], [0x22, 0xF0, 0x3C]),
        |real, _| def_of(real, "Employees"),
        |db, (_, def, key)| {
            db.create_table_with_key(def, KeyName { name: key, ..KeyName::default() }).expect("a table");
        },
    );
}

#[test]
fn create_index() {
    check(
        SHELTER,
        ([0x22, 0xF0, 0x3E], [0x22, 0xF0, 0x4E]),
        |real, db| {
            let (id, def, key) = def_of(real, "Employees");
            let own = db.create_table_with_key(def, KeyName { name: key, ..KeyName::default() }).expect("a table");
            (own, real.indexes[&id].iter().map(|i| i.def.clone()).collect::<Vec<_>>())
        },
        |db, (table, indexes)| db.set_indexes(table, &indexes).expect("an index"),
    );
}

/// The foreign key of two tables: its locks are on all that has to do with either.
#[test]
fn add_foreign_key() {
    check(
        SHELTER,
        ([0x22, 0xF0, 0x10A], [0x22, 0xF0, 0x124]),
        |real, db| {
            let make = |db: &mut Database, name: &str| {
                let (_, def, key) = def_of(real, name);
                db.create_table_with_key(def, KeyName { name: key, ..KeyName::default() }).expect("a table")
            };
            let (employees, shelters, pets) = (make(db, "Employees"), make(db, "Shelters"), make(db, "Pets"));
            db.set_constraints(employees, &[to_shelters("Employees", shelters, 999_999_984)]).expect("a foreign key");
            (shelters, pets)
        },
        |db, (shelters, pets)| {
            db.set_constraints(pets, &[to_shelters("Pets", shelters, 1_000_000_000)]).expect("a foreign key");
        },
    );
}

fn to_shelters(table: &str, shelters: u32, object: u32) -> ConstraintDef {
    let kind = ConstraintKind::Foreign { columns: vec![(2, 1)], table: shelters, index: 1 };
    let name = format!("FK_dbo.{table}_dbo.Shelters_ShelterId");
    ConstraintDef { object, name, system_named: false, kind, switch: Default::default() }
}

/// Orders and what it refers to, or Products, with checks.
fn switch_all(
    range: ([u32; 3], [u32; 3]),
    table: &str,
    checks: usize,
    others: &[&str],
    (before, after): (ConstraintSwitch, ConstraintSwitch),
) {
    check(
        NORTHWIND,
        range,
        |real, db| {
            let mut make = |name: &str| {
                let (_, def, key) = def_of(real, name);
                db.create_table_with_key(def, KeyName { name: key, ..KeyName::default() }).expect("a table")
            };
            let others: Vec<u32> = others.iter().map(|name| make(name)).collect();
            let own = make(table);
            let keys =
                others.into_iter().map(|table| ConstraintKind::Foreign { columns: vec![(2, 1)], table, index: 1 });
            let tests = (0..checks).map(|_| ConstraintKind::Check {
                column: Some(2),
                text: "([a]>(0))".to_owned(),
                named: vec![2],
            });
            let constraints: Vec<ConstraintDef> = keys
                .chain(tests)
                .enumerate()
                .map(|(at, kind)| ConstraintDef {
                    object: 1_000_000_000 + 16 * at as u32,
                    name: format!("c{at}"),
                    system_named: false,
                    kind,
                    switch: before,
                })
                .collect();
            db.set_constraints(own, &constraints).expect("constraints");
            (own, constraints)
        },
        |db, (own, mut constraints)| {
            constraints.iter_mut().for_each(|c| c.switch = after);
            db.set_constraints(own, &constraints).expect("they are switched");
        },
    );
}

const ON: ConstraintSwitch = ConstraintSwitch { disabled: false, not_trusted: false, not_for_replication: false };
const OFF: ConstraintSwitch = ConstraintSwitch { disabled: true, not_trusted: true, not_for_replication: false };

#[test]
fn nocheck_constraint_all() {
    let range = ([0x2E, 0x187, 1], [0x2E, 0x187, 0x33]);
    switch_all(range, "Products", 4, &["Categories", "Suppliers"], (ON, OFF));
}

#[test]
fn check_constraint_all() {
    let on = ConstraintSwitch { disabled: false, ..OFF };
    let range = ([0x2E, 0x182, 1], [0x2E, 0x182, 0x20]);
    switch_all(range, "Orders", 0, &["Customers", "Employees", "Shippers"], (OFF, on));
}

/// A table of eight columns, one of which is a LOB, and the last a bit.
fn with_a_bit(db: &mut Database) -> u32 {
    let mut columns: Vec<ColumnDef> = (0..8).map(|n| ColumnDef::new(format!("c{n}"), SqlType::Int)).collect();
    columns[0] = columns[0].clone().not_null();
    columns[1].sql_type = SqlType::NVarChar { length: None, collation: DEFAULT_COLLATION };
    columns[7].sql_type = SqlType::Bit;
    let def = TableDef { schema: "dbo".into(), name: "Pets".into(), columns, primary_key: vec![0] };
    db.create_table(def).expect("a table")
}

#[test]
fn add_column() {
    check(
        SHELTER,
        ([0x23, 0x1C8, 1], [0x23, 0x1C8, 0xB]),
        |_, db| with_a_bit(db),
        |db, table| db.add_column(table, ColumnDef::new("a bit", SqlType::Bit)).expect("a column more"),
    );
}

#[test]
fn drop_column() {
    check(
        SHELTER,
        ([0x23, 0x3F8, 1], [0x23, 0x3F8, 0x14]),
        |_, db| {
            let table = with_a_bit(db);
            db.add_column(table, ColumnDef::new("a bit", SqlType::Bit)).expect("a column more");
            table
        },
        |db, table| db.drop_column(table, 8).expect("a column less"),
    );
}

#[test]
fn drop_table() {
    check(
        TAX,
        ([0x25, 0x54A, 1], [0x25, 0x54A, 0x5D]),
        // That table is gone: what is known of it are the lengths of its names.
        |_, db| {
            let text = || SqlType::NVarChar { length: None, collation: DEFAULT_COLLATION };
            let name = |len: usize| "n".repeat(len);
            let columns = vec![
                ColumnDef::new(name(10), SqlType::Int).identity(),
                ColumnDef::new("first name xx", text()),
                ColumnDef::new("second name x", text()),
                ColumnDef::new("third name ", text()),
                ColumnDef::new("the fourth one", text()),
            ];
            let def = TableDef { schema: "dbo".into(), name: "Employee".into(), columns, primary_key: vec![0] };
            let table = db.create_table(def).expect("a table");
            let xact = db.begin(Default::default());
            db.insert(xact, table, vec![Some(vec![1; 4]), None, None, None, None]).expect("a row");
            db.commit(xact).expect("it is open");
            table
        },
        |db, table| db.drop_table(table).expect("it goes"),
    );
}

/// A procedure: its text and its parameters are the file's, what it names is told here in the order that the server has brought it into.
#[track_caller]
fn procedure(
    pair: (&str, &str),
    range: ([u32; 3], [u32; 3]),
    name: &str,
    named: &[(Option<&str>, &str, &[u32], bool)],
) {
    check(
        pair,
        range,
        |real, _| real.attached_modules().iter().find(|m| m.name == name).expect("the procedure is there").clone(),
        |db, found| {
            let used = |all: bool| ColumnUse { all, updated: false, read: !all };
            let references =
                named.iter().zip(200_000_000..).map(|((schema, name, columns, all), object)| ModuleReference {
                    schema: schema.map(str::to_owned),
                    name: (*name).to_owned(),
                    object: Some(object),
                    columns: columns.iter().map(|column| (*column, used(*all))).collect(),
                });
            let own = ModuleDef { references: references.collect(), ..found };
            db.create_module(&own).expect("a procedure");
        },
    );
}

#[test]
fn create_procedure() {
    procedure(
        NORTHWIND,
        ([0x2F, 0x11C, 2], [0x2F, 0x11C, 0x1F]),
        "CustOrdersDetail",
        &[(None, "Order Details", &[1, 2, 3, 4, 5], false), (None, "Products", &[1, 2], false)],
    );
    procedure(
        NORTHWIND,
        ([0x2F, 0x125, 2], [0x2F, 0x125, 0x19]),
        "CustOrdersOrders",
        &[(None, "Orders", &[1, 2, 4, 5, 6], false)],
    );
    procedure(
        NORTHWIND,
        ([0x2F, 0x12C, 2], [0x2F, 0x12C, 0x25]),
        "CustOrderHist",
        &[
            (None, "Order Details", &[1, 2, 4], false),
            (None, "Orders", &[1, 2], false),
            (None, "Products", &[1, 2], false),
            (None, "Customers", &[1], false),
        ],
    );
    procedure(
        NORTHWIND,
        ([0x2F, 0x137, 2], [0x2F, 0x137, 0x2F]),
        "SalesByCategory",
        &[
            (None, "Order Details", &[1, 2, 3, 4, 5], false),
            (None, "Categories", &[1, 2], false),
            (None, "Orders", &[1, 4], false),
            (None, "Products", &[1, 2, 4], false),
        ],
    );
}

#[test]
fn create_procedure_of_all_columns() {
    procedure(
        WEBTOOL,
        ([0x13, 0xDB, 2], [0x13, 0xDB, 0x3A]),
        "SelectUser",
        &[(Some("dbo"), "Users", &[1, 2, 3, 4], true)],
    );
    procedure(
        WEBTOOL,
        ([0x13, 0xE7, 2], [0x13, 0xE7, 0x31]),
        "SelectWOL",
        &[(Some("dbo"), "WOL", &[1, 2, 3, 4, 5, 6, 7, 8], false)],
    );
}

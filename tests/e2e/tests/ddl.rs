//! DDL in the log, told as what it makes of the tables: a version of the table before the rows that are of it, and each row by the
//! version of its commit.

use std::fmt::Write;
use std::path::PathBuf;

use logferry_model::{Cell, ChangeOp, EventBatch, RowRef, SourceEvent, SqlType, TableVersion};
use logferry_mssql_backup::chain::PlanOptions;
use logferry_mssql_backup::{Backups, Changes, ReplayOptions};
use logferry_mssql_format::render;
use logferry_mssql_standin_storage::{ColumnDef, Database, Options, Row, RowKey, TableDef, XactOptions};

/// A database under test, its table, and where its backups are.
struct Source {
    db: Database,
    table: u32,
    folder: tempfile::TempDir,
    files: Vec<PathBuf>,
}

fn int(value: i32) -> Option<Vec<u8>> {
    Some(value.to_le_bytes().to_vec())
}

fn text(value: &str) -> Option<Vec<u8>> {
    Some(value.as_bytes().to_vec())
}

fn varchar(length: u16) -> SqlType {
    SqlType::VarChar { length: Some(length), collation: logferry_mssql_standin_storage::DEFAULT_COLLATION }
}

impl Source {
    /// `dbo.t (id int primary key, a int, name varchar(20))` with a row, backed up.
    fn new() -> Source {
        let mut db = Database::create(Options::default()).expect("a database");
        let columns = vec![
            ColumnDef::new("id", SqlType::Int).not_null(),
            ColumnDef::new("a", SqlType::Int),
            ColumnDef::new("name", varchar(20)),
        ];
        let def = TableDef { schema: "dbo".into(), name: "t".into(), columns, primary_key: vec![0] };
        let table = db.create_table(def).expect("a table");
        let mut source = Source { db, table, folder: tempfile::tempdir().expect("a folder"), files: Vec::new() };
        source.insert(vec![int(1), int(10), text("one")]);
        let full = source.folder.path().join("full.bak");
        source.db.backup_full(&full).expect("a backup");
        source.files.push(full);
        source
    }

    fn insert(&mut self, row: Row) -> RowKey {
        let xact = self.db.begin(XactOptions::default());
        let key = self.db.insert(xact, self.table, row).expect("a row");
        self.db.commit(xact).expect("a commit");
        key
    }

    fn update(&mut self, key: &RowKey, column: usize, value: Option<Vec<u8>>) {
        let xact = self.db.begin(XactOptions::default());
        self.db.update(xact, self.table, key, &[(column, value)]).expect("an update");
        self.db.commit(xact).expect("a commit");
    }

    /// All that the log tells since the full backup, a line each.
    fn told(&mut self) -> String {
        let log = self.folder.path().join(format!("{}.trn", self.files.len()));
        self.db.backup_log(&log).expect("a backup");
        self.files.push(log);
        let chain = Backups::find(&self.files).expect("backups").plan(None, PlanOptions::default()).expect("a chain");
        let mut changes = Changes::of_chain(chain, ReplayOptions::default()).expect("changes");
        let mut script = String::new();
        while let Some(batch) = changes.next(1 << 20, 1 << 16).expect("events") {
            batch.events.iter().for_each(|event| tell(&batch, event, &mut script));
        }
        script
    }
}

fn tell(batch: &EventBatch, event: &SourceEvent, script: &mut String) {
    let written = match event {
        SourceEvent::Table(table) => writeln!(script, "{}", shape(table)),
        SourceEvent::Dropped(table) => writeln!(script, "dropped {}", table.name),
        SourceEvent::Unreadable { table, why, .. } => writeln!(script, "unreadable {}: {why}", table.name),
        SourceEvent::Change(change) => {
            let row = |row: RowRef| {
                let cells: Vec<Cell<'_>> = batch.rows.row(row).cells().collect();
                let mut json = String::new();
                render::row(&change.table, &cells, &mut json);
                json.replace('"', "")
            };
            match change.op {
                ChangeOp::Insert { after } => writeln!(script, "  + {}", row(after)),
                ChangeOp::Update { before, after } => writeln!(script, "  {} > {}", row(before), row(after)),
                ChangeOp::Delete { before } => writeln!(script, "  - {}", row(before)),
                ChangeOp::Truncate => writeln!(script, "  truncated"),
            }
        }
        SourceEvent::Begin(_)
        | SourceEvent::Commit(_)
        | SourceEvent::Progress(_)
        | SourceEvent::Unseen { .. }
        | SourceEvent::Fenced(_) => Ok(()),
    };
    written.expect("a string");
}

fn shape(table: &TableVersion) -> String {
    let name = |sql_type: &SqlType| match sql_type {
        SqlType::Int => "int".to_owned(),
        SqlType::BigInt => "bigint".to_owned(),
        SqlType::VarChar { length: Some(n), .. } => format!("varchar({n})"),
        other => format!("{other:?}"),
    };
    let null = |nullable| if nullable { "" } else { " not null" };
    let columns: Vec<String> =
        table.columns.iter().map(|c| format!("{} {}{}", c.name, name(&c.sql_type), null(c.nullable))).collect();
    format!("{} ({})", table.name, columns.join(", "))
}

#[track_caller]
fn check(made: impl FnOnce(&mut Source), expect: &str) {
    let mut source = Source::new();
    made(&mut source);
    let expect: Vec<&str> = expect.lines().map(str::trim_end).filter(|line| !line.trim().is_empty()).collect();
    let told = source.told();
    let indent = expect.iter().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let expect: Vec<&str> = expect.iter().map(|line| &line[indent..]).collect();
    assert_eq!(told.lines().collect::<Vec<_>>(), expect, "{told}");
}

#[test]
fn columns_are_added_and_dropped() {
    check(
        |s| {
            let key = s.insert(vec![int(2), int(20), text("two")]);
            s.db.add_column(s.table, ColumnDef::new("b", SqlType::BigInt)).expect("added");
            s.update(&key, 1, int(21));
            s.insert(vec![int(3), int(30), text("three"), Some(7i64.to_le_bytes().to_vec())]);
            s.db.drop_column(s.table, 1).expect("dropped");
            s.update(&key, 1, text("zwei"));
        },
        "
          + {id:2,a:20,name:two}
        dbo.t (id int not null, a int, name varchar(20), b bigint)
          {id:2,a:20,name:two,b:null} > {id:2,a:21,name:two,b:null}
          + {id:3,a:30,name:three,b:7}
        dbo.t (id int not null, name varchar(20), b bigint)
          {id:2,name:two,b:null} > {id:2,name:zwei,b:null}
        ",
    );
}

#[test]
fn columns_become_others() {
    check(
        |s| {
            let key = s.insert(vec![int(2), int(20), text("two")]);
            // Longer: nothing is written. Another type: every row is written again, in a new place.
            s.db.alter_column(s.table, 2, ColumnDef::new("name", varchar(40)), &[]).expect("altered");
            s.update(&key, 2, text("two, and some more"));
            let wide = |n: i64| Some(n.to_le_bytes().to_vec());
            let mut keys = Vec::new();
            s.db.each_version(s.table, &mut |key, _| keys.push(key.clone()));
            let values: Vec<_> = keys.into_iter().zip([10, 20]).map(|(key, n)| (key, wide(n))).collect();
            s.db.alter_column(s.table, 1, ColumnDef::new("a", SqlType::BigInt), &values).expect("altered");
            s.update(&key, 1, wide(1 << 40));
        },
        "
          + {id:2,a:20,name:two}
        dbo.t (id int not null, a int, name varchar(40))
          {id:2,a:20,name:two} > {id:2,a:20,name:two, and some more}
        dbo.t (id int not null, a bigint, name varchar(40))
          {id:1,a:null,name:one} > {id:1,a:10,name:one}
          {id:2,a:null,name:two, and some more} > {id:2,a:20,name:two, and some more}
          {id:2,a:20,name:two, and some more} > {id:2,a:1099511627776,name:two, and some more}
        ",
    );
}

#[test]
fn tables_and_columns_get_other_names() {
    check(
        |s| {
            s.insert(vec![int(2), int(20), text("two")]);
            s.db.rename_column(s.table, 2, "label").expect("renamed");
            let key = s.insert(vec![int(3), int(30), text("three")]);
            s.db.rename_table(s.table, "u").expect("renamed");
            s.update(&key, 1, int(31));
        },
        "
          + {id:2,a:20,name:two}
        dbo.t (id int not null, a int, label varchar(20))
          + {id:3,a:30,label:three}
        dbo.u (id int not null, a int, label varchar(20))
          {id:3,a:30,label:three} > {id:3,a:31,label:three}
        ",
    );
}

#[test]
fn tables_go_and_come() {
    check(
        |s| {
            s.insert(vec![int(2), int(20), text("two")]);
            s.db.truncate(s.table).expect("truncated");
            s.insert(vec![int(3), int(30), text("three")]);
            s.db.drop_table(s.table).expect("dropped");
            // The same name, another table.
            let columns = vec![ColumnDef::new("k", SqlType::BigInt).not_null()];
            let def = TableDef { schema: "dbo".into(), name: "t".into(), columns, primary_key: vec![0] };
            s.table = s.db.create_table(def).expect("a table");
            s.insert(vec![Some(5i64.to_le_bytes().to_vec())]);
        },
        "
          + {id:2,a:20,name:two}
          truncated
          + {id:3,a:30,name:three}
        dropped dbo.t
        dbo.t (k bigint not null)
          + {k:5}
        ",
    );
}

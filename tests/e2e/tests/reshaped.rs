//! Tables that change while changes are applied: the target follows, and what it has at each moment is what the source had.

use std::path::PathBuf;

use logferry_config::DdlPolicy;
use logferry_e2e::{Files, Target};
use logferry_model::{Cell, SqlType};
use logferry_mssql_format::encode::BackupKind;
use logferry_mssql_standin_storage::workload::{ChainFile, TableKind, WorkloadOptions, generate_chain};
use logferry_mssql_standin_storage::{
    ColumnDef, DEFAULT_COLLATION, Database, Options, RowKey, TableDef, Transaction, XactOptions,
};
use logferry_testkit::compare::Expected;

const TABLES: &str = "SELECT coalesce(string_agg(nspname || '.' || relname, ' ' ORDER BY nspname, relname), '') \
     FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace \
     WHERE relkind = 'r' AND nspname NOT IN ('logferry', 'pg_catalog', 'information_schema') AND relpersistence = 'p'";

async fn compare(target: &Target, file: &ChainFile, what: &str) {
    let mut names: Vec<String> =
        file.tables.iter().map(|t| format!("{}.{}", t.schema, t.name).to_ascii_lowercase()).collect();
    names.sort();
    assert_eq!(target.ask(TABLES).await, names.join(" "), "{what}");
    let client = target.database.client().await.expect("a connection");
    for def in &file.tables {
        let name = format!("{}.{}", def.schema, def.name);
        let mut expected = Expected::of_types(def.columns.iter().map(|c| -> SqlType { c.sql_type.clone() }));
        for row in &file.expected[&name] {
            let cells: Vec<Cell<'_>> = row.iter().map(|v| v.as_deref().map_or(Cell::Null, Cell::Bytes)).collect();
            expected.row(&cells);
        }
        let (schema, table) = (def.schema.to_ascii_lowercase(), def.name.to_ascii_lowercase());
        let found =
            expected.compare(&client, &schema, &table).await.unwrap_or_else(|e| panic!("{what}: {name}: {e:?}"));
        assert!(found.is_equal(), "{what}, table {name}: {found:?}");
        let columns = format!(
            "SELECT string_agg(attname || CASE WHEN attnotnull THEN '!' ELSE '' END, ' ' ORDER BY attnum) \
             FROM pg_attribute WHERE attrelid = '{schema}.{table}'::regclass AND attnum > 0 AND NOT attisdropped"
        );
        let shape = |c: &ColumnDef| format!("{}{}", c.name.to_ascii_lowercase(), if c.nullable { "" } else { "!" });
        let shapes: Vec<String> = def.columns.iter().map(shape).collect();
        assert_eq!(target.ask(&columns).await, shapes.join(" "), "{what}, table {name}");
    }
}

/// Random histories, file by file and at once.
#[tokio::test(flavor = "multi_thread")]
async fn made_up_histories() {
    for seed in 1..=6 {
        let narrow = vec![TableKind::Keyed, TableKind::Composite, TableKind::Guid, TableKind::Heap];
        let options = WorkloadOptions {
            tables: if seed % 3 == 0 { TableKind::ALL.to_vec() } else { narrow },
            initial_rows: 40,
            steps: 120,
            logs: 5,
            late_table: true,
            truncate_percent: 20,
            alter_percent: 95,
            reshape_percent: 60,
            ..WorkloadOptions::default()
        };
        let folder = tempfile::tempdir().expect("a folder");
        let chain = generate_chain(seed, &options, folder.path()).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let paths: Vec<PathBuf> = chain.files.iter().map(|f| f.path.clone()).collect();
        let growing = Target::new();
        for (n, file) in chain.files.iter().enumerate() {
            assert_ne!(file.kind, BackupKind::Differential, "there are none");
            growing.run(&Files::Backups(paths[..=n].to_vec())).await;
            compare(&growing, file, &format!("seed {seed}, after {}", file.path.display())).await;
        }
        let fresh = Target::new();
        fresh.run(&Files::Backups(paths[..1].to_vec())).await;
        fresh.run(&Files::Backups(paths.clone())).await;
        compare(&fresh, &chain.files[chain.files.len() - 1], &format!("seed {seed}, at once")).await;
    }
}

/// A database of one's own, and its backups.
struct Source {
    db: Database,
    table: u32,
    folder: tempfile::TempDir,
    files: Vec<PathBuf>,
}

fn varchar(length: u16) -> SqlType {
    SqlType::VarChar { length: Some(length), collation: DEFAULT_COLLATION }
}

fn table(name: &str) -> TableDef {
    let columns = vec![
        ColumnDef::new("id", SqlType::Int).not_null(),
        ColumnDef::new("a", SqlType::Int),
        ColumnDef::new("name", varchar(20)),
    ];
    TableDef { schema: "dbo".into(), name: name.into(), columns, primary_key: vec![0] }
}

impl Source {
    /// `dbo.t` with a row, backed up.
    fn new() -> Source {
        let mut db = Database::create(Options::default()).expect("a database");
        let table = db.create_table(table("t")).expect("a table");
        let mut source = Source { db, table, folder: tempfile::tempdir().expect("a folder"), files: Vec::new() };
        source.insert(source.table, 1, "one");
        let full = source.folder.path().join("full.bak");
        source.db.backup_full(&full).expect("a backup");
        source.files.push(full);
        source
    }

    fn xact<T>(&mut self, change: impl FnOnce(&mut Database, Transaction) -> T) -> T {
        let xact = self.db.begin(XactOptions::default());
        let done = change(&mut self.db, xact);
        self.db.commit(xact).expect("a commit");
        done
    }

    /// A row whose columns behind the first are the text, or NULL.
    fn insert(&mut self, table: u32, id: i32, name: &str) -> RowKey {
        let columns = self.db.table_def(table).expect("a table").columns.clone();
        let row = columns.iter().enumerate().map(|(at, column)| match &column.sql_type {
            _ if at == 0 => Some(id.to_le_bytes().to_vec()),
            SqlType::VarChar { .. } => Some(name.as_bytes().to_vec()),
            _ => None,
        });
        let row = row.collect();
        self.xact(|db, xact| db.insert(xact, table, row).expect("a row"))
    }

    fn backup(&mut self) -> Files {
        let log = self.folder.path().join(format!("{}.trn", self.files.len()));
        self.db.backup_log(&log).expect("a backup");
        self.files.push(log);
        Files::Backups(self.files.clone())
    }
}

const T: &str = "SELECT coalesce(string_agg(t::text, ' ' ORDER BY t::text), '') FROM dbo.t";

/// The name of a table that is dropped goes to another one, and what others made on the target stays.
#[tokio::test(flavor = "multi_thread")]
async fn names_change_hands() {
    let mut source = Source::new();
    let target = Target::new();
    target.run(&Files::Backups(source.files.clone())).await;
    let client = target.database.client().await.expect("a connection");
    client
        .batch_execute("ALTER TABLE dbo.t ADD COLUMN mine text DEFAULT 'm'; CREATE INDEX mine ON dbo.t (name)")
        .await
        .expect("DDL");
    let (t, u) = (source.table, source.db.create_table(table("u")).expect("a table"));
    source.insert(u, 7, "seven");
    source.insert(t, 2, "two");
    source.db.rename_table(t, "old").expect("renamed");
    source.db.rename_table(u, "t").expect("renamed");
    source.insert(t, 3, "three");
    source.insert(u, 8, "eight");
    let files = source.backup();
    target.run(&files).await;
    assert_eq!(target.ask(TABLES).await, "dbo.old dbo.t");
    assert_eq!(target.ask(T).await, "(7,,seven) (8,,eight)");
    let old = "SELECT string_agg(t::text, ' ' ORDER BY t::text) FROM dbo.old t";
    assert_eq!(target.ask(old).await, "(1,,one,m) (2,,two,m) (3,,three,m)");
    let index = "SELECT string_agg(indexdef, ';') FROM pg_indexes WHERE indexname = 'mine'";
    assert_eq!(target.ask(index).await, "CREATE INDEX mine ON dbo.old USING btree (name)");
    source.db.drop_table(t).expect("dropped");
    source.db.drop_table(u).expect("dropped");
    let again = source.db.create_table(table("t")).expect("a table");
    source.insert(again, 9, "nine");
    let files = source.backup();
    target.run(&files).await;
    assert_eq!(target.ask(TABLES).await, "dbo.t");
    assert_eq!(target.ask(T).await, "(9,,nine)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_to_stop_does_so_in_front_of_the_change() {
    let mut source = Source::new();
    let mut target = Target::new();
    target.task.ddl = DdlPolicy::Stop;
    target.run(&Files::Backups(source.files.clone())).await;
    source.insert(source.table, 2, "two");
    source.db.add_column(source.table, ColumnDef::new("b", varchar(5))).expect("added");
    source.insert(source.table, 3, "three");
    let files = source.backup();
    for _ in 0..2 {
        let fault = target.try_run(&files).await.expect_err("the shape changed").fault;
        assert!(fault.message.starts_with("table \"dbo.t\" changed its shape after "), "{fault}");
        assert!(fault.message.ends_with(": column \"b\" is new"), "{fault}");
        assert_eq!(target.ask(T).await, "(1,,one) (2,,two)", "what came before is applied");
    }
    target.task.ddl = DdlPolicy::Apply;
    target.run(&files).await;
    assert_eq!(target.ask(T).await, "(1,,one,) (2,,two,) (3,,three,three)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_to_stay_as_it_is_does_so_for_good() {
    let mut source = Source::new();
    let mut target = Target::new();
    target.task.ddl = DdlPolicy::Ignore;
    target.run(&Files::Backups(source.files.clone())).await;
    let new = source.db.create_table(table("new")).expect("a table");
    source.insert(new, 1, "one");
    source.db.drop_column(source.table, 1).expect("dropped");
    source.db.add_column(source.table, ColumnDef::new("b", varchar(5))).expect("added");
    source.db.rename_column(source.table, 1, "label").expect("renamed");
    let key = source.insert(source.table, 2, "two");
    let files = source.backup();
    target.run(&files).await;
    assert_eq!(target.ask(TABLES).await, "dbo.t");
    assert_eq!(target.ask(T).await, "(1,,one) (2,,two)");
    // What was ignored is missing in rows that came since: it does not come back.
    target.task.ddl = DdlPolicy::Apply;
    let table = source.table;
    source.xact(|db, xact| db.update(xact, table, &key, &[(1, Some(b"zwei".to_vec()))]).expect("an update"));
    source.insert(new, 2, "two");
    let files = source.backup();
    target.run(&files).await;
    assert_eq!(target.ask(TABLES).await, "dbo.t");
    assert_eq!(target.ask(T).await, "(1,,one) (2,,zwei)");
}

/// A statement that PostgreSQL refuses is named, and nothing of it is there; with what was in the way gone, the task goes on.
#[tokio::test(flavor = "multi_thread")]
async fn what_postgres_refuses_stops_the_task() {
    let mut source = Source::new();
    let target = Target::new();
    target.run(&Files::Backups(source.files.clone())).await;
    let client = target.database.client().await.expect("a connection");
    client.batch_execute("CREATE VIEW dbo.v AS SELECT a FROM dbo.t").await.expect("a view");
    source.insert(source.table, 2, "two");
    source.db.drop_column(source.table, 1).expect("dropped");
    source.insert(source.table, 3, "three");
    let files = source.backup();
    let fault = target.try_run(&files).await.expect_err("a view needs the column").fault;
    assert!(fault.message.contains("ALTER TABLE \"dbo\".\"t\" DROP COLUMN \"a\""), "{fault}");
    assert_eq!(target.ask(T).await, "(1,,one) (2,,two)");
    client.batch_execute("DROP VIEW dbo.v").await.expect("it is there");
    target.run(&files).await;
    assert_eq!(target.ask(T).await, "(1,one) (2,two) (3,three)");
}

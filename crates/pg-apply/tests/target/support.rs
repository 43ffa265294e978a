//! Tables, rows and changes as short text.
//!
//! A table is `t(id key, v, w unique, n:int, x:xml)`: columns are `text` unless typed; `!` after the type is NOT NULL.
//! A row is its values; `~` is NULL, `?` is unchanged. Changes are separated by `;`:
//! `ins 1 a`, `upd 1 a > 1 b` (before, after), `del 1 b`, `trunc`; `|` ends a batch inside a transaction, `end` a transaction inside a batch, `%` both.
//! A change of another table than the first starts with its name: `u: ins 1`.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use logferry_model::{
    Cell, ChangeOp, ChangeSink, Checkpoint, CommitLsn, Comparison, Domain, Fault, Lineage, Lsn, PgType, RestartLsn,
    RowRef, RowStore, SnapshotPoint, TableId, TableName, TargetBatch, TargetChange, TargetColumn, TargetTable,
};
use logferry_pg_apply::{ApplyMode, PgSink, Target, TaskSettings, TaskTarget, qualified, quoted};
use logferry_testkit::postgres::{Database, PrivatePostgres};
use tokio_postgres::Client;

pub fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// An empty database, which another test may have used before: making one takes a second.
pub struct Lent(Option<Database<'static>>);

static FREE: Mutex<Vec<Database<'static>>> = Mutex::new(Vec::new());

impl Deref for Lent {
    type Target = Database<'static>;

    fn deref(&self) -> &Database<'static> {
        self.0.as_ref().unwrap()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        FREE.lock().unwrap().extend(self.0.take());
    }
}

pub async fn database() -> Lent {
    let free = FREE.lock().unwrap().pop();
    let database = free.unwrap_or_else(|| PrivatePostgres::shared().create_database().unwrap());
    let client = database.client().await.unwrap();
    let leftovers = "DROP EXTENSION IF EXISTS ltree CASCADE; DROP EXTENSION IF EXISTS citext CASCADE; DROP SCHEMA IF EXISTS s, e, logferry CASCADE";
    client.batch_execute(leftovers).await.unwrap();
    Lent(Some(database))
}

pub fn tables(text: &str) -> Vec<Arc<TargetTable>> {
    text.split_inclusive(')').map(|t| Arc::new(table(t.trim_matches([',', ' '])))).collect()
}

fn table(text: &str) -> TargetTable {
    let (name, columns) = text.trim_end_matches(')').split_once('(').unwrap();
    let mut table = TargetTable {
        source_id: TableId(name.bytes().map(u32::from).sum()),
        schema: "s".into(),
        name: name.into(),
        columns: Vec::new(),
        key: Vec::new(),
        key_name: None,
        unique: Vec::new(),
        source: TableName::new("dbo", name),
        condition: None,
    };
    for (at, column) in columns.split(',').enumerate() {
        let mut words = column.split_whitespace();
        let word = words.next().unwrap();
        let (name, kind) = word.split_once(':').unwrap_or((word, ""));
        let role = words.next().unwrap_or_default();
        let (kind, domain) = kind.split_once('@').map_or((kind, None), |(kind, domain)| (kind, Some(domain)));
        let pg_type = match kind.trim_end_matches('!') {
            "int" => PgType::Int4,
            "xml" => PgType::Xml,
            "jsonb" => PgType::Jsonb,
            "reals" => PgType::Float4Array,
            "ltree" => PgType::Ltree,
            "citext" => PgType::CiText,
            "vector" => PgType::Vector,
            "geometry" => PgType::Geometry,
            "float" => PgType::Float8,
            "char5" => PgType::Char { length: 5 },
            "varchar3" => PgType::VarChar { length: 3 },
            "" | "ci" => PgType::Text,
            other => panic!("no type {other}"),
        };
        let nullable = role != "key" && !kind.ends_with('!');
        table.columns.push(TargetColumn {
            source_id: at as u32 + 1,
            name: name.into(),
            pg_type,
            domain: domain.map(|name| Domain { schema: "s".into(), name: name.into() }),
            comparison: (kind.trim_end_matches('!') == "ci").then_some(Comparison::CaseInsensitive),
            nullable,
            identity: None,
        });
        match role {
            "key" => table.key.push(at),
            "unique" => table.unique.push((format!("u_{name}"), vec![at])),
            "" => {}
            other => panic!("no role {other}"),
        }
    }
    table
}

pub fn push_row(rows: &mut RowStore, table: &TargetTable, values: &str) -> RowRef {
    let values: Vec<&str> = values.split_whitespace().collect();
    assert_eq!(values.len(), table.columns.len(), "{values:?}");
    let cells: Vec<Option<Option<Vec<u8>>>> = values
        .iter()
        .zip(&table.columns)
        .map(|(value, column)| match *value {
            "?" => None,
            "~" => Some(None),
            value => Some(Some(match column.pg_type {
                PgType::Int4 => value.parse::<i32>().unwrap().to_be_bytes().to_vec(),
                PgType::Float8 => value.parse::<f64>().unwrap().to_be_bytes().to_vec(),
                PgType::Jsonb | PgType::Ltree => [&[1], value.as_bytes()].concat(),
                PgType::Float4Array => {
                    let elements: Vec<f32> = value.split(',').map(|v| v.parse().unwrap()).collect();
                    let head = [1, 0, 700, elements.len() as u32, 1].map(u32::to_be_bytes).concat();
                    let element = |v: &f32| [4u32.to_be_bytes(), v.to_be_bytes()].concat();
                    [head, elements.iter().flat_map(element).collect()].concat()
                }
                _ => value.trim_matches('\'').as_bytes().to_vec(),
            })),
        })
        .collect();
    rows.push_row(cells.iter().map(|cell| match cell {
        None => Cell::Unchanged,
        Some(None) => Cell::Null,
        Some(Some(bytes)) => Cell::Bytes(bytes),
    }))
}

/// Batches of a text; commits count up from `first`.
pub fn batches(tables: &[Arc<TargetTable>], text: &str, first: u32) -> Vec<TargetBatch> {
    let mut all = Vec::new();
    let mut commit = first;
    for part in text.split_inclusive(['|', '%']) {
        let mut batch = TargetBatch::default();
        for change in part.trim_end_matches(['|', '%']).split(';').map(str::trim).filter(|c| !c.is_empty()) {
            if change == "end" {
                batch.ends.push(batch.changes.len());
                continue;
            }
            let (table, change) = match change.split_once(": ") {
                Some((name, change)) => (tables.iter().find(|t| t.name == name).unwrap(), change),
                None => (&tables[0], change),
            };
            let (op, values) = change.split_once(' ').unwrap_or((change, ""));
            let rows = &mut batch.rows;
            let op = match op {
                "ins" => ChangeOp::Insert { after: push_row(rows, table, values) },
                "del" => ChangeOp::Delete { before: push_row(rows, table, values) },
                "upd" => {
                    let (before, after) = values.split_once(" > ").unwrap();
                    ChangeOp::Update { before: push_row(rows, table, before), after: push_row(rows, table, after) }
                }
                "trunc" => ChangeOp::Truncate,
                other => panic!("no operation {other}"),
            };
            batch.changes.push(TargetChange { table: table.clone(), op });
        }
        if !part.ends_with('|') {
            batch.checkpoint = Some(checkpoint(commit));
            batch.ends.push(batch.changes.len());
            commit += 1;
        }
        all.push(batch);
    }
    all
}

pub fn checkpoint(commit: u32) -> Checkpoint {
    Checkpoint {
        applied: CommitLsn(Lsn::new(commit, 7, 1)),
        restart: RestartLsn(Lsn::new(commit, 1, 2)),
        lineage: Lineage { database: [1; 16], fork: [2; 16] },
        commit_time_us: Some(i64::from(commit) * 1_000_003),
    }
}

pub fn snapshot(id: u8) -> SnapshotPoint {
    let checkpoint = checkpoint(0);
    SnapshotPoint { checkpoint, lineage: checkpoint.lineage, id: [id; 16], end_lsn: Lsn::new(0, 9, 1) }
}

/// A task whose empty tables are "copied".
pub struct Streaming {
    pub database: Lent,
    pub tables: Vec<Arc<TargetTable>>,
    pub task: TaskTarget,
    pub sink: PgSink,
    pub client: Client,
}

pub async fn streaming(text: &str) -> Streaming {
    streaming_as(text, ApplyMode::Exact).await
}

pub async fn streaming_as(text: &str, mode: ApplyMode) -> Streaming {
    let database = database().await;
    let tables = tables(text);
    for extension in tables.iter().flat_map(|t| &t.columns).filter_map(|c| c.pg_type.extension()) {
        let sql = format!("CREATE EXTENSION IF NOT EXISTS {extension} SCHEMA public");
        database.client().await.unwrap().batch_execute(&sql).await.unwrap();
    }
    let target = Target::parse(&database.url()).unwrap();
    let (task, _) = TaskTarget::open(&target, TaskSettings { mode, ..TaskSettings::new("test") }).await.unwrap();
    task.create_tables(&tables, &snapshot(1)).await.unwrap();
    let copied: Vec<_> = tables.iter().map(|t| (t.clone(), 0)).collect();
    let fixups = TargetBatch { checkpoint: Some(checkpoint(0)), ..TargetBatch::default() };
    let sink = task.finish_copy(&copied, &fixups).await.unwrap();
    let client = database.client().await.unwrap();
    Streaming { database, tables, task, sink, client }
}

impl Streaming {
    pub async fn apply(&mut self, text: &str, first: u32) -> Result<(), Fault> {
        for batch in batches(&self.tables, text, first) {
            self.sink.apply(&batch).await?;
        }
        Ok(())
    }

    pub async fn rows(&self) -> String {
        rows(&self.client, &self.tables).await
    }
}

/// All rows, in their text's order: values by spaces, rows by `, `, tables by ` | `.
pub async fn rows(client: &Client, tables: &[Arc<TargetTable>]) -> String {
    let mut all = Vec::new();
    for table in tables {
        let columns = table.columns.iter().map(|c| format!("coalesce({}::text, '~')", quoted(&c.name)));
        let sql = format!(
            "SELECT array_to_string(ARRAY[{}], ' ') FROM {} ORDER BY 1",
            columns.collect::<Vec<_>>().join(", "),
            qualified(table)
        );
        let found = client.query(&sql, &[]).await.unwrap();
        all.push(found.iter().map(|r| r.get::<_, &str>(0)).collect::<Vec<_>>().join(", "));
    }
    all.join(" | ")
}

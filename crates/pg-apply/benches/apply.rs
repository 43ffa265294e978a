//! Ways to apply a batch, side by side on one PostgreSQL, interleaved: what the sink does, and what it might do instead.
//!
//! `cargo bench -p logferry-pg-apply --bench apply`; `-- ROWS BATCH ROUNDS` changes the size. Takes about half a minute.
//!
//! The table has 6 columns of about 230 bytes in all and a primary key; keys are spread over it at random. A batch is one
//! transaction, fsync is on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use logferry_model::{
    Cell, ChangeOp, ChangeSink, Checkpoint, CommitLsn, Lineage, Lsn, PgType, RestartLsn, RowRef, RowStore,
    SnapshotPoint, TableId, TableName, TargetBatch, TargetChange, TargetColumn, TargetTable,
};
use logferry_pg_apply::Client;
use logferry_pg_apply::{ApplyMode, PgSink, Target, TaskSettings, TaskTarget};
use logferry_testkit::postgres::{Options, PrivatePostgres};

fn main() {
    // `cargo bench` adds `--bench`.
    let numbers: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let number = |at: usize, default| numbers.get(at).copied().unwrap_or(default);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(number(0, 200_000), number(1, 10_000), number(2, 5)));
}

async fn run(rows: usize, batch: usize, rounds: usize) {
    let settings = vec![("shared_buffers".into(), "256MB".into()), ("max_wal_size".into(), "4GB".into())];
    let cluster = PrivatePostgres::start_with(Options { settings, ..Options::default() }).expect("a PostgreSQL");
    let database = cluster.create_database().expect("a database");
    let target = Target::parse(&database.socket_url()).expect("a connection string");
    let mut bench = Bench::new(&target, "t", ApplyMode::Exact, rows).await;
    let mut states = Bench::new(&target, "r", ApplyMode::Replace, rows).await;
    bench.raw.batch_execute("CREATE INDEX ON s.r (a)").await.expect("an index");
    bench.raw.batch_execute(STAGING).await.expect("staging tables");
    println!("{rows} rows in the table, batches of {batch}, median of {rounds} interleaved rounds\n");
    println!("{:<44} {:>10} {:>9}", "", "rows/s", "ms/batch");

    let mut modes: Vec<(&str, Vec<Duration>)> = Vec::new();
    let mut took = |name: &'static str, duration: Duration| match modes.iter_mut().find(|(n, _)| *n == name) {
        Some((_, all)) => all.push(duration),
        None => modes.push((name, vec![duration])),
    };
    for round in 0..rounds {
        let keys = bench.pick(batch);
        took("update: sink", bench.sink_update(&keys).await);
        took("update: COPY to temporary, UPDATE FROM", bench.staged_update(&keys).await);
        took("update: DELETE unnest, COPY", bench.delete_insert(&keys).await);
        let keys = bench.pick(batch);
        // Each inserts what the other deleted, in turns.
        if round % 2 == 0 {
            took("delete: sink", bench.sink_delete(&keys).await);
            took("insert: sink (COPY)", bench.sink_insert(&keys).await);
            took("delete: COPY to temporary, DELETE USING", bench.staged_delete(&keys).await);
            took("insert: INSERT SELECT unnest", bench.unnest_insert(&keys).await);
        } else {
            took("delete: COPY to temporary, DELETE USING", bench.staged_delete(&keys).await);
            took("insert: INSERT SELECT unnest", bench.unnest_insert(&keys).await);
            took("delete: sink", bench.sink_delete(&keys).await);
            took("insert: sink (COPY)", bench.sink_insert(&keys).await);
        }
        // Of a table with another index besides.
        took("as it is now, other than before: sink", states.sink_put(&keys).await);
        took("as it is now, told again: sink", states.sink_told_again(&keys).await);
        took("as it is now, there: DELETE unnest, COPY", states.delete_insert(&keys).await);
        let new: Vec<usize> = (0..batch).map(|n| rows + round * batch + n).collect();
        took("as it is now, new rows: sink", states.sink_insert(&new).await);
        took("mixed 50 U / 30 I / 20 D: sink", bench.sink_mixed(batch).await);
    }
    for (name, mut all) in modes {
        all.sort();
        let median = all[all.len() / 2];
        println!("{name:<44} {:>10.0} {:>9.1}", batch as f64 / median.as_secs_f64(), median.as_secs_f64() * 1e3);
    }
    println!();
    for size in [1, 10, 100] {
        let began = Instant::now();
        let n = 200;
        for _ in 0..n {
            let keys = bench.pick(size);
            bench.sink_update(&keys).await;
        }
        let each = began.elapsed() / n;
        println!(
            "{:<44} {:>10.0} {:>9.2}",
            format!("update: sink, batches of {size}"),
            size as f64 / each.as_secs_f64(),
            each.as_secs_f64() * 1e3
        );
    }
}

const STAGING: &str = "SET enable_hashjoin = off; SET enable_mergejoin = off; \
     CREATE TEMPORARY TABLE stage (LIKE s.t) ON COMMIT DELETE ROWS; \
     CREATE TEMPORARY TABLE stage_keys (id int NOT NULL) ON COMMIT DELETE ROWS";

struct Bench {
    table: Arc<TargetTable>,
    sink: PgSink,
    raw: Client,
    random: u64,
    rows: usize,
    next_id: usize,
    commit: u32,
}

impl Bench {
    async fn new(target: &Target, name: &str, mode: ApplyMode, rows: usize) -> Self {
        let column = |name: &str, pg_type, nullable| TargetColumn {
            source_id: 0,
            name: name.into(),
            pg_type,
            domain: None,
            comparison: None,
            nullable,
            identity: None,
        };
        let table = Arc::new(TargetTable {
            source_id: TableId(1),
            schema: "s".into(),
            name: name.into(),
            columns: vec![
                column("id", PgType::Int4, false),
                column("a", PgType::Int8, true),
                column("b", PgType::VarChar { length: 50 }, true),
                column("c", PgType::VarChar { length: 200 }, true),
                column("d", PgType::Timestamp { precision: 6 }, true),
                column("e", PgType::Float8, true),
            ],
            key: vec![0],
            key_name: None,
            unique: Vec::new(),
            source: TableName::new("dbo", name),
            condition: None,
        });
        let (task, _) =
            TaskTarget::open(target, TaskSettings { mode, ..TaskSettings::new(name) }).await.expect("a task");
        let point = checkpoint(0);
        let snapshot = SnapshotPoint { checkpoint: point, lineage: point.lineage, id: [1; 16], end_lsn: Lsn::ZERO };
        task.create_tables(std::slice::from_ref(&table), &snapshot).await.expect("tables");
        let mut store = RowStore::new();
        let all: Vec<RowRef> = (0..rows).map(|id| push(&mut store, id, 0)).collect();
        // The same bytes by a chunk with its mark, and by a bare COPY.
        let pieces: Vec<Bytes> = all.chunks(2000).map(|part| tuples(&store, part)).collect();
        let raw = target.connect().await.expect("a connection");
        for round in 0..3 {
            let began = Instant::now();
            raw.batch_execute(&format!("CREATE TABLE s.bare (LIKE s.{name})")).await.expect("a table");
            let mut copy = Box::pin(raw.copy_in("COPY s.bare FROM STDIN BINARY").await.expect("a COPY"));
            copy.feed(Bytes::from_static(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0")).await.expect("a connection");
            for piece in &pieces {
                copy.feed(piece.clone()).await.expect("a connection");
            }
            copy.feed(Bytes::from_static(b"\xff\xff")).await.expect("a connection");
            copy.as_mut().finish().await.expect("rows");
            let bare = began.elapsed();
            raw.batch_execute(&format!("DROP TABLE s.bare; TRUNCATE s.{name}")).await.expect("a table");
            let began = Instant::now();
            let mut chunk = task.copy_chunk(&table, round).await.expect("a chunk");
            for piece in &pieces {
                chunk.send(piece.clone()).await.expect("a connection");
            }
            let done = chunk.finish(rows as u64).await.expect("a commit");
            let chunk = began.elapsed();
            let (mb, ratio) = (done.bytes >> 20, chunk.as_secs_f64() / bare.as_secs_f64());
            println!("copied {rows} rows, {mb} MB: bare COPY {bare:.2?}, as a chunk {chunk:.2?} ({ratio:.2} x)");
        }
        let fixups = TargetBatch { checkpoint: Some(point), ..TargetBatch::default() };
        let sink = task.finish_copy(&[(table.clone(), 3)], &fixups).await.expect("a sink");
        Bench { table, sink, raw, random: 88_172_645_463_325_252, rows, next_id: rows, commit: 1 }
    }

    /// Keys that are there, each once.
    fn pick(&mut self, n: usize) -> Vec<usize> {
        // A step that shares no factor with the number of rows visits each once.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let start = (self.random >> 20) as usize;
        (0..n).map(|i| (start % self.rows + i * 7_919) % self.rows).collect()
    }

    async fn apply(&mut self, fill: impl FnOnce(&mut RowStore) -> Vec<ChangeOp>) -> Duration {
        let mut batch = TargetBatch { checkpoint: Some(checkpoint(self.commit)), ..TargetBatch::default() };
        self.commit += 1;
        batch.changes =
            fill(&mut batch.rows).into_iter().map(|op| TargetChange { table: self.table.clone(), op }).collect();
        let began = Instant::now();
        self.sink.apply(&batch).await.expect("applied");
        began.elapsed()
    }

    async fn sink_update(&mut self, keys: &[usize]) -> Duration {
        let version = self.commit;
        self.apply(|rows| {
            let update = |&id: &usize| ChangeOp::Update { before: push(rows, id, 0), after: push(rows, id, version) };
            keys.iter().map(update).collect()
        })
        .await
    }

    async fn sink_delete(&mut self, keys: &[usize]) -> Duration {
        self.apply(|rows| keys.iter().map(|&id| ChangeOp::Delete { before: push(rows, id, 0) }).collect()).await
    }

    /// Rows as they are now: others than before.
    async fn sink_put(&mut self, keys: &[usize]) -> Duration {
        let version = self.commit;
        self.apply(|rows| keys.iter().map(|&id| ChangeOp::Insert { after: push(rows, id, version) }).collect()).await
    }

    /// The rows that were put last.
    async fn sink_told_again(&mut self, keys: &[usize]) -> Duration {
        let version = self.commit - 1;
        self.apply(|rows| keys.iter().map(|&id| ChangeOp::Insert { after: push(rows, id, version) }).collect()).await
    }

    async fn sink_insert(&mut self, keys: &[usize]) -> Duration {
        self.apply(|rows| keys.iter().map(|&id| ChangeOp::Insert { after: push(rows, id, 0) }).collect()).await
    }

    /// Deletes what it inserts, half a round later, so that the table keeps its size.
    async fn sink_mixed(&mut self, n: usize) -> Duration {
        let keys = self.pick(n / 2);
        let (first, version) = (self.next_id, self.commit);
        self.next_id += n * 3 / 10;
        let new = first..self.next_id;
        // The first mixed batch has nothing of its own to delete.
        let mine_before = first > self.rows;
        self.apply(|rows| {
            let mut ops = Vec::with_capacity(n);
            for &id in &keys {
                ops.push(ChangeOp::Update { before: push(rows, id, 0), after: push(rows, id, version) });
            }
            ops.extend(new.clone().map(|id| ChangeOp::Insert { after: push(rows, id, 0) }));
            if mine_before {
                let old = first - n * 3 / 10;
                ops.extend((old..old + n / 5).map(|id| ChangeOp::Delete { before: push(rows, id, 0) }));
            }
            ops
        })
        .await
    }

    async fn copy_into(&self, statement: &str, data: Bytes) {
        let mut copy = Box::pin(self.raw.copy_in(statement).await.expect("a COPY"));
        copy.send(data).await.expect("a connection");
        copy.as_mut().finish().await.expect("rows");
    }

    async fn staged_update(&mut self, keys: &[usize]) -> Duration {
        let (data, _) = copy_data(keys, 9);
        let began = Instant::now();
        self.raw.batch_execute("BEGIN").await.expect("a transaction");
        self.copy_into("COPY stage FROM STDIN BINARY", data).await;
        let sql = "UPDATE s.t SET a = x.a, b = x.b, c = x.c, d = x.d, e = x.e FROM stage x WHERE t.id = x.id";
        let n = self.raw.execute(sql, &[]).await.expect("an update");
        assert_eq!(n, keys.len() as u64);
        self.raw.batch_execute("COMMIT").await.expect("a commit");
        began.elapsed()
    }

    async fn staged_delete(&mut self, keys: &[usize]) -> Duration {
        let mut data = BytesMut::from(&b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"[..]);
        for &id in keys {
            data.put_slice(b"\0\x01\0\0\0\x04");
            data.put_i32(id as i32);
        }
        data.put_i16(-1);
        let began = Instant::now();
        self.raw.batch_execute("BEGIN").await.expect("a transaction");
        self.copy_into("COPY stage_keys FROM STDIN BINARY", data.freeze()).await;
        let n = self.raw.execute("DELETE FROM s.t USING stage_keys x WHERE t.id = x.id", &[]).await.expect("a delete");
        assert_eq!(n, keys.len() as u64);
        self.raw.batch_execute("COMMIT").await.expect("a commit");
        began.elapsed()
    }

    async fn delete_insert(&mut self, keys: &[usize]) -> Duration {
        let (data, ids) = copy_data(keys, 8);
        let began = Instant::now();
        self.raw.batch_execute("BEGIN").await.expect("a transaction");
        let name = &self.table.name;
        let sql = format!("DELETE FROM s.{name} AS t USING unnest($1::int4[]) x(id) WHERE t.id = x.id");
        let n = self.raw.execute(&sql, &[&ids]).await.expect("a delete");
        assert_eq!(n, keys.len() as u64);
        self.copy_into(&format!("COPY s.{name} FROM STDIN BINARY"), data).await;
        self.raw.batch_execute("COMMIT").await.expect("a commit");
        began.elapsed()
    }

    async fn unnest_insert(&mut self, keys: &[usize]) -> Duration {
        let ids: Vec<i32> = keys.iter().map(|&k| k as i32).collect();
        let a: Vec<i64> = keys.iter().map(|&k| k as i64).collect();
        let b: Vec<String> = keys.iter().map(|&k| text_b(k, 0)).collect();
        let c: Vec<String> = keys.iter().map(|&k| text_c(k)).collect();
        let e: Vec<f64> = keys.iter().map(|&k| k as f64).collect();
        let began = Instant::now();
        self.raw.batch_execute("BEGIN").await.expect("a transaction");
        let sql = "INSERT INTO s.t SELECT id, a, b, c, '2026-01-01'::timestamp, e \
                   FROM unnest($1::int4[], $2::int8[], $3::varchar[], $4::varchar[], $5::float8[]) x(id, a, b, c, e)";
        self.raw.execute(sql, &[&ids, &a, &b, &c, &e]).await.expect("an insert");
        self.raw.batch_execute("COMMIT").await.expect("a commit");
        began.elapsed()
    }
}

fn checkpoint(commit: u32) -> Checkpoint {
    Checkpoint {
        applied: CommitLsn(Lsn::new(1, commit, 1)),
        restart: RestartLsn(Lsn::new(1, commit, 1)),
        lineage: Lineage::default(),
        commit_time_us: Some(0),
    }
}

fn text_b(id: usize, version: u32) -> String {
    format!("{id:>30}-{version:<15}")
}

fn text_c(id: usize) -> String {
    format!("{id:>140}")
}

fn push(rows: &mut RowStore, id: usize, version: u32) -> RowRef {
    let (b, c) = (text_b(id, version), text_c(id));
    rows.push_row([
        Cell::Bytes(&(id as i32).to_be_bytes()),
        Cell::Bytes(&(id as i64).to_be_bytes()),
        Cell::Bytes(b.as_bytes()),
        Cell::Bytes(c.as_bytes()),
        Cell::Bytes(&820_454_400_000_000i64.to_be_bytes()),
        Cell::Bytes(&(id as f64).to_be_bytes()),
    ])
}

fn tuples(store: &RowStore, rows: &[RowRef]) -> Bytes {
    let mut out = BytesMut::new();
    for &row in rows {
        let row = store.row(row);
        out.put_i16(row.len() as i16);
        for bytes in row.cells().filter_map(Cell::bytes) {
            out.put_i32(bytes.len() as i32);
            out.put_slice(bytes);
        }
    }
    out.freeze()
}

fn copy_data(keys: &[usize], version: u32) -> (Bytes, Vec<i32>) {
    let mut store = RowStore::new();
    let rows: Vec<RowRef> = keys.iter().map(|&id| push(&mut store, id, version)).collect();
    let mut data = BytesMut::from(&b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"[..]);
    data.extend_from_slice(&tuples(&store, &rows));
    data.put_i16(-1);
    (data.freeze(), keys.iter().map(|&k| k as i32).collect())
}

//! The log as a source of changes: what comes out, applied to what was copied, is what the tables hold.

mod pieces;
mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use logferry_model::{
    Cell, ChangeOp, ChangeSource, Checkpoint, ChunkReader, Class, EventBatch, Fault, Fill, RowRef, SourceEvent, TableId,
};
use logferry_mssql_live::{LiveSource, Mode};
use logferry_mssql_standin::serve::Standin;

use crate::copy::stored;
use crate::{settings, standin};

type Row = Vec<Option<Vec<u8>>>;

pub async fn follow(standin: &Standin) -> Result<LiveSource, Fault> {
    LiveSource::open(settings(standin), Mode::Log, 50_000, Arc::new(|_| true)).await.map_err(Fault::from)
}

/// A target: rows by their key. What is told replaces what is there.
#[derive(Default)]
pub struct Target {
    tables: BTreeMap<TableId, BTreeMap<Row, Row>>,
    names: BTreeMap<TableId, (String, Vec<usize>)>,
    pub at: Option<Checkpoint>,
    said: Vec<String>,
    changes: usize,
}

impl Target {
    fn know(&mut self, source: &LiveSource) {
        for table in source.tables() {
            let key = table.primary_key.as_ref().map(|k| k.columns.clone()).unwrap_or_default();
            self.names.insert(table.id, (table.name.name.clone(), key));
            self.tables.entry(table.id).or_default();
        }
    }

    pub async fn copy(&mut self, source: &LiveSource) {
        self.try_copy(source).await.expect("rows");
    }

    pub async fn try_copy(&mut self, source: &LiveSource) -> Result<(), Fault> {
        self.know(source);
        for (index, table) in source.tables().iter().enumerate() {
            for chunk in source.chunks(index)? {
                let mut reader = source.open_chunk(&chunk)?;
                let (key, rows) = (&self.names[&table.id].1, self.tables.get_mut(&table.id).expect("known"));
                let mut visit = |cells: &[Cell<'_>]| {
                    let row: Row = cells.iter().map(|c| c.bytes().map(<[u8]>::to_vec)).collect();
                    rows.insert(key.iter().map(|&k| row[k].clone()).collect(), row);
                    Ok(())
                };
                while reader.fill(&mut visit).await? == Fill::More {}
            }
        }
        Ok(())
    }

    fn apply(&mut self, batch: &EventBatch) {
        for event in &batch.events {
            match event {
                SourceEvent::Change(change) => {
                    self.changes += 1;
                    let key = self.names[&change.table.id].1.clone();
                    let cells = |row: RowRef| -> Row {
                        batch.rows.row(row).cells().map(|c| c.bytes().map(<[u8]>::to_vec)).collect()
                    };
                    let key_of = |row: &Row| -> Row { key.iter().map(|&k| row[k].clone()).collect() };
                    let rows = self.tables.entry(change.table.id).or_default();
                    match change.op {
                        ChangeOp::Insert { after } => {
                            let row = cells(after);
                            rows.insert(key_of(&row), row);
                        }
                        ChangeOp::Delete { before } => {
                            rows.remove(&key_of(&cells(before)));
                        }
                        ChangeOp::Truncate => rows.clear(),
                        ChangeOp::Update { .. } => panic!("rows are told as they are"),
                    }
                }
                SourceEvent::Commit(at) | SourceEvent::Progress(at) => {
                    assert!(self.at.is_none_or(|before| before.applied <= at.applied), "the position goes back");
                    assert!(at.restart.0 <= at.applied.0);
                    self.at = Some(*at);
                }
                SourceEvent::Table(table) => {
                    let key = table.primary_key.as_ref().map(|k| k.columns.clone()).unwrap_or_default();
                    self.names.insert(table.id, (table.name.name.clone(), key));
                    self.said.push(format!("table {} {}", table.name, table.version));
                }
                SourceEvent::Dropped(table) => {
                    self.tables.remove(&table.id);
                    self.said.push(format!("dropped {}", table.name));
                }
                SourceEvent::Unreadable { table, why, .. } => self.said.push(format!("{}: {why}", table.name)),
                SourceEvent::Unseen { why, .. } => self.said.push(why.clone()),
                SourceEvent::Begin(_) | SourceEvent::Fenced(_) => {}
            }
        }
    }

    /// Applies until the source has nothing.
    pub async fn drain(&mut self, source: &mut LiveSource, bytes: usize) -> Result<(), Fault> {
        loop {
            let batch = source.next(bytes).await?.expect("it does not end");
            if batch.events.is_empty() {
                return Ok(());
            }
            self.apply(&batch);
        }
    }

    #[track_caller]
    pub fn check(&self, standin: &Standin) {
        for (id, rows) in &self.tables {
            let (name, _) = &self.names[id];
            let mut expect = stored(standin, name);
            let mut found: Vec<Row> = rows.values().cloned().collect();
            found.sort();
            expect.sort();
            assert_eq!(found.len(), expect.len(), "rows of {name}");
            assert_eq!(found, expect, "{name}");
        }
    }
}

pub const TABLES: &str = "
    CREATE TABLE a (id int NOT NULL PRIMARY KEY, n int, s varchar(900), big varchar(max));
    CREATE TABLE b (x nvarchar(20) NOT NULL, y smallint NOT NULL, v decimal(9,2), PRIMARY KEY (x, y));
    CREATE TABLE c (k uniqueidentifier NOT NULL PRIMARY KEY, v bigint);
    DECLARE @n int = 0;
    WHILE @n < 200 BEGIN
        INSERT a VALUES (@n, @n, REPLICATE('s', @n), REPLICATE(CAST('b' AS varchar(max)), @n * 100));
        INSERT b VALUES (N'\u{e9}' + CAST(@n AS nvarchar(9)), @n % 7, @n / 3.0);
        SET @n += 1
    END;
    INSERT c VALUES (NEWID(), 1), (NEWID(), 2)";

/// Copies, runs each batch of T-SQL, and compares after each.
#[track_caller]
fn check(batches: &[&str]) -> Target {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let standin = standin(TABLES);
        let mut source = follow(&standin).await.expect("a source");
        let mut target = Target::default();
        source.snapshot().await.expect("a snapshot");
        target.copy(&source).await;
        target.check(&standin);
        for batch in batches {
            standin.batch(&format!("USE shop; {batch}")).unwrap_or_else(|e| panic!("{batch}: {e}"));
            target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{batch}: {e}"));
            target.check(&standin);
        }
        target
    })
}

#[test]
fn rows_come_change_and_go() {
    check(&[
        "INSERT a VALUES (1000, 1, 'x', NULL)",
        "UPDATE a SET n = n + 1 WHERE id % 2 = 0",
        "UPDATE a SET s = s + 'longer' WHERE id < 50",
        "UPDATE a SET big = REPLICATE(CAST('c' AS varchar(max)), 20000) WHERE id = 7",
        "UPDATE a SET big = NULL WHERE id BETWEEN 100 AND 110",
        "DELETE a WHERE id % 3 = 0",
        "UPDATE b SET v = -v",
        "UPDATE b SET y = y + 1 WHERE y < 3",
        "UPDATE c SET v = v * 1000",
        "DELETE c; INSERT c VALUES (NEWID(), 5)",
    ]);
}

#[test]
fn keys_change_hands() {
    check(&[
        "UPDATE a SET id = id + 1",
        "UPDATE a SET id = 1000 - id",
        "BEGIN TRAN; DELETE a WHERE id = 900; INSERT a VALUES (900, 0, '', ''); COMMIT",
    ]);
}

/// Rows are looked up by text of code pages: as the server's own collation has it, and as the column's.
#[test]
fn keys_have_characters_of_their_code_page() {
    check(&[
        "CREATE TABLE k (a varchar(20) NOT NULL, b char(6) COLLATE Cyrillic_General_CI_AS NOT NULL, n int, PRIMARY KEY (a, b))",
        "INSERT k VALUES (N'M\u{fc}ller', N'\u{416}\u{44f}', 1), (N'\u{20ac}', N'plain', 2), (N'plain', N'\u{44e}', 3)",
        "UPDATE k SET n = n + 10",
        "DELETE k WHERE n = 13",
    ]);
}

/// Values that a collation takes for equal are the same key there, and two keys on the target.
#[test]
fn keys_change_how_they_are_spelt() {
    check(&[
        "INSERT b VALUES (N'abc', 100, 1), (N'stra\u{df}e', 100, 2)",
        "UPDATE b SET x = N'ABC' WHERE x = N'abc'",
        "UPDATE b SET x = N'Abc', v = 5 WHERE x = N'abc'",
        "UPDATE b SET x = x + N' ' WHERE x = N'abc'",
        "UPDATE b SET x = UPPER(x)",
        "DELETE b WHERE x = N'abc'; INSERT b VALUES (N'aBC', 100, 7)",
    ]);
}

#[test]
fn what_is_undone_is_not_there() {
    check(&[
        "BEGIN TRAN; DELETE a; ROLLBACK",
        "BEGIN TRAN; INSERT a VALUES (5000, 1, 'kept', ''); SAVE TRAN s; UPDATE a SET n = -1; DELETE b; ROLLBACK TRAN s; COMMIT",
    ]);
}

/// Many sessions write while the tables are copied and followed, with transactions that stay open; the reader is thrown away again
/// and again, and goes on from what the target has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_seen_in_part_while_others_write() {
    // Every transaction moves an amount from one row to another: the sum never changes.
    let standin = Arc::new(standin(
        "CREATE TABLE account (id int NOT NULL PRIMARY KEY, amount bigint NOT NULL, pad varchar(300) NOT NULL);
         DECLARE @n int = 0; WHILE @n < 300 BEGIN INSERT account VALUES (@n, 1000, 'x'); SET @n += 1 END",
    ));
    let enough = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for writer in 0..3 {
        let (standin, enough) = (standin.clone(), enough.clone());
        writers.push(std::thread::spawn(move || {
            for n in (0..200).cycle().take_while(|_| !enough.load(Ordering::Relaxed)) {
                let (from, to) = ((n * 7 + writer * 50) % 300, (n * 13 + writer * 31 + 1) % 300);
                // One of them keeps its transactions open over some rounds of the reader.
                let wait = if writer == 0 { "WAITFOR DELAY '00:00:00.020';" } else { "" };
                let batch = format!(
                    "USE shop; BEGIN TRAN; UPDATE account SET amount = amount - {n}, pad = REPLICATE('p', {n}) WHERE id = {};
                     {wait} UPDATE account SET amount = amount + {n} WHERE id = {}; COMMIT",
                    from.min(to),
                    from.max(to)
                );
                // A deadlock's victim changes nothing.
                standin.batch(&batch).ok();
            }
        }));
    }
    let mut target = Target::default();
    let mut source = follow(&standin).await.expect("a source");
    source.snapshot().await.expect("a snapshot");
    target.at = None;
    target.copy(&source).await;
    let sum = |target: &Target| -> i64 {
        let rows = target.tables.values().flat_map(BTreeMap::values);
        rows.map(|row| i64::from_le_bytes(row[1].as_deref().expect("not NULL").try_into().expect("8 bytes"))).sum()
    };
    let mut rounds = 0;
    while rounds < 40 {
        let batch = source.next(2_000).await.expect("events").expect("it does not end");
        let is_whole = matches!(batch.events.last(), Some(SourceEvent::Commit(_)));
        target.apply(&batch);
        if !is_whole {
            continue;
        }
        // From the first whole round on, the target shows a moment in which the source was.
        rounds += 1;
        assert_eq!(sum(&target), 300_000, "a transaction is seen in part, in round {rounds}");
        if rounds % 4 == 0 {
            let at = target.at.expect("a checkpoint");
            source = follow(&standin).await.expect("a source");
            source.seek(at).await.expect("the position is there");
        }
    }
    enough.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().expect("a writer");
    }
    target.drain(&mut source, 1 << 20).await.expect("the rest");
    target.check(&standin);
    assert_eq!(sum(&target), 300_000);
}

/// Between the reading of the log and the reading of rows another transaction commits, which changes one of those rows and
/// another one: both are seen, or none.
#[tokio::test]
async fn a_transaction_that_commits_before_rows_are_read_is_not_seen_in_part() {
    let standin = Arc::new(standin(
        "CREATE TABLE t (id int NOT NULL PRIMARY KEY, v int NOT NULL); INSERT t VALUES (1, 10), (2, 20), (3, 30)",
    ));
    let mut source = follow(&standin).await.expect("a source");
    let mut target = Target::default();
    source.snapshot().await.expect("a snapshot");
    target.copy(&source).await;
    for statement in ["BEGIN TRANSACTION", "SELECT TOP (1) 1 AS one", "sys.fn_dblog", "[v] FROM"] {
        standin
            .batch("USE shop; UPDATE t SET v = v + 1 WHERE id = 1; UPDATE t SET v = v - 1 WHERE id = 3")
            .expect("done");
        let (done, other) = (AtomicBool::new(false), standin.clone());
        standin.faults().set(move |seen| {
            if seen.text.contains(statement) && !done.swap(true, Ordering::Relaxed) {
                let both = "USE shop; BEGIN TRAN; UPDATE t SET v = v - 5 WHERE id = 1; UPDATE t SET v = v + 5 WHERE id = 2; COMMIT";
                other.batch(both).expect("it is done");
            }
            None
        });
        loop {
            let batch = source.next(1 << 20).await.expect("events").expect("it does not end");
            if batch.events.is_empty() {
                break;
            }
            target.apply(&batch);
            let rows = target.tables.values().flat_map(BTreeMap::values);
            let sum: i32 =
                rows.map(|r| i32::from_le_bytes(r[1].as_deref().expect("a value").try_into().expect("an int"))).sum();
            assert_eq!(sum, 60, "seen in part, committed before {statement}");
        }
        target.check(&standin);
    }
    standin.faults().clear();
}

/// The copy was interrupted; what was copied before and what is copied after it are of different moments, and the log mends both.
#[tokio::test]
async fn a_copy_that_goes_on_begins_its_changes_where_it_began() {
    let standin = standin(TABLES);
    let mut source = follow(&standin).await.expect("a source");
    let point = source.snapshot().await.expect("a snapshot");
    let mut target = Target::default();
    target.copy(&source).await;
    let memo = source.memo();
    drop(source);
    standin
        .batch("USE shop; UPDATE a SET n = -n, s = 'x'; DELETE b WHERE y = 3; INSERT c VALUES (NEWID(), 9)")
        .expect("done");
    let mut source = follow(&standin).await.expect("a source");
    source.recall(&memo);
    assert_eq!(source.snapshot().await.expect("a snapshot"), point);
    target.drain(&mut source, 1 << 20).await.expect("the log is read");
    target.check(&standin);
}

/// A server that says where its log ends is asked that and no more while nothing happens; the log itself once a second.
#[tokio::test]
async fn an_idle_database_costs_next_to_nothing() {
    use std::sync::atomic::AtomicU64;
    let standin = standin(TABLES);
    let mut source = follow(&standin).await.expect("a source");
    let mut target = Target::default();
    source.snapshot().await.expect("a snapshot");
    target.copy(&source).await;
    target.drain(&mut source, 1 << 20).await.expect("nothing");
    let counts: Arc<[AtomicU64; 2]> = Arc::default();
    let counted = counts.clone();
    standin.faults().set(move |seen| {
        counted[usize::from(seen.text.contains("fn_dblog"))].fetch_add(1, Ordering::Relaxed);
        None
    });
    let began = std::time::Instant::now();
    for _ in 0..100 {
        let batch = source.next(1 << 20).await.expect("it works").expect("it does not end");
        assert!(batch.events.is_empty());
    }
    let [states, logs] = [0, 1].map(|n| counts[n].load(Ordering::Relaxed));
    assert_eq!(states, 100, "one question each time");
    assert!(logs <= 1 + began.elapsed().as_secs(), "the log was read {logs} times");
    standin.faults().clear();
    standin.batch("USE shop; UPDATE a SET n = 12345 WHERE id = 6").expect("done");
    target.drain(&mut source, 1 << 20).await.expect("the change");
    target.check(&standin);
}

/// Before 2016 SP2, or without the right to see it, the log itself is what is asked.
#[tokio::test]
async fn a_server_that_does_not_tell_where_its_log_ends_is_followed_too() {
    let standin = standin(TABLES);
    standin.faults().set(|seen| {
        let said = logferry_mssql_standin::tds::SqlError::new(208, 16, "Invalid object name 'sys.dm_db_log_stats'.");
        seen.text.contains("dm_db_log_stats").then_some(logferry_mssql_standin::tds::Fault::Error(said))
    });
    let mut source = follow(&standin).await.expect("a source");
    let mut target = Target::default();
    source.snapshot().await.expect("a snapshot");
    target.copy(&source).await;
    for n in 0..3 {
        standin.batch(&format!("USE shop; UPDATE a SET n = {n} WHERE id = 6")).expect("done");
        target.drain(&mut source, 1 << 20).await.expect("the change");
        target.check(&standin);
    }
}

/// A heap with a primary key: rows come and go by their keys; the log does not tell which row an update changes.
#[test]
fn a_heap_with_a_primary_key_is_followed() {
    check(&[
        "CREATE TABLE h (id int NOT NULL PRIMARY KEY NONCLUSTERED, v varchar(300), n int)",
        "INSERT h VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)",
        "DELETE h WHERE id = 2; INSERT h VALUES (4, 'd', 4)",
        "UPDATE h SET v = REPLICATE('long', 70) WHERE id = 3",
        "UPDATE h SET v = 'short'",
        "UPDATE h SET id = id + 10 WHERE id = 1; INSERT h VALUES (1, 'new', 10)",
        "UPDATE h SET n = n + 100; DELETE h WHERE id = 4",
        "BEGIN TRAN; DELETE h; ROLLBACK",
        "DELETE h",
    ]);
}

/// A heap that is too large to be read for each update stops the task at an update, and at nothing else.
#[tokio::test]
async fn an_update_in_a_large_heap_is_told_by_name() {
    let standin = standin(
        "CREATE TABLE h (id int NOT NULL PRIMARY KEY NONCLUSTERED, v varchar(8000) NOT NULL);
         DECLARE @n int = 0; WHILE @n < 20 BEGIN INSERT h VALUES (@n, REPLICATE('x', 7000)); SET @n += 1 END",
    );
    let mut source = follow(&standin).await.expect("a source");
    let mut target = Target::default();
    source.snapshot().await.expect("a snapshot");
    target.copy(&source).await;
    standin.batch("USE shop; INSERT h VALUES (100, 'x'); DELETE h WHERE id < 3").expect("done");
    target.drain(&mut source, 1 << 20).await.expect("rows come and go");
    target.check(&standin);
    assert!(target.said.is_empty(), "{:?}", target.said);
    standin.batch("USE shop; UPDATE h SET v = 'y' WHERE id = 5").expect("done");
    target.drain(&mut source, 1 << 20).await.expect("it is told, and the pipeline stops");
    assert!(target.said.iter().any(|s| s.starts_with("dbo.h: a row was updated")), "{:?}", target.said);
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused_by_name() {
    let standin = standin("CREATE TABLE heap (id int)");
    let mut source = follow(&standin).await.expect("a source");
    source.snapshot().await.expect("a snapshot");
    let chunk = source.chunks(0).expect("chunks").remove(0);
    let Err(fault) = source.open_chunk(&chunk) else { panic!("the heap is opened") };
    assert_eq!(fault.class, Class::Operator);
    assert!(fault.to_string().contains("cannot be followed by the log: it has no primary key"), "{fault}");
}

/// Entries of nonclustered indexes are no rows: neither of those that are there, nor of those that went.
#[test]
fn nonclustered_indexes_come_change_and_go() {
    let target = check(&[
        "CREATE INDEX ix ON a (n); CREATE UNIQUE INDEX ux ON a (n, id)",
        "DELETE a WHERE id % 5 = 0; UPDATE a SET n = n + 1",
        "DELETE a WHERE id % 7 = 0; DROP INDEX ix ON a; DELETE a WHERE id % 11 = 0",
        "INSERT a VALUES (2000, 1, 'x', NULL)",
    ]);
    assert_eq!(target.said, ["table dbo.a 2"], "it has another unique key, and nothing is unknown");
}

/// More keys than are kept in memory.
#[tokio::test]
async fn keys_of_a_large_transaction_wait_in_a_file() {
    const ROWS: usize = 300_000;
    let standin = standin(
        "CREATE TABLE t (id int NOT NULL PRIMARY KEY, v int NOT NULL);
         CREATE TABLE ten (n int NOT NULL PRIMARY KEY); INSERT ten VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)",
    );
    let mut source = follow(&standin).await.expect("a source");
    let mut target = Target::default();
    source.snapshot().await.expect("a snapshot");
    target.copy(&source).await;
    standin
        .batch(
            "USE shop; BEGIN TRAN; DECLARE @n int = 0;
             WHILE @n < 300 BEGIN
                 INSERT t SELECT @n * 1000 + a.n * 100 + b.n * 10 + c.n, @n FROM ten a CROSS JOIN ten b CROSS JOIN ten c;
                 SET @n += 1
             END;
             COMMIT",
        )
        .expect("done");
    let (mut rows, mut pieces) = (0, 0);
    loop {
        let batch = source.next(1 << 20).await.expect("rows").expect("it does not end");
        if batch.events.is_empty() {
            break;
        }
        assert!(batch.rows.byte_len() < 2 << 20, "a piece is bounded");
        pieces += 1;
        let inserts = batch
            .events
            .iter()
            .filter(|e| matches!(e, SourceEvent::Change(c) if matches!(c.op, ChangeOp::Insert { .. })));
        rows += inserts.count();
    }
    assert!(rows >= ROWS && pieces > 5, "{rows} rows in {pieces} pieces");
}

#[tokio::test]
async fn a_log_that_was_cut_off_is_a_gap() {
    let standin = standin(TABLES);
    let mut source = follow(&standin).await.expect("a source");
    let mut point = source.snapshot().await.expect("a snapshot").checkpoint;
    point.restart.0.vlf = 1;
    point.restart.0.block = 1;
    let mut again = follow(&standin).await.expect("a source");
    again.seek(point).await.expect("the position is only looked for when it is read");
    let fault = again.next(1 << 20).await.map(drop).expect_err("the log begins later");
    assert_eq!(fault.class, Class::Operator);
    assert!(fault.to_string().starts_with("gap: the log from 00000001:00000001"), "{fault}");
}

#[tokio::test]
async fn a_database_that_was_set_back_is_noticed() {
    let standin = standin(TABLES);
    let mut source = follow(&standin).await.expect("a source");
    let mut point = source.snapshot().await.expect("a snapshot").checkpoint;
    point.applied.0.vlf += 1000;
    let fault = source.seek(point).await.expect_err("the log ends before that");
    assert!(fault.to_string().contains("the database was set back"), "{fault}");
    let mut point = source.snapshot().await.expect("a snapshot").checkpoint;
    point.lineage.fork = [7; 16];
    let fault = source.seek(point).await.expect_err("another fork");
    assert!(fault.to_string().contains("was restored"), "{fault}");
}

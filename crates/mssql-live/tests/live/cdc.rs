//! Change tables as a source of changes: what comes out, applied to what was copied, is what the tables hold.
//!
//! The capture job is stopped, and scans come when they are asked for, where a test does not say otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use logferry_model::{
    Cell, ChangeOp, ChangeSource, Checkpoint, ChunkReader, Class, EventBatch, Fault, Fence, Fill, Lsn, RowRef,
    SourceEvent, SqlType, TableId, TableVersion,
};
use logferry_mssql_live::{CdcSettings, LiveSource, Mode};
use logferry_mssql_standin::serve::Standin;
use logferry_mssql_standin::sql::{Login, ResultColumn, ResultSink, SqlError, TransactionChange};

use crate::copy::stored;
use crate::{settings, standin};

/// A row as SQL Server stores it.
pub type Row = Vec<Option<Vec<u8>>>;

pub const SCAN: &str = "EXEC sys.sp_cdc_scan @maxtrans = 100000";

async fn open(standin: &Standin, settings_of_cdc: CdcSettings) -> Result<LiveSource, Fault> {
    let mode = Mode::Cdc(settings_of_cdc);
    LiveSource::open(settings(standin), mode, 50_000, Arc::new(|name| name.schema != "skip")).await.map_err(Fault::from)
}

async fn follow(standin: &Standin) -> Result<LiveSource, Fault> {
    open(standin, CdcSettings::default()).await
}

pub fn run(standin: &Standin, batch: &str) {
    standin.batch(&format!("USE shop; {batch}")).unwrap_or_else(|e| panic!("{batch}: {e}"));
}

/// Goes on, on a target that has all tables.
async fn resume(source: &mut LiveSource, at: Checkpoint) -> Result<(), Fault> {
    source.seek(at).await?;
    source.add(&[], &[])
}

/// A stand-in with tables, all captured, and scanned once.
fn captured(tables: &str, names: &[&str]) -> Standin {
    let standin = standin(tables);
    let enable: Vec<String> = names
        .iter()
        .map(|n| format!("EXEC sys.sp_cdc_enable_table N'dbo', N'{n}', NULL, @supports_net_changes = 0"))
        .collect();
    let stop = "EXEC sys.sp_cdc_stop_job N'capture'";
    run(&standin, &format!("EXEC sys.sp_cdc_enable_db; {}; {stop}; {SCAN}", enable.join("; ")));
    standin
}

/// A target: rows by their key; a table without a key is a bag of rows.
#[derive(Default)]
pub struct Target {
    pub tables: BTreeMap<TableId, Vec<Row>>,
    names: BTreeMap<TableId, (String, Vec<usize>)>,
    columns: BTreeMap<TableId, Vec<u32>>,
    pub said: Vec<String>,
    pub fences: Vec<Fence>,
    pub at: Option<Checkpoint>,
    pub commits: Vec<Lsn>,
    /// Tables of the changes of the last transaction, in their order.
    touched: Vec<String>,
    pub changes: usize,
    unchanged: usize,
}

impl Target {
    /// Empty, with the position of the copy.
    pub fn at(point: Checkpoint) -> Self {
        Target { at: Some(point), ..Target::default() }
    }

    /// A table, perhaps in another shape than before: columns that it did not have are NULL.
    fn know(&mut self, table: &TableVersion) {
        let key = table.primary_key.as_ref().map(|k| k.columns.clone()).unwrap_or_default();
        self.names.insert(table.id, (table.name.name.clone(), key));
        let now: Vec<u32> = table.columns.iter().map(|c| c.id).collect();
        let before = self.columns.insert(table.id, now.clone()).unwrap_or_default();
        for row in self.tables.entry(table.id).or_default() {
            let place = |id: &u32| before.iter().position(|c| c == id);
            *row = now.iter().map(|id| place(id).and_then(|at| row[at].clone())).collect();
        }
    }

    pub async fn copy(&mut self, source: &LiveSource) {
        for (index, table) in source.tables().iter().enumerate() {
            self.know(table);
            let rows = self.tables.entry(table.id).or_default();
            for chunk in source.chunks(index).expect("chunks") {
                let mut reader = source.open_chunk(&chunk).unwrap_or_else(|e| panic!("{e}"));
                let mut visit = |cells: &[Cell<'_>]| {
                    rows.push(cells.iter().map(|c| c.bytes().map(<[u8]>::to_vec)).collect());
                    Ok(())
                };
                while reader.fill(&mut visit).await.expect("rows") == Fill::More {}
                self.fences.extend(reader.fence().map(|lsn| Fence { table: table.id, lsn }));
            }
        }
    }

    pub fn apply(&mut self, batch: &EventBatch) {
        for event in &batch.events {
            match event {
                SourceEvent::Begin(head) => {
                    self.touched.clear();
                    let is_whole = head.commit_time_us.is_some() && head.begin_lsn < head.commit_lsn.0;
                    assert!(is_whole || head.name == "reload", "{head:?}");
                }
                SourceEvent::Change(change) => {
                    self.changes += 1;
                    let (name, key) = self.names[&change.table.id].clone();
                    self.touched.push(name.clone());
                    let rows = self.tables.get_mut(&change.table.id).expect("a known table");
                    let cells = |row: RowRef| batch.rows.row(row).cells();
                    let same = |row: &Row, of: RowRef| {
                        let mut columns = cells(of).enumerate().filter(|(at, _)| key.is_empty() || key.contains(at));
                        columns.all(|(at, cell)| cell != Cell::Unchanged && cell.bytes() == row[at].as_deref())
                    };
                    let full = |row: RowRef| -> Row { cells(row).map(|c| c.bytes().map(<[u8]>::to_vec)).collect() };
                    let unkeyed = |found: Option<usize>| match (found, key.is_empty()) {
                        (None, true) => panic!("a row of {name} is not there"),
                        (found, _) => found,
                    };
                    match change.op {
                        ChangeOp::Insert { after } => {
                            if !key.is_empty() {
                                rows.retain(|row| !same(row, after));
                            }
                            rows.push(full(after));
                        }
                        ChangeOp::Delete { before } => {
                            if let Some(at) = unkeyed(rows.iter().position(|row| same(row, before))) {
                                rows.remove(at);
                            }
                        }
                        ChangeOp::Update { before, after } => {
                            let old = unkeyed(rows.iter().position(|row| same(row, before))).map(|at| rows.remove(at));
                            if !key.is_empty() {
                                rows.retain(|row| !same(row, after));
                            }
                            let mut now = full(after);
                            let partial: Vec<usize> = cells(after)
                                .enumerate()
                                .filter(|(_, c)| *c == Cell::Unchanged)
                                .map(|(at, _)| at)
                                .collect();
                            self.unchanged += partial.len();
                            match old {
                                Some(old) => {
                                    for at in partial {
                                        now[at] = old[at].clone();
                                    }
                                }
                                None if !partial.is_empty() => continue,
                                None => {}
                            }
                            rows.push(now);
                        }
                        ChangeOp::Truncate => rows.clear(),
                    }
                }
                SourceEvent::Fenced(fence) => {
                    self.fences.retain(|old| old.table != fence.table);
                    self.fences.push(*fence);
                }
                SourceEvent::Commit(at) | SourceEvent::Progress(at) => {
                    assert!(self.at.is_none_or(|before| before.applied <= at.applied), "the position goes back");
                    self.at = Some(*at);
                    if matches!(event, SourceEvent::Commit(_)) {
                        self.commits.push(at.applied.0);
                    }
                }
                SourceEvent::Table(table) => {
                    self.know(table);
                    self.said.push(format!("{} {}", table.name.name, table.columns.len()));
                }
                SourceEvent::Dropped(table) => {
                    self.tables.remove(&table.id);
                    self.said.push(format!("dropped {}", table.name.name));
                }
                other => panic!("{other:?}"),
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

    /// Whether every table is as the source has it.
    pub fn is_equal(&self, standin: &Standin) -> bool {
        self.tables.iter().all(|(id, rows)| {
            let (mut expect, mut found) = (stored(standin, &self.names[id].0), rows.clone());
            found.sort();
            expect.sort();
            found == expect
        })
    }

    #[track_caller]
    pub fn check(&self, standin: &Standin) {
        for (id, rows) in &self.tables {
            let (name, _) = &self.names[id];
            let (mut expect, mut found) = (stored(standin, name), rows.clone());
            found.sort();
            expect.sort();
            assert_eq!(found.len(), expect.len(), "rows of {name}");
            assert!(found == expect, "rows of {name} differ");
        }
    }
}

async fn begin(standin: &Standin) -> (LiveSource, Target) {
    let mut source = follow(standin).await.unwrap_or_else(|e| panic!("{e}"));
    let point = source.snapshot().await.unwrap_or_else(|e| panic!("{e}"));
    let mut target = Target { at: Some(point.checkpoint), ..Target::default() };
    target.copy(&source).await;
    (source, target)
}

async fn fails(source: Result<LiveSource, Fault>) -> Fault {
    match source {
        Err(fault) => fault,
        Ok(mut source) => source.snapshot().await.map(drop).expect_err("it is refused"),
    }
}

const TABLES: &str = "
    CREATE TABLE a (id int NOT NULL PRIMARY KEY, n int, s varchar(900), big varchar(max), old ntext);
    CREATE TABLE b (x nvarchar(20) NOT NULL, y smallint NOT NULL, v decimal(9,2), PRIMARY KEY (x, y));
    CREATE TABLE c (k uniqueidentifier NOT NULL PRIMARY KEY NONCLUSTERED, v bigint, m money, t datetime2(7), r rowversion);
    DECLARE @n int = 0;
    WHILE @n < 100 BEGIN
        INSERT a VALUES (@n, @n, REPLICATE('s', @n), REPLICATE(CAST('b' AS varchar(max)), @n * 100), REPLICATE(N'\u{e9}', @n));
        INSERT b VALUES (N'\u{e9}' + CAST(@n AS nvarchar(9)), @n % 7, @n / 3.0);
        SET @n += 1
    END;
    INSERT c (k, v, m, t) VALUES (NEWID(), 1, 922337203685477.5807, '9999-12-31 23:59:59.9999999'), (NEWID(), 2, NULL, NULL)";

/// What is done to the tables, one transaction after the other.
const CHANGES: &[&str] = &[
    "INSERT a VALUES (1000, 1, 'x', REPLICATE(CAST('z' AS varchar(max)), 50000), N'o')",
    "UPDATE a SET n = -n",
    "UPDATE a SET big = 'short', old = NULL WHERE id % 3 = 0; UPDATE a SET n = NULL, s = NULL WHERE id % 3 = 0",
    // Keys move, and change hands.
    "UPDATE a SET id = id + 1",
    "UPDATE b SET y = y + 1 WHERE v > 10; DELETE b WHERE v < 5",
    "BEGIN TRAN; DELETE a WHERE id < 20; INSERT a SELECT id - 20, n, s, big, old FROM a WHERE id < 40; COMMIT",
    "BEGIN TRAN; DELETE c; ROLLBACK; UPDATE c SET v = v + 1; INSERT c (k, v) VALUES (NEWID(), 3)",
    // Several changes of one row in one transaction.
    "BEGIN TRAN; UPDATE a SET n = 1 WHERE id = 30; UPDATE a SET n = 2 WHERE id = 30; DELETE a WHERE id = 30;
     INSERT a VALUES (30, 3, NULL, NULL, NULL); UPDATE a SET big = 'again' WHERE id = 30; COMMIT",
    "DELETE a; DELETE b; DELETE c",
];

#[tokio::test]
async fn changes_make_the_target_what_the_tables_are() {
    // Whatever the size of a batch, and with a reader that is thrown away after each.
    for bytes in [1, 3_000, 1 << 20] {
        let standin = captured(TABLES, &["a", "b", "c"]);
        let (mut source, mut target) = begin(&standin).await;
        for change in CHANGES {
            run(&standin, change);
            run(&standin, SCAN);
            target.drain(&mut source, bytes).await.unwrap_or_else(|e| panic!("{change}: {e}"));
            target.check(&standin);
            source = follow(&standin).await.expect("a source");
            source.seek(target.at.expect("a position")).await.expect("the position is there");
        }
        assert!(target.unchanged > 0, "large values that are not told stay");
    }
}

/// Debezium DBZ-1090: the changes of a transaction that began first and ended last come last.
#[tokio::test]
async fn transactions_come_in_the_order_of_their_commits() {
    let standin = captured("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)", &["a", "b"]);
    let (mut source, mut target) = begin(&standin).await;
    let login = Login { name: "sa".into(), host: String::new(), program: String::new(), database: "shop".into() };
    let mut first = standin.sql().connect(&login).expect("a session");
    first.execute("BEGIN TRAN; INSERT a VALUES (1)", &[], &mut Quiet).expect("done");
    run(&standin, "INSERT b VALUES (1); INSERT b VALUES (2)");
    first.execute("INSERT b VALUES (3); COMMIT", &[], &mut Quiet).expect("done");
    run(&standin, SCAN);
    target.drain(&mut source, 1).await.expect("changes");
    target.check(&standin);
    assert_eq!(target.commits.len(), 3);
    assert_eq!(target.touched, ["a", "b"], "of the last transaction");
    assert!(target.commits.is_sorted());
}

/// Debezium DBZ-1691, DBZ-2012, DBZ-8557: one large transaction, read in pages of any size, a reader that is killed in between.
#[tokio::test]
async fn a_large_transaction_is_paged_and_comes_whole_after_a_restart() {
    let standin = captured(
        "CREATE TABLE a (id int PRIMARY KEY, pad varchar(max)); CREATE TABLE b (id int PRIMARY KEY)",
        &["a", "b"],
    );
    let (source, mut target) = begin(&standin).await;
    run(
        &standin,
        "BEGIN TRAN; DECLARE @n int = 0; WHILE @n < 3000 BEGIN INSERT a VALUES (@n, REPLICATE(CAST('p' AS varchar(max)), @n % 3000));
         INSERT b VALUES (@n); SET @n += 1 END; UPDATE a SET id = id + 1000; COMMIT",
    );
    run(&standin, SCAN);
    let point = target.at.expect("a position");
    drop(source);
    let before = target.tables.clone();
    for part in 0..3 {
        let mut again = follow(&standin).await.expect("a source");
        again.seek(point).await.expect("the position is there");
        target.tables = before.clone();
        target.at = Some(point);
        target.commits.clear();
        if part < 2 {
            // A part of it, and then the process is gone.
            for _ in 0..=part {
                let batch = again.next(50_000).await.expect("events").expect("it does not end");
                assert!(!batch.events.iter().any(|e| matches!(e, SourceEvent::Commit(_))), "it is larger than that");
            }
            continue;
        }
        target.drain(&mut again, 50_000).await.expect("changes");
        assert_eq!(target.commits.len(), 1, "one transaction");
        target.check(&standin);
    }
}

/// Nobody looks at the answer.
pub struct Quiet;

impl ResultSink for Quiet {
    fn columns(&mut self, _: &[ResultColumn]) {}
    fn row(&mut self, _: &[Cell<'_>]) -> bool {
        true
    }
    fn done(&mut self, _: Option<u64>) {}
    fn info(&mut self, _: &SqlError) {}
    fn error(&mut self, _: &SqlError) {}
    fn changed_database(&mut self, _: &str) {}
    fn transaction(&mut self, _: TransactionChange) {}
    fn output(&mut self, _: &str, _: &SqlType, _: Option<&[u8]>) {}
}

const CLEANED: &str =
    "DECLARE @max binary(10) = sys.fn_cdc_get_max_lsn(); EXEC sys.sp_cdc_cleanup_change_table N'dbo_a', @max";

/// Streamsets PR#133: what was cleaned up before it was read is a gap, with both positions, and never passed over.
#[tokio::test]
async fn changes_that_were_cleaned_up_are_a_gap() {
    let standin = captured("CREATE TABLE a (id int PRIMARY KEY)", &["a"]);
    let (mut source, target) = begin(&standin).await;
    let point = target.at.expect("a position");
    run(&standin, "INSERT a VALUES (1); INSERT a VALUES (2)");
    run(&standin, SCAN);
    run(&standin, CLEANED);
    let fault = source.next(1 << 20).await.map(drop).expect_err("a change is missing");
    assert_eq!(fault.class, Class::Operator);
    let at = point.applied.0;
    let expect = format!("the changes of table \"dbo.a\" after {at} are no longer there: capture instance \"dbo_a\"");
    assert!(fault.to_string().starts_with(&expect), "{fault}");
    let mut again = follow(&standin).await.expect("a source");
    let fault = resume(&mut again, point).await.expect_err("a change is missing");
    assert!(fault.to_string().starts_with(&expect), "{fault}");
    // One that has read everything is not disturbed.
    let (mut source, mut target) = begin(&standin).await;
    run(&standin, "INSERT a VALUES (3)");
    run(&standin, SCAN);
    target.drain(&mut source, 1 << 20).await.expect("changes");
    run(&standin, CLEANED);
    run(&standin, "INSERT a VALUES (4)");
    run(&standin, SCAN);
    target.drain(&mut source, 1 << 20).await.expect("changes");
    target.check(&standin);
}

/// The cleanup comes between the question how far the log is captured and the reading of the rows.
#[tokio::test]
async fn a_cleanup_under_the_reader_is_a_gap_too() {
    let standin = Arc::new(captured("CREATE TABLE a (id int PRIMARY KEY)", &["a"]));
    let (mut source, _) = begin(&standin).await;
    run(&standin, "INSERT a VALUES (1); INSERT a VALUES (2)");
    run(&standin, SCAN);
    let (done, other) = (AtomicBool::new(false), standin.clone());
    standin.faults().set(move |seen| {
        if seen.text.contains("[__$seqval], [__$operation]") && !done.swap(true, Ordering::Relaxed) {
            run(&other, CLEANED);
        }
        None
    });
    let fault = source.next(1 << 20).await.map(drop).expect_err("a change is missing");
    standin.faults().clear();
    assert!(fault.to_string().contains("are no longer there"), "{fault}");
}

/// powersync-service #730: an instance of the same name that was made anew does not have what was committed in between.
#[tokio::test]
async fn an_instance_that_was_made_anew_is_noticed() {
    let anew = "EXEC sys.sp_cdc_disable_table N'dbo', N'a', N'all'; INSERT a VALUES (7);
                EXEC sys.sp_cdc_enable_table N'dbo', N'a', NULL; EXEC sys.sp_cdc_stop_job N'capture'";
    let standin = captured("CREATE TABLE a (id int PRIMARY KEY)", &["a"]);
    let (mut source, target) = begin(&standin).await;
    let point = target.at.expect("a position");
    run(&standin, &format!("{anew}; {SCAN}"));
    let fault = source.next(1 << 20).await.map(drop).expect_err("another instance");
    assert!(fault.to_string().starts_with("capture instance \"dbo_a\" of table \"dbo.a\" was dropped"), "{fault}");
    let mut again = follow(&standin).await.expect("a source");
    let fault = resume(&mut again, point).await.expect_err("another instance");
    assert!(fault.to_string().contains("are no longer there"), "{fault}");
    run(&standin, "EXEC sys.sp_cdc_disable_db");
    let fault = source.next(1 << 20).await.map(drop).expect_err("there is no capture");
    assert!(fault.to_string().contains("was disabled for the database"), "{fault}");
}

/// The same while nobody looked, and none was made anew; a table that the target leaves out for good needs none.
#[tokio::test]
async fn an_instance_that_went_while_nobody_looked_is_noticed() {
    let standin = captured("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)", &["a", "b"]);
    let (source, target) = begin(&standin).await;
    let (point, id) = (target.at.expect("a position"), source.tables()[0].id);
    drop(source);
    run(&standin, &format!("EXEC sys.sp_cdc_disable_table N'dbo', N'a', N'all'; INSERT a VALUES (7); {SCAN}"));
    let mut again = follow(&standin).await.expect("a source");
    let fault = resume(&mut again, point).await.expect_err("a change is missing");
    assert!(fault.to_string().starts_with("table \"dbo.a\" has no capture instance any more"), "{fault}");
    let mut again = follow(&standin).await.expect("a source");
    again.seek(point).await.expect("the position is there");
    again.add(&[], &[id]).unwrap_or_else(|e| panic!("{e}"));
}

#[tokio::test]
async fn what_is_not_captured_is_refused_by_name() {
    let standin = captured(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE c (id int, t ntext)",
        &["a", "c"],
    );
    run(&standin, "EXEC sys.sp_cdc_disable_table N'dbo', N'a', N'all'; ALTER TABLE a ADD x int");
    run(&standin, "EXEC sys.sp_cdc_enable_table N'dbo', N'a', NULL, @captured_column_list = N'id'");
    run(&standin, SCAN);
    let mut source = follow(&standin).await.expect("a source");
    source.snapshot().await.expect("a snapshot");
    let said: Vec<String> = (0..3)
        .map(|index| {
            let chunk = source.chunks(index).expect("chunks").remove(0);
            let Err(fault) = source.open_chunk(&chunk) else { panic!("table {index} is opened") };
            fault.to_string()
        })
        .collect();
    let a = "capture instance \"dbo_a\" does not have column \"x\"; EXEC sys.sp_cdc_enable_table";
    let b =
        "\"dbo.b\" cannot be followed by change data capture: it has no capture instance; EXEC sys.sp_cdc_enable_table";
    for (said, expect) in said.iter().zip([a, b, "it has no key"]) {
        assert!(said.contains(expect), "{said}");
    }
}

#[tokio::test]
async fn nothing_is_enabled_that_was_not_allowed() {
    let standin = standin("CREATE TABLE a (id int PRIMARY KEY)");
    let fault = fails(follow(&standin).await).await;
    assert_eq!(fault.to_string(), "the database does not have change data capture");
    assert!(fault.hint.is_some_and(|hint| hint.contains("sp_cdc_enable_db")));
    run(&standin, "INSERT a VALUES (1)");
    let mut source = open(&standin, CdcSettings { enable: true }).await.expect("a source");
    let point = source.snapshot().await.expect("a snapshot");
    let mut target = Target { at: Some(point.checkpoint), ..Target::default() };
    target.copy(&source).await;
    run(&standin, "INSERT a VALUES (2); EXEC sys.sp_cdc_stop_job N'capture'");
    run(&standin, SCAN);
    target.drain(&mut source, 1 << 20).await.expect("changes");
    target.check(&standin);
}

/// redis/docs PR#3850: after a failover there is no capture job, and silence.
#[tokio::test]
async fn a_capture_job_that_is_missing_is_told() {
    let standin = standin("CREATE TABLE a (id int PRIMARY KEY)");
    // The job comes with the first table: what was dropped before a table was enabled comes again.
    run(&standin, "EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_add_job N'capture', @start_job = 0");
    run(&standin, "EXEC sys.sp_cdc_enable_table N'dbo', N'a', NULL; EXEC sys.sp_cdc_drop_job N'capture'");
    let fault = fails(follow(&standin).await).await;
    assert_eq!(fault.to_string(), "the database has no capture job: nothing is captured");
    assert!(fault.hint.is_some_and(|hint| hint.contains("sys.sp_cdc_add_job")));
}

#[tokio::test]
async fn a_database_that_was_set_back_is_noticed() {
    let standin = captured("CREATE TABLE a (id int PRIMARY KEY)", &["a"]);
    let (mut source, target) = begin(&standin).await;
    let mut point = target.at.expect("a position");
    point.applied.0.vlf += 1000;
    let fault = source.seek(point).await.expect_err("the log ends before that");
    assert!(fault.to_string().contains("the database was set back"), "{fault}");
    let mut point = target.at.expect("a position");
    point.lineage.fork = [7; 16];
    let fault = source.seek(point).await.expect_err("another fork");
    assert!(fault.to_string().contains("was restored"), "{fault}");
}

/// Microsoft's known issues: what capture leaves NULL or spoils is read from the table.
#[tokio::test]
async fn values_that_are_not_captured_are_read_from_the_table() {
    let standin =
        captured("CREATE TABLE a (id int PRIMARY KEY, s varchar(20), twice AS id * 2 PERSISTED, v int)", &["a"]);
    let (mut source, mut target) = begin(&standin).await;
    run(&standin, "INSERT a (id, s, v) VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)");
    run(&standin, "UPDATE a SET v = 7; DELETE a WHERE id = 2; UPDATE a SET id = 9 WHERE id = 3");
    run(&standin, SCAN);
    run(&standin, "UPDATE cdc.dbo_a_CT SET twice = NULL");
    target.drain(&mut source, 1 << 20).await.expect("changes");
    target.check(&standin);
    let rows: usize = target.tables.values().map(Vec::len).sum();
    assert_eq!(rows, 2);
}

/// Many sessions write while the tables are copied and followed; the reader is thrown away again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_others_write_and_the_reader_is_killed() {
    let standin = Arc::new(standin(TABLES));
    run(
        &standin,
        "EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_enable_table N'dbo', N'a', NULL; EXEC sys.sp_cdc_enable_table N'dbo', N'b', NULL;
         EXEC sys.sp_cdc_enable_table N'dbo', N'c', NULL; EXEC sys.sp_cdc_change_job @job_type = N'capture', @pollinginterval = 0;
         EXEC sys.sp_cdc_stop_job N'capture'; EXEC sys.sp_cdc_start_job N'capture'",
    );
    let enough = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for writer in 0..3 {
        let (standin, enough) = (standin.clone(), enough.clone());
        writers.push(std::thread::spawn(move || {
            for n in (0..100).cycle().take_while(|_| !enough.load(Ordering::Relaxed)) {
                let id = (n * 7 + writer * 50) % 130;
                let batch = format!(
                    "USE shop; BEGIN TRAN; UPDATE a SET n = n + 1, s = REPLICATE('p', {n}) WHERE id = {id}; DELETE b WHERE y = {};
                     INSERT b VALUES (N'w{writer}', {id}, {n});
                     IF NOT EXISTS (SELECT 1 FROM a WHERE id = {id}) INSERT a VALUES ({id}, 0, '', 'x', NULL);
                     UPDATE c SET v = v + 1; UPDATE a SET id = {} WHERE id = {}; {}",
                    id % 50,
                    1000 + id,
                    id + 1,
                    if n % 9 == 4 { "ROLLBACK" } else { "COMMIT" }
                );
                // A deadlock's victim, or a key that is taken, changes nothing.
                standin.batch(&batch).ok();
            }
        }));
    }
    let (mut source, mut target) = begin(&standin).await;
    let (mut commits, mut opened_at) = (0, 0);
    while commits < 150 {
        let batch = source.next(3_000).await.expect("events").expect("it does not end");
        let before = target.commits.len();
        target.apply(&batch);
        commits += target.commits.len() - before;
        let is_whole = matches!(batch.events.last(), Some(SourceEvent::Commit(_) | SourceEvent::Progress(_)));
        if is_whole && commits >= opened_at + 10 {
            opened_at = commits;
            source = follow(&standin).await.expect("a source");
            source.seek(target.at.expect("a checkpoint")).await.expect("the position is there");
        }
    }
    enough.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().expect("a writer");
    }
    run(&standin, &format!("EXEC sys.sp_cdc_stop_job N'capture'; {SCAN}, @maxscans = 1000"));
    target.drain(&mut source, 1 << 20).await.expect("the rest");
    target.check(&standin);
}

/// sql-docs #9640, airbyte PR#61390, olake PR#789: a column that is added is neither missing nor NULL in the rows that change
/// before it is captured, nor in those that were there; a second instance takes over.
#[tokio::test]
async fn a_column_that_is_added_is_read_and_then_captured() {
    for enable in [true, false] {
        let standin =
            captured("CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY)", &["b"]);
        run(
            &standin,
            "EXEC sys.sp_cdc_enable_table N'dbo', N'a', NULL, N'logferry_old'; INSERT a VALUES (1, 1), (2, 2), (3, 3)",
        );
        run(&standin, SCAN);
        let settings = CdcSettings { enable };
        let mut source = open(&standin, settings).await.expect("a source");
        let point = source.snapshot().await.expect("a snapshot");
        let mut target = Target { at: Some(point.checkpoint), ..Target::default() };
        target.copy(&source).await;
        run(&standin, "UPDATE a SET v = 10 WHERE id = 1");
        run(&standin, "ALTER TABLE a ADD c varchar(10) NOT NULL DEFAULT 'old' WITH VALUES");
        run(&standin, "INSERT a VALUES (4, 4, 'new'); UPDATE a SET c = 'other' WHERE id = 2; DELETE a WHERE id = 3");
        run(&standin, SCAN);
        target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
        target.check(&standin);
        if !enable {
            // The task only says what is to be typed.
            run(&standin, "EXEC sys.sp_cdc_enable_table N'dbo', N'a', NULL, N'second'");
        }
        run(
            &standin,
            "UPDATE a SET c = 'third' WHERE id = 4; INSERT b VALUES (1); EXEC sys.sp_cdc_stop_job N'capture'",
        );
        run(&standin, SCAN);
        target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
        run(&standin, "UPDATE a SET c = 'fourth' WHERE id = 4; INSERT a VALUES (5, 5, 'five')");
        run(&standin, SCAN);
        target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
        target.check(&standin);
        assert_eq!(target.said, ["a 3"]);
        // Where it is ours, the old one is gone; and a reader that begins now needs nothing of the table.
        let old = standin.batch("USE shop; IF EXISTS (SELECT 1 FROM cdc.change_tables WHERE capture_instance = N'logferry_old') THROW 50000, 'x', 1");
        assert_eq!(old.is_ok(), enable, "{old:?}");
        run(&standin, "UPDATE a SET c = 'fifth' WHERE id = 1");
        run(&standin, SCAN);
        let mut source = open(&standin, settings).await.expect("a source");
        source.seek(target.at.expect("a position")).await.unwrap_or_else(|e| panic!("{e}"));
        target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
        target.check(&standin);
    }
}

#[tokio::test]
async fn tables_come_and_go() {
    let standin = captured("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)", &["a", "b"]);
    let (mut source, mut target) = begin(&standin).await;
    run(&standin, "CREATE TABLE c (id int PRIMARY KEY, v int); INSERT c VALUES (1, 1), (2, 2)");
    run(
        &standin,
        "EXEC sys.sp_cdc_enable_table N'dbo', N'c', NULL; EXEC sys.sp_cdc_stop_job N'capture'; INSERT c VALUES (3, 3)",
    );
    run(&standin, "INSERT a VALUES (1); DELETE c WHERE id = 2");
    run(&standin, SCAN);
    target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
    run(&standin, "UPDATE c SET v = 7; INSERT a VALUES (2)");
    run(&standin, SCAN);
    target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
    target.check(&standin);
    assert_eq!(target.tables.len(), 3);
    run(&standin, "DROP TABLE b; INSERT a VALUES (3)");
    run(&standin, SCAN);
    target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
    target.check(&standin);
    assert_eq!(target.said, ["c 2", "dropped b"]);
}

//! A task from a scripted source to a real PostgreSQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use logferry_config::{BackupSource, DdlPolicy, OnExisting, Pattern, Secret, Task};
use logferry_model::Fault;
use logferry_pipeline::{Failure, Phase, Progress, Stop, Stopper, StreamEnd, Summary, run};
use logferry_testkit::postgres::{Database, PrivatePostgres};
use logferry_testkit::proxy::{Cut, Proxy};
use logferry_testkit::scripted::ScriptedSource;

const COPY: &str = "
    table t(id int key, v text)
    row t 1 'one'
    row t 2 'two'
    row t 3 null
    chunk t
    row t 4 'four'
    row t 5 'open'
    table empty(id int)
    table heap(a int, b text)
    row heap 1 'x'
    row heap 1 'x'
    fix delete t 5 'open'
    start";

const CHANGES: &str = "
    begin
    insert t 6 'six'
    update t 1 'one' -> 1 'ONE'
    delete heap 1 'x'
    commit
    begin
    update t 2 'two' -> 20 'twenty'
    insert empty 7
    commit";

struct Test {
    database: Database<'static>,
    task: Task,
}

impl Test {
    fn new() -> Test {
        let database = PrivatePostgres::shared().create_database().expect("a database");
        let source = BackupSource::of_files(Vec::new());
        let mut task = Task::of_parts("test", source, Secret::new(database.url()));
        task.retry.connection_minutes = 1;
        Test { database, task }
    }

    async fn run(&self, script: &str) -> Result<Summary, Failure> {
        let (_stopper, stop) = Stopper::new();
        self.run_with(&ScriptedSource::new(script), &stop).await
    }

    async fn run_with(&self, source: &ScriptedSource, stop: &Stop) -> Result<Summary, Failure> {
        run(&self.task, async || Ok(source.clone()), &Progress::new(), stop).await
    }

    /// The rows of a table as one text.
    async fn rows(&self, table: &str) -> String {
        let client = self.database.client().await.expect("a connection");
        let sql = format!("SELECT coalesce(string_agg(t::text, ' ' ORDER BY t::text), '') FROM dbo.{table} t");
        client.query_one(&sql, &[]).await.expect("the table is there").get(0)
    }

    async fn check(&self, table: &str, expect: &str) {
        assert_eq!(self.rows(table).await, expect, "table {table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_and_applies_and_goes_on() {
    let test = Test::new();
    let summary = test.run(COPY).await.expect("it works");
    assert_eq!(summary.end, StreamEnd::SourceEnded);
    assert!(summary.copied);
    assert_eq!((summary.progress.rows_copied, summary.progress.chunks_done, summary.progress.tables), (7, 4, 3));
    test.check("t", "(1,one) (2,two) (3,) (4,four)").await;
    test.check("empty", "").await;
    test.check("heap", "(1,x) (1,x)").await;

    let all = format!("{COPY}{CHANGES}");
    let summary = test.run(&all).await.expect("it goes on");
    assert!(!summary.copied);
    assert_eq!((summary.progress.rows_copied, summary.progress.changes, summary.progress.transactions), (0, 5, 2));
    test.check("t", "(1,ONE) (20,twenty) (3,) (4,four) (6,six)").await;
    test.check("empty", "(7)").await;
    test.check("heap", "(1,x)").await;

    let summary = test.run(&all).await.expect("there is nothing to do");
    assert_eq!(summary.progress.changes, 0);
    assert_eq!(summary.progress.checkpoint.map(|c| c.applied.0), Some(ScriptedSource::lsn(22)));
    test.check("heap", "(1,x)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_tables_are_made_and_survive_a_second_announcement() {
    let test = Test::new();
    let script = format!("{COPY}\ntable fresh(id int key, v text)\nbegin\ninsert fresh 1 'a'\ncommit");
    test.run(&script).await.expect("it works");
    test.check("fresh", "(1,a)").await;
    let more = format!("{script}\nbegin\nupdate fresh 1 'a' -> 2 'b'\ncommit");
    test.run(&more).await.expect("it goes on");
    test.check("fresh", "(2,b)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_dropped_and_made_anew_is_not_mixed_with_the_old_one() {
    let test = Test::new();
    let script = format!("{COPY}\ndrop heap\ntable heap(a int, b text)\nbegin\ninsert heap 1 'x'\ncommit");
    for _ in 0..2 {
        test.run(&script).await.expect("it works");
        test.check("heap", "(1,x)").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transient_faults_of_the_source_are_tried_again() {
    let test = Test::new();
    let fault = || Fault::transient("the share is gone");
    let source = ScriptedSource::new(&format!("{COPY}{CHANGES}")).with_fault_at(14, fault()).with_fault_at(19, fault());
    let (_stopper, stop) = Stopper::new();
    let summary = test.run_with(&source, &stop).await.expect("it works in the end");
    assert_eq!(summary.progress.retries, 2);
    test.check("t", "(1,ONE) (20,twenty) (3,) (4,four) (6,six)").await;
    test.check("heap", "(1,x)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transient_fault_that_lasts_is_told() {
    let mut test = Test::new();
    test.task.retry.connection_minutes = 0;
    let source = ScriptedSource::new(&format!("{COPY}{CHANGES}")).with_fault_at(14, Fault::transient("gone"));
    let (_stopper, stop) = Stopper::new();
    let failure = test.run_with(&source, &stop).await.expect_err("nothing is tried again");
    assert_eq!((failure.phase, failure.fault.to_string()), (Phase::Streaming, "gone".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_changes_nothing() {
    // Not the shared cluster: other tests are on it.
    let cluster = PrivatePostgres::start().expect("a cluster");
    let mut test = Test::new();
    test.task.target.url = Secret::new(cluster.url());
    test.task.apply.batch_rows = 1;
    let mut script = COPY.to_owned();
    for n in 100..1100 {
        script.push_str(&format!("\nbegin\ninsert t {n} 'n'\ncommit"));
    }
    let progress = Progress::new();
    let (_stopper, stop) = Stopper::new();
    let source = ScriptedSource::new(&script);
    let restarts = async {
        for at in [10, 400, 800] {
            while progress.view().changes < at && progress.view().phase != Phase::Ended {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            cluster.crash();
            cluster.restart().expect("it starts again");
        }
    };
    let running = async { run(&test.task, async || Ok(source.clone()), &progress, &stop).await };
    let (summary, ()) = tokio::join!(running, restarts);
    let summary = summary.expect("it works in the end");
    assert!(summary.progress.retries >= 1, "{summary:?}");
    let client = connect(&cluster.socket_url_of("postgres")).await;
    let row = client.query_one("SELECT count(*), count(DISTINCT id) FROM dbo.t", &[]).await.expect("a count");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1004, 1004));
}

/// Tables that change, go and come, each with rows.
const TABLES: &str = "
table t(id int key, v text, w int)
begin
update t 20 'twenty' null -> 20 'zwanzig' 5
insert heap 2 'y'
commit
drop empty
progress
table empty(id int key, v text)
begin
insert empty 5 'e'
commit";

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_is_tried_again_wherever_it_is_cut() {
    let mut bytes = 0;
    let mut retries = 0;
    loop {
        let mut test = Test::new();
        let port = PrivatePostgres::shared().port();
        let proxy = Proxy::before(port).await.expect("a proxy");
        test.task.target.url = Secret::new(proxy.url(&test.database.url(), port));
        test.task.retry.from_the_start = true;
        proxy.cut(0, Cut::Bytes(bytes));
        let summary = test.run(&format!("{COPY}{CHANGES}{TABLES}")).await;
        let summary = summary.unwrap_or_else(|e| panic!("cut after {bytes} bytes: {e:?}"));
        test.check("t", "(1,ONE,) (20,zwanzig,5) (3,,) (4,four,) (6,six,)").await;
        test.check("heap", "(1,x) (2,y)").await;
        test.check("empty", "(5,e)").await;
        if !proxy.was_cut() {
            break;
        }
        // A cut behind the last commit does no harm.
        assert!(summary.progress.retries <= 1, "cut after {bytes} bytes: {summary:?}");
        retries += summary.progress.retries;
        bytes += 50 + bytes / 8;
    }
    assert!(retries > 20, "only {retries} retries");
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_copy_is_gone_on_from() {
    let test = Test::new();
    let (stopper, stop) = Stopper::new();
    stopper.stop();
    let source = ScriptedSource::new(&format!("{COPY}{CHANGES}"));
    let summary = test.run_with(&source, &stop).await.expect("a stop is no failure");
    assert_eq!(summary.end, StreamEnd::Stopped);
    assert_eq!(summary.progress.chunks_done, 0);
    let (_stopper, stop) = Stopper::new();
    let summary = test.run_with(&source, &stop).await.expect("it goes on");
    assert_eq!(summary.progress.chunks_done, 4);
    test.check("t", "(1,ONE) (20,twenty) (3,) (4,four) (6,six)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_there_are_named_before_anything_is_written() {
    let mut test = Test::new();
    let client = test.database.client().await.expect("a connection");
    client.batch_execute("CREATE SCHEMA dbo; CREATE TABLE dbo.t (x int)").await.expect("a table");
    let failure = test.run(COPY).await.expect_err("the table is not ours");
    assert!(failure.fault.to_string().contains("dbo.t"), "{}", failure.fault);
    let there = client.query_one("SELECT to_regclass('dbo.heap')::text", &[]).await.expect("an answer");
    assert_eq!(there.get::<_, Option<String>>(0), None);
    test.task.target.on_existing = OnExisting::Recreate;
    test.run(COPY).await.expect("it works");
    test.check("t", "(1,one) (2,two) (3,) (4,four)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_tables_of_the_task_are_taken() {
    let mut test = Test::new();
    test.task.tables.exclude = vec![Pattern::new("heap")];
    test.run(&format!("{COPY}{CHANGES}")).await.expect("it works");
    test.check("t", "(1,ONE) (20,twenty) (3,) (4,four) (6,six)").await;
    let client = test.database.client().await.expect("a connection");
    let there = client.query_one("SELECT to_regclass('dbo.heap')::text", &[]).await.expect("an answer");
    assert_eq!(there.get::<_, Option<String>>(0), None);

    test.task.tables.exclude.clear();
    for _ in 0..2 {
        let failure = test.run(COPY).await.expect_err("what it had before is not read again");
        assert_eq!(failure.phase, Phase::Checking);
        assert!(failure.fault.to_string().contains("\"dbo.heap\" cannot be added"), "{}", failure.fault);
    }

    test.task.tables.include = vec![Pattern::new("nope*")];
    test.task.name = "other".to_owned();
    let failure = test.run(COPY).await.expect_err("no table is called so");
    assert_eq!(failure.fault.to_string(), "no table of the source is called \"nope*\"");
}

/// However often a run ends before an added table is told, it is one that the settings added.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_added_stays_so_until_it_is_there() {
    let mut test = Test::new();
    test.task.ddl = DdlPolicy::Stop;
    let all = test.task.tables.include.clone();
    test.task.tables.include = vec![Pattern::new("t"), Pattern::new("empty")];
    test.run(COPY).await.expect("it works");

    test.task.tables.include = all;
    test.task.tables.exclude = vec![Pattern::new("empty")];
    let script = format!(
        "{COPY}
         begin
         insert t 6 'six'
         commit
         table heap(a int, b text)
         begin
         truncate heap
         insert heap 1 'x'
         commit"
    );
    let table_is_told = 17;
    for _ in 0..2 {
        let fault = Fault::operator("nobody has time");
        let source = ScriptedSource::new(&script).that_can_add().with_fault_at(table_is_told, fault);
        let (_stopper, stop) = Stopper::new();
        let failure = test.run_with(&source, &stop).await.expect_err("it ends before the table is there");
        assert_eq!(failure.fault.to_string(), "nobody has time");
        test.check("t", "(1,one) (2,two) (3,) (4,four) (6,six)").await;
    }
    let (_stopper, stop) = Stopper::new();
    test.run_with(&ScriptedSource::new(&script).that_can_add(), &stop).await.expect("it goes on");
    test.check("heap", "(1,x)").await;

    // From there on it is a table like others; one that comes on the source is none of the settings.
    let script = format!("{script}\ntable fresh(id int key, v text)");
    let failure = test.run_with(&ScriptedSource::new(&script).that_can_add(), &stop).await.expect_err("ddl is stop");
    assert!(failure.fault.to_string().contains("\"dbo.fresh\" appeared on the source"), "{}", failure.fault);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_cannot_be_opened_is_a_failed_check() {
    let test = Test::new();
    let (_stopper, stop) = Stopper::new();
    let opened = AtomicU32::new(0);
    let open = async || -> Result<ScriptedSource, Fault> {
        opened.fetch_add(1, Ordering::Relaxed);
        Err(Fault::operator("the chain has a hole"))
    };
    let failure = run(&test.task, open, &Arc::default(), &stop).await.expect_err("there is no source");
    assert_eq!((failure.phase, failure.fault.to_string()), (Phase::Checking, "the chain has a hole".to_owned()));
    assert_eq!(opened.into_inner(), 1);
}

use logferry_config::{DdlPolicy, TableFilter};
use logferry_model::{Checkpoint, ChunkId, EventBatch, SnapshotPoint, TableVersion};
use logferry_testkit::faulty::{FaultPlan, Gate, SeamFault};
use logferry_testkit::recording::Recording;
use logferry_testkit::scripted::ScriptedSource;
use logferry_transform::Settings;

use super::*;
use crate::batch::Limits;
use crate::plans::Plans;
use crate::stop::Stopper;

const SCRIPT: &str = "
    table t(id int key, v text)
    table other(id int key)
    start
    begin
    insert t 1 'a'
    insert other 7
    commit
    begin
    update t 1 'a' -> 1 'b'
    insert t 2 null
    insert t 3 'c'
    insert t 4 'd'
    commit
    begin
    delete t 2 null
    commit
    progress";

const ALL: &[&str] = &[
    "insert t 1 'a'",
    "update t 1 'a' -> 1 'b'",
    "insert t 2 null",
    "insert t 3 'c'",
    "insert t 4 'd'",
    "delete t 2 null",
];

const CONFIRM_NEVER: Duration = Duration::from_secs(3600);

struct Run {
    limits: Limits,
    ddl: DdlPolicy,
    stop: Stop,
    progress: Arc<Progress>,
}

impl Run {
    fn new(rows: usize) -> (Run, Stopper) {
        let (stopper, stop) = Stopper::new();
        let limits = Limits { bytes: 1 << 20, rows, linger: Duration::from_secs(60) };
        (Run { limits, ddl: DdlPolicy::Apply, stop, progress: Progress::new() }, stopper)
    }

    /// Goes on from what the recording has, as a start of the task does.
    async fn go(&self, script: &ScriptedSource, recording: &Recording, faults: &FaultPlan) -> Result<StreamEnd, Fault> {
        let mut source = script.clone();
        let mut sink = faults.around(recording.open());
        let at: Checkpoint = match sink.resume_point().await? {
            Some(at) => {
                source.seek(at).await?;
                at
            }
            None => source.snapshot().await?.checkpoint,
        };
        let filter = TableFilter { exclude: vec![logferry_config::Pattern::new("other")], ..Default::default() };
        let plans = Plans::compile(&source.tables(), &Settings::default(), &filter, self.ddl)?;
        let converter = Converter::new(plans, self.limits, Some(at));
        let sizes = StreamSizes { read_bytes: 1 << 20, queue_bytes: 1 << 10, confirm_after: CONFIRM_NEVER };
        stream(source, &mut sink, converter, sizes, &self.progress, &self.stop).await
    }
}

fn changes(recording: &Recording) -> Vec<String> {
    recording.lines().into_iter().filter(|l| !l.starts_with("commit")).collect()
}

fn commits(recording: &Recording) -> Vec<String> {
    recording.lines().into_iter().filter(|l| l.starts_with("commit")).collect()
}

#[test]
fn an_idle_source_is_asked_seldom() {
    let mut pause = Pause::default();
    let asked = |pause: &mut Pause, seconds: u64| {
        let (mut time, mut asked) = (Duration::ZERO, 0);
        while time < Duration::from_secs(seconds) {
            time += pause.next();
            asked += 1;
        }
        asked
    };
    assert_eq!(asked(&mut pause, 60), 610, "in the first minute without changes");
    assert_eq!(asked(&mut pause, 60), 600, "in each minute from then on");
}

#[tokio::test]
async fn everything_is_applied_in_order_whatever_the_sizes() {
    for rows in 1..8 {
        for events in 1..8 {
            let (run, _stopper) = Run::new(rows);
            let script = ScriptedSource::new(SCRIPT).with_events_per_batch(events);
            let recording = Recording::default();
            let end = run.go(&script, &recording, &FaultPlan::default()).await.expect("it works");
            assert_eq!(end, StreamEnd::SourceEnded);
            assert_eq!(changes(&recording), ALL, "{rows} rows, {events} events");
            let at = recording.checkpoint().expect("a checkpoint");
            assert_eq!(at.applied.0, ScriptedSource::lsn(17), "progress counts");
            let view = run.progress.view();
            assert_eq!((view.changes, view.transactions), (6, 3));
        }
    }
}

#[tokio::test]
async fn commits_are_at_ends_of_transactions() {
    let (run, _stopper) = Run::new(1);
    let recording = Recording::default();
    run.go(&ScriptedSource::new(SCRIPT), &recording, &FaultPlan::default()).await.expect("it works");
    let at = |line| format!("commit {}", ScriptedSource::lsn(line));
    assert_eq!(commits(&recording), [at(7), at(13), at(16), at(17)]);
}

/// A fault at each call in turn, of each kind: after going on, the result is the same.
#[tokio::test]
async fn faults_at_any_call_lose_and_double_nothing() {
    let script = ScriptedSource::new(SCRIPT);
    for at in 0..8 {
        for after in [false, true] {
            let fault = Fault::transient("the connection broke");
            let fault = if after { SeamFault::FailAfter(fault) } else { SeamFault::RejectBefore(fault) };
            let plan = FaultPlan::new((0..at).map(|_| SeamFault::None).chain([fault]));
            let recording = Recording::default();
            let (run, _stopper) = Run::new(2);
            let first = run.go(&script, &recording, &plan).await;
            if plan.left() == 0 {
                assert!(first.is_err(), "the fault at call {at} was swallowed");
                run.go(&script, &recording, &plan).await.expect("it works the second time");
            }
            assert_eq!(changes(&recording), ALL, "fault at call {at}, after the work: {after}");
        }
    }
}

#[tokio::test]
async fn what_came_before_a_fault_of_the_source_is_applied() {
    let script = ScriptedSource::new(SCRIPT).with_fault_at(14, Fault::transient("the share is gone"));
    let recording = Recording::default();
    let (run, _stopper) = Run::new(100);
    let fault = run.go(&script, &recording, &FaultPlan::default()).await.expect_err("the source fails");
    assert_eq!(fault.to_string(), "the share is gone");
    assert_eq!(changes(&recording), ALL[..5]);
    run.go(&script, &recording, &FaultPlan::default()).await.expect("it works the second time");
    assert_eq!(changes(&recording), ALL);
}

#[tokio::test]
async fn stopping_ends_at_the_end_of_a_transaction() {
    let script = ScriptedSource::new(SCRIPT).with_events_per_batch(1);
    let recording = Recording::default();
    let gate = Gate::default();
    let plan = FaultPlan::new([SeamFault::Hold(gate.clone())]);
    let (run, stopper) = Run::new(1);
    let stopping = async {
        gate.reached().await;
        stopper.stop();
        gate.open();
    };
    let (end, ()) = tokio::join!(run.go(&script, &recording, &plan), stopping);
    assert_eq!(end.expect("stopping is no fault"), StreamEnd::Stopped);
    let lines = recording.lines();
    assert!(lines.is_empty() || lines.last().is_some_and(|l| l.starts_with("commit")), "{lines:?}");
    let (run, _stopper) = Run::new(1);
    run.go(&script, &recording, &FaultPlan::default()).await.expect("it goes on");
    assert_eq!(changes(&recording), ALL);
}

#[tokio::test]
async fn batches_do_not_wait_for_ever() {
    // The source has nothing after this transaction, but does not end.
    let script = ScriptedSource::new(SCRIPT).with_events_per_batch(100);
    let (mut run, _stopper) = Run::new(1000);
    run.limits.linger = Duration::ZERO;
    let recording = Recording::default();
    run.go(&script, &recording, &FaultPlan::default()).await.expect("it works");
    assert_eq!(changes(&recording), ALL);
}

/// What a source does that has no more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It says so, as often as it is asked.
    Answers,
    /// It does not answer.
    Waits,
}

/// A source that does not end.
struct Endless(ScriptedSource, Then);

impl ChangeSource for Endless {
    type Reader = <ScriptedSource as ChangeSource>::Reader;

    fn tables(&self) -> Vec<Arc<TableVersion>> {
        self.0.tables()
    }
    async fn snapshot(&mut self) -> Result<SnapshotPoint, Fault> {
        self.0.snapshot().await
    }
    fn chunks(&self, table: usize) -> Result<Vec<ChunkId>, Fault> {
        self.0.chunks(table)
    }
    fn open_chunk(&self, chunk: &ChunkId) -> Result<Self::Reader, Fault> {
        self.0.open_chunk(chunk)
    }
    async fn fixups(&mut self) -> Result<EventBatch, Fault> {
        self.0.fixups().await
    }
    async fn seek(&mut self, at: Checkpoint) -> Result<(), Fault> {
        self.0.seek(at).await
    }
    async fn next(&mut self, bytes_max: usize) -> Result<Option<EventBatch>, Fault> {
        match self.0.next(bytes_max).await? {
            Some(batch) if self.1 == Then::Waits && batch.events.is_empty() => std::future::pending().await,
            Some(batch) => Ok(Some(batch)),
            None if self.1 == Then::Answers => Ok(Some(EventBatch::default())),
            None => std::future::pending().await,
        }
    }
}

#[tokio::test]
async fn an_idle_target_does_not_wait_for_a_batch_to_fill() {
    // The limits would let the batch wait for a minute, and the source is silent from the last commit on.
    let (run, stopper) = Run::new(1000);
    let script = SCRIPT.strip_suffix("progress").expect("a script").trim_end().to_owned();
    let mut source = Endless(ScriptedSource::new(&script), Then::Waits);
    let at = source.snapshot().await.expect("a snapshot").checkpoint;
    let filter = TableFilter { exclude: vec![logferry_config::Pattern::new("other")], ..Default::default() };
    let plans = Plans::compile(&source.tables(), &Settings::default(), &filter, DdlPolicy::Apply).expect("plans");
    let converter = Converter::new(plans, run.limits, Some(at));
    let sizes = StreamSizes { read_bytes: 1 << 20, queue_bytes: 1 << 10, confirm_after: CONFIRM_NEVER };
    let recording = Recording::default();
    let mut sink = recording.open();
    let seen = async {
        while changes(&recording).len() < ALL.len() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stopper.stop();
    };
    let streamed = stream(source, &mut sink, converter, sizes, &run.progress, &run.stop);
    let waited = tokio::time::timeout(run.limits.linger / 2, async { tokio::join!(streamed, seen) }).await;
    let (end, ()) = waited.expect("it does not linger");
    assert_eq!(end.expect("stopping is no fault"), StreamEnd::Stopped);
    assert_eq!(changes(&recording), ALL);
}

/// Follows a source that has no more after the script; gives what was committed behind the last change when `confirmed` says so.
async fn confirmations(script: &str, then: Then, confirmed: impl Fn(&[String]) -> bool) -> Vec<String> {
    let (run, stopper) = Run::new(1000);
    let mut source = Endless(ScriptedSource::new(script), then);
    let at = source.snapshot().await.expect("a snapshot").checkpoint;
    let filter = TableFilter { exclude: vec![logferry_config::Pattern::new("other")], ..Default::default() };
    let plans = Plans::compile(&source.tables(), &Settings::default(), &filter, DdlPolicy::Apply).expect("plans");
    let converter = Converter::new(plans, run.limits, Some(at));
    let sizes = StreamSizes { read_bytes: 1 << 20, queue_bytes: 1 << 10, confirm_after: Duration::ZERO };
    let recording = Recording::default();
    let mut sink = recording.open();
    let streamed = stream(source, &mut sink, converter, sizes, &run.progress, &run.stop);
    let seen = async {
        while !confirmed(&commits(&recording)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stopper.stop();
    };
    let (end, ()) = tokio::join!(streamed, seen);
    assert_eq!(end.expect("stopping is no fault"), StreamEnd::Stopped);
    commits(&recording)
}

/// What the target has of a source at rest moves; that of one which does not answer stands still.
#[tokio::test]
async fn a_source_at_rest_is_confirmed_and_a_dead_one_is_not() {
    let commits = confirmations(SCRIPT, Then::Answers, |commits| commits.len() >= 4).await;
    let last = format!("commit {}", ScriptedSource::lsn(17));
    assert!(commits.iter().rev().take(3).all(|line| *line == last), "{commits:?}");
    let script = SCRIPT.strip_suffix("progress").expect("a script").trim_end();
    let commits = confirmations(script, Then::Waits, |commits| !commits.is_empty()).await;
    assert_eq!(commits, [format!("commit {}", ScriptedSource::lsn(16))]);
}

#[tokio::test]
async fn a_change_that_cannot_be_read_stops_the_task_that_wants_the_table() {
    for (table, expect) in [
        ("other", None),
        ("t", Some("the change of table \"dbo.t\" at 00000001:00000006:0001 cannot be read: its rows are compressed")),
    ] {
        let script = format!(
            "table t(id int key)\ntable other(id int key)\nstart\nbegin\ninsert t 1\nunreadable {table}\ncommit"
        );
        let recording = Recording::default();
        let (run, _stopper) = Run::new(100);
        let end = run.go(&ScriptedSource::new(&script), &recording, &FaultPlan::default()).await;
        assert_eq!(end.err().map(|fault| fault.to_string()).as_deref(), expect, "{table}");
        let applied: &[&str] = if expect.is_none() { &["insert t 1"] } else { &[] };
        assert_eq!(changes(&recording), applied, "a transaction is applied whole or not at all");
    }
}

/// Tables of the target change between the changes of rows, each time in one commit with what follows.
#[tokio::test]
async fn tables_change_in_order_with_the_rows() {
    let script = "
        table t(id int key, v text)
        table other(id int key)
        start
        begin
        insert t 1 'a'
        commit
        table t(id int key, v text, w int)
        table u(id int)
        begin
        insert t 2 'b' 5
        commit
        drop u
        progress
        table other(id int key, v text)
        table t(id int key, v text)
        begin
        insert t 3 'c'
        commit";
    let at = |line| format!("commit {}", ScriptedSource::lsn(line));
    let applied: &[&str] = &[
        "insert t 1 'a'",
        &at(6),
        "alter t(id, v) -> t(id, v, w)",
        "create u(id)",
        "insert t 2 'b' 5",
        &at(11),
        "drop u",
        &at(13),
        "alter t(id, v, w) -> t(id, v)",
        "insert t 3 'c'",
        &at(18),
    ];
    let stop: &[&str] = &["insert t 1 'a'", &at(6)];
    let ignored: &[&str] = &[
        "insert t 1 'a'",
        &at(6),
        "keep t(id, v)",
        "leave out 102",
        "insert t 2 'b'",
        &at(11),
        "insert t 3 'c'",
        &at(18),
    ];
    let what = "table \"dbo.t\" changed its shape after 00000001:00000006:0001: column \"w\" is new";
    for (ddl, expect, fault) in
        [(DdlPolicy::Apply, applied, None), (DdlPolicy::Stop, stop, Some(what)), (DdlPolicy::Ignore, ignored, None)]
    {
        for events in 1..20 {
            let (mut run, _stopper) = Run::new(100);
            run.ddl = ddl;
            let recording = Recording::default();
            let script = ScriptedSource::new(script).with_events_per_batch(events);
            let end = run.go(&script, &recording, &FaultPlan::default()).await;
            assert_eq!(end.err().map(|fault| fault.to_string()).as_deref(), fault, "{ddl:?}");
            assert_eq!(recording.lines(), expect, "{ddl:?}, {events} events");
        }
    }
}

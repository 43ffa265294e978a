//! Every statement is cut, before and after its answer, and the server goes away in every way: afterwards the rows are right, or the
//! reason says what to do. In each mode that follows changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use logferry_model::{ChangeSource, Class, EventBatch, Fault, SourceEvent};
use logferry_mssql_live::{CdcSettings, LiveSource, Mode, Settings, teardown};
use logferry_mssql_standin::serve::Standin;
use logferry_mssql_standin::tds::{self, SqlError};

use crate::cdc::{Target, run};
use crate::{settings, standin};

const MODES: [Mode; 3] =
    [Mode::Log, Mode::Cdc(CdcSettings { enable: true }), Mode::Hybrid { heartbeat: Duration::from_millis(50) }];

/// How long a target may take to have what the source has: only one that never has it takes so long.
const NEVER: Duration = Duration::from_secs(60);

/// Tables that each reader serves; by the log alone none without a key.
fn shop(mode: Mode) -> Standin {
    let mut made = "
        CREATE TABLE a (id int NOT NULL PRIMARY KEY, n int, s varchar(900));
        CREATE TABLE b (x nvarchar(20) NOT NULL, y smallint NOT NULL, v decimal(9,2), PRIMARY KEY (x, y));
        CREATE TABLE h (id int NOT NULL PRIMARY KEY NONCLUSTERED, v varchar(300));
        DECLARE @n int = 0;
        WHILE @n < 40 BEGIN
            INSERT a VALUES (@n, @n, REPLICATE('s', @n));
            INSERT b VALUES (N'\u{e9}' + CAST(@n AS nvarchar(9)), @n % 7, @n / 3.0);
            INSERT h VALUES (@n, 'h');
            SET @n += 1
        END;"
        .to_owned();
    if mode != Mode::Log {
        made.push_str(
            "CREATE TABLE bag (n int, s varchar(9)); INSERT bag SELECT id % 5, 'x' FROM a; INSERT bag SELECT id % 5, NULL FROM a;
             EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_add_job @job_type = N'capture', @pollinginterval = 0;",
        );
    }
    standin(&made)
}

/// A task between two faults: what the target has, and what the source wants to be reminded of.
struct Task {
    what: String,
    mode: Mode,
    settings: Settings,
    target: Target,
    memo: Vec<u8>,
    is_written: bool,
}

impl Task {
    fn new(standin: &Standin, mode: Mode) -> Self {
        let (what, settings, target) = (format!("{mode:?}"), settings(standin), Target::default());
        Task { what, mode, settings, target, memo: Vec::new(), is_written: false }
    }

    async fn open(&self) -> Result<LiveSource, Fault> {
        let source = LiveSource::open(self.settings.clone(), self.mode, 50_000, Arc::new(|_| true)).await;
        source.map_err(Fault::from)
    }

    /// From the begin, or from where the target is; others write after the copy, and truncate the log.
    async fn begin(&mut self, standin: &Standin, n: u32) -> Result<LiveSource, Fault> {
        let mut source = self.open().await?;
        source.remember(self.target.fences.clone());
        match self.target.at {
            Some(at) => {
                source.seek(at).await?;
                source.add(&[], &[])?;
            }
            None => {
                source.recall(&self.memo);
                let point = source.snapshot().await?;
                self.memo = source.memo();
                self.target = Target::default();
                self.target.try_copy(&source).await?;
                source.remember(self.target.fences.clone());
                self.target.at = Some(point.checkpoint);
            }
        }
        if !self.is_written {
            write(standin, self.mode, n);
            self.is_written = true;
        }
        Ok(source)
    }

    /// The same, to the end.
    async fn run(&mut self, standin: &Standin, n: u32) -> Result<(), Fault> {
        let mut source = self.begin(standin, n).await?;
        self.catch_up(standin, &mut source).await
    }

    /// Until the target has what the source has; and what comes after that changes nothing. A transaction that does not come to its end
    /// is not there.
    async fn catch_up(&mut self, standin: &Standin, source: &mut LiveSource) -> Result<(), Fault> {
        let (began, mut committed, mut more) = (Instant::now(), self.target.clone(), 3);
        loop {
            let next = source.next(5_000).await.and_then(|batch| readable(batch.expect("it does not end")));
            let batch = match next {
                Ok(batch) => batch,
                Err(fault) => {
                    self.target = committed;
                    return Err(fault);
                }
            };
            self.target.apply(&batch);
            let last = batch.events.last();
            if matches!(last, Some(SourceEvent::Commit(_) | SourceEvent::Progress(_))) {
                committed = self.target.clone();
            }
            if committed.is_equal(standin) && (last.is_none() || committed.at == self.target.at) {
                if more == 0 {
                    return Ok(());
                }
                more -= 1;
            }
            if began.elapsed() > NEVER {
                eprintln!("{}: the target never has what the source has", self.what);
                committed.check(standin);
                panic!("{}: the target has what the source has, and never at the end of a transaction", self.what);
            }
            if batch.events.is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    /// The same again and again, as whoever runs it does after what goes away by itself; gives the first fault.
    async fn run_through(&mut self, standin: &Standin, n: u32, what: &str) -> Result<(), Fault> {
        let Err(first) = self.run(standin, n).await else { return Ok(()) };
        let mut is_done = false;
        for _ in 0..10 {
            match self.run(standin, n).await {
                Ok(()) => is_done = true,
                Err(fault) if fault.class == Class::Transient => continue,
                Err(fault) => panic!("{what}, again: {fault}"),
            }
            break;
        }
        assert!(is_done, "{what}: it never comes on");
        Err(first)
    }
}

/// What stops whoever applies it, with all of the transaction that it is in.
fn readable(batch: EventBatch) -> Result<EventBatch, Fault> {
    let stops = batch.events.iter().find_map(|event| match event {
        SourceEvent::Unreadable { table, why, .. } => Some((table.name.to_string(), why.clone())),
        _ => None,
    });
    match stops {
        Some((table, why)) => Err(Fault::operator(format!("{table}: {why}")).with_hint("tables.exclude")),
        None => Ok(batch),
    }
}

fn write(standin: &Standin, mode: Mode, n: u32) {
    let mut texts = vec![
        format!(
            "UPDATE a SET n = n + {n} WHERE id % 3 = 0; DELETE b WHERE y = {}; UPDATE h SET v = 'v{n}' WHERE id < 4",
            n % 7
        ),
        format!("CHECKPOINT; BACKUP LOG shop TO DISK = 'log{n}.trn' WITH INIT"),
        format!(
            "UPDATE a SET s = LEFT(s, 5) + '{n}' WHERE id < 5; INSERT b VALUES (N'new{n}', {n}, {n}); DELETE h WHERE id = {n} % 40"
        ),
    ];
    if mode != Mode::Log {
        texts.push(format!(
            "BEGIN TRAN; DELETE TOP (2) bag WHERE n = {} % 5; INSERT bag VALUES ({n} % 5, 'x'), ({n} % 5, 'x'); UPDATE a SET n = {n} WHERE id = 7; COMMIT",
            n + 1
        ));
    }
    for text in texts {
        run(standin, &text);
    }
}

type Make = fn() -> tds::Fault;

/// What befalls a statement, and whether the task may be run again at once.
const FAULTS: &[(&str, Make, bool)] = &[
    ("cut before", || tds::Fault::DropBefore, true),
    ("cut in its answer", || tds::Fault::Cut { after_bytes: 40 }, true),
    ("its answer is lost", || tds::Fault::DropBeforeDone, true),
    ("cut after", || tds::Fault::DropAfterDone, true),
    ("deadlock", || tds::Fault::DeadlockVictim, true),
    ("never answered", || tds::Fault::Delay(Duration::from_secs(5)), true),
    (
        "no right",
        || tds::Fault::Error(SqlError::new(229, 14, "The SELECT permission was denied on the object.")),
        false,
    ),
];

/// Cuts one statement after the other, each of a task that begins anew, on a source where nothing of it is left; how many there were.
async fn each_statement_is_cut(mode: Mode, number: usize, step: usize) -> usize {
    let (name, fault, is_transient) = FAULTS[number];
    let folder = tempfile::tempdir().expect("a folder");
    let standin = shop(mode);
    standin.sql().set_backup_folder(folder.path().to_owned());
    standin.batch("BACKUP DATABASE shop TO DISK = 'shop.bak'").expect("a backup");
    let mut tried = 0;
    for at in (1 + number % step..).step_by(step) {
        let n = number as u32 * 1000 + at as u32;
        let what = format!("{mode:?}, {name}, statement {at}");
        let fired = Arc::new(AtomicBool::new(false));
        let mut task = Task { what: what.clone(), ..Task::new(&standin, mode) };
        if matches!(fault(), tds::Fault::Delay(_)) {
            task.settings.answer_timeout = Duration::from_secs(1);
        }
        teardown(settings(&standin)).await.unwrap_or_else(|e| panic!("{what}: {e}"));
        let mark = fired.clone();
        standin.faults().set(move |seen| {
            // Once: whoever tries again gets through.
            let fires = seen.overall == at as u64 && !mark.swap(true, Ordering::Relaxed);
            fires.then(fault)
        });
        let first = task.run_through(&standin, n, &what).await;
        standin.faults().clear();
        if let Err(fault) = first {
            assert!(fired.load(Ordering::Relaxed), "{what}, without a fault: {fault}");
            let hinted = fault.class == Class::Operator && fault.hint.is_some();
            assert!(fault.class == Class::Transient || !is_transient && hinted, "{what}: {fault} ({:?})", fault.hint);
        }
        // Whatever was passed over, the next start goes on.
        task.run(&standin, n).await.unwrap_or_else(|e| panic!("{what}, the next start: {e}"));
        if !fired.load(Ordering::Relaxed) {
            break;
        }
        tried += 1;
    }
    tried
}

/// As a rule each statement is met by one to three of the faults; by all of them with `LOGFERRY_FAULTS=all`.
async fn all_statements_are_cut(mode: Mode, step: usize) {
    let mut running = Vec::new();
    let step = if std::env::var("LOGFERRY_FAULTS").is_ok_and(|asked| asked == "all") { 1 } else { step };
    for (number, (name, ..)) in FAULTS.iter().enumerate() {
        // One that is never answered takes as long as it is waited for.
        let step = if *name == "never answered" { step * 8 } else { step };
        running.push((step, tokio::spawn(each_statement_is_cut(mode, number, step))));
    }
    for (step, running) in running {
        let tried = running.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()));
        assert!(tried > 25 / step, "only {tried} statements were tried");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_is_cut_costs_no_row_and_doubles_none() {
    all_statements_are_cut(MODES[0], 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_of_change_tables() {
    all_statements_are_cut(MODES[1], 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_of_both() {
    all_statements_are_cut(MODES[2], 7).await;
}

#[tokio::test]
async fn a_server_that_restarts_or_fails_over_is_followed_further() {
    for mode in MODES {
        let standin = shop(mode);
        let mut task = Task { is_written: true, ..Task::new(&standin, mode) };
        task.run(&standin, 0).await.expect("a copy");
        for n in 0..4 {
            let mut source = task.begin(&standin, 0).await.expect("it goes on");
            run(&standin, &format!("UPDATE a SET n = n + {n}; DELETE b WHERE y = {n}; UPDATE h SET v = 'r{n}'"));
            if n % 2 == 0 {
                standin.restart();
            } else {
                standin.fail_over(&format!("NODE{n}"));
            }
            // Who holds a connection between two questions meets that it is broken, who does not goes on.
            if let Err(fault) = task.catch_up(&standin, &mut source).await {
                assert_eq!(fault.class, Class::Transient, "{mode:?}: {fault}");
            }
            task.run(&standin, 0).await.unwrap_or_else(|e| panic!("{mode:?}: {e}"));
        }
    }
}

#[tokio::test]
async fn a_database_that_was_restored_is_never_read_past() {
    for mode in MODES {
        let standin = shop(mode);
        let mut task = Task { is_written: true, ..Task::new(&standin, mode) };
        task.run(&standin, 0).await.expect("a copy");
        let mut source = task.begin(&standin, 0).await.expect("it goes on");
        assert!(standin.fork("shop", [7; 16]));
        run(&standin, "UPDATE a SET n = -1");
        let (before, mut faults) = (task.target.changes, Vec::new());
        // By the reader that runs, and by one that begins.
        for begins in [false, true] {
            let mut done = task.catch_up(&standin, &mut source).await;
            for _ in 0..10 {
                match &done {
                    Err(fault) if begins || fault.class == Class::Transient => done = task.run(&standin, 0).await,
                    _ => break,
                }
            }
            faults.push(done.expect_err("another fork"));
        }
        assert_eq!(task.target.changes, before, "{mode:?}: nothing of another history is told");
        for fault in faults {
            assert_eq!(fault.class, Class::Operator, "{mode:?}: {fault}");
            assert!(fault.to_string().contains("was restored") && fault.hint.is_some(), "{mode:?}: {fault}");
        }
    }
}

/// A login that is not shown the history of the database at first, and then is; and one that is not shown it any more. A deadlock at the
/// question is no word about it.
#[tokio::test]
async fn a_history_that_is_shown_later_is_the_same() {
    for mode in MODES {
        let standin = shop(mode);
        let hide = |number: i32| {
            let said = SqlError::new(number, 14, "The SELECT permission was denied on the object.");
            standin.faults().set(move |seen| {
                let is_asked =
                    seen.text.contains("sys.database_recovery_status") && seen.text.contains("database_guid");
                is_asked.then(|| tds::Fault::Error(said.clone()))
            });
        };
        let mut task = Task { is_written: true, ..Task::new(&standin, mode) };
        hide(229);
        task.run(&standin, 0).await.unwrap_or_else(|e| panic!("{mode:?}, hidden: {e}"));
        standin.faults().clear();
        task.run(&standin, 0).await.unwrap_or_else(|e| panic!("{mode:?}, shown: {e}"));
        run(&standin, "UPDATE a SET n = 1000");
        task.run(&standin, 0).await.unwrap_or_else(|e| panic!("{mode:?}, shown: {e}"));
        hide(1205);
        let fault = task.run(&standin, 0).await.expect_err("a deadlock's victim");
        assert_eq!(fault.class, Class::Transient, "{mode:?}: {fault}");
        hide(229);
        let fault = task.run(&standin, 0).await.expect_err("it is not shown any more");
        assert_eq!(fault.class, Class::Operator, "{mode:?}: {fault}");
        assert!(fault.hint.is_some_and(|hint| hint.contains("GRANT VIEW ANY DATABASE")), "{mode:?}");
        standin.faults().clear();
        task.run(&standin, 0).await.unwrap_or_else(|e| panic!("{mode:?}, shown again: {e}"));
    }
}

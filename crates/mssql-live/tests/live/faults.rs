//! Every statement is cut, before and after its answer, and the server goes away in every way: afterwards the rows are right, or the
//! reason says what to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use logferry_model::{ChangeSource, Class, Fault};
use logferry_mssql_live::{LiveSource, Mode};
use logferry_mssql_standin::serve::Standin;
use logferry_mssql_standin::tds::{self, SqlError};

use crate::log::Target;
use crate::{settings, standin};

const SHOP: &str = "
    CREATE TABLE a (id int NOT NULL PRIMARY KEY, n int, s varchar(900));
    CREATE TABLE b (x nvarchar(20) NOT NULL, y smallint NOT NULL, v decimal(9,2), PRIMARY KEY (x, y));
    DECLARE @n int = 0;
    WHILE @n < 40 BEGIN
        INSERT a VALUES (@n, @n, REPLICATE('s', @n));
        INSERT b VALUES (N'\u{e9}' + CAST(@n AS nvarchar(9)), @n % 7, @n / 3.0);
        SET @n += 1
    END";

/// A task between two faults: what the target has, and what the source wants to be reminded of.
#[derive(Default)]
struct Task {
    target: Target,
    memo: Vec<u8>,
    is_copied: bool,
    is_written: bool,
}

impl Task {
    /// From the begin, or from where the target is, to the end; others write after the copy, and truncate the log.
    async fn run(&mut self, standin: &Standin, n: u32) -> Result<(), Fault> {
        let mut source = LiveSource::open(settings(standin), Mode::Log, 50_000, Arc::new(|_| true)).await?;
        match self.target.at {
            Some(at) => source.seek(at).await?,
            None => {
                source.recall(&self.memo);
                let point = source.snapshot().await?;
                self.memo = source.memo();
                if !self.is_copied {
                    self.target.try_copy(&source).await?;
                }
                self.is_copied = true;
                self.target.at = Some(point.checkpoint);
            }
        }
        if !self.is_written {
            write(standin, n);
            self.is_written = true;
        }
        self.target.drain(&mut source, 5_000).await
    }
}

fn write(standin: &Standin, n: u32) {
    for text in [
        format!("UPDATE a SET n = n + {n} WHERE id % 3 = 0; DELETE b WHERE y = {}", n % 7),
        format!("CHECKPOINT; BACKUP LOG shop TO DISK = 'log{n}.trn' WITH INIT"),
        format!("UPDATE a SET s = LEFT(s, 5) + '{n}' WHERE id < 5; INSERT b VALUES (N'new', {n}, {n})"),
    ] {
        standin.batch(&format!("USE shop; {text}")).unwrap_or_else(|e| panic!("{text}: {e}"));
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
    (
        "no right",
        || tds::Fault::Error(SqlError::new(229, 14, "The SELECT permission was denied on the object.")),
        false,
    ),
];

#[tokio::test]
async fn a_statement_that_is_cut_costs_no_row_and_doubles_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let standin = standin(SHOP);
    standin.sql().set_backup_folder(folder.path().to_owned());
    standin.batch("BACKUP DATABASE shop TO DISK = 'shop.bak'").expect("a backup");
    let mut statements = 0;
    for (number, (name, fault, is_transient)) in FAULTS.iter().enumerate() {
        for at in 1.. {
            let n = number as u32 * 1000 + at as u32;
            let fired = Arc::new(AtomicBool::new(false));
            let (mark, fault) = (fired.clone(), *fault);
            standin.faults().set(move |seen| {
                let fires = seen.overall == at;
                mark.fetch_or(fires, Ordering::Relaxed);
                fires.then(fault)
            });
            let mut task = Task::default();
            let first = task.run(&standin, n).await;
            standin.faults().clear();
            if !fired.load(Ordering::Relaxed) {
                first.unwrap_or_else(|e| panic!("without a fault: {e}"));
                task.target.check(&standin);
                statements = at - 1;
                break;
            }
            if let Err(fault) = first {
                let hinted = fault.class == Class::Operator && fault.hint.is_some();
                assert!(fault.class == Class::Transient || !is_transient && hinted, "{name}, statement {at}: {fault}");
                task.run(&standin, n).await.unwrap_or_else(|e| panic!("{name}, statement {at}, again: {e}"));
            }
            task.target.check(&standin);
        }
    }
    assert!(statements > 25, "only {statements} statements were tried");
}

#[tokio::test]
async fn a_server_that_restarts_or_fails_over_is_followed_further() {
    let standin = standin(SHOP);
    let mut task = Task { is_written: true, ..Task::default() };
    task.run(&standin, 0).await.expect("a copy");
    for n in 0..4 {
        let batch = format!("USE shop; UPDATE a SET n = n + {n}; DELETE b WHERE y = {n}");
        standin.batch(&batch).expect("done");
        let mut source =
            LiveSource::open(settings(&standin), Mode::Log, 50_000, Arc::new(|_| true)).await.expect("open");
        source.seek(task.target.at.expect("a position")).await.expect("it goes on");
        if n % 2 == 0 {
            standin.restart()
        } else {
            standin.fail_over(&format!("NODE{n}"))
        }
        let fault = task.target.drain(&mut source, 1 << 20).await.expect_err("its connections are broken");
        assert_eq!(fault.class, Class::Transient, "{fault}");
        task.run(&standin, 0).await.expect("it goes on");
        task.target.check(&standin);
    }
}

#[tokio::test]
async fn a_database_that_was_restored_is_never_read_past() {
    let standin = standin(SHOP);
    let mut task = Task { is_written: true, ..Task::default() };
    task.run(&standin, 0).await.expect("a copy");
    let mut source = LiveSource::open(settings(&standin), Mode::Log, 50_000, Arc::new(|_| true)).await.expect("open");
    source.seek(task.target.at.expect("a position")).await.expect("it goes on");
    assert!(standin.fork("shop", [7; 16]));
    standin.batch("USE shop; UPDATE a SET n = -1").expect("done");
    let fault = task.target.drain(&mut source, 1 << 20).await.expect_err("its connections are broken");
    assert_eq!(fault.class, Class::Transient, "{fault}");
    let fault = task.run(&standin, 0).await.expect_err("another fork");
    assert_eq!(fault.class, Class::Operator);
    assert!(fault.to_string().contains("was restored") && fault.hint.is_some(), "{fault}");
}

//! Backup chains of real servers: after every prefix the target holds exactly the rows committed by then.

use std::path::{Path, PathBuf};

use logferry_e2e::{Files, Rows, Target, fixtures};
use logferry_mssql_backup::BackupSet;

/// The files of the chains `steps-*`, and the rows of `dbo.steps` after each.
const STEPS: &[(&str, u64)] = &[
    ("RestoreTimeClean.bak", 0),
    ("RestoreTimeClean_1.trn", 10),
    ("RestoreTimeClean_2.trn", 20),
    ("RestoreTimeClean_3.trn", 30),
    ("RestoreTimeClean2_1.trn", 40),
    ("RestoreTimeClean2_2.trn", 50),
    ("RestoreTimeClean2_3.trn", 60),
];

const DIFFERENTIAL: &str = "RestoreTimeClean2.bak";

fn files(folder: &Path, names: &[&str]) -> Files {
    Files::Backups(names.iter().map(|n| folder.join(n)).collect())
}

async fn count(target: &Target) -> u64 {
    target.ask("SELECT count(*)::text FROM dbo.steps").await.parse().expect("a number")
}

async fn check_chain(chain: &str, earliest: &str, latest: &str) {
    let Some(folder) = fixtures().map(|f| f.join("chains").join(chain)) else { return };
    let growing = Target::new();
    for n in 1..=STEPS.len() {
        let names: Vec<&str> = STEPS[..n].iter().map(|(name, _)| *name).collect();
        let files = files(&folder, &names);
        let rows = STEPS[n - 1].1;

        // From nothing to here in one run ...
        let fresh = Target::new();
        fresh.run(&files).await;
        assert_eq!(count(&fresh).await, rows, "{chain}, {n} files");
        fresh.check(files.rows().expect("the chain is sound")).await;

        // ... and one file more on a target that has the others.
        let summary = growing.run(&files).await;
        assert_eq!(summary.copied, n == 1, "{chain}, {n} files: only the first run copies");
        let new = if n == 1 { 0 } else { rows - STEPS[n - 2].1 };
        assert_eq!(summary.progress.changes, new, "{chain}, {n} files: what is there is not applied again");
        growing.check(files.rows().expect("the chain is sound")).await;

        // Again, with nothing new.
        assert_eq!(growing.run(&files).await.progress.changes, 0);
        assert_eq!(count(&growing).await, rows);
    }
    let sql = "SELECT min(dt)::text || ' ' || max(dt)::text FROM dbo.steps";
    assert_eq!(growing.ask(sql).await, format!("{earliest} {latest}"));
    assert_eq!(growing.ask("SELECT count(DISTINCT dt)::text FROM dbo.steps").await, "60");

    // A differential in the place of the logs before it.
    let target = Target::new();
    let short = files(&folder, &["RestoreTimeClean.bak", DIFFERENTIAL]);
    let summary = target.run(&short).await;
    assert_eq!((count(&target).await, summary.progress.changes), (30, 0));
    let names = [STEPS[4].0, STEPS[6].0, DIFFERENTIAL, STEPS[0].0, STEPS[5].0];
    let summary = target.run(&files(&folder, &names)).await;
    assert_eq!((count(&target).await, summary.progress.changes), (60, 30));
    let whole: Vec<&str> = STEPS.iter().map(|(name, _)| *name).collect();
    target.check(files(&folder, &whole).rows().expect("the chain is sound")).await;

    // A target that the differential is behind of goes on from the full and the logs.
    let target = Target::new();
    target.run(&files(&folder, &whole[..2])).await;
    let all: Vec<&str> = whole.iter().copied().chain([DIFFERENTIAL]).collect();
    let summary = target.run(&files(&folder, &all)).await;
    assert_eq!((count(&target).await, summary.progress.changes), (60, 50));
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_2008r2() {
    check_chain("steps-2008r2", "2017-06-01 12:59:12.97", "2017-06-01 13:28:43.32").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_2016() {
    let Some(folder) = fixtures().map(|f| f.join("chains/steps-2016")) else { return };
    let whole: Vec<&str> = STEPS.iter().map(|(name, _)| *name).collect();
    let target = Target::new();
    target.run(&files(&folder, &whole)).await;
    let times = target.ask("SELECT min(dt)::text || '/' || max(dt)::text FROM dbo.steps").await;
    let (earliest, latest) = times.split_once('/').expect("two times");
    check_chain("steps-2016", earliest, latest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_striped_2008r2() {
    let Some(folder) = fixtures().map(|f| f.join("chains/steps-striped-2008r2")) else { return };
    let target = Target::new();
    target.run(&files(&folder, &["Stripe2", "Stripe1"])).await;
    assert_eq!(count(&target).await, 60);
    // A later full backup of the same table.
    let after = BackupSet::open(&[folder.join("after.bak")], None).expect("a backup");
    target.check(Rows::read(&after.pages().expect("its pages")).expect("its rows")).await;

    let lone = Target::new();
    let failure = lone.try_run(&files(&folder, &["Stripe1"])).await.expect_err("the other stripe is missing");
    let said = failure.fault.to_string();
    assert!(said.contains("Stripe1") && said.contains("stripe 2 is missing"), "{said}");
    assert_eq!(failure.phase, logferry_pipeline::Phase::Checking);
    assert_eq!(lone.ask("SELECT count(*)::text FROM pg_namespace WHERE nspname IN ('dbo', 'logferry')").await, "0");
}

/// A missing log in the middle is named, with both LSNs, before anything is written.
#[tokio::test(flavor = "multi_thread")]
async fn a_hole_is_refused() {
    let Some(folder) = fixtures().map(|f| f.join("chains/steps-2008r2")) else { return };
    let target = Target::new();
    let holed = files(&folder, &["RestoreTimeClean.bak", "RestoreTimeClean_1.trn", "RestoreTimeClean_3.trn"]);
    let failure = target.try_run(&holed).await.expect_err("a log is missing");
    let said = failure.fault.to_string();
    for word in ["RestoreTimeClean_1.trn", "RestoreTimeClean_3.trn", "00000019:00000099:0001", "00000019:000000a3:0001"]
    {
        assert!(said.contains(word), "{said}");
    }
    assert_eq!(target.ask("SELECT count(*)::text FROM pg_namespace WHERE nspname = 'logferry'").await, "0");

    // The same when the target has what is before the hole.
    target.run(&files(&folder, &["RestoreTimeClean.bak", "RestoreTimeClean_1.trn"])).await;
    target.try_run(&holed).await.expect_err("a log is missing");
    assert_eq!(count(&target).await, 10);
}

/// Files of another database do not go on where this one was.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_chain_is_refused() {
    let Some(folder) = fixtures().map(|f| f.join("chains")) else { return };
    let target = Target::new();
    target.run(&files(&folder.join("steps-2008r2"), &["RestoreTimeClean.bak", "RestoreTimeClean_1.trn"])).await;
    let foreign = files(&folder.join("steps-2016"), &["RestoreTimeClean.bak", "RestoreTimeClean_1.trn"]);
    let failure = target.try_run(&foreign).await.expect_err("it is another database");
    assert!(failure.fault.to_string().contains("of database"), "{}", failure.fault);
    assert_eq!(count(&target).await, 10);
    let mixed: Vec<PathBuf> = ["steps-2008r2/RestoreTimeClean.bak", "steps-2016/RestoreTimeClean_1.trn"]
        .iter()
        .map(|n| folder.join(n))
        .collect();
    Target::new().try_run(&Files::Backups(mixed)).await.expect_err("they are of two databases");
}

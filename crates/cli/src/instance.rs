//! All databases of a folder of backups in one task: each a task of its own on the target, into schemas or a database of its own.
//!
//! What does not fit (no full backup, a hole, a foreign or damaged file) is listed with its reason, and the other databases go on. Without
//! `watch` one database comes after the other; with it all are followed at the same time, and a database whose first full backup
//! arrives later joins in.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use logferry_config::{BackupSource, PerDatabase, Secret, Task};
use logferry_model::Fault;
use logferry_mssql_backup::{Backups, Listing, SoundSets};
use logferry_pg_apply::Target;
use logferry_pipeline::{Failure, Phase, Progress, Stop, Stopper, Summary, run};
use serde::Serialize;

use crate::bars;
use crate::failure::Failed;
use crate::open;
use crate::output::{Out, Table};
use crate::places::TaskFiles;
use crate::run::{runtime, stop_on_signals};
use crate::summary::{Report, grouped};

/// Some databases were replicated and others were not.
const SOME_LEFT_OUT: u8 = 4;

/// What became of a database, or of files that belong to none.
#[derive(Debug, Serialize)]
struct Outcome {
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<PathBuf>,
    #[serde(flatten)]
    report: Option<Report>,
    /// Why it was left out, or ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<String>,
}

pub(crate) fn perform(task: &Task, paths: &BackupSource, json: bool, out: &mut Out) -> Result<ExitCode, Failed> {
    Target::parse(task.target.url.expose()).map_err(|e| Failed::config(e.into()))?;
    let files = TaskFiles::of(paths).map_err(|e| Failed::check(e.into()))?;
    let (stopper, stop) = Stopper::new();
    let outcomes = runtime()?.block_on(async {
        let signals = tokio::spawn(stop_on_signals(stopper));
        let outcomes = Instance { task, paths, files, stop }.run().await;
        signals.abort();
        outcomes
    })?;
    for outcome in &outcomes {
        if json {
            out.json(outcome)?;
        }
    }
    if !json {
        write(&outcomes, out)?;
    }
    let left_out = outcomes.iter().filter(|o| o.left_out.is_some()).count();
    match left_out {
        0 if outcomes.is_empty() => Err(Failed::check(Fault::operator("there is no backup among the files"))),
        0 => Ok(ExitCode::SUCCESS),
        n if n == outcomes.len() => Ok(ExitCode::from(3)),
        _ => Ok(ExitCode::from(SOME_LEFT_OUT)),
    }
}

struct Instance<'a> {
    task: &'a Task,
    paths: &'a BackupSource,
    files: TaskFiles,
    stop: Stop,
}

impl Instance<'_> {
    async fn run(&self) -> Result<Vec<Outcome>, Failed> {
        let mut outcomes = BTreeMap::new();
        let mut listed = self.listing()?;
        let mut waiting = self.look(&mut outcomes)?;
        let mut begun: Vec<String> = Vec::new();
        let mut running = FuturesUnordered::new();
        loop {
            while let Some(name) = waiting.pop()
                && !self.stop.is_asked()
            {
                outcomes.remove(&Some(name.clone()));
                begun.push(name.clone());
                running.push(self.follow(name));
                if self.paths.watch.is_none() {
                    break;
                }
            }
            let watches = self.paths.watch.filter(|_| !self.stop.is_asked());
            if running.is_empty() && watches.is_none() {
                return Ok(outcomes.into_values().collect());
            }
            tokio::select! {
                Some((name, done)) = running.next() => {
                    outcomes.insert(Some(name.clone()), self.outcome(name, done));
                }
                () = self.pause(watches.unwrap_or_default()), if watches.is_some() => {
                    let now = self.listing()?;
                    if now != listed {
                        listed = now;
                        waiting = self.look(&mut outcomes)?;
                        waiting.retain(|name| !begun.contains(name));
                    }
                }
            }
        }
    }

    /// Waits, or until the task is to stop.
    async fn pause(&self, time: Duration) {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = stop.asked() => {}
        }
    }

    fn listing(&self) -> Result<Listing, Failed> {
        Listing::of(&self.files.files).map_err(|e| Failed::check(e.into()))
    }

    /// The databases for which there is a chain, last first; the others are noted with the reason.
    fn look(&self, outcomes: &mut BTreeMap<Option<String>, Outcome>) -> Result<Vec<String>, Failed> {
        let mut backups = Backups::find(&self.files.files).map_err(|e| Failed::check(e.into()))?;
        let nameless = backups.take_nameless();
        outcomes.remove(&None);
        if !nameless.is_empty() {
            let why: Vec<String> = nameless.iter().map(|u| u.error.to_string()).collect();
            let files = nameless.iter().flat_map(|u| u.paths()).collect();
            outcomes.insert(None, Outcome { database: None, files, report: None, left_out: Some(why.join("; ")) });
        }
        let mut found = Vec::new();
        for (name, planned) in backups.plan_all(open::plan_options(self.paths)) {
            match planned {
                Ok(_) => found.push(name),
                Err(error) => {
                    let left_out = Some(told(&error.into()));
                    let key = Some(name.clone());
                    // Of one that is being followed the last word is its own.
                    outcomes.entry(key).or_insert(Outcome {
                        database: Some(name),
                        files: Vec::new(),
                        report: None,
                        left_out,
                    });
                }
            }
        }
        found.reverse();
        Ok(found)
    }

    async fn follow(&self, name: String) -> (String, Result<Summary, Failure>) {
        let task = match self.place(&name).await {
            Ok(task) => task,
            Err(fault) => return (name, Err(Failure { phase: Phase::Checking, fault })),
        };
        let progress = Progress::new();
        tracing::info!(database = name, "database begins");
        let shown = self.paths.watch.is_none().then(|| tokio::spawn(bars::show(Arc::clone(&progress))));
        let sound = SoundSets::default();
        let source = async || {
            let mut backups = Backups::find(&self.files.files)?;
            backups.take_nameless();
            Ok(open::of_backups(backups, Some(name.clone()), &task, self.paths, &self.files)?.knowing(sound.clone()))
        };
        let done = run(&task, source, &progress, &self.stop).await;
        if let Some(shown) = shown {
            // It ends with the task.
            let _shown = shown.await;
        }
        if let Err(failure) = &done {
            tracing::error!(database = name, "{}", told(&failure.fault));
        }
        (name, done)
    }

    /// The task of one database. No task of a file has a slash in its name.
    fn task_of(&self, database: &str) -> Task {
        let mut task = self.task.clone();
        task.name = format!("{}/{database}", self.task.name);
        if task.target.per_database == PerDatabase::Schemas {
            task.transform.names.database = Some(database.to_owned());
        }
        task
    }

    /// The task of one database, with a place for it on the target.
    async fn place(&self, database: &str) -> Result<Task, Fault> {
        let mut task = self.task_of(database);
        if task.target.per_database == PerDatabase::Database {
            let name = task.transform.names.fold(database).into_owned();
            let url = task.target.url.expose();
            if Target::parse(url)?.ensure_database(&name).await? {
                tracing::info!(database = name, "made a database");
            }
            task.target.url = Secret::new(Target::url_of_database(url, &name)?);
        }
        Ok(task)
    }

    fn outcome(&self, name: String, done: Result<Summary, Failure>) -> Outcome {
        let (report, left_out) = match done {
            Ok(summary) => (Some(Report::of(&self.task_of(&name), &summary)), None),
            Err(failure) => (None, Some(told(&failure.fault))),
        };
        Outcome { database: Some(name), files: Vec::new(), report, left_out }
    }
}

fn told(fault: &Fault) -> String {
    match &fault.hint {
        Some(hint) => format!("{fault} ({hint})"),
        None => fault.to_string(),
    }
}

fn write(outcomes: &[Outcome], out: &mut Out) -> Result<(), Failed> {
    let mut table = Table::new(&["database", "rows copied", "changes", "position"]);
    for outcome in outcomes {
        if let (Some(name), Some(report)) = (&outcome.database, &outcome.report) {
            let position = report.last_lsn.clone().unwrap_or_default();
            table.row([name.clone(), grouped(report.rows_copied), grouped(report.changes), position]);
        }
    }
    table.write(out, "")?;
    for outcome in outcomes {
        let Some(why) = &outcome.left_out else { continue };
        match &outcome.database {
            Some(name) => writeln!(out, "left out  {name}: {why}")?,
            None => writeln!(
                out,
                "left out  {} files that say of no database that they are its: {why}",
                outcome.files.len()
            )?,
        }
    }
    Ok(())
}

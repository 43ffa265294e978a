//! `logferry run`: one task in the foreground.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use logferry_config::{BackupSource, PerDatabase, Secret, Source, Task};
use logferry_model::{Class, Fault};
use logferry_mssql_backup::SoundSets;
use logferry_pg_apply::Target;
use logferry_pipeline::{Failure, Phase, Progress, Stop, Stopper, StreamEnd, Summary};
use tracing::{error, info, warn};

use crate::args::Run;
use crate::bars;
use crate::failure::Failed;
use crate::files::{Kind, kind_of};
use crate::instance;
use crate::open;
use crate::output::Out;
use crate::places::{self, TaskFiles};
use crate::server;
use crate::summary;

pub(crate) fn perform(args: Run, json: bool, out: &mut Out) -> Result<ExitCode, Failed> {
    let (once, path) = (args.once, args.task.clone());
    let task = match &args.task {
        Some(path) => Task { reload: args.reload, ..load(path, once)? },
        None => task_of(args)?,
    };
    if let Source::Backup(paths) = &task.source
        && paths.is_whole_instance()
    {
        return instance::perform(&task, paths, json, out);
    }
    let (task, summary) = match path {
        Some(path) => follow_file(&path, task, once)?,
        None => in_foreground(&task).map(|summary| (task, summary))?,
    };
    if json {
        out.json(&summary::Report::of(&task, &summary))?
    } else {
        summary::write(&summary, out)?
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a task's file.
fn load(path: &Path, once: bool) -> Result<Task, Failed> {
    let mut task = Task::load(path)?;
    if let Source::Backup(paths) = &mut task.source
        && once
    {
        paths.watch = None;
    }
    Ok(task)
}

/// Runs the task of a file, as [`in_foreground`] does. At SIGHUP the file is read again, and the task goes on with what it says then:
///
/// ```text
///  SIGHUP ── the file is right, and is of the same task ── the run ends at a commit ── a run with the new settings
///                    │ no: told, nothing changes                                            │ refused before it wrote: told
///                                                                                           └── a run with the old ones
/// ```
///
/// Gives the settings of the last run, and what it did.
fn follow_file(path: &Path, task: Task, once: bool) -> Result<(Task, Summary), Failed> {
    use tokio::signal::unix::{SignalKind, signal};
    // What is wrong with the URL is a mistake of the settings, and told before files are opened.
    Target::parse(task.target.url.expose()).map_err(|e| Failed::config(e.into()))?;
    runtime()?.block_on(async {
        let (stopper, mut end) = Stopper::new();
        let mut hang_up = signal(SignalKind::hangup()).map_err(Failed::from)?;
        let signals = tokio::spawn(stop_on_signals(stopper));
        let (mut task, mut before) = (task, None);
        let done = loop {
            let progress = Progress::new();
            let (stopper, stop) = Stopper::new();
            let shown = tokio::spawn(bars::show(Arc::clone(&progress)));
            let mut next = None;
            let done = {
                let mut running = std::pin::pin!(run(&task, &progress, &stop));
                loop {
                    tokio::select! {
                        done = &mut running => break done,
                        () = end.asked(), if !stop.is_asked() || next.is_some() => {
                            next = None;
                            stopper.stop();
                        }
                        Some(()) = hang_up.recv() => match read_again(path, once, &task) {
                            Ok(again) => {
                                info!("going on with {} at the end of the transaction or chunk", path.display());
                                next = Some(again);
                                stopper.stop();
                            }
                            Err(failed) => error!("the settings stay as they were: {}", failed.shown()),
                        },
                    }
                }
            };
            // It ends with the task.
            let _shown = shown.await;
            match (done, next, before.take()) {
                (Ok(summary), Some(next), _) if summary.end == StreamEnd::Stopped => {
                    before = Some(std::mem::replace(&mut task, next));
                }
                (Err(failure), None, Some(old)) if is_refused(&failure) => {
                    error!("{}", failed(failure).shown());
                    warn!("going on with the settings that were before");
                    task = old;
                }
                (done, ..) => break done.map_err(failed).map(|summary| (task, summary)),
            }
        };
        signals.abort();
        done
    })
}

/// Whether nothing was written, for a reason that does not go away by itself.
fn is_refused(failure: &Failure) -> bool {
    failure.phase == Phase::Checking && failure.fault.class == Class::Operator
}

/// The settings that a task goes on with.
fn read_again(path: &Path, once: bool, now: &Task) -> Result<Task, Failed> {
    let task = load(path, once)?;
    Target::parse(task.target.url.expose()).map_err(|e| Failed::config(e.into()))?;
    match now.is_elsewhere(&task) {
        None => Ok(task),
        Some(key) => Err(Failed::config(
            Fault::operator(format!("{key} is not that of the task that runs"))
                .with_hint("end the task and start it again: this cannot change while it runs"),
        )),
    }
}

/// Runs a task, shows its progress, and ends it in order when the process is asked to end.
pub(crate) fn in_foreground(task: &Task) -> Result<Summary, Failed> {
    // What is wrong with the URL is a mistake of the settings, and told before files are opened.
    Target::parse(task.target.url.expose()).map_err(|e| Failed::config(e.into()))?;
    let progress = Progress::new();
    let (stopper, stop) = Stopper::new();
    let runtime = runtime()?;
    runtime.block_on(async {
        let signals = tokio::spawn(stop_on_signals(stopper));
        let shown = tokio::spawn(bars::show(Arc::clone(&progress)));
        let done = run(task, &progress, &stop).await;
        signals.abort();
        // It ends with the task.
        let _shown = shown.await;
        done.map_err(failed)
    })
}

/// Runs a task with the source that its settings name.
pub(crate) async fn run(task: &Task, progress: &Arc<Progress>, stop: &Stop) -> Result<Summary, Failure> {
    match &task.source {
        Source::Backup(paths) => {
            let sound = SoundSets::default();
            // One store for all tries: what it knows of the way to the objects stays known.
            let files = TaskFiles::of(paths).map_err(|e| Failure { phase: Phase::Checking, fault: e.into() })?;
            let source = async || open::source(task, paths, &files, &sound);
            logferry_pipeline::run(task, source, progress, stop).await
        }
        Source::Server(at) => {
            logferry_pipeline::run(task, async || server::source(task, at).await, progress, stop).await
        }
    }
}

/// The threads of a run: at least two, so that the target is written to while pages are read.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failed> {
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get().max(2));
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|e| Failed::other(format!("could not start: {e}")))
}

/// A task without a file.
fn task_of(args: Run) -> Result<Task, Failed> {
    let url = args.to.unwrap_or_default();
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(Failed::argument(
            "--to is not the URL of a PostgreSQL database: expected postgres://user:password@host:port/database",
        ));
    }
    let mut source = sort_files(args.from, args.database, args.set)?;
    source.watch = args.watch.then(|| Duration::from_secs(u64::from(logferry_config::defaults::WATCH_SECONDS)));
    let name = match args.name {
        Some(name) => name,
        None if source.is_whole_instance() => "instance".to_owned(),
        None => open::database_name(&source).map_err(|e| Failed::check(e.into()))?,
    };
    let mut task = Task::of_parts(name, source, Secret::new(url));
    if args.own_databases {
        task.target.per_database = PerDatabase::Database;
    }
    task.retry.from_the_start = false;
    Ok(task)
}

/// Tells log files from the others.
pub(crate) fn sort_files(
    paths: Vec<PathBuf>,
    database: Option<String>,
    set: Option<u16>,
) -> Result<BackupSource, Failed> {
    let mut source = BackupSource { database, set, ..BackupSource::of_files(Vec::new()) };
    for path in paths {
        let is_log = is_log_file(&path).map_err(|e| Failed::check(e.into()))?;
        if is_log { source.log.push(path) } else { source.files.push(path) }
    }
    Ok(source)
}

fn is_log_file(path: &PathBuf) -> logferry_mssql_backup::Result<bool> {
    let places = places::of_arguments(std::slice::from_ref(path))?;
    let mut files = places.iter();
    Ok(match files.next() {
        Some(place) => !place.is_folder()? && kind_of(place)? == Kind::Log,
        None => false,
    })
}

/// What the exit code says: nothing was written, or it was.
pub(crate) fn failed(failure: Failure) -> Failed {
    match failure {
        Failure { phase: Phase::Checking, fault } if fault.class == Class::Operator => Failed::check(fault),
        Failure { fault, .. } => fault.into(),
    }
}

/// The first signal asks the task to stop, the second ends the process.
pub(crate) async fn stop_on_signals(stopper: Stopper) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::warn!("signals cannot be heard: ending the process will not wait for the end of a transaction");
        return std::future::pending().await;
    };
    for first in [true, false] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if first {
            tracing::warn!("stopping at the end of the transaction or chunk; once more to end at once");
            stopper.stop();
        }
    }
    // What 128 + SIGINT says to a shell.
    std::process::exit(130);
}

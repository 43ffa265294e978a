//! A task from its start to its end.

mod reload;
mod settings;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use logferry_config::{DdlPolicy, Task};
use logferry_model::{
    ChangeSource, Checkpoint, Class, Fault, SchemaChange, SnapshotPoint, SourceEvent, TableVersion, TargetBatch,
};
use logferry_pg_apply::{KnownTable, PgSink, Phase as TargetPhase, Target, TaskState, TaskTarget};
use tracing::{debug, info, warn};

use self::settings::awaited;
pub(crate) use self::settings::existing_tables;
use crate::batch::Limits;
use crate::convert::Converter;
use crate::copy::CopyWork;
use crate::plans::{Known, Plans};
use crate::progress::{Phase, Progress, ProgressView, add};
use crate::retry::Backoff;
use crate::stop::{Stop, Stopper};
use crate::stream::{StreamEnd, StreamSizes, stream};
use crate::throttle::Bounds;

/// What a run did.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Why it ended.
    pub end: StreamEnd,
    /// Whether the full copy was made, or ended, by this run.
    pub copied: bool,
    /// Its numbers at the end.
    pub progress: ProgressView,
    /// How long it took.
    pub elapsed: Duration,
    /// Values that could not be taken over as they are, one line a column.
    pub lossy_columns: Vec<String>,
}

/// Why a run failed, and how far it was.
#[derive(Debug)]
pub struct Failure {
    /// What it was doing; while [`Phase::Checking`] nothing was written.
    pub phase: Phase,
    /// What went wrong.
    pub fault: Fault,
}

/// Runs a task until its source ends or it is to stop. `open_source` opens and checks the source, and is called again after
/// a transient fault.
///
/// # Errors
/// What somebody must act upon, and transient faults that lasted longer than the task's settings allow.
pub async fn run<S>(
    task: &Task,
    open_source: impl AsyncFn() -> Result<S, Fault>,
    progress: &Arc<Progress>,
    stop: &Stop,
) -> Result<Summary, Failure>
where
    S: ChangeSource + 'static,
{
    let began = Instant::now();
    progress.enter(Phase::Checking);
    let done = Runner { task, progress, stop, has_asked: AtomicBool::new(false) }.run(open_source).await;
    let phase = progress.view().phase;
    progress.enter(Phase::Ended);
    let done = done.map_err(|fault| Failure { phase, fault })?;
    Ok(Summary {
        end: done.end,
        copied: done.copied,
        progress: progress.view(),
        elapsed: began.elapsed(),
        lossy_columns: done.lossy_columns,
    })
}

struct Runner<'a> {
    task: &'a Task,
    progress: &'a Arc<Progress>,
    stop: &'a Stop,
    /// Whether the target knows which tables this run is to read once more.
    has_asked: AtomicBool,
}

struct Done {
    end: StreamEnd,
    copied: bool,
    /// It goes on at once: tables are to be read once more.
    again: bool,
    lossy_columns: Vec<String>,
}

impl Done {
    fn with_nothing_to_do() -> Self {
        Done { end: StreamEnd::SourceEnded, copied: false, again: false, lossy_columns: Vec::new() }
    }
}

impl Runner<'_> {
    async fn run<S>(&self, open_source: impl AsyncFn() -> Result<S, Fault>) -> Result<Done, Fault>
    where
        S: ChangeSource + 'static,
    {
        // What is wrong with the source, or with the target's URL, is told at once; a connection is worth trying again.
        let mut source = Some(open_source().await?);
        let address = Target::parse(self.task.target.url.expose()).map_err(Fault::from)?;
        let address = address.given_up_after(Duration::from_secs(u64::from(self.task.target.answer_seconds)));
        let mut opened: Option<Arc<TaskTarget>> = None;
        let total = Duration::from_secs(60 * u64::from(self.task.retry.connection_minutes));
        let mut backoff = Backoff::new(total, u64::from(std::process::id()) << 32 | 0x9e37_79b9);
        loop {
            let before = self.progress.view();
            let attempt = async {
                let (target, state) = match &opened {
                    Some(target) => (target.clone(), target.state().await?),
                    None => {
                        let (target, state) = TaskTarget::open(&address, self.target_settings()?).await?;
                        self.check_settings(&state)?;
                        (opened.insert(Arc::new(target)).clone(), state)
                    }
                };
                let source = match source.take() {
                    Some(source) => source,
                    None => open_source().await?,
                };
                self.attempt(source, &target, &state).await
            };
            let fault = match attempt.await {
                Ok(done) if done.again => {
                    backoff.reset();
                    continue;
                }
                Ok(done) => return Ok(done),
                Err(fault) => fault,
            };
            if fault.class != Class::Transient || opened.is_none() && !self.task.retry.from_the_start {
                return Err(fault);
            }
            let after = self.progress.view();
            if (after.chunks_done, after.checkpoint) != (before.chunks_done, before.checkpoint) {
                backoff.reset();
            }
            let Some(wait) = backoff.wait() else { return Err(fault) };
            warn!(wait_ms = wait.as_millis() as u64, "{fault}; trying again");
            add(&self.progress.retries, 1);
            let mut stop = self.stop.clone();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.asked() => return Ok(Done { end: StreamEnd::Stopped, ..Done::with_nothing_to_do() }),
            }
        }
    }

    /// Goes on from what the target has.
    async fn attempt<S>(&self, mut source: S, target: &Arc<TaskTarget>, state: &TaskState) -> Result<Done, Fault>
    where
        S: ChangeSource + 'static,
    {
        let (mut changes, mut at_last, mut requests) = (Vec::new(), None, Vec::new());
        source.remember(target.fences().await?);
        let (plans, sink, at, copied) = match (state.phase, state.checkpoint) {
            (TargetPhase::Streaming, Some(_)) if !self.task.phases.incremental => {
                info!("the copy is complete, and changes are not among the phases");
                return Ok(Done::with_nothing_to_do());
            }
            (TargetPhase::Streaming, Some(checkpoint)) => {
                source.seek(checkpoint).await?;
                let tables = source.tables();
                let known_tables = target.known_tables().await?;
                requests = self.requests(target, &known_tables, &tables).await?;
                let mut reload = self.task.reload.clone();
                let asked = tables.iter().filter(|t| requests.iter().any(|request| request.table == t.id));
                reload.extend(asked.map(|table| table.name.to_string()));
                let known = Known {
                    tables: known_tables,
                    at: checkpoint,
                    before: self.before(state),
                    awaited: awaited(&state.settings_hash),
                    reload: &reload,
                    can_add: source.can_add(),
                };
                if known.tables.is_empty() && known.before != self.patterns() {
                    return Err(self.other_settings());
                }
                let Task { transform, tables: filter, ddl, .. } = self.task;
                must_be_gone(&mut source, &tables, &known.tables, *ddl).await?;
                let resumed = Plans::resume(&tables, known, transform, filter, *ddl)?;
                let plans = resumed.plans;
                changes = resumed.changes;
                let settings = self.settings_while(&resumed.awaited)?;
                if state.settings_hash != settings {
                    changes.push(SchemaChange::Settings(settings));
                }
                if !resumed.awaited.is_empty() {
                    at_last = Some(SchemaChange::Settings(self.copy_settings()?));
                }
                // What is read once more need not have all its changes.
                self.reload(&mut source, &plans, &resumed.new, &requests)?;
                if source.can_add() {
                    source.add(&resumed.new, &resumed.left_out)?;
                }
                let mut sink = target.sink().await?;
                sink.reloads(requests.clone());
                self.progress.reached(checkpoint);
                info!(applied = %checkpoint.applied.0, "going on after the target's checkpoint");
                (plans, sink, checkpoint, false)
            }
            _ if !self.task.reload.is_empty() => {
                return Err(Fault::operator("no table can be read once more before the copy is complete")
                    .with_hint("run the task without that until it follows changes"));
            }
            _ if !self.task.phases.full && self.task.phases.incremental => {
                let point = source.start(&self.task.start).await?;
                let plans = self.plans(&source)?;
                check_readable(&source, &plans)?;
                self.progress.enter(Phase::Schema);
                let sink = target.adopt_tables(&plans.targets(), &point).await?;
                self.progress.reached(point.checkpoint);
                info!(after = %point.checkpoint.applied.0, "nothing is copied: changes are applied from here on");
                (plans, sink, point.checkpoint, false)
            }
            _ if !self.task.phases.full => {
                source.snapshot().await?;
                let plans = self.plans(&source)?;
                check_readable(&source, &plans)?;
                self.progress.enter(Phase::Schema);
                target.make_tables(&plans.targets()).await?;
                info!("the tables are made; nothing else is among the phases");
                return Ok(Done::with_nothing_to_do());
            }
            _ => {
                source.recall(&state.memo);
                let point = source.snapshot().await?;
                let plans = self.plans(&source)?;
                check_readable(&source, &plans)?;
                let Some((back, sink)) = self.copy(source, target, &plans, &point).await? else {
                    return Ok(Done {
                        end: StreamEnd::Stopped,
                        lossy_columns: plans.lossy_columns(),
                        ..Done::with_nothing_to_do()
                    });
                };
                source = back;
                self.progress.reached(point.checkpoint);
                (plans, sink, point.checkpoint, true)
            }
        };
        if !self.task.phases.incremental && copied {
            info!("changes are not among the phases");
            return Ok(Done { copied, lossy_columns: plans.lossy_columns(), ..Done::with_nothing_to_do() });
        }
        self.progress.enter(Phase::Streaming);
        let converter = Converter::new(plans.clone(), self.limits(), Some(at)).with_changes(changes, at_last);
        let seen = requests.iter().map(|request| request.number).max().unwrap_or(0);
        let (end, again) = self.stream(source, sink, converter, target, seen).await?;
        Ok(Done { end, copied, again, lossy_columns: plans.lossy_columns() })
    }

    /// The full copy, up to the first checkpoint; `None` when the task is to stop before that.
    async fn copy<S>(
        &self,
        source: S,
        target: &Arc<TaskTarget>,
        plans: &Plans,
        point: &SnapshotPoint,
    ) -> Result<Option<(S, PgSink)>, Fault>
    where
        S: ChangeSource + 'static,
    {
        self.progress.enter(Phase::Schema);
        target.create_tables_of(&plans.targets(), point, &source.memo()).await?;
        self.progress.enter(Phase::Copying);
        self.progress.forget_chunks();
        let work = CopyWork::list(&source, plans, target, self.progress).await?;
        let tables = work.tables();
        let settings = &self.task.copy;
        let workers = usize::from(settings.workers);
        let bounds = Bounds {
            bytes: settings.max_mb_per_second.map(|mb| u64::from(mb) << 20),
            rows: settings.max_rows_per_second.map(u64::from),
        };
        let mut source = work.copy(source, target, workers, bounds, self.progress, self.stop).await?;
        if self.stop.is_asked() {
            return Ok(None);
        }
        self.progress.enter(Phase::Keys);
        source.remember(target.fences().await?);
        let whole_at = source.whole_at().await?.filter(|at| *at > point.checkpoint.applied.0);
        let fixups = fixups(&mut source, plans, point.checkpoint).await?;
        let sink = target.finish_copy_whole_at(&tables, &fixups, whole_at).await?;
        info!(rows = self.progress.view().rows_copied, at = %point.checkpoint.applied.0, "the copy is complete");
        Ok(Some((source, sink)))
    }

    /// Follows changes; also tells whether it has ended because somebody asks for tables to be read once more, behind a request of a number.
    async fn stream<S>(
        &self,
        source: S,
        mut sink: PgSink,
        converter: Converter,
        target: &TaskTarget,
        seen: i64,
    ) -> Result<(StreamEnd, bool), Fault>
    where
        S: ChangeSource + 'static,
    {
        let queue_bytes = mib(self.task.memory.queue_mb);
        // What was read is converted at once: more of it at a time would only be in memory twice.
        let confirm_after = Duration::from_secs(u64::from(self.task.apply.confirm_seconds));
        let sizes = StreamSizes { read_bytes: self.limits().bytes.min(READ_BYTES_MAX), queue_bytes, confirm_after };
        let (stopper, stop) = Stopper::new();
        let asked = AtomicBool::new(false);
        let mut outer = self.stop.clone();
        let watch = async {
            loop {
                tokio::select! {
                    () = outer.asked() => break,
                    () = tokio::time::sleep(confirm_after), if self.task.follows_server() => {}
                }
                match target.has_reload_requests(seen).await {
                    Ok(true) => {
                        asked.store(true, Ordering::Relaxed);
                        break;
                    }
                    Ok(false) => {}
                    // Whatever it is, the sink meets it, too.
                    Err(fault) => debug!("{fault}"),
                }
            }
            stopper.stop();
            std::future::pending::<Infallible>().await
        };
        let end = tokio::select! {
            end = stream(source, &mut sink, converter, sizes, self.progress, &stop) => end?,
            never = watch => match never {},
        };
        let again = end == StreamEnd::Stopped && asked.into_inner() && !self.stop.is_asked();
        Ok((end, again))
    }

    fn limits(&self) -> Limits {
        let apply = &self.task.apply;
        Limits {
            bytes: mib(apply.batch_mb),
            rows: apply.batch_rows as usize,
            linger: Duration::from_millis(u64::from(apply.linger_ms)),
        }
    }

    fn plans<S: ChangeSource>(&self, source: &S) -> Result<Plans, Fault> {
        Plans::compile(&source.tables(), &self.task.transform, &self.task.tables, self.task.ddl)
    }
}

/// Tables that the target has and the source does not list are gone, or the target would lose them for nothing.
async fn must_be_gone<S: ChangeSource>(
    source: &mut S,
    tables: &[Arc<TableVersion>],
    known: &[KnownTable],
    policy: DdlPolicy,
) -> Result<(), Fault> {
    let there = known.iter().filter_map(|known| match known {
        KnownTable::There(table) | KnownTable::Kept(table) => Some((table.source_id, table.source.clone())),
        KnownTable::LeftOut(_) => None,
    });
    let missing: Vec<_> = there.filter(|(id, _)| !tables.iter().any(|t| t.id == *id)).collect();
    if policy == DdlPolicy::Ignore || missing.is_empty() {
        return Ok(());
    }
    let faults = source.not_gone(&missing).await?;
    if faults.is_empty() {
        return Ok(());
    }
    let said: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
    let hints: Vec<&str> = faults.iter().filter_map(|fault| fault.hint.as_deref()).collect();
    Err(Fault::operator(said.join("\n")).with_hint(hints.join("\n")))
}

/// Opens each table, so that what cannot be read is told before anything is written, and all of it at once.
fn check_readable<S: ChangeSource>(source: &S, plans: &Plans) -> Result<(), Fault> {
    let mut wrong = Vec::new();
    for (index, table) in source.tables().iter().enumerate().filter(|(_, t)| plans.of(t).is_some()) {
        let opened = source.chunks(index).and_then(|chunks| match chunks.first() {
            Some(first) => source.open_chunk(first).map(drop),
            None => Ok(()),
        });
        match opened {
            Ok(()) => {}
            Err(fault) if fault.class == Class::Operator => wrong.push((table.name.to_string(), fault)),
            Err(fault) => return Err(fault),
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = wrong.iter().map(|(name, _)| name.as_str()).collect();
    let said: Vec<String> = wrong.iter().map(|(_, fault)| fault.to_string()).collect();
    Err(Fault::operator(said.join("\n"))
        .with_hint(format!("leave out what you do not need: tables.exclude: [{}]", names.join(", "))))
}

/// Changes that take the rows of transactions that were open at the snapshot out again, with the first checkpoint.
async fn fixups<S: ChangeSource>(source: &mut S, plans: &Plans, checkpoint: Checkpoint) -> Result<TargetBatch, Fault> {
    let events = source.fixups().await?;
    let mut batch = TargetBatch { checkpoint: Some(checkpoint), ..TargetBatch::default() };
    for event in &events.events {
        let SourceEvent::Change(change) = event else { continue };
        if let Some(plan) = plans.of(&change.table) {
            batch.changes.push(plan.convert_change(change, &events.rows, &mut batch.rows)?);
        }
    }
    Ok(batch)
}

/// Bytes of rows that are asked of the source at a time.
const READ_BYTES_MAX: usize = 1 << 20;

fn mib(n: u32) -> usize {
    (n as usize).saturating_mul(1 << 20)
}

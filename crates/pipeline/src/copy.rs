//! The full copy: chunks, several at a time, each in one transaction of the target with its mark.
//!
//! ```text
//!  worker: ChunkReader.fill ── TablePlan.copy_row ── pieces of whole tuples ── COPY ── commit + mark
//! ```
//!
//! A chunk whose mark is on the target is not copied again. A worker that fails lets the others end the chunk that they are
//! at, so that what was read is not thrown away.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use logferry_model::{ChangeSource, ChunkId, ChunkReader, Fault, Fill};
use logferry_pg_apply::{TableChunks, TaskTarget};
use logferry_transform::TablePlan;
use tokio::task::JoinSet;
use tracing::{debug, info};

use crate::plans::Plans;
use crate::progress::{Progress, add};
use crate::stop::Stop;
use crate::throttle::{Bounds, Throttle};

/// A piece is sent to the target when it has this size: few enough system calls, and small enough for several workers.
const PIECE_BYTES: usize = 256 << 10;

/// A table of the copy.
struct Table {
    plan: Arc<TablePlan>,
    chunks: u64,
}

/// What has to be copied.
pub(crate) struct CopyWork {
    tables: HashMap<usize, Table>,
    chunks: VecDeque<ChunkId>,
}

impl CopyWork {
    /// Lists the chunks of all tables of the task, largest table first, without those that are on the target.
    pub(crate) async fn list<S: ChangeSource>(
        source: &S,
        plans: &Plans,
        target: &TaskTarget,
        progress: &Progress,
    ) -> Result<CopyWork, Fault> {
        let done: HashSet<(String, String, u32)> =
            target.finished_chunks().await?.into_iter().map(|c| (c.schema, c.table, c.number)).collect();
        let mut tables = HashMap::new();
        let mut by_table: Vec<(u64, Vec<ChunkId>)> = Vec::new();
        for (index, version) in source.tables().iter().enumerate() {
            let Some(plan) = plans.of(version) else { continue };
            let chunks = source.chunks(index)?;
            tables.insert(index, Table { plan: Arc::clone(plan), chunks: chunks.len() as u64 });
            let bytes: u64 = chunks.iter().map(|c| c.bytes_estimate).sum();
            add(&progress.chunks, chunks.len() as u64);
            add(&progress.bytes_estimate, bytes);
            let shown = |c: &ChunkId| (plan.target().schema.clone(), plan.target().name.clone(), c.number);
            let (there, missing): (Vec<_>, Vec<_>) = chunks.into_iter().partition(|c| done.contains(&shown(c)));
            add(&progress.chunks_done, there.len() as u64);
            add(&progress.bytes_estimate_done, there.iter().map(|c| c.bytes_estimate).sum());
            by_table.push((bytes, missing));
        }
        add(&progress.tables, tables.len() as u64);
        // The largest first: a large table that begins last is waited for by workers that have nothing to do.
        by_table.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        Ok(CopyWork { tables, chunks: by_table.into_iter().flat_map(|(_, chunks)| chunks).collect() })
    }

    /// Tables and how many chunks each has.
    pub(crate) fn tables(&self) -> Vec<TableChunks> {
        let mut tables: Vec<_> = self.tables.values().map(|t| (Arc::clone(t.plan.target()), t.chunks)).collect();
        tables.sort_by(|(a, _), (b, _)| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
        tables
    }

    /// Copies the chunks. Ends early, without a fault, when the task is to stop. The source comes back in any case but a fault.
    pub(crate) async fn copy<S: ChangeSource + 'static>(
        self,
        source: S,
        target: &Arc<TaskTarget>,
        workers: usize,
        bounds: Bounds,
        progress: &Arc<Progress>,
        stop: &Stop,
    ) -> Result<S, Fault> {
        info!(tables = self.tables.len(), chunks = self.chunks.len(), "copying");
        let workers = workers.min(self.chunks.len());
        let shared = Arc::new(Shared {
            source,
            target: Arc::clone(target),
            tables: self.tables,
            queue: Mutex::new(self.chunks),
            failed: AtomicBool::new(false),
            throttle: Throttle::new(bounds),
            progress: Arc::clone(progress),
            stop: stop.clone(),
        });
        let mut set = JoinSet::new();
        for _ in 0..workers {
            set.spawn(work(Arc::clone(&shared)));
        }
        let mut first = Ok(());
        while let Some(ended) = set.join_next().await {
            let ended = ended.unwrap_or_else(|e| Err(Fault::bug(format!("a worker of the copy ended: {e}"))));
            if ended.is_err() {
                shared.failed.store(true, Ordering::Relaxed);
            }
            first = first.and(ended);
        }
        first?;
        let shared = Arc::into_inner(shared).ok_or_else(|| Fault::bug("a worker of the copy is still there"))?;
        Ok(shared.source)
    }
}

struct Shared<S> {
    source: S,
    target: Arc<TaskTarget>,
    tables: HashMap<usize, Table>,
    queue: Mutex<VecDeque<ChunkId>>,
    failed: AtomicBool,
    throttle: Throttle,
    progress: Arc<Progress>,
    stop: Stop,
}

async fn work<S: ChangeSource>(shared: Arc<Shared<S>>) -> Result<(), Fault> {
    while !shared.stop.is_asked() && !shared.failed.load(Ordering::Relaxed) {
        let next = shared.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(chunk) = next else { break };
        let Some(table) = shared.tables.get(&chunk.table) else { continue };
        copy_chunk(&shared, &table.plan, &chunk).await.inspect_err(|_| shared.failed.store(true, Ordering::Relaxed))?;
    }
    Ok(())
}

async fn copy_chunk<S: ChangeSource>(shared: &Shared<S>, plan: &TablePlan, chunk: &ChunkId) -> Result<(), Fault> {
    let mut reader = shared.source.open_chunk(chunk)?;
    let mut copy = shared.target.copy_chunk(plan.target(), chunk.number).await?;
    let (mut rows, mut paid) = (0u64, 0);
    let mut tuples = Vec::with_capacity(2 * PIECE_BYTES);
    loop {
        let mut visit = |cells: &[logferry_model::Cell<'_>]| {
            rows += 1;
            plan.copy_row(cells, &mut tuples).map_err(Fault::from)
        };
        let fill = reader.fill(&mut visit).await?;
        if tuples.len() >= PIECE_BYTES || (fill == Fill::End && !tuples.is_empty()) {
            let piece = std::mem::replace(&mut tuples, Vec::with_capacity(2 * PIECE_BYTES));
            let bytes = piece.len() as u64;
            add(&shared.progress.bytes_copied, bytes);
            // A large value is longer than a piece: what is on its way to the target is no second copy of it.
            let mut rest = Bytes::from(piece);
            while !rest.is_empty() {
                copy.send(rest.split_to(rest.len().min(2 * PIECE_BYTES))).await?;
            }
            shared.throttle.pay(bytes, rows - paid).await;
            paid = rows;
        }
        if fill == Fill::End {
            break;
        }
    }
    if let Some(lsn) = reader.fence() {
        copy.fence(lsn);
    }
    copy.finish(rows).await?;
    add(&shared.progress.rows_copied, rows);
    add(&shared.progress.chunks_done, 1);
    add(&shared.progress.bytes_estimate_done, chunk.bytes_estimate);
    debug!(table = %plan.source().name, chunk = chunk.number, rows, "copied");
    Ok(())
}

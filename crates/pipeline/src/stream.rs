//! Read, convert, apply: the loop that runs for as long as there are changes.
//!
//! ```text
//!  task "read":  source.next ── Converter ── orders ──┐  bounded by bytes
//!  this task:                                         └─> sink.apply ── progress
//! ```
//!
//! Reading and converting go on while the target works. What is between the two is bounded by bytes: the reader waits
//! until the target has taken enough. When the task is to stop, the reader ends at the end of a transaction, and what it
//! handed on until then is still applied; a transaction of which only a part was handed on is never committed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use logferry_model::{ChangeSink, ChangeSource, Fault, TargetBatch, TargetTable};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::convert::{Converter, Order};
use crate::progress::{Progress, add};
use crate::stop::Stop;

/// Why a stream came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// The source has no more and will have no more.
    SourceEnded,
    /// Somebody asked for it.
    Stopped,
}

/// Sizes of the hand-over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamSizes {
    /// Asked of the source at a time.
    pub read_bytes: usize,
    /// Between reader and target.
    pub queue_bytes: usize,
    /// How long after the last order the position is confirmed where the source answers that there is nothing.
    pub confirm_after: Duration,
}

/// Runs until the source ends, the task is to stop, or something fails. What was read before a failure of the source
/// is applied before it is reported.
pub(crate) async fn stream<S, K>(
    source: S,
    sink: &mut K,
    converter: Converter,
    sizes: StreamSizes,
    progress: &Progress,
    stop: &Stop,
) -> Result<StreamEnd, Fault>
where
    S: ChangeSource + 'static,
    K: ChangeSink,
{
    let (sender, mut receiver) = mpsc::channel(ORDERS_MAX);
    let room = Arc::new(Semaphore::new(units(sizes.queue_bytes)));
    let hand_over = HandOver { sender, room, units_max: units(sizes.queue_bytes) };
    let reader = tokio::spawn(read(source, converter, hand_over, sizes, stop.clone()));
    let mut defined = Defined::default();
    let applied = async {
        while let Some((order, _room)) = receiver.recv().await {
            match order {
                Order::Schema(changes) => sink.alter(&changes).await?,
                Order::Apply(batch) => apply(sink, &batch, &mut defined, progress).await?,
            }
        }
        Ok(())
    }
    .await;
    if applied.is_err() {
        // The reader may be waiting for room, or be in the middle of a read that nobody needs any more.
        reader.abort();
    }
    match reader.await {
        Ok(read) => applied.and(read),
        Err(e) if e.is_cancelled() => applied.and(Ok(StreamEnd::Stopped)),
        Err(e) => Err(Fault::bug(format!("the reading task ended: {e}"))),
    }
}

/// Orders in the queue, beside the bound by bytes: batches without rows weigh nothing.
const ORDERS_MAX: usize = 64;

/// The queue's bytes are counted in units of a KiB: a semaphore counts to 2^32 at the most.
fn units(bytes: usize) -> usize {
    bytes.div_ceil(1024).clamp(1, u32::MAX as usize)
}

struct HandOver {
    sender: mpsc::Sender<(Order, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    units_max: usize,
}

impl HandOver {
    /// Waits for room; `false` where the target has ended.
    async fn give(&self, order: Order) -> bool {
        let bytes = match &order {
            Order::Schema(_) => 0,
            Order::Apply(batch) => batch.rows.byte_len(),
        };
        // An order that is larger than the whole queue takes all of it.
        let wanted = units(bytes).min(self.units_max);
        let Ok(room) = Arc::clone(&self.room).acquire_many_owned(wanted as u32).await else { return false };
        self.sender.send((order, room)).await.is_ok()
    }

    /// Waits until the target has done all that it was given.
    async fn until_idle(&self) {
        // Only the end of the stream closes it.
        let _all = self.room.acquire_many(self.units_max as u32).await;
    }
}

async fn read<S: ChangeSource>(
    mut source: S,
    mut converter: Converter,
    hand_over: HandOver,
    sizes: StreamSizes,
    mut stop: Stop,
) -> Result<StreamEnd, Fault> {
    let mut orders = Vec::new();
    let mut pause = Pause::default();
    let mut confirmed = Instant::now();
    loop {
        if stop.is_asked() {
            if let Some(order) = converter.flush() {
                hand_over.give(order).await;
            }
            return Ok(StreamEnd::Stopped);
        }
        let mut next = std::pin::pin!(source.next(sizes.read_bytes));
        let read = loop {
            let due = converter.due();
            let is_wanted = converter.is_wanted();
            // The read goes on behind a batch that is due: it is never given up half way.
            tokio::select! {
                biased;
                read = &mut next => break read,
                () = sleep_until(due), if due.is_some() => {
                    if let Some(order) = converter.flush() && !hand_over.give(order).await {
                        return Ok(StreamEnd::Stopped);
                    }
                }
                () = hand_over.until_idle(), if is_wanted => {
                    if let Some(order) = converter.flush() && !hand_over.give(order).await {
                        return Ok(StreamEnd::Stopped);
                    }
                }
                () = stop.asked() => break Ok(Some(Default::default())),
            }
        };
        let ended = match read {
            Ok(Some(batch)) if batch.events.is_empty() => {
                // A source that answers is alive, and so the target is told from time to time. Who is to stop has not heard of it.
                let is_due = confirmed.elapsed() >= sizes.confirm_after && !stop.is_asked();
                if let Some(order) = converter.flush().or_else(|| converter.confirm().filter(|_| is_due)) {
                    confirmed = Instant::now();
                    if !hand_over.give(order).await {
                        return Ok(StreamEnd::Stopped);
                    }
                }
                pause.wait(&mut stop).await;
                None
            }
            Ok(Some(batch)) => {
                pause = Pause::default();
                let converted = converter.convert(&batch, Instant::now(), &mut orders);
                if converter.due().is_some_and(|due| due <= Instant::now()) {
                    orders.extend(converter.flush());
                }
                converted.err().map(Err)
            }
            Ok(None) => {
                orders.extend(converter.flush());
                Some(Ok(StreamEnd::SourceEnded))
            }
            Err(fault) => {
                orders.extend(converter.flush());
                Some(Err(fault))
            }
        };
        for order in orders.drain(..) {
            if !hand_over.give(order).await {
                return Ok(StreamEnd::Stopped);
            }
        }
        if let Some(ended) = ended {
            return ended;
        }
    }
}

/// How long a source that has nothing is left alone: at first so long,
const PAUSE_FIRST: Duration = Duration::from_millis(5);
/// and by and by so long, so that an idle source is asked ten times in a second, and a change waits no longer than that. A capture job works every
/// some seconds: to the change that waits for it, this comes on top.
const PAUSE_LONGEST: Duration = Duration::from_millis(100);

/// The next pause; each is by a quarter longer than the one before.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Pause(PAUSE_FIRST)
    }
}

impl Pause {
    async fn wait(&mut self, stop: &mut Stop) {
        tokio::select! {
            () = tokio::time::sleep(self.next()) => {}
            () = stop.asked() => {}
        }
    }

    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 5 / 4).min(PAUSE_LONGEST);
        pause
    }
}

async fn sleep_until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due.into()).await;
    }
}

/// Tables that the sink knows, by the address of their shape; holding the shape keeps its address its own.
type Defined = HashMap<usize, Arc<TargetTable>>;

async fn apply<K: ChangeSink>(
    sink: &mut K,
    batch: &TargetBatch,
    defined: &mut Defined,
    progress: &Progress,
) -> Result<(), Fault> {
    let mut last = None;
    for change in &batch.changes {
        let shape = Arc::as_ptr(&change.table).addr();
        if last != Some(shape) && !defined.contains_key(&shape) {
            sink.define(Arc::clone(&change.table)).await?;
            defined.insert(shape, Arc::clone(&change.table));
        }
        last = Some(shape);
    }
    sink.apply(batch).await?;
    add(&progress.changes, batch.changes.len() as u64);
    add(&progress.change_bytes, batch.rows.byte_len() as u64);
    add(&progress.transactions, batch.ends.len() as u64);
    if let Some(checkpoint) = batch.checkpoint {
        progress.reached(checkpoint);
    }
    Ok(())
}

#[cfg(test)]
mod tests;

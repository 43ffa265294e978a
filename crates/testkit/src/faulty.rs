//! Faults at the seam to the target, each at a chosen call.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use logferry_model::{ChangeSink, Checkpoint, Fault, SchemaChange, TargetBatch, TargetTable};
use tokio::sync::Notify;

/// What goes wrong at a call.
#[derive(Debug)]
pub enum SeamFault {
    /// Nothing: this call is left alone.
    None,
    /// The call fails and has done nothing.
    RejectBefore(Fault),
    /// The call does its work and the answer is lost.
    FailAfter(Fault),
    /// The call does its work and answers when the gate is opened.
    Hold(Gate),
    /// The call takes this much longer.
    Slow(Duration),
}

/// Lets calls through once it is opened.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<GateState>);

#[derive(Debug, Default)]
struct GateState {
    reached: Notify,
    opened: Notify,
}

impl Gate {
    /// Waits until a call stands at the gate.
    pub async fn reached(&self) {
        self.0.reached.notified().await;
    }

    /// Lets the call through.
    pub fn open(&self) {
        self.0.opened.notify_one();
    }

    async fn pass(&self) {
        self.0.reached.notify_one();
        self.0.opened.notified().await;
    }
}

/// Which faults meet the calls of `apply`, in order; calls past the last are left alone. It outlives the sinks it is put
/// around, so that a fault is met once, however often the sink is opened.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan(Arc<Mutex<VecDeque<SeamFault>>>);

impl FaultPlan {
    /// The faults, in the order of the calls.
    pub fn new(faults: impl IntoIterator<Item = SeamFault>) -> Self {
        FaultPlan(Arc::new(Mutex::new(faults.into_iter().collect())))
    }

    /// Puts the plan around a sink.
    pub fn around<S: ChangeSink>(&self, inner: S) -> FaultySink<S> {
        FaultySink { inner, plan: self.clone() }
    }

    /// Faults that were not met yet.
    pub fn left(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn next(&self) -> SeamFault {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or(SeamFault::None)
    }
}

/// A sink whose `apply` meets the faults of a [`FaultPlan`].
#[derive(Debug)]
pub struct FaultySink<S> {
    inner: S,
    plan: FaultPlan,
}

impl<S: ChangeSink + Sync> ChangeSink for FaultySink<S> {
    async fn resume_point(&mut self) -> Result<Option<Checkpoint>, Fault> {
        self.inner.resume_point().await
    }

    async fn alter(&mut self, changes: &[SchemaChange]) -> Result<(), Fault> {
        self.inner.alter(changes).await
    }

    async fn define(&mut self, table: Arc<TargetTable>) -> Result<(), Fault> {
        self.inner.define(table).await
    }

    async fn apply(&mut self, batch: &TargetBatch) -> Result<(), Fault> {
        match self.plan.next() {
            SeamFault::None => self.inner.apply(batch).await,
            SeamFault::RejectBefore(fault) => Err(fault),
            SeamFault::FailAfter(fault) => {
                self.inner.apply(batch).await?;
                Err(fault)
            }
            SeamFault::Hold(gate) => {
                let answer = self.inner.apply(batch).await;
                gate.pass().await;
                answer
            }
            SeamFault::Slow(time) => {
                tokio::time::sleep(time).await;
                self.inner.apply(batch).await
            }
        }
    }
}

//! Turns what the source says into what the target is to do.

use std::sync::Arc;
use std::time::Instant;

use logferry_model::{
    Change, Checkpoint, EventBatch, Fault, Lsn, RowStore, SchemaChange, SourceEvent, TableVersion, TargetBatch,
};

use crate::batch::{Batcher, Limits};
use crate::plans::{Moment, Plans};

/// What the target is to do next.
#[derive(Debug)]
pub(crate) enum Order {
    /// Change tables, in the transaction of the next changes.
    Schema(Vec<SchemaChange>),
    /// Write changes.
    Apply(TargetBatch),
}

/// Converts the stream of a source into orders for the target.
#[derive(Debug)]
pub(crate) struct Converter {
    plans: Plans,
    batcher: Batcher,
    last: Option<Checkpoint>,
    /// What is to be done to tables in front of all changes.
    first: Vec<SchemaChange>,
    /// What is to be done with the last of the tables that are awaited.
    at_last: Option<SchemaChange>,
    /// Tables that change, of which more may come.
    moment: Moment,
    /// Tables were changed, and not committed yet.
    altered: bool,
}

impl Converter {
    pub(crate) fn new(plans: Plans, limits: Limits, last: Option<Checkpoint>) -> Self {
        let (batcher, moment) = (Batcher::new(limits), Moment::default());
        Converter { plans, batcher, last, first: Vec::new(), at_last: None, moment, altered: false }
    }

    /// The same, with changes of tables in front of all others, and with one when no table is awaited any more.
    pub(crate) fn with_changes(self, first: Vec<SchemaChange>, at_last: Option<SchemaChange>) -> Self {
        Converter { first, at_last, ..self }
    }

    /// Converts events. Orders are complete even where an error follows them: what came before it is to be done.
    ///
    /// # Errors
    /// A row that the target cannot hold, a table that changed its shape.
    pub(crate) fn convert(&mut self, batch: &EventBatch, now: Instant, orders: &mut Vec<Order>) -> Result<(), Fault> {
        if !self.first.is_empty() {
            self.altered = true;
            orders.push(Order::Schema(std::mem::take(&mut self.first)));
        }
        let mut done = batch.events.iter().try_for_each(|event| self.event(&batch.rows, event, now, orders));
        if done.is_ok() {
            done = self.settle(orders);
        }
        if done.is_err() {
            orders.extend(self.flush());
        }
        done
    }

    /// When the batch in the making must be flushed.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.batcher.due()
    }

    /// Whether an idle target should have the batch in the making at once.
    pub(crate) fn is_wanted(&self) -> bool {
        self.batcher.is_wanted()
    }

    /// The batch in the making, if it ends with a transaction.
    pub(crate) fn flush(&mut self) -> Option<Order> {
        self.batcher.flush().map(Order::Apply)
    }

    /// The last position once more, where everything up to it was handed on and nothing behind it was begun.
    pub(crate) fn confirm(&self) -> Option<Order> {
        let checkpoint = self.last.filter(|_| !self.altered && self.batcher.is_at_rest());
        checkpoint.map(|_| Order::Apply(TargetBatch { checkpoint, ..TargetBatch::default() }))
    }

    fn event(
        &mut self,
        rows: &RowStore,
        event: &SourceEvent,
        now: Instant,
        orders: &mut Vec<Order>,
    ) -> Result<(), Fault> {
        match event {
            SourceEvent::Table(table) => {
                self.moment.changed.push(Arc::clone(table));
                return Ok(());
            }
            SourceEvent::Dropped(table) => {
                self.moment.dropped.push(Arc::clone(table));
                return Ok(());
            }
            SourceEvent::Unseen { table, why, mend } => {
                if self.plans.loses(table) {
                    return Err(Fault::operator(why.as_str()).with_hint(mend.as_str()));
                }
                self.moment.dropped.push(Arc::clone(table));
                return Ok(());
            }
            _ => self.settle(orders)?,
        }
        match event {
            SourceEvent::Table(_) | SourceEvent::Dropped(_) | SourceEvent::Unseen { .. } => {}
            SourceEvent::Begin(_) => self.batcher.begin(),
            SourceEvent::Change(change) => orders.extend(self.change(rows, change)?),
            SourceEvent::Fenced(fence) => self.batcher.fence(*fence),
            SourceEvent::Commit(checkpoint) => {
                self.last = Some(*checkpoint);
                orders.extend(self.batcher.commit(*checkpoint, now).map(Order::Apply));
            }
            SourceEvent::Progress(checkpoint) => {
                self.last = Some(*checkpoint);
                self.batcher.progress(*checkpoint, now);
            }
            SourceEvent::Unreadable { table, lsn, why } => {
                if self.plans.wants(table) {
                    return Err(unreadable(table, *lsn, why));
                }
            }
        }
        if self.altered && matches!(event, SourceEvent::Commit(_) | SourceEvent::Progress(_)) {
            // Changed tables are locked on the target until then.
            self.altered = false;
            orders.extend(self.flush());
        }
        Ok(())
    }

    /// Changes the tables of a moment.
    fn settle(&mut self, orders: &mut Vec<Order>) -> Result<(), Fault> {
        if self.moment.changed.is_empty() && self.moment.dropped.is_empty() {
            return Ok(());
        }
        let mut changes = self.plans.learn(std::mem::take(&mut self.moment), self.last)?;
        if !self.plans.awaits() {
            changes.extend(self.at_last.take());
        }
        if !changes.is_empty() {
            orders.extend(self.batcher.cut().map(Order::Apply));
            orders.push(Order::Schema(changes));
            self.altered = true;
        }
        Ok(())
    }

    fn change(&mut self, rows: &RowStore, change: &Change) -> Result<Option<Order>, Fault> {
        let planned = match self.plans.get(change.table.id) {
            Some(planned) if Arc::ptr_eq(&planned.version, &change.table) => planned,
            Some(planned) if planned.version == change.table => planned,
            _ => {
                return Err(Fault::bug(format!(
                    "a change at {} is of a version of table \"{}\" that was not announced",
                    change.lsn, change.table.name
                )));
            }
        };
        let Some(plan) = &planned.plan else { return Ok(None) };
        let part = self.batcher.make_room();
        let change = plan.convert_change(change, rows, self.batcher.rows()).map_err(|e| {
            let fault = Fault::from(e);
            Fault { message: format!("{} (change at {})", fault.message, change.lsn), ..fault }
        })?;
        self.batcher.change(change);
        Ok(part.map(Order::Apply))
    }
}

fn unreadable(table: &TableVersion, lsn: Lsn, why: &str) -> Fault {
    Fault::operator(format!("the change of table \"{}\" at {lsn} cannot be read: {why}", table.name)).with_hint(
        format!(
            "changes before it are applied; leave the table out with tables.exclude: [\"{}\"], or copy anew under another task name \
             from a backup that was made after it",
            table.name
        ),
    )
}

//! Turns what the source says into what the target is to do.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use logferry_config::TableFilter;
use logferry_model::{
    Change, Checkpoint, EventBatch, Fault, Lsn, RowStore, SourceEvent, TableId, TableVersion, TargetBatch, TargetTable,
};
use logferry_transform::{PlanProblem, Settings, TablePlan};
use tracing::{info, warn};

use crate::batch::{Batcher, Limits};

/// What the target is to do next.
#[derive(Debug)]
pub(crate) enum Order {
    /// Make a table that appeared on the source.
    Create(Arc<TargetTable>),
    /// Write changes.
    Apply(TargetBatch),
}

/// The tables of a task and how each is converted.
#[derive(Clone, Debug)]
pub(crate) struct Plans {
    settings: Settings,
    filter: TableFilter,
    by_id: HashMap<TableId, Planned>,
}

/// A table of the source; no plan: it does not belong to the task.
#[derive(Clone, Debug)]
struct Planned {
    version: Arc<TableVersion>,
    plan: Option<Arc<TablePlan>>,
}

impl Plans {
    /// Plans all tables of the source that belong to the task.
    ///
    /// # Errors
    /// All that keeps tables from being planned, in one fault.
    pub(crate) fn compile(
        tables: &[Arc<TableVersion>],
        settings: &Settings,
        filter: &TableFilter,
    ) -> Result<Plans, Fault> {
        let names: Vec<_> = tables.iter().map(|t| &t.name).collect();
        let idle: Vec<_> = filter.idle_patterns(&names).iter().map(|p| format!("\"{}\"", p.as_str())).collect();
        if !idle.is_empty() {
            let known: Vec<_> = names.iter().take(20).map(ToString::to_string).collect();
            return Err(Fault::operator(format!("no table of the source is called {}", idle.join(" or ")))
                .with_hint(format!("mend tables.include and tables.exclude; the source has: {}", known.join(", "))));
        }
        let taken: Vec<_> = tables.iter().filter(|t| filter.takes(&t.name)).cloned().collect();
        let plans = TablePlan::compile_all(&taken, settings).map_err(problems)?;
        for plan in &plans {
            for note in plan.notes() {
                info!(table = %plan.source().name, "{note}");
            }
        }
        let mut by_id: HashMap<TableId, Planned> = tables
            .iter()
            .filter(|t| !filter.takes(&t.name))
            .map(|t| (t.id, Planned { version: Arc::clone(t), plan: None }))
            .collect();
        for plan in plans {
            let version = Arc::clone(plan.source());
            by_id.insert(version.id, Planned { version, plan: Some(Arc::new(plan)) });
        }
        Ok(Plans { settings: settings.clone(), filter: filter.clone(), by_id })
    }

    /// The plan of a table, if it belongs to the task.
    pub(crate) fn of(&self, table: &TableVersion) -> Option<&Arc<TablePlan>> {
        self.by_id.get(&table.id).and_then(|p| p.plan.as_ref())
    }

    /// Tables on the target.
    pub(crate) fn targets(&self) -> Vec<Arc<TargetTable>> {
        let mut targets: Vec<_> =
            self.by_id.values().filter_map(|p| p.plan.as_ref()).map(|p| Arc::clone(p.target())).collect();
        targets.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
        targets
    }

    /// Values that could not be taken over as they are, one line a column.
    pub(crate) fn lossy_columns(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for plan in self.by_id.values().filter_map(|p| p.plan.as_ref()) {
            for c in plan.counts() {
                let of = format!("{}.{}", plan.source().name, c.column);
                let mut say = |n: u64, what: &str| {
                    if n > 0 {
                        lines.push(format!("{of}: {n} {what}"));
                    }
                };
                say(c.replaced_texts, "texts with something that is no text, replaced by U+FFFD");
                say(c.nul_texts, "texts with NUL characters");
                say(c.rounded_times, "times that lost their seventh digit");
            }
        }
        lines.sort();
        lines
    }

    /// A table appeared, or a known one has another version. Gives the table to create, if it is a new one.
    fn learn(
        &mut self,
        table: &Arc<TableVersion>,
        after: Option<Checkpoint>,
    ) -> Result<Option<Arc<TargetTable>>, Fault> {
        if !self.filter.takes(&table.name) {
            self.by_id.insert(table.id, Planned { version: Arc::clone(table), plan: None });
            return Ok(None);
        }
        let new = TablePlan::compile(table, &self.settings).map_err(problems)?;
        let known = self.by_id.get(&table.id).and_then(|p| p.plan.as_ref());
        let create = match known {
            None => {
                if let Some(other) = self.targets().iter().find(|t| is_called(t, new.target())) {
                    return Err(Fault::operator(format!(
                        "table \"{}\" appeared on the source, and its name on the target is that of \"{}\"",
                        table.name, other.source
                    ))
                    .with_hint(format!("give it another name under names.tables.{}", table.name)));
                }
                Some(Arc::clone(new.target()))
            }
            Some(known) => {
                let differences = differences(known.target(), new.target());
                if !differences.is_empty() {
                    let place = after.map(|c| format!(" after {}", c.applied.0)).unwrap_or_default();
                    return Err(Fault::operator(format!(
                        "table \"{}\" changed its shape{place}: {}",
                        table.name,
                        differences.join(", ")
                    ))
                    .with_hint(
                        "changes up to there are applied; schema changes are not, in this version: copy anew under another \
                         task name with on_existing: recreate, from a backup made after the change",
                    ));
                }
                None
            }
        };
        self.by_id.insert(table.id, Planned { version: Arc::clone(table), plan: Some(Arc::new(new)) });
        Ok(create)
    }
}

/// Converts the stream of a source into orders for the target.
#[derive(Debug)]
pub(crate) struct Converter {
    plans: Plans,
    batcher: Batcher,
    last: Option<Checkpoint>,
}

impl Converter {
    pub(crate) fn new(plans: Plans, limits: Limits, last: Option<Checkpoint>) -> Self {
        Converter { plans, batcher: Batcher::new(limits), last }
    }

    /// Converts events. Orders are complete even where an error follows them: what came before it is to be done.
    ///
    /// # Errors
    /// A row that the target cannot hold, a table that changed its shape.
    pub(crate) fn convert(&mut self, batch: &EventBatch, now: Instant, orders: &mut Vec<Order>) -> Result<(), Fault> {
        for event in &batch.events {
            if let Err(fault) = self.event(&batch.rows, event, now, orders) {
                orders.extend(self.flush());
                return Err(fault);
            }
        }
        Ok(())
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

    fn event(
        &mut self,
        rows: &RowStore,
        event: &SourceEvent,
        now: Instant,
        orders: &mut Vec<Order>,
    ) -> Result<(), Fault> {
        match event {
            SourceEvent::Begin(_) => self.batcher.begin(),
            SourceEvent::Change(change) => orders.extend(self.change(rows, change)?),
            SourceEvent::Commit(checkpoint) => {
                self.last = Some(*checkpoint);
                orders.extend(self.batcher.commit(*checkpoint, now).map(Order::Apply));
            }
            SourceEvent::Progress(checkpoint) => {
                self.last = Some(*checkpoint);
                self.batcher.progress(*checkpoint, now);
            }
            SourceEvent::Table(table) => {
                if let Some(create) = self.plans.learn(table, self.last)? {
                    info!(table = %table.name, "a table appeared on the source");
                    orders.extend(self.flush());
                    orders.push(Order::Create(create));
                }
            }
            SourceEvent::Unreadable { table, lsn, why } => {
                if self.plans.filter.takes(&table.name) {
                    return Err(unreadable(table, *lsn, why));
                }
            }
            SourceEvent::Dropped(table) => {
                if self.plans.of(table).is_some() {
                    warn!(table = %table.name, "the table was dropped on the source; it stays as it is on the target");
                }
                self.plans.by_id.remove(&table.id);
            }
        }
        Ok(())
    }

    fn change(&mut self, rows: &RowStore, change: &Change) -> Result<Option<Order>, Fault> {
        let planned = match self.plans.by_id.get(&change.table.id) {
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
        format!("changes before it are applied; leave the table out with tables.exclude: [\"{}\"]", table.name),
    )
}

fn is_called(a: &TargetTable, b: &TargetTable) -> bool {
    (&a.schema, &a.name) == (&b.schema, &b.name)
}

/// What a row of the new shape would do on a table of the old one.
fn differences(old: &TargetTable, new: &TargetTable) -> Vec<String> {
    let mut found = Vec::new();
    if !is_called(old, new) {
        found.push(format!("it would be called {}.{}", new.schema, new.name));
    }
    for column in &new.columns {
        match old.columns.iter().find(|c| c.name == column.name) {
            None => found.push(format!("column \"{}\" is new", column.name)),
            Some(was) if was.pg_type != column.pg_type => {
                found.push(format!("column \"{}\" has another type", column.name));
            }
            Some(was) if !was.nullable && column.nullable => {
                found.push(format!("column \"{}\" may be NULL now", column.name));
            }
            Some(_) => {}
        }
    }
    for column in &old.columns {
        if !new.columns.iter().any(|c| c.name == column.name) {
            found.push(format!("column \"{}\" is gone", column.name));
        }
    }
    let names = |t: &TargetTable| t.columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
    if found.is_empty() && names(old) != names(new) {
        found.push("its columns are in another order".to_owned());
    }
    if found.is_empty() && old.key != new.key {
        found.push("it has another key".to_owned());
    }
    found
}

/// All problems of all tables in one fault.
fn problems(problems: Vec<PlanProblem>) -> Fault {
    let hints: Vec<&str> = problems.iter().map(|p| p.hint.as_str()).collect();
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Fault::operator(said.join("\n")).with_hint(hints.join("\n"))
}

//! The tables of a task: what each is on the target, how its rows are converted, and what a change of the source makes of it.
//!
//! ```text
//!  tables of the source ──┐
//!                         ├─ compare ── plans, and the changes that the target's tables need
//!  what the target has ───┘
//! ```
//!
//! What the target has is known from the target itself, where a run goes on. What was once left as it was (`ddl: ignore`) stays
//! so: rows that came meanwhile lack what was ignored, and no later change of the schema brings it back.

mod resume;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use logferry_config::{DdlPolicy, TableFilter};
use logferry_model::{
    Checkpoint, Fault, Reshaped, SchemaChange, SourceColumn, TableId, TableVersion, TargetColumn, TargetTable,
};
use logferry_pg_apply::type_name;
use logferry_transform::{PlanProblem, Settings, TablePlan};
use tracing::{info, warn};

pub(crate) use resume::Known;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Plans {
    settings: Settings,
    filter: TableFilter,
    policy: DdlPolicy,
    by_id: HashMap<TableId, Planned>,
    on_target: HashMap<TableId, OnTarget>,
    /// Tables that the settings have added to the task, whatever becomes of other new ones.
    added: HashSet<TableId>,
}

/// A table of the source; no plan: its rows are not needed.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub version: Arc<TableVersion>,
    pub plan: Option<Arc<TablePlan>>,
}

/// What the target has of a table.
#[derive(Clone, Debug)]
enum OnTarget {
    /// It, in the source's shape.
    Follows(Arc<TargetTable>),
    /// It, in a shape that stays.
    Kept(Arc<TargetTable>),
    /// Nothing, for good.
    LeftOut,
}

impl OnTarget {
    fn table(&self) -> Option<&Arc<TargetTable>> {
        match self {
            OnTarget::Follows(table) | OnTarget::Kept(table) => Some(table),
            OnTarget::LeftOut => None,
        }
    }
}

/// What became of tables at one moment.
#[derive(Debug, Default)]
pub(crate) struct Moment {
    /// Tables that are gone.
    pub dropped: Vec<Arc<TableVersion>>,
    /// Tables that are new or have another shape.
    pub changed: Vec<Arc<TableVersion>>,
}

impl Plans {
    /// Plans all tables of the source that belong to the task, for a target that has none of them.
    ///
    /// # Errors
    /// All that keeps tables from being planned, in one fault.
    pub(crate) fn compile(
        tables: &[Arc<TableVersion>],
        settings: &Settings,
        filter: &TableFilter,
        policy: DdlPolicy,
    ) -> Result<Plans, Fault> {
        if let Some(idle) = idle_patterns(tables, filter) {
            let known: Vec<_> = tables.iter().map(|t| t.name.to_string()).take(20).collect();
            return Err(Fault::operator(format!("no table of the source is called {idle}"))
                .with_hint(format!("mend tables.include and tables.exclude; the source has: {}", known.join(", "))));
        }
        must_be_there(tables, filter)?;
        let taken: Vec<_> = tables.iter().filter(|t| filter.takes(&t.name)).cloned().collect();
        let compiled = TablePlan::compile_all(&taken, settings).map_err(problems)?;
        for plan in &compiled {
            tell_notes(plan);
        }
        let mut plans = Plans::empty(settings, filter, policy);
        for table in tables.iter().filter(|t| !filter.takes(&t.name)) {
            plans.by_id.insert(table.id, Planned { version: Arc::clone(table), plan: None });
        }
        for plan in compiled {
            let condition = filter.condition(&plan.source().name);
            let plan = plan.with_condition(condition);
            plans.on_target.insert(plan.source().id, OnTarget::Follows(Arc::clone(plan.target())));
            plans.plan(plan);
        }
        Ok(plans)
    }

    fn empty(settings: &Settings, filter: &TableFilter, policy: DdlPolicy) -> Plans {
        Plans {
            settings: settings.clone(),
            filter: filter.clone(),
            policy,
            by_id: HashMap::new(),
            on_target: HashMap::new(),
            added: HashSet::new(),
        }
    }

    fn plan(&mut self, plan: TablePlan) {
        let version = Arc::clone(plan.source());
        self.by_id.insert(version.id, Planned { version, plan: Some(Arc::new(plan)) });
    }

    /// What is known of a table of the source.
    pub(crate) fn get(&self, table: TableId) -> Option<&Planned> {
        self.by_id.get(&table)
    }

    /// The plan of a table, if it belongs to the task.
    pub(crate) fn of(&self, table: &TableVersion) -> Option<&Arc<TablePlan>> {
        self.by_id.get(&table.id).and_then(|p| p.plan.as_ref())
    }

    /// Whether the target should have the rows of a table.
    pub(crate) fn wants(&self, table: &TableVersion) -> bool {
        match (self.by_id.get(&table.id), self.on_target.get(&table.id)) {
            (Some(planned), _) => planned.plan.is_some(),
            (None, Some(on_target)) => on_target.table().is_some(),
            (None, None) => self.filter.takes(&table.name),
        }
    }

    /// Whether the target would lose a table that it has, if the source had it no more.
    pub(crate) fn loses(&self, table: &TableVersion) -> bool {
        self.policy != DdlPolicy::Ignore && self.wants(table)
    }

    /// Whether tables that the settings have added are not told yet.
    pub(crate) fn awaits(&self) -> bool {
        !self.added.is_empty()
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

    /// Tables came, went or changed: gives what has to be done on the target.
    ///
    /// # Errors
    /// What the policy does not allow, and what cannot be done: names the table, and the position that was reached.
    pub(crate) fn learn(&mut self, moment: Moment, after: Option<Checkpoint>) -> Result<Vec<SchemaChange>, Fault> {
        let mut changes = Vec::new();
        for table in &moment.dropped {
            self.by_id.remove(&table.id);
            self.added.remove(&table.id);
            changes.extend(self.drop_table(table.id, &table.name.to_string(), after)?);
        }
        for table in &moment.changed {
            changes.extend(self.change_table(table, after)?);
        }
        if !changes.is_empty() {
            self.check_names()?;
        }
        Ok(changes)
    }

    fn drop_table(
        &mut self,
        id: TableId,
        name: &str,
        after: Option<Checkpoint>,
    ) -> Result<Option<SchemaChange>, Fault> {
        let Some(table) = self.on_target.get(&id).and_then(OnTarget::table).cloned() else { return Ok(None) };
        match self.policy {
            DdlPolicy::Apply => {
                self.on_target.remove(&id);
                Ok(Some(SchemaChange::Drop(table)))
            }
            DdlPolicy::Stop => Err(stopped(format!("table \"{name}\" was dropped on the source{}", place(after)))),
            DdlPolicy::Ignore => {
                warn!(
                    table = name,
                    "the table was dropped on the source, or is not seen any more; it stays as it is on the target"
                );
                // Were it seen again one day, the changes in between would be missing.
                self.on_target.insert(id, OnTarget::LeftOut);
                Ok(Some(SchemaChange::LeaveOut(id)))
            }
        }
    }

    fn change_table(
        &mut self,
        table: &Arc<TableVersion>,
        after: Option<Checkpoint>,
    ) -> Result<Option<SchemaChange>, Fault> {
        let takes = self.filter.takes(&table.name);
        let before = self.by_id.remove(&table.id);
        let is_added = self.added.remove(&table.id);
        let (change, plan) = match (self.on_target.get(&table.id).cloned(), takes) {
            (Some(OnTarget::LeftOut), _) | (None, false) => (None, None),
            (None, true) => {
                let came_by_name = before.as_ref().map(|b| b.version.name.to_string());
                self.new_table(table, came_by_name, is_added, after)?
            }
            (Some(OnTarget::Follows(old) | OnTarget::Kept(old)), false) => {
                let what = format!(
                    "table \"{}\" is called \"{}\" now{}, which tables.include and tables.exclude leave out",
                    old.source,
                    table.name,
                    place(after)
                );
                if self.policy == DdlPolicy::Stop {
                    return Err(stopped(what));
                }
                warn!("{what}: its changes are not applied any more");
                self.on_target.insert(table.id, OnTarget::LeftOut);
                (Some(SchemaChange::LeaveOut(table.id)), None)
            }
            (Some(OnTarget::Kept(old)), true) => {
                let plan = self.compiled(table)?;
                (None, Some(plan.onto(&old).map_err(|p| problems(vec![p]))?))
            }
            (Some(OnTarget::Follows(old)), true) => {
                let (change, plan) = self.reshape(table, &old, before.map(|b| b.version), after)?;
                (change, Some(plan))
            }
        };
        self.by_id.insert(table.id, Planned { version: Arc::clone(table), plan: plan.map(Arc::new) });
        Ok(change)
    }

    fn new_table(
        &mut self,
        table: &Arc<TableVersion>,
        was_called: Option<String>,
        is_added: bool,
        after: Option<Checkpoint>,
    ) -> Result<(Option<SchemaChange>, Option<TablePlan>), Fault> {
        let name = &table.name;
        let policy = if is_added { DdlPolicy::Apply } else { self.policy };
        match (policy, was_called) {
            (DdlPolicy::Ignore, _) => {
                warn!(table = %name, "the table is new on the source, and left out: ddl is ignore");
                self.on_target.insert(table.id, OnTarget::LeftOut);
                Ok((Some(SchemaChange::LeaveOut(table.id)), None))
            }
            (DdlPolicy::Apply | DdlPolicy::Stop, Some(was)) => Err(Fault::operator(format!(
                "table \"{was}\" is called \"{name}\" now{}, which belongs to the task, and its rows were not copied",
                place(after)
            ))
            .with_hint(format!(
                "leave it out with ddl: ignore, or copy anew under another task name, or rename it back from \"{name}\""
            ))),
            (DdlPolicy::Stop, None) => Err(stopped(format!("table \"{name}\" appeared on the source{}", place(after)))),
            (DdlPolicy::Apply, None) => {
                let plan = self.compiled(table)?;
                tell_notes(&plan);
                info!(table = %name, "the table is new");
                let target = Arc::clone(plan.target());
                self.on_target.insert(table.id, OnTarget::Follows(Arc::clone(&target)));
                Ok((Some(SchemaChange::Create(target)), Some(plan)))
            }
        }
    }

    fn reshape(
        &mut self,
        table: &Arc<TableVersion>,
        old: &Arc<TargetTable>,
        before: Option<Arc<TableVersion>>,
        after: Option<Checkpoint>,
    ) -> Result<(Option<SchemaChange>, TablePlan), Fault> {
        let plan = self.compiled(table)?;
        let new = Arc::clone(plan.target());
        let mut filled = Vec::new();
        let had = |id| old.columns.iter().any(|c| c.source_id == id);
        for (at, column) in new.columns.iter().enumerate() {
            let Some(source) = plan.feeding(at) else { continue };
            if before.as_deref().is_some_and(|before| is_replaced(before, source)) || !had(source.id) {
                filled.push((at, plan.missing(at)?));
            } else if !had(column.source_id) {
                // Beside a column whose type had none: the digits and the zone of its values are 0.
                filled.push((at, Some(0_i16.to_be_bytes().to_vec())));
            }
        }
        let differences = differences(old, &new);
        if differences.is_empty() && filled.is_empty() {
            return Ok((None, plan.onto(old).map_err(|p| problems(vec![p]))?));
        }
        match self.policy {
            DdlPolicy::Apply => {
                info!(table = %table.name, "the table changed on the source: {}", differences.join(", "));
                self.on_target.insert(table.id, OnTarget::Follows(Arc::clone(&new)));
                let reshaped = Reshaped { from: Arc::clone(old), to: new, filled };
                Ok((Some(SchemaChange::Alter(reshaped)), plan))
            }
            DdlPolicy::Stop => Err(stopped(format!(
                "table \"{}\" changed its shape{}: {}",
                table.name,
                place(after),
                differences.join(", ")
            ))),
            DdlPolicy::Ignore => {
                warn!(table = %table.name, "ignored on the target, ddl is ignore: {}", differences.join(", "));
                let plan = plan.onto(old).map_err(|p| problems(vec![p]))?;
                self.on_target.insert(table.id, OnTarget::Kept(Arc::clone(old)));
                Ok((Some(SchemaChange::Keep(Arc::clone(old))), plan))
            }
        }
    }

    fn compiled(&self, table: &Arc<TableVersion>) -> Result<TablePlan, Fault> {
        let plan = TablePlan::compile(table, &self.settings).map_err(problems)?;
        Ok(plan.with_condition(self.filter.condition(&table.name)))
    }

    /// No two tables have one name.
    fn check_names(&self) -> Result<(), Fault> {
        let mut taken: HashMap<(&str, &str), &TargetTable> = HashMap::new();
        for table in self.on_target.values().filter_map(OnTarget::table) {
            if let Some(other) = taken.insert((&table.schema, &table.name), table) {
                return Err(Fault::operator(format!(
                    "tables \"{}\" and \"{}\" of the source have the same name \"{}.{}\" on the target",
                    table.source, other.source, table.schema, table.name
                ))
                .with_hint(format!("give one of them another name under names.tables.{}", table.source)));
            }
        }
        Ok(())
    }
}

/// Whether another column of the stored rows took the place of this one.
fn is_replaced(before: &TableVersion, column: &SourceColumn) -> bool {
    let old = before.columns.iter().find(|c| c.id == column.id).and_then(|c| c.stored);
    old.zip(column.stored).is_some_and(|(old, new)| new.replaces(old))
}

fn stopped(what: String) -> Fault {
    Fault::operator(what).with_hint(
        "everything before it is applied; ddl: apply makes the change on the target when the task is started, ddl: ignore leaves \
         the target as it is",
    )
}

fn place(after: Option<Checkpoint>) -> String {
    after.map(|c| format!(" after {}", c.applied.0)).unwrap_or_default()
}

fn tell_notes(plan: &TablePlan) {
    for note in plan.notes() {
        info!(table = %plan.source().name, "{note}");
    }
}

/// Patterns of the settings that no table has the name of.
fn idle_patterns(tables: &[Arc<TableVersion>], filter: &TableFilter) -> Option<String> {
    let names: Vec<_> = tables.iter().map(|t| &t.name).collect();
    let idle: Vec<_> = filter.idle_patterns(&names).iter().map(|p| format!("\"{}\"", p.as_str())).collect();
    (!idle.is_empty()).then(|| idle.join(" or "))
}

/// Tables that have a condition are there: it would else be a slip of the pen that takes all rows.
fn must_be_there(tables: &[Arc<TableVersion>], filter: &TableFilter) -> Result<(), Fault> {
    let names: Vec<_> = tables.iter().map(|t| &t.name).collect();
    let idle: Vec<_> = filter.idle_conditions(&names).iter().map(|c| format!("\"{}\"", c.table)).collect();
    if idle.is_empty() {
        return Ok(());
    }
    Err(Fault::operator(format!("tables.where names {}, and the source has no such table", idle.join(" and ")))
        .with_hint("give tables as schema.table, as the source has them"))
}

/// What is other than it was. The names of keys do not count, nor the order of columns.
fn differences(old: &TargetTable, new: &TargetTable) -> Vec<String> {
    let mut found = Vec::new();
    if (&old.schema, &old.name) != (&new.schema, &new.name) {
        found.push(format!("it is called \"{}.{}\"", new.schema, new.name));
    }
    for column in &new.columns {
        let Some(was) = old.columns.iter().find(|c| c.source_id == column.source_id) else {
            found.push(format!("column \"{}\" is new", column.name));
            continue;
        };
        if was.name != column.name {
            found.push(format!("column \"{}\" is called \"{}\"", was.name, column.name));
        }
        if was.pg_type != column.pg_type {
            let (a, b) = (type_name(&was.pg_type), type_name(&column.pg_type));
            found.push(format!("column \"{}\" was {a} and is {b}", column.name));
        }
        if was.comparison != column.comparison {
            found.push(format!("column \"{}\" compares its values otherwise", column.name));
        }
        if was.nullable != column.nullable {
            let may = if column.nullable { "may be NULL" } else { "must not be NULL" };
            found.push(format!("column \"{}\" {may}", column.name));
        }
        let identity = |c: &TargetColumn| c.identity.map(|i| (i.seed, i.increment));
        if identity(was) != identity(column) {
            found.push(format!("the identity of column \"{}\" is another one", column.name));
        }
    }
    for column in &old.columns {
        if !new.columns.iter().any(|c| c.source_id == column.source_id) {
            found.push(format!("column \"{}\" is gone", column.name));
        }
    }
    let ids = |t: &TargetTable, columns: &[usize]| columns.iter().map(|&c| t.columns[c].source_id).collect::<Vec<_>>();
    if ids(old, &old.key) != ids(new, &new.key) {
        found.push("it has another key".to_owned());
    }
    let unique = |t: &TargetTable| {
        let mut keys: Vec<_> = t.unique.iter().map(|(_, columns)| ids(t, columns)).collect();
        keys.sort();
        keys
    };
    if unique(old) != unique(new) {
        found.push("it has other unique keys".to_owned());
    }
    found
}

/// All problems of all tables in one fault.
fn problems(problems: Vec<PlanProblem>) -> Fault {
    let hints: Vec<&str> = problems.iter().map(|p| p.hint.as_str()).collect();
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Fault::operator(said.join("\n")).with_hint(hints.join("\n"))
}

//! The tables of a task that goes on: what the target has, compared with the source as it is now, and with the settings as they
//! are now. Tables may have been added to the task, or taken out of it, by settings; that is not a change of the source.

use std::collections::HashMap;
use std::sync::Arc;

use logferry_config::{DdlPolicy, TableFilter};
use logferry_model::{Checkpoint, Fault, SchemaChange, TableId, TableName, TableVersion, TargetTable};
use logferry_pg_apply::KnownTable;
use logferry_transform::Settings;
use tracing::{info, warn};

use super::{Moment, OnTarget, Plans, idle_patterns};

/// What is known of a task that goes on.
pub(crate) struct Known<'a> {
    /// Tables that the target has.
    pub tables: Vec<KnownTable>,
    /// Where it is.
    pub at: Checkpoint,
    /// Which tables belonged to the task until now.
    pub before: TableFilter,
    /// Tables that were added to it and are not on the target yet.
    pub awaited: Vec<String>,
    /// Tables that are read once more.
    pub reload: &'a [String],
    /// Whether the source can give whole tables beside the changes of others.
    pub can_add: bool,
}

/// A task that goes on.
pub(crate) struct Resumed {
    /// The plans of the tables that the target has.
    pub plans: Plans,
    /// What is to be done on the target first.
    pub changes: Vec<SchemaChange>,
    /// Tables that the source is to tell of, with their rows.
    pub new: Vec<TableId>,
    /// Tables that the target does not have, for good.
    pub left_out: Vec<TableId>,
    /// Those of the new ones that the settings have added, sorted.
    pub awaited: Vec<String>,
}

impl Known<'_> {
    /// Whether the settings have added a table: one that was left out by them, or that is named by a pattern that is new. It
    /// stays so until it is on the target, in however many runs.
    fn is_added(&self, name: &TableName, filter: &TableFilter) -> bool {
        let is_new = |pattern: &&logferry_config::Pattern| !self.before.include.contains(pattern);
        filter.takes(name)
            && (!self.before.takes(name)
                || self.awaited.contains(&name.to_string())
                || filter.include.iter().filter(is_new).any(|pattern| pattern.matches(name))
                || self.is_reloaded(name))
    }

    fn is_reloaded(&self, name: &TableName) -> bool {
        self.reload.iter().any(|asked| name.to_string().eq_ignore_ascii_case(asked))
    }
}

impl Plans {
    /// Plans the tables of the source for a target that has tables of the task; with what has to be done to them first.
    ///
    /// # Errors
    /// All that keeps tables from being planned; changes that the policy does not allow.
    pub(crate) fn resume(
        tables: &[Arc<TableVersion>],
        mut known: Known<'_>,
        settings: &Settings,
        filter: &TableFilter,
        policy: DdlPolicy,
    ) -> Result<Resumed, Fault> {
        if known.tables.is_empty() {
            // Begun by a logferry that did not remember shapes, nor change them: they are what the settings say.
            let mut plans = Plans::compile(tables, settings, filter, policy)?;
            for on_target in plans.on_target.values_mut() {
                if let OnTarget::Follows(table) = on_target {
                    Arc::make_mut(table).condition = None;
                }
            }
            plans.take_conditions(tables, &known)?;
            let changes = plans.targets().into_iter().map(SchemaChange::Note).collect();
            return Ok(Resumed { plans, changes, new: Vec::new(), left_out: Vec::new(), awaited: Vec::new() });
        }
        if let Some(idle) = idle_patterns(tables, filter) {
            // There was, when the task began.
            warn!("no table of the source is called {idle}");
        }
        let mut plans = Plans::empty(settings, filter, policy);
        for known in known.tables.drain(..) {
            let (id, on_target) = match known {
                KnownTable::There(table) => (table.source_id, OnTarget::Follows(Arc::new(table))),
                KnownTable::Kept(table) => (table.source_id, OnTarget::Kept(Arc::new(table))),
                KnownTable::LeftOut(id) => (id, OnTarget::LeftOut),
            };
            plans.on_target.insert(id, on_target);
        }
        let mut changes = plans.let_go(tables, &known.before);
        changes.extend(plans.take_conditions(tables, &known)?);
        changes.extend(plans.forget_gone(tables, known.at)?);
        let new = plans.add(tables, &known)?;
        let old = tables.iter().filter(|table| !new.contains(&table.id)).cloned().collect();
        let moment = Moment { dropped: Vec::new(), changed: old };
        changes.extend(plans.learn(moment, Some(known.at))?);
        let left_out = plans.on_target.iter().filter(|(_, on_target)| matches!(on_target, OnTarget::LeftOut));
        let left_out = left_out.map(|(id, _)| *id).collect();
        let awaited = tables.iter().filter(|table| plans.added.contains(&table.id));
        let mut awaited: Vec<String> = awaited.map(|table| table.name.to_string()).collect();
        awaited.sort();
        Ok(Resumed { plans, changes, new, left_out, awaited })
    }

    /// Tables that the settings take no more, and took until now.
    fn let_go(&mut self, tables: &[Arc<TableVersion>], before: &TableFilter) -> Vec<SchemaChange> {
        let names: HashMap<TableId, &TableName> = tables.iter().map(|t| (t.id, &t.name)).collect();
        let mut gone: Vec<Arc<TargetTable>> = Vec::new();
        for (id, on_target) in &self.on_target {
            let Some(table) = on_target.table() else { continue };
            let name = names.get(id).copied().unwrap_or(&table.source);
            if before.takes(name) && !self.filter.takes(name) {
                gone.push(Arc::clone(table));
            }
        }
        gone.sort_by_key(|table| table.source_id);
        for table in &gone {
            self.on_target.remove(&table.source_id);
            info!(
                table = %table.source,
                "the table is taken out of the task: \"{}.{}\" stays on the target as it is; to have it copied anew one day, drop it \
                 first, or set target.on_existing to truncate or recreate",
                table.schema,
                table.name
            );
        }
        gone.into_iter().map(SchemaChange::Forget).collect()
    }

    /// Tables that the target does not have, and is to have.
    fn add(&mut self, tables: &[Arc<TableVersion>], known: &Known<'_>) -> Result<Vec<TableId>, Fault> {
        let mut new = Vec::new();
        for table in tables.iter().filter(|t| self.filter.takes(&t.name)) {
            let is_added = known.is_added(&table.name, &self.filter);
            match self.on_target.get(&table.id) {
                None => {}
                Some(OnTarget::LeftOut) if is_added => {
                    self.on_target.remove(&table.id);
                }
                Some(_) => continue,
            }
            if is_added && !known.can_add {
                return Err(Fault::operator(format!(
                    "table \"{}\" cannot be added: of such a source what it had before is not read again",
                    table.name
                ))
                .with_hint("put tables.include and tables.exclude back, or give the task another name to copy anew"));
            }
            if is_added {
                info!(table = %table.name, "the table is added to the task: it is copied while the others go on");
                self.added.insert(table.id);
            }
            // One that came while nobody looked is read, too: that is less than to read all that was done to it.
            if known.can_add && (is_added || self.policy == DdlPolicy::Apply) {
                new.push(table.id);
            }
        }
        Ok(new)
    }

    /// Rows of another condition than now are on the target: only a table that is read once more may get another one.
    fn take_conditions(&mut self, tables: &[Arc<TableVersion>], known: &Known<'_>) -> Result<Vec<SchemaChange>, Fault> {
        let (mut changes, mut wrong) = (Vec::new(), Vec::new());
        for table in tables.iter().filter(|t| self.filter.takes(&t.name)) {
            let condition = self.filter.condition(&table.name);
            let Some(on_target) = self.on_target.get_mut(&table.id) else { continue };
            let (OnTarget::Follows(old) | OnTarget::Kept(old)) = on_target else { continue };
            if old.condition.as_deref() == condition {
                continue;
            }
            if !known.is_reloaded(&table.name) {
                wrong.push(table.name.to_string());
                continue;
            }
            Arc::make_mut(old).condition = condition.map(str::to_owned);
            changes.push(match on_target {
                OnTarget::Kept(table) => SchemaChange::Keep(Arc::clone(table)),
                OnTarget::Follows(table) => SchemaChange::Note(Arc::clone(table)),
                OnTarget::LeftOut => continue,
            });
        }
        if wrong.is_empty() {
            return Ok(changes);
        }
        let reload: Vec<String> = wrong.iter().map(|name| format!("--reload {name}")).collect();
        Err(Fault::operator(format!(
            "tables.where chooses other rows of \"{}\" than those that the target has",
            wrong.join("\", \"")
        ))
        .with_hint(format!(
            "start it once with {}, to have them read anew, or put tables.where back",
            reload.join(" ")
        )))
    }

    /// Tables that the target has and the source has no more.
    fn forget_gone(&mut self, tables: &[Arc<TableVersion>], at: Checkpoint) -> Result<Vec<SchemaChange>, Fault> {
        let gone = |id: &TableId| !tables.iter().any(|t| t.id == *id);
        let mut gone: Vec<Arc<TargetTable>> =
            self.on_target.iter().filter(|(id, _)| gone(id)).filter_map(|(_, t)| t.table().cloned()).collect();
        gone.sort_by_key(|table| table.source_id);
        let mut changes = Vec::new();
        for table in gone {
            changes.extend(self.drop_table(table.source_id, &table.source.to_string(), Some(at))?);
        }
        Ok(changes)
    }
}

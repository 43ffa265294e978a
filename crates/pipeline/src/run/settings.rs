//! What a task's settings mean to its target, and what becomes of a task whose settings are others than before.

use logferry_config::{OnExisting, Pattern, ServerMode, Source, TableFilter, Task};
use logferry_model::Fault;
use logferry_pg_apply::{ApplyMode, ExistingTables, Phase as TargetPhase, TaskSettings, TaskState};

use super::Runner;

impl Runner<'_> {
    pub(super) fn target_settings(&self) -> Result<TaskSettings, Fault> {
        Ok(TaskSettings {
            settings_hash: self.copy_settings()?,
            existing_tables: existing_tables(self.task),
            make_tables: self.task.phases.schema,
            connections_max: u32::from(self.task.copy.workers),
            mode: match &self.task.source {
                Source::Server(server) => match server.mode {
                    ServerMode::Snapshot => ApplyMode::Exact,
                    // Of changed rows the log of a server tells the keys; what they are now is read then. Change tables tell what
                    // the copy may show already.
                    ServerMode::Log | ServerMode::Cdc | ServerMode::Hybrid => ApplyMode::Replace,
                },
                Source::Backup(_) => ApplyMode::Exact,
            },
            ..TaskSettings::new(&self.task.name)
        })
    }

    /// The settings that decide what the rows on the target look like.
    pub(super) fn copy_settings(&self) -> Result<Vec<u8>, Fault> {
        self.settings_while(&[])
    }

    /// The same, while tables that they add to the task are not on the target yet.
    pub(super) fn settings_while(&self, awaited: &[String]) -> Result<Vec<u8>, Fault> {
        let filter = &self.task.tables;
        let text = |patterns: &[logferry_config::Pattern]| -> Vec<String> {
            patterns.iter().map(|p| p.as_str().to_owned()).collect()
        };
        let conditions: Vec<_> = filter.conditions.iter().map(|c| (&c.table, &c.sql)).collect();
        let (include, exclude) = (text(&filter.include), text(&filter.exclude));
        let transform = &self.task.transform;
        let written = match awaited {
            [] => serde_json::to_vec(&(transform, include, exclude, conditions)),
            _ => serde_json::to_vec(&(transform, include, exclude, conditions, awaited)),
        };
        written.map_err(|e| Fault::bug(format!("the settings could not be written: {e}")))
    }

    pub(super) fn check_settings(&self, state: &TaskState) -> Result<(), Fault> {
        if state.phase == TargetPhase::Created || state.settings_hash.is_empty() {
            return Ok(());
        }
        let (before, now) = (parts(&state.settings_hash), parts(&self.copy_settings()?));
        // A task that is copied may take other tables, and each table remembers its condition.
        let must_be_same = if state.phase == TargetPhase::Streaming { 1 } else { before.len().min(now.len()) };
        match (0..must_be_same).all(|at| before.get(at) == now.get(at)) {
            true => Ok(()),
            false => Err(self.other_settings()),
        }
    }

    pub(super) fn other_settings(&self) -> Fault {
        Fault::operator(format!(
            "tables, names, types or columns of task \"{}\" are not those that its rows on the target were copied with",
            self.task.name
        ))
        .with_hint("put the settings back, or give the task another name and on_existing: recreate to copy anew")
    }

    /// Which tables belonged to the task until now.
    pub(super) fn before(&self, state: &TaskState) -> TableFilter {
        let parts = parts(&state.settings_hash);
        let patterns = |at: usize| -> Option<Vec<Pattern>> {
            let texts = parts.get(at)?.as_array()?.iter();
            Some(texts.filter_map(|text| text.as_str()).map(Pattern::new).collect())
        };
        match (patterns(1), patterns(2)) {
            (Some(include), Some(exclude)) => TableFilter { include, exclude, conditions: Vec::new() },
            _ => self.patterns(),
        }
    }

    pub(super) fn patterns(&self) -> TableFilter {
        TableFilter { conditions: Vec::new(), ..self.task.tables.clone() }
    }
}

/// The parts of what is kept of the settings: names and types, patterns that include, that exclude, conditions, and where there
/// are any, the names of tables that were added and are not on the target yet.
fn parts(settings: &[u8]) -> Vec<serde_json::Value> {
    serde_json::from_slice(settings).unwrap_or_default()
}

/// Tables that the settings have added, and that are not on the target yet.
pub(super) fn awaited(settings: &[u8]) -> Vec<String> {
    parts(settings).get(4).and_then(|names| serde_json::from_value(names.clone()).ok()).unwrap_or_default()
}

/// What is to be done about tables that are on the target.
pub(crate) fn existing_tables(task: &Task) -> ExistingTables {
    if !task.phases.full && !task.phases.schema {
        // Changes go on in them.
        return ExistingTables::Ignore;
    }
    match task.target.on_existing {
        OnExisting::Error => ExistingTables::Error,
        OnExisting::Ignore => ExistingTables::Ignore,
        OnExisting::Truncate => ExistingTables::Truncate,
        OnExisting::Recreate => ExistingTables::Recreate,
    }
}

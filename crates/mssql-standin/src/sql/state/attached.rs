//! Views, procedures, functions and triggers of attached files: shown as their system tables have them, run where their text is understood.

use std::collections::BTreeMap;

use super::super::ast::{ModuleKind, ModuleOptions, StmtKind};
use super::super::parse::parse;
use super::super::plan::Column;
use super::super::trigger::TriggerDef;
use super::super::value::Value;
use super::ModuleDef;
use logferry_mssql_standin_storage::{Database, ModuleDef as StoredModule};

type Modules = (BTreeMap<u32, ModuleDef>, BTreeMap<u32, TriggerDef>);

/// Those of a database, by their object ids.
pub(super) fn modules_of(storage: &Database) -> Modules {
    let (mut modules, mut triggers) = Modules::default();
    for stored in storage.attached_modules() {
        if stored.kind == *b"TR" {
            triggers.insert(stored.object, trigger(stored));
        } else {
            modules.insert(stored.object, module(stored));
        }
    }
    (modules, triggers)
}

fn module(stored: &StoredModule) -> ModuleDef {
    let code = match &stored.kind {
        b"V " => "V ",
        b"P " => "P ",
        b"FN" => "FN",
        b"IF" => "IF",
        _ => "TF",
    };
    let (kind, options) = match definition(&stored.text) {
        Ok(StmtKind::DefineModule(found)) => (found.kind, found.options),
        Ok(_) => (ModuleKind::Shown { code, why: "its text defines something else".into() }, ModuleOptions::default()),
        Err(why) => (ModuleKind::Shown { code, why }, ModuleOptions::default()),
    };
    ModuleDef {
        schema: stored.schema.clone().unwrap_or_else(|| "dbo".into()),
        name: stored.name.clone(),
        kind,
        shown: stored.columns.iter().map(|c| Column::plain(c.name.clone(), c.sql_type.clone(), c.nullable)).collect(),
        options: options_of(stored, options),
        text: stored.text.clone(),
        created: datetime(stored.dates[0]),
    }
}

fn trigger(stored: &StoredModule) -> TriggerDef {
    let found = match definition(&stored.text) {
        Ok(StmtKind::DefineTrigger(found)) => Some(found),
        _ => None,
    };
    let options = found.as_ref().map(|t| t.options).unwrap_or_default();
    let (events, body) = found.map(|t| (t.events, t.body)).unwrap_or_default();
    TriggerDef {
        table: stored.parent,
        name: stored.name.clone(),
        events,
        body,
        text: stored.text.clone(),
        created: datetime(stored.dates[0]),
        modified: datetime(stored.dates[1]),
        disabled: stored.settings.disabled,
        options: options_of(stored, options),
        not_for_replication: stored.settings.not_for_replication,
    }
}

/// The statement that a text is, or why there is none.
fn definition(text: &str) -> Result<StmtKind, String> {
    let statements = parse(text).map_err(|e| format!("{} ({})", e.message.trim_end_matches('.'), e.number))?;
    statements.into_iter().next().map(|stmt| stmt.kind).ok_or_else(|| "it has no text".into())
}

fn options_of(stored: &StoredModule, said: ModuleOptions) -> ModuleOptions {
    ModuleOptions { schema_bound: stored.settings.schema_bound, recompiled: stored.settings.recompiled, ..said }
}

/// `datetime` as it is stored: ticks of 1/300 s, days since 1900-01-01.
fn datetime(stored: [u8; 8]) -> Value {
    let [a, b, c, d, e, f, g, h] = stored;
    Value::DateTime(i32::from_le_bytes([e, f, g, h]), u32::from_le_bytes([a, b, c, d]))
}

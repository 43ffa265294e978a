//! Triggers: their definitions, which events there are, what `EVENTDATA()` says of one.
//!
//! Triggers on the database run after the statement that they watch, in its transaction; triggers on tables after a statement has
//! changed rows, which they see as `inserted` and `deleted`. A trigger does not fire itself again.

mod define;
mod event;

use super::error::Result;
use super::state::{Db, from_storage};
use super::value::{Value, same_name};
pub(crate) use define::{define_trigger, drop_trigger, switch_trigger};
use logferry_mssql_standin_storage::{ModuleDef as StoredModule, ModuleReference, ModuleSettings};

pub(crate) use event::{DdlEvent, event_data, event_number, events_of, groups_of};

/// A trigger.
#[derive(Clone, Debug)]
pub(crate) struct TriggerDef {
    /// Of triggers on tables; they are objects of the table's schema.
    pub table: Option<u32>,
    pub name: String,
    /// INSERT, UPDATE, DELETE; or events and groups of them, in capitals.
    pub events: Vec<String>,
    pub body: String,
    pub text: String,
    pub created: Value,
    pub modified: Value,
    pub disabled: bool,
    pub options: super::ast::ModuleOptions,
    pub not_for_replication: bool,
}

impl TriggerDef {
    /// The events that it fires for, by name, and the group that each comes from.
    pub fn expanded(&self) -> Vec<(&'static str, Option<&'static str>)> {
        let mut out = Vec::new();
        for given in &self.events {
            for (name, _, _) in event::EVENTS {
                let group = groups_of(name).into_iter().find(|g| g == given);
                if *name == given || group.is_some() {
                    out.push((*name, group));
                }
            }
        }
        out
    }

    /// Whether it fires for a statement that changed rows.
    pub fn watches_rows(&self, table: u32, verb: &str) -> bool {
        !self.disabled && self.table == Some(table) && self.events.iter().any(|e| e == verb)
    }

    /// Whether it fires for a statement that defines something.
    pub fn watches(&self, event: &str) -> bool {
        !self.disabled && self.table.is_none() && self.expanded().iter().any(|(name, _)| *name == event)
    }
}

impl TriggerDef {
    /// As the storage writes it, with what its text names.
    pub fn stored(&self, object: u32, schema: Option<String>, references: Vec<ModuleReference>) -> StoredModule {
        StoredModule {
            object,
            schema,
            name: self.name.clone(),
            kind: *b"TR",
            parent: self.table,
            settings: ModuleSettings {
                schema_bound: self.options.schema_bound,
                recompiled: self.options.recompiled,
                disabled: self.disabled,
                not_for_replication: self.not_for_replication,
                ..ModuleSettings::default()
            },
            text: self.text.clone(),
            references,
            ..StoredModule::default()
        }
    }
}

impl Db {
    /// Drops a trigger.
    ///
    /// # Errors
    /// When nothing may be changed.
    pub fn drop_trigger(&mut self, id: u32) -> Result<()> {
        if let Some(trigger) = self.triggers.get(&id) {
            let schema = trigger.table.map(|table| self.table_name(table).0);
            self.storage.drop_module(id, schema.as_deref(), &trigger.name).map_err(from_storage)?;
        }
        self.triggers.remove(&id);
        Ok(())
    }

    /// A trigger by its name: of those on the database, or on tables of a schema.
    pub fn find_trigger(&self, schema: Option<&str>, name: &str) -> Option<u32> {
        let is = |t: &TriggerDef| {
            let of_schema = match (t.table, schema) {
                (None, None) => true,
                (Some(table), Some(schema)) => same_name(&self.table_name(table).0, schema),
                _ => false,
            };
            of_schema && same_name(&t.name, name)
        };
        self.triggers.iter().find(|(_, t)| is(t)).map(|(id, _)| *id)
    }
}

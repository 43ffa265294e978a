//! CREATE, ALTER, DROP, ENABLE and DISABLE TRIGGER.

use super::super::ast::{Name, Trigger, TriggerOn};
use super::super::bind::TableAt;
use super::super::define;
use super::super::error::{Result, SqlError, invalid_object, unsupported};
use super::super::state::{Scalars, State, from_storage};
use super::super::time::datetime;
use super::super::value::same_name;
use super::TriggerDef;

/// CREATE, ALTER, or CREATE OR ALTER.
pub(crate) fn define_trigger(state: &mut State, scalars: &Scalars, trigger: &Trigger) -> Result<()> {
    let name = trigger.name.last().cloned().unwrap_or_default();
    let (database, schema, table) = match &trigger.on {
        TriggerOn::Database if trigger.name.len() > 1 => {
            return Err(SqlError::batch(
                1098,
                "The specified event type(s) is/are not valid on the specified target object.",
            )
            .class(15));
        }
        TriggerOn::Database => (scalars.database, None, None),
        TriggerOn::Table(of) => {
            let at = state.find_table(scalars, of)?;
            let Some(at) = at else {
                return Err(SqlError::batch(
                    8197,
                    format!("The object '{}' does not exist or is invalid for this operation.", of.join(".")),
                )
                .state(4));
            };
            if at.database != scalars.database {
                return Err(unsupported("triggers on tables of another database"));
            }
            (at.database, Some(state.db(at.database).table_name(at.table).0), Some(at.table))
        }
    };
    let known = state.db(database).find_trigger(schema.as_deref(), &name);
    if known.is_some() && !trigger.alter || known.is_none() && schema.is_some() && is_object(state, scalars, trigger)? {
        return Err(
            SqlError::batch(2714, format!("There is already an object named '{name}' in the database.")).state(2)
        );
    }
    if known.is_none() && !trigger.make {
        return Err(invalid_object(&trigger.name.join(".")).state(6));
    }
    let own = scalars.xacts.get(&database).copied();
    let held = state.db(database).storage.name_holder(own, |of, known| of.is_empty() && same_name(known, &name));
    if let Some(by) = held.filter(|_| schema.is_none()) {
        return Err(state.blocked(database, by));
    }
    let watched = table.map(|table| TableAt { database, table });
    let references = define::named_in(state, scalars, &trigger.body, std::iter::empty(), watched);
    let now = datetime(scalars.now);
    let db = state.db_mut(database);
    let id = known.map_or_else(|| db.object_id(), Ok)?;
    let old = db.triggers.get(&id);
    let def = TriggerDef {
        table,
        name,
        events: trigger.events.clone(),
        body: trigger.body.clone(),
        text: trigger.text.clone(),
        created: old.map_or_else(|| now.clone(), |t| t.created.clone()),
        modified: now,
        disabled: false,
        options: trigger.options,
        not_for_replication: trigger.not_for_replication,
    };
    let stored = def.stored(id, schema, references);
    match known {
        Some(_) => db.storage.alter_module(&stored),
        None => db.storage.create_module(&stored),
    }
    .map_err(from_storage)?;
    db.triggers.insert(id, def);
    Ok(())
}

fn is_object(state: &State, scalars: &Scalars, trigger: &Trigger) -> Result<bool> {
    Ok(state.find_table(scalars, &trigger.name)?.is_some() || state.find_module(scalars, &trigger.name)?.is_some())
}

/// A trigger by a name as it was written.
fn find(state: &State, scalars: &Scalars, name: &Name, on_database: bool) -> Result<Option<(usize, u32)>> {
    if on_database {
        let name = name.last().map_or("", String::as_str);
        return Ok(state.db(scalars.database).find_trigger(None, name).map(|id| (scalars.database, id)));
    }
    let (database, schema, name) = state.resolve(scalars, name)?;
    Ok(state.db(database).find_trigger(Some(&schema), &name).map(|id| (database, id)))
}

/// DROP TRIGGER.
pub(crate) fn drop_trigger(
    state: &mut State,
    scalars: &Scalars,
    name: &Name,
    if_exists: bool,
    on_database: bool,
) -> Result<()> {
    match find(state, scalars, name, on_database)? {
        Some((at, id)) => state.db_mut(at).drop_trigger(id),
        None if if_exists => Ok(()),
        None => Err(SqlError::batch(
            3701,
            format!(
                "Cannot drop the trigger '{}', because it does not exist or you do not have permission.",
                name.join(".")
            ),
        )
        .class(11)
        .state(5)),
    }
}

/// ENABLE and DISABLE TRIGGER.
pub(crate) fn switch_trigger(
    state: &mut State,
    scalars: &Scalars,
    names: &[Name],
    on: &TriggerOn,
    enable: bool,
) -> Result<()> {
    let (database, table) = match on {
        TriggerOn::Database => (scalars.database, None),
        TriggerOn::Table(of) => match state.find_table(scalars, of)? {
            Some(at) => (at.database, Some(at.table)),
            None => {
                return Err(SqlError::batch(
                    1088,
                    format!(
                        "Cannot find the object \"{}\" because it does not exist or you do not have permissions.",
                        of.join(".")
                    ),
                )
                .state(7));
            }
        },
    };
    let ids = if names.is_empty() {
        let all = state.db(database).triggers.iter().filter(|(_, t)| t.table == table);
        all.map(|(id, _)| *id).collect()
    } else {
        let mut ids = Vec::new();
        for name in names {
            let found = find(state, scalars, name, table.is_none())?;
            let of_table = found
                .filter(|(at, id)| *at == database && state.db(*at).triggers.get(id).is_some_and(|t| t.table == table));
            ids.push(of_table.map(|(_, id)| id).ok_or_else(|| {
                SqlError::batch(
                    1088,
                    format!(
                        "Cannot find the object \"{}\" because it does not exist or you do not have permissions.",
                        name.join(".")
                    ),
                )
                .state(119)
            })?);
        }
        ids
    };
    for id in ids {
        let db = state.db_mut(database);
        let Some(trigger) = db.triggers.get(&id).filter(|t| t.disabled == enable) else { continue };
        let schema = trigger.table.map(|table| db.table_name(table).0);
        let switched = TriggerDef { disabled: !enable, ..trigger.clone() };
        db.storage.switch_module(&switched.stored(id, schema, Vec::new())).map_err(from_storage)?;
        db.triggers.insert(id, switched);
    }
    Ok(())
}

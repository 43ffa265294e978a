//! Views and procedures.

use std::collections::BTreeMap;

use super::super::ast::{Module, ModuleKind, Parameter, ParameterType};
use super::super::bind::{Binder, Uses};
use super::super::error::{Result, SqlError, unsupported};
use super::super::state::{ModuleDef, Scalars, State, from_storage};
use super::super::value::same_name;
use super::{named_in, now};

/// CREATE, ALTER, or CREATE OR ALTER.
pub(crate) fn define_module(state: &mut State, scalars: &Scalars, module: &Module) -> Result<()> {
    let (database, schema, name) = state.resolve(scalars, &module.name)?;
    if database != scalars.database {
        return Err(unsupported("views and procedures in another database"));
    }
    let Some((schema, _)) = state.find_schema(database, &schema) else {
        return Err(SqlError::batch(
            2760,
            format!(
                "The specified schema name \"{schema}\" either does not exist or you do not have permission to use it."
            ),
        ));
    };
    let known = state.find_module(scalars, &module.name)?.map(|(_, id)| id);
    let view = matches!(module.kind, ModuleKind::View { .. });
    let other_kind = known.and_then(|id| state.db(database).modules.get(&id)).is_some_and(|m| m.is_view() != view);
    let taken = state.find_table(scalars, &module.name)?.is_some()
        || state.db(database).find_trigger(Some(&schema), &name).is_some();
    if taken || other_kind || known.is_some() && !module.alter {
        return Err(
            SqlError::batch(2714, format!("There is already an object named '{name}' in the database.")).state(3)
        );
    }
    if known.is_none() && !module.make {
        return Err(SqlError::batch(208, format!("Invalid object name '{}'.", module.name.join("."))).state(6));
    }
    let mut shown = Vec::new();
    let references = match &module.kind {
        ModuleKind::View { columns, query, .. } => {
            let held = BTreeMap::new();
            let mut binder = Binder::new(state, scalars, &held);
            binder.uses = Some(Uses::default());
            let plan = binder.query(query, None)?;
            shown = binder.named_columns(&name, columns, &plan)?;
            binder.uses.take().unwrap_or_default().references(state, database)
        }
        ModuleKind::Procedure { parameters, body } => {
            let scalar = |p: &Parameter| match &p.of {
                ParameterType::Scalar(ty) => Some((p.name.clone(), ty.clone())),
                ParameterType::Table(_) => None,
            };
            named_in(state, scalars, body, parameters.iter().filter_map(scalar), None)
        }
        ModuleKind::Shown { .. } => Vec::new(),
    };
    let created = now(scalars);
    let db = state.db_mut(database);
    let id = known.map_or_else(|| db.object_id(), Ok)?;
    let created = db.modules.get(&id).map_or(created, |m| m.created.clone());
    let def = ModuleDef {
        schema,
        name,
        kind: module.kind.clone(),
        shown,
        options: module.options,
        text: module.text.clone(),
        created,
    };
    let stored = def.stored(id, references);
    match known {
        Some(_) => db.storage.alter_module(&stored),
        None => db.storage.create_module(&stored),
    }
    .map_err(from_storage)?;
    db.modules.insert(id, def);
    Ok(())
}

/// DROP VIEW, DROP PROCEDURE.
pub(crate) fn drop_module(
    state: &mut State,
    scalars: &Scalars,
    view: bool,
    name: &[String],
    if_exists: bool,
) -> Result<()> {
    let found = state.find_module(scalars, name)?;
    let found = found.filter(|(at, id)| state.db(*at).modules.get(id).is_some_and(|m| m.is_view() == view));
    match found {
        Some((at, id)) => {
            let db = state.db_mut(at);
            if let Some(module) = db.modules.get(&id) {
                db.storage.drop_module(id, Some(&module.schema), &module.name).map_err(from_storage)?;
            }
            db.modules.remove(&id);
            Ok(())
        }
        None if if_exists => Ok(()),
        None => Err(SqlError::batch(
            3701,
            format!(
                "Cannot drop the {} '{}', because it does not exist or you do not have permission.",
                if view { "view" } else { "procedure" },
                name.join(".")
            ),
        )
        .class(11)
        .state(5)),
    }
}

impl State {
    /// A view or procedure by its name: its database and object id.
    pub fn find_module(&self, scalars: &Scalars, name: &[String]) -> Result<Option<(usize, u32)>> {
        let (database, schema, name) = self.resolve(scalars, name)?;
        let is = |m: &ModuleDef| same_name(&m.name, &name) && same_name(&m.schema, &schema);
        Ok(self.db(database).modules.iter().find(|(_, m)| is(m)).map(|(id, _)| (database, *id)))
    }
}

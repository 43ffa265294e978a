//! `sp_rename`: tables, columns, indexes and constraints.

use super::super::error::{Result, SqlError};
use super::super::function::split_name;
use super::super::state::{Scalars, State, from_storage};
use super::super::value::same_name;
use super::column::note_altered;
use super::index::note_indexes;
use super::meta_mut;
use super::table::wait_for_table;

/// The database and the table that `sp_rename` is about.
pub(crate) fn renamed(state: &State, scalars: &Scalars, old: &str, kind: &str) -> Result<(usize, Vec<u32>)> {
    let parts = split_name(old);
    let Some((name, table)) = parts.split_last() else { return Ok((scalars.database, Vec::new())) };
    let found = match kind {
        "COLUMN" | "INDEX" => state.find_table(scalars, table)?,
        _ => state.find_table(scalars, &parts)?,
    };
    if let Some(at) = found {
        return Ok((at.database, vec![at.table]));
    }
    let mut tables = state.db(scalars.database).tables.iter();
    let of = tables.find(|(_, meta)| meta.constraint_names().any(|n| same_name(n, name)));
    Ok((scalars.database, of.map(|(id, _)| *id).into_iter().collect()))
}

/// Gives something another name. `kind` is what the procedure was told: COLUMN, INDEX, OBJECT or nothing.
pub(crate) fn rename(state: &mut State, scalars: &Scalars, old: &str, new: &str, kind: &str) -> Result<()> {
    let wrong = || {
        let what = if kind.is_empty() { "(null)" } else { kind };
        SqlError::batch(
            15248,
            format!("Either the parameter @objname is ambiguous or the claimed @objtype ({what}) is wrong."),
        )
        .class(11)
    };
    let parts = split_name(old);
    if matches!(kind, "" | "OBJECT")
        && let Some(at) = state.find_table(scalars, &parts)?
    {
        wait_for_table(state, scalars, at)?;
        return state.db_mut(at.database).storage.rename_table(at.table, new).map_err(|_| {
            SqlError::batch(
                15335,
                format!(
                    "Error: The new name '{new}' is already in use as a object name and would cause a duplicate that is not permitted."
                ),
            )
            .class(11)
        });
    }
    let Some((name, table)) = parts.split_last() else { return Err(wrong()) };
    if matches!(kind, "COLUMN" | "INDEX") {
        let at = state.find_table(scalars, table)?.ok_or_else(wrong)?;
        wait_for_table(state, scalars, at)?;
        if kind == "INDEX" {
            let key = meta_mut(state, at).keys.iter_mut().find(|k| same_name(&k.name, name)).ok_or_else(wrong)?;
            new.clone_into(&mut key.name);
            return note_indexes(state, scalars, table);
        }
        let def = state.db(at.database).storage.table_def(at.table);
        let place = def.and_then(|d| d.columns.iter().position(|c| same_name(&c.name, name))).ok_or_else(wrong)?;
        if state.db(at.database).meta(at.table).computed.iter().any(|c| c.column != place) {
            super::column::refuse_if_used(state, at, place, name)?;
        }
        state.db_mut(at.database).storage.rename_column(at.table, place, new).map_err(from_storage)?;
        note_altered(state, at);
        return Ok(());
    }
    // Constraints are objects of their schema.
    for meta in state.db_mut(scalars.database).tables.values_mut() {
        let keys = meta.keys.iter_mut().filter(|k| k.object.is_some()).map(|k| &mut k.name);
        let others = meta.checks.iter_mut().map(|c| &mut c.name).chain(meta.defaults.iter_mut().map(|d| &mut d.name));
        let mut all = keys.chain(others).chain(meta.foreign.iter_mut().map(|f| &mut f.name));
        if let Some(found) = all.find(|n| same_name(n, name)) {
            new.clone_into(found);
            return Ok(());
        }
    }
    Err(SqlError::batch(
        15225,
        format!(
            "No item by the name of '{old}' could be found in the current database '{}', given that @itemtype was input as '{}'.",
            state.db(scalars.database).name,
            if kind.is_empty() { "(null)" } else { kind }
        ),
    )
    .class(11))
}

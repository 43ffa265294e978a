//! UPDATE.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use logferry_model::SqlType;

use super::super::ast::{Expr, Update};
use super::super::bind::{Binder, Scope};
use super::super::error::{Result, SqlError};
use super::super::eval::{Ctx, eval};
use super::super::plan::Typed;
use super::super::session::begin_in;
use super::super::state::{Scalars, State, from_storage};
use super::super::value::{Value, from_bytes, to_bytes};
use super::check::{check_referenced, check_references, check_rows, check_unique};
use super::images::images_of;
use super::insert::{bind_defaults, write_row};
use super::output::{OutputOf, bind_output, run_output};
use super::target::{Hit, bind_target, find_hits, lock_hits};
use super::{Outcome, Variables, implicit};
use logferry_mssql_standin_storage::{Row, RowKey};

pub(crate) fn update(
    state: &mut State,
    scalars: &mut Scalars,
    variables: &Variables,
    stmt: &Update,
) -> Result<Outcome> {
    let (target, hits, places, output, read) = {
        let state: &State = state;
        let held = variables.borrow().clone();
        let mut binder = Binder::new(state, scalars, &held);
        binder.with.clone_from(&stmt.with);
        let (target, from, sources, at, filter) =
            bind_target(&mut binder, state, &stmt.target, (&stmt.from, stmt.locks), stmt.filter.as_ref())?;
        let scope = Scope { sources, outer: None };
        let to_default = stmt.sets.iter().any(|(.., value)| value.is_none());
        let defaults = if to_default { bind_defaults(state, &mut binder, &target)? } else { Vec::new() };
        let (mut places, mut values, mut assigned) = (Vec::new(), Vec::new(), Vec::new());
        for (name, op, e) in &stmt.sets {
            let last = name.last().map_or("", String::as_str);
            if last.starts_with('@') {
                let key = last.to_ascii_lowercase();
                let Some((ty, _)) = held.get(&key) else {
                    return Err(SqlError::batch(137, format!("Must declare the scalar variable \"{last}\".")).class(15));
                };
                let e = e.as_ref().ok_or_else(|| super::super::error::syntax("DEFAULT", 0))?;
                let e = match op {
                    Some(op) => &Expr::Binary(*op, Box::new(Expr::Var(key.clone())), Box::new(e.clone())),
                    None => e,
                };
                let bound = binder.value(e, &scope)?;
                assigned.push((key, super::super::bind::cast(bound, ty)));
                continue;
            }
            let column = target.column(last)?;
            target.settable(column)?;
            if target.columns[column].identity {
                return Err(SqlError::batch(8102, format!("Cannot update identity column '{last}'.")));
            }
            if target.types[column] == SqlType::RowVersion {
                return Err(SqlError::batch(272, "Cannot update a timestamp column."));
            }
            if places.contains(&column) {
                return Err(SqlError::batch(
                    264,
                    format!(
                        "The column name '{last}' is specified more than once in the SET clause or column list of an INSERT. A column cannot be assigned more than one value in the same clause. Modify the clause to make sure that a column is updated only once."
                    ),
                ));
            }
            let bound = match (e, op) {
                (Some(e), Some(op)) => {
                    let own = vec![scope.sources[at].alias.clone(), target.columns[column].name.clone()];
                    binder.value(&Expr::Binary(*op, Box::new(Expr::Column(own)), Box::new(e.clone())), &scope)?
                }
                (Some(e), None) => binder.value(e, &scope)?,
                (None, _) => (defaults.get(column).cloned().flatten())
                    .unwrap_or_else(|| Typed::constant(target.types[column].clone(), Value::Null)),
            };
            places.push(column);
            values.push(bound);
        }
        let top = stmt.top.as_ref().map(|t| binder.value(t, &Scope::EMPTY)).transpose()?;
        let ctx = Ctx { state, scalars, variables, cache: RefCell::default() };
        let place = format!("{}.{}", state.db(target.at.database).name, target.full_name());
        let hits = find_hits(&ctx, &from, scope.sources.len(), at, filter.as_ref(), top.as_ref(), |env| {
            let mut out = Vec::new();
            for (column, e) in places.iter().zip(&values) {
                let v = eval(e, env)?;
                out.push(implicit(v, &e.ty, &target.types[*column], (&place, &target.columns[*column].name))?);
            }
            let mut fresh = Vec::new();
            for (name, e) in &assigned {
                fresh.push((name.clone(), eval(e, env)?));
            }
            for (name, v) in fresh {
                if let Some(held) = variables.borrow_mut().get_mut(&name) {
                    held.1 = v;
                }
            }
            Ok(out)
        })?;
        let output = bind_output(&mut binder, &target, &stmt.output, &scope.sources, OutputOf::Both)?;
        (target, hits, places, output, binder.held)
    };
    state.lock_tables(scalars, &read)?;
    lock_hits(state, scalars, &target, &hits)?;
    let versions: Vec<usize> =
        target.types.iter().enumerate().filter(|(_, t)| **t == SqlType::RowVersion).map(|(n, _)| n).collect();
    let mut places = places;
    let (mut new_rows, mut new_values) = (Vec::new(), Vec::new());
    for hit in &hits {
        let mut row = Row::clone(&hit.row);
        for (column, value) in places.iter().zip(&hit.values) {
            row[*column] = to_bytes(&target.types[*column], value)?;
        }
        for column in &versions {
            let db = state.db_mut(target.at.database);
            db.row_version += 1;
            row[*column] = Some(db.row_version.to_be_bytes().to_vec());
        }
        new_values.push(
            row.iter()
                .zip(target.types.iter())
                .map(|(b, ty)| b.as_deref().map_or(Value::Null, |b| from_bytes(ty, b)))
                .collect::<Vec<Value>>(),
        );
        new_rows.push(row);
    }
    if !target.persisted.is_empty() {
        let ctx = Ctx { state, scalars, variables, cache: RefCell::default() };
        for (values, row) in new_values.iter_mut().zip(&mut new_rows) {
            target.compute(&ctx, values)?;
            for column in &target.persisted {
                row[*column] = to_bytes(&target.types[*column], &values[*column])?;
            }
        }
        places.extend(&target.persisted);
    }
    check_rows(state, scalars, variables, &target, &new_values, ("UPDATE", true))?;
    let meta = state.db(target.at.database).meta(target.at.table);
    let touches = |columns: &[usize]| columns.iter().any(|c| places.contains(c));
    if meta.keys.iter().any(|k| k.unique && touches(&k.columns.iter().map(|(c, _)| *c).collect::<Vec<_>>())) {
        let gone: Vec<Arc<RowKey>> = hits.iter().map(|h| Arc::clone(&h.key)).collect();
        check_unique(state, scalars, &target, &new_rows, &gone)?;
        let old: Vec<_> = hits.iter().map(|h| (Arc::clone(&h.key), Arc::clone(&h.row))).collect();
        check_referenced(state, scalars, &target, &old, &new_rows, "UPDATE")?;
    }
    if state.db(target.at.database).meta(target.at.table).foreign.iter().any(|f| touches(&f.columns)) {
        check_references(state, scalars, &target, &new_rows, "UPDATE")?;
    }
    if !hits.is_empty() {
        state.may_change(scalars, target.at)?;
        let xact = begin_in(state, scalars, target.at.database, "UPDATE");
        let def = state.db(target.at.database).storage.table_def(target.at.table);
        let moves = def.is_some_and(|d| touches(&d.primary_key));
        let keys = &state.db(target.at.database).meta(target.at.table).keys;
        let unique = keys.iter().filter(|k| k.unique).map(|k| k.columns.iter().map(|(c, _)| *c).collect::<Vec<_>>());
        let in_place = unique.filter(|columns| touches(columns)).any(|c| takes_a_place(&c, &hits, &new_rows));
        if moves {
            // Clustered keys may change places with one another: all rows go before any comes back.
            for hit in &hits {
                state
                    .db_mut(target.at.database)
                    .storage
                    .delete(xact, target.at.table, &hit.key)
                    .map_err(from_storage)?;
            }
            for row in &new_rows {
                write_row(state, scalars, &target, xact, row.clone())?;
            }
        } else {
            let changes = |row: &Row| places.iter().chain(&versions).map(|c| (*c, row[*c].clone())).collect::<Vec<_>>();
            if in_place {
                // The rows first, each where it is, and then the indexes that look at their values.
                let rows: Vec<_> =
                    hits.iter().zip(&new_rows).map(|(hit, row)| (RowKey::clone(&hit.key), changes(row))).collect();
                let storage = &mut state.db_mut(target.at.database).storage;
                storage.update_together(xact, target.at.table, &rows).map_err(from_storage)?;
                for (hit, row) in hits.iter().zip(&new_rows) {
                    state.db(target.at.database).lookups.note(target.at.table, &target.types, &hit.key, row);
                }
            }
            for (hit, row) in hits.iter().zip(&new_rows).filter(|_| !in_place) {
                let changes = changes(row);
                let storage = &mut state.db_mut(target.at.database).storage;
                let key = storage.update(xact, target.at.table, &hit.key, &changes).map_err(from_storage)?;
                state.db(target.at.database).lookups.note(target.at.table, &target.types, &key, row);
            }
        }
    }
    let changed = hits.iter().zip(&new_rows).map(|(h, new)| (Some(new), Some(&h.row), Some(&h.parts)));
    let output = run_output(state, scalars, variables, (&target, &stmt.output), output, changed)?;
    let changed = hits.iter().zip(&new_rows).map(|(h, new)| (Some(new), Some(&*h.row)));
    let images = images_of(state, &target, "UPDATE", Some(&places), changed);
    Ok(Outcome { count: hits.len() as u64, output, images })
}

/// Whether a row gets a key that another row of the statement had before it.
fn takes_a_place(columns: &[usize], hits: &[Hit], new_rows: &[Row]) -> bool {
    let key = |row: &Row| columns.iter().map(|c| row[*c].clone()).collect::<Vec<_>>();
    let had: HashMap<_, usize> = hits.iter().enumerate().map(|(n, hit)| (key(&hit.row), n)).collect();
    new_rows.iter().enumerate().any(|(n, row)| had.get(&key(row)).is_some_and(|before| *before != n))
}

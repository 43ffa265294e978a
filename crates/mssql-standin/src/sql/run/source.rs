//! Rows of tables and joins.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::rc::Rc;
use std::sync::Arc;

use logferry_model::SqlType;

use super::super::ast::JoinKind;
use super::super::convert::convert;
use super::super::error::Result;
use super::super::eval::{Ctx, Env, eval, holds};
use super::super::lookup::values_of;
use super::super::plan::{Access, Bound as PlanBound, From, Part, SelectPlan, Typed};
use super::super::value::{Value, group_key, to_bytes};
use super::run;
use logferry_mssql_standin_storage::{Before, Row, RowKey};

/// Rows of FROM that WHERE lets through.
pub(crate) fn each_row(
    select: &SelectPlan,
    ctx: &Ctx<'_>,
    outer: Option<&Env<'_>>,
    emit: &mut dyn FnMut(&Env<'_>) -> Result<bool>,
) -> Result<()> {
    let mut parts = vec![Part::None; select.sources];
    let mut filtered = |parts: &mut Vec<Part>| -> Result<bool> {
        let env = Env { ctx, parts, aggs: &[], outer };
        match &select.filter {
            Some(filter) if !holds(filter, &env)? => Ok(true),
            _ => emit(&env),
        }
    };
    match &select.from {
        Some(from) => each_part(from, ctx, outer, false, &mut parts, &mut filtered).map(drop),
        None => filtered(&mut parts).map(drop),
    }
}

/// Rows of one table that a condition lets through, with what they are found by: what UPDATE and DELETE change.
pub(crate) fn each_target(
    from: &From,
    sources: usize,
    filter: Option<&Typed>,
    ctx: &Ctx<'_>,
    emit: &mut dyn FnMut(&Env<'_>) -> Result<bool>,
) -> Result<()> {
    let mut parts = vec![Part::None; sources];
    each_part(from, ctx, None, true, &mut parts, &mut |parts| {
        let env = Env { ctx, parts, aggs: &[], outer: None };
        match filter {
            Some(filter) if !holds(filter, &env)? => Ok(true),
            _ => emit(&env),
        }
    })
    .map(drop)
}

/// Calls with every row of a table or join; gives whether more is wanted.
fn each_part(
    from: &From,
    ctx: &Ctx<'_>,
    outer: Option<&Env<'_>>,
    keys: bool,
    parts: &mut Vec<Part>,
    emit: &mut dyn FnMut(&mut Vec<Part>) -> Result<bool>,
) -> Result<bool> {
    match from {
        From::Table { source, database, table, types, access } => {
            let mut more = Ok(true);
            each_row_of(access, *database, *table, types, ctx, outer, &mut |key, row| {
                parts[*source] = Part::Stored(row.clone(), Rc::clone(types), keys.then(|| Rc::new(RowKey::clone(key))));
                ctx.state.rows_read.set(ctx.state.rows_read.get() + 1);
                more = ctx.scalars.step().and_then(|()| emit(parts));
                matches!(more, Ok(true))
            })?;
            more
        }
        From::Rows { source, rows } => {
            for row in rows.iter() {
                parts[*source] = Part::Values(Rc::clone(row));
                if !emit(parts)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        From::Function { source, .. } => super::super::table_function::scan(from, ctx, outer, &mut |part| {
            parts[*source] = part;
            emit(parts)
        }),
        From::Query { source, plan } => {
            let mut more = true;
            run(plan, ctx, outer, &mut |row| {
                parts[*source] = Part::Values(Rc::new(row));
                more = emit(parts)?;
                Ok(more)
            })?;
            Ok(more)
        }
        From::Values { source, rows } => {
            for row in rows {
                let values = {
                    let env = Env { ctx, parts, aggs: &[], outer };
                    row.iter().map(|e| eval(e, &env)).collect::<Result<Vec<_>>>()?
                };
                parts[*source] = Part::Values(Rc::new(values));
                if !emit(parts)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        From::Join { left, right, kind, on, right_sources, left_sources, equal } => {
            let apply = matches!(kind, JoinKind::CrossApply | JoinKind::OuterApply);
            if apply {
                return each_part(left, ctx, outer, keys, parts, &mut |parts| {
                    let snapshot = parts.clone();
                    let env = Env { ctx, parts: &snapshot, aggs: &[], outer };
                    let mut matched = false;
                    let mut more = each_part(right, ctx, Some(&env), keys, parts, &mut |parts| {
                        matched = true;
                        emit(parts)
                    })?;
                    if !matched && *kind == JoinKind::OuterApply {
                        right_sources.iter().for_each(|s| parts[*s] = Part::None);
                        more = emit(parts)?;
                    }
                    Ok(more)
                });
            }
            // The right side is read once.
            let mut rows: Vec<Vec<Part>> = Vec::new();
            each_part(right, ctx, outer, keys, parts, &mut |parts| {
                rows.push(right_sources.iter().map(|s| parts[*s].clone()).collect());
                Ok(true)
            })?;
            right_sources.iter().for_each(|s| parts[*s] = Part::None);
            let mut index: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
            if !equal.is_empty() {
                for (n, row) in rows.iter().enumerate() {
                    right_sources.iter().zip(row).for_each(|(s, p)| parts[*s] = p.clone());
                    let env = Env { ctx, parts, aggs: &[], outer };
                    if let Some(key) = join_key(equal.iter().map(|(_, r)| r), &env)? {
                        index.entry(key).or_default().push(n);
                    }
                }
                right_sources.iter().for_each(|s| parts[*s] = Part::None);
            }
            let mut used = vec![false; rows.len()];
            let all: Vec<usize> = if equal.is_empty() { (0..rows.len()).collect() } else { Vec::new() };
            let more = each_part(left, ctx, outer, keys, parts, &mut |parts| {
                let candidates: &[usize] = if equal.is_empty() {
                    &all
                } else {
                    let env = Env { ctx, parts, aggs: &[], outer };
                    join_key(equal.iter().map(|(l, _)| l), &env)?.and_then(|k| index.get(&k)).map_or(&[], Vec::as_slice)
                };
                let mut matched = false;
                for n in candidates {
                    ctx.scalars.step()?;
                    right_sources.iter().zip(&rows[*n]).for_each(|(s, p)| parts[*s] = p.clone());
                    if let Some(on) = on {
                        let env = Env { ctx, parts, aggs: &[], outer };
                        if !holds(on, &env)? {
                            continue;
                        }
                    }
                    matched = true;
                    used[*n] = true;
                    if !emit(parts)? {
                        return Ok(false);
                    }
                }
                right_sources.iter().for_each(|s| parts[*s] = Part::None);
                if !matched && matches!(kind, JoinKind::Left | JoinKind::Full) {
                    return emit(parts);
                }
                Ok(true)
            })?;
            if more && matches!(kind, JoinKind::Right | JoinKind::Full) {
                left_sources.iter().for_each(|s| parts[*s] = Part::None);
                for (row, _) in rows.iter().zip(&used).filter(|(_, used)| !**used) {
                    right_sources.iter().zip(row).for_each(|(s, p)| parts[*s] = p.clone());
                    if !emit(parts)? {
                        return Ok(false);
                    }
                }
            }
            Ok(more)
        }
    }
}

/// What rows were before others changed them, where the session reads as of a point.
fn before_of<'a>(ctx: &Ctx<'a>, database: usize) -> Option<&'a Before> {
    let id = ctx.scalars.snapshots.get(&database)?;
    ctx.state.db(database).snapshots.get(id)
}

fn join_key<'e>(list: impl Iterator<Item = &'e Typed>, env: &Env<'_>) -> Result<Option<Vec<u8>>> {
    let mut key = Vec::new();
    for e in list {
        let v = eval(e, env)?;
        if v.is_null() {
            return Ok(None);
        }
        group_key(&v, &mut key);
    }
    Ok(Some(key))
}

/// Calls with the rows of a table that are to be looked at.
fn each_row_of(
    access: &Access,
    database: usize,
    table: u32,
    types: &[SqlType],
    ctx: &Ctx<'_>,
    outer: Option<&Env<'_>>,
    each: &mut dyn FnMut(&RowKey, &Arc<Row>) -> bool,
) -> Result<()> {
    let db = ctx.state.db(database);
    let storage = &db.storage;
    let xact = ctx.scalars.xacts.get(&database).copied();
    let before = before_of(ctx, database);
    let Some(def) = storage.table_def(table) else { return Ok(()) };
    let env = Env { ctx, parts: &[], aggs: &[], outer };
    let found = |columns: &[usize], values: &[Typed]| -> Result<Found> {
        let mut out = Vec::new();
        for (column, e) in columns.iter().zip(values) {
            match as_column(eval(e, &env)?, &e.ty, &types[*column])? {
                Some(Value::Null) => return Ok(Found::Nothing),
                Some(value) => out.push(to_bytes(&types[*column], &value)?.unwrap_or_default()),
                None => return Ok(Found::Unclear),
            }
        }
        Ok(Found::Values(out))
    };
    match access {
        Access::All => {}
        Access::Key(values) => match found(&def.primary_key, values)? {
            Found::Nothing => return Ok(()),
            Found::Unclear => {}
            Found::Values(values) => {
                let mut probe: Row = vec![None; def.columns.len()];
                for (column, value) in def.primary_key.iter().zip(values) {
                    probe[*column] = Some(value);
                }
                if let Some(key) = storage.key_of(table, &probe)
                    && let Some(row) = storage.seen_row(xact, table, before, &key)
                {
                    each(&key, &row);
                }
                return Ok(());
            }
        },
        Access::Keys(all) => {
            let mut keys = BTreeSet::new();
            let mut clear = true;
            for values in all {
                match found(&def.primary_key, values)? {
                    Found::Nothing => {}
                    Found::Unclear => clear = false,
                    Found::Values(values) => {
                        let mut probe: Row = vec![None; def.columns.len()];
                        for (column, value) in def.primary_key.iter().zip(values) {
                            probe[*column] = Some(value);
                        }
                        match storage.key_of(table, &probe) {
                            Some(key) => drop(keys.insert(key)),
                            None => clear = false,
                        }
                    }
                }
            }
            if clear {
                for key in keys {
                    if let Some(row) = storage.seen_row(xact, table, before, &key)
                        && !each(&key, &row)
                    {
                        return Ok(());
                    }
                }
                return Ok(());
            }
        }
        Access::Lookup { columns, values } => match found(columns, values)? {
            Found::Nothing => return Ok(()),
            Found::Unclear => {}
            Found::Values(values) => {
                let mut probe: Row = vec![None; def.columns.len()];
                for (column, value) in columns.iter().zip(values) {
                    probe[*column] = Some(value);
                }
                let (wanted, _) = values_of(&probe, types, columns);
                let mut keys = db.lookups.candidates(db, table, columns, &wanted);
                keys.sort_unstable();
                for key in keys {
                    if let Some(row) = storage.seen_row(xact, table, before, &key)
                        && values_of(&row, types, columns).0 == wanted
                        && !each(&key, &row)
                    {
                        return Ok(());
                    }
                }
                return Ok(());
            }
        },
        Access::Range { low, high } => {
            let end = |bound: &Option<PlanBound>, low: bool| -> Result<Option<Option<RowKey>>> {
                let Some(bound) = bound else { return Ok(Some(None)) };
                Ok(match found(&def.primary_key, &bound.values)? {
                    Found::Nothing => None,
                    Found::Unclear => Some(None),
                    Found::Values(values) => Some(storage.key_bound(table, &values, bound.strict == low)),
                })
            };
            let (Some(low), Some(high)) = (end(low, true)?, end(high, false)?) else { return Ok(()) };
            let low = low.as_ref().map_or(Bound::Unbounded, Bound::Included);
            let high = high.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            storage.scan_range(xact, table, before, (low, high), each);
            return Ok(());
        }
    }
    storage.scan(xact, table, before, each);
    Ok(())
}

/// What rows are looked up by.
enum Found {
    Values(Vec<Vec<u8>>),
    /// NULL is equal to nothing.
    Nothing,
    /// A value that the column's type does not have.
    Unclear,
}

/// A value as one of a column's type, where it is exactly one.
fn as_column(value: Value, from: &SqlType, to: &SqlType) -> Result<Option<Value>> {
    if from == to || value.is_null() {
        return Ok(Some(value));
    }
    let Ok(own) = convert(value.clone(), from, to, None) else { return Ok(None) };
    let back = convert(own.clone(), to, from, None);
    Ok(back.is_ok_and(|back| back == value).then_some(own))
}

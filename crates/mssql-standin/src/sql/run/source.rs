//! Rows of tables and joins.

use std::collections::HashMap;
use std::rc::Rc;

use super::super::ast::JoinKind;
use super::super::error::Result;
use super::super::eval::{Ctx, Env, eval, holds};
use super::super::plan::{From, Part, SelectPlan, Typed};
use super::super::value::group_key;
use super::run;
use crate::storage::{Before, Row, RowKey};

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
        From::Table { source, database, table, types, seek } => {
            let storage = &ctx.state.db(*database).storage;
            let xact = ctx.scalars.xacts.get(database).copied();
            let before = before_of(ctx, *database);
            if let Some(values) = seek {
                let def = storage.table_def(*table);
                let (Some(def), env) = (def, Env { ctx, parts: &[], aggs: &[], outer }) else { return Ok(true) };
                let mut probe: Row = vec![None; def.columns.len()];
                for (column, e) in def.primary_key.iter().zip(values) {
                    match super::super::value::to_bytes(&e.ty, &eval(e, &env)?)? {
                        Some(bytes) => probe[*column] = Some(bytes),
                        None => return Ok(true),
                    }
                }
                let Some(key) = storage.key_of(*table, &probe) else { return Ok(true) };
                if let Some(row) = storage.seen_row(xact, *table, before, &key) {
                    parts[*source] = Part::Stored(row, Rc::clone(types), keys.then(|| Rc::new(key)));
                    return emit(parts);
                }
                return Ok(true);
            }
            let mut more = Ok(true);
            storage.scan(xact, *table, before, &mut |key, row| {
                parts[*source] = Part::Stored(row.clone(), Rc::clone(types), keys.then(|| Rc::new(RowKey::clone(key))));
                more = emit(parts);
                matches!(more, Ok(true))
            });
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

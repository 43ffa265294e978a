//! Runs plans.

mod group;
mod source;
mod stored;
mod window;

use std::cmp::Ordering;
use std::collections::HashSet;
use std::rc::Rc;

use super::ast::SetOp;
use super::convert::convert;
use super::error::{Result, SqlError};
use super::eval::{Ctx, Env, eval};
use super::plan::{OrderKey, Plan, PlanBody, SelectPlan, Typed};
use super::value::{Value, compare, group_key};
use group::run_groups;
pub(crate) use source::{each_row, each_target};
pub(crate) use stored::stored_rows;

/// A row of a result, and its keys of ORDER BY.
type Sorted = (Vec<Value>, Vec<Value>);

/// Takes a row; `false` to get no more.
type Sink<'s> = &'s mut dyn FnMut(Vec<Value>) -> Result<bool>;

/// All rows of a sub-query; of one that does not look at the row around it, only once.
pub(crate) fn rows_of(plan: &Plan, env: &Env<'_>) -> Result<Rc<Vec<Vec<Value>>>> {
    let address = std::ptr::from_ref(plan) as usize;
    if let Some(rows) = env.ctx.cache.borrow().get(&address) {
        return Ok(Rc::clone(rows));
    }
    let mut rows = Vec::new();
    run(plan, env.ctx, Some(env), &mut |row| {
        rows.push(row);
        Ok(true)
    })?;
    let rows = Rc::new(rows);
    if !plan.is_correlated() {
        env.ctx.cache.borrow_mut().insert(address, Rc::clone(&rows));
    }
    Ok(rows)
}

/// Whether a sub-query has a row.
pub(crate) fn any(plan: &Plan, env: &Env<'_>) -> Result<bool> {
    let mut found = false;
    run(plan, env.ctx, Some(env), &mut |_| {
        found = true;
        Ok(false)
    })?;
    Ok(found)
}

/// Runs a query.
pub(crate) fn run(plan: &Plan, ctx: &Ctx<'_>, outer: Option<&Env<'_>>, out: Sink<'_>) -> Result<()> {
    let number = |e: &Option<Typed>| -> Result<Option<i64>> {
        e.as_ref().map(|e| Ok(eval(e, &Env::empty(ctx))?.as_int().unwrap_or(0))).transpose()
    };
    let (offset, fetch) = (number(&plan.offset)?, number(&plan.fetch)?);
    if offset.is_some_and(|n| n < 0) {
        return Err(SqlError::new(10742, "The offset specified in a OFFSET clause may not be negative."));
    }
    if fetch.is_some_and(|n| n < 1) {
        return Err(SqlError::new(10744, "The number of rows provided for a FETCH clause must be greater then zero."));
    }
    let (mut skip, mut left) = (offset.unwrap_or(0), fetch.unwrap_or(i64::MAX));
    let mut limited = |row: Vec<Value>| -> Result<bool> {
        if skip > 0 {
            skip -= 1;
            return Ok(true);
        }
        if left == 0 {
            return Ok(false);
        }
        left -= 1;
        Ok(out(row)? && left > 0)
    };
    match &plan.body {
        PlanBody::Select(select) => run_select(select, &plan.order, ctx, outer, &mut limited),
        PlanBody::Nested(inner) => {
            let mut rows: Vec<Sorted> = Vec::new();
            run(inner, ctx, outer, &mut |row| {
                rows.push((row, Vec::new()));
                Ok(true)
            })?;
            finish(rows, &plan.order, &mut limited)
        }
        PlanBody::Set { op, left, right } => {
            let rows = run_set(*op, left, right, plan, ctx, outer)?;
            finish(rows.into_iter().map(|r| (r, Vec::new())).collect(), &plan.order, &mut limited)
        }
    }
}

fn finish(mut rows: Vec<Sorted>, order: &[(OrderKey, bool)], out: Sink<'_>) -> Result<()> {
    sort(&mut rows, order);
    for (row, _) in rows {
        if !out(row)? {
            break;
        }
    }
    Ok(())
}

/// NULL comes first.
fn order_of(a: &Value, b: &Value) -> Ordering {
    compare(a, b).unwrap_or_else(|| b.is_null().cmp(&a.is_null()))
}

fn compare_rows(a: &Sorted, b: &Sorted, order: &[(OrderKey, bool)]) -> Ordering {
    let mut extra = 0;
    for (key, descending) in order {
        let found = match key {
            OrderKey::Output(at) => order_of(&a.0[*at], &b.0[*at]),
            OrderKey::Row(_) => {
                extra += 1;
                order_of(&a.1[extra - 1], &b.1[extra - 1])
            }
        };
        let found = if *descending { found.reverse() } else { found };
        if found.is_ne() {
            return found;
        }
    }
    Ordering::Equal
}

fn sort(rows: &mut [Sorted], order: &[(OrderKey, bool)]) {
    if !order.is_empty() {
        rows.sort_by(|a, b| compare_rows(a, b, order));
    }
}

fn row_key(row: &[Value]) -> Vec<u8> {
    let mut key = Vec::new();
    row.iter().for_each(|v| group_key(v, &mut key));
    key
}

fn run_set(
    op: SetOp,
    left: &Plan,
    right: &Plan,
    plan: &Plan,
    ctx: &Ctx<'_>,
    outer: Option<&Env<'_>>,
) -> Result<Vec<Vec<Value>>> {
    let read = |side: &Plan| -> Result<Vec<Vec<Value>>> {
        let mut rows = Vec::new();
        run(side, ctx, outer, &mut |row| {
            let row = row
                .into_iter()
                .zip(side.columns.iter().zip(&plan.columns))
                .map(|(v, (from, to))| convert(v, &from.ty, &to.ty, None))
                .collect::<Result<_>>()?;
            rows.push(row);
            Ok(true)
        })?;
        Ok(rows)
    };
    let (mut l, r) = (read(left)?, read(right)?);
    if op == SetOp::UnionAll {
        l.extend(r);
        return Ok(l);
    }
    let mut seen = HashSet::new();
    let others: HashSet<Vec<u8>> = r.iter().map(|row| row_key(row)).collect();
    match op {
        SetOp::Union => l.extend(r),
        SetOp::Except => l.retain(|row| !others.contains(&row_key(row))),
        SetOp::Intersect => l.retain(|row| others.contains(&row_key(row))),
        SetOp::UnionAll => {}
    }
    l.retain(|row| seen.insert(row_key(row)));
    Ok(l)
}

fn run_select(
    select: &SelectPlan,
    order: &[(OrderKey, bool)],
    ctx: &Ctx<'_>,
    outer: Option<&Env<'_>>,
    out: Sink<'_>,
) -> Result<()> {
    let top = match &select.top {
        Some(top) => match eval(&top.count, &Env::empty(ctx))? {
            Value::Int(n) if n < 0 => {
                return Err(SqlError::new(
                    1060,
                    "The number of rows provided for a TOP or FETCH clauses row count parameter must be an integer.",
                ));
            }
            Value::Int(n) => Some((n as usize, false)),
            Value::Float(f) => Some((f as usize, top.percent)),
            _ => Some((0, false)),
        },
        None => None,
    };
    let mut rows: Vec<Sorted> = Vec::new();
    let mut seen = HashSet::new();
    let streams = order.is_empty() && top.is_none_or(|(_, percent)| !percent);
    let mut left = top.map_or(usize::MAX, |(n, _)| n);
    if streams && left == 0 {
        return Ok(());
    }
    let mut emit = |env: &Env<'_>| -> Result<bool> {
        let row: Vec<Value> = select.items.iter().map(|e| eval(e, env)).collect::<Result<_>>()?;
        if select.distinct && !seen.insert(row_key(&row)) {
            return Ok(true);
        }
        if !select.assigns.is_empty() {
            let mut variables = ctx.variables.borrow_mut();
            for (name, value) in select.assigns.iter().zip(&row) {
                if let Some(held) = variables.get_mut(name) {
                    held.1 = value.clone();
                }
            }
        }
        if streams {
            left -= 1;
            return Ok(out(row)? && left > 0);
        }
        let mut keys = Vec::new();
        for (key, _) in order {
            if let OrderKey::Row(e) = key {
                keys.push(eval(e, env)?);
            }
        }
        rows.push((row, keys));
        Ok(true)
    };
    let all = |emit: &mut dyn FnMut(&Env<'_>) -> Result<bool>| match &select.group {
        None => each_row(select, ctx, outer, emit),
        Some(keys) => run_groups(select, keys, ctx, outer, emit),
    };
    if select.windows.is_empty() {
        all(&mut emit)?;
    } else {
        let mut waiting = Vec::new();
        all(&mut |env| {
            waiting.push((env.parts.to_vec(), env.aggs.to_vec()));
            Ok(true)
        })?;
        window::add_windows(&select.windows, &mut waiting, ctx, outer)?;
        for (parts, aggs) in &waiting {
            if !emit(&Env { ctx, parts, aggs, outer })? {
                break;
            }
        }
    }
    if streams {
        return Ok(());
    }
    sort(&mut rows, order);
    if let (Some((n, percent)), Some(plan)) = (top, &select.top) {
        let mut keep = n;
        if percent {
            let Value::Float(f) = eval(&plan.count, &Env::empty(ctx))? else { return Ok(()) };
            keep = (rows.len() as f64 * f / 100.0).ceil() as usize;
        }
        while plan.ties && keep > 0 && keep < rows.len() && compare_rows(&rows[keep - 1], &rows[keep], order).is_eq() {
            keep += 1;
        }
        rows.truncate(keep);
    }
    finish(rows, &[], out)
}

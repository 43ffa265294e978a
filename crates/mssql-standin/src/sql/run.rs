//! Runs plans.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::ast::{JoinKind, SetOp};
use super::convert::convert;
use super::error::{Result, SqlError, overflow};
use super::eval::{Ctx, Env, eval, holds};
use super::plan::{AggKind, AggPlan, From, OrderKey, Part, Plan, PlanBody, SelectPlan, Typed};
use super::value::{Dec, Value, compare, group_key};
use crate::storage::{Before, Row, RowKey};

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
    match &select.group {
        None => each_row(select, ctx, outer, &mut emit)?,
        Some(keys) => run_groups(select, keys, ctx, outer, &mut emit)?,
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
                    match super::value::to_bytes(&e.ty, &eval(e, &env)?)? {
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

/// An aggregate in the making.
struct Acc {
    count: i64,
    sum: Option<Value>,
    seen: HashSet<Vec<u8>>,
    list: Vec<f64>,
    text: Vec<u16>,
}

fn run_groups(
    select: &SelectPlan,
    keys: &[Typed],
    ctx: &Ctx<'_>,
    outer: Option<&Env<'_>>,
    emit: &mut dyn FnMut(&Env<'_>) -> Result<bool>,
) -> Result<()> {
    let fresh = || -> Vec<Acc> {
        let one = || Acc { count: 0, sum: None, seen: HashSet::new(), list: Vec::new(), text: Vec::new() };
        select.aggs.iter().map(|_| one()).collect()
    };
    let mut groups: Vec<(Vec<Part>, Vec<Acc>)> = Vec::new();
    let mut index: HashMap<Vec<u8>, usize> = HashMap::new();
    each_row(select, ctx, outer, &mut |env| {
        let mut key = Vec::new();
        for e in keys {
            group_key(&eval(e, env)?, &mut key);
        }
        let at = match index.get(&key) {
            Some(at) => *at,
            None => {
                index.insert(key, groups.len());
                groups.push((env.parts.to_vec(), fresh()));
                groups.len() - 1
            }
        };
        for (agg, acc) in select.aggs.iter().zip(&mut groups[at].1) {
            accumulate(agg, acc, env)?;
        }
        Ok(true)
    })?;
    if groups.is_empty() && keys.is_empty() {
        groups.push((vec![Part::None; select.sources], fresh()));
    }
    for (parts, accs) in groups {
        let mut aggs = Vec::new();
        for (agg, acc) in select.aggs.iter().zip(accs) {
            aggs.push(total(agg, acc)?);
        }
        let env = Env { ctx, parts: &parts, aggs: &aggs, outer };
        if let Some(having) = &select.having
            && !holds(having, &env)?
        {
            continue;
        }
        if !emit(&env)? {
            break;
        }
    }
    Ok(())
}

fn accumulate(agg: &AggPlan, acc: &mut Acc, env: &Env<'_>) -> Result<()> {
    let Some(arg) = &agg.arg else {
        acc.count += 1;
        return Ok(());
    };
    let v = eval(arg, env)?;
    if v.is_null() {
        return Ok(());
    }
    if agg.distinct && !acc.seen.insert(row_key(std::slice::from_ref(&v))) {
        return Ok(());
    }
    acc.count += 1;
    match agg.kind {
        AggKind::Count => {}
        AggKind::Sum | AggKind::Avg => {
            acc.sum = Some(match (acc.sum.take(), v) {
                (None, v) => match v {
                    // Sums of integers are made wide and checked at the end.
                    Value::Int(n) => Value::Dec(Dec { mantissa: i128::from(n), scale: 0 }),
                    v => v,
                },
                (Some(Value::Dec(a)), Value::Int(n)) => {
                    Value::Dec(Dec { mantissa: a.mantissa + i128::from(n), scale: 0 })
                }
                (Some(Value::Dec(a)), Value::Dec(b)) => {
                    let m = a.mantissa.checked_add(b.mantissa).ok_or_else(|| overflow("numeric"))?;
                    Value::Dec(Dec { mantissa: m, scale: a.scale })
                }
                (Some(Value::Money(a)), Value::Money(b)) => {
                    Value::Money(a.checked_add(b).ok_or_else(|| overflow("money"))?)
                }
                (Some(Value::Float(a)), Value::Float(b)) => Value::Float(a + b),
                (Some(a), _) => a,
            });
        }
        AggKind::Min | AggKind::Max => {
            let wanted = if agg.kind == AggKind::Min { Ordering::Less } else { Ordering::Greater };
            let better = acc.sum.as_ref().is_none_or(|held| compare(&v, held) == Some(wanted));
            if better {
                acc.sum = Some(v);
            }
        }
        AggKind::StringAgg => {
            if let Value::Text(t) = v {
                if acc.count > 1
                    && let Some(separator) = &agg.separator
                    && let Value::Text(s) = eval(separator, env)?
                {
                    acc.text.extend(s);
                }
                acc.text.extend(t);
            }
        }
        AggKind::Stdev { .. } | AggKind::Var { .. } => {
            if let Value::Float(f) = v {
                acc.list.push(f);
            }
        }
    }
    Ok(())
}

fn total(agg: &AggPlan, acc: Acc) -> Result<Value> {
    use logferry_model::SqlType;
    let wide = SqlType::Decimal { precision: 38, scale: 0 };
    Ok(match agg.kind {
        AggKind::Count => Value::Int(acc.count),
        AggKind::Sum => match acc.sum {
            Some(v @ Value::Dec(_)) if super::types::is_integer(&agg.ty) => match convert(v, &wide, &agg.ty, None) {
                Ok(v) => v,
                Err(_) => return Err(overflow(super::types::name(&agg.ty))),
            },
            Some(v) => v,
            None => Value::Null,
        },
        AggKind::Avg => match acc.sum {
            Some(Value::Dec(d)) if super::types::is_integer(&agg.ty) => {
                Value::Int((d.mantissa / i128::from(acc.count)) as i64)
            }
            Some(Value::Dec(d)) => {
                let SqlType::Decimal { scale, .. } = agg.ty else { return Ok(Value::Null) };
                let d = d.rescale(scale).ok_or_else(|| overflow("numeric"))?;
                Value::Dec(Dec { mantissa: d.mantissa / i128::from(acc.count), scale })
            }
            Some(Value::Money(m)) => Value::Money(m / acc.count),
            Some(Value::Float(f)) => Value::Float(f / acc.count as f64),
            _ => Value::Null,
        },
        AggKind::Min | AggKind::Max => acc.sum.unwrap_or(Value::Null),
        AggKind::StringAgg if acc.count == 0 => Value::Null,
        AggKind::StringAgg => Value::Text(acc.text),
        AggKind::Stdev { population } | AggKind::Var { population } => {
            let n = acc.list.len() as f64;
            let by = if population { n } else { n - 1.0 };
            if by <= 0.0 {
                return Ok(Value::Null);
            }
            let mean = acc.list.iter().sum::<f64>() / n;
            let var = acc.list.iter().map(|f| (f - mean).powi(2)).sum::<f64>() / by;
            Value::Float(if matches!(agg.kind, AggKind::Stdev { .. }) { var.sqrt() } else { var })
        }
    })
}

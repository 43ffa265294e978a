//! Groups and aggregates.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use super::super::convert::convert;
use super::super::error::{Result, overflow};
use super::super::eval::{Ctx, Env, eval, holds};
use super::super::plan::{AggKind, AggPlan, Part, SelectPlan, Typed};
use super::super::value::{Dec, Value, compare, group_key};
use super::row_key;
use super::source::each_row;

/// An aggregate in the making.
#[derive(Clone)]
pub(super) struct Acc {
    count: i64,
    sum: Option<Value>,
    seen: HashSet<Vec<u8>>,
    list: Vec<f64>,
    text: Vec<u16>,
}

/// An aggregate of nothing so far.
pub(super) fn fresh() -> Acc {
    Acc { count: 0, sum: None, seen: HashSet::new(), list: Vec::new(), text: Vec::new() }
}

pub(super) fn run_groups(
    select: &SelectPlan,
    keys: &[Typed],
    ctx: &Ctx<'_>,
    outer: Option<&Env<'_>>,
    emit: &mut dyn FnMut(&Env<'_>) -> Result<bool>,
) -> Result<()> {
    let none_yet = || -> Vec<Acc> { select.aggs.iter().map(|_| fresh()).collect() };
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
                groups.push((env.parts.to_vec(), none_yet()));
                groups.len() - 1
            }
        };
        for (agg, acc) in select.aggs.iter().zip(&mut groups[at].1) {
            accumulate(agg, acc, env)?;
        }
        Ok(true)
    })?;
    if groups.is_empty() && keys.is_empty() {
        groups.push((vec![Part::None; select.sources], none_yet()));
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

pub(super) fn accumulate(agg: &AggPlan, acc: &mut Acc, env: &Env<'_>) -> Result<()> {
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

pub(super) fn total(agg: &AggPlan, acc: Acc) -> Result<Value> {
    use logferry_model::SqlType;
    let wide = SqlType::Decimal { precision: 38, scale: 0 };
    Ok(match agg.kind {
        AggKind::Count => Value::Int(acc.count),
        AggKind::Sum => match acc.sum {
            Some(v @ Value::Dec(_)) if super::super::types::is_integer(&agg.ty) => {
                match convert(v, &wide, &agg.ty, None) {
                    Ok(v) => v,
                    Err(_) => return Err(overflow(super::super::types::name(&agg.ty))),
                }
            }
            Some(v) => v,
            None => Value::Null,
        },
        AggKind::Avg => match acc.sum {
            Some(Value::Dec(d)) if super::super::types::is_integer(&agg.ty) => {
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

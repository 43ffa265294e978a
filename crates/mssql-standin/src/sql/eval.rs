//! Values of expressions, for one row.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use logferry_model::SqlType;

use super::ast::{BinOp, CmpOp};
use super::convert::convert;
use super::error::{Result, SqlError, overflow, overflow_of};
use super::plan::{Node, Part, Plan, Typed};
use super::state::{Scalars, State};
use super::value::{DAY_TICKS, Dec, Value, compare, div_round, fold, from_bytes, pow10};
use super::{function, run, types};

/// What a statement sees while it runs.
pub(crate) struct Ctx<'a> {
    pub state: &'a State,
    pub scalars: &'a Scalars,
    pub variables: &'a RefCell<BTreeMap<String, (SqlType, Value)>>,
    /// Sub-queries that do not look at the row around them have their rows here, by address.
    pub cache: RefCell<BTreeMap<usize, std::rc::Rc<Vec<Vec<Value>>>>>,
}

/// One row, and what is around it.
pub(crate) struct Env<'a> {
    pub ctx: &'a Ctx<'a>,
    pub parts: &'a [Part],
    pub aggs: &'a [Value],
    pub outer: Option<&'a Env<'a>>,
}

impl<'a> Env<'a> {
    pub fn empty(ctx: &'a Ctx<'a>) -> Self {
        Env { ctx, parts: &[], aggs: &[], outer: None }
    }

    fn column(&self, depth: usize, source: usize, column: usize) -> Value {
        let mut env = self;
        for _ in 0..depth {
            match env.outer {
                Some(outer) => env = outer,
                None => return Value::Null,
            }
        }
        match env.parts.get(source) {
            Some(Part::Stored(row, types, _)) => match (row.get(column), types.get(column)) {
                (Some(Some(bytes)), Some(ty)) => from_bytes(ty, bytes),
                _ => Value::Null,
            },
            Some(Part::Values(values)) => values.get(column).cloned().unwrap_or(Value::Null),
            Some(Part::Log(row)) => row.column(column),
            _ => Value::Null,
        }
    }
}

/// Whether a condition holds: unknown does not.
pub(crate) fn holds(e: &Typed, env: &Env<'_>) -> Result<bool> {
    Ok(matches!(eval(e, env)?, Value::Int(n) if n != 0))
}

pub(crate) fn eval(e: &Typed, env: &Env<'_>) -> Result<Value> {
    Ok(match &e.node {
        Node::Const(v) => v.clone(),
        Node::Column { depth, source, column } => env.column(*depth, *source, *column),
        Node::Var(name) => env.ctx.variables.borrow().get(name).map_or(Value::Null, |(_, v)| v.clone()),
        Node::Agg(at) => env.aggs.get(*at).cloned().unwrap_or(Value::Null),
        Node::Window(at) => {
            let place = env.aggs.len().checked_sub(at + 1);
            place.and_then(|place| env.aggs.get(place)).cloned().unwrap_or(Value::Null)
        }
        Node::Binary(op, a, b) => {
            let (x, y) = (eval(a, env)?, eval(b, env)?);
            if x.is_null() || y.is_null() { Value::Null } else { arithmetic(*op, x, y, &e.ty)? }
        }
        Node::Compare(op, a, b) => three(compare(&eval(a, env)?, &eval(b, env)?).map(|o| satisfies(*op, o))),
        Node::And(a, b) => match truth(&eval(a, env)?) {
            Some(false) => Value::Int(0),
            left => three(match (left, truth(&eval(b, env)?)) {
                (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            }),
        },
        Node::Or(a, b) => match truth(&eval(a, env)?) {
            Some(true) => Value::Int(1),
            left => three(match (left, truth(&eval(b, env)?)) {
                (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            }),
        },
        Node::Not(a) => three(truth(&eval(a, env)?).map(|t| !t)),
        Node::IsNull(a, not) => Value::bit(eval(a, env)?.is_null() != *not),
        Node::Like { value, pattern, escape } => {
            let escape = match escape {
                Some(e) => match eval(e, env)? {
                    Value::Text(t) => t.first().copied(),
                    _ => return Ok(Value::Null),
                },
                None => None,
            };
            match (eval(value, env)?, eval(pattern, env)?) {
                (Value::Text(v), Value::Text(p)) => Value::bit(like(&v, &p, escape)),
                _ => Value::Null,
            }
        }
        Node::In(value, list) => {
            let value = eval(value, env)?;
            let mut unknown = value.is_null();
            for item in list {
                match compare(&value, &eval(item, env)?) {
                    Some(Ordering::Equal) => return Ok(Value::Int(1)),
                    Some(_) => {}
                    None => unknown = true,
                }
            }
            if unknown { Value::Null } else { Value::Int(0) }
        }
        Node::InQuery(value, plan) => {
            let value = eval(value, env)?;
            quantified(CmpOp::Eq, false, &value, e_type(plan), &value_type(plan, &e.node), plan, env)?
        }
        Node::Quantified { op, all, left, plan } => {
            let value = eval(left, env)?;
            quantified(*op, *all, &value, e_type(plan), &left.ty, plan, env)?
        }
        Node::Exists(plan) => Value::bit(run::any(plan, env)?),
        Node::Subquery(plan) => {
            let rows = run::rows_of(plan, env)?;
            match &rows[..] {
                [] => Value::Null,
                [row] => row.first().cloned().unwrap_or(Value::Null),
                _ => {
                    return Err(SqlError::new(
                        512,
                        "Subquery returned more than 1 value. This is not permitted when the subquery follows =, !=, <, <= , >, >= or when the subquery is used as an expression.",
                    ));
                }
            }
        }
        Node::Case(arms, other) => {
            for (test, value) in arms {
                if holds(test, env)? {
                    return eval(value, env);
                }
            }
            match other {
                Some(other) => eval(other, env)?,
                None => Value::Null,
            }
        }
        Node::Cast { value, style, tries } => {
            let from = &value.ty;
            let value = eval(value, env)?;
            let style = match style {
                Some(s) => eval(s, env)?.as_int(),
                None => None,
            };
            match convert(value, from, &e.ty, style) {
                Err(error) if *tries && error.number != 529 => Value::Null,
                other => other?,
            }
        }
        Node::Func(func, args) => {
            if let function::Func::Coalesce = func {
                for a in args {
                    let v = eval(a, env)?;
                    if !v.is_null() {
                        return Ok(v);
                    }
                }
                return Ok(Value::Null);
            }
            let values: Vec<Value> = args.iter().map(|a| eval(a, env)).collect::<Result<_>>()?;
            function::call(*func, values, args, &e.ty, env.ctx)?
        }
    })
}

fn e_type(plan: &Plan) -> SqlType {
    plan.columns.first().map_or(SqlType::Int, |c| c.ty.clone())
}

fn value_type(plan: &Plan, node: &Node) -> SqlType {
    match node {
        Node::InQuery(value, _) => value.ty.clone(),
        _ => e_type(plan),
    }
}

fn quantified(
    op: CmpOp,
    all: bool,
    value: &Value,
    from: SqlType,
    ty: &SqlType,
    plan: &Plan,
    env: &Env<'_>,
) -> Result<Value> {
    let rows = run::rows_of(plan, env)?;
    let mut unknown = false;
    for row in rows.iter() {
        let other = convert(row.first().cloned().unwrap_or(Value::Null), &from, ty, None)?;
        match compare(value, &other).map(|o| satisfies(op, o)) {
            Some(t) if t != all => return Ok(Value::bit(!all)),
            Some(_) => {}
            None => unknown = true,
        }
    }
    Ok(if unknown { Value::Null } else { Value::bit(all) })
}

pub(crate) fn truth(v: &Value) -> Option<bool> {
    match v {
        Value::Int(n) => Some(*n != 0),
        _ => None,
    }
}

fn three(t: Option<bool>) -> Value {
    t.map_or(Value::Null, Value::bit)
}

fn satisfies(op: CmpOp, o: Ordering) -> bool {
    match op {
        CmpOp::Eq => o.is_eq(),
        CmpOp::Ne => o.is_ne(),
        CmpOp::Lt => o.is_lt(),
        CmpOp::Le => o.is_le(),
        CmpOp::Gt => o.is_gt(),
        CmpOp::Ge => o.is_ge(),
    }
}

fn by_zero() -> SqlError {
    SqlError::new(8134, "Divide by zero error encountered.")
}

fn arithmetic(op: BinOp, a: Value, b: Value, ty: &SqlType) -> Result<Value> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => {
            let (x, y) = (i128::from(a), i128::from(b));
            let n = match op {
                BinOp::Add => x + y,
                BinOp::Sub => x - y,
                BinOp::Mul => x * y,
                BinOp::Div | BinOp::Mod if y == 0 => return Err(by_zero()),
                BinOp::Div => x / y,
                BinOp::Mod => x % y,
                BinOp::BitAnd => x & y,
                BinOp::BitOr => x | y,
                BinOp::BitXor => x ^ y,
            };
            let fits = match ty {
                SqlType::Bit | SqlType::TinyInt => (0..=255).contains(&n),
                SqlType::SmallInt => i16::try_from(n).is_ok(),
                SqlType::Int => i32::try_from(n).is_ok(),
                _ => i64::try_from(n).is_ok(),
            };
            if fits { Ok(Value::Int(n as i64)) } else { Err(overflow(types::name(ty))) }
        }
        (Value::Dec(a), Value::Dec(b)) => decimal(op, a, b, ty),
        (Value::Money(a), Value::Money(b)) => {
            let (x, y) = (i128::from(a), i128::from(b));
            let n = match op {
                BinOp::Add => x + y,
                BinOp::Sub => x - y,
                BinOp::Mul => div_round(x * y, 10_000),
                BinOp::Div | BinOp::Mod if y == 0 => return Err(by_zero()),
                BinOp::Div => x * 10_000 / y,
                _ => x % y,
            };
            let fits = if *ty == SqlType::SmallMoney { i32::try_from(n).is_ok() } else { i64::try_from(n).is_ok() };
            if fits { Ok(Value::Money(n as i64)) } else { Err(overflow(types::name(ty))) }
        }
        (Value::Float(a), Value::Float(b)) => {
            let f = match op {
                BinOp::Add => a + b,
                BinOp::Sub => a - b,
                BinOp::Mul => a * b,
                BinOp::Div | BinOp::Mod if b == 0.0 => return Err(by_zero()),
                BinOp::Div => a / b,
                _ => a % b,
            };
            let f = if *ty == SqlType::Real { f64::from(f as f32) } else { f };
            if f.is_finite() { Ok(Value::Float(f)) } else { Err(overflow(types::name(ty))) }
        }
        (Value::Text(mut a), Value::Text(b)) => {
            a.extend(b);
            if let Some(limit) = types::char_len(ty) {
                a.truncate(usize::from(limit));
            }
            Ok(Value::Text(a))
        }
        (Value::Bytes(mut a), Value::Bytes(b)) => {
            a.extend(b);
            if let Some(limit) = types::char_len(ty) {
                a.truncate(usize::from(limit));
            }
            Ok(Value::Bytes(a))
        }
        (Value::DateTime(days, ticks), Value::DateTime(more, by)) => {
            const DAY: i64 = (DAY_TICKS / 100_000 * 3) as i64;
            let left = i64::from(days) * DAY + i64::from(ticks);
            let right = i64::from(more) * DAY + i64::from(by);
            let n = if op == BinOp::Add { left + right } else { left - right };
            let (days, ticks) = (n.div_euclid(DAY), n.rem_euclid(DAY));
            if !(-53_690..=2_958_463).contains(&days) {
                return Err(SqlError::new(517, "Adding a value to a 'datetime' column caused an overflow."));
            }
            Ok(Value::DateTime(days as i32, ticks as u32))
        }
        (a, b) => Err(SqlError::new(402, format!("The values {a:?} and {b:?} cannot be combined."))),
    }
}

fn decimal(op: BinOp, a: Dec, b: Dec, ty: &SqlType) -> Result<Value> {
    let SqlType::Decimal { precision, scale } = *ty else { return Err(overflow("numeric")) };
    let too_big = || overflow_of("numeric", "numeric");
    let aligned = || -> Result<(i128, i128, u8)> {
        let s = a.scale.max(b.scale);
        let (x, y) = (a.rescale(s).ok_or_else(too_big)?, b.rescale(s).ok_or_else(too_big)?);
        Ok((x.mantissa, y.mantissa, s))
    };
    let out = match op {
        BinOp::Add | BinOp::Sub => {
            let (x, y, s) = aligned()?;
            let n = if op == BinOp::Add { x.checked_add(y) } else { x.checked_sub(y) };
            Dec { mantissa: n.ok_or_else(too_big)?, scale: s }
        }
        BinOp::Mul => {
            Dec { mantissa: a.mantissa.checked_mul(b.mantissa).ok_or_else(too_big)?, scale: a.scale + b.scale }
        }
        BinOp::Div | BinOp::Mod if b.mantissa == 0 => return Err(by_zero()),
        BinOp::Div => {
            // a / b with `scale` digits: a * 10^(scale - a.scale + b.scale) / b, cut.
            let shift = i32::from(scale) - i32::from(a.scale) + i32::from(b.scale);
            let (mut n, mut d) = (a.mantissa, b.mantissa);
            let by = pow10(shift.unsigned_abs().min(38) as u8).ok_or_else(too_big)?;
            if shift >= 0 {
                match n.checked_mul(by) {
                    Some(m) => n = m,
                    None => {
                        // Whole part first, then digit by digit.
                        let mut q = n / d;
                        let mut r = n % d;
                        for _ in 0..shift {
                            let r10 = r.checked_mul(10).ok_or_else(too_big)?;
                            q = q.checked_mul(10).and_then(|q| q.checked_add(r10 / d)).ok_or_else(too_big)?;
                            r = r10 % d;
                        }
                        return finish(Dec { mantissa: q, scale }, precision, scale);
                    }
                }
            } else {
                d = d.checked_mul(by).ok_or_else(too_big)?;
            }
            Dec { mantissa: n / d, scale }
        }
        _ => {
            let (x, y, s) = aligned()?;
            Dec { mantissa: x % y, scale: s }
        }
    };
    finish(out, precision, scale)
}

fn finish(d: Dec, precision: u8, scale: u8) -> Result<Value> {
    d.rescale(scale)
        .filter(|d| pow10(precision).is_none_or(|limit| d.mantissa.abs() < limit))
        .map(Value::Dec)
        .ok_or_else(|| overflow_of("expression", "numeric"))
}

/// LIKE: `%`, `_`, `[a-z]`, `[^abc]`, an escape.
pub(crate) fn like(value: &[u16], pattern: &[u16], escape: Option<u16>) -> bool {
    enum Piece {
        Any,
        One,
        Set(Vec<(u16, u16)>, bool),
        Unit(u16),
    }
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(unit) = pattern.get(at).copied() {
        at += 1;
        if Some(unit) == escape {
            if let Some(next) = pattern.get(at) {
                pieces.push(Piece::Unit(fold(*next)));
                at += 1;
            }
            continue;
        }
        match u8::try_from(unit) {
            Ok(b'%') => pieces.push(Piece::Any),
            Ok(b'_') => pieces.push(Piece::One),
            Ok(b'[') => {
                let rest = pattern.get(at..).unwrap_or_default();
                // A bracket that opens the set may be its first unit.
                let Some(close) = rest.iter().skip(1).position(|u| *u == u16::from(b']')).map(|n| n + 1) else {
                    pieces.push(Piece::Unit(unit));
                    continue;
                };
                let mut body = rest.get(..close).unwrap_or_default();
                let not = body.first() == Some(&u16::from(b'^'));
                if not {
                    body = body.get(1..).unwrap_or_default();
                }
                let mut ranges = Vec::new();
                let mut n = 0;
                while let Some(low) = body.get(n).copied() {
                    match (body.get(n + 1), body.get(n + 2)) {
                        (Some(dash), Some(high)) if *dash == u16::from(b'-') => {
                            ranges.push((fold(low), fold(*high)));
                            n += 3;
                        }
                        _ => {
                            ranges.push((fold(low), fold(low)));
                            n += 1;
                        }
                    }
                }
                pieces.push(Piece::Set(ranges, not));
                at += close + 1;
            }
            _ => pieces.push(Piece::Unit(fold(unit))),
        }
    }
    // The last `%` is where to go back to.
    let (mut v, mut p) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        let step = match (pieces.get(p), value.get(v)) {
            (Some(Piece::Any), _) => {
                back = Some((p + 1, v));
                p += 1;
                continue;
            }
            (None, None) => return true,
            // Spaces at the end do not count.
            (None, Some(_)) if value.get(v..).is_some_and(|rest| rest.iter().all(|u| *u == 0x20)) => return true,
            (Some(Piece::One), Some(_)) => true,
            (Some(Piece::Unit(u)), Some(x)) => *u == fold(*x),
            (Some(Piece::Set(ranges, not)), Some(x)) => {
                let x = fold(*x);
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&x)) != *not
            }
            _ => false,
        };
        if step {
            v += 1;
            p += 1;
            continue;
        }
        match back {
            Some((piece, from)) if from < value.len() => {
                back = Some((piece, from + 1));
                p = piece;
                v = from + 1;
            }
            _ => return false,
        }
    }
}

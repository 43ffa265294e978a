//! Operators and literals: the types that come out.

use logferry_model::SqlType;

use super::super::ast::{BinOp, CmpOp};
use super::super::convert::decimal_literal;
use super::super::error::{Result, SqlError};
use super::super::plan::{Node, Typed};
use super::super::types::{self, is_bytes, is_integer, is_text, is_time};
use super::super::value::{Dec, Value};
use super::{cast, common_of};
use logferry_mssql_standin_storage::DEFAULT_COLLATION;

pub(super) fn number(n: &str) -> Result<Typed> {
    if let Some(money) = n.strip_prefix('$') {
        let units = decimal_literal(money).and_then(|(d, _)| d.rescale(4)).and_then(|d| i64::try_from(d.mantissa).ok());
        return units
            .map(|m| Typed::constant(SqlType::Money, Value::Money(m)))
            .ok_or_else(|| super::super::error::overflow("money"));
    }
    if n.contains(['e', 'E']) {
        let f: f64 = n.parse().unwrap_or(if n.ends_with(['e', 'E', '+', '-']) {
            n.trim_end_matches(['e', 'E', '+', '-']).parse().unwrap_or(0.0)
        } else {
            0.0
        });
        return Ok(Typed::constant(SqlType::Float, Value::Float(f)));
    }
    if let Ok(i) = n.parse::<i32>() {
        return Ok(Typed::constant(SqlType::Int, Value::Int(i64::from(i))));
    }
    match decimal_literal(n) {
        Some((d, ty)) => Ok(Typed::constant(ty, Value::Dec(d))),
        None => Err(SqlError::batch(
            1007,
            format!("The number '{n}' is out of the range for numeric representation (maximum precision 38)."),
        )
        .class(15)),
    }
}

pub(super) fn comparable(ty: &SqlType) -> Result<()> {
    match ty {
        SqlType::Text { .. } | SqlType::NText { .. } | SqlType::Image | SqlType::Xml => Err(SqlError::batch(
            402,
            "The data types are incompatible in the equal to operator: text, ntext, image and xml cannot be compared.",
        )),
        _ => Ok(()),
    }
}

/// A comparison of two values, of the type that wins.
pub(crate) fn comparison(op: CmpOp, a: Typed, b: Typed) -> Result<Typed> {
    let ty = common_of([&a, &b])?;
    comparable(&ty)?;
    Ok(Typed::new(SqlType::Bit, Node::Compare(op, Box::new(cast(a, &ty)), Box::new(cast(b, &ty)))))
}

/// `a op b`, with the rules for what type comes out.
pub(crate) fn binary(op: BinOp, a: Typed, b: Typed) -> Result<Typed> {
    let make = |ty: SqlType, a: Typed, b: Typed| Typed::new(ty, Node::Binary(op, Box::new(a), Box::new(b)));
    let word = match op {
        BinOp::Add => "add",
        BinOp::Sub => "subtract",
        BinOp::Mul => "multiply",
        BinOp::Div => "divide",
        BinOp::Mod => "modulo",
        BinOp::BitAnd => "'&'",
        BinOp::BitOr => "'|'",
        BinOp::BitXor => "'^'",
    };
    let clash = |a: &SqlType, b: &SqlType| {
        Err(SqlError::batch(
            402,
            format!(
                "The data types {} and {} are incompatible in the {word} operator.",
                types::said(a),
                types::said(b)
            ),
        ))
    };
    let (mut a, mut b) = (a, b);
    if a.is_null_word() {
        a = Typed::constant(b.ty.clone(), Value::Null);
    } else if b.is_null_word() {
        b = Typed::constant(a.ty.clone(), Value::Null);
    }
    if is_text(&a.ty) && is_text(&b.ty) {
        if op != BinOp::Add {
            return Err(SqlError::batch(
                8117,
                format!("Operand data type {} is invalid for {word} operator.", types::said(&a.ty)),
            ));
        }
        let national = types::is_national(&a.ty) || types::is_national(&b.ty);
        let most = if national { 4000 } else { 8000 };
        let length = match (types::char_len(&a.ty), types::char_len(&b.ty)) {
            (Some(a), Some(b)) => Some((u32::from(a) + u32::from(b)).min(most) as u16),
            _ => None,
        };
        let ty = if national {
            SqlType::NVarChar { length, collation: DEFAULT_COLLATION }
        } else {
            SqlType::VarChar { length, collation: DEFAULT_COLLATION }
        };
        return Ok(make(ty, a, b));
    }
    if is_bytes(&a.ty) && is_bytes(&b.ty) && op == BinOp::Add {
        let length = match (types::char_len(&a.ty), types::char_len(&b.ty)) {
            (Some(a), Some(b)) => Some((u32::from(a) + u32::from(b)).min(8000) as u16),
            _ => None,
        };
        return Ok(make(SqlType::VarBinary { length }, a, b));
    }
    if is_time(&a.ty) || is_time(&b.ty) {
        let old = |t: &SqlType| matches!(t, SqlType::DateTime | SqlType::SmallDateTime);
        let fits = |t: &SqlType| old(t) || !is_time(t);
        if !matches!(op, BinOp::Add | BinOp::Sub) || !fits(&a.ty) || !fits(&b.ty) {
            return clash(&a.ty, &b.ty);
        }
        return Ok(make(SqlType::DateTime, cast(a, &SqlType::DateTime), cast(b, &SqlType::DateTime)));
    }
    let ty = types::common(&a.ty, &b.ty)?;
    if matches!(op, BinOp::BitAnd | BinOp::BitOr | BinOp::BitXor) {
        let ty = if is_bytes(&ty) { SqlType::Int } else { ty };
        if !is_integer(&ty) {
            return clash(&a.ty, &b.ty);
        }
        return Ok(make(ty.clone(), cast(a, &ty), cast(b, &ty)));
    }
    match ty {
        SqlType::Decimal { .. } => {
            let (a, b) = (as_decimal(a)?, as_decimal(b)?);
            let ((p1, s1), (p2, s2)) = match (types::decimal_of(&a.ty), types::decimal_of(&b.ty)) {
                (Some(a), Some(b)) => (a, b),
                _ => return clash(&a.ty, &b.ty),
            };
            Ok(make(decimal_result(op, (i32::from(p1), i32::from(s1)), (i32::from(p2), i32::from(s2))), a, b))
        }
        SqlType::Bit => Ok(make(SqlType::Int, cast(a, &SqlType::Int), cast(b, &SqlType::Int))),
        SqlType::SmallMoney | SqlType::Money | SqlType::Float | SqlType::Real => {
            Ok(make(ty.clone(), cast(a, &ty), cast(b, &ty)))
        }
        ty if is_integer(&ty) => Ok(make(ty.clone(), cast(a, &ty), cast(b, &ty))),
        SqlType::Variant => Err(SqlError::batch(
            257,
            format!(
                "Implicit conversion from data type sql_variant to {} is not allowed. Use the CONVERT function to run this query.",
                types::said(if a.ty == SqlType::Variant { &b.ty } else { &a.ty })
            ),
        )),
        _ => clash(&a.ty, &b.ty),
    }
}

/// Integers as decimals with as many digits as they may have; of literals, as they have.
fn as_decimal(e: Typed) -> Result<Typed> {
    if matches!(e.ty, SqlType::Decimal { .. }) {
        return Ok(e);
    }
    if let Node::Const(Value::Int(n)) = e.node {
        let precision = n.unsigned_abs().to_string().len() as u8;
        return Ok(Typed::constant(
            SqlType::Decimal { precision, scale: 0 },
            Value::Dec(Dec { mantissa: i128::from(n), scale: 0 }),
        ));
    }
    let (precision, scale) = types::decimal_of(&e.ty).unwrap_or((38, 10));
    Ok(cast(e, &SqlType::Decimal { precision, scale }))
}

fn decimal_result(op: BinOp, (p1, s1): (i32, i32), (p2, s2): (i32, i32)) -> SqlType {
    let (p, s) = match op {
        BinOp::Mul => (p1 + p2 + 1, s1 + s2),
        BinOp::Div => {
            let s = (s1 + p2 + 1).max(6);
            (p1 - s1 + s2 + s, s)
        }
        BinOp::Mod => ((p1 - s1).min(p2 - s2) + s1.max(s2), s1.max(s2)),
        _ => ((p1 - s1).max(p2 - s2) + s1.max(s2) + 1, s1.max(s2)),
    };
    if p <= 38 {
        return SqlType::Decimal { precision: p as u8, scale: s as u8 };
    }
    let whole = p - s;
    let s = if whole < 32 { s.min(38 - whole) } else { s.min(6) };
    SqlType::Decimal { precision: 38, scale: s as u8 }
}

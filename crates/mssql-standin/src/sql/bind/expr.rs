//! Expressions.

use logferry_model::SqlType;

use super::super::ast::{BinOp, CmpOp, Expr, Query};
use super::super::convert::decimal_literal;
use super::super::error::{Result, SqlError, invalid_column, syntax, unsupported};
use super::super::function;
use super::super::plan::{AggKind, AggPlan, Node, Plan, Typed};
use super::super::types::{self, is_bytes, is_integer, is_text, is_time};
use super::super::value::{Dec, Value};
use super::{Binder, Scope, cast, common_of};
use crate::storage::DEFAULT_COLLATION;

impl Binder<'_> {
    /// A value.
    pub fn value(&mut self, e: &Expr, scope: &Scope<'_>) -> Result<Typed> {
        if let Some(found) = self.as_group_key(e, scope)? {
            return Ok(found);
        }
        match e {
            Expr::Null => Ok(Typed::constant(SqlType::Int, Value::Null)),
            Expr::Number(n) => number(n),
            Expr::Text(t, national) => {
                let units: Vec<u16> = t.encode_utf16().collect();
                let length = (units.len() <= if *national { 4000 } else { 8000 }).then(|| units.len().max(1) as u16);
                let collation = DEFAULT_COLLATION;
                Ok(if *national {
                    Typed::constant(SqlType::NVarChar { length, collation }, Value::Text(units))
                } else {
                    let ty = SqlType::VarChar { length, collation };
                    let value = super::super::value::from_bytes(&ty, &super::super::value::to_1252(&units));
                    Typed::constant(ty, value)
                })
            }
            Expr::Hex(h) => {
                let length = (h.len() <= 8000).then(|| h.len().max(1) as u16);
                Ok(Typed::constant(SqlType::VarBinary { length }, Value::Bytes(h.clone())))
            }
            Expr::Column(name) => self.column(name, scope),
            Expr::Var(name) => self.variable(name),
            Expr::Neg(inner) => {
                let inner = self.value(inner, scope)?;
                let zero = Typed::constant(SqlType::Int, Value::Int(0));
                let mut out = binary(BinOp::Sub, zero, inner.clone())?;
                if !is_text(&inner.ty) {
                    out = cast(out, &inner.ty);
                }
                Ok(out)
            }
            Expr::BitNot(inner) => {
                let inner = self.value(inner, scope)?;
                let ty = inner.ty.clone();
                let ones = match ty {
                    SqlType::Bit => 1,
                    SqlType::TinyInt => 255,
                    _ => -1,
                };
                let ones = Typed::constant(ty.clone(), Value::Int(ones));
                Ok(cast(binary(BinOp::BitXor, inner, ones)?, &ty))
            }
            Expr::Binary(op, a, b) => {
                let (a, b) = (self.value(a, scope)?, self.value(b, scope)?);
                binary(*op, a, b)
            }
            Expr::Case { operand, whens, other } => self.case(operand.as_deref(), whens, other.as_deref(), scope),
            Expr::Cast { value, to, style, tries } => {
                let value = self.value(value, scope)?;
                if matches!(to, SqlType::Xml) && !value.is_null_word() {
                    return Err(unsupported("values of the type xml"));
                }
                let style = style.as_deref().map(|s| self.value(s, scope)).transpose()?;
                if value.is_null_word() {
                    return Ok(Typed::constant(to.clone(), Value::Null));
                }
                let style = style.map(|s| Box::new(cast(s, &SqlType::Int)));
                Ok(Typed::new(to.clone(), Node::Cast { value: Box::new(value), style, tries: *tries }))
            }
            Expr::Subquery(query) => {
                let plan = self.subquery(query, scope)?;
                match &plan.columns[..] {
                    [column] => Ok(Typed::new(column.ty.clone(), Node::Subquery(Box::new(plan)))),
                    _ => Err(SqlError::batch(
                        116,
                        "Only one expression can be specified in the select list when the subquery is not introduced with EXISTS.",
                    )),
                }
            }
            Expr::Func { name, args, distinct, star, over } => {
                if over.is_some() {
                    return Err(unsupported("window functions"));
                }
                self.call(name, args, *distinct, *star, scope)
            }
            condition => Err(syntax(sign(condition), 0)),
        }
    }

    /// A condition.
    pub fn condition(&mut self, e: &Expr, scope: &Scope<'_>) -> Result<Typed> {
        let bit = |node| Typed::new(SqlType::Bit, node);
        let not = |on: bool, e: Typed| if on { bit(Node::Not(Box::new(e))) } else { e };
        Ok(match e {
            Expr::And(a, b) => bit(Node::And(Box::new(self.condition(a, scope)?), Box::new(self.condition(b, scope)?))),
            Expr::Or(a, b) => bit(Node::Or(Box::new(self.condition(a, scope)?), Box::new(self.condition(b, scope)?))),
            Expr::Not(a) => bit(Node::Not(Box::new(self.condition(a, scope)?))),
            Expr::Compare(op, a, b) => {
                let (a, b) = (self.value(a, scope)?, self.value(b, scope)?);
                comparison(*op, a, b)?
            }
            Expr::Quantified { op, all, left, query } => {
                let left = self.value(left, scope)?;
                let plan = self.one_column(query, scope)?;
                let ty = types::common(&left.ty, &plan.columns[0].ty)?;
                bit(Node::Quantified { op: *op, all: *all, left: Box::new(cast(left, &ty)), plan: Box::new(plan) })
            }
            Expr::IsNull(a, negated) => bit(Node::IsNull(Box::new(self.value(a, scope)?), *negated)),
            Expr::Like { value, pattern, escape, not: negated } => {
                let as_text = |e: Typed| if is_text(&e.ty) { e } else { cast(e, &types::nvarchar_max()) };
                let value = Box::new(as_text(self.value(value, scope)?));
                let pattern = Box::new(as_text(self.value(pattern, scope)?));
                let escape = escape.as_deref().map(|e| self.value(e, scope)).transpose()?;
                let escape = escape.map(|e| Box::new(as_text(e)));
                not(*negated, bit(Node::Like { value, pattern, escape }))
            }
            Expr::Between { value, low, high, not: negated } => {
                let value = self.value(value, scope)?;
                let (low, high) = (self.value(low, scope)?, self.value(high, scope)?);
                let low = comparison(CmpOp::Ge, value.clone(), low)?;
                let high = comparison(CmpOp::Le, value, high)?;
                not(*negated, bit(Node::And(Box::new(low), Box::new(high))))
            }
            Expr::In { value, list, not: negated } => {
                let value = self.value(value, scope)?;
                let list: Vec<Typed> = list.iter().map(|e| self.value(e, scope)).collect::<Result<_>>()?;
                let ty = common_of(std::iter::once(&value).chain(&list))?;
                comparable(&ty)?;
                let list = list.into_iter().map(|e| cast(e, &ty)).collect();
                not(*negated, bit(Node::In(Box::new(cast(value, &ty)), list)))
            }
            Expr::InQuery { value, query, not: negated } => {
                let value = self.value(value, scope)?;
                let plan = self.one_column(query, scope)?;
                let ty = types::common(&value.ty, &plan.columns[0].ty)?;
                not(*negated, bit(Node::InQuery(Box::new(cast(value, &ty)), Box::new(plan))))
            }
            Expr::Exists(query) => bit(Node::Exists(Box::new(self.subquery(query, scope)?))),
            value => {
                self.value(value, scope)?;
                return Err(SqlError::batch(
                    4145,
                    "An expression of non-boolean type specified in a context where a condition is expected.",
                )
                .class(15));
            }
        })
    }

    fn subquery(&mut self, query: &Query, scope: &Scope<'_>) -> Result<Plan> {
        let grouping = self.grouping.take();
        let plan = self.query(query, Some(scope));
        self.grouping = grouping;
        plan
    }

    fn one_column(&mut self, query: &Query, scope: &Scope<'_>) -> Result<Plan> {
        let plan = self.subquery(query, scope)?;
        match plan.columns.len() {
            1 => Ok(plan),
            _ => Err(SqlError::batch(
                116,
                "Only one expression can be specified in the select list when the subquery is not introduced with EXISTS.",
            )),
        }
    }

    /// In a grouped query: the expression, if it is one of those that are grouped by.
    fn as_group_key(&mut self, e: &Expr, scope: &Scope<'_>) -> Result<Option<Typed>> {
        let Some(grouping) = self.grouping.as_ref().filter(|g| !g.inside && !g.keys.is_empty()) else {
            return Ok(None);
        };
        if matches!(e, Expr::Null | Expr::Number(_) | Expr::Text(..) | Expr::Hex(_) | Expr::Var(_))
            || grouping.depth > 0
        {
            return Ok(None);
        }
        let saved = self.grouping.take();
        let plain = self.value(e, scope);
        self.grouping = saved;
        let keys = self.grouping.as_ref().map(|g| &g.keys);
        Ok(plain.ok().filter(|p| keys.is_some_and(|k| k.contains(p))))
    }

    fn column(&mut self, name: &[String], scope: &Scope<'_>) -> Result<Typed> {
        let Some((depth, source, column)) = scope.find(name)? else {
            let qualifier = name.get(..name.len().saturating_sub(1)).unwrap_or_default();
            return Err(match scope.knows(qualifier) {
                true => invalid_column(name.last().map_or("", String::as_str)),
                false => SqlError::batch(
                    4104,
                    format!("The multi-part identifier \"{}\" could not be bound.", name.join(".")),
                ),
            });
        };
        let mut at = scope;
        for _ in 0..depth {
            at = at.outer.unwrap_or(at);
        }
        let found = &at.sources[source];
        if depth == 0
            && let Some(grouping) = &self.grouping
            && !grouping.inside
        {
            let shown = format!("{}.{}", found.alias, found.columns[column].name);
            let key = Node::Column { depth, source, column };
            if !grouping.keys.iter().any(|k| k.node == key) {
                return Err(SqlError::batch(
                    8120,
                    format!(
                        "Column '{shown}' is invalid in the select list because it is not contained in either an aggregate function or the GROUP BY clause."
                    ),
                ));
            }
        }
        Ok(Typed::new(found.columns[column].ty.clone(), Node::Column { depth, source, column }))
    }

    fn variable(&mut self, name: &str) -> Result<Typed> {
        if name.starts_with("@@") {
            return function::bind(self, name, Vec::new());
        }
        match self.variables.get(&name.to_ascii_lowercase()) {
            Some((ty, _)) => Ok(Typed::new(ty.clone(), Node::Var(name.to_ascii_lowercase()))),
            None => {
                Err(SqlError::batch(137, format!("Must declare the scalar variable \"{name}\".")).class(15).state(2))
            }
        }
    }

    fn case(
        &mut self,
        operand: Option<&Expr>,
        whens: &[(Expr, Expr)],
        other: Option<&Expr>,
        scope: &Scope<'_>,
    ) -> Result<Typed> {
        let operand = operand.map(|o| self.value(o, scope)).transpose()?;
        let mut arms = Vec::new();
        for (test, value) in whens {
            let test = match &operand {
                Some(operand) => comparison(CmpOp::Eq, operand.clone(), self.value(test, scope)?)?,
                None => self.condition(test, scope)?,
            };
            arms.push((test, self.value(value, scope)?));
        }
        let other = other.map(|o| self.value(o, scope)).transpose()?;
        let ty = common_of(arms.iter().map(|(_, v)| v).chain(&other))?;
        let arms = arms.into_iter().map(|(test, value)| (test, cast(value, &ty))).collect();
        let other = other.map(|o| Box::new(cast(o, &ty)));
        Ok(Typed::new(ty, Node::Case(arms, other)))
    }

    fn call(&mut self, name: &[String], args: &[Expr], distinct: bool, star: bool, scope: &Scope<'_>) -> Result<Typed> {
        let upper = match name {
            [name] => name.to_ascii_uppercase(),
            [schema, name] if schema.eq_ignore_ascii_case("sys") => name.to_ascii_uppercase(),
            _ => {
                return Err(SqlError::batch(
                    4121,
                    format!(
                        "Cannot find either column \"{}\" or the user-defined function or aggregate \"{}\", or the name is ambiguous.",
                        name.first().map_or("", String::as_str),
                        name.join(".")
                    ),
                ));
            }
        };
        let kind = match upper.as_str() {
            "COUNT" | "COUNT_BIG" => Some(AggKind::Count),
            "SUM" => Some(AggKind::Sum),
            "AVG" => Some(AggKind::Avg),
            "MIN" => Some(AggKind::Min),
            "MAX" => Some(AggKind::Max),
            "STRING_AGG" => Some(AggKind::StringAgg),
            "STDEV" => Some(AggKind::Stdev { population: false }),
            "STDEVP" => Some(AggKind::Stdev { population: true }),
            "VAR" => Some(AggKind::Var { population: false }),
            "VARP" => Some(AggKind::Var { population: true }),
            _ => None,
        };
        if let Some(kind) = kind {
            return self.aggregate(kind, &upper, args, distinct, star, scope);
        }
        if star || distinct {
            return Err(syntax(if star { "*" } else { "DISTINCT" }, 0));
        }
        if upper == "IIF" {
            let [test, yes, no] = args else { return Err(wrong_count("iif", 3)) };
            return self.case(None, &[(test.clone(), yes.clone())], Some(no), scope);
        }
        // The first argument of these is a word.
        if matches!(upper.as_str(), "DATEADD" | "DATEDIFF" | "DATEDIFF_BIG" | "DATEPART" | "DATENAME") {
            let Some((Expr::Column(part), rest)) = args.split_first() else {
                return Err(wrong_count(&upper.to_lowercase(), 2));
            };
            let mut values = vec![Typed::constant(types::varchar(20), Value::text(&part.join(".")))];
            for e in rest {
                values.push(self.value(e, scope)?);
            }
            return function::bind(self, &upper, values);
        }
        let values = args.iter().map(|e| self.value(e, scope)).collect::<Result<_>>()?;
        function::bind(self, &upper, values)
    }

    fn aggregate(
        &mut self,
        kind: AggKind,
        name: &str,
        args: &[Expr],
        distinct: bool,
        star: bool,
        scope: &Scope<'_>,
    ) -> Result<Typed> {
        let Some(grouping) = &mut self.grouping else {
            return Err(SqlError::batch(
                147,
                "An aggregate may not appear in the WHERE clause unless it is in a subquery contained in a HAVING clause or a select list, and the column being aggregated is an outer reference.",
            )
            .class(15));
        };
        if grouping.inside {
            return Err(SqlError::batch(
                130,
                "Cannot perform an aggregate function on an expression containing an aggregate or a subquery.",
            ));
        }
        grouping.inside = true;
        let bound: Result<Vec<Typed>> = args.iter().map(|e| self.value(e, scope)).collect();
        if let Some(grouping) = &mut self.grouping {
            grouping.inside = false;
        }
        let mut bound = bound?.into_iter();
        let arg = bound.next();
        let separator = bound.next();
        let lower = name.to_lowercase();
        if bound.next().is_some() || separator.is_some() != (kind == AggKind::StringAgg) || star != arg.is_none() {
            return Err(wrong_count(&lower, 1));
        }
        if star && kind != AggKind::Count {
            return Err(syntax("*", 0));
        }
        let of = arg.as_ref().map_or(SqlType::Int, |a| a.ty.clone());
        let invalid = || {
            Err(SqlError::batch(
                8117,
                format!("Operand data type {} is invalid for {lower} operator.", types::said(&of)),
            ))
        };
        let numeric = is_integer(&of) && of != SqlType::Bit
            || matches!(
                of,
                SqlType::Decimal { .. } | SqlType::Money | SqlType::SmallMoney | SqlType::Real | SqlType::Float
            );
        let (ty, arg) = match kind {
            AggKind::Count if name == "COUNT_BIG" => (SqlType::BigInt, arg),
            AggKind::Count => (SqlType::Int, arg),
            AggKind::Sum | AggKind::Avg if !numeric => return invalid(),
            AggKind::Sum | AggKind::Avg => {
                let ty = match &of {
                    SqlType::BigInt => SqlType::BigInt,
                    of if is_integer(of) => SqlType::Int,
                    SqlType::Decimal { scale, .. } if kind == AggKind::Avg => {
                        SqlType::Decimal { precision: 38, scale: (*scale).max(6) }
                    }
                    SqlType::Decimal { scale, .. } => SqlType::Decimal { precision: 38, scale: *scale },
                    SqlType::SmallMoney => SqlType::Money,
                    SqlType::Real => SqlType::Float,
                    other => other.clone(),
                };
                let wide =
                    if matches!(of, SqlType::SmallMoney | SqlType::Real) { arg.map(|a| cast(a, &ty)) } else { arg };
                (ty, wide)
            }
            AggKind::Min | AggKind::Max => {
                if matches!(
                    of,
                    SqlType::Bit | SqlType::Text { .. } | SqlType::NText { .. } | SqlType::Image | SqlType::Xml
                ) {
                    return invalid();
                }
                (of.clone(), arg)
            }
            AggKind::StringAgg => {
                let ty =
                    if types::is_national(&of) || !is_text(&of) { types::nvarchar(4000) } else { types::varchar(8000) };
                let ty = if types::char_len(&of).is_none() { types::nvarchar_max() } else { ty };
                (ty.clone(), arg.map(|a| cast(a, &ty)))
            }
            AggKind::Stdev { .. } | AggKind::Var { .. } if !numeric => return invalid(),
            AggKind::Stdev { .. } | AggKind::Var { .. } => (SqlType::Float, arg.map(|a| cast(a, &SqlType::Float))),
        };
        let plan = AggPlan { kind, distinct, arg, separator, ty: ty.clone() };
        let aggs = self.grouping.as_mut().map(|g| &mut g.aggs);
        let at = match aggs {
            Some(aggs) => match aggs.iter().position(|a| *a == plan) {
                Some(at) => at,
                None => {
                    aggs.push(plan);
                    aggs.len() - 1
                }
            },
            None => 0,
        };
        Ok(Typed::new(ty, Node::Agg(at)))
    }
}

pub(crate) fn wrong_count(name: &str, count: usize) -> SqlError {
    SqlError::batch(174, format!("The {name} function requires {count} argument(s).")).class(15)
}

/// What stands in a condition that is no value.
fn sign(e: &Expr) -> &'static str {
    match e {
        Expr::Compare(op, ..) | Expr::Quantified { op, .. } => match op {
            CmpOp::Eq => "=",
            CmpOp::Ne => "<>",
            CmpOp::Lt => "<",
            CmpOp::Le => "<=",
            CmpOp::Gt => ">",
            CmpOp::Ge => ">=",
        },
        Expr::And(..) => "AND",
        Expr::Or(..) => "OR",
        Expr::Not(_) => "NOT",
        Expr::IsNull(..) => "IS",
        Expr::Like { .. } => "LIKE",
        Expr::Between { .. } => "BETWEEN",
        Expr::In { .. } | Expr::InQuery { .. } => "IN",
        _ => "EXISTS",
    }
}

fn number(n: &str) -> Result<Typed> {
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

fn comparable(ty: &SqlType) -> Result<()> {
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

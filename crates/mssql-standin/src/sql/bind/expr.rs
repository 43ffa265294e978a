//! Expressions.

use logferry_model::SqlType;

use super::super::ast::{BinOp, CmpOp, Expr, Query};
use super::super::collation;
use super::super::error::{Result, SqlError, invalid_column, syntax};
use super::super::function;
use super::super::plan::{AggKind, Node, Plan, Typed};
use super::super::types::{self, is_text};
use super::super::value::Value;
pub(crate) use super::operator::{binary, comparison};
use super::operator::{comparable, number};
use super::{Binder, Scope, cast, common_of};
use logferry_mssql_standin_storage::{ColumnUse, DEFAULT_COLLATION};

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
            Expr::Collate(inner, name) => {
                let inner = self.value(inner, scope)?;
                if collation::is_binary(name) {
                    // Bytes decide: what casts to varbinary compares alike.
                    return Ok(cast(inner, &SqlType::VarBinary { length: None }));
                }
                let of = collation::named(name).unwrap_or(DEFAULT_COLLATION);
                Ok(Typed { ty: collation::with(&inner.ty, of), ..inner })
            }
            Expr::Case { operand, whens, other } => self.case(operand.as_deref(), whens, other.as_deref(), scope),
            Expr::Cast { value, to, style, tries } => {
                let value = self.value(value, scope)?;
                let style = style.as_deref().map(|s| self.value(s, scope)).transpose()?;
                if value.is_null_word() {
                    return Ok(Typed::constant(to.clone(), Value::Null));
                }
                let style = style.map(|s| Box::new(cast(s, &SqlType::Int)));
                // Text keeps its collation.
                let to = &collation::of(&value.ty).map_or_else(|| to.clone(), |of| collation::with(to, of));
                Ok(Typed::new(to.clone(), Node::Cast { value: Box::new(value), style, tries: *tries }))
            }
            Expr::Method { of, name, args } => super::super::method::bind(self, of, name, args, scope),
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
            Expr::Func { name, args, distinct, star, over } => match over {
                Some(over) => self.window(name, args, (*distinct, *star), over, scope),
                None => self.plain_call(name, args, *distinct, *star, scope),
            },
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
        let (grouping, windows) = (self.grouping.take(), self.windows.take());
        let plan = self.query(query, Some(scope));
        self.grouping = grouping;
        self.windows = windows;
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
        if let Some(uses) = &mut self.uses {
            uses.column(found, column, ColumnUse { read: true, ..ColumnUse::default() });
        }
        let bound = found.column_at(depth, source, column);
        if depth == 0
            && let Some(grouping) = &self.grouping
            && !grouping.inside
        {
            let shown = format!("{}.{}", found.alias, found.columns[column].name);
            if !grouping.keys.iter().any(|k| k.node == bound.node) {
                return Err(SqlError::batch(
                    8120,
                    format!(
                        "Column '{shown}' is invalid in the select list because it is not contained in either an aggregate function or the GROUP BY clause."
                    ),
                ));
            }
        }
        Ok(bound)
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

    pub(super) fn plain_call(
        &mut self,
        name: &[String],
        args: &[Expr],
        distinct: bool,
        star: bool,
        scope: &Scope<'_>,
    ) -> Result<Typed> {
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

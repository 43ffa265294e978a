//! Aggregates.

use logferry_model::SqlType;

use super::super::ast::Expr;
use super::super::error::{Result, SqlError, syntax};
use super::super::plan::{AggKind, AggPlan, Node, Typed};
use super::super::types::{self, is_integer, is_text};
use super::expr::wrong_count;
use super::{Binder, Scope, cast};

impl Binder<'_> {
    pub(super) fn aggregate(
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

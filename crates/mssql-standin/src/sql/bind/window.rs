//! Window functions: `f(...) OVER (PARTITION BY ... ORDER BY ... frame)`.

use logferry_model::SqlType;

use super::super::ast::{Expr, Over};
use super::super::error::{Result, SqlError, unsupported};
use super::super::plan::{Node, Typed, WindowKind, WindowPlan};
use super::super::value::Value;
use super::expr::wrong_count;
use super::{Binder, Grouping, Scope, cast};

impl Binder<'_> {
    /// A window function; where it may stand, its value is one of the row's window values.
    pub(super) fn window(
        &mut self,
        name: &[String],
        args: &[Expr],
        (distinct, star): (bool, bool),
        over: &Over,
        scope: &Scope<'_>,
    ) -> Result<Typed> {
        if self.windows.is_none() {
            return Err(SqlError::batch(4108, "Windowed functions can only appear in the SELECT or ORDER BY clauses.")
                .class(15));
        }
        if distinct {
            return Err(SqlError::batch(10759, "Use of DISTINCT is not allowed with the OVER clause.").class(15));
        }
        let upper = name.last().map(|n| n.to_ascii_uppercase()).unwrap_or_default();
        let partition = over.partition.iter().map(|e| self.value(e, scope)).collect::<Result<_>>()?;
        let order: Vec<(Typed, bool)> =
            over.order.iter().map(|(e, desc)| Ok((self.value(e, scope)?, *desc))).collect::<Result<_>>()?;
        let needs_order = || match order.is_empty() {
            true => {
                Err(SqlError::batch(4112, format!("The function '{upper}' must have an OVER clause with ORDER BY."))
                    .class(15))
            }
            false => Ok(()),
        };
        let mut bound: Vec<Typed> = Vec::new();
        let (kind, ty) = match upper.as_str() {
            "ROW_NUMBER" | "RANK" | "DENSE_RANK" | "NTILE" => {
                needs_order()?;
                let kind = match upper.as_str() {
                    "ROW_NUMBER" => WindowKind::RowNumber,
                    "RANK" => WindowKind::Rank,
                    "DENSE_RANK" => WindowKind::DenseRank,
                    _ => WindowKind::Ntile,
                };
                if args.len() != usize::from(kind == WindowKind::Ntile) {
                    return Err(wrong_count(&upper.to_lowercase(), usize::from(kind == WindowKind::Ntile)));
                }
                for e in args {
                    let e = self.value(e, scope)?;
                    bound.push(cast(e, &SqlType::BigInt));
                }
                (kind, SqlType::BigInt)
            }
            "LAG" | "LEAD" | "FIRST_VALUE" | "LAST_VALUE" => {
                needs_order()?;
                for e in args {
                    bound.push(self.value(e, scope)?);
                }
                let Some(ty) = bound.first().map(|e| e.ty.clone()) else {
                    return Err(wrong_count(&upper.to_lowercase(), 1));
                };
                let kind = match upper.as_str() {
                    "LAG" => WindowKind::Lag,
                    "LEAD" => WindowKind::Lead,
                    "FIRST_VALUE" => WindowKind::First,
                    _ => WindowKind::Last,
                };
                if let [_, offset, ..] = &mut bound[..] {
                    let old = std::mem::replace(offset, Typed::constant(SqlType::Int, Value::Null));
                    *offset = cast(old, &SqlType::BigInt);
                }
                if let [_, _, default] = &mut bound[..] {
                    let old = std::mem::replace(default, Typed::constant(SqlType::Int, Value::Null));
                    *default = cast(old, &ty);
                }
                (kind, ty)
            }
            _ => {
                let saved = self.grouping.replace(Grouping::default());
                let value = self.plain_call(name, args, distinct, star, scope);
                let own = std::mem::replace(&mut self.grouping, saved);
                let value = value?;
                match own.and_then(|g| g.aggs.into_iter().next()) {
                    Some(agg) => (WindowKind::Aggregate(Box::new(agg)), value.ty),
                    None => return Err(unsupported(format!("{} OVER", name.join(".")))),
                }
            }
        };
        let plan = WindowPlan { kind, args: bound, partition, order, frame: over.frame };
        let windows = self.windows.get_or_insert_with(Vec::new);
        let at = windows.iter().position(|w| *w == plan).unwrap_or_else(|| {
            windows.push(plan);
            windows.len() - 1
        });
        Ok(Typed::new(ty, Node::Window(at)))
    }
}

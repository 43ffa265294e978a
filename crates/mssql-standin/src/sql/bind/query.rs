//! Queries: tables, joins, items, grouping, order.

use logferry_model::SqlType;

use super::super::ast::{Body, Expr, Item, Query, Select, SetOp};
use super::super::error::{Result, SqlError, syntax};
use super::super::plan::{Column, Node, OrderKey, Plan, PlanBody, SelectPlan, TopPlan, Typed};
use super::super::types;
use super::super::value::same_name;
use super::table::push_equalities;
use super::{Binder, Grouping, Scope, cast};
use logferry_mssql_standin_storage::ColumnUse;

impl Binder<'_> {
    /// A query inside of a scope, or outermost.
    pub fn query(&mut self, query: &Query, outer: Option<&Scope<'_>>) -> Result<Plan> {
        let known = self.with.len();
        self.with.extend(query.with.iter().cloned());
        let plan = self.query_body(query, outer);
        self.with.truncate(known);
        plan
    }

    fn query_body(&mut self, query: &Query, outer: Option<&Scope<'_>>) -> Result<Plan> {
        let mut plan = match &query.body {
            Body::Select(select) => self.select(select, &query.order, outer)?,
            Body::Nested(inner) => {
                let inner = self.query(inner, outer)?;
                let order = self.output_order(&query.order, &inner.columns)?;
                Plan {
                    columns: inner.columns.clone(),
                    body: PlanBody::Nested(Box::new(inner)),
                    order,
                    offset: None,
                    fetch: None,
                }
            }
            set => {
                let mut plan = self.set_operation(set, outer)?;
                plan.order = self.output_order(&query.order, &plan.columns)?;
                plan
            }
        };
        let mut bound = |e: &Option<Expr>| -> Result<Option<Typed>> {
            e.as_ref().map(|e| Ok(cast(self.value(e, &Scope::EMPTY)?, &SqlType::BigInt))).transpose()
        };
        plan.offset = bound(&query.offset)?;
        plan.fetch = bound(&query.fetch)?;
        Ok(plan)
    }

    fn output_order(&mut self, order: &[(Expr, bool)], columns: &[Column]) -> Result<Vec<(OrderKey, bool)>> {
        order
            .iter()
            .map(|(e, descending)| {
                let at = match e {
                    Expr::Number(n) => n.parse::<usize>().ok().filter(|n| (1..=columns.len()).contains(n)).map(|n| n - 1),
                    Expr::Column(name) => match &name[..] {
                        [name] => columns.iter().position(|c| same_name(&c.name, name)),
                        _ => None,
                    },
                    _ => None,
                };
                at.map(|at| (OrderKey::Output(at), *descending)).ok_or_else(|| {
                    SqlError::batch(
                        104,
                        "ORDER BY items must appear in the select list if the statement contains a UNION, INTERSECT or EXCEPT operator.",
                    )
                })
            })
            .collect()
    }

    fn set_operation(&mut self, body: &Body, outer: Option<&Scope<'_>>) -> Result<Plan> {
        let Body::Set { op, left, right } = body else {
            return match body {
                Body::Select(select) => self.select(select, &[], outer),
                Body::Nested(query) => self.query(query, outer),
                Body::Set { .. } => Err(syntax("UNION", 0)),
            };
        };
        let (left, right) = (self.set_operation(left, outer)?, self.set_operation(right, outer)?);
        if left.columns.len() != right.columns.len() {
            return Err(SqlError::batch(
                205,
                "All queries combined using a UNION, INTERSECT or EXCEPT operator must have an equal number of expressions in their target lists.",
            ));
        }
        let mut columns = Vec::new();
        for (at, (l, r)) in left.columns.iter().zip(&right.columns).enumerate() {
            let ty = match (is_null_column(&left, at), is_null_column(&right, at)) {
                (true, false) => r.ty.clone(),
                (false, true) => l.ty.clone(),
                _ => types::common(&l.ty, &r.ty)?,
            };
            columns.push(Column::plain(l.name.clone(), ty, l.nullable || r.nullable));
        }
        let body = PlanBody::Set { op: *op, left: Box::new(left), right: Box::new(right) };
        Ok(Plan { columns, body, order: Vec::new(), offset: None, fetch: None })
    }

    fn select(&mut self, select: &Select, order: &[(Expr, bool)], outer: Option<&Scope<'_>>) -> Result<Plan> {
        let (grouping, windows) = (self.grouping.take(), self.windows.take());
        let out = self.select_inner(select, order, outer);
        self.grouping = grouping;
        self.windows = windows;
        out
    }

    fn select_inner(&mut self, select: &Select, order: &[(Expr, bool)], outer: Option<&Scope<'_>>) -> Result<Plan> {
        let mut scope = Scope { sources: Vec::new(), outer };
        let mut from = self.joined(&select.from, &mut scope)?;
        let filter = select.filter.as_ref().map(|f| self.condition(f, &scope)).transpose()?;
        if let (Some(from), Some(filter)) = (&mut from, &filter) {
            self.find_access(from, filter);
            push_equalities(from, filter);
        }
        let keys: Vec<Typed> = select.group.iter().map(|g| self.value(g, &scope)).collect::<Result<_>>()?;
        let grouped = !keys.is_empty()
            || select.having.is_some()
            || select.items.iter().any(|i| matches!(i, Item::Expr(e, _) | Item::Assign(_, _, e) if has_aggregate(e)))
            || order.iter().any(|(e, _)| has_aggregate(e));
        if grouped {
            self.grouping = Some(Grouping { keys: keys.clone(), ..Grouping::default() });
        }
        self.windows = Some(Vec::new());
        let (mut items, mut columns, mut assigns) = (Vec::new(), Vec::new(), Vec::new());
        for item in &select.items {
            match item {
                Item::All(qualifier) => {
                    if scope.sources.is_empty() {
                        return Err(SqlError::batch(263, "Must specify table to select from."));
                    }
                    let before = items.len();
                    for (source, s) in scope.sources.iter().enumerate().filter(|(_, s)| s.answers_to(qualifier)) {
                        for (at, c) in s.columns.iter().enumerate() {
                            if let Some(uses) = &mut self.uses {
                                uses.column(s, at, ColumnUse { all: true, ..ColumnUse::default() });
                            }
                            if grouped {
                                self.value(&Expr::Column(vec![s.alias.clone(), c.name.clone()]), &scope)?;
                            }
                            items.push(s.column_at(0, source, at));
                            columns.push(c.clone());
                        }
                    }
                    if items.len() == before {
                        return Err(SqlError::batch(
                            107,
                            format!(
                                "The column prefix '{}' does not match with a table name or alias name used in the query.",
                                qualifier.join(".")
                            ),
                        ));
                    }
                }
                Item::Expr(e, alias) => {
                    let bound = self.value(e, &scope)?;
                    columns.push(self.named(&bound, e, alias.as_deref(), &scope));
                    items.push(bound);
                }
                Item::Assign(name, op, e) => {
                    let e = match op {
                        Some(op) => &Expr::Binary(*op, Box::new(Expr::Var(name.clone())), Box::new(e.clone())),
                        None => e,
                    };
                    let Some((ty, _)) = self.variables.get(&name.to_ascii_lowercase()) else {
                        return Err(
                            SqlError::batch(137, format!("Must declare the scalar variable \"{name}\".")).class(15)
                        );
                    };
                    let ty = ty.clone();
                    items.push(cast(self.value(e, &scope)?, &ty));
                    assigns.push(name.to_ascii_lowercase());
                }
            }
        }
        if !assigns.is_empty() && assigns.len() != items.len() {
            return Err(SqlError::batch(
                141,
                "A SELECT statement that assigns a value to a variable must not be combined with data-retrieval operations.",
            )
            .class(15));
        }
        let windows = self.windows.take();
        let having = select.having.as_ref().map(|h| self.condition(h, &scope)).transpose()?;
        self.windows = windows;
        let mut order = self.row_order(order, &columns, &items, select, &scope)?;
        let windows = self.windows.take().unwrap_or_default();
        let plain = !grouped && !select.distinct && !select.top.as_ref().is_some_and(|t| t.ties || t.percent);
        if plain && from.as_ref().is_some_and(|from| self.is_in_order(from, &order, &items)) {
            order.clear();
        }
        let aggs = self.grouping.take().map(|g| g.aggs).unwrap_or_default();
        let top = match &select.top {
            Some(top) => {
                let count = self.value(&top.count, &Scope::EMPTY)?;
                let count = cast(count, if top.percent { &SqlType::Float } else { &SqlType::BigInt });
                Some(TopPlan { count, percent: top.percent, ties: top.ties })
            }
            None => None,
        };
        let body = PlanBody::Select(Box::new(SelectPlan {
            sources: scope.sources.len(),
            from,
            filter,
            group: grouped.then_some(keys),
            aggs,
            windows,
            having,
            items,
            assigns,
            distinct: select.distinct,
            top,
        }));
        Ok(Plan { columns, body, order, offset: None, fetch: None })
    }

    fn row_order(
        &mut self,
        order: &[(Expr, bool)],
        columns: &[Column],
        items: &[Typed],
        select: &Select,
        scope: &Scope<'_>,
    ) -> Result<Vec<(OrderKey, bool)>> {
        let mut out = Vec::new();
        for (e, descending) in order {
            let key = match e {
                Expr::Number(n) => match n.parse::<usize>() {
                    Ok(n) if (1..=columns.len()).contains(&n) => OrderKey::Output(n - 1),
                    _ => {
                        return Err(SqlError::batch(
                            108,
                            format!(
                                "The ORDER BY position number {n} is out of range of the number of items in the select list."
                            ),
                        ));
                    }
                },
                Expr::Column(name) if name.len() == 1 && columns.iter().any(|c| same_name(&c.name, &name[0])) => {
                    OrderKey::Output(columns.iter().position(|c| same_name(&c.name, &name[0])).unwrap_or(0))
                }
                e => {
                    // `ORDER BY (SELECT NULL)` and other constants leave the order as it is.
                    let bound = self.value(e, scope)?;
                    match items.iter().position(|i| *i == bound) {
                        Some(at) if !columns.is_empty() => OrderKey::Output(at),
                        _ if select.distinct => {
                            return Err(SqlError::batch(
                                145,
                                "ORDER BY items must appear in the select list if SELECT DISTINCT is specified.",
                            )
                            .class(15));
                        }
                        _ => OrderKey::Row(bound),
                    }
                }
            };
            out.push((key, *descending));
        }
        Ok(out)
    }

    /// A list of items over sources, without grouping.
    pub fn items(&mut self, items: &[Item], scope: Scope<'_>) -> Result<(Vec<Column>, Vec<Typed>)> {
        let (mut columns, mut out) = (Vec::new(), Vec::new());
        for item in items {
            match item {
                Item::All(qualifier) => {
                    for (source, s) in scope.sources.iter().enumerate().filter(|(_, s)| s.answers_to(qualifier)) {
                        for (column, c) in s.columns.iter().enumerate() {
                            out.push(s.column_at(0, source, column));
                            columns.push(c.clone());
                        }
                    }
                }
                Item::Expr(e, alias) => {
                    let bound = self.value(e, &scope)?;
                    columns.push(self.named(&bound, e, alias.as_deref(), &scope));
                    out.push(bound);
                }
                Item::Assign(..) => return Err(syntax("=", 0)),
            }
        }
        Ok((columns, out))
    }

    fn named(&self, bound: &Typed, e: &Expr, alias: Option<&str>, scope: &Scope<'_>) -> Column {
        let own = match bound.node {
            Node::Column { depth: 0, source, column } => scope.sources.get(source).and_then(|s| s.columns.get(column)),
            _ => None,
        };
        let name = match (alias, e) {
            (Some(alias), _) => alias.to_owned(),
            (None, Expr::Column(name)) => name.last().cloned().unwrap_or_default(),
            _ => String::new(),
        };
        let nullable = match (&own, &bound.node) {
            (Some(c), _) => c.nullable,
            (None, Node::Const(v)) => v.is_null(),
            _ => true,
        };
        Column {
            name,
            ty: bound.ty.clone(),
            nullable,
            identity: own.is_some_and(|c| c.identity),
            computed: own.is_some_and(|c| c.computed),
        }
    }
}

/// Whether a column of a result is the word NULL.
fn is_null_column(plan: &Plan, at: usize) -> bool {
    match &plan.body {
        PlanBody::Select(s) => s.items.get(at).is_some_and(Typed::is_null_word),
        PlanBody::Nested(inner) => is_null_column(inner, at),
        PlanBody::Set { op: SetOp::UnionAll | SetOp::Union, left, right } => {
            is_null_column(left, at) && is_null_column(right, at)
        }
        PlanBody::Set { .. } => false,
    }
}

/// Whether an expression has an aggregate of this query in it.
fn has_aggregate(e: &Expr) -> bool {
    let any = |list: &[Expr]| list.iter().any(has_aggregate);
    match e {
        Expr::Func { name, args, over: None, .. } => {
            let aggregate = matches!(&name[..], [n] if [
                "COUNT", "COUNT_BIG", "SUM", "AVG", "MIN", "MAX", "STRING_AGG", "STDEV", "STDEVP", "VAR", "VARP",
            ].iter().any(|a| a.eq_ignore_ascii_case(n)));
            aggregate || any(args)
        }
        Expr::Neg(a) | Expr::BitNot(a) | Expr::Collate(a, _) | Expr::Not(a) | Expr::IsNull(a, _) => has_aggregate(a),
        Expr::Binary(_, a, b) | Expr::Compare(_, a, b) | Expr::And(a, b) | Expr::Or(a, b) => {
            has_aggregate(a) || has_aggregate(b)
        }
        Expr::Like { value, pattern, .. } => has_aggregate(value) || has_aggregate(pattern),
        Expr::Between { value, low, high, .. } => has_aggregate(value) || has_aggregate(low) || has_aggregate(high),
        Expr::In { value, list, .. } => has_aggregate(value) || any(list),
        Expr::InQuery { value, .. } | Expr::Quantified { left: value, .. } => has_aggregate(value),
        Expr::Case { operand, whens, other } => {
            operand.as_deref().is_some_and(has_aggregate)
                || other.as_deref().is_some_and(has_aggregate)
                || whens.iter().any(|(a, b)| has_aggregate(a) || has_aggregate(b))
        }
        Expr::Cast { value, .. } => has_aggregate(value),
        _ => false,
    }
}

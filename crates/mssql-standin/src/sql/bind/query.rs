//! Queries: tables, joins, items, grouping, order.

use std::rc::Rc;

use logferry_model::SqlType;

use super::super::ast::{Body, CmpOp, Expr, Item, JoinKind, Query, Select, SetOp, TableRef};
use super::super::catalog;
use super::super::error::{Result, SqlError, invalid_object, syntax, unsupported};
use super::super::plan::{Column, From, Node, OrderKey, Plan, PlanBody, SelectPlan, TopPlan, Typed};
use super::super::types;
use super::super::value::same_name;
use super::{Binder, Grouping, Scope, Source, cast};

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
            columns.push(Column { name: l.name.clone(), ty, nullable: l.nullable || r.nullable, identity: false });
        }
        let body = PlanBody::Set { op: *op, left: Box::new(left), right: Box::new(right) };
        Ok(Plan { columns, body, order: Vec::new(), offset: None, fetch: None })
    }

    fn select(&mut self, select: &Select, order: &[(Expr, bool)], outer: Option<&Scope<'_>>) -> Result<Plan> {
        let saved = self.grouping.take();
        let out = self.select_inner(select, order, outer);
        self.grouping = saved;
        out
    }

    fn select_inner(&mut self, select: &Select, order: &[(Expr, bool)], outer: Option<&Scope<'_>>) -> Result<Plan> {
        let mut scope = Scope { sources: Vec::new(), outer };
        let mut from: Option<From> = None;
        for table in &select.from {
            let first = scope.sources.len();
            let next = self.table_ref(table, &mut scope)?;
            from = Some(match from {
                None => next,
                Some(left) => join(
                    left,
                    next,
                    JoinKind::Inner,
                    None,
                    (0..first).collect(),
                    (first..scope.sources.len()).collect(),
                ),
            });
        }
        let filter = select.filter.as_ref().map(|f| self.condition(f, &scope)).transpose()?;
        if let (Some(from), Some(filter)) = (&mut from, &filter) {
            self.find_seek(from, filter);
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
                            if grouped {
                                self.value(&Expr::Column(vec![s.alias.clone(), c.name.clone()]), &scope)?;
                            }
                            items.push(Typed::new(c.ty.clone(), Node::Column { depth: 0, source, column: at }));
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
        let having = select.having.as_ref().map(|h| self.condition(h, &scope)).transpose()?;
        let order = self.row_order(order, &columns, &items, select, &scope)?;
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

    /// The tables of a FROM.
    pub fn tables(&mut self, list: &[TableRef]) -> Result<(From, Vec<Source>)> {
        let mut scope = Scope { sources: Vec::new(), outer: None };
        let mut from: Option<From> = None;
        for table in list {
            let first = scope.sources.len();
            let next = self.table_ref(table, &mut scope)?;
            from = Some(match from {
                None => next,
                Some(left) => join(
                    left,
                    next,
                    JoinKind::Inner,
                    None,
                    (0..first).collect(),
                    (first..scope.sources.len()).collect(),
                ),
            });
        }
        from.map(|f| (f, scope.sources)).ok_or_else(|| syntax("FROM", 0))
    }

    /// A list of items over sources, without grouping.
    pub fn items(&mut self, items: &[Item], scope: Scope<'_>) -> Result<(Vec<Column>, Vec<Typed>)> {
        let (mut columns, mut out) = (Vec::new(), Vec::new());
        for item in items {
            match item {
                Item::All(qualifier) => {
                    for (source, s) in scope.sources.iter().enumerate().filter(|(_, s)| s.answers_to(qualifier)) {
                        for (column, c) in s.columns.iter().enumerate() {
                            out.push(Typed::new(c.ty.clone(), Node::Column { depth: 0, source, column }));
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
        Column { name, ty: bound.ty.clone(), nullable, identity: own.is_some_and(|c| c.identity) }
    }

    fn table_ref(&mut self, table: &TableRef, scope: &mut Scope<'_>) -> Result<From> {
        let source = scope.sources.len();
        match table {
            TableRef::Named { name, alias } => {
                let (from, mut found) = self.named_table(name, source, scope)?;
                if let Some(alias) = alias {
                    found.alias.clone_from(alias);
                    found.schema = None;
                }
                scope.sources.push(found);
                Ok(from)
            }
            TableRef::Derived { query, alias, columns } => {
                let plan = self.query(query, scope.outer)?;
                scope.sources.push(derived(alias, columns, &plan)?);
                Ok(From::Query { source, plan: Box::new(plan) })
            }
            TableRef::Values { rows, alias, columns } => {
                let mut bound: Vec<Vec<Typed>> = Vec::new();
                for row in rows {
                    if row.len() != columns.len() {
                        return Err(SqlError::batch(
                            8158,
                            format!("'{alias}' has more columns than were specified in the column list."),
                        ));
                    }
                    bound.push(row.iter().map(|e| self.value(e, scope)).collect::<Result<_>>()?);
                }
                let mut list = Vec::new();
                for (at, name) in columns.iter().enumerate() {
                    let ty = super::common_of(bound.iter().filter_map(|r| r.get(at)))?;
                    list.push(Column { name: name.clone(), ty, nullable: true, identity: false });
                }
                for row in &mut bound {
                    let cells = std::mem::take(row);
                    *row = cells.into_iter().zip(&list).map(|(e, c)| cast(e, &c.ty)).collect();
                }
                scope.sources.push(Source { alias: alias.clone(), schema: None, columns: list });
                Ok(From::Values { source, rows: bound })
            }
            TableRef::Func { name, args, alias } => {
                let args: Vec<Typed> = args.iter().map(|e| self.value(e, scope)).collect::<Result<_>>()?;
                let found = catalog::table_function(self, name, &args)?;
                let Some((columns, rows)) = found else {
                    return Err(invalid_object(&name.join(".")));
                };
                let alias = alias.clone().or_else(|| name.last().cloned()).unwrap_or_default();
                scope.sources.push(Source { alias, schema: None, columns });
                Ok(From::Rows { source, rows: Rc::new(rows.into_iter().map(Rc::new).collect()) })
            }
            TableRef::Join { left, right, kind, on } => {
                let left = self.table_ref(left, scope)?;
                let middle = scope.sources.len();
                let right = match kind {
                    JoinKind::CrossApply | JoinKind::OuterApply => self.applied(right, scope)?,
                    _ => self.table_ref(right, scope)?,
                };
                let end = scope.sources.len();
                // Rows that outer joins add make columns nullable.
                let padded = match kind {
                    JoinKind::Left | JoinKind::OuterApply => middle..end,
                    JoinKind::Right => source..middle,
                    JoinKind::Full => source..end,
                    _ => 0..0,
                };
                for s in scope.sources.get_mut(padded).into_iter().flatten() {
                    s.columns.iter_mut().for_each(|c| c.nullable = true);
                }
                let on = on.as_ref().map(|on| self.condition(on, scope)).transpose()?;
                Ok(join(left, right, *kind, on, (source..middle).collect(), (middle..end).collect()))
            }
        }
    }

    /// The right side of APPLY sees what is left of it, as if that were outside.
    fn applied(&mut self, right: &TableRef, scope: &mut Scope<'_>) -> Result<From> {
        let source = scope.sources.len();
        match right {
            TableRef::Derived { query, alias, columns } => {
                let plan = self.query(query, Some(scope))?;
                let found = derived(alias, columns, &plan)?;
                scope.sources.push(found);
                Ok(From::Query { source, plan: Box::new(plan) })
            }
            TableRef::Values { .. } => self.table_ref(right, scope),
            _ => Err(unsupported("APPLY of anything but a query or VALUES")),
        }
    }

    fn named_table(&mut self, name: &[String], source: usize, scope: &Scope<'_>) -> Result<(From, Source)> {
        if let [single] = name
            && let Some(at) = self.with.iter().rposition(|(n, ..)| same_name(n, single))
        {
            // A table expression sees those before it, not itself.
            let later = self.with.split_off(at);
            let plan = match later.first() {
                Some((_, _, query)) => self.query(query, scope.outer),
                None => Err(invalid_object(single)),
            };
            self.with.extend(later);
            let plan = plan?;
            let columns = self.with.get(at).map(|(_, c, _)| c.clone()).unwrap_or_default();
            let found = derived(single, &columns, &plan)?;
            return Ok((From::Query { source, plan: Box::new(plan) }, found));
        }
        if let Some(at) = self.state.find_table(self.scalars, name)? {
            return Ok(self.table_source(at, source));
        }
        if let Some((schema, columns, rows)) = catalog::view(self, name)? {
            let alias = name.last().cloned().unwrap_or_default();
            let rows = Rc::new(rows.into_iter().map(Rc::new).collect());
            return Ok((From::Rows { source, rows }, Source { alias, schema: Some(schema), columns }));
        }
        Err(invalid_object(&name.join(".")))
    }

    /// Reads of one row by its key: all columns of the key are compared to values.
    pub fn find_seek(&self, from: &mut From, filter: &Typed) {
        let From::Table { source, database, table, types, seek } = from else { return };
        let Some(def) = self.state.db(*database).storage.table_def(*table) else { return };
        if def.primary_key.is_empty() {
            return;
        }
        let mut found = Vec::new();
        for key in &def.primary_key {
            let value = equal_to(filter, *source, *key).and_then(|e| {
                let ty = types.get(*key)?;
                (e.ty == *ty).then(|| e.clone())
            });
            match value {
                Some(value) => found.push(value),
                None => return,
            }
        }
        *seek = Some(found);
    }
}

/// What a column is compared to with `=` in a condition that must hold.
fn equal_to(filter: &Typed, source: usize, column: usize) -> Option<&Typed> {
    match &filter.node {
        Node::And(a, b) => equal_to(a, source, column).or_else(|| equal_to(b, source, column)),
        Node::Compare(CmpOp::Eq, a, b) => {
            let is_it = |e: &Typed| e.node == Node::Column { depth: 0, source, column };
            if is_it(a) && b.is_fixed() {
                Some(b)
            } else if is_it(b) && a.is_fixed() {
                Some(a)
            } else {
                None
            }
        }
        _ => None,
    }
}

fn join(
    left: From,
    right: From,
    kind: JoinKind,
    on: Option<Typed>,
    left_sources: Vec<usize>,
    right_sources: Vec<usize>,
) -> From {
    let mut equal = Vec::new();
    if let Some(on) = &on {
        equalities(on, &left_sources, &right_sources, &mut equal);
    }
    From::Join { left: Box::new(left), right: Box::new(right), kind, on, right_sources, left_sources, equal }
}

/// Joins written with commas: their conditions stand in WHERE.
fn push_equalities(from: &mut From, filter: &Typed) {
    if let From::Join { left, kind: JoinKind::Inner, left_sources, right_sources, equal, .. } = from {
        equalities(filter, left_sources, right_sources, equal);
        push_equalities(left, filter);
    }
}

/// `left = right` pairs of a condition that must hold: what a join can look up by.
fn equalities(on: &Typed, left: &[usize], right: &[usize], out: &mut Vec<(Typed, Typed)>) {
    match &on.node {
        Node::And(a, b) => {
            equalities(a, left, right, out);
            equalities(b, left, right, out);
        }
        Node::Compare(CmpOp::Eq, a, b) => match (side(a), side(b)) {
            (Some(x), Some(y)) if left.contains(&x) && right.contains(&y) => out.push(((**a).clone(), (**b).clone())),
            (Some(x), Some(y)) if right.contains(&x) && left.contains(&y) => out.push(((**b).clone(), (**a).clone())),
            _ => {}
        },
        _ => {}
    }
}

/// The one source that an expression is of, where that is plain to see.
fn side(e: &Typed) -> Option<usize> {
    match &e.node {
        Node::Column { depth: 0, source, .. } => Some(*source),
        Node::Cast { value, style: None, tries: false } => side(value),
        _ => None,
    }
}

fn derived(alias: &str, names: &[String], plan: &Plan) -> Result<Source> {
    let mut columns = plan.columns.clone();
    if !names.is_empty() && names.len() != columns.len() {
        return Err(SqlError::batch(
            if names.len() < columns.len() { 8158 } else { 8159 },
            format!(
                "'{alias}' has {} columns than were specified in the column list.",
                if names.len() < columns.len() { "more" } else { "fewer" }
            ),
        ));
    }
    for (column, name) in columns.iter_mut().zip(names) {
        column.name.clone_from(name);
    }
    if let Some(at) = columns.iter().position(|c| c.name.is_empty()) {
        return Err(SqlError::batch(8155, format!("No column name was specified for column {} of '{alias}'.", at + 1)));
    }
    Ok(Source { alias: alias.to_owned(), schema: None, columns })
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
        Expr::Neg(a) | Expr::BitNot(a) | Expr::Not(a) | Expr::IsNull(a, _) => has_aggregate(a),
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

//! Tables and joins of a FROM; what is read by its key.

use std::rc::Rc;

use super::super::ast::{CmpOp, Hold, JoinKind, ModuleKind, TableRef};
use super::super::catalog;
use super::super::error::{Result, SqlError, invalid_object, syntax, unsupported};
use super::super::plan::{Column, From, Node, Plan, Typed};
use super::super::table_function;
use super::super::value::same_name;
use super::{Binder, Scope, Source, cast};

impl Binder<'_> {
    /// The tables of a FROM.
    pub fn tables(&mut self, list: &[TableRef]) -> Result<(From, Vec<Source>)> {
        let mut scope = Scope { sources: Vec::new(), outer: None };
        let from = self.joined(list, &mut scope)?;
        from.map(|f| (f, scope.sources)).ok_or_else(|| syntax("FROM", 0))
    }

    /// The tables of a list, each with each; `None` where it is empty.
    pub(super) fn joined(&mut self, list: &[TableRef], scope: &mut Scope<'_>) -> Result<Option<From>> {
        let mut from: Option<From> = None;
        for table in list {
            let first = scope.sources.len();
            let next = self.table_ref(table, scope)?;
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
        Ok(from)
    }

    pub(super) fn table_ref(&mut self, table: &TableRef, scope: &mut Scope<'_>) -> Result<From> {
        let source = scope.sources.len();
        match table {
            TableRef::Named { name, alias, locks } => {
                let waits = self.read.len();
                let (from, mut found) = self.named_table(name, source, scope)?;
                let kept = (self.scalars.keeps_what_it_reads() && !locks.none).then_some(Hold::Shared);
                if let Some(hold) = locks.hold.max(kept) {
                    self.held.extend(self.read.get(waits..).unwrap_or_default().iter().map(|at| (*at, hold)));
                }
                if locks.none {
                    self.read.truncate(waits);
                }
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
                    list.push(Column::plain(name.clone(), ty, true));
                }
                for row in &mut bound {
                    let cells = std::mem::take(row);
                    *row = cells.into_iter().zip(&list).map(|(e, c)| cast(e, &c.ty)).collect();
                }
                scope.sources.push(Source {
                    alias: alias.clone(),
                    schema: None,
                    columns: list,
                    computed: Vec::new(),
                    object: None,
                });
                Ok(From::Values { source, rows: bound })
            }
            TableRef::Func { name, args, alias } => {
                let at = (source, alias.as_deref());
                if let Some((from, found)) = table_function::bind(self, name, args, at, scope.outer)? {
                    scope.sources.push(found);
                    return Ok(from);
                }
                let args: Vec<Typed> = args.iter().map(|e| self.value(e, scope)).collect::<Result<_>>()?;
                let found = catalog::table_function(self, name, &args)?;
                let Some((columns, rows)) = found else {
                    return Err(invalid_object(&name.join(".")));
                };
                let alias = alias.clone().or_else(|| name.last().cloned()).unwrap_or_default();
                scope.sources.push(Source { alias, schema: None, columns, computed: Vec::new(), object: None });
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
            TableRef::Func { name, args, alias } => {
                let found = table_function::bind(self, name, args, (source, alias.as_deref()), Some(scope))?;
                let (from, found) = found.ok_or_else(|| invalid_object(&name.join(".")))?;
                scope.sources.push(found);
                Ok(from)
            }
            TableRef::Values { .. } => self.table_ref(right, scope),
            _ => Err(unsupported("APPLY of anything but a query or VALUES")),
        }
    }

    /// A view: its query, which sees nothing of what is around its name.
    fn view(&mut self, name: &[String], source: usize) -> Result<Option<(From, Source)>> {
        let Some((database, id)) = self.state.find_module(self.scalars, name)? else { return Ok(None) };
        let state = self.state;
        let Some(def) = state.db(database).modules.get(&id) else { return Ok(None) };
        let (columns, query) = match &def.kind {
            ModuleKind::View { columns, query, .. } => (columns, query),
            ModuleKind::Shown { code: "V ", why } => {
                return Err(unsupported(format!("view {}, of an attached file: {why}", def.name)));
            }
            _ => return Ok(None),
        };
        if database != self.scalars.database {
            return Err(unsupported("views of another database"));
        }
        self.views += 1;
        if self.views > 32 {
            return Err(SqlError::batch(
                217,
                "Maximum stored procedure, function, trigger, or view nesting level exceeded (limit 32).",
            ));
        }
        let held = std::mem::take(&mut self.with);
        // What the view names is its own.
        let uses = self.uses.take();
        let plan = self.query(query, None);
        self.uses = uses;
        self.with = held;
        self.views -= 1;
        let plan = plan?;
        let mut found = derived(&def.name, columns, &plan)?;
        found.schema = Some(def.schema.clone());
        found.object = Some(id);
        Ok(Some((From::Query { source, plan: Box::new(plan) }, found)))
    }

    /// The columns of a view; error 4511 and its like where they have no names.
    pub fn named_columns(&self, view: &str, names: &[String], plan: &Plan) -> Result<Vec<Column>> {
        match plan.columns.iter().position(|c| c.name.is_empty()).filter(|_| names.is_empty()) {
            Some(at) => Err(SqlError::batch(
                4511,
                format!("Create View or Function failed because no column name was specified for column {}.", at + 1),
            )),
            None => derived(view, names, plan).map(|source| source.columns),
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
        if let ([single], Some(images)) = (name, &self.scalars.images) {
            let rows = match () {
                () if same_name(single, "inserted") => Some(&images.inserted),
                () if same_name(single, "deleted") => Some(&images.deleted),
                () => None,
            };
            if let Some(rows) = rows {
                let rows = Rc::new(rows.iter().cloned().map(Rc::new).collect());
                let (alias, columns) = (single.clone(), images.columns.clone());
                return Ok((
                    From::Rows { source, rows },
                    Source { alias, schema: None, columns, computed: Vec::new(), object: None },
                ));
            }
        }
        if let Some(uses) = &mut self.uses {
            uses.name(self.state, self.scalars, name);
        }
        if let Some(at) = self.state.find_table(self.scalars, name)? {
            self.state.may_read(self.scalars, at)?;
            self.read.push(at);
            return self.table_source(at, source);
        }
        if let [variable] = name
            && variable.starts_with('@')
        {
            return Err(no_table_variable(variable));
        }
        if let Some(found) = self.view(name, source)? {
            return Ok(found);
        }
        if let Some((schema, columns, rows)) = catalog::view(self, name)? {
            let alias = name.last().cloned().unwrap_or_default();
            let rows = Rc::new(rows.into_iter().map(Rc::new).collect());
            return Ok((
                From::Rows { source, rows },
                Source { alias, schema: Some(schema), columns, computed: Vec::new(), object: None },
            ));
        }
        Err(invalid_object(&name.join(".")))
    }
}

/// Error 1087.
pub(super) fn no_table_variable(name: &str) -> SqlError {
    SqlError::batch(1087, format!("Must declare the table variable \"{name}\".")).class(15).state(2)
}

pub(super) fn join(
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
pub(super) fn push_equalities(from: &mut From, filter: &Typed) {
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
    Ok(Source { alias: alias.to_owned(), schema: None, columns, computed: Vec::new(), object: None })
}

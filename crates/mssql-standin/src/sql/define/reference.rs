//! What the text of a procedure or a trigger names: its statements are bound and not run. What cannot be bound yet is looked for when it is run; of such a
//! statement only the tables count.
//!
//! Of INSERT, the columns that it fills are written down as changed, as those of UPDATE are. (No file is at hand in which a procedure changes rows.)

use std::collections::BTreeMap;
use std::sync::Arc;

use logferry_model::SqlType;

use super::super::ast::{Expr, Insert, InsertSource, Name, Query, Stmt, StmtKind, TableRef};
use super::super::bind::{Binder, Scope, Source, TableAt, Uses};
use super::super::change::Images;
use super::super::parse::parse;
use super::super::state::{Scalars, State};
use super::super::value::{Value, same_name};
use logferry_mssql_standin_storage::{ColumnUse, ModuleReference};

type Variables = BTreeMap<String, (SqlType, Value)>;

/// The tables and views that a text names. `watched` is the table of a trigger.
pub(crate) fn named_in(
    state: &State,
    scalars: &Scalars,
    body: &str,
    parameters: impl Iterator<Item = (String, SqlType)>,
    watched: Option<TableAt>,
) -> Vec<ModuleReference> {
    let statements = parse(&format!(";{body}")).unwrap_or_default();
    let mut scalars = scalars.clone();
    if let Some(TableAt { database, table }) = watched {
        let held = BTreeMap::new();
        let columns = Binder::new(state, &scalars, &held).table_columns(TableAt { database, table });
        let set = vec![false; columns.len()];
        let (inserted, deleted) = (Vec::new(), Vec::new());
        scalars.images = Some(Arc::new(Images { database, table, verb: "", columns, inserted, deleted, set }));
    }
    let variables = parameters.map(|(name, ty)| (name.to_ascii_lowercase(), (ty, Value::Null))).collect();
    let mut reader = Reader { state, scalars: &scalars, variables, uses: Uses::default() };
    reader.all(&statements);
    reader.uses.references(state, scalars.database)
}

struct Reader<'a> {
    state: &'a State,
    scalars: &'a Scalars,
    variables: Variables,
    uses: Uses,
}

impl Reader<'_> {
    fn all(&mut self, statements: &[Stmt]) {
        statements.iter().for_each(|stmt| self.statement(stmt));
    }

    fn statement(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Select(query) => self.query(query),
            StmtKind::Insert(insert) | StmtKind::InsertExec(insert, _) => self.insert(insert),
            StmtKind::Update(update) => {
                let sets = update.sets.iter().filter_map(|(_, _, value)| value.as_ref());
                let values: Vec<&Expr> = sets.chain(&update.filter).collect();
                let names: Vec<&str> =
                    update.sets.iter().filter_map(|(name, ..)| Some(name.last()?.as_str())).collect();
                self.changed(&update.with, &update.target, &update.from, &values, &names);
            }
            StmtKind::Delete(delete) => {
                let values: Vec<&Expr> = delete.filter.iter().collect();
                self.changed(&delete.with, &delete.target, &delete.from, &values, &[]);
            }
            StmtKind::Merge(merge) => {
                let target = TableRef::Named {
                    name: merge.target.clone(),
                    alias: merge.alias.clone(),
                    locks: Default::default(),
                };
                let values: Vec<&Expr> = std::iter::once(&merge.on).collect();
                self.changed(&merge.with, &merge.target, &[target, merge.source.clone()], &values, &[]);
            }
            StmtKind::If { test, then, other } => {
                self.values(&[test]);
                self.statement(then);
                other.iter().for_each(|stmt| self.statement(stmt));
            }
            StmtKind::While { test, body } => {
                self.values(&[test]);
                self.statement(body);
            }
            StmtKind::Block(list) => self.all(list),
            StmtKind::TryCatch { body, handler } => {
                self.all(body);
                self.all(handler);
            }
            StmtKind::Declare(list) => {
                for (name, ty, value) in list {
                    self.variables.insert(name.to_ascii_lowercase(), (ty.clone(), Value::Null));
                    self.values(&value.iter().collect::<Vec<_>>());
                }
            }
            StmtKind::SetVar { value, .. } | StmtKind::Print(value) | StmtKind::Return(Some(value)) => {
                self.values(&[value]);
            }
            StmtKind::Truncate(name) => self.uses.name(self.state, self.scalars, name),
            _ => {}
        }
    }

    /// Binds, and takes what was named, whether that went well or not.
    fn bind(&mut self, work: impl FnOnce(&mut Binder<'_>)) {
        let (state, scalars) = (self.state, self.scalars);
        let mut binder = Binder::new(state, scalars, &self.variables);
        binder.uses = Some(std::mem::take(&mut self.uses));
        work(&mut binder);
        self.uses = binder.uses.take().unwrap_or_default();
    }

    fn query(&mut self, query: &Query) {
        self.bind(|binder| drop(binder.query(query, None)));
    }

    fn values(&mut self, values: &[&Expr]) {
        self.bind(|binder| bind_values(binder, values, &Scope::EMPTY));
    }

    fn insert(&mut self, insert: &Insert) {
        self.uses.name(self.state, self.scalars, &insert.table);
        let target = self.source_of(&insert.table);
        if let Some(target) = &target {
            let listed = |name: &str| insert.columns.is_empty() || insert.columns.iter().any(|c| same_name(c, name));
            self.updated(target, listed);
        }
        match &insert.source {
            InsertSource::Query(query) => self.query(query),
            InsertSource::Values(rows) => {
                let values: Vec<&Expr> = rows.iter().flatten().flatten().collect();
                self.values(&values);
            }
            _ => {}
        }
    }

    /// UPDATE, DELETE and MERGE: the tables, the expressions over them, the columns that are set.
    fn changed(
        &mut self,
        with: &[(String, Vec<String>, Query)],
        target: &Name,
        from: &[TableRef],
        values: &[&Expr],
        sets: &[&str],
    ) {
        let named = TableRef::Named { name: target.clone(), alias: None, locks: Default::default() };
        let alone = [named];
        let list = if from.is_empty() { &alone } else { from };
        let mut sources = Vec::new();
        self.bind(|binder| {
            binder.with.extend(with.iter().cloned());
            if let Ok((_, found)) = binder.tables(list) {
                let scope = Scope { sources: found, outer: None };
                bind_values(binder, values, &scope);
                sources = scope.sources;
            }
        });
        let alias = target.last().map_or("", String::as_str);
        let found = sources.into_iter().find(|s| same_name(&s.alias, alias));
        if let Some(found) = found.or_else(|| self.source_of(target)) {
            self.updated(&found, |name| sets.iter().any(|set| same_name(set, name)));
        }
    }

    fn updated(&mut self, target: &Source, is_set: impl Fn(&str) -> bool) {
        for (place, _) in target.columns.iter().enumerate().filter(|(_, c)| is_set(&c.name)) {
            self.uses.column(target, place, ColumnUse { updated: true, ..ColumnUse::default() });
        }
    }

    fn source_of(&self, name: &Name) -> Option<Source> {
        let at = self.state.find_table(self.scalars, name).ok().flatten()?;
        let held = BTreeMap::new();
        let mut binder = Binder::new(self.state, self.scalars, &held);
        binder.table_source(at, 0).ok().map(|(_, source)| source)
    }
}

fn bind_values(binder: &mut Binder<'_>, values: &[&Expr], scope: &Scope<'_>) {
    for value in values {
        // What is a condition says so itself.
        if binder.value(value, scope).is_err() {
            drop(binder.condition(value, scope));
        }
    }
}

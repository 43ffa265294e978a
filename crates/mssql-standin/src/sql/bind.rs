//! From trees to plans: resolves names, finds types, puts in conversions.

mod access;
mod aggregate;
mod expr;
mod operator;
mod query;
mod table;
mod uses;
mod window;

use std::collections::BTreeMap;
use std::rc::Rc;

use logferry_model::SqlType;

use super::ast::{Hold, Query};
use super::error::{Result, SqlError, invalid_object};
use super::plan::{Access, AggPlan, Column, From, Node, Typed, WindowPlan};
use super::state::{Scalars, State};
use super::types;
use super::value::{Value, same_name};

/// A table, view or query that columns can be named of.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub alias: String,
    /// Schema and table, where it can be named so too.
    pub schema: Option<String>,
    pub columns: Vec<Column>,
    /// What computed columns are, over this source as the only one.
    pub computed: Vec<(usize, Typed)>,
    /// The table or view that it is, for what is written down of the names in a text.
    pub object: Option<u32>,
}

/// Names that a query sees; what is outside of it comes after.
pub(crate) struct Scope<'a> {
    pub sources: Vec<Source>,
    pub outer: Option<&'a Scope<'a>>,
}

/// What binding needs of the session.
pub(crate) struct Binder<'a> {
    pub state: &'a State,
    pub scalars: &'a Scalars,
    pub variables: &'a BTreeMap<String, (SqlType, Value)>,
    /// Common table expressions, the latest last.
    pub with: Vec<(String, Vec<String>, Query)>,
    /// Where aggregates go while the items of a grouped query are bound.
    grouping: Option<Grouping>,
    /// Where window functions go, while items and ORDER BY are bound.
    windows: Option<Vec<WindowPlan>>,
    /// How deep in views.
    views: u32,
    /// Tables that are read and whose locks count.
    pub read: Vec<TableAt>,
    /// Those of them that are locked, and how.
    pub held: Vec<(TableAt, Hold)>,
    /// Where it is noted what the text names.
    pub uses: Option<Uses>,
}

#[derive(Default)]
struct Grouping {
    keys: Vec<Typed>,
    aggs: Vec<AggPlan>,
    /// How deep in sub-queries.
    depth: usize,
    /// While an aggregate's own argument is bound.
    inside: bool,
}

/// A user table, found by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableAt {
    pub database: usize,
    pub table: u32,
}

impl<'a> Binder<'a> {
    pub fn new(state: &'a State, scalars: &'a Scalars, variables: &'a BTreeMap<String, (SqlType, Value)>) -> Self {
        Binder {
            state,
            scalars,
            variables,
            with: Vec::new(),
            grouping: None,
            windows: None,
            views: 0,
            read: Vec::new(),
            held: Vec::new(),
            uses: None,
        }
    }

    /// A user table, or error 208.
    pub fn table(&self, name: &[String]) -> Result<TableAt> {
        self.state.find_table(self.scalars, name)?.ok_or_else(|| match name {
            [variable] if variable.starts_with('@') => table::no_table_variable(variable),
            _ => invalid_object(&name.join(".")),
        })
    }

    /// The columns of a user table.
    pub fn table_columns(&self, at: TableAt) -> Vec<Column> {
        let def = self.state.db(at.database).storage.table_def(at.table);
        let meta = self.state.db(at.database).meta(at.table);
        let computed = |name: &str| {
            let place = def.and_then(|d| d.columns.iter().position(|c| c.name == name));
            meta.computed.iter().any(|c| Some(c.column) == place)
        };
        def.into_iter()
            .flat_map(|def| &def.columns)
            .map(|c| Column {
                name: c.name.clone(),
                ty: c.sql_type.clone(),
                nullable: c.nullable,
                identity: c.identity.is_some(),
                computed: computed(&c.name),
            })
            .collect()
    }

    /// A user table as the first source of a query.
    pub fn table_source(&mut self, at: TableAt, source: usize) -> Result<(From, Source)> {
        let db = self.state.db(at.database);
        if self.scalars.snapshots.get(&at.database).is_some_and(|id| *id < db.meta(at.table).altered) {
            return Err(SqlError {
                effect: super::error::Effect::Transaction,
                ..SqlError::new(
                    3961,
                    format!(
                        "Snapshot isolation transaction failed in database '{}' because the object accessed by the statement has been modified by a DDL statement in another concurrent transaction since the start of this transaction. It is disallowed because the metadata is not versioned. A concurrent update to metadata can lead to inconsistency if mixed with snapshot isolation.",
                        db.name
                    ),
                )
            });
        }
        let columns = self.table_columns(at);
        let computed = self.computed(at, &columns, false)?;
        let types = Rc::new(columns.iter().map(|c| c.ty.clone()).collect());
        let def = self.state.db(at.database).storage.table_def(at.table);
        let (schema, name) = def.map(|d| (d.schema.clone(), d.name.clone())).unwrap_or_default();
        Ok((
            From::Table { source, database: at.database, table: at.table, types, access: Access::All },
            Source { alias: name, schema: Some(schema), columns, computed, object: Some(at.table) },
        ))
    }

    /// What computed columns are made of: of those that rows do not have, or of all.
    pub fn computed(&mut self, at: TableAt, columns: &[Column], persisted: bool) -> Result<Vec<(usize, Typed)>> {
        let state = self.state;
        let mut out = Vec::new();
        for def in state.db(at.database).meta(at.table).computed.iter().filter(|c| persisted || !c.persisted) {
            let own = Source {
                alias: String::new(),
                schema: None,
                columns: columns.to_vec(),
                computed: Vec::new(),
                object: None,
            };
            let grouping = self.grouping.take();
            let bound = self.value(&def.value, &Scope { sources: vec![own], outer: None });
            self.grouping = grouping;
            let ty = columns.get(def.column).map_or(SqlType::Int, |c| c.ty.clone());
            out.push((def.column, cast(bound?, &ty)));
        }
        Ok(out)
    }
}

impl Scope<'_> {
    /// The scope of expressions without tables.
    pub const EMPTY: Scope<'static> = Scope { sources: Vec::new(), outer: None };

    /// Finds a column by its name: how many scopes out, which source, which column.
    fn find(&self, name: &[String]) -> Result<Option<(usize, usize, usize)>> {
        let (column, qualifier) = match name.split_last() {
            Some(split) => split,
            None => return Ok(None),
        };
        let mut scope = Some(self);
        let mut depth = 0;
        while let Some(s) = scope {
            let mut found = None;
            for (at, source) in s.sources.iter().enumerate().filter(|(_, s)| s.answers_to(qualifier)) {
                if let Some(c) = source.columns.iter().position(|c| same_name(&c.name, column)) {
                    if found.is_some() {
                        return Err(SqlError::batch(209, format!("Ambiguous column name '{column}'.")));
                    }
                    found = Some((depth, at, c));
                }
            }
            if found.is_some() {
                return Ok(found);
            }
            scope = s.outer;
            depth += 1;
        }
        Ok(None)
    }

    fn knows(&self, qualifier: &[String]) -> bool {
        qualifier.is_empty()
            || self.sources.iter().any(|s| s.answers_to(qualifier))
            || self.outer.is_some_and(|o| o.knows(qualifier))
    }
}

impl Source {
    /// A column, seen from `depth` queries further in.
    pub fn column_at(&self, depth: usize, source: usize, column: usize) -> Typed {
        if let Some((_, e)) = self.computed.iter().find(|(c, _)| *c == column) {
            return e.clone().moved(depth, source);
        }
        let ty = self.columns.get(column).map_or(SqlType::Int, |c| c.ty.clone());
        Typed::new(ty, Node::Column { depth, source, column })
    }

    /// Whether `alias.`, `table.` or `schema.table.` before a column means this source.
    fn answers_to(&self, qualifier: &[String]) -> bool {
        match qualifier {
            [] => true,
            [alias] => same_name(alias, &self.alias),
            [.., schema, table] => {
                same_name(table, &self.alias)
                    && self.schema.as_ref().is_some_and(|s| schema.is_empty() || same_name(s, schema))
            }
        }
    }
}

/// The expression as another type.
pub(crate) fn cast(e: Typed, to: &SqlType) -> Typed {
    if e.ty == *to {
        return e;
    }
    if e.is_null_word() {
        return Typed::constant(to.clone(), Value::Null);
    }
    if let Node::Const(value) = &e.node
        && let Ok(value) = super::convert::convert(value.clone(), &e.ty, to, None)
    {
        return Typed::constant(to.clone(), value);
    }
    Typed::new(to.clone(), Node::Cast { value: Box::new(e), style: None, tries: false })
}

/// The type that expressions become where they meet.
pub(crate) fn common_of<'e>(all: impl IntoIterator<Item = &'e Typed>) -> Result<SqlType> {
    let mut out: Option<SqlType> = None;
    for e in all {
        if e.is_null_word() {
            continue;
        }
        out = Some(match out {
            Some(ty) => types::common(&ty, &e.ty)?,
            None => e.ty.clone(),
        });
    }
    Ok(out.unwrap_or(SqlType::Int))
}

pub(crate) use expr::{comparison as bind_comparison, wrong_count as bind_wrong_count};
pub(crate) use uses::Uses;

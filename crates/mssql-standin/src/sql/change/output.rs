//! OUTPUT.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::super::ast::{Insert, InsertSource, Locks, Output};
use super::super::bind::{Binder, Scope, Source};
use super::super::error::Result;
use super::super::eval::{Ctx, Env, eval};
use super::super::plan::{Column, Part, Typed};
use super::super::state::{Scalars, State};
use super::super::value::Value;
use super::{Target, Variables, insert};
use logferry_mssql_standin_storage::Row;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputOf {
    Inserted,
    Deleted,
    Both,
}

/// Items of OUTPUT: `inserted` and `deleted` are sources after those of the statement.
pub(super) fn bind_output(
    binder: &mut Binder<'_>,
    target: &Target,
    output: &Output,
    sources: &[Source],
    of: OutputOf,
) -> Result<Option<(Vec<Column>, Vec<Typed>)>> {
    let of = if output.merges { OutputOf::Both } else { of };
    if output.items.is_empty() {
        return Ok(None);
    }
    let image = |alias: &str| Source {
        alias: alias.to_owned(),
        schema: None,
        columns: target.columns.iter().map(|c| Column { nullable: c.nullable || output.merges, ..c.clone() }).collect(),
        computed: target.computed.clone(),
        object: None,
    };
    let mut all: Vec<Source> = sources.to_vec();
    if of != OutputOf::Deleted {
        all.push(image("inserted"));
    }
    if of != OutputOf::Inserted {
        all.push(image("deleted"));
    }
    let (columns, bound) = binder.items(&output.items, Scope { sources: all, outer: None })?;
    Ok(Some((columns, bound)))
}

type Changed<'a> = (Option<&'a Row>, Option<&'a Arc<Row>>, Option<&'a Vec<Part>>);

#[allow(clippy::type_complexity)]
pub(super) fn run_output<'a>(
    state: &mut State,
    scalars: &mut Scalars,
    variables: &Variables,
    (target, stmt): (&Target, &Output),
    output: Option<(Vec<Column>, Vec<Typed>)>,
    rows: impl Iterator<Item = Changed<'a>>,
) -> Result<Option<(Vec<Column>, Vec<Vec<Value>>)>> {
    let Some((columns, items)) = output else { return Ok(None) };
    let ctx = Ctx { state, scalars, variables, cache: RefCell::default() };
    let mut out = Vec::new();
    for (new, old, parts) in rows {
        let mut all: Vec<Part> = parts.cloned().unwrap_or_default();
        let none = || Part::Values(Rc::new(vec![Value::Null; target.types.len()]));
        match new {
            Some(new) => all.push(Part::Stored(Arc::new(new.clone()), Rc::clone(&target.types), None)),
            None if stmt.merges => all.push(none()),
            None => {}
        }
        match old {
            Some(old) => all.push(Part::Stored(Arc::clone(old), Rc::clone(&target.types), None)),
            None if stmt.merges => all.push(none()),
            None => {}
        }
        let env = Env { ctx: &ctx, parts: &all, aggs: &[], outer: None };
        out.push(items.iter().map(|e| eval(e, &env)).collect::<Result<_>>()?);
    }
    let Some((table, places)) = &stmt.into else { return Ok(Some((columns, out))) };
    let types = columns.into_iter().map(|c| c.ty).collect();
    let source = InsertSource::Rows(types, out);
    let into = Insert {
        table: table.clone(),
        locks: Locks::default(),
        columns: places.clone(),
        output: Output::default(),
        source,
    };
    // SCOPE_IDENTITY() is that of the statement itself.
    let identity = scalars.identity;
    insert(state, scalars, variables, &into)?;
    scalars.identity = identity;
    Ok(None)
}

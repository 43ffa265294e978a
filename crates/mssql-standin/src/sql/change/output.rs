//! OUTPUT.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::super::ast::Item;
use super::super::bind::{Binder, Scope, Source};
use super::super::error::Result;
use super::super::eval::{Ctx, Env, eval};
use super::super::plan::{Column, Part, Typed};
use super::super::state::{Scalars, State};
use super::super::value::Value;
use super::{Target, Variables};
use crate::storage::Row;

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
    items: &[Item],
    sources: &[Source],
    of: OutputOf,
) -> Result<Option<(Vec<Column>, Vec<Typed>)>> {
    if items.is_empty() {
        return Ok(None);
    }
    let image = |alias: &str| Source {
        alias: alias.to_owned(),
        schema: None,
        columns: target.columns.clone(),
        computed: target.computed.clone(),
    };
    let mut all: Vec<Source> = sources.to_vec();
    if of != OutputOf::Deleted {
        all.push(image("inserted"));
    }
    if of != OutputOf::Inserted {
        all.push(image("deleted"));
    }
    let (columns, bound) = binder.items(items, Scope { sources: all, outer: None })?;
    Ok(Some((columns, bound)))
}

type Changed<'a> = (Option<&'a Row>, Option<&'a Arc<Row>>, Option<&'a Vec<Part>>);

#[allow(clippy::type_complexity)]
pub(super) fn run_output<'a>(
    state: &State,
    scalars: &Scalars,
    variables: &Variables,
    target: &Target,
    output: Option<(Vec<Column>, Vec<Typed>)>,
    rows: impl Iterator<Item = Changed<'a>>,
) -> Result<Option<(Vec<Column>, Vec<Vec<Value>>)>> {
    let Some((columns, items)) = output else { return Ok(None) };
    let ctx = Ctx { state, scalars, variables, cache: RefCell::default() };
    let mut out = Vec::new();
    for (new, old, parts) in rows {
        let mut all: Vec<Part> = parts.cloned().unwrap_or_default();
        if let Some(new) = new {
            all.push(Part::Stored(Arc::new(new.clone()), Rc::clone(&target.types), None));
        }
        if let Some(old) = old {
            all.push(Part::Stored(Arc::clone(old), Rc::clone(&target.types), None));
        }
        let env = Env { ctx: &ctx, parts: &all, aggs: &[], outer: None };
        out.push(items.iter().map(|e| eval(e, &env)).collect::<Result<_>>()?);
    }
    Ok(Some((columns, out)))
}

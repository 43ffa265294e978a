//! DELETE.

use std::cell::RefCell;
use std::sync::Arc;

use super::super::ast::Delete;
use super::super::bind::{Binder, Scope};
use super::super::error::Result;
use super::super::eval::Ctx;
use super::super::session::begin_in;
use super::super::state::{Scalars, State, from_storage};
use super::check::check_referenced;
use super::images::images_of;
use super::output::{OutputOf, bind_output, run_output};
use super::target::{bind_target, find_hits, lock_hits};
use super::{Outcome, Variables};

pub(crate) fn delete(
    state: &mut State,
    scalars: &mut Scalars,
    variables: &Variables,
    stmt: &Delete,
) -> Result<Outcome> {
    let (target, hits, output, read) = {
        let state: &State = state;
        let held = variables.borrow().clone();
        let mut binder = Binder::new(state, scalars, &held);
        binder.with.clone_from(&stmt.with);
        let (target, from, sources, at, filter) =
            bind_target(&mut binder, state, &stmt.target, (&stmt.from, stmt.locks), stmt.filter.as_ref())?;
        let top = stmt.top.as_ref().map(|t| binder.value(t, &Scope::EMPTY)).transpose()?;
        let ctx = Ctx { state, scalars, variables, cache: RefCell::default() };
        let hits = find_hits(&ctx, &from, sources.len(), at, filter.as_ref(), top.as_ref(), |_| Ok(Vec::new()))?;
        let output = bind_output(&mut binder, &target, &stmt.output, &sources, OutputOf::Deleted)?;
        (target, hits, output, binder.held)
    };
    state.lock_tables(scalars, &read)?;
    lock_hits(state, scalars, &target, &hits)?;
    let gone: Vec<_> = hits.iter().map(|h| (Arc::clone(&h.key), Arc::clone(&h.row))).collect();
    check_referenced(state, scalars, &target, &gone, &[], "DELETE")?;
    if !hits.is_empty() {
        state.may_change(scalars, target.at)?;
        let xact = begin_in(state, scalars, target.at.database, "DELETE");
        for hit in &hits {
            let storage = &mut state.db_mut(target.at.database).storage;
            storage.delete(xact, target.at.table, &hit.key).map_err(from_storage)?;
        }
    }
    let output = run_output(
        state,
        scalars,
        variables,
        (&target, &stmt.output),
        output,
        hits.iter().map(|h| (None, Some(&h.row), Some(&h.parts))),
    )?;
    let images = images_of(state, &target, "DELETE", None, hits.iter().map(|h| (None, Some(&*h.row))));
    Ok(Outcome { count: hits.len() as u64, output, images })
}

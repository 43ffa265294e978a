//! What UPDATE and DELETE change: the table among the sources, its rows that the condition lets through, their locks.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::ast::{Expr, Hold, Locks, TableRef};
use super::super::bind::{Binder, Scope, Source, TableAt};
use super::super::error::{Result, SqlError, invalid_object};
use super::super::eval::{Ctx, Env, eval};
use super::super::plan::{From, Part, Typed};
use super::super::run;
use super::super::state::{Scalars, State};
use super::super::value::{Value, same_name};
use super::{Target, blocked, conflict, own_snapshot_lost};
use logferry_mssql_standin_storage::{Row, RowKey};

/// A row that is to be changed.
pub(super) struct Hit {
    pub(super) key: Arc<RowKey>,
    pub(super) row: Arc<Row>,
    /// Parts of all sources, for OUTPUT.
    pub(super) parts: Vec<Part>,
    pub(super) values: Vec<Value>,
}

/// What UPDATE and DELETE change: the target, the sources and where the target is among them, the filter.
pub(super) type BoundTarget = (Target, From, Vec<Source>, usize, Option<Typed>);

/// The target of UPDATE and DELETE: a table, or the alias of one in FROM.
pub(super) fn bind_target<'s>(
    binder: &mut Binder<'s>,
    state: &'s State,
    name: &[String],
    (from, locks): (&[TableRef], Locks),
    filter: Option<&Expr>,
) -> Result<BoundTarget> {
    // A query over the same tables tells how they join; its items are not needed.
    let (mut plan_from, sources, at) = if from.is_empty() {
        let at = binder.table(name)?;
        let (from, source) = binder.table_source(at, 0)?;
        (from, vec![source], 0)
    } else {
        let (from, sources) = binder.tables(from)?;
        let found = match name {
            [alias] => sources.iter().position(|s| same_name(&s.alias, alias)),
            _ => None,
        };
        let found = match found {
            Some(at) => at,
            None => {
                let wanted = binder.table(name)?;
                let (schema, table) = state.db(wanted.database).table_name(wanted.table);
                sources
                    .iter()
                    .position(|s| {
                        same_name(&s.alias, &table) && s.schema.as_deref().is_none_or(|x| same_name(x, &schema))
                    })
                    .ok_or_else(|| invalid_object(&name.join(".")))?
            }
        };
        (from, sources, found)
    };
    let table = table_of(&plan_from, at)
        .ok_or_else(|| SqlError::batch(4405, format!("View or function '{}' is not updatable.", name.join("."))))?;
    if binder.scalars.keeps_what_it_reads() {
        binder.held.push((table, Hold::Shared));
    }
    binder.held.extend(locks.of_target().map(|hold| (table, hold)));
    let scope = Scope { sources, outer: None };
    let filter = filter.map(|f| binder.condition(f, &scope)).transpose()?;
    if let Some(filter) = &filter {
        binder.find_access(&mut plan_from, filter);
    }
    Ok((Target::of(state, table, binder)?, plan_from, scope.sources, at, filter))
}

fn table_of(from: &From, source: usize) -> Option<TableAt> {
    match from {
        From::Table { source: s, database, table, .. } if *s == source => {
            Some(TableAt { database: *database, table: *table })
        }
        From::Join { left, right, .. } => table_of(left, source).or_else(|| table_of(right, source)),
        _ => None,
    }
}

pub(super) fn find_hits(
    ctx: &Ctx<'_>,
    from: &From,
    sources: usize,
    at: usize,
    filter: Option<&Typed>,
    top: Option<&Typed>,
    mut values: impl FnMut(&Env<'_>) -> Result<Vec<Value>>,
) -> Result<Vec<Hit>> {
    let limit = match top {
        Some(e) => eval(e, &Env::empty(ctx))?.as_int().unwrap_or(0).max(0) as usize,
        None => usize::MAX,
    };
    let mut hits: Vec<Hit> = Vec::new();
    let mut seen = HashSet::new();
    if limit == 0 {
        return Ok(hits);
    }
    run::each_target(from, sources, filter, ctx, &mut |env| {
        if let Some(Part::Stored(row, _, Some(key))) = env.parts.get(at)
            && (sources == 1 || seen.insert(RowKey::clone(key)))
        {
            let values = values(env)?;
            hits.push(Hit {
                key: Arc::new(RowKey::clone(key)),
                row: Arc::clone(row),
                parts: env.parts.to_vec(),
                values,
            });
        }
        Ok(hits.len() < limit)
    })?;
    Ok(hits)
}

pub(super) fn lock_hits(state: &mut State, scalars: &Scalars, target: &Target, hits: &[Hit]) -> Result<()> {
    let xact = scalars.xacts.get(&target.at.database).copied();
    for hit in hits {
        let storage = &state.db(target.at.database).storage;
        if let Some(by) = storage.holder(xact, target.at.table, &hit.key) {
            return Err(blocked(state, target.at.database, by));
        }
        if own_snapshot_lost(state, scalars, target.at, &hit.key) {
            return Err(conflict(state, target));
        }
    }
    Ok(())
}

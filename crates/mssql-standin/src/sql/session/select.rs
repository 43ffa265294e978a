//! Queries of a session, and values of expressions outside of any.

use std::cell::RefCell;
use std::sync::Arc;

use logferry_model::{Cell, SqlType};

use super::super::ast::{Expr, Hold, Query};
use super::super::bind::{Binder, Scope, TableAt};
use super::super::change;
use super::super::convert::convert;
use super::super::error::{Result, SqlError};
use super::super::eval::{Ctx, Env, eval, holds};
use super::super::plan::{Column, Plan, PlanBody, Typed};
use super::super::run;
use super::super::sink::ResultColumn;
use super::super::state::{Isolation, Scalars, State};
use super::super::value::{Value, to_bytes};
use super::{BLOCKED, Defining, Out, Session};

impl Session {
    pub(super) fn select(&mut self, query: &Query, out: Out<'_>) -> Result<()> {
        if let super::super::ast::Body::Select(select) = &query.body
            && let Some(into) = &select.into
        {
            let outcome = self.changes(&mut |state, s, v| {
                let database = state.resolve(s, into)?.0;
                let defining = Defining::begin(state, s, (database, Vec::new()), "SELECT INTO")?;
                let result = change::select_into(state, s, v, query, into);
                defining.end(state, s, result.is_ok())?;
                result
            })?;
            return self.changed(outcome, out);
        }
        let shared = Arc::clone(&self.shared);
        let (state, plan) = loop {
            let mut state = shared.lock();
            self.take_snapshot(&mut state)?;
            let bound = {
                let variables = self.variables.borrow();
                let mut binder = Binder::new(&state, &self.scalars, &variables);
                binder.query(query, None).map(|plan| (plan, binder.read, binder.held))
            };
            let (plan, read, held) = match bound {
                Err(e) if e.number == BLOCKED => {
                    drop(state);
                    self.wait_to_bind(|binder| binder.query(query, None).map(drop))?;
                    continue;
                }
                bound => bound?,
            };
            if may_read(&state, &self.scalars, &read).is_ok() && state.lock_tables(&self.scalars, &held).is_ok() {
                break (state, plan);
            }
            drop(state);
            self.waiting(|state, scalars, _| {
                may_read(state, scalars, &read)?;
                state.lock_tables(scalars, &held)
            })?;
        };
        let ctx = Ctx { state: &state, scalars: &self.scalars, variables: &self.variables, cache: RefCell::default() };
        let assigns = matches!(&plan.body, PlanBody::Select(s) if !s.assigns.is_empty());
        let count = if let Some(stored) = run::stored_rows(&plan, &ctx)? {
            drop(state);
            out.columns(&result_columns(&plan.columns));
            out.unlocked();
            stored.give(|cells| out.row(cells))
        } else if assigns {
            let mut count = 0;
            run::run(&plan, &ctx, None, &mut |_| {
                count += 1;
                Ok(true)
            })?;
            drop(state);
            count
        } else {
            let count = send(&plan, &ctx, out)?;
            drop(state);
            count
        };
        self.scalars.rowcount = count as i64;
        if !assigns {
            out.done(self.counted(count));
        }
        Ok(())
    }

    /// What a client is told of a number of rows.
    pub(super) fn counted(&self, rows: u64) -> Option<u64> {
        (!self.scalars.option("NOCOUNT")).then_some(rows)
    }

    /// In SNAPSHOT, the transaction's first statement decides what it sees.
    pub(super) fn take_snapshot(&mut self, state: &mut State) -> Result<()> {
        let at = self.scalars.database;
        if self.scalars.isolation != Isolation::Snapshot
            || self.scalars.depth == 0
            || self.scalars.snapshots.contains_key(&at)
        {
            return Ok(());
        }
        let id = state.next_snapshot;
        state.next_snapshot += 1;
        let db = state.db_mut(at);
        if !db.allow_snapshot {
            let name = db.name.clone();
            return Err(SqlError::batch(
                3952,
                format!(
                    "Snapshot isolation transaction failed accessing database '{name}' because snapshot isolation is not allowed in this database. Use ALTER DATABASE to allow snapshot isolation."
                ),
            ));
        }
        db.snapshots.insert(id, Default::default());
        self.scalars.snapshots.insert(at, id);
        Ok(())
    }

    /// The value of an expression, and its type.
    pub(crate) fn evaluate(&mut self, e: &Expr) -> Result<(SqlType, Value)> {
        self.worked_out(|binder| binder.value(e, &Scope::EMPTY), |bound, env| Ok((bound.ty.clone(), eval(bound, env)?)))
    }

    /// Binds an expression and works it out; waits where others are defining or have changed what it must not be without.
    fn worked_out<T>(
        &mut self,
        bind: impl Fn(&mut Binder<'_>) -> Result<Typed>,
        work: impl Fn(&Typed, &Env<'_>) -> Result<T>,
    ) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        loop {
            let mut state = shared.lock();
            let bound = {
                let variables = self.variables.borrow();
                let mut binder = Binder::new(&state, &self.scalars, &variables);
                bind(&mut binder).map(|bound| (bound, binder.read, binder.held))
            };
            let (bound, read, held) = match bound {
                Err(e) if e.number == BLOCKED => {
                    drop(state);
                    self.wait_to_bind(|binder| bind(binder).map(drop))?;
                    continue;
                }
                bound => bound?,
            };
            if may_read(&state, &self.scalars, &read).is_err() || state.lock_tables(&self.scalars, &held).is_err() {
                drop(state);
                self.waiting(|state, scalars, _| {
                    may_read(state, scalars, &read)?;
                    state.lock_tables(scalars, &held)
                })?;
                continue;
            }
            let ctx =
                Ctx { state: &state, scalars: &self.scalars, variables: &self.variables, cache: RefCell::default() };
            return work(&bound, &Env::empty(&ctx));
        }
    }

    /// Waits until nobody is defining what something names.
    pub(super) fn wait_to_bind(&mut self, bind: impl Fn(&mut Binder<'_>) -> Result<()>) -> Result<()> {
        self.waiting(|state, scalars, variables| bind(&mut Binder::new(state, scalars, &variables.borrow())))
    }

    pub(super) fn scalar(&mut self, e: &Expr) -> Result<Value> {
        self.evaluate(e).map(|(_, v)| v)
    }

    pub(super) fn typed(&mut self, e: &Expr, ty: &SqlType) -> Result<Value> {
        let (from, value) = self.evaluate(e)?;
        convert(value, &from, ty, None)
    }

    pub(super) fn condition(&mut self, e: &Expr) -> Result<bool> {
        self.worked_out(|binder| binder.condition(e, &Scope::EMPTY), holds)
    }
}

/// Whether nobody else has changed one of these tables and not committed, or keeps it for itself, where readers wait for that: without READ COMMITTED
/// SNAPSHOT. A server waits for the rows in question; here it is their tables. The error means that it is to be waited for.
fn may_read(state: &State, scalars: &Scalars, read: &[TableAt]) -> Result<()> {
    if matches!(scalars.isolation, Isolation::ReadUncommitted | Isolation::Snapshot) {
        return Ok(());
    }
    for at in read {
        let db = state.databases.get(at.database).and_then(Option::as_ref);
        let Some(db) = db.filter(|db| !db.read_committed_snapshot) else { continue };
        let own = scalars.xacts.get(&at.database);
        if let Some(by) = db.storage.holder_of_any(own.copied(), at.table) {
            return Err(state.blocked(at.database, by));
        }
        state.may_lock(scalars, *at, Hold::Statement)?;
    }
    Ok(())
}

/// Sends rows that are there already.
pub(crate) fn send_values(columns: &[Column], rows: Vec<Vec<Value>>, out: Out<'_>) -> Result<()> {
    out.columns(&result_columns(columns));
    let count = rows.len() as u64;
    for row in rows {
        let cells = row.iter().zip(columns).map(|(v, c)| to_bytes(&c.ty, v)).collect::<Result<Vec<_>>>()?;
        if !out.row(&cells_of(&cells)) {
            break;
        }
    }
    out.done(Some(count));
    Ok(())
}

pub(super) fn cells_of(row: &[Option<Vec<u8>>]) -> Vec<Cell<'_>> {
    row.iter().map(|cell| cell.as_deref().map_or(Cell::Null, Cell::Bytes)).collect()
}

pub(super) fn result_columns(columns: &[Column]) -> Vec<ResultColumn> {
    columns
        .iter()
        .map(|c| ResultColumn {
            name: c.name.clone(),
            sql_type: c.ty.clone(),
            nullable: c.nullable,
            identity: c.identity,
        })
        .collect()
}

/// Runs a query and sends its rows; gives how many.
fn send(plan: &Plan, ctx: &Ctx<'_>, out: Out<'_>) -> Result<u64> {
    let mut count = 0;
    let mut sent = false;
    let columns = result_columns(&plan.columns);
    run::run(plan, ctx, None, &mut |row| {
        if !sent {
            out.columns(&columns);
            sent = true;
        }
        let cells = row.iter().zip(&plan.columns).map(|(v, c)| to_bytes(&c.ty, v)).collect::<Result<Vec<_>>>()?;
        count += 1;
        Ok(out.row(&cells_of(&cells)))
    })?;
    if !sent {
        out.columns(&columns);
    }
    Ok(count)
}

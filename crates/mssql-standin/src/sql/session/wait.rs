//! Statements that change what is shared: they wait for locks and try again; a circle of waiting ends with error 1205.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use logferry_model::SqlType;
use parking_lot::MutexGuard;

use super::super::change::Outcome;
use super::super::error::{Effect, Result, SqlError};
use super::super::state::{Scalars, State, from_storage};
use super::super::value::Value;
use super::Session;
use super::stop::SLICE;
use super::transaction::commit_all;

/// After so many slices a wait tries again though nobody told it to: what it waits for may end just when a slice does, after which it
/// is not among those that are told, and before which it has not looked.
const UNTOLD: u32 = 5;

/// Number of the error that means: wait and try again. Never shown.
pub(crate) const BLOCKED: i32 = -1;

type Variables = RefCell<BTreeMap<String, (SqlType, Value)>>;

/// Something that changes what is shared, and may be done several times until it is not in the way of others.
type Work<'w, T> = dyn FnMut(&mut State, &mut Scalars, &Variables) -> Result<T> + 'w;

impl Session {
    /// Runs something that changes what is shared; waits for locks and tries again.
    pub(crate) fn waiting<T>(
        &mut self,
        mut work: impl FnMut(&mut State, &mut Scalars, &Variables) -> Result<T>,
    ) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        let deadline = self.scalars.lock_timeout_ms.map(|ms| Instant::now() + Duration::from_millis(ms));
        let mut state = shared.lock();
        loop {
            self.take_snapshot(&mut state)?;
            match work(&mut state, &mut self.scalars, &self.variables) {
                Err(e) if e.number == BLOCKED => self.wait(&mut state, deadline)?,
                other => return other,
            }
        }
    }

    /// Waits until locks are released, or for a while; whoever waits for itself by way of others is a deadlock's victim.
    fn wait(&self, state: &mut MutexGuard<'_, State>, deadline: Option<Instant>) -> Result<()> {
        let spid = self.scalars.spid;
        let owner = state.blocked_by.take().and_then(|by| state.owners.get(&by).copied());
        let owner = owner.or(state.blocked_by_reader.take());
        if let Some(owner) = owner {
            let mut at = Some(owner);
            while let Some(other) = at {
                if other == spid {
                    return Err(SqlError {
                        class: 13,
                        state: 51,
                        effect: Effect::Transaction,
                        ..SqlError::new(
                            1205,
                            format!(
                                "Transaction (Process ID {spid}) was deadlocked on lock resources with another process and has been chosen as the deadlock victim. Rerun the transaction."
                            ),
                        )
                    });
                }
                at = state.waits.get(&other).copied();
            }
            state.waits.insert(spid, owner);
        }
        for _ in 0..UNTOLD {
            let left = deadline.map_or(SLICE, |d| d.saturating_duration_since(Instant::now()));
            if deadline.is_some() && left.is_zero() {
                state.waits.remove(&spid);
                return Err(SqlError::new(1222, "Lock request time out period exceeded.").state(51));
            }
            if let Err(e) = self.scalars.stop.check() {
                state.waits.remove(&spid);
                return Err(e);
            }
            let waited = self.shared.released.wait_for(state, left.min(SLICE));
            if !waited.timed_out() {
                break;
            }
        }
        state.waits.remove(&spid);
        Ok(())
    }

    /// Runs a statement that changes rows: in the open transaction, or in one of its own.
    pub(super) fn changes(&mut self, work: &mut Work<'_, Outcome>) -> Result<Outcome> {
        let explicit = self.scalars.depth > 0;
        let shared = Arc::clone(&self.shared);
        let result = self.waiting(|state, scalars, variables| {
            let in_one = |result: Result<Outcome>, state: &mut State, scalars: &mut Scalars| {
                let outcome = result?;
                if !explicit && !scalars.xacts.is_empty() {
                    commit_all(scalars, state)?;
                }
                Ok(outcome)
            };
            let marks: Vec<_> = scalars
                .xacts
                .iter()
                .filter_map(|(db, xact)| Some((*db, *xact, state.db(*db).storage.mark(*xact).ok()?)))
                .collect();
            let result = work(state, scalars, variables);
            let result = in_one(result, state, scalars);
            if result.is_err() {
                // Transactions that the statement began end with it, in the others it is undone.
                let known: Vec<usize> = marks.iter().map(|(db, ..)| *db).collect();
                let begun: Vec<_> =
                    scalars.xacts.iter().filter(|(db, _)| !known.contains(db)).map(|(d, x)| (*d, *x)).collect();
                for (db, xact) in begun {
                    scalars.xacts.remove(&db);
                    state.owners.remove(&(db, xact));
                    state.db_mut(db).storage.rollback(xact).map_err(from_storage)?;
                }
                for (db, xact, mark) in marks {
                    state.db_mut(db).storage.undo_to(xact, mark).map_err(from_storage)?;
                }
            }
            result
        });
        if !explicit {
            shared.released.notify_all();
        }
        result
    }
}

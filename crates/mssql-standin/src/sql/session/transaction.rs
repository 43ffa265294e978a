//! BEGIN, COMMIT, ROLLBACK, SAVE: levels of a session over the transactions of its databases.

use std::sync::Arc;

use super::super::ast::{Body, Stmt, StmtKind};
use super::super::error::{Result, SqlError};
use super::super::sink::TransactionChange;
use super::super::state::{Db, Isolation, Scalars, State, from_storage};
use super::super::time::to_300ths;
use super::super::value::DAYS_TO_1900;
use super::{Out, Session};
use logferry_mssql_standin_storage::{Transaction, XactOptions};

impl Session {
    /// Begins a transaction, as a transaction manager request or BEGIN TRAN does.
    pub fn begin(&mut self, name: Option<&str>) -> TransactionChange {
        self.scalars.depth += 1;
        if self.scalars.depth == 1 {
            self.tran_name = name.map(str::to_owned);
        }
        TransactionChange::Begin
    }

    /// With IMPLICIT_TRANSACTIONS, what reads or changes tables begins a transaction where none is open.
    pub(super) fn begin_implicitly(&mut self, stmt: &Stmt, out: Out<'_>) {
        if !self.scalars.implicit || self.scalars.depth > 0 {
            return;
        }
        let begins = match &stmt.kind {
            StmtKind::Insert(_)
            | StmtKind::Update(_)
            | StmtKind::Delete(_)
            | StmtKind::Merge(_)
            | StmtKind::InsertExec(..)
            | StmtKind::Truncate(_)
            | StmtKind::CreateTable(_)
            | StmtKind::DropTable { .. }
            | StmtKind::CreateIndex(..)
            | StmtKind::DropIndex { .. }
            | StmtKind::AlterIndex { .. }
            | StmtKind::CreateSchema(_)
            | StmtKind::DefineModule(_)
            | StmtKind::DropModule { .. }
            | StmtKind::DefineTrigger(_)
            | StmtKind::DropTrigger { .. }
            | StmtKind::AlterTable(..) => true,
            StmtKind::Select(query) => reads_tables(&query.body),
            _ => false,
        };
        if begins {
            let change = self.begin(None);
            out.transaction(change);
        }
    }

    /// Sets the isolation level by its number in TDS: 1 to 5.
    pub fn set_isolation(&mut self, level: u8) {
        self.scalars.isolation = match level {
            1 => Isolation::ReadUncommitted,
            3 => Isolation::RepeatableRead,
            4 => Isolation::Serializable,
            5 => Isolation::Snapshot,
            _ => Isolation::ReadCommitted,
        };
    }

    /// Commits, where it is the outermost level.
    ///
    /// # Errors
    /// 3902 without a transaction.
    pub fn commit(&mut self) -> std::result::Result<Option<TransactionChange>, SqlError> {
        match self.scalars.depth {
            0 => {
                return Err(SqlError::new(
                    3902,
                    "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION.",
                ));
            }
            1 => {}
            _ => {
                self.scalars.depth -= 1;
                return Ok(None);
            }
        }
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        commit_all(&mut self.scalars, &mut state)?;
        self.scalars.depth = 0;
        drop(state);
        shared.released.notify_all();
        Ok(Some(TransactionChange::Commit))
    }

    /// Rolls all levels back, or to a savepoint.
    ///
    /// # Errors
    /// 3903 without a transaction, 6401 without the savepoint.
    pub fn rollback(&mut self, name: Option<&str>) -> std::result::Result<Option<TransactionChange>, SqlError> {
        if self.scalars.depth == 0 {
            return Err(SqlError::new(
                3903,
                "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.",
            ));
        }
        if let Some(name) = name.filter(|n| self.tran_name.as_deref() != Some(n)) {
            let mut state = self.shared.lock();
            let mut found = false;
            for (database, xact) in &self.scalars.xacts {
                let storage = &mut state.db_mut(*database).storage;
                if storage.rollback_to(*xact, name).is_err() {
                    continue;
                }
                found = true;
                let place = storage.mark(*xact).map_err(from_storage)?;
                while let Some(last) = self.scalars.defined.pop_if(|d| d.is_after(*database, place)) {
                    last.take_back(&mut state);
                }
            }
            return match found {
                true => Ok(None),
                false => Err(SqlError::new(
                    6401,
                    format!("Cannot roll back {name}. No transaction or savepoint of that name was found."),
                )),
            };
        }
        self.roll_back_all();
        Ok(Some(TransactionChange::Rollback))
    }

    /// Marks a savepoint.
    ///
    /// # Errors
    /// 628 without a transaction.
    pub fn save(&mut self, name: &str) -> std::result::Result<(), SqlError> {
        if self.scalars.depth == 0 {
            return Err(SqlError::new(628, "Cannot issue SAVE TRANSACTION when there is no active transaction."));
        }
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let at = self.scalars.database;
        begin_in(&mut state, &mut self.scalars, at, "user_transaction");
        for (database, xact) in &self.scalars.xacts {
            state.db_mut(*database).storage.savepoint(*xact, name).map_err(from_storage)?;
        }
        Ok(())
    }

    pub(super) fn roll_back_all(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        for (database, xact) in std::mem::take(&mut self.scalars.xacts) {
            state.owners.remove(&(database, xact));
            if let Some(Some(db)) = state.databases.get_mut(database) {
                // An open transaction of ours can always be rolled back; it is gone where the server wrote its files.
                drop(db.storage.rollback(xact));
            }
        }
        end_snapshots(&mut self.scalars, &mut state);
        self.scalars.depth = 0;
        self.tran_name = None;
        for defined in std::mem::take(&mut self.scalars.defined).into_iter().rev() {
            defined.take_back(&mut state);
        }
        drop(state);
        shared.released.notify_all();
    }
}

/// Commits what a session has open in its databases.
pub(super) fn commit_all(scalars: &mut Scalars, state: &mut State) -> Result<()> {
    for (database, xact) in std::mem::take(&mut scalars.xacts) {
        state.owners.remove(&(database, xact));
        let own = scalars.snapshots.get(&database).copied();
        let now = (scalars.now.0 - DAYS_TO_1900).max(0) as u32;
        let db = state.db_mut(database);
        db.storage.clock_reaches(now, to_300ths(scalars.now.1));
        commit_in(db, xact, own)?;
    }
    end_snapshots(scalars, state);
    for defined in std::mem::take(&mut scalars.defined) {
        defined.committed(state)?;
    }
    Ok(())
}

/// Rolls back what a statement outside of a transaction has begun.
pub(super) fn give_up(scalars: &mut Scalars, state: &mut State) -> Result<()> {
    for (database, xact) in std::mem::take(&mut scalars.xacts) {
        state.owners.remove(&(database, xact));
        state.db_mut(database).storage.rollback(xact).map_err(from_storage)?;
    }
    end_snapshots(scalars, state);
    Ok(())
}

/// What ends with a transaction however it ends.
fn end_snapshots(scalars: &mut Scalars, state: &mut State) {
    state.table_locks.retain(|lock| lock.spid != scalars.spid);
    for (database, id) in std::mem::take(&mut scalars.snapshots) {
        if let Some(Some(db)) = state.databases.get_mut(database) {
            db.snapshots.remove(&id);
        }
    }
}

/// Commits a transaction; the snapshots of others than `own` keep the rows that it changed.
pub(crate) fn commit_in(db: &mut Db, xact: Transaction, own: Option<u64>) -> Result<()> {
    keep_for_snapshots(db, xact, own, |_| true);
    db.storage.commit(xact).map(drop).map_err(from_storage)
}

/// Lets the snapshots of others than `own` keep the rows that a transaction changed in these tables.
pub(super) fn keep_for_snapshots(db: &mut Db, xact: Transaction, own: Option<u64>, of: impl Fn(u32) -> bool) {
    if !db.snapshots.keys().any(|id| Some(*id) != own) {
        return;
    }
    let changed: Vec<_> = db.storage.changed_rows(xact).filter(|(t, _)| of(*t)).map(|(t, k)| (t, k.clone())).collect();
    for (table, key) in changed {
        let old = db.storage.committed_row(table, &key);
        for (_, before) in db.snapshots.iter_mut().filter(|(id, _)| Some(**id) != own) {
            before.entry(table).or_default().entry(key.clone()).or_insert_with(|| old.clone());
        }
    }
}

/// The session's transaction in a database; begun where there is none.
pub(crate) fn begin_in(state: &mut State, scalars: &mut Scalars, database: usize, name: &str) -> Transaction {
    if let Some(xact) = scalars.xacts.get(&database) {
        return *xact;
    }
    let name = if scalars.depth > 0 { "user_transaction" } else { name };
    let now = (scalars.now.0 - DAYS_TO_1900).max(0) as u32;
    state.db_mut(database).storage.clock_reaches(now, to_300ths(scalars.now.1));
    let options = XactOptions { name, spid: scalars.spid.unsigned_abs().into() };
    let xact = state.db_mut(database).storage.begin(options);
    scalars.xacts.insert(database, xact);
    state.owners.insert((database, xact), scalars.spid);
    xact
}

fn reads_tables(body: &Body) -> bool {
    match body {
        Body::Select(select) => !select.from.is_empty(),
        Body::Nested(query) => reads_tables(&query.body),
        Body::Set { left, right, .. } => reads_tables(left) || reads_tables(right),
    }
}

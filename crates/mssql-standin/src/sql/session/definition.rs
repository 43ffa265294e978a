//! Definitions inside of transactions: what a ROLLBACK takes back, and what it says that it cannot.
//!
//! The storage makes every definition in a transaction of its own. A table that a transaction made is dropped when the transaction
//! is rolled back; anything else stays as it was defined, and ROLLBACK ends with an error that names it, so that nobody
//! believes otherwise.

use super::super::ast::{Name, Stmt, StmtKind};
use super::super::bind::TableAt;
use super::super::error::{Effect, SqlError, unsupported};
use super::super::state::State;
use super::Session;

/// A definition that the open transaction made.
#[derive(Clone, Debug)]
pub(crate) enum Defined {
    /// A table that is new.
    Made(TableAt),
    /// Something that stays: the statement, and the table that it was about.
    Kept(&'static str, Option<TableAt>),
}

impl Session {
    /// What a statement is about to define, of tables that are there.
    pub(super) fn about_to_define(&self, stmt: &Stmt) -> Vec<Defined> {
        let (what, names): (&str, Vec<&Name>) = match &stmt.kind {
            StmtKind::DropTable { names, .. } => ("DROP TABLE", names.iter().collect()),
            StmtKind::Truncate(name) => ("TRUNCATE TABLE", vec![name]),
            StmtKind::AlterTable(name, _) => ("ALTER TABLE", vec![name]),
            StmtKind::CreateIndex(_, name) => ("CREATE INDEX", vec![name]),
            StmtKind::DropIndex { table, .. } => ("DROP INDEX", vec![table]),
            StmtKind::CreateSchema(_) => return vec![Defined::Kept("CREATE SCHEMA", None)],
            _ => return Vec::new(),
        };
        let state = self.shared.lock();
        let find = |name: &&Name| state.find_table(&self.scalars, name).ok().flatten();
        names.iter().filter_map(find).map(|at| Defined::Kept(what, Some(at))).collect()
    }

    /// Remembers what a statement defined.
    pub(super) fn has_defined(&mut self, stmt: &Stmt, before: Vec<Defined>) {
        self.scalars.defined.extend(before);
        if let StmtKind::CreateTable(table) = &stmt.kind {
            let found = self.shared.lock().find_table(&self.scalars, &table.name);
            self.scalars.defined.extend(found.ok().flatten().map(Defined::Made));
        }
    }
}

/// Drops the tables that a transaction made; the error names what else it defined.
pub(super) fn take_back(state: &mut State, defined: Vec<Defined>) -> Option<SqlError> {
    let mut kept = Vec::new();
    for one in defined.iter().rev() {
        match one {
            Defined::Made(at) => {
                if let Some(Some(db)) = state.databases.get_mut(at.database) {
                    // The transaction may have dropped it itself.
                    let _gone = db.storage.drop_table(at.table);
                    db.tables.remove(&at.table);
                    db.lookups.forget(at.table);
                }
            }
            Defined::Kept(what, table) => {
                let made = |d: &Defined| matches!((d, table), (Defined::Made(a), Some(b)) if a == b);
                if !defined.iter().any(made) {
                    kept.push(*what);
                }
            }
        }
    }
    let what = kept.last()?;
    Some(SqlError { effect: Effect::Statement, ..unsupported(format!("ROLLBACK of {what}: what it did stays")) })
}

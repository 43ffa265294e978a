//! Definitions inside of transactions: they are the transaction's own, and a ROLLBACK, also to a savepoint, takes them back.
//!
//! The storage takes back what it wrote; what is kept beside it (constraints, computed columns, views, triggers) is put back from here.
//! A statement that fails is taken back too. What CDC has to do for a definition is done when the transaction commits.

use std::cell::RefCell;
use std::collections::BTreeMap;

use logferry_model::SqlType;

use super::super::ast::{Name, Stmt, StmtKind};
use super::super::bind::TableAt;
use super::super::cdc;
use super::super::define;
use super::super::error::{Effect, Result, SqlError, unsupported};
use super::super::state::{ModuleDef, Scalars, State, TableMeta, TableTypeDef, from_storage};
use super::super::time::to_300ths;
use super::super::trigger::TriggerDef;
use super::super::value::{DAYS_TO_1900, Value};
use super::transaction::{begin_in, commit_all, give_up, keep_for_snapshots};
use super::{Out, Session};
use logferry_mssql_standin_storage::{Mark, Transaction};

/// A definition that the open transaction made.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    database: usize,
    /// Where the transaction was before.
    mark: Mark,
    /// Tables that it was about.
    taken: Vec<u32>,
    /// What was known of objects before; nothing of new ones.
    tables: Vec<(u32, Option<TableMeta>)>,
    modules: Vec<(u32, Option<ModuleDef>)>,
    triggers: Vec<(u32, Option<TriggerDef>)>,
    /// All types of tables before.
    types: BTreeMap<u32, TableTypeDef>,
    /// Tables that CDC captured and that were dropped.
    dropped: Vec<u32>,
    /// A statement that CDC has to know of.
    altered: Option<(u32, String)>,
}

/// A definition that is being made.
pub(crate) struct Defining {
    xact: Transaction,
    known: Definition,
    before: [Vec<u32>; 3],
}

/// What a statement is about: a database and tables of it.
pub(super) type About = (usize, Vec<u32>);

impl Defining {
    /// Begins: takes the tables, or says whom to wait for.
    pub(crate) fn begin(
        state: &mut State,
        scalars: &mut Scalars,
        (database, taken): About,
        name: &str,
    ) -> Result<Self> {
        let own = scalars.xacts.get(&database).copied();
        for table in &taken {
            if let Some(by) = state.db(database).storage.holder_of_any(own, *table) {
                return Err(state.blocked(database, by));
            }
        }
        let xact = begin_in(state, scalars, database, name);
        let snapshot = scalars.snapshots.get(&database).copied();
        let db = state.db_mut(database);
        // What a transaction defines has the time of its own statement.
        db.storage.clock_reaches((scalars.now.0 - DAYS_TO_1900).max(0) as u32, to_300ths(scalars.now.1));
        keep_for_snapshots(db, xact, snapshot, |table| taken.contains(&table));
        let mark = db.storage.mark(xact).map_err(from_storage)?;
        let pointing = |m: &TableMeta| m.foreign.iter().any(|f| taken.contains(&f.table));
        let concerned = db.tables.iter().filter(|(id, m)| taken.contains(id) || pointing(m));
        let known = Definition {
            database,
            mark,
            tables: concerned.map(|(id, m)| (*id, Some(m.clone()))).collect(),
            modules: db.modules.iter().map(|(id, m)| (*id, Some(m.clone()))).collect(),
            triggers: db.triggers.iter().map(|(id, t)| (*id, Some(t.clone()))).collect(),
            types: db.table_types.clone(),
            taken,
            dropped: Vec::new(),
            altered: None,
        };
        let before = [
            db.tables.keys().copied().collect(),
            db.modules.keys().copied().collect(),
            db.triggers.keys().copied().collect(),
        ];
        db.storage.define_in(Some(xact), &known.taken).map_err(from_storage)?;
        Ok(Defining { xact, known, before })
    }

    /// Ends: remembers what was made, or takes it back.
    pub(crate) fn end(self, state: &mut State, scalars: &mut Scalars, ok: bool) -> Result<()> {
        let Defining { xact, mut known, before: [tables, modules, triggers] } = self;
        let db = state.db_mut(known.database);
        db.storage.define_in(None, &[]).map_err(from_storage)?;
        let new = |ids: &mut dyn Iterator<Item = &u32>, before: &[u32]| -> Vec<u32> {
            ids.filter(|id| !before.contains(id)).copied().collect()
        };
        known.tables.extend(new(&mut db.tables.keys(), &tables).into_iter().map(|id| (id, None)));
        let made = new(&mut db.modules.keys(), &modules);
        known.modules.retain(|(id, old)| {
            let text = |m: &ModuleDef| (m.text.clone(), m.name.clone());
            db.modules.get(id).map(text) != old.as_ref().map(text)
        });
        known.modules.extend(made.into_iter().map(|id| (id, None)));
        let made = new(&mut db.triggers.keys(), &triggers);
        known.triggers.retain(|(id, old)| {
            let shown = |t: &TriggerDef| (t.text.clone(), t.name.clone(), t.disabled);
            db.triggers.get(id).map(shown) != old.as_ref().map(shown)
        });
        known.triggers.extend(made.into_iter().map(|id| (id, None)));
        if !ok {
            db.storage.undo_to(xact, known.mark).map_err(from_storage)?;
            known.take_back(state);
            return Ok(());
        }
        let gone = known.taken.iter().filter(|id| !db.tables.contains_key(id)).copied();
        let captured = |id: &u32| db.cdc.iter().flat_map(|c| &c.instances).any(|i| i.source == *id);
        known.dropped = gone.filter(captured).collect();
        scalars.defined.push(known);
        Ok(())
    }
}

impl Definition {
    /// Whether it was made after a place in the database's transaction.
    pub(super) fn is_after(&self, database: usize, place: Mark) -> bool {
        self.database == database && self.mark.is_at_or_after(place)
    }

    /// Puts back what is kept beside the storage, whose transaction is rolled back by now.
    pub(super) fn take_back(self, state: &mut State) {
        let Some(Some(db)) = state.databases.get_mut(self.database) else { return };
        for (id, old) in self.tables {
            match old {
                None => drop(db.tables.remove(&id)),
                Some(mut meta) => {
                    // Others have gone on with the identities of tables that were not taken.
                    if let Some(now) = db.tables.get(&id).filter(|_| !self.taken.contains(&id)) {
                        meta.identity.clone_from(&now.identity);
                    }
                    db.tables.insert(id, meta);
                }
            }
            db.lookups.forget(id);
        }
        put_back(&mut db.modules, self.modules);
        put_back(&mut db.triggers, self.triggers);
        db.table_types = self.types;
    }

    /// What CDC does when it is committed.
    pub(super) fn committed(self, state: &mut State) -> Result<()> {
        let db = state.db_mut(self.database);
        self.dropped.iter().try_for_each(|table| cdc::source_dropped(db, *table))?;
        match self.altered {
            Some((table, text)) => cdc::note_alter(db, table, &text),
            None => Ok(()),
        }
    }
}

fn put_back<T>(map: &mut BTreeMap<u32, T>, old: Vec<(u32, Option<T>)>) {
    for (id, old) in old {
        match old {
            Some(old) => drop(map.insert(id, old)),
            None => drop(map.remove(&id)),
        }
    }
}

impl Session {
    /// Runs something that defines: in a transaction of its own, which has the name, or as a part of the open one.
    pub(super) fn defining(
        &mut self,
        name: &str,
        of: impl Fn(&State, &Scalars) -> Result<About>,
        mut work: impl FnMut(&mut State, &mut Scalars, &RefCell<BTreeMap<String, (SqlType, Value)>>) -> Result<()>,
    ) -> Result<()> {
        let alone = self.scalars.depth == 0;
        let result = self.waiting(|state, scalars, variables| {
            let about = of(state, scalars)?;
            if state.db(about.0).storage.is_read_only() {
                return work(state, scalars, variables);
            }
            let defining = Defining::begin(state, scalars, about, name)?;
            let result = work(state, scalars, variables);
            defining.end(state, scalars, result.is_ok())?;
            match (&result, alone) {
                (Ok(()), true) => commit_all(scalars, state)?,
                (Err(_), true) => give_up(scalars, state)?,
                _ => {}
            }
            result
        });
        if alone {
            self.shared.released.notify_all();
        }
        result
    }

    /// The same, of tables by their names.
    pub(super) fn defining_tables(
        &mut self,
        name: &str,
        names: &[&Name],
        work: impl FnMut(&mut State, &mut Scalars, &RefCell<BTreeMap<String, (SqlType, Value)>>) -> Result<()>,
    ) -> Result<()> {
        self.defining(
            name,
            |state, scalars| {
                let mut about = (scalars.database, Vec::new());
                for name in names {
                    about.0 = state.resolve(scalars, name)?.0;
                    about.1.extend(state.find_table(scalars, name)?.map(|at| at.table));
                }
                Ok(about)
            },
            work,
        )
    }

    /// The same, of what has nothing to do with tables.
    pub(super) fn defining_in(
        &mut self,
        name: &str,
        work: impl FnMut(&mut State, &mut Scalars, &RefCell<BTreeMap<String, (SqlType, Value)>>) -> Result<()>,
    ) -> Result<()> {
        self.defining_tables(name, &[], work)
    }

    /// `ALTER TABLE` was done: CDC hears of it, now or when the transaction commits.
    pub(super) fn note_alter(&mut self, name: &Name, text: &str) -> Result<()> {
        let mut state = self.shared.lock();
        let Some(TableAt { database, table }) = state.find_table(&self.scalars, name)? else { return Ok(()) };
        if self.scalars.depth == 0 {
            return cdc::note_alter(state.db_mut(database), table, text);
        }
        if let Some(last) = self.scalars.defined.last_mut() {
            last.altered = Some((table, text.to_owned()));
        }
        Ok(())
    }

    /// Refuses what a server does only outside of transactions, before anything happens.
    pub(super) fn refuse_in_transaction(&self, stmt: &Stmt) -> Result<()> {
        let what = match &stmt.kind {
            _ if self.scalars.depth == 0 => return Ok(()),
            StmtKind::CreateDatabase(_) | StmtKind::Attach(..) => "CREATE DATABASE",
            StmtKind::AlterDatabase { .. } => "ALTER DATABASE",
            StmtKind::DropDatabase { .. } => "DROP DATABASE",
            StmtKind::Backup { .. } => {
                return Err(SqlError::batch(
                    3021,
                    "Cannot perform a backup or restore operation within a transaction.",
                )
                .state(0));
            }
            _ => return Ok(()),
        };
        let message = format!("{what} statement not allowed within multi-statement transaction.");
        Err(SqlError::batch(226, message).state(6))
    }

    /// Refuses a procedure that defines in transactions of its own.
    pub(crate) fn refuse_procedure_in_transaction(&self, name: &str) -> Result<()> {
        match self.scalars.depth {
            0 => Ok(()),
            _ => Err(SqlError {
                effect: Effect::Statement,
                ..unsupported(format!("{name} inside of a transaction, which could not take it back"))
            }),
        }
    }

    pub(super) fn drop_tables(&mut self, names: &[Name], if_exists: bool, out: Out<'_>) -> Result<()> {
        for name in names {
            let drop = |state: &mut State, s: &mut Scalars, _: &_| define::drop_table(state, s, name, if_exists);
            self.defining_tables("DROPOBJ", &[name], drop)?;
        }
        out.done(None);
        Ok(())
    }
}

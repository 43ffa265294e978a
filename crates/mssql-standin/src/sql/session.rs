//! Sessions: batches, variables, control of flow, transactions, waiting for locks.
//!
//! A statement runs alone on all databases: sessions take turns, statement by statement. Readers see committed rows and
//! their own (READ COMMITTED by versions), in SNAPSHOT those of the transaction's first statement; READ UNCOMMITTED,
//! REPEATABLE READ and SERIALIZABLE read as READ COMMITTED does. Writers wait for the transaction that holds a row,
//! until the lock timeout; where sessions wait in a circle, the one that closes it is the deadlock victim.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use logferry_model::SqlType;

use super::ast::{Expr, Query, Stmt, StmtKind};
use super::bind::{Binder, Scope};
use super::change::{self, Outcome};
use super::convert::convert;
use super::define;
use super::error::{Effect, Result, SqlError, unsupported};
use super::eval::{Ctx, Env, eval, holds};
use super::parse::{parse, parse_parameters};
use super::plan::{Column, Plan, PlanBody};
use super::run;
use super::sink::{Param, ResultColumn, ResultSink, TransactionChange};
use super::state::{Isolation, Scalars, SessionRow, State, from_storage};
use super::types;
use super::value::{Value, to_bytes};
use crate::storage::{Database, Options, XactOptions};

/// Number of the error that means: wait and try again. Never shown.
pub(crate) const BLOCKED: i32 = -1;
/// Batches inside of batches: SQL Server ends with error 217 as well.
const NEST_MAX: u32 = 32;

/// A server: databases that many sessions share.
#[derive(Clone, Debug)]
pub struct Server {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// A transaction ended.
    released: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who connects.
#[derive(Clone, Debug)]
pub struct Login {
    /// Name of the login; passwords are not this module's business.
    pub name: String,
    /// `HOST_NAME()`
    pub host: String,
    /// `APP_NAME()`
    pub program: String,
    /// The database to begin in; `master` where it is empty.
    pub database: String,
}

impl Server {
    /// A server with its system databases.
    ///
    /// # Errors
    /// Where storage cannot make them.
    pub fn new(name: &str) -> Result<Self> {
        let state = State::new(name, utc_now())?;
        Ok(Server { shared: Arc::new(Shared { state: Mutex::new(state), released: Condvar::new() }) })
    }

    /// Makes a database; the name and server of the options are set.
    ///
    /// # Errors
    /// 1801 where there is one of that name.
    pub fn create_database(&self, name: &str, options: Options) -> Result<()> {
        self.shared.lock().create_database(name, utc_now(), options).map(drop)
    }

    /// Takes a database that was made with [`Database::create`]; it must have no open transactions.
    pub fn adopt_database(&self, name: &str, database: Database) {
        self.shared.lock().adopt(name, utc_now(), database);
    }

    /// Works on the storage of a database, while no statement runs.
    pub fn with_storage<T>(&self, database: &str, work: impl FnOnce(&mut Database) -> T) -> Option<T> {
        let mut state = self.shared.lock();
        let at = state.find_database(database)?;
        Some(work(&mut state.db_mut(at).storage))
    }

    /// A session.
    ///
    /// # Errors
    /// 4060 where there is no such database.
    pub fn connect(&self, login: &Login) -> Result<Session> {
        let mut state = self.shared.lock();
        let database = match login.database.as_str() {
            "" => 0,
            name => state.find_database(name).ok_or_else(|| {
                SqlError::batch(
                    4060,
                    format!("Cannot open database \"{name}\" requested by the login. The login failed."),
                )
                .class(11)
            })?,
        };
        let spid = (51..i16::MAX).find(|n| !state.sessions.contains_key(n)).unwrap_or(i16::MAX);
        state.sessions.insert(
            spid,
            SessionRow {
                login: login.name.clone(),
                program: login.program.clone(),
                host: login.host.clone(),
                database,
            },
        );
        let scalars = Scalars {
            spid,
            login: login.name.clone(),
            program: login.program.clone(),
            host: login.host.clone(),
            database,
            depth: 0,
            xacts: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            isolation: Isolation::ReadCommitted,
            rowcount: 0,
            error: 0,
            identity: None,
            caught: None,
            options: BTreeMap::new(),
            identity_insert: None,
            lock_timeout_ms: None,
            now: utc_now(),
            seed: u64::from(spid.unsigned_abs()) << 32 ^ utc_now().1,
            implicit: false,
        };
        drop(state);
        Ok(Session {
            shared: Arc::clone(&self.shared),
            scalars,
            variables: RefCell::new(BTreeMap::new()),
            tran_name: None,
            prepared: BTreeMap::new(),
            next_handle: 1,
            nest: 0,
        })
    }
}

/// Now, in UTC: days since 0001-01-01, ticks of 100 ns.
fn utc_now() -> (i32, u64) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    (719_162 + (seconds / 86_400) as i32, seconds % 86_400 * 10_000_000 + u64::from(since.subsec_nanos()) / 100)
}

/// One connection's session.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    pub(crate) scalars: Scalars,
    pub(crate) variables: RefCell<BTreeMap<String, (SqlType, Value)>>,
    tran_name: Option<String>,
    prepared: BTreeMap<i32, (Vec<(String, SqlType)>, String)>,
    next_handle: i32,
    nest: u32,
}

/// How a statement left.
enum Flow {
    Next,
    Break,
    Continue,
    Return(i32),
}

type Out<'a> = &'a mut dyn ResultSink;

impl Drop for Session {
    fn drop(&mut self) {
        self.roll_back_all();
        self.shared.lock().sessions.remove(&self.scalars.spid);
    }
}

impl Session {
    /// `@@SPID`
    pub fn spid(&self) -> i16 {
        self.scalars.spid
    }

    /// `@@TRANCOUNT`
    pub fn transaction_count(&self) -> u32 {
        self.scalars.depth
    }

    /// Name of the database that the session is in.
    pub fn database(&self) -> String {
        self.shared.lock().db(self.scalars.database).name.clone()
    }

    /// Runs a batch, or the text of `sp_executesql` with its parameters. Errors and results go to `out`; the error that
    /// ended the batch also comes back.
    pub fn execute(&mut self, sql: &str, params: &[Param], out: Out<'_>) -> std::result::Result<i32, SqlError> {
        let outer = self.variables.take();
        for param in params {
            let value = param.bytes.as_deref().map_or(Value::Null, |b| super::value::from_bytes(&param.sql_type, b));
            self.variables.borrow_mut().insert(param.name.to_ascii_lowercase(), (param.sql_type.clone(), value));
        }
        let result = self.batch(sql, out);
        for param in params.iter().filter(|p| p.output) {
            let held = self.variables.borrow().get(&param.name.to_ascii_lowercase()).cloned();
            if let Some((ty, value)) = held {
                match to_bytes(&ty, &value) {
                    Ok(bytes) => out.output(&param.name, &ty, bytes.as_deref()),
                    Err(e) => out.error(&e),
                }
            }
        }
        *self.variables.borrow_mut() = outer;
        result
    }

    /// Runs a procedure by its name: what RPC requests call.
    pub fn call(&mut self, procedure: &str, params: &[Param], out: Out<'_>) -> std::result::Result<i32, SqlError> {
        let args = params
            .iter()
            .map(|p| {
                let value = p.bytes.as_deref().map_or(Value::Null, |b| super::value::from_bytes(&p.sql_type, b));
                (Some(p.name.clone()).filter(|n| !n.is_empty()), p.sql_type.clone(), value, p.output)
            })
            .collect();
        let result = self.procedure(procedure, args, out).map(|(status, outputs)| {
            for (name, ty, value) in outputs {
                match to_bytes(&ty, &value) {
                    Ok(bytes) => out.output(&name, &ty, bytes.as_deref()),
                    Err(e) => out.error(&e),
                }
            }
            status
        });
        if let Err(e) = &result {
            out.error(e);
        }
        result
    }

    /// Begins a transaction, as a transaction manager request or BEGIN TRAN does.
    pub fn begin(&mut self, name: Option<&str>) -> TransactionChange {
        self.scalars.depth += 1;
        if self.scalars.depth == 1 {
            self.tran_name = name.map(str::to_owned);
        }
        TransactionChange::Begin
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
        self.commit_all(&mut state)?;
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
                found |= state.db_mut(*database).storage.rollback_to(*xact, name).is_ok();
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
        let xact = begin_in(&mut state, &mut self.scalars, at, "user_transaction");
        state.db_mut(at).storage.savepoint(xact, name).map_err(from_storage)
    }

    fn commit_all(&mut self, state: &mut State) -> Result<()> {
        for (database, xact) in std::mem::take(&mut self.scalars.xacts) {
            state.owners.remove(&(database, xact));
            let own = self.scalars.snapshots.get(&database).copied();
            let db = state.db_mut(database);
            if db.snapshots.keys().any(|id| Some(*id) != own) {
                let changed: Vec<_> = db.storage.changed_rows(xact).map(|(t, k)| (t, k.clone())).collect();
                for (table, key) in changed {
                    let old = db.storage.committed_row(table, &key);
                    for (_, before) in db.snapshots.iter_mut().filter(|(id, _)| Some(**id) != own) {
                        before.entry((table, key.clone())).or_insert_with(|| old.clone());
                    }
                }
            }
            db.storage.commit(xact).map_err(from_storage)?;
        }
        self.end_snapshots(state);
        Ok(())
    }

    fn end_snapshots(&mut self, state: &mut State) {
        for (database, id) in std::mem::take(&mut self.scalars.snapshots) {
            if let Some(Some(db)) = state.databases.get_mut(database) {
                db.snapshots.remove(&id);
            }
        }
    }

    fn roll_back_all(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        for (database, xact) in std::mem::take(&mut self.scalars.xacts) {
            state.owners.remove(&(database, xact));
            if let Some(Some(db)) = state.databases.get_mut(database) {
                // An open transaction of ours can always be rolled back.
                let ended = db.storage.rollback(xact);
                debug_assert!(ended.is_ok());
            }
        }
        self.end_snapshots(&mut state);
        self.scalars.depth = 0;
        self.tran_name = None;
        drop(state);
        shared.released.notify_all();
    }

    fn batch(&mut self, sql: &str, out: Out<'_>) -> std::result::Result<i32, SqlError> {
        self.scalars.now = utc_now();
        self.nest += 1;
        let result = match parse(sql) {
            Ok(_) if self.nest > NEST_MAX => Err(SqlError::batch(
                217,
                "Maximum stored procedure, function, trigger, or view nesting level exceeded (limit 32).",
            )),
            Ok(statements) => self.statements(&statements, out, false),
            Err(e) => {
                self.scalars.error = e.number;
                Err(e)
            }
        };
        self.nest -= 1;
        match result {
            Ok(Flow::Return(status)) => Ok(status),
            Ok(_) => Ok(0),
            Err(e) => {
                out.error(&e);
                Err(e)
            }
        }
    }

    fn statements(&mut self, list: &[Stmt], out: Out<'_>, in_try: bool) -> Result<Flow> {
        for stmt in list {
            match self.statement(stmt, out, in_try)? {
                Flow::Next => {}
                other => return Ok(other),
            }
        }
        Ok(Flow::Next)
    }

    /// Runs a statement; an error that ends no more than it goes to `out` here, but for TRY blocks, which get all.
    fn statement(&mut self, stmt: &Stmt, out: Out<'_>, in_try: bool) -> Result<Flow> {
        self.scalars.now = utc_now();
        match self.kind(stmt, out, in_try) {
            Ok(flow) => {
                if !matches!(
                    stmt.kind,
                    StmtKind::If { .. }
                        | StmtKind::While { .. }
                        | StmtKind::Block(_)
                        | StmtKind::TryCatch { .. }
                        | StmtKind::Return(_)
                        | StmtKind::RaisError { .. }
                ) {
                    self.scalars.error = 0;
                }
                Ok(flow)
            }
            Err(mut e) => {
                e = e.at_line(stmt.line);
                self.scalars.error = e.number;
                if e.effect == Effect::Transaction
                    || self.scalars.option("XACT_ABORT") && e.number != 50000 && self.scalars.depth > 0
                {
                    self.roll_back_all();
                    out.transaction(TransactionChange::Rollback);
                    if e.effect == Effect::Statement {
                        e.effect = Effect::Batch;
                    }
                }
                if in_try || e.effect != Effect::Statement {
                    return Err(e);
                }
                out.error(&e);
                if matches!(stmt.kind, StmtKind::Insert(_) | StmtKind::Update(_) | StmtKind::Delete(_)) {
                    out.info(&SqlError {
                        class: 0,
                        line: stmt.line,
                        ..SqlError::new(3621, "The statement has been terminated.")
                    });
                    out.done(None);
                }
                Ok(Flow::Next)
            }
        }
    }

    fn kind(&mut self, stmt: &Stmt, out: Out<'_>, in_try: bool) -> Result<Flow> {
        match &stmt.kind {
            StmtKind::Select(query) => self.select(query, out)?,
            StmtKind::Insert(insert) => {
                let rows = self.changes(|state, s, v| change::insert(state, s, v, insert))?;
                self.changed(rows, out);
            }
            StmtKind::Update(update) => {
                let rows = self.changes(|state, s, v| change::update(state, s, v, update))?;
                self.changed(rows, out);
            }
            StmtKind::Delete(delete) => {
                let rows = self.changes(|state, s, v| change::delete(state, s, v, delete))?;
                self.changed(rows, out);
            }
            StmtKind::Truncate(name) => {
                self.waiting(|state, s, _| define::truncate(state, s, name))?;
                out.done(None);
            }
            StmtKind::CreateTable(table) => {
                self.waiting(|state, s, _| define::create_table(state, s, table))?;
                out.done(None);
            }
            StmtKind::DropTable { names, if_exists } => {
                for name in names {
                    self.waiting(|state, s, _| define::drop_table(state, s, name, *if_exists))?;
                }
                out.done(None);
            }
            StmtKind::CreateIndex(index, table) => {
                self.waiting(|state, s, _| define::create_index(state, s, index, table))?;
                out.done(None);
            }
            StmtKind::DropIndex { index, table, if_exists } => {
                self.waiting(|state, s, _| define::drop_index(state, s, index, table, *if_exists))?;
                out.done(None);
            }
            StmtKind::AlterTable(table, change) => {
                self.waiting(|state, s, v| define::alter_table(state, s, v, table, change))?;
                out.done(None);
            }
            StmtKind::CreateSchema(name) => {
                self.waiting(|state, s, _| define::create_schema(state, s, name))?;
                out.done(None);
            }
            StmtKind::CreateDatabase(name) => {
                self.waiting(|state, s, _| state.create_database(name, s.now, Options::default()).map(drop))?;
                out.done(None);
            }
            StmtKind::DropDatabase { names, if_exists } => {
                for name in names {
                    self.waiting(|state, s, _| define::drop_database(state, s, name, *if_exists))?;
                }
                out.done(None);
            }
            StmtKind::AlterDatabase { name, options } => {
                self.waiting(|state, s, _| define::alter_database(state, s, name.as_deref(), options))?;
                out.done(None);
            }
            StmtKind::Backup { log, database, path, differential } => {
                let path = self.scalar(path)?.as_text().unwrap_or_default();
                self.waiting(|state, _, _| define::backup(state, *log, *differential, database, &path))?;
                out.done(None);
            }
            StmtKind::Checkpoint => {
                self.waiting(|state, s, _| {
                    state.db_mut(s.database).storage.checkpoint();
                    Ok(())
                })?;
                out.done(None);
            }
            StmtKind::Declare(list) => {
                for (name, ty, value) in list {
                    let name = name.to_ascii_lowercase();
                    let value = match value {
                        Some(e) => self.typed(e, ty)?,
                        None => Value::Null,
                    };
                    self.variables.borrow_mut().insert(name, (ty.clone(), value));
                }
            }
            StmtKind::SetVar { name, op, value } => {
                let key = name.to_ascii_lowercase();
                let ty = self.variables.borrow().get(&key).map(|(ty, _)| ty.clone());
                let Some(ty) = ty else {
                    return Err(SqlError::batch(137, format!("Must declare the scalar variable \"{name}\".")).class(15));
                };
                let value = match op {
                    Some(op) => {
                        let e = Expr::Binary(*op, Box::new(Expr::Var(name.clone())), Box::new(value.clone()));
                        self.typed(&e, &ty)?
                    }
                    None => self.typed(value, &ty)?,
                };
                self.variables.borrow_mut().insert(key, (ty, value));
                self.scalars.rowcount = 1;
            }
            StmtKind::SetOption(words) => self.set_option(words)?,
            StmtKind::If { test, then, other } => {
                if self.condition(test)? {
                    return self.statement(then, out, in_try);
                }
                if let Some(other) = other {
                    return self.statement(other, out, in_try);
                }
            }
            StmtKind::While { test, body } => {
                while self.condition(test)? {
                    match self.statement(body, out, in_try)? {
                        Flow::Break => break,
                        Flow::Return(status) => return Ok(Flow::Return(status)),
                        Flow::Next | Flow::Continue => {}
                    }
                }
            }
            StmtKind::Block(list) => return self.statements(list, out, in_try),
            StmtKind::TryCatch { body, handler } => match self.statements(body, out, true) {
                Ok(flow) => return Ok(flow),
                // Syntax and names that are not there are errors of the whole batch.
                Err(e) if e.effect == Effect::Batch && matches!(e.number, 102 | 156 | 207 | 208 | 40517) => {
                    return Err(e);
                }
                Err(e) => {
                    let previous = self.scalars.caught.replace(e);
                    let flow = self.statements(handler, out, in_try);
                    self.scalars.caught = previous;
                    return flow;
                }
            },
            StmtKind::Break => return Ok(Flow::Break),
            StmtKind::Continue => return Ok(Flow::Continue),
            StmtKind::Return(value) => {
                let status = match value {
                    Some(e) => self.typed(e, &SqlType::Int)?.as_int().unwrap_or(0) as i32,
                    None => 0,
                };
                return Ok(Flow::Return(status));
            }
            StmtKind::Print(e) => {
                let text = self.typed(e, &types::nvarchar(4000))?.as_text().unwrap_or_default();
                out.info(&SqlError { class: 0, line: stmt.line, ..SqlError::new(0, text) });
            }
            StmtKind::RaisError { args, options } => return self.raiserror(args, options, stmt.line, out),
            StmtKind::Throw(args) => {
                let Some((number, rest)) = args.split_first() else {
                    return Err(match self.scalars.caught.clone() {
                        Some(e) => SqlError { effect: Effect::Batch, ..e },
                        None => SqlError::batch(
                            10704,
                            "To rethrow an error, a THROW statement must be used inside a CATCH block. Insert the THROW statement inside a CATCH block, or add error parameters to the THROW statement.",
                        )
                        .class(15),
                    });
                };
                let number = self.typed(number, &SqlType::Int)?.as_int().unwrap_or(50000) as i32;
                let message = match rest.first() {
                    Some(e) => self.typed(e, &types::nvarchar(2048))?.as_text().unwrap_or_default(),
                    None => String::new(),
                };
                let state = match rest.get(1) {
                    Some(e) => self.typed(e, &SqlType::TinyInt)?.as_int().unwrap_or(1) as u8,
                    None => 1,
                };
                return Err(SqlError::batch(number, message).state(state));
            }
            StmtKind::Begin(name) => {
                let change = self.begin(name.as_deref());
                if self.scalars.depth == 1 {
                    out.transaction(change);
                }
                out.done(None);
            }
            StmtKind::Commit => {
                if let Some(change) = self.commit()? {
                    out.transaction(change);
                }
                out.done(None);
            }
            StmtKind::Rollback(name) => {
                if let Some(change) = self.rollback(name.as_deref())? {
                    out.transaction(change);
                }
                out.done(None);
            }
            StmtKind::Save(name) => {
                self.save(name)?;
                out.done(None);
            }
            StmtKind::Use(name) => {
                let found = self.shared.lock().find_database(name);
                let Some(at) = found else {
                    return Err(SqlError::batch(
                        911,
                        format!("Database '{name}' does not exist. Make sure that the name is entered correctly."),
                    ));
                };
                self.scalars.database = at;
                if let Some(row) = self.shared.lock().sessions.get_mut(&self.scalars.spid) {
                    row.database = at;
                }
                let name = self.database();
                out.changed_database(&name);
            }
            StmtKind::WaitDelay(e) => {
                let value = self.typed(e, &SqlType::DateTime)?;
                if let Value::DateTime(days, ticks) = value {
                    let seconds = f64::from(days) * 86_400.0 + f64::from(ticks) / 300.0;
                    std::thread::sleep(Duration::from_secs_f64(seconds.max(0.0)));
                }
                out.done(None);
            }
            StmtKind::Exec { into, name, args } => {
                let mut list = Vec::new();
                let mut targets = Vec::new();
                for (named, e, output) in args {
                    let (ty, value) = self.evaluate(e)?;
                    if let (true, Expr::Var(v)) = (*output, e) {
                        targets.push((named.clone(), list.len(), v.to_ascii_lowercase()));
                    }
                    list.push((named.clone(), ty, value, *output));
                }
                let (status, outputs) = self.procedure(&name.join("."), list, out)?;
                for (target, (_, _, value)) in targets.iter().zip(outputs) {
                    if let Some(held) = self.variables.borrow_mut().get_mut(&target.2) {
                        held.1 = value;
                    }
                }
                if let Some(into) = into {
                    let key = into.to_ascii_lowercase();
                    if let Some(held) = self.variables.borrow_mut().get_mut(&key) {
                        held.1 = Value::Int(i64::from(status));
                    }
                }
            }
            StmtKind::ExecText(e) => {
                let text = self.typed(e, &types::nvarchar_max())?.as_text().unwrap_or_default();
                let outer = self.variables.take();
                let result = self.nested(&text, out);
                *self.variables.borrow_mut() = outer;
                result?;
            }
        }
        Ok(Flow::Next)
    }

    fn nested(&mut self, sql: &str, out: Out<'_>) -> Result<i32> {
        self.nest += 1;
        let result = match self.nest > NEST_MAX {
            true => Err(SqlError::batch(
                217,
                "Maximum stored procedure, function, trigger, or view nesting level exceeded (limit 32).",
            )),
            false => parse(sql).and_then(|list| self.statements(&list, out, false)),
        };
        self.nest -= 1;
        Ok(match result? {
            Flow::Return(status) => status,
            _ => 0,
        })
    }

    fn changed(&mut self, outcome: Outcome, out: Out<'_>) {
        self.scalars.rowcount = outcome.count as i64;
        if let Some((columns, rows)) = outcome.output {
            out.columns(&result_columns(&columns));
            for row in rows {
                let cells: Vec<Option<Vec<u8>>> =
                    row.iter().zip(&columns).map(|(v, c)| to_bytes(&c.ty, v).unwrap_or(None)).collect();
                if !out.row(&cells) {
                    break;
                }
            }
        }
        out.done(Some(outcome.count));
    }

    fn select(&mut self, query: &Query, out: Out<'_>) -> Result<()> {
        if let super::ast::Body::Select(select) = &query.body
            && let Some(into) = &select.into
        {
            let outcome = self.changes(|state, s, v| change::select_into(state, s, v, query, into))?;
            self.changed(outcome, out);
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        self.take_snapshot(&mut state)?;
        let plan = {
            let variables = self.variables.borrow();
            Binder::new(&state, &self.scalars, &variables).query(query, None)?
        };
        let ctx = Ctx { state: &state, scalars: &self.scalars, variables: &self.variables, cache: RefCell::default() };
        let assigns = matches!(&plan.body, PlanBody::Select(s) if !s.assigns.is_empty());
        let count = if assigns {
            let mut count = 0;
            run::run(&plan, &ctx, None, &mut |_| {
                count += 1;
                Ok(true)
            })?;
            count
        } else {
            send(&plan, &ctx, out)?
        };
        drop(state);
        self.scalars.rowcount = count as i64;
        if !assigns {
            out.done(Some(count));
        }
        Ok(())
    }

    /// In SNAPSHOT, the transaction's first statement decides what it sees.
    fn take_snapshot(&mut self, state: &mut State) -> Result<()> {
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
        let state = self.shared.lock();
        let bound = {
            let variables = self.variables.borrow();
            Binder::new(&state, &self.scalars, &variables).value(e, &Scope::EMPTY)?
        };
        let ctx = Ctx { state: &state, scalars: &self.scalars, variables: &self.variables, cache: RefCell::default() };
        let value = eval(&bound, &Env::empty(&ctx))?;
        Ok((bound.ty, value))
    }

    fn scalar(&mut self, e: &Expr) -> Result<Value> {
        self.evaluate(e).map(|(_, v)| v)
    }

    fn typed(&mut self, e: &Expr, ty: &SqlType) -> Result<Value> {
        let (from, value) = self.evaluate(e)?;
        convert(value, &from, ty, None)
    }

    fn condition(&mut self, e: &Expr) -> Result<bool> {
        let state = self.shared.lock();
        let bound = {
            let variables = self.variables.borrow();
            Binder::new(&state, &self.scalars, &variables).condition(e, &Scope::EMPTY)?
        };
        let ctx = Ctx { state: &state, scalars: &self.scalars, variables: &self.variables, cache: RefCell::default() };
        holds(&bound, &Env::empty(&ctx))
    }

    /// Runs something that changes what is shared; waits for locks and tries again.
    fn waiting<T>(
        &mut self,
        mut work: impl FnMut(&mut State, &mut Scalars, &RefCell<BTreeMap<String, (SqlType, Value)>>) -> Result<T>,
    ) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        let deadline = self.scalars.lock_timeout_ms.map(|ms| Instant::now() + Duration::from_millis(ms));
        let mut state = shared.lock();
        loop {
            self.take_snapshot(&mut state)?;
            match work(&mut state, &mut self.scalars, &self.variables) {
                Err(e) if e.number == BLOCKED => {}
                other => return other,
            }
            let spid = self.scalars.spid;
            let owner = state.blocked_by.take().and_then(|by| state.owners.get(&by).copied());
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
            let wait = deadline.map_or(Duration::from_secs(1), |d| d.saturating_duration_since(Instant::now()));
            if deadline.is_some() && wait.is_zero() {
                state.waits.remove(&spid);
                return Err(SqlError::new(1222, "Lock request time out period exceeded.").state(51));
            }
            state = shared.released.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            state.waits.remove(&spid);
        }
    }

    /// Runs a statement that changes rows: in the open transaction, or in one of its own.
    fn changes(
        &mut self,
        mut work: impl FnMut(&mut State, &mut Scalars, &RefCell<BTreeMap<String, (SqlType, Value)>>) -> Result<Outcome>,
    ) -> Result<Outcome> {
        if self.scalars.implicit && self.scalars.depth == 0 {
            self.begin(None);
        }
        let explicit = self.scalars.depth > 0;
        let shared = Arc::clone(&self.shared);
        let result = self.waiting(|state, scalars, variables| {
            let marks: Vec<_> = scalars
                .xacts
                .iter()
                .filter_map(|(db, xact)| Some((*db, *xact, state.db(*db).storage.mark(*xact).ok()?)))
                .collect();
            let result = work(state, scalars, variables);
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
        if !explicit && result.is_ok() && !self.scalars.xacts.is_empty() {
            let mut state = shared.lock();
            self.commit_all(&mut state)?;
            drop(state);
        }
        if !explicit {
            shared.released.notify_all();
        }
        result
    }

    fn raiserror(&mut self, args: &[Expr], options: &[String], line: u32, out: Out<'_>) -> Result<Flow> {
        let mut values = Vec::new();
        for e in args {
            values.push(self.evaluate(e)?);
        }
        let number_at = |at: usize| values.get(at).and_then(|(_, v): &(SqlType, Value)| v.as_int()).unwrap_or(0);
        let (number, format) = match values.first() {
            Some((_, Value::Int(n))) => {
                return Err(SqlError::batch(
                    18054,
                    format!(
                        "Error {n}, severity {}, state {} was raised, but no message with that error number was found in sys.messages.",
                        number_at(1),
                        number_at(2)
                    ),
                ));
            }
            Some((_, v)) => (50000, v.as_text().unwrap_or_default()),
            None => (50000, String::new()),
        };
        let mut rest = values.iter().skip(3);
        let mut message = String::new();
        let mut chars = format.chars().peekable();
        while let Some(c) = chars.next() {
            if c != '%' {
                message.push(c);
                continue;
            }
            let mut width = String::new();
            while let Some(d) =
                chars.next_if(|d| d.is_ascii_digit() || matches!(d, '-' | '.' | '*' | '#' | ' ' | '+' | 'l' | 'I'))
            {
                width.push(d);
            }
            match chars.next() {
                Some('%') => message.push('%'),
                Some(kind @ ('d' | 'i' | 's' | 'u' | 'x' | 'X' | 'o')) => {
                    let text = match rest.next() {
                        Some((_, Value::Int(n))) if kind == 'x' => format!("{n:x}"),
                        Some((_, Value::Int(n))) if kind == 'X' => format!("{n:X}"),
                        Some((_, Value::Int(n))) if kind == 'o' => format!("{n:o}"),
                        Some((_, Value::Int(n))) => n.to_string(),
                        Some((_, v)) => v.as_text().unwrap_or_else(|| "(null)".into()),
                        None => "(null)".into(),
                    };
                    message.push_str(&text);
                }
                Some(other) => message.push(other),
                None => message.push('%'),
            }
        }
        let class = number_at(1).clamp(0, 25) as u8;
        let error = SqlError { class, state: number_at(2).clamp(0, 255) as u8, line, ..SqlError::new(number, message) };
        if options.iter().any(|o| o == "SETERROR") {
            self.scalars.error = number;
        }
        if class <= 10 {
            out.info(&SqlError { number: 50000, ..error });
            return Ok(Flow::Next);
        }
        Err(error)
    }

    fn set_option(&mut self, words: &[String]) -> Result<()> {
        let on = words.last().is_some_and(|w| w == "ON");
        let first = words.first().map(String::as_str).unwrap_or_default();
        match first {
            "TRANSACTION" => {
                self.scalars.isolation = match words.get(3..).unwrap_or_default() {
                    [a, b] if a == "READ" && b == "UNCOMMITTED" => Isolation::ReadUncommitted,
                    [a, b] if a == "READ" && b == "COMMITTED" => Isolation::ReadCommitted,
                    [a, b] if a == "REPEATABLE" && b == "READ" => Isolation::RepeatableRead,
                    [a] if a == "SNAPSHOT" => Isolation::Snapshot,
                    [a] if a == "SERIALIZABLE" => Isolation::Serializable,
                    _ => return Err(super::error::syntax(words.last().map_or("", String::as_str), 0)),
                };
            }
            "IDENTITY_INSERT" => {
                let name: Vec<String> =
                    words.get(1..words.len() - 1).unwrap_or_default().iter().filter(|w| *w != ".").cloned().collect();
                let state = self.shared.lock();
                let at = state.find_table(&self.scalars, &name)?.ok_or_else(|| {
                    SqlError::batch(
                        1088,
                        format!(
                            "Cannot find the object \"{}\" because it does not exist or you do not have permissions.",
                            name.join(".")
                        ),
                    )
                })?;
                if on && state.db(at.database).meta(at.table).identity.is_none() {
                    return Err(SqlError::new(
                        8106,
                        format!(
                            "Table '{}' does not have the identity property. Cannot perform SET operation.",
                            name.join(".")
                        ),
                    ));
                }
                self.scalars.identity_insert = on.then_some(at);
            }
            "LOCK_TIMEOUT" => {
                let last = words.last().and_then(|w| w.parse::<u64>().ok());
                let negative = words.iter().any(|w| w == "-");
                self.scalars.lock_timeout_ms = if negative { None } else { last };
            }
            "IMPLICIT_TRANSACTIONS" => self.scalars.implicit = on,
            "FMTONLY" | "PARSEONLY" | "NOEXEC" | "SHOWPLAN_ALL" | "SHOWPLAN_TEXT" | "SHOWPLAN_XML" if on => {
                return Err(unsupported(format!("SET {first} ON")));
            }
            "ROWCOUNT" if words.get(1).is_some_and(|w| w != "0") => return Err(unsupported("SET ROWCOUNT")),
            "NOCOUNT"
            | "XACT_ABORT"
            | "ANSI_NULLS"
            | "ANSI_PADDING"
            | "ANSI_WARNINGS"
            | "ANSI_NULL_DFLT_ON"
            | "ANSI_NULL_DFLT_OFF"
            | "ANSI_DEFAULTS"
            | "ARITHABORT"
            | "ARITHIGNORE"
            | "CONCAT_NULL_YIELDS_NULL"
            | "QUOTED_IDENTIFIER"
            | "CURSOR_CLOSE_ON_COMMIT"
            | "NUMERIC_ROUNDABORT"
            | "TEXTSIZE"
            | "DATEFIRST"
            | "DATEFORMAT"
            | "LANGUAGE"
            | "DEADLOCK_PRIORITY"
            | "ROWCOUNT"
            | "CONTEXT_INFO"
            | "STATISTICS"
            | "FMTONLY"
            | "PARSEONLY"
            | "NOEXEC"
            | "NO_BROWSETABLE"
            | "QUERY_GOVERNOR_COST_LIMIT"
            | "REMOTE_PROC_TRANSACTIONS"
            | "FORCEPLAN" => {
                for option in words.iter().filter(|w| !matches!(w.as_str(), "ON" | "OFF" | ",")) {
                    self.scalars.options.insert(option.clone(), on);
                }
            }
            other => {
                return Err(SqlError::batch(195, format!("'{other}' is not a recognized SET option.")).class(15));
            }
        }
        Ok(())
    }

    /// System procedures. Gives the status and the output parameters, in their order.
    #[allow(clippy::type_complexity)]
    fn procedure(
        &mut self,
        name: &str,
        args: Vec<(Option<String>, SqlType, Value, bool)>,
        out: Out<'_>,
    ) -> Result<(i32, Vec<(String, SqlType, Value)>)> {
        let lower = name.to_lowercase();
        let short = lower.rsplit('.').next().unwrap_or_default().to_owned();
        let text = |at: usize| args.get(at).and_then(|(_, _, v, _)| v.as_text()).unwrap_or_default();
        match short.as_str() {
            "sp_executesql" => {
                let (sql, declared) = (text(0), parse_parameters(&text(1))?);
                self.run_prepared(&sql, &declared, args.get(2..).unwrap_or_default(), out)
            }
            "sp_prepare" | "sp_prepexec" => {
                let handle = self.next_handle;
                self.next_handle += 1;
                let declared = parse_parameters(&text(1))?;
                parse(&text(2))?;
                self.prepared.insert(handle, (declared.clone(), text(2)));
                let mut outputs = vec![("@handle".to_owned(), SqlType::Int, Value::Int(i64::from(handle)))];
                let mut status = 0;
                if short == "sp_prepexec" {
                    let (s, more) = self.run_prepared(&text(2), &declared, args.get(3..).unwrap_or_default(), out)?;
                    status = s;
                    outputs.extend(more);
                }
                Ok((status, outputs))
            }
            "sp_execute" => {
                let handle = args.first().and_then(|(_, _, v, _)| v.as_int()).unwrap_or(0) as i32;
                let Some((declared, sql)) = self.prepared.get(&handle).cloned() else {
                    return Err(SqlError::batch(
                        8179,
                        format!("Could not find prepared statement with handle {handle}."),
                    ));
                };
                self.run_prepared(&sql, &declared, args.get(1..).unwrap_or_default(), out)
            }
            "sp_unprepare" => {
                let handle = args.first().and_then(|(_, _, v, _)| v.as_int()).unwrap_or(0) as i32;
                match self.prepared.remove(&handle) {
                    Some(_) => Ok((0, Vec::new())),
                    None => {
                        Err(SqlError::batch(8179, format!("Could not find prepared statement with handle {handle}.")))
                    }
                }
            }
            "sp_reset_connection" => {
                self.roll_back_all();
                self.scalars.options.clear();
                self.scalars.isolation = Isolation::ReadCommitted;
                self.scalars.lock_timeout_ms = None;
                self.scalars.identity_insert = None;
                self.prepared.clear();
                Ok((0, Vec::new()))
            }
            _ => Err(SqlError::batch(2812, format!("Could not find stored procedure '{name}'.")).state(62)),
        }
    }

    #[allow(clippy::type_complexity)]
    fn run_prepared(
        &mut self,
        sql: &str,
        declared: &[(String, SqlType)],
        args: &[(Option<String>, SqlType, Value, bool)],
        out: Out<'_>,
    ) -> Result<(i32, Vec<(String, SqlType, Value)>)> {
        let mut variables = BTreeMap::new();
        let mut outputs = Vec::new();
        for (at, (name, ty)) in declared.iter().enumerate() {
            let named = args.iter().find(|(n, ..)| n.as_ref().is_some_and(|n| n.eq_ignore_ascii_case(name)));
            let positional = args.get(at).filter(|(n, ..)| n.is_none());
            let Some((_, from, value, output)) = named.or(positional) else {
                return Err(SqlError::batch(
                    8178,
                    format!("The parameterized query expects the parameter '{name}', which was not supplied."),
                ));
            };
            variables.insert(name.to_ascii_lowercase(), (ty.clone(), convert(value.clone(), from, ty, None)?));
            if *output {
                outputs.push(name.clone());
            }
        }
        if args.len() > declared.len() {
            return Err(SqlError::batch(8144, "Procedure or function has too many arguments specified.").state(2));
        }
        let outer = self.variables.replace(variables);
        let result = self.nested(sql, out);
        let inner = self.variables.replace(outer);
        let status = result?;
        let outputs = outputs
            .into_iter()
            .filter_map(|name| {
                let (ty, value) = inner.get(&name.to_ascii_lowercase()).cloned()?;
                Some((name, ty, value))
            })
            .collect();
        Ok((status, outputs))
    }
}

/// The session's transaction in a database; begun where there is none.
pub(crate) fn begin_in(
    state: &mut State,
    scalars: &mut Scalars,
    database: usize,
    name: &str,
) -> crate::storage::Transaction {
    if let Some(xact) = scalars.xacts.get(&database) {
        return *xact;
    }
    let name = if scalars.depth > 0 { "user_transaction" } else { name };
    let options = XactOptions { name, spid: scalars.spid.unsigned_abs().into() };
    let xact = state.db_mut(database).storage.begin(options);
    scalars.xacts.insert(database, xact);
    state.owners.insert((database, xact), scalars.spid);
    xact
}

fn result_columns(columns: &[Column]) -> Vec<ResultColumn> {
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
        Ok(out.row(&cells))
    })?;
    if !sent {
        out.columns(&columns);
    }
    Ok(count)
}

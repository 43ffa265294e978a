//! Sessions: batches, variables, control of flow, transactions, waiting for locks.
//!
//! A statement runs alone on all databases: sessions take turns, statement by statement. Readers see committed rows and
//! their own (READ COMMITTED by versions), in SNAPSHOT those of the transaction's first statement; READ UNCOMMITTED,
//! REPEATABLE READ and SERIALIZABLE read as READ COMMITTED does. Writers wait for the transaction that holds a row,
//! until the lock timeout; where sessions wait in a circle, the one that closes it is the deadlock victim.

mod bulk;
mod catalog_procedure;
mod collect;
mod dbcc;
mod definition;
mod describe;
mod option;
mod parsed;
mod procedure;
mod raise;
mod select;
mod statement;
mod stop;
mod transaction;
mod trigger;
mod wait;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use logferry_model::SqlType;

use super::ast::{InsertBulk, ParameterType, Stmt, StmtKind};
use super::define;
use super::error::{Effect, Result, SqlError};
use super::server::{Shared, utc_now};
use super::sink::{Param, ResultSink, Rows, TransactionChange};
use super::state::{Scalars, TEMPDB};
use super::value::{Value, to_bytes};
pub(crate) use definition::{Defining, Definition};
use parsed::Parsed;
pub(crate) use select::send_values;
use stop::STOPPED;
pub(crate) use stop::Stop;
pub(crate) use transaction::{begin_in, commit_in};
pub(crate) use wait::BLOCKED;

/// Batches inside of batches: SQL Server ends with error 217 as well.
const NEST_MAX: u32 = 32;

/// One connection's session.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    pub(crate) scalars: Scalars,
    pub(crate) variables: RefCell<BTreeMap<String, (SqlType, Value)>>,
    tran_name: Option<String>,
    parsed: Parsed,
    prepared: BTreeMap<i32, (Vec<(String, ParameterType)>, String)>,
    next_handle: i32,
    nest: u32,
    /// Where the rows of the next message go.
    bulk: Option<InsertBulk>,
    /// Rows of table-valued parameters of the request that runs.
    sent: Vec<Rows>,
}

/// How a statement left.
enum Flow {
    Next,
    Break,
    Continue,
    Return(i32),
}

pub(crate) type Out<'a> = &'a mut dyn ResultSink;

impl Drop for Session {
    fn drop(&mut self) {
        self.roll_back_all();
        let mut state = self.shared.lock();
        // Nobody else can hold a lock on them.
        let dropped = define::drop_temporary(&mut state, self.scalars.spid);
        debug_assert!(dropped.is_ok());
        state.sessions.remove(&self.scalars.spid);
    }
}

impl Session {
    pub(super) fn of(shared: Arc<Shared>, scalars: Scalars) -> Self {
        Session {
            shared,
            scalars,
            variables: RefCell::new(BTreeMap::new()),
            tran_name: None,
            parsed: Parsed::default(),
            prepared: BTreeMap::new(),
            next_handle: 1,
            nest: 0,
            bulk: None,
            sent: Vec::new(),
        }
    }

    /// `@@SPID`
    pub fn spid(&self) -> i16 {
        self.scalars.spid
    }

    /// Capture jobs of the server's databases run from now on.
    pub(crate) fn watch_jobs(&self) {
        super::cdc::watch(&self.shared);
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
        self.bulk = None;
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
        self.bulk = None;
        self.sent.clear();
        let args = params
            .iter()
            .map(|p| {
                if let Some(rows) = &p.table {
                    let (ty, value) = self.keep_sent(rows.clone());
                    return (Some(p.name.clone()).filter(|n| !n.is_empty()), ty, value, false);
                }
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
        if let Err(e) = &result
            && e.number != STOPPED
        {
            e.send(out);
        }
        result
    }

    fn batch(&mut self, sql: &str, out: Out<'_>) -> std::result::Result<i32, SqlError> {
        self.scalars.now = utc_now();
        self.nest += 1;
        let outer = self.enter_scope();
        let result = match self.parsed.of(sql) {
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
        self.leave_scope(outer);
        self.nest -= 1;
        match result {
            Ok(Flow::Return(status)) => Ok(status),
            Ok(_) => Ok(0),
            Err(e) => {
                if e.number != STOPPED {
                    e.send(out);
                }
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
        self.scalars.stop.check()?;
        self.begin_implicitly(stmt, out);
        let done = match self.scalars.option("FMTONLY") {
            true => self.format_only(stmt, out),
            false => self.watched(stmt, out, in_try),
        };
        match done {
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
                self.scalars.error = e.last().number;
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
                e.send(out);
                if matches!(
                    stmt.kind,
                    StmtKind::Insert(_) | StmtKind::Update(_) | StmtKind::Delete(_) | StmtKind::Merge(_)
                ) || matches!(e.number, 515 | 1505)
                {
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

    /// Table variables are of one scope. Gives what to leave it with.
    fn enter_scope(&mut self) -> (u64, usize) {
        self.scalars.scopes += 1;
        let outer = std::mem::replace(&mut self.scalars.scope, self.scalars.scopes);
        (outer, self.scalars.table_variables.len())
    }

    fn leave_scope(&mut self, (scope, tables): (u64, usize)) {
        self.scalars.scope = scope;
        if self.scalars.table_variables.len() > tables {
            let gone = self.scalars.table_variables.split_off(tables);
            self.scalars.table_parameters.retain(|table| !gone.contains(table));
            let mut state = self.shared.lock();
            let db = state.db_mut(TEMPDB);
            for table in gone {
                // Where an open transaction has changed it, it stays until the session ends.
                if db.storage.drop_table(table).is_ok() {
                    db.tables.remove(&table);
                    db.lookups.forget(table);
                }
            }
        }
    }

    pub(crate) fn nested(&mut self, sql: &str, out: Out<'_>) -> Result<i32> {
        self.nested_with(sql, &[], out)
    }

    /// The same, with tables as parameters.
    fn nested_with(&mut self, sql: &str, tables: &[bulk::TableArgument], out: Out<'_>) -> Result<i32> {
        self.nest += 1;
        let outer = self.enter_scope();
        let result = match self.nest > NEST_MAX {
            true => Err(SqlError::batch(
                217,
                "Maximum stored procedure, function, trigger, or view nesting level exceeded (limit 32).",
            )),
            false => self
                .make_table_arguments(tables)
                .and_then(|()| self.parsed.of(sql))
                .and_then(|list| self.statements(&list, out, false)),
        };
        self.leave_scope(outer);
        self.nest -= 1;
        Ok(match result? {
            Flow::Return(status) => status,
            _ => 0,
        })
    }
}

//! A connection's session: requests to T-SQL, what T-SQL gives to tokens.
//!
//! The engine is locked while most queries give their rows, so nothing may wait there for a client that reads slowly: it might be the one
//! that is to end another client's wait. Rows are written as tokens at once and sent as far as the client takes them; the
//! rest is kept until the statement is done, and only then waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use logferry_model::{Cell, SqlType};
use logferry_mssql_format::binxml;

use crate::sql::{self, Param, ResultColumn, ResultSink, Rows, TransactionChange};
use crate::tds::{
    Column, Environment, Isolation, LATIN1_GENERAL, Parameter, Request, Results, SentTable, Session, SqlError, Stopped,
    Transaction,
};

/// SQL Server's message beside the errors that end a statement of changes.
const TERMINATED: i32 = 3621;
/// `Changed database context to '%'.`
const CHANGED_DATABASE: i32 = 5701;

/// A session of T-SQL and what TDS wants to know of it.
pub(super) struct SqlSession {
    sql: sql::Session,
    state: State,
    /// Where it was after the login.
    first_database: String,
}

/// What drivers keep track of.
struct State {
    database: String,
    /// The open transaction as drivers know it.
    transaction: Option<u64>,
    transactions: Arc<AtomicU64>,
}

impl SqlSession {
    pub(super) fn new(sql: sql::Session, transactions: Arc<AtomicU64>) -> Self {
        let database = sql.database();
        let state = State { database: database.clone(), transaction: None, transactions };
        SqlSession { sql, state, first_database: database }
    }

    fn transaction(&mut self, request: &Transaction, results: &mut dyn Results) -> Result<(), Stopped> {
        let (done, then_begin) = match request {
            Transaction::Begin { isolation, name } => return self.begin(*isolation, name, results),
            Transaction::Commit { then_begin, .. } => (self.sql.commit(), then_begin),
            Transaction::Rollback { name, then_begin } => (self.sql.rollback(filled(name)), then_begin),
            Transaction::Save { name } => (self.sql.save(name).map(|()| None), &None),
        };
        match done {
            Ok(change) => {
                if let Some(change) = change {
                    self.state.changed(change, results)?;
                }
                if let Some((isolation, name)) = then_begin {
                    return self.begin(*isolation, name, results);
                }
            }
            Err(error) => results.error(&error_of(&error))?,
        }
        results.done(None)
    }

    fn begin(&mut self, isolation: Option<Isolation>, name: &str, results: &mut dyn Results) -> Result<(), Stopped> {
        if let Some(isolation) = isolation {
            self.sql.set_isolation(match isolation {
                Isolation::ReadUncommitted => 1,
                Isolation::ReadCommitted => 2,
                Isolation::RepeatableRead => 3,
                Isolation::Serializable => 4,
                Isolation::Snapshot => 5,
            });
        }
        let change = self.sql.begin(filled(name));
        if self.sql.transaction_count() == 1 {
            self.state.changed(change, results)?;
        }
        results.done(None)
    }
}

fn filled(name: &str) -> Option<&str> {
    Some(name).filter(|name| !name.is_empty())
}

impl Session for SqlSession {
    fn execute(&mut self, request: &Request, results: &mut dyn Results) -> Result<(), Stopped> {
        let watch = results.watch();
        self.sql.stop_when(move || !watch.is_wanted());
        let (procedure, parameters) = match request {
            Request::Transaction(transaction) => return self.transaction(transaction, results),
            Request::Bulk(sent) => {
                let mut sink = Sink::new(results, &mut self.state, &[]);
                self.sql.bulk_load(rows_of(sent), &mut sink);
                return sink.finish();
            }
            Request::Batch(text) => {
                let mut sink = Sink::new(results, &mut self.state, &[]);
                // The error that ended the batch is in the results.
                let _status = self.sql.execute(text, &[], &mut sink);
                return sink.finish();
            }
            Request::Sql { text, parameters, .. } if parameters.is_empty() => {
                let mut sink = Sink::new(results, &mut self.state, &[]);
                let status = self.sql.execute(text, &[], &mut sink);
                sink.finish()?;
                return results.return_status(status.unwrap_or_else(|error| error.number));
            }
            Request::Sql { text, declarations, parameters } => {
                let known = [text_parameter(text), text_parameter(declarations)];
                (("sp_executesql".to_owned(), known.to_vec()), parameters)
            }
            Request::Procedure { name, parameters } => ((name.replace(['[', ']'], ""), Vec::new()), parameters),
        };
        let (name, mut all) = procedure;
        all.extend(parameters.iter().filter(|sent| !sent.default).map(parameter_of));
        let mut sink = Sink::new(results, &mut self.state, parameters);
        let status = self.sql.call(&name, &all, &mut sink);
        sink.finish()?;
        results.return_status(status.unwrap_or_else(|error| error.number))
    }

    fn describe(&mut self, text: &str, declarations: &str) -> Result<Vec<Column>, SqlError> {
        let columns = self.sql.describe(text, declarations).map_err(|error| error_of(&error))?;
        Ok(columns.iter().map(column_of).collect())
    }

    fn roll_back(&mut self, results: &mut dyn Results) -> Result<(), Stopped> {
        // The only error is that no transaction is open.
        match self.sql.rollback(None) {
            Ok(Some(change)) => self.state.changed(change, results),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    fn reset(&mut self, keep_transaction: bool, results: &mut dyn Results) -> Result<(), Stopped> {
        let watch = results.watch();
        self.sql.stop_when(move || !watch.is_wanted());
        self.sql.reset(keep_transaction);
        if self.sql.transaction_count() == 0 {
            self.state.changed(TransactionChange::Rollback, results)?;
        }
        if self.state.database != self.first_database {
            let text = format!("USE [{}]", self.first_database.replace(']', "]]"));
            let mut sink = Sink::new(results, &mut self.state, &[]);
            let _status = self.sql.execute(&text, &[], &mut sink);
            sink.finish()?;
        }
        Ok(())
    }
}

impl State {
    fn changed(&mut self, change: TransactionChange, results: &mut dyn Results) -> Result<(), Stopped> {
        match (change, self.transaction.take()) {
            (TransactionChange::Begin, _) => {
                let number = self.transactions.fetch_add(1, Ordering::Relaxed);
                self.transaction = Some(number);
                results.environment(Environment::Began(number))
            }
            (TransactionChange::Commit, Some(number)) => results.environment(Environment::Committed(number)),
            (TransactionChange::Rollback, Some(number)) => results.environment(Environment::RolledBack(number)),
            (_, None) => Ok(()),
        }
    }
}

/// Where a batch's results go.
struct Sink<'a> {
    results: &'a mut dyn Results,
    state: &'a mut State,
    /// Those of the request: for the places of output parameters.
    parameters: &'a [Parameter],
    /// Output parameters so far.
    outputs: usize,
    /// An error was sent, and not yet the end of its statement.
    failed: bool,
    /// A result is open: its rows are kept.
    rows: bool,
    /// The columns of the result that are xml: clients get text, rows have the binary form.
    xml: Vec<usize>,
    stopped: Result<(), Stopped>,
}

impl<'a> Sink<'a> {
    fn new(results: &'a mut dyn Results, state: &'a mut State, parameters: &'a [Parameter]) -> Self {
        Sink { results, state, parameters, outputs: 0, failed: false, rows: false, xml: Vec::new(), stopped: Ok(()) }
    }

    fn finish(mut self) -> Result<(), Stopped> {
        self.give(|results, _| results.wanted());
        self.stopped
    }

    /// Sends something that is no row: the engine is not locked.
    fn give(&mut self, send: impl FnOnce(&mut dyn Results, &mut State) -> Result<(), Stopped>) {
        if self.stopped.is_ok() && std::mem::take(&mut self.rows) {
            self.stopped = self.results.keep(false);
        }
        if self.stopped.is_ok() {
            self.stopped = send(self.results, self.state);
        }
    }

    fn row_with_xml(&mut self, cells: &[Cell<'_>]) -> Result<(), Stopped> {
        let texts: Vec<Option<Vec<u8>>> =
            self.xml.iter().map(|at| cells.get(*at).and_then(|cell| cell.bytes()).map(xml_text)).collect();
        let mut cells = cells.to_vec();
        for (at, text) in self.xml.iter().zip(&texts) {
            if let (Some(cell), Some(text)) = (cells.get_mut(*at), text) {
                *cell = Cell::Bytes(text);
            }
        }
        self.results.row(&cells)
    }

    /// A statement that failed without changing rows has an end, too.
    fn end_failed(&mut self) {
        if std::mem::take(&mut self.failed) {
            self.give(|results, _| results.done(None));
        }
    }
}

impl ResultSink for Sink<'_> {
    fn columns(&mut self, columns: &[ResultColumn]) {
        self.end_failed();
        let xml = columns.iter().enumerate().filter(|(_, c)| c.sql_type == SqlType::Xml);
        self.xml = xml.map(|(at, _)| at).collect();
        let columns: Vec<_> = columns.iter().map(column_of).collect();
        if self.stopped.is_ok() {
            self.stopped = self.results.keep(true).and_then(|()| self.results.columns(&columns));
        }
        self.rows = true;
    }

    fn unlocked(&mut self) {
        if self.stopped.is_ok() {
            self.stopped = self.results.keep(false);
        }
    }

    fn row(&mut self, cells: &[Cell<'_>]) -> bool {
        if self.stopped.is_ok() {
            self.stopped = match self.xml.is_empty() {
                true => self.results.row(cells),
                false => self.row_with_xml(cells),
            };
        }
        self.stopped.is_ok()
    }

    fn done(&mut self, rows: Option<u64>) {
        self.failed = false;
        self.give(|results, _| results.done(rows));
    }

    fn info(&mut self, message: &sql::SqlError) {
        if message.number != TERMINATED {
            self.end_failed();
        }
        self.give(|results, _| results.error(&error_of(message)));
    }

    fn error(&mut self, error: &sql::SqlError) {
        self.end_failed();
        self.failed = true;
        self.give(|results, _| results.error(&error_of(error)));
    }

    fn changed_database(&mut self, name: &str) {
        self.end_failed();
        self.give(|results, state| {
            let old = std::mem::replace(&mut state.database, name.to_owned());
            results.environment(Environment::Database { old: &old, new: name })?;
            let text = format!("Changed database context to '{name}'.");
            results.error(&SqlError { state: 2, ..SqlError::new(CHANGED_DATABASE, 0, text) })
        });
    }

    fn transaction(&mut self, change: TransactionChange) {
        // A rollback comes with the error that is its cause, before it.
        self.give(|results, state| state.changed(change, results));
    }

    fn output(&mut self, name: &str, sql_type: &SqlType, bytes: Option<&[u8]>) {
        let outputs = || self.parameters.iter().enumerate().filter(|(_, sent)| sent.output);
        let named = outputs().find(|(_, sent)| sent.name.eq_ignore_ascii_case(name));
        let Some((ordinal, sent)) = named.or_else(|| outputs().nth(self.outputs)) else { return };
        self.outputs += 1;
        let text = bytes.filter(|_| *sql_type == SqlType::Xml).map(xml_text);
        let cell = text.as_deref().or(bytes).map_or(Cell::Null, Cell::Bytes);
        self.give(|results, _| results.output(ordinal, &sent.name, sql_type, cell));
    }
}

/// The text of an xml value, in UTF-16.
fn xml_text(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    match binxml::is_binary(bytes) && binxml::text(bytes, &mut text).is_ok() {
        true => String::from_utf8_lossy(&text).encode_utf16().flat_map(u16::to_le_bytes).collect(),
        false => bytes.to_vec(),
    }
}

fn column_of(column: &ResultColumn) -> Column {
    Column {
        nullable: column.nullable,
        identity: column.identity,
        ..Column::new(column.name.clone(), column.sql_type.clone())
    }
}

fn parameter_of(sent: &Parameter) -> Param {
    Param {
        name: sent.name.clone(),
        sql_type: sent.sql_type.clone(),
        bytes: sent.value.clone(),
        output: sent.output,
        table: sent.table.as_ref().map(|sent| rows_of(&sent.table)),
    }
}

fn rows_of(sent: &SentTable) -> Rows {
    Rows { types: sent.columns.iter().map(|c| c.sql_type.clone()).collect(), rows: sent.rows.clone() }
}

fn text_parameter(text: &str) -> Param {
    Param {
        name: String::new(),
        sql_type: SqlType::NVarChar { length: None, collation: LATIN1_GENERAL },
        bytes: Some(text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        output: false,
        table: None,
    }
}

/// An error of T-SQL as TDS sends it.
pub(super) fn error_of(error: &sql::SqlError) -> SqlError {
    SqlError {
        number: error.number,
        state: error.state,
        class: error.class,
        message: error.message.clone(),
        procedure: String::new(),
        line: i32::try_from(error.line).unwrap_or(i32::MAX),
    }
}

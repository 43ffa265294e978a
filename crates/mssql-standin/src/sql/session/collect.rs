//! `INSERT ... EXEC`: results that go into a table.

use std::cell::RefCell;

use logferry_model::{Cell, SqlType};

use super::super::ast::{Insert, InsertSource, Stmt};
use super::super::change;
use super::super::error::{Result, SqlError};
use super::super::sink::{ResultColumn, ResultSink, TransactionChange};
use super::super::value::{Value, from_bytes};
use super::{Flow, Out, Session};

/// Keeps rows; messages go on.
struct Collector<'a> {
    out: RefCell<&'a mut dyn ResultSink>,
    types: Vec<SqlType>,
    rows: Vec<Vec<Value>>,
    /// Results that differ in their columns.
    mixed: bool,
}

impl ResultSink for Collector<'_> {
    fn columns(&mut self, columns: &[ResultColumn]) {
        self.mixed |= !self.types.is_empty() && self.types.len() != columns.len();
        self.types = columns.iter().map(|c| c.sql_type.clone()).collect();
    }

    fn row(&mut self, cells: &[Cell<'_>]) -> bool {
        let values = cells.iter().zip(&self.types);
        self.rows.push(values.map(|(cell, ty)| cell.bytes().map_or(Value::Null, |b| from_bytes(ty, b))).collect());
        true
    }

    fn info(&mut self, message: &SqlError) {
        self.out.borrow_mut().info(message);
    }

    fn error(&mut self, error: &SqlError) {
        self.out.borrow_mut().error(error);
    }

    fn changed_database(&mut self, name: &str) {
        self.out.borrow_mut().changed_database(name);
    }

    fn transaction(&mut self, change: TransactionChange) {
        self.out.borrow_mut().transaction(change);
    }
}

impl Session {
    pub(super) fn insert_exec(&mut self, insert: &Insert, exec: &Stmt, out: Out<'_>) -> Result<()> {
        let (types, rows) = {
            let mut collector =
                Collector { out: RefCell::new(&mut *out), types: Vec::new(), rows: Vec::new(), mixed: false };
            if let Flow::Return(_) = self.statement(exec, &mut collector, true)? {
                return Ok(());
            }
            if collector.mixed {
                return Err(SqlError::batch(
                    213,
                    "Column name or number of supplied values does not match table definition.",
                ));
            }
            (collector.types, collector.rows)
        };
        let source = InsertSource::Rows(types, rows);
        let insert = Insert { source, ..insert.clone() };
        let rows = match &insert.source {
            InsertSource::Rows(types, _) if types.is_empty() => change::Outcome::default(),
            _ => self.changes(&mut |state, s, v| change::insert(state, s, v, &insert))?,
        };
        self.changed(rows, out)
    }
}

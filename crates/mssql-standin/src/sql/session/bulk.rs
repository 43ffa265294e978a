//! Rows that clients send as they are: bulk load, and table-valued parameters.
//!
//! `INSERT BULK` says where the rows of the next message go; anything else in between forgets it. A table-valued parameter is a table
//! variable of the scope that it is a parameter of.

use logferry_model::SqlType;

use super::super::ast::{Insert, InsertBulk, InsertSource, Locks, Name, Output};
use super::super::bind::TableAt;
use super::super::change;
use super::super::define;
use super::super::error::{Effect, Result, SqlError, invalid_column, invalid_object};
use super::super::server::utc_now;
use super::super::sink::{Rows, TransactionChange};
use super::super::value::{Value, from_bytes, same_name};
use super::{Out, Session};

/// A table that a parameter is to be: its name as a variable, its type, its rows.
pub(super) type TableArgument = (String, Name, Rows);

impl Session {
    /// Notes where the rows of the next message go.
    pub(super) fn expect_bulk(&mut self, bulk: &InsertBulk) -> Result<()> {
        self.waiting(|state, scalars, _| {
            let at = state.find_table(scalars, &bulk.table)?.ok_or_else(|| invalid_object(&bulk.table.join(".")))?;
            let columns = state.db(at.database).storage.table_def(at.table).map(|d| &d.columns[..]).unwrap_or_default();
            let missing = bulk.columns.iter().find(|c| !columns.iter().any(|known| same_name(&known.name, c)));
            missing.map_or(Ok(()), |name| Err(invalid_column(name)))
        })?;
        self.bulk = Some(bulk.clone());
        Ok(())
    }

    /// Takes the rows of a bulk load. Errors go to `out`.
    pub fn bulk_load(&mut self, sent: Rows, out: Out<'_>) {
        self.scalars.now = utc_now();
        let result = match self.bulk.take() {
            Some(bulk) => self.load(&bulk, sent, out),
            None => Err(SqlError::batch(4002, "Rows of a bulk load were sent without INSERT BULK before them.")),
        };
        let Err(error) = result else { return };
        let error = error.at_line(1);
        self.scalars.error = error.number;
        if error.effect == Effect::Transaction || self.scalars.option("XACT_ABORT") && self.scalars.depth > 0 {
            self.roll_back_all();
            out.transaction(TransactionChange::Rollback);
        }
        out.error(&error);
        out.done(None);
    }

    fn load(&mut self, bulk: &InsertBulk, sent: Rows, out: Out<'_>) -> Result<()> {
        if sent.types.len() != bulk.columns.len() {
            return Err(SqlError::batch(
                4804,
                format!("INSERT BULK names {} columns, the rows have {}.", bulk.columns.len(), sent.types.len()),
            ));
        }
        let rows = values_of(&sent);
        let insert = Insert {
            table: bulk.table.clone(),
            locks: Locks { whole: bulk.options.whole, ..Locks::default() },
            columns: bulk.columns.clone(),
            output: Output::default(),
            source: InsertSource::Bulk(sent.types, rows, bulk.options),
        };
        let alone = bulk.options.triggers && self.scalars.depth == 0;
        if alone {
            self.begin(None);
        }
        let given = self.scalars.identity_insert;
        let result = self.changes(&mut |state, s, v| {
            // Values of the identity column are those that were sent, where it is among the columns.
            let at = state.find_table(s, &bulk.table)?.ok_or_else(|| invalid_object(&bulk.table.join(".")))?;
            let columns = state.db(at.database).storage.table_def(at.table).map(|d| &d.columns[..]).unwrap_or_default();
            let identity = columns.iter().find(|c| c.identity.is_some());
            let sent = identity.is_some_and(|c| bulk.columns.iter().any(|name| same_name(name, &c.name)));
            s.identity_insert = sent.then_some(at);
            change::insert(state, s, v, &insert)
        });
        self.scalars.identity_insert = given;
        let result = result.and_then(|mut outcome| {
            if !bulk.options.triggers {
                outcome.images.clear();
            }
            if !bulk.options.checks && outcome.count > 0 {
                self.distrust(&bulk.table)?;
            }
            self.changed(outcome, out)
        });
        if alone && self.scalars.depth > 0 {
            match &result {
                Ok(()) => drop(self.commit()?),
                Err(_) => self.roll_back_all(),
            }
        }
        result
    }

    /// Nobody has looked whether the rows of a bulk load keep the checks and foreign keys of their table.
    fn distrust(&mut self, table: &Name) -> Result<()> {
        let trusts = self.waiting(|state, s, _| {
            let found = state.find_table(s, table)?;
            Ok(found.is_some_and(|at| define::switches(state.db_mut(at.database), at.table).any(|s| !s.not_trusted)))
        })?;
        if !trusts {
            return Ok(());
        }
        self.defining_tables("ALTER TABLE", &[table], |state, s, _| {
            if let Some(at) = state.find_table(s, table)? {
                define::switches(state.db_mut(at.database), at.table).for_each(|s| s.not_trusted = true);
            }
            define::note_indexes(state, s, table)
        })
    }

    /// Makes the table variables of a scope that has just begun.
    pub(super) fn make_table_arguments(&mut self, tables: &[TableArgument]) -> Result<()> {
        for (name, of, sent) in tables {
            self.declare_of(name, of)?;
            let made = self.scalars.table_variables.last().copied();
            if sent.rows.is_empty() {
                self.scalars.table_parameters.extend(made);
                continue;
            }
            let insert = Insert {
                table: vec![name.clone()],
                locks: Locks::default(),
                columns: Vec::new(),
                output: Output::default(),
                source: InsertSource::Rows(sent.types.clone(), values_of(sent)),
            };
            self.changes(&mut |state, s, v| change::insert(state, s, v, &insert))?;
            self.scalars.table_parameters.extend(made);
        }
        Ok(())
    }

    /// `DECLARE @t schema.type`
    pub(super) fn declare_of(&mut self, name: &str, of: &Name) -> Result<()> {
        let made = self.waiting(|state, s, _| {
            let mut table = state.find_table_type(s, of)?.ok_or_else(|| no_such_type(of))?;
            table.name = vec![name.to_owned()];
            define::create_table(state, s, &table)?;
            state.find_table(s, &table.name)
        })?;
        self.scalars.table_variables.extend(made.map(|at| at.table));
        Ok(())
    }

    /// The rows of a table variable, to be handed to a procedure; `None` where there is none of this name.
    pub(super) fn table_argument(&mut self, name: &str) -> Result<Option<Rows>> {
        if self.variables.borrow().contains_key(&name.to_ascii_lowercase()) {
            return Ok(None);
        }
        let name = [name.to_owned()];
        self.waiting(|state, s, _| {
            let Some(TableAt { database, table }) = state.find_table(s, &name)? else { return Ok(None) };
            let db = state.db(database);
            let mut rows = Vec::new();
            db.storage.scan(s.xacts.get(&database).copied(), table, None, &mut |_, row| {
                rows.push(row.to_vec());
                true
            });
            Ok(Some(Rows { types: db.types(table), rows }))
        })
    }

    /// Keeps the rows of a table-valued parameter for the call that follows; gives what stands for it among the values.
    pub(super) fn keep_sent(&mut self, rows: Rows) -> (SqlType, Value) {
        self.sent.push(rows);
        (SqlType::Clr, Value::Int(self.sent.len() as i64 - 1))
    }

    /// The rows that a value stands for.
    pub(super) fn sent_rows(&self, value: &Value) -> Option<Rows> {
        let at = usize::try_from(value.as_int()?).ok()?;
        self.sent.get(at).cloned()
    }
}

/// Error 2715.
pub(super) fn no_such_type(name: &Name) -> SqlError {
    let message = format!("Column, parameter, or variable #1: Cannot find data type {}.", name.join("."));
    SqlError::batch(2715, message).state(6)
}

fn values_of(sent: &Rows) -> Vec<Vec<Value>> {
    let value = |(ty, bytes): (&SqlType, &Option<Vec<u8>>)| bytes.as_deref().map_or(Value::Null, |b| from_bytes(ty, b));
    sent.rows.iter().map(|row| sent.types.iter().zip(row).map(value).collect()).collect()
}

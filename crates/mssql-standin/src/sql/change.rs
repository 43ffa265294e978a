//! INSERT, UPDATE, DELETE, SELECT INTO: rows are worked out first, then checked, then written.

mod check;
mod delete;
mod images;
mod insert;
mod merge;
mod output;
mod target;
mod update;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use logferry_model::SqlType;

use super::bind::{Binder, TableAt};
use super::convert::assign;
use super::error::{Effect, Result, SqlError, invalid_column};
use super::eval::{Ctx, Env, eval};
use super::plan::{Column, Part, Typed};
use super::state::{Scalars, State, TEMPDB};
use super::types;
use super::value::{Value, same_name, to_bytes};
use logferry_mssql_standin_storage::{Row, RowKey, Transaction};

pub(crate) use check::{column_part, key_values, one_column};
pub(crate) use delete::delete;
pub(crate) use images::Images;
pub(crate) use insert::{insert, select_into};
pub(crate) use merge::merge;
pub(crate) use update::update;

type Variables = RefCell<BTreeMap<String, (SqlType, Value)>>;

/// What a statement did.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub count: u64,
    /// Of OUTPUT.
    pub output: Option<(Vec<Column>, Vec<Vec<Value>>)>,
    /// For triggers.
    pub images: Vec<Images>,
}

/// A table that is to be changed, with all that is asked of it.
struct Target {
    at: TableAt,
    columns: Vec<Column>,
    types: Rc<Vec<SqlType>>,
    /// Computed columns, over the table as the only source.
    computed: Vec<(usize, Typed)>,
    /// Those of them that rows have.
    persisted: Vec<usize>,
    /// Schema and name.
    name: (String, String),
}

impl Target {
    fn of(state: &State, at: TableAt, binder: &mut Binder<'_>) -> Result<Self> {
        if at.database == TEMPDB && binder.scalars.table_parameters.contains(&at.table) {
            let name = state.db(at.database).table_name(at.table).1;
            let variable = name.split('.').next().unwrap_or_default();
            let message = format!("The table-valued parameter \"{variable}\" is READONLY and cannot be modified.");
            return Err(SqlError::batch(10700, message));
        }
        let columns = binder.table_columns(at);
        let types = Rc::new(columns.iter().map(|c| c.ty.clone()).collect());
        let computed = binder.computed(at, &columns, true)?;
        let meta = state.db(at.database).meta(at.table);
        let persisted = meta.computed.iter().filter(|c| c.persisted).map(|c| c.column).collect();
        Ok(Target { at, columns, types, computed, persisted, name: state.db(at.database).table_name(at.table) })
    }

    /// Error 271 for a column that nobody can set.
    fn settable(&self, column: usize) -> Result<()> {
        match self.computed.iter().any(|(c, _)| *c == column) {
            true => Err(SqlError::batch(
                271,
                format!(
                    "The column \"{}\" cannot be modified because it is either a computed column or is the result of a UNION operator.",
                    self.columns[column].name
                ),
            )),
            false => Ok(()),
        }
    }

    /// Works out the computed columns that rows have.
    fn compute(&self, ctx: &Ctx<'_>, row: &mut [Value]) -> Result<()> {
        for (column, e) in self.computed.iter().filter(|(c, _)| self.persisted.contains(c)) {
            let parts = [Part::Values(Rc::new(row.to_vec()))];
            row[*column] = eval(e, &Env { ctx, parts: &parts, aggs: &[], outer: None })?;
        }
        Ok(())
    }

    fn full_name(&self) -> String {
        format!("{}.{}", self.name.0, self.name.1)
    }

    fn column(&self, name: &str) -> Result<usize> {
        self.columns.iter().position(|c| same_name(&c.name, name)).ok_or_else(|| invalid_column(name))
    }

    fn row(&self, values: &[Value]) -> Result<Row> {
        values.iter().zip(self.types.iter()).map(|(v, ty)| to_bytes(ty, v)).collect()
    }
}

pub(crate) fn blocked(state: &State, database: usize, by: Transaction) -> SqlError {
    state.blocked(database, by)
}

/// A value on its way into a column, with the conversions that are not done by themselves refused.
pub(super) fn implicit(value: Value, from: &SqlType, to: &SqlType, place: (&str, &str)) -> Result<Value> {
    let refused = matches!(from, SqlType::Variant) && *to != SqlType::Variant
        || types::is_text(from) && types::is_bytes(to)
        || types::is_time(from)
            && (types::is_integer(to) || matches!(to, SqlType::Decimal { .. } | SqlType::Float | SqlType::Real));
    if refused && !value.is_null() {
        return Err(SqlError::batch(
            257,
            format!(
                "Implicit conversion from data type {} to {} is not allowed. Use the CONVERT function to run this query.",
                types::name(from),
                types::name(to)
            ),
        )
        .state(3));
    }
    assign(value, from, to, place)
}

/// Whether a row was changed by others since the session's snapshot.
fn own_snapshot_lost(state: &State, scalars: &Scalars, at: TableAt, key: &RowKey) -> bool {
    let id = scalars.snapshots.get(&at.database);
    let before = id.and_then(|id| state.db(at.database).snapshots.get(id));
    before.and_then(|b| b.get(&at.table)).is_some_and(|rows| rows.contains_key(key))
}

fn conflict(state: &State, target: &Target) -> SqlError {
    SqlError {
        state: 2,
        effect: Effect::Transaction,
        ..SqlError::new(
            3960,
            format!(
                "Snapshot isolation transaction aborted due to update conflict. You cannot use snapshot isolation to access table '{}' directly or indirectly in database '{}' to update, delete, or insert the row that has been modified or deleted by another transaction. Retry the transaction or change the isolation level for the update/delete statement.",
                target.full_name(),
                state.db(target.at.database).name
            ),
        )
    }
}

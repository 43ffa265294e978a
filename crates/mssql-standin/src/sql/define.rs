//! Statements that define things: each in a transaction of its own, or in the one that is open.

mod column;
mod constraint;
mod database;
mod index;
mod module;
mod reference;
mod rename;
mod table;
mod table_type;

use std::cell::RefCell;
use std::collections::BTreeMap;

use logferry_model::SqlType;

use super::bind::TableAt;
use super::error::{Result, SqlError};
use super::plan::Column;
use super::state::{Scalars, State, TableMeta};
use super::time::to_300ths;
use super::value::{DAYS_TO_1900, Value, same_name};

pub(crate) use constraint::{alter_table, switches};
pub(crate) use database::{alter_database, backup, create_schema, drop_database};
pub(crate) use index::{constraints_of, create_index, drop_index, key_of, maintain_index, note_indexes};
pub(crate) use module::{define_module, drop_module};
pub(crate) use reference::named_in;
pub(crate) use rename::{rename, renamed};
pub(crate) use table::{create_plain, create_table, drop_table, drop_temporary, truncate};
pub(crate) use table_type::{create_type, drop_type};

type Variables = RefCell<BTreeMap<String, (SqlType, Value)>>;

fn now(scalars: &Scalars) -> Value {
    Value::DateTime(scalars.now.0 - DAYS_TO_1900, to_300ths(scalars.now.1))
}

fn place_of(columns: &[Column], name: &str, table: &str) -> Result<usize> {
    columns.iter().position(|c| same_name(&c.name, name)).ok_or_else(|| {
        SqlError::batch(1911, format!("Column name '{name}' does not exist in the target table or view."))
            .at_line(u32::from(table.is_empty()))
    })
}

fn meta_mut(state: &mut State, at: TableAt) -> &mut TableMeta {
    state.db_mut(at.database).tables.entry(at.table).or_default()
}

//! Types of tables: what parameters and variables may be.

use super::super::ast::CreateTable;
use super::super::error::{Result, SqlError};
use super::super::state::{Scalars, State, TableTypeDef};
use super::super::value::same_name;
use super::column::columns_of;

/// `user_type_id` of the first type that is none of the system's.
const FIRST: u32 = 257;

/// CREATE TYPE ... AS TABLE.
pub(crate) fn create_type(state: &mut State, scalars: &Scalars, table: &CreateTable, text: &str) -> Result<()> {
    let (database, schema, name) = state.resolve(scalars, &table.name)?;
    let Some((schema, _)) = state.find_schema(database, &schema) else {
        return Err(SqlError::batch(
            2760,
            format!(
                "The specified schema name \"{schema}\" either does not exist or you do not have permission to use it."
            ),
        ));
    };
    if state.find_table_type(scalars, &table.name)?.is_some() {
        return Err(SqlError::batch(
            219,
            format!("The type '{schema}.{name}' already exists, or you do not have permission to create it."),
        ));
    }
    columns_of(state, scalars, &table.columns, &[], &name)?;
    let types = &mut state.db_mut(database).table_types;
    let id = types.last_key_value().map_or(FIRST, |(id, _)| id + 1);
    types.insert(id, TableTypeDef { schema, name, table: table.clone(), text: text.to_owned() });
    Ok(())
}

/// DROP TYPE.
pub(crate) fn drop_type(state: &mut State, scalars: &Scalars, name: &[String], if_exists: bool) -> Result<()> {
    let (database, schema, short) = state.resolve(scalars, name)?;
    let types = &mut state.db_mut(database).table_types;
    let found = types.iter().find(|(_, t)| same_name(&t.name, &short) && same_name(&t.schema, &schema));
    match found.map(|(id, _)| *id) {
        Some(id) => drop(types.remove(&id)),
        None if if_exists => {}
        None => {
            return Err(SqlError::batch(
                3701,
                format!(
                    "Cannot drop the type '{}', because it does not exist or you do not have permission.",
                    name.join(".")
                ),
            )
            .class(11)
            .state(5));
        }
    }
    Ok(())
}

impl State {
    /// What a type of tables is made of.
    pub fn find_table_type(&self, scalars: &Scalars, name: &[String]) -> Result<Option<CreateTable>> {
        let (database, schema, short) = self.resolve(scalars, name)?;
        let mut types = self.db(database).table_types.values();
        let found = types.find(|t| same_name(&t.name, &short) && same_name(&t.schema, &schema));
        Ok(found.map(|t| t.table.clone()))
    }
}

//! What a text names: tables and views by their first mention, their columns with what is done with them.

use super::super::catalog;
use super::super::state::{Scalars, State, TEMPDB};
use super::super::value::same_name;
use super::Source;
use logferry_mssql_standin_storage::{ColumnUse, ModuleReference};

/// What a text names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uses {
    found: Vec<ModuleReference>,
}

impl Uses {
    /// Notes a table, a view, or what may be one when the text is run. What a session has for itself is none of it, nor is another database's.
    pub fn name(&mut self, state: &State, scalars: &Scalars, name: &[String]) {
        let (schema, table) = match name {
            [table] => (None, table),
            [schema, table] => (Some(schema.clone()), table),
            _ => return,
        };
        let resolved = state.resolve(scalars, name).ok().filter(|(at, ..)| *at == scalars.database);
        if resolved.is_none() && scalars.database != TEMPDB || table.starts_with(['#', '@']) {
            return;
        }
        let object = match state.find_table(scalars, name) {
            Ok(Some(at)) => Some(at.table),
            _ => state.find_module(scalars, name).ok().flatten().map(|(_, id)| id),
        };
        // What the server has itself is not written down.
        if object.is_none() && catalog::is_of_server(name) {
            return;
        }
        let known = |r: &ModuleReference| match object {
            Some(_) => r.object == object,
            None => r.object.is_none() && same_name(&r.name, table),
        };
        if !self.found.iter().any(known) {
            self.found.push(ModuleReference { schema, name: table.clone(), object, columns: Vec::new() });
        }
    }

    /// Notes a column of a table or a view that was named.
    pub fn column(&mut self, of: &Source, place: usize, used: ColumnUse) {
        let Some(object) = of.object else { return };
        let Some(reference) = self.found.iter_mut().find(|r| r.object == Some(object)) else { return };
        // Until all is known, columns are places.
        let place = place as u32;
        match reference.columns.iter_mut().find(|(c, _)| *c == place) {
            Some((_, known)) => {
                known.all |= used.all;
                known.updated |= used.updated;
                known.read |= used.read;
            }
            None => reference.columns.push((place, used)),
        }
    }

    /// All of it, columns by their ids and in their order. One of all columns counts as that, wherever else it is named.
    pub fn references(self, state: &State, database: usize) -> Vec<ModuleReference> {
        let storage = &state.db(database).storage;
        let mut found = self.found;
        for reference in &mut found {
            let table = reference.object.filter(|table| storage.table_def(*table).is_some());
            for (column, used) in &mut reference.columns {
                *column = table.map_or(*column + 1, |table| storage.column_id(table, *column as usize));
                used.read &= !used.all;
            }
            reference.columns.sort_by_key(|(column, _)| *column);
        }
        found
    }
}

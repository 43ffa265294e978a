//! ALTER TABLE ALTER COLUMN and sp_rename: columns that become others, names that change.
//!
//! A column whose new type holds all old values as they stand (a longer `varchar`, NULL allowed from now on) changes in the system
//! tables only. Any other gets a new place behind all others, as on a server: the old place stays in the rows as a dropped
//! column, and every row is written again. So is it of one of a fixed length that may not be NULL any more where rows have version tags, but for its place:
//! the new column has that of the old one (observed on 2016, of a `datetime`). What a server does where they have none is not known: here it is the
//! system tables alone.

use std::sync::Arc;

use logferry_model::SqlType;
use logferry_mssql_format::row::Place;

use super::change::plain_row;
use super::ddl::fits;
use super::entry::Indexed;
use super::system::definitions::{SYSCOLPARS, SYSRSCOLS, SYSSCHOBJS};
use super::system::{column_row, int, long, object_lock, short, stored_column_row, system_rowset, text};
use super::table::{NOT_STORED, StoredColumn, TableLayout, TypeCodes};
use super::{By, ColumnDef, Database, Error, Row, RowKey, Transaction, XactOptions};

/// Place of `name` in `syscolpars`.
const NAME: usize = 3;
/// Place of `dflt` in `syscolpars`.
const DEFAULT: usize = 13;

/// A row's new value of the column that changes; what it was found by.
pub type NewValue = (RowKey, Option<Vec<u8>>);

/// What a row gets in columns, by their places; what it is found by.
pub type NewValues = (RowKey, Vec<(usize, Option<Vec<u8>>)>);

impl Database {
    /// Gives rows what they have in columns that the same statement has added: under the lock of the table, as a server does. (Observed on 2019, of an edition that
    /// changes the rows; others keep the value of a default beside them.)
    ///
    /// # Errors
    /// When another transaction has changed the table and not ended, or a row gets too long: then the caller undoes the statement.
    pub fn fill_columns(&mut self, table: u32, values: &[NewValues]) -> Result<(), Error> {
        self.writable()?;
        self.unlocked(table)?;
        let options = XactOptions { name: "ALTER TABLE", ..XactOptions::default() };
        let xact = self.begin_definition(options, Some(table));
        self.definitions.fill(Some(table));
        let filled = values.iter().try_for_each(|(key, values)| self.update(xact, table, key, values).map(drop));
        self.definitions.fill(None);
        if let Err(e) = filled {
            self.fail_definition(xact)?;
            return Err(e);
        }
        // The statement goes on with what it has written.
        self.count_changes(xact, table);
        self.end_definition(xact)?;
        Ok(())
    }

    /// Gives the column at a place another definition. `values` are the new values of all rows; they are written only where
    /// the column gets a new place.
    ///
    /// # Errors
    /// When a transaction has changed the table and not ended, the column is in the key, or the row gets too long.
    pub fn alter_column(
        &mut self,
        table: u32,
        column: usize,
        new: ColumnDef,
        values: &[NewValue],
    ) -> Result<(), Error> {
        self.writable()?;
        let held = self.unlocked(table)?;
        let rowset = held.rowset;
        if held.def.primary_key.contains(&column) {
            return Err(Error::Unsupported("altering a column of the key".into()));
        }
        TypeCodes::of(&new.sql_type)?;
        let old = Arc::clone(&self.rowset(rowset).layout);
        let at = old.of_logical[column];
        let id = held.column_ids[column];
        if at == NOT_STORED {
            return Err(Error::Unsupported("altering a computed column".into()));
        }
        // What varies in length gets a new place also where it may not be NULL any more.
        let tighter =
            old.columns[at].nullable && !new.nullable && matches!(old.columns[at].place, Place::Variable { .. });
        let in_place = holds(&old.columns[at].sql_type, &new.sql_type) && !tighter;
        let replaced = self.options.row_versions && in_place && old.columns[at].nullable && !new.nullable;
        let gone = StoredColumn { logical: None, id: old.next_dropped(), ..old.columns[at].clone() };
        let mut layout = (*old).clone();
        if in_place {
            layout.columns[at].sql_type = new.sql_type.clone();
            layout.columns[at].nullable = new.nullable;
            if replaced {
                layout.columns[at].number = old.next_number();
                layout.replaced += 1;
            }
        } else {
            layout = layout.with_column(&new, id);
            layout.columns[at] = gone.clone();
            let place = layout.columns.len() - 1;
            layout.columns[place].logical = Some(column);
            layout.of_logical.pop();
            layout.of_logical[column] = place;
            fits(&layout)?;
        }
        let xact = self.begin_ddl("ALTER TABLE", table);
        let by = By::Xact(xact.0);
        let given = match in_place && !replaced {
            true => self.change_in_place(by, table, (at, layout), &new),
            false => self.replace_column(xact, table, (column, layout, (at, gone)), values, &new),
        };
        self.end_definition(xact)?;
        self.tables.get_mut(&table).expect("it was there").def.columns[column] = new;
        given
    }

    /// A column that stays where it is in the rows. (No log with one is at hand: of its row in `syscolpars` it is as where a column gets a new place.)
    fn change_in_place(
        &mut self,
        by: By,
        table: u32,
        (at, layout): (usize, TableLayout),
        new: &ColumnDef,
    ) -> Result<(), Error> {
        let rowset = self.table_at(table)?.rowset;
        let id = layout.columns[at].id;
        self.change_column_row(by, table, id, column_row(table, id, new)?);
        self.delete_system_row(by, SYSRSCOLS, &[long(rowset), int(layout.columns[at].number)]);
        self.insert_system_row(by, SYSRSCOLS, &stored_column_row(rowset, at, &layout.columns[at])?);
        self.rowset_mut(rowset).layout = Arc::new(layout);
        self.add_units(by, rowset);
        self.note_altered(by, table, rowset);
        Ok(())
    }

    /// A column instead of another one: it is added, all rows get their values there, the old one is dropped, and the new one takes its id.
    /// (Observed on 2016 and 2019.)
    fn replace_column(
        &mut self,
        xact: Transaction,
        table: u32,
        (column, layout, (old, gone)): (usize, TableLayout, (usize, StoredColumn)),
        values: &[NewValue],
        new: &ColumnDef,
    ) -> Result<(), Error> {
        let by = By::Xact(xact.0);
        let held = self.table_at(table)?;
        let (rowset, next, id) = (held.rowset, held.next_column, held.column_ids[column]);
        let place = layout.of_logical[column];
        let named = |id: u32| StoredColumn { id, ..layout.columns[place].clone() };
        let stored = |at: usize, column: &StoredColumn| stored_column_row(rowset, at, column);
        let numbers = (gone.number, layout.columns[place].number);
        let (first, gone, last) = (stored(place, &named(next))?, stored(old, &gone)?, stored(place, &named(id))?);
        let row = column_row(table, id, new)?;
        self.rowset_mut(rowset).layout = Arc::new(layout);
        self.write_hobt_change(by, rowset);
        self.insert_system_row(by, SYSRSCOLS, &first);
        self.add_units(by, rowset);
        self.write_hobt_change(by, rowset);
        self.note_shape(by, rowset);

        if place != old {
            self.tables.get_mut(&table).expect("it was there").each_row(|row| row[column] = None);
        }
        let steps = self.xacts.get(&xact.0).map_or(0, |open| open.undo.len());
        self.definitions.fill(Some(table));
        let mut given = Ok(());
        for (key, value) in values {
            given = given.and_then(|()| self.update(xact, table, key, &[(column, value.clone())]).map(drop));
        }
        self.definitions.fill(None);
        if given.is_err() {
            // The column gets its type, and no value of it.
            self.undo_down_to(xact.0, steps);
        }

        let of = |number: u32| [long(rowset), int(number)];
        self.write_hobt_change(by, rowset);
        self.delete_system_row(by, SYSRSCOLS, &of(numbers.0));
        self.write_hobt_change(by, rowset);
        self.insert_system_row(by, SYSRSCOLS, &gone);
        self.note_dropped_column(by, rowset, old);
        self.write_hobt_change(by, rowset);
        self.delete_system_row(by, SYSRSCOLS, &of(numbers.1));
        self.write_hobt_change(by, rowset);
        self.insert_system_row(by, SYSRSCOLS, &last);
        self.note_modified(by, table);
        self.change_column_row(by, table, id, row);
        given
    }

    /// ALTER TABLE SET (LOCK_ESCALATION = TABLE), which is so already. (Observed on 2008.)
    ///
    /// # Errors
    /// When a transaction has changed the table and not ended.
    pub fn note_escalation(&mut self, table: u32) -> Result<(), Error> {
        self.writable()?;
        let rowset = self.unlocked(table)?.rowset;
        let xact = self.begin_ddl("ALTER TABLE", table);
        let by = By::Xact(xact.0);
        self.lock_identity(by, table);
        self.note_modified(by, table);
        self.write_hobt_change(by, rowset);
        self.end_definition(xact)?;
        Ok(())
    }

    /// `sp_rename` of a table.
    ///
    /// # Errors
    /// When a transaction has changed the table and not ended, or the name is taken.
    pub fn rename_table(&mut self, table: u32, name: &str) -> Result<(), Error> {
        self.writable()?;
        let held = self.unlocked(table)?;
        if self.table(&held.def.schema, name).is_some() {
            return Err(Error::NameTaken(name.into()));
        }
        let xact = self.begin_rename(table);
        self.update_system_row(By::Xact(xact.0), SYSSCHOBJS, &[int(table)], |row| row[1] = text(name));
        self.end_definition(xact)?;
        self.tables.get_mut(&table).expect("it was there").def.name = name.to_owned();
        Ok(())
    }

    /// `sp_rename` of a column.
    ///
    /// # Errors
    /// When a transaction has changed the table and not ended, or the name is taken.
    pub fn rename_column(&mut self, table: u32, column: usize, name: &str) -> Result<(), Error> {
        self.writable()?;
        let held = self.unlocked(table)?;
        if held.def.columns.iter().any(|c| c.name == name) {
            return Err(Error::NameTaken(name.into()));
        }
        let id = self.column_id(table, column);
        let xact = self.begin_rename(table);
        let key = [int(table), short(0), int(id)];
        self.update_system_row(By::Xact(xact.0), SYSCOLPARS, &key, |row| row[NAME] = text(name));
        self.end_definition(xact)?;
        self.tables.get_mut(&table).expect("it was there").def.columns[column].name = name.to_owned();
        Ok(())
    }
}

impl Database {
    /// What renaming a table and renaming a column of it have in common.
    fn begin_rename(&mut self, table: u32) -> Transaction {
        let xact = self.begin_ddl("OBJECT_RENAME", table);
        let by = By::Xact(xact.0);
        self.note_modified(by, table);
        self.write(by, |r, h| {
            r.lock_xact(h, &object_lock(5, table));
        });
        self.note_modified(by, table);
        xact
    }

    /// Gives the row of a column other values; its default stays.
    fn change_column_row(&mut self, by: By, table: u32, id: u32, row: Row) {
        self.update_system_row(by, SYSCOLPARS, &[int(table), short(0), int(id)], |known| {
            let default = known[DEFAULT].take();
            known.clone_from(&row);
            known[DEFAULT] = default;
        });
    }

    /// Gives a row of a system table other values; its key stays.
    fn update_system_row(&mut self, by: By, object: u32, key: &[Option<Vec<u8>>], change: impl FnOnce(&mut Row)) {
        let Some(old) = self.system_row(object, key) else { return };
        let mut new = old.clone();
        change(&mut new);
        let found = self.system_key(object, key);
        let known = RowKey::Key(found.clone());
        let rows = (Indexed { row: &old, key: &known }, Indexed { row: &new, key: &known });
        self.index_update_as(by, object, rows, 0).expect("nobody else changes system tables");
        let rowset = system_rowset(object);
        let image = self.encode_plain(rowset, &new);
        self.tree_modify(by, rowset, &found, &image);
    }

    /// A row of a system table, by its key.
    fn system_row(&self, object: u32, key: &[Option<Vec<u8>>]) -> Option<Row> {
        let rowset = system_rowset(object);
        let image = self.live_row(rowset, &self.system_key(object, key))?;
        Some(plain_row(&self.rowset(rowset).layout, image))
    }
}

/// Whether values of a type stand in rows just as those of another one do.
fn holds(old: &SqlType, new: &SqlType) -> bool {
    let longer = |a: &Option<u16>, b: &Option<u16>| matches!((a, b), (Some(a), Some(b)) if a <= b);
    match (old, new) {
        (SqlType::VarChar { length: a, .. }, SqlType::VarChar { length: b, .. })
        | (SqlType::NVarChar { length: a, .. }, SqlType::NVarChar { length: b, .. })
        | (SqlType::VarBinary { length: a }, SqlType::VarBinary { length: b }) => longer(a, b) || a == b,
        (a, b) => a == b,
    }
}

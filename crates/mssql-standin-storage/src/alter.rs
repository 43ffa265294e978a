//! ALTER TABLE ALTER COLUMN and sp_rename: columns that become others, names that change.
//!
//! A column whose new type holds all old values as they stand (a longer `varchar`, NULL allowed from now on) changes in the system
//! tables only. Any other gets a new place behind all others, as on a server: the old place stays in the rows as a dropped
//! column, and every row is written again.

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
        let mut layout = (*old).clone();
        if in_place {
            layout.columns[at].sql_type = new.sql_type.clone();
            layout.columns[at].nullable = new.nullable;
        } else {
            let dropped = old.columns.iter().filter(|c| c.logical.is_none()).count() as u32;
            layout = layout.with_column(&new, id);
            layout.columns[at].logical = None;
            layout.columns[at].id = super::ddl::DROPPED_COLUMNS + dropped;
            let place = layout.columns.len() - 1;
            layout.columns[place].logical = Some(column);
            layout.of_logical.pop();
            layout.of_logical[column] = place;
            fits(&layout)?;
        }
        let xact = self.begin_ddl("ALTER TABLE", table);
        let by = By::Xact(xact.0);
        let given = match in_place {
            true => self.change_in_place(by, table, (at, layout), &new),
            false => self.change_place(xact, table, (column, layout), values, &new),
        };
        self.end_definition(xact)?;
        self.tables.get_mut(&table).expect("it was there").def.columns[column] = new;
        given
    }

    /// A column that stays where it is in the rows.
    fn change_in_place(
        &mut self,
        by: By,
        table: u32,
        (at, layout): (usize, TableLayout),
        new: &ColumnDef,
    ) -> Result<(), Error> {
        let rowset = self.table_at(table)?.rowset;
        let id = layout.columns[at].id;
        self.replace_column_row(by, table, id, column_row(table, id, new)?);
        self.delete_system_row(by, SYSRSCOLS, &[long(rowset), int(at as u32 + 1)]);
        self.insert_system_row(by, SYSRSCOLS, &stored_column_row(rowset, at, &layout.columns[at])?);
        self.rowset_mut(rowset).layout = Arc::new(layout);
        self.add_units(by, rowset);
        self.note_altered(by, table, rowset);
        Ok(())
    }

    /// A column that gets a new place: it is added, all rows get their values there, the old one is dropped, and the new one takes its id.
    /// (Observed on 2019.)
    fn change_place(
        &mut self,
        xact: Transaction,
        table: u32,
        (column, layout): (usize, TableLayout),
        values: &[NewValue],
        new: &ColumnDef,
    ) -> Result<(), Error> {
        let by = By::Xact(xact.0);
        let held = self.table_at(table)?;
        let (rowset, next, id) = (held.rowset, held.next_column, held.column_ids[column]);
        let old = self.rowset(rowset).layout.of_logical[column];
        let place = layout.of_logical[column];
        let named = |id: u32| StoredColumn { id, ..layout.columns[place].clone() };
        let stored = |at: usize, column: &StoredColumn| stored_column_row(rowset, at, column);
        let (first, gone, last) =
            (stored(place, &named(next))?, stored(old, &layout.columns[old])?, stored(place, &named(id))?);
        let row = column_row(table, id, new)?;
        self.rowset_mut(rowset).layout = Arc::new(layout);
        self.write_hobt_change(by, rowset);
        self.insert_system_row(by, SYSRSCOLS, &first);
        self.add_units(by, rowset);
        self.write_hobt_change(by, rowset);
        self.note_shape(by, rowset);

        self.tables.get_mut(&table).expect("it was there").each_row(|row| row[column] = None);
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

        let of = |at: usize| [long(rowset), int(at as u32 + 1)];
        self.write_hobt_change(by, rowset);
        self.delete_system_row(by, SYSRSCOLS, &of(old));
        self.write_hobt_change(by, rowset);
        self.insert_system_row(by, SYSRSCOLS, &gone);
        self.note_dropped_column(by, rowset, old);
        self.write_hobt_change(by, rowset);
        self.delete_system_row(by, SYSRSCOLS, &of(place));
        self.write_hobt_change(by, rowset);
        self.insert_system_row(by, SYSRSCOLS, &last);
        self.note_modified(by, table);
        let key = [int(table), short(0), int(id)];
        self.update_system_row(by, SYSCOLPARS, &key, |known| {
            let default = known[DEFAULT].take();
            known.clone_from(&row);
            known[DEFAULT] = default;
        });
        given
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
        let xact = self.begin_ddl("OBJECT_RENAME", table);
        let by = By::Xact(xact.0);
        self.note_modified(by, table);
        self.write(by, |r, h| {
            r.lock_xact(h, &object_lock(5, table));
        });
        self.note_modified(by, table);
        self.update_system_row(by, SYSSCHOBJS, &[int(table)], |row| row[1] = text(name));
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
        let rowset = held.rowset;
        let new = ColumnDef { name: name.to_owned(), ..held.def.columns[column].clone() };
        let id = self.column_id(table, column);
        let xact = self.begin_ddl("OBJECT_RENAME", table);
        let by = By::Xact(xact.0);
        self.replace_column_row(by, table, id, column_row(table, id, &new)?);
        self.note_altered(by, table, rowset);
        self.end_definition(xact)?;
        self.tables.get_mut(&table).expect("it was there").def.columns[column] = new;
        Ok(())
    }
}

impl Database {
    /// Writes the row of a column anew; its default stays.
    fn replace_column_row(&mut self, by: By, table: u32, id: u32, mut row: Row) {
        let key = [int(table), short(0), int(id)];
        if let Some(old) = self.system_row(SYSCOLPARS, &key) {
            row[DEFAULT].clone_from(&old[DEFAULT]);
        }
        self.delete_system_row(by, SYSCOLPARS, &key);
        self.insert_system_row(by, SYSCOLPARS, &row);
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

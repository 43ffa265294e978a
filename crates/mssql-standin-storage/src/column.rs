//! ALTER TABLE ADD and DROP COLUMN. What they have in common with ALTER COLUMN is here, too.

use std::sync::Arc;

use super::ddl::{METADATA_LOCKS, fits, metadata_lock};
use super::space::UnitKind;
use super::system::definitions::{SYSCOLPARS, SYSROWSETS, SYSRSCOLS, SYSSCHOBJS};
use super::system::{column_row, int, long, object_lock, short, stored_column_row};
use super::table::{NOT_STORED, TableLayout};
use super::{By, ColumnDef, Database, Error};

/// Offset in rows of `sysschobjs` of what is the largest `column_id` of a table (`intprop`).
const LAST_COLUMN: usize = 24;

impl Database {
    /// ALTER TABLE ADD: the rows that are there already stay as they are and have NULL in the new column, until [`Database::fill_columns`] gives them something
    /// else. Where the column does not allow NULL, that has to be in the same transaction.
    ///
    /// # Errors
    /// When a transaction has changed the table and not ended.
    pub fn add_column(&mut self, table: u32, column: ColumnDef) -> Result<(), Error> {
        self.add_columns(table, vec![column])
    }

    /// The same of several columns, in one statement. (Observed on 2016, of two.)
    ///
    /// # Errors
    /// As [`Self::add_column`].
    pub fn add_columns(&mut self, table: u32, columns: Vec<ColumnDef>) -> Result<(), Error> {
        self.writable()?;
        let held = self.unlocked(table)?;
        let (rowset, first) = (held.rowset, held.next_column);
        let mut layout = TableLayout::clone(&self.rowset(rowset).layout);
        let (mut rows, mut stored) = (Vec::new(), Vec::new());
        for (id, column) in (first..).zip(&columns) {
            let others = held.def.columns.iter().chain(columns.iter().take((id - first) as usize));
            if others.into_iter().any(|c| c.name == column.name) {
                return Err(Error::NameTaken(column.name.clone()));
            }
            rows.push(column_row(table, id, column)?);
            layout = layout.with_column(column, id);
            if !column.computed {
                let at = layout.columns.len() - 1;
                stored.push(stored_column_row(rowset, at, &layout.columns[at])?);
            }
        }
        fits(&layout)?;
        let next = first + columns.len() as u32;
        let xact = self.begin_ddl("ALTER TABLE", table);
        self.definitions.note_altered(table);
        let by = By::Xact(xact.0);
        self.note_modified(by, table);
        for row in &rows {
            self.insert_system_row(by, SYSCOLPARS, row);
        }
        self.change_system_row(by, SYSSCHOBJS, &[int(table)], LAST_COLUMN, &(next - 1).to_le_bytes());
        self.rowset_mut(rowset).layout = Arc::new(layout);
        for row in &stored {
            self.write_hobt_change(by, rowset);
            self.insert_system_row(by, SYSRSCOLS, row);
        }
        if !stored.is_empty() {
            self.add_units(by, rowset);
            self.write_hobt_change(by, rowset);
            self.note_shape(by, rowset);
        }
        self.end_definition(xact)?;
        let held = self.tables.get_mut(&table).expect("it was there");
        held.next_column = next;
        held.column_ids.extend(first..next);
        let added = columns.len();
        held.def.columns.extend(columns);
        held.each_row(|row| row.extend(std::iter::repeat_n(None, added)));
        Ok(())
    }

    /// ALTER TABLE DROP COLUMN: the column, given by its place, keeps its place in the rows.
    ///
    /// # Errors
    /// When a transaction has changed the table and not ended, or the column is in the key.
    pub fn drop_column(&mut self, table: u32, column: usize) -> Result<(), Error> {
        self.writable()?;
        let held = self.unlocked(table)?;
        let rowset = held.rowset;
        if held.def.primary_key.contains(&column) {
            return Err(Error::Unsupported("dropping a column of the key".into()));
        }
        let old = Arc::clone(&self.rowset(rowset).layout);
        let (at, id) = (old.of_logical[column], held.column_ids[column]);
        let layout = old.without_column(column, old.next_dropped());
        let xact = self.begin_ddl("ALTER TABLE", table);
        let by = By::Xact(xact.0);
        for _ in 0..2 {
            self.write(by, |r, h| {
                r.lock_xact(h, &object_lock(5, table));
            });
        }
        if at != NOT_STORED {
            let stored = stored_column_row(rowset, at, &layout.columns[at])?;
            let key = [long(rowset), int(layout.columns[at].number)];
            self.write_hobt_change(by, rowset);
            self.delete_system_row(by, SYSRSCOLS, &key);
            self.write_hobt_change(by, rowset);
            self.insert_system_row(by, SYSRSCOLS, &stored);
            self.rowset_mut(rowset).layout = Arc::new(layout);
            self.note_dropped_column(by, rowset, at);
        } else {
            self.rowset_mut(rowset).layout = Arc::new(layout);
        }
        if self.definitions.note_dropped(table) {
            self.note_modified(by, table);
        }
        self.delete_system_row(by, SYSCOLPARS, &[int(table), short(0), int(id)]);
        self.write(by, |r, h| {
            r.lock_xact(h, &metadata_lock(METADATA_LOCKS[0], table));
        });
        self.end_definition(xact)?;
        let held = self.tables.get_mut(&table).expect("it was there");
        held.def.columns.remove(column);
        held.column_ids.remove(column);
        held.def.primary_key.iter_mut().filter(|c| **c > column).for_each(|c| *c -= 1);
        held.each_row(|row| drop(row.remove(column)));
        Ok(())
    }

    /// A rowset has columns that are no longer there; `at`: the place of the one that went. (2016 writes nothing where no column is a LOB, nor where that is known already,
    /// unless it was one that went; what it does of others that vary in length beside LOBs is not known.)
    pub(super) fn note_dropped_column(&mut self, by: By, rowset: u64, at: usize) {
        let (page, slot) = self.find_by_key(SYSROWSETS, &[long(rowset)]);
        let known = self.page(page).row(slot).expect("the row is there")[25];
        let status = known & !2 | 1;
        let held = self.rowset(rowset);
        let lob = held.layout.columns[at].sql_type.is_lob();
        if held.units[UnitKind::Lob.index()].is_some() && (lob || status != known) {
            self.write_hobt_change(by, rowset);
            self.change_system_row(by, SYSROWSETS, &[long(rowset)], 25, &[status]);
        }
    }

    /// How many columns rows have and how long they are, in `sysrowsets`.
    pub(super) fn note_shape(&mut self, by: By, rowset: u64) {
        let (page, slot) = self.find_by_key(SYSROWSETS, &[long(rowset)]);
        let mut row = self.page(page).row(slot).expect("the row is there").to_vec();
        let layout = &self.rowset(rowset).layout;
        row[41..43].copy_from_slice(&(layout.columns.len() as u16).to_le_bytes());
        row[43..47].copy_from_slice(&layout.max_leaf().to_le_bytes());
        row[49..51].copy_from_slice(&layout.row.fixed_end.to_le_bytes());
        self.modify_system_row(by, page, slot, &row);
    }
}

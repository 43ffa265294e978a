//! Changes of rows, as callers ask for them.

mod values;

use std::sync::Arc;

use logferry_model::SqlType;
use logferry_mssql_format::encode::{ColumnImage, encode_forwarded, encode_row, encode_stub};
use logferry_mssql_format::page::RowId;
use logferry_mssql_format::row::{RecordKind, stub_target};

use super::entry::Indexed;
use super::space::{AllocUnit, UnitKind};
use super::table::{StoredColumn, UNIQUIFIER_LEN, uniquifier_of};
use super::xact::{Transaction, Undo};
use super::{By, Database, Error, Row, RowKey};
pub(super) use values::{Stored, plain_row, stored_values};
use values::{fresh, is_text, keep_nulls, value_of};

/// A column's place in the table, and its new value.
pub type Change = (usize, Option<Vec<u8>>);

impl Database {
    /// Inserts a row; gives what it is found by.
    ///
    /// # Errors
    /// When the key is there, when another transaction holds it, or when the row is too long.
    pub fn insert(&mut self, xact: Transaction, table: u32, row: Row) -> Result<RowKey, Error> {
        self.writable()?;
        self.open(xact)?;
        if self.defined_by_other(xact.0, table) {
            return Err(Error::Locked);
        }
        let rowset = self.table_at(table)?.rowset;
        let layout = Arc::clone(&self.rowset(rowset).layout);
        assert_eq!(row.len(), layout.of_logical.len(), "a row has a value for each column");
        let by = By::Xact(xact.0);
        let new_key = if layout.key.is_empty() { Vec::new() } else { self.fresh_key(rowset, &row) };
        let value = |c: &StoredColumn| match c.uniquifier {
            true => Stored::Bytes(uniquifier_of(&new_key)),
            false => fresh(&c.sql_type, value_of(c, &row)),
        };
        let values = self.plan(&layout, layout.columns.iter().map(value).collect())?;
        let indexed = self.indexes.contains_key(&table);
        let key = if layout.key.is_empty() {
            if indexed {
                let nowhere = RowKey::Rid(RowId::default());
                self.index_check(xact.0, table, None, Indexed { row: &row, key: &nowhere })?;
            }
            let image = self.write_values(by, rowset, values, false);
            let key = RowKey::Rid(self.heap_insert(by, rowset, &image));
            self.lock(xact.0, rowset, &key)?;
            key
        } else {
            let key = new_key;
            let locked = RowKey::Key(key.clone());
            if self.locked_by_other(xact.0, rowset, &locked) {
                return Err(Error::Locked);
            }
            if self.live_row(rowset, &key).is_some() {
                return Err(Error::DuplicateKey(self.table_at(table)?.def.name.clone()));
            }
            if indexed {
                self.index_check(xact.0, table, None, Indexed { row: &row, key: &locked })?;
            }
            self.lock(xact.0, rowset, &locked)?;
            let image = self.write_values(by, rowset, values, false);
            self.tree_put(by, rowset, &key, &image);
            locked
        };
        if indexed {
            self.index_insert(by, table, Indexed { row: &row, key: &key })?;
        }
        self.note_change(xact, table, key.clone(), Some(Arc::new(row)));
        Ok(key)
    }

    /// Gives columns of a row new values: place in the table's columns, and value. Gives what the row is found by now: a
    /// changed key makes it another row.
    pub fn update(&mut self, xact: Transaction, table: u32, key: &RowKey, changes: &[Change]) -> Result<RowKey, Error> {
        self.update_row(xact, table, key, changes, true).map(|(key, _)| key)
    }

    /// The same for rows of which one may get the values of a unique index that another one of them has: all their entries go before any comes back.
    ///
    /// # Errors
    /// As [`Self::update`].
    pub fn update_together(
        &mut self,
        xact: Transaction,
        table: u32,
        rows: &[(RowKey, Vec<Change>)],
    ) -> Result<(), Error> {
        let mut moved = Vec::with_capacity(rows.len());
        for (key, changes) in rows {
            let (new_key, old) = self.update_row(xact, table, key, changes, false)?;
            moved.push((key, old, new_key));
        }
        let new: Vec<Arc<Row>> =
            moved.iter().map(|(.., key)| self.visible_row(xact, table, key)).collect::<Result<_, _>>()?;
        let images = moved
            .iter()
            .zip(&new)
            .map(|((key, old, new_key), row)| (Indexed { row: old, key }, Indexed { row, key: new_key }));
        self.index_update_together(xact.0, table, &images.collect::<Vec<_>>())
    }

    /// What a row is found by now, and what it was; perhaps its entries in indexes are told.
    fn update_row(
        &mut self,
        xact: Transaction,
        table: u32,
        key: &RowKey,
        changes: &[Change],
        entries: bool,
    ) -> Result<(RowKey, Arc<Row>), Error> {
        self.writable()?;
        let old = self.visible_row(xact, table, key)?;
        let rowset = self.table_at(table)?.rowset;
        let layout = Arc::clone(&self.rowset(rowset).layout);
        let by = By::Xact(xact.0);
        let mut row = Row::clone(&old);
        for (column, value) in changes {
            row[*column].clone_from(value);
        }
        let new_key = match key {
            RowKey::Rid(_) => key.clone(),
            // The same key keeps what makes it unique.
            RowKey::Key(old_key) if self.same_key(rowset, old_key, &row) => key.clone(),
            RowKey::Key(_) => RowKey::Key(self.fresh_key(rowset, &row)),
        };
        if let (RowKey::Key(new), true) = (&new_key, new_key != *key) {
            if self.locked_by_other(xact.0, rowset, &new_key) {
                return Err(Error::Locked);
            }
            if self.live_row(rowset, new).is_some() {
                return Err(Error::DuplicateKey(self.table_at(table)?.def.name.clone()));
            }
        }
        let indexed = entries && self.indexes.contains_key(&table);
        if indexed {
            let (from, to) = (Indexed { row: &old, key }, Indexed { row: &row, key: &new_key });
            self.index_check(xact.0, table, Some(from), to)?;
        }
        self.lock(xact.0, rowset, key)?;
        self.lock(xact.0, rowset, &new_key)?;

        let (before, home) = self.image_of(rowset, key);
        let image = &before;
        let (mut values, mut outside) = (stored_values(&layout, image), Vec::new());
        for (column, _) in changes {
            let at = layout.of_logical[*column];
            if let Stored::Pointer(pointer) = &values[at] {
                outside.push((layout.columns[at].sql_type.clone(), pointer.clone()));
            }
            values[at] = fresh(&layout.columns[at].sql_type, row[*column].as_deref());
        }
        if let (RowKey::Key(new), Some(at)) = (&new_key, layout.columns.iter().position(|c| c.uniquifier)) {
            values[at] = Stored::Bytes(uniquifier_of(new));
        }
        let values = self.plan(&layout, values)?;
        let mut image = self.write_values(by, rowset, values, new_key == *key);
        keep_nulls(&layout, &before, &mut image);
        match (key, &new_key) {
            (RowKey::Rid(at), _) => self.update_in_heap(by, rowset, *at, home, &image),
            (RowKey::Key(old), RowKey::Key(new)) if old != new => {
                self.tree_ghost(by, rowset, old);
                self.tree_put(by, rowset, new, &image);
            }
            (RowKey::Key(old), _) => self.tree_modify(by, rowset, old, &image),
        }
        if indexed {
            self.index_update(by, table, Indexed { row: &old, key }, Indexed { row: &row, key: &new_key })?;
        }
        for (sql_type, pointer) in outside {
            self.delete_outside(by, rowset, &sql_type, &pointer);
        }
        if new_key != *key {
            self.note_change(xact, table, key.clone(), None);
        }
        self.note_change(xact, table, new_key.clone(), Some(Arc::new(row)));
        Ok((new_key, old))
    }

    /// Gives a value that is outside of its row another one without a record of the row, as UPDATETEXT does; says whether that could be.
    ///
    /// # Errors
    /// When another transaction holds the row, or it is not there.
    pub fn write_in_place(
        &mut self,
        xact: Transaction,
        table: u32,
        key: &RowKey,
        column: usize,
        value: &[u8],
    ) -> Result<bool, Error> {
        self.writable()?;
        let old = self.visible_row(xact, table, key)?;
        let rowset = self.table_at(table)?.rowset;
        let layout = Arc::clone(&self.rowset(rowset).layout);
        let by = By::Xact(xact.0);
        self.lock(xact.0, rowset, key)?;
        let (image, _) = self.image_of(rowset, key);
        let Stored::Pointer(pointer) = stored_values(&layout, &image).swap_remove(layout.of_logical[column]) else {
            return Ok(false);
        };
        if !self.lob_rewrite(by, rowset, &pointer, value) {
            return Ok(false);
        }
        let mut row = Row::clone(&old);
        row[column] = Some(value.to_vec());
        let (lsn, row) = (self.last_lsn(by), Arc::new(row));
        self.note_change(xact, table, key.clone(), Some(Arc::clone(&row)));
        self.capture_in_place(xact, table, lsn, old, row);
        Ok(true)
    }

    /// The key that a new row of a clustered index gets: where others have the same, behind the last of them.
    fn fresh_key(&self, rowset: u64, row: &Row) -> Vec<u8> {
        let layout = &self.rowset(rowset).layout;
        let mut key = layout.key_of(row);
        if !layout.has_uniquifier() {
            return key;
        }
        key.truncate(key.len() - UNIQUIFIER_LEN);
        let number = self.last_uniquifier(rowset, &key).map_or(0, |n| n + 1);
        key.extend(number.to_be_bytes());
        key
    }

    /// Whether a row's key says the same as one that is there.
    fn same_key(&self, rowset: u64, key: &[u8], row: &Row) -> bool {
        let layout = &self.rowset(rowset).layout;
        let len = if layout.has_uniquifier() { key.len().saturating_sub(UNIQUIFIER_LEN) } else { key.len() };
        let new = layout.key_of(row);
        new.len() == key.len() && new.get(..len) == key.get(..len)
    }

    /// Deletes a row.
    pub fn delete(&mut self, xact: Transaction, table: u32, key: &RowKey) -> Result<(), Error> {
        self.writable()?;
        let old = self.visible_row(xact, table, key)?;
        let rowset = self.table_at(table)?.rowset;
        let layout = Arc::clone(&self.rowset(rowset).layout);
        self.lock(xact.0, rowset, key)?;
        let by = By::Xact(xact.0);
        let (image, home) = self.image_of(rowset, key);
        if self.indexes.contains_key(&table) {
            self.index_delete(by, table, Indexed { row: &old, key })?;
        }
        match key {
            RowKey::Key(key) => self.tree_ghost(by, rowset, key),
            RowKey::Rid(at) => {
                if let Some(target) = home {
                    self.hold_place(xact.0, rowset, target);
                    self.heap_remove(by, rowset, target);
                }
                self.heap_remove(by, rowset, *at);
            }
        }
        for (column, value) in layout.columns.iter().zip(stored_values(&layout, &image)) {
            if let Stored::Pointer(pointer) = value {
                self.delete_outside(by, rowset, &column.sql_type, &pointer);
            }
        }
        self.note_change(xact, table, key.clone(), None);
        Ok(())
    }

    /// TRUNCATE TABLE: its pages are given back, with their rows on them. Gives the LSN of the
    /// commit.
    pub fn truncate(&mut self, table: u32) -> Result<logferry_model::Lsn, Error> {
        self.writable()?;
        let rowset = self.unlocked(table)?.rowset;
        let xact = self.begin_ddl("TRUNCATE TABLE", table);
        let by = By::Xact(xact.0);
        self.flush_counts();
        let indexes = self.kept_indexes(table).into_iter().map(|i| i.rowset);
        for rowset in std::iter::once(rowset).chain(indexes) {
            self.truncate_rowset(by, rowset);
        }
        let keys: Vec<RowKey> = self.table_at(table)?.committed.keys().cloned().collect();
        for key in keys {
            self.note_change(xact, table, key, None);
        }
        self.end_definition(xact)
    }

    fn truncate_rowset(&mut self, by: By, rowset: u64) {
        let saved = Undo::Rowset(Box::new(self.rowset(rowset).clone()));
        self.undoable(by, self.last_lsn(by), saved);
        for kind in [UnitKind::InRow, UnitKind::Lob, UnitKind::Overflow] {
            let Some(unit) = self.rowset(rowset).units[kind.index()].clone().filter(|u| u.iam != 0) else { continue };
            self.release_unit(by, rowset, kind);
            self.write(by, |r, h| {
                r.invalidate_cache(h, unit.obj_id(), unit.index_id());
            });
            self.write(by, |r, h| {
                r.hobt_ddl(h, rowset, 2);
            });
            self.clear_unit_row(by, &unit);
        }
        self.write(by, |r, h| {
            r.hobt_ddl(h, rowset, 2);
        });
        self.write_row_count(by, rowset, 0);
        let held = self.rowset_mut(rowset);
        held.levels.clear();
        held.rows = 0;
        held.counted = true;
    }

    /// Takes away what committed deletes left, as the ghost cleanup task does; gives how many rows went.
    pub fn ghost_cleanup(&mut self) -> usize {
        let pages: Vec<(u32, u64)> = self.ghost_pages.iter().map(|(page, rowset)| (*page, *rowset)).collect();
        pages.into_iter().map(|(page, rowset)| self.expunge(page, rowset)).sum()
    }

    /// A row as a transaction sees it: its own changes, else what is committed. Takes no lock.
    ///
    /// # Errors
    /// When another transaction holds the row, or it is not there.
    pub fn visible_row(&self, xact: Transaction, table: u32, key: &RowKey) -> Result<Arc<Row>, Error> {
        let open = self.open(xact)?;
        let held = self.table_at(table)?;
        if self.locked_by_other(xact.0, held.rowset, key) || self.defined_by_other(xact.0, table) {
            return Err(Error::Locked);
        }
        let row = match open.latest(table, key) {
            Some(own) => own.clone(),
            None => held.committed.get(key).cloned().or_else(|| self.loaded_row(table, key).map(Arc::new)),
        };
        row.ok_or_else(|| Error::NoSuchRow(held.def.name.clone()))
    }

    /// All rows that are committed, or were loaded in bulk.
    pub(super) fn each_stored_row(&self, table: u32, each: &mut dyn FnMut(&Self, &RowKey, &Row)) {
        let Some(held) = self.tables.get(&table) else { return };
        held.committed.iter().for_each(|(key, row)| each(self, key, row));
        if !held.loaded {
            return;
        }
        let rowset = self.rowset(held.rowset);
        for node in rowset.levels.first().into_iter().flatten() {
            let page = self.page(node.page);
            for slot in 0..page.slot_count() {
                let Some(image) = page.row(slot) else { continue };
                if !matches!(RecordKind::of(image[0]), RecordKind::Primary) {
                    continue;
                }
                let row = plain_row(&rowset.layout, image);
                let key = match rowset.is_heap() {
                    true => RowKey::Rid(super::rid(node.page, slot)),
                    false => RowKey::Key(rowset.layout.key_of_image(image)),
                };
                if !held.committed.contains_key(&key) {
                    each(self, &key, &row);
                }
            }
        }
    }

    /// A row that was loaded in bulk, from its page.
    fn loaded_row(&self, table: u32, key: &RowKey) -> Option<Row> {
        let held = self.tables.get(&table).filter(|t| t.loaded)?;
        let image = match key {
            RowKey::Key(key) => self.live_row(held.rowset, key)?,
            RowKey::Rid(at) => self.pages.get(at.page.page as usize)?.as_ref()?.row(at.slot)?,
        };
        Some(plain_row(&self.rowset(held.rowset).layout, image))
    }

    /// A row without values outside of it, to bytes.
    pub(super) fn encode_plain(&self, rowset: u64, row: &Row) -> Vec<u8> {
        let layout = &self.rowset(rowset).layout;
        let images: Vec<ColumnImage<'_>> =
            layout.columns.iter().map(|c| value_of(c, row).map_or(ColumnImage::Null, ColumnImage::Bytes)).collect();
        let mut image = Vec::new();
        encode_row(&layout.row, &images, None, &mut image);
        image
    }

    /// The row that a key leads to, and where a heap moved it to, if it did.
    pub(super) fn image_of(&self, rowset: u64, key: &RowKey) -> (Vec<u8>, Option<RowId>) {
        match key {
            RowKey::Key(key) => (self.live_row(rowset, key).expect("visible rows are on their page").to_vec(), None),
            RowKey::Rid(at) => {
                let row = self.page(at.page.page).row(at.slot).expect("visible rows are on their page");
                match RecordKind::of(row[0]) {
                    RecordKind::Stub => {
                        let target = stub_target(row).expect("our own stubs are whole");
                        let moved = self.page(target.page.page).row(target.slot).expect("stubs point to rows");
                        (moved.to_vec(), Some(target))
                    }
                    _ => (row.to_vec(), None),
                }
            }
        }
    }

    /// Changes a row of a heap: where it is, or by moving it to another page.
    fn update_in_heap(&mut self, by: By, rowset: u64, at: RowId, moved: Option<RowId>, image: &[u8]) {
        let xact = super::tree::xact_of(by);
        let room = |db: &Self, at: RowId| {
            let old = db.page(at.page.page).row(at.slot).map_or(0, <[u8]>::len);
            db.free_for(xact, at.page.page) + old
        };
        let forwarded = encode_forwarded(image, at);
        match moved {
            None if room(self, at) >= image.len() => self.heap_modify(by, rowset, at, image),
            Some(target) if room(self, target) >= forwarded.len() => self.heap_modify(by, rowset, target, &forwarded),
            _ => {
                if let Some(target) = moved {
                    self.hold_place(xact, rowset, target);
                    self.heap_remove(by, rowset, target);
                }
                let target = self.heap_insert(by, rowset, &forwarded);
                self.hold_place(xact, rowset, target);
                self.heap_modify(by, rowset, at, &encode_stub(target));
            }
        }
    }

    /// Nobody else may take the place of a moved row before the transaction ends.
    fn hold_place(&mut self, xact: u64, rowset: u64, at: RowId) {
        self.lock(xact, rowset, &RowKey::Rid(at)).expect("whoever has the row has the place that it was moved to");
    }

    fn delete_outside(&mut self, by: By, rowset: u64, sql_type: &SqlType, pointer: &[u8]) {
        if is_text(sql_type) {
            self.text_delete(by, rowset, pointer);
        } else {
            self.lob_delete(by, rowset, pointer);
        }
    }

    fn note_change(&mut self, xact: Transaction, table: u32, key: RowKey, row: Option<Arc<Row>>) {
        self.xacts.get_mut(&xact.0).expect("it is open").note(table, key, row);
    }

    /// Zeroes the page pointers and counts in the row of an allocation unit.
    fn clear_unit_row(&mut self, by: By, unit: &AllocUnit) {
        let (page, slot) = self.find_alloc_unit(unit.id);
        let mut row = self.page(page).row(slot).expect("the row is there").to_vec();
        row[27..69].fill(0);
        self.modify_system_row(by, page, slot, &row);
    }
}

//! Nonclustered indexes on pages: an entry for each row, in a tree of its own.
//!
//! ```text
//!  leaf       | status | key columns, where the row is, included columns: fixed ones | NULL bits | variable ones | tag |
//!  above it   | status | key columns (and where the row is, if the key is not unique) | child | NULL bits | variable |
//! ```
//!
//! Where the row is says its clustered key (the columns of it that are not in the index's key anyway) or its place in the heap. A row
//! that changes in the index's columns is a deleted entry and a new one; both records have bit 0 of the word at 58. Deletes take
//! the entries first and the row last, inserts the other way round (observed on 2008, 2016 and 2019). Leaf entries of user tables have
//! NULL bits whether a column allows NULL or not (2016, 2019; in files of 2008 only where one does); those above only where one of theirs
//! does.

use std::sync::Arc;

use logferry_model::SqlType;
use logferry_mssql_format::encode::{ColumnImage, RowShape, encode_index_record};
use logferry_mssql_format::row::status;

use super::index::IndexDef;
use super::table::{Form, Placer, StoredColumn, TableLayout, fixed_len, uniquifier_of};
use super::{By, Database, Error, Row, RowKey};

/// Bytes of a key, at most.
const KEY_MAX: usize = 1700;
/// Bit of the word at 58 of the records of an entry that goes elsewhere.
pub(super) const MOVED: u16 = 1;
const TAG: usize = 14;

/// Where a column of an entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A column of the table, by its `column_id`.
    Column(u32),
    /// The row's place in the heap.
    Rid,
    /// What makes its clustered key unique.
    Uniquifier,
}

/// An index with what keeps it.
#[derive(Clone, Debug)]
pub(super) struct Index {
    pub def: IndexDef,
    /// Its entries; none where they cannot be kept: a column that is not in the rows, or may be outside of them.
    pub kept: Option<Kept>,
}

/// Where an index's entries are and what they are made of.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub rowset: u64,
    pub sources: Vec<Source>,
    /// Leaf entries have NULL bits.
    pub null_bits: bool,
}

/// A row that an entry is made for: its values by place in the table, and its place in the heap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Indexed<'a> {
    pub row: &'a Row,
    pub key: &'a RowKey,
}

/// The layout of an index's entries, and where their columns come from.
pub(super) fn entry_layout(base: &TableLayout, def: &IndexDef) -> Option<(TableLayout, Vec<Source>)> {
    let live = |id: u32| base.columns.iter().find(|c| c.id == id && c.logical.is_some());
    let mut sources: Vec<(Source, bool)> = def.columns.iter().map(|(id, d)| (Source::Column(*id), *d)).collect();
    let keys = sources.len();
    if base.key.is_empty() {
        sources.push((Source::Rid, false));
    }
    for at in &base.key {
        let source = match base.columns[*at].uniquifier {
            true => Source::Uniquifier,
            false => Source::Column(base.columns[*at].id),
        };
        if sources[..keys].iter().all(|(s, _)| *s != source) {
            sources.push((source, base.columns[*at].descending));
        }
    }
    let ordered = if def.unique { keys } else { sources.len() };
    sources.extend(def.included.iter().map(|id| (Source::Column(*id), false)));
    let mut layout = TableLayout {
        columns: Vec::new(),
        replaced: 0,
        of_logical: (0..sources.len()).collect(),
        key: (0..ordered).collect(),
        row: RowShape { places: Vec::new(), fixed_end: 1 },
        key_entry: RowShape { places: Vec::new(), fixed_end: 1 },
        form: Form::Entry,
        nulls: false,
    };
    let (mut leaf, mut above) = (Placer::new(1), Placer::new(1));
    for (at, (source, descending)) in sources.iter().enumerate() {
        let (sql_type, nullable) = match source {
            Source::Rid => (SqlType::Binary { length: 8 }, false),
            Source::Uniquifier => (SqlType::Int, false),
            Source::Column(id) => {
                let column = live(*id)?;
                (column.sql_type.clone(), column.nullable)
            }
        };
        if sql_type.is_lob() {
            return None;
        }
        let uniquifier = *source == Source::Uniquifier;
        let place = |placer: &mut Placer| if uniquifier { placer.variable() } else { placer.place(&sql_type) };
        let internal = (at < ordered).then(|| place(&mut above));
        let place = place(&mut leaf);
        layout.row.places.push(place);
        layout.key_entry.places.extend(internal);
        layout.columns.push(StoredColumn {
            logical: Some(at),
            id: at as u32 + 1,
            number: at as u32 + 1,
            sql_type,
            nullable,
            key_ordinal: if at < ordered { at as u16 + 1 } else { 0 },
            place,
            internal,
            descending: *descending,
            uniquifier,
        });
    }
    layout.row.fixed_end = leaf.end;
    layout.key_entry.fixed_end = above.end;
    Some((layout, sources.into_iter().map(|(s, _)| s).collect()))
}

impl Database {
    /// Makes the entries of a new row.
    pub(super) fn index_insert(&mut self, by: By, table: u32, at: Indexed<'_>) -> Result<(), Error> {
        for index in self.kept_indexes(table) {
            let (key, entry) = self.index_entry(by, table, &index, at);
            self.put_entry(by, &index, &key, &entry, 0)?;
        }
        Ok(())
    }

    /// Takes the entries of a row away; called before the row goes.
    pub(super) fn index_delete(&mut self, by: By, table: u32, at: Indexed<'_>) -> Result<(), Error> {
        for index in self.kept_indexes(table) {
            let (key, _) = self.index_entry(by, table, &index, at);
            self.ghost_entry(by, &index, &key, 0)?;
        }
        Ok(())
    }

    /// Moves the entries of a changed row to where they belong.
    pub(super) fn index_update(&mut self, by: By, table: u32, old: Indexed<'_>, new: Indexed<'_>) -> Result<(), Error> {
        self.index_update_as(by, table, (old, new), MOVED)
    }

    /// The same, with bits for the word at 58 of the records.
    pub(super) fn index_update_as(
        &mut self,
        by: By,
        table: u32,
        (old, new): (Indexed<'_>, Indexed<'_>),
        bits: u16,
    ) -> Result<(), Error> {
        for index in self.kept_indexes(table) {
            let (from, before) = self.index_entry(by, table, &index, old);
            let (to, after) = self.index_entry(by, table, &index, new);
            if Self::is_same_entry(&before, &after) {
                continue;
            }
            if from == to {
                self.tree_modify(by, index.rowset, &to, &after);
                continue;
            }
            self.ghost_entry(by, &index, &from, bits)?;
            self.put_entry(by, &index, &to, &after, bits)?;
        }
        Ok(())
    }

    /// Whether two entries are equal but for their row versions.
    fn is_same_entry(a: &[u8], b: &[u8]) -> bool {
        let plain = |entry: &[u8]| match entry[0] & status::VERSION_TAG {
            0 => entry.len(),
            _ => entry.len() - TAG,
        };
        a.get(..plain(a)) == b.get(..plain(b))
    }

    /// The same for the rows of a statement, index by index: all entries go before any comes back.
    pub(super) fn index_update_together(
        &mut self,
        xact: u64,
        table: u32,
        rows: &[(Indexed<'_>, Indexed<'_>)],
    ) -> Result<(), Error> {
        let by = By::Xact(xact);
        for index in self.kept_indexes(table) {
            let mut comes = Vec::new();
            for &(old, new) in rows {
                let (from, before) = self.index_entry(by, table, &index, old);
                let (to, after) = self.index_entry(by, table, &index, new);
                if Self::is_same_entry(&before, &after) {
                    continue;
                }
                if from != to {
                    self.ghost_entry(by, &index, &from, MOVED)?;
                }
                comes.push((from != to, to, after));
            }
            for (moved, to, entry) in comes {
                if !moved {
                    self.tree_modify(by, index.rowset, &to, &entry);
                } else if self.locked_by_other(xact, index.rowset, &RowKey::Key(to.clone())) {
                    return Err(Error::Locked);
                } else {
                    self.put_entry(by, &index, &to, &entry, MOVED)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a row's entries can be put where they belong.
    ///
    /// # Errors
    /// When another transaction holds an entry, or a key that is to be there once is there.
    pub(super) fn index_check(
        &self,
        xact: u64,
        table: u32,
        old: Option<Indexed<'_>>,
        new: Indexed<'_>,
    ) -> Result<(), Error> {
        for index in self.indexes.get(&table).into_iter().flatten() {
            let Some(kept) = index.kept.as_ref().filter(|_| index.def.unique) else { continue };
            let key = self.entry_key(table, kept, new);
            if old.is_some_and(|old| self.entry_key(table, kept, old) == key) {
                continue;
            }
            if self.locked_by_other(xact, kept.rowset, &RowKey::Key(key.clone())) {
                return Err(Error::Locked);
            }
            if self.live_row(kept.rowset, &key).is_some() {
                return Err(Error::DuplicateKey(index.def.name.clone()));
            }
        }
        Ok(())
    }

    pub(super) fn kept_indexes(&self, table: u32) -> Vec<Kept> {
        self.indexes.get(&table).into_iter().flatten().filter_map(|i| i.kept.clone()).collect()
    }

    fn put_entry(&mut self, by: By, index: &Kept, key: &[u8], entry: &[u8], flags: u16) -> Result<(), Error> {
        if let By::Xact(id) = by {
            self.lock(id, index.rowset, &RowKey::Key(key.to_vec()))?;
        }
        self.tree_put_as(by, index.rowset, key, entry, flags);
        Ok(())
    }

    fn ghost_entry(&mut self, by: By, index: &Kept, key: &[u8], flags: u16) -> Result<(), Error> {
        if let By::Xact(id) = by {
            self.lock(id, index.rowset, &RowKey::Key(key.to_vec()))?;
        }
        self.tree_ghost_as(by, index.rowset, key, flags);
        Ok(())
    }

    fn entry_values(&self, table: u32, index: &Kept, at: Indexed<'_>) -> Row {
        let base = self.base_layout(table);
        let value = |source: &Source| match source {
            Source::Rid => match at.key {
                RowKey::Rid(rid) => Some(rid.to_bytes().to_vec()),
                RowKey::Key(_) => None,
            },
            Source::Uniquifier => match at.key {
                RowKey::Key(key) => Some(uniquifier_of(key)),
                RowKey::Rid(_) => None,
            },
            Source::Column(id) => {
                let column = base.columns.iter().find(|c| c.id == *id && c.logical.is_some());
                column.and_then(|c| at.row.get(c.logical?)?.clone())
            }
        };
        index.sources.iter().map(value).collect()
    }

    fn entry_key(&self, table: u32, index: &Kept, at: Indexed<'_>) -> Vec<u8> {
        self.rowset(index.rowset).layout.key_of(&self.entry_values(table, index, at))
    }

    /// The entry of a row: its key in the tree, its bytes.
    pub(super) fn index_entry(&self, by: By, table: u32, index: &Kept, at: Indexed<'_>) -> (Vec<u8>, Vec<u8>) {
        let values = self.entry_values(table, index, at);
        let layout = &self.rowset(index.rowset).layout;
        let images: Vec<ColumnImage<'_>> =
            values.iter().map(|v| v.as_deref().map_or(ColumnImage::Null, ColumnImage::Bytes)).collect();
        let nulls = index.null_bits || layout.columns.iter().any(|c| c.nullable);
        let mut entry = Vec::new();
        encode_index_record(&layout.row, &images, nulls, None, &mut entry);
        // System tables have no versions.
        if self.options.row_versions && self.tables.contains_key(&table) {
            entry[0] |= status::VERSION_TAG;
            entry.extend([0; 8]);
            entry.extend(&super::tree::xact_of(by).to_le_bytes()[..6]);
        }
        (layout.key_of(&values), entry)
    }

    /// The layout of a table's rows; system tables have one too.
    pub(super) fn base_layout(&self, table: u32) -> &Arc<TableLayout> {
        let rowset = self.tables.get(&table).map_or_else(|| super::system::system_rowset(table), |t| t.rowset);
        &self.rowset(rowset).layout
    }
}

/// Whether the entries of an index fit on its pages.
pub(super) fn entries_fit(layout: &TableLayout) -> bool {
    let longest = |c: &StoredColumn| match &c.sql_type {
        SqlType::VarChar { length: Some(n), .. } | SqlType::VarBinary { length: Some(n) } => usize::from(*n),
        SqlType::NVarChar { length: Some(n), .. } => 2 * usize::from(*n),
        other => fixed_len(other).map_or(KEY_MAX, usize::from),
    };
    layout.columns.iter().map(longest).sum::<usize>() < 7000
}

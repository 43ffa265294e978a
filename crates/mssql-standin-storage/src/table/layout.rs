//! Where the columns of a table are in its rows and in the entries of its indexes, and the key of a row.

use std::borrow::Cow;

use logferry_model::SqlType;
use logferry_mssql_format::encode::RowShape;
use logferry_mssql_format::row::{FixedVar, Place};

use super::super::ddl::KeyKind;
use super::codes::{TypeCodes, fixed_len};
use super::order::sort_key;
use super::{ColumnDef, Row, TableDef};

/// A column as rows hold it, with what system tables say of it.
#[derive(Clone, Debug)]
pub(crate) struct StoredColumn {
    /// Place in [`TableDef::columns`]; none where the column was dropped.
    pub logical: Option<usize>,
    /// `sys.columns.column_id`
    pub id: u32,
    /// What it is known by in its rowset: its NULL bit, unless it took the place of another one.
    pub number: u32,
    pub sql_type: SqlType,
    pub nullable: bool,
    /// Place in the key, from 1; 0 where it is not in the key.
    pub key_ordinal: u16,
    pub place: Place,
    /// Place in index entries, if it is in the key.
    pub internal: Option<Place>,
    /// Of keys of indexes: whether their order is the other way round.
    pub descending: bool,
    /// It tells rows apart whose keys are the same: nothing in the first of them, a number in the others. First among the columns, last in the key
    /// (observed on 2016); where it is in entries above the leaves is not known.
    pub uniquifier: bool,
}

impl StoredColumn {
    /// What makes rows of a clustered index unique, behind so many columns of its key.
    fn uniquifier(keys: usize, place: Place) -> Self {
        StoredColumn {
            logical: None,
            id: 0,
            number: 1,
            sql_type: SqlType::Int,
            nullable: false,
            key_ordinal: keys as u16 + 1,
            place,
            internal: None,
            descending: false,
            uniquifier: true,
        }
    }
}

/// Ids of dropped columns begin here.
const DROPPED_COLUMNS: u32 = 0x0400_0001;

/// Place in a layout of a column that rows do not have.
pub(crate) const NOT_STORED: usize = usize::MAX;

/// Where the columns of a table are in its rows and keys.
#[derive(Clone, Debug)]
pub(crate) struct TableLayout {
    /// In the order of their NULL bits: key columns first.
    pub columns: Vec<StoredColumn>,
    /// Dropped columns in whose places others are.
    pub replaced: u32,
    /// Place in `columns` of each logical column; [`NOT_STORED`] of computed ones.
    pub of_logical: Vec<usize>,
    /// Places in `columns` of the key's columns, in key order.
    pub key: Vec<usize>,
    pub row: RowShape,
    pub key_entry: RowShape,
    pub form: Form,
    /// Columns of the key may be NULL: the key of a table that is no primary key.
    pub nulls: bool,
}

/// Bytes of a page id in an entry above the leaves.
const CHILD: u16 = 6;
/// The least that `sysrowsets.maxint` says of a tree.
const INTERNAL_LEAST: u16 = 15;

/// Bytes of variable columns with what says where they end, at most; of `(max)` types, what of them may be in a row.
fn longest_variables<'a>(columns: impl Iterator<Item = (Place, &'a SqlType)>) -> u32 {
    let lengths: Vec<u32> = columns
        .filter(|(place, _)| matches!(place, Place::Variable { .. }))
        .map(|(_, sql_type)| match TypeCodes::of(sql_type) {
            Ok(codes) if codes.length == 0xFFFF => 8000,
            Ok(codes) => u32::from(codes.length),
            Err(_) => 8000,
        })
        .collect();
    if lengths.is_empty() { 0 } else { 2 + 2 * lengths.len() as u32 + lengths.iter().sum::<u32>() }
}

/// What the leaves of a rowset hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Rows of a table.
    Row,
    /// Entries of a nonclustered index.
    Entry,
}

impl TableLayout {
    /// The layout of a table by what its clustered index is for.
    pub fn clustered(def: &TableDef, kind: Option<KeyKind>) -> Self {
        let rest = (0..def.columns.len()).filter(|c| !def.primary_key.contains(c));
        let order = def.primary_key.iter().copied().chain(rest).collect();
        Self::laid(
            def,
            order,
            !matches!(kind, Some(KeyKind::Index { unique: false })),
            kind.is_some_and(KeyKind::is_loose),
        )
    }

    /// A layout whose columns stand in a given order: those of system tables stand in the order of their ids.
    pub fn with_order(def: &TableDef, order: Vec<usize>) -> Self {
        Self::laid(def, order, true, false)
    }

    fn laid(def: &TableDef, order: Vec<usize>, unique: bool, nulls: bool) -> Self {
        let mut layout = TableLayout {
            columns: Vec::new(),
            replaced: 0,
            of_logical: vec![0; def.columns.len()],
            key: Vec::new(),
            row: RowShape { places: Vec::new(), fixed_end: 4 },
            key_entry: RowShape { places: Vec::new(), fixed_end: 1 },
            form: Form::Row,
            nulls,
        };
        let (mut row, mut entry) = (Placer::new(4), Placer::new(1));
        let keys = def.primary_key.len();
        if !unique {
            layout.push_uniquifier(keys, &mut row);
        }
        for logical in order {
            let column = &def.columns[logical];
            if column.computed {
                layout.of_logical[logical] = NOT_STORED;
                continue;
            }
            let ordinal = def.primary_key.iter().position(|c| *c == logical);
            layout.of_logical[logical] = layout.columns.len();
            let place = row.place(&column.sql_type);
            layout.row.places.push(place);
            layout.columns.push(StoredColumn {
                logical: Some(logical),
                id: logical as u32 + 1,
                number: layout.next_number(),
                sql_type: column.sql_type.clone(),
                nullable: column.nullable,
                key_ordinal: ordinal.map_or(0, |o| o as u16 + 1),
                place,
                internal: None,
                descending: false,
                uniquifier: false,
            });
        }
        for logical in &def.primary_key {
            let at = layout.of_logical[*logical];
            let place = entry.place(&def.columns[*logical].sql_type);
            layout.columns[at].internal = Some(place);
            layout.key_entry.places.push(place);
            layout.key.push(at);
        }
        if !unique {
            layout.key_by_uniquifier(0, &mut entry);
        }
        layout.row.fixed_end = row.end;
        layout.key_entry.fixed_end = entry.end;
        layout
    }

    fn push_uniquifier(&mut self, keys: usize, row: &mut Placer) {
        let place = row.variable();
        self.row.places.push(place);
        self.columns.push(StoredColumn::uniquifier(keys, place));
    }

    /// The column at a place is the last one of the key.
    pub fn key_by_uniquifier(&mut self, at: usize, entry: &mut Placer) {
        let place = entry.variable();
        self.columns[at].internal = Some(place);
        self.key_entry.places.push(place);
        self.key.push(at);
    }

    /// Whether keys of rows end with a number that tells them apart.
    pub fn has_uniquifier(&self) -> bool {
        self.columns.iter().any(|c| c.uniquifier)
    }

    /// The layout with one more column, behind all others: rows that are there already do not have it.
    pub fn with_column(&self, column: &ColumnDef, id: u32) -> Self {
        let mut layout = self.clone();
        if column.computed {
            layout.of_logical.push(NOT_STORED);
            return layout;
        }
        let variables = self.row.places.iter().filter(|p| matches!(p, Place::Variable { .. })).count() as u16;
        // A bit goes into the byte of those before it, where that has room.
        let bits = self.row.places.iter().filter_map(|p| match p {
            Place::Bit { offset, bit } => Some((*offset, *bit)),
            _ => None,
        });
        let mut placer = Placer { end: self.row.fixed_end, variables, bits: bits.max() };
        let place = placer.place(&column.sql_type);
        layout.row.places.push(place);
        layout.row.fixed_end = placer.end;
        layout.of_logical.push(layout.columns.len());
        layout.columns.push(StoredColumn {
            logical: Some(self.of_logical.len()),
            id,
            number: self.next_number(),
            sql_type: column.sql_type.clone(),
            nullable: column.nullable,
            key_ordinal: 0,
            place,
            internal: None,
            descending: false,
            uniquifier: false,
        });
        layout
    }

    /// What the next column of the rowset is known by.
    pub fn next_number(&self) -> u32 {
        self.columns.iter().map(|c| c.number).max().unwrap_or_default() + 1
    }

    /// What the next column that is dropped is known by.
    pub fn next_dropped(&self) -> u32 {
        DROPPED_COLUMNS
            + self.replaced
            + self.columns.iter().filter(|c| c.logical.is_none() && !c.uniquifier).count() as u32
    }

    /// The layout without a column, given by its place in the table: it keeps its place in the rows. `id` is what it is known
    /// by from now on.
    pub fn without_column(&self, logical: usize, id: u32) -> Self {
        let mut layout = self.clone();
        let at = layout.of_logical.remove(logical);
        if at != NOT_STORED {
            layout.columns[at].logical = None;
            layout.columns[at].id = id;
        }
        for column in &mut layout.columns {
            column.logical = column.logical.map(|l| if l > logical { l - 1 } else { l });
        }
        layout
    }

    /// The key of a row that is given by its values.
    pub fn key_of(&self, row: &Row) -> Vec<u8> {
        let mut key = Vec::new();
        for at in &self.key {
            let column = &self.columns[*at];
            let value = column.logical.and_then(|at| row[at].as_deref());
            self.push_key(column, value, &mut key);
        }
        key
    }

    /// The key of a row, or of an entry, as it stands on a page.
    pub fn key_of_image(&self, image: &[u8]) -> Vec<u8> {
        let mut key = Vec::new();
        self.put_key_of_image(image, &mut key);
        key
    }

    /// The same, in the place of another key.
    pub fn put_key_of_image(&self, image: &[u8], key: &mut Vec<u8>) {
        let record = self.read(image);
        key.clear();
        for at in &self.key {
            let column = &self.columns[*at];
            self.push_key(column, plain_value(&record, column.place, *at).as_deref(), key);
        }
    }

    /// The values of the key's columns in a row, or an entry, as it stands on a page.
    pub fn key_values(&self, image: &[u8]) -> Vec<Option<Vec<u8>>> {
        let record = self.read(image);
        self.key.iter().map(|at| Some(plain_value(&record, self.columns[*at].place, *at)?.into_owned())).collect()
    }

    /// The key of an entry above the leaves.
    pub fn key_of_entry(&self, entry: &[u8]) -> Vec<u8> {
        let record = FixedVar::read_index(entry, usize::from(self.key_entry.fixed_end + CHILD));
        let record = record.expect("our own entries are whole");
        let mut key = Vec::new();
        for (bit, (at, place)) in self.key.iter().zip(&self.key_entry.places).enumerate() {
            self.push_key(&self.columns[*at], plain_value(&record, *place, bit).as_deref(), &mut key);
        }
        key
    }

    /// Appends a part of a key in a form that sorts as bytes.
    pub fn push_key(&self, column: &StoredColumn, value: Option<&[u8]>, out: &mut Vec<u8>) {
        if column.uniquifier {
            return out.extend(uniquifier_number(value.unwrap_or_default()).to_be_bytes());
        }
        let begin = out.len();
        if (self.form == Form::Entry || self.nulls) && column.nullable {
            out.push(u8::from(value.is_some()));
        }
        if value.is_some() || !column.nullable {
            sort_key(&column.sql_type, value.unwrap_or_default(), out);
        }
        if column.descending {
            out[begin..].iter_mut().for_each(|b| *b = !*b);
        }
    }

    /// Bytes of a row, or of an entry, at most: as `sysrowsets.maxleaf` says it.
    pub fn max_leaf(&self) -> u32 {
        let nulls = 2 + self.columns.len().div_ceil(8) as u32;
        u32::from(self.row.fixed_end) + nulls + longest_variables(self.columns.iter().map(|c| (c.place, &c.sql_type)))
    }

    /// Bytes of an entry above the leaves, at least and at most.
    pub fn internal_sizes(&self) -> (u16, u16) {
        if self.key.is_empty() {
            return (0, 0);
        }
        let least = self.key_entry.fixed_end + CHILD;
        let columns = self.key.iter().map(|at| &self.columns[*at]);
        let variable = longest_variables(columns.filter_map(|c| Some((c.internal?, &c.sql_type))));
        let most = u32::from(least) + 2 + self.key.len().div_ceil(8) as u32 + variable;
        (least, u16::try_from(most).unwrap_or(u16::MAX).max(INTERNAL_LEAST))
    }

    /// Whether a column of the key may be NULL: entries above the leaves have NULL bits then.
    pub fn null_keys(&self) -> bool {
        self.key.iter().any(|at| self.columns[*at].nullable)
    }

    fn read<'a>(&self, image: &'a [u8]) -> FixedVar<'a> {
        let record = match self.form {
            Form::Row => FixedVar::read(image),
            Form::Entry => FixedVar::read_index(image, usize::from(self.row.fixed_end)),
        };
        record.expect("our own rows are whole")
    }
}

/// A value that is in its row; `bit` is its NULL bit, counted from 0.
fn plain_value<'a>(record: &FixedVar<'a>, place: Place, bit: usize) -> Option<Cow<'a, [u8]>> {
    if bit < usize::from(record.column_count()) && record.is_null(bit as u16) {
        return None;
    }
    Some(match place {
        Place::Fixed { offset, len } => {
            Cow::Borrowed(record.fixed(usize::from(offset), usize::from(len)).expect("our own rows are whole"))
        }
        Place::Bit { offset, bit } => {
            let byte = record.fixed(usize::from(offset), 1).expect("our own rows are whole")[0];
            Cow::Owned(vec![byte >> bit & 1])
        }
        Place::Variable { index } => {
            let value = record.variable(usize::from(index)).expect("our own rows are whole");
            Cow::Borrowed(value.map(|v| v.bytes).unwrap_or_default())
        }
        Place::Sparse { .. } | Place::Compressed { .. } | Place::VarDecimal { .. } => {
            unreachable!("no table of ours has such columns")
        }
    })
}

/// Gives columns their places, one after the other.
pub(crate) struct Placer {
    pub end: u16,
    variables: u16,
    bits: Option<(u16, u8)>,
}

impl Placer {
    pub fn new(start: u16) -> Self {
        Placer { end: start, variables: 0, bits: None }
    }

    /// A place for a value that need not be there.
    pub fn variable(&mut self) -> Place {
        self.variables += 1;
        Place::Variable { index: self.variables - 1 }
    }

    pub fn place(&mut self, sql_type: &SqlType) -> Place {
        if *sql_type == SqlType::Bit {
            let (offset, bit) = match self.bits {
                Some((offset, bit)) if bit < 7 => (offset, bit + 1),
                _ => {
                    self.end += 1;
                    (self.end - 1, 0)
                }
            };
            self.bits = Some((offset, bit));
            return Place::Bit { offset, bit };
        }
        match fixed_len(sql_type) {
            Some(len) => {
                let offset = self.end;
                self.end += len;
                Place::Fixed { offset, len }
            }
            None => self.variable(),
        }
    }
}

/// Bytes of a key that are a uniquifier.
pub(crate) const UNIQUIFIER_LEN: usize = 4;

/// What stands in a row as a uniquifier, as a number.
fn uniquifier_number(value: &[u8]) -> u32 {
    value.first_chunk::<UNIQUIFIER_LEN>().map_or(0, |b| u32::from_le_bytes(*b))
}

/// What stands in a row as its uniquifier, by its key.
pub(crate) fn uniquifier_of(key: &[u8]) -> Vec<u8> {
    match key.last_chunk::<UNIQUIFIER_LEN>().map_or(0, |b| u32::from_be_bytes(*b)) {
        0 => Vec::new(),
        n => n.to_le_bytes().to_vec(),
    }
}

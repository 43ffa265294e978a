//! Tables: their columns, where these go in a row, and what orders their keys.

use logferry_model::{Collation, SqlType};
use logferry_mssql_format::encode::RowShape;
use logferry_mssql_format::page::RowId;
use logferry_mssql_format::row::{FixedVar, Place};

use super::Error;
use super::ddl::KeyKind;

/// One value per column, in the order of the column ids, in the form of [`SqlType`]'s table; `None` is NULL.
pub type Row = Vec<Option<Vec<u8>>>;

/// What a table is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDef {
    /// `dbo`, or a schema that was made before.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Columns; their ids count from 1.
    pub columns: Vec<ColumnDef>,
    /// Columns of the clustered index, which is the primary key unless it was made otherwise, by place in `columns`; empty for a heap.
    pub primary_key: Vec<usize>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDef {
    /// Its name.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// `IDENTITY(seed, increment)`
    pub identity: Option<Identity>,
    /// Computed and not persisted: no place in rows, always `None` in a [`Row`].
    pub computed: bool,
}

/// Where the values of an identity column begin, and how they go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The first value.
    pub seed: i64,
    /// From one to the next; not 0.
    pub increment: i64,
}

impl Identity {
    /// `IDENTITY(1,1)`
    pub const ONE: Identity = Identity { seed: 1, increment: 1 };
}

impl ColumnDef {
    /// A column that allows NULL.
    pub fn new(name: impl Into<String>, sql_type: SqlType) -> Self {
        ColumnDef { name: name.into(), sql_type, nullable: true, identity: None, computed: false }
    }

    /// The column, NOT NULL.
    pub fn not_null(self) -> Self {
        ColumnDef { nullable: false, ..self }
    }

    /// The column as `IDENTITY(1,1)`.
    pub fn identity(self) -> Self {
        ColumnDef { identity: Some(Identity::ONE), nullable: false, ..self }
    }
}

/// How a row is found again: by its key, or by its place in the heap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKey {
    /// Of tables with a primary key: the key's columns, in a form that sorts as bytes.
    Key(Vec<u8>),
    /// Of heaps: where the row is, or where its forwarding stub is.
    Rid(RowId),
}

/// SQL_Latin1_General_CP1_CI_AS
pub const DEFAULT_COLLATION: Collation = Collation(0x3400_D008);

/// A column as rows hold it, with what system tables say of it.
#[derive(Clone, Debug)]
pub(crate) struct StoredColumn {
    /// Place in [`TableDef::columns`]; none where the column was dropped.
    pub logical: Option<usize>,
    /// `sys.columns.column_id`
    pub id: u32,
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

/// Place in a layout of a column that rows do not have.
pub(super) const NOT_STORED: usize = usize::MAX;

/// Where the columns of a table are in its rows and keys.
#[derive(Clone, Debug)]
pub(crate) struct TableLayout {
    /// In the order of their NULL bits: key columns first.
    pub columns: Vec<StoredColumn>,
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
        let record = self.read(image);
        let mut key = Vec::new();
        for at in &self.key {
            let column = &self.columns[*at];
            self.push_key(column, plain_value(&record, column.place, *at).as_deref(), &mut key);
        }
        key
    }

    /// The values of the key's columns in a row, or an entry, as it stands on a page.
    pub fn key_values(&self, image: &[u8]) -> Vec<Option<Vec<u8>>> {
        let record = self.read(image);
        self.key.iter().map(|at| plain_value(&record, self.columns[*at].place, *at)).collect()
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
fn plain_value(record: &FixedVar<'_>, place: Place, bit: usize) -> Option<Vec<u8>> {
    if bit < usize::from(record.column_count()) && record.is_null(bit as u16) {
        return None;
    }
    Some(match place {
        Place::Fixed { offset, len } => {
            record.fixed(usize::from(offset), usize::from(len)).expect("our own rows are whole").to_vec()
        }
        Place::Bit { offset, bit } => {
            let byte = record.fixed(usize::from(offset), 1).expect("our own rows are whole")[0];
            vec![byte >> bit & 1]
        }
        Place::Variable { index } => {
            let value = record.variable(usize::from(index)).expect("our own rows are whole");
            value.map(|v| v.bytes.to_vec()).unwrap_or_default()
        }
        Place::Sparse { .. } | Place::Compressed { .. } | Place::VarDecimal { .. } => {
            unreachable!("no table of ours has such columns")
        }
    })
}

/// Gives columns their places, one after the other.
pub(super) struct Placer {
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
pub(super) const UNIQUIFIER_LEN: usize = 4;

/// What stands in a row as a uniquifier, as a number.
fn uniquifier_number(value: &[u8]) -> u32 {
    value.first_chunk::<UNIQUIFIER_LEN>().map_or(0, |b| u32::from_le_bytes(*b))
}

/// What stands in a row as its uniquifier, by its key.
pub(super) fn uniquifier_of(key: &[u8]) -> Vec<u8> {
    match key.last_chunk::<UNIQUIFIER_LEN>().map_or(0, |b| u32::from_be_bytes(*b)) {
        0 => Vec::new(),
        n => n.to_le_bytes().to_vec(),
    }
}

/// Bytes of a value of a type of fixed length.
pub(crate) fn fixed_len(sql_type: &SqlType) -> Option<u16> {
    let time = |scale: u8| match scale {
        0..=2 => 3,
        3..=4 => 4,
        _ => 5,
    };
    Some(match sql_type {
        SqlType::Bit | SqlType::TinyInt => 1,
        SqlType::SmallInt => 2,
        SqlType::Int | SqlType::SmallMoney | SqlType::Real | SqlType::SmallDateTime => 4,
        SqlType::BigInt | SqlType::Money | SqlType::Float | SqlType::DateTime | SqlType::RowVersion => 8,
        SqlType::Decimal { precision, .. } => match precision {
            0..=9 => 5,
            10..=19 => 9,
            20..=28 => 13,
            _ => 17,
        },
        SqlType::Date => 3,
        SqlType::Time { scale } => time(*scale),
        SqlType::DateTime2 { scale } => time(*scale) + 3,
        SqlType::DateTimeOffset { scale } => time(*scale) + 5,
        SqlType::UniqueIdentifier => 16,
        SqlType::Char { length, .. } | SqlType::Binary { length } => *length,
        SqlType::NChar { length, .. } => 2 * length,
        _ => return None,
    })
}

/// What `sysrscols` and `syscolpars` say of a type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TypeCodes {
    pub xtype: u8,
    pub utype: u32,
    pub length: u16,
    pub precision: u8,
    pub scale: u8,
    pub collation: u32,
    /// `sysrscols.ti`
    pub ti: u32,
    /// `sysrscols.maxinrowlen`
    pub max_in_row: u16,
}

impl TypeCodes {
    pub fn of(sql_type: &SqlType) -> Result<Self, Error> {
        let number = |xtype: u8, precision: u8, scale: u8| TypeCodes {
            xtype,
            utype: u32::from(xtype),
            length: fixed_len(sql_type).unwrap_or(0),
            precision,
            scale,
            ti: u32::from(xtype),
            ..TypeCodes::default()
        };
        let sized = |xtype: u8, bytes: u16, collation: Collation| TypeCodes {
            xtype,
            utype: u32::from(xtype),
            length: bytes,
            collation: collation.0,
            ti: u32::from(xtype) | u32::from(bytes) << 8,
            ..TypeCodes::default()
        };
        let max = |xtype: u8, collation: Collation| TypeCodes {
            xtype,
            utype: u32::from(xtype),
            length: 0xFFFF,
            collation: collation.0,
            ti: u32::from(xtype),
            max_in_row: 8000,
            ..TypeCodes::default()
        };
        let old_lob = |xtype: u8, collation: Collation| TypeCodes {
            xtype,
            utype: u32::from(xtype),
            length: 16,
            collation: collation.0,
            ti: u32::from(xtype) | 16 << 8,
            ..TypeCodes::default()
        };
        let scaled = |xtype: u8, precision: u8, scale: u8| TypeCodes {
            ti: u32::from(xtype) | u32::from(scale) << 8,
            ..number(xtype, precision, scale)
        };
        let none = Collation(0);
        Ok(match sql_type {
            SqlType::Bit => number(104, 1, 0),
            SqlType::TinyInt => number(48, 3, 0),
            SqlType::SmallInt => number(52, 5, 0),
            SqlType::Int => number(56, 10, 0),
            SqlType::BigInt => number(127, 19, 0),
            SqlType::SmallMoney => number(122, 10, 4),
            SqlType::Money => number(60, 19, 4),
            SqlType::Real => number(59, 24, 0),
            SqlType::Float => number(62, 53, 0),
            SqlType::Decimal { precision, scale } => TypeCodes {
                ti: 106 | u32::from(*precision) << 8 | u32::from(*scale) << 16,
                ..number(106, *precision, *scale)
            },
            SqlType::DateTime => number(61, 23, 3),
            SqlType::SmallDateTime => number(58, 16, 0),
            SqlType::Date => number(40, 10, 0),
            SqlType::Time { scale } => scaled(41, if *scale == 0 { 8 } else { 9 + scale }, *scale),
            SqlType::DateTime2 { scale } => scaled(42, if *scale == 0 { 19 } else { 20 + scale }, *scale),
            SqlType::DateTimeOffset { scale } => scaled(43, if *scale == 0 { 26 } else { 27 + scale }, *scale),
            SqlType::UniqueIdentifier => number(36, 0, 0),
            SqlType::RowVersion => number(189, 0, 0),
            SqlType::Char { length, collation } => sized(175, *length, *collation),
            SqlType::VarChar { length: Some(length), collation } => sized(167, *length, *collation),
            SqlType::VarChar { length: None, collation } => max(167, *collation),
            SqlType::NChar { length, collation } => sized(239, 2 * length, *collation),
            SqlType::NVarChar { length: Some(length), collation } => sized(231, 2 * length, *collation),
            SqlType::NVarChar { length: None, collation } => max(231, *collation),
            SqlType::Binary { length } => sized(173, *length, none),
            SqlType::VarBinary { length: Some(length) } => sized(165, *length, none),
            SqlType::VarBinary { length: None } => max(165, none),
            SqlType::Text { collation } => old_lob(35, *collation),
            SqlType::NText { collation } => old_lob(99, *collation),
            SqlType::Image => old_lob(34, none),
            SqlType::Xml => max(241, none),
            SqlType::HierarchyId => TypeCodes { xtype: 240, utype: 128, length: 892, ti: 240, ..TypeCodes::default() },
            SqlType::Geometry => TypeCodes { utype: 129, ..max(240, none) },
            SqlType::Geography => TypeCodes { utype: 130, ..max(240, none) },
            SqlType::Variant => TypeCodes { xtype: 98, utype: 98, length: 8016, ti: 98, ..TypeCodes::default() },
            other => return Err(Error::Unsupported(format!("columns of type {other:?}"))),
        })
    }
}

/// Appends a form of a key value that sorts as bytes in the order of the type. Strings are compared without regard to
/// ASCII case and trailing spaces; otherwise by code, which is not what collations say, but a total order.
pub(crate) fn sort_key(sql_type: &SqlType, value: &[u8], out: &mut Vec<u8>) {
    let reversed = |bytes: &[u8], out: &mut Vec<u8>| out.extend(bytes.iter().rev());
    match sql_type {
        SqlType::Bit | SqlType::TinyInt => out.extend_from_slice(value),
        SqlType::SmallInt | SqlType::Int | SqlType::BigInt | SqlType::SmallMoney | SqlType::Money => {
            let at = out.len();
            reversed(value, out);
            out[at] ^= 0x80;
        }
        SqlType::Real | SqlType::Float => {
            let at = out.len();
            reversed(value, out);
            if out[at] & 0x80 != 0 {
                out[at..].iter_mut().for_each(|b| *b = !*b);
            } else {
                out[at] ^= 0x80;
            }
        }
        SqlType::Decimal { .. } => {
            let at = out.len();
            let positive = value[0] != 0;
            out.push(u8::from(positive));
            reversed(&value[1..], out);
            if !positive {
                out[at + 1..].iter_mut().for_each(|b| *b = !*b);
            }
        }
        SqlType::DateTime => {
            let at = out.len();
            reversed(&value[4..], out);
            out[at] ^= 0x80;
            reversed(&value[..4], out);
        }
        SqlType::SmallDateTime => {
            reversed(&value[2..], out);
            reversed(&value[..2], out);
        }
        SqlType::Date | SqlType::Time { .. } => reversed(value, out),
        SqlType::DateTime2 { .. } => {
            let (time, date) = value.split_at(value.len() - 3);
            reversed(date, out);
            reversed(time, out);
        }
        SqlType::DateTimeOffset { .. } => {
            let (time, rest) = value.split_at(value.len() - 5);
            reversed(&rest[..3], out);
            reversed(time, out);
        }
        SqlType::UniqueIdentifier => {
            // The last group counts first.
            out.extend_from_slice(&value[10..16]);
            out.extend_from_slice(&value[8..10]);
            reversed(&value[6..8], out);
            reversed(&value[4..6], out);
            reversed(&value[0..4], out);
        }
        SqlType::NChar { .. } | SqlType::NVarChar { .. } => {
            let units: Vec<u16> = value.chunks_exact(2).map(|c| u16::from_le_bytes([c[0], c[1]])).collect();
            let len = units.iter().rposition(|u| *u != 0x20).map_or(0, |last| last + 1);
            for unit in &units[..len] {
                let lower = u8::try_from(*unit).map_or(*unit, |b| u16::from(b.to_ascii_lowercase()));
                out.extend(lower.saturating_add(1).to_be_bytes());
            }
            out.extend([0, 0]);
        }
        SqlType::Char { .. } | SqlType::VarChar { .. } => {
            let len = value.iter().rposition(|b| *b != b' ').map_or(0, |last| last + 1);
            terminated(value[..len].iter().map(u8::to_ascii_lowercase), out);
        }
        _ => terminated(value.iter().copied(), out),
    }
}

/// Bytes of any length, so that a shorter one that begins a longer one comes first.
fn terminated(bytes: impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    for b in bytes {
        out.push(b);
        if b == 0 {
            out.push(0xFF);
        }
    }
    out.extend([0, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sql_type: SqlType, in_order: &[&[u8]]) {
        let keys: Vec<Vec<u8>> = in_order
            .iter()
            .map(|v| {
                let mut key = Vec::new();
                sort_key(&sql_type, v, &mut key);
                key
            })
            .collect();
        assert!(keys.windows(2).all(|w| w[0] < w[1]), "{sql_type:?}: {keys:?}");
    }

    #[test]
    fn keys_sort_as_their_values() {
        let ints: Vec<[u8; 4]> = [i32::MIN, -2, -1, 0, 1, 256, i32::MAX].iter().map(|n| n.to_le_bytes()).collect();
        check(SqlType::Int, &ints.iter().map(|b| &b[..]).collect::<Vec<_>>());
        let floats: Vec<[u8; 8]> = [-1e300, -1.5, 0.0, 1e-9, 2.0].iter().map(|n: &f64| n.to_le_bytes()).collect();
        check(SqlType::Float, &floats.iter().map(|b| &b[..]).collect::<Vec<_>>());
        check(
            SqlType::Decimal { precision: 9, scale: 2 },
            &[&[0, 9, 1, 0, 0], &[0, 8, 0, 0, 0], &[1, 0, 0, 0, 0], &[1, 1, 0, 0, 0], &[1, 0, 1, 0, 0]],
        );
        check(SqlType::VarBinary { length: Some(9) }, &[&[], &[0], &[0, 0], &[0, 1], &[1], &[1, 0]]);
        check(SqlType::VarChar { length: Some(9), collation: DEFAULT_COLLATION }, &[b"", b"A", b"aa", b"B", b"bA"]);
        let mut low = [0xFF; 16];
        low[10] = 0;
        let mut high = [0; 16];
        high[10] = 1;
        check(SqlType::UniqueIdentifier, &[&low, &high]);
    }
}

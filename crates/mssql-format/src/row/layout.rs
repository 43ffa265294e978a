//! Where the columns of a table are in its rows.

use logferry_model::{Parts, RowRef, RowStore};

use crate::bytes::{Malformed, Result, slice, u16_at};
use crate::row::{FixedVar, OffRow, Packing, RawCell};

/// The columns of a rowset in the order of `TableVersion::columns`: a decode plan, compiled once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowLayout {
    columns: Vec<PhysicalColumn>,
    index_fixed_end: Option<usize>,
    sparse: bool,
    packing: RowPacking,
    columns_max: Option<usize>,
    needs: Needs,
    alike: Alike,
}

/// What rows that stand for themselves have in common ([`RowLayout::plain`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Alike {
    /// Columns of the fixed part, and room for the others.
    parts: Parts,
    /// The columns of the variable part, and which of its values each is.
    variable: Vec<(usize, usize)>,
    /// The columns that are a bit: the byte, and the bit in it.
    bits: Vec<(usize, usize, u8)>,
}

/// What a row must have for each column to be where the layout says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Needs {
    /// Bytes of the fixed part.
    fixed_end: usize,
    /// Bits of the NULL bitmap.
    null_bits: u16,
}

/// Whether rows must be expanded before they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum RowPacking {
    #[default]
    None,
    /// Decimals of variable length in uncompressed rows.
    VarDecimal,
    /// Compressed rows: which column each of a record's columns is.
    Compressed(Vec<Option<(usize, Packing)>>),
}

/// A column in the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhysicalColumn {
    /// Where its value is.
    pub place: Place,
    /// Its bit in the NULL bitmap, from 0. Rows that were written before the column was added have fewer bits.
    pub null_bit: u16,
    /// The value in rows that were written before the column was added: NULL, or the default given with it.
    pub missing: Option<Box<[u8]>>,
}

/// Where a column's value is in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In the fixed part.
    Fixed {
        /// from the begin of the row
        offset: u16,
        /// bytes
        len: u16,
    },
    /// A bit of a byte of the fixed part.
    Bit {
        /// from the begin of the row
        offset: u16,
        /// from 0
        bit: u8,
    },
    /// In the variable part.
    Variable {
        /// from 0
        index: u16,
    },
    /// In the vector of sparse columns.
    Sparse {
        /// `sys.columns.column_id`
        column_id: u16,
    },
    /// In a compressed row.
    Compressed {
        /// from 0
        index: u16,
        /// how it is stored there
        packing: Packing,
    },
    /// A decimal of variable length, in the variable part.
    VarDecimal {
        /// from 0
        index: u16,
        /// bytes of a cell
        len: u16,
        /// digits
        precision: u8,
        /// digits after the point
        scale: u8,
    },
}

const BITS: [&[u8]; 2] = [&[0], &[1]];
const SPARSE_VECTOR: u16 = 5;

impl RowLayout {
    /// A layout of rows on data pages.
    pub fn new(columns: Vec<PhysicalColumn>) -> Self {
        let sparse = columns.iter().any(|c| matches!(c.place, Place::Sparse { .. }));
        let packing = RowPacking::of(&columns);
        let (needs, alike) = (Needs::of(&columns), Alike::of(&columns));
        RowLayout { columns, index_fixed_end: None, sparse, packing, columns_max: None, needs, alike }
    }

    /// The layout of compressed rows that have so many columns at most, dropped ones and uniquifiers among them. Rows that say they have
    /// more are refused.
    pub fn with_columns_max(self, columns_max: usize) -> Self {
        RowLayout { columns_max: Some(columns_max), ..self }
    }

    /// Columns of a compressed row at most, where that is known.
    pub(super) fn columns_max(&self) -> Option<usize> {
        self.columns_max
    }

    /// A layout of index entries, or of keys in the log: their fixed part begins at byte 1 and ends at `fixed_end`.
    pub fn index(columns: Vec<PhysicalColumn>, fixed_end: usize) -> Self {
        RowLayout { index_fixed_end: Some(fixed_end), ..Self::new(columns) }
    }

    /// The columns.
    pub fn columns(&self) -> &[PhysicalColumn] {
        &self.columns
    }

    /// Whether rows must go through [`RowLayout::expand`] before they have cells.
    pub fn is_packed(&self) -> bool {
        self.packing != RowPacking::None
    }

    /// Whether rows are compressed.
    pub fn is_compressed(&self) -> bool {
        matches!(self.packing, RowPacking::Compressed(_))
    }

    /// The column that a compressed row has at a place, from 0.
    pub(super) fn packed_at(&self, index: usize) -> Option<(usize, Packing)> {
        match &self.packing {
            RowPacking::Compressed(columns) => columns.get(index).copied().flatten(),
            RowPacking::None | RowPacking::VarDecimal => None,
        }
    }

    /// Replaces `cells` by the cells of a row, one per column. `row` begins with the row and may go on after it.
    ///
    /// Live rows, forwarded records and ghosts are read alike: the caller looks at
    /// [`RecordKind`](crate::row::RecordKind) first.
    ///
    /// # Errors
    /// Where a column lies outside of the row, and for records that are no rows; and where rows are packed.
    pub fn decode<'a>(&'a self, row: &'a [u8], cells: &mut Vec<RawCell<'a>>) -> Result<()> {
        if self.is_packed() {
            return Err(Malformed::new("a packed row must be expanded", 0));
        }
        self.stored(row, cells)
    }

    /// A row that stands for itself: all its values are in its bytes, unpacked, and none is missing. `None` for all others, malformed ones among
    /// them: [`decode`](Self::decode) reads them, or says why not.
    #[inline]
    pub fn plain<'a>(&'a self, row: &'a [u8]) -> Option<PlainRow<'a>> {
        if self.sparse || self.is_packed() || self.index_fixed_end.is_some() {
            return None;
        }
        let record = FixedVar::read(row).ok()?;
        let has_all = record.column_count() >= self.needs.null_bits && record.fixed_end() >= self.needs.fixed_end;
        (has_all && record.is_plain()).then_some(PlainRow { layout: self, row: record })
    }

    /// The same, with values as they are stored.
    pub(super) fn stored<'a>(&'a self, row: &'a [u8], cells: &mut Vec<RawCell<'a>>) -> Result<()> {
        let record = match self.index_fixed_end {
            None => FixedVar::read(row)?,
            Some(end) => FixedVar::read_index(row, end)?,
        };
        let sparse = if self.sparse { SparseVector::find(&record)? } else { None };
        cells.clear();
        cells.reserve(self.columns.len());
        for column in &self.columns {
            cells.push(column.cell(&record, sparse.as_ref())?);
        }
        Ok(())
    }
}

impl Needs {
    fn of(columns: &[PhysicalColumn]) -> Self {
        let fixed = columns.iter().map(|column| match column.place {
            Place::Fixed { offset, len } => usize::from(offset) + usize::from(len),
            Place::Bit { offset, .. } => usize::from(offset) + 1,
            _ => 0,
        });
        let null_bits = columns.iter().map(|column| column.null_bit.saturating_add(1));
        Needs { fixed_end: fixed.max().unwrap_or(0), null_bits: null_bits.max().unwrap_or(0) }
    }
}

impl Alike {
    fn of(columns: &[PhysicalColumn]) -> Self {
        let mut alike = Alike::default();
        for (column, physical) in columns.iter().enumerate() {
            let part = match physical.place {
                Place::Fixed { offset, len } => Some(offset..offset.saturating_add(len)),
                Place::Bit { offset, bit } => {
                    alike.bits.push((column, usize::from(offset), bit & 7));
                    None
                }
                Place::Variable { index } => {
                    alike.variable.push((column, usize::from(index)));
                    None
                }
                // Rows with such columns do not stand for themselves.
                Place::Sparse { .. } | Place::Compressed { .. } | Place::VarDecimal { .. } => None,
            };
            alike.parts.push(part);
        }
        alike
    }
}

impl RowPacking {
    fn of(columns: &[PhysicalColumn]) -> Self {
        let mut packed = Vec::new();
        let mut vardecimal = false;
        for (column, physical) in columns.iter().enumerate() {
            match physical.place {
                Place::Compressed { index, packing } => {
                    let index = usize::from(index);
                    packed.resize(packed.len().max(index + 1), None);
                    packed[index] = Some((column, packing));
                }
                Place::VarDecimal { .. } => vardecimal = true,
                _ => {}
            }
        }
        match packed.is_empty() {
            false => RowPacking::Compressed(packed),
            true if vardecimal => RowPacking::VarDecimal,
            true => RowPacking::None,
        }
    }
}

/// See [`RowLayout::plain`].
#[derive(Clone, Copy, Debug)]
pub struct PlainRow<'a> {
    layout: &'a RowLayout,
    row: FixedVar<'a>,
}

impl PlainRow<'_> {
    /// Adds the row to a store: its bytes as they are, and where its values lie in them.
    #[inline]
    pub fn push_to(&self, rows: &mut RowStore) -> RowRef {
        let RowLayout { columns, alike, .. } = self.layout;
        let mut out = rows.start_alike(self.row.bytes(), &alike.parts);
        for &(column, index) in &alike.variable {
            out.set_part(column, self.row.plain_variable(index));
        }
        for &(column, offset, bit) in &alike.bits {
            let byte = self.row.bytes().get(offset).copied().unwrap_or_default();
            out.set_value(column, BITS[usize::from(byte >> bit & 1)]);
        }
        if self.row.has_nulls() {
            for (column, physical) in columns.iter().enumerate() {
                if self.row.is_null(physical.null_bit) {
                    out.set_null(column);
                }
            }
        }
        out.finish()
    }
}

impl PhysicalColumn {
    fn cell<'a>(&'a self, row: &FixedVar<'a>, sparse: Option<&SparseVector<'a>>) -> Result<RawCell<'a>> {
        if let Place::Sparse { column_id } = self.place {
            return sparse.map_or(Ok(RawCell::Null), |vector| vector.cell(column_id));
        }
        // Rows without a bitmap have all their columns.
        if self.null_bit >= row.column_count() && row.column_count() != 0 {
            return Ok(self.missing.as_deref().map_or(RawCell::Null, RawCell::Bytes));
        }
        if row.is_null(self.null_bit) {
            return Ok(RawCell::Null);
        }
        match self.place {
            Place::Fixed { offset, len } => row.fixed(usize::from(offset), usize::from(len)).map(RawCell::Bytes),
            Place::Bit { offset, bit } => {
                let [byte] = row.fixed_array(usize::from(offset))?;
                Ok(RawCell::Bytes(if byte >> (bit & 7) & 1 == 0 { BITS[0] } else { BITS[1] }))
            }
            Place::Variable { index } | Place::VarDecimal { index, .. } => match row.variable(usize::from(index))? {
                None => Ok(RawCell::Bytes(&[])),
                Some(value) if value.complex => OffRow::read(value.bytes).map(RawCell::OffRow),
                Some(value) => Ok(RawCell::Bytes(value.bytes)),
            },
            Place::Sparse { .. } => Ok(RawCell::Null),
            Place::Compressed { .. } => Err(Malformed::new("the row is not compressed, its table is", 0)),
        }
    }
}

/// The values of a row's sparse columns that are not NULL; the last variable column of the row.
///
/// ```text
/// 0 u16 5   2 u16 count   4 u16 column ids   u16 ends, from the begin of the vector   values
/// ```
struct SparseVector<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> SparseVector<'a> {
    fn find(row: &FixedVar<'a>) -> Result<Option<Self>> {
        let Some(last) = row.variable_count().checked_sub(1) else { return Ok(None) };
        let Some(value) = row.variable(last)? else { return Ok(None) };
        if !value.complex || u16_at(value.bytes, 0, "sparse vector")? != SPARSE_VECTOR {
            return Ok(None);
        }
        Ok(Some(SparseVector {
            bytes: value.bytes,
            count: usize::from(u16_at(value.bytes, 2, "number of sparse columns")?),
        }))
    }

    fn cell(&self, column_id: u16) -> Result<RawCell<'a>> {
        let ids = slice(self.bytes, 4, 2 * self.count, "ids of the sparse columns")?;
        let ends = slice(self.bytes, 4 + 2 * self.count, 2 * self.count, "ends of the sparse columns")?;
        let Some(at) = ids.as_chunks().0.iter().position(|id| u16::from_le_bytes(*id) == column_id) else {
            return Ok(RawCell::Null);
        };
        let end = u16_at(ends, 2 * at, "end of a sparse column")?;
        let start = match at.checked_sub(1) {
            Some(before) => u16_at(ends, 2 * before, "end of a sparse column")? & 0x7FFF,
            None => u16::try_from(4 + 4 * self.count).unwrap_or(u16::MAX),
        };
        match self.bytes.get(usize::from(start)..usize::from(end & 0x7FFF)) {
            Some(bytes) if end & 0x8000 != 0 => OffRow::read(bytes).map(RawCell::OffRow),
            Some(bytes) => Ok(RawCell::Bytes(bytes)),
            None => {
                Err(Malformed::new(format!("sparse column {column_id} lies outside its vector"), usize::from(start)))
            }
        }
    }
}

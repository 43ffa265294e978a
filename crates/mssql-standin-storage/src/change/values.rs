//! Values of rows: what stands in a row, what outside of it.

use std::sync::Arc;

use logferry_model::SqlType;
use logferry_mssql_format::encode::{ColumnImage, encode_row};
use logferry_mssql_format::row::{FixedVar, Place, status};

use super::super::space::UnitKind;
use super::super::table::{StoredColumn, TableLayout};
use super::super::{By, Database, Error, ROW_MAX, Row};

/// Longest value of a `(max)` column that stays in its row.
const IN_ROW_MAX: usize = 8000;
/// Bytes that stand in a row for a value outside it, at most: an overflow pointer; a root with five links.
const OVERFLOW_POINTER: usize = 24;
const ROOT_POINTER: usize = 72;
const TAG: usize = 14;
/// Rows on a page of the version store.
const VERSIONS_A_PAGE: u32 = 64;

/// A physical value on its way into a row.
#[derive(Clone, Debug)]
pub(crate) enum Stored {
    Null,
    Bytes(Vec<u8>),
    /// What stands in the row for a value outside of it.
    Pointer(Vec<u8>),
    /// A value that will be written outside of the row.
    OffRow(UnitKind, Vec<u8>),
    /// The same, of a type that has its root outside of the row too.
    Text(Vec<u8>),
}

impl Stored {
    fn len(&self) -> usize {
        match self {
            Stored::Null => 0,
            Stored::Bytes(b) | Stored::Pointer(b) => b.len(),
            Stored::OffRow(UnitKind::Overflow, _) => OVERFLOW_POINTER,
            Stored::OffRow(..) => ROOT_POINTER,
            Stored::Text(_) => 16,
        }
    }
}

impl Database {
    /// Decides which values go outside of the row.
    pub(super) fn plan(&self, layout: &TableLayout, mut values: Vec<Stored>) -> Result<Vec<Stored>, Error> {
        let variables = layout.columns.iter().filter(|c| matches!(c.place, Place::Variable { .. })).count();
        let tag = if self.options.row_versions { TAG } else { 0 };
        let head = usize::from(layout.row.fixed_end) + 2 + values.len().div_ceil(8) + 2 + 2 * variables + tag;
        loop {
            let is_variable = |at: usize| matches!(layout.columns[at].place, Place::Variable { .. });
            let data: usize = values.iter().enumerate().filter(|(at, _)| is_variable(*at)).map(|(_, v)| v.len()).sum();
            if head + data <= ROW_MAX {
                return Ok(values);
            }
            let longest = (0..values.len())
                .filter(|at| is_variable(*at) && layout.columns[*at].key_ordinal == 0)
                .filter(|at| match &values[*at] {
                    Stored::Bytes(b) if layout.columns[*at].sql_type.is_lob() => b.len() > ROOT_POINTER,
                    Stored::Bytes(b) => b.len() > OVERFLOW_POINTER,
                    _ => false,
                })
                .max_by_key(|at| values[*at].len());
            let Some(at) = longest else { return Err(Error::RowTooLong(head + data)) };
            let kind = if layout.columns[at].sql_type.is_lob() { UnitKind::Lob } else { UnitKind::Overflow };
            if let Stored::Bytes(bytes) = &mut values[at] {
                values[at] = Stored::OffRow(kind, std::mem::take(bytes));
            }
        }
    }

    /// Writes what goes outside, then makes the row.
    ///
    /// `older`: the row was there before, in a version that its tag points to.
    pub(super) fn write_values(&mut self, by: By, rowset: u64, values: Vec<Stored>, older: bool) -> Vec<u8> {
        let values: Vec<Stored> = values
            .into_iter()
            .map(|value| match value {
                Stored::OffRow(kind, bytes) => Stored::Pointer(self.lob_write(by, rowset, kind, &bytes)),
                Stored::Text(bytes) => Stored::Pointer(self.text_write(by, rowset, &bytes)),
                value => value,
            })
            .collect();
        let images: Vec<ColumnImage<'_>> = values
            .iter()
            .map(|value| match value {
                Stored::Bytes(b) => ColumnImage::Bytes(b),
                Stored::Pointer(b) => ColumnImage::Pointer(b),
                _ => ColumnImage::Null,
            })
            .collect();
        let mut tag = [0; TAG];
        if older && self.options.row_versions {
            // Page, file and slot of the version store, which this engine does not have.
            self.next_version += 1;
            tag[..4].copy_from_slice(&(0x100 + self.next_version / VERSIONS_A_PAGE).to_le_bytes());
            tag[4] = 1;
            tag[6] = (self.next_version % VERSIONS_A_PAGE) as u8;
        }
        tag[8..].copy_from_slice(&super::super::tree::xact_of(by).to_le_bytes()[..6]);
        let mut image = Vec::new();
        let layout = Arc::clone(&self.rowset(rowset).layout);
        encode_row(&layout.row, &images, self.options.row_versions.then_some(&tag), &mut image);
        image
    }

    /// A row in another layout of the same table; values outside of it stay there.
    pub(crate) fn moved_row(&self, from: &TableLayout, to: &TableLayout, image: &[u8]) -> Vec<u8> {
        let own = from.columns.iter().zip(stored_values(from, image)).find(|(c, _)| c.uniquifier);
        let uniquifier = match own {
            Some((_, Stored::Bytes(bytes))) => bytes,
            _ => Vec::new(),
        };
        self.uniquified_row(from, to, image, &uniquifier)
    }

    /// The same, with what makes it unique.
    pub(crate) fn uniquified_row(
        &self,
        from: &TableLayout,
        to: &TableLayout,
        image: &[u8],
        uniquifier: &[u8],
    ) -> Vec<u8> {
        let values = stored_values(from, image);
        let images: Vec<ColumnImage<'_>> = to
            .columns
            .iter()
            .map(|column| match column.logical.and_then(|at| values.get(from.of_logical[at])) {
                _ if column.uniquifier => ColumnImage::Bytes(uniquifier),
                Some(Stored::Bytes(b)) => ColumnImage::Bytes(b),
                Some(Stored::Pointer(b)) => ColumnImage::Pointer(b),
                _ => ColumnImage::Null,
            })
            .collect();
        let tagged = image[0] & status::VERSION_TAG != 0;
        let tag = image.last_chunk::<TAG>().filter(|_| tagged).copied().unwrap_or_default();
        let mut out = Vec::new();
        encode_row(&to.row, &images, self.options.row_versions.then_some(&tag), &mut out);
        out
    }
}

/// A value that is not stored yet.
pub(super) fn fresh(sql_type: &SqlType, value: Option<&[u8]>) -> Stored {
    match value {
        None => Stored::Null,
        Some(bytes) if is_text(sql_type) => Stored::Text(bytes.to_vec()),
        Some(bytes) if sql_type.is_lob() && bytes.len() > IN_ROW_MAX => Stored::OffRow(UnitKind::Lob, bytes.to_vec()),
        Some(bytes) => Stored::Bytes(bytes.to_vec()),
    }
}

/// The bytes of a fixed column stay in the row when it becomes NULL (observed on 2016: only its NULL bit is logged).
pub(super) fn keep_nulls(layout: &TableLayout, before: &[u8], image: &mut [u8]) {
    let Ok(old) = FixedVar::read(before) else { return };
    for (bit, column) in layout.columns.iter().enumerate() {
        let Place::Fixed { offset, len } = column.place else { continue };
        let range = usize::from(offset)..usize::from(offset + len);
        let is_null = FixedVar::read(image).is_ok_and(|new| new.is_null(bit as u16));
        if is_null
            && range.end <= old.fixed_end()
            && let (Some(to), Some(from)) = (image.get_mut(range.clone()), before.get(range))
        {
            to.copy_from_slice(from);
        }
    }
}

/// The value of a column in a row that a caller gave; a dropped column has none.
pub(super) fn value_of<'a>(column: &StoredColumn, row: &'a Row) -> Option<&'a [u8]> {
    row[column.logical?].as_deref()
}

/// Types whose values are never in the row.
pub(super) fn is_text(sql_type: &SqlType) -> bool {
    matches!(sql_type, SqlType::Text { .. } | SqlType::NText { .. } | SqlType::Image)
}

/// The values of a row that has none outside of it.
pub(crate) fn plain_row(layout: &TableLayout, image: &[u8]) -> Row {
    let mut row: Row = vec![None; layout.of_logical.len()];
    for (column, value) in layout.columns.iter().zip(stored_values(layout, image)) {
        if let (Some(at), Stored::Bytes(bytes)) = (column.logical, value) {
            row[at] = Some(bytes);
        }
    }
    row
}

/// The values of a row as it stands on a page.
pub(crate) fn stored_values(layout: &TableLayout, image: &[u8]) -> Vec<Stored> {
    let record = FixedVar::read(image).expect("our own rows are whole");
    layout
        .columns
        .iter()
        .enumerate()
        .map(|(bit, column)| {
            // A row that was written before the column was added does not have it.
            let is_value = column.logical.is_some() || column.uniquifier;
            if !is_value || bit >= usize::from(record.column_count()) || record.is_null(bit as u16) {
                return Stored::Null;
            }
            match column.place {
                Place::Fixed { offset, len } => {
                    let value = record.fixed(usize::from(offset), usize::from(len));
                    Stored::Bytes(value.expect("our own rows are whole").to_vec())
                }
                Place::Bit { offset, bit } => {
                    let byte = record.fixed(usize::from(offset), 1).expect("our own rows are whole")[0];
                    Stored::Bytes(vec![byte >> bit & 1])
                }
                Place::Variable { index } => {
                    match record.variable(usize::from(index)).expect("our own rows are whole") {
                        Some(v) if v.complex => Stored::Pointer(v.bytes.to_vec()),
                        Some(v) => Stored::Bytes(v.bytes.to_vec()),
                        None => Stored::Bytes(Vec::new()),
                    }
                }
                Place::Sparse { .. } | Place::Compressed { .. } | Place::VarDecimal { .. } => {
                    unreachable!("no table of ours has such columns")
                }
            }
        })
        .collect()
}

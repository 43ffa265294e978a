//! Rows and keys to bytes.

use crate::page::RowId;
use crate::row::{FixedVar, Place, status};

/// The value of a physical column, in its stored form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnImage<'a> {
    /// SQL NULL.
    Null,
    /// A value in the row.
    Bytes(&'a [u8]),
    /// What stands in the row for a value outside it: its end offset gets the top bit.
    Pointer(&'a [u8]),
}

/// Where the columns of a rowset go. Columns are in the order of their NULL bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowShape {
    /// Place of each column; its index is its NULL bit.
    pub places: Vec<Place>,
    /// Where the fixed part ends, from the begin of the row.
    pub fixed_end: u16,
}

/// Appends a row of a data page to `out`. `values` are in the order of `shape.places`; `tag` is the version tag of databases
/// that keep row versions.
///
/// # Panics
/// When a fixed value has another length than its column.
pub fn encode_row(shape: &RowShape, values: &[ColumnImage<'_>], tag: Option<&[u8; 14]>, out: &mut Vec<u8>) {
    let start = out.len();
    let variable = stored_variables(shape, values);
    let mut first = status::NULLS;
    if variable > 0 {
        first |= status::VARIABLE;
    }
    if tag.is_some() {
        first |= status::VERSION_TAG;
    }
    out.extend([first, 0]);
    out.extend(shape.fixed_end.to_le_bytes());
    out.resize(start + usize::from(shape.fixed_end), 0);
    write_fixed(shape, values, &mut out[start..]);
    write_nulls(values, out);
    write_variables(shape, values, variable, start, out);
    if let Some(tag) = tag {
        out.extend(tag);
    }
}

/// A row of a heap as it stands where it was moved to: `home` is the place that the heap knows it by, and becomes its last
/// variable column.
///
/// # Panics
/// When `row` is no row.
pub fn encode_forwarded(row: &[u8], home: RowId) -> Vec<u8> {
    let record = FixedVar::read(row).expect("a row that was encoded here");
    let tag = record.version_tag().expect("a row that was encoded here").unwrap_or_default();
    let nulls_end = record.fixed_end() + 2 + usize::from(record.column_count()).div_ceil(8);
    let (count, data) = match row[0] & status::VARIABLE {
        0 => (0, nulls_end),
        _ => {
            let count = usize::from(u16::from_le_bytes([row[nulls_end], row[nulls_end + 1]]));
            (count, nulls_end + 2 + 2 * count)
        }
    };
    // The offset of the new column goes in, and the count where there was none.
    let shift = if count == 0 { 4 } else { 2 };
    let mut out = row[..nulls_end].to_vec();
    out[0] = out[0] & !0x0E | 1 << 1 | status::VARIABLE;
    out.extend((count as u16 + 1).to_le_bytes());
    for end in row[data - 2 * count..data].chunks_exact(2) {
        out.extend((u16::from_le_bytes([end[0], end[1]]) + shift).to_le_bytes());
    }
    let data_end = row.len() - tag.len();
    let end = data_end + usize::from(shift) + 10;
    out.extend((end as u16 | 0x8000).to_le_bytes());
    out.extend_from_slice(&row[data..data_end]);
    out.extend([0x00, 0x04]);
    out.extend(home.to_bytes());
    out.extend_from_slice(tag);
    out
}

/// What a row of a heap leaves behind when it is moved.
pub fn encode_stub(target: RowId) -> Vec<u8> {
    let mut stub = vec![2 << 1];
    stub.extend(target.to_bytes());
    stub
}

/// Appends an index-style record: keys in log records, entries of index pages. The fixed part begins at byte 1;
/// `null_bitmap` says whether a NULL bitmap goes in; `child` is the page below, in entries of upper levels.
///
/// # Panics
/// When a fixed value has another length than its column.
pub fn encode_index_record(
    shape: &RowShape,
    values: &[ColumnImage<'_>],
    null_bitmap: bool,
    child: Option<[u8; 6]>,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    let variable = stored_variables(shape, values);
    let mut first = 3 << 1;
    if null_bitmap {
        first |= status::NULLS;
    }
    if variable > 0 {
        first |= status::VARIABLE;
    }
    out.push(first);
    out.resize(start + usize::from(shape.fixed_end), 0);
    write_fixed(shape, values, &mut out[start..]);
    if let Some(child) = child {
        out.extend(child);
    }
    if null_bitmap {
        write_nulls(values, out);
    }
    write_variables(shape, values, variable, start, out);
}

/// Variable columns up to the last that has a value that is not empty.
fn stored_variables(shape: &RowShape, values: &[ColumnImage<'_>]) -> usize {
    let mut count = 0;
    for (place, value) in shape.places.iter().zip(values) {
        if let (Place::Variable { index }, ColumnImage::Bytes(b) | ColumnImage::Pointer(b)) = (place, value)
            && !b.is_empty()
        {
            count = count.max(usize::from(*index) + 1);
        }
    }
    count
}

fn write_fixed(shape: &RowShape, values: &[ColumnImage<'_>], row: &mut [u8]) {
    for (place, value) in shape.places.iter().zip(values) {
        let ColumnImage::Bytes(bytes) = value else { continue };
        match *place {
            Place::Fixed { offset, len } => {
                assert_eq!(bytes.len(), usize::from(len), "a fixed column's value has its column's length");
                row[usize::from(offset)..][..bytes.len()].copy_from_slice(bytes);
            }
            Place::Bit { offset, bit } => {
                let set = bytes.first().is_some_and(|b| *b != 0);
                row[usize::from(offset)] |= u8::from(set) << bit;
            }
            Place::Variable { .. } | Place::Sparse { .. } | Place::Compressed { .. } | Place::VarDecimal { .. } => {}
        }
    }
}

fn write_nulls(values: &[ColumnImage<'_>], out: &mut Vec<u8>) {
    out.extend((values.len() as u16).to_le_bytes());
    for group in values.chunks(8) {
        let mut byte = 0u8;
        for (bit, value) in group.iter().enumerate() {
            byte |= u8::from(*value == ColumnImage::Null) << bit;
        }
        out.push(byte);
    }
}

fn write_variables(shape: &RowShape, values: &[ColumnImage<'_>], count: usize, start: usize, out: &mut Vec<u8>) {
    if count == 0 {
        return;
    }
    out.extend((count as u16).to_le_bytes());
    let ends = out.len();
    out.resize(ends + 2 * count, 0);
    // Columns may have their variable places in another order than their NULL bits.
    let mut by_index: Vec<Option<&ColumnImage<'_>>> = vec![None; count];
    for (place, value) in shape.places.iter().zip(values) {
        if let Place::Variable { index } = place
            && let Some(at) = by_index.get_mut(usize::from(*index))
        {
            *at = Some(value);
        }
    }
    for (n, value) in by_index.into_iter().enumerate() {
        let mut flag = 0;
        match value {
            Some(ColumnImage::Bytes(b)) => out.extend_from_slice(b),
            Some(ColumnImage::Pointer(b)) => {
                out.extend_from_slice(b);
                flag = 0x8000;
            }
            _ => {}
        }
        let end = u16::try_from(out.len() - start).ok().filter(|e| *e < 0x8000).expect("a row is shorter than 32 KiB");
        out[ends + 2 * n..][..2].copy_from_slice(&(end | flag).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::page::PageId;
    use crate::row::{PhysicalColumn, RawCell, RowLayout};

    #[derive(Clone, Debug)]
    enum Col {
        Fixed(u16),
        Bit,
        Variable,
    }

    fn column() -> impl Strategy<Value = (Col, bool, Vec<u8>)> {
        let kind = prop_oneof![(1u16..17).prop_map(Col::Fixed), Just(Col::Bit), Just(Col::Variable)];
        (kind, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..60))
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(columns in proptest::collection::vec(column(), 1..40), tagged: bool) {
            let mut shape = RowShape { places: Vec::new(), fixed_end: 4 };
            let (mut variables, mut bits) = (0u16, None::<(u16, u8)>);
            let mut values: Vec<Option<Vec<u8>>> = Vec::new();
            for (kind, null, data) in columns {
                let (place, value) = match kind {
                    Col::Fixed(len) => {
                        let offset = shape.fixed_end;
                        shape.fixed_end += len;
                        let mut value = data;
                        value.resize(usize::from(len), 7);
                        (Place::Fixed { offset, len }, value)
                    }
                    Col::Bit => {
                        let (offset, bit) = match bits {
                            Some((offset, bit)) if bit < 7 => (offset, bit + 1),
                            _ => {
                                shape.fixed_end += 1;
                                (shape.fixed_end - 1, 0)
                            }
                        };
                        bits = Some((offset, bit));
                        (Place::Bit { offset, bit }, vec![data.len() as u8 & 1])
                    }
                    Col::Variable => {
                        variables += 1;
                        (Place::Variable { index: variables - 1 }, data)
                    }
                };
                shape.places.push(place);
                values.push((!null).then_some(value));
            }
            let images: Vec<_> = values
                .iter()
                .map(|v| v.as_deref().map_or(ColumnImage::Null, ColumnImage::Bytes))
                .collect();
            let mut row = Vec::new();
            encode_row(&shape, &images, tagged.then_some(&[9; 14]), &mut row);
            let layout = RowLayout::new(
                shape
                    .places
                    .iter()
                    .enumerate()
                    .map(|(bit, place)| PhysicalColumn { place: *place, null_bit: bit as u16, missing: None })
                    .collect(),
            );
            let mut cells = Vec::new();
            layout.decode(&row, &mut cells).unwrap();
            let expect: Vec<_> = values.iter().map(|v| v.as_deref().map_or(RawCell::Null, RawCell::Bytes)).collect();
            prop_assert_eq!(&cells, &expect);
            prop_assert_eq!(FixedVar::read(&row).unwrap().record_len().unwrap(), row.len());

            let home = RowId { page: PageId::new(1, 300), slot: 7 };
            let moved = encode_forwarded(&row, home);
            let record = FixedVar::read(&moved).unwrap();
            prop_assert_eq!(record.forwarded_from().unwrap(), Some(home));
            prop_assert_eq!(record.record_len().unwrap(), moved.len());
            let mut cells = Vec::new();
            layout.decode(&moved, &mut cells).unwrap();
            let expect: Vec<_> = values.iter().map(|v| v.as_deref().map_or(RawCell::Null, RawCell::Bytes)).collect();
            prop_assert_eq!(cells, expect);
        }
    }

    #[test]
    fn a_key_is_as_the_log_has_it() {
        // Key of a row of syscolpars (id, number, colid), seen in a log of version 852.
        let shape = RowShape {
            places: vec![
                Place::Fixed { offset: 1, len: 4 },
                Place::Fixed { offset: 5, len: 2 },
                Place::Fixed { offset: 7, len: 4 },
            ],
            fixed_end: 11,
        };
        let values = [
            ColumnImage::Bytes(&[0x9e, 0x59, 0x54, 0x67]),
            ColumnImage::Bytes(&[0, 0]),
            ColumnImage::Bytes(&[1, 0, 0, 0]),
        ];
        let mut key = Vec::new();
        encode_index_record(&shape, &values, true, None, &mut key);
        assert_eq!(key, [0x16, 0x9e, 0x59, 0x54, 0x67, 0, 0, 1, 0, 0, 0, 3, 0, 0]);
    }
}

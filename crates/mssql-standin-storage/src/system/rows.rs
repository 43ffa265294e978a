//! Rows of system tables that say columns, and the values that such rows are made of.

use logferry_mssql_format::row::Place;

use super::super::table::{ColumnDef, StoredColumn, TypeCodes};
use super::super::{Error, Row};
use super::{DROPPED, UNIQUIFIER};

/// The row of `syscolpars` of a column.
pub(crate) fn column_row(object: u32, id: u32, column: &ColumnDef) -> Result<Row, Error> {
    let codes = TypeCodes::of(&column.sql_type)?;
    let padded = matches!(codes.xtype, 165 | 167 | 173 | 175 | 231 | 239);
    let status = u32::from(!column.nullable)
        | u32::from(padded) << 1
        | u32::from(column.identity.is_some()) << 2
        | u32::from(column.computed) << 4;
    let in_row = if codes.length == 0xFFFF { 8000 } else { codes.length };
    let identity = column.identity.map(|identity| {
        // Last value, seed and increment, in the form of the type; then that no value was handed out yet.
        let one = |n: i64| {
            let mut value = vec![0; usize::from(codes.length)];
            let digits = match codes.xtype {
                106 => {
                    value[0] = u8::from(n >= 0);
                    n.unsigned_abs().to_le_bytes()
                }
                _ => n.to_le_bytes(),
            };
            let at = usize::from(codes.xtype == 106);
            value.iter_mut().skip(at).zip(digits).for_each(|(to, from)| *to = from);
            value
        };
        let mut value = [one(identity.seed), one(identity.seed), one(identity.increment)].concat();
        value.push(1);
        value
    });
    Ok(vec![
        int(object),
        short(0),
        int(id),
        text(&column.name),
        tiny(codes.xtype),
        int(codes.utype),
        short(codes.length),
        tiny(codes.precision),
        tiny(codes.scale),
        int(codes.collation),
        int(status),
        short(in_row),
        int(0),
        int(0),
        int(0),
        identity,
    ])
}

/// The row of `sysrscols` of a column; `at` is its place in the layout.
pub(crate) fn stored_column_row(rowset: u64, at: usize, column: &StoredColumn) -> Result<Row, Error> {
    let codes = TypeCodes::of(&column.sql_type)?;
    let (leaf, bit) = place_codes(column.place);
    let internal = column.internal.map_or(0, |place| place_codes(place).0);
    let internal_bit = if column.internal.is_some() { at as u32 + 1 } else { 0 };
    let dropped = match column.logical {
        None if column.uniquifier => UNIQUIFIER,
        None => DROPPED,
        Some(_) => 0,
    };
    let status = dropped | if column.nullable { 0 } else { 0x80 };
    Ok(vec![
        long(rowset),
        int(column.id),
        int(column.number),
        long(0),
        int(codes.ti),
        int(codes.collation),
        short(column.key_ordinal),
        short(codes.max_in_row),
        int(status),
        int(u32::from(leaf as u16) | u32::from(internal as u16) << 16),
        int((at as u32 + 1) | internal_bit << 16),
        short(u16::from(bit)),
        None,
    ])
}

/// The lock element of an object.
pub(crate) fn object_lock(mode: u8, object: u32) -> Vec<u8> {
    let mut lock = vec![mode, 1, 0, 0x0C, 0, 0];
    lock.extend(object.to_le_bytes());
    lock.extend([0, 0]);
    lock
}

/// `offset` and `bitpos` of `sysrscols`: fixed columns count from the row's begin, variable ones down from -1.
fn place_codes(place: Place) -> (i16, u8) {
    match place {
        Place::Fixed { offset, .. } => (offset as i16, 0),
        Place::Bit { offset, bit } => (offset as i16, bit),
        Place::Variable { index } | Place::Compressed { index, .. } | Place::VarDecimal { index, .. } => {
            (-(index as i16) - 1, 0)
        }
        Place::Sparse { .. } => (0, 0),
    }
}

pub(crate) fn int(n: u32) -> Option<Vec<u8>> {
    Some(n.to_le_bytes().to_vec())
}

pub(crate) fn short(n: u16) -> Option<Vec<u8>> {
    Some(n.to_le_bytes().to_vec())
}

pub(crate) fn tiny(n: u8) -> Option<Vec<u8>> {
    Some(vec![n])
}

pub(crate) fn long(n: u64) -> Option<Vec<u8>> {
    Some(n.to_le_bytes().to_vec())
}

pub(crate) fn text(t: &str) -> Option<Vec<u8>> {
    Some(t.encode_utf16().flat_map(u16::to_le_bytes).collect())
}

//! `sql_variant`: the same parts in storage and in TDS, in another order.
//!
//! ```text
//! stored  ├ u8 type ┤ u8 1 ┤ properties ┤ value ┤
//! in TDS  ├ u32 length of all that follows ┤ u8 type ┤ u8 length of the properties ┤ properties ┤ value ┤
//!
//! type                      properties stored              properties in TDS
//! decimal, numeric          precision, scale               the same
//! time, datetime2, …offset  scale                          the same
//! binary, varbinary         u16 greatest length            the same
//! strings                   u16 greatest length, u32 collation   5 bytes of collation, u16 greatest length
//! ```
//!
//! `bit` is type 104 in storage and 50 in TDS.

use logferry_model::Collation;
use logferry_mssql_format::bytes::{Malformed, Result};

use super::collation::{from_wire, to_wire};
use super::value::{WrongCell, decimal};

const BIT_STORED: u8 = 104;
const BIT_SENT: u8 = 50;

/// Appends a stored variant with its length.
pub(super) fn put(cell: &[u8], out: &mut Vec<u8>) -> Result<(), WrongCell> {
    let [base, 1, rest @ ..] = cell else { return Err(WrongCell) };
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(if *base == BIT_STORED { BIT_SENT } else { *base });
    let (properties, value) = rest.split_at_checked(stored_properties(*base)).ok_or(WrongCell)?;
    match properties {
        [low, high, collation @ ..] if let Ok(collation) = <[u8; 4]>::try_from(collation) => {
            out.push(7);
            out.extend_from_slice(&to_wire(Collation(u32::from_le_bytes(collation))));
            out.extend_from_slice(&[*low, *high]);
        }
        _ => {
            out.push(properties.len() as u8);
            out.extend_from_slice(properties);
        }
    }
    out.extend_from_slice(swapped(*base, value).as_deref().unwrap_or(value));
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// A variant that a client sent, without its length, as it is stored.
pub(super) fn stored(sent: &[u8]) -> Result<Vec<u8>> {
    let broken = || Malformed::new("a sql_variant that is cut", 0);
    let [base, properties_len, rest @ ..] = sent else { return Err(broken()) };
    let (properties, value) = rest.split_at_checked(usize::from(*properties_len)).ok_or_else(broken)?;
    let base = if *base == BIT_SENT { BIT_STORED } else { *base };
    let mut cell = vec![base, 1];
    match (stored_properties(base), properties) {
        (6, &[a, b, c, d, e, low, high]) => {
            cell.extend_from_slice(&[low, high]);
            cell.extend_from_slice(&from_wire([a, b, c, d, e]).0.to_le_bytes());
        }
        (expect, _) if expect == properties.len() => cell.extend_from_slice(properties),
        _ => {
            return Err(Malformed::new(
                format!("a sql_variant of type {base} with {properties_len} bytes of properties"),
                1,
            ));
        }
    }
    if let (106 | 108, [precision, _]) = (base, properties) {
        cell.extend_from_slice(&decimal(*precision, value).ok_or_else(broken)?);
    } else {
        cell.extend_from_slice(swapped(base, value).as_deref().unwrap_or(value));
    }
    Ok(cell)
}

fn stored_properties(base: u8) -> usize {
    match base {
        41..=43 => 1,
        106 | 108 | 165 | 173 => 2,
        167 | 175 | 231 | 239 => 6,
        _ => 0,
    }
}

/// Of money, datetime and smalldatetime.
fn swapped(base: u8, value: &[u8]) -> Option<Vec<u8>> {
    matches!((base, value.len()), (60 | 61, 8) | (58, 4)).then(|| {
        let (first, second) = value.split_at(value.len() / 2);
        [second, first].concat()
    })
}

//! Types whose values have a structure of their own: `xml`, `hierarchyid`, `geometry`, `geography`, `vector`.
//!
//! ```text
//! vector   A9   element type u8, 1: f32   dimensions u16   0 u32   elements        (observed by others on 2025)
//! ```

use std::io::Write;

use logferry_mssql_format::spatial::Spatial;
use logferry_mssql_format::{binxml, hierarchy, spatial as spatial_format};

use crate::encode::text::{Changed, TextRules, utf16};
use crate::encode::{within_limit, written};
use crate::error::CellError;

/// `xml` to text: from binary XML, or from the UTF-16 that drivers get.
pub(crate) fn xml(cell: &[u8], rules: TextRules, out: &mut Vec<u8>) -> Result<Changed, CellError> {
    if cell.is_empty() || binxml::is_binary(cell) {
        binxml::text(cell, out).map_err(|_| CellError::Structure("the xml"))?;
        return Ok(Changed::default());
    }
    within_limit(cell.len() / 2)?;
    utf16(cell.strip_prefix(&[0xFF, 0xFE]).unwrap_or(cell), rules, out)
}

/// `hierarchyid` to its path.
pub(crate) fn hierarchyid(cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    hierarchy::path(cell, out).map_err(|_| CellError::Structure("the hierarchyid"))
}

/// `geometry` and `geography` to EWKB.
pub(crate) fn spatial(cell: &[u8], spatial: Spatial, out: &mut Vec<u8>) -> Result<(), CellError> {
    let what = match spatial {
        Spatial::Geometry => "the geometry",
        Spatial::Geography => "the geography",
    };
    spatial_format::ewkb(cell, spatial, out).map_err(|_| CellError::Structure(what))
}

/// `vector` to text: `[1,2.5]`.
pub(crate) fn vector(cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    const BROKEN: CellError = CellError::Structure("the vector");
    let [0xA9, 1, a, b, 0, 0, 0, 0, elements @ ..] = cell else { return Err(BROKEN) };
    let (elements, rest) = elements.as_chunks::<4>();
    if !rest.is_empty() || elements.len() != usize::from(u16::from_le_bytes([*a, *b])) {
        return Err(BROKEN);
    }
    out.push(b'[');
    for (at, element) in elements.iter().enumerate() {
        if at != 0 {
            out.push(b',');
        }
        let value = f32::from_le_bytes(*element);
        let plain = value == 0.0 || (1e-5..1e15).contains(&value.abs());
        written(if plain { write!(out, "{value}") } else { write!(out, "{value:e}") });
    }
    out.push(b']');
    Ok(())
}

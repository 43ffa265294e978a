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

/// `geometry` and `geography` to WKT.
pub(crate) fn wkt(cell: &[u8], spatial: Spatial, out: &mut Vec<u8>) -> Result<(), CellError> {
    let what = match spatial {
        Spatial::Geometry => "the geometry",
        Spatial::Geography => "the geography",
    };
    spatial_format::wkt(cell, spatial, out).map_err(|_| CellError::Structure(what))
}

/// `hierarchyid` to the binary form of `ltree`: a version, then labels with dots between. A label has letters, digits and underscores only:
/// `2.5` is `2_5`, `-3` is `n3`.
pub(crate) fn ltree(cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    const VERSION: u8 = 1;
    out.push(VERSION);
    let start = out.len();
    hierarchyid(cell, out)?;
    let mut path = out.split_off(start);
    path.pop();
    out.extend(path.iter().skip(1).map(|byte| match byte {
        b'/' => b'.',
        b'.' => b'_',
        b'-' => b'n',
        other => *other,
    }));
    Ok(())
}

const BROKEN_VECTOR: CellError = CellError::Structure("the vector");

/// The elements of a `vector`: from its bytes, or from the text that drivers get, `[1.0e+000,2.5e+000]` in UTF-16.
fn elements(cell: &[u8], mut each: impl FnMut(f32)) -> Result<usize, CellError> {
    if let [0xA9, 1, a, b, 0, 0, 0, 0, elements @ ..] = cell {
        let (elements, rest) = elements.as_chunks::<4>();
        if !rest.is_empty() || elements.len() != usize::from(u16::from_le_bytes([*a, *b])) {
            return Err(BROKEN_VECTOR);
        }
        elements.iter().for_each(|element| each(f32::from_le_bytes(*element)));
        return Ok(elements.len());
    }
    let (units, rest) = cell.as_chunks::<2>();
    let text: String = units.iter().map(|unit| char::from(if unit[1] == 0 { unit[0] } else { 0 })).collect();
    let inside = text.trim().strip_prefix('[').and_then(|text| text.strip_suffix(']')).filter(|_| rest.is_empty());
    let inside = inside.ok_or(BROKEN_VECTOR)?;
    let mut count = 0;
    for element in inside.split(',').map(str::trim).filter(|_| !inside.trim().is_empty()) {
        each(element.parse().map_err(|_| BROKEN_VECTOR)?);
        count += 1;
    }
    Ok(count)
}

/// `vector` to text: `[1,2.5]`.
pub(crate) fn vector_text(cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    out.push(b'[');
    let start = out.len();
    elements(cell, |value| {
        if out.len() != start {
            out.push(b',');
        }
        let plain = value == 0.0 || (1e-5..1e15).contains(&value.abs());
        written(if plain { write!(out, "{value}") } else { write!(out, "{value:e}") });
    })?;
    out.push(b']');
    Ok(())
}

/// `vector` to the binary form of pgvector's: dimensions, two bytes that are not used, elements.
pub(crate) fn pgvector(cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    let head = out.len();
    out.extend_from_slice(&[0; 4]);
    let count = elements(cell, |value| out.extend(value.to_be_bytes()))?;
    // pgvector has none without elements, SQL Server neither.
    let dimensions = u16::try_from(count).ok().filter(|count| *count > 0).ok_or(BROKEN_VECTOR)?;
    out[head..head + 2].copy_from_slice(&dimensions.to_be_bytes());
    Ok(())
}

/// `vector` to the binary form of `real[]`: dimensions, whether there are NULLs, type of the elements; their number, the first one's; elements.
pub(crate) fn vector_array(cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    const REAL: u32 = 700;
    let head = out.len();
    for word in [1, 0, REAL, 0, 1] {
        out.extend(word.to_be_bytes());
    }
    let count = elements(cell, |value| {
        out.extend(4u32.to_be_bytes());
        out.extend(value.to_be_bytes());
    })?;
    if count == 0 {
        // An empty array has no dimensions.
        out.truncate(head + 12);
        out[head..head + 4].fill(0);
    } else {
        // A vector has at most 1,998 elements; its length in bytes is that of a value.
        out[head + 12..head + 16].copy_from_slice(&(count as u32).to_be_bytes());
    }
    Ok(())
}

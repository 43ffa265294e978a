//! EWKB to WKT, as PostGIS spells it: `SRID=4326;POINT Z (1 2 3)`.
//!
//! A Z or M that a point does not have is `NaN`; `FULLGLOBE` is a word of SQL Server's alone.

use std::io::Write;

use super::{EWKB_M, EWKB_SRID, EWKB_Z, Spatial, ewkb, shape};
use crate::bytes::{Malformed, Result, array, u8_at, u32_at};

/// One point, one line, and valid: no shapes of its own.
const FULL_GLOBE: u8 = 11;

/// Appends a value as WKT, with its SRID in front where it has one.
///
/// # Errors
/// For a malformed value.
pub fn wkt(bytes: &[u8], spatial: Spatial, out: &mut Vec<u8>) -> Result<()> {
    if is_full_globe(bytes) {
        let srid = i32::from_le_bytes(array(bytes, 0, "SRID")?);
        written(if srid == 0 { write!(out, "FULLGLOBE") } else { write!(out, "SRID={srid};FULLGLOBE") });
        return Ok(());
    }
    let mut binary = Vec::new();
    ewkb(bytes, spatial, &mut binary)?;
    let mut reader = Reader { bytes: &binary, at: 0 };
    reader.geometry(false, out)
}

/// No points, no figures, one shape of that type.
fn is_full_globe(bytes: &[u8]) -> bool {
    let counts = [(6, 0), (10, 0), (14, 1)];
    counts.iter().all(|&(at, count)| u32_at(bytes, at, "count") == Ok(count))
        && u8_at(bytes, 26, "type of a shape") == Ok(FULL_GLOBE)
}

fn written(outcome: std::io::Result<()>) {
    outcome.expect("a vector takes what is written");
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn u32(&mut self) -> Result<u32> {
        self.at += 4;
        u32_at(self.bytes, self.at - 4, "EWKB")
    }

    /// `bare`: without its name, as members of a collection of one kind are.
    fn geometry(&mut self, bare: bool, out: &mut Vec<u8>) -> Result<()> {
        self.at += 1;
        let head = self.u32()?;
        if head & EWKB_SRID != 0 {
            let srid = self.u32()?;
            written(write!(out, "SRID={srid};"));
        }
        let (has_z, has_m) = (head & EWKB_Z != 0, head & EWKB_M != 0);
        let dimensions = 2 + usize::from(has_z) + usize::from(has_m);
        let kind = head as u8;
        let name = match kind {
            shape::POINT => "POINT",
            shape::LINE_STRING => "LINESTRING",
            shape::POLYGON => "POLYGON",
            shape::MULTI_POINT => "MULTIPOINT",
            5 => "MULTILINESTRING",
            6 => "MULTIPOLYGON",
            shape::COLLECTION => "GEOMETRYCOLLECTION",
            shape::CIRCULAR_STRING => "CIRCULARSTRING",
            shape::COMPOUND_CURVE => "COMPOUNDCURVE",
            shape::CURVE_POLYGON => "CURVEPOLYGON",
            other => return Err(Malformed::new(format!("EWKB of the unknown type {other}"), self.at)),
        };
        if !bare {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(match (has_z, has_m) {
                (false, false) => b" ",
                (true, false) => b" Z ",
                (false, true) => b" M ",
                (true, true) => b" ZM ",
            });
        }
        match kind {
            shape::POINT => {
                let coordinates = self.bytes.get(self.at..self.at + 8 * dimensions).unwrap_or_default();
                if coordinates.as_chunks::<8>().0.iter().all(|c| f64::from_le_bytes(*c).is_nan()) {
                    self.at += 8 * dimensions;
                    out.extend_from_slice(b"EMPTY");
                } else {
                    out.push(b'(');
                    self.point(dimensions, out)?;
                    out.push(b')');
                }
                Ok(())
            }
            shape::LINE_STRING | shape::CIRCULAR_STRING => self.list(out, |r, out| r.point(dimensions, out)),
            shape::POLYGON => self.list(out, |r, out| r.list(out, |r, out| r.point(dimensions, out))),
            shape::COLLECTION => self.list(out, |r, out| r.geometry(false, out)),
            // Lines in curves have no name, all else has.
            shape::COMPOUND_CURVE | shape::CURVE_POLYGON => self.list(out, |r, out| {
                let line = u32_at(r.bytes, r.at + 1, "EWKB").is_ok_and(|head| head as u8 == shape::LINE_STRING);
                r.geometry(line, out)
            }),
            _ => self.list(out, |r, out| r.geometry(true, out)),
        }
    }

    fn list(&mut self, out: &mut Vec<u8>, mut each: impl FnMut(&mut Self, &mut Vec<u8>) -> Result<()>) -> Result<()> {
        let count = self.u32()?;
        if count == 0 {
            out.extend_from_slice(b"EMPTY");
            return Ok(());
        }
        for at in 0..count {
            out.extend_from_slice(if at == 0 { b"(" } else { b", " });
            each(self, out)?;
        }
        out.push(b')');
        Ok(())
    }

    fn point(&mut self, dimensions: usize, out: &mut Vec<u8>) -> Result<()> {
        for at in 0..dimensions {
            let value = f64::from_le_bytes(array(self.bytes, self.at, "EWKB")?);
            self.at += 8;
            let space = if at == 0 { "" } else { " " };
            let plain = value == 0.0 || (1e-5..1e15).contains(&value.abs()) || value.is_nan();
            written(if plain { write!(out, "{space}{value}") } else { write!(out, "{space}{value:e}") });
        }
        Ok(())
    }
}

//! `geometry` and `geography` to EWKB, the form that PostGIS reads.
//!
//! ```text
//! 0 SRID i32   4 version u8, 1 or 2   5 properties u8: 1 Z, 2 M, 4 valid, 8 one point, 16 one line of two points, 32 larger than a hemisphere
//!
//! points u32, each two f64   Z of each   M of each   figures u32, each u8 attribute, u32 first point
//! shapes u32, each i32 parent, i32 first figure, u8 type   version 2, where there are curves of several kinds: segments u32, each u8
//! ```
//!
//! One point and one line have no counts, figures and shapes. Shapes come parent first, figures and points in the order of the shapes.
//! A `geography` has the latitude first; in EWKB the longitude is. A Z or M that a point does not have is NaN on both sides.
//!
//! EWKB: a byte order, u32 type with 0x8000_0000 for Z, 0x4000_0000 for M, 0x2000_0000 for an SRID behind it, then counts and points.
//! The numbers of the types are the same in both, 1 to 10; FULLGLOBE (11) has no form in EWKB.
//!
//! [MS-SSCLRT], section 2.1. No file at hand has such a column: the tests are values that Microsoft's documentation shows, and by the rule.
//!
//! [MS-SSCLRT]: https://learn.microsoft.com/openspecs/sql_server_protocols/ms-ssclrt/

use crate::bytes::{Malformed, Result, array, slice, u8_at, u32_at};

/// Which of the two types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spatial {
    /// x, y
    Geometry,
    /// latitude, longitude
    Geography,
}

mod shape {
    pub(super) const POINT: u8 = 1;
    pub(super) const LINE_STRING: u8 = 2;
    pub(super) const POLYGON: u8 = 3;
    pub(super) const MULTI_POINT: u8 = 4;
    pub(super) const COLLECTION: u8 = 7;
    pub(super) const CIRCULAR_STRING: u8 = 8;
    pub(super) const COMPOUND_CURVE: u8 = 9;
    pub(super) const CURVE_POLYGON: u8 = 10;
}

const HAS_Z: u8 = 1;
const HAS_M: u8 = 2;
const ONE_POINT: u8 = 8;
const ONE_LINE: u8 = 16;
const EWKB_Z: u32 = 0x8000_0000;
const EWKB_M: u32 = 0x4000_0000;
const EWKB_SRID: u32 = 0x2000_0000;
const DEPTH_MAX: usize = 32;

/// Figures of version 2.
const ARC: u8 = 2;
const COMPOSITE: u8 = 3;

struct Value<'a> {
    spatial: Spatial,
    version: u8,
    flags: u32,
    srid: i32,
    points: &'a [[u8; 16]],
    z: &'a [[u8; 8]],
    m: &'a [[u8; 8]],
    figures: &'a [[u8; 5]],
    shapes: &'a [[u8; 9]],
    segments: &'a [u8],
    /// Of each shape the number of shapes right below it.
    children: Vec<u32>,
    /// Of each shape where its figures end, if it has any.
    figure_ends: Vec<usize>,
}

/// Appends a value as EWKB, little-endian.
///
/// # Errors
/// For a malformed value, and one that EWKB has no form for (FULLGLOBE).
pub fn ewkb(bytes: &[u8], spatial: Spatial, out: &mut Vec<u8>) -> Result<()> {
    let srid = i32::from_le_bytes(array(bytes, 0, "SRID")?);
    let version = u8_at(bytes, 4, "version of a spatial value")?;
    let properties = u8_at(bytes, 5, "properties of a spatial value")?;
    if !matches!(version, 1 | 2) {
        return Err(Malformed::new(format!("a spatial value has the unknown version {version}"), 4));
    }
    let (has_z, has_m) = (properties & HAS_Z != 0, properties & HAS_M != 0);
    let mut at = 6;
    let mut count = |what| -> Result<usize> {
        let count = u32_at(bytes, at, what)?;
        at += 4;
        usize::try_from(count).map_err(|_| Malformed::new("too many", at))
    };
    let whole = properties & (ONE_POINT | ONE_LINE);
    let points = match whole {
        0 => count("number of points")?,
        ONE_POINT => 1,
        ONE_LINE => 2,
        _ => return Err(Malformed::new("a spatial value is a point and a line", 5)),
    };
    let mut rest = bytes.get(at..).unwrap_or_default();
    let mut value = Value {
        spatial,
        version,
        flags: if has_z { EWKB_Z } else { 0 } | if has_m { EWKB_M } else { 0 },
        srid,
        points: take(&mut rest, points)?,
        z: take(&mut rest, if has_z { points } else { 0 })?,
        m: take(&mut rest, if has_m { points } else { 0 })?,
        figures: &[],
        shapes: &[],
        segments: &[],
        children: Vec::new(),
        figure_ends: vec![],
    };
    if whole != 0 {
        value.head(if whole == ONE_POINT { shape::POINT } else { shape::LINE_STRING }, true, out);
        if whole == ONE_LINE {
            push_count(points, out);
        }
        return (0..points).try_for_each(|point| value.point(point, out));
    }
    value.figures = counted(&mut rest, "number of figures")?;
    value.shapes = counted(&mut rest, "number of shapes")?;
    if version == 2 && !rest.is_empty() {
        let segments: &[[u8; 1]] = counted(&mut rest, "number of segments")?;
        value.segments = segments.as_flattened();
    }
    value.children = vec![0; value.shapes.len()];
    for index in 0..value.shapes.len() {
        let (parent, ..) = value.shape(index)?;
        match usize::try_from(parent) {
            Ok(parent) if parent < index => value.children[parent] += 1,
            Err(_) if parent == -1 && index == 0 => {}
            _ => return Err(Malformed::new(format!("shape {index} is part of shape {parent}"), 0)),
        }
    }
    value.figure_ends = vec![0; value.shapes.len()];
    let mut figure_end = value.figures.len();
    for index in (0..value.shapes.len()).rev() {
        value.figure_ends[index] = figure_end;
        figure_end = usize::try_from(value.shape(index)?.1).unwrap_or(figure_end);
    }
    let mut segment = 0;
    let end = value.write(0, true, 0, &mut segment, out)?;
    if end != value.shapes.len() {
        return Err(Malformed::new(format!("{} shapes, {end} of them in order", value.shapes.len()), 0));
    }
    Ok(())
}

fn take<'a, const N: usize>(rest: &mut &'a [u8], count: usize) -> Result<&'a [[u8; N]]> {
    let len = count.checked_mul(N).ok_or_else(|| Malformed::new("too many", 0))?;
    let taken = slice(rest, 0, len, "spatial value")?;
    *rest = rest.get(len..).unwrap_or_default();
    Ok(taken.as_chunks().0)
}

fn counted<'a, const N: usize>(rest: &mut &'a [u8], what: &'static str) -> Result<&'a [[u8; N]]> {
    let count = u32_at(rest, 0, what)?;
    *rest = rest.get(4..).unwrap_or_default();
    take(rest, usize::try_from(count).map_err(|_| Malformed::new("too many", 0))?)
}

fn push_count(count: usize, out: &mut Vec<u8>) {
    // Counts come from u32.
    out.extend((count as u32).to_le_bytes());
}

impl Value<'_> {
    fn head(&self, kind: u8, outermost: bool, out: &mut Vec<u8>) {
        let has_srid = outermost && self.srid != 0;
        out.push(1);
        let flags = self.flags | if has_srid { EWKB_SRID } else { 0 };
        out.extend((u32::from(kind) | flags).to_le_bytes());
        if has_srid {
            out.extend(self.srid.to_le_bytes());
        }
    }

    fn point(&self, point: usize, out: &mut Vec<u8>) -> Result<()> {
        let missing = || Malformed::new(format!("point {point} is not there"), 0);
        let (first, second) = self.points.get(point).ok_or_else(missing)?.split_at(8);
        let (x, y) = if self.spatial == Spatial::Geography { (second, first) } else { (first, second) };
        out.extend_from_slice(x);
        out.extend_from_slice(y);
        for (flag, values) in [(EWKB_Z, self.z), (EWKB_M, self.m)] {
            if self.flags & flag != 0 {
                out.extend_from_slice(values.get(point).ok_or_else(missing)?);
            }
        }
        Ok(())
    }

    /// Parent, first figure, type.
    fn shape(&self, index: usize) -> Result<(i32, i32, u8)> {
        let shape = self.shapes.get(index).ok_or_else(|| Malformed::new(format!("there is no shape {index}"), 0))?;
        let parent = i32::from_le_bytes(array(shape, 0, "parent")?);
        Ok((parent, i32::from_le_bytes(array(shape, 4, "figure")?), u8_at(shape, 8, "type of a shape")?))
    }

    /// The figures of a shape.
    fn figures_of(&self, index: usize) -> Result<std::ops::Range<usize>> {
        let (_, first, _) = self.shape(index)?;
        let Ok(first) = usize::try_from(first) else { return Ok(0..0) };
        let end = self.figure_ends.get(index).copied().unwrap_or_default();
        if first > end || end > self.figures.len() {
            return Err(Malformed::new(format!("shape {index} has the figures {first} to {end}"), 0));
        }
        Ok(first..end)
    }

    /// Attribute and points of a figure.
    fn figure(&self, index: usize) -> Result<(u8, std::ops::Range<usize>)> {
        let of = |index: usize| -> Result<Option<(u8, usize)>> {
            let Some(figure) = self.figures.get(index) else { return Ok(None) };
            let first = usize::try_from(u32_at(figure, 1, "point of a figure")?);
            Ok(Some((figure[0], first.map_err(|_| Malformed::new("too many", 0))?)))
        };
        let (attribute, first) = of(index)?.ok_or_else(|| Malformed::new(format!("there is no figure {index}"), 0))?;
        let end = of(index + 1)?.map_or(self.points.len(), |(_, first)| first);
        if first > end || end > self.points.len() {
            return Err(Malformed::new(format!("figure {index} has the points {first} to {end}"), 0));
        }
        Ok((attribute, first..end))
    }

    /// Writes a shape and those below it; gives the shape behind them.
    fn write(
        &self,
        index: usize,
        outermost: bool,
        depth: usize,
        segment: &mut usize,
        out: &mut Vec<u8>,
    ) -> Result<usize> {
        if depth > DEPTH_MAX {
            return Err(Malformed::new("shapes are too deep in each other", 0));
        }
        let (_, _, kind) = self.shape(index)?;
        let figures = self.figures_of(index)?;
        let one = |figures: &std::ops::Range<usize>| match figures.len() {
            0 | 1 => Ok(figures.clone().next()),
            n => Err(Malformed::new(format!("shape {index} of type {kind} has {n} figures"), 0)),
        };
        match kind {
            shape::POINT => {
                self.head(kind, outermost, out);
                match one(&figures)? {
                    Some(figure) => {
                        let (_, points) = self.figure(figure)?;
                        if points.len() != 1 {
                            return Err(Malformed::new(format!("a point of {} points", points.len()), 0));
                        }
                        self.point(points.start, out)?;
                    }
                    // POINT EMPTY
                    None => (0..2 + self.flags.count_ones()).for_each(|_| out.extend(f64::NAN.to_le_bytes())),
                }
            }
            shape::LINE_STRING | shape::CIRCULAR_STRING => {
                self.head(kind, outermost, out);
                let points = one(&figures)?.map_or(Ok(0..0), |figure| self.figure(figure).map(|(_, points)| points))?;
                self.string(points, out)?;
            }
            shape::POLYGON => {
                self.head(kind, outermost, out);
                push_count(figures.len(), out);
                for figure in figures {
                    self.string(self.figure(figure)?.1, out)?;
                }
            }
            shape::COMPOUND_CURVE => match one(&figures)? {
                Some(figure) => self.compound(self.figure(figure)?.1, outermost, segment, out)?,
                None => {
                    self.head(kind, outermost, out);
                    push_count(0, out);
                }
            },
            shape::CURVE_POLYGON => {
                self.head(kind, outermost, out);
                push_count(figures.len(), out);
                for figure in figures {
                    let (attribute, points) = self.figure(figure)?;
                    match attribute {
                        COMPOSITE => self.compound(points, false, segment, out)?,
                        _ => {
                            let ring = if attribute == ARC { shape::CIRCULAR_STRING } else { shape::LINE_STRING };
                            self.head(ring, false, out);
                            self.string(points, out)?;
                        }
                    }
                }
            }
            shape::MULTI_POINT..=shape::COLLECTION => {
                self.head(kind, outermost, out);
                let children = self.children.get(index).copied().unwrap_or_default();
                out.extend(children.to_le_bytes());
                let mut next = index + 1;
                for _ in 0..children {
                    if usize::try_from(self.shape(next)?.0) != Ok(index) {
                        return Err(Malformed::new(format!("shape {next} is not below shape {index}"), 0));
                    }
                    next = self.write(next, false, depth + 1, segment, out)?;
                }
                return Ok(next);
            }
            11 => return Err(Malformed::new("a full globe, which EWKB has no form for", 0)),
            other => {
                return Err(Malformed::new(
                    format!("a shape of the unknown type {other} (version {})", self.version),
                    0,
                ));
            }
        }
        Ok(index + 1)
    }

    fn string(&self, points: std::ops::Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        push_count(points.len(), out);
        points.into_iter().try_for_each(|point| self.point(point, out))
    }

    /// A curve of lines and arcs, each a member; a member begins where the one before ends.
    fn compound(
        &self,
        points: std::ops::Range<usize>,
        outermost: bool,
        segment: &mut usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let mut members: Vec<(u8, std::ops::Range<usize>)> = Vec::new();
        let mut at = points.start;
        while at + 1 < points.end {
            let kind = self.segments.get(*segment).copied();
            *segment += 1;
            let (kind, first, step) = match kind {
                Some(0) => (shape::LINE_STRING, false, 1),
                Some(1) => (shape::CIRCULAR_STRING, false, 2),
                Some(2) => (shape::LINE_STRING, true, 1),
                Some(3) => (shape::CIRCULAR_STRING, true, 2),
                other => return Err(Malformed::new(format!("a segment of the unknown type {other:?}"), 0)),
            };
            let end = at + step;
            if end >= points.end {
                return Err(Malformed::new("a segment goes on behind its figure", 0));
            }
            match members.last_mut() {
                Some((last, range)) if !first && *last == kind => range.end = end + 1,
                _ => members.push((kind, at..end + 1)),
            }
            at = end;
        }
        self.head(shape::COMPOUND_CURVE, outermost, out);
        push_count(members.len(), out);
        for (kind, points) in members {
            self.head(kind, false, out);
            self.string(points, out)?;
        }
        Ok(())
    }
}

mod wkt;

pub use wkt::wkt;

#[cfg(test)]
mod tests;

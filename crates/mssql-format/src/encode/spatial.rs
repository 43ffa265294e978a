//! `geometry` and `geography` from their well-known text: points, lines, polygons, and collections of them.
//!
//! The serialisation is that of [`spatial`](crate::spatial): one point and one line of two points have short forms, all others points,
//! figures and shapes, version 1. A `geography` is written with the longitude first, as text has it, and stored with the latitude
//! first. Whether a polygon's rings cross is not looked at: what is written says that it is valid.
//!
//! Left out: curves, FULLGLOBE.

use crate::bytes::{Malformed, Result};
use crate::spatial::Spatial;

const HAS_Z: u8 = 1;
const HAS_M: u8 = 2;
const VALID: u8 = 4;
const ONE_POINT: u8 = 8;
const ONE_LINE: u8 = 16;
/// Collections inside of collections.
const DEPTH_MAX: u32 = 16;

/// What the figures of a shape are, in version 1.
const INTERIOR: u8 = 0;
const STROKE: u8 = 1;
const EXTERIOR: u8 = 2;

#[derive(Default)]
struct Shapes {
    /// x, y, z, m
    points: Vec<[f64; 4]>,
    figures: Vec<(u8, u32)>,
    /// Parent, first figure, type.
    shapes: Vec<(i32, i32, u8)>,
}

/// The bytes of a value: `POINT (1 2)`, `POLYGON ((0 0, 0 1, 1 1, 0 0))`, `LINESTRING EMPTY`. NULL stands for a Z or M that a point
/// does not have.
///
/// # Errors
/// Where the text is not of this form, or a latitude is beyond 90 degrees.
pub fn spatial_of_text(text: &str, srid: i32, spatial: Spatial) -> Result<Vec<u8>> {
    let mut reader = Reader { text, at: 0, out: Shapes::default() };
    reader.shape(-1, 0)?;
    reader.space();
    if reader.at != text.len() {
        return Err(reader.wrong("more text behind the value"));
    }
    let Shapes { points, figures, shapes } = reader.out;
    if spatial == Spatial::Geography && points.iter().any(|p| !(-90.0..=90.0).contains(&p[1])) {
        return Err(Malformed::new("latitude values must be between -90 and 90 degrees", 0));
    }
    let (has_z, has_m) = (points.iter().any(|p| !p[2].is_nan()), points.iter().any(|p| !p[3].is_nan()));
    let short = match (&shapes[..], points.len()) {
        ([(_, _, 1)], 1) => ONE_POINT,
        ([(_, _, 2)], 2) => ONE_LINE,
        _ => 0,
    };
    let mut out = srid.to_le_bytes().to_vec();
    let bit = |on: bool, bit: u8| if on { bit } else { 0 };
    out.extend([1, VALID | bit(has_z, HAS_Z) | bit(has_m, HAS_M) | short]);
    if short == 0 {
        out.extend((points.len() as u32).to_le_bytes());
    }
    for p in &points {
        let (first, second) = if spatial == Spatial::Geography { (p[1], p[0]) } else { (p[0], p[1]) };
        out.extend(first.to_le_bytes());
        out.extend(second.to_le_bytes());
    }
    for (has, place) in [(has_z, 2), (has_m, 3)] {
        if has {
            points.iter().for_each(|p| out.extend(p[place].to_le_bytes()));
        }
    }
    if short != 0 {
        return Ok(out);
    }
    out.extend((figures.len() as u32).to_le_bytes());
    for (attribute, first) in figures {
        out.push(attribute);
        out.extend(first.to_le_bytes());
    }
    out.extend((shapes.len() as u32).to_le_bytes());
    for (parent, figure, kind) in shapes {
        out.extend(parent.to_le_bytes());
        out.extend(figure.to_le_bytes());
        out.push(kind);
    }
    Ok(out)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    out: Shapes,
}

impl Reader<'_> {
    fn wrong(&self, what: &str) -> Malformed {
        Malformed::new(format!("the well-known text is wrong: {what}"), self.at)
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, what: char) -> bool {
        self.space();
        let found = self.rest().starts_with(what);
        if found {
            self.at += what.len_utf8();
        }
        found
    }

    fn expect(&mut self, what: char) -> Result<()> {
        match self.take(what) {
            true => Ok(()),
            false => Err(self.wrong(&format!("expected '{what}'"))),
        }
    }

    fn word(&mut self) -> String {
        self.space();
        let rest = self.rest();
        let len = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let word = rest.get(..len).unwrap_or_default().to_ascii_uppercase();
        self.at += len;
        word
    }

    fn empty(&mut self) -> bool {
        let before = self.at;
        let empty = self.word() == "EMPTY";
        if !empty {
            self.at = before;
        }
        empty
    }

    fn shape(&mut self, parent: i32, depth: u32) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(self.wrong("collections are nested too deeply"));
        }
        let kind = match self.word().as_str() {
            "POINT" => 1,
            "LINESTRING" => 2,
            "POLYGON" => 3,
            "MULTIPOINT" => 4,
            "MULTILINESTRING" => 5,
            "MULTIPOLYGON" => 6,
            "GEOMETRYCOLLECTION" => 7,
            other => return Err(self.wrong(&format!("'{other}' is not supported"))),
        };
        self.of_kind(kind, parent, depth)
    }

    fn of_kind(&mut self, kind: u8, parent: i32, depth: u32) -> Result<()> {
        let own = self.out.shapes.len() as i32;
        let figure = self.out.figures.len() as i32;
        if self.empty() {
            self.out.shapes.push((parent, -1, kind));
            return Ok(());
        }
        self.out.shapes.push((parent, figure, kind));
        match kind {
            1 => {
                self.out.figures.push((STROKE, self.out.points.len() as u32));
                self.expect('(')?;
                self.point()?;
                self.expect(')')?;
            }
            2 => self.line(STROKE, 2)?,
            3 => {
                self.expect('(')?;
                let mut attribute = EXTERIOR;
                loop {
                    self.line(attribute, 4)?;
                    attribute = INTERIOR;
                    if !self.take(',') {
                        break;
                    }
                }
                self.expect(')')?;
            }
            _ => {
                self.expect('(')?;
                loop {
                    match kind {
                        // The points of a multipoint may stand without parentheses.
                        4 if !self.opens() => {
                            self.out.shapes.push((own, self.out.figures.len() as i32, 1));
                            self.out.figures.push((STROKE, self.out.points.len() as u32));
                            self.point()?;
                        }
                        4..=6 => self.of_kind(kind - 3, own, depth + 1)?,
                        _ => self.shape(own, depth + 1)?,
                    }
                    if !self.take(',') {
                        break;
                    }
                }
                self.expect(')')?;
                // A collection that has no figures at all.
                if self.out.figures.len() as i32 == figure {
                    self.out.shapes[own as usize].1 = -1;
                }
            }
        }
        Ok(())
    }

    fn opens(&mut self) -> bool {
        self.space();
        self.rest().starts_with(['(', 'E', 'e'])
    }

    fn line(&mut self, attribute: u8, least: usize) -> Result<()> {
        let first = self.out.points.len();
        self.out.figures.push((attribute, first as u32));
        self.expect('(')?;
        loop {
            self.point()?;
            if !self.take(',') {
                break;
            }
        }
        self.expect(')')?;
        let points = self.out.points.get(first..).unwrap_or_default();
        if points.len() < least {
            return Err(self.wrong(&format!("fewer than {least} points")));
        }
        let closed = |a: &[f64; 4], b: &[f64; 4]| a[0] == b[0] && a[1] == b[1];
        if attribute != STROKE && !points.first().zip(points.last()).is_some_and(|(a, b)| closed(a, b)) {
            return Err(self.wrong("a ring that is not closed"));
        }
        Ok(())
    }

    fn point(&mut self) -> Result<()> {
        let mut point = [f64::NAN; 4];
        for (place, value) in point.iter_mut().enumerate() {
            self.space();
            let rest = self.rest();
            let len =
                rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))).unwrap_or(rest.len());
            let number = rest.get(..len).unwrap_or_default();
            if number.is_empty() && place >= 2 {
                break;
            }
            if !(place >= 2 && number.eq_ignore_ascii_case("NULL")) {
                *value = number
                    .parse()
                    .ok()
                    .filter(|n: &f64| n.is_finite())
                    .ok_or_else(|| self.wrong("expected a number"))?;
            }
            self.at += len;
        }
        self.out.points.push(point);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::spatial_of_text;
    use crate::spatial::{Spatial, ewkb};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02X}")).collect()
    }

    /// The bytes, and EWKB of them.
    #[track_caller]
    fn check(text: &str, spatial: Spatial, bytes: &str, expect: &str) {
        let found = spatial_of_text(text, 4326, spatial).unwrap();
        if !bytes.is_empty() {
            assert_eq!(hex(&found), bytes);
        }
        let mut out = Vec::new();
        ewkb(&found, spatial, &mut out).unwrap();
        assert_eq!(hex(&out), expect);
    }

    const ONE: &str = "000000000000F03F";
    const TWO: &str = "0000000000000040";
    const ZERO: &str = "0000000000000000";
    const HEAD: &str = "E6100000";

    #[test]
    fn points_and_lines() {
        check(
            "POINT (1 2)",
            Spatial::Geometry,
            &format!("{HEAD}010C{ONE}{TWO}"),
            &format!("0101000020{HEAD}{ONE}{TWO}"),
        );
        check(
            "point(1 2)",
            Spatial::Geography,
            &format!("{HEAD}010C{TWO}{ONE}"),
            &format!("0101000020{HEAD}{ONE}{TWO}"),
        );
        check(
            "POINT (1 2 0 NULL)",
            Spatial::Geometry,
            &format!("{HEAD}010D{ONE}{TWO}{ZERO}"),
            &format!("01010000A0{HEAD}{ONE}{TWO}{ZERO}"),
        );
        check(
            "LINESTRING (0 0, 1 2)",
            Spatial::Geometry,
            &format!("{HEAD}0114{ZERO}{ZERO}{ONE}{TWO}"),
            &format!("0102000020{HEAD}02000000{ZERO}{ZERO}{ONE}{TWO}"),
        );
        check(
            "LINESTRING (0 0, 1 2, 2 2)",
            Spatial::Geometry,
            &format!("{HEAD}010403000000{ZERO}{ZERO}{ONE}{TWO}{TWO}{TWO}01000000010000000001000000FFFFFFFF0000000002"),
            &format!("0102000020{HEAD}03000000{ZERO}{ZERO}{ONE}{TWO}{TWO}{TWO}"),
        );
    }

    #[test]
    fn polygons_and_collections() {
        let ring = format!("04000000{ZERO}{ZERO}{ONE}{ZERO}{ONE}{ONE}{ZERO}{ZERO}");
        check(
            "POLYGON ((0 0, 1 0, 1 1, 0 0), (0 0, 1 0, 1 1, 0 0))",
            Spatial::Geometry,
            "",
            &format!("0103000020{HEAD}02000000{ring}{ring}"),
        );
        check(
            "GEOMETRYCOLLECTION (POINT (1 2), POLYGON EMPTY, MULTIPOINT (0 0, (1 1)))",
            Spatial::Geometry,
            "",
            &format!(
                "0107000020{HEAD}030000000101000000{ONE}{TWO}0103000000000000000104000000020000000101000000{ZERO}{ZERO}0101000000{ONE}{ONE}"
            ),
        );
        check("MULTILINESTRING EMPTY", Spatial::Geometry, "", &format!("0105000020{HEAD}00000000"));
    }

    #[test]
    fn wrong_texts_are_refused() {
        for text in [
            "",
            "POINT",
            "POINT (1)",
            "POINT (1 2",
            "POINT (1 2) x",
            "CIRCLE (1 2)",
            "LINESTRING (1 1)",
            "POINT (1 NaN)",
            "POLYGON ((0 0, 1 0, 1 1, 0 1))",
        ] {
            assert!(spatial_of_text(text, 0, Spatial::Geometry).is_err(), "{text}");
        }
        assert!(spatial_of_text("POINT (1 91)", 4326, Spatial::Geography).is_err());
    }
}

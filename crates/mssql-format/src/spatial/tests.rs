use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

/// EWKB as text.
fn text(wkb: &mut &[u8]) -> String {
    let take = |wkb: &mut &[u8], n: usize| {
        let (a, b) = wkb.split_at(n);
        *wkb = b;
        a.to_vec()
    };
    let int = |wkb: &mut &[u8]| u32::from_le_bytes(take(wkb, 4).try_into().unwrap());
    assert_eq!(take(wkb, 1), [1]);
    let kind = int(wkb);
    let srid = if kind & EWKB_SRID != 0 { format!("{};", int(wkb)) } else { String::new() };
    let dims = 2 + (kind & (EWKB_Z | EWKB_M)).count_ones();
    let point = |wkb: &mut &[u8]| {
        let number = |wkb: &mut &[u8]| f64::from_le_bytes(take(wkb, 8).try_into().unwrap()).to_string();
        (0..dims).map(|_| number(wkb)).collect::<Vec<_>>().join(" ")
    };
    let points = |wkb: &mut &[u8]| (0..int(wkb)).map(|_| point(wkb)).collect::<Vec<_>>().join(",");
    let inside = match kind as u8 {
        1 => point(wkb),
        2 | 8 => points(wkb),
        3 => (0..int(wkb)).map(|_| format!("({})", points(wkb))).collect::<Vec<_>>().join(","),
        _ => (0..int(wkb)).map(|_| text(wkb)).collect::<Vec<_>>().join(","),
    };
    format!("{srid}{}({inside})", kind as u8)
}

#[track_caller]
fn check(value: &[u8], spatial: Spatial, expect: Result<&str, &str>) {
    let mut out = Vec::new();
    match (ewkb(value, spatial, &mut out), expect) {
        (Ok(()), Ok(expect)) => {
            let mut rest = &out[..];
            assert_eq!(text(&mut rest), expect);
            assert!(rest.is_empty());
        }
        (Err(e), Err(expect)) => assert!(e.to_string().contains(expect), "{e}"),
        (found, _) => panic!("{found:?}"),
    }
}

struct Build(Vec<u8>);

impl Build {
    fn new(srid: i32, version: u8, properties: u8) -> Self {
        Build([&srid.to_le_bytes()[..], &[version, properties]].concat())
    }

    fn points(mut self, points: &[(f64, f64)]) -> Self {
        self.0.extend((points.len() as u32).to_le_bytes());
        for (a, b) in points {
            self.0.extend(a.to_le_bytes());
            self.0.extend(b.to_le_bytes());
        }
        self
    }

    fn values(mut self, values: &[f64]) -> Self {
        values.iter().for_each(|v| self.0.extend(v.to_le_bytes()));
        self
    }

    fn figures(mut self, figures: &[(u8, u32)]) -> Self {
        self.0.extend((figures.len() as u32).to_le_bytes());
        for (attribute, point) in figures {
            self.0.push(*attribute);
            self.0.extend(point.to_le_bytes());
        }
        self
    }

    fn shapes(mut self, shapes: &[(i32, i32, u8)]) -> Self {
        self.0.extend((shapes.len() as u32).to_le_bytes());
        for (parent, figure, kind) in shapes {
            self.0.extend(parent.to_le_bytes());
            self.0.extend(figure.to_le_bytes());
            self.0.push(*kind);
        }
        self
    }

    fn segments(mut self, segments: &[u8]) -> Self {
        self.0.extend((segments.len() as u32).to_le_bytes());
        self.0.extend(segments);
        self
    }
}

#[test]
fn points_and_lines_of_two_points() {
    // geography::Point(47.65100, -122.34900, 4326) and a LINESTRING of the same, as SQL Server shows them.
    let point = "E6100000010C 17D9CEF753D34740 7593180456965EC0";
    check(&hex(&point.replace(' ', "")), Spatial::Geography, Ok("4326;1(-122.349 47.651)"));
    // geometry::STGeomFromText('POINT (3 4)', 0), 'POINT (3 4 7 2.5)'
    check(&hex("00000000010C 0000000000000840 0000000000001040"), Spatial::Geometry, Ok("1(3 4)"));
    let value = Build::new(0, 1, 0x0F).values(&[3.0, 4.0, 7.0, 2.5]);
    check(&value.0, Spatial::Geometry, Ok("1(3 4 7 2.5)"));
    let value = Build::new(7, 1, 0x15).values(&[1.0, 2.0, 3.0, 4.0, 9.0, f64::NAN]);
    check(&value.0, Spatial::Geometry, Ok("7;2(1 2 9,3 4 NaN)"));
}

#[test]
fn shapes_of_shapes() {
    let square = [(0.0, 0.0), (3.0, 0.0), (3.0, 3.0), (0.0, 0.0), (1.0, 1.0), (2.0, 1.0), (1.0, 1.0)];
    let polygon = Build::new(1, 1, 4).points(&square).figures(&[(2, 0), (0, 4)]).shapes(&[(-1, 0, 3)]);
    check(&polygon.0, Spatial::Geometry, Ok("1;3((0 0,3 0,3 3,0 0),(1 1,2 1,1 1))"));
    let two =
        Build::new(4326, 1, 4).points(&square).figures(&[(2, 0), (2, 4)]).shapes(&[(-1, 0, 6), (0, 0, 3), (0, 1, 3)]);
    check(&two.0, Spatial::Geography, Ok("4326;6(3((0 0,0 3,3 3,0 0)),3((1 1,1 2,1 1)))"));
    let collection = Build::new(0, 2, 4).points(&square).figures(&[(0, 0), (1, 1), (1, 3)]).shapes(&[
        (-1, 0, 7),
        (0, 0, 1),
        (0, 1, 5),
        (2, 1, 2),
        (2, 2, 2),
        (0, -1, 3),
        (0, -1, 1),
    ]);
    check(&collection.0, Spatial::Geometry, Ok("7(1(0 0),5(2(3 0,3 3),2(0 0,1 1,2 1,1 1)),3(),1(NaN NaN))"));
    let empty = Build::new(0, 1, 4).points(&[]).figures(&[]).shapes(&[(-1, -1, 7)]);
    check(&empty.0, Spatial::Geometry, Ok("7()"));
}

#[test]
fn curves() {
    let points = [(0.0, 0.0), (1.0, 1.0), (2.0, 0.0), (3.0, 0.0), (4.0, 0.0), (5.0, 5.0), (6.0, 0.0)];
    let circle = Build::new(0, 2, 4).points(&points[..3]).figures(&[(2, 0)]).shapes(&[(-1, 0, 8)]);
    check(&circle.0, Spatial::Geometry, Ok("8(0 0,1 1,2 0)"));
    let compound = Build::new(0, 2, 4).points(&points).figures(&[(3, 0)]).shapes(&[(-1, 0, 9)]).segments(&[3, 2, 0, 3]);
    check(&compound.0, Spatial::Geometry, Ok("9(8(0 0,1 1,2 0),2(2 0,3 0,4 0),8(4 0,5 5,6 0))"));
    let polygon =
        Build::new(0, 2, 4).points(&points).figures(&[(3, 0), (1, 3), (2, 4)]).shapes(&[(-1, 0, 10)]).segments(&[3]);
    check(&polygon.0, Spatial::Geometry, Ok("10(9(8(0 0,1 1,2 0)),2(3 0),8(4 0,5 5,6 0))"));
}

#[test]
fn what_is_malformed_is_refused() {
    let points = [(0.0, 0.0), (1.0, 1.0)];
    let base = || Build::new(0, 1, 4).points(&points);
    check(&[], Spatial::Geometry, Err("SRID"));
    check(&Build::new(0, 3, 4).0, Spatial::Geometry, Err("unknown version 3"));
    check(&base().figures(&[(1, 0)]).shapes(&[(-1, 0, 11)]).0, Spatial::Geometry, Err("full globe"));
    check(&base().figures(&[(1, 0)]).shapes(&[(-1, 0, 12)]).0, Spatial::Geometry, Err("unknown type 12"));
    check(&base().figures(&[(1, 3)]).shapes(&[(-1, 0, 2)]).0, Spatial::Geometry, Err("has the points 3 to 2"));
    check(&base().figures(&[(1, 0)]).shapes(&[(-1, 4, 2)]).0, Spatial::Geometry, Err("has the figures 4 to 1"));
    check(&base().figures(&[(1, 0)]).shapes(&[(0, 0, 2)]).0, Spatial::Geometry, Err("is part of shape 0"));
    let deep: Vec<_> = (0..100).map(|i| (i - 1, -1, 7)).collect();
    check(&base().figures(&[]).shapes(&deep).0, Spatial::Geometry, Err("too deep"));
    let good =
        Build::new(0, 2, 7).points(&points).values(&[1.0; 4]).figures(&[(3, 0)]).shapes(&[(-1, 0, 9)]).segments(&[2]).0;
    for at in 0..good.len() {
        let _ = ewkb(&good[..at], Spatial::Geometry, &mut Vec::new());
        for byte in [0, 1, 2, 3, 0x7F, 0xFF] {
            let mut other = good.clone();
            other[at] = byte;
            let _ = ewkb(&other, Spatial::Geography, &mut Vec::new());
        }
    }
}

#[track_caller]
fn check_wkt(value: &Build, spatial: Spatial, expect: &str) {
    let mut out = Vec::new();
    wkt(&value.0, spatial, &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), expect);
}

#[test]
fn values_as_wkt() {
    use Spatial::{Geography, Geometry};
    let b = Build::new;
    check_wkt(&b(0, 1, 12).values(&[3.0, -4.5]), Geometry, "POINT (3 -4.5)");
    check_wkt(&b(4326, 1, 12).values(&[1e-7, 2e20]), Geography, "SRID=4326;POINT (2e20 1e-7)");
    check_wkt(&b(0, 1, 0x0D).values(&[3.0, 4.0, 7.0]), Geometry, "POINT Z (3 4 7)");
    check_wkt(&b(0, 1, 0x0E).values(&[3.0, 4.0, 7.0]), Geometry, "POINT M (3 4 7)");
    check_wkt(&b(0, 1, 0x0F).values(&[3.0, 4.0, f64::NAN, 2.5]), Geometry, "POINT ZM (3 4 NaN 2.5)");
    check_wkt(&b(7, 1, 0x14).values(&[1.0, 2.0, 3.0, 4.0]), Geometry, "SRID=7;LINESTRING (1 2, 3 4)");
    let square = [(0.0, 0.0), (3.0, 0.0), (3.0, 3.0), (0.0, 0.0), (1.0, 1.0), (2.0, 1.0), (1.0, 1.0)];
    let two = b(0, 1, 4).points(&square).figures(&[(2, 0), (2, 4)]);
    let polygons = two.shapes(&[(-1, 0, 6), (0, 0, 3), (0, 1, 3)]);
    check_wkt(&polygons, Geometry, "MULTIPOLYGON (((0 0, 3 0, 3 3, 0 0)), ((1 1, 2 1, 1 1)))");
    let collection = b(0, 2, 4).points(&square).figures(&[(0, 0), (1, 1), (1, 3)]).shapes(&[
        (-1, 0, 7),
        (0, 0, 1),
        (0, 1, 5),
        (2, 1, 2),
        (2, 2, 2),
        (0, -1, 3),
        (0, -1, 1),
    ]);
    let text = "GEOMETRYCOLLECTION (POINT (0 0), MULTILINESTRING ((3 0, 3 3), (0 0, 1 1, 2 1, 1 1)), POLYGON EMPTY, POINT EMPTY)";
    check_wkt(&collection, Geometry, text);
    let points = b(0, 1, 4).points(&square[..2]).figures(&[(1, 0), (1, 1)]);
    check_wkt(&points.shapes(&[(-1, 0, 4), (0, 0, 1), (0, 1, 1)]), Geometry, "MULTIPOINT ((0 0), (3 0))");
    let empty = b(4, 1, 4).points(&[]).figures(&[]).shapes(&[(-1, -1, 7)]);
    check_wkt(&empty, Geometry, "SRID=4;GEOMETRYCOLLECTION EMPTY");
    let arcs = [(0.0, 0.0), (1.0, 1.0), (2.0, 0.0), (3.0, 0.0), (4.0, 0.0), (5.0, 5.0), (6.0, 0.0)];
    let compound = b(0, 2, 4).points(&arcs).figures(&[(3, 0)]).shapes(&[(-1, 0, 9)]).segments(&[3, 2, 0, 3]);
    let text = "COMPOUNDCURVE (CIRCULARSTRING (0 0, 1 1, 2 0), (2 0, 3 0, 4 0), CIRCULARSTRING (4 0, 5 5, 6 0))";
    check_wkt(&compound, Geometry, text);
    let polygon = b(0, 2, 4).points(&arcs).figures(&[(3, 0), (1, 3), (2, 4)]).shapes(&[(-1, 0, 10)]).segments(&[3]);
    let text = "CURVEPOLYGON (COMPOUNDCURVE (CIRCULARSTRING (0 0, 1 1, 2 0)), (3 0), CIRCULARSTRING (4 0, 5 5, 6 0))";
    check_wkt(&polygon, Geometry, text);
    let globe = b(4326, 2, 0x24).points(&[]).figures(&[]).shapes(&[(-1, -1, 11)]);
    check_wkt(&globe, Geography, "SRID=4326;FULLGLOBE");
    for at in 0..collection.0.len() {
        let _ = wkt(&collection.0[..at], Geometry, &mut Vec::new());
    }
}

//! `xml`, `hierarchyid`, `geometry`, `geography`, `vector`: that each goes through its decoder, whose own tests know the forms.

use logferry_model::{PgType, SqlType};
use logferry_transform::{CellError, HierarchyId, SpatialForm, Types, VectorForm, Xml};

use crate::{check, check_with};

/// `<a/>` in binary XML.
const BINARY: &[u8] = &[0xDF, 0xFF, 1, 0xB0, 4, 0xF0, 1, b'a', 0, 0xEF, 0, 0, 1, 0xF8, 1, 0xF7];

#[test]
fn xml() {
    check(&SqlType::Xml, PgType::Xml, BINARY, Ok(b"<a/>"));
    check(&SqlType::Xml, PgType::Xml, b"\xff\xfe<\0b\0/\0>\0", Ok(b"<b/>"));
    check(&SqlType::Xml, PgType::Xml, b"<\0b\0/\0>\0", Ok(b"<b/>"));
    check(&SqlType::Xml, PgType::Xml, &[], Ok(b""));
    check(&SqlType::Xml, PgType::Xml, &BINARY[..BINARY.len() - 1], Err(CellError::Structure("the xml")));
    let types = Types { xml: Xml::Text, ..Types::default() };
    check_with(types, &SqlType::Xml, PgType::Text, BINARY, Ok(b"<a/>"));
    let types = Types { xml: Xml::Bytea, ..Types::default() };
    check_with(types, &SqlType::Xml, PgType::Bytea, BINARY, Ok(BINARY));
}

#[test]
fn hierarchyid() {
    check(&SqlType::HierarchyId, PgType::Text, &[], Ok(b"/"));
    check(&SqlType::HierarchyId, PgType::Text, &[0b0101_1000], Ok(b"/1/"));
    check(&SqlType::HierarchyId, PgType::Text, &[0], Err(CellError::Structure("the hierarchyid")));
    let types = Types { hierarchyid: HierarchyId::Bytea, ..Types::default() };
    check_with(types, &SqlType::HierarchyId, PgType::Bytea, &[0b0101_1000], Ok(&[0b0101_1000]));
    let types = Types { hierarchyid: HierarchyId::Ltree, ..Types::default() };
    check_with(types, &SqlType::HierarchyId, PgType::Ltree, &[], Ok(b"\x01"));
    check_with(types, &SqlType::HierarchyId, PgType::Ltree, &[0b0101_1000], Ok(b"\x011"));
    // /1/-2.18/
    let cell = [0b0101_1001, 0b1111_1011, 0b0000_0101, 0b0100_0000];
    check_with(types, &SqlType::HierarchyId, PgType::Ltree, &cell, Ok(b"\x011.n2_18"));
}

#[test]
fn spatial() {
    let [one, two] = [1.0_f64.to_le_bytes(), 2.0_f64.to_le_bytes()];
    let point = [&4326_i32.to_le_bytes()[..], &[1, 12], &one, &two].concat();
    let head = &[1, 1, 0, 0, 0x20, 0xE6, 0x10, 0, 0][..];
    check(&SqlType::Geometry, PgType::Bytea, &point, Ok(&[head, &one, &two].concat()));
    check(&SqlType::Geography, PgType::Bytea, &point, Ok(&[head, &two, &one].concat()));
    check(&SqlType::Geography, PgType::Bytea, &point[..9], Err(CellError::Structure("the geography")));
    let types = Types { spatial: SpatialForm::Native, ..Types::default() };
    check_with(types, &SqlType::Geometry, PgType::Bytea, &point, Ok(&point));
    let types = Types { spatial: SpatialForm::Wkt, ..Types::default() };
    check_with(types, &SqlType::Geometry, PgType::Text, &point, Ok(b"SRID=4326;POINT (1 2)"));
    check_with(types, &SqlType::Geography, PgType::Text, &point, Ok(b"SRID=4326;POINT (2 1)"));
    check_with(types, &SqlType::Geography, PgType::Text, &point[..9], Err(CellError::Structure("the geography")));
    let types = Types { spatial: SpatialForm::Postgis, ..Types::default() };
    check_with(types, &SqlType::Geometry, PgType::Geometry, &point, Ok(&[head, &one, &two].concat()));
    check_with(types, &SqlType::Geography, PgType::Geography, &point, Ok(&[head, &two, &one].concat()));
}

#[test]
fn vector() {
    let head = [0xA9, 1, 3, 0, 0, 0, 0, 0];
    let cell = [&head[..], &1.0_f32.to_le_bytes(), &(-0.1_f32).to_le_bytes(), &1e-20_f32.to_le_bytes()].concat();
    let shown: Vec<u8> = "[1.0000000e+000,-1.0000000e-001, 1e-20]".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let element = |value: f32| [&[0, 0, 0, 4][..], &value.to_be_bytes()].concat();
    let array = [
        &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 2, 188, 0, 0, 0, 3, 0, 0, 0, 1][..],
        &element(1.0),
        &element(-0.1),
        &element(1e-20),
    ];
    let (none, broken) = ([0xA9, 1, 0, 0, 0, 0, 0, 0], Err(CellError::Structure("the vector")));
    for cell in [&cell, &shown] {
        check(&SqlType::Vector, PgType::Float4Array, cell, Ok(&array.concat()));
        check(&SqlType::Vector, PgType::Float4Array, &cell[..16], broken);
    }
    check(&SqlType::Vector, PgType::Float4Array, &none, Ok(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 188]));
    // Half precision.
    check(&SqlType::Vector, PgType::Float4Array, &[0xA9, 2, 1, 0, 0, 0, 0, 0, 0, 0x3C], broken);
    let types = Types { vector: VectorForm::Pgvector, ..Types::default() };
    let elements = [1.0_f32, -0.1, 1e-20].map(f32::to_be_bytes).concat();
    check_with(types, &SqlType::Vector, PgType::Vector, &cell, Ok(&[&[0, 3, 0, 0][..], &elements].concat()));
    check_with(types, &SqlType::Vector, PgType::Vector, &shown, Ok(&[&[0, 3, 0, 0][..], &elements].concat()));
    check_with(types, &SqlType::Vector, PgType::Vector, &none, broken);
    let types = Types { vector: VectorForm::Text, ..Types::default() };
    check_with(types, &SqlType::Vector, PgType::Text, &cell, Ok(b"[1,-0.1,1e-20]"));
    check_with(types, &SqlType::Vector, PgType::Text, &shown, Ok(b"[1,-0.1,1e-20]"));
    check_with(types, &SqlType::Vector, PgType::Text, &none, Ok(b"[]"));
    check_with(types, &SqlType::Vector, PgType::Text, &cell[..16], broken);
}

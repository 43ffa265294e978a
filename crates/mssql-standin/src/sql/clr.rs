//! Values of `hierarchyid`, `geometry` and `geography`: their serialisation, from and to text.
//!
//! Left out: what they can be asked, but `ToString()`, `STAsText()` and `GetLevel()`.

use logferry_model::SqlType;
use logferry_mssql_format::encode::{hierarchy_of_path, spatial_of_text};
use logferry_mssql_format::hierarchy;
use logferry_mssql_format::spatial::{Spatial, ewkb};

use super::error::{Result, SqlError, unsupported};
use super::value::Value;

pub(crate) fn is_clr(sql_type: &SqlType) -> bool {
    matches!(sql_type, SqlType::HierarchyId | SqlType::Geometry | SqlType::Geography)
}

fn spatial_of(sql_type: &SqlType) -> Spatial {
    match sql_type {
        SqlType::Geography => Spatial::Geography,
        _ => Spatial::Geometry,
    }
}

fn failed(name: &str, what: &str) -> SqlError {
    SqlError::new(
        6522,
        format!(
            "A .NET Framework error occurred during execution of user-defined routine or aggregate \"{name}\": {what}"
        ),
    )
}

/// A text, or bytes that are such a value, as one.
///
/// # Errors
/// 6522 where it is none.
pub(crate) fn of_value(value: Value, to: &SqlType) -> Result<Value> {
    let name = super::types::name(to);
    match value {
        Value::Text(text) => {
            of_text(&String::from_utf16_lossy(&text), if *to == SqlType::Geography { 4326 } else { 0 }, to)
        }
        Value::Bytes(bytes) => {
            let sound = match to {
                SqlType::HierarchyId => hierarchy::path(&bytes, &mut Vec::new()),
                _ => ewkb(&bytes, spatial_of(to), &mut Vec::new()),
            };
            match sound {
                Ok(()) => Ok(Value::Bytes(bytes)),
                Err(e) => Err(failed(name, &e.to_string())),
            }
        }
        _ => Err(unsupported(format!("conversions to {name} of other types than text and binary"))),
    }
}

/// A value of its text.
pub(crate) fn of_text(text: &str, srid: i64, to: &SqlType) -> Result<Value> {
    let name = super::types::name(to);
    match to {
        SqlType::HierarchyId => hierarchy_of_path(text).map_err(|_| {
            let what = "24001: SqlHierarchyId.Parse failed because the input string is not a valid string representation of a SqlHierarchyId node.";
            failed(name, what)
        }),
        _ => {
            let srid = i32::try_from(srid).ok().filter(|n| (0..=999_999).contains(n)).ok_or_else(|| {
                failed(name, "24204: The spatial reference identifier (SRID) is not valid.")
            })?;
            spatial_of_text(text, srid, spatial_of(to)).map_err(|e| failed(name, &e.to_string()))
        }
    }
    .map(Value::Bytes)
}

/// `ToString()`, `STAsText()`
pub(crate) fn text(value: &Value, of: &SqlType) -> Result<String> {
    let Value::Bytes(bytes) = value else { return Ok(String::new()) };
    let name = super::types::name(of);
    let mut out = Vec::new();
    if *of == SqlType::HierarchyId {
        hierarchy::path(bytes, &mut out).map_err(|e| failed(name, &e.to_string()))?;
        return Ok(String::from_utf8_lossy(&out).into_owned());
    }
    ewkb(bytes, spatial_of(of), &mut out).map_err(|e| failed(name, &e.to_string()))?;
    let mut text = String::new();
    let mut reader = Ewkb { rest: &out };
    reader.shape(true, &mut text).ok_or_else(|| unsupported("the text of curves"))?;
    Ok(text)
}

/// `GetLevel()`
pub(crate) fn level(value: &Value) -> Result<i64> {
    let path = text(value, &SqlType::HierarchyId)?;
    Ok(path.matches('/').count() as i64 - 1)
}

/// EWKB as it comes from the format's own reader.
struct Ewkb<'a> {
    rest: &'a [u8],
}

impl Ewkb<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    fn count(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn shape(&mut self, named: bool, out: &mut String) -> Option<()> {
        self.take::<1>()?;
        let head = self.count()?;
        if head & 0x2000_0000 != 0 {
            self.take::<4>()?;
        }
        let kind = head & 0xFF;
        let (z, m) = (head & 0x8000_0000 != 0, head & 0x4000_0000 != 0);
        if named {
            out.push_str(match kind {
                1 => "POINT",
                2 => "LINESTRING",
                3 => "POLYGON",
                4 => "MULTIPOINT",
                5 => "MULTILINESTRING",
                6 => "MULTIPOLYGON",
                7 => "GEOMETRYCOLLECTION",
                _ => return None,
            });
            out.push(' ');
        }
        if kind == 1 {
            let mut point = String::new();
            let empty = self.point((z, m), &mut point)?;
            out.push_str(&if empty { "EMPTY".to_owned() } else { format!("({point})") });
            return Some(());
        }
        if kind == 2 {
            return self.points((z, m), out);
        }
        let parts = self.count()?;
        if parts == 0 {
            out.push_str("EMPTY");
            return Some(());
        }
        out.push('(');
        for at in 0..parts {
            if at > 0 {
                out.push_str(", ");
            }
            match kind {
                3 => self.points((z, m), out)?,
                4..=6 => self.shape(false, out)?,
                _ => self.shape(true, out)?,
            }
        }
        out.push(')');
        Some(())
    }

    fn points(&mut self, has: (bool, bool), out: &mut String) -> Option<()> {
        let count = self.count()?;
        if count == 0 {
            out.push_str("EMPTY");
            return Some(());
        }
        out.push('(');
        for at in 0..count {
            if at > 0 {
                out.push_str(", ");
            }
            self.point(has, out)?;
        }
        out.push(')');
        Some(())
    }

    /// Whether it is the empty point.
    fn point(&mut self, (z, m): (bool, bool), out: &mut String) -> Option<bool> {
        let (x, y) = (f64::from_le_bytes(self.take()?), f64::from_le_bytes(self.take()?));
        out.push_str(&format!("{x} {y}"));
        let z = if z { Some(f64::from_le_bytes(self.take()?)) } else { None };
        let m = if m { Some(f64::from_le_bytes(self.take()?)) } else { None };
        let shown = |n: f64| if n.is_nan() { "NULL".to_owned() } else { n.to_string() };
        match (z.filter(|z| m.is_some() || !z.is_nan()), m) {
            (None, None) => {}
            (z, None) => out.push_str(&format!(" {}", z.map_or_else(String::new, shown))),
            (z, Some(m)) => out.push_str(&format!(" {} {}", z.map_or("NULL".to_owned(), shown), shown(m))),
        }
        Some(x.is_nan() && y.is_nan())
    }
}

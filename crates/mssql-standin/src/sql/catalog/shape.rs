//! The columns of a view in one text, and rows that give only those that differ.
//!
//! `name type`, or `[a name] type`, with `?` where NULL may be and `=value` where the stand-in always has the same: most columns of most views are
//! settings that it does not have.

use logferry_model::SqlType;

use super::super::plan::Column;
use super::super::types;
use super::super::value::{Dec, Value};
use logferry_mssql_standin_storage::DEFAULT_COLLATION;

/// Rows of a view.
pub(in crate::sql) type Rows = Vec<Vec<Value>>;

pub(super) const NULL: Value = Value::Null;

pub(super) fn n(n: impl Into<i64>) -> Value {
    Value::Int(n.into())
}

pub(super) fn b(on: bool) -> Value {
    Value::bit(on)
}

pub(super) fn t(text: &str) -> Value {
    Value::text(text)
}

/// `numeric(25,0)`, as LSNs are there.
pub(super) fn lsn(lsn: logferry_model::Lsn) -> Value {
    Value::Dec(Dec { mantissa: lsn.to_decimal() as i128, scale: 0 })
}

fn sql_type(ty: &str) -> SqlType {
    let collation = DEFAULT_COLLATION;
    match ty {
        "int" => SqlType::Int,
        "bigint" => SqlType::BigInt,
        "smallint" => SqlType::SmallInt,
        "tinyint" => SqlType::TinyInt,
        "bit" => SqlType::Bit,
        "real" => SqlType::Real,
        "float" => SqlType::Float,
        "datetime" => SqlType::DateTime,
        "guid" => SqlType::UniqueIdentifier,
        "variant" => SqlType::Variant,
        "nmax" => types::nvarchar_max(),
        "ntext" => SqlType::NText { collation },
        "image" => SqlType::Image,
        "lsn" => SqlType::Decimal { precision: 25, scale: 0 },
        "sysname" => types::sysname(),
        other => {
            let (kind, length) = other.split_at(other.find(|c: char| c.is_ascii_digit()).unwrap_or(other.len()));
            let length: u16 = length.parse().unwrap_or(0);
            match kind {
                "n" => types::nvarchar(length),
                "v" => types::varchar(length),
                "char" => SqlType::Char { length, collation },
                "nc" => SqlType::NChar { length, collation },
                "num" => SqlType::Decimal { precision: length as u8, scale: 0 },
                "dto" => SqlType::DateTimeOffset { scale: length as u8 },
                "varbin" => SqlType::VarBinary { length: Some(length) },
                "bin" => SqlType::Binary { length },
                _ => unreachable!("a view of ours names the type {other}"),
            }
        }
    }
}

/// The columns that a text names.
pub(super) fn columns(spec: &str) -> Vec<Column> {
    parse(spec).into_iter().map(|(column, _)| column).collect()
}

fn parse(spec: &str) -> Vec<(Column, Value)> {
    spec.split(',')
        .filter_map(|part| {
            let part = part.trim();
            part.strip_prefix('[').map_or_else(|| part.split_once(' '), |part| part.split_once("] "))
        })
        .map(|(name, rest)| {
            let (ty, fixed) = rest.split_once('=').map_or((rest, None), |(ty, v)| (ty, Some(v)));
            let (ty, nullable) = ty.strip_suffix('?').map_or((ty, false), |t| (t, true));
            let ty = sql_type(ty);
            let value = match fixed {
                None => NULL,
                Some(v) if types::is_text(&ty) => padded(t(v), &ty),
                Some(v) if ty == SqlType::Real => Value::Float(v.parse().unwrap_or(0.0)),
                Some(v) => n(v.parse::<i64>().unwrap_or(0)),
            };
            (Column::plain(name.to_owned(), ty, nullable), value)
        })
        .collect()
}

/// A view whose rows give the columns named in `given`, in that order; the others are as the text has them.
pub(super) fn view<'a, R: IntoIterator<Item = Value>>(
    spec: &str,
    given: impl IntoIterator<Item = &'a str>,
    rows: impl IntoIterator<Item = R>,
) -> (Vec<Column>, Rows) {
    let parsed = parse(spec);
    let place = |name: &str| {
        let at = parsed.iter().position(|(c, _)| c.name == name);
        at.unwrap_or_else(|| unreachable!("a view of ours has no column {name}"))
    };
    let places: Vec<usize> = given.into_iter().map(place).collect();
    let (columns, base): (Vec<Column>, Vec<Value>) = parsed.into_iter().unzip();
    let fill = |values: R| {
        let mut row = base.clone();
        for (at, value) in places.iter().zip(values) {
            row[*at] = padded(value, &columns[*at].ty);
        }
        row
    };
    let rows = rows.into_iter().map(fill).collect();
    (columns, rows)
}

/// A value as a column of a fixed length has it.
fn padded(value: Value, ty: &SqlType) -> Value {
    let length = match ty {
        SqlType::NChar { length, .. } | SqlType::Char { length, .. } => usize::from(*length),
        _ => return value,
    };
    match value.as_text() {
        Some(text) => t(&format!("{text:length$}")),
        None => value,
    }
}

/// A view that has no rows here.
pub(super) fn none(spec: &str) -> (Vec<Column>, Rows) {
    (columns(spec), Vec::new())
}

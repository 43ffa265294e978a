//! Names and types as PostgreSQL's SQL spells them.

use std::borrow::Cow;

use logferry_model::{Comparison, Domain, PgType, TargetColumn, TargetTable};

use crate::error::Error;

/// PostgreSQL cuts longer names, silently.
pub const NAME_BYTES_MAX: usize = 63;

/// A name in quotes.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Schema and table in quotes.
pub fn qualified(table: &TargetTable) -> String {
    format!("{}.{}", quoted(&table.schema), quoted(&table.name))
}

/// Schema and table as messages show them.
pub(crate) fn shown(table: &TargetTable) -> String {
    format!("\"{}.{}\"", table.schema, table.name)
}

/// Columns in quotes, with commas.
pub(crate) fn column_list(table: &TargetTable, columns: impl IntoIterator<Item = usize>) -> String {
    columns.into_iter().map(|c| quoted(&table.columns[c].name)).collect::<Vec<_>>().join(", ")
}

/// A type as a column definition spells it.
pub fn type_name(t: &PgType) -> String {
    match t {
        PgType::Numeric { precision, scale } => format!("numeric({precision},{scale})"),
        PgType::Time { precision } => format!("time({precision})"),
        PgType::Timestamp { precision } => format!("timestamp({precision})"),
        PgType::TimestampTz { precision } => format!("timestamp({precision}) with time zone"),
        PgType::VarChar { length } => format!("varchar({length})"),
        PgType::Char { length } => format!("char({length})"),
        PgType::Float8 => "double precision".to_owned(),
        PgType::Int2 => "smallint".to_owned(),
        PgType::Int4 => "integer".to_owned(),
        PgType::Int8 => "bigint".to_owned(),
        PgType::Bool => "boolean".to_owned(),
        PgType::Float4 => "real".to_owned(),
        PgType::Float4Array => "real[]".to_owned(),
        PgType::Date | PgType::Uuid | PgType::Text | PgType::Bytea | PgType::Xml | PgType::Jsonb => {
            base_type(t).to_owned()
        }
        PgType::CiText | PgType::Vector | PgType::Ltree | PgType::Geometry | PgType::Geography => {
            sql_type(t).into_owned()
        }
    }
}

/// Type and collation of a column as its definition spells them.
pub(crate) fn column_type(column: &TargetColumn) -> String {
    let name = column.domain.as_ref().map_or_else(|| type_name(&column.pg_type), qualified_domain);
    match column.comparison {
        None => name,
        Some(comparison) => format!("{name} COLLATE {}", collation(comparison)),
    }
}

/// Schema and name of a domain in quotes.
pub(crate) fn qualified_domain(domain: &Domain) -> String {
    format!("{}.{}", quoted(&domain.schema), quoted(&domain.name))
}

/// A type as `format_type` shows it.
pub(crate) fn formatted_type(t: &PgType) -> String {
    match t {
        PgType::VarChar { length } => format!("character varying({length})"),
        PgType::Char { length } => format!("character({length})"),
        PgType::Time { precision } => format!("time({precision}) without time zone"),
        PgType::Timestamp { precision } => format!("timestamp({precision}) without time zone"),
        other => type_name(other),
    }
}

/// The collation that compares like this. It is beside what is remembered of the tasks.
pub(crate) fn collation(comparison: Comparison) -> String {
    format!("logferry.{}", quoted(comparison.name()))
}

/// A type's name in `pg_type`, without length and precision.
pub(crate) fn base_type(t: &PgType) -> &'static str {
    match t {
        PgType::Bool => "bool",
        PgType::Int2 => "int2",
        PgType::Int4 => "int4",
        PgType::Int8 => "int8",
        PgType::Numeric { .. } => "numeric",
        PgType::Float4 => "float4",
        PgType::Float8 => "float8",
        PgType::Date => "date",
        PgType::Time { .. } => "time",
        PgType::Timestamp { .. } => "timestamp",
        PgType::TimestampTz { .. } => "timestamptz",
        PgType::Uuid => "uuid",
        PgType::VarChar { .. } => "varchar",
        PgType::Char { .. } => "bpchar",
        PgType::Text => "text",
        PgType::Bytea => "bytea",
        PgType::Xml => "xml",
        PgType::Jsonb => "jsonb",
        PgType::Float4Array => "_float4",
        PgType::CiText => "citext",
        PgType::Vector => "vector",
        PgType::Ltree => "ltree",
        PgType::Geometry => "geometry",
        PgType::Geography => "geography",
    }
}

/// The same as SQL spells it. Sessions look for names in `pg_catalog` only, so that nobody can put others in front; extensions are looked
/// for in `public`.
pub(crate) fn sql_type(t: &PgType) -> Cow<'static, str> {
    match t.extension() {
        Some(_) => Cow::Owned(format!("public.{}", base_type(t))),
        None => Cow::Borrowed(base_type(t)),
    }
}

/// The type of the elements of an array that has values of a type. There are no arrays of arrays whose elements are of different lengths, so
/// arrays go as text.
pub(crate) fn element_type(t: &PgType) -> Cow<'static, str> {
    if *t == PgType::Float4Array { Cow::Borrowed("text") } else { sql_type(t) }
}

/// The operator that finds a value of a type.
pub(crate) fn equals(t: &PgType) -> &'static str {
    if t.extension().is_some() { "OPERATOR(public.=)" } else { "=" }
}

/// Refuses the names of a table that PostgreSQL would cut.
pub(crate) fn check_lengths(table: &TargetTable) -> Result<(), Error> {
    let columns =
        table.columns.iter().map(|c| (&c.name, format!("of column \"{}\" of table {}", c.name, shown(table))));
    let own = [
        (&table.schema, format!("of schema \"{}\"", table.schema)),
        (&table.name, format!("of table {}", shown(table))),
    ];
    for (name, place) in own.into_iter().chain(columns) {
        if name.len() > NAME_BYTES_MAX {
            return Err(Error::NameTooLong(place));
        }
    }
    Ok(())
}

/// Cuts a name at a character so that it and `suffix` fit.
pub(crate) fn fit(name: &str, suffix: &str) -> String {
    let end = name.floor_char_boundary(NAME_BYTES_MAX.saturating_sub(suffix.len()));
    format!("{}{suffix}", &name[..end])
}

//! Cutting a table into key ranges.
//!
//! ```text
//!  b1          b2          b3
//! ──┼───────────┼───────────┼──     chunk 0: key <= b1   1: b1 < key <= b2   2: b2 < key <= b3   3: b3 < key
//! ```
//!
//! Any boundaries make a partition of the rows, as long as both neighbours are given the same one: so they need not be values
//! of rows, and a text that loses a character on its way through UTF-16 does no harm. The order is the server's own, by the
//! column's type and collation; boundaries are never compared here (a `uniqueidentifier` sorts by its last six bytes first).
//!
//! Of one integer column without large gaps the range is cut evenly, which costs two lookups. Of all others the index is walked once,
//! a chunk at a time.

use logferry_model::SqlType;
use logferry_mssql_format::render;
use tiberius::numeric::Numeric;
use tiberius::time::{Date, DateTime, DateTime2, DateTimeOffset, SmallDateTime, Time};
use tiberius::{ColumnData, ToSql};

use crate::catalog::{Order, OrderColumn, Size, Table};
use crate::error::Error;
use crate::session::Session;
use crate::sql::quoted;

/// A value of each key column.
pub(crate) type Boundary = Vec<Value>;

/// A value as the client library has it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Value(pub(crate) ColumnData<'static>);

impl Value {
    /// The value of a cell, for a parameter; `None` where it cannot be told what the server would make of it: bytes that are no text in
    /// the code page of their collation.
    pub(crate) fn of(sql_type: &SqlType, cell: &[u8]) -> Option<Self> {
        let int = |cell: &[u8]| {
            let mut bytes = [if cell.last()? & 0x80 != 0 { 0xFF } else { 0 }; 8];
            bytes.get_mut(..cell.len())?.copy_from_slice(cell);
            Some(i64::from_le_bytes(bytes))
        };
        let unsigned = |cell: &[u8]| {
            let mut bytes = [0; 16];
            bytes.get_mut(..cell.len())?.copy_from_slice(cell);
            Some(u128::from_le_bytes(bytes))
        };
        let date = |cell: &[u8]| Some(Date::new(u32::try_from(unsigned(cell.get(..3)?)?).ok()?));
        let time = |cell: &[u8], scale: u8| Some(Time::new(u64::try_from(unsigned(cell)?).ok()?, scale));
        let both = |cell: &[u8], scale: u8| {
            let (first, last) = cell.split_at_checked(cell.len().checked_sub(3)?)?;
            Some(DateTime2::new(date(last)?, time(first, scale)?))
        };
        Some(Value(match *sql_type {
            SqlType::TinyInt => ColumnData::I64(Some(i64::from(*cell.first()?))),
            SqlType::SmallInt | SqlType::Int | SqlType::BigInt => ColumnData::I64(Some(int(cell)?)),
            SqlType::Real => ColumnData::F32(Some(f32::from_le_bytes(cell.try_into().ok()?))),
            SqlType::Float => ColumnData::F64(Some(f64::from_le_bytes(cell.try_into().ok()?))),
            SqlType::Decimal { scale, .. } => {
                let (sign, magnitude) = cell.split_first()?;
                let value = i128::try_from(unsigned(magnitude)?).ok()?;
                let value = if *sign == 0 { -value } else { value };
                ColumnData::Numeric(Some(Numeric::new_with_scale(value, scale)))
            }
            SqlType::Date => ColumnData::Date(Some(date(cell)?)),
            SqlType::Time { scale } => ColumnData::Time(Some(time(cell, scale)?)),
            SqlType::DateTime2 { scale } => ColumnData::DateTime2(Some(both(cell, scale)?)),
            SqlType::DateTimeOffset { scale } => {
                let (first, last) = cell.split_last_chunk::<2>()?;
                ColumnData::DateTimeOffset(Some(DateTimeOffset::new(both(first, scale)?, i16::from_le_bytes(*last))))
            }
            SqlType::DateTime => {
                let (ticks, days) = cell.split_first_chunk::<4>()?;
                let days = i32::from_le_bytes(days.try_into().ok()?);
                ColumnData::DateTime(Some(DateTime::new(days, u32::from_le_bytes(*ticks))))
            }
            SqlType::SmallDateTime => {
                let (minutes, days) = cell.split_first_chunk::<2>()?;
                let days = u16::from_le_bytes(days.try_into().ok()?);
                ColumnData::SmallDateTime(Some(SmallDateTime::new(days, u16::from_le_bytes(*minutes))))
            }
            SqlType::UniqueIdentifier => ColumnData::Guid(Some(uuid::Uuid::from_bytes_le(cell.try_into().ok()?))),
            SqlType::Binary { .. } | SqlType::VarBinary { .. } | SqlType::NChar { .. } | SqlType::NVarChar { .. } => {
                ColumnData::Binary(Some(cell.to_vec().into()))
            }
            SqlType::Char { collation, .. } | SqlType::VarChar { collation, .. } => {
                ColumnData::String(Some(render::exact_text_of(collation, cell)?.into_owned().into()))
            }
            _ => return None,
        }))
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> ColumnData<'_> {
        self.0.clone()
    }
}

/// Boundaries of one table at the most: a table is cut into larger chunks rather than into more.
const BOUNDARIES_MAX: u64 = 9_999;
/// The same, where it is cut by an index that is not clustered: for a range of that the server reads row by row, or the whole table, as it
/// estimates; so a copy reads a table as often at the most. Enough for parallel workers, and for going on where it was cut.
const BOUNDARIES_ASIDE_MAX: u64 = 15;

/// Finds boundaries, so that each chunk has about `chunk_bytes`. None where the table is small, or has no order.
pub(crate) async fn boundaries(session: &mut Session, table: &Table, chunk_bytes: u64) -> Result<Vec<Boundary>, Error> {
    let (Some(order), Some(Size { rows, bytes })) = (&table.order, table.size) else { return Ok(Vec::new()) };
    let most = if table.is_cut_by_clustered_key() { BOUNDARIES_MAX } else { BOUNDARIES_ASIDE_MAX };
    let wanted = (bytes / chunk_bytes.max(1)).min(most).min(rows);
    if wanted == 0 {
        return Ok(Vec::new());
    }
    let doing = format!("cut table \"{}\" into chunks", table.version.name);
    let from = from(table);
    if let [column] = order.columns.as_slice()
        && is_integer(&column.sql_type)
    {
        let name = quoted(&column.name);
        let text = format!("SELECT CONVERT(bigint, MIN({name})), CONVERT(bigint, MAX({name})) FROM {from}");
        let found = session.rows(&doing, &text, &[]).await?;
        let bound = |at: usize| found.first().and_then(|row| row.try_get::<i64, _>(at).ok().flatten());
        match (bound(0), bound(1)) {
            (Some(least), Some(greatest)) if is_dense(least, greatest, rows) => {
                return Ok(even(least, greatest, wanted));
            }
            (Some(_), Some(_)) => {}
            _ => return Ok(Vec::new()),
        }
    }
    let rows_each = i64::try_from(rows / (wanted + 1)).unwrap_or(i64::MAX).max(1);
    let list: Vec<String> = order.columns.iter().map(selected).collect();
    let names: Vec<String> = order.columns.iter().map(|c| quoted(&c.name)).collect();
    let (list, names) = (list.join(", "), names.join(", "));
    let mut found: Vec<Boundary> = Vec::new();
    while (found.len() as u64) < wanted {
        let (filter, mut values): (String, Vec<&dyn ToSql>) = match found.last() {
            Some(last) => {
                (format!(" WHERE {}", after(&order.columns, 1)), last.iter().map(|value| value as &dyn ToSql).collect())
            }
            None => (String::new(), Vec::new()),
        };
        values.push(&rows_each);
        let number = values.len();
        let text =
            format!("SELECT {list} FROM {from}{filter} ORDER BY {names} OFFSET @P{number} ROWS FETCH NEXT 1 ROWS ONLY");
        let rows = session.rows(&doing, &text, &values).await?;
        let Some(row) = rows.into_iter().next() else { break };
        found.push(row.into_iter().map(Value).collect());
    }
    Ok(found)
}

/// `[schema].[table]`
pub(crate) fn from(table: &Table) -> String {
    let name = &table.version.name;
    format!("{}.{}", quoted(&name.schema), quoted(&name.name))
}

/// The table, a filter (with its WHERE, or empty) and the table's own condition.
pub(crate) fn rows(table: &Table, filter: &str) -> String {
    let from = from(table);
    let Some(condition) = &table.condition else { return format!("{from}{filter}") };
    let condition = condition.text();
    match filter.strip_prefix(" WHERE ") {
        Some(filter) => format!("{from} WHERE ({filter}) AND {condition}"),
        None => format!("{from} WHERE {condition}"),
    }
}

/// The rows of a chunk: a filter, and its parameters.
pub(crate) fn filter(order: Option<&Order>, boundaries: &[Boundary], number: usize) -> Option<(String, Vec<Value>)> {
    let Some(order) = order else { return Some((String::new(), Vec::new())) };
    let below = number.checked_sub(1).and_then(|n| boundaries.get(n));
    let above = boundaries.get(number);
    if number > 0 && below.is_none() {
        return None;
    }
    let columns = &order.columns;
    let mut values = below.cloned().unwrap_or_default();
    let mut parts = Vec::new();
    if below.is_some() {
        parts.push(after(columns, 1));
    }
    if let Some(above) = above {
        parts.push(up_to(columns, values.len() + 1));
        values.extend_from_slice(above);
    }
    let text = if parts.is_empty() { String::new() } else { format!(" WHERE {}", parts.join(" AND ")) };
    Some((text, values))
}

fn is_integer(sql_type: &SqlType) -> bool {
    matches!(sql_type, SqlType::TinyInt | SqlType::SmallInt | SqlType::Int | SqlType::BigInt)
}

/// Whether at least a quarter of the numbers between the two are there.
fn is_dense(least: i64, greatest: i64, rows: u64) -> bool {
    let range = i128::from(greatest) - i128::from(least);
    range < i128::from(rows).saturating_mul(4)
}

fn even(least: i64, greatest: i64, wanted: u64) -> Vec<Boundary> {
    let (least, range) = (i128::from(least), i128::from(greatest) - i128::from(least));
    let parts = i128::from(wanted) + 1;
    let mut last = None;
    (1..parts)
        .map(|n| least + range * n / parts)
        .filter(|&at| last.replace(at) != Some(at))
        .map(|at| vec![Value(ColumnData::I64(i64::try_from(at).ok()))])
        .collect()
}

/// What is asked for a boundary's value.
fn selected(column: &OrderColumn) -> String {
    let name = quoted(&column.name);
    match column.sql_type {
        SqlType::Char { .. } | SqlType::VarChar { .. } => format!("CONVERT(nvarchar(4000), {name})"),
        // Half a surrogate pair would end the answer.
        SqlType::NChar { .. } | SqlType::NVarChar { .. } => format!("CONVERT(varbinary(8000), {name})"),
        _ => name,
    }
}

/// A parameter as a value of the column's own type and collation: anything else would keep the server from seeking in the index.
fn parameter(column: &OrderColumn, number: usize) -> String {
    let collate = column.collation.as_ref().filter(|c| c.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
    let collate = collate.filter(|_| matches!(column.sql_type, SqlType::Char { .. } | SqlType::VarChar { .. }));
    match (type_name(&column.sql_type), collate) {
        (Some(ty), Some(collation)) => format!("CONVERT({ty}, @P{number} COLLATE {collation})"),
        (Some(ty), None) => format!("CONVERT({ty}, @P{number})"),
        (None, _) => format!("@P{number}"),
    }
}

/// A type that a key may have, as T-SQL spells it; `None` for others.
pub(crate) fn type_name(sql_type: &SqlType) -> Option<String> {
    Some(match *sql_type {
        SqlType::TinyInt => "tinyint".to_owned(),
        SqlType::SmallInt => "smallint".to_owned(),
        SqlType::Int => "int".to_owned(),
        SqlType::BigInt => "bigint".to_owned(),
        SqlType::Bit => "bit".to_owned(),
        SqlType::Decimal { precision, scale } => format!("decimal({precision}, {scale})"),
        SqlType::Real => "real".to_owned(),
        SqlType::Float => "float".to_owned(),
        SqlType::Date => "date".to_owned(),
        SqlType::Time { scale } => format!("time({scale})"),
        SqlType::DateTime => "datetime".to_owned(),
        SqlType::SmallDateTime => "smalldatetime".to_owned(),
        SqlType::DateTime2 { scale } => format!("datetime2({scale})"),
        SqlType::DateTimeOffset { scale } => format!("datetimeoffset({scale})"),
        SqlType::UniqueIdentifier => "uniqueidentifier".to_owned(),
        SqlType::Binary { length } => format!("binary({length})"),
        SqlType::VarBinary { length: Some(length) } => format!("varbinary({length})"),
        SqlType::Char { length, .. } => format!("char({length})"),
        SqlType::VarChar { length: Some(length), .. } => format!("varchar({length})"),
        SqlType::NChar { length, .. } => format!("nchar({length})"),
        SqlType::NVarChar { length: Some(length), .. } => format!("nvarchar({length})"),
        _ => return None,
    })
}

/// Any of as many rows as there are places, their key columns one after the other.
pub(crate) fn any_of(columns: &[OrderColumn], places: usize) -> String {
    let number = |place: usize, column: usize| place * columns.len() + column + 1;
    if let [column] = columns {
        let list: Vec<String> = (0..places).map(|place| parameter(column, number(place, 0))).collect();
        return format!("{} IN ({})", quoted(&column.name), list.join(", "));
    }
    let row = |place: usize| {
        let all: Vec<String> = (0..)
            .zip(columns)
            .map(|(at, column)| format!("{} = {}", quoted(&column.name), parameter(column, number(place, at))))
            .collect();
        format!("({})", all.join(" AND "))
    };
    let rows: Vec<String> = (0..places).map(row).collect();
    rows.join(" OR ")
}

/// `(a, b) > (@P1, @P2)`: the condition on the first column stands alone, so that the index can be entered there.
fn after(columns: &[OrderColumn], first: usize) -> String {
    compare(columns, first, ">", ">")
}

/// `(a, b) <= (@P1, @P2)`
fn up_to(columns: &[OrderColumn], first: usize) -> String {
    compare(columns, first, "<", "<=")
}

fn compare(columns: &[OrderColumn], first: usize, strict: &str, last: &str) -> String {
    let Some((head, rest)) = columns.split_first() else { return "1 = 1".to_owned() };
    let (name, parameter) = (quoted(&head.name), parameter(head, first));
    if rest.is_empty() {
        return format!("{name} {last} {parameter}");
    }
    let rest = compare(rest, first + 1, strict, last);
    format!("({name} {strict}= {parameter} AND ({name} {strict} {parameter} OR {rest}))")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, sql_type: SqlType) -> OrderColumn {
        let text = matches!(sql_type, SqlType::VarChar { .. });
        OrderColumn { name: name.to_owned(), sql_type, collation: text.then(|| "Latin1_General_CI_AS".to_owned()) }
    }

    fn at(n: i64) -> Boundary {
        vec![Value(ColumnData::I64(Some(n)))]
    }

    #[track_caller]
    fn check(boundaries: &[Boundary], number: usize, expect: Option<&str>) {
        let order = Order { columns: vec![column("id", SqlType::Int)] };
        let found = filter(Some(&order), boundaries, number);
        assert_eq!(found.as_ref().map(|(text, _)| text.as_str()), expect);
        let marks = expect.unwrap_or_default().matches("@P").count();
        assert_eq!(found.map_or(0, |(_, values)| values.len()), marks, "as many values as places for them");
    }

    #[test]
    fn chunks_are_a_partition() {
        check(&[], 0, Some(""));
        check(&[], 1, None);
        let two = [at(10), at(20)];
        check(&two, 0, Some(" WHERE [id] <= CONVERT(int, @P1)"));
        check(&two, 1, Some(" WHERE [id] > CONVERT(int, @P1) AND [id] <= CONVERT(int, @P2)"));
        check(&two, 2, Some(" WHERE [id] > CONVERT(int, @P1)"));
        check(&two, 3, None);
    }

    #[test]
    fn several_columns_compare_as_one() {
        let varchar = SqlType::VarChar { length: Some(9), collation: Default::default() };
        let columns = [column("a]", varchar), column("b", SqlType::UniqueIdentifier)];
        assert_eq!(
            after(&columns, 1),
            "([a]]] >= CONVERT(varchar(9), @P1 COLLATE Latin1_General_CI_AS) AND ([a]]] > CONVERT(varchar(9), @P1 COLLATE \
             Latin1_General_CI_AS) OR [b] > CONVERT(uniqueidentifier, @P2)))"
        );
        let columns = [column("a", SqlType::Int), column("b", SqlType::Int)];
        assert_eq!(
            up_to(&columns, 3),
            "([a] <= CONVERT(int, @P3) AND ([a] < CONVERT(int, @P3) OR [b] <= CONVERT(int, @P4)))"
        );
    }

    /// Estuary, 2026-07-30; SymmetricDS: a parameter of another type or collation than its column makes the server convert the column, row by row.
    #[test]
    fn parameters_have_the_type_of_their_column() {
        let collation = Default::default();
        for (sql_type, expect) in [
            (SqlType::DateTime, "CONVERT(datetime, @P1)"),
            (SqlType::SmallDateTime, "CONVERT(smalldatetime, @P1)"),
            (SqlType::DateTime2 { scale: 3 }, "CONVERT(datetime2(3), @P1)"),
            (SqlType::SmallInt, "CONVERT(smallint, @P1)"),
            (SqlType::Decimal { precision: 20, scale: 4 }, "CONVERT(decimal(20, 4), @P1)"),
            (SqlType::UniqueIdentifier, "CONVERT(uniqueidentifier, @P1)"),
            (SqlType::VarChar { length: Some(9), collation }, "CONVERT(varchar(9), @P1 COLLATE Latin1_General_CI_AS)"),
            (SqlType::NVarChar { length: Some(9), collation }, "CONVERT(nvarchar(9), @P1)"),
            (SqlType::VarBinary { length: Some(9) }, "CONVERT(varbinary(9), @P1)"),
        ] {
            let columns = [column("k", sql_type)];
            assert_eq!(after(&columns, 1), format!("[k] > {expect}"));
            assert_eq!(any_of(&columns, 1), format!("[k] IN ({expect})"));
        }
    }

    #[test]
    fn even_cuts_reach_the_ends_of_the_range() {
        assert_eq!(even(0, 100, 3), [at(25), at(50), at(75)]);
        assert_eq!(even(7, 7, 3), [at(7)]);
        assert_eq!(even(i64::MIN, i64::MAX, 1), [at(-1)]);
        assert!(is_dense(1, 400, 100) && !is_dense(i64::MIN, i64::MAX, 1 << 40));
    }

    #[test]
    fn cells_become_parameters() {
        let check = |sql_type: SqlType, cell: &[u8], expect: Option<ColumnData<'static>>| {
            assert_eq!(Value::of(&sql_type, cell), expect.map(Value), "{sql_type:?} {cell:?}");
        };
        check(SqlType::TinyInt, &[255], Some(ColumnData::I64(Some(255))));
        check(SqlType::SmallInt, &[0xfe, 0xff], Some(ColumnData::I64(Some(-2))));
        check(SqlType::BigInt, &i64::MIN.to_le_bytes(), Some(ColumnData::I64(Some(i64::MIN))));
        let decimal = Numeric::new_with_scale(-258, 2);
        check(SqlType::Decimal { precision: 9, scale: 2 }, &[0, 2, 1, 0, 0], Some(ColumnData::Numeric(Some(decimal))));
        let time = DateTime2::new(Date::new(1), Time::new(2, 2));
        check(SqlType::DateTime2 { scale: 2 }, &[2, 0, 0, 1, 0, 0], Some(ColumnData::DateTime2(Some(time))));
        check(
            SqlType::DateTime,
            &[44, 1, 0, 0, 255, 255, 255, 255],
            Some(ColumnData::DateTime(Some(DateTime::new(-1, 300)))),
        );
        let text = SqlType::VarChar { length: Some(9), collation: Default::default() };
        check(text.clone(), b"abc", Some(ColumnData::String(Some("abc".into()))));
        check(text, &[0xe9], None);
        let text = SqlType::VarChar { length: Some(9), collation: logferry_model::Collation(0x3400_d008) };
        check(text, &[0xe9], Some(ColumnData::String(Some("\u{e9}".into()))));
        check(SqlType::UniqueIdentifier, &[1, 2], None);
        check(SqlType::Date, &[], None);
    }

    #[test]
    fn rows_are_found_by_their_keys() {
        let columns = [column("a", SqlType::Int), column("b", SqlType::Date)];
        assert_eq!(any_of(&columns[..1], 2), "[a] IN (CONVERT(int, @P1), CONVERT(int, @P2))");
        assert_eq!(
            any_of(&columns, 2),
            "([a] = CONVERT(int, @P1) AND [b] = CONVERT(date, @P2)) OR ([a] = CONVERT(int, @P3) AND [b] = CONVERT(date, @P4))"
        );
    }

    #[test]
    fn boundaries_are_kept_exactly() {
        let values: Boundary = vec![
            Value(ColumnData::I64(Some(i64::MIN))),
            Value(ColumnData::Numeric(Some(tiberius::numeric::Numeric::new_with_scale(1 - 10i128.pow(38), 38)))),
            Value(ColumnData::Binary(Some(vec![0, 0xd8].into()))),
            Value(ColumnData::Guid(Some(uuid::Uuid::from_u128(5)))),
            Value(ColumnData::F64(Some(0.1))),
        ];
        let kept = serde_json::to_string(&values).expect("JSON");
        assert_eq!(serde_json::from_str::<Boundary>(&kept).expect("JSON"), values);
    }
}

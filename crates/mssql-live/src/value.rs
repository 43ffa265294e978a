//! Values as SQL Server stores them, though they come over the wire.
//!
//! A cell of [`logferry_model`] has the bytes that a page has. The client library hands out numbers and times raw, and those are
//! put into that form here. Where it would round a value, or refuse a whole answer because of one, the value is asked for in
//! another form; each costs the server a conversion, none loses anything:
//!
//! | type | asked for as | because |
//! |---|---|---|
//! | `money`, `smallmoney` | `decimal(19,4)`, `decimal(10,4)` | they come as `f64`: 922337203685477.5807 would end in .6 |
//! | `char`, `varchar`, `text` | `varbinary` | a byte that is not in the code page, or a code page that is not known, ends the answer |
//! | `nchar`, `nvarchar`, `ntext` | `varbinary` | half a surrogate pair, which is legal there, ends the answer; and it saves the way through UTF-8 and back |
//! | `sql_variant` | its base type's name and properties, and `varbinary` | base types are not told, and money is rounded |
//! | `xml`, `json`, `vector` | `nvarchar(max)`, as `varbinary` | their stored forms never leave the server: the text does |
//! | `hierarchyid`, `geometry`, `geography`, CLR types | `varbinary` | the bytes that are stored; the type's name would have to be parsed |
//!
//! Numbers in a `varbinary` are most significant byte first, times and decimals have a form of their own: see `variant`.
//! <https://learn.microsoft.com/sql/t-sql/functions/cast-and-convert-transact-sql#binary-styles>

mod variant;

use logferry_model::{RowRef, RowStore, SourceColumn, SqlType};
use tiberius::{ColumnData, Row};

use crate::chunks;
use crate::sql::quoted;

/// How the columns of a table are asked for, and how rows of them are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    columns: Vec<ColumnForm>,
    expressions: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ColumnForm {
    name: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bit,
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    Real,
    Float,
    /// Length of the magnitude.
    Decimal(usize),
    Money,
    SmallMoney,
    Date,
    Time,
    DateTime,
    SmallDateTime,
    DateTime2,
    DateTimeOffset,
    Guid,
    Bytes,
    Variant,
}

/// A value that came in another form than it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column \"{column}\" came as something else than {expected}")]
pub struct WrongForm {
    column: String,
    expected: &'static str,
}

/// What a value is expected to be that has no room.
const ROOM: &str = "values of a row that are less than 4 GiB together";

impl Form {
    /// The form of some columns.
    pub fn of(columns: &[SourceColumn]) -> Self {
        let mut form = Form { columns: Vec::new(), expressions: Vec::new() };
        columns.iter().for_each(|column| form.push(column, ask_for(&quoted(&column.name), &column.sql_type)));
        form
    }

    /// The form of the same columns in a change table, of which some are not there: they are NULL in every row. Identity columns are `int`
    /// or `bigint` there, whatever they are in the table.
    /// <https://learn.microsoft.com/sql/relational-databases/system-tables/cdc-capture-instance-ct-transact-sql#captured-column-data-types>
    pub(crate) fn of_captured(columns: &[SourceColumn], is_missing: impl Fn(&SourceColumn) -> bool) -> Self {
        let mut form = Form { columns: Vec::new(), expressions: Vec::new() };
        for column in columns {
            let (kind, mut expressions) = ask_for(&quoted(&column.name), &column.sql_type);
            if is_missing(column) {
                expressions.iter_mut().for_each(|expression| *expression = "CONVERT(nvarchar(1), NULL)".to_owned());
            } else if let (Some(_), Some(ty)) = (&column.identity, chunks::type_name(&column.sql_type)) {
                expressions.iter_mut().for_each(|expression| *expression = format!("CONVERT({ty}, {expression})"));
            }
            form.push(column, (kind, expressions));
        }
        form
    }

    fn push(&mut self, column: &SourceColumn, (kind, mut expressions): (Kind, Vec<String>)) {
        self.expressions.append(&mut expressions);
        self.columns.push(ColumnForm { name: column.name.clone(), kind });
    }

    /// The list of a SELECT.
    pub fn select_list(&self) -> String {
        self.expressions.join(", ")
    }

    /// Adds a row to a store.
    ///
    /// # Errors
    /// Where a value is not what was asked for: the table was changed under way. Where there is no room for it.
    pub fn read(&self, row: Row, rows: &mut RowStore) -> Result<RowRef, WrongForm> {
        self.read_cells(&mut row.into_iter(), rows)
    }

    /// Adds a row whose columns come after others that were taken from the answer's row before.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn read_cells(
        &self,
        cells: &mut impl Iterator<Item = ColumnData<'static>>,
        rows: &mut RowStore,
    ) -> Result<RowRef, WrongForm> {
        let mut out = rows.start_row();
        let mut scratch = Vec::with_capacity(32);
        for column in &self.columns {
            let wrong = |expected| WrongForm { column: column.name.clone(), expected };
            scratch.clear();
            if column.kind == Kind::Variant {
                let parts: Vec<ColumnData<'static>> = cells.by_ref().take(variant::PARTS).collect();
                match parts.first_chunk().and_then(|parts| variant::stored(parts, &mut scratch)) {
                    Some(true) => out.value(|to| to.extend_from_slice(&scratch)),
                    Some(false) => out.null(),
                    None => return Err(wrong("a sql_variant of a type that is known")),
                }
                continue;
            }
            let cell = cells.next().ok_or_else(|| wrong("a value"))?;
            if let (Kind::Bytes, ColumnData::Binary(bytes)) = (column.kind, &cell) {
                match bytes {
                    Some(bytes) => out.any_value(bytes).map_err(|_| wrong(ROOM))?,
                    None => out.null(),
                }
                continue;
            }
            match stored(column.kind, &cell, &mut scratch) {
                Ok(true) => out.any_value(&scratch).map_err(|_| wrong(ROOM))?,
                Ok(false) => out.null(),
                Err(expected) => return Err(wrong(expected)),
            }
        }
        Ok(out.finish())
    }
}

fn ask_for(name: &str, sql_type: &SqlType) -> (Kind, Vec<String>) {
    let convert = |to: &str| vec![format!("CONVERT({to}, {name})")];
    let bytes = |length: Option<u32>| match length {
        Some(n @ 1..=8000) => format!("varbinary({n})"),
        _ => "varbinary(max)".to_owned(),
    };
    let text = || vec![format!("CONVERT(varbinary(max), CONVERT(nvarchar(max), {name}))")];
    let plain = || vec![name.to_owned()];
    match sql_type {
        SqlType::Bit => (Kind::Bit, plain()),
        SqlType::TinyInt => (Kind::TinyInt, plain()),
        SqlType::SmallInt => (Kind::SmallInt, plain()),
        SqlType::Int => (Kind::Int, plain()),
        SqlType::BigInt => (Kind::BigInt, plain()),
        SqlType::Real => (Kind::Real, plain()),
        SqlType::Float => (Kind::Float, plain()),
        SqlType::Decimal { precision, .. } => (Kind::Decimal(magnitude_len(*precision)), plain()),
        SqlType::Money => (Kind::Money, convert("decimal(19, 4)")),
        SqlType::SmallMoney => (Kind::SmallMoney, convert("decimal(10, 4)")),
        SqlType::Date => (Kind::Date, plain()),
        SqlType::Time { .. } => (Kind::Time, plain()),
        SqlType::DateTime => (Kind::DateTime, plain()),
        SqlType::SmallDateTime => (Kind::SmallDateTime, plain()),
        SqlType::DateTime2 { .. } => (Kind::DateTime2, plain()),
        SqlType::DateTimeOffset { .. } => (Kind::DateTimeOffset, plain()),
        SqlType::UniqueIdentifier => (Kind::Guid, plain()),
        SqlType::Char { length, .. } => (Kind::Bytes, convert(&bytes(Some(u32::from(*length))))),
        SqlType::VarChar { length, .. } => (Kind::Bytes, convert(&bytes(length.map(u32::from)))),
        SqlType::NChar { length, .. } => (Kind::Bytes, convert(&bytes(Some(2 * u32::from(*length))))),
        SqlType::NVarChar { length: Some(length), .. } => (Kind::Bytes, convert(&bytes(Some(2 * u32::from(*length))))),
        // Also xml and json, which the catalog calls so.
        SqlType::NVarChar { length: None, .. } | SqlType::NText { .. } | SqlType::Vector => (Kind::Bytes, text()),
        SqlType::Text { .. } => (Kind::Bytes, vec![format!("CONVERT(varbinary(max), CONVERT(varchar(max), {name}))")]),
        SqlType::Binary { .. } | SqlType::VarBinary { .. } => (Kind::Bytes, plain()),
        SqlType::RowVersion => (Kind::Bytes, convert("binary(8)")),
        SqlType::HierarchyId => (Kind::Bytes, convert("varbinary(892)")),
        SqlType::Variant => (Kind::Variant, variant::ask_for(name)),
        SqlType::Image
        | SqlType::Xml
        | SqlType::Geometry
        | SqlType::Geography
        | SqlType::Clr
        | SqlType::Json
        | SqlType::Unknown { .. } => (Kind::Bytes, convert("varbinary(max)")),
    }
}

/// Bytes of a decimal's magnitude in a row.
fn magnitude_len(precision: u8) -> usize {
    match precision {
        0..=9 => 4,
        10..=19 => 8,
        20..=28 => 12,
        _ => 16,
    }
}

/// Appends a value; `false` for NULL, what was expected where something else came.
fn stored(kind: Kind, cell: &ColumnData<'_>, out: &mut Vec<u8>) -> Result<bool, &'static str> {
    macro_rules! le {
        ($value:expr) => {
            $value.map(|v| out.extend_from_slice(&v.to_le_bytes())).is_some()
        };
    }
    if is_null(cell) {
        return Ok(false);
    }
    Ok(match (kind, cell) {
        (Kind::Bit, ColumnData::Bit(v)) => v.map(|v| out.push(u8::from(v))).is_some(),
        (Kind::TinyInt, ColumnData::U8(v)) => v.map(|v| out.push(v)).is_some(),
        (Kind::SmallInt, ColumnData::I16(v)) => le!(v),
        (Kind::Int, ColumnData::I32(v)) => le!(v),
        (Kind::BigInt, ColumnData::I64(v)) => le!(v),
        (Kind::Real, ColumnData::F32(v)) => le!(v),
        (Kind::Float, ColumnData::F64(v)) => le!(v),
        (Kind::Decimal(len), ColumnData::Numeric(v)) => match v {
            Some(v) => {
                out.push(u8::from(v.value() >= 0));
                let magnitude = v.value().unsigned_abs().to_le_bytes();
                let (low, high) = magnitude.split_at(len);
                if high.iter().any(|&b| b != 0) {
                    return Err("a decimal of its precision");
                }
                out.extend_from_slice(low);
                true
            }
            None => false,
        },
        (Kind::Money, ColumnData::Numeric(v)) => match v {
            Some(v) => {
                let units = i64::try_from(v.value()).ok().filter(|_| v.scale() == 4).ok_or("money")?;
                out.extend_from_slice(&units.to_le_bytes());
                true
            }
            None => false,
        },
        (Kind::SmallMoney, ColumnData::Numeric(v)) => match v {
            Some(v) => {
                let units = i32::try_from(v.value()).ok().filter(|_| v.scale() == 4).ok_or("smallmoney")?;
                out.extend_from_slice(&units.to_le_bytes());
                true
            }
            None => false,
        },
        (Kind::Date, ColumnData::Date(v)) => v.map(|v| date(v, out)).is_some(),
        (Kind::Time, ColumnData::Time(v)) => v.map(|v| time(v, out)).is_some(),
        (Kind::DateTime, ColumnData::DateTime(v)) => v
            .map(|v| {
                out.extend_from_slice(&v.seconds_fragments().to_le_bytes());
                out.extend_from_slice(&v.days().to_le_bytes());
            })
            .is_some(),
        // The library names the field so; of a smalldatetime it holds minutes.
        (Kind::SmallDateTime, ColumnData::SmallDateTime(v)) => v
            .map(|v| {
                out.extend_from_slice(&v.seconds_fragments().to_le_bytes());
                out.extend_from_slice(&v.days().to_le_bytes());
            })
            .is_some(),
        (Kind::DateTime2, ColumnData::DateTime2(v)) => v
            .map(|v| {
                time(v.time(), out);
                date(v.date(), out);
            })
            .is_some(),
        (Kind::DateTimeOffset, ColumnData::DateTimeOffset(v)) => v
            .map(|v| {
                time(v.datetime2().time(), out);
                date(v.datetime2().date(), out);
                out.extend_from_slice(&v.offset().to_le_bytes());
            })
            .is_some(),
        (Kind::Guid, ColumnData::Guid(v)) => v.map(|v| out.extend_from_slice(&v.to_bytes_le())).is_some(),
        (Kind::Bytes, ColumnData::Binary(v)) => v.as_ref().map(|v| out.extend_from_slice(v)).is_some(),
        (Kind::Bit, _) => return Err("a bit"),
        (Kind::TinyInt | Kind::SmallInt | Kind::Int | Kind::BigInt, _) => return Err("an integer of its type"),
        (Kind::Real | Kind::Float, _) => return Err("a float of its type"),
        (Kind::Decimal(_) | Kind::Money | Kind::SmallMoney, _) => return Err("a decimal"),
        (Kind::Date | Kind::Time | Kind::DateTime | Kind::SmallDateTime, _) => return Err("a time of its type"),
        (Kind::DateTime2 | Kind::DateTimeOffset, _) => return Err("a time of its type"),
        (Kind::Guid, _) => return Err("a uniqueidentifier"),
        (Kind::Bytes | Kind::Variant, _) => return Err("bytes"),
    })
}

/// NULL of a column that may have several lengths comes as NULL of any of its types.
fn is_null(cell: &ColumnData<'_>) -> bool {
    matches!(
        cell,
        ColumnData::U8(None)
            | ColumnData::I16(None)
            | ColumnData::I32(None)
            | ColumnData::I64(None)
            | ColumnData::F32(None)
            | ColumnData::F64(None)
            | ColumnData::Bit(None)
            | ColumnData::String(None)
            | ColumnData::Guid(None)
            | ColumnData::Binary(None)
            | ColumnData::Numeric(None)
            | ColumnData::Xml(None)
            | ColumnData::DateTime(None)
            | ColumnData::SmallDateTime(None)
            | ColumnData::Time(None)
            | ColumnData::Date(None)
            | ColumnData::DateTime2(None)
            | ColumnData::DateTimeOffset(None)
    )
}

fn date(date: tiberius::time::Date, out: &mut Vec<u8>) {
    let [a, b, c, _] = date.days().to_le_bytes();
    out.extend_from_slice(&[a, b, c]);
}

/// 3, 4 or 5 bytes, by the scale.
fn time(time: tiberius::time::Time, out: &mut Vec<u8>) {
    let len = match time.scale() {
        0..=2 => 3,
        3..=4 => 4,
        _ => 5,
    };
    let units = time.increments().to_le_bytes();
    out.extend_from_slice(&units[..len]);
}

#[cfg(test)]
mod tests {
    use logferry_model::Collation;
    use tiberius::numeric::Numeric;
    use tiberius::time::{Date, DateTime, DateTime2, DateTimeOffset, SmallDateTime, Time};

    use super::*;

    #[track_caller]
    fn check(sql_type: SqlType, cell: ColumnData<'static>, expect: &[u8]) {
        let (kind, _) = ask_for("[c]", &sql_type);
        let mut out = Vec::new();
        assert_eq!(stored(kind, &cell, &mut out), Ok(true), "{sql_type:?} {cell:?}");
        assert_eq!(out, expect, "{sql_type:?} {cell:?}");
    }

    #[test]
    fn values_take_their_stored_form() {
        check(SqlType::Bit, ColumnData::Bit(Some(true)), &[1]);
        check(SqlType::TinyInt, ColumnData::U8(Some(255)), &[255]);
        check(SqlType::SmallInt, ColumnData::I16(Some(-2)), &[0xfe, 0xff]);
        check(SqlType::Int, ColumnData::I32(Some(i32::MIN)), &[0, 0, 0, 0x80]);
        check(SqlType::BigInt, ColumnData::I64(Some(1)), &[1, 0, 0, 0, 0, 0, 0, 0]);
        check(SqlType::Real, ColumnData::F32(Some(1.0)), &[0, 0, 0x80, 0x3f]);
        check(SqlType::Float, ColumnData::F64(Some(-0.0)), &[0, 0, 0, 0, 0, 0, 0, 0x80]);
        let decimal = |value, scale| ColumnData::Numeric(Some(Numeric::new_with_scale(value, scale)));
        check(SqlType::Decimal { precision: 9, scale: 2 }, decimal(-258, 2), &[0, 2, 1, 0, 0]);
        check(SqlType::Decimal { precision: 10, scale: 0 }, decimal(0, 0), &[1, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut greatest = vec![1];
        greatest.extend_from_slice(&(10u128.pow(38) - 1).to_le_bytes());
        check(SqlType::Decimal { precision: 38, scale: 38 }, decimal(10i128.pow(38) - 1, 38), &greatest);
        check(SqlType::Money, decimal(i64::MAX.into(), 4), &i64::MAX.to_le_bytes());
        check(SqlType::Money, decimal(i64::MIN.into(), 4), &i64::MIN.to_le_bytes());
        check(SqlType::SmallMoney, decimal(i32::MIN.into(), 4), &i32::MIN.to_le_bytes());
        check(SqlType::Date, ColumnData::Date(Some(Date::new(3_652_058))), &[0xda, 0xb9, 0x37]);
        let last = Time::new(863_999_999_999, 7);
        check(SqlType::Time { scale: 7 }, ColumnData::Time(Some(last)), &[0xff, 0xbf, 0x69, 0x2a, 0xc9]);
        check(SqlType::Time { scale: 0 }, ColumnData::Time(Some(Time::new(86_399, 0))), &[0x7f, 0x51, 1]);
        check(SqlType::Time { scale: 3 }, ColumnData::Time(Some(Time::new(1, 3))), &[1, 0, 0, 0]);
        check(
            SqlType::DateTime,
            ColumnData::DateTime(Some(DateTime::new(-1, 300))),
            &[44, 1, 0, 0, 255, 255, 255, 255],
        );
        check(SqlType::SmallDateTime, ColumnData::SmallDateTime(Some(SmallDateTime::new(2, 1439))), &[159, 5, 2, 0]);
        let both = DateTime2::new(Date::new(1), Time::new(2, 2));
        check(SqlType::DateTime2 { scale: 2 }, ColumnData::DateTime2(Some(both)), &[2, 0, 0, 1, 0, 0]);
        let offset = ColumnData::DateTimeOffset(Some(DateTimeOffset::new(both, -840)));
        check(SqlType::DateTimeOffset { scale: 2 }, offset, &[2, 0, 0, 1, 0, 0, 0xb8, 0xfc]);
        let guid = uuid::Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
        let stored = [0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
        check(SqlType::UniqueIdentifier, ColumnData::Guid(Some(guid)), &stored);
        check(SqlType::Image, ColumnData::Binary(Some(vec![0, 1].into())), &[0, 1]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut out = Vec::new();
        let decimal = |value, scale| ColumnData::Numeric(Some(Numeric::new_with_scale(value, scale)));
        for (kind, cell) in [
            (Kind::Decimal(4), decimal(1 << 40, 0)),
            (Kind::Money, decimal(i128::from(i64::MAX) + 1, 4)),
            (Kind::Money, decimal(1, 3)),
            (Kind::SmallMoney, decimal(1 << 40, 4)),
            (Kind::Int, ColumnData::I64(Some(1))),
            (Kind::Money, ColumnData::F64(Some(1.0))),
            (Kind::Bytes, ColumnData::String(Some("a".into()))),
        ] {
            assert!(stored(kind, &cell, &mut out).is_err(), "{kind:?} {cell:?}");
        }
        assert_eq!(stored(Kind::Int, &ColumnData::I32(None), &mut out), Ok(false));
        assert_eq!(stored(Kind::SmallDateTime, &ColumnData::DateTime(None), &mut out), Ok(false));
    }

    #[track_caller]
    fn check_asked(sql_type: SqlType, expect: &str) {
        assert_eq!(ask_for("[c]", &sql_type).1.join(", "), expect);
    }

    #[test]
    fn forms_that_lose_nothing_are_asked_for() {
        let collation = Collation(0x3400_d008);
        check_asked(SqlType::Int, "[c]");
        check_asked(SqlType::Money, "CONVERT(decimal(19, 4), [c])");
        check_asked(SqlType::VarChar { length: Some(8000), collation }, "CONVERT(varbinary(8000), [c])");
        check_asked(SqlType::VarChar { length: None, collation }, "CONVERT(varbinary(max), [c])");
        check_asked(SqlType::NVarChar { length: Some(4000), collation }, "CONVERT(varbinary(8000), [c])");
        check_asked(SqlType::NChar { length: 5, collation }, "CONVERT(varbinary(10), [c])");
        check_asked(SqlType::Text { collation }, "CONVERT(varbinary(max), CONVERT(varchar(max), [c]))");
        check_asked(SqlType::NText { collation }, "CONVERT(varbinary(max), CONVERT(nvarchar(max), [c]))");
        check_asked(SqlType::RowVersion, "CONVERT(binary(8), [c])");
    }
}

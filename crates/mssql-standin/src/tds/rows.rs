//! Rows that clients send: bulk load, and table-valued parameters.
//!
//! ```text
//!  bulk load   0x81 u16 count { u32 user type, u16 flags, TYPE_INFO, (table), name } { 0xD1 cells | 0xD2 bitmap, cells } (0xFD done)
//!  parameter   0xF3 database, schema, type; u16 count { the same } (0x10 keys) (0x11 order) 0 { 0x01 cells } 0
//! ```
//!
//! Cells are as those of results, so `text`, `ntext` and `image` of a bulk load come behind a text pointer. Source: MS-TDS 2.2.6.1,
//! 2.2.5.5.5.

use logferry_mssql_format::bytes::Result;

use super::session::{SentColumn, SentTable, TableParameter};
use super::value::{SentForm, SentType, read_cell, read_type};
use super::wire::Reader;

const COLUMNS: u8 = 0x81;
const ROW: u8 = 0xD1;
const ROW_WITH_BITMAP: u8 = 0xD2;
const DONE: u8 = 0xFD;
const NO_COLUMNS: u16 = 0xFFFF;
/// A column of a table-valued parameter that the server fills.
const DEFAULT: u16 = 0x200;

/// What a message holds, or what it has that we cannot take.
pub(super) type Taken<T> = std::result::Result<T, &'static str>;

/// The rows of a message of bulk load.
pub(super) fn bulk(data: &[u8]) -> Result<Taken<SentTable>> {
    let mut from = Reader::new(data);
    let token = from.u8("the columns of a bulk load")?;
    if token != COLUMNS {
        return from.fail(format!("token {token:#04x} where the columns of a bulk load were due"));
    }
    let count = from.u16("the number of columns")?;
    let mut forms = Vec::new();
    let mut table = SentTable::default();
    for _ in 0..count {
        from.u32("a column's user type")?;
        from.u16("a column's flags")?;
        let (sql_type, form) = match read_type(&mut from)? {
            SentType::Of(sql_type, form) => (sql_type, form),
            SentType::Table(_) => return Ok(Err("a table in a column of a bulk load")),
            SentType::Refused(what) => return Ok(Err(what)),
        };
        if form == SentForm::Long {
            from.long_text("a column's table")?;
        }
        let name = from.short_text("a column's name")?;
        table.columns.push(SentColumn { name, sql_type });
        forms.push(form);
    }
    loop {
        // Not every client says that it is done.
        if from.is_empty() {
            return Ok(Ok(table));
        }
        let token = from.u8("a token of a bulk load")?;
        let nulls = match token {
            ROW => &[][..],
            ROW_WITH_BITMAP => from.bytes(forms.len().div_ceil(8), "the bitmap of a row")?,
            DONE => return Ok(Ok(table)),
            other => return from.fail(format!("token {other:#04x} in a bulk load")),
        };
        let mut row = Vec::with_capacity(forms.len());
        for (at, (column, form)) in table.columns.iter().zip(&forms).enumerate() {
            let null = nulls.get(at / 8).is_some_and(|bits| bits >> (at % 8) & 1 != 0);
            row.push(match (null, form) {
                (true, _) => None,
                (false, SentForm::Long) if from.u8("the length of a text pointer")? == 0 => None,
                (false, SentForm::Long) => {
                    from.bytes(16 + 8, "a text pointer and its timestamp")?;
                    read_cell(&column.sql_type, SentForm::Long, &mut from)?
                }
                (false, form) => read_cell(&column.sql_type, *form, &mut from)?,
            });
        }
        table.rows.push(row);
    }
}

/// A table-valued parameter, behind the byte of its type.
pub(super) fn table_parameter(from: &mut Reader<'_>) -> Result<Taken<TableParameter>> {
    let names = ["a type's database", "a type's schema", "a type's name"];
    let mut parts = Vec::new();
    for name in names {
        parts.push(from.short_text(name)?);
    }
    let type_name = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let mut table = SentTable::default();
    let mut forms = Vec::new();
    let count = match from.u16("the number of columns")? {
        NO_COLUMNS => 0,
        count => count,
    };
    for _ in 0..count {
        from.u32("a column's user type")?;
        let flags = from.u16("a column's flags")?;
        let (sql_type, form) = match read_type(from)? {
            SentType::Of(sql_type, form) => (sql_type, form),
            SentType::Table(_) => return Ok(Err("a table in a column of a table-valued parameter")),
            SentType::Refused(what) => return Ok(Err(what)),
        };
        if flags & DEFAULT != 0 {
            return Ok(Err("a column of a table-valued parameter that the server is to fill"));
        }
        let name = from.short_text("a column's name")?;
        table.columns.push(SentColumn { name, sql_type });
        forms.push(form);
    }
    loop {
        match from.u8("what a table-valued parameter goes on with")? {
            0 => break,
            // Keys: what the client says of the order of its rows is not asked for.
            0x10 => {
                let keys = from.u16("the number of keys")?;
                from.bytes(usize::from(keys) * 3, "keys")?;
            }
            0x11 => return Ok(Err("a table-valued parameter with its columns in another order")),
            other => return from.fail(format!("token {other:#04x} in a table-valued parameter")),
        }
    }
    loop {
        match from.u8("a row of a table-valued parameter")? {
            0 => return Ok(Ok(TableParameter { type_name, table })),
            1 => {
                let mut row = Vec::with_capacity(forms.len());
                for (column, form) in table.columns.iter().zip(&forms) {
                    row.push(read_cell(&column.sql_type, *form, from)?);
                }
                table.rows.push(row);
            }
            other => return from.fail(format!("token {other:#04x} where a row of a table-valued parameter was due")),
        }
    }
}

#[cfg(test)]
mod tests {
    use logferry_model::SqlType;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_of_a_bulk_load() {
        let data = [
            &[COLUMNS, 2, 0][..],
            &[0, 0, 0, 0, 0, 0, 0x38, 1, b'a', 0],
            &[0, 0, 0, 0, 1, 0, 0x22, 0, 0, 1, 0, 1, 0, b't', 0, 1, b'b', 0],
            &[ROW, 7, 0, 0, 0, 16],
            &[0xFF; 24],
            &[2, 0, 0, 0, 8, 9],
            &[ROW, 8, 0, 0, 0, 0],
            &[ROW_WITH_BITMAP, 2, 9, 0, 0, 0],
            &[DONE, 0, 0, 0, 0],
        ]
        .concat();
        let table = bulk(&data).unwrap().unwrap();
        let types: Vec<_> = table.columns.iter().map(|c| (c.name.as_str(), c.sql_type.clone())).collect();
        assert_eq!(types, [("a", SqlType::Int), ("b", SqlType::Image)]);
        let row = |n: u8, image: Option<Vec<u8>>| vec![Some(vec![n, 0, 0, 0]), image];
        assert_eq!(table.rows, [row(7, Some(vec![8, 9])), row(8, None), row(9, None)]);
        let rows = (0..data.len() - 4).filter_map(|len| Some(bulk(&data[..len]).ok()?.ok()?.rows.len()));
        assert_eq!(rows.collect::<Vec<_>>(), [0, 1, 2, 3], "a message may end behind a row, and not in one");
    }

    proptest! {
        #[test]
        fn hostile_rows_are_an_error_never_a_panic(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = bulk(&data);
            let _ = bulk(&[&[COLUMNS, 1, 0, 0, 0, 0, 0, 0, 0][..], &data].concat());
            let _ = table_parameter(&mut Reader::new(&data));
        }
    }
}

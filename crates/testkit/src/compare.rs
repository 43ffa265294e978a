//! Does a target table hold exactly the rows that it should?
//!
//! The rows that should be there are written as text by `mssql_format::render`, which is made for people to read and shares no
//! code with the conversion into PostgreSQL's binary form. PostgreSQL reads these texts into a temporary table of the same
//! shape, and compares the two tables itself, duplicates counted.
//!
//! What the text form does not have (`sql_variant` is shown as its bytes) is left out of the comparison.

use bytes::Bytes;
use futures_util::{SinkExt, TryStreamExt};
use logferry_model::{Cell, SqlType, TableVersion};
use logferry_mssql_format::render;
use serde_json::Value;
use tokio_postgres::Client;

/// The rows that a table should hold.
#[derive(Debug)]
pub struct Expected {
    types: Vec<SqlType>,
    /// In the text form of COPY.
    rows: Vec<u8>,
    count: u64,
}

/// What [`Expected::compare`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Rows that should be there.
    pub expected: u64,
    /// Rows that are there.
    pub found: u64,
    /// Rows that should be there and are not; a row that is there too seldom counts as often as it is missing.
    pub missing: u64,
    /// Rows that are there and should not be.
    pub unexpected: u64,
    /// The begin of one of these, as text, where there is any.
    pub example: Option<String>,
}

impl Comparison {
    /// Whether the table holds exactly the rows that it should.
    pub fn is_equal(&self) -> bool {
        self.expected == self.found && self.missing == 0 && self.unexpected == 0
    }
}

impl Expected {
    /// No rows, of a table.
    pub fn new(table: &TableVersion) -> Self {
        Self::of_types(table.columns.iter().map(|c| c.sql_type.clone()))
    }

    /// No rows, of columns of these types.
    pub fn of_types(types: impl IntoIterator<Item = SqlType>) -> Self {
        Expected { types: types.into_iter().collect(), rows: Vec::new(), count: 0 }
    }

    /// Adds a row, in SQL Server's storage form.
    pub fn row(&mut self, cells: &[Cell<'_>]) {
        for (i, (cell, sql_type)) in cells.iter().zip(&self.types).enumerate() {
            if i > 0 {
                self.rows.push(b'\t');
            }
            match text(*cell, sql_type) {
                Some(text) => escape(&text, &mut self.rows),
                None => self.rows.extend_from_slice(b"\\N"),
            }
        }
        self.rows.push(b'\n');
        self.count += 1;
    }

    /// Compares with a table of the target whose columns are those of the source, in their order.
    ///
    /// # Errors
    /// What the server says.
    pub async fn compare(
        self,
        client: &Client,
        schema: &str,
        table: &str,
    ) -> Result<Comparison, tokio_postgres::Error> {
        let target = format!("{}.{}", quoted(schema), quoted(table));
        let sql = "SELECT attname::text FROM pg_attribute \
                   WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
        let names = client.query(sql, &[&target]).await?;
        let columns: Vec<String> = names
            .iter()
            .zip(&self.types)
            .filter(|(_, sql_type)| **sql_type != SqlType::Variant)
            .map(|(row, _)| quoted(row.get(0)))
            .collect();
        // A column that is left out is text on both sides.
        let columns = if columns.is_empty() { "NULL".to_owned() } else { columns.join(", ") };
        client.batch_execute("SET TimeZone = 'UTC'; DROP TABLE IF EXISTS pg_temp.expected").await?;
        client.batch_execute(&format!("CREATE TEMP TABLE expected AS SELECT * FROM {target} LIMIT 0")).await?;
        let sink = client.copy_in("COPY pg_temp.expected FROM STDIN").await?;
        futures_util::pin_mut!(sink);
        sink.send(Bytes::from(self.rows)).await?;
        sink.finish().await?;
        let found: i64 = client.query_one(&format!("SELECT count(*) FROM {target}"), &[]).await?.get(0);
        let (here, there) =
            (format!("SELECT {columns} FROM {target}"), format!("SELECT {columns} FROM pg_temp.expected"));
        let mut comparison =
            Comparison { expected: self.count, found: found as u64, missing: 0, unexpected: 0, example: None };
        for (a, b, count, word) in [
            (&there, &here, &mut comparison.missing, "missing"),
            (&here, &there, &mut comparison.unexpected, "unexpected"),
        ] {
            let sql = format!("SELECT d::text FROM ({a} EXCEPT ALL {b}) d");
            let rows: Vec<_> = client.query_raw(&sql, no_parameters()).await?.try_collect().await?;
            *count = rows.len() as u64;
            if let (None, Some(row)) = (&comparison.example, rows.first()) {
                let shown: String = row.get::<_, &str>(0).chars().take(EXAMPLE_CHARS).collect();
                comparison.example = Some(format!("{word}: {shown}"));
            }
        }
        Ok(comparison)
    }
}

/// As much of an example as fits into a line.
const EXAMPLE_CHARS: usize = 160;

fn no_parameters() -> [&'static str; 0] {
    []
}

/// A cell as PostgreSQL should read it.
fn text(cell: Cell<'_>, sql_type: &SqlType) -> Option<String> {
    let bytes = cell.bytes()?;
    let rounded = rounded_time(bytes, sql_type);
    let cell = rounded.as_deref().map_or(cell, Cell::Bytes);
    let shown = match render::value(cell, sql_type) {
        Value::String(shown) => shown,
        other => other.to_string(),
    };
    Some(match sql_type {
        // `types.char_padding: trim` and `types.nul_character: remove` are the defaults.
        SqlType::Char { .. } | SqlType::NChar { .. } => shown.trim_end_matches(' ').replace('\0', ""),
        SqlType::VarChar { .. }
        | SqlType::NVarChar { .. }
        | SqlType::Text { .. }
        | SqlType::NText { .. }
        | SqlType::UniqueIdentifier => shown.replace('\0', ""),
        // Numbers that JSON does not have.
        SqlType::Real | SqlType::Float if shown.starts_with("0x") => match bytes.len() {
            4 => f32::from_le_bytes(bytes.try_into().ok()?).to_string(),
            _ => f64::from_le_bytes(bytes.try_into().ok()?).to_string(),
        },
        _ => match shown.strip_prefix("0x") {
            Some(hex) => format!("\\x{hex}"),
            None => shown,
        },
    })
}

/// `types.hundred_ns: round`, the default: to the nearest microsecond of the same day.
fn rounded_time(bytes: &[u8], sql_type: &SqlType) -> Option<Vec<u8>> {
    let (SqlType::Time { scale: 7 } | SqlType::DateTime2 { scale: 7 } | SqlType::DateTimeOffset { scale: 7 }) =
        sql_type
    else {
        return None;
    };
    let mut units = [0; 8];
    units.get_mut(..5)?.copy_from_slice(bytes.get(..5)?);
    let micros = (u64::from_le_bytes(units).checked_add(5)? / 10).min(86_399_999_999);
    let mut rounded = bytes.to_vec();
    rounded.get_mut(..5)?.copy_from_slice(micros.checked_mul(10)?.to_le_bytes().get(..5)?);
    Some(rounded)
}

/// COPY's text form: backslash, tab and line ends are escaped.
fn escape(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            other => out.push(other),
        }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::PrivatePostgres;
    use crate::scripted::ScriptedSource;
    use logferry_model::ChangeSource;

    async fn check(rows: &[(i32, &str)], expect: (u64, u64), equal: bool) {
        let database = PrivatePostgres::shared().create_database().expect("a database");
        let client = database.client().await.expect("a connection");
        let sql = "CREATE TABLE t (id int, v text); INSERT INTO t VALUES (1, E'a\\tb\\\\c'), (2, 'x'), (2, 'x')";
        client.batch_execute(sql).await.expect("a table");
        let table = ScriptedSource::new("table t(id int, v text)\nstart").tables().remove(0);
        let mut expected = Expected::new(&table);
        for (id, v) in rows {
            let v: Vec<u8> = v.encode_utf16().flat_map(u16::to_le_bytes).collect();
            expected.row(&[Cell::Bytes(&id.to_le_bytes()), Cell::Bytes(&v)]);
        }
        let found = expected.compare(&client, "public", "t").await.expect("an answer");
        assert_eq!((found.missing, found.unexpected), expect, "{found:?}");
        assert_eq!(found.is_equal(), equal, "{found:?}");
    }

    #[tokio::test]
    async fn every_difference_is_seen() {
        check(&[(1, "a\tb\\c"), (2, "x"), (2, "x")], (0, 0), true).await;
        check(&[(2, "x"), (1, "a\tb\\c"), (2, "x"), (2, "x")], (1, 0), false).await;
        check(&[(1, "a\tb\\c"), (2, "x")], (0, 1), false).await;
        check(&[(1, "a\tb\\C"), (2, "x"), (2, "x")], (1, 1), false).await;
        check(&[], (0, 3), false).await;
    }
}

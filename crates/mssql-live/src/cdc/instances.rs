//! Capture instances: which there are, what they capture, and which of them serves a table.

use std::collections::HashMap;

use logferry_model::{Lsn, SourceColumn, SqlType, TableId, TableVersion};

use super::window::microseconds;
use crate::catalog::{Edition, Reader, Table};
use crate::error::Error;
use crate::session::Session;
use crate::sql::{self, quoted};

/// A capture instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    /// `object_id` of its change table: tells it from another of the same name that was made later.
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) table: TableId,
    /// The low endpoint: what was committed before is not there, or no longer. None before the first scan.
    pub(crate) start: Option<Lsn>,
    /// Whether `__$command_id` is there.
    pub(crate) has_commands: bool,
    /// `column_id` and name, in the order of the bits of the update mask.
    pub(crate) columns: Vec<(u32, String)>,
}

/// What tells at a glance whether anything about instances is different.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    instances: Option<i64>,
    newest: Option<Lsn>,
    ddl: Option<Lsn>,
}

/// How far the log is captured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// The last transaction that is captured; none before the first scan.
    pub(crate) end: Option<Lsn>,
    /// When it was committed: microseconds since 2000-01-01.
    pub(crate) end_time_us: Option<i64>,
    pub(crate) seen: Seen,
}

/// What the database says of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) is_enabled: bool,
    /// What capture takes text through.
    pub(crate) collation: Option<String>,
    /// Whether capturing is done by jobs of an agent: not in Azure SQL Database.
    pub(crate) has_jobs: bool,
    /// Whether they are on this server: not where it has a secondary replica, which shows neither jobs nor scans.
    pub(crate) shows_jobs: bool,
    /// Whether a transaction can see one moment.
    pub(crate) has_snapshots: bool,
}

impl Facts {
    pub(crate) async fn ask(session: &mut Session) -> Result<Facts, Error> {
        const DOING: &str = "ask whether the database has change data capture";
        let rows = session.rows(DOING, sql::CDC_DATABASE, &[]).await?;
        let Some(row) = rows.first() else { return Ok(Facts::default()) };
        let row = Reader { row, doing: DOING };
        let edition = Edition::of(row.optional("engine_edition")?.unwrap_or(0));
        let has_jobs = edition != Edition::AzureDatabase;
        Ok(Facts {
            is_enabled: row.is("is_cdc_enabled")?,
            collation: row.optional::<&str>("collation_name")?.map(str::to_owned),
            has_jobs,
            shows_jobs: has_jobs && !row.is("is_read_only")?,
            has_snapshots: row.is("snapshot_isolation_state")?,
        })
    }
}

/// A `datetime` as microseconds since 2000-01-01.
struct Moment(i64);

impl<'a> tiberius::FromSql<'a> for Moment {
    fn from_sql(value: &'a tiberius::ColumnData<'static>) -> tiberius::Result<Option<Self>> {
        Ok(match value {
            tiberius::ColumnData::DateTime(Some(time)) => Some(Moment(microseconds(time))),
            _ => None,
        })
    }
}

impl Look {
    pub(crate) async fn ask(session: &mut Session) -> Result<Look, Error> {
        const DOING: &str = "ask how far the log is captured";
        let rows = session.rows(DOING, sql::CDC_LOOK, &[]).await.map_err(|e| match e {
            Error::Statement { number: 208, .. } => Error::CdcGone,
            other => other,
        })?;
        let row = rows
            .first()
            .ok_or_else(|| Error::Unexpected { doing: DOING.to_owned(), what: "there is no answer".to_owned() })?;
        let row = Reader { row, doing: DOING };
        Ok(Look {
            end: lsn(&row, "max_lsn")?,
            end_time_us: row.row.try_get::<Moment, _>("max_time").ok().flatten().map(|time| time.0),
            seen: Seen {
                instances: row.optional("instances")?,
                newest: lsn(&row, "newest_lsn")?,
                ddl: lsn(&row, "ddl_lsn")?,
            },
        })
    }
}

/// Reads an LSN as CDC has it; zero stands for none.
pub(crate) fn lsn(row: &Reader<'_>, column: &'static str) -> Result<Option<Lsn>, Error> {
    let Some(bytes) = row.optional::<&[u8]>(column)? else { return Ok(None) };
    let bytes: [u8; 10] = bytes.try_into().map_err(|_| Error::Unexpected {
        doing: row.doing.to_owned(),
        what: format!("column {column} has {} bytes and not the 10 of an LSN", bytes.len()),
    })?;
    Ok(Some(Lsn::from_be_bytes(bytes)).filter(|lsn| !lsn.is_zero()))
}

/// Reads all instances; of a table the older one comes first.
pub(crate) async fn instances(session: &mut Session) -> Result<Vec<Instance>, Error> {
    const DOING: &str = "list the capture instances";
    let mut columns: HashMap<u32, Vec<(u32, String)>> = HashMap::new();
    let mut answer = session.ask(DOING, sql::CDC_COLUMNS, &[]).await?;
    while let Some(row) = answer.next().await? {
        let row = Reader { row: &row, doing: DOING };
        let column = (row.optional::<i32>("column_id")?.unwrap_or(0) as u32, row.text("column_name")?);
        columns.entry(row.id("object_id")?).or_default().push(column);
    }
    drop(answer);
    let rows = session.rows(DOING, sql::CDC_INSTANCES, &[]).await?;
    let mut found = Vec::new();
    for row in &rows {
        let row = Reader { row, doing: DOING };
        let id = row.id("object_id")?;
        found.push(Instance {
            id,
            name: row.text("capture_instance")?,
            table: TableId(row.id("source_object_id")?),
            start: lsn(&row, "start_lsn")?,
            has_commands: row.get::<i32>("commands")? > 0,
            columns: columns.remove(&id).unwrap_or_default(),
        });
    }
    // One that no scan has seen is the newest.
    found.sort_by_key(|i| (i.table, i.start.unwrap_or(Lsn::MAX), i.id));
    Ok(found)
}

impl Instance {
    /// One that has all columns of a table, as it would be made.
    pub(crate) fn of_all(table: &Table) -> Self {
        let columns = table.version.columns.iter().map(|c| (c.id, c.name.clone())).collect();
        let name = name_of_ours(&table.version, &[]);
        Instance { id: 0, name, table: table.version.id, start: None, has_commands: true, columns }
    }

    /// `cdc.[name_CT]`
    pub(crate) fn change_table(&self) -> String {
        format!("cdc.{}", quoted(&format!("{}_CT", self.name)))
    }

    /// Columns of a table that it does not capture.
    pub(crate) fn missing<'t>(&self, table: &'t TableVersion) -> Vec<&'t SourceColumn> {
        let has = |id: u32, name: &str| self.columns.iter().any(|(own, called)| *own == id && called == name);
        table.columns.iter().filter(|c| !has(c.id, &c.name)).collect()
    }

    /// The bit of a column in the update mask.
    pub(crate) fn bit(&self, column_id: u32) -> Option<usize> {
        self.columns.iter().position(|(id, _)| *id == column_id)
    }
}

/// Whether a bit of an update mask is set: the last byte has the first eight columns.
pub(crate) fn is_set(mask: &[u8], bit: usize) -> bool {
    let at = mask.len().checked_sub(bit / 8 + 1);
    at.and_then(|at| mask.get(at)).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
}

/// What the names of our instances begin with.
const OURS: &str = "logferry_";

/// Whether an instance was made by us.
pub(crate) fn is_ours(name: &str) -> bool {
    name.starts_with(OURS)
}

/// A name for an instance of ours: the table's object id keeps it apart from those of others, a number from an older one of ours.
pub(crate) fn name_of_ours(table: &TableVersion, existing: &[Instance]) -> String {
    let base = format!("{OURS}{}", table.id.0);
    let taken = |name: &str| existing.iter().any(|i| i.name.eq_ignore_ascii_case(name));
    let mut name = base.clone();
    for number in 2.. {
        if !taken(&name) {
            break;
        }
        name = format!("{base}_{number}");
    }
    name
}

fn text(s: &str) -> String {
    format!("N'{}'", s.replace('\'', "''"))
}

/// The T-SQL that drops an instance, to be typed by somebody.
pub(crate) fn statement_to_drop(table: &TableVersion, name: &str) -> String {
    format!(
        "EXEC sys.sp_cdc_disable_table @source_schema = {}, @source_name = {}, @capture_instance = {}",
        text(&table.name.schema),
        text(&table.name.name),
        text(name)
    )
}

/// The T-SQL that makes an instance, to be typed by somebody.
pub(crate) fn statement_for(table: &TableVersion, name: Option<&str>) -> String {
    let instance = name.map(|n| format!(", @capture_instance = {}", text(n))).unwrap_or_default();
    format!(
        "EXEC sys.sp_cdc_enable_table @source_schema = {}, @source_name = {}, @role_name = NULL{instance}",
        text(&table.name.schema),
        text(&table.name.name)
    )
}

/// Columns whose captured values are not to be had, or not to be believed, so that they are read from the table: those that are
/// computed, which capture leaves NULL, and text of a code page that capture takes through that of the database.
/// <https://learn.microsoft.com/sql/relational-databases/track-changes/known-issues-and-errors-change-data-capture>
pub(crate) fn fetched(table: &Table, database_collation: Option<&str>) -> Vec<usize> {
    let is_code_page =
        |ty: &SqlType| matches!(ty, SqlType::Char { .. } | SqlType::VarChar { .. } | SqlType::Text { .. });
    let columns = table.version.columns.iter().zip(&table.columns).enumerate();
    let spoiled = columns.filter(|(_, (column, plain))| {
        column.computed || is_code_page(&plain.sql_type) && plain.collation.as_deref() != database_collation
    });
    spoiled.map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use logferry_model::{Collation, TableName};

    use super::*;
    use crate::catalog::OrderColumn;

    #[test]
    fn text_of_another_collation_and_computed_values_are_fetched() {
        let collation = Collation(0x3400_d008);
        let text = SqlType::VarChar { length: Some(9), collation };
        let wide = SqlType::NVarChar { length: Some(9), collation };
        let columns = [(text.clone(), "A", false), (text, "B", false), (wide, "B", false), (SqlType::Int, "", true)];
        let column = |(id, (sql_type, _, computed)): (usize, &(SqlType, &str, bool))| SourceColumn {
            id: id as u32,
            name: id.to_string(),
            sql_type: sql_type.clone(),
            alias: None,
            nullable: true,
            identity: None,
            computed: *computed,
            missing: None,
            stored: None,
        };
        let plain = |(sql_type, collation, _): &(SqlType, &str, bool)| OrderColumn {
            name: String::new(),
            sql_type: sql_type.clone(),
            collation: Some(collation.to_string()),
        };
        let version = TableVersion {
            id: TableId(1),
            version: 1,
            name: TableName::new("dbo", "t"),
            columns: columns.iter().enumerate().map(column).collect(),
            primary_key: None,
            unique_keys: Vec::new(),
            notes: Vec::new(),
        };
        let columns = columns.iter().map(plain).collect();
        let table = Table {
            version: Arc::new(version),
            order: None,
            clustered: None,
            by_primary: None,
            columns,
            size: None,
            condition: None,
        };
        assert_eq!(fetched(&table, Some("A")), [1, 3]);
        assert_eq!(fetched(&table, Some("B")), [0, 3]);
    }

    #[test]
    fn bits_of_masks() {
        let check = |mask: &[u8], bit, on| assert_eq!(is_set(mask, bit), on, "{mask:?} {bit}");
        check(&[4], 2, true);
        check(&[4], 0, false);
        check(&[1, 0], 8, true);
        check(&[1, 0], 0, false);
        check(&[], 0, false);
        check(&[1, 0], 16, false);
    }
}

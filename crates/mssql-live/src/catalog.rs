//! What the database says of its tables, in as many round trips as there are statements, however many tables there are.
//!
//! What a server, an edition or a login does not let us see (a DMV, say) is a note in the log, not an error, as long as the copy can
//! do without: sizes only decide how a table is cut.

mod database;
mod edition;

use std::collections::HashMap;
use std::sync::Arc;

use logferry_model::{AliasType, Identity, SourceColumn, SqlType, TableId, TableName, TableVersion, UniqueKey};
use logferry_mssql_format::catalog::ColumnRow;
use tiberius::numeric::Numeric;
use tiberius::{FromSql, Row};
use tracing::info;

use crate::condition::{self, Condition};
use crate::error::Error;
use crate::session::Session;
use crate::sql;
pub(crate) use database::{Database, Isolation, history, uuid_of};
pub(crate) use edition::Edition;

/// A table and what it takes to copy it.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) version: Arc<TableVersion>,
    /// What its rows can be cut by: the unique clustered key, else the best of the others that are unique and never NULL.
    pub(crate) order: Option<Order>,
    /// The unique clustered key.
    pub(crate) clustered: Option<Order>,
    /// The primary key, where its columns can be looked up by, clustered or not.
    pub(crate) by_primary: Option<Order>,
    /// Its columns, one for one those of `version`, as a key would have them.
    pub(crate) columns: Vec<OrderColumn>,
    /// Rows and bytes, where the server tells.
    pub(crate) size: Option<Size>,
    /// Which of its rows are wanted; `None`: all.
    pub(crate) condition: Option<Arc<Condition>>,
}

/// The key of a unique index whose columns are never NULL: every row is at one place of it. A range of the clustered one is read without
/// looking at anything else; one of another index asks for each row by itself, or for all of the table, as the server prefers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) columns: Vec<OrderColumn>,
}

/// A column of an [`Order`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrderColumn {
    pub(crate) name: String,
    pub(crate) sql_type: SqlType,
    /// `sys.columns.collation_name`, of text.
    pub(crate) collation: Option<String>,
}

/// How large a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

const PAGE_SIZE: u64 = 8192;

impl Table {
    /// The columns by whose values a row is found, on both sides: the primary key, else the first unique key that is never NULL.
    /// `None` where there is none.
    pub(crate) fn row_key(&self) -> Option<&[usize]> {
        self.version.row_key()
    }

    /// The key of [`Self::row_key`] as rows can be looked up by it; `None` where there is none, or a value of it cannot be
    /// handed back to the server.
    pub(crate) fn lookup(&self) -> Option<Order> {
        let columns = self.row_key()?.iter().map(|&c| self.columns.get(c).filter(|c| is_ordered(&c.sql_type)).cloned());
        columns.collect::<Option<Vec<_>>>().map(|columns| Order { columns })
    }
}

/// Reads one column of a row after the other, by name.
pub(crate) struct Reader<'r> {
    pub(crate) row: &'r Row,
    pub(crate) doing: &'static str,
}

impl<'r> Reader<'r> {
    pub(crate) fn optional<T: FromSql<'r>>(&self, column: &'static str) -> Result<Option<T>, Error> {
        self.row.try_get(column).map_err(|e| Error::Unexpected {
            doing: self.doing.to_owned(),
            what: format!("column {column} is not as it should be: {e}"),
        })
    }

    pub(crate) fn get<T: FromSql<'r>>(&self, column: &'static str) -> Result<T, Error> {
        self.optional(column)?
            .ok_or_else(|| Error::Unexpected { doing: self.doing.to_owned(), what: format!("column {column} is NULL") })
    }

    pub(crate) fn text(&self, column: &'static str) -> Result<String, Error> {
        self.get::<&str>(column).map(str::to_owned)
    }

    pub(crate) fn id(&self, column: &'static str) -> Result<u32, Error> {
        let id: i32 = self.get(column)?;
        Ok(id as u32)
    }

    pub(crate) fn is(&self, column: &'static str) -> Result<bool, Error> {
        self.optional::<i32>(column).map(|n| n == Some(1))
    }
}

/// Reads the user tables, in the order of their names, with the conditions of the session's settings.
pub(crate) async fn tables(session: &mut Session) -> Result<Vec<Table>, Error> {
    let mut tables = plain_tables(session).await?;
    condition::refuse(&session.conditions().lay_on(&mut tables))?;
    Ok(tables)
}

/// The same, without conditions.
pub(crate) async fn plain_tables(session: &mut Session) -> Result<Vec<Table>, Error> {
    let names = names(session).await?;
    let mut columns = columns(session).await?;
    let mut keys = keys(session).await?;
    let sizes = sizes(session).await?;
    let mut tables: Vec<Table> = names
        .into_iter()
        .map(|(id, name)| {
            let columns = columns.remove(&id).unwrap_or_default();
            let keys = keys.remove(&id).unwrap_or_default();
            build(id, name, columns, &keys, sizes.get(&id).copied())
        })
        .collect();
    tables.sort_by(|a, b| a.version.name.cmp(&b.version.name));
    Ok(tables)
}

async fn names(session: &mut Session) -> Result<Vec<(u32, TableName)>, Error> {
    const DOING: &str = "list the tables";
    let rows = session.rows(DOING, sql::TABLES, &[]).await?;
    rows.iter()
        .map(|row| {
            let row = Reader { row, doing: DOING };
            Ok((row.id("object_id")?, TableName::new(row.text("schema_name")?, row.text("name")?)))
        })
        .collect()
}

/// A row of `columns.sql`.
#[derive(Clone, Debug)]
struct Column {
    row: ColumnRow,
    nullable: bool,
    computed: bool,
    persisted: bool,
    column_set: bool,
    collation: Option<String>,
    identity: Option<Identity>,
    alias: Option<AliasType>,
}

impl Column {
    /// Whether it is of an alias type that the login is not shown: types of the system have their own id, CLR types none of the system.
    fn has_hidden_type(&self) -> bool {
        const SYSTEM_TYPES_MAX: u32 = 256;
        const CLR: u8 = 240;
        self.alias.is_none() && self.row.utype > SYSTEM_TYPES_MAX && self.row.xtype != CLR
    }
}

async fn columns(session: &mut Session) -> Result<HashMap<u32, Vec<Column>>, Error> {
    const DOING: &str = "list the columns";
    let mut columns: HashMap<u32, Vec<Column>> = HashMap::new();
    let mut answer = session.ask(DOING, sql::COLUMNS, &[]).await?;
    while let Some(row) = answer.next().await? {
        let row = Reader { row: &row, doing: DOING };
        let byte = |column| row.get::<i32>(column).map(|n| n as u8);
        let number = |column| row.optional::<Numeric>(column).map(|n| n.map(|n| n.value()));
        let identity = match (number("identity_seed")?, number("identity_increment")?) {
            (Some(seed), Some(increment)) => Some(Identity { seed, increment, last: number("identity_last")? }),
            _ => None,
        };
        let alias = match (row.optional::<&str>("alias_schema")?, row.optional::<&str>("alias_name")?) {
            (Some(schema), Some(name)) => Some(AliasType { schema: schema.to_owned(), name: name.to_owned() }),
            _ => None,
        };
        let object = row.id("object_id")?;
        columns.entry(object).or_default().push(Column {
            row: ColumnRow {
                object,
                number: 0,
                id: row.id("column_id")?,
                name: row.text("name")?,
                xtype: byte("system_type_id")?,
                utype: row.id("user_type_id")?,
                length: row.get::<i32>("max_length")? as i16,
                precision: byte("precision")?,
                scale: byte("scale")?,
                collation: row.optional::<i32>("collation_id")?.unwrap_or(0) as u32,
                status: 0,
                identity: None,
            },
            nullable: row.is("is_nullable")?,
            computed: row.is("is_computed")?,
            persisted: row.is("is_persisted")?,
            column_set: row.is("is_column_set")?,
            collation: row.optional::<&str>("collation_name")?.map(str::to_owned),
            identity,
            alias,
        });
    }
    Ok(columns)
}

/// An index, of rows of `keys.sql`.
#[derive(Clone, Debug)]
struct Index {
    id: u32,
    name: String,
    unique: bool,
    primary: bool,
    filtered: bool,
    disabled: bool,
    columns: Vec<u32>,
}

async fn keys(session: &mut Session) -> Result<HashMap<u32, Vec<Index>>, Error> {
    const DOING: &str = "list the keys";
    let mut keys: HashMap<u32, Vec<Index>> = HashMap::new();
    let mut answer = session.ask(DOING, sql::KEYS, &[]).await?;
    while let Some(row) = answer.next().await? {
        let row = Reader { row: &row, doing: DOING };
        let indexes = keys.entry(row.id("object_id")?).or_default();
        let (id, column) = (row.id("index_id")?, row.id("column_id")?);
        match indexes.last_mut().filter(|index| index.id == id) {
            Some(index) => index.columns.push(column),
            None => indexes.push(Index {
                id,
                name: row.optional::<&str>("name")?.unwrap_or_default().to_owned(),
                unique: row.is("is_unique")?,
                primary: row.is("is_primary_key")?,
                filtered: row.is("has_filter")?,
                disabled: row.is("is_disabled")?,
                columns: vec![column],
            }),
        }
    }
    Ok(keys)
}

async fn sizes(session: &mut Session) -> Result<HashMap<u32, Size>, Error> {
    const DOING: &str = "ask how large the tables are";
    let rows = match session.rows(DOING, sql::SIZES, &[]).await {
        Ok(rows) => rows,
        Err(e @ Error::Statement { .. }) if !e.is_transient() => {
            info!("{e}: every table is copied in one chunk (VIEW DATABASE STATE shows the sizes)");
            return Ok(HashMap::new());
        }
        Err(e) => return Err(e),
    };
    rows.iter()
        .map(|row| {
            let row = Reader { row, doing: DOING };
            let number = |column| row.optional::<i64>(column).map(|n| n.unwrap_or(0).unsigned_abs());
            let size = Size { rows: number("row_count")?, bytes: number("used_pages")?.saturating_mul(PAGE_SIZE) };
            Ok((row.id("object_id")?, size))
        })
        .collect()
}

fn build(id: u32, name: TableName, columns: Vec<Column>, indexes: &[Index], size: Option<Size>) -> Table {
    let mut notes = Vec::new();
    let mut stored = Vec::new();
    for column in columns {
        let name = &column.row.name;
        if column.column_set {
            notes.push(format!("column set \"{name}\" is left out: its columns are there one by one"));
        } else if column.computed && !column.persisted {
            notes.push(format!("computed column \"{name}\" is left out: its values are not stored"));
        } else {
            stored.push(column);
        }
    }
    let position = |id: &u32| stored.iter().position(|c| c.row.id == *id);
    let (mut primary_key, mut unique_keys) = (None, Vec::new());
    let (mut clustered, mut by_primary, mut others) = (None, None, Vec::new());
    for index in indexes.iter().filter(|index| index.unique) {
        if index.filtered || index.disabled {
            let why = if index.filtered { "it has a filter" } else { "it is disabled" };
            notes.push(format!("unique index \"{}\" is left out: {why}", index.name));
            continue;
        }
        let Some(positions) = index.columns.iter().map(position).collect::<Option<Vec<usize>>>() else {
            notes.push(format!("unique index \"{}\" is left out: a column of it is not stored", index.name));
            continue;
        };
        let fits = |c: &Column| !c.nullable && is_ordered(&c.row.sql_type());
        if positions.iter().filter_map(|&p| stored.get(p)).all(fits) {
            let columns: Vec<_> = positions.iter().filter_map(|&p| stored.get(p)).map(order_column).collect();
            if index.primary {
                by_primary = Some(Order { columns: columns.clone() });
            }
            match index.id {
                1 => clustered = Some(Order { columns }),
                _ => {
                    let width =
                        |&at: &usize| stored.get(at).map_or(0, |c: &Column| u64::from(c.row.length.unsigned_abs()));
                    let width: u64 = positions.iter().map(width).sum();
                    others.push((!index.primary, positions.len(), width, Order { columns }));
                }
            }
        }
        let key = UniqueKey { name: index.name.clone(), columns: positions, clustered: index.id == 1 };
        if index.primary {
            primary_key = Some(key);
        } else {
            unique_keys.push(key);
        }
    }
    let plain = stored.iter().map(order_column).collect();
    let columns = stored.iter().map(|column| source_column(column, &mut notes)).collect();
    let version = TableVersion { id: TableId(id), version: 1, name, columns, primary_key, unique_keys, notes };
    // Few and narrow columns make an index that is read quickly; of equal ones the older.
    let best =
        others.into_iter().min_by_key(|(other, columns, width, _)| (*other, *columns, *width)).map(|best| best.3);
    let order = clustered.clone().or(best);
    Table { version: Arc::new(version), order, clustered, by_primary, columns: plain, size, condition: None }
}

impl Table {
    /// The columns that changed rows are known by: those of the clustered key, where it is the primary one, else of the primary key.
    pub(crate) fn key(&self) -> Option<&Order> {
        match self.version.primary_key.as_ref()?.clustered {
            true => self.clustered.as_ref(),
            false => self.by_primary.as_ref(),
        }
    }

    /// The table, cut only by the key that its rows are found by: cut by another one, two parts that are read one after the other may both
    /// have a row of that key.
    pub(crate) fn cut_by_its_key(self) -> Self {
        let order = self.lookup();
        Table { order, ..self }
    }

    /// Whether a range of what it is cut by lies together.
    pub(crate) fn is_cut_by_clustered_key(&self) -> bool {
        self.order == self.clustered
    }

    /// The table with its unique clustered key as the primary one: that is what the log knows rows by. The primary key that it has,
    /// if any, stays as a unique key.
    pub(crate) fn known_by_clustered_key(mut self) -> Self {
        let at = self.version.unique_keys.iter().position(|key| key.clustered);
        let Some(at) = at.filter(|_| self.clustered.is_some()) else { return self };
        let mut version = (*self.version).clone();
        let clustered = version.unique_keys.remove(at);
        version.notes.push(format!("rows are known by unique index \"{}\", which is clustered", clustered.name));
        if let Some(primary) = version.primary_key.replace(clustered) {
            version.unique_keys.push(primary);
        }
        self.version = Arc::new(version);
        self
    }
}

/// Whether a boundary of the column's values can be handed back to the server as what it is.
fn is_ordered(sql_type: &SqlType) -> bool {
    !matches!(
        sql_type,
        SqlType::Money | SqlType::SmallMoney | SqlType::Variant | SqlType::HierarchyId | SqlType::RowVersion
    ) && !sql_type.is_lob()
}

fn order_column(column: &Column) -> OrderColumn {
    let (name, sql_type) = (column.row.name.clone(), column.row.sql_type());
    OrderColumn { name, sql_type, collation: column.collation.clone() }
}

/// Of a column whose type is not shown.
pub(crate) const HIDDEN_TYPE: &str = "is of an alias type that the login is not shown: it counts as its base type";

fn source_column(column: &Column, notes: &mut Vec<String>) -> SourceColumn {
    let name = column.row.name.clone();
    if column.has_hidden_type() {
        notes.push(format!("column \"{name}\" {HIDDEN_TYPE}"));
    }
    let sql_type = match column.row.sql_type() {
        ty @ (SqlType::Xml | SqlType::Json) => {
            notes
                .push(format!("column \"{name}\" is copied as text: its stored form ({ty:?}) never leaves the server"));
            SqlType::NVarChar { length: None, collation: Default::default() }
        }
        SqlType::Unknown { code } => {
            notes.push(format!("column \"{name}\" is of the unknown type {code}: its bytes are taken as they are"));
            SqlType::Unknown { code }
        }
        other => other,
    };
    SourceColumn {
        id: column.row.id,
        name,
        sql_type,
        alias: column.alias.clone(),
        nullable: column.nullable,
        identity: column.identity,
        computed: column.computed,
        missing: None,
        stored: None,
    }
}

#[cfg(test)]
mod tests;

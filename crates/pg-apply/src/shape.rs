//! The shapes that the tables of a task have on the target, as `logferry.shape` keeps them: written in the transactions that make
//! them so. A run that goes on compares the source with these, not with what the settings would make of it, nor with the
//! catalog, where others may have changed something.

use logferry_model::{Comparison, Domain, Identity, PgType, TableId, TableName, TargetColumn, TargetTable};
use serde_json::{Value, json};

use crate::client::Client;
use crate::error::Error;
use crate::names::{shown, type_name};

/// What is remembered of a table of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownTable {
    /// The target has it, in this shape.
    There(TargetTable),
    /// The target has it, in a shape that stays.
    Kept(TargetTable),
    /// The target is not to have it.
    LeftOut(TableId),
}

/// All tables of a task.
pub(crate) async fn read(client: &Client, task: &str) -> Result<Vec<KnownTable>, Error> {
    let rows = client
        .query("SELECT source_id, shape::text FROM logferry.shape WHERE task = $1 ORDER BY source_id", &[&task])
        .await
        .map_err(Error::sql(format!("read the shapes of the tables of task \"{task}\"")))?;
    let known = rows.iter().map(|row| {
        let id = TableId(row.get::<_, i64>(0) as u32);
        let Some(text) = row.get::<_, Option<&str>>(1) else { return Ok(KnownTable::LeftOut(id)) };
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        let shape = of_json(id, &value).map(|table| match value["kept"] {
            Value::Bool(true) => KnownTable::Kept(table),
            _ => KnownTable::There(table),
        });
        let what = format!("the shape of table {}", id.0);
        shape.ok_or_else(|| Error::BadState { task: task.to_owned(), what })
    });
    known.collect()
}

/// Remembers a table.
pub(crate) async fn write(client: &Client, task: &str, table: &TargetTable) -> Result<(), Error> {
    let doing = format!("remember the shape of table {}", shown(table));
    put(client, task, table.source_id, Some(to_json(table).to_string())).await.map_err(Error::sql(doing))
}

/// Remembers that a table stays as it is.
pub(crate) async fn keep(client: &Client, task: &str, table: &TargetTable) -> Result<(), Error> {
    let mut shape = to_json(table);
    shape["kept"] = json!(true);
    let doing = format!("remember the shape of table {}", shown(table));
    put(client, task, table.source_id, Some(shape.to_string())).await.map_err(Error::sql(doing))
}

/// Remembers that the target is not to have a table.
pub(crate) async fn leave_out(client: &Client, task: &str, table: TableId) -> Result<(), Error> {
    put(client, task, table, None).await.map_err(Error::sql("remember a table that is left out"))
}

async fn put(client: &Client, task: &str, id: TableId, shape: Option<String>) -> Result<(), tokio_postgres::Error> {
    let sql = "INSERT INTO logferry.shape (task, source_id, shape) VALUES ($1, $2, $3::text::jsonb) \
               ON CONFLICT (task, source_id) DO UPDATE SET shape = excluded.shape, changed_at = now()";
    client.execute(sql, &[&task, &i64::from(id.0), &shape]).await.map(drop)
}

/// Forgets a table.
pub(crate) async fn forget(client: &Client, task: &str, table: TableId) -> Result<(), Error> {
    let sql = "DELETE FROM logferry.shape WHERE task = $1 AND source_id = $2";
    let done = client.execute(sql, &[&task, &i64::from(table.0)]).await;
    done.map(drop).map_err(Error::sql("forget the shape of a table"))
}

fn to_json(table: &TargetTable) -> Value {
    let column = |c: &TargetColumn| {
        let identity = c.identity.map(|i| json!({"seed": i.seed.to_string(), "increment": i.increment.to_string()}));
        json!({
            "source_id": c.source_id, "name": c.name, "type": type_name(&c.pg_type), "nullable": c.nullable,
            "identity": identity, "comparison": c.comparison.map(Comparison::name),
            "domain": c.domain.as_ref().map(|domain| [&domain.schema, &domain.name]),
        })
    };
    json!({
        "schema": table.schema,
        "name": table.name,
        "source": [table.source.schema, table.source.name],
        "columns": table.columns.iter().map(column).collect::<Vec<_>>(),
        "key": table.key,
        "key_name": table.key_name,
        "unique": table.unique,
        "where": table.condition,
    })
}

fn of_json(id: TableId, value: &Value) -> Option<TargetTable> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let column = |value: &Value| {
        let number = |value: &Value| value.as_str()?.parse::<i128>().ok();
        let identity = match &value["identity"] {
            Value::Null => None,
            i => Some(Identity { seed: number(&i["seed"])?, increment: number(&i["increment"])?, last: None }),
        };
        Some(TargetColumn {
            source_id: u32::try_from(value["source_id"].as_u64()?).ok()?,
            name: text(&value["name"])?,
            pg_type: type_of(value["type"].as_str()?)?,
            domain: match &value["domain"] {
                Value::Null => None,
                domain => Some(Domain { schema: text(&domain[0])?, name: text(&domain[1])? }),
            },
            comparison: match &value["comparison"] {
                Value::Null => None,
                name => Some(Comparison::ALL.into_iter().find(|c| Some(c.name()) == name.as_str())?),
            },
            nullable: value["nullable"].as_bool()?,
            identity,
        })
    };
    let columns: Vec<TargetColumn> = value["columns"].as_array()?.iter().map(column).collect::<Option<_>>()?;
    let places = |value: &Value| {
        let place = |v: &Value| usize::try_from(v.as_u64()?).ok().filter(|&at| at < columns.len());
        value.as_array()?.iter().map(place).collect::<Option<Vec<usize>>>()
    };
    let unique = value["unique"].as_array()?.iter().map(|key| Some((text(&key[0])?, places(&key[1])?)));
    Some(TargetTable {
        source_id: id,
        schema: text(&value["schema"])?,
        name: text(&value["name"])?,
        key: places(&value["key"])?,
        key_name: text(&value["key_name"]),
        unique: unique.collect::<Option<_>>()?,
        source: TableName::new(text(&value["source"][0])?, text(&value["source"][1])?),
        condition: text(&value["where"]),
        columns,
    })
}

/// The type of a name that [`type_name`] gave.
fn type_of(name: &str) -> Option<PgType> {
    let (base, rest) = name.split_once('(').unwrap_or((name, ""));
    let (numbers, tail) = rest.split_once(')').unwrap_or((rest, ""));
    let mut numbers = numbers.split(',').map(|n| n.parse::<u32>().ok());
    let mut number = || numbers.next().flatten();
    let small = |n: u32| u8::try_from(n).ok();
    let wide = |n: u32| u16::try_from(n).ok();
    Some(match base {
        "numeric" => PgType::Numeric { precision: number().and_then(wide)?, scale: number().and_then(wide)? },
        "time" => PgType::Time { precision: number().and_then(small)? },
        "timestamp" if tail.is_empty() => PgType::Timestamp { precision: number().and_then(small)? },
        "timestamp" => PgType::TimestampTz { precision: number().and_then(small)? },
        "varchar" => PgType::VarChar { length: number()? },
        "char" => PgType::Char { length: number()? },
        "double precision" => PgType::Float8,
        "smallint" => PgType::Int2,
        "integer" => PgType::Int4,
        "bigint" => PgType::Int8,
        "boolean" => PgType::Bool,
        "real" => PgType::Float4,
        "date" => PgType::Date,
        "uuid" => PgType::Uuid,
        "text" => PgType::Text,
        "bytea" => PgType::Bytea,
        "xml" => PgType::Xml,
        "jsonb" => PgType::Jsonb,
        "real[]" => PgType::Float4Array,
        "public.citext" => PgType::CiText,
        "public.vector" => PgType::Vector,
        "public.ltree" => PgType::Ltree,
        "public.geometry" => PgType::Geometry,
        "public.geography" => PgType::Geography,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_come_back_as_they_were() {
        let types = [
            PgType::Bool,
            PgType::Int2,
            PgType::Int4,
            PgType::Int8,
            PgType::Numeric { precision: 38, scale: 7 },
            PgType::Float4,
            PgType::Float8,
            PgType::Date,
            PgType::Time { precision: 0 },
            PgType::Timestamp { precision: 6 },
            PgType::TimestampTz { precision: 3 },
            PgType::Uuid,
            PgType::VarChar { length: 8000 },
            PgType::Char { length: 5 },
            PgType::Text,
            PgType::Bytea,
            PgType::Xml,
            PgType::Jsonb,
            PgType::Float4Array,
            PgType::CiText,
            PgType::Vector,
            PgType::Ltree,
            PgType::Geometry,
            PgType::Geography,
        ];
        let columns = types.into_iter().enumerate().map(|(at, pg_type)| TargetColumn {
            source_id: at as u32 * 3,
            name: format!("c \"{at}\""),
            pg_type,
            domain: (at % 3 == 1).then(|| Domain { schema: "s".into(), name: format!("d{at}") }),
            comparison: Comparison::ALL.get(at).copied(),
            nullable: at % 2 == 0,
            identity: (at == 3).then_some(Identity { seed: -(1 << 100), increment: 2, last: None }),
        });
        let mut table = TargetTable {
            source_id: TableId(u32::MAX),
            schema: "s".into(),
            name: "ä".into(),
            columns: columns.collect(),
            key: vec![2, 1],
            key_name: Some("pk".into()),
            unique: vec![("u".into(), vec![0])],
            source: TableName::new("dbo", "T"),
            condition: Some("a = 'b'".into()),
        };
        for _ in 0..2 {
            let text = to_json(&table).to_string();
            let value = serde_json::from_str(&text).unwrap();
            assert_eq!(of_json(table.source_id, &value).as_ref(), Some(&table));
            (table.key, table.key_name, table.unique) = (Vec::new(), None, Vec::new());
            table.condition = None;
        }
    }

    #[test]
    fn what_is_no_shape_is_refused() {
        for text in ["null", "{}", "[]", r#"{"columns": [], "key": [0]}"#] {
            assert_eq!(of_json(TableId(1), &serde_json::from_str(text).unwrap()), None, "{text}");
        }
    }
}

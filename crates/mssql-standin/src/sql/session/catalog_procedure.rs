//! Procedures that name or describe what there is: `sp_rename`, `sp_describe_first_result_set`, and those of ODBC.
//!
//! The latter are queries over the catalog, with the procedure's parameters as variables.

use std::collections::BTreeMap;

use logferry_model::SqlType;

use super::super::catalog;
use super::super::define;
use super::super::error::{Result, SqlError};
use super::super::types;
use super::super::value::Value;
use super::{Out, Session, send_values};

/// A parameter of a call: name, type, value, whether it is for output.
type Arg = (Option<String>, SqlType, Value, bool);

/// Procedure, parameters in their order, query.
const QUERIES: &[(&str, &[&str], &str)] = &[
    (
        "sp_tablecollations_100",
        &["@object"],
        "SELECT colid = column_id, name, tds_collation_100 = CAST(CASE WHEN collation_name IS NOT NULL THEN 0x0904D00034 END AS binary(5)), collation_100 = collation_name FROM sys.columns WHERE object_id = OBJECT_ID(@object) ORDER BY column_id",
    ),
    (
        "sp_tables",
        &["@table_name", "@table_owner", "@table_qualifier", "@table_type"],
        "SELECT TABLE_QUALIFIER = CAST(DB_NAME() AS sysname), TABLE_OWNER = CAST(TABLE_SCHEMA AS sysname), TABLE_NAME = CAST(TABLE_NAME AS sysname), TABLE_TYPE = CAST(CASE TABLE_TYPE WHEN 'BASE TABLE' THEN 'TABLE' ELSE TABLE_TYPE END AS varchar(32)), REMARKS = CAST(NULL AS varchar(254)) FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME LIKE ISNULL(@table_name, '%') AND TABLE_SCHEMA LIKE ISNULL(@table_owner, '%') AND (@table_type IS NULL OR CHARINDEX('''' + CASE TABLE_TYPE WHEN 'BASE TABLE' THEN 'TABLE' ELSE TABLE_TYPE END + '''', @table_type) > 0) ORDER BY 4, 1, 2, 3",
    ),
    (
        "sp_pkeys",
        &["@table_name", "@table_owner", "@table_qualifier"],
        "SELECT TABLE_QUALIFIER = CAST(DB_NAME() AS sysname), TABLE_OWNER = CAST(s.name AS sysname), TABLE_NAME = CAST(t.name AS sysname), COLUMN_NAME = CAST(c.name AS sysname), KEY_SEQ = CAST(ic.key_ordinal AS smallint), PK_NAME = CAST(k.name AS sysname) FROM sys.key_constraints k JOIN sys.tables t ON t.object_id = k.parent_object_id JOIN sys.schemas s ON s.schema_id = t.schema_id JOIN sys.index_columns ic ON ic.object_id = t.object_id AND ic.index_id = k.unique_index_id JOIN sys.columns c ON c.object_id = t.object_id AND c.column_id = ic.column_id WHERE k.type = 'PK' AND t.name = @table_name AND s.name = ISNULL(@table_owner, s.name) ORDER BY 1, 2, 3, 5",
    ),
    (
        "sp_columns",
        &["@table_name", "@table_owner", "@table_qualifier", "@column_name", "@odbcver"],
        "SELECT TABLE_QUALIFIER = CAST(DB_NAME() AS sysname), TABLE_OWNER = CAST(s.name AS sysname), TABLE_NAME = CAST(o.name AS sysname), COLUMN_NAME = CAST(c.name AS sysname), DATA_TYPE = CAST(CASE t.name WHEN 'int' THEN 4 WHEN 'bigint' THEN -5 WHEN 'smallint' THEN 5 WHEN 'tinyint' THEN -6 WHEN 'bit' THEN -7 WHEN 'decimal' THEN 3 WHEN 'numeric' THEN 2 WHEN 'money' THEN 3 WHEN 'smallmoney' THEN 3 WHEN 'float' THEN 6 WHEN 'real' THEN 7 WHEN 'datetime' THEN 11 WHEN 'smalldatetime' THEN 11 WHEN 'datetime2' THEN -9 WHEN 'date' THEN -9 WHEN 'time' THEN -9 WHEN 'datetimeoffset' THEN -9 WHEN 'char' THEN 1 WHEN 'varchar' THEN 12 WHEN 'text' THEN -1 WHEN 'nchar' THEN -8 WHEN 'nvarchar' THEN -9 WHEN 'ntext' THEN -10 WHEN 'binary' THEN -2 WHEN 'varbinary' THEN -3 WHEN 'image' THEN -4 WHEN 'timestamp' THEN -2 WHEN 'uniqueidentifier' THEN -11 WHEN 'sql_variant' THEN -150 WHEN 'xml' THEN -152 ELSE -151 END AS smallint), TYPE_NAME = CAST(t.name + CASE WHEN c.is_identity = 1 THEN ' identity' ELSE '' END AS sysname), [PRECISION] = CAST(CASE WHEN c.precision > 0 THEN c.precision WHEN c.max_length = -1 THEN 0 WHEN t.name IN ('nchar', 'nvarchar') THEN c.max_length / 2 ELSE c.max_length END AS int), LENGTH = CAST(CASE WHEN c.max_length = -1 THEN 0 ELSE c.max_length END AS int), SCALE = CAST(CASE WHEN t.name IN ('int', 'bigint', 'smallint', 'tinyint', 'decimal', 'money', 'smallmoney', 'datetime', 'datetime2', 'time', 'datetimeoffset') THEN c.scale END AS smallint), RADIX = CAST(CASE WHEN t.name IN ('int', 'bigint', 'smallint', 'tinyint', 'decimal', 'money', 'smallmoney') THEN 10 WHEN t.name IN ('float', 'real') THEN 2 END AS smallint), NULLABLE = CAST(c.is_nullable AS smallint), REMARKS = CAST(NULL AS varchar(254)), COLUMN_DEF = CAST(d.definition AS nvarchar(4000)), SQL_DATA_TYPE = CAST(c.system_type_id AS smallint), SQL_DATETIME_SUB = CAST(NULL AS smallint), CHAR_OCTET_LENGTH = CAST(CASE WHEN c.collation_name IS NOT NULL THEN c.max_length END AS int), ORDINAL_POSITION = CAST(c.column_id AS int), IS_NULLABLE = CAST(CASE c.is_nullable WHEN 1 THEN 'YES' ELSE 'NO' END AS varchar(254)), SS_DATA_TYPE = CAST(c.system_type_id AS tinyint) FROM sys.columns c JOIN sys.tables o ON o.object_id = c.object_id JOIN sys.schemas s ON s.schema_id = o.schema_id JOIN sys.types t ON t.user_type_id = c.user_type_id LEFT JOIN sys.default_constraints d ON d.object_id = c.default_object_id WHERE o.name LIKE @table_name AND s.name LIKE ISNULL(@table_owner, '%') AND c.name LIKE ISNULL(@column_name, '%') ORDER BY 17",
    ),
];

impl Session {
    /// A procedure of this file; `None` where it is none of them.
    pub(super) fn catalog_procedure(&mut self, name: &str, args: &[Arg], out: Out<'_>) -> Result<Option<i32>> {
        let text = |place: usize, name: &str| {
            let named = |a: &&Arg| a.0.as_ref().is_some_and(|n| n.eq_ignore_ascii_case(name));
            let found = args.iter().find(named).or_else(|| args.get(place).filter(|a| a.0.is_none()));
            found.and_then(|(_, _, v, _)| v.as_text())
        };
        match name {
            "sp_rename" => {
                let (old, new) = (text(0, "@objname"), text(1, "@newname"));
                let kind = text(2, "@objtype").unwrap_or_default().to_uppercase();
                let (Some(old), Some(new)) = (old, new) else {
                    return Err(SqlError::batch(
                        201,
                        "Procedure or function 'sp_rename' expects parameter '@newname', which was not supplied.",
                    )
                    .state(4));
                };
                self.defining(
                    "OBJECT_RENAME",
                    |state, s| define::renamed(state, s, &old, &kind),
                    |state, s, _| define::rename(state, s, &old, &new, &kind),
                )?;
                out.info(&SqlError {
                    class: 0,
                    ..SqlError::new(
                        15477,
                        "Caution: Changing any part of an object name could break scripts and stored procedures.",
                    )
                });
                Ok(Some(0))
            }
            "sp_describe_first_result_set" => {
                let sql = text(0, "@tsql").unwrap_or_default();
                let columns = self.describe(&sql, &text(1, "@params").unwrap_or_default())?;
                let (columns, rows) = catalog::described(&columns);
                self.scalars.rowcount = rows.len() as i64;
                send_values(&columns, rows, out)?;
                Ok(Some(0))
            }
            _ => {
                let short = if name == "sp_columns_100" { "sp_columns" } else { name };
                let Some((_, names, query)) = QUERIES.iter().find(|q| q.0 == short) else { return Ok(None) };
                let of = |(place, name): (usize, &&str)| {
                    let value = text(place, name).map_or(Value::Null, |t| Value::text(&t));
                    ((*name).to_owned(), (types::nvarchar(384), value))
                };
                let variables: BTreeMap<_, _> = names.iter().enumerate().map(of).collect();
                let outer = self.variables.replace(variables);
                let result = self.nested(query, out);
                *self.variables.borrow_mut() = outer;
                result.map(Some)
            }
        }
    }
}

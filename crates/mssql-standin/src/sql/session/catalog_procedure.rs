//! Procedures that name or describe what there is: `sp_rename`, `sp_describe_first_result_set`, `sp_help` and its kin, and those of ODBC.
//!
//! The last are queries over the catalog, with the procedure's parameters as variables.

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
    (
        "sp_fkeys",
        &[
            "@pktable_name",
            "@pktable_owner",
            "@pktable_qualifier",
            "@fktable_name",
            "@fktable_owner",
            "@fktable_qualifier",
        ],
        "SELECT PKTABLE_QUALIFIER = CAST(DB_NAME() AS sysname), PKTABLE_OWNER = CAST(SCHEMA_NAME(p.schema_id) AS sysname), PKTABLE_NAME = CAST(p.name AS sysname), PKCOLUMN_NAME = CAST(pc.name AS sysname), FKTABLE_QUALIFIER = CAST(DB_NAME() AS sysname), FKTABLE_OWNER = CAST(SCHEMA_NAME(t.schema_id) AS sysname), FKTABLE_NAME = CAST(t.name AS sysname), FKCOLUMN_NAME = CAST(tc.name AS sysname), KEY_SEQ = CAST(k.constraint_column_id AS smallint), UPDATE_RULE = CAST(CASE f.update_referential_action WHEN 0 THEN 1 WHEN 1 THEN 0 ELSE f.update_referential_action END AS smallint), DELETE_RULE = CAST(CASE f.delete_referential_action WHEN 0 THEN 1 WHEN 1 THEN 0 ELSE f.delete_referential_action END AS smallint), FK_NAME = CAST(f.name AS sysname), PK_NAME = CAST(i.name AS sysname), DEFERRABILITY = CAST(7 AS smallint) FROM sys.foreign_keys f JOIN sys.foreign_key_columns k ON k.constraint_object_id = f.object_id JOIN sys.tables p ON p.object_id = f.referenced_object_id JOIN sys.tables t ON t.object_id = f.parent_object_id JOIN sys.columns pc ON pc.object_id = p.object_id AND pc.column_id = k.referenced_column_id JOIN sys.columns tc ON tc.object_id = t.object_id AND tc.column_id = k.parent_column_id LEFT JOIN sys.indexes i ON i.object_id = p.object_id AND i.index_id = f.key_index_id WHERE p.name = ISNULL(@pktable_name, p.name) AND SCHEMA_NAME(p.schema_id) = ISNULL(@pktable_owner, SCHEMA_NAME(p.schema_id)) AND t.name = ISNULL(@fktable_name, t.name) AND SCHEMA_NAME(t.schema_id) = ISNULL(@fktable_owner, SCHEMA_NAME(t.schema_id)) ORDER BY 5, 6, 7, 12, 9",
    ),
    (
        "sp_statistics",
        &["@table_name", "@table_owner", "@table_qualifier", "@index_name", "@is_unique"],
        "SELECT TABLE_QUALIFIER = CAST(DB_NAME() AS sysname), TABLE_OWNER = CAST(SCHEMA_NAME(t.schema_id) AS sysname), TABLE_NAME = CAST(t.name AS sysname), NON_UNIQUE = CAST(NULL AS smallint), INDEX_QUALIFIER = CAST(NULL AS sysname), INDEX_NAME = CAST(NULL AS sysname), TYPE = CAST(0 AS smallint), SEQ_IN_INDEX = CAST(NULL AS smallint), COLUMN_NAME = CAST(NULL AS sysname), COLLATION = CAST(NULL AS char(1)), CARDINALITY = CAST(x.rows AS int), PAGES = CAST(x.dpages AS int), FILTER_CONDITION = CAST(NULL AS varchar(128)) FROM sys.tables t JOIN sys.sysindexes x ON x.id = t.object_id AND x.indid IN (0, 1) WHERE t.name = @table_name AND SCHEMA_NAME(t.schema_id) = ISNULL(@table_owner, SCHEMA_NAME(t.schema_id)) UNION ALL SELECT DB_NAME(), SCHEMA_NAME(t.schema_id), t.name, CAST(CASE i.is_unique WHEN 1 THEN 0 ELSE 1 END AS smallint), t.name, i.name, CAST(CASE i.type WHEN 1 THEN 1 ELSE 3 END AS smallint), CAST(k.key_ordinal AS smallint), c.name, CAST(CASE k.is_descending_key WHEN 1 THEN 'D' ELSE 'A' END AS char(1)), CAST(x.rows AS int), x.dpages, CAST(NULL AS varchar(128)) FROM sys.tables t JOIN sys.indexes i ON i.object_id = t.object_id AND i.index_id > 0 JOIN sys.index_columns k ON k.object_id = i.object_id AND k.index_id = i.index_id AND k.key_ordinal > 0 JOIN sys.columns c ON c.object_id = t.object_id AND c.column_id = k.column_id JOIN sys.sysindexes x ON x.id = t.object_id AND x.indid = i.index_id WHERE t.name = @table_name AND SCHEMA_NAME(t.schema_id) = ISNULL(@table_owner, SCHEMA_NAME(t.schema_id)) AND i.name LIKE ISNULL(@index_name, '%') AND (ISNULL(@is_unique, 'N') <> 'Y' OR i.is_unique = 1) ORDER BY 4, 7, 5, 6, 8",
    ),
];

impl Session {
    /// A procedure of this file; `None` where it is none of them.
    pub(super) fn catalog_procedure(&mut self, name: &str, args: &[Arg], out: Out<'_>) -> Result<Option<i32>> {
        let text = |place: usize, name: &str| {
            let named = |a: &&Arg| a.0.as_ref().is_some_and(|n| n.eq_ignore_ascii_case(name));
            let found = args.iter().find(named).or_else(|| args.get(place).filter(|a| a.0.is_none()));
            found.and_then(|(_, _, v, _)| v.as_text().or_else(|| v.as_int().map(|n| n.to_string())))
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
                let told = self.waiting(|state, s, _| catalog::help(state, s, name, &text))?;
                if let Some(told) = told {
                    for said in told {
                        match said {
                            catalog::Said::Rows(columns, rows) => send_values(&columns, rows, &mut *out)?,
                            catalog::Said::Message(number, text) => {
                                out.info(&SqlError { class: 0, ..SqlError::new(number, text) });
                            }
                        }
                    }
                    return Ok(Some(0));
                }
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

//! Functions about the server, databases and objects.

use logferry_model::SqlType;

use super::super::bind::TableAt;
use super::super::collation;
use super::super::error::Result;
use super::super::eval::Ctx;
use super::super::function::{Func, split_name};
use super::super::state::State;
use super::super::types;
use super::super::value::{Value, same_name};
use super::objects::{Object, objects, type_rows};

/// `@@VERSION`: says what this is.
pub(crate) const VERSION_TEXT: &str =
    "Microsoft SQL Server 2016 (SP2) - 13.0.5026.0 (X64) [compatible test double: logferry stand-in, not SQL Server]";

fn variant_text(text: &str) -> Value {
    Value::Variant(Box::new((types::nvarchar(128), Value::text(text))))
}

fn variant_int(n: i64) -> Value {
    Value::Variant(Box::new((SqlType::Int, Value::Int(n))))
}

fn find_object(ctx: &Ctx<'_>, id: i64, database: usize) -> Option<Object> {
    objects(ctx.state, database).into_iter().find(|o| i64::from(o.id) == id)
}

/// A function that asks the catalog.
pub(crate) fn property(func: Func, v: &[Value], ctx: &Ctx<'_>) -> Result<Value> {
    use Func as F;
    let s = ctx.scalars;
    let text = |at: usize| v.get(at).and_then(Value::as_text).unwrap_or_default();
    let int = |at: usize| v.get(at).and_then(Value::as_int).unwrap_or(0);
    let opt_int = |n: Option<i64>| n.map_or(Value::Null, Value::Int);
    let database = s.database;
    Ok(match func {
        F::DbName => match v.first() {
            None | Some(Value::Null) => Value::text(&ctx.state.db(s.database).name),
            Some(_) => {
                let found = usize::try_from(int(0) - 1)
                    .ok()
                    .and_then(|at| ctx.state.databases.get(at))
                    .and_then(Option::as_ref);
                Value::opt_text(found.map(|d| d.name.as_str()))
            }
        },
        F::DbId => match v.first() {
            None => Value::Int(State::database_id(s.database).into()),
            Some(_) => opt_int(ctx.state.find_database(&text(0)).map(|at| State::database_id(at).into())),
        },
        F::SchemaName => match v.first() {
            None => Value::text("dbo"),
            Some(_) => {
                let found = ctx.state.db(database).storage.schemas().find(|(_, id)| i64::from(*id) == int(0));
                Value::opt_text(found.map(|(n, _)| n))
            }
        },
        F::SchemaId => match v.first() {
            None => Value::Int(1),
            Some(_) => opt_int(ctx.state.find_schema(database, &text(0)).map(|(_, id)| id.into())),
        },
        F::ObjectId => {
            let parts = split_name(&text(0));
            let Ok((at, schema, name)) = ctx.state.resolve(s, &parts) else { return Ok(Value::Null) };
            let kind = v.get(1).and_then(Value::as_text);
            let found = objects(ctx.state, at).into_iter().find(|o| {
                same_name(&o.name, &name)
                    && same_name(&o.schema, &schema)
                    && kind.as_ref().is_none_or(|k| k.trim().eq_ignore_ascii_case(o.kind.trim()))
            });
            let seen = found.filter(|o| ctx.state.is_seen(s, TableAt { database: at, table: o.id }));
            opt_int(seen.map(|o| o.id.into()))
        }
        F::ObjectName | F::ObjectSchemaName => {
            let at = match v.get(1) {
                Some(_) => usize::try_from(int(1) - 1).unwrap_or(usize::MAX),
                None => database,
            };
            let known = ctx.state.databases.get(at).is_some_and(Option::is_some);
            let found = if known { find_object(ctx, int(0), at) } else { None };
            let shown = found.map(|o| if func == F::ObjectName { o.name } else { o.schema });
            Value::opt_text(shown.as_deref())
        }
        F::TypeName => {
            let found = type_rows().iter().find(|t| i64::from(t.user_id) == int(0));
            Value::opt_text(found.map(|t| t.name))
        }
        F::TypeId => {
            let name = split_name(&text(0)).pop().unwrap_or_default();
            opt_int(type_rows().iter().find(|t| same_name(t.name, &name)).map(|t| t.user_id.into()))
        }
        F::ColName | F::ColLength | F::ColumnProperty => {
            let (table, column) = match func {
                F::ColLength => {
                    let found = ctx.state.find_table(s, &split_name(&text(0))).ok().flatten();
                    (found.map_or(-1, |t| i64::from(t.table)), text(1))
                }
                _ => (int(0), text(1)),
            };
            let def = u32::try_from(table).ok().and_then(|t| ctx.state.db(database).storage.table_def(t));
            let found = def.and_then(|d| {
                d.columns.iter().enumerate().find(|(n, c)| match func {
                    F::ColName => i64::from(ctx.state.db(database).storage.column_id(int(0) as u32, *n)) == int(1),
                    _ => same_name(&c.name, &column),
                })
            });
            let Some((n, c)) = found else { return Ok(Value::Null) };
            let (length, precision, scale) = types::sizes(&c.sql_type);
            match func {
                F::ColName => Value::text(&c.name),
                F::ColLength => Value::Int(length.into()),
                _ => match text(2).to_lowercase().as_str() {
                    "allowsnull" => Value::bit(c.nullable),
                    "isidentity" => Value::bit(c.identity.is_some()),
                    "columnid" | "ordinal" => {
                        Value::Int(ctx.state.db(database).storage.column_id(table as u32, n).into())
                    }
                    "precision" => match types::char_len(&c.sql_type) {
                        _ if precision > 0 => Value::Int(precision.into()),
                        Some(n) => Value::Int(n.into()),
                        None => Value::Int(-1),
                    },
                    "scale" if precision > 0 => Value::Int(scale.into()),
                    "scale" => Value::Null,
                    "charmaxlen" => match &c.sql_type {
                        SqlType::Xml => Value::Int(-1),
                        ty if !types::is_text(ty) && !types::is_bytes(ty) => Value::Null,
                        ty => Value::Int(types::char_len(ty).map_or(-1, i64::from)),
                    },
                    "iscomputed" => {
                        Value::bit(ctx.state.db(database).meta(table as u32).computed.iter().any(|c| c.column == n))
                    }
                    "isrowguidcol"
                    | "issparse"
                    | "iscolumnset"
                    | "isfulltextindexed"
                    | "isxmlindexable"
                    | "isidnotforrepl"
                    | "isoutparam"
                    | "ishidden"
                    | "generatedalwaystype" => Value::Int(0),
                    "usesansitrim" => Value::Int(1),
                    _ => Value::Null,
                },
            }
        }
        F::ObjectProperty | F::ObjectPropertyEx => {
            let Some(o) = find_object(ctx, int(0), database) else { return Ok(Value::Null) };
            let table = o.kind == "U ";
            let meta = ctx.state.db(database).meta(o.id);
            let def = ctx.state.db(database).storage.table_def(o.id);
            let on = |b: bool| Some(i64::from(b));
            let n = match text(1).to_lowercase().as_str() {
                "istable" => on(table || o.kind == "S "),
                "isusertable" => on(table),
                "ismsshipped" | "issystemtable" => on(o.shipped),
                "isview" => on(o.kind == "V "),
                "isprimarykey" => on(o.kind == "PK"),
                "isuniquecnst" => on(o.kind == "UQ"),
                "isforeignkey" => on(o.kind == "F "),
                "ischeckcnst" => on(o.kind == "C "),
                "isdefaultcnst" => on(o.kind == "D "),
                "isconstraint" => on(matches!(o.kind, "PK" | "UQ" | "F " | "C " | "D ")),
                "isprocedure" | "istrigger" | "isscalarfunction" | "istablefunction" | "isinlinefunction" => on(false),
                "ownerid" => Some(1),
                "schemaid" => Some(o.schema_id.into()),
                "tablehasidentity" if table => on(meta.identity.is_some()),
                "tablehasprimarykey" if table => on(meta.keys.iter().any(|k| k.primary)),
                "tablehasclustindex" if table => on(meta.keys.iter().any(|k| k.clustered)),
                "tablehasindex" if table => on(!meta.keys.is_empty()),
                "tablehasforeignkey" if table => on(!meta.foreign.is_empty()),
                "tablehasuniquecnst" if table => on(meta.keys.iter().any(|k| !k.primary && k.object.is_some())),
                "tablehascheckcnst" if table => on(!meta.checks.is_empty()),
                "tablehasdefaultcnst" if table => on(!meta.defaults.is_empty()),
                "tablehastimestamp" if table => {
                    on(def.is_some_and(|d| d.columns.iter().any(|c| c.sql_type == SqlType::RowVersion)))
                }
                "tablehastextimage" if table => on(def.is_some_and(|d| d.columns.iter().any(|c| c.sql_type.is_lob()))),
                "tableistemporal"
                | "tabletemporaltype"
                | "tableismemoryoptimized"
                | "tableisfake"
                | "tableispinned"
                | "tableislockedonbulkload"
                | "tablehasvardecimalstorageformat"
                    if table =>
                {
                    Some(0)
                }
                "cardinality" if table && func == F::ObjectPropertyEx => {
                    Some(ctx.state.db(database).storage.size_of(o.id).0)
                }
                "basetype" if func == F::ObjectPropertyEx => {
                    return Ok(Value::Variant(Box::new((types::nvarchar(2), Value::text(o.kind)))));
                }
                _ => None,
            };
            match (n, func) {
                (None, _) => Value::Null,
                (Some(n), F::ObjectPropertyEx) => variant_int(n),
                (Some(n), _) => Value::Int(n),
            }
        }
        F::IndexProperty => {
            let meta = u32::try_from(int(0)).ok().map(|t| ctx.state.db(database).meta(t));
            let key = meta.and_then(|m| m.keys.iter().find(|k| same_name(&k.name, &text(1))));
            let Some(key) = key else { return Ok(Value::Null) };
            match text(2).to_lowercase().as_str() {
                "isclustered" => Value::bit(key.clustered),
                "isunique" => Value::bit(key.unique),
                "indexid" => Value::Int(key.index_id.into()),
                "isdisabled" | "ishypothetical" | "isstatistics" | "ispadindex" | "isautostatistics"
                | "isfulltextkey" | "iscolumnstore" | "indexfillfactor" => Value::Int(0),
                _ => Value::Null,
            }
        }
        F::CollationProperty => {
            let Some(of) = collation::named(&text(0)) else { return Ok(Value::Null) };
            match text(1).to_lowercase().as_str() {
                "codepage" => variant_int(collation::code_page_number(of).into()),
                "lcid" => variant_int(collation::lcid(of).into()),
                "comparisonstyle" => variant_int(196_609),
                "version" => variant_int(i64::from(of.0 >> 17 & 3)),
                "collationid" => variant_int(i64::from(of.0)),
                _ => Value::Null,
            }
        }
        F::SessionProperty => match text(0).to_lowercase().as_str() {
            "numeric_roundabort" => variant_int(0),
            "ansi_nulls"
            | "ansi_padding"
            | "ansi_warnings"
            | "arithabort"
            | "concat_null_yields_null"
            | "quoted_identifier" => variant_int(1),
            _ => Value::Null,
        },
        F::ServerProperty => match text(0).to_lowercase().as_str() {
            "productversion" => variant_text("13.0.5026.0"),
            "productlevel" => variant_text("SP2"),
            "productmajorversion" => variant_text("13"),
            "productminorversion" => variant_text("0"),
            "productbuild" => variant_text("5026"),
            "edition" => variant_text("Developer Edition (64-bit)"),
            "editionid" => Value::Variant(Box::new((SqlType::BigInt, Value::Int(-2_117_995_310)))),
            "engineedition" => variant_int(3),
            "servername" | "machinename" | "computernamephysicalnetbios" => variant_text(&ctx.state.server),
            "collation" => variant_text("SQL_Latin1_General_CP1_CI_AS"),
            "collationid" => variant_int(i64::from(logferry_mssql_standin_storage::DEFAULT_COLLATION.0)),
            "lcid" => variant_int(1033),
            "sqlcharset" => Value::Variant(Box::new((SqlType::TinyInt, Value::Int(1)))),
            "sqlcharsetname" => variant_text("iso_1"),
            "sqlsortorder" => Value::Variant(Box::new((SqlType::TinyInt, Value::Int(52)))),
            "sqlsortordername" => variant_text("nocase_iso"),
            "comparisonstyle" => variant_int(196_609),
            "resourceversion" => variant_text("13.00.5026"),
            "buildclrversion" => variant_text("v4.0.30319"),
            "licensetype" => variant_text("DISABLED"),
            "isclustered"
            | "isintegratedsecurityonly"
            | "issingleuser"
            | "ishadrenabled"
            | "isfulltextinstalled"
            | "isxtpsupported"
            | "ispolybaseinstalled"
            | "isadvancedanalyticsinstalled"
            | "islocaldb"
            | "filestreamconfiguredlevel"
            | "filestreameffectivelevel"
            | "hadrmanagerstatus" => variant_int(0),
            _ => Value::Null,
        },
        F::DatabasePropertyEx => {
            let Some(at) = ctx.state.find_database(&text(0)) else { return Ok(Value::Null) };
            match text(1).to_lowercase().as_str() {
                "collation" => variant_text("SQL_Latin1_General_CP1_CI_AS"),
                "recovery" => variant_text(if ctx.state.db(at).simple_recovery { "SIMPLE" } else { "FULL" }),
                "status" => variant_text("ONLINE"),
                "updateability" => variant_text("READ_WRITE"),
                "useraccess" => variant_text("MULTI_USER"),
                "version" => variant_int(852),
                "comparisonstyle" => variant_int(196_609),
                "lcid" => variant_int(1033),
                "sqlsortorder" => Value::Variant(Box::new((SqlType::TinyInt, Value::Int(52)))),
                "isansinullsenabled"
                | "isautoclose"
                | "isautoshrink"
                | "isinstandby"
                | "ismergepublished"
                | "ispublished"
                | "issubscribed"
                | "issyncwithbackup"
                | "isfulltextenabled"
                | "isquotedidentifiersenabled"
                | "istornpagedetectionenabled" => variant_int(0),
                "isautocreatestatistics" | "isautoupdatestatistics" => variant_int(1),
                "issnapshotisolationon" => variant_int(i64::from(ctx.state.db(at).allow_snapshot)),
                _ => Value::Null,
            }
        }
        _ => Value::Null,
    })
}

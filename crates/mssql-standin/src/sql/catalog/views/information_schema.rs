//! `INFORMATION_SCHEMA`.

use logferry_model::SqlType;

use super::super::super::plan::Column;
use super::super::super::state::State;
use super::super::super::types;
use super::super::shape::{NULL, Rows, columns, n, none, t};

const ROUTINES: &str = "SPECIFIC_CATALOG sysname?, SPECIFIC_SCHEMA sysname?, SPECIFIC_NAME sysname, ROUTINE_CATALOG sysname?, ROUTINE_SCHEMA sysname?, ROUTINE_NAME sysname, ROUTINE_TYPE n20?=PROCEDURE, MODULE_CATALOG sysname?, MODULE_SCHEMA sysname?, MODULE_NAME sysname?, UDT_CATALOG sysname?, UDT_SCHEMA sysname?, UDT_NAME sysname?, DATA_TYPE sysname?, CHARACTER_MAXIMUM_LENGTH int?, CHARACTER_OCTET_LENGTH int?, COLLATION_CATALOG sysname?, COLLATION_SCHEMA sysname?, COLLATION_NAME sysname?, CHARACTER_SET_CATALOG sysname?, CHARACTER_SET_SCHEMA sysname?, CHARACTER_SET_NAME sysname?, NUMERIC_PRECISION smallint?, NUMERIC_PRECISION_RADIX smallint?, NUMERIC_SCALE smallint?, DATETIME_PRECISION smallint?, INTERVAL_TYPE n30?, INTERVAL_PRECISION smallint?, TYPE_UDT_CATALOG sysname?, TYPE_UDT_SCHEMA sysname?, TYPE_UDT_NAME sysname?, SCOPE_CATALOG sysname?, SCOPE_SCHEMA sysname?, SCOPE_NAME sysname?, MAXIMUM_CARDINALITY bigint?, DTD_IDENTIFIER sysname?, ROUTINE_BODY n30?=SQL, ROUTINE_DEFINITION n4000?, EXTERNAL_NAME sysname?, EXTERNAL_LANGUAGE n30?, PARAMETER_STYLE n30?, IS_DETERMINISTIC n10?=NO, SQL_DATA_ACCESS n30?=MODIFIES, IS_NULL_CALL n10?, SQL_PATH sysname?, SCHEMA_LEVEL_ROUTINE n10?=YES, MAX_DYNAMIC_RESULT_SETS smallint?=-1, IS_USER_DEFINED_CAST n10?=NO, IS_IMPLICITLY_INVOCABLE n10?=NO, CREATED datetime, LAST_ALTERED datetime";

/// A view of this file.
pub(super) fn view(state: &State, at: usize, view: &str) -> Option<(Vec<Column>, Rows)> {
    let db = state.db(at);
    let catalog = || t(&db.name);
    let tables = || db.storage.tables().map(|(id, def)| (id, def, db.meta(id)));
    Some(match view {
        "schemata" => {
            let rows = db.storage.schemas().map(|(name, _)| vec![catalog(), t(name), t("dbo"), NULL, NULL, t("iso_1")]);
            (
                columns(
                    "CATALOG_NAME sysname?, SCHEMA_NAME sysname, SCHEMA_OWNER sysname?, DEFAULT_CHARACTER_SET_CATALOG v6?, DEFAULT_CHARACTER_SET_SCHEMA v3?, DEFAULT_CHARACTER_SET_NAME sysname?",
                ),
                rows.collect(),
            )
        }
        "tables" => {
            let rows = tables().map(|(_, def, _)| vec![catalog(), t(&def.schema), t(&def.name), t("BASE TABLE")]);
            let views = db.modules.values().filter(|m| m.is_view());
            let rows = rows.chain(views.map(|m| vec![catalog(), t(&m.schema), t(&m.name), t("VIEW")]));
            (
                columns("TABLE_CATALOG sysname?, TABLE_SCHEMA sysname?, TABLE_NAME sysname, TABLE_TYPE v10?"),
                rows.collect(),
            )
        }
        "views" => super::super::shape::view(
            "TABLE_CATALOG sysname?, TABLE_SCHEMA sysname?, TABLE_NAME sysname, VIEW_DEFINITION n4000?, CHECK_OPTION v7?=NONE, IS_UPDATABLE v2=NO",
            ["TABLE_CATALOG", "TABLE_SCHEMA", "TABLE_NAME", "VIEW_DEFINITION"],
            db.modules
                .values()
                .filter(|m| m.is_view())
                .map(|m| [catalog(), t(&m.schema), t(&m.name), if m.text.len() > 4000 { NULL } else { t(&m.text) }]),
        ),
        "domains" => none(
            "DOMAIN_CATALOG sysname?, DOMAIN_SCHEMA sysname?, DOMAIN_NAME sysname, DATA_TYPE sysname?, CHARACTER_MAXIMUM_LENGTH int?, CHARACTER_OCTET_LENGTH int?, COLLATION_CATALOG v6?, COLLATION_SCHEMA v3?, COLLATION_NAME sysname?, CHARACTER_SET_CATALOG v6?, CHARACTER_SET_SCHEMA v3?, CHARACTER_SET_NAME sysname?, NUMERIC_PRECISION tinyint?, NUMERIC_PRECISION_RADIX smallint?, NUMERIC_SCALE tinyint?, DATETIME_PRECISION smallint?, DOMAIN_DEFAULT n4000?",
        ),
        "domain_constraints" => none(
            "CONSTRAINT_CATALOG sysname?, CONSTRAINT_SCHEMA sysname?, CONSTRAINT_NAME sysname, DOMAIN_CATALOG sysname?, DOMAIN_SCHEMA sysname?, DOMAIN_NAME sysname, IS_DEFERRABLE v2, INITIALLY_DEFERRED v2",
        ),
        "column_domain_usage" => none(
            "DOMAIN_CATALOG sysname?, DOMAIN_SCHEMA sysname?, DOMAIN_NAME sysname, TABLE_CATALOG sysname?, TABLE_SCHEMA sysname?, TABLE_NAME sysname, COLUMN_NAME sysname?",
        ),
        "table_privileges" => none(
            "GRANTOR sysname?, GRANTEE sysname?, TABLE_CATALOG sysname?, TABLE_SCHEMA sysname?, TABLE_NAME sysname, PRIVILEGE_TYPE v10?, IS_GRANTABLE v3?",
        ),
        "column_privileges" => none(
            "GRANTOR sysname?, GRANTEE sysname?, TABLE_CATALOG sysname?, TABLE_SCHEMA sysname?, TABLE_NAME sysname, COLUMN_NAME sysname?, PRIVILEGE_TYPE v10?, IS_GRANTABLE v3?",
        ),
        "routines" => super::super::shape::view(
            ROUTINES,
            [
                "SPECIFIC_CATALOG",
                "SPECIFIC_SCHEMA",
                "SPECIFIC_NAME",
                "ROUTINE_CATALOG",
                "ROUTINE_SCHEMA",
                "ROUTINE_NAME",
                "ROUTINE_DEFINITION",
                "CREATED",
                "LAST_ALTERED",
            ],
            db.modules.values().filter(|m| !m.is_view()).map(|m| {
                let name = || [catalog(), t(&m.schema), t(&m.name)];
                let ([a, b, c], [d, e, f]) = (name(), name());
                let first: String = m.text.chars().take(4000).collect();
                [a, b, c, d, e, f, t(&first), m.created.clone(), m.created.clone()]
            }),
        ),
        "columns" => {
            let list = "TABLE_CATALOG sysname?, TABLE_SCHEMA sysname?, TABLE_NAME sysname, COLUMN_NAME sysname?, ORDINAL_POSITION int?, COLUMN_DEFAULT n4000?, IS_NULLABLE v3?, DATA_TYPE sysname?, CHARACTER_MAXIMUM_LENGTH int?, CHARACTER_OCTET_LENGTH int?, NUMERIC_PRECISION tinyint?, NUMERIC_PRECISION_RADIX smallint?, NUMERIC_SCALE int?, DATETIME_PRECISION smallint?, CHARACTER_SET_CATALOG sysname?, CHARACTER_SET_SCHEMA sysname?, CHARACTER_SET_NAME sysname?, COLLATION_CATALOG sysname?, COLLATION_SCHEMA sysname?, COLLATION_NAME sysname?, DOMAIN_CATALOG sysname?, DOMAIN_SCHEMA sysname?, DOMAIN_NAME sysname?";
            let mut rows = Vec::new();
            let mut push = |of: (&str, &str),
                            name: &str,
                            place: i64,
                            ty: &SqlType,
                            nullable: bool,
                            default: super::super::super::value::Value| {
                let (bytes, precision, scale) = types::sizes(ty);
                let text = types::is_text(ty);
                let sized = text || types::is_bytes(ty) && *ty != SqlType::RowVersion;
                let (chars, octets) = match ty {
                    SqlType::NText { .. } => (n(1_073_741_823), n(2_147_483_646)),
                    SqlType::Text { .. } | SqlType::Image => (n(2_147_483_647), n(2_147_483_647)),
                    SqlType::Xml => (n(-1), n(-1)),
                    _ if !sized => (NULL, NULL),
                    ty => (types::char_len(ty).map_or(n(-1), n), n(bytes)),
                };
                let number = types::decimal_of(ty).is_some() && *ty != SqlType::Bit;
                let float = matches!(ty, SqlType::Float | SqlType::Real);
                let seconds = match ty {
                    SqlType::Date | SqlType::SmallDateTime => n(0),
                    SqlType::DateTime => n(3),
                    SqlType::Time { scale } | SqlType::DateTime2 { scale } | SqlType::DateTimeOffset { scale } => {
                        n(*scale)
                    }
                    _ => NULL,
                };
                let charset = match () {
                    () if types::is_national(ty) => t("UNICODE"),
                    () if text => t("iso_1"),
                    () => NULL,
                };
                rows.push(vec![
                    catalog(),
                    t(of.0),
                    t(of.1),
                    t(name),
                    n(place),
                    default,
                    t(if nullable { "YES" } else { "NO" }),
                    t(types::name(ty)),
                    chars,
                    octets,
                    if number || float { n(precision) } else { NULL },
                    match () {
                        () if number => n(10),
                        () if float => n(2),
                        () => NULL,
                    },
                    if number { n(scale) } else { NULL },
                    seconds,
                    NULL,
                    NULL,
                    charset,
                    NULL,
                    NULL,
                    super::collation_name(ty),
                    NULL,
                    NULL,
                    NULL,
                ]);
            };
            for (id, def, meta) in tables() {
                for (place, c) in def.columns.iter().enumerate() {
                    let default = meta.defaults.iter().find(|d| d.column == place).map_or(NULL, |d| t(&d.text));
                    let number = db.storage.column_id(id, place).into();
                    push((&def.schema, &def.name), &c.name, number, &c.sql_type, c.nullable, default);
                }
            }
            for view in db.modules.values() {
                for (place, c) in view.shown.iter().enumerate() {
                    push((&view.schema, &view.name), &c.name, place as i64 + 1, &c.ty, c.nullable, NULL);
                }
            }
            (columns(list), rows)
        }
        "table_constraints" | "key_column_usage" | "constraint_column_usage" | "constraint_table_usage" => {
            let mut rows = Vec::new();
            for (_, def, meta) in tables() {
                let keys = meta.keys.iter().filter(|k| k.object.is_some()).map(|k| {
                    (
                        &k.name,
                        if k.primary { "PRIMARY KEY" } else { "UNIQUE" },
                        k.columns.iter().map(|(c, _)| *c).collect::<Vec<_>>(),
                    )
                });
                let foreign = meta.foreign.iter().map(|f| (&f.name, "FOREIGN KEY", f.columns.clone()));
                let checks = meta.checks.iter().map(|c| (&c.name, "CHECK", Vec::new()));
                for (name, kind, places) in keys.chain(foreign).chain(checks) {
                    let head = || vec![catalog(), t(&def.schema), t(name), catalog(), t(&def.schema), t(&def.name)];
                    match view {
                        "table_constraints" => {
                            let mut row = head();
                            row.extend([t(kind), t("NO"), t("NO")]);
                            rows.push(row);
                        }
                        "constraint_table_usage" => {
                            rows.push(vec![catalog(), t(&def.schema), t(&def.name), catalog(), t(&def.schema), t(name)])
                        }
                        _ => {
                            for (ordinal, place) in places.iter().enumerate() {
                                let column = t(&def.columns[*place].name);
                                if view == "key_column_usage" {
                                    let mut row = head();
                                    row.extend([column, n(ordinal as i64 + 1)]);
                                    rows.push(row);
                                } else {
                                    rows.push(vec![
                                        catalog(),
                                        t(&def.schema),
                                        t(&def.name),
                                        column,
                                        catalog(),
                                        t(&def.schema),
                                        t(name),
                                    ]);
                                }
                            }
                        }
                    }
                }
            }
            let list = match view {
                "table_constraints" => {
                    "CONSTRAINT_CATALOG sysname?, CONSTRAINT_SCHEMA sysname?, CONSTRAINT_NAME sysname, TABLE_CATALOG sysname?, TABLE_SCHEMA sysname?, TABLE_NAME sysname?, CONSTRAINT_TYPE v11?, IS_DEFERRABLE v2, INITIALLY_DEFERRED v2"
                }
                "key_column_usage" => {
                    "CONSTRAINT_CATALOG sysname?, CONSTRAINT_SCHEMA sysname?, CONSTRAINT_NAME sysname, TABLE_CATALOG sysname?, TABLE_SCHEMA sysname?, TABLE_NAME sysname?, COLUMN_NAME sysname?, ORDINAL_POSITION int"
                }
                "constraint_table_usage" => {
                    "TABLE_CATALOG sysname?, TABLE_SCHEMA sysname?, TABLE_NAME sysname, CONSTRAINT_CATALOG sysname?, CONSTRAINT_SCHEMA sysname?, CONSTRAINT_NAME sysname"
                }
                _ => {
                    "TABLE_CATALOG sysname?, TABLE_SCHEMA sysname?, TABLE_NAME sysname, COLUMN_NAME sysname?, CONSTRAINT_CATALOG sysname?, CONSTRAINT_SCHEMA sysname?, CONSTRAINT_NAME sysname"
                }
            };
            (columns(list), rows)
        }
        "referential_constraints" => {
            let mut rows = Vec::new();
            for (_, def, meta) in tables() {
                for f in &meta.foreign {
                    let key = db.meta(f.table).keys.iter().find(|k| {
                        k.object.is_some()
                            && k.columns.len() == f.referenced.len()
                            && k.columns.iter().all(|(c, _)| f.referenced.contains(c))
                    });
                    let (schema, _) = db.table_name(f.table);
                    rows.push(vec![
                        catalog(),
                        t(&def.schema),
                        t(&f.name),
                        catalog(),
                        t(&schema),
                        key.map_or(NULL, |k| t(&k.name)),
                        t("SIMPLE"),
                        t("NO ACTION"),
                        t("NO ACTION"),
                    ]);
                }
            }
            (
                columns(
                    "CONSTRAINT_CATALOG sysname?, CONSTRAINT_SCHEMA sysname?, CONSTRAINT_NAME sysname, UNIQUE_CONSTRAINT_CATALOG sysname?, UNIQUE_CONSTRAINT_SCHEMA sysname?, UNIQUE_CONSTRAINT_NAME sysname?, MATCH_OPTION v7?, UPDATE_RULE v11?, DELETE_RULE v11?",
                ),
                rows,
            )
        }
        "check_constraints" => {
            let rows = tables().flat_map(|(_, def, meta)| {
                meta.checks
                    .iter()
                    .map(|c| vec![t(&db.name), t(&def.schema), t(&c.name), t(&c.text)])
                    .collect::<Vec<_>>()
            });
            (
                columns(
                    "CONSTRAINT_CATALOG sysname?, CONSTRAINT_SCHEMA sysname?, CONSTRAINT_NAME sysname, CHECK_CLAUSE n4000?",
                ),
                rows.collect(),
            )
        }
        _ => return None,
    })
}

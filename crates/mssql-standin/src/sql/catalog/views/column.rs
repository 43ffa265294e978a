//! `sys.columns` and its kin, `sys.types`.

use logferry_model::SqlType;

use super::super::super::bind::Binder;
use super::super::super::plan::Column;
use super::super::super::types;
use super::super::super::value::Value;
use super::super::objects::type_rows;
use super::super::shape::{NULL, Rows, b, columns, n, t};
use super::COLLATION;

/// A view of this file.
pub(super) fn view(binder: &Binder<'_>, at: usize, view: &str) -> Option<(Vec<Column>, Rows)> {
    let state = binder.state;
    let db = state.db(at);
    let tables = || db.storage.tables().map(|(id, def)| (id, def, db.meta(id)));
    Some(match view {
        "columns" | "all_columns" | "identity_columns" | "computed_columns" => {
            let mut list = columns(
                "object_id int, name sysname?, column_id int, system_type_id tinyint, user_type_id int, max_length smallint, precision tinyint, scale tinyint, collation_name sysname?, is_nullable bit?, is_ansi_padded bit, is_rowguidcol bit, is_identity bit, is_computed bit, is_filestream bit, is_replicated bit?, is_non_sql_subscribed bit?, is_merge_published bit?, is_dts_replicated bit?, is_xml_document bit, xml_collection_id int, default_object_id int, rule_object_id int, is_sparse bit?, is_column_set bit?, generated_always_type tinyint?, generated_always_type_desc n60?, encryption_type int?, encryption_type_desc n60?, encryption_algorithm_name sysname?, column_encryption_key_id int?, column_encryption_key_database_name sysname?, is_hidden bit?, is_masked bit",
            );
            let identity = view == "identity_columns";
            if identity {
                list.truncate(24);
                list.extend(columns(
                    "seed_value variant?, increment_value variant?, last_value variant?, is_not_for_replication bit?",
                ));
            }
            if view == "computed_columns" {
                list.truncate(24);
                list.extend(columns("definition nmax?, uses_database_collation bit, is_persisted bit"));
                return Some((list, Vec::new()));
            }
            let mut rows = Vec::new();
            for (id, def, meta) in tables() {
                for (place, c) in def.columns.iter().enumerate().filter(|(_, c)| !identity || c.identity) {
                    let code = types::code(&c.sql_type);
                    let (length, precision, scale) = types::sizes(&c.sql_type);
                    let padded = types::is_text(&c.sql_type) || types::is_bytes(&c.sql_type);
                    let old = matches!(
                        c.sql_type,
                        SqlType::Text { .. } | SqlType::NText { .. } | SqlType::Image | SqlType::RowVersion
                    );
                    let default = meta.defaults.iter().find(|d| d.column == place).map_or(0, |d| d.object);
                    let mut row = vec![
                        n(id),
                        t(&c.name),
                        n(db.storage.column_id(id, place)),
                        n(code),
                        n(code),
                        n(length),
                        n(precision),
                        n(scale),
                        if types::is_text(&c.sql_type) { t(COLLATION) } else { NULL },
                        b(c.nullable),
                        b(padded && !old),
                        b(false),
                        b(c.identity),
                        b(false),
                        b(false),
                        b(false),
                        b(false),
                        b(false),
                        b(false),
                        b(false),
                        n(0),
                        n(default),
                        n(0),
                        b(false),
                    ];
                    if identity {
                        let of = |v: Option<i128>| match v {
                            Some(v) => Value::Variant(Box::new(match &c.sql_type {
                                SqlType::Decimal { .. } => (
                                    c.sql_type.clone(),
                                    Value::Dec(super::super::super::value::Dec { mantissa: v, scale: 0 }),
                                ),
                                ty => (ty.clone(), Value::Int(v as i64)),
                            })),
                            None => NULL,
                        };
                        row.extend([
                            of(Some(1)),
                            of(Some(1)),
                            of(meta.identity.as_ref().and_then(|i| i.last)),
                            b(false),
                        ]);
                    } else {
                        row.extend([
                            b(false),
                            n(0),
                            t("NOT_APPLICABLE"),
                            NULL,
                            NULL,
                            NULL,
                            NULL,
                            NULL,
                            b(false),
                            b(false),
                        ]);
                    }
                    rows.push(row);
                }
            }
            (list, rows)
        }
        "types" => {
            let list = "name sysname, system_type_id tinyint, user_type_id int, schema_id int, principal_id int?, max_length smallint, precision tinyint, scale tinyint, collation_name sysname?, is_nullable bit?, is_user_defined bit, is_assembly_type bit, default_object_id int, rule_object_id int, is_table_type bit";
            let rows = type_rows().iter().map(|r| {
                vec![
                    t(r.name),
                    n(r.system_id),
                    n(r.user_id),
                    n(4),
                    NULL,
                    n(r.length),
                    n(r.precision),
                    n(r.scale),
                    if r.collated { t(COLLATION) } else { NULL },
                    b(!matches!(r.user_id, 189 | 256)),
                    b(false),
                    b(r.system_id == 240),
                    n(0),
                    n(0),
                    b(false),
                ]
            });
            (columns(list), rows.collect())
        }
        _ => return None,
    })
}

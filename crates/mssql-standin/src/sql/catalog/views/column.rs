//! `sys.columns` and its kin, `sys.types`.

use std::collections::BTreeMap;

use logferry_model::SqlType;

use super::super::super::bind::Binder;
use super::super::super::plan::Column;
use super::super::super::state::Db;
use super::super::super::types;
use super::super::super::value::{Dec, Value};
use super::super::objects::type_rows;
use super::super::shape::{NULL, Rows, b, columns, n, t, view as table};
use super::COLLATION;

const COLUMN: &str = "object_id int, name sysname?, column_id int, system_type_id tinyint, user_type_id int, max_length smallint, precision tinyint, scale tinyint, collation_name sysname?, is_nullable bit?, is_ansi_padded bit, is_rowguidcol bit, is_identity bit, is_computed bit, is_filestream bit=0, is_replicated bit?=0, is_non_sql_subscribed bit?=0, is_merge_published bit?=0, is_dts_replicated bit?=0, is_xml_document bit=0, xml_collection_id int=0, default_object_id int, rule_object_id int=0, is_sparse bit?=0, is_column_set bit?=0";

const LATER: &str = "generated_always_type tinyint?=0, generated_always_type_desc n60?=NOT_APPLICABLE, encryption_type int?, encryption_type_desc n64?, encryption_algorithm_name sysname?, column_encryption_key_id int?, column_encryption_key_database_name sysname?, is_hidden bit?=0, is_masked bit=0";

const IDENTITY: &str =
    "seed_value variant?, increment_value variant?, last_value variant?, is_not_for_replication bit?";

const COMPUTED: &str = "definition nmax?, uses_database_collation bit, is_persisted bit";

/// The columns of `sys.columns` that differ from one to another.
const GIVEN: [&str; 15] = [
    "object_id",
    "name",
    "column_id",
    "system_type_id",
    "user_type_id",
    "max_length",
    "precision",
    "scale",
    "collation_name",
    "is_nullable",
    "is_ansi_padded",
    "is_rowguidcol",
    "is_identity",
    "is_computed",
    "default_object_id",
];

struct Facts {
    table: u32,
    place: usize,
    ty: SqlType,
    row: [Value; 15],
}

fn facts(db: &Db) -> Vec<Facts> {
    let mut out = Vec::new();
    for (table, def) in db.storage.tables() {
        let meta = db.meta(table);
        for (place, c) in def.columns.iter().enumerate() {
            let code = types::code(&c.sql_type);
            let (length, precision, scale) = types::sizes(&c.sql_type);
            let sized = types::is_text(&c.sql_type) || types::is_bytes(&c.sql_type);
            let old = matches!(
                c.sql_type,
                SqlType::Text { .. } | SqlType::NText { .. } | SqlType::Image | SqlType::RowVersion
            );
            let default = meta.defaults.iter().find(|d| d.column == place).map_or(0, |d| d.object);
            let row = [
                n(table),
                t(&c.name),
                n(db.storage.column_id(table, place)),
                n(code),
                n(types::user_code(&c.sql_type)),
                n(length),
                n(precision),
                n(scale),
                super::collation_name(&c.sql_type),
                b(c.nullable),
                b(sized && !old),
                b(meta.rowguid == Some(place)),
                b(c.identity.is_some()),
                b(meta.computed.iter().any(|d| d.column == place)),
                n(default),
            ];
            out.push(Facts { table, place, ty: c.sql_type.clone(), row });
        }
    }
    for (id, view) in &db.modules {
        for (place, c) in view.shown.iter().enumerate() {
            let (length, precision, scale) = types::sizes(&c.ty);
            let row = [
                n(*id),
                t(&c.name),
                n(place as i64 + 1),
                n(types::code(&c.ty)),
                n(types::user_code(&c.ty)),
                n(length),
                n(precision),
                n(scale),
                super::collation_name(&c.ty),
                b(c.nullable),
                b(types::is_text(&c.ty) || types::is_bytes(&c.ty)),
                b(false),
                b(false),
                b(false),
                n(0),
            ];
            out.push(Facts { table: *id, place, ty: c.ty.clone(), row });
        }
    }
    out
}

/// What all columns have, and what only those of a view have.
fn joined<T, const N: usize>(first: [T; 15], more: [T; N]) -> Vec<T> {
    first.into_iter().chain(more).collect()
}

/// A view of this file.
pub(super) fn view(binder: &Binder<'_>, at: usize, view: &str) -> Option<(Vec<Column>, Rows)> {
    let state = binder.state;
    let db = state.db(at);
    Some(match view {
        "columns" | "all_columns" => {
            let spec = format!("{COLUMN}, {LATER}");
            table(&spec, GIVEN, facts(db).into_iter().map(|f| f.row))
        }
        "identity_columns" => {
            let spec = format!("{COLUMN}, {LATER}, {IDENTITY}");
            let more = ["seed_value", "increment_value", "last_value", "is_not_for_replication"];
            let given = joined(GIVEN, more);
            let rows = facts(db).into_iter().filter_map(|f| {
                let identity = db.meta(f.table).identity.as_ref().filter(|i| i.column == f.place)?;
                let of = |v: Option<i128>| match v {
                    Some(v) => Value::Variant(Box::new(match &f.ty {
                        SqlType::Decimal { .. } => (f.ty.clone(), Value::Dec(Dec { mantissa: v, scale: 0 })),
                        ty => (ty.clone(), Value::Int(v as i64)),
                    })),
                    None => NULL,
                };
                let tail = [
                    of(Some(identity.seed)),
                    of(Some(identity.increment)),
                    of(identity.last),
                    b(identity.not_for_replication),
                ];
                Some(joined(f.row, tail))
            });
            table(&spec, given, rows)
        }
        "computed_columns" => {
            let spec = format!("{COLUMN}, {LATER}, {COMPUTED}");
            let given = joined(GIVEN, ["definition", "is_persisted", "uses_database_collation"]);
            let rows = facts(db).into_iter().filter_map(|f| {
                let def = db.meta(f.table).computed.iter().find(|c| c.column == f.place)?;
                Some(joined(f.row, [t(&def.text), b(def.persisted), b(types::is_text(&f.ty))]))
            });
            table(&spec, given, rows)
        }
        "types" | "table_types" => {
            let list = "name sysname, system_type_id tinyint, user_type_id int, schema_id int, principal_id int?, max_length smallint, precision tinyint, scale tinyint, collation_name sysname?, is_nullable bit?, is_user_defined bit, is_assembly_type bit, default_object_id int, rule_object_id int, is_table_type bit";
            let system = type_rows().iter().filter(|_| view == "types").map(|r| {
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
            let schemas: BTreeMap<&str, u32> = db.storage.schemas().collect();
            let tables = db.table_types.iter().map(|(id, def)| {
                let schema = schemas.get(def.schema.as_str()).copied().unwrap_or(1);
                let mut row = vec![t(&def.name), n(243), n(*id), n(schema), NULL, n(-1), n(0), n(0), NULL];
                row.extend([b(false), b(true), b(false), n(0), n(0), b(true)]);
                if view == "table_types" {
                    row.extend([n(*id | 0x4000_0000), b(false)]);
                }
                row
            });
            let more = if view == "types" { "" } else { ", type_table_object_id int, is_memory_optimized bit?" };
            (columns(&format!("{list}{more}")), system.chain(tables).collect())
        }
        _ => return None,
    })
}

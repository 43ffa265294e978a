//! `sys.schemas`, `sys.objects` and the views of one kind of object; extended properties.

use super::super::super::ast::{ModuleKind, ParameterType};
use super::super::super::bind::{Binder, TableAt};
use super::super::super::cdc::is_tracked;
use super::super::super::plan::Column;
use super::super::super::state::Db;
use super::super::super::types;
use super::super::super::value::{Value, same_name};
use super::super::shape::{NULL, Rows, b, columns, n, none, t, view as shaped};
use super::{INFORMATION_SCHEMA, OBJECT, SYS, compatibility, object_rows, with};

/// A view of this file.
pub(super) fn view(binder: &Binder<'_>, at: usize, view: &str) -> Option<(Vec<Column>, Rows)> {
    let state = binder.state;
    let db = state.db(at);
    let is_seen = |table: u32| state.is_seen(binder.scalars, TableAt { database: at, table });
    Some(match view {
        "schemas" => {
            let rows = db.storage.schemas().map(|(name, id)| vec![t(name), n(id), n(if id <= 4 { id } else { 1 })]);
            let mut rows: Rows = rows.collect();
            rows.sort_by_key(|r| r[1].as_int());
            (columns("name sysname, schema_id int, principal_id int?"), rows)
        }
        "objects" | "all_objects" => (
            columns(OBJECT),
            object_rows(state, at, &[]).into_iter().filter(|(id, _)| is_seen(*id)).map(|(_, r)| r).collect(),
        ),
        "tables" => {
            let list = with(
                "lob_data_space_id int, filestream_data_space_id int?, max_column_id_used int, lock_on_bulk_load bit, uses_ansi_nulls bit?, is_replicated bit?, has_replication_filter bit?, is_merge_published bit?, is_sync_tran_subscribed bit?, has_unchecked_assembly_data bit, text_in_row_limit int?, large_value_types_out_of_row bit?, is_tracked_by_cdc bit?, lock_escalation tinyint?, lock_escalation_desc n60?, is_filetable bit?, is_memory_optimized bit?, durability tinyint?, durability_desc n60?, temporal_type tinyint?, temporal_type_desc n60?, history_table_id int?, is_remote_data_archive_enabled bit?, is_external bit",
            );
            let seen = object_rows(state, at, &["U "]).into_iter().filter(|(id, _)| is_seen(*id));
            let rows = seen.map(|(id, mut row)| {
                let def = db.storage.table_def(id);
                let lob = def.is_some_and(|d| d.columns.iter().any(|c| c.sql_type.is_lob()));
                row.extend([
                    n(u8::from(lob)),
                    NULL,
                    n(db.storage.last_column_id(id)),
                    b(false),
                    b(true),
                    b(false),
                    b(false),
                    b(false),
                    b(false),
                    b(false),
                    n(0),
                    b(false),
                    b(is_tracked(state, at, id)),
                    n(0),
                    t("TABLE"),
                    b(false),
                    b(false),
                    n(0),
                    t("SCHEMA_AND_DATA"),
                    n(0),
                    t("NON_TEMPORAL_TABLE"),
                    NULL,
                    b(false),
                    b(false),
                ]);
                row
            });
            (list, rows.collect())
        }
        "views" | "all_views" | "system_views" => {
            let list = with(
                "is_replicated bit?, has_replication_filter bit?, has_opaque_metadata bit, has_unchecked_assembly_data bit, with_check_option bit, is_date_correlation_view bit",
            );
            let checks = |id: u32| {
                let kind = db.modules.get(&id).map(|m| &m.kind);
                matches!(kind, Some(ModuleKind::View { check_option: true, .. }))
            };
            let own = object_rows(state, at, &["V "]).into_iter().map(|(id, row)| (row, checks(id)));
            let own = own.filter(|_| view != "system_views");
            let system = system_views(&db.created).filter(|_| view != "views").map(|row| (row, false));
            let rows = own.chain(system).map(|(mut row, checks)| {
                row.extend([b(false), b(false), b(false), b(false), b(checks), b(false)]);
                row
            });
            (list, rows.collect())
        }
        "procedures" => {
            let list = with(
                "is_auto_executed bit, is_execution_replicated bit?, is_repl_serializable_only bit?, skips_repl_constraints bit?",
            );
            let rows = object_rows(state, at, &["P "]).into_iter().map(|(_, mut row)| {
                row.extend([b(false), b(false), b(false), b(false)]);
                row
            });
            (list, rows.collect())
        }
        "assemblies" => shaped(
            "name sysname, principal_id int?, assembly_id int, clr_name n4000?, permission_set tinyint?, permission_set_desc n60?, is_visible bit, create_date datetime, modify_date datetime, is_user_defined bit?",
            [
                "name",
                "principal_id",
                "assembly_id",
                "clr_name",
                "permission_set",
                "permission_set_desc",
                "is_visible",
                "create_date",
                "modify_date",
                "is_user_defined",
            ],
            // The one that every database has: hierarchyid, geometry and geography are in it.
            [[
                t("Microsoft.SqlServer.Types"),
                n(4),
                n(1),
                t(
                    "microsoft.sqlserver.types, version=13.0.0.0, culture=neutral, publickeytoken=89845dcd8080cc91, processorarchitecture=msil",
                ),
                n(3),
                t("UNSAFE_ACCESS"),
                b(true),
                db.created.clone(),
                db.created.clone(),
                b(false),
            ]],
        ),
        "periods" => none(
            "name sysname, period_type tinyint?, period_type_desc n60?, object_id int, start_column_id int, end_column_id int",
        ),
        "parameters" => parameters(db),
        "synonyms" => (with("base_object_name n1035?"), Vec::new()),
        "sequences" => {
            let list = with(
                "start_value variant, increment variant, minimum_value variant?, maximum_value variant?, is_cycling bit, is_cached bit, cache_size int?, system_type_id tinyint, user_type_id int, precision tinyint, scale tinyint, current_value variant, is_exhausted bit",
            );
            (list, Vec::new())
        }
        "extended_properties" => (
            columns("class tinyint, class_desc n60?, major_id int, minor_id int, name sysname, value variant?"),
            Vec::new(),
        ),
        "sql_modules" => shaped(
            "object_id int, definition nmax?, uses_ansi_nulls bit?=1, uses_quoted_identifier bit?=1, is_schema_bound bit?=0, uses_database_collation bit?=0, is_recompiled bit?=0, null_on_null_input bit?=0, execute_as_principal_id int?, uses_native_compilation bit?=0",
            ["object_id", "definition", "is_schema_bound", "is_recompiled", "execute_as_principal_id"],
            (db.modules.iter().map(|(id, m)| (id, &m.text, m.options)))
                .chain(db.triggers.iter().map(|(id, trigger)| (id, &trigger.text, trigger.options)))
                .map(|(id, text, of)| {
                    [n(*id), t(text), b(of.schema_bound), b(of.recompiled), of.execute_as.map_or(NULL, n)]
                }),
        ),
        _ => return None,
    })
}

/// Parameters of procedures.
fn parameters(db: &Db) -> (Vec<Column>, Rows) {
    let mut rows = Vec::new();
    for (id, module) in &db.modules {
        let ModuleKind::Procedure { parameters, .. } = &module.kind else { continue };
        for (parameter, place) in parameters.iter().zip(1i64..) {
            let (code, user, (length, precision, scale)) = match &parameter.of {
                ParameterType::Scalar(ty) => (types::code(ty), types::user_code(ty), types::sizes(ty)),
                ParameterType::Table(name) => {
                    let name = name.last().map_or("", String::as_str);
                    let known = db.table_types.iter().find(|(_, def)| same_name(&def.name, name));
                    (243, known.map_or(0, |(id, _)| *id), (-1, 0, 0))
                }
            };
            rows.push([
                n(*id),
                t(&parameter.name),
                n(place),
                n(code),
                n(user),
                n(length),
                n(precision),
                n(scale),
                b(parameter.output),
                b(matches!(parameter.of, ParameterType::Table(_))),
            ]);
        }
    }
    shaped(
        "object_id int, name sysname?, parameter_id int, system_type_id tinyint, user_type_id int, max_length smallint, precision tinyint, scale tinyint, is_output bit, is_cursor_ref bit=0, has_default_value bit=0, is_xml_document bit=0, default_value variant?, xml_collection_id int=0, is_readonly bit, is_nullable bit?=1, encryption_type int?, encryption_type_desc n64?, encryption_algorithm_name sysname?, column_encryption_key_id int?, column_encryption_key_database_name sysname?",
        [
            "object_id",
            "name",
            "parameter_id",
            "system_type_id",
            "user_type_id",
            "max_length",
            "precision",
            "scale",
            "is_output",
            "is_readonly",
        ],
        rows,
    )
}

/// The server's own views: ids below 0, in the schemas 3 and 4.
fn system_views(created: &Value) -> impl Iterator<Item = Vec<Value>> {
    let of = |(schema, names): (i64, &'static [&'static str])| names.iter().map(move |name| (schema, *name));
    let all = [(4, SYS), (4, compatibility::NAMES), (3, INFORMATION_SCHEMA)].into_iter().flat_map(of).enumerate();
    all.map(|(at, (schema, name))| {
        vec![
            t(name),
            n(-101 - at as i64),
            NULL,
            n(schema),
            n(0),
            t("V "),
            t("VIEW"),
            created.clone(),
            created.clone(),
            b(true),
            b(false),
            b(false),
        ]
    })
}

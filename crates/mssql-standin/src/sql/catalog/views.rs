//! The views.

use logferry_model::SqlType;

use super::super::bind::Binder;
use super::super::error::Result;
use super::super::plan::{Column, Typed};
use super::super::state::State;
use super::super::types;
use super::super::value::{Value, same_name};
use super::objects::{objects, type_rows};
use crate::storage::DEFAULT_COLLATION;

const COLLATION: &str = "SQL_Latin1_General_CP1_CI_AS";

type Rows = Vec<Vec<Value>>;

/// `name type, ...`: a `?` behind the type allows NULL; a trailing `=` gives what is in all rows, as the last columns.
fn columns(spec: &str) -> Vec<Column> {
    spec.split(',')
        .filter_map(|part| part.trim().split_once(' '))
        .map(|(name, ty)| {
            let (ty, nullable) = ty.strip_suffix('?').map_or((ty, false), |t| (t, true));
            let collation = DEFAULT_COLLATION;
            let ty = match ty {
                "int" => SqlType::Int,
                "bigint" => SqlType::BigInt,
                "smallint" => SqlType::SmallInt,
                "tinyint" => SqlType::TinyInt,
                "bit" => SqlType::Bit,
                "datetime" => SqlType::DateTime,
                "guid" => SqlType::UniqueIdentifier,
                "variant" => SqlType::Variant,
                "char2" => SqlType::Char { length: 2, collation },
                "nmax" => types::nvarchar_max(),
                "n60" => types::nvarchar(60),
                "n260" => types::nvarchar(260),
                "n4000" => types::nvarchar(4000),
                "v3" => types::varchar(3),
                "v10" => types::varchar(10),
                "v11" => types::varchar(11),
                "v7" => types::varchar(7),
                "bin85" => SqlType::VarBinary { length: Some(85) },
                "num25" => SqlType::Decimal { precision: 25, scale: 0 },
                _ => types::sysname(),
            };
            Column { name: name.to_owned(), ty, nullable, identity: false }
        })
        .collect()
}

fn n(n: impl Into<i64>) -> Value {
    Value::Int(n.into())
}

fn b(on: bool) -> Value {
    Value::bit(on)
}

fn t(text: &str) -> Value {
    Value::text(text)
}

const NULL: Value = Value::Null;

fn kind_name(kind: &str) -> &'static str {
    match kind {
        "U " => "USER_TABLE",
        "PK" => "PRIMARY_KEY_CONSTRAINT",
        "UQ" => "UNIQUE_CONSTRAINT",
        "C " => "CHECK_CONSTRAINT",
        "D " => "DEFAULT_CONSTRAINT",
        _ => "FOREIGN_KEY_CONSTRAINT",
    }
}

const OBJECT: &str = "name sysname, object_id int, principal_id int?, schema_id int, parent_object_id int, type char2, type_desc n60, create_date datetime, modify_date datetime, is_ms_shipped bit, is_published bit, is_schema_published bit";

/// The columns that `sys.objects` shares with the views of its kinds.
fn object_rows(state: &State, database: usize, kinds: &[&str]) -> Vec<(u32, Vec<Value>)> {
    objects(state, database)
        .into_iter()
        .filter(|o| kinds.is_empty() || kinds.contains(&o.kind))
        .map(|o| {
            let row = vec![
                t(&o.name),
                n(o.id),
                NULL,
                n(o.schema_id),
                n(o.parent),
                t(o.kind),
                t(kind_name(o.kind)),
                o.created.clone(),
                o.created,
                b(o.shipped),
                b(false),
                b(false),
            ];
            (o.id, row)
        })
        .collect()
}

fn with(spec: &str) -> Vec<Column> {
    columns(&format!("{OBJECT}, {spec}"))
}

/// A view: its schema, columns and rows.
pub(crate) fn view(binder: &Binder<'_>, name: &[String]) -> Result<Option<(String, Vec<Column>, Rows)>> {
    let state = binder.state;
    let (database, schema, view) = match name {
        // `sysobjects` and the like are found without their schema too; they are not kept here.
        [_] => return Ok(None),
        _ => state.resolve(binder.scalars, name)?,
    };
    let lower = view.to_lowercase();
    let found = if same_name(&schema, "sys") {
        sys_view(binder, database, &lower)
    } else if same_name(&schema, "INFORMATION_SCHEMA") {
        information_schema(state, database, &lower)
    } else {
        None
    };
    Ok(found.map(|(columns, rows)| (schema, columns, rows)))
}

/// A function that gives rows.
pub(crate) fn table_function(_: &Binder<'_>, name: &[String], _: &[Typed]) -> Result<Option<(Vec<Column>, Rows)>> {
    match name.last().map(|n| n.to_lowercase()).as_deref() {
        Some("fn_listextendedproperty") => {
            Ok(Some((columns("objtype sysname?, objname sysname?, name sysname, value variant?"), Vec::new())))
        }
        _ => Ok(None),
    }
}

fn sys_view(binder: &Binder<'_>, at: usize, view: &str) -> Option<(Vec<Column>, Rows)> {
    let state = binder.state;
    let db = state.db(at);
    let tables = || db.storage.tables().map(|(id, def)| (id, def, db.meta(id)));
    let long = |v: i64| Value::Int(v);
    Some(match view {
        "databases" => {
            let list = "name sysname, database_id int, source_database_id int?, owner_sid bin85?, create_date datetime, compatibility_level tinyint, collation_name sysname?, user_access tinyint?, user_access_desc n60?, is_read_only bit?, is_auto_close_on bit, is_auto_shrink_on bit?, state tinyint?, state_desc n60?, is_in_standby bit?, is_cleanly_shutdown bit?, is_supplemental_logging_enabled bit?, snapshot_isolation_state tinyint?, snapshot_isolation_state_desc n60?, is_read_committed_snapshot_on bit?, recovery_model tinyint?, recovery_model_desc n60?, page_verify_option tinyint?, page_verify_option_desc n60?, is_published bit, is_subscribed bit, is_merge_published bit, is_distributor bit, is_broker_enabled bit, log_reuse_wait tinyint?, log_reuse_wait_desc n60?, is_date_correlation_on bit, is_cdc_enabled bit, is_encrypted bit?, containment tinyint?, containment_desc n60?, delayed_durability int?, delayed_durability_desc n60?, is_query_store_on bit?";
            let rows =
                state.databases.iter().enumerate().filter_map(|(at, d)| d.as_ref().map(|d| (at, d))).map(|(at, d)| {
                    vec![
                        t(&d.name),
                        n(State::database_id(at)),
                        NULL,
                        Value::Bytes(vec![1]),
                        d.created.clone(),
                        n(130),
                        t(COLLATION),
                        n(0),
                        t("MULTI_USER"),
                        b(false),
                        b(false),
                        b(false),
                        n(0),
                        t("ONLINE"),
                        b(false),
                        b(false),
                        b(false),
                        n(u8::from(d.allow_snapshot)),
                        t(if d.allow_snapshot { "ON" } else { "OFF" }),
                        b(d.read_committed_snapshot),
                        n(1),
                        t("FULL"),
                        n(2),
                        t("CHECKSUM"),
                        b(false),
                        b(false),
                        b(false),
                        b(false),
                        b(false),
                        n(0),
                        t("NOTHING"),
                        b(false),
                        b(false),
                        b(false),
                        n(0),
                        t("NONE"),
                        n(0),
                        t("DISABLED"),
                        b(false),
                    ]
                });
            (columns(list), rows.collect())
        }
        "schemas" => {
            let rows = db.storage.schemas().map(|(name, id)| vec![t(name), n(id), n(if id <= 4 { id } else { 1 })]);
            let mut rows: Rows = rows.collect();
            rows.sort_by_key(|r| r[1].as_int());
            (columns("name sysname, schema_id int, principal_id int?"), rows)
        }
        "objects" | "all_objects" => {
            (columns(OBJECT), object_rows(state, at, &[]).into_iter().map(|(_, r)| r).collect())
        }
        "tables" => {
            let list = with(
                "lob_data_space_id int, filestream_data_space_id int?, max_column_id_used int, lock_on_bulk_load bit, uses_ansi_nulls bit?, is_replicated bit?, has_replication_filter bit?, is_merge_published bit?, is_sync_tran_subscribed bit?, has_unchecked_assembly_data bit, text_in_row_limit int?, large_value_types_out_of_row bit?, is_tracked_by_cdc bit?, lock_escalation tinyint?, lock_escalation_desc n60?, is_filetable bit?, is_memory_optimized bit?, durability tinyint?, durability_desc n60?, temporal_type tinyint?, temporal_type_desc n60?, history_table_id int?, is_remote_data_archive_enabled bit?, is_external bit",
            );
            let rows = object_rows(state, at, &["U "]).into_iter().map(|(id, mut row)| {
                let def = db.storage.table_def(id);
                let lob = def.is_some_and(|d| d.columns.iter().any(|c| c.sql_type.is_lob()));
                row.extend([
                    n(u8::from(lob)),
                    NULL,
                    n(def.map_or(0, |d| d.columns.len() as i64)),
                    b(false),
                    b(true),
                    b(false),
                    b(false),
                    b(false),
                    b(false),
                    b(false),
                    n(0),
                    b(false),
                    b(false),
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
        "views" => (
            with(
                "is_replicated bit?, has_replication_filter bit?, has_opaque_metadata bit, has_unchecked_assembly_data bit, with_check_option bit, is_date_correlation_view bit",
            ),
            Vec::new(),
        ),
        "procedures" | "triggers" | "synonyms" | "sequences" => (columns(OBJECT), Vec::new()),
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
                        n(place as i64 + 1),
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
                                SqlType::Decimal { .. } => {
                                    (c.sql_type.clone(), Value::Dec(super::super::value::Dec { mantissa: v, scale: 0 }))
                                }
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
        "indexes" => {
            let list = "object_id int, name sysname?, index_id int, type tinyint, type_desc n60?, is_unique bit?, data_space_id int, ignore_dup_key bit?, is_primary_key bit?, is_unique_constraint bit?, fill_factor tinyint, is_padded bit?, is_disabled bit?, is_hypothetical bit?, allow_row_locks bit?, allow_page_locks bit?, has_filter bit?, filter_definition nmax?, compression_delay int?";
            let mut rows = Vec::new();
            for (id, _, meta) in tables() {
                let row = |name: Value, index: u32, kind: u8, unique: bool, primary: bool, constraint: bool| {
                    vec![
                        n(id),
                        name,
                        n(index),
                        n(kind),
                        t(["HEAP", "CLUSTERED", "NONCLUSTERED"][usize::from(kind)]),
                        b(unique),
                        n(1),
                        b(false),
                        b(primary),
                        b(constraint),
                        n(0),
                        b(false),
                        b(false),
                        b(false),
                        b(true),
                        b(true),
                        b(false),
                        NULL,
                        NULL,
                    ]
                };
                if !meta.keys.iter().any(|k| k.clustered) {
                    rows.push(row(NULL, 0, 0, false, false, false));
                }
                let mut keys: Vec<_> = meta.keys.iter().collect();
                keys.sort_by_key(|k| k.index_id);
                for k in keys {
                    rows.push(row(
                        t(&k.name),
                        k.index_id,
                        if k.clustered { 1 } else { 2 },
                        k.unique,
                        k.primary,
                        k.object.is_some() && !k.primary,
                    ));
                }
            }
            (columns(list), rows)
        }
        "index_columns" => {
            let list = "object_id int, index_id int, index_column_id int, column_id int, key_ordinal tinyint, partition_ordinal tinyint, is_descending_key bit?, is_included_column bit?";
            let mut rows = Vec::new();
            for (id, _, meta) in tables() {
                for k in &meta.keys {
                    let all = k
                        .columns
                        .iter()
                        .map(|(c, d)| (*c, *d, false))
                        .chain(k.included.iter().map(|c| (*c, false, true)));
                    for (place, (column, descending, included)) in all.enumerate() {
                        let ordinal = place as i64 + 1;
                        rows.push(vec![
                            n(id),
                            n(k.index_id),
                            n(ordinal),
                            n(column as i64 + 1),
                            n(if included { 0 } else { ordinal }),
                            n(0),
                            b(descending),
                            b(included),
                        ]);
                    }
                }
            }
            (columns(list), rows)
        }
        "key_constraints" => {
            let list = with("unique_index_id int?, is_system_named bit, is_enforced bit?");
            let rows = object_rows(state, at, &["PK", "UQ"]).into_iter().map(|(id, mut row)| {
                let key = tables().flat_map(|(_, _, m)| &m.keys).find(|k| k.object == Some(id));
                row.extend([key.map_or(NULL, |k| n(k.index_id)), b(key.is_some_and(|k| k.named_by_system)), b(true)]);
                row
            });
            (list, rows.collect())
        }
        "check_constraints" => {
            let list = with(
                "is_disabled bit, is_not_for_replication bit, is_not_trusted bit, parent_column_id int, definition nmax?, uses_database_collation bit?, is_system_named bit",
            );
            let rows = object_rows(state, at, &["C "]).into_iter().map(|(id, mut row)| {
                let check = tables().flat_map(|(_, _, m)| &m.checks).find(|c| c.object == id);
                row.extend([
                    b(false),
                    b(false),
                    b(false),
                    n(0),
                    check.map_or(NULL, |c| t(&c.text)),
                    b(false),
                    b(check.is_some_and(|c| c.named_by_system)),
                ]);
                row
            });
            (list, rows.collect())
        }
        "default_constraints" => {
            let list = with("parent_column_id int, definition nmax?, is_system_named bit");
            let rows = object_rows(state, at, &["D "]).into_iter().map(|(id, mut row)| {
                let found = tables().flat_map(|(_, _, m)| &m.defaults).find(|d| d.object == id);
                row.extend([
                    found.map_or(n(0), |d| n(d.column as i64 + 1)),
                    found.map_or(NULL, |d| t(&d.text)),
                    b(found.is_some_and(|d| d.named_by_system)),
                ]);
                row
            });
            (list, rows.collect())
        }
        "foreign_keys" => {
            let list = with(
                "referenced_object_id int?, key_index_id int?, is_disabled bit, is_not_for_replication bit, is_not_trusted bit, delete_referential_action tinyint?, delete_referential_action_desc n60?, update_referential_action tinyint?, update_referential_action_desc n60?, is_system_named bit",
            );
            let rows = object_rows(state, at, &["F "]).into_iter().map(|(id, mut row)| {
                let found = tables().flat_map(|(_, _, m)| &m.foreign).find(|f| f.object == id);
                row.extend([
                    found.map_or(NULL, |f| n(f.table)),
                    n(1),
                    b(false),
                    b(false),
                    b(false),
                    n(0),
                    t("NO_ACTION"),
                    n(0),
                    t("NO_ACTION"),
                    b(found.is_some_and(|f| f.named_by_system)),
                ]);
                row
            });
            (list, rows.collect())
        }
        "foreign_key_columns" => {
            let list = "constraint_object_id int, constraint_column_id int, parent_object_id int, parent_column_id int, referenced_object_id int, referenced_column_id int";
            let mut rows = Vec::new();
            for (id, _, meta) in tables() {
                for f in &meta.foreign {
                    for (place, (own, other)) in f.columns.iter().zip(&f.referenced).enumerate() {
                        rows.push(vec![
                            n(f.object),
                            n(place as i64 + 1),
                            n(id),
                            n(*own as i64 + 1),
                            n(f.table),
                            n(*other as i64 + 1),
                        ]);
                    }
                }
            }
            (columns(list), rows)
        }
        "partitions" | "dm_db_partition_stats" => {
            let stats = view != "partitions";
            let list = match stats {
                false => {
                    "partition_id bigint, object_id int, index_id int, partition_number int, hobt_id bigint, rows bigint?, filestream_filegroup_id smallint, data_compression tinyint, data_compression_desc n60?"
                }
                true => {
                    "partition_id bigint?, object_id int, index_id int, partition_number int, in_row_data_page_count bigint?, in_row_used_page_count bigint?, in_row_reserved_page_count bigint?, lob_used_page_count bigint?, lob_reserved_page_count bigint?, row_overflow_used_page_count bigint?, row_overflow_reserved_page_count bigint?, used_page_count bigint?, reserved_page_count bigint?, row_count bigint?"
                }
            };
            let mut rows = Vec::new();
            for (id, _, meta) in tables() {
                let Some((hobt, units)) = db.storage.storage_ids(id) else { continue };
                let (count, [_, used, reserved]) = db.storage.size_of(id);
                let of = |kind: u8| units.iter().find(|u| u.1 == kind).map_or([0; 3], |u| u.2);
                let index = u32::from(meta.keys.iter().any(|k| k.clustered));
                rows.push(match stats {
                    false => vec![
                        long(hobt as i64),
                        n(id),
                        n(index),
                        n(1),
                        long(hobt as i64),
                        long(count),
                        n(0),
                        n(0),
                        t("NONE"),
                    ],
                    true => {
                        let [data, in_used, in_reserved] = of(1);
                        vec![
                            long(hobt as i64),
                            n(id),
                            n(index),
                            n(1),
                            long(data),
                            long(in_used),
                            long(in_reserved),
                            long(of(2)[1]),
                            long(of(2)[2]),
                            long(of(3)[1]),
                            long(of(3)[2]),
                            long(used),
                            long(reserved),
                            long(count),
                        ]
                    }
                });
            }
            (columns(list), rows)
        }
        "allocation_units" => {
            let list = "allocation_unit_id bigint, type tinyint, type_desc n60?, container_id bigint, data_space_id int, total_pages bigint, used_pages bigint, data_pages bigint";
            let mut rows = Vec::new();
            for (id, ..) in tables() {
                let Some((hobt, units)) = db.storage.storage_ids(id) else { continue };
                for (unit, kind, [data, used, reserved]) in units {
                    let names = ["DROPPED", "IN_ROW_DATA", "LOB_DATA", "ROW_OVERFLOW_DATA"];
                    let name = names.get(usize::from(kind)).copied().unwrap_or_default();
                    rows.push(vec![
                        long(unit as i64),
                        n(kind),
                        t(name),
                        long(hobt as i64),
                        n(1),
                        long(reserved),
                        long(used),
                        long(data),
                    ]);
                }
            }
            (columns(list), rows)
        }
        "extended_properties" => (
            columns("class tinyint, class_desc n60?, major_id int, minor_id int, name sysname, value variant?"),
            Vec::new(),
        ),
        "configurations" => {
            let list = "configuration_id int, name n60, value variant?, minimum variant?, maximum variant?, value_in_use variant?, description n260, is_dynamic bit, is_advanced bit";
            let of = |v: i64| Value::Variant(Box::new((SqlType::Int, Value::Int(v))));
            let known: &[(i64, &str, i64, i64, i64)] = &[
                (103, "user connections", 0, 0, 32767),
                (115, "nested triggers", 1, 0, 1),
                (124, "default language", 0, 0, 9999),
                (518, "show advanced options", 0, 0, 1),
                (1539, "max degree of parallelism", 0, 0, 32767),
                (1544, "max server memory (MB)", 2_147_483_647, 128, 2_147_483_647),
                (1562, "clr enabled", 0, 0, 1),
                (16388, "Ole Automation Procedures", 0, 0, 1),
                (16390, "xp_cmdshell", 0, 0, 1),
            ];
            let rows = known.iter().map(|(id, name, value, low, high)| {
                vec![long(*id), t(name), of(*value), of(*low), of(*high), of(*value), t(name), b(true), b(*id > 500)]
            });
            (columns(list), rows.collect())
        }
        "data_spaces" | "filegroups" => {
            let list = "name sysname, data_space_id int, type char2, type_desc n60?, is_default bit?, is_system bit?";
            (columns(list), vec![vec![t("PRIMARY"), n(1), t("FG"), t("ROWS_FILEGROUP"), b(true), b(false)]])
        }
        "database_files" | "master_files" => {
            let list = "database_id int, file_id int, type tinyint, type_desc n60?, data_space_id int, name sysname, physical_name n260, state tinyint?, state_desc n60?, size int, max_size int, growth int, is_read_only bit, is_percent_growth bit";
            let mut list = columns(list);
            let all: Vec<usize> = if view == "master_files" {
                (0..state.databases.len()).filter(|d| state.databases[*d].is_some()).collect()
            } else {
                vec![at]
            };
            let mut rows: Rows = Vec::new();
            for d in all {
                let (id, name) = (State::database_id(d), &state.db(d).name);
                let pages = i64::from(state.db(d).storage.options().pages);
                rows.push(vec![
                    n(id),
                    n(1),
                    n(0),
                    t("ROWS"),
                    n(1),
                    t(name),
                    t(&format!("{name}.mdf")),
                    n(0),
                    t("ONLINE"),
                    long(pages),
                    n(-1),
                    n(8192),
                    b(false),
                    b(false),
                ]);
                let log = state.db(d).storage.options().vlf_bytes / 8192;
                rows.push(vec![
                    n(id),
                    n(2),
                    n(1),
                    t("LOG"),
                    n(0),
                    t(&format!("{name}_log")),
                    t(&format!("{name}_log.ldf")),
                    n(0),
                    t("ONLINE"),
                    long(log as i64),
                    n(-1),
                    n(8192),
                    b(false),
                    b(false),
                ]);
            }
            if view == "database_files" {
                list.remove(0);
                rows.iter_mut().for_each(|r| drop(r.remove(0)));
            }
            (list, rows)
        }
        "database_principals" => {
            let list = "name sysname, principal_id int, type char2, type_desc n60?, default_schema_name sysname?, create_date datetime, modify_date datetime, owning_principal_id int?, sid bin85?, is_fixed_role bit, authentication_type int, authentication_type_desc n60?";
            let row = |name: &str, id: i64, kind: &str, desc: &str, fixed: bool| {
                vec![
                    t(name),
                    n(id),
                    t(kind),
                    t(desc),
                    if kind == "S" { t("dbo") } else { NULL },
                    db.created.clone(),
                    db.created.clone(),
                    NULL,
                    NULL,
                    b(fixed),
                    n(0),
                    t("NONE"),
                ]
            };
            (
                columns(list),
                vec![
                    row("public", 0, "R", "DATABASE_ROLE", false),
                    row("dbo", 1, "S", "SQL_USER", false),
                    row("guest", 2, "S", "SQL_USER", false),
                    row("db_owner", 16384, "R", "DATABASE_ROLE", true),
                ],
            )
        }
        "dm_exec_sessions" => {
            let list = "session_id smallint, login_time datetime, host_name sysname?, program_name sysname?, login_name sysname, status n60, is_user_process bit, database_id smallint, open_transaction_count int";
            let rows = state.sessions.iter().map(|(id, s)| {
                let open = state.owners.values().filter(|o| *o == id).count() as i64;
                vec![
                    n(*id),
                    db.created.clone(),
                    t(&s.host),
                    t(&s.program),
                    t(&s.login),
                    t("running"),
                    b(true),
                    n(State::database_id(s.database)),
                    n(open),
                ]
            });
            (columns(list), rows.collect())
        }
        "dm_exec_connections" => {
            let list = "session_id int?, most_recent_session_id int?, connect_time datetime, net_transport n60, protocol_type n60?, encrypt_option n60, auth_scheme n60, client_net_address n60?, local_tcp_port int?";
            let rows = state.sessions.keys().map(|id| {
                vec![n(*id), n(*id), db.created.clone(), t("TCP"), t("TSQL"), t("TRUE"), t("SQL"), t("127.0.0.1"), NULL]
            });
            (columns(list), rows.collect())
        }
        "dm_os_sys_info" => {
            (columns("sqlserver_start_time datetime, cpu_count int"), vec![vec![state.db(0).created.clone(), n(1)]])
        }
        "sql_modules" => (columns("object_id int, definition nmax?, uses_ansi_nulls bit?"), Vec::new()),
        "dm_tran_locks" => {
            (columns("resource_type n60, request_mode n60, request_status n60, request_session_id int"), Vec::new())
        }
        _ => return None,
    })
}

fn information_schema(state: &State, at: usize, view: &str) -> Option<(Vec<Column>, Rows)> {
    let db = state.db(at);
    let catalog = || t(&db.name);
    let tables = || db.storage.tables().map(|(id, def)| (id, def, db.meta(id)));
    Some(match view {
        "schemata" => {
            let rows = db.storage.schemas().map(|(name, _)| vec![catalog(), t(name), t("dbo"), NULL, NULL, t("iso_1")]);
            (
                columns(
                    "CATALOG_NAME sysname?, SCHEMA_NAME sysname, SCHEMA_OWNER sysname?, DEFAULT_CHARACTER_SET_CATALOG v3?, DEFAULT_CHARACTER_SET_SCHEMA v3?, DEFAULT_CHARACTER_SET_NAME sysname?",
                ),
                rows.collect(),
            )
        }
        "tables" => {
            let rows = tables().map(|(_, def, _)| vec![catalog(), t(&def.schema), t(&def.name), t("BASE TABLE")]);
            (
                columns("TABLE_CATALOG sysname?, TABLE_SCHEMA sysname?, TABLE_NAME sysname, TABLE_TYPE v10?"),
                rows.collect(),
            )
        }
        "views" => (
            columns(
                "TABLE_CATALOG sysname?, TABLE_SCHEMA sysname?, TABLE_NAME sysname, VIEW_DEFINITION n4000?, CHECK_OPTION v7?, IS_UPDATABLE v3",
            ),
            Vec::new(),
        ),
        "routines" => (
            columns(
                "SPECIFIC_CATALOG sysname?, SPECIFIC_SCHEMA sysname?, SPECIFIC_NAME sysname, ROUTINE_CATALOG sysname?, ROUTINE_SCHEMA sysname?, ROUTINE_NAME sysname, ROUTINE_TYPE v10?",
            ),
            Vec::new(),
        ),
        "columns" => {
            let list = "TABLE_CATALOG sysname?, TABLE_SCHEMA sysname?, TABLE_NAME sysname, COLUMN_NAME sysname?, ORDINAL_POSITION int?, COLUMN_DEFAULT n4000?, IS_NULLABLE v3?, DATA_TYPE sysname?, CHARACTER_MAXIMUM_LENGTH int?, CHARACTER_OCTET_LENGTH int?, NUMERIC_PRECISION tinyint?, NUMERIC_PRECISION_RADIX smallint?, NUMERIC_SCALE int?, DATETIME_PRECISION smallint?, CHARACTER_SET_CATALOG sysname?, CHARACTER_SET_SCHEMA sysname?, CHARACTER_SET_NAME sysname?, COLLATION_CATALOG sysname?, COLLATION_SCHEMA sysname?, COLLATION_NAME sysname?, DOMAIN_CATALOG sysname?, DOMAIN_SCHEMA sysname?, DOMAIN_NAME sysname?";
            let mut rows = Vec::new();
            for (_, def, meta) in tables() {
                for (place, c) in def.columns.iter().enumerate() {
                    let ty = &c.sql_type;
                    let (bytes, precision, scale) = types::sizes(ty);
                    let text = types::is_text(ty);
                    let sized = text || types::is_bytes(ty) && *ty != SqlType::RowVersion;
                    let (chars, octets) = match ty {
                        SqlType::NText { .. } => (n(1_073_741_823), n(2_147_483_646)),
                        SqlType::Text { .. } | SqlType::Image => (n(2_147_483_647), n(2_147_483_647)),
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
                    let default = meta.defaults.iter().find(|d| d.column == place).map_or(NULL, |d| t(&d.text));
                    let charset = match () {
                        () if types::is_national(ty) => t("UNICODE"),
                        () if text => t("iso_1"),
                        () => NULL,
                    };
                    rows.push(vec![
                        catalog(),
                        t(&def.schema),
                        t(&def.name),
                        t(&c.name),
                        n(place as i64 + 1),
                        default,
                        t(if c.nullable { "YES" } else { "NO" }),
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
                        if text { t(COLLATION) } else { NULL },
                        NULL,
                        NULL,
                        NULL,
                    ]);
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
                    "CONSTRAINT_CATALOG sysname?, CONSTRAINT_SCHEMA sysname?, CONSTRAINT_NAME sysname, TABLE_CATALOG sysname?, TABLE_SCHEMA sysname?, TABLE_NAME sysname?, CONSTRAINT_TYPE v11?, IS_DEFERRABLE v3, INITIALLY_DEFERRED v3"
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

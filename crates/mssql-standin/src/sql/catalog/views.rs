//! The views: how their columns are told, and which file has which.

mod cdc;
mod column;
mod compatibility;
mod constraint;
mod depend;
mod information_schema;
pub(crate) mod log;
mod msdb;
mod object;
pub(super) mod server;
pub(super) mod session;
mod space;
mod statistics;
mod trigger;

use logferry_model::SqlType;

use super::super::bind::Binder;
use super::super::collation;
use super::super::error::Result;
use super::super::plan::{Column, Typed};
use super::super::state::{Isolation, Scalars, State};
use super::super::value::{Value, same_name};
use super::objects::objects;
use super::shape::{NULL, Rows, b, columns, n, t};

/// The views of the schemas `sys` (besides [`compatibility::NAMES`]) and `INFORMATION_SCHEMA`, as `sys.system_views` lists them: there are no
/// others.
const SYS: &[&str] = &[
    "all_columns",
    "all_objects",
    "all_views",
    "allocation_units",
    "assemblies",
    "availability_groups",
    "change_tracking_databases",
    "check_constraints",
    "columns",
    "computed_columns",
    "configurations",
    "data_spaces",
    "database_files",
    "database_mirroring",
    "database_permissions",
    "database_principals",
    "database_recovery_status",
    "database_role_members",
    "databases",
    "default_constraints",
    "destination_data_spaces",
    "dm_cdc_errors",
    "dm_cdc_log_scan_sessions",
    "dm_db_log_space_usage",
    "dm_db_partition_stats",
    "dm_exec_cached_plans",
    "dm_exec_connections",
    "dm_exec_query_stats",
    "dm_exec_requests",
    "dm_exec_sessions",
    "dm_hadr_availability_replica_states",
    "dm_hadr_database_replica_states",
    "dm_os_performance_counters",
    "dm_os_sys_info",
    "dm_server_services",
    "dm_tran_active_snapshot_database_transactions",
    "dm_tran_active_transactions",
    "dm_tran_current_transaction",
    "dm_tran_database_transactions",
    "dm_tran_locks",
    "dm_tran_session_transactions",
    "dm_tran_version_store_space_usage",
    "extended_properties",
    "filegroups",
    "foreign_key_columns",
    "foreign_keys",
    "fulltext_languages",
    "identity_columns",
    "index_columns",
    "indexes",
    "key_constraints",
    "master_files",
    "messages",
    "objects",
    "parameters",
    "partition_functions",
    "partition_schemes",
    "partitions",
    "periods",
    "procedures",
    "schemas",
    "sequences",
    "server_permissions",
    "server_principals",
    "server_role_members",
    "servers",
    "sql_expression_dependencies",
    "sql_logins",
    "sql_modules",
    "stats",
    "stats_columns",
    "synonyms",
    "system_internals_allocation_units",
    "system_internals_partition_columns",
    "system_internals_partitions",
    "system_views",
    "table_types",
    "tables",
    "time_zone_info",
    "trigger_events",
    "triggers",
    "types",
    "views",
];
const INFORMATION_SCHEMA: &[&str] = &[
    "CHECK_CONSTRAINTS",
    "COLUMN_DOMAIN_USAGE",
    "COLUMN_PRIVILEGES",
    "COLUMNS",
    "CONSTRAINT_COLUMN_USAGE",
    "CONSTRAINT_TABLE_USAGE",
    "DOMAIN_CONSTRAINTS",
    "DOMAINS",
    "KEY_COLUMN_USAGE",
    "REFERENTIAL_CONSTRAINTS",
    "ROUTINES",
    "SCHEMATA",
    "TABLE_CONSTRAINTS",
    "TABLE_PRIVILEGES",
    "TABLES",
    "VIEWS",
];

const COLLATION: &str = collation::DEFAULT_NAME;

/// `collation_name` of a column.
fn collation_name(sql_type: &SqlType) -> Value {
    collation::of(sql_type).map_or(NULL, |of| t(&collation::name(of)))
}

fn kind_name(kind: &str) -> &'static str {
    match kind {
        "U " => "USER_TABLE",
        "PK" => "PRIMARY_KEY_CONSTRAINT",
        "UQ" => "UNIQUE_CONSTRAINT",
        "C " => "CHECK_CONSTRAINT",
        "D " => "DEFAULT_CONSTRAINT",
        "V " => "VIEW",
        "P " => "SQL_STORED_PROCEDURE",
        "TR" => "SQL_TRIGGER",
        "FN" => "SQL_SCALAR_FUNCTION",
        "IF" => "SQL_INLINE_TABLE_VALUED_FUNCTION",
        "TF" => "SQL_TABLE_VALUED_FUNCTION",
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

fn listed(names: &[&str], view: &str) -> bool {
    names.iter().any(|name| same_name(name, view))
}

fn is_of_sys(view: &str) -> bool {
    listed(SYS, view) || listed(compatibility::NAMES, view)
}

/// Whether a name is that of a view of the server, where no object of the user has it.
pub(crate) fn is_of_server(name: &[String]) -> bool {
    match name {
        [view] => listed(compatibility::NAMES, view),
        [schema, view] if same_name(schema, "dbo") => listed(compatibility::NAMES, view),
        [schema, view] if same_name(schema, "sys") => is_of_sys(view),
        [schema, view] if same_name(schema, "INFORMATION_SCHEMA") => listed(INFORMATION_SCHEMA, view),
        _ => false,
    }
}

/// A view: its schema, columns and rows.
pub(crate) fn view(binder: &Binder<'_>, name: &[String]) -> Result<Option<(String, Vec<Column>, Rows)>> {
    let state = binder.state;
    let (database, schema, view) = state.resolve(binder.scalars, name)?;
    let lower = view.to_lowercase();
    let is_old = same_name(&schema, "dbo") && listed(compatibility::NAMES, &view);
    let found = if same_name(&schema, "sys") && is_of_sys(&view) || is_old {
        match object_view(binder, database, &lower) {
            Some(found) => Some(defined(binder, database, found)?),
            None => server_view(binder, database, &lower),
        }
    } else if same_name(&schema, "INFORMATION_SCHEMA") && listed(INFORMATION_SCHEMA, &view) {
        match information_schema::view(state, database, &lower) {
            Some(found) => Some(defined(binder, database, found)?),
            None => None,
        }
    } else if same_name(&schema, "dbo") && same_name(&state.db(database).name, "msdb") {
        msdb::view(state, &lower)
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

/// What tells of objects waits for the transactions of others that have defined some.
fn defined<T>(binder: &Binder<'_>, at: usize, found: T) -> Result<T> {
    settled(binder.state, binder.scalars, at).map(|()| found)
}

/// An error that means waiting, where others have defined something and not committed it.
pub(super) fn settled(state: &State, scalars: &Scalars, at: usize) -> Result<()> {
    let own = scalars.xacts.get(&at).copied();
    match state.db(at).storage.any_definer(own) {
        Some(by) if scalars.isolation != Isolation::ReadUncommitted => Err(state.blocked(at, by)),
        _ => Ok(()),
    }
}

fn object_view(binder: &Binder<'_>, at: usize, view: &str) -> Option<(Vec<Column>, Rows)> {
    object::view(binder, at, view)
        .or_else(|| trigger::view(binder.state.db(at), view))
        .or_else(|| column::view(binder, at, view))
        .or_else(|| constraint::view(binder, at, view))
        .or_else(|| space::view(binder, at, view))
        .or_else(|| statistics::view(binder.state.db(at), view))
        .or_else(|| depend::view(binder.state.db(at), view))
        .or_else(|| compatibility::view(binder, at, view))
}

fn server_view(binder: &Binder<'_>, at: usize, view: &str) -> Option<(Vec<Column>, Rows)> {
    server::view(binder, at, view).or_else(|| session::view(binder, at, view)).or_else(|| cdc::view(binder, at, view))
}

//! Databases, settings, logins and roles.

use logferry_model::SqlType;

use super::super::super::bind::Binder;
use super::super::super::plan::Column;
use super::super::super::state::State;
use super::super::super::value::Value;
use super::super::shape::{NULL, Rows, b, lsn, n, none, t, view as table};
use super::COLLATION;

const DATABASES: &str = "name sysname, database_id int, source_database_id int?, owner_sid varbin85?, create_date datetime, compatibility_level tinyint=130, collation_name sysname?, user_access tinyint?=0, user_access_desc n60?=MULTI_USER, is_read_only bit?, is_auto_close_on bit=0, is_auto_shrink_on bit?=0, state tinyint?=0, state_desc n60?=ONLINE, is_in_standby bit?=0, is_cleanly_shutdown bit?=0, is_supplemental_logging_enabled bit?=0, snapshot_isolation_state tinyint?, snapshot_isolation_state_desc n60?, is_read_committed_snapshot_on bit?, recovery_model tinyint?, recovery_model_desc n60?, page_verify_option tinyint?=2, page_verify_option_desc n60?=CHECKSUM, is_auto_create_stats_on bit?=1, is_auto_create_stats_incremental_on bit?=0, is_auto_update_stats_on bit?=1, is_auto_update_stats_async_on bit?=0, is_ansi_null_default_on bit?=0, is_ansi_nulls_on bit?=0, is_ansi_padding_on bit?=0, is_ansi_warnings_on bit?=0, is_arithabort_on bit?=0, is_concat_null_yields_null_on bit?=0, is_numeric_roundabort_on bit?=0, is_quoted_identifier_on bit?=0, is_recursive_triggers_on bit?=0, is_cursor_close_on_commit_on bit?=0, is_local_cursor_default bit?=0, is_fulltext_enabled bit?=0, is_trustworthy_on bit?=0, is_db_chaining_on bit?=0, is_parameterization_forced bit?=0, is_master_key_encrypted_by_server bit=0, is_query_store_on bit?=0, is_published bit=0, is_subscribed bit=0, is_merge_published bit=0, is_distributor bit=0, is_sync_with_backup bit=0, service_broker_guid guid, is_broker_enabled bit=0, log_reuse_wait tinyint?, log_reuse_wait_desc n60?, is_date_correlation_on bit=0, is_cdc_enabled bit, is_encrypted bit?=0, is_honor_broker_priority_on bit?=0, replica_id guid?, group_database_id guid?, resource_pool_id int?, default_language_lcid smallint?, default_language_name n128?, default_fulltext_language_lcid int?, default_fulltext_language_name n128?, is_nested_triggers_on bit?, is_transform_noise_words_on bit?, two_digit_year_cutoff smallint?, containment tinyint=0, containment_desc n60=NONE, target_recovery_time_in_seconds int?=60, delayed_durability int?=0, delayed_durability_desc n60?=DISABLED, is_memory_optimized_elevate_to_snapshot_on bit?=0, is_federation_member bit?=0, is_remote_data_archive_enabled bit?=0, is_mixed_page_allocation_on bit?=0";

const PRINCIPAL: &str = "name sysname, principal_id int, type char1, type_desc n60?, default_schema_name sysname?, create_date datetime, modify_date datetime, owning_principal_id int?, sid varbin85?, is_fixed_role bit=0, authentication_type int=0, authentication_type_desc n60?=NONE, default_language_name sysname?, default_language_lcid int?, allow_encrypted_value_modifications bit=0";

const LOGINS: &str = "name sysname, principal_id int, sid varbin85?, type char1, type_desc n60?, is_disabled bit?=0, create_date datetime, modify_date datetime, default_database_name sysname?, default_language_name sysname?, credential_id int?";

fn int_variant(v: i64) -> Value {
    Value::Variant(Box::new((SqlType::Int, Value::Int(v))))
}

/// Users and roles of a database: name, id, whether it is a fixed role.
pub(crate) const PRINCIPALS: &[(&str, i64, bool)] = &[
    ("public", 0, false),
    ("dbo", 1, false),
    ("guest", 2, false),
    ("INFORMATION_SCHEMA", 3, false),
    ("sys", 4, false),
    ("db_owner", 16384, true),
    ("db_accessadmin", 16385, true),
    ("db_securityadmin", 16386, true),
    ("db_ddladmin", 16387, true),
    ("db_backupoperator", 16389, true),
    ("db_datareader", 16390, true),
    ("db_datawriter", 16391, true),
    ("db_denydatareader", 16392, true),
    ("db_denydatawriter", 16393, true),
];

/// A view of this file.
pub(super) fn view(binder: &Binder<'_>, at: usize, view: &str) -> Option<(Vec<Column>, Rows)> {
    let state = binder.state;
    let db = state.db(at);
    let every = || state.databases.iter().enumerate().filter_map(|(at, d)| d.as_ref().map(|d| (at, d)));
    let created = || db.created.clone();
    Some(match view {
        "databases" => table(
            DATABASES,
            [
                "name",
                "database_id",
                "owner_sid",
                "create_date",
                "collation_name",
                "snapshot_isolation_state",
                "snapshot_isolation_state_desc",
                "is_read_committed_snapshot_on",
                "recovery_model",
                "recovery_model_desc",
                "service_broker_guid",
                "is_read_only",
                "is_cdc_enabled",
                "log_reuse_wait",
                "log_reuse_wait_desc",
            ],
            every().map(|(at, d)| {
                let (model, model_name) = if d.simple_recovery { (3, "SIMPLE") } else { (1, "FULL") };
                let (wait, wait_name) = d.storage.log_state().reuse_wait.code();
                [
                    t(&d.name),
                    n(State::database_id(at)),
                    Value::Bytes(vec![1]),
                    d.created.clone(),
                    t(COLLATION),
                    n(u8::from(d.allow_snapshot)),
                    t(if d.allow_snapshot { "ON" } else { "OFF" }),
                    b(d.read_committed_snapshot),
                    n(model),
                    t(model_name),
                    Value::Guid(d.storage.lineage()[0]),
                    b(d.storage.is_read_only()),
                    b(d.cdc.is_some()),
                    n(wait),
                    t(wait_name),
                ]
            }),
        ),
        "database_recovery_status" => table(
            "database_id int, database_guid guid?, family_guid guid?, last_log_backup_lsn lsn?, recovery_fork_guid guid?, first_recovery_fork_guid guid?, fork_point_lsn lsn?",
            ["database_id", "database_guid", "family_guid", "last_log_backup_lsn", "recovery_fork_guid"],
            every().map(|(at, d)| {
                let [own, family, fork] = d.storage.lineage();
                let archived = d.storage.log_archived().filter(|_| !d.simple_recovery);
                [
                    n(State::database_id(at)),
                    Value::Guid(own),
                    Value::Guid(family),
                    archived.map_or(NULL, lsn),
                    Value::Guid(fork),
                ]
            }),
        ),
        "configurations" => {
            let known: &[(i64, &str, i64, i64, i64)] = &[
                (103, "user connections", 0, 0, 32767),
                (115, "nested triggers", 1, 0, 1),
                (124, "default language", 0, 0, 9999),
                (518, "show advanced options", 0, 0, 1),
                (1535, "user options", 0, 0, 32767),
                (1536, "max text repl size (B)", 65536, -1, 2_147_483_647),
                (1539, "max degree of parallelism", 0, 0, 32767),
                (1544, "max server memory (MB)", 2_147_483_647, 128, 2_147_483_647),
                (1562, "clr enabled", 0, 0, 1),
                (1577, "common criteria compliance enabled", 0, 0, 1),
                (1579, "backup compression default", 0, 0, 1),
                (16384, "Agent XPs", 1, 0, 1),
                (16388, "Ole Automation Procedures", 0, 0, 1),
                (16390, "xp_cmdshell", 0, 0, 1),
            ];
            table(
                "configuration_id int, name n35, value variant?, minimum variant?, maximum variant?, value_in_use variant?, description n255, is_dynamic bit=1, is_advanced bit",
                [
                    "configuration_id",
                    "name",
                    "value",
                    "minimum",
                    "maximum",
                    "value_in_use",
                    "description",
                    "is_advanced",
                ],
                known.iter().map(|(id, name, value, low, high)| {
                    let of = int_variant;
                    [n(*id), t(name), of(*value), of(*low), of(*high), of(*value), t(name), b(*id > 518)]
                }),
            )
        }
        "database_principals" => table(
            PRINCIPAL,
            [
                "name",
                "principal_id",
                "type",
                "type_desc",
                "default_schema_name",
                "create_date",
                "modify_date",
                "sid",
                "is_fixed_role",
            ],
            PRINCIPALS.iter().map(|(name, id, fixed)| {
                let user = (1..=4).contains(id);
                let schema = match *id {
                    1 => t("dbo"),
                    2 => t("guest"),
                    _ => NULL,
                };
                [
                    t(name),
                    n(*id),
                    t(if user { "S" } else { "R" }),
                    t(if user { "SQL_USER" } else { "DATABASE_ROLE" }),
                    schema,
                    created(),
                    created(),
                    if *id == 1 { Value::Bytes(vec![1]) } else { NULL },
                    b(*fixed),
                ]
            }),
        ),
        "database_role_members" => none("role_principal_id int, member_principal_id int"),
        "server_principals" | "sql_logins" => {
            let roles = [("public", 2), ("sysadmin", 3), ("securityadmin", 4), ("serveradmin", 5), ("dbcreator", 9)];
            let login = |name: &str, id: i64| {
                [
                    t(name),
                    n(id),
                    if id == 1 { Value::Bytes(vec![1]) } else { NULL },
                    t(if roles.iter().any(|r| r.0 == name) { "R" } else { "S" }),
                    t(if roles.iter().any(|r| r.0 == name) { "SERVER_ROLE" } else { "SQL_LOGIN" }),
                    created(),
                    created(),
                    t("master"),
                ]
            };
            let mut rows = vec![login(&binder.scalars.login, 1)];
            if view == "server_principals" {
                rows.extend(roles.map(|(name, id)| login(name, id)));
            }
            let spec = match view {
                "sql_logins" => format!(
                    "{LOGINS}, is_policy_checked bit?=1, is_expiration_checked bit?=0, password_hash varbin256?"
                ),
                _ => format!("{LOGINS}, owning_principal_id int?, is_fixed_role bit=0"),
            };
            table(
                &spec,
                [
                    "name",
                    "principal_id",
                    "sid",
                    "type",
                    "type_desc",
                    "create_date",
                    "modify_date",
                    "default_database_name",
                ],
                rows,
            )
        }
        "server_role_members" => {
            table("role_principal_id int=3, member_principal_id int", ["member_principal_id"], [[n(1)]])
        }
        "database_permissions" | "server_permissions" => none(
            "class tinyint, class_desc n60?, major_id int, minor_id int, grantee_principal_id int, grantor_principal_id int, type char4, permission_name n128?, state char1, state_desc n60?",
        ),
        "servers" => table(
            "server_id int=0, name sysname, product sysname=SQL Server, provider sysname=SQLNCLI, data_source n4000?, location n4000?, provider_string n4000?, catalog sysname?, connect_timeout int?=0, query_timeout int?=0, is_linked bit=0, is_remote_login_enabled bit=1, is_rpc_out_enabled bit=1, is_data_access_enabled bit=0, is_collation_compatible bit=0, uses_remote_collation bit=1, collation_name sysname?, lazy_schema_validation bit=0, is_system bit=0, is_publisher bit=0, is_subscriber bit?=0, is_distributor bit?=0, is_nonsql_subscriber bit?=0, is_remote_proc_transaction_promotion_enabled bit?=0, modify_date datetime, is_rda_server bit=0",
            ["name", "data_source", "modify_date"],
            [[t(&state.server), t(&state.server), created()]],
        ),
        "syslanguages" => table(
            "langid smallint=0, dateformat nc3=mdy, datefirst tinyint=7, upgrade int?=0, name sysname=us_english, alias sysname=English, months n372?, shortmonths n132?, days n217?, lcid int=1033, msglangid smallint=1033",
            [],
            [[]],
        ),
        "dm_os_sys_info" => table(
            "cpu_ticks bigint=0, ms_ticks bigint=0, cpu_count int=2, hyperthread_ratio int=1, physical_memory_kb bigint=8388608, virtual_memory_kb bigint=8388608, committed_kb int=0, committed_target_kb int=0, visible_target_kb int=0, stack_size_in_bytes int=2093056, os_quantum bigint=4, os_error_mode int=5, os_priority_class int?=32, max_workers_count int=512, scheduler_count int=2, scheduler_total_count int=2, deadlock_monitor_serial_number int=0, sqlserver_start_time_ms_ticks bigint=0, sqlserver_start_time datetime, affinity_type int=2, affinity_type_desc v60=AUTO, process_kernel_time_ms bigint=0, process_user_time_ms bigint=0, time_source int=0, time_source_desc n60=QUERY_PERFORMANCE_COUNTER, virtual_machine_type int=0, virtual_machine_type_desc n60=NONE, softnuma_configuration int=0, softnuma_configuration_desc n60=OFF, sql_memory_model int=1, sql_memory_model_desc n120=CONVENTIONAL, socket_count int=1, cores_per_socket int=2, numa_node_count int=1",
            ["sqlserver_start_time"],
            [[state.db(0).created.clone()]],
        ),
        "dm_server_services" => table(
            "servicename n256, startup_type int?=2, startup_type_desc n256=Automatic, status int?=4, status_desc n256=Running, process_id int=1, last_startup_time dto7?, service_account n256=, filename n256=, is_clustered n1=N, cluster_nodename n256?, instant_file_initialization_enabled n1?=N",
            ["servicename"],
            [[t("SQL Server (MSSQLSERVER)")], [t("SQL Server Agent (MSSQLSERVER)")]],
        ),
        "change_tracking_databases" => none(
            "database_id int, is_auto_cleanup_on bit?, retention_period int?, retention_period_units_desc n60?, retention_period_units tinyint?",
        ),
        "availability_groups" => none(
            "group_id guid, name sysname?, resource_id n40?, resource_group_id n40?, failure_condition_level int?, health_check_timeout int?, automated_backup_preference tinyint?, automated_backup_preference_desc n60?, version smallint?, basic_features bit?, dtc_support bit?, db_failover bit?, is_distributed bit?",
        ),
        "dm_hadr_database_replica_states" => none(
            "database_id int, group_id guid, replica_id guid, group_database_id guid, is_local bit?, is_primary_replica bit?, synchronization_state tinyint?, synchronization_state_desc n60?, is_commit_participant bit?, synchronization_health tinyint?, synchronization_health_desc n60?, database_state tinyint?, database_state_desc n60?, is_suspended bit?, suspend_reason tinyint?, suspend_reason_desc n60?, recovery_lsn lsn?, truncation_lsn lsn?, last_sent_lsn lsn?, last_sent_time datetime?, last_received_lsn lsn?, last_received_time datetime?, last_hardened_lsn lsn?, last_hardened_time datetime?, last_redone_lsn lsn?, last_redone_time datetime?, log_send_queue_size bigint?, log_send_rate bigint?, redo_queue_size bigint?, redo_rate bigint?, filestream_send_rate bigint?, end_of_log_lsn lsn?, last_commit_lsn lsn?, last_commit_time datetime?, low_water_mark_for_ghosts bigint?, secondary_lag_seconds bigint?",
        ),
        "dm_hadr_availability_replica_states" => none(
            "replica_id guid, group_id guid, is_local bit, role tinyint?, role_desc n60?, operational_state tinyint?, operational_state_desc n60?, recovery_health tinyint?, recovery_health_desc n60?, synchronization_health tinyint?, synchronization_health_desc n60?, connected_state tinyint?, connected_state_desc n60?, last_connect_error_number int?, last_connect_error_description n1024?, last_connect_error_timestamp datetime?",
        ),
        "messages" => none("message_id int, language_id smallint, severity tinyint, is_event_logged bit, text n2048"),
        "fulltext_languages" => none("lcid int, name sysname"),
        "time_zone_info" => table(
            "name sysname, current_utc_offset n12, is_currently_dst bit=0",
            ["name", "current_utc_offset"],
            [[t("UTC"), t("+00:00")]],
        ),
        "database_mirroring" => table(
            "database_id int, mirroring_guid guid?, mirroring_state tinyint?, mirroring_state_desc n60?, mirroring_role tinyint?, mirroring_role_desc n60?, mirroring_role_sequence int?, mirroring_safety_level tinyint?, mirroring_safety_level_desc n60?, mirroring_safety_sequence int?, mirroring_partner_name n128?, mirroring_partner_instance n128?, mirroring_witness_name n128?, mirroring_witness_state tinyint?, mirroring_witness_state_desc n60?, mirroring_failover_lsn lsn?, mirroring_connection_timeout int?, mirroring_redo_queue int?, mirroring_redo_queue_type n60?, mirroring_end_of_log_lsn lsn?, mirroring_replication_lsn lsn?",
            ["database_id"],
            every().map(|(at, _)| [n(State::database_id(at))]),
        ),
        "dm_os_performance_counters" => {
            none("object_name nc128, counter_name nc128, instance_name nc128?, cntr_value bigint, cntr_type int")
        }
        _ => return None,
    })
}

//! Databases, settings, principals, sessions.

use logferry_model::SqlType;

use super::super::super::bind::Binder;
use super::super::super::plan::Column;
use super::super::super::state::State;
use super::super::super::value::Value;
use super::{COLLATION, NULL, Rows, b, columns, n, t};

/// A view of this file.
pub(super) fn view(binder: &Binder<'_>, at: usize, view: &str) -> Option<(Vec<Column>, Rows)> {
    let state = binder.state;
    let db = state.db(at);
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
        "dm_tran_locks" => {
            (columns("resource_type n60, request_mode n60, request_status n60, request_session_id int"), Vec::new())
        }
        _ => return None,
    })
}

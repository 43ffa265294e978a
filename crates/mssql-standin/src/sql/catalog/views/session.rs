//! Sessions, their connections and transactions: DMVs.

use super::super::super::bind::Binder;
use super::super::super::plan::Column;
use super::super::super::state::State;
use super::super::super::value::Value;
use super::super::shape::{Rows, b, lsn, n, none, t, view as table};

const SESSIONS: &str = "session_id smallint, login_time datetime, host_name n128?, program_name n128?, host_process_id int?, client_version int?=7, client_interface_name n32?, security_id varbin85, login_name n128, nt_domain n128?, nt_user_name n128?, status n30, context_info varbin128?, cpu_time int=0, memory_usage int=0, total_scheduled_time int=0, total_elapsed_time int=0, endpoint_id int=4, last_request_start_time datetime, last_request_end_time datetime?, reads bigint=0, writes bigint=0, logical_reads bigint=0, is_user_process bit=1, text_size int=2147483647, language n128?=us_english, date_format n3?=mdy, date_first smallint=7, quoted_identifier bit=1, arithabort bit=1, ansi_null_dflt_on bit=1, ansi_defaults bit=0, ansi_warnings bit=1, ansi_padding bit=1, ansi_nulls bit=1, concat_null_yields_null bit=1, transaction_isolation_level smallint=2, lock_timeout int=-1, deadlock_priority int=0, row_count bigint=0, prev_error int=0, original_security_id varbin85, original_login_name n128, last_successful_logon datetime?, last_unsuccessful_logon datetime?, unsuccessful_logons bigint?, group_id int=2, database_id smallint, authenticating_database_id int?=1, open_transaction_count int";

const CONNECTIONS: &str = "session_id int?, most_recent_session_id int?, connect_time datetime, net_transport n40=TCP, protocol_type n40?=TSQL, protocol_version int?=1946157060, endpoint_id int?=4, encrypt_option n40=TRUE, auth_scheme n40=SQL, node_affinity smallint=0, num_reads int?=0, num_writes int?=0, last_read datetime?, last_write datetime, net_packet_size int?=4096, client_net_address v48?=127.0.0.1, client_tcp_port int?, local_net_address v48?=127.0.0.1, local_tcp_port int?, connection_id guid, parent_connection_id guid?, most_recent_sql_handle varbin64?";

const REQUESTS: &str = "session_id smallint, request_id int=0, start_time datetime, status n30=running, command n32=SELECT, sql_handle varbin64?, statement_start_offset int?, statement_end_offset int?, plan_handle varbin64?, database_id smallint, user_id int=1, connection_id guid?, blocking_session_id smallint?=0, wait_type n60?, wait_time int=0, last_wait_type n60=, wait_resource n256=, open_transaction_count int, open_resultset_count int=1, transaction_id bigint, context_info varbin128?, percent_complete real=0, estimated_completion_time bigint=0, cpu_time int=0, total_elapsed_time int=0, scheduler_id int=0, task_address varbin8?, reads bigint=0, writes bigint=0, logical_reads bigint=0, text_size int=2147483647, language n128?=us_english, date_format n3?=mdy, date_first smallint=7, quoted_identifier bit=1, arithabort bit=1, ansi_null_dflt_on bit=1, ansi_defaults bit=0, ansi_warnings bit=1, ansi_padding bit=1, ansi_nulls bit=1, concat_null_yields_null bit=1, transaction_isolation_level smallint=2, lock_timeout int=-1, deadlock_priority int=0, row_count bigint=0, prev_error int=0, nest_level int=0, granted_query_memory int=0, executing_managed_code bit=0, group_id int=2, query_hash bin8?, query_plan_hash bin8?, statement_sql_handle varbin64?, statement_context_id bigint?, dop int?=1, parallel_worker_count int?, external_script_request_id guid?";

const DATABASE_TRANSACTIONS: &str = "transaction_id bigint, database_id int, database_transaction_begin_time datetime?, database_transaction_type int=1, database_transaction_state int, database_transaction_status int=0, database_transaction_status2 int=258, database_transaction_log_record_count bigint, database_transaction_replicate_record_count int=0, database_transaction_log_bytes_used bigint=0, database_transaction_log_bytes_reserved bigint=0, database_transaction_log_bytes_used_system int=0, database_transaction_log_bytes_reserved_system int=0, database_transaction_begin_lsn lsn?, database_transaction_last_lsn lsn?, database_transaction_most_recent_savepoint_lsn lsn?, database_transaction_commit_lsn lsn?, database_transaction_last_rollback_lsn lsn?, database_transaction_next_undo_lsn lsn?";

const QUERY_STATS: &str = "sql_handle varbin64, statement_start_offset int, statement_end_offset int, plan_generation_num bigint, plan_handle varbin64, creation_time datetime, last_execution_time datetime, execution_count bigint, total_worker_time bigint, last_worker_time bigint, min_worker_time bigint, max_worker_time bigint, total_physical_reads bigint, last_physical_reads bigint, min_physical_reads bigint, max_physical_reads bigint, total_logical_writes bigint, last_logical_writes bigint, min_logical_writes bigint, max_logical_writes bigint, total_logical_reads bigint, last_logical_reads bigint, min_logical_reads bigint, max_logical_reads bigint, total_clr_time bigint, last_clr_time bigint, min_clr_time bigint, max_clr_time bigint, total_elapsed_time bigint, last_elapsed_time bigint, min_elapsed_time bigint, max_elapsed_time bigint, query_hash bin8, query_plan_hash bin8, total_rows bigint, last_rows bigint, min_rows bigint, max_rows bigint, statement_sql_handle varbin64?, statement_context_id bigint?, total_dop bigint, last_dop bigint, min_dop bigint, max_dop bigint, total_grant_kb bigint, last_grant_kb bigint, min_grant_kb bigint, max_grant_kb bigint, total_used_grant_kb bigint, last_used_grant_kb bigint, min_used_grant_kb bigint, max_used_grant_kb bigint, total_ideal_grant_kb bigint, last_ideal_grant_kb bigint, min_ideal_grant_kb bigint, max_ideal_grant_kb bigint, total_reserved_threads bigint, last_reserved_threads bigint, min_reserved_threads bigint, max_reserved_threads bigint, total_used_threads bigint, last_used_threads bigint, min_used_threads bigint, max_used_threads bigint, total_columnstore_segment_reads bigint, last_columnstore_segment_reads bigint, min_columnstore_segment_reads bigint, max_columnstore_segment_reads bigint, total_columnstore_segment_skips bigint, last_columnstore_segment_skips bigint, min_columnstore_segment_skips bigint, max_columnstore_segment_skips bigint, total_spills bigint, last_spills bigint, min_spills bigint, max_spills bigint";

/// Status and command of a session: of the one that asks, of one that waits for another, of one that nobody has asked anything.
pub(in crate::sql::catalog) fn activity(state: &State, own: i16, id: i16) -> [&'static str; 2] {
    match () {
        () if id == own => ["runnable", "SELECT"],
        () if state.waits.contains_key(&id) => ["suspended", "SELECT"],
        () => ["sleeping", "AWAITING COMMAND"],
    }
}

/// A view of this file.
pub(super) fn view(binder: &Binder<'_>, _: usize, view: &str) -> Option<(Vec<Column>, Rows)> {
    let state = binder.state;
    let now = || super::super::super::time::datetime(binder.scalars.now);
    let open = |spid: i16| state.owners.values().filter(|o| **o == spid).count() as i64;
    let every = || state.databases.iter().enumerate().filter_map(|(at, d)| d.as_ref().map(|d| (at, d)));
    let transactions = || {
        every().flat_map(|(at, d)| {
            d.storage.transactions().filter(|x| x.user).map(move |x| (State::database_id(at), x)).collect::<Vec<_>>()
        })
    };
    Some(match view {
        "dm_exec_sessions" => table(
            SESSIONS,
            [
                "session_id",
                "login_time",
                "host_name",
                "program_name",
                "security_id",
                "login_name",
                "status",
                "last_request_start_time",
                "original_security_id",
                "original_login_name",
                "database_id",
                "open_transaction_count",
            ],
            state.sessions.iter().map(|(id, s)| {
                [
                    n(*id),
                    s.since.clone(),
                    t(&s.host),
                    t(&s.program),
                    Value::Bytes(vec![1]),
                    t(&s.login),
                    t(if *id == binder.scalars.spid { "running" } else { "sleeping" }),
                    now(),
                    Value::Bytes(vec![1]),
                    t(&s.login),
                    n(State::database_id(s.database)),
                    n(open(*id)),
                ]
            }),
        ),
        "dm_exec_connections" => table(
            CONNECTIONS,
            ["session_id", "most_recent_session_id", "connect_time", "last_write", "connection_id"],
            state.sessions.iter().map(|(id, s)| {
                let mut guid = [0; 16];
                guid[..2].copy_from_slice(&id.to_le_bytes());
                [n(*id), n(*id), s.since.clone(), s.since.clone(), Value::Guid(guid)]
            }),
        ),
        "dm_exec_requests" => table(
            REQUESTS,
            ["session_id", "start_time", "database_id", "open_transaction_count", "transaction_id"],
            state.sessions.iter().filter(|(id, _)| **id == binder.scalars.spid || state.waits.contains_key(id)).map(
                |(id, s)| {
                    let of = transactions().find(|(_, x)| x.spid == u32::from(id.unsigned_abs()));
                    [
                        n(*id),
                        now(),
                        n(State::database_id(s.database)),
                        n(open(*id)),
                        n(of.map_or(0, |(_, x)| x.dm_id as i64)),
                    ]
                },
            ),
        ),
        "dm_tran_database_transactions" => table(
            DATABASE_TRANSACTIONS,
            [
                "transaction_id",
                "database_id",
                "database_transaction_begin_time",
                "database_transaction_state",
                "database_transaction_log_record_count",
                "database_transaction_begin_lsn",
                "database_transaction_last_lsn",
            ],
            transactions().map(|(id, x)| {
                [n(x.dm_id as i64), n(id), now(), n(4), n(x.changes as i64 + 1), lsn(x.begin_lsn), lsn(x.last_lsn)]
            }),
        ),
        "dm_tran_active_transactions" => table(
            "transaction_id bigint, name n32=user_transaction, transaction_begin_time datetime, transaction_type int=1, transaction_uow guid?, transaction_state int=2, transaction_status int=0, transaction_status2 int=258, dtc_state int=0, dtc_status int=0, dtc_isolation_level int=-1, filestream_transaction_id varbin128?",
            ["transaction_id", "transaction_begin_time"],
            transactions().map(|(_, x)| [n(x.dm_id as i64), now()]),
        ),
        "dm_tran_session_transactions" => table(
            "session_id int, transaction_id bigint, transaction_descriptor bin8, enlist_count int=1, is_user_transaction bit=1, is_local bit=1, is_enlisted bit=0, is_bound bit=0, open_transaction_count int=1",
            ["session_id", "transaction_id", "transaction_descriptor"],
            transactions().map(|(_, x)| [n(x.spid), n(x.dm_id as i64), Value::Bytes(x.dm_id.to_le_bytes().to_vec())]),
        ),
        "dm_tran_current_transaction" => table(
            "transaction_id bigint, transaction_sequence_num bigint=0, transaction_is_snapshot bit, first_snapshot_sequence_num bigint?=0, last_transaction_sequence_num bigint?=0, first_useful_sequence_num bigint?=0",
            ["transaction_id", "transaction_is_snapshot"],
            {
                let own = transactions().find(|(_, x)| x.spid == u32::from(binder.scalars.spid.unsigned_abs()));
                [[n(own.map_or(0, |(_, x)| x.dm_id as i64)), b(!binder.scalars.snapshots.is_empty())]]
            },
        ),
        "dm_tran_active_snapshot_database_transactions" => table(
            "transaction_id bigint, transaction_sequence_num bigint=0, commit_sequence_num bigint?, is_snapshot int=1, session_id int?, first_snapshot_sequence_num bigint?=0, max_version_chain_traversed int?=0, average_version_chain_traversed real?=0, elapsed_time_seconds bigint?=0",
            ["transaction_id"],
            every().flat_map(|(_, d)| d.snapshots.keys().map(|id| [n(*id as i64)]).collect::<Vec<_>>()),
        ),
        "dm_tran_locks" => table(
            "resource_type n60, resource_subtype n60=, resource_database_id int, resource_description n256=, resource_associated_entity_id bigint?, resource_lock_partition int=0, request_mode n60?, request_type n60=LOCK, request_status n60=GRANT, request_reference_count smallint=1, request_lifetime int=0, request_session_id int, request_exec_context_id int=0, request_request_id int=0, request_owner_type n60, request_owner_id bigint?, request_owner_guid guid?, request_owner_lockspace_id n32=, lock_owner_address varbin8?",
            [
                "resource_type",
                "resource_database_id",
                "request_mode",
                "request_session_id",
                "resource_associated_entity_id",
                "request_owner_type",
            ],
            (state.sessions.iter())
                .map(|(id, s)| {
                    let database = n(State::database_id(s.database));
                    [t("DATABASE"), database, t("S"), n(*id), n(0), t("SHARED_TRANSACTION_WORKSPACE")]
                })
                .chain(state.table_locks.iter().map(|lock| {
                    let (database, mode) = (n(State::database_id(lock.at.database)), t(lock.hold.mode()));
                    [t("OBJECT"), database, mode, n(lock.spid), n(lock.at.table), t("TRANSACTION")]
                })),
        ),
        "dm_tran_version_store_space_usage" => {
            none("database_id int, reserved_page_count bigint, reserved_space_kb bigint")
        }
        "sysprocesses" => table(
            "spid smallint, kpid smallint=0, blocked smallint, waittype bin2?, waittime bigint=0, lastwaittype nc32=, waitresource nc256=, dbid smallint, uid smallint=1, cpu int=0, physical_io bigint=0, memusage int=0, login_time datetime, last_batch datetime, ecid smallint=0, open_tran smallint, status nc30, sid bin86?, hostname nc128, program_name nc128, hostprocess nc10=, cmd nc52, nt_domain nc128=, nt_username nc128=, net_address nc12=, net_library nc12=, loginame nc128, context_info bin128?, sql_handle bin20?, stmt_start int=0, stmt_end int=-1, request_id int=0",
            [
                "spid",
                "blocked",
                "dbid",
                "login_time",
                "last_batch",
                "open_tran",
                "status",
                "hostname",
                "program_name",
                "loginame",
                "cmd",
            ],
            state.sessions.iter().map(|(id, s)| {
                let [status, command] = activity(state, binder.scalars.spid, *id);
                [
                    n(*id),
                    n(state.waits.get(id).copied().unwrap_or(0)),
                    n(State::database_id(s.database)),
                    s.since.clone(),
                    now(),
                    n(open(*id)),
                    t(status),
                    t(&s.host),
                    t(&s.program),
                    t(&s.login),
                    t(command),
                ]
            }),
        ),
        "dm_exec_query_stats" => none(QUERY_STATS),
        "dm_exec_cached_plans" => none(
            "bucketid int, refcounts int, usecounts int, size_in_bytes int, memory_object_address varbin8, cacheobjtype n34, objtype n16, plan_handle varbin64, pool_id int",
        ),
        _ => return None,
    })
}

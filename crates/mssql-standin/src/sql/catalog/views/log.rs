//! What the server says of the virtual log files and of the state of the log: functions of a database's id.

use logferry_model::Lsn;

use super::super::super::plan::Column;
use super::super::super::state::{Scalars, State};
use super::super::super::value::Value;
use super::super::shape::{Rows, b, columns, n, t};
use logferry_mssql_standin_storage::{Database, LogState};

const MB: f64 = 1024.0 * 1024.0;

/// The database that the argument of a DMV means: NULL is the current one.
fn database_of(state: &State, scalars: &Scalars, args: &[Value]) -> Option<usize> {
    match args.first().and_then(Value::as_int) {
        None => Some(scalars.database),
        Some(id) => usize::try_from(id - 1).ok().filter(|at| state.databases.get(*at).is_some_and(Option::is_some)),
    }
}

/// Columns of `sys.dm_db_log_info`.
pub(crate) fn info_columns() -> Vec<Column> {
    columns(
        "database_id int, file_id smallint, vlf_begin_offset bigint, vlf_size_mb float, vlf_sequence_number bigint, vlf_active bit, vlf_status int, vlf_parity tinyint, vlf_first_lsn n48, vlf_create_lsn n48",
    )
}

/// `sys.dm_db_log_info`: the virtual log files.
pub(crate) fn info(state: &State, scalars: &Scalars, args: &[Value]) -> Rows {
    let Some(at) = database_of(state, scalars, args) else { return Vec::new() };
    let row = |vlf: logferry_mssql_standin_storage::VlfInfo| {
        let first = if vlf.sequence == 0 { Lsn::ZERO } else { Lsn::new(vlf.sequence, 16, 1) };
        vec![
            n(State::database_id(at)),
            n(2),
            n(vlf.start as i64),
            Value::Float((vlf.size as f64 / MB * 100.0).round() / 100.0),
            n(i64::from(vlf.sequence)),
            b(vlf.active),
            n(if vlf.active { 2 } else { 0 }),
            n(vlf.parity),
            t(&first.to_string()),
            t(&vlf.create_lsn.to_string()),
        ]
    };
    state.db(at).storage.vlfs().map(row).collect()
}

/// Columns of `sys.dm_db_log_stats`.
pub(crate) fn stats_columns() -> Vec<Column> {
    columns(
        "database_id int, recovery_model n60, log_min_lsn n24, log_end_lsn n24, current_vlf_sequence_number bigint, current_vlf_size_mb float, total_vlf_count bigint, total_log_size_mb float, active_vlf_count bigint, active_log_size_mb float, log_truncation_holdup_reason n60, log_backup_time datetime, log_backup_lsn n24, log_since_last_log_backup_mb float, log_checkpoint_lsn n24, log_since_last_checkpoint_mb float, log_recovery_lsn n24, log_recovery_size_mb float, recovery_vlf_count bigint",
    )
}

/// Bytes of log from a place to its end. What is unused between blocks counts.
pub(super) fn bytes_since(storage: &Database, from: Lsn) -> u64 {
    let end = storage.log_state().end;
    let whole: u64 = storage.vlfs().filter(|v| (from.vlf..end.vlf).contains(&v.sequence)).map(|v| v.size).sum();
    (whole + u64::from(end.block) * 512).saturating_sub(u64::from(from.block) * 512)
}

/// Where the log begins that the next log backup writes: where the last one ended, or, before there was a full backup, where the log begins.
pub(super) fn not_backed_up(log: &LogState) -> Lsn {
    if log.backed_up.is_zero() { log.start } else { log.backed_up }
}

/// `sys.dm_db_log_stats`: the state of the log. Sizes count whole virtual log files in between.
pub(crate) fn stats(state: &State, scalars: &Scalars, args: &[Value]) -> Rows {
    let Some(at) = database_of(state, scalars, args) else { return Vec::new() };
    let storage = &state.db(at).storage;
    let log = storage.log_state();
    let vlfs: Vec<_> = storage.vlfs().collect();
    let since = |from: Lsn| Value::Float(bytes_since(storage, from) as f64 / MB);
    let current = vlfs.iter().find(|v| v.sequence == log.end.vlf);
    let from = |lsn: Lsn| vlfs.iter().filter(move |v| v.sequence >= lsn.vlf && v.sequence > 0);
    let size = |lsn: Lsn| from(lsn).map(|v| v.size).sum::<u64>() as f64 / MB;
    vec![vec![
        n(State::database_id(at)),
        t("FULL"),
        t(&log.start.to_string()),
        t(&storage.last_record().to_string()),
        n(i64::from(log.end.vlf)),
        Value::Float(current.map_or(0, |v| v.size) as f64 / MB),
        n(vlfs.len() as i64),
        Value::Float(log.file_bytes as f64 / MB),
        n(from(log.start).count() as i64),
        Value::Float(size(log.start)),
        t(log.reuse_wait.code().1),
        Value::DateTime(0, 0),
        t(&log.backed_up.to_string()),
        since(not_backed_up(&log)),
        t(&log.checkpoint.to_string()),
        since(log.checkpoint),
        t(&log.recovery.to_string()),
        Value::Float(size(log.recovery)),
        n(from(log.recovery).count() as i64),
    ]]
}

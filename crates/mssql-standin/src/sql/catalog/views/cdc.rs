//! Change data capture: DMVs of the scans.

use super::super::super::bind::Binder;
use super::super::super::plan::Column;
use super::super::super::time::datetime;
use super::super::shape::{NULL, Rows, n, t, view as table};

/// A view of this file.
pub(super) fn view(binder: &Binder<'_>, at: usize, view: &str) -> Option<(Vec<Column>, Rows)> {
    let cdc = binder.state.db(at).cdc.as_ref();
    Some(match view {
        // The sums of all sessions, which are session 0, are not kept.
        "dm_cdc_log_scan_sessions" => table(
            "session_id int, start_time datetime?, end_time datetime?, duration bigint?=0, scan_phase n200?=Done, error_count int?, start_lsn n23?, current_lsn n23?, end_lsn n23?, tran_count bigint?, last_commit_lsn n23?, last_commit_time datetime?, log_record_count bigint?=0, schema_change_count int?=0, command_count bigint?=0, first_begin_cdc_lsn n23?, last_commit_cdc_lsn n23?, last_commit_cdc_time datetime?, latency int?=0, empty_scan_count int?, failed_sessions_count int?=0",
            [
                "session_id",
                "start_time",
                "end_time",
                "error_count",
                "tran_count",
                "last_commit_lsn",
                "empty_scan_count",
            ],
            cdc.into_iter().flat_map(|cdc| &cdc.scans).map(|scan| {
                [
                    n(scan.id),
                    datetime(scan.start),
                    datetime(scan.end),
                    n(scan.errors),
                    n(scan.transactions as i64),
                    scan.last_commit.map_or(NULL, |lsn| t(&lsn.to_string())),
                    n(scan.empty),
                ]
            }),
        ),
        "dm_cdc_errors" => table(
            "session_id int, phase_number int=7, entry_time datetime, error_number int, error_severity int, error_state int, error_message n1024, start_lsn n23?, begin_lsn n23?, sequence_value n23?",
            ["session_id", "entry_time", "error_number", "error_severity", "error_state", "error_message"],
            cdc.into_iter().flat_map(|cdc| &cdc.errors).map(|failed| {
                let e = &failed.error;
                [n(failed.session), datetime(failed.time), n(e.number), n(e.class), n(e.state), t(&e.message)]
            }),
        ),
        _ => return None,
    })
}

//! What is older than the low endpoint goes.

use logferry_model::{Lsn, SqlType};

use super::super::error::{Result, SqlError};
use super::super::session::commit_in;
use super::super::state::{Db, State, from_storage};
use super::super::time::to_300ths;
use super::super::value::{DAYS_TO_1900, Value, from_bytes};
use super::lsn::{last_mapped, lsn_in, no_such_entry, shown};
use super::scan::set_low_endpoint;
use super::{not_enabled, own_table};
use logferry_mssql_standin_storage::{RowKey, XactOptions};

/// `sys.sp_cdc_cleanup_change_table`: moves an instance's low endpoint up to an LSN, or only deletes what is below it.
pub(crate) fn clean_up(state: &mut State, at: usize, instance: &str, mark: Option<Lsn>) -> Result<()> {
    let db = state.db_mut(at);
    let Some(cdc) = &db.cdc else { return Err(not_enabled(db)) };
    let found = cdc.instance(instance).ok_or_else(|| {
        SqlError::batch(
            22920,
            format!("The named capture instance {instance} does not exist for database {}.", db.name),
        )
    })?;
    let (name, changes, start) = (found.name.clone(), found.changes, found.start);
    let low = match mark {
        None => start.unwrap_or(Lsn::ZERO),
        Some(mark) => {
            let end = last_mapped(db)?;
            if start.is_none_or(|s| mark < s) || end.is_none_or(|e| mark > e) {
                return Err(SqlError::batch(
                    22957,
                    format!(
                        "LSN {}, specified as the new low end point for the change table associated with capture instance '{name}', is not within the Change Data Capture timeline [{}, {}].",
                        shown(Some(mark)),
                        shown(start),
                        shown(end)
                    ),
                ));
            }
            if !keys_below(db, "lsn_time_mapping", None).iter().any(|(lsn, _)| *lsn == mark) {
                return Err(no_such_entry(Some(mark)));
            }
            mark
        }
    };
    move_to(db, &[(name, changes, low)])
}

/// The cleanup job: what was committed longer ago than the retention goes, of all instances.
pub(crate) fn clean_by_retention(state: &mut State, at: usize, now: (i32, u64)) -> Result<()> {
    let db = state.db_mut(at);
    let Some(cdc) = &db.cdc else { return Err(not_enabled(db)) };
    let minutes = cdc.cleanup.as_ref().map_or(super::job::RETENTION_MIN, |c| c.retention_min);
    let ticks = i64::from(now.0 - DAYS_TO_1900) * 86_400 * 300 + i64::from(to_300ths(now.1)) - minutes * 60 * 300;
    let young = |row: &logferry_mssql_standin_storage::Row| {
        let time = row.get(2).and_then(|b| b.as_deref()).map(|b| from_bytes(&SqlType::DateTime, b));
        matches!(time, Some(Value::DateTime(days, t)) if i64::from(days) * 86_400 * 300 + i64::from(t) >= ticks)
    };
    let Some(table) = own_table(db, "lsn_time_mapping") else { return Ok(()) };
    let mut last = None;
    let mut found = None;
    for (_, row) in db.storage.rows(table) {
        let lsn = lsn_in(row);
        last = lsn;
        if young(row) {
            found = lsn;
            break;
        }
    }
    let Some(low) = found.or(last) else { return Ok(()) };
    let old = cdc.instances.iter().filter(|i| i.start.is_some_and(|s| s < low));
    let moves: Vec<_> = old.map(|i| (i.name.clone(), i.changes, low)).collect();
    move_to(db, &moves)
}

/// Moves low endpoints up, and deletes what is below them; rows of the mapping that no instance needs go too.
fn move_to(db: &mut Db, moves: &[(String, u32, Lsn)]) -> Result<()> {
    let xact = db.storage.begin(XactOptions { name: "CDC cleanup", spid: 24 });
    for (name, changes, low) in moves {
        set_low_endpoint(db, xact, *changes, *low)?;
        let old: Vec<RowKey> = rows_below(db, *changes, Some(*low)).into_iter().map(|(_, key)| key).collect();
        for key in old {
            db.storage.delete(xact, *changes, &key).map_err(from_storage)?;
        }
        if let Some(i) = db.cdc.as_mut().and_then(|c| c.instances.iter_mut().find(|i| i.name == *name)) {
            i.start = Some(*low);
        }
    }
    let needed = db.cdc.iter().flat_map(|c| &c.instances).filter_map(|i| i.start).min();
    if let (Some(needed), Some(table)) = (needed, own_table(db, "lsn_time_mapping")) {
        for (_, key) in keys_below(db, "lsn_time_mapping", Some(needed)) {
            db.storage.delete(xact, table, &key).map_err(from_storage)?;
        }
    }
    commit_in(db, xact, None)
}

fn keys_below(db: &Db, table: &str, low: Option<Lsn>) -> Vec<(Lsn, RowKey)> {
    own_table(db, table).map(|table| rows_below(db, table, low)).unwrap_or_default()
}

/// Rows whose first column is an LSN below `low`.
fn rows_below(db: &Db, table: u32, low: Option<Lsn>) -> Vec<(Lsn, RowKey)> {
    let rows = db.storage.rows(table).filter_map(|(key, row)| Some((lsn_in(row)?, key.clone())));
    rows.take_while(|(lsn, _)| low.is_none_or(|low| *lsn < low)).collect()
}

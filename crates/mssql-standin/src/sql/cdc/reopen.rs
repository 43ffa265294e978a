//! Databases that are opened again: capture instances are what the tables of the schema `cdc` say, jobs are kept beside the files.

use logferry_model::{Lsn, SqlType};
use serde::{Deserialize, Serialize};

use super::super::error::Result;
use super::super::state::{Db, State};
use super::super::value::{Value, from_bytes, same_name};
use super::job::JobSettings;
use super::{CaptureJob, CapturedColumn, Cdc, CleanupJob, Instance, own_table, read, scan};
use logferry_mssql_standin_storage::Row;

/// The jobs of a database.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct KeptJobs {
    /// maxtrans, maxscans, pollinginterval; continuous, running
    capture: Option<([i64; 3], [bool; 2])>,
    /// retention, threshold
    cleanup: Option<[i64; 2]>,
}

/// Reads what the log still has, so that nothing is left that only memory knows.
pub(crate) fn drain(state: &mut State, at: usize, now: (i32, u64)) -> Result<()> {
    while scan(state, at, now, usize::MAX)? > 0 {}
    Ok(())
}

pub(crate) fn jobs_of(cdc: &Cdc) -> KeptJobs {
    let capture = cdc.capture.map(|job| {
        let s = job.settings;
        ([s.maxtrans, s.maxscans, s.polling_s], [s.continuous, job.running.is_some()])
    });
    KeptJobs { capture, cleanup: cdc.cleanup.map(|job| [job.retention_min, job.threshold]) }
}

/// Begins to capture again; says whether the job runs.
pub(crate) fn reopen(db: &mut Db, kept: &KeptJobs, now: (i32, u64)) -> bool {
    let mut cdc = Cdc { mapped: now, ..Cdc::default() };
    cdc.capture = kept.capture.map(|([maxtrans, maxscans, polling_s], [continuous, running])| {
        let mut job =
            CaptureJob { settings: JobSettings { maxtrans, maxscans, continuous, polling_s }, ..CaptureJob::default() };
        if running {
            job.start();
        }
        job
    });
    cdc.cleanup = kept.cleanup.map(|[retention_min, threshold]| CleanupJob { retention_min, threshold });
    cdc.instances = rows(db, "change_tables").iter().map(|row| instance(db, row)).collect();
    for i in &cdc.instances {
        db.storage.track(i.source, true);
    }
    let runs = cdc.capture.is_some_and(|job| job.running.is_some());
    db.cdc = Some(cdc);
    runs
}

/// The rows of a table of the schema `cdc`, as values.
fn rows(db: &Db, table: &str) -> Vec<Vec<Value>> {
    let Some(table) = own_table(db, table) else { return Vec::new() };
    let types: Vec<SqlType> = db.types(table);
    let values = |row: &Row| {
        let value =
            |(ty, cell): (&SqlType, &Option<Vec<u8>>)| cell.as_deref().map_or(Value::Null, |b| from_bytes(ty, b));
        types.iter().zip(row).map(value).collect()
    };
    db.storage.rows(table).map(|(_, row)| values(row)).collect()
}

fn instance(db: &Db, row: &[Value]) -> Instance {
    let number = |v: &Value| v.as_int().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let changes = number(&row[0]);
    let start = super::lsn::lsn_of(&row[4]);
    let own = |table: &str| -> Vec<Vec<Value>> {
        rows(db, table).into_iter().filter(|row| number(&row[0]) == changes).collect()
    };
    let types = db.types(changes);
    let captured = own("captured_columns");
    let column = |(place, row): (usize, &Vec<Value>)| CapturedColumn {
        id: number(&row[2]),
        name: row[1].as_text().unwrap_or_default(),
        sql_type: types.get(read::HEAD + place).cloned().unwrap_or(SqlType::Int),
    };
    let columns: Vec<CapturedColumn> = captured.iter().enumerate().map(column).collect();
    let place = |row: &Vec<Value>| {
        let name = row[1].as_text()?;
        columns.iter().position(|c| same_name(&c.name, &name))
    };
    Instance {
        name: row[3].as_text().unwrap_or_default(),
        source: number(&row[2]),
        changes,
        key: own("index_columns").iter().filter_map(place).collect(),
        net: row[6].as_int() == Some(1),
        role: row[8].as_text(),
        index_name: row[9].as_text(),
        created: row[11].clone(),
        enabled_at: start.unwrap_or(Lsn::ZERO),
        enabled_time: db.storage.now(),
        start,
        columns,
    }
}

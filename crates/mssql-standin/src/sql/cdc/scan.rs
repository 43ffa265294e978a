//! The scan: transactions that the log has, into change tables.

use logferry_model::{Lsn, SqlType};

use super::super::error::{Result, SqlError};
use super::super::session::{BLOCKED, commit_in};
use super::super::state::{Db, State, from_storage};
use super::super::time::to_300ths;
use super::super::value::{DAY_TICKS, DAYS_TO_1900, Value, to_bytes};
use super::{CapturedColumn, Instance, SCHEMA, Scan, ScanError, own_table};
use logferry_mssql_standin_storage::{CapturedChange, CapturedTransaction, Error, Row, Transaction, XactOptions};

/// Without changes, `cdc.lsn_time_mapping` gets a row so often: ticks of 100 ns.
const IDLE: u64 = 300 * 10_000_000;

const DELETE: i32 = 1;
const INSERT: i32 = 2;
const BEFORE: i32 = 3;
const AFTER: i32 = 4;

/// Reads up to `most` transactions into the change tables; gives how many.
pub(crate) fn scan(state: &mut State, at: usize, now: (i32, u64), most: usize) -> Result<usize> {
    let db = state.db_mut(at);
    let Some(mut cdc) = db.cdc.take() else { return Ok(0) };
    let result = scan_into(db, &mut cdc, now, most);
    match &result {
        Ok((count, last)) => note(&mut cdc, now, *count, *last),
        // It waits for a transaction that has one of its tables.
        Err(error) if error.number == BLOCKED => {}
        Err(error) => note_error(&mut cdc, now, error),
    }
    db.cdc = Some(cdc);
    result.map(|(count, _)| count)
}

/// Scans, and errors of them, that are listed.
const SCANS_MAX: usize = 32;

fn note(cdc: &mut super::Cdc, now: (i32, u64), count: usize, last: Option<Lsn>) {
    let last_scan = cdc.scans.back_mut().filter(|scan| scan.transactions == 0 && scan.errors == 0 && count == 0);
    match last_scan {
        Some(scan) => {
            scan.end = now;
            scan.empty += 1;
        }
        None => push_scan(cdc, now, (count, last), 0),
    }
}

fn push_scan(cdc: &mut super::Cdc, now: (i32, u64), (count, last): (usize, Option<Lsn>), errors: i64) {
    let id = cdc.scans.back().map_or(1, |scan| scan.id + 1);
    let empty = i64::from(count == 0 && errors == 0);
    let transactions = count as u64;
    cdc.scans.push_back(Scan { id, start: now, end: now, transactions, last_commit: last, empty, errors });
    if cdc.scans.len() > SCANS_MAX {
        cdc.scans.pop_front();
    }
}

fn note_error(cdc: &mut super::Cdc, now: (i32, u64), error: &SqlError) {
    push_scan(cdc, now, (0, None), 1);
    let session = cdc.scans.back().map_or(0, |scan| scan.id);
    cdc.errors.push_back(ScanError { session, time: now, error: error.clone() });
    if cdc.errors.len() > SCANS_MAX {
        cdc.errors.pop_front();
    }
}

/// How many transactions there were, and where the last one was committed. A scan that fails leaves nothing: the next one reads the same again.
fn scan_into(db: &mut Db, cdc: &mut super::Cdc, now: (i32, u64), most: usize) -> Result<(usize, Option<Lsn>)> {
    let transactions = db.storage.next_captured(most);
    let elapsed = |then: (i32, u64)| (i64::from(now.0 - then.0) * DAY_TICKS as i64 + now.1 as i64) - then.1 as i64;
    let idle = transactions.is_empty() && elapsed(cdc.mapped) > IDLE as i64;
    let fresh: Vec<usize> = (0..cdc.instances.len()).filter(|i| cdc.instances[*i].start.is_none()).collect();
    if transactions.is_empty() && fresh.is_empty() && !idle {
        db.storage.take_captured(0);
        return Ok((0, None));
    }
    db.storage.clock_reaches((now.0 - DAYS_TO_1900).max(0) as u32, to_300ths(now.1));
    let xact = db.storage.begin(XactOptions { name: "CDC scan", spid: 23 });
    for i in &fresh {
        let instance = &mut cdc.instances[*i];
        instance.start = Some(instance.enabled_at);
    }
    match write(db, cdc, xact, &transactions, (&fresh, idle)).and_then(|()| commit_in(db, xact, None)) {
        Ok(()) => {
            cdc.mapped = now;
            db.storage.take_captured(transactions.len());
            Ok((transactions.len(), transactions.last().map(|t| t.commit_lsn)))
        }
        Err(why) => {
            fresh.iter().for_each(|i| cdc.instances[*i].start = None);
            db.storage.rollback(xact).map_err(from_storage)?;
            Err(why)
        }
    }
}

/// Writes what a scan found: the low endpoints of new instances, a row for idle time, changes.
fn write(
    db: &mut Db,
    cdc: &super::Cdc,
    xact: Transaction,
    transactions: &[CapturedTransaction],
    (fresh, idle): (&[usize], bool),
) -> Result<()> {
    for i in fresh {
        let instance = &cdc.instances[*i];
        let (lsn, time, changes) = (instance.enabled_at, instance.enabled_time, instance.changes);
        map_alone(db, xact, lsn, time)?;
        set_low_endpoint(db, xact, changes, lsn)?;
    }
    if idle && !cdc.instances.is_empty() {
        let (end, time) = (db.storage.last_record(), db.storage.now());
        map_alone(db, xact, end, time)?;
    }
    for transaction in transactions {
        let commit = transaction.commit_lsn;
        let mut id = vec![0; 4];
        id.extend(transaction.id.high.to_be_bytes());
        id.extend(transaction.id.low.to_be_bytes());
        let times = (Some(transaction.begin_time.to_vec()), Some(transaction.end_time.to_vec()));
        map(db, xact, commit, times, id, Some(transaction.begin_lsn))?;
        for instance in cdc.instances.iter().filter(|i| i.enabled_at < commit) {
            let own = transaction.changes.iter().filter(|c| c.table == instance.source);
            for (command, change) in own.enumerate() {
                write_change(db, xact, instance, commit, change, command as i32 + 1)?;
            }
        }
    }
    Ok(())
}

/// Whoever changes the tables of CDC by hand is waited for.
fn failed(error: Error) -> SqlError {
    match error {
        Error::Locked => SqlError::new(BLOCKED, ""),
        other => from_storage(other),
    }
}

/// A row of `cdc.lsn_time_mapping` that no transaction is behind.
fn map_alone(db: &mut Db, xact: Transaction, lsn: Lsn, time: [u8; 8]) -> Result<()> {
    let time = Some(time.to_vec());
    map(db, xact, lsn, (time.clone(), time), vec![0], Some(Lsn::ZERO))
}

type Times = (Option<Vec<u8>>, Option<Vec<u8>>);

fn map(db: &mut Db, xact: Transaction, lsn: Lsn, times: Times, id: Vec<u8>, begin: Option<Lsn>) -> Result<()> {
    let Some(table) = own_table(db, "lsn_time_mapping") else { return Ok(()) };
    let row: Row =
        vec![Some(lsn.to_be_bytes().to_vec()), times.0, times.1, Some(id), begin.map(|b| b.to_be_bytes().to_vec())];
    let there = db.storage.key_of(table, &row).is_some_and(|key| db.storage.visible_row(xact, table, &key).is_ok());
    if !there {
        db.storage.insert(xact, table, row).map_err(failed)?;
    }
    Ok(())
}

/// Sets `start_lsn` in `cdc.change_tables`.
pub(super) fn set_low_endpoint(db: &mut Db, xact: Transaction, changes: u32, lsn: Lsn) -> Result<()> {
    let Some(table) = db.storage.table(SCHEMA, "change_tables") else { return Ok(()) };
    let columns = db.storage.table_def(table).map(|d| &d.columns);
    let place = |name: &str| columns.and_then(|c| c.iter().position(|c| c.name == name));
    let (Some(start), Some(count)) = (place("start_lsn"), columns.map(Vec::len)) else { return Ok(()) };
    let mut probe: Row = vec![None; count];
    probe[0] = Some(changes.to_le_bytes().to_vec());
    let Some(key) = db.storage.key_of(table, &probe) else { return Ok(()) };
    let change = [(start, Some(lsn.to_be_bytes().to_vec()))];
    db.storage.update(xact, table, &key, &change).map(drop).map_err(failed)
}

/// A cell as the change table has it, whose identity column may be wider than the table's.
fn captured(ty: &SqlType, cell: &[u8]) -> Vec<u8> {
    let width = match ty {
        SqlType::Int => 4,
        SqlType::BigInt => 8,
        _ => return cell.to_vec(),
    };
    let value = match *cell {
        [byte] => i64::from(byte),
        [low, high] => i64::from(i16::from_le_bytes([low, high])),
        // A decimal: its sign, and a magnitude of 4, 8, 12 or 16 bytes.
        [sign, ref magnitude @ ..] if matches!(magnitude.len(), 4 | 8 | 12 | 16) => {
            let low = magnitude.iter().take(8).rev().fold(0i64, |n, byte| n << 8 | i64::from(*byte));
            if sign == 0 { low.wrapping_neg() } else { low }
        }
        _ => return cell.to_vec(),
    };
    value.to_le_bytes()[..width].to_vec()
}

fn write_change(
    db: &mut Db,
    xact: Transaction,
    instance: &Instance,
    commit: Lsn,
    change: &CapturedChange,
    command: i32,
) -> Result<()> {
    let cells = |row: &Row| -> Vec<Option<Vec<u8>>> {
        let of = |c: &CapturedColumn| {
            let place = change.columns.iter().position(|id| *id == c.id)?;
            Some(captured(&c.sql_type, row.get(place)?.as_deref()?))
        };
        instance.columns.iter().map(of).collect()
    };
    let before = change.before.as_deref().map(cells);
    let after = change.after.as_deref().map(cells);
    let mut put = |operation: i32, mask: Vec<u8>, mut cells: Vec<Option<Vec<u8>>>, changed: &[bool]| -> Result<()> {
        for ((cell, column), changed) in cells.iter_mut().zip(&instance.columns).zip(changed) {
            let lost = match column.sql_type {
                SqlType::Text { .. } | SqlType::NText { .. } | SqlType::Image => matches!(operation, DELETE | BEFORE),
                ref ty => ty.is_lob() && operation == BEFORE && !changed,
            };
            if lost {
                *cell = None;
            }
        }
        let number = |n: i32| to_bytes(&SqlType::Int, &Value::Int(i64::from(n)));
        let mut row: Row = vec![
            Some(commit.to_be_bytes().to_vec()),
            None,
            Some(change.lsn.to_be_bytes().to_vec()),
            number(operation)?,
            Some(mask),
        ];
        row.append(&mut cells);
        row.push(number(command)?);
        db.storage.insert(xact, instance.changes, row).map(drop).map_err(failed)
    };
    let count = instance.columns.len();
    match (before, after) {
        (Some(before), Some(after)) => {
            let changed: Vec<bool> = before.iter().zip(&after).map(|(a, b)| a != b).collect();
            if changed.contains(&true) {
                put(BEFORE, mask(&changed), before, &changed)?;
                put(AFTER, mask(&changed), after, &changed)?;
            }
            Ok(())
        }
        (Some(before), None) => put(DELETE, mask(&vec![true; count]), before, &vec![true; count]),
        (None, Some(after)) => put(INSERT, mask(&vec![true; count]), after, &vec![true; count]),
        (None, None) => Ok(()),
    }
}

/// A bit per column, the first one in the last byte.
fn mask(changed: &[bool]) -> Vec<u8> {
    let mut out = vec![0; changed.len().div_ceil(8)];
    let last = out.len().saturating_sub(1);
    for (at, _) in changed.iter().enumerate().filter(|(_, on)| **on) {
        out[last - at / 8] |= 1 << (at % 8);
    }
    out
}

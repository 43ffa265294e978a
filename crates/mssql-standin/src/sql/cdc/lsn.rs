//! Positions: the functions `sys.fn_cdc_*` of one value.

use logferry_model::Lsn;

use super::super::error::{Result, SqlError, invalid_object};
use super::super::state::Db;
use super::super::value::{Value, from_bytes};
use super::{bytes, own_table};
use logferry_mssql_standin_storage::Row;

/// Bytes of an LSN.
const LSN_LEN: usize = 10;

/// An LSN of a value: shorter ones are padded, as `binary(10)` pads them.
pub(super) fn lsn_of(value: &Value) -> Option<Lsn> {
    let Value::Bytes(b) = value else { return None };
    let mut out = [0; LSN_LEN];
    out.iter_mut().zip(b).for_each(|(to, from)| *to = *from);
    Some(Lsn::from_be_bytes(out))
}

/// The rows of `cdc.lsn_time_mapping`, in the order of their LSNs.
fn each_mapping(db: &Db, each: &mut dyn FnMut(Lsn, &Row) -> bool) -> Result<()> {
    let table = own_table(db, "lsn_time_mapping").ok_or_else(|| invalid_object("cdc.lsn_time_mapping"))?;
    for (_, row) in db.storage.rows(table) {
        if let Some(lsn) = lsn_in(row)
            && !each(lsn, row)
        {
            break;
        }
    }
    Ok(())
}

/// The LSN that a row begins with.
pub(super) fn lsn_in(row: &Row) -> Option<Lsn> {
    let bytes = row.first()?.as_deref()?;
    bytes.try_into().ok().map(Lsn::from_be_bytes)
}

/// When a row of `cdc.lsn_time_mapping` was committed.
fn end_time(row: &Row) -> Value {
    let time = row.get(2).and_then(|b| b.as_deref());
    time.map_or(Value::Null, |b| from_bytes(&logferry_model::SqlType::DateTime, b))
}

/// How far the log was read.
pub(super) fn last_mapped(db: &Db) -> Result<Option<Lsn>> {
    let table = own_table(db, "lsn_time_mapping").ok_or_else(|| invalid_object("cdc.lsn_time_mapping"))?;
    Ok(db.storage.last_row(table).and_then(|row| lsn_in(row)))
}

/// `sys.fn_cdc_get_max_lsn`
pub(crate) fn max_lsn(db: &Db) -> Result<Value> {
    Ok(last_mapped(db)?.map_or(Value::Null, bytes))
}

/// `sys.fn_cdc_get_min_lsn`
pub(crate) fn min_lsn(db: &Db, instance: &str) -> Value {
    let found = db.cdc.as_ref().and_then(|c| c.instance(instance)).and_then(|i| i.start);
    bytes(found.unwrap_or(Lsn::ZERO))
}

/// `sys.fn_cdc_map_lsn_to_time`
pub(crate) fn map_lsn_to_time(db: &Db, lsn: &Value) -> Result<Value> {
    let table = own_table(db, "lsn_time_mapping").ok_or_else(|| invalid_object("cdc.lsn_time_mapping"))?;
    let Some(wanted) = lsn_of(lsn) else { return Ok(Value::Null) };
    let mut probe: Row = vec![None; db.types(table).len()];
    probe[0] = Some(wanted.to_be_bytes().to_vec());
    let first = db.storage.rows_from(table, &probe).next();
    Ok(first.filter(|(_, row)| lsn_in(row) == Some(wanted)).map_or(Value::Null, |(_, row)| end_time(row)))
}

/// `sys.fn_cdc_map_time_to_lsn`
pub(crate) fn map_time_to_lsn(db: &Db, operator: &str, time: &Value) -> Result<Value> {
    use std::cmp::Ordering as O;
    let (largest, holds): (bool, fn(O) -> bool) = match operator.trim().to_lowercase().as_str() {
        "largest less than" => (true, O::is_lt),
        "largest less than or equal" => (true, O::is_le),
        "smallest greater than" => (false, O::is_gt),
        "smallest greater than or equal" => (false, O::is_ge),
        _ => return Ok(Value::Null),
    };
    let mut found = Value::Null;
    each_mapping(db, &mut |lsn, row| {
        if super::super::value::compare(&end_time(row), time).is_some_and(holds) {
            found = bytes(lsn);
            return largest;
        }
        true
    })?;
    Ok(found)
}

/// `sys.fn_cdc_increment_lsn`, `sys.fn_cdc_decrement_lsn`
pub(crate) fn stepped(lsn: &Value, up: bool) -> Value {
    let Some(lsn) = lsn_of(lsn) else { return Value::Null };
    let mut b = lsn.to_be_bytes();
    for byte in b.iter_mut().rev() {
        let (next, over) = if up { byte.overflowing_add(1) } else { byte.overflowing_sub(1) };
        *byte = next;
        if !over {
            break;
        }
    }
    Value::Bytes(b.to_vec())
}

/// `sys.fn_cdc_is_bit_set`: the last byte has the first eight columns.
pub(crate) fn is_bit_set(position: i64, mask: &Value) -> Value {
    let Value::Bytes(mask) = mask else { return Value::Null };
    let place = usize::try_from(position - 1).ok();
    let byte = place.and_then(|p| mask.len().checked_sub(p / 8 + 1)).and_then(|at| mask.get(at));
    Value::bit(byte.is_some_and(|b| b >> (place.unwrap_or(0) % 8) & 1 == 1))
}

/// `sys.fn_cdc_get_column_ordinal`
pub(crate) fn column_ordinal(db: &Db, instance: &str, column: &str) -> Value {
    let found = db.cdc.as_ref().and_then(|c| c.instance(instance));
    let place = found.and_then(|i| i.columns.iter().position(|c| super::super::value::same_name(&c.name, column)));
    place.map_or(Value::Null, |p| Value::Int(p as i64 + 1))
}

/// What an LSN is called in messages.
pub(super) fn shown(lsn: Option<Lsn>) -> String {
    let bytes = lsn.unwrap_or(Lsn::ZERO).to_be_bytes();
    let hex: String = bytes.iter().map(|b| format!("{b:02X}")).collect();
    format!("0x{hex}")
}

/// 22964
pub(super) fn no_such_entry(lsn: Option<Lsn>) -> SqlError {
    SqlError::batch(
        22964,
        format!(
            "LSN {}, specified as the new low end point for change table cleanup must represent the start_lsn value of a current entry in the cdc.lsn_time_mapping table. Choose an LSN value that satisfies this requirement.",
            shown(lsn)
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Value {
        let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("a byte");
        Value::Bytes((0..text.len()).step_by(2).map(byte).collect())
    }

    #[test]
    fn lsns_step_over_all_bytes() {
        let check = |from: &str, up: bool, to: &str| assert_eq!(stepped(&hex(from), up), hex(to));
        check("0000002D000005900005", true, "0000002D000005900006");
        check("0000002D0000FFFFFFFF", true, "0000002D000100000000");
        check("0000002D000100000000", false, "0000002D0000FFFFFFFF");
        assert_eq!(stepped(&Value::Null, true), Value::Null);
    }

    #[test]
    fn bits_of_masks() {
        let check = |position, mask: &str, on| assert_eq!(is_bit_set(position, &hex(mask)), Value::bit(on));
        check(3, "04", true);
        check(1, "04", false);
        check(9, "0100", true);
        check(1, "0100", false);
        check(17, "0100", false);
        check(0, "FF", false);
    }
}

//! `sys.fn_dblog(start, end)`, `sys.fn_dump_dblog(start, end, .., file, ..)`: the log as rows, one per record.
//!
//! ```text
//!  fn_dblog(@start, @end) ── blocks of the log ─────┐
//!  fn_dump_dblog(.., file) ── blocks of a backup ───┴── Part::Log ── a column, when it is asked for
//! ```
//!
//! The rows have 130 columns, of which a query reads a few: so a row is its record's bytes, and a column is decoded when
//! it is looked at. Both arguments are inclusive. A text with `0x` has hexadecimal parts, one without decimal ones, even if
//! it is spelled as `[Current LSN]` is; what is none of both is error 9005. A start that the log does not have (any
//! more) is error 9003. NULL as start is the truncation point.
//!
//! Columns whose value is not in the record are NULL or zero: `[Log Reserve]`, `[Lock Information]`, and `[AllocUnitName]`
//! of what is dropped since is `Unknown Alloc Unit`, as on a server.

mod columns;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use logferry_model::Lsn;
use logferry_mssql_format::log::record::Record;

use super::error::{Result, SqlError, unsupported};
use super::eval::Ctx;
use super::plan::{Column, Part};
use super::state::{State, from_storage};
use super::value::Value;
use logferry_mssql_standin_storage::{LogBlock, backed_up_log};

/// A row of `fn_dblog`.
#[derive(Debug)]
pub(crate) struct LogRow {
    block: Rc<LogBlock>,
    lsn: Lsn,
    names: Rc<UnitNames>,
}

/// Names of allocation units, found out when they are asked for.
#[derive(Debug)]
struct UnitNames {
    names: OnceCell<BTreeMap<u64, String>>,
    units: Vec<(u64, String)>,
}

impl LogRow {
    /// The value of a column.
    pub fn column(&self, column: usize) -> Value {
        let record = self.block.block().record(self.lsn.slot).ok().flatten();
        match (columns::COLUMNS.get(column), record) {
            (Some((.., value)), Some(record)) => value(&record, self),
            _ => Value::Null,
        }
    }

    fn unit_name(&self, unit: u64) -> &str {
        let names = self.names.names.get_or_init(|| self.names.units.iter().cloned().collect());
        names.get(&unit).map_or("Unknown Alloc Unit", String::as_str)
    }
}

/// All columns.
pub(crate) fn columns() -> Vec<Column> {
    columns::columns()
}

/// Calls with every record of a database's log between two LSNs; ends when `each` says so by `false`.
pub(crate) fn scan(
    ctx: &Ctx<'_>,
    database: usize,
    args: &[Value],
    each: &mut dyn FnMut(Part) -> Result<bool>,
) -> Result<bool> {
    let (start, end) = range(args)?;
    let db = ctx.state.db(database);
    let start = match start {
        Some(start) if !db.storage.has_log_record(start) => {
            return Err(SqlError {
                class: 20,
                ..SqlError::batch(
                    9003,
                    format!(
                        "The log scan number ({}:{}:{}) passed to log scan in database '{}' is not valid. This error may indicate data corruption or that the log file (.ldf) does not match the data file (.mdf). If this error occurred during replication, re-create the publication. Otherwise, restore from backup if the problem results in a failure during startup.",
                        start.vlf, start.block, start.slot, db.name
                    ),
                )
            });
        }
        Some(start) => start,
        None => db.storage.start_of_log(),
    };
    each_record(ctx, database, db.storage.log_blocks(start), (start, end), each)
}

/// The same for the log in a backup: device type, number of the backup set, files.
pub(crate) fn dump(
    ctx: &Ctx<'_>,
    database: usize,
    args: &[Value],
    each: &mut dyn FnMut(Part) -> Result<bool>,
) -> Result<bool> {
    let (range_args, rest) = args.split_at(args.len().min(2));
    let (devices, files) = rest.split_at(rest.len().min(2));
    let mut files = files.iter().filter_map(Value::as_text);
    let Some(file) = files.next() else { return scan(ctx, database, range_args, each) };
    if files.next().is_some() {
        return Err(unsupported("fn_dump_dblog of more than one file"));
    }
    if let Some(device) = devices.first().and_then(Value::as_text).filter(|d| !d.eq_ignore_ascii_case("DISK")) {
        return Err(unsupported(format!("fn_dump_dblog from device type '{device}'")));
    }
    let number = devices.get(1).and_then(Value::as_int).unwrap_or(1);
    let set = u16::try_from(number).ok().map(|n| backed_up_log(&ctx.state.backups.join(&file), n)).transpose();
    let Some(blocks) = set.map_err(from_storage)?.flatten() else {
        return Err(SqlError::batch(4038, format!("Cannot find file ID {number} on device '{file}'.")));
    };
    let (start, end) = range(range_args)?;
    each_record(ctx, database, blocks.into_iter(), (start.unwrap_or(Lsn::ZERO), end), each)
}

/// The LSNs that two arguments say: NULL is all.
fn range(args: &[Value]) -> Result<(Option<Lsn>, Lsn)> {
    let lsn = |at: usize| match args.get(at).and_then(Value::as_text) {
        Some(text) => parse_lsn(&text).map(Some).ok_or_else(invalid_lsn),
        None => Ok(None),
    };
    Ok((lsn(0)?, lsn(1)?.unwrap_or(Lsn::MAX)))
}

fn each_record(
    ctx: &Ctx<'_>,
    database: usize,
    blocks: impl Iterator<Item = LogBlock>,
    (start, end): (Lsn, Lsn),
    each: &mut dyn FnMut(Part) -> Result<bool>,
) -> Result<bool> {
    let names = Rc::new(UnitNames { names: OnceCell::new(), units: unit_names(ctx.state, database) });
    for block in blocks {
        let block = Rc::new(block);
        let header = block.block().header;
        for slot in header.first_lsn.slot..header.end_lsn().slot {
            let lsn = Lsn { slot, ..header.first_lsn };
            if lsn < start {
                continue;
            }
            if lsn > end {
                return Ok(true);
            }
            if !each(Part::Log(Rc::new(LogRow { block: Rc::clone(&block), lsn, names: Rc::clone(&names) })))? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// `0x` and three hexadecimal parts, or three decimal ones.
fn parse_lsn(text: &str) -> Option<Lsn> {
    let text = text.trim();
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let radix = if hex.is_some() { 16 } else { 10 };
    let mut parts = hex.unwrap_or(text).split(':').map(|part| match part.starts_with('+') {
        false => u32::from_str_radix(part, radix).ok(),
        true => None,
    });
    let lsn = Lsn::new(parts.next()??, parts.next()??, u16::try_from(parts.next()??).ok()?);
    parts.next().is_none().then_some(lsn)
}

fn invalid_lsn() -> SqlError {
    SqlError::batch(9005, "Either start LSN or end LSN specified in OpenRowset(DBLog, ...) is invalid.").state(3)
}

/// `schema.table.index` of the allocation units of user tables and system tables.
fn unit_names(state: &State, database: usize) -> Vec<(u64, String)> {
    let db = state.db(database);
    let mut out: Vec<(u64, String)> =
        db.storage.system_units().map(|(unit, name)| (unit, format!("sys.{name}"))).collect();
    for (id, def) in db.storage.tables() {
        for rowset in db.storage.table_rowsets(id) {
            let name = match db.meta(id).keys.iter().find(|k| k.index_id == rowset.index).map(|k| &k.name) {
                Some(key) => format!("{}.{}.{key}", def.schema, def.name),
                None => format!("{}.{}", def.schema, def.name),
            };
            out.extend(db.storage.rowset_units(rowset.id).into_iter().map(|(unit, ..)| (unit, name.clone())));
        }
    }
    out
}

/// The record of a row, as the columns see it.
type Rec<'r> = Record<'r>;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<(u32, u32, u16)>) {
        assert_eq!(parse_lsn(text), expect.map(|(v, b, s)| Lsn::new(v, b, s)), "{text}");
    }

    #[test]
    fn lsns_in_arguments() {
        check("0x00000021:00000040:0001", Some((33, 64, 1)));
        check("0x21:40:1", Some((33, 64, 1)));
        check("33:64:1", Some((33, 64, 1)));
        check("00000033:00000064:0001", Some((33, 64, 1)));
        check("0000002a:00000040:0001", None);
        check("33:64", None);
        check("33:64:1:1", None);
        check("33:64:65536", None);
        check("", None);
        check("0x33:+4:1", None);
    }
}

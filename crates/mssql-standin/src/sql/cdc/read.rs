//! `cdc.fn_cdc_get_all_changes_<instance>` and `cdc.fn_cdc_get_net_changes_<instance>`.

use std::collections::HashMap;

use logferry_model::{Lsn, SqlType};

use super::super::error::{Result, SqlError};
use super::super::plan::Column;
use super::super::state::Db;
use super::super::value::{Value, from_bytes};
use super::lsn::{last_mapped, lsn_of};
use super::{Cdc, Instance};
use logferry_mssql_standin_storage::Row;

/// Columns of a change table before those of the source.
pub(super) const HEAD: usize = 5;

/// A function that reads an instance.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CdcRead {
    pub instance: String,
    pub net: bool,
    pub columns: Vec<Column>,
}

impl CdcRead {
    /// The function of a name in the schema `cdc`, if there is one.
    pub fn find(cdc: &Cdc, function: &str) -> Option<Self> {
        let lower = function.to_lowercase();
        let of = |prefix: &str| lower.strip_prefix(prefix).and_then(|name| cdc.instance(name));
        if let Some(i) = of("fn_cdc_get_all_changes_") {
            return Some(CdcRead { instance: i.name.clone(), net: false, columns: all_columns(i) });
        }
        let i = of("fn_cdc_get_net_changes_").filter(|i| i.net)?;
        Some(CdcRead { instance: i.name.clone(), net: true, columns: net_columns(i) })
    }

    /// The rows between two LSNs, both inclusive.
    ///
    /// # Errors
    /// 313 where the range is not in the timeline of the instance.
    pub fn rows(&self, db: &Db, args: &[Value]) -> Result<Vec<Vec<Value>>> {
        let instance = db.cdc.as_ref().and_then(|c| c.instance(&self.instance)).ok_or_else(|| self.outside())?;
        let (from, to) = (args.first().and_then(lsn_of), args.get(1).and_then(lsn_of));
        let (Some(from), Some(to)) = (from, to) else { return Err(self.outside()) };
        let option = args.get(2).and_then(Value::as_text).unwrap_or_default().trim().to_lowercase();
        let known: &[&str] = match self.net {
            false => &["all", "all update old"],
            true => &["all", "all with mask", "all with merge"],
        };
        let inside = instance.start.is_some_and(|start| from >= start)
            && last_mapped(db)?.is_some_and(|end| to <= end && from <= end)
            && from <= to;
        if !inside || !known.contains(&option.as_str()) {
            return Err(self.outside());
        }
        let changes = changes(db, instance, from, to);
        Ok(if self.net { net(instance, changes, &option) } else { all(changes, option == "all update old") })
    }

    /// 313, in the words that it has for all of these functions.
    fn outside(&self) -> SqlError {
        let kind = if self.net { "net" } else { "all" };
        SqlError::batch(
            313,
            format!(
                "An insufficient number of arguments were supplied for the procedure or function cdc.fn_cdc_get_{kind}_changes_ ... ."
            ),
        )
        .state(3)
    }
}

fn head(names: &[(&str, SqlType)]) -> Vec<Column> {
    let column = |(name, ty): &(&str, SqlType)| Column {
        name: (*name).to_owned(),
        ty: ty.clone(),
        nullable: true,
        identity: false,
        computed: false,
    };
    names.iter().map(column).collect()
}

fn captured(instance: &Instance) -> impl Iterator<Item = Column> {
    instance.columns.iter().map(|c| Column {
        name: c.name.clone(),
        ty: c.sql_type.clone(),
        nullable: true,
        identity: false,
        computed: false,
    })
}

const LSN: SqlType = SqlType::Binary { length: 10 };
const MASK: SqlType = SqlType::VarBinary { length: Some(128) };

/// Columns of all changes.
fn all_columns(instance: &Instance) -> Vec<Column> {
    let own = [("__$start_lsn", LSN), ("__$seqval", LSN), ("__$operation", SqlType::Int), ("__$update_mask", MASK)];
    head(&own).into_iter().chain(captured(instance)).collect()
}

/// Columns of net changes.
fn net_columns(instance: &Instance) -> Vec<Column> {
    let own = [("__$start_lsn", LSN), ("__$operation", SqlType::Int), ("__$update_mask", MASK)];
    head(&own).into_iter().chain(captured(instance)).collect()
}

/// A row of a change table.
struct Change {
    start: Value,
    seqval: Value,
    operation: i64,
    mask: Value,
    cells: Vec<Value>,
}

/// The rows of a change table in a range, in its order: commit, sequence, operation.
fn changes(db: &Db, instance: &Instance, from: Lsn, to: Lsn) -> Vec<Change> {
    let low = from.to_be_bytes();
    let high = to.to_be_bytes();
    let bytes = |row: &Row, at: usize| row.get(at).and_then(|b| b.as_deref()).map(<[u8]>::to_vec);
    let value = |row: &Row, at: usize| bytes(row, at).map_or(Value::Null, Value::Bytes);
    let mut out = Vec::new();
    let mut probe: Row = vec![None; HEAD + instance.columns.len() + 1];
    let least = i32::MIN.to_le_bytes().to_vec();
    (probe[0], probe[2], probe[3]) = (Some(low.to_vec()), Some(vec![0; 10]), Some(least.clone()));
    probe[HEAD + instance.columns.len()] = Some(least);
    for (_, row) in db.storage.rows_from(instance.changes, &probe) {
        if row.first().and_then(|b| b.as_deref()).is_some_and(|start| start > &high[..]) {
            break;
        }
        let operation = bytes(row, 3).map_or(Value::Null, |b| from_bytes(&SqlType::Int, &b)).as_int().unwrap_or(0);
        let cells = instance.columns.iter().enumerate().map(|(at, c)| {
            row.get(HEAD + at).and_then(|b| b.as_deref()).map_or(Value::Null, |b| from_bytes(&c.sql_type, b))
        });
        out.push(Change {
            start: value(row, 0),
            seqval: value(row, 2),
            operation,
            mask: value(row, 4),
            cells: cells.collect(),
        });
    }
    out
}

fn all(changes: Vec<Change>, with_old: bool) -> Vec<Vec<Value>> {
    let wanted = changes.into_iter().filter(|c| with_old || c.operation != 3);
    wanted.map(|c| [c.start, c.seqval, Value::Int(c.operation), c.mask].into_iter().chain(c.cells).collect()).collect()
}

/// One row per key: what became of it over the whole range.
fn net(instance: &Instance, changes: Vec<Change>, option: &str) -> Vec<Vec<Value>> {
    let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut nets: Vec<(i64, Vec<u8>, Change)> = Vec::new();
    for change in changes.into_iter().filter(|c| c.operation != 3) {
        let mut key = Vec::new();
        for at in &instance.key {
            super::super::value::group_key(change.cells.get(*at).unwrap_or(&Value::Null), &mut key);
        }
        let mask = match &change.mask {
            Value::Bytes(b) if change.operation == 4 => b.clone(),
            _ => Vec::new(),
        };
        match places.get(&key) {
            Some(at) => {
                let (_, all, last) = &mut nets[*at];
                all.resize(all.len().max(mask.len()), 0);
                all.iter_mut().zip(&mask).for_each(|(a, b)| *a |= b);
                *last = change;
            }
            None => {
                places.insert(key, nets.len());
                nets.push((change.operation, mask, change));
            }
        }
    }
    let mut out: Vec<(Value, Vec<Value>)> = Vec::new();
    for (first, mask, last) in nets {
        let operation = match (first, last.operation) {
            (2, 1) => continue,
            (_, 1) => 1,
            _ if option == "all with merge" => 5,
            (2, _) => 2,
            _ => 4,
        };
        let mask = if option == "all with mask" && operation == 4 { Value::Bytes(mask) } else { Value::Null };
        let row = [last.start, Value::Int(operation), mask].into_iter().chain(last.cells).collect();
        out.push((last.seqval, row));
    }
    let order = |(seqval, row): &(Value, Vec<Value>)| (row.first().and_then(lsn_of), lsn_of(seqval));
    out.sort_by_key(order);
    out.into_iter().map(|(_, row)| row).collect()
}

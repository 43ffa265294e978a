//! What a statement did to rows, for triggers: `inserted` and `deleted`.

use super::super::plan::Column;
use super::super::state::State;
use super::super::value::{Value, from_bytes};
use super::Target;
use logferry_mssql_standin_storage::Row;

/// Rows as they were and as they are.
#[derive(Clone, Debug)]
pub(crate) struct Images {
    pub database: usize,
    pub table: u32,
    /// INSERT, UPDATE or DELETE.
    pub verb: &'static str,
    pub columns: Vec<Column>,
    pub inserted: Vec<Vec<Value>>,
    pub deleted: Vec<Vec<Value>>,
    /// Which columns the statement set.
    pub set: Vec<bool>,
}

/// The images of a statement, if a trigger is there to see them.
pub(super) fn images_of<'a>(
    state: &State,
    target: &Target,
    verb: &'static str,
    set: Option<&[usize]>,
    rows: impl Iterator<Item = (Option<&'a Row>, Option<&'a Row>)>,
) -> Vec<Images> {
    let watches = |t: &super::super::trigger::TriggerDef| t.watches_rows(target.at.table, verb);
    if !state.db(target.at.database).triggers.values().any(watches) {
        return Vec::new();
    }
    let values = |row: &Row| -> Vec<Value> {
        let cells = row.iter().zip(target.types.iter());
        cells.map(|(cell, ty)| cell.as_deref().map_or(Value::Null, |b| from_bytes(ty, b))).collect()
    };
    let (mut inserted, mut deleted) = (Vec::new(), Vec::new());
    for (new, old) in rows {
        inserted.extend(new.map(values));
        deleted.extend(old.map(values));
    }
    let set = (0..target.columns.len()).map(|c| set.is_none_or(|set| set.contains(&c))).collect();
    let (database, table) = (target.at.database, target.at.table);
    vec![Images { database, table, verb, columns: target.columns.clone(), inserted, deleted, set }]
}

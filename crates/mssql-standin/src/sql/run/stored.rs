//! Queries that give rows of one table as they are stored: `SELECT a, b FROM t WHERE ... ORDER BY key`, how tables are copied.
//!
//! Their rows need no values made of their bytes, and as a row never changes but is replaced, they can be given after the
//! server is unlocked: a large table goes out as slowly as its reader likes, keeps nobody waiting and is not copied.

use std::sync::Arc;

use logferry_model::{Cell, SqlType};

use super::super::error::Result;
use super::super::eval::{Ctx, Env, eval};
use super::super::plan::{Access, From, Node, OrderKey, Part, Plan, PlanBody, SelectPlan, Typed};
use super::super::types::is_integer;
use super::super::value::Value;
use super::source::each_row;
use logferry_mssql_standin_storage::Row;

/// The rows of a result, and the places of its columns in them.
pub(crate) struct StoredRows {
    rows: Vec<Arc<Row>>,
    columns: Vec<usize>,
}

impl StoredRows {
    /// Gives the rows until no more are wanted; their number.
    pub fn give(self, mut to: impl FnMut(&[Cell<'_>]) -> bool) -> u64 {
        let mut count = 0;
        for row in self.rows {
            let cell = |column: &usize| match row.get(*column) {
                Some(Some(bytes)) => Cell::Bytes(bytes),
                _ => Cell::Null,
            };
            count += 1;
            if !to(&self.columns.iter().map(cell).collect::<Vec<_>>()) {
                break;
            }
        }
        count
    }
}

/// The rows of a query, where it is of this kind.
pub(crate) fn stored_rows(plan: &Plan, ctx: &Ctx<'_>) -> Result<Option<StoredRows>> {
    let PlanBody::Select(select) = &plan.body else { return Ok(None) };
    let Some(From::Table { source, database, table, types, access }) = &select.from else { return Ok(None) };
    let plain = select.group.is_none() && select.assigns.is_empty() && !select.distinct;
    let (None, None, true) = (&plan.offset, &plan.fetch, plain) else { return Ok(None) };
    let columns: Option<Vec<usize>> = select.items.iter().map(|item| column_of(item, *source, types)).collect();
    let Some(columns) = columns else { return Ok(None) };
    let of_result = plan.columns.iter().zip(&columns).all(|(c, at)| types.get(*at) == Some(&c.ty));
    let sorted = by_key(plan, select, *source, types, access, || {
        let keys = &ctx.state.db(*database).meta(*table).keys;
        keys.iter().find(|key| key.clustered).map(|key| key.columns.clone()).unwrap_or_default()
    });
    let most = match &select.top {
        None => usize::MAX,
        Some(top) if top.percent || top.ties => return Ok(None),
        Some(top) => match eval(&top.count, &Env::empty(ctx))? {
            Value::Int(n) => match usize::try_from(n) {
                Ok(n) if n > 0 => n,
                _ => return Ok(None),
            },
            _ => return Ok(None),
        },
    };
    if !of_result || !sorted {
        return Ok(None);
    }
    let mut rows = Vec::new();
    each_row(select, ctx, None, &mut |env| {
        if let Some(Part::Stored(row, ..)) = env.parts.get(*source) {
            rows.push(Arc::clone(row));
        }
        Ok(rows.len() < most)
    })?;
    Ok(Some(StoredRows { rows, columns }))
}

/// The column that an expression is, if it is no more than that.
fn column_of(e: &Typed, source: usize, types: &[SqlType]) -> Option<usize> {
    match &e.node {
        Node::Column { depth: 0, source: of, column } if *of == source && types.get(*column) == Some(&e.ty) => {
            Some(*column)
        }
        _ => None,
    }
}

/// Whether the order that is asked for is that of the table: of the clustered key, as far as that is of integers, which sort
/// alike in storage and in SQL.
fn by_key(
    plan: &Plan,
    select: &SelectPlan,
    source: usize,
    types: &[SqlType],
    access: &Access,
    key: impl FnOnce() -> Vec<(usize, bool)>,
) -> bool {
    if plan.order.is_empty() {
        return true;
    }
    if matches!(access, Access::Lookup { .. }) {
        return false;
    }
    let key = key();
    plan.order.len() <= key.len()
        && plan.order.iter().zip(key).all(|((order, descending), (column, key_descending))| {
            let ordered = match order {
                OrderKey::Output(at) => select.items.get(*at),
                OrderKey::Row(e) => Some(e),
            };
            let is_key = ordered.and_then(|e| column_of(e, source, types)) == Some(column);
            is_key && !descending && !key_descending && types.get(column).is_some_and(is_integer)
        })
}

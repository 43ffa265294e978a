//! What rows must keep: NOT NULL, CHECK, keys, references.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use logferry_model::SqlType;

use super::super::bind::{Binder, Scope};
use super::super::convert::convert;
use super::super::error::{Result, SqlError};
use super::super::eval::{Ctx, Env, eval, truth};
use super::super::plan::Part;
use super::super::state::{KeyDef, Scalars, State};
use super::super::types;
use super::super::value::{Value, from_bytes, group_key};
use super::{Target, Variables};
use crate::storage::{Row, RowKey};

/// NOT NULL and CHECK.
pub(super) fn check_rows(
    state: &State,
    scalars: &Scalars,
    variables: &Variables,
    target: &Target,
    rows: &[Vec<Value>],
    verb: &str,
) -> Result<()> {
    let database = &state.db(target.at.database).name;
    for row in rows {
        if let Some((c, _)) = target.columns.iter().zip(row).find(|(c, v)| !c.nullable && v.is_null()) {
            return Err(SqlError::new(
                515,
                format!(
                    "Cannot insert the value NULL into column '{}', table '{database}.{}'; column does not allow nulls. {verb} fails.",
                    c.name,
                    target.full_name()
                ),
            )
            .state(2));
        }
    }
    let checks = &state.db(target.at.database).meta(target.at.table).checks;
    if checks.is_empty() {
        return Ok(());
    }
    let held = variables.borrow().clone();
    let mut binder = Binder::new(state, scalars, &held);
    let (_, source) = binder.table_source(target.at, 0)?;
    let scope = Scope { sources: vec![source], outer: None };
    let ctx = Ctx { state, scalars, variables, cache: RefCell::default() };
    for check in checks {
        let test = binder.condition(&check.test, &scope)?;
        for row in rows {
            let parts = [Part::Values(Rc::new(row.clone()))];
            let env = Env { ctx: &ctx, parts: &parts, aggs: &[], outer: None };
            if truth(&eval(&test, &env)?) == Some(false) {
                return Err(SqlError::new(
                    547,
                    format!(
                        "The {verb} statement conflicted with the CHECK constraint \"{}\". The conflict occurred in database \"{database}\", table \"{}\".",
                        check.name,
                        target.full_name()
                    ),
                )
                .state(0));
            }
        }
    }
    Ok(())
}

pub(super) fn key_values(
    row: &Row,
    types: &[SqlType],
    columns: impl Iterator<Item = usize>,
) -> (Vec<u8>, bool, String) {
    let (mut key, mut null, mut shown) = (Vec::new(), false, Vec::new());
    for column in columns {
        let value = row[column].as_deref().map_or(Value::Null, |b| from_bytes(&types[column], b));
        null |= value.is_null();
        group_key(&value, &mut key);
        shown.push(match convert(value, &types[column], &types::nvarchar(4000), None) {
            Ok(Value::Null) => "<NULL>".to_owned(),
            Ok(v) => v.as_text().unwrap_or_default().trim_end().to_owned(),
            Err(_) => String::new(),
        });
    }
    (key, null, shown.join(", "))
}

pub(super) fn duplicate(key: &KeyDef, target: &Target, shown: &str) -> SqlError {
    let place = target.full_name();
    match key.object {
        Some(_) => {
            let kind = if key.primary { "PRIMARY KEY" } else { "UNIQUE KEY" };
            SqlError::new(
                2627,
                format!(
                    "Violation of {kind} constraint '{}'. Cannot insert duplicate key in object '{place}'. The duplicate key value is ({shown}).",
                    key.name
                ),
            )
        }
        None => SqlError::new(
            2601,
            format!(
                "Cannot insert duplicate key row in object '{place}' with unique index '{}'. The duplicate key value is ({shown}).",
                key.name
            ),
        ),
    }
    .class(14)
}

/// Keys that storage does not order its rows by: all rows are looked at, once per statement. Rows that other open
/// transactions put in are not seen.
pub(super) fn check_unique(
    state: &State,
    scalars: &Scalars,
    target: &Target,
    new: &[Row],
    gone: &[Arc<RowKey>],
) -> Result<()> {
    let db = state.db(target.at.database);
    let stored = db.storage.table_def(target.at.table).map(|d| d.primary_key.clone()).unwrap_or_default();
    let xact = scalars.xacts.get(&target.at.database).copied();
    for key in db.meta(target.at.table).keys.iter().filter(|k| k.unique) {
        if key.columns.iter().map(|(c, _)| *c).collect::<Vec<_>>() == stored {
            continue;
        }
        let columns = || key.columns.iter().map(|(c, _)| *c);
        let gone: HashSet<&RowKey> = gone.iter().map(|k| &**k).collect();
        let mut seen = HashSet::new();
        db.storage.scan(xact, target.at.table, None, &mut |at, row| {
            if !gone.contains(at) {
                seen.insert(key_values(row, &target.types, columns()).0);
            }
            true
        });
        for row in new {
            let (value, _, shown) = key_values(row, &target.types, columns());
            if !seen.insert(value) {
                return Err(duplicate(key, target, &shown));
            }
        }
    }
    Ok(())
}

/// Foreign keys of the rows: the rows that they point to are there.
pub(super) fn check_references(
    state: &State,
    scalars: &Scalars,
    target: &Target,
    rows: &[Row],
    verb: &str,
) -> Result<()> {
    let db = state.db(target.at.database);
    let xact = scalars.xacts.get(&target.at.database).copied();
    for foreign in &db.meta(target.at.table).foreign {
        let types = db.types(foreign.table);
        let mut there = HashSet::new();
        db.storage.scan(xact, foreign.table, None, &mut |_, row| {
            there.insert(key_values(row, &types, foreign.referenced.iter().copied()).0);
            true
        });
        if foreign.table == target.at.table {
            there.extend(rows.iter().map(|r| key_values(r, &types, foreign.referenced.iter().copied()).0));
        }
        for row in rows {
            let (key, null, _) = key_values(row, &target.types, foreign.columns.iter().copied());
            if !null && !there.contains(&key) {
                let (schema, name) = db.table_name(foreign.table);
                let column = db
                    .storage
                    .table_def(foreign.table)
                    .and_then(|d| d.columns.get(*foreign.referenced.first()?).map(|c| c.name.clone()));
                return Err(SqlError::new(
                    547,
                    format!(
                        "The {verb} statement conflicted with the FOREIGN KEY constraint \"{}\". The conflict occurred in database \"{}\", table \"{schema}.{name}\", column '{}'.",
                        foreign.name,
                        db.name,
                        column.unwrap_or_default()
                    ),
                )
                .state(0));
            }
        }
    }
    Ok(())
}

/// Foreign keys of other tables: no row points to the ones that go.
pub(super) fn check_referenced(
    state: &State,
    scalars: &Scalars,
    target: &Target,
    gone: &[Arc<Row>],
    stay: &[Row],
    verb: &str,
) -> Result<()> {
    let db = state.db(target.at.database);
    let xact = scalars.xacts.get(&target.at.database).copied();
    for (table, meta) in &db.tables {
        for foreign in meta.foreign.iter().filter(|f| f.table == target.at.table) {
            let kept: HashSet<Vec<u8>> =
                stay.iter().map(|r| key_values(r, &target.types, foreign.referenced.iter().copied()).0).collect();
            let lost: HashSet<Vec<u8>> = gone
                .iter()
                .map(|r| key_values(r, &target.types, foreign.referenced.iter().copied()).0)
                .filter(|k| !kept.contains(k))
                .collect();
            if lost.is_empty() {
                continue;
            }
            let types = db.types(*table);
            let removed: HashSet<*const Row> =
                if *table == target.at.table { gone.iter().map(Arc::as_ptr).collect() } else { HashSet::new() };
            let mut hit = false;
            db.storage.scan(xact, *table, None, &mut |_, row| {
                let (key, null, _) = key_values(row, &types, foreign.columns.iter().copied());
                hit |= !null && lost.contains(&key) && !removed.contains(&Arc::as_ptr(row));
                !hit
            });
            if hit {
                let (schema, name) = db.table_name(*table);
                let column = db
                    .storage
                    .table_def(*table)
                    .and_then(|d| d.columns.get(*foreign.columns.first()?).map(|c| c.name.clone()));
                return Err(SqlError::new(
                    547,
                    format!(
                        "The {verb} statement conflicted with the REFERENCE constraint \"{}\". The conflict occurred in database \"{}\", table \"{schema}.{name}\", column '{}'.",
                        foreign.name,
                        db.name,
                        column.unwrap_or_default()
                    ),
                )
                .state(0));
            }
        }
    }
    Ok(())
}

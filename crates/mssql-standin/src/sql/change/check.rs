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
use super::super::lookup::values_of;
use super::super::plan::Part;
use super::super::state::{CheckDef, Db, KeyDef, Scalars, State};
use super::super::types;
use super::super::value::{Value, from_bytes, group_key};
use super::{Target, Variables, blocked};
use logferry_mssql_standin_storage::{Row, RowKey, Transaction};

/// NOT NULL, and CHECK where that is asked for.
pub(super) fn check_rows(
    state: &State,
    scalars: &Scalars,
    variables: &Variables,
    target: &Target,
    rows: &[Vec<Value>],
    (verb, checked): (&str, bool),
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
    let db = state.db(target.at.database);
    let checks: Vec<&CheckDef> = db.meta(target.at.table).checks.iter().filter(|c| !c.switch.disabled).collect();
    if checks.is_empty() || !checked {
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
                        "The {verb} statement conflicted with the CHECK constraint \"{}\". The conflict occurred in database \"{database}\", table \"{}\"{}.",
                        check.name,
                        target.full_name(),
                        column_part(db, target.at.table, check.column)
                    ),
                )
                .state(0));
            }
        }
    }
    Ok(())
}

pub(crate) fn key_values(
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

/// Keys that storage does not order its rows by.
pub(super) fn check_unique(
    state: &mut State,
    scalars: &Scalars,
    target: &Target,
    new: &[Row],
    gone: &[Arc<RowKey>],
) -> Result<()> {
    let (table, xact) = (target.at.table, scalars.xacts.get(&target.at.database).copied());
    let db = state.db(target.at.database);
    let stored = db.storage.table_def(table).map(|d| d.primary_key.clone()).unwrap_or_default();
    let gone: HashSet<&RowKey> = gone.iter().map(|k| &**k).collect();
    for key in db.meta(table).keys.iter().filter(|k| k.unique) {
        let columns: Vec<usize> = key.columns.iter().map(|(c, _)| *c).collect();
        if columns == stored && key.primary {
            continue;
        }
        let mut seen = HashSet::new();
        for row in new {
            let (values, _) = values_of(row, &target.types, &columns);
            let mut twice = !seen.insert(values.clone());
            for other in db.lookups.candidates(db, table, &columns, &values) {
                if twice || gone.contains(&other) {
                    continue;
                }
                if let Some(by) = db.storage.holder(xact, table, &other) {
                    return Err(blocked(state, target.at.database, by));
                }
                let now = db.storage.seen_row(xact, table, None, &other);
                twice = now.is_some_and(|row| values_of(&row, &target.types, &columns).0 == values);
            }
            if twice {
                return Err(duplicate(key, target, &key_values(row, &target.types, columns.iter().copied()).2));
            }
        }
    }
    Ok(())
}

/// Whether a transaction sees a row with these values; who stands in the way of telling.
fn is_there(
    db: &Db,
    xact: Option<Transaction>,
    table: u32,
    columns: &[usize],
    values: &[u8],
    besides: &dyn Fn(&RowKey) -> bool,
) -> std::result::Result<bool, Transaction> {
    let types = db.types(table);
    let mut held = None;
    for key in db.lookups.candidates(db, table, columns, values).iter().filter(|k| !besides(k)) {
        if let Some(by) = db.storage.holder(xact, table, key) {
            held = Some(by);
            continue;
        }
        let row = db.storage.seen_row(xact, table, None, key);
        if row.is_some_and(|row| values_of(&row, &types, columns).0 == values) {
            return Ok(true);
        }
    }
    held.map_or(Ok(false), Err)
}

/// What messages add where one column is to blame.
pub(crate) fn column_part(db: &Db, table: u32, column: Option<usize>) -> String {
    let column = db.storage.table_def(table).and_then(|d| d.columns.get(column?));
    column.map_or(String::new(), |c| format!(", column '{}'", c.name))
}

/// The column of a key that has one.
pub(crate) fn one_column(columns: &[usize]) -> Option<usize> {
    match columns {
        [one] => Some(*one),
        _ => None,
    }
}

/// Foreign keys of the rows: the rows that they point to are there.
pub(super) fn check_references(
    state: &mut State,
    scalars: &Scalars,
    target: &Target,
    rows: &[Row],
    verb: &str,
) -> Result<()> {
    let db = state.db(target.at.database);
    let xact = scalars.xacts.get(&target.at.database).copied();
    for foreign in db.meta(target.at.table).foreign.iter().filter(|f| !f.switch.disabled) {
        let own: HashSet<Vec<u8>> = match foreign.table == target.at.table {
            true => rows.iter().map(|r| values_of(r, &target.types, &foreign.referenced).0).collect(),
            false => HashSet::new(),
        };
        for row in rows {
            let (values, null) = values_of(row, &target.types, &foreign.columns);
            if null || own.contains(&values) {
                continue;
            }
            match is_there(db, xact, foreign.table, &foreign.referenced, &values, &|_| false) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(by) => return Err(blocked(state, target.at.database, by)),
            }
            let (schema, name) = db.table_name(foreign.table);
            return Err(SqlError::new(
                547,
                format!(
                    "The {verb} statement conflicted with the FOREIGN KEY constraint \"{}\". The conflict occurred in database \"{}\", table \"{schema}.{name}\"{}.",
                    foreign.name,
                    db.name,
                    column_part(db, foreign.table, one_column(&foreign.referenced))
                ),
            )
            .state(0));
        }
    }
    Ok(())
}

/// Foreign keys of other tables: no row points to the ones that go.
pub(super) fn check_referenced(
    state: &mut State,
    scalars: &Scalars,
    target: &Target,
    gone: &[(Arc<RowKey>, Arc<Row>)],
    stay: &[Row],
    verb: &str,
) -> Result<()> {
    let db = state.db(target.at.database);
    let xact = scalars.xacts.get(&target.at.database).copied();
    for (table, meta) in &db.tables {
        for foreign in meta.foreign.iter().filter(|f| f.table == target.at.table && !f.switch.disabled) {
            let of = |row: &Row| values_of(row, &target.types, &foreign.referenced).0;
            let kept: HashSet<Vec<u8>> = stay.iter().map(of).collect();
            let removed: HashSet<&RowKey> = match *table == target.at.table {
                true => gone.iter().map(|(k, _)| &**k).collect(),
                false => HashSet::new(),
            };
            for values in gone.iter().map(|(_, r)| of(r)).filter(|v| !kept.contains(v)) {
                match is_there(db, xact, *table, &foreign.columns, &values, &|k| removed.contains(k)) {
                    Ok(false) => continue,
                    Ok(true) => {}
                    Err(by) => return Err(blocked(state, target.at.database, by)),
                }
                let (schema, name) = db.table_name(*table);
                return Err(SqlError::new(
                    547,
                    format!(
                        "The {verb} statement conflicted with the REFERENCE constraint \"{}\". The conflict occurred in database \"{}\", table \"{schema}.{name}\"{}.",
                        foreign.name,
                        db.name,
                        column_part(db, *table, one_column(&foreign.columns))
                    ),
                )
                .state(0));
            }
        }
    }
    Ok(())
}

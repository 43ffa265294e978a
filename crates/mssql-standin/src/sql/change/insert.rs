//! INSERT and SELECT INTO.

use std::cell::RefCell;

use logferry_model::SqlType;

use super::super::ast::{Insert, InsertSource, Query};
use super::super::bind::{Binder, Scope};
use super::super::convert::convert;
use super::super::error::{Result, SqlError, overflow_of};
use super::super::eval::{Ctx, Env, eval};
use super::super::plan::Typed;
use super::super::session::begin_in;
use super::super::state::{Scalars, State, from_storage};
use super::super::value::{Dec, Value, from_bytes, to_bytes};
use super::super::{define, run, types};
use super::check::{check_references, check_rows, check_unique, duplicate, key_values};
use super::images::images_of;
use super::output::{OutputOf, bind_output, run_output};
use super::{Outcome, Target, Variables, blocked, conflict, implicit, own_snapshot_lost};
use logferry_mssql_standin_storage::{Error as StorageError, Row, RowKey, Transaction};

pub(crate) fn insert(
    state: &mut State,
    scalars: &mut Scalars,
    variables: &Variables,
    stmt: &Insert,
) -> Result<Outcome> {
    let (target, rows, output, read) = {
        let state: &State = state;
        let held = variables.borrow().clone();
        let mut binder = Binder::new(state, scalars, &held);
        let at = binder.table(&stmt.table)?;
        let target = Target::of(state, at, &mut binder)?;
        let identity = target.columns.iter().position(|c| c.identity);
        let on = scalars.identity_insert == Some(at);
        let places: Vec<usize> = if stmt.columns.is_empty() {
            let automatic = |c: usize| {
                Some(c) == identity && !on
                    || target.types[c] == SqlType::RowVersion
                    || target.computed.iter().any(|(computed, _)| *computed == c)
            };
            (0..target.columns.len()).filter(|c| !automatic(*c)).collect()
        } else {
            stmt.columns.iter().map(|c| target.column(c)).collect::<Result<_>>()?
        };
        places.iter().try_for_each(|c| target.settable(*c))?;
        if let Some(twice) = places.iter().enumerate().find(|(n, p)| places[..*n].contains(p)) {
            return Err(SqlError::batch(
                264,
                format!(
                    "The column name '{}' is specified more than once in the SET clause or column list of an INSERT.",
                    target.columns[*twice.1].name
                ),
            ));
        }
        if let Some(identity) = identity {
            let given = places.contains(&identity);
            if given && !on {
                return Err(SqlError::new(
                    544,
                    format!(
                        "Cannot insert explicit value for identity column in table '{}' when IDENTITY_INSERT is set to OFF.",
                        target.name.1
                    ),
                ));
            }
            if !given && on {
                return Err(SqlError::new(
                    545,
                    format!(
                        "Explicit value must be specified for identity column in table '{}' either when IDENTITY_INSERT is set to ON or when a replication user is inserting into a NOT FOR REPLICATION identity column.",
                        target.name.1
                    ),
                ));
            }
        }
        let wrong_count = |given: usize| {
            if stmt.columns.is_empty() {
                return SqlError::batch(
                    213,
                    "Column name or number of supplied values does not match table definition.",
                );
            }
            let (number, kind) = if given < places.len() { (109, "more columns") } else { (110, "fewer columns") };
            SqlError::batch(
                number,
                format!("There are {kind} in the INSERT statement than values specified in the VALUES clause. The number of values in the VALUES clause must match the number of columns specified in the INSERT statement."),
            )
            .class(15)
        };
        // Rows as given: one value and its type per place; `None` where the default is asked for.
        let mut given: Vec<Vec<Option<(SqlType, Value)>>> = Vec::new();
        let ctx = Ctx { state, scalars, variables, cache: RefCell::default() };
        match &stmt.source {
            InsertSource::Defaults => given.push(places.iter().map(|_| None).collect()),
            InsertSource::Values(rows) => {
                let mut bound: Vec<Vec<Option<Typed>>> = Vec::new();
                for row in rows {
                    if row.len() != places.len() {
                        return Err(wrong_count(row.len()));
                    }
                    bound.push(
                        row.iter()
                            .map(|e| e.as_ref().map(|e| binder.value(e, &Scope::EMPTY)).transpose())
                            .collect::<Result<_>>()?,
                    );
                }
                for row in &bound {
                    let env = Env::empty(&ctx);
                    given.push(
                        row.iter()
                            .map(|e| e.as_ref().map(|e| Ok((e.ty.clone(), eval(e, &env)?))).transpose())
                            .collect::<Result<_>>()?,
                    );
                }
            }
            InsertSource::Rows(types, rows) => {
                if types.len() != places.len() {
                    return Err(wrong_count(types.len()));
                }
                let typed = |row: &Vec<Value>| types.iter().cloned().zip(row.iter().cloned()).map(Some).collect();
                given.extend(rows.iter().map(typed));
            }
            InsertSource::Bulk(types, rows, options) => {
                if types.len() != places.len() {
                    return Err(wrong_count(types.len()));
                }
                let one = |(ty, value): (&SqlType, &Value)| match value {
                    Value::Null if !options.keep_nulls => None,
                    value => Some((ty.clone(), value.clone())),
                };
                given.extend(rows.iter().map(|row| types.iter().zip(row).map(one).collect()));
            }
            InsertSource::Query(query) => {
                let plan = binder.query(query, None)?;
                if plan.columns.len() != places.len() {
                    return Err(match stmt.columns.is_empty() {
                        true => wrong_count(plan.columns.len()),
                        false if plan.columns.len() < places.len() => SqlError::batch(120, "The select list for the INSERT statement contains fewer items than the insert list. The number of SELECT values must match the number of INSERT columns.").class(15),
                        false => SqlError::batch(121, "The select list for the INSERT statement contains more items than the insert list. The number of SELECT values must match the number of INSERT columns.").class(15),
                    });
                }
                run::run(&plan, &ctx, None, &mut |row| {
                    given.push(row.into_iter().zip(&plan.columns).map(|(v, c)| Some((c.ty.clone(), v))).collect());
                    Ok(true)
                })?;
            }
        }
        let defaults = bind_defaults(state, &mut binder, &target)?;
        let mut rows = Vec::new();
        let place = target.full_name();
        let place = format!("{}.{place}", state.db(at.database).name);
        for row in given {
            let mut values = vec![None; target.columns.len()];
            for (at, given) in places.iter().zip(row) {
                if target.types[*at] == SqlType::RowVersion && given.is_some() {
                    return Err(SqlError::batch(
                        273,
                        "Cannot insert an explicit value into a timestamp column. Use INSERT with a column list to exclude the timestamp column, or insert a DEFAULT into the timestamp column.",
                    ));
                }
                if let Some((from, value)) = given {
                    values[*at] =
                        Some(implicit(value, &from, &target.types[*at], (&place, &target.columns[*at].name))?);
                }
            }
            for (at, value) in values.iter_mut().enumerate() {
                if value.is_none()
                    && let Some(default) = &defaults[at]
                {
                    let v = eval(default, &Env::empty(&ctx))?;
                    *value = Some(implicit(v, &default.ty, &target.types[at], (&place, &target.columns[at].name))?);
                }
            }
            rows.push(values);
        }
        let output = bind_output(&mut binder, &target, &stmt.output, &[], OutputOf::Inserted)?;
        binder.held.extend(stmt.locks.of_target().map(|hold| (target.at, hold)));
        (target, rows, output, binder.held)
    };
    state.lock_tables(scalars, &read)?;

    // Values that the server gives.
    let mut finished: Vec<Vec<Value>> = Vec::new();
    for mut values in rows {
        let db = state.db_mut(target.at.database);
        for (at, ty) in target.types.iter().enumerate() {
            if *ty == SqlType::RowVersion {
                db.row_version += 1;
                values[at] = Some(Value::Bytes(db.row_version.to_be_bytes().to_vec()));
            }
        }
        if let Some(identity) = db.tables.get_mut(&target.at.table).and_then(|t| t.identity.as_mut()) {
            let ty = &target.types[identity.column];
            match &values[identity.column] {
                Some(given) => {
                    let n = number_of(given);
                    identity.note(n);
                    scalars.identity = Some(n);
                }
                None => {
                    let next = identity.last.map_or(identity.seed, |last| last + identity.increment);
                    let wide = SqlType::Decimal { precision: 38, scale: 0 };
                    let value = convert(Value::Dec(Dec { mantissa: next, scale: 0 }), &wide, ty, None)
                        .map_err(|_| overflow_of("IDENTITY", types::name(ty)))?;
                    identity.last = Some(next);
                    scalars.identity = Some(next);
                    values[identity.column] = Some(value);
                }
            }
        }
        finished.push(values.into_iter().map(|v| v.unwrap_or(Value::Null)).collect());
    }
    if !target.persisted.is_empty() {
        let ctx = Ctx { state, scalars, variables, cache: RefCell::default() };
        finished.iter_mut().try_for_each(|row| target.compute(&ctx, row))?;
    }
    let checks = !matches!(&stmt.source, InsertSource::Bulk(_, _, options) if !options.checks);
    check_rows(state, scalars, variables, &target, &finished, ("INSERT", checks))?;
    let rows: Vec<Row> = finished.iter().map(|v| target.row(v)).collect::<Result<_>>()?;
    check_unique(state, scalars, &target, &rows, &[])?;
    if checks {
        check_references(state, scalars, &target, &rows, "INSERT")?;
    }
    if !rows.is_empty() {
        state.may_change(scalars, target.at)?;
        let xact = begin_in(state, scalars, target.at.database, "INSERT");
        for row in &rows {
            write_row(state, scalars, &target, xact, row.clone())?;
        }
    }
    let written = rows.iter().map(|r| (Some(r), None, None));
    let output = run_output(state, scalars, variables, (&target, &stmt.output), output, written)?;
    let images = images_of(state, &target, "INSERT", None, rows.iter().map(|r| (Some(r), None)));
    Ok(Outcome { count: rows.len() as u64, output, images })
}

fn number_of(v: &Value) -> i128 {
    match v {
        Value::Int(n) => i128::from(*n),
        Value::Dec(d) => d.rescale(0).map_or(0, |d| d.mantissa),
        _ => 0,
    }
}

pub(super) fn bind_defaults(state: &State, binder: &mut Binder<'_>, target: &Target) -> Result<Vec<Option<Typed>>> {
    let mut out = vec![None; target.columns.len()];
    for default in &state.db(target.at.database).meta(target.at.table).defaults {
        out[default.column] = Some(binder.value(&default.value, &Scope::EMPTY)?);
    }
    Ok(out)
}

pub(super) fn write_row(
    state: &mut State,
    scalars: &Scalars,
    target: &Target,
    xact: Transaction,
    row: Row,
) -> Result<RowKey> {
    let at = target.at;
    let storage = &state.db(at.database).storage;
    if let Some(key) = storage.key_of(at.table, &row) {
        if let Some(by) = storage.holder(Some(xact), at.table, &key) {
            return Err(blocked(state, at.database, by));
        }
        if own_snapshot_lost(state, scalars, at, &key) {
            return Err(conflict(state, target));
        }
    }
    match state.db_mut(at.database).storage.insert(xact, at.table, row.clone()) {
        Ok(key) => {
            state.db(at.database).lookups.note(at.table, &target.types, &key, &row);
            Ok(key)
        }
        Err(StorageError::DuplicateKey(_)) => {
            let db = state.db(at.database);
            let primary = db.meta(at.table).keys.iter().find(|k| k.primary);
            let shown = match primary {
                Some(k) => key_values(&row, &target.types, k.columns.iter().map(|(c, _)| *c)).2,
                None => String::new(),
            };
            Err(primary.map_or_else(
                || SqlError::new(2627, "Violation of PRIMARY KEY constraint.").class(14),
                |k| duplicate(k, target, &shown),
            ))
        }
        Err(e) => Err(from_storage(e)),
    }
}

pub(crate) fn select_into(
    state: &mut State,
    scalars: &mut Scalars,
    variables: &Variables,
    query: &Query,
    into: &[String],
) -> Result<Outcome> {
    let (columns, rows, read) = {
        let held = variables.borrow().clone();
        let mut binder = Binder::new(state, scalars, &held);
        let plan = binder.query(query, None)?;
        let ctx = Ctx { state, scalars, variables, cache: RefCell::default() };
        let mut rows: Vec<Row> = Vec::new();
        run::run(&plan, &ctx, None, &mut |row| {
            rows.push(row.iter().zip(&plan.columns).map(|(v, c)| to_bytes(&c.ty, v)).collect::<Result<_>>()?);
            Ok(true)
        })?;
        (plan.columns, rows, binder.held)
    };
    state.lock_tables(scalars, &read)?;
    let at = define::create_plain(state, scalars, into, &columns)?;
    if !rows.is_empty() {
        let xact = begin_in(state, scalars, at.database, "SELECT INTO");
        let last = columns.iter().position(|c| c.identity);
        for row in &rows {
            state.db_mut(at.database).storage.insert(xact, at.table, row.clone()).map_err(from_storage)?;
        }
        if let Some(column) = last
            && let Some(identity) =
                state.db_mut(at.database).tables.get_mut(&at.table).and_then(|t| t.identity.as_mut())
        {
            identity.last = rows
                .iter()
                .filter_map(|r| Some(number_of(&from_bytes(&columns[column].ty, r[column].as_deref()?))))
                .max();
        }
    }
    Ok(Outcome { count: rows.len() as u64, ..Outcome::default() })
}

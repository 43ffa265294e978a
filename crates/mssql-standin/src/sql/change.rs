//! INSERT, UPDATE, DELETE, SELECT INTO: rows are worked out first, then checked, then written.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use logferry_model::SqlType;

use super::ast::{Delete, Expr, Insert, InsertSource, Item, Query, TableRef, Update};
use super::bind::{Binder, Scope, Source, TableAt};
use super::convert::{assign, convert};
use super::define;
use super::error::{Effect, Result, SqlError, invalid_column, invalid_object, overflow_of, unsupported};
use super::eval::{Ctx, Env, eval, truth};
use super::plan::{Column, From, Part, Typed};
use super::run;
use super::session::{BLOCKED, begin_in};
use super::state::{KeyDef, Scalars, State, from_storage};
use super::types;
use super::value::{Dec, Value, from_bytes, group_key, same_name, to_bytes};
use crate::storage::{Error as StorageError, Row, RowKey, Transaction};

type Variables = RefCell<BTreeMap<String, (SqlType, Value)>>;

/// What a statement did.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub count: u64,
    /// Of OUTPUT.
    pub output: Option<(Vec<Column>, Vec<Vec<Value>>)>,
}

/// A table that is to be changed, with all that is asked of it.
struct Target {
    at: TableAt,
    columns: Vec<Column>,
    types: Rc<Vec<SqlType>>,
    /// Schema and name.
    name: (String, String),
}

impl Target {
    fn of(state: &State, at: TableAt, binder: &Binder<'_>) -> Self {
        let columns = binder.table_columns(at);
        let types = Rc::new(columns.iter().map(|c| c.ty.clone()).collect());
        Target { at, columns, types, name: state.db(at.database).table_name(at.table) }
    }

    fn full_name(&self) -> String {
        format!("{}.{}", self.name.0, self.name.1)
    }

    fn column(&self, name: &str) -> Result<usize> {
        self.columns.iter().position(|c| same_name(&c.name, name)).ok_or_else(|| invalid_column(name))
    }

    fn row(&self, values: &[Value]) -> Result<Row> {
        values.iter().zip(self.types.iter()).map(|(v, ty)| to_bytes(ty, v)).collect()
    }
}

fn blocked(state: &mut State, database: usize, by: Transaction) -> SqlError {
    state.blocked_by = Some((database, by));
    SqlError::new(BLOCKED, "")
}

pub(crate) fn insert(
    state: &mut State,
    scalars: &mut Scalars,
    variables: &Variables,
    stmt: &Insert,
) -> Result<Outcome> {
    let (target, rows, output) = {
        let state: &State = state;
        let held = variables.borrow().clone();
        let mut binder = Binder::new(state, scalars, &held);
        let at = binder.table(&stmt.table)?;
        let target = Target::of(state, at, &binder);
        let identity = target.columns.iter().position(|c| c.identity);
        let on = scalars.identity_insert == Some(at);
        let places: Vec<usize> = if stmt.columns.is_empty() {
            let automatic = |c: usize| Some(c) == identity && !on || target.types[c] == SqlType::RowVersion;
            (0..target.columns.len()).filter(|c| !automatic(*c)).collect()
        } else {
            stmt.columns.iter().map(|c| target.column(c)).collect::<Result<_>>()?
        };
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
        (target, rows, output)
    };

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
                    identity.last = Some(identity.last.map_or(n, |last| last.max(n)));
                    scalars.identity = Some(n);
                }
                None => {
                    let next = identity.last.map_or(1, |last| last + 1);
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
    check_rows(state, scalars, variables, &target, &finished, "INSERT")?;
    let rows: Vec<Row> = finished.iter().map(|v| target.row(v)).collect::<Result<_>>()?;
    check_unique(state, scalars, &target, &rows, &[])?;
    check_references(state, scalars, &target, &rows, "INSERT")?;
    if !rows.is_empty() {
        let xact = begin_in(state, scalars, target.at.database, "INSERT");
        for row in &rows {
            write_row(state, scalars, &target, xact, row.clone())?;
        }
    }
    let output = run_output(state, scalars, variables, &target, output, rows.iter().map(|r| (Some(r), None, None)))?;
    Ok(Outcome { count: rows.len() as u64, output })
}

/// A value on its way into a column, with the conversions that are not done by themselves refused.
fn implicit(value: Value, from: &SqlType, to: &SqlType, place: (&str, &str)) -> Result<Value> {
    let refused = matches!(from, SqlType::Variant) && *to != SqlType::Variant
        || types::is_text(from) && types::is_bytes(to)
        || types::is_time(from)
            && (types::is_integer(to) || matches!(to, SqlType::Decimal { .. } | SqlType::Float | SqlType::Real));
    if refused && !value.is_null() {
        return Err(SqlError::batch(
            257,
            format!(
                "Implicit conversion from data type {} to {} is not allowed. Use the CONVERT function to run this query.",
                types::name(from),
                types::name(to)
            ),
        )
        .state(3));
    }
    if matches!(to, SqlType::Xml) && !value.is_null() {
        return Err(unsupported("values of the type xml"));
    }
    assign(value, from, to, place)
}

fn number_of(v: &Value) -> i128 {
    match v {
        Value::Int(n) => i128::from(*n),
        Value::Dec(d) => d.rescale(0).map_or(0, |d| d.mantissa),
        _ => 0,
    }
}

fn bind_defaults(state: &State, binder: &mut Binder<'_>, target: &Target) -> Result<Vec<Option<Typed>>> {
    let mut out = vec![None; target.columns.len()];
    for default in &state.db(target.at.database).meta(target.at.table).defaults {
        out[default.column] = Some(binder.value(&default.value, &Scope::EMPTY)?);
    }
    Ok(out)
}

/// NOT NULL and CHECK.
fn check_rows(
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
    let (_, source) = binder.table_source(target.at, 0);
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

fn key_values(row: &Row, types: &[SqlType], columns: impl Iterator<Item = usize>) -> (Vec<u8>, bool, String) {
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

fn duplicate(key: &KeyDef, target: &Target, shown: &str) -> SqlError {
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
fn check_unique(state: &State, scalars: &Scalars, target: &Target, new: &[Row], gone: &[Arc<RowKey>]) -> Result<()> {
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
fn check_references(state: &State, scalars: &Scalars, target: &Target, rows: &[Row], verb: &str) -> Result<()> {
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
fn check_referenced(
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

fn write_row(state: &mut State, scalars: &Scalars, target: &Target, xact: Transaction, row: Row) -> Result<RowKey> {
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
        Ok(key) => Ok(key),
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

/// Whether a row was changed by others since the session's snapshot.
fn own_snapshot_lost(state: &State, scalars: &Scalars, at: TableAt, key: &RowKey) -> bool {
    let id = scalars.snapshots.get(&at.database);
    let before = id.and_then(|id| state.db(at.database).snapshots.get(id));
    before.is_some_and(|b| b.contains_key(&(at.table, key.clone())))
}

fn conflict(state: &State, target: &Target) -> SqlError {
    SqlError {
        state: 2,
        effect: Effect::Transaction,
        ..SqlError::new(
            3960,
            format!(
                "Snapshot isolation transaction aborted due to update conflict. You cannot use snapshot isolation to access table '{}' directly or indirectly in database '{}' to update, delete, or insert the row that has been modified or deleted by another transaction. Retry the transaction or change the isolation level for the update/delete statement.",
                target.full_name(),
                state.db(target.at.database).name
            ),
        )
    }
}

/// A row that is to be changed.
struct Hit {
    key: Arc<RowKey>,
    row: Arc<Row>,
    /// Parts of all sources, for OUTPUT.
    parts: Vec<Part>,
    values: Vec<Value>,
}

/// What UPDATE and DELETE change: the target, the sources and where the target is among them, the filter.
type BoundTarget = (Target, From, Vec<Source>, usize, Option<Typed>);

/// The target of UPDATE and DELETE: a table, or the alias of one in FROM.
fn bind_target<'s>(
    binder: &mut Binder<'s>,
    state: &'s State,
    name: &[String],
    from: &[TableRef],
    filter: Option<&Expr>,
) -> Result<BoundTarget> {
    // A query over the same tables tells how they join; its items are not needed.
    let (mut plan_from, sources, at) = if from.is_empty() {
        let at = binder.table(name)?;
        let (from, source) = binder.table_source(at, 0);
        (from, vec![source], 0)
    } else {
        let (from, sources) = binder.tables(from)?;
        let found = match name {
            [alias] => sources.iter().position(|s| same_name(&s.alias, alias)),
            _ => None,
        };
        let found = match found {
            Some(at) => at,
            None => {
                let wanted = binder.table(name)?;
                let (schema, table) = state.db(wanted.database).table_name(wanted.table);
                sources
                    .iter()
                    .position(|s| {
                        same_name(&s.alias, &table) && s.schema.as_deref().is_none_or(|x| same_name(x, &schema))
                    })
                    .ok_or_else(|| invalid_object(&name.join(".")))?
            }
        };
        (from, sources, found)
    };
    let table = table_of(&plan_from, at)
        .ok_or_else(|| SqlError::batch(4405, format!("View or function '{}' is not updatable.", name.join("."))))?;
    let scope = Scope { sources, outer: None };
    let filter = filter.map(|f| binder.condition(f, &scope)).transpose()?;
    if let Some(filter) = &filter {
        binder.find_seek(&mut plan_from, filter);
    }
    Ok((Target::of(state, table, binder), plan_from, scope.sources, at, filter))
}

fn table_of(from: &From, source: usize) -> Option<TableAt> {
    match from {
        From::Table { source: s, database, table, .. } if *s == source => {
            Some(TableAt { database: *database, table: *table })
        }
        From::Join { left, right, .. } => table_of(left, source).or_else(|| table_of(right, source)),
        _ => None,
    }
}

fn find_hits(
    ctx: &Ctx<'_>,
    from: &From,
    sources: usize,
    at: usize,
    filter: Option<&Typed>,
    top: Option<&Typed>,
    mut values: impl FnMut(&Env<'_>) -> Result<Vec<Value>>,
) -> Result<Vec<Hit>> {
    let limit = match top {
        Some(e) => eval(e, &Env::empty(ctx))?.as_int().unwrap_or(0).max(0) as usize,
        None => usize::MAX,
    };
    let mut hits: Vec<Hit> = Vec::new();
    let mut seen = HashSet::new();
    if limit == 0 {
        return Ok(hits);
    }
    run::each_target(from, sources, filter, ctx, &mut |env| {
        if let Some(Part::Stored(row, _, Some(key))) = env.parts.get(at)
            && (sources == 1 || seen.insert(RowKey::clone(key)))
        {
            let values = values(env)?;
            hits.push(Hit {
                key: Arc::new(RowKey::clone(key)),
                row: Arc::clone(row),
                parts: env.parts.to_vec(),
                values,
            });
        }
        Ok(hits.len() < limit)
    })?;
    Ok(hits)
}

fn lock_hits(state: &mut State, scalars: &Scalars, target: &Target, hits: &[Hit]) -> Result<()> {
    let xact = scalars.xacts.get(&target.at.database).copied();
    for hit in hits {
        let storage = &state.db(target.at.database).storage;
        if let Some(by) = storage.holder(xact, target.at.table, &hit.key) {
            return Err(blocked(state, target.at.database, by));
        }
        if own_snapshot_lost(state, scalars, target.at, &hit.key) {
            return Err(conflict(state, target));
        }
    }
    Ok(())
}

pub(crate) fn update(
    state: &mut State,
    scalars: &mut Scalars,
    variables: &Variables,
    stmt: &Update,
) -> Result<Outcome> {
    let (target, hits, places, output) = {
        let state: &State = state;
        let held = variables.borrow().clone();
        let mut binder = Binder::new(state, scalars, &held);
        let (target, from, sources, at, filter) =
            bind_target(&mut binder, state, &stmt.target, &stmt.from, stmt.filter.as_ref())?;
        let scope = Scope { sources, outer: None };
        let defaults = bind_defaults(state, &mut binder, &target)?;
        let (mut places, mut values, mut assigned) = (Vec::new(), Vec::new(), Vec::new());
        for (name, op, e) in &stmt.sets {
            let last = name.last().map_or("", String::as_str);
            if last.starts_with('@') {
                let key = last.to_ascii_lowercase();
                let Some((ty, _)) = held.get(&key) else {
                    return Err(SqlError::batch(137, format!("Must declare the scalar variable \"{last}\".")).class(15));
                };
                let e = e.as_ref().ok_or_else(|| super::error::syntax("DEFAULT", 0))?;
                let e = match op {
                    Some(op) => &Expr::Binary(*op, Box::new(Expr::Var(key.clone())), Box::new(e.clone())),
                    None => e,
                };
                let bound = binder.value(e, &scope)?;
                assigned.push((key, super::bind::cast(bound, ty)));
                continue;
            }
            let column = target.column(last)?;
            if target.columns[column].identity {
                return Err(SqlError::batch(8102, format!("Cannot update identity column '{last}'.")));
            }
            if target.types[column] == SqlType::RowVersion {
                return Err(SqlError::batch(272, "Cannot update a timestamp column."));
            }
            if places.contains(&column) {
                return Err(SqlError::batch(
                    264,
                    format!(
                        "The column name '{last}' is specified more than once in the SET clause or column list of an INSERT. A column cannot be assigned more than one value in the same clause. Modify the clause to make sure that a column is updated only once."
                    ),
                ));
            }
            let bound = match (e, op) {
                (Some(e), Some(op)) => {
                    let own = vec![scope.sources[at].alias.clone(), target.columns[column].name.clone()];
                    binder.value(&Expr::Binary(*op, Box::new(Expr::Column(own)), Box::new(e.clone())), &scope)?
                }
                (Some(e), None) => binder.value(e, &scope)?,
                (None, _) => defaults[column]
                    .clone()
                    .unwrap_or_else(|| Typed::constant(target.types[column].clone(), Value::Null)),
            };
            places.push(column);
            values.push(bound);
        }
        let top = stmt.top.as_ref().map(|t| binder.value(t, &Scope::EMPTY)).transpose()?;
        let ctx = Ctx { state, scalars, variables, cache: RefCell::default() };
        let place = format!("{}.{}", state.db(target.at.database).name, target.full_name());
        let hits = find_hits(&ctx, &from, scope.sources.len(), at, filter.as_ref(), top.as_ref(), |env| {
            let mut out = Vec::new();
            for (column, e) in places.iter().zip(&values) {
                let v = eval(e, env)?;
                out.push(implicit(v, &e.ty, &target.types[*column], (&place, &target.columns[*column].name))?);
            }
            let mut fresh = Vec::new();
            for (name, e) in &assigned {
                fresh.push((name.clone(), eval(e, env)?));
            }
            for (name, v) in fresh {
                if let Some(held) = variables.borrow_mut().get_mut(&name) {
                    held.1 = v;
                }
            }
            Ok(out)
        })?;
        let output = bind_output(&mut binder, &target, &stmt.output, &scope.sources, OutputOf::Both)?;
        (target, hits, places, output)
    };
    lock_hits(state, scalars, &target, &hits)?;
    let versions: Vec<usize> =
        target.types.iter().enumerate().filter(|(_, t)| **t == SqlType::RowVersion).map(|(n, _)| n).collect();
    let mut new_rows = Vec::new();
    let mut new_values = Vec::new();
    for hit in &hits {
        let mut row = Row::clone(&hit.row);
        for (column, value) in places.iter().zip(&hit.values) {
            row[*column] = to_bytes(&target.types[*column], value)?;
        }
        for column in &versions {
            let db = state.db_mut(target.at.database);
            db.row_version += 1;
            row[*column] = Some(db.row_version.to_be_bytes().to_vec());
        }
        new_values.push(
            row.iter()
                .zip(target.types.iter())
                .map(|(b, ty)| b.as_deref().map_or(Value::Null, |b| from_bytes(ty, b)))
                .collect::<Vec<Value>>(),
        );
        new_rows.push(row);
    }
    check_rows(state, scalars, variables, &target, &new_values, "UPDATE")?;
    let meta = state.db(target.at.database).meta(target.at.table);
    let touches = |columns: &[usize]| columns.iter().any(|c| places.contains(c));
    if meta.keys.iter().any(|k| k.unique && touches(&k.columns.iter().map(|(c, _)| *c).collect::<Vec<_>>())) {
        let gone: Vec<Arc<RowKey>> = hits.iter().map(|h| Arc::clone(&h.key)).collect();
        check_unique(state, scalars, &target, &new_rows, &gone)?;
        let old: Vec<Arc<Row>> = hits.iter().map(|h| Arc::clone(&h.row)).collect();
        check_referenced(state, scalars, &target, &old, &new_rows, "UPDATE")?;
    }
    if state.db(target.at.database).meta(target.at.table).foreign.iter().any(|f| touches(&f.columns)) {
        check_references(state, scalars, &target, &new_rows, "UPDATE")?;
    }
    if !hits.is_empty() {
        let xact = begin_in(state, scalars, target.at.database, "UPDATE");
        let def = state.db(target.at.database).storage.table_def(target.at.table);
        let moves = def.is_some_and(|d| touches(&d.primary_key));
        if moves {
            // Keys may change places with one another: all rows go before any comes back.
            for hit in &hits {
                state
                    .db_mut(target.at.database)
                    .storage
                    .delete(xact, target.at.table, &hit.key)
                    .map_err(from_storage)?;
            }
            for row in &new_rows {
                write_row(state, scalars, &target, xact, row.clone())?;
            }
        } else {
            for (hit, row) in hits.iter().zip(&new_rows) {
                let changes: Vec<(usize, Option<Vec<u8>>)> =
                    places.iter().chain(&versions).map(|c| (*c, row[*c].clone())).collect();
                let storage = &mut state.db_mut(target.at.database).storage;
                storage.update(xact, target.at.table, &hit.key, &changes).map_err(from_storage)?;
            }
        }
    }
    let changed = hits.iter().zip(&new_rows).map(|(h, new)| (Some(new), Some(&h.row), Some(&h.parts)));
    let output = run_output(state, scalars, variables, &target, output, changed)?;
    Ok(Outcome { count: hits.len() as u64, output })
}

pub(crate) fn delete(
    state: &mut State,
    scalars: &mut Scalars,
    variables: &Variables,
    stmt: &Delete,
) -> Result<Outcome> {
    let (target, hits, output) = {
        let state: &State = state;
        let held = variables.borrow().clone();
        let mut binder = Binder::new(state, scalars, &held);
        let (target, from, sources, at, filter) =
            bind_target(&mut binder, state, &stmt.target, &stmt.from, stmt.filter.as_ref())?;
        let top = stmt.top.as_ref().map(|t| binder.value(t, &Scope::EMPTY)).transpose()?;
        let ctx = Ctx { state, scalars, variables, cache: RefCell::default() };
        let hits = find_hits(&ctx, &from, sources.len(), at, filter.as_ref(), top.as_ref(), |_| Ok(Vec::new()))?;
        let output = bind_output(&mut binder, &target, &stmt.output, &sources, OutputOf::Deleted)?;
        (target, hits, output)
    };
    lock_hits(state, scalars, &target, &hits)?;
    let gone: Vec<Arc<Row>> = hits.iter().map(|h| Arc::clone(&h.row)).collect();
    check_referenced(state, scalars, &target, &gone, &[], "DELETE")?;
    if !hits.is_empty() {
        let xact = begin_in(state, scalars, target.at.database, "DELETE");
        for hit in &hits {
            let storage = &mut state.db_mut(target.at.database).storage;
            storage.delete(xact, target.at.table, &hit.key).map_err(from_storage)?;
        }
    }
    let output = run_output(
        state,
        scalars,
        variables,
        &target,
        output,
        hits.iter().map(|h| (None, Some(&h.row), Some(&h.parts))),
    )?;
    Ok(Outcome { count: hits.len() as u64, output })
}

pub(crate) fn select_into(
    state: &mut State,
    scalars: &mut Scalars,
    variables: &Variables,
    query: &Query,
    into: &[String],
) -> Result<Outcome> {
    let (columns, rows) = {
        let held = variables.borrow().clone();
        let plan = Binder::new(state, scalars, &held).query(query, None)?;
        let ctx = Ctx { state, scalars, variables, cache: RefCell::default() };
        let mut rows: Vec<Row> = Vec::new();
        run::run(&plan, &ctx, None, &mut |row| {
            rows.push(row.iter().zip(&plan.columns).map(|(v, c)| to_bytes(&c.ty, v)).collect::<Result<_>>()?);
            Ok(true)
        })?;
        (plan.columns, rows)
    };
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
    Ok(Outcome { count: rows.len() as u64, output: None })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OutputOf {
    Inserted,
    Deleted,
    Both,
}

/// Items of OUTPUT: `inserted` and `deleted` are sources after those of the statement.
fn bind_output(
    binder: &mut Binder<'_>,
    target: &Target,
    items: &[Item],
    sources: &[Source],
    of: OutputOf,
) -> Result<Option<(Vec<Column>, Vec<Typed>)>> {
    if items.is_empty() {
        return Ok(None);
    }
    let image = |alias: &str| Source { alias: alias.to_owned(), schema: None, columns: target.columns.clone() };
    let mut all: Vec<Source> = sources.to_vec();
    if of != OutputOf::Deleted {
        all.push(image("inserted"));
    }
    if of != OutputOf::Inserted {
        all.push(image("deleted"));
    }
    let (columns, bound) = binder.items(items, Scope { sources: all, outer: None })?;
    Ok(Some((columns, bound)))
}

type Changed<'a> = (Option<&'a Row>, Option<&'a Arc<Row>>, Option<&'a Vec<Part>>);

#[allow(clippy::type_complexity)]
fn run_output<'a>(
    state: &State,
    scalars: &Scalars,
    variables: &Variables,
    target: &Target,
    output: Option<(Vec<Column>, Vec<Typed>)>,
    rows: impl Iterator<Item = Changed<'a>>,
) -> Result<Option<(Vec<Column>, Vec<Vec<Value>>)>> {
    let Some((columns, items)) = output else { return Ok(None) };
    let ctx = Ctx { state, scalars, variables, cache: RefCell::default() };
    let mut out = Vec::new();
    for (new, old, parts) in rows {
        let mut all: Vec<Part> = parts.cloned().unwrap_or_default();
        if let Some(new) = new {
            all.push(Part::Stored(Arc::new(new.clone()), Rc::clone(&target.types), None));
        }
        if let Some(old) = old {
            all.push(Part::Stored(Arc::clone(old), Rc::clone(&target.types), None));
        }
        let env = Env { ctx: &ctx, parts: &all, aggs: &[], outer: None };
        out.push(items.iter().map(|e| eval(e, &env)).collect::<Result<_>>()?);
    }
    Ok(Some((columns, out)))
}

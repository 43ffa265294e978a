//! Columns: what a definition means, and ALTER TABLE ADD, DROP and ALTER COLUMN.

use std::collections::BTreeMap;

use logferry_model::SqlType;

use super::super::ast::{ColumnSpec, Constraint, ConstraintKind, Expr};
use super::super::bind::{Binder, Scope, Source, TableAt};
use super::super::change::implicit;
use super::super::convert::convert;
use super::super::deparse::definition;
use super::super::error::{Result, SqlError, unsupported};
use super::super::eval::{Ctx, Env, eval};
use super::super::plan::Column;
use super::super::state::{self, ComputedDef, Scalars, State, TableMeta, from_storage};
use super::super::types;
use super::super::value::{Value, from_bytes, same_name, to_bytes};
use super::constraint::{add_constraints, check_existing, new_objects};
use super::index::note_constraints;
use super::table::wait_for_table;
use super::{Variables, meta_mut};
use logferry_mssql_standin_storage::{ColumnDef, Identity};

/// A column that a statement defines.
pub(super) struct Defined {
    pub column: Column,
    pub stored: ColumnDef,
    /// The expression of a computed one, and whether it is persisted.
    pub computed: Option<(Expr, bool)>,
}

/// What definitions mean, beside columns that are there already.
pub(super) fn columns_of(
    state: &State,
    scalars: &Scalars,
    specs: &[ColumnSpec],
    known: &[Column],
    table: &str,
) -> Result<Vec<Defined>> {
    let mut all: Vec<Column> = known.to_vec();
    let mut identity = known.iter().any(|c| c.identity);
    for spec in specs {
        if all.iter().any(|c| same_name(&c.name, &spec.name)) {
            return Err(SqlError::batch(
                2705,
                format!(
                    "Column names in each table must be unique. Column name '{}' in table '{table}' is specified more than once.",
                    spec.name
                ),
            )
            .state(3));
        }
        if spec.identity.is_some() {
            check_identity(spec, table, std::mem::replace(&mut identity, true))?;
        }
        let nullable = spec.nullable.unwrap_or(spec.identity.is_none() && spec.sql_type != SqlType::RowVersion);
        all.push(Column {
            name: spec.name.clone(),
            ty: spec.sql_type.clone(),
            nullable,
            identity: spec.identity.is_some(),
            computed: spec.computed.is_some(),
        });
    }
    let mut out = Vec::new();
    for (at, spec) in specs.iter().enumerate() {
        let mut column = all[known.len() + at].clone();
        if let Some((value, _)) = &spec.computed {
            // Computed columns are made of plain ones only.
            let plain = all
                .iter()
                .map(|c| Column { name: if c.computed { String::new() } else { c.name.clone() }, ..c.clone() });
            let own = Source {
                alias: table.to_owned(),
                schema: None,
                columns: plain.collect(),
                computed: Vec::new(),
                object: None,
            };
            let held = BTreeMap::new();
            let bound = Binder::new(state, scalars, &held).value(value, &Scope { sources: vec![own], outer: None })?;
            column.ty = bound.ty;
        }
        let narrow = |n: i128| i64::try_from(n).map_err(|_| unsupported("seeds of identity beyond bigint"));
        let identity = spec
            .identity
            .map(|(seed, increment, _)| Ok(Identity { seed: narrow(seed)?, increment: narrow(increment)? }));
        let stored = ColumnDef {
            name: column.name.clone(),
            sql_type: column.ty.clone(),
            nullable: column.nullable,
            identity: identity.transpose()?,
            computed: spec.computed.as_ref().is_some_and(|(_, persisted)| !persisted),
        };
        out.push(Defined { column, stored, computed: spec.computed.clone() });
    }
    Ok(out)
}

/// The identity column, as its definition has it.
pub(super) fn identity_of(columns: &[ColumnDef], specs: &[ColumnSpec]) -> Option<state::Identity> {
    let not_for_replication = specs.iter().any(|s| s.identity.is_some_and(|(_, _, not)| not));
    state::Identity::of(columns).map(|identity| state::Identity { not_for_replication, ..identity })
}

/// The ROWGUIDCOL of a table: one that it has, or one of those that come behind its columns.
pub(super) fn rowguid_of(known: &[Column], specs: &[ColumnSpec], had: Option<usize>) -> Result<Option<usize>> {
    let mut out = had;
    for (at, spec) in specs.iter().enumerate().filter(|(_, s)| s.rowguid) {
        if spec.sql_type != SqlType::UniqueIdentifier {
            return Err(unsupported("ROWGUIDCOL of a column that is no uniqueidentifier"));
        }
        if out.replace(known.len() + at).is_some() {
            return Err(SqlError::batch(8196, "Duplicate column specified as ROWGUIDCOL."));
        }
    }
    Ok(out)
}

/// The computed ones among columns, from a place on.
pub(super) fn computed_of(defined: &[Defined], first: usize) -> Vec<ComputedDef> {
    let of = |(at, d): (usize, &Defined)| {
        let (value, persisted) = d.computed.clone()?;
        Some(ComputedDef { column: first + at, text: definition(&value), value, persisted })
    };
    defined.iter().enumerate().filter_map(of).collect()
}

fn check_identity(spec: &ColumnSpec, table: &str, second: bool) -> Result<()> {
    let whole = types::is_integer(&spec.sql_type) && spec.sql_type != SqlType::Bit
        || matches!(spec.sql_type, SqlType::Decimal { scale: 0, .. });
    if !whole || spec.nullable == Some(true) {
        return Err(SqlError::batch(
            2749,
            format!(
                "Identity column '{}' must be of data type int, bigint, smallint, tinyint, or decimal or numeric with a scale of 0, unencrypted, and constrained to be nonnullable.",
                spec.name
            ),
        ));
    }
    if second {
        return Err(SqlError::batch(
            2744,
            format!(
                "Multiple identity columns specified for table '{table}'. Only one identity column per table is allowed."
            ),
        ));
    }
    if spec.identity.is_some_and(|(_, increment, _)| increment == 0) {
        return Err(SqlError::batch(2751, format!("Identity column '{}' contains invalid INCREMENT.", spec.name)));
    }
    Ok(())
}

/// ALTER TABLE ADD of columns.
pub(super) fn add_columns(
    state: &mut State,
    scalars: &Scalars,
    variables: &Variables,
    at: TableAt,
    specs: &[ColumnSpec],
    nocheck: bool,
) -> Result<()> {
    wait_for_table(state, scalars, at)?;
    let held = BTreeMap::new();
    let known = Binder::new(state, scalars, &held).table_columns(at);
    let (_, table) = state.db(at.database).table_name(at.table);
    let defined = columns_of(state, scalars, specs, &known, &table)?;
    let rows = state.db(at.database).storage.rows(at.table).next().is_some();
    let before = state.db(at.database).meta(at.table).clone();
    let (mut added, mut filled) = (Vec::new(), Vec::new());
    for (n, (spec, defined)) in specs.iter().zip(&defined).enumerate() {
        let place = known.len() + n;
        let default = spec.constraints.iter().find_map(|c| match &c.kind {
            ConstraintKind::Default { value, with_values, .. } => Some((value, *with_values)),
            _ => None,
        });
        let stored = &defined.stored;
        let given = stored.identity.is_some() || stored.sql_type == SqlType::RowVersion || stored.computed;
        if rows && !stored.nullable && default.is_none() && defined.computed.is_none() && !given {
            return Err(SqlError::batch(
                4901,
                format!(
                    "ALTER TABLE only allows columns to be added that can contain nulls, or have a DEFAULT definition specified, or the column being added is an identity or timestamp column, or alternatively if none of the previous conditions are satisfied the table must be empty to allow addition of this column. Column '{}' cannot be added to non-empty table '{table}' because it does not satisfy these conditions.",
                    spec.name
                ),
            ));
        }
        if rows && (stored.identity.is_some() || stored.sql_type == SqlType::RowVersion) {
            return Err(unsupported("adding an identity or rowversion column to a table with rows"));
        }
        added.push(stored.clone());
        let default = default.filter(|(_, with_values)| !stored.nullable || *with_values);
        let value = defined.computed.as_ref().map(|(value, _)| value).or(default.map(|(value, _)| value));
        filled.extend(value.filter(|_| rows && !stored.computed).map(|value| (place, value)));
    }
    state.db_mut(at.database).storage.add_columns(at.table, added).map_err(from_storage)?;
    for (n, (spec, defined)) in specs.iter().zip(&defined).enumerate() {
        if defined.stored.identity.is_some() {
            let columns = state.db(at.database).storage.table_def(at.table).map(|d| d.columns.clone());
            meta_mut(state, at).identity = identity_of(&columns.unwrap_or_default(), specs);
        }
        if spec.rowguid {
            meta_mut(state, at).rowguid = rowguid_of(&known, specs, before.rowguid)?;
        }
        let computed = computed_of(std::slice::from_ref(defined), known.len() + n);
        meta_mut(state, at).computed.extend(computed);
    }
    note_altered(state, at);
    let held = BTreeMap::new();
    let columns = Binder::new(state, scalars, &held).table_columns(at);
    let all = specs.iter().flat_map(|s| &s.constraints);
    let (defaults, others): (Vec<&Constraint>, Vec<&Constraint>) =
        all.partition(|c| matches!(c.kind, ConstraintKind::Default { .. }));
    add_constraints(state, scalars, at, &columns, &defaults, nocheck)?;
    if !filled.is_empty() {
        // A server writes the defaults, then the rows.
        note_constraints(state, at)?;
        fill(state, scalars, variables, at, &filled)?;
    }
    add_constraints(state, scalars, at, &columns, &others, nocheck)?;
    let objects = if nocheck { Vec::new() } else { new_objects(state, at, &before) };
    check_existing(state, scalars, variables, at, &objects)
}

/// Gives all rows values in columns: the columns' places, and what is in them.
fn fill(
    state: &mut State,
    scalars: &Scalars,
    variables: &Variables,
    at: TableAt,
    columns: &[(usize, &Expr)],
) -> Result<()> {
    let mut changes = Vec::new();
    {
        let state: &State = state;
        let held = BTreeMap::new();
        let mut binder = Binder::new(state, scalars, &held);
        let (_, source) = binder.table_source(at, 0)?;
        let types = std::rc::Rc::new(source.columns.iter().map(|c| c.ty.clone()).collect::<Vec<_>>());
        let scope = Scope { sources: vec![source], outer: None };
        let bound = columns.iter().map(|(place, value)| Ok((*place, binder.value(value, &scope)?)));
        let bound = bound.collect::<Result<Vec<_>>>()?;
        let ctx = Ctx { state, scalars, variables, cache: Default::default() };
        for (key, row) in state.db(at.database).storage.rows(at.table) {
            let parts = [super::super::plan::Part::Stored(row.clone(), std::rc::Rc::clone(&types), None)];
            let env = Env { ctx: &ctx, parts: &parts, aggs: &[], outer: None };
            let mut values = Vec::new();
            for (place, bound) in &bound {
                let value = implicit(eval(bound, &env)?, &bound.ty, &types[*place], ("", ""))?;
                values.push((*place, to_bytes(&types[*place], &value)?));
            }
            changes.push((key.clone(), values));
        }
    }
    state.db_mut(at.database).storage.fill_columns(at.table, &changes).map_err(from_storage)
}

/// ALTER TABLE DROP COLUMN.
pub(super) fn drop_column(
    state: &mut State,
    scalars: &Scalars,
    at: TableAt,
    name: &str,
    if_exists: bool,
) -> Result<()> {
    wait_for_table(state, scalars, at)?;
    let Some(place) = place_in(state, at, name) else {
        return match if_exists {
            true => Ok(()),
            false => {
                let (_, table) = state.db(at.database).table_name(at.table);
                Err(SqlError::batch(
                    4924,
                    format!(
                        "ALTER TABLE DROP COLUMN failed because column '{name}' does not exist in table '{table}'."
                    ),
                ))
            }
        };
    };
    refuse_if_used(state, at, place, name).map_err(|e| in_use(e, "DROP", name))?;
    state.db_mut(at.database).storage.drop_column(at.table, place).map_err(from_storage)?;
    without(meta_mut(state, at), place);
    let down = |c: &mut usize| *c -= usize::from(*c > place);
    for meta in state.db_mut(at.database).tables.values_mut() {
        for foreign in meta.foreign.iter_mut().filter(|f| f.table == at.table) {
            foreign.referenced.iter_mut().for_each(down);
        }
    }
    note_altered(state, at);
    Ok(())
}

/// ALTER TABLE ALTER COLUMN.
pub(super) fn alter_column(state: &mut State, scalars: &Scalars, at: TableAt, spec: &ColumnSpec) -> Result<()> {
    wait_for_table(state, scalars, at)?;
    let (schema, table) = state.db(at.database).table_name(at.table);
    let Some(place) = place_in(state, at, &spec.name) else {
        return Err(SqlError::batch(
            4924,
            format!(
                "ALTER TABLE ALTER COLUMN failed because column '{}' does not exist in table '{table}'.",
                spec.name
            ),
        ));
    };
    let db = state.db(at.database);
    let Some(old) = db.storage.table_def(at.table).and_then(|d| d.columns.get(place)).cloned() else { return Ok(()) };
    if old.computed || db.meta(at.table).computed.iter().any(|c| c.column == place) {
        return Err(SqlError::batch(4928, format!("Cannot alter column '{}' because it is 'COMPUTED'.", spec.name)));
    }
    if old.sql_type == SqlType::RowVersion {
        return Err(SqlError::batch(4928, format!("Cannot alter column '{}' because it is 'timestamp'.", spec.name)));
    }
    // Only the length of what varies may change under an index or a constraint.
    let varies = matches!(
        (&old.sql_type, &spec.sql_type),
        (SqlType::VarChar { .. }, SqlType::VarChar { .. })
            | (SqlType::NVarChar { .. }, SqlType::NVarChar { .. })
            | (SqlType::VarBinary { .. }, SqlType::VarBinary { .. })
    );
    if old.sql_type != spec.sql_type && !varies {
        refuse_if_used(state, at, place, &spec.name).map_err(|e| in_use(e, "ALTER", &spec.name))?;
    }
    let new = ColumnDef {
        sql_type: spec.sql_type.clone(),
        nullable: spec.nullable.unwrap_or(old.identity.is_none()),
        ..old.clone()
    };
    let db = state.db(at.database);
    let mut values = Vec::new();
    for (key, row) in db.storage.rows(at.table) {
        let value = row[place].as_deref().map_or(Value::Null, |b| from_bytes(&old.sql_type, b));
        if value.is_null() && !new.nullable {
            return Err(SqlError::new(
                515,
                format!(
                    "Cannot insert the value NULL into column '{}', table '{}.{schema}.{table}'; column does not allow nulls. UPDATE fails.",
                    old.name, db.name
                ),
            )
            .state(2));
        }
        let place_name = format!("{}.{schema}.{table}", db.name);
        let fits = match types::is_text(&new.sql_type) || types::is_bytes(&new.sql_type) {
            true => implicit(value, &old.sql_type, &new.sql_type, (&place_name, &old.name))?,
            false => convert(value, &old.sql_type, &new.sql_type, None)?,
        };
        values.push((key.clone(), to_bytes(&new.sql_type, &fits)?));
    }
    let storage = &mut state.db_mut(at.database).storage;
    storage.alter_column(at.table, place, new, &values).map_err(from_storage)?;
    note_altered(state, at);
    Ok(())
}

fn place_in(state: &State, at: TableAt, name: &str) -> Option<usize> {
    let def = state.db(at.database).storage.table_def(at.table)?;
    def.columns.iter().position(|c| same_name(&c.name, name))
}

/// What hangs on a column keeps it from going.
pub(super) fn refuse_if_used(state: &State, at: TableAt, place: usize, name: &str) -> Result<()> {
    let db = state.db(at.database);
    let meta = db.meta(at.table);
    let uses = |e: &Expr| names_column(e, name);
    let user = (meta.keys.iter())
        .find(|k| k.columns.iter().any(|(c, _)| *c == place) || k.included.contains(&place))
        .map(|k| k.name.clone())
        .or_else(|| meta.defaults.iter().find(|d| d.column == place).map(|d| d.name.clone()))
        .or_else(|| meta.checks.iter().find(|c| uses(&c.test)).map(|c| c.name.clone()))
        .or_else(|| meta.foreign.iter().find(|f| f.columns.contains(&place)).map(|f| f.name.clone()))
        .or_else(|| {
            let computed = meta.computed.iter().find(|c| c.column != place && uses(&c.value))?;
            db.storage.table_def(at.table)?.columns.get(computed.column).map(|c| c.name.clone())
        })
        .or_else(|| {
            let points = |f: &&super::super::state::ForeignDef| f.table == at.table && f.referenced.contains(&place);
            db.tables.values().flat_map(|t| &t.foreign).find(points).map(|f| f.name.clone())
        });
    match user {
        None => Ok(()),
        Some(user) => Err(SqlError::batch(5074, format!("The object '{user}' is dependent on column '{name}'."))),
    }
}

/// What is sent behind the name of what uses a column.
fn in_use(why: SqlError, what: &str, column: &str) -> SqlError {
    let message = format!("ALTER TABLE {what} COLUMN {column} failed because one or more objects access this column.");
    why.then(SqlError::batch(4922, message).state(9))
}

/// Whether an expression of one table names a column.
pub(super) fn names_column(e: &Expr, name: &str) -> bool {
    // The text of a definition has its names in brackets.
    definition(e).to_lowercase().contains(&format!("[{}]", name.replace(']', "]]").to_lowercase()))
}

/// A table's places when a column is gone.
fn without(meta: &mut TableMeta, place: usize) {
    let down = |c: &mut usize| *c -= usize::from(*c > place);
    meta.keys.iter_mut().for_each(|k| {
        k.columns.iter_mut().for_each(|(c, _)| down(c));
        k.included.iter_mut().for_each(down);
    });
    meta.defaults.iter_mut().for_each(|d| down(&mut d.column));
    meta.foreign.iter_mut().for_each(|f| f.columns.iter_mut().for_each(down));
    meta.checks.iter_mut().filter_map(|c| c.column.as_mut()).for_each(down);
    meta.rowguid = meta.rowguid.filter(|c| *c != place).map(|c| c - usize::from(c > place));
    meta.computed.retain(|c| c.column != place);
    meta.computed.iter_mut().for_each(|c| down(&mut c.column));
    match &mut meta.identity {
        Some(identity) if identity.column == place => meta.identity = None,
        Some(identity) => down(&mut identity.column),
        None => {}
    }
}

/// Snapshots that are older than this cannot read the table any more.
pub(super) fn note_altered(state: &mut State, at: TableAt) {
    let next = state.next_snapshot;
    meta_mut(state, at).altered = next;
    state.db(at.database).lookups.forget(at.table);
}

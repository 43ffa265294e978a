//! Keys, checks, defaults and references: CREATE TABLE and ALTER TABLE.

use std::cell::RefCell;
use std::collections::BTreeMap;

use logferry_model::SqlType;

use super::super::ast::{AlterTable, ColumnSpec, Constraint, ConstraintKind, Expr};
use super::super::bind::{Binder, Scope, TableAt};
use super::super::change::{column_part, one_column};
use super::super::deparse::definition;
use super::super::error::{Result, SqlError, unsupported};
use super::super::eval::{Ctx, Env, eval, truth};
use super::super::plan::{Column, Part};
use super::super::state::{
    CheckDef, Db, DefaultDef, ForeignDef, KeyDef, Scalars, State, Switch, TableMeta, from_storage,
};
use super::super::value::{Value, from_bytes, group_key, same_name};
use super::column::{add_columns, alter_column, drop_column, names_column};
use super::index::push_key;
use super::table::wait_for_table;
use super::{Variables, meta_mut, place_of};
use logferry_mssql_standin_storage::key_object;

fn cannot_find(name: &[String]) -> SqlError {
    SqlError::batch(
        4902,
        format!(
            "Cannot find the object \"{}\" because it does not exist or you do not have permissions.",
            name.join(".")
        ),
    )
}

/// What the names of keys that the server makes up end with: eight characters of the table's, and sixteen digits.
fn suffix(table: &str, id: u32) -> String {
    let head: String = table.chars().take(8).collect();
    format!("{head}__{:016X}", u64::from(id).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// The name that the server makes up for a primary key.
pub(super) fn key_name(table: &str, object: u32) -> String {
    format!("PK__{}", suffix(table, object))
}

/// The name that the server makes up for what belongs to a column, or to none alone: `DF__Orders__Freigh__0AD2A005`.
fn column_name(prefix: &str, table: &str, column: Option<&str>, object: u32) -> String {
    let head: String = table.chars().take(9).collect();
    match column {
        Some(column) => {
            let tail: String = column.chars().take(14 - head.chars().count()).collect();
            format!("{prefix}__{head}__{tail}__{object:08X}")
        }
        None => format!("{prefix}__{head}__{object:08X}"),
    }
}

/// Whether a constraint is the clustered primary key that CREATE TABLE has made with its table.
fn is_of_create_table(db: &Db, table: u32, kind: &ConstraintKind) -> bool {
    let primary = matches!(kind, ConstraintKind::Key { primary: true, .. });
    primary && db.storage.key_name(table).is_some() && !db.meta(table).keys.iter().any(|k| k.clustered)
}

pub(super) fn add_constraints(
    state: &mut State,
    scalars: &Scalars,
    at: TableAt,
    columns: &[Column],
    constraints: &[&Constraint],
    nocheck: bool,
) -> Result<()> {
    add_each(state, scalars, at, columns, constraints, nocheck).map_err(|e| match e.number {
        1505 | 1763 | 1767 | 1776 | 1779 | 1902 | 1911 | 2714 | 8111 => not_created(e),
        _ => e,
    })
}

/// What is sent behind the reason why there is no constraint.
pub(super) fn not_created(why: SqlError) -> SqlError {
    why.then(SqlError::batch(1750, "Could not create constraint or index. See previous errors."))
}

fn add_each(
    state: &mut State,
    scalars: &Scalars,
    at: TableAt,
    columns: &[Column],
    constraints: &[&Constraint],
    nocheck: bool,
) -> Result<()> {
    let (_, table) = state.db(at.database).table_name(at.table);
    for constraint in constraints {
        if let Some(name) = &constraint.name
            && constraint_named(state, at.database, name)
        {
            return Err(
                SqlError::batch(2714, format!("There is already an object named '{name}' in the database.")).state(5)
            );
        }
        let own = is_of_create_table(state.db(at.database), at.table, &constraint.kind);
        let id = if own { key_object(at.table) } else { state.db_mut(at.database).object_id()? };
        let named = |made_up: &dyn Fn() -> String| constraint.name.clone().unwrap_or_else(made_up);
        let named_by_system = constraint.name.is_none();
        let not_for_replication = constraint.not_for_replication;
        // What replication need not keep is never trusted.
        let switch = Switch { disabled: false, not_trusted: nocheck || not_for_replication, not_for_replication };
        match &constraint.kind {
            ConstraintKind::Key { primary, clustered, columns: key } => {
                let meta = state.db(at.database).meta(at.table);
                let stored = state.db(at.database).storage.key_name(at.table);
                let given = meta.keys.iter().find(|k| k.clustered);
                let clustered = match clustered {
                    Some(clustered) => *clustered,
                    None => {
                        own || *primary && given.is_none() && !meta.keys.iter().any(|k| k.primary) && stored.is_none()
                    }
                };
                if *primary && meta.keys.iter().any(|k| k.primary) {
                    let message = format!("Table '{table}' already has a primary key defined on it.");
                    return Err(SqlError::batch(1779, message).state(0));
                }
                if let (true, Some(known)) = (clustered, given) {
                    return Err(super::index::second_clustered(&table, &known.name));
                }
                let mut places = Vec::new();
                for (column, descending) in key {
                    let place = place_of(columns, column, &table)?;
                    if *primary && columns[place].nullable {
                        let message =
                            format!("Cannot define PRIMARY KEY constraint on nullable column in table '{table}'.");
                        return Err(SqlError::batch(8111, message));
                    }
                    if *descending && clustered {
                        return Err(unsupported("clustered keys in descending order"));
                    }
                    places.push((place, *descending));
                }
                let meta = state.db(at.database).meta(at.table);
                let next = meta.keys.iter().map(|k| k.index_id).max().unwrap_or(1).max(1) + 1;
                let known = state.db(at.database).storage.key_name(at.table).filter(|_| own);
                let key = KeyDef {
                    name: known.unwrap_or_else(|| {
                        named(&|| format!("{}__{}", if *primary { "PK" } else { "UQ" }, suffix(&table, id)))
                    }),
                    object: Some(id),
                    primary: *primary,
                    unique: true,
                    clustered,
                    index_id: if clustered { 1 } else { next },
                    columns: places,
                    included: Vec::new(),
                    named_by_system,
                };
                push_key(state, at, key)?;
            }
            ConstraintKind::Check(test) => {
                let held = BTreeMap::new();
                let mut binder = Binder::new(state, scalars, &held);
                let (_, source) = binder.table_source(at, 0)?;
                binder.condition(test, &Scope { sources: vec![source], outer: None })?;
                let column = of_column(columns, constraint.column.as_deref(), test, &table)?;
                let check = CheckDef {
                    name: named(&|| column_name("CK", &table, constraint.column.as_deref(), id)),
                    object: id,
                    column,
                    test: test.clone(),
                    text: definition(test),
                    named_by_system,
                    switch,
                };
                meta_mut(state, at).checks.push(check);
            }
            ConstraintKind::Default { column, value, .. } => {
                let column = place_of(columns, column, &table)?;
                let held = BTreeMap::new();
                Binder::new(state, scalars, &held).value(value, &Scope::EMPTY)?;
                let meta = meta_mut(state, at);
                if meta.defaults.iter().any(|d| d.column == column) {
                    return Err(SqlError::batch(1781, "Column already has a DEFAULT bound to it."));
                }
                meta.defaults.push(DefaultDef {
                    name: named(&|| column_name("DF", &table, Some(&columns[column].name), id)),
                    object: id,
                    column,
                    value: value.clone(),
                    text: definition(value),
                    named_by_system,
                });
            }
            ConstraintKind::Foreign { columns: own, table: other, referenced } => {
                let found = state.find_table(scalars, other)?.ok_or_else(|| {
                    SqlError::batch(1767, format!("Foreign key references invalid table '{}'.", other.join(".")))
                        .state(0)
                })?;
                if found.database != at.database {
                    return Err(
                        SqlError::batch(1763, "Cross-database foreign key references are not supported.").state(0)
                    );
                }
                let own: Vec<usize> = own.iter().map(|c| place_of(columns, c, &table)).collect::<Result<_>>()?;
                let db = state.db(found.database);
                let keys = &db.meta(found.table).keys;
                let referenced: Vec<usize> = if referenced.is_empty() {
                    keys.iter()
                        .find(|k| k.primary)
                        .map(|k| k.columns.iter().map(|(c, _)| *c).collect())
                        .unwrap_or_default()
                } else {
                    let def = db.storage.table_def(found.table);
                    let place =
                        |name: &String| def.and_then(|d| d.columns.iter().position(|c| same_name(&c.name, name)));
                    referenced.iter().filter_map(place).collect()
                };
                let matches = |k: &KeyDef| {
                    let mut a: Vec<usize> = k.columns.iter().map(|(c, _)| *c).collect();
                    let mut b = referenced.clone();
                    a.sort_unstable();
                    b.sort_unstable();
                    k.unique && a == b
                };
                if own.len() != referenced.len() || !keys.iter().any(matches) {
                    return Err(SqlError::batch(
                        1776,
                        format!("There are no primary or candidate keys in the referenced table '{}' that match the referencing column list in the foreign key.", other.join(".")),
                    )
                    .state(0));
                }
                let only = Some(&own).filter(|own| own.len() == 1).map(|own| own[0]);
                let foreign = ForeignDef {
                    name: named(&|| column_name("FK", &table, only.map(|at| &*columns[at].name), id)),
                    object: id,
                    columns: own,
                    table: found.table,
                    referenced,
                    named_by_system,
                    switch,
                };
                meta_mut(state, at).foreign.push(foreign);
            }
        }
    }
    Ok(())
}

/// The column that a check is of: the one in whose definition it stands, or the only one that it names.
fn of_column(columns: &[Column], own: Option<&str>, test: &Expr, table: &str) -> Result<Option<usize>> {
    let named: Vec<usize> = (0..columns.len()).filter(|at| names_column(test, &columns[*at].name)).collect();
    let Some(own) = own else { return Ok(Some(named).filter(|n| n.len() == 1).map(|n| n[0])) };
    let place = place_of(columns, own, table)?;
    match named.iter().all(|at| *at == place) {
        true => Ok(Some(place)),
        false => Err(SqlError::batch(
            8141,
            format!("Column CHECK constraint for column '{own}' references another column, table '{table}'."),
        )
        .state(0)),
    }
}

pub(super) fn constraint_named(state: &State, database: usize, name: &str) -> bool {
    state.db(database).tables.values().any(|t| {
        t.keys.iter().any(|k| k.object.is_some() && same_name(&k.name, name))
            || t.checks.iter().any(|c| same_name(&c.name, name))
            || t.defaults.iter().any(|d| same_name(&d.name, name))
            || t.foreign.iter().any(|f| same_name(&f.name, name))
    })
}

pub(crate) fn alter_table(
    state: &mut State,
    scalars: &Scalars,
    variables: &Variables,
    table: &[String],
    change: &AlterTable,
) -> Result<()> {
    let at = state.find_table(scalars, table)?.ok_or_else(|| cannot_find(table))?;
    match change {
        AlterTable::Switch { enable, with_check, names } => {
            switch_constraints(state, (scalars, variables), at, (*enable, *with_check), names)
        }
        AlterTable::Rebuild => super::index::maintain_index(state, scalars, None, table, false),
        AlterTable::LockEscalation => {
            wait_for_table(state, scalars, at)?;
            state.db_mut(at.database).storage.note_escalation(at.table).map_err(from_storage)
        }
        AlterTable::Add { columns, constraints, nocheck } => {
            let (columns, constraints) = with_defaults(columns, constraints);
            if !columns.is_empty() {
                add_columns(state, scalars, variables, at, &columns, *nocheck)?;
            }
            let held = BTreeMap::new();
            let columns = Binder::new(state, scalars, &held).table_columns(at);
            for constraint in constraints {
                let known = state.db(at.database).meta(at.table).clone();
                add_constraints(state, scalars, at, &columns, &[constraint], *nocheck)?;
                let objects = if *nocheck { Vec::new() } else { new_objects(state, at, &known) };
                if let Err(e) = check_existing(state, scalars, variables, at, &objects) {
                    *meta_mut(state, at) = known;
                    return Err(e);
                }
            }
            Ok(())
        }
        AlterTable::Alter(spec) => alter_column(state, scalars, at, spec),
        AlterTable::Drop { columns, constraints, if_exists } => {
            for name in constraints {
                drop_constraint(state, at, name, *if_exists)?;
            }
            for name in columns {
                drop_column(state, scalars, at, name, *if_exists)?;
            }
            Ok(())
        }
    }
}

/// Columns that are added, and the constraints beside them. A default for one of the columns is as one that stands in it.
fn with_defaults<'a>(columns: &[ColumnSpec], constraints: &'a [Constraint]) -> (Vec<ColumnSpec>, Vec<&'a Constraint>) {
    let (mut columns, mut others) = (columns.to_vec(), Vec::new());
    for constraint in constraints {
        let of_new = match &constraint.kind {
            ConstraintKind::Default { column, .. } => columns.iter_mut().find(|c| same_name(&c.name, column)),
            _ => None,
        };
        match of_new {
            Some(column) => column.constraints.push(constraint.clone()),
            None => others.push(constraint),
        }
    }
    (columns, others)
}

fn drop_constraint(state: &mut State, at: TableAt, name: &str, if_exists: bool) -> Result<()> {
    let meta = meta_mut(state, at);
    let is = |n: &String| same_name(n, name);
    if meta.keys.iter().any(|k| k.clustered && is(&k.name)) {
        return Err(unsupported("ALTER TABLE ... DROP of a clustered key"));
    }
    let before = (meta.keys.len(), meta.checks.len(), meta.defaults.len(), meta.foreign.len());
    meta.keys.retain(|k| k.object.is_none() || !is(&k.name));
    meta.checks.retain(|c| !is(&c.name));
    meta.defaults.retain(|d| !is(&d.name));
    meta.foreign.retain(|f| !is(&f.name));
    if !if_exists && before == (meta.keys.len(), meta.checks.len(), meta.defaults.len(), meta.foreign.len()) {
        let then = SqlError::batch(3727, "Could not drop constraint. See previous errors.").state(0);
        return Err(SqlError::batch(3728, format!("'{name}' is not a constraint.")).then(then));
    }
    Ok(())
}

/// Checks and foreign keys that a table did not have before.
pub(super) fn new_objects(state: &State, at: TableAt, known: &TableMeta) -> Vec<u32> {
    let had: Vec<u32> = switched(known).collect();
    switched(state.db(at.database).meta(at.table)).filter(|object| !had.contains(object)).collect()
}

fn switched(meta: &TableMeta) -> impl Iterator<Item = u32> {
    meta.checks.iter().map(|c| c.object).chain(meta.foreign.iter().map(|f| f.object))
}

/// How the checks and foreign keys of a table are switched.
pub(crate) fn switches(db: &mut Db, table: u32) -> impl Iterator<Item = &mut Switch> {
    let meta = db.tables.get_mut(&table).into_iter();
    meta.flat_map(|m| m.checks.iter_mut().map(|c| &mut c.switch).chain(m.foreign.iter_mut().map(|f| &mut f.switch)))
}

/// CHECK CONSTRAINT and NOCHECK CONSTRAINT.
fn switch_constraints(
    state: &mut State,
    (scalars, variables): (&Scalars, &Variables),
    at: TableAt,
    (enable, with_check): (bool, bool),
    names: &[String],
) -> Result<()> {
    wait_for_table(state, scalars, at)?;
    let meta = state.db(at.database).meta(at.table);
    let mut objects: Vec<u32> = if names.is_empty() { switched(meta).collect() } else { Vec::new() };
    if names.is_empty() && objects.is_empty() {
        return state.db_mut(at.database).storage.switch_nothing(at.table).map_err(from_storage);
    }
    for name in names {
        let check = meta.checks.iter().find(|c| same_name(&c.name, name)).map(|c| c.object);
        let found = check.or_else(|| meta.foreign.iter().find(|f| same_name(&f.name, name)).map(|f| f.object));
        objects.push(found.ok_or_else(|| match meta.constraint_names().any(|known| same_name(known, name)) {
            true => SqlError::batch(
                11415,
                format!("Object '{name}' cannot be disabled or enabled. This action applies only to foreign key and check constraints."),
            ),
            false => SqlError::batch(4917, format!("Constraint '{name}' does not exist.")).state(0),
        })?);
    }
    if enable && with_check {
        check_existing(state, scalars, variables, at, &objects)?;
    }
    let meta = meta_mut(state, at);
    let checks = meta.checks.iter_mut().map(|c| (c.object, &mut c.switch));
    for (object, switch) in checks.chain(meta.foreign.iter_mut().map(|f| (f.object, &mut f.switch))) {
        if objects.contains(&object) {
            switch.disabled = !enable;
            switch.not_trusted = match enable && with_check {
                true => switch.not_for_replication,
                false => switch.not_trusted || !enable,
            };
        }
    }
    Ok(())
}

/// Rows that are there keep these checks and foreign keys.
pub(super) fn check_existing(
    state: &State,
    scalars: &Scalars,
    variables: &Variables,
    at: TableAt,
    objects: &[u32],
) -> Result<()> {
    let db = state.db(at.database);
    let meta = db.meta(at.table);
    let types = std::rc::Rc::new(db.types(at.table));
    let held = BTreeMap::new();
    let mut binder = Binder::new(state, scalars, &held);
    let (_, source) = binder.table_source(at, 0)?;
    let scope = Scope { sources: vec![source], outer: None };
    let ctx = Ctx { state, scalars, variables, cache: RefCell::default() };
    let (schema, name) = db.table_name(at.table);
    for check in meta.checks.iter().filter(|c| objects.contains(&c.object)) {
        let test = binder.condition(&check.test, &scope)?;
        for (_, row) in db.storage.rows(at.table) {
            let parts = [Part::Stored(row.clone(), std::rc::Rc::clone(&types), None)];
            let env = Env { ctx: &ctx, parts: &parts, aggs: &[], outer: None };
            if truth(&eval(&test, &env)?) == Some(false) {
                return Err(SqlError::batch(
                    547,
                    format!("The ALTER TABLE statement conflicted with the CHECK constraint \"{}\". The conflict occurred in database \"{}\", table \"{schema}.{name}\"{}.", check.name, db.name, column_part(db, at.table, check.column)),
                )
                .state(0));
            }
        }
    }
    for foreign in meta.foreign.iter().filter(|f| objects.contains(&f.object)) {
        let other = db.types(foreign.table);
        let key = |row: &logferry_mssql_standin_storage::Row, types: &[SqlType], columns: &[usize]| {
            let (mut key, mut null) = (Vec::new(), false);
            for c in columns {
                let v = row[*c].as_deref().map_or(Value::Null, |b| from_bytes(&types[*c], b));
                null |= v.is_null();
                group_key(&v, &mut key);
            }
            (key, null)
        };
        let there: std::collections::HashSet<Vec<u8>> =
            db.storage.rows(foreign.table).map(|(_, r)| key(r, &other, &foreign.referenced).0).collect();
        let lost = db
            .storage
            .rows(at.table)
            .map(|(_, r)| key(r, &types, &foreign.columns))
            .any(|(k, null)| !null && !there.contains(&k));
        if lost {
            let (schema, name) = db.table_name(foreign.table);
            return Err(SqlError::batch(
                547,
                format!("The ALTER TABLE statement conflicted with the FOREIGN KEY constraint \"{}\". The conflict occurred in database \"{}\", table \"{schema}.{name}\"{}.", foreign.name, db.name, column_part(db, foreign.table, one_column(&foreign.referenced))),
            )
            .state(0));
        }
    }
    Ok(())
}

//! Statements that define things. Each is a transaction of its own: ROLLBACK does not undo them, as it would on a server.

use std::cell::RefCell;
use std::collections::BTreeMap;

use logferry_model::SqlType;

use super::ast::{AlterTable, Constraint, ConstraintKind, CreateTable, IndexDef};
use super::bind::{Binder, Scope, TableAt};
use super::error::{Result, SqlError, invalid_object, unsupported};
use super::eval::{Ctx, Env, eval, truth};
use super::plan::{Column, Part};
use super::session::BLOCKED;
use super::state::{
    CheckDef, DefaultDef, ForeignDef, Identity, KeyDef, SYSTEM_DATABASES, Scalars, State, TableMeta, from_storage,
};
use super::time::to_300ths;
use super::types;
use super::value::{DAYS_TO_1900, Value, from_bytes, group_key, same_name};
use crate::storage::{ColumnDef, TableDef, key_object};

type Variables = RefCell<BTreeMap<String, (SqlType, Value)>>;

fn now(scalars: &Scalars) -> Value {
    Value::DateTime(scalars.now.0 - DAYS_TO_1900, to_300ths(scalars.now.1))
}

fn cannot_find(name: &[String]) -> SqlError {
    SqlError::batch(
        4902,
        format!(
            "Cannot find the object \"{}\" because it does not exist or you do not have permissions.",
            name.join(".")
        ),
    )
}

pub(crate) fn create_schema(state: &mut State, scalars: &Scalars, name: &str) -> Result<()> {
    if state.find_schema(scalars.database, name).is_some() {
        return Err(
            SqlError::batch(2714, format!("There is already an object named '{name}' in the database.")).state(6)
        );
    }
    state.db_mut(scalars.database).storage.create_schema(name).map(drop).map_err(from_storage)
}

/// Eight digits for the names that the server makes up.
fn suffix(table: &str, id: u32) -> String {
    let head: String = table.chars().take(9).collect();
    format!("{head}__{:016X}", u64::from(id).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

fn place_of(columns: &[Column], name: &str, table: &str) -> Result<usize> {
    columns.iter().position(|c| same_name(&c.name, name)).ok_or_else(|| {
        SqlError::batch(1911, format!("Column name '{name}' does not exist in the target table or view."))
            .at_line(u32::from(table.is_empty()))
    })
}

pub(crate) fn create_table(state: &mut State, scalars: &mut Scalars, stmt: &CreateTable) -> Result<()> {
    let (database, schema, name) = state.resolve(scalars, &stmt.name)?;
    if state.find_table(scalars, &stmt.name)?.is_some() {
        return Err(
            SqlError::batch(2714, format!("There is already an object named '{name}' in the database.")).state(6)
        );
    }
    let Some((schema, _)) = state.find_schema(database, &schema) else {
        return Err(SqlError::batch(
            2760,
            format!(
                "The specified schema name \"{schema}\" either does not exist or you do not have permission to use it."
            ),
        ));
    };
    let mut columns: Vec<Column> = Vec::new();
    let mut constraints: Vec<&Constraint> = Vec::new();
    for spec in &stmt.columns {
        if columns.iter().any(|c| same_name(&c.name, &spec.name)) {
            return Err(SqlError::batch(
                2705,
                format!("Column names in each table must be unique. Column name '{}' in table '{name}' is specified more than once.", spec.name),
            )
            .state(3));
        }
        if spec.identity.is_some_and(|i| i != (1, 1)) {
            return Err(unsupported("IDENTITY with another seed or increment than 1"));
        }
        if spec.identity.is_some() {
            let whole = types::is_integer(&spec.sql_type) && spec.sql_type != SqlType::Bit
                || matches!(spec.sql_type, SqlType::Decimal { scale: 0, .. });
            if !whole {
                return Err(SqlError::batch(
                    2749,
                    format!(
                        "Identity column '{}' must be of data type int, bigint, smallint, tinyint, or decimal or numeric with a scale of 0, unencrypted, and constrained to be nonnullable.",
                        spec.name
                    ),
                ));
            }
            if columns.iter().any(|c| c.identity) {
                return Err(SqlError::batch(
                    2744,
                    format!(
                        "Multiple identity columns specified for table '{name}'. Only one identity column per table is allowed."
                    ),
                ));
            }
        }
        let nullable = spec.nullable.unwrap_or(spec.identity.is_none() && spec.sql_type != SqlType::RowVersion);
        columns.push(Column {
            name: spec.name.clone(),
            ty: spec.sql_type.clone(),
            nullable,
            identity: spec.identity.is_some(),
        });
        constraints.extend(&spec.constraints);
    }
    constraints.extend(&stmt.constraints);
    let mut primary: Option<(Vec<usize>, bool)> = None;
    for constraint in &constraints {
        if let ConstraintKind::Key { primary: true, clustered, columns: key } = &constraint.kind {
            if primary.is_some() {
                return Err(SqlError::batch(
                    8110,
                    format!("Cannot add multiple PRIMARY KEY constraints to table '{name}'."),
                )
                .state(0));
            }
            let mut places = Vec::new();
            for (column, descending) in key {
                let at = place_of(&columns, column, &name)?;
                let declared = stmt.columns.get(at).and_then(|c| c.nullable);
                if declared == Some(true) {
                    return Err(SqlError::batch(
                        8111,
                        format!("Cannot define PRIMARY KEY constraint on nullable column in table '{name}'."),
                    ));
                }
                if *descending && *clustered != Some(false) {
                    return Err(unsupported("clustered keys in descending order"));
                }
                columns[at].nullable = false;
                places.push(at);
            }
            primary = Some((places, *clustered != Some(false)));
        }
        if let ConstraintKind::Key { primary: false, clustered: Some(true), .. } = &constraint.kind {
            return Err(unsupported("clustered unique constraints"));
        }
    }
    if stmt.indexes.iter().any(|i| i.clustered) {
        return Err(unsupported("clustered indexes that are no primary key"));
    }
    let clustered = primary.as_ref().filter(|(_, c)| *c).map(|(p, _)| p.clone()).unwrap_or_default();
    let def = TableDef {
        schema,
        name: name.clone(),
        columns: columns
            .iter()
            .map(|c| ColumnDef {
                name: c.name.clone(),
                sql_type: c.ty.clone(),
                nullable: c.nullable,
                identity: c.identity,
            })
            .collect(),
        primary_key: clustered,
    };
    let created = now(scalars);
    let db = state.db_mut(database);
    let table = db.storage.create_table(def).map_err(from_storage)?;
    let meta = TableMeta {
        created: Some(created),
        identity: columns.iter().position(|c| c.identity).map(|column| Identity { column, last: None }),
        ..TableMeta::default()
    };
    db.tables.insert(table, meta);
    let at = TableAt { database, table };
    let added = add_constraints(state, scalars, at, &columns, &constraints)
        .and_then(|()| stmt.indexes.iter().try_for_each(|index| add_index(state, at, &columns, index)));
    if added.is_err() {
        let db = state.db_mut(database);
        db.tables.remove(&table);
        db.storage.drop_table(table).map_err(from_storage)?;
    }
    added
}

/// A table without keys: SELECT INTO.
pub(crate) fn create_plain(
    state: &mut State,
    scalars: &Scalars,
    name: &[String],
    columns: &[Column],
) -> Result<TableAt> {
    let (database, schema, table) = state.resolve(scalars, name)?;
    if state.find_table(scalars, name)?.is_some() {
        return Err(
            SqlError::batch(2714, format!("There is already an object named '{table}' in the database.")).state(6)
        );
    }
    if let Some(at) = columns.iter().position(|c| c.name.is_empty()) {
        return Err(SqlError::batch(
            1038,
            format!("An object or column name is missing or empty. Column {} has no name.", at + 1),
        )
        .class(15));
    }
    let Some((schema, _)) = state.find_schema(database, &schema) else { return Err(invalid_object(&name.join("."))) };
    let def = TableDef {
        schema,
        name: table,
        columns: columns
            .iter()
            .map(|c| ColumnDef {
                name: c.name.clone(),
                sql_type: c.ty.clone(),
                nullable: c.nullable,
                identity: c.identity,
            })
            .collect(),
        primary_key: Vec::new(),
    };
    let created = now(scalars);
    let db = state.db_mut(database);
    let table = db.storage.create_table(def).map_err(from_storage)?;
    let identity = columns.iter().position(|c| c.identity).map(|column| Identity { column, last: None });
    db.tables.insert(table, TableMeta { created: Some(created), identity, ..TableMeta::default() });
    Ok(TableAt { database, table })
}

fn add_constraints(
    state: &mut State,
    scalars: &Scalars,
    at: TableAt,
    columns: &[Column],
    constraints: &[&Constraint],
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
        let id = state.db_mut(at.database).constraint_id();
        let named =
            |prefix: &str| constraint.name.clone().unwrap_or_else(|| format!("{prefix}__{}", suffix(&table, id)));
        let named_by_system = constraint.name.is_none();
        match &constraint.kind {
            ConstraintKind::Key { primary, clustered, columns: key } => {
                let clustered = *primary && *clustered != Some(false);
                let mut places = Vec::new();
                for (column, descending) in key {
                    places.push((place_of(columns, column, &table)?, *descending));
                }
                let meta = state.db(at.database).meta(at.table);
                let next = meta.keys.iter().map(|k| k.index_id).max().unwrap_or(1).max(1) + 1;
                let key = KeyDef {
                    name: named(if *primary { "PK" } else { "UQ" }),
                    object: Some(if clustered { key_object(at.table) } else { id }),
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
            ConstraintKind::Check { test, text } => {
                let held = BTreeMap::new();
                let mut binder = Binder::new(state, scalars, &held);
                let (_, source) = binder.table_source(at, 0);
                binder.condition(test, &Scope { sources: vec![source], outer: None })?;
                let check =
                    CheckDef { name: named("CK"), object: id, test: test.clone(), text: text.clone(), named_by_system };
                meta_mut(state, at).checks.push(check);
            }
            ConstraintKind::Default { column, value, text } => {
                let column = place_of(columns, column, &table)?;
                let held = BTreeMap::new();
                Binder::new(state, scalars, &held).value(value, &Scope::EMPTY)?;
                let meta = meta_mut(state, at);
                if meta.defaults.iter().any(|d| d.column == column) {
                    return Err(SqlError::batch(1781, "Column already has a DEFAULT bound to it."));
                }
                meta.defaults.push(DefaultDef {
                    name: named("DF"),
                    object: id,
                    column,
                    value: value.clone(),
                    text: text.clone(),
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
                let foreign = ForeignDef {
                    name: named("FK"),
                    object: id,
                    columns: own,
                    table: found.table,
                    referenced,
                    named_by_system,
                };
                meta_mut(state, at).foreign.push(foreign);
            }
        }
    }
    Ok(())
}

fn meta_mut(state: &mut State, at: TableAt) -> &mut TableMeta {
    state.db_mut(at.database).tables.entry(at.table).or_default()
}

fn constraint_named(state: &State, database: usize, name: &str) -> bool {
    state.db(database).tables.values().any(|t| {
        t.keys.iter().any(|k| k.object.is_some() && same_name(&k.name, name))
            || t.checks.iter().any(|c| same_name(&c.name, name))
            || t.defaults.iter().any(|d| same_name(&d.name, name))
            || t.foreign.iter().any(|f| same_name(&f.name, name))
    })
}

/// Adds a key after looking whether the rows that are there keep it.
fn push_key(state: &mut State, at: TableAt, key: KeyDef) -> Result<()> {
    let db = state.db(at.database);
    if key.unique {
        let types = db.types(at.table);
        let mut seen = std::collections::HashSet::new();
        let mut twice = false;
        for (_, row) in db.storage.rows(at.table) {
            let mut value = Vec::new();
            for (column, _) in &key.columns {
                let v = row[*column].as_deref().map_or(Value::Null, |b| from_bytes(&types[*column], b));
                group_key(&v, &mut value);
            }
            twice |= !seen.insert(value);
        }
        if twice {
            let (schema, name) = db.table_name(at.table);
            return Err(SqlError::batch(
                1505,
                format!(
                    "The CREATE UNIQUE INDEX statement terminated because a duplicate key was found for the object name '{schema}.{name}' and the index name '{}'.",
                    key.name
                ),
            ));
        }
    }
    meta_mut(state, at).keys.push(key);
    Ok(())
}

fn add_index(state: &mut State, at: TableAt, columns: &[Column], index: &IndexDef) -> Result<()> {
    if index.clustered {
        return Err(unsupported("clustered indexes that are no primary key"));
    }
    if index.filtered {
        return Err(unsupported("filtered indexes"));
    }
    let (_, table) = state.db(at.database).table_name(at.table);
    let meta = state.db(at.database).meta(at.table);
    if meta.keys.iter().any(|k| same_name(&k.name, &index.name)) {
        return Err(SqlError::batch(
            1913,
            format!(
                "The operation failed because an index or statistics with name '{}' already exists on table '{table}'.",
                index.name
            ),
        ));
    }
    let index_id = meta.keys.iter().map(|k| k.index_id).max().unwrap_or(1).max(1) + 1;
    let places = index.columns.iter().map(|(c, d)| Ok((place_of(columns, c, &table)?, *d))).collect::<Result<_>>()?;
    let included = index.included.iter().map(|c| place_of(columns, c, &table)).collect::<Result<_>>()?;
    let key = KeyDef {
        name: index.name.clone(),
        object: None,
        primary: false,
        unique: index.unique,
        clustered: false,
        index_id,
        columns: places,
        included,
        named_by_system: false,
    };
    push_key(state, at, key)
}

pub(crate) fn create_index(state: &mut State, scalars: &Scalars, index: &IndexDef, table: &[String]) -> Result<()> {
    let at = state.find_table(scalars, table)?.ok_or_else(|| {
        SqlError::batch(
            1088,
            format!(
                "Cannot find the object \"{}\" because it does not exist or you do not have permissions.",
                table.join(".")
            ),
        )
        .state(12)
    })?;
    let held = BTreeMap::new();
    let columns = Binder::new(state, scalars, &held).table_columns(at);
    add_index(state, at, &columns, index)
}

pub(crate) fn drop_index(
    state: &mut State,
    scalars: &Scalars,
    index: &str,
    table: &[String],
    if_exists: bool,
) -> Result<()> {
    let found = state.find_table(scalars, table)?;
    let missing = || {
        SqlError::batch(
            3701,
            format!(
                "Cannot drop the index '{}.{index}', because it does not exist or you do not have permission.",
                table.join(".")
            ),
        )
        .class(11)
        .state(7)
    };
    let Some(at) = found else { return if if_exists { Ok(()) } else { Err(missing()) } };
    let meta = meta_mut(state, at);
    match meta.keys.iter().position(|k| same_name(&k.name, index)) {
        Some(n) if meta.keys[n].object.is_some() => Err(SqlError::batch(
            3723,
            format!("An explicit DROP INDEX is not allowed on index '{}.{index}'. It is being used for {} constraint enforcement.", table.join("."), if meta.keys[n].primary { "PRIMARY KEY" } else { "UNIQUE KEY" }),
        )
        .state(4)),
        Some(n) => {
            meta.keys.remove(n);
            Ok(())
        }
        None if if_exists => Ok(()),
        None => Err(missing()),
    }
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
        AlterTable::Check => Ok(()),
        AlterTable::Add(constraints) => {
            let held = BTreeMap::new();
            let columns = Binder::new(state, scalars, &held).table_columns(at);
            for constraint in constraints {
                if matches!(constraint.kind, ConstraintKind::Key { primary: true, clustered: None | Some(true), .. }) {
                    return Err(unsupported("ALTER TABLE ... ADD PRIMARY KEY CLUSTERED (declare it in CREATE TABLE)"));
                }
                let known = state.db(at.database).meta(at.table).clone();
                add_constraints(state, scalars, at, &columns, &[constraint])?;
                if let Err(e) = check_existing(state, scalars, variables, at) {
                    *meta_mut(state, at) = known;
                    return Err(e);
                }
            }
            Ok(())
        }
        AlterTable::DropConstraint(names) => {
            for name in names {
                let meta = meta_mut(state, at);
                let is = |n: &String| same_name(n, name);
                if meta.keys.iter().any(|k| k.clustered && is(&k.name)) {
                    return Err(unsupported("ALTER TABLE ... DROP of a clustered primary key"));
                }
                let before = (meta.keys.len(), meta.checks.len(), meta.defaults.len(), meta.foreign.len());
                meta.keys.retain(|k| k.object.is_none() || !is(&k.name));
                meta.checks.retain(|c| !is(&c.name));
                meta.defaults.retain(|d| !is(&d.name));
                meta.foreign.retain(|f| !is(&f.name));
                if before == (meta.keys.len(), meta.checks.len(), meta.defaults.len(), meta.foreign.len()) {
                    return Err(SqlError::batch(3728, format!("'{name}' is not a constraint.")));
                }
            }
            Ok(())
        }
    }
}

/// Rows that are there keep the checks and foreign keys.
fn check_existing(state: &State, scalars: &Scalars, variables: &Variables, at: TableAt) -> Result<()> {
    let db = state.db(at.database);
    let meta = db.meta(at.table);
    let types = std::rc::Rc::new(db.types(at.table));
    let held = BTreeMap::new();
    let mut binder = Binder::new(state, scalars, &held);
    let (_, source) = binder.table_source(at, 0);
    let scope = Scope { sources: vec![source], outer: None };
    let ctx = Ctx { state, scalars, variables, cache: RefCell::default() };
    let (schema, name) = db.table_name(at.table);
    for check in &meta.checks {
        let test = binder.condition(&check.test, &scope)?;
        for (_, row) in db.storage.rows(at.table) {
            let parts = [Part::Stored(row.clone(), std::rc::Rc::clone(&types), None)];
            let env = Env { ctx: &ctx, parts: &parts, aggs: &[], outer: None };
            if truth(&eval(&test, &env)?) == Some(false) {
                return Err(SqlError::batch(
                    547,
                    format!("The ALTER TABLE statement conflicted with the CHECK constraint \"{}\". The conflict occurred in database \"{}\", table \"{schema}.{name}\".", check.name, db.name),
                )
                .state(0));
            }
        }
    }
    for foreign in &meta.foreign {
        let other = db.types(foreign.table);
        let key = |row: &crate::storage::Row, types: &[SqlType], columns: &[usize]| {
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
            return Err(SqlError::batch(
                547,
                format!("The ALTER TABLE statement conflicted with the FOREIGN KEY constraint \"{}\". The conflict occurred in database \"{}\", table \"{schema}.{name}\".", foreign.name, db.name),
            )
            .state(0));
        }
    }
    Ok(())
}

fn wait_for_table(state: &mut State, scalars: &Scalars, at: TableAt, what: &str) -> Result<()> {
    let Some(by) = state.db(at.database).storage.holder_of_any(at.table) else { return Ok(()) };
    if scalars.xacts.get(&at.database) == Some(&by) {
        return Err(unsupported(format!("{what} of a table that the same open transaction has changed")));
    }
    state.blocked_by = Some((at.database, by));
    Err(SqlError::new(BLOCKED, ""))
}

pub(crate) fn drop_table(state: &mut State, scalars: &Scalars, name: &[String], if_exists: bool) -> Result<()> {
    let Some(at) = state.find_table(scalars, name)? else {
        return match if_exists {
            true => Ok(()),
            false => Err(SqlError::batch(
                3701,
                format!(
                    "Cannot drop the table '{}', because it does not exist or you do not have permission.",
                    name.join(".")
                ),
            )
            .class(11)
            .state(5)),
        };
    };
    let pointed = state
        .db(at.database)
        .tables
        .iter()
        .any(|(id, t)| *id != at.table && t.foreign.iter().any(|f| f.table == at.table));
    if pointed {
        return Err(SqlError::batch(
            3726,
            format!("Could not drop object '{}' because it is referenced by a FOREIGN KEY constraint.", name.join(".")),
        ));
    }
    wait_for_table(state, scalars, at, "DROP TABLE")?;
    let db = state.db_mut(at.database);
    db.storage.drop_table(at.table).map_err(from_storage)?;
    db.tables.remove(&at.table);
    Ok(())
}

pub(crate) fn truncate(state: &mut State, scalars: &Scalars, name: &[String]) -> Result<()> {
    let at = state.find_table(scalars, name)?.ok_or_else(|| {
        SqlError::batch(
            4701,
            format!(
                "Cannot find the object \"{}\" because it does not exist or you do not have permissions.",
                name.join(".")
            ),
        )
    })?;
    if state
        .db(at.database)
        .tables
        .iter()
        .any(|(id, t)| *id != at.table && t.foreign.iter().any(|f| f.table == at.table))
    {
        return Err(SqlError::batch(
            4712,
            format!(
                "Cannot truncate table '{}' because it is being referenced by a FOREIGN KEY constraint.",
                name.join(".")
            ),
        ));
    }
    if scalars.depth > 0 {
        return Err(unsupported("TRUNCATE TABLE inside of a transaction"));
    }
    wait_for_table(state, scalars, at, "TRUNCATE TABLE")?;
    let db = state.db_mut(at.database);
    if !db.snapshots.is_empty() {
        let rows: Vec<_> = db.storage.rows(at.table).map(|(k, r)| (k.clone(), r.clone())).collect();
        for before in db.snapshots.values_mut() {
            for (key, row) in &rows {
                before.entry((at.table, key.clone())).or_insert_with(|| Some(row.clone()));
            }
        }
    }
    db.storage.truncate(at.table).map_err(from_storage)?;
    if let Some(identity) = meta_mut(state, at).identity.as_mut() {
        identity.last = None;
    }
    Ok(())
}

pub(crate) fn drop_database(state: &mut State, scalars: &Scalars, name: &str, if_exists: bool) -> Result<()> {
    let Some(at) = state.find_database(name) else {
        return match if_exists {
            true => Ok(()),
            false => Err(SqlError::batch(
                3701,
                format!("Cannot drop the database '{name}', because it does not exist or you do not have permission."),
            )
            .class(11)),
        };
    };
    if SYSTEM_DATABASES.iter().any(|s| same_name(s, name)) {
        return Err(SqlError::batch(
            3708,
            format!("Cannot drop the database '{name}' because it is a system database."),
        ));
    }
    if at == scalars.database || state.sessions.values().any(|s| s.database == at) {
        return Err(
            SqlError::batch(3702, format!("Cannot drop database \"{name}\" because it is currently in use.")).state(4)
        );
    }
    state.databases[at] = None;
    Ok(())
}

pub(crate) fn alter_database(
    state: &mut State,
    scalars: &Scalars,
    name: Option<&str>,
    options: &[(String, String)],
) -> Result<()> {
    let at = match name {
        None => scalars.database,
        Some(name) => state.find_database(name).ok_or_else(|| {
            SqlError::batch(5011, format!("User does not have permission to alter database '{name}', the database does not exist, or the database is not in a state that allows access checks.")).state(5)
        })?,
    };
    for (option, value) in options {
        let on = value == "ON";
        let db = state.db_mut(at);
        match option.as_str() {
            "READ_COMMITTED_SNAPSHOT" if on => db.read_committed_snapshot = true,
            "READ_COMMITTED_SNAPSHOT" => {
                return Err(unsupported("READ COMMITTED by locks: readers always see versions"));
            }
            "ALLOW_SNAPSHOT_ISOLATION" => db.allow_snapshot = on,
            "RECOVERY" if value == "FULL" => db.simple_recovery = false,
            "RECOVERY" => return Err(unsupported("recovery models other than FULL")),
            "COMPATIBILITY_LEVEL"
            | "MULTI_USER"
            | "SINGLE_USER"
            | "AUTO_CLOSE"
            | "AUTO_SHRINK"
            | "ANSI_NULLS"
            | "QUOTED_IDENTIFIER"
            | "PAGE_VERIFY"
            | "READ_WRITE"
            | "ONLINE" => {}
            other => return Err(unsupported(format!("ALTER DATABASE ... SET {other}"))),
        }
    }
    Ok(())
}

pub(crate) fn backup(state: &mut State, log: bool, differential: bool, database: &str, path: &str) -> Result<()> {
    let at = state.find_database(database).ok_or_else(|| {
        SqlError::batch(
            911,
            format!("Database '{database}' does not exist. Make sure that the name is entered correctly."),
        )
    })?;
    let storage = &mut state.db_mut(at).storage;
    let path = std::path::Path::new(path);
    match (log, differential) {
        (true, _) => storage.backup_log(path),
        (false, true) => storage.backup_diff(path),
        (false, false) => storage.backup_full(path),
    }
    .map_err(from_storage)
}

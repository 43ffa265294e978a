//! Indexes.

use std::collections::BTreeMap;

use logferry_model::SqlType;

use super::super::ast::IndexDef;
use super::super::bind::{Binder, TableAt};
use super::super::change::key_values;
use super::super::error::{Result, SqlError, unsupported};
use super::super::plan::Column;
use super::super::state::{Db, ForeignDef, KeyDef, Scalars, State, Switch, from_storage};
use super::super::value::same_name;
use super::column::names_column;
use super::{meta_mut, place_of};
use logferry_mssql_standin_storage::{ConstraintDef, ConstraintKind, ConstraintSwitch, KeyKind, KeyName};

/// Adds a key after looking whether the rows that are there keep it.
pub(super) fn push_key(state: &mut State, at: TableAt, key: KeyDef) -> Result<()> {
    let db = state.db(at.database);
    let types = db.types(at.table);
    if let Some((column, _)) =
        key.columns.iter().find(|(c, _)| key.clustered && types.get(*c).is_some_and(SqlType::is_lob))
    {
        let def = db.storage.table_def(at.table);
        let name = def.and_then(|d| Some(d.columns.get(*column)?.name.clone())).unwrap_or_default();
        let (_, table) = db.table_name(at.table);
        let message = format!(
            "Column '{name}' in table '{table}' is of a type that is invalid for use as a key column in an index."
        );
        return Err(SqlError::batch(1919, message));
    }
    if key.unique {
        let mut seen = std::collections::HashSet::new();
        for (_, row) in db.storage.rows(at.table) {
            let (value, _, shown) = key_values(row, &types, key.columns.iter().map(|(column, _)| *column));
            if !seen.insert(value) {
                let (schema, name) = db.table_name(at.table);
                return Err(SqlError::new(
                    1505,
                    format!(
                        "The CREATE UNIQUE INDEX statement terminated because a duplicate key was found for the object name '{schema}.{name}' and the index name '{}'. The duplicate key value is ({shown}).",
                        key.name
                    ),
                ));
            }
        }
    }
    meta_mut(state, at).keys.push(key);
    Ok(())
}

/// Lets the storage know the nonclustered indexes of a table as they are now; a table that is gone has none.
pub(crate) fn note_indexes(state: &mut State, scalars: &Scalars, table: &[String]) -> Result<()> {
    let Some(at) = state.find_table(scalars, table)? else { return Ok(()) };
    cluster(state, at)?;
    let db = state.db_mut(at.database);
    let id = |place: &usize| db.storage.column_id(at.table, *place);
    let keys = db.meta(at.table).keys.iter().filter(|k| !k.clustered);
    let indexes: Vec<logferry_mssql_standin_storage::IndexDef> = keys
        .map(|k| logferry_mssql_standin_storage::IndexDef {
            id: k.index_id,
            name: k.name.clone(),
            unique: k.unique,
            primary: k.primary,
            constraint: k.object.is_some(),
            columns: k.columns.iter().map(|(c, descending)| (id(c), *descending)).collect(),
            included: k.included.iter().map(id).collect(),
        })
        .collect();
    db.storage.set_indexes(at.table, &indexes).map_err(from_storage)?;
    note_constraints(state, at)
}

/// The same of its constraints.
pub(super) fn note_constraints(state: &mut State, at: TableAt) -> Result<()> {
    let constraints = constraints_of(state.db(at.database), at.table);
    state.db_mut(at.database).storage.set_constraints(at.table, &constraints).map_err(from_storage)
}

/// Lets the rows of a heap be in the order of the clustered index that it has got.
fn cluster(state: &mut State, at: TableAt) -> Result<()> {
    let db = state.db_mut(at.database);
    let key = db.meta(at.table).keys.iter().find(|k| k.clustered).cloned();
    let Some(key) = key.filter(|_| db.storage.key_name(at.table).is_none()) else { return Ok(()) };
    let kind = match (key.primary, key.object) {
        (true, _) => KeyKind::PrimaryKey,
        (false, Some(_)) => KeyKind::Unique,
        (false, None) => KeyKind::Index { unique: key.unique },
    };
    let columns = key.columns.iter().map(|(column, _)| *column).collect();
    let name = KeyName { name: key.name, system_named: key.named_by_system, kind, object: key.object };
    db.storage.cluster(at.table, columns, name).map_err(from_storage)?;
    db.lookups.forget(at.table);
    // Rows are found elsewhere now.
    super::column::note_altered(state, at);
    Ok(())
}

/// 1902
pub(super) fn second_clustered(table: &str, known: &str) -> SqlError {
    SqlError::batch(
        1902,
        format!("Cannot create more than one clustered index on table '{table}'. Drop the existing clustered index '{known}' before creating another."),
    )
    .state(3)
}

/// The index that keeps the key which a foreign key refers to.
pub(crate) fn key_of(db: &Db, foreign: &ForeignDef) -> u32 {
    let mut wanted = foreign.referenced.clone();
    wanted.sort_unstable();
    let is_kept_by = |k: &&KeyDef| {
        let mut columns: Vec<usize> = k.columns.iter().map(|(c, _)| *c).collect();
        columns.sort_unstable();
        k.unique && columns == wanted
    };
    let other = db.tables.get(&foreign.table).and_then(|t| t.keys.iter().find(is_kept_by));
    other.map_or(1, |k| k.index_id)
}

/// The constraints of a table as the storage keeps them.
pub(crate) fn constraints_of(db: &Db, table: u32) -> Vec<ConstraintDef> {
    let meta = db.meta(table);
    let id = |place: usize| db.storage.column_id(table, place);
    let one = |object: u32, name: &str, system_named: bool, kind: ConstraintKind| ConstraintDef {
        switch: Default::default(),
        object,
        name: name.to_owned(),
        system_named,
        kind,
    };
    let keys = meta.keys.iter().filter(|k| !k.clustered).filter_map(|k| {
        let kind = ConstraintKind::Key { primary: k.primary, index: k.index_id };
        Some(one(k.object?, &k.name, k.named_by_system, kind))
    });
    let defaults = meta
        .defaults
        .iter()
        .map(|d| one(d.object, &d.name, d.named_by_system, ConstraintKind::Default(id(d.column), d.text.clone())));
    let checks = meta.checks.iter().map(|c| {
        let columns = db.storage.table_def(table).map(|d| &d.columns[..]).unwrap_or_default();
        let named = (0..columns.len()).filter(|at| names_column(&c.test, &columns[*at].name)).map(id).collect();
        let kind = ConstraintKind::Check { column: c.column.map(id), text: c.text.clone(), named };
        ConstraintDef { switch: switch_of(c.switch), ..one(c.object, &c.name, c.named_by_system, kind) }
    });
    let foreign = meta.foreign.iter().map(|f| {
        let columns = f.columns.iter().zip(&f.referenced);
        let kind = ConstraintKind::Foreign {
            columns: columns.map(|(own, other)| (id(*own), db.storage.column_id(f.table, *other))).collect(),
            table: f.table,
            index: key_of(db, f),
        };
        ConstraintDef { switch: switch_of(f.switch), ..one(f.object, &f.name, f.named_by_system, kind) }
    });
    keys.chain(defaults).chain(checks).chain(foreign).collect()
}

fn switch_of(of: Switch) -> ConstraintSwitch {
    let Switch { disabled, not_trusted, not_for_replication } = of;
    ConstraintSwitch { disabled, not_trusted, not_for_replication }
}

pub(super) fn add_index(state: &mut State, at: TableAt, columns: &[Column], index: &IndexDef) -> Result<()> {
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
    if let (true, Some(known)) = (index.clustered, meta.keys.iter().find(|k| k.clustered)) {
        return Err(second_clustered(&table, &known.name));
    }
    if index.clustered && index.columns.iter().any(|(_, descending)| *descending) {
        return Err(unsupported("clustered keys in descending order"));
    }
    let next = meta.keys.iter().map(|k| k.index_id).max().unwrap_or(1).max(1) + 1;
    let index_id = if index.clustered { 1 } else { next };
    let places = index.columns.iter().map(|(c, d)| Ok((place_of(columns, c, &table)?, *d))).collect::<Result<_>>()?;
    let included = index.included.iter().map(|c| place_of(columns, c, &table)).collect::<Result<_>>()?;
    let key = KeyDef {
        name: index.name.clone(),
        object: None,
        primary: false,
        unique: index.unique,
        clustered: index.clustered,
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
    super::table::wait_for_table(state, scalars, at)?;
    let held = BTreeMap::new();
    let columns = Binder::new(state, scalars, &held).table_columns(at);
    add_index(state, at, &columns, index)
}

/// ALTER INDEX ... REBUILD and REORGANIZE; `index` none: all.
pub(crate) fn maintain_index(
    state: &mut State,
    scalars: &Scalars,
    index: Option<&str>,
    table: &[String],
    reorganize: bool,
) -> Result<()> {
    let at = state.find_table(scalars, table)?.ok_or_else(|| {
        SqlError::batch(
            1088,
            format!(
                "Cannot find the object \"{}\" because it does not exist or you do not have permissions.",
                table.join(".")
            ),
        )
        .state(9)
    })?;
    let id = match index {
        None => None,
        Some(name) => {
            let key = state.db(at.database).meta(at.table).keys.iter().find(|k| same_name(&k.name, name));
            let missing = || SqlError::new(2727, format!("Cannot find index '{name}'.")).class(11);
            Some(key.ok_or_else(missing)?.index_id)
        }
    };
    super::table::wait_for_table(state, scalars, at)?;
    let storage = &mut state.db_mut(at.database).storage;
    match reorganize {
        true => storage.reorganize(at.table, id).map(drop),
        false => storage.rebuild(at.table, id),
    }
    .map_err(from_storage)?;
    if !reorganize {
        // Rows of a heap are elsewhere now.
        super::column::note_altered(state, at);
    }
    Ok(())
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
        Some(n) if meta.keys[n].clustered => Err(unsupported("DROP INDEX of a clustered index")),
        Some(n) => {
            meta.keys.remove(n);
            Ok(())
        }
        None if if_exists => Ok(()),
        None => Err(missing()),
    }
}

//! CREATE, DROP and TRUNCATE TABLE.

use super::super::ast::{Constraint, ConstraintKind, CreateTable};
use super::super::bind::TableAt;
use super::super::cdc;
use super::super::error::{Result, SqlError, invalid_object, unsupported};
use super::super::plan::Column;
use super::super::state::{Identity, Scalars, State, TEMPDB, TableMeta, from_storage, temp_suffix};
use super::column::{columns_of, computed_of, identity_of, rowguid_of};
use super::constraint::{add_constraints, constraint_named, key_name, not_created};
use super::index::add_index;
use super::{meta_mut, now, place_of};
use logferry_mssql_standin_storage::{ColumnDef, KeyName, TableDef, key_object};

pub(crate) fn create_table(state: &mut State, scalars: &mut Scalars, stmt: &CreateTable) -> Result<()> {
    let (database, schema, name) = state.resolve(scalars, &stmt.name)?;
    if state.find_table(scalars, &stmt.name)?.is_some() || constraint_named(state, database, &name) {
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
    let mut defined = columns_of(state, scalars, &stmt.columns, &[], &name)?;
    let mut columns: Vec<Column> = defined.iter().map(|d| d.column.clone()).collect();
    let mut constraints: Vec<&Constraint> = stmt.columns.iter().flat_map(|c| &c.constraints).collect();
    constraints.extend(&stmt.constraints);
    let mut primary: Option<(Vec<usize>, bool)> = None;
    // Then a primary key that does not say is not.
    let is_clustered =
        |c: &&Constraint| matches!(c.kind, ConstraintKind::Key { primary: false, clustered: Some(true), .. });
    let has_clustered = constraints.iter().any(is_clustered) || stmt.indexes.iter().any(|i| i.clustered);
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
                    return Err(not_created(SqlError::batch(
                        8111,
                        format!("Cannot define PRIMARY KEY constraint on nullable column in table '{name}'."),
                    )));
                }
                if *descending && clustered.unwrap_or(!has_clustered) {
                    return Err(unsupported("clustered keys in descending order"));
                }
                columns[at].nullable = false;
                places.push(at);
            }
            primary = Some((places, clustered.unwrap_or(!has_clustered)));
        }
    }
    let clustered = primary.as_ref().filter(|(_, c)| *c).map(|(p, _)| p.clone()).unwrap_or_default();
    for (d, c) in defined.iter_mut().zip(&columns) {
        d.stored.nullable = c.nullable;
    }
    let def = TableDef {
        schema,
        name: name.clone(),
        columns: defined.iter().map(|d| d.stored.clone()).collect(),
        primary_key: clustered,
    };
    let created = now(scalars);
    let db = state.db_mut(database);
    let meta = TableMeta {
        created: Some(created),
        identity: identity_of(&def.columns, &stmt.columns),
        rowguid: rowguid_of(&[], &stmt.columns, None)?,
        computed: computed_of(&defined, 0),
        ..TableMeta::default()
    };
    let key = constraints.iter().find(|c| matches!(c.kind, ConstraintKind::Key { primary: true, .. }));
    let key = key.and_then(|c| c.name.clone()).map_or_else(
        || KeyName {
            name: key_name(&name, key_object(db.storage.next_table())),
            system_named: true,
            ..KeyName::default()
        },
        |name| KeyName { name, ..KeyName::default() },
    );
    let table = db.storage.create_table_with_key(def, key).map_err(from_storage)?;
    db.tables.insert(table, meta);
    let at = TableAt { database, table };
    let said: Vec<Constraint> = constraints.into_iter().map(|c| said_clustered(c, !has_clustered)).collect();
    let added = add_constraints(state, scalars, at, &columns, &said.iter().collect::<Vec<_>>(), false)
        .and_then(|()| stmt.indexes.iter().try_for_each(|index| add_index(state, at, &columns, index)));
    if added.is_err() {
        let db = state.db_mut(database);
        db.tables.remove(&table);
        db.storage.drop_table(table).map_err(from_storage)?;
    }
    added
}

/// A constraint that says whether it is clustered, if it is a primary key.
fn said_clustered(constraint: &Constraint, otherwise: bool) -> Constraint {
    let mut constraint = constraint.clone();
    if let ConstraintKind::Key { primary: true, clustered, .. } = &mut constraint.kind {
        clustered.get_or_insert(otherwise);
    }
    constraint
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
                nullable: c.nullable,
                identity: c.identity.then_some(logferry_mssql_standin_storage::Identity::ONE),
                ..ColumnDef::new(c.name.clone(), c.ty.clone())
            })
            .collect(),
        primary_key: Vec::new(),
    };
    let created = now(scalars);
    let db = state.db_mut(database);
    let identity = Identity::of(&def.columns);
    let table = db.storage.create_table(def).map_err(from_storage)?;
    db.tables.insert(table, TableMeta { created: Some(created), identity, ..TableMeta::default() });
    Ok(TableAt { database, table })
}

/// Waits until no other transaction holds a table.
pub(super) fn wait_for_table(state: &State, scalars: &Scalars, at: TableAt) -> Result<()> {
    let own = scalars.xacts.get(&at.database).copied();
    match state.db(at.database).storage.holder_of_any(own, at.table) {
        Some(by) => Err(state.blocked(at.database, by)),
        None => state.may_change(scalars, at),
    }
}

/// Drops the temporary tables of a session that ends or begins anew.
pub(crate) fn drop_temporary(state: &mut State, spid: i16) -> Result<()> {
    let suffix = temp_suffix(spid);
    let db = state.db_mut(TEMPDB);
    let tables: Vec<u32> = db.storage.tables().filter(|(_, t)| t.name.ends_with(&suffix)).map(|(id, _)| id).collect();
    for table in tables {
        db.storage.drop_table(table).map_err(from_storage)?;
        db.tables.remove(&table);
    }
    Ok(())
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
    wait_for_table(state, scalars, at)?;
    let db = state.db_mut(at.database);
    let own: Vec<u32> = db.triggers.iter().filter(|(_, t)| t.table == Some(at.table)).map(|(id, _)| *id).collect();
    own.into_iter().try_for_each(|trigger| db.drop_trigger(trigger))?;
    db.storage.drop_table(at.table).map_err(from_storage)?;
    db.lookups.forget(at.table);
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
    if cdc::is_tracked(state, at.database, at.table) {
        return Err(SqlError::batch(
            4711,
            format!(
                "Cannot truncate table '{}' because it is published for replication or enabled for Change Data Capture.",
                name.join(".")
            ),
        ));
    }
    wait_for_table(state, scalars, at)?;
    let db = state.db_mut(at.database);
    if !db.snapshots.is_empty() {
        let rows: Vec<_> = db.storage.rows(at.table).map(|(k, r)| (k.clone(), r.clone())).collect();
        for before in db.snapshots.values_mut() {
            let before = before.entry(at.table).or_default();
            for (key, row) in &rows {
                before.entry(key.clone()).or_insert_with(|| Some(row.clone()));
            }
        }
    }
    db.storage.truncate(at.table).map_err(from_storage)?;
    db.lookups.forget(at.table);
    if let Some(identity) = meta_mut(state, at).identity.as_mut() {
        identity.last = None;
    }
    Ok(())
}

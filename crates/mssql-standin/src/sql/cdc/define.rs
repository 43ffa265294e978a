//! Capture instances: made and dropped.

use logferry_model::SqlType;

use super::super::ast::AlterTable;
use super::super::error::{Result, SqlError, unsupported};
use super::super::function::split_name;
use super::super::session::commit_in;
use super::super::state::{Db, KeyDef, Scalars, State, TableMeta, from_storage};
use super::super::types;
use super::super::value::{Value, same_name};
use super::{CapturedColumn, Instance, SCHEMA, bytes, is_own, not_enabled};
use logferry_mssql_standin_storage::{ColumnDef, Row, TableDef, XactOptions};

/// Instances that a table can have.
const INSTANCES_MAX: usize = 2;

/// What `sys.sp_cdc_enable_table` is asked for.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub schema: String,
    pub table: String,
    pub instance: Option<String>,
    pub net: Option<bool>,
    pub role: Option<String>,
    pub index: Option<String>,
    pub columns: Option<String>,
}

fn error(number: i32, message: String) -> SqlError {
    SqlError::batch(number, message)
}

/// Makes a capture instance and its change table.
pub(crate) fn enable_table(state: &mut State, at: usize, wanted: &Wanted, created: Value) -> Result<()> {
    let db = state.db_mut(at);
    let Some(cdc) = &db.cdc else { return Err(not_enabled(db)) };
    let source = db
        .storage
        .tables()
        .find(|(_, d)| same_name(&d.schema, &wanted.schema) && same_name(&d.name, &wanted.table))
        .map(|(id, d)| (id, d.clone()));
    let Some((source, def)) = source else {
        return Err(error(
            22931,
            format!(
                "Source table '{}.{}' does not exist in the current database. Ensure that the correct database context is set. Specify a valid schema and table name for the database.",
                wanted.schema, wanted.table
            ),
        ));
    };
    let place = format!("{}.{}", def.schema, def.name);
    if is_own(&def.schema, &def.name) {
        return Err(error(
            22974,
            "Tables contained in the cdc schema cannot be enabled for Change Data Capture.".into(),
        ));
    }
    let name = wanted.instance.clone().unwrap_or_else(|| format!("{}_{}", def.schema, def.name));
    if cdc.instance(&name).is_some() {
        return Err(error(
            22926,
            format!(
                "Could not create a capture instance because the capture instance name '{name}' already exists in the current database. Specify an explicit unique name for the parameter @capture_instance."
            ),
        ));
    }
    if name.chars().count() > 100 {
        return Err(error(
            22927,
            format!(
                "Capture instance name '{name}' exceeds the length limit of 100 characters. Specify a name that satisfies the length constraint."
            ),
        ));
    }
    if cdc.instances.iter().filter(|i| i.source == source).count() >= INSTANCES_MAX {
        return Err(error(
            22962,
            format!(
                "Two capture instances already exist for source table '{place}'. A table can have at most two capture instances. If the current tracking options are not appropriate, disable change tracking for the obsolete instance by using sys.sp_cdc_disable_table and retry the operation."
            ),
        ));
    }
    // The table is marked in the catalog: nobody may have changed it and go on.
    if let Some(by) = db.storage.holder_of_any(None, source) {
        return Err(state.blocked(at, by));
    }
    let places = columns_of(&def, wanted.columns.as_deref(), &place)?;
    let key = key_of(db, source, &def, wanted, &place)?;
    let net = wanted.net.unwrap_or(key.is_some());
    let key = match (net, key) {
        (false, key) => key,
        (true, None) => {
            return Err(error(
                22939,
                "The parameter @supports_net_changes is set to 1, but the source table does not have a primary key defined and no alternate unique index has been specified.".into(),
            ));
        }
        (true, Some(key)) => {
            if key.columns.iter().any(|(c, _)| !places.contains(c)) {
                return Err(error(22943, "Columns used to uniquely identify a row for net change tracking must be included in the list of captured columns. Add either the primary key columns of the source table, or the columns defined for the index specified in the parameter @index_name to the list of captured columns and retry the operation.".into()));
            }
            Some(key)
        }
    };
    let identity = db.meta(source).identity.as_ref().map(|identity| identity.column);
    let captured: Vec<CapturedColumn> = places
        .iter()
        .filter_map(|p| {
            let column = def.columns.get(*p)?;
            let sql_type = match &column.sql_type {
                SqlType::RowVersion => SqlType::Binary { length: 8 },
                ty if identity == Some(*p) => type_of_identity(ty),
                other => other.clone(),
            };
            Some(CapturedColumn { id: db.storage.column_id(source, *p), name: column.name.clone(), sql_type })
        })
        .collect();
    let key_places = key.iter().flat_map(|k| &k.columns).filter_map(|(c, _)| places.iter().position(|p| p == c));
    let mut instance = Instance {
        key: key_places.collect(),
        name: name.clone(),
        source,
        changes: 0,
        columns: captured,
        net,
        role: wanted.role.clone(),
        index_name: key.as_ref().map(|k| k.name.clone()),
        created: created.clone(),
        enabled_at: logferry_model::Lsn::ZERO,
        enabled_time: db.storage.now(),
        start: None,
    };
    instance.changes = db.storage.create_table(change_table(&instance)).map_err(from_storage)?;
    let clustered = KeyDef {
        name: format!("{name}_CT_clustered_idx"),
        object: None,
        primary: false,
        unique: true,
        clustered: true,
        index_id: 1,
        columns: order_of(instance.columns.len()).into_iter().map(|c| (c, false)).collect(),
        included: Vec::new(),
        named_by_system: false,
    };
    let meta = TableMeta { created: Some(created), keys: vec![clustered], ..TableMeta::default() };
    db.tables.insert(instance.changes, meta);
    note_instance(db, &instance, key.as_ref())?;
    (instance.enabled_at, instance.enabled_time) = (db.storage.last_record(), db.storage.now());
    db.storage.track(source, true);
    if let Some(cdc) = &mut db.cdc {
        cdc.instances.push(instance);
    }
    Ok(())
}

/// Places of the captured columns: all, or those of a list.
fn columns_of(def: &TableDef, list: Option<&str>, table: &str) -> Result<Vec<usize>> {
    let Some(list) = list.filter(|l| !l.trim().is_empty()) else { return Ok((0..def.columns.len()).collect()) };
    let (schema, name) = table.split_once('.').unwrap_or_default();
    let mut places = Vec::new();
    for part in list.split(',') {
        let wanted = split_name(part).concat();
        let found = def.columns.iter().position(|c| same_name(&c.name, &wanted)).ok_or_else(|| {
            error(
                22930,
                format!("Could not locate '{wanted}' as a column of source table '{schema}.{name}'. Specify a valid column name."),
            )
        })?;
        places.push(found);
    }
    // Ordinals follow the source, whatever the order of the list.
    places.sort_unstable();
    places.dedup();
    Ok(places)
}

/// The index that identifies rows: the one that was named, or the primary key.
fn key_of(db: &Db, source: u32, def: &TableDef, wanted: &Wanted, place: &str) -> Result<Option<KeyDef>> {
    let keys = &db.meta(source).keys;
    let Some(name) = &wanted.index else { return Ok(keys.iter().find(|k| k.primary).cloned()) };
    match keys.iter().find(|k| same_name(&k.name, name)) {
        Some(key) if key.unique => Ok(Some(key.clone())),
        Some(_) => Err(error(
            22929,
            format!(
                "Index '{name}' must be either a primary key or a unique index for table '{place}'. Specify an index that meets at least one of these requirements."
            ),
        )),
        None => Err(error(
            22928,
            format!(
                "Index name '{name}' is not an index for table '{}.{}'. Specify a valid index name for the table.",
                def.schema, def.name
            ),
        )),
    }
}

/// Identity columns are `int` or `bigint` in change tables, whatever they are in their own.
/// <https://learn.microsoft.com/sql/relational-databases/system-tables/cdc-capture-instance-ct-transact-sql#captured-column-data-types>
fn type_of_identity(own: &SqlType) -> SqlType {
    match own {
        SqlType::TinyInt | SqlType::SmallInt | SqlType::Int => SqlType::Int,
        _ => SqlType::BigInt,
    }
}

fn change_table(instance: &Instance) -> TableDef {
    let lsn = || SqlType::Binary { length: 10 };
    let mut columns = vec![
        ColumnDef::new("__$start_lsn", lsn()).not_null(),
        ColumnDef::new("__$end_lsn", lsn()),
        ColumnDef::new("__$seqval", lsn()).not_null(),
        ColumnDef::new("__$operation", SqlType::Int).not_null(),
        ColumnDef::new("__$update_mask", SqlType::VarBinary { length: Some(128) }),
    ];
    columns.extend(instance.columns.iter().map(|c| ColumnDef::new(c.name.clone(), c.sql_type.clone())));
    columns.push(ColumnDef::new("__$command_id", SqlType::Int));
    let primary_key = order_of(instance.columns.len());
    TableDef { schema: SCHEMA.into(), name: format!("{}_CT", instance.name), columns, primary_key }
}

/// What the clustered index of a change table is made of: commit, command, sequence, operation.
pub(super) fn order_of(captured: usize) -> Vec<usize> {
    vec![0, super::read::HEAD + captured, 2, 3]
}

/// The rows of an instance in the tables of the schema `cdc`.
fn note_instance(db: &mut Db, i: &Instance, key: Option<&KeyDef>) -> Result<()> {
    let xact = db.storage.begin(XactOptions { name: "sp_cdc_enable_table", spid: 51 });
    let int = |n: i64| Value::Int(n);
    let mut rows: Vec<(&str, Vec<Value>)> = vec![(
        "change_tables",
        vec![
            int(i.changes.into()),
            int(0),
            int(i.source.into()),
            Value::text(&i.name),
            Value::Null,
            Value::Null,
            Value::bit(i.net),
            Value::Null,
            Value::opt_text(i.role.as_deref()),
            Value::opt_text(i.index_name.as_deref()),
            Value::Null,
            i.created.clone(),
            Value::bit(true),
        ],
    )];
    for (ordinal, c) in i.columns.iter().enumerate() {
        rows.push((
            "captured_columns",
            vec![
                int(i.changes.into()),
                Value::text(&c.name),
                int(c.id.into()),
                Value::text(types::name(&c.sql_type)),
                int(ordinal as i64 + 1),
                Value::bit(false),
                Value::Null,
            ],
        ));
    }
    for (ordinal, at) in i.key.iter().enumerate().filter(|_| key.is_some()) {
        let Some(c) = i.columns.get(*at) else { continue };
        rows.push((
            "index_columns",
            vec![int(i.changes.into()), Value::text(&c.name), int(ordinal as i64 + 1), int(c.id.into())],
        ));
    }
    for (table, values) in rows {
        let Some(id) = db.storage.table(SCHEMA, table) else { continue };
        let types = db.types(id);
        let row: Row =
            types.iter().zip(&values).map(|(ty, v)| super::super::value::to_bytes(ty, v)).collect::<Result<_>>()?;
        db.storage.insert(xact, id, row).map_err(from_storage)?;
    }
    commit_in(db, xact, None)
}

/// Drops an instance of a table, or all of them.
pub(crate) fn disable_table(state: &mut State, at: usize, schema: &str, table: &str, instance: &str) -> Result<()> {
    let db = state.db_mut(at);
    let Some(cdc) = &db.cdc else { return Err(not_enabled(db)) };
    let place = format!("{schema}.{table}");
    let source = db
        .storage
        .tables()
        .find(|(_, d)| same_name(&d.schema, schema) && same_name(&d.name, table))
        .map(|(id, _)| id)
        .filter(|id| cdc.instances.iter().any(|i| i.source == *id))
        .ok_or_else(|| {
            error(
                22985,
                format!(
                    "Change data capture has not been enabled for source table '{place}'. Specify the name of a table enabled for Change Data Capture. To report on the tables enabled for Change Data Capture, query the is_tracked_by_cdc column in the sys.tables catalog view."
                ),
            )
        })?;
    if let Some(by) = db.storage.holder_of_any(None, source) {
        return Err(state.blocked(at, by));
    }
    let all = same_name(instance, "all");
    let gone: Vec<Instance> =
        cdc.instances.iter().filter(|i| i.source == source && (all || same_name(&i.name, instance))).cloned().collect();
    if gone.is_empty() {
        return Err(error(
            22960,
            format!(
                "Change data capture instance '{instance}' has not been enabled for the source table '{place}'. Use sys.sp_cdc_help_change_data_capture to verify the capture instance name and retry the operation."
            ),
        ));
    }
    for i in gone {
        drop_instance(db, &i)?;
    }
    Ok(())
}

fn drop_instance(db: &mut Db, i: &Instance) -> Result<()> {
    let xact = db.storage.begin(XactOptions { name: "sp_cdc_disable_table", spid: 51 });
    for name in ["change_tables", "captured_columns", "index_columns", "ddl_history"] {
        let Some(table) = db.storage.table(SCHEMA, name) else { continue };
        let column = usize::from(name == "ddl_history");
        let id = i.changes.to_le_bytes();
        let own = db.storage.rows(table).filter(|(_, row)| row.get(column).is_some_and(|v| v.as_deref() == Some(&id)));
        let keys: Vec<_> = own.map(|(key, _)| key.clone()).collect();
        for key in keys {
            db.storage.delete(xact, table, &key).map_err(from_storage)?;
        }
    }
    commit_in(db, xact, None)?;
    db.storage.drop_table(i.changes).map_err(from_storage)?;
    db.tables.remove(&i.changes);
    if let Some(cdc) = &mut db.cdc {
        cdc.instances.retain(|other| other.name != i.name);
        if !cdc.instances.iter().any(|other| other.source == i.source) {
            db.storage.track(i.source, false);
        }
        if cdc.instances.is_empty() {
            // Nobody reads what is left.
            db.storage.take_captured(usize::MAX);
        }
    }
    Ok(())
}

/// Drops the instances of a table that is dropped.
pub(crate) fn source_dropped(db: &mut Db, source: u32) -> Result<()> {
    let own: Vec<Instance> = db.cdc.iter().flat_map(|c| &c.instances).filter(|i| i.source == source).cloned().collect();
    own.iter().try_for_each(|i| drop_instance(db, i))
}

/// Drops all that CDC made in a database.
pub(crate) fn disable_database(state: &mut State, at: usize) -> Result<()> {
    let db = state.db_mut(at);
    let Some(cdc) = &db.cdc else { return Ok(()) };
    for i in cdc.instances.clone() {
        drop_instance(db, &i)?;
    }
    let own: Vec<u32> = db.storage.tables().filter(|(_, d)| is_own(&d.schema, &d.name)).map(|(id, _)| id).collect();
    for table in own {
        db.storage.drop_table(table).map_err(from_storage)?;
        db.tables.remove(&table);
    }
    db.storage.drop_schema(SCHEMA).map_err(from_storage)?;
    db.cdc = None;
    Ok(())
}

/// Refuses changes of a tracked table that its change tables could not follow.
pub(crate) fn check_alter(state: &State, scalars: &Scalars, name: &[String], change: &AlterTable) -> Result<()> {
    let (AlterTable::Alter(column), Some(at)) = (change, state.find_table(scalars, name)?) else { return Ok(()) };
    let instances = state.db(at.database).cdc.iter().flat_map(|c| &c.instances);
    let captured =
        instances.filter(|i| i.source == at.table).any(|i| i.columns.iter().any(|c| same_name(&c.name, &column.name)));
    match captured {
        true => Err(unsupported("ALTER COLUMN of a column that CDC captures")),
        false => Ok(()),
    }
}

/// Notes that the definition of a table was changed, for all instances that capture it.
pub(crate) fn note_alter(db: &mut Db, source: u32, command: &str) -> Result<()> {
    note_ddl(db, source, command, false)
}

fn note_ddl(db: &mut Db, source: u32, command: &str, update: bool) -> Result<()> {
    let instances: Vec<u32> =
        db.cdc.iter().flat_map(|c| &c.instances).filter(|i| i.source == source).map(|i| i.changes).collect();
    let Some(table) = db.storage.table(SCHEMA, "ddl_history").filter(|_| !instances.is_empty()) else { return Ok(()) };
    let lsn = db.storage.last_record();
    let types = db.types(table);
    let xact = db.storage.begin(XactOptions { name: "CDC DDL history", spid: 51 });
    for changes in instances {
        let time = super::super::value::from_bytes(&SqlType::DateTime, &db.storage.now());
        let values = [
            Value::Int(source.into()),
            Value::Int(changes.into()),
            Value::bit(update),
            Value::text(command),
            bytes(lsn),
            time,
        ];
        let row: Row =
            types.iter().zip(&values).map(|(ty, v)| super::super::value::to_bytes(ty, v)).collect::<Result<_>>()?;
        db.storage.insert(xact, table, row).map_err(from_storage)?;
    }
    commit_in(db, xact, None)
}

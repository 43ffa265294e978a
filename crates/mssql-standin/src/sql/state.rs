//! What all sessions share: databases and what storage does not keep of them.

mod attached;
mod meta;
mod scalars;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use logferry_model::SqlType;

use super::ast::Hold;
use super::bind::TableAt;
use super::cdc::Cdc;
use super::error::{Result, SqlError};
use super::hidden::Hidden;
use super::value::{Value, same_name};
use logferry_mssql_standin_storage::{Before, Database, KeyKind, KeyName, Options, TableDef, Transaction, key_object};
pub(crate) use meta::{
    CheckDef, ComputedDef, DefaultDef, ForeignDef, Identity, KeyDef, ModuleDef, Switch, TableMeta, TableTypeDef,
};
pub(crate) use scalars::{Isolation, Scalars};

/// All databases.
#[derive(Debug)]
pub(crate) struct State {
    pub server: String,
    /// Where backups with a relative name go.
    pub backups: PathBuf,
    pub databases: Vec<Option<Db>>,
    /// Backups that were made, for `msdb`.
    pub backup_sets: Vec<BackupSet>,
    /// Which session waits for which.
    pub waits: HashMap<i16, i16>,
    /// Whose the open transactions are.
    pub owners: HashMap<(usize, Transaction), i16>,
    /// The transaction that the statement which failed last would have to wait for.
    pub blocked_by: Cell<Option<(usize, Transaction)>>,
    /// The same, of a session that keeps a table from being changed.
    pub blocked_by_reader: Cell<Option<i16>>,
    /// Whole tables that sessions have locked until their transactions end.
    pub table_locks: Vec<TableLock>,
    /// What a program does not see.
    pub hidden: Hidden,
    /// Sessions by their numbers.
    pub sessions: BTreeMap<i16, SessionRow>,
    pub next_snapshot: u64,
    /// Rows of tables that queries have looked at.
    pub rows_read: Cell<u64>,
}

/// A backup that was made.
#[derive(Clone, Debug)]
pub(crate) struct BackupSet {
    pub database: String,
    /// `D`, `I` or `L`
    pub kind: &'static str,
    pub first_lsn: logferry_model::Lsn,
    pub last_lsn: logferry_model::Lsn,
    /// As it was named.
    pub device: String,
    /// Where the same was written besides: `MIRROR TO`.
    pub mirror: Option<String>,
    /// The database's GUID, its family's and its recovery fork's.
    pub lineage: [[u8; 16]; 3],
}

/// A session, as `sys.dm_exec_sessions` shows it.
#[derive(Clone, Debug)]
pub(crate) struct SessionRow {
    pub login: String,
    pub program: String,
    pub host: String,
    pub database: usize,
    /// When it logged in.
    pub since: Value,
}

/// A database and what its storage does not keep.
#[derive(Debug)]
pub(crate) struct Db {
    pub name: String,
    pub storage: Database,
    pub created: Value,
    pub tables: BTreeMap<u32, TableMeta>,
    pub read_committed_snapshot: bool,
    pub allow_snapshot: bool,
    pub simple_recovery: bool,
    /// Snapshots that are open: what the rows were that others changed since.
    pub snapshots: BTreeMap<u64, Before>,
    /// Last value of `rowversion`.
    pub row_version: u64,
    /// Where it is enabled for CDC.
    pub cdc: Option<Cdc>,
    pub lookups: super::lookup::Lookups,
    /// Views and procedures, by object id.
    pub modules: BTreeMap<u32, ModuleDef>,
    /// Triggers, by object id.
    pub triggers: BTreeMap<u32, super::trigger::TriggerDef>,
    /// Types of tables, by `user_type_id`.
    pub table_types: BTreeMap<u32, TableTypeDef>,
}

/// The first four databases.
pub(crate) const SYSTEM_DATABASES: [&str; 4] = ["master", "tempdb", "model", "msdb"];

pub(crate) const TEMPDB: usize = 1;

impl State {
    pub fn new(server: &str, now: (i32, u64)) -> Result<Self> {
        let mut state = State {
            server: server.to_owned(),
            backups: PathBuf::new(),
            databases: Vec::new(),
            backup_sets: Vec::new(),
            waits: HashMap::new(),
            owners: HashMap::new(),
            blocked_by: Cell::new(None),
            blocked_by_reader: Cell::new(None),
            table_locks: Vec::new(),
            hidden: Hidden::default(),
            sessions: BTreeMap::new(),
            next_snapshot: 1,
            rows_read: Cell::new(0),
        };
        for name in SYSTEM_DATABASES {
            state.create_database(name, now, Options::default())?;
        }
        Ok(state)
    }

    pub fn create_database(&mut self, name: &str, now: (i32, u64), options: Options) -> Result<usize> {
        self.name_is_free(name)?;
        let at = self.databases.len();
        // A new database's clock begins in the morning of its first day: yesterday is before now in any case.
        let today = (now.0 - super::value::DAYS_TO_1900).max(1) as u32;
        let first_day = today - 1;
        let options = Options {
            name: name.to_owned(),
            server: self.server.clone(),
            seed: options.seed.wrapping_add(at as u64),
            first_day,
            ..options
        };
        let mut storage = Database::create(options).map_err(from_storage)?;
        storage.clock_reaches(today, super::time::to_300ths(now.1));
        self.adopt(name, now, storage);
        Ok(at)
    }

    /// Serves a data file and a log file of a real server, read-only.
    pub fn attach(&mut self, name: &str, files: (&Path, &Path), now: (i32, u64)) -> Result<()> {
        self.name_is_free(name)?;
        let options = Options { name: name.to_owned(), server: self.server.clone(), ..Options::default() };
        let storage = Database::attach(files.0, files.1, options).map_err(from_storage)?;
        self.adopt(name, now, storage);
        Ok(())
    }

    fn name_is_free(&self, name: &str) -> Result<()> {
        match self.find_database(name) {
            Some(_) => Err(SqlError::batch(
                1801,
                format!("Database '{name}' already exists. Choose a different database name."),
            )),
            None => Ok(()),
        }
    }

    /// Takes a database that was made elsewhere.
    pub fn adopt(&mut self, name: &str, now: (i32, u64), mut storage: Database) {
        storage.keep_loaded_rows();
        let mut tables: BTreeMap<u32, TableMeta> = BTreeMap::new();
        for (id, def) in storage.tables() {
            let mut meta = TableMeta { keys: keys_of(&storage, id, def), ..TableMeta::default() };
            meta.know(&storage, id);
            meta.identity = Identity::of(&def.columns).map(|mut identity| {
                let ty = &def.columns[identity.column].sql_type;
                for (_, row) in storage.rows(id) {
                    match row.get(identity.column).and_then(|b| b.as_deref()).map(|b| super::value::from_bytes(ty, b)) {
                        Some(Value::Int(n)) => identity.note(i128::from(n)),
                        Some(Value::Dec(d)) => identity.note(d.mantissa),
                        _ => {}
                    }
                }
                identity
            });
            tables.insert(id, meta);
        }
        let (modules, triggers) = attached::modules_of(&storage);
        self.databases.push(Some(Db {
            name: name.to_owned(),
            storage,
            created: super::time::datetime(now),
            tables,
            read_committed_snapshot: true,
            allow_snapshot: true,
            simple_recovery: false,
            snapshots: BTreeMap::new(),
            row_version: 2000,
            cdc: None,
            lookups: Default::default(),
            modules,
            triggers,
            table_types: BTreeMap::new(),
        }));
    }

    pub fn db(&self, at: usize) -> &Db {
        self.databases[at].as_ref().expect("sessions are never in a database that was dropped")
    }

    pub fn db_mut(&mut self, at: usize) -> &mut Db {
        self.databases[at].as_mut().expect("sessions are never in a database that was dropped")
    }

    pub fn find_database(&self, name: &str) -> Option<usize> {
        self.databases.iter().position(|d| d.as_ref().is_some_and(|d| same_name(&d.name, name)))
    }

    /// `database_id` of a database.
    pub fn database_id(at: usize) -> i32 {
        at as i32 + 1
    }

    /// Which database, schema and name a name of parts means.
    pub fn resolve(&self, scalars: &Scalars, name: &[String]) -> Result<(usize, String, String)> {
        let (database, schema, table) = match name {
            [table] => ("", "", table),
            [schema, table] => ("", schema.as_str(), table),
            [database, schema, table] => (database.as_str(), schema.as_str(), table),
            [server, ..] => {
                return Err(SqlError::batch(7202, format!("Could not find server '{server}' in sys.servers.")).state(2));
            }
            [] => return Err(SqlError::batch(208, "Invalid object name ''.")),
        };
        let at = match database {
            _ if table.starts_with(['#', '@']) => TEMPDB,
            "" => scalars.database,
            database => self.find_database(database).ok_or_else(|| {
                SqlError::batch(
                    911,
                    format!("Database '{database}' does not exist. Make sure that the name is entered correctly."),
                )
            })?,
        };
        let table = match table.chars().next() {
            Some('#') => temp_name(table, scalars.spid),
            Some('@') => format!("{}.{:X}{}", table.to_lowercase(), scalars.scope, temp_suffix(scalars.spid)),
            _ => table.clone(),
        };
        Ok((at, if schema.is_empty() { "dbo".into() } else { schema.to_owned() }, table))
    }

    /// Whether nobody else keeps a table from being changed; the error means that it is to be waited for.
    pub fn may_change(&self, scalars: &Scalars, at: TableAt) -> Result<()> {
        self.may_lock(scalars, at, Hold::Exclusive)
    }

    /// Whether a lock on a table goes with those that others have on it; the error means that it is to be waited for.
    pub fn may_lock(&self, scalars: &Scalars, at: TableAt, hold: Hold) -> Result<()> {
        let in_the_way = |lock: &&TableLock| lock.at == at && lock.spid != scalars.spid && !lock.hold.goes_with(hold);
        match self.table_locks.iter().find(in_the_way) {
            Some(lock) => {
                self.blocked_by_reader.set(Some(lock.spid));
                Err(SqlError::new(super::session::BLOCKED, ""))
            }
            None => Ok(()),
        }
    }

    /// Locks tables, until the transaction ends where that is asked for; the error means that one has been changed or locked by others, and is to be waited
    /// for.
    pub fn lock_tables(&mut self, scalars: &Scalars, tables: &[(TableAt, Hold)]) -> Result<()> {
        for (at, hold) in tables {
            let own = scalars.xacts.get(&at.database).copied();
            if let Some(by) = self.db(at.database).storage.holder_of_any(own, at.table) {
                return Err(self.blocked(at.database, by));
            }
            self.may_lock(scalars, *at, *hold)?;
        }
        if scalars.depth == 0 {
            return Ok(());
        }
        for (at, hold) in tables.iter().filter(|(_, hold)| *hold > Hold::Statement) {
            match self.table_locks.iter_mut().find(|lock| lock.at == *at && lock.spid == scalars.spid) {
                Some(lock) => lock.hold = lock.hold.max(*hold),
                None => self.table_locks.push(TableLock { at: *at, spid: scalars.spid, hold: *hold }),
            }
        }
        Ok(())
    }

    pub fn find_table(&self, scalars: &Scalars, name: &[String]) -> Result<Option<TableAt>> {
        let (database, schema, table) = self.resolve(scalars, name)?;
        let storage = &self.db(database).storage;
        let exact = storage.table(&schema, &table);
        let found = exact.or_else(|| {
            storage
                .tables()
                .find(|(_, d)| same_name(&d.name, &table) && same_name(&d.schema, &schema))
                .map(|(id, _)| id)
        });
        let own = scalars.xacts.get(&database).copied();
        let in_the_way = match found {
            Some(found) => storage.definer(own, found),
            None => storage.name_holder(own, |s, n| same_name(n, &table) && same_name(s, &schema)),
        };
        match in_the_way {
            Some(by) => Err(self.blocked(database, by)),
            None => Ok(found.map(|table| TableAt { database, table })),
        }
    }

    /// Whoever gets this error waits for the transaction and tries again.
    pub fn blocked(&self, database: usize, by: Transaction) -> SqlError {
        self.blocked_by.set(Some((database, by)));
        SqlError::new(super::session::BLOCKED, "")
    }

    /// A schema as it is spelled.
    pub fn find_schema(&self, database: usize, name: &str) -> Option<(String, u32)> {
        self.db(database).storage.schemas().find(|(n, _)| same_name(n, name)).map(|(n, id)| (n.to_owned(), id))
    }
}

/// A whole table that a session has locked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableLock {
    pub at: TableAt,
    pub spid: i16,
    pub hold: Hold,
}

/// The keys and indexes of a table as its storage knows them.
fn keys_of(storage: &Database, id: u32, def: &TableDef) -> Vec<KeyDef> {
    let mut keys = Vec::new();
    if !def.primary_key.is_empty() {
        let key = storage.clustered_key(id).cloned().unwrap_or_else(|| KeyName::of_table(&def.name));
        let constraint = !matches!(key.kind, KeyKind::Index { .. });
        keys.push(KeyDef {
            name: key.name,
            object: constraint.then(|| key.object.unwrap_or_else(|| key_object(id))),
            primary: key.kind == KeyKind::PrimaryKey,
            unique: key.kind != KeyKind::Index { unique: false },
            clustered: true,
            index_id: 1,
            columns: def.primary_key.iter().map(|c| (*c, false)).collect(),
            included: Vec::new(),
            named_by_system: key.system_named,
        });
    }
    let place = |column: &u32| storage.column_place(id, *column);
    keys.extend(storage.indexes(id).map(|index| {
        let constraint = storage.key_constraint(id, index.id);
        KeyDef {
            name: index.name.clone(),
            object: constraint.map(|c| c.object),
            primary: index.primary,
            unique: index.unique,
            clustered: false,
            index_id: index.id,
            columns: index.columns.iter().filter_map(|(c, descending)| Some((place(c)?, *descending))).collect(),
            included: index.included.iter().filter_map(place).collect(),
            named_by_system: constraint.is_some_and(|c| c.system_named),
        }
    }));
    keys
}

/// Temporary tables are in tempdb, each under the name of its session.
fn temp_name(name: &str, spid: i16) -> String {
    if name.starts_with("##") { name.to_owned() } else { name.to_owned() + &temp_suffix(spid) }
}

pub(crate) fn temp_suffix(spid: i16) -> String {
    format!("____{spid:012X}")
}

impl Db {
    /// An id for an object that is about to be made.
    pub fn object_id(&mut self) -> Result<u32> {
        self.storage.new_object_id().map_err(from_storage)
    }

    pub fn meta(&self, table: u32) -> &TableMeta {
        static NONE: TableMeta = TableMeta {
            created: None,
            altered: 0,
            identity: None,
            computed: Vec::new(),
            keys: Vec::new(),
            checks: Vec::new(),
            defaults: Vec::new(),
            foreign: Vec::new(),
            rowguid: None,
        };
        self.tables.get(&table).unwrap_or(&NONE)
    }

    pub fn types(&self, table: u32) -> Vec<SqlType> {
        self.storage.table_def(table).into_iter().flat_map(|d| &d.columns).map(|c| c.sql_type.clone()).collect()
    }

    /// A table's name with its schema.
    pub fn table_name(&self, table: u32) -> (String, String) {
        self.storage.table_def(table).map(|d| (d.schema.clone(), d.name.clone())).unwrap_or_default()
    }
}

/// Errors of the storage engine that no statement can meet, or that have no number of their own.
pub(crate) fn from_storage(error: logferry_mssql_standin_storage::Error) -> SqlError {
    use logferry_mssql_standin_storage::Error as E;
    match error {
        E::RowTooLong(n) => SqlError::new(
            511,
            format!("Cannot create a row of size {n} which is greater than the allowable maximum row size of 8060."),
        ),
        E::NameTaken(name) => {
            SqlError::batch(2714, format!("There is already an object named '{name}' in the database.")).state(6)
        }
        E::NoFullBackup => {
            SqlError::batch(4214, "BACKUP LOG cannot be performed because there is no current database backup.")
        }
        E::Write { path, source } => {
            SqlError::batch(3201, format!("Cannot open backup device '{path}'. Operating system error {source}."))
        }
        E::ReadOnly(name) => {
            SqlError::new(3906, format!("Failed to update database \"{name}\" because the database is read-only."))
        }
        E::Read { path, source } => SqlError::batch(
            5120,
            format!("Unable to open the physical file \"{path}\". Operating system error: \"{source}\"."),
        ),
        E::Damaged { path, what } => SqlError::batch(5172, format!("{path}: {what}.")),
        E::Unsupported(what) => super::error::unsupported(what),
        other => SqlError::batch(8630, format!("Internal error: {other}.")),
    }
}

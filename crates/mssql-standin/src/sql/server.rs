//! A server: databases that many sessions share, and who connects.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

use logferry_model::Lsn;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::bind::TableAt;
use super::error::{Result, SqlError, invalid_object};
use super::hidden::{Hidden, Rights};
use super::session::Session;
use super::state::{Isolation, Scalars, SessionRow, State, from_storage};
use logferry_mssql_standin_storage::{Database, Options};

/// A server: databases that many sessions share.
#[derive(Clone, Debug)]
pub struct Server {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Whether a thread looks after the capture jobs.
    pub(super) watched: AtomicBool,
    /// A transaction ended.
    pub(super) released: Condvar,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// Who connects.
#[derive(Clone, Debug)]
pub struct Login {
    /// Name of the login; passwords are not this module's business.
    pub name: String,
    /// `HOST_NAME()`
    pub host: String,
    /// `APP_NAME()`
    pub program: String,
    /// The database to begin in; `master` where it is empty.
    pub database: String,
}

impl Server {
    /// A server with its system databases.
    ///
    /// # Errors
    /// Where storage cannot make them.
    pub fn new(name: &str) -> Result<Self> {
        let state = State::new(name, utc_now())?;
        Ok(Server {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                released: Condvar::new(),
                watched: AtomicBool::new(false),
            }),
        })
    }

    /// Makes a database; the name and server of the options are set.
    ///
    /// # Errors
    /// 1801 where there is one of that name.
    pub fn create_database(&self, name: &str, options: Options) -> Result<()> {
        self.shared.lock().create_database(name, utc_now(), options).map(drop)
    }

    /// Takes a database that was made with [`Database::create`]; it must have no open transactions.
    pub fn adopt_database(&self, name: &str, database: Database) {
        self.shared.lock().adopt(name, utc_now(), database);
    }

    /// Where backups with a relative name go: at first, the process's folder.
    pub fn set_backup_folder(&self, folder: PathBuf) {
        self.shared.lock().backups = folder;
    }

    /// From here on sessions whose program's name begins with this word have no right on some tables of a database, given as `schema.table`; none of them: they have
    /// all rights again.
    ///
    /// # Errors
    /// Where there is no such table.
    pub fn hide(&self, program: &str, database: &str, tables: &[&str], rights: Rights) -> Result<()> {
        let mut state = self.shared.lock();
        let mut hidden = Hidden { program: program.to_owned(), rights, tables: Vec::new() };
        let at = state.find_database(database);
        for name in tables {
            let table = at.and_then(|at| {
                let (schema, table) = name.split_once('.')?;
                Some(TableAt { database: at, table: state.db(at).storage.table(schema, table)? })
            });
            hidden.tables.push(table.ok_or_else(|| invalid_object(name))?);
        }
        state.hidden = if tables.is_empty() { Hidden::default() } else { hidden };
        Ok(())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.shared.lock().sessions.len()
    }

    /// How many rows of tables queries have looked at since it began, whether these were wanted or not: what tells an index that is used
    /// from a table that is read.
    pub fn rows_read(&self) -> u64 {
        self.shared.lock().rows_read.get()
    }

    /// Gives the server another name: `@@SERVERNAME`.
    pub fn rename(&self, name: &str) {
        self.shared.lock().server = name.to_owned();
    }

    /// Serves a data file and a log file of a real server, read-only.
    ///
    /// # Errors
    /// 1801 where there is a database of that name; 5120 and 5172 where a file cannot be read or is damaged; 40517 where it
    /// has something in it that is not served.
    pub fn attach_database(&self, name: &str, data: &Path, log: &Path) -> Result<()> {
        self.shared.lock().attach(name, (data, log), utc_now())
    }

    /// Lets the log of a database forget what is before a record, or all of it so far.
    ///
    /// # Errors
    /// 911 where there is no such database, 3906 where it is read-only, 8630 where there is no such record.
    pub fn truncate_log(&self, database: &str, before: Option<Lsn>) -> Result<Lsn> {
        let cut = self.with_storage(database, |storage| storage.truncate_log(before));
        cut.ok_or_else(|| {
            SqlError::batch(
                911,
                format!("Database '{database}' does not exist. Make sure that the name is entered correctly."),
            )
        })?
        .map_err(from_storage)
    }

    /// Works on the storage of a database, while no statement runs.
    pub fn with_storage<T>(&self, database: &str, work: impl FnOnce(&mut Database) -> T) -> Option<T> {
        let mut state = self.shared.lock();
        let at = state.find_database(database)?;
        let db = state.db_mut(at);
        db.lookups.clear();
        let out = work(&mut db.storage);
        db.storage.keep_loaded_rows();
        Some(out)
    }

    /// A session.
    ///
    /// # Errors
    /// 4060 where there is no such database.
    pub fn connect(&self, login: &Login) -> Result<Session> {
        let mut state = self.shared.lock();
        let database = match login.database.as_str() {
            "" => 0,
            name => state.find_database(name).ok_or_else(|| {
                SqlError::batch(
                    4060,
                    format!("Cannot open database \"{name}\" requested by the login. The login failed."),
                )
                .class(11)
            })?,
        };
        let spid = (51..i16::MAX).find(|n| !state.sessions.contains_key(n)).unwrap_or(i16::MAX);
        state.sessions.insert(
            spid,
            SessionRow {
                login: login.name.clone(),
                program: login.program.clone(),
                host: login.host.clone(),
                database,
                since: super::time::datetime(utc_now()),
            },
        );
        let scalars = Scalars {
            spid,
            login: login.name.clone(),
            program: login.program.clone(),
            host: login.host.clone(),
            database,
            depth: 0,
            xacts: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            isolation: Isolation::ReadCommitted,
            rowcount: 0,
            error: 0,
            identity: None,
            caught: None,
            options: BTreeMap::new(),
            identity_insert: None,
            lock_timeout_ms: None,
            now: utc_now(),
            seed: u64::from(spid.unsigned_abs()) << 32 ^ utc_now().1,
            implicit: false,
            images: None,
            scope: 0,
            scopes: 0,
            table_variables: Vec::new(),
            table_parameters: Vec::new(),
            event: None,
            firing: Vec::new(),
            defined: Vec::new(),
            stop: Default::default(),
            steps: Default::default(),
        };
        drop(state);
        Ok(Session::of(Arc::clone(&self.shared), scalars))
    }
}

/// Now, in UTC: days since 0001-01-01, ticks of 100 ns.
pub(super) fn utc_now() -> (i32, u64) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    (719_162 + (seconds / 86_400) as i32, seconds % 86_400 * 10_000_000 + u64::from(since.subsec_nanos()) / 100)
}

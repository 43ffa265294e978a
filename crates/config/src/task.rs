//! The settings of a task, checked.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use logferry_model::Start;
use logferry_transform::Settings as TransformSettings;

use crate::checker::Checker;
use crate::defaults;
use crate::error::ConfigError;
use crate::filter::{Pattern, TableFilter};
use crate::object_storage::ObjectStorage;
use crate::raw;
use crate::secret::Secret;

/// All settings of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its name: what the target's checkpoint is kept under.
    pub name: String,
    /// Where rows and changes come from.
    pub source: Source,
    /// Where they go.
    pub target: TargetSettings,
    /// What is done.
    pub phases: Phases,
    /// Where changes begin, where nothing is copied.
    pub start: Start,
    /// Which tables.
    pub tables: TableFilter,
    /// Names and types.
    pub transform: TransformSettings,
    /// What becomes of changes of the schema while changes are applied.
    pub ddl: DdlPolicy,
    /// The full copy.
    pub copy: CopySettings,
    /// The changes.
    pub apply: ApplySettings,
    /// Bounds of memory.
    pub memory: MemorySettings,
    /// What is tried again, and for how long.
    pub retry: RetrySettings,
    /// Tables to be read whole once more, as `schema.table`: not of the file, but of the command line.
    pub reload: Vec<String>,
}

/// Where rows and changes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Backup files, or data and log files.
    Backup(BackupSource),
    /// A running server.
    Server(ServerSource),
}

/// `mode: snapshot`, `log`, `cdc` and `hybrid`: a running server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSource {
    /// What is read.
    pub mode: ServerMode,
    /// Name or address of the machine.
    pub host: String,
    /// Where it listens; not asked for where there is an instance.
    pub port: u16,
    /// A named instance: its port is asked of the SQL Server Browser.
    pub instance: Option<String>,
    /// The database.
    pub database: String,
    /// How it lets us in.
    pub login: Login,
    /// Whose certificate is believed.
    pub trust: Trust,
    /// The name that the certificate has, where it is not the host's.
    pub certificate_name: Option<String>,
    /// The connection begins with TLS (TDS 8.0).
    pub strict: bool,
    /// A readable secondary will do.
    pub read_only: bool,
    /// How long an answer, or its next piece, is waited for.
    pub answer_seconds: u32,
    /// `mode: log`: what happens where the log was truncated before it was read, and no backup has it.
    pub on_gap: OnGap,
    /// `mode: log`: whether, and within which bounds, the log is held.
    pub hold_log: Option<HoldLog>,
    /// `mode: cdc`: whether change data capture may be enabled for the database, and for tables without a capture instance.
    pub cdc_enable: bool,
    /// `mode: hybrid`: how often a row is written on the source.
    pub heartbeat_seconds: u32,
}

/// How a server lets a task in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// SQL authentication.
    Sql {
        /// Name.
        user: String,
        /// Its password.
        password: Secret,
    },
    /// An access token of Entra ID.
    Token(Secret),
    /// One that is in this file, and is read at each connection.
    TokenFile(PathBuf),
    /// A ticket of Kerberos, of whom the system's credential cache or client keytab is.
    Kerberos,
}

/// What is done of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phases {
    /// Tables are made.
    pub schema: bool,
    /// Rows are copied.
    pub full: bool,
    /// Changes are applied.
    pub incremental: bool,
}

impl Default for Phases {
    fn default() -> Self {
        Phases { schema: true, full: true, incremental: true }
    }
}

/// What happens at a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnGap {
    /// The task stops, and says so.
    Stop,
    /// All tables are read anew.
    Resync,
}

/// Bounds within which the log is held by an open transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldLog {
    /// Active log, in MB.
    pub max_mb: u32,
    /// Age of the transaction.
    pub max_minutes: u32,
}

/// What is read of a running server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerMode {
    /// The tables, once.
    Snapshot,
    /// The tables, and what is committed from then on, by the transaction log.
    Log,
    /// The tables, and what is committed from then on, by change tables.
    Cdc,
    /// The tables, and what is committed from then on, by the log or by change tables, whichever serves a table.
    Hybrid,
}

/// Whose certificate is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// One that an authority of the system has signed, for this host.
    System,
    /// One that an authority in this file has signed, for this host.
    Authority(PathBuf),
    /// The one in this file.
    Pinned(PathBuf),
    /// Any.
    Any,
}

/// `mode: backup`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupSource {
    /// Files and folders, here or as `s3://bucket/prefix`: backups in any order, or the data files of one database.
    pub files: Vec<PathBuf>,
    /// Which database, where the files hold several.
    pub database: Option<String>,
    /// Which backup set of a file that holds several, from 1.
    pub set: Option<u16>,
    /// Log files (`.ldf`) that belong to data files.
    pub log: Vec<PathBuf>,
    /// Goes on with files that arrive later, looking for them so often.
    pub watch: Option<Duration>,
    /// How those of a store are reached.
    pub object_storage: ObjectStorage,
}

impl BackupSource {
    /// Backups in any order, or the data files of one database.
    pub fn of_files(files: Vec<PathBuf>) -> Self {
        let object_storage = ObjectStorage::default();
        BackupSource { files, database: None, set: None, log: Vec::new(), watch: None, object_storage }
    }

    /// Whether all databases in the files are meant.
    pub fn is_whole_instance(&self) -> bool {
        self.database.as_deref() == Some(ALL_DATABASES)
    }
}

/// In the place of a database's name: all of them.
pub const ALL_DATABASES: &str = "*";

/// Where rows and changes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSettings {
    /// `postgres://user:password@host:port/database`
    pub url: Secret,
    /// What to do about tables that are there before the first copy.
    pub on_existing: OnExisting,
    /// Where each goes, of all databases of some files.
    pub per_database: PerDatabase,
    /// How late an answer may be before another connection asks whether anybody works at it.
    pub answer_seconds: u32,
}

/// Where each database goes, of all databases of some files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerDatabase {
    /// Into schemas of its own.
    Schemas,
    /// Into a PostgreSQL database of its own, which is made where it is missing.
    Database,
}

/// What to do about target tables that are there before the first copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExisting {
    /// Stop and name them.
    Error,
    /// Take them as they are, with their rows.
    Ignore,
    /// Take them as they are, without their rows.
    Truncate,
    /// Drop them and make them anew.
    Recreate,
}

/// What becomes of changes of the schema (tables and columns that come, go or change) while changes are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DdlPolicy {
    /// The target follows.
    Apply,
    /// The task stops in front of them.
    Stop,
    /// The target stays as it is, and rows go on as far as it can take them.
    Ignore,
}

/// The full copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopySettings {
    /// Chunks that are copied at the same time.
    pub workers: u16,
    /// Size of a chunk.
    pub chunk_mb: u32,
    /// So many MB a second at the most, as they are written to the target, all workers together.
    pub max_mb_per_second: Option<u32>,
    /// So many rows a second at the most, all workers together.
    pub max_rows_per_second: Option<u32>,
}

/// How changes are put into batches: whichever bound is met first ends one, at the end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApplySettings {
    /// Bytes.
    pub batch_mb: u32,
    /// Row changes.
    pub batch_rows: u32,
    /// Time since the first change.
    pub linger_ms: u32,
    /// How often the position is confirmed while nothing changes.
    pub confirm_seconds: u32,
}

/// Bounds of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySettings {
    /// Pages changed by the log that are kept in memory.
    pub pages_mb: u32,
    /// Changes read and converted ahead of the target.
    pub queue_mb: u32,
}

/// What is tried again, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetrySettings {
    /// A connection that was lost; 0: not at all.
    pub connection_minutes: u32,
    /// Whether a target that cannot be reached at the start is waited for, too. A task of a file may start before its
    /// database does; who has just typed an address wants to be told.
    pub from_the_start: bool,
}

impl Task {
    /// Whether it follows the changes of a running server.
    pub fn follows_server(&self) -> bool {
        matches!(&self.source, Source::Server(server) if server.mode != ServerMode::Snapshot)
    }

    /// Whether the settings of another file may take the place of these while the task runs: what it reads, where it writes, and under
    /// which name, stay. What does not, if so.
    pub fn is_elsewhere(&self, other: &Task) -> Option<&'static str> {
        // Names and passwords may change.
        let place = |url: &Secret| {
            let url = url.expose();
            match url.split_once("://").map(|(_, rest)| rest) {
                Some(rest) => rest.rsplit_once('@').map_or(rest, |(_, place)| place).to_owned(),
                None => url.to_owned(),
            }
        };
        let is_same_source = match (&self.source, &other.source) {
            // Its files come and go.
            (Source::Backup(a), Source::Backup(b)) => a.database == b.database,
            (Source::Server(a), Source::Server(b)) => {
                let of = |s: &ServerSource| (s.mode, s.host.clone(), s.port, s.instance.clone(), s.database.clone());
                of(a) == of(b)
            }
            _ => false,
        };
        match () {
            () if self.name != other.name => Some("task"),
            () if !is_same_source => Some("source"),
            () if place(&self.target.url) != place(&other.target.url) => Some("target.url"),
            () => None,
        }
    }

    /// Reads a task's file. Relative paths in it count from the file's folder, and `${VAR}` is taken from the
    /// environment.
    pub fn load(path: &Path) -> Result<Task, ConfigError> {
        let file = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|e| {
            ConfigError::new(&file, format!("could not read the task's file: {e}"))
                .with_hint("give the path of a YAML file; config/minimal.yaml is one to start from")
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Task::parse(&text, &file, folder, &|name| std::env::var(name).ok())
    }

    /// Reads a task's text. `file` is its name in errors, relative paths count from `folder`, and `env` knows the
    /// values of `${VAR}`.
    pub fn parse(
        text: &str,
        file: &str,
        folder: &Path,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Task, ConfigError> {
        let options = serde_saphyr::options! { with_snippet: false };
        let raw: raw::Task =
            serde_saphyr::from_str_with_options(text, options).map_err(|e| ConfigError::of_yaml(file, text, &e))?;
        Checker { text, file, folder, env }.task(raw)
    }

    /// A task without a file: all settings are defaults.
    pub fn of_parts(name: impl Into<String>, source: BackupSource, url: Secret) -> Task {
        Task {
            name: name.into(),
            source: Source::Backup(source),
            target: TargetSettings {
                url,
                on_existing: defaults::ON_EXISTING,
                per_database: defaults::PER_DATABASE,
                answer_seconds: defaults::TARGET_ANSWER_SECONDS,
            },
            phases: Phases::default(),
            start: Start::Now,
            tables: TableFilter::default(),
            transform: TransformSettings::default(),
            ddl: defaults::DDL,
            copy: CopySettings::default(),
            apply: ApplySettings::default(),
            memory: MemorySettings::default(),
            retry: RetrySettings::default(),
            reload: Vec::new(),
        }
    }
}

impl Default for TableFilter {
    fn default() -> Self {
        let include = defaults::TABLES_INCLUDE.iter().map(|p| Pattern::new(*p)).collect();
        TableFilter { include, exclude: Vec::new(), conditions: Vec::new() }
    }
}

impl Default for CopySettings {
    fn default() -> Self {
        CopySettings {
            workers: defaults::COPY_WORKERS,
            chunk_mb: defaults::COPY_CHUNK_MB,
            max_mb_per_second: None,
            max_rows_per_second: None,
        }
    }
}

impl Default for ApplySettings {
    fn default() -> Self {
        ApplySettings {
            batch_mb: defaults::APPLY_BATCH_MB,
            batch_rows: defaults::APPLY_BATCH_ROWS,
            linger_ms: defaults::APPLY_LINGER_MS,
            confirm_seconds: defaults::APPLY_CONFIRM_SECONDS,
        }
    }
}

impl Default for MemorySettings {
    fn default() -> Self {
        MemorySettings { pages_mb: defaults::MEMORY_PAGES_MB, queue_mb: defaults::MEMORY_QUEUE_MB }
    }
}

impl Default for RetrySettings {
    fn default() -> Self {
        RetrySettings { connection_minutes: defaults::RETRY_CONNECTION_MINUTES, from_the_start: true }
    }
}

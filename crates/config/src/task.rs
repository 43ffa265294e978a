//! The settings of a task, checked.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use logferry_transform::Settings as TransformSettings;
use serde_saphyr::Location;

use crate::defaults;
use crate::error::ConfigError;
use crate::filter::{Pattern, TableFilter};
use crate::object_storage::ObjectStorage;
use crate::raw::{self, At};
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
    /// Name for SQL authentication.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Whose certificate is believed.
    pub trust: Trust,
    /// The name that the certificate has, where it is not the host's.
    pub certificate_name: Option<String>,
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
            target: TargetSettings { url, on_existing: defaults::ON_EXISTING, per_database: defaults::PER_DATABASE },
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
        TableFilter { include, exclude: Vec::new() }
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

/// Turns what YAML says into settings, or into an error that shows the place.
pub(crate) struct Checker<'a> {
    text: &'a str,
    file: &'a str,
    folder: &'a Path,
    env: &'a dyn Fn(&str) -> Option<String>,
}

const TRUST: &str = "one of ca, pinned or trust; none of them for the system's authorities";

impl Checker<'_> {
    fn task(&self, raw: raw::Task) -> Result<Task, ConfigError> {
        Ok(Task {
            name: self.name(&raw.task)?,
            source: self.source(raw.source)?,
            target: self.target(raw.target)?,
            tables: self.tables(raw.tables)?,
            transform: TransformSettings { names: raw.names, types: raw.types, columns: raw.columns },
            ddl: match raw.ddl {
                None => defaults::DDL,
                Some(raw::Ddl::Apply) => DdlPolicy::Apply,
                Some(raw::Ddl::Stop) => DdlPolicy::Stop,
                Some(raw::Ddl::Ignore) => DdlPolicy::Ignore,
            },
            copy: CopySettings {
                workers: self.number(raw.copy.workers, defaults::COPY_WORKERS, 1..=64)?,
                chunk_mb: self.number(raw.copy.chunk_mb, defaults::COPY_CHUNK_MB, 1..=4096)?,
                max_mb_per_second: self.bound(raw.copy.max_mb_per_second)?,
                max_rows_per_second: self.bound(raw.copy.max_rows_per_second)?,
            },
            apply: ApplySettings {
                batch_mb: self.number(raw.apply.batch_mb, defaults::APPLY_BATCH_MB, 1..=1024)?,
                batch_rows: self.number(raw.apply.batch_rows, defaults::APPLY_BATCH_ROWS, 1..=10_000_000)?,
                linger_ms: self.number(raw.apply.linger_ms, defaults::APPLY_LINGER_MS, 0..=60_000)?,
            },
            memory: MemorySettings {
                pages_mb: self.number(raw.memory.pages_mb, defaults::MEMORY_PAGES_MB, 8..=1_048_576)?,
                queue_mb: self.number(raw.memory.queue_mb, defaults::MEMORY_QUEUE_MB, 1..=4096)?,
            },
            reload: Vec::new(),
            retry: RetrySettings {
                connection_minutes: self.number(
                    raw.retry.connection_minutes,
                    defaults::RETRY_CONNECTION_MINUTES,
                    0..=1440,
                )?,
                from_the_start: true,
            },
        })
    }

    fn name(&self, name: &At<String>) -> Result<String, ConfigError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let text = self.interpolate(name)?;
        if text.is_empty() || text.len() > 63 || !text.chars().all(fits) {
            return Err(self.wrong(name, "the task's name is not usable as a name").expected(
                "1 to 63 letters, digits, \"-\", \"_\" or \".\": it names the task in the target's tables and in logs",
            ));
        }
        Ok(text)
    }

    fn source(&self, raw: raw::Source) -> Result<Source, ConfigError> {
        match raw.mode.value.as_str() {
            "backup" => self.files(raw).map(Source::Backup),
            "snapshot" => self.server(raw, ServerMode::Snapshot).map(Source::Server),
            "log" => self.server(raw, ServerMode::Log).map(Source::Server),
            "cdc" => self.server(raw, ServerMode::Cdc).map(Source::Server),
            "hybrid" => self.server(raw, ServerMode::Hybrid).map(Source::Server),
            _ => Err(self.wrong(&raw.mode, "there is no such mode").expected("backup, snapshot, log, cdc or hybrid")),
        }
    }

    fn files(&self, raw: raw::Source) -> Result<BackupSource, ConfigError> {
        self.other_mode(&raw.mode, &raw.host, "host")?;
        self.other_mode(&raw.mode, &raw.port, "port")?;
        self.other_mode(&raw.mode, &raw.instance, "instance")?;
        self.other_mode(&raw.mode, &raw.user, "user")?;
        self.other_mode(&raw.mode, &raw.password, "password")?;
        self.other_mode(&raw.mode, &raw.read_only, "read_only")?;
        self.other_mode(&raw.mode, &raw.answer_seconds, "answer_seconds")?;
        self.other_mode(&raw.mode, &raw.tls, "tls")?;
        self.other_mode(&raw.mode, &raw.on_gap, "on_gap")?;
        self.other_mode(&raw.mode, &raw.hold_log, "hold_log")?;
        self.other_mode(&raw.mode, &raw.cdc, "cdc")?;
        self.other_mode(&raw.mode, &raw.heartbeat_seconds, "heartbeat_seconds")?;
        let Some(files) = raw.files else {
            return Err(self
                .wrong(&raw.mode, "key \"files\" is missing beside this one")
                .expected("files: [PATH, ...]: backup files, data files, or folders of them"));
        };
        if files.value.is_empty() {
            return Err(self.wrong(&files, "the list is empty").expected("at least one file or folder"));
        }
        let set = match raw.set {
            Some(set) if set.value == 0 => {
                return Err(self.wrong(&set, "backup sets are counted from 1").expected("1 or more"));
            }
            set => set.map(|s| s.value),
        };
        let database = raw.database.as_ref().map(|d| self.interpolate(d)).transpose()?;
        if let Some(all) = raw.database.as_ref().filter(|_| database.as_deref() == Some(ALL_DATABASES))
            && (set.is_some() || raw.log.is_some())
        {
            return Err(self.wrong(all, "all databases, beside a key that is about one").expected("its name"));
        }
        let watch = match (raw.watch.is_some_and(|w| w.value), &raw.watch_seconds) {
            (false, Some(seconds)) => {
                return Err(self.wrong(seconds, "nothing is watched").expected("watch: true beside it"));
            }
            (false, None) => None,
            (true, _) if set.is_some() || raw.log.is_some() => {
                return Err(self
                    .wrong(&raw.mode, "a chain of backups can be watched, not a single set and not log files")
                    .expected("watch without set and log"));
            }
            (true, _) => {
                let seconds = self.number(raw.watch_seconds, defaults::WATCH_SECONDS, 1..=3600)?;
                Some(Duration::from_secs(u64::from(seconds)))
            }
        };
        let object_storage = self.object_storage(raw.object_storage.map(|o| o.value))?;
        let paths = |list: &[At<String>]| list.iter().map(|p| self.path(p)).collect::<Result<Vec<_>, _>>();
        Ok(BackupSource {
            files: paths(&files.value)?,
            database,
            set,
            log: paths(raw.log.as_ref().map(|l| l.value.as_slice()).unwrap_or_default())?,
            watch,
            object_storage,
        })
    }

    fn server(&self, raw: raw::Source, mode: ServerMode) -> Result<ServerSource, ConfigError> {
        self.other_mode(&raw.mode, &raw.files, "files")?;
        self.other_mode(&raw.mode, &raw.set, "set")?;
        self.other_mode(&raw.mode, &raw.log, "log")?;
        self.other_mode(&raw.mode, &raw.watch, "watch")?;
        self.other_mode(&raw.mode, &raw.watch_seconds, "watch_seconds")?;
        self.other_mode(&raw.mode, &raw.object_storage, "object_storage")?;
        if !matches!(mode, ServerMode::Log | ServerMode::Hybrid) {
            self.other_mode(&raw.mode, &raw.on_gap, "on_gap")?;
            self.other_mode(&raw.mode, &raw.hold_log, "hold_log")?;
        }
        let hold_log = match raw.hold_log.map(|hold| hold.value) {
            Some(hold) => Some(HoldLog {
                max_mb: self.number(hold.max_mb, defaults::HOLD_LOG_MB, 1..=u32::MAX)?,
                max_minutes: self.number(hold.max_minutes, defaults::HOLD_LOG_MINUTES, 1..=10_080)?,
            }),
            None => None,
        };
        if mode != ServerMode::Cdc {
            self.other_mode(&raw.mode, &raw.cdc, "cdc")?;
        }
        if mode != ServerMode::Hybrid {
            self.other_mode(&raw.mode, &raw.heartbeat_seconds, "heartbeat_seconds")?;
        }
        let needed = |value: &Option<At<String>>, key: &str, what: &str| match value {
            Some(value) => {
                let text = self.interpolate(value)?;
                if text.is_empty() { Err(self.wrong(value, "the text is empty").expected(what)) } else { Ok(text) }
            }
            None => {
                let missing = format!("key \"{key}\" is missing beside this one");
                Err(self.wrong(&raw.mode, missing).expected(format!("{key}: {what}")))
            }
        };
        let host = needed(&raw.host, "host", "name or address of the machine")?;
        if let Some(at) = raw.host.as_ref().filter(|_| host.contains(['\\', ',', '/'])) {
            return Err(self
                .wrong(at, "this is more than the machine's name")
                .expected("the name alone: the instance goes to \"instance\", the port to \"port\""));
        }
        if let (Some(_), Some(instance)) = (&raw.port, &raw.instance) {
            return Err(self
                .wrong(instance, "an instance is found by its port, which is given, too")
                .expected("either port or instance"));
        }
        let port = self.number(raw.port, defaults::SERVER_PORT, 1..=u16::MAX)?;
        let tls = raw.tls.map(|tls| tls.value).unwrap_or_default();
        let trust = match (&tls.ca, &tls.pinned, tls.trust.as_ref().filter(|t| t.value)) {
            (None, None, None) => Trust::System,
            (Some(ca), None, None) => Trust::Authority(self.path(ca)?),
            (None, Some(pinned), None) => Trust::Pinned(self.path(pinned)?),
            (None, None, Some(_)) => Trust::Any,
            (_, Some(pinned), _) => {
                return Err(self.wrong(pinned, "there is another choice beside this one").expected(TRUST));
            }
            (Some(ca), None, Some(_)) => {
                return Err(self.wrong(ca, "there is another choice beside this one").expected(TRUST));
            }
        };
        Ok(ServerSource {
            mode,
            host,
            port,
            instance: raw.instance.map(|i| self.interpolate(&i)).transpose()?,
            database: needed(&raw.database, "database", "the database's name")?,
            user: needed(&raw.user, "user", "a login for SQL authentication")?,
            password: Secret::new(needed(&raw.password, "password", "its password, as ${NAME} of the environment")?),
            trust,
            certificate_name: tls.name.map(|n| self.interpolate(&n)).transpose()?,
            read_only: raw.read_only.is_some_and(|r| r.value),
            answer_seconds: self.number(raw.answer_seconds, defaults::ANSWER_SECONDS, 1..=86_400)?,
            on_gap: match raw.on_gap.map(|gap| gap.value) {
                Some(raw::OnGap::Resync) => OnGap::Resync,
                Some(raw::OnGap::Stop) | None => OnGap::Stop,
            },
            hold_log,
            heartbeat_seconds: self.number(raw.heartbeat_seconds, defaults::HEARTBEAT_SECONDS, 1..=300)?,
            cdc_enable: raw.cdc.and_then(|cdc| cdc.value.enable).unwrap_or(defaults::CDC_ENABLE),
        })
    }

    /// A key that belongs to another mode.
    fn other_mode<T>(&self, mode: &At<String>, value: &Option<At<T>>, key: &str) -> Result<(), ConfigError> {
        match value {
            Some(value) => Err(self.wrong(value, format!("key \"{key}\" does not belong to mode {}", mode.value))),
            None => Ok(()),
        }
    }

    fn target(&self, raw: raw::Target) -> Result<TargetSettings, ConfigError> {
        let url = self.interpolate(&raw.url)?;
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(self
                .wrong(&raw.url, "this is not the URL of a PostgreSQL database")
                .expected("postgres://user:password@host:port/database"));
        }
        let on_existing = match raw.on_existing {
            None => defaults::ON_EXISTING,
            Some(raw::OnExisting::Error) => OnExisting::Error,
            Some(raw::OnExisting::Ignore) => OnExisting::Ignore,
            Some(raw::OnExisting::Truncate) => OnExisting::Truncate,
            Some(raw::OnExisting::Recreate) => OnExisting::Recreate,
        };
        let per_database = match raw.per_database {
            None => defaults::PER_DATABASE,
            Some(raw::PerDatabase::Schemas) => PerDatabase::Schemas,
            Some(raw::PerDatabase::Database) => PerDatabase::Database,
        };
        Ok(TargetSettings { url: Secret::new(url), on_existing, per_database })
    }

    fn tables(&self, raw: raw::Tables) -> Result<TableFilter, ConfigError> {
        let patterns = |list: &[At<String>]| {
            list.iter().map(|p| Ok(Pattern::new(self.interpolate(p)?))).collect::<Result<Vec<_>, ConfigError>>()
        };
        let mut filter = TableFilter::default();
        if let Some(include) = raw.include {
            if include.value.is_empty() {
                return Err(self
                    .wrong(&include, "an empty list takes no table")
                    .expected("patterns like dbo.*, or leave the key out to take all tables"));
            }
            filter.include = patterns(&include.value)?;
        }
        filter.exclude = patterns(raw.exclude.as_deref().unwrap_or_default())?;
        Ok(filter)
    }

    /// A bound that need not be there.
    fn bound(&self, given: Option<At<u32>>) -> Result<Option<u32>, ConfigError> {
        given.map(|given| self.number(Some(given), 0, 1..=u32::MAX)).transpose()
    }

    pub(crate) fn number<N>(
        &self,
        given: Option<At<N>>,
        default: N,
        allowed: RangeInclusive<N>,
    ) -> Result<N, ConfigError>
    where
        N: PartialOrd + Copy + std::fmt::Display,
    {
        match given {
            None => Ok(default),
            Some(n) if allowed.contains(&n.value) => Ok(n.value),
            Some(n) => Err(self.wrong(&n, format!("{} is out of bounds", n.value)).expected(format!(
                "{} to {}",
                allowed.start(),
                allowed.end()
            ))),
        }
    }

    pub(crate) fn path(&self, raw: &At<String>) -> Result<PathBuf, ConfigError> {
        let text = self.interpolate(raw)?;
        if text.is_empty() {
            return Err(self.wrong(raw, "the path is empty").expected("a file or a folder"));
        }
        match text.split_once("://") {
            None => {}
            Some(("s3", rest)) if !rest.is_empty() && !rest.starts_with('/') => return Ok(PathBuf::from(text)),
            Some(("s3", _)) => {
                return Err(self.wrong(raw, "there is no bucket").expected("s3://bucket/prefix"));
            }
            Some((scheme, _)) => {
                return Err(self
                    .wrong(raw, format!("files at \"{scheme}://\" are not in this version"))
                    .expected("a path on this machine, or s3://bucket/prefix"));
            }
        }
        Ok(self.folder.join(text))
    }

    /// Puts the values of `${VAR}` in; `$$` is one `$`.
    pub(crate) fn interpolate(&self, raw: &At<String>) -> Result<String, ConfigError> {
        let mut out = String::new();
        let mut rest = raw.value.as_str();
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            let tail = &rest[at + 1..];
            if let Some(after) = tail.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some(after) = tail.strip_prefix('{') {
                let Some((name, after)) = after.split_once('}') else {
                    return Err(self.wrong(raw, "\"${\" has no \"}\"").expected("${NAME}, or $$ for a plain \"$\""));
                };
                let Some(value) = (self.env)(name) else {
                    return Err(self
                        .wrong(raw, format!("environment variable {name} is not set"))
                        .with_hint(format!("set it where logferry is started: export {name}=...")));
                };
                out.push_str(&value);
                rest = after;
            } else {
                out.push('$');
                rest = tail;
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    pub(crate) fn wrong<T>(&self, at: &At<T>, message: impl Into<String>) -> ConfigError {
        let location: Location = at.referenced;
        ConfigError::new(self.file, message).at(self.text, location)
    }
}

//! `source:` of a task.

use std::time::Duration;

use super::Checker;
use crate::defaults;
use crate::error::ConfigError;
use crate::raw::{self, At};
use crate::secret::Secret;
use crate::task::{ALL_DATABASES, BackupSource, HoldLog, Login, OnGap, ServerMode, ServerSource, Source, Trust};

const TRUST: &str = "one of ca, pinned or trust; none of them for the system's authorities";

impl Checker<'_> {
    pub(super) fn source(&self, raw: raw::Source, tables: &raw::Tables) -> Result<Source, ConfigError> {
        match raw.mode.value.as_str() {
            "backup" => match tables.conditions.values().next() {
                Some(first) => Err(self
                    .wrong(
                        first,
                        "mode backup cannot choose rows: it is a server that evaluates conditions, by its collations",
                    )
                    .expected("no \"where\", or a mode that reads a running server")),
                None => self.files(raw),
            }
            .map(Source::Backup),
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
        self.other_mode(&raw.mode, &raw.token, "token")?;
        self.other_mode(&raw.mode, &raw.token_file, "token_file")?;
        self.other_mode(&raw.mode, &raw.kerberos, "kerberos")?;
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
        let kerberos = raw.kerberos.as_ref().filter(|kerberos| kerberos.value);
        let login = match (&raw.token, &raw.token_file) {
            _ if kerberos.is_some() => {
                let beside = [&raw.user, &raw.password, &raw.token, &raw.token_file].into_iter().flatten().next();
                match beside {
                    Some(at) => {
                        return Err(self
                            .wrong(at, "kerberos stands in the place of user, password and tokens")
                            .expected("either kerberos: true, or another way to log in"));
                    }
                    None => Login::Kerberos,
                }
            }
            (None, None) => Login::Sql {
                user: needed(&raw.user, "user", "a login for SQL authentication; or token, token_file or kerberos")?,
                password: Secret::new(needed(
                    &raw.password,
                    "password",
                    "its password, as ${NAME} of the environment",
                )?),
            },
            (Some(token), Some(_)) => {
                return Err(self.wrong(token, "there is a token_file, too").expected("either token or token_file"));
            }
            (Some(at), None) | (None, Some(at)) if raw.user.is_some() || raw.password.is_some() => {
                return Err(self
                    .wrong(at, "a token stands in the place of user and password")
                    .expected("either a token, or user and password"));
            }
            (Some(_), None) => Login::Token(Secret::new(needed(&raw.token, "token", "an access token")?)),
            (None, Some(file)) => Login::TokenFile(self.path(file)?),
        };
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
            login,
            trust,
            certificate_name: tls.name.map(|n| self.interpolate(&n)).transpose()?,
            strict: tls.strict.is_some_and(|strict| strict.value),
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
}

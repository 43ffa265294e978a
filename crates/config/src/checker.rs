//! From what YAML says to settings.

mod phases;
mod source;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use logferry_transform::Settings as TransformSettings;
use serde_saphyr::Location;

use crate::defaults;
use crate::error::ConfigError;
use crate::filter::{Pattern, RowCondition, TableFilter};
use crate::raw::{self, At};
use crate::secret::Secret;
use crate::task::{
    ApplySettings, CopySettings, DdlPolicy, MemorySettings, OnExisting, PerDatabase, RetrySettings, TargetSettings,
    Task,
};

/// Turns what YAML says into settings, or into an error that shows the place.
pub(crate) struct Checker<'a> {
    pub text: &'a str,
    pub file: &'a str,
    pub folder: &'a Path,
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

impl Checker<'_> {
    pub(crate) fn task(&self, raw: raw::Task) -> Result<Task, ConfigError> {
        let (phases, start) = self.phases(&raw)?;
        Ok(Task {
            phases,
            start,
            name: self.name(&raw.task)?,
            source: self.source(raw.source, &raw.tables)?,
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
                confirm_seconds: self.number(raw.apply.confirm_seconds, defaults::APPLY_CONFIRM_SECONDS, 1..=3_600)?,
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
        let answer_seconds = self.number(raw.answer_seconds, defaults::TARGET_ANSWER_SECONDS, 1..=86_400)?;
        Ok(TargetSettings { url: Secret::new(url), on_existing, per_database, answer_seconds })
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
        for (table, sql) in &raw.conditions {
            if !table.contains('.') || table.contains(['*', '?']) {
                return Err(self
                    .wrong(sql, format!("\"{table}\" is not the name of one table"))
                    .expected("the table as schema.table, and what its rows must be: dbo.Orders: \"Region = 'EU'\""));
            }
            let condition = RowCondition { table: table.clone(), sql: self.interpolate(sql)? };
            if filter.conditions.iter().any(|c| c.table.to_lowercase() == table.to_lowercase()) {
                return Err(self.wrong(sql, format!("table \"{table}\" has a condition already")));
            }
            filter.conditions.push(condition);
        }
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

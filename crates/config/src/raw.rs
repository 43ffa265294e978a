//! What YAML says, with the place of each value: nothing is checked here but keys and kinds.

use std::collections::BTreeMap;

use logferry_transform::{ColumnTypes, Names, Types};
use serde::Deserialize;
use serde_saphyr::Spanned;

/// A value and where it stands.
pub(crate) type At<T> = Spanned<T>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Task {
    pub task: At<String>,
    pub source: Source,
    pub target: Target,
    pub phases: Option<At<Vec<Phase>>>,
    pub start: Option<At<Start>>,
    #[serde(default)]
    pub tables: Tables,
    #[serde(default)]
    pub names: Names,
    #[serde(default)]
    pub types: Types,
    #[serde(default)]
    pub columns: BTreeMap<String, ColumnTypes>,
    pub ddl: Option<Ddl>,
    #[serde(default)]
    pub copy: Copy,
    #[serde(default)]
    pub apply: Apply,
    #[serde(default)]
    pub memory: Memory,
    #[serde(default)]
    pub retry: Retry,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    pub mode: At<String>,
    pub files: Option<At<Vec<At<String>>>>,
    pub database: Option<At<String>>,
    pub set: Option<At<u16>>,
    pub log: Option<At<Vec<At<String>>>>,
    pub watch: Option<At<bool>>,
    pub watch_seconds: Option<At<u32>>,
    pub object_storage: Option<At<ObjectStorage>>,
    pub host: Option<At<String>>,
    pub port: Option<At<u16>>,
    pub instance: Option<At<String>>,
    pub user: Option<At<String>>,
    pub password: Option<At<String>>,
    pub token: Option<At<String>>,
    pub token_file: Option<At<String>>,
    pub kerberos: Option<At<bool>>,
    pub read_only: Option<At<bool>>,
    pub answer_seconds: Option<At<u32>>,
    pub on_gap: Option<At<OnGap>>,
    pub hold_log: Option<At<HoldLog>>,
    pub tls: Option<At<Tls>>,
    pub cdc: Option<At<Cdc>>,
    pub heartbeat_seconds: Option<At<u32>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    Schema,
    Full,
    Incremental,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    pub from: From,
    pub lsn: Option<At<String>>,
    pub time: Option<At<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum From {
    Now,
    Lsn,
    Time,
    Backup,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cdc {
    pub enable: Option<bool>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnGap {
    Stop,
    Resync,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoldLog {
    pub max_mb: Option<At<u32>>,
    pub max_minutes: Option<At<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    pub ca: Option<At<String>>,
    pub pinned: Option<At<String>>,
    pub trust: Option<At<bool>>,
    pub name: Option<At<String>>,
    pub strict: Option<At<bool>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObjectStorage {
    pub endpoint: Option<At<String>>,
    pub region: Option<At<String>>,
    pub addressing: Option<At<String>>,
    pub credentials: Option<At<String>>,
    pub profile: Option<At<String>>,
    pub access_key: Option<At<String>>,
    pub secret_key: Option<At<String>>,
    pub session_token: Option<At<String>>,
    pub role: Option<Role>,
    pub sts_endpoint: Option<At<String>>,
    pub ca: Option<At<String>>,
    pub proxy: Option<At<String>>,
    pub memory_mb: Option<At<u32>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Role {
    pub arn: At<String>,
    pub external_id: Option<At<String>>,
    pub session: Option<At<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    pub url: At<String>,
    pub on_existing: Option<OnExisting>,
    pub per_database: Option<PerDatabase>,
    pub answer_seconds: Option<At<u32>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnExisting {
    Error,
    Ignore,
    Truncate,
    Recreate,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ddl {
    Apply,
    Stop,
    Ignore,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PerDatabase {
    Schemas,
    Database,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tables {
    pub include: Option<At<Vec<At<String>>>>,
    pub exclude: Option<Vec<At<String>>>,
    #[serde(rename = "where", default)]
    pub conditions: BTreeMap<String, At<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Copy {
    pub workers: Option<At<u16>>,
    pub chunk_mb: Option<At<u32>>,
    pub max_mb_per_second: Option<At<u32>>,
    pub max_rows_per_second: Option<At<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Apply {
    pub batch_mb: Option<At<u32>>,
    pub batch_rows: Option<At<u32>>,
    pub linger_ms: Option<At<u32>>,
    pub confirm_seconds: Option<At<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Memory {
    pub pages_mb: Option<At<u32>>,
    pub queue_mb: Option<At<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retry {
    pub connection_minutes: Option<At<u32>>,
}

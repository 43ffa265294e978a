//! How a store is reached, and how much memory its objects may take.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How a store is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// URL of a store other than AWS's, `https://host:port`.
    pub endpoint: Option<String>,
    /// Region; asked of the environment and the profile where it is not given, else `us-east-1`.
    pub region: Option<String>,
    /// Where the bucket's name goes; by default into the host for AWS, into the path for an endpoint.
    pub addressing: Option<Addressing>,
    /// Who asks.
    pub credentials: Credentials,
    /// A role that is assumed with these credentials.
    pub role: Option<Role>,
    /// URL of the service that gives out roles; AWS's of the region without it.
    pub sts_endpoint: Option<String>,
    /// Certificates (PEM) of authorities that are believed beside the system's.
    pub authority: Option<PathBuf>,
    /// A proxy that all requests go through, `http://host:port`.
    pub proxy: Option<String>,
    /// Bytes of all objects that are held in memory, at the most and for each reader one range more.
    pub memory: usize,
    /// How long one request is tried again before it is an error.
    pub patience: Duration,
    /// How long the next bytes of an answer are waited for.
    pub silence: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            endpoint: None,
            region: None,
            addressing: None,
            credentials: Credentials::Auto,
            role: None,
            sts_endpoint: None,
            authority: None,
            proxy: None,
            memory: 128 << 20,
            patience: Duration::from_secs(60),
            silence: Duration::from_secs(30),
        }
    }
}

/// Where the name of the bucket goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// `https://host/bucket/key`
    Path,
    /// `https://bucket.host/key`
    Virtual,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// As AWS's own tools do: the environment's keys, else the profile that the environment names or `default`, else what the environment says of
    /// a container.
    Auto,
    /// A profile of `~/.aws/credentials` and `~/.aws/config`.
    Profile(String),
    /// These.
    Keys(Keys),
    /// The role of the virtual machine.
    Instance,
    /// Nobody: for objects that everyone may read.
    Anonymous,
}

/// A key and its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Access key id.
    pub id: String,
    /// Secret access key.
    pub secret: String,
    /// Session token of temporary ones.
    pub token: Option<String>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A role, of this account or another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// `arn:aws:iam::123456789012:role/name`
    pub arn: String,
    /// What the other account asks to be told.
    pub external_id: Option<String>,
    /// Name of the session in the other account's records.
    pub session: String,
}

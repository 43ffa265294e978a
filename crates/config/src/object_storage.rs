//! `source.object_storage`: how `s3://bucket/prefix` is reached.

use std::path::PathBuf;

use crate::checker::Checker;
use crate::defaults;
use crate::error::ConfigError;
use crate::raw::{self, At};
use crate::secret::Secret;

/// How objects are reached. What is not said here is asked of the environment and the profiles of AWS's tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectStorage {
    /// URL of a store other than AWS's.
    pub endpoint: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Whether the bucket's name goes into the host (`true`) or into the path.
    pub virtual_hosted: Option<bool>,
    /// Who asks.
    pub credentials: ObjectCredentials,
    /// A role that is assumed with these credentials.
    pub role: Option<ObjectRole>,
    /// URL of the service that gives out roles.
    pub sts_endpoint: Option<String>,
    /// Certificates of authorities that are believed beside the system's.
    pub authority: Option<PathBuf>,
    /// A proxy that all requests go through.
    pub proxy: Option<String>,
    /// What is held of objects in memory.
    pub memory_mb: u32,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectCredentials {
    /// As AWS's tools find them.
    Auto,
    /// Of a profile.
    Profile(String),
    /// These.
    Keys {
        /// access key id
        id: String,
        /// secret access key
        secret: Secret,
        /// session token of temporary ones
        token: Option<Secret>,
    },
    /// The role of the virtual machine.
    Instance,
    /// None: for objects that everyone may read.
    Anonymous,
}

/// A role, of this account or another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRole {
    /// Its name, `arn:aws:iam::123456789012:role/name`
    pub arn: String,
    /// What the other account asks to be told.
    pub external_id: Option<String>,
    /// Name of the session in the other account's records.
    pub session: String,
}

impl Default for ObjectStorage {
    fn default() -> Self {
        ObjectStorage {
            endpoint: None,
            region: None,
            virtual_hosted: None,
            credentials: ObjectCredentials::Auto,
            role: None,
            sts_endpoint: None,
            authority: None,
            proxy: None,
            memory_mb: defaults::OBJECTS_MEMORY_MB,
        }
    }
}

impl Checker<'_> {
    pub(crate) fn object_storage(&self, raw: Option<raw::ObjectStorage>) -> Result<ObjectStorage, ConfigError> {
        let Some(raw) = raw else { return Ok(ObjectStorage::default()) };
        let text = |value: &Option<At<String>>| value.as_ref().map(|v| self.interpolate(v)).transpose();
        let url = |value: &Option<At<String>>| match value {
            None => Ok(None),
            Some(at) => {
                let url = self.interpolate(at)?;
                if url.starts_with("http://") || url.starts_with("https://") {
                    return Ok(Some(url));
                }
                Err(self.wrong(at, "this is not the URL of a server").expected("https://host:port"))
            }
        };
        let virtual_hosted = match &raw.addressing {
            None => None,
            Some(at) => match at.value.as_str() {
                "path" => Some(false),
                "virtual" => Some(true),
                _ => return Err(self.wrong(at, "there is no such way to name a bucket").expected("path or virtual")),
            },
        };
        Ok(ObjectStorage {
            endpoint: url(&raw.endpoint)?,
            region: text(&raw.region)?,
            virtual_hosted,
            credentials: self.object_credentials(&raw)?,
            role: match raw.role {
                None => None,
                Some(role) => Some(ObjectRole {
                    arn: self.interpolate(&role.arn)?,
                    external_id: text(&role.external_id)?,
                    session: text(&role.session)?.unwrap_or_else(|| defaults::ROLE_SESSION.to_owned()),
                }),
            },
            sts_endpoint: url(&raw.sts_endpoint)?,
            authority: raw.ca.as_ref().map(|ca| self.path(ca)).transpose()?,
            proxy: url(&raw.proxy)?,
            memory_mb: self.number(raw.memory_mb, defaults::OBJECTS_MEMORY_MB, 8..=16_384)?,
        })
    }

    fn object_credentials(&self, raw: &raw::ObjectStorage) -> Result<ObjectCredentials, ConfigError> {
        const ONE: &str = "one of credentials, profile, and access_key with secret_key";
        match (&raw.credentials, &raw.profile, &raw.access_key, &raw.secret_key) {
            (None, None, None, None) => Ok(ObjectCredentials::Auto),
            (Some(which), None, None, None) => match which.value.as_str() {
                "auto" => Ok(ObjectCredentials::Auto),
                "instance" => Ok(ObjectCredentials::Instance),
                "none" => Ok(ObjectCredentials::Anonymous),
                _ => Err(self.wrong(which, "there are no such credentials").expected("auto, instance or none")),
            },
            (None, Some(profile), None, None) => Ok(ObjectCredentials::Profile(self.interpolate(profile)?)),
            (None, None, Some(id), Some(secret)) => Ok(ObjectCredentials::Keys {
                id: self.interpolate(id)?,
                secret: Secret::new(self.interpolate(secret)?),
                token: match &raw.session_token {
                    Some(token) => Some(Secret::new(self.interpolate(token)?)),
                    None => None,
                },
            }),
            (None, None, Some(half), None) | (None, None, None, Some(half)) => {
                Err(self.wrong(half, "half of a key").expected("access_key and secret_key"))
            }
            (Some(at), ..) | (_, Some(at), ..) => {
                Err(self.wrong(at, "there is another choice beside this one").expected(ONE))
            }
        }
    }
}

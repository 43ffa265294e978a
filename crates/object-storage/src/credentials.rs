//! Who asks, in which region and at which address: from the settings, the environment and the profiles of AWS's tools.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use object_store::client::{HttpConnector, ReqwestConnector};
use object_store::{ClientOptions, StaticCredentialProvider};
use tokio::sync::Mutex;

use crate::error::Error;
use crate::profile::Profile;
use crate::role::Assumed;
use crate::settings::{Addressing, Credentials, Keys, Role, Settings};

/// A chain of profiles that name each other is not longer.
const PROFILES_MAX: u32 = 5;
/// Name of the session of a role, in the other account's records.
const SESSION: &str = "logferry";

/// Where variables come from.
#[derive(Clone)]
pub struct Environment(Arc<Variables>);

/// The value of a variable, by its name.
type Variables = dyn Fn(&str) -> Option<String> + Send + Sync;

impl Environment {
    /// That of the process.
    pub fn of_process() -> Self {
        Environment(Arc::new(|name| std::env::var(name).ok()))
    }

    /// Another one.
    pub fn new(get: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Environment(Arc::new(get))
    }

    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// The text of one of the files of AWS's tools; empty where there is none.
    fn file(&self, variable: &str, name: &str) -> String {
        let default = || Some(PathBuf::from(self.get("HOME")?).join(".aws").join(name));
        let path = self.get(variable).map(PathBuf::from).or_else(default);
        path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

/// All that is needed to reach buckets.
#[derive(Debug)]
pub(crate) struct Access {
    pub credentials: Option<AwsCredentialProvider>,
    pub region: String,
    endpoint: Option<String>,
    addressing: Option<Addressing>,
    pub client: ClientOptions,
}

impl Access {
    /// Puts settings, environment and profiles together. Asks nobody yet.
    pub fn resolve(settings: &Settings, environment: &Environment) -> Result<Access, Error> {
        let files = Files {
            credentials: environment.file("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
            config: environment.file("AWS_CONFIG_FILE", "config"),
        };
        let named = match &settings.credentials {
            Credentials::Profile(name) => Some(name.clone()),
            _ => environment.get("AWS_PROFILE"),
        };
        let name = named.clone().unwrap_or_else(|| "default".to_owned());
        let profile = match (files.profile(&name), named) {
            (None, Some(name)) => {
                let why = format!("there is no profile \"{name}\" in ~/.aws/credentials and ~/.aws/config");
                return Err(Error::settings(why));
            }
            (profile, _) => profile.unwrap_or_default(),
        };
        let given = |setting: &Option<String>, variables: &[&str], key: &str| {
            setting
                .clone()
                .or_else(|| variables.iter().find_map(|variable| environment.get(variable)))
                .or_else(|| profile.get(key).map(str::to_owned))
        };
        let region = given(&settings.region, &["AWS_REGION", "AWS_DEFAULT_REGION"], "region");
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        let endpoint = given(&settings.endpoint, &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"], "endpoint_url");
        let sts = given(&settings.sts_endpoint, &["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"], "endpoint_url");
        let sts = sts.unwrap_or_else(|| format!("https://sts.{region}.amazonaws.com"));
        let addressing = settings.addressing.or_else(|| match profile.get("s3.addressing_style") {
            Some("virtual") => Some(Addressing::Virtual),
            Some("path") => Some(Addressing::Path),
            _ => None,
        });
        let client = client_options(settings)?;
        let chain = Chain { settings, environment, files: &files, region: &region, sts: &sts, client: &client };
        let mut credentials = chain.base(&name, &profile)?;
        if let (Some(base), Some(role)) = (&credentials, &settings.role) {
            credentials = Some(chain.assumed(Arc::clone(base), role.clone())?);
        }
        Ok(Access { credentials, region, endpoint, addressing, client })
    }

    /// The address of a bucket, where it is not for the library to say; and whether the bucket's name is in the host.
    pub fn address(&self, bucket: &str) -> (Option<String>, bool) {
        match (&self.endpoint, self.addressing) {
            // No certificate is for names with more dots.
            (None, None) => (None, !bucket.contains('.')),
            (None, Some(addressing)) => (None, addressing == Addressing::Virtual),
            (Some(endpoint), Some(Addressing::Virtual)) => {
                let inside = match endpoint.split_once("://") {
                    Some((scheme, host)) => format!("{scheme}://{bucket}.{host}"),
                    None => format!("https://{bucket}.{endpoint}"),
                };
                (Some(inside), true)
            }
            (Some(endpoint), _) => (Some(endpoint.clone()), false),
        }
    }
}

struct Files {
    credentials: String,
    config: String,
}

impl Files {
    fn profile(&self, name: &str) -> Option<Profile> {
        Profile::find(name, &self.credentials, &self.config)
    }
}

fn client_options(settings: &Settings) -> Result<ClientOptions, Error> {
    // One answer may take as long as it needs; only one that stands still is given up.
    let mut client = ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(settings.silence)
        .with_read_timeout(settings.silence)
        .with_allow_http(true);
    if let Some(path) = &settings.authority {
        let wrong = |why: String| Error::settings(format!("could not read {}: {why}", path.display()));
        let pem = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
        let all = object_store::Certificate::from_pem_bundle(&pem).map_err(|e| wrong(e.to_string()))?;
        client = all.into_iter().fold(client, ClientOptions::with_root_certificate);
    }
    if let Some(proxy) = &settings.proxy {
        client = client.with_proxy_url(proxy);
    }
    Ok(client)
}

/// Finds credentials.
struct Chain<'a> {
    settings: &'a Settings,
    environment: &'a Environment,
    files: &'a Files,
    region: &'a str,
    sts: &'a str,
    client: &'a ClientOptions,
}

impl Chain<'_> {
    fn base(&self, name: &str, profile: &Profile) -> Result<Option<AwsCredentialProvider>, Error> {
        Ok(Some(match &self.settings.credentials {
            Credentials::Anonymous => return Ok(None),
            Credentials::Keys(keys) => fixed(keys.clone()),
            Credentials::Instance => self.library(AmazonS3Builder::new())?,
            Credentials::Profile(_) => match self.profile(name, profile, 1)? {
                Some(found) => found,
                None => {
                    let why = format!(
                        "profile \"{name}\" has neither aws_access_key_id and aws_secret_access_key nor role_arn"
                    );
                    return Err(Error::settings(why));
                }
            },
            Credentials::Auto => match self.keys_of_environment()? {
                Some(keys) => fixed(keys),
                None => match self.profile(name, profile, 1)? {
                    Some(found) => found,
                    None => self.container()?,
                },
            },
        }))
    }

    fn keys_of_environment(&self) -> Result<Option<Keys>, Error> {
        let get = |name| self.environment.get(name);
        match (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) {
            (Some(id), Some(secret)) => Ok(Some(Keys { id, secret, token: get("AWS_SESSION_TOKEN") })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(Error::settings("AWS_ACCESS_KEY_ID is set, AWS_SECRET_ACCESS_KEY is not")),
            (None, Some(_)) => Err(Error::settings("AWS_SECRET_ACCESS_KEY is set, AWS_ACCESS_KEY_ID is not")),
        }
    }

    fn profile(&self, name: &str, profile: &Profile, depth: u32) -> Result<Option<AwsCredentialProvider>, Error> {
        if depth > PROFILES_MAX {
            return Err(Error::settings(format!("the profiles behind \"{name}\" name each other without end")));
        }
        let keys = match (profile.get("aws_access_key_id"), profile.get("aws_secret_access_key")) {
            (Some(id), Some(secret)) => {
                let token = profile.get("aws_session_token").map(str::to_owned);
                Some(Keys { id: id.to_owned(), secret: secret.to_owned(), token })
            }
            _ => None,
        };
        let Some(arn) = profile.get("role_arn") else {
            if keys.is_none() {
                profile.unsupported(name)?;
            }
            return Ok(keys.map(fixed));
        };
        profile.unsupported(name)?;
        let base = match (profile.get("source_profile"), profile.get("credential_source")) {
            (Some(source), _) if source == name => keys.map(fixed),
            (Some(source), _) => {
                let found = self.files.profile(source).ok_or_else(|| {
                    Error::settings(format!("profile \"{name}\" names source_profile \"{source}\", which is not there"))
                })?;
                self.profile(source, &found, depth + 1)?
            }
            (None, Some("Environment")) => self.keys_of_environment()?.map(fixed),
            (None, Some("Ec2InstanceMetadata")) => Some(self.library(AmazonS3Builder::new())?),
            (None, Some("EcsContainer")) => Some(self.container()?),
            (None, _) => None,
        };
        let base = base.ok_or_else(|| {
            let what = "has a role_arn, but no credentials to assume it with (source_profile or credential_source)";
            Error::settings(format!("profile \"{name}\" {what}"))
        })?;
        let session = profile.get("role_session_name").unwrap_or(SESSION).to_owned();
        let external_id = profile.get("external_id").map(str::to_owned);
        self.assumed(base, Role { arn: arn.to_owned(), external_id, session }).map(Some)
    }

    /// What the environment says of a container's role, or of a token of a web identity.
    fn container(&self) -> Result<AwsCredentialProvider, Error> {
        use AmazonS3ConfigKey as Key;
        let keys = [
            ("AWS_WEB_IDENTITY_TOKEN_FILE", Key::WebIdentityTokenFile),
            ("AWS_ROLE_ARN", Key::RoleArn),
            ("AWS_ROLE_SESSION_NAME", Key::RoleSessionName),
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", Key::ContainerCredentialsRelativeUri),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", Key::ContainerCredentialsFullUri),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", Key::ContainerAuthorizationTokenFile),
        ];
        let whole = [
            &["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"][..],
            &["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"],
            &["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"],
        ];
        if !whole.iter().any(|names| names.iter().all(|name| self.environment.get(name).is_some())) {
            return Err(Error::settings(
                "no credentials were found: neither AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, nor a profile in \
                 ~/.aws/credentials, nor the role of a container (for the role of a virtual machine say credentials: instance, for \
                 objects that everyone may read credentials: none)",
            ));
        }
        let builder = AmazonS3Builder::new().with_config(Key::StsEndpoint, self.sts);
        let set = |builder: AmazonS3Builder, (name, key): (&str, Key)| match self.environment.get(name) {
            Some(value) => builder.with_config(key, value),
            None => builder,
        };
        self.library(keys.into_iter().fold(builder, set))
    }

    /// What the client library finds by itself.
    fn library(&self, builder: AmazonS3Builder) -> Result<AwsCredentialProvider, Error> {
        let store = builder
            .with_bucket_name("none")
            .with_region(self.region)
            .with_client_options(self.client.clone())
            .build()
            .map_err(|e| Error::of_store("", e))?;
        Ok(Arc::clone(store.credentials()))
    }

    fn assumed(&self, base: AwsCredentialProvider, role: Role) -> Result<AwsCredentialProvider, Error> {
        let client = ReqwestConnector::default().connect(self.client).map_err(|e| Error::of_store("", e))?;
        let (endpoint, region) = (self.sts.to_owned(), self.region.to_owned());
        Ok(Arc::new(Assumed { base, client, endpoint, region, role, held: Mutex::default() }))
    }
}

fn fixed(keys: Keys) -> AwsCredentialProvider {
    let Keys { id, secret, token } = keys;
    Arc::new(StaticCredentialProvider::new(AwsCredential { key_id: id, secret_key: secret, token }))
}

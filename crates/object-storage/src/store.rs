//! A store: its buckets, what lies in them, and the thread that speaks to it.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{BackoffConfig, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig};
use tokio::runtime::{Handle, Runtime, RuntimeFlavor};

use crate::credentials::{Access, Environment};
use crate::error::{Error, Kind};
use crate::object::Object;
use crate::ranges::{Fetch, Ranges};
use crate::settings::{Credentials, Settings};

/// Pauses between tries of a request: they double, with a random part.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(10);
/// How often a request is tried, and how often a body that ended early is fetched again.
const TRIES: usize = 10;
const BODIES: usize = 3;

/// Where an object is, or a folder of objects: `s3://bucket/key`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The bucket.
    pub bucket: String,
    /// The key, or what the keys of a folder begin with; empty for all of a bucket.
    pub key: String,
}

impl Location {
    /// Whether a text is meant as one.
    pub fn is_one(text: &str) -> bool {
        text.starts_with("s3://")
    }

    /// Reads `s3://bucket/key`.
    ///
    /// # Errors
    /// Where it is not of that form.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::settings(format!("\"{text}\" is no object and no folder of objects: expected s3://bucket/prefix"))
        };
        let rest = text.strip_prefix("s3://").ok_or_else(wrong)?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if bucket.is_empty() || !bucket.chars().all(fits) {
            return Err(wrong());
        }
        Ok(Location { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// What a store says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub location: Location,
    /// Its length.
    pub len: u64,
    /// When it was written.
    pub modified: Option<SystemTime>,
    /// Its ETag: another one, another object.
    pub tag: Option<String>,
}

/// A store and what is held of its objects in memory. Clones are the same store.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    settings: Settings,
    environment: Environment,
    reached: OnceLock<Result<Reached, Error>>,
    buckets: Mutex<HashMap<String, Arc<AmazonS3>>>,
    ranges: Mutex<Ranges>,
    next: AtomicU64,
}

struct Reached {
    access: Access,
    runtime: Option<Runtime>,
}

impl Drop for Reached {
    fn drop(&mut self) {
        // Whoever drops the store may be a task of another runtime, which must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("endpoint", &self.0.settings.endpoint).finish_non_exhaustive()
    }
}

impl Store {
    /// A store. Nothing is asked before it is used: who has no objects needs no credentials.
    pub fn new(settings: Settings, environment: Environment) -> Self {
        let ranges = Mutex::new(Ranges::new(settings.memory));
        Store(Arc::new(Inner {
            settings,
            environment,
            reached: OnceLock::new(),
            buckets: Mutex::default(),
            ranges,
            next: AtomicU64::new(0),
        }))
    }

    /// The object at a place; where there is none, the objects of the folder of that name, in the order of their keys.
    ///
    /// # Errors
    /// Where there is neither, and where the store does not answer.
    pub fn find(&self, location: &Location) -> Result<Vec<Entry>, Error> {
        let client = self.bucket(&location.bucket)?;
        let location = location.clone();
        self.wait(async move {
            let mut denied = None;
            if !location.key.is_empty() && !location.key.ends_with('/') {
                match head(&client, &location).await {
                    Ok(entry) => return Ok(vec![entry]),
                    Err(error) if error.kind == Kind::NotFound => {}
                    // Who may list only is told so for every object.
                    Err(error) if error.kind == Kind::Denied => denied = Some(error),
                    Err(error) => return Err(error),
                }
            }
            let found = match list(&client, &location).await {
                Err(error) => return Err(denied.unwrap_or(error)),
                Ok(found) => found,
            };
            if found.is_empty() {
                let why = "there is no object of that name, and none below it";
                return Err(denied.unwrap_or_else(|| Error::new(Kind::NotFound, location.to_string(), why)));
            }
            Ok(found)
        })?
    }

    /// Opens an object at a place.
    ///
    /// # Errors
    /// Where it is not there, or the store does not answer.
    pub fn open(&self, location: &Location) -> Result<Object, Error> {
        let client = self.bucket(&location.bucket)?;
        let at = location.clone();
        let entry = self.wait(async move { head(&client, &at).await })??;
        Ok(self.open_entry(entry))
    }

    /// Opens an object that was found.
    pub fn open_entry(&self, entry: Entry) -> Object {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        Object::new(self.clone(), number, entry)
    }

    pub(crate) fn ranges(&self) -> MutexGuard<'_, Ranges> {
        self.0.ranges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to fetch a range of an object.
    pub(crate) fn start(&self, number: u64, entry: Arc<Entry>, fetch: Fetch) {
        let Fetch { range, flight } = fetch;
        let prepared = self.bucket(&entry.location.bucket).and_then(|client| Ok((client, self.runtime()?)));
        let store = self.clone();
        match prepared {
            Ok((client, runtime)) => drop(runtime.spawn(async move {
                let result = get(&client, &entry, range.start, range.end).await;
                store.ranges().arrived(number, range.start, &result);
                flight.land(result);
            })),
            Err(error) => {
                let result = Err(error);
                self.ranges().arrived(number, range.start, &result);
                flight.land(result);
            }
        }
    }

    fn reached(&self) -> Result<&Reached, Error> {
        let reach = || {
            // Whatever asks for TLS in this process first, decides; all of it means ring.
            if rustls::crypto::CryptoProvider::get_default().is_none() {
                let _another_was_first = rustls::crypto::ring::default_provider().install_default();
            }
            let access = Access::resolve(&self.0.settings, &self.0.environment)?;
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("object-storage")
                .enable_all()
                .build()
                .map_err(|e| Error::settings(format!("could not start a thread: {e}")))?;
            Ok(Reached { access, runtime: Some(runtime) })
        };
        self.0.reached.get_or_init(reach).as_ref().map_err(Error::clone)
    }

    fn runtime(&self) -> Result<&Handle, Error> {
        let runtime = self.reached()?.runtime.as_ref();
        runtime.map(Runtime::handle).ok_or_else(|| Error::settings("the store was closed"))
    }

    fn bucket(&self, name: &str) -> Result<Arc<AmazonS3>, Error> {
        let access = &self.reached()?.access;
        let mut buckets = self.0.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get(name) {
            return Ok(Arc::clone(bucket));
        }
        let (endpoint, inside) = access.address(name);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(name)
            .with_region(&access.region)
            .with_virtual_hosted_style_request(inside)
            .with_client_options(access.client.clone())
            .with_retry(RetryConfig {
                backoff: BackoffConfig { init_backoff: PAUSE_FIRST, max_backoff: PAUSE_LONGEST, base: 2.0 },
                max_retries: TRIES,
                retry_timeout: self.0.settings.patience,
            });
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        builder = match &access.credentials {
            Some(credentials) => builder.with_credentials(Arc::clone(credentials)),
            None => builder.with_skip_signature(self.0.settings.credentials == Credentials::Anonymous),
        };
        let client = builder.build().map_err(|e| Error::of_store(&format!("s3://{name}"), e))?;
        let client = Arc::new(client);
        buckets.insert(name.to_owned(), Arc::clone(&client));
        Ok(client)
    }

    /// Blocks until the store's thread has done something.
    fn wait<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, Error> {
        let (done, result) = mpsc::sync_channel(1);
        self.runtime()?.spawn(async move {
            // Nobody waits for it any more where this fails.
            let _nobody = done.send(work.await);
        });
        blocking(|| result.recv()).map_err(|_| Error::settings("the thread that speaks to the store has ended"))
    }
}

/// Blocks this thread; a runtime with several threads moves its tasks to another one first.
pub(crate) fn blocking<T>(wait: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
        _ => wait(),
    }
}

fn path(location: &Location) -> Result<Path, Error> {
    Path::parse(&location.key).map_err(|e| Error::new(Kind::Settings, location.to_string(), e.to_string()))
}

fn entry(bucket: &str, meta: ObjectMeta) -> Entry {
    Entry {
        location: Location { bucket: bucket.to_owned(), key: meta.location.to_string() },
        len: meta.size,
        modified: Some(meta.last_modified.into()),
        tag: meta.e_tag,
    }
}

async fn head(client: &AmazonS3, location: &Location) -> Result<Entry, Error> {
    let meta = client.head(&path(location)?).await.map_err(|e| Error::of_store(&location.to_string(), e))?;
    Ok(entry(&location.bucket, meta))
}

async fn list(client: &AmazonS3, location: &Location) -> Result<Vec<Entry>, Error> {
    let folder = path(location)?;
    let mut found: Vec<Entry> = client
        .list(Some(&folder))
        .map_ok(|meta| entry(&location.bucket, meta))
        .try_collect()
        .await
        .map_err(|e| Error::of_store(&location.to_string(), e))?;
    // Some tools leave an empty object in the place of a folder.
    found.retain(|entry| entry.len > 0);
    found.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(found)
}

/// The bytes of a range, all of them and of the object that was opened.
async fn get(client: &AmazonS3, entry: &Entry, start: u64, end: u64) -> Result<Bytes, Error> {
    let name = entry.location.to_string();
    let path = path(&entry.location)?;
    let mut tries = 1;
    loop {
        let options = GetOptions {
            range: Some(GetRange::Bounded(start..end)),
            if_match: entry.tag.clone(),
            ..GetOptions::default()
        };
        let result = client.get_opts(&path, options).await.map_err(|e| Error::of_store(&name, e))?;
        // Not every store heeds the condition.
        if result.meta.size != entry.len || entry.tag.is_some() && result.meta.e_tag != entry.tag {
            let why = format!("it had {} bytes and has {} now", entry.len, result.meta.size);
            return Err(Error::new(Kind::Changed, name, why));
        }
        let broken = match result.bytes().await {
            Ok(bytes) if bytes.len() as u64 == end - start => return Ok(bytes),
            Ok(bytes) => {
                let why = format!("the answer ended after {} of {} bytes", bytes.len(), end - start);
                Error::new(Kind::Unavailable, &name, why)
            }
            Err(error) => Error::of_store(&name, error),
        };
        if tries == BODIES || broken.kind != Kind::Unavailable {
            return Err(broken);
        }
        tries += 1;
        tracing::warn!("{}; trying again", broken.at(start));
        tokio::time::sleep(PAUSE_FIRST).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<(&str, &str)>) {
        let found = Location::parse(text).ok();
        let expect = expect.map(|(bucket, key)| Location { bucket: bucket.into(), key: key.into() });
        assert_eq!(found, expect, "{text}");
    }

    #[test]
    fn locations() {
        check("s3://b/a/c.bak", Some(("b", "a/c.bak")));
        check("s3://b", Some(("b", "")));
        check("s3://b/", Some(("b", "")));
        check("s3:///a", None);
        check("s3://b c/a", None);
        check("/a/b", None);
        assert!(Location::is_one("s3://x") && !Location::is_one("/s3:/x"));
    }
}

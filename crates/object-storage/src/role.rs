//! Roles: credentials for some time, given out by the Security Token Service for longer-lived ones (AssumeRole).

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use object_store::aws::{AwsAuthorizer, AwsCredential, AwsCredentialProvider};
use object_store::client::{CredentialProvider, HttpClient, HttpRequest};
use tokio::sync::Mutex;

use crate::error::{Error, Kind, brief, element};
use crate::settings::Role;

/// How long a role is asked for: what every role allows, also one that was assumed with another.
const LIFETIME: Duration = Duration::from_secs(3600);
/// How long before its end it is asked for anew.
const MARGIN: Duration = Duration::from_secs(600);
/// How often a request is tried, and the first pause, which doubles.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// Assumes a role, and again before it ends.
#[derive(Debug)]
pub(crate) struct Assumed {
    pub base: AwsCredentialProvider,
    pub client: HttpClient,
    pub endpoint: String,
    pub region: String,
    pub role: Role,
    pub held: Mutex<Option<(Arc<AwsCredential>, Instant)>>,
}

#[async_trait]
impl CredentialProvider for Assumed {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut held = self.held.lock().await;
        if let Some((credential, until)) = held.as_ref()
            && Instant::now() < *until
        {
            return Ok(Arc::clone(credential));
        }
        let until = Instant::now() + LIFETIME - MARGIN;
        let base = self.base.get_credential().await?;
        let credential = self
            .assume(&base)
            .await
            .map_err(|error| object_store::Error::Generic { store: "STS", source: Box::new(error) })?;
        tracing::debug!(role = self.role.arn, "assumed a role");
        *held = Some((Arc::clone(&credential), until));
        Ok(credential)
    }
}

impl Assumed {
    async fn assume(&self, base: &AwsCredential) -> Result<Arc<AwsCredential>, Error> {
        let mut pause = PAUSE;
        let mut tries = 1;
        loop {
            match self.ask(base).await {
                Err(error) if error.kind == Kind::Unavailable && tries < TRIES => {
                    tracing::warn!("{error}; trying again");
                    tokio::time::sleep(pause).await;
                    (pause, tries) = (pause * 2, tries + 1);
                }
                outcome => return outcome,
            }
        }
    }

    async fn ask(&self, base: &AwsCredential) -> Result<Arc<AwsCredential>, Error> {
        let unavailable = |why: String| Error::new(Kind::Unavailable, &self.role.arn, why);
        let mut form = vec![
            ("Action", "AssumeRole"),
            ("Version", "2011-06-15"),
            ("RoleArn", &self.role.arn),
            ("RoleSessionName", &self.role.session),
        ];
        let seconds = LIFETIME.as_secs().to_string();
        form.push(("DurationSeconds", &seconds));
        form.extend(self.role.external_id.as_deref().map(|id| ("ExternalId", id)));
        let body: Vec<String> = form.iter().map(|(key, value)| format!("{key}={}", encoded(value))).collect();
        let mut request = HttpRequest::new(body.join("&").into());
        *request.method_mut() = reqwest::Method::POST;
        *request.uri_mut() = format!("{}/", self.endpoint.trim_end_matches('/'))
            .parse()
            .map_err(|_| Error::settings(format!("\"{}\" is not the URL of a service", self.endpoint)))?;
        let kind = reqwest::header::HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(reqwest::header::CONTENT_TYPE, kind);
        AwsAuthorizer::new(base, "sts", &self.region)
            .try_authorize(&mut request, None)
            .map_err(|e| Error::of_store(&self.role.arn, e))?;
        let answer = self.client.execute(request).await.map_err(|e| unavailable(brief(&e.to_string())))?;
        let status = answer.status();
        let body = answer.into_body().bytes().await.map_err(|e| unavailable(brief(&e.to_string())))?;
        let text = String::from_utf8_lossy(&body);
        if !status.is_success() {
            let kind = if status.is_client_error() { Kind::Denied } else { Kind::Unavailable };
            let why = format!("the role could not be assumed: {status}: {}", brief(&text));
            return Err(Error::new(kind, &self.role.arn, why));
        }
        let part = |name| {
            element(&text, name)
                .map(str::to_owned)
                .ok_or_else(|| unavailable(format!("the answer to AssumeRole has no {name}")))
        };
        Ok(Arc::new(AwsCredential {
            key_id: part("AccessKeyId")?,
            secret_key: part("SecretAccessKey")?,
            token: Some(part("SessionToken")?),
        }))
    }
}

/// A value in a form: all but letters, digits and `-_.~` as `%XX`.
fn encoded(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    value.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

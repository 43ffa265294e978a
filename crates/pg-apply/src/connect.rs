//! Connections to the target: the connection string, TLS, and the pool of the copy's workers.
//!
//! `sslmode` means what it means to `libpq`, two defaults apart: on the loopback
//! interface it is `prefer`, everywhere else `verify-full` with the system's authorities, so that a
//! password never goes to somebody who only says that they are the server. Over a Unix socket there is no TLS.
//!
//! | `sslmode` | encrypted | certificate |
//! |---|---|---|
//! | `disable` | no | |
//! | `prefer` | where the server can | any |
//! | `require` | yes | any; of `sslrootcert`'s authority, where that is given |
//! | `verify-ca` | yes | of a known authority |
//! | `verify-full` | yes | and for this host |

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::client::{self, Backend, Client};
use crate::door::door;
use crate::error::{Error, Said};

mod string;

/// Where the target is and how to get in.
#[derive(Clone)]
pub struct Target {
    config: Config,
    /// `None`: not even asked for.
    tls: Option<MakeRustlsConnect>,
    shown: String,
    /// How late an answer may be before it is asked whether anybody works at it.
    silence: Option<Duration>,
}

impl Target {
    /// Reads a connection string: `postgres://...` or `key=value ...`. Does not connect.
    ///
    /// # Errors
    /// Where it is not one, or a certificate file cannot be read. The message does not show the string.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (rest, ssl) = string::take_ssl(text)?;
        // The parser's own message may quote a part of the string, perhaps of the password.
        let mut config: Config = rest
            .parse()
            .map_err(|_| Error::ConnectionString("could not be read, or has an option that is not known".to_owned()))?;
        let mode = match ssl.mode.as_deref() {
            None if is_local(&config) => Mode::Prefer,
            None => Mode::VerifyFull,
            Some(word) => Mode::parse(word)?,
        };
        let only_sockets =
            !config.get_hosts().is_empty() && config.get_hosts().iter().all(|h| matches!(h, Host::Unix(_)));
        let mode = match mode {
            // As with libpq: there is nobody on the way, and no name to verify.
            _ if only_sockets => Mode::Disable,
            Mode::Require if ssl.root_cert.is_some() => Mode::VerifyCa,
            mode => mode,
        };
        config.ssl_mode(match mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
        });
        if config.get_application_name().is_none() {
            config.application_name("logferry");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(10));
        }
        // A peer that vanished without a word is noticed in a minute, also in the middle of a COPY.
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(Duration::from_secs(60));
        }
        config.keepalives_idle(Duration::from_secs(30)).keepalives_interval(Duration::from_secs(10));
        let shown = show(&config);
        let tls = if mode == Mode::Disable { None } else { Some(MakeRustlsConnect::new(tls_config(mode, &ssl)?)) };
        Ok(Target { config, tls, shown, silence: None })
    }

    /// The same, whose connections are given up where an answer is late by so much and nobody works at it. Setting up a connection must not
    /// take longer.
    #[must_use]
    pub fn given_up_after(self, silence: Duration) -> Self {
        Target { silence: Some(silence), ..self }
    }

    /// Opens a connection and sets up its session.
    ///
    /// # Errors
    /// What the server or the system said, with host, port, database and user.
    pub fn connect(&self) -> BoxFuture<'_, Result<Client, Error>> {
        door(async {
            self.in_time(self.open()).await.unwrap_or_else(|| {
                Err(Error::Connect {
                    target: self.shown.clone(),
                    said: Said::text("the server takes the connection and does not answer"),
                })
            })
        })
    }

    /// What is to be answered at once by any server that answers at all.
    async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        match self.silence {
            Some(silence) => tokio::time::timeout(silence, answer).await.ok(),
            None => Some(answer.await),
        }
    }

    async fn open(&self) -> Result<Client, Error> {
        let failed = |e: tokio_postgres::Error| Error::Connect { target: self.shown.clone(), said: e.into() };
        let (client, mut connection) = self.open_raw().await.map_err(failed)?;
        let client = Client::new(client);
        let Some(silence) = self.silence else {
            client.batch_execute(SESSION).await.map_err(failed)?;
            return Ok(client);
        };
        let answer = client.simple_query(&format!("{SESSION}; {}", client::WHO)).await.map_err(failed)?;
        // A server that does not tell is not asked.
        if let Some(backend) = Backend::of(&answer) {
            let (target, waits) = (self.clone(), client.waits());
            tokio::spawn(async move {
                tokio::select! {
                    _ended = &mut connection => {}
                    () = client::until_given_up(&waits, &backend, silence, &target) => connection.abort(),
                }
            });
        }
        Ok(client)
    }

    /// A connection as the server gives it, and its task, which ends with the client; its errors come out of the client's calls.
    pub(crate) async fn open_raw(&self) -> Result<(tokio_postgres::Client, JoinHandle<()>), tokio_postgres::Error> {
        Ok(match &self.tls {
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await?;
                (client, tokio::spawn(async { drop(connection.await) }))
            }
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                (client, tokio::spawn(async { drop(connection.await) }))
            }
        })
    }

    /// A pool of connections, for workers that each hold one for a while.
    pub fn pool(&self, connections_max: u32) -> Pool {
        bb8::Pool::builder()
            .max_size(connections_max.max(1))
            // Workers wait for each other's connections, which take as long as a chunk does.
            .connection_timeout(Duration::from_secs(24 * 3600))
            .build_unchecked(Manager(self.clone()))
    }
}

impl fmt::Display for Target {
    /// `user@host:port/database`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

/// Names are always qualified, so the search path is of no use but to an attacker. The server ends
/// sessions whose client has vanished: their locks would stop the one that took over.
const SESSION: &str = "SET search_path = pg_catalog; SET statement_timeout = 0; SET lock_timeout = 0; \
     SET idle_in_transaction_session_timeout = 0; SET standard_conforming_strings = on; \
     SET client_min_messages = warning; SET jit = off; \
     SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3";

/// The pool of the copy's workers.
pub type Pool = bb8::Pool<Manager>;
/// A connection of the pool.
pub type Pooled = bb8::PooledConnection<'static, Manager>;

/// Opens connections for the pool and judges them.
///
/// bb8 keeps an error of the server to itself and lets whoever waits run into the timeout. So opening a
/// connection never fails here: the error is handed out in the connection's place, by `pooled`.
#[derive(Debug)]
pub struct Manager(Target);

/// A connection in the pool.
pub struct Connection {
    opened: Result<Client, Error>,
    /// Set while it is in a state that nobody else should meet: inside a transaction or a COPY.
    pub poisoned: bool,
}

impl Connection {
    /// The connection.
    pub fn client(&self) -> &Client {
        self.opened.as_ref().expect("the pool hands out open connections")
    }
}

impl bb8::ManageConnection for Manager {
    type Connection = Connection;
    type Error = Error;

    async fn connect(&self) -> Result<Connection, Error> {
        Ok(Connection { opened: self.0.connect().await, poisoned: false })
    }

    async fn is_valid(&self, connection: &mut Connection) -> Result<(), Error> {
        match &connection.opened {
            Ok(client) => match self.0.in_time(client.check_connection()).await {
                Some(answer) => answer.map_err(Error::sql("check a connection")),
                None => Err(Error::Broken),
            },
            Err(_) => Ok(()),
        }
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.poisoned || connection.opened.as_ref().map_or(true, Client::is_closed)
    }
}

/// An open connection of the pool.
pub(crate) async fn pooled(pool: &Pool) -> Result<Pooled, Error> {
    let mut connection = pool.get_owned().await.map_err(|e| match e {
        bb8::RunError::User(e) => e,
        bb8::RunError::TimedOut => Error::Sql {
            doing: "get a connection of the pool".to_owned(),
            said: crate::error::Said::text("all were in use for a day"),
        },
    })?;
    match std::mem::replace(&mut connection.opened, Err(Error::Broken)) {
        Ok(client) => {
            connection.opened = Ok(client);
            Ok(connection)
        }
        Err(e) => Err(e),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl Mode {
    fn parse(word: &str) -> Result<Self, Error> {
        Ok(match word {
            "disable" => Mode::Disable,
            "allow" | "prefer" => Mode::Prefer,
            "require" => Mode::Require,
            "verify-ca" => Mode::VerifyCa,
            "verify-full" => Mode::VerifyFull,
            _ => {
                return Err(Error::ConnectionString(
                    "has an sslmode other than disable, prefer, require, verify-ca or verify-full".to_owned(),
                ));
            }
        })
    }
}

/// Whether nobody can listen on the way.
fn is_local(config: &Config) -> bool {
    let hosts = config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
    });
    hosts && config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback)
}

fn show(config: &Config) -> String {
    let host = match (config.get_hosts().first(), config.get_hostaddrs().first()) {
        (Some(Host::Tcp(name)), _) => name.clone(),
        (Some(Host::Unix(path)), _) => path.display().to_string(),
        (None, Some(ip)) => ip.to_string(),
        (None, None) => "localhost".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let user = config.get_user().unwrap_or("(default user)");
    format!("{user}@{host}:{port}/{}", config.get_dbname().unwrap_or(user))
}

/// What the connection string says of certificates, which `tokio_postgres` does not know.
#[derive(Default)]
struct Ssl {
    mode: Option<String>,
    root_cert: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

fn tls_config(mode: Mode, ssl: &Ssl) -> Result<ClientConfig, Error> {
    let tls = |e: &dyn fmt::Display| Error::Tls(e.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match mode {
        Mode::Disable | Mode::Prefer | Mode::Require => Arc::new(AnyCertificate(provider.clone())),
        Mode::VerifyCa | Mode::VerifyFull => {
            let roots = Arc::new(roots(ssl.root_cert.as_deref())?);
            let inner = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
            let inner = inner.map_err(|e| tls(&e))?;
            if mode == Mode::VerifyFull { inner } else { Arc::new(AnyName(inner)) }
        }
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| tls(&e))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match (&ssl.cert, &ssl.key) {
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|e| Error::Tls(format!("{}: {e}", key.display())))?;
            config.with_client_auth_cert(chain, key).map_err(|e| tls(&e))
        }
        (None, None) => Ok(config.with_no_client_auth()),
        _ => Err(Error::ConnectionString("must have both sslcert and sslkey, or neither".to_owned())),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let failed = |e: rustls::pki_types::pem::Error| Error::Tls(format!("{}: {e}", path.display()));
    CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
}

/// The authorities of `sslrootcert`, or the system's.
fn roots(path: Option<&Path>) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    let (certificates, from) = match path {
        Some(path) if path != Path::new("system") => (certificates(path)?, path.display().to_string()),
        _ => (rustls_native_certs::load_native_certs().certs, "the system's store".to_owned()),
    };
    store.add_parsable_certificates(certificates);
    if store.is_empty() {
        return Err(Error::Tls(format!("no authority's certificate was found in {from}")));
    }
    Ok(store)
}

/// Takes any certificate: encryption without knowing who is there (`prefer`, `require`).
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Takes a certificate of a known authority, whatever host it is for (`verify-ca`).
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        cert: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.0.verify_server_cert(cert, chain, name, ocsp, now) {
            // The chain and the dates are verified before the name is.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Result<(&str, SslMode), &str>) {
        let found = Target::parse(text);
        match (found, expect) {
            (Ok(target), Ok((shown, mode))) => {
                assert_eq!((target.to_string().as_str(), target.config.get_ssl_mode()), (shown, mode), "{text}");
                assert!(!format!("{target:?}").contains("s3cret"));
            }
            (Err(e), Err(words)) => {
                let said = format!("{e} {e:?}");
                assert!(said.contains(words), "{text}: {said}");
                assert!(!said.contains("s3cret"), "{said}");
            }
            (found, _) => panic!("{text}: {found:?}"),
        }
    }

    #[test]
    fn sslmode_is_honoured_and_strict_away_from_home() {
        use SslMode::{Disable, Prefer, Require};
        check("postgres://u:s3cret@127.0.0.1:5433/d", Ok(("u@127.0.0.1:5433/d", Prefer)));
        check("host=/run/pg user=u dbname=d", Ok(("u@/run/pg:5432/d", Disable)));
        check("postgres://u:s3cret@localhost/d?sslmode=require", Ok(("u@localhost:5432/d", Require)));
        check("postgres://u@db.example/d?sslmode=disable", Ok(("u@db.example:5432/d", Disable)));
        check(
            "host=db.example user=u password='s3cret x' sslmode = prefer dbname=d",
            Ok(("u@db.example:5432/d", Prefer)),
        );
        check("postgres://u@db.example/d?sslmode=verify-ca&sslrootcert=/none.pem", Err("/none.pem"));
        check("host=db.example sslmode=require sslrootcert='/no ne.pem'", Err("/no ne.pem"));
        check("postgres://u@h/d?sslmode=maybe", Err("sslmode other than"));
        check("postgres://u@localhost/d?sslcert=/a.pem", Err("both sslcert and sslkey"));
    }

    #[test]
    fn a_bad_string_is_not_shown() {
        check("s3cret", Err("could not be read"));
        check("host=h user=u password=my s3cret=1", Err("could not be read"));
        check("postgres://u:s3cret@h/d?s3cret=1", Err("could not be read"));
        check("host='s3cret", Err("could not be read"));
    }

    #[test]
    fn a_known_authority_is_needed_only_where_it_is_asked_for() {
        // No default provider is installed in this process: each configuration brings its own.
        for mode in [Mode::Disable, Mode::Prefer, Mode::Require] {
            tls_config(mode, &Ssl::default()).unwrap();
        }
    }
}

//! The listener: sockets in, connections out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::answer::AttentionAnswer;
use super::connection;
use super::error::Error;
use super::faults::Faults;
use super::prelogin::Encryption;
use super::session::Engine;
use super::tls::Certificate;

/// How a server is to be.
#[derive(Debug)]
pub struct ServerConfig {
    /// Whether it encrypts.
    pub encryption: Encryption,
    /// `None`: one that nobody has signed is made at the start.
    pub certificate: Option<Certificate>,
    /// `@@SERVERNAME`, which errors carry.
    pub name: String,
    /// Major, minor, and build (big-endian), as `SERVERPROPERTY('ProductVersion')` has them.
    pub version: [u8; 4],
    /// Greatest length of a request; larger ones end the connection.
    pub message_bytes_max: usize,
    /// How an attention is acknowledged that stops a request.
    pub attention: AttentionAnswer,
    /// How long a client may take to log in.
    pub login_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            encryption: Encryption::Supported,
            certificate: None,
            name: "STANDIN".to_owned(),
            // 13.0.5026: SQL Server 2016 SP2.
            version: [13, 0, 0x13, 0xA2],
            // Room for the statements of any test and for LOBs of some size; bounds what one client can make us hold.
            message_bytes_max: 256 * 1024 * 1024,
            attention: AttentionAnswer::OwnMessage,
            login_timeout: Duration::from_secs(15),
        }
    }
}

/// A running server. Dropping it ends it and all its connections.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    faults: Faults,
    certificate: Vec<u8>,
    open: Arc<AtomicU64>,
    cut: Arc<Notify>,
    task: JoinHandle<()>,
}

/// What the connections of a server share.
pub(super) struct Shared {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) config: ServerConfig,
    pub(super) acceptor: TlsAcceptor,
    pub(super) strict: TlsAcceptor,
    pub(super) faults: Faults,
}

impl Server {
    /// Listens and serves, on the runtime it is called on, until dropped. Port 0 takes a free one.
    pub async fn start(address: SocketAddr, engine: Arc<dyn Engine>, config: ServerConfig) -> Result<Server, Error> {
        Server::listen(TcpListener::bind(address).await?.into_std()?, engine, config)
    }

    /// Serves a socket that listens, on the runtime that it is called in, until dropped.
    pub fn listen(
        listener: std::net::TcpListener,
        engine: Arc<dyn Engine>,
        config: ServerConfig,
    ) -> Result<Server, Error> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let certificate = match config.certificate {
            Some(certificate) => certificate,
            None => Certificate::self_signed()?,
        };
        let config = ServerConfig { certificate: None, ..config };
        let faults = Faults::default();
        let open = Arc::new(AtomicU64::new(0));
        let (acceptor, strict) = (certificate.acceptor()?, certificate.strict_acceptor()?);
        let shared = Shared { engine, config, acceptor, strict, faults: faults.clone() };
        let cut = Arc::new(Notify::new());
        let task = tokio::spawn(listen(listener, Arc::new(shared), open.clone(), cut.clone()));
        Ok(Server { address, faults, certificate: certificate.der().to_vec(), open, cut, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its faults: none unless set.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Its certificate as DER, for clients to trust.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Breaks all connections, whatever they are at, and goes on listening. Returns before they are broken.
    pub fn cut_connections(&self) {
        self.cut.notify_one();
    }

    /// How many connections are open.
    pub fn connections(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>, open: Arc<AtomicU64>, cut: Arc<Notify>) {
    // Of the connections this set is the only owner: they end with it.
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = cut.notified() => {
                connections.abort_all();
                continue;
            }
        };
        let Ok((tcp, _)) = accepted else {
            // Out of file descriptors, most likely: some connection will end.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        number += 1;
        connections.spawn(serve(tcp, number, shared.clone(), Open::one_more(&open)));
    }
}

async fn serve(tcp: TcpStream, number: u64, shared: Arc<Shared>, open: Open) {
    if let Err(error) = connection::serve(tcp, number, &shared).await {
        tracing::debug!(connection = number, %error, "a connection has ended");
    }
    drop(open);
}

struct Open(Arc<AtomicU64>);

impl Open {
    fn one_more(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Open(count.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

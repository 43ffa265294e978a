//! A connection to PostgreSQL that breaks when it is told to: at a byte, before a COMMIT, or after it (the lost answer); or that stays
//! open, takes what is sent, and forwards nothing any more.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// In the statement, and in the server's answer to it.
const COMMIT: &[u8] = b"COMMIT\0";

/// When a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// When the client says COMMIT: the server never hears it.
    BeforeCommit,
    /// When the server has answered to COMMIT: the client never hears it.
    AfterCommit,
    /// When the client has sent so many bytes more.
    Bytes(usize),
}

/// Passes connections on to a server, and cuts them.
#[derive(Clone, Debug)]
pub struct Proxy {
    port: u16,
    /// Skips so many COMMITs, then cuts once.
    next: Arc<Mutex<Option<(usize, Cut)>>>,
    /// Connections so far.
    count: Arc<AtomicUsize>,
    /// The first so many forward nothing.
    silent: Arc<AtomicUsize>,
}

impl Proxy {
    /// Listens on a free port of the loopback interface, and passes what comes on to another.
    ///
    /// # Errors
    /// Where there is no free port.
    pub async fn before(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port_here = listener.local_addr()?.port();
        let proxy = Proxy { port: port_here, next: Arc::default(), count: Arc::default(), silent: Arc::default() };
        let passing = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let passing = passing.clone();
                let number = passing.count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    // An error is a cut by one of the sides.
                    let _cut = passing.pass(client, port, number).await;
                });
            }
        });
        Ok(proxy)
    }

    /// The URL of a database by way of the proxy.
    pub fn url(&self, url: &str, port: u16) -> String {
        format!("{}?sslmode=disable", url.replace(&format!(":{port}/"), &format!(":{}/", self.port)))
    }

    /// Cuts at the next occasion, after `skip` COMMITs.
    pub fn cut(&self, skip: usize, cut: Cut) {
        *self.lock() = Some((skip, cut));
    }

    /// From here on the connections that there are, and so many of those that come, take what is sent and forward nothing. Nobody is told.
    pub fn fall_silent(&self, more: usize) {
        self.silent.store(self.count.load(Ordering::SeqCst).saturating_add(more), Ordering::SeqCst);
    }

    fn is_silent(&self, number: usize) -> bool {
        number < self.silent.load(Ordering::SeqCst)
    }

    /// Whether the cut has happened; forgets it if not.
    pub fn was_cut(&self) -> bool {
        self.lock().take().is_none()
    }

    fn lock(&self) -> MutexGuard<'_, Option<(usize, Cut)>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn pass(&self, mut client: TcpStream, port: u16, number: usize) -> io::Result<()> {
        let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
        loop {
            tokio::select! {
                n = client.read(&mut up) => {
                    let bytes = &up[..n?];
                    if bytes.is_empty() {
                        return Ok(());
                    }
                    if self.is_silent(number) {
                        continue;
                    }
                    match self.decide(bytes) {
                        None => server.write_all(bytes).await?,
                        Some(Cut::BeforeCommit) => return Ok(()),
                        Some(Cut::AfterCommit) => {
                            server.write_all(bytes).await?;
                            // What comes first may be the answer to something before it.
                            let mut answer = Vec::new();
                            while !answer.windows(COMMIT.len()).any(|w| w == COMMIT) {
                                match server.read(&mut down).await? {
                                    0 => break,
                                    n => answer.extend_from_slice(&down[..n]),
                                }
                            }
                            return Ok(());
                        }
                        Some(Cut::Bytes(n)) => {
                            server.write_all(&bytes[..n.min(bytes.len())]).await?;
                            return Ok(());
                        }
                    }
                }
                n = server.read(&mut down) => {
                    if self.is_silent(number) {
                        // That the server has ended the connection is not forwarded either.
                        while client.read(&mut up).await? > 0 {}
                        return Ok(());
                    }
                    let bytes = &down[..n?];
                    if bytes.is_empty() {
                        return Ok(());
                    }
                    client.write_all(bytes).await?;
                }
            }
        }
    }

    fn decide(&self, bytes: &[u8]) -> Option<Cut> {
        let mut next = self.lock();
        let (skip, cut) = next.as_mut()?;
        if let Cut::Bytes(left) = cut {
            if bytes.len() > *left {
                return next.take().map(|(_, cut)| cut);
            }
            *left -= bytes.len();
            return None;
        }
        let commits = bytes.windows(COMMIT.len()).filter(|w| *w == COMMIT).count();
        if commits == 0 {
            return None;
        }
        if *skip > 0 {
            *skip -= 1;
            return None;
        }
        next.take().map(|(_, cut)| cut)
    }
}

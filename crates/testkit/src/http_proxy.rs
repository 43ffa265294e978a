//! A way to an HTTP server on which things go wrong when they are told to: an answer in its place, a body that ends in the middle, or
//! stands still. It is spoken to as the server itself, or as a proxy.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What goes wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpFault {
    /// The server is not asked; this status, with an error in XML of this code.
    Status(u16, &'static str),
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// So many bytes of the body come, then nothing any more.
    Silence(usize),
    /// The body comes in pieces, with a pause after each.
    Slow(Duration),
}

/// When, how often and what.
struct Planned {
    request: String,
    times: usize,
    fault: HttpFault,
}

/// Passes requests on to a server.
#[derive(Clone)]
pub struct HttpProxy {
    port: u16,
    planned: Arc<Mutex<Vec<Planned>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

/// Longer heads, and bodies of requests, are not sent by what is tested with it.
const REQUEST_MAX: usize = 64 << 10;

impl HttpProxy {
    /// Listens on a free port of the loopback interface, and passes all requests on to one server.
    ///
    /// # Errors
    /// Where there is no free port.
    pub async fn before(server: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let proxy = HttpProxy { port, planned: Arc::default(), seen: Arc::default() };
        let passing = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let passing = passing.clone();
                tokio::spawn(async move {
                    // An error is one of the sides that went away.
                    let _gone = passing.pass(client, server).await;
                });
            }
        });
        Ok(proxy)
    }

    /// Its own address, `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The next requests whose head has this text in it go wrong, so many of them.
    pub fn fail(&self, request: &str, times: usize, fault: HttpFault) {
        lock(&self.planned).push(Planned { request: request.to_owned(), times, fault });
    }

    /// Whether all faults have happened.
    pub fn is_spent(&self) -> bool {
        lock(&self.planned).is_empty()
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.seen).clone()
    }

    async fn pass(&self, mut client: TcpStream, server: u16) -> io::Result<()> {
        let mut request = Vec::new();
        let head = loop {
            if let Some(at) = find(&request, b"\r\n\r\n") {
                break at + 4;
            }
            if request.len() > REQUEST_MAX || client.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        };
        let text = String::from_utf8_lossy(&request[..head]).into_owned();
        let lower = text.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        while request.len() < head + length.unwrap_or_default() {
            if request.len() > REQUEST_MAX || client.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        lock(&self.seen).push(String::from_utf8_lossy(&request).into_owned());
        let fault = self.decide(&text);
        if let Some(HttpFault::Status(status, code)) = fault {
            let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>planned</Message></Error>");
            let answer = format!(
                "HTTP/1.1 {status} Planned\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            return client.write_all(answer.as_bytes()).await;
        }
        // One request a connection, so that an answer ends where the server ends it.
        let mut server = TcpStream::connect(("127.0.0.1", server)).await?;
        server.write_all(&request[..head - 2]).await?;
        server.write_all(b"Connection: close\r\n\r\n").await?;
        server.write_all(&request[head..]).await?;
        answer(&mut server, &mut client, fault).await
    }

    fn decide(&self, head: &str) -> Option<HttpFault> {
        let mut planned = lock(&self.planned);
        let at = planned.iter().position(|p| head.contains(&p.request))?;
        let found = planned.get_mut(at)?;
        found.times = found.times.saturating_sub(1);
        let fault = found.fault.clone();
        if found.times == 0 {
            planned.remove(at);
        }
        Some(fault)
    }
}

/// Passes an answer on, with what goes wrong about its body.
async fn answer(server: &mut TcpStream, client: &mut TcpStream, fault: Option<HttpFault>) -> io::Result<()> {
    let mut bytes = vec![0; 64 << 10];
    let mut head = Vec::new();
    // Of the body, once it has begun.
    let mut passed: Option<usize> = None;
    loop {
        let n = server.read(&mut bytes).await?;
        if n == 0 {
            return client.shutdown().await;
        }
        let mut piece = bytes[..n].to_vec();
        if passed.is_none() {
            head.extend_from_slice(&piece);
            let Some(at) = find(&head, b"\r\n\r\n") else { continue };
            client.write_all(&head[..at + 4]).await?;
            piece = head.split_off(at + 4);
            passed = Some(0);
        }
        let before = passed.unwrap_or_default();
        passed = Some(before + piece.len());
        match &fault {
            Some(HttpFault::Cut(most)) if before + piece.len() > *most => {
                return client.write_all(&piece[..most.saturating_sub(before)]).await;
            }
            Some(HttpFault::Silence(most)) if before + piece.len() > *most => {
                client.write_all(&piece[..most.saturating_sub(before)]).await?;
                // Until the client gives up.
                let _gone = client.read(&mut bytes).await?;
                return Ok(());
            }
            Some(HttpFault::Slow(pause)) => {
                client.write_all(&piece).await?;
                tokio::time::sleep(*pause).await;
            }
            _ => client.write_all(&piece).await?,
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

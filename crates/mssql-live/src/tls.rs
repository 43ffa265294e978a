//! TLS under TDS, verified.
//!
//! A client of TDS 7.4 says in the clear that it wants encryption (PRELOGIN), does the TLS handshake in packets of that kind, and
//! sends everything after it as TLS records:
//!
//! ```text
//!  us ── PRELOGIN: encrypt ──► server      us ── packet(ClientHello) ──► server      us ── TLS[LOGIN7 ...] ──► server
//!     ◄── PRELOGIN: on ───────                ◄── packet(ServerHello ...)
//! ```
//!
//! The client library could do this, but with one trust only (the system's authorities and more), which does not fit a
//! server that signed its own certificate, as most do. So it is done here, and the library is given a stream on which the
//! server "does not support" encryption: its own PRELOGIN is taken off the stream and answered from here.
//!
//! The surprising part: TLS 1.2 only. SQL Server speaks 1.3 only in the mode that begins with TLS (`Encrypt=Strict`, TDS 8.0), by the
//! protocol `tds/8.0` of ALPN; there the PRELOGIN is within TLS, and the same is done for the library. Source: MS-TDS 2.2.6.5 and 3.2.5.2,
//! <https://learn.microsoft.com/openspecs/windows_protocols/ms-tds/>.

mod trust;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::Error;
use crate::settings::{Settings, Trust};
use trust::{WithoutAuthority, verifier};

const HEADER: usize = 8;
const PRELOGIN: u8 = 18;
const RESPONSE: u8 = 4;
const END_OF_MESSAGE: u8 = 1;

/// Options of a PRELOGIN.
const VERSION: u8 = 0;
const ENCRYPTION: u8 = 1;
/// FEDAUTHREQUIRED
const FEDERATION: u8 = 6;
const END: u8 = 0xFF;

const ON: u8 = 1;
const NOT_SUPPORTED: u8 = 2;
const REQUIRED: u8 = 3;

/// What ALPN calls TDS within TLS (MS-TDS 3.2.5.1).
const STRICT: &[u8] = b"tds/8.0";

/// Who is believed, made once per source.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    is_strict: bool,
}

impl Tls {
    /// Reads the certificates that are asked for.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        let failed = |said: String, hint| Error::Tls { server: settings.to_string(), said, hint };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match &settings.trust {
            Trust::Any => Arc::new(WithoutAuthority { pinned: None, provider: provider.clone() }),
            Trust::Pinned(path) => {
                let hint = "give the server's certificate as a PEM file";
                let pinned = CertificateDer::from_pem_file(path)
                    .map_err(|e| failed(format!("{}: {e}", path.display()), hint))?;
                Arc::new(WithoutAuthority { pinned: Some(pinned), provider: provider.clone() })
            }
            Trust::Authority(path) => {
                let hint = "give the certificates of the authority as a PEM file";
                let certificates = CertificateDer::pem_file_iter(path)
                    .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                    .map_err(|e| failed(format!("{}: {e}", path.display()), hint))?;
                verifier(certificates, &provider).map_err(|e| failed(format!("{}: {e}", path.display()), hint))?
            }
            Trust::System => {
                let hint = "install the system's certificates (ca-certificates), or give the authority's file";
                verifier(rustls_native_certs::load_native_certs().certs, &provider).map_err(|e| failed(e, hint))?
            }
        };
        let versions: &[_] = match settings.strict {
            true => &[&rustls::version::TLS13, &rustls::version::TLS12],
            false => &[&rustls::version::TLS12],
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|e| failed(e.to_string(), ""))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        if settings.strict {
            config.alpn_protocols.push(STRICT.to_vec());
        }
        let name = settings.certificate_name.as_ref().unwrap_or(&settings.host);
        let name = ServerName::try_from(name.clone()).map_err(|_| {
            failed(format!("\"{name}\" is no name that a certificate can have"), "check the name of the host")
        })?;
        Ok(Tls { config: Arc::new(config), name, is_strict: settings.strict })
    }

    /// Settles on encryption and does the handshake.
    pub(crate) async fn secure(&self, mut tcp: TcpStream, settings: &Settings) -> Result<Stream, Error> {
        if self.is_strict {
            return self.secure_first(tcp, settings).await;
        }
        let server = || settings.to_string();
        let broken = |e: io::Error| Error::Connect { server: server(), said: e.to_string() };
        // A login by token is said here already.
        let federation = settings.token.as_ref().map(|_| 1);
        tcp.write_all(&prelogin(ON, federation)).await.map_err(broken)?;
        let answer = read_message(&mut tcp).await.map_err(broken)?;
        match option(&answer, ENCRYPTION) {
            Some(ON | REQUIRED) => {}
            Some(_) => {
                let hint =
                    "every SQL Server since 2005 can encrypt: what answers may be something else, or between us and it";
                return Err(Error::Tls { server: server(), said: "it does not encrypt".to_owned(), hint });
            }
            None => {
                let said = "what answers there does not speak TDS".to_owned();
                return Err(Error::Connect { server: server(), said });
            }
        }
        let connector = TlsConnector::from(self.config.clone());
        let mut tls =
            connector.connect(self.name.clone(), Wrapped::new(tcp)).await.map_err(|e| handshake_error(settings, &e))?;
        tls.get_mut().0.wrapping = false;
        Ok(Stream::new(tls, &answer))
    }

    /// Does the handshake first, and sends all else within.
    async fn secure_first(&self, tcp: TcpStream, settings: &Settings) -> Result<Stream, Error> {
        let server = || settings.to_string();
        let broken = |e: io::Error| Error::Connect { server: server(), said: e.to_string() };
        let connector = TlsConnector::from(self.config.clone());
        let mut wrapped = Wrapped::new(tcp);
        wrapped.wrapping = false;
        let mut tls =
            connector.connect(self.name.clone(), wrapped).await.map_err(|e| match handshake_error(settings, &e) {
                Error::Connect { server, said } => Error::Connect {
                    server,
                    said: format!("{said} (SQL Server before 2022 does not know source.tls.strict)"),
                },
                other => other,
            })?;
        let federation = settings.token.as_ref().map(|_| 1);
        tls.write_all(&prelogin(REQUIRED, federation)).await.map_err(broken)?;
        tls.flush().await.map_err(broken)?;
        let answer = read_message(&mut tls).await.map_err(broken)?;
        // What it says of encryption does not matter any more.
        if option(&answer, ENCRYPTION).is_none() {
            let said = "what answers there does not speak TDS".to_owned();
            return Err(Error::Connect { server: server(), said });
        }
        Ok(Stream::new(tls, &answer))
    }
}

/// Tells a certificate that is not believed from a connection that broke.
fn handshake_error(settings: &Settings, error: &io::Error) -> Error {
    let server = settings.to_string();
    let rustls = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    let said = error.to_string();
    match (rustls, &settings.trust) {
        (None, _) => Error::Connect { server, said },
        (Some(rustls::Error::InvalidCertificate(_)), Trust::Pinned(_)) => Error::Tls {
            server,
            said: "its certificate is another one than that in source.tls.pinned".to_owned(),
            hint: "find out why: somebody may be in between; where the server has a new certificate, put that in the file",
        },
        (Some(rustls::Error::InvalidCertificate(_)), _) => Error::Tls {
            server,
            said,
            hint: "give the authority that signed it (source.tls.ca), or, where the server signed it itself, the \
                   certificate (source.tls.pinned); where the name differs from the host, source.tls.name",
        },
        (Some(_), _) => Error::Tls { server, said, hint: "the server must allow TLS 1.2" },
    }
}

/// A PRELOGIN, in its packet.
fn prelogin(encryption: u8, federation: Option<u8>) -> Vec<u8> {
    // Version 0: no server looks at it. No instance, no thread, no MARS.
    let (encryption, federation) = ([encryption], federation.map(|f| [f]));
    let mut options: Vec<(u8, &[u8])> =
        vec![(VERSION, &[0; 6]), (ENCRYPTION, &encryption), (2, &[0]), (3, &[0; 4]), (4, &[0])];
    options.extend(federation.as_ref().map(|f| (FEDERATION, &f[..])));
    let (mut head, mut data) = (Vec::new(), Vec::new());
    for (option, value) in &options {
        let offset = (5 * options.len() + 1 + data.len()) as u16;
        head.push(*option);
        head.extend_from_slice(&offset.to_be_bytes());
        head.extend_from_slice(&(value.len() as u16).to_be_bytes());
        data.extend_from_slice(value);
    }
    head.push(END);
    head.extend_from_slice(&data);
    packet(PRELOGIN, &head)
}

fn packet(kind: u8, data: &[u8]) -> Vec<u8> {
    let [high, low] = ((data.len() + HEADER) as u16).to_be_bytes();
    let mut packet = vec![kind, END_OF_MESSAGE, high, low, 0, 0, 1, 0];
    packet.extend_from_slice(data);
    packet
}

/// Reads the server's PRELOGIN.
async fn read_message(tcp: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut message = Vec::new();
    loop {
        let mut header = [0; HEADER];
        tcp.read_exact(&mut header).await?;
        let [kind, status, high, low, ..] = header;
        let len = usize::from(u16::from_be_bytes([high, low])).saturating_sub(HEADER);
        if kind != RESPONSE || message.len() + len > 64 << 10 {
            return Ok(Vec::new());
        }
        let at = message.len();
        message.resize(at + len, 0);
        tcp.read_exact(message.get_mut(at..).unwrap_or_default()).await?;
        if status & END_OF_MESSAGE != 0 {
            return Ok(message);
        }
    }
}

/// The first byte of an option of a PRELOGIN.
fn option(message: &[u8], wanted: u8) -> Option<u8> {
    for option in message.chunks(5) {
        match *option {
            [END, ..] => return None,
            [option, high, low, ..] if option == wanted => {
                return message.get(usize::from(u16::from_be_bytes([high, low]))).copied();
            }
            _ => {}
        }
    }
    None
}

/// What the client library is given: TLS, without the PRELOGIN that it thinks it must send.
pub(crate) struct Stream {
    tls: TlsStream<Wrapped>,
    swallow: Swallow,
    /// What the server says of logins by token: the login repeats it.
    federation: Option<u8>,
    /// The answer to its PRELOGIN.
    answer: Vec<u8>,
    answered: usize,
}

enum Swallow {
    Header { read: usize, header: [u8; HEADER] },
    Data { left: usize },
    Done,
}

impl Stream {
    /// After the server's PRELOGIN.
    fn new(tls: TlsStream<Wrapped>, prelogin: &[u8]) -> Self {
        let swallow = Swallow::Header { read: 0, header: [0; HEADER] };
        Stream { tls, swallow, federation: option(prelogin, FEDERATION), answer: Vec::new(), answered: 0 }
    }

    /// Takes bytes of the library's PRELOGIN; how many.
    fn take(&mut self, mut buf: &[u8]) -> usize {
        let mut taken = 0;
        while !buf.is_empty() {
            let n = match &mut self.swallow {
                Swallow::Header { read, header } => {
                    let n = buf.len().min(HEADER - *read);
                    header[*read..*read + n].copy_from_slice(&buf[..n]);
                    *read += n;
                    if *read == HEADER {
                        let left = usize::from(u16::from_be_bytes([header[2], header[3]])).saturating_sub(HEADER);
                        self.swallow = Swallow::Data { left };
                    }
                    n
                }
                Swallow::Data { left } => {
                    let n = buf.len().min(*left);
                    *left -= n;
                    if *left == 0 {
                        self.swallow = Swallow::Done;
                        // The library sees an answer as a server gives it that has no TLS.
                        let mut answer = prelogin(NOT_SUPPORTED, self.federation);
                        answer[0] = RESPONSE;
                        self.answer = answer;
                    }
                    n
                }
                Swallow::Done => break,
            };
            taken += n;
            buf = &buf[n..];
        }
        taken
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let rest = this.answer.get(this.answered..).unwrap_or_default();
        if !rest.is_empty() {
            let n = rest.len().min(buf.remaining());
            buf.put_slice(rest.get(..n).unwrap_or_default());
            this.answered += n;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.tls).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !matches!(this.swallow, Swallow::Done) {
            return Poll::Ready(Ok(this.take(buf)));
        }
        Pin::new(&mut this.tls).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tls).poll_shutdown(cx)
    }
}

/// A socket whose bytes are in packets until the handshake is over.
struct Wrapped {
    tcp: TcpStream,
    wrapping: bool,
    header: [u8; HEADER],
    header_read: usize,
    /// Bytes of the current packet that are still to be read.
    left: usize,
    /// Written and not yet in a packet.
    plain: Vec<u8>,
    packets: Vec<u8>,
    sent: usize,
}

/// Bytes of a handshake packet's data: the size that every session begins with is 4096.
const PACKET_DATA: usize = 4096 - HEADER;

impl Wrapped {
    fn new(tcp: TcpStream) -> Self {
        Wrapped {
            tcp,
            wrapping: true,
            header: [0; HEADER],
            header_read: 0,
            left: 0,
            plain: Vec::new(),
            packets: Vec::new(),
            sent: 0,
        }
    }
}

impl AsyncRead for Wrapped {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.wrapping {
            return Pin::new(&mut this.tcp).poll_read(cx, buf);
        }
        while this.left == 0 {
            let Some(missing) = this.header.get_mut(this.header_read..).filter(|missing| !missing.is_empty()) else {
                let [_, _, high, low, ..] = this.header;
                this.left = usize::from(u16::from_be_bytes([high, low])).saturating_sub(HEADER);
                this.header_read = 0;
                continue;
            };
            let mut part = ReadBuf::new(missing);
            ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut part))?;
            let read = part.filled().len();
            if read == 0 {
                return Poll::Ready(Ok(()));
            }
            this.header_read += read;
        }
        let room = this.left.min(buf.remaining());
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(room));
        ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        buf.advance(read);
        this.left -= read;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wrapped {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.wrapping {
            return Pin::new(&mut this.tcp).poll_write(cx, buf);
        }
        this.plain.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let plain = std::mem::take(&mut this.plain);
        let mut chunks = plain.chunks(PACKET_DATA).peekable();
        while let Some(chunk) = chunks.next() {
            let mut packet = packet(PRELOGIN, chunk);
            if chunks.peek().is_some() {
                packet[1] = 0;
            }
            this.packets.append(&mut packet);
        }
        while let Some(rest) = this.packets.get(this.sent..).filter(|rest| !rest.is_empty()) {
            let written = ready!(Pin::new(&mut this.tcp).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.sent += written;
        }
        this.packets.clear();
        this.sent = 0;
        Pin::new(&mut this.tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut *this).poll_flush(cx))?;
        Pin::new(&mut this.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &[u8], expect: Option<u8>) {
        assert_eq!(option(message, ENCRYPTION), expect, "{message:02x?}");
    }

    #[test]
    fn encryption_is_read_from_any_prelogin() {
        check(&prelogin(ON, None)[HEADER..], Some(ON));
        check(&prelogin(NOT_SUPPORTED, Some(1))[HEADER..], Some(NOT_SUPPORTED));
        assert_eq!(option(&prelogin(ON, Some(1))[HEADER..], FEDERATION), Some(1));
        assert_eq!(option(&prelogin(ON, None)[HEADER..], FEDERATION), None);
        check(&[END], None);
        check(&[], None);
        check(&[ENCRYPTION, 0xff, 0xff, 0, 1, END], None);
        check(b"HTTP/1.1 400 Bad Request", None);
    }
}

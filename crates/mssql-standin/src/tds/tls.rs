//! TLS inside TDS: certificates, and the stream in which the handshake is wrapped in packets.
//!
//! ```text
//! handshake:   ├ packet header, kind 18 ┤ TLS records ┤
//! afterwards:  TLS records alone, and packets are inside them
//! ```
//!
//! A connection of TDS 8.0 begins with TLS, and all of TDS is within.
//!
//! Where only the login is to be encrypted, both sides drop TLS after the login and go on in the clear on the same socket. TLS 1.2
//! only, but for TDS 8.0: 1.3 would send session tickets after the handshake, where no client of TDS 7.4 expects packets any more.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::error::Error;
use super::packet::{DEFAULT_SIZE, HEADER, Kind, Packetizer};

/// What ALPN calls TDS within TLS (TDS 8.0, MS-TDS 3.3.5.1).
pub(super) const STRICT: &[u8] = b"tds/8.0";
/// The first byte of a connection that begins with TLS: a handshake record. No packet of TDS is of that kind.
pub(super) const HANDSHAKE: u8 = 22;

/// A certificate with its key.
#[derive(Debug)]
pub struct Certificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Certificate {
    /// Makes one for `localhost` and `127.0.0.1` that nobody has signed, as SQL Server does when it is given none.
    pub fn self_signed() -> Result<Self, Error> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])
            .map_err(|e| Error::Certificate(e.to_string()))?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        Ok(Certificate { chain: vec![made.cert.der().clone()], key: key.into() })
    }

    /// A chain, the server's own certificate first, and the key of that, all DER.
    pub fn from_der(chain: Vec<Vec<u8>>, key: Vec<u8>) -> Result<Self, Error> {
        let key = PrivateKeyDer::try_from(key).map_err(|e| Error::Certificate(e.to_owned()))?;
        Ok(Certificate { chain: chain.into_iter().map(CertificateDer::from).collect(), key })
    }

    /// The server's own certificate as DER: what a client may be told to trust.
    pub fn der(&self) -> &[u8] {
        self.chain.first().map(AsRef::as_ref).unwrap_or_default()
    }

    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, Error> {
        self.config(&[&rustls::version::TLS12]).map(|config| TlsAcceptor::from(Arc::new(config)))
    }

    /// For connections that begin with TLS.
    pub(super) fn strict_acceptor(&self) -> Result<TlsAcceptor, Error> {
        let mut config = self.config(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
        config.alpn_protocols.push(STRICT.to_vec());
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn config(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> Result<ServerConfig, Error> {
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .map(|builder| builder.with_no_client_auth())
            .and_then(|builder| builder.with_single_cert(self.chain.clone(), self.key.clone_key()))
            .map_err(|e| Error::Certificate(e.to_string()))
    }
}

/// Does the handshake.
pub(super) async fn accept(acceptor: &TlsAcceptor, tcp: TcpStream) -> io::Result<TlsStream<Wrapped>> {
    let mut stream = acceptor.accept(Wrapped::new(tcp)).await?;
    let wrapped = stream.get_mut().0;
    std::future::poll_fn(|cx| Pin::new(&mut *wrapped).poll_flush(cx)).await?;
    wrapped.wrapping = false;
    Ok(stream)
}

/// A socket whose bytes are in packets until the handshake is over.
pub(super) struct Wrapped {
    tcp: TcpStream,
    wrapping: bool,
    header: [u8; HEADER],
    header_read: usize,
    /// Bytes of the current packet that are still to be read.
    left: usize,
    /// Written and not yet in packets.
    plain: Vec<u8>,
    packets: Vec<u8>,
    sent: usize,
}

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

    /// The socket, to go on in the clear.
    pub(super) fn into_inner(self) -> TcpStream {
        self.tcp
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
            // The client has had our last message, and is faster than we are: what comes is the login, a TLS record.
            if !matches!(this.header, [kind, ..] if Kind(kind) == Kind::PRELOGIN) {
                buf.put_slice(this.header.get(..this.header_read).unwrap_or_default());
                this.header_read = 0;
                this.wrapping = false;
                return Poll::Ready(Ok(()));
            }
        }
        let mut scratch = [0; 2048];
        let room = scratch.len().min(this.left).min(buf.remaining());
        let mut part = ReadBuf::new(scratch.get_mut(..room).unwrap_or_default());
        ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut part))?;
        buf.put_slice(part.filled());
        let read = part.filled().len();
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
        if this.wrapping && !this.plain.is_empty() {
            Packetizer::new(Kind::PRELOGIN, DEFAULT_SIZE, 0).finish(&mut this.plain, &mut this.packets);
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

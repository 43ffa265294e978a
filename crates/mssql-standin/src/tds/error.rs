//! What ends a server or one of its connections.

use std::io;

use logferry_mssql_format::bytes::Malformed;

/// Why a server could not start, or a connection was ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on, or there are no threads to serve it.
    #[error("{0}")]
    Listen(io::Error),
    /// The socket.
    #[error("the connection: {0}")]
    Io(#[from] io::Error),
    /// What the client sent is not TDS.
    #[error("the client's message: {0}")]
    Malformed(#[from] Malformed),
    /// The client sent something that may not come at this point.
    #[error("the client sent {0}")]
    OutOfOrder(String),
    /// The certificate or its key cannot be used.
    #[error("the certificate: {0}")]
    Certificate(String),
    /// Client and server cannot agree on encryption.
    #[error("client and server do not agree on encryption")]
    Encryption,
    /// A session panicked.
    #[error("a session panicked")]
    Panicked,
}

//! Where the server is and how to get in.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::condition::Conditions;

/// A connection to one database of a server.
#[derive(Clone)]
pub struct Settings {
    /// Name or address of the machine.
    pub host: String,
    /// Which server on it.
    pub address: Address,
    /// The database.
    pub database: String,
    /// Name for SQL authentication.
    pub user: String,
    /// Its password; never shown.
    pub password: String,
    /// What stands in the place of both, if anything.
    pub token: Option<Token>,
    /// Who we say that we are: `program_name` and `host_name` of the server's sessions.
    pub application: String,
    /// Whose certificate is believed.
    pub trust: Trust,
    /// The name that the certificate must have, where it is not `host`.
    pub certificate_name: Option<String>,
    /// TLS comes first, and all of TDS is within (TDS 8.0, `Encrypt=Strict`).
    pub strict: bool,
    /// Says that it only reads: a listener of an availability group may answer with a secondary.
    pub read_only: bool,
    /// From the first packet to the end of the login.
    pub connect_timeout: Duration,
    /// From a request to the first of its answer, and from one piece of the answer to the next.
    pub answer_timeout: Duration,
    /// Connections at a time.
    pub connections_max: u32,
    /// Which rows of tables are read.
    pub conditions: Conditions,
}

/// What stands in the place of user and password; never shown.
#[derive(Clone)]
pub enum Token {
    /// An access token of Entra ID.
    Text(String),
    /// One in this file, which is read at each connection: tokens live for an hour or so.
    File(PathBuf),
    /// A ticket of Kerberos for `MSSQLSvc/host:port`, by the credential cache or client keytab that the process's environment names. Asks
    /// for the feature `kerberos`.
    Kerberos,
}

/// How a log is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// What happens where the log was truncated before it was read, and no backup has it.
    pub on_gap: OnGap,
    /// Whether the log is kept from being truncated before it is read.
    pub hold: Option<HoldLog>,
}

/// What happens at a gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnGap {
    /// The task stops.
    #[default]
    Stop,
    /// All tables are read anew, as they are then.
    Resync,
}

/// Bounds within which the log is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldLog {
    /// The log that cannot be used again, in MB.
    pub max_mb: u32,
    /// How long a transaction is open.
    pub max_age: std::time::Duration,
}

/// Which server of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// The one that listens there.
    Port(u16),
    /// The one of this name: its port is asked of the SQL Server Browser (UDP 1434).
    Instance(String),
}

/// Whose certificate is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// One that an authority of the system has signed, for this host.
    System,
    /// One that an authority of this PEM file has signed, for this host, and no other authority.
    Authority(PathBuf),
    /// The one in this PEM file, and no other; its names and dates do not matter. For certificates that servers sign themselves.
    Pinned(PathBuf),
    /// Any: encrypted, without knowing who is there.
    Any,
}

impl fmt::Display for Settings {
    /// `user@host:port/database`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { host, database, user, token, .. } = self;
        let user = match token {
            None => user.as_str(),
            Some(Token::Text(_) | Token::File(_)) => "token",
            Some(Token::Kerberos) => "kerberos",
        };
        match &self.address {
            Address::Port(port) => write!(f, "{user}@{host}:{port}/{database}"),
            Address::Instance(name) => write!(f, "{user}@{host}\\{name}/{database}"),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings({self})")
    }
}

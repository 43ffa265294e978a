//! One connection: how it is opened, and how answers are read from it.
//!
//! The client library cannot take up a connection again whose answer was dropped half way. So a session knows whether its last
//! answer was read to the end, and says so to the pool: [`Session::is_clean`].

use std::time::Duration;

use futures_util::TryStreamExt;
use tiberius::{AuthMethod, Client, Config, EncryptionLevel, QueryItem, QueryStream, Row, SqlBrowser, ToSql};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};
use tracing::debug;

use crate::condition::Conditions;
use crate::error::Error;
use crate::settings::{Address, Settings, Token};
use crate::sql;
use crate::tls::{Stream, Tls};

/// Of TDS packets. SQL Server takes no more than 16,383 bytes where it encrypts; four times the default halves the time that
/// a full copy spends on packets.
/// <https://learn.microsoft.com/sql/database-engine/configure-windows/configure-the-network-packet-size-server-configuration-option>
const PACKET_SIZE: u32 = 16_000;

/// Characters of a name in the login.
const NAME_MAX: usize = 128;

/// An open connection.
pub(crate) struct Session {
    client: Client<Compat<Stream>>,
    clean: bool,
    /// Between [`Session::begin`] and [`Session::end`].
    in_transaction: bool,
    answer_timeout: Duration,
    conditions: Conditions,
}

impl Session {
    /// Connects, encrypts, logs in and sets the session up.
    pub(crate) async fn open(settings: &Settings, tls: &Tls) -> Result<Self, Error> {
        let open = Self::open_unbounded(settings, tls);
        tokio::time::timeout(settings.connect_timeout, open).await.map_err(|_| Error::Connect {
            server: settings.to_string(),
            said: format!("no answer for {} s", settings.connect_timeout.as_secs()),
        })?
    }

    async fn open_unbounded(settings: &Settings, tls: &Tls) -> Result<Self, Error> {
        let mut config = config(settings)?;
        let connected = TcpStream::connect_named(&config).await;
        let tcp = connected.map_err(|e| Error::Connect { server: settings.to_string(), said: e.to_string() })?;
        let port = tcp.peer_addr().map_or(0, |address| address.port());
        let stream = tls.secure(tcp, settings).await?;
        // From here on the library must not ask for the instance; a ticket of Kerberos is for the port that was found.
        let found = Address::Port(port);
        config = self::config(&Settings { address: found, ..settings.clone() })?;
        let client = match Client::connect(config.clone(), stream.compat_write()).await {
            // A gateway (Azure) or a listener sends us on, once.
            Err(tiberius::error::Error::Routing { host, port }) => {
                let routed = Settings { host, address: Address::Port(port), ..settings.clone() };
                let tcp = TcpStream::connect((routed.host.as_str(), port))
                    .await
                    .map_err(|e| Error::Connect { server: routed.to_string(), said: e.to_string() })?;
                config = self::config(&routed)?;
                let tls = if settings.certificate_name.is_some() { tls.clone() } else { Tls::new(&routed)? };
                Client::connect(config, tls.secure(tcp, &routed).await?.compat_write()).await
            }
            other => other,
        };
        let client = client.map_err(|e| match e {
            tiberius::error::Error::Server(e) => {
                Error::Login { server: settings.to_string(), number: e.code(), said: e.message().trim().to_owned() }
            }
            #[cfg(feature = "kerberos")]
            tiberius::error::Error::Gssapi(said) => Error::Kerberos { server: settings.to_string(), said },
            other => Error::Connect { server: settings.to_string(), said: other.to_string() },
        })?;
        let mut session = Session {
            client,
            clean: true,
            in_transaction: false,
            answer_timeout: settings.answer_timeout,
            conditions: settings.conditions.clone(),
        };
        session.run("set up the session", sql::SESSION).await?;
        match session.run("set how the session waits", sql::SESSION_WAITS).await {
            // It waits as the server has it then, and not for longer than an answer may take.
            Err(e @ Error::Statement { .. }) if !e.is_transient() => {
                debug!("{e}");
                // What is left of the answer is read.
                session.run("see whether a connection is alive", sql::PING).await?;
            }
            other => other?,
        }
        Ok(session)
    }

    /// Whether it may be used for something else: the last answer was read to its end, and no transaction is open.
    pub(crate) fn is_clean(&self) -> bool {
        self.clean && !self.in_transaction
    }

    /// Which rows of tables are read.
    pub(crate) fn conditions(&self) -> Conditions {
        self.conditions.clone()
    }

    /// Begins a transaction that sees one moment: that of the first row it reads.
    pub(crate) async fn begin(&mut self) -> Result<(), Error> {
        self.in_transaction = true;
        self.run("begin to read rows as of one moment", sql::BEGIN).await
    }

    /// Begins a transaction that holds the log. It ends with the connection.
    pub(crate) async fn hold(&mut self) -> Result<(), Error> {
        self.in_transaction = true;
        self.run("hold the log", sql::HOLD).await
    }

    /// Begins a transaction that locks something, and waits for that only for a moment.
    pub(crate) async fn begin_lock(&mut self) -> Result<(), Error> {
        self.in_transaction = true;
        self.run("begin to lock a table", sql::FENCE_LOCK).await
    }

    /// Ends it.
    pub(crate) async fn end_lock(&mut self) -> Result<(), Error> {
        self.run("let go of a table", sql::FENCE_UNLOCK).await?;
        self.in_transaction = false;
        Ok(())
    }

    /// Ends what [`Session::begin`] began.
    pub(crate) async fn end(&mut self) -> Result<(), Error> {
        self.run("end to read rows as of one moment", sql::END).await?;
        self.in_transaction = false;
        Ok(())
    }

    /// Asks; the answer's rows are read from what comes back.
    pub(crate) async fn ask<'s>(
        &'s mut self,
        doing: &'s str,
        text: &str,
        parameters: &[&dyn ToSql],
    ) -> Result<Answer<'s>, Error> {
        let Session { client, clean, answer_timeout, .. } = self;
        *clean = false;
        // The parameters live only for this call, the answer longer: the request is encoded before the first await.
        let mut query = tiberius::Query::new(text.to_owned());
        for parameter in parameters {
            query.bind(Owned(parameter.to_sql()));
        }
        let stream = bounded(doing, *answer_timeout, query.query(client)).await?;
        Ok(Answer { stream, clean, doing, timeout: *answer_timeout })
    }

    /// Asks for rows that are few.
    pub(crate) async fn rows(&mut self, doing: &str, text: &str, parameters: &[&dyn ToSql]) -> Result<Vec<Row>, Error> {
        let mut answer = self.ask(doing, text, parameters).await?;
        let mut rows = Vec::new();
        while let Some(row) = answer.next().await? {
            rows.push(row);
        }
        Ok(rows)
    }

    /// Runs a batch that has no rows.
    pub(crate) async fn run(&mut self, doing: &str, text: &str) -> Result<(), Error> {
        self.clean = false;
        let stream = bounded(doing, self.answer_timeout, self.client.simple_query(text)).await?;
        bounded(doing, self.answer_timeout, stream.into_results()).await?;
        self.clean = true;
        Ok(())
    }
}

fn config(settings: &Settings) -> Result<Config, Error> {
    let mut config = Config::new();
    config.host(&settings.host);
    match &settings.address {
        Address::Port(port) => config.port(*port),
        Address::Instance(name) => config.instance_name(name),
    }
    config.database(&settings.database);
    config.authentication(match &settings.token {
        None => AuthMethod::sql_server(&settings.user, &settings.password),
        Some(Token::Text(token)) => AuthMethod::aad_token(token.trim()),
        Some(Token::File(path)) => {
            let read = std::fs::read_to_string(path).map_err(|e| Error::Connect {
                server: settings.to_string(),
                said: format!("the access token could not be read from {}: {e}", path.display()),
            })?;
            AuthMethod::aad_token(read.trim())
        }
        #[cfg(feature = "kerberos")]
        Some(Token::Kerberos) => AuthMethod::Integrated,
        #[cfg(not(feature = "kerberos"))]
        Some(Token::Kerberos) => return Err(Error::NotBuilt { what: "source.kerberos", feature: "kerberos" }),
    });
    // The server cuts off neither: it refuses what is longer than 128 characters.
    let application: String = settings.application.chars().take(NAME_MAX).collect();
    config.application_name(&application);
    config.client_name(&application);
    config.readonly(settings.read_only);
    config.packet_size(PACKET_SIZE);
    // Encryption is ours: see `tls`.
    config.encryption(EncryptionLevel::NotSupported);
    // Waits are bounded here, per piece of an answer and not per answer.
    config.handshake_timeout(None);
    config.command_timeout(None);
    Ok(config)
}

/// A parameter's value on its way into a query.
struct Owned<'a>(tiberius::ColumnData<'a>);

impl<'a> tiberius::IntoSql<'a> for Owned<'a> {
    fn into_sql(self) -> tiberius::ColumnData<'a> {
        self.0
    }
}

async fn bounded<T>(doing: &str, limit: Duration, work: impl Future<Output = tiberius::Result<T>>) -> Result<T, Error> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done.map_err(|e| Error::of(doing, &e)),
        Err(_) => Err(Error::Silent { doing: doing.to_owned(), seconds: limit.as_secs() }),
    }
}

/// The rows of an answer. Dropped before their end, they take the connection with them.
pub(crate) struct Answer<'s> {
    stream: QueryStream<'s>,
    clean: &'s mut bool,
    doing: &'s str,
    timeout: Duration,
}

impl Answer<'_> {
    /// The next row; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Row>, Error> {
        loop {
            match bounded(self.doing, self.timeout, self.stream.try_next()).await? {
                Some(QueryItem::Row(row)) => return Ok(Some(row)),
                Some(QueryItem::Metadata(_)) => {}
                None => {
                    *self.clean = true;
                    return Ok(None);
                }
            }
        }
    }
}

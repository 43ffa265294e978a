//! The stand-in as clients meet it: the T-SQL of [`crate::sql`] behind the TDS of [`crate::tds`].
//!
//! ```
//! # use logferry_mssql_standin::serve::Standin;
//! let standin = Standin::start()?;
//! standin.batch("CREATE DATABASE shop")?;
//! standin.batch("USE shop; CREATE TABLE dbo.t (id int PRIMARY KEY, name nvarchar(20)); INSERT dbo.t VALUES (1, N'one')")?;
//! println!("connect to {} as {} with {}", standin.address(), standin.user(), standin.password());
//! // Connections that answer late, break, or end as deadlock victims: see `tds::Faults`.
//! standin.faults().clear();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It has threads of its own, so that it can be started and dropped anywhere: in a test without a runtime, in one with a runtime of one
//! thread, and in one that blocks it. Dropped, it stops listening and cuts its connections; the databases are gone with it.

mod engine;
mod fault;
mod session;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::sql::{self, FirstError, Param, SqlError};
use crate::tds::{self, Faults, ServerConfig};
use engine::SqlEngine;

/// How long statements that run may go on when a stand-in ends.
const LAST_STATEMENTS: Duration = Duration::from_secs(5);

/// How a stand-in is to be.
#[derive(Debug)]
pub struct StandinConfig {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// The login that it knows.
    pub user: String,
    /// Its password.
    pub password: String,
    /// What it is as a TDS server: name, encryption, certificate.
    pub tds: ServerConfig,
}

impl Default for StandinConfig {
    /// A free port of this machine, `sa` and a password that needs quoting in connection strings, TLS for those who want it.
    fn default() -> Self {
        StandinConfig {
            address: ([127, 0, 0, 1], 0).into(),
            user: "sa".to_owned(),
            password: "Pass;w0rd=\"ü{}".to_owned(),
            tds: ServerConfig::default(),
        }
    }
}

/// A running stand-in. Dropping it ends it and all its connections.
#[derive(Debug)]
pub struct Standin {
    tds: tds::Server,
    sql: sql::Server,
    user: String,
    password: String,
    read_intent_only: Arc<AtomicBool>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

/// Why a stand-in does not start, or a batch of its owner failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket or the certificate.
    #[error(transparent)]
    Tds(#[from] tds::Error),
    /// T-SQL.
    #[error(transparent)]
    Sql(#[from] SqlError),
}

impl Standin {
    /// Starts one on a free port, with its system databases.
    ///
    /// # Errors
    /// Where it cannot listen or have threads.
    pub fn start() -> Result<Standin, Error> {
        Standin::with(StandinConfig::default())
    }

    /// Starts one that is as it is told.
    ///
    /// # Errors
    /// Where it cannot listen or have threads, or the certificate is none.
    pub fn with(config: StandinConfig) -> Result<Standin, Error> {
        let sql = sql::Server::new(&config.tds.name)?;
        Standin::of(sql, config)
    }

    /// Lets clients in to databases that are there.
    ///
    /// # Errors
    /// As [`with`](Self::with).
    pub fn of(sql: sql::Server, config: StandinConfig) -> Result<Standin, Error> {
        let StandinConfig { address, user, password, tds } = config;
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            // One for each request that runs: those that wait for a lock must not keep out the one that holds it.
            .max_blocking_threads(4096)
            .thread_name("standin")
            .enable_all()
            .build()
            .map_err(tds::Error::Listen)?;
        let listener = TcpListener::bind(address).map_err(tds::Error::Listen)?;
        let read_intent_only = Arc::new(AtomicBool::new(false));
        let engine = SqlEngine {
            sql: sql.clone(),
            user: user.clone(),
            password: password.clone(),
            read_intent_only: Arc::clone(&read_intent_only),
            transactions: Arc::new(AtomicU64::new(1)),
        };
        let tds = {
            let _inside = runtime.enter();
            tds::Server::listen(listener, Arc::new(engine), tds)?
        };
        Ok(Standin { tds, sql, user, password, read_intent_only, runtime: Some(runtime) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.tds.address()
    }

    /// The login that it knows.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Its password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// What goes wrong on its connections: nothing unless set.
    pub fn faults(&self) -> &Faults {
        self.tds.faults()
    }

    /// Its certificate as DER, for clients to trust.
    pub fn certificate(&self) -> &[u8] {
        self.tds.certificate()
    }

    /// How many connections are open.
    pub fn connections(&self) -> u64 {
        self.tds.connections()
    }

    /// Its databases, for what needs no client.
    pub fn sql(&self) -> &sql::Server {
        &self.sql
    }

    /// Ends: cuts all connections, and writes the databases into a folder for the next one ([`sql::Server::reopen`]); gives their names.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn close_into(mut self, folder: &Path) -> Result<Vec<String>, SqlError> {
        if let Some(runtime) = self.runtime.take() {
            // Sessions roll back what they have open. A statement that goes on for longer finds its transaction gone.
            // On a thread of its own: whoever calls may be within another runtime.
            let ended = std::thread::spawn(move || runtime.shutdown_timeout(LAST_STATEMENTS)).join();
            debug_assert!(ended.is_ok());
        }
        self.sql.close_into(folder)
    }

    /// Runs a batch of T-SQL in a session of its own that begins in `master`; for what gives no rows. Ends at its first error.
    ///
    /// # Errors
    /// That one.
    pub fn batch(&self, text: &str) -> Result<(), SqlError> {
        self.batch_with(text, &[])
    }

    /// Runs a batch like [`batch`](Self::batch), with parameters.
    ///
    /// # Errors
    /// The first of the batch.
    pub fn batch_with(&self, text: &str, parameters: &[Param]) -> Result<(), SqlError> {
        let login = sql::Login {
            name: self.user.clone(),
            host: String::new(),
            program: "standin".to_owned(),
            database: String::new(),
        };
        let mut first = FirstError::default();
        // The error that ends a batch goes to the sink as well.
        let _status = self.sql.connect(&login)?.execute(text, parameters, &mut first);
        first.0.map_or(Ok(()), Err)
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Does not wait, so it may be within another runtime; statements that run end by themselves.
            runtime.shutdown_background();
        }
    }
}

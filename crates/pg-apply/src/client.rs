//! A connection whose answers are waited for as long as somebody works at them, and no longer.
//!
//! A statement may rightly take hours: an index of a large table, a lock that somebody holds. A connection may also be dead without
//! looking it: something on the way acknowledges what is sent and forwards nothing. Which of the two it is, the server knows:
//!
//! ```text
//!  an answer is late ── another connection ── is the backend there, and at work?
//!                                              ├─ at work, or waiting for a lock ── wait on
//!                                              ├─ it waits for us, or nobody can be asked ── so again and again: give up
//!                                              └─ gone ── give up
//! ```
//!
//! Giving up ends the connection, so that whoever waits gets an error, as from any connection that broke; and the backend, where it is there: its
//! locks would be waited for by whoever comes next.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Buf;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{CopyInSink, Error, Row, SimpleQueryMessage, Statement};

use crate::connect::Target;

/// So often in a row it is seen that nobody works at an answer. A large statement may be on its way for as long.
const STRIKES: u32 = 3;

/// A session of the server.
pub struct Client {
    inner: tokio_postgres::Client,
    waits: Arc<Waits>,
}

/// What is waited for.
#[derive(Debug, Default)]
pub(crate) struct Waits(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Answers that have not come.
    count: u32,
    /// Since when the next one is waited for.
    since: Option<Instant>,
}

/// An answer that has not come.
pub(crate) struct Waiting<'a>(&'a Waits);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.count -= 1;
        state.since = (state.count > 0).then(Instant::now);
    }
}

impl Waits {
    fn begin(&self) -> Waiting<'_> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.count += 1;
        state.since.get_or_insert_with(Instant::now);
        Waiting(self)
    }

    /// Since when an answer is waited for, if one is.
    fn since(&self) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).since
    }
}

/// As those of [`tokio_postgres::Client`].
#[allow(missing_docs, clippy::missing_errors_doc)]
impl Client {
    pub(crate) fn new(inner: tokio_postgres::Client) -> Self {
        Client { inner, waits: Arc::default() }
    }

    pub(crate) fn waits(&self) -> Arc<Waits> {
        Arc::clone(&self.waits)
    }

    /// Until it is dropped, an answer is waited for.
    pub(crate) fn waiting(&self) -> Waiting<'_> {
        self.waits.begin()
    }

    pub async fn batch_execute(&self, sql: &str) -> Result<(), Error> {
        let _waiting = self.waiting();
        self.inner.batch_execute(sql).await
    }

    pub async fn simple_query(&self, sql: &str) -> Result<Vec<SimpleQueryMessage>, Error> {
        let _waiting = self.waiting();
        self.inner.simple_query(sql).await
    }

    pub async fn execute<T: ?Sized + tokio_postgres::ToStatement>(
        &self,
        statement: &T,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Error> {
        let _waiting = self.waiting();
        self.inner.execute(statement, parameters).await
    }

    pub async fn query<T: ?Sized + tokio_postgres::ToStatement>(
        &self,
        statement: &T,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        let _waiting = self.waiting();
        self.inner.query(statement, parameters).await
    }

    pub async fn query_one<T: ?Sized + tokio_postgres::ToStatement>(
        &self,
        statement: &T,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, Error> {
        let _waiting = self.waiting();
        self.inner.query_one(statement, parameters).await
    }

    pub async fn query_opt<T: ?Sized + tokio_postgres::ToStatement>(
        &self,
        statement: &T,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, Error> {
        let _waiting = self.waiting();
        self.inner.query_opt(statement, parameters).await
    }

    pub async fn prepare(&self, sql: &str) -> Result<Statement, Error> {
        let _waiting = self.waiting();
        self.inner.prepare(sql).await
    }

    pub async fn copy_in<T: ?Sized + tokio_postgres::ToStatement, U: Buf + Send + 'static>(
        &self,
        statement: &T,
    ) -> Result<CopyInSink<U>, Error> {
        let _waiting = self.waiting();
        self.inner.copy_in(statement).await
    }

    pub(crate) async fn check_connection(&self) -> Result<(), Error> {
        let _waiting = self.waiting();
        self.inner.check_connection().await
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }
}

/// Which backend serves a connection: numbers are given again, but not at the same moment.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    pid: i32,
    started: String,
}

/// Asks a session who serves it; behind other statements, without a round trip of its own.
pub(crate) const WHO: &str = "SELECT pid, extract(epoch FROM backend_start)::text FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()";

impl Backend {
    /// From the answer to [`WHO`].
    pub(crate) fn of(answer: &[SimpleQueryMessage]) -> Option<Self> {
        let row = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        })?;
        Some(Backend { pid: row.get(0)?.parse().ok()?, started: row.get(1)?.to_owned() })
    }
}

/// What a look at a backend shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// It works, or waits for somebody else.
    AtWork,
    /// It waits for us, who wait for it.
    WaitsForUs,
    Gone,
    /// The server cannot be reached.
    Unreachable,
}

const STATE: &str = "SELECT state, wait_event_type FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND extract(epoch FROM backend_start)::text = $2";
const END: &str = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND extract(epoch FROM backend_start)::text = $2";

/// Looks after the connection that a backend serves. Returns when nobody works at an answer that is waited for.
pub(crate) async fn until_given_up(waits: &Waits, backend: &Backend, silence: Duration, target: &Target) {
    let mut strikes: (Option<Instant>, u32) = (None, 0);
    loop {
        let since = waits.since();
        let late = since.map_or(Duration::ZERO, |since| since.elapsed());
        if late < silence {
            tokio::time::sleep(silence - late).await;
            continue;
        }
        // What was seen of an answer before this one does not count.
        if strikes.0 != since {
            strikes = (since, 0);
        }
        let look = match tokio::time::timeout(silence, look(backend, target)).await {
            Ok(look) => look,
            Err(_) => Look::Unreachable,
        };
        match look {
            Look::AtWork => strikes.1 = 0,
            Look::Gone => strikes.1 = STRIKES,
            Look::WaitsForUs | Look::Unreachable => strikes.1 += 1,
        }
        tracing::debug!(pid = backend.pid, ?look, late_s = late.as_secs(), "an answer of the target is late");
        if strikes.1 < STRIKES {
            tokio::time::sleep(silence).await;
            continue;
        }
        if waits.since() != since {
            continue;
        }
        let what = match look {
            Look::Gone => "the target no longer knows of it",
            Look::Unreachable => "the target cannot be asked",
            Look::WaitsForUs | Look::AtWork => "the target has not received it, or its answer does not come through",
        };
        tracing::warn!("no answer of the target for {} s, and {what}: the connection is given up", late.as_secs());
        if look == Look::WaitsForUs {
            // Who comes next waits for its locks otherwise, and meets them if this fails.
            let _ended = tokio::time::timeout(silence, ask(backend, target, END)).await;
        }
        return;
    }
}

async fn look(backend: &Backend, target: &Target) -> Look {
    match ask(backend, target, STATE).await {
        Ok(Some(row)) => {
            let (state, waits_for): (Option<&str>, Option<&str>) = (row.get(0), row.get(1));
            match (state, waits_for) {
                (Some(state), _) if state.starts_with("idle") => Look::WaitsForUs,
                (_, Some("Client")) => Look::WaitsForUs,
                _ => Look::AtWork,
            }
        }
        Ok(None) => Look::Gone,
        // It answers, so it runs: there are too many connections, or it is starting.
        Err(e) if e.as_db_error().is_some() => Look::AtWork,
        Err(_) => Look::Unreachable,
    }
}

async fn ask(backend: &Backend, target: &Target, sql: &str) -> Result<Option<Row>, Error> {
    let parameters: &[(&(dyn ToSql + Sync), Type)] = &[(&backend.pid, Type::INT4), (&backend.started, Type::TEXT)];
    let (client, _ends_with_it) = target.open_raw().await?;
    Ok(client.query_typed(sql, parameters).await?.into_iter().next())
}

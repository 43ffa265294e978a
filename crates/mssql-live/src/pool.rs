//! Connections for workers that each hold one for a while.
//!
//! A pool of `bb8` keeps an error of the server to itself and lets whoever waits run into the timeout. So opening a connection
//! never fails here: the error is handed out in the connection's place, by [`Pool::session`].
//!
//! A database is restored, or another one put in its place, only when nobody is connected to it. So each new connection is asked whose
//! history it is of: one that goes on behind a restore is never handed out.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use logferry_model::Lineage;

use crate::catalog;
use crate::error::Error;
use crate::session::Session;
use crate::settings::Settings;
use crate::tls::Tls;

/// The pool.
#[derive(Clone)]
pub(crate) struct Pool {
    connections: bb8::Pool<Manager>,
    history: Arc<OnceLock<Lineage>>,
}

/// Opens connections and judges them.
pub(crate) struct Manager {
    settings: Arc<Settings>,
    tls: Tls,
    /// What connections must be of, once that is known.
    history: Arc<OnceLock<Lineage>>,
}

/// A connection of the pool; goes back when dropped, if its last answer was read to the end.
pub(crate) struct Pooled(bb8::PooledConnection<'static, Manager>);

/// `None` after its error was handed out.
type Slot = Option<Result<Session, Error>>;

impl Pool {
    pub(crate) fn new(settings: Arc<Settings>) -> Result<Self, Error> {
        let tls = Tls::new(&settings)?;
        let history = Arc::new(OnceLock::new());
        let connections = bb8::Pool::builder()
            .max_size(settings.connections_max.max(1))
            // Workers wait for each other's connections, which take as long as a chunk does.
            .connection_timeout(Duration::from_secs(24 * 3600))
            // A connection that was not used for a while may have been cut by something in between: it is tried first.
            .test_on_check_out(true)
            .build_unchecked(Manager { settings, tls, history: history.clone() });
        Ok(Pool { connections, history })
    }

    /// From here on no connection is handed out that is of another history.
    pub(crate) fn must_be_of(&self, history: Lineage) {
        // It is known once, at the begin.
        self.history.get_or_init(|| history);
    }

    /// A connection.
    pub(crate) async fn session(&self) -> Result<Pooled, Error> {
        let mut pooled = self.connections.get_owned().await.map_err(|e| match e {
            bb8::RunError::User(e) => e,
            bb8::RunError::TimedOut => {
                Error::Silent { doing: "get a connection of the pool".to_owned(), seconds: 24 * 3600 }
            }
        })?;
        match pooled.take() {
            Some(Ok(session)) => {
                *pooled = Some(Ok(session));
                Ok(Pooled(pooled))
            }
            Some(Err(e)) => Err(e),
            None => Err(Error::Broken {
                doing: "get a connection of the pool".to_owned(),
                said: "it was given up before".to_owned(),
            }),
        }
    }
}

impl Deref for Pooled {
    type Target = Session;

    fn deref(&self) -> &Session {
        match &*self.0 {
            Some(Ok(session)) => session,
            _ => unreachable!("the pool hands out open connections"),
        }
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut Session {
        match &mut *self.0 {
            Some(Ok(session)) => session,
            _ => unreachable!("the pool hands out open connections"),
        }
    }
}

impl Manager {
    async fn open(&self) -> Result<Session, Error> {
        let mut session = Session::open(&self.settings, &self.tls).await?;
        let Some(expected) = self.history.get() else { return Ok(session) };
        match catalog::history(&mut session).await? {
            Some(now) if now != *expected => Err(Error::OtherDatabase(format!(
                "database \"{}\" was restored, or is another one: its history is not that which was read until now",
                self.settings.database
            ))),
            _ => Ok(session),
        }
    }
}

impl bb8::ManageConnection for Manager {
    type Connection = Slot;
    type Error = Error;

    async fn connect(&self) -> Result<Slot, Error> {
        Ok(Some(self.open().await))
    }

    async fn is_valid(&self, slot: &mut Slot) -> Result<(), Error> {
        match slot {
            Some(Ok(session)) => session.run("see whether a connection is alive", crate::sql::PING).await,
            _ => Ok(()),
        }
    }

    fn has_broken(&self, slot: &mut Slot) -> bool {
        !matches!(slot, Some(Ok(session)) if session.is_clean())
    }
}

//! Who may log in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::session::SqlSession;
use crate::sql;
use crate::tds::{Engine, LATIN1_GENERAL, LoggedIn, Login, SqlError};

/// Databases behind one login.
pub(super) struct SqlEngine {
    pub(super) sql: sql::Server,
    pub(super) user: String,
    pub(super) password: String,
    /// It lets in only those who say that they only read.
    pub(super) read_intent_only: Arc<AtomicBool>,
    /// The next transaction's number.
    pub(super) transactions: Arc<AtomicU64>,
}

impl Engine for SqlEngine {
    fn login(&self, login: &Login) -> Result<LoggedIn, Vec<SqlError>> {
        let failed = || SqlError::login_failed(&login.user);
        // An access token is whoever has the password; who has a ticket for us was looked at before.
        let may_enter = match (&login.token, &login.principal) {
            (_, Some(_)) => true,
            (Some(token), None) => token.0 == self.password,
            (None, None) => login.user.eq_ignore_ascii_case(&self.user) && login.password.0 == self.password,
        };
        if !may_enter {
            return Err(vec![failed()]);
        }
        if self.read_intent_only.load(Ordering::Relaxed) && !login.read_only {
            return Err(vec![SqlError::read_intent_only(&login.database), failed()]);
        }
        let wanted = sql::Login {
            name: self.user.clone(),
            host: login.host.clone(),
            program: login.application.clone(),
            database: login.database.clone(),
        };
        let session = self.sql.connect(&wanted).map_err(|error| match error.number {
            4060 => vec![SqlError::cannot_open_database(&login.database), failed()],
            _ => vec![super::session::error_of(&error)],
        })?;
        let database = session.database();
        let spid = session.spid().unsigned_abs();
        let session = SqlSession::new(session, self.transactions.clone());
        Ok(LoggedIn { session: Box::new(session), spid, database, collation: LATIN1_GENERAL })
    }
}

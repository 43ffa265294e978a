//! What befalls a whole server; what befalls a connection is in [`Faults`](crate::tds::Faults).
//!
//! ```
//! # use logferry_mssql_standin::serve::Standin;
//! let standin = Standin::start()?;
//! standin.batch("CREATE DATABASE shop; BACKUP DATABASE shop TO DISK = 'NUL'")?;
//! // Somebody else's log backup: what is not yet read of the log is gone.
//! standin.truncate_log("shop", None)?;
//! standin.restart();
//! // Restored to an earlier point, so that LSNs mean something else from here on.
//! standin.fork("shop", [7; 16]);
//! // The listener of an availability group now leads to another replica.
//! standin.fail_over("STANDIN2");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use logferry_model::Lsn;

use super::Standin;
use crate::sql::{Rights, SqlError};

impl Standin {
    /// Breaks all connections; it goes on listening. Transactions that were open are rolled back when this returns.
    pub fn restart(&self) {
        // A connection that comes in between is broken, too: a restart would have refused it.
        while self.connections() > 0 || self.sql.sessions() > 0 {
            self.tds.cut_connections();
            sleep(Duration::from_millis(1));
        }
    }

    /// Restarts, and a database is on another recovery fork: what is after this in the log has nothing to do with what another
    /// fork has at the same LSNs. Whether there is such a database.
    pub fn fork(&self, database: &str, fork: [u8; 16]) -> bool {
        self.restart();
        self.sql.with_storage(database, |storage| storage.begin_fork(fork)).is_some()
    }

    /// The log of a database before a record (none: all of it so far) is gone, as after a log backup that somebody else makes and keeps. What open transactions
    /// and CDC need of it stays, as on a server. Gives where the log begins now.
    ///
    /// # Errors
    /// Where there is no such database or record, or the database is read-only.
    pub fn truncate_log(&self, database: &str, before: Option<Lsn>) -> Result<Lsn, SqlError> {
        self.sql.truncate_log(database, before)
    }

    /// From here on logferry's login has no right on some tables, given as `schema.table`; none of them: it has all rights again.
    ///
    /// # Errors
    /// Where there is no such table.
    pub fn hide(&self, database: &str, tables: &[&str], rights: Rights) -> Result<(), SqlError> {
        self.sql.hide("logferry", database, tables, rights)
    }

    /// From here on it is a readable secondary of an availability group: it lets in only those who say that they only read
    /// (`ApplicationIntent=ReadOnly`). Others get error 978.
    pub fn demand_read_intent(&self) {
        self.read_intent_only.store(true, Ordering::Relaxed);
    }

    /// Restarts under another name: what clients of an availability group's listener see when another replica takes over. Nothing is
    /// lost: for a replica that had not received everything, see [`fork`](Self::fork).
    pub fn fail_over(&self, server: &str) {
        self.restart();
        self.sql.rename(server);
    }
}

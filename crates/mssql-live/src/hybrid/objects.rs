//! What `mode: hybrid` makes in the source database, and how all of it goes again; `mode: cdc` makes the heartbeat's table where it enables
//! change data capture for the database, to have that noted, and its instances.
//!
//! | object | what for |
//! |---|---|
//! | table `dbo.logferry_heartbeat` | one row, written from time to time, and captured: it shows how far capturing is where nothing else happens |
//! | table `dbo.logferry_ddl_history` | what the trigger notes |
//! | trigger `logferry_ddl` | notes each statement that changes a definition |
//! | capture instances `logferry_*` | of the heartbeat, and of tables that the log does not serve |
//!
//! Whether the database had change data capture before is kept in the heartbeat's row.

use tracing::info;

use crate::catalog::Reader;
use crate::cdc::{self, Facts};
use crate::door::door;
use crate::error::Error;
use crate::pool::Pool;
use crate::session::Session;
use crate::settings::Settings;
use crate::sql;

/// What of ours is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    trigger: bool,
    heartbeat: bool,
    ddl_history: bool,
}

impl Found {
    async fn ask(session: &mut Session) -> Result<Found, Error> {
        const DOING: &str = "look for the tables and the trigger of logferry";
        let rows = session.rows(DOING, sql::HYBRID_OBJECTS, &[]).await?;
        let Some(row) = rows.first() else { return Ok(Found::default()) };
        let row = Reader { row, doing: DOING };
        Ok(Found {
            trigger: row.is("ddl_trigger")?,
            heartbeat: row.is("heartbeat")?,
            ddl_history: row.is("ddl_history")?,
        })
    }
}

/// Makes what is not there.
pub(crate) async fn create(session: &mut Session) -> Result<(), Error> {
    let found = Found::ask(session).await?;
    make_heartbeat(session, found).await?;
    if !found.ddl_history {
        info!("making the table dbo.logferry_ddl_history");
        session.run("make the table logferry_ddl_history", sql::HYBRID_HISTORY).await?;
    }
    if !Facts::ask(session).await?.is_enabled {
        enable_database(session).await?;
    }
    cdc::enable_heartbeat(session).await?;
    if !found.trigger {
        info!("making the trigger logferry_ddl");
        session.run("make the trigger logferry_ddl", sql::HYBRID_TRIGGER).await?;
    }
    Ok(())
}

async fn make_heartbeat(session: &mut Session, found: Found) -> Result<(), Error> {
    if found.heartbeat {
        return Ok(());
    }
    info!("making the table dbo.logferry_heartbeat");
    session.run("make the table logferry_heartbeat", sql::HEARTBEAT_TABLE).await
}

/// Enables change data capture for the database, and notes that it was not before.
pub(crate) async fn enable_database(session: &mut Session) -> Result<(), Error> {
    let found = Found::ask(session).await?;
    make_heartbeat(session, found).await?;
    // First the word, then the deed: what was made is always found again.
    session.run("note that change data capture is enabled", sql::HYBRID_ENABLED_CDC).await?;
    cdc::enable_database(session).await
}

/// Writes the heartbeat.
pub(crate) async fn beat(session: &mut Session) -> Result<(), Error> {
    session.run("write the heartbeat", sql::HYBRID_BEAT).await
}

/// Removes everything that tasks of `mode: hybrid` and `mode: cdc` have made in a database: what, one line each.
///
/// # Errors
/// Where the server refuses it; what was done until then stays done, and the rest can be tried again.
pub fn teardown(settings: Settings) -> impl Future<Output = Result<Vec<String>, Error>> + Send {
    door(remove(settings))
}

async fn remove(settings: Settings) -> Result<Vec<String>, Error> {
    let pool = Pool::new(std::sync::Arc::new(settings))?;
    let mut session = pool.session().await?;
    let found = Found::ask(&mut session).await?;
    let mut done = Vec::new();
    // The trigger first: it would note the rest.
    if found.trigger {
        session.run("drop the trigger logferry_ddl", sql::TEARDOWN_TRIGGER).await?;
        done.push("trigger logferry_ddl".to_owned());
    }
    let facts = Facts::ask(&mut session).await?;
    if facts.is_enabled {
        done.extend(cdc::disable_ours(&mut session).await?);
        const DOING: &str = "ask who enabled change data capture";
        let ours = match found.heartbeat {
            true => session.rows(DOING, sql::HYBRID_HAS_ENABLED_CDC, &[]).await?,
            false => Vec::new(),
        };
        let is_ours =
            ours.first().and_then(|row| row.try_get::<i32, _>("enabled").ok().flatten()).is_some_and(|n| n > 0);
        if is_ours && cdc::has_no_instances(&mut session).await? {
            session.run("disable change data capture for the database", sql::TEARDOWN_CDC).await?;
            done.push("change data capture of the database".to_owned());
        }
    }
    if found.heartbeat {
        session.run("drop the table logferry_heartbeat", sql::TEARDOWN_HEARTBEAT).await?;
        done.push("table dbo.logferry_heartbeat".to_owned());
    }
    if found.ddl_history {
        session.run("drop the table logferry_ddl_history", sql::TEARDOWN_DDL_HISTORY).await?;
        done.push("table dbo.logferry_ddl_history".to_owned());
    }
    Ok(done)
}

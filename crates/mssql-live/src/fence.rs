//! Where in the log a copy of one table stands, exactly.
//!
//! Changes of a table with a key may be told again over rows that show them already. Of a table without one they must not: a row
//! would be there twice. So its rows are read together with a position that tells which changes are in them:
//!
//! ```text
//!  lock     ── shared lock of the table ────────── released
//!                 │ nobody has changed it and      ▲
//!                 ▼ not committed                  │
//!  session  ──── a SNAPSHOT transaction begins ── savepoint: its begin is in the log ── rows ── end
//! ```
//!
//! While the lock is held, whoever has changed the table has committed, in the log before the savepoint and before the snapshot; whoever
//! changes it later commits behind the savepoint and is not in the snapshot. The lock is held for two round trips; where it is not
//! had at once, it is let go again, so that nobody waits behind us for long.
//!
//! The protocol is that of Materialize's SQL Server source, which describes it.
//! <https://learn.microsoft.com/sql/relational-databases/system-dynamic-management-views/sys-dm-tran-database-transactions-transact-sql>

use std::time::{Duration, Instant};

use logferry_model::Lsn;
use tiberius::numeric::Numeric;
use tokio::sync::Semaphore;
use tracing::debug;

use crate::catalog::Table;
use crate::chunks;
use crate::error::Error;
use crate::pool::{Pool, Pooled};
use crate::session::Session;
use crate::sql;

/// How long the lock is tried for, a moment at a time.
const LOCK_WAIT: Duration = Duration::from_secs(300);
const LOCK_PAUSE: Duration = Duration::from_millis(200);
const LOCK_PAUSE_MAX: Duration = Duration::from_secs(5);

/// One at a time takes two connections of a pool, so that several never wait for each other's second one.
static TWO_CONNECTIONS: Semaphore = Semaphore::const_new(1);

/// A transaction that sees a table as it was at a position: what was committed up to there and nothing of what came later.
pub(crate) struct Fenced {
    pub(crate) session: Pooled,
    pub(crate) lsn: Lsn,
}

/// Begins to read a table.
pub(crate) async fn fence(pool: &Pool, table: &Table) -> Result<Fenced, Error> {
    let doing = format!("fence the rows of table \"{}\"", table.version.name);
    let from = chunks::from(table);
    let _alone = TWO_CONNECTIONS.acquire().await;
    let mut session = pool.session().await?;
    let mut lock = locked(pool, &doing, &from).await?;
    session.begin().await?;
    session.rows(&doing, &format!("SELECT TOP (1) 1 AS one FROM {from}"), &[]).await?;
    session.run(&doing, sql::SAVE).await?;
    lock.end_lock().await?;
    let lsn = own_begin(&mut session).await?;
    debug!(table = %table.version.name, at = %lsn, "reading the rows of a table as of one position");
    Ok(Fenced { session, lsn })
}

/// A connection that keeps everybody from changing a table, when nobody does.
async fn locked(pool: &Pool, doing: &str, from: &str) -> Result<Pooled, Error> {
    let (began, mut pause) = (Instant::now(), LOCK_PAUSE);
    loop {
        let mut lock = pool.session().await?;
        lock.begin_lock().await?;
        match lock.rows(doing, &format!("SELECT TOP (1) 1 AS one FROM {from} WITH (TABLOCK, HOLDLOCK)"), &[]).await {
            Ok(_) => return Ok(lock),
            // The connection is given up with its transaction.
            Err(Error::Statement { number: 1222, .. }) if began.elapsed() < LOCK_WAIT => {}
            Err(e) => return Err(e),
        }
        drop(lock);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOCK_PAUSE_MAX);
    }
}

/// A position behind everything that others have committed.
pub(crate) async fn position_now(pool: &Pool) -> Result<Lsn, Error> {
    let mut session = pool.session().await?;
    session.begin().await?;
    session.run("note where the log is", sql::SAVE).await?;
    let lsn = own_begin(&mut session).await?;
    session.end().await?;
    Ok(lsn)
}

async fn own_begin(session: &mut Session) -> Result<Lsn, Error> {
    const DOING: &str = "ask where a transaction begins in the log";
    let rows = session.rows(DOING, sql::OWN_BEGIN, &[]).await?;
    let begin = rows.first().and_then(|row| row.try_get::<Numeric, _>("begin_lsn").ok().flatten());
    let lsn = begin.and_then(|n| u128::try_from(n.value()).ok()).and_then(Lsn::from_decimal);
    lsn.ok_or_else(|| Error::Unexpected { doing: DOING.to_owned(), what: "its begin is no LSN".to_owned() })
}

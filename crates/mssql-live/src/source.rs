//! A [`ChangeSource`] of a running server.
//!
//! `mode: snapshot` copies the tables and is done. Each chunk is one statement: its rows are of one moment where the database
//! allows that (`ALLOW_SNAPSHOT_ISOLATION`, `READ_COMMITTED_SNAPSHOT`), several chunks are of several moments.
//!
//! `mode: log` notes where the log stands, copies, and goes on from there: see [`crate::log`]. `mode: cdc` does the same by change
//! tables: see [`crate::cdc`].
//!
//! Tables without a key are read whole, as of one position: see [`crate::fence`].

mod chunk;
mod doors;

use std::sync::Arc;
use std::time::Duration;

use logferry_model::{
    ChangeSource, Checkpoint, CommitLsn, EventBatch, Fault, Fence, Lineage, Lsn, RestartLsn, SnapshotPoint, Start,
    TableId, TableName, TableVersion,
};
use tracing::{info, warn};

use crate::catalog::{self, Database, Isolation, Table};
use crate::cdc::{CdcReader, CdcSettings};
use crate::chunks::{self, Boundary};
use crate::condition;
use crate::door::door;
use crate::error::Error;
use crate::fence;
use crate::hybrid::HybridReader;
use crate::log::LogReader;
use crate::pool::Pool;
use crate::session::Session;
use crate::settings::{LogSettings, Settings};
use crate::start;
use crate::unseen;

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The tables, once.
    Snapshot,
    /// The tables, and what is committed from then on, by the transaction log.
    Log,
    /// The tables, and what is committed from then on, by change tables.
    Cdc(CdcSettings),
    /// The tables, and what is committed from then on, by the log or by change tables, whichever serves a table.
    Hybrid {
        /// How often a row is written on the source, so that one at rest has no lag.
        heartbeat: Duration,
    },
}

/// What reads changes.
enum Changes {
    Log(Box<LogReader>),
    Cdc(Box<CdcReader>),
    Hybrid(Box<HybridReader>),
}

impl Changes {
    fn tables(&self) -> &[Arc<Table>] {
        match self {
            Changes::Log(log) => log.tables(),
            Changes::Cdc(cdc) => cdc.tables(),
            Changes::Hybrid(hybrid) => hybrid.tables(),
        }
    }

    fn checkpoint(&self) -> Checkpoint {
        match self {
            Changes::Log(log) => log.checkpoint(),
            Changes::Cdc(cdc) => cdc.checkpoint(),
            Changes::Hybrid(hybrid) => hybrid.checkpoint(),
        }
    }

    /// Whether the rows of a table are to be read as of one position.
    fn is_fenced(&self, table: TableId) -> bool {
        match self {
            Changes::Log(_) => false,
            Changes::Cdc(cdc) => cdc.is_fenced(table),
            Changes::Hybrid(hybrid) => hybrid.is_fenced(table),
        }
    }

    fn remember(&mut self, fences: &[Fence]) {
        match self {
            Changes::Log(_) => {}
            Changes::Cdc(cdc) => cdc.remember(fences),
            Changes::Hybrid(hybrid) => hybrid.remember(fences),
        }
    }

    fn reload(&mut self, tables: &[TableId]) {
        match self {
            Changes::Log(log) => log.reload(tables),
            Changes::Cdc(cdc) => cdc.reload(tables),
            Changes::Hybrid(hybrid) => hybrid.reload(tables),
        }
    }

    /// Behind everything that is committed now.
    async fn position_now(&mut self, pool: &Pool) -> Result<Option<Lsn>, Error> {
        match self {
            Changes::Log(log) => log.position_now().await.map(Some),
            Changes::Hybrid(hybrid) => hybrid.position_now().await.map(Some),
            Changes::Cdc(_) => match fence::position_now(pool).await {
                Ok(lsn) => Ok(Some(lsn)),
                Err(e @ Error::Statement { .. }) if !e.is_transient() => {
                    info!("{e}: unique values that change rows while they are copied may stop the task");
                    Ok(None)
                }
                Err(e) => Err(e),
            },
        }
    }

    /// Why the rows of a table would not be kept up to date.
    fn refused(&self, table: &TableVersion) -> Option<Fault> {
        let name = &table.name;
        match self {
            Changes::Log(log) => log
                .refused(table.id)
                .map(|why| Fault::operator(format!("table \"{name}\" cannot be followed by the log: {why}"))),
            Changes::Cdc(cdc) => cdc.refused(table.id).map(|(why, mend)| {
                Fault::operator(format!("table \"{name}\" cannot be followed by change data capture: {why}; {mend}"))
            }),
            Changes::Hybrid(hybrid) => hybrid.refused(table.id).map(|(why, mend)| {
                Fault::operator(format!(
                    "table \"{name}\" can be followed neither by the log nor otherwise: {why}; {mend}"
                ))
            }),
        }
    }
}

/// What the target has.
#[derive(Clone, Copy)]
pub(crate) struct OnTarget<'a> {
    /// Where it is; `None` before the copy.
    pub(crate) at: Option<Checkpoint>,
    /// Tables of which it has more than that.
    pub(crate) fences: &'a [Fence],
}

/// Whether a table is needed: others are listed, and not looked at.
pub type Wanted = Arc<dyn Fn(&TableName) -> bool + Send + Sync>;

/// See the module.
pub struct LiveSource {
    pool: Pool,
    mode: Mode,
    log_settings: LogSettings,
    chunk_bytes: u64,
    wanted: Wanted,
    database: Database,
    lineage: Lineage,
    tables: Vec<Cut>,
    changes: Option<Changes>,
    /// Of the run that began the copy.
    recalled: Option<Memo>,
    /// Up to where changes are in the rows of tables.
    fences: Vec<Fence>,
    /// Of the snapshot.
    id: [u8; 16],
}

/// What makes a copy that was begun the same in another run: where the log stood, and where tables are cut.
#[derive(serde::Serialize, serde::Deserialize)]
struct Memo {
    id: [u8; 16],
    database: [u8; 16],
    fork: [u8; 16],
    applied: [u8; 10],
    restart: [u8; 10],
    /// Object ids and boundaries, of tables that are cut.
    cuts: Vec<(u32, Vec<Boundary>)>,
    /// Tables of the task: object ids, schemas and names.
    #[serde(default)]
    tables: Vec<(u32, String, String)>,
}

/// A table and where it is cut.
#[derive(Clone)]
struct Cut {
    table: Arc<Table>,
    boundaries: Arc<Vec<Boundary>>,
}

/// Where `mode: snapshot` is when all is copied: it knows no LSNs.
const COPIED: Lsn = Lsn::new(0, 0, 1);

impl LiveSource {
    /// Connects, and looks at server and database.
    ///
    /// # Errors
    /// Where that cannot be done: with what to do.
    pub fn open(
        settings: Settings,
        mode: Mode,
        chunk_bytes: u64,
        wanted: Wanted,
    ) -> impl Future<Output = Result<Self, Error>> + Send {
        door(Self::connect(settings, mode, chunk_bytes, wanted))
    }

    async fn connect(settings: Settings, mode: Mode, chunk_bytes: u64, wanted: Wanted) -> Result<Self, Error> {
        let pool = Pool::new(Arc::new(settings))?;
        let mut session = pool.session().await?;
        let database = Database::read(&mut session).await?;
        let lineage = database.lineage(&mut session).await?;
        if lineage != database.named() {
            pool.must_be_of(lineage);
        }
        drop(session);
        match mode {
            Mode::Snapshot => {}
            Mode::Log => database.must_be_followed()?,
            Mode::Cdc(_) => database.must_have_versions()?,
            Mode::Hybrid { .. } => database.must_be_followed()?,
        }
        info!(
            server = %database.server,
            version = %database.product_version,
            database = %database.name,
            "connected to the source"
        );
        Ok(LiveSource {
            pool,
            mode,
            log_settings: LogSettings::default(),
            chunk_bytes,
            wanted,
            database,
            lineage,
            tables: Vec::new(),
            changes: None,
            recalled: None,
            fences: Vec::new(),
            id: [0; 16],
        })
    }

    /// Says how the log is to be read.
    #[must_use]
    pub fn with_log(mut self, settings: LogSettings) -> Self {
        self.log_settings = settings;
        self
    }

    fn checkpoint(&self) -> Checkpoint {
        if let Some(changes) = &self.changes {
            return changes.checkpoint();
        }
        Checkpoint {
            applied: CommitLsn(COPIED),
            restart: RestartLsn(COPIED),
            lineage: self.lineage,
            commit_time_us: None,
        }
    }

    fn cut(&self, table: usize) -> Result<&Cut, Fault> {
        self.tables.get(table).ok_or_else(|| Fault::bug(format!("there is no table {table}")))
    }

    fn recalled_at(&self) -> Option<Checkpoint> {
        self.recalled.as_ref().map(|memo| Checkpoint {
            applied: CommitLsn(Lsn::from_be_bytes(memo.applied)),
            restart: RestartLsn(Lsn::from_be_bytes(memo.restart)),
            lineage: self.lineage,
            commit_time_us: None,
        })
    }

    /// The tables; those of a mode that follows changes are followed from here on, or from a position.
    async fn follow(&mut self, at: Option<Checkpoint>) -> Result<Vec<Arc<Table>>, Error> {
        let (pool, wanted) = (self.pool.clone(), self.wanted.clone());
        let target = OnTarget { at, fences: &self.fences };
        let changes = match self.mode {
            Mode::Snapshot => {
                let mut session = self.pool.session().await?;
                return Ok(catalog::tables(&mut session).await?.into_iter().map(Arc::new).collect());
            }
            Mode::Log => Changes::Log(Box::new(
                LogReader::begin(pool, self.lineage, wanted, self.chunk_bytes, at, self.log_settings).await?,
            )),
            Mode::Cdc(settings) => Changes::Cdc(Box::new(
                CdcReader::begin(pool, self.lineage, wanted, settings, self.chunk_bytes, target).await?,
            )),
            Mode::Hybrid { heartbeat } => {
                let (chunk_bytes, log_settings) = (self.chunk_bytes, self.log_settings);
                let hybrid =
                    HybridReader::begin(pool, self.lineage, wanted, chunk_bytes, heartbeat, target, log_settings)
                        .await?;
                Changes::Hybrid(Box::new(hybrid))
            }
        };
        let changes = self.changes.insert(changes);
        Ok(changes.tables().to_vec())
    }

    /// Has the server look at the conditions of the tables before anything is read.
    async fn try_conditions(&self, session: &mut Session, tables: &[Arc<Table>]) -> Result<(), Error> {
        let taken = tables.iter().filter(|table| (self.wanted)(&table.version.name)).map(|table| &**table);
        condition::must_be_taken(session, &taken.collect::<Vec<_>>()).await
    }

    /// No table is missing that was there when the copy began, but for those that were dropped.
    async fn all_are_there(&mut self) -> Result<(), Fault> {
        let Some(memo) = &self.recalled else { return Ok(()) };
        let before = memo.tables.iter().map(|(id, schema, name)| (TableId(*id), TableName::new(schema, name)));
        let missing: Vec<_> =
            before.filter(|(id, _)| !self.tables.iter().any(|cut| cut.table.version.id == *id)).collect();
        if let Some(fault) = self.why_not_gone(&missing).await?.into_iter().next() {
            return Err(fault);
        }
        for (_, name) in missing {
            warn!(table = %name, "the table was dropped while it was copied: what the target has of it is left there");
        }
        Ok(())
    }

    /// What the target has must be of the history that is read.
    fn must_be_of(&self, checkpoint: Checkpoint) -> Result<(), Error> {
        let (now, before, named) = (self.lineage, checkpoint.lineage, self.database.named());
        let Database { name, server, .. } = &self.database;
        if before == named && now != named {
            info!("the server tells the history of database \"{name}\" now: from here on a restore is noticed");
            return Ok(());
        }
        if now == named && before.fork != named.fork {
            return Err(Error::HistoryHidden { database: name.clone() });
        }
        if before.database != now.database {
            return Err(Error::OtherDatabase(format!(
                "the rows on the target are of another database than \"{name}\" on {server}"
            )));
        }
        if self.mode != Mode::Snapshot && before.fork != now.fork {
            return Err(Error::OtherDatabase(format!(
                "database \"{name}\" was restored: its history is another one than that which the target has up to {}",
                checkpoint.applied.0
            )));
        }
        Ok(())
    }

    /// What tells this way of cutting the tables from another.
    fn new_id(&self) -> Result<[u8; 16], Fault> {
        let cuts: Vec<_> = self.tables.iter().map(|cut| (cut.table.version.id.0, &*cut.boundaries)).collect();
        let at = self.checkpoint().applied.0.to_string();
        let text = serde_json::to_string(&(self.lineage.database, self.lineage.fork, at, cuts))
            .map_err(|e| Fault::bug(format!("boundaries could not be written: {e}")))?;
        Ok(catalog::uuid_of(&text))
    }

    /// Notes where the changes stand, then cuts the tables into chunks.
    async fn cut_tables(&mut self) -> Result<SnapshotPoint, Fault> {
        if self.database.isolation == Isolation::Locks {
            warn!(
                "database \"{}\" has neither ALLOW_SNAPSHOT_ISOLATION nor READ_COMMITTED_SNAPSHOT: the copy waits for writers, \
                 and rows whose key changes meanwhile may be missed or met twice",
                self.database.name
            );
        }
        // Where the changes stand is noted first: what is copied after it is as new or newer.
        let tables = self.follow(self.recalled_at()).await?;
        let mut session = self.pool.session().await?;
        self.try_conditions(&mut session, &tables).await?;
        self.tables.clear();
        for table in tables {
            let id = table.version.id.0;
            let boundaries = match &self.recalled {
                _ if !(self.wanted)(&table.version.name) => Vec::new(),
                Some(memo) => memo.cuts.iter().find(|(of, _)| *of == id).map(|(_, b)| b.clone()).unwrap_or_default(),
                None => chunks::boundaries(&mut session, &table, self.chunk_bytes).await?,
            };
            self.tables.push(Cut { table, boundaries: Arc::new(boundaries) });
        }
        drop(session);
        self.all_are_there().await?;
        let checkpoint = self.checkpoint();
        self.id = match &self.recalled {
            Some(memo) => memo.id,
            None => self.new_id()?,
        };
        Ok(SnapshotPoint { checkpoint, lineage: self.lineage, id: self.id, end_lsn: checkpoint.applied.0 })
    }

    /// Follows the changes from a position on, without a copy.
    async fn begin_at(&mut self, start: &Start) -> Result<SnapshotPoint, Fault> {
        let mut session = self.pool.session().await?;
        let at = match self.mode {
            Mode::Snapshot => return Err(Fault::operator("mode snapshot knows of no changes")),
            Mode::Cdc(_) => start::in_captured(&mut session, start, self.lineage).await?,
            Mode::Log | Mode::Hybrid { .. } => start::in_log(&mut session, start, self.lineage).await?,
        };
        drop(session);
        let tables = self.follow(at).await?;
        let mut session = self.pool.session().await?;
        self.try_conditions(&mut session, &tables).await?;
        // Of all of them the changes must be there.
        self.add(&[], &[])?;
        let whole = |table| Cut { table, boundaries: Arc::default() };
        self.tables = tables.into_iter().map(whole).collect();
        self.id = self.new_id()?;
        let checkpoint = self.checkpoint();
        Ok(SnapshotPoint { checkpoint, lineage: self.lineage, id: self.id, end_lsn: checkpoint.applied.0 })
    }

    /// Why tables that are not listed cannot be taken for dropped.
    async fn why_not_gone(&mut self, tables: &[(TableId, TableName)]) -> Result<Vec<Fault>, Fault> {
        let mut session = self.pool.session().await?;
        let mut found = Vec::new();
        for (id, name) in tables {
            found.extend(unseen::why_not_gone(&mut session, *id, name).await?);
        }
        Ok(found)
    }

    /// Follows the changes from behind a checkpoint on.
    async fn go_on_at(&mut self, checkpoint: Checkpoint) -> Result<(), Fault> {
        self.must_be_of(checkpoint)?;
        let checkpoint = Checkpoint { lineage: self.lineage, ..checkpoint };
        let tables = self.follow(Some(checkpoint)).await?;
        let mut session = self.pool.session().await?;
        self.try_conditions(&mut session, &tables).await?;
        drop(session);
        let whole = |table| Cut { table, boundaries: Arc::default() };
        self.tables = tables.into_iter().map(whole).collect();
        Ok(())
    }

    /// Where the changes must be for keys by which no row is found to hold.
    async fn copy_whole_at(&mut self) -> Result<Option<Lsn>, Fault> {
        // By one key rows are found, and it is the same for a row in all chunks.
        let may_collide =
            |table: &Table| table.version.unique_keys.len() + usize::from(table.version.primary_key.is_some()) > 1;
        let wanted = self.tables.iter().filter(|cut| (self.wanted)(&cut.table.version.name));
        if !wanted.into_iter().any(|cut| may_collide(&cut.table)) {
            return Ok(None);
        }
        match &mut self.changes {
            Some(changes) => Ok(changes.position_now(&self.pool).await?),
            None => Ok(None),
        }
    }

    /// The next changes.
    async fn next_changes(&mut self, bytes_max: usize) -> Result<Option<EventBatch>, Fault> {
        match &mut self.changes {
            Some(Changes::Log(log)) => Ok(Some(log.next(bytes_max, true).await?)),
            Some(Changes::Cdc(cdc)) => Ok(Some(cdc.next(bytes_max).await?)),
            Some(Changes::Hybrid(hybrid)) => Ok(Some(hybrid.next(bytes_max).await?)),
            None => Ok(None),
        }
    }
}

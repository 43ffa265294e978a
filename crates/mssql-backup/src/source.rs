//! A [`ChangeSource`] of files: a backup chain, or data files with their log files.
//!
//! The full copy shows the pages at the end of the base's own log, and they stand still from then on: the changes after that
//! point go into a second store on top of them. So chunks can be read in any order, by many readers, and again in a later run.
//!
//! Before any of it is used, a chain is read once to its end and checked: all of it before the copy, and when a run goes on, the log that it
//! will apply. Reading twice is the price of saying what is damaged before anything is written.
//!
//! What a transaction that is open at that point did is on those pages, too; [`fixups`](ChangeSource::fixups) takes it back row by
//! row. It is given again, whole, when the transaction commits.

use std::sync::{Arc, Mutex, PoisonError};

use logferry_model::{
    ChangeSource, Checkpoint, ChunkId, ChunkReader, CommitLsn, EventBatch, Fault, Fill, Lineage, Lsn, SnapshotPoint,
    TableVersion,
};
use logferry_mssql_format::page::{PAGE_SIZE, PageId};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::arrivals::{Arrivals, Watch};
use crate::backups::Backups;
use crate::catalog::{Catalog, Rowset};
use crate::chain::{Base, Chain, PlanOptions};
use crate::changes::{Changes, Read, ReplayOptions};
use crate::data_file::DataFiles;
use crate::error::Error;
use crate::log_file::LogFiles;
use crate::origin::{LogOrigin, Origin};
use crate::scan::{Extent, RowReader, rowset_extents};
use crate::set::BackupSet;
use crate::store::PageStore;

/// Bytes of rows that one call of `fill` shows.
const FILL_BYTES: usize = 256 << 10;
/// Log records that are redone without giving others their turn.
const SLICE_RECORDS: usize = 2_000;
/// Log records after which the position is told although nothing happened.
const PROGRESS_RECORDS: usize = 200_000;

/// See the module.
pub struct BackupSource {
    input: Input,
    options: ReplayOptions,
    changes: Option<Changes>,
    tables: Vec<Arc<TableVersion>>,
    snapshot: Option<Arc<Snapshot>>,
    arrivals: Option<Arrivals>,
    sound: SoundSets,
}

/// Backup sets that were read to their end and found sound. Shared by the sources that one process opens one after the other, so that a lost
/// connection does not cost another reading of all files.
#[derive(Clone, Debug, Default)]
pub struct SoundSets(Arc<Mutex<FxHashSet<[u8; 16]>>>);

impl SoundSets {
    fn has(&self, set: &BackupSet) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&set.header.set_guid.0)
    }

    fn add<'a>(&self, sets: impl Iterator<Item = &'a BackupSet>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(sets.map(|set| set.header.set_guid.0));
    }
}

enum Input {
    Backups { backups: Backups, database: Option<String>, plan: PlanOptions },
    Fixed { origin: Origin },
}

/// The database as the full copy shows it.
struct Snapshot {
    pages: Arc<PageStore>,
    catalog: Catalog,
    /// By index of `tables`, once asked for.
    chunks: Mutex<FxHashMap<usize, Arc<Vec<Chunk>>>>,
}

/// Pages of one rowset.
#[derive(Clone, Debug)]
struct Chunk {
    rowset: u64,
    extents: Vec<Extent>,
}

impl BackupSource {
    /// The chain of a database that can be built from backup files; without a name there must be one database only.
    ///
    /// # Errors
    /// Where there is no chain: says what is missing.
    pub fn of_backups(
        backups: Backups,
        database: Option<String>,
        plan: PlanOptions,
        options: ReplayOptions,
    ) -> Result<Self, Error> {
        backups.plan(database.as_deref(), plan)?;
        Ok(Self::new(Input::Backups { backups, database, plan }, options))
    }

    /// The data files of a database and its log files.
    ///
    /// # Errors
    /// Where they are of different databases.
    pub fn of_files(data: DataFiles, log: LogFiles, options: ReplayOptions) -> Result<Self, Error> {
        Ok(Self::new(Input::Fixed { origin: Origin::of_files(data, log, options)? }, options))
    }

    /// One chain, whatever else there is.
    ///
    /// # Errors
    /// Where its pages cannot be found.
    pub fn of_chain(chain: Chain, options: ReplayOptions) -> Result<Self, Error> {
        Ok(Self::new(Input::Fixed { origin: Origin::of_chain(chain, options)? }, options))
    }

    /// The data files of a database that was closed, without its log: a full copy and nothing after it.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn of_data(data: DataFiles, options: ReplayOptions) -> Result<Self, Error> {
        Ok(Self::new(Input::Fixed { origin: Origin::of_data(data, options)? }, options))
    }

    fn new(input: Input, options: ReplayOptions) -> Self {
        BackupSource {
            input,
            options,
            changes: None,
            tables: Vec::new(),
            snapshot: None,
            arrivals: None,
            sound: SoundSets::default(),
        }
    }

    /// Does not read again, before it begins, what was found sound already.
    pub fn knowing(mut self, sound: SoundSets) -> Self {
        self.sound = sound;
        self
    }

    /// Does not end with its chain, but takes up the log backups that arrive.
    pub fn watching(mut self, watch: Watch) -> Self {
        self.arrivals = Some(Arrivals::new(watch));
        self
    }

    /// Waits a while, then looks for files that go on where the chain has ended.
    async fn wait_for_files(&mut self) -> Result<(), Fault> {
        let Some(mut arrivals) = self.arrivals.take() else { return Ok(()) };
        let Some(chain) = self.changes()?.chain().map(Arc::clone) else { return Ok(()) };
        tokio::time::sleep(arrivals.watch.every).await;
        let look = tokio::task::spawn_blocking(move || {
            let found = arrivals.look(&chain);
            (arrivals, found)
        });
        let (arrivals, found) = look.await.map_err(|e| Fault::bug(format!("looking for files ended: {e}")))?;
        self.arrivals = Some(arrivals);
        let found = found?;
        if !found.is_empty() {
            self.changes()?.extend(found)?;
        }
        Ok(())
    }

    /// The base to begin with: the newest, or the newest that ends at or before a position.
    fn origin(&self, by: Option<Lsn>) -> Result<Origin, Error> {
        match &self.input {
            Input::Fixed { origin } => Ok(origin.clone()),
            Input::Backups { backups, database, plan } => {
                let base = by.map_or(plan.base, Base::EndingBy);
                let chain = backups.plan(database.as_deref(), PlanOptions { base, ..*plan })?;
                Origin::of_chain(chain, self.options)
            }
        }
    }

    fn changes(&mut self) -> Result<&mut Changes, Fault> {
        self.changes.as_mut().ok_or_else(|| Fault::bug("the source was asked for changes before its position was set"))
    }

    fn snapshot_state(&self) -> Result<&Arc<Snapshot>, Fault> {
        self.snapshot
            .as_ref()
            .ok_or_else(|| Fault::bug("the source was asked for chunks before its snapshot was taken"))
    }

    fn chunks_of(&self, table: usize) -> Result<Arc<Vec<Chunk>>, Fault> {
        let snapshot = self.snapshot_state()?;
        let mut known = snapshot.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chunks) = known.get(&table) {
            return Ok(Arc::clone(chunks));
        }
        let version = self.tables.get(table).ok_or_else(|| Fault::bug(format!("there is no table {table}")))?;
        let index = snapshot.catalog.tables.iter().position(|t| t.version.id == version.id);
        let index = index.filter(|&i| Arc::ptr_eq(&snapshot.catalog.tables[i].version, version)).ok_or_else(|| {
            let what = "a transaction that was open when the backup ended was changing or dropping it";
            Fault::operator(format!("table \"{}\" cannot be copied: {what}", version.name))
                .with_hint("begin with another backup, or leave the table out")
        })?;
        let mut chunks = Vec::new();
        for rowset in snapshot.catalog.rowsets_of(index) {
            let extents = rowset_extents(&snapshot.pages, rowset)?;
            // Said before anything is written, not when the page is read.
            let lost = extents.iter().flat_map(Extent::pages).find_map(|page| snapshot.pages.lost(page));
            if let Some(why) = lost.filter(|_| rowset.layout.is_compressed()) {
                return Err(Fault::operator(format!("table \"{}\" cannot be copied: {why}", version.name))
                    .with_hint("begin with a backup during which the table does not change, or leave the table out"));
            }
            chunks.extend(cut(rowset, extents, self.options.chunk_pages));
        }
        let chunks = Arc::new(chunks);
        known.insert(table, Arc::clone(&chunks));
        Ok(chunks)
    }
}

/// Cuts the pages of a rowset into chunks; at least one.
fn cut(rowset: &Rowset, extents: Vec<Extent>, chunk_pages: u32) -> Vec<Chunk> {
    let mut chunks = vec![Chunk { rowset: rowset.id, extents: Vec::new() }];
    let mut pages = 0;
    for extent in extents {
        if pages >= chunk_pages {
            chunks.push(Chunk { rowset: rowset.id, extents: Vec::new() });
            pages = 0;
        }
        pages += extent.len();
        if let Some(chunk) = chunks.last_mut() {
            chunk.extents.push(extent);
        }
    }
    chunks
}

/// The position in front of another: everything that comes at or after that one is behind it.
fn before(lsn: Lsn) -> CommitLsn {
    CommitLsn(Lsn { slot: lsn.slot.saturating_sub(1), ..lsn })
}

/// Identifies a snapshot: the same files give the same one.
fn snapshot_id(origin: &Origin, end: Lsn) -> [u8; 16] {
    let mut id = match &origin.log {
        LogOrigin::Chain(chain) => chain.base().header.set_guid.0,
        LogOrigin::Files(_) | LogOrigin::Without { .. } => origin.lineage.database,
    };
    // Of data files that are copied again later only the end of the log differs.
    for (byte, lsn) in id.iter_mut().zip(end.to_be_bytes()) {
        *byte ^= lsn;
    }
    id
}

impl ChangeSource for BackupSource {
    type Reader = BackupChunkReader;

    fn tables(&self) -> Vec<Arc<TableVersion>> {
        self.tables.clone()
    }

    async fn snapshot(&mut self) -> Result<SnapshotPoint, Fault> {
        let origin = self.origin(None)?;
        checked(&origin, None, &self.sound).await?;
        let mut changes = Changes::begin(origin.clone())?;
        while changes.read_records(SLICE_RECORDS, Lsn::MAX, false)? == Read::Enough {
            tokio::task::yield_now().await;
        }
        changes.settle();
        let end = match &origin.log {
            LogOrigin::Chain(chain) => chain.base_end(),
            LogOrigin::Files(_) | LogOrigin::Without { .. } => changes.log_end(),
        };
        changes.applied = before(end).max(changes.applied);
        self.tables = changes.tables();
        let catalog = changes.catalog()?.clone();
        let pages = changes.freeze()?;
        let checkpoint = changes.checkpoint();
        self.snapshot = Some(Arc::new(Snapshot { pages, catalog, chunks: Mutex::default() }));
        self.changes = Some(changes);
        Ok(SnapshotPoint { checkpoint, lineage: origin.lineage, id: snapshot_id(&origin, end), end_lsn: end })
    }

    fn chunks(&self, table: usize) -> Result<Vec<ChunkId>, Fault> {
        let chunks = self.chunks_of(table)?;
        let bytes = |chunk: &Chunk| chunk.extents.iter().map(|e| u64::from(e.len())).sum::<u64>() * PAGE_SIZE as u64;
        Ok((0..).zip(chunks.iter()).map(|(number, c)| ChunkId { table, number, bytes_estimate: bytes(c) }).collect())
    }

    fn open_chunk(&self, chunk: &ChunkId) -> Result<BackupChunkReader, Fault> {
        let snapshot = self.snapshot_state()?;
        let chunks = self.chunks_of(chunk.table)?;
        let found = chunks.get(chunk.number as usize);
        let found = found.ok_or_else(|| Fault::bug(format!("table {} has no chunk {}", chunk.table, chunk.number)))?;
        let rowset = snapshot.catalog.rowset(found.rowset);
        let rowset = rowset.ok_or_else(|| Fault::bug(format!("there is no rowset {}", found.rowset)))?;
        let pages: Vec<PageId> = found.extents.iter().flat_map(Extent::pages).collect();
        Ok(BackupChunkReader {
            reader: RowReader::new(Arc::clone(&snapshot.pages), &snapshot.catalog, rowset)?,
            pages: pages.into_iter(),
        })
    }

    async fn fixups(&mut self) -> Result<EventBatch, Fault> {
        Ok(self.changes()?.fixups()?)
    }

    async fn seek(&mut self, checkpoint: Checkpoint) -> Result<(), Fault> {
        let applied = checkpoint.applied;
        let after = Lsn { slot: applied.0.slot.saturating_add(1), ..applied.0 };
        let origin = self.origin(Some(after))?;
        same_lineage(&checkpoint, origin.lineage)?;
        if matches!(origin.log, LogOrigin::Files(_)) && checkpoint.restart.0 < origin.begin() {
            let (want, begin) = (checkpoint.restart.0, origin.begin());
            return Err(Fault::operator(format!(
                "the log file begins at {begin}, but the target needs the log from {want} on"
            ))
            .with_hint("give the log backups in between, or copy anew"));
        }
        if let LogOrigin::Without { checkpoint_lsn } = origin.log
            && before(checkpoint_lsn) != applied
        {
            return Err(Fault::operator(format!(
                "the data files were closed at {checkpoint_lsn}, the target has everything up to {}",
                applied.0
            ))
            .with_hint("give the log file, too, which tells what came between, or copy anew under another task name"));
        }
        checked(&origin, Some(checkpoint.restart.0), &self.sound).await?;
        let mut changes = Changes::begin(origin)?;
        changes.applied = applied;
        loop {
            match changes.read_records(SLICE_RECORDS, applied.0, false)? {
                Read::Enough => tokio::task::yield_now().await,
                Read::BaseEnd => {}
                Read::Until | Read::Commit => break,
                // The target is behind it, and the pages as they are there are not to be had.
                Read::Bulk => return Err(changes.bulk_error().into()),
                Read::End if changes.log_end() <= applied.0 => {
                    let end = changes.log_end();
                    let what = format!("the log ends at {end}, but the target has everything up to {}", applied.0);
                    return Err(Fault::operator(what)
                        .with_hint("give the files that were there before, and what was backed up since"));
                }
                Read::End => break,
            }
        }
        changes.settle();
        self.tables = changes.tables();
        self.snapshot = None;
        self.changes = Some(changes);
        Ok(())
    }

    async fn next(&mut self, bytes_max: usize) -> Result<Option<EventBatch>, Fault> {
        let changes = self.changes()?;
        let mut records = 0;
        loop {
            let batch = changes.next(bytes_max, SLICE_RECORDS)?;
            records += SLICE_RECORDS;
            match batch {
                Some(batch) if records < PROGRESS_RECORDS && batch.rows.byte_len() == 0 && is_only_progress(&batch) => {
                    tokio::task::yield_now().await;
                }
                None if self.arrivals.is_some() => {
                    self.wait_for_files().await?;
                    return Ok(Some(EventBatch::default()));
                }
                other => return Ok(other),
            }
        }
    }
}

/// Reads a chain to its end: all of it, or the log from a position on. Data files and log files are read as they are needed.
async fn checked(origin: &Origin, from: Option<Lsn>, sound: &SoundSets) -> Result<(), Fault> {
    let LogOrigin::Chain(chain) = &origin.log else { return Ok(()) };
    let is_known = match from {
        None => chain.sets().all(|set| sound.has(set)),
        Some(_) => chain.logs.iter().all(|set| sound.has(set)) && !chain.logs.is_empty(),
    };
    if is_known {
        return Ok(());
    }
    let (chain, sound) = (Arc::clone(chain), sound.clone());
    let check = move || {
        let verified = match from {
            None => chain.verify()?,
            Some(from) => chain.verify_log(from.max(chain.redo_lsn()))?,
        };
        // Of a log that was read from some point on, what lies before that is needed by nobody.
        match from {
            None => sound.add(chain.sets()),
            Some(_) => sound.add(chain.logs.iter()),
        }
        Ok::<_, Error>(verified)
    };
    let checked = tokio::task::spawn_blocking(check).await;
    let verified = checked.map_err(|e| Fault::bug(format!("checking the files ended: {e}")))??;
    tracing::info!(pages = verified.pages, log_bytes = verified.log_bytes, "the files are sound");
    Ok(())
}

fn is_only_progress(batch: &EventBatch) -> bool {
    batch.events.iter().all(|event| matches!(event, logferry_model::SourceEvent::Progress(_)))
}

fn same_lineage(checkpoint: &Checkpoint, lineage: Lineage) -> Result<(), Fault> {
    if checkpoint.lineage == lineage {
        return Ok(());
    }
    let show = |l: Lineage| format!("{} (fork {})", crate::set::Guid(l.database), crate::set::Guid(l.fork));
    Err(Fault::operator(format!(
        "the target's checkpoint {} is of database {}, the files are of {}",
        checkpoint.applied.0,
        show(checkpoint.lineage),
        show(lineage)
    ))
    .with_hint("give the files of the database that the target was copied from, or copy anew under another task name"))
}

/// Reads the rows of a chunk.
pub struct BackupChunkReader {
    reader: RowReader<Arc<PageStore>>,
    pages: std::vec::IntoIter<PageId>,
}

impl ChunkReader for BackupChunkReader {
    async fn fill(
        &mut self,
        visit: &mut (dyn for<'a> FnMut(&[logferry_model::Cell<'a>]) -> Result<(), Fault> + Send),
    ) -> Result<Fill, Fault> {
        let mut bytes = 0;
        while bytes < FILL_BYTES {
            let Some(page) = self.pages.next() else { return Ok(Fill::End) };
            self.reader.read_page(page, |cells| {
                bytes += cells.iter().filter_map(|c| c.bytes()).map(<[u8]>::len).sum::<usize>();
                visit(cells)
            })?;
            // Pages without rows cost time, too.
            bytes += PAGE_SIZE / 8;
        }
        Ok(Fill::More)
    }
}

impl std::fmt::Debug for BackupSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackupSource").field("tables", &self.tables.len()).finish_non_exhaustive()
    }
}

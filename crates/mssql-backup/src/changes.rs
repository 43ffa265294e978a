//! The committed changes in a backup chain, or in a data file and its log, in the order of their commits.
//!
//! ```text
//!  base: pages of a backup, or a data file          log that comes with the base        logs after it
//!        |                                          |---------------------------------|------------------------|
//!        '-- rewind: pages as they were here -------'                                 base is consistent here
//!                                                     redo ------------------------->   redo ---------------->
//! ```
//!
//! Of a backup chain the changes behind the end of the base are given: what is before them is in the copy of the base. A data file
//! with its log is consistent where the log ends, so all its changes lie before that.

use std::sync::Arc;

use logferry_model::{Checkpoint, CommitLsn, EventBatch, Lsn, RestartLsn, SourceEvent, TableId, TableVersion};
use logferry_mssql_format::log::block::Block;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::blob_rows::BlobPages;
use crate::bulk;
use crate::catalog::Catalog;
use crate::chain::Chain;
use crate::data_file::DataFiles;
use crate::emit::{Committed, Earlier, Emitter, WithEarlier, fixups};
use crate::error::Error;
use crate::log_blocks::LogBlocks;
use crate::log_file::LogFiles;
use crate::log_segment::SegmentBlocks;
use crate::origin::{LogOrigin, Origin};
use crate::replay::Replay;
use crate::rewind::{RewindReport, Rewinder};
use crate::scan::LobReader;
use crate::set::BackupSet;
use crate::store::PageStore;

/// How much memory a replay may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayOptions {
    /// Changed pages, in bytes; those behind it are in a temporary file.
    pub pages_max: usize,
    /// Changes of open transactions, in bytes; those behind it are in temporary files.
    pub changes_max: usize,
    /// Pages of a chunk of the full copy.
    pub chunk_pages: u32,
}

impl Default for ReplayOptions {
    /// 96 MiB of pages, 16 MiB of changes: what a small machine has, and enough that ordinary work does not spill. Changes that spill cost
    /// little, as they are written and read in order. Chunks of 64 MiB are copied in about a second, and so much is done again after a crash.
    fn default() -> Self {
        ReplayOptions { pages_max: 96 << 20, changes_max: 16 << 20, chunk_pages: 8192 }
    }
}

/// See the module.
pub struct Changes {
    origin: Origin,
    pub(crate) replay: Replay,
    rewound: RewindReport,
    log: Option<SegmentBlocks>,
    /// The log that is being read is that of the base.
    in_base: bool,
    /// There is more of the block that `log` gave last.
    in_block: bool,
    /// The next record of that block.
    next_slot: u16,
    emitting: Option<Box<Committed>>,
    /// Room for the next batch.
    empty: EventBatch,
    lobs: LobReader,
    told: FxHashMap<TableId, u32>,
    told_unreadable: FxHashSet<TableId>,
    blob_pages: BlobPages,
    /// Transactions up to this commit are not given.
    pub(crate) applied: CommitLsn,
    commit_time_us: Option<i64>,
    /// From here on the log lacks rows ([`bulk`]).
    bulk_from: Option<Lsn>,
    /// All before that was handed on.
    at_bulk: bool,
}

/// Why [`Changes::read_records`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// A transaction is to be handed on.
    Commit,
    /// The log of the base has ended: what comes is behind it.
    BaseEnd,
    /// As many records were read as was asked for.
    Enough,
    /// The next record lies behind the position that was asked for.
    Until,
    /// The log lacks rows from here on: see [`Changes::bulk_error`].
    Bulk,
    /// The log has ended.
    End,
}

impl Changes {
    /// The changes in a backup chain behind its base.
    pub fn of_chain(chain: Chain, options: ReplayOptions) -> Result<Self, Error> {
        let mut changes = Self::begin(Origin::of_chain(chain, options)?)?;
        while changes.read_records(usize::MAX, Lsn::MAX, false)? != Read::BaseEnd {}
        changes.settle();
        Ok(changes)
    }

    /// All changes in the log of a database, given with its data files.
    ///
    /// # Errors
    /// Where the log is of another database, and where the files cannot be read.
    pub fn of_files(data: DataFiles, log: LogFiles, options: ReplayOptions) -> Result<Self, Error> {
        Self::begin(Origin::of_files(data, log, options)?)
    }

    /// At the begin of the log that comes with the base.
    pub(crate) fn begin(origin: Origin) -> Result<Self, Error> {
        let first = origin.begin();
        let mut rewinder = Rewinder::new();
        let mut blocks = origin.base_log()?;
        while let Some(block) = blocks.next_block()? {
            for record in block.records() {
                let record = record?;
                if record.lsn >= first {
                    rewinder.record(&*origin.pages, &record)?;
                }
            }
        }
        let mut store = PageStore::new(origin.pages.clone(), origin.options.pages_max);
        let mut rewound = rewinder.finish(&mut store)?;
        let ahead = std::mem::take(&mut rewound.failed);
        let revealed = std::mem::take(&mut rewound.revealed);
        let replay = Replay::new(store, ahead, revealed, origin.options.changes_max)?;
        let log = Some(origin.base_log()?);
        let told = replay.shapes.published().iter().map(|t| (t.id, t.version)).collect();
        Ok(Changes {
            origin,
            replay,
            rewound,
            log,
            in_base: true,
            in_block: false,
            next_slot: 0,
            emitting: None,
            empty: EventBatch::default(),
            lobs: LobReader::default(),
            told,
            told_unreadable: FxHashSet::default(),
            blob_pages: BlobPages::default(),
            applied: CommitLsn::default(),
            commit_time_us: None,
            bulk_from: None,
            at_bulk: false,
        }
        .stopping_at_bulk())
    }

    /// The tables at the point reached, as committed transactions made them, in the order of their names.
    pub fn tables(&self) -> Vec<Arc<TableVersion>> {
        self.replay.shapes.published()
    }

    /// The pages at the point reached. What open transactions did is there, too.
    pub fn pages(&self) -> &PageStore {
        &self.replay.store
    }

    /// The catalog at the point reached.
    pub fn catalog(&mut self) -> Result<&Catalog, Error> {
        let Replay { shapes, store, .. } = &mut self.replay;
        // Where pages are changes without the shape of rows: replay does not look at it.
        shapes.mark_stale();
        shapes.refresh(store)?;
        shapes.catalog().ok_or_else(|| Error::NoChain { database: String::new(), why: "no catalog".to_owned() })
    }

    /// The last record that was redone.
    pub fn position(&self) -> Lsn {
        self.replay.position
    }

    /// Where the log ends (exclusive); of a log file, where it was read to.
    pub(crate) fn log_end(&self) -> Lsn {
        let last = self.replay.position;
        match &self.origin.log {
            LogOrigin::Chain(chain) => chain.end(),
            LogOrigin::Files(_) => Lsn { slot: last.slot.saturating_add(1), ..last },
            LogOrigin::Without { checkpoint_lsn } => *checkpoint_lsn,
        }
    }

    /// The pages at the point reached, which stay as they are: what comes goes into a store on top of them.
    ///
    /// Both together take no more memory than one may: of the lower store most pages wait in its file, from where the full copy, which reads
    /// each once, has them nearly as fast.
    pub(crate) fn freeze(&mut self) -> Result<Arc<PageStore>, Error> {
        let memory_max = self.origin.options.pages_max;
        self.replay.store.shrink(memory_max / 4)?;
        let empty = PageStore::new(self.origin.pages.clone(), 0);
        let frozen = Arc::new(std::mem::replace(&mut self.replay.store, empty));
        self.replay.store = PageStore::new(frozen.clone(), memory_max.saturating_sub(frozen.in_memory()));
        Ok(frozen)
    }

    /// Whether more of a transaction is to be handed on.
    pub fn is_handing_on(&self) -> bool {
        self.emitting.is_some()
    }

    /// Transactions that are open at the point reached.
    pub fn open_transactions(&self) -> usize {
        self.replay.open().count()
    }

    /// Pages that were ahead of the log of the base and were taken back, and rows on them that are not known.
    pub fn rewound(&self) -> (usize, usize) {
        (self.rewound.pages, self.rewound.unknown_rows)
    }

    /// How far a target is that has all that was given.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            applied: self.applied,
            restart: self.restart(),
            lineage: self.origin.lineage,
            commit_time_us: self.commit_time_us,
        }
    }

    /// Goes on with log backups that have arrived, which begin where the chain ended.
    ///
    /// # Errors
    /// Where their log cannot be read.
    pub(crate) fn extend(&mut self, logs: Vec<BackupSet>) -> Result<(), Error> {
        let LogOrigin::Chain(chain) = &self.origin.log else { return Ok(()) };
        let mut longer = Chain::clone(chain);
        let end = longer.end();
        // What was read is not read again by this reader; a year of log backups would not fit into memory.
        longer.logs.drain(..longer.logs.len().saturating_sub(1));
        longer.logs.extend(logs);
        self.log = Some(longer.blocks(end)?);
        self.in_block = false;
        self.origin.log = LogOrigin::Chain(Arc::new(longer));
        self.bulk_from = self.chain().and_then(|chain| bulk::first(chain)).map(|(from, _)| from);
        Ok(())
    }

    fn stopping_at_bulk(mut self) -> Self {
        self.bulk_from = self.chain().and_then(|chain| bulk::first(chain)).map(|(from, _)| from);
        self
    }

    /// Why the log cannot be read on, where [`Read::Bulk`] was given.
    pub(crate) fn bulk_error(&mut self) -> Error {
        let chain = self.chain().cloned();
        let error = self.catalog().map(|catalog| {
            let found = chain.as_ref().and_then(|chain| bulk::first(chain));
            found.map(|(from, set)| bulk::error(from, set, catalog))
        });
        let none = || Error::NoChain { database: String::new(), why: "no log backup lacks rows".to_owned() };
        error.map_or_else(|e| e, |error| error.unwrap_or_else(none))
    }

    /// The chain that is read.
    pub(crate) fn chain(&self) -> Option<&Arc<Chain>> {
        match &self.origin.log {
            LogOrigin::Chain(chain) => Some(chain),
            LogOrigin::Files(_) | LogOrigin::Without { .. } => None,
        }
    }

    /// What was read without being handed on is known: the tables as they are.
    pub(crate) fn settle(&mut self) {
        self.told = self.replay.shapes.published().iter().map(|t| (t.id, t.version)).collect();
    }

    fn restart(&self) -> RestartLsn {
        self.replay.restart()
    }

    /// The next events: about `bytes_max` bytes of rows at the most, from about `records_max` log records at the most;
    /// `None` when the log has ended.
    pub fn next(&mut self, bytes_max: usize, records_max: usize) -> Result<Option<EventBatch>, Error> {
        let Some(batch) = self.read_batch(bytes_max, records_max)? else { return Ok(None) };
        // The next one is likely to be as large.
        let events = batch.events.len();
        self.empty = EventBatch { rows: batch.rows.alike(), events: Vec::with_capacity(events + events / 8) };
        Ok(Some(batch))
    }

    fn read_batch(&mut self, bytes_max: usize, records_max: usize) -> Result<Option<EventBatch>, Error> {
        let mut batch = std::mem::take(&mut self.empty);
        let mut left = records_max.max(1);
        loop {
            if self.emitting.is_some() {
                if !self.emit(bytes_max, &mut batch)? {
                    return Ok(Some(batch));
                }
                if batch.rows.byte_len() >= bytes_max {
                    return Ok(Some(batch));
                }
            }
            match self.read_some(&mut left, Lsn::MAX, true)? {
                Read::Commit | Read::BaseEnd => {}
                read @ (Read::Enough | Read::Until | Read::End | Read::Bulk) => {
                    match read {
                        Read::End if batch.events.is_empty() => return Ok(None),
                        // What is before it is handed on first.
                        Read::Bulk if std::mem::replace(&mut self.at_bulk, true) => return Err(self.bulk_error()),
                        _ => {}
                    }
                    let done =
                        |event: &SourceEvent| matches!(event, SourceEvent::Commit(c) if c.applied == self.applied);
                    if !batch.events.last().is_some_and(done) && self.applied != CommitLsn::default() {
                        batch.events.push(SourceEvent::Progress(self.checkpoint()));
                    }
                    return Ok(Some(batch));
                }
            }
        }
    }

    /// Hands on what is being handed on; `true` when all of it is there.
    fn emit(&mut self, bytes_max: usize, batch: &mut EventBatch) -> Result<bool, Error> {
        let Some(committed) = &mut self.emitting else { return Ok(true) };
        let mut emitter = Emitter {
            shapes: &self.replay.shapes,
            pages: &self.replay.store,
            lobs: &mut self.lobs,
            told: &mut self.told,
            told_last: None,
            told_unreadable: &mut self.told_unreadable,
            blob_pages: &mut self.blob_pages,
            spare: Default::default(),
        };
        let done = committed.fill(&mut emitter, self.origin.lineage, bytes_max, batch)?;
        if done {
            self.applied = committed.head.commit_lsn;
            self.commit_time_us = committed.head.commit_time_us.or(self.commit_time_us);
            if let Some(committed) = self.emitting.take() {
                self.replay.reuse(committed.into_memory());
            }
        }
        Ok(done)
    }

    /// Changes that undo what transactions open at this point did, last first: they turn the rows on the pages into the committed ones.
    ///
    /// # Errors
    /// Where that cannot be told: of tables that such a transaction truncated, or whose shape it changed.
    pub fn fixups(&mut self) -> Result<EventBatch, Error> {
        let mut batch = EventBatch::default();
        self.lobs.clear();
        let store = &self.replay.store;
        let earlier = Earlier::before(self.replay.open().map(|open| &open.lob_undo), store)?;
        let without = WithEarlier { earlier: &earlier, pages: store };
        let mut emitter = Emitter {
            shapes: &self.replay.shapes,
            pages: &without,
            lobs: &mut self.lobs,
            told: &mut self.told,
            told_last: None,
            told_unreadable: &mut self.told_unreadable,
            blob_pages: &mut self.blob_pages,
            spare: Default::default(),
        };
        fixups(self.replay.open(), store, &mut emitter, &mut batch)?;
        self.lobs.clear();
        Ok(batch)
    }

    /// Redoes records up to `until` (inclusive). Transactions that commit are handed on only if `hand_on`.
    pub(crate) fn read_records(&mut self, records_max: usize, until: Lsn, hand_on: bool) -> Result<Read, Error> {
        let mut left = records_max;
        self.read_some(&mut left, until, hand_on)
    }

    fn read_some(&mut self, left: &mut usize, until: Lsn, hand_on: bool) -> Result<Read, Error> {
        loop {
            if let Some(log) = self.log.as_ref().filter(|_| self.in_block) {
                let block = Block::read_restored(log.last_bytes())?;
                while let Some(record) = block.record(self.next_slot)? {
                    if record.lsn > until {
                        return Ok(Read::Until);
                    }
                    if self.bulk_from.is_some_and(|from| record.lsn >= from) {
                        return Ok(Read::Bulk);
                    }
                    if *left == 0 {
                        return Ok(Read::Enough);
                    }
                    self.next_slot = self.next_slot.saturating_add(1);
                    let past = if self.in_base { self.origin.base_end() } else { None };
                    if past.is_some_and(|end| record.lsn >= end) {
                        break;
                    }
                    if record.lsn <= self.replay.position || record.lsn < self.origin.begin() {
                        continue;
                    }
                    *left -= 1;
                    let committed = self.replay.record(&record)?;
                    if let Some(committed) = committed.filter(|c| hand_on && c.head.commit_lsn > self.applied) {
                        self.lobs.clear();
                        self.emitting = Some(committed);
                        return Ok(Read::Commit);
                    }
                    let (last, time_us) = self.replay.last_commit;
                    if last > self.applied {
                        (self.applied, self.commit_time_us) = (last, time_us);
                    }
                }
                self.in_block = false;
            }
            let Some(log) = &mut self.log else { return Ok(Read::End) };
            if let Some(block) = log.next_block()? {
                self.in_block = true;
                self.next_slot = block.header.first_lsn.slot;
                self.replay.bring_near(&block);
                continue;
            }
            if !std::mem::take(&mut self.in_base) {
                self.log = None;
                return Ok(Read::End);
            }
            self.log = self.origin.later_log()?;
            return Ok(Read::BaseEnd);
        }
    }
}

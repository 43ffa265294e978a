//! The log as its readers see it: blocks in order, from the truncation point on, with the one that is still being filled.

use logferry_model::Lsn;
use logferry_mssql_format::log::block::Block;

use super::Database;
use super::system::definitions::{INDEXES, definitions};
use super::system::system_rowset;

/// A log block as it was written, its sectors restored.
#[derive(Debug)]
pub struct LogBlock(pub(super) Vec<u8>);

impl LogBlock {
    /// The block.
    ///
    /// # Panics
    /// Never: the engine's own blocks can be read.
    pub fn block(&self) -> Block<'_> {
        Block::read_restored(&self.0).expect("our own blocks are whole")
    }
}

/// A virtual log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlfInfo {
    /// Sequence number; 0: never used.
    pub sequence: u32,
    /// Where it begins in the log file.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// Parity of its blocks.
    pub parity: u8,
    /// When it was added; zero for those made with the file.
    pub create_lsn: Lsn,
    /// Whether something in it is still needed.
    pub active: bool,
}

/// Why the log cannot be forgotten further: `sys.databases.log_reuse_wait`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogReuseWait {
    /// Nothing stands in the way.
    Nothing,
    /// There was no checkpoint since.
    Checkpoint,
    /// It is not backed up.
    LogBackup,
    /// A transaction is open.
    ActiveTransaction,
    /// CDC or replication has not read it.
    Replication,
}

impl LogReuseWait {
    /// Its number and name.
    pub fn code(self) -> (u8, &'static str) {
        match self {
            LogReuseWait::Nothing => (0, "NOTHING"),
            LogReuseWait::Checkpoint => (1, "CHECKPOINT"),
            LogReuseWait::LogBackup => (2, "LOG_BACKUP"),
            LogReuseWait::ActiveTransaction => (4, "ACTIVE_TRANSACTION"),
            LogReuseWait::Replication => (6, "REPLICATION"),
        }
    }
}

/// What the DMVs say of a database's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogState {
    /// The truncation point.
    pub start: Lsn,
    /// Where the next block begins, once the current one is written.
    pub end: Lsn,
    /// The last checkpoint.
    pub checkpoint: Lsn,
    /// Where recovery would begin.
    pub recovery: Lsn,
    /// Where the last log backup ended; zero before the first full backup.
    pub backed_up: Lsn,
    /// Bytes of the log file.
    pub file_bytes: u64,
    /// What holds the truncation point.
    pub reuse_wait: LogReuseWait,
}

impl Database {
    /// The virtual log files, in the order of the file.
    pub fn vlfs(&self) -> impl Iterator<Item = VlfInfo> {
        self.log.vlfs().iter().map(|vlf| VlfInfo {
            sequence: vlf.header.sequence,
            start: vlf.header.start,
            size: vlf.header.size,
            parity: vlf.header.parity(),
            create_lsn: vlf.header.create_lsn,
            active: vlf.header.uses > 0 && vlf.header.sequence >= self.log.hold.vlf,
        })
    }

    /// The state of the log.
    pub fn log_state(&self) -> LogState {
        let (checkpoint, backed_up) = (self.checkpoint_lsn, self.log_archived().unwrap_or(Lsn::ZERO));
        let oldest = self.oldest_active();
        let mut held = (checkpoint, LogReuseWait::Checkpoint);
        let others = [
            (Some(backed_up).filter(|lsn| !lsn.is_zero()), LogReuseWait::LogBackup),
            (oldest, LogReuseWait::ActiveTransaction),
            (self.replication_lsn(), LogReuseWait::Replication),
        ];
        for (lsn, why) in others {
            if let Some(lsn) = lsn.filter(|lsn| *lsn <= held.0) {
                held = (lsn, why);
            }
        }
        // Within one virtual log file there is nothing to win.
        let end = self.log.written_end();
        let waits = held.0.vlf < end.vlf;
        LogState {
            start: self.log.hold,
            end,
            checkpoint,
            recovery: oldest.map_or(checkpoint, |lsn| lsn.min(checkpoint)),
            backed_up,
            file_bytes: self.log.file_len(),
            reuse_wait: if waits { held.1 } else { LogReuseWait::Nothing },
        }
    }

    /// The last record of the log.
    pub fn last_record(&self) -> Lsn {
        self.log.last()
    }

    /// The log from here on waits for CDC to read it; `None`: nobody waits.
    pub fn hold_for_replication(&mut self, lsn: Option<Lsn>) {
        self.replication = lsn;
        self.release_log();
    }

    pub(super) fn replication_lsn(&self) -> Option<Lsn> {
        [self.replication, self.unread_from()].into_iter().flatten().min()
    }

    /// The truncation point: what is before it may be written over at any time, and readers are not given it.
    pub fn start_of_log(&self) -> Lsn {
        self.log.hold
    }

    /// Whether a record with this LSN can be read.
    pub fn has_log_record(&self, lsn: Lsn) -> bool {
        lsn >= self.log.hold
            && self.log.block_at(lsn).is_some_and(|bytes| {
                let header = LogBlock(bytes).block().header;
                (header.first_lsn.slot..header.first_lsn.slot.saturating_add(header.slots)).contains(&lsn.slot)
            })
    }

    /// Allocation units of the system tables and their indexes, with the names of both: `sysschobjs.clst`.
    pub fn system_units(&self) -> impl Iterator<Item = (u64, String)> {
        definitions().into_iter().flat_map(|(object, def)| {
            let own = INDEXES.iter().filter(move |i| i.0 == object).map(|i| (u64::from(i.1), i.2));
            let clustered = (system_rowset(object), format!("{}.clst", def.name));
            let indexes =
                own.map(|(index, name)| (index << 48 | u64::from(object) << 16, format!("{}.{name}", def.name)));
            std::iter::once(clustered).chain(indexes.collect::<Vec<_>>())
        })
    }

    /// The blocks of the log from the one that `from` is in, where there is such a one.
    pub fn log_blocks(&self, from: Lsn) -> impl Iterator<Item = LogBlock> {
        self.log.blocks(from).map(LogBlock)
    }
}

//! The log as its readers see it: blocks in order, from the truncation point on, with the one that is still being filled.

use logferry_model::Lsn;
use logferry_mssql_format::log::block::Block;

use super::Database;
use super::system::definitions::definitions;
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

impl Database {
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

    /// Allocation units of the system tables, with the names of these.
    pub fn system_units(&self) -> impl Iterator<Item = (u64, String)> {
        definitions().into_iter().map(|(object, def)| (system_rowset(object), def.name))
    }

    /// The blocks of the log from the one that `from` is in, where there is such a one.
    pub fn log_blocks(&self, from: Lsn) -> impl Iterator<Item = LogBlock> {
        self.log.blocks(from).map(LogBlock)
    }
}

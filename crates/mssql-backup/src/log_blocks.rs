//! One way to read log blocks, wherever they are kept: in log files, in log backups, in the log that a full backup carries.

use logferry_mssql_format::log::block::Block;

use crate::error::Error;

/// Gives log blocks in the order of their LSNs, each exactly once.
///
/// ```text
/// while let Some(block) = blocks.next_block()? {
///     for record in block.records() { .. }
/// }
/// ```
///
/// A block lives until the next call; who stops in the middle of one goes on with [`LogBlocks::last_bytes`].
pub trait LogBlocks {
    /// The next block: its checksum and its parity were checked, and its bytes are as they were written.
    ///
    /// # Errors
    /// Where the next block is not the one that the log goes on with, or is damaged: names file, offset and LSN.
    fn next_block(&mut self) -> Result<Option<Block<'_>>, Error>;

    /// The [bytes](Block::bytes) of the block that was given last, for [`Block::read_restored`]; empty where none was.
    fn last_bytes(&self) -> &[u8];
}

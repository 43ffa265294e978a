//! The log file: which of its blocks are of the last use of their virtual log file.

use std::collections::HashMap;
use std::path::Path;

use logferry_model::Lsn;
use logferry_mssql_format::encode::VlfHeaderImage;
use logferry_mssql_format::file_header::FileHeader;
use logferry_mssql_format::log::block::{Block, BlockHeader, SECTOR};
use logferry_mssql_format::log::vlf::{FIRST_BLOCK, FIRST_VLF, VlfHeader};
use logferry_mssql_format::page::{PAGE_SIZE, PageBytes, PageId, verify};

use super::super::Error;
use super::super::log::{LogFile, Vlf};
use super::pages::Pages;
use super::{damaged, read_file};

/// So many pages must be from the log, and so many times more than those that are not.
const MATCHES_MIN: usize = 8;

/// Reads the log file of a data file: one with the same binding GUID, or whose records wrote its pages.
pub(super) fn read_log(path: &Path, pages: &Pages) -> Result<LogFile, Error> {
    let bytes = read_file(path)?;
    let header: Option<&PageBytes> = bytes.get(..PAGE_SIZE).and_then(|b| b.try_into().ok());
    let mut header = Box::new(*header.ok_or_else(|| damaged(path, "it is shorter than a page"))?);
    verify(&mut header).map_err(|e| damaged(path, e))?;
    let own = FileHeader::read(&header).map_err(|e| damaged(path, e))?.binding_guid;
    let mut vlfs = Vec::new();
    let mut start = FIRST_VLF;
    while (start as usize) < bytes.len() {
        let vlf = VlfHeader::read(bytes.get(start as usize..).unwrap_or_default(), start)
            .map_err(|e| damaged(path, e.within(format_args!("virtual log file at {start:#x}"))))?;
        let end = if vlf.seq == 0 { FIRST_BLOCK } else { used_blocks(&bytes, &vlf, path)? };
        vlfs.push(Vlf {
            header: VlfHeaderImage {
                sequence: vlf.seq,
                // Only its parity is asked for again.
                uses: match vlf.parity {
                    0x40 => 1,
                    0x80 => 2,
                    _ => 0,
                },
                size: vlf.size,
                start: vlf.start,
                create_lsn: vlf.created,
            },
            end,
        });
        start = start.saturating_add(vlf.size);
    }
    // What was used without a gap up to the last one; older ones have lost what stood between.
    let mut sequences: Vec<u32> = vlfs.iter().filter(|v| v.end > FIRST_BLOCK).map(|v| v.header.sequence).collect();
    sequences.sort_unstable();
    let Some(last) = sequences.last().copied() else { return Err(damaged(path, "it has no log block")) };
    let first = (0..=last).rev().take_while(|s| sequences.contains(s)).last().unwrap_or(last);
    let log = LogFile::frozen(bytes, vlfs, first, last);
    if own != pages.binding()? && !wrote_pages(&log, pages) {
        return Err(damaged(path, "it belongs to another database than the data file"));
    }
    Ok(log)
}

/// Whether pages whose LSNs are in the log carry those of the records that name them. A log that was built anew has
/// another GUID, although the pages are from it.
fn wrote_pages(log: &LogFile, pages: &Pages) -> bool {
    let (start, end) = (log.hold, log.last());
    let mut lsns: HashMap<PageId, Lsn> = pages.lsns().filter(|(_, lsn)| (start..=end).contains(lsn)).collect();
    let mut matched = 0;
    for bytes in log.blocks(start) {
        let Ok(block) = Block::read_restored(&bytes) else { return false };
        for record in block.records().flatten() {
            if let Ok(Some(op)) = record.page_op()
                && lsns.get(&op.row.page) == Some(&record.lsn)
            {
                lsns.remove(&op.row.page);
                matched += 1;
            }
        }
    }
    matched >= MATCHES_MIN && matched / MATCHES_MIN >= lsns.len()
}

/// Where the blocks of a virtual log file's current use end, in sectors.
fn used_blocks(bytes: &[u8], vlf: &VlfHeader, path: &Path) -> Result<u32, Error> {
    let mut at = FIRST_BLOCK;
    let sectors = u32::try_from(vlf.size / SECTOR as u64).map_err(|_| damaged(path, "a virtual log file too large"))?;
    while at < sectors {
        let start = vlf.start as usize + at as usize * SECTOR;
        let Some(rest) = bytes.get(start..) else { break };
        let Ok(header) = BlockHeader::read(rest) else { break };
        let lsn = header.first_lsn;
        if header.parity != vlf.parity || (lsn.vlf, lsn.block) != (vlf.seq, at) {
            break;
        }
        let Some(mut block) = rest.get(..usize::from(header.len)).map(<[u8]>::to_vec) else { break };
        match Block::read(&mut block) {
            Ok(block) if block.is_2000() => return Err(damaged(path, "it has log records of SQL Server 2000")),
            // The record bytes are looked at again when they are asked for.
            Ok(block) if block.records().all(|r| r.is_ok()) => {}
            // A torn block is the end of the log.
            _ => break,
        }
        at += u32::from(header.len) / SECTOR as u32;
    }
    Ok(at)
}

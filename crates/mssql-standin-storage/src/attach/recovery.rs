//! Recovery of files that were not shut down cleanly: what the log has and the pages do not is done again, and what transactions did
//! that never ended is undone, on the pages in memory. The files stay as they are.
//!
//! A database was shut down cleanly where no transaction changed a row or ended after its last checkpoint; then nothing is done. Indexes are not
//! asked for rows here, so their entries are left as they are. An update of several stretches of a row (MODIFY_COLUMNS) by a transaction that
//! never ended is refused by name.

use std::collections::{BTreeMap, HashMap, HashSet};

use logferry_model::{Lsn, TransactionId};
use logferry_mssql_format::encode::PageImage;
use logferry_mssql_format::log::block::Block;
use logferry_mssql_format::log::op::{Context, Op};
use logferry_mssql_format::log::record::Record;
use logferry_mssql_format::page::{PageBytes, PageId};
use logferry_mssql_format::redo;
use logferry_mssql_format::row::RecordKind;

use super::super::Error;
use super::super::log::LogFile;
use super::pages::Pages;

/// Bits of a record's first byte that say what kind it is, and a ghost row's.
const KIND_BITS: u8 = 7 << 1;
const GHOST: u8 = 6 << 1;

/// Brings the pages to where the log ends.
pub(super) fn recover(pages: &mut Pages, log: &LogFile, checkpoint: Lsn) -> Result<(), Error> {
    let blocks: Vec<Vec<u8>> = log.blocks(log.hold).collect();
    let mut records: Vec<Record<'_>> = Vec::new();
    for bytes in &blocks {
        let block = Block::read_restored(bytes).map_err(|e| pages.damaged(e))?;
        for record in block.records() {
            records.push(record.map_err(|e| pages.damaged(e))?);
        }
    }
    let mut open: BTreeMap<TransactionId, usize> = BTreeMap::new();
    let mut clean = true;
    for (at, record) in records.iter().enumerate() {
        let ends = matches!(record.op, Op::COMMIT_XACT | Op::ABORT_XACT);
        if ends {
            open.remove(&record.transaction);
        } else if changes_row(record) {
            open.insert(record.transaction, at);
        }
        clean &= record.lsn < checkpoint || !(ends || changes_row(record));
    }
    if clean {
        return Ok(());
    }
    redo_all(pages, &records)?;
    let losers: HashSet<TransactionId> = open.into_keys().collect();
    undo_all(pages, &records, &losers)
}

/// Whether a record changes a row of a table.
fn changes_row(record: &Record<'_>) -> bool {
    matches!(record.op, Op::INSERT_ROWS | Op::DELETE_ROWS | Op::MODIFY_ROW | Op::MODIFY_COLUMNS)
        && matches!(record.context, Context::HEAP | Context::CLUSTERED | Context::MARK_AS_GHOST)
        && record.transaction != TransactionId::default()
}

fn redo_all(pages: &mut Pages, records: &[Record<'_>]) -> Result<(), Error> {
    // A page that was given back need not have been written; another use begins with a format.
    let mut failed: HashMap<PageId, String> = HashMap::new();
    for record in records {
        let target = redo::target(record).map_err(|e| pages.damaged(record.located(e)))?;
        let Some(op) = target else { continue };
        let id = op.row.page;
        if failed.contains_key(&id) && record.op != Op::FORMAT_PAGE {
            continue;
        }
        let mut page = match pages.page(id) {
            Ok(page) => page,
            Err(_) if record.op == Op::FORMAT_PAGE => Box::new([0; size_of::<PageBytes>()]),
            Err(e) => {
                failed.insert(id, e.to_string());
                continue;
            }
        };
        match redo::apply_op(&mut page, record, &op, None) {
            Ok(redo::Outcome::AlreadyThere) => {}
            Ok(_) => {
                failed.remove(&id);
                pages.replace(id, page);
            }
            Err(e) => drop(failed.insert(id, e.to_string())),
        }
    }
    for (id, why) in failed {
        if pages.is_allocated(id).unwrap_or(true) {
            return Err(pages.damaged(format!("page {id} cannot be recovered: {why}")));
        }
    }
    Ok(())
}

fn undo_all(pages: &mut Pages, records: &[Record<'_>], losers: &HashSet<TransactionId>) -> Result<(), Error> {
    // Where a transaction was rolled back in part already, its compensation records name what is to be undone next.
    let mut next: HashMap<TransactionId, Lsn> = HashMap::new();
    for record in records.iter().rev().filter(|r| losers.contains(&r.transaction)) {
        if next.get(&record.transaction).is_some_and(|next| record.lsn > *next) {
            continue;
        }
        if record.is_compensation() {
            next.insert(record.transaction, record.prev_lsn);
        } else if changes_row(record) {
            undo(pages, record)?;
        }
    }
    Ok(())
}

/// Undoes what a record did to a row, wherever on its page the row is by now.
fn undo(pages: &mut Pages, record: &Record<'_>) -> Result<(), Error> {
    let cannot = |what: &str| {
        Error::Unsupported(format!(
            "recovery of {:?} at {} by a transaction that never ended: {what}",
            record.op, record.lsn
        ))
    };
    let op = record.page_op().ok().flatten().ok_or_else(|| cannot("it names no page"))?;
    let mut page = pages.page(op.row.page).map(PageImage::from_bytes).map_err(|e| pages.damaged(e))?;
    let heap = record.context == Context::HEAP;
    let image = record.element(0);
    let find = |page: &PageImage, is: &dyn Fn(&[u8]) -> bool| {
        let at = |slot: &u16| page.row(*slot).is_some_and(is);
        Some(op.row.slot).filter(at).or_else(|| (0..page.slot_count()).filter(|_| !heap).find(at))
    };
    match record.op {
        Op::INSERT_ROWS => {
            let begins = |row: &[u8]| row.starts_with(image) && !RecordKind::of(row[0]).is_ghost();
            let slot = find(&page, &begins).ok_or_else(|| cannot("the row is elsewhere"))?;
            match page.row_mut(slot) {
                _ if heap => page.free_slot(slot),
                Some(row) => row[0] = row[0] & !KIND_BITS | GHOST,
                None => {}
            }
        }
        Op::DELETE_ROWS if heap => page.fill_slot(op.row.slot, image),
        Op::DELETE_ROWS => {
            let rest = image.get(1..).unwrap_or_default();
            let is = |row: &[u8]| row[1..].starts_with(rest) && RecordKind::of(row[0]).is_ghost();
            let slot = find(&page, &is).ok_or_else(|| cannot("the row is elsewhere"))?;
            if let (Some(row), Some(first)) = (page.row_mut(slot), image.first()) {
                row[0] = *first;
            }
        }
        Op::MODIFY_ROW => {
            let offset = record.row_op().ok().flatten().map_or(0, |r| usize::from(r.offset));
            let after = record.element(1);
            let is = |row: &[u8]| row.get(offset..).is_some_and(|rest| rest.starts_with(after));
            let slot = Some(op.row.slot).filter(|slot| page.row(*slot).is_some_and(is));
            let slot = slot.ok_or_else(|| cannot("the row is elsewhere"))?;
            let row = page.row(slot).unwrap_or_default();
            let old = [&row[..offset], image, &row[offset + after.len()..]].concat();
            page.replace(slot, &old);
        }
        _ => return Err(cannot("it changed several stretches of a row")),
    }
    pages.replace(op.row.page, Box::new(*page.bytes()));
    Ok(())
}

//! Rewind: a page as it was before the first record of a piece of the log, computed from the page as it is later.
//!
//! Redo needs pages that are not ahead of the log. Those of a data file are at its end; those of a full backup are
//! somewhere in the middle, because pages are copied while changes go on.
//!
//! Records cannot simply be undone one by one: a purged ghost, rows that moved to another page and compensations have
//! no image in their own record. So the page is walked *forwards*, with the identities of its rows in place of their
//! bytes, and every identity is looked up where its bytes are known first:
//!
//! ```text
//!  slots      before      DELETE 1     INSERT 0      DELETE_SPLIT 2     the page as it is
//!    0          A            A            (new)          (new)            (new)
//!    1          B            C            A              A                A = row of slot 1
//!    2          C            D            C
//!    3          D                         D                  C, D: rows of the INSERT_ROWS on the page split off
//!                            B: row of the DELETE
//! ```
//!
//! From where an identity's bytes are known its changes are undone backwards to the begin: changes have the bytes
//! before and after; of a compensation, the record that it undid has both.
//!
//! The record that a compensation undid may be older than the log that is there: of transactions that were rolled back while a
//! backup was made. Then the row is unknown before the compensation, and *revealed* by it.
//!
//! How many rows there were follows from how many there are. FORMAT_PAGE leaves nothing of what was before it: the
//! page as it is then says nothing about the rows before, which are known from their own records or not at all
//! ([`UNKNOWN_ROW`](super::UNKNOWN_ROW)). A ghost that goes without its bytes becomes a ghost without columns.
//!
//! **What is given back was checked:** redo of all records leads from it to the page as it is, row by row. A row that is not known at
//! the end is an error.

mod walk;

use logferry_model::Lsn;

use super::rows::{PageRows, compressed_as_a_whole, has_compressed_rows, row_at};
use super::{apply, chunks, compares, has_bytes, has_counts, mend_blob_length, reveal, same_row, set_lsn};
use crate::bytes::{Malformed, Result, slice};
use crate::log::op::{Context, Op};
use crate::log::record::{PageOp, Record};
use crate::page::{HEADER_SIZE, PAGE_SIZE, PageBytes, PageHeader, PageType};
use crate::row::RecordKind;

/// A record that changes the page, and what belongs to it.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// The record.
    pub record: Record<'a>,
    /// Of a compensation: the record that it undid.
    pub undone: Option<Record<'a>>,
    /// Of a DELETE_SPLIT: the INSERT_ROWS that put the rows on the other page.
    pub moved: Vec<Record<'a>>,
}

/// A page before the first of the steps.
#[derive(Clone, Debug)]
pub struct Rewound {
    /// The page.
    pub page: Box<PageBytes>,
    /// Rows whose bytes are not known.
    pub unknown_rows: usize,
    /// Rows that are known from some record on, in the order of the log: to be put in after redo of the record ([`super::reveal`]).
    pub revealed: Vec<Revealed>,
}

/// A row that is known from a record on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revealed {
    /// The record.
    pub lsn: Lsn,
    /// The slot that it is in then.
    pub slot: u16,
    /// The row behind the record.
    pub row: Vec<u8>,
}

/// Computes the page before the first of `steps`: all records that change it in a piece of the log, in the order of
/// their LSNs. `base` is the page as it is at some later point.
///
/// # Errors
/// Where the records contradict each other or the page: what does not fit, at which record.
pub fn rewind(base: &PageBytes, steps: &[Step<'_>]) -> Result<Rewound> {
    if has_compressed_rows(base)
        && let Some(why) = compressed_as_a_whole(base)
    {
        return Err(Malformed::new(format!("its rows are compressed: {why}"), 0));
    }
    let Some(first) = steps.first() else {
        return Ok(Rewound { page: Box::new(*base), unknown_rows: 0, revealed: Vec::new() });
    };
    let first_op = page_op(&first.record)?;
    let base_header = PageHeader::read(base)?;
    let seen = steps.partition_point(|step| step.record.lsn <= base_header.lsn);
    let seen = steps.get(..seen).unwrap_or_default();
    let life = seen.iter().position(|step| step.record.op == Op::FORMAT_PAGE);
    // What the page as it is tells of: everything, unless it was formatted in between.
    let (walked, known) = match life {
        Some(format) => (seen.get(..format).unwrap_or_default(), None),
        None => (seen, Some(base)),
    };

    let mut rewound = match known {
        None if walked.is_empty() => Rewound { page: Box::new([0; PAGE_SIZE]), unknown_rows: 0, revealed: Vec::new() },
        Some(base) if is_map(base_header.page_type) => {
            Rewound { page: Box::new(map_before(base, walked)?), unknown_rows: 0, revealed: Vec::new() }
        }
        _ => rows_before(known, walked, &first_op)?,
    };
    set_lsn(&mut rewound.page, first_op.prev_page_lsn);
    if known.is_none_or(|_| !is_map(base_header.page_type)) {
        check(&rewound, seen, base)?;
    }
    Ok(rewound)
}

fn page_op(record: &Record<'_>) -> Result<PageOp> {
    super::target(record)?.ok_or_else(|| record.located(Malformed::new("the record changes no page", 0)))
}

fn is_map(page_type: PageType) -> bool {
    matches!(
        page_type,
        PageType::GAM
            | PageType::SGAM
            | PageType::IAM
            | PageType::PFS
            | PageType::BOOT
            | PageType::FILE_HEADER
            | PageType::DIFF_MAP
            | PageType::ML_MAP
    )
}

/// Maps have no rows that move: their changes are undone in place, last first.
fn map_before(base: &PageBytes, steps: &[Step<'_>]) -> Result<PageBytes> {
    let mut page = *base;
    for Step { record, .. } in steps.iter().rev() {
        let slot = page_op(record)?.row.slot;
        let mut rows = PageRows::new(&mut page)?;
        match record.op {
            Op::MODIFY_ROW => {
                let offset = record.u16_at(56, "offset in the row")?;
                rows.patch(slot, usize::from(offset), record.element(0))?;
            }
            Op::MODIFY_COLUMNS | Op::CLEAR_GAM_BITS => {
                for chunk in chunks(record)?.iter().rev() {
                    rows.patch(slot, chunk.old_offset, chunk.before)?;
                }
            }
            Op::SET_BITS => {
                let value = record.u16_at(52, "bit value")? & 1 == 0;
                super::maps::write_bits(&mut page, record, slot, value)?;
            }
            Op::SET_FREE_SPACE => {
                let offset = record.u16_at(48, "offset in the map")?;
                let [_, old] = record.u16_at(50, "free space")?.to_le_bytes();
                rows.patch(slot, usize::from(offset), &[old])?;
            }
            Op::MODIFY_HEADER => undo_header(&mut page, record)?,
            _ => {}
        }
    }
    Ok(page)
}

/// Puts back the header's bytes; compensations do not have them, and then the links stay as they are.
fn undo_header(page: &mut PageBytes, record: &Record<'_>) -> Result<()> {
    let offset = usize::from(record.u16_at(56, "offset in the header")?);
    let before = record.element(0);
    if let Some(end) = offset.checked_add(before.len()).filter(|&end| end <= HEADER_SIZE)
        && let Some(field) = page.get_mut(offset..end)
    {
        field.copy_from_slice(before);
    }
    Ok(())
}

fn rows_before(base: Option<&PageBytes>, steps: &[Step<'_>], first: &PageOp) -> Result<Rewound> {
    let mut walk = walk::Walk::new();
    for (i, step) in steps.iter().enumerate() {
        walk.step(i, step).map_err(|e| step.record.located(e))?;
    }
    let rows = walk.finish(base)?;

    let mut page = Box::new([0u8; PAGE_SIZE]);
    match base {
        Some(base) => page[..HEADER_SIZE].copy_from_slice(&base[..HEADER_SIZE]),
        None => {
            page[0] = 1;
            page[1] = page_type(steps).0;
            page[6..8].copy_from_slice(&first.index_id.to_le_bytes());
            page[24..28].copy_from_slice(&first.obj_id.to_le_bytes());
            page[32..38].copy_from_slice(&first.row.page.to_bytes());
        }
    }
    page[22..24].fill(0);
    page[30..32].copy_from_slice(&(HEADER_SIZE as u16).to_le_bytes());
    for Step { record, .. } in steps.iter().rev() {
        if record.op == Op::MODIFY_HEADER {
            undo_header(&mut page, record)?;
        }
    }

    let mut unknown_rows = 0;
    let mut revealed = Vec::new();
    let mut out = PageRows::new(&mut page)?;
    for (slot, row) in rows.into_iter().enumerate() {
        // A page has fewer than 2^16 slots: `insert` and `push` see to it.
        match row {
            walk::Before::Free => out.push_free()?,
            walk::Before::Ghost => out.insert(slot as u16, ghost_stub(steps))?,
            walk::Before::Row { known: Some(row), changes } => match undo_changes(row, &changes, steps)? {
                Ok(row) => out.insert(slot as u16, &row)?,
                Err(later) => {
                    unknown_rows += 1;
                    revealed.push(later);
                    out.push_unknown()?;
                }
            },
            walk::Before::Row { known: None, .. } => {
                unknown_rows += 1;
                out.push_unknown()?;
            }
        }
    }
    revealed.sort_by_key(|r| r.lsn);
    Ok(Rewound { page, unknown_rows, revealed })
}

/// What kind of page it was, by what was done to it.
fn page_type(steps: &[Step<'_>]) -> PageType {
    let context = |step: &Step<'_>| match step.record.context {
        Context::INDEX_LEAF | Context::INDEX_INTERIOR => Some(PageType::INDEX),
        Context::TEXT_MIX => Some(PageType::TEXT_MIX),
        Context::TEXT_TREE => Some(PageType::TEXT_TREE),
        Context::IAM => Some(PageType::IAM),
        Context::CLUSTERED | Context::MARK_AS_GHOST => Some(PageType::DATA),
        // MODIFY_HEADER says HEAP on pages of all kinds.
        Context::HEAP if step.record.op != Op::MODIFY_HEADER => Some(PageType::DATA),
        _ => None,
    };
    steps.iter().find_map(context).unwrap_or(PageType::DATA)
}

/// A ghost without columns: stands for one that was taken away before its bytes were to be had.
fn ghost_stub(steps: &[Step<'_>]) -> &'static [u8] {
    // Index entries: the fixed part of a length of 0 ends behind the status byte.
    if page_type(steps) == PageType::INDEX { &[0x0A, 0, 0, 0, 0, 0, 0, 0] } else { &[0x0C, 0, 4, 0] }
}

/// Undoes the changes of a row, last first. Where one of them cannot be undone, what the row is behind that one.
fn undo_changes(known: &[u8], changes: &[usize], steps: &[Step<'_>]) -> Result<Result<Vec<u8>, Revealed>> {
    let mut row = known.to_vec();
    for step in changes.iter().rev().filter_map(|&i| steps.get(i)) {
        let (lsn, slot) = (step.record.lsn, page_op(&step.record)?.row.slot);
        match undo(row.clone(), step).map_err(|e| step.record.located(e))? {
            Some(before) => row = before,
            None => return Ok(Err(Revealed { lsn, slot, row })),
        }
    }
    Ok(Ok(row))
}

fn undo(mut row: Vec<u8>, step: &Step<'_>) -> Result<Option<Vec<u8>>> {
    let record = &step.record;
    // What stood there before is in the record itself, or in the one that it undid.
    let source = match (record.is_compensation(), &step.undone) {
        (false, _) => None,
        (true, Some(undone)) if undone.op == record.op => Some(undone),
        (true, _) if record.op == Op::DELETE_ROWS => None,
        (true, _) => return Ok(None),
    };
    match record.op {
        Op::MODIFY_ROW => {
            let offset = usize::from(record.u16_at(56, "offset in the row")?);
            let before = source.map_or_else(|| record.element(0), |undone| undone.element(1));
            splice(&mut row, offset, record.element(1), before, compares(record, &page_op(record)?))?;
        }
        Op::MODIFY_COLUMNS => {
            let changed = chunks(record)?;
            let undone = source.map(chunks).transpose()?;
            if undone.as_ref().is_some_and(|undone| undone.len() != changed.len()) {
                return Err(Malformed::new("the record does not undo all chunks", 0));
            }
            for (k, chunk) in changed.iter().enumerate().rev() {
                let before = match &undone {
                    Some(undone) => undone.get(k).map_or(&[][..], |c| c.after),
                    None => chunk.before,
                };
                splice(&mut row, chunk.new_offset, chunk.after, before, compares(record, &page_op(record)?))?;
            }
        }
        Op::ROOT_CHANGE => {
            let offset = usize::from(crate::bytes::u16_at(record.bytes(), 88, "offset in the row")?);
            let new = slice(record.bytes(), 72, 6, "new page")?;
            splice(&mut row, offset, new, slice(record.bytes(), 80, 6, "old page")?, false)?;
        }
        Op::DELETE_ROWS => {
            // It became a ghost.
            if let Some(status) = row.first_mut() {
                let is_entry = RecordKind::of(*status) == RecordKind::GhostIndex;
                let kind = if is_entry { RecordKind::Index } else { RecordKind::Primary };
                *status = kind.written_to(*status);
            }
        }
        _ => {}
    }
    Ok(Some(row))
}

fn splice(row: &mut Vec<u8>, offset: usize, now: &[u8], before: &[u8], compare: bool) -> Result<()> {
    slice(row, offset, now.len(), "changed bytes")?;
    if compare && !has_bytes(row, offset, now) {
        return Err(Malformed::new("the bytes in the row are not those that the record wrote", offset));
    }
    row.splice(offset..offset + now.len(), before.iter().copied());
    if row.len() > PAGE_SIZE {
        return Err(Malformed::new("the row would be longer than a page", offset));
    }
    mend_blob_length(row);
    Ok(())
}

/// Redo from `page` on must lead to `base`.
fn check(rewound: &Rewound, steps: &[Step<'_>], base: &PageBytes) -> Result<()> {
    let mut now = *rewound.page;
    let mut at = Lsn::ZERO;
    for step in steps {
        at = step.record.lsn;
        apply(&mut now, &step.record).map_err(|e| Malformed::new(format!("redo does not work: {e}"), 0))?;
        for revealed in rewound.revealed.iter().filter(|r| r.lsn == at) {
            reveal(&mut now, revealed.slot, &revealed.row)?;
        }
    }
    let (header, base_header) = (PageHeader::read(&now)?, PageHeader::read(base)?);
    let differs =
        |what: String| Err(Malformed::new(format!("redo up to {at} does not give the page as it is: {what}"), 0));
    if header.slot_count != base_header.slot_count {
        return differs(format!("{} slots, not {}", header.slot_count, base_header.slot_count));
    }
    if has_counts(base_header.obj_id) || is_map(base_header.page_type) {
        return Ok(());
    }
    for slot in 0..header.slot_count {
        match (row_at(&now, slot)?, row_at(base, slot)?) {
            (Some(a), Some(b)) if same_row(a, b) => {}
            (None, None) => {}
            _ => return differs(format!("the row in slot {slot}")),
        }
    }
    Ok(())
}

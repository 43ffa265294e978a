//! MODIFY_ROW and MODIFY_COLUMNS: stretches of a row that get other bytes.

use super::rows::PageRows;
use super::{RowImages, compares, fail, has_bytes, row_op};
use crate::bytes::{Malformed, u16_at};
use crate::log::op::Op;
use crate::log::record::{PageOp, Record};
use crate::page::PageBytes;
use crate::row::{FixedVar, RecordKind};

/// Where the fixed part of a row begins.
const FIXED_START: usize = 4;

/// The bytes of a row after a MODIFY_ROW: `size` bytes at `offset` become element 1.
fn modified(row: &[u8], offset: usize, size: usize, after: &[u8]) -> Result<Vec<u8>, Malformed> {
    let (Some(head), Some(tail)) = (row.get(..offset), offset.checked_add(size).and_then(|end| row.get(end..))) else {
        return Err(fail(format!("{size} bytes at {offset} are to change, the row has {}", row.len())));
    };
    let mut new = Vec::with_capacity(row.len().saturating_add(after.len()));
    new.extend_from_slice(head);
    new.extend_from_slice(after);
    new.extend_from_slice(tail);
    if new.len() > crate::page::PAGE_SIZE {
        return Err(fail("the row would be longer than a page"));
    }
    mend_blob_length(&mut new);
    Ok(new)
}

/// A LOB record holds its length, which is not logged when it changes.
pub(super) fn mend_blob_length(row: &mut [u8]) {
    if let Some(&status) = row.first()
        && RecordKind::of(status) == RecordKind::Blob
        && let Ok(len) = u16::try_from(row.len())
        && let Some(field) = row.get_mut(2..4)
    {
        field.copy_from_slice(&len.to_le_bytes());
    }
}

pub(super) fn modify_row(
    page: &mut PageBytes,
    record: &Record<'_>,
    page_op: &PageOp,
    mut images: Option<&mut RowImages>,
) -> Result<(), Malformed> {
    let (op, slot) = (row_op(record)?, page_op.row.slot);
    let (before, after) = (record.element(0), record.element(1));
    let (offset, size) = (usize::from(op.offset), usize::from(op.size));
    let mut rows = PageRows::new(page)?;
    if rows.is_unknown(slot) {
        return Ok(());
    }
    let same_len = after.len() == size;
    let compares = compares(record, page_op);
    // The records of maps and of the boot page are not rows: they cannot say how long they are.
    let is_row = !same_len || compares || images.is_some();
    let Some(row) = (if is_row { rows.row(slot)? } else { rows.to_end(slot)? }) else {
        return Err(fail(format!("slot {slot} is free")));
    };
    if compares && !has_bytes(row, offset, before) {
        return Err(fail(format!("the bytes at {offset} of the row in slot {slot} are not those to change")));
    }
    if let Some(images) = &mut images {
        images.before.extend_from_slice(row);
    }
    if same_len && !is_compressed(row, compares) {
        // Of a stretch of the fixed part, which the row is as long with as without.
        let is_fixed =
            compares && offset >= FIXED_START && FixedVar::read(row).is_ok_and(|row| offset + size <= row.fixed_end());
        rows.patch(slot, offset, after)?;
        if let Some(images) = images.as_deref_mut().filter(|_| is_fixed) {
            let RowImages { before, after: new } = images;
            new.extend_from_slice(before);
            new[offset..offset + size].copy_from_slice(after);
            return Ok(());
        }
    } else {
        let new = modified(row, offset, size, after)?;
        rows.check_compressed(&new)?;
        rows.replace(slot, &new)?;
    }
    became(images, &rows, slot)
}

/// What the row is after the change; how long it is the row itself says.
fn became(images: Option<&mut RowImages>, rows: &PageRows<'_>, slot: u16) -> Result<(), Malformed> {
    if let Some(images) = images
        && let Some(row) = rows.row(slot)?
    {
        images.after.extend_from_slice(row);
    }
    Ok(())
}

/// Whether a row is compressed; the records of maps are no rows.
fn is_compressed(row: &[u8], is_row: bool) -> bool {
    is_row && row.first().is_some_and(|status| status & crate::row::status::COMPRESSED != 0)
}

/// A chunk of MODIFY_COLUMNS.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk<'a> {
    pub(super) old_offset: usize,
    pub(super) new_offset: usize,
    pub(super) old_len: usize,
    pub(super) before: &'a [u8],
    pub(super) after: &'a [u8],
}

/// The chunks of a MODIFY_COLUMNS, in order.
pub(super) fn chunks<'a>(record: &Record<'a>) -> Result<Vec<Chunk<'a>>, Malformed> {
    let (offsets, lens) = (record.element(0), record.element(1));
    let count = record.element_count().saturating_sub(4) / 2;
    if offsets.len() / 4 < count || lens.len() / 2 < count {
        return Err(fail(format!("{count} chunks, {} offsets, {} lengths", offsets.len() / 4, lens.len() / 2)));
    }
    let mut elements = record.elements().skip(4);
    let mut chunks: Vec<Chunk<'a>> = Vec::with_capacity(count);
    for k in 0..count {
        chunks.push(Chunk {
            old_offset: usize::from(u16_at(offsets, 4 * k, "old offset")?),
            new_offset: usize::from(u16_at(offsets, 4 * k + 2, "new offset")?),
            old_len: usize::from(u16_at(lens, 2 * k, "old length")?),
            before: elements.next().unwrap_or_default(),
            after: elements.next().unwrap_or_default(),
        });
    }
    Ok(chunks)
}

pub(super) fn modify_columns(
    page: &mut PageBytes,
    record: &Record<'_>,
    op: &PageOp,
    mut images: Option<&mut RowImages>,
) -> Result<(), Malformed> {
    let slot = op.row.slot;
    let chunks = chunks(record)?;
    let mut rows = PageRows::new(page)?;
    if rows.is_unknown(slot) {
        return Ok(());
    }
    let is_map = matches!(record.op, Op::CLEAR_GAM_BITS);
    let Some(row) = (if is_map { rows.to_end(slot)? } else { rows.row(slot)? }) else {
        return Err(fail(format!("slot {slot} is free")));
    };
    if is_map {
        for chunk in chunks {
            rows.patch(slot, chunk.old_offset, chunk.after)?;
        }
        return Ok(());
    }
    if let Some(images) = &mut images {
        images.before.extend_from_slice(row);
    }
    let new = columns_modified(row, &chunks, compares(record, op))?;
    rows.check_compressed(&new)?;
    rows.replace(slot, &new)?;
    became(images, &rows, slot)
}

fn columns_modified(row: &[u8], chunks: &[Chunk<'_>], compare: bool) -> Result<Vec<u8>, Malformed> {
    let mut new = Vec::with_capacity(row.len());
    let mut at = 0;
    for chunk in chunks {
        crate::bytes::slice(row, chunk.old_offset, chunk.old_len, "changed columns")?;
        if compare && !has_bytes(row, chunk.old_offset, chunk.before) {
            return Err(fail(format!("the bytes at {} of the row are not those to change", chunk.old_offset)));
        }
        let Some(kept) = row.get(at..chunk.old_offset) else {
            return Err(fail(format!(
                "the chunk at {} begins before {at}, where the last one ended",
                chunk.old_offset
            )));
        };
        new.extend_from_slice(kept);
        if new.len() != chunk.new_offset {
            return Err(fail(format!("a chunk comes to {}, the record says {}", new.len(), chunk.new_offset)));
        }
        new.extend_from_slice(chunk.after);
        at = chunk.old_offset.saturating_add(chunk.old_len);
    }
    new.extend_from_slice(row.get(at..).unwrap_or_default());
    if new.len() > crate::page::PAGE_SIZE {
        return Err(fail("the row would be longer than a page"));
    }
    mend_blob_length(&mut new);
    Ok(new)
}

//! Changes of pages as a whole: headers, allocation maps, the records of base tables that point to pages.
//!
//! The maps are records, too: bit and byte positions count from the begin of the record, with its 4 bytes of header.
//! An IAM page has two of them, which FORMAT_PAGE makes: the extent that it begins at and single pages in slot 0, the
//! map of extents in slot 1.

use super::rows::PageRows;
use crate::bytes::{Malformed, slice, u8_at, u16_at};
use crate::log::record::{PageOp, Record};
use crate::page::{HEADER_SIZE, PAGE_SIZE, PageBytes, PageType};

const IAM_HEADER_LEN: u16 = 94;
const IAM_MAP_LEN: u16 = 7992;
const IAM_START_AT: usize = 40;

pub(super) fn format(page: &mut PageBytes, record: &Record<'_>, op: &PageOp) -> Result<(), Malformed> {
    let bytes = record.bytes();
    page.fill(0);
    match record.element(0) {
        [] => {}
        image => {
            // Header and rows, then the slots as they stand on the page.
            let slots = record.element(1);
            let rows = page.get_mut(..image.len()).filter(|_| image.len() + slots.len() <= PAGE_SIZE);
            let Some(rows) = rows.filter(|_| image.len() >= HEADER_SIZE) else {
                let why = format!("a page image of {} and {} bytes", image.len(), slots.len());
                return Err(Malformed::new(why, 0));
            };
            rows.copy_from_slice(image);
            page[PAGE_SIZE - slots.len()..].copy_from_slice(slots);
            return Ok(());
        }
    }
    page[0] = 1;
    page[1..4].copy_from_slice(slice(bytes, 48, 3, "page type")?);
    page[6..8].copy_from_slice(&op.index_id.to_le_bytes());
    // Previous page, length of the fixed part, next page: 14 bytes from 8 on, as in the record.
    page[8..22].copy_from_slice(slice(bytes, 52, 14, "links of the page")?);
    page[24..28].copy_from_slice(&op.obj_id.to_le_bytes());
    page[30..32].copy_from_slice(&(HEADER_SIZE as u16).to_le_bytes());
    page[32..38].copy_from_slice(&op.row.page.to_bytes());
    if u8_at(bytes, 48, "page type")? == PageType::IAM.0 {
        let mut header = [0u8; IAM_HEADER_LEN as usize];
        header[2..4].copy_from_slice(&IAM_HEADER_LEN.to_le_bytes());
        header[IAM_START_AT..IAM_START_AT + 6].copy_from_slice(slice(bytes, 68, 6, "begin of the map")?);
        let mut map = [0u8; IAM_MAP_LEN as usize];
        map[2..4].copy_from_slice(&IAM_MAP_LEN.to_le_bytes());
        let mut rows = PageRows::new(page)?;
        rows.insert(0, &header)?;
        rows.insert(1, &map)?;
    }
    Ok(())
}

pub(super) fn modify_header(page: &mut PageBytes, record: &Record<'_>) -> Result<(), Malformed> {
    let offset = usize::from(record.u16_at(56, "offset in the header")?);
    let after = record.element(1);
    match offset.checked_add(after.len()).filter(|&end| end <= HEADER_SIZE).and_then(|end| page.get_mut(offset..end)) {
        Some(field) => {
            field.copy_from_slice(after);
            Ok(())
        }
        None => Err(Malformed::new(format!("{} bytes at {offset} are not in the page header", after.len()), offset)),
    }
}

/// SET_BITS: first bit, number of bits, their value.
pub(super) fn set_bits(page: &mut PageBytes, record: &Record<'_>, slot: u16) -> Result<(), Malformed> {
    let value = record.u16_at(52, "bit value")? & 1 != 0;
    write_bits(page, record, slot, value)
}

/// Gives the bits of a SET_BITS a value.
pub(super) fn write_bits(page: &mut PageBytes, record: &Record<'_>, slot: u16, value: bool) -> Result<(), Malformed> {
    let first = usize::from(record.u16_at(48, "first bit")?);
    let count = usize::from(record.u16_at(50, "bit count")?);
    let mut rows = PageRows::new(page)?;
    for bit in first..first + count {
        let Some(&byte) = rows.to_end(slot)?.and_then(|map| map.get(bit / 8)) else {
            return Err(Malformed::new(format!("bit {bit} lies outside the map"), bit / 8));
        };
        let mask = 1 << (bit % 8);
        rows.patch(slot, bit / 8, &[if value { byte | mask } else { byte & !mask }])?;
    }
    Ok(())
}

/// SET_FREE_SPACE: offset in the map, new byte, old byte.
pub(super) fn set_free_space(page: &mut PageBytes, record: &Record<'_>, slot: u16) -> Result<(), Malformed> {
    let offset = usize::from(record.u16_at(48, "offset in the map")?);
    let [new, _] = record.u16_at(50, "free space")?.to_le_bytes();
    PageRows::new(page)?.patch(slot, offset, &[new])
}

/// ROOT_CHANGE: @72 the page that a row of `sysallocunits` points to now, @80 before, @88 offset in the row.
pub(super) fn root_change(page: &mut PageBytes, record: &Record<'_>, slot: u16) -> Result<(), Malformed> {
    let new = slice(record.bytes(), 72, 6, "new page")?;
    let offset = usize::from(u16_at(record.bytes(), 88, "offset in the row")?);
    let mut rows = PageRows::new(page)?;
    if rows.is_unknown(slot) {
        return Ok(());
    }
    let len = rows.row(slot)?.map_or(0, <[u8]>::len);
    if offset + new.len() > len {
        return Err(Malformed::new(format!("6 bytes at {offset} are to change, the row has {len}"), offset));
    }
    rows.patch(slot, offset, new)
}

/// COUNT_DELTA: counts in a row of a base table, as they are from now on.
///
/// ```text
/// 48        56              72   80                 88
/// +---------+---------------+----+------------------+---------------------------------
/// | kind    | unit, rowset  | 0  | (column, kind 2) | value u64, offset u32, size u32, ...
/// +---------+---------------+----+------------------+---------------------------------
/// ```
///
/// Kinds: 0, 3, 4 pages in a row of `sysallocunits`; 1 rows in `sysrowsets` (its size is 0, and means 8); 2 changes of a column in
/// `sysrscols`. Other kinds change the page's LSN alone. Observed on 2008 to 2019: the last ones leave the counts of the data file.
pub(super) fn count_delta(page: &mut PageBytes, record: &Record<'_>, slot: u16) -> Result<(), Malformed> {
    const PAIR: usize = 16;
    let first = match record.u32_at(48, "kind of count")? {
        0 | 1 | 3 | 4 => 80,
        2 => 88,
        _ => return Ok(()),
    };
    let mut rows = PageRows::new(page)?;
    let Some(len) = rows.row(slot)?.map(<[u8]>::len) else { return Ok(()) };
    for at in (first..record.fixed_len().saturating_sub(PAIR) + 1).step_by(PAIR) {
        let offset = record.u32_at(at + 8, "offset of a count")? as usize;
        let size = record.u32_at(at + 12, "size of a count")?;
        if offset == 0 {
            break;
        }
        if !matches!(size, 0 | 8) || offset.saturating_add(8) > len {
            return Err(Malformed::new(format!("a count of {size} bytes at {offset}, the row has {len}"), at));
        }
        rows.patch(slot, offset, &record.u64_at(at, "count")?.to_le_bytes())?;
    }
    Ok(())
}

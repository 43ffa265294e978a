//! Values that are stored outside of their rows, read from pages.

use std::borrow::Cow;

use logferry_mssql_format::bytes::{Malformed, Result};
use logferry_mssql_format::lob::LobRecord;
use logferry_mssql_format::page::{Page, PageBytes, PageId, RowId};
use logferry_mssql_format::row::OffRow;

/// Deeper trees of LOBs cannot be.
const DEPTH_MAX: usize = 8;

/// Where pages come from.
type Pages<'a> = dyn Fn(PageId) -> Result<Cow<'a, PageBytes>> + 'a;

/// The value that a pointer in a row leads to; `None` is NULL.
pub(super) fn read_value(pointer: &OffRow<'_>, pages: &Pages<'_>) -> Result<Option<Vec<u8>>> {
    let mut out = Vec::new();
    if let Some(root) = pointer.root_record()? {
        return Ok(append(pages, root, 0, &mut out)?.then_some(out));
    }
    for link in pointer.links() {
        append(pages, link?.at, 0, &mut out)?;
    }
    Ok(Some(out))
}

fn append(pages: &Pages<'_>, at: RowId, depth: usize, out: &mut Vec<u8>) -> Result<bool> {
    if depth > DEPTH_MAX {
        return Err(Malformed::new("the tree of a LOB is too deep", 0));
    }
    let bytes = pages(at.page)?;
    let page = Page::read(&bytes)?;
    let missing = || Malformed::new(format!("there is no LOB record at {at}"), 0);
    let record = page.row_bytes(at.slot)?.ok_or_else(missing)?;
    match LobRecord::read(record).map_err(|e| e.within(format_args!("LOB record {at}")))? {
        LobRecord::Data(data) => out.extend_from_slice(data),
        LobRecord::Null => return Ok(false),
        LobRecord::Node(node) => {
            for link in node.links() {
                append(pages, link?.at, depth + 1, out)?;
            }
        }
    }
    Ok(true)
}

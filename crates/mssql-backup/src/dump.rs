//! What `inspect` and `dump` show: tables with their counts, rows as JSON lines, a page in readable form.

use std::fmt::Write;

use logferry_mssql_format::page::{PAGE_SIZE, Page, PageId, PageType};
use logferry_mssql_format::render;
use logferry_mssql_format::row::{RecordKind, row_len, stub_target};

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::pages::PageSource;
use crate::scan::{RowCount, read_table};

/// Shows the rows of a table (an index into [`Catalog::tables`]) to `line` as JSON objects, one at a time, without line ends.
///
/// # Errors
/// Where the table cannot be read, and what `line` gives.
pub fn rows<S: PageSource, E: From<Error>>(
    pages: &S,
    catalog: &Catalog,
    table: usize,
    mut line: impl FnMut(&str) -> Result<(), E>,
) -> Result<RowCount, E> {
    let Some(version) = catalog.tables.get(table).map(|table| table.version.clone()) else {
        return Ok(RowCount::default());
    };
    let mut json = String::new();
    read_table(pages, catalog, table, |cells| {
        json.clear();
        render::row(&version, cells, &mut json);
        line(&json)
    })
}

/// A page in readable form: its header, and each slot with its record's kind, length and bytes.
///
/// # Errors
/// Where the page cannot be read. Records that make no sense are shown as such.
pub fn page<S: PageSource>(pages: &S, id: PageId) -> Result<String> {
    let mut bytes = Box::new([0; PAGE_SIZE]);
    pages.read_page(id, &mut bytes)?;
    let page = Page::read(&bytes)?;
    let h = &page.header;
    let mut out = String::new();
    if !h.is_formatted() {
        return Ok(format!("page {id}: never written\n"));
    }
    // Writing to a string cannot fail.
    let _ = writeln!(out, "page {}: {}, level {}, lsn {}", h.id, type_name(h.page_type), h.level, h.lsn);
    let _ = writeln!(
        out,
        "  object {}, index {}, allocation unit {:#x}, prev {}, next {}",
        h.obj_id,
        h.index_id,
        h.alloc_unit(),
        h.prev,
        h.next
    );
    let _ = writeln!(
        out,
        "  {} slots, minimum length {}, free {} bytes from {}, {} ghosts, flags {:#x}, {:?} {:#010x}",
        h.slot_count,
        h.min_len,
        h.free_count,
        h.free_data,
        h.ghost_count,
        h.flags,
        h.protection(),
        h.check
    );
    for slot in 0..page.slot_count() {
        let _ = write!(out, "slot {slot}: ");
        match (page.slot(slot), page.row_bytes(slot)) {
            (Some(offset), Ok(Some(row))) => {
                let kind = RecordKind::of(row.first().copied().unwrap_or_default());
                match row_len(row, h.min_len) {
                    Ok(len) => {
                        let target = stub_target(row).map(|at| format!(" to {at}")).unwrap_or_default();
                        let _ = writeln!(out, "{kind:?}{target} at {offset}, {len} bytes");
                        hex_lines(row.get(..len).unwrap_or(row), &mut out);
                    }
                    Err(e) => {
                        let _ = writeln!(out, "{kind:?} at {offset}: {e}");
                    }
                }
            }
            (_, Err(e)) => {
                let _ = writeln!(out, "{e}");
            }
            _ => out.push_str("free\n"),
        }
    }
    Ok(out)
}

fn type_name(page_type: PageType) -> String {
    match page_type {
        PageType::DATA => "data".to_owned(),
        PageType::INDEX => "index".to_owned(),
        PageType::TEXT_MIX => "text mix".to_owned(),
        PageType::TEXT_TREE => "text tree".to_owned(),
        PageType::SORT => "sort".to_owned(),
        PageType::GAM => "GAM".to_owned(),
        PageType::SGAM => "SGAM".to_owned(),
        PageType::IAM => "IAM".to_owned(),
        PageType::PFS => "PFS".to_owned(),
        PageType::BOOT => "boot".to_owned(),
        PageType::FILE_HEADER => "file header".to_owned(),
        PageType::DIFF_MAP => "differential map".to_owned(),
        PageType::ML_MAP => "minimally logged map".to_owned(),
        PageType(other) => format!("type {other}"),
    }
}

fn hex_lines(bytes: &[u8], out: &mut String) {
    for (line, chunk) in bytes.chunks(32).enumerate() {
        let _ = write!(out, "  {:04x} ", line * 32);
        for four in chunk.chunks(4) {
            out.push(' ');
            for byte in four {
                let _ = write!(out, "{byte:02x}");
            }
        }
        let pad = 72usize.saturating_sub(chunk.len() * 2 + chunk.len().div_ceil(4));
        let _ = write!(out, "{:pad$}  ", "");
        out.extend(chunk.iter().map(|&b| if (0x20..0x7F).contains(&b) { char::from(b) } else { '.' }));
        out.push('\n');
    }
}

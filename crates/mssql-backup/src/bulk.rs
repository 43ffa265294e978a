//! Log backups with pages of minimally logged operations (recovery model `BULK_LOGGED`).
//!
//! Rows that come by such an operation are not in the log: the log backup after it holds the extents that it wrote, as they are when the
//! backup ends. What becomes of these rows until then is in the log, against pages that nobody has. So the task stops where such a log begins, says
//! whose pages they are, and what to do.
//!
//! No such file is at hand. Known is the flag in the set's header, and published that the extents come with the log backup, as pages of a data
//! backup do. It is not known in which order, and whether extents may be among them that the operation did not write: tables may be named too many, the
//! stop does not depend on it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use logferry_model::Lsn;
use logferry_mssql_format::page::{EXTENT_PAGES, PAGE_SIZE, PageHeader, PageId, PageType};

use crate::catalog::Catalog;
use crate::chain::Chain;
use crate::error::Error;
use crate::input::InputFile;
use crate::media::Extent;
use crate::page_index::PageIndex;
use crate::set::BackupSet;

/// Tables, and ranges of pages of each, that are named.
const TABLES_MAX: usize = 20;
const RANGES_MAX: usize = 4;

/// The first log backup of a chain that has such pages, and from where on its log lacks rows: what lies before that is in other sets, too.
pub(crate) fn first(chain: &Chain) -> Option<(Lsn, &BackupSet)> {
    let mut end = chain.base_end();
    for log in &chain.logs {
        if log.header.bulk_logged {
            return Some((log.header.first_lsn.max(end), log));
        }
        end = log.header.last_lsn;
    }
    None
}

/// What stops the task in front of such a log backup.
pub(crate) fn error(from: Lsn, set: &BackupSet, catalog: &Catalog) -> Error {
    let tables = tables(set, catalog).unwrap_or_else(|e| format!("of tables that cannot be told ({e})"));
    Error::BulkLogged { path: set.path().to_owned(), from, tables }
}

/// Whose pages a set holds, in words.
fn tables(set: &BackupSet, catalog: &Catalog) -> Result<String, Error> {
    let mut owners: BTreeMap<String, Vec<(PageId, u32)>> = BTreeMap::new();
    let mut others = 0u64;
    for page in pages(set)? {
        let Some(table) = owner(&page, catalog) else {
            others += 1;
            continue;
        };
        let ranges = owners.entry(table).or_default();
        match ranges.last_mut() {
            Some((first, count)) if first.file == page.id.file && first.page + *count == page.id.page => *count += 1,
            _ => ranges.push((page.id, 1)),
        }
    }
    let mut told = Vec::new();
    for (table, ranges) in owners.iter().take(TABLES_MAX) {
        let mut text = format!("\"{table}\" (pages ");
        for (at, (first, count)) in ranges.iter().take(RANGES_MAX).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            match count {
                1 => write!(text, "{comma}{first}"),
                count => write!(text, "{comma}{first} to {}", PageId::new(first.file, first.page + count - 1)),
            }
            .unwrap_or_default();
        }
        if ranges.len() > RANGES_MAX {
            text.push_str(", ...");
        }
        told.push(text + ")");
    }
    if owners.len() > TABLES_MAX {
        told.push(format!("{} more tables", owners.len() - TABLES_MAX));
    }
    if others > 0 || told.is_empty() {
        told.push(format!("{others} pages of indexes, or of tables that were made later"));
    }
    Ok(told.join(", "))
}

/// The table that has a page.
fn owner(page: &PageHeader, catalog: &Catalog) -> Option<String> {
    let found = catalog.tables.iter().enumerate().find(|(at, _)| {
        // In databases made on SQL Server 2000 the index id of a page may be another than that of its unit.
        catalog
            .rowsets_of(*at)
            .flat_map(|rowset| &rowset.alloc_units)
            .any(|unit| unit.id >> 16 & 0xFFFF_FFFF == u64::from(page.obj_id))
    });
    found.map(|(_, table)| table.version.name.to_string())
}

/// The headers of all pages with rows or large values, in their order; repeated passes are told once.
fn pages(set: &BackupSet) -> Result<Vec<PageHeader>, Error> {
    let parts = set.parts();
    let extents: Vec<Vec<Extent>> = parts.iter().map(|(_, part)| part.passes.concat()).collect();
    let of: Vec<(&InputFile, &[Extent])> =
        parts.iter().zip(&extents).map(|((file, _), extents)| (&**file, extents.as_slice())).collect();
    let index = PageIndex::build(&of)?;
    let mut found = BTreeMap::new();
    for run in index.runs() {
        let Some((file, _)) = parts.get(usize::from(run.stripe)) else { continue };
        for ahead in 0..u64::from(run.extents) * u64::from(EXTENT_PAGES) {
            let mut header = [0u8; 96];
            file.read_exact(run.offset + ahead * PAGE_SIZE as u64, &mut header, "a page")?;
            let Ok(header) = PageHeader::read(&header) else { continue };
            let has_rows =
                matches!(header.page_type, PageType::DATA | PageType::INDEX | PageType::TEXT_MIX | PageType::TEXT_TREE);
            let number = u64::from(run.extent) * u64::from(EXTENT_PAGES) + ahead;
            if has_rows && header.id.file == run.file && u64::from(header.id.page) == number {
                found.insert(header.id, header);
            }
        }
    }
    Ok(found.into_values().collect())
}

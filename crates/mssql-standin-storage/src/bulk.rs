//! Rows straight into pages, for data that is too much to be logged row by row.

use std::sync::Arc;

use logferry_model::{Cell, RowRef, RowStore};
use logferry_mssql_format::encode::{ColumnImage, FormatPage, PageImage, encode_index_record, encode_row};
use logferry_mssql_format::log::op::Context;
use logferry_mssql_format::page::{EXTENT_PAGES, PageId, PageType};
use logferry_mssql_format::row::RecordKind;

use super::change::plain_row;
use super::space::{ML_MAP, PFS_ALLOCATED, UnitKind, map_record_bit};
use super::xact::XactOptions;
use super::{By, Database, Error, FILE, Node, ROW_MAX, RowKey};

/// What the log has of a bulk load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkLog {
    /// Nothing: as if it were before the first backup.
    Nothing,
    /// The extents, in the ML map: as under recovery model BULK_LOGGED.
    Extents,
    /// Each page with its rows: as under recovery model FULL. The maps change without a record.
    Pages,
}

impl Database {
    /// Fills an empty table, fast: rows go into pages without log records, as a minimally logged load before the first
    /// backup does. `next` clears the store it gets and puts the next row into it; rows of a keyed table come in the
    /// order of the key. Gives the number of rows.
    ///
    /// The rows are in the pages only: [`Database::rows`] does not show them until [`Database::keep_loaded_rows`]. They can be
    /// changed like others.
    ///
    /// # Errors
    /// When the table is not empty, a row does not fit on a page, or keys do not ascend from one page to the next.
    pub fn bulk_load(&mut self, table: u32, next: impl FnMut(&mut RowStore) -> Option<RowRef>) -> Result<u64, Error> {
        self.bulk_load_with(table, BulkLog::Nothing, next)
    }

    /// The same, with something of it in the log.
    ///
    /// # Errors
    /// As [`Self::bulk_load`].
    pub fn bulk_load_with(
        &mut self,
        table: u32,
        log: BulkLog,
        mut next: impl FnMut(&mut RowStore) -> Option<RowRef>,
    ) -> Result<u64, Error> {
        self.writable()?;
        let held = self.table_at(table)?;
        let (rowset, name) = (held.rowset, held.def.name.clone());
        if !self.rowset(rowset).levels.is_empty() {
            return Err(Error::Unsupported(format!("loading into table {name}, which has rows")));
        }
        if !self.kept_indexes(table).is_empty() {
            return Err(Error::Unsupported(format!("loading into table {name}, which has nonclustered indexes")));
        }
        let layout = Arc::clone(&self.rowset(rowset).layout);
        if layout.nulls {
            return Err(Error::Unsupported(format!(
                "loading into table {name}, whose clustered index is no primary key"
            )));
        }
        let heap = layout.key.is_empty();
        let xact = self.begin(XactOptions { name: "BULK INSERT", spid: 52 });
        let by = By::Xact(xact.0);
        let mut page = self.take_first_page(xact.0, rowset, UnitKind::InRow);
        let lsn = self.page(page).lsn();
        let mut image = self.pages[page as usize].take().expect("it was just formatted");
        let (mut store, mut row, mut count) = (RowStore::new(), Vec::new(), 0u64);
        while let Some(at) = next(&mut store) {
            let view = store.row(at);
            let images: Vec<ColumnImage<'_>> = layout
                .columns
                .iter()
                .map(|c| match c.logical.map_or(Cell::Null, |at| view.cell(at)) {
                    Cell::Bytes(b) => ColumnImage::Bytes(b),
                    Cell::Null | Cell::Unchanged => ColumnImage::Null,
                })
                .collect();
            row.clear();
            encode_row(&layout.row, &images, None, &mut row);
            if row.len() > ROW_MAX {
                return Err(Error::RowTooLong(row.len()));
            }
            if image.free() < row.len() + 2 {
                let new = self.bulk_page(rowset);
                let prev = if heap { PageId::default() } else { PageId::new(FILE, page) };
                if !heap {
                    image.set_next(PageId::new(FILE, new));
                }
                let fresh = self.bulk_image(rowset, new, PageType::DATA, 0, prev, layout.row.fixed_end);
                self.bulk_done(page, std::mem::replace(&mut image, fresh), lsn);
                page = new;
                let low = if heap { Vec::new() } else { layout.key_of_image(&row) };
                let leaves = &mut self.rowset_mut(rowset).levels[0];
                if !heap && leaves[leaves.len() - 1].low >= low {
                    return Err(Error::DuplicateKey(name));
                }
                leaves.push(Node { low, page });
            }
            image.insert(image.slot_count(), &row);
            count += 1;
        }
        self.bulk_done(page, image, lsn);
        if !heap {
            self.bulk_upper_levels(by, rowset, lsn);
        }
        match log {
            BulkLog::Nothing => {}
            BulkLog::Extents => {
                for extent in self.unit(rowset, UnitKind::InRow).extents.clone() {
                    self.write_page(by, ML_MAP, 1, |r, h, t| {
                        r.set_bits(h, Context::ML_MAP, t, map_record_bit(extent), true, None);
                    });
                    self.set_map_bit(ML_MAP, extent, true);
                }
            }
            BulkLog::Pages => {
                let context = if heap { Context::HEAP } else { Context::CLUSTERED };
                let leaves: Vec<u32> = self.rowset(rowset).levels[0].iter().map(|leaf| leaf.page).collect();
                for page in leaves {
                    self.log_page(by, context, page);
                }
            }
        }
        let held = self.rowset_mut(rowset);
        held.rows = count as i64;
        held.counted = false;
        self.tables.get_mut(&table).expect("it was there").loaded = true;
        self.commit(xact)?;
        self.checkpoint();
        Ok(count)
    }

    /// Keeps the rows that were loaded in bulk beside their pages, too, as all others are: from now on queries see them.
    pub fn keep_loaded_rows(&mut self) {
        let loaded: Vec<u32> = self.tables.iter().filter(|(_, t)| t.loaded).map(|(id, _)| *id).collect();
        for table in loaded {
            let rowset = self.tables[&table].rowset;
            let layout = Arc::clone(&self.rowset(rowset).layout);
            let leaves: Vec<u32> = self.rowset(rowset).levels.first().into_iter().flatten().map(|n| n.page).collect();
            let mut rows = Vec::new();
            for page in leaves {
                let image = self.page(page);
                for slot in 0..image.slot_count() {
                    let Some(row) = image.row(slot).filter(|row| !RecordKind::of(row[0]).is_ghost()) else { continue };
                    let key = match layout.key.is_empty() {
                        true => RowKey::Rid(super::rid(page, slot)),
                        false => RowKey::Key(layout.key_of_image(row)),
                    };
                    rows.push((key, plain_row(&layout, row)));
                }
            }
            let held = self.tables.get_mut(&table).expect("it was there");
            for (key, row) in rows {
                // What was changed since the load is there already.
                held.committed.entry(key).or_insert_with(|| Arc::new(row));
            }
            held.loaded = false;
        }
    }

    /// Builds the upper levels of a tree over its leaves.
    fn bulk_upper_levels(&mut self, by: By, rowset: u64, lsn: logferry_model::Lsn) {
        let layout = Arc::clone(&self.rowset(rowset).layout);
        let min_len = layout.key_entry.fixed_end + 6;
        let mut level = 0;
        while self.rowset(rowset).levels[level].len() > 1 {
            let below = self.rowset(rowset).levels[level].clone();
            level += 1;
            let mut nodes: Vec<Node> = Vec::new();
            let mut open: Option<(u32, PageImage)> = None;
            for node in below {
                // The first entry of a level stands for all that is lower, and has no key.
                let values = match (node.low.is_empty(), level) {
                    (true, _) => Vec::new(),
                    (false, _) => layout.key_values(self.first_row(rowset, level - 1, node.page)),
                };
                let images = super::tree::images_of(&values);
                let mut entry = Vec::new();
                let child = Some(PageId::new(FILE, node.page).to_bytes());
                let nulls = layout.null_keys() && !values.is_empty();
                encode_index_record(&layout.key_entry, &images, nulls, child, &mut entry);
                if open.as_ref().is_none_or(|(_, image)| image.free() < entry.len() + 2) {
                    let new = self.bulk_page(rowset);
                    let mut prev = PageId::default();
                    if let Some((page, mut image)) = open.take() {
                        image.set_next(PageId::new(FILE, new));
                        self.bulk_done(page, image, lsn);
                        prev = PageId::new(FILE, page);
                    }
                    let image = self.bulk_image(rowset, new, PageType::INDEX, level as u8, prev, min_len);
                    open = Some((new, image));
                    nodes.push(Node { low: node.low.clone(), page: new });
                }
                let (_, image) = open.as_mut().expect("a page is open");
                image.insert(image.slot_count(), &entry);
            }
            if let Some((page, image)) = open {
                self.bulk_done(page, image, lsn);
            }
            let unit = self.unit_mut(rowset, UnitKind::InRow);
            unit.data -= nodes.len() as i64;
            self.rowset_mut(rowset).levels.push(nodes);
        }
        let root = self.rowset(rowset).levels[level][0].page;
        if root != self.unit(rowset, UnitKind::InRow).root {
            self.change_root(by, rowset, UnitKind::InRow, 33, root);
        }
    }

    /// The first row below a page of a level.
    fn first_row(&self, rowset: u64, level: usize, page: u32) -> &[u8] {
        let levels = &self.rowset(rowset).levels;
        let low = &levels[level].iter().find(|n| n.page == page).expect("it is on its level").low;
        let leaf = levels[0].partition_point(|n| n.low < *low);
        self.page(levels[0][leaf].page).row(0).expect("loaded pages have rows")
    }

    fn bulk_image(
        &self,
        rowset: u64,
        page: u32,
        page_type: PageType,
        level: u8,
        prev: PageId,
        min_len: u16,
    ) -> PageImage {
        let unit = self.unit(rowset, UnitKind::InRow);
        PageImage::format(&FormatPage {
            id: PageId::new(FILE, page),
            page_type,
            type_flags: 0,
            level,
            obj_id: unit.obj_id(),
            index_id: unit.index_id(),
            prev,
            next: PageId::default(),
            min_len,
        })
    }

    fn bulk_done(&mut self, page: u32, mut image: PageImage, lsn: logferry_model::Lsn) {
        image.set_lsn(lsn);
        self.pages[page as usize] = Some(image);
        // Full, as far as heaps are asked.
        self.set_pfs(page, PFS_ALLOCATED | 4);
    }

    /// A page of the rowset's extents, or of a new one; the maps change without a record.
    fn bulk_page(&mut self, rowset: u64) -> u32 {
        if self.unit(rowset, UnitKind::InRow).free.is_empty() {
            let extent = self.free_extent();
            self.take_extent_unlogged(extent, self.unit(rowset, UnitKind::InRow).iam);
            let first = extent * EXTENT_PAGES;
            let unit = self.unit_mut(rowset, UnitKind::InRow);
            unit.extents.push(extent);
            unit.reserved += i64::from(EXTENT_PAGES);
            unit.free = (first..first + EXTENT_PAGES).rev().collect();
        }
        let unit = self.unit_mut(rowset, UnitKind::InRow);
        unit.used += 1;
        unit.data += 1;
        unit.free.pop().expect("an extent has pages")
    }
}

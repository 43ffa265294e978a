//! Pages that become full: half of their rows, or the row that is about to come, go to a page of their own, which the level above hears of.

use logferry_mssql_format::encode::encode_index_record;
use logferry_mssql_format::log::op::Context;
use logferry_mssql_format::page::{PageId, PageType};
use logferry_mssql_format::row::RecordKind;

use super::super::space::UnitKind;
use super::super::xact::SystemXact;
use super::super::{By, Database, FILE, Node};
use super::images_of;

/// What is about to go to a page: its key, and an entry for it in the level above, the child page left open.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    low: Vec<u8>,
    entry: Vec<u8>,
}

impl Pending {
    fn entry_for(&self, child: u32, fixed_end: u16) -> Vec<u8> {
        let mut entry = self.entry.clone();
        entry[usize::from(fixed_end)..][..6].copy_from_slice(&PageId::new(FILE, child).to_bytes());
        entry
    }
}

impl Database {
    /// Splits a page in a system transaction. `pending` is about to come at `slot`, or the row there is about to grow.
    pub(super) fn split(
        &mut self,
        xact: u64,
        rowset: u64,
        level: usize,
        at: usize,
        slot: u16,
        pending: Option<&Pending>,
    ) {
        let page = self.rowset(rowset).levels[level][at].page;
        let rows = self.page(page).slot_count();
        // What comes behind the last row gets a page of its own; else half of the bytes move.
        let (from, first) = match pending {
            Some(pending) if slot == rows => (rows, pending.clone()),
            _ => {
                let from = self.middle_slot(page);
                (from, self.entry_of(rowset, level, at, from))
            }
        };
        if level + 1 == self.rowset(rowset).levels.len() {
            self.add_root(xact, rowset);
        }
        let (upper, upper_slot) = loop {
            let (upper, upper_slot) = self.upper_place(rowset, level, at, &first.low);
            let page = self.rowset(rowset).levels[level + 1][upper].page;
            if self.page(page).free() >= first.entry.len() + 2 {
                break (page, upper_slot);
            }
            self.split(xact, rowset, level + 1, upper, upper_slot, Some(&first));
        };
        self.move_rows(xact, rowset, level, at, from, &first, (upper, upper_slot));
    }

    /// Moves the rows from a slot on to a new page to the right.
    #[allow(clippy::too_many_arguments)]
    fn move_rows(
        &mut self,
        xact: u64,
        rowset: u64,
        level: usize,
        at: usize,
        from: u16,
        first: &Pending,
        (upper, upper_slot): (u32, u16),
    ) {
        let page = self.rowset(rowset).levels[level][at].page;
        let right = self.page(page).header().next;
        let context = if level == 0 { self.leaf_context(rowset) } else { Context::INDEX_INTERIOR };
        let xact = self.begin_system(xact, "SplitPage", SystemXact::Nested);
        let by = By::Xact(xact);
        self.in_sys_xact(by, upper, Context::INDEX_INTERIOR, true);
        self.in_sys_xact(by, page, context, true);
        if !right.is_none() {
            self.in_sys_xact(by, right.page, context, true);
        }
        let new = self.take_page(by, rowset, UnitKind::InRow, level == 0);
        let header = self.page(page).header();
        let links = (PageId::new(FILE, page), right);
        let kind = header.page_type;
        // To which no rows move: the new row follows all others.
        let follows = context == Context::CLUSTERED && from == self.page(page).slot_count();
        let formatted = if follows { Context::HEAP } else { context };
        self.format_page(by, rowset, UnitKind::InRow, new, formatted, kind, header.level, links, header.min_len);
        self.in_sys_xact(by, new, context, true);

        let rows = self.page(page).slot_count();
        let moved: Vec<Vec<u8>> =
            (from..rows).map(|s| self.page(page).row(s).expect("trees have no free slots").to_vec()).collect();
        if !moved.is_empty() {
            let images: Vec<&[u8]> = moved.iter().map(Vec::as_slice).collect();
            self.write_page(by, new, 0, |r, h, t| {
                r.insert_rows(h, context, t, 0, 0, &images, &[]);
            });
            for (slot, row) in images.iter().enumerate() {
                self.page_mut(new).insert(slot as u16, row);
            }
            let bytes: usize = images.iter().map(|r| r.len()).sum();
            self.write_page(by, page, from, |r, h, t| {
                r.delete_split(h, context, t, PageId::new(FILE, new), images.len() as u16, bytes as u16);
            });
            for slot in (from..rows).rev() {
                self.page_mut(page).remove(slot);
            }
        }
        let new_id = PageId::new(FILE, new);
        self.link(by, page, 16, right, new_id);
        if !right.is_none() {
            self.link(by, right.page, 8, PageId::new(FILE, page), new_id);
        }
        let entry = first.entry_for(new, self.rowset(rowset).layout.key_entry.fixed_end);
        self.write_page(by, upper, upper_slot, |r, h, t| {
            r.insert_rows(h, Context::INDEX_INTERIOR, t, rowset, 0, &[&entry], &[]);
        });
        self.page_mut(upper).insert(upper_slot, &entry);

        self.in_sys_xact(by, new, context, false);
        if !right.is_none() {
            self.in_sys_xact(by, right.page, context, false);
        }
        self.in_sys_xact(by, page, context, false);
        self.in_sys_xact(by, upper, Context::INDEX_INTERIOR, false);
        self.end_system(xact);
        self.rowset_mut(rowset).levels[level].insert(at + 1, Node { low: first.low.clone(), page: new });
        if level == 0 && self.page(page).ghosts() > 0 {
            let ghosts = moved.iter().filter(|row| RecordKind::of(row[0]).is_ghost()).count() as u16;
            let left = self.page(page).ghosts() - ghosts;
            self.page_mut(page).set_ghosts(left);
            self.page_mut(new).set_ghosts(ghosts);
            self.note_ghosts(page, rowset);
            self.note_ghosts(new, rowset);
        }
    }

    /// Puts a new root above the old one.
    fn add_root(&mut self, xact: u64, rowset: u64) {
        let levels = &self.rowset(rowset).levels;
        let (level, old) = (levels.len(), levels[levels.len() - 1][0].page);
        // That is how servers of 2016 and 2019 write the name.
        let xact = self.begin_system(xact, "BTreeMgr::SplitRoo", SystemXact::Nested);
        let by = By::Xact(xact);
        let page = self.take_root_page(by, rowset);
        let min_len = self.rowset(rowset).layout.key_entry.fixed_end + 6;
        let none = (PageId::default(), PageId::default());
        let context = Context::INDEX_INTERIOR;
        self.format_page(by, rowset, UnitKind::InRow, page, context, PageType::INDEX, level as u8, none, min_len);
        self.in_sys_xact(by, page, context, true);
        let mut entry = Vec::new();
        let child = Some(PageId::new(FILE, old).to_bytes());
        encode_index_record(&self.rowset(rowset).layout.key_entry, &[], false, child, &mut entry);
        self.write_page(by, page, 0, |r, h, t| {
            r.insert_rows(h, context, t, rowset, 0, &[&entry], &[]);
        });
        self.page_mut(page).insert(0, &entry);
        self.change_root(by, rowset, UnitKind::InRow, 33, page);
        self.in_sys_xact(by, page, context, false);
        self.end_system(xact);
        self.rowset_mut(rowset).levels.push(vec![Node { low: Vec::new(), page }]);
    }

    /// Where the entry of a page that is to follow the one at `at`, and begins with `low`, belongs: which page of the level above, and
    /// its slot. That may be a page which a split has just made for this entry, and which is empty.
    fn upper_place(&self, rowset: u64, level: usize, at: usize, low: &[u8]) -> (usize, u16) {
        let levels = &self.rowset(rowset).levels;
        let upper = levels[level + 1].partition_point(|n| n.low.as_slice() <= low) - 1;
        let first = self.first_child(rowset, level, upper);
        (upper, (at + 1 - first) as u16)
    }

    /// The lowest key and the entry for the level above, were a page to begin with this slot.
    fn entry_of(&self, rowset: u64, level: usize, at: usize, slot: u16) -> Pending {
        let page = self.rowset(rowset).levels[level][at].page;
        let row = self.page(page).row(slot).expect("trees have no free slots");
        if level == 0 {
            return self.pending(rowset, row);
        }
        let child = self.first_child(rowset, level - 1, at) + usize::from(slot);
        Pending { low: self.rowset(rowset).levels[level - 1][child].low.clone(), entry: row.to_vec() }
    }

    pub(super) fn pending(&self, rowset: u64, row: &[u8]) -> Pending {
        let layout = &self.rowset(rowset).layout;
        let values = layout.key_values(row);
        let mut entry = Vec::new();
        encode_index_record(&layout.key_entry, &images_of(&values), layout.null_keys(), Some([0; 6]), &mut entry);
        Pending { low: layout.key_of_image(row), entry }
    }

    /// The slot from which on about half of the bytes are; 0 only where there is but one row.
    fn middle_slot(&self, page: u32) -> u16 {
        let image = self.page(page);
        let lengths: Vec<usize> = (0..image.slot_count()).map(|s| image.row(s).map_or(0, <[u8]>::len)).collect();
        let half = lengths.iter().sum::<usize>() / 2;
        let mut sum = 0;
        for (slot, len) in lengths.iter().enumerate() {
            sum += len;
            if sum >= half {
                return (slot + 1).min(lengths.len() - 1) as u16;
            }
        }
        0
    }
}

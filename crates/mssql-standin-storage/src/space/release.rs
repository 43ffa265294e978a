//! Pages that are given back, and how full the others are.

use logferry_mssql_format::log::op::Context;
use logferry_mssql_format::page::EXTENT_PAGES;

use super::super::xact::Undo;
use super::super::{By, Database};
use super::{
    AllocUnit, GAM, PFS_ALLOCATED, PFS_FULL, PFS_GHOSTS, PFS_HAS_GHOSTS, PFS_IAM, PFS_MIXED, UnitKind, extent_lock,
    map_record_bit, page_lock,
};

impl Database {
    /// Gives pages of an allocation unit back, as TRUNCATE TABLE does: the pages keep what is on them.
    pub(crate) fn release_unit(&mut self, by: By, rowset: u64, kind: UnitKind) {
        let unit = self.unit(rowset, kind).clone();
        if unit.iam == 0 {
            return;
        }
        self.release_pages(by, rowset, &unit);
        let fresh = AllocUnit::new(unit.id);
        *self.unit_mut(rowset, kind) = fresh;
    }

    /// The same, of an allocation unit that may be no rowset's any more.
    pub(crate) fn release_pages(&mut self, by: By, rowset: u64, unit: &AllocUnit) {
        for extent in &unit.extents {
            let was = self.last_lsn(by);
            self.set_bit_of_iam(by, unit.iam, *extent, false);
            let undo = Undo::Bit { map: (unit.iam, Context::IAM), extent: *extent, on: true, unit: unit.target() };
            self.undoable(by, was, undo);
            let was = self.last_lsn(by);
            let first = extent * EXTENT_PAGES;
            let pages = first..first + EXTENT_PAGES;
            let before: Vec<u8> = pages.clone().map(|p| self.pfs(p)).collect();
            let after: Vec<u8> = before.iter().map(|b| b & !(PFS_ALLOCATED | PFS_GHOSTS)).collect();
            let (map, offset) = Self::pfs_of(first);
            self.write_page_of(by, map, 0, Some(unit.target()), |r, h, t| {
                r.modify_special(h, Context::PFS, t, offset, (&before, &after), &[], 3);
            });
            self.undoable(by, was, Undo::Space { rowset, first, before, unit: unit.target() });
            for (page, byte) in pages.zip(after) {
                self.set_pfs(page, byte);
                self.reserved.remove(&page);
                self.ghost_pages.remove(&page);
            }
            let was = self.last_lsn(by);
            self.write_page_of(by, GAM, 1, Some(unit.target()), |r, h, t| {
                r.set_bits(h, Context::GAM, t, map_record_bit(*extent), true, Some(&extent_lock(first)));
            });
            self.undoable(
                by,
                was,
                Undo::Bit { map: (GAM, Context::GAM), extent: *extent, on: false, unit: unit.target() },
            );
            self.set_map_bit(GAM, *extent, true);
            self.hold_extent(by, *extent);
        }
        let (iam, was) = (unit.iam, self.last_lsn(by));
        let before = vec![self.pfs(iam)];
        self.change_pfs(by, iam, PFS_MIXED | PFS_IAM, None, &page_lock(iam, rowset)[..10]);
        self.undoable(by, was, Undo::Space { rowset, first: iam, before, unit: (99, 0) });
        self.hold_mixed(by, iam);
    }

    /// Gives one page of an extent back: the allocation unit may take it again.
    pub(crate) fn give_page_back(&mut self, by: By, rowset: u64, kind: UnitKind, page: u32) {
        let target = self.unit(rowset, kind).target();
        let new = self.pfs(page) & !PFS_ALLOCATED;
        self.change_pfs(by, page, new, Some(target), &page_lock(page, rowset));
        let counts = self.unit_mut(rowset, kind);
        counts.free.push(page);
        counts.used -= 1;
        counts.data -= 1;
        self.rowset_mut(rowset).counted = false;
        self.write(by, |r, h| {
            r.hobt_delta(h, rowset, [0, -1, -1, 0]);
        });
    }

    /// Notes a heap or LOB page's fullness in its PFS page.
    pub(crate) fn note_fullness(&mut self, page: u32) {
        // By the bytes that are free: up to 50, 80, 95 and 100 % are used.
        let fullness = match self.page(page).free() {
            8096.. => 0,
            4048.. => 1,
            1619.. => 2,
            404.. => 3,
            _ => 4,
        };
        let old = self.pfs(page);
        let new = old & !PFS_FULL | fullness;
        if new != old {
            let (map, offset) = Self::pfs_of(page);
            self.write_page_of(By::None, map, 0, Some((99, 0)), |r, _, t| {
                r.set_free_space(t, offset, new, old);
            });
            self.set_pfs(page, new);
        }
    }

    /// Notes in the PFS page whether a page has ghosts.
    pub(crate) fn note_ghosts(&mut self, page: u32, rowset: u64) {
        let has = self.page(page).ghosts() > 0;
        if has {
            self.ghost_pages.insert(page, rowset);
        } else {
            self.ghost_pages.remove(&page);
        }
        let old = self.pfs(page);
        if (old & PFS_GHOSTS != 0) != has {
            let (map, offset) = Self::pfs_of(page);
            if has && self.page(map).bytes()[PFS_HAS_GHOSTS] == 0 {
                self.note_interval(map, true);
            }
            let header = self.page(page).header();
            self.write_page_of(By::None, map, 0, Some((header.obj_id, header.index_id)), |r, h, t| {
                r.set_bits(h, Context::PFS, t, offset * 8 + 3, has, None);
            });
            self.set_pfs(page, old & !PFS_GHOSTS | if has { PFS_GHOSTS } else { 0 });
            let mut others = self.ghost_pages.keys().filter(|p| Self::pfs_of(**p).0 == map);
            if !has && others.next().is_none() {
                self.note_interval(map, false);
            }
        }
    }

    /// Notes in the header of a PFS page whether any of its pages has ghosts.
    pub(super) fn note_interval(&mut self, map: u32, has: bool) {
        let (before, after) = ([u8::from(!has)], [u8::from(has)]);
        self.write_page_of(By::None, map, 0, Some((99, 0)), |r, h, t| {
            r.modify_header(h, Context::PFS, t, PFS_HAS_GHOSTS as u16, &before, &after);
        });
        self.page_mut(map).bytes_mut()[PFS_HAS_GHOSTS] = after[0];
    }
}

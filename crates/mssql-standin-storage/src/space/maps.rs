//! The maps: which extents and pages are taken (GAM, SGAM, PFS, IAM), which changed; the file that grows.

use logferry_mssql_format::encode::{
    FileHeader, GAM_EXTENTS, MAP_BITS_OFFSET, PFS_PAGES, bitmap_page, file_header_page, pfs_page,
};
use logferry_mssql_format::log::op::Context;
use logferry_mssql_format::page::{EXTENT_PAGES, HEADER_SIZE, PageId, PageType};

use super::super::xact::SystemXact;
use super::super::{By, Database, FILE};
use super::{
    DIFF_MAP, GAM, GROWTH, ML_MAP, PFS, PFS_ALLOCATED, PFS_IAM, PFS_MIXED, SGAM, UnitKind, extent_lock, map_record_bit,
    page_lock,
};

impl Database {
    /// The pages that every data file begins with.
    pub(crate) fn create_maps(&mut self) {
        self.pages.resize(self.options.pages.next_multiple_of(EXTENT_PAGES).max(64) as usize, None);
        let extents = self.pages.len() as u32 / EXTENT_PAGES;
        let id = |page| PageId::new(FILE, page);
        self.pages[PFS as usize] = Some(pfs_page(id(PFS)));
        self.pages[GAM as usize] = Some(bitmap_page(id(GAM), PageType::GAM, GAM_EXTENTS, true));
        self.pages[SGAM as usize] = Some(bitmap_page(id(SGAM), PageType::SGAM, extents, false));
        self.pages[DIFF_MAP as usize] = Some(bitmap_page(id(DIFF_MAP), PageType::DIFF_MAP, extents, true));
        self.pages[ML_MAP as usize] = Some(bitmap_page(id(ML_MAP), PageType::ML_MAP, extents, false));
        self.write_file_header();
        for extent in 0..2 {
            self.set_map_bit(GAM, extent, false);
        }
        self.next_extent = 2;
        for page in 0..8 {
            self.set_pfs(page, PFS_ALLOCATED | 4);
        }
        self.set_pfs(super::super::BOOT_PAGE, PFS_ALLOCATED | PFS_MIXED | 4);
        self.mixed_free = (8..16).filter(|p| *p != super::super::BOOT_PAGE).rev().collect();
    }

    /// Writes page 0 anew.
    pub(crate) fn write_file_header(&mut self) {
        self.pages[0] = Some(file_header_page(&FileHeader {
            binding_id: self.guids.binding,
            file_guid: self.guids.data_file,
            file_id: FILE,
            filegroup_id: 1,
            size: self.pages.len() as u64 * 8192,
            max_pages: u32::MAX,
            growth_pages: GROWTH,
            create_lsn: logferry_model::Lsn::new(self.options.first_vlf, 16, 1),
            fork_guid: self.guids.fork,
            name: self.options.name.clone(),
        }));
    }

    /// Notes in the differential map that a page is about to change.
    pub(crate) fn mark_changed(&mut self, page: u32) {
        let extent = page / EXTENT_PAGES;
        if self.map_bit(DIFF_MAP, extent) {
            return;
        }
        self.write_page(By::None, DIFF_MAP, 1, |r, h, t| {
            r.set_bits(h, Context::DIFF_MAP, t, map_record_bit(extent), true, None);
        });
        self.set_map_bit(DIFF_MAP, extent, true);
    }

    pub(crate) fn map_bit(&self, map: u32, extent: u32) -> bool {
        assert!(extent < GAM_EXTENTS, "the data file holds 4 GB at most");
        self.page(map).bytes()[MAP_BITS_OFFSET + extent as usize / 8] >> (extent % 8) & 1 != 0
    }

    pub(crate) fn set_map_bit(&mut self, map: u32, extent: u32, on: bool) {
        let byte = &mut self.page_mut(map).bytes_mut()[MAP_BITS_OFFSET + extent as usize / 8];
        *byte = *byte & !(1 << (extent % 8)) | u8::from(on) << (extent % 8);
    }

    /// Extents that belong to something.
    pub(crate) fn allocated_extents(&self) -> Vec<u32> {
        (0..self.pages.len() as u32 / EXTENT_PAGES).filter(|e| !self.map_bit(GAM, *e) || self.is_held(*e)).collect()
    }

    pub(crate) fn pfs_of(page: u32) -> (u32, u16) {
        let interval = page / PFS_PAGES;
        (if interval == 0 { PFS } else { interval * PFS_PAGES }, (page % PFS_PAGES) as u16 + 4)
    }

    pub(crate) fn pfs(&self, page: u32) -> u8 {
        let (map, offset) = Self::pfs_of(page);
        self.page(map).bytes()[HEADER_SIZE + usize::from(offset)]
    }

    pub(crate) fn set_pfs(&mut self, page: u32, byte: u8) {
        let (map, offset) = Self::pfs_of(page);
        self.page_mut(map).bytes_mut()[HEADER_SIZE + usize::from(offset)] = byte;
    }

    pub(super) fn change_pfs(&mut self, by: By, page: u32, new: u8, unit: Option<(u32, u16)>, lock: &[u8]) {
        let (map, offset) = Self::pfs_of(page);
        let old = self.pfs(page);
        self.write_page_of(by, map, 0, Some(unit.unwrap_or((99, 0))), |r, h, t| {
            r.modify_special(h, Context::PFS, t, offset, (&[old], &[new]), lock, 3);
        });
        self.set_pfs(page, new);
    }

    pub(super) fn set_iam_bit(&mut self, by: By, rowset: u64, kind: UnitKind, extent: u32, on: bool) {
        self.set_bit_of_iam(by, self.unit(rowset, kind).iam, extent, on);
    }

    pub(super) fn set_bit_of_iam(&mut self, by: By, iam: u32, extent: u32, on: bool) {
        let lock = extent_lock(extent * EXTENT_PAGES);
        self.write_page(by, iam, 1, |r, h, t| {
            r.set_bits(h, Context::IAM, t, map_record_bit(extent), on, Some(if on { &[] } else { &lock }));
        });
        self.set_map_bit(iam, extent, on);
    }

    /// Takes a whole extent.
    pub(super) fn take_extent(&mut self, by: By, unit: (u32, u16)) -> u32 {
        let extent = self.free_extent();
        self.write_page_of(by, GAM, 1, Some(unit), |r, h, t| {
            r.set_bits(h, Context::GAM, t, map_record_bit(extent), false, Some(&[]));
        });
        self.set_map_bit(GAM, extent, false);
        let first = extent * EXTENT_PAGES;
        let before: Vec<u8> = (first..first + EXTENT_PAGES).map(|p| self.pfs(p)).collect();
        let (map, offset) = Self::pfs_of(first);
        self.write_page_of(by, map, 0, Some(unit), |r, h, t| {
            r.modify_special(h, Context::PFS, t, offset, (&before, &[0; 8]), &[], 3);
        });
        for page in first..first + EXTENT_PAGES {
            self.set_pfs(page, 0);
        }
        extent
    }

    /// Marks an extent as taken, in all maps, without a record.
    pub(crate) fn take_extent_unlogged(&mut self, extent: u32, iam: u32) {
        self.set_map_bit(GAM, extent, false);
        self.set_map_bit(DIFF_MAP, extent, true);
        self.set_map_bit(iam, extent, true);
    }

    /// An extent that nobody uses; the file grows where there is none.
    pub(crate) fn free_extent(&mut self) -> u32 {
        loop {
            let extents = self.pages.len() as u32 / EXTENT_PAGES;
            while self.next_extent < extents && (!self.map_bit(GAM, self.next_extent) || self.is_held(self.next_extent))
            {
                self.next_extent += 1;
            }
            if self.next_extent == extents {
                self.grow_file();
                continue;
            }
            let extent = self.next_extent;
            let first = extent * EXTENT_PAGES;
            // A PFS page stands at the begin of its interval: the extent around it is nobody's.
            if first != 0 && (first..first + EXTENT_PAGES).any(|p| p.is_multiple_of(PFS_PAGES)) {
                let pfs = (first + EXTENT_PAGES - 1) / PFS_PAGES * PFS_PAGES;
                if self.pages[pfs as usize].is_none() {
                    self.pages[pfs as usize] = Some(pfs_page(PageId::new(FILE, pfs)));
                }
                self.set_map_bit(GAM, extent, false);
                self.set_pfs(pfs, PFS_ALLOCATED | 4);
                let image = self.page(pfs).clone();
                let header = image.header();
                let rows = &image.bytes()[..usize::from(header.free_data)];
                let slots = &image.bytes()[8192 - 2 * usize::from(header.slot_count)..];
                self.write_page(By::None, pfs, 0xFFFF, |r, h, t| {
                    r.format_image(h, Context::PFS, t, PageType::PFS, (rows, slots));
                });
                continue;
            }
            return extent;
        }
    }

    pub(super) fn grow_file(&mut self) {
        let old = self.pages.len() as u32;
        self.pages.resize((old + GROWTH) as usize, None);
        self.write_file_header();
    }

    /// Takes a page of a mixed extent for an IAM page.
    pub(super) fn take_mixed_page(&mut self, parent: u64, rowset: u64) -> u32 {
        if self.mixed_free.is_empty() {
            let xact = self.begin_system(parent, "AllocMixedExtent", SystemXact::Nested);
            let by = By::Xact(xact);
            let extent = self.free_extent();
            for (map, context, on) in [(GAM, Context::GAM, false), (SGAM, Context::SGAM, true)] {
                self.write_page(by, map, 1, |r, h, t| {
                    r.set_bits(h, context, t, map_record_bit(extent), on, Some(&[]));
                });
                self.set_map_bit(map, extent, on);
            }
            self.end_system(xact);
            let first = extent * EXTENT_PAGES;
            self.mixed_free = (first..first + EXTENT_PAGES).rev().collect();
        }
        let page = self.mixed_free.pop().expect("an extent has pages");
        let new = PFS_ALLOCATED | PFS_MIXED | PFS_IAM;
        self.change_pfs(By::Xact(parent), page, new, None, &page_lock(page, rowset));
        page
    }
}

//! Space: extents, pages and the maps that keep account of them.

use logferry_mssql_format::encode::{
    FileHeader, FormatPage, FormatRecord, GAM_EXTENTS, MAP_BITS_OFFSET, PFS_PAGES, PageImage, RootChange, bitmap_page,
    file_header_page, iam_page, pfs_page,
};
use logferry_mssql_format::log::op::Context;
use logferry_mssql_format::page::{EXTENT_PAGES, HEADER_SIZE, PageId, PageType};

use super::system::definitions::SYSALLOCUNITS;
use super::system::object_lock;
use super::table::Form;
use super::xact::{SystemXact, Undo};
use super::{By, Database, FILE, Node};

const PFS: u32 = 1;
const GAM: u32 = 2;
const SGAM: u32 = 3;
pub(super) const DIFF_MAP: u32 = 6;
pub(super) const ML_MAP: u32 = 7;
/// Bits of a PFS page's byte.
pub(super) const PFS_ALLOCATED: u8 = 0x40;
const PFS_MIXED: u8 = 0x20;
const PFS_IAM: u8 = 0x10;
pub(super) const PFS_GHOSTS: u8 = 0x08;
const PFS_FULL: u8 = 0x07;
/// Byte of a PFS page's header (its type's flags): whether any of its pages has ghosts.
const PFS_HAS_GHOSTS: usize = 2;
/// The bits of a map begin behind the four bytes of its record's header.
const MAP_RECORD_BITS: u32 = 32;
/// Pages that the file grows by: 64 MB.
const GROWTH: u32 = 8192;

/// Who takes the first page of an allocation unit, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct First {
    /// The transaction that the page stays with.
    pub by: By,
    /// Whether it is a heap's.
    pub heap: bool,
    /// Whether the page was locked: not where the table is new in the same transaction.
    pub locks: bool,
}

/// What an allocation unit holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnitKind {
    /// Rows.
    InRow,
    /// LOBs.
    Lob,
    /// Values that did not fit into their rows.
    Overflow,
}

impl UnitKind {
    /// `sysallocunits.type`
    pub fn code(self) -> u8 {
        self.index() as u8 + 1
    }

    pub fn index(self) -> usize {
        self as usize
    }

    /// All kinds, in the order of their places.
    pub const ALL: [UnitKind; 3] = [UnitKind::InRow, UnitKind::Lob, UnitKind::Overflow];
}

/// The pages of a rowset that hold one kind of thing.
#[derive(Clone, Debug)]
pub(super) struct AllocUnit {
    pub id: u64,
    pub first: u32,
    pub root: u32,
    pub iam: u32,
    pub extents: Vec<u32>,
    /// Pages of the extents that nobody uses.
    pub free: Vec<u32>,
    /// Pages with LOB records, in the order in which they were taken.
    pub lob_pages: Vec<u32>,
    pub used: i64,
    pub data: i64,
    pub reserved: i64,
}

impl AllocUnit {
    pub fn new(id: u64) -> Self {
        AllocUnit {
            id,
            first: 0,
            root: 0,
            iam: 0,
            extents: Vec::new(),
            free: Vec::new(),
            lob_pages: Vec::new(),
            used: 0,
            data: 0,
            reserved: 0,
        }
    }

    pub fn obj_id(&self) -> u32 {
        (self.id >> 16) as u32
    }

    pub fn index_id(&self) -> u16 {
        (self.id >> 48) as u16
    }

    fn target(&self) -> (u32, u16) {
        (self.obj_id(), self.index_id())
    }
}

impl Database {
    /// The pages that every data file begins with.
    pub(super) fn create_maps(&mut self) {
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
        self.set_pfs(super::BOOT_PAGE, PFS_ALLOCATED | PFS_MIXED | 4);
        self.mixed_free = (8..16).filter(|p| *p != super::BOOT_PAGE).rev().collect();
    }

    /// Writes page 0 anew.
    pub(super) fn write_file_header(&mut self) {
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
    pub(super) fn mark_changed(&mut self, page: u32) {
        let extent = page / EXTENT_PAGES;
        if self.map_bit(DIFF_MAP, extent) {
            return;
        }
        self.write_page(By::None, DIFF_MAP, 1, |r, h, t| {
            r.set_bits(h, Context::DIFF_MAP, t, map_record_bit(extent), true, None);
        });
        self.set_map_bit(DIFF_MAP, extent, true);
    }

    pub(super) fn map_bit(&self, map: u32, extent: u32) -> bool {
        assert!(extent < GAM_EXTENTS, "the data file holds 4 GB at most");
        self.page(map).bytes()[MAP_BITS_OFFSET + extent as usize / 8] >> (extent % 8) & 1 != 0
    }

    pub(super) fn set_map_bit(&mut self, map: u32, extent: u32, on: bool) {
        let byte = &mut self.page_mut(map).bytes_mut()[MAP_BITS_OFFSET + extent as usize / 8];
        *byte = *byte & !(1 << (extent % 8)) | u8::from(on) << (extent % 8);
    }

    /// Extents that belong to something.
    pub(super) fn allocated_extents(&self) -> Vec<u32> {
        (0..self.pages.len() as u32 / EXTENT_PAGES).filter(|e| !self.map_bit(GAM, *e) || self.is_held(*e)).collect()
    }

    pub(super) fn pfs_of(page: u32) -> (u32, u16) {
        let interval = page / PFS_PAGES;
        (if interval == 0 { PFS } else { interval * PFS_PAGES }, (page % PFS_PAGES) as u16 + 4)
    }

    pub(super) fn pfs(&self, page: u32) -> u8 {
        let (map, offset) = Self::pfs_of(page);
        self.page(map).bytes()[HEADER_SIZE + usize::from(offset)]
    }

    pub(super) fn set_pfs(&mut self, page: u32, byte: u8) {
        let (map, offset) = Self::pfs_of(page);
        self.page_mut(map).bytes_mut()[HEADER_SIZE + usize::from(offset)] = byte;
    }

    /// Takes a page for a rowset, inside of a system transaction. The page is not formatted yet. `leaf`: it will hold
    /// rows, and counts as a data page.
    pub(super) fn take_page(&mut self, by: By, rowset: u64, kind: UnitKind, leaf: bool) -> u32 {
        let (page, deltas) = self.take_page_of(by, rowset, kind, leaf, None);
        self.write(by, |r, h| {
            r.hobt_delta(h, rowset, deltas);
        });
        page
    }

    /// The same without HOBT_DELTA, whose numbers it gives. `outer`: of first pages, the transaction that holds the locks.
    fn take_page_of(
        &mut self,
        by: By,
        rowset: u64,
        kind: UnitKind,
        leaf: bool,
        outer: Option<First>,
    ) -> (u32, [i64; 4]) {
        let unit = self.unit(rowset, kind).clone();
        let (page, new_extent) = match self.unit_mut(rowset, kind).free.pop() {
            Some(page) => (page, false),
            None => {
                let extent = self.take_extent(by, unit.target());
                if unit.iam != 0 {
                    self.set_iam_bit(by, rowset, kind, extent, true);
                }
                let first = extent * EXTENT_PAGES;
                let unit = self.unit_mut(rowset, kind);
                unit.extents.push(extent);
                unit.free = (first + 1..first + EXTENT_PAGES).rev().collect();
                (first, true)
            }
        };
        if let Some(First { by: outer, locks: true, .. }) = outer {
            self.write_lock(outer, &extent_lock(page));
        }
        if let Some(First { by: outer, heap: true, .. }) = outer {
            // Pages of heaps are formatted twice, here as nothing in particular.
            self.place_page(rowset, kind, page, PageType::DATA, 0, (PageId::default(), PageId::default()), 0);
            self.format_record(outer, page, Context::HEAP, PageType::DATA, 0, Default::default(), 0);
        }
        let old = self.pfs(page);
        let lock = if outer.is_some() { Vec::new() } else { page_lock(page, rowset) };
        self.change_pfs(by, page, PFS_ALLOCATED, Some(unit.target()), &lock);
        debug_assert_eq!(old & PFS_ALLOCATED, 0);
        if let Some(First { by: outer, locks: true, .. }) = outer {
            self.write_lock(outer, &page_lock(page, rowset)[..10]);
        }
        let reserved = if new_extent { 8 } else { 0 };
        let data = i64::from(leaf);
        let counts = self.unit_mut(rowset, kind);
        counts.used += 1;
        counts.data += data;
        counts.reserved += reserved;
        self.rowset_mut(rowset).counted = false;
        (page, [0, data, 1, reserved])
    }

    fn write_lock(&mut self, by: By, lock: &[u8]) {
        // Of one page, the length stands in the element's head.
        let mut lock = lock.to_vec();
        if let [_, _, _, len, ..] = &mut lock[..] {
            *len = 0x0A;
        }
        self.write(by, |r, h| {
            r.lock_xact(h, &lock);
        });
    }

    /// Takes the first page of an allocation unit, with its IAM page. Gives the page, formatted.
    pub(super) fn take_first_page(&mut self, parent: u64, rowset: u64, kind: UnitKind) -> u32 {
        let heap = self.rowset(rowset).is_heap() && kind == UnitKind::InRow;
        let tree = kind == UnitKind::InRow && !heap;
        let object = self.rowset(rowset).object_id;
        let outer = if tree {
            self.write(By::Xact(parent), |r, h| {
                r.lock_xact(h, &object_lock(1, object));
            });
            self.begin_system(parent, "Allocate Root", SystemXact::Alone)
        } else {
            let name = if heap { "AllocHeapPageSimpleXactDML" } else { "AllocLobPageSimpleXactDML" };
            let outer = self.begin_system(parent, name, SystemXact::Allocation);
            self.write(By::Xact(outer), |r, h| {
                r.lock_xact(h, &object_lock(1, object));
            });
            outer
        };
        let page = self.take_first_of(outer, rowset, kind, First { by: By::Xact(outer), heap, locks: true });
        let by = By::Xact(outer);
        let iam = self.unit(rowset, kind).iam;
        self.change_locked_root(by, rowset, kind, 39, iam);
        self.change_locked_root(by, rowset, kind, 27, page);
        self.format_first(by, rowset, kind, page);
        self.change_locked_root(by, rowset, kind, if tree { 33 } else { 27 }, page);
        self.end_system(outer);
        if kind == UnitKind::InRow {
            self.rowset_mut(rowset).levels = vec![vec![Node { low: Vec::new(), page }]];
        } else {
            self.unit_mut(rowset, kind).lob_pages.push(page);
        }
        page
    }

    /// The first page and the IAM page of an allocation unit.
    pub(super) fn take_first_of(&mut self, outer: u64, rowset: u64, kind: UnitKind, first: First) -> u32 {
        let inner = self.begin_system(outer, "AllocFirstPage", SystemXact::Nested);
        let (by_outer, by_inner) = (By::Xact(outer), By::Xact(inner));
        let (page, deltas) = self.take_page_of(by_inner, rowset, kind, kind == UnitKind::InRow, Some(first));
        let iam = self.take_mixed_page(outer, rowset);
        let unit = self.unit(rowset, kind).clone();
        let start = PageId::new(FILE, 0);
        self.pages[iam as usize] = Some(iam_page(PageId::new(FILE, iam), unit.obj_id(), unit.index_id(), 0, start));
        self.format_record(by_outer, iam, Context::IAM, PageType::IAM, 0, (PageId::default(), PageId::default()), 90);
        let counts = self.unit_mut(rowset, kind);
        counts.iam = iam;
        counts.used += 1;
        counts.reserved += 1;
        self.write(by_outer, |r, h| {
            r.hobt_delta(h, rowset, [0, 0, 1, 1]);
        });
        self.set_iam_bit(by_inner, rowset, kind, page / EXTENT_PAGES, true);
        self.write(by_outer, |r, h| {
            r.create_alloc_chain(h, PageId::new(FILE, iam), unit.obj_id(), unit.index_id());
        });
        self.end_system(inner);
        self.write(by_outer, |r, h| {
            r.hobt_delta(h, rowset, deltas);
        });
        page
    }

    fn format_first(&mut self, by: By, rowset: u64, kind: UnitKind, page: u32) {
        let none = (PageId::default(), PageId::default());
        let rows = &self.rowset(rowset).layout;
        let (fixed_end, form) = (rows.row.fixed_end, rows.form);
        match (kind, form) {
            (UnitKind::InRow, Form::Row) => {
                self.format_page(by, rowset, kind, page, Context::HEAP, PageType::DATA, 0, none, fixed_end);
            }
            (UnitKind::InRow, Form::Entry) => {
                self.format_page(by, rowset, kind, page, Context::INDEX_LEAF, PageType::INDEX, 0, none, fixed_end);
            }
            (UnitKind::Lob | UnitKind::Overflow, _) => {
                self.format_page(by, rowset, kind, page, Context::TEXT_MIX, PageType::TEXT_MIX, 0, none, 0);
            }
        }
    }

    /// Formats a page of a rowset.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn format_page(
        &mut self,
        by: By,
        rowset: u64,
        kind: UnitKind,
        page: u32,
        context: Context,
        page_type: PageType,
        level: u8,
        (prev, next): (PageId, PageId),
        min_len: u16,
    ) {
        self.place_page(rowset, kind, page, page_type, level, (prev, next), min_len);
        self.format_record(by, page, context, page_type, level, (prev, next), min_len);
    }

    /// Puts an empty page of a rowset into its place, without a record.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn place_page(
        &mut self,
        rowset: u64,
        kind: UnitKind,
        page: u32,
        page_type: PageType,
        level: u8,
        (prev, next): (PageId, PageId),
        min_len: u16,
    ) {
        let unit = self.unit(rowset, kind);
        let image = PageImage::format(&FormatPage {
            id: PageId::new(FILE, page),
            page_type,
            type_flags: 0,
            level,
            obj_id: unit.obj_id(),
            index_id: unit.index_id(),
            prev,
            next,
            min_len,
        });
        self.pages[page as usize] = Some(image);
    }

    /// The record of a page that was formatted. What was on the page before does not matter.
    #[allow(clippy::too_many_arguments)]
    fn format_record(
        &mut self,
        by: By,
        page: u32,
        context: Context,
        page_type: PageType,
        level: u8,
        (prev, next): (PageId, PageId),
        min_len: u16,
    ) {
        self.mark_changed(page);
        let unknown = logferry_model::Lsn::new(0, 0, 1);
        self.page_mut(page).set_lsn(unknown);
        let iam_start = if page_type == PageType::IAM { PageId::new(FILE, 0) } else { PageId::default() };
        let format = FormatRecord { page_type, level, prev, next, min_len, iam_start };
        self.write_page(by, page, 0xFFFF, |r, h, t| {
            r.format_page(h, context, t, &format);
        });
    }

    /// Gives pages of an allocation unit back, as TRUNCATE TABLE does: the pages keep what is on them.
    pub(super) fn release_unit(&mut self, by: By, rowset: u64, kind: UnitKind) {
        let unit = self.unit(rowset, kind).clone();
        if unit.iam == 0 {
            return;
        }
        self.release_pages(by, rowset, &unit);
        let fresh = AllocUnit::new(unit.id);
        *self.unit_mut(rowset, kind) = fresh;
    }

    /// The same, of an allocation unit that may be no rowset's any more.
    pub(super) fn release_pages(&mut self, by: By, rowset: u64, unit: &AllocUnit) {
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
    pub(super) fn give_page_back(&mut self, by: By, rowset: u64, kind: UnitKind, page: u32) {
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
    pub(super) fn note_fullness(&mut self, page: u32) {
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
    pub(super) fn note_ghosts(&mut self, page: u32, rowset: u64) {
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
    fn note_interval(&mut self, map: u32, has: bool) {
        let (before, after) = ([u8::from(!has)], [u8::from(has)]);
        self.write_page_of(By::None, map, 0, Some((99, 0)), |r, h, t| {
            r.modify_header(h, Context::PFS, t, PFS_HAS_GHOSTS as u16, &before, &after);
        });
        self.page_mut(map).bytes_mut()[PFS_HAS_GHOSTS] = after[0];
    }

    pub(super) fn unit(&self, rowset: u64, kind: UnitKind) -> &AllocUnit {
        self.rowset(rowset).units[kind.index()].as_ref().expect("the table has such columns")
    }

    pub(super) fn unit_mut(&mut self, rowset: u64, kind: UnitKind) -> &mut AllocUnit {
        self.rowset_mut(rowset).units[kind.index()].as_mut().expect("the table has such columns")
    }

    /// Changes a page pointer in the row of `sysallocunits`: `offset` 27 first page, 33 root, 39 first IAM page.
    pub(super) fn change_root(&mut self, by: By, rowset: u64, kind: UnitKind, offset: u16, page: u32) {
        let unit = self.unit_mut(rowset, kind);
        let (id, new) = (unit.id, PageId::new(FILE, page));
        let held = match offset {
            27 => &mut unit.first,
            33 => &mut unit.root,
            _ => &mut unit.iam,
        };
        *held = page;
        let (obj_id, index_id) = unit.target();
        let (at, slot) = self.find_alloc_unit(id);
        let row = self.page(at).row(slot).expect("the row is there");
        let old = PageId::read(row, usize::from(offset), "page pointer").expect("our own rows are whole");
        let change = RootChange { rowset, obj_id, index_id, offset, new, old };
        self.write_page(by, at, slot, |r, h, t| {
            r.root_change(h, t, &change);
        });
        let row = self.page_mut(at).row_mut(slot).expect("the row is there");
        row[usize::from(offset)..][..6].copy_from_slice(&new.to_bytes());
    }

    /// The same, with the lock on the row of `sysallocunits`.
    fn change_locked_root(&mut self, by: By, rowset: u64, kind: UnitKind, offset: u16, page: u32) {
        let mut lock = object_lock(1, SYSALLOCUNITS);
        lock.extend([0x02, 0x0D, 0x00, 0x12, 0, 0]);
        lock.extend(SYSALLOCUNITS.to_le_bytes());
        lock.extend([0, 0]);
        lock.extend(&super::tree::key_hash(&self.unit(rowset, kind).id.to_be_bytes()).to_be_bytes()[2..]);
        self.write(by, |r, h| {
            r.lock_xact(h, &lock);
        });
        self.change_root(by, rowset, kind, offset, page);
    }

    fn change_pfs(&mut self, by: By, page: u32, new: u8, unit: Option<(u32, u16)>, lock: &[u8]) {
        let (map, offset) = Self::pfs_of(page);
        let old = self.pfs(page);
        self.write_page_of(by, map, 0, Some(unit.unwrap_or((99, 0))), |r, h, t| {
            r.modify_special(h, Context::PFS, t, offset, (&[old], &[new]), lock, 3);
        });
        self.set_pfs(page, new);
    }

    fn set_iam_bit(&mut self, by: By, rowset: u64, kind: UnitKind, extent: u32, on: bool) {
        self.set_bit_of_iam(by, self.unit(rowset, kind).iam, extent, on);
    }

    fn set_bit_of_iam(&mut self, by: By, iam: u32, extent: u32, on: bool) {
        let lock = extent_lock(extent * EXTENT_PAGES);
        self.write_page(by, iam, 1, |r, h, t| {
            r.set_bits(h, Context::IAM, t, map_record_bit(extent), on, Some(if on { &[] } else { &lock }));
        });
        self.set_map_bit(iam, extent, on);
    }

    /// Takes a whole extent.
    fn take_extent(&mut self, by: By, unit: (u32, u16)) -> u32 {
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
    pub(super) fn take_extent_unlogged(&mut self, extent: u32, iam: u32) {
        self.set_map_bit(GAM, extent, false);
        self.set_map_bit(DIFF_MAP, extent, true);
        self.set_map_bit(iam, extent, true);
    }

    /// An extent that nobody uses; the file grows where there is none.
    pub(super) fn free_extent(&mut self) -> u32 {
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

    fn grow_file(&mut self) {
        let old = self.pages.len() as u32;
        self.pages.resize((old + GROWTH) as usize, None);
        self.write_file_header();
    }

    /// Takes a page of a mixed extent for an IAM page.
    fn take_mixed_page(&mut self, parent: u64, rowset: u64) -> u32 {
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

pub(super) fn map_record_bit(extent: u32) -> u16 {
    u16::try_from(extent + MAP_RECORD_BITS).expect("one map serves the file")
}

/// The locks on a page and its rowset, as records of PFS changes name them.
fn page_lock(page: u32, rowset: u64) -> Vec<u8> {
    let mut lock = vec![0x02, 0x02, 0x00, 0x12];
    lock.extend(PageId::new(FILE, page).to_bytes());
    lock.extend(rowset.to_le_bytes());
    lock
}

fn extent_lock(first: u32) -> Vec<u8> {
    let mut lock = vec![0x02, 0x05, 0x00, 0x0A];
    lock.extend(PageId::new(FILE, first).to_bytes());
    lock
}

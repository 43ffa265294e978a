//! Space: extents and pages that are taken, given back, and kept account of.

mod maps;
mod release;

use logferry_mssql_format::encode::{FormatPage, FormatRecord, PageImage, RootChange, iam_page};
use logferry_mssql_format::log::op::Context;
use logferry_mssql_format::page::{EXTENT_PAGES, PageId, PageType};

use super::system::definitions::SYSALLOCUNITS;
use super::system::object_lock;
use super::table::Form;
use super::xact::SystemXact;
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
    /// Takes a page for a rowset, inside of a system transaction. The page is not formatted yet. `leaf`: it will hold
    /// rows, and counts as a data page.
    pub(super) fn take_page(&mut self, by: By, rowset: u64, kind: UnitKind, leaf: bool) -> u32 {
        let (page, deltas) = self.take_page_of(by, rowset, kind, (leaf, true), None);
        self.write(by, |r, h| {
            r.hobt_delta(h, rowset, deltas);
        });
        page
    }

    /// The same, of a page that becomes the root of a tree: the change of its PFS byte has no lock.
    pub(super) fn take_root_page(&mut self, by: By, rowset: u64) -> u32 {
        let (page, deltas) = self.take_page_of(by, rowset, UnitKind::InRow, (false, false), None);
        self.write(by, |r, h| {
            r.hobt_delta(h, rowset, deltas);
        });
        page
    }

    /// The same without HOBT_DELTA, whose numbers it gives. `locks`: the change of its PFS byte has one. `outer`: of first pages, the transaction that
    /// holds the locks.
    fn take_page_of(
        &mut self,
        by: By,
        rowset: u64,
        kind: UnitKind,
        (leaf, locks): (bool, bool),
        outer: Option<First>,
    ) -> (u32, [i64; 4]) {
        let unit = self.unit(rowset, kind);
        let (target, has_map) = (unit.target(), unit.iam != 0);
        let (page, new_extent) = match self.unit_mut(rowset, kind).free.pop() {
            Some(page) => (page, false),
            None => {
                let extent = self.take_extent(by, target);
                if has_map {
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
        let lock = if outer.is_some() || !locks { Vec::new() } else { page_lock(page, rowset) };
        self.change_pfs(by, page, PFS_ALLOCATED, Some(target), &lock);
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
        // Of a table that the transaction made itself. How heaps and large values begin there is not known.
        let is_own = tree && self.definitions.is_made(object);
        let outer = if is_own {
            parent
        } else if tree {
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
        let by = By::Xact(outer);
        let (page, deltas) = self.take_first_of(outer, rowset, kind, First { by, heap, locks: !is_own });
        self.write(by, |r, h| {
            r.hobt_delta(h, rowset, deltas);
        });
        let change_root = if is_own { Self::change_root } else { Self::change_locked_root };
        let iam = self.unit(rowset, kind).iam;
        change_root(self, by, rowset, kind, 39, iam);
        change_root(self, by, rowset, kind, 27, page);
        self.format_first(by, rowset, kind, page);
        change_root(self, by, rowset, kind, if tree { 33 } else { 27 }, page);
        if !is_own {
            self.end_system(outer);
        }
        if kind == UnitKind::InRow {
            self.rowset_mut(rowset).levels = vec![vec![Node { low: Vec::new(), page }]];
        } else {
            self.unit_mut(rowset, kind).lob_pages.push(page);
        }
        page
    }

    /// The first page and the IAM page of an allocation unit, with the counts of the first page, which no HOBT_DELTA has yet.
    pub(super) fn take_first_of(&mut self, outer: u64, rowset: u64, kind: UnitKind, first: First) -> (u32, [i64; 4]) {
        let inner = self.begin_system(outer, "AllocFirstPage", SystemXact::Nested);
        let (by_outer, by_inner) = (By::Xact(outer), By::Xact(inner));
        let (page, deltas) = self.take_page_of(by_inner, rowset, kind, (kind == UnitKind::InRow, true), Some(first));
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
        (page, deltas)
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

//! Files that this engine wrote, opened again to be written to.
//!
//! What pages and log say is read from them: system tables, rowsets and their trees, rows, where the log ends. What files do not say ([`Kept`]: names
//! and numbers that are given out next, backups that were made) is kept beside them by the caller. Whoever writes the files ends all transactions before.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use logferry_model::Lsn;
use logferry_mssql_format::alloc::{Iam, PfsByte, pfs_page_of};
use logferry_mssql_format::encode::{MtfDate, PageImage};
use logferry_mssql_format::page::{EXTENT_PAGES, PageHeader, PageId, PageType};
use logferry_mssql_format::row::{RecordKind, stub_target};
use serde::{Deserialize, Serialize};

use super::super::backup::History;
use super::super::clock::Clock;
use super::super::ddl::KeyName;
use super::super::entry::{Index, Kept as KeptIndex, entry_layout};
use super::super::space::{AllocUnit, UnitKind};
use super::super::system::definitions::definitions;
use super::super::table::Form;
use super::super::{Database, Error, FILE, Guids, Ids, Node, Options, Row, RowKey, Rowset};
use super::log::read_log;
use super::pages::Pages;
use super::tables::{BaseTables, Source};

/// Bytes of a row of `sysallocunits` where its counts are: used, data, reserved pages.
const COUNTS: [usize; 3] = [45, 53, 61];

/// What the files of a database do not say of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Kept {
    name: String,
    server: String,
    seed: u64,
    vlf_bytes: u64,
    first_vlf: u32,
    checksum: bool,
    row_versions: bool,
    ids_of_2000: bool,
    ticks: u64,
    /// year, month, day; hour, minute, second
    created: (u16, [u8; 5]),
    /// binding, family, fork, the fork before, broker, data file, log file
    guids: [[u8; 16]; 7],
    forked_at: [u8; 10],
    checkpoint: [u8; 10],
    hold: [u8; 10],
    /// transaction, its number in views, object, allocation unit, rowset, LOB, version
    next: [u64; 7],
    mixed_free: Vec<u32>,
    schemas: BTreeMap<String, u32>,
    /// Clustered indexes.
    keys: BTreeMap<u32, KeyName>,
    /// The next `column_id` of tables.
    columns: BTreeMap<u32, u32>,
    backup_ids: u64,
    full_backup: Option<([u8; 10], [u8; 16])>,
    log_archive: [u8; 10],
    last_backup: [u8; 10],
}

impl Database {
    /// Rolls back what is open.
    ///
    /// # Errors
    /// When that cannot be.
    pub fn end_transactions(&mut self) -> Result<(), Error> {
        let open: Vec<_> = self.open_callers();
        open.into_iter().try_for_each(|xact| self.rollback(xact))
    }

    /// Rolls back what is open, writes both files, and gives what they do not say.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn close_files(&mut self, data: &Path, log: &Path) -> Result<Kept, Error> {
        self.end_transactions()?;
        self.write_data_file(data)?;
        self.write_log_file(log)?;
        let (o, c) = (&self.options, &self.created);
        let lsn = |lsn: Lsn| lsn.to_be_bytes();
        Ok(Kept {
            name: o.name.clone(),
            server: o.server.clone(),
            seed: o.seed,
            vlf_bytes: o.vlf_bytes,
            first_vlf: o.first_vlf,
            checksum: o.checksum,
            row_versions: o.row_versions,
            ids_of_2000: o.ids_of_2000,
            ticks: self.clock.ticks(),
            created: (c.year, [c.month, c.day, c.hour, c.minute, c.second]),
            guids: [
                self.guids.binding,
                self.guids.family,
                self.guids.fork,
                self.guids.forked_from.1,
                self.guids.broker,
                self.guids.data_file,
                self.guids.log_file,
            ],
            forked_at: lsn(self.guids.forked_from.0),
            checkpoint: lsn(self.checkpoint_lsn),
            hold: lsn(self.log.hold),
            next: [
                self.next_xact,
                self.next_dm_xact,
                // Nothing has those that were not taken.
                self.untaken_objects.first().map_or(self.next_object, |id| *id).into(),
                self.next_unit,
                self.next_rowset,
                self.next_blob.into(),
                self.next_version.into(),
            ],
            mixed_free: self.mixed_free.clone(),
            schemas: self.schemas.clone(),
            keys: self.key_names.clone(),
            columns: self.tables.iter().map(|(id, table)| (*id, table.next_column)).collect(),
            backup_ids: self.backups.ids.0,
            full_backup: self.backups.full.map(|(at, guid)| (lsn(at), guid)),
            log_archive: lsn(self.backups.log_archive),
            last_backup: lsn(self.backups.last_lsn),
        })
    }

    /// Opens files that [`close_files`](Self::close_files) wrote. The caller knows the constraints.
    ///
    /// # Errors
    /// When a file cannot be read or is damaged.
    pub fn reopen(data: &Path, log: &Path, kept: Kept) -> Result<Self, Error> {
        let pages = Pages::open(data)?;
        let boot = pages.boot()?;
        let log = read_log(log, &pages)?;
        let base = BaseTables::read(&pages, &boot)?;
        let options = Options {
            name: kept.name,
            server: kept.server,
            seed: kept.seed,
            vlf_bytes: kept.vlf_bytes,
            first_vlf: kept.first_vlf,
            checksum: kept.checksum,
            row_versions: kept.row_versions,
            ids_of_2000: kept.ids_of_2000,
            ..Options::default()
        };
        let mut db = Database::create(options)?;
        let lsn = Lsn::from_be_bytes;
        db.log = log;
        db.log.thaw(kept.vlf_bytes, kept.checksum, lsn(kept.hold));
        db.clock = Clock::at(kept.ticks);
        let (year, [month, day, hour, minute, second]) = kept.created;
        db.created = MtfDate { year, month, day, hour, minute, second };
        let [binding, family, fork, before, broker, data_file, log_file] = kept.guids;
        let forked_from = (lsn(kept.forked_at), before);
        db.guids = Guids { binding, family, fork, forked_from, broker, data_file, log_file };
        db.checkpoint_lsn = lsn(kept.checkpoint);
        let [xact, dm_xact, object, unit, rowset, blob, version] = kept.next;
        (db.next_xact, db.next_dm_xact, db.next_unit, db.next_rowset) = (xact, dm_xact, unit, rowset);
        (db.next_object, db.next_blob, db.next_version) = (object as u32, blob as u32, version as u32);
        (db.mixed_free, db.next_extent) = (kept.mixed_free, 0);
        db.schemas = kept.schemas;
        db.backups = History::new(Ids(kept.backup_ids));
        db.backups.full = kept.full_backup.map(|(at, guid)| (lsn(at), guid));
        db.backups.log_archive = lsn(kept.log_archive);
        db.backups.last_lsn = lsn(kept.last_backup);
        db.ghost_pages.clear();
        db.pages = pages.images()?;

        let system: Vec<u64> = db.rowsets.keys().copied().collect();
        for rowset in system {
            if base.units_of(rowset).is_empty() {
                let table = definitions().into_iter().find(|(id, _)| *id == db.rowset(rowset).object_id);
                let name = table.map_or_else(|| rowset.to_string(), |(_, def)| def.name);
                return Err(Error::Unsupported(format!(
                    "opening {}, which lacks the system table {name}",
                    data.display()
                )));
            }
            db.read_rowset(rowset, &base)?;
        }
        for object in &base.tables {
            let Source { table, rowset } = base.build(&pages, object)?;
            let (id, base_rowset) = (object.id, rowset.id);
            db.rowsets.insert(base_rowset, rowset);
            db.tables.insert(id, table);
            db.read_rowset(base_rowset, &base)?;
            let committed = db.rows_on_pages(base_rowset);
            if let Some(held) = db.tables.get_mut(&id) {
                held.committed = committed;
                held.next_column = kept.columns.get(&id).copied().unwrap_or(held.next_column);
            }
            for def in base.nonclustered(id) {
                let layout = Arc::clone(&db.rowset(base_rowset).layout);
                let found = base.index_rowset(id, def.id).zip(entry_layout(&layout, &def));
                let kept = found.map(|(rowset, (layout, sources))| {
                    db.add_rowset(rowset, id, def.id, layout);
                    KeptIndex { rowset, sources, null_bits: true }
                });
                if let Some(kept) = &kept {
                    db.read_rowset(kept.rowset, &base)?;
                }
                db.indexes.entry(id).or_default().push(Index { def, kept });
            }
            if let Some(all) = db.indexes.get_mut(&id) {
                all.sort_by_key(|i| i.def.id);
            }
        }
        db.key_names = kept.keys;
        Ok(db)
    }

    /// The allocation units of a rowset and its tree, as the pages have them.
    fn read_rowset(&mut self, id: u64, base: &BaseTables) -> Result<(), Error> {
        let damaged = |what: &dyn std::fmt::Display| Error::Unsupported(format!("opening rowset {id}: {what}"));
        let mut units = [None, None, None];
        for row in base.units_of(id) {
            let mut unit = AllocUnit::new(row.id);
            (unit.first, unit.root, unit.iam) = (row.first.page, row.root.page, row.first_iam.page);
            if unit.iam != 0 {
                let iam = Iam::read(self.page(unit.iam).bytes()).map_err(|e| damaged(&e))?;
                let extents = iam.extents().map_err(|e| damaged(&e))?;
                unit.extents = extents.map(|first| first.page / EXTENT_PAGES).collect();
            }
            let all = unit.extents.iter().flat_map(|extent| (0..EXTENT_PAGES).map(move |n| extent * EXTENT_PAGES + n));
            let (taken, mut free): (Vec<u32>, Vec<u32>) = all.partition(|page| self.is_taken(*page));
            free.reverse();
            unit.free = free;
            if row.kind != 1 {
                unit.lob_pages = taken;
            }
            if let Some(slot) = units.get_mut(usize::from(row.kind).wrapping_sub(1)) {
                *slot = Some(unit);
            }
        }
        self.rowset_mut(id).units = units;
        self.rowset_mut(id).levels = self.levels_on_pages(id);
        let leaves: Vec<u32> = self.rowset(id).levels.iter().take(1).flatten().map(|n| n.page).collect();
        let mut rows = 0;
        for page in leaves {
            let image = self.page(page);
            let live = |slot: &u16| {
                let kind = image.row(*slot).map(|row| RecordKind::of(row[0]));
                kind.is_some_and(|kind| !kind.is_ghost() && kind != RecordKind::Forwarded)
            };
            rows += (0..image.slot_count()).filter(live).count() as i64;
            if image.ghosts() > 0 {
                self.ghost_pages.insert(page, id);
            }
        }
        let counts: Vec<(usize, [i64; 3])> = UnitKind::ALL
            .into_iter()
            .filter_map(|kind| Some((kind.index(), self.rowset(id).units[kind.index()].as_ref()?.id)))
            .map(|(kind, unit)| (kind, self.counts_of(base, unit)))
            .collect();
        let held = self.rowset_mut(id);
        (held.rows, held.counted) = (rows, true);
        for (kind, [used, data, reserved]) in counts {
            if let Some(unit) = &mut held.units[kind] {
                (unit.used, unit.data, unit.reserved) = (used, data, reserved);
            }
        }
        Ok(())
    }

    /// Pages of an allocation unit, by its row in `sysallocunits`.
    fn counts_of(&self, base: &BaseTables, unit: u64) -> [i64; 3] {
        let Some((page, slot)) = base.place_of_unit(unit) else { return [0; 3] };
        let row = self.page(page).row(slot).unwrap_or_default();
        COUNTS.map(|at| row.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, i64::from_le_bytes))
    }

    fn is_taken(&self, page: u32) -> bool {
        let id = PageId::new(FILE, page);
        let map = self.pages.get(pfs_page_of(id).page as usize).and_then(Option::as_ref);
        map.and_then(|map| PfsByte::find(map.bytes(), id).ok()).is_some_and(PfsByte::is_allocated)
    }

    /// The pages of a rowset's rows, by level.
    fn levels_on_pages(&self, id: u64) -> Vec<Vec<Node>> {
        let held = self.rowset(id);
        let Some(unit) = held.units[UnitKind::InRow.index()].as_ref().filter(|u| u.first != 0) else {
            return Vec::new();
        };
        if held.is_heap() {
            let all = unit.extents.iter().flat_map(|extent| (0..EXTENT_PAGES).map(move |n| extent * EXTENT_PAGES + n));
            let pages = all.filter(|page| self.is_taken(*page));
            return vec![pages.map(|page| Node { low: Vec::new(), page }).collect()];
        }
        let layout = &held.layout;
        let root = if unit.root == 0 { unit.first } else { unit.root };
        let mut levels = vec![vec![Node { low: Vec::new(), page: root }]];
        for _ in 0..self.page(root).header().level {
            let mut below = Vec::new();
            for node in levels.last().into_iter().flatten() {
                let image = self.page(node.page);
                for row in (0..image.slot_count()).filter_map(|slot| image.row(slot)) {
                    let low = if below.is_empty() { Vec::new() } else { layout.key_of_entry(row) };
                    let child = &row[usize::from(layout.key_entry.fixed_end)..];
                    let child = PageId::read(child, 0, "child page").expect("our own entries are whole");
                    below.push(Node { low, page: child.page });
                }
            }
            levels.push(below);
        }
        levels.reverse();
        levels
    }

    /// The rows of a table, as callers gave them.
    fn rows_on_pages(&self, id: u64) -> BTreeMap<RowKey, Arc<Row>> {
        let held: &Rowset = self.rowset(id);
        debug_assert_eq!(held.layout.form, Form::Row);
        let mut out = BTreeMap::new();
        for node in held.levels.iter().take(1).flatten() {
            let page = self.page(node.page);
            for slot in 0..page.slot_count() {
                let Some(image) = page.row(slot) else { continue };
                let target;
                let image = match RecordKind::of(image[0]) {
                    RecordKind::Primary => image,
                    RecordKind::Stub => {
                        target = stub_target(image).expect("our own stubs are whole");
                        self.page(target.page.page).row(target.slot).expect("stubs point to rows")
                    }
                    _ => continue,
                };
                let key = match held.is_heap() {
                    true => RowKey::Rid(super::super::rid(node.page, slot)),
                    false => RowKey::Key(held.layout.key_of_image(image)),
                };
                out.insert(key, Arc::new(self.whole_row(&held.layout, image, &|_| None)));
            }
        }
        out
    }
}

impl Kept {
    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Pages {
    /// All pages, to be changed; none where there never was one.
    fn images(&self) -> Result<Vec<Option<PageImage>>, Error> {
        let formatted = |page: &[u8]| PageHeader::read(page).is_ok_and(|h| h.page_type != PageType(0));
        self.raw()
            .enumerate()
            .map(|(at, bytes)| match formatted(bytes) {
                false => Ok(None),
                true => {
                    let page = self.page(PageId::new(FILE, at as u32)).map_err(|e| self.damaged(e))?;
                    Ok(Some(PageImage::from_bytes(page)))
                }
            })
            .collect()
    }
}

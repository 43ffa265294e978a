//! The stand-in's storage engine: tables in real pages, changes as real log records, backups as real files; no T-SQL, no
//! protocol. [`workload`] makes histories with it, as backup chains, with the rows that must come out.
//!
//! ```text
//!  begin/insert/update/delete/commit ── xact ── tree, heap, lob ── space (PFS, GAM, IAM) ── pages in memory
//!                                        │                          │
//!                                        └────── log records ───────┴── log (blocks, VLFs) ── backup ── files
//! ```
//!
//! Every change of a page goes through one record in the log, which names the record that changed the page before it; the
//! page then carries the record's LSN. What a transaction did is undone by compensation records, found again by key in trees and
//! by place in heaps. Pages are split and taken in system transactions of their own, which stay when the user's transaction
//! is rolled back.
//!
//! Beside the pages the engine keeps what callers asked for: [`Database::rows`] are the committed rows as
//! they were given, never read back from a page. Tests compare the two.
//!
//! Not done as on a server: one data file, one log file, pages that became empty stay in their tree, string keys are ordered by code and not by collation, a table's last
//! identity value is not in its system tables.
//!
//! **Invariant:** knows of the product's crates only `model` and `mssql-format`.

mod alter;
mod attach;
mod backup;
mod bulk;
mod capture;
mod change;
mod chunks;
mod clock;
mod column;
mod constraint;
mod dblog;
mod ddl;
mod definition;
mod depend;
mod entry;
mod error;
mod heap;
mod index;
mod inspect;
mod log;
mod maintenance;
mod media;
mod module;
mod off_row;
mod options;
mod read;
#[cfg(test)]
mod real;
mod space;
mod switch;
mod system;
mod table;
mod tree;
pub mod workload;
mod xact;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;
use std::sync::Arc;

use logferry_model::{Lsn, TransactionId};
use logferry_mssql_format::encode::{MtfDate, PageImage, PageTarget, RecordBuilder, RecordHead};
use logferry_mssql_format::log::op::{Context, Op};
use logferry_mssql_format::log::record::flags;
use logferry_mssql_format::page::{PageId, RowId};

pub use self::alter::{NewValue, NewValues};
pub use self::attach::{Kept, StatisticsDef};
pub use self::backup::FullBackup;
pub use self::bulk::BulkLog;
pub use self::capture::{CapturedChange, CapturedTransaction};
use self::clock::Clock;
pub use self::constraint::{ConstraintDef, ConstraintKind, ConstraintSwitch};
pub use self::dblog::{LogBlock, LogReuseWait, LogState, VlfInfo};
pub use self::ddl::{KeyKind, KeyName, key_object};
pub use self::depend::{Dependency, Named};
pub use self::error::Error;
pub use self::index::IndexDef;
pub use self::inspect::{OpenTransaction, PhysicalColumn, SpaceUnit, TableRowset, UnitRoots};
use self::log::LogFile;
pub use self::media::backed_up_log;
pub use self::module::{ColumnUse, ModuleDef, ModuleReference, ModuleSettings};
pub use self::options::Options;
pub use self::read::{Before, Mark};
use self::space::AllocUnit;
pub use self::switch::SwitchBy;
use self::table::TableLayout;
pub use self::table::{ColumnDef, DEFAULT_COLLATION, Identity, Row, RowKey, TableDef};
use self::xact::Xact;
pub use self::xact::{Transaction, XactOptions};

/// 2016
pub(crate) const VERSION: u16 = 852;
/// The one data file.
pub(crate) const FILE: u16 = 1;
/// The one log file.
pub(crate) const LOG_FILE: u16 = 2;
const BOOT_PAGE: u32 = 9;
/// Most bytes of a row.
pub(crate) const ROW_MAX: usize = 8060;

/// A heap, a clustered index, or a nonclustered one: rows or entries of one table, user's or system's.
#[derive(Clone, Debug)]
struct Rowset {
    id: u64,
    object_id: u32,
    index_id: u32,
    layout: Arc<TableLayout>,
    /// Rows, LOBs, row overflow.
    units: [Option<AllocUnit>; 3],
    /// Tree pages by level, leaves first; empty until the first page is taken. Of heaps: one level, the pages in the order
    /// in which they were taken.
    levels: Vec<Vec<Node>>,
    rows: i64,
    /// Whether system tables have to hear of new counts at the next checkpoint.
    counted: bool,
}

impl Rowset {
    fn is_heap(&self) -> bool {
        self.layout.key.is_empty()
    }
}

/// A page of a tree: its keys are `low` or above, and below the next page's `low`.
#[derive(Clone, Debug)]
struct Node {
    low: Vec<u8>,
    page: u32,
}

/// A user table.
#[derive(Clone, Debug)]
struct Table {
    def: TableDef,
    rowset: u64,
    /// `column_id` of each column.
    column_ids: Vec<u32>,
    /// Id of the next column that is added.
    next_column: u32,
    committed: BTreeMap<RowKey, Arc<Row>>,
    /// Whether rows were loaded in bulk: those are in its pages only.
    loaded: bool,
}

/// Who writes a record.
#[derive(Clone, Copy, Debug)]
enum By {
    /// No transaction.
    None,
    /// A transaction.
    Xact(u64),
    /// A transaction that undoes a record; what is to be undone after it.
    Undo(u64, Lsn),
}

/// A database: pages and log in memory, until a backup or a file is written.
#[derive(Debug)]
pub struct Database {
    options: Options,
    clock: Clock,
    created: MtfDate,
    pages: Vec<Option<PageImage>>,
    log: LogFile,
    record: RecordBuilder,
    rowsets: BTreeMap<u64, Rowset>,
    tables: BTreeMap<u32, Table>,
    schemas: BTreeMap<String, u32>,
    xacts: BTreeMap<u64, Xact>,
    next_xact: u64,
    next_dm_xact: u64,
    next_object: u32,
    /// Object ids that were given out, and that no transaction has taken yet.
    untaken_objects: Vec<u32>,
    next_unit: u64,
    next_rowset: u64,
    next_blob: u32,
    next_version: u32,
    /// Who holds rows, by rowset.
    locks: HashMap<u64, HashMap<RowKey, u64>>,
    /// What a transaction freed on a page and may need again.
    reserved: HashMap<u32, HashMap<u64, xact::Reserved>>,
    /// Pages with ghosts.
    ghost_pages: BTreeMap<u32, u64>,
    /// Pages of mixed extents that are free.
    mixed_free: Vec<u32>,
    next_extent: u32,
    definitions: definition::Definitions,
    checkpoint_lsn: Lsn,
    /// The log from here on is held for a reader.
    replication: Option<Lsn>,
    /// Tables whose changes CDC reads.
    tracked: BTreeSet<u32>,
    reader: capture::LogReader,
    /// Nonclustered indexes, by table.
    indexes: BTreeMap<u32, Vec<entry::Index>>,
    /// Names of the constraints of clustered primary keys, by table.
    key_names: BTreeMap<u32, KeyName>,
    /// Defaults, checks, foreign keys and nonclustered keys, by table.
    constraints: BTreeMap<u32, Vec<ConstraintDef>>,
    /// Attached files of a real server.
    read_only: bool,
    /// Views, procedures, functions and triggers of attached files.
    attached_modules: Vec<ModuleDef>,
    attached_dependencies: Vec<Dependency>,
    /// Statistics that are of no index, by table.
    attached_statistics: BTreeMap<u32, Vec<StatisticsDef>>,
    attached_space: Option<attach::Space>,
    guids: Guids,
    backups: backup::History,
}

/// The identities of a database.
#[derive(Clone, Copy, Debug)]
struct Guids {
    binding: [u8; 16],
    family: [u8; 16],
    fork: [u8; 16],
    /// Where the fork begins, and the one it comes from.
    forked_from: (Lsn, [u8; 16]),
    broker: [u8; 16],
    data_file: [u8; 16],
    log_file: [u8; 16],
}

impl Database {
    /// A new database with the system tables that a reader needs, in the FULL recovery model.
    pub fn create(options: Options) -> Result<Self, Error> {
        let mut ids = Ids(options.seed);
        let family = ids.guid();
        let guids = Guids {
            binding: ids.guid(),
            family,
            // A database that was never restored to an earlier point is on its first fork.
            fork: family,
            forked_from: (Lsn::ZERO, [0; 16]),
            broker: ids.guid(),
            data_file: ids.guid(),
            log_file: ids.guid(),
        };
        let mut clock = Clock::at_day(options.first_day);
        clock.advance(300 * 60 * 60 * 8);
        let log = LogFile::new(options.vlf_bytes, options.vlfs, options.first_vlf, options.checksum);
        let mut db = Database {
            clock,
            created: clock.mtf(),
            pages: Vec::new(),
            log,
            record: RecordBuilder::new(),
            rowsets: BTreeMap::new(),
            tables: BTreeMap::new(),
            schemas: BTreeMap::new(),
            xacts: BTreeMap::new(),
            next_xact: 0x340,
            next_dm_xact: 0x4E20,
            next_object: system::FIRST_OBJECT,
            untaken_objects: Vec::new(),
            next_unit: 1 << 56 | 0x80 << 16,
            next_rowset: 1 << 56 | 0x38 << 16,
            next_blob: 1000,
            next_version: 0,
            locks: HashMap::new(),
            reserved: HashMap::new(),
            ghost_pages: BTreeMap::new(),
            mixed_free: Vec::new(),
            next_extent: 0,
            definitions: definition::Definitions::default(),
            checkpoint_lsn: Lsn::ZERO,
            replication: None,
            tracked: BTreeSet::new(),
            reader: capture::LogReader::default(),
            indexes: BTreeMap::new(),
            key_names: BTreeMap::new(),
            constraints: BTreeMap::new(),
            read_only: false,
            attached_modules: Vec::new(),
            attached_dependencies: Vec::new(),
            attached_statistics: BTreeMap::new(),
            attached_space: None,
            guids,
            backups: backup::History::new(ids),
            options,
        };
        db.create_maps();
        db.create_system_tables()?;
        db.checkpoint();
        Ok(db)
    }

    /// The options that the database was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The server's clock, as `datetime` is stored.
    pub fn now(&self) -> [u8; 8] {
        self.clock.datetime()
    }

    /// Lets the server's clock show at least this: days since 1900-01-01, ticks of 1/300 s. From now on it moves by this alone.
    pub fn clock_reaches(&mut self, days: u32, ticks: u32) {
        self.clock.reaches(days, ticks);
    }

    /// Lets the server's clock move on: a tick is 1/300 s.
    pub fn advance_clock(&mut self, ticks: u64) {
        self.clock.advance(ticks);
    }

    /// Object id of a table.
    pub fn table(&self, schema: &str, name: &str) -> Option<u32> {
        self.tables.iter().find(|(_, t)| t.def.schema == schema && t.def.name == name).map(|(id, _)| *id)
    }

    /// What a table is made of.
    pub fn table_def(&self, table: u32) -> Option<&TableDef> {
        self.tables.get(&table).map(|t| &t.def)
    }

    /// The user tables.
    pub fn tables(&self) -> impl Iterator<Item = (u32, &TableDef)> {
        self.tables.iter().map(|(id, t)| (*id, &t.def))
    }

    /// The committed rows of a table, as callers gave them.
    pub fn rows(&self, table: u32) -> impl Iterator<Item = (&RowKey, &Arc<Row>)> {
        self.tables.get(&table).into_iter().flat_map(|t| &t.committed)
    }

    /// The committed rows of a keyed table from a row's key on. The probe has a value for each column of the key.
    pub fn rows_from(&self, table: u32, probe: &Row) -> impl Iterator<Item = (&RowKey, &Arc<Row>)> {
        let low = self.key_of(table, probe);
        let held = self.tables.get(&table);
        held.into_iter().flat_map(move |t| match &low {
            Some(low) => t.committed.range(low.clone()..),
            None => t.committed.range::<RowKey, _>(..),
        })
    }

    /// The last committed row of a table.
    pub fn last_row(&self, table: u32) -> Option<&Arc<Row>> {
        self.tables.get(&table)?.committed.last_key_value().map(|(_, row)| row)
    }

    /// Where the log ends: the LSN that the next block will have.
    pub fn end_of_log(&mut self) -> Lsn {
        self.log.end()
    }

    fn table_at(&self, table: u32) -> Result<&Table, Error> {
        self.tables.get(&table).ok_or_else(|| Error::NotFound(format!("table with object id {table}")))
    }

    fn rowset(&self, id: u64) -> &Rowset {
        &self.rowsets[&id]
    }

    fn rowset_mut(&mut self, id: u64) -> &mut Rowset {
        self.rowsets.get_mut(&id).expect("rowset ids come from tables")
    }

    fn page(&self, page: u32) -> &PageImage {
        self.pages[page as usize].as_ref().expect("the page was formatted")
    }

    fn page_mut(&mut self, page: u32) -> &mut PageImage {
        self.pages[page as usize].as_mut().expect("the page was formatted")
    }

    /// Writes a record and gives its LSN.
    fn write(&mut self, by: By, build: impl FnOnce(&mut RecordBuilder, &RecordHead)) -> Lsn {
        let head = match by {
            By::None => RecordHead::NONE,
            By::Xact(id) => RecordHead {
                prev_lsn: self.xacts[&id].last_lsn,
                flags: flags::IN_TRANSACTION,
                transaction: transaction_id(id),
            },
            By::Undo(id, next) => RecordHead {
                prev_lsn: next,
                flags: flags::IN_TRANSACTION | flags::COMPENSATION,
                transaction: transaction_id(id),
            },
        };
        let mut record = mem::take(&mut self.record);
        build(&mut record, &head);
        let for_reader = self.for_log_reader(by, &record);
        if for_reader {
            record.add_flags(flags::REPLICATED);
        }
        let lsn = self.log.append(record.bytes());
        if let By::Xact(id) | By::Undo(id, _) = by {
            let open = self.xacts.get_mut(&id).expect("the transaction is open");
            open.last_lsn = lsn;
            open.captured |= for_reader;
        }
        self.note_for_reader(by, lsn, record.bytes(), for_reader);
        self.record = record;
        lsn
    }

    /// Whether a record is one that CDC has to read: a row of a tracked table, or the commit of a transaction that changed one.
    fn for_log_reader(&self, by: By, record: &RecordBuilder) -> bool {
        let (By::Xact(id) | By::Undo(id, _)) = by else { return false };
        let Some(xact) = self.xacts.get(&id).filter(|x| x.user && !self.tracked.is_empty()) else { return false };
        match (Op(record.bytes()[22]), Context(record.bytes()[23])) {
            (Op::COMMIT_XACT, _) => xact.captured,
            (
                Op::INSERT_ROWS | Op::DELETE_ROWS | Op::MODIFY_ROW | Op::MODIFY_COLUMNS,
                Context::HEAP | Context::CLUSTERED | Context::MARK_AS_GHOST,
            ) => {
                let rowset = record.bytes().get(48..56).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
                // An entry of an index has another rowset than its table's rows.
                self.rowsets.get(&rowset).is_some_and(|r| r.index_id <= 1 && self.tracked.contains(&r.object_id))
            }
            _ => false,
        }
    }

    /// Writes a record about a page; the page gets its LSN. The caller then changes the page.
    fn write_page(
        &mut self,
        by: By,
        page: u32,
        slot: u16,
        build: impl FnOnce(&mut RecordBuilder, &RecordHead, &PageTarget),
    ) -> Lsn {
        self.write_page_of(by, page, slot, None, build)
    }

    /// Like [`write_page`](Self::write_page), for maps: names the allocation unit that the change is made for.
    fn write_page_of(
        &mut self,
        by: By,
        page: u32,
        slot: u16,
        unit: Option<(u32, u16)>,
        build: impl FnOnce(&mut RecordBuilder, &RecordHead, &PageTarget),
    ) -> Lsn {
        self.mark_changed(page);
        let header = self.page(page).header();
        let (obj_id, index_id) = unit.unwrap_or((header.obj_id, header.index_id));
        let target = PageTarget { page: PageId::new(FILE, page), slot, obj_id, index_id, prev_page_lsn: header.lsn };
        let lsn = self.write(by, |record, head| build(record, head, &target));
        self.page_mut(page).set_lsn(lsn);
        lsn
    }

    /// The LSN of the last record of a transaction.
    fn last_lsn(&self, by: By) -> Lsn {
        match by {
            By::Xact(id) | By::Undo(id, _) => self.xacts[&id].last_lsn,
            By::None => Lsn::ZERO,
        }
    }
}

fn transaction_id(id: u64) -> TransactionId {
    TransactionId { low: id as u32, high: (id >> 32) as u16 }
}

fn rid(page: u32, slot: u16) -> RowId {
    RowId { page: PageId::new(FILE, page), slot }
}

/// Pseudo-random ids that follow from a seed (SplitMix64).
#[derive(Clone, Copy, Debug)]
struct Ids(u64);

impl Ids {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn guid(&mut self) -> [u8; 16] {
        let mut guid = [0; 16];
        guid[..8].copy_from_slice(&self.next().to_le_bytes());
        guid[8..].copy_from_slice(&self.next().to_le_bytes());
        guid[7] = guid[7] & 0x0F | 0x40;
        guid[8] = guid[8] & 0x3F | 0x80;
        guid
    }
}

//! What `dump log` shows: one line for each log record, from log files or from backups; those that are asked for, with the names of
//! their tables and their rows where a catalog is there, or how many there are of each kind.
//!
//! The catalog is that of its file, not of the moment of the record: rows that were written when their table had another shape may
//! not be readable by it, and are left out.

use std::collections::BTreeMap;
use std::fmt::Write;

use logferry_model::{Cell, Lsn, TransactionId};
use logferry_mssql_format::log::op::{Context, Op};
use logferry_mssql_format::log::record::{PageOp, Record, RowOp};
use logferry_mssql_format::log::xact::{Xact, time_text};
use logferry_mssql_format::page::PageId;
use logferry_mssql_format::redo::inserted_rows;
use logferry_mssql_format::render;
use logferry_mssql_format::row::compressed::CdRecord;
use logferry_mssql_format::row::{Expanded, RawCell};
use rustc_hash::FxHashMap;

use crate::backups::Backups;
use crate::catalog::{Catalog, Rowset};
use crate::error::Error;
use crate::inspect::{Contents, inspect};
use crate::log_blocks::LogBlocks;
use crate::log_file::LogFiles;
use crate::log_segment::{LogEnd, LogSegment, SegmentBlocks};
use crate::places::AsPlace;
use crate::set::BackupSet;

/// Opens the log in some files: all log files, or all backups of one database; full backups are not needed.
///
/// # Errors
/// Where the files are neither, or do not belong together.
pub fn open<P: AsPlace>(paths: &[P], set: Option<u16>) -> Result<SegmentBlocks, Error> {
    let mut logs = Vec::new();
    for place in paths.iter().map(AsPlace::place) {
        if !place.is_folder()?
            && let Contents::Log { .. } = inspect(&place)?.contents
        {
            logs.push(place);
        }
    }
    if !logs.is_empty() && logs.len() == paths.len() {
        return LogFiles::open(&logs)?.blocks(None);
    }
    if set.is_some() {
        let set = BackupSet::open(paths, set)?;
        return set.log(set.header.first_lsn);
    }
    let backups = Backups::find(paths)?;
    if let Some(unusable) = backups.unusable().first() {
        return Err(unusable.again());
    }
    let mut sets: Vec<&BackupSet> = backups.sets().iter().collect();
    sets.sort_by_key(|s| (s.header.first_lsn, s.header.last_lsn));
    let Some(first) = sets.first() else {
        return Err(Error::NoChain { database: String::new(), why: "there is no log among the files".to_owned() });
    };
    let (mut segments, mut end): (Vec<LogSegment>, Lsn) = (Vec::new(), Lsn::ZERO);
    for set in &sets {
        set.same_history(first)?;
        segments.extend(set.log_segments()?);
        end = end.max(set.header.last_lsn);
    }
    Ok(SegmentBlocks::new(first.header.database.clone(), segments, first.header.first_lsn, LogEnd::At(end)))
}

/// A log record, in the parts that are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordLine {
    /// Where it stands.
    pub lsn: Lsn,
    /// The record of the transaction before it.
    pub prev_lsn: Lsn,
    /// What it does.
    pub op: Op,
    /// What it does it to.
    pub context: Context,
    /// The transaction.
    pub transaction: TransactionId,
    /// See `record::flags`.
    pub flags: u16,
    /// Bytes, with padding.
    pub len: usize,
    /// The page and what was on it, for operations on pages.
    pub page: Option<PageOp>,
    /// The row, for operations on rows.
    pub row: Option<RowOp>,
    /// What else it says: names, times, savepoints, the bytes of a row that change.
    pub note: String,
    /// The user table, where the catalog has it.
    pub table: Option<String>,
    /// The rows that an insert brings or a delete takes, as JSON objects, where the catalog can read them.
    pub rows: Vec<String>,
}

/// Which records are shown: all that every part allows. The default allows all.
#[derive(Clone, Debug, Default)]
pub struct RecordFilter {
    /// From here on.
    pub start: Option<Lsn>,
    /// Up to here (inclusive).
    pub end: Option<Lsn>,
    /// Of this transaction.
    pub transaction: Option<TransactionId>,
    /// Of one of these operations.
    pub ops: Vec<Op>,
    /// Of one of these contexts.
    pub contexts: Vec<Context>,
    /// Of this page.
    pub page: Option<PageId>,
    /// Of this table, an index into [`Catalog::tables`].
    pub table: Option<usize>,
}

impl RecordFilter {
    fn allows(&self, record: &Record<'_>, page: Option<&PageOp>, table: Option<usize>) -> bool {
        let any = |none: bool, one: bool| none || one;
        self.start.is_none_or(|start| record.lsn >= start)
            && self.end.is_none_or(|end| record.lsn <= end)
            && self.transaction.is_none_or(|transaction| record.transaction == transaction)
            && any(self.ops.is_empty(), self.ops.contains(&record.op))
            && any(self.contexts.is_empty(), self.contexts.contains(&record.context))
            && self.page.is_none_or(|wanted| page.is_some_and(|page| page.row.page == wanted))
            && any(self.table.is_none(), self.table == table)
    }
}

/// Tables by what log records call them.
#[derive(Debug, Default)]
pub struct Names {
    catalog: Option<Catalog>,
    /// Rowset, by allocation unit of rows, and of values outside of them.
    rowsets: FxHashMap<u64, u64>,
}

impl Names {
    /// The names that a catalog has.
    pub fn of(catalog: Catalog) -> Self {
        let mut rowsets = FxHashMap::default();
        for rowset in (0..catalog.tables.len()).flat_map(|table| catalog.rowsets_of(table)) {
            rowsets.extend(rowset.alloc_units.iter().map(|unit| (unit.id, rowset.id)));
        }
        Names { catalog: Some(catalog), rowsets }
    }

    fn rowset(&self, page: &PageOp, row: Option<&RowOp>) -> Option<&Rowset> {
        let catalog = self.catalog.as_ref()?;
        let of_row = row.and_then(|row| catalog.rowset(row.rowset));
        of_row.or_else(|| catalog.rowset(*self.rowsets.get(&page.alloc_unit())?))
    }

    fn rows(&self, record: &Record<'_>, rowset: &Rowset) -> Vec<String> {
        let table = self.catalog.as_ref().and_then(|catalog| catalog.tables.get(rowset.table));
        let is_row = matches!(record.context, Context::HEAP | Context::CLUSTERED | Context::MARK_AS_GHOST);
        let Some(table) = table.filter(|_| is_row) else { return Vec::new() };
        let shown = |row: &[u8]| {
            let (mut expanded, mut cells) = (Expanded::default(), Vec::new());
            if rowset.layout.is_compressed() {
                CdRecord::read_whole(row).ok()?;
            }
            if rowset.layout.is_packed() {
                rowset.layout.expand(row, None, &mut expanded).ok()?;
                expanded.cells(&rowset.layout, &mut cells).ok()?;
            } else {
                rowset.layout.decode(row, &mut cells).ok()?;
            }
            let cells: Vec<Cell<'_>> = (cells.iter())
                .map(|cell| match cell {
                    RawCell::Null => Cell::Null,
                    RawCell::Bytes(bytes) => Cell::Bytes(bytes),
                    // The value is elsewhere.
                    RawCell::OffRow(_) => Cell::Unchanged,
                })
                .collect();
            let mut json = String::new();
            render::row(&table.version, &cells, &mut json);
            Some(json)
        };
        match record.op {
            Op::INSERT_ROWS => inserted_rows(record).filter_map(shown).collect(),
            Op::DELETE_ROWS => shown(record.element(0)).into_iter().collect(),
            _ => Vec::new(),
        }
    }
}

/// How many records there are of each operation on each thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Records, and their bytes.
    pub kinds: BTreeMap<(Op, Context), (u64, u64)>,
}

impl Statistics {
    /// Counts a record.
    pub fn count(&mut self, line: &RecordLine) {
        let (records, bytes) = self.kinds.entry((line.op, line.context)).or_default();
        *records += 1;
        *bytes += line.len as u64;
    }

    /// All records, and their bytes.
    pub fn total(&self) -> (u64, u64) {
        self.kinds.values().fold((0, 0), |(records, bytes), (r, b)| (records + r, bytes + b))
    }
}

/// Shows the records of a log that a filter allows, one at a time.
///
/// # Errors
/// Where the log is damaged, and what `line` gives.
pub fn records<E: From<Error>>(
    blocks: &mut dyn LogBlocks,
    filter: &RecordFilter,
    names: &Names,
    mut line: impl FnMut(&RecordLine) -> Result<(), E>,
) -> Result<(), E> {
    while let Some(block) = blocks.next_block()? {
        for record in block.records() {
            let record = record.map_err(Error::Malformed)?;
            if filter.end.is_some_and(|end| record.lsn > end) {
                return Ok(());
            }
            let page = record.page_op().map_err(Error::Malformed)?;
            let row = record.row_op().map_err(Error::Malformed)?;
            let rowset = page.as_ref().and_then(|page| names.rowset(page, row.as_ref()));
            if !filter.allows(&record, page.as_ref(), rowset.map(|rowset| rowset.table)) {
                continue;
            }
            let mut shown = RecordLine::read(&record)?;
            if let (Some(rowset), Some(catalog)) = (rowset, &names.catalog) {
                shown.table = catalog.tables.get(rowset.table).map(|table| table.version.name.to_string());
                shown.rows = names.rows(&record, rowset);
            }
            line(&shown)?;
        }
    }
    Ok(())
}

impl RecordLine {
    /// Takes a record apart.
    pub fn read(record: &Record<'_>) -> Result<Self, Error> {
        let mut note = String::new();
        if let Some(xact) = Xact::read(record)? {
            write_note(&mut note, &xact);
        }
        write_changes(&mut note, record);
        Ok(RecordLine {
            lsn: record.lsn,
            prev_lsn: record.prev_lsn,
            op: record.op,
            context: record.context,
            transaction: record.transaction,
            flags: record.flags,
            len: record.bytes().len(),
            page: record.page_op()?,
            row: record.row_op()?,
            note,
            table: None,
            rows: Vec::new(),
        })
    }
}

impl std::fmt::Display for RecordLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:<20} {:<18} {}", self.lsn, self.op, self.context, self.transaction)?;
        write!(f, " prev {} flags {:#06x} length {}", self.prev_lsn, self.flags, self.len)?;
        if let Some(page) = &self.page {
            write!(f, " page {} unit {:#x} page_prev {}", page.row, page.alloc_unit(), page.prev_page_lsn)?;
        }
        if let Some(row) = &self.row {
            write!(f, " rowset {:#x} offset {} size {}", row.rowset, row.offset, row.size)?;
        }
        if let Some(table) = &self.table {
            write!(f, " table {table}")?;
        }
        if !self.note.is_empty() {
            write!(f, " {}", self.note)?;
        }
        self.rows.iter().try_for_each(|row| write!(f, " {row}"))
    }
}

/// The stretches of a row that a record changes: where they begin, before and after.
fn write_changes(out: &mut String, record: &Record<'_>) {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut stretch = |offset: u16, before: &[u8], after: &[u8]| {
        let space = if out.is_empty() { "" } else { " " };
        // Writing to a string cannot fail.
        let _ = write!(out, "{space}[{offset}: {} -> {}]", hex(before), hex(after));
    };
    match record.op {
        Op::MODIFY_ROW => {
            let offset = record.row_op().ok().flatten().map_or(0, |row| row.offset);
            stretch(offset, record.element(0), record.element(1));
        }
        Op::MODIFY_COLUMNS => {
            for (chunk, offsets) in record.element(0).as_chunks::<4>().0.iter().enumerate() {
                let offset = u16::from_le_bytes([offsets[0], offsets[1]]);
                let before = 4 + 2 * chunk;
                if before + 1 < record.element_count() {
                    stretch(offset, record.element(before), record.element(before + 1));
                }
            }
        }
        _ => {}
    }
}

fn write_note(out: &mut String, xact: &Xact<'_>) {
    let time = |us: &Option<i64>| us.map_or_else(|| "at no time".to_owned(), time_text);
    // Writing to a string cannot fail.
    let _ = match xact {
        Xact::Begin(b) => {
            let parent = if b.parent.is_none() { String::new() } else { format!(" in {}", b.parent) };
            write!(out, "{:?} {} type {} spid {}{parent}", b.name.to_string(), time(&b.time_us), b.kind, b.spid)
        }
        Xact::Commit(e) | Xact::Abort(e) => write!(out, "{} began {}", time(&e.time_us), e.begin_lsn),
        Xact::Prepare { time_us } => write!(out, "{}", time(time_us)),
        Xact::Savepoint { previous, name } => write!(out, "{:?} previous {previous}", name.to_string()),
        Xact::Lock { object } => match object {
            Some(object) => write!(out, "object {object}"),
            None => Ok(()),
        },
        Xact::HobtDdl { rowset, action } => write!(out, "rowset {rowset:#x} action {}", action.0),
        Xact::Identity { object, value } => write!(out, "object {object} value {value:02x?}"),
        Xact::BeginCheckpoint { time_us, version } => write!(out, "{} version {version}", time(time_us)),
        Xact::EndCheckpoint { time_us, minimum, version } => {
            write!(out, "{} minimum {minimum} version {version}", time(time_us))
        }
    };
}

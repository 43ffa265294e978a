//! What `dump log` shows: one line for each log record, from log files or from backups.

use std::fmt::Write;
use std::path::PathBuf;

use logferry_model::{Lsn, TransactionId};
use logferry_mssql_format::log::op::{Context, Op};
use logferry_mssql_format::log::record::{PageOp, Record, RowOp};
use logferry_mssql_format::log::xact::{Xact, time_text};

use crate::backups::Backups;
use crate::error::Error;
use crate::inspect::{Contents, inspect};
use crate::log_blocks::LogBlocks;
use crate::log_file::LogFiles;
use crate::log_segment::{LogEnd, LogSegment, SegmentBlocks};
use crate::set::BackupSet;

/// Opens the log in some files: all log files, or all backups of one database; full backups are not needed.
///
/// # Errors
/// Where the files are neither, or do not belong together.
pub fn open(paths: &[PathBuf], set: Option<u16>) -> Result<SegmentBlocks, Error> {
    let mut logs = Vec::new();
    for path in paths.iter().filter(|p| p.is_file()) {
        if let Contents::Log { .. } = inspect(path)?.contents {
            logs.push(path.clone());
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
    /// What else it says: names, times, savepoints.
    pub note: String,
}

/// Shows the records of a log one at a time.
///
/// # Errors
/// Where the log is damaged, and what `line` gives.
pub fn records<E: From<Error>>(
    blocks: &mut dyn LogBlocks,
    mut line: impl FnMut(&RecordLine) -> Result<(), E>,
) -> Result<(), E> {
    while let Some(block) = blocks.next_block()? {
        for record in block.records() {
            let record = record.map_err(Error::Malformed)?;
            line(&RecordLine::read(&record)?)?;
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
        if !self.note.is_empty() {
            write!(f, " {}", self.note)?;
        }
        Ok(())
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

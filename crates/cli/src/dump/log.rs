//! `logferry dump log`: log records, those that are asked for, or how many there are.

use std::io::Write;
use std::time::Duration;

use logferry_model::Lsn;
use logferry_mssql_backup::log_dump::{self, Names, RecordFilter, RecordLine, Statistics};
use logferry_mssql_backup::{Catalog, Error, LogFiles};
use serde::Serialize;

use super::page_id;
use crate::args::DumpLog;
use crate::failure::Failed;
use crate::files::{Kind, kind_of, open_pages};
use crate::output::{Out, Table};
use crate::places::of_arguments;

/// Between two looks at a log that grows.
const PAUSE: Duration = Duration::from_millis(500);

/// Why the records end before the log does.
enum Stop {
    Enough,
    Failed(Failed),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(error.into())
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Stop::Failed(error.into())
    }
}

pub(super) fn perform(args: &DumpLog, json: bool, out: &mut Out) -> Result<(), Failed> {
    let mut filter = RecordFilter {
        start: args.start,
        end: args.end,
        transaction: args.transaction,
        ops: args.op.clone(),
        contexts: args.context.clone(),
        page: args.page.as_deref().map(page_id).transpose()?,
        table: None,
    };
    let mut names = Names::default();
    if !args.catalog.is_empty() {
        let catalog = Catalog::read(&*open_pages(&of_arguments(&args.catalog)?, None)?)?;
        filter.table = args.table.as_deref().map(|table| catalog.find_table(table)).transpose()?;
        names = Names::of(catalog);
    }
    if args.follow {
        return follow(args, json, filter, &names, out);
    }
    let mut blocks = log_dump::open(&of_arguments(&args.files)?, args.set)?;
    if args.stats {
        let mut statistics = Statistics::default();
        log_dump::records(&mut blocks, &filter, &names, |line| {
            statistics.count(line);
            Ok::<_, Failed>(())
        })?;
        return write_statistics(&statistics, json, out);
    }
    let mut left = args.limit.unwrap_or(u64::MAX);
    let end = log_dump::records(&mut blocks, &filter, &names, |line| {
        left = left.checked_sub(1).ok_or(Stop::Enough)?;
        Ok::<_, Stop>(write(line, json, out)?)
    });
    match end {
        Err(Stop::Failed(failed)) => Err(failed),
        Ok(()) | Err(Stop::Enough) => Ok(()),
    }
}

fn write(line: &RecordLine, json: bool, out: &mut Out) -> std::io::Result<()> {
    if !json {
        return writeln!(out, "{line}");
    }
    let mut text = serde_json::to_string(&LogRecord::of(line))?;
    if !line.rows.is_empty() && text.pop() == Some('}') {
        // They are JSON already.
        text += &format!(",\"rows\":[{}]}}", line.rows.join(","));
    }
    writeln!(out, "{text}")
}

/// Reads log files over and over, each time from where the last record was.
fn follow(args: &DumpLog, json: bool, mut filter: RecordFilter, names: &Names, out: &mut Out) -> Result<(), Failed> {
    let files = of_arguments(&args.files)?;
    for place in &files {
        if kind_of(place)? != Kind::Log {
            return Err(Failed::argument(format!("{} is no log file: only those grow", place.path().display())));
        }
    }
    let mut seen = None;
    loop {
        let mut blocks = LogFiles::open(&files)?.blocks(seen)?;
        log_dump::records(&mut blocks, &filter, names, |line| {
            seen = Some(line.lsn);
            Ok::<_, Failed>(write(line, json, out)?)
        })?;
        out.flush()?;
        filter.start = seen.map(|lsn: Lsn| Lsn { slot: lsn.slot.saturating_add(1), ..lsn }).or(filter.start);
        if filter.start.zip(filter.end).is_some_and(|(start, end)| start > end) {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}

fn write_statistics(statistics: &Statistics, json: bool, out: &mut Out) -> Result<(), Failed> {
    let (records, bytes) = statistics.total();
    let percent = |part: u64, whole: u64| format!("{:.1}%", part as f64 * 100.0 / whole.max(1) as f64);
    let mut table = Table::new(&["operation", "context", "records", "", "bytes", "", "average"]);
    for ((op, context), &(r, b)) in &statistics.kinds {
        if json {
            out.json(&Kinds { operation: op.to_string(), context: context.to_string(), records: r, bytes: b })?;
            continue;
        }
        let cells = [r.to_string(), percent(r, records), b.to_string(), percent(b, bytes), (b / r.max(1)).to_string()];
        table.row([op.to_string(), context.to_string()].into_iter().chain(cells));
    }
    if !json {
        let average = (bytes / records.max(1)).to_string();
        table.row([
            "total".into(),
            String::new(),
            records.to_string(),
            "100.0%".into(),
            bytes.to_string(),
            "100.0%".into(),
            average,
        ]);
        table.write(out, "")?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Kinds {
    operation: String,
    context: String,
    records: u64,
    bytes: u64,
}

/// A log record as JSON, with the names that `fn_dblog` shows.
#[derive(Serialize)]
struct LogRecord<'a> {
    lsn: String,
    prev_lsn: String,
    operation: String,
    context: String,
    transaction: String,
    flags: u16,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alloc_unit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_page_lsn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rowset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    note: &'a str,
}

impl<'a> LogRecord<'a> {
    fn of(line: &'a RecordLine) -> Self {
        LogRecord {
            lsn: line.lsn.to_string(),
            prev_lsn: line.prev_lsn.to_string(),
            operation: line.op.to_string(),
            context: line.context.to_string(),
            transaction: line.transaction.to_string(),
            flags: line.flags,
            bytes: line.len,
            page: line.page.map(|p| p.row.page.to_string()),
            slot: line.page.map(|p| p.row.slot),
            alloc_unit: line.page.map(|p| p.alloc_unit()),
            prev_page_lsn: line.page.map(|p| p.prev_page_lsn.to_string()),
            rowset: line.row.map(|r| r.rowset),
            offset: line.row.map(|r| r.offset),
            size: line.row.map(|r| r.size),
            table: line.table.as_deref(),
            note: &line.note,
        }
    }
}

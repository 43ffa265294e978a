//! `logferry dump`: what is inside of files, as text or JSON lines.

mod changes;

use std::io::Write;
use std::process::ExitCode;

use logferry_mssql_backup::log_dump::{self, RecordLine};
use logferry_mssql_backup::{Catalog, dump};
use logferry_mssql_format::page::PageId;
use serde::Serialize;

use crate::args::{DumpLog, DumpPage, DumpRows, DumpWhat};
use crate::failure::Failed;
use crate::files::open_pages;
use crate::output::Out;

pub(crate) fn perform(what: &DumpWhat, json: bool, out: &mut Out) -> Result<ExitCode, Failed> {
    match what {
        DumpWhat::Page(args) => page(args, out)?,
        DumpWhat::Log(args) => log(args, json, out)?,
        DumpWhat::Rows(args) => rows(args, out)?,
        DumpWhat::Changes(args) => changes::perform(args, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn page(args: &DumpPage, out: &mut Out) -> Result<(), Failed> {
    let wrong =
        || Failed::argument(format!("\"{}\" is no page: expected file and page in decimal, like 1:9", args.page));
    let (file, page) = args.page.split_once(':').ok_or_else(wrong)?;
    let id = PageId::new(file.parse().map_err(|_| wrong())?, page.parse().map_err(|_| wrong())?);
    let pages = open_pages(&args.files, args.set)?;
    write!(out, "{}", dump::page(&&*pages, id)?)?;
    Ok(())
}

fn rows(args: &DumpRows, out: &mut Out) -> Result<(), Failed> {
    let pages = open_pages(&args.files, args.set)?;
    let catalog = Catalog::read(&*pages)?;
    let table = catalog.find_table(&args.table)?;
    dump::rows(&&*pages, &catalog, table, |line| Ok::<_, Failed>(writeln!(out, "{line}")?))?;
    Ok(())
}

fn log(args: &DumpLog, json: bool, out: &mut Out) -> Result<(), Failed> {
    let mut blocks = log_dump::open(&args.files, args.set)?;
    log_dump::records(&mut blocks, |line| {
        if json {
            out.json(&LogRecord::of(line))?
        } else {
            writeln!(out, "{line}")?
        }
        Ok::<_, Failed>(())
    })
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
            note: &line.note,
        }
    }
}

//! `logferry dump`: what is inside of files, as text or JSON lines.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use logferry_model::Lsn;
use logferry_mssql_backup::set::BackupSet;
use logferry_mssql_backup::{Catalog, Error, LogBlocks, dump};
use logferry_mssql_format::page::PageId;

use crate::args::{DumpLog, DumpPage, DumpRows, DumpWhat};
use crate::failure::Failed;
use crate::files::{Kind, kind_of, open_pages};
use crate::output::Out;

pub(crate) fn perform(what: &DumpWhat, out: &mut Out) -> Result<ExitCode, Failed> {
    match what {
        DumpWhat::Page(args) => page(args, out)?,
        DumpWhat::Log(args) => log(args, out)?,
        DumpWhat::Rows(args) => rows(args, out)?,
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

fn log(args: &DumpLog, out: &mut Out) -> Result<(), Failed> {
    let [path, ..] = args.files.as_slice() else { return Ok(()) };
    match kind_of(path)? {
        Kind::Backup => {
            let set = BackupSet::open(&args.files, args.set)?;
            records(&mut set.log(set.header.first_lsn)?, path, out)
        }
        _ => Err(Error::WrongKind {
            path: path.clone(),
            expected: "log file or backup",
            found: "it begins like neither".to_owned(),
        }
        .into()),
    }
}

/// One record a line: LSN, transaction, operation, context, then what it is done to.
fn records(blocks: &mut dyn LogBlocks, path: &Path, out: &mut Out) -> Result<(), Failed> {
    let malformed = |e: logferry_mssql_format::bytes::Malformed| Error::Malformed(e.within(path.display()));
    while let Some(block) = blocks.next_block()? {
        if block.is_2000() {
            writeln!(out, "{} (a block of SQL Server 2000)", block.header.first_lsn)?;
            continue;
        }
        for record in block.records() {
            let record = record.map_err(malformed)?;
            write!(out, "{} {} {:<22} {:<18}", record.lsn, record.transaction, record.op, record.context)?;
            if record.prev_lsn != Lsn::ZERO {
                write!(out, " prev={}", record.prev_lsn)?;
            }
            if let Some(op) = record.page_op().map_err(malformed)? {
                write!(out, " page={} slot={} unit={:#x}", op.row.page, op.row.slot, op.alloc_unit())?;
                write!(out, " page_prev={}", op.prev_page_lsn)?;
            }
            if let Some(op) = record.row_op().map_err(malformed)? {
                write!(out, " rowset={:#x} offset={} size={}", op.rowset, op.offset, op.size)?;
            }
            if record.is_compensation() {
                write!(out, " compensation")?;
            }
            write!(out, " bytes={}", record.bytes().len())?;
            for element in record.elements() {
                write!(out, " [{}]", element.len())?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

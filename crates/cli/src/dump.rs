//! `logferry dump`: what is inside of files, as text or JSON lines.

mod changes;
mod log;

use std::io::Write;
use std::process::ExitCode;

use logferry_mssql_backup::{Catalog, dump};
use logferry_mssql_format::page::PageId;

use crate::args::{DumpPage, DumpRows, DumpWhat};
use crate::failure::Failed;
use crate::files::open_pages;
use crate::output::Out;
use crate::places::of_arguments;

pub(crate) fn perform(what: &DumpWhat, json: bool, out: &mut Out) -> Result<ExitCode, Failed> {
    match what {
        DumpWhat::Page(args) => page(args, out)?,
        DumpWhat::Log(args) => log::perform(args, json, out)?,
        DumpWhat::Rows(args) => rows(args, out)?,
        DumpWhat::Changes(args) => changes::perform(args, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A page as people write it.
fn page_id(text: &str) -> Result<PageId, Failed> {
    let wrong = || Failed::argument(format!("\"{text}\" is no page: expected file and page in decimal, like 1:9"));
    let (file, page) = text.split_once(':').ok_or_else(wrong)?;
    Ok(PageId::new(file.parse().map_err(|_| wrong())?, page.parse().map_err(|_| wrong())?))
}

fn page(args: &DumpPage, out: &mut Out) -> Result<(), Failed> {
    let id = page_id(&args.page)?;
    let pages = open_pages(&of_arguments(&args.files)?, args.set)?;
    write!(out, "{}", dump::page(&&*pages, id)?)?;
    Ok(())
}

fn rows(args: &DumpRows, out: &mut Out) -> Result<(), Failed> {
    let pages = open_pages(&of_arguments(&args.files)?, args.set)?;
    let catalog = Catalog::read(&*pages)?;
    let table = catalog.find_table(&args.table)?;
    dump::rows(&&*pages, &catalog, table, |line| Ok::<_, Failed>(writeln!(out, "{line}")?))?;
    Ok(())
}

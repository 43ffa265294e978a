//! `logferry inspect`: all that can be told of files, also of those that could not be run.

use std::collections::HashSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use logferry_mssql_backup::inspect::{Contents, inspect};
use logferry_mssql_backup::media::{Media, Survey};
use logferry_mssql_backup::set::{BackupKind, BackupSet, Guid, SetHeader, version_name};
use logferry_mssql_backup::{Catalog, DataFiles, Error, PageSource, Place};
use serde::Serialize;

use crate::args::Inspect;
use crate::failure::Failed;
use crate::files::{Kind, kind_of, with_folders};
use crate::output::{Out, Table};
use crate::places::of_arguments;
use logferry_mssql_format::log::xact::time_text;

/// What is told of a file.
#[derive(Debug, Serialize)]
struct FileReport {
    file: PathBuf,
    #[serde(flatten)]
    holds: Holds,
    /// Why it would be refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Holds {
    Backup {
        media_set: String,
        stripe: u16,
        stripes: u16,
        sets: Vec<SetReport>,
    },
    DataFile(DatabaseReport),
    LogFile {
        database_guid: String,
        vlfs: usize,
        vlfs_used: usize,
        first_lsn: Option<String>,
        last_lsn: Option<String>,
    },
    Unknown,
}

#[derive(Debug, Serialize)]
struct SetReport {
    number: u16,
    backup: String,
    copy_only: bool,
    checksums: bool,
    bulk_logged: bool,
    database: String,
    server: String,
    server_version: String,
    version: u16,
    product: &'static str,
    written: Option<String>,
    database_created: Option<String>,
    first_lsn: String,
    last_lsn: String,
    checkpoint_lsn: String,
    database_backup_lsn: String,
    set_guid: String,
    database_guid: String,
    fork_guid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_guid: Option<String>,
    files: Vec<DataFileReport>,
    /// Tables of a full backup: as the pages in it hold them, before its log is replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    tables: Option<Vec<TableReport>>,
    /// Why the tables cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    tables_unknown: Option<String>,
}

#[derive(Debug, Serialize)]
struct DataFileReport {
    id: u32,
    logical_name: String,
    physical_name: String,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct DatabaseReport {
    database: String,
    version: u16,
    product: &'static str,
    created_on: u16,
    database_guid: String,
    checkpoint_lsn: String,
    tables: Vec<TableReport>,
}

#[derive(Debug, Serialize)]
struct TableReport {
    table: String,
    rows: u64,
    columns: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assumed: Option<String>,
}

pub(crate) fn perform(args: &Inspect, json: bool, out: &mut Out) -> Result<ExitCode, Failed> {
    let files = with_folders(&of_arguments(&args.files)?)?;
    let media = surveys(&files);
    let mut told_sets = HashSet::new();
    let mut refused = false;
    for place in &files {
        let report = report(place, &media, &mut told_sets)?;
        refused |= report.refused.is_some();
        if json { out.json(&report)? } else { report.write(out)? }
    }
    Ok(if refused { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

/// All backup files that can be read whole: stripes are told of together.
fn surveys(places: &[Place]) -> Vec<Media> {
    let survey = |p: &Place| Media::survey(p).ok().filter(|s| s.error.is_none()).and_then(|s| s.media);
    places.iter().filter_map(survey).collect()
}

fn report(place: &Place, all: &[Media], told: &mut HashSet<([u8; 16], u16)>) -> Result<FileReport, Failed> {
    let path = || place.path().to_owned();
    let refuse = |holds, e: &Error| {
        let hint = e.hint().map(|h| format!("; {h}")).unwrap_or_default();
        FileReport { file: path(), holds, refused: Some(format!("{e}{hint}")) }
    };
    let kind = match kind_of(place) {
        Ok(kind) => kind,
        Err(e) => return Ok(refuse(Holds::Unknown, &e)),
    };
    Ok(match kind {
        Kind::Backup => {
            let Survey { media, error } = Media::survey(place)?;
            let (holds, stripes) = match &media {
                Some(media) => backup(media, all, told),
                None => (Holds::Unknown, None),
            };
            match error.or(stripes) {
                Some(e) => refuse(holds, &e),
                None => FileReport { file: path(), holds, refused: None },
            }
        }
        Kind::Data => match data_file(place) {
            Ok(database) => FileReport { file: path(), holds: Holds::DataFile(database), refused: None },
            Err(e) => refuse(Holds::Unknown, &e),
        },
        Kind::Log | Kind::Other => {
            let seen = inspect(place)?;
            let holds = match &seen.contents {
                Contents::Log { header, vlfs, vlfs_used, range } => Holds::LogFile {
                    database_guid: Guid(header.binding_guid).to_string(),
                    vlfs: *vlfs,
                    vlfs_used: *vlfs_used,
                    first_lsn: range.map(|(first, _)| first.to_string()),
                    last_lsn: range.map(|(_, last)| last.to_string()),
                },
                _ => Holds::Unknown,
            };
            match &seen.error {
                Some(e) => refuse(holds, e),
                None => FileReport { file: path(), holds, refused: None },
            }
        }
    })
}

/// Tells of a backup file. The error says that stripes are missing.
fn backup(media: &Media, all: &[Media], told: &mut HashSet<([u8; 16], u16)>) -> (Holds, Option<Error>) {
    let mut missing = None;
    let stripes: Vec<Media> = all.iter().filter(|m| m.tape.media_set == media.tape.media_set).cloned().collect();
    let stripes = if stripes.is_empty() { vec![media.clone()] } else { stripes };
    let mut sets = Vec::new();
    for part in &media.sets {
        let header = SetHeader::new(part);
        let mut report = set(part.start.number, &header, part);
        match BackupSet::join(&stripes, Some(part.start.number)) {
            Ok(set) if header.kind == BackupKind::Full => {
                // Of a striped backup the tables are told once.
                if told.insert((media.tape.media_set, part.start.number)) {
                    match set.pages().and_then(|pages| tables(&pages)) {
                        Ok((_, tables)) => report.tables = Some(tables),
                        Err(e) => report.tables_unknown = Some(e.to_string()),
                    }
                }
            }
            Ok(_) => {}
            Err(e) => missing = Some(e),
        }
        sets.push(report);
    }
    let tape = &media.tape;
    let media_set = Guid(tape.media_set).to_string();
    (Holds::Backup { media_set, stripe: tape.stripe, stripes: tape.stripes, sets }, missing)
}

fn set(number: u16, header: &SetHeader, part: &logferry_mssql_backup::media::SetPart) -> SetReport {
    let (major, minor, build) = header.server_version;
    SetReport {
        number,
        backup: header.kind.to_string(),
        copy_only: header.copy_only,
        checksums: header.checksums,
        bulk_logged: header.bulk_logged,
        database: header.database.clone(),
        server: header.server.clone(),
        server_version: format!("{major}.{minor}.{build}"),
        version: header.version,
        product: version_name(header.version),
        database_created: header.created_us.map(time_text),
        written: header.written_us.map(time_text),
        first_lsn: header.first_lsn.to_string(),
        last_lsn: header.last_lsn.to_string(),
        checkpoint_lsn: header.checkpoint_lsn.to_string(),
        database_backup_lsn: header.database_backup_lsn.to_string(),
        set_guid: header.set_guid.to_string(),
        database_guid: header.binding_guid.to_string(),
        fork_guid: header.fork_guid.to_string(),
        base_guid: (!header.base_guid.is_none()).then(|| header.base_guid.to_string()),
        files: part
            .config
            .files
            .iter()
            .map(|f| DataFileReport {
                id: f.id,
                logical_name: f.logical_name.clone(),
                physical_name: f.physical_name.clone(),
                bytes: f.bytes,
            })
            .collect(),
        tables: None,
        tables_unknown: None,
    }
}

fn data_file(place: &Place) -> Result<DatabaseReport, Error> {
    let files = DataFiles::open(&[place])?;
    let (catalog, tables) = tables(&files)?;
    Ok(DatabaseReport {
        database: catalog.boot.name.clone(),
        version: catalog.boot.version,
        product: version_name(catalog.boot.version),
        created_on: catalog.boot.create_version,
        database_guid: files.binding_guid().to_string(),
        checkpoint_lsn: catalog.boot.checkpoint_lsn.to_string(),
        tables,
    })
}

fn tables(pages: &dyn PageSource) -> Result<(Catalog, Vec<TableReport>), Error> {
    let catalog = Catalog::read(pages)?;
    let tables = catalog
        .tables
        .iter()
        .enumerate()
        .map(|(i, t)| TableReport {
            table: t.version.name.to_string(),
            rows: catalog.recorded_rows(i),
            columns: t.version.columns.len(),
            unreadable: t.unreadable.clone(),
            assumed: t.assumed.clone(),
        })
        .collect();
    Ok((catalog, tables))
}

impl FileReport {
    fn write(&self, out: &mut Out) -> std::io::Result<()> {
        let file = self.file.display();
        match &self.holds {
            Holds::Backup { media_set, stripe, stripes, sets } => {
                writeln!(out, "{file}: backup file, stripe {stripe} of {stripes}, media set {media_set}")?;
                for set in sets {
                    set.write(out)?;
                }
            }
            Holds::DataFile(d) => {
                let DatabaseReport { database, version, product, created_on, .. } = d;
                writeln!(
                    out,
                    "{file}: data file of database \"{database}\", {product} ({version}, made as {created_on})"
                )?;
                writeln!(out, "  database {}, checkpoint {}", d.database_guid, d.checkpoint_lsn)?;
                write_tables(&d.tables, out)?;
            }
            Holds::LogFile { database_guid, vlfs, vlfs_used, first_lsn, last_lsn } => {
                writeln!(out, "{file}: log file, {vlfs_used} of {vlfs} virtual log files used")?;
                writeln!(out, "  database {database_guid}")?;
                if let (Some(first), Some(last)) = (first_lsn, last_lsn) {
                    writeln!(out, "  records {first} to {last}")?;
                }
            }
            Holds::Unknown => writeln!(out, "{file}:")?,
        }
        if let Some(why) = &self.refused {
            writeln!(out, "  would be refused: {why}")?;
        }
        Ok(())
    }
}

impl SetReport {
    fn write(&self, out: &mut Out) -> std::io::Result<()> {
        let SetReport { number, backup, database, server, server_version, version, product, .. } = self;
        writeln!(
            out,
            "  set {number}: {backup} backup of \"{database}\" by {server}, {product} ({version}, {server_version})"
        )?;
        let time = |t: &Option<String>| t.clone().unwrap_or_else(|| "unknown".to_owned());
        let mut flags = String::new();
        for (on, name) in
            [(self.copy_only, "copy only"), (self.checksums, "checksums"), (self.bulk_logged, "bulk-logged pages")]
        {
            if on {
                flags.push_str(", ");
                flags.push_str(name);
            }
        }
        writeln!(out, "    written {}, database made {}{flags}", time(&self.written), time(&self.database_created))?;
        writeln!(out, "    log {} to {}, checkpoint {}", self.first_lsn, self.last_lsn, self.checkpoint_lsn)?;
        writeln!(out, "    database {}, recovery fork {}", self.database_guid, self.fork_guid)?;
        if let Some(base) = self.base_guid.as_ref().filter(|_| self.backup == "differential") {
            writeln!(out, "    based on set {base}")?;
        }
        for f in &self.files {
            writeln!(out, "    file {}: {} ({}), {} MB", f.id, f.logical_name, f.physical_name, f.bytes >> 20)?;
        }
        if let Some(tables) = &self.tables {
            write_tables(tables, out)?;
        }
        if let Some(why) = &self.tables_unknown {
            writeln!(out, "    tables: {why}")?;
        }
        Ok(())
    }
}

fn write_tables(tables: &[TableReport], out: &mut Out) -> std::io::Result<()> {
    if tables.is_empty() {
        return writeln!(out, "    no user tables");
    }
    let mut shown = Table::new(&["table", "rows", "columns", ""]);
    for t in tables {
        let note = t.unreadable.clone().or_else(|| t.assumed.clone()).unwrap_or_default();
        shown.row([t.table.clone(), t.rows.to_string(), t.columns.to_string(), note]);
    }
    shown.write(out, "    ")
}

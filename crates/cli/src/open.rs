//! From the paths of a task or an argument to what is in them.

use logferry_config::{BackupSource as Paths, Task};
use logferry_model::{Fault, TableName};
use logferry_mssql_backup::chain::{Base, Differentials, PlanOptions, Tail};
use logferry_mssql_backup::scan::read_table;
use logferry_mssql_backup::{
    BackupSet, BackupSource, Backups, Catalog, Chain, Changes, DataFiles, Error, LogFiles, PageSource, Place,
    ReplayOptions, Result, SoundSets, Watch,
};
use logferry_testkit::compare::Expected;

use crate::args::DumpChanges;
use crate::failure::Failed;
use crate::files::{Kind, kind_of};
use crate::places::TaskFiles;

/// What a source is made of.
enum Parts {
    /// One set of a file, and nothing after it.
    Set(Box<Chain>),
    /// Backups.
    Backups(Backups),
    /// The data files of one database, and its log files where there are any.
    Files(DataFiles, Option<LogFiles>),
}

/// The files of a task as its source.
pub(crate) fn source(
    task: &Task,
    paths: &Paths,
    files: &TaskFiles,
    sound: &SoundSets,
) -> std::result::Result<BackupSource, Fault> {
    let options = replay_options(task);
    Ok(match parts(paths, files)? {
        Parts::Backups(backups) => {
            of_backups(backups, paths.database.clone(), task, paths, files)?.knowing(sound.clone())
        }
        Parts::Set(_) | Parts::Files(..) if paths.watch.is_some() => {
            return Err(Fault::operator("only a chain of backups can be watched, not data files and not a single set")
                .with_hint("leave watch out, or give backups"));
        }
        Parts::Set(chain) => BackupSource::of_chain(*chain, options)?.knowing(sound.clone()),
        Parts::Files(data, Some(log)) => BackupSource::of_files(data, log, options)?,
        Parts::Files(data, None) => BackupSource::of_data(data, options)?,
    })
}

/// One database of some backups as a source.
pub(crate) fn of_backups(
    backups: Backups,
    database: Option<String>,
    task: &Task,
    paths: &Paths,
    files: &TaskFiles,
) -> Result<BackupSource> {
    let source = BackupSource::of_backups(backups, database, plan_options(paths), replay_options(task))?;
    Ok(match paths.watch {
        Some(every) => source.watching(Watch { places: files.files.clone(), every }),
        None => source,
    })
}

/// How a chain is planned: one that is watched may have an open end.
pub(crate) fn plan_options(paths: &Paths) -> PlanOptions {
    let tail = if paths.watch.is_some() { Tail::Open } else { Tail::Closed };
    PlanOptions { tail, ..PlanOptions::default() }
}

fn replay_options(task: &Task) -> ReplayOptions {
    ReplayOptions {
        pages_max: (task.memory.pages_mb as usize) << 20,
        chunk_pages: task.copy.chunk_mb.saturating_mul(PAGES_PER_MB),
        ..ReplayOptions::default()
    }
}

const PAGES_PER_MB: u32 = 128;

/// The name of the database in the files.
pub(crate) fn database_name(paths: &Paths) -> Result<String> {
    Ok(match parts(paths, &TaskFiles::of(paths)?)? {
        Parts::Set(chain) => chain.database,
        Parts::Backups(backups) => backups.plan(paths.database.as_deref(), plan_options(paths))?.database,
        Parts::Files(data, _) => Catalog::read(&data)?.boot.name,
    })
}

/// All changes that the files tell of.
pub(crate) fn changes(args: &DumpChanges) -> std::result::Result<Changes, Failed> {
    let (files, log) = if args.data.is_empty() { (&args.chain, Vec::new()) } else { (&args.data, args.log.clone()) };
    let paths = Paths { database: args.database.clone(), set: args.set, log, ..Paths::of_files(files.clone()) };
    let options = ReplayOptions::default();
    Ok(match parts(&paths, &TaskFiles::of(&paths)?)? {
        Parts::Set(chain) => Changes::of_chain(*chain, options)?,
        Parts::Backups(backups) => {
            // The longest history: from the oldest full backup on, with no differential in the place of logs.
            let plan =
                PlanOptions { base: Base::Oldest, differentials: Differentials::Ignore, ..PlanOptions::default() };
            Changes::of_chain(backups.plan(paths.database.as_deref(), plan)?, options)?
        }
        Parts::Files(data, Some(log)) => Changes::of_files(data, log, options)?,
        Parts::Files(..) => {
            return Err(Failed::argument(
                "changes are in the log: give the data files with --data, their log files with --log",
            ));
        }
    })
}

/// Finds out what the files are, and opens them.
fn parts(paths: &Paths, places: &TaskFiles) -> Result<Parts> {
    let TaskFiles { files, log } = places;
    if let Some(set) = paths.set {
        let full = BackupSet::open(files, Some(set))?;
        let database = full.header.database.clone();
        return Ok(Parts::Set(Box::new(Chain { database, full, differential: None, logs: vec![], unneeded: vec![] })));
    }
    let is_data =
        |place: &Place| !place.is_folder().unwrap_or(true) && kind_of(place).is_ok_and(|kind| kind == Kind::Data);
    if !log.is_empty() || files.iter().any(is_data) {
        let log = if log.is_empty() { None } else { Some(LogFiles::open(log)?) };
        if let (Some(_), []) = (&log, files.as_slice()) {
            let found = "a log file; its data files (.mdf) are missing".to_owned();
            let path = paths.log.first().cloned().unwrap_or_default();
            return Err(Error::WrongKind { path, expected: "database", found });
        }
        return Ok(Parts::Files(DataFiles::open(files)?, log));
    }
    Ok(Parts::Backups(Backups::find(files)?))
}

/// The rows on the pages when all of the log was replayed, by table, and how many transactions are open there.
pub(crate) fn rows_at_end(paths: &Paths) -> std::result::Result<(Vec<(TableName, Expected)>, usize), Failed> {
    let options = ReplayOptions::default();
    let mut open = 0;
    let mut rows = Vec::new();
    let changes = match parts(paths, &TaskFiles::of(paths)?)? {
        Parts::Set(chain) => Changes::of_chain(*chain, options)?,
        Parts::Backups(backups) => {
            Changes::of_chain(backups.plan(paths.database.as_deref(), PlanOptions::default())?, options)?
        }
        Parts::Files(data, Some(log)) => Changes::of_files(data, log, options)?,
        Parts::Files(data, None) => {
            read_all(&data, &Catalog::read(&data)?, &mut rows)?;
            return Ok((rows, open));
        }
    };
    let mut changes = changes;
    while changes.next(1 << 20, 1 << 16)?.is_some() {
        open = changes.open_transactions();
    }
    let catalog = changes.catalog()?.clone();
    read_all(changes.pages(), &catalog, &mut rows)?;
    Ok((rows, open))
}

fn read_all<S: PageSource>(pages: &S, catalog: &Catalog, out: &mut Vec<(TableName, Expected)>) -> Result<()> {
    for (index, table) in catalog.tables.iter().enumerate() {
        let mut expected = Expected::new(&table.version);
        read_table(pages, catalog, index, |cells| {
            expected.row(cells);
            Ok::<_, Error>(())
        })?;
        out.push((table.version.name.clone(), expected));
    }
    Ok(())
}

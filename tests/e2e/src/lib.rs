//! What the end-to-end tests share: real files, a target of one's own, and what its tables must hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use logferry_config::{BackupSource as Paths, Secret, Task};
use logferry_model::{Fault, TableName};
use logferry_mssql_backup::chain::PlanOptions;
use logferry_mssql_backup::scan::read_table;
use logferry_mssql_backup::{
    BackupSet, BackupSource, Backups, Catalog, Chain, Changes, DataFiles, Error, LogFiles, PageSource, ReplayOptions,
};
use logferry_pipeline::{Failure, Progress, Stopper, Summary, run};
use logferry_testkit::compare::Expected;
use logferry_testkit::postgres::{Database, PrivatePostgres};

/// Files that real servers wrote: `$LOGFERRY_FIXTURES`, else beside the project. `None`, and a word about it, where
/// there are none.
pub fn fixtures() -> Option<PathBuf> {
    let folder = match std::env::var_os("LOGFERRY_FIXTURES") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures"),
    };
    if !folder.is_dir() {
        eprintln!("SKIPPED: no real files at {}; set LOGFERRY_FIXTURES", folder.display());
        return None;
    }
    Some(folder)
}

/// A future whose code is made here, once, and not again in each test that waits for it.
pub type Built<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What the files of a source are.
#[derive(Clone, Debug)]
pub enum Files {
    /// A chain of backups, in any order.
    Backups(Vec<PathBuf>),
    /// One set of a backup file.
    Set(PathBuf, u16),
    /// Data files, and log files where there are any.
    Data(Vec<PathBuf>, Vec<PathBuf>),
}

impl Files {
    /// Opens a source of them.
    ///
    /// # Errors
    /// What the files are refused for.
    pub fn source(&self) -> Result<BackupSource, Fault> {
        // Small chunks, so that there are several even of small tables.
        let options = ReplayOptions { chunk_pages: 16, ..ReplayOptions::default() };
        Ok(match self {
            Files::Backups(paths) => {
                BackupSource::of_backups(Backups::find(paths)?, None, PlanOptions::default(), options)?
            }
            Files::Set(path, set) => BackupSource::of_chain(chain_of(path, *set)?, options)?,
            Files::Data(data, log) if log.is_empty() => BackupSource::of_data(DataFiles::open(data)?, options)?,
            Files::Data(data, log) => BackupSource::of_files(DataFiles::open(data)?, LogFiles::open(log)?, options)?,
        })
    }

    /// The rows on their pages when the whole log was replayed over them.
    ///
    /// # Errors
    /// What the files are refused for.
    pub fn rows(&self) -> Result<Rows, Error> {
        let options = ReplayOptions::default();
        let mut changes = match self {
            Files::Backups(paths) => {
                Changes::of_chain(Backups::find(paths)?.plan(None, PlanOptions::default())?, options)?
            }
            Files::Set(path, set) => Changes::of_chain(chain_of(path, *set)?, options)?,
            Files::Data(data, _) => return Rows::read(&DataFiles::open(data)?),
        };
        while changes.next(1 << 20, 1 << 16)?.is_some() {}
        assert_eq!(changes.open_transactions(), 0, "no transaction is open where the chain ends");
        Rows::read(changes.pages())
    }
}

fn chain_of(path: &Path, set: u16) -> Result<Chain, Error> {
    let full = BackupSet::open(&[path.to_owned()], Some(set))?;
    let database = full.header.database.clone();
    Ok(Chain { database, full, differential: None, logs: Vec::new(), unneeded: Vec::new() })
}

/// The rows of all user tables.
#[derive(Debug, Default)]
pub struct Rows {
    tables: Vec<(TableName, u64, Expected)>,
    /// Tables whose rows cannot be read in this version, and how many they are said to be.
    pub unreadable: Vec<(TableName, u64)>,
}

impl Rows {
    /// Reads all tables from pages.
    ///
    /// # Errors
    /// Where a page or a table cannot be read.
    pub fn read<S: PageSource>(pages: &S) -> Result<Rows, Error> {
        let catalog = Catalog::read(pages)?;
        let mut rows = Rows::default();
        for (index, table) in catalog.tables.iter().enumerate() {
            let name = table.version.name.clone();
            if table.unreadable.is_some() && catalog.recorded_rows(index) > 0 {
                rows.unreadable.push((name, catalog.recorded_rows(index)));
                continue;
            }
            let mut expected = Expected::new(&table.version);
            let mut count = 0;
            read_table(pages, &catalog, index, |cells| {
                count += 1;
                expected.row(cells);
                Ok::<_, Error>(())
            })?;
            rows.tables.push((name, count, expected));
        }
        Ok(rows)
    }

    /// How many there are, by table.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let readable = self.tables.iter().map(|(name, count, _)| (name, count));
        let unreadable = self.unreadable.iter().map(|(name, count)| (name, count));
        readable.chain(unreadable).map(|(name, count)| (name.to_string(), *count)).collect()
    }
}

/// A database of one's own, and a task that writes to it.
#[derive(Debug)]
pub struct Target {
    /// The database.
    pub database: Database<'static>,
    /// The task; its source is not used.
    pub task: Task,
}

impl Target {
    /// An empty database.
    ///
    /// # Panics
    /// Where PostgreSQL cannot be started.
    pub fn new() -> Target {
        let database = PrivatePostgres::shared().create_database().unwrap_or_else(|e| panic!("{e}"));
        let nowhere = Paths::of_files(Vec::new());
        let task = Task::of_parts("e2e", nowhere, Secret::new(database.url()));
        Target { database, task }
    }

    /// Runs the task to the end of the files.
    ///
    /// # Errors
    /// As [`logferry_pipeline::run`].
    pub fn try_run<'a>(&'a self, files: &'a Files) -> Built<'a, Result<Summary, Failure>> {
        Box::pin(async {
            let (_stopper, stop) = Stopper::new();
            run(&self.task, async || files.source(), &Progress::new(), &stop).await
        })
    }

    /// Runs the task to the end of the files.
    ///
    /// # Panics
    /// Where it fails.
    pub async fn run(&self, files: &Files) -> Summary {
        match self.try_run(files).await {
            Ok(summary) => summary,
            Err(Failure { phase, fault }) => panic!("while {}: {fault} ({:?})", phase.name(), fault.hint),
        }
    }

    /// Compares every table with what it must hold.
    ///
    /// # Panics
    /// Where there is a difference.
    pub async fn check(&self, rows: Rows) {
        let client = self.database.client().await.unwrap_or_else(|e| panic!("{e}"));
        for (name, _, expected) in rows.tables {
            let (schema, table) = (name.schema.to_ascii_lowercase(), name.name.to_ascii_lowercase());
            let found = expected.compare(&client, &schema, &table).await.unwrap_or_else(|e| panic!("{name}: {e:?}"));
            assert!(found.is_equal(), "table {name}: {found:?}");
        }
    }

    /// The answer to a question that has one value, as text.
    ///
    /// # Panics
    /// Where the server refuses it.
    pub async fn ask(&self, sql: &str) -> String {
        let client = self.database.client().await.unwrap_or_else(|e| panic!("{e}"));
        client.query_one(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")).get(0)
    }
}

impl Default for Target {
    fn default() -> Self {
        Target::new()
    }
}

//! Files of a real server, served read-only: the rows of its pages, the records of its log.
//!
//! ```text
//!  .mdf ── pages ── base tables ── tables, rows ──┐
//!                                                 ├── a Database that refuses every change
//!  .ldf ── VLF headers ── blocks of the last use ─┘
//! ```
//!
//! Rows are read once, when the files are attached, and kept as callers would have given them. The log is the file's bytes.
//! Ids of tables, rowsets and allocation units are the file's own, so records and catalog views speak of the same things.
//!
//! Files of a server that was not shut down are recovered in memory. Refused by name: files of before 2008, tables whose rows are compressed
//! or not on pages, more than one data or log file.

mod constraints;
mod layout;
mod log;
mod modules;
mod pages;
mod recovery;
mod reopen;
mod statistics;
mod tables;

use std::collections::BTreeMap;
use std::path::Path;

use self::log::read_log;
use self::pages::Pages;
pub use self::reopen::Kept;
pub use self::statistics::StatisticsDef;
use self::tables::{BaseTables, Source};
use super::constraint::{ConstraintDef, ConstraintKind};
use super::entry::Index;
use super::{Database, Error, Options, SpaceUnit};

/// How much of a data file is taken.
#[derive(Debug)]
pub(super) struct Space {
    /// Pages of the file.
    pub pages: u32,
    /// Allocation units, as [`Database::space`] gives them.
    pub units: Vec<SpaceUnit>,
}

/// 2008
const OLDEST: u16 = 655;

impl Database {
    /// A database made of a data file and a log file of a server that does not run.
    ///
    /// # Errors
    /// Where a file cannot be read, is damaged, or has something in it that this engine does not read.
    pub fn attach(data: &Path, log: &Path, options: Options) -> Result<Self, Error> {
        let mut pages = Pages::open(data)?;
        let boot = pages.boot()?;
        let bad = |what: String| Error::Unsupported(format!("{}: {what}", data.display()));
        if boot.version < OLDEST {
            return Err(bad(format!("a database of version {}, of before SQL Server 2008", boot.version)));
        }
        let log = read_log(log, &pages)?;
        recovery::recover(&mut pages, &log, boot.checkpoint_lsn)?;
        let base = BaseTables::read(&pages, &boot)?;
        let mut db = Database::create(options)?;
        db.log = log;
        db.read_only = true;
        db.checkpoint_lsn = boot.checkpoint_lsn;
        db.guids.binding = pages.binding()?;
        db.schemas = base.schemas.iter().map(|(id, name)| (name.clone(), *id)).collect();
        db.attached_modules = base.modules.clone();
        db.attached_dependencies = base.dependencies.clone();
        db.attached_statistics = base.statistics();
        db.attached_space = Some(Space { pages: pages.raw().count() as u32, units: base.space.clone() });
        db.tables = BTreeMap::new();
        db.indexes = BTreeMap::new();
        for table in &base.tables {
            let Source { table: held, rowset } = base.build(&pages, table)?;
            db.rowsets.insert(rowset.id, rowset);
            db.tables.insert(table.id, held);
            let known = base.nonclustered(table.id);
            let keys = known.iter().filter_map(|def| {
                let (object, system_named) = base.key_object(table.id, &def.name)?;
                let kind = ConstraintKind::Key { primary: def.primary, index: def.id };
                Some(ConstraintDef { object, name: def.name.clone(), system_named, kind, switch: Default::default() })
            });
            db.constraints.insert(table.id, keys.chain(base.constraints.of(table.id)).collect());
            db.indexes.insert(table.id, known.into_iter().map(|def| Index { def, kept: None }).collect());
            db.key_names.extend(base.clustered_key(table.id).map(|key| (table.id, key)));
        }
        Ok(db)
    }

    /// Whether every change is refused.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// An error, where changes are refused.
    pub(super) fn writable(&self) -> Result<(), Error> {
        if self.read_only { Err(Error::ReadOnly(self.options.name.clone())) } else { Ok(()) }
    }
}

/// What is wrong with a file.
fn damaged(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::Damaged { path: path.display().to_string(), what: what.to_string() }
}

fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.display().to_string(), source })
}

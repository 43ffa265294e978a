//! Backup chains with made-up histories: seeded, so that a failure can be had again, and with the rows that
//! must come out after every file.
//!
//! ```no_run
//! use logferry_mssql_standin_storage::workload::{WorkloadOptions, generate_chain};
//!
//! let chain = generate_chain(42, &WorkloadOptions::default(), "/tmp/chain".as_ref()).unwrap();
//! for file in &chain.files {
//!     println!("{:?} {}: {} tables", file.kind, file.path.display(), file.expected.len());
//! }
//! ```
//!
//! Several transactions are open at a time and take turns; some are rolled back, wholly or to a savepoint; some stay
//! open while backups are made. Rows move: keys change, pages split, heaps forward, values leave their rows and come
//! back. What is expected comes from what was asked of the engine, never from its pages.

mod bulk;
mod options;
mod random;
mod tables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logferry_model::Lsn;
use logferry_mssql_format::encode::BackupKind;

pub use self::bulk::{bench_backup, bench_database, bench_table};
pub use self::options::WorkloadOptions;
pub use self::random::Random;
use self::tables::added_column;
pub use self::tables::{TableKind, random_row, random_value};
use crate::{Database, Error, KeyKind, KeyName, Options, Row, RowKey, TableDef, Transaction, XactOptions};

/// The committed rows of every table, by `schema.table`.
pub type Expected = BTreeMap<String, Vec<Arc<Row>>>;

/// A backup of a chain.
#[derive(Clone, Debug)]
pub struct ChainFile {
    /// Where it is.
    pub path: PathBuf,
    /// What kind of backup it is.
    pub kind: BackupKind,
    /// Where its log ends, exclusive.
    pub last_lsn: Lsn,
    /// What is committed up to there.
    pub expected: Expected,
    /// The tables that there are.
    pub tables: Vec<TableDef>,
}

/// A chain of backups, and what must come out of it.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The database's name.
    pub database: String,
    /// The tables that there are at its end.
    pub tables: Vec<TableDef>,
    /// The backups, in the order in which they were made.
    pub files: Vec<ChainFile>,
}

/// Makes a chain in a folder: a full backup, then log backups, some with a differential after them.
///
/// # Errors
/// When a file cannot be written, or the options ask for what the engine does not do.
pub fn generate_chain(seed: u64, options: &WorkloadOptions, folder: &Path) -> Result<Chain, Error> {
    let mut history = History::begin(seed, options)?;
    let name = options.database.name.clone();
    let mut files = Vec::new();
    history.run(options.initial_rows / 2);
    let full = folder.join(format!("{name}_full.bak"));
    if options.fuzzy_full {
        let mut backup = history.db.begin_backup();
        while backup.left() > 0 {
            history.db.copy_pages(&mut backup, 3);
            history.run(5);
        }
        history.pause_for_base();
        history.db.finish_backup(backup, &full)?;
    } else {
        history.pause_for_base();
        history.db.backup_full(&full)?;
    }
    files.push(history.file(full, BackupKind::Full));
    for n in 1..=options.logs {
        if n == 2 && options.late_table {
            history.add_table(TableKind::Late)?;
        }
        history.run(options.steps);
        if history.random.percent(options.truncate_percent) {
            history.truncate_one();
        }
        if options.alter_percent > 0 && history.random.percent(options.alter_percent) {
            for _ in 0..if options.reshape_percent > 0 { 3 } else { 1 } {
                history.alter_one();
                history.run(options.steps / 4);
            }
        }
        history.pause();
        let path = folder.join(format!("{name}_log_{n:03}.trn"));
        history.db.backup_log(&path)?;
        files.push(history.file(path, BackupKind::Log));
        if options.differential_every > 0 && n % options.differential_every == 0 {
            history.run(options.steps / 4);
            history.pause_for_base();
            let path = folder.join(format!("{name}_diff_{n:03}.bak"));
            history.db.backup_diff(&path)?;
            files.push(history.file(path, BackupKind::Differential));
        }
    }
    let tables = history.db.tables().map(|(_, def)| def.clone()).collect();
    Ok(Chain { database: name, tables, files })
}

/// A database with a made-up history that goes on as long as it is asked to.
#[derive(Debug)]
pub struct History {
    /// The database.
    pub db: Database,
    options: WorkloadOptions,
    random: Random,
    tables: Vec<HistoryTable>,
    open: Vec<Open>,
}

#[derive(Debug)]
struct HistoryTable {
    id: u32,
    kind: TableKind,
    def: TableDef,
    /// Rows that were there at some time.
    keys: Vec<RowKey>,
    serial: i32,
}

#[derive(Debug)]
struct Open {
    xact: Transaction,
    steps_left: u32,
    savepoints: Vec<String>,
    /// Whether it changed a table with values outside of rows.
    lobs: bool,
}

impl History {
    /// Makes the tables and their first rows.
    pub fn begin(seed: u64, options: &WorkloadOptions) -> Result<Self, Error> {
        let mut random = Random::new(seed);
        let database = Options { seed: random.next(), ..options.database.clone() };
        let db = Database::create(database)?;
        let mut history = History { db, options: options.clone(), random, tables: Vec::new(), open: Vec::new() };
        for kind in options.tables.clone() {
            history.add_table(kind)?;
        }
        for table in 0..history.tables.len() {
            let xact = history.db.begin(XactOptions { name: "INSERT", spid: 51 });
            for _ in 0..options.initial_rows {
                history.insert(xact, table);
            }
            history.db.commit(xact)?;
        }
        Ok(history)
    }

    /// Makes a table.
    pub fn add_table(&mut self, kind: TableKind) -> Result<(), Error> {
        let def = kind.def();
        let id = self.db.create_table(def.clone())?;
        if self.options.cluster_heaps && def.primary_key.is_empty() {
            let kind = KeyKind::Index { unique: false };
            self.db.cluster(id, vec![1], KeyName { name: "cx".into(), kind, ..KeyName::default() })?;
        }
        self.tables.push(HistoryTable { id, kind, def, keys: Vec::new(), serial: 0 });
        Ok(())
    }

    /// Goes on for some steps.
    pub fn run(&mut self, steps: u32) {
        for _ in 0..steps {
            self.step();
        }
    }

    /// Ends what may not be open when a log backup ends.
    pub fn pause(&mut self) {
        if !self.options.open_across_backups {
            self.end_all();
        }
    }

    /// Ends what may not be open when a full or differential backup ends.
    pub fn pause_for_base(&mut self) {
        self.pause();
        if !self.options.open_lobs_in_base {
            for at in (0..self.open.len()).rev() {
                if self.open[at].lobs {
                    self.end(at);
                }
            }
        }
    }

    /// Ends all transactions.
    pub fn end_all(&mut self) {
        while !self.open.is_empty() {
            self.end(self.open.len() - 1);
        }
    }

    /// What is committed now.
    pub fn expected(&self) -> Expected {
        self.db
            .tables()
            .map(|(id, def)| {
                let rows = self.db.rows(id).map(|(_, row)| Arc::clone(row)).collect();
                (format!("{}.{}", def.schema, def.name), rows)
            })
            .collect()
    }

    fn file(&mut self, path: PathBuf, kind: BackupKind) -> ChainFile {
        let tables = self.db.tables().map(|(_, def)| def.clone()).collect();
        ChainFile { path, kind, last_lsn: self.db.last_backup_lsn(), expected: self.expected(), tables }
    }

    fn truncate_one(&mut self) {
        if self.tables.is_empty() {
            return;
        }
        let table = self.random.below(self.tables.len() as u64) as usize;
        // A table that somebody holds is left alone.
        if self.db.truncate(self.tables[table].id).is_ok() {
            self.tables[table].keys.clear();
        }
    }

    /// Adds a column to a table, drops one, or drops the late table. Transactions end before.
    fn alter_one(&mut self) {
        self.end_all();
        if self.options.reshape_percent > 0 && self.random.percent(self.options.reshape_percent) {
            return self.reshape_one();
        }
        if self.tables.is_empty() {
            return;
        }
        let at = self.random.below(self.tables.len() as u64) as usize;
        let table = &mut self.tables[at];
        if table.kind == TableKind::Late && self.random.percent(50) {
            self.db.drop_table(table.id).expect("nobody holds it");
            self.tables.remove(at);
            return;
        }
        let droppable: Vec<usize> =
            (0..table.def.columns.len()).filter(|c| !table.def.primary_key.contains(c)).collect();
        if self.random.percent(60) || droppable.len() < 2 {
            table.serial += 1;
            let column = added_column(table.serial, &mut self.random);
            self.db.add_column(table.id, column.clone()).expect("nobody holds it");
            table.def.columns.push(column);
        } else {
            let column = droppable[self.random.below(droppable.len() as u64) as usize];
            self.db.drop_column(table.id, column).expect("nobody holds it");
            table.def = self.db.table_def(table.id).expect("it is there").clone();
        }
    }

    /// Gives a table or a column another name or a column another type, drops a table or makes one.
    fn reshape_one(&mut self) {
        let choice = self.random.below(10);
        if choice == 0 || self.tables.is_empty() {
            let kinds = self.options.tables.clone();
            let kind = kinds[self.random.below(kinds.len() as u64) as usize];
            // One of another name still has the name of its key.
            if self.tables.iter().all(|table| table.kind != kind) {
                self.add_table(kind).expect("the name is free");
            }
            return;
        }
        let at = self.random.below(self.tables.len() as u64) as usize;
        let column = self.random.below(self.tables[at].def.columns.len() as u64) as usize;
        let table = &mut self.tables[at];
        table.serial += 1;
        match choice {
            1 => {
                self.db.drop_table(table.id).expect("nobody holds it");
                self.tables.remove(at);
                return;
            }
            2 | 3 => {
                let name = format!("Renamed{}_{}", table.id, table.serial);
                self.db.rename_table(table.id, &name).expect("nobody holds it");
            }
            4..=6 => {
                let name = format!("renamed_{}", table.serial);
                self.db.rename_column(table.id, column, &name).expect("nobody holds it");
            }
            _ => {
                if table.def.primary_key.contains(&column) {
                    return;
                }
                let Some(new) = tables::retyped(&table.def.columns[column]) else { return };
                let rows: Vec<_> =
                    self.db.rows(table.id).map(|(key, row)| (key.clone(), row[column].clone())).collect();
                let values: Vec<_> =
                    rows.into_iter().map(|(key, v)| (key, v.map(|v| tables::widened(v, &new)))).collect();
                self.db.alter_column(table.id, column, new, &values).expect("nobody holds it");
            }
        }
        let table = &mut self.tables[at];
        table.def = self.db.table_def(table.id).expect("it is there").clone();
    }

    fn step(&mut self) {
        let ticks = self.random.below(50);
        self.db.advance_clock(ticks);
        if self.random.percent(self.options.cleanup_percent) {
            self.db.ghost_cleanup();
        }
        if self.random.percent(self.options.checkpoint_percent) {
            self.db.checkpoint();
        }
        let begin = self.open.is_empty() || self.open.len() < self.options.open_transactions && self.random.percent(20);
        if begin {
            let name = ["user_transaction", "INSERT", "UPDATE", "implicit_transaction"][self.random.below(4) as usize];
            let spid = 51 + self.open.len() as u32;
            let xact = self.db.begin(XactOptions { name, spid });
            // Most are short, some are long.
            let most = if self.random.percent(10) { 60 } else { 8 };
            let steps_left = 1 + self.random.below(most) as u32;
            self.open.push(Open { xact, steps_left, savepoints: Vec::new(), lobs: false });
            return;
        }
        let at = self.random.below(self.open.len() as u64) as usize;
        if self.open[at].steps_left == 0 {
            return self.end(at);
        }
        self.open[at].steps_left -= 1;
        let xact = self.open[at].xact;
        if self.random.percent(self.options.savepoint_percent) {
            return self.use_savepoint(at);
        }
        if self.tables.is_empty() {
            return;
        }
        let table = self.random.below(self.tables.len() as u64) as usize;
        self.open[at].lobs |= matches!(self.tables[table].kind, TableKind::AllTypes | TableKind::Lobs);
        match self.random.below(10) {
            0..=3 => self.insert(xact, table),
            4..=7 => self.update(xact, table),
            _ => self.delete(xact, table),
        }
    }

    fn use_savepoint(&mut self, at: usize) {
        let open = &mut self.open[at];
        if open.savepoints.is_empty() || self.random.percent(50) {
            let name = format!("sp{}", open.savepoints.len());
            self.db.savepoint(open.xact, &name).expect("it is open");
            open.savepoints.push(name);
        } else {
            let which = self.random.below(open.savepoints.len() as u64) as usize;
            self.db.rollback_to(open.xact, &open.savepoints[which]).expect("the savepoint is there");
            open.savepoints.truncate(which + 1);
        }
    }

    fn end(&mut self, at: usize) {
        let open = self.open.swap_remove(at);
        if self.random.percent(self.options.rollback_percent) {
            self.db.rollback(open.xact).expect("it is open");
        } else {
            self.db.commit(open.xact).expect("it is open");
        }
    }

    fn insert(&mut self, xact: Transaction, table: usize) {
        let held = &mut self.tables[table];
        held.serial += 1;
        let row = random_row(held.kind, &held.def, held.serial, &mut self.random);
        if let Some(key) = settle(self.db.insert(xact, held.id, row)) {
            held.keys.push(key);
        }
    }

    fn update(&mut self, xact: Transaction, table: usize) {
        let Some(at) = self.pick(table) else { return };
        // Nothing is drawn where it is 0: histories of a seed stay what they were.
        if self.options.in_place_percent > 0 && self.random.percent(self.options.in_place_percent) {
            return self.write_in_place(xact, table, at);
        }
        let held = &mut self.tables[table];
        let mut changes = Vec::new();
        let change_key = self.random.percent(5);
        for column in 0..held.def.columns.len() {
            let is_key = held.def.primary_key.contains(&column);
            if if is_key { change_key } else { self.random.percent(25) } {
                held.serial += 1;
                changes.push((column, random_value(held.kind, &held.def, column, held.serial, &mut self.random)));
            }
        }
        let key = held.keys[at].clone();
        match self.db.update(xact, held.id, &key, &changes) {
            Ok(new) if new != key => held.keys.push(new),
            Err(Error::NoSuchRow(_)) => drop(held.keys.swap_remove(at)),
            outcome => drop(settle(outcome)),
        }
    }

    fn write_in_place(&mut self, xact: Transaction, table: usize, at: usize) {
        let held = &mut self.tables[table];
        let key = held.keys[at].clone();
        let Ok(row) = self.db.visible_row(xact, held.id, &key) else { return };
        let long = |column: &usize| row[*column].as_ref().is_some_and(|value| !value.is_empty());
        let columns: Vec<usize> =
            (0..held.def.columns.len()).filter(|c| !held.def.primary_key.contains(c)).filter(long).collect();
        for column in columns {
            let Some(mut value) = row[column].clone() else { continue };
            held.serial += 1;
            if self.random.percent(50) {
                // Some bytes of it, apart from one another.
                for _ in 0..1 + self.random.below(3) {
                    let byte = self.random.below(value.len() as u64) as usize / 2 * 2;
                    value[byte] = b'a' + self.random.below(26) as u8;
                }
            } else if let Some(other) = random_value(held.kind, &held.def, column, held.serial, &mut self.random) {
                value = other;
            }
            if settle(self.db.write_in_place(xact, held.id, &key, column, &value)) == Some(true) {
                return;
            }
        }
    }

    fn delete(&mut self, xact: Transaction, table: usize) {
        let Some(at) = self.pick(table) else { return };
        let held = &mut self.tables[table];
        let key = held.keys[at].clone();
        match self.db.delete(xact, held.id, &key) {
            Err(Error::NoSuchRow(_)) => drop(held.keys.swap_remove(at)),
            outcome => drop(settle(outcome)),
        }
    }

    fn pick(&mut self, table: usize) -> Option<usize> {
        let count = self.tables[table].keys.len() as u64;
        (count > 0).then(|| self.random.below(count) as usize)
    }
}

/// What goes wrong between transactions is part of life; anything else is a defect.
fn settle<T>(outcome: Result<T, Error>) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(Error::Locked | Error::DuplicateKey(_) | Error::NoSuchRow(_)) => None,
        Err(e) => panic!("the generator asked for what the engine does not do: {e}"),
    }
}

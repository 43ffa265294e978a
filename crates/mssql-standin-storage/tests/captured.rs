//! What change data capture reads of the log is what was done: each committed change, with the whole row before and after.

use std::collections::VecDeque;
use std::sync::Arc;

use logferry_model::{Lsn, SqlType};
use logferry_mssql_standin_storage::workload::{Random, TableKind, random_row, random_value};
use logferry_mssql_standin_storage::{
    ColumnDef, Database, KeyKind, KeyName, Options, Row, RowKey, TableDef, Transaction, XactOptions,
};

/// A change: table, row before, row after.
type Change = (u32, Option<Row>, Option<Row>);

struct Open {
    xact: Transaction,
    changes: Vec<Change>,
    savepoint: Option<usize>,
}

struct History {
    db: Database,
    random: Random,
    tables: Vec<(TableKind, u32)>,
    open: Vec<Open>,
    serial: i32,
    /// Committed, not handed over.
    expected: VecDeque<(Lsn, Vec<Change>)>,
    compared: usize,
}

impl History {
    fn new(seed: u64, row_versions: bool) -> Self {
        let mut db = Database::create(Options { seed, row_versions, ..Options::default() }).unwrap();
        db.create_schema("sales").unwrap();
        let mut tables: Vec<(TableKind, u32)> =
            TableKind::ALL.iter().map(|kind| (*kind, db.create_table(kind.def()).unwrap())).collect();
        // The same as a heap, its rows in the order of a column.
        let loose = db.create_table(TableDef { name: "Loose".into(), ..TableKind::Heap.def() }).unwrap();
        let key = KeyName { name: "cx".into(), kind: KeyKind::Index { unique: false }, ..KeyName::default() };
        db.cluster(loose, vec![1], key).unwrap();
        tables.push((TableKind::Heap, loose));
        let mut history = History {
            db,
            random: Random::new(seed),
            tables,
            open: Vec::new(),
            serial: 0,
            expected: VecDeque::new(),
            compared: 0,
        };
        // Rows that were there before anybody read.
        let xact = history.db.begin(XactOptions::default());
        for _ in 0..300 {
            history.insert(&mut Open { xact, changes: Vec::new(), savepoint: None });
        }
        history.db.commit(xact).unwrap();
        for (_, table) in history.tables.clone() {
            history.db.track(table, true);
        }
        history
    }

    fn table(&mut self) -> (TableKind, u32) {
        self.tables[self.random.below(self.tables.len() as u64) as usize]
    }

    fn some_row(&mut self, table: u32) -> Option<RowKey> {
        let count = self.db.rows(table).count() as u64;
        let at = if count == 0 { 0 } else { self.random.below(count) };
        self.db.rows(table).nth(at as usize).map(|(key, _)| key.clone())
    }

    fn insert(&mut self, open: &mut Open) {
        let (kind, table) = self.table();
        self.serial += 1;
        let def = self.db.table_def(table).unwrap().clone();
        let row = random_row(kind, &def, self.serial, &mut self.random);
        if self.db.insert(open.xact, table, row.clone()).is_ok() {
            open.changes.push((table, None, Some(row)));
        }
    }

    fn change(&mut self, open: &mut Open) {
        let (kind, table) = self.table();
        let Some(key) = self.some_row(table) else { return };
        let Ok(before) = self.db.visible_row(open.xact, table, &key).map(|row| Row::clone(&row)) else { return };
        let def = self.db.table_def(table).unwrap().clone();
        match self.random.below(10) {
            0 | 1 => {
                if self.db.delete(open.xact, table, &key).is_ok() {
                    open.changes.push((table, Some(before), None));
                }
            }
            2 => {
                let long = (0..def.columns.len()).filter(|c| def.columns[*c].sql_type.is_lob());
                for column in long.collect::<Vec<_>>() {
                    let Some(mut value) = before[column].clone().filter(|v| !v.is_empty()) else { continue };
                    value[0] = b'a' + self.random.below(26) as u8;
                    if matches!(self.db.write_in_place(open.xact, table, &key, column, &value), Ok(true)) {
                        let mut after = before.clone();
                        after[column] = Some(value);
                        open.changes.push((table, Some(before), Some(after)));
                        return;
                    }
                }
            }
            _ => {
                let with_key = self.random.percent(10);
                let mut changes = Vec::new();
                let mut after = before.clone();
                for (column, cell) in after.iter_mut().enumerate() {
                    let is_key = def.primary_key.contains(&column);
                    if if is_key { with_key } else { self.random.percent(30) } {
                        self.serial += 1;
                        let value = random_value(kind, &def, column, self.serial, &mut self.random);
                        cell.clone_from(&value);
                        changes.push((column, value));
                    }
                }
                match self.db.update(open.xact, table, &key, &changes) {
                    Ok(new) if new != key => {
                        open.changes.push((table, Some(before), None));
                        open.changes.push((table, None, Some(after)));
                    }
                    Ok(_) => open.changes.push((table, Some(before), Some(after))),
                    Err(_) => {}
                }
            }
        }
    }

    fn step(&mut self) {
        if self.open.is_empty() || self.open.len() < 3 && self.random.percent(10) {
            let xact = self.db.begin(XactOptions::default());
            self.open.push(Open { xact, changes: Vec::new(), savepoint: None });
        }
        let at = self.random.below(self.open.len() as u64) as usize;
        let mut open = self.open.swap_remove(at);
        match self.random.below(40) {
            0 => {
                self.db.rollback(open.xact).unwrap();
                return;
            }
            1 | 2 => {
                self.commit(open);
                return;
            }
            3 => {
                self.db.savepoint(open.xact, "s").unwrap();
                open.savepoint = Some(open.changes.len());
            }
            4 => {
                if let Some(at) = open.savepoint {
                    self.db.rollback_to(open.xact, "s").unwrap();
                    open.changes.truncate(at);
                }
            }
            5 => drop(self.db.ghost_cleanup()),
            6 => {
                let most = self.random.below(4) as usize;
                self.compare(most);
            }
            7..18 => self.insert(&mut open),
            _ => self.change(&mut open),
        }
        self.open.push(open);
    }

    /// Ends what is open, and gives a table another shape while changes of it are not read.
    fn alter(&mut self) {
        for open in std::mem::take(&mut self.open) {
            self.commit(open);
        }
        let (_, table) = self.table();
        self.serial += 1;
        let column = ColumnDef::new(format!("more{}", self.serial), SqlType::Int);
        // In a transaction that changes rows too, now and then.
        let xact = self.db.begin(XactOptions::default());
        let mut open = Open { xact, changes: Vec::new(), savepoint: None };
        self.insert(&mut open);
        self.db.define_in(Some(xact), &[table]).unwrap();
        let added = self.db.add_column(table, column.clone());
        self.db.define_in(None, &[]).unwrap();
        added.unwrap();
        self.change(&mut open);
        if self.random.percent(50) {
            self.db.rollback(xact).unwrap();
        } else {
            self.commit(open);
        }
        if self.random.percent(50) {
            self.db.rebuild(table, None).unwrap();
        }
    }

    fn compare(&mut self, most: usize) {
        for found in self.db.take_captured(most) {
            let of = |row: &Option<Arc<Row>>| row.as_ref().map(|row| Row::clone(row));
            let changes = found.changes.iter().map(|c| (c.table, of(&c.before), of(&c.after))).collect();
            let changes = real(changes);
            if changes.is_empty() {
                continue;
            }
            let (lsn, expected) = self.expected.pop_front().expect("no more than was committed");
            assert_eq!(found.commit_lsn, lsn);
            let time = u64::from_le_bytes;
            assert!(found.begin_lsn < lsn && time(found.begin_time) <= time(found.end_time));
            for (found, expected) in changes.iter().zip(&expected) {
                assert_eq!(found, expected, "in the transaction that ends at {lsn}");
            }
            assert_eq!(changes.len(), expected.len(), "in the transaction that ends at {lsn}");
            self.compared += changes.len();
        }
    }

    fn commit(&mut self, open: Open) {
        let lsn = self.db.commit(open.xact).unwrap();
        let changes = real(open.changes);
        if !changes.is_empty() {
            self.expected.push_back((lsn, changes));
        }
    }
}

/// Those that changed anything.
fn real(changes: Vec<Change>) -> Vec<Change> {
    changes.into_iter().filter(|c| c.1 != c.2).collect()
}

fn check(seed: u64, row_versions: bool) {
    let mut history = History::new(seed, row_versions);
    for n in 1..=1500 {
        history.step();
        if n % 300 == 0 {
            history.alter();
        }
    }
    history.compare(usize::MAX);
    assert_eq!(history.expected.len(), 0, "all that was committed was read, seed {seed}");
    assert!(history.compared > 300, "{} changes were compared", history.compared);
}

#[test]
fn each_committed_change_is_read_with_its_whole_rows() {
    (0..12).for_each(|seed| check(seed, seed % 3 == 0));
}

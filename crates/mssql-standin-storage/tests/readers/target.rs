//! What a target would hold that follows a chain by the product's change source.

use std::collections::BTreeMap;
use std::path::PathBuf;

use logferry_model::{
    Cell, Change, ChangeOp, ChangeSource, ChunkReader, EventBatch, Fault, Fill, SourceColumn, SourceEvent, TableVersion,
};
use logferry_mssql_backup::backups::Backups;
use logferry_mssql_backup::chain::PlanOptions;
use logferry_mssql_backup::changes::ReplayOptions;
use logferry_mssql_backup::source::BackupSource;
use logferry_mssql_standin_storage::Row;

use super::Tables;

/// Rows of a table as a target would hold them.
#[derive(Default)]
struct Target {
    columns: Vec<SourceColumn>,
    keyed: BTreeMap<Vec<Option<Vec<u8>>>, Row>,
    heap: BTreeMap<Row, u32>,
}

#[derive(Default)]
pub struct Targets(BTreeMap<String, Target>);

fn own(cell: Cell<'_>) -> Option<Vec<u8>> {
    match cell {
        Cell::Null => None,
        Cell::Bytes(b) => Some(b.to_vec()),
        Cell::Unchanged => panic!("a whole row was expected"),
    }
}

impl Targets {
    fn insert(&mut self, table: &TableVersion, row: Row) {
        let target = self.0.entry(table.name.to_string()).or_default();
        match &table.primary_key {
            Some(key) => {
                let key: Vec<_> = key.columns.iter().map(|c| row[*c].clone()).collect();
                let old = target.keyed.insert(key, row);
                assert!(old.is_none(), "{}: a row is inserted twice: {old:?}", table.name);
            }
            None => *target.heap.entry(row).or_default() += 1,
        }
    }

    /// Takes a row away that is given with what is known of it.
    fn remove(&mut self, table: &TableVersion, cells: &[Cell<'_>]) -> Row {
        let target = self.0.entry(table.name.to_string()).or_default();
        match &table.primary_key {
            Some(key) => {
                let key: Vec<_> = key.columns.iter().map(|c| own(cells[*c])).collect();
                let row = target.keyed.remove(&key).unwrap_or_else(|| panic!("{}: no row {key:?}", table.name));
                for (at, cell) in cells.iter().enumerate() {
                    let same = match cell {
                        Cell::Unchanged => true,
                        cell => row[at].as_deref() == cell.bytes(),
                    };
                    assert!(same, "{}: column {at} of {key:?} was not what the change says", table.name);
                }
                row
            }
            None => {
                // Where something else than a primary key finds the row, a value outside of it that did not change need not be told.
                let row: Row = match table.row_key() {
                    None => cells.iter().map(|cell| own(*cell)).collect(),
                    Some(_) => {
                        let same = |(cell, value): (&Cell<'_>, &Option<Vec<u8>>)| match cell {
                            Cell::Unchanged => true,
                            cell => cell.bytes() == value.as_deref(),
                        };
                        let mut rows = target.heap.keys();
                        let row = rows.find(|row| cells.iter().zip(row.iter()).all(same)).cloned();
                        row.unwrap_or_else(|| panic!("{}: no such row", table.name))
                    }
                };
                assert!(target.heap.contains_key(&row), "{}: no row {row:?}", table.name);
                let count = target.heap.get_mut(&row).expect("it was found");
                *count -= 1;
                if *count == 0 {
                    target.heap.remove(&row);
                }
                row
            }
        }
    }

    fn change(&mut self, batch: &EventBatch, change: &Change) {
        let cells = |row| batch.rows.row(row).cells().collect::<Vec<_>>();
        match change.op {
            ChangeOp::Insert { after } => {
                let row = cells(after).into_iter().map(own).collect();
                self.insert(&change.table, row);
            }
            ChangeOp::Update { before, after } => {
                let old = self.remove(&change.table, &cells(before));
                let row = cells(after).into_iter().enumerate().map(|(at, cell)| match cell {
                    Cell::Unchanged => old[at].clone(),
                    cell => own(cell),
                });
                let row = row.collect();
                self.insert(&change.table, row);
            }
            ChangeOp::Delete { before } => drop(self.remove(&change.table, &cells(before))),
            ChangeOp::Truncate => {
                let target = self.0.entry(change.table.name.to_string()).or_default();
                target.keyed.clear();
                target.heap.clear();
            }
        }
    }

    pub fn event(&mut self, batch: &EventBatch, event: &SourceEvent) {
        match event {
            SourceEvent::Change(change) => self.change(batch, change),
            SourceEvent::Table(table) => self.reshape(table),
            SourceEvent::Dropped(table) => drop(self.0.remove(&table.name.to_string())),
            _ => {}
        }
    }

    /// A table is new, or has another shape: columns keep their values by their ids. One whose place in the rows went to another, as it does
    /// when it gets another type, is NULL from then on, or its default, as it is in the rows that stand on the pages; the source writes them anew.
    fn reshape(&mut self, table: &TableVersion) {
        let target = self.0.entry(table.name.to_string()).or_default();
        let columns = table.columns.clone();
        let kept = |old: &SourceColumn, new: &SourceColumn| {
            old.id == new.id && !old.stored.zip(new.stored).is_some_and(|(old, new)| new.replaces(old))
        };
        let places: Vec<Option<usize>> =
            columns.iter().map(|new| target.columns.iter().position(|old| kept(old, new))).collect();
        let missing = |at: usize| columns[at].missing.as_deref().map(<[u8]>::to_vec);
        let row = |row: &Row| {
            places.iter().enumerate().map(|(at, p)| p.map_or_else(|| missing(at), |p| row[p].clone())).collect::<Row>()
        };
        target.keyed = target.keyed.iter().map(|(key, r)| (key.clone(), row(r))).collect();
        let mut heap = BTreeMap::new();
        for (r, count) in &target.heap {
            *heap.entry(row(r)).or_default() += count;
        }
        target.heap = heap;
        target.columns = columns;
    }

    pub fn rows(&self) -> Tables {
        let rows = |t: &Target| {
            let heap = t.heap.iter().flat_map(|(row, count)| std::iter::repeat_n(row.clone(), *count as usize));
            let mut rows: Vec<Row> = t.keyed.values().cloned().chain(heap).collect();
            rows.sort();
            rows
        };
        self.0.iter().map(|(name, target)| (name.clone(), rows(target))).collect()
    }
}

/// The rows that a full copy gives.
pub async fn copied(source: &mut BackupSource) -> Targets {
    try_copied(source).await.unwrap()
}

async fn try_copied(source: &mut BackupSource) -> Result<Targets, Fault> {
    source.snapshot().await?;
    let mut targets = Targets::default();
    for (at, table) in source.tables().iter().enumerate() {
        targets.reshape(table);
        for chunk in source.chunks(at)? {
            let mut reader = source.open_chunk(&chunk)?;
            let mut visit = |cells: &[Cell<'_>]| {
                targets.insert(table, cells.iter().map(|c| own(*c)).collect());
                Ok(())
            };
            while reader.fill(&mut visit).await? == Fill::More {}
        }
    }
    let fixups = source.fixups().await?;
    for event in &fixups.events {
        match event {
            SourceEvent::Change(change) => targets.change(&fixups, change),
            SourceEvent::Unreadable { table, why, .. } => {
                return Err(Fault::operator(format!("{}: {why}", table.name)));
            }
            _ => {}
        }
    }
    Ok(targets)
}

/// Copies a chain and follows it to its end; gives the rows, and what was told behind the copy, in words.
pub async fn followed(files: &[PathBuf]) -> (Tables, Vec<String>) {
    try_followed(files).await.unwrap()
}

/// The same, or why it cannot be done.
pub async fn try_followed(files: &[PathBuf]) -> Result<(Tables, Vec<String>), Fault> {
    let backups = Backups::find(files)?;
    let plan = PlanOptions::default();
    let mut source = BackupSource::of_backups(backups, None, plan, ReplayOptions::default())?;
    let mut targets = try_copied(&mut source).await?;
    let mut told = Vec::new();
    while let Some(batch) = source.next(64 << 10).await? {
        for event in &batch.events {
            told.extend(match event {
                SourceEvent::Change(change) => Some(format!("{:?} {}", change.op, change.table.name)),
                SourceEvent::Table(table) => Some(format!("table {}", table.name)),
                SourceEvent::Dropped(table) => Some(format!("dropped {}", table.name)),
                SourceEvent::Unreadable { table, why, .. } => {
                    return Err(Fault::operator(format!("{}: {why}", table.name)));
                }
                _ => None,
            });
            targets.event(&batch, event);
        }
    }
    Ok((targets.rows(), told))
}

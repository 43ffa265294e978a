//! A sink that writes down what it is given, and holds its caller to the contract of [`ChangeSink`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use logferry_model::{
    Cell, ChangeOp, ChangeSink, Checkpoint, Fault, PgType, RowRef, RowStore, SchemaChange, TargetBatch, TargetTable,
};

/// What was committed, one line a change (`insert t 1 'a'`) and one a commit (`commit 00000001:00000007:0001`).
/// It outlives its sinks: [`Recording::open`] gives a new one, as a reconnect does.
#[derive(Clone, Debug, Default)]
pub struct Recording(Arc<Mutex<Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    lines: Vec<String>,
    checkpoint: Option<Checkpoint>,
    opened: u32,
}

impl Recording {
    /// A recording whose target already shows a checkpoint: the full copy is complete.
    pub fn at(checkpoint: Checkpoint) -> Self {
        let recording = Recording::default();
        recording.lock().checkpoint = Some(checkpoint);
        recording
    }

    /// A new connection: what the one before did not commit is gone, and it can do nothing more.
    pub fn open(&self) -> RecordingSink {
        let mut recorded = self.lock();
        recorded.opened += 1;
        RecordingSink { recording: self.clone(), epoch: recorded.opened, pending: Vec::new(), tables: Vec::new() }
    }

    /// What was committed.
    pub fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// The last checkpoint that was committed.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        self.lock().checkpoint
    }

    /// How often it was opened.
    pub fn opened(&self) -> u32 {
        self.lock().opened
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection to a [`Recording`].
#[derive(Debug)]
pub struct RecordingSink {
    recording: Recording,
    epoch: u32,
    /// Lines of the transaction that goes on.
    pending: Vec<String>,
    tables: Vec<Arc<TargetTable>>,
}

impl ChangeSink for RecordingSink {
    async fn resume_point(&mut self) -> Result<Option<Checkpoint>, Fault> {
        Ok(self.recording.lock().checkpoint)
    }

    async fn alter(&mut self, changes: &[SchemaChange]) -> Result<(), Fault> {
        let shape = |t: &TargetTable| {
            let columns: Vec<_> = t.columns.iter().map(|c| c.name.clone()).collect();
            format!("{}({})", t.name, columns.join(", "))
        };
        self.pending.extend(changes.iter().map(|change| match change {
            SchemaChange::Create(table) => format!("create {}", shape(table)),
            SchemaChange::Alter(reshaped) => format!("alter {} -> {}", shape(&reshaped.from), shape(&reshaped.to)),
            SchemaChange::Drop(table) => format!("drop {}", table.name),
            SchemaChange::Note(table) => format!("note {}", shape(table)),
            SchemaChange::Keep(table) => format!("keep {}", shape(table)),
            SchemaChange::LeaveOut(table) => format!("leave out {}", table.0),
            SchemaChange::Forget(table) => format!("forget {}", table.name),
            SchemaChange::Settings(_) => "remember the settings".to_owned(),
        }));
        Ok(())
    }

    async fn define(&mut self, table: Arc<TargetTable>) -> Result<(), Fault> {
        self.tables.retain(|t| (&t.schema, &t.name) != (&table.schema, &table.name));
        self.tables.push(table);
        Ok(())
    }

    async fn apply(&mut self, batch: &TargetBatch) -> Result<(), Fault> {
        for change in &batch.changes {
            if !self.tables.contains(&change.table) {
                return Err(Fault::bug(format!("table {} was not defined before its change", change.table.name)));
            }
            let row = |r: RowRef| row_text(&change.table, &batch.rows, r);
            let name = &change.table.name;
            self.pending.push(match change.op {
                ChangeOp::Insert { after } => format!("insert {name} {}", row(after)),
                ChangeOp::Update { before, after } => format!("update {name} {} -> {}", row(before), row(after)),
                ChangeOp::Delete { before } => format!("delete {name} {}", row(before)),
                ChangeOp::Truncate => format!("truncate {name}"),
            });
        }
        let Some(checkpoint) = batch.checkpoint else { return Ok(()) };
        let mut recorded = self.recording.lock();
        if recorded.opened != self.epoch {
            return Err(Fault::operator("the lease was taken by somebody else"));
        }
        if recorded.checkpoint.is_some_and(|c| c.applied > checkpoint.applied) {
            return Err(Fault::bug("the checkpoint goes back"));
        }
        recorded.checkpoint = Some(checkpoint);
        recorded.lines.append(&mut self.pending);
        recorded.lines.push(format!("commit {}", checkpoint.applied.0));
        Ok(())
    }
}

/// A row in PostgreSQL's binary form as text: numbers and texts as in a script, anything else in hex.
fn row_text(table: &TargetTable, rows: &RowStore, row: RowRef) -> String {
    let view = rows.row(row);
    let cells: Vec<String> =
        table.columns.iter().enumerate().map(|(i, c)| cell_text(&c.pg_type, view.cell(i))).collect();
    cells.join(" ")
}

fn cell_text(pg_type: &PgType, cell: Cell<'_>) -> String {
    let bytes = match cell {
        Cell::Null => return "null".to_owned(),
        Cell::Unchanged => return "unchanged".to_owned(),
        Cell::Bytes(bytes) => bytes,
    };
    match (pg_type, bytes.len()) {
        (PgType::Int4, 4) => i32::from_be_bytes(bytes.try_into().unwrap_or_default()).to_string(),
        (PgType::Int8, 8) => i64::from_be_bytes(bytes.try_into().unwrap_or_default()).to_string(),
        (PgType::Text | PgType::VarChar { .. }, _) => format!("'{}'", String::from_utf8_lossy(bytes)),
        _ => bytes.iter().map(|b| format!("{b:02x}")).collect(),
    }
}

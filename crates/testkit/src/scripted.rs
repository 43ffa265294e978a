//! A source that plays a script.
//!
//! ```text
//! table t(id int key, v text)      a table; before `start` it is there from the beginning
//! row t 1 'a'                      a row of the full copy
//! chunk t                          rows of t from here on are in its next chunk
//! fix delete t 1 'a'               a change that `fixups` gives
//! start                            the full copy ends here, the stream begins
//! begin                            a transaction ...
//! insert t 2 'b'
//! update t 2 'b' -> 2 null
//! delete t 1 'a'
//! truncate t
//! commit
//! table t(id int key, v text, w int)   a new table, or a new shape
//! drop t
//! unreadable t                     a change of t whose row cannot be read
//! progress                         nothing happened up to here
//! ```
//!
//! Types are `int` and `text` (`nvarchar(max)`); a value may also be `unchanged`. Lines are numbered, and the number is the
//! LSN: line 7 is `00000001:00000007:0001`. Events are handed out a few at a time, so that transactions stretch over several
//! batches ([`ScriptedSource::with_events_per_batch`]).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use logferry_model::{
    Cell, Change, ChangeOp, ChangeSource, Checkpoint, ChunkId, ChunkReader, Collation, CommitLsn, EventBatch, Fault,
    Fill, Lineage, Lsn, RestartLsn, RowStore, SnapshotPoint, SourceColumn, SourceEvent, SqlType, TableId, TableName,
    TableVersion, TransactionHead, TransactionId, UniqueKey,
};

/// The history that every script belongs to.
pub const LINEAGE: Lineage = Lineage { database: *b"scripted source.", fork: *b"the only fork..." };

/// Plays a script; see the module's documentation.
#[derive(Clone, Debug)]
pub struct ScriptedSource {
    start: Vec<Table>,
    fixups: Vec<Step>,
    steps: Vec<Step>,
    start_lsn: Lsn,
    /// The next of `steps`.
    at: usize,
    events_per_batch: usize,
    can_add: bool,
    faults: Arc<Mutex<VecDeque<(Lsn, Fault)>>>,
}

#[derive(Clone, Debug)]
struct Table {
    version: Arc<TableVersion>,
    chunks: Vec<Vec<Row>>,
}

type Row = Vec<Value>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Null,
    Unchanged,
    Bytes(Vec<u8>),
}

#[derive(Clone, Debug)]
struct Step {
    lsn: Lsn,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Begin { commit: Lsn },
    Insert(Arc<TableVersion>, Row),
    Update(Arc<TableVersion>, Row, Row),
    Delete(Arc<TableVersion>, Row),
    Truncate(Arc<TableVersion>),
    Commit,
    Table(Arc<TableVersion>),
    Drop(Arc<TableVersion>),
    Unreadable(Arc<TableVersion>),
    Progress,
}

impl ScriptedSource {
    /// Reads a script.
    ///
    /// # Panics
    /// Where the script is wrong: names the line.
    pub fn new(script: &str) -> Self {
        Parser::default().parse(script)
    }

    /// At most this many events per batch; 3 without it.
    pub fn with_events_per_batch(mut self, events: usize) -> Self {
        self.events_per_batch = events.max(1);
        self
    }

    /// Tables can be added to its task: the script tells them, with their rows.
    pub fn that_can_add(mut self) -> Self {
        self.can_add = true;
        self
    }

    /// Fails once when the step of this line is reached, and goes on when it is asked again.
    pub fn with_fault_at(self, line: u32, fault: Fault) -> Self {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push_back((lsn_of(line), fault));
        self
    }

    /// Where line `line` of a script stands in the log.
    pub fn lsn(line: u32) -> Lsn {
        lsn_of(line)
    }

    fn fault_at(&self, lsn: Lsn) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let at = faults.iter().position(|(l, _)| *l == lsn)?;
        faults.remove(at).map(|(_, fault)| fault)
    }
}

fn lsn_of(line: u32) -> Lsn {
    Lsn::new(1, line, 1)
}

fn checkpoint(lsn: Lsn) -> Checkpoint {
    Checkpoint {
        applied: CommitLsn(lsn),
        restart: RestartLsn(lsn),
        lineage: LINEAGE,
        commit_time_us: Some(i64::from(lsn.block) * 1_000_000),
    }
}

impl ChangeSource for ScriptedSource {
    type Reader = ScriptedChunk;

    fn tables(&self) -> Vec<Arc<TableVersion>> {
        if self.at == 0 {
            return self.start.iter().map(|t| Arc::clone(&t.version)).collect();
        }
        let mut tables: Vec<Arc<TableVersion>> = self.start.iter().map(|t| Arc::clone(&t.version)).collect();
        for step in &self.steps[..self.at] {
            match &step.what {
                What::Table(new) => {
                    tables.retain(|t| t.id != new.id);
                    tables.push(Arc::clone(new));
                }
                What::Drop(gone) => tables.retain(|t| t.id != gone.id),
                _ => {}
            }
        }
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        tables
    }

    async fn snapshot(&mut self) -> Result<SnapshotPoint, Fault> {
        self.at = 0;
        Ok(SnapshotPoint {
            checkpoint: checkpoint(self.start_lsn),
            lineage: LINEAGE,
            id: *b"scripted copy...",
            end_lsn: self.start_lsn,
        })
    }

    fn chunks(&self, table: usize) -> Result<Vec<ChunkId>, Fault> {
        let chunks = self.start.get(table).map(|t| t.chunks.len()).ok_or_else(|| Fault::bug("no such table"))?;
        Ok((0..chunks).map(|n| ChunkId { table, number: n as u32, bytes_estimate: 100 }).collect())
    }

    fn open_chunk(&self, chunk: &ChunkId) -> Result<ScriptedChunk, Fault> {
        let table = self.start.get(chunk.table).ok_or_else(|| Fault::bug("no such table"))?;
        let rows = table.chunks.get(chunk.number as usize).ok_or_else(|| Fault::bug("no such chunk"))?;
        Ok(ScriptedChunk { rows: rows.clone().into() })
    }

    async fn fixups(&mut self) -> Result<EventBatch, Fault> {
        Ok(play(&self.fixups))
    }

    async fn seek(&mut self, checkpoint: Checkpoint) -> Result<(), Fault> {
        if checkpoint.lineage != LINEAGE {
            return Err(Fault::operator("the checkpoint is of another lineage"));
        }
        let done = |step: &Step| match &step.what {
            What::Begin { commit } => *commit <= checkpoint.applied.0,
            _ => step.lsn <= checkpoint.applied.0,
        };
        self.at = self.steps.iter().take_while(|s| done(s)).count();
        Ok(())
    }

    fn can_add(&self) -> bool {
        self.can_add
    }

    fn add(&mut self, _tables: &[TableId], _left_out: &[TableId]) -> Result<(), Fault> {
        Ok(())
    }

    async fn next(&mut self, _bytes_max: usize) -> Result<Option<EventBatch>, Fault> {
        if self.at == self.steps.len() {
            return Ok(None);
        }
        let mut to = (self.at + self.events_per_batch).min(self.steps.len());
        for i in self.at..to {
            if i > self.at {
                // Faults are met at the begin of a batch.
                let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
                if faults.iter().any(|(lsn, _)| *lsn == self.steps[i].lsn) {
                    to = i;
                    break;
                }
            } else if let Some(fault) = self.fault_at(self.steps[i].lsn) {
                return Err(fault);
            }
        }
        let batch = play(&self.steps[self.at..to]);
        self.at = to;
        Ok(Some(batch))
    }
}

/// A chunk of a scripted table; hands out two rows at a time.
#[derive(Debug)]
pub struct ScriptedChunk {
    rows: VecDeque<Row>,
}

impl ChunkReader for ScriptedChunk {
    async fn fill(
        &mut self,
        visit: &mut (dyn for<'a> FnMut(&[Cell<'a>]) -> Result<(), Fault> + Send),
    ) -> Result<Fill, Fault> {
        for _ in 0..2 {
            let Some(row) = self.rows.pop_front() else { return Ok(Fill::End) };
            let cells: Vec<Cell<'_>> = row.iter().map(Value::cell).collect();
            visit(&cells)?;
        }
        Ok(Fill::More)
    }
}

impl Value {
    fn cell(&self) -> Cell<'_> {
        match self {
            Value::Null => Cell::Null,
            Value::Unchanged => Cell::Unchanged,
            Value::Bytes(bytes) => Cell::Bytes(bytes),
        }
    }
}

fn play(steps: &[Step]) -> EventBatch {
    let mut rows = RowStore::new();
    let mut push = |row: &Row| rows.push_row(row.iter().map(Value::cell));
    let mut events = Vec::new();
    for Step { lsn, what } in steps {
        let change = |table: &Arc<TableVersion>, op: ChangeOp| {
            SourceEvent::Change(Change { lsn: *lsn, table: Arc::clone(table), op })
        };
        events.push(match what {
            What::Begin { commit } => SourceEvent::Begin(TransactionHead {
                id: TransactionId { high: 0, low: lsn.block },
                begin_lsn: *lsn,
                commit_lsn: CommitLsn(*commit),
                commit_time_us: checkpoint(*commit).commit_time_us,
                name: "script".to_owned(),
            }),
            What::Insert(table, after) => change(table, ChangeOp::Insert { after: push(after) }),
            What::Update(table, before, after) => {
                change(table, ChangeOp::Update { before: push(before), after: push(after) })
            }
            What::Delete(table, before) => change(table, ChangeOp::Delete { before: push(before) }),
            What::Truncate(table) => change(table, ChangeOp::Truncate),
            What::Commit => SourceEvent::Commit(checkpoint(*lsn)),
            What::Table(table) => SourceEvent::Table(Arc::clone(table)),
            What::Drop(table) => SourceEvent::Dropped(Arc::clone(table)),
            What::Unreadable(table) => SourceEvent::Unreadable {
                table: Arc::clone(table),
                lsn: *lsn,
                why: "its rows are compressed".to_owned(),
            },
            What::Progress => SourceEvent::Progress(checkpoint(*lsn)),
        });
    }
    EventBatch { rows, events }
}

#[derive(Default)]
struct Parser {
    tables: Vec<Arc<TableVersion>>,
    start: Vec<Table>,
    fixups: Vec<Step>,
    steps: Vec<Step>,
    start_lsn: Option<Lsn>,
    /// Index in `steps` of the open transaction's begin.
    open: Option<usize>,
}

impl Parser {
    fn parse(mut self, script: &str) -> ScriptedSource {
        let mut number = 0;
        for line in script.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            number += 1;
            self.line(line, lsn_of(number)).unwrap_or_else(|e| panic!("script line {number}, `{line}`: {e}"));
        }
        assert!(self.open.is_none(), "the script's last transaction has no commit");
        self.start.sort_by(|a, b| a.version.name.cmp(&b.version.name));
        ScriptedSource {
            start: self.start,
            fixups: self.fixups,
            steps: self.steps,
            start_lsn: self.start_lsn.unwrap_or(lsn_of(number)),
            at: 0,
            events_per_batch: 3,
            can_add: false,
            faults: Arc::default(),
        }
    }

    fn line(&mut self, line: &str, lsn: Lsn) -> Result<(), String> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let started = self.start_lsn.is_some();
        let what = match word {
            "table" => {
                let table = self.shape(rest)?;
                self.tables.retain(|t| t.name != table.name);
                self.tables.push(Arc::clone(&table));
                if !started {
                    self.start.push(Table { version: table, chunks: vec![Vec::new()] });
                    return Ok(());
                }
                What::Table(table)
            }
            "row" | "chunk" => {
                let (table, rest) = self.table(rest)?;
                let row = rest.map(|r| values(&table, r)).transpose()?;
                let table =
                    self.start.iter_mut().find(|t| t.version.id == table.id).ok_or("rows come before `start`")?;
                match row {
                    Some(row) => table.chunks.last_mut().ok_or("no chunk")?.push(row),
                    None => table.chunks.push(Vec::new()),
                }
                return Ok(());
            }
            "fix" => {
                let what = self.change(rest)?;
                self.fixups.push(Step { lsn, what });
                return Ok(());
            }
            "start" => {
                self.start_lsn = Some(lsn);
                return Ok(());
            }
            "begin" => {
                self.open = Some(self.steps.len());
                What::Begin { commit: Lsn::ZERO }
            }
            "commit" => {
                let begin = self.open.take().and_then(|i| self.steps.get_mut(i)).ok_or("no transaction is open")?;
                begin.what = What::Begin { commit: lsn };
                What::Commit
            }
            "progress" => What::Progress,
            "drop" => What::Drop(self.table(rest)?.0),
            "unreadable" => What::Unreadable(self.table(rest)?.0),
            _ if self.open.is_none() => return Err("a change needs a `begin` before it".to_owned()),
            _ => self.change(line)?,
        };
        self.steps.push(Step { lsn, what });
        Ok(())
    }

    fn change(&self, line: &str) -> Result<What, String> {
        let (word, rest) = line.split_once(' ').ok_or("nothing follows")?;
        let (table, rest) = self.table(rest)?;
        let rest = rest.unwrap_or_default();
        Ok(match word {
            "insert" => What::Insert(Arc::clone(&table), values(&table, rest)?),
            "delete" => What::Delete(Arc::clone(&table), values(&table, rest)?),
            "update" => {
                let (before, after) = rest.split_once(" -> ").ok_or("an update is `BEFORE -> AFTER`")?;
                What::Update(Arc::clone(&table), values(&table, before)?, values(&table, after)?)
            }
            "truncate" => What::Truncate(table),
            _ => return Err(format!("`{word}` is not known")),
        })
    }

    fn table<'a>(&self, rest: &'a str) -> Result<(Arc<TableVersion>, Option<&'a str>), String> {
        let (name, rest) = rest.split_once(' ').map_or((rest, None), |(n, r)| (n, Some(r)));
        let name = table_name(name);
        let table = self.tables.iter().find(|t| t.name == name).ok_or_else(|| format!("no table {name}"))?;
        Ok((Arc::clone(table), rest))
    }

    /// `t(id int key, v text)`
    fn shape(&self, text: &str) -> Result<Arc<TableVersion>, String> {
        let (name, columns) =
            text.strip_suffix(')').and_then(|t| t.split_once('(')).ok_or("a table is `NAME(COLUMNS)`")?;
        let name = table_name(name.trim());
        let mut table = TableVersion {
            id: TableId(100 + self.tables.len() as u32),
            version: 1,
            name,
            columns: Vec::new(),
            primary_key: None,
            unique_keys: Vec::new(),
            notes: Vec::new(),
        };
        if let Some(old) = self.tables.iter().find(|t| t.name == table.name) {
            (table.id, table.version) = (old.id, old.version + 1);
        }
        let mut key = Vec::new();
        for (i, column) in columns.split(',').enumerate() {
            let mut words = column.split_whitespace();
            let name = words.next().ok_or("a column has a name")?.to_owned();
            let sql_type = match words.next() {
                Some("int") => SqlType::Int,
                Some("text") => SqlType::NVarChar { length: None, collation: Collation::default() },
                other => return Err(format!("column {name}: type {other:?} is not known")),
            };
            let is_key = words.next() == Some("key");
            if is_key {
                key.push(i);
            }
            table.columns.push(SourceColumn {
                id: i as u32 + 1,
                name,
                sql_type,
                alias: None,
                nullable: !is_key,
                identity: None,
                computed: false,
                missing: None,
                stored: None,
            });
        }
        if !key.is_empty() {
            table.primary_key =
                Some(UniqueKey { name: format!("pk_{}", table.name.name), columns: key, clustered: true });
        }
        Ok(Arc::new(table))
    }
}

fn table_name(text: &str) -> TableName {
    let (schema, name) = text.split_once('.').unwrap_or(("dbo", text));
    TableName::new(schema, name)
}

fn values(table: &TableVersion, text: &str) -> Result<Row, String> {
    let mut row = Row::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('\'') {
            let (value, after) = quoted.split_once('\'').ok_or("a quote is open")?;
            row.push(Value::Bytes(value.encode_utf16().flat_map(u16::to_le_bytes).collect()));
            rest = after.trim_start();
            continue;
        }
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        row.push(match word {
            "null" => Value::Null,
            "unchanged" => Value::Unchanged,
            number => {
                let n: i32 = number.parse().map_err(|e| format!("`{number}`: {e}"))?;
                Value::Bytes(n.to_le_bytes().to_vec())
            }
        });
        rest = after.trim_start();
    }
    if row.len() != table.columns.len() {
        return Err(format!("{} values for {} columns", row.len(), table.columns.len()));
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "
        table t(id int key, v text)
        row t 1 'a'
        chunk t
        row t 2 null
        start
        begin
        insert t 3 'c'
        update t 1 'a' -> 1 'b'
        commit
        table u(id int)
        begin
        insert u 1
        commit";

    #[tokio::test]
    async fn plays_the_copy_and_then_the_stream() {
        let mut source = ScriptedSource::new(SCRIPT).with_events_per_batch(100);
        let point = source.snapshot().await.expect("a snapshot");
        assert_eq!(point.checkpoint.applied.0, ScriptedSource::lsn(5));
        assert_eq!(source.chunks(0).expect("chunks").len(), 2);
        let mut chunk = source.open_chunk(&source.chunks(0).expect("chunks")[1]).expect("a chunk");
        let mut rows = Vec::new();
        let mut keep = |cells: &[Cell<'_>]| {
            rows.push(format!("{cells:?}"));
            Ok(())
        };
        assert_eq!(chunk.fill(&mut keep).await.expect("rows"), Fill::End);
        assert_eq!(rows, ["[Bytes([2, 0, 0, 0]), Null]"]);
        let batch = source.next(1).await.expect("events").expect("not the end");
        assert_eq!(batch.events.len(), 8);
        assert!(source.next(1).await.expect("the end").is_none());
    }

    #[tokio::test]
    async fn seek_goes_on_after_the_checkpoint() {
        let mut source = ScriptedSource::new(SCRIPT);
        source.seek(checkpoint(ScriptedSource::lsn(9))).await.expect("it is there");
        assert_eq!(source.tables().len(), 1);
        let batch = source.next(1).await.expect("events").expect("not the end");
        assert!(matches!(batch.events[0], SourceEvent::Table(_)), "{:?}", batch.events[0]);
        let foreign = Checkpoint { lineage: Lineage::default(), ..checkpoint(ScriptedSource::lsn(9)) };
        assert!(source.seek(foreign).await.is_err());
    }
}

//! Hands a committed transaction on: rows from their bytes into cells, a bounded piece at a time.
//!
//! The page store stands at the commit while this goes on. Values outside of rows are read from it: row locks kept them as the
//! transaction left them. What a value was *before* is left out ([`Cell::Unchanged`](logferry_model::Cell)) where rows are found by their
//! keys, which are always in the row. Rows of a table without a key are found by all that they were:
//!
//! ```text
//!  value of the row before ─┬─ the transaction did not touch it ──────────── as it is at the commit
//!                           ├─ touched, no row that became was told with it ─ by the pieces put back (`earlier`)
//!                           └─ touched, and told with a row that became ──── what was told then, by the same reading
//! ```
//!
//! So what a row is in between may not be what it ever was, but it comes and goes as the same.
//!
//! All rows are read by the shape that their table has at the commit, also those that a transaction wrote before it changed the shape:
//! nobody else ever saw the shapes in between.

mod earlier;
mod fixups;
mod rows;

use std::sync::Arc;

use logferry_model::{
    Change, ChangeOp, Checkpoint, CommitLsn, EventBatch, Lineage, Lsn, RestartLsn, SourceEvent, TableId, TableVersion,
    TransactionHead,
};
use logferry_mssql_format::bytes::Malformed;
use logferry_mssql_format::page::RowId;
use logferry_mssql_format::row::RawCell;
use rustc_hash::{FxHashMap, FxHashSet};

pub(crate) use earlier::{Earlier, WithEarlier};
pub(crate) use fixups::fixups;

use crate::assemble::{Open, Touched};
use crate::blob_rows::{BlobPages, BlobRows, FoundRow};
use crate::error::Error;
use crate::pages::PageSource;
use crate::pending::{Pending, PendingReader, RawChange, RawOp};
use crate::scan::LobReader;
use crate::shapes::{Shape, Shapes, Switched};

/// A committed transaction that is being handed on.
pub(crate) struct Committed {
    /// Begin, commit, name.
    pub(crate) head: TransactionHead,
    restart: RestartLsn,
    tables: Tables,
    /// Rowsets that were emptied, and how often that was met so far.
    emptied: FxHashSet<u64>,
    met_empty: FxHashMap<u64, u32>,
    blobs: FxHashMap<u64, Touched>,
    /// The changes of their pieces.
    lob_changes: Pending,
    /// The pages with them as they were before: when they are wanted.
    earlier: Option<Earlier>,
    incomplete_move: Option<RowId>,
    reader: PendingReader<Pending>,
    /// The rows of values that no change of a row has: looked for when all others were handed on.
    unnamed: Option<BlobRows>,
    begun: bool,
    /// It made something of the tables.
    redefines: bool,
}

/// What a transaction made of the tables.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// Those that are new or have another shape.
    pub(crate) changed: Vec<SourceEvent>,
    /// Those that are gone.
    pub(crate) dropped: Vec<SourceEvent>,
    /// Rowsets that were filled with the rows that their table had.
    pub(crate) moved: FxHashMap<u64, Copied>,
    /// Rows that went to another table as they are.
    pub(crate) switched: Option<Switched>,
}

/// A rowset that is made in the place of others, and filled with their rows: a rebuild.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copied {
    pub(crate) table: TableId,
    /// The record that made it.
    pub(crate) from: Lsn,
    /// That by which an index of the table became it, where that was a change of its description.
    pub(crate) pointed: Option<Lsn>,
    /// That by which the last of the others went: rows that come until then are old ones.
    pub(crate) until: Lsn,
}

impl Copied {
    /// Whether a row that comes may be one that is new: the table was the new rowset by then, and had the old one still. Rows that come with
    /// their pages are copied ones (observed on 2008 R2, of an index that is built).
    ///
    /// No log is at hand of other changes in the transaction of a rebuild. That all rows are copied before the table becomes the new rowset, and that the
    /// old one goes right after that, is assumed; where it does not look so, nothing is guessed.
    fn is_doubtful(&self, raw: &RawChange<'_>) -> bool {
        raw.op != RawOp::PageInsert && self.pointed.is_some_and(|pointed| pointed < raw.lsn) && raw.lsn <= self.until
    }
}

/// What is needed to turn bytes into rows.
pub(crate) struct Emitter<'a, S> {
    pub(crate) shapes: &'a Shapes,
    pub(crate) pages: &'a S,
    pub(crate) lobs: &'a mut LobReader,
    /// The version of each table that was told last.
    pub(crate) told: &'a mut FxHashMap<TableId, u32>,
    /// That which the last change was of, if it still is.
    pub(crate) told_last: Option<(TableId, u32)>,
    /// Tables whose changes are left out, and who were told of.
    pub(crate) told_unreadable: &'a mut FxHashSet<TableId>,
    /// Where rows of values outside of them stood.
    pub(crate) blob_pages: &'a mut BlobPages,
    /// Room for the cells of a row before and after.
    pub(crate) spare: [Vec<RawCell<'static>>; 2],
}

/// Changes of a table about which there is nothing to ask, as there is of most: it has the rowset that they are of, no rows came to that from
/// another, and all of them are told.
struct Direct<'a> {
    /// That of the shape by which the changes go.
    number: u32,
    shape: &'a Shape,
}

impl<'a> Direct<'a> {
    fn of<S>(emitter: &Emitter<'a, S>, tables: &Tables, number: u32) -> Option<Self> {
        let shape = &**emitter.shapes.now(number)?;
        let is_told = shape.unreadable.is_none() && !emitter.told_unreadable.contains(&shape.table.id);
        let is_there = emitter.shapes.has_rowset(shape.rowset) && !tables.moved.contains_key(&shape.rowset);
        (is_told && is_there).then_some(Direct { number, shape })
    }
}

/// What is known of values outside of rows.
#[derive(Clone, Copy)]
struct Values<'a> {
    /// Those that the transaction touched.
    blobs: &'a FxHashMap<u64, Touched>,
    /// The change is turned around, and the values are those of before.
    undo: bool,
    /// The row is the last word on them.
    last: bool,
    /// The pages as they were before the first change: where rows are found by all that they were.
    earlier: Option<&'a dyn PageSource>,
}

/// Whose image a row is: decides what becomes of values outside of it.
#[derive(Clone, Copy)]
enum Image<'a> {
    /// Of before: those are told only where the row is found by them, which has no key then.
    Before { is_keyed: bool },
    /// Of a row that is new.
    New,
    /// Of a row that changed; its cells before.
    Changed(&'a [RawCell<'a>]),
}

impl Committed {
    pub(crate) fn new(
        open: Open,
        commit_lsn: CommitLsn,
        commit_time_us: Option<i64>,
        restart: RestartLsn,
        tables: Tables,
    ) -> Self {
        let incomplete_move = open.incomplete_move();
        let Open { id, begin_lsn, name, truncated, blobs, pending, lob_undo: lob_changes, .. } = open;
        // A copy may have looked at it while it was open.
        blobs.values().for_each(Touched::begin);
        Committed {
            head: TransactionHead { id, begin_lsn, commit_lsn, commit_time_us, name },
            restart,
            tables,
            emptied: truncated,
            met_empty: FxHashMap::default(),
            blobs,
            lob_changes,
            earlier: None,
            incomplete_move,
            reader: pending.into_reader(),
            unnamed: None,
            begun: false,
            redefines: false,
        }
    }

    /// The memory that its changes had, for those of others.
    pub(crate) fn into_memory(self) -> Vec<u8> {
        self.reader.into_memory()
    }

    /// How far a target is that has the transaction.
    pub(crate) fn checkpoint(&self, lineage: Lineage) -> Checkpoint {
        Checkpoint {
            applied: self.head.commit_lsn,
            restart: self.restart,
            lineage,
            commit_time_us: self.head.commit_time_us,
        }
    }

    /// Adds events to a batch until it has `bytes_max` bytes of rows, or all are there: then it is `true`.
    pub(crate) fn fill<S: PageSource>(
        &mut self,
        emitter: &mut Emitter<'_, S>,
        lineage: Lineage,
        bytes_max: usize,
        batch: &mut EventBatch,
    ) -> Result<bool, Error> {
        if let Some(Switched { from, to }) = self.tables.switched.take() {
            let lsn = self.head.commit_lsn.0;
            let why = format!("its rows became those of table \"{}\" by a SWITCH, which logs none of them", to.name);
            emitter.unreadable(&from, lsn, why, batch);
            let why = format!("it got the rows of table \"{}\" by a SWITCH, which logs none of them", from.name);
            emitter.unreadable(&to, lsn, why, batch);
        }
        // Names may change hands: what goes, goes first.
        self.redefines |= !(self.tables.dropped.is_empty() && self.tables.changed.is_empty());
        batch.events.append(&mut self.tables.dropped);
        for event in self.tables.changed.drain(..) {
            if let SourceEvent::Table(table) = &event {
                emitter.told.insert(table.id, table.version);
                emitter.told_last = None;
            }
            batch.events.push(event);
        }
        let mut direct: Option<Direct<'_>> = None;
        while batch.rows.byte_len() < bytes_max {
            let Some(raw) = self.reader.next()? else {
                if let Some(row) = self.incomplete_move {
                    let what = format!("heap row {row} is on the move when its transaction commits");
                    return Err(Malformed::new(what, 0)
                        .within(format_args!("log record {}", self.head.commit_lsn.0))
                        .into());
                }
                if self.fill_unnamed(emitter, bytes_max, batch)? {
                    return Ok(false);
                }
                let checkpoint = self.checkpoint(lineage);
                if self.begun {
                    batch.events.push(SourceEvent::Commit(checkpoint));
                } else if self.redefines {
                    batch.events.push(SourceEvent::Progress(checkpoint));
                }
                return Ok(true);
            };
            if direct.as_ref().is_none_or(|direct| direct.number != raw.shape) {
                direct = Direct::of(emitter, &self.tables, raw.shape);
            }
            if let Some(Direct { shape, .. }) = direct
                && let Some(op) = rows::plain_op(&shape.layout, &raw, &mut batch.rows)
            {
                let change = Change { lsn: raw.lsn, table: shape.table.clone(), op };
                tell(&mut self.begun, &self.head, emitter, batch, change);
                continue;
            }
            // What comes of the change may be that no more of its table is told.
            direct = None;
            let Some(shape) = emitter.shapes.now(raw.shape) else { continue };
            let copied = self.tables.moved.get(&shape.rowset);
            // What comes to a rowset until then are rows that the table had, readable or not.
            let comes = matches!(raw.op, RawOp::Insert | RawOp::PageInsert | RawOp::Lost);
            if let Some(copied) = copied.filter(|copied| comes && raw.lsn <= copied.until) {
                if copied.is_doubtful(&raw) {
                    let why = "a row came to it in the transaction that rebuilt it, at a point where it may be a new or an old one";
                    emitter.refuse(shape, raw.lsn, lost(shape, &raw, why.to_owned()), batch)?;
                }
                continue;
            }
            // Rows of a table that went in the transaction are of no use to anybody.
            let Some(table) = emitter.shapes.told_as(shape) else { continue };
            if emitter.is_unreadable(shape, raw.lsn, batch) {
                continue;
            }
            let op = match raw.op {
                RawOp::Truncate => {
                    match emitter.truncation(shape, (&self.emptied, &mut self.met_empty), &self.tables.moved, &raw) {
                        Ok(true) => ChangeOp::Truncate,
                        Ok(false) => continue,
                        Err(e) => {
                            emitter.refuse(shape, raw.lsn, e, batch)?;
                            continue;
                        }
                    }
                }
                RawOp::Lost => {
                    let why = String::from_utf8_lossy(raw.after).into_owned();
                    emitter.refuse(shape, raw.lsn, lost(shape, &raw, why), batch)?;
                    continue;
                }
                _ => {
                    let earlier = earlier(&mut self.earlier, &table, &self.blobs, &self.lob_changes, emitter.pages)?;
                    let earlier = earlier.map(|earlier| WithEarlier { earlier, pages: emitter.pages });
                    let earlier = earlier.as_ref().map(|earlier| earlier as &dyn PageSource);
                    let values = Values { blobs: &self.blobs, undo: false, last: false, earlier };
                    match emitter.op(shape, &table, &raw, values, &mut batch.rows) {
                        Ok(op) => op,
                        Err(e) => {
                            emitter.refuse(shape, raw.lsn, e, batch)?;
                            continue;
                        }
                    }
                }
            };
            let change = Change { lsn: raw.lsn, table, op };
            tell(&mut self.begun, &self.head, emitter, batch, change);
        }
        Ok(false)
    }

    /// Adds updates of rows whose values changed outside of them without a record of the row; whether there may be more.
    fn fill_unnamed<S: PageSource>(
        &mut self,
        emitter: &mut Emitter<'_, S>,
        bytes_max: usize,
        batch: &mut EventBatch,
    ) -> Result<bool, Error> {
        let rows = self.unnamed.get_or_insert_with(|| {
            BlobRows::of(&self.blobs, |shape, lsn| {
                let copied = emitter.shapes.now(shape).and_then(|shape| self.tables.moved.get(&shape.rowset));
                copied.is_none_or(|copied| lsn > copied.until) && emitter.tells_blobs(shape, &self.emptied, lsn, batch)
            })
        });
        while let Some(found) =
            rows.next(emitter.pages, emitter.shapes, emitter.blob_pages, (&self.blobs, &self.lob_changes))?
        {
            let Some((shape, table, raw)) = emitter.unnamed(&found, &self.blobs) else { continue };
            let earlier = earlier(&mut self.earlier, &table, &self.blobs, &self.lob_changes, emitter.pages)?;
            let earlier = earlier.map(|earlier| WithEarlier { earlier, pages: emitter.pages });
            let earlier = earlier.as_ref().map(|earlier| earlier as &dyn PageSource);
            let values = Values { blobs: &self.blobs, undo: false, last: true, earlier };
            let op = emitter.op(&shape, &table, &raw, values, &mut batch.rows)?;
            let change = Change { lsn: raw.lsn, table, op };
            tell(&mut self.begun, &self.head, emitter, batch, change);
            if batch.rows.byte_len() >= bytes_max {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The pages with values as they were before the transaction, where rows of a table are found by all that they were.
fn earlier<'e, S: PageSource>(
    earlier: &'e mut Option<Earlier>,
    table: &TableVersion,
    blobs: &FxHashMap<u64, Touched>,
    changes: &Pending,
    pages: &S,
) -> Result<Option<&'e Earlier>, Error> {
    if blobs.is_empty() || table.row_key().is_some() {
        return Ok(None);
    }
    if earlier.is_none() {
        *earlier = Some(Earlier::before(std::iter::once(changes), pages)?);
    }
    Ok(earlier.as_ref())
}

/// Adds a change to a batch, with what has to come before it.
fn tell<S>(
    begun: &mut bool,
    head: &TransactionHead,
    emitter: &mut Emitter<'_, S>,
    batch: &mut EventBatch,
    change: Change,
) {
    if !std::mem::replace(begun, true) {
        batch.events.push(SourceEvent::Begin(head.clone()));
    }
    let told = (change.table.id, change.table.version);
    if emitter.told_last != Some(told) {
        emitter.told_last = Some(told);
        if emitter.told.insert(told.0, told.1) != Some(told.1) {
            batch.events.push(SourceEvent::Table(change.table.clone()));
        }
    }
    batch.events.push(SourceEvent::Change(change));
}

pub(crate) fn lost(shape: &Shape, raw: &RawChange<'_>, why: String) -> Error {
    Error::LostRow { table: shape.table.name.to_string(), lsn: raw.lsn, page: raw.row.page, why }
}

impl<S: PageSource> Emitter<'_, S> {
    /// Whether values of a shape's rows are to be told of: not where the rows went, or cannot be read.
    fn tells_blobs(&mut self, shape: u32, truncated: &FxHashSet<u64>, lsn: Lsn, batch: &mut EventBatch) -> bool {
        self.shapes.now(shape).is_some_and(|shape| {
            !truncated.contains(&shape.rowset)
                && self.shapes.told_as(shape).is_some()
                && !self.is_unreadable(shape, lsn, batch)
                && !self.is_searched_in_vain(shape, lsn, batch)
        })
    }

    /// Rows of compressed tables are not looked for by their values: how their pages have them may not be known.
    fn is_searched_in_vain(&mut self, shape: &Shape, lsn: Lsn, batch: &mut EventBatch) -> bool {
        if shape.layout.is_compressed() {
            let why = "a value outside of its rows changed without a record of its row, and rows of compressed tables are not looked for";
            self.unreadable(&shape.table, lsn, why.to_owned(), batch);
        }
        shape.layout.is_compressed()
    }

    /// The change that a row is told as whose value changed outside of it.
    fn unnamed<'f>(
        &self,
        found: &'f FoundRow,
        blobs: &FxHashMap<u64, Touched>,
    ) -> Option<(Arc<Shape>, Arc<TableVersion>, RawChange<'f>)> {
        let shape = self.shapes.now(found.shape)?.clone();
        let table = self.shapes.told_as(&shape)?;
        let lsn = found.blobs.iter().filter_map(|blob| Some(blobs.get(blob)?.last_lsn)).max()?;
        let row = &found.row[..];
        Some((
            shape,
            table,
            RawChange { lsn, op: RawOp::Update, shape: found.shape, row: found.at, before: row, after: row },
        ))
    }

    /// Whether changes of a table cannot be read; the first time this is told.
    fn is_unreadable(&mut self, shape: &Shape, lsn: Lsn, batch: &mut EventBatch) -> bool {
        if let Some(why) = &shape.unreadable {
            self.unreadable(&shape.table, lsn, why.to_string(), batch);
            return true;
        }
        self.told_unreadable.contains(&shape.table.id)
    }

    fn unreadable(&mut self, table: &Arc<TableVersion>, lsn: Lsn, why: String, batch: &mut EventBatch) {
        if self.told_unreadable.insert(table.id) {
            batch.events.push(SourceEvent::Unreadable { table: table.clone(), lsn, why });
        }
    }

    /// A change that is lost is no damage: its table is one whose changes cannot be read, from then on, which concerns only those who want it.
    /// So is one of a compressed table that is not as is published. Another error is one of the files.
    fn refuse(&mut self, shape: &Shape, lsn: Lsn, error: Error, batch: &mut EventBatch) -> Result<(), Error> {
        let why = match error {
            Error::LostRow { page, why, .. } if page.is_none() => why,
            Error::LostRow { page, why, .. } => format!("{why} (page {page})"),
            error if shape.layout.is_compressed() => error.to_string(),
            error => return Err(error),
        };
        self.unreadable(&shape.table, lsn, why, batch);
        Ok(())
    }

    /// Whether an emptied rowset means that its table was truncated: once for all of its partitions.
    fn truncation(
        &self,
        shape: &Shape,
        (emptied, met): (&FxHashSet<u64>, &mut FxHashMap<u64, u32>),
        moved: &FxHashMap<u64, Copied>,
        raw: &RawChange<'_>,
    ) -> Result<bool, Error> {
        let (rowset, table) = (shape.rowset, shape.table.id);
        let rowsets = self.shapes.rowsets_of(table);
        if !self.shapes.has_rowset(rowset) {
            // It went: with its table, or because another was made with its rows. That other is there before it is emptied for that.
            let from = |copied: Option<&Copied>| copied.map_or(Lsn::ZERO, |copied| copied.from);
            let own = from(moved.get(&rowset));
            let mut others = moved.iter().filter(|(other, copied)| **other != rowset && copied.table == table);
            let replaced = others.any(|(_, other)| other.from > own && other.from <= raw.lsn);
            return Ok(!replaced && rowsets.len() == 1);
        }
        let time = met.entry(rowset).or_default();
        *time += 1;
        let time = *time;
        if rowsets.iter().any(|other| *other != rowset && met.get(other).is_some_and(|met| *met >= time)) {
            return Ok(false);
        }
        if !rowsets.iter().all(|rowset| emptied.contains(rowset)) {
            let why = "a partition of it was truncated, whose rows are not in the log".to_owned();
            return Err(lost(shape, raw, why));
        }
        if time > 1 && rowsets.len() > 1 {
            let why =
                "it was truncated more than once in one transaction, which cannot be told of partitions".to_owned();
            return Err(lost(shape, raw, why));
        }
        Ok(true)
    }
}

//! Hands a committed transaction on: rows from their bytes into cells, a bounded piece at a time.
//!
//! The page store stands at the commit while this goes on. Values outside of rows are read from it: row locks kept them as the
//! transaction left them. What a value was *before* is not to be had for sure, and is [`Cell::Unchanged`](logferry_model::Cell):
//! rows are found by their keys, which are always in the row.
//!
//! All rows are read by the shape that their table has at the commit, also those that a transaction wrote before it changed the shape:
//! nobody else ever saw the shapes in between.

use std::sync::Arc;

use logferry_model::{
    Change, ChangeOp, Checkpoint, CommitLsn, EventBatch, Lineage, Lsn, RestartLsn, RowRef, RowStore, SourceEvent,
    TableId, TableVersion, TransactionHead,
};
use logferry_mssql_format::bytes::Malformed;
use logferry_mssql_format::page::RowId;
use logferry_mssql_format::redo::restore_slot;
use logferry_mssql_format::row::{Expanded, RawCell, RowLayout};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::assemble::{Open, Touched};
use crate::blob_rows::{BlobPages, BlobRows, FoundRow};
use crate::error::Error;
use crate::pages::PageSource;
use crate::pending::{Pending, PendingReader, RawChange, RawOp};
use crate::scan::LobReader;
use crate::shapes::{Shape, Shapes, Switched};
use crate::store::PageStore;

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
    /// That by which the last of the others went: rows that come until then are old ones.
    pub(crate) until: Lsn,
}

/// What is needed to turn bytes into rows.
pub(crate) struct Emitter<'a, S> {
    pub(crate) shapes: &'a Shapes,
    pub(crate) pages: &'a S,
    pub(crate) lobs: &'a mut LobReader,
    /// The version of each table that was told last.
    pub(crate) told: &'a mut FxHashMap<TableId, u32>,
    /// Tables whose changes are left out, and who were told of.
    pub(crate) told_unreadable: &'a mut FxHashSet<TableId>,
    /// Where rows of values outside of them stood.
    pub(crate) blob_pages: &'a mut BlobPages,
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
}

/// Whose image a row is: decides what becomes of values outside of it.
#[derive(Clone, Copy)]
enum Image<'a> {
    /// Of before: those are not to be had.
    Before,
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
        blobs.values().for_each(|touched| touched.set_named(false));
        Committed {
            head: TransactionHead { id, begin_lsn, commit_lsn, commit_time_us, name },
            restart,
            tables,
            emptied: truncated,
            met_empty: FxHashMap::default(),
            blobs,
            lob_changes,
            incomplete_move,
            reader: pending.into_reader(),
            unnamed: None,
            begun: false,
            redefines: false,
        }
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
        if let Some(Switched { from, to, page }) = &self.tables.switched {
            let why = format!("its rows became those of table \"{}\" by a SWITCH, which logs none of them", to.name);
            let (table, lsn) = (from.name.to_string(), self.head.commit_lsn.0);
            return Err(Error::LostRow { table, lsn, page: *page, why });
        }
        // Names may change hands: what goes, goes first.
        self.redefines |= !(self.tables.dropped.is_empty() && self.tables.changed.is_empty());
        batch.events.append(&mut self.tables.dropped);
        for event in self.tables.changed.drain(..) {
            if let SourceEvent::Table(table) = &event {
                emitter.told.insert(table.id, table.version);
            }
            batch.events.push(event);
        }
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
            let Some(shape) = emitter.shapes.now(raw.shape) else { continue };
            let copied = self.tables.moved.get(&shape.rowset);
            // What comes to a rowset until then are rows that the table had, readable or not.
            if matches!(raw.op, RawOp::Insert | RawOp::Lost) && copied.is_some_and(|copied| raw.lsn <= copied.until) {
                continue;
            }
            // Rows of a table that went in the transaction are of no use to anybody.
            let Some(table) = emitter.shapes.told_as(shape) else { continue };
            if emitter.is_unreadable(shape, raw.lsn, batch) {
                continue;
            }
            let op = match raw.op {
                RawOp::Truncate => {
                    match emitter.truncation(shape, (&self.emptied, &mut self.met_empty), &self.tables.moved, &raw)? {
                        true => ChangeOp::Truncate,
                        false => continue,
                    }
                }
                RawOp::Lost => {
                    let why = String::from_utf8_lossy(raw.after).into_owned();
                    emitter.refuse(shape, raw.lsn, lost(shape, &raw, why), batch)?;
                    continue;
                }
                _ => {
                    let values = Values { blobs: &self.blobs, undo: false, last: false };
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
            let values = Values { blobs: &self.blobs, undo: false, last: true };
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
    if emitter.told.insert(change.table.id, change.table.version) != Some(change.table.version) {
        batch.events.push(SourceEvent::Table(change.table.clone()));
    }
    batch.events.push(SourceEvent::Change(change));
}

/// Brings LOBs back to what they were before open transactions changed them. Their slots do not move, and stay theirs until they end.
pub(crate) fn undo_lobs<'o, B: PageSource + ?Sized>(
    open: impl Iterator<Item = &'o Open>,
    store: &mut PageStore<B>,
) -> Result<(), Error> {
    let mut undone = Vec::new();
    for transaction in open {
        let mut reader = transaction.lob_undo.reader();
        while let Some(raw) = reader.next()? {
            undone.push((raw.lsn, raw.row, (raw.op != RawOp::Insert).then(|| raw.before.to_vec())));
        }
    }
    undone.sort_by_key(|change| std::cmp::Reverse((change.0, change.1)));
    for (lsn, row, before) in undone {
        if before.as_ref().is_some_and(Vec::is_empty) {
            // It was not known; whoever needs it will not find it.
            continue;
        }
        restore_slot(store.page_mut(row.page)?, row.slot, before.as_deref())
            .map_err(|e| e.within(format_args!("LOB record {row} before log record {lsn}")))?;
    }
    Ok(())
}

/// Changes that undo those of open transactions, last first, for a copy that shows them. The pages must be without what these
/// transactions did to LOBs ([`undo_lobs`]).
pub(crate) fn fixups<'o, S: PageSource>(
    open: impl Iterator<Item = &'o Open>,
    emitter: &mut Emitter<'_, S>,
    batch: &mut EventBatch,
) -> Result<(), Error> {
    let open: Vec<&Open> = open.collect();
    let mut undone = Vec::new();
    for transaction in &open {
        if let Some(row) = transaction.incomplete_move() {
            let what = format!("heap row {row} was on the move when the backup ended");
            return Err(Malformed::new(what, 0).within(format_args!("transaction {}", transaction.id)).into());
        }
        let mut reader = transaction.pending.reader();
        while let Some(raw) = reader.next()? {
            let (before, after) = (raw.before.to_vec(), raw.after.to_vec());
            undone.push((RawChange { before: &[], after: &[], ..raw }, before, after, &transaction.blobs));
        }
    }
    undone.sort_by_key(|(raw, ..)| std::cmp::Reverse(raw.lsn));
    for (raw, before, after, blobs) in &undone {
        let op = match raw.op {
            RawOp::Insert => RawOp::Delete,
            RawOp::Delete => RawOp::Insert,
            other => other,
        };
        let raw = RawChange { op, before: after, after: before, ..*raw };
        let Some(shape) = emitter.shapes.now(raw.shape) else { continue };
        if !emitter.shapes.is_published(shape.table.id) {
            // The table is new, and not copied.
            continue;
        }
        if !emitter.shapes.is_current(&shape.table) {
            let why = "a transaction that was open when the backup ended was changing the shape of the table";
            return Err(lost(shape, &raw, why.to_owned()));
        }
        if emitter.is_unreadable(shape, raw.lsn, batch) {
            continue;
        }
        let op = match raw.op {
            RawOp::Truncate => {
                let why = "it was being truncated by a transaction that was open when the backup ended";
                return Err(lost(shape, &raw, why.to_owned()));
            }
            RawOp::Lost => {
                let why = String::from_utf8_lossy(raw.before).into_owned();
                emitter.refuse(shape, raw.lsn, lost(shape, &raw, why), batch)?;
                continue;
            }
            _ => {
                let values = Values { blobs, undo: true, last: false };
                match emitter.op(shape, &shape.table, &raw, values, &mut batch.rows) {
                    Ok(op) => op,
                    Err(e) => {
                        emitter.refuse(shape, raw.lsn, e, batch)?;
                        continue;
                    }
                }
            }
        };
        batch.events.push(SourceEvent::Change(Change { lsn: raw.lsn, table: shape.table.clone(), op }));
    }
    for transaction in open {
        let blobs = &transaction.blobs;
        let mut rows = BlobRows::of(blobs, |shape, lsn| emitter.tells_blobs(shape, &transaction.truncated, lsn, batch));
        let touched = (blobs, &transaction.lob_undo);
        while let Some(found) = rows.next(emitter.pages, emitter.shapes, emitter.blob_pages, touched)? {
            let Some((shape, _, raw)) = emitter.unnamed(&found, blobs) else { continue };
            if emitter.shapes.is_published(shape.table.id) {
                let values = Values { blobs, undo: true, last: true };
                let op = emitter.op(&shape, &shape.table, &raw, values, &mut batch.rows)?;
                batch.events.push(SourceEvent::Change(Change { lsn: raw.lsn, table: shape.table.clone(), op }));
            }
        }
    }
    Ok(())
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
            self.unreadable(shape, lsn, why.to_owned(), batch);
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
            self.unreadable(shape, lsn, why.to_string(), batch);
            return true;
        }
        shape.layout.is_compressed() && self.told_unreadable.contains(&shape.table.id)
    }

    fn unreadable(&mut self, shape: &Shape, lsn: Lsn, why: String, batch: &mut EventBatch) {
        if self.told_unreadable.insert(shape.table.id) {
            batch.events.push(SourceEvent::Unreadable { table: shape.table.clone(), lsn, why });
        }
    }

    /// A change cannot be told. Of a compressed table that is no damage: it is one whose changes cannot be read, which concerns only those
    /// who want it.
    fn refuse(&mut self, shape: &Shape, lsn: Lsn, error: Error, batch: &mut EventBatch) -> Result<(), Error> {
        match shape.layout.is_compressed() {
            true => self.unreadable(shape, lsn, error.to_string(), batch),
            false => return Err(error),
        }
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

    /// `table` is what the rows are to be of: a transaction may have written to a rowset of an earlier shape, which it replaced.
    fn op(
        &mut self,
        shape: &Shape,
        table: &TableVersion,
        raw: &RawChange<'_>,
        values: Values<'_>,
        rows: &mut RowStore,
    ) -> Result<ChangeOp, Error> {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let (mut unpacked_before, mut unpacked) = (Expanded::default(), Expanded::default());
        Ok(match raw.op {
            RawOp::Insert => {
                self.decode(shape, table, raw, raw.after, &mut unpacked, &mut after)?;
                ChangeOp::Insert { after: self.row(shape, raw, &after, Image::New, values, rows)? }
            }
            RawOp::Delete => {
                self.decode(shape, table, raw, raw.before, &mut unpacked_before, &mut before)?;
                ChangeOp::Delete { before: self.row(shape, raw, &before, Image::Before, values, rows)? }
            }
            _ => {
                self.decode(shape, table, raw, raw.before, &mut unpacked_before, &mut before)?;
                self.decode(shape, table, raw, raw.after, &mut unpacked, &mut after)?;
                ChangeOp::Update {
                    before: self.row(shape, raw, &before, Image::Before, values, rows)?,
                    after: self.row(shape, raw, &after, Image::Changed(&before), values, rows)?,
                }
            }
        })
    }

    fn decode<'r>(
        &self,
        shape: &'r Shape,
        table: &'r TableVersion,
        raw: &RawChange<'_>,
        row: &'r [u8],
        unpacked: &'r mut Expanded,
        cells: &mut Vec<RawCell<'r>>,
    ) -> Result<(), Error> {
        let layout: &'r RowLayout = &shape.layout;
        let decoded = if layout.is_packed() {
            layout.expand(row, None, unpacked).and_then(|()| unpacked.cells(layout, cells))
        } else {
            layout.decode(row, cells)
        };
        decoded.map_err(|e| -> Error {
            e.within(format_args!("table \"{}\", row {} in log record {}", shape.table.name, raw.row, raw.lsn)).into()
        })?;
        if std::ptr::eq(&*shape.table, table) {
            return Ok(());
        }
        let mut other = Vec::with_capacity(table.columns.len());
        for column in &table.columns {
            let at = shape.table.columns.iter().position(|c| c.id == column.id);
            other.push(match at.and_then(|at| Some((shape.table.columns.get(at)?, *cells.get(at)?))) {
                Some((old, cell)) if old.sql_type == column.sql_type => cell,
                Some(_) => {
                    let name = &column.name;
                    let why =
                        format!("column \"{name}\" got another type, and the table another place, in its transaction");
                    return Err(lost(shape, raw, why));
                }
                None => column.missing.as_deref().map_or(RawCell::Null, RawCell::Bytes),
            });
        }
        *cells = other;
        Ok(())
    }

    /// Writes a row's cells into the store.
    fn row(
        &mut self,
        shape: &Shape,
        raw: &RawChange<'_>,
        cells: &[RawCell<'_>],
        image: Image<'_>,
        values: Values<'_>,
        rows: &mut RowStore,
    ) -> Result<RowRef, Error> {
        let mut scratch = Vec::new();
        let mut row = rows.start_row();
        for (column, cell) in cells.iter().enumerate() {
            let pointer = match cell {
                RawCell::Null => {
                    row.null();
                    continue;
                }
                RawCell::Bytes(bytes) => {
                    row.value(|out| out.extend_from_slice(bytes));
                    continue;
                }
                RawCell::OffRow(pointer) => pointer,
            };
            let touched = pointer.blob_id().ok().and_then(|id| values.blobs.get(&id));
            if let Some(touched) = touched {
                touched.set_named(true);
            }
            let same = matches!(image, Image::Changed(before) if before.get(column) == Some(cell));
            if matches!(image, Image::Before) || same && touched.is_none() {
                row.unchanged();
                continue;
            }
            scratch.clear();
            match self.lobs.append(self.pages, pointer, &mut scratch) {
                Ok(true) => row.value(|out| out.extend_from_slice(&scratch)),
                Ok(false) => row.null(),
                // The value went again before the commit, and a later change of the row says what it is then. When changes are
                // turned around: it came in the transaction, and an earlier change of the row says what it was before.
                Err(_)
                    if !values.last
                        && touched.is_some_and(|t| if values.undo { t.began_with_insert } else { t.deleted }) =>
                {
                    row.value(|_| ());
                }
                Err(e) => {
                    let name = shape.table.columns.get(column).map_or("", |c| c.name.as_str());
                    let why = format!("the value of column \"{name}\" outside the row: {e}");
                    return Err(lost(shape, raw, why));
                }
            }
        }
        Ok(row.finish())
    }
}

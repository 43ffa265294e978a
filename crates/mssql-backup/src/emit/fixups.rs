//! A copy that shows what open transactions did: what takes it back.

use logferry_model::{Change, EventBatch, SourceEvent};
use logferry_mssql_format::bytes::Malformed;

use super::{Emitter, Values, lost};
use crate::assemble::{Open, Touched};
use crate::blob_rows::BlobRows;
use crate::error::Error;
use crate::pages::PageSource;
use crate::pending::{RawChange, RawOp};

/// Changes that undo those of open transactions, last first, for a copy that shows them. The pages must be without what these
/// transactions did to LOBs ([`Earlier`](super::Earlier)), `copied` those that the copy is of.
pub(crate) fn fixups<'o, S: PageSource>(
    open: impl Iterator<Item = &'o Open>,
    copied: &dyn PageSource,
    emitter: &mut Emitter<'_, S>,
    batch: &mut EventBatch,
) -> Result<(), Error> {
    let open: Vec<&Open> = open.collect();
    let mut undone = Vec::new();
    for transaction in &open {
        transaction.blobs.values().for_each(Touched::begin);
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
            RawOp::Insert | RawOp::PageInsert => RawOp::Delete,
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
                emitter.refuse(shape, raw.lsn, lost(shape, &raw, why.to_owned()), batch)?;
                continue;
            }
            RawOp::Lost => {
                let why = String::from_utf8_lossy(raw.before).into_owned();
                emitter.refuse(shape, raw.lsn, lost(shape, &raw, why), batch)?;
                continue;
            }
            _ => {
                let values = Values { blobs, undo: true, last: false, earlier: Some(copied) };
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
                let values = Values { blobs, undo: true, last: true, earlier: Some(copied) };
                let op = emitter.op(&shape, &shape.table, &raw, values, &mut batch.rows)?;
                batch.events.push(SourceEvent::Change(Change { lsn: raw.lsn, table: shape.table.clone(), op }));
            }
        }
    }
    Ok(())
}

//! Rows from their bytes into cells.

use std::ops::Range;

use logferry_model::{ChangeOp, RowRef, RowStore, TableVersion};
use logferry_mssql_format::row::{Expanded, RawCell, RowLayout};

use super::{Emitter, Image, Values, lost};
use crate::error::Error;
use crate::pages::PageSource;
use crate::pending::{RawChange, RawOp};
use crate::shapes::Shape;

impl<S: PageSource> Emitter<'_, S> {
    /// `table` is what the rows are to be of: a transaction may have written to a rowset of an earlier shape, which it replaced.
    pub(super) fn op(
        &mut self,
        shape: &Shape,
        table: &TableVersion,
        raw: &RawChange<'_>,
        values: Values<'_>,
        rows: &mut RowStore,
    ) -> Result<ChangeOp, Error> {
        let [before, after] = std::mem::take(&mut self.spare);
        let (mut before, mut after) = (emptied(before), emptied(after));
        let (mut unpacked_before, mut unpacked) = (Expanded::default(), Expanded::default());
        let image_before = Image::Before { is_keyed: table.row_key().is_some() };
        let op = match raw.op {
            RawOp::Insert | RawOp::PageInsert => {
                self.decode(shape, table, raw, raw.after, &mut unpacked, &mut after)?;
                ChangeOp::Insert { after: self.row(shape, raw, (raw.after, &after), Image::New, values, rows)? }
            }
            RawOp::Delete => {
                self.decode(shape, table, raw, raw.before, &mut unpacked_before, &mut before)?;
                ChangeOp::Delete { before: self.row(shape, raw, (raw.before, &before), image_before, values, rows)? }
            }
            _ => {
                self.decode(shape, table, raw, raw.before, &mut unpacked_before, &mut before)?;
                self.decode(shape, table, raw, raw.after, &mut unpacked, &mut after)?;
                ChangeOp::Update {
                    before: self.row(shape, raw, (raw.before, &before), image_before, values, rows)?,
                    after: self.row(shape, raw, (raw.after, &after), Image::Changed(&before), values, rows)?,
                }
            }
        };
        self.spare = [emptied(before), emptied(after)];
        Ok(op)
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

    /// Writes a row's cells into the store: those that stand in its bytes with all of these at once.
    fn row(
        &mut self,
        shape: &Shape,
        raw: &RawChange<'_>,
        (image, cells): (&[u8], &[RawCell<'_>]),
        whose: Image<'_>,
        values: Values<'_>,
        rows: &mut RowStore,
    ) -> Result<RowRef, Error> {
        let mut scratch = Vec::new();
        let image = if shape.layout.is_packed() { &[] } else { image };
        let mut row = rows.start_row_of(image, cells.len());
        for (column, cell) in cells.iter().enumerate() {
            let pointer = match cell {
                RawCell::Null => {
                    row.null();
                    continue;
                }
                RawCell::Bytes(bytes) => {
                    match part_of(image, bytes) {
                        Some(part) => row.part(part),
                        None => row.value(|out| out.extend_from_slice(bytes)),
                    }
                    continue;
                }
                RawCell::OffRow(pointer) => pointer,
            };
            let touched = pointer.blob_id().ok().and_then(|id| values.blobs.get(&id));
            if let Some(touched) = touched {
                touched.set_named();
            }
            let same = matches!(whose, Image::Changed(before) if before.get(column) == Some(cell));
            let before = matches!(whose, Image::Before { .. });
            if matches!(whose, Image::Before { is_keyed: true }) || same && touched.is_none() {
                row.unchanged();
                continue;
            }
            scratch.clear();
            let earlier = values.earlier.filter(|_| before && touched.is_some_and(|touched| !touched.is_told()));
            let found = match earlier {
                None => self.lobs.append(self.pages, pointer, &mut scratch),
                Some(earlier) => {
                    // It keeps pages by their ids, whichever source they are of.
                    self.lobs.clear();
                    let found = self.lobs.append(&earlier, pointer, &mut scratch);
                    self.lobs.clear();
                    found
                }
            };
            if let Some(touched) = touched.filter(|_| !before) {
                touched.set_told();
            }
            match found {
                Ok(true) => row.any_value(&scratch).map_err(|e| {
                    let name = shape.table.columns.get(column).map_or("", |c| c.name.as_str());
                    lost(shape, raw, format!("the value of column \"{name}\": {e}"))
                })?,
                Ok(false) => row.null(),
                // The value went again before the commit, and a later change of the row says what it is then. When changes are
                // turned around: it came in the transaction, and an earlier change of the row says what it was before.
                Err(_)
                    if !values.last
                        && earlier.is_none()
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

/// A change of rows that stand for themselves, as most do: each goes into the store as it is, with where its values are.
pub(super) fn plain_op(layout: &RowLayout, raw: &RawChange<'_>, rows: &mut RowStore) -> Option<ChangeOp> {
    match raw.op {
        RawOp::Insert | RawOp::PageInsert => {
            let after = layout.plain(raw.after)?;
            Some(ChangeOp::Insert { after: after.push_to(rows) })
        }
        RawOp::Delete => {
            let before = layout.plain(raw.before)?;
            Some(ChangeOp::Delete { before: before.push_to(rows) })
        }
        RawOp::Update => {
            let (before, after) = (layout.plain(raw.before)?, layout.plain(raw.after)?);
            Some(ChangeOp::Update { before: before.push_to(rows), after: after.push_to(rows) })
        }
        RawOp::Truncate | RawOp::Lost => None,
    }
}

/// Where a value stands in the bytes of its row, if it does: it may be a default, or a bit.
fn part_of(image: &[u8], value: &[u8]) -> Option<Range<usize>> {
    let start = value.as_ptr().addr().checked_sub(image.as_ptr().addr())?;
    let end = start.checked_add(value.len())?;
    (end <= image.len()).then_some(start..end)
}

/// The memory of a list of cells, for the cells of another row.
fn emptied<'b>(mut cells: Vec<RawCell<'_>>) -> Vec<RawCell<'b>> {
    cells.clear();
    cells.into_iter().map_while(|_| None).collect()
}

//! Reading one change table, a page at a time.
//!
//! The cursor is the whole of what the rows are ordered by, so that a page may end anywhere: between the changes of a transaction,
//! between the two rows of an update.
//!
//! ```text
//!  __$start_lsn  __$command_id  __$seqval  __$operation
//!  commit        what the transaction did first, second, ...     1 delete, 2 insert, 3 and 4 update
//! ```
//! <https://learn.microsoft.com/sql/relational-databases/system-tables/cdc-capture-instance-ct-transact-sql>
//!
//! Of a table without a key the whole row before a change tells which one it was. Capture has all of it, but for large values
//! (`text`, `varchar(max)`, `xml` and the like), which it leaves NULL: such a table is refused, for two rows may differ in nothing else.

use std::collections::VecDeque;
use std::sync::Arc;

use logferry_model::{Change, ChangeOp, EventBatch, Lsn, RowRef, RowStore, SourceEvent};
use tiberius::{ColumnData, ToSql};

use super::rotate;
use super::served::{Found, Served, key_of};
use crate::catalog::Order;
use crate::chunks::{self, Value};
use crate::error::Error;
use crate::session::Session;
use crate::value::Form;

/// Rows of the first page; later ones are as many as fit.
const FIRST_ROWS: i64 = 256;
const ROWS_MAX: i64 = 4_096;
/// Rows that are looked up by one statement. Two sizes, so that the server keeps two plans per table.
const KEYS_MAX: usize = 128;
const KEYS_FEW: usize = 8;

/// A place in a change table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cursor {
    pub(crate) lsn: Lsn,
    /// NULL, which sorts first, in rows that were captured before the column was there.
    command: Option<i32>,
    seqval: [u8; 10],
    operation: i32,
}

impl Cursor {
    /// Behind all changes of a transaction.
    pub(crate) fn behind(lsn: Lsn) -> Self {
        Cursor { lsn, command: Some(i32::MAX), seqval: [u8::MAX; 10], operation: i32::MAX }
    }
}

/// What asks for a page: up to `@P1` rows behind a place (`@P3` to `@P6`), up to the LSN `@P2`.
///
/// One SELECT for each part of the order, the rest of the innermost first: each is one seek in the index, and reads what it gives and no more.
/// As one comparison of all parts, a server would read a transaction from its begin on for each page of it.
#[derive(Debug)]
pub(super) struct Texts {
    behind: String,
    /// Of a place whose `__$command_id` is NULL.
    behind_null: String,
}

impl Texts {
    pub(super) fn of(change_table: &str, has_commands: bool, list: &str) -> Self {
        const LSN: &str = "[__$start_lsn]";
        const SEQVAL: &str = "[__$seqval]";
        let (command, order) = match has_commands {
            true => ("[__$command_id]", "[__$start_lsn], [__$command_id], [__$seqval], [__$operation]"),
            false => ("0", "[__$start_lsn], [__$seqval], [__$operation]"),
        };
        let text = |null: bool| {
            let here = format!("{LSN} = CONVERT(binary(10), @P3)");
            let (same, more) = match (has_commands, null) {
                (false, _) => ("", None),
                (true, false) => (" AND [__$command_id] = @P4", Some("[__$command_id] > @P4")),
                (true, true) => (" AND [__$command_id] IS NULL", Some("[__$command_id] IS NOT NULL")),
            };
            let mut wheres = vec![
                format!("{here}{same} AND {SEQVAL} = CONVERT(binary(10), @P5) AND [__$operation] > @P6"),
                format!("{here}{same} AND {SEQVAL} > CONVERT(binary(10), @P5)"),
            ];
            wheres.extend(more.map(|more| format!("{here} AND {more}")));
            wheres.push(format!("{LSN} > CONVERT(binary(10), @P3) AND {LSN} <= CONVERT(binary(10), @P2)"));
            let select = |filter: &String| {
                format!(
                    "SELECT TOP (@left) {LSN}, {command}, {SEQVAL}, [__$operation], [__$update_mask], {list} FROM {change_table} \
                     WHERE {filter} ORDER BY {order}"
                )
            };
            let selects: Vec<String> = wheres.iter().map(select).collect();
            format!("DECLARE @left bigint = @P1; {}", selects.join("; SET @left = @left - @@ROWCOUNT; "))
        };
        Texts { behind: text(false), behind_null: text(true) }
    }

    fn behind(&self, place: &Cursor) -> &str {
        match place.command {
            Some(_) => &self.behind,
            None => &self.behind_null,
        }
    }
}

/// A row of a change table.
#[derive(Debug)]
struct Entry {
    at: Cursor,
    mask: Vec<u8>,
    row: RowRef,
    /// Whether it is among the rows that are wanted.
    wanted: bool,
}

/// What a change table has between two LSNs.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) served: Arc<Served>,
    cursor: Cursor,
    end: Lsn,
    take: i64,
    rows: RowStore,
    entries: VecDeque<Entry>,
    found: Found,
    /// Of an update whose second row is on the next page.
    before: Option<(Cursor, RowStore, RowRef, bool)>,
    pub(crate) done: bool,
}

impl Feed {
    /// Changes that were committed behind `cursor`, up to and with `end`.
    pub(crate) fn new(served: Arc<Served>, cursor: Cursor, end: Lsn) -> Self {
        Feed {
            served,
            cursor,
            end,
            take: FIRST_ROWS,
            rows: RowStore::new(),
            entries: VecDeque::new(),
            found: Found::new(),
            before: None,
            done: false,
        }
    }

    /// The commit of the next change; none where the page is empty.
    pub(crate) fn head(&self) -> Option<Lsn> {
        self.entries.front().map(|entry| entry.at.lsn).or(self.before.as_ref().map(|(at, ..)| at.lsn))
    }

    pub(crate) fn needs_page(&self) -> bool {
        self.entries.is_empty() && !self.done
    }

    /// Reads the next page: about `bytes_max`, and one row at least. The answer may be given up half way, and the connection with it.
    pub(crate) async fn fill(&mut self, session: &mut Session, bytes_max: usize) -> Result<(), Error> {
        let served = self.served.clone();
        let doing = served.doing();
        let wrong = |what: &str| Error::Unexpected { doing: doing.clone(), what: what.to_owned() };
        self.rows.clear();
        let (end, from) = (self.end.to_be_bytes(), self.cursor.lsn.to_be_bytes());
        let (end, from, seqval) = (&end[..], &from[..], self.cursor.seqval);
        let seqval = &seqval[..];
        let parameters: [&dyn ToSql; 6] =
            [&self.take, &end, &from, &self.cursor.command, &seqval, &self.cursor.operation];
        // Its instance was dropped since it was asked which tables have changes.
        let gone = |e: Error| match e {
            Error::Statement { number: 208, .. } => rotate::dropped(&served),
            other => other,
        };
        let text = served.texts.behind(&self.cursor);
        let mut answer = session.ask(&doing, text, &parameters).await.map_err(gone)?;
        let mut count = 0;
        let mut whole = false;
        while self.rows.byte_len() < bytes_max {
            let Some(row) = answer.next().await.map_err(gone)? else {
                whole = true;
                break;
            };
            count += 1;
            let mut cells = row.into_iter();
            let at = cursor(&mut cells).ok_or_else(|| wrong("a row has no place in the order"))?;
            if at <= self.cursor {
                return Err(wrong("rows came in another order than they were asked for"));
            }
            let mask = match cells.next() {
                Some(ColumnData::Binary(Some(mask))) if at.operation > 2 && !served.large.is_empty() => {
                    mask.into_owned()
                }
                Some(_) => Vec::new(),
                None => return Err(wrong("a row has no update mask")),
            };
            let wanted = match served.table.condition {
                Some(_) => match cells.next() {
                    Some(ColumnData::I32(Some(n))) => n == 1,
                    _ => return Err(wrong("a row does not say whether it is wanted")),
                },
                None => true,
            };
            let row = served.form.read_cells(&mut cells, &mut self.rows).map_err(|e| wrong(&e.to_string()))?;
            self.entries.push_back(Entry { at, mask, row, wanted });
            self.cursor = at;
        }
        drop(answer);
        self.done = whole && count < self.take;
        let each = self.rows.byte_len() / usize::try_from(count.max(1)).unwrap_or(1);
        self.take = i64::try_from(bytes_max / each.max(1)).unwrap_or(ROWS_MAX).clamp(1, ROWS_MAX);
        if self.done && self.entries.is_empty() && self.before.is_some() {
            return Err(wrong("the first row of an update is there without the second"));
        }
        Ok(())
    }

    /// Reads what capture does not give for the rows of the page.
    pub(crate) async fn fetch(&mut self, session: &mut Session) -> Result<(), Error> {
        self.found.clear();
        if self.served.fetched.is_empty() {
            return Ok(());
        }
        let mut keys: Vec<Vec<u8>> = self
            .entries
            .iter()
            .filter(|e| matches!(e.at.operation, 2 | 4))
            .map(|e| key_of(self.rows.row(e.row), &self.served.key))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let Some(order) = self.served.table.lookup() else { return Ok(()) };
        for keys in keys.chunks(KEYS_MAX) {
            look_up(session, &self.served, &order, keys, &mut self.found).await?;
        }
        Ok(())
    }

    /// Moves the changes of the transaction that committed at `lsn` into a batch, as far as they are on the page and there is room.
    pub(crate) fn give(&mut self, lsn: Lsn, batch: &mut EventBatch, bytes_max: usize) -> Result<(), Error> {
        let served = self.served.clone();
        let wrong = |what: &str| Error::Unexpected { doing: served.doing(), what: what.to_owned() };
        while batch.rows.byte_len() < bytes_max {
            let Some(entry) = self.entries.pop_front_if(|entry| entry.at.lsn == lsn) else { break };
            let row = self.rows.row(entry.row);
            let change_lsn = Lsn::from_be_bytes(entry.at.seqval);
            let op = match (entry.at.operation, self.before.take()) {
                (1 | 2, None) if !entry.wanted => None,
                (1, None) => Some(ChangeOp::Delete { before: served.gone(row, &mut batch.rows) }),
                (2, None) => Some(served.came(row, &[], None, &self.found, &mut batch.rows)),
                (3, None) => {
                    let mut kept = RowStore::new();
                    let kept_row = kept.push_row(row.cells());
                    self.before = Some((entry.at, kept, kept_row, entry.wanted));
                    None
                }
                (4, Some((at, kept, kept_row, was_wanted)))
                    if (at.lsn, at.command, at.seqval) == (entry.at.lsn, entry.at.command, entry.at.seqval) =>
                {
                    let before = kept.row(kept_row);
                    match (was_wanted, entry.wanted) {
                        (true, true) => Some(served.came(row, &entry.mask, Some(before), &self.found, &mut batch.rows)),
                        (true, false) => Some(ChangeOp::Delete { before: served.gone(before, &mut batch.rows) }),
                        (false, true) => Some(served.came(row, &[], None, &self.found, &mut batch.rows)),
                        (false, false) => None,
                    }
                }
                (1..=4, _) => return Err(wrong("the two rows of an update are not one after the other")),
                (other, _) => return Err(wrong(&format!("operation {other} is not known"))),
            };
            if let Some(op) = op {
                let table = served.table.version.clone();
                batch.events.push(SourceEvent::Change(Change { lsn: change_lsn, table, op }));
            }
        }
        Ok(())
    }
}

fn cursor(cells: &mut impl Iterator<Item = ColumnData<'static>>) -> Option<Cursor> {
    let lsn = |cell: Option<ColumnData<'static>>| match cell {
        Some(ColumnData::Binary(Some(bytes))) => <[u8; 10]>::try_from(&*bytes).ok(),
        _ => None,
    };
    let number = |cell: Option<ColumnData<'static>>| match cell {
        Some(ColumnData::I32(n)) => Some(n),
        _ => None,
    };
    Some(Cursor {
        lsn: Lsn::from_be_bytes(lsn(cells.next())?),
        command: number(cells.next())?,
        seqval: lsn(cells.next())?,
        operation: number(cells.next())??,
    })
}

fn cells_of(mut key: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = key.split_first_chunk::<4>()?;
        let (cell, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        key = rest;
        Some(cell)
    })
}

/// Reads the fetched columns of some rows.
async fn look_up(
    session: &mut Session,
    served: &Served,
    order: &Order,
    keys: &[Vec<u8>],
    found: &mut Found,
) -> Result<(), Error> {
    let version = &served.table.version;
    let doing = format!("look up changed rows of table \"{}\"", version.name);
    let mut values = Vec::new();
    for key in keys {
        for (column, cell) in order.columns.iter().zip(cells_of(key)) {
            let value = Value::of(&column.sql_type, cell)
                .ok_or_else(|| Error::Key { table: version.name.to_string(), column: column.name.clone() })?;
            values.push(value);
        }
    }
    let width = order.columns.len();
    let places = if keys.len() <= KEYS_FEW { KEYS_FEW } else { KEYS_MAX };
    let last: Vec<Value> = values.get(values.len().saturating_sub(width)..).unwrap_or_default().to_vec();
    for _ in keys.len()..places {
        values.extend_from_slice(&last);
    }
    let columns = served.key.iter().chain(&served.fetched).filter_map(|&at| version.columns.get(at).cloned());
    let form = Form::of(&columns.collect::<Vec<_>>());
    let filter = chunks::any_of(&order.columns, places);
    let text = format!("SELECT {} FROM {} WHERE {filter}", form.select_list(), chunks::from(&served.table));
    let values: Vec<&dyn ToSql> = values.iter().map(|value| value as &dyn ToSql).collect();
    // Where the table was altered or dropped just now, all is looked at again.
    let altered = |e: Error| match e {
        Error::Statement { number: 207 | 208, said, .. } => Error::Broken { doing: doing.clone(), said },
        other => other,
    };
    let mut answer = session.ask(&doing, &text, &values).await.map_err(altered)?;
    let mut rows = RowStore::new();
    while let Some(row) = answer.next().await? {
        rows.clear();
        let row = form.read(row, &mut rows);
        let row = row.map_err(|e| Error::Unexpected { doing: doing.clone(), what: e.to_string() })?;
        let row = rows.row(row);
        let key = key_of(row, &(0..width).collect::<Vec<_>>());
        found.insert(key, row.cells().skip(width).map(|cell| cell.bytes().map(<[u8]>::to_vec)).collect());
    }
    Ok(())
}

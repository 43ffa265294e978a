//! The changes of one table in one batch, as statements.

use std::ops::RangeInclusive;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::SinkExt;
use logferry_model::{Cell, PgType, RowView, TargetTable};
use rustc_hash::FxHashMap;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{CopyInSink, Statement};

use super::ensured::Ensured;
use super::keyed::{Keyed, Known, Pair};
use super::keyless::Keyless;
use super::net::{At, Changes, Rows, TableNet};
use super::params::{Array, Tuples, real_array_text};
use super::table::{Defined, Kind};
use crate::client::Client;
use crate::error::Error;
use crate::names::{qualified, shown};

/// Rows without a key have no index: the planner's own choice, knowing the arrays.
const WHOLE_TABLE: &str = "SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on; \
     SET LOCAL enable_seqscan = on";
const BY_KEY: &str = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; \
     SET LOCAL enable_seqscan = off";

/// Rows of a statement at the most, so that the arrays stay small.
const STATEMENT_ROWS_MAX: usize = 16 * 1024;
/// Bytes of a statement's arrays, about, for the same reason.
const STATEMENT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of a row from which on it goes through COPY, in pieces, rather than as part of an array.
const LARGE_ROW: usize = 1024 * 1024;

/// What is there under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// A row with the values of other unique keys that it is to have.
    Row,
    RowWithOtherKeys,
}

/// The changes of one table in one batch.
pub(super) struct OneTable<'a, 'b> {
    pub client: &'a Client,
    pub defined: &'a mut Defined,
    pub rows: &'a Rows<'b>,
}

impl OneTable<'_, '_> {
    pub async fn apply(&mut self, net: &TableNet) -> Result<(), Error> {
        if net.truncated {
            let sql = format!("TRUNCATE {}", qualified(&net.table));
            self.run(&sql, "truncate table").await?;
        }
        match &net.changes {
            Changes::Keyed(keyed) => self.keyed(keyed).await,
            Changes::Keyless(keyless) => self.keyless(keyless).await,
            Changes::Ensured(ensured) => self.ensured(ensured, net.truncated).await,
        }
    }

    async fn keyed(&mut self, keyed: &Keyed) -> Result<(), Error> {
        let rows = self.rows;
        let table = self.defined.table.clone();
        let (key, values) = (table.key.clone(), self.defined.values.clone());
        let work = keyed.work(&table, rows);
        if !work.fetches.is_empty() {
            // Made by the statement's first preparation.
            let statement = self.defined.statement(self.client, Kind::PutAside).await?;
            let sql = format!("DELETE FROM {}", self.defined.aside_name());
            self.run(&sql, "empty the temporary table of").await?;
            self.in_parts(&statement, "an update", &work.fetches, key.len(), |&at, arrays| {
                push(&table, arrays, rows, at, &key);
            })
            .await?;
        }
        if !work.deletes.is_empty() {
            let statement = self.defined.statement(self.client, Kind::Delete).await?;
            self.in_parts(&statement, "a delete", &work.deletes, key.len(), |&at, arrays| {
                push(&table, arrays, rows, at, &key)
            })
            .await?;
        }
        if !work.updates.is_empty() {
            let statement = self.defined.statement(self.client, Kind::Update).await?;
            self.in_parts(&statement, "an update", &work.updates, table.columns.len(), |pair, arrays| {
                let (keys, others) = arrays.split_at_mut(key.len());
                push(&table, keys, rows, pair.key, &key);
                push(&table, others, rows, pair.row, &values);
            })
            .await?;
        }
        for (known, pairs) in by_known(rows, &work.partial_updates) {
            let columns = self.defined.known_values(&known);
            if columns.is_empty() {
                continue;
            }
            let statement = self.defined.statement(self.client, Kind::PartialUpdate(known)).await?;
            self.in_parts(&statement, "an update", &pairs, key.len() + columns.len(), |pair, arrays| {
                let (keys, others) = arrays.split_at_mut(key.len());
                push(&table, keys, rows, pair.key, &key);
                push(&table, others, rows, pair.row, &columns);
            })
            .await?;
        }
        if !work.moves.is_empty() {
            // The rows put aside have no index.
            self.run(WHOLE_TABLE, "set up the changes of").await?;
            for (known, pairs) in by_known(rows, &work.moves) {
                let columns = self.defined.known_columns(&known);
                let statement = self.defined.statement(self.client, Kind::BringBack(known)).await?;
                self.in_parts(&statement, "an update", &pairs, key.len() + columns.len(), |pair, arrays| {
                    let (keys, others) = arrays.split_at_mut(key.len());
                    push(&table, keys, rows, pair.key, &key);
                    push(&table, others, rows, pair.row, &columns);
                })
                .await?;
            }
            self.run(BY_KEY, "set up the changes of").await?;
        }
        self.insert(&work.inserts).await
    }

    /// Rows as they are to be, whatever is there: a row that is there is updated, which leaves the indexes alone whose columns stay. It goes
    /// and comes again where a value of another unique key is another one, which may change hands, and where it is too large for an array.
    async fn ensured(&mut self, ensured: &Ensured, emptied: bool) -> Result<(), Error> {
        let rows = self.rows;
        let table = self.defined.table.clone();
        let mut wanted = ensured.rows(&table, rows);
        if emptied {
            return self.insert(&wanted.iter().map(|pair| pair.row).collect::<Vec<_>>()).await;
        }
        // First of all: a key that goes may be equal to one that comes.
        self.delete_any(&ensured.deletes(&table, rows)).await?;
        let (mut there, mut again) = (Vec::new(), Vec::new());
        let mut found = self.find(&wanted).await?.into_iter();
        wanted.retain(|pair| {
            let found = found.next().unwrap_or(Found::Nothing);
            let stays = found == Found::Row && byte_len(rows.row(pair.row)) <= LARGE_ROW;
            if stays {
                there.push(*pair);
            } else if found != Found::Nothing {
                again.push(pair.key);
            }
            !stays
        });
        self.delete_any(&again).await?;
        let (key, values) = (self.defined.replaced_key(), self.defined.values.clone());
        if !there.is_empty() && key.len() + values.len() > 0 {
            let statement = self.defined.statement(self.client, Kind::Replace).await?;
            let width = table.key.len() + key.len() + values.len();
            // Not those that are as they are to be.
            self.in_counted_parts(
                &statement,
                "an update",
                &there,
                width,
                |_| 0..=1,
                |pair, arrays| {
                    let (keys, others) = arrays.split_at_mut(table.key.len());
                    let (new_keys, others) = others.split_at_mut(key.len());
                    push(&table, keys, rows, pair.key, &table.key);
                    push(&table, new_keys, rows, pair.row, &key);
                    push(&table, others, rows, pair.row, &values);
                },
            )
            .await?;
        }
        for (known, pairs) in by_known(rows, &ensured.patches()) {
            let columns = self.defined.known_values(&known);
            if columns.is_empty() {
                continue;
            }
            let statement = self.defined.statement(self.client, Kind::PartialUpdate(known)).await?;
            for pairs in pairs.chunks(STATEMENT_ROWS_MAX) {
                let mut arrays: Vec<Array> = (0..table.key.len() + columns.len()).map(|_| Array::new()).collect();
                for pair in pairs {
                    let (keys, others) = arrays.split_at_mut(table.key.len());
                    push(&table, keys, rows, pair.key, &table.key);
                    push(&table, others, rows, pair.row, &columns);
                }
                let params: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|a| a as _).collect();
                let done = self.client.execute(&statement, &params).await;
                done.map_err(|e| self.refused("an update", pairs.len() as u64, e))?;
            }
        }
        self.insert(&wanted.iter().map(|pair| pair.row).collect::<Vec<_>>()).await
    }

    /// What is there of rows, by their keys.
    pub async fn find(&mut self, pairs: &[Pair]) -> Result<Vec<Found>, Error> {
        let mut found = vec![Found::Nothing; pairs.len()];
        if pairs.is_empty() {
            return Ok(found);
        }
        let table = self.defined.table.clone();
        let unique = self.defined.unique_columns();
        let statement = self.defined.statement(self.client, Kind::Find).await?;
        for (pairs, found) in pairs.chunks(STATEMENT_ROWS_MAX).zip(found.chunks_mut(STATEMENT_ROWS_MAX)) {
            let mut arrays: Vec<Array> = (0..table.key.len() + unique.len()).map(|_| Array::new()).collect();
            for pair in pairs {
                let (keys, others) = arrays.split_at_mut(table.key.len());
                push(&table, keys, self.rows, pair.key, &table.key);
                push(&table, others, self.rows, pair.row, &unique);
            }
            let params: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|a| a as _).collect();
            let row = self.client.query_one(&statement, &params).await;
            let row = row.map_err(|e| self.refused("a search by key", pairs.len() as u64, e))?;
            for (column, what) in [Found::Row, Found::RowWithOtherKeys].into_iter().enumerate() {
                // Counted from 1.
                for number in row.get::<_, Vec<i64>>(column) {
                    if let Some(found) = usize::try_from(number - 1).ok().and_then(|at| found.get_mut(at)) {
                        *found = what;
                    }
                }
            }
        }
        Ok(found)
    }

    /// The rows of these keys go, however many of them there are.
    async fn delete_any(&mut self, keys: &[At]) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        let table = self.defined.table.clone();
        let statement = self.defined.statement(self.client, Kind::Delete).await?;
        for keys in keys.chunks(STATEMENT_ROWS_MAX) {
            let arrays = self.keys(&table, keys.iter().copied());
            let params: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|a| a as _).collect();
            let done = self.client.execute(&statement, &params).await;
            done.map_err(|e| self.refused("a delete", keys.len() as u64, e))?;
        }
        Ok(())
    }

    fn keys(&self, table: &TargetTable, keys: impl Iterator<Item = At>) -> Vec<Array> {
        let mut arrays: Vec<Array> = table.key.iter().map(|_| Array::new()).collect();
        for at in keys {
            push(table, &mut arrays, self.rows, at, &table.key);
        }
        arrays
    }

    async fn keyless(&mut self, keyless: &Keyless) -> Result<(), Error> {
        let rows = self.rows;
        let removals = keyless.removals();
        if !removals.is_empty() {
            self.run(WHOLE_TABLE, "set up the changes of").await?;
            let nullable = self.defined.table.columns.iter().map(|column| column.nullable);
            let is_hollow = |(at, _): &(At, i64)| {
                rows.row(*at).cells().zip(nullable.clone()).any(|(cell, nullable)| cell == Cell::Null && !nullable)
            };
            let kind = if removals.iter().any(is_hollow) { Kind::RemoveHollow } else { Kind::Remove };
            let statement = self.defined.statement(self.client, kind).await?;
            let columns: Vec<usize> = (0..self.defined.table.columns.len()).collect();
            let width = columns.len() + 1;
            let hits = |(_, n): &(At, i64)| *n as u64..=*n as u64;
            let table = self.defined.table.clone();
            self.in_counted_parts(&statement, "a delete", &removals, width, hits, |(at, n), arrays| {
                let (cells, count) = arrays.split_at_mut(columns.len());
                push(&table, cells, rows, *at, &columns);
                for array in count {
                    array.push(Cell::Bytes(&n.to_be_bytes()));
                }
            })
            .await?;
            self.run(BY_KEY, "set up the changes of").await?;
        }
        self.insert(&keyless.additions()).await
    }

    async fn insert(&mut self, inserts: &[At]) -> Result<(), Error> {
        if inserts.is_empty() {
            return Ok(());
        }
        let (op, expected) = ("an insert", inserts.len() as u64);
        let statement = self.defined.statement(self.client, Kind::Copy).await?;
        // All rows are at hand: whatever takes long, the server does.
        let _waiting = self.client.waiting();
        let starting = self.client.copy_in(&statement).await;
        let mut copy: Pin<Box<CopyInSink<Bytes>>> = Box::pin(starting.map_err(|e| self.refused(op, expected, e))?);
        let mut tuples = Tuples::new();
        for &at in inserts {
            let row = self.rows.row(at);
            tuples.begin(row.len());
            for cell in row.cells() {
                for part in tuples.cell(cell) {
                    if let Some(piece) = tuples.part(part) {
                        copy.feed(piece).await.map_err(|e| self.refused(op, expected, e))?;
                    }
                }
            }
        }
        copy.feed(tuples.finish()).await.map_err(|e| self.refused(op, expected, e))?;
        let found = copy.as_mut().finish().await.map_err(|e| self.refused(op, expected, e))?;
        self.hit(op, expected..=expected, found)
    }

    /// Runs a statement over items, a bounded number at a time; each must hit one row.
    async fn in_parts<T>(
        &self,
        statement: &Statement,
        op: &'static str,
        items: &[T],
        width: usize,
        fill: impl Fn(&T, &mut [Array]),
    ) -> Result<(), Error> {
        self.in_counted_parts(statement, op, items, width, |_| 1..=1, fill).await
    }

    /// The same where an item must hit that many rows.
    async fn in_counted_parts<T>(
        &self,
        statement: &Statement,
        op: &'static str,
        items: &[T],
        width: usize,
        hits: impl Fn(&T) -> RangeInclusive<u64>,
        fill: impl Fn(&T, &mut [Array]),
    ) -> Result<(), Error> {
        let mut rest = items;
        while !rest.is_empty() {
            let mut arrays: Vec<Array> = (0..width).map(|_| Array::new()).collect();
            let (mut taken, mut least, mut most) = (0, 0, 0);
            while let Some(item) = rest.get(taken) {
                fill(item, &mut arrays);
                let hits = hits(item);
                least += hits.start();
                most += hits.end();
                taken += 1;
                let bytes: usize = arrays.iter().map(Array::byte_len).sum();
                if taken == STATEMENT_ROWS_MAX || bytes > STATEMENT_BYTES_MAX {
                    break;
                }
            }
            rest = &rest[taken..];
            let params: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|a| a as _).collect();
            let done = self.client.execute(statement, &params).await;
            self.hit(op, least..=most, done.map_err(|e| self.refused(op, most, e))?)?;
        }
        Ok(())
    }

    async fn run(&self, sql: &str, doing: &str) -> Result<(), Error> {
        let doing = Error::sql(format!("{doing} {}", shown(&self.defined.table)));
        self.client.batch_execute(sql).await.map_err(doing)
    }

    fn hit(&self, op: &'static str, expected: RangeInclusive<u64>, found: u64) -> Result<(), Error> {
        if expected.contains(&found) {
            return Ok(());
        }
        Err(Error::Diverged { table: shown(&self.defined.table), op, expected: *expected.end(), found })
    }

    fn refused(&self, op: &'static str, rows: u64, e: tokio_postgres::Error) -> Error {
        let table = shown(&self.defined.table);
        match e.code() {
            None => Error::Sql { doing: format!("apply {op} to table {table}"), said: e.into() },
            Some(code) if *code == SqlState::UNIQUE_VIOLATION => Error::Duplicate { table, op, rows, said: e.into() },
            Some(_) => Error::Refused { table, op, rows, said: e.into() },
        }
    }
}

fn push(table: &TargetTable, arrays: &mut [Array], rows: &Rows<'_>, at: At, columns: &[usize]) {
    let row = rows.row(at);
    for (array, &column) in arrays.iter_mut().zip(columns) {
        match (&table.columns[column].pg_type, row.cell(column)) {
            (PgType::Float4Array, Cell::Bytes(bytes)) => array.push(Cell::Bytes(real_array_text(bytes).as_bytes())),
            (_, cell) => array.push(cell),
        }
    }
}

fn byte_len(row: RowView<'_>) -> usize {
    row.cells().map(|cell| cell.bytes().map_or(0, <[u8]>::len)).sum()
}

/// Partial rows by which columns they know.
fn by_known(rows: &Rows<'_>, pairs: &[Pair]) -> Vec<(Known, Vec<Pair>)> {
    let mut groups: FxHashMap<Known, Vec<Pair>> = FxHashMap::default();
    for &pair in pairs {
        groups.entry(Known::of(rows.row(pair.row))).or_default().push(pair);
    }
    groups.into_iter().collect()
}

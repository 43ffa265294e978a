//! The full copy, a chunk at a time.
//!
//! ```text
//!  BEGIN ── COPY ... BINARY <── header, tuples of the caller, trailer ── INSERT chunk mark ── COMMIT
//! ```
//!
//! Rows and mark are one transaction: a chunk is there and known to be there, or neither. That also makes
//! it safe not to wait for the disk at each commit (`synchronous_commit = off`): a crash of the server may
//! take back a chunk that was reported as done, but then it takes the mark along, and before the copy is
//! declared complete all marks are counted in a transaction that does wait
//! (see [`TaskTarget::finish_copy`](crate::TaskTarget::finish_copy)). WAL is written in order, so what that
//! transaction has seen is on disk when it is.
//!
//! The answer to the COMMIT may get lost. Then the mark tells what happened. And should the commit still be
//! under way while somebody copies the chunk again, the second mark runs into the first one's key.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::SinkExt;
use futures_util::future::BoxFuture;
use logferry_model::{Fence, Lsn, TableId, TargetTable};
use tokio_postgres::CopyInSink;
use tokio_postgres::error::SqlState;

use crate::client::Client;
use crate::connect::{Pool, Pooled, pooled};
use crate::door::door;
use crate::error::Error;
use crate::fence;
use crate::names::{column_list, qualified, shown};
use crate::state::Lease;

/// Signature, flags, length of the header's extension.
pub(crate) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// A tuple of -1 columns.
pub(crate) const TRAILER: &[u8] = b"\xff\xff";

/// The statement that takes rows of all columns of a table.
pub(crate) fn copy_statement(table: &TargetTable) -> String {
    format!("COPY {} ({}) FROM STDIN (FORMAT binary)", qualified(table), column_list(table, 0..table.columns.len()))
}

/// A chunk that is being copied. Dropping it takes everything back.
pub struct ChunkCopy {
    pool: Pool,
    connection: Pooled,
    rows_in: Pin<Box<CopyInSink<Bytes>>>,
    lease: Lease,
    table: (String, String),
    source: TableId,
    shown: String,
    number: u32,
    bytes: u64,
    fence: Option<Fence>,
}

/// A chunk that is on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkDone {
    /// Schema on the target.
    pub schema: String,
    /// Table on the target.
    pub table: String,
    /// Number of the chunk in its table.
    pub number: u32,
    /// Its rows.
    pub rows: u64,
    /// Bytes of its tuples.
    pub bytes: u64,
}

impl ChunkCopy {
    pub(crate) async fn start(pool: &Pool, lease: Lease, table: &TargetTable, number: u32) -> Result<Self, Error> {
        let mut connection = pooled(pool).await?;
        // Until the commit nobody else may have this connection; when a COPY is refused, nobody ever.
        connection.poisoned = true;
        let client = connection.client();
        let shown = shown(table);
        let doing = || Error::sql(format!("start the copy of table {shown}"));
        client.batch_execute("BEGIN; SET LOCAL synchronous_commit = off").await.map_err(doing())?;
        lease.check(client).await?;
        let rows_in = client.copy_in(&copy_statement(table)).await.map_err(doing())?;
        let mut copy = ChunkCopy {
            pool: pool.clone(),
            connection,
            rows_in: Box::pin(rows_in),
            lease,
            table: (table.schema.clone(), table.name.clone()),
            source: table.source_id,
            shown,
            number,
            bytes: 0,
            fence: None,
        };
        copy.feed(Bytes::from_static(HEADER)).await?;
        Ok(copy)
    }

    /// Sends tuples: each a big-endian `i16` number of columns, then per column a big-endian `i32` length
    /// (-1 for NULL) and the bytes. A piece may end anywhere; 256 KiB to 1 MiB is a good size.
    ///
    /// # Errors
    /// Where the connection is gone. What the server thinks of the rows comes out of [`Self::finish`].
    pub fn send(&mut self, tuples: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        self.bytes += tuples.len() as u64;
        door(self.feed(tuples))
    }

    /// Has kept, with the mark, up to where changes are in the rows.
    pub fn fence(&mut self, lsn: Lsn) {
        self.fence = Some(Fence { table: self.source, lsn });
    }

    /// Ends the chunk and commits it, with its mark. `rows` is how many were sent.
    ///
    /// # Errors
    /// Where the server refuses the rows, has counted others, or another logferry has the task. After a
    /// transient error the chunk may be copied again: it is never there twice.
    pub fn finish(self, rows: u64) -> BoxFuture<'static, Result<ChunkDone, Error>> {
        door(self.end(rows))
    }

    async fn end(mut self, rows: u64) -> Result<ChunkDone, Error> {
        self.feed(Bytes::from_static(TRAILER)).await?;
        let answer = {
            let _waiting = self.connection.client().waiting();
            self.rows_in.as_mut().finish().await
        };
        let copied = match answer {
            Ok(n) => n,
            // Where the key is there already, an earlier attempt whose answer was lost shows in the rows before the mark.
            Err(e) if e.code() == Some(&SqlState::UNIQUE_VIOLATION) && self.is_marked().await? => {
                return Ok(self.done(rows));
            }
            Err(e) => return Err(self.refused(rows, e)),
        };
        if copied != rows {
            return Err(Error::CopyCount { table: self.shown, number: self.number, sent: rows, copied });
        }
        let done = self.done(rows);
        if let Some(fence) = self.fence {
            fence::write(self.connection.client(), &self.lease.task, fence).await?;
        }
        let marked = mark(self.connection.client(), &self.lease, &done).await;
        let committed = match marked {
            Ok(()) => self.connection.client().batch_execute("COMMIT").await,
            // An earlier attempt whose answer was lost has committed after all.
            Err(Error::Sql { said, .. }) if said.code() == Some(&SqlState::UNIQUE_VIOLATION) => return Ok(done),
            Err(e) => return Err(e),
        };
        if let Err(e) = committed {
            return if self.is_marked().await? { Ok(done) } else { Err(self.unknown(e)) };
        }
        self.connection.poisoned = false;
        Ok(done)
    }

    fn done(&self, rows: u64) -> ChunkDone {
        ChunkDone {
            schema: self.table.0.clone(),
            table: self.table.1.clone(),
            number: self.number,
            rows,
            bytes: self.bytes,
        }
    }

    async fn feed(&mut self, piece: Bytes) -> Result<(), Error> {
        let _waiting = self.connection.client().waiting();
        self.rows_in.feed(piece).await.map_err(Error::sql(format!("copy into table {}", self.shown)))
    }

    fn refused(&self, rows: u64, e: tokio_postgres::Error) -> Error {
        let (table, op, said) = (self.shown.clone(), "the copy", e.into());
        Error::Refused { table, op, rows, said }
    }

    fn unknown(&self, e: tokio_postgres::Error) -> Error {
        Error::CommitUnknown { what: format!("chunk {} of table {}", self.number, self.shown), said: e.into() }
    }

    /// Looks, by another connection, whether the chunk is there.
    async fn is_marked(&self) -> Result<bool, Error> {
        let other = pooled(&self.pool).await?;
        let row = other
            .client()
            .query_opt(
                "SELECT FROM logferry.chunk WHERE task = $1 AND schema_name = $2 AND table_name = $3 AND number = $4",
                &[&self.lease.task, &self.table.0, &self.table.1, &i64::from(self.number)],
            )
            .await
            .map_err(Error::sql(format!("look for chunk {} of table {}", self.number, self.shown)))?;
        Ok(row.is_some())
    }
}

/// Marks a chunk as done, if the lease is ours. Several workers do so at once: a shared lock.
async fn mark(client: &Client, lease: &Lease, chunk: &ChunkDone) -> Result<(), Error> {
    let n = client
        .execute(
            "INSERT INTO logferry.chunk (task, schema_name, table_name, number, rows, bytes) \
             SELECT $1, $3, $4, $5, $6, $7 FROM \
             (SELECT FROM logferry.checkpoint WHERE task = $1 AND epoch = $2 FOR SHARE) held",
            &[
                &lease.task,
                &lease.epoch,
                &chunk.schema,
                &chunk.table,
                &i64::from(chunk.number),
                &(chunk.rows as i64),
                &(chunk.bytes as i64),
            ],
        )
        .await
        .map_err(Error::sql(format!("mark chunk {} of table \"{}.{}\"", chunk.number, chunk.schema, chunk.table)))?;
    if n == 1 { Ok(()) } else { Err(lease.why_lost(client, None).await) }
}

/// The chunks that are there.
pub(crate) async fn finished(client: &Client, task: &str) -> Result<Vec<ChunkDone>, Error> {
    let rows = client
        .query(
            "SELECT schema_name, table_name, number, rows, bytes FROM logferry.chunk WHERE task = $1 \
             ORDER BY schema_name, table_name, number",
            &[&task],
        )
        .await
        .map_err(Error::sql(format!("read the chunks of task \"{task}\"")))?;
    rows.iter()
        .map(|row| {
            Ok(ChunkDone {
                schema: row.get(0),
                table: row.get(1),
                number: u32::try_from(row.get::<_, i64>(2)).map_err(|_| Error::BadState {
                    task: task.to_owned(),
                    what: "a chunk's number is out of range".to_owned(),
                })?,
                rows: row.get::<_, i64>(3) as u64,
                bytes: row.get::<_, i64>(4) as u64,
            })
        })
        .collect()
}

//! The rows of one statement, read by a task of its own: what comes is decoded while the piece before is converted and written.

use std::sync::Arc;

use logferry_model::{Lsn, RowRef, RowStore};
use tiberius::ToSql;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::catalog::Table;
use crate::chunks::Value;
use crate::error::Error;
use crate::fence::{self, Fenced};
use crate::pool::{Pool, Pooled};
use crate::session::Session;
use crate::value::Form;

/// Bytes of rows that are handed on at a time.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that wait for the one who converts them: one, while the next is read.
const PIECES_MAX: usize = 1;

/// Rows on their way.
pub(crate) type Piece = (RowStore, Vec<RowRef>);

/// By which connection rows are read.
pub(crate) enum By {
    /// One of the pool.
    Pool(Pool),
    /// One of the pool, all rows of a table as of one position.
    Fenced(Pool, Arc<Table>),
    /// This one: see [`Reading::session`].
    Session(Box<Pooled>),
}

/// What it takes to read rows.
pub(crate) struct Work {
    pub(crate) by: By,
    pub(crate) doing: String,
    pub(crate) text: String,
    pub(crate) values: Vec<Value>,
    pub(crate) form: Form,
}

/// Rows that are being read. Dropped, the statement is given up, and its connection.
pub(crate) struct Reading {
    pieces: mpsc::Receiver<Piece>,
    task: Guard,
    ended: Ended,
}

/// What is left when all rows were read.
#[derive(Default)]
struct Ended {
    fence: Option<Lsn>,
    session: Option<Box<Pooled>>,
}

/// Ends the task when nobody needs its rows any more.
struct Guard(Option<JoinHandle<Result<Ended, Error>>>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Reading {
    pub(crate) fn begin(work: Work) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        Reading { pieces, task: Guard(Some(tokio::spawn(read(work, sender)))), ended: Ended::default() }
    }

    /// The next rows; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Piece>, Error> {
        if let Some(piece) = self.pieces.recv().await {
            return Ok(Some(piece));
        }
        let Some(ended) = self.task.0.take() else { return Ok(None) };
        let ended =
            ended.await.map_err(|e| Error::Unexpected { doing: "read rows".to_owned(), what: e.to_string() })?;
        self.ended = ended?;
        Ok(None)
    }

    /// After the end: the position of which the rows are, if they are of one.
    pub(crate) fn fence(&self) -> Option<Lsn> {
        self.ended.fence
    }

    /// After the end: the connection that it was begun with.
    pub(crate) fn session(self) -> Option<Box<Pooled>> {
        self.ended.session
    }
}

async fn read(work: Work, pieces: mpsc::Sender<Piece>) -> Result<Ended, Error> {
    let Work { by, doing, text, values, form } = work;
    let rows = Rows { doing, text, values, form };
    match by {
        By::Pool(pool) => {
            rows.send(&mut *pool.session().await?, &pieces).await?;
            Ok(Ended::default())
        }
        By::Fenced(pool, table) => {
            let Fenced { mut session, lsn } = fence::fence(&pool, &table).await?;
            rows.send(&mut session, &pieces).await?;
            session.end().await?;
            Ok(Ended { fence: Some(lsn), session: None })
        }
        By::Session(mut session) => {
            rows.send(&mut session, &pieces).await?;
            Ok(Ended { fence: None, session: Some(session) })
        }
    }
}

/// A statement that gives rows.
struct Rows {
    doing: String,
    text: String,
    values: Vec<Value>,
    form: Form,
}

impl Rows {
    async fn send(&self, session: &mut Session, pieces: &mpsc::Sender<Piece>) -> Result<(), Error> {
        let Rows { doing, text, values, form } = self;
        let values: Vec<&dyn ToSql> = values.iter().map(|value| value as &dyn ToSql).collect();
        let mut answer = session.ask(doing, text, &values).await?;
        let (mut store, mut refs) = Piece::default();
        while let Some(row) = answer.next().await? {
            let row = form.read(row, &mut store);
            refs.push(row.map_err(|e| Error::Unexpected { doing: doing.clone(), what: e.to_string() })?);
            if store.byte_len() < PIECE_BYTES {
                continue;
            }
            if pieces.send((std::mem::take(&mut store), std::mem::take(&mut refs))).await.is_err() {
                return Ok(());
            }
        }
        if !refs.is_empty() {
            // Nobody there means that nobody needs them.
            let _unneeded = pieces.send((store, refs)).await;
        }
        Ok(())
    }
}

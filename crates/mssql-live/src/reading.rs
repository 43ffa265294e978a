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
use crate::pool::Pool;
use crate::session::Session;
use crate::value::Form;

/// Bytes of rows that are handed on at a time.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that wait for the one who converts them: one, while the next is read.
const PIECES_MAX: usize = 1;

/// Rows on their way.
pub(crate) type Piece = (RowStore, Vec<RowRef>);

/// What it takes to read rows.
pub(crate) struct Work {
    pub(crate) pool: Pool,
    pub(crate) doing: String,
    pub(crate) text: String,
    pub(crate) values: Vec<Value>,
    pub(crate) form: Form,
    /// The table, where all of its rows are read as of one position.
    pub(crate) fenced: Option<Arc<Table>>,
}

/// Rows that are being read. Dropped, the statement is given up, and its connection.
pub(crate) struct Reading {
    pieces: mpsc::Receiver<Piece>,
    task: Guard,
    fence: Option<Lsn>,
}

/// Ends the task when nobody needs its rows any more.
struct Guard(Option<JoinHandle<Result<Option<Lsn>, Error>>>);

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
        Reading { pieces, task: Guard(Some(tokio::spawn(read(work, sender)))), fence: None }
    }

    /// The next rows; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Piece>, Error> {
        if let Some(piece) = self.pieces.recv().await {
            return Ok(Some(piece));
        }
        let Some(ended) = self.task.0.take() else { return Ok(None) };
        let ended =
            ended.await.map_err(|e| Error::Unexpected { doing: "read rows".to_owned(), what: e.to_string() })?;
        self.fence = ended?;
        Ok(None)
    }

    /// After the end: the position of which the rows are, if they are of one.
    pub(crate) fn fence(&self) -> Option<Lsn> {
        self.fence
    }
}

async fn read(work: Work, pieces: mpsc::Sender<Piece>) -> Result<Option<Lsn>, Error> {
    let Some(table) = &work.fenced else {
        let mut session = work.pool.session().await?;
        send(&mut session, &work, &pieces).await?;
        return Ok(None);
    };
    let Fenced { mut session, lsn } = fence::fence(&work.pool, table).await?;
    send(&mut session, &work, &pieces).await?;
    session.end().await?;
    Ok(Some(lsn))
}

async fn send(session: &mut Session, work: &Work, pieces: &mpsc::Sender<Piece>) -> Result<(), Error> {
    let values: Vec<&dyn ToSql> = work.values.iter().map(|value| value as &dyn ToSql).collect();
    let mut answer = session.ask(&work.doing, &work.text, &values).await?;
    let (mut store, mut refs) = Piece::default();
    while let Some(row) = answer.next().await? {
        let row = work.form.read(row, &mut store);
        refs.push(row.map_err(|e| Error::Unexpected { doing: work.doing.clone(), what: e.to_string() })?);
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

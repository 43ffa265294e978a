//! The answer to one request, written as the session works.
//!
//! ```text
//! Session ── Results ──► payload (tokens) ── full packets ──► chunk of packets ── bounded channel ──► connection
//! ```
//!
//! A chunk goes out when it has [`CHUNK_BYTES`] bytes, and the channel holds few of them: so a slow client makes the session wait, and
//! no more than some hundred KiB of a result are in memory, or one row where that is larger.
//!
//! Of what ends something (DONE and its like) the last one must say that nothing follows. So one is always held back
//! until the next token or the end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use logferry_model::{Cell, SqlType};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::packet::{Kind, Packetizer};
use super::prepared::Prepared;
use super::session::{Column, Environment, Results, Session, SqlError, Stopped};
use super::token::{self, Done, DoneOf};
use super::value::{Form, can_be_null, put_cell, put_null};

/// Bytes of packets that go out together.
const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks that wait to be sent.
pub(super) const CHUNKS_WAITING: usize = 4;

/// What the connection tells a request that runs.
#[derive(Clone, Default)]
pub(super) struct Signal(Arc<AtomicBool>);

impl Signal {
    pub(super) fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Tells whether a request is still wanted. Held beyond its request it says what it said last.
pub struct Watch {
    signal: Signal,
    to: mpsc::Sender<Chunk>,
}

impl Watch {
    /// The client is there and has not asked to stop.
    pub fn is_wanted(&self) -> bool {
        !self.signal.is_set() && !self.to.is_closed()
    }
}

/// Where the acknowledgement of an attention stands that stops a request.
///
/// The specification allows both, and there are clients that understand only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AttentionAnswer {
    /// The answer ends, and a message of its own follows: what `tedious` needs.
    #[default]
    OwnMessage,
    /// It is the last token of the answer that it cuts short: what `tiberius` 0.13 needs.
    LastToken,
}

/// How an answer is to end, for tests of lost answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Whole,
    /// All but the last token.
    WithoutDone,
}

/// What does not change during a session.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) packet_size: usize,
    pub(super) spid: u16,
    pub(super) server: Arc<str>,
    pub(super) attention: AttentionAnswer,
    /// The client takes UTF-8.
    pub(super) utf8: bool,
    /// The client takes rows with a bitmap of NULLs: TDS 7.3 B.
    pub(super) null_bitmap: bool,
}

/// Packets that go out together.
pub(super) struct Chunk {
    pub(super) packets: Vec<u8>,
    /// The answer is over: what the client sends from now on is its next request.
    pub(super) last: Option<Box<Over>>,
}

/// What is left when an answer is over. It comes with the last packets: nobody has to wait for the thread, too.
pub(super) struct Over {
    pub(super) finished: Finished,
    pub(super) session: Box<dyn Session>,
    pub(super) prepared: Prepared,
}

/// Writes tokens, sends chunks.
pub(super) struct Answer {
    payload: Vec<u8>,
    chunk: Vec<u8>,
    packets: Packetizer,
    to: mpsc::Sender<Chunk>,
    /// While nothing may wait: what there was no room for.
    kept: Option<VecDeque<Chunk>>,
    signal: Signal,
    terms: Terms,
    forms: Vec<Form>,
    nullable: Vec<bool>,
    held: Option<Done>,
    /// Statements of a procedure and of a batch end by different tokens.
    of: DoneOf,
    failed: bool,
    /// An error after which the connection ends.
    fatal: bool,
    status: i32,
    /// Tokens of output parameters: they come after everything else of their procedure.
    outputs: Vec<u8>,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finished {
    /// It has acknowledged an attention.
    pub(super) attention: bool,
    /// The connection is to end.
    pub(super) fatal: bool,
}

impl Answer {
    pub(super) fn new(terms: Terms, signal: Signal, to: mpsc::Sender<Chunk>) -> Self {
        Answer {
            payload: Vec::with_capacity(terms.packet_size + 1024),
            chunk: Vec::new(),
            packets: Packetizer::new(Kind::RESPONSE, terms.packet_size, terms.spid),
            to,
            kept: None,
            signal,
            terms,
            forms: Vec::new(),
            nullable: Vec::new(),
            held: None,
            of: DoneOf::Batch,
            failed: false,
            fatal: false,
            status: 0,
            outputs: Vec::new(),
        }
    }

    /// From here to [`Answer::end_procedure`] it is a procedure that answers.
    pub(super) fn begin_procedure(&mut self) {
        self.of = DoneOf::Statement;
        self.failed = false;
        self.status = 0;
        self.outputs.clear();
    }

    /// Status, then the values of output parameters, then the end.
    pub(super) fn end_procedure(&mut self) -> Result<(), Stopped> {
        let status = self.status;
        self.token(|out| token::put_return_status(status, out))?;
        let mut outputs = std::mem::take(&mut self.outputs);
        self.token(|out| out.append(&mut outputs))?;
        self.hold(Done { error: self.failed, ..Done::new(DoneOf::Procedure) })
    }

    /// The session was reset before this request.
    pub(super) fn was_reset(&mut self) -> Result<(), Stopped> {
        self.token(token::put_was_reset)
    }

    /// Ends the answer, and gives the session back.
    pub(super) fn finish(mut self, ending: Ending, session: Box<dyn Session>, prepared: Prepared) {
        let attention = self.signal.is_set() && self.terms.attention == AttentionAnswer::LastToken;
        if self.signal.is_set() {
            // A row is whole or not begun, so the answer may end here.
            let _ = self.hold(Done { error: !attention, attention, ..Done::new(DoneOf::Batch) });
        }
        if ending == Ending::Whole {
            let failed = self.failed;
            let last = self.held.take().unwrap_or(Done { error: failed, ..Done::new(DoneOf::Batch) });
            last.put(false, &mut self.payload);
        }
        match ending {
            Ending::Whole => self.packets.finish(&mut self.payload, &mut self.chunk),
            Ending::WithoutDone => self.packets.unfinished(&mut self.payload, &mut self.chunk),
        }
        // If nobody takes it, the connection is gone and knows it.
        let _ = self.keep(false);
        let finished = Finished { attention, fatal: self.fatal };
        let last = Some(Box::new(Over { finished, session, prepared }));
        let _ = self.to.blocking_send(Chunk { packets: std::mem::take(&mut self.chunk), last });
    }

    fn hold(&mut self, done: Done) -> Result<(), Stopped> {
        if let Some(held) = self.held.replace(done) {
            held.put(true, &mut self.payload);
        }
        self.send_full()
    }

    fn token(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> Result<(), Stopped> {
        if let Some(held) = self.held.take() {
            held.put(true, &mut self.payload);
        }
        put(&mut self.payload);
        self.send_full()
    }

    fn send_full(&mut self) -> Result<(), Stopped> {
        if self.payload.len() >= self.terms.packet_size {
            self.packets.full_packets(&mut self.payload, &mut self.chunk);
            if self.chunk.len() >= CHUNK_BYTES {
                let next = Vec::with_capacity(CHUNK_BYTES + self.terms.packet_size);
                let packets = std::mem::replace(&mut self.chunk, next);
                self.send(Chunk { packets, last: None })?;
            }
        }
        self.wanted()
    }

    fn send(&mut self, chunk: Chunk) -> Result<(), Stopped> {
        let Some(kept) = &mut self.kept else { return self.to.blocking_send(chunk).map_err(|_| Stopped) };
        kept.push_back(chunk);
        while let Some(first) = kept.pop_front() {
            match self.to.try_send(first) {
                Ok(()) => {}
                Err(TrySendError::Full(first)) => {
                    kept.push_front(first);
                    break;
                }
                Err(TrySendError::Closed(_)) => return Err(Stopped),
            }
        }
        Ok(())
    }

    fn put_row(&mut self, cells: &[Cell<'_>]) -> Option<()> {
        if cells.len() != self.forms.len() {
            return None;
        }
        let out = &mut self.payload;
        let bitmap = self.terms.null_bitmap && cells.iter().any(|cell| matches!(cell, Cell::Null));
        if bitmap {
            out.push(token::ROW_WITH_NULLS);
            for eight in cells.chunks(8) {
                let bits = eight.iter().enumerate().map(|(at, cell)| u8::from(matches!(cell, Cell::Null)) << at);
                out.push(bits.sum());
            }
        } else {
            out.push(token::ROW);
        }
        for ((cell, form), nullable) in cells.iter().zip(&self.forms).zip(&self.nullable) {
            match cell {
                Cell::Bytes(bytes) => put_cell(*form, bytes, out).ok()?,
                Cell::Null if !nullable => return None,
                Cell::Null if bitmap => {}
                Cell::Null => put_null(*form, out).ok()?,
                Cell::Unchanged => return None,
            }
        }
        Some(())
    }
}

impl Results for Answer {
    fn columns(&mut self, columns: &[Column]) -> Result<(), Stopped> {
        let utf8 = self.terms.utf8;
        let mut forms = std::mem::take(&mut self.forms);
        let sent = self.token(|out| token::put_columns(columns, utf8, &mut forms, out));
        self.nullable.clear();
        self.nullable.extend(columns.iter().zip(&forms).map(|(column, form)| column.nullable && can_be_null(*form)));
        self.forms = forms;
        sent
    }

    fn row(&mut self, cells: &[Cell<'_>]) -> Result<(), Stopped> {
        if self.held.is_some() {
            self.token(|_| {})?;
        }
        assert!(self.put_row(cells).is_some(), "a row that is not of the columns of its result");
        self.send_full()
    }

    fn done(&mut self, rows: Option<u64>) -> Result<(), Stopped> {
        let error = std::mem::take(&mut self.failed);
        let done = Done { error, rows, ..Done::new(self.of) };
        self.hold(done)
    }

    fn error(&mut self, error: &SqlError) -> Result<(), Stopped> {
        self.failed |= error.class > 10;
        self.fatal |= error.class >= 20;
        let server = self.terms.server.clone();
        self.token(|out| token::put_error(error, &server, out))
    }

    fn environment(&mut self, change: Environment<'_>) -> Result<(), Stopped> {
        self.token(|out| match change {
            Environment::Database { old, new } => token::put_environment(token::DATABASE, old, new, out),
            Environment::Language { old, new } => token::put_environment(token::LANGUAGE, old, new, out),
            Environment::Began(descriptor) => token::put_transaction(token::BEGAN, descriptor, out),
            Environment::Committed(descriptor) => token::put_transaction(token::COMMITTED, descriptor, out),
            Environment::RolledBack(descriptor) => token::put_transaction(token::ROLLED_BACK, descriptor, out),
        })
    }

    fn return_status(&mut self, status: i32) -> Result<(), Stopped> {
        self.status = status;
        self.wanted()
    }

    fn output(&mut self, ordinal: usize, name: &str, sql_type: &SqlType, cell: Cell<'_>) -> Result<(), Stopped> {
        let utf8 = self.terms.utf8;
        let out = &mut self.outputs;
        let form = token::put_return_value(ordinal as u16, name, sql_type, utf8, out);
        let put = match cell {
            Cell::Bytes(bytes) => put_cell(form, bytes, out),
            Cell::Null | Cell::Unchanged => put_null(form, out),
        };
        assert!(put.is_ok(), "the value of an output parameter that is not of its type");
        self.wanted()
    }

    fn keep(&mut self, on: bool) -> Result<(), Stopped> {
        match (on, self.kept.take()) {
            (true, kept) => self.kept = Some(kept.unwrap_or_default()),
            (false, kept) => {
                for chunk in kept.into_iter().flatten() {
                    self.to.blocking_send(chunk).map_err(|_| Stopped)?;
                }
            }
        }
        Ok(())
    }

    fn wanted(&self) -> Result<(), Stopped> {
        if self.signal.is_set() || self.to.is_closed() { Err(Stopped) } else { Ok(()) }
    }

    fn watch(&self) -> Watch {
        Watch { signal: self.signal.clone(), to: self.to.clone() }
    }
}

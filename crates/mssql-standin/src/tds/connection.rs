//! One connection, from its first byte to its last.
//!
//! ```text
//! PRELOGIN ─► (TLS handshake) ─► LOGIN7 ─► (TLS dropped, where only the login was to be encrypted)
//!     ─► loop { request ─► session, on a thread that may block ─► chunks of the answer ─► socket }
//! ```
//!
//! While a request runs, this task waits for two things: the next chunk, and the client's next bytes, which can only be an attention
//! or the end. An attention sets the request's signal; the session stops at its next call of `Results`, and its answer
//! ends there. The attention is acknowledged exactly once, whether or not the answer was over before it came.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::answer::{Answer, CHUNKS_WAITING, Chunk, Ending, Finished, Over, Signal, Terms};
use super::error::Error;
use super::faults::Fault;
use super::kerberos;
use super::login::{FEDERATION, Login, UTF8_SUPPORT};
use super::packet::{Assembler, DEFAULT_SIZE, Kind, Message, Packetizer, Reset, SIZES};
use super::prelogin::{Agreed, Prelogin};
use super::prepared::{Prepared, Work};
use super::request::{self, Calls};
use super::rows;
use super::server::Shared;
use super::session::{LoggedIn, Results, Session, SqlError};
use super::tls;
use super::token::{self, Done, DoneOf};

/// TDS 7.3 A: the first with all types of today.
const OLDEST: u32 = 0x730A_0003;
/// TDS 7.3 B: the first with bitmaps of NULLs.
const NULL_BITMAP: u32 = 0x730B_0003;
/// TDS 7.4.
const OURS: u32 = 0x7400_0004;
/// Bytes read at once.
const READ: usize = 16 * 1024;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Serves until one side has had enough. An error is why the connection was ended.
pub(super) async fn serve(tcp: TcpStream, number: u64, shared: &Shared) -> Result<(), Error> {
    tcp.set_nodelay(true)?;
    let login = tokio::time::timeout(shared.config.login_timeout, log_in(tcp, number, shared));
    let Ok(logged_in) = login.await else { return Err(Error::OutOfOrder("no login in time".to_owned())) };
    match logged_in? {
        Some(mut connection) => connection.serve(shared).await,
        None => Ok(()),
    }
}

async fn log_in(mut tcp: TcpStream, number: u64, shared: &Shared) -> Result<Option<Connection>, Error> {
    let mut assembler = Assembler::new(64 * 1024);
    let buffer = &mut vec![0; READ][..];
    let mut first = [0];
    if tcp.peek(&mut first).await? == 1 && first == [tls::HANDSHAKE] {
        let mut stream = shared.strict.accept(tcp).await?;
        if stream.get_ref().1.alpn_protocol() != Some(tls::STRICT) {
            return Err(Error::Encryption);
        }
        let Some(message) = read(&mut stream, &mut assembler, buffer).await? else { return Ok(None) };
        expect(&message, Kind::PRELOGIN)?;
        // It is encrypted already, whatever the two say.
        let (answer, _) = Prelogin::parse(&message.data)?.answer(shared.config.encryption, shared.config.version);
        send(&mut stream, answer, DEFAULT_SIZE, 0).await?;
        let message = read(&mut stream, &mut assembler, buffer).await?;
        return welcome_in(Box::new(stream), message, number, shared).await;
    }
    let Some(message) = read(&mut tcp, &mut assembler, buffer).await? else { return Ok(None) };
    expect(&message, Kind::PRELOGIN)?;
    let (answer, agreed) = Prelogin::parse(&message.data)?.answer(shared.config.encryption, shared.config.version);
    send(&mut tcp, answer, DEFAULT_SIZE, 0).await?;

    let stream: Box<dyn Stream>;
    let message;
    match agreed {
        Agreed::Refused => return Err(Error::Encryption),
        Agreed::Nothing => {
            message = read(&mut tcp, &mut assembler, buffer).await?;
            stream = Box::new(tcp);
        }
        Agreed::LoginOnly => {
            let mut encrypted = tls::accept(&shared.acceptor, tcp).await?;
            message = read(&mut encrypted, &mut assembler, buffer).await?;
            stream = Box::new(encrypted.into_inner().0.into_inner());
        }
        Agreed::All => {
            let mut encrypted = tls::accept(&shared.acceptor, tcp).await?;
            message = read(&mut encrypted, &mut assembler, buffer).await?;
            stream = Box::new(encrypted);
        }
    }
    welcome_in(stream, message, number, shared).await
}

/// What follows the login.
async fn welcome_in(
    mut stream: Box<dyn Stream>,
    message: Option<Message>,
    number: u64,
    shared: &Shared,
) -> Result<Option<Connection>, Error> {
    let Some(message) = message else { return Ok(None) };
    expect(&message, Kind::LOGIN)?;
    let mut login = Login::parse(&message.data)?;
    let mut refused = None;
    if login.integrated && !login.ticket.is_empty() {
        let ticket = std::mem::take(&mut login.ticket);
        match tokio::task::spawn_blocking(move || kerberos::accept(&ticket)).await.map_err(|_| Error::Panicked)? {
            Ok(accepted) => {
                let mut answer = Vec::new();
                token::put_sspi(&accepted.answer, &mut answer);
                send(&mut stream, answer, DEFAULT_SIZE, 0).await?;
                login.principal = Some(accepted.principal);
            }
            Err(error) => refused = Some(error),
        }
    }
    let admitted = match refused {
        Some(error) => Err(vec![error]),
        None => admit(login, shared).await?,
    };
    let (logged_in, login) = match admitted {
        Ok(admitted) => admitted,
        Err(errors) => {
            let mut payload = Vec::new();
            for error in &errors {
                token::put_error(error, &shared.config.name, &mut payload);
            }
            Done { error: true, ..Done::new(DoneOf::Batch) }.put(false, &mut payload);
            send(&mut stream, payload, DEFAULT_SIZE, 0).await?;
            stream.shutdown().await?;
            return Ok(None);
        }
    };
    let spid = logged_in.spid;
    let packet_size = match login.packet_size as usize {
        0 => DEFAULT_SIZE,
        size => size.clamp(*SIZES.start(), *SIZES.end()),
    };
    send(&mut stream, welcome(&logged_in, &login, packet_size, shared), DEFAULT_SIZE.min(packet_size), spid).await?;
    let terms = Terms {
        packet_size,
        spid,
        server: shared.config.name.as_str().into(),
        attention: shared.config.attention,
        utf8: login.utf8,
        null_bitmap: login.tds_version >= NULL_BITMAP,
    };
    Ok(Some(Connection {
        stream,
        assembler: Assembler::new(shared.config.message_bytes_max),
        buffer: vec![0; READ],
        terms,
        number,
        requests: 0,
        application: login.application,
        session: Some((logged_in.session, Prepared::default())),
    }))
}

type Admitted = (LoggedIn, Login);

async fn admit(login: Login, shared: &Shared) -> Result<Result<Admitted, Vec<SqlError>>, Error> {
    if login.tds_version < OLDEST {
        let text = format!(
            "The login packet is of TDS version {:#010x}; this stand-in serves 7.3 and 7.4.",
            login.tds_version
        );
        return Ok(Err(vec![SqlError::new(18456, 20, text)]));
    }
    if login.integrated && login.principal.is_none() {
        let text =
            "Login failed. The login is from an untrusted domain and cannot be used with Integrated authentication.";
        return Ok(Err(vec![SqlError::new(18452, 14, text)]));
    }
    let engine = shared.engine.clone();
    let answer = tokio::task::spawn_blocking(move || engine.login(&login).map(|logged_in| (logged_in, login)));
    answer.await.map_err(|_| Error::Panicked)
}

/// The tokens of a login that succeeded, in SQL Server's order.
fn welcome(logged_in: &LoggedIn, login: &Login, packet_size: usize, shared: &Shared) -> Vec<u8> {
    const LANGUAGE: &str = "us_english";
    let mut out = Vec::new();
    let database = &logged_in.database;
    let info = |number, state, text: String, out: &mut Vec<u8>| {
        token::put_error(&SqlError { state, ..SqlError::new(number, 0, text) }, &shared.config.name, out);
    };
    token::put_environment(token::DATABASE, "master", database, &mut out);
    info(5701, 2, format!("Changed database context to '{database}'."), &mut out);
    token::put_collation(logged_in.collation, &mut out);
    token::put_environment(token::LANGUAGE, "", LANGUAGE, &mut out);
    info(5703, 1, format!("Changed language setting to {LANGUAGE}."), &mut out);
    token::put_login_ack(login.tds_version.min(OURS), "Microsoft SQL Server", shared.config.version, &mut out);
    token::put_environment(token::PACKET_SIZE, &DEFAULT_SIZE.to_string(), &packet_size.to_string(), &mut out);
    let mut features: Vec<(u8, &[u8])> = Vec::new();
    if login.token.is_some() {
        features.push((FEDERATION, &[]));
    }
    if login.utf8 {
        features.push((UTF8_SUPPORT, &[1]));
    }
    if !features.is_empty() {
        token::put_features(&features, &mut out);
    }
    Done::new(DoneOf::Batch).put(false, &mut out);
    out
}

struct Connection {
    stream: Box<dyn Stream>,
    assembler: Assembler,
    /// What is read goes here first.
    buffer: Vec<u8>,
    terms: Terms,
    number: u64,
    requests: u64,
    application: String,
    /// With the thread that runs a request, while one runs.
    session: Option<(Box<dyn Session>, Prepared)>,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Serve,
    End,
}

impl Connection {
    async fn serve(&mut self, shared: &Shared) -> Result<(), Error> {
        while let Some(message) = read(&mut self.stream, &mut self.assembler, &mut self.buffer).await? {
            let next = match message.kind {
                Kind::ATTENTION => self.end(Done { attention: true, ..Done::new(DoneOf::Batch) }).await?,
                _ if message.ignored => self.end(Done { error: true, ..Done::new(DoneOf::Batch) }).await?,
                _ => {
                    let work = work(&message)?;
                    self.requests += 1;
                    let fault = shared.faults.of(self.number, self.requests, &self.application, || work.text());
                    self.request(work, message.reset, fault).await?
                }
            };
            if next == Next::End {
                break;
            }
        }
        self.stream.shutdown().await?;
        Ok(())
    }

    async fn request(&mut self, mut work: Work, reset: Reset, fault: Option<Fault>) -> Result<Next, Error> {
        let mut bytes_left = None;
        let mut ending = Ending::Whole;
        let mut pause = None;
        let mut next = Next::Serve;
        match fault {
            None => {}
            Some(Fault::DropBefore) => return Ok(Next::End),
            Some(Fault::Error(error)) => work = Work::Refused(error),
            Some(Fault::DeadlockVictim) => work = Work::RolledBack(SqlError::deadlock_victim(self.terms.spid)),
            Some(Fault::Slow { pause: each }) => pause = Some(each),
            Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
            Some(Fault::Hold(gate)) => gate.passed().await,
            Some(Fault::Cut { after_bytes }) => bytes_left = Some(after_bytes),
            Some(Fault::DropBeforeDone) => (ending, next) = (Ending::WithoutDone, Next::End),
            Some(Fault::DropAfterDone) => next = Next::End,
        }
        let (to, mut chunks) = mpsc::channel(CHUNKS_WAITING);
        let signal = Signal::default();
        let mut answer = Answer::new(self.terms.clone(), signal.clone(), to);
        let (mut session, mut prepared) = self.session.take().ok_or(Error::Panicked)?;
        let running = tokio::task::spawn_blocking(move || {
            // Who stopped reading needs no more said: the answer ends either way.
            let _ = answer_to(work, reset, &mut *session, &mut prepared, &mut answer);
            answer.finish(ending, session, prepared);
        });
        let mut over = None;
        let mut attention = false;
        let mut buffer = [0; 512];
        loop {
            tokio::select! {
                chunk = chunks.recv() => match chunk {
                    None => break,
                    Some(Chunk { packets: mut chunk, last }) => {
                        if let Some(pause) = pause {
                            tokio::time::sleep(pause).await;
                        }
                        if let Some(left) = &mut bytes_left {
                            chunk.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                            *left -= chunk.len() as u64;
                        }
                        self.stream.write_all(&chunk).await?;
                        if bytes_left == Some(0) {
                            self.stream.flush().await?;
                            next = Next::End;
                            break;
                        }
                        if last.is_some() {
                            over = last;
                            break;
                        }
                    }
                },
                read = self.stream.read(&mut buffer) => {
                    let read = buffer.get(..read?).unwrap_or_default();
                    if read.is_empty() {
                        next = Next::End;
                        break;
                    }
                    self.assembler.feed(read);
                    if let Some(message) = self.assembler.next()? {
                        expect(&message, Kind::ATTENTION)?;
                        signal.stop();
                        attention = true;
                    }
                }
            }
        }
        self.stream.flush().await?;
        // Nobody takes chunks any more: a session that still gives some is told to stop.
        drop(chunks);
        let Some(Over { finished, session, prepared }) = over.map(|over| *over) else {
            running.await.map_err(|_| Error::Panicked)?;
            return Ok(Next::End);
        };
        self.session = Some((session, prepared));
        let Finished { attention: acknowledged, fatal } = finished;
        if next == Next::End || fatal {
            return Ok(Next::End);
        }
        if attention && !acknowledged {
            return self.end(Done { attention: true, ..Done::new(DoneOf::Batch) }).await;
        }
        Ok(Next::Serve)
    }

    /// Sends an answer of one token.
    async fn end(&mut self, done: Done) -> Result<Next, Error> {
        let mut payload = Vec::new();
        done.put(false, &mut payload);
        send(&mut self.stream, payload, self.terms.packet_size, self.terms.spid).await?;
        Ok(Next::Serve)
    }
}

fn answer_to(
    work: Work,
    reset: Reset,
    session: &mut dyn Session,
    prepared: &mut Prepared,
    answer: &mut Answer,
) -> Result<(), super::session::Stopped> {
    if reset != Reset::No {
        prepared.clear();
        answer.was_reset()?;
        session.reset(reset == Reset::SessionButTransaction, answer)?;
    }
    answer.wanted()?;
    prepared.run(work, session, answer)
}

fn work(message: &Message) -> Result<Work, Error> {
    let refused = |what: &str| {
        Work::Refused(SqlError::new(50000, 16, format!("{what} is not among what this stand-in for SQL Server does.")))
    };
    Ok(match message.kind {
        Kind::BATCH => Work::Batch(request::batch(&message.data)?),
        Kind::RPC => match request::calls(&message.data)? {
            Calls::All(calls) => Work::Calls(calls),
            Calls::Refused(what) => refused(what),
        },
        Kind::TRANSACTION => match request::transaction(&message.data)? {
            Some(transaction) => Work::Transaction(transaction),
            None => refused("a distributed transaction"),
        },
        Kind::BULK_LOAD => match rows::bulk(&message.data)? {
            Ok(table) => Work::Bulk(table),
            Err(what) => refused(what),
        },
        Kind(other) => return Err(Error::OutOfOrder(format!("a message of kind {other}"))),
    })
}

fn expect(message: &Message, kind: Kind) -> Result<(), Error> {
    if message.kind == kind {
        return Ok(());
    }
    Err(Error::OutOfOrder(format!("a message of kind {} where one of kind {} was due", message.kind.0, kind.0)))
}

async fn read<S: AsyncRead + Unpin + ?Sized>(
    stream: &mut S,
    assembler: &mut Assembler,
    buffer: &mut [u8],
) -> Result<Option<Message>, Error> {
    loop {
        if let Some(message) = assembler.next()? {
            return Ok(Some(message));
        }
        let read = stream.read(buffer).await?;
        if read == 0 {
            return Ok(None);
        }
        assembler.feed(buffer.get(..read).unwrap_or_default());
    }
}

async fn send<S: AsyncWrite + Unpin + ?Sized>(
    stream: &mut S,
    mut payload: Vec<u8>,
    size: usize,
    spid: u16,
) -> Result<(), Error> {
    let mut packets = Vec::new();
    Packetizer::new(Kind::RESPONSE, size, spid).finish(&mut payload, &mut packets);
    stream.write_all(&packets).await?;
    stream.flush().await?;
    Ok(())
}

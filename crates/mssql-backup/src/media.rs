//! One backup file: its descriptor blocks, read from one to the next without reading pages or log.
//!
//! What is kept of them is where the payloads are. A file that ends before its last set does, or whose blocks are damaged,
//! is refused by [`Media::open`]; [`Media::survey`] tells what can be told of it all the same. A compressed file is read as the
//! stream that was compressed (see [`InputFile`]): only the pieces that hold descriptor blocks are decompressed for it.

use std::sync::Arc;

use logferry_mssql_format::bytes::Malformed;
use logferry_mssql_format::mtf::{
    COMPRESSED_MAGIC, Config, DESCRIPTOR_ENOUGH, DESCRIPTOR_HEADER, Descriptor, LogPiece, PAYLOAD_OFFSET,
    STREAM_HEADER, SetStart, StreamHeader, Tape,
};

use crate::error::Error;
use crate::input::InputFile;
use crate::places::AsPlace;

/// A server's description of a set is a few KiB; more than this is refused.
const CONFIG_MAX: u64 = 64 << 20;

/// A backup file.
#[derive(Clone, Debug)]
pub struct Media {
    /// The file.
    pub file: Arc<InputFile>,
    /// Its place in the media set.
    pub tape: Tape,
    /// What it holds, in order.
    pub sets: Vec<SetPart>,
}

/// What a file holds of a backup set: all of it, or a stripe.
#[derive(Clone, Debug)]
pub struct SetPart {
    /// Its begin.
    pub start: SetStart,
    /// Where that stands in the file.
    pub offset: u64,
    /// What the server says about the set, at its end. Where it passed over the data files twice, the LSNs and the log are
    /// those of the second pass.
    pub config: Config,
    /// Pages that it counted before the first pass.
    pub first_pass_pages: u64,
    /// Passes over the data files: where the pages of each are.
    pub passes: Vec<Vec<Extent>>,
    /// The log, in the order of the file.
    pub log: Vec<LogPart>,
}

/// A run of bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub len: u64,
}

/// A piece of the log, and where what this file holds of it is.
#[derive(Clone, Debug)]
pub struct LogPart {
    /// What the block before it says.
    pub piece: LogPiece,
    /// Its bytes: more than `piece.len()` where they are filled up, fewer in a stripe.
    pub extents: Vec<Extent>,
}

/// A look at a file that may be damaged.
#[derive(Debug)]
pub struct Survey {
    /// What could be read.
    pub media: Option<Media>,
    /// Why the file will be refused, if it will.
    pub error: Option<Error>,
}

/// Whether a file begins like a backup file, compressed or not.
pub fn is_backup(head: &[u8]) -> bool {
    head.starts_with(b"TAPE") || head.starts_with(COMPRESSED_MAGIC)
}

impl Media {
    /// Opens a backup file and reads its descriptor blocks.
    pub fn open(place: &(impl AsPlace + ?Sized)) -> Result<Self, Error> {
        let Survey { media, error } = Self::survey(place)?;
        match (media, error) {
            (_, Some(error)) => Err(error),
            (Some(media), None) => Ok(media),
            (None, None) => Err(Error::WrongKind {
                path: place.place().path().to_owned(),
                expected: "backup file",
                found: "it is empty".into(),
            }),
        }
    }

    /// Reads as many descriptor blocks of a backup file as can be read.
    ///
    /// # Errors
    /// Only where the file cannot be opened.
    pub fn survey(place: &(impl AsPlace + ?Sized)) -> Result<Survey, Error> {
        let (file, damage) = InputFile::open_backup(place)?;
        let mut walk = Walk { file: Arc::new(file), tape: None, sets: Vec::new(), open: None };
        // What is behind the last set does not matter, here either; before it, the cause says more than its effect.
        let error = walk.run().err().map(|effect| damage.unwrap_or(effect));
        // A set that was begun is told of, too.
        walk.close_set();
        let Walk { file, tape, sets, .. } = walk;
        Ok(Survey { media: tape.map(|tape| Media { file, tape, sets }), error })
    }
}

/// The way through a file.
struct Walk {
    file: Arc<InputFile>,
    tape: Option<Tape>,
    sets: Vec<SetPart>,
    open: Option<OpenSet>,
}

/// A set whose end was not met yet.
struct OpenSet {
    start: SetStart,
    offset: u64,
    config: Option<Config>,
    first_pass_pages: u64,
    passes: Vec<Vec<Extent>>,
    log: Vec<LogPart>,
    ended: bool,
}

impl Walk {
    fn run(&mut self) -> Result<(), Error> {
        let file = Arc::clone(&self.file);
        let mut block = [0u8; DESCRIPTOR_ENOUGH];
        let head = file.read_up_to(0, &mut block)?;
        if !head.starts_with(b"TAPE") {
            let found = format!("it begins with \"{}\"", head.get(..8).unwrap_or(head).escape_ascii());
            return Err(Error::WrongKind { path: file.path().to_owned(), expected: "backup file", found });
        }
        let mut at = 0u64;
        while at < file.len() {
            let block = file.read_up_to(at, &mut block)?;
            if self.open.is_none() && !self.sets.is_empty() && !is_descriptor(block) {
                // What stands behind the last set is what the file held before it was written over.
                break;
            }
            at = self.block(at, block)?;
        }
        if self.tape.is_none() {
            return Err(file.cut_short("the media header", file.len().saturating_add(1)));
        }
        match &self.open {
            Some(set) => {
                let what = format!("backup set {}, whose end is missing,", set.start.number);
                Err(file.cut_short(&what, file.len().max(at).saturating_add(1)))
            }
            None if self.sets.is_empty() => {
                let found = "it holds no backup set".to_owned();
                Err(Error::WrongKind { path: file.path().to_owned(), expected: "backup file", found })
            }
            None => Ok(()),
        }
    }

    /// Reads the block at an offset and its streams; gives where the next one stands.
    fn block(&mut self, at: u64, block: &[u8]) -> Result<u64, Error> {
        let file = Arc::clone(&self.file);
        let damaged = |e: Malformed| file.damaged(at, e);
        if (block.len() as u64) < DESCRIPTOR_HEADER as u64 {
            return Err(file.cut_short("a descriptor block", at.saturating_add(DESCRIPTOR_HEADER as u64)));
        }
        let descriptor = Descriptor::read(block).map_err(damaged)?;
        let streams_at = at.saturating_add(u64::from(descriptor.streams_at));
        match &descriptor.kind {
            b"SFMB" => {
                if self.open.as_ref().is_some_and(|set| set.ended) {
                    self.close_set();
                }
                return Ok(streams_at);
            }
            b"SSET" => {
                if let Some(set) = &self.open {
                    let what = format!("a backup set begins before set {} ends", set.start.number);
                    return Err(damaged(Malformed::new(what, 0)));
                }
                let start = SetStart::read(block).map_err(damaged)?;
                // Whether a compressed file counts its own bytes or those of the stream is not known: the same in the first set.
                if start.position != at && start.position != file.file_offset(at) {
                    let what = format!("the backup set says that it begins at {}", start.position);
                    return Err(damaged(Malformed::new(what, 80)));
                }
                self.open = Some(OpenSet {
                    start,
                    offset: at,
                    config: None,
                    first_pass_pages: 0,
                    passes: Vec::new(),
                    log: Vec::new(),
                    ended: false,
                });
            }
            b"TAPE" if at != 0 => return Err(damaged(Malformed::new("a second media header", 0))),
            _ => {}
        }
        match (&descriptor.kind, &mut self.open) {
            (b"MSDA", Some(set)) => set.passes.push(Vec::new()),
            (b"MSTL", Some(set)) => {
                let piece = LogPiece::read(block).map_err(damaged)?;
                set.log.push(LogPart { piece, extents: Vec::new() });
            }
            (b"ESET", Some(set)) => set.ended = true,
            _ => {}
        }
        self.streams(&descriptor, streams_at)
    }

    /// Walks over the streams of a block; gives where the next block stands.
    fn streams(&mut self, descriptor: &Descriptor, mut at: u64) -> Result<u64, Error> {
        let file = Arc::clone(&self.file);
        loop {
            let mut header = [0u8; STREAM_HEADER];
            file.read_exact(at, &mut header, "a stream header")?;
            let stream = StreamHeader::read(&header).map_err(|e| file.damaged(at, e))?;
            let name = stream.kind.escape_ascii();
            if stream.encryption != 0 {
                let what = format!("it is encrypted (algorithm {})", stream.encryption);
                return Err(Error::Unsupported { path: file.path().to_owned(), what });
            }
            if stream.compression != 0 {
                let what = format!("stream {name} is compressed (algorithm {})", stream.compression);
                return Err(Error::Unsupported { path: file.path().to_owned(), what });
            }
            let data_at = at.saturating_add(STREAM_HEADER as u64);
            let end = data_at.saturating_add(stream.len);
            if end > file.len() {
                return Err(file.cut_short(&format!("stream {name} at offset {at}"), end));
            }
            self.stream(descriptor, &stream, data_at)?;
            let next = stream.next_at(at).filter(|&next| next > at);
            at = next.ok_or_else(|| file.damaged(at, Malformed::new(format!("stream {name} has no end"), 8)))?;
            if stream.is(b"SPAD") {
                return Ok(at);
            }
        }
    }

    /// Remembers what a stream holds.
    fn stream(&mut self, descriptor: &Descriptor, stream: &StreamHeader, at: u64) -> Result<(), Error> {
        let payload =
            Extent { offset: at.saturating_add(PAYLOAD_OFFSET), len: stream.len.saturating_sub(PAYLOAD_OFFSET) };
        match (&descriptor.kind, &stream.kind) {
            (b"TAPE", b"RAID") => {
                let mut data = [0u8; 32];
                self.file.read_exact(at, &mut data, "the RAID stream")?;
                self.tape = Some(Tape::read_raid(&data).map_err(|e| self.file.damaged(at, e))?);
            }
            (b"MSCI" | b"MSLS", b"MQCI") => {
                let Some(set) = &mut self.open else { return Ok(()) };
                if stream.len > CONFIG_MAX {
                    let what = format!("a configuration of {} bytes", stream.len);
                    return Err(self.file.damaged(at, Malformed::new(what, 8)));
                }
                let mut data = vec![0u8; stream.len as usize];
                self.file.read_exact(at, &mut data, "the set's configuration")?;
                let config = Config::read(&data).map_err(|e| self.file.damaged(at, e))?;
                if descriptor.is(b"MSCI") {
                    set.first_pass_pages = config.data_pages();
                }
                set.config = Some(config);
            }
            (b"MSDA", b"MQDA") if payload.len > 0 => {
                if let Some(pass) = self.open.as_mut().and_then(|set| set.passes.last_mut()) {
                    pass.push(payload);
                }
            }
            (b"MSTL", b"MQTL") if payload.len > 0 => {
                if let Some(part) = self.open.as_mut().and_then(|set| set.log.last_mut()) {
                    part.extents.push(payload);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn close_set(&mut self) {
        if let Some(OpenSet { start, offset, config: Some(config), first_pass_pages, passes, log, .. }) =
            self.open.take()
        {
            self.sets.push(SetPart { start, offset, config, first_pass_pages, passes, log });
        }
    }
}

/// Whether a block is a descriptor, be it a damaged one.
fn is_descriptor(block: &[u8]) -> bool {
    block.starts_with(b"SSET") || Descriptor::read(block).is_ok()
}

//! Files that are read at places, from several threads, and never whole.

use std::path::Path;

use logferry_mssql_format::bytes::Malformed;
use logferry_mssql_format::mtf::COMPRESSED_MAGIC;

use crate::compressed::{Pieces, Raw};
use crate::error::Error;
use crate::places::{AsPlace, Bytes, Place};

/// A file that was opened for reading. Of a compressed backup file it gives the stream that was compressed: offsets and
/// lengths are those of the stream.
#[derive(Debug)]
pub struct InputFile {
    place: Place,
    bytes: Bytes,
    /// Of the file as it is.
    len: u64,
    pieces: Option<Box<Pieces>>,
}

impl InputFile {
    /// Opens a file, to be read as it is.
    pub fn open(place: &(impl AsPlace + ?Sized)) -> Result<Self, Error> {
        let place = place.place();
        let bytes = place.open()?;
        let len = bytes.len(place.path())?;
        Ok(InputFile { place, bytes, len, pieces: None })
    }

    /// Opens a backup file, compressed or not. Of a compressed one, this tells what is wrong with it and where its stream
    /// ends for that reason.
    pub fn open_backup(place: &(impl AsPlace + ?Sized)) -> Result<(Self, Option<Error>), Error> {
        let mut file = Self::open(place)?;
        let mut head = [0u8; COMPRESSED_MAGIC.len()];
        if file.read_up_to(0, &mut head)? != COMPRESSED_MAGIC {
            return Ok((file, None));
        }
        let (pieces, error) = match Pieces::find(file.raw()) {
            Ok((pieces, error)) => (Some(Box::new(pieces)), error),
            Err(error) => (None, Some(error)),
        };
        file.pieces = pieces;
        Ok((file, error))
    }

    /// Its path, as it was given.
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its length when it was opened.
    pub fn len(&self) -> u64 {
        self.pieces.as_ref().map_or(self.len, |pieces| pieces.len())
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills a buffer with the bytes from an offset; `what` names them for the error of a file that is too short.
    pub fn read_exact(&self, offset: u64, into: &mut [u8], what: &str) -> Result<(), Error> {
        let needed = offset.saturating_add(into.len() as u64);
        if needed > self.len() {
            return Err(self.cut_short(what, needed));
        }
        match &self.pieces {
            Some(pieces) => pieces.read_exact(self.raw(), offset, into),
            None => self.bytes.read_exact(self.path(), offset, into),
        }
    }

    /// Fills as much of a buffer as the file has from an offset.
    pub fn read_up_to<'a>(&self, offset: u64, into: &'a mut [u8]) -> Result<&'a mut [u8], Error> {
        let there = self.len().saturating_sub(offset).min(into.len() as u64) as usize;
        let into = into.split_at_mut(there).0;
        self.read_exact(offset, into, "")?;
        Ok(into)
    }

    /// Where the bytes at an offset are in the file; in a compressed one, where their piece begins.
    pub fn file_offset(&self, offset: u64) -> u64 {
        self.pieces.as_ref().map_or(offset, |pieces| pieces.file_offset(offset))
    }

    /// An error about the bytes at an offset.
    pub fn damaged(&self, offset: u64, source: Malformed) -> Error {
        let at = self.file_offset(offset);
        let source = match self.pieces {
            Some(_) => source.within(format_args!("decompressed offset {offset}")),
            None => source,
        };
        Error::Damaged { path: self.path().to_owned(), offset: at, source }
    }

    /// An error about a file that ends too early.
    pub fn cut_short(&self, what: &str, needed: u64) -> Error {
        match &self.pieces {
            // How long the rest would be when compressed, nobody knows.
            Some(pieces) => pieces.cut_short(self.raw(), what),
            None => cut_short(self.path(), self.len, what, needed),
        }
    }

    fn raw(&self) -> Raw<'_> {
        Raw { path: self.path(), file: &self.bytes, len: self.len }
    }
}

pub(crate) fn cut_short(path: &Path, len: u64, what: &str, needed: u64) -> Error {
    Error::CutShort { path: path.to_owned(), what: what.to_owned(), needed, len }
}

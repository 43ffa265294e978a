//! Files that are read at places, from several threads, and never whole.

use std::fs::File;
use std::path::{Path, PathBuf};

use logferry_mssql_format::bytes::Malformed;

use crate::error::Error;

/// A file that was opened for reading.
#[derive(Debug)]
pub struct InputFile {
    path: PathBuf,
    file: File,
    len: u64,
}

impl InputFile {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        Ok(InputFile { path: path.to_owned(), file, len })
    }

    /// Its path, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length when it was opened.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills a buffer with the bytes from an offset; `what` names them for the error of a file that is too short.
    pub fn read_exact(&self, offset: u64, into: &mut [u8], what: &str) -> Result<(), Error> {
        let needed = offset.saturating_add(into.len() as u64);
        if needed > self.len {
            return Err(self.cut_short(what, needed));
        }
        read_at(&self.file, offset, into).map_err(|source| Error::Io { path: self.path.clone(), source })
    }

    /// Fills as much of a buffer as the file has from an offset.
    pub fn read_up_to<'a>(&self, offset: u64, into: &'a mut [u8]) -> Result<&'a mut [u8], Error> {
        let there = self.len.saturating_sub(offset).min(into.len() as u64) as usize;
        let into = into.split_at_mut(there).0;
        self.read_exact(offset, into, "")?;
        Ok(into)
    }

    /// An error about the bytes at an offset.
    pub fn damaged(&self, offset: u64, source: Malformed) -> Error {
        Error::Damaged { path: self.path.clone(), offset, source }
    }

    /// An error about a file that ends too early.
    pub fn cut_short(&self, what: &str, needed: u64) -> Error {
        Error::CutShort { path: self.path.clone(), what: what.to_owned(), needed, len: self.len }
    }
}

#[cfg(unix)]
fn read_at(file: &File, offset: u64, into: &mut [u8]) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, into, offset)
}

#[cfg(windows)]
fn read_at(file: &File, mut offset: u64, mut into: &mut [u8]) -> std::io::Result<()> {
    while !into.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, into, offset)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => {
                offset += n as u64;
                into = into.split_at_mut(n).1;
            }
        }
    }
    Ok(())
}

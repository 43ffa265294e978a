//! Bytes that are put aside: in memory up to a bound, behind it in a temporary file that has no name and goes with the
//! process.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::error::Error;

/// An error about temporary files.
pub(crate) fn spool_error(source: io::Error) -> Error {
    Error::TemporaryFile { folder: std::env::temp_dir(), source }
}

/// Bytes that are only added. Positions count from the begin of all that was added.
#[derive(Debug)]
pub(crate) struct Spool {
    /// What is not in the file yet.
    tail: Vec<u8>,
    written: u64,
    file: Option<File>,
    memory_max: usize,
}

impl Spool {
    /// An empty spool that keeps `memory_max` bytes in memory.
    pub(crate) fn new(memory_max: usize) -> Self {
        Spool { tail: Vec::new(), written: 0, file: None, memory_max }
    }

    /// Adds bytes and says where they are.
    pub(crate) fn append(&mut self, parts: &[&[u8]]) -> Result<u64, Error> {
        let position = self.written + self.tail.len() as u64;
        for part in parts {
            self.tail.extend_from_slice(part);
        }
        if self.tail.len() > self.memory_max {
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(tempfile::tempfile().map_err(spool_error)?),
            };
            file.write_all_at(&self.tail, self.written).map_err(spool_error)?;
            self.written += self.tail.len() as u64;
            self.tail.clear();
        }
        Ok(position)
    }

    /// Reads bytes that were added.
    pub(crate) fn read(&self, position: u64, into: &mut [u8]) -> Result<(), Error> {
        let mut into = into;
        if position < self.written {
            let on_disk = into.len().min(usize::try_from(self.written - position).unwrap_or(usize::MAX));
            let (head, tail) = into.split_at_mut(on_disk);
            if let Some(file) = &self.file {
                file.read_exact_at(head, position).map_err(spool_error)?;
            }
            into = tail;
            if into.is_empty() {
                return Ok(());
            }
        }
        let start = usize::try_from(position.saturating_sub(self.written)).unwrap_or(usize::MAX);
        match start.checked_add(into.len()).and_then(|end| self.tail.get(start..end)) {
            Some(bytes) => {
                into.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(spool_error(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_read_back_from_memory_and_from_the_file() {
        for memory_max in [0, 7, 64, 1 << 20] {
            let mut spool = Spool::new(memory_max);
            let mut at = Vec::new();
            for i in 0..50u8 {
                at.push(spool.append(&[&[i; 3], &[i; 2]]).unwrap());
            }
            for (i, position) in at.into_iter().enumerate() {
                let mut bytes = [0; 5];
                spool.read(position, &mut bytes).unwrap();
                assert_eq!(bytes, [i as u8; 5], "with {memory_max} bytes of memory");
            }
            assert!(spool.read(49 * 5, &mut [0; 6]).is_err());
        }
    }
}

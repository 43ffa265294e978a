//! Keys of rows that a transaction touched: in memory, and in a temporary file where they are many.
//!
//! A key that is in the file may be there twice, or in memory as well: its row is read twice then, which changes nothing.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::places::Key;

/// Bytes that are read of a file at a time.
const READ_BYTES: usize = 64 << 10;

/// Keys of one table.
#[derive(Clone, Debug, Default)]
pub(super) struct KeySet {
    here: HashSet<Key>,
    /// Each key behind its length, u32; removed from its folder, so that it goes with the last who reads it.
    file: Option<Arc<File>>,
    file_len: u64,
}

impl KeySet {
    /// Takes a key; whether it needs memory.
    pub(super) fn insert(&mut self, key: Key) -> bool {
        self.here.insert(key)
    }

    /// Those in memory.
    pub(super) fn here(&self) -> &HashSet<Key> {
        &self.here
    }

    /// Those in the file.
    pub(super) fn spilled(&self) -> Option<SpilledKeys> {
        let file = self.file.clone()?;
        Some(SpilledKeys { file, at: 0, end: self.file_len, read: Vec::new(), taken: 0 })
    }

    /// Writes those in memory to the file.
    pub(super) fn spill(&mut self) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(Arc::new(tempfile::tempfile()?)),
        };
        let mut keys: Vec<Key> = self.here.drain().collect();
        self.here.shrink_to_fit();
        // Rows that are near each other are looked up together.
        keys.sort_unstable();
        let mut out = io::BufWriter::with_capacity(READ_BYTES, &**file);
        for key in keys {
            let len = u32::try_from(key.len()).map_err(io::Error::other)?;
            out.write_all(&len.to_le_bytes())?;
            out.write_all(&key)?;
            self.file_len += 4 + u64::from(len);
        }
        out.flush()
    }
}

/// Reads keys of a file, in the order in which they came.
#[derive(Debug)]
pub(super) struct SpilledKeys {
    file: Arc<File>,
    at: u64,
    end: u64,
    read: Vec<u8>,
    taken: usize,
}

impl SpilledKeys {
    /// So many keys; fewer at the end.
    pub(super) fn next(&mut self, most: usize) -> io::Result<Vec<Key>> {
        let mut keys = Vec::with_capacity(most);
        while keys.len() < most {
            let Some(len) = self.bytes(4)?.and_then(|b| b.try_into().ok()).map(u32::from_le_bytes) else { break };
            let key = self.bytes(len as usize)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            keys.push(key.into());
        }
        Ok(keys)
    }

    fn bytes(&mut self, len: usize) -> io::Result<Option<&[u8]>> {
        if self.read.len() - self.taken < len {
            self.read.drain(..self.taken);
            self.taken = 0;
            let before = self.read.len();
            let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
            let more = left.min(READ_BYTES.max(len));
            self.read.resize(before + more, 0);
            self.file.read_exact_at(self.read.get_mut(before..).unwrap_or_default(), self.at)?;
            self.at += more as u64;
        }
        let from = self.taken;
        if self.read.len() - from < len {
            return Ok(None);
        }
        self.taken += len;
        Ok(self.read.get(from..from + len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> Key {
        vec![n as u8; n as usize % 300].into_iter().chain(n.to_le_bytes()).collect()
    }

    #[test]
    fn spilled_keys_come_back() {
        let mut set = KeySet::default();
        assert!(set.spilled().is_none());
        for spilled in 0..3 {
            for n in 0..5_000 {
                assert!(set.insert(key(n + spilled * 5_000)));
            }
            set.spill().expect("a temporary file");
            assert!(set.here().is_empty());
        }
        set.insert(key(1));
        // Two readers do not disturb each other.
        let (mut first, mut second) = (set.spilled().expect("a file"), set.spilled().expect("a file"));
        let mut found = HashSet::new();
        loop {
            let (keys, same) = (first.next(127).expect("keys"), second.next(127).expect("keys"));
            assert_eq!(keys, same);
            if keys.is_empty() {
                break;
            }
            found.extend(keys);
        }
        assert_eq!(found, (0..15_000).map(key).collect());
    }
}

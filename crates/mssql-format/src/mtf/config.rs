//! What the server says about a backup set: the `MQCI` stream.
//!
//! A row of structures, each with a four-letter name and its length: `SCIN` (the set), `SFGI` (a filegroup), `SFIN` (a file).
//! Names are outside the fixed part; pairs of (length, offset from the structure's begin) point to them.
//!
//! ```text
//! SCIN  @4 u16 length  @8 u16 flags  @24 server build  @32 first, @42 last, @52 checkpoint, @62 database backup LSN
//!       @72 database made, @77 set written  @87 type  @91 compatibility level  @94 database version  @104 database, @108 server name
//!       @124 binding  @156 recovery fork  @172 fork point LSN, @184 fork before it  @200 differential base  @224 family
//! SFIN  @4 u16 length  @20 file id  @24 pages in this set  @28 1 data, 2 log  @36 filegroup  @40 u64 bytes
//!       @48 logical, @52 physical name
//! ```
//!
//! The GUIDs' places were found by comparing sets of known relation: the binding is that of the files' header pages, the
//! fork and the family are on the boot page, the differential base is the GUID in the `SSET` block of the full.
//! Observed on 2005, 2008 R2, 2012, 2014, 2016, 2022, 2025.

use logferry_model::Lsn;

use super::date_us;
use crate::bytes::{Malformed, Result, array, lsn_at, slice, u8_at, u16_at, u32_at, u64_at};

/// More files than a database can have.
const FILES_MAX: usize = 32_767;

/// A backup set, as the server describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bits: 0x1 holds minimally logged pages, 0x10 `WITH CHECKSUM`, 0x20 damaged pages, 0x400 copy-only, 0x800 differential.
    pub flags: u16,
    /// First log record that the set holds (inclusive).
    pub first_lsn: Lsn,
    /// End of the log that it holds (exclusive).
    pub last_lsn: Lsn,
    /// Checkpoint at its begin.
    pub checkpoint_lsn: Lsn,
    /// First LSN of the full backup before it; zero where there is none.
    pub database_backup_lsn: Lsn,
    /// When the database was made: equal in all backups of a database. Microseconds since 2000-01-01 by the server's clock.
    pub created_us: Option<i64>,
    /// When the set was written, likewise; equal to the date of its SSET block.
    pub written_us: Option<i64>,
    /// `D` full, `I` differential, `L` log, `F` filegroup, `G` differential filegroup, `P` partial, `Q` differential partial.
    pub kind: u8,
    /// Compatibility level: 100 is that of 2008.
    pub compatibility: u8,
    /// Version of the database: 661 is 2008 R2.
    pub version: u16,
    /// Version of the server: major, minor, build.
    pub server_version: (u8, u8, u16),
    /// The database.
    pub database: String,
    /// The server.
    pub server: String,
    /// The database's files: equal to the binding GUID of their header pages.
    pub binding: [u8; 16],
    /// The recovery fork that the database is on.
    pub fork: [u8; 16],
    /// Where that fork began; zero where the database was never forked.
    pub fork_point: Lsn,
    /// The fork that it came from; zero where the database was never forked.
    pub parent_fork: [u8; 16],
    /// The full backup that a differential of now would be based on; zero where there is none.
    pub base: [u8; 16],
    /// The family of all forks.
    pub family: [u8; 16],
    /// The files of the database.
    pub files: Vec<DataFile>,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// Pages.
    Data,
    /// Log.
    Log,
    /// FILESTREAM, full text, memory-optimised tables: the code.
    Other(u32),
}

/// A file of the database, as it was at the backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// Its id in the database, from 1.
    pub id: u32,
    /// What it holds.
    pub kind: FileKind,
    /// Its filegroup, from 1; 0 for logs.
    pub filegroup: u32,
    /// Its size in bytes.
    pub bytes: u64,
    /// Pages of it that are in the set, or in its last pass; of a log, in its last piece.
    pub pages_in_set: u32,
    /// Its name in the database.
    pub logical_name: String,
    /// Its path on the server.
    pub physical_name: String,
}

impl Config {
    /// Reads the data of an `MQCI` stream.
    pub fn read(data: &[u8]) -> Result<Self> {
        if array(data, 0, "configuration")? != *b"SCIN" {
            return Err(Malformed::new("the configuration does not begin with SCIN", 0));
        }
        let [minor, major] = array(data, 26, "server version")?;
        let mut config = Config {
            flags: u16_at(data, 8, "flags")?,
            server_version: (major, minor, u16_at(data, 24, "server build")?),
            first_lsn: lsn_at(data, 32, "first LSN")?,
            last_lsn: lsn_at(data, 42, "last LSN")?,
            checkpoint_lsn: lsn_at(data, 52, "checkpoint LSN")?,
            database_backup_lsn: lsn_at(data, 62, "database backup LSN")?,
            created_us: date_us(array(data, 72, "database creation date")?),
            written_us: date_us(array(data, 77, "backup date")?),
            kind: u8_at(data, 87, "type")?,
            compatibility: u8_at(data, 91, "compatibility level")?,
            version: u16_at(data, 94, "database version")?,
            database: name(data, 104, "database name")?,
            server: name(data, 108, "server name")?,
            binding: array(data, 124, "binding GUID")?,
            fork: array(data, 156, "recovery fork GUID")?,
            fork_point: lsn_at(data, 172, "fork point LSN")?,
            parent_fork: array(data, 184, "parent fork GUID")?,
            base: array(data, 200, "differential base GUID")?,
            family: array(data, 224, "family GUID")?,
            files: Vec::new(),
        };
        let mut at = 0usize;
        while let Ok(kind) = array::<4>(data, at, "structure") {
            let rest = data.get(at..).unwrap_or_default();
            let len = usize::from(u16_at(rest, 4, "length of a structure")?);
            let located = |e: Malformed| e.within(format_args!("{} at {at}", kind.escape_ascii()));
            if len < 12 {
                return Err(located(Malformed::new(format!("length {len}"), 4)));
            }
            let structure = slice(rest, 0, len, "structure").map_err(located)?;
            if kind == *b"SFIN" && config.files.len() < FILES_MAX {
                config.files.push(DataFile::read(structure).map_err(located)?);
            }
            at = at.saturating_add(len);
        }
        Ok(config)
    }

    /// Pages of the data files that the set holds; at its end, those of the last pass.
    pub fn data_pages(&self) -> u64 {
        self.files.iter().filter(|f| f.kind == FileKind::Data).map(|f| u64::from(f.pages_in_set)).sum()
    }

    /// `WITH CHECKSUM`
    pub fn has_checksums(&self) -> bool {
        self.flags & 0x10 != 0
    }

    /// `WITH COPY_ONLY`
    pub fn copy_only(&self) -> bool {
        self.flags & 0x400 != 0
    }

    /// A log backup that holds pages of minimally logged operations, too.
    pub fn has_bulk_logged_pages(&self) -> bool {
        self.flags & 1 != 0
    }
}

impl DataFile {
    fn read(structure: &[u8]) -> Result<Self> {
        Ok(DataFile {
            id: u32_at(structure, 20, "file id")?,
            pages_in_set: u32_at(structure, 24, "pages in the set")?,
            kind: match u32_at(structure, 28, "file type")? {
                1 => FileKind::Data,
                2 => FileKind::Log,
                code => FileKind::Other(code),
            },
            filegroup: u32_at(structure, 36, "filegroup")?,
            bytes: u64_at(structure, 40, "file size")?,
            logical_name: name(structure, 48, "logical name")?,
            physical_name: name(structure, 52, "physical name")?,
        })
    }
}

/// The UTF-16 text that a pair (length in bytes, offset) points to.
fn name(structure: &[u8], pair: usize, what: &'static str) -> Result<String> {
    let len = usize::from(u16_at(structure, pair, what)?);
    let at = usize::from(u16_at(structure, pair.saturating_add(2), what)?);
    let text = slice(structure, at, len, what)?;
    Ok(char::decode_utf16(text.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)))
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect())
}

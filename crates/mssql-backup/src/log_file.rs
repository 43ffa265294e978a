//! Log files (`.ldf`): from the file to the blocks that are in use.
//!
//! The sequence numbers of the virtual log files order them, over all log files of a database. The log ends with the last
//! block of the current use of the last one; it begins with the oldest one from which the numbers have no
//! hole. Whether the database still needed it does not matter: what is there is given.
//!
//! A log file belongs to a data file if both have the same binding GUID: two files that lie side by side need not belong
//! together. There is one exception: a data file that was attached without its log got a new log and with it a new GUID. Its
//! old log is still its history, and it shows: the pages carry the LSNs of records that name them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use logferry_model::Lsn;
use logferry_mssql_format::bytes::Malformed;
use logferry_mssql_format::file_header::FileHeader;
use logferry_mssql_format::log::block::{BLOCK_MAX, Block, SECTOR};
use logferry_mssql_format::log::vlf::{FIRST_BLOCK, FIRST_VLF, HEADER_SIZE, VLF_HEADER, VlfHeader, is_current};
use logferry_mssql_format::page::{PAGE_SIZE, PageHeader, PageId, verify};

use crate::data_file::DataFiles;
use crate::error::Error;
use crate::input::InputFile;
use crate::log_blocks::LogBlocks;
use crate::log_segment::{LogEnd, LogSegment, SegmentBlocks, SegmentPart};
use crate::pages::PageSource;
use crate::places::AsPlace;
use crate::set::Guid;

/// More VLFs than a log file has in practice (tens of thousands are a known fault of administration).
const VLFS_MAX: usize = 1 << 20;

/// A log file.
#[derive(Clone, Debug)]
pub struct LogFile {
    /// The file.
    pub file: Arc<InputFile>,
    /// Its header page.
    pub header: FileHeader,
    /// Its virtual log files, in the order of the file.
    pub vlfs: Vec<VlfHeader>,
}

/// The log files of a database.
#[derive(Clone, Debug)]
pub struct LogFiles {
    files: Vec<LogFile>,
    /// The virtual log files in use, by sequence number: no number is missing.
    live: Vec<LogSegment>,
}

/// What tells that log files belong to a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belonging {
    /// The binding GUIDs are equal.
    Binding,
    /// They are not, but nearly all pages that carry an LSN of this log carry one of a record that names them.
    Pages {
        /// how many
        matched: u64,
    },
}

/// So many pages that match, in all and for each that does not, are no accident. (Real pairs: 142 to 3 where the log was
/// replaced; 0 to 82 for a foreign log. Some pages carry LSNs of records that name no page, such as CLEAR_GAM_BITS.)
const MATCHES_MIN: u64 = 16;

impl LogFile {
    /// Opens a log file and reads the headers of its virtual log files.
    pub fn open(place: &(impl AsPlace + ?Sized)) -> Result<Self, Error> {
        let file = InputFile::open(place)?;
        let path = file.path();
        let mut page = [0u8; PAGE_SIZE];
        file.read_exact(0, &mut page, "the file header")?;
        verify(&mut page).map_err(|e| file.damaged(0, e))?;
        let header = FileHeader::read(&page).map_err(|e| Error::WrongKind {
            path: path.to_owned(),
            expected: "log file",
            found: e.to_string(),
        })?;
        let mut vlfs = Vec::new();
        let mut at = FIRST_VLF;
        while at < file.len() && vlfs.len() < VLFS_MAX {
            let mut bytes = [0u8; HEADER_SIZE];
            file.read_exact(at, &mut bytes, "a virtual log file")?;
            let vlf = VlfHeader::read(&bytes, at).map_err(|e| match vlfs.is_empty() {
                // A data file has its second page there.
                true => Error::WrongKind { path: path.to_owned(), expected: "log file", found: e.to_string() },
                false => file.damaged(at, e),
            })?;
            if vlf.end() > file.len() {
                return Err(file.cut_short(&format!("virtual log file {:#x}", vlf.seq), vlf.end()));
            }
            at = vlf.end();
            vlfs.push(vlf);
        }
        Ok(LogFile { file: Arc::new(file), header, vlfs })
    }

    /// The database's files.
    pub fn binding_guid(&self) -> Guid {
        Guid(self.header.binding_guid)
    }

    /// The first block of a virtual log file, where it is of the current use: the length of its header, if it has records.
    fn first_block(&self, vlf: &VlfHeader) -> Result<Option<usize>, Error> {
        let mut bytes = vec![0u8; BLOCK_MAX.min(usize::try_from(vlf.size - VLF_HEADER).unwrap_or(BLOCK_MAX))];
        self.file.read_exact(vlf.start + VLF_HEADER, &mut bytes, "a virtual log file")?;
        Ok(Block::read(&mut bytes)
            .ok()
            .filter(|block| is_current(&block.header, vlf.seq, vlf.parity, FIRST_BLOCK))
            .map(|block| if block.is_2000() { 0 } else { block.header_len() }))
    }
}

impl LogFiles {
    /// Opens the log files of a database, in any order.
    ///
    /// # Errors
    /// Where they are of different databases or hold no log, or their log is that of SQL Server 2000.
    pub fn open<P: AsPlace>(places: &[P]) -> Result<Self, Error> {
        let files = places.iter().map(LogFile::open).collect::<Result<Vec<_>, _>>()?;
        if let Some(first) = files.first()
            && let Some(file) = files.iter().find(|f| f.binding_guid() != first.binding_guid())
        {
            return Err(foreign(file, first.file.path(), first.binding_guid()));
        }
        let mut used: Vec<(&LogFile, &VlfHeader)> =
            files.iter().flat_map(|f| f.vlfs.iter().filter(|v| v.is_used()).map(move |v| (f, v))).collect();
        used.sort_by_key(|(_, vlf)| std::cmp::Reverse(vlf.seq));
        let mut live: Vec<LogSegment> = Vec::new();
        for (file, vlf) in used {
            match live.last() {
                Some(after) if after.vlf == vlf.seq => {
                    let what = format!("sequence number {:#x} is there twice", vlf.seq);
                    return Err(file.file.damaged(vlf.start, Malformed::new(what, 4)));
                }
                Some(after) if after.vlf.checked_sub(1) != Some(vlf.seq) => break,
                _ => {}
            }
            match file.first_block(vlf)? {
                // Older than the upgrade from 2000: nothing before it can be read.
                Some(0) if live.is_empty() => {
                    return Err(Error::Unsupported {
                        path: file.file.path().to_owned(),
                        what: "its log was written by SQL Server 2000, whose records have another layout".to_owned(),
                    });
                }
                Some(0) => break,
                // One that was just begun has no block yet; reading it finds out whether that is so.
                _ => {}
            }
            live.push(LogSegment {
                vlf: vlf.seq,
                parity: vlf.parity,
                first_block: FIRST_BLOCK,
                len: vlf.size - VLF_HEADER,
                ends_vlf: true,
                parts: vec![SegmentPart {
                    file: Arc::clone(&file.file),
                    offset: vlf.start + VLF_HEADER,
                    start: 0,
                    len: vlf.size - VLF_HEADER,
                }],
            });
        }
        live.reverse();
        if live.is_empty() {
            let path = places.first().map(|place| place.place().path().to_owned()).unwrap_or_default();
            return Err(Error::WrongKind { path, expected: "log file", found: "it holds no log".to_owned() });
        }
        debug_assert!(live.iter().all(|s| s.len % SECTOR as u64 == 0));
        Ok(LogFiles { files, live })
    }

    /// Whether a virtual log file that is in use has this sequence number.
    pub(crate) fn has_vlf(&self, seq: u32) -> bool {
        self.live.iter().any(|segment| segment.vlf == seq)
    }

    /// The files.
    pub fn files(&self) -> &[LogFile] {
        &self.files
    }

    /// Refuses log files that do not belong to a database's data files.
    ///
    /// Where the binding GUIDs differ, the headers of all pages and the whole log are read.
    pub fn check_belongs(&self, data: &DataFiles) -> Result<Belonging, Error> {
        let Some(file) = self.files.first() else { return Ok(Belonging::Binding) };
        let binding = data.binding_guid();
        if file.binding_guid() == binding {
            return Ok(Belonging::Binding);
        }
        match self.pages_written(data)? {
            (matched, other) if matched >= MATCHES_MIN && matched / MATCHES_MIN >= other => {
                Ok(Belonging::Pages { matched })
            }
            _ => {
                let path = data.data_files().first().map_or(Path::new(""), |f| f.path());
                Err(foreign(file, path, binding))
            }
        }
    }

    /// Of the pages whose LSN is in this log: how many carry the LSN of a record that names them, and how many do not.
    fn pages_written(&self, pages: &dyn PageSource) -> Result<(u64, u64), Error> {
        let mut lsns: HashMap<PageId, Lsn> = HashMap::new();
        let mut page = [0u8; PAGE_SIZE];
        for file in pages.files() {
            for number in 0..file.pages {
                let id = PageId::new(file.file, number);
                // Pages that are not allocated may hold anything.
                if let Err(Error::Page { .. }) = pages.read_page(id, &mut page) {
                    continue;
                }
                let header = PageHeader::read(&page)?;
                if header.is_formatted() && header.lsn >= self.first_lsn() {
                    lsns.insert(id, header.lsn);
                }
            }
        }
        let mut blocks = self.blocks(None)?;
        let mut matched = 0;
        while let Some(block) = blocks.next_block()? {
            for record in block.records() {
                let record = record?;
                if let Some(op) = record.page_op()?
                    && lsns.get(&op.row.page) == Some(&record.lsn)
                {
                    lsns.remove(&op.row.page);
                    matched += 1;
                }
            }
        }
        let end = blocks.position();
        Ok((matched, lsns.values().filter(|&&lsn| lsn < end).count() as u64))
    }

    /// The first position that is there.
    pub fn first_lsn(&self) -> Lsn {
        self.live.first().map_or(Lsn::ZERO, |s| Lsn::new(s.vlf, s.first_block, 1))
    }

    /// Reads the log from the block of an LSN on, or from its begin, to its end.
    ///
    /// # Errors
    /// Where the log begins later.
    pub fn blocks(&self, start: Option<Lsn>) -> Result<SegmentBlocks, Error> {
        let first = self.first_lsn();
        let name = self.files.first().map(|f| f.header.name.clone()).unwrap_or_default();
        match start {
            Some(start) if Lsn { slot: 1, ..start } < first => Err(Error::Gap {
                database: name,
                before: "the position to go on from".to_owned(),
                end: start,
                after: self.files.first().map(|f| f.file.path().display().to_string()).unwrap_or_default(),
                begin: first,
            }),
            _ => Ok(SegmentBlocks::new(name, self.live.clone(), start.unwrap_or(first), LogEnd::Found)),
        }
    }
}

fn foreign(file: &LogFile, other: &Path, binding: Guid) -> Error {
    Error::Foreign {
        path: file.file.path().to_owned(),
        other: other.to_owned(),
        why: format!("their binding GUIDs are {} and {binding}", file.binding_guid()),
    }
}

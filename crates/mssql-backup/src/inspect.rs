//! What a file is and what it holds, as far as it can be told: also of files that will be refused.

use std::path::PathBuf;

use logferry_model::Lsn;
use logferry_mssql_format::file_header::FileHeader;
use logferry_mssql_format::mtf::{COMPRESSED_MAGIC, DataFile};
use logferry_mssql_format::page::{PAGE_SIZE, verify};

use crate::error::Error;
use crate::input::InputFile;
use crate::log_blocks::LogBlocks;
use crate::log_file::{LogFile, LogFiles};
use crate::media::{Media, Survey, is_backup};
use crate::places::{AsPlace, Place};
use crate::set::{BackupSet, Guid, SetHeader};

/// A look at one file.
#[derive(Debug)]
pub struct Inspection {
    /// The file.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// What it is.
    pub contents: Contents,
    /// Why it will be refused, if it will, as far as its headers tell.
    pub error: Option<Error>,
}

/// What a file is.
#[derive(Debug)]
pub enum Contents {
    /// A backup file.
    Backup {
        /// The media set that it belongs to.
        media_set: Guid,
        /// Its number among the stripes, from 1.
        stripe: u16,
        /// Files of the media set.
        stripes: u16,
        /// The sets in it.
        sets: Vec<SetSummary>,
    },
    /// A backup `WITH COMPRESSION` of which nothing can be read: encrypted, damaged, or by another algorithm.
    CompressedBackup,
    /// A data file.
    Data(FileHeader),
    /// A log file.
    Log {
        /// Its header page.
        header: FileHeader,
        /// Virtual log files in it, and how many of them were ever used.
        vlfs: usize,
        /// See `vlfs`.
        vlfs_used: usize,
        /// First and last record that can be read.
        range: Option<(Lsn, Lsn)>,
    },
    /// Something else.
    Unknown,
}

/// A backup set in a file.
#[derive(Debug)]
pub struct SetSummary {
    /// Its number, from 1.
    pub number: u16,
    /// What the server says about it.
    pub header: SetHeader,
    /// The database's files.
    pub files: Vec<DataFile>,
    /// Bytes of pages that this file holds of it.
    pub page_bytes: u64,
    /// Bytes of log that this file holds of it.
    pub log_bytes: u64,
}

/// Looks at a file.
///
/// # Errors
/// Only where it cannot be read at all; what else is wrong with it is in [`Inspection::error`].
pub fn inspect(place: &(impl AsPlace + ?Sized)) -> Result<Inspection, Error> {
    let file = InputFile::open(place)?;
    let place = file.place();
    let mut head = [0u8; 8];
    let head = file.read_up_to(0, &mut head)?;
    let (contents, error) =
        if is_backup(head) { backup(place, head.starts_with(COMPRESSED_MAGIC))? } else { database_file(place, &file)? };
    Ok(Inspection { path: place.path().to_owned(), bytes: file.len(), contents, error })
}

fn backup(place: &Place, compressed: bool) -> Result<(Contents, Option<Error>), Error> {
    let Survey { media, error } = Media::survey(place)?;
    let Some(media) = media else {
        return Ok((if compressed { Contents::CompressedBackup } else { Contents::Unknown }, error));
    };
    // A lone stripe is sound in itself.
    let error = error.or_else(|| {
        let number = media.sets.first().map(|s| s.start.number);
        BackupSet::join(std::slice::from_ref(&media), number).err()
    });
    let sets = media
        .sets
        .iter()
        .map(|part| SetSummary {
            number: part.start.number,
            header: SetHeader::new(part),
            files: part.config.files.clone(),
            page_bytes: part.passes.iter().flatten().map(|e| e.len).sum(),
            log_bytes: part.log.iter().filter(|log| !log.extents.is_empty()).map(|log| log.piece.len()).sum(),
        })
        .collect();
    let tape = media.tape;
    Ok((Contents::Backup { media_set: Guid(tape.media_set), stripe: tape.stripe, stripes: tape.stripes, sets }, error))
}

fn database_file(place: &Place, file: &InputFile) -> Result<(Contents, Option<Error>), Error> {
    let wrong = |found: String| {
        let error = Error::WrongKind { path: place.path().to_owned(), expected: "file of SQL Server", found };
        Ok((Contents::Unknown, Some(error)))
    };
    let mut page = [0u8; PAGE_SIZE];
    if file.read_up_to(0, &mut page)?.len() < PAGE_SIZE {
        return wrong("it is shorter than a page".to_owned());
    }
    let damage = verify(&mut page).err().map(|e| file.damaged(0, e));
    let header = match FileHeader::read(&page) {
        Ok(header) => header,
        Err(e) => return wrong(e.to_string()),
    };
    match LogFile::open(place) {
        Ok(log) => {
            let vlfs_used = log.vlfs.iter().filter(|vlf| vlf.is_used()).count();
            let (range, error) = match log_range(place) {
                Ok(range) => (range, None),
                Err(e) => (None, Some(e)),
            };
            Ok((Contents::Log { header, vlfs: log.vlfs.len(), vlfs_used, range }, damage.or(error)))
        }
        // Log files belong to no filegroup; data files do.
        Err(e) if header.filegroup == 0 => {
            Ok((Contents::Log { header, vlfs: 0, vlfs_used: 0, range: None }, damage.or(Some(e))))
        }
        Err(_) => {
            let needed = u64::from(header.pages) * PAGE_SIZE as u64;
            let short = (needed > file.len()).then(|| file.cut_short("the data file", needed));
            Ok((Contents::Data(header), damage.or(short)))
        }
    }
}

/// First and last record of a log file.
fn log_range(place: &Place) -> Result<Option<(Lsn, Lsn)>, Error> {
    let mut blocks = LogFiles::open(&[place])?.blocks(None)?;
    let mut range = None;
    while let Some(block) = blocks.next_block()? {
        let first = block.header.first_lsn;
        let last = Lsn { slot: block.header.end_lsn().slot.saturating_sub(1), ..first };
        range = Some((range.map_or(first, |(first, _)| first), last));
    }
    Ok(range)
}

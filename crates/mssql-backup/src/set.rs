//! Backup sets: what one `BACKUP` statement wrote, over one file or several stripes.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use logferry_model::{Lineage, Lsn};
use logferry_mssql_format::mtf::{DataFile, FileKind};
use logferry_mssql_format::page::PAGE_SIZE;

use crate::error::Error;
use crate::input::InputFile;
use crate::log_blocks::LogBlocks;
use crate::log_segment::{LogEnd, LogSegment, SegmentBlocks};
use crate::media::{Media, SetPart};
use crate::pages::FileExtent;
use crate::places::AsPlace;
use crate::set_log;
use crate::set_pages::SetPages;

/// A GUID as it stands in files: the first three groups little-endian.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// Whether all is zero, which stands for "none".
    pub fn is_none(self) -> bool {
        self == Guid::default()
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a0, a1, a2, a3, b0, b1, c0, c1, d @ ..] = self.0;
        let (a, b, c) =
            (u32::from_le_bytes([a0, a1, a2, a3]), u16::from_le_bytes([b0, b1]), u16::from_le_bytes([c0, c1]));
        write!(f, "{a:08X}-{b:04X}-{c:04X}-")?;
        for (i, byte) in d.iter().enumerate() {
            write!(f, "{}{byte:02X}", if i == 2 { "-" } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a backup set holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackupKind {
    /// All pages, and the log that makes them consistent.
    Full,
    /// The pages changed since a full backup, and the log that makes them consistent.
    Differential,
    /// The log since the last log backup.
    Log,
    /// Some files or filegroups only: the letter that the server uses.
    Partial(char),
}

impl fmt::Display for BackupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackupKind::Full => f.pad("full"),
            BackupKind::Differential => f.pad("differential"),
            BackupKind::Log => f.pad("log"),
            BackupKind::Partial(_) => f.pad("partial"),
        }
    }
}

/// What the server wrote about a backup set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetHeader {
    /// What it holds.
    pub kind: BackupKind,
    /// `WITH COPY_ONLY`: no base of differentials.
    pub copy_only: bool,
    /// `WITH CHECKSUM`
    pub checksums: bool,
    /// A log backup that holds pages of minimally logged operations: their rows are not in the log.
    pub bulk_logged: bool,
    /// The database.
    pub database: String,
    /// The server.
    pub server: String,
    /// Version of the database: 611 is SQL Server 2005, see [`version_name`].
    pub version: u16,
    /// Version of the server: major, minor, build.
    pub server_version: (u8, u8, u16),
    /// First record in the log that the set holds (inclusive).
    pub first_lsn: Lsn,
    /// End of the log that the set holds (exclusive).
    pub last_lsn: Lsn,
    /// The checkpoint at its begin.
    pub checkpoint_lsn: Lsn,
    /// First LSN of the full backup before it; zero where there was none.
    pub database_backup_lsn: Lsn,
    /// When the database was made: microseconds since 2000-01-01 by the server's clock.
    pub created_us: Option<i64>,
    /// When the set was written, likewise.
    pub written_us: Option<i64>,
    /// This set.
    pub set_guid: Guid,
    /// The database's files: equal to the binding GUID of their header pages. A restore makes a new one.
    pub binding_guid: Guid,
    /// The recovery fork.
    pub fork_guid: Guid,
    /// Where that fork began, and the fork that it came from; zero where there was none before.
    pub fork_point: Lsn,
    /// See `fork_point`.
    pub parent_fork_guid: Guid,
    /// The family of all forks.
    pub family_guid: Guid,
    /// Of a differential: the full backup that it is based on. Of others: the last full backup before.
    pub base_guid: Guid,
}

impl SetHeader {
    /// Puts together what the file says of a set.
    pub fn new(part: &SetPart) -> Self {
        let SetPart { start, config, .. } = part;
        SetHeader {
            kind: match config.kind {
                b'D' => BackupKind::Full,
                b'I' => BackupKind::Differential,
                b'L' => BackupKind::Log,
                code => BackupKind::Partial(char::from(code)),
            },
            copy_only: start.copy_only() || config.copy_only(),
            checksums: config.has_checksums(),
            bulk_logged: config.has_bulk_logged_pages(),
            database: config.database.clone(),
            server: config.server.clone(),
            version: config.version,
            server_version: config.server_version,
            first_lsn: config.first_lsn,
            last_lsn: config.last_lsn,
            checkpoint_lsn: config.checkpoint_lsn,
            database_backup_lsn: config.database_backup_lsn,
            created_us: config.created_us,
            written_us: config.written_us,
            set_guid: Guid(start.set_guid),
            binding_guid: Guid(config.binding),
            fork_guid: Guid(config.fork),
            fork_point: config.fork_point,
            parent_fork_guid: Guid(config.parent_fork),
            family_guid: Guid(config.family),
            base_guid: Guid(config.base),
        }
    }

    /// The history that its LSNs belong to.
    pub fn lineage(&self) -> Lineage {
        Lineage { database: self.binding_guid.0, fork: self.fork_guid.0 }
    }
}

/// A backup set, all its stripes together.
#[derive(Clone, Debug)]
pub struct BackupSet {
    /// What the server says about it.
    pub header: SetHeader,
    /// Its number in its files, from 1.
    pub number: u16,
    /// The database's files at the time of the backup.
    pub files: Vec<DataFile>,
    /// By stripe.
    parts: Vec<(Arc<InputFile>, SetPart)>,
}

impl BackupSet {
    /// Opens a set of a backup file, or of all files of a striped one, given in any order; `number`: the set in the file,
    /// from 1. Without a number there must be only one.
    ///
    /// # Errors
    /// Where a stripe is missing or of another backup, the file is damaged, or there is no such set.
    pub fn open<P: AsPlace>(places: &[P], number: Option<u16>) -> Result<Self, Error> {
        let media = places.iter().map(Media::open).collect::<Result<Vec<_>, _>>()?;
        Self::join(&media, number)
    }

    /// Puts the stripes of a set together.
    pub fn join(media: &[Media], number: Option<u16>) -> Result<Self, Error> {
        let stripes = join_stripes(media)?;
        let Some(first) = stripes.first() else {
            return Err(Error::NoChain { database: String::new(), why: "no backup file was given".to_owned() });
        };
        let path = first.file.path();
        let none = |number| Error::NoSuchSet { path: path.to_owned(), number, sets: first.sets.len() as u32 };
        let number = match (number, first.sets.as_slice()) {
            (Some(number), _) => number,
            (None, [only]) => only.start.number,
            (None, sets) => return Err(Error::WhichSet { path: path.to_owned(), sets: sets.len() as u32 }),
        };
        let mut parts: Vec<(Arc<InputFile>, SetPart)> = Vec::new();
        for stripe in &stripes {
            let part = stripe.sets.iter().find(|s| s.start.number == number);
            let part = part.ok_or_else(|| none(number.into()))?.clone();
            if let Some((file, other)) = parts.first()
                && SetPart::set_guid(other) != part.set_guid()
            {
                return Err(Error::Foreign {
                    path: stripe.file.path().to_owned(),
                    other: file.path().to_owned(),
                    why: format!("backup set {number} is {} and {}", part.set_guid(), other.set_guid()),
                });
            }
            parts.push((Arc::clone(&stripe.file), part));
        }
        let Some((_, part)) = parts.first() else { return Err(none(number.into())) };
        Ok(BackupSet { header: SetHeader::new(part), number, files: part.config.files.clone(), parts })
    }

    /// The file of its first stripe, for messages.
    pub fn path(&self) -> &Path {
        self.parts.first().map_or(Path::new(""), |(file, _)| file.path())
    }

    /// Its files, by stripe.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().map(|(file, _)| file.path())
    }

    /// The database's data files: id and size at the time of the backup.
    pub fn data_files(&self) -> Vec<FileExtent> {
        let mut files: Vec<_> = (self.files.iter())
            .filter(|f| f.kind == FileKind::Data)
            .filter_map(|f| {
                let pages = u32::try_from(f.bytes / PAGE_SIZE as u64).unwrap_or(u32::MAX);
                Some(FileExtent { file: u16::try_from(f.id).ok()?, pages })
            })
            .collect();
        files.sort_by_key(|f| f.file);
        files
    }

    /// Finds out where the pages are. Reads a few pages of every run, not all.
    pub fn pages(&self) -> Result<SetPages, Error> {
        SetPages::build(self)
    }

    /// The log that the set holds.
    pub fn log_segments(&self) -> Result<Vec<LogSegment>, Error> {
        set_log::segments(self)
    }

    /// Reads the log that the set holds, from the block of `start` on.
    pub fn log(&self, start: Lsn) -> Result<SegmentBlocks, Error> {
        let end = LogEnd::At(self.header.last_lsn);
        Ok(SegmentBlocks::new(self.header.database.clone(), self.log_segments()?, start, end))
    }

    /// Reads the set once, pages and log, and checks all of it; gives the number of pages.
    pub fn verify(&self) -> Result<u64, Error> {
        let mut log = self.log(self.header.first_lsn)?;
        while let Some(block) = log.next_block()? {
            for record in block.records() {
                record?;
            }
        }
        self.pages()?.verify()
    }

    /// Refuses a set of another database or another recovery fork than `other`.
    pub fn same_history(&self, other: &BackupSet) -> Result<(), Error> {
        let foreign = |what: &str, one: Guid, two: Guid| {
            Err(Error::Foreign {
                path: self.path().to_owned(),
                other: other.path().to_owned(),
                why: format!("their {what} are {one} and {two}"),
            })
        };
        let (a, b) = (&self.header, &other.header);
        if a.binding_guid != b.binding_guid {
            return foreign("database GUIDs", a.binding_guid, b.binding_guid);
        }
        if a.fork_guid != b.fork_guid {
            return foreign("recovery forks", a.fork_guid, b.fork_guid);
        }
        Ok(())
    }

    /// Its parts, by stripe.
    pub(crate) fn parts(&self) -> &[(Arc<InputFile>, SetPart)] {
        &self.parts
    }
}

impl SetPart {
    fn set_guid(&self) -> Guid {
        Guid(self.start.set_guid)
    }
}

/// Puts the files of a media set in the order of their stripes.
fn join_stripes(media: &[Media]) -> Result<Vec<&Media>, Error> {
    let Some(first) = media.first() else { return Ok(Vec::new()) };
    let mut stripes: Vec<Option<&Media>> = vec![None; usize::from(first.tape.stripes)];
    for file in media {
        let foreign =
            |why| Error::Foreign { path: file.file.path().to_owned(), other: first.file.path().to_owned(), why };
        if file.tape.media_set != first.tape.media_set || file.tape.stripes != first.tape.stripes {
            let (one, other) = (Guid(file.tape.media_set), Guid(first.tape.media_set));
            return Err(foreign(format!("their media sets are {one} and {other}")));
        }
        let place = stripes.get_mut(usize::from(file.tape.stripe.saturating_sub(1)));
        match place {
            Some(place @ None) => *place = Some(file),
            // A copy of a stripe that is there.
            Some(Some(_)) => {}
            None => return Err(foreign(format!("it is stripe {} of {}", file.tape.stripe, file.tape.stripes))),
        }
    }
    let missing: Vec<u16> =
        (1..=u16::MAX).zip(&stripes).filter(|(_, file)| file.is_none()).map(|(number, _)| number).collect();
    if !missing.is_empty() {
        return Err(Error::MissingStripe {
            path: first.file.path().to_owned(),
            stripe: first.tape.stripe,
            stripes: first.tape.stripes,
            missing,
        });
    }
    Ok(stripes.into_iter().flatten().collect())
}

/// The product that made databases of a version.
pub fn version_name(version: u16) -> &'static str {
    match version {
        0..=538 => "before SQL Server 2000",
        539..=610 => "SQL Server 2000",
        611..=654 => "SQL Server 2005",
        655..=660 => "SQL Server 2008",
        661..=705 => "SQL Server 2008 R2",
        706..=781 => "SQL Server 2012",
        782..=851 => "SQL Server 2014",
        852..=868 => "SQL Server 2016",
        869..=903 => "SQL Server 2017",
        904..=956 => "SQL Server 2019",
        957..=997 => "SQL Server 2022",
        998..=1023 => "SQL Server 2025",
        _ => "a later SQL Server",
    }
}

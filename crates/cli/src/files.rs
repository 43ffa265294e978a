//! What a file is, by how it begins.

use logferry_mssql_backup::input::InputFile;
use logferry_mssql_backup::media::is_backup;
use logferry_mssql_backup::set::BackupSet;
use logferry_mssql_backup::{DataFiles, Error, PageSource, Place, Result};
use logferry_mssql_format::page::{PAGE_SIZE, PageType};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A backup, or a stripe of one.
    Backup,
    /// A data file.
    Data,
    /// A log file.
    Log,
    /// Something else.
    Other,
}

/// Looks at the begin of a file.
pub(crate) fn kind_of(place: &Place) -> Result<Kind> {
    let mut head = [0; PAGE_SIZE + 1];
    let head = InputFile::open(place)?.read_up_to(0, &mut head)?.to_vec();
    if is_backup(&head) {
        return Ok(Kind::Backup);
    }
    // Data and log files both begin with a file header page; in a log file the first VLF follows.
    let is_header = head.get(1) == Some(&PageType::FILE_HEADER.0);
    Ok(match (is_header, head.get(PAGE_SIZE)) {
        (true, Some(&VLF_SIGNATURE)) => Kind::Log,
        (true, _) => Kind::Data,
        _ => Kind::Other,
    })
}

/// The files as they are given, and of folders all those below them that are of SQL Server, in the order of their names.
pub(crate) fn with_folders(places: &[Place]) -> Result<Vec<Place>> {
    let mut files = Vec::new();
    for place in places {
        // What is named and is not there is told of as a file that cannot be read.
        let found = if place.is_folder()? { place.files()? } else { vec![place.clone()] };
        for file in found {
            if file == *place || kind_of(&file)? != Kind::Other {
                files.push(file);
            }
        }
    }
    Ok(files)
}

/// First byte of the header of a virtual log file.
const VLF_SIGNATURE: u8 = 0xAB;

/// Pages of data files or of a full backup, as they stand there.
pub(crate) fn open_pages(paths: &[Place], set: Option<u16>) -> Result<Box<dyn PageSource>> {
    let kinds = paths.iter().map(kind_of).collect::<Result<Vec<_>>>()?;
    match (paths, kinds.as_slice()) {
        ([path, ..], [Kind::Log | Kind::Other, ..]) => Err(Error::WrongKind {
            path: path.path().to_owned(),
            expected: "data file or backup",
            found: "it begins like neither".to_owned(),
        }),
        (_, [Kind::Backup, ..]) => Ok(Box::new(BackupSet::open(paths, set)?.pages()?)),
        _ => Ok(Box::new(DataFiles::open(paths)?)),
    }
}

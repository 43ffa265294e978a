//! What a file is, by how it begins.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use logferry_mssql_backup::media::is_backup;
use logferry_mssql_backup::set::BackupSet;
use logferry_mssql_backup::{DataFiles, Error, PageSource, Result};
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
pub(crate) fn kind_of(path: &Path) -> Result<Kind> {
    let failed = |source| Error::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut head = vec![0; PAGE_SIZE + 1];
    let mut len = 0;
    while len < head.len() {
        match file.read_at(&mut head[len..], len as u64).map_err(failed)? {
            0 => break,
            n => len += n,
        }
    }
    head.truncate(len);
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
pub(crate) fn with_folders(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut folders = vec![path.clone()];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            let failed = |source| Error::Io { path: folder.clone(), source };
            for entry in std::fs::read_dir(&folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                // Links are not followed: a folder could be below itself.
                let kind = entry.file_type().map_err(failed)?;
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() && kind_of(&entry.path())? != Kind::Other {
                    found.push(entry.path());
                }
            }
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

/// First byte of the header of a virtual log file.
const VLF_SIGNATURE: u8 = 0xAB;

/// Pages of data files or of a full backup, as they stand there.
pub(crate) fn open_pages(paths: &[PathBuf], set: Option<u16>) -> Result<Box<dyn PageSource>> {
    let kinds = paths.iter().map(|p| kind_of(p)).collect::<Result<Vec<_>>>()?;
    match (paths, kinds.as_slice()) {
        ([path, ..], [Kind::Log | Kind::Other, ..]) => Err(Error::WrongKind {
            path: path.clone(),
            expected: "data file or backup",
            found: "it begins like neither".to_owned(),
        }),
        (_, [Kind::Backup, ..]) => Ok(Box::new(BackupSet::open(paths, set)?.pages()?)),
        _ => Ok(Box::new(DataFiles::open(paths)?)),
    }
}

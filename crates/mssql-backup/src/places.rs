//! Where files are: on this machine, or in object storage. Whatever is read is found, listed and opened here; nobody else knows
//! the difference.

use std::cmp::Ordering;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use logferry_object_storage::{Entry, Location, Object, Store};

use crate::error::Error;
use crate::input::InputFile;
use crate::media::is_backup;

/// A file or a folder, here or in object storage. Places are the same if their paths are.
#[derive(Clone, Debug)]
pub struct Place {
    /// As it was given: a path of this machine, or `s3://bucket/key`.
    path: PathBuf,
    remote: Option<Remote>,
}

#[derive(Clone, Debug)]
struct Remote {
    store: Store,
    location: Location,
    /// What the store said of it, where it was listed.
    entry: Option<Entry>,
}

/// What can be given for a place: a path is one of this machine.
pub trait AsPlace {
    /// The place.
    fn place(&self) -> Place;
}

impl AsPlace for Place {
    fn place(&self) -> Place {
        self.clone()
    }
}

impl AsPlace for Path {
    fn place(&self) -> Place {
        Place::local(self)
    }
}

impl AsPlace for PathBuf {
    fn place(&self) -> Place {
        Place::local(self)
    }
}

impl<T: AsPlace + ?Sized> AsPlace for &T {
    fn place(&self) -> Place {
        (**self).place()
    }
}

/// A file's length, when it was written last, and what else tells one version of it from another.
pub(crate) type State = (u64, Option<SystemTime>, Option<String>);

impl Place {
    /// A path of this machine.
    pub fn local(path: impl Into<PathBuf>) -> Self {
        Place { path: path.into(), remote: None }
    }

    /// A path of this machine, or of a store where it says `s3://`.
    ///
    /// # Errors
    /// Where it is not of that form.
    pub fn of(path: &Path, store: &Store) -> Result<Self, Error> {
        match path.to_str().filter(|text| Location::is_one(text)) {
            None => Ok(Place::local(path)),
            Some(text) => {
                let location = Location::parse(text)?;
                let remote = Remote { store: store.clone(), location, entry: None };
                Ok(Place { path: path.to_owned(), remote: Some(remote) })
            }
        }
    }

    fn of_entry(store: &Store, entry: Entry) -> Self {
        let location = entry.location.clone();
        let path = PathBuf::from(location.to_string());
        Place { path, remote: Some(Remote { store: store.clone(), location, entry: Some(entry) }) }
    }

    /// Its path or URL.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is a folder of this machine, or is not known to be a single object.
    ///
    /// # Errors
    /// Where a store does not answer.
    pub fn is_folder(&self) -> Result<bool, Error> {
        match &self.remote {
            None => Ok(self.path.is_dir()),
            Some(remote) if remote.entry.is_some() => Ok(false),
            Some(remote) => Ok(remote.store.find(&remote.location)?.iter().all(|e| e.location != remote.location)),
        }
    }

    /// The file itself, or all files of a folder in the order of their names.
    ///
    /// # Errors
    /// Where there is nothing, or it cannot be read.
    pub fn files(&self) -> Result<Vec<Place>, Error> {
        let mut files = Vec::new();
        match &self.remote {
            None => match std::fs::metadata(&self.path) {
                Ok(meta) if meta.is_dir() => walk(&self.path, &mut files)?,
                Ok(_) => files.push(self.clone()),
                Err(source) => return Err(Error::Io { path: self.path.clone(), source }),
            },
            Some(remote) if remote.entry.is_some() => files.push(self.clone()),
            Some(remote) => {
                let found = remote.store.find(&remote.location)?;
                files.extend(found.into_iter().map(|entry| Place::of_entry(&remote.store, entry)));
            }
        }
        files.sort();
        Ok(files)
    }

    /// How the file is now; `None` where it is gone.
    pub(crate) fn state(&self) -> Option<State> {
        match &self.remote {
            None => std::fs::metadata(&self.path).ok().map(|meta| (meta.len(), meta.modified().ok(), None)),
            Some(Remote { entry: Some(entry), .. }) => Some((entry.len, entry.modified, entry.tag.clone())),
            Some(_) => None,
        }
    }

    pub(crate) fn open(&self) -> Result<Bytes, Error> {
        let failed = |source| Error::Io { path: self.path.clone(), source };
        Ok(match &self.remote {
            None => Bytes::File(File::open(&self.path).map_err(failed)?),
            Some(Remote { store, entry: Some(entry), .. }) => Bytes::Object(store.open_entry(entry.clone())),
            Some(Remote { store, location, .. }) => Bytes::Object(store.open(location)?),
        })
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for Place {}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.path.cmp(&other.path)
    }
}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.path.hash(state);
    }
}

/// The files as they are given, and of folders all backup files below them, each once.
///
/// # Errors
/// Where one cannot be read.
pub(crate) fn backup_files<P: AsPlace>(given: &[P]) -> Result<Vec<Place>, Error> {
    let mut files = Vec::new();
    for place in given.iter().map(AsPlace::place) {
        let found = place.files()?;
        let named = found.len() == 1 && found.first() == Some(&place);
        for file in found {
            let mut head = [0u8; 8];
            if named || is_backup(InputFile::open(&file)?.read_up_to(0, &mut head)?) {
                files.push(file);
            }
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// The files below a folder.
fn walk(folder: &Path, into: &mut Vec<Place>) -> Result<(), Error> {
    let failed = |source| Error::Io { path: folder.to_owned(), source };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // Links are not followed: a folder could be below itself.
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            walk(&entry.path(), into)?;
        } else if kind.is_file() {
            into.push(Place::local(entry.path()));
        }
    }
    Ok(())
}

/// The bytes of a file, by offset.
#[derive(Debug)]
pub(crate) enum Bytes {
    /// Of this machine.
    File(File),
    /// Of a store.
    Object(Object),
}

impl Bytes {
    pub fn len(&self, path: &Path) -> Result<u64, Error> {
        match self {
            Bytes::File(file) => {
                let meta = file.metadata();
                meta.map(|meta| meta.len()).map_err(|source| Error::Io { path: path.to_owned(), source })
            }
            Bytes::Object(object) => Ok(object.len()),
        }
    }

    /// Fills a buffer from an offset; there are so many bytes.
    pub fn read_exact(&self, path: &Path, offset: u64, into: &mut [u8]) -> Result<(), Error> {
        match self {
            Bytes::File(file) => {
                read_at(file, offset, into).map_err(|source| Error::Io { path: path.to_owned(), source })
            }
            Bytes::Object(object) => Ok(object.read_exact(offset, into)?),
        }
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

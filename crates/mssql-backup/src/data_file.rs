//! Data files: the `.mdf` and `.ndf` files of a database that no server has open.
//!
//! A file is its pages, one after the other. Page 0 says which database and which file it is, so files may be given in
//! any order and under any name.

use std::path::{Path, PathBuf};

use logferry_mssql_format::bytes::Malformed;
use logferry_mssql_format::file_header::FileHeader;
use logferry_mssql_format::page::{PAGE_SIZE, PageBytes, PageId, verify};

use crate::error::{Error, Result};
use crate::input::InputFile;
use crate::pages::{FileExtent, PageSource};
use crate::places::AsPlace;
use crate::set::Guid;

/// The data files of a database.
#[derive(Debug)]
pub struct DataFiles {
    files: Vec<DataFile>,
}

/// One data file.
#[derive(Debug)]
pub struct DataFile {
    file: InputFile,
    header: FileHeader,
    pages: u32,
}

impl DataFiles {
    /// Opens the files of one database.
    ///
    /// # Errors
    /// Where one is no data file, or belongs to another database, or where two are the same file of the database, or the primary
    /// one (file 1) is not among them.
    pub fn open<P: AsPlace>(paths: &[P]) -> Result<Self> {
        let mut files = paths.iter().map(DataFile::open).collect::<Result<Vec<_>>>()?;
        files.sort_by_key(|file| file.header.file);
        let Some(first) = files.first() else {
            let why = "no data file was given".to_owned();
            return Err(Error::WrongKind { path: PathBuf::new(), expected: "data file", found: why });
        };
        for other in &files {
            if other.header.binding_guid != first.header.binding_guid {
                let (a, b) = (Guid(other.header.binding_guid), Guid(first.header.binding_guid));
                let why = format!("its binding id is {a}, the other's {b}");
                return Err(Error::Foreign { path: other.path().to_owned(), other: first.path().to_owned(), why });
            }
        }
        if let Some([a, b]) = files.array_windows().find(|[a, b]| a.header.file == b.header.file) {
            let why = format!("both are file {} of the database", a.header.file);
            return Err(Error::Foreign { path: b.path().to_owned(), other: a.path().to_owned(), why });
        }
        if first.header.file != 1 {
            let found = format!("file {} of its database; the primary file (.mdf) is missing", first.header.file);
            return Err(Error::WrongKind { path: first.path().to_owned(), expected: "primary data file", found });
        }
        Ok(DataFiles { files })
    }

    /// The files, in the order of their ids.
    pub fn data_files(&self) -> &[DataFile] {
        &self.files
    }

    /// The same in all files of the database, log files too.
    pub fn binding_guid(&self) -> Guid {
        self.files.first().map_or(Guid::default(), |file| Guid(file.header.binding_guid))
    }
}

impl DataFile {
    fn open(place: &impl AsPlace) -> Result<Self> {
        let file = InputFile::open(place)?;
        let (path, len) = (file.path(), file.len());
        let wrong = |found: String| Error::WrongKind { path: path.to_owned(), expected: "data file", found };
        if len < 10 * PAGE_SIZE as u64 {
            return Err(wrong(format!("it has {len} bytes only")));
        }
        let mut page = [0; PAGE_SIZE];
        file.read_exact(0, &mut page, "the file header")?;
        let header = verify(&mut page).and_then(|()| FileHeader::read(&page)).map_err(|e| wrong(e.to_string()))?;
        if header.filegroup == 0 {
            return Err(wrong("it is a log file".to_owned()));
        }
        let pages = u32::try_from(len / PAGE_SIZE as u64).map_err(|_| wrong("it is larger than 32 TiB".to_owned()))?;
        if pages < header.pages {
            return Err(Error::CutShort {
                path: path.to_owned(),
                what: format!("file {} of {} pages", header.file, header.pages),
                needed: u64::from(header.pages) * PAGE_SIZE as u64,
                len,
            });
        }
        Ok(DataFile { file, header, pages })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// What it says of itself.
    pub fn header(&self) -> &FileHeader {
        &self.header
    }
}

impl PageSource for DataFiles {
    fn read_page(&self, id: PageId, into: &mut PageBytes) -> Result<()> {
        let Some(file) = self.files.iter().find(|file| file.header.file == id.file && id.page < file.pages) else {
            into.fill(0);
            return Ok(());
        };
        let offset = u64::from(id.page) * PAGE_SIZE as u64;
        file.file.read_exact(offset, into, "a page")?;
        let bad = |source| Error::Page { path: file.path().to_owned(), page: id, source };
        verify(into).map_err(bad)?;
        let found = PageId::read(into, 32, "page id").map_err(bad)?;
        if into.get(1) != Some(&0) && found != id {
            return Err(bad(Malformed::new(format!("it says that it is page {found}"), 32)));
        }
        Ok(())
    }

    fn files(&self) -> Vec<FileExtent> {
        self.files.iter().map(|file| FileExtent { file: file.header.file, pages: file.pages }).collect()
    }
}

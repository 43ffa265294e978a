//! Where pages come from: data files, backup sets, and the page store with the changes of the log on top.

use std::sync::Arc;

use logferry_mssql_format::page::{PageBytes, PageId};

use crate::error::Error;

/// A file of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileExtent {
    /// File of the database, from 1.
    pub file: u16,
    /// Size in pages.
    pub pages: u32,
}

/// The pages of a database.
pub trait PageSource: Send + Sync {
    /// Reads a verified page. Pages outside the files, or never written, are all zeroes.
    ///
    /// # Errors
    /// Where the page cannot be read, or its checksum or torn bits are wrong: names file and page.
    fn read_page(&self, id: PageId, into: &mut PageBytes) -> Result<(), Error>;

    /// The data files, in the order of their ids.
    fn files(&self) -> Vec<FileExtent>;
}

impl<T: PageSource + ?Sized> PageSource for &T {
    fn read_page(&self, id: PageId, into: &mut PageBytes) -> Result<(), Error> {
        (**self).read_page(id, into)
    }

    fn files(&self) -> Vec<FileExtent> {
        (**self).files()
    }
}

impl<T: PageSource + ?Sized> PageSource for Arc<T> {
    fn read_page(&self, id: PageId, into: &mut PageBytes) -> Result<(), Error> {
        (**self).read_page(id, into)
    }

    fn files(&self) -> Vec<FileExtent> {
        (**self).files()
    }
}

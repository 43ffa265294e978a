//! The file header, page 0 of each data and log file: one row whose variable columns say what the file is.
//!
//! The columns are known by their position: 0 binding GUID (the same in all files of a database), 2 file id, 3 filegroup id (0 for
//! logs), 4 size in pages, 15 sector size, 23 file GUID, 27 logical name. Observed on 2005 to 2019; a file made on SQL Server 2000 has no more
//! than 22.

use crate::boot::utf16;
use crate::bytes::{Malformed, Result, array, u16_at, u32_at};
use crate::page::{Page, PageBytes, PageType};
use crate::row::FixedVar;

/// What a file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// The same in all files of a database.
    pub binding_guid: [u8; 16],
    /// File of the database, from 1.
    pub file: u16,
    /// Filegroup, from 1; 0 for a log file.
    pub filegroup: u16,
    /// Size in pages.
    pub pages: u32,
    /// Of the disk that it was made on.
    pub sector_size: Option<u32>,
    /// This file.
    pub file_guid: Option<[u8; 16]>,
    /// Logical name, where it is kept here.
    pub name: String,
}

impl FileHeader {
    /// Reads the verified page.
    pub fn read(bytes: &PageBytes) -> Result<Self> {
        Self::read_inner(bytes).map_err(|e| e.within("file header"))
    }

    fn read_inner(bytes: &PageBytes) -> Result<Self> {
        let page = Page::read(bytes)?;
        if page.header.page_type != PageType::FILE_HEADER {
            let found = page.header.page_type.0;
            return Err(Malformed::new(format!("page type is {found}, not {}", PageType::FILE_HEADER.0), 1));
        }
        let row = page.row_bytes(0)?.ok_or_else(|| Malformed::new("the page has no row", 0))?;
        let row = FixedVar::read(row)?;
        let column = |index| row.variable(index).map(|value| value.map_or(&[][..], |v| v.bytes));
        Ok(FileHeader {
            binding_guid: array(column(0)?, 0, "binding GUID")?,
            file: u16_at(column(2)?, 0, "file id")?,
            filegroup: u16_at(column(3)?, 0, "filegroup id")?,
            pages: u32_at(column(4)?, 0, "file size")?,
            sector_size: u32_at(column(15)?, 0, "sector size").ok(),
            file_guid: array(column(23)?, 0, "file GUID").ok(),
            name: utf16(column(27)?),
        })
    }
}

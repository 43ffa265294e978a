//! The boot page, 1:9: where everything else is found from.
//!
//! One record at byte 96, never moved; offsets are from its begin. Observed on 2005 to 2025.

use logferry_model::{Collation, Lsn};

use crate::bytes::{Malformed, Result, lsn_at, slice, u16_at, u32_at};
use crate::page::{HEADER_SIZE, Page, PageBytes, PageId, PageType};

/// Where the boot page is.
pub const BOOT_PAGE: PageId = PageId::new(1, 9);

/// What the boot page says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Version of the database: 611 is SQL Server 2005.
    pub version: u16,
    /// Version that it was made with; 539 is SQL Server 2000.
    pub create_version: u16,
    /// Name of the database.
    pub name: String,
    /// Begin of the last checkpoint.
    pub checkpoint_lsn: Lsn,
    /// Default collation.
    pub collation: Collation,
    /// First page of `sysallocunits`.
    pub first_sysallocunits: PageId,
}

impl Boot {
    /// Reads the verified page.
    pub fn read(bytes: &PageBytes) -> Result<Self> {
        Self::read_inner(bytes).map_err(|e| e.within("boot page 1:9"))
    }

    fn read_inner(bytes: &PageBytes) -> Result<Self> {
        let page = Page::read(bytes)?;
        if page.header.page_type != PageType::BOOT {
            return Err(Malformed::new(
                format!("page type is {}, not {}", page.header.page_type.0, PageType::BOOT.0),
                1,
            ));
        }
        let record = slice(bytes, HEADER_SIZE, 1024, "boot record")?;
        let name = slice(record, 52, 256, "database name")?;
        Ok(Boot {
            version: u16_at(record, 4, "database version")?,
            create_version: u16_at(record, 6, "create version")?,
            // Padded with bytes 0x20, two of which make a dagger.
            name: utf16(name).trim_end_matches([' ', '\u{2020}', '\0']).to_owned(),
            checkpoint_lsn: lsn_at(record, 348, "checkpoint LSN")?,
            collation: Collation(u32_at(record, 392, "collation")?),
            first_sysallocunits: PageId::read(record, 516, "first page of sysallocunits")?,
        })
    }
}

/// UTF-16 text; lone surrogates become U+FFFD.
pub(crate) fn utf16(bytes: &[u8]) -> String {
    let units = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

//! One cell of SQL Server's storage form to PostgreSQL's binary form. Every function appends to a buffer that the
//! whole row shares, and leaves what it appended to the caller to throw away where it fails.

use crate::error::CellError;

pub(crate) mod clock;
pub(crate) mod code_page;
pub(crate) mod number;
pub(crate) mod structured;
pub(crate) mod text;
pub(crate) mod variant;

/// The largest value that PostgreSQL holds: 1 GiB less one byte, with the four bytes of its own header.
pub(crate) const FIELD_BYTES_MAX: usize = 0x3fff_ffff - 4;

/// That a value can fit into a field of PostgreSQL, before it is written there.
pub(crate) fn within_limit(bytes: usize) -> Result<(), CellError> {
    if bytes > FIELD_BYTES_MAX { Err(CellError::TooLarge { bytes }) } else { Ok(()) }
}

/// For the result of `write!` into a buffer.
fn written(result: std::io::Result<()>) {
    result.expect("writing to a Vec cannot fail");
}

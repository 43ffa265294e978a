//! One cell of SQL Server's storage form to PostgreSQL's binary form. Every function appends to a buffer that the
//! whole row shares, and leaves what it appended to the caller to throw away where it fails.

pub(crate) mod clock;
pub(crate) mod code_page;
pub(crate) mod number;
pub(crate) mod text;
pub(crate) mod variant;

/// The largest value that PostgreSQL holds: 1 GiB less one byte, with the four bytes of its own header.
pub(crate) const FIELD_BYTES_MAX: usize = 0x3fff_ffff - 4;

/// For the result of `write!` into a buffer.
fn written(result: std::io::Result<()>) {
    result.expect("writing to a Vec cannot fail");
}

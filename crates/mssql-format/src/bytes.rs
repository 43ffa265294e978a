//! Reading numbers out of bytes that may be anything: every access is checked, and a failure says what was
//! being read and where.

use std::fmt;

use logferry_model::Lsn;

/// Bytes that are not what they should be. Callers add the file, page or LSN with [`Malformed::within`].
///
/// One word long, so that results with it are small: nearly all of them are values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(Box<Report>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Report {
    what: String,
    offset: usize,
    within: Vec<String>,
}

impl Malformed {
    /// `what` was wrong at `offset` bytes from the start of the structure being read.
    #[cold]
    pub fn new(what: impl Into<String>, offset: usize) -> Self {
        Malformed(Box::new(Report { what: what.into(), offset, within: Vec::new() }))
    }

    /// Names what the structure is part of: `page 1:45`, `record 00000014:00000061:0001`.
    #[cold]
    pub fn within(mut self, outer: impl fmt::Display) -> Self {
        self.0.within.push(outer.to_string());
        self
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for outer in self.0.within.iter().rev() {
            write!(f, "{outer}: ")?;
        }
        write!(f, "{} (at byte {})", self.0.what, self.0.offset)
    }
}

impl std::error::Error for Malformed {}

/// What reading bytes gives.
pub type Result<T, E = Malformed> = std::result::Result<T, E>;

/// `len` bytes at `offset`.
#[inline]
pub fn slice<'a>(data: &'a [u8], offset: usize, len: usize, what: &'static str) -> Result<&'a [u8]> {
    match offset.checked_add(len).and_then(|end| data.get(offset..end)) {
        Some(bytes) => Ok(bytes),
        None => Err(short(data, offset, len, what)),
    }
}

/// `N` bytes at `offset`.
#[inline]
pub fn array<const N: usize>(data: &[u8], offset: usize, what: &'static str) -> Result<[u8; N]> {
    match data.get(offset..).and_then(|rest| rest.first_chunk::<N>()) {
        Some(bytes) => Ok(*bytes),
        None => Err(short(data, offset, N, what)),
    }
}

#[cold]
#[inline(never)]
fn short(data: &[u8], offset: usize, len: usize, what: &'static str) -> Malformed {
    Malformed::new(format!("{what}: {len} bytes wanted, {} there", data.len().saturating_sub(offset)), offset)
}

/// The byte at `offset`.
#[inline]
pub fn u8_at(data: &[u8], offset: usize, what: &'static str) -> Result<u8> {
    array::<1>(data, offset, what).map(|[b]| b)
}

/// The little-endian number at `offset`.
#[inline]
pub fn u16_at(data: &[u8], offset: usize, what: &'static str) -> Result<u16> {
    array(data, offset, what).map(u16::from_le_bytes)
}

/// The little-endian number at `offset`.
#[inline]
pub fn u32_at(data: &[u8], offset: usize, what: &'static str) -> Result<u32> {
    array(data, offset, what).map(u32::from_le_bytes)
}

/// The little-endian number at `offset`.
#[inline]
pub fn u64_at(data: &[u8], offset: usize, what: &'static str) -> Result<u64> {
    array(data, offset, what).map(u64::from_le_bytes)
}

/// The LSN at `offset`, in the form of pages and log records.
#[inline]
pub fn lsn_at(data: &[u8], offset: usize, what: &'static str) -> Result<Lsn> {
    array(data, offset, what).map(Lsn::from_le_bytes)
}

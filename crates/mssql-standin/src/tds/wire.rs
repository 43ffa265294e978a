//! Numbers and strings of TDS, out of bytes that may be anything and into a growing buffer.

use logferry_mssql_format::bytes::{Malformed, Result, array, slice};

/// Reads from the front. Every access is checked; a failure says what was being read and where.
pub(super) struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Reader { data, at: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.data.len()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.data.get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.data.get(self.at).copied()
    }

    pub(super) fn fail<T>(&self, what: impl Into<String>) -> Result<T> {
        Err(Malformed::new(what, self.at))
    }

    pub(super) fn bytes(&mut self, len: usize, what: &'static str) -> Result<&'a [u8]> {
        let bytes = slice(self.data, self.at, len, what)?;
        self.at = self.at.saturating_add(len);
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let bytes = array(self.data, self.at, what)?;
        self.at = self.at.saturating_add(N);
        Ok(bytes)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8> {
        self.array::<1>(what).map(|[b]| b)
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16> {
        self.array(what).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// `B_VARCHAR`: a byte with the number of UTF-16 units, then those.
    pub(super) fn short_text(&mut self, what: &'static str) -> Result<String> {
        let units = self.u8(what)?;
        self.text(usize::from(units), what)
    }

    /// `US_VARCHAR`: two bytes with the number of UTF-16 units, then those.
    pub(super) fn long_text(&mut self, what: &'static str) -> Result<String> {
        let units = self.u16(what)?;
        self.text(usize::from(units), what)
    }

    pub(super) fn text(&mut self, units: usize, what: &'static str) -> Result<String> {
        Ok(utf16(self.bytes(units.saturating_mul(2), what)?))
    }
}

/// The text of UTF-16LE bytes; lone surrogates become U+FFFD.
pub(super) fn utf16(bytes: &[u8]) -> String {
    let units = bytes.as_chunks::<2>().0.iter().map(|&pair| u16::from_le_bytes(pair));
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Appends the UTF-16LE bytes of a text and gives the number of units.
pub(super) fn put_utf16(text: &str, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    for unit in text.encode_utf16() {
        out.extend_from_slice(&unit.to_le_bytes());
    }
    (out.len() - start) / 2
}

/// Appends a `B_VARCHAR`. What does not fit is cut at 255 units.
pub(super) fn put_short_text(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(0);
    let units = put_utf16(text, out).min(0xFF);
    out.truncate(start + 1 + 2 * units);
    out[start] = units as u8;
}

/// Appends a `US_VARCHAR`. What does not fit is cut at 65,535 units.
pub(super) fn put_long_text(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0, 0]);
    let units = put_utf16(text, out).min(0xFFFF);
    out.truncate(start + 2 + 2 * units);
    out[start..start + 2].copy_from_slice(&(units as u16).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_and_are_cut_where_their_length_ends() {
        for (text, expect) in [("", 0), ("aß€😀", 5), (&*"x".repeat(300), 255)] {
            let mut out = Vec::new();
            put_short_text(text, &mut out);
            let back = Reader::new(&out).short_text("a name").unwrap();
            assert_eq!(back.encode_utf16().count(), expect);
            assert!(text.starts_with(&back));
            out.clear();
            put_long_text(text, &mut out);
            assert_eq!(Reader::new(&out).long_text("a text").unwrap(), text);
        }
    }
}

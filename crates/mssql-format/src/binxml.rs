//! `xml`: binary XML to text.
//!
//! ```text
//! DF FF   version 1 or 2   B0 04 (UTF-16)   tokens
//!
//! F0 text                      a name; counted from 1, 0 is the empty one
//! EF uri, prefix, local name   a qualified name, of three names; counted from 1
//! F8 name                      an element begins; then, if it has attributes:  ( F6 name  values )*  F5
//! F7                           it ends
//! F4 name text, F3 text        processing instruction, comment
//! F2 text, F1                  a piece of a CDATA section, its end
//! 01 ... 8C                    values
//! FE version FD encoding u8    XML declaration; it is left out, as SQL Server leaves it out
//! EA length bytes, E9          an extension, to be skipped; all names are forgotten
//! ```
//!
//! Numbers are of 7 bits per byte, lowest first, the top bit says that more come; text is a number of UTF-16 units and the units. Namespace
//! declarations are attributes like others. What surprises: text is stored as values (`nvarchar`), and typed XML has values of
//! SQL's and XML Schema's types, which are written here as XML Schema writes them, `double` with the fewest digits that give it back.
//!
//! [MS-BINXML]; what it leaves open as .NET's reader of it has it. No file at hand has an `xml` column with values.
//! DTDs, nested documents and text that is to be parsed are refused: SQL Server does not keep them.
//!
//! [MS-BINXML]: https://learn.microsoft.com/openspecs/sql_server_protocols/ms-binxml/

mod value;

use crate::bytes::{Malformed, Result, slice, u8_at};

const SIGNATURE: [u8; 2] = [0xDF, 0xFF];
const UTF_16: [u8; 2] = [0xB0, 0x04];
/// Short references to long names must not make more text than a value can have.
const TEXT_MAX: usize = 1 << 30;

/// Whether bytes are binary XML: text in UTF-16 cannot begin like it.
pub fn is_binary(bytes: &[u8]) -> bool {
    bytes.starts_with(&SIGNATURE)
}

/// Appends the text of an `xml` value, in UTF-8.
///
/// # Errors
/// Where it is malformed, or has what SQL Server does not store.
pub fn text(bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    // An empty value has no header.
    if bytes.is_empty() {
        return Ok(());
    }
    let version = u8_at(bytes, 2, "version of binary XML")?;
    if !is_binary(bytes) || !matches!(version, 1 | 2) {
        return Err(Malformed::new("not binary XML of version 1 or 2", 0));
    }
    let mut reader = Reader { bytes, at: 3, names: vec![&[]], qualified: vec![Name::default()], start: out.len() };
    // Documents without anything may end here.
    if slice(bytes, 3, 2, "encoding").is_ok_and(|encoding| encoding == UTF_16) {
        reader.at = 5;
    }
    reader.document(out)
}

#[derive(Clone, Copy, Default)]
struct Name {
    prefix: u32,
    local: u32,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// UTF-16
    names: Vec<&'a [u8]>,
    qualified: Vec<Name>,
    start: usize,
}

/// Where in the text the next token goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Content,
    /// In a start tag, behind its name or an attribute.
    Tag,
    /// In the value of an attribute.
    Attribute,
}

impl<'a> Reader<'a> {
    fn document(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let mut open: Vec<u32> = Vec::new();
        let mut place = Place::Content;
        let mut in_cdata = false;
        // Values that are not text are a list if they follow each other.
        let mut after_value = false;
        while let Some(&token) = self.bytes.get(self.at) {
            let at = self.at;
            self.at += 1;
            if out.len() - self.start > TEXT_MAX {
                return Err(Malformed::new("XML of more than 1 GiB", at));
            }
            let list = std::mem::take(&mut after_value);
            match token {
                0xF0 => {
                    let name = self.units()?;
                    self.names.push(name);
                }
                0xEF => {
                    let _uri = self.name()?;
                    let name = Name { prefix: self.name()?, local: self.name()? };
                    self.qualified.push(name);
                }
                0xF8 => {
                    self.close(&mut place, out)?;
                    let name = self.qualified_name()?;
                    out.push(b'<');
                    self.write_name(name, out)?;
                    open.push(name);
                    place = Place::Tag;
                }
                0xF7 => {
                    let name = open.pop().ok_or_else(|| Malformed::new("an element ends that did not begin", at))?;
                    match place {
                        Place::Content => {
                            out.extend_from_slice(b"</");
                            self.write_name(name, out)?;
                            out.push(b'>');
                        }
                        Place::Tag => out.extend_from_slice(b"/>"),
                        Place::Attribute => return Err(Malformed::new("an element ends inside of its attributes", at)),
                    }
                    place = Place::Content;
                }
                0xF6 => {
                    match place {
                        Place::Content => return Err(Malformed::new("an attribute outside of a tag", at)),
                        Place::Tag => {}
                        Place::Attribute => out.push(b'"'),
                    }
                    let name = self.qualified_name()?;
                    out.push(b' ');
                    self.write_name(name, out)?;
                    out.extend_from_slice(b"=\"");
                    place = Place::Attribute;
                }
                0xF5 => {
                    match place {
                        Place::Attribute => out.push(b'"'),
                        Place::Tag => {}
                        Place::Content => return Err(Malformed::new("attributes end outside of a tag", at)),
                    }
                    place = Place::Tag;
                }
                0xF4 => {
                    self.close(&mut place, out)?;
                    let name = self.name()?;
                    out.extend_from_slice(b"<?");
                    self.write_part(name, out)?;
                    let text = self.units()?;
                    if !text.is_empty() {
                        out.push(b' ');
                        plain(text, out)?;
                    }
                    out.extend_from_slice(b"?>");
                }
                0xF3 => {
                    self.close(&mut place, out)?;
                    out.extend_from_slice(b"<!--");
                    plain(self.units()?, out)?;
                    out.extend_from_slice(b"-->");
                }
                0xF2 => {
                    self.close(&mut place, out)?;
                    if !in_cdata {
                        out.extend_from_slice(b"<![CDATA[");
                    }
                    in_cdata = true;
                    plain(self.units()?, out)?;
                    continue;
                }
                0xF1 if in_cdata => {
                    out.extend_from_slice(b"]]>");
                    in_cdata = false;
                }
                0xFE => {
                    let _version = self.units()?;
                    if self.bytes.get(self.at) == Some(&0xFD) {
                        self.at += 1;
                        let _encoding = self.units()?;
                    }
                    self.take(1, "standalone")?;
                }
                0xEA => {
                    let len = self.number()?;
                    self.take(len, "extension")?;
                }
                0xE9 => {
                    self.names.truncate(1);
                    self.qualified.truncate(1);
                    if !open.is_empty() {
                        return Err(Malformed::new("names are forgotten inside of an element", at));
                    }
                }
                0x01..=0x8C => {
                    if place == Place::Tag {
                        self.close(&mut place, out)?;
                    }
                    let is_text = value::is_text(token);
                    if list && !is_text {
                        out.push(b' ');
                    }
                    after_value = !is_text;
                    if token == value::QNAME {
                        let name = self.qualified_name()?;
                        self.write_name(name, out)?;
                    } else {
                        let bytes = value::of(self, token)?;
                        value::write(token, bytes, place == Place::Attribute, out)
                            .map_err(|e| e.within(format_args!("at byte {at}")))?;
                    }
                }
                other => return Err(Malformed::new(format!("binary XML has the token {other:#04x}"), at)),
            }
            if in_cdata {
                return Err(Malformed::new("a CDATA section does not end", at));
            }
        }
        if !open.is_empty() || place != Place::Content || in_cdata {
            return Err(Malformed::new("an element does not end", self.at));
        }
        Ok(())
    }

    /// Ends a start tag that content follows.
    fn close(&self, place: &mut Place, out: &mut Vec<u8>) -> Result<()> {
        match place {
            Place::Content => {}
            Place::Tag => out.push(b'>'),
            Place::Attribute => return Err(Malformed::new("attributes do not end", self.at)),
        }
        *place = Place::Content;
        Ok(())
    }

    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8]> {
        let taken = slice(self.bytes, self.at, len, what)?;
        self.at += len;
        Ok(taken)
    }

    fn number(&mut self) -> Result<usize> {
        let mut number = 0usize;
        for shift in [0, 7, 14, 21, 28] {
            let byte = usize::from(u8_at(self.bytes, self.at, "number")?);
            self.at += 1;
            number |= (byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed::new("a number has more than five bytes", self.at))
    }

    /// Text: UTF-16.
    fn units(&mut self) -> Result<&'a [u8]> {
        let units = self.number()?;
        self.take(units.saturating_mul(2), "text")
    }

    fn name(&mut self) -> Result<u32> {
        let number = self.number()?;
        u32::try_from(number)
            .ok()
            .filter(|_| number < self.names.len())
            .ok_or_else(|| Malformed::new(format!("there is no name {number}"), self.at))
    }

    fn qualified_name(&mut self) -> Result<u32> {
        let number = self.number()?;
        u32::try_from(number)
            .ok()
            .filter(|_| number != 0 && number < self.qualified.len())
            .ok_or_else(|| Malformed::new(format!("there is no qualified name {number}"), self.at))
    }

    fn write_name(&self, name: u32, out: &mut Vec<u8>) -> Result<()> {
        let name = self.qualified.get(name as usize).copied().unwrap_or_default();
        if name.prefix != 0 && self.names.get(name.prefix as usize).is_some_and(|prefix| !prefix.is_empty()) {
            self.write_part(name.prefix, out)?;
            out.push(b':');
        }
        self.write_part(name.local, out)
    }

    fn write_part(&self, name: u32, out: &mut Vec<u8>) -> Result<()> {
        plain(self.names.get(name as usize).copied().unwrap_or_default(), out)
    }
}

/// UTF-16 as it is.
fn plain(units: &[u8], out: &mut Vec<u8>) -> Result<()> {
    characters(units, |character| {
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    })
}

fn characters(units: &[u8], mut each: impl FnMut(char)) -> Result<()> {
    let units = units.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
    for character in char::decode_utf16(units) {
        each(character.map_err(|_| Malformed::new("text has half a character", 0))?);
    }
    Ok(())
}

#[cfg(test)]
mod tests;

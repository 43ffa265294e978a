//! UTF-16 to UTF-8, and what becomes of characters that PostgreSQL's text cannot hold.
//!
//! Most text is ASCII. The fast path copies the low bytes and gathers, in the same pass and without a branch, whether
//! that was right; only where it was not is the text decoded character by character.
//!
//! Lone surrogates are legal in `nvarchar` and a NUL is legal in any text; neither is in PostgreSQL.

use crate::encode::within_limit;
use crate::error::CellError;
use crate::settings::{InvalidText, NulCharacter};

/// U+FFFD in UTF-8.
pub(crate) const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// How text is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextRules {
    pub(crate) nul: NulCharacter,
    pub(crate) invalid: InvalidText,
    /// Whether trailing spaces are padding, to be cut off.
    pub(crate) trim: bool,
}

/// What was changed in a value; added up per column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// Something that is no text became U+FFFD.
    pub(crate) replaced: bool,
    /// A NUL was left out or became U+FFFD.
    pub(crate) nul: bool,
    /// A digit of a second was lost.
    pub(crate) rounded: bool,
}

impl Changed {
    pub(crate) fn any(self) -> bool {
        self.replaced || self.nul || self.rounded
    }
}

impl TextRules {
    /// What is to stand for a NUL.
    pub(crate) fn nul(self, changed: &mut Changed) -> Result<&'static [u8], CellError> {
        changed.nul = true;
        match self.nul {
            NulCharacter::Error => Err(CellError::Nul),
            NulCharacter::Remove => Ok(&[]),
            NulCharacter::Replace => Ok(REPLACEMENT),
        }
    }

    /// What is to stand for something that is no text.
    pub(crate) fn invalid(self, changed: &mut Changed) -> Result<&'static [u8], CellError> {
        changed.replaced = true;
        match self.invalid {
            InvalidText::Error => Err(CellError::InvalidText),
            InvalidText::Replace => Ok(REPLACEMENT),
        }
    }
}

/// UTF-16LE (`nchar`, `nvarchar`, `ntext`) to UTF-8.
pub(crate) fn utf16(cell: &[u8], rules: TextRules, out: &mut Vec<u8>) -> Result<Changed, CellError> {
    let mut cell = cell;
    if rules.trim {
        while let [rest @ .., b' ', 0] = cell {
            cell = rest;
        }
    }
    let start = out.len();
    let units = cell.len() / 2;
    out.resize(start + units, 0);
    let (mut high, mut low, mut zero) = (cell.len() as u8 & 1, 0, false);
    for (to, unit) in out[start..].iter_mut().zip(cell.chunks_exact(2)) {
        *to = unit[0];
        low |= unit[0];
        high |= unit[1];
        zero |= unit[0] == 0;
    }
    if high == 0 && low < 0x80 && !zero {
        return Ok(Changed::default());
    }
    out.truncate(start);
    utf16_by_character(cell, rules, out)
}

fn utf16_by_character(cell: &[u8], rules: TextRules, out: &mut Vec<u8>) -> Result<Changed, CellError> {
    let mut changed = Changed::default();
    let (units, odd) = cell.as_chunks::<2>();
    let mut text = Writer::new(out);
    let mut units = units.iter().map(|&unit| u16::from_le_bytes(unit)).peekable();
    while let Some(unit) = units.next() {
        match unit {
            0 => text.bytes(rules.nul(&mut changed)?)?,
            0x01..=0x7f => text.encoded([unit as u8, 0, 0, 0], 1)?,
            0x80..=0x7ff => text.encoded([0xc0 | (unit >> 6) as u8, tail(unit), 0, 0], 2)?,
            0xd800..=0xdfff => {
                let pair = units.peek().and_then(|&low| char::decode_utf16([unit, low]).next()?.ok());
                match pair {
                    Some(character) => {
                        units.next();
                        let mut bytes = [0; 4];
                        character.encode_utf8(&mut bytes);
                        text.encoded(bytes, 4)?;
                    }
                    None => text.bytes(rules.invalid(&mut changed)?)?,
                }
            }
            _ => text.encoded([0xe0 | (unit >> 12) as u8, tail(unit >> 6), tail(unit), 0], 3)?,
        }
    }
    if !odd.is_empty() {
        text.bytes(rules.invalid(&mut changed)?)?;
    }
    text.finish();
    Ok(changed)
}

/// The last six bits as a byte that continues a character of UTF-8.
fn tail(unit: u16) -> u8 {
    0x80 | (unit & 0x3f) as u8
}

/// Appends characters by writing four bytes and going on by as many as the character has, which is several times
/// as fast as pushing bytes.
pub(crate) struct Writer<'v> {
    out: &'v mut Vec<u8>,
    start: usize,
    at: usize,
}

impl<'v> Writer<'v> {
    /// Appends to `out`; what is behind the text written is undefined until [`finish`](Self::finish).
    pub(crate) fn new(out: &'v mut Vec<u8>) -> Self {
        let start = out.len();
        Writer { out, start, at: start }
    }

    /// Appends the first `len` of four bytes.
    #[inline]
    pub(crate) fn encoded(&mut self, bytes: [u8; 4], len: usize) -> Result<(), CellError> {
        loop {
            if let Some(to) = self.out.get_mut(self.at..).and_then(|to| to.first_chunk_mut::<4>()) {
                *to = bytes;
                self.at += len;
                return Ok(());
            }
            self.grow()?;
        }
    }

    /// Appends at most four bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), CellError> {
        let mut four = [0; 4];
        four[..bytes.len()].copy_from_slice(bytes);
        self.encoded(four, bytes.len())
    }

    /// Ends the text.
    pub(crate) fn finish(self) {
        self.out.truncate(self.at);
    }

    #[cold]
    fn grow(&mut self) -> Result<(), CellError> {
        let written = self.at - self.start;
        within_limit(written)?;
        self.out.resize(self.at + written.clamp(128, 1 << 16), 0);
        Ok(())
    }
}

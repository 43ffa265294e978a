//! UTF-16 to UTF-8, and what becomes of characters that PostgreSQL's text cannot hold.
//!
//! Most text is ASCII. The fast path copies the low bytes and gathers, in the same pass and without a branch, whether
//! that was right; only where it was not is the text decoded character by character.
//!
//! Lone surrogates are legal in `nvarchar` and a NUL is legal in any text; neither is in PostgreSQL.

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
    /// Appends what is to stand for a NUL.
    pub(crate) fn nul(self, out: &mut Vec<u8>, changed: &mut Changed) -> Result<(), CellError> {
        match self.nul {
            NulCharacter::Error => return Err(CellError::Nul),
            NulCharacter::Remove => {}
            NulCharacter::Replace => out.extend_from_slice(REPLACEMENT),
        }
        changed.nul = true;
        Ok(())
    }

    /// Appends what is to stand for something that is no text.
    pub(crate) fn invalid(self, out: &mut Vec<u8>, changed: &mut Changed) -> Result<(), CellError> {
        match self.invalid {
            InvalidText::Error => return Err(CellError::InvalidText),
            InvalidText::Replace => out.extend_from_slice(REPLACEMENT),
        }
        changed.replaced = true;
        Ok(())
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
    out.reserve(cell.len() / 2 * 3);
    let (pairs, odd) = cell.as_chunks::<2>();
    let units = pairs.iter().map(|&pair| u16::from_le_bytes(pair));
    for character in char::decode_utf16(units) {
        match character {
            Ok('\0') => rules.nul(out, &mut changed)?,
            Ok(character) => push(character, out),
            Err(_) => rules.invalid(out, &mut changed)?,
        }
    }
    if !odd.is_empty() {
        rules.invalid(out, &mut changed)?;
    }
    Ok(changed)
}

/// Appends a character in UTF-8.
pub(crate) fn push(character: char, out: &mut Vec<u8>) {
    if character.is_ascii() {
        out.push(character as u8);
    } else {
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

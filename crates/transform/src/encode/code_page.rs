//! Text in a code page to UTF-8.
//!
//! Three kinds of decoders: none (UTF-8 and ASCII are only checked), a table of 128 characters for the pages of one
//! byte per character, `encoding_rs` for those of two. Its tables were compared with those of Windows: no code of
//! 1250-1258, 874 and 949 differs, 936 has more codes than Windows, 932 lacks four single bytes that are added here.
//! Of 950 the users' own characters, and one more, are decoded here: `Big5` has others there.

use std::sync::OnceLock;

use encoding_rs::{DecoderResult, Encoding};
use logferry_mssql_format::collation::{CP437, CP850, own_of_950};

use crate::encode::text::{Changed, TextRules, Writer};
use crate::encode::within_limit;
use crate::error::CellError;

/// Decodes the bytes of one column.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Decoder {
    /// A collation that is not known: ASCII can be told, everything else cannot.
    AsciiOnly,
    Utf8,
    SingleByte(&'static Table),
    MultiByte(&'static Encoding),
    /// Big5 as Windows has it.
    Cp950,
}

impl Decoder {
    /// The decoder of a Windows or OEM code page.
    pub(crate) fn of(code_page: u16) -> Option<Decoder> {
        Some(match code_page {
            932 => Decoder::MultiByte(encoding_rs::SHIFT_JIS),
            936 => Decoder::MultiByte(encoding_rs::GBK),
            949 => Decoder::MultiByte(encoding_rs::EUC_KR),
            950 => Decoder::Cp950,
            _ => {
                let (_, table, source) = SINGLE_BYTE.iter().find(|(number, ..)| *number == code_page)?;
                Decoder::SingleByte(table.get_or_init(|| source.table()))
            }
        })
    }

    /// Appends the text of a cell in UTF-8.
    pub(crate) fn decode(&self, cell: &[u8], rules: TextRules, out: &mut Vec<u8>) -> Result<Changed, CellError> {
        let mut cell = cell;
        if rules.trim {
            // No code page here uses 0x20 as the second byte of a character.
            while let [rest @ .., b' '] = cell {
                cell = rest;
            }
        }
        if cell.is_ascii() && !cell.contains(&0) {
            out.extend_from_slice(cell);
            return Ok(Changed::default());
        }
        let mut changed = Changed::default();
        match self {
            Decoder::AsciiOnly => {
                for &byte in cell {
                    match byte {
                        0 => out.extend_from_slice(rules.nul(&mut changed)?),
                        0x01..=0x7f => out.push(byte),
                        _ => out.extend_from_slice(rules.invalid(&mut changed)?),
                    }
                }
            }
            Decoder::Utf8 => {
                for chunk in cell.utf8_chunks() {
                    without_nul(chunk.valid().as_bytes(), rules, out, &mut changed)?;
                    if !chunk.invalid().is_empty() {
                        out.extend_from_slice(rules.invalid(&mut changed)?);
                    }
                }
            }
            Decoder::SingleByte(table) => {
                let mut text = Writer::new(out);
                for &byte in cell {
                    let [len, utf8 @ ..] = table[usize::from(byte)];
                    match (len, byte) {
                        (0, 0) => text.bytes(rules.nul(&mut changed)?)?,
                        (0, _) => text.bytes(rules.invalid(&mut changed)?)?,
                        (len, _) => text.encoded(utf8, usize::from(len))?,
                    }
                }
                text.finish();
            }
            Decoder::MultiByte(encoding) => multi_byte(encoding, cell, rules, out, &mut changed)?,
            Decoder::Cp950 => cp950(cell, rules, out, &mut changed)?,
        }
        Ok(changed)
    }
}

fn multi_byte(
    encoding: &'static Encoding,
    cell: &[u8],
    rules: TextRules,
    out: &mut Vec<u8>,
    changed: &mut Changed,
) -> Result<(), CellError> {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let start = out.len();
    let mut rest = cell;
    let mut text = [0; 512];
    loop {
        let (result, read, written) = decoder.decode_to_utf8_without_replacement(rest, &mut text, true);
        within_limit(out.len() - start)?;
        without_nul(&text[..written], rules, out, changed)?;
        let (done, tail) = rest.split_at(read);
        rest = tail;
        match result {
            DecoderResult::InputEmpty => return Ok(()),
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(bytes, after) => {
                let end = done.len().saturating_sub(usize::from(after));
                let bad = &done[end.saturating_sub(usize::from(bytes))..end];
                match single_byte_of_932(encoding, bad) {
                    Some(character) => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
                    None => out.extend_from_slice(rules.invalid(changed)?),
                }
            }
        }
    }
}

fn cp950(cell: &[u8], rules: TextRules, out: &mut Vec<u8>, changed: &mut Changed) -> Result<(), CellError> {
    // What is decoded as everywhere, and not yet.
    let mut plain = 0;
    let mut at = 0;
    while let Some(rest) = cell.get(at..).filter(|rest| !rest.is_empty()) {
        let (len, own) = match *rest {
            [0x80, ..] => (1, Some('\u{80}')),
            [0xFF, ..] => (1, Some('\u{f8f8}')),
            [lead @ 0x81..=0xFE, trail @ (0x40..=0x7E | 0x80..), ..] => {
                (2, own_of_950(u16::from_be_bytes([lead, trail])))
            }
            _ => (1, None),
        };
        if let Some(character) = own {
            multi_byte(encoding_rs::BIG5, &cell[plain..at], rules, out, changed)?;
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            plain = at + len;
        }
        at += len;
    }
    multi_byte(encoding_rs::BIG5, &cell[plain..], rules, out, changed)
}

/// Bytes that Windows decodes alone and the Shift_JIS of the web does not.
fn single_byte_of_932(encoding: &'static Encoding, bytes: &[u8]) -> Option<char> {
    match bytes {
        _ if encoding != encoding_rs::SHIFT_JIS => None,
        [0xa0] => Some('\u{a0}'),
        [0xfd] => Some('\u{f8f1}'),
        [0xfe] => Some('\u{f8f2}'),
        [0xff] => Some('\u{f8f3}'),
        _ => None,
    }
}

/// Appends valid UTF-8 after treating its NULs.
fn without_nul(text: &[u8], rules: TextRules, out: &mut Vec<u8>, changed: &mut Changed) -> Result<(), CellError> {
    let mut parts = text.split(|&byte| byte == 0);
    if let Some(first) = parts.next() {
        out.extend_from_slice(first);
    }
    for part in parts {
        out.extend_from_slice(rules.nul(changed)?);
        out.extend_from_slice(part);
    }
    Ok(())
}

/// What the characters of a code page of one byte are taken from.
enum Source {
    Text(&'static str),
    Encoding(&'static Encoding),
}

/// Of each byte the length of its character in UTF-8, and the character. The length is 0 where there is none, and
/// for NUL.
type Table = [[u8; 5]; 256];

impl Source {
    fn table(&self) -> Table {
        let mut table = [[0; 5]; 256];
        for (byte, entry) in (1..=0xff_u8).zip(&mut table[1..]) {
            let character = match (self, byte.checked_sub(0x80)) {
                (_, None) => Some(char::from(byte)),
                (Source::Text(text), Some(at)) => text.chars().nth(at.into()),
                (Source::Encoding(encoding), _) => encoding
                    .decode_without_bom_handling_and_without_replacement(&[byte])
                    .and_then(|text| text.chars().next()),
            };
            if let Some(character) = character {
                let [len, utf8 @ ..] = entry;
                *len = character.encode_utf8(utf8).len() as u8;
            }
        }
        table
    }
}

static SINGLE_BYTE: [(u16, OnceLock<Table>, Source); 12] = [
    (437, OnceLock::new(), Source::Text(CP437)),
    (850, OnceLock::new(), Source::Text(CP850)),
    (874, OnceLock::new(), Source::Encoding(encoding_rs::WINDOWS_874)),
    (1250, OnceLock::new(), Source::Encoding(encoding_rs::WINDOWS_1250)),
    (1251, OnceLock::new(), Source::Encoding(encoding_rs::WINDOWS_1251)),
    (1252, OnceLock::new(), Source::Encoding(encoding_rs::WINDOWS_1252)),
    (1253, OnceLock::new(), Source::Encoding(encoding_rs::WINDOWS_1253)),
    (1254, OnceLock::new(), Source::Encoding(encoding_rs::WINDOWS_1254)),
    (1255, OnceLock::new(), Source::Encoding(encoding_rs::WINDOWS_1255)),
    (1256, OnceLock::new(), Source::Encoding(encoding_rs::WINDOWS_1256)),
    (1257, OnceLock::new(), Source::Encoding(encoding_rs::WINDOWS_1257)),
    (1258, OnceLock::new(), Source::Encoding(encoding_rs::WINDOWS_1258)),
];

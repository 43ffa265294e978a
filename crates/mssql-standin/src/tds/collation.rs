//! Collations as TDS sends them.
//!
//! Five bytes, where the storage engine has a 32-bit id with an index of locales of its own
//! (`logferry_mssql_format::collation` has its bits):
//!
//! ```text
//!  u32, little-endian                                                       u8
//! ├ 31-28 version ┤ 27 ┤ 26 UTF-8 ┤ 25 BIN2 ┤ 24 BIN ┤ 23-20 W K A C ┤ 19-0 LCID ┤ sort id ┤
//! ```
//!
//! Source: MS-TDS 2.2.5.1.2. `SQL_Latin1_General_CP1_CI_AS`, `0x3400d008` in storage, is `09 04 d0 00 34`, as every client's trace shows.
//!
//! Two indexes of locales may share an LCID (`Japanese` and `Japanese_90`); on the way back the version of the collation
//! chooses between them where it can, else the first is taken. It matters to nobody: the code page is the same.

use logferry_model::Collation;

/// The default of a server in the United States: `SQL_Latin1_General_CP1_CI_AS`.
pub const LATIN1_GENERAL: Collation = Collation(0x3400_d008);

/// The five bytes.
pub(crate) fn to_wire(collation: Collation) -> [u8; 5] {
    let id = collation.0;
    let bit = |from: u32, to: u32| (id >> from & 1) << to;
    let flags = bit(12, 20) | bit(13, 21) | bit(14, 22) | bit(15, 23) | bit(16, 24) | bit(11, 25) | bit(7, 26);
    let version = (id >> 17 & 3) << 28;
    let lcid = LOCALES.iter().find(|(index, _)| *index == id & 0x7F).map_or(0x0409, |(_, lcid)| *lcid);
    let [a, b, c, d] = (lcid | flags | version).to_le_bytes();
    [a, b, c, d, (id >> 24) as u8]
}

/// The storage engine's id. Five zero bytes, which clients send who know of no collation, give [`LATIN1_GENERAL`].
pub(super) fn from_wire([a, b, c, d, sort_id]: [u8; 5]) -> Collation {
    let wire = u32::from_le_bytes([a, b, c, d]);
    let lcid = wire & 0xF_FFFF;
    let bit = |from: u32, to: u32| (wire >> from & 1) << to;
    let flags = bit(20, 12) | bit(21, 13) | bit(22, 14) | bit(23, 15) | bit(24, 16) | bit(25, 11) | bit(26, 7);
    let version = wire >> 28 & 3;
    let mut indexes = LOCALES.iter().filter(|(_, of)| *of == lcid).map(|(index, _)| *index);
    let first = indexes.next();
    let index = if version == 0 { first } else { indexes.next_back().or(first) };
    match index {
        Some(index) => Collation(u32::from(sort_id) << 24 | version << 17 | flags | index),
        None => LATIN1_GENERAL,
    }
}

/// Index of the locale in storage, and its LCID.
const LOCALES: [(u32, u32); 93] = [
    (0x01, 0x0401),  // Arabic
    (0x02, 0x048C),  // Dari
    (0x03, 0x0404),  // Chinese_Taiwan_Stroke
    (0x04, 0x0405),  // Czech
    (0x05, 0x0406),  // Danish_Norwegian
    (0x06, 0x0485),  // Yakut
    (0x07, 0x0408),  // Greek
    (0x08, 0x0409),  // Latin1_General
    (0x09, 0x040A),  // Traditional_Spanish
    (0x0A, 0x040B),  // Finnish_Swedish
    (0x0B, 0x040C),  // French
    (0x0C, 0x040D),  // Hebrew
    (0x0D, 0x040E),  // Hungarian
    (0x0E, 0x040F),  // Icelandic
    (0x0F, 0x0483),  // Corsican
    (0x10, 0x0411),  // Japanese
    (0x11, 0x0412),  // Korean_Wansung
    (0x12, 0x0481),  // Maori
    (0x13, 0x0415),  // Polish
    (0x14, 0x0418),  // Romanian
    (0x15, 0x0419),  // Cyrillic_General
    (0x16, 0x041A),  // Croatian
    (0x17, 0x041B),  // Slovak
    (0x18, 0x041C),  // Albanian
    (0x19, 0x041E),  // Thai
    (0x1A, 0x041F),  // Turkish
    (0x1B, 0x0422),  // Ukrainian
    (0x1C, 0x0424),  // Slovenian
    (0x1D, 0x0425),  // Estonian
    (0x1E, 0x0426),  // Latvian
    (0x1F, 0x0427),  // Lithuanian
    (0x20, 0x042A),  // Vietnamese
    (0x24, 0x0804),  // Chinese_PRC
    (0x25, 0x0480),  // Uighur
    (0x26, 0x047E),  // Breton
    (0x28, 0x0C0A),  // Modern_Spanish
    (0x29, 0x10407), // German_PhoneBook
    (0x2A, 0x1040E), // Hungarian_Technical
    (0x2B, 0x10411), // Japanese_Unicode
    (0x2D, 0x10437), // Georgian_Modern_Sort
    (0x2E, 0x20804), // Chinese_PRC_Stroke
    (0x2F, 0x30404), // Chinese_Taiwan_Bopomofo
    (0x30, 0x0411),  // Japanese_90
    (0x31, 0x0804),  // Chinese_PRC_90
    (0x32, 0x20804), // Chinese_PRC_Stroke_90
    (0x33, 0x0404),  // Chinese_Taiwan_Stroke_90
    (0x34, 0x30404), // Chinese_Taiwan_Bopomofo_90
    (0x35, 0x0439),  // Indic_General
    (0x37, 0x043F),  // Kazakh
    (0x38, 0x0443),  // Uzbek_Latin
    (0x39, 0x0444),  // Tatar
    (0x3A, 0x042F),  // Macedonian_FYROM
    (0x3B, 0x045A),  // Syriac
    (0x3C, 0x0465),  // Divehi
    (0x3E, 0x0C04),  // Chinese_Hong_Kong_Stroke
    (0x3F, 0x047C),  // Mohawk
    (0x40, 0x0412),  // Korean_90
    (0x41, 0x0404),  // Chinese_Traditional_Stroke_Count
    (0x42, 0x30404), // Chinese_Traditional_Bopomofo
    (0x43, 0x0804),  // Chinese_Simplified_Pinyin
    (0x44, 0x20804), // Chinese_Simplified_Stroke_Order
    (0x45, 0x1404),  // Chinese_Traditional_Pinyin
    (0x46, 0x21404), // Chinese_Traditional_Stroke_Order
    (0x47, 0x0406),  // Danish_Greenlandic
    (0x48, 0x0411),  // Japanese_XJIS
    (0x49, 0x40411), // Japanese_Bushu_Kakusu
    (0x4A, 0x0414),  // Norwegian
    (0x4B, 0x0417),  // Romansh
    (0x4C, 0x081A),  // Serbian_Latin
    (0x4D, 0x0C1A),  // Serbian_Cyrillic
    (0x4E, 0x141A),  // Bosnian_Latin
    (0x4F, 0x201A),  // Bosnian_Cyrillic
    (0x50, 0x0420),  // Urdu
    (0x51, 0x0429),  // Persian
    (0x52, 0x047A),  // Mapudungan
    (0x53, 0x042E),  // Upper_Sorbian
    (0x54, 0x046D),  // Bashkir
    (0x55, 0x043A),  // Maltese
    (0x56, 0x043B),  // Sami_Norway
    (0x57, 0x083B),  // Sami_Sweden_Finland
    (0x58, 0x0442),  // Turkmen
    (0x59, 0x0445),  // Bengali
    (0x5A, 0x044D),  // Assamese
    (0x5B, 0x0463),  // Pashto
    (0x5C, 0x0451),  // Tibetan
    (0x5D, 0x0452),  // Welsh
    (0x5E, 0x0453),  // Khmer
    (0x5F, 0x0454),  // Lao
    (0x60, 0x0462),  // Frisian
    (0x61, 0x085F),  // Tamazight
    (0x62, 0x0461),  // Nepali
    (0x63, 0x042C),  // Azeri_Latin
    (0x64, 0x082C),  // Azeri_Cyrillic
];

#[cfg(test)]
mod tests {
    use logferry_mssql_format::collation::code_page;

    use super::*;

    #[track_caller]
    fn check(id: u32, wire: [u8; 5]) {
        assert_eq!(to_wire(Collation(id)), wire, "{id:#x}");
        assert_eq!(from_wire(wire), Collation(id), "{wire:x?}");
    }

    #[test]
    fn known_collations() {
        check(0x3400_d008, [0x09, 0x04, 0xD0, 0x00, 0x34]); // SQL_Latin1_General_CP1_CI_AS
        check(0x0000_d008, [0x09, 0x04, 0xD0, 0x00, 0x00]); // Latin1_General_CI_AS
        check(0x0004_d008, [0x09, 0x04, 0xD0, 0x20, 0x00]); // Latin1_General_100_CI_AS
        check(0x0000_d01a, [0x1F, 0x04, 0xD0, 0x00, 0x00]); // Turkish_CI_AS
        check(0x0000_d02e, [0x04, 0x08, 0xD2, 0x00, 0x00]); // Chinese_PRC_Stroke_CI_AS
        check(0x0004_0888, [0x09, 0x04, 0x00, 0x26, 0x00]); // Latin1_General_100_BIN2_UTF8
        assert_eq!(from_wire([0; 5]), LATIN1_GENERAL);
    }

    #[test]
    fn code_page_survives_both_ways() {
        for (index, _) in LOCALES {
            for version in 0..4 {
                let id = Collation(index & 0x7F | version << 17 | 0xD000);
                if code_page(id).is_some() {
                    assert_eq!(code_page(from_wire(to_wire(id))), code_page(id), "{id:x?}");
                }
            }
        }
    }
}

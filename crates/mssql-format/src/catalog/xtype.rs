//! Codes of types, `sys.types.system_type_id`, and their lengths.

/// `decimal`
pub const DECIMAL: u8 = 106;
/// `numeric`
pub const NUMERIC: u8 = 108;
/// `time`
pub const TIME: u8 = 41;
/// `datetime2`
pub const DATETIME2: u8 = 42;
/// `datetimeoffset`
pub const DATETIMEOFFSET: u8 = 43;

/// Bytes of a value in the fixed part of a row; `None` for types that are never there.
pub fn fixed_len(xtype: u8, length: u16, precision: u8, scale: u8) -> Option<u16> {
    Some(match xtype {
        48 | 104 => 1,
        52 => 2,
        40 => 3,
        56 | 58 | 59 | 122 => 4,
        60 | 61 | 62 | 127 | 189 => 8,
        36 => 16,
        DECIMAL | NUMERIC => decimal_len(precision),
        TIME => time_len(scale),
        DATETIME2 => time_len(scale) + 3,
        DATETIMEOFFSET => time_len(scale) + 5,
        173 | 175 | 239 => length,
        _ => return None,
    })
}

fn time_len(scale: u8) -> u16 {
    match scale {
        0..=2 => 3,
        3 | 4 => 4,
        _ => 5,
    }
}

/// Bytes of a decimal: its sign, and a magnitude that its precision decides.
pub(super) fn decimal_len(precision: u8) -> u16 {
    match precision {
        0..=9 => 5,
        10..=19 => 9,
        20..=28 => 13,
        _ => 17,
    }
}

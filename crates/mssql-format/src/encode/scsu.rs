//! Text to compressed text.

use crate::scsu::DYNAMIC;

/// UTF-16LE as a compressed row stores it: as a stream of odd length where that is shorter, else as it is.
pub fn compress_unicode(utf16: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut windows = DYNAMIC;
    let (mut active, mut next) = (0usize, 0usize);
    for unit in utf16.as_chunks::<2>().0 {
        let code = u32::from(u16::from_le_bytes(*unit));
        let within = |window: u32| (window..window + 0x80).contains(&code);
        match code {
            0 | 9 | 10 | 13 | 0x20..=0x7F => out.push(code as u8),
            _ if within(windows[active]) => out.push((code - windows[active]) as u8 | 0x80),
            _ => match windows.iter().position(|&window| within(window)) {
                Some(n) => {
                    out.extend([0x10 + n as u8, (code - windows[n]) as u8 | 0x80]);
                    active = n;
                }
                None if (0x80..0x3380).contains(&code) => {
                    // Windows 0 stays: its bytes are those of Latin-1.
                    next = next % 7 + 1;
                    active = next;
                    windows[active] = code / 0x80 * 0x80;
                    out.extend([0x18 + active as u8, (code / 0x80) as u8, (code % 0x80) as u8 | 0x80]);
                }
                None => out.extend([0x0E, (code >> 8) as u8, code as u8]),
            },
        }
    }
    if out.len().is_multiple_of(2) && !out.is_empty() {
        out.push(0x10);
    }
    if out.len() < utf16.len() { out } else { utf16.to_vec() }
}

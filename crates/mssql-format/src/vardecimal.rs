//! Decimals of variable length: `decimal` and `numeric` in compressed rows, and in tables with the vardecimal storage
//! format of 2005 SP2.
//!
//! ```text
//! 0      sign (bit 7, 1: not negative), exponent + 64
//! 1 ...  the digits, three by three in 10 bits, most significant first; zero bytes at the end are not stored
//! ```
//!
//! The first group has no zero in front: the point stands behind its first digit. So 1.00 is `C0 19`: positive, exponent 0, digits 100.
//! Zero is a value without bytes. (Published by Mark Rasmussen, <http://improve.dk/how-are-vardecimals-stored/>, and Microsoft's
//! storage engine team; no file at hand has such a column with rows.)

use crate::bytes::{Malformed, Result};

/// Appends a cell of `decimal(precision, scale)`: sign, and the magnitude in `len - 1` bytes.
///
/// # Errors
/// Where the bytes are no such number, or the number does not fit into the type.
pub fn expand(stored: &[u8], precision: u8, scale: u8, len: usize, out: &mut Vec<u8>) -> Result<()> {
    let Some((&head, digits)) = stored.split_first() else {
        out.push(1);
        out.resize(out.len() + len.saturating_sub(1), 0);
        return Ok(());
    };
    let bad = |what: &str| Malformed::new(format!("a decimal({precision},{scale}) of variable length {what}"), 0);
    // 38 digits are 13 groups, 130 bits: what is longer is none.
    if digits.is_empty() || digits.len() > 17 {
        return Err(bad("has no digits, or too many"));
    }
    let (mut number, mut count, mut bits, mut held) = (0u128, 0i32, 0u32, 0u32);
    let mut groups = 0;
    let mut group = |value: u32| -> Result<()> {
        if value > 999 || groups == 0 && value < 100 {
            return Err(bad("has a group of digits that is none"));
        }
        groups += 1;
        // Zeroes at the end are padding, which need not fit.
        let mut divisor = 100;
        while divisor > 0 {
            let digit = value / divisor % 10;
            number = match number.checked_mul(10).and_then(|n| n.checked_add(u128::from(digit))) {
                Some(n) => n,
                None if value.is_multiple_of(divisor * 10) => return Ok(()),
                None => return Err(bad("has too many digits")),
            };
            count += 1;
            divisor /= 10;
        }
        Ok(())
    };
    for &byte in digits {
        held = held << 8 | u32::from(byte);
        bits += 8;
        if bits >= 10 {
            bits -= 10;
            group(held >> bits & 0x3FF)?;
            held &= (1 << bits) - 1;
        }
    }
    if bits > 0 && held != 0 {
        group(held << (10 - bits) & 0x3FF)?;
    }
    // number * 10^(exponent - count + 1) is the value, and the magnitude counts units of 10^-scale.
    let exponent = i32::from(head & 0x7F) - 64;
    let shift = exponent - count + 1 + i32::from(scale);
    for _ in 0..shift.unsigned_abs().min(80) {
        number = if shift >= 0 {
            number.checked_mul(10).ok_or_else(|| bad("is too large"))?
        } else if number % 10 == 0 {
            number / 10
        } else {
            return Err(bad("has more digits after the point than its type"));
        };
    }
    if number >= 10u128.checked_pow(u32::from(precision)).unwrap_or(u128::MAX) {
        return Err(bad("has more digits than its type"));
    }
    let magnitude = number.to_le_bytes();
    let (magnitude, rest) = magnitude.split_at_checked(len.saturating_sub(1)).ok_or_else(|| bad("is too long"))?;
    if rest.iter().any(|&b| b != 0) {
        return Err(bad("does not fit"));
    }
    out.push(head >> 7);
    out.extend_from_slice(magnitude);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::expand;

    fn check(stored: &[u8], precision: u8, scale: u8, expect: i128) {
        let len = match precision {
            0..=9 => 5,
            10..=19 => 9,
            20..=28 => 13,
            _ => 17,
        };
        let mut out = Vec::new();
        expand(stored, precision, scale, len, &mut out).unwrap();
        let mut le = [0; 16];
        le[..len - 1].copy_from_slice(&out[1..]);
        let number = i128::try_from(u128::from_le_bytes(le)).unwrap();
        assert_eq!(if out[0] == 1 { number } else { -number }, expect, "{stored:02x?}");
        assert_eq!(out.len(), len);
    }

    #[test]
    fn numbers_that_were_published() {
        // 1.00, in Microsoft's own description of the format.
        check(&[0xC0, 0x19], 5, 2, 100);
        check(&[], 5, 2, 0);
        // 12.3, 12345 and -1: by the rule.
        check(&[0xC1, 0b0001_1110, 0b1100_0000], 18, 4, 123_000);
        check(&[0x40, 0x19], 11, 3, -1000);
        check(&[0xC4, 0b0001_1110, 0b1101_1100, 0b0010_0000], 5, 0, 12345);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for stored in [&[0xC0][..], &[0xC0, 0xFF, 0xFF], &[0xC0, 0, 1], &[0xFF, 0x19], &[0x80, 0x19], &[0xC3, 0x19]] {
            assert!(expand(stored, 5, 2, 5, &mut Vec::new()).is_err(), "{stored:02x?}");
        }
    }
}

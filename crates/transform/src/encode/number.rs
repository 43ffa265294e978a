//! Integers, floats, money, `decimal` and `uniqueidentifier`.
//!
//! `numeric` on the wire is what `numeric_send` writes: four i16 (number of digits, weight of the first, sign, digits
//! after the point as shown), then digits to base 10,000. The digits are those of the value with its point moved to a
//! multiple of four places, and neither begin nor end with a zero digit; the bytes are equal to PostgreSQL's own.

use crate::error::CellError;

/// The cell as `N` bytes.
pub(crate) fn fixed<const N: usize>(cell: &[u8]) -> Result<[u8; N], CellError> {
    cell.try_into().map_err(|_| CellError::Length { found: cell.len() })
}

/// `bit` to `boolean`.
pub(crate) fn boolean(cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    let [bit] = fixed(cell)?;
    if bit > 1 {
        return Err(CellError::Range("a bit"));
    }
    out.push(bit);
    Ok(())
}

/// `tinyint`, which has no sign, to `smallint`.
pub(crate) fn tinyint(cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    let [byte] = fixed(cell)?;
    out.extend_from_slice(&[0, byte]);
    Ok(())
}

/// `N` bytes in the other order: integers and floats.
pub(crate) fn reversed<const N: usize>(cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    let mut bytes = fixed::<N>(cell)?;
    bytes.reverse();
    out.extend_from_slice(&bytes);
    Ok(())
}

/// `uniqueidentifier` to `uuid`: the first three groups are little-endian.
pub(crate) fn uuid(cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    let [a, b, c, d, e, f, g, h, rest @ ..] = fixed::<16>(cell)?;
    out.extend_from_slice(&[d, c, b, a, f, e, h, g]);
    out.extend_from_slice(&rest);
    Ok(())
}

/// `smallmoney` to `numeric(10,4)`.
pub(crate) fn smallmoney(cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    let value = i32::from_le_bytes(fixed(cell)?);
    numeric(value < 0, u128::from(value.unsigned_abs()), 4, out);
    Ok(())
}

/// `money` to `numeric(19,4)`.
pub(crate) fn money(cell: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
    let value = i64::from_le_bytes(fixed(cell)?);
    numeric(value < 0, u128::from(value.unsigned_abs()), 4, out);
    Ok(())
}

/// `decimal(p,s)` to `numeric(p,s)`.
pub(crate) fn decimal(cell: &[u8], precision: u8, scale: u8, out: &mut Vec<u8>) -> Result<(), CellError> {
    let (sign, magnitude) = sign_and_magnitude(cell)?;
    if magnitude >= power_of_ten(precision) {
        return Err(CellError::Range("a decimal"));
    }
    numeric(sign == 0, magnitude, scale, out);
    Ok(())
}

/// The sign byte (0 for negative) and the magnitude of a `decimal`.
pub(crate) fn sign_and_magnitude(cell: &[u8]) -> Result<(u8, u128), CellError> {
    let length = CellError::Length { found: cell.len() };
    let (&sign, magnitude) = cell.split_first().ok_or(length)?;
    let magnitude = match magnitude.len() {
        4 => u128::from(u32::from_le_bytes(fixed(magnitude)?)),
        8 => u128::from(u64::from_le_bytes(fixed(magnitude)?)),
        12 => {
            let mut whole = [0; 16];
            whole[..12].copy_from_slice(magnitude);
            u128::from_le_bytes(whole)
        }
        16 => u128::from_le_bytes(fixed(magnitude)?),
        _ => return Err(length),
    };
    if sign > 1 {
        return Err(CellError::Range("the sign of a decimal"));
    }
    Ok((sign, magnitude))
}

/// 10 to the power of `digits`, or more than any magnitude of 38 digits.
pub(crate) fn power_of_ten(digits: u8) -> u128 {
    10_u128.checked_pow(u32::from(digits)).unwrap_or(u128::MAX)
}

const BASE: u64 = 10_000;
const NEGATIVE: u16 = 0x4000;
/// Digits to base 10,000 of 39 decimal digits (the largest u128) of which some may have to be moved behind the point.
const DIGITS_MAX: usize = 11;

/// Appends what `numeric_send` writes for `magnitude` * 10^-`scale`.
fn numeric(negative: bool, magnitude: u128, scale: u8, out: &mut Vec<u8>) {
    // Least significant digit first. `whole` counts those at and above the point.
    let mut digits = [0_u16; DIGITS_MAX];
    let mut count = 0;
    let mut rest = magnitude;
    let behind = scale % 4;
    if behind != 0 {
        // The last digit behind the point holds fewer than four decimal digits: fill it up from the right.
        let unit = 10_u64.pow(u32::from(behind));
        let (above, low) = divide(rest, unit);
        digits[0] = (low * (BASE / unit)) as u16;
        count = 1;
        rest = above;
    }
    const CHUNK: u64 = BASE.pow(4);
    while rest > u128::from(u64::MAX) {
        let (above, mut low) = divide(rest, CHUNK);
        for digit in digits.iter_mut().skip(count).take(4) {
            *digit = (low % BASE) as u16;
            low /= BASE;
        }
        count += 4;
        rest = above;
    }
    let mut rest = rest as u64;
    while rest != 0 {
        digits[count] = (rest % BASE) as u16;
        rest /= BASE;
        count += 1;
    }
    let digits_behind = usize::from(scale).div_ceil(4);

    let used = &digits[..count];
    let top = used.iter().rposition(|&d| d != 0).map_or(0, |top| top + 1);
    let low = used.iter().position(|&d| d != 0).unwrap_or(0);
    let used = &digits[low..top.max(low)];
    let weight = if used.is_empty() { 0 } else { top as i16 - 1 - digits_behind as i16 };
    let sign = if negative && !used.is_empty() { NEGATIVE } else { 0 };

    let mut bytes = [0; 8 + 2 * DIGITS_MAX];
    bytes[0..2].copy_from_slice(&(used.len() as u16).to_be_bytes());
    bytes[2..4].copy_from_slice(&weight.to_be_bytes());
    bytes[4..6].copy_from_slice(&sign.to_be_bytes());
    bytes[6..8].copy_from_slice(&u16::from(scale).to_be_bytes());
    for (to, digit) in bytes[8..].chunks_exact_mut(2).zip(used.iter().rev()) {
        to.copy_from_slice(&digit.to_be_bytes());
    }
    out.extend_from_slice(&bytes[..8 + 2 * used.len()]);
}

/// Quotient and remainder; 64-bit division wherever it will do, as that of 128 bits is a slow loop.
fn divide(value: u128, by: u64) -> (u128, u64) {
    match u64::try_from(value) {
        Ok(small) => (u128::from(small / by), small % by),
        Err(_) => (value / u128::from(by), (value % u128::from(by)) as u64),
    }
}

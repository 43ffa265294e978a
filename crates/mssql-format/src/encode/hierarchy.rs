//! `hierarchyid` from its path.

use crate::bytes::{Malformed, Result};
use crate::hierarchy::{LOWEST, RANGES};

/// The bytes of a node: `/`, `/1/`, `/1/-2.18/`.
///
/// # Errors
/// Where the text is no such path.
pub fn hierarchy_of_path(path: &str) -> Result<Vec<u8>> {
    let wrong = || Malformed::new("not a path of a hierarchyid", 0);
    let inner = path.strip_prefix('/').ok_or_else(wrong)?;
    let mut bits: Vec<u8> = Vec::new();
    if !inner.is_empty() {
        for label in inner.strip_suffix('/').ok_or_else(wrong)?.split('/') {
            let numbers: Vec<&str> = label.split('.').collect();
            for (at, number) in numbers.iter().enumerate() {
                let last = at + 1 == numbers.len();
                let number: i64 = number.parse().map_err(|_| wrong())?;
                let number = number.checked_add(i64::from(!last)).ok_or_else(wrong)?;
                push_number(number, &mut bits).ok_or_else(wrong)?;
                bits.push(u8::from(last));
            }
        }
    }
    Ok(bits.chunks(8).map(|c| c.iter().enumerate().fold(0, |b, (at, bit)| b | bit << (7 - at))).collect())
}

fn push_number(number: i64, bits: &mut Vec<u8>) -> Option<()> {
    let free = |pattern: &str| pattern.bytes().filter(|b| *b == b'x').count();
    let fits = |(first, pattern): &&(i64, &str)| (*first..*first + (1i64 << free(pattern))).contains(&number);
    let (first, pattern) = RANGES.iter().chain([&LOWEST]).find(fits)?;
    let (place, mut left) = (number - first, free(pattern));
    for bit in pattern.bytes() {
        bits.push(match bit {
            b'x' => {
                left -= 1;
                (place >> left & 1) as u8
            }
            fixed => fixed - b'0',
        });
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::hierarchy_of_path;

    #[test]
    fn paths_come_back() {
        for path in [
            "/",
            "/1/",
            "/1/-2.18/",
            "/0/3/4/7/8/79/80/1103/1104/5199/",
            "/-8/-9/-72/-73/-4168/-4169/",
            "/5200.-1/",
            "/4294972496/-4294971465/",
        ] {
            let mut out = Vec::new();
            crate::hierarchy::path(&hierarchy_of_path(path).unwrap(), &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), path);
        }
        assert_eq!(hierarchy_of_path("/1/").unwrap(), [0x58]);
        for wrong in ["", "1", "/1", "//", "/a/", "/1./", "/99999999999999999999/", "/9223372036854775807.1/"] {
            assert!(hierarchy_of_path(wrong).is_err(), "{wrong}");
        }
    }
}

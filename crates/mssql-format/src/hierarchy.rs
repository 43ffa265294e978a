//! `hierarchyid`: a place in a tree, as bits that sort like the tree is walked.
//!
//! A node is a label per level; a label is one number, or several with dots between. Each number is a prefix that names a range, the bits
//! of its place in the range, and a bit that says whether the label ends here (`/`) or goes on (`.`: then the number is shown less one).
//! Some of the bits between have fixed values. What is left of the last byte is 0; the root has no bytes.
//!
//! ```text
//!  01 01 1   00111 111 0   110 00 0 0 1 010 1   000000
//!  /1        / -2          .18                  /          = /1/-2.18/
//! ```
//!
//! [MS-SSCLRT], sections 2.1.3 and 3.2, whose examples are the tests; the ranges of six and more bits as Adam Milazzo published them.
//!
//! [MS-SSCLRT]: https://learn.microsoft.com/openspecs/sql_server_protocols/ms-ssclrt/

use std::io::Write;

use crate::bytes::{Malformed, Result};

/// First number of each range, and its bits: `x` is a bit of the place in the range.
pub(crate) const RANGES: [(i64, &str); 12] = [
    (0, "01xx"),
    (4, "100xx"),
    (8, "101xxx"),
    (16, "110xx0x1xxx"),
    (80, "1110xxx0xxx0x1xxx"),
    (1104, "11110xxxxx0xxx0x1xxx"),
    (5200, "111110xxxxxxxxxxxxxxxxxxx0xxxxxx0xxx0x1xxx"),
    (4_294_972_496, "111111xxxxxxxxxxxxxx0xxxxxxxxxxxxxxxxxxxxx0xxxxxx0xxx0x1xxx"),
    (-8, "00111xxx"),
    (-72, "0010xx0x1xxx"),
    (-4168, "000110xxxxx0xxx0x1xxx"),
    (-4_294_971_464, "000101xxxxxxxxxxxxxxxxxxx0xxxxxx0xxx0x1xxx"),
];
/// The range below all others.
pub(crate) const LOWEST: (i64, &str) =
    (-281_479_271_682_120, "000100xxxxxxxxxxxxxx0xxxxxxxxxxxxxxxxxxxxx0xxxxxx0xxx0x1xxx");

/// Appends the path of a node: `/`, `/1/`, `/1/-2.18/`.
///
/// # Errors
/// Where the bits are no such path.
pub fn path(bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let bits = bytes.len() * 8;
    let bit = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte << (at % 8) & 0x80 != 0);
    let mut at = 0;
    let mut separator = '/';
    while at < bits {
        let rest_is_zero = (at..bits).all(|at| !bit(at));
        if rest_is_zero && bits - at < 8 && separator == '/' {
            break;
        }
        let (number, end) = RANGES
            .iter()
            .chain([&LOWEST])
            .find_map(|(first, pattern)| {
                matched(&bit, at, bits, pattern).map(|place| (first + place, at + pattern.len()))
            })
            .filter(|&(_, end)| end < bits)
            .ok_or_else(|| Malformed::new("a hierarchyid has bits that are no number", at / 8))?;
        let ends = bit(end);
        let shown = if ends { number } else { number - 1 };
        write!(out, "{separator}{shown}").map_err(|e| Malformed::new(e.to_string(), 0))?;
        separator = if ends { '/' } else { '.' };
        at = end + 1;
    }
    if separator == '.' {
        return Err(Malformed::new("a hierarchyid ends inside of a label", bytes.len()));
    }
    out.push(b'/');
    Ok(())
}

/// The place in a range, if the bits at `at` are of its pattern.
fn matched(bit: &impl Fn(usize) -> bool, at: usize, bits: usize, pattern: &str) -> Option<i64> {
    if at + pattern.len() > bits {
        return None;
    }
    let mut place = 0;
    for (offset, expect) in pattern.bytes().enumerate() {
        let found = bit(at + offset);
        match expect {
            b'x' => place = place << 1 | i64::from(found),
            _ if found != (expect == b'1') => return None,
            _ => {}
        }
    }
    Some(place)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(bits: &str, expect: Result<&str, &str>) {
        let bits: Vec<u8> = bits.bytes().filter(|b| !b.is_ascii_whitespace()).map(|b| b - b'0').collect();
        let bytes: Vec<u8> =
            bits.chunks(8).map(|c| c.iter().enumerate().fold(0, |b, (at, bit)| b | bit << (7 - at))).collect();
        let mut out = Vec::new();
        match (path(&bytes, &mut out), expect) {
            (Ok(()), Ok(expect)) => assert_eq!(String::from_utf8(out).unwrap(), expect),
            (Err(e), Err(expect)) => assert!(e.to_string().contains(expect), "{e}"),
            (found, _) => panic!("{found:?}"),
        }
    }

    #[test]
    fn the_examples_of_the_specification() {
        check("", Ok("/"));
        check("01011000", Ok("/1/"));
        check("01011001 11111011 00000101 01000000", Ok("/1/-2.18/"));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        check("00000000", Err("no number"));
        check("01011000 00000000", Err("no number"));
        check("01010000", Err("no number"));
        check("0101 0 01 00 0 000000", Err("no number"));
        check("11111111 11111111", Err("no number"));
    }

    /// Writes a path, to have something to read.
    fn encode(labels: &[Vec<i64>]) -> Vec<u8> {
        let mut bits = Vec::new();
        for label in labels {
            for (at, number) in label.iter().enumerate() {
                let last = at + 1 == label.len();
                let number = if last { *number } else { number + 1 };
                let fits = |(first, pattern): &&(i64, &str)| {
                    let size = 1i64 << pattern.bytes().filter(|&b| b == b'x').count();
                    (*first..*first + size).contains(&number)
                };
                let (first, pattern) = RANGES.iter().chain([&LOWEST]).find(fits).expect("a range");
                let (place, mut left) = (number - first, pattern.bytes().filter(|&b| b == b'x').count());
                for bit in pattern.bytes() {
                    bits.push(match bit {
                        b'x' => {
                            left -= 1;
                            (place >> left & 1) as u8
                        }
                        fixed => fixed - b'0',
                    });
                }
                bits.push(u8::from(last));
            }
        }
        bits.chunks(8).map(|c| c.iter().enumerate().fold(0, |b, (at, bit)| b | bit << (7 - at))).collect()
    }

    fn number() -> impl Strategy<Value = i64> {
        prop_oneof![
            -100i64..100,
            -5000i64..6000,
            -4_295_000_000i64..4_295_000_000,
            -281_479_271_682_120i64..281_479_271_683_150
        ]
    }

    proptest! {
        #[test]
        fn paths_come_back(labels in proptest::collection::vec(proptest::collection::vec(number(), 1..4), 0..6)) {
            let bytes = encode(&labels);
            let mut out = Vec::new();
            path(&bytes, &mut out).unwrap();
            let numbers = |label: &Vec<i64>| label.iter().map(i64::to_string).collect::<Vec<_>>().join(".");
            let expect: String = labels.iter().map(|label| format!("/{}", numbers(label))).collect::<String>() + "/";
            prop_assert_eq!(String::from_utf8(out).unwrap(), expect);
        }

        #[test]
        fn any_bytes_are_a_path_or_an_error(bytes: Vec<u8>) {
            let _ = path(&bytes, &mut Vec::new());
        }
    }
}

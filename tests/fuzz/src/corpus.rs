//! Inputs that a run under coverage guidance has found: each reaches code that the others do not. All of them were made from seeds of our
//! own encoders; no byte is of a real file.
//!
//! Those of a target are one file, compressed, as pages are mostly filling: the inputs behind each other, each behind its length (`u32`),
//! in pieces that are compressed for themselves, each behind both its lengths (`u32`).

use std::io;
use std::path::{Path, PathBuf};

use logferry_mssql_format::encode::xpress_compress;
use logferry_mssql_format::xpress::decompress;

/// Length of a piece before it is compressed.
const PIECE: usize = 64 << 10;

/// The file of a target.
pub fn path(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// What is kept for a target.
///
/// # Errors
/// Where there is nothing, or it is not what was kept.
pub fn kept(target: &str) -> io::Result<Vec<Vec<u8>>> {
    unpack(&std::fs::read(path(target))?).ok_or_else(|| io::Error::other(format!("the corpus of {target} is damaged")))
}

/// Inputs as they are kept.
pub fn pack(inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut all = Vec::new();
    for input in inputs {
        all.extend((input.len() as u32).to_le_bytes());
        all.extend(input);
    }
    let mut packed = Vec::new();
    for piece in all.chunks(PIECE) {
        let mut small = Vec::new();
        xpress_compress(piece, &mut small);
        packed.extend((piece.len() as u32).to_le_bytes());
        packed.extend((small.len() as u32).to_le_bytes());
        packed.extend(small);
    }
    packed
}

/// Inputs that were kept; `None` where they are damaged.
pub fn unpack(packed: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    let mut rest = packed;
    while !rest.is_empty() {
        let (len, after) = length(rest)?;
        let (small, after) = length(after)?;
        let (piece, after) = after.split_at_checked(small)?;
        let mut bytes = vec![0; Some(len).filter(|&len| len <= PIECE)?];
        decompress(piece, &mut bytes).ok()?;
        all.extend(bytes);
        rest = after;
    }
    let mut inputs = Vec::new();
    let mut rest = all.as_slice();
    while !rest.is_empty() {
        let (len, after) = length(rest)?;
        let (input, after) = after.split_at_checked(len)?;
        inputs.push(input.to_vec());
        rest = after;
    }
    Some(inputs)
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*len) as usize, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back() {
        let inputs =
            vec![vec![], vec![7; 200_000], (0..100_000u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect(), vec![1]];
        assert_eq!(unpack(&pack(&inputs)), Some(inputs));
        assert_eq!(unpack(&[1, 2, 3]), None);
    }
}

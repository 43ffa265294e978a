//! Compressed rows and pages to bytes.

use super::compress_unicode;
use crate::row::Packing;
use crate::row::compressed::PackedCell;

const CLUSTER: usize = 30;

/// Appends a row in the column descriptor format; `tag` is its version tag.
///
/// # Panics
/// When a cluster has more than 255 bytes of short data, which 30 columns cannot have.
pub fn encode_cd_record(cells: &[PackedCell<'_>], tag: Option<&[u8; 14]>, out: &mut Vec<u8>) {
    let is_long = |cell: &PackedCell<'_>| match cell {
        PackedCell::Pointer(_) => true,
        PackedCell::Bytes(bytes) => bytes.len() > 8,
        _ => false,
    };
    let longs: Vec<_> = cells.iter().filter(|cell| is_long(cell)).collect();
    let mut header = 0x01;
    if tag.is_some() {
        header |= 0x02;
    }
    if !longs.is_empty() {
        header |= 0x20;
    }
    out.push(header);
    push_number(cells.len(), out);
    let descriptors: Vec<u8> = cells
        .iter()
        .map(|cell| match cell {
            PackedCell::Null => 0,
            PackedCell::True => 11,
            PackedCell::Symbol(_) => 12,
            cell if is_long(cell) => 10,
            PackedCell::Bytes(bytes) => bytes.len() as u8 + 1,
            PackedCell::Pointer(_) => unreachable!("pointers are long"),
        })
        .collect();
    out.extend(descriptors.chunks(2).map(|pair| pair[0] | pair.get(1).copied().unwrap_or_default() << 4));
    let (mut lengths, mut short) = (Vec::new(), Vec::new());
    for cluster in cells.chunks(CLUSTER) {
        let start = short.len();
        for cell in cluster.iter().filter(|cell| !is_long(cell)) {
            match cell {
                PackedCell::Bytes(bytes) => short.extend_from_slice(bytes),
                PackedCell::Symbol(symbol) => short.push(*symbol),
                _ => {}
            }
        }
        lengths.push(u8::try_from(short.len() - start).expect("30 columns have at most 240 bytes of short data"));
    }
    lengths.pop();
    out.extend(lengths);
    out.extend(short);
    if !longs.is_empty() {
        let complex = longs.iter().any(|cell| matches!(cell, PackedCell::Pointer(_)));
        out.push(if complex { 0x03 } else { 0x01 });
        out.extend((longs.len() as u16).to_le_bytes());
        let mut end = 0u16;
        for cell in &longs {
            let (bytes, flag) = match cell {
                PackedCell::Pointer(bytes) => (bytes, 0x8000),
                PackedCell::Bytes(bytes) => (bytes, 0),
                _ => unreachable!("only these are long"),
            };
            end += bytes.len() as u16;
            out.extend((end | flag).to_le_bytes());
        }
        let mut counts: Vec<u8> =
            cells.chunks(CLUSTER).map(|cluster| cluster.iter().filter(|cell| is_long(cell)).count() as u8).collect();
        counts.pop();
        out.extend(counts);
        for cell in longs {
            if let PackedCell::Pointer(bytes) | PackedCell::Bytes(bytes) = cell {
                out.extend_from_slice(bytes);
            }
        }
    }
    if let Some(tag) = tag {
        out.extend(tag);
    }
}

fn push_number(number: usize, out: &mut Vec<u8>) {
    match number {
        0..0x80 => out.push(number as u8),
        _ => out.extend([(number >> 8) as u8 | 0x80, number as u8]),
    }
}

/// A value of a type as compressed rows store it. Of a `bit` nothing is left: that is for its descriptor to tell.
pub fn pack(packing: Packing, value: &[u8]) -> Vec<u8> {
    let without = |fill: u8| value.iter().rposition(|&b| b != fill).map_or(&value[..0], |last| &value[..=last]);
    match packing {
        Packing::Plain => value.to_vec(),
        Packing::Bit => Vec::new(),
        Packing::Padded { fill, .. } => without(fill).to_vec(),
        Packing::LowTrimmed { .. } => {
            value.iter().position(|&b| b != 0).map_or(Vec::new(), |first| value[first..].to_vec())
        }
        Packing::Integer { .. } => pack_integer(value),
        Packing::Decimal { scale, .. } => pack_decimal(value, scale),
        Packing::Unicode => compress_unicode(value),
        Packing::PaddedUnicode { .. } => {
            let mut end = value.len();
            while value[..end].ends_with(&[b' ', 0]) {
                end -= 2;
            }
            compress_unicode(&value[..end])
        }
    }
}

fn pack_integer(value: &[u8]) -> Vec<u8> {
    if value.iter().all(|&b| b == 0) {
        return Vec::new();
    }
    let mut len = value.len();
    let sign = |len: usize| value[len - 1] & 0x80;
    // A byte goes that only repeats the sign.
    while len > 1 && value[len - 1] == if sign(len - 1) != 0 { 0xFF } else { 0 } {
        len -= 1;
    }
    let mut out: Vec<u8> = value[..len].iter().rev().copied().collect();
    out[0] ^= 0x80;
    out
}

fn pack_decimal(value: &[u8], scale: u8) -> Vec<u8> {
    let mut le = [0; 16];
    le[..value.len() - 1].copy_from_slice(&value[1..]);
    let magnitude = u128::from_le_bytes(le);
    if magnitude == 0 {
        return Vec::new();
    }
    let mut digits = magnitude.to_string();
    let exponent = digits.len() as i32 - 1 - i32::from(scale);
    while !digits.len().is_multiple_of(3) {
        digits.push('0');
    }
    let mut out = vec![value[0] << 7 | (exponent + 64) as u8];
    let (mut held, mut bits) = (0u32, 0);
    for group in digits.as_bytes().chunks(3) {
        let number = group.iter().fold(0, |n, digit| n * 10 + u32::from(digit - b'0'));
        held = held << 10 | number;
        bits += 10;
        while bits >= 8 {
            bits -= 8;
            out.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    out.push((held << (8 - bits)) as u8);
    while out.last() == Some(&0) {
        out.pop();
    }
    out
}

/// A compression information record of anchors (NULL: none) and words.
pub fn encode_compression_information(anchors: &[PackedCell<'_>], words: &[Vec<u8>]) -> Vec<u8> {
    let has_words = !words.is_empty();
    let mut out = vec![if has_words { 0x06 } else { 0x02 }, 0, 0];
    out.extend([0; 4].iter().take(if has_words { 4 } else { 2 }));
    encode_cd_record(anchors, None, &mut out);
    let dictionary = out.len();
    if has_words {
        out.extend((words.len() as u16).to_le_bytes());
        let mut end = 2 + 2 * words.len();
        for word in words {
            end += word.len();
            out.extend((end as u16).to_le_bytes());
        }
        words.iter().for_each(|word| out.extend_from_slice(word));
        out[3..5].copy_from_slice(&(dictionary as u16).to_le_bytes());
    }
    let (size, at) = ((out.len() as u16).to_le_bytes(), if has_words { 5 } else { 3 });
    out[at..at + 2].copy_from_slice(&size);
    out
}

/// A cell of a row that is to be compressed with its page: packed, or what its descriptor alone tells.
type Packed<'a> = PackedCell<'a>;

/// Compresses rows with each other: the compression information record of their page, and the rows against it. An anchor is the
/// longest value of its column that another value begins like; words are what stands more than once.
pub fn compress_page(rows: &[Vec<Packed<'_>>]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let columns = rows.first().map_or(0, Vec::len);
    let shared = |a: &[u8], b: &[u8]| a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let mut anchors: Vec<Packed<'_>> = vec![PackedCell::Null; columns];
    for (column, anchor) in anchors.iter_mut().enumerate() {
        let values: Vec<&[u8]> = rows
            .iter()
            .filter_map(|row| match row[column] {
                PackedCell::Bytes(bytes) => Some(bytes),
                _ => None,
            })
            .collect();
        let has_bits = rows.iter().any(|row| row[column] == PackedCell::True);
        let best = values
            .iter()
            .enumerate()
            .filter(|(at, value)| values.iter().enumerate().any(|(other, v)| other != *at && shared(value, v) >= 2));
        if let Some((_, value)) = best.max_by_key(|(_, value)| value.len()).filter(|_| !has_bits) {
            *anchor = PackedCell::Bytes(value);
        }
    }
    let against = |cell: Packed<'_>, anchor: Packed<'_>| -> Option<Vec<u8>> {
        match (cell, anchor) {
            (PackedCell::Bytes(bytes), PackedCell::Bytes(anchor)) if bytes == anchor => Some(Vec::new()),
            (PackedCell::Bytes(bytes), PackedCell::Bytes(anchor)) => {
                let prefix = shared(bytes, anchor);
                let mut out = Vec::new();
                push_number(prefix, &mut out);
                out.extend_from_slice(&bytes[prefix..]);
                Some(out)
            }
            (PackedCell::Bytes(bytes), _) => Some(bytes.to_vec()),
            _ => None,
        }
    };
    let stored: Vec<Vec<Option<Vec<u8>>>> = rows
        .iter()
        .map(|row| row.iter().zip(&anchors).map(|(&cell, &anchor)| against(cell, anchor)).collect())
        .collect();
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut seen = std::collections::BTreeMap::<&[u8], usize>::new();
    for value in stored.iter().flatten().flatten().filter(|value| value.len() > 1) {
        *seen.entry(value).or_default() += 1;
    }
    words.extend(seen.iter().filter(|(_, count)| **count > 1).take(256).map(|(word, _)| word.to_vec()));
    let records = rows
        .iter()
        .zip(&stored)
        .map(|(row, stored)| {
            let cells: Vec<Packed<'_>> = row
                .iter()
                .zip(stored)
                .map(|(&cell, stored)| match stored {
                    None => cell,
                    Some(stored) => match words.iter().position(|word| word == stored) {
                        Some(symbol) => PackedCell::Symbol(symbol as u8),
                        None => PackedCell::Bytes(stored),
                    },
                })
                .collect();
            let mut record = Vec::new();
            encode_cd_record(&cells, None, &mut record);
            record
        })
        .collect();
    (encode_compression_information(&anchors, &words), records)
}

//! Decompressing the pieces of compressed backups on one core: bytes that come out, per second.
//!
//! The real file is a small database of few distinct values, compressed 7:1 by the server. The others are made: rows as an
//! order table has them, and bytes that do not compress.

use std::path::{Path, PathBuf};

use divan::{Bencher, counter::BytesCount};
use logferry_mssql_format::container::{ContainerHeader, ContainerRecord, FIRST_RECORD, checksum};
use logferry_mssql_format::encode::xpress_compress;
use logferry_mssql_format::xpress::{BLOCK, decompress};

fn main() {
    divan::main();
}

/// Pieces, and how many bytes each makes.
type Pieces = Vec<(Vec<u8>, usize)>;

fn real_file() -> Option<Pieces> {
    let folder = match std::env::var_os("LOGFERRY_FIXTURES") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures"),
    };
    let path = folder.join("backups/tsql2012-2016-compressed.bak");
    let Ok(file) = std::fs::read(&path) else {
        eprintln!("SKIPPED: no {}; set LOGFERRY_FIXTURES", path.display());
        return None;
    };
    let header = ContainerHeader::read(&file).expect("a compressed backup");
    let mut pieces = Vec::new();
    let mut at = FIRST_RECORD as usize;
    while at < file.len() {
        if file[at..].starts_with(b"SFMB") {
            at += usize::from(u16::from_le_bytes([file[at + 8], file[at + 9]]));
            continue;
        }
        let record = ContainerRecord::read(&file[at..], header).expect("a record");
        let data = &file[at + record.data_at as usize..at + record.end() as usize];
        if record.makes() > 0 {
            pieces.push((data.to_vec(), record.makes() as usize));
        }
        at += record.end() as usize;
    }
    Some(pieces)
}

/// Rows of 96 bytes: keys that count up, dates, amounts and names out of a few.
fn order_rows() -> Pieces {
    let mut random = 1u64;
    let mut number = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 33
    };
    let mut bytes = Vec::new();
    for key in 0u64..80_000 {
        let name = ["Anna", "Bertram", "Caecilie", "Dorothea", "Emil"][number() as usize % 5];
        let row = format!("{key:>8} {:>10}", number() % 1_000_000);
        bytes.extend([0x30, 0, 0x40, 0]);
        bytes.extend(key.to_le_bytes());
        bytes.extend((0xb0a1_0000_0000 + number() % 100_000_000).to_le_bytes());
        bytes.extend((number() % 10_000_000).to_le_bytes());
        bytes.extend(row.as_bytes());
        bytes.extend(name.encode_utf16().flat_map(u16::to_le_bytes));
        bytes.resize(bytes.len().next_multiple_of(96), 0);
    }
    pieces(&bytes)
}

fn noise() -> Pieces {
    let mut random = 7u64;
    let bytes: Vec<u8> = (0..4 << 20)
        .map(|_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 56) as u8
        })
        .collect();
    pieces(&bytes)
}

fn pieces(bytes: &[u8]) -> Pieces {
    bytes
        .chunks(BLOCK)
        .map(|piece| {
            let mut data = Vec::new();
            xpress_compress(piece, &mut data);
            (data, piece.len())
        })
        .collect()
}

fn run(bencher: Bencher<'_, '_>, pieces: Option<Pieces>) {
    let Some(pieces) = pieces else { return };
    let mut output = vec![0; pieces.iter().map(|(_, len)| *len).max().unwrap_or(0)];
    let bytes: usize = pieces.iter().map(|(_, len)| len).sum();
    bencher.counter(BytesCount::new(bytes)).bench_local(move || {
        for (data, len) in &pieces {
            decompress(data, &mut output[..*len]).expect("sound");
        }
    });
}

#[divan::bench]
fn real(bencher: Bencher<'_, '_>) {
    run(bencher, real_file());
}

#[divan::bench]
fn orders(bencher: Bencher<'_, '_>) {
    run(bencher, Some(order_rows()));
}

#[divan::bench]
fn incompressible(bencher: Bencher<'_, '_>) {
    run(bencher, Some(noise()));
}

/// Of the compressed bytes.
#[divan::bench]
fn checksums(bencher: Bencher<'_, '_>) {
    let data: Vec<u8> = noise().into_iter().flat_map(|(data, _)| data).collect();
    bencher.counter(BytesCount::new(data.len())).bench_local(move || checksum(&data));
}

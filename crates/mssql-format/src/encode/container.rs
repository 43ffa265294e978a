//! Compressed backups out of plain ones.

use super::xpress_compress;
use crate::container::{FIRST_RECORD, UNIT, checksum};
use crate::mtf::{COMPRESSED_MAGIC, Descriptor, PAYLOAD_OFFSET, STREAM_HEADER, StreamHeader};

/// Bytes of the stream that a piece makes.
const PIECE: usize = 65_536;
/// Bytes of a record's header without its checksum.
const HEADER: usize = 24;

/// Makes the compressed form of a backup file, as `BACKUP ... WITH COMPRESSION` writes it: see [`crate::container`].
///
/// What is left out is the table of descriptor blocks, which readers do not need; there is a filler in its place.
///
/// # Panics
/// When the input is not a whole backup file.
pub fn compress_backup(mtf: &[u8]) -> Vec<u8> {
    let mut output = COMPRESSED_MAGIC.to_vec();
    output.extend(2u32.to_le_bytes());
    output.extend(3u32.to_le_bytes());
    output.resize(FIRST_RECORD as usize, 0);
    let mut from = 0;
    for cut in cuts(mtf) {
        match cut {
            Cut::Piece(end) => {
                mtf[from..end].chunks(PIECE).for_each(|piece| write_piece(piece, &mut output));
                from = end;
            }
            Cut::Mark(end) => {
                write_filler(&mut output, end - from);
                output.extend(&mtf[from..end]);
                from = end;
            }
        }
    }
    output
}

/// Where one piece must end and another begin.
enum Cut {
    Piece(usize),
    /// A file mark ends here; it began at the cut before.
    Mark(usize),
}

fn cuts(mtf: &[u8]) -> Vec<Cut> {
    let mut cuts = Vec::new();
    let mut at = 0;
    while at < mtf.len() {
        let block = Descriptor::read(&mtf[at..]).expect("a backup file is a row of descriptor blocks");
        let mut next = at + usize::from(block.streams_at);
        if block.is(b"SFMB") {
            cuts.extend([Cut::Piece(at), Cut::Mark(next)]);
        } else {
            loop {
                let stream = StreamHeader::read(&mtf[next..]).expect("a descriptor block is followed by streams");
                let payload = next + STREAM_HEADER + PAYLOAD_OFFSET as usize;
                // Pages begin with a piece of their own.
                if stream.is(b"MQDA") && payload.is_multiple_of(UNIT as usize) {
                    cuts.push(Cut::Piece(payload));
                }
                next = stream.next_at(next as u64).expect("a stream ends") as usize;
                if stream.is(b"SPAD") {
                    break;
                }
            }
        }
        at = next;
    }
    cuts
}

fn write_piece(piece: &[u8], output: &mut Vec<u8>) {
    assert!(piece.len().is_multiple_of(UNIT as usize), "blocks stand on boundaries of 512 bytes");
    let mut data = Vec::new();
    xpress_compress(piece, &mut data);
    let Ok(len) = u16::try_from(data.len()) else {
        // What does not get smaller fits in two.
        let (one, other) = piece.split_at(piece.len() / 2 / UNIT as usize * UNIT as usize);
        write_piece(one, output);
        write_piece(other, output);
        return;
    };
    output.extend([0x21, (piece.len() / UNIT as usize) as u8]);
    output.extend(len.to_le_bytes());
    output.extend([0; HEADER - 4]);
    output.extend(checksum(&data).to_le_bytes());
    output.extend(data);
}

/// Fills up to the next boundary of a file mark.
fn write_filler(output: &mut Vec<u8>, boundary: usize) {
    let end = (output.len() + HEADER).next_multiple_of(boundary);
    let len = (end - output.len() - HEADER) as u16;
    output.extend([0x24, 0]);
    output.extend(len.to_le_bytes());
    output.resize(end, 0);
}

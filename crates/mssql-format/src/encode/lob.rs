//! LOB records and what stands in a row for a value outside it.

use crate::page::RowId;

/// Most bytes of a value in one LOB record.
pub const LOB_CHUNK_MAX: usize = 8040;

const BLOB: u8 = 0x08;
const INTERNAL: u16 = 2;
const DATA: u16 = 3;

/// A link to a piece of a value: where the piece ends in the value, and its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LobLink {
    /// End of the piece, in bytes from the value's (in an INTERNAL record: from that subtree's) begin.
    pub end: u32,
    /// Where it is.
    pub at: RowId,
}

/// A LOB record with bytes of a value.
pub fn encode_lob_data(blob_id: u64, data: &[u8]) -> Vec<u8> {
    let mut r = header(blob_id, DATA, 14 + data.len());
    r.extend_from_slice(data);
    r
}

/// A LOB record that points to others.
pub fn encode_lob_internal(blob_id: u64, level: u16, links: &[LobLink]) -> Vec<u8> {
    let mut r = header(blob_id, INTERNAL, 20 + 16 * links.len());
    for n in [links.len() as u16, links.len() as u16, level] {
        r.extend(n.to_le_bytes());
    }
    for link in links {
        r.extend(u64::from(link.end).to_le_bytes());
        r.extend(link.at.to_bytes());
    }
    r
}

/// What stands in a row for a `(max)` or `xml` value: up to five links.
pub fn encode_in_row_root(level: u16, update_seq: u32, timestamp: u32, links: &[LobLink]) -> Vec<u8> {
    root(4, level, update_seq, timestamp, links)
}

/// What stands in a row for a value that was pushed out of it.
pub fn encode_overflow_pointer(update_seq: u32, timestamp: u32, len: u32, at: RowId) -> Vec<u8> {
    root(2, 0, update_seq, timestamp, &[LobLink { end: len, at }])
}

fn root(kind: u8, level: u16, update_seq: u32, timestamp: u32, links: &[LobLink]) -> Vec<u8> {
    let mut r = vec![kind];
    r.extend(level.to_le_bytes());
    r.push(0xFF);
    r.extend(update_seq.to_le_bytes());
    r.extend(timestamp.to_le_bytes());
    for link in links {
        r.extend(link.end.to_le_bytes());
        r.extend(link.at.to_bytes());
    }
    r
}

fn header(blob_id: u64, kind: u16, len: usize) -> Vec<u8> {
    let mut r = vec![BLOB, 0];
    r.extend(u16::try_from(len).expect("a LOB record fits on a page").to_le_bytes());
    r.extend(blob_id.to_le_bytes());
    r.extend(kind.to_le_bytes());
    r
}

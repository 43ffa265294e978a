//! LOB records and what stands in a row for a value outside it.

use crate::page::RowId;

/// Most bytes of a value in one LOB record.
pub const LOB_CHUNK_MAX: usize = 8040;

const BLOB: u8 = 0x08;
const SMALL_ROOT: u16 = 0;
const INTERNAL: u16 = 2;
const DATA: u16 = 3;
const LARGE_ROOT: u16 = 5;
/// Roots have this length, whatever they hold.
const ROOT_SIZE: usize = 84;
/// Most bytes of a value that its root record holds itself.
pub const SMALL_ROOT_MAX: usize = 64;
/// Most links of a root record.
pub const ROOT_LINKS_MAX: usize = 5;

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

/// The root record of a `text`, `ntext` or `image` value of at most [`SMALL_ROOT_MAX`] bytes.
pub fn encode_small_root(blob_id: u64, data: &[u8]) -> Vec<u8> {
    assert!(data.len() <= SMALL_ROOT_MAX, "a small root holds {SMALL_ROOT_MAX} bytes");
    let mut r = header(blob_id, SMALL_ROOT, ROOT_SIZE);
    r.extend((data.len() as u16).to_le_bytes());
    r.extend([0; 4]);
    r.extend_from_slice(data);
    r.resize(ROOT_SIZE, 0);
    r
}

/// The root record of a longer `text`, `ntext` or `image` value: up to [`ROOT_LINKS_MAX`] links.
pub fn encode_large_root(blob_id: u64, level: u16, links: &[LobLink]) -> Vec<u8> {
    assert!(links.len() <= ROOT_LINKS_MAX, "a root has {ROOT_LINKS_MAX} links");
    let mut r = header(blob_id, LARGE_ROOT, ROOT_SIZE);
    for n in [ROOT_LINKS_MAX as u16, links.len() as u16, level] {
        r.extend(n.to_le_bytes());
    }
    r.extend([0; 4]);
    for link in links {
        r.extend(link.end.to_le_bytes());
        r.extend(link.at.to_bytes());
    }
    r.resize(ROOT_SIZE, 0);
    r
}

/// What stands in a row for a `text`, `ntext` or `image` value: where its root record is.
pub fn encode_text_pointer(timestamp: u32, root: RowId) -> Vec<u8> {
    let mut r = (u64::from(timestamp) << 16).to_le_bytes().to_vec();
    r.extend(root.to_bytes());
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

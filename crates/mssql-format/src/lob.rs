//! LOB records: the pieces of values that are stored outside their rows, on pages of the types 3 and 4.
//!
//! ```text
//! 0 status 0x08   2 length u16   4 blob id u64   12 type u16   14 ...
//!
//! type 0  small root      14 size u16                       20 the value
//! type 3  data                                              14 a piece of the value
//! type 2  inner node      14 max u16  16 count u16  18 level u16  20 links of 16: end u64, page u32, file u16, slot u16
//! type 4  root, 2000      14 max u16  16 count u16  18 level u16  24 links of 12: end u32, page u32, file u16, slot u16
//! type 5  root, 2005+     the same
//! type 8  NULL
//! ```
//!
//! Ends count from the begin of the node's own part of the value. Observed: 0, 3, 4 on a database of 2000 read from 2005; 0, 2, 3, 5 on 2008
//! to 2019. Types 1 and 6 were never seen.

use crate::bytes::{Malformed, Result, slice, u8_at, u16_at, u32_at, u64_at};
use crate::page::RowId;
use crate::row::{Link, RecordKind};

/// A LOB record, its bounds checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LobRecord<'a> {
    /// A piece of the value, or all of it.
    Data(&'a [u8]),
    /// A node of the value's tree.
    Node(LobNode<'a>),
    /// The value is NULL.
    Null,
}

/// A node of a LOB's tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LobNode<'a> {
    /// Level as it is stored.
    pub level: u16,
    links: &'a [u8],
    link_size: usize,
}

impl<'a> LobRecord<'a> {
    /// Reads a record of a LOB page from its first byte; what follows it does not matter.
    pub fn read(record: &'a [u8]) -> Result<Self> {
        let kind = RecordKind::of(u8_at(record, 0, "LOB record status")?);
        if kind != RecordKind::Blob {
            return Err(Malformed::new(format!("a LOB record was expected, not a {kind:?} record"), 0));
        }
        let len = usize::from(u16_at(record, 2, "length of a LOB record")?);
        let record = slice(record, 0, len, "LOB record")?;
        match u16_at(record, 12, "type of a LOB record")? {
            0 => {
                let size = usize::from(u16_at(record, 14, "size of a small LOB")?);
                slice(record, 20, size, "small LOB").map(LobRecord::Data)
            }
            2 => LobNode::read(record, 20, 16).map(LobRecord::Node),
            3 => slice(record, 14, len.saturating_sub(14), "LOB data").map(LobRecord::Data),
            4 | 5 => LobNode::read(record, 24, 12).map(LobRecord::Node),
            8 => Ok(LobRecord::Null),
            other => Err(Malformed::new(format!("a LOB record is of the unknown type {other}"), 12)),
        }
    }

    /// The LOB that a record belongs to.
    pub fn blob_id(record: &[u8]) -> Result<u64> {
        u64_at(record, 4, "blob id")
    }
}

impl<'a> LobNode<'a> {
    fn read(record: &'a [u8], links_at: usize, link_size: usize) -> Result<Self> {
        let count = usize::from(u16_at(record, 16, "number of LOB links")?);
        Ok(LobNode {
            level: u16_at(record, 18, "level of a LOB node")?,
            links: slice(record, links_at, count * link_size, "LOB links")?,
            link_size,
        })
    }

    /// The node's children, in order.
    pub fn links(&self) -> impl Iterator<Item = Result<Link>> + use<'a> {
        let link_size = self.link_size;
        self.links.chunks_exact(link_size).map(move |link| {
            let end = match link_size {
                16 => u32::try_from(u64_at(link, 0, "end of a LOB piece")?)
                    .map_err(|_| Malformed::new("a LOB piece ends past 4 GiB", 0))?,
                _ => u32_at(link, 0, "end of a LOB piece")?,
            };
            Ok(Link { end, at: RowId::read(link, link_size - 8, "LOB link")? })
        })
    }
}

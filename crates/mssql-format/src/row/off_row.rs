//! What a row keeps in place of a value that is stored outside of it.
//!
//! ```text
//! text pointer      0 timestamp u64        8 page u32, file u16, slot u16                    (text, ntext, image)
//! root, overflow    0 kind  1 level u16  3 -  4 updates u32  8 timestamp u32  12 links of 12:
//!                     end offset u32, page u32, file u16, slot u16
//! ```
//!
//! A text pointer has 16 bytes, the others a multiple of 12: the length tells them apart. Text pointers and roots were observed
//! on 2005 to 2022; row overflow (kind 2) follows the published layout.

use crate::bytes::{Malformed, Result, u8_at, u16_at, u32_at, u64_at};
use crate::page::RowId;

/// A pointer to a value outside the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffRow<'a> {
    /// Which form the pointer has.
    pub kind: OffRowKind,
    bytes: &'a [u8],
}

/// Form of a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OffRowKind {
    /// `text`, `ntext`, `image`: the row id of the value's root record.
    TextPointer,
    /// `(max)` types and `xml`: the root of the value's tree is in the row.
    Root,
    /// A value of up to 8,000 bytes that did not fit into the row.
    Overflow,
}

/// A piece of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where the piece ends in the value.
    pub end: u32,
    /// The LOB record that holds it.
    pub at: RowId,
}

impl<'a> OffRow<'a> {
    const POINTER_SIZE: usize = 16;
    const ROOT_HEADER: usize = 12;
    const LINK_SIZE: usize = 12;

    /// Reads the bytes of a complex variable column.
    pub fn read(bytes: &'a [u8]) -> Result<Self> {
        if bytes.len() == Self::POINTER_SIZE {
            return Ok(OffRow { kind: OffRowKind::TextPointer, bytes });
        }
        let kind = match u8_at(bytes, 0, "pointer out of the row")? {
            2 => OffRowKind::Overflow,
            4 => OffRowKind::Root,
            kind => return Err(Malformed::new(format!("a pointer out of the row is of the unknown kind {kind}"), 0)),
        };
        if bytes.len() < Self::ROOT_HEADER || !(bytes.len() - Self::ROOT_HEADER).is_multiple_of(Self::LINK_SIZE) {
            return Err(Malformed::new(format!("a pointer out of the row has {} bytes", bytes.len()), 0));
        }
        Ok(OffRow { kind, bytes })
    }

    /// The bytes as they are in the row.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The id that all pieces of the value have (observed on 2005 to 2016: tests of real files hold it to that).
    pub fn blob_id(&self) -> Result<u64> {
        match self.kind {
            OffRowKind::TextPointer => u64_at(self.bytes, 0, "blob id"),
            OffRowKind::Root | OffRowKind::Overflow => Ok(u64::from(u32_at(self.bytes, 8, "blob id")?) << 16),
        }
    }

    /// Where a text pointer points; `None` for the other forms.
    pub fn root_record(&self) -> Result<Option<RowId>> {
        match self.kind {
            OffRowKind::TextPointer => RowId::read(self.bytes, 8, "text pointer").map(Some),
            OffRowKind::Root | OffRowKind::Overflow => Ok(None),
        }
    }

    /// Depth of the tree under a root: 0 where its links point to data.
    pub fn level(&self) -> Result<u16> {
        match self.kind {
            OffRowKind::TextPointer => Ok(0),
            OffRowKind::Root | OffRowKind::Overflow => u16_at(self.bytes, 1, "level of a LOB root"),
        }
    }

    /// The pieces that a root or an overflow pointer names, in order; none for a text pointer.
    pub fn links(&self) -> impl Iterator<Item = Result<Link>> + use<'a> {
        let links = match self.kind {
            OffRowKind::TextPointer => &[],
            OffRowKind::Root | OffRowKind::Overflow => self.bytes.get(Self::ROOT_HEADER..).unwrap_or_default(),
        };
        links
            .chunks_exact(Self::LINK_SIZE)
            .map(|link| Ok(Link { end: u32_at(link, 0, "end of a LOB piece")?, at: RowId::read(link, 4, "LOB link")? }))
    }
}

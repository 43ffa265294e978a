//! Rows as PostgreSQL reads them: arrays per column, and COPY's tuples. Cells are in binary form already.

use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};
use logferry_model::Cell;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::copy::{HEADER, TRAILER};

/// An array parameter in binary form.
#[derive(Debug)]
pub(super) struct Array {
    bytes: Vec<u8>,
    items: i32,
}

/// Dimensions, whether there are NULLs, element type, length, lower bound: five `i32`.
const ARRAY_HEADER_LEN: usize = 20;

impl Array {
    pub fn new() -> Self {
        Array { bytes: vec![0; ARRAY_HEADER_LEN], items: 0 }
    }

    /// Bytes so far.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a cell. An unchanged one has no place in an array: callers take known columns only.
    pub fn push(&mut self, cell: Cell<'_>) {
        self.items += 1;
        match cell {
            Cell::Bytes(bytes) => {
                self.bytes.put_i32(len32(bytes));
                self.bytes.put_slice(bytes);
            }
            Cell::Null | Cell::Unchanged => self.bytes.put_i32(-1),
        }
    }
}

impl ToSql for Array {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let tokio_postgres::types::Kind::Array(element) = ty.kind() else {
            return Err(format!("{ty} is no array").into());
        };
        out.reserve(self.bytes.len());
        out.put_i32(1);
        out.put_i32(1);
        out.put_u32(element.oid());
        out.put_i32(self.items);
        out.put_i32(1);
        out.put_slice(&self.bytes[ARRAY_HEADER_LEN..]);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(ty.kind(), tokio_postgres::types::Kind::Array(_))
    }

    to_sql_checked!();
}

/// Builds COPY's binary stream in pieces.
pub(super) struct Tuples {
    buffer: BytesMut,
}

/// Large enough that the cost per message does not count, small enough to overlap with the server's work.
const PIECE_BYTES: usize = 512 * 1024;

impl Tuples {
    pub fn new() -> Self {
        let mut buffer = BytesMut::with_capacity(64 * 1024);
        buffer.put_slice(HEADER);
        Tuples { buffer }
    }

    /// Begins a row.
    pub fn begin(&mut self, columns: usize) {
        self.buffer.put_i16(i16::try_from(columns).expect("PostgreSQL's tables have at most 1,600 columns"));
    }

    /// Begins a cell of the row; gives the parts that are to be added, one at least.
    pub fn cell<'a>(&mut self, cell: Cell<'a>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let bytes = match cell {
            Cell::Bytes(bytes) => {
                self.buffer.put_i32(len32(bytes));
                bytes
            }
            Cell::Null | Cell::Unchanged => {
                self.buffer.put_i32(-1);
                &[]
            }
        };
        let (first, rest) = bytes.split_at(bytes.len().min(PIECE_BYTES));
        std::iter::once(first).chain(rest.chunks(PIECE_BYTES))
    }

    /// Adds a part of a cell; gives a piece when there is enough for one. So a large value is not there a second time.
    pub fn part(&mut self, part: &[u8]) -> Option<Bytes> {
        self.buffer.put_slice(part);
        (self.buffer.len() >= PIECE_BYTES).then(|| self.buffer.split().freeze())
    }

    pub fn finish(mut self) -> Bytes {
        self.buffer.put_slice(TRAILER);
        self.buffer.freeze()
    }
}

/// A `real[]` of one dimension as text, from its binary form, for arrays of it: its elements have their shortest exact form.
pub(super) fn real_array_text(bytes: &[u8]) -> String {
    const HEAD: usize = 20;
    const ELEMENT: usize = 8;
    let mut text = String::from("{");
    for (at, element) in bytes.get(HEAD..).unwrap_or_default().as_chunks::<ELEMENT>().0.iter().enumerate() {
        let [.., a, b, c, d] = *element;
        let comma = if at == 0 { "" } else { "," };
        let _fits = write!(text, "{comma}{:e}", f32::from_be_bytes([a, b, c, d]));
    }
    text + "}"
}

fn len32(bytes: &[u8]) -> i32 {
    i32::try_from(bytes.len()).expect("PostgreSQL's values have less than 1 GiB")
}

//! Rows without an allocation per cell: one buffer of bytes, one list of where each cell lies in it.
//!
//! ```text
//! bytes: 01000000 'a' 'b' 'c' 02000000 ...
//! cells: [0..4] [4..7]        [7..11] NULL ...
//! rows:   RowRef{0, 2}         RowRef{2, 2}
//! ```

/// One value of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cell<'a> {
    /// SQL NULL.
    Null,
    /// The change did not touch this column, and its value is not at hand (a LOB outside the row).
    /// Never the same as NULL.
    Unchanged,
    /// The value.
    Bytes(&'a [u8]),
}

impl<'a> Cell<'a> {
    /// The bytes, where there are any.
    pub fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Cell::Bytes(b) => Some(b),
            Cell::Null | Cell::Unchanged => None,
        }
    }
}

/// Where a row of a [`RowStore`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowRef {
    first: u32,
    columns: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: u32,
    len: u32,
}

const NULL: u32 = u32::MAX;
const UNCHANGED: u32 = u32::MAX - 1;
/// Bytes that a store holds fewer of: positions and lengths are `u32`.
#[cfg(not(test))]
const STORE_MAX: u64 = UNCHANGED as u64;
#[cfg(test)]
const STORE_MAX: u64 = 64;

/// A value that a [`RowStore`] has no room for: all that it holds are less than 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// What the store would hold with it, in bytes.
    pub bytes: u64,
}

impl std::fmt::Display for NoRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "its values and those of the rows beside it would take {} bytes, which is more than the 4 GiB that there is room for",
            self.bytes
        )
    }
}

impl std::error::Error for NoRoom {}

/// Many rows in one buffer. At most 4 GiB of values: cut batches by [`RowStore::byte_len`].
#[derive(Clone, Debug, Default)]
pub struct RowStore {
    bytes: Vec<u8>,
    cells: Vec<Span>,
}

impl RowStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.cells.clear();
    }

    /// An empty store with room for about as much as this one has, and a little more.
    pub fn alike(&self) -> Self {
        let more = |len: usize| len + len / 8;
        let (bytes, cells) = (more(self.bytes.len()), more(self.cells.len()));
        RowStore { bytes: Vec::with_capacity(bytes), cells: Vec::with_capacity(cells) }
    }

    /// What the store holds, in bytes, with the list of cells.
    pub fn byte_len(&self) -> usize {
        self.bytes.len() + self.cells.len() * size_of::<Span>()
    }

    /// Adds a row.
    ///
    /// # Panics
    /// When the store would pass 4 GiB or a row 65,535 columns: callers cut batches long before.
    pub fn push_row<'a>(&mut self, cells: impl IntoIterator<Item = Cell<'a>>) -> RowRef {
        let mut row = self.start_row();
        for cell in cells {
            match cell {
                Cell::Null => row.null(),
                Cell::Unchanged => row.unchanged(),
                Cell::Bytes(bytes) => row.value(|out| out.extend_from_slice(bytes)),
            }
        }
        row.finish()
    }

    /// Adds a row cell by cell; cells write themselves into the store's own buffer.
    pub fn start_row(&mut self) -> RowBuilder<'_> {
        self.start_row_of(&[], 0)
    }

    /// The same, of a row whose values stand in some bytes, about so many: these are copied at once, and cells are
    /// [parts](RowBuilder::part) of them.
    pub fn start_row_of(&mut self, image: &[u8], columns: usize) -> RowBuilder<'_> {
        let first = u32::try_from(self.cells.len()).expect("a row store holds fewer than 2^32 cells");
        let image_start = self.bytes.len();
        self.bytes.extend_from_slice(image);
        self.cells.reserve(columns);
        RowBuilder { store: self, first, image_start, image_len: image.len() }
    }

    /// Adds a row that is like others: some bytes, and its cells where such rows have them. Those that [differ](Parts::push) are NULL until
    /// they are set.
    ///
    /// # Panics
    /// When the row has fewer bytes than such rows have, or the store would pass 4 GiB.
    #[inline]
    pub fn start_alike(&mut self, image: &[u8], parts: &Parts) -> AlikeRow<'_> {
        let RowStore { bytes, cells } = self;
        let (start, first) = (bytes.len(), cells.len());
        let columns = parts.spans.len();
        assert!(parts.end as usize <= image.len(), "a row has the bytes that its parts are of");
        let fits = (start + image.len()) as u64 <= STORE_MAX && (first + columns) as u64 <= u64::from(u32::MAX);
        assert!(fits && columns <= usize::from(u16::MAX), "batches are cut before 4 GiB");
        bytes.extend_from_slice(image);
        cells.extend_from_slice(&parts.spans);
        let cells = &mut cells[first..];
        // All of these fit, as was asked.
        let (image_start, image_len) = (start as u32, image.len() as u32);
        for cell in &mut *cells {
            cell.start += image_start;
        }
        let row = RowRef { first: first as u32, columns: columns as u16 };
        AlikeRow { bytes, cells, row, image_start, image_len }
    }

    /// A row that was added to this store.
    ///
    /// # Panics
    /// When the reference is of another store.
    pub fn row(&self, row: RowRef) -> RowView<'_> {
        let first = row.first as usize;
        RowView { bytes: &self.bytes, cells: &self.cells[first..first + usize::from(row.columns)] }
    }
}

/// Where the cells of rows lie that are all alike, from the begin of each row's bytes: compiled once, for [`RowStore::start_alike`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    spans: Vec<Span>,
    /// What a row has at the least, in bytes.
    end: u32,
}

impl Parts {
    /// Adds a cell: where it lies in each row, or `None` where that differs and is to be said of each.
    pub fn push(&mut self, part: Option<std::ops::Range<u16>>) {
        let (start, len) = match part {
            Some(part) => (u32::from(part.start), u32::from(part.end.saturating_sub(part.start))),
            None => (0, NULL),
        };
        if len != NULL {
            self.end = self.end.max(start + len);
        }
        self.spans.push(Span { start, len });
    }
}

/// A row in the making; see [`RowStore::start_row`].
pub struct RowBuilder<'s> {
    store: &'s mut RowStore,
    first: u32,
    image_start: usize,
    image_len: usize,
}

impl RowBuilder<'_> {
    /// Adds NULL.
    pub fn null(&mut self) {
        self.store.cells.push(Span { start: 0, len: NULL });
    }

    /// Adds [`Cell::Unchanged`].
    pub fn unchanged(&mut self) {
        self.store.cells.push(Span { start: 0, len: UNCHANGED });
    }

    /// Adds a value of any length, as values that come from outside have. After an error the row cannot go on.
    ///
    /// # Errors
    /// Where the store has no room for it.
    pub fn any_value(&mut self, value: &[u8]) -> Result<(), NoRoom> {
        self.has_room(value.len())?;
        self.value(|out| out.extend_from_slice(value));
        Ok(())
    }

    /// Whether there is room for so many bytes more.
    ///
    /// # Errors
    /// Where there is not.
    pub fn has_room(&self, len: usize) -> Result<(), NoRoom> {
        let bytes = self.store.bytes.len() as u64 + len as u64;
        if bytes < STORE_MAX { Ok(()) } else { Err(NoRoom { bytes }) }
    }

    /// Adds a value: `write` appends its bytes.
    ///
    /// # Panics
    /// When the store would pass 4 GiB.
    pub fn value<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let start = self.store.bytes.len();
        let out = write(&mut self.store.bytes);
        let len = self.store.bytes.len() - start;
        self.push(start, len);
        out
    }

    /// Adds a value that stands in the bytes that the row was started with.
    ///
    /// # Panics
    /// When it does not.
    pub fn part(&mut self, value: std::ops::Range<usize>) {
        assert!(value.start <= value.end && value.end <= self.image_len, "a part of the row's bytes");
        self.push(self.image_start + value.start, value.len());
    }

    fn push(&mut self, start: usize, len: usize) {
        self.store.cells.push(span(start, len));
    }

    /// Ends the row.
    pub fn finish(self) -> RowRef {
        let columns = self.store.cells.len() - self.first as usize;
        RowRef { first: self.first, columns: u16::try_from(columns).expect("a table has at most 1,024 columns") }
    }
}

/// A row in the making that is like others; see [`RowStore::start_alike`].
pub struct AlikeRow<'s> {
    bytes: &'s mut Vec<u8>,
    cells: &'s mut [Span],
    row: RowRef,
    /// Where the row's bytes begin in the store's, and how many they are.
    image_start: u32,
    image_len: u32,
}

impl AlikeRow<'_> {
    /// Says of a cell where it lies in the row's bytes.
    ///
    /// # Panics
    /// When it does not lie there, or there is no such cell.
    #[inline]
    pub fn set_part(&mut self, column: usize, value: std::ops::Range<u16>) {
        let (start, end) = (u32::from(value.start), u32::from(value.end));
        assert!(start <= end && end <= self.image_len, "a part of the row's bytes");
        self.cells[column] = Span { start: self.image_start + start, len: end - start };
    }

    /// Gives a cell a value that is not in the row's bytes.
    ///
    /// # Panics
    /// As [`RowBuilder::value`]; when there is no such cell.
    #[inline]
    pub fn set_value(&mut self, column: usize, value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.cells[column] = span(start, value.len());
    }

    /// Makes a cell NULL.
    ///
    /// # Panics
    /// When there is no such cell.
    #[inline]
    pub fn set_null(&mut self, column: usize) {
        self.cells[column] = Span { start: 0, len: NULL };
    }

    /// Ends the row.
    #[inline]
    pub fn finish(self) -> RowRef {
        self.row
    }
}

/// Where a value lies in a store's bytes.
#[inline]
fn span(start: usize, len: usize) -> Span {
    let start = u32::try_from(start).expect("batches are cut before 4 GiB");
    let len = u32::try_from(len).ok().filter(|&n| n < UNCHANGED).expect("batches are cut before 4 GiB");
    Span { start, len }
}

/// A row of a [`RowStore`].
#[derive(Clone, Copy)]
pub struct RowView<'a> {
    bytes: &'a [u8],
    cells: &'a [Span],
}

impl<'a> RowView<'a> {
    /// Number of cells.
    pub fn len(self) -> usize {
        self.cells.len()
    }

    /// Whether the row has no cells.
    pub fn is_empty(self) -> bool {
        self.cells.is_empty()
    }

    /// The cell of a column.
    ///
    /// # Panics
    /// When the row has no such column.
    pub fn cell(self, column: usize) -> Cell<'a> {
        let span = self.cells[column];
        match span.len {
            NULL => Cell::Null,
            UNCHANGED => Cell::Unchanged,
            len => Cell::Bytes(&self.bytes[span.start as usize..span.start as usize + len as usize]),
        }
    }

    /// All cells, in order.
    pub fn cells(self) -> impl ExactSizeIterator<Item = Cell<'a>> {
        (0..self.cells.len()).map(move |column| self.cell(column))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_were_put_in() {
        let rows: [&[Cell<'_>]; 4] = [
            &[Cell::Bytes(b"a"), Cell::Null, Cell::Bytes(b"")],
            &[],
            &[Cell::Unchanged],
            &[Cell::Bytes(b"longer"), Cell::Bytes(b"b")],
        ];
        let mut store = RowStore::new();
        let refs: Vec<_> = rows.iter().map(|r| store.push_row(r.iter().copied())).collect();
        for (row, r) in rows.iter().zip(refs) {
            assert_eq!(store.row(r).cells().collect::<Vec<_>>(), row.to_vec());
        }
    }

    #[test]
    fn what_there_is_no_room_for_is_an_error() {
        let check = |lens: &[usize], want: Result<(), NoRoom>| {
            let mut store = RowStore::new();
            let mut row = store.start_row();
            assert_eq!(lens.iter().try_for_each(|&len| row.any_value(&vec![7; len])), want, "{lens:?}");
        };
        check(&[], Ok(()));
        check(&[63], Ok(()));
        check(&[30, 33, 0], Ok(()));
        check(&[64], Err(NoRoom { bytes: 64 }));
        check(&[30, 33, 1, 0], Err(NoRoom { bytes: 64 }));
    }

    #[test]
    fn values_are_parts_of_the_bytes_that_their_row_was_started_with() {
        let mut store = RowStore::new();
        let other = store.push_row([Cell::Bytes(b"other")]);
        let mut row = store.start_row_of(b"..ab.cde", 4);
        row.part(2..4);
        row.null();
        row.value(|out| out.extend_from_slice(b"x"));
        row.part(5..8);
        row.part(8..8);
        let row = row.finish();
        let bytes = |row| store.row(row).cells().map(Cell::bytes).collect::<Vec<_>>();
        assert_eq!(bytes(row), [Some(&b"ab"[..]), None, Some(b"x"), Some(b"cde"), Some(b"")]);
        assert_eq!(bytes(other), [Some(&b"other"[..])]);
    }

    #[test]
    fn rows_that_are_alike_differ_in_the_cells_that_are_set() {
        let mut parts = Parts::default();
        for part in [Some(2..4), None, Some(4..5), None, None] {
            parts.push(part);
        }
        let mut store = RowStore::new();
        store.push_row([Cell::Bytes(b"other")]);
        let mut row = store.start_alike(b"..abcdef", &parts);
        row.set_part(1, 5..8);
        row.set_value(3, b"x");
        row.set_null(2);
        let row = row.finish();
        let cells: Vec<_> = store.row(row).cells().map(Cell::bytes).collect();
        assert_eq!(cells, [Some(&b"ab"[..]), Some(b"def"), None, Some(b"x"), None]);
    }

    #[test]
    #[should_panic(expected = "the bytes that its parts are of")]
    fn a_row_that_is_too_short_has_no_such_parts() {
        let mut parts = Parts::default();
        parts.push(Some(2..4));
        RowStore::new().start_alike(b"..a", &parts);
    }
}

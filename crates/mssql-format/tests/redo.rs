//! Redo and rewind against a model: a page as a list of rows, random operations on it, and the log records that say so.

use std::ops::Range;

use logferry_model::{Lsn, TransactionId};
use logferry_mssql_format::encode::{
    ColumnChunk, FormatRecord, PageTarget, RecordBuilder, RecordHead, compress_page, encode_cd_record, pack,
};
use logferry_mssql_format::log::op::Context;
use logferry_mssql_format::log::record::{Record, flags};
use logferry_mssql_format::page::{PAGE_SIZE, PageBytes, PageHeader, PageId, PageType};
use logferry_mssql_format::redo::rewind::{Step, rewind};
use logferry_mssql_format::redo::{Outcome, RedoError, apply, reveal, row_at};
use logferry_mssql_format::row::compressed::PackedCell;
use logferry_mssql_format::row::{Packing, RecordKind};
use proptest::prelude::*;

const PAGE: PageId = PageId::new(1, 300);
const OTHER: PageId = PageId::new(1, 301);
const ROWSET: u64 = 0x0100_0000_0029_0000;
const ROWS_MAX: usize = 24;

/// A row with an int and a varchar column.
fn row(key: u32, text: &[u8]) -> Vec<u8> {
    let mut row = vec![0x30, 0, 8, 0];
    row.extend(key.to_le_bytes());
    row.extend([2, 0, 0, 1, 0]);
    row.extend((15 + text.len() as u16).to_le_bytes());
    row.extend(text);
    row
}

/// Where the variable part of such a row begins: the end of the column, and the column.
const ENDS: usize = 13;

/// The same row, compressed by itself.
fn compressed_row(key: u32, text: &[u8]) -> Vec<u8> {
    let key = pack(Packing::Integer { len: 4 }, &key.to_le_bytes());
    let mut row = Vec::new();
    encode_cd_record(&[PackedCell::Bytes(&key), PackedCell::Bytes(text)], None, &mut row);
    row
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Slot {
    key: u32,
    /// Of a ghost, as it was before.
    row: Vec<u8>,
    ghost: bool,
}

impl Slot {
    /// The bytes on the page.
    fn on_page(&self) -> Vec<u8> {
        let mut bytes = self.row.clone();
        if self.ghost {
            let is_compressed = bytes[0] & 1 != 0;
            bytes[0] = if is_compressed { bytes[0] & !0x1C | 3 << 2 } else { bytes[0] & !0x0E | 6 << 1 };
        }
        bytes
    }
}

/// A record, and what rewind must be told with it.
#[derive(Clone, Debug)]
struct Logged {
    bytes: Vec<u8>,
    /// Of a compensation: the index of the record that it undid.
    undone: Option<usize>,
    /// Of a split: the record of the other page.
    moved: Option<Vec<u8>>,
}

/// What a record did, so that it can be undone.
#[derive(Clone, Debug)]
enum Did {
    Insert,
    Ghost,
    Modify { before: Vec<u8>, in_columns: bool },
}

/// The page as it should be, and the log that made it so.
#[derive(Default)]
struct Model {
    slots: Vec<Slot>,
    log: Vec<Logged>,
    /// The slots after each record.
    states: Vec<Vec<Slot>>,
    /// What can be undone: record, row, what was done to it.
    undo: Vec<(usize, u32, Did)>,
    keys: u32,
    compressed: bool,
}

fn lsn(index: usize) -> Lsn {
    Lsn::new(40, 16 + (index / 100) as u32, (index % 100) as u16 + 1)
}

impl Model {
    fn row(&self, key: u32, text: &[u8]) -> Vec<u8> {
        if self.compressed { compressed_row(key, text) } else { row(key, text) }
    }

    fn log(
        &mut self,
        slot: usize,
        undone: Option<usize>,
        moved: Option<Vec<u8>>,
        build: impl FnOnce(&mut RecordBuilder, &RecordHead, &PageTarget),
    ) {
        let index = self.log.len();
        let head = RecordHead {
            prev_lsn: lsn(undone.unwrap_or(index)),
            flags: flags::IN_TRANSACTION | if undone.is_some() { flags::COMPENSATION } else { 0 },
            transaction: TransactionId { high: 0, low: 7 },
        };
        let prev_page_lsn = index.checked_sub(1).map_or(Lsn::new(0, 0, 1), lsn);
        let target = PageTarget { page: PAGE, slot: slot as u16, obj_id: 41, index_id: 256, prev_page_lsn };
        let mut builder = RecordBuilder::new();
        build(&mut builder, &head, &target);
        self.log.push(Logged { bytes: builder.bytes().to_vec(), undone, moved });
        self.states.push(self.slots.clone());
    }

    fn format(&mut self) {
        self.log(0xFFFF, None, None, |b, head, target| {
            let none = PageId::default();
            let f = FormatRecord {
                page_type: PageType::DATA,
                level: 0,
                prev: none,
                next: none,
                min_len: 8,
                iam_start: none,
            };
            b.format_page(head, Context::CLUSTERED, target, &f);
        });
    }

    fn insert(&mut self, at: usize, replaces: bool, slot: Slot, undone: Option<usize>) {
        let (key, row) = (slot.key, slot.row.clone());
        if replaces {
            self.slots[at] = slot;
        } else {
            self.slots.insert(at, slot);
        }
        let index = self.log.len();
        self.log(at, undone, None, |b, head, target| {
            let flags = if replaces { 2 } else { 0 };
            b.insert_rows(head, Context::CLUSTERED, target, ROWSET, flags, &[&row], &[]);
        });
        if undone.is_none() {
            self.undo.push((index, key, Did::Insert));
        }
    }

    fn ghost(&mut self, at: usize, undone: Option<usize>) {
        self.slots[at].ghost = true;
        let slot = self.slots[at].clone();
        let image = if undone.is_some() { &[][..] } else { &slot.row };
        let index = self.log.len();
        self.log(at, undone, None, |b, head, target| {
            b.delete_rows(head, Context::MARK_AS_GHOST, target, ROWSET, 0, image, &[]);
        });
        if undone.is_none() {
            self.undo.push((index, slot.key, Did::Ghost));
        }
    }

    fn modify(&mut self, at: usize, new: Vec<u8>, in_columns: bool, undone: Option<usize>) {
        let old = std::mem::replace(&mut self.slots[at].row, new.clone());
        let key = self.slots[at].key;
        let before = |part: Range<usize>| if undone.is_some() { &[][..] } else { &old[part] };
        // The header and the descriptors of a compressed row change with its values.
        let (ends, data) = if self.compressed { (0, 3) } else { (ENDS, ENDS + 2) };
        let index = self.log.len();
        self.log(at, undone, None, |b, head, target| {
            if in_columns {
                let chunk = |at: usize, old_end: usize, new_end: usize| ColumnChunk {
                    old_offset: at as u16,
                    new_offset: at as u16,
                    old_len: (old_end - at) as u16,
                    before: before(at..old_end),
                    after: &new[at..new_end],
                };
                let chunks = [chunk(ends, data, data), chunk(data, old.len(), new.len())];
                b.modify_columns(head, Context::CLUSTERED, target, ROWSET, &chunks, (&[], &[]));
            } else {
                let (size, images) = ((old.len() - ends) as u16, (before(ends..old.len()), &new[ends..]));
                b.modify_row(head, Context::CLUSTERED, target, ROWSET, ends as u16, size, images, (&[], &[]));
            }
        });
        if undone.is_none() {
            self.undo.push((index, key, Did::Modify { before: old, in_columns }));
        }
    }

    fn expunge(&mut self, at: usize) {
        let gone = self.slots.remove(at);
        self.log(at, None, None, |b, head, target| {
            b.expunge_rows(head, Context::CLUSTERED, target);
        });
        self.undo.retain(|(_, key, _)| *key != gone.key);
    }

    fn split(&mut self, at: usize) {
        let gone = self.slots.split_off(at);
        let rows: Vec<Vec<u8>> = gone.iter().map(Slot::on_page).collect();
        let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        let mut other = RecordBuilder::new();
        let target = PageTarget { page: OTHER, slot: 0, obj_id: 41, index_id: 256, prev_page_lsn: Lsn::ZERO };
        other.insert_rows(&RecordHead::NONE, Context::CLUSTERED, &target, ROWSET, 0, &rows, &[]);
        self.log(at, None, Some(other.bytes().to_vec()), |b, head, target| {
            b.delete_split(head, Context::CLUSTERED, target, OTHER, rows.len() as u16, 0);
        });
        self.undo.retain(|(_, key, _)| !gone.iter().any(|slot| slot.key == *key));
    }

    /// Undoes the last thing done.
    fn roll_back(&mut self) {
        let Some((record, key, did)) = self.undo.pop() else { return };
        let at = self.slots.iter().position(|s| s.key == key).expect("the row is on the page");
        match did {
            Did::Insert => self.ghost(at, Some(record)),
            Did::Ghost => {
                let slot = Slot { ghost: false, ..self.slots[at].clone() };
                self.insert(at, true, slot, Some(record));
            }
            Did::Modify { before, in_columns } => self.modify(at, before, in_columns, Some(record)),
        }
    }

    fn step(&mut self, step: &(u8, prop::sample::Index, Vec<u8>)) {
        let (what, at, text) = step;
        let count = self.slots.len();
        let pick = |n: usize| at.index(n);
        let live: Vec<usize> = (0..count).filter(|&i| !self.slots[i].ghost).collect();
        let ghosts: Vec<usize> = (0..count).filter(|&i| self.slots[i].ghost).collect();
        let new = |model: &mut Self| {
            model.keys += 1;
            Slot { key: model.keys, row: model.row(model.keys, text), ghost: false }
        };
        match what % 8 {
            0 | 1 if count < ROWS_MAX => {
                let slot = new(self);
                self.insert(pick(count + 1), false, slot, None);
            }
            2 | 3 if !live.is_empty() => {
                let at = live[pick(live.len())];
                let new = self.row(self.slots[at].key, text);
                self.modify(at, new, what % 8 == 3, None);
            }
            4 if !live.is_empty() => self.ghost(live[pick(live.len())], None),
            5 if !ghosts.is_empty() => {
                let at = ghosts[pick(ghosts.len())];
                // Cleanup waits for the transaction; an insert does not.
                let key = self.slots[at].key;
                if text.len() % 2 == 0 {
                    self.expunge(at);
                } else if !self.undo.iter().any(|(_, k, _)| *k == key) {
                    let slot = new(self);
                    self.insert(at, true, slot, None);
                }
            }
            6 if count > 1 && text.len() % 4 == 0 => self.split(1 + pick(count - 1)),
            7 => self.roll_back(),
            _ => {}
        }
    }
}

fn read(log: &[Logged], index: usize) -> Record<'_> {
    Record::read(lsn(index), &log[index].bytes).expect("a record that was encoded")
}

/// Compares a page with the slots that it should have; `stubs`: ghosts may have lost their columns.
fn check_page(page: &PageBytes, slots: &[Slot], stubs: bool) -> Result<(), TestCaseError> {
    let header = PageHeader::read(page).expect("a header");
    prop_assert_eq!(usize::from(header.slot_count), slots.len());
    for (slot, expected) in slots.iter().enumerate() {
        let found = row_at(page, slot as u16).expect("a row").expect("a row that is known");
        let ghost = RecordKind::of(found[0]) == RecordKind::GhostData;
        if !(stubs && expected.ghost && ghost) {
            prop_assert_eq!(found, expected.on_page(), "slot {}", slot);
        }
    }
    Ok(())
}

fn steps() -> impl Strategy<Value = Vec<(u8, prop::sample::Index, Vec<u8>)>> {
    prop::collection::vec(
        (any::<u8>(), any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..300)),
        1..120,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn redo_gives_the_page_and_rewind_gives_it_back(
        list in steps(),
        begin in any::<prop::sample::Index>(),
        base in any::<prop::sample::Index>(),
        compressed: bool,
    ) {
        let mut model = Model { compressed, ..Model::default() };
        model.format();
        for step in &list {
            model.step(step);
        }
        // Redo, one record after the other; each only once.
        let mut page = [0; PAGE_SIZE];
        let mut pages = Vec::new();
        for index in 0..model.log.len() {
            let record = read(&model.log, index);
            prop_assert_eq!(apply(&mut page, &record), Ok(Outcome::Applied));
            prop_assert_eq!(apply(&mut page, &record), Ok(Outcome::AlreadyThere));
            check_page(&page, &model.states[index], false)?;
            pages.push(page);
        }
        // Rewind from any page to any record before it.
        let base = base.index(pages.len());
        let mut begin = begin.index(base + 1);
        // The log of a backup begins with the oldest transaction that is open: what is undone in it is in it, too.
        while let Some(undone) = model.log[begin..].iter().filter_map(|r| r.undone).filter(|&u| u < begin).min() {
            begin = undone;
        }
        let others: Vec<Option<Record<'_>>> = model.log.iter().map(|logged| {
            logged.moved.as_ref().map(|bytes| Record::read(Lsn::MAX, bytes).expect("a record"))
        }).collect();
        let window: Vec<Step<'_>> = (begin..model.log.len()).map(|index| Step {
            record: read(&model.log, index),
            undone: model.log[index].undone.map(|undone| read(&model.log, undone)),
            moved: others[index].into_iter().collect(),
        }).collect();
        let rewound = rewind(&pages[base], &window).expect("rewind");
        prop_assert_eq!(rewound.unknown_rows, 0);
        if begin > 0 {
            check_page(&rewound.page, &model.states[begin - 1], true)?;
        }
        // And from there redo gives the rest.
        let mut page = *rewound.page;
        for index in begin..model.log.len() {
            prop_assert_eq!(apply(&mut page, &read(&model.log, index)), Ok(Outcome::Applied));
            check_page(&page, &model.states[index], true)?;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// A log that begins in the middle of transactions which are undone in it: rows may be unknown until then, but never wrong.
    #[test]
    fn rewind_without_what_was_undone_is_never_wrong(
        list in steps(),
        begin in any::<prop::sample::Index>(),
        base in any::<prop::sample::Index>(),
        compressed: bool,
    ) {
        let mut model = Model { compressed, ..Model::default() };
        model.format();
        for step in &list {
            model.step(step);
        }
        let mut page = [0; PAGE_SIZE];
        let mut pages = Vec::new();
        for index in 0..model.log.len() {
            apply(&mut page, &read(&model.log, index)).expect("redo");
            pages.push(page);
        }
        let base = base.index(pages.len());
        let begin = 1 + begin.index(base + 1);
        let others: Vec<Option<Record<'_>>> = model.log.iter().map(|logged| {
            logged.moved.as_ref().map(|bytes| Record::read(Lsn::MAX, bytes).expect("a record"))
        }).collect();
        let window: Vec<Step<'_>> = (begin..model.log.len()).map(|index| Step {
            record: read(&model.log, index),
            undone: model.log[index].undone.filter(|&u| u >= begin).map(|undone| read(&model.log, undone)),
            moved: others[index].into_iter().collect(),
        }).collect();
        let rewound = rewind(&pages[base], &window).expect("rewind");
        let mut page = *rewound.page;
        for index in begin - 1..model.log.len() {
            if index >= begin {
                let record = read(&model.log, index);
                apply(&mut page, &record).expect("redo");
                for row in rewound.revealed.iter().filter(|r| r.lsn == record.lsn) {
                    reveal(&mut page, row.slot, &row.row).expect("a row");
                }
            }
            let slots = &model.states[index];
            prop_assert_eq!(usize::from(PageHeader::read(&page).expect("a header").slot_count), slots.len());
            for (slot, expected) in slots.iter().enumerate() {
                let Some(found) = row_at(&page, slot as u16).expect("a row") else {
                    prop_assert!(index < base, "slot {} is unknown behind the page as it is", slot);
                    continue;
                };
                let ghost = RecordKind::of(found[0]) == RecordKind::GhostData;
                // A row that is undone may be a ghost already.
                let stub = ghost && found.len() == 4;
                let right = stub && (expected.ghost || index < base) || found == expected.on_page();
                prop_assert!(right, "slot {slot} after {index}, log from {begin}, page at {base}: {found:?} not {expected:?}");
            }
        }
    }
}

#[test]
fn a_record_that_does_not_follow_the_page_is_refused() {
    let mut model = Model::default();
    model.format();
    for key in 1..4 {
        model.insert(0, false, Slot { key, row: row(key, b"x"), ghost: false }, None);
    }
    let mut page = [0; PAGE_SIZE];
    apply(&mut page, &read(&model.log, 0)).expect("format");
    apply(&mut page, &read(&model.log, 1)).expect("insert");
    let error = apply(&mut page, &read(&model.log, 3)).expect_err("record 2 is missing");
    assert!(matches!(error, RedoError::OutOfOrder { .. }), "{error}");
    for part in ["1:300", &lsn(3).to_string(), &lsn(2).to_string(), &lsn(1).to_string()] {
        assert!(error.to_string().contains(part), "{error} names {part}");
    }
}

#[test]
fn an_image_that_is_not_on_the_page_is_refused() {
    let mut model = Model::default();
    model.format();
    model.insert(0, false, Slot { key: 1, row: row(1, b"here"), ghost: false }, None);
    model.slots[0].row = row(1, b"there");
    model.ghost(0, None);
    let mut page = [0; PAGE_SIZE];
    apply(&mut page, &read(&model.log, 0)).expect("format");
    apply(&mut page, &read(&model.log, 1)).expect("insert");
    let error = apply(&mut page, &read(&model.log, 2)).expect_err("another row");
    assert!(matches!(error, RedoError::Contradiction { .. }), "{error}");
    let window: Vec<Step<'_>> =
        (1..3).map(|i| Step { record: read(&model.log, i), undone: None, moved: Vec::new() }).collect();
    let mut ahead = page;
    logferry_mssql_format::redo::set_lsn(&mut ahead, lsn(2));
    assert!(rewind(&ahead, &window).is_err());
}

/// A page of compressed rows, and a record that changes it by `change`: what redo says. `tear` changes the page before.
#[track_caller]
fn check_compressed(tear: impl FnOnce(&mut PageBytes), change: impl FnOnce(&mut Model), expect: &str) {
    let mut model = Model { compressed: true, ..Model::default() };
    model.format();
    for key in 1..4 {
        let slot = Slot { key, row: compressed_row(key, b"some text of more than eight bytes"), ghost: false };
        model.insert(0, false, slot, None);
    }
    let mut page = [0; PAGE_SIZE];
    for index in 0..4 {
        apply(&mut page, &read(&model.log, index)).expect("redo");
    }
    tear(&mut page);
    change(&mut model);
    let record = read(&model.log, 4);
    match apply(&mut page.clone(), &record) {
        Ok(outcome) => assert_eq!(format!("{outcome:?}"), expect),
        Err(e) => assert!(e.to_string().contains(expect), "{e}"),
    }
    if expect.contains("PAGE") {
        logferry_mssql_format::redo::set_lsn(&mut page, lsn(4));
        let error = rewind(&page, &[Step { record, undone: None, moved: Vec::new() }]).expect_err("compressed");
        assert!(error.to_string().contains(expect), "{error}");
    }
}

fn insert(row: Vec<u8>) -> impl FnOnce(&mut Model) {
    move |model| model.insert(0, false, Slot { key: 9, row, ghost: false }, None)
}

#[test]
fn what_is_not_known_of_compressed_rows_is_refused() {
    let row = || compressed_row(9, b"text");
    let with = |at: usize, byte: u8| {
        let mut row = row();
        row[at] = byte;
        row
    };
    check_compressed(|_| (), insert(row()), "Applied");
    check_compressed(|_| (), insert([row(), vec![0]].concat()), "a compressed row of");
    check_compressed(|_| (), insert(row()[..row().len() - 1].to_vec()), "short data");
    // Kinds of records that only heaps have, and a descriptor that nobody knows.
    check_compressed(|_| (), insert(with(0, 0x01 | 2 << 2)), "not a forwarding stub");
    check_compressed(|_| (), insert(with(0, 0x01 | 4 << 2)), "moved within its heap");
    check_compressed(|_| (), insert(with(2, 0xFF)), "unknown descriptor");
    // A change that leaves something over, or takes what is not there.
    check_compressed(
        |_| (),
        |model| {
            let longer = [&model.slots[0].row[..], &[7]].concat();
            model.modify(0, longer, false, None);
        },
        "stands in",
    );
    check_compressed(
        |_| (),
        |model| {
            model.slots[1].row = compressed_row(2, b"some TEXT of more than eight bytes");
            model.modify(1, compressed_row(2, b"x"), true, None);
        },
        "not those to change",
    );
    check_compressed(
        |_| (),
        |model| {
            model.slots[1].row = compressed_row(2, b"some TEXT of more than eight bytes");
            model.ghost(1, None);
        },
        "is not the one to delete",
    );
}

#[test]
fn pages_that_are_compressed_as_a_whole_are_left_alone() {
    let key = pack(Packing::Integer { len: 4 }, &[70, 0, 0, 0]);
    let rows = vec![vec![PackedCell::Bytes(&key), PackedCell::Bytes(b"the same text")]; 2];
    let (information, records) = compress_page(&rows);
    let whole = |flag: u8| {
        let (information, record) = (&information, &records[0]);
        move |page: &mut PageBytes| {
            page[2] = flag;
            page[96..96 + information.len()].copy_from_slice(information);
            let row = 96 + information.len();
            page[row..row + record.len()].copy_from_slice(record);
            page[22..24].copy_from_slice(&[1, 0]);
            page[30..32].copy_from_slice(&((row + record.len()) as u16).to_le_bytes());
            page[PAGE_SIZE - 2..].copy_from_slice(&(row as u16).to_le_bytes());
        }
    };
    check_compressed(whole(0x80), insert(compressed_row(9, b"text")), "compressed as a whole (PAGE)");
    check_compressed(whole(0x80), |model| model.ghost(0, None), "compressed as a whole (PAGE)");
    // The header does not say so, and the page looks so.
    check_compressed(whole(0), insert(compressed_row(9, b"text")), "compressed as a whole (PAGE)");
    // Entries of indexes.
    check_compressed(|page| page[1] = PageType::INDEX.0, insert(compressed_row(9, b"text")), "entries are compressed");
}

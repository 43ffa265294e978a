//! Log records to bytes: fixed parts and elements as SQL Server 2016 writes them.

mod parts;

use logferry_model::{Lsn, TransactionId};

use crate::log::op::{Context, Op};
use crate::page::{PageId, PageType};

pub use parts::{BeginXact, ColumnChunk, CountDelta, EndXact, FormatRecord, PageTarget, RecordHead, RootChange};

/// Writes one record after the other into one buffer. Each method replaces what was in it.
#[derive(Debug, Default)]
pub struct RecordBuilder {
    bytes: Vec<u8>,
}

/// Records are padded to this.
const ALIGN: usize = 8;

impl RecordBuilder {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The record, with its padding.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Sets bits of the record's [flags](crate::log::record::flags) besides those that it has.
    pub fn add_flags(&mut self, bits: u16) {
        if let Some([low, high]) = self.bytes.get_mut(14..16) {
            *low |= bits.to_le_bytes()[0];
            *high |= bits.to_le_bytes()[1];
        }
    }

    /// BEGIN_XACT
    pub fn begin_xact(&mut self, head: &RecordHead, b: &BeginXact<'_>) -> &[u8] {
        self.start(head, Op::BEGIN_XACT, Context::NULL);
        self.u32(b.spid).u32(b.status).u32(b.xact_type).u32(0).raw(&b.time).u64(b.xact_id).u64(0);
        self.xact(b.oldest_active).xact(b.parent);
        let name: Vec<u8> = b.name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        self.elements(&[&name, b.sid])
    }

    /// COMMIT_XACT, ABORT_XACT
    pub fn end_xact(&mut self, head: &RecordHead, op: Op, e: &EndXact) -> &[u8] {
        self.start(head, op, Context::NULL);
        self.raw(&e.time).lsn(e.begin_lsn).u16(u16::from(op == Op::ABORT_XACT)).zeros(20).u64(e.xact_id).u64(0);
        self.elements(&[])
    }

    /// MARK_SAVEPOINT: `previous` is the savepoint before it, or zero.
    pub fn mark_savepoint(&mut self, head: &RecordHead, previous: Lsn, name: &str) -> &[u8] {
        self.start(head, Op::MARK_SAVEPOINT, Context::NULL);
        self.lsn(previous);
        let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        self.elements(&[&name])
    }

    /// SHRINK_NOOP: a remark that changes nothing.
    pub fn remark(&mut self, code: u32, text: &str) -> &[u8] {
        self.start(&RecordHead::NONE, Op::SHRINK_NOOP, Context::DIAGNOSTICS);
        let text: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        self.elements(&[&code.to_le_bytes(), &text])
    }

    /// LOCK_XACT
    pub fn lock_xact(&mut self, head: &RecordHead, lock: &[u8]) -> &[u8] {
        self.start(head, Op::LOCK_XACT, Context::NULL);
        self.elements(&[lock])
    }

    /// INSERT_ROWS: rows at `target.slot` and the slots behind it. `flags` 2: replaces the ghost at the slot; 1: the entry of an
    /// index that an UPDATE moved here (observed on 2008, with the DELETE_ROWS before it).
    #[allow(clippy::too_many_arguments)]
    pub fn insert_rows(
        &mut self,
        head: &RecordHead,
        context: Context,
        target: &PageTarget,
        rowset: u64,
        flags: u16,
        rows: &[&[u8]],
        lock: &[u8],
    ) -> &[u8] {
        self.start(head, Op::INSERT_ROWS, context);
        self.target(target).u64(rowset).u16(0).u16(flags).u16(row_flags(context));
        let mut elements = rows.to_vec();
        elements.extend([&[][..], lock]);
        self.elements(&elements)
    }

    /// DELETE_ROWS: `row` is empty in compensations. `flags` bit 1: the entry of an index goes elsewhere.
    #[allow(clippy::too_many_arguments)]
    pub fn delete_rows(
        &mut self,
        head: &RecordHead,
        context: Context,
        target: &PageTarget,
        rowset: u64,
        flags: u16,
        row: &[u8],
        lock: &[u8],
    ) -> &[u8] {
        self.start(head, Op::DELETE_ROWS, context);
        self.target(target).u64(rowset).u16(1).u16(flags).u16(row_flags(context));
        self.elements(&[row, lock])
    }

    /// MODIFY_ROW of a row: `size` bytes at `offset` give way to `after`; `before` is empty in compensations.
    #[allow(clippy::too_many_arguments)]
    pub fn modify_row(
        &mut self,
        head: &RecordHead,
        context: Context,
        target: &PageTarget,
        rowset: u64,
        offset: u16,
        size: u16,
        (before, after): (&[u8], &[u8]),
        (key, lock): (&[u8], &[u8]),
    ) -> &[u8] {
        self.start(head, Op::MODIFY_ROW, context);
        self.target(target).u64(rowset).u16(offset).u16(size).u16(row_flags(context));
        self.elements(&[before, after, key, lock, &[], &[]])
    }

    /// MODIFY_ROW of the row of a page that belongs to no table (boot page, PFS): `elements` is how many there are,
    /// 2, 3 or 6.
    #[allow(clippy::too_many_arguments)]
    pub fn modify_special(
        &mut self,
        head: &RecordHead,
        context: Context,
        target: &PageTarget,
        offset: u16,
        (before, after): (&[u8], &[u8]),
        lock: &[u8],
        elements: usize,
    ) -> &[u8] {
        self.start(head, Op::MODIFY_ROW, context);
        // Of PFS pages, the rowset is that of object 99.
        let rowset = if context == Context::PFS { 99 << 16 } else { 0 };
        self.target(target).u64(rowset).u16(offset).u16(before.len() as u16).u16(0);
        let all: [&[u8]; 6] = [before, after, lock, &[], &[], &[]];
        self.elements(&all[..elements])
    }

    /// MODIFY_HEADER: bytes of the page header.
    pub fn modify_header(
        &mut self,
        head: &RecordHead,
        context: Context,
        target: &PageTarget,
        offset: u16,
        before: &[u8],
        after: &[u8],
    ) -> &[u8] {
        self.start(head, Op::MODIFY_HEADER, context);
        self.target(target).u64(0).u16(offset).u16(0).u16(0);
        self.elements(&[before, after])
    }

    /// MODIFY_COLUMNS
    pub fn modify_columns(
        &mut self,
        head: &RecordHead,
        context: Context,
        target: &PageTarget,
        rowset: u64,
        chunks: &[ColumnChunk<'_>],
        (key, lock): (&[u8], &[u8]),
    ) -> &[u8] {
        self.start(head, Op::MODIFY_COLUMNS, context);
        self.target(target).u64(rowset).u16(0).u16(0).u16(row_flags(context));
        let offsets: Vec<u8> =
            chunks.iter().flat_map(|c| [c.old_offset.to_le_bytes(), c.new_offset.to_le_bytes()]).flatten().collect();
        let lengths: Vec<u8> = chunks.iter().flat_map(|c| c.old_len.to_le_bytes()).collect();
        let mut elements: Vec<&[u8]> = vec![&offsets, &lengths, key, lock];
        elements.extend(chunks.iter().flat_map(|c| [c.before, c.after]));
        self.elements(&elements)
    }

    /// CLEAR_GAM_BITS of the differential map: the changed bytes, as MODIFY_COLUMNS has them.
    pub fn clear_gam_bits(&mut self, head: &RecordHead, target: &PageTarget, chunk: &ColumnChunk<'_>) -> &[u8] {
        self.start(head, Op::CLEAR_GAM_BITS, Context::DIFF_MAP);
        self.target(target).u64(0).zeros(6);
        let mut offsets = [0; 4];
        offsets[..2].copy_from_slice(&chunk.old_offset.to_le_bytes());
        offsets[2..].copy_from_slice(&chunk.new_offset.to_le_bytes());
        self.elements(&[&offsets, &chunk.old_len.to_le_bytes(), &[], &[], chunk.before, chunk.after])
    }

    /// EXPUNGE_ROWS
    pub fn expunge_rows(&mut self, head: &RecordHead, context: Context, target: &PageTarget) -> &[u8] {
        self.start(head, Op::EXPUNGE_ROWS, context);
        self.target(target).zeros(14);
        self.elements(&[])
    }

    /// FORMAT_PAGE
    pub fn format_page(&mut self, head: &RecordHead, context: Context, target: &PageTarget, f: &FormatRecord) -> &[u8] {
        self.start(head, Op::FORMAT_PAGE, context);
        self.target(target).raw(&[f.page_type.0, 0, f.level, 0]);
        self.raw(&f.prev.to_bytes()).u16(f.min_len).raw(&f.next.to_bytes());
        self.u16(if matches!(f.page_type, PageType::DATA | PageType::INDEX) { 4 } else { 0 })
            .raw(&f.iam_start.to_bytes())
            .zeros(6);
        self.elements(&[])
    }

    /// FORMAT_PAGE with an image of the page: header and rows, and the slot array as it stands on the page.
    pub fn format_image(
        &mut self,
        head: &RecordHead,
        context: Context,
        target: &PageTarget,
        page_type: PageType,
        (rows, slots): (&[u8], &[u8]),
    ) -> &[u8] {
        self.start(head, Op::FORMAT_PAGE, context);
        self.target(target).raw(&[page_type.0]).zeros(31);
        self.elements(&[rows, slots])
    }

    /// DELETE_SPLIT: `rows` rows from `target.slot` on were moved to `new_page`.
    pub fn delete_split(
        &mut self,
        head: &RecordHead,
        context: Context,
        target: &PageTarget,
        new_page: PageId,
        rows: u16,
        freed: u16,
    ) -> &[u8] {
        self.start(head, Op::DELETE_SPLIT, context);
        self.target(target).raw(&new_page.to_bytes()).u16(rows).u16(freed).u16(0x6401);
        self.elements(&[])
    }

    /// INSYSXACT: a system transaction takes hold of a page, or lets it go.
    pub fn in_sys_xact(&mut self, head: &RecordHead, context: Context, target: &PageTarget, enters: bool) -> &[u8] {
        self.start(head, Op::INSYSXACT, context);
        self.target(target).u16(u16::from(enters));
        let mut lock = [0x02, 0x02, 0x01, 0x0a, 0, 0, 0, 0, 0, 0];
        lock[4..].copy_from_slice(&target.page.to_bytes());
        self.elements(&[if enters { &lock[..] } else { &[] }])
    }

    /// SET_BITS: `bit` counts from the begin of the map's record, whose header is 32 bits.
    pub fn set_bits(
        &mut self,
        head: &RecordHead,
        context: Context,
        target: &PageTarget,
        bit: u16,
        on: bool,
        lock: Option<&[u8]>,
    ) -> &[u8] {
        self.start(head, Op::SET_BITS, context);
        self.target(target).u16(bit).u16(1).u16(u16::from(on));
        match lock {
            Some(lock) => self.elements(&[lock]),
            None => self.elements(&[]),
        }
    }

    /// SET_FREE_SPACE: the byte of a page in a PFS page.
    pub fn set_free_space(&mut self, target: &PageTarget, offset: u16, new: u8, old: u8) -> &[u8] {
        self.start(&RecordHead::NONE, Op::SET_FREE_SPACE, Context::PFS);
        self.target(target).u16(offset).raw(&[new, old]);
        self.elements(&[])
    }

    /// HOBT_DELTA: rows, data pages, pages used and pages reserved, as differences.
    pub fn hobt_delta(&mut self, head: &RecordHead, rowset: u64, deltas: [i64; 4]) -> &[u8] {
        self.start(head, Op::HOBT_DELTA, Context::NULL);
        self.u64(rowset);
        for delta in deltas {
            self.raw(&delta.to_le_bytes());
        }
        self.without_elements()
    }

    /// HOBT_DDL: `action` 1 create, 2 modify, 3 drop.
    pub fn hobt_ddl(&mut self, head: &RecordHead, rowset: u64, action: u32) -> &[u8] {
        self.start(head, Op::HOBT_DDL, Context::NULL);
        self.u64(rowset >> 16).u32(action);
        self.elements(&[])
    }

    /// CREATE_ALLOCCHAIN
    pub fn create_alloc_chain(&mut self, head: &RecordHead, iam: PageId, obj_id: u32, index_id: u16) -> &[u8] {
        self.start(head, Op::CREATE_ALLOCCHAIN, Context::NULL);
        self.raw(&iam.to_bytes()).u16(0).u32(obj_id).u16(index_id).u16(0);
        self.without_elements()
    }

    /// INVALIDATE_CACHE
    pub fn invalidate_cache(&mut self, head: &RecordHead, obj_id: u32, index_id: u16) -> &[u8] {
        self.start(head, Op::INVALIDATE_CACHE, Context::NULL);
        self.u16(1);
        let mut key = [0; 8];
        key[..4].copy_from_slice(&obj_id.to_le_bytes());
        key[4..6].copy_from_slice(&index_id.to_le_bytes());
        self.elements(&[&key])
    }

    /// INVALIDATE_CACHE of an object: class and id (kind 3, observed at the end of DROP TABLE).
    pub fn invalidate_object(&mut self, head: &RecordHead, class: u32, id: u32) -> &[u8] {
        self.start(head, Op::INVALIDATE_CACHE, Context::NULL);
        self.u16(3);
        self.elements(&[&class.to_le_bytes(), &id.to_le_bytes()])
    }

    /// ROOT_CHANGE
    pub fn root_change(&mut self, head: &RecordHead, target: &PageTarget, r: &RootChange) -> &[u8] {
        self.start(head, Op::ROOT_CHANGE, Context::CLUSTERED);
        let which = match r.offset {
            33 => 0,
            27 => 1,
            _ => 2,
        };
        self.target(target).u32(which).u32(0).u64(r.rowset).u32(r.obj_id).u16(r.index_id).u16(0);
        self.raw(&r.new.to_bytes()).u16(0).raw(&r.old.to_bytes()).u16(0).u32(u32::from(r.offset)).u32(0);
        self.without_elements()
    }

    /// COUNT_DELTA
    pub fn count_delta(&mut self, target: &PageTarget, c: &CountDelta<'_>) -> &[u8] {
        self.start(&RecordHead::NONE, Op::COUNT_DELTA, Context::CLUSTERED);
        self.target(target).u32(c.table).u32(0).u64(c.rowset).u64(0).u64(0);
        let width = if c.table == 0 { 8 } else { 0 };
        if c.table == 2 {
            self.u64(u64::from(c.column));
        }
        for (value, offset) in c.counts {
            self.raw(&value.to_le_bytes()).u32(*offset).u32(width);
        }
        self.bytes.resize(208, 0);
        self.without_elements()
    }

    /// BEGIN_CKPT: `next` is the id that the next transaction will have.
    pub fn begin_checkpoint(
        &mut self,
        prev_checkpoint: Lsn,
        time: [u8; 8],
        db_version: u16,
        next: TransactionId,
    ) -> &[u8] {
        self.start(&RecordHead { prev_lsn: prev_checkpoint, ..RecordHead::NONE }, Op::BEGIN_CKPT, Context::NULL);
        self.raw(&time).zeros(10).u16(db_version).xact(next).zeros(46);
        self.without_elements()
    }

    /// XACT_CKPT: the transactions that are open.
    pub fn xact_checkpoint(&mut self, open: &[(TransactionId, Lsn)]) -> &[u8] {
        self.start(&RecordHead::NONE, Op::XACT_CKPT, Context::BOOT_PAGE_CKPT);
        let list: Vec<u8> = open
            .iter()
            .flat_map(|(id, begin)| {
                let mut entry = id.low.to_le_bytes().to_vec();
                entry.extend(id.high.to_le_bytes());
                entry.extend(begin.to_le_bytes());
                entry
            })
            .collect();
        if open.is_empty() { self.elements(&[]) } else { self.elements(&[&list]) }
    }

    /// END_CKPT: `min_lsn` is where recovery has to begin.
    pub fn end_checkpoint(&mut self, begin: Lsn, time: [u8; 8], min_lsn: Lsn, db_version: u16) -> &[u8] {
        self.start(&RecordHead { prev_lsn: begin, ..RecordHead::NONE }, Op::END_CKPT, Context::NULL);
        self.raw(&time).lsn(min_lsn).u16(db_version).zeros(92);
        self.without_elements()
    }

    fn start(&mut self, head: &RecordHead, op: Op, context: Context) {
        self.bytes.clear();
        self.bytes.extend([0; 4]);
        self.lsn(head.prev_lsn).u16(head.flags).xact(head.transaction).raw(&[op.0, context.0]);
    }

    fn target(&mut self, t: &PageTarget) -> &mut Self {
        self.raw(&t.page.to_bytes()).u16(t.slot).u32(t.obj_id).lsn(t.prev_page_lsn).u16(t.index_id)
    }

    /// Ends the fixed part and adds the elements.
    fn elements(&mut self, elements: &[&[u8]]) -> &[u8] {
        self.end_fixed();
        self.u16(elements.len() as u16);
        for element in elements {
            self.u16(u16::try_from(element.len()).expect("an element is shorter than 64 KiB"));
        }
        for element in elements {
            self.pad(4);
            self.bytes.extend_from_slice(element);
        }
        self.pad(ALIGN);
        &self.bytes
    }

    /// Ends a record that has no list of elements.
    fn without_elements(&mut self) -> &[u8] {
        self.end_fixed();
        self.pad(ALIGN);
        &self.bytes
    }

    fn end_fixed(&mut self) {
        let fixed = self.bytes.len() as u16;
        self.bytes[2..4].copy_from_slice(&fixed.to_le_bytes());
    }

    fn pad(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn zeros(&mut self, count: usize) -> &mut Self {
        self.bytes.resize(self.bytes.len() + count, 0);
        self
    }

    fn u16(&mut self, n: u16) -> &mut Self {
        self.raw(&n.to_le_bytes())
    }

    fn u32(&mut self, n: u32) -> &mut Self {
        self.raw(&n.to_le_bytes())
    }

    fn u64(&mut self, n: u64) -> &mut Self {
        self.raw(&n.to_le_bytes())
    }

    fn lsn(&mut self, lsn: Lsn) -> &mut Self {
        self.raw(&lsn.to_le_bytes())
    }

    fn xact(&mut self, id: TransactionId) -> &mut Self {
        self.u32(id.low).u16(id.high)
    }
}

/// @60, [RowFlags]: seen as 0x41 on heaps, 0x241 on LOB pages, 0 on b-trees.
fn row_flags(context: Context) -> u16 {
    match context {
        Context::HEAP => 0x41,
        Context::TEXT_MIX | Context::TEXT_TREE => 0x241,
        _ => 0,
    }
}

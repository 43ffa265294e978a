//! What records say, by operation.

use logferry_model::{Lsn, TransactionId};

use crate::page::{PageId, PageType};

/// What every record says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHead {
    /// The record of the same transaction before it; of a compensation: the next one to undo.
    pub prev_lsn: Lsn,
    /// See [`crate::log::record::flags`].
    pub flags: u16,
    /// The transaction, or none.
    pub transaction: TransactionId,
}

impl RecordHead {
    /// Of a record that belongs to no transaction.
    pub const NONE: RecordHead =
        RecordHead { prev_lsn: Lsn::ZERO, flags: 0, transaction: TransactionId { high: 0, low: 0 } };
}

/// What the operations on a page say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageTarget {
    /// The page.
    pub page: PageId,
    /// The slot; 0xFFFF for operations on a whole page.
    pub slot: u16,
    /// Object id part of the allocation unit.
    pub obj_id: u32,
    /// Index id part of the allocation unit.
    pub index_id: u16,
    /// The record that changed the page before this one.
    pub prev_page_lsn: Lsn,
}

/// BEGIN_XACT.
#[derive(Clone, Copy, Debug)]
pub struct BeginXact<'a> {
    /// Session.
    pub spid: u32,
    /// [Beginlog Status]: 1; 0x100001 for allocations inside of another transaction.
    pub status: u32,
    /// 1: user, 3: nested system transaction.
    pub xact_type: u32,
    /// When: ticks of 1/300 s, days since 1900-01-01.
    pub time: [u8; 8],
    /// `sys.dm_tran_active_transactions.transaction_id`
    pub xact_id: u64,
    /// The oldest transaction that is open.
    pub oldest_active: TransactionId,
    /// The transaction that this one is nested in, or none.
    pub parent: TransactionId,
    /// `INSERT`, `user_transaction`, ...
    pub name: &'a str,
    /// Who: the login's SID.
    pub sid: &'a [u8],
}

/// COMMIT_XACT and ABORT_XACT.
#[derive(Clone, Copy, Debug)]
pub struct EndXact {
    /// When.
    pub time: [u8; 8],
    /// LSN of the BEGIN_XACT.
    pub begin_lsn: Lsn,
    /// As in [`BeginXact::xact_id`].
    pub xact_id: u64,
}

/// FORMAT_PAGE.
#[derive(Clone, Copy, Debug)]
pub struct FormatRecord {
    /// What the page will hold.
    pub page_type: PageType,
    /// Leaf 0.
    pub level: u8,
    /// Page to the left.
    pub prev: PageId,
    /// Page to the right.
    pub next: PageId,
    /// Length of the fixed part of its rows.
    pub min_len: u16,
    /// Of an IAM page: the first page of the range that it maps.
    pub iam_start: PageId,
}

/// A stretch of a row that MODIFY_COLUMNS replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnChunk<'a> {
    /// Where it begins in the row as it was.
    pub old_offset: u16,
    /// Where it begins in the row as it is.
    pub new_offset: u16,
    /// How long it was: of a compensation, `before` is empty and this is still said.
    pub old_len: u16,
    /// What was there.
    pub before: &'a [u8],
    /// What is there now.
    pub after: &'a [u8],
}

/// COUNT_DELTA: new counts in a row of a system table.
#[derive(Clone, Copy, Debug)]
pub struct CountDelta<'a> {
    /// 0: `sysallocunits`, 1: `sysrowsets`, 2: `sysrscols`.
    pub table: u32,
    /// The rowset that was counted.
    pub rowset: u64,
    /// Of `sysrscols`: the column.
    pub column: u32,
    /// Value and offset in the row, 8 bytes each; at most four.
    pub counts: &'a [(i64, u32)],
}

/// ROOT_CHANGE: a new page pointer in a row of `sysallocunits`.
#[derive(Clone, Copy, Debug)]
pub struct RootChange {
    /// The rowset.
    pub rowset: u64,
    /// Object id part of the allocation unit.
    pub obj_id: u32,
    /// Index id part of the allocation unit.
    pub index_id: u16,
    /// Offset in the row: 27 first page, 33 root, 39 first IAM page.
    pub offset: u16,
    /// What stands there now.
    pub new: PageId,
    /// What stood there.
    pub old: PageId,
}

//! What is compared of records of real logs and this engine's: operation, context, flags, length of the fixed part, lengths of the elements, the bits at 58, the
//! system table. (The T-SQL over this engine compares its statements by the same.)

use logferry_model::TransactionId;
use logferry_mssql_format::log::op::{Context, Op};
use logferry_mssql_format::log::record::Record;

/// `sysobjvalues.valclass` of statistics.
const STATISTICS: u8 = 60;
/// The system table of objects.
const SYSSCHOBJS: u32 = 34;

/// A lock on metadata that 2016 takes and 2019 does not, as its element begins.
pub(crate) const GONE_WITH_2019: &[u8] = &[5, 0x0A, 0, 0x10, 0x3B, 1];

/// Records that are not compared, and why.
pub(crate) fn left_out(record: &Record<'_>) -> Option<&'static str> {
    match (record.op, record.context) {
        (_, Context::DIFF_MAP) => Some("bits of the differential map depend on when the last backup was"),
        (Op::SHRINK_NOOP, _) => Some("a remark that servers make between statements"),
        (Op::SET_BITS, Context::SGAM) if record.transaction == TransactionId::default() => {
            Some("whether a mixed extent is full depends on what else is in it")
        }
        (Op::COUNT_DELTA, _) => Some("counts are written whenever the server finds the time"),
        (_, Context::SCHEMA_VERSION) => Some("identity counters are written whenever the server finds the time"),
        (Op::REMOVE_VERSION_INFO, _) => Some("versions go whenever the server finds the time"),
        (Op::EXPUNGE_ROWS, _) => Some("ghosts go whenever the server finds the time"),
        (Op::MODIFY_HEADER | Op::SET_BITS, Context::PFS) => Some("so whether a page has ghosts before is not known"),
        _ => None,
    }
}

/// What is compared of a record. Transactions count by their order, tables of users are alike.
pub(crate) fn shape(record: &Record<'_>, xacts: &mut Vec<TransactionId>, (old, versions): (bool, bool)) -> String {
    let xact = match record.transaction {
        t if t == TransactionId::default() => "-".to_owned(),
        t => match xacts.iter().position(|x| *x == t) {
            Some(at) => at.to_string(),
            None => {
                xacts.push(t);
                (xacts.len() - 1).to_string()
            }
        },
    };
    let lengths: Vec<usize> = match (record.op, record.fixed_len()) {
        // The login that the transaction belongs to is another one.
        (Op::BEGIN_XACT, _) => vec![record.element(0).len()],
        // Indexes were locked by their tables before 2012.
        (Op::LOCK_XACT, _) if old => Vec::new(),
        // A word that follows the fixed part where there is none, in the same 8 bytes.
        (Op::DELETE_SPLIT | Op::CREATE_ALLOCCHAIN | Op::HOBT_DELTA, _) => Vec::new(),
        // What a page of a mixed extent is locked by names its rowset since 2012.
        (Op::MODIFY_ROW, _) if old && record.context == Context::PFS => {
            (0..record.element_count()).map(|n| record.element(n).len().min(10)).collect()
        }
        // Before 2012, MODIFY_ROW had four elements; the other two are empty.
        (Op::MODIFY_ROW, _) if old => (0..record.element_count().min(4)).map(|n| record.element(n).len()).collect(),
        // Where in tempdb the version before is: as many bytes of the tag have changed as happens to be.
        (Op::MODIFY_COLUMNS, _) if record.element(1).len() > 2 && versions => {
            (0..record.element_count() - 2).map(|n| record.element(n).len()).collect()
        }
        // The same where nothing else changes.
        (Op::MODIFY_ROW, _) if versions && (8..=14).contains(&record.element(0).len()) => {
            (2..record.element_count()).map(|n| record.element(n).len()).collect()
        }
        _ => (0..record.element_count()).map(|n| record.element(n).len()).collect(),
    };
    // What a date's change takes depends on the dates.
    let dates = record.op == Op::MODIFY_ROW
        && record.context == Context::CLUSTERED
        && record.page_op().ok().flatten().is_some_and(|p| p.obj_id == SYSSCHOBJS)
        && record.row_op().ok().flatten().is_some_and(|r| r.offset >= 36);
    // Rows of system tables that had other columns before 2012.
    let lengths = match (lengths.split_first(), record.op) {
        (Some((row, rest)), Op::INSERT_ROWS | Op::DELETE_ROWS) if old => {
            [vec![row - came_later(record)], rest.to_vec()].concat()
        }
        _ => lengths,
    };
    let lengths = if dates { [vec![0, 0], lengths.get(2..).unwrap_or_default().to_vec()].concat() } else { lengths };
    let fixed = match record.op {
        Op::BEGIN_XACT | Op::COMMIT_XACT | Op::ABORT_XACT if old => 0,
        _ => record.fixed_len(),
    };
    // 0x10 in rows of 2008: what it means is not known.
    let flags = if old { record.flags & !0x10 } else { record.flags };
    let mut out = format!("{xact} {:?} {:?} f{flags:x} {fixed} {lengths:?}", record.op, record.context);
    if let Some((object, index)) = rowset_of(record).filter(|(object, index)| *object < 99 && *index < 256) {
        out += &format!(" {object}/{index}");
    }
    if matches!(record.op, Op::INSERT_ROWS | Op::DELETE_ROWS) {
        out += &format!(" bits {:x}", record.u16_at(58, "bits").unwrap_or_default());
    }
    out
}

/// Length of a row of `sysobjvalues` that holds statistics without a histogram.
const EMPTY_STATISTICS: usize = 34;

/// How many bytes a row of a system table has more than it had before 2012, or less than it has now, so that both count as the shorter one: `status2` of
/// `sysschobjs`, three bytes of `sysiscols` and NULL bits of an index came, `dbfragid` of `sysallocunits` and `sysrscols` went. Histograms of statistics are not compared.
fn came_later(record: &Record<'_>) -> usize {
    let row = record.element(0);
    let fixed = |n: u8| row.get(2) == Some(&n);
    match rowset_of(record) {
        Some((SYSSCHOBJS, 1)) if fixed(48) => 4,
        Some((7, 0)) if row.len() == 77 => 4,
        Some((7, 2)) if row.len() == 22 => 1,
        Some((3, 0)) if row.len() == 62 => 4,
        Some((55, 1)) if row.len() == 32 => 3,
        Some((55, 2)) if row.len() == 20 => 3,
        Some((60, 1)) if row.get(4) == Some(&STATISTICS) => row.len() - EMPTY_STATISTICS,
        _ => 0,
    }
}

/// Object and index of the rowset that a record changes, as system tables have them. Those that came with an upgrade have allocation units like those of
/// users, and are known by their rowsets.
pub(crate) fn rowset_of(record: &Record<'_>) -> Option<(u32, u64)> {
    let op = record.page_op().ok().flatten()?;
    Some(match record.row_op().ok().flatten().map_or(0, |row| row.rowset) {
        0 => (op.obj_id, u64::from(op.index_id)),
        rowset => ((rowset >> 16) as u32, rowset >> 48),
    })
}

//! The columns of `fn_dblog`, in its order, and how each is read from a record.

use logferry_model::{Lsn, SqlType, TransactionId};
use logferry_mssql_format::log::op::Op;
use logferry_mssql_format::log::record::PageOp;

use super::super::plan::Column;
use super::super::types;
use super::super::value::Value;
use super::{LogRow, Rec};

/// Bytes that a column of bytes shows at most.
const CUT: usize = 8000;

type Get = fn(&Rec<'_>, &LogRow) -> Value;
/// Name, type, value.
pub(super) type LogColumn = (&'static str, &'static str, Get);

pub(super) fn columns() -> Vec<Column> {
    COLUMNS
        .iter()
        .map(|(name, ty, _)| {
            let (ty, nullable) = ty.strip_suffix('?').map_or((*ty, false), |t| (t, true));
            let (kind, length) = ty.split_at(ty.find(|c: char| c.is_ascii_digit()).unwrap_or(ty.len()));
            let length = length.parse::<u16>().unwrap_or(0);
            let ty = match kind {
                "small" => SqlType::SmallInt,
                "int" => SqlType::Int,
                "big" => SqlType::BigInt,
                "binary" => SqlType::Binary { length },
                "bytes" => SqlType::VarBinary { length: Some(length) },
                _ => types::nvarchar(length),
            };
            Column::plain((*name).to_owned(), ty, nullable)
        })
        .collect()
}

fn none(_: &Rec<'_>, _: &LogRow) -> Value {
    Value::Null
}

fn zero(_: &Rec<'_>, _: &LogRow) -> Value {
    Value::Int(0)
}

fn text(text: impl std::fmt::Display) -> Value {
    Value::text(&text.to_string())
}

fn bytes(bytes: &[u8]) -> Value {
    Value::Bytes(bytes.get(..CUT).unwrap_or(bytes).to_vec())
}

fn small(n: u16) -> Value {
    Value::Int(i64::from(n as i16))
}

fn id(id: TransactionId) -> Value {
    text(format_args!("{:04x}:{:08x}", id.high, id.low))
}

/// A column of records that are of one of these operations.
fn of(r: &Rec<'_>, ops: &[Op], value: impl FnOnce(&Rec<'_>) -> Option<Value>) -> Value {
    if ops.contains(&r.op) { value(r).unwrap_or(Value::Null) } else { Value::Null }
}

fn word(r: &Rec<'_>, at: usize) -> Option<Value> {
    r.u16_at(at, "").ok().map(small)
}

fn int(r: &Rec<'_>, at: usize) -> Option<Value> {
    r.u32_at(at, "").ok().map(|n| Value::Int(i64::from(n as i32)))
}

fn long(r: &Rec<'_>, at: usize) -> Option<Value> {
    r.u64_at(at, "").ok().map(|n| Value::Int(n as i64))
}

fn byte(r: &Rec<'_>, at: usize) -> Option<u8> {
    r.u16_at(at, "").ok().map(|n| n as u8)
}

fn lsn(r: &Rec<'_>, at: usize) -> Option<Value> {
    r.lsn_at(at, "").ok().map(text)
}

fn xact(r: &Rec<'_>, at: usize) -> Option<Value> {
    Some(id(TransactionId { low: r.u32_at(at, "").ok()?, high: r.u16_at(at + 4, "").ok()? }))
}

/// `file:page`
fn page(r: &Rec<'_>, at: usize) -> Option<Value> {
    Some(text(format_args!("{:04x}:{:08x}", r.u16_at(at + 4, "").ok()?, r.u32_at(at, "").ok()?)))
}

/// `yyyy/mm/dd hh:mm:ss:mmm`
fn time(r: &Rec<'_>, at: usize) -> Option<Value> {
    let (ticks, days) = (r.u32_at(at, "").ok()?, r.u32_at(at + 4, "").ok()? as i32);
    let (year, month, day) = super::super::time::date_of(days.checked_add(super::super::value::DAYS_TO_1900)?);
    let (seconds, ms) = (ticks / 300, (u64::from(ticks % 300) * 10 + 1) / 3);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    Some(text(format_args!("{year:04}/{month:02}/{day:02} {hour:02}:{minute:02}:{second:02}:{ms:03}")))
}

fn utf16(r: &Rec<'_>, element: usize) -> Option<Value> {
    let units = r.element(element).as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)).collect();
    Some(Value::Text(units))
}

fn on_page(r: &Rec<'_>, value: impl FnOnce(PageOp) -> Value) -> Value {
    r.page_op().ok().flatten().map_or(Value::Null, value)
}

/// Operations that change a row: those whose elements are shown.
const ROWS: &[Op] =
    &[Op::INSERT_ROWS, Op::DELETE_ROWS, Op::MODIFY_ROW, Op::MODIFY_HEADER, Op::MODIFY_COLUMNS, Op::EXPUNGE_ROWS];
const ENDS: &[Op] = &[Op::COMMIT_XACT, Op::ABORT_XACT];
const BEGIN: &[Op] = &[Op::BEGIN_XACT];

fn content(r: &Rec<'_>, at: usize) -> Value {
    of(r, ROWS, |r| (at < r.element_count()).then(|| bytes(r.element(at))))
}

/// All columns.
pub(super) const COLUMNS: &[LogColumn] = &[
    ("Current LSN", "text23", |r, _| text(r.lsn)),
    ("Operation", "text31", |r, _| text(r.op)),
    ("Context", "text31", |r, _| text(r.context)),
    ("Transaction ID", "text14", |r, _| id(r.transaction)),
    ("LogBlockGeneration", "big", zero),
    ("Tag Bits", "binary2", |r, _| bytes(&r.bytes()[..2])),
    ("Log Record Fixed Length", "small", |r, _| small(r.fixed_len() as u16)),
    ("Log Record Length", "small", |r, _| small(r.bytes().len() as u16)),
    ("Previous LSN", "text23", |r, _| text(r.prev_lsn)),
    ("Flag Bits", "binary2", |r, _| bytes(&r.flags.to_le_bytes())),
    ("Log Reserve", "int", zero),
    ("AllocUnitId", "big?", |r, _| on_page(r, |p| Value::Int(p.alloc_unit() as i64))),
    ("AllocUnitName", "text387?", |r, row| on_page(r, |p| Value::text(row.unit_name(p.alloc_unit())))),
    ("Page ID", "text14?", |r, _| on_page(r, |_| page(r, 24).unwrap_or(Value::Null))),
    ("Slot ID", "int?", |r, _| on_page(r, |p| Value::Int(i64::from(p.row.slot as i16)))),
    ("Previous Page LSN", "text23?", |r, _| on_page(r, |p| text(p.prev_page_lsn))),
    ("PartitionId", "big?", |r, _| of(r, ROWS, |r| long(r, 48))),
    ("RowFlags", "small?", |r, _| of(r, ROWS, |r| word(r, 60))),
    ("Num Elements", "small?", |r, _| of(r, ROWS, |r| Some(small(r.element_count() as u16)))),
    ("Offset in Row", "small?", |r, _| of(r, ROWS, |r| word(r, 56))),
    ("Modify Size", "small?", |r, _| of(r, ROWS, |r| word(r, 58))),
    ("Checkpoint Begin", "text24?", |r, _| of(r, &[Op::BEGIN_CKPT], |r| time(r, 24))),
    ("CHKPT Begin DB Version", "small?", |r, _| of(r, &[Op::BEGIN_CKPT], |r| word(r, 42))),
    ("Max XDESID", "text14?", |r, _| of(r, &[Op::BEGIN_CKPT], |r| xact(r, 44))),
    ("Num Transactions", "small?", |r, _| of(r, &[Op::XACT_CKPT], |r| Some(small((r.element(0).len() / 16) as u16)))),
    ("Checkpoint End", "text24?", |r, _| of(r, &[Op::END_CKPT], |r| time(r, 24))),
    ("CHKPT End DB Version", "small?", |r, _| of(r, &[Op::END_CKPT], |r| word(r, 42))),
    ("Minimum LSN", "text23?", |r, _| of(r, &[Op::END_CKPT], |r| lsn(r, 32))),
    ("Dirty Pages", "int?", none),
    ("Oldest Replicated Begin LSN", "text23?", |r, _| of(r, &[Op::END_CKPT], |_| Some(text(Lsn::ZERO)))),
    ("Next Replicated End LSN", "text23?", |r, _| of(r, &[Op::END_CKPT], |_| Some(text(Lsn::ZERO)))),
    ("Last Distributed Backup End LSN", "text23?", |r, _| of(r, &[Op::END_CKPT], |_| Some(text(Lsn::ZERO)))),
    ("Last Distributed End LSN", "text23?", |r, _| of(r, &[Op::END_CKPT], |_| Some(text(Lsn::ZERO)))),
    ("Repl Min Hold LSN", "text23?", |r, _| of(r, &[Op::END_CKPT], |_| Some(text(Lsn::ZERO)))),
    ("Server UID", "int?", |r, _| of(r, BEGIN, |_| Some(Value::Int(0)))),
    ("SPID", "int?", |r, _| of(r, BEGIN, |r| int(r, 24))),
    ("Beginlog Status", "binary4?", |r, _| of(r, BEGIN, |r| r.u32_at(28, "").ok().map(|n| bytes(&n.to_le_bytes())))),
    ("Xact Type", "int?", |r, _| of(r, BEGIN, |r| int(r, 32))),
    ("Begin Time", "text24?", |r, _| of(r, BEGIN, |r| time(r, 40))),
    ("Transaction Name", "text33?", |r, _| of(r, BEGIN, |r| utf16(r, 0))),
    ("Transaction SID", "bytes85?", |r, _| of(r, BEGIN, |r| Some(bytes(r.element(1))))),
    ("Parent Transaction ID", "text14?", |r, _| of(r, BEGIN, |r| xact(r, 70).filter(|_| r.u32_at(70, "") != Ok(0)))),
    ("Oldest Active Transaction ID", "text14?", |r, _| of(r, BEGIN, |r| xact(r, 64))),
    ("Xact ID", "big?", |r, _| match r.op {
        Op::BEGIN_XACT => long(r, 48).unwrap_or(Value::Null),
        _ => of(r, ENDS, |r| long(r, 64)),
    }),
    ("Xact Node ID", "int?", none),
    ("Xact Node Local ID", "int?", none),
    ("End AGE", "big?", none),
    ("End Time", "text24?", |r, _| of(r, ENDS, |r| time(r, 24))),
    ("Transaction Begin", "text23?", |r, _| of(r, ENDS, |r| lsn(r, 32))),
    ("Replicated Records", "big?", |r, _| of(r, ENDS, |_| Some(Value::Int(0)))),
    ("Oldest Active LSN", "text23?", none),
    ("Server Name", "text129?", none),
    ("Database Name", "text129?", none),
    ("Mark Name", "text33?", none),
    ("Repl Partition ID", "int?", none),
    ("Repl Epoch", "int?", none),
    ("Repl CSN", "big?", none),
    ("Repl Flags", "int?", none),
    ("Repl Msg", "bytes8000?", none),
    ("Repl Source Commit Time", "text24?", none),
    ("Master XDESID", "text14?", none),
    ("Master DBID", "int?", none),
    ("Preplog Begin LSN", "text23?", none),
    ("Prepare Time", "text24?", |r, _| of(r, &[Op::PREP_XACT], |r| time(r, 56))),
    ("Virtual Clock", "big?", none),
    ("Previous Savepoint", "text23?", |r, _| of(r, &[Op::MARK_SAVEPOINT], |r| lsn(r, 24))),
    ("Savepoint Name", "text33?", |r, _| of(r, &[Op::MARK_SAVEPOINT], |r| utf16(r, 0))),
    ("Rowbits First Bit", "small?", |r, _| of(r, &[Op::SET_BITS], |r| word(r, 48))),
    ("Rowbits Bit Count", "small?", |r, _| of(r, &[Op::SET_BITS], |r| word(r, 50))),
    ("Rowbits Bit Value", "binary1?", |r, _| of(r, &[Op::SET_BITS], |r| byte(r, 52).map(|b| bytes(&[b])))),
    ("Number of Locks", "small?", none),
    ("Lock Information", "text256?", none),
    ("LSN before writes", "text23?", none),
    ("Pages Written", "small?", none),
    ("Command Type", "int?", none),
    ("Publication ID", "int?", none),
    ("Article ID", "int?", none),
    ("Partial Status", "int?", none),
    ("Command", "text26?", none),
    ("Byte Offset", "small?", |r, _| of(r, &[Op::SET_FREE_SPACE], |r| word(r, 48))),
    ("New Value", "binary1?", |r, _| of(r, &[Op::SET_FREE_SPACE], |r| byte(r, 50).map(|b| bytes(&[b])))),
    ("Old Value", "binary1?", |r, _| {
        of(r, &[Op::SET_FREE_SPACE], |r| r.u16_at(50, "").ok().map(|n| bytes(&[(n >> 8) as u8])))
    }),
    ("New Split Page", "text14?", |r, _| of(r, &[Op::DELETE_SPLIT], |r| page(r, 48))),
    ("Rows Deleted", "small?", |r, _| of(r, &[Op::DELETE_SPLIT], |r| word(r, 54))),
    ("Bytes Freed", "small?", |r, _| of(r, &[Op::DELETE_SPLIT], |r| word(r, 56))),
    ("CI Table Id", "int?", none),
    ("CI Index Id", "small?", none),
    ("NewAllocUnitId", "big?", none),
    ("FileGroup ID", "small?", none),
    ("Meta Status", "binary4?", none),
    ("File Status", "binary4?", none),
    ("File ID", "small?", none),
    ("Physical Name", "text261?", none),
    ("Logical Name", "text129?", none),
    ("Format LSN", "text23?", none),
    ("RowsetId", "big?", |r, _| match r.op {
        // The record has the id without its lower 16 bits, which are 0.
        Op::HOBT_DDL => r.u64_at(24, "").map_or(Value::Null, |n| Value::Int((n << 16) as i64)),
        _ => of(r, &[Op::HOBT_DELTA], |r| long(r, 24)),
    }),
    ("TextPtr", "binary16?", none),
    ("Column Offset", "int?", none),
    ("Flags", "int?", none),
    ("Text Size", "big?", none),
    ("Offset", "big?", none),
    ("Old Size", "big?", none),
    ("New Size", "big?", none),
    ("Description", "text256", |r, _| match r.op {
        Op::BEGIN_XACT => {
            let sid: String = r.element(1).iter().map(|b| format!("{b:02x}")).collect();
            let name = utf16(r, 0).and_then(|n| n.as_text()).unwrap_or_default();
            text(format_args!("{name};0x{sid}"))
        }
        _ => Value::text(""),
    }),
    ("Bulk allocated extent count", "int?", none),
    ("Bulk RowsetId", "big?", none),
    ("Bulk AllocUnitId", "big?", none),
    ("Bulk allocation first IAM Page ID", "text14?", none),
    ("Bulk allocated extent ids", "text961?", none),
    ("VLFs added", "text688?", none),
    ("InvalidateCache Id", "int?", none),
    ("InvalidateCache keys", "text401?", none),
    ("CopyVerionInfo Source Page Id", "text14?", none),
    ("CopyVerionInfo Source Page LSN", "text23?", none),
    ("CopyVerionInfo Source Slot Id", "int?", none),
    ("CopyVerionInfo Source Slot Count", "int?", none),
    ("RowLog Contents 0", "bytes8000?", |r, _| content(r, 0)),
    ("RowLog Contents 1", "bytes8000?", |r, _| content(r, 1)),
    ("RowLog Contents 2", "bytes8000?", |r, _| content(r, 2)),
    ("RowLog Contents 3", "bytes8000?", |r, _| content(r, 3)),
    ("RowLog Contents 4", "bytes8000?", |r, _| content(r, 4)),
    ("RowLog Contents 5", "bytes8000?", |r, _| content(r, 5)),
    ("Compression Log Type", "small?", none),
    ("Compression Info", "bytes8000?", none),
    ("PageFormat PageType", "small?", |r, _| of(r, FORMAT, |r| byte(r, 48).map(|b| small(b.into())))),
    ("PageFormat PageFlags", "small?", |r, _| of(r, FORMAT, |r| byte(r, 49).map(|b| small(b.into())))),
    ("PageFormat PageLevel", "small?", |r, _| of(r, FORMAT, |r| byte(r, 50).map(|b| small(b.into())))),
    ("PageFormat PageStat", "small?", |r, _| of(r, FORMAT, |r| byte(r, 51).map(|b| small(b.into())))),
    ("PageFormat FormatOption", "small?", |r, _| of(r, FORMAT, |r| word(r, 66))),
    ("Log Record", "bytes8000", |r, _| bytes(r.bytes())),
];

const FORMAT: &[Op] = &[Op::FORMAT_PAGE];

use super::*;
use logferry_mssql_format::page::PageId;

/// Statements separated by `;`, each a log record: its place in the list, from 1, is its LSN.
///
/// ```text
/// begin T [sys]     ins T ROW    upd T ROW ROW    del T ROW
/// undo T N          a compensation: undo everything of T after N
/// commit T          abort T
/// heap T ID BEFORE AFTER    a record of a heap: `-` none, `row:x` a row, `stub` a stub, `fwd:x` a forwarded record of row 1
/// ```
///
/// Out come the committed transactions: `T: changes`.
#[track_caller]
fn check(log: &str, expect: &str) {
    for memory_max in [usize::MAX, 0] {
        assert_eq!(run(log, memory_max), expect, "with {memory_max} bytes of memory: {log}");
    }
}

fn run(log: &str, memory_max: usize) -> String {
    let mut assembler = Assembler::new(memory_max);
    let mut out = Vec::new();
    for (i, statement) in log.split(';').enumerate() {
        let lsn = Lsn::new(1, 0, i as u16 + 1);
        let words: Vec<&str> = statement.split_whitespace().collect();
        let id = TransactionId { high: 0, low: words[1].parse().unwrap() };
        let row = RowId::default();
        let mut change = |op, before: &str, after: &str| {
            if !assembler.is_system(id) {
                let (before, after) = (before.as_bytes(), after.as_bytes());
                assembler.change(id, &RawChange { lsn, op, shape: 0, row, before, after }).unwrap();
            }
        };
        match words[..] {
            ["begin", _, ref sys @ ..] => assembler.begin(id, lsn, String::new(), !sys.is_empty()),
            ["ins", _, row] => change(RawOp::Insert, "", row),
            ["upd", _, before, after] => change(RawOp::Update, before, after),
            ["del", _, row] => change(RawOp::Delete, row, ""),
            ["heap", _, slot, before, after] => {
                let row = RowId { page: PageId::new(1, 1), slot: slot.parse().unwrap() };
                let (before, after) = (heap_record(before), heap_record(after));
                let change = HeapChange { lsn, shape: 0, row, before: &before, after: &after };
                assembler.heap_change(id, &change).unwrap();
            }
            ["undo", _, to] => {
                assembler.compensate(id, lsn, Lsn::new(1, 0, to.parse().unwrap())).unwrap();
            }
            ["commit", _] => out.extend(assembler.end(id).map(show)),
            ["abort", _] => drop(assembler.end(id)),
            _ => panic!("{statement}"),
        }
    }
    out.join(" ")
}

fn heap_record(text: &str) -> Vec<u8> {
    let home = RowId { page: PageId::new(1, 1), slot: 1 };
    match text.split_once(':') {
        Some(("row", name)) => [&[0x10], name.as_bytes()].concat(),
        // A variable column with the name, and the place that it came from.
        Some(("fwd", name)) => {
            let (start, name) = (4 + 2 + 1 + 2 + 4, name.as_bytes());
            let end = start + name.len() as u8;
            let head = [0x32, 0, 4, 0, 2, 0, 0, 2, 0, end, 0, end + 10, 0x80];
            [&head[..], name, &[0, 4], &home.to_bytes()].concat()
        }
        None if text == "stub" => [&[0x04][..], &home.to_bytes()].concat(),
        _ => Vec::new(),
    }
}

fn name(row: &[u8]) -> String {
    match row.first() {
        Some(0x10) => String::from_utf8_lossy(&row[1..]).into_owned(),
        Some(0x32) => String::from_utf8_lossy(&row[13..row.len() - 10]).into_owned(),
        _ => String::from_utf8_lossy(row).into_owned(),
    }
}

fn show(open: Open) -> String {
    let mut text = format!("{}:", open.id.low);
    if let Some(row) = open.incomplete_move() {
        return format!("{text} move of {row} is not complete");
    }
    let mut reader = open.pending.into_reader();
    while let Some(c) = reader.next().unwrap() {
        text += &match c.op {
            RawOp::Insert => format!(" +{}", name(c.after)),
            RawOp::Delete => format!(" -{}", name(c.before)),
            RawOp::Update => format!(" {}>{}", name(c.before), name(c.after)),
            op => format!(" {op:?}"),
        };
    }
    text
}

#[test]
fn transactions_come_out_at_their_commit() {
    check("begin 7; ins 7 a; commit 7", "7: +a");
    check("begin 7; ins 7 a; begin 8; ins 8 b; upd 7 a c; commit 8; del 7 c; commit 7", "8: +b 7: +a a>c -c");
    check("begin 7; ins 7 a; begin 8; ins 8 b", "");
    check("begin 7; commit 7", "7:");
}

#[test]
fn a_rollback_leaves_nothing() {
    check("begin 7; ins 7 a; upd 7 a b; undo 7 2; undo 7 1; abort 7", "");
    check("begin 7; ins 7 a; begin 8; ins 8 b; abort 7; commit 8", "8: +b");
}

#[test]
fn a_rollback_to_a_savepoint_takes_back_what_came_after_it() {
    check("begin 7; ins 7 a; ins 7 b; upd 7 b c; undo 7 3; undo 7 2; ins 7 d; commit 7", "7: +a +d");
    check("begin 7; ins 7 a; undo 7 1; ins 7 b; undo 7 3; ins 7 c; commit 7", "7: +c");
    check("begin 7; ins 7 a; ins 7 b; undo 7 2; begin 8; ins 8 x; commit 8; commit 7", "8: +x 7: +a");
}

#[test]
fn a_system_transaction_inside_another_gives_nothing_and_stays() {
    check("begin 7; ins 7 a; begin 8 sys; ins 8 moved; commit 8; ins 7 b; commit 7", "8: 7: +a +b");
    check("begin 7; begin 8 sys; ins 8 moved; commit 8; abort 7", "8:");
}

#[test]
fn a_transaction_that_began_before_the_log_is_taken_as_it_comes() {
    check("ins 7 a; commit 7", "7: +a");
}

#[test]
fn a_heap_row_that_moves_is_one_update() {
    check("begin 7; heap 7 9 - fwd:b; heap 7 1 row:a stub; commit 7", "7: a>b");
    check("begin 7; heap 7 1 row:a stub; heap 7 9 - fwd:b; commit 7", "7: a>b");
    check("begin 7; heap 7 1 row:a -; heap 7 1 - stub; heap 7 9 - fwd:b; commit 7", "7: a>b");
    check("begin 7; heap 7 9 fwd:b fwd:c; commit 7", "7: b>c");
    check("begin 7; heap 7 8 - fwd:c; heap 7 1 stub stub; heap 7 9 fwd:b -; commit 7", "7: b>c");
    check("begin 7; heap 7 9 fwd:b -; heap 7 1 stub row:a; commit 7", "7: b>a");
    check("begin 7; heap 7 1 stub -; heap 7 9 fwd:b -; commit 7", "7: -b");
    check("begin 7; heap 7 9 - fwd:b; commit 7", "7: move of 1:1:1 is not complete");
    check("begin 7; heap 7 9 - fwd:b; undo 7 1; commit 7", "7:");
    check("begin 7; heap 7 9 - fwd:b; heap 7 1 row:a stub; undo 7 2; undo 7 1; commit 7", "7:");
    check("begin 7; heap 7 2 - row:x; heap 7 2 row:x row:y; heap 7 2 row:y -; commit 7", "7: +x x>y -y");
}

//! What a record says of a changed row: the stretches that differ.
//!
//! ```text
//!  | head, fixed part | NULL bits | count, end offsets | column | column | ... | version tag |
//!    byte by byte; one that grows or shrinks does so where it first differs (the fixed part at its end)
//! ```
//!
//! Where the number of variable columns changes, all that is behind the end offsets is compared as one. Stretches that are
//! less than 16 bytes apart are logged as one; one stretch makes a MODIFY_ROW, more make a MODIFY_COLUMNS.
//!
//! Observed on records of 2008 to 2019, all of which this repeats: gaps of 9 bytes and less are inside of stretches, of 18
//! and more between them.

use logferry_mssql_format::encode::ColumnChunk;
use logferry_mssql_format::row::FixedVar;

/// Equal bytes that part two stretches, at least.
const GAP_MIN: usize = 16;

/// A stretch: begin and end in the old row, begin and end in the new one.
type Stretch = [usize; 4];

/// The stretches where two forms of a row differ.
pub(super) fn changed_chunks<'a>(old: &'a [u8], new: &'a [u8]) -> Vec<ColumnChunk<'a>> {
    let mut merged: Vec<Stretch> = Vec::new();
    for next in stretches(old, new) {
        match merged.last_mut() {
            Some(last) if next[0] - last[1] < GAP_MIN => (last[1], last[3]) = (next[1], next[3]),
            _ => merged.push(next),
        }
    }
    let chunk = |[a, b, c, d]: Stretch| ColumnChunk {
        old_offset: a as u16,
        new_offset: c as u16,
        old_len: (b - a) as u16,
        before: &old[a..b],
        after: &new[c..d],
    };
    merged.into_iter().map(chunk).collect()
}

fn stretches(old: &[u8], new: &[u8]) -> Vec<Stretch> {
    let (mut old_parts, mut new_parts) = (parts(old), parts(new));
    if old_parts.len() != new_parts.len() {
        // Other columns: what they are in is compared as one. Of a forwarding stub, all of it.
        let alike = if old_parts.len().min(new_parts.len()) > FIXED_PARTS { FIXED_PARTS } else { 0 };
        for (parts, row) in [(&mut old_parts, old), (&mut new_parts, new)] {
            parts.truncate(alike);
            if alike == 0 {
                parts.push((0, 0));
            }
            parts.push((parts.last().map_or(0, |p| p.1), row.len()));
        }
    }
    let mut out = Vec::new();
    for (at, ((a, b), (c, d))) in old_parts.into_iter().zip(new_parts).enumerate() {
        let (x, y) = (&old[a..b], &new[c..d]);
        let common = x.len().min(y.len());
        // The fixed part grows at its end, other parts where they first differ.
        let head = match at {
            0 => common,
            _ => x.iter().zip(y).take_while(|(p, q)| p == q).count(),
        };
        let (more_old, more_new) = (x.len() - common, y.len() - common);
        let changed = |from: usize, to: usize, (a, c): (usize, usize)| {
            let differ = (from..to).filter(move |n| old[a + n] != new[c + n]);
            differ.map(move |n| [a + n, a + n + 1, c + n, c + n + 1])
        };
        out.extend(changed(0, head, (a, c)));
        if more_old + more_new > 0 {
            out.push([a + head, a + head + more_old, c + head, c + head + more_new]);
        }
        out.extend(changed(head, common, (a + more_old, c + more_new)));
    }
    out
}

/// The fixed part, the NULL bits, the end offsets.
const FIXED_PARTS: usize = 3;

/// What is compared with its like: the parts that every row has, then each variable column.
fn parts(row: &[u8]) -> Vec<(usize, usize)> {
    // A forwarding stub is no such record.
    let Ok(record) = FixedVar::read(row) else { return vec![(0, row.len())] };
    let fixed = record.fixed_end().min(row.len());
    let nulls = (record.fixed_end() + 2 + usize::from(record.column_count()).div_ceil(8)).min(row.len());
    let count = record.variable_count();
    let data = if count > 0 { (nulls + 2 + 2 * count).min(row.len()) } else { nulls };
    let mut out = vec![(0, fixed), (fixed, nulls), (nulls, data)];
    let mut from = data;
    for at in 0..count {
        let end = row.get(nulls + 2 + 2 * at..).and_then(|b| b.first_chunk::<2>()).copied().unwrap_or_default();
        let end = usize::from(u16::from_le_bytes(end) & 0x7FFF).clamp(from, row.len());
        out.push((from, end));
        from = end;
    }
    // The version tag, or nothing.
    out.push((from, row.len()));
    out
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use logferry_mssql_format::log::op::{Context, Op};
    use logferry_mssql_format::log::record::Record;
    use logferry_mssql_format::page::{PAGE_SIZE, PageBytes, PageId};
    use logferry_mssql_format::redo;

    use super::*;
    use crate::real::files::fixtures;
    use crate::{Database, Options};

    /// The stretches that a record of a real server says.
    fn said(record: &Record<'_>) -> Vec<(u16, u16, Vec<u8>, Vec<u8>)> {
        let op = record.row_op().expect("a row").expect("a row");
        if record.op == Op::MODIFY_ROW {
            return vec![(op.offset, op.offset, record.element(0).to_vec(), record.element(1).to_vec())];
        }
        let offsets = record.element(0).as_chunks::<4>().0;
        let chunk = |(k, o): (usize, &[u8; 4])| {
            let (a, b) = (u16::from_le_bytes([o[0], o[1]]), u16::from_le_bytes([o[2], o[3]]));
            (a, b, record.element(4 + 2 * k).to_vec(), record.element(5 + 2 * k).to_vec())
        };
        offsets.iter().enumerate().map(chunk).collect()
    }

    /// Replays a log over the pages that it formats, and compares every change of a row with what this engine would log.
    fn check(data: &str, log: &str, expect: usize) {
        let Some(folder) = fixtures().map(|folder| folder.join("pairs")) else { return };
        let db = Database::attach(&folder.join(data), &folder.join(log), Options::default()).expect("the pair");
        let mut pages: HashMap<PageId, Box<PageBytes>> = HashMap::new();
        let (mut same, mut other) = (0, String::new());
        for block in db.log_blocks(db.start_of_log()) {
            for record in block.block().records().map(|r| r.expect("a record")) {
                let Some(target) = redo::target(&record).expect("a target") else { continue };
                let id = target.row.page;
                if record.op == Op::FORMAT_PAGE {
                    pages.insert(id, Box::new([0; PAGE_SIZE]));
                }
                let Some(page) = pages.get_mut(&id) else { continue };
                let compared = matches!(record.op, Op::MODIFY_ROW | Op::MODIFY_COLUMNS)
                    && matches!(record.context, Context::CLUSTERED | Context::HEAP)
                    && !record.is_compensation();
                let row = |page: &PageBytes| redo::row_at(page, target.row.slot).ok().flatten().map(<[u8]>::to_vec);
                let old = if compared { row(page) } else { None };
                if redo::apply(page, &record).is_err() {
                    pages.remove(&id);
                    continue;
                }
                let (Some(old), Some(new)) = (old, row(page)) else { continue };
                let own: Vec<_> = changed_chunks(&old, &new)
                    .iter()
                    .map(|c| (c.old_offset, c.new_offset, c.before.to_vec(), c.after.to_vec()))
                    .collect();
                if own == said(&record) {
                    same += 1;
                } else {
                    other.push_str(&format!(
                        "{} {old:02x?}\n -> {new:02x?}\n said {:02x?}\n own {own:02x?}\n",
                        record.lsn,
                        said(&record)
                    ));
                }
            }
        }
        assert!(other.is_empty(), "{same} are the same\n{other}");
        assert_eq!(same, expect);
    }

    proptest::proptest! {
        #[test]
        fn the_stretches_make_the_new_row_of_the_old_one(
            old in row(),
            new in row(),
        ) {
            let chunks = changed_chunks(&old, &new);
            let mut made = old.clone();
            for c in chunks.iter().rev() {
                let at = usize::from(c.old_offset);
                made.splice(at..at + usize::from(c.old_len), c.after.iter().copied());
            }
            proptest::prop_assert_eq!(&made, &new);
            for c in &chunks {
                let at = usize::from(c.new_offset);
                proptest::prop_assert_eq!(&new[at..at + c.after.len()], c.after);
            }
        }
    }

    /// A row of some fixed bytes and some variable columns, or a forwarding stub.
    fn row() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
        use proptest::prelude::*;
        let bytes = |most| proptest::collection::vec(0..4u8, 0..most);
        (bytes(30), proptest::collection::vec(bytes(40), 0..4), 0..10u8).prop_map(|(fixed, columns, kind)| {
            if kind == 0 {
                return vec![4, 1, 0, 0, 0, 1, 0, 2, 0];
            }
            let mut row = vec![0x30, 0];
            row.extend((4 + fixed.len() as u16).to_le_bytes());
            row.extend(fixed);
            row.extend([5, 0, kind]);
            row.extend((columns.len() as u16).to_le_bytes());
            let mut end = row.len() + 2 * columns.len();
            for c in &columns {
                end += c.len();
                row.extend((end as u16).to_le_bytes());
            }
            row.extend(columns.concat());
            row
        })
    }

    #[test]
    fn changes_are_logged_as_servers_of_2008_log_them() {
        check("trivia-2008/before/Database1.mdf", "trivia-2008/before/Database1_log.ldf", 19);
        check("trivia-2008/after/Database1.mdf", "trivia-2008/after/Database1_log.ldf", 24);
        check("northwind-2008/northwnd.mdf", "northwind-2008/northwnd.ldf", 38);
        check("webtool-2008r2/second/WebTool.mdf", "webtool-2008r2/second/WebTool_log.ldf", 8);
    }

    #[test]
    fn changes_are_logged_as_a_server_of_2016_logs_them() {
        check("shelter-2016/shelter.mdf", "shelter-2016/shelter_log.ldf", 50);
        check("flights-2016/flightdb.mdf", "flights-2016/flightdb_log.ldf", 122);
    }

    #[test]
    fn changes_are_logged_as_a_server_of_2019_logs_them() {
        check("health-2019/health.mdf", "health-2019/health_log.ldf", 54);
        check("tax-2019/tax.mdf", "tax-2019/tax_log.ldf", 39);
    }
}

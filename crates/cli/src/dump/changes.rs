//! `logferry dump changes`: committed row changes, one JSON object a line, in the order of their commits.
//!
//! ```json
//! {"lsn":"…","commit_lsn":"…","transaction":"0000:00000345","committed":"…","table":"dbo.t","operation":"update","before":{…},"after":{…}}
//! ```

use std::io::Write;

use logferry_model::{Change, ChangeOp, RowRef, RowStore, SourceEvent, TransactionHead};
use logferry_mssql_format::log::xact::time_text;
use logferry_mssql_format::render;
use serde_json::Value;

use crate::args::DumpChanges;
use crate::failure::Failed;
use crate::open;
use crate::output::Out;

/// Rows that are read at a time.
const BATCH_BYTES: usize = 4 << 20;

/// Log records that are read at a time.
const BATCH_RECORDS: usize = 1 << 16;

pub(super) fn perform(args: &DumpChanges, out: &mut Out) -> Result<(), Failed> {
    let mut changes = open::changes(args)?;
    let mut head: Option<TransactionHead> = None;
    let mut line = String::new();
    while let Some(batch) = changes.next(BATCH_BYTES, BATCH_RECORDS)? {
        for event in &batch.events {
            match event {
                SourceEvent::Begin(begun) => head = Some(begun.clone()),
                SourceEvent::Change(change) => {
                    line.clear();
                    write_change(head.as_ref(), change, &batch.rows, &mut line);
                    writeln!(out, "{line}")?;
                }
                SourceEvent::Unreadable { table, lsn, why } => {
                    tracing::warn!(table = %table.name, %lsn, "changes of the table are left out: {why}");
                }
                SourceEvent::Commit(_)
                | SourceEvent::Table(_)
                | SourceEvent::Dropped(_)
                | SourceEvent::Unseen { .. }
                | SourceEvent::Fenced(_)
                | SourceEvent::Progress(_) => {}
            }
        }
    }
    Ok(())
}

fn write_change(head: Option<&TransactionHead>, change: &Change, rows: &RowStore, line: &mut String) {
    let text = |line: &mut String, key: &str, value: &str| {
        line.push_str(if line.is_empty() { "{\"" } else { ",\"" });
        line.push_str(key);
        line.push_str("\":");
        line.push_str(&Value::from(value).to_string());
    };
    text(line, "lsn", &change.lsn.to_string());
    if let Some(head) = head {
        text(line, "commit_lsn", &head.commit_lsn.0.to_string());
        text(line, "transaction", &head.id.to_string());
        if let Some(us) = head.commit_time_us {
            text(line, "committed", &time_text(us));
        }
    }
    text(line, "table", &change.table.name.to_string());
    let (operation, before, after) = match change.op {
        ChangeOp::Insert { after } => ("insert", None, Some(after)),
        ChangeOp::Update { before, after } => ("update", Some(before), Some(after)),
        ChangeOp::Delete { before } => ("delete", Some(before), None),
        ChangeOp::Truncate => ("truncate", None, None),
    };
    text(line, "operation", operation);
    let mut image = |key: &str, row: Option<RowRef>| {
        let Some(row) = row else { return };
        let cells: Vec<_> = rows.row(row).cells().collect();
        line.push_str(",\"");
        line.push_str(key);
        line.push_str("\":");
        render::row(&change.table, &cells, line);
    };
    image("before", before);
    image("after", after);
    line.push('}');
}

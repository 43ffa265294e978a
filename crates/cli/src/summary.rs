//! What a run did, as text or JSON.

use std::io::{self, Write};

use logferry_config::Task;
use logferry_pipeline::{StreamEnd, Summary};
use serde::Serialize;

use crate::output::Out;
use logferry_mssql_format::log::xact::time_text;

/// The summary as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    task: String,
    end: &'static str,
    copied: bool,
    tables: u64,
    chunks: u64,
    pub(crate) rows_copied: u64,
    bytes_copied: u64,
    pub(crate) changes: u64,
    change_bytes: u64,
    transactions: u64,
    retries: u64,
    seconds: f64,
    pub(crate) last_lsn: Option<String>,
    last_commit: Option<String>,
    lossy_columns: Vec<String>,
}

impl Report {
    pub(crate) fn of(task: &Task, summary: &Summary) -> Self {
        let p = &summary.progress;
        Report {
            task: task.name.clone(),
            end: end(summary),
            copied: summary.copied,
            tables: p.tables,
            chunks: p.chunks_done,
            rows_copied: p.rows_copied,
            bytes_copied: p.bytes_copied,
            changes: p.changes,
            change_bytes: p.change_bytes,
            transactions: p.transactions,
            retries: p.retries,
            seconds: summary.elapsed.as_secs_f64(),
            last_lsn: p.checkpoint.map(|c| c.applied.0.to_string()),
            last_commit: p.checkpoint.and_then(|c| c.commit_time_us).map(time_text),
            lossy_columns: summary.lossy_columns.clone(),
        }
    }
}

fn end(summary: &Summary) -> &'static str {
    match summary.end {
        StreamEnd::SourceEnded => "source ended",
        StreamEnd::Stopped => "stopped",
    }
}

/// The summary for people.
pub(crate) fn write(summary: &Summary, out: &mut Out) -> io::Result<()> {
    let p = &summary.progress;
    let seconds = summary.elapsed.as_secs_f64();
    if summary.copied || p.rows_copied > 0 {
        let (rows, size) = (grouped(p.rows_copied), size(p.bytes_copied));
        writeln!(out, "copied    {rows} rows of {} tables, {size}", p.tables)?;
    } else {
        writeln!(out, "copied    nothing: the target went on from its position")?;
    }
    let (changes, transactions) = (grouped(p.changes), grouped(p.transactions));
    writeln!(out, "applied   {changes} row changes of {transactions} transactions, {}", size(p.change_bytes))?;
    match p.checkpoint {
        Some(c) => {
            let when = c.commit_time_us.map(|us| format!(", committed {}", time_text(us))).unwrap_or_default();
            writeln!(out, "position  {}{when}", c.applied.0)?;
        }
        None => writeln!(out, "position  none yet: the copy is not complete")?,
    }
    writeln!(out, "time      {seconds:.2} s, {}", end(summary))?;
    if p.retries > 0 {
        writeln!(out, "retries   {}", p.retries)?;
    }
    for line in &summary.lossy_columns {
        writeln!(out, "changed   {line}")?;
    }
    Ok(())
}

/// `1234567` as `1,234,567`
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bytes in a unit that leaves few digits.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(
            [0, 12, 999, 1000, 1_234_567].map(grouped),
            ["0", "12", "999", "1,000", "1,234,567"].map(String::from)
        );
        assert_eq!([0, 12_345, 12_345_678].map(size), ["0 bytes", "12.3 kB", "12.3 MB"].map(String::from));
    }
}

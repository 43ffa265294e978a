//! Standard output: buffered, and quiet when nobody reads it any more.

use std::io::{self, BufWriter, StdoutLock, Write};

/// What a command prints.
pub(crate) struct Out(BufWriter<StdoutLock<'static>>);

impl Out {
    pub(crate) fn stdout() -> Self {
        Out(BufWriter::with_capacity(64 << 10, io::stdout().lock()))
    }

    /// One JSON value in a line.
    pub(crate) fn json(&mut self, value: &impl serde::Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, value)?;
        self.0.write_all(b"\n")
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Columns of text, each as wide as its widest cell; numbers to the right.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a headline.
    pub(crate) fn new(head: &[&str]) -> Self {
        Table { rows: vec![head.iter().map(ToString::to_string).collect()] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn write(&self, out: &mut impl Write, indent: &str) -> io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let is_number = |cell: &str| !cell.is_empty() && cell.chars().all(|c| c.is_ascii_digit());
        let shape: Vec<(usize, bool)> = (0..columns)
            .map(|i| {
                let cells = || self.rows.iter().filter_map(move |r| r.get(i));
                let width = cells().map(|c| c.chars().count()).max().unwrap_or(0);
                (width, cells().skip(1).all(|c| is_number(c)))
            })
            .collect();
        for row in &self.rows {
            let mut line = indent.to_owned();
            for (cell, (width, right)) in row.iter().zip(&shape) {
                let pad = " ".repeat(width - cell.chars().count());
                line.push_str(&if *right { format!("{pad}{cell}  ") } else { format!("{cell}{pad}  ") });
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let mut table = Table::new(&["table", "rows"]);
        table.row(["dbo.a".to_owned(), "7".to_owned()]);
        table.row(["dbo.ö".to_owned(), "1234567".to_owned()]);
        let mut out = Vec::new();
        table.write(&mut out, " ").expect("memory does not fail");
        assert_eq!(String::from_utf8_lossy(&out), " table     rows\n dbo.a        7\n dbo.ö  1234567\n");
    }
}

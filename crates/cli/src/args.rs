//! What can be asked of `logferry`.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Keeps a PostgreSQL database in step with a SQL Server database.
#[derive(Debug, Parser)]
#[command(name = "logferry", version, max_term_width = 100)]
pub(crate) struct Args {
    /// Print JSON where a command prints a table or a summary.
    #[arg(long, global = true)]
    pub json: bool,
    /// How log lines look.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell what backup, data or log files hold. Also of files that could not be run.
    Inspect(Inspect),
    /// Print what is inside of files: pages, log records, rows, changes.
    Dump(Dump),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// Files; stripes of one backup may be given together.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Dump {
    #[command(subcommand)]
    pub what: DumpWhat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DumpWhat {
    /// A page: its header, and its bytes in hex.
    Page(DumpPage),
    /// Log records, one a line.
    Log(DumpLog),
    /// Rows of a table, one JSON object a line.
    Rows(DumpRows),
}

#[derive(Debug, clap::Args)]
pub(crate) struct DumpPage {
    /// A data file or a backup, with its stripes.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// File of the database, and page in it, as in 1:9 (the boot page).
    #[arg(long, value_name = "F:P")]
    pub page: String,
    /// Which backup set, where a file holds several, from 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub set: Option<u16>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DumpLog {
    /// Log files (.ldf) or backups.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Which backup set, where a file holds several, from 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub set: Option<u16>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DumpRows {
    /// Data files of one database, or a backup with its stripes.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// The table, as in dbo.Orders; the schema may be left out where the name is clear.
    #[arg(long, value_name = "S.T")]
    pub table: String,
    /// Which backup set, where a file holds several, from 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub set: Option<u16>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[track_caller]
    fn check(line: &str, fits: bool) {
        let parsed = Args::try_parse_from(line.split(' '));
        assert_eq!(parsed.is_ok(), fits, "{line}: {parsed:?}");
    }

    #[test]
    fn lines() {
        check("logferry inspect a b --json", true);
        check("logferry inspect", false);
        check("logferry dump page a --page 1:9", true);
    }
}

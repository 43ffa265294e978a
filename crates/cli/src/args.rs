//! What can be asked of `logferry`.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use logferry_model::{Lsn, TransactionId};
use logferry_mssql_format::log::op::{Context, Op};

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
    /// Run one task until its source ends: copy what is missing, then apply the changes.
    Run(Run),
    /// Tell everything that is not as a task needs it, of source and target, with what to type. Changes nothing.
    Check(Check),
    /// Print a task for a running server, or (--grants) the SQL that gives its two accounts the rights they need.
    Init(Init),
    /// Tell what backup, data or log files hold. Also of files that could not be run.
    Inspect(Inspect),
    /// Print what is inside of files: pages, log records, rows, changes.
    Dump(Dump),
    /// Show the whole on data made for it: backups, or a running server, to PostgreSQL, with every row compared.
    Demo(Demo),
    /// Have tables of a task read whole once more, while it runs or when it is started; the others are followed as ever.
    Reload(Reload),
    /// Remove what tasks have made on a source: trigger, tables and capture instances of logferry.
    Teardown(Teardown),
    /// Serve a stand-in for SQL Server, to try logferry with: T-SQL and TDS, databases in memory, backups on disk.
    Standin(StandinArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// The task's YAML file.
    #[arg(value_name = "TASK.yaml", required_unless_present = "from", conflicts_with = "from")]
    pub task: Option<PathBuf>,
    /// End when the chain of files ends, whatever the task's file says of watching.
    #[arg(long)]
    pub once: bool,
    /// Read these tables whole once more before going on (source.mode: log, cdc, hybrid), as schema.table; the others are followed as ever.
    #[arg(long, value_name = "TABLE", num_args = 1.., requires = "task")]
    pub reload: Vec<String>,
    /// Without a task's file: backups, folders of backups, or data files (.mdf, .ndf) with log files (.ldf); here or as s3://bucket/prefix.
    #[arg(long, value_name = "FILE|FOLDER", num_args = 1.., requires = "to")]
    pub from: Vec<PathBuf>,
    /// Without a task's file: the target, postgres://user:password@host:port/database
    #[arg(long, value_name = "URL", requires = "from")]
    pub to: Option<String>,
    /// Which database, where the files hold several; "*" is all of them, each into schemas of its own.
    #[arg(long, value_name = "NAME", requires = "from")]
    pub database: Option<String>,
    /// With --database "*": each into a PostgreSQL database of its own, which is made where it is missing.
    #[arg(long, requires = "database")]
    pub own_databases: bool,
    /// Go on with log backups that arrive later, until the process is asked to end.
    #[arg(long, requires = "from", conflicts_with_all = ["set", "once"])]
    pub watch: bool,
    /// Which backup set of a file that holds several, from 1.
    #[arg(long, value_name = "N", requires = "from", value_parser = clap::value_parser!(u16).range(1..))]
    pub set: Option<u16>,
    /// Without a task's file: the task's name, under which the target keeps its position.
    #[arg(long, value_name = "NAME", requires = "from")]
    pub name: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Reload {
    /// The task's YAML file.
    #[arg(value_name = "TASK.yaml")]
    pub task: PathBuf,
    /// The tables, as schema.table of the source.
    #[arg(long, value_name = "TABLE", num_args = 1.., required = true)]
    pub table: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The task's YAML file.
    #[arg(value_name = "TASK.yaml")]
    pub task: PathBuf,
}

/// How a running server is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InitMode {
    /// Its tables, once.
    Snapshot,
    /// By its log.
    Log,
    /// By the tables of change data capture.
    Cdc,
    /// By both.
    Hybrid,
}

impl InitMode {
    /// As in `source.mode`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            InitMode::Snapshot => "snapshot",
            InitMode::Log => "log",
            InitMode::Cdc => "cdc",
            InitMode::Hybrid => "hybrid",
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// How the server is to be read.
    #[arg(long, value_enum)]
    pub mode: InitMode,
    /// The machine of the SQL Server.
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    pub host: String,
    /// Its port, where it is not 1433.
    #[arg(long, value_name = "P")]
    pub port: Option<u16>,
    /// The database.
    #[arg(long, value_name = "NAME")]
    pub database: String,
    /// The login of the source.
    #[arg(long, value_name = "NAME", default_value = "logferry")]
    pub user: String,
    /// The machine of the PostgreSQL.
    #[arg(long, value_name = "HOST", default_value = "localhost")]
    pub target_host: String,
    /// Its port.
    #[arg(long, value_name = "P", default_value_t = 5432)]
    pub target_port: u16,
    /// The database of the target; without it the source's name in small letters.
    #[arg(long, value_name = "NAME")]
    pub target_database: Option<String>,
    /// The role of the target.
    #[arg(long, value_name = "NAME", default_value = "logferry")]
    pub target_user: String,
    /// The SQL for both accounts instead of the task.
    #[arg(long)]
    pub grants: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// Files, or folders of them, here or as s3://bucket/prefix; stripes of one backup may be given together.
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
    /// Committed row changes in commit order, one JSON object a line.
    Changes(DumpChanges),
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
    /// The first record, as in 00000014:00000061:0001, or in decimal.
    #[arg(long, value_name = "LSN")]
    pub start: Option<Lsn>,
    /// The last record.
    #[arg(long, value_name = "LSN")]
    pub end: Option<Lsn>,
    /// Records of this transaction, as in 0000:00000345.
    #[arg(long, value_name = "ID")]
    pub transaction: Option<TransactionId>,
    /// Records of these operations, as in INSERT_ROWS,DELETE_ROWS.
    #[arg(long, value_name = "LOP", value_delimiter = ',', value_parser = operation)]
    pub op: Vec<Op>,
    /// Records of these contexts, as in HEAP,CLUSTERED.
    #[arg(long, value_name = "LCX", value_delimiter = ',', value_parser = context)]
    pub context: Vec<Context>,
    /// Records that change this page, as in 1:300.
    #[arg(long, value_name = "F:P")]
    pub page: Option<String>,
    /// Data files or a full backup of the database: its tables give records their names, and rows their columns.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub catalog: Vec<PathBuf>,
    /// Records of this table.
    #[arg(long, value_name = "S.T", requires = "catalog")]
    pub table: Option<String>,
    /// So many records at the most.
    #[arg(long, value_name = "N", conflicts_with_all = ["stats", "follow"])]
    pub limit: Option<u64>,
    /// How many records there are of each kind, and how large they are, instead of the records.
    #[arg(long, conflicts_with = "follow")]
    pub stats: bool,
    /// Wait for more at the end of the log, until interrupted: for log files that grow.
    #[arg(long)]
    pub follow: bool,
}

fn operation(name: &str) -> Result<Op, String> {
    Op::named(name)
        .ok_or_else(|| "there is no such operation; fn_dblog's names are meant, like LOP_INSERT_ROWS".to_owned())
}

fn context(name: &str) -> Result<Context, String> {
    Context::named(name).ok_or_else(|| "there is no such context; fn_dblog's names are meant, like LCX_HEAP".to_owned())
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

#[derive(Debug, clap::Args)]
pub(crate) struct DumpChanges {
    /// Backups, or folders of backups: one chain.
    #[arg(value_name = "FILE|FOLDER", required_unless_present = "data", conflicts_with = "data")]
    pub chain: Vec<PathBuf>,
    /// Data files of one database.
    #[arg(long, value_name = "FILE.mdf", num_args = 1.., requires = "log")]
    pub data: Vec<PathBuf>,
    /// Its log files.
    #[arg(long, value_name = "FILE.ldf", num_args = 1.., requires = "data")]
    pub log: Vec<PathBuf>,
    /// Which database, where the files hold several.
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// Which backup set of a file that holds several, from 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub set: Option<u16>,
}

/// What a demo reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DemoMode {
    /// Backups.
    Backup,
    /// A running server, by its log.
    Log,
    /// A running server, by its change tables.
    Cdc,
    /// A running server, by its log and by change tables.
    Hybrid,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Teardown {
    /// The task's YAML file. What other tasks made in the same database goes, too: stop them first.
    #[arg(value_name = "TASK.yaml")]
    pub task: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// What is read: a chain of backups, or a running server by its log or by its change tables.
    #[arg(long, value_enum, default_value_t = DemoMode::Backup)]
    pub mode: DemoMode,
    /// How long sessions write to the server, with the modes that read one.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds: u32,
    /// How many transactions they commit per second, with the modes that read a server; 0: as many as they can.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub rate: u32,
    /// Where the backups are made; a temporary folder without it.
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// Rows per table at the begin, and changes per log backup.
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub rows: u32,
    /// What the data is made of; the same number gives the same data.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Run these files of yours instead of data made for it.
    #[arg(long, value_name = "FILE|FOLDER", num_args = 1..)]
    pub from: Vec<PathBuf>,
    /// Which database, where they hold several.
    #[arg(long, value_name = "NAME", requires = "from")]
    pub database: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct StandinArgs {
    /// Where it listens, on this machine only; 0 takes a free port.
    #[arg(long, value_name = "P", default_value_t = 1433)]
    pub port: u16,
    /// Where backups go: names without a folder, as in TO DISK = 'shop.bak', are files in it.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub data: PathBuf,
    /// Serve the database in this data file read-only, under the file's name; its log file is beside it: F.ldf or F_log.ldf.
    #[arg(long, value_name = "FILE.mdf")]
    pub attach: Vec<PathBuf>,
    /// The password of its one login, sa.
    #[arg(long, value_name = "P", env = "LOGFERRY_STANDIN_PASSWORD", hide_env_values = true)]
    pub password: String,
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
        check("logferry run t.yaml", true);
        check("logferry run t.yaml --once", true);
        check("logferry run", false);
        check("logferry run --from a b --to postgres://h/d", true);
        check("logferry run --from a", false);
        check("logferry run t.yaml --from a --to x", false);
        check("logferry run --from a --to x --set 0", false);
        check("logferry init --mode log --database Shop", true);
        check("logferry init --grants --mode cdc --database Shop --json", true);
        check("logferry init --database Shop", false);
        check("logferry inspect a b --json", true);
        check("logferry inspect", false);
        check("logferry dump page a --page 1:9", true);
        check("logferry dump changes a b", true);
        check("logferry dump changes --data a --log b", true);
        check("logferry dump changes --data a", false);
        check("logferry dump changes", false);
        check("logferry demo", true);
        check("logferry demo --from a --database b", true);
        check("logferry demo --database b", false);
        check("logferry run --from a --to x --database * --own-databases", true);
        check("logferry run --from a --to x --own-databases", false);
        check("logferry standin --port 1 --data a --password p", true);
    }
}

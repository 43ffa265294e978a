//! What the documentation says of statements (`tests/statements.md`): they are listed with all that they use, and a server that does not
//! know, or does not show, some of it is read all the same.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use logferry_model::{Cell, ChangeSource, Severity, SqlType};
use logferry_mssql_live::{CdcSettings, LogSettings, Mode};
use logferry_mssql_standin::serve::Standin;
use logferry_mssql_standin::sql::{Login, ResultColumn, ResultSink, SqlError as Said};
use logferry_mssql_standin::tds::{Fault, SqlError};

use crate::{cdc, hybrid, log, settings, standin};

fn own() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rows of the table of `statements.md` under a heading, as their cells.
fn listed(heading: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(own().join("tests/statements.md")).expect("the list");
    let part = text.split("\n## ").find(|part| part.starts_with(heading)).expect("the heading");
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).skip(1).collect::<Vec<_>>();
    part.lines().filter(|line| line.starts_with('|')).skip(2).map(cells).collect()
}

fn text_of(file: &str) -> String {
    std::fs::read_to_string(own().join("sql").join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// Objects of the server that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("--"));
    let code = lines.collect::<Vec<_>>().join("\n");
    let words = code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'));
    let of_server = |word: &&str| ["sys.", "cdc.", "msdb."].iter().any(|begin| word.starts_with(begin));
    words.filter(of_server).map(str::to_owned).collect()
}

#[test]
fn every_statement_is_listed_with_all_that_it_uses() {
    let statements = listed("Statements");
    let known: BTreeSet<String> = listed("Objects").into_iter().map(|cells| cells[0].clone()).collect();
    let files = std::fs::read_dir(own().join("sql")).expect("the folder");
    let files: BTreeSet<String> =
        files.map(|file| file.expect("a file").file_name().into_string().expect("its name")).collect();
    let names: BTreeSet<String> = statements.iter().map(|cells| cells[0].clone()).collect();
    assert_eq!(names, files);
    let mut used = BTreeSet::new();
    for cells in &statements {
        let own: BTreeSet<String> = cells[1].split_whitespace().map(str::to_owned).collect();
        assert_eq!(own, named(&text_of(&cells[0])), "{}", cells[0]);
        assert!(cells[3].starts_with("goes on") || cells[3].starts_with("stops"), "{}: {}", cells[0], cells[3]);
        used.extend(own);
    }
    assert_eq!(used, known, "objects");
}

#[test]
fn every_file_that_builds_a_statement_is_listed() {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut files = Vec::new();
    walk(&own().join("src"), &mut files);
    let builds = |line: &str| {
        let is_code = !line.trim_start().starts_with("//");
        // With a star it is there to be typed by somebody.
        is_code && ["\"SELECT ", "}SELECT "].iter().any(|begin| line.contains(begin)) && !line.contains("SELECT *")
    };
    let mut building = BTreeSet::from(["src/value.rs".to_owned(), "src/value/variant.rs".to_owned()]);
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a text");
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        if code.lines().any(builds) {
            building.insert(path.strip_prefix(own()).expect("it is ours").display().to_string());
        }
    }
    let names: BTreeSet<String> = listed("Built in code").into_iter().map(|cells| cells[0].clone()).collect();
    assert_eq!(names, building);
}

/// The columns of an answer.
#[derive(Default)]
struct Columns(Vec<(String, SqlType)>, Vec<String>);

impl ResultSink for Columns {
    fn columns(&mut self, columns: &[ResultColumn]) {
        self.0 = columns.iter().map(|column| (column.name.clone(), column.sql_type.clone())).collect();
    }
    fn row(&mut self, _: &[Cell<'_>]) -> bool {
        true
    }
    fn error(&mut self, error: &Said) {
        self.1.push(error.message.clone());
    }
}

/// A type as the documentation spells it.
fn spelt(sql_type: &SqlType) -> String {
    match sql_type {
        SqlType::Int => "int".to_owned(),
        SqlType::BigInt => "bigint".to_owned(),
        SqlType::SmallInt => "smallint".to_owned(),
        SqlType::TinyInt => "tinyint".to_owned(),
        SqlType::Bit => "bit".to_owned(),
        SqlType::DateTime => "datetime".to_owned(),
        SqlType::UniqueIdentifier => "uniqueidentifier".to_owned(),
        SqlType::Variant => "sql_variant".to_owned(),
        SqlType::Decimal { precision, scale } => format!("numeric({precision},{scale})"),
        SqlType::NVarChar { length: Some(length), .. } => format!("nvarchar({length})"),
        SqlType::Char { length, .. } => format!("char({length})"),
        SqlType::Binary { length } => format!("binary({length})"),
        SqlType::VarBinary { length: Some(length) } => format!("varbinary({length})"),
        other => format!("{other:?}"),
    }
}

/// The client takes a value as nothing but its own type: so what reads the stand-in's answers reads those of a server only where both
/// are the same.
#[test]
fn the_stand_in_shows_the_documented_types() {
    let standin = standin("CREATE TABLE t (id int PRIMARY KEY)");
    standin
        .batch("USE shop; EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL")
        .expect("it is captured");
    let login = Login { name: "sa".into(), host: String::new(), program: String::new(), database: "shop".into() };
    let mut session = standin.sql().connect(&login).expect("a session");
    let mut checked = 0;
    for cells in listed("Objects") {
        let (object, columns) = (&cells[0], &cells[3]);
        let text = match object {
            object if object.contains(".sp_") => format!("EXEC {object}"),
            object if object.ends_with("dm_db_log_stats") => format!("SELECT TOP (0) * FROM {object}(NULL)"),
            object => format!("SELECT TOP (0) * FROM {object}"),
        };
        // `a int, b numeric(25,0), c bit (2014)`
        let columns = columns.replace("numeric(25,0)", "numeric(25;0)");
        let columns: Vec<Vec<&str>> = columns.split(", ").map(|column| column.split(' ').collect()).collect();
        if !columns.iter().all(|column| matches!(column.len(), 2 | 3) && column[1].is_ascii()) || object.contains("fn_")
        {
            continue;
        }
        let mut shown = Columns::default();
        session.execute(&text, &[], &mut shown).expect("it is executed");
        assert!(shown.1.is_empty(), "{object}: {:?}", shown.1);
        for column in columns {
            let documented = column[1].replace(';', ",").replace("sysname", "nvarchar(128)");
            match shown.0.iter().find(|(name, _)| name == column[0]) {
                Some((_, sql_type)) => assert_eq!(spelt(sql_type), documented, "{object}.{}", column[0]),
                // The stand-in is one of 2016.
                None => assert!(column.get(2).is_some_and(|since| *since > "(2016)"), "{object}.{}", column[0]),
            }
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked} columns");
}

/// Refuses some statements, each in the words of an error.
fn refuse(standin: &Standin, files: &[String], number: i32, words: &str) {
    assert!(!files.is_empty());
    let texts: BTreeSet<String> = files.iter().map(|file| text_of(file)).collect();
    let said = SqlError::new(number, 16, words);
    standin.faults().set(move |seen| texts.contains(seen.text).then(|| Fault::Error(said.clone())));
}

/// Reads and follows a server that refuses some statements, in each mode.
async fn is_followed(refused: &[String], number: i32, words: &str) {
    let standin = standin(log::TABLES);
    refuse(&standin, refused, number, words);
    let hold = logferry_mssql_live::HoldLog { max_mb: 1 << 20, max_age: std::time::Duration::from_secs(60) };
    let mut source = log::follow(&standin).await.unwrap_or_else(|e| panic!("{e}"));
    source = source.with_log(LogSettings { hold: Some(hold), ..LogSettings::default() });
    let mut target = log::Target::default();
    source.snapshot().await.unwrap_or_else(|e| panic!("{e}"));
    target.copy(&source).await;
    for n in 0..3 {
        standin.batch(&format!("USE shop; UPDATE a SET n = {n} WHERE id = 6")).expect("done");
        target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
        target.check(&standin);
    }
    drop(source);

    let standin = cdc::captured("CREATE TABLE a (id int PRIMARY KEY, v int); INSERT a VALUES (1, 1)", &["a"]);
    refuse(&standin, refused, number, words);
    let (mut source, mut target) = cdc::begin(&standin).await;
    cdc::run(&standin, &format!("UPDATE a SET v = 2; INSERT a VALUES (3, 3); {}", cdc::SCAN));
    target.drain(&mut source, 1 << 20).await.unwrap_or_else(|e| panic!("{e}"));
    target.check(&standin);
    drop(source);

    let standin = crate::standin(hybrid::TABLES);
    refuse(&standin, refused, number, words);
    let (mut source, mut target) = hybrid::begin(&standin).await;
    cdc::run(&standin, "UPDATE heap SET amount = 2 WHERE id < 5; UPDATE ledger SET amount = 2 WHERE id < 5");
    hybrid::catch_up(&standin, &mut source, &mut target).await;
}

fn files(filter: impl Fn(&[String]) -> bool) -> Vec<String> {
    listed("Statements").into_iter().filter(|cells| filter(cells)).map(|mut cells| cells.swap_remove(0)).collect()
}

#[tokio::test]
async fn a_server_of_2012_is_followed() {
    let later = files(|cells| cells[2] != "2012");
    assert!(later.len() > 4, "{later:?}");
    is_followed(&later, 207, "Invalid column name.").await;
}

#[tokio::test]
async fn what_the_login_may_not_see_is_done_without() {
    let spared = files(|cells| cells[3].starts_with("goes on"));
    is_followed(&spared, 300, "VIEW SERVER STATE permission was denied on object 'server', database 'master'.").await;
}

/// What is not there on 2012 is not told as an error by the check.
#[tokio::test]
async fn a_server_of_2012_is_checked() {
    let standin = standin("CREATE TABLE t (id int PRIMARY KEY, v int)");
    standin
        .batch("ALTER DATABASE shop SET ALLOW_SNAPSHOT_ISOLATION ON; BACKUP DATABASE shop TO DISK = 'NUL'")
        .expect("done");
    refuse(&standin, &files(|cells| cells[2] != "2012"), 208, "Invalid object name.");
    for mode in [Mode::Snapshot, Mode::Log] {
        let (found, tables) = logferry_mssql_live::check(settings(&standin), mode, std::sync::Arc::new(|_| true)).await;
        let errors: Vec<_> = found.iter().filter(|finding| finding.severity == Severity::Error).collect();
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(tables.len(), 1);
    }
}

/// The procedure is for owners of the database. Who may read the table that it reads learns of a dead job all the same.
#[tokio::test]
async fn jobs_are_seen_by_whoever_may_read_their_table() {
    for (is_job_there, may_read) in [(true, true), (false, true), (false, false)] {
        let standin = cdc::captured("CREATE TABLE a (id int PRIMARY KEY)", &["a"]);
        if !is_job_there {
            cdc::run(&standin, "EXEC sys.sp_cdc_drop_job N'capture'");
        }
        let mut refused = vec!["cdc_jobs.sql".to_owned()];
        refused.extend((!may_read).then(|| "cdc_jobs_table.sql".to_owned()));
        refuse(&standin, &refused, 22904, "Caller is not authorized to initiate the requested action.");
        let mode = Mode::Cdc(CdcSettings::default());
        let (found, _) = logferry_mssql_live::check(settings(&standin), mode, std::sync::Arc::new(|_| true)).await;
        let is_told = found.iter().any(|finding| finding.found.contains("has no capture job"));
        assert_eq!(is_told, !is_job_there && may_read, "{found:?}");
        let rate = found.iter().any(|finding| finding.found.contains("it captures at the most"));
        assert_eq!(rate, is_job_there && may_read, "{found:?}");
    }
}

/// A row of `sys.database_recovery_status` that is not shown is no word about the log.
#[tokio::test]
async fn a_log_of_which_nothing_is_shown_does_not_count_as_kept() {
    let standin = standin("CREATE TABLE t (id int PRIMARY KEY)");
    standin.batch("ALTER DATABASE shop SET ALLOW_SNAPSHOT_ISOLATION ON").expect("done");
    refuse(&standin, &["log_backed.sql".to_owned()], 229, "The SELECT permission was denied.");
    let (found, _) = logferry_mssql_live::check(settings(&standin), Mode::Log, std::sync::Arc::new(|_| true)).await;
    assert!(
        found.iter().any(|f| f.found.contains("whether its log is kept") && f.severity == Severity::Warning),
        "{found:?}"
    );
}

/// Large values that are captured must not be larger than the server lets them be: whoever writes one meets an error.
#[tokio::test]
async fn large_values_that_capture_would_refuse_are_told_before() {
    let standin = standin(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(max)); CREATE TABLE s (id int PRIMARY KEY, v varchar(90)); EXEC sys.sp_cdc_enable_db",
    );
    let told = async |enable| {
        let mode = Mode::Cdc(CdcSettings { enable });
        let (found, _) = logferry_mssql_live::check(settings(&standin), mode, std::sync::Arc::new(|_| true)).await;
        let told = found.iter().filter(|finding| finding.found.contains("more than 65536 bytes"));
        told.map(|finding| finding.subject.clone()).collect::<Vec<_>>()
    };
    assert_eq!(told(true).await, ["table \"dbo.t\""]);
    assert_eq!(told(false).await, [""; 0]);
}

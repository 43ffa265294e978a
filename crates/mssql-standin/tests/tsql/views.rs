//! Views and procedures as they are documented: names, order, types and NULLs of their columns. `views.txt` and `procedures.txt` have them.

use std::collections::{BTreeMap, BTreeSet};

use logferry_model::{Cell, SqlType};
use logferry_mssql_standin::sql::{ResultColumn, ResultSink, Session};

use crate::{connect, run, server};

/// A column as a page has it.
#[derive(Clone, Debug)]
struct Documented {
    name: String,
    sql_type: String,
    /// Whether it may be NULL, where the page says so.
    nullable: Option<bool>,
}

/// The views in their order, and what is wrong with the list itself.
fn documented() -> Vec<(String, Vec<Documented>)> {
    let mut out: Vec<(String, Vec<Documented>)> = Vec::new();
    let texts = concat!(include_str!("views.txt"), include_str!("procedures.txt"));
    let lines = texts.lines().filter(|l| !l.starts_with('#') && !l.is_empty());
    for line in lines {
        match line.strip_prefix("  ") {
            None => {
                let (name, page) = line.split_once(" | ").expect("a view and its page");
                assert!(page.contains('/'), "{line}");
                out.push((name.to_owned(), Vec::new()));
            }
            Some(columns) => {
                let mut new = Vec::new();
                for column in columns.trim_end_matches(',').split(", ") {
                    match column.strip_prefix('@') {
                        Some(other) => {
                            let other = out.iter().find(|(name, _)| name == other).expect("a view that stands above");
                            new.extend(other.1.iter().cloned());
                        }
                        None => new.push(one(column)),
                    }
                }
                out.last_mut().expect("columns are of a view").1.extend(new);
            }
        }
    }
    out
}

fn one(text: &str) -> Documented {
    // Names can have spaces, types have none.
    let (name, rest) = text.trim_start_matches('+').rsplit_once(' ').unwrap_or_else(|| panic!("a column: {text}"));
    let (sql_type, nullable) = match (rest.strip_suffix('?'), rest.strip_suffix('!')) {
        (Some(rest), _) => (rest, Some(true)),
        (_, Some(rest)) => (rest, Some(false)),
        _ => (rest, None),
    };
    let sql_type = if sql_type == "sysname" { "nvarchar(128)" } else { sql_type };
    Documented { name: name.to_owned(), sql_type: sql_type.to_owned(), nullable }
}

/// A type as the pages name it.
fn type_name(ty: &SqlType) -> String {
    let max = |n: Option<u16>| n.map_or("max".to_owned(), |n| n.to_string());
    match ty {
        SqlType::Bit => "bit".into(),
        SqlType::TinyInt => "tinyint".into(),
        SqlType::SmallInt => "smallint".into(),
        SqlType::Int => "int".into(),
        SqlType::BigInt => "bigint".into(),
        SqlType::Real => "real".into(),
        SqlType::Float => "float".into(),
        SqlType::DateTime => "datetime".into(),
        SqlType::DateTimeOffset { scale } => format!("datetimeoffset({scale})"),
        SqlType::UniqueIdentifier => "uniqueidentifier".into(),
        SqlType::Variant => "sql_variant".into(),
        SqlType::Decimal { precision, scale } => format!("numeric({precision},{scale})"),
        SqlType::Char { length, .. } => format!("char({length})"),
        SqlType::NChar { length, .. } => format!("nchar({length})"),
        SqlType::NText { .. } => "ntext".into(),
        SqlType::Image => "image".into(),
        SqlType::Binary { length } => format!("binary({length})"),
        SqlType::VarChar { length, .. } => format!("varchar({})", max(*length)),
        SqlType::NVarChar { length, .. } => format!("nvarchar({})", max(*length)),
        SqlType::VarBinary { length } => format!("varbinary({})", max(*length)),
        other => format!("{other:?}"),
    }
}

#[derive(Default)]
struct Columns(Vec<(String, String, bool)>, Option<String>);

impl ResultSink for Columns {
    fn columns(&mut self, columns: &[ResultColumn]) {
        self.0.extend(columns.iter().map(|c| (c.name.clone(), type_name(&c.sql_type), c.nullable)));
    }
    fn row(&mut self, _: &[Cell<'_>]) -> bool {
        true
    }
    fn error(&mut self, error: &logferry_mssql_standin::sql::SqlError) {
        self.1 = Some(error.message.clone());
    }
}

/// What differs between a view and its page.
fn compare(session: &mut Session, view: &str, documented: &[Documented]) -> Vec<String> {
    let call = match view {
        "sys.dm_db_log_info" | "sys.dm_db_log_stats" => "(DB_ID())",
        "sys.fn_my_permissions" => "('dbo.t', 'OBJECT')",
        _ => "",
    };
    let mut found = Columns::default();
    // An error is in what was found.
    let sql = if view.starts_with("EXEC ") { view.to_owned() } else { format!("SELECT * FROM {view}{call}") };
    let _status = session.execute(&sql, &[], &mut found);
    if let Some(error) = found.1 {
        return vec![error];
    }
    let mut wrong = Vec::new();
    let names = |all: Vec<&str>| all.join(", ");
    let (have, want): (Vec<&str>, Vec<&str>) =
        (found.0.iter().map(|c| &*c.0).collect(), documented.iter().map(|c| &*c.name).collect());
    if have != want {
        wrong.push(format!("columns {}\n  documented {}", names(have), names(want)));
    }
    for ((name, sql_type, nullable), page) in found.0.iter().zip(documented).filter(|(c, page)| c.0 == page.name) {
        if *sql_type != page.sql_type {
            wrong.push(format!("{name} {sql_type}, documented {}", page.sql_type));
        }
        if page.nullable.is_some_and(|may| may != *nullable) {
            wrong.push(format!("{name}: NULL may be: {nullable}, documented {:?}", page.nullable));
        }
    }
    wrong
}

#[test]
fn views_are_as_they_are_documented() {
    let server = server();
    let mut s = connect(&server);
    run(
        &mut s,
        "CREATE TABLE t (id int IDENTITY PRIMARY KEY, a varchar(max), b AS id * 2); INSERT t (a) VALUES ('x'); CREATE TABLE o (t int REFERENCES t (id))",
    );
    assert_eq!(run(&mut s, "EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_enable_table 'dbo', 't', NULL"), "");
    let views = documented();
    let mut wrong = BTreeMap::new();
    for (view, columns) in &views {
        let said = compare(&mut s, view, columns);
        if !said.is_empty() {
            wrong.insert(view.as_str(), said.join("\n  "));
        }
    }
    // Those that are on no page.
    let own = ["allocation_units", "partition_columns", "partitions"].map(|n| format!("sys.system_internals_{n}"));
    let listed: BTreeSet<String> =
        run(&mut s, "SELECT SCHEMA_NAME(schema_id) + '.' + name FROM sys.system_views ORDER BY 1")
            .split(" | ")
            .map(|name| name.trim_matches('"').to_owned())
            .collect();
    let is_view = |name: &&String| name.starts_with("sys.") || name.starts_with("INFORMATION_SCHEMA.");
    let functions = ["dm_db_log_info", "dm_db_log_stats", "fn_my_permissions"].map(|n| format!("sys.{n}"));
    let known: BTreeSet<String> = views.iter().map(|(name, _)| name).filter(is_view).cloned().chain(own).collect();
    let known: BTreeSet<String> = known.into_iter().filter(|name| !functions.contains(name)).collect();
    assert_eq!(listed, known, "the views that there are, and those that are documented");
    for name in &listed {
        // A NULL where the view says that there is none, or a row that is not of its columns, ends the test.
        let said = run(&mut s, &format!("SELECT * FROM {name}"));
        assert!(!said.starts_with('!'), "{name}: {said}");
    }
    let said: String = wrong.iter().map(|(view, said)| format!("\n{view}: {said}")).collect();
    assert!(wrong.is_empty(), "{said}");
}

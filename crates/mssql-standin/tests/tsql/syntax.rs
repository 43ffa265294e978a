//! What is not T-SQL, and what is and is left out: errors with their numbers, lines and words. `syntax.txt` has them.

use logferry_model::Cell;
use logferry_mssql_standin::sql::{ResultColumn, ResultSink, SqlError};

use crate::{connect, run, server};

/// The first error, with its line.
#[derive(Default)]
struct First(Option<SqlError>);

impl ResultSink for First {
    fn columns(&mut self, _: &[ResultColumn]) {}
    fn row(&mut self, _: &[Cell<'_>]) -> bool {
        true
    }
    fn error(&mut self, error: &SqlError) {
        self.0.get_or_insert_with(|| error.clone());
    }
}

#[test]
fn what_is_wrong_is_said() {
    let server = server();
    let mut s = connect(&server);
    run(&mut s, "CREATE TABLE t (a int, b int); CREATE INDEX ix ON t (b)");
    let mut wrong = String::new();
    let cases: Vec<&str> =
        include_str!("syntax.txt").lines().filter(|l| !l.starts_with('#') && !l.is_empty()).collect();
    assert!(cases.len() > 200, "{}", cases.len());
    for case in cases {
        let (expect, sql) = case.split_once(" | ").expect("an error and a statement");
        let mut first = First::default();
        // The error is in what was seen.
        let _status = s.execute(&sql.replace("\\n", "\n"), &[], &mut first);
        let found = first.0.map_or("none".to_owned(), |e| {
            assert!(e.class == 15 || !matches!(e.number, 102 | 156), "{sql}: severity {}", e.class);
            format!("{}, line {}: {}", e.number, e.line, e.message)
        });
        if found != expect {
            wrong.push_str(&format!("\n{found} | {sql}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

//! Every mistake is shown where it is, with what would have been right.

use std::path::Path;

use logferry_config::Task;

const GOOD: &str = "task: a
source:
  mode: backup
  files: [x.bak]
target:
  url: postgres://me:hunter2@h/db
";

/// Replaces a line of a good task and compares what is said about it.
#[track_caller]
fn check(line: &str, with: &str, expect: &str) {
    assert!(GOOD.contains(line), "no line {line}");
    let error = Task::parse(&GOOD.replace(line, with), "t.yaml", Path::new(""), &|_| None).expect_err("a mistake");
    let said = error.to_string();
    assert_eq!(said, expect.trim_start_matches('\n'));
    assert!(!said.contains("hunter2"), "the password is shown");
}

#[test]
fn unknown_key() {
    check(
        "  files:",
        "  fils:",
        "
t.yaml:4:3: unknown key \"fils\"
    4 |   fils: [x.bak]
      |   ^^^^
    expected one of: mode, files, database, set, log
    did you mean \"files\"?",
    );
}

#[test]
fn key_given_twice() {
    check(
        "task: a\n",
        "task: a\ntask: b\n",
        "
t.yaml:2:1: key \"task\" is given twice
    2 | task: b
      | ^^^^",
    );
}

#[test]
fn missing_key() {
    check(
        "  mode: backup\n",
        "",
        "
t.yaml:3:3: key \"mode\" is missing here
    3 |   files: [x.bak]
      |   ^^^^^",
    );
    check(
        "  files: [x.bak]\n",
        "",
        "
t.yaml:3:9: key \"files\" is missing beside this one
    3 |   mode: backup
      |         ^^^^^^
    expected files: [PATH, ...]: backup files, data files, or folders of them",
    );
}

#[test]
fn modes() {
    check(
        "backup",
        "cdc",
        "
t.yaml:3:9: mode \"cdc\" is not in this version
    3 |   mode: cdc
      |         ^^^
    this version reads files: mode: backup",
    );
    check(
        "backup",
        "bakup",
        "
t.yaml:3:9: there is no such mode
    3 |   mode: bakup
      |         ^^^^^
    expected backup (in later versions: log, hybrid, cdc, snapshot)",
    );
}

#[test]
fn values_of_the_wrong_kind() {
    check(
        "[x.bak]",
        "x.bak",
        "
t.yaml:4:10: value is not of the right kind
    4 |   files: x.bak
      |          ^^^^^
    expected a list, like [a, b]",
    );
    check(
        "  files: [x.bak]",
        "  files: [x.bak]\n  set: first",
        "
t.yaml:5:8: value is not of the right kind
    5 |   set: first
      |        ^^^^^
    expected a whole number from 0 to 65535",
    );
    check(
        "task: a\n",
        "task: a\ncopy: {workers: 0}\n",
        "
t.yaml:2:17: 0 is out of bounds
    2 | copy: {workers: 0}
      |                 ^
    expected 1 to 64",
    );
    check(
        "target:\n",
        "target:\n  on_existing: truncat\n",
        "
t.yaml:6:16: \"truncat\" is no such choice
    6 |   on_existing: truncat
      |                ^^^^^^^
    expected one of: error, ignore, truncate, recreate
    did you mean \"truncate\"?",
    );
}

#[test]
fn variables() {
    check(
        "me:hunter2",
        "me:${NOT_THERE}",
        "
t.yaml:6:8: environment variable NOT_THERE is not set
    6 |   url: postgres://me:************@h/db
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    set it where logferry is started: export NOT_THERE=...",
    );
    check(
        "x.bak",
        "'x${Y.bak'",
        "
t.yaml:4:11: \"${\" has no \"}\"
    4 |   files: ['x${Y.bak']
      |           ^^^^^^^^^^
    expected ${NAME}, or $$ for a plain \"$\"",
    );
}

#[test]
fn passwords_stay_hidden_in_the_line_that_is_shown() {
    check(
        "postgres://",
        "mysql://",
        "
t.yaml:6:8: this is not the URL of a PostgreSQL database
    6 |   url: mysql://me:*******@h/db
      |        ^^^^^^^^^^^^^^^^^^^^^^^
    expected postgres://user:password@host:port/database",
    );
}

#[test]
fn paths_elsewhere() {
    check(
        "x.bak",
        "'s3://bucket/x.bak'",
        "
t.yaml:4:11: files at \"s3://\" are not in this version
    4 |   files: ['s3://bucket/x.bak']
      |           ^^^^^^^^^^^^^^^^^^^
    expected a path on this machine",
    );
}

#[test]
fn an_empty_file() {
    let error = Task::parse("", "t.yaml", Path::new(""), &|_| None).expect_err("a mistake");
    assert!(error.to_string().starts_with("t.yaml:1:1: the file ends too early"), "{error}");
    let error = Task::load(Path::new("/nonexistent/t.yaml")).expect_err("a mistake");
    assert!(error.to_string().contains("/nonexistent/t.yaml: could not read"), "{error}");
}

#[test]
fn names_and_types() {
    check(
        "task: a\n",
        "task: a\ntypes: {hundred_ns: rond}\n",
        "
t.yaml:2:21: \"rond\" is no such choice
    2 | types: {hundred_ns: rond}
      |                     ^^^^
    expected one of: round, truncate, text
    did you mean \"round\"?",
    );
    check(
        "task: a\n",
        "task: a\nnames: {case: lower, colums: {}}\n",
        "
t.yaml:2:22: unknown key \"colums\"
    2 | names: {case: lower, colums: {}}
      |                      ^^^^^^
    expected one of: case, schemas, tables, columns
    did you mean \"columns\"?",
    );
}

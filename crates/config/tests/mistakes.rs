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
    expected one of: mode, files, database, set, log, watch, watch_seconds, object_storage, host, port, instance, user, password, token, token_file, kerberos, read_only, answer_seconds, on_gap, hold_log, tls, cdc, heartbeat_seconds
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
        "bakup",
        "
t.yaml:3:9: there is no such mode
    3 |   mode: bakup
      |         ^^^^^
    expected backup, snapshot, log, cdc or hybrid",
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
        "'oss://bucket/x.bak'",
        "
t.yaml:4:11: files at \"oss://\" are not in this version
    4 |   files: ['oss://bucket/x.bak']
      |           ^^^^^^^^^^^^^^^^^^^^
    expected a path on this machine, or s3://bucket/prefix",
    );
    check(
        "x.bak",
        "'s3:///x.bak'",
        "
t.yaml:4:11: there is no bucket
    4 |   files: ['s3:///x.bak']
      |           ^^^^^^^^^^^^^
    expected s3://bucket/prefix",
    );
}

#[test]
fn object_storage() {
    let with = |keys: &str| format!("  files: [x.bak]\n  object_storage: {{{keys}}}\n");
    let found = |keys: &str| {
        let text = GOOD.replace("  files: [x.bak]\n", &with(keys));
        Task::parse(&text, "t.yaml", Path::new(""), &|_| None).map(drop).map_err(|e| e.to_string())
    };
    assert_eq!(found("endpoint: 'https://h:9000', region: r, addressing: virtual, memory_mb: 8"), Ok(()));
    assert_eq!(found("access_key: a, secret_key: hunter2, role: {arn: b, external_id: c}"), Ok(()));
    for (keys, says) in [
        ("endpoint: h", "this is not the URL of a server"),
        ("addressing: host", "there is no such way to name a bucket"),
        ("access_key: a", "half of a key"),
        ("credentials: none, profile: p", "there is another choice beside this one"),
        ("credentials: some", "there are no such credentials"),
        ("memory_mb: 7", "7 is out of bounds"),
    ] {
        let said = found(keys).expect_err(keys);
        assert!(said.contains(says), "{keys}: {said}");
    }
    let said = found("\n    secret_key: hunter2\n  ").expect_err("half of a key");
    assert!(said.contains("half of a key") && !said.contains("hunter2"), "{said}");
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
    expected one of: round, truncate, text, remainder
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

const SERVER: &str = "task: a
source:
  mode: snapshot
  host: db.example
  database: Shop
  user: sa
  password: hunter2
target:
  url: postgres://h/db
";

#[track_caller]
fn check_server(line: &str, with: &str, expect: &str) {
    assert!(SERVER.contains(line), "no line {line}");
    let error = Task::parse(&SERVER.replace(line, with), "t.yaml", Path::new(""), &|_| None).expect_err("a mistake");
    let said = error.to_string();
    assert_eq!(said, expect.trim_start_matches('\n'));
    assert!(!said.contains("hunter2"), "the password is shown");
}

#[test]
fn servers() {
    Task::parse(SERVER, "t.yaml", Path::new(""), &|_| None).expect("no mistake");
    check_server(
        "  database: Shop\n",
        "",
        "
t.yaml:3:9: key \"database\" is missing beside this one
    3 |   mode: snapshot
      |         ^^^^^^^^
    expected database: the database's name",
    );
    check_server(
        "db.example",
        "'db.example\\SHOP'",
        "
t.yaml:4:9: this is more than the machine's name
    4 |   host: 'db.example\\SHOP'
      |         ^^^^^^^^^^^^^^^^^
    expected the name alone: the instance goes to \"instance\", the port to \"port\"",
    );
    check_server(
        "  user: sa\n",
        "  user: sa\n  files: [x.bak]\n",
        "
t.yaml:7:10: key \"files\" does not belong to mode snapshot
    7 |   files: [x.bak]
      |          ^",
    );
    check_server(
        "  user: sa\n",
        "  user: sa\n  cdc: {enable: true}\n",
        "
t.yaml:7:8: key \"cdc\" does not belong to mode snapshot
    7 |   cdc: {enable: true}
      |        ^",
    );
    check_server(
        "  user: sa\n",
        "  user: sa\n  port: 1433\n  instance: A\n",
        "
t.yaml:8:13: an instance is found by its port, which is given, too
    8 |   instance: A
      |             ^
    expected either port or instance",
    );
    check_server(
        "  user: sa\n",
        "  user: sa\n  tls: {ca: a.pem, trust: true}\n",
        "
t.yaml:7:13: there is another choice beside this one
    7 |   tls: {ca: a.pem, trust: true}
      |             ^^^^^
    expected one of ca, pinned or trust; none of them for the system's authorities",
    );
    check_server(
        "  password: hunter2\n",
        "  password: hunter2\n  password: hunter2\n",
        "
t.yaml:8:3: key \"password\" is given twice
    8 |   password: *******
      |   ^^^^^^^^",
    );
    check_server(
        "  user: sa\n",
        "  user: sa\n  tls: {insecure: true}\n",
        "
t.yaml:7:9: unknown key \"insecure\"
    7 |   tls: {insecure: true}
      |         ^^^^^^^^
    expected one of: ca, pinned, trust, name, strict",
    );
}

#[test]
fn conditions_of_rows() {
    check(
        "target:\n",
        "tables: {where: {dbo.a: \"x = 1\"}}\ntarget:\n",
        "
t.yaml:5:25: mode backup cannot choose rows: it is a server that evaluates conditions, by its collations
    5 | tables: {where: {dbo.a: \"x = 1\"}}
      |                         ^^^^^^^
    expected no \"where\", or a mode that reads a running server",
    );
    let server =
        "task: a\nsource: {mode: log, host: h, database: d, user: u, password: p}\ntarget: {url: \"postgres://h/d\"}\n";
    let said = |tables: &str| {
        let text = format!("{server}tables:\n  where: {tables}\n");
        Task::parse(&text, "t.yaml", Path::new(""), &|_| None).expect_err("a mistake").to_string()
    };
    assert!(said("{orders: 'x = 1'}").contains("\"orders\" is not the name of one table"));
    assert!(said("{dbo.*: 'x = 1'}").contains("\"dbo.*\" is not the name of one table"));
    assert!(said("{dbo.a: 'x = 1', DBO.A: 'x = 2'}").contains("has a condition already"));
    let text = format!("{server}tables: {{where: {{dbo.a: \"x = '${{X}}'\"}}}}\n");
    let task = Task::parse(&text, "t.yaml", Path::new(""), &|_| Some("5".to_owned())).expect("a task");
    let table = logferry_model::TableName::new("dbo", "A");
    assert_eq!(task.tables.condition(&table), Some("x = '5'"));
}

#[test]
fn phases_and_starts() {
    use logferry_model::{Lsn, Start};
    let parse = |mode: &str, more: &str| {
        let source = match mode {
            "backup" => "{mode: backup, files: [x.bak]}".to_owned(),
            _ => format!("{{mode: {mode}, host: h, database: d, user: u, password: p}}"),
        };
        let text = format!("task: a\nsource: {source}\ntarget: {{url: \"postgres://h/d\"}}\n{more}");
        Task::parse(&text, "t.yaml", Path::new(""), &|_| None)
    };
    let start = |start: &str| {
        let parsed = parse("log", &format!("phases: [incremental]\nstart: {start}\n"));
        parsed.map(|task| task.start).map_err(|e| e.to_string())
    };
    let lsn = Lsn::new(0x14, 0x61, 1);
    for spelled in ["00000014:00000061:0001", "0x00000014:00000061:0001", "20000000009700001", "0x00000014000000610001"]
    {
        assert_eq!(start(&format!("{{from: lsn, lsn: '{spelled}'}}")), Ok(Start::Lsn(lsn)), "{spelled}");
        assert_eq!(start(&format!("{{from: backup, lsn: '{spelled}'}}")), Ok(Start::Lsn(lsn)), "{spelled}");
    }
    assert_eq!(start("{from: now}"), Ok(Start::Now));
    assert_eq!(start("{from: time, time: 2026-01-31 10:00:00.5}"), Ok(Start::Time("2026-01-31T10:00:00.5".to_owned())));
    for (given, why) in [
        ("{from: lsn}", "key \"lsn\" is missing"),
        ("{from: backup}", "last_lsn"),
        ("{from: time}", "key \"time\" is missing"),
        ("{from: now, lsn: '1:2:3'}", "does not belong"),
        ("{from: lsn, lsn: 'x'}", "is not an LSN"),
        ("{from: time, time: yesterday}", "this is no time"),
        ("{from: time, time: '2026-01-31T10:00:00.1234'}", "this is no time"),
    ] {
        assert!(start(given).is_err_and(|said| said.contains(why)), "{given}");
    }
    for (mode, more, why) in [
        ("log", "phases: []", "without a phase"),
        ("log", "phases: [full]\nstart: {from: now}", "behind the copy"),
        ("log", "start: {from: now}", "behind the copy"),
        ("snapshot", "phases: [full, incremental]", "knows of no changes"),
        ("backup", "phases: [incremental]", "behind its full backup"),
    ] {
        assert!(parse(mode, more).is_err_and(|e| e.to_string().contains(why)), "{mode} {more}");
    }
    let phases = parse("log", "phases: [full]").expect("a task").phases;
    assert_eq!((phases.schema, phases.full, phases.incremental), (false, true, false));
}

#[test]
fn tokens_stand_in_the_place_of_user_and_password() {
    use logferry_config::{Login, Source};
    let parse = |login: &str| {
        let text = format!(
            "task: a\nsource: {{mode: log, host: h, database: d, {login}}}\ntarget: {{url: \"postgres://h/d\"}}\n"
        );
        Task::parse(&text, "t.yaml", Path::new("/etc"), &|_| Some("hunter2".to_owned())).map(|task| match task.source {
            Source::Server(server) => server.login,
            Source::Backup(_) => panic!("a server"),
        })
    };
    assert!(matches!(parse("token: '${T}'"), Ok(Login::Token(token)) if token.expose() == "hunter2"));
    assert!(matches!(parse("kerberos: true"), Ok(Login::Kerberos)));
    assert!(matches!(parse("token_file: token"), Ok(Login::TokenFile(path)) if path == Path::new("/etc/token")));
    for (login, why) in [
        ("token: a, token_file: b", "there is a token_file, too"),
        ("token: a, user: b", "in the place of user and password"),
        ("kerberos: true, user: b", "kerberos stands in the place of user, password and tokens"),
        ("kerberos: true, token_file: b", "kerberos stands in the place of user, password and tokens"),
        ("kerberos: false", "key \"user\" is missing"),
        ("user: b", "key \"password\" is missing"),
    ] {
        assert!(parse(login).is_err_and(|e| e.to_string().contains(why)), "{login}");
    }
}

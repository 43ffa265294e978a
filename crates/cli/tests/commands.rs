//! The binary as a script sees it: exit codes, output, errors.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use logferry_mssql_standin_storage::workload::{WorkloadOptions, generate_chain};
use logferry_testkit::postgres::{Database, PrivatePostgres};
use serde_json::Value;

fn logferry(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_logferry"))
        .args(args)
        .env_remove("LOGFERRY_LOG")
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command that must fail with a code, and say something.
#[track_caller]
fn check(args: &[&str], code: i32, says: &[&str]) {
    let output = logferry(args);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    for words in says {
        assert!(said.contains(words), "{args:?} does not say {words:?}: {said}");
    }
}

fn chain(folder: &Path) -> Vec<PathBuf> {
    let options = WorkloadOptions {
        initial_rows: 30,
        steps: 100,
        logs: 2,
        open_across_backups: false,
        ..WorkloadOptions::default()
    };
    generate_chain(5, &options, folder).expect("a chain").files.into_iter().map(|f| f.path).collect()
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[test]
fn mistakes_in_arguments_and_settings_are_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let task = folder.path().join("t.yaml");
    std::fs::write(&task, "task: a\nsource:\n  mode: backup\n  fils: [x]\ntarget: {url: 'postgres://h/d'}\n")
        .expect("it is written");
    check(&["run", path(&task)], 2, &["t.yaml:4:3: unknown key \"fils\"", "did you mean \"files\"?"]);
    check(&["run", "/nonexistent.yaml"], 2, &["/nonexistent.yaml"]);
    check(&["run"], 2, &["TASK.yaml"]);
    check(&["run", "--from", path(&task), "--to", "mysql://h/d"], 2, &["--to is not the URL"]);
    check(&["dump", "page", path(&task), "--page", "9"], 2, &["\"9\" is no page"]);
}

#[test]
fn files_that_are_refused_are_3_and_nothing_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = chain(folder.path());
    // The database in between is what is missing; the target is not even asked.
    let url = "postgres://nobody@127.0.0.1:1/none";
    check(&["run", "--to", url, "--from", path(&files[0]), path(&files[2])], 3, &["has a hole", "hint: "]);
    check(&["run", "--to", url, "--from", path(&files[1])], 3, &["there is no full backup"]);
    check(&["run", "--to", url, "--from", "/nonexistent"], 3, &["/nonexistent"]);
    let other = folder.path().join("notes.txt");
    std::fs::write(&other, "hello").expect("it is written");
    check(&["inspect", path(&other)], 3, &[]);
}

/// Wherever a byte of a file is changed: what was read either does not need it, or the file is refused before a table is made.
#[test]
fn damage_anywhere_is_told_before_anything_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = chain(folder.path());
    let cluster = PrivatePostgres::shared();
    for (file, at_least) in [(&files[0], 4), (files.last().expect("logs"), 2)] {
        let sound = std::fs::read(file).expect("it can be read");
        let mut refused = 0;
        for part in 1..12 {
            let mut bytes = sound.clone();
            let at = bytes.len() * part / 12;
            bytes[at] ^= 0x40;
            std::fs::write(file, &bytes).expect("it can be written");
            let database = cluster.create_database().expect("a database");
            let output = logferry(&["run", "--to", &database.url(), "--from", path(folder.path())]);
            let said = text(&output.stderr);
            match output.status.code() {
                Some(0) => {}
                Some(3) => {
                    refused += 1;
                    assert!(said.contains(path(file)) && said.contains("offset"), "byte {at}: {said}");
                    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'dbo'";
                    assert_eq!(count(&database, tables), 0, "byte {at} of {}: {said}", file.display());
                }
                code => panic!("byte {at} of {}: {code:?}, {said}", file.display()),
            }
        }
        assert!(refused >= at_least, "{refused} of {} refused", file.display());
        std::fs::write(file, &sound).expect("it can be written");
    }
}

fn count(database: &Database<'_>, sql: &str) -> i64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = database.client().await.expect("a connection");
        client.query_one(sql, &[]).await.expect("a count").get(0)
    })
}

#[test]
fn the_rest_is_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = chain(folder.path());
    let url = "postgres://me:hunter2@127.0.0.1:1/none";
    let output = logferry(&["run", "--to", url, "--from", path(&files[0])]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("could not connect to") && !said.contains("hunter2"), "{said}");
    check(&["dump", "rows", path(&files[0]), "--table", "nope"], 1, &["there is no table \"nope\"", "dbo.Accounts"]);
}

#[test]
fn run_inspect_and_dump_agree() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = chain(folder.path());
    let database = PrivatePostgres::shared().create_database().expect("a database");
    let url = database.url();
    let run = || -> Value {
        let output = logferry(&["run", "--json", "--to", &url, "--from", path(folder.path())]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let first = run();
    assert_eq!(
        (&first["task"], &first["end"], &first["copied"]),
        (&"standin".into(), &"source ended".into(), &true.into())
    );
    let dumped = logferry(&["dump", "changes", path(folder.path())]);
    let lines: Vec<Value> =
        text(&dumped.stdout).lines().map(|l| serde_json::from_str(l).expect("JSON lines")).collect();
    assert_eq!(first["changes"], lines.len());
    assert!(lines.iter().any(|l| l["operation"] == "update" && l["before"].is_object() && l["after"].is_object()));
    let last = lines.last().expect("there are changes");
    assert!(last["commit_lsn"].as_str() <= first["last_lsn"].as_str(), "{last} {first}");

    let again = run();
    assert_eq!(
        (&again["copied"], &again["changes"], &again["last_lsn"]),
        (&false.into(), &0.into(), &first["last_lsn"])
    );

    let inspected = logferry(&["inspect", "--json", path(&files[0])]);
    let report: Value = serde_json::from_slice(&inspected.stdout).expect("JSON");
    let tables = report["sets"][0]["tables"].as_array().expect("tables");
    for table in tables {
        let name = table["table"].as_str().expect("a name");
        let rows = logferry(&["dump", "rows", path(&files[0]), "--table", name]);
        assert_eq!(text(&rows.stdout).lines().count() as u64, table["rows"].as_u64().expect("a count"), "{name}");
    }
    let one_by_one: Vec<&str> = ["inspect", "--json"].into_iter().chain(files.iter().map(|f| path(f))).collect();
    let of_folder = logferry(&["inspect", "--json", path(folder.path())]);
    assert_eq!(text(&of_folder.stdout), text(&logferry(&one_by_one).stdout));
    assert_eq!(text(&of_folder.stdout).lines().count(), files.len());
    let log = logferry(&["dump", "log", "--json", path(&files[1])]);
    let first: Value = serde_json::from_str(text(&log.stdout).lines().next().expect("a record")).expect("JSON");
    assert!(first["operation"].as_str().is_some_and(|op| op.starts_with("LOP_")), "{first}");
    log_records_are_filtered_and_counted(&files);
    let page = logferry(&["dump", "page", path(&files[0]), "--page", "1:9"]);
    assert!(text(&page.stdout).starts_with("page 1:9: boot"), "{}", text(&page.stdout));
}

/// What `dump log` shows is what its options allow of everything.
fn log_records_are_filtered_and_counted(files: &[PathBuf]) {
    let records = |more: &[&str]| -> Vec<Value> {
        let mut args = vec!["dump", "log", "--json", path(&files[1])];
        args.extend(more);
        let output = logferry(&args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect()
    };
    let all = records(&[]);
    let having = |key: &str, value: &str| -> Vec<Value> { all.iter().filter(|r| r[key] == value).cloned().collect() };
    let (middle, late) = (all[all.len() / 2]["lsn"].as_str().expect("an LSN"), all[all.len() / 2 + 9]["lsn"].as_str());
    assert_eq!(records(&["--start", middle, "--end", late.expect("an LSN")]), all[all.len() / 2..all.len() / 2 + 10]);
    let transaction = all[all.len() / 2]["transaction"].as_str().expect("an id");
    assert_eq!(records(&["--transaction", transaction]), having("transaction", transaction));
    assert_eq!(records(&["--op", "commit_xact"]), having("operation", "LOP_COMMIT_XACT"));
    assert_eq!(records(&["--op", "LOP_INSERT_ROWS", "--context", "HEAP,CLUSTERED"]), {
        let mut both = having("operation", "LOP_INSERT_ROWS");
        both.retain(|r| r["context"] == "LCX_HEAP" || r["context"] == "LCX_CLUSTERED");
        both
    });
    let row = all.iter().find(|r| r["page"].is_string()).expect("a change of a page");
    let page = row["page"].as_str().expect("a page");
    assert_eq!(records(&["--page", page]), having("page", page));
    assert_eq!(records(&["--limit", "7"]), all[..7]);

    let of_table = records(&["--catalog", path(&files[0]), "--table", "dbo.Accounts", "--op", "INSERT_ROWS"]);
    assert!(!of_table.is_empty() && of_table.iter().all(|r| r["table"] == "dbo.Accounts"), "{of_table:?}");
    assert!(of_table.iter().any(|r| r["rows"][0].is_object()), "{of_table:?}");

    let kinds = records(&["--stats"]);
    let sum = |key: &str| kinds.iter().map(|kind| kind[key].as_u64().expect("a number")).sum::<u64>();
    let bytes: u64 = all.iter().map(|r| r["bytes"].as_u64().expect("a number")).sum();
    assert_eq!((sum("records"), sum("bytes")), (all.len() as u64, bytes));
    let shown = text(&logferry(&["dump", "log", "--stats", path(&files[1])]).stdout);
    assert!(shown.lines().last().is_some_and(|l| l.starts_with("total") && l.contains("100.0%")), "{shown}");
    check(&["dump", "log", path(&files[1]), "--op", "INSERT"], 2, &["no such operation"]);
    check(&["dump", "log", path(&files[1]), "--follow"], 2, &["is no log file"]);
}

/// Two databases in one folder, and a third that has no full backup: two are replicated, the third is listed.
#[test]
fn all_databases_of_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    for (seed, name) in [(5, "Shop"), (6, "stock"), (7, "lost")] {
        let mut options = WorkloadOptions { initial_rows: 20, steps: 50, logs: 1, ..WorkloadOptions::default() };
        options.database.name = name.to_owned();
        let into = folder.path().join(name);
        std::fs::create_dir(&into).expect("a folder");
        let files = generate_chain(seed, &options, &into).expect("a chain").files;
        if name == "lost" {
            std::fs::remove_file(&files[0].path).expect("it goes");
        }
    }
    let database = PrivatePostgres::shared().create_database().expect("a database");
    let args = ["run", "--json", "--to", &database.url(), "--database", "*", "--from", path(folder.path())];
    for copied in [true, false] {
        let output = logferry(&args);
        assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
        let lines: Vec<Value> =
            text(&output.stdout).lines().map(|l| serde_json::from_str(l).expect("JSON lines")).collect();
        let [shop, lost, stock] = lines.as_slice() else { panic!("{lines:?}") };
        for (line, name) in [(shop, "Shop"), (stock, "stock")] {
            assert_eq!(
                (&line["database"], &line["end"], &line["copied"]),
                (&name.into(), &"source ended".into(), &copied.into())
            );
        }
        assert_eq!(lost["database"], "lost");
        assert!(lost["left_out"].as_str().is_some_and(|why| why.contains("there is no full backup")), "{lost}");
    }
    let tables = |schema| count(&database, &format!("SELECT count(*) FROM pg_tables WHERE schemaname = '{schema}'"));
    assert!(tables("shop") > 0 && tables("stock") > 0);
    assert_eq!(tables("dbo"), 0);
    // Only one that does not fit is as bad as one that was named.
    let lost = folder.path().join("lost");
    check(&["run", "--to", &database.url(), "--database", "*", "--from", path(&lost)], 3, &[]);
}

/// A task that watches its folder takes up what arrives, and ends when it is asked to.
#[test]
fn a_folder_that_is_watched() {
    let (made_in, folder) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let files = chain(made_in.path());
    let arrive = |file: &Path| std::fs::copy(file, folder.path().join(file.file_name().expect("a name"))).map(drop);
    arrive(&files[0]).expect("it is copied");
    let database = PrivatePostgres::shared().create_database().expect("a database");
    let task = folder.path().join("t.yaml");
    let yaml = format!(
        "task: w\nsource: {{mode: backup, files: [.], watch: true, watch_seconds: 1}}\ntarget: {{url: \"{}\"}}\n",
        database.url()
    );
    std::fs::write(&task, yaml).expect("it is written");
    let mut child = Command::new(env!("CARGO_BIN_EXE_logferry"))
        .args(["run", "--json", path(&task)])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let applied = || -> String {
        let there = "SELECT count(*) FROM pg_tables WHERE schemaname = 'logferry' AND tablename = 'checkpoint'";
        if count(&database, there) == 0 {
            return String::new();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client = database.client().await.expect("a connection");
            let sql = "SELECT coalesce(max(applied), '') FROM logferry.checkpoint";
            client.query_one(sql, &[]).await.expect("a position").get(0)
        })
    };
    let until_changed = |from: &str| {
        let began = std::time::Instant::now();
        loop {
            let now = applied();
            if now != from {
                return now;
            }
            assert!(began.elapsed().as_secs() < 60, "nothing comes after {from:?}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    let mut at = until_changed("");
    for file in &files[1..] {
        arrive(file).expect("it is copied");
        at = until_changed(&at);
    }
    let asked = Command::new("kill").arg(child.id().to_string()).status().expect("kill runs");
    assert!(asked.success() && child.wait().expect("it ends").success());
    let mut report = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut report).expect("its report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["end"], "stopped");
    assert!(report["last_lsn"].as_str().is_some_and(|lsn| lsn >= at.as_str()), "{report} {at}");
}

#[test]
fn a_task_from_its_file() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("backups")).expect("a folder");
    chain(&folder.path().join("backups"));
    let database = PrivatePostgres::shared().create_database().expect("a database");
    let yaml = "
task: shop
source: {mode: backup, files: [backups]}
target: {url: '${TARGET_URL}'}
tables: {include: ['dbo.*'], exclude: [Documents]}
names: {schemas: {dbo: Shop}, tables: {dbo.Accounts: {name: konten}}, case: preserve}
types: {hundred_ns: text}
";
    let task = folder.path().join("task.yaml");
    std::fs::write(&task, yaml).expect("it is written");
    let output = Command::new(env!("CARGO_BIN_EXE_logferry"))
        .args(["run", path(&task)])
        .env("TARGET_URL", database.url())
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.contains("copied ") && said.contains("position ") && said.contains("source ended"), "{said}");
    assert!(!said.contains("seventh digit"), "{said}");
    let names = tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let client = database.client().await.expect("a connection");
        let sql = "SELECT string_agg(c.relname, ' ' ORDER BY c.relname COLLATE \"C\") FROM pg_class c \
                   JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind = 'r' AND nspname = 'Shop'";
        client.query_one(sql, &[]).await.expect("an answer").get::<_, String>(0)
    });
    assert_eq!(names, "AllTypes Devices Events OrderLines konten");
    check(&["run", path(&task)], 2, &["environment variable TARGET_URL is not set"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = chain(folder.path());
    let mut child = Command::new(env!("CARGO_BIN_EXE_logferry"))
        .args(["dump", "log", path(&files[1])])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[test]
fn the_standin_serves_until_it_is_asked_to_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut standin = Command::new(env!("CARGO_BIN_EXE_logferry"))
        .args(["standin", "--json", "--port", "0", "--data", path(folder.path())])
        .env("LOGFERRY_STANDIN_PASSWORD", "p")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut line = String::new();
    let mut output = BufReader::new(standin.stdout.take().expect("it is piped"));
    output.read_line(&mut line).expect("it says where it listens");
    let said: Value = serde_json::from_str(&line).expect("JSON");
    let address = said["address"].as_str().expect("an address");

    // PRELOGIN with the version alone; its answer is a message of its server's.
    let mut tcp = TcpStream::connect(address).expect("it listens");
    tcp.write_all(&[0x12, 1, 0, 20, 0, 0, 1, 0, 0, 0, 6, 0, 6, 0xFF, 0, 0, 0, 0, 0, 0]).expect("it reads");
    let mut answer = [0];
    tcp.read_exact(&mut answer).expect("it answers");
    assert_eq!(answer, [4]);

    let ended = Command::new("kill").arg(standin.id().to_string()).status().expect("kill runs");
    assert!(ended.success());
    assert!(standin.wait().expect("it ends").success());
    assert_eq!(said["databases"], serde_json::json!([]));

    // Where another one listens.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it has one");
    let port = address.port().to_string();
    let args = ["standin", "--port", &port, "--password", "p", "--data", path(folder.path())];
    check(&args, 1, &[&format!("could not listen on {address}: Address already in use")]);

    let lone = folder.path().join("lone.mdf");
    std::fs::write(&lone, [0; 8192]).expect("it is written");
    let args = ["standin", "--port", "0", "--password", "p", "--data", path(folder.path()), "--attach", path(&lone)];
    check(&args, 2, &["there is no log file beside", "lone_log.ldf"]);
    std::fs::write(folder.path().join("lone.ldf"), [0; 8192]).expect("it is written");
    check(&args, 1, &["lone.mdf"]);
}

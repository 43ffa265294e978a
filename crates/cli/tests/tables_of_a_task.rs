//! Which tables and rows a task has, and what becomes of that when its settings change while it follows a server.

// Here it is rows of questions that are waited for.
#[allow(dead_code)]
mod follow;
mod server;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use follow::{Running, change, ended};
use logferry_mssql_standin::serve::Standin;
use logferry_testkit::postgres::{Database, PrivatePostgres};
use server::{check_equal, command, rows, serve, text, write_task};

const SHOP: &str = "
    CREATE TABLE dbo.Customers (id int NOT NULL PRIMARY KEY, name nvarchar(40) NOT NULL, credit money);
    CREATE TABLE dbo.Orders (id int NOT NULL PRIMARY KEY, region varchar(9), [Year] smallint, note varchar(max));
    CREATE TABLE dbo.Others (id int NOT NULL PRIMARY KEY, v int);
    DECLARE @n int = 0;
    WHILE @n < 300 BEGIN
        INSERT dbo.Customers VALUES (@n, N'Jos\u{e9}', @n);
        INSERT dbo.Orders VALUES (@n, CASE @n % 3 WHEN 0 THEN 'EU' WHEN 1 THEN 'US' END, 2020 + @n % 7, REPLICATE('n', @n));
        INSERT dbo.Others VALUES (@n, @n);
        SET @n += 1
    END;
    EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_add_job @job_type = N'capture', @pollinginterval = 0";

const MODES: &[&str] = &["log", "cdc", "hybrid"];

/// In mode hybrid change data capture serves the orders.
fn shop(mode: &str) -> Arc<Standin> {
    let orders = "dbo.Orders (id int NOT NULL PRIMARY KEY";
    let kind = if mode == "hybrid" { " NONCLUSTERED" } else { "" };
    let tables = SHOP.replace(orders, &format!("{orders}{kind}"));
    serve(&tables)
}

/// Writes the task of a mode; `existing` is what becomes of tables that are there.
fn write(path: &Path, mode: &str, standin: &Standin, database: &Database<'_>, existing: &str, more: &str) {
    write_task(path, mode, standin, database, more);
    let text = std::fs::read_to_string(path).expect("the task");
    let text = text.replace("target:\n", &format!("target:\n  on_existing: {existing}\n"));
    let text = text.replace("mode: cdc\n", "mode: cdc\n  cdc: {enable: true}\n");
    std::fs::write(path, text).expect("the task is written");
}

/// Waits until the target has the rows of each question, in the table beside it.
async fn wait_for(standin: &Standin, database: &Database<'_>, tables: &[(&str, &str)]) {
    let client = database.client().await.expect("a connection");
    let began = Instant::now();
    loop {
        // The copy is complete with the first checkpoint.
        let applied = client.query_one("SELECT applied FROM logferry.checkpoint WHERE applied IS NOT NULL", &[]).await;
        let mut unequal = if applied.is_ok() { None } else { Some("the checkpoint".to_owned()) };
        for (question, table) in tables {
            let found = rows(standin, question).compare(&client, "dbo", table).await;
            if !found.as_ref().is_ok_and(|found| found.is_equal() && found.expected > 0) {
                unequal = Some(format!("{table}: {found:?}"));
            }
        }
        let Some(unequal) = unequal else { return };
        assert!(began.elapsed() < Duration::from_secs(60), "the target never has what the source has: {unequal}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a run says that ends by itself.
fn refused(task: &Path, standin: &Standin, more: &[&str]) -> String {
    let output = ended(command(task, standin).args(more));
    assert!(!output.status.success(), "{}", text(&output));
    text(&output)
}

const CUSTOMERS: (&str, &str) = ("dbo.Customers", "customers");
const OTHERS: (&str, &str) = ("dbo.Others", "others");

#[tokio::test(flavor = "multi_thread")]
async fn some_rows_of_a_table_are_followed() {
    let postgres = PrivatePostgres::shared();
    for mode in MODES {
        let standin = shop(mode);
        let database = postgres.create_database().expect("a database");
        let folder = tempfile::tempdir().expect("a folder");
        let task = folder.path().join("shop.yaml");
        let with = |condition: &str| {
            let more = format!("tables:\n  where: {{dbo.orders: \"{condition}\"}}\n");
            write(&task, mode, &standin, &database, "error", &more);
        };
        let eu = ("dbo.Orders WHERE Region = 'EU' AND Year >= 2022", "orders");
        with("Region = 'EU' AND Year >= 2022");
        let running = Running::start(&task, &standin, &[]);
        wait_for(&standin, &database, &[CUSTOMERS, eu]).await;
        change(
            &standin,
            "UPDATE dbo.Orders SET region = 'EU' WHERE id < 100; UPDATE dbo.Orders SET [Year] = 2000 WHERE id > 250",
        );
        wait_for(&standin, &database, &[CUSTOMERS, eu]).await;
        drop(running);
        change(&standin, "UPDATE dbo.Orders SET region = 'US' WHERE id < 50; DELETE dbo.Orders WHERE id % 5 = 0");
        let running = Running::start(&task, &standin, &[]);
        wait_for(&standin, &database, &[CUSTOMERS, eu]).await;
        drop(running);

        // Another condition never leaves rows of the old one.
        with("region = 'US'");
        let said = refused(&task, &standin, &[]);
        assert!(
            said.contains("tables.where chooses other rows of \"dbo.Orders\"") && said.contains("--reload dbo.Orders"),
            "{said}"
        );
        with("region = 'US' OR NOW() = 1");
        let said = refused(&task, &standin, &["--reload", "dbo.Orders"]);
        assert!(said.contains("NOW()"), "{said}");
        with("Region = 'EU' AND Year >= 2022");
        let running = Running::start(&task, &standin, &[]);
        change(&standin, "INSERT dbo.Orders VALUES (1000, 'EU', 2030, NULL)");
        wait_for(&standin, &database, &[CUSTOMERS, eu]).await;
        drop(running);
        with("region = 'US'");
        let running = Running::start(&task, &standin, &["--reload", "dbo.Orders"]);
        let us = ("dbo.Orders WHERE region = 'US'", "orders");
        wait_for(&standin, &database, &[CUSTOMERS, us]).await;
        drop(running);
        let running = Running::start(&task, &standin, &[]);
        change(&standin, "UPDATE dbo.Orders SET region = 'US' WHERE id = 1000");
        wait_for(&standin, &database, &[CUSTOMERS, us]).await;
        drop(running);
        with("no = 1");
        let output = command_of("check", &task, &standin);
        assert!(output.contains("table \"dbo.Orders\": tables.where: \"no\" is no stored column"), "{output}");
    }
}

fn command_of(name: &str, task: &Path, standin: &Standin) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_logferry"))
        .arg(name)
        .arg(task)
        .env("SHOP_PASSWORD", standin.password())
        .env_remove("LOGFERRY_LOG")
        .output()
        .expect("it runs");
    text(&output)
}

/// Tables come into a task that follows changes, and go out of it; the others go on.
#[tokio::test(flavor = "multi_thread")]
async fn tables_are_added_to_a_running_task_and_taken_out() {
    let postgres = PrivatePostgres::shared();
    for mode in MODES {
        let standin = shop(mode);
        let database = postgres.create_database().expect("a database");
        let folder = tempfile::tempdir().expect("a folder");
        let task = folder.path().join("shop.yaml");
        let orders = ("dbo.Orders", "orders");
        write(&task, mode, &standin, &database, "error", "ddl: stop\ntables: {include: [Customers]}\n");
        let running = Running::start(&task, &standin, &[]);
        wait_for(&standin, &database, &[CUSTOMERS]).await;
        drop(running);
        // Rows of before, of while nobody looked, and of now.
        change(
            &standin,
            "UPDATE dbo.Orders SET note = 'x' WHERE id < 10; DELETE dbo.Orders WHERE id > 290; UPDATE dbo.Customers SET credit = 1",
        );
        write(&task, mode, &standin, &database, "error", "ddl: stop\ntables: {include: [Customers, dbo.Orders]}\n");
        for n in 0..3 {
            // Whenever it is killed, the table is not there, or there as a whole.
            let running = Running::start(&task, &standin, &[]);
            tokio::time::sleep(Duration::from_millis(100 * n)).await;
            change(
                &standin,
                &format!("UPDATE dbo.Orders SET note = 'y{n}' WHERE id % 2 = 0; UPDATE dbo.Customers SET credit = {n}"),
            );
            drop(running);
        }
        let running = Running::start(&task, &standin, &[]);
        wait_for(&standin, &database, &[CUSTOMERS, orders]).await;
        change(
            &standin,
            "UPDATE dbo.Orders SET note = NULL WHERE id < 5; INSERT dbo.Orders VALUES (1000, 'EU', 1, NULL)",
        );
        wait_for(&standin, &database, &[CUSTOMERS, orders]).await;
        drop(running);

        // One that was left out because it was new is taken in when it is named.
        let ignore = "ddl: ignore\ntables: {include: [Customers, Orders, 'La*']}\n";
        write(&task, mode, &standin, &database, "error", ignore);
        let running = Running::start(&task, &standin, &[]);
        change(&standin, "UPDATE dbo.Customers SET credit = 4");
        wait_for(&standin, &database, &[CUSTOMERS, orders]).await;
        change(
            &standin,
            "CREATE TABLE dbo.Later (id int NOT NULL PRIMARY KEY, v int); INSERT dbo.Later VALUES (1, 2), (2, 3)",
        );
        change(&standin, "UPDATE dbo.Customers SET credit = 5");
        wait_for(&standin, &database, &[CUSTOMERS, orders]).await;
        drop(running);
        let client = database.client().await.expect("a connection");
        let is_there = "SELECT to_regclass('dbo.later') IS NOT NULL";
        assert!(!client.query_one(is_there, &[]).await.expect("an answer").get::<_, bool>(0), "{mode}");
        let named = "ddl: ignore\ntables: {include: [Customers, Orders, 'La*', dbo.Later]}\n";
        write(&task, mode, &standin, &database, "error", named);
        let running = Running::start(&task, &standin, &[]);
        let later = ("dbo.Later", "later");
        wait_for(&standin, &database, &[CUSTOMERS, orders, later]).await;
        change(&standin, "INSERT dbo.Later VALUES (3, 4)");
        wait_for(&standin, &database, &[CUSTOMERS, orders, later]).await;
        drop(running);

        // One that is taken out stays as it is,
        let fewer = "tables: {include: ['*'], exclude: [Orders, Others]}\n";
        write(&task, mode, &standin, &database, "error", fewer);
        let running = Running::start(&task, &standin, &[]);
        change(&standin, "UPDATE dbo.Orders SET note = 'unseen'; UPDATE dbo.Customers SET credit = 9");
        wait_for(&standin, &database, &[CUSTOMERS, later]).await;
        drop(running);
        let seen = "SELECT count(*) FROM dbo.orders WHERE note = 'unseen'";
        assert_eq!(client.query_one(seen, &[]).await.expect("a count").get::<_, i64>(0), 0, "{mode}");
        // is not overwritten without being asked for, and copied anew when it comes back.
        write(&task, mode, &standin, &database, "error", "tables: {include: ['*']}\n");
        let said = refused(&task, &standin, &[]);
        assert!(said.contains("these tables are on the target already: \"dbo.orders\""), "{mode}: {said}");
        write(&task, mode, &standin, &database, "truncate", "tables: {include: ['*']}\n");
        let running = Running::start(&task, &standin, &[]);
        wait_for(&standin, &database, &[CUSTOMERS, orders, later, OTHERS]).await;
        drop(running);
        check_equal(&standin, &database, &["Customers", "Orders", "Later", "Others"]).await;
    }
}

/// Sends a signal.
fn signal(name: &str, running: &Running) {
    let sent = std::process::Command::new("kill").args(["-s", name, &running.0.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

/// Starts a task; what it says goes into a file.
fn start_saying(task: &Path, standin: &Standin, said: &Path) -> Running {
    let mut command = command(task, standin);
    command.stderr(std::fs::File::create(said).expect("a file"));
    Running(command.spawn().expect("it runs"))
}

/// Waits until a process has said something.
fn wait_until_said(said: &Path, wanted: &str, running: &mut Running) {
    let began = Instant::now();
    loop {
        let text = std::fs::read_to_string(said).unwrap_or_default();
        if text.contains(wanted) {
            return;
        }
        assert!(running.is_alive() && began.elapsed() < Duration::from_secs(60), "it does not say {wanted:?}: {text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// At SIGHUP the same process goes on with what its file says then, while sessions write.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_runs_reads_its_file_again() {
    let postgres = PrivatePostgres::shared();
    let orders = ("dbo.Orders", "orders");
    for mode in MODES {
        let standin = shop(mode);
        let database = postgres.create_database().expect("a database");
        let folder = tempfile::tempdir().expect("a folder");
        let (task, said) = (folder.path().join("shop.yaml"), folder.path().join("said"));
        write(&task, mode, &standin, &database, "error", "tables: {include: [Customers]}\n");
        let mut running = start_saying(&task, &standin, &said);
        wait_for(&standin, &database, &[CUSTOMERS]).await;

        // What is wrong is told, and changes nothing.
        let right = std::fs::read_to_string(&task).expect("the task");
        for (text, told) in [
            (right.replace("tables:", "tabels:"), "tabels"),
            (right.replace("task: shop", "task: other"), "task is not that of the task that runs"),
            (right.replace("database: shop", "database: master"), "source is not that of the task that runs"),
            (
                right.replace("include: [Customers]", "include: [Customers], where: {dbo.customers: 'id > 7'}"),
                "going on with the settings that were before",
            ),
        ] {
            std::fs::write(&task, text).expect("it is written");
            signal("HUP", &running);
            wait_until_said(&said, told, &mut running);
            change(&standin, "UPDATE dbo.Customers SET credit += 1 WHERE id % 3 = 0");
            wait_for(&standin, &database, &[CUSTOMERS]).await;
        }

        let enough = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let writer = std::thread::spawn({
            let (standin, enough) = (Arc::clone(&standin), Arc::clone(&enough));
            move || {
                for n in (0..300).cycle().take_while(|_| !enough.load(std::sync::atomic::Ordering::Relaxed)) {
                    let batch = format!(
                        "BEGIN TRAN; UPDATE dbo.Orders SET note = 'n{n}', region = 'US' WHERE id = {n}; DELETE dbo.Orders WHERE id = {n} + 1;
                         UPDATE dbo.Customers SET credit = {n} WHERE id = {n}; INSERT dbo.Orders VALUES ({n} + 1, 'EU', {n}, NULL); COMMIT"
                    );
                    // A deadlock's victim changes nothing.
                    standin.batch(&format!("USE shop; {batch}")).ok();
                }
            }
        });
        write(&task, mode, &standin, &database, "error", "tables: {include: [Customers, dbo.Orders]}\n");
        signal("HUP", &running);
        wait_until_said(&said, "the table is added to the task", &mut running);
        enough.store(true, std::sync::atomic::Ordering::Relaxed);
        writer.join().expect("a writer");
        wait_for(&standin, &database, &[CUSTOMERS, orders]).await;
        change(&standin, "UPDATE dbo.Orders SET note = NULL WHERE id < 5");
        wait_for(&standin, &database, &[CUSTOMERS, orders]).await;
        assert!(running.is_alive(), "{mode}: it is the same process");
        signal("TERM", &running);
        assert!(
            running.0.wait().expect("it ends").success(),
            "{mode}: {}",
            std::fs::read_to_string(&said).expect("what it said")
        );
    }
}

/// At SIGHUP a table that the target has already is never touched unasked: the task ends and says what to do, and both ways that it names go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_there_already_ends_the_task_that_is_to_take_it_in() {
    let postgres = PrivatePostgres::shared();
    for mode in MODES {
        let standin = shop(mode);
        let database = postgres.create_database().expect("a database");
        let folder = tempfile::tempdir().expect("a folder");
        let (task, said) = (folder.path().join("shop.yaml"), folder.path().join("said"));
        write(&task, mode, &standin, &database, "error", "tables: {include: [Customers]}\n");
        let mut running = start_saying(&task, &standin, &said);
        wait_for(&standin, &database, &[CUSTOMERS]).await;
        let client = database.client().await.expect("a connection");
        client.batch_execute("CREATE TABLE dbo.others AS SELECT 7 AS mine").await.expect("a table of somebody's");

        write(&task, mode, &standin, &database, "error", "tables: {include: [Customers, Others]}\n");
        signal("HUP", &running);
        let began = Instant::now();
        while running.is_alive() {
            let told = std::fs::read_to_string(&said).expect("what it said");
            assert!(began.elapsed() < Duration::from_secs(60), "{mode}: it does not end: {told}");
            // What others change meanwhile is no reason to go on.
            change(&standin, "UPDATE dbo.Customers SET credit += 1 WHERE id = 1");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(running.0.wait().expect("it has ended").code(), Some(1), "{mode}");
        let told = std::fs::read_to_string(&said).expect("what it said");
        for wanted in ["these tables are on the target already: \"dbo.others\"", "on_existing", "tables.exclude"] {
            assert!(told.contains(wanted), "{mode}: {wanted}: {told}");
        }
        let mine =
            || async { client.query_one("SELECT mine FROM dbo.others", &[]).await.expect("a row").get::<_, i32>(0) };
        assert_eq!(mine().await, 7, "{mode}");

        write(&task, mode, &standin, &database, "error", "tables: {include: [Customers]}\n");
        let running = Running::start(&task, &standin, &[]);
        change(&standin, "UPDATE dbo.Customers SET credit = 3; UPDATE dbo.Others SET v = 3");
        wait_for(&standin, &database, &[CUSTOMERS]).await;
        assert_eq!(mine().await, 7, "{mode}");
        write(&task, mode, &standin, &database, "recreate", "tables: {include: [Customers, Others]}\n");
        signal("HUP", &running);
        wait_for(&standin, &database, &[CUSTOMERS, OTHERS]).await;
        change(&standin, "UPDATE dbo.Others SET v = 4; DELETE dbo.Others WHERE id > 200");
        wait_for(&standin, &database, &[CUSTOMERS, OTHERS]).await;
    }
}

/// One table of a task is read once more while the task runs, and the others go on; asked for while it does not run, when it is started.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_read_once_more_while_the_task_runs() {
    let postgres = PrivatePostgres::shared();
    let orders = ("dbo.Orders", "orders");
    for mode in MODES {
        let standin = shop(mode);
        let database = postgres.create_database().expect("a database");
        let folder = tempfile::tempdir().expect("a folder");
        let task = folder.path().join("shop.yaml");
        let more = "tables: {include: [Customers, Orders]}\napply: {confirm_seconds: 1}\n";
        write(&task, mode, &standin, &database, "error", more);
        let mut running = Running::start(&task, &standin, &[]);
        wait_for(&standin, &database, &[CUSTOMERS, orders]).await;
        let client = database.client().await.expect("a connection");
        let spoil = "DELETE FROM dbo.orders WHERE id % 2 = 0; UPDATE dbo.orders SET region = 'no'; UPDATE dbo.customers SET name = 'no' WHERE id = 1";
        let reload = || {
            let output = std::process::Command::new(env!("CARGO_BIN_EXE_logferry"))
                .arg("reload")
                .arg(&task)
                .args(["--table", "DBO.orders"])
                .env("SHOP_PASSWORD", standin.password())
                .output()
                .expect("it runs");
            assert!(output.status.success(), "{mode}: {}", text(&output));
            assert!(text(&output).starts_with("dbo.Orders is read once more"), "{mode}: {}", text(&output));
        };
        let is_asked = || async {
            client
                .query_one("SELECT EXISTS (SELECT FROM logferry.reload)", &[])
                .await
                .expect("an answer")
                .get::<_, bool>(0)
        };
        for runs in [true, false] {
            client.batch_execute(spoil).await.expect("it is spoilt");
            if !runs {
                drop(running);
                reload();
                assert!(is_asked().await, "{mode}: it is kept");
                running = Running::start(&task, &standin, &[]);
            } else {
                reload();
            }
            change(
                &standin,
                "UPDATE dbo.Orders SET note = 'm' WHERE id < 9; UPDATE dbo.Customers SET credit = 7 WHERE id > 9",
            );
            wait_for(&standin, &database, &[orders]).await;
            let followed = "SELECT count(*) FROM dbo.customers WHERE id > 9 AND credit = 7";
            let began = Instant::now();
            while is_asked().await || client.query_one(followed, &[]).await.expect("a count").get::<_, i64>(0) < 290 {
                let told = "it is never forgotten, or the other table not followed";
                assert!(running.is_alive() && began.elapsed() < Duration::from_secs(60), "{mode}: {told}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let no = "SELECT count(*) FROM dbo.customers WHERE name = 'no'";
            assert_eq!(
                client.query_one(no, &[]).await.expect("a count").get::<_, i64>(0),
                1,
                "{mode}: the other is not read"
            );
        }
        let said = command_with(&["reload", "--table", "dbo.Nothing"], &task, &standin);
        assert!(said.contains("the task has no table \"dbo.Nothing\""), "{said}");
    }
}

fn command_with(args: &[&str], task: &Path, standin: &Standin) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_logferry"))
        .args(args)
        .arg("--")
        .arg(task)
        .env("SHOP_PASSWORD", standin.password())
        .env_remove("LOGFERRY_LOG")
        .output()
        .expect("it runs");
    text(&output)
}

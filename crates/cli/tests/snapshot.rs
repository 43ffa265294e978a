//! `mode: snapshot` through the binary: a server, a task's file, a PostgreSQL.

mod server;

use std::sync::Arc;

use logferry_mssql_standin::serve::Standin;
use logferry_testkit::postgres::PrivatePostgres;
use server::{check_equal, command, serve, text, write_task};

const SHOP: &str = "
    CREATE TABLE dbo.Customers (id int IDENTITY PRIMARY KEY, name nvarchar(40) NOT NULL, credit money, since datetime);
    CREATE TABLE dbo.Orders (customer int NOT NULL, number int NOT NULL, placed datetime2(3) NOT NULL, total decimal(12,2),
        note varchar(max), PRIMARY KEY (customer, number));
    CREATE TABLE dbo.Log (at datetimeoffset(7), what nvarchar(max), raw varbinary(50));
    DECLARE @n int = 0;
    BEGIN TRAN;
    WHILE @n < 3000 BEGIN
        INSERT dbo.Customers (name, credit, since) VALUES (N'Jos\u{e9} ' + CAST(@n AS nvarchar(9)), 922337203685477.5807 - @n,
            DATEADD(millisecond, @n * 7, CAST('2020-02-29' AS datetime)));
        INSERT dbo.Orders VALUES (@n % 10, @n, DATEADD(second, @n, CAST('1999-12-31 23:59:59.999' AS datetime2(3))), @n / 7.0,
            REPLICATE('caf\u{e9} ', @n % 400));
        IF @n % 3 = 0 INSERT dbo.Log VALUES (SYSDATETIMEOFFSET(), NULL, CAST(@n AS varbinary(50)));
        SET @n += 1
    END;
    COMMIT";

fn shop() -> Arc<Standin> {
    serve(SHOP)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_of_a_running_server_are_copied() {
    let (standin, postgres) = (shop(), PrivatePostgres::shared());
    let database = postgres.create_database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let task = folder.path().join("shop.yaml");
    write_task(&task, "snapshot", &standin, &database, "");
    let output = command(&task, &standin).output().expect("it runs");
    assert!(output.status.success(), "{}", text(&output));
    assert!(!text(&output).contains("not encrypted"), "what the client thinks of TLS is not so: {}", text(&output));
    check_equal(&standin, &database, &["Customers", "Orders", "Log"]).await;
    // Once more: there is nothing to do, and it is not done.
    let output = command(&task, &standin).output().expect("it runs");
    assert!(output.status.success(), "{}", text(&output));
    check_equal(&standin, &database, &["Customers", "Orders", "Log"]).await;
}

/// Two parts of a table are asked for before either is answered: the server answers none before there are two.
#[tokio::test(flavor = "multi_thread")]
async fn chunks_are_copied_at_the_same_time() {
    use std::sync::atomic::{AtomicU32, Ordering};

    use logferry_mssql_standin::tds::{Fault, Gate};
    let (standin, postgres) = (shop(), PrivatePostgres::shared());
    let database = postgres.create_database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let task = folder.path().join("shop.yaml");
    // Alone it is never answered.
    write_task(&task, "snapshot\n  answer_seconds: 30", &standin, &database, "tables: {include: [Orders]}\n");
    let (asked, gate) = (Arc::new(AtomicU32::new(0)), Gate::default());
    let counted = asked.clone();
    standin.faults().set(move |seen| {
        let is_chunk = seen.text.contains("[note]") && seen.text.contains("FROM [dbo].[Orders] WHERE");
        if is_chunk && counted.fetch_add(1, Ordering::Relaxed) > 0 {
            gate.open();
        }
        is_chunk.then(|| Fault::Hold(gate.clone()))
    });
    let output = command(&task, &standin).output().expect("it runs");
    standin.faults().clear();
    assert!(output.status.success() && !text(&output).contains("trying again"), "{}", text(&output));
    assert!(asked.load(Ordering::Relaxed) >= 2, "the table is cut into chunks");
    check_equal(&standin, &database, &["Orders"]).await;
}

/// Connections break again and again, before answers and in the middle of them: in the end every row is there, once.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_cost_time_and_no_rows() {
    use logferry_mssql_standin::tds::Fault;
    let (standin, postgres) = (shop(), PrivatePostgres::shared());
    let database = postgres.create_database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let task = folder.path().join("shop.yaml");
    write_task(&task, "snapshot", &standin, &database, "");
    // The first four open the source: a task that cannot connect at all says so at once, and does not try again.
    standin.faults().set(|seen| match seen.overall {
        0..=4 => None,
        n if n > 12 || n % 3 != 0 => None,
        n if n % 9 == 0 => Some(Fault::DropBefore),
        n if n % 2 == 0 => Some(Fault::DropBeforeDone),
        n => Some(Fault::Cut { after_bytes: n * 500 }),
    });
    let output = command(&task, &standin).output().expect("it runs");
    standin.faults().clear();
    assert!(output.status.success(), "{}", text(&output));
    check_equal(&standin, &database, &["Customers", "Orders", "Log"]).await;
}

#[test]
fn what_is_wrong_with_the_server_is_told_before_anything_is_written() {
    let (standin, postgres) = (shop(), PrivatePostgres::shared());
    let database = postgres.create_database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let task = folder.path().join("shop.yaml");
    write_task(&task, "snapshot", &standin, &database, "");
    let output = command(&task, &standin).env("SHOP_PASSWORD", "wrong").output().expect("it runs");
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("refused the login: Login failed for user 'sa'. (error 18456)"), "{said}");
    assert!(said.contains("hint: check source.user and source.password"), "{said}");
    write_task(&task, "snapshot", &standin, &database, "tables: {include: [Nosuch]}\n");
    let output = command(&task, &standin).output().expect("it runs");
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(text(&output).contains("no table of the source is called \"Nosuch\""), "{}", text(&output));
}

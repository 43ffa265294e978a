//! Clients against the stand-in as a whole: T-SQL over tables in pages.

use std::time::Duration;

use logferry_model::Lsn;
use logferry_mssql_standin::serve::{Standin, StandinConfig};
use logferry_mssql_standin::sql::Param;
use logferry_mssql_standin::tds::{AttentionAnswer, Encryption, Fault, ServerConfig};
use tiberius::numeric::Numeric;
use tiberius::{ColumnData, IntoRow, Query};

use crate::all_types;
use crate::double::PASSWORD;
use crate::tiberius_client::{Connection, Raw, code_of, connect_to, first, read_all_types};

fn standin() -> Standin {
    standin_with(StandinConfig::default())
}

fn standin_with(config: StandinConfig) -> Standin {
    let standin = Standin::with(config).expect("a stand-in starts");
    standin.batch("CREATE DATABASE shop").expect("a database is made");
    standin
}

async fn connected(standin: &Standin) -> Connection {
    let mut client = connect_to(standin.address(), standin.password()).await.expect("a login");
    run(&mut client, "USE shop").await;
    client
}

async fn run(client: &mut Connection, sql: &str) {
    client.simple_query(sql).await.expect(sql).into_results().await.expect(sql);
}

async fn number_of(client: &mut Connection, sql: &str) -> i64 {
    match first(client, sql).await.expect(sql) {
        ColumnData::I32(Some(n)) => n.into(),
        ColumnData::I64(Some(n)) => n,
        other => panic!("{sql} gave {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let ends = standin();
    let (address, password) = (ends.address(), ends.password().to_owned());
    let mut client = connected(&ends).await;
    run(&mut client, "CREATE TABLE t (id int IDENTITY PRIMARY KEY, v nvarchar(20) DEFAULT N'none')").await;
    let mut insert = Query::new("INSERT t (v) VALUES (@P1)");
    insert.bind("first");
    insert.execute(&mut client).await.expect("a row");
    // A transaction that nobody ends.
    run(&mut client, "BEGIN TRAN; INSERT t DEFAULT VALUES").await;
    assert_eq!(ends.close_into(folder.path()).expect("files"), ["shop"]);
    assert!(client.simple_query("SELECT 1").await.is_err(), "its connections are cut");

    let sql = logferry_mssql_standin::sql::Server::new("STANDIN").expect("a server");
    assert_eq!(sql.reopen(folder.path()).expect("files"), ["shop"]);
    let config = StandinConfig { address, password, ..StandinConfig::default() };
    let next = Standin::of(sql, config).expect("it listens where the first one did");
    let mut client = connected(&next).await;
    run(&mut client, "INSERT t DEFAULT VALUES").await;
    let all = "SELECT STRING_AGG(CONCAT(id, ' ', v), ', ') FROM t";
    let found = first(&mut client, all).await.expect("rows");
    // The number that the lost row had is not given again.
    assert_eq!(found, ColumnData::String(Some("1 first, 3 none".into())));
}

/// One whose database `standin` has the table of all types, as far as T-SQL has them.
pub fn with_all_types(encryption: Encryption) -> Standin {
    let tds = ServerConfig { encryption, ..ServerConfig::default() };
    let config = StandinConfig { tds, password: PASSWORD.to_owned(), ..StandinConfig::default() };
    let standin = standin_with(config);
    standin.batch("CREATE DATABASE standin").expect("a database is made");
    let definitions = DEFINED.map(|(name, kind)| format!("[{name}] {kind}")).join(", ");
    standin.batch(&format!("USE standin; CREATE TABLE dbo.all_types ({definitions})")).expect("a table is made");
    let (columns, rows) = all_types::table();
    for row in rows {
        let known = columns
            .iter()
            .zip(row)
            .filter(|(column, _)| column.name != "rowversion" && DEFINED.iter().any(|(name, _)| *name == column.name));
        let parameters: Vec<_> = known
            .map(|(column, bytes)| Param {
                name: format!("@{}", column.name),
                sql_type: column.sql_type.clone(),
                bytes,
                output: false,
                table: None,
            })
            .collect();
        let values: Vec<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        let names = values.iter().map(|name| format!("[{}]", &name[1..])).collect::<Vec<_>>().join(", ");
        let insert = format!("USE standin; INSERT dbo.all_types ({names}) VALUES ({})", values.join(", "));
        standin.batch_with(&insert, &parameters).expect("a row goes in");
    }
    standin
}

/// The columns of the table of all types in T-SQL.
const DEFINED: [(&str, &str); 36] = [
    ("bit", "bit"),
    ("tinyint", "tinyint"),
    ("smallint", "smallint"),
    ("int", "int"),
    ("bigint", "bigint"),
    ("decimal38", "decimal(38, 10)"),
    ("decimal5", "decimal(5, 2)"),
    ("smallmoney", "smallmoney"),
    ("money", "money"),
    ("real", "real"),
    ("float", "float"),
    ("date", "date"),
    ("time", "time"),
    ("time0", "time(0)"),
    ("datetime", "datetime"),
    ("smalldatetime", "smalldatetime"),
    ("datetime2", "datetime2"),
    ("datetimeoffset", "datetimeoffset"),
    ("uniqueidentifier", "uniqueidentifier"),
    ("char", "char(5)"),
    ("varchar", "varchar(10)"),
    ("varcharmax", "varchar(max)"),
    ("text", "text"),
    ("nchar", "nchar(3)"),
    ("nvarchar", "nvarchar(20)"),
    ("nvarcharmax", "nvarchar(max)"),
    ("ntext", "ntext"),
    ("binary", "binary(4)"),
    ("varbinary", "varbinary(10)"),
    ("varbinarymax", "varbinary(max)"),
    ("image", "image"),
    ("rowversion", "rowversion"),
    ("variant", "sql_variant"),
    ("xml", "xml"),
    ("hierarchyid", "hierarchyid"),
    ("geography", "geography"),
];

#[tokio::test]
async fn all_types_come_out_of_a_table() {
    let standin = with_all_types(Encryption::Supported);
    let mut client = connect_to(standin.address(), standin.password()).await.expect("a login");
    run(&mut client, "USE standin").await;
    read_all_types(&mut client, &["rowversion"]).await;
}

#[tokio::test]
async fn rows_go_in_as_parameters_and_come_out() {
    let standin = standin();
    let mut client = connected(&standin).await;
    run(
        &mut client,
        "CREATE TABLE dbo.t (id int PRIMARY KEY, name nvarchar(20), price decimal(10,2), note varchar(max))",
    )
    .await;
    let note = "n".repeat(100_000);
    let mut insert = Query::new("INSERT INTO dbo.t VALUES (@P1, @P2, @P3, @P4)");
    insert.bind(1);
    insert.bind("aß€😀");
    insert.bind(Numeric::new_with_scale(-1234567, 2));
    insert.bind(note.as_str());
    assert_eq!(insert.execute(&mut client).await.unwrap().rows_affected(), [1]);
    let mut insert = Query::new("INSERT INTO dbo.t VALUES (@P1, @P2, @P3, @P4)");
    insert.bind(2);
    insert.bind(Option::<&str>::None);
    insert.bind(Option::<Numeric>::None);
    insert.bind(Option::<&str>::None);
    insert.execute(&mut client).await.unwrap();

    let mut select = Query::new("SELECT id, name, price, note FROM dbo.t WHERE id >= @P1 ORDER BY id");
    select.bind(1);
    let rows = select.query(&mut client).await.unwrap().into_first_result().await.unwrap();
    let cells: Vec<Vec<_>> = rows.into_iter().map(|row| row.into_iter().collect()).collect();
    let text = |text: &str| ColumnData::String(Some(text.to_owned().into()));
    let expect = [
        vec![
            ColumnData::I32(Some(1)),
            text("aß€😀"),
            ColumnData::Numeric(Some(Numeric::new_with_scale(-1234567, 2))),
            text(&note),
        ],
        vec![ColumnData::I32(Some(2)), ColumnData::String(None), ColumnData::Numeric(None), ColumnData::String(None)],
    ];
    assert_eq!(cells, expect);
}

/// Of types that few clients have parameters of.
#[tokio::test]
async fn xml_and_clr_values_go_in_as_parameters() {
    let standin = standin();
    let mut client = connected(&standin).await;
    run(&mut client, "CREATE TABLE dbo.t (id int PRIMARY KEY, x xml, h hierarchyid, v sql_variant)").await;
    let long = format!("<a>{}</a>", "ß".repeat(50_000));
    for (id, text) in [(1, "<a b=\"c\">€</a>"), (2, long.as_str())] {
        let mut insert =
            Query::new("INSERT dbo.t VALUES (@P1, @P2, CAST(@P3 AS hierarchyid), CAST(@P1 AS sql_variant))");
        insert.bind(id);
        insert.bind(Raw(ColumnData::Xml(Some(std::borrow::Cow::Owned(tiberius::xml::XmlData::new(text))))));
        insert.bind(&[0x58_u8][..]);
        insert.execute(&mut client).await.expect("a row goes in");
        let xml = first(&mut client, &format!("SELECT x FROM dbo.t WHERE id = {id}")).await.expect("an xml");
        assert_eq!(xml, ColumnData::Xml(Some(std::borrow::Cow::Owned(tiberius::xml::XmlData::new(text)))));
    }
    assert_eq!(
        number_of(&mut client, "SELECT COUNT(*) FROM dbo.t WHERE CAST(h AS varbinary(9)) = 0x58 AND v = id").await,
        2
    );
}

#[tokio::test]
async fn a_bulk_load_of_tiberius() {
    let standin = standin();
    let mut client = connected(&standin).await;
    run(
        &mut client,
        "CREATE TABLE dbo.t (id int NOT NULL, name nvarchar(20) NULL, price float NULL, note varchar(max) NULL)",
    )
    .await;
    let mut load = client.bulk_insert("dbo.t").await.expect("a bulk load begins");
    for id in 0..5000 {
        let name = (id % 3 != 0).then(|| format!("aß€ {id}"));
        let note = "n".repeat(usize::try_from(id).unwrap_or(0) % 400);
        load.send((id, name, f64::from(id) / 7.0, note).into_row()).await.expect("a row is sent");
    }
    assert_eq!(load.finalize().await.expect("it ends").total(), 5000);
    assert_eq!(
        number_of(&mut client, "SELECT COUNT(*) FROM dbo.t WHERE name = CONCAT(N'aß€ ', id) AND LEN(note) = id % 400")
            .await,
        3333
    );
    assert_eq!(
        number_of(&mut client, "SELECT COUNT(*) FROM dbo.t WHERE name IS NULL AND price = CAST(id AS float) / 7").await,
        1667
    );
    // Checks are not looked at, and not trusted any more.
    run(&mut client, "ALTER TABLE dbo.t ADD CONSTRAINT c CHECK (price >= 0)").await;
    let trusted = "SELECT COUNT(*) FROM sys.check_constraints WHERE is_not_trusted = 0";
    assert_eq!(number_of(&mut client, trusted).await, 1);
    let mut load = client.bulk_insert("dbo.t").await.expect("a bulk load begins");
    load.send((7000, Option::<String>::None, -1.0, String::new()).into_row()).await.expect("a row is sent");
    load.finalize().await.expect("it ends");
    assert_eq!(number_of(&mut client, trusted).await, 0);
    run(&mut client, "DELETE dbo.t WHERE id = 7000").await;
    // What breaks a rule of the table leaves nothing of its batch.
    run(&mut client, "CREATE UNIQUE INDEX ix ON dbo.t (id)").await;
    let mut load = client.bulk_insert("dbo.t").await.expect("a bulk load begins");
    for id in [6000, 6000] {
        load.send((id, Option::<String>::None, 0.0, String::new()).into_row()).await.expect("a row is sent");
    }
    assert_eq!(load.finalize().await.expect_err("twice the same").code(), Some(2601));
    assert_eq!(number_of(&mut client, "SELECT COUNT(*) FROM dbo.t").await, 5000);
}

#[tokio::test]
async fn transactions_and_errors_are_those_of_the_session() {
    let standin = standin();
    let mut client = connected(&standin).await;
    run(&mut client, "CREATE TABLE dbo.t (id int PRIMARY KEY)").await;
    run(&mut client, "BEGIN TRAN").await;
    run(&mut client, "INSERT dbo.t VALUES (1)").await;
    assert_eq!(number_of(&mut client, "SELECT @@TRANCOUNT").await, 1);
    run(&mut client, "ROLLBACK").await;
    assert_eq!(number_of(&mut client, "SELECT COUNT(*) FROM dbo.t").await, 0);
    assert_eq!(code_of(first(&mut client, "SELECT 1/0").await), 8134);
    assert_eq!(code_of(first(&mut client, "SELECT 1 +").await), 102);
    assert_eq!(code_of(first(&mut client, "SELECT * FROM nothing").await), 208);
    run(&mut client, "INSERT dbo.t VALUES (1)").await;
    assert_eq!(code_of(client.execute("INSERT dbo.t VALUES (@P1)", &[&1]).await), 2627);
    assert_eq!(number_of(&mut client, "SELECT 1").await, 1);

    assert_eq!(code_of(connect_to(standin.address(), "wrong").await), 18456);
}

#[tokio::test]
async fn a_client_that_does_not_read_keeps_nobody_waiting() {
    let standin = standin();
    let mut slow = connected(&standin).await;
    run(&mut slow, "CREATE TABLE dbo.t (id int IDENTITY PRIMARY KEY, text char(1000) NOT NULL)").await;
    run(&mut slow, "INSERT dbo.t VALUES ('a')").await;
    for _ in 0..13 {
        run(&mut slow, "INSERT dbo.t SELECT text FROM dbo.t").await;
    }
    let unread = slow.simple_query("SELECT * FROM dbo.t").await.unwrap();
    let mut other = connected(&standin).await;
    run(&mut other, "INSERT dbo.t VALUES ('b')").await;
    assert_eq!(unread.into_first_result().await.unwrap().len(), 8192);
    assert_eq!(number_of(&mut other, "SELECT COUNT(*) FROM dbo.t").await, 8193);
}

#[tokio::test]
async fn a_request_that_waits_is_stopped_by_an_attention() {
    let tds = ServerConfig { attention: AttentionAnswer::LastToken, ..ServerConfig::default() };
    let standin = standin_with(StandinConfig { tds, ..StandinConfig::default() });
    let mut client = connected(&standin).await;
    run(&mut client, "CREATE TABLE dbo.t (id int PRIMARY KEY, n int); INSERT dbo.t VALUES (1, 1)").await;
    run(
        &mut client,
        "CREATE TABLE dbo.many (n int); INSERT dbo.many VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10)",
    )
    .await;
    run(&mut client, "INSERT dbo.many SELECT a.n FROM dbo.many a, dbo.many b, dbo.many c").await;
    let mut other = connected(&standin).await;
    run(&mut other, "BEGIN TRAN; UPDATE dbo.t SET n = 2").await;
    let join = "SELECT COUNT(*) FROM dbo.many a, dbo.many b, dbo.many c WHERE a.n + b.n + c.n < 0";
    for sql in ["UPDATE dbo.t SET n = 3", "WAITFOR DELAY '10:00'", "WHILE 1 = 1 SET NOCOUNT ON", join] {
        // Dropped before its answer, as a future that is timed out is.
        let waiting = tokio::time::timeout(Duration::from_millis(50), first(&mut client, sql)).await;
        assert!(waiting.is_err(), "{sql} ended by itself");
        client.cancel_query().await.expect(sql);
        assert_eq!(number_of(&mut client, "SELECT 1").await, 1);
    }
    run(&mut other, "COMMIT").await;
    assert_eq!(number_of(&mut client, "SELECT n FROM dbo.t").await, 2);
}

#[tokio::test]
async fn temporary_tables_end_with_their_session() {
    let standin = standin();
    for _ in 0..2 {
        let mut client = connected(&standin).await;
        run(&mut client, "CREATE TABLE #t (id int)").await;
        client.close().await.expect("it closes");
        while standin.connections() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn implicit_transactions_are_told_to_drivers() {
    let standin = standin();
    let mut client = connected(&standin).await;
    run(&mut client, "CREATE TABLE dbo.t (id int)").await;
    run(&mut client, "SET IMPLICIT_TRANSACTIONS ON").await;
    assert_eq!(number_of(&mut client, "SELECT @@TRANCOUNT").await, 0);
    run(&mut client, "INSERT dbo.t VALUES (1)").await;
    assert_eq!(number_of(&mut client, "SELECT @@TRANCOUNT").await, 1);
    run(&mut client, "ROLLBACK; SET IMPLICIT_TRANSACTIONS OFF").await;
    assert_eq!(number_of(&mut client, "SELECT COUNT(*) FROM dbo.t").await, 0);
}

#[tokio::test]
async fn a_deadlocks_victim_is_rolled_back_and_says_so() {
    let standin = standin();
    let mut client = connected(&standin).await;
    run(&mut client, "CREATE TABLE dbo.t (id int PRIMARY KEY)").await;
    run(&mut client, "BEGIN TRAN; INSERT dbo.t VALUES (1)").await;
    standin.faults().set(|seen| seen.text.contains("VALUES (2)").then_some(Fault::DeadlockVictim));
    assert_eq!(code_of(first(&mut client, "INSERT dbo.t VALUES (2)").await), 1205);
    standin.faults().clear();
    assert_eq!(number_of(&mut client, "SELECT @@TRANCOUNT").await, 0);
    assert_eq!(number_of(&mut client, "SELECT COUNT(*) FROM dbo.t").await, 0);
}

#[tokio::test]
async fn a_restart_keeps_what_is_committed_and_a_fork_is_seen() {
    const FORK: &str = "SELECT recovery_fork_guid FROM sys.database_recovery_status WHERE database_id = DB_ID('shop')";
    let standin = standin();
    let mut client = connected(&standin).await;
    run(&mut client, "CREATE TABLE dbo.t (id int PRIMARY KEY); INSERT dbo.t VALUES (1)").await;
    run(&mut client, "BEGIN TRAN; INSERT dbo.t VALUES (2)").await;
    let before = first(&mut client, FORK).await.expect("a fork");
    standin.restart();
    assert!(first(&mut client, "SELECT 1").await.is_err(), "the connection survived");
    let mut client = connected(&standin).await;
    assert_eq!(number_of(&mut client, "SELECT COUNT(*) FROM dbo.t").await, 1);
    assert_eq!(first(&mut client, FORK).await.expect("a fork"), before);
    assert!(standin.fork("shop", [7; 16]));
    let mut client = connected(&standin).await;
    assert_ne!(first(&mut client, FORK).await.expect("a fork"), before);
    standin.fail_over("STANDIN2");
    let mut client = connected(&standin).await;
    let name = first(&mut client, "SELECT @@SERVERNAME").await.expect("a name");
    assert_eq!(name, ColumnData::String(Some("STANDIN2".into())));
}

#[tokio::test]
async fn a_truncated_log_is_gone_for_who_reads_it() {
    const LAST: &str = "SELECT MAX([Current LSN]) FROM fn_dblog(NULL, NULL) WHERE Operation = 'LOP_COMMIT_XACT'";
    let standin = standin();
    standin.batch("BACKUP DATABASE shop TO DISK = 'NUL'").expect("a full backup");
    let (mut client, mut other) = (connected(&standin).await, connected(&standin).await);
    run(&mut client, "CREATE TABLE dbo.t (id int PRIMARY KEY); INSERT dbo.t VALUES (1)").await;
    let ColumnData::String(Some(held)) = first(&mut client, LAST).await.expect("the log") else { panic!("no text") };
    run(&mut client, "INSERT dbo.t VALUES (3)").await;
    let ColumnData::String(Some(later)) = first(&mut client, LAST).await.expect("the log") else { panic!("no text") };
    let read =
        |lsn: &str| format!("SELECT COUNT(*) FROM fn_dblog('0x{lsn}', NULL) WHERE Operation = 'LOP_COMMIT_XACT'");
    assert_eq!(number_of(&mut client, &read(&held)).await, 2);
    // What is before a record goes, itself it stays.
    let at: Lsn = later.parse().expect("an LSN");
    assert_eq!(standin.truncate_log("shop", Some(at)).expect("the log is cut"), at);
    assert_eq!(number_of(&mut client, &read(&later)).await, 1);
    assert_eq!(code_of(first(&mut client, &read(&held)).await), 9003);
    // An error of that severity ends the connection.
    let mut client = connected(&standin).await;
    // A transaction that is open needs what is after its begin.
    run(&mut other, "BEGIN TRAN; INSERT dbo.t VALUES (2)").await;
    run(&mut client, "INSERT dbo.t VALUES (4)").await;
    let ColumnData::String(Some(last)) = first(&mut client, LAST).await.expect("the log") else { panic!("no text") };
    standin.truncate_log("shop", None).expect("the log is cut");
    assert_eq!(number_of(&mut client, &read(&last)).await, 1);
    assert_eq!(code_of(first(&mut client, &read(&later)).await), 9003);
    let mut client = connected(&standin).await;
    run(&mut other, "COMMIT").await;
    standin.truncate_log("shop", None).expect("the log is cut");
    assert_eq!(code_of(first(&mut client, &read(&last)).await), 9003);
    let mut client = connected(&standin).await;
    assert_eq!(number_of(&mut client, "SELECT COUNT(*) FROM dbo.t").await, 4);
    assert_eq!(standin.truncate_log("shop", Some(at)).expect_err("it is gone").number, 8630);
    assert_eq!(standin.truncate_log("nosuch", None).expect_err("there is none").number, 911);
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_clients_that_want_the_same_row_get_it_one_by_one() {
    let standin = standin();
    standin
        .batch("USE shop; CREATE TABLE dbo.t (id int PRIMARY KEY, n int); INSERT dbo.t VALUES (1, 0); CREATE TABLE dbo.own (id int PRIMARY KEY, v varchar(4000))")
        .expect("a table");
    let (address, password) = (standin.address(), standin.password().to_owned());
    let clients = (0..300).map(|number| {
        let password = password.clone();
        tokio::spawn(async move {
            let mut client = connect_to(address, &password).await.expect("a login");
            run(&mut client, "USE shop").await;
            run(&mut client, "BEGIN TRAN; UPDATE dbo.t SET n = n + 1 WHERE id = 1").await;
            run(&mut client, "COMMIT").await;
            run(&mut client, &format!("INSERT dbo.own VALUES ({number}, REPLICATE('x', 4000))")).await;
            assert_eq!(number_of(&mut client, &format!("SELECT id FROM dbo.own WHERE id = {number}")).await, number);
            client
        })
    });
    let clients = futures_util::future::try_join_all(clients.collect::<Vec<_>>()).await.expect("no client failed");
    assert_eq!(standin.connections(), 300);
    drop(clients);
    let mut client = connected(&standin).await;
    assert_eq!(number_of(&mut client, "SELECT n FROM dbo.t").await, 300);
    assert_eq!(number_of(&mut client, "SELECT COUNT(*) FROM dbo.own").await, 300);
}

//! Microsoft's own client against the stand-in: tables, parameters, transactions, errors, an attention, TLS.
//!
//! By hand, as it takes minutes to build: `cargo test` in this folder.

use logferry_mssql_standin::serve::Standin;
use mssql_tds::connection::client_context::ClientContext;
use mssql_tds::connection::tds_client::{ResultSet, TdsClient};
use mssql_tds::connection_provider::tds_connection_provider::TdsConnectionProvider;
use mssql_tds::core::EncryptionSetting;
use mssql_tds::datatypes::column_values::ColumnValues as V;
use mssql_tds::datatypes::sql_string::SqlString;
use mssql_tds::datatypes::sqltypes::SqlType;
use mssql_tds::error::Error;
use mssql_tds::message::parameters::rpc_parameters::{RpcParameter, StatusFlags};
use mssql_tds::message::transaction_management::TransactionIsolationLevel;

fn context(standin: &Standin, encryption: EncryptionSetting) -> ClientContext {
    let mut context = ClientContext::default();
    context.user_name = standin.user().to_owned();
    context.password = standin.password().to_owned();
    context.database = "shop".to_owned();
    context.encryption_options.mode = encryption;
    context.encryption_options.trust_server_certificate = true;
    context
}

async fn connect(standin: &Standin, context: ClientContext) -> Result<TdsClient, Error> {
    let place = format!("tcp:127.0.0.1,{}", standin.address().port());
    TdsConnectionProvider {}.create_client(context, &place, None).await
}

async fn rows(client: &mut TdsClient, sql: &str) -> Result<Vec<Vec<V>>, Error> {
    client.execute(sql.to_owned(), ()).await?;
    all_rows(client).await
}

async fn all_rows(client: &mut TdsClient) -> Result<Vec<Vec<V>>, Error> {
    let mut rows = Vec::new();
    if client.on_rows() {
        while let Some(row) = client.next_row().await? {
            rows.push(row);
        }
    }
    client.close_query().await?;
    Ok(rows)
}

fn text(text: &str) -> SqlString {
    SqlString::from_utf8_string(text.to_owned())
}

fn number_of<T: std::fmt::Debug>(result: Result<T, Error>) -> u32 {
    match result {
        Err(Error::SqlServerError { diagnostics }) => diagnostics.errors.first().map_or(0, |error| error.number),
        other => panic!("no error of the server: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn microsofts_client() {
    let standin = Standin::start().unwrap();
    standin.batch("CREATE DATABASE shop").unwrap();
    for encryption in [EncryptionSetting::PreferOff, EncryptionSetting::On] {
        let mut client = connect(&standin, context(&standin, encryption)).await.unwrap();
        rows(&mut client, "DROP TABLE IF EXISTS dbo.t").await.unwrap();
        let create = "CREATE TABLE dbo.t (id int PRIMARY KEY, big bigint, f float, name nvarchar(20), note nvarchar(max), raw varbinary(max), flag bit)";
        rows(&mut client, create).await.unwrap();
        let note = "€".repeat(50_000);
        let sent = |values: [SqlType; 7]| {
            values
                .into_iter()
                .enumerate()
                .map(|(at, value)| RpcParameter::new(Some(format!("@p{at}")), StatusFlags::NONE, value))
                .collect::<Vec<_>>()
        };
        let insert = "INSERT dbo.t VALUES (@p0, @p1, @p2, @p3, @p4, @p5, @p6)";
        let full = sent([
            SqlType::Int(Some(1)),
            SqlType::BigInt(Some(i64::MIN)),
            SqlType::Float(Some(-1.5e300)),
            SqlType::NVarchar(Some(text("aß€😀")), 20),
            SqlType::NVarcharMax(Some(text(&note))),
            SqlType::VarBinaryMax(Some(vec![7; 100_000])),
            SqlType::Bit(Some(true)),
        ]);
        client.execute_sp_executesql(insert.to_owned(), full, ()).await.unwrap();
        all_rows(&mut client).await.unwrap();
        let empty = sent([
            SqlType::Int(Some(2)),
            SqlType::BigInt(None),
            SqlType::Float(None),
            SqlType::NVarchar(None, 20),
            SqlType::NVarcharMax(None),
            SqlType::VarBinaryMax(None),
            SqlType::Bit(None),
        ]);
        client.execute_sp_executesql(insert.to_owned(), empty, ()).await.unwrap();
        all_rows(&mut client).await.unwrap();

        let found = rows(&mut client, "SELECT * FROM dbo.t ORDER BY id").await.unwrap();
        let [first, second] = &found[..] else { panic!("{} rows", found.len()) };
        let [V::Int(1), V::BigInt(i64::MIN), V::Float(f), V::String(name), V::String(long), V::Bytes(raw), V::Bit(true)] = &first[..] else {
            panic!("{first:?}")
        };
        assert_eq!((*f, name.to_utf8_string(), long.to_utf8_string() == note), (-1.5e300, "aß€😀".to_owned(), true));
        assert!(raw.len() == 100_000 && raw.iter().all(|byte| *byte == 7));
        assert!(matches!(&second[..], [V::Int(2), rest @ ..] if rest.iter().all(|value| matches!(value, V::Null))), "{second:?}");

        // Transactions by requests of the driver.
        client.begin_transaction(TransactionIsolationLevel::ReadCommitted, None).await.unwrap();
        rows(&mut client, "DELETE dbo.t WHERE id = 1").await.unwrap();
        client.save_transaction("here".to_owned()).await.unwrap();
        rows(&mut client, "DELETE dbo.t").await.unwrap();
        client.rollback_transaction(Some("here".to_owned()), None).await.unwrap();
        client.commit_transaction(None, None).await.unwrap();
        assert!(matches!(rows(&mut client, "SELECT COUNT(*) FROM dbo.t").await.unwrap()[0][..], [V::Int(1)]));

        // Errors, after which the connection goes on.
        assert_eq!(number_of(rows(&mut client, "INSERT dbo.t (id) VALUES (2)").await), 2627);
        assert_eq!(number_of(rows(&mut client, "SELECT * FROM dbo.nothing").await), 208);
        assert_eq!(number_of(rows(&mut client, "SELECT * FORM").await), 102);

        // An answer that is not read to its end.
        rows(&mut client, "CREATE TABLE #n (n int); INSERT #n VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)").await.unwrap();
        client.execute("SELECT a.n FROM #n a, #n b, #n c, #n d, #n e".to_owned(), ()).await.unwrap();
        assert!(client.next_row().await.unwrap().is_some());
        client.cancel_query(10).await.unwrap();
        assert!(matches!(rows(&mut client, "SELECT 8").await.unwrap()[0][..], [V::Int(8)]));
    }
    let mut wrong = context(&standin, EncryptionSetting::PreferOff);
    wrong.password = "wrong".to_owned();
    assert!(connect(&standin, wrong).await.is_err());
}

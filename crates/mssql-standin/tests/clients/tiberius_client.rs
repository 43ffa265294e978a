//! tiberius: every promise of the server, as it is the one client that is always there.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt};
use logferry_mssql_standin::tds::{AttentionAnswer, Encryption, Fault, Server, ServerConfig, SqlError};
use tiberius::error::Error;
use tiberius::{AuthMethod, Client, ColumnData, Config, EncryptionLevel, Query};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use crate::double::PASSWORD;
use crate::{server, server_with};

pub type Connection = Client<Compat<TcpStream>>;

fn config(server: &Server) -> Config {
    config_to(server.address(), PASSWORD)
}

fn config_to(address: SocketAddr, password: &str) -> Config {
    let mut config = Config::new();
    config.host("localhost");
    config.port(address.port());
    config.application_name("tests");
    config.authentication(AuthMethod::sql_server("sa", password));
    // It is built without TLS, whose crypto provider is a large build in C.
    config.encryption(EncryptionLevel::NotSupported);
    config
}

pub async fn connect_to(address: SocketAddr, password: &str) -> tiberius::Result<Connection> {
    connect(config_to(address, password)).await
}

async fn connect(config: Config) -> tiberius::Result<Connection> {
    let tcp = TcpStream::connect(config.get_addr()).await?;
    tcp.set_nodelay(true)?;
    Client::connect(config, tcp.compat_write()).await
}

async fn connected(server: &Server) -> Connection {
    connect(config(server)).await.expect("a login")
}

pub async fn first<'a>(client: &'a mut Connection, sql: &'a str) -> tiberius::Result<ColumnData<'static>> {
    let row = client.simple_query(sql).await?.into_row().await?.expect("a row");
    Ok(row.into_iter().next().expect("a cell"))
}

#[track_caller]
pub fn code_of<T>(result: tiberius::Result<T>) -> u32 {
    result.err().expect("an error of the server").code().expect("a number")
}

#[tokio::test]
async fn logins_are_refused_as_sql_server_words_it() {
    let server = server(Encryption::Supported).await;
    let mut wrong = config(&server);
    wrong.authentication(AuthMethod::sql_server("sa", "wrong"));
    let Err(Error::Server(error)) = connect(wrong).await else { panic!("logged in with a wrong password") };
    assert_eq!((error.code(), error.class(), error.state()), (18456, 14, 1));
    assert_eq!(error.message(), "Login failed for user 'sa'.");

    let mut unknown = config(&server);
    unknown.database("nowhere");
    let Err(Error::Server(error)) = connect(unknown).await else { panic!("logged in to no database") };
    assert_eq!(error.code(), 4060);
    assert_eq!(error.message(), "Cannot open database \"nowhere\" requested by the login. The login failed.");
}

#[tokio::test]
async fn every_type_is_read_exactly() {
    for packet_size in [512, 4096, 32767] {
        let server = server(Encryption::Supported).await;
        let mut config = config(&server);
        config.packet_size(packet_size);
        read_all_types(&mut connect(config).await.unwrap(), &[]).await;
    }
}

/// Reads the table of all types, but for columns that it does not have.
pub async fn read_all_types(client: &mut Connection, left_out: &[&str]) {
    let rows = client.simple_query("SELECT * FROM all_types").await.unwrap().into_first_result().await.unwrap();
    let [least, greatest, null] = &rows[..] else { panic!("{} rows", rows.len()) };
    let day = 3_652_058;
    let tick = 863_999_999_999;
    let check = |column: &str, expect: [ColumnData<'static>; 2]| {
        if left_out.contains(&column) {
            return;
        }
        let index = least.columns().iter().position(|c| c.name() == column).expect(column);
        let at = |row: &tiberius::Row| row.cells().nth(index).map(|(_, cell)| cell.clone()).unwrap();
        let [a, b] = expect;
        assert_eq!(at(least), a, "least {column}");
        assert_eq!(at(greatest), b, "greatest {column}");
        assert!(format!("{:?}", at(null)).ends_with("(None)"), "NULL of {column}: {:?}", at(null));
    };
    use ColumnData as D;
    use tiberius::numeric::Numeric;
    use tiberius::time as t;
    let text = |text: &str| D::String(Some(text.to_owned().into()));
    let binary = |bytes: &[u8]| D::Binary(Some(bytes.to_vec().into()));
    let bytes: Vec<u8> = (0..100_000).map(|at| (at % 256) as u8).collect();
    let most = 10_i128.pow(38) - 1;
    let number = |value, scale| D::Numeric(Some(Numeric::new_with_scale(value, scale)));
    check("bit", [D::Bit(Some(false)), D::Bit(Some(true))]);
    check("tinyint", [D::U8(Some(0)), D::U8(Some(255))]);
    check("smallint", [D::I16(Some(i16::MIN)), D::I16(Some(i16::MAX))]);
    check("int", [D::I32(Some(i32::MIN)), D::I32(Some(i32::MAX))]);
    check("bigint", [D::I64(Some(i64::MIN)), D::I64(Some(i64::MAX))]);
    check("decimal38", [number(-most, 10), number(most, 10)]);
    check("decimal5", [number(-99_999, 2), number(99_999, 2)]);
    // As far as a double goes: tiberius has no money.
    check("smallmoney", [D::F64(Some(-214_748.364_8)), D::F64(Some(214_748.364_7))]);
    check("money", [D::F64(Some(-922_337_203_685_477.6)), D::F64(Some(922_337_203_685_477.6))]);
    check("real", [D::F32(Some(f32::MIN)), D::F32(Some(f32::MAX))]);
    check("float", [D::F64(Some(f64::MIN)), D::F64(Some(f64::MAX))]);
    check("date", [D::Date(Some(t::Date::new(0))), D::Date(Some(t::Date::new(day)))]);
    check("time", [D::Time(Some(t::Time::new(0, 7))), D::Time(Some(t::Time::new(tick, 7)))]);
    check("time0", [D::Time(Some(t::Time::new(0, 0))), D::Time(Some(t::Time::new(86_399, 0)))]);
    let datetime = |days, parts| D::DateTime(Some(t::DateTime::new(days, parts)));
    check("datetime", [datetime(-53_690, 0), datetime(2_958_463, 25_919_999)]);
    let small = |days, minutes| D::SmallDateTime(Some(t::SmallDateTime::new(days, minutes)));
    check("smalldatetime", [small(0, 0), small(65_535, 1439)]);
    let datetime2 = |days, ticks| t::DateTime2::new(t::Date::new(days), t::Time::new(ticks, 7));
    check("datetime2", [D::DateTime2(Some(datetime2(0, 0))), D::DateTime2(Some(datetime2(day, tick)))]);
    let offset = |at, minutes| D::DateTimeOffset(Some(t::DateTimeOffset::new(at, minutes)));
    check("datetimeoffset", [offset(datetime2(0, 0), 840), offset(datetime2(day, tick), -840)]);
    let uuid = |text| D::Guid(Some(tiberius::Uuid::parse_str(text).unwrap()));
    let zeros = uuid("00000000-0000-0000-0000-000000000000");
    check("uniqueidentifier", [zeros, uuid("04030201-0605-0807-090a-0b0c0d0e0f10")]);
    check("char", [text("     "), text("aÿ€  ")]);
    check("varchar", [text(""), text("äöü€")]);
    check("varcharmax", [text(""), text(&"x".repeat(100_000))]);
    check("text", [text(""), text(&"t".repeat(50_000))]);
    check("nchar", [text("   "), text("a😀")]);
    check("nvarchar", [text(""), text("aß€😀")]);
    check("nvarcharmax", [text(""), text(&"ß".repeat(70_000))]);
    check("ntext", [text(""), text(&"€".repeat(20_000))]);
    check("binary", [binary(&[0; 4]), binary(&[255; 4])]);
    check("varbinary", [binary(b""), binary(&[0, 255])]);
    check("varbinarymax", [binary(b""), binary(&bytes)]);
    check("image", [binary(b""), binary(&bytes)]);
    check("rowversion", [binary(&[0; 8]), binary(&[255; 8])]);
    check("hierarchyid", [binary(b""), binary(&[0x58])]);
    let xml = |text: &str| D::Xml(Some(std::borrow::Cow::Owned(tiberius::xml::XmlData::new(text))));
    check("xml", [xml(""), xml("<a>ß</a>")]);
    // The type of NULL in a variant is anybody's guess.
    let variant = |row: &tiberius::Row| row.cells().find(|(c, _)| c.name() == "variant").map(|(_, cell)| cell.clone());
    assert_eq!(variant(least), Some(D::I32(Some(i32::MIN))));
    assert_eq!(variant(greatest), Some(text("aß€")));
}

#[tokio::test]
async fn parameters_of_every_type_come_back() {
    let server = server(Encryption::Supported).await;
    let mut client = connected(&server).await;
    use ColumnData as D;
    use tiberius::time as t;
    let datetime2 = t::DateTime2::new(t::Date::new(3_652_058), t::Time::new(863_999_999_999, 7));
    let sent = [
        D::U8(Some(255)),
        D::I16(Some(i16::MIN)),
        D::I32(Some(i32::MIN)),
        D::I64(Some(i64::MIN)),
        D::F32(Some(f32::MIN)),
        D::F64(Some(f64::MAX)),
        D::Bit(Some(true)),
        D::String(Some("".into())),
        D::String(Some("aß€😀".into())),
        D::String(Some("€".repeat(100_000).into())),
        D::Guid(Some(tiberius::Uuid::from_u128(1))),
        D::Binary(Some(vec![].into())),
        D::Binary(Some(vec![7; 100_000].into())),
        D::Numeric(Some(tiberius::numeric::Numeric::new_with_scale(-12_345, 3))),
        D::Numeric(Some(tiberius::numeric::Numeric::new_with_scale(10_i128.pow(38) - 1, 0))),
        D::DateTime(Some(t::DateTime::new(-53_690, 25_919_999))),
        D::SmallDateTime(Some(t::SmallDateTime::new(65_535, 1439))),
        D::Date(Some(t::Date::new(3_652_058))),
        D::Time(Some(t::Time::new(863_999_999_999, 7))),
        D::DateTime2(Some(datetime2)),
        D::DateTimeOffset(Some(t::DateTimeOffset::new(datetime2, -840))),
        D::I32(None),
        D::String(None),
        D::Binary(None),
    ];
    let mut query = Query::new("SELECT @P1, @P2");
    for value in &sent {
        query.bind(Raw(value.clone()));
    }
    let row = query.query(&mut client).await.unwrap().into_row().await.unwrap().unwrap();
    for (index, (back, sent)) in row.into_iter().zip(&sent).enumerate() {
        // tiberius sends every NULL as one of no type.
        let null = format!("{sent:?}").ends_with("(None)");
        assert_eq!(&back, if null { &D::I32(None) } else { sent }, "parameter {index}");
    }
}

/// A value as it is to be sent.
pub struct Raw(pub ColumnData<'static>);

impl<'a> tiberius::IntoSql<'a> for Raw {
    fn into_sql(self) -> ColumnData<'a> {
        self.0
    }
}

#[tokio::test]
async fn errors_have_all_their_parts_and_the_connection_goes_on() {
    let server = server(Encryption::Supported).await;
    let mut client = connected(&server).await;
    assert_eq!(code_of(first(&mut client, "SELECT 1/0").await), 8134);
    assert_eq!(code_of(first(&mut client, "SELEKT").await), 102);
    let Err(Error::Server(error)) = first(&mut client, "EXEC nested error").await else { panic!("no error") };
    assert_eq!((error.code(), error.state(), error.class(), error.line()), (50001, 9, 14, 7));
    assert_eq!((error.message(), error.procedure(), error.server()), ("mine", "dbo.nested", "STANDIN"));
    assert_eq!(first(&mut client, "PRINT 'hello'\nSELECT 3").await.unwrap(), ColumnData::I32(Some(3)));
    let results =
        client.simple_query("SELECT 1\nSET NOCOUNT ON\nSELECT 2").await.unwrap().into_results().await.unwrap();
    assert_eq!(results.len(), 2);
}

#[tokio::test]
async fn transactions_of_the_driver_and_of_batches() {
    let server = server(Encryption::Supported).await;
    let mut client = connected(&server).await;
    let depth = async |client: &mut Connection| first(client, "SELECT @@TRANCOUNT").await.unwrap();
    client.begin_transaction().await.unwrap();
    assert_eq!(depth(&mut client).await, ColumnData::I32(Some(1)));
    client.save_transaction("here").await.unwrap();
    client.commit_transaction().await.unwrap();
    assert_eq!(depth(&mut client).await, ColumnData::I32(Some(0)));
    client.begin_transaction().await.unwrap();
    client.rollback_transaction().await.unwrap();
    assert_eq!(depth(&mut client).await, ColumnData::I32(Some(0)));
    client.simple_query("BEGIN TRAN").await.unwrap().into_results().await.unwrap();
    assert_eq!(depth(&mut client).await, ColumnData::I32(Some(1)));
    client.simple_query("ROLLBACK").await.unwrap().into_results().await.unwrap();
    assert_eq!(code_of(first(&mut client, "COMMIT").await), 3902);
}

#[tokio::test]
async fn a_request_is_cancelled_while_it_waits_and_amid_its_rows() {
    let config = ServerConfig { attention: AttentionAnswer::LastToken, ..ServerConfig::default() };
    let server = server_with(config).await;
    let mut client = connected(&server).await;
    let started = Instant::now();
    // Dropped before its answer, as a future that is timed out is.
    let waiting = first(&mut client, "WAITFOR DELAY '1:00:00'");
    assert!(tokio::time::timeout(Duration::from_millis(100), waiting).await.is_err(), "it ended by itself");
    client.cancel_query().await.unwrap();
    assert_eq!(first(&mut client, "SELECT 4").await.unwrap(), ColumnData::I32(Some(4)));
    // Between two rows: amid one, tiberius loses its place.
    let stream = client.simple_query("SELECT * FROM numbers(2000000000)").await.unwrap();
    let rows = stream.into_row_stream().take(1000).collect::<Vec<_>>().await;
    assert!(rows.len() == 1000 && rows.iter().all(Result::is_ok));
    client.cancel_query().await.unwrap();
    assert_eq!(first(&mut client, "SELECT 5").await.unwrap(), ColumnData::I32(Some(5)));
    assert!(started.elapsed() < Duration::from_secs(10), "cancelled after {:?}", started.elapsed());
    // An answer that was over before it was cancelled.
    client.simple_query("SELECT 6").await.unwrap().into_results().await.unwrap();
    client.cancel_query().await.unwrap();
    assert_eq!(first(&mut client, "SELECT 7").await.unwrap(), ColumnData::I32(Some(7)));
}

#[tokio::test]
async fn faults_strike_where_they_are_told_to() {
    let server = server(Encryption::Supported).await;
    let error = SqlError { state: 51, ..SqlError::new(1222, 16, "Lock request time out period exceeded.") };
    let rule = |fault: Fault| {
        server.faults().set(move |seen| (seen.overall == 2 && seen.application == "tests").then(|| fault.clone()));
    };

    rule(Fault::Error(error));
    let mut client = connected(&server).await;
    first(&mut client, "SELECT 1").await.unwrap();
    assert_eq!(code_of(first(&mut client, "SELECT 2").await), 1222);
    first(&mut client, "SELECT 3").await.unwrap();

    rule(Fault::DeadlockVictim);
    let mut client = connected(&server).await;
    client.simple_query("BEGIN TRAN").await.unwrap().into_results().await.unwrap();
    assert_eq!(code_of(first(&mut client, "SELECT 2").await), 1205);
    assert_eq!(first(&mut client, "SELECT @@TRANCOUNT").await.unwrap(), ColumnData::I32(Some(0)));

    rule(Fault::Slow { pause: Duration::from_millis(30) });
    first(&mut client, "SELECT 1").await.unwrap();
    let started = Instant::now();
    client.simple_query("SELECT * FROM numbers(3000)").await.unwrap().into_results().await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(150), "{:?}", started.elapsed());

    rule(Fault::Delay(Duration::from_millis(150)));
    first(&mut client, "SELECT 1").await.unwrap();
    let started = Instant::now();
    first(&mut client, "SELECT 2").await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(150));

    for fault in [Fault::DropBefore, Fault::Cut { after_bytes: 10_000 }, Fault::DropBeforeDone] {
        rule(fault.clone());
        let mut client = connected(&server).await;
        first(&mut client, "SELECT 1").await.unwrap();
        let rows = async { client.simple_query("SELECT * FROM numbers(1000)").await?.into_results().await };
        assert!(rows.await.is_err(), "{fault:?} was not felt");
    }

    rule(Fault::DropAfterDone);
    let mut client = connected(&server).await;
    first(&mut client, "SELECT 1").await.unwrap();
    first(&mut client, "SELECT 2").await.unwrap();
    assert!(first(&mut client, "SELECT 3").await.is_err());
    server.faults().clear();
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_connections_at_once() {
    let server = server(Encryption::Supported).await;
    let config = config(&server);
    let clients = (0..300).map(|number| {
        let config = config.clone();
        tokio::spawn(async move {
            let mut client = connect(config).await.unwrap();
            for _ in 0..3 {
                let sql = format!("SELECT {number}");
                assert_eq!(first(&mut client, &sql).await.unwrap(), ColumnData::I32(Some(number)));
            }
            client
        })
    });
    let clients = futures_util::future::try_join_all(clients.collect::<Vec<_>>()).await.unwrap();
    assert_eq!(server.connections(), 300);
    drop(clients);
}

/// Prints the rate; by hand, in release: `cargo test --release … -- --ignored --nocapture a_million_rows`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn a_million_rows() {
    let server = server(Encryption::Supported).await;
    for packet_size in [4096, 32767] {
        let mut config = config(&server);
        config.packet_size(packet_size);
        let mut client = connect(config).await.unwrap();
        let started = Instant::now();
        let stream = client.simple_query("SELECT * FROM numbers(1000000)").await.unwrap();
        let count = stream.into_row_stream().try_fold(0, |n, _| std::future::ready(Ok(n + 1))).await.unwrap();
        eprintln!("{count} rows, packets of {packet_size}: {:?}", started.elapsed());
        let started = Instant::now();
        for _ in 0..10_000 {
            first(&mut client, "SELECT 1").await.unwrap();
        }
        eprintln!("10,000 requests one after the other: {:?}", started.elapsed());
    }
}

//! Who is believed, and what is said where somebody is not.

use logferry_model::{Class, Fault};
use logferry_mssql_live::{Address, Settings, Token, Trust};

use crate::{open, settings, standin, write_pem};

/// Opens a source with other settings; what is said if that does not work, its class first.
#[track_caller]
fn check(change: impl FnOnce(&mut Settings), expect: Result<(), (Class, &str)>) {
    let standin = standin("CREATE TABLE t (id int)");
    let mut settings = settings(&standin);
    change(&mut settings);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let opened = runtime.block_on(open(settings, 1 << 20));
    let said = opened.map(drop).map_err(|fault: Fault| {
        assert!(!fault.to_string().contains("Pass;w0rd"), "the password is shown: {fault}");
        (fault.class, fault.to_string())
    });
    match (said, expect) {
        (Ok(()), Ok(())) => {}
        (Err((class, said)), Err((expected, part))) => {
            assert!(said.contains(part), "{said}");
            assert_eq!(class, expected, "{said}");
        }
        (said, _) => panic!("{said:?}"),
    }
}

#[test]
fn any_certificate_is_taken_only_when_that_is_asked_for() {
    check(|_| {}, Ok(()));
    check(|s| s.trust = Trust::System, Err((Class::Operator, "no trusted connection to sa@127.0.0.1")));
}

#[test]
fn a_pinned_certificate_is_that_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pinned.pem");
    let standin = standin("CREATE TABLE t (id int)");
    let mut pinned = settings(&standin);
    pinned.trust = Trust::Pinned(path.clone());
    // Its name does not matter: it is the certificate itself that is known.
    pinned.certificate_name = Some("elsewhere.example".to_owned());
    write_pem(&path, standin.certificate());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(open(pinned, 1 << 20)).expect("the pinned certificate is believed");
    // Another server, with a certificate of its own.
    check(|s| s.trust = Trust::Pinned(path), Err((Class::Operator, "another one than that in source.tls.pinned")));
    check(|s| s.trust = Trust::Pinned("/nonexistent".into()), Err((Class::Operator, "/nonexistent")));
}

#[test]
fn an_authority_is_believed_for_its_hosts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ca.pem");
    let standin = standin("CREATE TABLE t (id int)");
    // The certificate signs itself: it is its own authority.
    write_pem(&path, standin.certificate());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let trusted = Settings { trust: Trust::Authority(path), ..settings(&standin) };
    runtime.block_on(open(trusted.clone(), 1 << 20)).expect("the authority is believed");
    let named = Settings { certificate_name: Some("elsewhere.example".to_owned()), ..trusted };
    let fault = runtime.block_on(open(named, 1 << 20)).map(drop).expect_err("the name is another");
    assert!(fault.to_string().contains("no trusted connection"), "{fault}");
}

/// A secondary replica for readers lets in whoever says that it only reads, and nobody else.
#[test]
fn read_only_intent_reaches_the_server() {
    let standin = standin("CREATE TABLE t (id int)");
    standin.demand_read_intent();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let reads = Settings { read_only: true, ..settings(&standin) };
    runtime.block_on(open(reads, 1 << 20)).expect("it is let in");
    let fault =
        runtime.block_on(open(settings(&standin), 1 << 20)).map(drop).expect_err("it does not say that it only reads");
    assert!(fault.to_string().contains("when the application intent is set to read only"), "{fault}");
}

/// `Encrypt=Strict`: TLS from the first byte on, by the same trust; whoever does not know it is told from one who is not believed.
#[test]
fn a_strict_connection_begins_with_tls() {
    check(|s| s.strict = true, Ok(()));
    let system = |s: &mut Settings| (s.strict, s.trust) = (true, Trust::System);
    check(system, Err((Class::Operator, "no trusted connection to sa@127.0.0.1")));
    let other = |s: &mut Settings| (s.strict, s.password) = (true, "x".to_owned());
    check(other, Err((Class::Operator, "Login failed for user 'sa'")));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pinned.pem");
    let standin = standin("CREATE TABLE t (id int); INSERT t VALUES (1), (2)");
    write_pem(&path, standin.certificate());
    let strict = Settings { trust: Trust::Pinned(path), strict: true, ..settings(&standin) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let source = runtime.block_on(open(strict.clone(), 1 << 20)).expect("the pinned certificate is believed");
    drop(source);
    // A server that is older waits for a packet, and closes.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let old = std::thread::spawn(move || drop(listener.accept()));
    let older = Settings { address: Address::Port(port), ..strict };
    let fault = runtime.block_on(open(older, 1 << 20)).map(drop).expect_err("it does not know it");
    old.join().expect("the server");
    assert!(fault.to_string().contains("does not know source.tls.strict"), "{fault}");
}

#[test]
fn logins_that_are_refused_say_why() {
    check(|s| s.password = "x".to_owned(), Err((Class::Operator, "Login failed for user 'sa'")));
    check(|s| s.database = "nosuch".to_owned(), Err((Class::Operator, "(error ")));
}

/// A binary without it says which one has it.
#[cfg(not(feature = "kerberos"))]
#[test]
fn kerberos_is_refused_by_name_where_it_was_not_built_in() {
    check(
        |s| s.token = Some(Token::Kerberos),
        Err((Class::Operator, "source.kerberos is set, and this logferry was built without it")),
    );
}

#[test]
fn nobody_there_may_go_away_by_itself() {
    check(|s| s.address = Address::Port(1), Err((Class::Transient, "could not connect to sa@127.0.0.1:1/shop")));
}

/// Something else than a SQL Server: it speaks, but not TDS.
#[tokio::test]
async fn what_does_not_speak_tds_is_not_waited_for() {
    use tokio::io::AsyncWriteExt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok();
        }
    });
    let standin = standin("CREATE TABLE t (id int)");
    let elsewhere = Settings { address: Address::Port(port), ..settings(&standin) };
    let fault = open(elsewhere, 1 << 20).await.map(drop).expect_err("there is no SQL Server");
    assert!(fault.to_string().contains("does not speak TDS"), "{fault}");
}

/// Somebody takes the connection and says nothing.
#[tokio::test]
async fn silence_has_an_end() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let standin = standin("CREATE TABLE t (id int)");
    let timeout = std::time::Duration::from_millis(50);
    let silent = Settings { address: Address::Port(port), connect_timeout: timeout, ..settings(&standin) };
    let fault = open(silent, 1 << 20).await.map(drop).expect_err("nobody answers");
    assert_eq!(fault.class, Class::Transient, "{fault}");
    drop(listener);
}

/// A server that is known by its name: where it listens is asked of the SQL Server Browser, UDP 1434 (MC-SQLR 2.2).
#[test]
fn a_named_instance_is_asked_for() {
    let browser = match std::net::UdpSocket::bind("127.0.0.1:1434") {
        Ok(browser) => browser,
        Err(e) => return eprintln!("SKIPPED: somebody else is the SQL Server Browser of this machine: {e}"),
    };
    let standin = standin("CREATE TABLE t (id int)");
    let port = standin.address().port();
    let asked = std::thread::spawn(move || {
        let mut request = [0; 64];
        let (size, from) = browser.recv_from(&mut request).expect("it is asked");
        let text = format!("ServerName;HOST;InstanceName;SHOP;IsClustered;No;Version;16.0.1000.6;tcp;{port};;");
        let answer = [&[5][..], &(text.len() as u16).to_le_bytes(), text.as_bytes()].concat();
        browser.send_to(&answer, from).expect("it is answered");
        request[..size].to_vec()
    });
    let named = Settings { address: Address::Instance("SHOP".to_owned()), ..settings(&standin) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(open(named, 1 << 20)).expect("it is found");
    let asked = asked.join().expect("a browser");
    assert!(asked.starts_with(b"\x04SHOP"), "CLNT_UCAST_INST: {asked:?}");
}

/// A catalog takes as many questions as it has statements, however many tables there are. How long it takes is printed, and no test of
/// right or wrong.
#[test]
fn many_tables_take_no_more_round_trips_than_few() {
    use logferry_mssql_live::{CdcSettings, LiveSource, Mode};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use logferry_model::ChangeSource;
    let asked = |mode: Mode, tables: u32| {
        let made: String =
            (0..tables).map(|n| format!("CREATE TABLE t{n} (id int PRIMARY KEY, v nvarchar(9)); ")).collect();
        let standin = standin(&format!("{made}; EXEC sys.sp_cdc_enable_db"));
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        standin.faults().set(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            None
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let began = std::time::Instant::now();
        let source = runtime.block_on(async {
            let mut source = LiveSource::open(settings(&standin), mode, 1 << 20, Arc::new(|_| true)).await?;
            source.snapshot().await?;
            Ok::<_, Fault>(source)
        });
        eprintln!("{mode:?}: the catalog of {tables} tables took {:.2} s", began.elapsed().as_secs_f64());
        assert_eq!(source.expect("a source").tables().len(), tables as usize);
        count.load(Ordering::Relaxed)
    };
    for mode in [Mode::Snapshot, Mode::Log, Mode::Cdc(CdcSettings::default())] {
        assert_eq!(asked(mode, 50), asked(mode, 5_000), "{mode:?}");
    }
}

/// A token stands in the place of user and password, and is never shown; one in a file is read at each connection.
#[test]
fn an_access_token_lets_in() {
    let standin = standin("CREATE TABLE t (id int)");
    let right = standin.password().to_owned();
    let with = |token: &str| {
        let token = Some(Token::Text(token.to_owned()));
        let without = Settings { user: String::new(), password: String::new(), ..settings(&standin) };
        Settings { token, ..without }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let open = |settings: Settings| runtime.block_on(open(settings, 1 << 20)).map(drop);
    open(with(&right)).expect("the token is right");
    let fault = open(with("eyJ0eXAi")).expect_err("another token");
    assert!(fault.to_string().contains("refused the login") && !fault.to_string().contains("eyJ0eXAi"), "{fault}");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    let of_file = Settings { token: Some(Token::File(path.clone())), ..with("") };
    let fault = open(of_file.clone()).expect_err("there is no file");
    assert!(fault.to_string().contains("the access token could not be read from"), "{fault}");
    std::fs::write(&path, format!("{right}\n")).expect("the token is written");
    open(of_file.clone()).expect("the token is right");
    std::fs::write(&path, "expired").expect("the token is written");
    assert!(open(of_file).is_err());
}

/// The server's list of sessions says who we are.
#[test]
fn sessions_say_whose_they_are() {
    use logferry_model::ChangeSource;
    let standin = standin("CREATE TABLE t (id int)");
    let named = Settings { application: format!("logferry {}", "x".repeat(200)), ..settings(&standin) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut source = open(named, 1 << 20).await.expect("a source");
        source.snapshot().await.expect("a snapshot");
        let question = "SELECT program_name, host_name FROM sys.dm_exec_sessions WHERE program_name LIKE 'logferry%'";
        let found = crate::copy::texts(&standin, question);
        assert!(!found.is_empty() && found.iter().all(|row| row.matches(&"x".repeat(119)).count() == 2), "{found:?}");
    });
}

//! `sslmode`, against a server with a certificate for `localhost` of an authority of our own.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use logferry_pg_apply::Target;
use logferry_testkit::postgres::PrivatePostgres;

use crate::support::run;

fn file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/target/tls").join(name).display().to_string()
}

/// A cluster that speaks TLS.
fn with_tls() -> PrivatePostgres {
    let cluster = PrivatePostgres::start().unwrap();
    let owner = std::fs::metadata(cluster.data_dir()).unwrap().uid();
    for name in ["server.pem", "server.key"] {
        let to = cluster.data_dir().join(name);
        std::fs::copy(file(name), &to).unwrap();
        std::fs::set_permissions(&to, PermissionsExt::from_mode(0o600)).unwrap();
        chown(&to, Some(owner), Some(owner)).unwrap();
    }
    for setting in ["ssl_cert_file = 'server.pem'", "ssl_key_file = 'server.key'", "ssl = on"] {
        cluster.execute(&format!("ALTER SYSTEM SET {setting}")).unwrap();
    }
    cluster.restart().unwrap();
    cluster
}

/// `Ok`: whether the connection is encrypted.
async fn connect(url: &str) -> Result<bool, String> {
    let target = Target::parse(url).map_err(|e| e.to_string())?;
    let client = target.connect().await.map_err(|e| e.to_string())?;
    let row = client.query_one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await.unwrap();
    Ok(row.get(0))
}

#[test]
fn certificates_are_verified_as_told() {
    let cluster = with_tls();
    let check = |host: &str, options: &str, expect: Result<bool, &str>| {
        let url = format!("{}?{options}", cluster.url().replace("127.0.0.1", host));
        match (run(connect(&url)), expect) {
            (Ok(found), Ok(expect)) => assert_eq!(found, expect, "{host} {options}"),
            (Err(found), Err(expect)) => assert!(found.contains(expect), "{host} {options}: {found}"),
            (found, expect) => panic!("{host} {options}: {found:?}, not {expect:?}"),
        }
    };
    let root = |name: &str| format!("sslrootcert={}", file(name));
    check("127.0.0.1", "sslmode=disable", Ok(false));
    check("127.0.0.1", "", Ok(true));
    check("127.0.0.1", "sslmode=prefer", Ok(true));
    check("127.0.0.1", "sslmode=require", Ok(true));
    check("127.0.0.1", &format!("sslmode=verify-ca&{}", root("authority.pem")), Ok(true));
    check("localhost", &format!("sslmode=verify-full&{}", root("authority.pem")), Ok(true));
    check("127.0.0.1", &format!("sslmode=verify-full&{}", root("authority.pem")), Err("not valid for name"));
    for mode in ["require", "verify-ca", "verify-full"] {
        check("localhost", &format!("sslmode={mode}&{}", root("other.pem")), Err("UnknownIssuer"));
    }
    check("localhost", &format!("sslmode=verify-full&{}", root("server.key")), Err("no authority's certificate"));
    let plain = PrivatePostgres::shared().url();
    let no_tls = run(connect(&format!("{plain}?sslmode=require"))).unwrap_err();
    assert!(no_tls.contains("server does not support TLS"), "{no_tls}");
    assert!(!run(connect(&plain)).unwrap());
}

//! Against a server of S3 and STS that we did not write, and with what goes wrong on the way to it.

use std::time::Duration;

use logferry_object_storage::{
    Addressing, Credentials, Entry, Environment, Error, Keys, Kind, Location, Role, Settings, Store,
};
use logferry_testkit::http_proxy::{HttpFault, HttpProxy};
use logferry_testkit::objects::ObjectServer;

const BUCKET: &str = "backups";

fn bytes(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8 ^ (n / 65_536) as u8 ^ seed).collect()
}

fn keys(id: &str, secret: &str) -> Credentials {
    Credentials::Keys(Keys { id: id.into(), secret: secret.into(), token: None })
}

fn settings(endpoint: String) -> Settings {
    Settings {
        endpoint: Some(endpoint),
        credentials: keys("anybody", "hunter2"),
        silence: Duration::from_secs(3),
        ..Settings::default()
    }
}

fn store(settings: Settings) -> Store {
    Store::new(settings, Environment::new(|_| None))
}

fn location(key: &str) -> Location {
    Location { bucket: BUCKET.into(), key: key.into() }
}

/// A server with a bucket, and a way to it; `None` where the server is not installed.
async fn server() -> Option<(ObjectServer, HttpProxy)> {
    let server = ObjectServer::start()?;
    server.bucket(BUCKET).expect("a bucket");
    let proxy = HttpProxy::before(server.port()).await.expect("a free port");
    Some((server, proxy))
}

/// Reads an object to its end, in pages.
fn read_all(store: &Store, key: &str) -> Result<Vec<u8>, Error> {
    let object = store.open(&location(key))?;
    let mut all = vec![0; object.len() as usize];
    for (page, into) in all.chunks_mut(8192).enumerate() {
        object.read_exact(page as u64 * 8192, into)?;
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_found_and_read_at_any_place() {
    let Some((server, proxy)) = server().await else { return };
    let big = bytes(9 << 20, 0);
    server.put(BUCKET, "chain/full.bak", &big).expect("put");
    server.put(BUCKET, "chain/log/1.trn", b"one").expect("put");
    server.put(BUCKET, "chain2/other.bak", b"other").expect("put");
    server.put(BUCKET, "chain/log/", b"").expect("put");

    let plain = store(settings(proxy.url()));
    let names = |key: &str| -> Vec<String> {
        plain.find(&location(key)).expect("found").into_iter().map(|e: Entry| e.location.key).collect()
    };
    assert_eq!(names("chain"), ["chain/full.bak", "chain/log/1.trn"]);
    assert_eq!(names("chain/log/"), ["chain/log/1.trn"]);
    assert_eq!(names("chain/full.bak"), ["chain/full.bak"]);
    assert_eq!(names("").len(), 3);

    let before = proxy.requests().len();
    assert!(read_all(&plain, "chain/full.bak").expect("read") == big);
    let ranges = proxy.requests().len() - before;
    assert!(ranges < 10, "{ranges} requests for 9 MB");
    let object = plain.open(&location("chain/full.bak")).expect("open");
    for at in [0u64, 1 << 20, (9 << 20) - 3, 5_000_000, 17] {
        let mut three = [0; 3];
        object.read_exact(at, &mut three).expect("read");
        assert_eq!(three, big[at as usize..][..3]);
    }
    assert!(object.read_exact((9 << 20) - 2, &mut [0; 3]).is_err());

    // With the bucket in the host, by way of a proxy that knows where that is.
    let hosted = store(Settings {
        addressing: Some(Addressing::Virtual),
        proxy: Some(proxy.url()),
        ..settings(format!("http://store.test:{}", server.port()))
    });
    assert!(read_all(&hosted, "chain/full.bak").expect("read") == big);
    let last = proxy.requests().pop().unwrap_or_default();
    let expect = format!("GET http://backups.store.test:{}/chain/full.bak", server.port());
    assert!(last.starts_with(&expect), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_on_the_way_is_tried_again() {
    let Some((server, proxy)) = server().await else { return };
    let big = bytes(3 << 20, 1);
    server.put(BUCKET, "full.bak", &big).expect("put");
    for fault in [
        HttpFault::Status(500, "InternalError"),
        HttpFault::Status(503, "SlowDown"),
        HttpFault::Cut(100_000),
        HttpFault::Cut(0),
        HttpFault::Silence(100_000),
        HttpFault::Slow(Duration::from_millis(5)),
    ] {
        proxy.fail("GET /backups/full.bak", 2, fault.clone());
        let store = store(settings(proxy.url()));
        assert!(read_all(&store, "full.bak").expect("it is tried again") == big, "{fault:?}");
        assert!(proxy.is_spent(), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_broken_names_object_and_offset() {
    let Some((server, proxy)) = server().await else { return };
    let check = |error: Error, kind: Kind, says: &[&str]| {
        let text = error.to_string();
        assert_eq!(error.kind, kind, "{text}");
        for words in says {
            assert!(text.contains(words), "{text} does not say {words:?}");
        }
        assert!(!text.contains("hunter2") && !text.contains("Signature"), "{text}");
    };
    // Nothing is tried again.
    let quick = || Settings { patience: Duration::ZERO, ..settings(proxy.url()) };
    let put = |seed| server.put(BUCKET, "full.bak", &bytes(3 << 20, seed)).expect("put");
    let open = || store(quick()).open(&location("full.bak")).expect("open");
    let at = "s3://backups/full.bak at offset 1048576";
    let mut page = [0; 8192];
    put(2);

    for (status, code, kind) in [
        (500, "InternalError", Kind::Unavailable),
        (403, "AccessDenied", Kind::Denied),
        (404, "NoSuchKey", Kind::NotFound),
    ] {
        let object = open();
        proxy.fail("GET /backups/full.bak", 1, HttpFault::Status(status, code));
        check(object.read_exact(1 << 20, &mut page).expect_err(code), kind, &[at, code]);
        object.read_exact(1 << 20, &mut page).expect("an error is not kept");
    }
    let object = open();
    proxy.fail("GET /backups/full.bak", 100, HttpFault::Cut(1000));
    check(object.read_exact(1 << 20, &mut page).expect_err("cut"), Kind::Unavailable, &[at]);
    assert!(!proxy.is_spent(), "it does not go on for ever");

    let (server, proxy) = (&server, HttpProxy::before(server.port()).await.expect("a free port"));
    let quick = || Settings { patience: Duration::ZERO, ..settings(proxy.url()) };
    let open = || store(quick()).open(&location("full.bak")).expect("open");
    let object = open();
    put(3);
    check(object.read_exact(1 << 20, &mut page).expect_err("changed"), Kind::Changed, &["changed while", "1048576"]);
    let object = open();
    server.delete(BUCKET, "full.bak").expect("delete");
    check(object.read_exact(1 << 20, &mut page).expect_err("gone"), Kind::NotFound, &[at]);

    check(store(quick()).open(&location("none")).expect_err("none"), Kind::NotFound, &["s3://backups/none"]);
    check(store(quick()).find(&location("none")).expect_err("none"), Kind::NotFound, &["none below it"]);
    let nowhere = Location { bucket: "no-such-bucket".into(), key: String::new() };
    check(store(quick()).find(&nowhere).expect_err("none"), Kind::NotFound, &["s3://no-such-bucket/"]);
    let closed = Settings { endpoint: Some("http://127.0.0.1:1".into()), ..quick() };
    check(store(closed).open(&location("x")).expect_err("closed"), Kind::Unavailable, &["s3://backups/x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_come_from_keys_profiles_and_roles() {
    let Some((server, proxy)) = server().await else { return };
    server.put(BUCKET, "full.bak", b"backup").expect("put");
    let (id, secret, arn) = server.user_and_role().expect("a user and a role");
    server.check_credentials().expect("it does");
    let role = Role { arn: arn.clone(), external_id: Some("shop 1".into()), session: "test".into() };
    let own = || Settings { credentials: keys(&id, &secret), sts_endpoint: Some(proxy.url()), ..settings(proxy.url()) };
    let read = |settings, environment| read_all(&Store::new(settings, environment), "full.bak");
    let none = || Environment::new(|_| None);

    let denied = |settings, what: &str| {
        let error = read(settings, none()).expect_err(what);
        assert_eq!(error.kind, Kind::Denied, "{what}: {error}");
        assert!(!error.to_string().contains(&secret), "{error}");
    };
    denied(own(), "the user may assume roles only");
    denied(Settings { credentials: keys(&id, "wrong"), ..own() }, "a wrong secret");
    denied(
        Settings { credentials: keys(&id, "wrong"), role: Some(role.clone()), ..own() },
        "a wrong secret for a role",
    );
    assert_eq!(read(Settings { role: Some(role), ..own() }, none()).expect("by the role"), b"backup");
    let asked = proxy.requests().into_iter().rfind(|request| request.contains("AssumeRole")).unwrap_or_default();
    assert!(asked.contains("ExternalId=shop%201") && asked.contains("RoleSessionName=test"), "{asked}");
    assert!(proxy.requests().iter().all(|request| !request.contains(&secret)), "a secret is sent");

    let folder = tempfile::tempdir().expect("a folder");
    let (credentials, config) = (folder.path().join("credentials"), folder.path().join("config"));
    let base = format!("[base]\naws_access_key_id={id}\naws_secret_access_key={secret}\n");
    std::fs::write(&credentials, base).expect("a file");
    let url = proxy.url();
    let reader = format!("[profile reader]\nrole_arn={arn}\nsource_profile=base\nexternal_id=x\nendpoint_url={url}\n");
    std::fs::write(&config, reader).expect("a file");
    let environment = |profile: &'static str| {
        let (credentials, config) = (credentials.display().to_string(), config.display().to_string());
        Environment::new(move |name| match name {
            "AWS_SHARED_CREDENTIALS_FILE" => Some(credentials.clone()),
            "AWS_CONFIG_FILE" => Some(config.clone()),
            "AWS_PROFILE" => Some(profile.to_owned()),
            _ => None,
        })
    };
    let plain = Settings::default;
    assert_eq!(read(plain(), environment("reader")).expect("by a profile"), b"backup");
    let named = Settings { credentials: Credentials::Profile("reader".into()), ..plain() };
    assert_eq!(read(named, environment("base")).expect("by a profile of the settings"), b"backup");
    let lost = read(plain(), environment("nobody")).expect_err("no such profile");
    assert!(lost.kind == Kind::Settings && lost.to_string().contains("\"nobody\""), "{lost}");

    let (key, word) = (id.clone(), secret.clone());
    let of_environment = Environment::new(move |name| match name {
        "AWS_ACCESS_KEY_ID" => Some(key.clone()),
        "AWS_SECRET_ACCESS_KEY" => Some(word.clone()),
        "AWS_ENDPOINT_URL" => Some(url.clone()),
        _ => None,
    });
    let role = Role { arn, external_id: None, session: "test".into() };
    let assumed = Settings { role: Some(role), ..plain() };
    assert_eq!(read(assumed, of_environment).expect("by the environment's keys and a role"), b"backup");
    let lost = read(Settings { endpoint: Some(proxy.url()), ..plain() }, none()).expect_err("no credentials");
    assert!(lost.kind == Kind::Settings && lost.to_string().contains("AWS_ACCESS_KEY_ID"), "{lost}");
}

#[test]
fn secrets_are_not_shown() {
    let settings = Settings { credentials: keys("id", "hunter2"), ..Settings::default() };
    assert!(!format!("{settings:?} {:?}", store(settings.clone())).contains("hunter2"));
}

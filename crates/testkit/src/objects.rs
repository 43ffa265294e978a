//! A server of S3 and STS that we did not write: `moto`, of PyPI. `crates/testkit/objects/setup` installs it; where it is missing its
//! tests say so on stderr and are not run, with `LOGFERRY_CLIENTS=required`, as in CI, they fail.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A server with nothing in it. It ends when it is dropped.
pub struct ObjectServer {
    child: Child,
    port: u16,
    _log: TempDir,
}

/// Something that the server refused.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Until it checks credentials it only wants to see some.
const ANYBODY: &str =
    "AWS4-HMAC-SHA256 Credential=anybody/20260101/us-east-1/SERVICE/aws4_request, SignedHeaders=host, Signature=0";

impl ObjectServer {
    /// Starts one on a free port; `None` where it is not installed.
    ///
    /// # Panics
    /// Where it is not installed and must be, and where it does not start.
    #[allow(clippy::panic)]
    pub fn start() -> Option<Self> {
        let program = program();
        if !program.exists() {
            let text = format!("{} is missing: run crates/testkit/objects/setup", program.display());
            assert!(std::env::var_os("LOGFERRY_CLIENTS").is_none_or(|value| value != "required"), "{text}");
            eprintln!("SKIPPED: {text}");
            return None;
        }
        // Somebody else may take the port in between.
        for _ in 0..5 {
            if let Some(server) = Self::start_on_some_port(&program) {
                return Some(server);
            }
        }
        panic!("{} did not start", program.display());
    }

    fn start_on_some_port(program: &Path) -> Option<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0)).ok()?.local_addr().ok()?.port();
        let log = tempfile::tempdir().ok()?;
        let file = std::fs::File::create(log.path().join("log")).ok()?;
        let child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            // It checks nobody before it is told to.
            .env("INITIAL_NO_AUTH_ACTION_COUNT", "1000000000")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .ok()?;
        let mut server = ObjectServer { child, port, _log: log };
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(120) {
            if server.child.try_wait().ok()?.is_some() {
                return None;
            }
            if server.ask("GET", "/moto-api/data.json", "s3", &[], b"").is_ok() {
                return Some(server);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address, `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes a bucket.
    ///
    /// # Errors
    /// Where the server refuses.
    pub fn bucket(&self, name: &str) -> Result<()> {
        self.ask("PUT", &format!("/{name}"), "s3", &[], b"").map(drop)
    }

    /// Writes an object, in place of the one that was there.
    ///
    /// # Errors
    /// Where the server refuses.
    pub fn put(&self, bucket: &str, key: &str, bytes: &[u8]) -> Result<()> {
        self.ask("PUT", &format!("/{bucket}/{key}"), "s3", &[], bytes).map(drop)
    }

    /// Takes an object away.
    ///
    /// # Errors
    /// Where the server refuses.
    pub fn delete(&self, bucket: &str, key: &str) -> Result<()> {
        self.ask("DELETE", &format!("/{bucket}/{key}"), "s3", &[], b"").map(drop)
    }

    /// Makes a user who may do nothing but assume roles, and a role that may read objects, for who names the external id; gives the
    /// user's key and secret and the role's name.
    ///
    /// # Errors
    /// Where the server refuses.
    pub fn user_and_role(&self) -> Result<(String, String, String)> {
        let policy = |action: &str| {
            format!(
                "{{\"Version\":\"2012-10-17\",\"Statement\":[{{\"Effect\":\"Allow\",\"Action\":{action},\"Resource\":\"*\"}}]}}"
            )
        };
        let trust = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"*\"},\"Action\":\"sts:AssumeRole\"}]}";
        self.identity(&[("Action", "CreateUser"), ("UserName", "u")])?;
        let key = self.identity(&[("Action", "CreateAccessKey"), ("UserName", "u")])?;
        let assume = policy("\"sts:AssumeRole\"");
        let user_policy =
            [("Action", "PutUserPolicy"), ("UserName", "u"), ("PolicyName", "p"), ("PolicyDocument", &assume)];
        self.identity(&user_policy)?;
        let role =
            self.identity(&[("Action", "CreateRole"), ("RoleName", "reader"), ("AssumeRolePolicyDocument", trust)])?;
        let read = policy("[\"s3:GetObject\",\"s3:ListBucket\"]");
        let role_policy =
            [("Action", "PutRolePolicy"), ("RoleName", "reader"), ("PolicyName", "p"), ("PolicyDocument", &read)];
        self.identity(&role_policy)?;
        let part = |text: &str, name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>")).ok_or("no such part in the answer")?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(rest.split('<').next().unwrap_or_default().to_owned())
        };
        Ok((part(&key, "AccessKeyId")?, part(&key, "SecretAccessKey")?, part(&role, "Arn")?))
    }

    /// From now on signatures and rights are checked.
    ///
    /// # Errors
    /// Where the server refuses.
    pub fn check_credentials(&self) -> Result<()> {
        self.ask("POST", "/moto-api/reset-auth", "s3", &[("Content-Type", "text/plain")], b"0").map(drop)
    }

    fn identity(&self, form: &[(&str, &str)]) -> Result<String> {
        let plain = |b: u8| b.is_ascii_alphanumeric();
        let encoded = |text: &str| -> String {
            text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
        };
        let mut body = "Version=2010-05-08".to_owned();
        for (key, value) in form {
            body.push_str(&format!("&{key}={}", encoded(value)));
        }
        let kind = [("Content-Type", "application/x-www-form-urlencoded")];
        self.ask("POST", "/", "iam", &kind, body.as_bytes())
    }

    /// One request; the body of its answer.
    fn ask(&self, method: &str, path: &str, service: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<String> {
        let mut server = TcpStream::connect(("127.0.0.1", self.port))?;
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: {}\r\nConnection: close\r\nAuthorization: {}\r\n",
            self.port,
            body.len(),
            ANYBODY.replace("SERVICE", service)
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        server.write_all(format!("{head}\r\n").as_bytes())?;
        server.write_all(body)?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        if answer.split(' ').nth(1).is_some_and(|status| status.starts_with('2')) {
            Ok(answer)
        } else {
            Err(format!("{method} {path}: {answer}").into())
        }
    }
}

impl Drop for ObjectServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Where `setup` puts it: beside the tests that ask.
fn program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    target.join("clients/moto/bin/moto_server")
}

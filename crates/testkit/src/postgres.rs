//! A PostgreSQL of one's own: a cluster in a temporary (or a named) directory, on a free port of the
//! loopback interface, that is gone when its owner is gone.
//!
//! The binaries are those of the machine: `$PG_BIN`, then `pg_config --bindir`, then the newest of
//! `/usr/lib/postgresql/*/bin`. A machine without PostgreSQL is an error, not a reason to skip a test.
//!
//! ```no_run
//! # use logferry_testkit::postgres::PrivatePostgres;
//! let db = PrivatePostgres::shared().create_database()?;
//! println!("{}", db.url());
//! # Ok::<(), logferry_testkit::postgres::Error>(())
//! ```
//!
//! Two things are surprising. PostgreSQL does not run as root, so root runs it as uid 65534. And
//! between us and the server stands a shell that waits for the end of its standard input: the kernel
//! closes that pipe however this process ends, `kill -9` included, and the shell then stops the server
//! and removes its directory. (A "parent death signal" would not do: it is sent when the *thread*
//! that started the child ends, and every test has a thread of its own.)
//!
//! ```text
//!  this process ── pipe: "INT", or end of file ──> sh ── signal ──> postgres
//! ```

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// What kept a private PostgreSQL from running.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No binaries on this machine.
    #[error(
        "no PostgreSQL found: looked in $PG_BIN, `pg_config --bindir` and /usr/lib/postgresql/*/bin; \
         install it (Debian, Ubuntu: `apt-get install postgresql`) or set PG_BIN to the directory of `initdb`"
    )]
    NotInstalled,
    /// A file or directory could not be made or read.
    #[error("could not {what} {path}: {source}", path = .path.display())]
    File {
        /// what was tried
        what: &'static str,
        /// where
        path: PathBuf,
        /// what the system said
        source: io::Error,
    },
    /// A program could not be started, or failed.
    #[error("{program} failed: {output}")]
    Program {
        /// its path
        program: String,
        /// its exit code and the end of what it wrote
        output: String,
    },
    /// The server was not ready in time.
    #[error("PostgreSQL was not ready after {seconds} s; the end of its log:\n{log}")]
    NotReady {
        /// how long was waited
        seconds: u64,
        /// the end of its log
        log: String,
    },
    /// A statement failed.
    #[error("PostgreSQL refused {what}: {message}")]
    Sql {
        /// what was tried
        what: String,
        /// the server's words
        message: String,
    },
}

/// How to run it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the data is kept. `None`: in a temporary directory that is removed at the end. A directory
    /// that holds a cluster is used again.
    pub data_dir: Option<PathBuf>,
    /// Whether commits wait for the disk. Off is for data that nobody will miss.
    pub fsync: bool,
    /// Further settings, as in `postgresql.conf`.
    pub settings: Vec<(String, String)>,
    /// Where `initdb` and `postgres` are; `None`: look for them.
    pub bin_dir: Option<PathBuf>,
    /// The TCP port; `None`: a free one.
    pub port: Option<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Options { data_dir: None, fsync: true, settings: Vec::new(), bin_dir: None, port: None }
    }
}

/// A running cluster. Dropping it stops the server, and removes the data unless a directory was named.
#[derive(Debug)]
pub struct PrivatePostgres {
    options: Options,
    bin_dir: PathBuf,
    run_as: Option<u32>,
    /// Holds the socket, the log and, unless named, the data.
    work_dir: TempDir,
    data_dir: PathBuf,
    password: String,
    port: u16,
    server: Mutex<Option<Child>>,
    databases: AtomicU32,
}

impl PrivatePostgres {
    /// Starts a cluster for tests: temporary, and without waiting for the disk.
    ///
    /// # Errors
    /// Where there is no PostgreSQL, or it does not start.
    pub fn start() -> Result<Self, Error> {
        Self::start_with(Options { fsync: false, ..Options::default() })
    }

    /// The cluster that all tests of a process share; started at the first call.
    ///
    /// # Panics
    /// When it does not start: a test that needs PostgreSQL fails without it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PrivatePostgres> = OnceLock::new();
        SHARED.get_or_init(|| Self::start().unwrap_or_else(|e| panic!("{e}")))
    }

    /// Starts a cluster.
    ///
    /// # Errors
    /// Where there is no PostgreSQL, the directory cannot be used, or the server does not start: with
    /// the end of its log.
    pub fn start_with(options: Options) -> Result<Self, Error> {
        let bin_dir = match &options.bin_dir {
            Some(dir) => dir.clone(),
            None => find_binaries().ok_or(Error::NotInstalled)?,
        };
        let work_dir = work_dir()?;
        let run_as = (owner(work_dir.path())? == 0).then_some(NOBODY);
        give_to(run_as, work_dir.path())?;
        let data_dir = options.data_dir.clone().unwrap_or_else(|| work_dir.path().join("data"));
        let port = options.port.map_or_else(free_port, Ok)?;
        let mut cluster = PrivatePostgres {
            options,
            bin_dir,
            run_as,
            work_dir,
            data_dir,
            password: String::new(),
            port,
            server: Mutex::new(None),
            databases: AtomicU32::new(0),
        };
        cluster.initdb()?;
        // Another process may take a free port before the server does.
        let mut attempts = if cluster.options.port.is_none() { 5 } else { 1 };
        loop {
            attempts -= 1;
            match cluster.run() {
                Err(Error::Program { output, .. }) if attempts > 0 && output.contains("could not bind") => {
                    cluster.port = free_port()?;
                }
                Err(e) => return Err(e),
                Ok(()) => return Ok(cluster),
            }
        }
    }

    /// Where the programs are.
    pub fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// Where the data is.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How to connect to database `postgres` by TCP, as superuser `postgres`, with the password.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// How to connect to a database by TCP.
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// How to connect to a database by the Unix socket, in key=value form.
    pub fn socket_url_of(&self, database: &str) -> String {
        format!("host={} port={} user=postgres dbname={database}", self.work_dir.path().display(), self.port)
    }

    /// Makes an empty database, UTF-8, for one test.
    ///
    /// # Errors
    /// What the server says.
    pub fn create_database(&self) -> Result<Database<'_>, Error> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed) + 1);
        self.execute(&format!("CREATE DATABASE \"{name}\""))?;
        Ok(Database { cluster: self, name })
    }

    /// Runs statements in database `postgres`, and waits. May be called from async code, which it blocks.
    ///
    /// # Errors
    /// What the server says.
    pub fn execute(&self, sql: &str) -> Result<(), Error> {
        let refused = |message: String| Error::Sql { what: format!("`{sql}`"), message };
        let url = self.socket_url_of("postgres");
        // A thread of its own: the caller may be inside a runtime, which must not start another.
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()
                        .map_err(|e| refused(e.to_string()))?;
                    runtime.block_on(async {
                        let client = connect(&url).await?;
                        client.batch_execute(sql).await.map_err(|e| refused(say(&e)))
                    })
                })
                .join()
                .unwrap_or_else(|_| Err(refused("the thread that ran it panicked".to_owned())))
        })
    }

    /// Stops the server; open transactions are rolled back, what was committed is on disk.
    /// The data stays until this value is dropped.
    pub fn stop(&self) {
        self.end("INT");
    }

    /// Ends the server as a crash does; the next start recovers from the WAL.
    pub fn crash(&self) {
        self.end("QUIT");
    }

    /// Stops the server, where it runs, and starts it on the same port.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn restart(&self) -> Result<(), Error> {
        self.stop();
        self.run()
    }

    /// The end of the server's log.
    pub fn log_tail(&self) -> String {
        tail(&fs::read_to_string(self.log_path()).unwrap_or_default())
    }

    fn log_path(&self) -> PathBuf {
        self.work_dir.path().join("log")
    }

    /// Makes the cluster, or finds the password of the one that is there.
    fn initdb(&mut self) -> Result<(), Error> {
        let password_path = self.data_dir.join("logferry.password");
        if self.data_dir.join("PG_VERSION").exists() {
            self.password = fs::read_to_string(&password_path)
                .map_err(|source| Error::File {
                    what: "find the password of the cluster, which logferry has not made, in",
                    path: password_path,
                    source,
                })?
                .trim()
                .to_owned();
            return Ok(());
        }
        self.password = random_password();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.data_dir).map_err(|source| Error::File {
            what: "make",
            path: self.data_dir.clone(),
            source,
        })?;
        give_to(self.run_as, &self.data_dir)?;
        let first_password = self.work_dir.path().join("password");
        write_secret(&first_password, &self.password)?;
        give_to(self.run_as, &first_password)?;
        let mut command = self.command("initdb");
        command
            .args(["-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"])
            // The socket is in a directory that only its owner enters; the port is open to all who are on this machine.
            .args(["--auth-local=trust", "--auth-host=scram-sha-256"])
            .arg("--pwfile")
            .arg(&first_password)
            .arg("-D")
            .arg(&self.data_dir);
        let output = command.output().map_err(|e| self.failed("initdb", &e.to_string()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(self.failed("initdb", &format!("{}: {}", output.status, tail(&said))));
        }
        fs::rename(&first_password, &password_path)
            .or_else(|_| write_secret(&password_path, &self.password).map_err(io::Error::other))
            .map_err(|source| Error::File { what: "write", path: password_path, source })
    }

    /// Starts the server and waits until it takes connections.
    fn run(&self) -> Result<(), Error> {
        let log = fs::File::create(self.log_path()).map_err(|source| Error::File {
            what: "write",
            path: self.log_path(),
            source,
        })?;
        let log_too = log.try_clone().map_err(|source| Error::File { what: "write", path: self.log_path(), source })?;
        let mut postgres = self.command("postgres");
        postgres
            .arg("-D")
            .arg(&self.data_dir)
            .arg("-p")
            .arg(self.port.to_string())
            .arg("-k")
            .arg(self.work_dir.path())
            .args(["-h", "127.0.0.1", "-c", "logging_collector=off"]);
        if !self.options.fsync {
            postgres.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        }
        for (name, value) in &self.options.settings {
            postgres.arg("-c").arg(format!("{name}={value}"));
        }
        let mut keeper = Command::new("sh");
        keeper
            .arg("-c")
            .arg(KEEPER)
            .arg("logferry-postgres")
            .arg(self.work_dir.path())
            .arg(postgres.get_program())
            .args(postgres.get_args())
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(log_too)
            // Ctrl-C at a terminal goes to a whole process group; the server ends by the pipe alone.
            .process_group(0);
        let mut child = keeper.spawn().map_err(|e| self.failed("sh", &e.to_string()))?;
        let began = Instant::now();
        loop {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(self.failed("postgres", &format!("{status}: {}", self.log_tail())));
            }
            if self.is_ready() {
                *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
                return Ok(());
            }
            if began.elapsed() > READY_MAX {
                finish(child, "QUIT");
                return Err(Error::NotReady { seconds: READY_MAX.as_secs(), log: self.log_tail() });
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The server writes how far it is into the eighth line of this file.
    fn is_ready(&self) -> bool {
        fs::read_to_string(self.data_dir.join("postmaster.pid"))
            .is_ok_and(|text| text.lines().nth(7).is_some_and(|state| state.trim() == "ready"))
    }

    fn end(&self, signal: &str) {
        let child = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(child) = child {
            finish(child, signal);
        }
    }

    /// A program of PostgreSQL's, run by somebody who is not root.
    fn command(&self, program: &str) -> Command {
        let path = self.bin_dir.join(program);
        let mut command = match self.run_as {
            None => Command::new(path),
            Some(uid) => {
                let mut command = Command::new("setpriv");
                command.arg(format!("--reuid={uid}")).arg(format!("--regid={uid}")).arg("--clear-groups").arg(path);
                command
            }
        };
        command.env("LC_ALL", "C").stdin(Stdio::null()).current_dir("/");
        command
    }

    fn failed(&self, program: &str, output: &str) -> Error {
        Error::Program { program: self.bin_dir.join(program).display().to_string(), output: output.to_owned() }
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        // Data that is removed in a moment needs no checkpoint.
        let signal = if self.options.data_dir.is_none() { "QUIT" } else { "INT" };
        if let Some(child) = self.server.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            finish(child, signal);
        }
    }
}

/// A database of a private cluster.
#[derive(Debug)]
pub struct Database<'c> {
    cluster: &'c PrivatePostgres,
    name: String,
}

impl Database<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How to connect to it by TCP.
    pub fn url(&self) -> String {
        self.cluster.url_of(&self.name)
    }

    /// How to connect to it by the Unix socket.
    pub fn socket_url(&self) -> String {
        self.cluster.socket_url_of(&self.name)
    }

    /// A connection to it, for looking at what is there.
    ///
    /// # Errors
    /// What the server says.
    pub async fn client(&self) -> Result<tokio_postgres::Client, Error> {
        connect(&self.socket_url()).await
    }
}

const NOBODY: u32 = 65534;
const READY_MAX: Duration = Duration::from_secs(60);

/// `$1` is the directory to remove when the owner has died, the rest is the server's command line.
/// A word on standard input is the signal to send; its end without a word is the owner's death.
const KEEPER: &str = r#"
dir=$1; shift
exec 3<&0
"$@" </dev/null 3<&- &
pid=$!
(
    if read -r signal <&3; then kill -"$signal" $pid; else
        kill -QUIT $pid
        while kill -0 $pid; do sleep 0.05; done
        rm -rf "$dir"
    fi
) >/dev/null 2>&1 &
exec 3<&- </dev/null
wait $pid
"#;

/// Tells the keeper which signal to send, and waits until the server is gone.
fn finish(mut child: Child, signal: &str) {
    if let Some(mut pipe) = child.stdin.take() {
        // Where the server is gone already nobody reads this, and that is all right.
        let _gone = writeln!(pipe, "{signal}");
    }
    let _status = child.wait();
}

fn find_binaries() -> Option<PathBuf> {
    let complete = |dir: &PathBuf| dir.join("initdb").is_file() && dir.join("postgres").is_file();
    if let Some(dir) = std::env::var_os("PG_BIN").map(PathBuf::from) {
        return Some(dir).filter(complete);
    }
    let told = Command::new("pg_config").arg("--bindir").output().ok().filter(|o| o.status.success());
    let told = told.map(|o| PathBuf::from(String::from_utf8_lossy(&o.stdout).trim()));
    told.filter(complete).or_else(|| {
        let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
            .ok()?
            .flatten()
            .filter_map(|e| Some((e.file_name().to_str()?.parse().ok()?, e.path().join("bin"))))
            .filter(|(_, dir)| complete(dir))
            .collect();
        versions.sort();
        Some(versions.pop()?.1)
    })
}

/// A directory with a short name: a socket's path has at most 107 bytes.
fn work_dir() -> Result<TempDir, Error> {
    let wanted = std::env::temp_dir();
    let parent = if wanted.as_os_str().len() > 60 { Path::new("/tmp") } else { &wanted };
    tempfile::Builder::new().prefix("logferry-pg-").tempdir_in(parent).map_err(|source| Error::File {
        what: "make a directory in",
        path: parent.to_owned(),
        source,
    })
}

fn owner(path: &Path) -> Result<u32, Error> {
    let found = fs::metadata(path).map_err(|source| Error::File { what: "read", path: path.to_owned(), source })?;
    Ok(found.uid())
}

fn give_to(uid: Option<u32>, path: &Path) -> Result<(), Error> {
    let Some(uid) = uid else { return Ok(()) };
    chown(path, Some(uid), Some(uid)).map_err(|source| Error::File {
        what: "give to the user who runs PostgreSQL",
        path: path.to_owned(),
        source,
    })
}

fn write_secret(path: &Path, secret: &str) -> Result<(), Error> {
    let failed = |source| Error::File { what: "write", path: path.to_owned(), source };
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(failed)?;
    writeln!(file, "{secret}").map_err(failed)
}

fn free_port() -> Result<u16, Error> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr());
    let address = listener.map_err(|source| Error::File {
        what: "find a free port on",
        path: PathBuf::from("127.0.0.1"),
        source,
    })?;
    Ok(address.port())
}

/// 128 bits from the generator that seeds the standard library's hash maps.
fn random_password() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}{:016x}", RandomState::new().hash_one(0), RandomState::new().hash_one(OsStr::new("p")))
}

/// Connects without TLS: the socket and the loopback interface need none.
async fn connect(url: &str) -> Result<tokio_postgres::Client, Error> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .map_err(|e| Error::Sql { what: "a connection".to_owned(), message: say(&e) })?;
    // Its errors reach whoever uses the client.
    tokio::spawn(connection);
    Ok(client)
}

/// The server's message; `tokio_postgres` keeps it one level down.
fn say(e: &tokio_postgres::Error) -> String {
    e.as_db_error().map_or_else(|| e.to_string(), ToString::to_string)
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

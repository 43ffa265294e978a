//! The source, as any client of SQL Server sees it.

use tiberius::{AuthMethod, Client, Config, EncryptionLevel};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

/// A server, and the login that may do everything there.
#[derive(Clone, Debug)]
pub struct Server {
    /// Name or address.
    pub host: String,
    /// Where it listens.
    pub port: u16,
    /// `sa`.
    pub user: String,
    /// Its password.
    pub password: String,
}

/// A connection.
pub(crate) struct Session(Client<Compat<TcpStream>>);

/// A server that has just started lets nobody in for a while, though it listens.
const READY_SECONDS: u64 = 120;

impl Server {
    /// Waits until it lets us in.
    pub async fn ready(&self) {
        for _ in 0..READY_SECONDS {
            match self.try_connect("master").await {
                Ok(_) => return,
                Err(e) => eprintln!("the source is not ready: {e}"),
            }
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        panic!("the source is not ready after {READY_SECONDS} s");
    }

    /// Connects to a database.
    pub(crate) async fn connect(&self, database: &str) -> Session {
        self.try_connect(database).await.expect("the source lets us in")
    }

    async fn try_connect(&self, database: &str) -> tiberius::Result<Session> {
        let mut config = Config::new();
        config.host(&self.host);
        config.port(self.port);
        config.database(database);
        config.authentication(AuthMethod::sql_server(&self.user, &self.password));
        // Whether it is encrypted is the business of logferry's own connections.
        config.encryption(EncryptionLevel::NotSupported);
        let tcp = TcpStream::connect(config.get_addr()).await?;
        tcp.set_nodelay(true)?;
        Client::connect(config, tcp.compat_write()).await.map(Session)
    }

    /// Makes a database that may be read in every mode. The full backup begins its log: without it the log is cut off at any checkpoint.
    pub(crate) async fn create_database(&self, name: &str) -> Session {
        let mut master = self.connect("master").await;
        for text in [
            format!("CREATE DATABASE [{name}]"),
            format!("ALTER DATABASE [{name}] SET RECOVERY FULL"),
            format!("ALTER DATABASE [{name}] SET ALLOW_SNAPSHOT_ISOLATION ON"),
        ] {
            master.run(&text).await;
        }
        // Not every server has a device that keeps nothing.
        if master.attempt(&format!("BACKUP DATABASE [{name}] TO DISK = N'NUL'")).await.is_err() {
            master.run(&format!("BACKUP DATABASE [{name}] TO DISK = N'{name}.bak' WITH INIT")).await;
        }
        self.connect(name).await
    }
}

impl Session {
    /// Runs a batch.
    pub(crate) async fn run(&mut self, text: &str) {
        self.attempt(text).await.unwrap_or_else(|e| panic!("{text}: {e}"));
    }

    /// Runs a batch that may fail.
    pub(crate) async fn attempt(&mut self, text: &str) -> tiberius::Result<()> {
        self.0.simple_query(text).await?.into_results().await.map(drop)
    }

    /// The rows of a query whose columns are all text.
    pub(crate) async fn rows(&mut self, text: &str) -> Vec<Vec<Option<String>>> {
        let stream = self.0.simple_query(text).await.unwrap_or_else(|e| panic!("{text}: {e}"));
        let rows = stream.into_first_result().await.unwrap_or_else(|e| panic!("{text}: {e}"));
        rows.iter()
            .map(|row| (0..row.columns().len()).map(|i| row.get::<&str, _>(i).map(str::to_owned)).collect())
            .collect()
    }
}

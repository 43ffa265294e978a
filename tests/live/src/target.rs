//! The target, as any client of PostgreSQL sees it.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};

/// An empty database that may be written to.
#[derive(Clone, Debug)]
pub struct Target {
    /// `postgres://...`
    pub url: String,
}

/// How long a target may take to have what the source has: generous, as only a position that is never reached should end a test.
const CATCH_UP: Duration = Duration::from_secs(180);

impl Target {
    /// Makes a database beside this one.
    pub async fn create_database(&self, name: &str) -> Target {
        let client = self.connect().await;
        client.batch_execute(&format!("CREATE DATABASE \"{name}\"")).await.expect("a database is made");
        let (server, _) = self.url.rsplit_once('/').expect("a URL");
        Target { url: format!("{server}/{name}") }
    }

    /// Connects.
    pub(crate) async fn connect(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.expect("the target lets us in");
        tokio::spawn(connection);
        client.batch_execute("SET TIME ZONE 'UTC'").await.expect("a time zone");
        client
    }
}

/// The rows of a query whose columns are all text; `None` where it fails: there is no such table yet.
pub(crate) async fn rows(client: &Client, text: &str) -> Option<Vec<Vec<Option<String>>>> {
    let rows = client.query(text, &[]).await.ok()?;
    Some(rows.iter().map(|row| (0..row.len()).map(|i| row.get::<_, Option<String>>(i)).collect()).collect())
}

/// Asks until the answer is what it should be.
pub(crate) async fn wait_until<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match ask().await {
            Ok(found) => return found,
            Err(said) => assert!(began.elapsed() < CATCH_UP, "{what}: {said}"),
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}
